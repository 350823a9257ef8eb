//! A pack: many stored chunks in one file, readable forwards, with an index at its end.
//!
//! | part | bytes |
//! |---|---|
//! | header | 16: `SOSEIPAK`, version u32 = 1, flags u32 = 0 |
//! | records | see [`crate::chunk`] |
//! | index | 48 for each record: offset u64, stored bytes u32, chunk bytes u32, id 32 |
//! | trailer | 64: `SOSEIEND`, index offset u64, index bytes u64, records u64, BLAKE3 of the index 32 |
//!
//! All numbers are little-endian. The id of a pack, and its file name, is the BLAKE3 of its index.

use std::fmt;

use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::chunk::{ChunkId, RECORD_HEADER_SIZE, RecordHeader};
use crate::error::{Error, Result};
use crate::store::Store;

const VERSION: u32 = 1;
const HEADER_SIZE: u64 = 16;
const TRAILER_SIZE: u64 = 64;
/// 64 MiB of records of at least 65 bytes can't need more.
const INDEX_LIMIT: u64 = 256 << 20;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    version: U32,
    flags: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    offset: U64,
    stored_length: U32,
    chunk_length: U32,
    id: ChunkId,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawTrailer {
    magic: [u8; 8],
    index_offset: U64,
    index_length: U64,
    count: U64,
    index_digest: [u8; 32],
}

const HEADER: RawHeader = RawHeader { magic: *b"SOSEIPAK", version: U32::new(VERSION), flags: U32::ZERO };
const END_MAGIC: [u8; 8] = *b"SOSEIEND";

/// The name of a pack: BLAKE3 of its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId(pub [u8; 32]);

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where a chunk is in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry {
    /// Byte offset of the record in the pack.
    pub offset: u64,
    /// Bytes stored after the header of the record.
    pub stored_length: u32,
    /// Bytes of the chunk.
    pub chunk_length: u32,
    /// The chunk.
    pub id: ChunkId,
}

impl PackEntry {
    /// First byte after the record.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(record_length(self.stored_length))
    }
}

fn record_length(stored_length: u32) -> u64 {
    u64::from(stored_length).saturating_add(u64::try_from(RECORD_HEADER_SIZE).unwrap_or(u64::MAX))
}

/// Keeps the index of a pack while its records are appended to a file.
#[derive(Debug)]
pub struct PackAssembler {
    entries: Vec<PackEntry>,
    length: u64,
}

impl PackAssembler {
    /// The bytes that a pack begins with.
    pub fn header() -> &'static [u8] {
        HEADER.as_bytes()
    }

    /// A pack whose header was written and nothing else.
    pub fn new() -> Self {
        Self { entries: Vec::new(), length: HEADER_SIZE }
    }

    /// Notes that a record was appended.
    pub fn add(&mut self, id: ChunkId, chunk_length: u32, stored_length: u32) {
        let entry = PackEntry { offset: self.length, stored_length, chunk_length, id };
        self.length = entry.end();
        self.entries.push(entry);
    }

    /// Bytes of the pack so far, without index and trailer.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The records so far, in the order of their offsets.
    pub fn entries(&self) -> &[PackEntry] {
        &self.entries
    }

    /// The name of the finished pack and the bytes that finish it.
    pub fn finish(&self) -> (PackId, Vec<u8>) {
        let mut bytes = Vec::with_capacity(self.entries.len().saturating_mul(size_of::<RawEntry>()));
        for entry in &self.entries {
            let raw = RawEntry {
                offset: entry.offset.into(),
                stored_length: entry.stored_length.into(),
                chunk_length: entry.chunk_length.into(),
                id: entry.id,
            };
            bytes.extend_from_slice(raw.as_bytes());
        }
        let id = PackId(*blake3::hash(&bytes).as_bytes());
        let trailer = RawTrailer {
            magic: END_MAGIC,
            index_offset: self.length.into(),
            index_length: length_of(&bytes).into(),
            count: length_of(&self.entries).into(),
            index_digest: id.0,
        };
        bytes.extend_from_slice(trailer.as_bytes());
        (id, bytes)
    }
}

impl Default for PackAssembler {
    fn default() -> Self {
        Self::new()
    }
}

/// A finished pack, by its index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// Its name, checked against its index.
    pub id: PackId,
    /// Its records, without a gap between them, in the order of their offsets.
    pub entries: Vec<PackEntry>,
    /// Bytes of the file.
    pub size: u64,
}

impl Pack {
    /// Reads and checks header, trailer and index of the pack at `path`: every byte outside the records.
    ///
    /// # Errors
    /// `Corrupt` where a byte is wrong or the file has another length than its index says.
    pub fn read(store: &dyn Store, path: &str) -> Result<Self> {
        let size = store.size(path)?;
        if size < HEADER_SIZE.saturating_add(TRAILER_SIZE) {
            return Err(Error::corrupt(path, 0, "a pack of at least 80 bytes", format!("{size} bytes")));
        }
        let mut header = [0; 16];
        store.read_at(path, 0, &mut header)?;
        check_header(path, &header)?;

        let trailer_offset = size.saturating_sub(TRAILER_SIZE);
        let mut bytes = [0; 64];
        store.read_at(path, trailer_offset, &mut bytes)?;
        let corrupt = |expected: &str, actual: String| Error::corrupt(path, trailer_offset, expected, actual);
        let trailer = RawTrailer::read_from_bytes(&bytes).map_err(|_| corrupt("a trailer", String::new()))?;
        if trailer.magic != END_MAGIC {
            return Err(corrupt("SOSEIEND", format!("{:02x?}", trailer.magic)));
        }
        let (offset, length) = (trailer.index_offset.get(), trailer.index_length.get());
        let entry_size = length_of(&[0_u8; size_of::<RawEntry>()]);
        let fits = offset.checked_add(length) == Some(trailer_offset)
            && trailer.count.get().checked_mul(entry_size) == Some(length)
            && length <= INDEX_LIMIT;
        if !fits {
            return Err(corrupt("an index that ends here", format!("{length} bytes at {offset}")));
        }
        let mut index = vec![0; usize::try_from(length).map_err(|_| corrupt("a smaller index", length.to_string()))?];
        store.read_at(path, offset, &mut index)?;
        let id = PackId(*blake3::hash(&index).as_bytes());
        if id.0 != trailer.index_digest {
            return Err(Error::corrupt(
                path,
                offset,
                format!("an index with digest {}", PackId(trailer.index_digest)),
                id.to_string(),
            ));
        }
        if !path.ends_with(&format!("/{id}.pack")) {
            return Err(Error::corrupt(path, offset, "an index that fits the name of the pack", id.to_string()));
        }
        let entries = parse_index(path, offset, &index)?;
        Ok(Self { id, entries, size })
    }
}

fn check_header(path: &str, bytes: &[u8]) -> Result<()> {
    let corrupt = |actual: String| Error::corrupt(path, 0, "SOSEIPAK, version 1", actual);
    let raw = RawHeader::read_from_bytes(bytes).map_err(|_| corrupt(format!("{} bytes", bytes.len())))?;
    if raw.magic == HEADER.magic && raw.version.get() > VERSION && raw.flags == HEADER.flags {
        return Err(Error::unsupported(path, format!("pack version {}", raw.version)));
    }
    if bytes == HEADER.as_bytes() { Ok(()) } else { Err(corrupt(format!("{bytes:02x?}"))) }
}

fn parse_index(path: &str, index_offset: u64, index: &[u8]) -> Result<Vec<PackEntry>> {
    let corrupt = |expected: String, actual: String| Error::corrupt(path, index_offset, expected, actual);
    let raw = <[RawEntry]>::ref_from_bytes(index)
        .map_err(|_| corrupt("whole index entries".into(), format!("{} bytes", index.len())))?;
    let mut position = HEADER_SIZE;
    let mut entries = Vec::with_capacity(raw.len());
    for entry in raw {
        let entry = PackEntry {
            offset: entry.offset.get(),
            stored_length: entry.stored_length.get(),
            chunk_length: entry.chunk_length.get(),
            id: entry.id,
        };
        if entry.offset != position || entry.end() > index_offset {
            return Err(corrupt(format!("a record at {position}"), format!("a record at {}", entry.offset)));
        }
        position = entry.end();
        entries.push(entry);
    }
    if position != index_offset {
        return Err(corrupt("records up to the index".into(), format!("records up to {position}")));
    }
    Ok(entries)
}

/// What can be kept of a pack that a session did not finish.
#[derive(Debug)]
pub struct SalvagedPack {
    /// The records that are whole.
    pub assembler: PackAssembler,
}

/// Reads the records of an unfinished pack forwards, up to the first that is not whole.
///
/// # Errors
/// Only where the store fails: damage ends the look, it is no error.
pub fn salvage_pack(store: &dyn Store, path: &str) -> Result<SalvagedPack> {
    let size = store.size(path)?;
    let mut assembler = PackAssembler::new();
    let mut header = [0; 16];
    if size < HEADER_SIZE {
        return Ok(SalvagedPack { assembler });
    }
    store.read_at(path, 0, &mut header)?;
    if header != *PackAssembler::header() {
        return Ok(SalvagedPack { assembler });
    }
    let mut record = Vec::new();
    while let Some(header) = read_record(store, path, size, assembler.length(), &mut record)? {
        assembler.add(header.id, header.chunk_length, header.stored_length);
    }
    Ok(SalvagedPack { assembler })
}

/// Reads the record at `offset`, where a whole one lies there.
fn read_record(
    store: &dyn Store,
    path: &str,
    size: u64,
    offset: u64,
    record: &mut Vec<u8>,
) -> Result<Option<RecordHeader>> {
    let left = size.saturating_sub(offset);
    if left < record_length(0) {
        return Ok(None);
    }
    record.clear();
    record.resize(RECORD_HEADER_SIZE, 0);
    store.read_at(path, offset, record)?;
    let Ok(header) = RecordHeader::parse(record) else { return Ok(None) };
    if left < record_length(header.stored_length) {
        return Ok(None);
    }
    record.resize(header.record_length(), 0);
    store.read_at(path, offset, record)?;
    Ok(header.stored(record).is_ok().then_some(header))
}

fn length_of<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Encoder;
    use crate::memory::MemoryStore;
    use crate::paths::pack_path;
    use crate::store::read_all;

    /// A store with one pack of three chunks; returns the path.
    fn store_with_pack() -> (MemoryStore, String, Vec<ChunkId>) {
        let store = MemoryStore::new();
        let mut encoder = Encoder::new(1).unwrap();
        let mut assembler = PackAssembler::new();
        let mut bytes = PackAssembler::header().to_vec();
        let mut ids = Vec::new();
        for number in 1..4_u8 {
            let chunk = vec![number; 1000 * usize::from(number)];
            let (id, start) = (ChunkId::of(&chunk), bytes.len());
            encoder.encode(id, &chunk, &mut bytes);
            let header = RecordHeader::parse(&bytes[start..]).unwrap();
            assembler.add(id, header.chunk_length, header.stored_length);
            ids.push(id);
        }
        let (id, rest) = assembler.finish();
        bytes.extend(rest);
        store.create(&pack_path(&id)).unwrap().write(&bytes).unwrap();
        (store, pack_path(&id), ids)
    }

    #[test]
    fn a_pack_tells_its_chunks() {
        let (store, path, ids) = store_with_pack();
        let pack = Pack::read(&store, &path).unwrap();
        assert_eq!(pack.entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), ids);
        assert_eq!(pack_path(&pack.id), path);
    }

    #[test]
    fn any_flipped_byte_outside_the_records_is_noticed_by_reading_the_index() {
        let (store, path, _) = store_with_pack();
        let whole = read_all(&store, &path, 1 << 20).unwrap();
        let records = Pack::read(&store, &path).unwrap().entries.last().unwrap().end();
        for position in (0..16).chain(records..whole.len() as u64) {
            let mut bent = whole.clone();
            bent[position as usize] ^= 0x10;
            store.create(&path).unwrap().write(&bent).unwrap();
            let error = Pack::read(&store, &path).unwrap_err();
            assert!(error.is_damage() || matches!(error, Error::Unsupported { .. }), "byte {position}: {error}");
        }
        for length in 0..whole.len() {
            store.create(&path).unwrap().write(&whole[..length]).unwrap();
            assert!(Pack::read(&store, &path).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn whole_records_of_an_unfinished_pack_are_kept() {
        let (store, path, ids) = store_with_pack();
        let whole = read_all(&store, &path, 1 << 20).unwrap();
        let ends: Vec<u64> = Pack::read(&store, &path).unwrap().entries.iter().map(PackEntry::end).collect();
        for length in 0..whole.len() {
            store.create("part").unwrap().write(&whole[..length]).unwrap();
            let salvaged = salvage_pack(&store, "part").unwrap().assembler;
            let expected = ends.iter().filter(|end| **end <= length as u64).count();
            assert_eq!(salvaged.entries().iter().map(|entry| entry.id).collect::<Vec<_>>(), ids[..expected]);
        }
    }
}
