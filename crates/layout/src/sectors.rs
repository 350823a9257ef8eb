//! Reading whole sectors of a disk, with bad sectors told from a disk that fails.

use block::{ReadAt, SectorSize, is_unreadable, read_vec};

use crate::Error;

/// The sectors of a disk, counted as its table counts them.
#[derive(Clone, Copy)]
pub(crate) struct Sectors<'a> {
    disk: &'a dyn ReadAt,
    pub size: SectorSize,
}

impl<'a> Sectors<'a> {
    pub fn new(disk: &'a dyn ReadAt, size: SectorSize) -> Self {
        Self { disk, size }
    }

    /// Number of whole sectors on the disk.
    pub fn count(&self) -> u64 {
        self.size.lba_of(self.disk.size())
    }

    /// The byte offset of a sector; past the end of everything where it can't be told.
    pub fn offset(&self, lba: u64) -> u64 {
        self.size.offset_of(lba).unwrap_or(u64::MAX)
    }

    /// Number of sectors that hold `bytes` bytes.
    pub fn holding(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.size.bytes())
    }

    /// `count` sectors from `lba`; `None` where they lie past the end or the medium can't be read there.
    /// The caller bounds `count`: the memory is allocated at once.
    pub fn read(&self, what: &'static str, lba: u64, count: u64) -> Result<Option<Vec<u8>>, Error> {
        if lba.checked_add(count).is_none_or(|end| end > self.count()) {
            return Ok(None);
        }
        let offset = self.offset(lba);
        let Ok(length) = usize::try_from(self.offset(count)) else {
            return Ok(None);
        };
        match read_vec(self.disk, offset, length) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if is_unreadable(&error) => Ok(None),
            Err(source) => Err(Error::Io { what, offset, source }),
        }
    }
}
