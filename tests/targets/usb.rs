//! `usb:LABEL`: a file system is found by its label or UUID, mounted, used and unmounted again.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;

use tests::program::{sosei, sosei_with};
use tests::sample::{Content, MIB, SampleDisk};
use tests::{LoopDevice, Mounted, Protected, run, run_status};

/// A label that no other test uses at the same time.
fn label(what: &str) -> String {
    format!("{what}{}", std::process::id())
}

fn source() -> SampleDisk {
    let mut disk = SampleDisk::new("node.img", 26 * MIB);
    disk.divide(512, "label: dos\nstart=1MiB, size=16MiB, type=83\nstart=17MiB, size=8MiB, type=da\n");
    disk.add("p1", MIB, 16 * MIB, Content::Ext4, 512);
    disk.add("p2", 17 * MIB, 8 * MIB, Content::Raw, 512);
    disk
}

/// Whether anything of a device is mounted.
fn is_mounted(device: &LoopDevice) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let device = device.path().to_str().unwrap();
    let is_of =
        |mounted: &str| mounted.strip_prefix(device).is_some_and(|rest| rest.is_empty() || rest.starts_with('p'));
    mounts.lines().any(|line| is_of(line.split(' ').next().unwrap()))
}

/// A disk with an ext4 file system in its second partition.
fn partitioned(label: &str) -> (SampleDisk, LoopDevice) {
    let disk = SampleDisk::new("usb.img", 140 * MIB);
    disk.divide(512, "label: gpt\nstart=1MiB, size=8MiB\nstart=9MiB, size=128MiB\n");
    let device = LoopDevice::attach(&disk.path, 512);
    // For a kernel that can have partitions but reads no tables itself.
    run("partx", ["--update", device.path().to_str().unwrap()]);
    let partition = format!("{}p2", device.path().display());
    run("mke2fs", ["-q", "-F", "-t", "ext4", "-L", label, &partition]);
    (disk, device)
}

#[test]
fn a_disk_that_the_medium_protects_is_writable_while_it_is_a_target() {
    let label = label("UP");
    let (_file, device) = partitioned(&label);
    let disk = source();
    let protected = Protected::new(&device);
    let target = format!("usb:{label}");
    sosei(["save", &target, "node", disk.text()]).expect(0);
    assert!(!is_mounted(&device) && protected.is_read_only());
    sosei(["compare", &target, "node", disk.text()]).expect(0);
    assert!(protected.is_read_only());
}

#[test]
fn a_disk_is_found_used_and_unmounted() {
    let label = label("US");
    let (_file, device) = partitioned(&label);
    let disk = source();
    let partition = format!("{}p2", device.path().display());
    let target = format!("usb:{label}");
    sosei(["save", &target, "node", disk.text()]).expect(0);
    assert!(!is_mounted(&device));
    // It was not just detached in time: it is clean.
    let checked = run_status("e2fsck", ["-f", "-n", &partition]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    sosei(["verify", &target]).expect(0);
    sosei(["compare", &target, "node", disk.text()]).expect(0);
    let uuid = run("blkid", ["-s", "UUID", "-o", "value", &partition]);
    sosei(["images", &format!("usb:{}", uuid.trim())]).expect(0);
    // After an error as well, and after a wrong call.
    assert_eq!(sosei(["save", &target, "node", disk.text(), "--json"]).expect(4).code(), "image-exists");
    assert!(!is_mounted(&device));
    assert_eq!(sosei(["images", &format!("{target}/absent"), "--json"]).expect(1).code(), "target-absent");
    assert!(!is_mounted(&device));
    // A directory below it, while the system has it mounted already: that mount stays.
    let mounted = Mounted::new(partition.as_ref(), "rw");
    fs::create_dir_all(mounted.path().join("a/b")).unwrap();
    sosei(["save", &format!("{target}/a/b"), "node", disk.text()]).expect(0);
    assert!(mounted.path().join("a/b/images/node/manifest.json").exists());
}

#[test]
fn a_disk_that_is_saved_or_overwritten_is_never_mounted() {
    let label = label("SRC");
    let (file, device) = partitioned(&label);
    let (target, path) = (format!("usb:{label}"), device.path().to_str().unwrap());
    let before = fs::read(&file.path).unwrap();
    for arguments in [
        &["save", &target, "node", path, "--json"][..],
        &["restore", &target, "node", path, "--yes", "--json"],
        &["restore", &target, "node", &format!("sda={path}"), "--yes", "--json"],
        &["compare", &target, "node", path, "--json"],
    ] {
        assert_eq!(sosei(arguments).expect(4).code(), "repository-disk", "{arguments:?}");
    }
    run("sync", [] as [&str; 0]);
    assert!(fs::read(&file.path).unwrap() == before, "not one byte was changed");
}

/// Another node may have it mounted, and mounting it alone would write to it.
#[test]
fn a_disk_that_others_may_use_is_never_mounted() {
    let label = label("MMP");
    let (file, device) = partitioned(&label);
    run("mke2fs", ["-q", "-F", "-t", "ext4", "-O", "mmp", "-L", &label, &format!("{}p2", device.path().display())]);
    run("sync", [] as [&str; 0]);
    let (disk, before) = (source(), fs::read(&file.path).unwrap());
    let protected = Protected::new(&device);
    let target = format!("usb:{label}");
    for arguments in [
        &["images", &target, "--json"][..],
        &["show", &target, "node", "--json"],
        &["verify", &target, "--json"],
        &["compare", &target, "node", disk.text(), "--json"],
        &["restore", &target, "node", disk.text(), "--yes", "--json"],
        &["save", &target, "node", disk.text(), "--json"],
    ] {
        assert_eq!(sosei(arguments).expect(4).code(), "shared-images", "{arguments:?}");
        assert!(!is_mounted(&device) && protected.is_read_only());
    }
    run("sync", [] as [&str; 0]);
    assert!(fs::read(&file.path).unwrap() == before, "not one byte was changed");
}

/// A journal that waits would be written back by a plain mount, even a read-only one.
#[test]
fn whoever_reads_images_changes_no_byte_of_the_disk() {
    let elsewhere = tempfile::tempdir().unwrap();
    let label = label("RO");
    let disk = source();
    let target = format!("usb:{label}");
    let (file, device) = partitioned(&label);
    sosei(["save", &target, "node", disk.text()]).expect(0);
    let crashed = {
        let mounted = Mounted::new(format!("{}p2", device.path().display()).as_ref(), "rw");
        fs::write(mounted.path().join("new"), "new").unwrap();
        run("sync", [] as [&str; 0]);
        fs::read(&file.path).unwrap()
    };
    file.write(0, &crashed);
    run("blockdev", ["--flushbufs", device.path().to_str().unwrap()]);
    run("blockdev", ["--flushbufs", &format!("{}p2", device.path().display())]);
    for arguments in [
        &["images", &target][..],
        &["show", &target, "node"],
        &["verify", &target],
        &["checklist", &target, "node"],
        &["compare", &target, "node", disk.text()],
        &["restore", &target, "node", source().text(), "--yes"],
    ] {
        sosei_with(&[("TMPDIR", elsewhere.path().to_str().unwrap())], arguments).expect(0);
        assert!(!is_mounted(&device));
    }
    run("sync", [] as [&str; 0]);
    assert!(fs::read(&file.path).unwrap() == crashed, "not one byte was changed");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 2, "the report of the restore, in both languages");
    // Who saves mounts it for writing, also where a reader that was killed has left it mounted.
    let left = std::path::PathBuf::from(format!("/run/sosei/left-{}", u32::MAX));
    fs::create_dir_all(&left).unwrap();
    let partition = format!("{}p2", device.path().display());
    run("mount", ["-o", "ro,noload", &partition, left.to_str().unwrap()]);
    sosei(["save", &target, "again", disk.text()]).expect(0);
    assert!(!left.exists() && !is_mounted(&device));
}

#[test]
fn a_disk_that_is_not_there_or_there_twice_is_told() {
    let label = label("TWO");
    let target = format!("usb:{label}");
    let absent = sosei(["images", &target, "--json"]).expect(1);
    assert_eq!(absent.code(), "usb-absent");
    let (_one, _first) = partitioned(&label);
    let (_two, second) = partitioned(&label);
    let twice = sosei(["images", &target, "--json"]).expect(2);
    assert_eq!(twice.code(), "usb-ambiguous");
    let message = twice.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains(&format!("{}p2", second.path().display())), "{message}");
    assert!(!is_mounted(&second));
}

#[test]
fn an_ntfs_disk_is_a_target_by_whatever_mounts_it() {
    let label = label("N");
    let file = SampleDisk::new("usb.img", 64 * MIB);
    run("mkfs.ntfs", ["-q", "-F", "-Q", "-L", &label, file.text()]);
    let device = LoopDevice::attach(&file.path, 512);
    let disk = source();
    let target = format!("usb:{label}");
    let protected = Protected::new(&device);
    sosei(["save", &target, "node", disk.text()]).expect(0);
    sosei(["compare", &target, "node", disk.text()]).expect(0);
    assert!(!is_mounted(&device) && protected.is_read_only());
    // One that can't be mounted is told, and is protected again.
    if !fs::read_to_string("/proc/filesystems").unwrap().contains("ntfs3") {
        let failed = sosei_with(&[("PATH", "/absent")], ["images", &target, "--json"]).expect(1);
        assert_eq!(failed.code(), "usb-mount");
    }
    assert!(!is_mounted(&device) && protected.is_read_only());
}

#[test]
fn a_file_system_without_a_partition_table_is_a_disk_too() {
    for (make, size, check) in
        [("mkfs.xfs", 320 * MIB, &["xfs_repair", "-n"]), ("mkfs.btrfs", 128 * MIB, &["btrfs", "check"])]
    {
        let label = label(make.rsplit('.').next().unwrap());
        let file = SampleDisk::new("usb.img", size);
        run(make, ["-q", "-f", "-L", &label, file.text()]);
        let device = LoopDevice::attach(&file.path, 512);
        let disk = source();
        let target = format!("usb:{label}");
        sosei(["save", &target, "node", disk.text()]).expect(0);
        let saved = fs::read(&file.path).unwrap();
        sosei(["compare", &target, "node", disk.text()]).expect(0);
        run("sync", [] as [&str; 0]);
        assert!(!is_mounted(&device) && fs::read(&file.path).unwrap() == saved, "{make}: a reader wrote");
        assert!(run_status(check[0], [check[1], device.path().to_str().unwrap()]).status.success());
    }
}
