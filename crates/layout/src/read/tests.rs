//! Tables of every sort, whole and damaged, and that every byte of every disk has one place.

use block::{Extents, FaultyDisk, MemoryDisk, ReadAt, WriteAt};
use proptest::prelude::*;

use super::*;
use crate::samples::*;

fn codes(layout: &Layout) -> Vec<FindingCode> {
    layout.findings.iter().map(|finding| finding.code).collect()
}

fn read_checked(disk: &dyn Disk) -> Layout {
    let layout = read(disk).unwrap();
    check_layout(&layout, disk);
    layout
}

/// 10,000 sectors, partitions 1 and 3.
fn gpt() -> MemoryDisk {
    gpt_disk(SectorSize::B512, 10_000, 128, &[(0, 2048, 4095), (2, 5000, 5999)])
}

const GPT_REGIONS: [(&str, u64, u64); 5] =
    [("gap1", 34, 2014), ("p1", 2048, 2048), ("gap2", 4096, 904), ("p3", 5000, 1000), ("gap3", 6000, 3967)];

#[test]
fn a_gpt_is_its_tables_partitions_and_gaps() {
    let layout = read_checked(&gpt());
    assert_eq!(layout.table, TableKind::Gpt);
    assert_eq!(layout.signature.as_deref(), Some("12345678-1234-5678-9012-73616d706c65"));
    assert_eq!(regions_of(&layout), GPT_REGIONS);
    assert_eq!(layout.findings, []);
    let partition = layout.region("p3").unwrap().partition.clone().unwrap();
    assert_eq!(partition.name.as_deref(), Some("データ2"));
    assert_eq!(partition.guid.as_deref(), Some("03030303-0303-0303-0303-030303030303"));
    assert_eq!((partition.attributes, partition.bootable), (1 << 63 | 4, true));
    let roles: Vec<_> =
        layout.table_sectors.iter().map(|t| (t.role, t.extent.start() / 512, t.extent.length() / 512)).collect();
    assert_eq!(
        roles,
        [
            (TableRole::Mbr, 0, 1),
            (TableRole::PrimaryHeader, 1, 1),
            (TableRole::PrimaryEntries, 2, 32),
            (TableRole::BackupEntries, 9967, 32),
            (TableRole::BackupHeader, 9999, 1),
        ]
    );
}

#[test]
fn the_sector_size_of_an_image_file_is_detected() {
    for size in [SectorSize::B512, SectorSize::B4096] {
        let disk = gpt_disk(size, 10_000, 128, &[(0, 2048, 4095)]);
        let bytes = block::read_vec(&disk, 0, disk.size() as usize).unwrap();
        let file = MemoryDisk::from_bytes(&bytes);
        assert_eq!(read_checked(&file), read_checked(&disk), "{size:?}");
        file.write_at(size.bytes(), &[0; 512]).unwrap();
        let layout = read_checked(&file);
        assert_eq!((layout.sector_size, codes(&layout)), (size, vec![FindingCode::PrimaryGptDamaged]));
    }
}

#[test]
fn a_device_with_unusual_sectors_is_obeyed() {
    let size = SectorSize::new(2048).unwrap();
    let layout = read_checked(&gpt_disk(size, 10_000, 128, &[(0, 2048, 4095)]));
    assert_eq!(layout.region("p1").unwrap().extent.start(), 2048 * 2048);
}

#[test]
fn tables_of_many_or_few_entries_are_read_in_full() {
    for (count, sectors) in [(4, 1), (56, 14), (128, 32), (130, 33), (256, 64), (16384, 4096)] {
        let last = count as usize - 1;
        let layout = read_checked(&gpt_disk(SectorSize::B512, 100_000, count, &[(last, 5000, 5999)]));
        assert_eq!(layout.region(&format!("p{count}")).unwrap().extent, DiskExtent::between(5000 * 512, 6000 * 512));
        let entries = layout.table_sectors.iter().find(|table| table.role == TableRole::BackupEntries).unwrap();
        assert_eq!(entries.extent.length() / 512, sectors);
    }
}

#[test]
fn each_bent_byte_of_a_copy_makes_the_other_used() {
    use FindingCode::{BackupGptDamaged, PrimaryGptDamaged};
    // Header: signature, header size, checksum, MyLBA, usable sectors, GUID, entries. Then the array.
    for at in [0, 12, 16, 24, 40, 56, 72, 80, 84, 88] {
        for (lba, code) in [(1, PrimaryGptDamaged), (9999, BackupGptDamaged)] {
            let disk = gpt();
            bend(&disk, lba * 512 + at, b"\xFE");
            let layout = read_checked(&disk);
            assert_eq!(codes(&layout), [code], "byte {at} of LBA {lba}");
            assert_eq!(regions_of(&layout), GPT_REGIONS);
            assert_eq!(layout.table_sectors.len(), 5);
        }
    }
    for (at, code) in [(2 * 512 + 16383, PrimaryGptDamaged), (9967 * 512, BackupGptDamaged)] {
        let disk = gpt();
        bend(&disk, at, b"\xFE");
        let layout = read_checked(&disk);
        assert_eq!(codes(&layout), [code]);
        assert_eq!(regions_of(&layout), GPT_REGIONS);
    }
}

#[test]
fn a_header_in_the_place_of_another_is_none() {
    let disk = gpt();
    let primary = block::read_vec(&disk, 512, 512).unwrap();
    bend(&disk, 9999 * 512, &primary);
    let layout = read_checked(&disk);
    assert_eq!(codes(&layout), [FindingCode::BackupGptDamaged]);
    assert_eq!(layout.findings[0].detail, "header at LBA 9999: it says that it belongs to LBA 1");
}

#[test]
fn two_damaged_copies_are_no_table_and_the_disk_is_saved_whole() {
    let disk = gpt();
    bend(&disk, 512, b"X");
    bend(&disk, 9999 * 512, b"X");
    let layout = read_checked(&disk);
    assert_eq!((layout.table, codes(&layout)), (TableKind::None, vec![FindingCode::GptUnusable]));
    assert_eq!(layout.regions[0].kind, RegionKind::Gap, "a file system found there must not decide");
}

#[test]
fn valid_copies_that_differ_are_told_and_the_primary_is_used() {
    let disk = gpt();
    let other = gpt_disk(SectorSize::B512, 10_000, 128, &[(0, 2048, 4095)]);
    let end = block::read_vec(&other, 9967 * 512, 33 * 512).unwrap();
    bend(&disk, 9967 * 512, &end);
    let layout = read_checked(&disk);
    assert_eq!(codes(&layout), [FindingCode::GptCopiesDiffer]);
    assert_eq!(layout.findings[0].detail, "entries of partition 3");
    assert_eq!(regions_of(&layout), GPT_REGIONS);
}

/// The first `sectors` sectors of the sample, or all of it and zeros behind.
fn resized(sectors: u64) -> MemoryDisk {
    let bytes = block::read_vec(&gpt(), 0, 10_000.min(sectors as usize) * 512).unwrap();
    let disk = MemoryDisk::new(sectors * 512).with_sector_size(SectorSize::B512);
    bend(&disk, 0, &bytes);
    disk
}

#[test]
fn the_backup_of_a_grown_disk_is_where_lba_1_says() {
    let layout = read_checked(&resized(20_000));
    assert_eq!(codes(&layout), [FindingCode::BackupGptNotAtEnd]);
    assert_eq!(regions_of(&layout).last(), Some(&("gap4", 10_000, 10_000)));
    let header = layout.table_sectors.last().unwrap();
    assert_eq!((header.role, header.extent.start()), (TableRole::BackupHeader, 9999 * 512));
}

#[test]
fn the_backup_of_a_grown_disk_is_used_where_the_primary_is_damaged() {
    let disk = resized(20_000);
    bend(&disk, 512 + 60, b"X");
    let layout = read_checked(&disk);
    assert_eq!(codes(&layout), [FindingCode::PrimaryGptDamaged, FindingCode::BackupGptNotAtEnd]);
    assert_eq!(regions_of(&layout)[..4], GPT_REGIONS[..4]);
}

#[test]
fn partitions_of_a_cut_disk_are_cut() {
    let layout = read_checked(&resized(5500));
    assert_eq!(codes(&layout), [FindingCode::BackupGptDamaged, FindingCode::PartitionPastEnd]);
    assert_eq!(regions_of(&layout).last(), Some(&("p3", 5000, 500)));
    let layout = read_checked(&resized(4500));
    assert_eq!(regions_of(&layout).last(), Some(&("gap2", 4096, 404)));
}

#[test]
fn a_hybrid_mbr_is_told_and_the_gpt_is_used() {
    let disk = gpt();
    bend(&disk, 0, &record(1, &[(0, 0xEE, 1, 2047), (0x80, 7, 2048, 2048)]));
    let layout = read_checked(&disk);
    assert_eq!(codes(&layout), [FindingCode::HybridMbr]);
    assert_eq!(layout.findings[0].detail, "type 0x07 at sector 2048");
    assert_eq!(regions_of(&layout), GPT_REGIONS);
}

#[test]
fn a_gpt_that_nothing_protects_is_not_used() {
    let disk = gpt();
    bend(&disk, 0, &record(0x1234, &[(0x80, 7, 2048, 100)]));
    let layout = read_checked(&disk);
    assert_eq!((layout.table, codes(&layout)), (TableKind::Mbr, vec![FindingCode::StaleGpt]));
    bend(&disk, 0, &[0; 512]);
    let layout = read_checked(&disk);
    assert_eq!((layout.table, codes(&layout)), (TableKind::None, vec![FindingCode::StaleGpt]));
    assert_eq!(layout.regions[0].kind, RegionKind::Gap);
}

#[test]
fn shared_sectors_belong_to_no_partition() {
    let slots = [(0, 2048, 4095), (1, 3000, 3999), (2, 4095, 5000), (3, 6000, 6999), (4, 6999, 6999)];
    let layout = read_checked(&gpt_disk(SectorSize::B512, 10_000, 128, &slots));
    assert_eq!(codes(&layout), [FindingCode::OverlappingPartitions]);
    assert_eq!(
        regions_of(&layout),
        [("gap1", 34, 2014), ("p1", 2048, 952), ("gap2", 3000, 3000), ("p4", 6000, 999), ("gap3", 6999, 2968)]
    );
}

#[test]
fn table_sectors_inside_a_partition_stay_table_sectors() {
    let layout = read_checked(&gpt_disk(SectorSize::B512, 10_000, 128, &[(0, 2, 4095), (1, 5000, 9998)]));
    assert_eq!(codes(&layout), [FindingCode::OverlappingPartitions]);
    assert_eq!(regions_of(&layout), [("gap1", 34, 4966), ("p2", 5000, 4967)]);
}

#[test]
fn sectors_of_a_damaged_backup_stay_with_the_partition_that_claims_them() {
    let disk = gpt_disk(SectorSize::B512, 10_000, 128, &[(1, 5000, 9999)]);
    bend(&disk, 9999 * 512, b"data");
    let layout = read_checked(&disk);
    assert_eq!(codes(&layout), [FindingCode::BackupGptDamaged]);
    assert_eq!(regions_of(&layout), [("gap1", 34, 4966), ("p2", 5000, 5000)]);
}

#[test]
fn entries_that_end_before_they_start_are_ignored() {
    let layout = read_checked(&gpt_disk(SectorSize::B512, 10_000, 128, &[(0, 4095, 2048), (1, 5000, 5000)]));
    assert_eq!(codes(&layout), [FindingCode::ImpossibleEntry]);
    assert_eq!(regions_of(&layout)[1], ("p2", 5000, 1));
}

#[test]
fn primary_partitions_keep_their_slots() {
    let layout = read_checked(&mbr_disk(10_000, &[(0x80, 7, 63, 100), (0, 0, 0, 0), (0, 0x83, 32, 31)]));
    assert_eq!((layout.table, layout.signature.as_deref()), (TableKind::Mbr, Some("22c779e1")));
    assert_eq!(regions_of(&layout), [("gap1", 1, 31), ("p3", 32, 31), ("p1", 63, 100), ("gap2", 163, 9837)]);
    let partition = layout.region("p3").unwrap().partition.clone().unwrap();
    assert_eq!((partition.type_id.as_str(), partition.guid.as_deref()), ("0x83", Some("22c779e1-03")));
    assert!(!partition.bootable && layout.region("p1").unwrap().partition.as_ref().unwrap().bootable);
}

#[test]
fn logical_partitions_and_their_records_are_found() {
    let layout = read_checked(&extended_disk(31));
    assert_eq!(layout.findings, []);
    assert_eq!(layout.regions.iter().filter(|region| region.kind == RegionKind::Partition).count(), 32);
    let last = layout.region("p35").unwrap();
    assert_eq!(last.extent, DiskExtent::between(3210 * 512, 3260 * 512));
    let records = layout.table_sectors.iter().filter(|table| table.role == TableRole::Ebr);
    let places: Vec<_> = records.map(|table| table.extent.start() / 512).collect();
    assert_eq!(places, (0..31).map(|number| 200 + number * 100).collect::<Vec<_>>());
    assert_eq!(regions_of(&layout)[3], ("gap3", 201, 9), "between a record and its partition");
}

#[test]
fn a_chain_that_loops_or_breaks_is_used_as_far_as_it_goes() {
    for (link, detail) in [
        (0, "a link leads back to the record at sector 200"),
        (100, "a link leads back to the record at sector 300"),
        (70_000, "no extended boot record at sector 70200: 55 AA is missing"),
        (1 << 30, "a link leads to sector 1073742024 of a disk of 100000 sectors"),
    ] {
        let disk = extended_disk(3);
        bend(&disk, 400 * 512, &record(0, &[(0, 0x83, 10, 50), (0, 5, link, 100)]));
        let layout = read_checked(&disk);
        assert_eq!(codes(&layout), [FindingCode::BrokenExtendedChain]);
        assert_eq!(layout.findings[0].detail, detail);
        assert!(layout.region("p7").is_some());
    }
}

#[test]
fn a_chain_without_end_ends_at_255_records() {
    let layout = read_checked(&extended_disk(300));
    assert_eq!(codes(&layout), [FindingCode::BrokenExtendedChain]);
    assert!(layout.region("p259").is_some() && layout.region("p260").is_none());
}

#[test]
fn a_disk_without_a_table_is_one_region() {
    for disk in [MemoryDisk::new(1 << 20), MemoryDisk::new(1 << 20).with_fill(0xA5), MemoryDisk::new(100)] {
        let layout = read_checked(&disk);
        assert_eq!((layout.table, layout.signature.clone()), (TableKind::None, None));
        assert_eq!((layout.regions[0].name.as_str(), layout.regions[0].kind), ("disk", RegionKind::WholeDisk));
        assert_eq!(layout.findings, []);
    }
    assert_eq!(read_checked(&MemoryDisk::new(0)).regions, []);
}

fn boot_sector(name: &[u8], entries: &[RecordEntry]) -> MemoryDisk {
    let disk = mbr_disk(10_000, entries);
    bend(&disk, 0, b"\xEB\x3C\x90");
    bend(&disk, 3, name);
    // 512-byte sectors, 4 to an allocation unit, 1 reserved, 2 FATs, 512 root entries, 10000 sectors, medium F8.
    bend(&disk, 11, b"\x00\x02\x04\x01\x00\x02\x00\x02\x10\x27\xF8\x0A\x00");
    disk
}

#[test]
fn a_file_system_on_the_whole_disk_is_no_table() {
    let text = [(b'N', b'T', 0x2052_444C, 0x6973_7369)];
    let fake = [(0x80, 0x0C, 0, 10_000)];
    for (name, entries) in [(b"NTFS    ", &[][..]), (b"NTFS    ", &text[..]), (b"mkfs.fat", &fake[..])] {
        let layout = read_checked(&boot_sector(name, entries));
        assert_eq!((layout.table, layout.regions[0].kind), (TableKind::None, RegionKind::WholeDisk));
    }
}

#[test]
fn entries_that_can_be_true_win_over_what_a_boot_loader_carries_along() {
    let layout = read_checked(&boot_sector(b"MSDOS5.0", &[(0x80, 0x83, 2048, 1000)]));
    assert_eq!(layout.table, TableKind::Mbr);
}

#[test]
fn impossible_boot_indicators_are_no_table_and_no_file_system_decides() {
    let layout = read_checked(&mbr_disk(10_000, &[(0x80, 7, 63, 100), (0x13, 7, 163, 100)]));
    assert_eq!((layout.table, codes(&layout)), (TableKind::None, vec![FindingCode::MbrUnusable]));
    assert_eq!(layout.regions[0].kind, RegionKind::Gap);
}

#[test]
fn an_initialised_disk_without_partitions_keeps_its_signature() {
    let layout = read_checked(&mbr_disk(10_000, &[]));
    assert_eq!((layout.table, layout.signature.as_deref()), (TableKind::Mbr, Some("22c779e1")));
    assert_eq!(regions_of(&layout), [("gap1", 1, 9999)]);
}

#[test]
fn bad_sectors_under_a_table_are_told_and_left_to_the_gaps() {
    use FindingCode::{BackupGptDamaged, PrimaryGptDamaged, Unreadable};
    for (lba, expected) in [
        (0, vec![Unreadable]),
        (1, vec![PrimaryGptDamaged]),
        (20, vec![PrimaryGptDamaged]),
        (9980, vec![BackupGptDamaged]),
        (9999, vec![BackupGptDamaged]),
    ] {
        let bad = Extents::from(DiskExtent::between(lba * 512, lba * 512 + 512));
        let layout = read(&FaultyDisk::new(gpt(), None).with_bad_extents(bad)).unwrap();
        check_layout(&layout, &gpt());
        assert_eq!(codes(&layout), expected, "LBA {lba}");
        assert_eq!(layout.region("p3").unwrap().extent, DiskExtent::between(5000 * 512, 6000 * 512));
    }
    let bad = Extents::from(DiskExtent::between(0, 512));
    let layout = read(&FaultyDisk::new(mbr_disk(10_000, &[]), None).with_bad_extents(bad)).unwrap();
    assert_eq!((layout.regions[0].kind, codes(&layout)), (RegionKind::Gap, vec![Unreadable]));
}

fn mutated(disk: &MemoryDisk, changes: &[(u64, u8)], places: &[u64]) {
    for (at, value) in changes {
        let base = places[(*at >> 16) as usize % places.len()];
        let offset = (base * 512 + (at & 0x3FF)).min(disk.size() - 1);
        bend(disk, offset, &[*value]);
    }
}

/// Makes the checksums of both copies right again, so that changed fields reach the code behind them.
fn seal(disk: &MemoryDisk, sectors: u64) {
    for lba in [1, sectors - 1] {
        let mut sector = block::read_vec(disk, lba * 512, 512).unwrap();
        let word = |at: usize| u32::from_le_bytes(sector[at..at + 4].try_into().unwrap());
        let entries = u64::from(word(72)) * 512;
        let length = word(80) as usize * word(84) as usize % (1 << 20);
        if let Ok(array) = block::read_vec(disk, entries, length) {
            sector[88..92].copy_from_slice(&crc32fast::hash(&array).to_le_bytes());
        }
        if let Some(sum) = gpt::checksum(&sector, 92) {
            sector[16..20].copy_from_slice(&sum.to_le_bytes());
            bend(disk, lba * 512, &sector);
        }
    }
}

proptest! {
    #[test]
    fn any_entries_of_a_record_divide_the_disk(
        entries in prop::collection::vec((prop_oneof![Just(0_u8), Just(0x80)], 0_u8..0x10, 0_u32..1200, 0_u32..1200), 0..=4),
        links in prop::collection::vec((0_u64..1000, 0_u32..1000, 0_u32..400, 0_u32..1000), 0..12),
    ) {
        let disk = mbr_disk(1000, &entries);
        for (at, start, count, link) in links {
            if at > 0 {
                bend(&disk, at * 512, &record(0, &[(0, 7, start, count), (0, 5, link, 100)]));
            }
        }
        read_checked(&disk);
    }

    #[test]
    fn any_entries_of_a_gpt_divide_the_disk(
        slots in prop::collection::vec((0_usize..8, 0_u64..1100, 0_u64..1100), 0..8),
        changes in prop::collection::vec((any::<u64>(), any::<u8>()), 0..4),
    ) {
        let disk = gpt_disk(SectorSize::B512, 1000, 8, &slots);
        mutated(&disk, &changes, &[1, 999, 2, 997]);
        seal(&disk, 1000);
        read_checked(&disk);
    }

    #[test]
    fn any_bytes_divide_the_disk(
        changes in prop::collection::vec((any::<u64>(), any::<u8>()), 0..40),
        kind in 0_u8..3,
    ) {
        let disk = match kind {
            0 => gpt_disk(SectorSize::B512, 1000, 8, &[(0, 40, 99), (3, 100, 900)]),
            1 => extended_disk(5),
            _ => mbr_disk(1000, &[(0, 0xEE, 1, 999)]),
        };
        mutated(&disk, &changes, &[0, 1, 2, 200, 300, 400, 997, 999]);
        read_checked(&disk);
    }
}
