//! The used bytes of F2FS made with mkfs.f2fs and filled by sload.f2fs or by a real kernel, compared with partclone's own
//! map, and proved by fsck.f2fs on a restore of nothing but the covered bytes.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use block::{Extents, InRegion, RegionExtent};
use filesystem::{Coverage, NoteCode, ReasonCode, Survey, survey};
use tests::blkid::check_same_identity;
use tests::fill::fill;
use tests::fixture::unpack;
use tests::partclone::used_blocks;
use tests::restored::restore_covered;
use tests::{FileDisk, run};

const MIB: u64 = 1 << 20;

fn make(image: &Path, size: u64, options: &[&str]) {
    fs::File::create(image).unwrap().set_len(size).unwrap();
    run("mkfs.f2fs", ["-q"].iter().chain(options).copied().chain([image.to_str().unwrap()]));
}

fn survey_file(image: &Path) -> Survey {
    survey(&FileDisk::open(image))
}

#[track_caller]
fn used(image: &Path) -> Extents<InRegion> {
    match survey_file(image).coverage {
        Coverage::Used(used) => used,
        Coverage::Whole(reason) => panic!("whole: {reason:?}"),
    }
}

#[track_caller]
fn check_whole(image: &Path, code: ReasonCode, detail: &str) {
    match survey_file(image).coverage {
        Coverage::Used(_) => panic!("used, expected {code:?}"),
        Coverage::Whole(reason) => {
            assert_eq!(reason.code, code, "{reason:?}");
            assert!(reason.detail.contains(detail), "{reason:?}");
        }
    }
}

/// What fsck.f2fs counts, on a file system that it finds nothing wrong with. It follows everything from the root.
#[track_caller]
fn counts_of_fsck(image: &Path) -> Vec<String> {
    let printed = run("fsck.f2fs", ["-f", "--dry-run", image.to_str().unwrap()]);
    let results = printed.lines().filter(|line| line.contains("[Ok..]") || line.contains("[Fail]"));
    let results: Vec<_> = results.map(str::to_owned).collect();
    assert!(results.len() > 8 && results.iter().all(|line| line.contains("[Ok..]")), "{printed}");
    results
}

/// Exactly what partclone saves.
#[track_caller]
fn check_partclone(image: &Path) {
    let used = used(image);
    let size = fs::metadata(image).unwrap().len();
    let superblock = fs::read(image).unwrap()[1024..4096].to_vec();
    let word = |at: usize| u64::from(u32::from_le_bytes(superblock[at..at + 4].try_into().unwrap()));
    let (main, main_end) = (word(92) * 4096, (word(92) + word(68) * 512) * 4096);
    let (block_size, theirs) = used_blocks("partclone.f2fs", image);
    assert_eq!(block_size, 4096);
    // Behind the main area partclone takes bits that nobody set; the first block of the main area it always saves.
    let tail = RegionExtent::between(main_end, size);
    let ours_in_areas = used.difference(&tail.into());
    let mut theirs = theirs.difference(&tail.into());
    let first = RegionExtent::between(main, main + 4096);
    if !used.contains(first) {
        theirs.remove(first);
    }
    assert_eq!(ours_in_areas, theirs);
}

/// The identity is that of blkid, and fsck.f2fs finds a restore of nothing but the used bytes as good as the source.
#[track_caller]
fn check_restores(image: &Path, least_free: u64) {
    let (used, survey) = (used(image), survey_file(image));
    assert_eq!(survey.notes, []);
    let size = fs::metadata(image).unwrap().len();
    assert!(size - used.total_bytes() > least_free, "{} of {size} bytes used", used.total_bytes());

    let file_system = survey.file_system.unwrap();
    check_same_identity(image, &file_system);

    let restored = image.with_extension("restored");
    restore_covered(&FileDisk::open(image), &used, &restored);
    assert_eq!(counts_of_fsck(&restored), counts_of_fsck(image));
}

/// A file system before and after sload.f2fs has filled it. With the extended node bitmap partclone 0.3.23 ends with a
/// segmentation fault.
#[track_caller]
fn check(size: u64, options: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let (image, content) = (directory.path().join("image"), directory.path().join("content"));
    make(&image, size, options);
    check_restores(&image, size / 4);
    fs::create_dir(&content).unwrap();
    fill(&content);
    // It writes holes as blocks.
    fs::remove_file(content.join("holes")).unwrap();
    run("sload.f2fs", ["-f", content.to_str().unwrap(), image.to_str().unwrap()]);
    check_restores(&image, size / 4);
    if !options.contains(&"-i") {
        check_partclone(&image);
    }
}

#[test]
fn used_bytes_of_what_sload_fills() {
    check(100 * MIB, &["-l", "a label"]);
    check(300 * MIB + 12 * 4096 + 512, &["-O", "extra_attr,inode_checksum,sb_checksum,inode_crtime,lost_found"]);
    check(256 * MIB, &["-s", "4", "-z", "2", "-a", "0"]);
    check(256 * MIB, &["-i"]);
}

#[test]
fn a_file_system_that_the_kernel_filled() {
    let directory = tempfile::tempdir().unwrap();
    let image = unpack("flash/f2fs-unmounted", directory.path());
    check_restores(&image, 20 * MIB);
    check_partclone(&image);
}

#[test]
fn what_was_synced_after_the_checkpoint_is_never_missed() {
    for (name, detail) in [
        ("flash/f2fs-synced", "the last checkpoint is not that of an unmount"),
        ("flash/f2fs-synced-after-unmount", "was synced after the last checkpoint"),
        ("flash/f2fs-checkpoint", "the last checkpoint is not that of an unmount"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        check_whole(&unpack(name, directory.path()), ReasonCode::NotClean, detail);
    }
}

#[test]
fn several_devices_and_zones() {
    let directory = tempfile::tempdir().unwrap();
    let (image, second) = (directory.path().join("image"), directory.path().join("second"));
    fs::File::create(&second).unwrap().set_len(100 * MIB).unwrap();
    make(&image, 100 * MIB, &["-c", second.to_str().unwrap()]);
    let survey = survey_file(&image);
    assert!(matches!(survey.coverage, Coverage::Whole(_)), "{survey:?}");
    assert!(matches!(survey_file(&second).coverage, Coverage::Whole(_)));
}

#[test]
fn the_second_superblock_stands_in_for_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, 100 * MIB, &["-O", "extra_attr,sb_checksum"]);
    let before = used(&image);
    let bend = |position: u64, bytes: &[u8]| {
        OpenOptions::new().write(true).open(&image).unwrap().write_all_at(bytes, position).unwrap();
    };
    bend(1024 + 2000, &[1]);
    assert_eq!(used(&image), before);
    assert_eq!(survey_file(&image).notes[0].code, NoteCode::Errors);
    bend(4096 + 1024 + 2000, &[1]);
    check_whole(&image, ReasonCode::Damaged, "a superblock with the checksum");
}
