//! One chunk of a region: how it is named, compressed and checked, and the record that holds it in
//! a pack.
//!
//! A record is a 64-byte header and the stored bytes. All numbers are little-endian.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | `CHNK` |
//! | 4 | 1 | encoding: 0 stored as it is, 1 one zstd frame |
//! | 5 | 3 | zero |
//! | 8 | 4 | bytes of the chunk |
//! | 12 | 4 | bytes stored after the header |
//! | 16 | 32 | id: BLAKE3 of the chunk |
//! | 48 | 16 | check: the first 16 bytes of BLAKE3 of the first 48 bytes of the header and the stored bytes |

use std::fmt;

use serde::{Deserialize, Serialize};
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a chunk. The last chunk of a region may be shorter.
pub const CHUNK_SIZE: u64 = 256 << 10;
/// Bytes of the header of a record.
pub const RECORD_HEADER_SIZE: usize = 64;

const MAGIC: [u8; 4] = *b"CHNK";
const STORED: u8 = 0;
const ZSTD: u8 = 1;

/// The name of a chunk: BLAKE3 of its bytes.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(transparent)]
pub struct ChunkId(pub [u8; 32]);

impl ChunkId {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How the bytes of a chunk are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// As they are: compression would not make them smaller.
    Stored,
    /// As one zstd frame.
    Zstd,
}

/// The checked header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// How the bytes are stored.
    pub encoding: Encoding,
    /// Bytes of the chunk.
    pub chunk_length: u32,
    /// Bytes stored after the header.
    pub stored_length: u32,
    /// The name of the chunk.
    pub id: ChunkId,
    check: [u8; 16],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 4],
    encoding: u8,
    zero: [u8; 3],
    chunk_length: U32,
    stored_length: U32,
    id: ChunkId,
    check: [u8; 16],
}

/// Why bytes are not a record. `at` counts from the start of the record.
#[derive(Debug, PartialEq, Eq)]
pub struct RecordError {
    pub at: u64,
    pub expected: String,
    pub actual: String,
}

impl RecordError {
    fn new(at: u64, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self { at, expected: expected.into(), actual: actual.into() }
    }
}

impl RecordHeader {
    /// Reads a header from the first bytes of `record`. Says nothing yet about the stored bytes.
    pub fn parse(record: &[u8]) -> Result<Self, RecordError> {
        let Ok((raw, _)) = RawHeader::ref_from_prefix(record) else {
            return Err(RecordError::new(0, "64 bytes of a record header", format!("{} bytes", record.len())));
        };
        if raw.magic != MAGIC {
            return Err(RecordError::new(0, "CHNK", format!("{:02x?}", raw.magic)));
        }
        let encoding = match raw.encoding {
            STORED => Encoding::Stored,
            ZSTD => Encoding::Zstd,
            other => return Err(RecordError::new(4, "encoding 0 or 1", other.to_string())),
        };
        if raw.zero != [0; 3] {
            return Err(RecordError::new(5, "zeros", format!("{:02x?}", raw.zero)));
        }
        let (chunk_length, stored_length) = (raw.chunk_length.get(), raw.stored_length.get());
        if !(1..=CHUNK_SIZE).contains(&u64::from(chunk_length)) {
            return Err(RecordError::new(8, format!("1 to {CHUNK_SIZE}"), chunk_length.to_string()));
        }
        let fits = match encoding {
            Encoding::Stored => stored_length == chunk_length,
            Encoding::Zstd => stored_length < chunk_length,
        };
        if !fits {
            return Err(RecordError::new(12, "a stored length that fits the encoding", stored_length.to_string()));
        }
        Ok(Self { encoding, chunk_length, stored_length, id: raw.id, check: raw.check })
    }

    /// Bytes of the whole record.
    pub fn record_length(&self) -> usize {
        usize::try_from(self.stored_length).unwrap_or(usize::MAX).saturating_add(RECORD_HEADER_SIZE)
    }

    /// Checks every byte of the record and returns the stored bytes.
    pub fn stored<'a>(&self, record: &'a [u8]) -> Result<&'a [u8], RecordError> {
        let stored = record
            .get(RECORD_HEADER_SIZE..self.record_length())
            .ok_or_else(|| RecordError::new(64, format!("{} stored bytes", self.stored_length), "an earlier end"))?;
        let header = record.get(..CHECK_OFFSET).unwrap_or_default();
        if check_of(header, stored) == self.check {
            Ok(stored)
        } else {
            Err(RecordError::new(48, "the check of the stored bytes", "another"))
        }
    }
}

const CHECK_OFFSET: usize = 48;

fn check_of(header: &[u8], stored: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    let mut check = [0; 16];
    hasher.update(header).update(stored).finalize_xof().fill(&mut check);
    check
}

/// Turns chunks into records. One for each thread: it keeps the compressor's tables.
pub struct Encoder {
    compressor: zstd::bulk::Compressor<'static>,
    level: i32,
}

impl Encoder {
    /// An encoder at a zstd level; levels below 1 are zstd's fast modes.
    ///
    /// # Errors
    /// Where zstd can't get memory.
    pub fn new(level: i32) -> std::io::Result<Self> {
        Ok(Self { compressor: zstd::bulk::Compressor::new(level)?, level })
    }

    /// Uses another level from now on.
    pub fn set_level(&mut self, level: i32) -> std::io::Result<()> {
        if level != self.level {
            self.compressor.set_compression_level(level)?;
            self.level = level;
        }
        Ok(())
    }

    /// Appends the record of `chunk` to `records` and returns its stored bytes. `id` must be [`ChunkId::of`] the chunk.
    pub fn encode(&mut self, id: ChunkId, chunk: &[u8], records: &mut Vec<u8>) -> u32 {
        let start = records.len();
        let frame_start = start.saturating_add(RECORD_HEADER_SIZE);
        // The frame is made in its place: copying it there would cost as much as reading it twice.
        records.reserve(RECORD_HEADER_SIZE.saturating_add(zstd::zstd_safe::compress_bound(chunk.len())));
        records.resize(frame_start, 0);
        let mut place = std::io::Cursor::new(&mut *records);
        place.set_position(u64::try_from(frame_start).unwrap_or(u64::MAX));
        let compressed = self.compressor.compress_to_buffer(chunk, &mut place).ok();
        let encoding = if compressed.is_some_and(|length| length < chunk.len()) {
            ZSTD
        } else {
            records.truncate(frame_start);
            records.extend_from_slice(chunk);
            STORED
        };
        let stored = records.get(frame_start..).unwrap_or_default();
        let mut header = RawHeader {
            magic: MAGIC,
            encoding,
            zero: [0; 3],
            chunk_length: length_field(chunk),
            stored_length: length_field(stored),
            id,
            check: [0; 16],
        };
        header.check = check_of(header.as_bytes().get(..CHECK_OFFSET).unwrap_or_default(), stored);
        if let Some(place) = records.get_mut(start..frame_start) {
            place.copy_from_slice(header.as_bytes());
        }
        header.stored_length.get()
    }
}

fn length_field(bytes: &[u8]) -> U32 {
    U32::new(u32::try_from(bytes.len()).unwrap_or(u32::MAX))
}

/// Turns records back into chunks. One for each thread.
pub struct Decoder {
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl Decoder {
    /// A new decoder.
    ///
    /// # Errors
    /// Where zstd can't get memory.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self { decompressor: zstd::bulk::Decompressor::new()? })
    }

    /// Checks every byte of `record` and writes its chunk to the start of `chunk`; returns the header.
    ///
    /// # Errors
    /// Where the record is not whole, its check or its id is wrong, or `chunk` is too small for it.
    pub fn decode(&mut self, record: &[u8], chunk: &mut [u8]) -> Result<RecordHeader, RecordError> {
        let header = RecordHeader::parse(record)?;
        let stored = header.stored(record)?;
        let length = usize::try_from(header.chunk_length).unwrap_or(usize::MAX);
        let room = chunk.len();
        let chunk = chunk
            .get_mut(..length)
            .ok_or_else(|| RecordError::new(8, format!("at most {room} bytes"), length.to_string()))?;
        match header.encoding {
            Encoding::Stored => chunk.copy_from_slice(stored),
            Encoding::Zstd => {
                let decoded = self
                    .decompressor
                    .decompress_to_buffer(stored, &mut *chunk)
                    .map_err(|error| RecordError::new(64, "a zstd frame", error.to_string()))?;
                if decoded != length {
                    return Err(RecordError::new(64, format!("{length} bytes in the frame"), decoded.to_string()));
                }
            }
        }
        let id = ChunkId::of(chunk);
        if id != header.id {
            return Err(RecordError::new(16, format!("chunk {}", header.id), format!("chunk {id}")));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record_of(chunk: &[u8], level: i32) -> Vec<u8> {
        let mut record = Vec::new();
        Encoder::new(level).unwrap().encode(ChunkId::of(chunk), chunk, &mut record);
        record
    }

    fn decode(record: &[u8]) -> Result<Vec<u8>, RecordError> {
        let mut chunk = vec![0xEE; usize::try_from(CHUNK_SIZE).unwrap()];
        let header = Decoder::new().unwrap().decode(record, &mut chunk)?;
        chunk.truncate(header.chunk_length as usize);
        Ok(chunk)
    }

    #[test]
    fn the_header_is_64_bytes() {
        assert_eq!(size_of::<RawHeader>(), RECORD_HEADER_SIZE);
    }

    #[test]
    fn any_flipped_bit_of_a_record_is_noticed() {
        let chunk: Vec<u8> = (0..4000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let record = record_of(&chunk, 3);
        assert!(record.len() < chunk.len());
        for position in 0..record.len() {
            for bit in 0..8 {
                let mut bent = record.clone();
                bent[position] ^= 1 << bit;
                assert!(decode(&bent).is_err(), "byte {position} bit {bit}");
            }
        }
    }

    #[test]
    fn a_record_that_is_whole_and_holds_another_chunk_is_refused() {
        for chunk in [&b"short"[..], &[7; 5000]] {
            let mut record = Vec::new();
            Encoder::new(1).unwrap().encode(ChunkId::of(b"another"), chunk, &mut record);
            assert_eq!(decode(&record).unwrap_err().at, 16);
        }
    }

    #[test]
    fn what_does_not_shrink_is_stored_as_it_is() {
        let mut chunk = vec![0; 5000];
        blake3::Hasher::new().finalize_xof().fill(&mut chunk);
        let record = record_of(&chunk, 19);
        assert_eq!(RecordHeader::parse(&record).unwrap().encoding, Encoding::Stored);
        assert_eq!(decode(&record).unwrap(), chunk);
    }

    proptest! {
        #[test]
        fn chunks_come_back(chunk in prop::collection::vec(0..4_u8, 1..10_000), level in -5..6_i32) {
            prop_assert_eq!(decode(&record_of(&chunk, level)).unwrap(), chunk);
        }

        #[test]
        fn any_bytes_are_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
