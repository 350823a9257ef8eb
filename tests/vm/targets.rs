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
/// How the machine calls this one: Kerberos knows servers by name.
const HOST: &str = "files.lab.test";

fn disk(directory: &TempDir, (label, make): (&str, &str)) -> PathBuf {
    let path = directory.path().join(label);
    File::create(&path).unwrap().set_len(96 * MIB).unwrap();
    run("sh", ["-ec", &format!("{make} {} > /dev/null", path.display())]);
    path
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
    let mut setup = Setup::new(Start::Kernel("sosei.console=shell".into())).disk(&source.path, "NODE");
    for made in DISKS {
        setup = setup.disk(&disk(&directory, made), made.0);
    }
    let mut machine = setup.run();
    machine.wait_for_shell();
    machine.wait_for_network();
    let targets = DISKS.map(|(label, _)| format!("usb:{label}")).into_iter().chain([ganesha.target_4("10.0.2.2")]);
    for target in targets {
        machine.shell(&format!("sosei save '{target}' node /dev/vda > /dev/null"));
        machine.shell(&format!("sosei verify '{target}' > /dev/null"));
        assert_eq!(machine.shell("grep -c /run/sosei/ /proc/mounts || true").trim(), "0", "{target}");
    }
    // All disks are protected again, and nothing that mounted them is left.
    assert_eq!(machine.shell("cat /sys/block/vd?/ro").split_whitespace().collect::<String>(), "1111");
    assert_eq!(machine.shell("ls /run/sosei | grep -c -e '^vd' -e '^export' || true").trim(), "0");
    let (status, said) = machine.try_shell("sosei images 'nfs://10.0.2.2:1/1?version=4' --json");
    assert!(status == 1 && said.contains("target-unreachable"), "{status}: {said}");
    println!("disks and NFS after {:.1} s", machine.elapsed().as_secs_f64());
    servers.are_used_by(&mut machine);
    println!("all targets after {:.1} s", machine.elapsed().as_secs_f64());
    machine.turn_off();
    // What lies on the servers is a repository as any other.
    sosei(["compare", exported.path().to_str().unwrap(), "node", source.text()]).expect(0);
    sosei(["compare", servers.shared.path().to_str().unwrap(), "node", source.text()]).expect(0);
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

    fn are_used_by(&self, machine: &mut Machine) {
        let port = self.newer.proxy.port();
        let by_ticket = format!("smb://{HOST}:{port}/secret?security=kerberos");
        let by_name = format!("smb://{USER}%40{REALM}@{HOST}:{port}/secret?security=kerberos");
        let by_kernel = format!("smb://{USER}@10.0.2.2:{port}/secret?client=kernel");
        let by_program = format!("smb://{USER}@10.0.2.2:{}/secret", without_encryption(self.older.proxy.port()));
        let silent = self.silent.local_addr().unwrap().port();
        machine.shell(&format!("echo 10.0.2.2 {HOST} >> /etc/hosts"));
        for line in self.kerberos.configuration("10.0.2.2").lines() {
            machine.shell(&format!("echo '{line}' >> /etc/krb5.conf"));
        }

        // What is refused.
        let nobody = by_kernel.replace(USER, "no-such-user");
        let no_share = by_kernel.replace("secret", "absent");
        let nowhere = format!("smb://{USER}@10.0.2.2:1/secret?client=kernel");
        let guest = format!("smb://10.0.2.2:{port}/secret?client=kernel");
        let absent = by_kernel.replace("secret", "secret/absent");
        for (password, target, status, code) in [
            ("wrong", &by_kernel, 1, "target-login"),
            ("wrong", &by_name, 1, "target-login"),
            // The server would let this one in as a guest.
            (PASSWORD, &nobody, 1, "target-login"),
            (PASSWORD, &no_share, 1, "target-no-export"),
            (PASSWORD, &absent, 1, "target-no-export"),
            (PASSWORD, &nowhere, 1, "target-unreachable"),
            (PASSWORD, &guest, 2, "target-address"),
            (PASSWORD, &by_ticket, 2, "target-ticket"),
        ] {
            let line = format!("SOSEI_PASSWORD={password} sosei images '{target}' --json --progress none");
            let (ended, said) = machine.try_shell(&line);
            assert!(ended == status && said.contains(&format!("\"{code}\"")), "{target}: {ended}: {said}");
            self.nothing_is_left(machine, target);
            println!("{code} after {:.1} s", machine.elapsed().as_secs_f64());
        }

        // Three at the same time, as each waits for its disk: a ticket that is got with a password, what the program itself
        // can't, and a lock that another has. While they wait, a server that does not answer; not before, as the kernel
        // mounts one share at a time.
        let save = |target: &str, image: &str, disk: &str| {
            let file = format!("/tmp/{image}");
            format!(
                "(sosei save '{target}' {image} /dev/{disk} --json --progress none > {file} 2>&1; echo =$? >> {file}) & "
            )
        };
        // Another client of the share has a lock.
        let by_hand = "mkdir -p /run/by-hand && export PASSWD_FD=0 && printf ";
        let options = format!("port={port},username={USER},nosharesock");
        machine.shell(&format!("{by_hand}{PASSWORD} | mount.cifs //10.0.2.2/secret /run/by-hand -o {options}"));
        machine
            .shell("mkdir /run/by-hand/locks && exec 9> /run/by-hand/locks/save-held && flock -x 9; unset PASSWD_FD");
        let all_mounted = "[ $(grep -c /run/sosei/share /proc/mounts) = 3 ]";
        let late = format!("sosei images 'smb://{USER}@10.0.2.2:{silent}/x?client=kernel' --json > /tmp/late 2>&1");
        let lines = [
            format!("export SOSEI_PASSWORD={PASSWORD}; "),
            save(&by_name, "node", "vda"),
            save(&by_program, "other", "vdb"),
            save(&by_kernel, "held", "vdc"),
            format!("for i in $(seq 100); do {all_mounted} && break; sleep 0.1; done; {late}; echo =$? >> /tmp/late; "),
            "wait; unset SOSEI_PASSWORD".to_owned(),
        ];
        machine.shell(&lines.concat());
        for (name, status, said) in [
            ("node", "=0", ""),
            ("other", "=0", ""),
            ("held", "=4", "\"image-busy\""),
            ("late", "=1", "\"target-unreachable\""),
        ] {
            let printed = machine.shell(&format!("cat /tmp/{name}"));
            assert!(printed.trim_end().ends_with(status) && printed.contains(said), "{name}: {printed}");
        }
        machine.shell("exec 9>&-; umount /run/by-hand");
        println!("saved after {:.1} s", machine.elapsed().as_secs_f64());
        self.nothing_is_left(machine, "all of them");

        // A ticket that somebody else has got is used, and stays.
        machine.shell(&format!("echo {PASSWORD} | kinit {USER}@{REALM} > /dev/null"));
        machine.shell(&format!("sosei verify '{by_ticket}' > /dev/null"));
        let (status, said) = machine.try_shell(&format!("sosei images '{}' --json", by_name.replace(USER, "other")));
        assert!(status == 2 && said.contains("target-ticket"), "{status}: {said}");
        machine.shell("klist -s && kdestroy");
        self.nothing_is_left(machine, "a ticket");
    }

    /// Nothing is mounted, no ticket can be used, and no directory stays.
    fn nothing_is_left(&self, machine: &mut Machine, after: &str) {
        let left = machine.shell("grep /run/sosei/ /proc/mounts; ls /run/sosei | grep share; klist -s && klist; true");
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
