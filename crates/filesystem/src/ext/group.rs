//! Group descriptors: where the bitmaps and the inode table of a group lie.
//!
//! Source: Linux `Documentation/filesystems/ext4/group_descr.rst`; e2fsprogs `lib/ext2fs/csum.c`.

use zerocopy::FromBytes;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{Immutable, KnownLayout, Unaligned};

use super::crc16::crc16;
use super::superblock::Superblock;
use super::view::View;
use crate::Error;
use crate::crc32c::crc32c;

/// The bitmap of blocks was never written; the group holds nothing but metadata.
const BLOCK_UNINIT: u16 = 0x2;
/// Bitmap and table of inodes were never written; the group holds no file.
const INODE_UNINIT: u16 = 0x1;
/// Position of `bg_checksum` in a descriptor.
const CHECKSUM_POSITION: usize = 0x1E;
/// Positions of the two halves of the checksums of both bitmaps.
const BLOCK_BITMAP_CHECKSUM: [usize; 2] = [0x18, 0x38];
const INODE_BITMAP_CHECKSUM: [usize; 2] = [0x1A, 0x3A];
/// End of `bg_block_bitmap_csum_hi`: descriptors shorter than this keep 16 bits of the checksum.
const BITMAP_CHECKSUM_HIGH_END: usize = 0x3A;
/// Descriptors are read this many bytes at a time.
const BATCH_BYTES: u32 = 1 << 20;

/// The first 32 bytes of `struct ext4_group_desc`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawGroup {
    bg_block_bitmap_lo: U32,
    bg_inode_bitmap_lo: U32,
    bg_inode_table_lo: U32,
    bg_free_blocks_count_lo: U16,
    bg_free_inodes_count_lo: U16,
    bg_used_dirs_count_lo: U16,
    bg_flags: U16,
    bg_exclude_bitmap_lo: U32,
    bg_block_bitmap_csum_lo: U16,
    bg_inode_bitmap_csum_lo: U16,
    bg_itable_unused_lo: U16,
    bg_checksum: U16,
}

/// The next 32 bytes, where the file system counts blocks with 64 bits.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawGroupHigh {
    bg_block_bitmap_hi: U32,
    bg_inode_bitmap_hi: U32,
    bg_inode_table_hi: U32,
    bg_free_blocks_count_hi: U16,
    bg_free_inodes_count_hi: U16,
    bg_used_dirs_count_hi: U16,
    bg_itable_unused_hi: U16,
    bg_exclude_bitmap_hi: U32,
    bg_block_bitmap_csum_hi: U16,
    bg_inode_bitmap_csum_hi: U16,
    bg_reserved: U32,
}

/// A group, as its descriptor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Counted from 0.
    pub number: u64,
    /// Block of the bitmap of blocks.
    pub block_bitmap: u64,
    /// Block of the bitmap of inodes.
    pub inode_bitmap: u64,
    /// First block of the inode table.
    pub inode_table: u64,
    /// Clusters that the bitmap has as free.
    pub free_clusters: u32,
    /// The bitmap of blocks was never written.
    pub uninitialised: bool,
    /// Checksum of the bitmap of blocks; its low half where `short_checksum`.
    pub bitmap_checksum: u32,
    /// Bitmap and table of inodes were never written.
    pub has_no_inodes: bool,
    /// Inodes at the end of the table that were never written.
    pub unused_inodes: u32,
    /// Checksum of the bitmap of inodes; its low half where `short_checksum`.
    pub inode_bitmap_checksum: u32,
    /// Only 16 bits of checksums are kept.
    pub short_checksum: bool,
}

impl Group {
    /// Reads a descriptor and checks that what it names lies in the file system.
    fn parse(superblock: &Superblock, number: u64, bytes: &[u8]) -> Result<Self, Error> {
        let truncated = || {
            Error::corrupt(
                descriptor_position(superblock, number),
                "a whole group descriptor",
                format!("{} bytes", bytes.len()),
            )
        };
        let (raw, rest) = RawGroup::ref_from_prefix(bytes).map_err(|_| truncated())?;
        let high = RawGroupHigh::ref_from_prefix(rest).ok().map(|(high, _)| high);
        let wide = |low: U32, part: fn(&RawGroupHigh) -> U32| {
            high.map_or(0, |high| u64::from(part(high).get())) << 32 | u64::from(low.get())
        };
        let wide_u16 = |low: U16, part: fn(&RawGroupHigh) -> U16| {
            high.map_or(0, |high| u32::from(part(high).get())) << 16 | u32::from(low.get())
        };
        let group = Self {
            number,
            block_bitmap: wide(raw.bg_block_bitmap_lo, |high| high.bg_block_bitmap_hi),
            inode_bitmap: wide(raw.bg_inode_bitmap_lo, |high| high.bg_inode_bitmap_hi),
            inode_table: wide(raw.bg_inode_table_lo, |high| high.bg_inode_table_hi),
            free_clusters: wide_u16(raw.bg_free_blocks_count_lo, |high| high.bg_free_blocks_count_hi),
            // Without a checksum the flags are not to be trusted: older systems wrote the bitmaps and left the flags.
            uninitialised: superblock.has_group_checksums() && raw.bg_flags.get() & BLOCK_UNINIT != 0,
            bitmap_checksum: wide_u16(raw.bg_block_bitmap_csum_lo, |high| high.bg_block_bitmap_csum_hi),
            has_no_inodes: superblock.has_group_checksums() && raw.bg_flags.get() & INODE_UNINIT != 0,
            unused_inodes: wide_u16(raw.bg_itable_unused_lo, |high| high.bg_itable_unused_hi),
            inode_bitmap_checksum: wide_u16(raw.bg_inode_bitmap_csum_lo, |high| high.bg_inode_bitmap_csum_hi),
            short_checksum: bytes.len() < BITMAP_CHECKSUM_HIGH_END,
        };
        group.check_places(superblock)?;
        Ok(group)
    }

    fn check_places(&self, superblock: &Superblock) -> Result<(), Error> {
        let first = superblock.first_data_block.max(1);
        let places = [
            ("block bitmap", self.block_bitmap, 1),
            ("inode bitmap", self.inode_bitmap, 1),
            ("inode table", self.inode_table, superblock.inode_table_blocks),
        ];
        for (name, block, count) in places {
            let end = block.checked_add(count);
            if block < first || end.is_none_or(|end| end > superblock.blocks_count) {
                return Err(Error::corrupt(
                    descriptor_position(superblock, self.number),
                    format!("the {name} of group {} inside blocks {first} to {}", self.number, superblock.blocks_count),
                    format!("block {block}"),
                ));
            }
        }
        Ok(())
    }
}

/// Byte position of the descriptor of a group.
fn descriptor_position(superblock: &Superblock, group: u64) -> u64 {
    let per_block = u64::from(superblock.descriptors_per_block());
    let index = group.checked_div(per_block).unwrap_or_default();
    let in_block = group.checked_rem(per_block).unwrap_or_default();
    superblock
        .descriptor_block(index)
        .saturating_mul(u64::from(superblock.block_size))
        .saturating_add(in_block.saturating_mul(u64::from(superblock.descriptor_size)))
}

/// Fails where the checksum of a descriptor is wrong.
fn check_checksum(superblock: &Superblock, number: u64, bytes: &[u8]) -> Result<(), Error> {
    if !superblock.has_group_checksums() {
        return Ok(());
    }
    let stored = bytes.get(CHECKSUM_POSITION..).and_then(|rest| rest.first_chunk::<2>());
    let actual = stored.map(|stored| u16::from_le_bytes(*stored)).unwrap_or_default();
    let expected = checksum(superblock, number, bytes);
    if expected == actual {
        return Ok(());
    }
    Err(Error::corrupt(
        descriptor_position(superblock, number),
        format!("checksum {expected:04x} of the descriptor of group {number}"),
        format!("{actual:04x}"),
    ))
}

/// The checksum of a descriptor, whatever stands in its field.
fn checksum(superblock: &Superblock, number: u64, bytes: &[u8]) -> u16 {
    let (before, rest) = bytes.split_at_checked(CHECKSUM_POSITION).unwrap_or((bytes, &[]));
    let (_, after) = rest.split_at_checked(2).unwrap_or((rest, &[]));
    // Groups are counted with 32 bits here, whatever the size of the file system.
    let number_bytes = U32::new(u32::try_from(number).unwrap_or(u32::MAX)).to_bytes();
    if superblock.has_metadata_checksums() {
        let parts: [&[u8]; 4] = [&number_bytes, before, &[0, 0], after];
        low_half(parts.into_iter().fold(superblock.checksum_seed, crc32c))
    } else {
        let parts: [&[u8]; 4] = [&superblock.uuid, &number_bytes, before, after];
        parts.into_iter().fold(!0, crc16)
    }
}

/// Makes the checksums of the descriptors in a block right, from that of group `first` on.
pub fn seal_block(superblock: &Superblock, first: u64, block: &mut [u8]) {
    let size = usize::try_from(superblock.descriptor_size).unwrap_or(usize::MAX).max(1);
    for (number, descriptor) in (first..superblock.groups).zip(block.chunks_exact_mut(size)) {
        let sum = checksum(superblock, number, descriptor);
        if let Some(field) = descriptor.get_mut(CHECKSUM_POSITION..).and_then(|rest| rest.first_chunk_mut::<2>()) {
            *field = sum.to_le_bytes();
        }
    }
}

/// The block of descriptors from that of group `first` on, whose checksums are right, with those that follow from the
/// UUID of `renamed`: of each descriptor, and of the bitmaps that it describes.
pub fn rename_block(superblock: &Superblock, renamed: &Superblock, first: u64, block: &mut [u8]) {
    let size = usize::try_from(superblock.descriptor_size).unwrap_or(usize::MAX).max(1);
    let bitmaps =
        [(BLOCK_BITMAP_CHECKSUM, superblock.clusters_per_group), (INODE_BITMAP_CHECKSUM, superblock.inodes_per_group)];
    let bitmaps = bitmaps.map(|(positions, bits)| (positions, difference(superblock, renamed, bits)));
    for (number, descriptor) in (first..superblock.groups).zip(block.chunks_exact_mut(size)) {
        // A copy that was not kept may describe other bitmaps, or nothing at all.
        if check_checksum(superblock, number, descriptor).is_err() {
            continue;
        }
        for ([low, high], difference) in bitmaps {
            let [a, b, c, d] = difference.to_le_bytes();
            let bytes = [(low, a), (low.saturating_add(1), b), (high, c), (high.saturating_add(1), d)];
            for (position, bits) in bytes {
                descriptor.get_mut(position).into_iter().for_each(|byte| *byte ^= bits);
            }
        }
        let sum = checksum(renamed, number, descriptor);
        if let Some(field) = descriptor.get_mut(CHECKSUM_POSITION..).and_then(|rest| rest.first_chunk_mut::<2>()) {
            *field = sum.to_le_bytes();
        }
    }
}

/// The bits in which the checksums of a bitmap differ where they begin with two seeds: the same ones whatever it holds.
fn difference(superblock: &Superblock, renamed: &Superblock, bits: u32) -> u32 {
    let zeros = vec![0; usize::try_from(bits / 8).unwrap_or_default()];
    crc32c(superblock.checksum_seed, &zeros) ^ crc32c(renamed.checksum_seed, &zeros)
}

/// The low 16 bits.
pub fn low_half(value: u32) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// The descriptor of one group.
pub fn read_group(superblock: &Superblock, view: &View, number: u64, checked: bool) -> Result<Group, Error> {
    let per_block = u64::from(superblock.descriptors_per_block());
    let index = number.checked_div(per_block).unwrap_or_default();
    let block = view.read_blocks(superblock.descriptor_block(index), 1)?;
    let groups = parse_groups(superblock, index.saturating_mul(per_block), &block, checked)?;
    let found = groups.into_iter().find(|group| group.number == number);
    found.ok_or_else(|| {
        let position = descriptor_position(superblock, number);
        Error::corrupt(position, format!("group {number}"), format!("{} groups", superblock.groups))
    })
}

/// Hands all groups to `visit`, many at a time, in ascending order.
pub fn for_each_batch(
    superblock: &Superblock,
    view: &View,
    checked: bool,
    mut visit: impl FnMut(&[Group]) -> Result<(), Error>,
) -> Result<(), Error> {
    let most = u64::from(BATCH_BYTES.checked_div(superblock.block_size).unwrap_or(1).max(1));
    let mut index = 0;
    while index < superblock.descriptor_blocks {
        let first = superblock.descriptor_block(index);
        let left = superblock.descriptor_blocks.saturating_sub(index).min(most);
        let follows =
            |count: &u64| superblock.descriptor_block(index.saturating_add(*count)) == first.saturating_add(*count);
        let count = (1..left).find(|count| !follows(count)).unwrap_or(left);
        let bytes = view.read_blocks(first, count)?;
        let first_group = index.saturating_mul(u64::from(superblock.descriptors_per_block()));
        visit(&parse_groups(superblock, first_group, &bytes, checked)?)?;
        index = index.saturating_add(count);
    }
    Ok(())
}

/// The groups whose descriptors fill `bytes`, from group `first`.
fn parse_groups(superblock: &Superblock, first: u64, bytes: &[u8], checked: bool) -> Result<Vec<Group>, Error> {
    let size = usize::try_from(superblock.descriptor_size).unwrap_or(usize::MAX);
    (first..superblock.groups)
        .zip(bytes.chunks_exact(size))
        .map(|(number, descriptor)| {
            if checked {
                check_checksum(superblock, number, descriptor)?;
            }
            Group::parse(superblock, number, descriptor)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Checksums, Sample};
    use super::super::superblock::RawSuperblock;
    use super::*;

    /// The superblock of a sample, with room for blocks beyond 32 bits.
    fn superblock() -> Superblock {
        let raw = RawSuperblock::read(&Sample::new(Checksums::None).disk).unwrap().unwrap();
        Superblock { blocks_count: 1 << 40, ..Superblock::parse(&raw).unwrap() }
    }

    #[test]
    fn both_halves_of_block_numbers_and_counts_are_read() {
        let mut bytes = [0; 64];
        for (position, value) in [(0, 0x10), (4, 0x11), (8, 0x12), (0x20, 1), (0x24, 2), (0x28, 3)] {
            bytes[position] = value;
        }
        bytes[0x0C..0x0E].copy_from_slice(&[0x34, 0x12]);
        bytes[0x2C] = 1;
        bytes[0x18..0x1A].copy_from_slice(&[0xCD, 0xAB]);
        bytes[0x38..0x3A].copy_from_slice(&[0x34, 0x12]);
        let group = Group::parse(&superblock(), 0, &bytes).unwrap();
        assert_eq!((group.block_bitmap, group.inode_bitmap), (0x1_0000_0010, 0x2_0000_0011));
        assert_eq!((group.inode_table, group.free_clusters), (0x3_0000_0012, 0x1_1234));
        assert_eq!((group.bitmap_checksum, group.short_checksum), (0x1234_ABCD, false));
        let short = Group::parse(&superblock(), 0, &bytes[..32]).unwrap();
        assert_eq!((short.block_bitmap, short.bitmap_checksum, short.short_checksum), (0x10, 0xABCD, true));
    }
}
