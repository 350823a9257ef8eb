//! Places where signatures of what was on a destination before could survive a restore.
//!
//! A restore writes what was saved. In space that is free in the image, the destination keeps its
//! old bytes; most do no harm, but at these places other programs look for signatures: an old
//! array, volume group or file system would come to life again.

use block::{Extents, InRegion, RegionExtent};

const MIB: u64 = 1 << 20;

/// The places in a region of `length` bytes.
///
/// The first MiB: superblocks of nearly everything (blkid looks up to 64 KiB, VMFS is at 1 MiB). 64 MiB
/// and 256 GiB: copies of the btrfs superblock. The last MiB: md 0.90 and 1.0, DRBD, ZFS labels, LDM,
/// firmware RAID, backup boot sectors.
pub fn stale_places(length: u64) -> Extents<InRegion> {
    let whole = RegionExtent::between(0, length);
    let last = length.saturating_sub(MIB);
    [(0, 2 * MIB), (64 * MIB, 65 * MIB), (256 << 30, (256 << 30) + MIB), (last, length)]
        .into_iter()
        .filter_map(|(start, end)| RegionExtent::between(start, end).intersection(&whole))
        .collect()
}
