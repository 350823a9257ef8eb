//! What may be the cluster partition of CLUSTERPRO (EXPRESSCLUSTER): its format is not public, and there is no magic
//! number. A partition without any signature, of the sizes that its guides ask for, directly before a file system that
//! would be the mirrored data, is a hint and no more.
//!
//! Source: sizes in the public guides of the repositories EXPRESSCLUSTER/BasicCluster and EXPRESSCLUSTER/Tips.

use block::{ReadAt, Window, is_zero, read_vec};
use layout::{Layout, Region, RegionKind};

use crate::sharing::{Assessment, Evidence};

const MIB: u64 = 1 << 20;
const SMALL: std::ops::RangeInclusive<u64> = MIB..=64 * MIB;
/// 1 GB to 1 GiB, which tools round.
const LARGE: std::ops::RangeInclusive<u64> = 1_000_000_000..=1025 * MIB;
/// Types under which such a partition is made: basic data, Linux data, and those of an MBR.
const TYPES: [&str; 5] =
    ["ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "0fc63daf-8483-4772-8e79-3d69d8477de4", "0x07", "0x83", "0xda"];
const DATA: [&str; 4] = ["ntfs", "ext3", "ext4", "xfs"];
const LOOKED_AT: usize = 64 << 10;

/// Looks at each partition with the one behind it.
pub fn look(disk: &dyn ReadAt, layout: &Layout, assessment: &mut Assessment) {
    let partitions: Vec<&Region> =
        layout.regions.iter().filter(|region| region.kind == RegionKind::Partition).collect();
    for pair in partitions.windows(2) {
        let [area, data] = pair else { continue };
        if is_area(disk, area)
            && let Some(found) = filesystem::identify(&Window::new(disk, data.extent))
            && DATA.contains(&found.kind.as_str())
        {
            let (size, kind) = (area.extent.length() / MIB, found.kind);
            let detail = format!("raw data of {size} MiB, and {kind} in {} behind it", data.name);
            let software = "clusterpro".to_owned();
            assessment.add(Some(&area.name), Evidence::MirrorHalf { software, detail, certain: false });
        }
    }
}

fn is_area(disk: &dyn ReadAt, region: &Region) -> bool {
    let length = region.extent.length();
    let has_type = region.partition.as_ref().is_some_and(|partition| TYPES.contains(&partition.type_id.as_str()));
    if !has_type || !(SMALL.contains(&length) || LARGE.contains(&length)) {
        return false;
    }
    let window = Window::new(disk, region.extent);
    let start = read_vec(&window, 0, LOOKED_AT);
    start.is_ok_and(|bytes| !is_zero(&bytes)) && filesystem::has_no_signature(&window)
}
