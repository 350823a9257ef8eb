//! Two machines on one cable: network namespaces of their own, so that nothing reaches the network of this machine.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use crate::tool;

/// One namespace for the program, another with a server; both go with this value.
pub struct Cable {
    near: String,
    far: String,
    directory: tempfile::TempDir,
    servers: Vec<Child>,
}

/// Address of the server.
pub const SERVER: &str = "198.51.100.1";

impl Cable {
    /// The program's end is `card0`, without an address; the server's end has [`SERVER`].
    ///
    /// # Panics
    /// As everything here, where anything fails.
    pub fn new() -> Self {
        let number = std::process::id();
        let (near, far) = (format!("sosei-near-{number}"), format!("sosei-far-{number}"));
        let mut cable = Self { near, far, directory: tempfile::tempdir().unwrap(), servers: Vec::new() };
        for name in [&cable.near, &cable.far] {
            tool::run("ip", ["netns", "add", name]);
        }
        tool::run("ip", ["-n", &cable.near, "link", "add", "card0", "type", "veth", "peer", "name", "far0"]);
        tool::run("ip", ["-n", &cable.near, "link", "set", "far0", "netns", &cable.far]);
        let address = format!("{SERVER}/24");
        tool::run("ip", ["-n", &cable.far, "address", "add", &address, "dev", "far0"]);
        for (namespace, link) in [(&cable.far, "far0"), (&cable.far, "lo"), (&cable.near, "lo"), (&cable.near, "card0")]
        {
            tool::run("ip", ["-n", namespace, "link", "set", link, "up"]);
        }
        cable.add_tools();
        cable
    }

    /// The medium has its DHCP client and its ping from busybox.
    fn add_tools(&mut self) {
        let tools = self.directory.path().join("tools");
        std::fs::create_dir(&tools).unwrap();
        for name in ["udhcpc", "ping"] {
            std::os::unix::fs::symlink("/bin/busybox", tools.join(name)).unwrap();
        }
    }

    /// Where programs are looked for.
    pub fn path(&self) -> String {
        let tools = self.directory.path().join("tools");
        format!("{}:{}", tools.display(), std::env::var("PATH").unwrap())
    }

    /// The script with which the medium takes a lease. What goes onto the medium gets its mode there.
    pub fn lease_script(&self) -> PathBuf {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../initramfs/root/usr/lib/sosei");
        let copied = ["functions", "udhcpc"].map(|name| {
            let copy = self.directory.path().join(name);
            std::fs::copy(scripts.join(name), &copy).unwrap();
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
            copy
        });
        let [_, script] = copied;
        script
    }

    /// How the program is called: in its namespace, with a `/run` and a kernel log of its own.
    pub fn caller(&self) -> Vec<String> {
        let script = "mount -t tmpfs none /run && mount --bind /dev/null /dev/kmsg && exec \"$0\" \"$@\"";
        ["ip", "netns", "exec", &self.near, "sh", "-c", script].map(str::to_owned).into()
    }

    /// A DHCP server that gives out one address.
    pub fn serve_dhcp(&mut self, address: &str) {
        let directory = self.directory.path();
        let (leases, file) = (directory.join("leases"), directory.join("udhcpd.conf"));
        std::fs::write(&leases, "").unwrap();
        let lines = [
            format!("start {address}"),
            format!("end {address}"),
            "interface far0".into(),
            format!("lease_file {}", leases.display()),
            format!("pidfile {}", directory.join("udhcpd.pid").display()),
            "option subnet 255.255.255.0".into(),
            format!("option router {SERVER}"),
            format!("option dns {SERVER}"),
        ];
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        self.serve(&["udhcpd", "-f", file.to_str().unwrap()]);
    }

    /// Something that listens at the port of HTTPS.
    pub fn serve_https(&mut self) {
        let directory = self.directory.path().to_str().unwrap().to_owned();
        self.serve(&["httpd", "-f", "-p", "443", "-h", &directory]);
    }

    fn serve(&mut self, applet: &[&str]) {
        let words = ["netns", "exec", &self.far, "busybox"].into_iter().chain(applet.iter().copied());
        let mut command = tool::command("ip", words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.servers.push(command.spawn().expect("`make tools` installs ip and busybox"));
    }

    /// What `ip` says in the program's namespace.
    pub fn shown(&self, words: &[&str]) -> String {
        let all = ["-n", &self.near].into_iter().chain(words.iter().copied());
        tool::run("ip", all)
    }
}

impl Default for Cable {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
        // The DHCP client goes on in the background: what still runs in a namespace of ours is ours.
        for name in [&self.near, &self.far] {
            let pids = tool::command("ip", ["netns", "pids", name]).output();
            let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            for pid in pids.lines().filter_map(|line| rustix::process::Pid::from_raw(line.trim().parse().ok()?)) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let _ = tool::command("ip", ["netns", "delete", name]).output();
        }
    }
}
