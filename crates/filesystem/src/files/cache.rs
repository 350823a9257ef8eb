//! Blocks of a region that were read before. Directories and registries are read in small parts, again and again, and a
//! region of an image decodes a whole chunk for each.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use block::ReadAt;

const BLOCK: u64 = 64 << 10;
/// 8 MiB.
const BLOCKS_LIMIT: usize = 128;

/// A region, through the blocks that were read last.
pub(crate) struct Cache<'a> {
    region: &'a dyn ReadAt,
    blocks: Mutex<HashMap<u64, Vec<u8>>>,
}

impl<'a> Cache<'a> {
    pub(crate) fn new(region: &'a dyn ReadAt) -> Self {
        Self { region, blocks: Mutex::new(HashMap::new()) }
    }
}

impl ReadAt for Cache<'_> {
    fn size(&self) -> u64 {
        self.region.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if offset.checked_add(length).is_none_or(|end| end > self.size()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut position, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let start = position.saturating_sub(position % BLOCK);
            if !blocks.contains_key(&start) {
                let size = BLOCK.min(self.size().saturating_sub(start));
                let bytes = block::read_vec(self.region, start, usize::try_from(size).unwrap_or_default())?;
                if blocks.len() >= BLOCKS_LIMIT {
                    blocks.clear();
                }
                blocks.insert(start, bytes);
            }
            let at = usize::try_from(position.saturating_sub(start)).unwrap_or(usize::MAX);
            let bytes = blocks.get(&start).and_then(|bytes| bytes.get(at..)).unwrap_or_default();
            let count = bytes.len().min(rest.len());
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = std::mem::take(&mut rest).split_at_mut(count);
            now.copy_from_slice(bytes.get(..count).unwrap_or_default());
            rest = later;
            position = position.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}
