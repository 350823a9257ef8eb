//! A disk in memory, for tests: of any size, holding only the pages that were written.

use std::collections::BTreeMap;
use std::io;
use std::sync::{PoisonError, RwLock};

use crate::disk::{Disk, ReadAt, WriteAt};
use crate::sector::SectorSize;

const PAGE: usize = 4096;

/// A sparse disk in memory. Bytes never written read as the fill byte.
pub struct MemoryDisk {
    size: u64,
    sector_size: Option<SectorSize>,
    fill: u8,
    pages: RwLock<BTreeMap<u64, Box<[u8; PAGE]>>>,
}

impl MemoryDisk {
    /// A disk of `size` zero bytes that says no sector size.
    pub fn new(size: u64) -> Self {
        Self { size, sector_size: None, fill: 0, pages: RwLock::default() }
    }

    /// A disk with the given bytes.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let disk = Self::new(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        // Writing inside the size of a memory disk can't fail.
        let _ = disk.write_at(0, bytes);
        disk
    }

    /// The same disk with every byte not yet written reading as `fill`.
    pub fn with_fill(mut self, fill: u8) -> Self {
        self.fill = fill;
        self
    }

    /// The same disk, saying that its sectors have this size.
    pub fn with_sector_size(mut self, sector_size: SectorSize) -> Self {
        self.sector_size = Some(sector_size);
        self
    }

    /// Visits the pieces of `length` bytes from `offset` page by page: page number, range in the page, range in the buffer.
    fn for_each_piece(
        &self,
        offset: u64,
        length: usize,
        mut visit: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>),
    ) -> io::Result<()> {
        let bytes = u64::try_from(length).map_err(io::Error::other)?;
        if offset.checked_add(bytes).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0_usize;
        while done < length {
            let position = offset.saturating_add(u64::try_from(done).map_err(io::Error::other)?);
            let in_page = usize::try_from(position & 4095).map_err(io::Error::other)?;
            let piece = PAGE.saturating_sub(in_page).min(length.saturating_sub(done));
            visit(position >> 12, in_page..in_page.saturating_add(piece), done..done.saturating_add(piece));
            done = done.saturating_add(piece);
        }
        Ok(())
    }
}

impl ReadAt for MemoryDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        self.for_each_piece(offset, buffer.len(), |page, in_page, in_buffer| {
            let Some(piece) = buffer.get_mut(in_buffer) else { return };
            match pages.get(&page).and_then(|page| page.get(in_page)) {
                Some(bytes) => piece.copy_from_slice(bytes),
                None => piece.fill(self.fill),
            }
        })
    }
}

impl WriteAt for MemoryDisk {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        self.for_each_piece(offset, data.len(), |page, in_page, in_data| {
            let page = pages.entry(page).or_insert_with(|| Box::new([self.fill; PAGE]));
            if let (Some(to), Some(from)) = (page.get_mut(in_page), data.get(in_data)) {
                to.copy_from_slice(from);
            }
        })
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn sector_size(&self) -> Option<SectorSize> {
        self.sector_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::read_vec;

    #[test]
    fn what_is_written_is_read_and_the_rest_is_the_fill_byte() {
        let disk = MemoryDisk::new(1 << 44).with_fill(0xA5);
        disk.write_at(4090, b"across the page").unwrap();
        assert_eq!(read_vec(&disk, 4088, 19).unwrap(), b"\xA5\xA5across the page\xA5\xA5");
    }

    #[test]
    fn nothing_is_read_or_written_past_the_end() {
        let disk = MemoryDisk::new(10);
        assert_eq!(disk.write_at(8, b"abc").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read_vec(&disk, 0, 11).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read_vec(&disk, u64::MAX, 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
