//! The main job: a server is saved by the live medium, its disk is replaced, the medium restores it, and it starts again
//! as itself.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::ganesha::Ganesha;
use tests::medium::built_once;
use tests::run;
use tests::samba::{PASSWORD, Samba, Share};
use tests::vm::{Firmware, Machine, Setup, Start};

const MIB: usize = 1 << 20;
/// What the server is asked for, and its disk.
struct Server {
    directory: TempDir,
    firmware: Firmware,
}

impl Server {
    fn new(firmware: Firmware) -> Self {
        let name = if firmware == Firmware::Bios { "bios" } else { "uefi" };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/server.sh");
        let built = built_once(&format!("server-{name}"), &["tests/vm/server.sh", "image-build"], |directory| {
            run(script.to_str().unwrap(), [name, directory.join("disk").to_str().unwrap()]);
        });
        let directory = tempfile::tempdir().unwrap();
        run("cp", ["--sparse=always".as_ref(), built.join("disk").as_os_str(), directory.path().as_os_str()]);
        Self { directory, firmware }
    }

    fn disk(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    /// Starts it from a disk; returns what it says when it is up.
    fn start(&self, disk: &Path, serial: &str) -> String {
        let mut machine = Setup::new(Start::Disk).firmware(self.firmware).memory(512).disk(disk, serial).run();
        machine.wait_for("server is up: ");
        let line = machine.wait_for("\n");
        machine.wait_for_end();
        line
    }

    /// A new disk: larger, and full of what was never zero.
    fn replacement(&self) -> PathBuf {
        let path = self.directory.path().join("replacement");
        let mut file = File::create(&path).unwrap();
        let piece = vec![0xa5; MIB];
        for _ in 0..400 {
            file.write_all(&piece).unwrap();
        }
        path
    }
}

/// The medium, with its network, and the disk attached.
fn appliance(disk: &Path, serial: &str) -> Machine {
    let start = Start::Kernel("sosei.console=shell".into());
    let mut machine = Setup::new(start).disk(disk, serial).run();
    machine.wait_for_shell();
    machine.wait_for_network();
    machine
}

/// What names a disk and its file systems: signature, table, UUIDs.
fn identity(disk: &Path) -> String {
    let loop_device = tests::LoopDevice::attach(disk, 512);
    let path = loop_device.path().display();
    run("partx", ["--update".to_owned(), path.to_string()]);
    let script =
        format!("sfdisk --dump {path} | sed 's|{path}|disk|g'; blkid -p {path} {path}p* | sed 's|{path}|disk|g'");
    run("sh", ["-ec", &script])
}

fn check_comes_back(server: &Server, target: &str, password: &str) {
    assert!(server.start(&server.disk(), "OLD-DISK-17").contains("node1.example, 1 times"));
    let (digest, known) = (run("sha256sum", [server.disk()]), identity(&server.disk()));

    let mut medium = appliance(&server.disk(), "OLD-DISK-17");
    medium.shell(&format!("export SOSEI_PASSWORD='{password}'"));
    medium.shell(&format!("sosei save '{target}' node1 /dev/vda"));
    println!("saved after {:.1} s", medium.elapsed().as_secs_f64());
    assert_eq!(medium.shell("blockdev --getro /dev/vda").trim(), "1");
    medium.turn_off();
    assert_eq!(run("sha256sum", [server.disk()]), digest, "the source was written to");

    let replacement = server.replacement();
    let mut medium = appliance(&replacement, "NEW-DISK-42");
    medium.shell(&format!("export SOSEI_PASSWORD='{password}'"));
    assert!(medium.shell("sosei disks").contains("NEW-DISK-42"));
    medium.shell(&format!("sosei restore '{target}' node1 /dev/vda --yes"));
    println!("restored after {:.1} s", medium.elapsed().as_secs_f64());
    assert_eq!(medium.shell("blockdev --getro /dev/vda").trim(), "1", "protected again after the restore");
    medium.turn_off();

    assert_eq!(identity(&replacement), known);
    assert!(server.start(&replacement, "NEW-DISK-42").contains("node1.example, 2 times"));
}

#[test]
fn a_server_with_a_bios_comes_back_from_an_nfs_export() {
    let server = Server::new(Firmware::Bios);
    let exported = tempfile::tempdir().unwrap();
    fs::set_permissions(exported.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ganesha = Ganesha::start(exported.path());
    let target = ganesha.target(exported.path(), "").replace("127.0.0.1", "10.0.2.2");
    check_comes_back(&server, &target, "");
}

#[test]
fn a_server_with_secure_boot_comes_back_from_an_smb_share() {
    let server = Server::new(Firmware::SecureBoot);
    let shared = tempfile::tempdir().unwrap();
    let samba = Samba::start(&[Share::new("images", shared.path())]);
    let target = samba.target("images", "").replace("127.0.0.1", "10.0.2.2");
    check_comes_back(&server, &target, PASSWORD);
}
