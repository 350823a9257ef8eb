//! A device of the file system with its chunks: from logical addresses to places on this device.
//!
//! Source: the Linux kernel's `fs/btrfs/volumes.c` (`btrfs_read_sys_array`, `btrfs_read_chunk_tree`).

use block::{Extents, ReadAt, RegionExtent, read_vec};

use super::chunk::Chunk;
use super::superblock::{Device, POSITIONS, Superblock};
use super::tree::{self, Visitor};
use super::tree_block::{Expected, Key, TreeBlock};
use crate::{Error, UsedBytes};

/// Owner of the chunk tree.
const CHUNK_TREE: u64 = 3;
/// Object of all device items.
const DEVICE_ITEMS: u64 = 1;
/// Object of all chunks.
const FIRST_CHUNK_TREE: u64 = 256;
const DEVICE_ITEM: u8 = 216;
const CHUNK_ITEM: u8 = 228;
/// More chunks than a file system of 200 TiB has.
const CHUNKS_LIMIT: usize = 1 << 18;

/// Space of the logical addresses that all devices of a file system share.
#[derive(Debug)]
pub(super) struct InLogical;
impl block::Space for InLogical {}

/// What keeps a tree from being read.
#[derive(Debug)]
pub(super) enum Stop {
    /// A block that lies on other devices only.
    Elsewhere {
        /// Its logical address.
        logical: u64,
    },
    /// Anything else.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A device and its chunks.
pub(super) struct Volume<'a> {
    region: &'a dyn ReadAt,
    pub(super) superblock: Superblock,
    /// In the order of their logical addresses, none overlapping another.
    chunks: Vec<Chunk>,
}

impl<'a> Volume<'a> {
    /// Reads all chunks of the file system that the superblock describes.
    pub(super) fn read(region: &'a dyn ReadAt, superblock: Superblock) -> Result<Self, Stop> {
        let system_chunks = parse_system_chunks(&superblock)?;
        let mut volume = Self { region, superblock, chunks: Vec::new() };
        volume.chunks = ordered(system_chunks)?;
        let mut found = Found { device: volume.superblock.device, chunks: Vec::new(), item: None };
        let root = volume.superblock.chunk_tree;
        tree::walk(&volume, root, CHUNK_TREE, None, &mut found)?;
        let (item, chunks) = (found.item, ordered(found.chunks)?);
        for system in &volume.chunks {
            if !chunks.contains(system) {
                let expected = format!("the system chunk {} in the chunk tree", system.logical);
                return Err(Error::corrupt(POSITIONS[0], expected, "another chunk").into());
            }
        }
        volume.chunks = chunks;
        volume.check_device(item)?;
        Ok(volume)
    }

    /// The stripes on this device must not overlap, and be all that its item counts.
    fn check_device(&self, item: Option<Device>) -> Result<(), Error> {
        let device = &self.superblock.device;
        let bad = |expected: String, actual: String| Err(Error::corrupt(POSITIONS[0], expected, actual));
        let Some(item) = item.filter(|item| item.uuid == device.uuid && item.total_bytes == device.total_bytes) else {
            return bad(format!("device {} with its size in the chunk tree", device.id), "none like it".to_owned());
        };
        let mut extents: Vec<RegionExtent> = self.chunks.iter().flat_map(Chunk::device_extents).collect();
        extents.sort_unstable_by_key(RegionExtent::start);
        for (first, second) in extents.iter().zip(extents.iter().skip(1)) {
            if first.overlaps(second) {
                return bad("stripes that do not overlap".to_owned(), format!("{first} and {second}"));
            }
        }
        let total = extents.iter().fold(0_u64, |sum, extent| sum.saturating_add(extent.length()));
        if total != item.used_bytes {
            return bad(format!("{} bytes of stripes on device {}", item.used_bytes, device.id), total.to_string());
        }
        Ok(())
    }

    /// All chunks, in the order of their logical addresses.
    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Number of the chunk that holds all `length` addresses from `logical`.
    pub(super) fn chunk_at(&self, logical: u64, length: u64) -> Option<usize> {
        let after = self.chunks.partition_point(|chunk| chunk.logical <= logical);
        let index = after.checked_sub(1)?;
        let chunk = self.chunks.get(index)?;
        logical.checked_add(length).is_some_and(|end| end <= chunk.end()).then_some(index)
    }

    /// The most blocks that a tree can have: no block is part of two trees that are walked at once.
    pub(super) fn blocks_limit(&self) -> u64 {
        let blocks = self.region.size().checked_div(u64::from(self.superblock.node_size)).unwrap_or(0);
        blocks.saturating_add(1)
    }

    /// Reads a tree block from the first copy on this device that is what its parent says of it.
    pub(super) fn tree_block(&self, expected: &Expected) -> Result<TreeBlock, Stop> {
        let (logical, size) = (expected.logical, u64::from(self.superblock.node_size));
        let aligned = logical.is_multiple_of(u64::from(self.superblock.sector_size));
        let Some(chunk) = self.chunk_at(logical, size).filter(|_| aligned).and_then(|index| self.chunks.get(index))
        else {
            return Err(Error::corrupt(POSITIONS[0], "tree blocks inside chunks", format!("one at {logical}")).into());
        };
        let mut failure = Stop::Elsewhere { logical };
        for place in chunk.places(logical, size) {
            let block = self.read_place(place, expected);
            match (block, &failure) {
                (Ok(block), _) => return Ok(block),
                (Err(error), Stop::Elsewhere { .. }) => failure = error.into(),
                (Err(_), Stop::Error(_)) => {}
            }
        }
        Err(failure)
    }

    fn read_place(&self, position: u64, expected: &Expected) -> Result<TreeBlock, Error> {
        let length = usize::try_from(self.superblock.node_size).unwrap_or_default();
        let bytes = read_vec(self.region, position, length)?;
        TreeBlock::check(position, bytes, &self.superblock, expected)
    }

    /// What logical addresses take on this device, added in ascending order of the device's bytes.
    pub(super) fn add_mapped(&self, logical: &Extents<InLogical>, used: &mut UsedBytes) {
        for (chunk, index, _) in self.own_stripes() {
            for extent in logical.overlapping(block::Extent::between(chunk.logical, chunk.end())) {
                used.add(chunk.map(index, extent.start(), extent.end()));
            }
        }
    }

    /// All bytes of this device that lie in chunks.
    pub(super) fn add_all(&self, used: &mut UsedBytes) {
        self.own_stripes().into_iter().for_each(|(_, _, extent)| used.add(extent));
    }

    /// Chunk, number of the stripe on this device, and the bytes that it takes, in ascending order of the latter.
    fn own_stripes(&self) -> Vec<(&Chunk, usize, RegionExtent)> {
        let stripes = |chunk: &'_ Chunk| (0..chunk.own_stripes()).zip(chunk.device_extents().collect::<Vec<_>>());
        let all =
            self.chunks.iter().flat_map(|chunk| stripes(chunk).map(move |(index, extent)| (chunk, index, extent)));
        let mut all: Vec<_> = all.collect();
        all.sort_unstable_by_key(|(_, _, extent)| extent.start());
        all
    }
}

/// What the chunk tree says.
struct Found {
    device: Device,
    chunks: Vec<Chunk>,
    item: Option<Device>,
}

impl Visitor for Found {
    fn item(&mut self, position: u64, key: &Key, data: &[u8]) -> Result<(), Error> {
        match (key.object, key.kind) {
            (FIRST_CHUNK_TREE, CHUNK_ITEM) => {
                if self.chunks.len() >= CHUNKS_LIMIT {
                    return Err(Error::Unsupported(format!("a Btrfs with more than {CHUNKS_LIMIT} chunks")));
                }
                self.chunks.push(Chunk::parse(position, key.offset, data, &self.device)?);
            }
            (DEVICE_ITEMS, DEVICE_ITEM) if key.offset == self.device.id => self.item = Device::parse(data),
            _ => {}
        }
        Ok(())
    }
}

fn parse_system_chunks(superblock: &Superblock) -> Result<Vec<Chunk>, Error> {
    let position = POSITIONS[0];
    let mut chunks = Vec::new();
    let mut rest = superblock.system_chunks.as_slice();
    while !rest.is_empty() {
        let Some((key, item)) = Key::parse(rest) else {
            return Err(Error::corrupt(position, "the key of a system chunk", format!("{} bytes", rest.len())));
        };
        if (key.object, key.kind) != (FIRST_CHUNK_TREE, CHUNK_ITEM) {
            return Err(Error::corrupt(position, "the key of a system chunk", key.to_string()));
        }
        let chunk = Chunk::parse(position, key.offset, item, &superblock.device)?;
        rest = item.get(chunk.item_bytes..).unwrap_or_default();
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// The chunks in the order of their logical addresses.
fn ordered(mut chunks: Vec<Chunk>) -> Result<Vec<Chunk>, Error> {
    chunks.sort_unstable_by_key(|chunk| chunk.logical);
    for (first, second) in chunks.iter().zip(chunks.iter().skip(1)) {
        if first.end() > second.logical {
            let actual = format!("one up to {} and one from {}", first.end(), second.logical);
            return Err(Error::corrupt(POSITIONS[0], "chunks that do not overlap", actual));
        }
    }
    Ok(chunks)
}
