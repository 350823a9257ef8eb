//! How bytes of a disk, a region or a file are read and written.

use std::io;

use crate::buffer::AlignedBuffer;
use crate::extent::DiskExtent;
use crate::extents::Extents;
use crate::sector::SectorSize;

/// Bytes that can be read at any offset, from several threads at once.
pub trait ReadAt: Send + Sync {
    /// Number of bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` with the bytes from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` where the bytes pass the end; otherwise what the device says. After an error
    /// the content of `buffer` is unspecified. [`is_unreadable`] tells a bad sector from other errors.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Bytes that can also be overwritten.
pub trait WriteAt: ReadAt {
    /// Writes all of `data` from `offset`. Never grows the disk.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Makes the bytes of `extent` read as zeros, without sending them where the device can do that.
    fn write_zeros(&self, extent: DiskExtent) -> io::Result<()> {
        write_zeros_by_hand(extent, |offset, zeros| self.write_at(offset, zeros))
    }

    /// Returns when everything written before is on stable storage.
    fn sync(&self) -> io::Result<()>;
}

/// A whole disk that is read.
pub trait Disk: ReadAt {
    /// The logical sector size, where the device says one. A regular file has none.
    fn sector_size(&self) -> Option<SectorSize>;

    /// The parts of `extent` that may hold something else than zeros. A sparse file knows its holes;
    /// a device that does not know answers with all of `extent`.
    fn data_extents(&self, extent: DiskExtent) -> io::Result<Extents<crate::InDisk>> {
        Ok(Extents::from(extent))
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }
}

impl<T: WriteAt + ?Sized> WriteAt for &T {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        (**self).write_at(offset, data)
    }
    fn write_zeros(&self, extent: DiskExtent) -> io::Result<()> {
        (**self).write_zeros(extent)
    }
    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }
}

impl<T: Disk + ?Sized> Disk for &T {
    fn sector_size(&self) -> Option<SectorSize> {
        (**self).sector_size()
    }
    fn data_extents(&self, extent: DiskExtent) -> io::Result<Extents<crate::InDisk>> {
        (**self).data_extents(extent)
    }
}

/// Writes zeros piece by piece, for devices that have no quicker way.
pub fn write_zeros_by_hand(
    extent: DiskExtent,
    mut write_at: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let zeros = AlignedBuffer::new(1 << 20);
    let mut position = extent.start();
    while position < extent.end() {
        let length = extent.end().saturating_sub(position).min(1 << 20);
        let part = usize::try_from(length).ok().and_then(|length| zeros.get(..length)).unwrap_or(&zeros);
        write_at(position, part)?;
        position = position.saturating_add(length);
    }
    Ok(())
}

/// Reads `length` bytes from `offset`. The caller bounds `length`: it is allocated at once.
pub fn read_vec(source: &dyn ReadAt, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    source.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// Whether the error means that these bytes of the medium can't be read while others may be.
///
/// EIO (bad sector), EILSEQ (NVMe and SCSI protection information or DIF check), ENODATA (`BLK_STS_MEDIUM`,
/// "critical medium error"), EREMOTEIO (target error): see the Linux kernel's `blk_errors` in block/blk-core.c.
pub fn is_unreadable(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    const ENODATA: i32 = 61;
    const EILSEQ: i32 = 84;
    const EREMOTEIO: i32 = 121;
    matches!(error.raw_os_error(), Some(EIO | ENODATA | EILSEQ | EREMOTEIO))
}
