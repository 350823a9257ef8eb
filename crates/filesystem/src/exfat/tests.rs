//! Bent bytes: every check of the parser, seen from outside.

use block::{Extents, Fault, FaultyDisk, InRegion, MemoryDisk, Operation, RegionExtent, WriteAt, read_vec};

use super::boot_sector::checksum;
use crate::{Coverage, NoteCode, ReasonCode, Survey, survey};

const TABLE: u64 = 24 * 512;
const HEAP: u64 = 32 * 512;
const CLUSTERS: u64 = 500;
const SIZE: u64 = HEAP + CLUSTERS * 1024 + 512;
/// Bitmap, up-case table, the two clusters of the root directory, one of a file, the last one.
const USED: [u64; 6] = [2, 3, 4, 9, 200, 501];

fn cluster(number: u64) -> RegionExtent {
    let start = HEAP + (number - 2) * 1024;
    RegionExtent::between(start, start + 1024)
}

/// Makes the checksums of the boot region and its backup right again.
fn seal(disk: &MemoryDisk) {
    let region = read_vec(disk, 0, 11 * 512).unwrap();
    let sums = checksum(&region).to_le_bytes().repeat(128);
    for (place, bytes) in [(11 * 512, &sums), (12 * 512, &region), (23 * 512, &sums)] {
        disk.write_at(place, bytes).unwrap();
    }
}

fn put_words(disk: &MemoryDisk, position: u64, words: &[u32]) {
    disk.write_at(position, &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
}

fn volume() -> MemoryDisk {
    let disk = MemoryDisk::new(SIZE + 2048);
    disk.write_at(0, b"\xEB\x76\x90EXFAT   ").unwrap();
    disk.write_at(72, &(SIZE / 512).to_le_bytes()).unwrap();
    put_words(&disk, 80, &[24, 8, 32, CLUSTERS as u32, 4, 0x1234_ABCD]);
    disk.write_at(104, &[0, 1, 0, 0, 9, 1, 1, 0x80, 1]).unwrap();
    disk.write_at(510, &[0x55, 0xAA]).unwrap();
    seal(&disk);
    put_words(&disk, TABLE, &[0xFFFF_FFF8, u32::MAX, u32::MAX, u32::MAX, 9]);
    put_words(&disk, TABLE + 9 * 4, &[u32::MAX]);
    put_bitmap(&disk, cluster(2).start(), &USED);
    // The first cluster is full of a deleted file's entries, the second one holds the system's.
    for entry in 0..32 {
        disk.write_at(cluster(4).start() + entry * 32, &[0x05]).unwrap();
    }
    disk.write_at(cluster(9).start(), &[0x83, 5, b'l', 0, b'a', 0, b'b', 0, b'e', 0, b'l', 0, b'x', 0]).unwrap();
    put_entry(&disk, 1, 0x81, 2, 63);
    put_entry(&disk, 2, 0x82, 3, 100);
    disk
}

fn put_bitmap(disk: &MemoryDisk, position: u64, used: &[u64]) {
    let mut bitmap = [0_u8; 63];
    used.iter().for_each(|number| bitmap[(number - 2) as usize / 8] |= 1 << ((number - 2) % 8));
    // Bits behind the last cluster count for nothing.
    bitmap[62] |= 0xF0;
    disk.write_at(position, &bitmap).unwrap();
}

fn put_entry(disk: &MemoryDisk, index: u64, kind: u8, first: u32, length: u64) {
    let position = cluster(9).start() + index * 32;
    disk.write_at(position, &[kind]).unwrap();
    put_words(disk, position + 20, &[first]);
    disk.write_at(position + 24, &length.to_le_bytes()).unwrap();
}

fn expected(used: &[u64]) -> Extents<InRegion> {
    let ends = [RegionExtent::between(0, HEAP), RegionExtent::between(SIZE - 512, SIZE + 2048)];
    used.iter().map(|number| cluster(*number)).chain(ends).collect()
}

fn notes(survey: &Survey) -> Vec<(NoteCode, &str)> {
    survey.notes.iter().map(|note| (note.code, note.detail.as_str())).collect()
}

#[track_caller]
fn check_whole(disk: &MemoryDisk, code: ReasonCode, detail: &str) {
    match survey(disk).coverage {
        Coverage::Used(extents) => panic!("used: {extents:?}"),
        Coverage::Whole(reason) => {
            assert_eq!(reason.code, code, "{reason:?}");
            assert!(reason.detail.contains(detail), "{reason:?}");
        }
    }
}

#[test]
fn used_is_what_the_bitmap_says() {
    let survey = survey(&volume());
    assert_eq!(survey.coverage, Coverage::Used(expected(&USED)));
    assert_eq!(notes(&survey), []);
    let file_system = survey.file_system.unwrap();
    assert_eq!((file_system.kind.as_str(), file_system.size), ("exfat", SIZE));
    assert_eq!(file_system.uuid.as_deref(), Some("1234-ABCD"));
    assert_eq!(file_system.label.as_deref(), Some("label"));
}

#[test]
fn used_is_what_either_of_two_bitmaps_says() {
    let disk = volume();
    disk.write_at(110, &[2]).unwrap();
    // Tables of 4 sectors each.
    put_words(&disk, 84, &[4]);
    seal(&disk);
    check_whole(&disk, ReasonCode::Damaged, "expected 2 allocation bitmaps and an up-case table in the root directory");
    put_entry(&disk, 3, 0x81, 300, 63);
    put_words(&disk, TABLE + 300 * 4, &[u32::MAX]);
    put_bitmap(&disk, cluster(300).start(), &[2, 3, 4, 9, 300, 400]);
    let all = [2, 3, 4, 9, 200, 300, 400, 501];
    assert_eq!(survey(&disk).coverage, Coverage::Used(expected(&all)));
    put_entry(&disk, 4, 0x81, 301, 63);
    check_whole(&disk, ReasonCode::Damaged, "expected 2 allocation bitmaps and an up-case table, found 3 and 1");
}

#[test]
fn bent_boot_sectors() {
    type Bend = (u64, &'static [u8], ReasonCode, &'static str);
    let bends: [Bend; 15] = [
        (0, &[0xE9], ReasonCode::Damaged, "a boot sector of exFAT"),
        (20, &[1], ReasonCode::Damaged, "a boot sector of exFAT"),
        (510, &[0], ReasonCode::Damaged, "a boot sector of exFAT"),
        (72, &[0x20, 0], ReasonCode::Damaged, "clusters inside the 32 sectors of the volume"),
        (80, &[23], ReasonCode::Damaged, "tables between the sectors 24 and 32, found tables from 23 to 31"),
        (84, &[9], ReasonCode::Damaged, "found tables from 24 to 33"),
        (84, &[3], ReasonCode::Damaged, "tables of at least 2008 bytes, found 1536"),
        (92, &[0, 0], ReasonCode::Damaged, "found 0 clusters of 1024 bytes"),
        (92, &[0xF6], ReasonCode::Damaged, "found 502 clusters of 1024 bytes from sector 32"),
        (96, &[1], ReasonCode::Damaged, "a root directory in one of 500 clusters, found cluster 1"),
        (96, &[0xF6, 1], ReasonCode::Damaged, "found cluster 502"),
        (105, &[2], ReasonCode::Unsupported, "exFAT version 2.0"),
        (108, &[13], ReasonCode::Damaged, "sectors of 2^9 to 2^12 bytes, found 2^13"),
        (109, &[17], ReasonCode::Damaged, "clusters of at most 2^25 bytes, found 2^26"),
        (110, &[3], ReasonCode::Damaged, "one or two tables, found 3"),
    ];
    for (position, bytes, code, detail) in bends {
        let disk = volume();
        disk.write_at(position, bytes).unwrap();
        seal(&disk);
        check_whole(&disk, code, detail);
    }
}

#[test]
fn flags() {
    let disk = volume();
    // Flags don't change the checksum.
    disk.write_at(106, &[2]).unwrap();
    check_whole(&disk, ReasonCode::NotClean, "the volume is marked dirty");
    disk.write_at(106, &[4]).unwrap();
    let survey = survey(&disk);
    assert_eq!(survey.coverage, Coverage::Used(expected(&USED)));
    assert_eq!(notes(&survey), [(NoteCode::Errors, "the volume has recorded failures to read or write")]);
}

#[test]
fn checksums_of_the_boot_regions() {
    let disk = volume();
    disk.write_at(12 * 512 + 300, &[1]).unwrap();
    let seen = survey(&disk);
    assert_eq!(seen.coverage, Coverage::Used(expected(&USED)));
    assert_eq!(notes(&seen), [(NoteCode::Errors, "the backup of the boot region does not hold its checksum")]);
    disk.write_at(12 * 512 - 4, &[0]).unwrap();
    check_whole(&disk, ReasonCode::Damaged, "a boot region with the checksum that it holds");
}

#[test]
fn chains_and_system_files() {
    let check = |bend: &dyn Fn(&MemoryDisk), detail: &str| {
        let disk = volume();
        bend(&disk);
        check_whole(&disk, ReasonCode::Damaged, detail);
    };
    // The root directory leads out of the volume, into a free cluster, and back to itself.
    check(&|disk| put_words(disk, TABLE + 16, &[502]), "a chain inside 500 clusters, found cluster 0x1f6");
    check(&|disk| put_words(disk, TABLE + 16, &[0]), "a chain inside 500 clusters, found cluster 0x0");
    check(&|disk| put_words(disk, TABLE + 36, &[50]), "the system's cluster 50 to be in use, found a free one");
    check(&|disk| put_words(disk, TABLE + 36, &[4]), "a chain that ends with its data, found cluster");
    check(&|disk| put_words(disk, TABLE + 16, &[u32::MAX]), "1 allocation bitmaps and an up-case table in the root");
    // The bitmap is too short, or ends too early, or calls itself free.
    check(&|disk| put_entry(disk, 1, 0x81, 2, 62), "an allocation bitmap of 63 bytes for 500 clusters, found 62 bytes");
    check(&|disk| put_entry(disk, 1, 0x81, 1, 63), "a chain inside 500 clusters, found cluster 0x1");
    check(&|disk| put_bitmap(disk, cluster(2).start(), &[3, 4, 9]), "the system's cluster 2 to be in use");
    check(&|disk| put_bitmap(disk, cluster(2).start(), &[2, 4, 9]), "the system's cluster 3 to be in use");
    check(&|disk| put_bitmap(disk, cluster(2).start(), &[2, 3, 4]), "the system's cluster 9 to be in use");
    check(&|disk| put_entry(disk, 2, 0x05, 3, 100), "found 1 and 0");
}

#[test]
fn reads_that_fail() {
    for number in 1.. {
        let disk = FaultyDisk::new(volume(), Some(Fault { operation: Operation::Read, number }));
        let survey = survey(&disk);
        if disk.count(Operation::Read) < number {
            assert!(number > 8, "{number}");
            return;
        }
        match survey.coverage {
            Coverage::Whole(reason) => assert_eq!(reason.code, ReasonCode::Unreadable),
            Coverage::Used(used) => assert_eq!(used, expected(&USED)),
        }
    }
}
