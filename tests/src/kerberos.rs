//! A real Kerberos server, MIT's, on a free port of the loopback device, with all its files in a directory of its own.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::samba::free_port;
use crate::tool::{command, run_status};

/// The realm that it serves.
pub const REALM: &str = "LAB.TEST";
const START_LIMIT: Duration = Duration::from_secs(30);

/// A running server. It ends with this value.
pub struct Kerberos {
    directory: TempDir,
    port: u16,
    server: Option<Child>,
}

impl Kerberos {
    /// A server that knows one user, and one service as `cifs/host`.
    ///
    /// # Panics
    /// Where it is missing or does not start.
    pub fn start(user: &str, password: &str, service: &str) -> Self {
        for tool in ["krb5kdc", "kdb5_util", "kadmin.local"] {
            let found = run_status("sh", ["-c", &format!("command -v {tool} || command -v /usr/sbin/{tool}")]);
            assert!(found.status.success(), "{tool} is missing; `make tools` installs it");
        }
        let mut kerberos = Self { directory: tempfile::tempdir().unwrap(), port: free_port(), server: None };
        let (directory, port) = (kerberos.directory.path().display(), kerberos.port);
        // A stand-alone Samba refuses tickets with privileges of a domain in them.
        let profile = format!(
            "[kdcdefaults]\nkdc_listen = 127.0.0.1:{port}\nkdc_tcp_listen = 127.0.0.1:{port}\n[realms]\n{REALM} = {{\n\
             database_name = {directory}/principal\nkey_stash_file = {directory}/stash\nacl_file = {directory}/acl\n\
             disable_pac = true\n}}\n[logging]\nkdc = FILE:{directory}/log\n"
        );
        fs::write(kerberos.directory.path().join("kdc.conf"), profile).unwrap();
        fs::write(kerberos.directory.path().join("krb5.conf"), kerberos.configuration("127.0.0.1")).unwrap();
        kerberos.tool("kdb5_util", &["create", "-s", "-r", REALM, "-P", "of-the-database"]);
        let keytab = kerberos.keytab().display().to_string();
        for query in [
            format!("addprinc -pw {password} {user}@{REALM}"),
            format!("addprinc -randkey {service}@{REALM}"),
            format!("ktadd -k {keytab} {service}@{REALM}"),
        ] {
            kerberos.tool("kadmin.local", &["-r", REALM, "-q", &query]);
        }
        let mut server = kerberos.command("krb5kdc", &["-n"]);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        kerberos.server = Some(server.spawn().unwrap_or_else(|error| panic!("krb5kdc: {error}; `make tools`")));
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", kerberos.port)).is_err() {
            let ended = kerberos.server.as_mut().and_then(|server| server.try_wait().unwrap());
            let log = fs::read_to_string(kerberos.directory.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && began.elapsed() < START_LIMIT, "krb5kdc: {ended:?}\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
        kerberos
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = command(program, arguments);
        let file = |name: &str| self.directory.path().join(name);
        command.env("KRB5_CONFIG", file("krb5.conf")).env("KRB5_KDC_PROFILE", file("kdc.conf"));
        command
    }

    fn tool(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program, arguments).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The keys of the service.
    pub fn keytab(&self) -> PathBuf {
        self.directory.path().join("keytab")
    }

    /// What Samba needs to know to believe its tickets.
    pub fn samba_options(&self) -> String {
        let keytab = self.keytab().display().to_string();
        format!("realm = {REALM}\nkerberos method = dedicated keytab\ndedicated keytab file = {keytab}\n")
    }

    /// The configuration of a client that reaches this machine as `host`.
    pub fn configuration(&self, host: &str) -> String {
        format!(
            "[libdefaults]\ndefault_realm = {REALM}\ndns_lookup_kdc = false\nrdns = false\n[realms]\n{REALM} = {{\n\
             kdc = {host}:{}\n}}\n",
            self.port
        )
    }
}

impl Drop for Kerberos {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
