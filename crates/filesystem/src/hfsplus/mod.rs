//! HFS+ and HFSX: used is what the allocation file says, one bit a block.
//!
//! A volume that was not unmounted, or whose journal is not empty, is saved whole, and so is one in a wrapper of HFS.
//!
//! Source: Apple Technical Note TN1150, "HFS Plus Volume Format"; util-linux `libblkid/src/superblocks/hfs.c` for what
//! counts as UUID.

mod catalog;
mod fork;
mod journal;
mod md5;
mod volume_header;

use block::{ReadAt, RegionExtent};

use crate::bits::{Order, Units, add_units};
use crate::identity::uuid_text;
use crate::{Error, FileSystem, Note, UsedBytes};
use volume_header::{ALTERNATE_FROM_END, LENGTH, POSITION, Volume, VolumeHeader, attribute};

/// The name space of the UUIDs that are made of volume ids.
const NAME_SPACE: [u8; 16] =
    [0xB3, 0xE2, 0x0F, 0x39, 0xF2, 0x92, 0x11, 0xD6, 0x97, 0xA4, 0x00, 0x30, 0x65, 0x43, 0xEC, 0xAC];

/// The file system, where the region starts with a volume header or with a wrapper around one.
pub fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let (header, size) = match Volume::read(region)? {
        None => return Ok(None),
        Some(Volume::Wrapped) => (None, region.size()),
        Some(Volume::Plain(header)) => {
            let size = header.size();
            (Some(header), size)
        }
    };
    let label = match &header {
        Some(header) => catalog::volume_name(region, header).ok().flatten(),
        None => None,
    };
    Ok(Some(FileSystem {
        kind: "hfsplus".to_owned(),
        uuid: header.as_ref().and_then(|header| uuid(&header.volume_id)),
        label,
        block_size: header.map_or(0, |header| header.block_size.get()),
        size,
    }))
}

/// The used bytes of the volume.
pub fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let header = match Volume::read(region)? {
        Some(Volume::Plain(header)) => header,
        Some(Volume::Wrapped) => return Err(Error::Unsupported("a volume in a wrapper of HFS".to_owned())),
        None => return Err(Error::corrupt(POSITION, "a volume header", "none")),
    };
    if !header.has(attribute::UNMOUNTED) || header.has(attribute::BOOT_VOLUME_INCONSISTENT) {
        return Err(Error::NotClean(format!("not unmounted: attributes {:08x}", header.attributes.get())));
    }
    let mut used = UsedBytes::new();
    let journal = match header.has(attribute::JOURNALED) {
        true => Some(journal::check_empty(region, &header, notes)?),
        false => None,
    };
    add_allocated(region, &header, &mut used)?;
    check_metadata(&header, journal, &used)?;
    let size = header.size();
    used.add(RegionExtent::between(0, POSITION.saturating_add(LENGTH).min(size)));
    // The copy lies at the end of the region, which is at the end of the volume or behind it.
    let alternate = region.size().saturating_sub(ALTERNATE_FROM_END);
    used.add(RegionExtent::between(alternate.min(size), size));
    Ok(used)
}

fn add_allocated(region: &dyn ReadAt, header: &VolumeHeader, used: &mut UsedBytes) -> Result<(), Error> {
    let total = u64::from(header.total_blocks.get());
    let mut done = 0_u64;
    let mut used_blocks = 0_u64;
    for piece in fork::pieces(header, &header.allocation_file) {
        if done >= total {
            break;
        }
        let count = piece.length.saturating_mul(8).min(total.saturating_sub(done));
        let end = piece.position.saturating_add(count.div_ceil(8));
        if end > region.size() {
            let expected = format!("the allocation file inside {} bytes", region.size());
            return Err(Error::corrupt(POSITION.saturating_add(112), expected, format!("a piece that ends at {end}")));
        }
        let units = Units { first: done, count, size: header.block_size.get() };
        let added = add_units(region, piece.position, units, Order::HighestFirst, true, used)?;
        used_blocks = used_blocks.saturating_add(added);
        done = done.saturating_add(count);
    }
    if done < total {
        return Err(Error::Unsupported(format!(
            "the eight extents of the allocation file that the volume header lists hold {done} of {total} blocks"
        )));
    }
    let free = total.saturating_sub(used_blocks);
    if free != u64::from(header.free_blocks.get()) {
        let expected = format!("{} free blocks, as the volume header says", header.free_blocks.get());
        return Err(Error::corrupt(POSITION.saturating_add(48), expected, format!("{free} in the allocation file")));
    }
    Ok(())
}

/// What the volume header itself names must not be free.
fn check_metadata(header: &VolumeHeader, journal: Option<RegionExtent>, used: &UsedBytes) -> Result<(), Error> {
    let forks = [
        ("allocation file", header.allocation_file),
        ("extents file", header.extents_file),
        ("catalog", header.catalog_file),
        ("attributes file", header.attributes_file),
        ("startup file", header.startup_file),
    ];
    let pieces = forks.iter().flat_map(|(name, file)| {
        let pieces = fork::pieces(header, file).into_iter();
        pieces.map(move |piece| {
            (*name, RegionExtent::between(piece.position, piece.position.saturating_add(piece.length)))
        })
    });
    for (name, extent) in pieces.chain(journal.map(|extent| ("journal", extent))) {
        if !used.contains(extent) {
            let expected = format!("the {name}, {extent}, in use");
            return Err(Error::corrupt(extent.start(), expected, "free blocks in it"));
        }
    }
    Ok(())
}

fn uuid(volume_id: &[u8; 8]) -> Option<String> {
    if *volume_id == [0; 8] {
        return None;
    }
    let mut message = NAME_SPACE.to_vec();
    message.extend(volume_id);
    let mut uuid = md5::digest(&message);
    // Version 3, variant 1.
    let [_, _, _, _, _, _, seventh, _, ninth, ..] = &mut uuid;
    *seventh = 0x30 | (*seventh & 0x0F);
    *ninth = 0x80 | (*ninth & 0x3F);
    uuid_text(&uuid)
}

#[cfg(test)]
mod tests;
