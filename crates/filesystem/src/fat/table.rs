//! The file allocation table: one entry a cluster, 0 = free. All copies are read; a cluster is free
//! only where all of them say so.
//!
//! Source: Microsoft "FAT32 File System Specification" 1.03, sections "FAT Data Structure".

use block::ReadAt;

use crate::fat::boot_sector::{BootSector, Width};
use crate::{Error, UsedBytes};

/// Bytes of one table that are read at once: whole entries of every width.
const WINDOW_BYTES: usize = 3 << 17;
/// Entries 0 and 1 belong to no cluster.
const FIRST_CLUSTER: u64 = 2;

/// What the tables said besides which clusters are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Clusters that are marked as bad in any table.
    pub bad_clusters: u64,
    /// Clusters that one table has and another has not the same entry for.
    pub different_entries: u64,
    /// Entry 1 of the first table, whose upper bits tell the state.
    pub state: u32,
}

/// Adds all clusters to `used` that are not free in every table.
///
/// # Errors
/// `Corrupt` where the tables are too small for the clusters.
pub fn add_used(region: &dyn ReadAt, boot: &BootSector, used: &mut UsedBytes) -> Result<Summary, Error> {
    let entries = boot.clusters.saturating_add(FIRST_CLUSTER);
    let needed = entries.saturating_mul(boot.width.bits()).div_ceil(8);
    if needed > boot.table_size {
        return Err(Error::corrupt(
            boot.tables_start,
            format!("tables of at least {needed} bytes for {} clusters", boot.clusters),
            format!("{} bytes", boot.table_size),
        ));
    }
    let mut summary = Summary::default();
    let mut windows = vec![vec![0; WINDOW_BYTES]; usize::from(boot.tables)];
    let mut start = None;
    let mut entry = 0_u64;
    let mut offset = 0_u64;
    while offset < needed {
        let length = usize::try_from(needed.saturating_sub(offset)).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        read_windows(region, boot, offset, length, &mut windows)?;
        let count = entries_in(length, boot.width).min(entries.saturating_sub(entry));
        for index in 0..usize::try_from(count).unwrap_or(usize::MAX) {
            let is_used = visit(&windows, index, entry, boot.width, &mut summary);
            match (is_used, start) {
                (true, None) => start = Some(entry),
                (false, Some(first)) => {
                    add_clusters(boot, used, first, entry);
                    start = None;
                }
                _ => {}
            }
            entry = entry.saturating_add(1);
        }
        offset = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    if let Some(first) = start {
        add_clusters(boot, used, first, entry);
    }
    Ok(summary)
}

fn read_windows(
    region: &dyn ReadAt,
    boot: &BootSector,
    offset: u64,
    length: usize,
    windows: &mut [Vec<u8>],
) -> Result<(), Error> {
    let mut table = boot.tables_start;
    for window in windows {
        let part = window.get_mut(..length).unwrap_or_default();
        region.read_at(table.saturating_add(offset), part)?;
        table = table.saturating_add(boot.table_size);
    }
    Ok(())
}

/// Whether entry `index` of the windows, which is `entry` of the tables, is used in any of them.
fn visit(windows: &[Vec<u8>], index: usize, entry: u64, width: Width, summary: &mut Summary) -> bool {
    let mut values = windows.iter().map(|window| entry_at(window, index, width));
    let first = values.next().unwrap_or(0);
    let (mut is_used, mut is_bad, mut differs) = (first != 0, first == width.bad(), false);
    for value in values {
        is_used |= value != 0;
        is_bad |= value == width.bad();
        differs |= value != first;
    }
    if entry == 1 {
        summary.state = first;
    }
    if entry < FIRST_CLUSTER {
        return false;
    }
    summary.bad_clusters = summary.bad_clusters.saturating_add(u64::from(is_bad));
    summary.different_entries = summary.different_entries.saturating_add(u64::from(differs));
    is_used
}

fn add_clusters(boot: &BootSector, used: &mut UsedBytes, first: u64, end: u64) {
    let index = first.saturating_sub(FIRST_CLUSTER);
    used.add(boot.cluster_extent(index, end.saturating_sub(first)));
}

fn entries_in(bytes: usize, width: Width) -> u64 {
    let bits = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(8);
    bits.checked_div(width.bits()).unwrap_or(0)
}

/// Entry `index` of a table that starts with `window`; 0 past its end.
pub fn entry_at(window: &[u8], index: usize, width: Width) -> u32 {
    let byte = |at: usize| u32::from(window.get(at).copied().unwrap_or(0));
    let bytes = |at: usize| byte(at) | byte(at.saturating_add(1)) << 8;
    let value = match width {
        Width::Fat12 => {
            let pair = bytes(index.saturating_add(index / 2));
            if index.is_multiple_of(2) { pair } else { pair >> 4 }
        }
        Width::Fat16 => bytes(index.saturating_mul(2)),
        Width::Fat32 => {
            let at = index.saturating_mul(4);
            bytes(at) | bytes(at.saturating_add(2)) << 16
        }
    };
    value & width.mask()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_12_bits_share_bytes() {
        let window = [0xF8, 0xFF, 0xFF, 0x03, 0x40, 0x00, 0xFF, 0x7F, 0xFF];
        let entries: Vec<u32> = (0..6).map(|index| entry_at(&window, index, Width::Fat12)).collect();
        assert_eq!(entries, [0xFF8, 0xFFF, 0x003, 0x004, 0xFFF, 0xFF7]);
    }

    #[test]
    fn the_upper_bits_of_32_bit_entries_do_not_count() {
        assert_eq!(entry_at(&[0xF8, 0xFF, 0xFF, 0xFF], 0, Width::Fat32), 0x0FFF_FFF8);
        assert_eq!(entry_at(&[0, 0, 0, 0xF0], 0, Width::Fat32), 0);
    }

    #[test]
    fn windows_hold_whole_entries_of_every_width() {
        for width in [Width::Fat12, Width::Fat16, Width::Fat32] {
            let bits = u64::try_from(WINDOW_BYTES).unwrap() * 8;
            assert_eq!(bits % width.bits(), 0);
            // Two entries of 12 bits share a byte: a window must not start with the second.
            assert_eq!(bits / width.bits() % 2, 0);
        }
        assert_eq!(Width::Fat12.bad(), 0xFF7);
        assert_eq!(Width::Fat16.bad(), 0xFFF7);
        assert_eq!(Width::Fat32.bad(), 0x0FFF_FFF7);
    }
}
