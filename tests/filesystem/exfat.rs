//! The used bytes of exFAT volumes made with mkfs.exfat and filled through FUSE or by a real kernel, compared with
//! partclone's own map and with fsck.exfat, and proved by a restore of nothing but the covered bytes.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::{Extents, InRegion, RegionExtent};
use filesystem::{Coverage, NoteCode, ReasonCode, Survey, survey};
use tests::blkid::{check_same_identity, value};
use tests::exfat::ExfatMounted;
use tests::fill::content;
use tests::fixture::unpack;
use tests::partclone::used_blocks;
use tests::restored::{restore_covered, tree};
use tests::{FileDisk, run};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn make(image: &Path, size: u64, options: &[&str]) {
    fs::File::create(image).unwrap().set_len(size).unwrap();
    run("mkfs.exfat", options.iter().copied().chain([image.to_str().unwrap()]));
}

/// Files of many sizes, every third deleted, one in the holes left, and two that grow in turns.
fn fill(root: &Path) {
    let directory = root.join("a directory with a long name/deeper");
    fs::create_dir_all(&directory).unwrap();
    for number in 0..60_u64 {
        fs::write(directory.join(format!("file {number:02} 蘇生")), content(number, 1700 * number as usize)).unwrap();
    }
    for number in (0..60).step_by(3) {
        fs::remove_file(directory.join(format!("file {number:02} 蘇生"))).unwrap();
    }
    fs::write(root.join("fragmented"), content(99, 900_000)).unwrap();
    for turn in 0..10_u64 {
        for name in ["left", "right"] {
            let file = OpenOptions::new().append(true).create(true).open(root.join(name)).unwrap();
            std::io::Write::write_all(&mut &file, &content(turn, 20_000)).unwrap();
        }
    }
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

/// Files and directories of a volume that fsck.exfat finds nothing wrong with.
#[track_caller]
fn count_of_fsck(image: &Path) -> String {
    let printed = run("fsck.exfat", ["-n", image.to_str().unwrap()]);
    let line = printed.lines().find(|line| line.contains("clean.")).unwrap_or_else(|| panic!("{printed}"));
    line.split_once("clean.").unwrap().1.to_owned()
}

fn files(image: &Path) -> BTreeMap<PathBuf, String> {
    tree(ExfatMounted::new(image, "ro").path())
}

/// Exactly what partclone saves but for the sectors that fill no cluster, and the same volume after a restore.
#[track_caller]
fn check_filled(image: &Path) {
    let (used, survey) = (used(image), survey_file(image));
    assert_eq!(survey.notes, []);
    let size = fs::metadata(image).unwrap().len();
    let (sector, theirs) = used_blocks("partclone.exfat", image);
    let boot = fs::read(image).unwrap();
    let word = |at: usize| u64::from(u32::from_le_bytes(boot[at..at + 4].try_into().unwrap()));
    assert_eq!(u64::from(sector), 1 << boot[108]);
    let heap_end = (word(88) << boot[108]) + (word(92) << (boot[108] + boot[109]));
    let tail = RegionExtent::between(heap_end, size);
    assert_eq!(used, theirs.union(&tail.into()));

    let file_system = survey.file_system.unwrap();
    check_same_identity(image, &file_system);
    assert_eq!(Some(file_system.block_size.to_string()), value(image, "BLOCK_SIZE"));

    let restored = image.with_extension("restored");
    restore_covered(&FileDisk::open(image), &used, &restored);
    assert_eq!(count_of_fsck(&restored), count_of_fsck(image));
    let expected = files(image);
    assert!(expected.len() > 40, "{expected:?}");
    assert_eq!(files(&restored), expected);
}

#[track_caller]
fn check(size: u64, options: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, size, options);
    fill(ExfatMounted::new(&image, "rw").path());
    check_filled(&image);
}

#[test]
fn used_bytes_of_small_and_large_clusters() {
    check(100 * MIB, &["-L", "a label"]);
    check(64 * MIB + 512 * 3, &["-c", "512"]);
    check(300 * MIB + 9 * KIB, &["-c", "128K", "-L", "蘇生"]);
}

#[test]
fn used_bytes_with_the_bitmap_among_the_tables() {
    check(200 * MIB, &["-c", "4K", "--pack-bitmap", "-b", "1M"]);
}

#[test]
fn a_volume_that_the_kernel_filled() {
    let directory = tempfile::tempdir().unwrap();
    let image = unpack("flash/exfat-unmounted", directory.path());
    check_filled(&image);
}

#[test]
fn a_volume_that_is_mounted_is_not_clean() {
    let directory = tempfile::tempdir().unwrap();
    let image = unpack("flash/exfat-mounted", directory.path());
    check_whole(&image, ReasonCode::NotClean, "the volume is marked dirty");
}

#[test]
fn damage() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, 100 * MIB, &["-c", "4K"]);
    let bend = |position: u64, bytes: &[u8]| {
        OpenOptions::new().write(true).open(&image).unwrap().write_all_at(bytes, position).unwrap();
    };
    // In the boot code of the main boot region, then of its backup.
    bend(150, &[1]);
    check_whole(&image, ReasonCode::Damaged, "a boot region with the checksum that it holds");
    bend(150, &[0]);
    used(&image);
    bend(12 * 512 + 150, &[1]);
    assert_eq!(survey_file(&image).notes[0].code, NoteCode::Errors);
    used(&image);
}
