//! A region of a disk, seen as if it were alone.

use std::io;

use crate::disk::ReadAt;
use crate::extent::{DiskExtent, RegionExtent};

/// Reads the bytes of one extent of a disk with offsets that start at 0.
pub struct Window<'a> {
    disk: &'a dyn ReadAt,
    extent: DiskExtent,
}

impl<'a> Window<'a> {
    /// The part of `disk` at `extent`. Reading where `extent` passes the end of the disk fails.
    pub fn new(disk: &'a dyn ReadAt, extent: DiskExtent) -> Self {
        Self { disk, extent }
    }
}

impl ReadAt for Window<'_> {
    fn size(&self) -> u64 {
        self.extent.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(buffer.len()).map_err(io::Error::other)?;
        let place = RegionExtent::new(offset, length)
            .ok()
            .and_then(|part| self.extent.locate(&part))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.disk.read_at(place.start(), buffer)
    }
}
