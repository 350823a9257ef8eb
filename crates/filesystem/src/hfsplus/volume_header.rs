//! The volume header, and the wrapper of HFS that may lie around a volume.
//!
//! Source: Apple Technical Note TN1150, "HFS Plus Volume Format": "Volume Header", "HFS Wrapper", "Fork Data Structure".

use block::ReadAt;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::Error;

/// Where the header lies, in bytes from the start of the volume.
pub const POSITION: u64 = 1024;
/// Length of the header, and how far before the end of the volume its copy starts.
pub const LENGTH: u64 = 512;
pub const ALTERNATE_FROM_END: u64 = 1024;

const WRAPPER: [u8; 2] = *b"BD";
/// Offsets in the master directory block of HFS.
const EMBEDDED_SIGNATURE: usize = 124;
const SMALLEST_BLOCK: u32 = 512;
/// TN1150 knows blocks up to 2^31; no implementation makes any above 1 MiB.
const LARGEST_BLOCK: u32 = 1 << 20;

/// `HFSPlusExtentDescriptor`.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ExtentDescriptor {
    pub start_block: U32,
    pub block_count: U32,
}

/// `HFSPlusForkData`.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ForkData {
    pub logical_size: U64,
    clump_size: U32,
    pub total_blocks: U32,
    pub extents: [ExtentDescriptor; 8],
}

/// `HFSPlusVolumeHeader`.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct VolumeHeader {
    pub signature: [u8; 2],
    pub version: U16,
    pub attributes: U32,
    last_mounted_version: [u8; 4],
    pub journal_info_block: U32,
    dates: [U32; 4],
    file_count: U32,
    folder_count: U32,
    pub block_size: U32,
    pub total_blocks: U32,
    pub free_blocks: U32,
    next_allocation: U32,
    rsrc_clump_size: U32,
    data_clump_size: U32,
    next_catalog_id: U32,
    write_count: U32,
    encodings_bitmap: U64,
    finder_info: [u8; 24],
    /// The last eight bytes of the finder information.
    pub volume_id: [u8; 8],
    pub allocation_file: ForkData,
    pub extents_file: ForkData,
    pub catalog_file: ForkData,
    pub attributes_file: ForkData,
    pub startup_file: ForkData,
}

/// Bits of `attributes`.
pub mod attribute {
    pub const UNMOUNTED: u32 = 1 << 8;
    pub const BOOT_VOLUME_INCONSISTENT: u32 = 1 << 11;
    pub const JOURNALED: u32 = 1 << 13;
}

/// A volume, and whether it lies in a wrapper.
pub enum Volume {
    Plain(Box<VolumeHeader>),
    Wrapped,
}

impl Volume {
    /// Finds a volume at the start of the region.
    pub fn read(region: &dyn ReadAt) -> Result<Option<Self>, Error> {
        if region.size() < POSITION.saturating_add(ALTERNATE_FROM_END) {
            return Ok(None);
        }
        let mut bytes = [0; size_of::<VolumeHeader>()];
        region.read_at(POSITION, &mut bytes)?;
        if bytes.starts_with(&WRAPPER) {
            let embedded = bytes.get(EMBEDDED_SIGNATURE..).unwrap_or_default();
            let is_wrapped = embedded.starts_with(b"H+") || embedded.starts_with(b"HX");
            return Ok(is_wrapped.then_some(Self::Wrapped));
        }
        let Ok(header) = VolumeHeader::read_from_bytes(&bytes) else { return Ok(None) };
        Ok(header.makes_sense().then_some(Self::Plain(Box::new(header))))
    }
}

impl VolumeHeader {
    fn makes_sense(&self) -> bool {
        let versions: &[u16] = match &self.signature {
            b"H+" => &[4],
            b"HX" => &[4, 5],
            _ => return false,
        };
        let block_size = self.block_size.get();
        versions.contains(&self.version.get())
            && block_size.is_power_of_two()
            && (SMALLEST_BLOCK..=LARGEST_BLOCK).contains(&block_size)
            && self.total_blocks.get() > 0
    }

    /// Bytes that the allocation file divides.
    pub fn size(&self) -> u64 {
        u64::from(self.total_blocks.get()).saturating_mul(self.block_size.get().into())
    }

    /// Whether a bit of `attributes` is set.
    pub fn has(&self, attribute: u32) -> bool {
        self.attributes.get() & attribute != 0
    }
}
