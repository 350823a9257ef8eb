//! UFS1 and UFS2 of BSD, Solaris and others, in either byte order. Used bytes are told for UFS2 as the BSDs write it:
//! every cylinder group has a bitmap of its fragments, and a set bit is a free one.
//!
//! A file system that was not unmounted is saved whole: soft updates write the bitmaps later than what they describe.
//! UFS1 is saved whole too: who wrote it, and what Solaris keeps elsewhere, can't be told from its magic number.

mod cylinder_group;
mod superblock;

use block::{ReadAt, RegionExtent};

use crate::{Error, FileSystem, Note, UsedBytes};
use superblock::Superblock;

/// The file system, where the region holds its superblock.
pub fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    Ok(superblock::read(region)?.map(|superblock| FileSystem {
        kind: "ufs".to_owned(),
        uuid: superblock.uuid(),
        label: superblock.label(),
        block_size: superblock.fs_fsize,
        size: superblock.size().unwrap_or(region.size()),
    }))
}

/// The used bytes of the file system.
pub fn coverage(region: &dyn ReadAt, _: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let superblock = superblock::read(region)?.ok_or_else(|| Error::corrupt(0, "a superblock of UFS", "none"))?;
    superblock.check()?;
    let mut used = UsedBytes::new();
    let mut free = 0_u64;
    for number in 0..superblock.fs_ncg {
        free = free.saturating_add(cylinder_group::add_used(region, &superblock, number, &mut used)?);
    }
    if free != superblock.free_fragments() {
        let expected = format!("{} free fragments, as the superblock says", superblock.free_fragments());
        return Err(Error::corrupt(superblock.position, expected, format!("{free} in the groups")));
    }
    add_metadata(&superblock, &mut used);
    Ok(used)
}

/// Boot code, superblocks, groups and inodes: used by their place, whatever a bitmap says.
fn add_metadata(superblock: &Superblock, used: &mut UsedBytes) {
    let fragments = |first: u64, end: u64| {
        let first = first.saturating_mul(superblock.fs_fsize.into());
        RegionExtent::between(first, end.saturating_mul(superblock.fs_fsize.into()))
    };
    let mut metadata = block::Extents::default();
    for number in 0..superblock.fs_ncg {
        let start = superblock.start_of(number);
        let first = if number == 0 { 0 } else { start.saturating_add(superblock.fs_sblkno.into()) };
        let end = start.saturating_add(superblock.fs_dblkno.into()).min(superblock.fs_size);
        metadata.insert(fragments(first, end));
    }
    used.merge(&metadata);
}

#[cfg(test)]
mod tests;
