//! A small NTFS volume made by hand, for tests: what real tools hardly ever make is in it.
//!
//! 2048 clusters of 512 bytes; the table of files in two pieces, the second known by an attribute
//! list; the bitmap in two pieces, known by an attribute list outside its record; a root directory
//! with a node outside its record; one bad cluster.

use block::{MemoryDisk, WriteAt};

pub const CLUSTER: u64 = 512;
pub const CLUSTERS: u64 = 2048;
/// One sector more than the volume, for the backup boot sector.
pub const REGION: u64 = CLUSTERS * CLUSTER + 512;

const MFT: u64 = 20;
const MFT_SECOND: u64 = 100;
const MIRROR: u64 = 60;
pub const LOG: u64 = 1000;
const LOG_CLUSTERS: u64 = 450;
const BITMAP: [u64; 2] = [70, 75];
const INDEX: u64 = 80;
pub const LIST: u64 = 90;
pub const HIBERFIL: u64 = 110;
const BAD: u64 = 1900;
/// Clusters that nothing but the bitmap knows of.
pub const FILE: [u64; 2] = [1600, 1601];

/// Where file record `number` lies.
pub fn record_at(number: u64) -> u64 {
    let vcn = number * 2;
    let lcn = if vcn < 24 { MFT + vcn } else { MFT_SECOND + vcn - 24 };
    lcn * CLUSTER
}

/// Clusters whose bit is set.
pub fn used_clusters() -> Vec<std::ops::Range<u64>> {
    vec![
        0..16,
        MFT..MFT + 24,
        MIRROR..MIRROR + 8,
        70..71,
        75..76,
        INDEX..INDEX + 8,
        LIST..LIST + 1,
        MFT_SECOND..MFT_SECOND + 8,
        HIBERFIL..HIBERFIL + 8,
        LOG..LOG + LOG_CLUSTERS,
        FILE[0]..FILE[1] + 1,
        BAD..BAD + 1,
    ]
}

/// The volume.
pub fn volume() -> MemoryDisk {
    let disk = MemoryDisk::new(REGION);
    let put = |position: u64, bytes: &[u8]| disk.write_at(position, bytes).unwrap();
    put(0, &boot_sector());
    put(LOG * CLUSTER, &vec![0xFF; (LOG_CLUSTERS * CLUSTER) as usize]);
    let mut bitmap = vec![0_u8; 256];
    for cluster in used_clusters().into_iter().flatten() {
        bitmap[cluster as usize / 8] |= 1 << (cluster % 8);
    }
    // Two pieces of one cluster each hold 1024 bytes; the second is never needed, but read as one stream.
    put(BITMAP[0] * CLUSTER, &bitmap);
    put(INDEX * CLUSTER, &index_block());
    put(LIST * CLUSTER, &bitmap_list());
    for (number, attributes) in records() {
        put(record_at(number), &record(number, &attributes));
    }
    disk
}

fn boot_sector() -> Vec<u8> {
    let mut boot = vec![0; 512];
    boot[3..11].copy_from_slice(b"NTFS    ");
    boot[0x0B..0x0E].copy_from_slice(&[0, 2, 1]);
    boot[0x28..0x30].copy_from_slice(&CLUSTERS.to_le_bytes());
    boot[0x30] = MFT as u8;
    boot[0x38] = MIRROR as u8;
    boot[0x40] = 0xF6;
    boot[0x48] = 0xEF;
    boot
}

fn records() -> Vec<(u64, Vec<Vec<u8>>)> {
    let data = |instance, runs: &[(u64, u64)], size| non_resident(0x80, "", instance, 0, runs, size);
    let mft = non_resident(0x80, "", 1, 0, &[(MFT, 24)], 16 * 1024);
    let mut mft_second = non_resident(0x80, "", 4, 24, &[(MFT_SECOND, 8)], 0);
    mft_second[0x28..0x40].fill(0);
    let list = [list_entry(0, 0, 1), list_entry(24, 11, 4)].concat();
    let bitmap = data(3, &[(BITMAP[0], 1)], 1024);
    let bitmap_second = non_resident(0x80, "", 7, 1, &[(BITMAP[1], 1)], 0);
    let list_of_bitmap = non_resident(0x20, "", 2, 0, &[(LIST, 1)], 64);
    let bad = non_resident(0x80, "$Bad", 2, 0, &[(0, 1900), (BAD, 1), (0, 147)], CLUSTERS * CLUSTER);
    let mut information = vec![0; 12];
    information[8] = 3;
    let mut root = vec![0x30, 0, 0, 0, 1, 0, 0, 0, 0, 16, 0, 0, 8, 0, 0, 0];
    root.extend(index_node(16, &[index_entry(0, "", 3, Some(0))]));
    vec![
        (0, vec![resident(0x20, "", 0, &list), mft]),
        (1, vec![data(1, &[(MIRROR, 8)], 4096)]),
        (2, vec![data(1, &[(LOG, LOG_CLUSTERS)], LOG_CLUSTERS * CLUSTER)]),
        (3, vec![resident(0x60, "", 1, &utf16("Sample ")), resident(0x70, "", 2, &information)]),
        (5, vec![resident(0x90, "$I30", 1, &root), non_resident(0xA0, "$I30", 2, 0, &[(INDEX, 8)], 4096)]),
        (6, vec![list_of_bitmap, bitmap]),
        (7, vec![data(1, &[(0, 16)], 8192)]),
        (8, vec![resident(0x80, "", 1, &[]), bad]),
        (10, vec![bitmap_second]),
        (11, vec![mft_second]),
        (13, vec![data(1, &[(HIBERFIL, 8)], 4096)]),
    ]
}

fn bitmap_list() -> Vec<u8> {
    [list_entry(0, 6, 3), list_entry(1, 10, 7)].concat()
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn list_entry(vcn: u64, record: u64, instance: u8) -> Vec<u8> {
    let mut entry = vec![0; 32];
    entry[..8].copy_from_slice(&[0x80, 0, 0, 0, 32, 0, 0, 26]);
    entry[8..16].copy_from_slice(&vcn.to_le_bytes());
    entry[16..24].copy_from_slice(&(record | 1 << 48).to_le_bytes());
    entry[24] = instance;
    entry
}

fn resident(kind: u8, name: &str, instance: u8, value: &[u8]) -> Vec<u8> {
    let name = utf16(name);
    let value_at = (24 + name.len()).next_multiple_of(8);
    let mut bytes = vec![0; (value_at + value.len()).next_multiple_of(8)];
    bytes[0] = kind;
    bytes[4] = bytes.len() as u8;
    bytes[9..15].copy_from_slice(&[name.len() as u8 / 2, 24, 0, 0, 0, instance]);
    bytes[16] = value.len() as u8;
    bytes[20] = value_at as u8;
    bytes[24..24 + name.len()].copy_from_slice(&name);
    bytes[value_at..value_at + value.len()].copy_from_slice(value);
    bytes
}

/// Runs as first cluster (0 for a hole) and length.
fn non_resident(kind: u8, name: &str, instance: u8, vcn: u64, runs: &[(u64, u64)], size: u64) -> Vec<u8> {
    let name = utf16(name);
    let mut pairs = Vec::new();
    let mut last = 0;
    for (lcn, length) in runs {
        pairs.push(if *lcn == 0 && runs.len() > 1 { 0x02 } else { 0x22 });
        pairs.extend(&length.to_le_bytes()[..2]);
        if pairs[pairs.len() - 3] == 0x22 {
            pairs.extend(&(*lcn as i16 - last).to_le_bytes());
            last = *lcn as i16;
        }
    }
    let pairs_at = (64 + name.len()).next_multiple_of(8);
    let mut bytes = vec![0; (pairs_at + pairs.len() + 1).next_multiple_of(8)];
    let length: u64 = runs.iter().map(|(_, length)| length).sum();
    bytes[0] = kind;
    bytes[4] = bytes.len() as u8;
    bytes[8..15].copy_from_slice(&[1, name.len() as u8 / 2, 64, 0, 0, 0, instance]);
    bytes[0x10..0x18].copy_from_slice(&vcn.to_le_bytes());
    bytes[0x18..0x20].copy_from_slice(&(vcn + length - 1).to_le_bytes());
    bytes[0x20] = pairs_at as u8;
    bytes[0x28..0x30].copy_from_slice(&(length * CLUSTER).to_le_bytes());
    bytes[0x30..0x38].copy_from_slice(&size.to_le_bytes());
    bytes[0x38..0x40].copy_from_slice(&size.to_le_bytes());
    bytes[64..64 + name.len()].copy_from_slice(&name);
    bytes[pairs_at..pairs_at + pairs.len()].copy_from_slice(&pairs);
    bytes
}

fn record(number: u64, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    bytes[..8].copy_from_slice(b"FILE\x30\0\x03\0");
    bytes[0x10] = 1;
    bytes[0x14] = 0x38;
    bytes[0x16] = 1;
    let mut at = 0x38;
    for attribute in attributes {
        bytes[at..at + attribute.len()].copy_from_slice(attribute);
        at += attribute.len();
    }
    bytes[at..at + 4].fill(0xFF);
    bytes[0x18..0x1A].copy_from_slice(&(at as u16 + 8).to_le_bytes());
    bytes[0x1C..0x1E].copy_from_slice(&1024_u16.to_le_bytes());
    // What the records 10 and 11 extend.
    let base = match number {
        10 => 6 | 1_u64 << 48,
        11 => 1 << 48,
        _ => 0,
    };
    bytes[0x20..0x28].copy_from_slice(&base.to_le_bytes());
    protect(&mut bytes, 0x30);
    bytes
}

/// Puts update sequence number 9 at the end of all blocks.
fn protect(bytes: &mut [u8], sequence_at: usize) {
    bytes[sequence_at] = 9;
    for block in 0..bytes.len() / 512 {
        let (end, kept) = (block * 512 + 510, sequence_at + 2 + block * 2);
        bytes.copy_within(end..end + 2, kept);
        bytes[end..end + 2].copy_from_slice(&[9, 0]);
    }
}

fn index_entry(file: u64, name: &str, flags: u8, below: Option<u64>) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes[..8].copy_from_slice(&file.to_le_bytes());
    bytes[12] = flags;
    if !name.is_empty() {
        bytes.resize(16 + 0x42, 0);
        bytes[16 + 0x40] = name.len() as u8;
        bytes.extend(utf16(name));
        bytes[10] = bytes.len() as u8 - 16;
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(below.into_iter().flat_map(u64::to_le_bytes));
    bytes[8] = bytes.len() as u8;
    bytes
}

fn index_node(entries_at: usize, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut node = vec![0; entries_at];
    node[0] = entries_at as u8;
    node.extend(entries.concat());
    node[4] = node.len() as u8;
    node
}

fn index_block() -> Vec<u8> {
    let mut block = b"INDX\x28\0\x09\0".to_vec();
    block.resize(24, 0);
    let entries = [index_entry(13 | 1 << 48, "HIBERFIL.SYS", 0, None), index_entry(0, "", 2, None)];
    block.extend(index_node(0x28, &entries));
    block.resize(4096, 0);
    protect(&mut block, 0x28);
    block
}
