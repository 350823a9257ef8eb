//! Placements, and disks that were written by them.

use block::{Disk, MemoryDisk, ReadAt, WriteAt, is_zero, read_vec};
use proptest::prelude::*;

use super::*;
use crate::samples::*;
use crate::{FindingCode, read};

const MIB: u64 = 1 << 20;

fn destination(sectors: u64) -> Destination {
    Destination { size: sectors * 512, sector_size: Some(SectorSize::B512) }
}

fn grow(grow: Grow) -> PlaceOptions {
    PlaceOptions { grow: Some(grow), ..PlaceOptions::default() }
}

fn region(name: &str) -> PlaceOptions {
    grow(Grow::Region(name.to_owned()))
}

/// Restores `source` by `placement` onto a disk that held something else everywhere.
fn restore(source: &dyn ReadAt, image: &Layout, placement: &Placement, size: u64) -> MemoryDisk {
    let disk = MemoryDisk::new(size).with_fill(0xA5).with_sector_size(image.sector_size);
    for extent in &placement.clear {
        disk.write_zeros(*extent).unwrap();
    }
    for (_, extent) in &placement.regions {
        copy(source, &disk, *extent);
    }
    for table in &placement.table {
        disk.write_at(table.extent.start(), &table.bytes).unwrap();
    }
    disk
}

fn copy(source: &dyn ReadAt, disk: &MemoryDisk, extent: DiskExtent) {
    let mut position = extent.start();
    while position < extent.end() {
        let length = (extent.end() - position).min(MIB);
        disk.write_at(position, &read_vec(source, position, length as usize).unwrap()).unwrap();
        position += length;
    }
}

fn contents(disk: &dyn ReadAt) -> Vec<u8> {
    read_vec(disk, 0, disk.size() as usize).unwrap()
}

/// Places, checks what every placement must keep, restores, and reads the result.
fn moved(source: &dyn Disk, size: u64, options: &PlaceOptions) -> (Placement, MemoryDisk, Layout) {
    let image = read(source).unwrap();
    let placement = place(&image, &Destination { size, sector_size: None }, options).unwrap();
    check_placement(&placement, &image, size);
    let disk = restore(source, &image, &placement, size);
    let layout = read(&disk).unwrap();
    check_layout(&layout, &disk);
    (placement, disk, layout)
}

fn check_placement(placement: &Placement, image: &Layout, size: u64) {
    let mut pieces: Vec<_> = placement.regions.iter().map(|(_, extent)| *extent).collect();
    pieces.extend(placement.table.iter().map(|table| table.extent));
    pieces.sort_by_key(|piece| piece.start());
    assert!(pieces.windows(2).all(|pair| pair[0].end() <= pair[1].start()), "{placement:?}");
    assert!(pieces.iter().chain(&placement.clear).all(|piece| piece.end() <= size));
    assert!(placement.clear.iter().all(|extent| image.sector_size.is_aligned(extent.start())));
    assert!(placement.table.is_sorted_by_key(|table| writing_rank(table.role)));
    for region in &image.regions {
        let kept = placement.regions.iter().find(|(name, _)| *name == region.name).map_or(0, |(_, extent)| {
            assert_eq!(extent.start(), region.extent.start());
            extent.length()
        });
        let cut = placement.cut.iter().filter(|(name, _)| *name == region.name).map(|(_, extent)| extent.length());
        assert_eq!(kept + cut.sum::<u64>(), region.extent.length(), "{}", region.name);
        assert!(kept == region.extent.length() || region.kind == RegionKind::Gap);
    }
}

/// What must be the same wherever a layout is restored.
fn partitions(layout: &Layout) -> Vec<&Region> {
    layout.regions.iter().filter(|region| region.kind == RegionKind::Partition).collect()
}

fn printed(placement: &Placement) -> Vec<String> {
    let changes = placement.changes.iter().map(Change::to_string);
    changes.filter(|change| !change.contains("CRC32")).collect()
}

/// 10,000 sectors, partitions 1 and 3; the second ends at sector 5999.
fn gpt() -> MemoryDisk {
    gpt_disk(SectorSize::B512, 10_000, 128, &[(0, 2048, 4095), (2, 5000, 5999)])
}

/// A file of `sectors` sectors that starts with the bytes of `disk`.
fn resized(disk: &MemoryDisk, sectors: u64) -> MemoryDisk {
    let resized = MemoryDisk::new(sectors * 512).with_sector_size(SectorSize::B512);
    copy(disk, &resized, DiskExtent::between(0, disk.size().min(sectors * 512)));
    resized
}

#[test]
fn a_disk_of_the_same_size_gets_every_byte() {
    for disk in [gpt(), extended_disk(31), MemoryDisk::new(3 * MIB + 77).with_fill(7), MemoryDisk::new(0)] {
        let (placement, restored, _) = moved(&disk, disk.size(), &PlaceOptions::default());
        assert_eq!((placement.changes, placement.cut), (vec![], vec![]));
        assert_eq!(placement.identities, identities(&read(&disk).unwrap()));
        assert!(contents(&disk) == contents(&restored));
    }
}

#[test]
fn the_backup_gpt_moves_to_the_end_of_a_larger_disk() {
    let source = gpt();
    let (placement, disk, layout) = moved(&source, 20_000 * 512, &PlaceOptions::default());
    assert_eq!(
        printed(&placement),
        [
            "primary GPT header: AlternateLBA 9999 -> 19999",
            "primary GPT header: LastUsableLBA 9966 -> 19966",
            "backup GPT header: MyLBA 9999 -> 19999",
            "backup GPT header: LastUsableLBA 9966 -> 19966",
            "backup GPT header: PartitionEntryLBA 9967 -> 19967",
            "LBA 0: SizeInLBA 9999 -> 19999",
        ]
    );
    let image = read(&source).unwrap();
    assert_eq!(layout.findings, []);
    assert_eq!((partitions(&layout), &layout.signature), (partitions(&image), &image.signature));
    let entries = |layout: &Layout, role| layout.table_sectors.iter().find(|t| t.role == role).unwrap().bytes.clone();
    for role in [TableRole::PrimaryEntries, TableRole::BackupEntries] {
        assert!(entries(&layout, role) == entries(&image, role));
    }
    // Neither the old backup nor anything of what was there before can be taken for a table.
    assert!(is_zero(&read_vec(&disk, 9967 * 512, 33 * 512).unwrap()));
    assert!(is_zero(&read_vec(&disk, 10_000 * 512, 2048 * 512).unwrap()));
}

#[test]
fn a_larger_disk_with_4096_byte_sectors_gets_its_backup_too() {
    let source = gpt_disk(SectorSize::B4096, 1000, 128, &[(0, 6, 500), (127, 501, 900)]);
    let (_, _, layout) = moved(&source, 1500 * 4096, &PlaceOptions::default());
    assert_eq!(layout.findings, []);
    assert_eq!(partitions(&layout), partitions(&read(&source).unwrap()));
}

#[test]
fn a_damaged_copy_stays_on_a_disk_of_the_same_size_and_is_rebuilt_on_another() {
    for (at, roles, findings) in [
        (512 + 60, [TableRole::PrimaryHeader, TableRole::PrimaryEntries], [FindingCode::PrimaryGptDamaged]),
        (5 * 512, [TableRole::PrimaryHeader, TableRole::PrimaryEntries], [FindingCode::PrimaryGptDamaged]),
        (9970 * 512, [TableRole::BackupHeader, TableRole::BackupEntries], [FindingCode::BackupGptDamaged]),
        (9999 * 512, [TableRole::BackupHeader, TableRole::BackupEntries], [FindingCode::BackupGptDamaged]),
    ] {
        let source = gpt();
        bend(&source, at, b"X");
        let (_, same, layout) = moved(&source, source.size(), &PlaceOptions::default());
        assert!(contents(&source) == contents(&same));
        assert_eq!(layout.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(), findings);
        for sectors in [6100, 20_000] {
            let (placement, _, layout) = moved(&source, sectors * 512, &PlaceOptions::default());
            assert!(roles.iter().all(|role| placement.changes.contains(&Change::Rebuilt { role: *role })));
            assert_eq!(layout.findings, []);
            assert_eq!(partitions(&layout), partitions(&read(&gpt()).unwrap()));
        }
    }
}

#[test]
fn a_grown_disk_is_restored_as_it_is_and_mended_on_another_size() {
    let source = resized(&gpt(), 15_000);
    let (_, same, _) = moved(&source, source.size(), &PlaceOptions::default());
    assert!(contents(&source) == contents(&same));
    for sectors in [10_000, 14_999, 15_001, 20_000] {
        let (_, _, layout) = moved(&source, sectors * 512, &PlaceOptions::default());
        assert_eq!(layout.findings, [], "{sectors}");
    }
}

#[test]
fn a_smaller_disk_takes_what_is_needed_and_not_a_sector_less() {
    let image = read(&gpt()).unwrap();
    // The last partition ends at sector 5999; 32 sectors of entries and the header follow.
    let (placement, _, layout) = moved(&gpt(), 6033 * 512, &PlaceOptions::default());
    assert_eq!(layout.findings, []);
    assert_eq!(partitions(&layout), partitions(&image));
    assert_eq!(placement.cut, [("gap3".to_owned(), DiskExtent::between(6000 * 512, 9967 * 512))]);
    assert_eq!(
        place(&image, &destination(6032), &PlaceOptions::default()),
        Err(PlaceError::TooSmall { needed: 6033 * 512, available: 6032 * 512 })
    );
    let image = read(&extended_disk(2)).unwrap();
    assert!(place(&image, &destination(400), &PlaceOptions::default()).is_ok());
    assert_eq!(
        place(&image, &destination(399), &PlaceOptions::default()),
        Err(PlaceError::TooSmall { needed: 400 * 512, available: 399 * 512 })
    );
    let image = read(&MemoryDisk::new(MIB)).unwrap();
    assert_eq!(
        place(&image, &destination(2047), &PlaceOptions::default()),
        Err(PlaceError::TooSmall { needed: MIB, available: 2047 * 512 })
    );
}

#[test]
fn sectors_of_another_size_are_refused_and_a_file_takes_any() {
    let image = read(&gpt()).unwrap();
    let disk = Destination { size: 10_000 * 512, sector_size: Some(SectorSize::B4096) };
    assert_eq!(
        place(&image, &disk, &PlaceOptions::default()),
        Err(PlaceError::SectorSize { image: SectorSize::B512, destination: SectorSize::B4096 })
    );
    assert!(place(&image, &Destination { sector_size: None, ..disk }, &PlaceOptions::default()).is_ok());
}

#[test]
fn nothing_on_the_destination_is_a_table_until_the_last_sector_is_written() {
    let sizes = [10_000 * 512, 15_000 * 512];
    for (size, source) in
        sizes.into_iter().flat_map(|size| [(size, gpt()), (size, mbr_disk(10_000, &[(0, 7, 63, 100)]))])
    {
        let image = read(&source).unwrap();
        let placement = place(&image, &Destination { size, sector_size: None }, &PlaceOptions::default()).unwrap();
        // The destination held a GPT of its own, for either sector size.
        for sector_size in [SectorSize::B512, SectorSize::B4096] {
            let sectors = size / sector_size.bytes();
            let disk = gpt_disk(sector_size, sectors, 128, &[(0, 100, 1000)]);
            for extent in &placement.clear {
                disk.write_zeros(*extent).unwrap();
            }
            assert_eq!(read(&disk).unwrap().table, TableKind::None);
            assert_eq!(read(&disk).unwrap().findings, [], "no header is left at the start");
            assert!(is_zero(&read_vec(&disk, size - 20_480, 20_480).unwrap()), "nor at the end");
            placement.regions.iter().for_each(|(_, extent)| copy(&source, &disk, *extent));
            let disk = resized(&disk, size / 512);
            for table in &placement.table {
                assert_eq!(read(&disk).unwrap().table, TableKind::None, "before {}", table.role);
                disk.write_at(table.extent.start(), &table.bytes).unwrap();
            }
            assert_eq!(partitions(&read(&disk).unwrap()), partitions(&image));
            assert_eq!(placement.table.last().map(|table| table.role), Some(TableRole::Mbr));
        }
    }
}

#[test]
fn the_size_in_a_protective_entry_follows_where_it_says_the_old_one() {
    let size_of = |entries: &[RecordEntry], sectors: u64| {
        let source = gpt();
        bend(&source, 0, &record(1, entries));
        let (placement, _, _) = moved(&source, sectors * 512, &PlaceOptions::default());
        Record::parse(&placement.table.last().unwrap().bytes).unwrap().partition_record[0].size_in_lba.get()
    };
    use crate::mbr::Record;
    assert_eq!(size_of(&[(0, 0xEE, 1, 9999)], 20_000), 19_999);
    assert_eq!(size_of(&[(0, 0xEE, 1, 7777)], 20_000), 19_999);
    assert_eq!(size_of(&[(0, 0xEE, 1, u32::MAX)], 20_000), u32::MAX);
    assert_eq!(size_of(&[(0, 0xEE, 1, 2047), (0, 7, 2048, 2048)], 20_000), 2047);
    assert_eq!(size_of(&[(0, 0xEE, 1, 9999), (0, 7, 2048, 2048)], 20_000), 19_999);
    assert_eq!(size_of(&[(0, 0xEE, 1, 9999)], 8000), 7999);
}

#[test]
fn the_last_partition_of_a_gpt_grows_to_the_last_usable_mebibyte() {
    for options in [grow(Grow::Last), region("p3")] {
        let (placement, _, layout) = moved(&gpt(), 20_000 * 512, &options);
        assert_eq!(layout.findings, []);
        assert_eq!(layout.region("p3").unwrap().extent, DiskExtent::between(5000 * 512, 18_432 * 512));
        assert_eq!(printed(&placement)[0], "p3: last sector 5999 -> 18431");
        assert_eq!(placement.regions.last().unwrap(), &("p3".to_owned(), DiskExtent::between(5000 * 512, 6000 * 512)));
        // The partition swallows the gap behind it; a restore looks whether it held anything.
        assert_eq!(placement.cut, [("gap3".to_owned(), DiskExtent::between(6000 * 512, 9967 * 512))]);
    }
    let (_, _, layout) = moved(&gpt(), 10_000 * 512, &grow(Grow::Last));
    assert_eq!(layout.region("p3").unwrap().extent.end(), 8192 * 512, "free space of a disk of the same size");
    let full = gpt_disk(SectorSize::B512, 10_000, 128, &[(0, 2048, 9966)]);
    let (placement, disk, _) = moved(&full, 10_000 * 512, &grow(Grow::Last));
    assert_eq!(placement.changes, [], "nothing to gain");
    assert!(contents(&full) == contents(&disk));
}

#[test]
fn a_partition_with_another_behind_it_does_not_grow() {
    let image = read(&gpt()).unwrap();
    let blocked = |name: &str, behind: &str, sector| {
        Err(PlaceError::GrowBlocked { name: name.to_owned(), behind: behind.to_owned(), sector })
    };
    assert_eq!(place(&image, &destination(20_000), &region("p1")), blocked("p1", "p3", 5999));
    let image = read(&extended_disk(2)).unwrap();
    assert_eq!(place(&image, &destination(200_000), &region("p1")), blocked("p1", "the extended partition", 399));
    assert_eq!(place(&image, &destination(200_000), &region("p5")), blocked("p5", "p6", 359));
    let missing = |name: &str| Err(PlaceError::NothingToGrow { name: name.to_owned() });
    assert_eq!(place(&image, &destination(200_000), &region("p7")), missing("p7"));
    assert_eq!(place(&image, &destination(200_000), &region("gap1")), missing("gap1"));
    let image = read(&MemoryDisk::new(MIB)).unwrap();
    assert_eq!(place(&image, &destination(4096), &grow(Grow::Last)), missing("last"));
}

#[test]
fn a_primary_partition_grows_to_the_last_mebibyte_of_the_disk() {
    let source = mbr_disk(10_000, &[(0x80, 7, 63, 100), (0, 0x83, 200, 5000)]);
    let (placement, _, layout) = moved(&source, 20_000 * 512, &grow(Grow::Last));
    assert_eq!(printed(&placement), ["p2: last sector 5199 -> 18431"]);
    assert_eq!(layout.region("p2").unwrap().extent, DiskExtent::between(200 * 512, 18_432 * 512));
    assert_eq!(layout.region("p1"), read(&source).unwrap().region("p1"));
}

#[test]
fn an_entry_of_a_record_grows_to_32_bits_of_sectors_and_no_further() {
    let image = read(&mbr_disk(10_000, &[(0, 0x83, 200, 5000)])).unwrap();
    let placement = place(&image, &destination(1 << 34), &grow(Grow::Last)).unwrap();
    assert_eq!(printed(&placement), ["p1: last sector 5199 -> 4294967295"]);
}

#[test]
fn a_logical_partition_grows_with_its_link_and_its_container() {
    let source = extended_disk(3);
    let (placement, _, layout) = moved(&source, 150_000 * 512, &region("p7"));
    assert_eq!(
        printed(&placement),
        ["p7: last sector 459 -> 149503", "link: last sector 499 -> 149503", "extended: last sector 499 -> 149503",]
    );
    assert_eq!(layout.findings, []);
    assert_eq!(layout.region("p7").unwrap().extent, DiskExtent::between(410 * 512, 149_504 * 512));
    for name in ["p1", "p5", "p6"] {
        assert_eq!(layout.region(name), read(&source).unwrap().region(name));
    }
}

#[test]
fn a_table_inside_a_partition_stays_and_never_moves() {
    let source = gpt_disk(SectorSize::B512, 10_000, 128, &[(0, 5000, 9980)]);
    let (_, same, _) = moved(&source, source.size(), &PlaceOptions::default());
    assert!(contents(&source) == contents(&same));
    let image = read(&source).unwrap();
    let error = place(&image, &destination(20_000), &PlaceOptions::default()).unwrap_err();
    let detail = "partition 1 holds sectors of the table (7168 bytes from 5103104), which has to move";
    assert_eq!(error, PlaceError::inconsistent(detail));
}

#[test]
fn a_longer_header_keeps_what_newer_specifications_put_there() {
    let source = gpt();
    for (lba, text) in [(1, b"primary"), (9999, b"backup!")] {
        let mut sector = read_vec(&source, lba * 512, 512).unwrap();
        sector[12..16].copy_from_slice(&512_u32.to_le_bytes());
        sector[505..].copy_from_slice(text);
        let sum = crate::gpt::checksum(&sector, 512).unwrap();
        sector[16..20].copy_from_slice(&sum.to_le_bytes());
        bend(&source, lba * 512, &sector);
    }
    let (_, disk, layout) = moved(&source, 20_000 * 512, &PlaceOptions::default());
    assert_eq!(layout.findings, []);
    assert_eq!(read_vec(&disk, 512 + 505, 7).unwrap(), b"primary");
}

#[test]
fn a_layout_that_contradicts_itself_is_refused() {
    let image = read(&gpt()).unwrap();
    let refuse = |change: &dyn Fn(&mut Layout)| {
        let mut image = image.clone();
        change(&mut image);
        place(&image, &destination(20_000), &PlaceOptions::default()).unwrap_err().to_string()
    };
    let told = "the layout of the image contradicts itself: ";
    assert_eq!(
        refuse(&|image| image.table_sectors[0].bytes.truncate(100)),
        format!("{told}100 bytes of table sectors for 512 bytes from 0")
    );
    assert_eq!(
        refuse(&|image| image.disk_size = 9_999 * 512),
        format!("{told}512 bytes from 5119488 on a disk of 5119488 bytes, after others up to 5119488")
    );
    assert_eq!(
        refuse(&|image| image.regions[1].extent = DiskExtent::between(512, 4096)),
        format!("{told}3584 bytes from 512 on a disk of 5120000 bytes, after others up to 1024")
    );
    assert_eq!(refuse(&|image| image.table_sectors.clear()), format!("{told}no valid GPT among its table sectors"));
}

/// How a disk is made: its kind, partitions as (slot, first, last), and bytes to bend as (place, offset, value).
type Recipe = (u8, Vec<Slot>, Vec<(usize, u64, u8)>);

fn any_disk() -> impl Strategy<Value = Recipe> {
    let slots = prop::collection::vec((0_usize..8, 4_u64..1000, 4_u64..1300), 0..5);
    let changes = prop::collection::vec((0_usize..8, 0_u64..0x400, any::<u8>()), 0..6);
    (0_u8..4, slots, changes)
}

fn make((kind, slots, changes): &Recipe) -> MemoryDisk {
    let disk = match kind {
        0 => gpt_disk(SectorSize::B512, 1000, 8, slots),
        1 => resized(&gpt_disk(SectorSize::B512, 1000, 8, slots), 1500),
        2 => resized(&extended_disk(4), 1000),
        _ => {
            let count = |first: &u64, last: &u64| last.saturating_sub(*first) as u32;
            let entries = slots.iter().take(4).map(|(_, first, last)| (0, 7, *first as u32, count(first, last)));
            mbr_disk(1000, &entries.collect::<Vec<_>>())
        }
    };
    for (place, offset, value) in changes {
        let base = [0, 0, 1, 2, 200, 300, 997, 999][*place] * 512;
        bend(&disk, (base + offset).min(disk.size() - 1), &[*value]);
    }
    disk
}

proptest! {
    #[test]
    fn any_disk_is_restored_byte_for_byte_onto_one_of_its_size(recipe in any_disk()) {
        let source = make(&recipe);
        let (_, disk, _) = moved(&source, source.size(), &PlaceOptions::default());
        prop_assert!(contents(&source) == contents(&disk));
    }

    #[test]
    fn tables_alone_tell_the_whole_layout(recipe in any_disk()) {
        let source = make(&recipe);
        let image = read(&source).unwrap();
        let tables = MemoryDisk::new(image.disk_size).with_sector_size(image.sector_size);
        for table in &image.table_sectors {
            tables.write_at(table.extent.start(), &table.bytes).unwrap();
        }
        if image.table != TableKind::None {
            prop_assert_eq!(&read(&tables).unwrap().regions, &image.regions);
        }
    }

    #[test]
    fn any_disk_on_any_size_keeps_its_partitions(
        recipe in any_disk(), sectors in 0_u64..2500, grown in any::<bool>(),
    ) {
        let (source, whole) = (make(&recipe), recipe.2.is_empty());
        let image = read(&source).unwrap();
        let options = PlaceOptions { grow: grown.then_some(Grow::Last), ..PlaceOptions::default() };
        match place(&image, &destination(sectors), &options) {
            Ok(placement) => {
                check_placement(&placement, &image, sectors * 512);
                let disk = restore(&source, &image, &placement, sectors * 512);
                let layout = read(&disk).unwrap();
                let cut = image.findings.iter().any(|finding| finding.code == FindingCode::PartitionPastEnd);
                if !grown && !cut {
                    prop_assert_eq!(partitions(&layout), partitions(&image));
                }
                if whole && image.findings.is_empty() {
                    prop_assert_eq!(layout.findings, []);
                }
            }
            Err(PlaceError::TooSmall { needed, available }) => {
                prop_assert!(needed > available);
                let enough = Destination { size: needed, sector_size: None };
                let again = place(&image, &enough, &options);
                prop_assert!(!matches!(again, Err(PlaceError::TooSmall { .. })), "{:?}", again);
            }
            Err(PlaceError::GrowBlocked { .. } | PlaceError::NothingToGrow { .. }) => prop_assert!(grown),
            Err(error @ (PlaceError::Inconsistent { .. } | PlaceError::SectorSize { .. })) => {
                prop_assert!(!whole || !image.findings.is_empty(), "{}", error);
            }
        }
    }
}

const RANDOM: [u8; 20] = [1, 2, 3, 4, 5, 6, 7, 0xF8, 0xF9, 10, 11, 12, 0xFF, 0xFF, 0xFF, 0xFE, 0x78, 0x56, 0x34, 0x12];

fn renamed() -> PlaceOptions {
    PlaceOptions { new_ids: Some(NewIds::from_random(RANDOM)), ..PlaceOptions::default() }
}

/// The bytes that differ, as runs of neighbours.
fn differing(one: &[u8], other: &[u8]) -> Vec<DiskExtent> {
    let positions = (0..one.len()).filter(|at| one[*at] != other[*at]);
    let extents: Extents<InDisk> = positions.map(|at| DiskExtent::between(at as u64, at as u64 + 1)).collect();
    extents.iter().collect()
}

#[test]
fn a_gpt_disk_beside_its_original_shares_no_id_with_it_and_nothing_else_differs() {
    let source = gpt();
    for size in [source.size(), 20_000 * 512] {
        let (placement, disk, layout) = moved(&source, size, &renamed());
        assert_eq!(layout.signature.as_deref(), Some("04030201-0605-4807-b90a-0b0cfffffffe"));
        let guids: Vec<_> =
            layout.regions.iter().filter_map(|region| region.partition.as_ref()?.guid.clone()).collect();
        // Number 1 and 3; the last four bytes count on, and wrap.
        assert_eq!(guids, ["04030201-0605-4807-b90a-0b0cffffffff", "04030201-0605-4807-b90a-0b0c00000001"]);
        assert_eq!(crate::shared_identities(&read(&source).unwrap(), &layout), []);
        assert_eq!(placement.identities, identities(&layout));
        assert_eq!(layout.findings, []);
        let printed: Vec<_> = placement.changes.iter().map(Change::to_string).collect();
        for line in [
            "disk: 12345678-1234-5678-9012-73616d706c65 -> 04030201-0605-4807-b90a-0b0cfffffffe",
            "p1: 01010101-0101-0101-0101-010101010101 -> 04030201-0605-4807-b90a-0b0cffffffff",
            "p3: 03030303-0303-0303-0303-030303030303 -> 04030201-0605-4807-b90a-0b0c00000001",
            "LBA 0: deadbeef -> 12345678",
        ] {
            assert!(printed.iter().any(|change| change == line), "{line}: {printed:#?}");
        }
        if size == source.size() {
            let allowed: Extents<InDisk> = [
                (0x1B8, 0x1BC),
                // Primary header: checksum, disk GUID, checksum of the entries; the entries' unique GUIDs.
                (512 + 16, 512 + 20),
                (512 + 56, 512 + 72),
                (512 + 88, 512 + 92),
                (1024 + 16, 1024 + 32),
                (1024 + 2 * 128 + 16, 1024 + 2 * 128 + 32),
            ]
            .into_iter()
            .chain({
                let (header, entries) = (9_999 * 512, (9_999 - 32) * 512);
                [
                    (header + 16, header + 20),
                    (header + 56, header + 72),
                    (header + 88, header + 92),
                    (entries + 16, entries + 32),
                    (entries + 2 * 128 + 16, entries + 2 * 128 + 32),
                ]
            })
            .map(|(start, end)| DiskExtent::between(start, end))
            .collect();
            let differing: Extents<InDisk> = differing(&contents(&source), &contents(&disk)).into_iter().collect();
            assert!(differing.difference(&allowed).iter().next().is_none(), "{differing:?}");
        }
    }
}

#[test]
fn a_gpt_disk_grows_and_gets_new_names_at_once() {
    let options = PlaceOptions { grow: Some(Grow::Last), ..renamed() };
    let (_, _, layout) = moved(&gpt(), 20_000 * 512, &options);
    let last = layout.region("p3").unwrap();
    assert_eq!(last.partition.as_ref().unwrap().guid.as_deref(), Some("04030201-0605-4807-b90a-0b0c00000001"));
    assert!(last.extent.end() > 6000 * 512, "{last:?}");
}

#[test]
fn an_mbr_disk_beside_its_original_has_another_signature_and_nothing_else_differs() {
    let source = extended_disk(3);
    let (placement, disk, layout) = moved(&source, source.size(), &renamed());
    assert_eq!(layout.signature.as_deref(), Some("12345678"));
    assert_eq!(differing(&contents(&source), &contents(&disk)), [DiskExtent::between(0x1B8, 0x1BC)]);
    let old = read(&source).unwrap().signature.unwrap();
    let printed: Vec<_> = placement.changes.iter().map(Change::to_string).collect();
    assert_eq!(printed[0], format!("disk: {old} -> 12345678"));
    assert!(printed.contains(&format!("p5: {old}-05 -> 12345678-05")), "{printed:#?}");
}

#[test]
fn a_signature_of_zeros_means_none_and_stays() {
    let source = mbr_disk(1000, &[]);
    bend(&source, 0, &record(0, &[(0, 7, 63, 100)]));
    let (placement, disk, _) = moved(&source, source.size(), &renamed());
    assert_eq!(placement.changes, []);
    assert!(contents(&source) == contents(&disk));
}

#[test]
fn a_disk_gets_the_names_of_the_one_that_it_replaces() {
    let old = gpt();
    let slots = [(0, 2048, 4095), (2, 5000, 5999), (3, 6000, 6999)];
    let new = gpt_disk(SectorSize::B512, 20_000, 128, &slots);
    let (_, renamed, _) = moved(
        &new,
        new.size(),
        &PlaceOptions { new_ids: Some(NewIds::from_random(RANDOM)), ..PlaceOptions::default() },
    );
    let ids = PlaceOptions { new_ids: Some(NewIds::of(&read(&old).unwrap())), ..PlaceOptions::default() };
    let (placement, disk, layout) = moved(&renamed, renamed.size(), &ids);
    // The one that the old disk did not have keeps its own.
    let own = "04030201-0605-4807-b90a-0b0c00000002";
    let mut expected: Vec<_> = identities(&read(&old).unwrap());
    expected.push(Identity { kind: crate::IdentityKind::PartitionGuid, value: own.into() });
    assert_eq!(identities(&layout), expected);
    assert_eq!(disk_signature(&disk), disk_signature(&old));
    assert_eq!(placement.changes.iter().filter(|change| matches!(change, Change::Renamed { .. })).count(), 4);
    // What has its names already is not changed.
    let (placement, _, _) = moved(&disk, disk.size(), &ids);
    assert_eq!(placement.changes, []);
}

fn disk_signature(disk: &MemoryDisk) -> Vec<u8> {
    read_vec(disk, 0x1B8, 4).unwrap()
}

#[test]
fn guids_are_spelled_and_read() {
    let bytes = *b"\x78\x56\x34\x12\x34\x12\x78\x56\x90\x12sample";
    assert_eq!(crate::gpt::parse_guid("12345678-1234-5678-9012-73616d706c65"), Some(bytes));
    assert_eq!(crate::gpt::parse_guid(&crate::gpt::guid(&bytes)), Some(bytes));
    for wrong in ["22c779e1-01", "", "12345678-1234-5678-9012-73616d706c6x", "+2345678-1234-5678-9012-73616d706c65"] {
        assert_eq!(crate::gpt::parse_guid(wrong), None);
    }
}
