//! The program is killed at every kind of system call that changes something, one call later each time. Whatever is
//! left behind must be whole or absent, and the same command must finish the work.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::path::Path;

use tests::fill::content;
use tests::program::{Finished, sosei, tampered};
use tests::run_status;
use tests::sample::{Content, MIB, SampleDisk};

/// A disk with a file system and `raw` MiB of bytes that do not shrink.
fn disk(raw: u64) -> SampleDisk {
    let mut disk = SampleDisk::new("node.img", (34 + raw) * MIB);
    disk.sgdisk(&["-n1:1M:+32M", &format!("-n2:33M:+{raw}M"), "-c2:raw"]);
    disk.add("p1", MIB, 32 * MIB, Content::Ext4, 512);
    disk.add("p2", 33 * MIB, raw * MIB, Content::Raw, 512);
    disk
}

/// Chunks in all packs of a repository in which nothing is damaged.
fn chunks(target: &str) -> u64 {
    sosei(["verify", target, "--json"]).expect(0).json()["verification"]["chunks"].as_u64().unwrap()
}

/// A repository with the disk saved without interruption.
fn saved(disk: &SampleDisk) -> tempfile::TempDir {
    let repository = tempfile::tempdir().unwrap();
    sosei(["save", repository.path().to_str().unwrap(), "node", disk.text()]).expect(0);
    repository
}

/// Bytes of all packs.
fn pack_bytes(repository: &Path) -> u64 {
    let directories = std::fs::read_dir(repository.join("packs")).unwrap();
    let files = directories.flat_map(|directory| std::fs::read_dir(directory.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// What a killed save may leave behind: nothing, an unfinished image, or a whole one. Never damage.
fn check_left_behind(target: &str, killed: &Finished) {
    assert!(killed.is_killed(), "{killed:?}");
    let verified = sosei(["verify", target, "--json"]);
    if verified.status == 1 {
        assert_eq!(verified.code(), "no-repository");
        return;
    }
    verified.expect(0);
    let listed = sosei(["images", target, "--json"]).expect(0).json();
    for image in listed["images"].as_array().unwrap() {
        assert!(image["state"] == "unfinished" || image["state"] == "whole", "{image}");
    }
}

/// The same command again finishes a save, and the repository then holds what one save stores, once.
fn check_finishes(target: &str, disk: &SampleDisk, expected_chunks: u64) {
    let again = sosei(["save", target, "node", disk.text(), "--json"]);
    match again.status {
        // It was killed after the image had come into being.
        4 => assert_eq!(again.code(), "image-exists"),
        _ => drop(again.expect(0)),
    }
    sosei(["compare", target, "node", disk.text()]).expect(0);
    assert_eq!(chunks(target), expected_chunks, "nothing is stored twice");
    let left = std::fs::read_dir(Path::new(target).join("images/node")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(left.iter().all(|name| !name.contains(".part")), "{left:?}");
}

#[test]
fn a_save_that_is_killed_at_any_call_is_finished_by_the_next() {
    let disk = disk(4);
    let expected = chunks(saved(&disk).path().to_str().unwrap());
    let mut points = 0;
    for call in ["write", "fsync", "rename", "renameat2"] {
        // Writes of the middle are all alike: some of them are enough.
        for number in (1..).filter(|number| call != "write" || *number < 16 || number % 4 == 0) {
            let repository = tempfile::tempdir().unwrap();
            let target = repository.path().to_str().unwrap();
            let tampering = format!("{call}:signal=SIGKILL:when={number}");
            let killed = tampered(&tampering, ["save", target, "node", disk.text(), "--json"]);
            if killed.status == 0 {
                break;
            }
            check_left_behind(target, &killed);
            check_finishes(target, &disk, expected);
            points += 1;
        }
    }
    assert!(points >= 30, "{points} points");
}

#[test]
fn a_save_that_is_killed_again_and_again_goes_on_each_time() {
    let disk = SampleDisk::new("node.img", 90 * MIB);
    disk.write(0, &content(1, 90 * MIB as usize));
    let uninterrupted = saved(&disk);
    let expected = chunks(uninterrupted.path().to_str().unwrap());
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    let mut kills = 0_u64;
    loop {
        let tampering = format!("write:signal=SIGKILL:when={}", 14 + kills % 5);
        let killed = tampered(&tampering, ["save", target, "node", disk.text(), "--json"]);
        // Killed when the image had come into being, the save before was the last.
        if killed.status == 0 || killed.status == 4 {
            break;
        }
        check_left_behind(target, &killed);
        kills += 1;
        assert!(kills < 100, "the save does not come forward");
    }
    assert!(kills >= 10, "{kills} kills");
    check_finishes(target, &disk, expected);
    // A kill costs a pack of its own: its header, and where its index begins and ends.
    let (once, killed) = (pack_bytes(uninterrupted.path()), pack_bytes(repository.path()));
    assert!(killed <= once + kills * 4096, "{kills} kills, {once} bytes without, {killed} with them");
}

#[test]
fn a_restore_that_is_killed_leaves_no_table_until_it_is_finished() {
    let disk = disk(48);
    let repository = saved(&disk);
    let target = repository.path().to_str().unwrap();
    let other = SampleDisk::new("other.img", disk.size());
    let before = |other: &SampleDisk| {
        other.write(0, &vec![0xA5; other.size() as usize]);
        other.sgdisk(&["-o", "-n1:0:0"]);
        std::fs::read(&other.path).unwrap()
    };
    let (mut points, mut without_table) = (0, 0);
    for call in ["fallocate", "pwrite64", "fsync", "pread64"] {
        // Reads are many: of the repository, and of what was written.
        for number in (1..).filter(|number| call != "pread64" || *number < 16 || number % 2 == 0) {
            let untouched = before(&other);
            let tampering = format!("{call}:signal=SIGKILL:when={number}");
            let killed = tampered(&tampering, ["restore", target, "node", other.text(), "--yes"]);
            if killed.status == 0 {
                sosei(["compare", target, "node", other.text()]).expect(0);
                break;
            }
            assert!(killed.is_killed(), "{killed:?}");
            points += 1;
            if run_status("sfdisk", ["--dump", other.text()]).status.success() {
                let is_whole = || sosei(["compare", target, "node", other.text()]).status == 0;
                assert!(
                    std::fs::read(&other.path).unwrap() == untouched || is_whole(),
                    "{tampering}: half a disk boots"
                );
            } else {
                without_table += 1;
            }
        }
    }
    assert!(points >= 50 && without_table >= 15, "{points} points, {without_table} without table");
    before(&other);
    sosei(["restore", target, "node", other.text(), "--yes"]).expect(0);
    sosei(["compare", target, "node", other.text()]).expect(0);
}
