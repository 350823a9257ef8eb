//! A file record of the master file table: a header and a list of attributes.
//!
//! Source: ntfs-3g `include/ntfs-3g/layout.h` (`MFT_RECORD`).

use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use crate::Error;
use crate::ntfs::attribute::{Attribute, Kind};
use crate::ntfs::update_sequence;

const IN_USE: u16 = 1;
const NUMBER_BITS: u64 = 0x0000_FFFF_FFFF_FFFF;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawFileRecord {
    magic: [u8; 4],
    usa_ofs: U16<LE>,
    usa_count: U16<LE>,
    lsn: U64<LE>,
    sequence_number: U16<LE>,
    link_count: U16<LE>,
    attrs_offset: U16<LE>,
    flags: U16<LE>,
    bytes_in_use: U32<LE>,
    bytes_allocated: U32<LE>,
    base_mft_record: U64<LE>,
}

/// The number of a file record, with how often the record was given to a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileReference(pub u64);

impl FileReference {
    /// Which record.
    pub fn number(self) -> u64 {
        self.0 & NUMBER_BITS
    }

    /// Which use of the record; 0 for any.
    pub fn sequence(self) -> u64 {
        self.0 >> 48
    }
}

/// A record in use, its update sequence restored.
#[derive(Debug)]
pub struct FileRecord {
    bytes: Vec<u8>,
    attributes_offset: usize,
    /// Which record it is.
    pub number: u64,
    /// Where it lies in the region.
    pub position: u64,
    /// Which use of the record.
    pub sequence: u64,
    /// The record that this one extends; 0 where it stands for itself.
    pub base: FileReference,
}

impl FileRecord {
    /// Checks the header of record `number`, read from `position`.
    ///
    /// # Errors
    /// `Corrupt` where it is torn, not in use or not a file record.
    pub fn parse(mut bytes: Vec<u8>, number: u64, position: u64) -> Result<Self, Error> {
        update_sequence::restore(&mut bytes, *b"FILE", position)?;
        let corrupt = |expected: &str, actual: String| {
            Error::corrupt(position, format!("file record {number} {expected}"), actual)
        };
        let Ok((raw, _)) = RawFileRecord::ref_from_prefix(&bytes) else {
            return Err(corrupt("with a header", format!("{} bytes", bytes.len())));
        };
        if raw.flags.get() & IN_USE == 0 {
            return Err(corrupt("in use", format!("flags {:#06x}", raw.flags.get())));
        }
        let in_use = usize::try_from(raw.bytes_in_use.get()).unwrap_or(usize::MAX);
        let attributes_offset = usize::from(raw.attrs_offset.get());
        if in_use > bytes.len() || attributes_offset < 0x28 || attributes_offset >= in_use {
            let actual = format!("{in_use} bytes with attributes at {attributes_offset}");
            return Err(corrupt(&format!("of at most {} bytes", bytes.len()), actual));
        }
        let (sequence, base) = (raw.sequence_number.get(), raw.base_mft_record.get());
        bytes.truncate(in_use);
        Ok(Self {
            bytes,
            attributes_offset,
            number,
            position,
            sequence: u64::from(sequence),
            base: FileReference(base),
        })
    }

    /// The first attribute of `kind` with the name `name` for which `matches` holds.
    pub fn find(
        &self,
        kind: Kind,
        name: &str,
        matches: impl Fn(&Attribute<'_>) -> bool,
    ) -> Result<Option<Attribute<'_>>, Error> {
        let mut rest = self.bytes.get(self.attributes_offset..).unwrap_or_default();
        // Every attribute takes at least 24 bytes, so this ends.
        while let Some((attribute, tail)) = Attribute::parse(rest, self.position)? {
            if attribute.kind == kind && is_name(attribute.name, name) && matches(&attribute) {
                return Ok(Some(attribute));
            }
            rest = tail;
        }
        Ok(None)
    }
}

/// Whether UTF-16 bytes spell `name`.
pub fn is_name(utf16: &[u8], name: &str) -> bool {
    let (units, odd) = utf16.as_chunks::<2>();
    odd.is_empty() && units.iter().map(|unit| u16::from_le_bytes(*unit)).eq(name.encode_utf16())
}
