//! Evidence that the bytes of a disk give: areas of cluster software, file systems of clusters, shared volumes.
//!
//! Nothing here decides anything: what was seen goes into an [`Assessment`]. What can't be read gives no evidence, but
//! where the disk refuses to be read because another machine has reserved it.

mod asm;
mod clusterpro;
mod gfs2;
mod mmp;
mod ocfs2;
mod partition;
mod sanlock;
mod sbd;
#[cfg(test)]
mod tests;
mod vmfs;

use std::io;

use block::{DiskExtent, ReadAt, Window};
use layout::{Layout, RegionKind};

use crate::drbd;
use crate::sharing::{Assessment, Evidence};

/// `EBADE`: what Linux makes of the status RESERVATION CONFLICT.
const RESERVATION_CONFLICT: i32 = 52;

/// Whether an error means that another machine has reserved the disk.
pub fn is_reservation_conflict(error: &io::Error) -> bool {
    error.raw_os_error() == Some(RESERVATION_CONFLICT)
}

/// Looks at every partition of a disk, or at the whole of one without a table.
pub fn look(disk: &dyn ReadAt, layout: &Layout, assessment: &mut Assessment) {
    for region in layout.regions.iter().filter(|region| region.kind != RegionKind::Gap) {
        if let Some(evidence) = region.partition.as_ref().and_then(partition::evidence) {
            assessment.add(Some(&region.name), evidence);
        }
        let window = Window::new(disk, region.extent);
        for evidence in evidence_in(&window) {
            match evidence {
                Ok(evidence) => assessment.add(Some(&region.name), evidence),
                Err(error) if is_reservation_conflict(&error) => {
                    let operation = format!("reading {}", region.name);
                    let device = assessment.disk.clone();
                    assessment.add(None, Evidence::ReservationConflict { device, operation });
                }
                Err(_) => {}
            }
        }
    }
    clusterpro::look(disk, layout, assessment);
}

/// What lies in a region. An error ends the look for one structure, not for the others.
fn evidence_in(region: &dyn ReadAt) -> Vec<io::Result<Evidence>> {
    let areas = [sbd::find, sanlock::find, asm::find];
    let others = [gfs2::find, ocfs2::find, mmp::find, vmfs::find];
    let mut found: Vec<io::Result<Evidence>> = Vec::new();
    found.extend(areas.iter().filter_map(|find| find(region).transpose()));
    if found.iter().any(Result::is_ok)
        && let Some(beside) = filesystem::identify(region)
    {
        // A file system was made where such an area had been, or the other way round: nobody can tell.
        for evidence in found.iter_mut().flatten() {
            if let Evidence::ClusterArea { beside: other, .. } = evidence {
                *other = Some(beside.kind.clone());
            }
        }
    }
    found.extend(others.iter().filter_map(|find| find(region).transpose()));
    found.extend(filesystem::shared_storage(region).into_iter().map(|shared| Ok(storage(shared))));
    found.extend(
        filesystem::cluster_directories(region)
            .into_iter()
            .map(|directory| Ok(Evidence::ClusterVolume { detail: format!("directory {directory} on NTFS") })),
    );
    match drbd::find(region) {
        Ok(Some(metadata)) => found.push(Ok(mirror(&metadata))),
        Ok(None) => {}
        Err(error) => found.push(Err(error)),
    }
    found
}

/// Places of a region that begins at `start` of the disk where machines that use it tell that they live, beyond its
/// first MiB.
pub(crate) fn held_places(region: &dyn ReadAt, start: u64) -> Vec<DiskExtent> {
    let mut places = Vec::new();
    places.extend(vmfs::position(region).ok().flatten().map(|found| vmfs::extent(start, found)));
    if let Ok(Some(position)) = mmp::position(region) {
        let first = start.saturating_add(position);
        places.push(DiskExtent::between(first, first.saturating_add(4096)));
    }
    places
}

fn storage(shared: filesystem::SharedStorage) -> Evidence {
    let filesystem::SharedStorage { software, name, detail, certain } = shared;
    Evidence::SharedStorage { software: software.to_owned(), name, detail, certain }
}

fn mirror(metadata: &drbd::Metadata) -> Evidence {
    let version = metadata.version.as_str();
    let detail = format!("{version}, generation {:016x}, {} bytes", metadata.current, metadata.data_bytes);
    Evidence::MirrorHalf { software: "drbd".to_owned(), detail, certain: true }
}

/// Text up to its first zero. Bytes that are no characters become U+FFFD.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A structure at `position`; `None` where the region ends before it does.
fn structure<T: zerocopy::FromBytes>(region: &dyn ReadAt, position: u64) -> io::Result<Option<T>> {
    let mut bytes = vec![0; size_of::<T>()];
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if position.checked_add(length).is_none_or(|end| end > region.size()) {
        return Ok(None);
    }
    region.read_at(position, &mut bytes)?;
    Ok(T::read_from_bytes(&bytes).ok())
}
