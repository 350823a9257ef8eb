//! A real SMB server, Samba, on a free port of the loopback device, with all its files in a directory of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::proxy::Proxy;
use crate::tool::{command, run, run_status, run_with_input};
use crate::wait::{self, is_stopped, wait_until};

/// An account that every Debian has, and that may do nothing by itself.
pub const USER: &str = "games";
/// Its password.
pub const PASSWORD: &str = "open-sesame-17";

const START_LIMIT: Duration = wait::LIMIT;

/// A directory that is shared.
#[derive(Clone, Debug)]
pub struct Share {
    /// Its name for clients.
    pub name: &'static str,
    /// The directory. It is given to [`USER`].
    pub path: PathBuf,
    /// Further lines of its section.
    pub options: &'static str,
}

impl Share {
    /// A share that [`USER`] may write to.
    pub fn new(name: &'static str, path: &Path) -> Self {
        Self { name, path: path.to_owned(), options: "" }
    }

    /// The same with further lines in its section.
    pub fn with(self, options: &'static str) -> Self {
        Self { options, ..self }
    }
}

/// A running server. It ends, with all its children, with this value.
pub struct Samba {
    directory: TempDir,
    port: u16,
    server: Option<Child>,
    /// Commands that the server is started through.
    wrapper: Vec<String>,
    /// In front of it.
    pub proxy: Proxy,
}

impl Samba {
    /// Shares directories.
    ///
    /// # Panics
    /// Where Samba is missing or does not start.
    pub fn start(shares: &[Share]) -> Self {
        Self::with(shares, "", &[])
    }

    /// Shares directories, with further lines in the general section, and started by another command.
    ///
    /// # Panics
    /// As [`Samba::start`].
    pub fn with(shares: &[Share], options: &str, wrapper: &[&str]) -> Self {
        for tool in ["smbd", "smbpasswd"] {
            let found = run_status("sh", ["-c", &format!("command -v {tool}")]).status.success();
            assert!(found, "{tool} is missing; `make tools` installs it");
        }
        let directory = tempfile::tempdir().unwrap();
        let wrapper = wrapper.iter().map(ToString::to_string).collect();
        let port = free_port();
        let proxy = Proxy::new(SocketAddr::from(([127, 0, 0, 1], port)));
        let mut samba = Self { directory, port, server: None, wrapper, proxy };
        samba.configure(shares, options);
        for share in shares {
            run("chown", [USER, &share.path.display().to_string()]);
        }
        samba.set_password(PASSWORD);
        samba.start_again();
        samba
    }

    /// A share as an operator writes it; `below` is a directory in it, with a slash before it, or empty.
    pub fn target(&self, share: &str, below: &str) -> String {
        format!("smb://{USER}@127.0.0.1:{}/{share}{below}", self.proxy.port())
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("smb.conf")
    }

    /// Writes another configuration. The server reads it when it is started again.
    pub fn configure(&self, shares: &[Share], options: &str) {
        let base = self.directory.path().display();
        let mut text = format!(
            "[global]\nworkgroup = LAB\nserver role = standalone server\nsmb ports = {}\ninterfaces = lo\n\
             bind interfaces only = yes\npassdb backend = tdbsam:{base}/passdb.tdb\nmap to guest = Bad User\n\
             guest account = nobody\nlog level = 1\nlogging = file\nlog file = {base}/log\nload printers = no\n\
             disable spoolss = yes\ndisable netbios = yes\n",
            self.port
        );
        for (setting, name) in [
            ("private dir", "private"),
            ("lock directory", "lock"),
            ("state directory", "state"),
            ("cache directory", "cache"),
            ("pid directory", "pid"),
            ("ncalrpc dir", "ncalrpc"),
        ] {
            fs::create_dir_all(self.directory.path().join(name)).unwrap();
            text += &format!("{setting} = {base}/{name}\n");
        }
        text += &format!("{options}\n");
        for share in shares {
            let path = share.path.display();
            text += &format!("[{}]\npath = {path}\nread only = no\n{}\n", share.name, share.options);
        }
        fs::write(self.configuration(), text).unwrap();
    }

    /// Gives [`USER`] another password.
    pub fn set_password(&self, password: &str) {
        let configuration = self.configuration().display().to_string();
        let input = format!("{password}\n{password}\n");
        run_with_input("smbpasswd", ["-c", &configuration, "-s", "-a", USER], input.as_bytes());
    }

    /// Takes the account away that everybody used.
    pub fn remove_user(&self) {
        run("smbpasswd", ["-c", &self.configuration().display().to_string(), "-x", USER]);
    }

    /// Starts the server that was stopped, and waits until it takes connections.
    ///
    /// # Panics
    /// Where it does not.
    pub fn start_again(&mut self) {
        assert!(self.server.is_none(), "it is running");
        let configuration = self.configuration().display().to_string();
        let smbd = ["smbd", "-F", "--no-process-group", "-s", &configuration].map(str::to_owned);
        let mut line: Vec<String> = self.wrapper.iter().cloned().chain(smbd).collect();
        let program = line.remove(0);
        let mut command = command(&program, line);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; `make tools`")));
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.server.as_mut().and_then(|server| server.try_wait().unwrap());
            let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "smbd ended: {ended:?}\n{log}");
            assert!(began.elapsed() < START_LIMIT, "smbd takes no connections\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(server) = &self.server {
            kill_process_group(Pid::from_child(server), signal).unwrap();
        }
    }

    /// Kills the server and all that work for it.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut server) = self.server.take() {
            server.wait().unwrap();
        }
    }

    /// Kills those that work for one connection each; the server goes on and takes new ones.
    pub fn kill_connections(&self) {
        for child in self.connections() {
            // It may have ended meanwhile.
            let _ = kill_process(child, Signal::KILL);
        }
    }

    /// Lets everything stand still, or go on.
    pub fn freeze(&self, is_frozen: bool) {
        self.signal(if is_frozen { Signal::STOP } else { Signal::CONT });
        // Each process stops for itself.
        if is_frozen && let Some(server) = &self.server {
            let pids = std::iter::once(Pid::from_child(server)).chain(self.connections());
            pids.for_each(|pid| wait_until("a stopped server", || is_stopped(pid)));
        }
    }

    /// Children of the server that hold a connection of a client.
    fn connections(&self) -> Vec<Pid> {
        let Some(server) = &self.server else { return Vec::new() };
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.id())).unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        let holds_connection = |pid: &Pid| {
            let Ok(files) = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) else { return false };
            let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
            let sockets: Vec<String> = links
                .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
                .collect();
            let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
            // Column 4 is the state, 01 for a connection; column 10 the socket.
            table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|columns| {
                columns.get(3) == Some(&"01") && sockets.iter().any(|socket| columns.get(9) == Some(&socket.as_str()))
            })
        };
        pids.filter(holds_connection).collect()
    }
}

impl Drop for Samba {
    fn drop(&mut self) {
        self.freeze(false);
        self.kill();
    }
}

/// The number of [`USER`].
pub fn user_id() -> u32 {
    run("id", ["-u", USER]).trim().parse().unwrap()
}

/// A port that nobody uses, and that the kernel gives to no connection either: between now and the last time that the
/// server is started again, any connection of any test could take one of those.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let end: u32 = range.split_whitespace().next().unwrap().parse().unwrap();
    let start = end / 2;
    // Programs of tests that run at the same time begin at different places.
    let first = std::process::id().wrapping_mul(61);
    let tried = (0..end - start).map(|_| start + first.wrapping_add(NEXT.fetch_add(1, SeqCst)) % (end - start));
    let mut free = tried.filter_map(|port| u16::try_from(port).ok());
    free.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("all ports are in use")
}
