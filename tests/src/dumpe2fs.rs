//! What dumpe2fs says of ext2, ext3 and ext4.

use std::path::Path;

use block::{Extents, InRegion, RegionExtent};
use filesystem::FileSystem;

use crate::run;

/// The bytes of blocks that dumpe2fs lists as free.
///
/// # Panics
/// Where dumpe2fs fails.
pub fn free_by_dumpe2fs(image: &Path, file_system: &FileSystem) -> Extents<InRegion> {
    let printed = run("dumpe2fs", [image]);
    let size = u64::from(file_system.block_size);
    let number = |text: &str| text.trim().parse::<u64>().unwrap();
    // With bigalloc it prints the first block of each free cluster, and of a run of clusters the first and the last.
    let cluster = printed.lines().find_map(|line| line.strip_prefix("Cluster size:")).map_or(size, number);
    printed
        .lines()
        .filter_map(|line| line.strip_prefix("  Free blocks: "))
        .flat_map(|list| list.split(','))
        .filter(|range| !range.trim().is_empty())
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let end = (number(last) * size / cluster + 1) * cluster;
            RegionExtent::between(number(first) * size, end.min(file_system.size))
        })
        .collect()
}
