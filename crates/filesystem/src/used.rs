//! Collecting used bytes with bounded memory.

use block::{Extents, InRegion, RegionExtent};

/// More separate extents than this are joined over their smallest gaps: 32 MiB of memory, and for
/// any real file system far above what it has.
const EXTENTS_LIMIT: usize = 2 << 20;

/// The used bytes of a file system, collected extent by extent.
///
/// Cheap where extents come in ascending order. Over a limit, small gaps between extents are
/// counted as used, so that a file system of any size and any fragmentation fits in memory.
#[derive(Debug, Default)]
pub struct UsedBytes {
    extents: Extents<InRegion>,
}

impl UsedBytes {
    /// Nothing used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the bytes of `extent` as used.
    pub fn add(&mut self, extent: RegionExtent) {
        self.extents.insert(extent);
        if self.extents.count() > EXTENTS_LIMIT {
            self.extents.limit_count(EXTENTS_LIMIT / 2);
        }
    }

    /// Counts the bytes of `others` as used. Costs as much as both sets together, wherever the others lie; less where
    /// they lie behind.
    pub fn merge(&mut self, others: &Extents<InRegion>) {
        if others.as_slice().first().is_some_and(|first| first.start() >= self.extents.end()) {
            others.iter().for_each(|extent| self.extents.insert(extent));
        } else {
            self.extents = self.extents.union(others);
        }
        if self.extents.count() > EXTENTS_LIMIT {
            self.extents.limit_count(EXTENTS_LIMIT / 2);
        }
    }

    /// Counts `count` blocks of `block_size` bytes from block `first` as used. Blocks past the end of the address
    /// space are left out.
    pub fn add_blocks(&mut self, first: u64, count: u64, block_size: u32) {
        let size = u64::from(block_size);
        self.add(RegionExtent::between(first.saturating_mul(size), first.saturating_add(count).saturating_mul(size)));
    }

    /// Whether all bytes of `extent` count as used.
    pub fn contains(&self, extent: RegionExtent) -> bool {
        self.extents.contains(extent)
    }

    /// All used bytes.
    pub fn into_extents(self) -> Extents<InRegion> {
        self.extents
    }
}
