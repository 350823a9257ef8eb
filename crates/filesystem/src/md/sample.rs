//! Superblocks of md in memory, written by hand after the kernel's `md_p.h`, for tests that bend them.

use block::{MemoryDisk, ReadAt, WriteAt};

/// What a superblock is to say.
#[derive(Clone, Copy)]
pub struct Said {
    pub version: &'static str,
    pub level: i32,
    pub role: u32,
    pub events: u64,
    pub features: u32,
    pub is_clean: bool,
    /// Bytes of data.
    pub length: u64,
}

pub const MIRROR: Said =
    Said { version: "1.2", level: 1, role: 0, events: 17, features: 0, is_clean: true, length: 4 << 20 };

/// Where the data of a member with a superblock at the start begins.
pub const DATA: u64 = 1 << 20;

pub fn write(disk: &MemoryDisk, said: Said) {
    if said.version == "0.90" { write_0(disk, said) } else { write_1(disk, said) }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn write_1(disk: &MemoryDisk, said: Said) {
    let (position, data) = match said.version {
        "1.0" => (((disk.size() / 512 - 16) & !7) * 512, 0),
        "1.1" => (0, DATA),
        _ => (4096, DATA),
    };
    let mut bytes = vec![0; 4096];
    put(&mut bytes, 0, &0xA92B_4EFC_u32.to_le_bytes());
    put(&mut bytes, 4, &1_u32.to_le_bytes());
    put(&mut bytes, 8, &said.features.to_le_bytes());
    put(&mut bytes, 16, &[0xAB; 16]);
    put(&mut bytes, 32, b"node:7");
    put(&mut bytes, 72, &said.level.to_le_bytes());
    put(&mut bytes, 80, &(said.length / 512).to_le_bytes());
    put(&mut bytes, 92, &2_u32.to_le_bytes());
    if said.features & 1 != 0 {
        // The bitmap: eight sectors behind the superblock.
        put(&mut bytes, 96, &8_i32.to_le_bytes());
    }
    put(&mut bytes, 128, &(data / 512).to_le_bytes());
    put(&mut bytes, 136, &(said.length / 512).to_le_bytes());
    put(&mut bytes, 144, &(position / 512).to_le_bytes());
    put(&mut bytes, 160, &said.role.to_le_bytes());
    put(&mut bytes, 168, &[said.role as u8 + 1; 16]);
    put(&mut bytes, 200, &said.events.to_le_bytes());
    put(&mut bytes, 208, &if said.is_clean { u64::MAX } else { 0 }.to_le_bytes());
    put(&mut bytes, 220, &4_u32.to_le_bytes());
    // Roles of devices 0 to 3: two members, a spare, a faulty one.
    for (number, role) in [0_u16, 1, 0xFFFF, 0xFFFE].into_iter().enumerate() {
        put(&mut bytes, 256 + 2 * number, &role.to_le_bytes());
    }
    let words = bytes[..264].chunks(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap())));
    let sum: u64 = words.sum();
    put(&mut bytes, 216, &((sum as u32).wrapping_add((sum >> 32) as u32)).to_le_bytes());
    disk.write_at(position, &bytes).unwrap();
}

fn write_0(disk: &MemoryDisk, said: Said) {
    let position = (disk.size() & !0xFFFF) - 0x1_0000;
    let mut bytes = vec![0; 4096];
    let mut word = |number: usize, value: u32| bytes[4 * number..4 * number + 4].copy_from_slice(&value.to_le_bytes());
    word(0, 0xA92B_4EFC);
    word(2, 90 + said.features);
    word(5, 0xABAB_ABAB);
    word(7, said.level as u32);
    word(8, (said.length / 1024) as u32);
    word(10, 2);
    word(33, u32::from(said.is_clean));
    word(39, said.events as u32);
    // This disk: number, major, minor, role, active and in sync.
    word(992 + 3, said.role);
    word(992 + 4, if said.role < 2 { 6 } else { 0 });
    let sum: u64 = bytes.chunks(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap()))).sum();
    put(&mut bytes, 152, &((sum as u32).wrapping_add((sum >> 32) as u32)).to_le_bytes());
    disk.write_at(position, &bytes).unwrap();
}
