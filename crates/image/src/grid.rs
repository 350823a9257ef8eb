//! The grid of chunks that starts at the first byte of a region.

use block::{Extents, InRegion, RegionExtent};

use crate::chunk::CHUNK_SIZE;

/// The chunks of a region of a certain length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkGrid {
    region_length: u64,
}

/// Chunks that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    /// Number of the first chunk.
    pub first: u64,
    /// Number of chunks.
    pub count: u64,
}

impl ChunkRange {
    /// Number of the first chunk after these.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.count)
    }
}

impl ChunkGrid {
    /// The grid of a region of `region_length` bytes.
    pub fn new(region_length: u64) -> Self {
        Self { region_length }
    }

    /// Bytes of the region.
    pub fn region_length(&self) -> u64 {
        self.region_length
    }

    /// Where a chunk lies; shorter than [`CHUNK_SIZE`] at the end of the region, empty behind it.
    pub fn extent(&self, chunk: u64) -> RegionExtent {
        self.extent_of(ChunkRange { first: chunk, count: 1 })
    }

    /// Where chunks that follow one another lie, cut to the region.
    pub fn extent_of(&self, range: ChunkRange) -> RegionExtent {
        let start = range.first.saturating_mul(CHUNK_SIZE);
        let end = range.end().saturating_mul(CHUNK_SIZE).min(self.region_length);
        RegionExtent::between(start.min(end), end)
    }

    /// The chunks that hold a byte of `extents`, as ranges in ascending order that do not touch.
    /// Bytes after the region are left out.
    pub fn covered(self, extents: &Extents<InRegion>) -> impl Iterator<Item = ChunkRange> + '_ {
        let whole = RegionExtent::between(0, self.region_length);
        let mut ranges = extents.overlapping(whole).map(chunks_of).peekable();
        std::iter::from_fn(move || {
            let mut range = ranges.next()?;
            while let Some(next) = ranges.next_if(|next| next.first <= range.end()) {
                let end = next.end().max(range.end());
                range.count = end.saturating_sub(range.first);
            }
            Some(range)
        })
    }

    /// How many chunks hold a byte of `extents`.
    pub fn covered_count(self, extents: &Extents<InRegion>) -> u64 {
        self.covered(extents).fold(0, |sum, range| sum.saturating_add(range.count))
    }
}

fn chunks_of(extent: RegionExtent) -> ChunkRange {
    let first = extent.start() / CHUNK_SIZE;
    ChunkRange { first, count: extent.end().div_ceil(CHUNK_SIZE).saturating_sub(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_that_holds_a_covered_byte_is_listed_once() {
        let grid = ChunkGrid::new(10 * CHUNK_SIZE + 5);
        let extents: Extents<InRegion> =
            [(0, 1), (CHUNK_SIZE - 1, CHUNK_SIZE + 1), (3 * CHUNK_SIZE, 3 * CHUNK_SIZE + 1)]
                .into_iter()
                .chain([(10 * CHUNK_SIZE + 4, 20 * CHUNK_SIZE)])
                .map(|(start, end)| RegionExtent::between(start, end))
                .collect();
        let ranges: Vec<_> = grid.covered(&extents).map(|range| (range.first, range.count)).collect();
        assert_eq!(ranges, [(0, 2), (3, 1), (10, 1)]);
        assert_eq!(grid.covered_count(&extents), 4);
        assert_eq!(grid.extent(10), RegionExtent::between(10 * CHUNK_SIZE, 10 * CHUNK_SIZE + 5));
        assert!(grid.extent(11).is_empty());
    }
}
