//! Used bytes of HFS+, JFS and ReiserFS: samples that a real kernel filled, compared with partclone and the tools of the
//! file systems, and proved by a restore of nothing but the covered bytes.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::{Extents, InRegion, ReadAt, RegionExtent};
use filesystem::{Coverage, FileSystem, ReasonCode, survey};
use tempfile::TempDir;
use tests::fixture::{check_files, files, unpack_to};
use tests::partclone::used_blocks;
use tests::restored::restore_covered;
use tests::{FileDisk, LoopDevice, blkid, run, run_status};

const MEBIBYTE: u64 = 1 << 20;

struct Image {
    _directory: TempDir,
    path: PathBuf,
}

impl Image {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        Self { _directory: directory, path }
    }

    fn unpacked(name: &str) -> Self {
        let image = Self::new();
        unpack_to(&format!("file_systems/{name}.img"), &image.path);
        image
    }

    fn made(size: u64, command: &[&str]) -> Self {
        let image = Self::new();
        FileDisk::create(&image.path, size);
        run(command[0], command[1..].iter().chain([&image.path.to_str().unwrap()]));
        image
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn used(&self) -> (FileSystem, Extents<InRegion>) {
        let survey = survey(&FileDisk::open(&self.path));
        match survey.coverage {
            Coverage::Used(extents) => (survey.file_system.unwrap(), extents),
            Coverage::Whole(reason) => panic!("{reason:?}"),
        }
    }

    #[track_caller]
    fn check_whole(&self, code: ReasonCode, detail: &str) {
        match survey(&FileDisk::open(&self.path)).coverage {
            Coverage::Used(_) => panic!("used, expected {code:?}"),
            Coverage::Whole(reason) => {
                assert_eq!(reason.code, code, "{reason:?}");
                assert!(reason.detail.contains(detail), "{reason:?}");
            }
        }
    }

    /// A disk full of garbage, on which only the used bytes were written.
    fn restored(&self, used: &Extents<InRegion>) -> Self {
        let restored = Self::new();
        restore_covered(&FileDisk::open(&self.path), used, &restored.path);
        restored
    }

    fn write(&self, position: u64, bytes: &[u8]) {
        OpenOptions::new().write(true).open(&self.path).unwrap().write_all_at(bytes, position).unwrap();
    }

    fn size(&self) -> u64 {
        fs::metadata(&self.path).unwrap().len()
    }

    /// Types, UUIDs and labels are those that blkid prints.
    fn check_identity(&self) {
        let printed = blkid::probe(&self.path);
        let (found, _) = self.used();
        let text = |value: Option<String>| value.unwrap_or_default();
        assert_eq!([found.kind, text(found.uuid), text(found.label)], blkid::identity(&printed));
        assert_eq!(found.block_size.to_string(), printed["ID_FS_BLOCK_SIZE"]);
    }
}

/// What is used according to another program, with the bytes behind the end of the file system.
fn with_tail(used: &Extents<InRegion>, file_system: &FileSystem, size: u64) -> Extents<InRegion> {
    let mut used = used.clone();
    used.insert(RegionExtent::between(file_system.size, size));
    used
}

fn check_hfsplus(image: &Image, files: &[(String, String)]) {
    let (file_system, used) = image.used();
    let (block_size, theirs) = used_blocks("partclone.hfsp", &image.path);
    assert_eq!(block_size, file_system.block_size);
    assert_eq!(used, with_tail(&theirs, &file_system, image.size()));
    assert!(used.total_bytes() < image.size() * 3 / 4);
    let restored = image.restored(&used);
    // The boot loader's reader does not follow hard links of HFS+.
    let linked = ["/second name", "/size-70000"];
    let readable: Vec<_> = files.iter().filter(|(path, _)| !linked.contains(&path.as_str())).cloned().collect();
    check_files(&restored.path, &readable);
    image.check_identity();
}

#[test]
fn hfsplus_with_a_journal() {
    check_hfsplus(&Image::unpacked("hfsplus"), &files("file_systems/hfsplus"));
}

#[test]
fn hfsx() {
    check_hfsplus(&Image::unpacked("hfsx"), &files("file_systems/hfsx"));
}

#[test]
fn hfsplus_that_is_mounted() {
    Image::unpacked("hfsplus.mounted").check_whole(ReasonCode::NotClean, "not unmounted");
}

#[test]
fn hfsplus_with_a_journal_to_replay() {
    let image = Image::unpacked("hfsplus");
    let info_block = u32::from_be_bytes(read(&image.path, 1024 + 12));
    let info = u64::from(info_block) * 4096;
    let journal = u64::from_be_bytes(read(&image.path, info + 36));
    // newfs_hfs leaves it to the first mount to write the header, and Linux leaves journals alone.
    assert_eq!(read(&image.path, info), 5_u32.to_be_bytes(), "in the file system, to be initialised");
    image.write(info, &1_u32.to_be_bytes());
    image.check_whole(ReasonCode::Damaged, "at the start of the journal");
    for number in [u64::to_le_bytes, u64::to_be_bytes] {
        let order = if number(1)[0] == 1 { u32::to_le_bytes } else { u32::to_be_bytes };
        let words = [order(0x4A4E_4C78), order(0x1234_5678)].concat();
        image.write(journal, &[words, number(4096).to_vec(), number(4096).to_vec()].concat());
        image.used();
        image.write(journal + 16, &number(4096 + 512));
        image.check_whole(ReasonCode::NotClean, "the journal holds transactions, from byte 4096 to 4608 of it");
    }
    image.write(info, &2_u32.to_be_bytes());
    image.check_whole(ReasonCode::NotClean, "the journal is on another device");
}

fn read<const N: usize>(path: &Path, position: u64) -> [u8; N] {
    let mut bytes = [0; N];
    File::open(path).unwrap().read_exact_at(&mut bytes, position).unwrap();
    bytes
}

/// What debugreiserfs prints of the bitmaps.
fn used_by_debugreiserfs(image: &Image, block_size: u64, blocks: u64) -> Extents<InRegion> {
    let output = run_status("debugreiserfs", ["-m", image.text()]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut used = Extents::new();
    for busy in printed.split("Busy").skip(1) {
        let (range, _) = busy.trim_start_matches([' ', '(']).split_once(')').unwrap();
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
        // The last bitmap is filled up with ones.
        used.insert(RegionExtent::between(first * block_size, (last + 1).min(blocks) * block_size));
    }
    assert!(!used.is_empty(), "{printed}");
    used
}

fn check_reiserfs(image: &Image, files: &[(String, String)]) {
    let (file_system, used) = image.used();
    let block_size = u64::from(file_system.block_size);
    let theirs = used_by_debugreiserfs(image, block_size, file_system.size / block_size);
    assert_eq!(used, with_tail(&theirs, &file_system, image.size()));
    assert!(used.total_bytes() < image.size());
    let restored = image.restored(&used);
    let output = run_status("reiserfsck", ["--check", "-y", "-q", restored.text()]);
    let printed = [output.stdout, output.stderr].concat();
    assert!(String::from_utf8_lossy(&printed).contains("No corruptions found"));
    check_files(&restored.path, files);
    image.check_identity();
}

#[test]
fn reiserfs() {
    check_reiserfs(&Image::unpacked("reiserfs"), &files("file_systems/reiserfs"));
}

#[test]
fn reiserfs_with_several_bitmaps() {
    let image = Image::unpacked("reiserfs1k");
    let (file_system, _) = image.used();
    assert!(file_system.size > 2 * 8192 * u64::from(file_system.block_size), "one bitmap tells about 8192 blocks");
    check_reiserfs(&image, &files("file_systems/reiserfs1k"));
}

#[test]
fn reiserfs_that_is_mounted() {
    Image::unpacked("reiserfs.mounted").check_whole(ReasonCode::NotClean, "");
}

#[test]
fn reiserfs_whose_superblock_alone_looks_unmounted() {
    // As after a crash right after mounting: the mark that it is mounted is still in the journal.
    let image = Image::unpacked("reiserfs.mounted");
    let state: [u8; 2] = read(&image.path, 0x1_0000 + 50);
    image.write(0x1_0000 + 50, &[1, 0]);
    if state != [1, 0] {
        image.check_whole(ReasonCode::NotClean, "waits in the journal");
    }
}

#[test]
fn reiserfs_with_its_journal_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    FileDisk::create(&journal, 40 * MEBIBYTE);
    let device = LoopDevice::attach(&journal, 512);
    let device = device.path().to_str().unwrap();
    let image = Image::made(64 * MEBIBYTE, &["mkreiserfs", "-q", "-f", "-f", "-j", device]);
    image.check_whole(ReasonCode::NotClean, "the journal is on another device");
}

fn check_jfs(image: &Image, files: &[(String, String)]) {
    let (file_system, used) = image.used();
    let printed = run("jfs_fsck", ["-n", "-f", image.text()]);
    let number_of = |what: &str| {
        let line = printed.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what} in {printed}"));
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    // Its own map of what is in use, made from all inodes, has as many free blocks: it compares both, bit by bit.
    assert!(printed.contains("Filesystem is clean."), "{printed}");
    assert_eq!((image.size() - used.total_bytes()) >> 10, number_of("kilobytes are available for use"));
    assert!(used.contains(RegionExtent::between(file_system.size, image.size())));
    assert!(image.size() > file_system.size, "log and work space lie behind");
    let restored = image.restored(&used);
    let printed = run("jfs_fsck", ["-n", "-f", restored.text()]);
    assert!(printed.contains("Filesystem is clean."), "{printed}");
    // The boot loader's reader knows no holes.
    let readable: Vec<_> = files.iter().filter(|(path, _)| path != "/holes").cloned().collect();
    check_files(&restored.path, &readable);
    image.check_identity();
}

#[test]
fn jfs() {
    let image = Image::unpacked("jfs");
    assert!(image.used().0.size > 8192 * 4096, "a page of the map tells about 8192 blocks");
    check_jfs(&image, &files("file_systems/jfs"));
}

#[test]
fn jfs_of_another_size() {
    check_jfs(&Image::unpacked("jfs512"), &files("file_systems/jfs512"));
}

#[test]
fn jfs_that_is_mounted() {
    Image::unpacked("jfs.mounted").check_whole(ReasonCode::NotClean, "not unmounted: state 1");
}

#[test]
fn a_large_jfs_has_several_levels_of_summaries() {
    // A page of summaries stands before each 1024 pages of the map: 32 GiB.
    let image = Image::made(70 << 30, &["jfs_mkfs", "-q"]);
    let (file_system, used) = image.used();
    let printed = run("jfs_fsck", ["-n", "-f", image.text()]);
    let line = printed.lines().find(|line| line.contains("kilobytes are available for use")).unwrap();
    let free: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!((image.size() - used.total_bytes()) >> 10, free);
    assert!(file_system.size > 64 << 30);
}

/// Nothing of a file system is needed that lies in a hole of what was saved: a bent map is noticed.
#[test]
fn maps_that_contradict_themselves_are_damage() {
    // A bit of the first bitmap of ReiserFS, behind the superblock.
    let image = Image::unpacked("reiserfs");
    let mut byte: [u8; 1] = read(&image.path, 17 * 4096 + 1100);
    byte[0] ^= 0x10;
    image.write(17 * 4096 + 1100, &byte);
    image.check_whole(ReasonCode::Damaged, "free blocks, as the superblock says");
    // The count of free blocks of HFS+.
    let image = Image::unpacked("hfsplus");
    let mut count: [u8; 4] = read(&image.path, 1024 + 48);
    count[3] ^= 1;
    image.write(1024 + 48, &count);
    image.check_whole(ReasonCode::Damaged, "free blocks, as the volume header says");
    // A page of the map of JFS.
    let image = Image::unpacked("jfs");
    let disk = FileDisk::open(&image.path);
    let map = (0..disk.size() / 4096).find(|block| {
        let page: [u8; 16] = read(&image.path, block * 4096);
        page == [&[0x00, 0x20, 0, 0][..], &page[4..8], &[0; 8]].concat()[..] && page[4..8] != [0; 4]
    });
    image.write(map.expect("the first page of the map") * 4096 + 2048 + 900, &[0xFF]);
    image.check_whole(ReasonCode::Damaged, "free blocks from block 0");
}
