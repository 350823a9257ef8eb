//! The used blocks of all groups: what their bitmaps say, and all metadata, whatever they say.
//!
//! Source: Linux `Documentation/filesystems/ext4/bitmaps.rst`, `blockgroup.rst`; e2fsprogs `lib/ext2fs/rw_bitmaps.c`,
//! `lib/ext2fs/csum.c`.

use block::{Extents, InRegion, RegionExtent};

use super::feature::ro_compat;
use super::group::{Group, for_each_batch, low_half};
use super::superblock::Superblock;
use super::view::View;
use crate::crc32c::crc32c;
use crate::{Error, UsedBytes};

/// Bitmaps that lie in a row are read this many bytes at a time.
const READ_BYTES: u32 = 1 << 20;

/// Whether the maps of a view must agree with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// They must: checksums, free counts and places are checked, and the first that is wrong is an error.
    Consistent,
    /// Parts of them are older than others, as on a disk whose journal was not replayed.
    Lagging,
}

/// Counts everything as used that the groups of `view` use.
pub fn add_groups(superblock: &Superblock, view: &View, trust: Trust, used: &mut UsedBytes) -> Result<(), Error> {
    let mut metadata = UsedBytes::new();
    for_each_batch(superblock, view, trust == Trust::Consistent, |groups| {
        metadata.merge(&metadata_of(superblock, groups, trust)?);
        add_bitmaps(superblock, view, groups, trust, used)
    })?;
    used.merge(&metadata.into_extents());
    Ok(())
}

/// Superblock and descriptor copies, bitmaps and whole inode tables of `groups`.
///
/// Inode tables count whole, also where they were never initialised: what reads them looks at all of them.
fn metadata_of(superblock: &Superblock, groups: &[Group], trust: Trust) -> Result<Extents<InRegion>, Error> {
    let pieces = groups.iter().flat_map(|group| {
        let (base, count) = superblock.base_metadata(group.number);
        let count = count.min(superblock.blocks_count.saturating_sub(base));
        [
            (base, count),
            (group.block_bitmap, 1),
            (group.inode_bitmap, 1),
            (group.inode_table, superblock.inode_table_blocks),
        ]
    });
    let size = u64::from(superblock.block_size);
    let bytes_of = |(first, count): (u64, u64)| {
        RegionExtent::between(first.saturating_mul(size), first.saturating_add(count).saturating_mul(size))
    };
    let exact: Extents<InRegion> = pieces.clone().map(bytes_of).collect();
    let expected = pieces.clone().fold(0_u64, |sum, (_, count)| sum.saturating_add(count)).saturating_mul(size);
    if trust == Trust::Consistent && exact.total_bytes() != expected {
        return Err(Error::corrupt(
            groups.first().map_or(0, |group| superblock.group_start(group.number)).saturating_mul(size),
            format!("metadata of {} groups in {expected} bytes of its own", groups.len()),
            format!("it shares blocks: {} bytes", exact.total_bytes()),
        ));
    }
    if !superblock.features.ro_compat(ro_compat::BIGALLOC) {
        return Ok(exact);
    }
    Ok(pieces.map(|piece| bytes_of(whole_clusters(superblock, piece))).collect())
}

/// A cluster with metadata in it is used as a whole.
fn whole_clusters(superblock: &Superblock, (first, count): (u64, u64)) -> (u64, u64) {
    let cluster = u64::from(superblock.cluster_blocks);
    let start = first.saturating_sub(first.checked_rem(cluster).unwrap_or_default());
    let end = first.saturating_add(count).checked_next_multiple_of(cluster).unwrap_or(u64::MAX);
    (start, end.min(superblock.blocks_count).saturating_sub(start))
}

fn add_bitmaps(
    superblock: &Superblock,
    view: &View,
    groups: &[Group],
    trust: Trust,
    used: &mut UsedBytes,
) -> Result<(), Error> {
    let most = usize::try_from(READ_BYTES.checked_div(superblock.block_size).unwrap_or(1).max(1)).unwrap_or(1);
    let block_size = usize::try_from(superblock.block_size).unwrap_or(usize::MAX);
    let mut rest = groups;
    while let Some(skipped) = rest.iter().position(|group| !group.uninitialised) {
        rest = rest.get(skipped..).unwrap_or_default();
        let row = row_of_bitmaps(rest, most);
        let first = row.first().map_or(0, |group| group.block_bitmap);
        let bytes = view.read_blocks(first, u64::try_from(row.len()).unwrap_or(u64::MAX))?;
        for (group, bitmap) in row.iter().zip(bytes.chunks_exact(block_size)) {
            if !group.uninitialised {
                add_bitmap(superblock, group, bitmap, trust, used)?;
            }
        }
        rest = rest.get(row.len()..).unwrap_or_default();
    }
    Ok(())
}

/// The first of `groups` and those after it whose bitmaps lie one after the other, up to the last initialised one.
fn row_of_bitmaps(groups: &[Group], most: usize) -> &[Group] {
    let neighbours = groups.windows(2).take(most.saturating_sub(1)).take_while(|pair| match pair {
        [left, right] => right.block_bitmap == left.block_bitmap.saturating_add(1),
        _ => false,
    });
    let length = neighbours.count().saturating_add(1);
    let row = groups.get(..length).unwrap_or_default();
    let last = row.iter().rposition(|group| !group.uninitialised).unwrap_or_default();
    row.get(..last.saturating_add(1)).unwrap_or_default()
}

/// Counts the clusters as used that the bitmap of a group has set.
fn add_bitmap(
    superblock: &Superblock,
    group: &Group,
    bitmap: &[u8],
    trust: Trust,
    used: &mut UsedBytes,
) -> Result<(), Error> {
    let start = superblock.group_start(group.number);
    let end = superblock.group_end(group.number);
    let cluster = u64::from(superblock.cluster_blocks);
    let clusters = end.saturating_sub(start).div_ceil(cluster);
    let mut used_clusters = 0_u64;
    for_each_run(bitmap, clusters, |first, count| {
        used_clusters = used_clusters.saturating_add(count);
        let first_block = start.saturating_add(first.saturating_mul(cluster));
        let end_block = first_block.saturating_add(count.saturating_mul(cluster)).min(end);
        used.add_blocks(first_block, end_block.saturating_sub(first_block), superblock.block_size);
    });
    if trust == Trust::Lagging {
        return Ok(());
    }
    check_checksum(superblock, group, bitmap)?;
    let free = clusters.saturating_sub(used_clusters);
    if free != u64::from(group.free_clusters) {
        return Err(Error::corrupt(
            group.block_bitmap.saturating_mul(u64::from(superblock.block_size)),
            format!("{} free clusters of group {}, as its descriptor says", group.free_clusters, group.number),
            format!("{free} in its bitmap"),
        ));
    }
    Ok(())
}

fn check_checksum(superblock: &Superblock, group: &Group, bitmap: &[u8]) -> Result<(), Error> {
    if !superblock.has_metadata_checksums() {
        return Ok(());
    }
    let length = usize::try_from(superblock.clusters_per_group / 8).unwrap_or(usize::MAX);
    let full = crc32c(superblock.checksum_seed, bitmap.get(..length).unwrap_or(bitmap));
    let (expected, actual) = if group.short_checksum {
        (u32::from(low_half(full)), u32::from(low_half(group.bitmap_checksum)))
    } else {
        (full, group.bitmap_checksum)
    };
    if expected == actual {
        return Ok(());
    }
    Err(Error::corrupt(
        group.block_bitmap.saturating_mul(u64::from(superblock.block_size)),
        format!("checksum {actual:08x} of the block bitmap of group {}", group.number),
        format!("{expected:08x}"),
    ))
}

/// Hands every run of set bits among the first `bits` to `visit`: first bit and count. The lowest bit of a byte comes
/// first.
fn for_each_run(bitmap: &[u8], bits: u64, mut visit: impl FnMut(u64, u64)) {
    let mut open: Option<u64> = None;
    let words = bitmap.chunks(8).zip((0..bits).step_by(64));
    for (chunk, position) in words {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
        let word = u64::from_le_bytes(bytes);
        if (word == 0 && open.is_none()) || (word == u64::MAX && open.is_some()) {
            continue;
        }
        let mut bit = 0_u32;
        while bit < 64 {
            let ahead = if open.is_some() { !word } else { word }.checked_shr(bit).unwrap_or_default();
            if ahead == 0 {
                break;
            }
            bit = bit.saturating_add(ahead.trailing_zeros());
            let here = position.saturating_add(u64::from(bit));
            match open.take() {
                Some(start) => visit_up_to(start, here, bits, &mut visit),
                None => open = Some(here),
            }
        }
    }
    if let Some(start) = open {
        visit_up_to(start, bits, bits, &mut visit);
    }
}

fn visit_up_to(start: u64, end: u64, bits: u64, visit: &mut impl FnMut(u64, u64)) {
    let count = end.min(bits).saturating_sub(start);
    if count > 0 {
        visit(start, count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_the_set_bits(bitmap in proptest::collection::vec(prop_oneof![Just(0_u8), Just(0xFF), any::<u8>()], 0..40), cut in 0_u64..400) {
            let bits = cut.min(bitmap.len() as u64 * 8);
            let mut found = vec![false; bits as usize];
            let mut last_end = None;
            for_each_run(&bitmap, bits, |first, count| {
                assert!(last_end.is_none_or(|end| first > end) && count > 0);
                last_end = Some(first + count);
                (first..first + count).for_each(|bit| found[bit as usize] = true);
            });
            let expected: Vec<_> = (0..bits as usize).map(|bit| bitmap[bit / 8] >> (bit % 8) & 1 == 1).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
