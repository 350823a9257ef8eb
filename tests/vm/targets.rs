//! Targets that need the system of the live medium: what it mounts for the program, and unmounts again.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;
use tests::ganesha::Ganesha;
use tests::program::sosei;
use tests::run;
use tests::sample::{Content, MIB, SampleDisk};
use tests::vm::{Setup, Start};

/// File systems that this machine's kernel need not know: label, and what makes it.
const DISKS: [(&str, &str); 3] =
    [("EXFAT", "mkfs.exfat -L EXFAT"), ("FAT32", "mkfs.vfat -F 32 -n FAT32"), ("NTFS", "mkfs.ntfs -q -F -Q -L NTFS")];

fn disk(directory: &TempDir, (label, make): (&str, &str)) -> PathBuf {
    let path = directory.path().join(label);
    fs::File::create(&path).unwrap().set_len(96 * MIB).unwrap();
    run("sh", ["-ec", &format!("{make} {} > /dev/null", path.display())]);
    path
}

#[test]
fn the_medium_mounts_what_the_program_can_not_and_unmounts_it() {
    let (directory, exported) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::set_permissions(exported.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ganesha = Ganesha::start_4(exported.path());
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
    println!("all targets after {:.1} s", machine.elapsed().as_secs_f64());
    machine.turn_off();
    // What lies on the server is a repository as any other.
    sosei(["compare", exported.path().to_str().unwrap(), "node", source.text()]).expect(0);
}
