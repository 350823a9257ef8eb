//! A chain of clusters, as the table links them.
//!
//! Source: Microsoft "exFAT file system specification", section 4.1 (FAT). The first table is read; where there are two,
//! both are saved, and only TexFAT, which no system of today mounts, uses the second.

use block::ReadAt;

use super::boot_sector::BootSector;
use crate::Error;

const END_OF_CHAIN: u32 = u32::MAX;
/// Bytes of the table that are read at once: neighbours mostly follow each other.
const WINDOW_BYTES: u64 = 4096;

/// A walk along a chain, cluster by cluster.
pub(super) struct Chain<'a> {
    region: &'a dyn ReadAt,
    boot: &'a BootSector,
    next: Option<u32>,
    /// Clusters that the chain may still have.
    left: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Chain<'a> {
    /// The chain from `cluster`, of at most `limit` bytes.
    pub(super) fn new(region: &'a dyn ReadAt, boot: &'a BootSector, cluster: u32, limit: u64) -> Self {
        let left = limit.div_ceil(boot.cluster_size).min(u64::from(boot.clusters));
        Self { region, boot, next: Some(cluster), left, window: Vec::new(), window_start: 0 }
    }

    /// The next cluster, counted from 0 for cluster 2.
    ///
    /// # Errors
    /// `Corrupt` where the chain leaves the volume or is longer than it may be.
    pub(super) fn next(&mut self) -> Result<Option<u64>, Error> {
        let Some(cluster) = self.next else {
            return Ok(None);
        };
        let table = self.boot.tables.first().copied().unwrap_or_default();
        let position = u64::from(cluster).saturating_mul(4).saturating_add(table);
        let index = cluster.checked_sub(2).filter(|index| *index < self.boot.clusters);
        let Some(index) = index else {
            let expected = format!("a chain inside {} clusters", self.boot.clusters);
            return Err(Error::corrupt(table, expected, format!("cluster {cluster:#x}")));
        };
        let Some(left) = self.left.checked_sub(1) else {
            return Err(Error::corrupt(position, "a chain that ends with its data", format!("cluster {cluster}")));
        };
        self.left = left;
        self.next = Some(self.entry(position)?).filter(|entry| *entry != END_OF_CHAIN);
        Ok(Some(u64::from(index)))
    }

    fn entry(&mut self, position: u64) -> Result<u32, Error> {
        let start = position & !WINDOW_BYTES.wrapping_sub(1);
        if self.window.is_empty() || start != self.window_start {
            let length = self.region.size().saturating_sub(start).min(WINDOW_BYTES);
            self.window = block::read_vec(self.region, start, usize::try_from(length).unwrap_or_default())?;
            self.window_start = start;
        }
        let at = usize::try_from(position.saturating_sub(start)).unwrap_or(usize::MAX);
        let bytes = self.window.get(at..).and_then(|rest| rest.first_chunk::<4>());
        let bytes = bytes.ok_or_else(|| Error::corrupt(position, "an entry of the table", "the end of the region"))?;
        Ok(u32::from_le_bytes(*bytes))
    }
}
