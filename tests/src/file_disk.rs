//! A disk image in a file, read with ordinary buffered reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::{Disk, ReadAt, SectorSize};

/// A file as a disk.
pub struct FileDisk {
    file: File,
    path: PathBuf,
    size: u64,
    sector_size: Option<SectorSize>,
}

impl FileDisk {
    /// Opens the image at `path` for reading.
    ///
    /// # Panics
    /// Where it can't be opened.
    pub fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let size = file.metadata().unwrap().len();
        Self { file, path: path.to_owned(), size, sector_size: None }
    }

    /// Makes a new sparse file of `size` bytes and opens it.
    ///
    /// # Panics
    /// Where it can't be made.
    pub fn create(path: &Path, size: u64) -> Self {
        File::create(path).unwrap().set_len(size).unwrap();
        Self::open(path)
    }

    /// The same disk, saying that its sectors have this size.
    pub fn with_sector_size(mut self, sector_size: SectorSize) -> Self {
        self.sector_size = Some(sector_size);
        self
    }

    /// Where the image is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl ReadAt for FileDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

impl Disk for FileDisk {
    fn sector_size(&self) -> Option<SectorSize> {
        self.sector_size
    }
}
