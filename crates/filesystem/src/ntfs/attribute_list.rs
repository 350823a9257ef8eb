//! `$ATTRIBUTE_LIST`: which records hold the attributes of a file that has outgrown its own.
//!
//! Source: ntfs-3g `include/ntfs-3g/layout.h` (`ATTR_LIST_ENTRY`).

use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use crate::Error;
use crate::ntfs::attribute::Kind;
use crate::ntfs::file_record::{FileReference, is_name};

/// Windows never lets a list grow past 256 KiB.
pub const SIZE_LIMIT: u32 = 256 << 10;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    r#type: U32<LE>,
    length: U16<LE>,
    name_length: u8,
    name_offset: u8,
    lowest_vcn: U64<LE>,
    mft_reference: U64<LE>,
    instance: U16<LE>,
}

/// Where one part of an attribute is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// First cluster of the attribute that the part describes.
    pub lowest_vcn: u64,
    /// The record that holds it.
    pub record: FileReference,
    /// Which attribute of that record.
    pub instance: u16,
}

/// The parts of the attribute of `kind` with the name `name`, in ascending order. `position` is
/// where the record with the list lies, for errors.
pub fn entries(list: &[u8], kind: Kind, name: &str, position: u64) -> Result<Vec<Entry>, Error> {
    let mut found = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let corrupt = || {
            let at = list.len().saturating_sub(rest.len());
            Error::corrupt(position, "an entry of an attribute list", format!("damage at byte {at} of it"))
        };
        let (raw, _) = RawEntry::ref_from_prefix(rest).map_err(|_| corrupt())?;
        let length = usize::from(raw.length.get());
        let (own, tail) = rest.split_at_checked(length).filter(|_| length >= 26).ok_or_else(corrupt)?;
        let start = usize::from(raw.name_offset);
        let end = start.saturating_add(usize::from(raw.name_length).saturating_mul(2));
        let own_name = if raw.name_length == 0 { Some(&[][..]) } else { own.get(start..end) };
        if raw.r#type.get() == kind.0 && is_name(own_name.ok_or_else(corrupt)?, name) {
            found.push(Entry {
                lowest_vcn: raw.lowest_vcn.get(),
                record: FileReference(raw.mft_reference.get()),
                instance: raw.instance.get(),
            });
        }
        rest = tail;
    }
    found.sort_by_key(|entry| entry.lowest_vcn);
    Ok(found)
}
