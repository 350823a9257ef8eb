//! The label of a physical volume: one of the first four sectors, with the header of the volume and its areas in it.
//!
//! Source: lvm2 `lib/label/label.h`, `lib/label/label.c`, `lib/format_text/layout.h`, `lib/format_text/text_label.c`.

use block::{ReadAt, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U32, U64, Unaligned};

use super::checksum::checksum;
use crate::Error;

/// Sectors of labels are counted in 512 bytes, whatever the disk has.
const SECTOR: u64 = 512;
/// A label lies in one of these sectors.
const LABEL_SECTORS: u64 = 4;
/// The checksum covers what follows it.
const CHECKED_FROM: usize = 20;
/// Characters of an identifier.
const ID_LENGTH: usize = 32;
/// LVM makes at most two areas of one kind.
const AREAS_LIMIT: usize = 4;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct LabelHeader {
    id: [u8; 8],
    sector_xl: U64<LE>,
    crc_xl: U32<LE>,
    offset_xl: U32<LE>,
    r#type: [u8; 8],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct PvHeader {
    pv_uuid: [u8; ID_LENGTH],
    device_size_xl: U64<LE>,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct DiskLocn {
    offset: U64<LE>,
    size: U64<LE>,
}

/// What the label of a physical volume says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Its identifier, without dashes.
    pub uuid: String,
    /// Byte offset and size of its metadata areas.
    pub metadata_areas: Vec<(u64, u64)>,
    /// Byte offset and size of the areas that boot loaders may use.
    pub boot_loader_areas: Vec<(u64, u64)>,
}

/// The label of the physical volume on `device`; `None` where there is none.
pub fn find(device: &dyn ReadAt) -> Result<Option<Label>, Error> {
    let sectors = LABEL_SECTORS.min(device.size() / SECTOR);
    let start = read_vec(device, 0, usize::try_from(sectors.saturating_mul(SECTOR)).unwrap_or_default())?;
    let mut found = None;
    for (number, sector) in (0_u64..).zip(start.chunks_exact(usize::try_from(SECTOR).unwrap_or(512))) {
        let Ok((header, _)) = LabelHeader::read_from_prefix(sector) else { continue };
        if header.id != *b"LABELONE" || header.r#type != *b"LVM2 001" {
            continue;
        }
        let label = parse(number, sector, &header)?;
        if found.replace(label).is_some() {
            return Err(Error::Unsupported("two labels of LVM2 in the first four sectors".to_owned()));
        }
    }
    Ok(found)
}

fn parse(number: u64, sector: &[u8], header: &LabelHeader) -> Result<Label, Error> {
    let position = number.saturating_mul(SECTOR);
    let corrupt = |offset: u64, expected: &str, actual: String| {
        Error::corrupt(position.saturating_add(offset), format!("LVM2 label: {expected}"), actual)
    };
    if header.sector_xl.get() != number {
        return Err(corrupt(8, &format!("sector {number}"), header.sector_xl.to_string()));
    }
    let computed = checksum(&[sector.get(CHECKED_FROM..).unwrap_or_default()]);
    if header.crc_xl.get() != computed {
        return Err(corrupt(16, &format!("checksum {computed:#010x}"), format!("{:#010x}", header.crc_xl)));
    }
    let offset = header.offset_xl.get();
    let rest = usize::try_from(offset).ok().filter(|offset| *offset >= size_of::<LabelHeader>());
    let rest = rest.and_then(|offset| sector.get(offset..)).unwrap_or_default();
    let Ok((volume, rest)) = PvHeader::ref_from_prefix(rest) else {
        return Err(corrupt(20, "a header inside the sector", offset.to_string()));
    };
    if !volume.pv_uuid.iter().all(u8::is_ascii_graphic) {
        return Err(corrupt(u64::from(offset), "an identifier of 32 characters", format!("{:02x?}", volume.pv_uuid)));
    }
    let unended = || corrupt(u64::from(offset), "lists of areas that end in the sector", "no end".to_owned());
    // Data areas come first; where data lies, the metadata says more exactly.
    let (_, rest) = areas(rest).ok_or_else(unended)?;
    let (metadata_areas, rest) = areas(rest).ok_or_else(unended)?;
    Ok(Label {
        uuid: String::from_utf8_lossy(&volume.pv_uuid).into_owned(),
        metadata_areas,
        boot_loader_areas: boot_loader_areas(rest).ok_or_else(unended)?,
    })
}

/// Byte offsets and sizes.
type Areas = Vec<(u64, u64)>;

/// A list of areas that ends with an empty one, and what follows it.
fn areas(mut bytes: &[u8]) -> Option<(Areas, &[u8])> {
    let mut found = Vec::new();
    while found.len() < AREAS_LIMIT {
        let (area, rest) = DiskLocn::ref_from_prefix(bytes).ok()?;
        if area.offset.get() == 0 {
            return Some((found, rest));
        }
        found.push((area.offset.get(), area.size.get()));
        bytes = rest;
    }
    None
}

/// What the extension of the header lists, where it is there: its version is not 0.
fn boot_loader_areas(extension: &[u8]) -> Option<Vec<(u64, u64)>> {
    let (version, rest) = U32::<LE>::ref_from_prefix(extension).ok()?;
    if version.get() == 0 {
        return Some(Vec::new());
    }
    areas(rest.get(size_of::<u32>()..)?).map(|(areas, _)| areas)
}

/// An identifier with dashes, as the tools print it.
pub fn id_text(id: &str) -> String {
    let mut text = String::with_capacity(38);
    for (number, character) in id.chars().filter(|character| *character != '-').enumerate() {
        if [6, 10, 14, 18, 22, 26].contains(&number) {
            text.push('-');
        }
        text.push(character);
    }
    text
}
