//! A real NFS server, nfs-ganesha, in a network namespace of its own.
//!
//! Debian's rpcbind listens on all addresses, and ganesha does not start without one: so both run where nobody else
//! can reach them, with a `/run` of their own. The test reaches them through a [`Proxy`], whose sockets to the server
//! are made inside the namespace.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::proxy::Proxy;
use crate::wait::{is_stopped, wait_until};
use crate::{run, run_status};

const NFS_PORT: u16 = 12049;
const MOUNT_PORT: u16 = 12050;
const START_LIMIT: Duration = crate::wait::LIMIT;

/// A directory that is exported.
#[derive(Clone, Debug)]
pub struct Export {
    /// The directory; also its name for clients.
    pub path: PathBuf,
    /// Whether clients may only read.
    pub is_read_only: bool,
}

/// A running server. It ends, and everything is taken away, with this value.
pub struct Ganesha {
    directory: TempDir,
    namespace: Namespace,
    rpcbind: Running,
    server: Option<Running>,
    started: u64,
    /// In front of the NFS service.
    pub nfs: Proxy,
    /// In front of the mount service.
    pub mount: Proxy,
}

impl Ganesha {
    /// Exports one directory for reading and writing.
    ///
    /// # Panics
    /// Where a tool is missing or the server does not start.
    pub fn start(path: &Path) -> Self {
        Self::with(&[Export { path: path.to_owned(), is_read_only: false }])
    }

    /// Exports directories.
    ///
    /// # Panics
    /// As [`Ganesha::start`].
    pub fn with(exports: &[Export]) -> Self {
        Self::speaking("3", exports)
    }

    /// Exports one directory for reading and writing, by version 4 as well.
    ///
    /// # Panics
    /// As [`Ganesha::start`].
    pub fn start_4(path: &Path) -> Self {
        Self::speaking("3,4", &[Export { path: path.to_owned(), is_read_only: false }])
    }

    fn speaking(versions: &str, exports: &[Export]) -> Self {
        for tool in ["ganesha.nfsd", "rpcbind", "ip"] {
            let found = run_status("sh", ["-c", &format!("command -v {tool}")]).status.success();
            assert!(found, "{tool} is missing; `make tools` installs it");
        }
        let directory = tempfile::tempdir().unwrap();
        for below in ["run", "run/rpcbind", "run/ganesha"] {
            fs::create_dir(directory.path().join(below)).unwrap();
        }
        fs::write(directory.path().join("ganesha.conf"), configuration(exports, versions)).unwrap();
        let namespace = Namespace::new();
        let rpcbind = namespace.run(directory.path(), "exec rpcbind -f");
        namespace.wait_for(111);
        let (nfs, mount) = (namespace.proxy(NFS_PORT), namespace.proxy(MOUNT_PORT));
        let mut ganesha = Self { directory, namespace, rpcbind, server: None, started: 0, nfs, mount };
        ganesha.resume();
        ganesha
    }

    /// The target of an export behind the proxies, with the directory `below` it.
    pub fn target(&self, export: &Path, below: &str) -> String {
        let (nfs, mount) = (self.nfs.port(), self.mount.port());
        format!("nfs://127.0.0.1:{nfs}{}{below}?mountport={mount}", export.display())
    }

    /// The first export by version 4, as a machine sees it that knows this one as `host`.
    pub fn target_4(&self, host: &str) -> String {
        format!("nfs://{host}:{}/1?version=4", self.nfs.port())
    }

    /// Another proxy in front of the NFS service, with no faults of the first.
    pub fn another_way(&self) -> Proxy {
        self.namespace.proxy(NFS_PORT)
    }

    /// Kills the server (kill -9): what it had not written to disk is lost to its clients.
    pub fn kill(&mut self) {
        drop(self.server.take());
    }

    /// Starts it again after [`Ganesha::kill`], and waits until it can be used.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn resume(&mut self) {
        let directory = self.directory.path().display();
        let line = format!("exec ganesha.nfsd -F -f {directory}/ganesha.conf -L {directory}/log -p {directory}/pid");
        // Its write verifier is the second in which it started: two starts in one would be one server for clients.
        while seconds() == self.started {
            thread::sleep(Duration::from_millis(10));
        }
        self.server = Some(self.namespace.run(self.directory.path(), &line));
        self.namespace.wait_for(NFS_PORT);
        self.namespace.wait_for(MOUNT_PORT);
        // It looked at its clock before it could be reached.
        self.started = seconds();
    }

    /// Stops the server in the middle of whatever it does (SIGSTOP), or lets it go on.
    ///
    /// # Panics
    /// Where it was killed.
    pub fn freeze(&self, is_frozen: bool) {
        let signal = if is_frozen { Signal::STOP } else { Signal::CONT };
        let pid = self.server.as_ref().unwrap().pid();
        kill_process(pid, signal).unwrap();
        // Each thread stops for itself.
        wait_until("a server that stands still or goes on", || is_stopped(pid) == is_frozen);
    }

    /// Runs the program inside the namespace, where the server has its own address and a portmapper.
    pub fn inside(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace.name]).arg(crate::program::path()).args(arguments);
        command.env_remove("LANG").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    /// Moves the calling thread, and all that it starts from now on, to where the server is; tells the port of NFS
    /// and that of the mount service there.
    ///
    /// # Panics
    /// Where it may not.
    pub fn enter(&self) -> (u16, u16) {
        enter(&self.namespace.name).unwrap();
        (NFS_PORT, MOUNT_PORT)
    }

    /// The process of the portmapper: that it runs is needed by the server.
    pub fn portmapper(&self) -> u32 {
        self.rpcbind.0.id()
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn configuration(exports: &[Export], versions: &str) -> String {
    let mut text = format!(
        "NFS_CORE_PARAM {{ NFS_Port={NFS_PORT}; MNT_Port={MOUNT_PORT}; Enable_NLM=false; Enable_RQUOTA=false;
           NFS_Protocols={versions}; mount_path_pseudo=false; Enable_UDP=false; }}
         NFS_KRB5 {{ Active_krb5=false; }}
         NFSV4 {{ Graceless=true; Only_Numeric_Owners=true; Allow_Numeric_Owners=true; }}
         EXPORT_DEFAULTS {{ Protocols={versions}; Transports=TCP; Squash=None; SecType=sys; }}\n"
    );
    for (number, export) in (1..).zip(exports) {
        let access = if export.is_read_only { "RO" } else { "RW" };
        let path = export.path.display();
        text += &format!(
            "EXPORT {{ Export_Id={number}; Path={path}; Pseudo=/{number}; Access_Type={access}; \
             FSAL {{ Name=VFS; }} }}\n"
        );
    }
    text
}

/// A process that is killed with this value.
struct Running(Child);

impl Running {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace with nothing but a loopback interface.
struct Namespace {
    name: String,
}

impl Namespace {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("sosei-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        run("ip", ["netns", "add", &name]);
        run("ip", ["-n", &name, "link", "set", "lo", "up"]);
        Self { name }
    }

    /// Runs a line of a shell inside, with `run` of `directory` in the place of `/run`.
    fn run(&self, directory: &Path, line: &str) -> Running {
        let line = format!("mount --bind {}/run /run && {line}", directory.display());
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "sh", "-c", &line]);
        let output = File::create(directory.join("output")).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        Running(command.spawn().unwrap_or_else(|error| panic!("ip: {error}; `make tools` installs it")))
    }

    /// A proxy in front of a port inside.
    fn proxy(&self, port: u16) -> Proxy {
        let namespace = self.name.clone();
        Proxy::with(Arc::new(move || connect_inside(&namespace, port)))
    }

    /// Waits until something listens on a port.
    fn wait_for(&self, port: u16) {
        let began = Instant::now();
        while connect_inside(&self.name, port).is_err() {
            assert!(began.elapsed() < START_LIMIT, "nothing listens on port {port} in {}", self.name);
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run_status("ip", ["netns", "delete", &self.name]);
    }
}

/// Connects to a port inside a namespace. Only the thread that makes the socket has to be there.
fn connect_inside(namespace: &str, port: u16) -> std::io::Result<TcpStream> {
    let namespace = namespace.to_owned();
    let connecting = thread::spawn(move || -> std::io::Result<TcpStream> {
        enter(&namespace)?;
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(10))
    });
    connecting.join().unwrap()
}

fn enter(namespace: &str) -> std::io::Result<()> {
    let file = File::open(format!("/run/netns/{namespace}"))?;
    Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?)
}
