//! The superblock of XFS: sector 0 of the region, and copies of it in sector 0 of every other allocation group.
//!
//! Source: "XFS Algorithms & Data Structures" (xfs-documentation, `superblock.asciidoc`) and the Linux kernel's
//! `fs/xfs/libxfs/xfs_format.h`, `xfs_sb.c`. All numbers are big-endian but the checksum.

use block::{ReadAt, read_vec};
use zerocopy::{BE, FromBytes, Immutable, IntoBytes, KnownLayout, LE, U16, U32, U64, Unaligned};

use crate::crc32c::checksum_without;
use crate::{Error, FileSystem};

/// The smallest sector: enough for every field.
const SMALLEST_SECTOR: u64 = 512;
/// Where `sb_crc` lies.
const CRC_OFFSET: usize = 224;

const VERSION_MASK: u16 = 0x000F;
const VERSION_LOG_2: u16 = 0x0400;
const VERSION_SHARED: u16 = 0x0200;
const VERSION_DIRECTORY_2: u16 = 0x2000;
/// Lazy counters, attributes 2, 32-bit project ids, file types: none of them touches the free-space maps.
const FEATURES2_KNOWN: u32 = 0x0000_028A;

/// Free-inode tree, reverse mappings, shared extents, inode tree counters: the free-space trees stay the truth.
const RO_COMPAT_KNOWN: u32 = 0x0000_000F;
/// Directories hold the type of each name.
const INCOMPAT_FILE_TYPES: u32 = 0x0000_0001;
const FEATURES2_FILE_TYPES: u32 = 0x0000_0200;
const INCOMPAT_META_UUID: u32 = 0x0000_0004;
const INCOMPAT_NEEDS_REPAIR: u32 = 0x0000_0010;
/// File types, sparse inodes, metadata UUID, big timestamps, 64-bit extent counts, exchanged ranges, parent pointers.
/// Not the metadata directory and zones, which change what the free-space trees speak of.
const INCOMPAT_KNOWN: u32 = 0x0000_00EF;
/// Logged extended attributes: matters to who replays the log.
const LOG_INCOMPAT_KNOWN: u32 = 0x0000_0001;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    sb_magicnum: [u8; 4],
    sb_blocksize: U32<BE>,
    sb_dblocks: U64<BE>,
    sb_rblocks: U64<BE>,
    sb_rextents: U64<BE>,
    sb_uuid: [u8; 16],
    sb_logstart: U64<BE>,
    sb_rootino: U64<BE>,
    sb_rbmino: U64<BE>,
    sb_rsumino: U64<BE>,
    sb_rextsize: U32<BE>,
    sb_agblocks: U32<BE>,
    sb_agcount: U32<BE>,
    sb_rbmblocks: U32<BE>,
    sb_logblocks: U32<BE>,
    sb_versionnum: U16<BE>,
    sb_sectsize: U16<BE>,
    sb_inodesize: U16<BE>,
    sb_inopblock: U16<BE>,
    sb_fname: [u8; 12],
    sb_blocklog: u8,
    sb_sectlog: u8,
    sb_inodelog: u8,
    sb_inopblog: u8,
    sb_agblklog: u8,
    sb_rextslog: u8,
    sb_inprogress: u8,
    sb_imax_pct: u8,
    sb_icount: U64<BE>,
    sb_ifree: U64<BE>,
    sb_fdblocks: U64<BE>,
    sb_frextents: U64<BE>,
    sb_uquotino: U64<BE>,
    sb_gquotino: U64<BE>,
    sb_qflags: U16<BE>,
    sb_flags: u8,
    sb_shared_vn: u8,
    sb_inoalignmt: U32<BE>,
    sb_unit: U32<BE>,
    sb_width: U32<BE>,
    sb_dirblklog: u8,
    sb_logsectlog: u8,
    sb_logsectsize: U16<BE>,
    sb_logsunit: U32<BE>,
    sb_features2: U32<BE>,
    sb_bad_features2: U32<BE>,
    sb_features_compat: U32<BE>,
    sb_features_ro_compat: U32<BE>,
    sb_features_incompat: U32<BE>,
    sb_features_log_incompat: U32<BE>,
    sb_crc: U32<LE>,
    sb_spino_align: U32<BE>,
    sb_pquotino: U64<BE>,
    sb_lsn: U64<BE>,
    sb_meta_uuid: [u8; 16],
}

/// A superblock whose fields agree with each other.
#[derive(Debug)]
pub(super) struct Superblock {
    /// Bytes of a block.
    pub(super) block_size: u32,
    /// Bytes of a metadata sector.
    pub(super) sector_size: u32,
    /// Blocks of the data section.
    pub(super) block_count: u64,
    /// Blocks of every allocation group but the last, which may have fewer.
    pub(super) group_blocks: u32,
    /// Number of allocation groups.
    pub(super) group_count: u32,
    /// Version 5: metadata carries checksums and owners.
    pub(super) has_checksums: bool,
    /// The UUID that users see and that log records carry.
    pub(super) uuid: [u8; 16],
    /// The UUID that metadata blocks of version 5 carry.
    pub(super) metadata_uuid: [u8; 16],
    /// Where the log lies, as first block of the data section and number of blocks; `None` where it is on another device.
    pub(super) log: Option<(u64, u32)>,
    /// Log records may have headers of more than one sector.
    pub(super) has_log_version_2: bool,
    /// Blocks of the realtime section, which is on another device.
    pub(super) realtime_blocks: u64,
    /// The root directory.
    pub(super) root_inode: u64,
    /// Bytes of an inode.
    pub(super) inode_size: u16,
    /// Directories tell what their names stand for.
    pub(super) has_file_types: bool,
    /// Block and inode numbers hold the group in their upper bits: the logarithms of blocks of a group, inodes of a
    /// block, blocks of a directory block.
    logarithms: (u32, u32, u32),
}

/// The identity of the file system; `None` where there is no XFS.
pub(super) fn identify(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let Some(raw) = read_raw(region)? else {
        return Ok(None);
    };
    let block_size = check_block_size(&raw)?;
    let size = raw.sb_dblocks.get().checked_mul(u64::from(block_size)).ok_or_else(|| {
        Error::corrupt(8, "a number of blocks that can be addressed", raw.sb_dblocks.get().to_string())
    })?;
    let name = raw.sb_fname.split(|byte| *byte == 0).next().unwrap_or_default();
    let label = String::from_utf8_lossy(name).trim_end().to_owned();
    Ok(Some(FileSystem {
        kind: "xfs".to_owned(),
        uuid: (raw.sb_uuid != [0; 16]).then(|| format_uuid(&raw.sb_uuid)),
        label: (!label.is_empty()).then_some(label),
        block_size,
        size,
    }))
}

/// Gives a copy of the superblock, in a sector of metadata, another UUID; `false`, and nothing changed, where it is no valid
/// copy of this file system.
pub(super) fn rename_copy(sector: &mut [u8], superblock: &Superblock, uuid: [u8; 16]) -> bool {
    let computed = checksum_without(sector, CRC_OFFSET);
    let Ok((raw, _)) = Raw::mut_from_prefix(sector) else { return false };
    let is_valid = !superblock.has_checksums || raw.sb_crc.get() == computed;
    if raw.sb_magicnum != *b"XFSB" || raw.sb_uuid != superblock.uuid || !is_valid {
        return false;
    }
    raw.sb_uuid = uuid;
    if superblock.has_checksums {
        raw.sb_meta_uuid = superblock.metadata_uuid;
        raw.sb_features_incompat = U32::new(raw.sb_features_incompat.get() | INCOMPAT_META_UUID);
        let computed = checksum_without(sector, CRC_OFFSET);
        if let Ok((raw, _)) = Raw::mut_from_prefix(sector) {
            raw.sb_crc = U32::new(computed);
        }
    }
    true
}

fn read_raw(region: &dyn ReadAt) -> Result<Option<Raw>, Error> {
    if region.size() < SMALLEST_SECTOR {
        return Ok(None);
    }
    let mut sector = [0; 512];
    region.read_at(0, &mut sector)?;
    Ok(Raw::read_from_prefix(&sector).ok().map(|(raw, _)| raw).filter(|raw| raw.sb_magicnum == *b"XFSB"))
}

fn check_block_size(raw: &Raw) -> Result<u32, Error> {
    let size = raw.sb_blocksize.get();
    if size.is_power_of_two() && (512..=65536).contains(&size) {
        Ok(size)
    } else {
        Err(Error::corrupt(4, "a block size from 512 to 65536", size.to_string()))
    }
}

/// The 16 bytes in the spelling of `blkid`.
pub(super) fn format_uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

impl Superblock {
    /// Reads the superblock and checks everything that the maps are located by.
    pub(super) fn read(region: &dyn ReadAt) -> Result<Self, Error> {
        let raw = read_raw(region)?.ok_or_else(|| Error::corrupt(0, "the magic XFSB", "something else"))?;
        let block_size = check_block_size(&raw)?;
        let sector_size = check_sector_size(&raw, block_size)?;
        let has_checksums = check_version(&raw)?;
        if has_checksums {
            check_checksum(region, &raw, sector_size)?;
            check_features(&raw)?;
        }
        if raw.sb_inprogress != 0 {
            return Err(Error::NotClean("mkfs.xfs or xfs_copy has not finished making the file system".to_owned()));
        }
        check_groups(&raw)?;
        let has_metadata_uuid = has_checksums && raw.sb_features_incompat.get() & INCOMPAT_META_UUID != 0;
        Ok(Self {
            block_size,
            sector_size,
            block_count: raw.sb_dblocks.get(),
            group_blocks: raw.sb_agblocks.get(),
            group_count: raw.sb_agcount.get(),
            has_checksums,
            uuid: raw.sb_uuid,
            metadata_uuid: if has_metadata_uuid { raw.sb_meta_uuid } else { raw.sb_uuid },
            log: locate_log(&raw)?,
            has_log_version_2: has_checksums || raw.sb_versionnum.get() & VERSION_LOG_2 != 0,
            realtime_blocks: raw.sb_rblocks.get().max(raw.sb_rextents.get()),
            root_inode: raw.sb_rootino.get(),
            inode_size: raw.sb_inodesize.get(),
            has_file_types: match has_checksums {
                true => raw.sb_features_incompat.get() & INCOMPAT_FILE_TYPES != 0,
                false => (raw.sb_features2.get() | raw.sb_bad_features2.get()) & FEATURES2_FILE_TYPES != 0,
            },
            logarithms: (raw.sb_agblklog.into(), raw.sb_inopblog.into(), raw.sb_dirblklog.into()),
        })
    }

    /// First byte of a block by the number that extents and trees have for it.
    pub(super) fn position_of_block(&self, number: u64) -> Result<u64, Error> {
        let (shift, ..) = self.logarithms;
        let group = number.checked_shr(shift).unwrap_or_default();
        let block = number.saturating_sub(group.checked_shl(shift).unwrap_or_default());
        let found = u32::try_from(group).ok().zip(u32::try_from(block).ok());
        match found.filter(|(group, block)| *group < self.group_count && *block < self.blocks_of_group(*group)) {
            Some((group, block)) => Ok(self.block_position(group, block)),
            None => {
                let expected = format!("a block in {} groups of {}", self.group_count, self.group_blocks);
                Err(Error::corrupt(0, expected, format!("block {block} of group {group}")))
            }
        }
    }

    /// First byte of an inode.
    pub(super) fn inode_position(&self, number: u64) -> Result<u64, Error> {
        let (_, per_block, _) = self.logarithms;
        let block = number.checked_shr(per_block).unwrap_or_default();
        let index = number.saturating_sub(block.checked_shl(per_block).unwrap_or_default());
        let offset = index.saturating_mul(u64::from(self.inode_size));
        if !(256..=2048).contains(&self.inode_size)
            || offset.saturating_add(u64::from(self.inode_size)) > u64::from(self.block_size)
        {
            let actual = format!("inode {index} of {} bytes in {}", self.inode_size, self.block_size);
            return Err(Error::corrupt(0, "an inode inside its block", actual));
        }
        Ok(self.position_of_block(block)?.saturating_add(offset))
    }

    /// Bytes of a block of a directory.
    pub(super) fn directory_block_size(&self) -> u64 {
        let (.., logarithm) = self.logarithms;
        u64::from(self.block_size).checked_shl(logarithm.min(7)).unwrap_or(65536)
    }

    /// First byte of an allocation group.
    pub(super) fn group_position(&self, group: u32) -> u64 {
        self.block_position(group, 0)
    }

    /// First byte of a block of an allocation group.
    pub(super) fn block_position(&self, group: u32, block: u32) -> u64 {
        self.linear_block(group, block).saturating_mul(u64::from(self.block_size))
    }

    /// The number of a block of an allocation group, counted from the start of the region.
    pub(super) fn linear_block(&self, group: u32, block: u32) -> u64 {
        u64::from(group).saturating_mul(u64::from(self.group_blocks)).saturating_add(u64::from(block))
    }

    /// Blocks of an allocation group.
    pub(super) fn blocks_of_group(&self, group: u32) -> u32 {
        let rest = self.block_count.saturating_sub(self.linear_block(group, 0));
        u32::try_from(rest).unwrap_or(u32::MAX).min(self.group_blocks)
    }

    /// Blocks at the start of every group that hold its four header sectors.
    pub(super) fn header_blocks(&self) -> u32 {
        self.sector_size.saturating_mul(4).div_ceil(self.block_size.max(1))
    }
}

/// Whether the version carries checksums.
fn check_version(raw: &Raw) -> Result<bool, Error> {
    let version = raw.sb_versionnum.get();
    match version & VERSION_MASK {
        5 => Ok(true),
        4 => {
            let features2 = raw.sb_features2.get() | raw.sb_bad_features2.get();
            if version & VERSION_SHARED != 0 || version & VERSION_DIRECTORY_2 == 0 || features2 & !FEATURES2_KNOWN != 0
            {
                return Err(Error::Unsupported(format!(
                    "XFS version 4 with the feature words {version:#06x} and {features2:#010x}"
                )));
            }
            Ok(false)
        }
        other => Err(Error::Unsupported(format!("XFS version {other}"))),
    }
}

fn check_sector_size(raw: &Raw, block_size: u32) -> Result<u32, Error> {
    let size = u32::from(raw.sb_sectsize.get());
    if !size.is_power_of_two() || !(512..=32768).contains(&size) || size > block_size {
        return Err(Error::corrupt(102, "a sector size from 512 to the block size", size.to_string()));
    }
    for (position, name, logarithm, value) in
        [(120, "block", raw.sb_blocklog, block_size), (121, "sector", raw.sb_sectlog, size)]
    {
        if u32::from(logarithm) != value.trailing_zeros() {
            let expected = format!("{} as the logarithm of the {name} size {value}", value.trailing_zeros());
            return Err(Error::corrupt(position, expected, logarithm.to_string()));
        }
    }
    Ok(size)
}

fn check_checksum(region: &dyn ReadAt, raw: &Raw, sector_size: u32) -> Result<(), Error> {
    let sector = read_vec(region, 0, usize::try_from(sector_size).unwrap_or_default())?;
    let computed = checksum_without(&sector, CRC_OFFSET);
    if computed == raw.sb_crc.get() {
        Ok(())
    } else {
        Err(Error::corrupt(
            0,
            format!("a superblock with the checksum {:#010x}", raw.sb_crc.get()),
            format!("{computed:#010x}"),
        ))
    }
}

fn check_features(raw: &Raw) -> Result<(), Error> {
    let incompatible = raw.sb_features_incompat.get();
    if incompatible & INCOMPAT_NEEDS_REPAIR != 0 {
        return Err(Error::NotClean("the file system says that it needs xfs_repair".to_owned()));
    }
    for (name, word, known) in [
        ("incompatible", incompatible, INCOMPAT_KNOWN),
        ("read-only compatible", raw.sb_features_ro_compat.get(), RO_COMPAT_KNOWN),
        ("log incompatible", raw.sb_features_log_incompat.get(), LOG_INCOMPAT_KNOWN),
    ] {
        if word & !known != 0 {
            return Err(Error::Unsupported(format!("unknown {name} XFS features {:#x}", word & !known)));
        }
    }
    Ok(())
}

fn check_groups(raw: &Raw) -> Result<(), Error> {
    let (blocks, group_blocks) = (raw.sb_dblocks.get(), raw.sb_agblocks.get());
    let shift = u32::from(raw.sb_agblklog);
    // The kernel's XFS_MIN_AG_BLOCKS; the logarithm is rounded up.
    if group_blocks < 64 || u64::from(group_blocks).next_power_of_two().trailing_zeros() != shift {
        let expected = format!("allocation groups of at least 64 blocks and up to 2^{shift}");
        return Err(Error::corrupt(84, expected, format!("{group_blocks} blocks")));
    }
    let expected = blocks.div_ceil(u64::from(group_blocks));
    if expected == 0 || u64::from(raw.sb_agcount.get()) != expected {
        let expected = format!("{expected} allocation groups of {group_blocks} in {blocks} blocks");
        return Err(Error::corrupt(88, expected, raw.sb_agcount.get().to_string()));
    }
    Ok(())
}

fn locate_log(raw: &Raw) -> Result<Option<(u64, u32)>, Error> {
    // A block number of XFS holds the group in its upper and the block of the group in its lower bits.
    let start = raw.sb_logstart.get();
    if start == 0 {
        return Ok(None);
    }
    let shift = u32::from(raw.sb_agblklog);
    let group = start.checked_shr(shift).unwrap_or_default();
    let block = start.saturating_sub(group.checked_shl(shift).unwrap_or_default());
    let group_start = group.saturating_mul(u64::from(raw.sb_agblocks.get()));
    let group_end = group_start.saturating_add(u64::from(raw.sb_agblocks.get())).min(raw.sb_dblocks.get());
    let first = group_start.saturating_add(block);
    let end = first.saturating_add(u64::from(raw.sb_logblocks.get()));
    if raw.sb_logblocks.get() == 0 || group >= u64::from(raw.sb_agcount.get()) || end > group_end {
        let actual = format!("{} blocks from block {block} of group {group}", raw.sb_logblocks.get());
        return Err(Error::corrupt(48, "a log inside one allocation group", actual));
    }
    Ok(Some((first, raw.sb_logblocks.get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_specification_puts_them() {
        assert_eq!(std::mem::offset_of!(Raw, sb_versionnum), 100);
        assert_eq!(std::mem::offset_of!(Raw, sb_inprogress), 126);
        assert_eq!(std::mem::offset_of!(Raw, sb_fdblocks), 144);
        assert_eq!(std::mem::offset_of!(Raw, sb_crc), CRC_OFFSET);
        assert_eq!(size_of::<Raw>(), 264);
    }

    #[test]
    fn a_uuid_is_spelled_as_blkid_spells_it() {
        let bytes = std::array::from_fn(|index| u8::try_from(index * 17).unwrap());
        assert_eq!(format_uuid(&bytes), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
