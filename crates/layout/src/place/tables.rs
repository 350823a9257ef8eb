//! The table sectors of an image, read as if they were the disk that they come from.

use std::io;

use block::{DiskExtent, ReadAt};

use crate::Layout;

/// A disk that holds the tables of an image, and zeros elsewhere.
pub(super) struct TableDisk<'a>(pub &'a Layout);

impl ReadAt for TableDisk<'_> {
    fn size(&self) -> u64 {
        self.0.disk_size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(buffer.len()).map_err(io::Error::other)?;
        let wanted = DiskExtent::new(offset, length).map_err(io::Error::other)?;
        if wanted.end() > self.size() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.fill(0);
        for table in &self.0.table_sectors {
            let (Some(to), Some(from)) = (wanted.within(&table.extent), table.extent.within(&wanted)) else { continue };
            let range = |start: u64, end: u64| Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?);
            let to = range(to.start(), to.end()).and_then(|range| buffer.get_mut(range));
            let from = range(from.start(), from.end()).and_then(|range| table.bytes.get(range));
            if let (Some(to), Some(from)) = (to, from) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }
}
