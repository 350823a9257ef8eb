//! Used bytes of real Btrfs file systems of one device, compared with what btrfs-progs and partclone say, and proved by a
//! restore of nothing but the covered bytes.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use block::RegionExtent;
use filesystem::{Coverage, NoteCode, ReasonCode, survey};
use tests::blkid::{check_same_identity, value};
use tests::btrfs::BtrfsImage;
use tests::btrfs_checks::{check, check_exact, check_restores, fill_all, fixed, restore, used};
use tests::fill::content;
use tests::partclone::used_blocks;
use tests::{FileDisk, run};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 256 * MIB;

#[track_caller]
fn check_whole(path: &Path, code: ReasonCode, detail: &str) {
    match survey(&FileDisk::open(path)).coverage {
        Coverage::Used(_) => panic!("used, expected {code:?}"),
        Coverage::Whole(reason) => {
            assert_eq!(reason.code, code, "{reason:?}");
            assert!(reason.detail.contains(detail), "{reason:?}");
        }
    }
}

/// partclone 0.3.23 leaves out the room for boot loaders and some tree blocks. It counts in tree blocks and with lengths
/// that were never set, so it saves more as well; data that is in use it never misses.
#[track_caller]
fn check_partclone(image: &BtrfsImage) {
    let (_, theirs) = used_blocks("partclone.btrfs", &image.paths[0]);
    let ours = used(image, 0);
    let mut explained = image.mapped(&image.tree_blocks())[&1].union(&fixed(image, 0));
    explained.remove(RegionExtent::between(0, 68 << 10));
    explained.remove(RegionExtent::between(64 * MIB, 64 * MIB + 4096));
    let missed = ours.difference(&theirs).difference(&explained);
    assert!(missed.is_empty(), "{missed:?}");
}

#[track_caller]
fn check_identity(image: &BtrfsImage) {
    let file_system = image.survey(0).file_system.unwrap();
    check_same_identity(&image.paths[0], &file_system);
    assert_eq!(Some(file_system.block_size.to_string()), value(&image.paths[0], "BLOCK_SIZE"));
}

#[test]
fn the_default_of_one_device() {
    let image = check(1, SIZE + 12345 * 512, "-L label", "rw");
    check_identity(&image);
    check_partclone(&image);
}

#[test]
fn one_device_with_every_profile() {
    let image = check(1, SIZE, "-d single -m single", "rw,compress=zstd");
    check_partclone(&image);
    check(1, SIZE, "-d dup -m dup", "rw,compress-force=lzo");
    check_identity(&check(1, SIZE, "-M -U 00112233-4455-6677-8899-aabbccddeeff", "rw"));
}

#[test]
fn every_checksum() {
    for checksum in ["xxhash", "sha256", "blake2"] {
        check(1, SIZE, &format!("--csum {checksum}"), "rw");
    }
}

#[test]
fn small_and_large_nodes() {
    check(1, SIZE, "-n 4096", "rw");
    check(1, SIZE, "-n 65536", "rw");
}

#[test]
fn features() {
    check(1, SIZE, "-O no-holes -R free-space-tree,quota", "rw");
    check(1, SIZE, "-O ^no-holes,^extref,^skinny-metadata -R ^free-space-tree", "rw,space_cache=v1");
}

#[test]
fn a_changed_uuid() {
    let image = check(1, SIZE, "", "rw");
    run("btrfstune", ["-m", image.paths[0].to_str().unwrap()]);
    assert_ne!(image.field(0, "fsid"), image.field(0, "metadata_uuid"));
    check_exact(&image);
    check_identity(&image);
    check_restores(&image);
}

#[test]
fn a_log_that_waits_to_be_replayed() {
    let image = BtrfsImage::make(1, SIZE, "");
    let copy = BtrfsImage::empty(1, SIZE);
    let synced = content(77, 500_000);
    {
        // No transaction may end in between.
        let mounted = image.mount("rw,commit=300");
        fill_all(mounted.path());
        run("btrfs", ["subvolume", "create", mounted.path().join("second").to_str().unwrap()]);
        run("sync", ["-f", mounted.path().to_str().unwrap()]);
        for (path, content) in [("synced", &synced), ("second/synced", &synced)] {
            let file = File::create(mounted.path().join(path)).unwrap();
            file.write_all_at(content, 0).unwrap();
            file.sync_all().unwrap();
        }
        run("cp", ["--sparse=always", image.paths[0].to_str().unwrap(), copy.paths[0].to_str().unwrap()]);
    }
    assert_ne!(copy.field(0, "log_root"), "0");
    let survey = copy.survey(0);
    assert_eq!(survey.notes[0].code, NoteCode::NotClean, "{:?}", survey.notes);
    let log = copy.log_extents();
    let extents = copy.logical_extents();
    let new = |extent: &&(u64, u64)| !extents.contains(extent);
    assert!(log.iter().filter(new).map(|(_, length)| length).sum::<u64>() > 1_000_000, "{log:?}");
    let expected = copy.mapped(&[extents.clone(), log.clone()].concat())[&1].union(&fixed(&copy, 0));
    assert_eq!(used(&copy, 0), expected);

    let restored = restore(&copy);
    {
        let mounted = restored.mount("rw");
        for path in ["synced", "second/synced"] {
            assert_eq!(fs::read(mounted.path().join(path)).unwrap(), synced, "{path}");
        }
    }
    restored.check();

    // A log that can't be followed: all of it in both copies.
    let root = copy.mapped(&[(copy.field(0, "log_root").parse().unwrap(), 4096)]).remove(&1).unwrap();
    for place in root.iter() {
        bend(&copy.paths[0], place.start() + 200);
    }
    check_whole(&copy.paths[0], ReasonCode::NotClean, "the log can't be followed: at byte");
}

fn bend(path: &Path, position: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[!byte[0]], position).unwrap();
}

#[test]
fn a_damaged_tree_block_is_read_from_its_other_copy() {
    let image = BtrfsImage::make(1, SIZE, "");
    fill_all(image.mount("rw").path());
    let before = used(&image, 0);
    for tree in ["root", "chunk_root"] {
        let places = image.mapped(&[(image.field(0, tree).parse().unwrap(), 4096)]).remove(&1).unwrap();
        let places: Vec<_> = places.iter().map(|place| place.start() + 300).collect();
        assert_eq!(places.len(), 2, "{tree}");
        bend(&image.paths[0], places[0]);
        assert_eq!(used(&image, 0), before);
        bend(&image.paths[0], places[1]);
        check_whole(&image.paths[0], ReasonCode::Damaged, "a tree block with the checksum that it holds");
        places.iter().for_each(|place| bend(&image.paths[0], *place));
        assert_eq!(used(&image, 0), before);
    }
}

#[test]
fn a_smaller_file_system_than_its_device() {
    let image = BtrfsImage::make(1, 2 * SIZE, "");
    {
        let mounted = image.mount("rw");
        fill_all(mounted.path());
        run("btrfs", ["filesystem", "resize", "400M", mounted.path().to_str().unwrap()]);
    }
    assert_eq!(image.survey(0).file_system.unwrap().size, 400 * MIB);
    check_exact(&image);
    check_restores(&image);
}
