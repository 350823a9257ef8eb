//! The journal: whether anything in it waits to be written to its place.
//!
//! Source: Apple Technical Note TN1150, "Journal"; Apple `core/hfs_format.h` (`JournalInfoBlock`), `core/hfs_journal.h`
//! (`journal_header`).

use block::{ReadAt, RegionExtent};
use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::volume_header::VolumeHeader;
use crate::{Error, Note, NoteCode};

/// Bits of `flags`.
const IN_FILE_SYSTEM: u32 = 1;
const ON_OTHER_DEVICE: u32 = 2;
const NEED_INIT: u32 = 4;

const MAGIC: u32 = 0x4A4E_4C78;
const ENDIAN: u32 = 0x1234_5678;

/// `JournalInfoBlock`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct JournalInfoBlock {
    flags: U32,
    device_signature: [U32; 8],
    offset: U64,
    size: U64,
}

/// The start of `journal_header`, in the byte order of the machine that made it.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct JournalHeader {
    magic: [u8; 4],
    endian: [u8; 4],
    start: [u8; 8],
    end: [u8; 8],
    size: [u8; 8],
}

/// Fails where the journal is not empty. Gives back where it lies.
pub fn check_empty(region: &dyn ReadAt, header: &VolumeHeader, notes: &mut Vec<Note>) -> Result<RegionExtent, Error> {
    let position = u64::from(header.journal_info_block.get()).saturating_mul(header.block_size.get().into());
    let mut bytes = [0; size_of::<JournalInfoBlock>()];
    read_inside(region, position, &mut bytes, "journal info block")?;
    let info = JournalInfoBlock::read_from_bytes(&bytes)
        .map_err(|_| Error::corrupt(position, "a journal info block", "a shorter one"))?;
    let flags = info.flags.get();
    if flags & ON_OTHER_DEVICE != 0 || flags & IN_FILE_SYSTEM == 0 {
        notes.push(Note { code: NoteCode::OtherDevice, detail: "the journal is on another device".to_owned() });
        return Err(Error::NotClean("the journal is on another device".to_owned()));
    }
    let (start, size) = (info.offset.get(), info.size.get());
    let extent = RegionExtent::between(start, start.saturating_add(size));
    if extent.end() > header.size() {
        let expected = format!("a journal that ends before byte {}", header.size());
        return Err(Error::corrupt(position, expected, format!("{size} bytes from {start}")));
    }
    if flags & NEED_INIT == 0 {
        check_header(region, start)?;
    }
    Ok(extent)
}

fn check_header(region: &dyn ReadAt, position: u64) -> Result<(), Error> {
    let mut bytes = [0; size_of::<JournalHeader>()];
    read_inside(region, position, &mut bytes, "journal header")?;
    let journal = JournalHeader::read_from_bytes(&bytes)
        .map_err(|_| Error::corrupt(position, "a journal header", "a shorter one"))?;
    let is_little = u32::from_le_bytes(journal.endian) == ENDIAN;
    let short = if is_little { u32::from_le_bytes } else { u32::from_be_bytes };
    let long = if is_little { u64::from_le_bytes } else { u64::from_be_bytes };
    let (magic, endian) = (short(journal.magic), short(journal.endian));
    if (magic, endian) != (MAGIC, ENDIAN) {
        let expected = format!("{MAGIC:08x} {ENDIAN:08x} at the start of the journal");
        return Err(Error::corrupt(position, expected, format!("{magic:08x} {endian:08x}")));
    }
    let (start, end) = (long(journal.start), long(journal.end));
    if start != end {
        return Err(Error::NotClean(format!("the journal holds transactions, from byte {start} to {end} of it")));
    }
    Ok(())
}

fn read_inside(region: &dyn ReadAt, position: u64, bytes: &mut [u8], what: &str) -> Result<(), Error> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if position.saturating_add(length) > region.size() {
        let expected = format!("the {what} inside {} bytes", region.size());
        return Err(Error::corrupt(position, expected, "its end behind that"));
    }
    Ok(region.read_at(position, bytes)?)
}
