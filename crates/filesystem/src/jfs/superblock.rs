//! The superblock.
//!
//! Source: Linux 6.1 `fs/jfs/jfs_superblock.h`, `jfs_filsys.h`, `super.c`; util-linux `libblkid/src/superblocks/jfs.c`
//! for what counts as recognised.

use block::ReadAt;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::Error;

/// Where the superblock lies, in bytes.
pub const POSITION: u64 = 0x8000;
const MAGIC: [u8; 4] = *b"JFS1";
const LATEST_VERSION: u32 = 2;
const SMALLEST_BLOCK: u32 = 512;
const LARGEST_BLOCK: u32 = 4096;

/// `s_state` of a file system that was unmounted.
const CLEAN: u32 = 0;
/// Bits of `s_flag`.
const INLINE_LOG: u32 = 0x800;

/// `struct jfs_superblock`, up to the label.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Superblock {
    s_magic: [u8; 4],
    s_version: U32,
    s_size: U64,
    pub s_bsize: U32,
    pub s_l2bsize: U16,
    s_l2bfactor: U16,
    s_pbsize: U32,
    s_l2pbsize: U16,
    pad: U16,
    s_agsize: U32,
    s_flag: U32,
    s_state: U32,
    s_compress: U32,
    s_ait2: [u8; 8],
    s_aim2: [u8; 8],
    s_logdev: U32,
    s_logserial: U32,
    s_logpxd: [u8; 8],
    s_fsckpxd: [u8; 8],
    s_time: [u8; 8],
    s_fsckloglen: U32,
    s_fscklog: u8,
    s_fpack: [u8; 11],
    s_xsize: U64,
    s_xfsckpxd: [u8; 8],
    s_xlogpxd: [u8; 8],
    pub s_uuid: [u8; 16],
    pub s_label: [u8; 16],
}

/// Finds the superblock.
pub fn read(region: &dyn ReadAt) -> Result<Option<Superblock>, Error> {
    let mut bytes = [0; size_of::<Superblock>()];
    if region.size() < POSITION.saturating_add(4096) {
        return Ok(None);
    }
    region.read_at(POSITION, &mut bytes)?;
    let superblock = Superblock::read_from_bytes(&bytes).ok();
    Ok(superblock.filter(Superblock::makes_sense))
}

impl Superblock {
    fn makes_sense(&self) -> bool {
        let is_power = |size: U32, log: U16| 1_u32.checked_shl(log.get().into()) == Some(size.get());
        self.s_magic == MAGIC
            && is_power(self.s_bsize, self.s_l2bsize)
            && is_power(self.s_pbsize, self.s_l2pbsize)
            && (SMALLEST_BLOCK..=LARGEST_BLOCK).contains(&self.s_bsize.get())
            && self.s_l2bsize.get().checked_sub(self.s_l2pbsize.get()) == Some(self.s_l2bfactor.get())
    }

    /// Bytes that the block map divides. Log and work space of fsck lie behind them.
    pub fn size(&self) -> u64 {
        self.s_size.get().saturating_mul(self.s_pbsize.get().into())
    }

    /// Blocks that the block map divides.
    pub fn blocks(&self) -> u64 {
        self.size().checked_div(self.s_bsize.get().into()).unwrap_or_default()
    }

    /// Fails where the block map may lag behind, or is not understood.
    pub fn check_clean(&self) -> Result<(), Error> {
        let (version, state, compress) = (self.s_version.get(), self.s_state.get(), self.s_compress.get());
        if !(1..=LATEST_VERSION).contains(&version) || compress != 0 {
            return Err(Error::Unsupported(format!("version {version}, compression {compress}")));
        }
        if state != CLEAN {
            return Err(Error::NotClean(format!("not unmounted: state {state:x}")));
        }
        Ok(())
    }

    /// Whether the log lies on another device.
    pub fn has_external_log(&self) -> bool {
        self.s_flag.get() & INLINE_LOG == 0
    }
}
