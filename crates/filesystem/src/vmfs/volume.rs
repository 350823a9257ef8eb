//! A volume on its disk: the header of the physical volume, of the logical volume, and of the file system in it.
//!
//! Source: vmfs-tools `libvmfs/vmfs_volume.h` (`struct vmfs_volinfo_raw`, `vmfs_lvminfo_raw`), `vmfs_fs.h`
//! (`struct vmfs_fsinfo_raw`), `vmfs_heartbeat.h`.

use block::ReadAt;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::Error;

/// Where the header of the physical volume lies in the region, and behind it that of the logical volume.
pub const POSITION: u64 = 0x10_0000;
const LOGICAL_POSITION: u64 = POSITION + 0x200;
/// Where the first segment of the logical volume starts.
pub const DATA: u64 = POSITION + 0x100_0000;
/// The file system and the heartbeats in the logical volume.
pub const FILE_SYSTEM_POSITION: u64 = DATA + 0x20_0000;
pub const HEARTBEATS: u64 = DATA + 0x30_0000;
pub const HEARTBEAT: u64 = 512;
pub const HEARTBEAT_COUNT: u64 = 2048;
pub const SEGMENT: u64 = 256 << 20;

const VOLUME_MAGIC: u32 = 0xC001_D00D;
const FILE_SYSTEM_MAGIC: u32 = 0x2FAB_F15E;

/// The start of `struct vmfs_volinfo_raw`.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VolumeInfo {
    magic: U32,
    pub ver: U32,
}

/// `struct vmfs_lvminfo_raw`.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct LogicalVolumeInfo {
    size: U64,
    blocks: U64,
    unknown0: U32,
    pub uuid_str: [u8; 35],
    unknown1: [u8; 29],
    pub uuid: [u8; 16],
    unknown2: U32,
    ctime: U64,
    unknown3: U32,
    pub num_segments: U32,
    pub first_segment: U32,
    unknown4: U32,
    pub last_segment: U32,
    unknown5: U32,
    mtime: U64,
    pub num_extents: U32,
}

/// `struct vmfs_fsinfo_raw`.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct FileSystemInfo {
    magic: U32,
    pub volver: U32,
    pub ver: u8,
    uuid: [u8; 16],
    mode: U32,
    pub label: [u8; 128],
    dev_blocksize: U32,
    pub blocksize: U64,
    ctime: U32,
    unknown3: U32,
    pub lvm_uuid: [u8; 16],
}

/// What the headers say. The file system is `None` where it begins on another disk.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    pub info: VolumeInfo,
    pub logical: LogicalVolumeInfo,
    pub file_system: Option<FileSystemInfo>,
}

/// Finds the headers.
pub fn read(region: &dyn ReadAt) -> Result<Option<Volume>, Error> {
    let (Some(info), Some(logical)) = (header(region, POSITION)?, header(region, LOGICAL_POSITION)?) else {
        return Ok(None);
    };
    let info: VolumeInfo = info;
    if info.magic.get() != VOLUME_MAGIC {
        return Ok(None);
    }
    let file_system: Option<FileSystemInfo> = header(region, FILE_SYSTEM_POSITION)?;
    let file_system = file_system.filter(|info| info.magic.get() == FILE_SYSTEM_MAGIC);
    Ok(Some(Volume { info, logical, file_system }))
}

/// A structure; `None` where the region ends before it does.
pub fn header<T: FromBytes>(region: &dyn ReadAt, position: u64) -> Result<Option<T>, Error> {
    let mut bytes = vec![0; size_of::<T>()];
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if position.saturating_add(length) > region.size() {
        return Ok(None);
    }
    region.read_at(position, &mut bytes)?;
    Ok(T::read_from_bytes(&bytes).ok())
}
