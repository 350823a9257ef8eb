//! Targets that need the system of the live medium: what it mounts for the program, and unmounts again.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;
use tests::ganesha::Ganesha;
use tests::kerberos::{Kerberos, REALM};
use tests::program::sosei;
use tests::run;
use tests::samba::{PASSWORD, Samba, Share, USER};
use tests::sample::{Content, MIB, SampleDisk};
use tests::vm::{Machine, Setup, Start};

/// File systems that this machine's kernel need not know: label, and what makes it.
const DISKS: [(&str, &str); 3] =
    [("EXFAT", "mkfs.exfat -L EXFAT"), ("FAT32", "mkfs.vfat -F 32 -n FAT32"), ("NTFS", "mkfs.ntfs -q -F -Q -L NTFS")];
/// The disks that are saved, as the machine calls them.
const NODES: [&str; 7] = ["vdd", "vde", "vdf", "vdg", "vdh", "vdi", "vdj"];
/// How the machine calls this one: Kerberos knows servers by name.
const HOST: &str = "files.lab.test";

fn disk(directory: &TempDir, (label, make): (&str, &str)) -> PathBuf {
    let path = directory.path().join(label);
    File::create(&path).unwrap().set_len(96 * MIB).unwrap();
    run("sh", ["-ec", &format!("{make} {} > /dev/null", path.display())]);
    path
}

/// Runs a line beside others; it is waited for with `wait`.
fn start(machine: &mut Machine, name: &str, line: &str) {
    // Nobody takes the number of the one before for that of this one.
    machine.shell(&format!(
        "rm -f /tmp/process; {{ ({line} > /tmp/{name} 2>&1 & echo $! > /tmp/process; wait $!; echo =$? >> /tmp/{name}) & }}"
    ));
}

/// Waits until the line that was started has mounted its target, or has ended: a machine that starts everything at the
/// same instant mounts nothing in time. Says whether it was mounted.
fn wait_for_mount(machine: &mut Machine, name: &str) -> bool {
    let is_mounted = "[ -s /tmp/process ] && grep -q -- \"-$(cat /tmp/process)[- ]\" /proc/mounts";
    let has_ended = format!("grep -q ^= /tmp/{name}");
    let wait =
        format!("for i in $(seq 300); do {is_mounted} && echo mounted && break; {has_ended} && break; sleep 0.1; done");
    machine.shell(&wait).contains("mounted")
}

/// Looks at how a line ended that ran beside others.
fn assert_ended(machine: &mut Machine, name: &str, status: i32, said: &str) {
    let printed = machine.shell(&format!("cat /tmp/{name}"));
    assert!(printed.trim_end().ends_with(&format!("={status}")) && printed.contains(said), "{name}: {printed}");
}

#[test]
fn the_medium_mounts_what_the_program_can_not_and_unmounts_it() {
    let (directory, exported) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(exported.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ganesha = Ganesha::start_4(exported.path());
    let servers = SmbServers::start();
    let mut source = SampleDisk::new("node.img", 10 * MIB);
    source.divide(512, "label: dos\nstart=1MiB, size=8MiB, type=da\n");
    source.add("p1", MIB, 8 * MIB, Content::Raw, 512);
    let mut setup = Setup::new(Start::Kernel("sosei.console=shell".into())).memory(2048);
    for made in DISKS {
        setup = setup.disk(&disk(&directory, made), made.0);
    }
    // The same machine seven times, for seven targets at once: a save watches its disk for a while before it begins.
    for node in &NODES {
        let copy = directory.path().join(node);
        fs::copy(&source.path, &copy).unwrap();
        setup = setup.disk(&copy, node);
    }
    let mut machine = setup.run();
    machine.wait_for_shell();
    machine.wait_for_network();
    servers.refuse(&mut machine);
    // First those that a server must let in within a limit.
    let disks = DISKS.map(|(label, _)| format!("usb:{label}"));
    let targets: Vec<String> = [ganesha.target_4("10.0.2.2")].into_iter().chain(disks).collect();
    servers.hold_a_lock(&mut machine);
    for (target, node) in targets.iter().zip(NODES) {
        if node == NODES[1] {
            servers.start_saves(&mut machine);
        }
        start(&mut machine, node, &format!("sosei save '{target}' node /dev/{node} --progress none"));
        wait_for_mount(&mut machine, node);
    }
    machine.shell("wait");
    for node in &NODES[..4] {
        assert_ended(&mut machine, node, 0, "");
    }
    servers.are_saved_to(&mut machine);
    servers.is_saved_after_a_cut(&mut machine);
    for (target, node) in targets.iter().zip(NODES) {
        start(&mut machine, node, &format!("sosei verify '{target}' --progress none"));
    }
    servers.are_read_by_a_ticket(&mut machine);
    machine.shell("wait");
    for node in &NODES[..4] {
        assert_ended(&mut machine, node, 0, "");
    }
    // All disks are protected again, and nothing that mounted them is left.
    assert_eq!(machine.shell("cat /sys/block/vd?/ro").split_whitespace().collect::<String>(), "1111111111");
    assert_eq!(machine.shell("grep -c /run/sosei/ /proc/mounts || true").trim(), "0");
    assert_eq!(machine.shell("ls /run/sosei | grep -c -e '^vd' -e '^export' -e '^share' || true").trim(), "0");
    let (status, said) = machine.try_shell("sosei images 'nfs://10.0.2.2:1/1?version=4' --json");
    assert!(status == 1 && said.contains("target-unreachable"), "{status}: {said}");
    println!("all targets after {:.1} s", machine.elapsed().as_secs_f64());
    machine.turn_off();
    // What lies on the servers is a repository as any other.
    sosei(["compare", exported.path().to_str().unwrap(), "node", source.text()]).expect(0);
    for image in ["node", "other", "held"] {
        sosei(["compare", servers.shared.path().to_str().unwrap(), image, source.text()]).expect(0);
    }
    sosei(["verify", servers.shared.path().to_str().unwrap()]).expect(0);
}

/// Samba with Kerberos, and one that a client can agree with on SMB 3.0 at most. Both share one directory, to those who
/// encrypt what they say.
struct SmbServers {
    shared: TempDir,
    kerberos: Kerberos,
    newer: Samba,
    older: Samba,
    /// A server that takes connections, and says nothing.
    silent: TcpListener,
}

impl SmbServers {
    fn start() -> Self {
        let shared = tempfile::tempdir().unwrap();
        let kerberos = Kerberos::start(USER, PASSWORD, &format!("cifs/{HOST}"));
        let shares = [Share::new("secret", shared.path()).with("smb encrypt = required")];
        let newer = Samba::with(&shares, &kerberos.samba_options(), &[]);
        let older = Samba::with(&shares, "server max protocol = SMB3_00", &[]);
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { shared, kerberos, newer, older, silent }
    }

    fn by_ticket(&self) -> String {
        format!("smb://{HOST}:{}/secret?security=kerberos", self.newer.proxy.port())
    }

    fn by_name(&self) -> String {
        self.by_ticket().replace("smb://", &format!("smb://{USER}%40{REALM}@"))
    }

    fn by_kernel(&self) -> String {
        format!("smb://{USER}@10.0.2.2:{}/secret?client=kernel", self.newer.proxy.port())
    }

    /// What is refused, and how it is told.
    fn refuse(&self, machine: &mut Machine) {
        machine.shell(&format!("echo 10.0.2.2 {HOST} >> /etc/hosts"));
        for line in self.kerberos.configuration("10.0.2.2").lines() {
            machine.shell(&format!("echo '{line}' >> /etc/krb5.conf"));
        }
        let by_kernel = self.by_kernel();
        let nobody = by_kernel.replace(USER, "no-such-user");
        let no_share = by_kernel.replace("secret", "absent");
        let nowhere = format!("smb://{USER}@10.0.2.2:1/secret?client=kernel");
        let guest = by_kernel.replace(&format!("{USER}@"), "");
        let absent = by_kernel.replace("secret", "secret/absent");
        for (password, target, status, code) in [
            ("wrong", &by_kernel, 1, "target-login"),
            ("wrong", &self.by_name(), 1, "target-login"),
            // The server would let this one in as a guest.
            (PASSWORD, &nobody, 1, "target-login"),
            (PASSWORD, &no_share, 1, "target-no-export"),
            (PASSWORD, &absent, 1, "target-no-export"),
            (PASSWORD, &nowhere, 1, "target-unreachable"),
            (PASSWORD, &guest, 2, "target-address"),
            (PASSWORD, &self.by_ticket(), 2, "target-ticket"),
        ] {
            let line = format!("SOSEI_PASSWORD={password} sosei images '{target}' --json --progress none");
            let (ended, said) = machine.try_shell(&line);
            assert!(ended == status && said.contains(&format!("\"{code}\"")), "{target}: {ended}: {said}");
            Self::nothing_is_left(machine, target);
        }
    }

    /// Lets another client of the share have the lock of an image: one that lives, as its beat shows, and that speaks
    /// `smb://` by itself, for all that can be seen.
    fn hold_a_lock(&self, machine: &mut Machine) {
        let options = format!("port={},username={USER},nosharesock", self.newer.proxy.port());
        let mount = format!("mount.cifs //10.0.2.2/secret /run/by-hand -o {options}");
        machine.shell(&format!("mkdir /run/by-hand && export PASSWD_FD=0 && printf {PASSWORD} | {mount}"));
        machine.shell(
            "unset PASSWD_FD; mkdir /run/by-hand/locks && echo owner other > /run/by-hand/locks/save-held.g1.lock",
        );
        // In a shell of its own, which no `wait` knows; it ends by itself.
        let beat = "[ -e /tmp/let-go ] && break; echo beat $i > /run/by-hand/locks/save-held.g1.beat; sleep 1";
        machine.shell(&format!("( (for i in $(seq 300); do {beat}; done; echo > /tmp/silent) > /dev/null 2>&1 & )"));
    }

    /// At the same time: a ticket that is got with a password, what the program itself can't, and a lock that another
    /// has. While they watch their disks, a server that does not answer; not before, as the kernel mounts one share at a
    /// time.
    fn start_saves(&self, machine: &mut Machine) {
        let by_program = format!("smb://{USER}@10.0.2.2:{}/secret", without_encryption(self.older.proxy.port()));
        machine.shell(&format!("export SOSEI_PASSWORD={PASSWORD}"));
        for (target, image, disk) in [
            (&self.by_name(), "node", NODES[4]),
            (&by_program, "other", NODES[5]),
            (&self.by_kernel(), "held", NODES[6]),
        ] {
            start(machine, image, &format!("sosei save '{target}' {image} /dev/{disk} --json --progress none"));
            assert!(wait_for_mount(machine, image), "{image}: not by the kernel's client");
        }
        let silent = self.silent.local_addr().unwrap().port();
        let target = format!("smb://{USER}@10.0.2.2:{silent}/x?client=kernel");
        start(machine, "late", &format!("sosei images '{target}' --json --progress none"));
        machine.shell("unset SOSEI_PASSWORD");
    }

    fn are_saved_to(&self, machine: &mut Machine) {
        assert_ended(machine, "node", 0, "");
        assert_ended(machine, "other", 0, "");
        assert_ended(machine, "held", 4, "\"image-busy\"");
        assert_ended(machine, "late", 1, "\"target-unreachable\"");
        machine.shell("touch /tmp/let-go; for i in $(seq 600); do [ -e /tmp/silent ] && break; sleep 0.1; done");
        machine.shell("rm /run/by-hand/locks/save-held.*; umount /run/by-hand");
        Self::nothing_is_left(machine, "saves");
    }

    /// A connection that breaks: the session goes on or ends in order, and the next one completes the image.
    fn is_saved_after_a_cut(&self, machine: &mut Machine) {
        machine.shell(&format!("export SOSEI_PASSWORD={PASSWORD}"));
        let line = format!("sosei save '{}' held /dev/{} --json --progress none", self.by_kernel(), NODES[6]);
        start(machine, "held", &line);
        assert!(wait_for_mount(machine, "held"));
        self.newer.proxy.cut();
        machine.shell("for i in $(seq 3000); do grep -q ^= /tmp/held && break; sleep 0.1; done");
        let printed = machine.shell("cat /tmp/held");
        if !printed.trim_end().ends_with("=0") {
            assert!(printed.contains("\"target-"), "{printed}");
            machine.shell(&format!("{line} > /dev/null"));
        }
        machine.shell("unset SOSEI_PASSWORD");
        Self::nothing_is_left(machine, "a cut");
    }

    /// A ticket that somebody else has got is used, and stays.
    fn are_read_by_a_ticket(&self, machine: &mut Machine) {
        machine.shell(&format!("echo {PASSWORD} | kinit {USER}@{REALM} > /dev/null"));
        let by_ticket = self.by_ticket();
        machine.shell(&format!("sosei verify '{by_ticket}' > /dev/null"));
        let somebody = self.by_name().replace(USER, "other");
        let (status, said) = machine.try_shell(&format!("sosei images '{somebody}' --json"));
        assert!(status == 2 && said.contains("target-ticket"), "{status}: {said}");
        machine.shell("klist -s && kdestroy");
        Self::nothing_is_left(machine, "a ticket");
    }

    /// Nothing is mounted, no ticket can be used, and no directory stays.
    fn nothing_is_left(machine: &mut Machine, after: &str) {
        let left =
            machine.shell("grep /run/sosei/share /proc/mounts; ls /run/sosei | grep share; klist -s && klist; true");
        assert_eq!(left.trim(), "", "{after}");
    }
}

/// A way to an SMB server on which the first who connects has no encryption on offer.
///
/// Source: [MS-SMB2] 2.2.3: the capabilities of a NEGOTIATE request, behind a header of 64 bytes and the length.
fn without_encryption(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (number, client) in listener.incoming().enumerate() {
            let (Ok(mut client), Ok(mut server)) = (client, TcpStream::connect(("127.0.0.1", server))) else { return };
            if number == 0 {
                let mut request = [0; 77];
                if client.read_exact(&mut request).is_err() {
                    return;
                }
                request[76] &= !0x40;
                server.write_all(&request).unwrap();
            }
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    port
}
