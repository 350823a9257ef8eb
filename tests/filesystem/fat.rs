//! The used bytes of FAT file systems made with mkfs.fat and filled with mtools, compared with
//! partclone's own map, with fsck.fat's count, and with what a restore of only these bytes holds.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use block::{Extents, InRegion, RegionExtent, WriteAt};
use filesystem::{Coverage, NoteCode, ReasonCode, Survey, survey};
use tests::partclone::used_blocks;
use tests::restored::{restore_covered, tree};
use tests::{FileDisk, run, run_status};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn make(image: &Path, size: u64, arguments: &[&str]) {
    fs::File::create(image).unwrap().set_len(size).unwrap();
    run("mkfs.fat", arguments.iter().copied().chain([image.to_str().unwrap()]));
}

/// Runs one of the mtools, which must not refuse odd geometries.
fn mtool(image: &Path, name: &str, arguments: &[&str]) {
    let start = ["MTOOLS_SKIP_CHECK=1", name, "-i", image.to_str().unwrap()];
    run("env", start.iter().chain(arguments));
}

/// Files of up to `largest` bytes in a directory, every third deleted, and one in the holes left.
fn fill(image: &Path, largest: usize) {
    let directory = tempfile::tempdir().unwrap();
    let sub = directory.path().join("directory");
    fs::create_dir(&sub).unwrap();
    for index in 0..60 {
        fs::write(sub.join(format!("a long name {index:02}.bin")), vec![index as u8; largest * index / 60]).unwrap();
    }
    mtool(image, "mcopy", &["-s", sub.to_str().unwrap(), "::"]);
    let deleted = (0..60).step_by(3).map(|index| format!("::/directory/a long name {index:02}.bin"));
    let deleted: Vec<String> = deleted.collect();
    mtool(image, "mdel", &deleted.iter().map(String::as_str).collect::<Vec<_>>());
    let large = directory.path().join("fragmented");
    fs::write(&large, vec![0x46; largest * 5]).unwrap();
    mtool(image, "mcopy", &[large.to_str().unwrap(), "::"]);
}

fn used(survey: &Survey) -> &Extents<InRegion> {
    match &survey.coverage {
        Coverage::Used(used) => used,
        Coverage::Whole(reason) => panic!("whole: {reason:?}"),
    }
}

fn codes(survey: &Survey) -> Vec<NoteCode> {
    survey.notes.iter().map(|note| note.code).collect()
}

/// Exactly the sectors that partclone saves, and all behind the file system.
#[track_caller]
fn check_same_as_partclone(image: &Path, survey: &Survey) {
    let size = fs::metadata(image).unwrap().len();
    let (_, theirs) = used_blocks("partclone.fat", image);
    let tail = RegionExtent::between(survey.file_system.as_ref().unwrap().size, size);
    assert_eq!(used(survey), &theirs.union(&tail.into()));
}

/// What fsck.fat counts as used ("25/10225 clusters") on a file system that it finds nothing wrong with.
#[track_caller]
fn count_of_fsck(image: &Path) -> u64 {
    let printed = run("fsck.fat", ["-n", image.to_str().unwrap()]);
    let counts = printed.split_whitespace().find(|word| word.contains('/') && !word.contains('.'));
    counts.unwrap().split('/').next().unwrap().parse().unwrap()
}

#[track_caller]
fn check_same_identity_as_blkid(image: &Path, survey: &Survey) {
    let value = |tag| {
        let printed = run_status("blkid", ["-p", "-o", "value", "-s", tag, image.to_str().unwrap()]);
        Some(String::from_utf8(printed.stdout).unwrap().trim_end().to_owned()).filter(|value| !value.is_empty())
    };
    let file_system = survey.file_system.clone().unwrap();
    assert_eq!(Some(file_system.kind), value("TYPE"));
    assert_eq!(file_system.uuid, value("UUID"));
    assert_eq!(file_system.label, value("LABEL"));
}

/// A restore of only the covered bytes is a clean file system with the same files.
#[track_caller]
fn check_restores(image: &Path, survey: &Survey) {
    let directory = tempfile::tempdir().unwrap();
    let restored = directory.path().join("restored");
    restore_covered(&FileDisk::open(image), used(survey), &restored);
    assert_eq!(count_of_fsck(&restored), count_of_fsck(image));
    let files = |image: &Path, name: &str| {
        let files = directory.path().join(name);
        fs::create_dir(&files).unwrap();
        mtool(image, "mcopy", &["-s", "::", files.to_str().unwrap()]);
        tree(&files)
    };
    let expected = files(image, "from the source");
    assert!(expected.len() > 40, "{expected:?}");
    assert_eq!(files(&restored, "from the restored"), expected);
}

#[track_caller]
fn check_used(size: u64, arguments: &[&str], largest: usize) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, size, arguments);
    fill(&image, largest);
    let survey = survey(&FileDisk::open(&image));
    assert_eq!(codes(&survey), []);
    check_same_identity_as_blkid(&image, &survey);
    check_same_as_partclone(&image, &survey);
    check_restores(&image, &survey);
}

/// The clusters of all files and directories, as mtools follow them entry by entry.
fn clusters_of_mshowfat(image: &Path) -> BTreeSet<u64> {
    let all = ["::/directory", "::/directory/*", "::/fragmented"];
    let printed = run("env", ["MTOOLS_SKIP_CHECK=1", "mshowfat", "-i", image.to_str().unwrap()].iter().chain(&all));
    let runs = printed.split(['<', '>']).skip(1).step_by(2);
    let numbers = runs.map(|run| run.split('-').map(|number| number.parse().unwrap()).collect::<Vec<u64>>());
    numbers.flat_map(|numbers| numbers[0]..=*numbers.last().unwrap()).collect()
}

/// partclone 0.3.23 reads the entries of FAT12 as if they had 16 bits, so another word is asked.
#[track_caller]
fn check_fat12(size: u64, arguments: &[&str], largest: usize) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, size, arguments);
    fill(&image, largest);
    let survey = survey(&FileDisk::open(&image));
    assert_eq!(codes(&survey), []);
    check_same_identity_as_blkid(&image, &survey);
    let clusters = clusters_of_mshowfat(&image);
    assert_eq!(u64::try_from(clusters.len()).unwrap(), count_of_fsck(&image));
    let file_system = survey.file_system.as_ref().unwrap();
    let block_size = u64::from(file_system.block_size);
    let boot = fs::read(&image).unwrap();
    let tables = tables(&image);
    // Two tables or one, then 32 bytes for each entry of the root directory.
    let length = u64::from(boot[0x16]) * 512;
    let data =
        tables[0] + u64::from(boot[0x10]) * length + u64::from(u16::from_le_bytes([boot[0x11], boot[0x12]])) * 32;
    let mut expected = Extents::from(RegionExtent::between(0, data));
    for cluster in clusters {
        let start = data + (cluster - 2) * block_size;
        expected.insert(RegionExtent::between(start, start + block_size));
    }
    expected.insert(RegionExtent::between(data + (file_system.size - data) / block_size * block_size, size));
    assert_eq!(used(&survey), &expected);
    check_restores(&image, &survey);
}

#[test]
fn used_bytes_of_fat12() {
    check_fat12(1440 * KIB, &["-F", "12", "-n", "FLOPPY"], 9_000);
    check_fat12(1999 * KIB + 512, &["-F", "12", "-s", "1", "-f", "1", "-a"], 15_000);
    check_fat12(100 * MIB, &["-F", "12", "-s", "64"], 200_000);
}

#[test]
fn used_bytes_of_fat16() {
    check_used(20 * MIB + 1536, &["-F", "16", "-n", "SIXTEEN"], 100_000);
    check_used(300 * MIB, &["-F", "16", "-s", "128"], 300_000);
}

#[test]
fn used_bytes_of_fat32() {
    check_used(260 * MIB + 512, &["-F", "32", "-n", "EFI SYSTEM"], 400_000);
    check_used(70 * MIB, &["-F", "32", "-s", "1"], 200_000);
}

/// mtools and fsck.fat don't do these, so the table is filled by hand.
#[track_caller]
fn check_entries_by_hand(size: u64, arguments: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, size, arguments);
    let tables = tables(&image);
    let length = tables[1] - tables[0];
    let copies = u64::from(fs::read(&image).unwrap()[0x10]);
    for entry in [5, 6, 9, 127, 128, 1023, 4000, 9000] {
        let next = u32::to_le_bytes(entry as u32 + 1);
        (0..copies).for_each(|copy| change(&image, tables[0] + copy * length + 4 * entry, |entry| *entry = next));
    }
    let survey = survey(&FileDisk::open(&image));
    assert_eq!(codes(&survey), []);
    check_same_identity_as_blkid(&image, &survey);
    check_same_as_partclone(&image, &survey);
}

#[test]
fn used_bytes_of_fat32_with_too_few_clusters_as_on_efi_partitions() {
    check_entries_by_hand(40 * MIB, &["-F", "32", "-s", "8", "-n", "EFI"]);
    check_entries_by_hand(60 * MIB, &["-F", "32", "-S", "4096", "-s", "1"]);
}

#[test]
fn used_bytes_with_one_and_three_tables() {
    check_entries_by_hand(70 * MIB, &["-F", "32", "-s", "1", "-f", "1"]);
    check_entries_by_hand(70 * MIB, &["-F", "32", "-s", "1", "-f", "3"]);
}

#[test]
fn used_bytes_of_fat16_with_sectors_of_4096_bytes() {
    check_used(60 * MIB, &["-F", "16", "-S", "4096", "-s", "1"], 100_000);
}

#[test]
fn clusters_of_512_kib_are_counted_as_partclone_counts_them() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, 3000 * MIB, &["-F", "16", "-S", "4096", "-s", "128"]);
    let survey = survey(&FileDisk::open(&image));
    assert_eq!(survey.file_system.as_ref().unwrap().block_size, 512 << 10);
    check_same_as_partclone(&image, &survey);
}

#[test]
fn bad_clusters_are_used_and_noted() {
    for (width, size) in [("16", 20 * MIB), ("32", 70 * MIB)] {
        let directory = tempfile::tempdir().unwrap();
        let (image, list) = (directory.path().join("image"), directory.path().join("bad blocks"));
        // Numbers of blocks of 1 KiB; the two lie in different clusters.
        fs::write(&list, "1500\n1900\n").unwrap();
        make(&image, size, &["-F", width, "-s", "2", "-l", list.to_str().unwrap()]);
        let survey = survey(&FileDisk::open(&image));
        assert_eq!(codes(&survey), [NoteCode::BadBlocks]);
        // A block of the list may touch two clusters.
        let bad: u64 = survey.notes[0].detail.split(' ').next().unwrap().parse().unwrap();
        assert!((2..=4).contains(&bad), "{bad}");
        let (_, theirs) = used_blocks("partclone.fat", &image);
        let ours = used(&survey);
        assert!(theirs.difference(ours).is_empty());
        // partclone 0.3.23 leaves bad clusters out, of whatever width.
        for block in [1500, 1900] {
            assert!(ours.contains(RegionExtent::between(block * KIB, (block + 1) * KIB)), "FAT{width} {block}");
        }
        let only_ours = ours.difference(&theirs).total_bytes();
        let tail = size - survey.file_system.unwrap().size;
        assert_eq!(only_ours, bad * KIB + tail);
    }
}

fn change(image: &Path, position: u64, change: impl FnOnce(&mut [u8; 4])) {
    let file = OpenOptions::new().read(true).write(true).open(image).unwrap();
    let mut bytes = [0; 4];
    file.read_exact_at(&mut bytes, position).unwrap();
    change(&mut bytes);
    file.write_all_at(&bytes, position).unwrap();
}

/// First bytes of both tables.
fn tables(image: &Path) -> [u64; 2] {
    let boot = fs::read(image).unwrap();
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let length = if u16_at(0x16) == 0 { u16_at(0x24) } else { u16_at(0x16) };
    [u16_at(0x0E) * u16_at(0x0B), (u16_at(0x0E) + length) * u16_at(0x0B)]
}

#[test]
fn a_file_system_in_use_is_noted_and_its_tables_still_count() {
    for (width, size) in [("16", 20 * MIB), ("32", 70 * MIB)] {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        make(&image, size, &["-F", width]);
        fill(&image, 50_000);
        let before = survey(&FileDisk::open(&image));
        for table in tables(&image) {
            let (at, byte) = if width == "16" { (2, 1) } else { (4, 3) };
            change(&image, table + at, |entry| entry[byte] &= if width == "16" { !0x80 } else { !0x08 });
        }
        let dirty = survey(&FileDisk::open(&image));
        assert_eq!(codes(&dirty), [NoteCode::NotClean]);
        assert_eq!(used(&dirty), used(&before));
        for table in tables(&image) {
            let (at, byte) = if width == "16" { (2, 1) } else { (4, 3) };
            change(&image, table + at, |entry| entry[byte] &= if width == "16" { !0x40 } else { !0x04 });
        }
        assert_eq!(codes(&survey(&FileDisk::open(&image))), [NoteCode::NotClean, NoteCode::Errors]);
    }
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, 20 * MIB, &["-F", "16"]);
    // Where Linux keeps its own mark.
    change(&image, 0x25, |bytes| bytes[0] |= 1);
    assert_eq!(codes(&survey(&FileDisk::open(&image))), [NoteCode::NotClean]);
}

#[test]
fn clusters_used_in_any_table_are_saved() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, 70 * MIB, &["-F", "32", "-s", "1"]);
    fill(&image, 50_000);
    let before = survey(&FileDisk::open(&image));
    let [first, second] = tables(&image);
    let entry = 4 * 60_000;
    change(&image, second + entry, |entry| *entry = [0xFF, 0xFF, 0xFF, 0x0F]);
    let after = survey(&FileDisk::open(&image));
    assert_eq!(used(&after).difference(used(&before)).total_bytes(), 512);
    let detail = "the 2 tables differ in 1 entries; clusters used in any of them are saved";
    assert_eq!(after.notes[0].detail, detail);
    change(&image, first + entry, |entry| *entry = [0xFF, 0xFF, 0xFF, 0x0F]);
    change(&image, second + entry, |entry| *entry = [0; 4]);
    // Only table 1 in use.
    change(&image, 0x28, |flags| flags[0] = 0x81);
    let mirrored = survey(&FileDisk::open(&image));
    assert_eq!(used(&mirrored), used(&after));
    let detail = "the 2 tables differ in 1 entries, only table 1 is in use; clusters used in any of them are saved";
    assert_eq!(mirrored.notes[0].detail, detail);
}

#[test]
fn other_boot_sectors_are_not_fat() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let check = |expected: Option<&str>| {
        let kind = survey(&FileDisk::open(&image)).file_system.map(|found| found.kind);
        assert_eq!(kind.as_deref(), expected);
    };
    tests::ntfs::make_ntfs(&image, 20 * MIB, &[]);
    check(Some("ntfs"));
    // A partition table that sfdisk writes into a sector with a jump, as boot loaders have.
    let disk = FileDisk::create(&image, 20 * MIB);
    change(disk.path(), 0, |bytes| *bytes = [0xEB, 0x63, 0x90, 0]);
    tests::run_with_input("sfdisk", [image.to_str().unwrap()], b"label: dos\n2048,,7,*\n");
    check(None);
    // The parameter block of FAT copied into a boot record, without the tables behind it.
    let fat = directory.path().join("fat");
    make(&fat, 20 * MIB, &["-F", "16"]);
    let boot = fs::read(&fat).unwrap()[..512].to_vec();
    OpenOptions::new().write(true).open(&image).unwrap().write_all_at(&boot, 0).unwrap();
    check(None);
}

#[test]
fn a_table_too_small_for_its_clusters_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make(&image, 20 * MIB, &["-F", "16", "-s", "4", "-a", "-f", "1"]);
    change(&image, 0x16, |length| length[0] -= 2);
    let survey = survey(&FileDisk::open(&image));
    let Coverage::Whole(reason) = survey.coverage else { panic!("not whole") };
    assert_eq!(reason.code, ReasonCode::Damaged);
    assert!(reason.detail.contains("expected tables of at least"), "{}", reason.detail);
}

#[test]
fn a_memory_disk_of_every_byte_value_is_never_fat() {
    for fill in 0..=255 {
        let disk = block::MemoryDisk::new(MIB).with_fill(fill);
        disk.write_at(0x1FE, &[0x55, 0xAA]).unwrap();
        assert_eq!(survey(&disk).file_system, None);
    }
}
