//! Words for block storage, used by every other crate: where bytes are ([`Extent`], [`Extents`]),
//! how a disk is divided ([`SectorSize`]), how bytes are read and written ([`ReadAt`], [`WriteAt`],
//! [`Disk`]), and disks for tests that live in memory or fail on command.
//!
//! This crate opens no file and starts no thread.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod buffer;
mod disk;
mod extent;
mod extents;
mod faulty;
mod memory;
mod sector;
mod window;

pub use buffer::{AlignedBuffer, BUFFER_ALIGNMENT, is_zero};
pub use disk::{Disk, ReadAt, WriteAt, is_unreadable, read_vec, write_zeros_by_hand};
pub use extent::{DiskExtent, Extent, ExtentError, InDisk, InRegion, RegionExtent, Space};
pub use extents::Extents;
pub use faulty::{Fault, FaultyDisk, Operation};
pub use memory::MemoryDisk;
pub use sector::{SectorSize, SectorSizeError};
pub use window::Window;
