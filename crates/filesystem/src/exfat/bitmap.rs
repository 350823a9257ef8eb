//! The allocation bitmap: one bit a cluster, lowest bit first, 1 = in use.
//!
//! Source: Microsoft "exFAT file system specification", section 7.1.5.

use block::{ReadAt, RegionExtent, read_vec};

use super::boot_sector::BootSector;
use super::chain::Chain;
use super::directory::SystemFile;
use crate::{Error, UsedBytes};

/// Bytes of the bitmap that are read at once.
const WINDOW_BYTES: u64 = 1 << 20;

/// Adds the clusters that the bitmap calls used. Returns the clusters of the bitmap itself.
///
/// # Errors
/// `Corrupt` where it is shorter than it must be, or its chain ends too early.
pub(super) fn add_used(
    region: &dyn ReadAt,
    boot: &BootSector,
    bitmap: &SystemFile,
    used: &mut UsedBytes,
) -> Result<Vec<u64>, Error> {
    let needed = u64::from(boot.clusters).div_ceil(8);
    if bitmap.length < needed {
        let expected = format!("an allocation bitmap of {needed} bytes for {} clusters", boot.clusters);
        return Err(Error::corrupt(bitmap.position, expected, format!("{} bytes", bitmap.length)));
    }
    let mut runs = Runs { boot, used, next: 0, start: None };
    let mut own = Vec::new();
    let mut left = needed;
    let mut chain = Chain::new(region, boot, bitmap.cluster, bitmap.length);
    while left > 0 {
        let Some(index) = chain.next()? else {
            let expected = format!("a chain of {needed} bytes");
            return Err(Error::corrupt(bitmap.position, expected, format!("its end {left} bytes before")));
        };
        own.push(index);
        let cluster = boot.cluster_extent(index, 1);
        let end = cluster.end().min(cluster.start().saturating_add(left));
        runs.add_cluster(region, RegionExtent::between(cluster.start(), end))?;
        left = left.saturating_sub(boot.cluster_size);
    }
    runs.finish();
    Ok(own)
}

/// Turns bits into runs of clusters.
struct Runs<'a> {
    boot: &'a BootSector,
    used: &'a mut UsedBytes,
    /// The cluster of the next bit, counted from 0.
    next: u64,
    /// Where the run of used clusters began that the last bit is part of.
    start: Option<u64>,
}

impl Runs<'_> {
    fn add_cluster(&mut self, region: &dyn ReadAt, extent: RegionExtent) -> Result<(), Error> {
        let mut position = extent.start();
        while position < extent.end() {
            let length = WINDOW_BYTES.min(extent.end().saturating_sub(position));
            let window = read_vec(region, position, usize::try_from(length).unwrap_or_default())?;
            window.iter().for_each(|byte| self.add_byte(*byte));
            position = position.saturating_add(length);
        }
        Ok(())
    }

    fn add_byte(&mut self, byte: u8) {
        // Most bytes go on with what was before them.
        if (byte == 0 && self.start.is_none()) || (byte == 0xFF && self.start.is_some()) {
            self.next = self.next.saturating_add(8);
            return;
        }
        for bit in 0..8_u8 {
            match (byte.checked_shr(u32::from(bit)).unwrap_or(0) & 1 == 1, self.start) {
                (true, None) => self.start = Some(self.next),
                (false, Some(_)) => self.end_run(),
                _ => {}
            }
            self.next = self.next.saturating_add(1);
        }
    }

    fn end_run(&mut self) {
        if let Some(start) = self.start.take() {
            // The last byte may have bits for clusters that do not exist.
            let end = self.next.min(u64::from(self.boot.clusters));
            self.used.add(self.boot.cluster_extent(start, end.saturating_sub(start)));
        }
    }

    fn finish(&mut self) {
        self.end_run();
    }
}
