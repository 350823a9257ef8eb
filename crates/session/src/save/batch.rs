//! The order of work of a save: batches of neighbouring chunks, in disk order.

use std::sync::{Mutex, PoisonError};

use block::{Extents, InRegion, RegionExtent};
use image::{CHUNK_SIZE, ChunkGrid, ChunkRange};

use super::plan::SavePlan;
use crate::source::Source;

/// Chunks that are read at once.
pub const BATCH_CHUNKS: u64 = 4;
/// Bytes that are read at once.
pub const BATCH_BYTES: u64 = BATCH_CHUNKS * CHUNK_SIZE;

/// Neighbouring chunks of one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Place in the order of all batches, from 0.
    pub sequence: u64,
    /// Place of the region among all regions of all disks of the plan.
    pub region: usize,
    /// The chunks.
    pub range: ChunkRange,
    /// Whether they lie in a hole of a sparse source and need not be read.
    pub is_hole: bool,
}

/// Hands out the batches of a plan, one after the other, to any number of threads.
pub struct Batches<'a> {
    iterator: Mutex<Box<dyn Iterator<Item = Batch> + Send + 'a>>,
}

impl<'a> Batches<'a> {
    /// The batches of all regions that are saved.
    pub fn new(sources: &'a [Source<'a>], plan: &'a SavePlan) -> Self {
        let regions = sources.iter().zip(&plan.disks).flat_map(|(source, disk)| {
            disk.layout.regions.iter().zip(&disk.regions).map(move |(region, planned)| (source, region, planned))
        });
        let batches = regions.enumerate().filter(|(_, (_, _, planned))| planned.is_saved).flat_map(
            |(number, (source, region, planned))| {
                let grid = ChunkGrid::new(region.extent.length());
                let data = data_of(source, region);
                ranges(grid, &planned.extents, data).map(move |(range, is_hole)| (number, range, is_hole))
            },
        );
        let numbered = (0..).zip(batches);
        let batches = numbered.map(|(sequence, (region, range, is_hole))| Batch { sequence, region, range, is_hole });
        Self { iterator: Mutex::new(Box::new(batches)) }
    }

    /// The next batch; `None` at the end.
    pub fn next(&self) -> Option<Batch> {
        self.iterator.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

/// Where a region may hold something else than zeros. Where the source can't tell, everywhere.
fn data_of(source: &Source<'_>, region: &layout::Region) -> Extents<InRegion> {
    let whole = RegionExtent::between(0, region.extent.length());
    match source.disk.data_extents(region.extent) {
        Ok(data) => data.iter().filter_map(|extent| region.extent.within(&extent)).collect(),
        Err(_) => whole.into(),
    }
}

/// The covered chunks as ranges that are wholly in a hole (of any length) or may hold data (of batch size).
fn ranges(
    grid: ChunkGrid,
    covered: &Extents<InRegion>,
    data: Extents<InRegion>,
) -> impl Iterator<Item = (ChunkRange, bool)> + Send + '_ {
    let data_chunks: Vec<ChunkRange> = grid.covered(&data).collect();
    let mut pending: Option<ChunkRange> = None;
    let mut covered = grid.covered(covered);
    let mut next_data = 0;
    std::iter::from_fn(move || {
        let range = pending.take().or_else(|| covered.next())?;
        while data_chunks.get(next_data).is_some_and(|data| data.end() <= range.first) {
            next_data = next_data.saturating_add(1);
        }
        let data = data_chunks.get(next_data).copied().unwrap_or(ChunkRange { first: u64::MAX, count: 0 });
        let is_hole = data.first > range.first;
        let limit = if is_hole { data.first } else { data.end().min(range.first.saturating_add(BATCH_CHUNKS)) };
        let end = range.end().min(limit);
        let count = end.saturating_sub(range.first);
        if end < range.end() {
            pending = Some(ChunkRange { first: end, count: range.end().saturating_sub(end) });
        }
        Some((ChunkRange { first: range.first, count }, is_hole))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(parts: &[(u64, u64)]) -> Extents<InRegion> {
        parts.iter().map(|(start, count)| RegionExtent::between(start * 1000, (start + count) * 1000)).collect()
    }

    proptest! {
        #[test]
        fn every_covered_chunk_is_handed_out_once_and_only_holes_are_not_read(
            covered in prop::collection::vec((0..20_000_u64, 1..3000_u64), 0..10),
            data in prop::collection::vec((0..20_000_u64, 1..3000_u64), 0..10),
        ) {
            let grid = ChunkGrid::new(20_000_000);
            let (covered, data) = (set(&covered), set(&data));
            let told: Vec<_> = ranges(grid, &covered, data.clone()).collect();
            let chunks: Vec<u64> = told.iter().flat_map(|(range, _)| range.first..range.end()).collect();
            let expected: Vec<u64> = grid.covered(&covered).flat_map(|range| range.first..range.end()).collect();
            prop_assert_eq!(chunks, expected);
            for (range, is_hole) in told {
                prop_assert!(range.count > 0);
                let holds_data = data.overlapping(grid.extent_of(range)).next().is_some();
                prop_assert!(is_hole != holds_data);
                prop_assert!(is_hole || range.count <= BATCH_CHUNKS);
            }
        }
    }
}
