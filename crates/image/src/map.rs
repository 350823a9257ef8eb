//! A region map: which bytes of a region were saved, and which chunks make them up.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | `SOSEIMAP` |
//! | 8 | 4 | version u32 = 1 |
//! | 12 | 4 | bytes of a chunk u32 |
//! | 16 | 8 | bytes of the region u64 |
//! | 24 | 8 | number of extents u64 |
//! | 32 | 8 | number of chunks u64 |
//! | 40 | 16 each | extents: first byte u64, bytes u64; ascending, not touching |
//! | then | | runs, until every chunk is told |
//!
//! The chunks are those that hold a byte of an extent, in ascending order. A run is its kind u32
//! (0: all bytes zero, 1: stored) and the number of its chunks u32; a run of stored chunks is
//! followed by their ids of 32 bytes. All numbers are little-endian. The manifest holds the BLAKE3
//! of the whole file.

use block::{Extents, InRegion, RegionExtent};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::chunk::{CHUNK_SIZE, ChunkId};
use crate::error::{Error, Result};
use crate::grid::{ChunkGrid, ChunkRange};
use crate::store::{Store, StoreFile};

const VERSION: u32 = 1;
const ZERO: u32 = 0;
const STORED: u32 = 1;
/// Chunks of one run of ids: 128 KiB of ids are written and read at once.
const RUN_LIMIT: usize = 4096;
/// A region map names at most this many extents: 1 GiB of table would be an attack, not a disk.
const EXTENTS_LIMIT: u64 = 1 << 26;
const HEADER_SIZE: u64 = 40;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    version: U32,
    chunk_size: U32,
    region_length: U64,
    extent_count: U64,
    chunk_count: U64,
}

/// What a chunk of a map holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkContent {
    /// Only zeros; nothing is stored.
    Zero,
    /// The chunk with this name.
    Stored(ChunkId),
}

/// What the chunks of a run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunKind {
    /// All zeros.
    Zero,
    /// Stored; their ids follow.
    Stored,
}

impl RunKind {
    /// The kind with this number.
    pub fn of(number: u32) -> Option<Self> {
        match number {
            ZERO => Some(Self::Zero),
            STORED => Some(Self::Stored),
            _ => None,
        }
    }
}

/// A finished map, as the manifest names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSummary {
    /// Bytes of the file.
    pub size: u64,
    /// BLAKE3 of the file.
    pub digest: ChunkId,
}

/// Writes the map of a region while its chunks are saved in ascending order.
pub struct MapWriter {
    file: Box<dyn StoreFile>,
    hasher: blake3::Hasher,
    size: u64,
    zeros: u32,
    ids: Vec<ChunkId>,
}

impl MapWriter {
    /// Begins the map of a region of which `extents` are saved.
    pub fn create(store: &dyn Store, path: &str, grid: ChunkGrid, extents: &Extents<InRegion>) -> Result<Self> {
        let file = store.create(path)?;
        let mut writer = Self { file, hasher: blake3::Hasher::new(), size: 0, zeros: 0, ids: Vec::new() };
        let header = RawHeader {
            magic: *b"SOSEIMAP",
            version: VERSION.into(),
            chunk_size: u32::try_from(CHUNK_SIZE).unwrap_or(u32::MAX).into(),
            region_length: grid.region_length().into(),
            extent_count: u64::try_from(extents.count()).unwrap_or(u64::MAX).into(),
            chunk_count: grid.covered_count(extents).into(),
        };
        writer.write(header.as_bytes())?;
        for part in extents.as_slice().chunks(RUN_LIMIT) {
            let table: Vec<[U64; 2]> =
                part.iter().map(|extent| [extent.start().into(), extent.length().into()]).collect();
            writer.write(table.as_bytes())?;
        }
        Ok(writer)
    }

    /// Tells the next chunk.
    pub fn push(&mut self, content: ChunkContent) -> Result<()> {
        match content {
            ChunkContent::Zero => self.push_zeros(1),
            ChunkContent::Stored(id) => {
                self.flush_zeros()?;
                self.ids.push(id);
                if self.ids.len() >= RUN_LIMIT { self.flush_ids() } else { Ok(()) }
            }
        }
    }

    /// Tells that the next `count` chunks hold only zeros.
    pub fn push_zeros(&mut self, count: u64) -> Result<()> {
        self.flush_ids()?;
        let mut left = count;
        while left > 0 {
            let part = u32::try_from(left).unwrap_or(u32::MAX).min(u32::MAX.saturating_sub(self.zeros));
            if part == 0 {
                self.flush_zeros()?;
                continue;
            }
            self.zeros = self.zeros.saturating_add(part);
            left = left.saturating_sub(part.into());
        }
        Ok(())
    }

    /// Ends the map and makes it stable.
    pub fn finish(mut self) -> Result<MapSummary> {
        self.flush_zeros()?;
        self.flush_ids()?;
        self.file.sync()?;
        Ok(MapSummary { size: self.size, digest: ChunkId(*self.hasher.finalize().as_bytes()) })
    }

    fn flush_zeros(&mut self) -> Result<()> {
        if self.zeros > 0 {
            let run = [U32::new(ZERO), self.zeros.into()];
            self.zeros = 0;
            self.write(run.as_bytes())?;
        }
        Ok(())
    }

    fn flush_ids(&mut self) -> Result<()> {
        if !self.ids.is_empty() {
            let mut bytes =
                [U32::new(STORED), u32::try_from(self.ids.len()).unwrap_or(u32::MAX).into()].as_bytes().to_vec();
            bytes.extend_from_slice(self.ids.as_bytes());
            self.ids.clear();
            self.write(&bytes)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.size = self.size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(self.file.write(bytes)?)
    }
}

/// Reads a map: first all of it for its digest, then chunk by chunk.
pub struct MapReader<'a> {
    store: &'a dyn Store,
    path: String,
    size: u64,
    grid: ChunkGrid,
    extents: Extents<InRegion>,
    runs_offset: u64,
}

impl<'a> MapReader<'a> {
    /// Opens the map at `path` and checks that it is the one that `summary` names, of a region of
    /// `region_length` bytes.
    ///
    /// # Errors
    /// `Corrupt` where a byte is wrong.
    pub fn open(store: &'a dyn Store, path: &str, summary: MapSummary, region_length: u64) -> Result<Self> {
        let size = store.size(path)?;
        if size != summary.size {
            return Err(Error::corrupt(path, 0, format!("{} bytes", summary.size), format!("{size} bytes")));
        }
        check_digest(store, path, summary)?;
        let mut bytes = [0; 40];
        if size < HEADER_SIZE {
            return Err(Error::corrupt(path, 0, "a map of at least 40 bytes", format!("{size} bytes")));
        }
        store.read_at(path, 0, &mut bytes)?;
        let header =
            RawHeader::read_from_bytes(&bytes).map_err(|_| Error::corrupt(path, 0, "the header of a map", "less"))?;
        header.check(path, region_length)?;
        let grid = ChunkGrid::new(region_length);
        let extents = read_extents(store, path, size, header.extent_count.get(), region_length)?;
        let covered = grid.covered_count(&extents);
        if covered != header.chunk_count.get() {
            return Err(Error::corrupt(path, 32, format!("{covered} chunks"), header.chunk_count.to_string()));
        }
        let runs_offset = header.extent_count.get().saturating_mul(16).saturating_add(HEADER_SIZE);
        Ok(Self { store, path: path.to_owned(), size, grid, extents, runs_offset })
    }

    /// The bytes of the region that were saved.
    pub fn extents(&self) -> &Extents<InRegion> {
        &self.extents
    }

    /// The grid of the region.
    pub fn grid(&self) -> ChunkGrid {
        self.grid
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Where the runs begin.
    pub(crate) fn runs_offset(&self) -> u64 {
        self.runs_offset
    }

    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        Ok(self.store.read_at(&self.path, offset, buffer)?)
    }

    /// Every saved chunk in ascending order: its number and what it holds. Ends with the first error.
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks {
            map: self,
            ranges: Box::new(self.grid.covered(&self.extents)),
            range: ChunkRange { first: 0, count: 0 },
            position: self.runs_offset,
            zeros_left: 0,
            ids: Vec::new().into_iter(),
            failed: false,
        }
    }
}

impl RawHeader {
    fn check(&self, path: &str, region_length: u64) -> Result<()> {
        if self.magic != *b"SOSEIMAP" {
            return Err(Error::corrupt(path, 0, "SOSEIMAP", format!("{:02x?}", self.magic)));
        }
        if self.version.get() != VERSION {
            return Err(Error::unsupported(path, format!("map version {}", self.version)));
        }
        if u64::from(self.chunk_size.get()) != CHUNK_SIZE {
            return Err(Error::unsupported(path, format!("a chunk size of {}", self.chunk_size)));
        }
        if self.region_length.get() != region_length {
            let actual = format!("{} bytes", self.region_length);
            return Err(Error::corrupt(path, 16, format!("a region of {region_length} bytes"), actual));
        }
        if self.extent_count.get() > EXTENTS_LIMIT {
            let actual = self.extent_count.to_string();
            return Err(Error::corrupt(path, 24, format!("at most {EXTENTS_LIMIT} extents"), actual));
        }
        Ok(())
    }
}

fn check_digest(store: &dyn Store, path: &str, summary: MapSummary) -> Result<()> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    while position < summary.size {
        let length = usize::try_from(summary.size.saturating_sub(position)).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..length).unwrap_or_default();
        store.read_at(path, position, part)?;
        hasher.update(part);
        position = position.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    let digest = ChunkId(*hasher.finalize().as_bytes());
    if digest == summary.digest {
        Ok(())
    } else {
        Err(Error::corrupt(path, 0, format!("digest {}", summary.digest), digest.to_string()))
    }
}

fn read_extents(store: &dyn Store, path: &str, size: u64, count: u64, region_length: u64) -> Result<Extents<InRegion>> {
    let mut extents = Extents::new();
    let mut position = HEADER_SIZE;
    let mut left = count;
    while left > 0 {
        let part = left.min(65_536);
        let length = part.saturating_mul(16);
        if position.saturating_add(length) > size {
            return Err(Error::corrupt(path, position, "the table of extents", "the end of the file"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        store.read_at(path, position, &mut bytes)?;
        let table =
            <[[U64; 2]]>::ref_from_bytes(&bytes).map_err(|_| Error::corrupt(path, position, "extents", "less"))?;
        for [start, length] in table {
            let extent = RegionExtent::new(start.get(), length.get()).ok();
            let extent = extent.filter(|extent| {
                let follows = extents.is_empty() || extent.start() > extents.end();
                follows && !extent.is_empty() && extent.end() <= region_length
            });
            let Some(extent) = extent else {
                let actual = format!("{length} bytes from {start}");
                return Err(Error::corrupt(path, position, "ascending extents inside the region", actual));
            };
            extents.insert(extent);
        }
        position = position.saturating_add(length);
        left = left.saturating_sub(part);
    }
    Ok(extents)
}

/// The chunks of a map, in ascending order.
pub struct Chunks<'a> {
    map: &'a MapReader<'a>,
    ranges: Box<dyn Iterator<Item = ChunkRange> + Send + 'a>,
    range: ChunkRange,
    position: u64,
    zeros_left: u32,
    ids: std::vec::IntoIter<ChunkId>,
    failed: bool,
}

impl Chunks<'_> {
    fn next_chunk(&mut self) -> Result<Option<(u64, ChunkContent)>> {
        while self.range.count == 0 {
            match self.ranges.next() {
                Some(range) => self.range = range,
                None => return self.check_end().map(|()| None),
            }
        }
        let content = self.next_content()?;
        let number = self.range.first;
        self.range = ChunkRange { first: number.saturating_add(1), count: self.range.count.saturating_sub(1) };
        Ok(Some((number, content)))
    }

    fn next_content(&mut self) -> Result<ChunkContent> {
        loop {
            if self.zeros_left > 0 {
                self.zeros_left = self.zeros_left.saturating_sub(1);
                return Ok(ChunkContent::Zero);
            }
            if let Some(id) = self.ids.next() {
                return Ok(ChunkContent::Stored(id));
            }
            self.read_run()?;
        }
    }

    fn read_run(&mut self) -> Result<()> {
        let run_position = self.position;
        let corrupt = |actual: String| Error::corrupt(&self.map.path, run_position, "a run of chunks", actual);
        let header = self.read(8)?;
        let Ok([kind, count]) = <[U32; 2]>::read_from_bytes(&header) else {
            return Err(corrupt("less".into()));
        };
        match (kind.get(), count.get()) {
            (_, 0) => Err(corrupt("an empty run".into())),
            (ZERO, count) => {
                self.zeros_left = count;
                Ok(())
            }
            (STORED, count) if usize::try_from(count).is_ok_and(|count| count <= RUN_LIMIT) => {
                let bytes = self.read(u64::from(count).saturating_mul(32))?;
                self.ids = <[ChunkId]>::ref_from_bytes(&bytes).map(<[_]>::to_vec).unwrap_or_default().into_iter();
                Ok(())
            }
            (kind, count) => Err(corrupt(format!("kind {kind} of {count} chunks"))),
        }
    }

    fn read(&mut self, length: u64) -> Result<Vec<u8>> {
        let end = self.position.saturating_add(length);
        if end > self.map.size {
            return Err(Error::corrupt(&self.map.path, self.position, "more chunks", "the end of the file"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        self.map.store.read_at(&self.map.path, self.position, &mut bytes)?;
        self.position = end;
        Ok(bytes)
    }

    fn check_end(&self) -> Result<()> {
        if self.position == self.map.size && self.zeros_left == 0 && self.ids.len() == 0 {
            Ok(())
        } else {
            let actual = format!("{} more bytes", self.map.size.saturating_sub(self.position));
            Err(Error::corrupt(&self.map.path, self.position, "the end of the map", actual))
        }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<(u64, ChunkContent)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_chunk().transpose();
        self.failed = !matches!(next, Some(Ok(_)));
        next
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::MemoryStore;
    use crate::store::read_all;

    fn id(number: u64) -> ChunkId {
        ChunkId::of(&number.to_le_bytes())
    }

    fn write_map(
        store: &MemoryStore,
        length: u64,
        extents: &Extents<InRegion>,
        is_zero: impl Fn(u64) -> bool,
    ) -> MapSummary {
        let grid = ChunkGrid::new(length);
        let mut writer = MapWriter::create(store, "m", grid, extents).unwrap();
        for range in grid.covered(extents) {
            for chunk in range.first..range.end() {
                let content = if is_zero(chunk) { ChunkContent::Zero } else { ChunkContent::Stored(id(chunk)) };
                writer.push(content).unwrap();
            }
        }
        writer.finish().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_map_tells_back_what_it_was_told(
            parts in prop::collection::vec((0..2000_u64, 1..300_u64), 0..20),
            zeros in prop::collection::vec(any::<bool>(), 1..50),
        ) {
            let store = MemoryStore::new();
            let length = 2300 * CHUNK_SIZE + 77;
            let extents: Extents<InRegion> = parts.iter()
                .map(|(start, count)| RegionExtent::between(start * CHUNK_SIZE + 512, (start + count) * CHUNK_SIZE))
                .collect();
            let is_zero = |chunk: u64| zeros[chunk as usize % zeros.len()];
            let summary = write_map(&store, length, &extents, is_zero);
            let map = MapReader::open(&store, "m", summary, length).unwrap();
            prop_assert_eq!(map.extents(), &extents);
            let expected: Vec<_> = ChunkGrid::new(length).covered(&extents)
                .flat_map(|range| range.first..range.end())
                .map(|chunk| (chunk, if is_zero(chunk) { ChunkContent::Zero } else { ChunkContent::Stored(id(chunk)) }))
                .collect();
            let told: Vec<_> = map.chunks().map(|chunk| chunk.unwrap()).collect();
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn any_flipped_byte_is_noticed_and_no_bent_map_does_harm() {
        let store = MemoryStore::new();
        let extents: Extents<InRegion> = RegionExtent::between(0, 5 * CHUNK_SIZE).into();
        let summary = write_map(&store, 9 * CHUNK_SIZE, &extents, |chunk| chunk == 2);
        let whole = read_all(&store, "m", 1 << 20).unwrap();
        for position in 0..whole.len() {
            let mut bent = whole.clone();
            bent[position] ^= 1;
            store.create("m").unwrap().write(&bent).unwrap();
            assert!(
                MapReader::open(&store, "m", summary, 9 * CHUNK_SIZE).err().unwrap().is_damage(),
                "byte {position}"
            );
            // With a digest that fits, the structure itself must still hold or be refused.
            let forged = MapSummary { digest: ChunkId::of(&bent), ..summary };
            if let Ok(map) = MapReader::open(&store, "m", forged, 9 * CHUNK_SIZE) {
                assert!(map.chunks().count() <= 6);
            }
        }
    }

    #[test]
    fn a_disk_of_zeros_needs_a_small_map() {
        let store = MemoryStore::new();
        let length = 1 << 50;
        let extents: Extents<InRegion> = RegionExtent::between(0, length).into();
        let grid = ChunkGrid::new(length);
        let mut writer = MapWriter::create(&store, "m", grid, &extents).unwrap();
        writer.push_zeros(grid.covered_count(&extents)).unwrap();
        let summary = writer.finish().unwrap();
        assert!(summary.size < 100, "{}", summary.size);
        assert!(MapReader::open(&store, "m", summary, length).is_ok());
    }
}
