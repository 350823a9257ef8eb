//! A physical volume in memory, written by hand after lvm2's `lib/format_text`, for tests that bend it.

use block::{MemoryDisk, WriteAt};

use super::checksum::checksum;

pub const MIB: u64 = 1 << 20;
pub const FIRST: &str = "AAAAAAbbbbccccddddeeeeffffGGGGGG";
pub const SECOND: &str = "ZZZZZZbbbbccccddddeeeeffffGGGGGG";

/// Where the metadata area begins and how long it is.
pub const AREA: (u64, u64) = (4096, MIB - 4096);

/// A group with 1 MiB extents from 1 MiB on two physical volumes of `extents` extents.
pub fn text(sequence_number: u64, extents: u64, logical: &str) -> String {
    format!(
        "vg0 {{\nid = \"VGVGVG-aaaa-bbbb-cccc-dddd-eeee-ffffff\"\nseqno = {sequence_number}\nformat = \"lvm2\"\n\
         status = [\"RESIZEABLE\", \"READ\", \"WRITE\"]\nflags = []\nextent_size = 2048\nphysical_volumes {{\n\
         pv0 {{ id = \"{FIRST}\" status = [\"ALLOCATABLE\"] flags = [] pe_start = 2048 pe_count = {extents} }}\n\
         pv1 {{ id = \"{SECOND}\" status = [\"ALLOCATABLE\"] flags = [] pe_start = 2048 pe_count = {extents} }}\n\
         }}\nlogical_volumes {{\n{logical}\n}}\n}}\nversion = 1\n\0"
    )
}

/// A visible volume of one segment.
pub fn volume(name: &str, extents: u64, segment: &str) -> String {
    volume_of(name, "\"READ\", \"WRITE\", \"VISIBLE\"", &[(0, extents, segment)])
}

/// A volume with these flags and segments.
pub fn volume_of(name: &str, flags: &str, segments: &[(u64, u64, &str)]) -> String {
    let count = segments.len();
    let mut text = format!("{name} {{ id = \"id-of-{name}\" status = [{flags}] flags = [] segment_count = {count}\n");
    for (number, (start, extents, segment)) in segments.iter().enumerate() {
        text += &format!("segment{} {{ start_extent = {start} extent_count = {extents} {segment} }}\n", number + 1);
    }
    text + "}\n"
}

pub fn linear(place: &str, extent: u64) -> String {
    format!("type = \"striped\" stripe_count = 1 stripes = [\"{place}\", {extent}]")
}

/// Writes label and metadata area. The text begins at `offset` of the area and may wrap.
pub fn write(disk: &MemoryDisk, uuid: &str, text: &str, offset: u64) {
    write_label(disk, 1, uuid);
    write_metadata(disk, text, offset);
}

pub fn write_label(disk: &MemoryDisk, sector: u64, uuid: &str) {
    let mut label = vec![0; 512];
    label[..8].copy_from_slice(b"LABELONE");
    label[8..16].copy_from_slice(&sector.to_le_bytes());
    label[20..24].copy_from_slice(&32_u32.to_le_bytes());
    label[24..32].copy_from_slice(b"LVM2 001");
    label[32..64].copy_from_slice(uuid.as_bytes());
    // Device size, one data area, one metadata area, extension of version 2 without areas.
    let numbers = [64 * MIB, MIB, 0, 0, 0, AREA.0, AREA.1, 0, 0, 2];
    for (number, value) in numbers.iter().enumerate() {
        label[64 + 8 * number..72 + 8 * number].copy_from_slice(&value.to_le_bytes());
    }
    let sum = checksum(&[&label[20..]]);
    label[16..20].copy_from_slice(&sum.to_le_bytes());
    disk.write_at(sector * 512, &label).unwrap();
}

pub fn write_metadata(disk: &MemoryDisk, text: &str, offset: u64) {
    let length = text.len() as u64;
    write_header(disk, [(offset, length, checksum(&[text.as_bytes()]), 0), (0, 0, 0, 0)]);
    let first = (AREA.1 - offset).min(length) as usize;
    disk.write_at(AREA.0 + offset, &text.as_bytes()[..first]).unwrap();
    disk.write_at(AREA.0 + 512, &text.as_bytes()[first..]).unwrap();
}

pub fn write_header(disk: &MemoryDisk, locations: [(u64, u64, u32, u32); 2]) {
    let mut header = vec![0; 512];
    header[4..20].copy_from_slice(b" LVM2 x[5A%r0N*>");
    header[20..24].copy_from_slice(&1_u32.to_le_bytes());
    header[24..32].copy_from_slice(&AREA.0.to_le_bytes());
    header[32..40].copy_from_slice(&AREA.1.to_le_bytes());
    for (place, (offset, size, sum, flags)) in header[40..].chunks_mut(24).zip(locations) {
        place[..8].copy_from_slice(&offset.to_le_bytes());
        place[8..16].copy_from_slice(&size.to_le_bytes());
        place[16..20].copy_from_slice(&sum.to_le_bytes());
        place[20..24].copy_from_slice(&flags.to_le_bytes());
    }
    let sum = checksum(&[&header[4..]]);
    header[..4].copy_from_slice(&sum.to_le_bytes());
    disk.write_at(AREA.0, &header).unwrap();
}
