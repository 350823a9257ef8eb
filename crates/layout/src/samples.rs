//! Disks with tables, made in memory for the tests of this crate.

use block::{Disk, MemoryDisk, SectorSize, WriteAt, read_vec};
use zerocopy::IntoBytes;

use crate::gpt::{Entry, Header, SIGNATURE, checksum};
use crate::{Layout, RegionKind};

/// A partition of a sample: slot counted from 0, first and last sector.
pub type Slot = (usize, u64, u64);

/// A disk of `sectors` sectors with a GPT of `count` entries and these partitions.
pub fn gpt_disk(size: SectorSize, sectors: u64, count: u32, slots: &[Slot]) -> MemoryDisk {
    let disk = MemoryDisk::new(sectors * size.bytes()).with_sector_size(size);
    disk.write_at(0, &record(0xDEAD_BEEF, &[(0, 0xEE, 1, sectors as u32 - 1)])).unwrap();
    write_gpt(&disk, size, sectors, count, slots);
    disk
}

/// Writes both copies of a GPT for a disk of `sectors` sectors.
pub fn write_gpt(disk: &MemoryDisk, size: SectorSize, sectors: u64, count: u32, slots: &[Slot]) {
    let mut array = vec![0; count as usize * 128];
    for (slot, first, last) in slots {
        let mut name = [0_u16.into(); 36];
        for (unit, letter) in name.iter_mut().zip(format!("データ{slot}").encode_utf16()) {
            *unit = letter.into();
        }
        let entry = Entry {
            partition_type_guid: [0xAF; 16],
            unique_partition_guid: [(*slot as u8).wrapping_add(1); 16],
            starting_lba: (*first).into(),
            ending_lba: (*last).into(),
            attributes: (1 << 63 | 1 << 2).into(),
            partition_name: name,
        };
        array[slot * 128..][..128].copy_from_slice(entry.as_bytes());
    }
    let array_sectors = (array.len() as u64).div_ceil(size.bytes());
    let last = sectors - 1;
    let header = |my_lba: u64, alternate_lba: u64, entries: u64| {
        let mut header = Header {
            signature: SIGNATURE,
            revision: 0x10000.into(),
            header_size: 92.into(),
            header_crc32: 0.into(),
            reserved: 0.into(),
            my_lba: my_lba.into(),
            alternate_lba: alternate_lba.into(),
            first_usable_lba: (2 + array_sectors).into(),
            last_usable_lba: (last - array_sectors - 1).into(),
            disk_guid: *b"\x78\x56\x34\x12\x34\x12\x78\x56\x90\x12sample",
            partition_entry_lba: entries.into(),
            number_of_partition_entries: count.into(),
            size_of_partition_entry: 128.into(),
            partition_entry_array_crc32: crc32fast::hash(&array).into(),
        };
        header.header_crc32 = checksum(header.as_bytes(), 92).unwrap().into();
        header
    };
    disk.write_at(size.bytes(), header(1, last, 2).as_bytes()).unwrap();
    disk.write_at(2 * size.bytes(), &array).unwrap();
    disk.write_at((last - array_sectors) * size.bytes(), &array).unwrap();
    disk.write_at(last * size.bytes(), header(last, 1, last - array_sectors).as_bytes()).unwrap();
}

/// An entry of a record: boot indicator, type, first sector, number of sectors.
pub type RecordEntry = (u8, u8, u32, u32);

/// A master or extended boot record.
pub fn record(signature: u32, entries: &[RecordEntry]) -> Vec<u8> {
    let mut bytes = vec![0; 512];
    bytes[..4].copy_from_slice(b"code");
    bytes[0x1B8..0x1BC].copy_from_slice(&signature.to_le_bytes());
    for (index, (boot, kind, start, count)) in entries.iter().enumerate() {
        let entry = &mut bytes[0x1BE + index * 16..][..16];
        entry[0] = *boot;
        entry[4] = *kind;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..].copy_from_slice(&count.to_le_bytes());
    }
    bytes[510..].copy_from_slice(&[0x55, 0xAA]);
    bytes
}

/// A disk of `sectors` 512-byte sectors with these entries in LBA 0.
pub fn mbr_disk(sectors: u64, entries: &[RecordEntry]) -> MemoryDisk {
    let disk = MemoryDisk::new(sectors * 512).with_sector_size(SectorSize::B512);
    disk.write_at(0, &record(0x22C7_79E1, entries)).unwrap();
    disk
}

/// A disk with one primary, and an extended partition from sector 200 with `logicals` partitions of 50 sectors.
pub fn extended_disk(logicals: u32) -> MemoryDisk {
    let disk = mbr_disk(100_000, &[(0x80, 7, 63, 100), (0, 0x0F, 200, logicals * 100)]);
    for number in 0..logicals {
        let mut entries = vec![(0, 0x83, 10, 50)];
        if number + 1 < logicals {
            entries.push((0, 0x05, (number + 1) * 100, 100));
        }
        disk.write_at(u64::from(200 + number * 100) * 512, &record(number, &entries)).unwrap();
    }
    disk
}

/// Overwrites bytes of a disk.
pub fn bend(disk: &MemoryDisk, offset: u64, bytes: &[u8]) {
    disk.write_at(offset, bytes).unwrap();
}

/// Asserts what every layout must keep: each byte in exactly one place, order, unique names, true copies.
pub fn check_layout(layout: &Layout, disk: &dyn Disk) {
    assert_eq!(layout.disk_size, disk.size());
    let mut pieces: Vec<_> = layout.regions.iter().map(|region| region.extent).collect();
    assert!(pieces.is_sorted_by_key(|extent| extent.start()), "regions are in order");
    assert!(layout.table_sectors.is_sorted_by_key(|table| table.extent.start()), "tables are in order");
    pieces.extend(layout.table_sectors.iter().map(|table| table.extent));
    pieces.sort_by_key(|extent| extent.start());
    let mut position = 0;
    for piece in pieces {
        assert_eq!(piece.start(), position, "a byte lies in two places or in none: {layout:?}");
        assert!(!piece.is_empty());
        position = piece.end();
    }
    assert_eq!(position, disk.size());
    for table in &layout.table_sectors {
        assert_eq!(read_vec(disk, table.extent.start(), table.bytes.len()).unwrap(), table.bytes);
        assert_eq!(table.bytes.len() as u64, table.extent.length());
    }
    let mut names: Vec<_> = layout.regions.iter().map(|region| &region.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), layout.regions.len(), "names are unique");
    for region in &layout.regions {
        assert_eq!(region.partition.is_some(), region.kind == RegionKind::Partition);
    }
    assert!(layout.findings.len() < 300);
}

/// The layout in short: name, first sector, number of sectors (of 512 bytes).
pub fn regions_of(layout: &Layout) -> Vec<(&str, u64, u64)> {
    let extents = layout.regions.iter();
    extents.map(|region| (region.name.as_str(), region.extent.start() / 512, region.extent.length() / 512)).collect()
}
