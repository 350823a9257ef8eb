//! The blocks of a file system, as they are on the disk or as they will be once its journal is replayed.

use block::{ReadAt, read_vec};

use super::journal::Log;
use super::superblock::Superblock;
use crate::Error;

/// Reads blocks, with those of a log in the place of those on the disk.
#[derive(Clone, Copy)]
pub struct View<'a> {
    region: &'a dyn ReadAt,
    block_size: u32,
    log: Option<&'a Log>,
}

impl<'a> View<'a> {
    /// The blocks as they are on the disk.
    pub fn of_disk(region: &'a dyn ReadAt, superblock: &Superblock) -> Self {
        Self { region, block_size: superblock.block_size, log: None }
    }

    /// The blocks as they will be when `log` has been replayed.
    pub fn with_log(self, log: &'a Log) -> Self {
        Self { log: Some(log), ..self }
    }

    /// Reads `count` blocks from block `first`. The caller bounds `count`: the memory is allocated at once.
    pub fn read_blocks(&self, first: u64, count: u64) -> Result<Vec<u8>, Error> {
        let size = u64::from(self.block_size);
        let offset = first.saturating_mul(size);
        let length = count.saturating_mul(size);
        if offset.checked_add(length).is_none_or(|end| end > self.region.size()) {
            let actual = format!("blocks {first}+{count} in a region of {} bytes", self.region.size());
            return Err(Error::corrupt(offset, "blocks inside the region", actual));
        }
        let mut bytes = read_vec(self.region, offset, usize::try_from(length).unwrap_or(usize::MAX))?;
        if let Some(log) = self.log {
            log.replay_onto(self.region, first, &mut bytes)?;
        }
        Ok(bytes)
    }
}
