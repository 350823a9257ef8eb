//! The superblock: 1 KiB into block 0, and again 1 KiB into block 1.
//!
//! Source: the Linux kernel's `include/linux/f2fs_fs.h` (`struct f2fs_super_block`, `struct f2fs_device`),
//! `fs/f2fs/super.c` (`sanity_check_raw_super`, `sanity_check_area_boundary`, `read_raw_super_block`).

use block::{ReadAt, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use super::checksum::crc32;
use crate::identity::{utf16_label_text, uuid_text};
use crate::{Error, FileSystem};

/// The magic number.
pub(super) const MAGIC: u32 = 0xF2F5_2010;
/// The only size of a block that this program reads; others need a kernel with other pages.
pub(super) const BLOCK: u64 = 4096;
/// Blocks of a segment.
pub(super) const SEGMENT_BLOCKS: u64 = 512;
/// Where the two copies lie.
const POSITIONS: [u64; 2] = [1024, 4096 + 1024];
const SUPERBLOCK_BYTES: usize = 3072;
const CRC_OFFSET: usize = 3068;

const FEATURE_ZONED: u32 = 0x2;
const FEATURE_CHECKSUM: u32 = 0x800;
const FEATURE_READ_ONLY: u32 = 0x4000;
/// Up to compression. Not read-only images, which have no room for a second life.
const FEATURES_KNOWN: u32 = 0x3FFF;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDevice {
    path: [u8; 64],
    total_segments: U32<LE>,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    magic: U32<LE>,
    major_ver: U16<LE>,
    minor_ver: U16<LE>,
    log_sectorsize: U32<LE>,
    log_sectors_per_block: U32<LE>,
    log_blocksize: U32<LE>,
    log_blocks_per_seg: U32<LE>,
    segs_per_sec: U32<LE>,
    secs_per_zone: U32<LE>,
    checksum_offset: U32<LE>,
    block_count: U64<LE>,
    section_count: U32<LE>,
    segment_count: U32<LE>,
    segment_count_ckpt: U32<LE>,
    segment_count_sit: U32<LE>,
    segment_count_nat: U32<LE>,
    segment_count_ssa: U32<LE>,
    segment_count_main: U32<LE>,
    segment0_blkaddr: U32<LE>,
    cp_blkaddr: U32<LE>,
    sit_blkaddr: U32<LE>,
    nat_blkaddr: U32<LE>,
    ssa_blkaddr: U32<LE>,
    main_blkaddr: U32<LE>,
    root_ino: U32<LE>,
    node_ino: U32<LE>,
    meta_ino: U32<LE>,
    uuid: [u8; 16],
    volume_name: [u8; 1024],
    extension_count: U32<LE>,
    extension_list: [u8; 512],
    cp_payload: U32<LE>,
    version: [u8; 256],
    init_version: [u8; 256],
    feature: U32<LE>,
    encryption_level: u8,
    encrypt_pw_salt: [u8; 16],
    devs: [RawDevice; 8],
    qf_ino: [U32<LE>; 3],
    hot_ext_count: u8,
    s_encoding: U16<LE>,
    s_encoding_flags: U16<LE>,
    s_stop_reason: [u8; 32],
    s_errors: [u8; 16],
    reserved: [u8; 258],
    crc: U32<LE>,
}

/// A superblock whose fields agree with each other. Places and lengths are counted in blocks.
#[derive(Debug)]
pub(super) struct Superblock {
    /// Blocks of the file system.
    pub(super) block_count: u64,
    /// First block of the first checkpoint pack; the second one begins a segment later.
    pub(super) checkpoint_start: u64,
    /// Blocks behind the first one of a checkpoint pack that hold bitmaps.
    pub(super) checkpoint_payload: u64,
    /// First block of the segment information table.
    pub(super) segment_table_start: u64,
    /// Blocks of one copy of the segment information table; the other one follows it.
    pub(super) segment_table_blocks: u64,
    /// First block of the segments that hold nodes and data.
    pub(super) main_start: u64,
    /// Number of those segments.
    pub(super) main_segments: u64,
    /// Parts of the file system lie on other devices.
    pub(super) has_other_devices: bool,
    /// Reasons for which the kernel stopped, or errors that it met.
    pub(super) has_errors: bool,
    /// The first copy was not readable as a superblock; this is the second.
    pub(super) is_second_copy: bool,
}

/// The identity of the file system; `None` where there is no F2FS.
pub(super) fn identify(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let Some(bytes) = read_copy(region, POSITIONS[0])? else {
        return Ok(None);
    };
    let Some(raw) = parse(&bytes) else {
        return Ok(None);
    };
    let shift = raw.log_blocksize.get();
    let block_size = 1_u32.checked_shl(shift).filter(|size| (512..=65536).contains(size));
    let block_size = block_size
        .ok_or_else(|| Error::corrupt(POSITIONS[0], "a block size from 2^9 to 2^16", format!("2^{shift}")))?;
    Ok(Some(FileSystem {
        kind: "f2fs".to_owned(),
        uuid: uuid_text(&raw.uuid),
        label: utf16_label_text(&raw.volume_name),
        block_size,
        size: raw.block_count.get().saturating_mul(u64::from(block_size)),
    }))
}

impl Superblock {
    /// Reads the first copy that is good, as the kernel does.
    ///
    /// # Errors
    /// Of the first copy, where neither is good; `Unsupported` for what this program does not understand.
    pub(super) fn read(region: &dyn ReadAt) -> Result<Self, Error> {
        let first = match Self::read_one(region, POSITIONS[0]) {
            Ok(superblock) => return Ok(superblock),
            Err(error) => error,
        };
        if !matches!(first, Error::Corrupt { .. }) {
            return Err(first);
        }
        match Self::read_one(region, POSITIONS[1]) {
            Ok(superblock) => Ok(Self { is_second_copy: true, ..superblock }),
            Err(_) => Err(first),
        }
    }

    fn read_one(region: &dyn ReadAt, position: u64) -> Result<Self, Error> {
        let bytes = read_copy(region, position)?.unwrap_or_default();
        let raw = parse(&bytes).ok_or_else(|| Error::corrupt(position, "a superblock of F2FS", "none"))?;
        check_checksum(position, raw, &bytes)?;
        check_features(raw)?;
        check_sizes(position, raw)?;
        check_areas(position, raw)?;
        Ok(Self {
            block_count: raw.block_count.get(),
            checkpoint_start: u64::from(raw.cp_blkaddr.get()),
            checkpoint_payload: u64::from(raw.cp_payload.get()),
            segment_table_start: u64::from(raw.sit_blkaddr.get()),
            segment_table_blocks: segments(raw.segment_count_sit.get() / 2),
            main_start: u64::from(raw.main_blkaddr.get()),
            main_segments: u64::from(raw.segment_count_main.get()),
            has_other_devices: raw.devs.iter().any(|device| device.path[0] != 0),
            has_errors: raw.s_stop_reason.iter().chain(&raw.s_errors).any(|byte| *byte != 0),
            is_second_copy: false,
        })
    }
}

fn read_copy(region: &dyn ReadAt, position: u64) -> Result<Option<Vec<u8>>, Error> {
    if position.saturating_add(BLOCK) > region.size() {
        return Ok(None);
    }
    Ok(Some(read_vec(region, position, SUPERBLOCK_BYTES)?))
}

fn parse(bytes: &[u8]) -> Option<&Raw> {
    Raw::ref_from_bytes(bytes).ok().filter(|raw| raw.magic.get() == MAGIC)
}

/// Blocks of `count` segments.
fn segments(count: u32) -> u64 {
    u64::from(count).saturating_mul(SEGMENT_BLOCKS)
}

fn check_checksum(position: u64, raw: &Raw, bytes: &[u8]) -> Result<(), Error> {
    if raw.feature.get() & FEATURE_CHECKSUM == 0 {
        return Ok(());
    }
    let sum = crc32(bytes.get(..CRC_OFFSET).unwrap_or_default());
    if usize::try_from(raw.checksum_offset.get()) == Ok(CRC_OFFSET) && sum == raw.crc.get() {
        return Ok(());
    }
    let expected = format!("a superblock with the checksum {:#010x}", raw.crc.get());
    Err(Error::corrupt(position, expected, format!("{sum:#010x}")))
}

fn check_features(raw: &Raw) -> Result<(), Error> {
    let features = raw.feature.get();
    if features & FEATURE_ZONED != 0 {
        return Err(Error::Unsupported("an F2FS for zoned devices".to_owned()));
    }
    if features & FEATURE_READ_ONLY != 0 {
        return Err(Error::Unsupported("a read-only F2FS image".to_owned()));
    }
    if features & !FEATURES_KNOWN != 0 {
        return Err(Error::Unsupported(format!("unknown F2FS features {:#x}", features & !FEATURES_KNOWN)));
    }
    if raw.major_ver.get() != 1 {
        return Err(Error::Unsupported(format!("F2FS version {}.{}", raw.major_ver, raw.minor_ver)));
    }
    if (raw.log_blocksize.get(), raw.log_blocks_per_seg.get()) != (12, 9) {
        return Err(Error::Unsupported(format!(
            "an F2FS with blocks of 2^{} bytes in segments of 2^{}",
            raw.log_blocksize, raw.log_blocks_per_seg
        )));
    }
    Ok(())
}

fn check_sizes(position: u64, raw: &Raw) -> Result<(), Error> {
    let bad = |expected: &str, actual: String| Err(Error::corrupt(position, expected, actual));
    let (sector, per_block) = (raw.log_sectorsize.get(), raw.log_sectors_per_block.get());
    if !(9..=12).contains(&sector) || sector.checked_add(per_block) != Some(12) {
        return bad("sectors that fill a block", format!("2^{per_block} sectors of 2^{sector} bytes"));
    }
    if raw.segs_per_sec.get() == 0 || raw.secs_per_zone.get() == 0 {
        return bad("segments in a section", "none".to_owned());
    }
    if raw.segment_count_ckpt.get() < 2 {
        return bad("two checkpoint packs", format!("{} segments", raw.segment_count_ckpt));
    }
    // As many blocks as a segment has, without its first and last.
    if u64::from(raw.cp_payload.get()) >= SEGMENT_BLOCKS.saturating_sub(2) {
        return bad("bitmaps inside a checkpoint pack", format!("{} blocks", raw.cp_payload));
    }
    Ok(())
}

/// One area follows the other, and the last one ends with the file system at the latest.
fn check_areas(position: u64, raw: &Raw) -> Result<(), Error> {
    let mut end = u64::from(raw.segment0_blkaddr.get());
    for (name, start, count) in [
        ("checkpoints", raw.cp_blkaddr, raw.segment_count_ckpt),
        ("segment information table", raw.sit_blkaddr, raw.segment_count_sit),
        ("node address table", raw.nat_blkaddr, raw.segment_count_nat),
        ("segment summary area", raw.ssa_blkaddr, raw.segment_count_ssa),
        ("main area", raw.main_blkaddr, raw.segment_count_main),
    ] {
        if u64::from(start.get()) != end || count.get() == 0 {
            let expected = format!("the {name} from block {end}");
            return Err(Error::corrupt(position, expected, format!("{count} segments from block {start}")));
        }
        end = end.saturating_add(segments(count.get()));
    }
    if end > raw.block_count.get() || raw.segment0_blkaddr.get() < 2 {
        let expected = format!("areas between block 2 and {}", raw.block_count);
        return Err(Error::corrupt(position, expected, format!("{} to {end}", raw.segment0_blkaddr)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_specification_puts_them() {
        assert_eq!(std::mem::offset_of!(Raw, uuid), 108);
        assert_eq!(std::mem::offset_of!(Raw, cp_payload), 1664);
        assert_eq!(std::mem::offset_of!(Raw, feature), 2180);
        assert_eq!(std::mem::offset_of!(Raw, devs), 2201);
        assert_eq!(std::mem::offset_of!(Raw, crc), CRC_OFFSET);
        assert_eq!(size_of::<Raw>(), SUPERBLOCK_BYTES);
    }
}
