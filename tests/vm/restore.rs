//! The main job: a server is saved by the live medium, through its screens, its disk is replaced, the medium restores it,
//! and it starts again as itself. The medium starts each time in another way.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tests::ganesha::Ganesha;
use tests::medium::built_once;
use tests::run;
use tests::samba::{PASSWORD, Samba, Share, USER};
use tests::vm::operator::{Job, Operator, Target};
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

/// The medium as this firmware starts it, at an entry of its menu, with the disk attached.
fn appliance(server: &Server, start: Start, entry: &str, disk: &Path, serial: &str) -> Machine {
    let is_direct = matches!(start, Start::Kernel(_));
    let mut machine = Setup::new(start).firmware(server.firmware).memory(768).disk(disk, serial).run();
    if !is_direct {
        machine.wait_for("Turn off");
        machine.send(entry);
        machine.wait_for("Sosei: reading the medium");
    }
    machine.wait_for("console ttyS0 ready");
    println!("{:?}: the first console after {:.1} s", server.firmware, machine.elapsed().as_secs_f64());
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

const OLD: &str = "OLD-DISK-17";
const NEW: &str = "NEW-DISK-42";

/// Leaves the screens, looks at the disk, and turns the machine off.
fn part(mut machine: Machine) {
    assert_eq!(machine.shell("blockdev --getro /dev/vda").trim(), "1", "the disk is protected");
    assert_eq!(machine.shell("cat /proc/sys/kernel/tainted").trim(), "0");
    machine.turn_off();
}

/// Saves the disk at the screens that stand there.
fn save(machine: &mut Machine, language: &'static str, target: &Target<'_>) {
    let mut operator = Operator::new(machine, language);
    let told = operator.run(&Job::Save { disk: OLD }, target, "node1");
    assert!(told.contains(operator.words().get("outcome.good")), "{told}");
    operator.quit();
}

/// Restores it onto the disk that stands in its place.
fn restore(machine: &mut Machine, language: &'static str, target: &Target<'_>) {
    let mut operator = Operator::new(machine, language);
    let told = operator.run(&Job::Restore { disk: NEW, name: "/dev/vda" }, target, "node1");
    assert!(told.contains(operator.words().get("outcome.good")), "{told}");
    operator.quit();
}

/// In Japanese, from a CD; the medium's kernel without a loader brings it back.
#[test]
fn a_server_with_a_bios_comes_back_from_an_nfs_export() {
    let server = Server::new(Firmware::Bios);
    let exported = tempfile::tempdir().unwrap();
    fs::set_permissions(exported.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ganesha = Ganesha::start(exported.path());
    let target = Target {
        kind: "nfs",
        fields: vec![
            ("server", format!("10.0.2.2:{}", ganesha.nfs.port())),
            ("export", exported.path().display().to_string()),
            ("options", format!("mountport={}", ganesha.mount.port())),
        ],
    };
    assert!(server.start(&server.disk(), OLD).contains("node1.example, 1 times"));
    let (digest, known) = (run("sha256sum", [server.disk()]), identity(&server.disk()));

    let mut medium = appliance(&server, Start::Cd, "j", &server.disk(), OLD);
    save(&mut medium, "ja", &target);
    println!("saved after {:.1} s", medium.elapsed().as_secs_f64());
    part(medium);
    assert_eq!(run("sha256sum", [server.disk()]), digest, "the source was written to");

    let replacement = server.replacement();
    let mut medium = appliance(&server, Start::Kernel("sosei.lang=ja".into()), "", &replacement, NEW);
    restore(&mut medium, "ja", &target);
    println!("restored after {:.1} s", medium.elapsed().as_secs_f64());
    part(medium);

    assert_eq!(identity(&replacement), known);
    assert!(server.start(&replacement, NEW).contains("node1.example, 2 times"));
}

/// In English: saved from a CD and restored from a USB stick, each under Secure Boot.
#[test]
fn a_server_with_secure_boot_comes_back_from_an_smb_share() {
    let server = Server::new(Firmware::SecureBoot);
    let shared = tempfile::tempdir().unwrap();
    let samba = Samba::start(&[Share::new("images", shared.path())]);
    let target = Target {
        kind: "smb",
        fields: vec![
            ("server", format!("10.0.2.2:{}", samba.proxy.port())),
            ("share", "images".into()),
            ("user", USER.into()),
            ("password", PASSWORD.into()),
        ],
    };
    assert!(server.start(&server.disk(), OLD).contains("node1.example, 1 times"));
    let (digest, known) = (run("sha256sum", [server.disk()]), identity(&server.disk()));

    // The entry of the menu with a shell.
    let mut medium = appliance(&server, Start::Cd, "x", &server.disk(), OLD);
    medium.wait_for("sosei# ");
    check_secure_boot(&mut medium);
    medium.shell("efibootmgr -q -c -d /dev/vda -p 1 -L node1 -l '\\EFI\\BOOT\\BOOTX64.EFI'");
    medium.send("sosei\r");
    save(&mut medium, "en", &target);
    println!("saved after {:.1} s", medium.elapsed().as_secs_f64());
    part(medium);
    assert_eq!(run("sha256sum", [server.disk()]), digest, "the source was written to");

    // Another board, which knows nothing of the server.
    let replacement = server.replacement();
    let mut medium = appliance(&server, Start::Usb, "s", &replacement, NEW);
    restore(&mut medium, "en", &target);
    println!("restored after {:.1} s", medium.elapsed().as_secs_f64());
    let entries = medium.shell("efibootmgr -v | grep node1");
    assert!(entries.to_lowercase().contains("5053e100-57e1-4b0e-9d3f-2a7d8e4b6c11"), "{entries}");
    part(medium);

    assert_eq!(identity(&replacement), known);
    assert!(server.start(&replacement, NEW).contains("node1.example, 2 times"));
}

/// From the command line; the disk with the images is moved from one machine to the other.
#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn a_server_comes_back_from_a_usb_disk() {
    let server = Server::new(Firmware::Bios);
    assert!(server.start(&server.disk(), OLD).contains("node1.example, 1 times"));
    let (digest, known) = (run("sha256sum", [server.disk()]), identity(&server.disk()));
    let images = server.directory.path().join("images");
    File::create(&images).unwrap().set_len(600 * MIB as u64).unwrap();
    run("sh", ["-ec", &format!("mkfs.vfat -F 32 -n IMAGES {} > /dev/null", images.display())]);
    let machine = |disk: &Path, serial: &str| {
        let setup = Setup::new(Start::Kernel("sosei.console=shell".into())).disk(disk, serial).disk(&images, "USB-1");
        let mut machine = setup.run();
        machine.wait_for_shell();
        machine
    };

    let mut medium = machine(&server.disk(), OLD);
    println!("{}", medium.shell("sosei save usb:IMAGES node1 /dev/vda --progress none"));
    part(medium);
    assert_eq!(run("sha256sum", [server.disk()]), digest, "the source was written to");

    let replacement = server.replacement();
    let mut medium = machine(&replacement, NEW);
    println!("{}", medium.shell("sosei restore usb:IMAGES node1 /dev/vda --yes --progress none"));
    assert_eq!(medium.shell("blockdev --getro /dev/vdb").trim(), "1", "so is the disk with the images");
    part(medium);

    assert_eq!(identity(&replacement), known);
    assert!(server.start(&replacement, NEW).contains("node1.example, 2 times"));
}

/// The firmware runs only what is signed, and the kernel allows nothing that would get around it.
fn check_secure_boot(medium: &mut Machine) {
    let variable = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    assert_eq!(medium.shell(&format!("od -An -tu1 {variable} | awk '{{ print $NF }}'")).trim(), "1");
    assert!(medium.shell("dmesg | grep -i 'kernel is locked down'").contains("ocked"));
}
