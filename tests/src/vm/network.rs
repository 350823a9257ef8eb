//! A network of its own with one machine and a server that it boots from: addresses and names of files by DHCP, files by
//! TFTP and HTTP, as docs/live-medium.md tells operators to set it up.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use crate::{run, run_status};

/// The server's address.
const ADDRESS: &str = "10.77.0.1";

/// A network. It ends, with its server, with this value.
pub struct BootServer {
    namespace: String,
    directory: TempDir,
    running: Vec<Child>,
}

impl BootServer {
    /// Serves the directory that the build of the medium made for it.
    ///
    /// # Panics
    /// Where a tool is missing.
    pub fn start(files: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        for tool in ["dnsmasq", "busybox", "ip"] {
            let found = run_status("sh", ["-c", &format!("PATH=$PATH:/usr/sbin; command -v {tool}")]).status.success();
            assert!(found, "{tool} is missing; `make tools` installs it");
        }
        let namespace = format!("sosei-boot-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::SeqCst));
        run("ip", ["netns", "add", &namespace]);
        let mut server = Self { namespace, directory: tempfile::tempdir().unwrap(), running: Vec::new() };
        let name = server.namespace.clone();
        for line in [
            "link set lo up".to_owned(),
            "tuntap add dev tap0 mode tap".to_owned(),
            format!("address add {ADDRESS}/24 dev tap0"),
            "link set tap0 up".to_owned(),
        ] {
            run("ip", ["-n", &name].into_iter().chain(line.split(' ')));
        }
        let configuration = server.directory.path().join("dnsmasq.conf");
        fs::write(&configuration, settings(files, server.directory.path())).unwrap();
        server.serve("dnsmasq", &format!("dnsmasq -k -C {}", configuration.display()));
        server.serve("httpd", &format!("busybox httpd -f -p {ADDRESS}:80 -h {}", files.display()));
        server
    }

    /// Runs a command where the server is, until this value goes.
    fn serve(&mut self, name: &str, line: &str) {
        let output = File::create(self.directory.path().join(name)).unwrap();
        let mut command = self.inside("sh");
        command.args(["-c", &format!("PATH=$PATH:/usr/sbin; exec {line}")]);
        let command = command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        self.running.push(command.spawn().unwrap_or_else(|error| panic!("ip: {error}; `make tools` installs it")));
    }

    /// A command that runs in this network.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command
    }

    /// What the server has given out, for messages.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("dnsmasq")).unwrap_or_default()
    }
}

impl Drop for BootServer {
    fn drop(&mut self) {
        for running in &mut self.running {
            let _ = running.kill();
            let _ = running.wait();
        }
        let _ = run_status("ip", ["netns", "delete", &self.namespace]);
    }
}

/// Source: dnsmasq(8). Option 93 names the architecture: 7 and 9 are UEFI, 16 is UEFI that asks for an address of HTTP.
fn settings(files: &Path, directory: &Path) -> String {
    let files: PathBuf = fs::canonicalize(files).unwrap();
    format!(
        "port=0\nlog-dhcp\nlog-facility=-\ninterface=tap0\nbind-interfaces\nuser=root\n\
         dhcp-leasefile={leases}\ndhcp-range=10.77.0.10,10.77.0.20,1h\ndhcp-rapid-commit\n\
         enable-tftp\ntftp-root={files}\n\
         dhcp-match=set:uefi,option:client-arch,7\ndhcp-match=set:uefi,option:client-arch,9\n\
         dhcp-match=set:http,option:client-arch,16\n\
         dhcp-boot=tag:!uefi,tag:!http,bios.0\ndhcp-boot=tag:uefi,shimx64.efi\n\
         dhcp-option-force=tag:http,60,HTTPClient\ndhcp-boot=tag:http,http://{ADDRESS}/sosei.iso\n",
        leases = directory.join("leases").display(),
        files = files.display(),
    )
}
