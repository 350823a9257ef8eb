//! Single chunks of a map, without reading all of it again: where its runs lie is kept, not what they hold.

use zerocopy::FromBytes;
use zerocopy::byteorder::little_endian::U32;

use crate::chunk::ChunkId;
use crate::error::{Error, Result};
use crate::grid::ChunkRange;
use crate::map::{ChunkContent, MapReader, RunKind};

/// Finds what a chunk of a region holds.
pub struct MapTable<'a> {
    map: MapReader<'a>,
    /// The saved chunks, each range with the number of saved chunks before it.
    ranges: Vec<(u64, ChunkRange)>,
    /// The runs, each with the number of saved chunks before it and the place of its ids.
    runs: Vec<(u64, RunKind, u64)>,
}

impl<'a> MapTable<'a> {
    /// Walks over the runs of a map.
    ///
    /// # Errors
    /// `Corrupt` where the map does not tell every chunk once.
    pub fn new(map: MapReader<'a>) -> Result<Self> {
        let mut ranges = Vec::new();
        let mut count = 0_u64;
        for range in map.grid().covered(map.extents()) {
            ranges.push((count, range));
            count = count.saturating_add(range.count);
        }
        let mut runs = Vec::new();
        let (mut told, mut position) = (0_u64, map.runs_offset());
        while told < count {
            let (kind, length, ids) = map.run_at(position)?;
            runs.push((told, kind, ids));
            told = told.saturating_add(length);
            position = match kind {
                RunKind::Zero => ids,
                RunKind::Stored => ids.saturating_add(length.saturating_mul(32)),
            };
        }
        if told == count && position == map.size() {
            Ok(Self { map, ranges, runs })
        } else {
            Err(Error::corrupt(map.path(), position, format!("the end of {count} chunks"), format!("{told} chunks")))
        }
    }

    /// The map.
    pub fn map(&self) -> &MapReader<'a> {
        &self.map
    }

    /// What the chunk holds; `None` where it was not saved.
    ///
    /// # Errors
    /// Where the map can't be read.
    pub fn content(&self, chunk: u64) -> Result<Option<ChunkContent>> {
        let after = self.ranges.partition_point(|(_, range)| range.first <= chunk);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at)).filter(|(_, range)| chunk < range.end());
        let Some((before, range)) = range else { return Ok(None) };
        let number = before.saturating_add(chunk.saturating_sub(range.first));
        let after = self.runs.partition_point(|(first, ..)| *first <= number);
        let Some((first, kind, ids)) = after.checked_sub(1).and_then(|at| self.runs.get(at)) else { return Ok(None) };
        if *kind == RunKind::Zero {
            return Ok(Some(ChunkContent::Zero));
        }
        let place = ids.saturating_add(number.saturating_sub(*first).saturating_mul(32));
        let mut id = [0; 32];
        self.map.read_at(place, &mut id)?;
        Ok(Some(ChunkContent::Stored(ChunkId(id))))
    }
}

impl MapReader<'_> {
    /// The run at a place of the file: its kind, the number of its chunks, and the place behind its head.
    fn run_at(&self, position: u64) -> Result<(RunKind, u64, u64)> {
        let corrupt = |actual: String| Error::corrupt(self.path(), position, "a run of chunks", actual);
        let mut head = [0; 8];
        if position.saturating_add(8) > self.size() {
            return Err(corrupt("the end of the file".into()));
        }
        self.read_at(position, &mut head)?;
        let Ok([kind, count]) = <[U32; 2]>::read_from_bytes(&head) else { return Err(corrupt("less".into())) };
        let Some(kind) = RunKind::of(kind.get()).filter(|_| count.get() > 0) else {
            return Err(corrupt(format!("kind {kind} of {count} chunks")));
        };
        Ok((kind, count.get().into(), position.saturating_add(8)))
    }
}

#[cfg(test)]
mod tests {
    use block::{Extents, InRegion, RegionExtent};
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::CHUNK_SIZE;
    use crate::grid::ChunkGrid;
    use crate::map::MapWriter;
    use crate::memory::MemoryStore;
    use crate::store::Store;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_table_finds_what_a_map_tells_one_by_one(
            parts in prop::collection::vec((0..200_u64, 1..30_u64), 0..20),
            zeros in prop::collection::vec(any::<bool>(), 1..50),
        ) {
            let store = MemoryStore::new();
            let length = 240 * CHUNK_SIZE + 77;
            let extents: Extents<InRegion> = parts.iter()
                .map(|(start, count)| RegionExtent::between(start * CHUNK_SIZE + 512, (start + count) * CHUNK_SIZE))
                .collect();
            let grid = ChunkGrid::new(length);
            let mut writer = MapWriter::create(&store, "m", grid, &extents).unwrap();
            for chunk in grid.covered(&extents).flat_map(|range| range.first..range.end()) {
                let content = match zeros[chunk as usize % zeros.len()] {
                    true => ChunkContent::Zero,
                    false => ChunkContent::Stored(ChunkId::of(&chunk.to_le_bytes())),
                };
                writer.push(content).unwrap();
            }
            let summary = writer.finish().unwrap();
            let map = MapReader::open(&store, "m", summary, length).unwrap();
            let told: std::collections::BTreeMap<_, _> = map.chunks().map(|chunk| chunk.unwrap()).collect();
            let table = MapTable::new(map).unwrap();
            for chunk in 0..250 {
                prop_assert_eq!(table.content(chunk).unwrap(), told.get(&chunk).copied(), "chunk {}", chunk);
            }
        }
    }

    #[test]
    fn a_map_that_tells_too_few_or_too_many_chunks_is_damaged() {
        let store = MemoryStore::new();
        let extents: Extents<InRegion> = RegionExtent::between(0, 5 * CHUNK_SIZE).into();
        let mut writer = MapWriter::create(&store, "m", ChunkGrid::new(9 * CHUNK_SIZE), &extents).unwrap();
        writer.push_zeros(5).unwrap();
        let summary = writer.finish().unwrap();
        let whole = crate::store::read_all(&store, "m", 1 << 20).unwrap();
        for (position, value) in [(56, 9), (60, 4), (60, 6), (60, 0)] {
            let mut bent = whole.clone();
            bent[position] = value;
            store.create("m").unwrap().write(&bent).unwrap();
            let forged = crate::MapSummary { digest: ChunkId::of(&bent), ..summary };
            let map = MapReader::open(&store, "m", forged, 9 * CHUNK_SIZE).unwrap();
            assert!(MapTable::new(map).err().unwrap().is_damage(), "byte {position} = {value}");
        }
    }
}
