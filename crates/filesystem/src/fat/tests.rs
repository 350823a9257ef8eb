use block::{Extents, Fault, FaultyDisk, InRegion, MemoryDisk, Operation, ReadAt, RegionExtent, WriteAt};
use proptest::prelude::*;

use super::boot_sector::tests::sample;
use crate::{Coverage, NoteCode, Reason, ReasonCode, Survey, survey};

const CLUSTERS: u32 = 5000;
const TABLE: u64 = 2048;
const TABLE_SIZE: u64 = 20 * 512;
const ROOT: u64 = TABLE + 2 * TABLE_SIZE;
const DATA: u64 = ROOT + 16_384;
const SIZE: u64 = DATA + 5000 * 2048 + 3 * 512;

/// FAT16 with the clusters 2 to 4, 100 and the last one used; a label in the root directory.
fn volume() -> MemoryDisk {
    let disk = MemoryDisk::new(SIZE + 512);
    disk.write_at(0, &sample(CLUSTERS)).unwrap();
    for table in [TABLE, TABLE + TABLE_SIZE] {
        disk.write_at(table, &[0xF8, 0xFF, 0xFF, 0xFF, 3, 0, 4, 0, 0xFF, 0xFF]).unwrap();
        disk.write_at(table + 2 * 100, &[0xF8, 0xFF]).unwrap();
        disk.write_at(table + 2 * 5001, &[0xFF, 0xFF]).unwrap();
    }
    disk.write_at(ROOT, b"\xE5LD LABEL  \x08").unwrap();
    disk.write_at(ROOT + 32, b"ROOT LABEL \x08").unwrap();
    disk
}

fn cluster(number: u64) -> RegionExtent {
    let start = DATA + (number - 2) * 2048;
    RegionExtent::between(start, start + 2048)
}

fn expected() -> Extents<InRegion> {
    let parts = [
        RegionExtent::between(0, DATA),
        cluster(2),
        cluster(3),
        cluster(4),
        cluster(100),
        cluster(5001),
        RegionExtent::between(DATA + 5000 * 2048, SIZE + 512),
    ];
    parts.into_iter().collect()
}

fn notes(survey: &Survey) -> Vec<(NoteCode, &str)> {
    survey.notes.iter().map(|note| (note.code, note.detail.as_str())).collect()
}

#[test]
fn used_bytes_are_what_any_table_says() {
    let survey = survey(&volume());
    assert_eq!(survey.coverage, Coverage::Used(expected()));
    assert_eq!(notes(&survey), []);
    let file_system = survey.file_system.unwrap();
    assert_eq!((file_system.kind.as_str(), file_system.size), ("vfat", SIZE));
    assert_eq!(file_system.uuid.as_deref(), Some("1234-ABCD"));
    assert_eq!(file_system.label.as_deref(), Some("ROOT LABEL"));
}

#[test]
fn the_label_of_the_boot_sector_does_not_count() {
    let disk = volume();
    disk.write_at(ROOT + 32, &[0]).unwrap();
    disk.write_at(0x2B, b"BOOT LABEL ").unwrap();
    assert_eq!(survey(&disk).file_system.unwrap().label, None);
}

#[track_caller]
fn check_note(position: u64, byte: u8, added: Option<u64>, code: NoteCode, detail: &str) {
    let disk = volume();
    disk.write_at(position, &[byte]).unwrap();
    let survey = survey(&disk);
    let mut all = expected();
    added.into_iter().for_each(|number| all.insert(cluster(number)));
    assert_eq!(survey.coverage, Coverage::Used(all));
    assert_eq!(notes(&survey), [(code, detail)]);
}

#[test]
fn odd_entries_are_noted() {
    let differ = "the 2 tables differ in 1 entries; clusters used in any of them are saved";
    check_note(TABLE + 2 * 50, 1, Some(50), NoteCode::Errors, differ);
    check_note(TABLE + TABLE_SIZE + 2 * 50, 1, Some(50), NoteCode::Errors, differ);
    // Free in one table only.
    check_note(TABLE + 4, 0, None, NoteCode::Errors, differ);
    let dirty = "not unmounted cleanly (entry 1 of the table 0x7fff)";
    check_note(TABLE + 3, 0x7F, None, NoteCode::NotClean, dirty);
    let errors = "records disk errors (entry 1 of the table 0xbfff)";
    check_note(TABLE + 3, 0xBF, None, NoteCode::Errors, errors);
    let in_use = "not unmounted cleanly (entry 1 of the table 0xffff)";
    check_note(0x25, 1, None, NoteCode::NotClean, in_use);
}

#[test]
fn bad_clusters_are_used() {
    let disk = volume();
    for table in [TABLE, TABLE + TABLE_SIZE] {
        disk.write_at(table + 2 * 60, &[0xF7, 0xFF]).unwrap();
    }
    let survey = survey(&disk);
    let mut all = expected();
    all.insert(cluster(60));
    assert_eq!(survey.coverage, Coverage::Used(all));
    assert_eq!(notes(&survey), [(NoteCode::BadBlocks, "1 clusters are marked as bad")]);
}

fn reason(disk: &dyn ReadAt) -> Reason {
    match survey(disk).coverage {
        Coverage::Whole(reason) => reason,
        Coverage::Used(_) => panic!("not whole"),
    }
}

#[test]
fn a_table_too_small_for_its_clusters_is_damage() {
    let disk = volume();
    // 19 sectors hold 4864 entries; the sectors of the tables become clusters.
    disk.write_at(0x16, &[19]).unwrap();
    let detail =
        "at byte 2048 of the region: expected tables of at least 10006 bytes for 5001 clusters, found 9728 bytes";
    assert_eq!(reason(&disk), Reason::new(ReasonCode::Damaged, detail));
}

#[test]
fn a_boot_sector_without_its_table_is_not_fat() {
    for (at, byte) in [(TABLE, 0xF0), (TABLE + 1, 0x7F), (0x15, 0xF9)] {
        let disk = volume();
        disk.write_at(at, &[byte]).unwrap();
        assert_eq!(reason(&disk), Reason::new(ReasonCode::Unrecognised, "no known file system"));
    }
}

#[test]
fn a_name_of_another_width_is_saved_whole() {
    let disk = volume();
    disk.write_at(0x36, b"FAT12   ").unwrap();
    let detail = "boot sector says FAT12, but 5000 clusters make it FAT16";
    assert_eq!(reason(&disk), Reason::new(ReasonCode::Unsupported, detail));
}

/// FAT32 with 70,000 clusters of 512 bytes, its root directory in cluster 2.
fn volume_32(root_cluster: u32) -> MemoryDisk {
    let disk = MemoryDisk::new((32 + 2 * 548 + 70_000) * 512);
    let mut boot = sample(CLUSTERS);
    boot[0x0D] = 1;
    boot[0x0E] = 32;
    boot[0x11..0x18].copy_from_slice(&[0, 0, 0, 0, 0xF8, 0, 0]);
    boot[0x20..0x24].copy_from_slice(&(32_u32 + 2 * 548 + 70_000).to_le_bytes());
    boot[0x24..0x5A].fill(0);
    boot[0x24..0x26].copy_from_slice(&548_u16.to_le_bytes());
    boot[0x2C..0x30].copy_from_slice(&root_cluster.to_le_bytes());
    boot[0x42..0x47].copy_from_slice(&[0x29, 0x78, 0x56, 0x34, 0x12]);
    boot[0x47..0x5A].copy_from_slice(b"NO NAME    FAT32   ");
    disk.write_at(0, &boot).unwrap();
    for table in [32 * 512, (32 + 548) * 512] {
        disk.write_at(table, &[0xF8, 0xFF, 0xFF, 0x0F, 0xFF, 0xFF, 0xFF, 0x0F]).unwrap();
        // The upper 4 bits of an entry don't count.
        disk.write_at(table + 4 * 70_001, &[1, 0, 0, 0xF0, 0, 0, 0, 0xF0]).unwrap();
        disk.write_at(table + 4 * 60_000, &[0, 0, 0, 0xF0]).unwrap();
    }
    disk
}

#[test]
fn the_root_directory_of_fat32_is_used_whatever_the_tables_say() {
    let survey = survey(&volume_32(7));
    let data = (32 + 2 * 548) * 512;
    let sector = |number: u64| RegionExtent::between(data + (number - 2) * 512, data + (number - 1) * 512);
    let all = [RegionExtent::between(0, data), sector(7), sector(70_001)];
    assert_eq!(survey.coverage, Coverage::Used(all.into_iter().collect()));
    assert_eq!(survey.file_system.unwrap().uuid.as_deref(), Some("1234-5678"));
    let detail = "at byte 44 of the region: expected a root directory inside 70000 clusters, found cluster 70002";
    assert_eq!(reason(&volume_32(70_002)), Reason::new(ReasonCode::Damaged, detail));
    let detail = "at byte 44 of the region: expected a root directory inside 70000 clusters, found cluster 1";
    assert_eq!(reason(&volume_32(1)), Reason::new(ReasonCode::Damaged, detail));
}

#[test]
fn whatever_read_fails_nothing_is_taken_for_free() {
    for number in 1.. {
        let disk = FaultyDisk::new(volume(), Some(Fault { operation: Operation::Read, number }));
        let survey = survey(&disk);
        if disk.count(Operation::Read) < number {
            assert!(number > 5, "{number}");
            return;
        }
        match survey.coverage {
            Coverage::Whole(reason) => assert_eq!(reason.code, ReasonCode::Unreadable),
            Coverage::Used(used) => assert_eq!(used, expected()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_change_of_bytes_makes_the_survey_panic_or_hang(
        is_32 in any::<bool>(),
        changes in prop::collection::vec((0..0x5A_u64, any::<u8>()), 1..5),
    ) {
        let disk = if is_32 { volume_32(2) } else { volume() };
        for (at, value) in changes {
            disk.write_at(at, &[value]).unwrap();
        }
        let survey = survey(&disk);
        prop_assert!(survey.coverage.extents(disk.size()).end() <= disk.size());
    }
}
