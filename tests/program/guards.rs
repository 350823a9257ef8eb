//! What a kernel remembers wrongly, other names of what must be kept, and partitions that are left alone.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use tests::fill::content;
use tests::program::sosei;
use tests::sample::{MIB, SampleDisk, read};
use tests::{LoopDevice, Mounted, run};

/// The kernel keeps one cache for a whole disk and one for each of its partitions. What was read through the one is
/// not renewed by what is written through the other, as long as anybody keeps the whole disk open.
#[test]
fn an_old_cache_of_the_whole_disk_hides_no_used_block() {
    let disk = SampleDisk::new("node.img", 96 * MIB);
    disk.divide(512, "label: dos\nstart=1MiB, type=83\n");
    let device = LoopDevice::attach(&disk.path, 512);
    let whole = device.path().to_str().unwrap();
    // Where the kernel scans partitions by itself, they are there already.
    tests::run_status("partx", ["--add", whole]);
    let partition = PathBuf::from(format!("{whole}p1"));
    run("mkfs.ext4", ["-q", "-F", "-b", "4096", partition.to_str().unwrap()]);
    let mut somebody = File::open(device.path()).unwrap();
    let mut cached = Vec::new();
    somebody.read_to_end(&mut cached).unwrap();
    let new = content(3, 30 * MIB as usize);
    {
        let mounted = Mounted::new(&partition, "rw");
        fs::write(mounted.path().join("new"), &new).unwrap();
    }
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", whole]).expect(0);
    drop(somebody);
    tests::run_status("partx", ["--delete", whole]);
    drop(device);

    let restored = SampleDisk::new("restored.img", disk.size());
    sosei(["restore", target, "node", restored.text(), "--yes"]).expect(0);
    let file_system = disk.path.with_file_name("partition.img");
    fs::write(&file_system, read(&restored.path, MIB, restored.size() - MIB)).unwrap();
    run("e2fsck", ["-fn", file_system.to_str().unwrap()]);
    let mounted = Mounted::new(&file_system, "ro,loop");
    assert!(fs::read(mounted.path().join("new")).unwrap() == new, "the file comes back as it was");
}

#[test]
fn the_files_of_a_repository_are_known_by_all_their_names() {
    let place = SampleDisk::new("place.img", 64 * MIB);
    run("mkfs.ext4", ["-q", "-F", place.text()]);
    let device = LoopDevice::attach(&place.path, 512);
    let mounted = Mounted::new(device.path(), "rw");
    let target = mounted.path().join("repository");
    fs::create_dir(&target).unwrap();
    let target_text = target.to_str().unwrap();
    let disk = SampleDisk::new("node.img", MIB);
    disk.write(0, &content(1, MIB as usize));
    sosei(["save", target_text, "node", disk.text()]).expect(0);
    let pack = find_pack(&target);

    let refuse = |destination: &Path, code: &str| {
        let finished =
            sosei(["restore", target_text, "node", destination.to_str().unwrap(), "--yes", "--json"]).expect(4);
        assert_eq!(finished.code(), code, "{}", destination.display());
        sosei(["verify", target_text]).expect(0);
    };
    refuse(&pack, "repository-disk");
    let over_pack = LoopDevice::attach(&pack, 512);
    refuse(over_pack.path(), "repository-disk");
    drop(over_pack);
    let link = mounted.path().join("link.img");
    fs::hard_link(&pack, &link).unwrap();
    refuse(&link, "other-names");
    let second = LoopDevice::attach(&place.path, 512);
    refuse(second.path(), "repository-disk");
    let over_device = LoopDevice::attach(device.path(), 512);
    refuse(over_device.path(), "repository-disk");
    let twice_over = LoopDevice::attach(over_device.path(), 512);
    refuse(twice_over.path(), "repository-disk");
    // Reading it while images are written there is no better.
    let own = twice_over.path().to_str().unwrap();
    assert_eq!(sosei(["save", target_text, "own", own, "--json"]).expect(4).code(), "repository-disk");
}

fn find_pack(repository: &Path) -> PathBuf {
    let first = |directory: PathBuf| fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    first(first(repository.join("packs")))
}

#[test]
fn a_file_under_two_loop_devices_is_one_disk() {
    let disk = SampleDisk::new("node.img", 4 * MIB);
    disk.write(0, &content(1, MIB as usize));
    let repository = tempfile::tempdir().unwrap();
    let (one, other) = (LoopDevice::attach(&disk.path, 512), LoopDevice::attach(&disk.path, 512));
    let (one, other) = (one.path().to_str().unwrap(), other.path().to_str().unwrap());
    let target = repository.path().to_str().unwrap();
    assert_eq!(sosei(["save", target, "node", one, other, "--json"]).expect(2).code(), "disk-twice");
    assert_eq!(sosei(["save", target, "node", one, "--json"]).expect(4).code(), "disk-in-use");
}

/// The kernel keeps nobody from a disk while a loop device shows it under another name.
#[test]
fn a_loop_device_over_a_disk_is_no_destination_and_the_disk_is_in_use() {
    let disk = SampleDisk::new("node.img", MIB);
    disk.write(0, &content(1, MIB as usize));
    let device = LoopDevice::attach(&disk.path, 512);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", device.path().to_str().unwrap()]).expect(0);
    let other = SampleDisk::new("other.img", MIB);
    let device = LoopDevice::attach(&other.path, 512);
    let over = LoopDevice::attach(device.path(), 512);
    for (path, code) in [(over.path(), "loop-over-device"), (device.path(), "disk-in-use")] {
        let finished = sosei(["restore", target, "node", path.to_str().unwrap(), "--yes", "--json"]).expect(4);
        assert_eq!(finished.code(), code);
    }
    let both = [device.path(), over.path()].map(|path| path.to_str().unwrap());
    assert_eq!(sosei(["save", target, "both", both[0], both[1], "--json"]).expect(2).code(), "disk-twice");
    assert!(fs::read(&other.path).unwrap().iter().all(|byte| *byte == 0));
    drop(over);
    sosei(["restore", target, "node", device.path().to_str().unwrap(), "--yes"]).expect(0);
}

#[test]
fn of_partitions_that_are_not_written_no_byte_is_cleared() {
    let disk = SampleDisk::new("node.img", 16 * MIB);
    disk.divide(512, "label: dos\nstart=1, size=8000, type=83\nstart=8192, type=83\n");
    disk.write(512, &content(1, 8000 * 512));
    disk.write(8192 * 512, &content(2, (disk.size() - 8192 * 512) as usize));
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "all", disk.text()]).expect(0);
    sosei(["save", target, "first", disk.text(), "--region", "p1"]).expect(0);
    let other = SampleDisk::new("other.img", disk.size());
    for (image, option) in [("all", "--layout-only"), ("first", "--no-verify")] {
        let present = content(7, disk.size() as usize);
        other.write(0, &present);
        sosei(["restore", target, image, other.text(), "--yes", option]).expect(0);
        let after = fs::read(&other.path).unwrap();
        assert_eq!(after[510..512], [0x55, 0xAA], "{option}: the table is there");
        assert!(after[8192 * 512..] == present[8192 * 512..], "{option}: the last partition is left alone");
        if option == "--layout-only" {
            assert!(after[512..8001 * 512] == present[512..8001 * 512], "{option}: so is the first");
        }
    }
}

#[test]
fn a_damaged_image_can_be_found_before_the_disk_is_cleared() {
    let disk = SampleDisk::new("node.img", 4 * MIB);
    disk.write(0, &content(1, 2 * MIB as usize));
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text()]).expect(0);
    let pack = find_pack(repository.path());
    let mut bytes = fs::read(&pack).unwrap();
    bytes[100_000] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let other = SampleDisk::new("other.img", disk.size());
    other.write(0, &content(7, disk.size() as usize));
    let finished = sosei(["restore", target, "node", other.text(), "--yes", "--verify-first", "--json"]).expect(5);
    assert_eq!(finished.code(), "damaged");
    assert!(fs::read(&other.path).unwrap() == content(7, disk.size() as usize), "nothing was cleared");
}
