//! A tree block: the node or leaf of which all trees of Btrfs consist.
//!
//! Source: the Linux kernel's `include/uapi/linux/btrfs_tree.h` (`struct btrfs_header`, `btrfs_item`, `btrfs_key_ptr`,
//! `btrfs_disk_key`) and `fs/btrfs/tree-checker.c` (`btrfs_check_leaf`, `btrfs_check_node`).

use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U32, U64, Unaligned};

use super::checksum::Checksum;
use super::superblock::Superblock;
use crate::Error;

/// Levels of a tree, leaves counted.
const LEVELS_LIMIT: u8 = 8;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    csum: [u8; 32],
    fsid: [u8; 16],
    bytenr: U64<LE>,
    flags: U64<LE>,
    chunk_tree_uuid: [u8; 16],
    generation: U64<LE>,
    owner: U64<LE>,
    nritems: U32<LE>,
    level: u8,
}

#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawKey {
    objectid: U64<LE>,
    kind: u8,
    offset: U64<LE>,
}

#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawItem {
    key: RawKey,
    offset: U32<LE>,
    size: U32<LE>,
}

#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawPointer {
    key: RawKey,
    blockptr: U64<LE>,
    generation: U64<LE>,
}

/// Bytes in front of items and pointers.
pub(super) const HEADER_BYTES: usize = size_of::<RawHeader>();

/// What items are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// What the item is about.
    pub(super) object: u64,
    /// The kind of item.
    pub(super) kind: u8,
    /// Of a meaning that depends on the kind.
    pub(super) offset: u64,
}

impl Key {
    /// The key at the start of `bytes`, and what follows it.
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, &[u8])> {
        RawKey::ref_from_prefix(bytes).ok().map(|(raw, rest)| (Self::from(*raw), rest))
    }
}

impl From<RawKey> for Key {
    fn from(raw: RawKey) -> Self {
        Self { object: raw.objectid.get(), kind: raw.kind, offset: raw.offset.get() }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "({} {} {})", self.object, self.kind, self.offset)
    }
}

/// The block that a tree begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Root {
    /// Its place in the logical address space.
    pub(super) logical: u64,
    /// Its level, 0 for a leaf.
    pub(super) level: u8,
    /// The transaction that wrote it.
    pub(super) generation: u64,
}

/// A block as its parent describes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Its place in the logical address space.
    pub(super) logical: u64,
    /// Its level, 0 for a leaf.
    pub(super) level: u8,
    /// The transaction that wrote it.
    pub(super) generation: u64,
    /// The tree that it belongs to.
    pub(super) owner: u64,
    /// Its first key; `None` for a root.
    pub(super) first_key: Option<Key>,
}

/// A tree block that is what its parent says of it.
#[derive(Debug)]
pub(super) struct TreeBlock {
    /// Its first byte in the region.
    pub(super) position: u64,
    bytes: Vec<u8>,
    count: usize,
}

impl TreeBlock {
    /// Checks the block that was read at `position` of the region.
    ///
    /// # Errors
    /// `Corrupt` where it is another block, or damaged.
    pub(super) fn check(
        position: u64,
        bytes: Vec<u8>,
        superblock: &Superblock,
        expected: &Expected,
    ) -> Result<Self, Error> {
        let bad = |expected: String, actual: String| Err(Error::corrupt(position, expected, actual));
        check_seal(position, &bytes, superblock.checksum)?;
        let Ok((header, _)) = RawHeader::ref_from_prefix(&bytes) else {
            return bad("a tree block".to_owned(), format!("{} bytes", bytes.len()));
        };
        if header.fsid != superblock.metadata_uuid {
            return bad("a tree block of this file system".to_owned(), "one of another".to_owned());
        }
        if header.bytenr.get() != expected.logical {
            return bad(format!("the tree block {}", expected.logical), header.bytenr.to_string());
        }
        if header.level != expected.level || header.level >= LEVELS_LIMIT {
            return bad(format!("a tree block of level {}", expected.level), header.level.to_string());
        }
        if header.generation.get() != expected.generation {
            return bad(format!("a tree block of generation {}", expected.generation), header.generation.to_string());
        }
        if header.owner.get() != expected.owner {
            return bad(format!("a block of tree {}", expected.owner), format!("one of tree {}", header.owner));
        }
        let count = usize::try_from(header.nritems.get()).unwrap_or(usize::MAX);
        let block = Self { position, count, bytes };
        block.check_entries(expected)?;
        Ok(block)
    }

    fn check_entries(&self, expected: &Expected) -> Result<(), Error> {
        let position = self.position;
        let room = self.body().len();
        let size = if expected.level == 0 { size_of::<RawItem>() } else { size_of::<RawPointer>() };
        // Only a tree without any item has an empty block, and then it is a single leaf.
        let least = usize::from(expected.level != 0 || expected.first_key.is_some());
        let most = room.checked_div(size).unwrap_or(0);
        if !(least..=most).contains(&self.count) {
            return Err(Error::corrupt(position, format!("{least} to {most} entries"), self.count.to_string()));
        }
        if expected.level == 0 {
            self.check_items()?
        }
        let mut last: Option<Key> = None;
        for key in self.keys(expected.level) {
            if last.is_some_and(|last| last >= key) {
                let previous = last.map(|last| last.to_string()).unwrap_or_default();
                return Err(Error::corrupt(position, format!("a key above {previous}"), key.to_string()));
            }
            if last.is_none() && expected.first_key.is_some_and(|first| first != key) {
                let first = expected.first_key.map(|first| first.to_string()).unwrap_or_default();
                return Err(Error::corrupt(position, format!("the first key {first}"), key.to_string()));
            }
            last = Some(key);
        }
        Ok(())
    }

    /// The data of items fills the block from its end, without a gap, down to the list of items at most.
    fn check_items(&self) -> Result<(), Error> {
        let mut end = u64::try_from(self.body().len()).unwrap_or_default();
        let list = u64::try_from(self.count.saturating_mul(size_of::<RawItem>())).unwrap_or(u64::MAX);
        for item in self.raw_items() {
            let (start, size) = (u64::from(item.offset.get()), u64::from(item.size.get()));
            if start.saturating_add(size) != end || start < list {
                let expected = format!("item data between {list} and {end}");
                return Err(Error::corrupt(self.position, expected, format!("{size} bytes at {start}")));
            }
            end = start;
        }
        Ok(())
    }

    fn body(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    fn raw_items(&self) -> impl Iterator<Item = RawItem> + '_ {
        let (items, _) = self.body().as_chunks::<{ size_of::<RawItem>() }>();
        items.iter().take(self.count).map(|bytes| zerocopy::transmute!(*bytes))
    }

    fn raw_pointers(&self) -> impl Iterator<Item = RawPointer> + '_ {
        let (pointers, _) = self.body().as_chunks::<{ size_of::<RawPointer>() }>();
        pointers.iter().take(self.count).map(|bytes| zerocopy::transmute!(*bytes))
    }

    fn keys(&self, level: u8) -> impl Iterator<Item = Key> + '_ {
        let items = (level == 0).then(|| self.raw_items()).into_iter().flatten();
        let pointers = (level != 0).then(|| self.raw_pointers()).into_iter().flatten();
        items.map(|item| Key::from(item.key)).chain(pointers.map(|pointer| Key::from(pointer.key)))
    }

    /// The items of a leaf.
    pub(super) fn items(&self) -> impl Iterator<Item = (Key, &[u8])> + '_ {
        self.raw_items().map(|item| {
            let start = usize::try_from(item.offset.get()).unwrap_or(usize::MAX);
            let end = start.saturating_add(usize::try_from(item.size.get()).unwrap_or(usize::MAX));
            (Key::from(item.key), self.body().get(start..end).unwrap_or_default())
        })
    }

    /// The children of a node of `level`, which belongs to tree `owner`.
    pub(super) fn children(&self, level: u8, owner: u64) -> impl DoubleEndedIterator<Item = Expected> + '_ {
        let (pointers, _) = self.body().as_chunks::<{ size_of::<RawPointer>() }>();
        let pointers = pointers.get(..self.count).unwrap_or(pointers);
        pointers.iter().map(move |bytes| {
            let pointer: RawPointer = zerocopy::transmute!(*bytes);
            Expected {
                logical: pointer.blockptr.get(),
                level: level.saturating_sub(1),
                generation: pointer.generation.get(),
                owner,
                first_key: Some(pointer.key.into()),
            }
        })
    }
}

fn check_seal(position: u64, bytes: &[u8], checksum: Checksum) -> Result<(), Error> {
    if checksum.matches(bytes) {
        return Ok(());
    }
    Err(Error::corrupt(position, "a tree block with the checksum that it holds", "another checksum"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_the_specification() {
        assert_eq!(HEADER_BYTES, 101);
        assert_eq!(size_of::<RawItem>(), 25);
        assert_eq!(size_of::<RawPointer>(), 33);
    }
}
