//! Disks that are open: block devices with direct I/O, regular files through the page cache.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use block::{Disk, DiskExtent, Extents, InDisk, ReadAt, SectorSize, WriteAt};
use rustix::fs::{FallocateFlags, OFlags, SeekFrom};

use crate::attached::is_write_protected;
use crate::error::{Error, Result};
use crate::protection::Writable;
use crate::{ioctl, usage};

/// A disk that is only read.
pub struct SourceDisk {
    open: OpenDisk,
}

/// A disk that is overwritten.
pub struct DestinationDisk {
    /// First, so that it is dropped first: the disk is read-only again before anybody else can open it.
    _writable: Option<Writable>,
    open: OpenDisk,
}

/// A disk through two descriptors: large aligned pieces go past the page cache, where the kernel can
/// do that, and odd pieces (a superblock of 1 KiB) through it.
///
/// A regular file is read through the page cache, where it often is already, and written past it: filling
/// the cache with what nobody reads again costs several times as much as the writing itself.
struct OpenDisk {
    path: PathBuf,
    buffered: File,
    direct: Option<File>,
    size: u64,
    sector_size: Option<SectorSize>,
    is_block_device: bool,
}

/// What a disk is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// To look at it, without keeping others from it.
    Look,
    /// To read it, exclusively.
    Read,
    /// To overwrite it, exclusively.
    Write,
}

impl SourceDisk {
    /// Opens a disk read-only, and exclusively where it is a block device: nobody else mounts or
    /// assembles it meanwhile.
    ///
    /// # Errors
    /// `InUse` where it is mounted or otherwise taken.
    pub fn open(path: &Path) -> Result<Self> {
        let open = OpenDisk::open(path, Access::Read)?;
        if !open.is_block_device {
            lock(path, &open.buffered, File::try_lock_shared)?;
        }
        Ok(Self { open })
    }

    /// Opens a disk read-only without keeping others from it: to look at what is attached, not to save it.
    ///
    /// # Errors
    /// Where it is no disk or can't be read.
    pub fn look(path: &Path) -> Result<Self> {
        Ok(Self { open: OpenDisk::open(path, Access::Look)? })
    }
}

impl DestinationDisk {
    /// Opens a disk for reading and writing, exclusively.
    ///
    /// # Errors
    /// `InUse` where it is mounted or otherwise taken, `ReadOnly` where the kernel protects it, `LoopOverDevice` where
    /// it is only another name of a block device.
    pub fn open(path: &Path) -> Result<Self> {
        let open = OpenDisk::open(path, Access::Write)?;
        // Only now that nobody else has it.
        let writable = Writable::lift(path)?;
        // A write-protected block device can be opened for writing; only the first write would fail.
        if is_write_protected(path) {
            return Err(Error::ReadOnly { path: path.into() });
        }
        if !open.is_block_device {
            lock(path, &open.buffered, File::try_lock)?;
        }
        Ok(Self { _writable: writable, open })
    }

    /// Lets the kernel read the partition table again. Regular files have none in the kernel: nothing is done.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn reread_partitions(&self) -> Result<()> {
        if !self.open.is_block_device {
            return Ok(());
        }
        ioctl::reread_partitions(&self.open.buffered)
            .map_err(|source| self.open.error("rereading the partition table of", source))
    }
}

fn lock(path: &Path, file: &File, try_lock: fn(&File) -> std::result::Result<(), std::fs::TryLockError>) -> Result<()> {
    try_lock(file).map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => Error::InUse { path: path.into(), by: "another session".into() },
        std::fs::TryLockError::Error(source) => Error::Io { path: path.into(), operation: "locking", source },
    })
}

impl OpenDisk {
    fn open(path: &Path, access: Access) -> Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::Write);
        let io_error = |operation, source: io::Error| match source.raw_os_error() {
            Some(2) => Error::NotFound { path: path.into() },
            Some(16) => Error::InUse { path: path.into(), by: usage::holders(path) },
            _ => Error::Io { path: path.into(), operation, source },
        };
        let file_type = std::fs::metadata(path).map_err(|source| io_error("opening", source))?.file_type();
        let is_block_device = file_type.is_block_device();
        if !is_block_device && !file_type.is_file() {
            return Err(Error::NotADisk { path: path.into() });
        }
        if is_block_device && usage::is_partition(path) {
            return Err(Error::Partition { path: path.into() });
        }
        // Opening it exclusively keeps nobody from what is behind it, and what is mounted from there is not seen.
        if access == Access::Write
            && let Some(device) = usage::device_behind_loop(path)
        {
            return Err(Error::LoopOverDevice { path: path.into(), device });
        }
        if access != Access::Look
            && let Some(device) = usage::loop_device_of(path)
        {
            return Err(Error::InUse { path: path.into(), by: device });
        }
        // Without O_CREAT the flag means something for block devices only.
        let is_exclusive = is_block_device && access != Access::Look;
        let exclusive = if is_exclusive { OFlags::EXCL } else { OFlags::empty() };
        let flags = |extra: OFlags| i32::try_from((exclusive | extra).bits()).unwrap_or_default();
        let buffered =
            options.custom_flags(flags(OFlags::empty())).open(path).map_err(|error| io_error("opening", error))?;
        if is_block_device {
            // A partition that was mounted has a cache of its own. What the kernel remembers of the whole disk may
            // be older: file systems would be read as they were, and blocks that were used since be missed.
            let forgotten = ioctl::forget_cache(&buffered);
            if access != Access::Look {
                forgotten.map_err(|error| io_error("flushing the cache of", error))?;
            }
        }
        // The second descriptor is not exclusive: the kernel would see it as another user.
        let direct_flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default();
        let is_direct = is_block_device || access == Access::Write;
        let direct = is_direct.then(|| options.custom_flags(direct_flags).open(path).ok()).flatten();
        let size =
            rustix::fs::seek(&buffered, SeekFrom::End(0)).map_err(|error| io_error("measuring", error.into()))?;
        let sector_size = is_block_device
            .then(|| rustix::fs::ioctl_blksszget(&buffered).ok().and_then(|bytes| SectorSize::new(bytes).ok()))
            .flatten();
        Ok(Self { path: path.into(), buffered, direct, size, sector_size, is_block_device })
    }

    fn error(&self, operation: &'static str, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), operation, source }
    }

    /// The descriptor for a piece of I/O.
    fn file_for(&self, offset: u64, memory: &[u8]) -> &File {
        // The file system under a regular file may ask for its block size. A device asks for its sector size, also for
        // the place in memory. Single sectors must not go through the page cache: it reads pages, and one bad sector
        // takes its neighbours with it.
        let sector = self.sector_size.unwrap_or(SectorSize::B4096);
        let aligned = sector.is_aligned(offset)
            && u64::try_from(memory.len()).is_ok_and(|length| length > 0 && sector.is_aligned(length))
            && usize::try_from(sector.bytes()).is_ok_and(|bytes| memory.as_ptr().align_offset(bytes) == 0);
        match &self.direct {
            Some(direct) if aligned => direct,
            _ => &self.buffered,
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.or_buffered(self.file_for(offset, buffer), |file| file.read_exact_at(buffer, offset))
    }

    /// Reads or writes with a descriptor, and with the buffered one where the direct one is refused: a driver may ask
    /// for more of the place in memory than its sectors tell, and that is no bad sector.
    fn or_buffered(&self, file: &File, mut transfer: impl FnMut(&File) -> io::Result<()>) -> io::Result<()> {
        match transfer(file) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && !std::ptr::eq(file, &self.buffered) => {
                transfer(&self.buffered)
            }
            other => other,
        }
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if end > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.or_buffered(self.file_for(offset, data), |file| file.write_all_at(data, offset))
    }

    fn write_zeros(&self, extent: DiskExtent) -> io::Result<()> {
        if extent.end() > self.size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.is_block_device {
            return ioctl::zero_out(&self.buffered, extent.start(), extent.length());
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.buffered, flags, extent.start(), extent.length())?)
    }

    fn data_extents(&self, extent: DiskExtent) -> io::Result<Extents<InDisk>> {
        let mut extents = Extents::new();
        if self.is_block_device {
            return Ok(extent.into());
        }
        let mut position = extent.start();
        while position < extent.end() {
            let start = match rustix::fs::seek(&self.buffered, SeekFrom::Data(position)) {
                Ok(start) => start,
                // No data up to the end of the file.
                Err(rustix::io::Errno::NXIO) => break,
                // The file system does not tell: everything may be data.
                Err(_) => return Ok(extent.into()),
            };
            let end = rustix::fs::seek(&self.buffered, SeekFrom::Hole(start))?;
            if end <= start {
                return Ok(extent.into());
            }
            extents.insert(DiskExtent::between(start.min(extent.end()), end.min(extent.end())));
            position = end;
        }
        Ok(extents)
    }

    fn sync(&self) -> io::Result<()> {
        self.buffered.sync_all()
    }
}

impl ReadAt for SourceDisk {
    fn size(&self) -> u64 {
        self.open.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.open.read_at(offset, buffer)
    }
}

impl Disk for SourceDisk {
    fn sector_size(&self) -> Option<SectorSize> {
        self.open.sector_size
    }

    fn data_extents(&self, extent: DiskExtent) -> io::Result<Extents<InDisk>> {
        self.open.data_extents(extent)
    }
}

impl ReadAt for DestinationDisk {
    fn size(&self) -> u64 {
        self.open.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.open.read_at(offset, buffer)
    }
}

impl Disk for DestinationDisk {
    fn sector_size(&self) -> Option<SectorSize> {
        self.open.sector_size
    }

    fn data_extents(&self, extent: DiskExtent) -> io::Result<Extents<InDisk>> {
        self.open.data_extents(extent)
    }
}

impl WriteAt for DestinationDisk {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.open.write_at(offset, data)
    }

    fn write_zeros(&self, extent: DiskExtent) -> io::Result<()> {
        if extent.is_empty() {
            return Ok(());
        }
        match self.open.write_zeros(extent) {
            // The file system can't punch holes, the device knows no such command, or the piece is odd: send zeros.
            Err(error) if matches!(error.raw_os_error(), Some(22 | 25 | 95)) => {
                block::write_zeros_by_hand(extent, |offset, zeros| self.open.write_at(offset, zeros))
            }
            other => other,
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.open.sync()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use block::read_vec;

    use super::*;

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn a_file_is_a_disk_and_its_holes_are_known() {
        let file = file(&[7; 8192]);
        file.as_file().set_len(1 << 20).unwrap();
        let disk = SourceDisk::open(file.path()).unwrap();
        assert_eq!((disk.size(), disk.sector_size()), (1 << 20, None));
        let all = DiskExtent::between(0, 1 << 20);
        assert_eq!(disk.data_extents(all).unwrap(), DiskExtent::between(0, 8192).into());
        assert!(disk.data_extents(DiskExtent::between(8192, 9000)).unwrap().is_empty());
    }

    #[test]
    fn single_sectors_of_a_device_do_not_go_through_the_page_cache() {
        let file = file(&[7; 8192]);
        let mut open = OpenDisk::open(file.path(), Access::Read).unwrap();
        open.direct = Some(File::open(file.path()).unwrap());
        open.sector_size = Some(SectorSize::B512);
        let memory = block::AlignedBuffer::new(8192);
        let is_direct = |open: &OpenDisk, offset: u64, memory: &[u8]| {
            std::ptr::eq(open.file_for(offset, memory), open.direct.as_ref().unwrap())
        };
        assert!(is_direct(&open, 512, &memory[..512]) && is_direct(&open, 3584, &memory[512..1024]));
        for (offset, start, end) in [(511, 0, 512), (512, 0, 511), (512, 0, 0), (512, 1, 513)] {
            assert!(!is_direct(&open, offset, &memory[start..end]), "{offset}, {start} to {end}");
        }
        open.sector_size = Some(SectorSize::B4096);
        assert!(is_direct(&open, 4096, &memory[4096..]) && !is_direct(&open, 4096, &memory[512..4608]));
    }

    #[test]
    fn a_destination_never_grows_and_zeros_are_zeros() {
        let file = file(&[7; 8192]);
        let disk = DestinationDisk::open(file.path()).unwrap();
        assert_eq!(disk.write_at(8191, b"ab").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        disk.write_zeros(DiskExtent::between(100, 5000)).unwrap();
        disk.sync().unwrap();
        let bytes = read_vec(&disk, 0, 8192).unwrap();
        assert!(bytes[..100].iter().chain(&bytes[5000..]).all(|byte| *byte == 7));
        assert!(bytes[100..5000].iter().all(|byte| *byte == 0));
        assert_eq!(file.as_file().metadata().unwrap().len(), 8192);
    }

    #[test]
    fn a_disk_is_the_destination_of_one_session_only() {
        let file = file(&[0; 512]);
        let _first = DestinationDisk::open(file.path()).unwrap();
        assert!(matches!(DestinationDisk::open(file.path()), Err(Error::InUse { .. })));
        assert!(matches!(SourceDisk::open(file.path()), Err(Error::InUse { .. })));
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        assert!(matches!(SourceDisk::open(Path::new("/dev/null")), Err(Error::NotADisk { .. })));
        assert!(matches!(SourceDisk::open(Path::new("/absent")), Err(Error::NotFound { .. })));
    }
}
