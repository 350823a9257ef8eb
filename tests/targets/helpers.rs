//! The programs of the system that mount a target for Sosei: what they see, and what is left of them when Sosei is killed.
//!
//! Kerberos is real. What mounts is a script that mounts a directory in the place of a share, as few kernels that build
//! and test programs have an SMB client; the live medium has one, and its tests use it.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tests::kerberos::{Kerberos, REALM};
use tests::program;
use tests::wait::wait_until;

const USER: &str = "saver";
const PASSWORD: &str = "open-sesame";
const SERVICE: &str = "cifs/nas";
const TARGET: &str = "smb://saver@nas/images?security=kerberos";

/// A process that holds a namespace of mounts with a `/run/sosei` of its own: nobody else's sessions are seen.
struct Namespace(Child);

impl Namespace {
    fn new() -> Self {
        let script =
            "mkdir -p /run/sosei && mount -t tmpfs -o mode=700 none /run/sosei && echo ready && exec sleep 600";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut holder = command.spawn().unwrap_or_else(|error| panic!("unshare: {error}; `make tools` installs it"));
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let namespace = Self(holder);
        assert_eq!(line, "ready\n", "this test must run as root");
        namespace
    }

    fn mounts(&self) -> String {
        fs::read_to_string(format!("/proc/{}/mounts", self.0.id())).unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Kerberos server, a cache for tickets, and a script in the place of `mount.cifs`.
struct Scene {
    directory: TempDir,
    kerberos: Kerberos,
    namespace: Namespace,
}

impl Scene {
    fn new() -> Self {
        let (directory, kerberos) = (tempfile::tempdir().unwrap(), Kerberos::start(USER, PASSWORD, SERVICE));
        let scene = Self { directory, kerberos, namespace: Namespace::new() };
        for name in ["share", "bin"] {
            fs::create_dir(scene.file(name)).unwrap();
        }
        let cache = scene.file("cache").display().to_string();
        let configuration = scene.kerberos.configuration("127.0.0.1");
        let configuration = format!("[libdefaults]\ndefault_ccache_name = FILE:{cache}\n{configuration}");
        fs::write(scene.file("krb5.conf"), configuration).unwrap();
        // Where it is to be held, it stays until the test lets it go, or for 15 s.
        let script = format!(
            "#!/bin/sh\ncd {}\nenv > environment\nmount --bind share \"$2\" || exit 1\n[ -e hold ] || exit 0\n\
             : > held\nfor i in $(seq 300); do [ -e go ] && exit 0; sleep 0.05; done\n",
            scene.directory.path().display()
        );
        fs::write(scene.file("bin/mount.cifs"), script).unwrap();
        fs::set_permissions(scene.file("bin/mount.cifs"), fs::Permissions::from_mode(0o755)).unwrap();
        scene
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A program in the namespace, with the environment of an operator.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let path = format!("{}:{}", self.file("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.namespace.0.id())).arg(program).args(arguments);
        command.env("PATH", path).env("KRB5_CONFIG", self.file("krb5.conf")).env_remove("KRB5CCNAME");
        command.env("LC_ALL", "C").env("SOSEI_PASSWORD", PASSWORD).env("AWS_SECRET_ACCESS_KEY", "of-the-storage");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn images(&self, target: &str) -> Command {
        self.command(program::path().to_str().unwrap(), &["images", target, "--json"])
    }

    /// A session that has mounted its share, and stays there.
    fn held(&self) -> Child {
        for name in ["go", "held"] {
            let _ = fs::remove_file(self.file(name));
        }
        fs::write(self.file("hold"), "").unwrap();
        let session = self.images(TARGET).spawn().unwrap();
        wait_until("the share is mounted", || self.file("held").exists());
        fs::remove_file(self.file("hold")).unwrap();
        session
    }

    fn let_go(&self) {
        fs::write(self.file("go"), "").unwrap();
    }

    /// Whose ticket is in the cache.
    fn ticket(&self) -> Option<String> {
        let printed = self.command("klist", &[]).output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        printed.lines().find_map(|line| line.strip_prefix("Default principal: ")).map(str::to_owned)
    }

    fn shares(&self) -> usize {
        self.namespace.mounts().lines().filter(|line| line.contains(" /run/sosei/share-")).count()
    }
}

/// The share was mounted, and is empty.
#[track_caller]
fn check_empty(session: Child) {
    let output = session.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && told.contains("no-repository"), "{told}{errors}");
}

#[test]
fn what_mounts_a_share_sees_no_secret_and_leaves_nothing_behind() {
    let scene = Scene::new();
    let saver = format!("{USER}@{REALM}");

    // Two sessions use one ticket, and the last one takes it away.
    let first = scene.held();
    let environment = fs::read_to_string(scene.file("environment")).unwrap();
    assert!(environment.contains("KRB5_CONFIG="), "{environment}");
    for secret in [PASSWORD, "of-the-storage"] {
        assert!(!environment.contains(secret), "{environment}");
    }
    assert_eq!((scene.ticket(), scene.shares()), (Some(saver.clone()), 1));
    check_empty(scene.images(TARGET).spawn().unwrap());
    assert_eq!((scene.ticket(), scene.shares()), (Some(saver.clone()), 1), "the first one uses it");
    scene.let_go();
    check_empty(first);
    assert_eq!((scene.ticket(), scene.shares()), (None, 0));

    // A ticket that the operator has got meanwhile is the operator's.
    let session = scene.held();
    let keytab = scene.kerberos.keytab();
    let service = format!("{SERVICE}@{REALM}");
    let asked = scene.command("kinit", &["-k", "-t", keytab.to_str().unwrap(), &service]).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    scene.let_go();
    check_empty(session);
    assert_eq!((scene.ticket(), scene.shares()), (Some(service), 0));
    assert!(scene.command("kdestroy", &[]).output().unwrap().status.success());

    // A session that is killed leaves both; whatever the next command opens, it takes them away.
    let mut killed = scene.held();
    killed.kill().unwrap();
    killed.wait().unwrap();
    scene.let_go();
    assert_eq!((scene.ticket(), scene.shares()), (Some(saver), 1));
    check_empty(scene.images(scene.file("share").to_str().unwrap()).spawn().unwrap());
    assert_eq!((scene.ticket(), scene.shares()), (None, 0));

    // A keytab opens as much as a password does.
    let credentials = scene.file("credentials");
    let text = format!("username={USER}\nkeytab={}\n", keytab.display());
    let mut file = fs::File::create(&credentials).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    for path in [&credentials, &keytab] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::set_permissions(&keytab, fs::Permissions::from_mode(0o640)).unwrap();
    let session = scene.images(TARGET).arg("--credentials").arg(&credentials).output().unwrap();
    let told = String::from_utf8_lossy(&session.stdout);
    assert!(session.status.code() == Some(4) && told.contains("credentials-open"), "{told}");
}
