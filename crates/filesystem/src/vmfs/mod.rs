//! VMFS: of version 3 on a single disk, used is what the bitmap of file blocks says. All other volumes are saved whole:
//! those of several disks, which only make sense together, and versions 5 and 6.
//!
//! A volume that a host has in use, or had in use when it crashed, is saved whole too.

mod resource;
mod volume;

use block::{ReadAt, RegionExtent, read_vec};

use crate::identity::label_text;
use crate::{Error, FileSystem, Note, UsedBytes};
use resource::FileBlocks;
use volume::{
    DATA, FILE_SYSTEM_POSITION, FileSystemInfo, HEARTBEAT, HEARTBEAT_COUNT, HEARTBEATS, POSITION, SEGMENT, Volume,
};

const UNDERSTOOD_VERSION: u32 = 3;
const SMALLEST_BLOCK: u64 = 1 << 20;
const LARGEST_BLOCK: u64 = 8 << 20;
const HEARTBEAT_FREE: [u8; 4] = 0xABCD_EF01_u32.to_le_bytes();

/// The volume, where the region holds its header.
pub fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let Some(volume) = volume::read(region)? else { return Ok(None) };
    let blocks = understood(region, &volume).ok();
    Ok(Some(FileSystem {
        kind: "VMFS_volume_member".to_owned(),
        uuid: label_text(&volume.logical.uuid_str),
        label: volume.file_system.and_then(|info| label_text(&info.label)),
        block_size: blocks.as_ref().map_or(0, |(_, block_size)| u32::try_from(*block_size).unwrap_or_default()),
        size: blocks.map_or(region.size(), |(blocks, block_size)| {
            DATA.saturating_add(blocks.total().saturating_mul(block_size))
        }),
    }))
}

/// The used bytes of the volume.
pub fn coverage(region: &dyn ReadAt, _: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let volume = volume::read(region)?.ok_or_else(|| Error::corrupt(POSITION, "a volume of VMFS", "none"))?;
    let (blocks, block_size) = understood(region, &volume)?;
    check_heartbeats(region)?;
    let mut used = UsedBytes::new();
    // Everything up to the end of the first block of descriptors.
    let head = first_descriptors(block_size).saturating_add(1).saturating_mul(block_size);
    used.add(RegionExtent::between(0, DATA.saturating_add(head)));
    blocks.add_used(&mut used)?;
    Ok(used)
}

/// The bitmap of file blocks and their size, where the volume is of a layout that is understood.
fn understood<'a>(region: &'a dyn ReadAt, volume: &Volume) -> Result<(FileBlocks<'a>, u64), Error> {
    let version = volume.info.ver.get();
    if version != UNDERSTOOD_VERSION {
        return Err(Error::Opaque(format!("VMFS volume of version {version}: its maps are not read by this program")));
    }
    let (extents, first, segments) =
        (volume.logical.num_extents.get(), volume.logical.first_segment.get(), volume.logical.num_segments.get());
    let file_system: &FileSystemInfo = match &volume.file_system {
        Some(info) if (extents, first) == (1, 0) => info,
        _ => {
            let detail = format!("VMFS volume over {extents} disks, of which this one holds segments from {first}");
            return Err(Error::Opaque(detail));
        }
    };
    if file_system.lvm_uuid != volume.logical.uuid {
        return Err(Error::corrupt(FILE_SYSTEM_POSITION, "the identity of the logical volume", "another one"));
    }
    let block_size = file_system.blocksize.get();
    if !block_size.is_power_of_two() || !(SMALLEST_BLOCK..=LARGEST_BLOCK).contains(&block_size) {
        return Err(Error::Unsupported(format!("file blocks of {block_size} bytes")));
    }
    let blocks = FileBlocks::open(region, block_size, first_descriptors(block_size))?;
    let (size, room) = (blocks.total().saturating_mul(block_size), u64::from(segments).saturating_mul(SEGMENT));
    if blocks.total() == 0 || size > room {
        let expected = format!("file blocks in {segments} segments");
        return Err(Error::corrupt(FILE_SYSTEM_POSITION, expected, format!("{} blocks", blocks.total())));
    }
    Ok((blocks, block_size))
}

/// The file block in which the descriptors begin: the first one behind the heartbeats.
fn first_descriptors(block_size: u64) -> u64 {
    let end = HEARTBEATS.saturating_sub(DATA).saturating_add(HEARTBEAT.saturating_mul(HEARTBEAT_COUNT));
    end.checked_div(block_size).unwrap_or_default().max(1)
}

/// Fails where a host has the volume in use, or crashed with changes in its journal.
fn check_heartbeats(region: &dyn ReadAt) -> Result<(), Error> {
    let length = usize::try_from(HEARTBEAT.saturating_mul(HEARTBEAT_COUNT)).unwrap_or_default();
    let heartbeats = read_vec(region, HEARTBEATS, length)?;
    let slots = heartbeats.chunks_exact(usize::try_from(HEARTBEAT).unwrap_or(512));
    match slots.zip(0_u64..).find(|(slot, _)| !slot.starts_with(&HEARTBEAT_FREE)) {
        Some((_, number)) => Err(Error::NotClean(format!("heartbeat {number} is not free: a host uses the volume"))),
        None => Ok(()),
    }
}
