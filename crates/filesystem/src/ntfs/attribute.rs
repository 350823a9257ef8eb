//! One attribute of a file record: its kind, its name, and where its content is.
//!
//! Source: ntfs-3g `include/ntfs-3g/layout.h` (`ATTR_RECORD`, `ATTR_TYPES`).

use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use crate::Error;

/// The kinds of attributes that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(pub u32);

impl Kind {
    /// `$ATTRIBUTE_LIST`
    pub const ATTRIBUTE_LIST: Self = Self(0x20);
    /// `$VOLUME_NAME`
    pub const VOLUME_NAME: Self = Self(0x60);
    /// `$VOLUME_INFORMATION`
    pub const VOLUME_INFORMATION: Self = Self(0x70);
    /// `$DATA`
    pub const DATA: Self = Self(0x80);
    /// `$INDEX_ROOT`
    pub const INDEX_ROOT: Self = Self(0x90);
    /// `$INDEX_ALLOCATION`
    pub const INDEX_ALLOCATION: Self = Self(0xA0);
    /// What stands after the last attribute of a record.
    pub const END: Self = Self(0xFFFF_FFFF);
}

/// Compressed (any method) or encrypted: the clusters don't hold the content as it is read.
const TRANSFORMED: u16 = 0x40FF;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawHeader {
    r#type: U32<LE>,
    length: U32<LE>,
    non_resident: u8,
    name_length: u8,
    name_offset: U16<LE>,
    flags: U16<LE>,
    instance: U16<LE>,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawResident {
    header: RawHeader,
    value_length: U32<LE>,
    value_offset: U16<LE>,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawNonResident {
    header: RawHeader,
    lowest_vcn: U64<LE>,
    highest_vcn: U64<LE>,
    mapping_pairs_offset: U16<LE>,
    compression_unit: u8,
    reserved1: [u8; 5],
    allocated_size: U64<LE>,
    data_size: U64<LE>,
    initialized_size: U64<LE>,
}

/// An attribute inside its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// What it holds.
    pub kind: Kind,
    /// UTF-16 code units of its name, little-endian; empty where it has none.
    pub name: &'a [u8],
    /// Number that no other attribute of the same record has.
    pub instance: u16,
    /// Whether the content is compressed or encrypted.
    pub transformed: bool,
    /// Where its content is.
    pub content: Content<'a>,
}

/// Where the content of an attribute is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// In the record.
    Resident(&'a [u8]),
    /// In clusters.
    NonResident(Piece<'a>),
}

/// The part of a non-resident attribute that one record describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// First cluster of the attribute that it describes.
    pub lowest_vcn: u64,
    /// First cluster of the attribute that it does not describe any more.
    pub end_vcn: u64,
    /// The packed runs.
    pub mapping_pairs: &'a [u8],
    /// Bytes of the content; only meant in the piece with the first cluster.
    pub data_size: u64,
    /// Bytes of the content that were ever written; what follows reads as zeros.
    pub initialized_size: u64,
}

impl<'a> Attribute<'a> {
    /// The attribute at the start of `bytes`, with the bytes that follow it; `None` at the end mark.
    /// `position` is where the record lies, for errors.
    pub fn parse(bytes: &'a [u8], position: u64) -> Result<Option<(Self, &'a [u8])>, Error> {
        let corrupt = |expected: &str, actual: String| Error::corrupt(position, expected, actual);
        let kind = U32::<LE>::read_from_prefix(bytes).map(|(kind, _)| Kind(kind.get()));
        if kind == Ok(Kind::END) {
            return Ok(None);
        }
        let Ok((header, _)) = RawHeader::ref_from_prefix(bytes) else {
            let left = format!("{} bytes left", bytes.len());
            return Err(corrupt("an attribute or the end of attributes", left));
        };
        let length = header.length.get();
        let split = usize::try_from(length).ok().filter(|length| *length >= 24 && length % 8 == 0);
        let Some((own, rest)) = split.and_then(|length| bytes.split_at_checked(length)) else {
            let actual = format!("attribute length {length} with {} bytes left", bytes.len());
            return Err(corrupt("an attribute inside its record", actual));
        };
        let name_offset = usize::from(header.name_offset.get());
        let name_bytes = usize::from(header.name_length).saturating_mul(2);
        let name = match header.name_length {
            0 => Some(&[][..]),
            _ => own.get(name_offset..name_offset.saturating_add(name_bytes)),
        };
        let name =
            name.ok_or_else(|| corrupt("a name inside its attribute", format!("{name_bytes} bytes at {name_offset}")))?;
        let content = match header.non_resident {
            0 => Content::Resident(resident(own, position)?),
            _ => Content::NonResident(non_resident(own, position)?),
        };
        let attribute = Self {
            kind: Kind(header.r#type.get()),
            name,
            instance: header.instance.get(),
            transformed: header.flags.get() & TRANSFORMED != 0,
            content,
        };
        Ok(Some((attribute, rest)))
    }
}

fn resident(own: &[u8], position: u64) -> Result<&[u8], Error> {
    let raw = RawResident::ref_from_prefix(own).ok().map(|(raw, _)| raw);
    let range = raw.map(|raw| (raw.value_offset.get(), raw.value_length.get())).unwrap_or_default();
    let (start, length) = (usize::from(range.0), usize::try_from(range.1).unwrap_or(usize::MAX));
    own.get(start..start.saturating_add(length)).ok_or_else(|| {
        let actual = format!("{length} bytes at {start} of {}", own.len());
        Error::corrupt(position, "a value inside its attribute", actual)
    })
}

fn non_resident(own: &[u8], position: u64) -> Result<Piece<'_>, Error> {
    let Ok((raw, _)) = RawNonResident::ref_from_prefix(own) else {
        let actual = format!("{} bytes", own.len());
        return Err(Error::corrupt(position, "a non-resident attribute of 64 bytes", actual));
    };
    let offset = raw.mapping_pairs_offset.get();
    let mapping_pairs = own
        .get(usize::from(offset)..)
        .filter(|_| offset >= 64)
        .ok_or_else(|| Error::corrupt(position, "mapping pairs inside their attribute", format!("offset {offset}")))?;
    let (lowest_vcn, highest_vcn) = (raw.lowest_vcn.get(), raw.highest_vcn.get());
    // An attribute without a cluster has -1 as its highest.
    let end_vcn = highest_vcn.wrapping_add(1);
    if end_vcn < lowest_vcn {
        let actual = format!("{lowest_vcn} to {highest_vcn}");
        return Err(Error::corrupt(position, "ascending cluster numbers", actual));
    }
    Ok(Piece {
        lowest_vcn,
        end_vcn,
        mapping_pairs,
        data_size: raw.data_size.get(),
        initialized_size: raw.initialized_size.get(),
    })
}
