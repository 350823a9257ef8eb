//! Disks made by hand in memory.

use block::{Disk, DiskExtent, MemoryDisk, SectorSize, WriteAt};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;

/// Numbers that look random and are the same in every run (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    pub fn bytes(&mut self, length: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length as usize + 8);
        while (bytes.len() as u64) < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length as usize);
        bytes
    }
}

/// A disk with a GPT of 128 entries and partitions at these sectors (first and last).
pub fn gpt(size: u64, sector_size: SectorSize, partitions: &[(u64, u64)]) -> MemoryDisk {
    let sector = sector_size.bytes();
    let disk = MemoryDisk::new(size).with_sector_size(sector_size);
    let last = size / sector - 1;
    let mut protective = vec![0; 512];
    protective[..11].copy_from_slice(b"boot loader");
    protective[0x1BE..0x1CE].copy_from_slice(&entry(0, 0xEE, 1, last as u32));
    protective[510..].copy_from_slice(&[0x55, 0xAA]);
    disk.write_at(0, &protective).unwrap();
    let mut array = vec![0; 128 * 128];
    for (number, (first, last)) in partitions.iter().enumerate() {
        let entry = &mut array[number * 128..][..128];
        entry[..16].fill(0xAF);
        entry[16..32].fill(number as u8 + 1);
        entry[32..40].copy_from_slice(&first.to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        entry[56] = b'a' + number as u8;
    }
    let array_sectors = array.len() as u64 / sector;
    let header = |own: u64, other: u64, entries: u64| {
        let mut header = vec![0; 92];
        header[..12].copy_from_slice(b"EFI PART\0\0\x01\0");
        header[12] = 92;
        header[24..32].copy_from_slice(&own.to_le_bytes());
        header[32..40].copy_from_slice(&other.to_le_bytes());
        header[40..48].copy_from_slice(&(2 + array_sectors).to_le_bytes());
        header[48..56].copy_from_slice(&(last - array_sectors - 1).to_le_bytes());
        header[56..72].copy_from_slice(b"the disk's GUID.");
        header[72..80].copy_from_slice(&entries.to_le_bytes());
        header[80] = 128;
        header[84] = 128;
        header[88..92].copy_from_slice(&crc32fast::hash(&array).to_le_bytes());
        let checksum = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&checksum.to_le_bytes());
        header
    };
    disk.write_at(sector, &header(1, last, 2)).unwrap();
    disk.write_at(2 * sector, &array).unwrap();
    disk.write_at((last - array_sectors) * sector, &array).unwrap();
    disk.write_at(last * sector, &header(last, 1, last - array_sectors)).unwrap();
    disk
}

fn entry(boot: u8, kind: u8, start: u32, count: u32) -> [u8; 16] {
    let mut entry = [0; 16];
    (entry[0], entry[4]) = (boot, kind);
    entry[8..12].copy_from_slice(&start.to_le_bytes());
    entry[12..].copy_from_slice(&count.to_le_bytes());
    entry
}

/// Writes a master or extended boot record.
fn boot_record(disk: &MemoryDisk, sector: u64, entries: &[[u8; 16]]) {
    let mut record = vec![0; 512];
    record[..4].copy_from_slice(b"code");
    record[0x1B8..0x1BC].copy_from_slice(&[0xE1, 0x79, 0xC7, 0x22]);
    for (number, entry) in entries.iter().enumerate() {
        record[0x1BE + number * 16..][..16].copy_from_slice(entry);
    }
    record[510..].copy_from_slice(&[0x55, 0xAA]);
    disk.write_at(sector * 512, &record).unwrap();
}

/// A primary and two logical partitions, with random bytes in and between them. 6 MiB.
pub fn mbr() -> MemoryDisk {
    let disk = MemoryDisk::new(6 * MIB).with_sector_size(SectorSize::B512);
    disk.write_at(0, &Random(5).bytes(6 * MIB)).unwrap();
    boot_record(&disk, 0, &[entry(0x80, 0x83, 63, 4000), entry(0, 0x0F, 4096, 8000)]);
    boot_record(&disk, 4096, &[entry(0, 0x83, 63, 2000), entry(0, 0x05, 3000, 2100)]);
    boot_record(&disk, 4096 + 3000, &[entry(0, 0x83, 63, 2000)]);
    disk
}

/// One primary partition: LBA 0 is the whole table. 4 MiB.
pub fn primary() -> MemoryDisk {
    let disk = MemoryDisk::new(4 * MIB).with_sector_size(SectorSize::B512);
    disk.write_at(0, &Random(8).bytes(4 * MIB)).unwrap();
    boot_record(&disk, 0, &[entry(0x80, 0x83, 63, 7000)]);
    disk
}

/// A dynamic disk of Windows, 6 MiB: a partition of type 0x42, in which something looks like swap with nothing in
/// use, before it the private header, and behind it the database in the last MiB.
pub fn dynamic() -> MemoryDisk {
    let disk = MemoryDisk::new(6 * MIB).with_sector_size(SectorSize::B512);
    disk.write_at(0, &Random(9).bytes(6 * MIB)).unwrap();
    boot_record(&disk, 0, &[entry(0, 0x42, 63, 10_240 - 63)]);
    write_swap(&disk, 63 * 512, 4 * MIB);
    disk.write_at(6 * 512, b"PRIVHEAD").unwrap();
    disk.write_at(5 * MIB + 512, b"TOCBLOCK").unwrap();
    disk
}

/// A disk without a table, with bytes from its first on, and a size that is no multiple of anything.
pub fn bare() -> MemoryDisk {
    let disk = MemoryDisk::new(1_300_001);
    disk.write_at(0, &Random(6).bytes(300_000)).unwrap();
    disk.write_at(1_000_001, &Random(7).bytes(300_000)).unwrap();
    disk
}

/// Where the partitions of [`machine`] begin and end.
pub const MACHINE_PARTITIONS: [(u64, u64); 3] = [(2048, 10_239), (10_240, 14_500), (16_384, 18_431)];

/// A GPT disk of 10 MiB: `p1` swap of 4 MiB with junk in its free space, `p2` unknown bytes (random, text,
/// zeros, equal chunks), `p3` swap, random bytes in the gaps.
pub fn machine() -> MemoryDisk {
    let disk = gpt(10 * MIB, SectorSize::B512, &MACHINE_PARTITIONS);
    let mut random = Random(1);
    disk.write_at(40 * 512, &random.bytes(100_000)).unwrap();
    disk.write_at(15_000 * 512, &random.bytes(70_000)).unwrap();
    disk.write_at(MIB, &random.bytes(4 * MIB)).unwrap();
    write_swap(&disk, MIB, 4 * MIB);
    let p2 = 10_240 * 512;
    disk.write_at(p2, &random.bytes(300 * KIB)).unwrap();
    let chunk = random.bytes(256 * KIB);
    disk.write_at(p2 + 512 * KIB, &chunk).unwrap();
    disk.write_at(p2 + 1024 * KIB, &chunk).unwrap();
    let text: Vec<u8> = (0..40_000_u32).flat_map(|n| (n / 3).to_le_bytes()).collect();
    disk.write_at(p2 + 1536 * KIB, &text).unwrap();
    disk.write_at(14_500 * 512 + 511, b"!").unwrap();
    write_swap(&disk, 16_384 * 512, MIB);
    disk
}

/// Makes a region swap, of which only the first page is in use.
pub fn write_swap(disk: &dyn WriteAt, start: u64, length: u64) {
    let mut page = vec![0; 4096];
    page[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    page[1028..1032].copy_from_slice(&((length / 4096 - 1) as u32).to_le_bytes());
    page[1036..1052].copy_from_slice(b"UUID of the swap");
    page[4086..].copy_from_slice(b"SWAPSPACE2");
    disk.write_at(start, &page).unwrap();
}

/// All bytes of a disk.
pub fn bytes_of(disk: &dyn Disk) -> Vec<u8> {
    block::read_vec(disk, 0, disk.size() as usize).unwrap()
}

/// A disk of the same size and sector size that was used by somebody else.
pub fn used_disk(size: u64, sector_size: Option<SectorSize>) -> MemoryDisk {
    let disk = MemoryDisk::new(size).with_fill(0xA5);
    match sector_size {
        Some(sector_size) => disk.with_sector_size(sector_size),
        None => disk,
    }
}

/// The bytes of a disk at an extent.
pub fn part(bytes: &[u8], extent: DiskExtent) -> &[u8] {
    &bytes[extent.start() as usize..extent.end() as usize]
}
