//! Root items: where the trees begin.
//!
//! Source: the Linux kernel's `include/uapi/linux/btrfs_tree.h` (`struct btrfs_root_item`).

use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U32, U64, Unaligned};

use super::superblock::POSITIONS;
use super::tree::{self, Visitor};
use super::tree_block::{Key, Root};
use super::volume::{Stop, Volume};
use crate::Error;

/// Owner of the tree of roots.
const ROOT_TREE: u64 = 1;
/// Kind of a root item.
pub(super) const ROOT_ITEM: u8 = 132;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    inode: [u8; 160],
    generation: U64<LE>,
    root_dirid: U64<LE>,
    bytenr: U64<LE>,
    byte_limit: U64<LE>,
    bytes_used: U64<LE>,
    last_snapshot: U64<LE>,
    flags: U64<LE>,
    refs: U32<LE>,
    drop_progress: [u8; 17],
    drop_level: u8,
    level: u8,
}

/// The root that an item describes.
pub(super) fn parse(item: &[u8]) -> Option<Root> {
    let (raw, _) = Raw::ref_from_prefix(item).ok()?;
    Some(Root { logical: raw.bytenr.get(), level: raw.level, generation: raw.generation.get() })
}

/// The root of the tree with the number `tree`.
pub(super) fn find(volume: &Volume, tree: u64) -> Result<Root, Stop> {
    let mut search = Search { tree, root: None };
    tree::walk(volume, volume.superblock.root_tree, ROOT_TREE, Some((tree, ROOT_ITEM)), &mut search)?;
    let missing = || Error::corrupt(POSITIONS[0], format!("the root of tree {tree}"), "none");
    Ok(search.root.ok_or_else(missing)?)
}

struct Search {
    tree: u64,
    root: Option<Root>,
}

impl Visitor for Search {
    fn item(&mut self, _position: u64, key: &Key, data: &[u8]) -> Result<(), Error> {
        if (key.object, key.kind) == (self.tree, ROOT_ITEM) {
            self.root = parse(data);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_size_of_the_specification() {
        assert_eq!(size_of::<Raw>(), 239);
        assert_eq!(std::mem::offset_of!(Raw, bytenr), 176);
    }
}
