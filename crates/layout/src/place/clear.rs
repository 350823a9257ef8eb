//! What must be zeroed before a restore, so that an interrupted one leaves no valid table, and a
//! finished one no table or signature of whatever was on the destination before.

use block::{DiskExtent, Extents, InDisk};

use super::Destination;
use crate::{Layout, TableSectors};

/// LBA 0, header and 128 entries of a GPT at the start: on 4096-byte sectors, which need more than 512-byte ones.
const START: u64 = 6 * 4096;
/// Header and 128 entries of a GPT at the end, on 4096-byte sectors.
const END: u64 = 5 * 4096;
/// How far into the space behind the image, and from the end of it, older signatures are looked for by operating
/// systems (md 0.90 and 1.0, LDM, hardware RAID).
const BEHIND: u64 = 1 << 20;

pub(super) fn plan(image: &Layout, destination: &Destination, tables: &[TableSectors]) -> Vec<DiskExtent> {
    let size = destination.size;
    let behind = image.disk_size;
    let mut clear: Extents<InDisk> = [
        DiskExtent::between(0, START),
        DiskExtent::between(size.saturating_sub(END), size),
        DiskExtent::between(behind, behind.saturating_add(BEHIND)),
        DiskExtent::between(behind.max(size.saturating_sub(BEHIND)), size),
    ]
    .into_iter()
    .chain(image.table_sectors.iter().chain(tables).map(|table| table.extent))
    .collect();
    clear = clear.iter().map(|extent| align(extent, image, size)).collect();
    clear.intersection(&DiskExtent::between(0, size).into()).iter().collect()
}

/// Direct I/O touches whole sectors only; regions are written afterwards, so a few bytes more do no harm.
fn align(extent: DiskExtent, image: &Layout, size: u64) -> DiskExtent {
    let end = image.sector_size.align_up(extent.end()).unwrap_or(size);
    DiskExtent::between(image.sector_size.align_down(extent.start()), end)
}
