//! Halves of mirrors that a restore brings back, and what becomes of them.
//!
//! A half that is restored while its peer lived on must be overwritten by the peer in full (see [`cluster::drbd`]):
//! its superblock is changed on the way to the destination, so that no moment exists in which a disk holds it
//! unmarked. Halves that are restored on all nodes must come from one set, saved while the cluster was stopped.

use block::RegionExtent;
use cluster::Scope;
use cluster::drbd::{self, Kind, Metadata};
use image::{ChunkIndex, DiskRecord, Manifest, Store};

use super::plan::{PlannedDestination, RestorePlan, open_map};
use crate::error::{Error, Refusal, Result};
use crate::repository::list_images;
use crate::view::{RegionView, from_view};

/// The half of a mirror that lies in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorHalf {
    /// Disk, by its name in the image.
    pub disk: String,
    /// The region that holds the metadata.
    pub region: String,
    /// The metadata as they are in the image.
    pub metadata: Metadata,
}

impl MirrorHalf {
    /// Disk and region, as `sda:p1`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.disk, self.region)
    }
}

/// Bytes of a region that are changed on their way to the destination.
pub struct Amendment {
    /// Disk and region, as `sda:p1`.
    pub place: String,
    /// Where in the region.
    pub extent: RegionExtent,
    /// What the image holds there.
    pub from: Vec<u8>,
    /// What is written.
    pub to: Vec<u8>,
}

impl Amendment {
    /// Exchanges the part of the amended bytes that lies in `part` of the region: the image's for the new ones
    /// (`forwards`) in what is written, or back in what was read. `false` where others stand there than should.
    #[must_use]
    pub fn exchange(&self, part: RegionExtent, buffer: &mut [u8], forwards: bool) -> bool {
        let Some(shared) = self.extent.intersection(&part) else { return true };
        let range = |whole: &RegionExtent| {
            let start = usize::try_from(shared.start().checked_sub(whole.start())?).ok()?;
            Some(start..start.checked_add(usize::try_from(shared.length()).ok()?)?)
        };
        let (old, new) = if forwards { (&self.from, &self.to) } else { (&self.to, &self.from) };
        let bytes = range(&part).and_then(|range| buffer.get_mut(range));
        let old = range(&self.extent).and_then(|range| old.get(range));
        let new = range(&self.extent).and_then(|range| new.get(range));
        match (bytes, old, new) {
            (Some(bytes), Some(old), Some(new)) if bytes == old => {
                bytes.copy_from_slice(new);
                true
            }
            _ => false,
        }
    }
}

/// The half that a region of an image holds.
pub fn half_of_region(
    store: &dyn Store,
    index: &ChunkIndex,
    manifest: &Manifest,
    disk: &DiskRecord,
    region: &str,
) -> Result<Option<MirrorHalf>> {
    let Some(map) = open_map(store, manifest, disk, region)? else { return Ok(None) };
    let place = format!("{}:{region}", disk.name);
    let view = RegionView::new(store, index, map, manifest.image.as_str(), &place)?;
    let metadata = drbd::find(&view).map_err(from_view)?;
    Ok(metadata.map(|metadata| MirrorHalf { disk: disk.name.clone(), region: region.to_owned(), metadata }))
}

/// The halves that are written, after checking that none of them would be where its mirror doesn't look for it.
pub fn plan(
    store: &dyn Store,
    index: &ChunkIndex,
    manifest: &Manifest,
    disks: &[PlannedDestination],
) -> Result<Vec<MirrorHalf>> {
    let mut planned = Vec::new();
    for record in &manifest.disks {
        let written = disks.iter().filter(|disk| disk.disk == record.name).flat_map(|disk| &disk.regions);
        let written: Vec<_> = written.collect();
        for (region, _) in record.pairs() {
            let found = half_of_region(store, index, manifest, record, &region.name);
            match (written.iter().find(|written| written.name == region.name), found) {
                // What is not restored may be damaged.
                (None, Err(error)) if error.is_damage() => {}
                (None, Ok(Some(half))) => check_data_alone(&half, disks)?,
                (Some(written), Ok(Some(half))) => {
                    if half.metadata.kind == Kind::Internal && written.room != written.extent.length() {
                        return Err(Refusal::MirrorEndMoves { region: half.place() }.into());
                    }
                    planned.push(half);
                }
                (_, Ok(None)) => {}
                (_, Err(error)) => return Err(error),
            }
        }
    }
    Ok(planned)
}

/// Refuses where data would come back under metadata that stay as they are: they would call old data up to date.
fn check_data_alone(metadata: &MirrorHalf, disks: &[PlannedDestination]) -> Result<()> {
    let is_data = |length: u64| length & !(drbd::SUPERBLOCK_BYTES - 1) == metadata.metadata.data_bytes;
    let written = disks.iter().flat_map(|disk| disk.regions.iter().map(move |region| (disk, region)));
    let mut data = written.filter(|(_, region)| is_data(region.extent.length()));
    match data.next() {
        Some((disk, region)) if metadata.metadata.kind == Kind::External => Err(Refusal::MirrorMetadataLeft {
            region: format!("{}:{}", disk.disk, region.name),
            metadata: metadata.place(),
        }
        .into()),
        _ => Ok(()),
    }
}

impl RestorePlan {
    /// Checks that the question of the scope is answered where it must be, and that the answer can be true.
    ///
    /// # Errors
    /// `Refused`, before anything is written.
    pub fn check_scope(&self, store: &dyn Store) -> Result<()> {
        let places = || self.mirrors.iter().map(MirrorHalf::place).collect::<Vec<_>>().join(" ");
        match self.request.scope {
            _ if self.mirrors.is_empty() => Ok(()),
            None => Err(Refusal::ScopeMissing { regions: places() }.into()),
            Some(Scope::OneNode) => Ok(()),
            Some(Scope::AllNodes) => self.check_set(store),
        }
    }

    /// Checks that each half has its other half in an image of the same set, of the same generation.
    fn check_set(&self, store: &dyn Store) -> Result<()> {
        let Some(set) = &self.manifest.set else {
            return Err(Refusal::NotInSet { image: self.manifest.image.to_string() }.into());
        };
        let mut others = Vec::new();
        for listed in list_images(store)? {
            let Some(Ok(manifest)) = listed.manifest else { continue };
            if manifest.set.as_ref() == Some(set) && manifest.image != self.manifest.image {
                for record in &manifest.disks {
                    for (region, _) in record.pairs() {
                        let found = half_of_region(store, &self.index, &manifest, record, &region.name)?;
                        others.extend(found.map(|half| (manifest.image.to_string(), half)));
                    }
                }
            }
        }
        self.mirrors.iter().try_for_each(|half| check_peer(half, &others, set).map_err(Error::from))
    }

    /// What the scope changes of the image.
    pub(super) fn amendments(&self) -> Vec<Amendment> {
        let marked = self.mirrors.iter().filter(|_| self.request.scope == Some(Scope::OneNode));
        let amendment = |half: &MirrorHalf| Amendment {
            place: half.place(),
            extent: half.metadata.extent(),
            from: half.metadata.superblock().to_vec(),
            to: half.metadata.marked(),
        };
        marked.map(amendment).collect()
    }
}

fn check_peer(half: &MirrorHalf, others: &[(String, MirrorHalf)], set: &str) -> std::result::Result<(), Refusal> {
    let own = &half.metadata;
    if others.iter().any(|(_, other)| other.metadata.current == own.current) {
        return Ok(());
    }
    let region = half.place();
    let related = others
        .iter()
        .find(|(_, other)| own.known.contains(&other.metadata.current) || other.metadata.known.contains(&own.current));
    match related {
        Some((image, other)) => Err(Refusal::SetDiffers {
            region,
            set: set.to_owned(),
            other: format!("{image}: {}", other.place()),
            own_is_newer: own.known.contains(&other.metadata.current),
        }),
        None => Err(Refusal::SetIncomplete { region, set: set.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytes_that_the_image_holds_are_exchanged() {
        let amendment = Amendment {
            place: "sda:p1".into(),
            extent: RegionExtent::between(10, 14),
            from: b"old!".to_vec(),
            to: b"new?".to_vec(),
        };
        let exchange = |start: u64, bytes: &str, forwards: bool| {
            let mut buffer = bytes.as_bytes().to_vec();
            let part = RegionExtent::between(start, start + buffer.len() as u64);
            let is_right = amendment.exchange(part, &mut buffer, forwards);
            (String::from_utf8(buffer).unwrap(), is_right)
        };
        assert_eq!(exchange(8, "..old!..", true), ("..new?..".into(), true));
        assert_eq!(exchange(8, "..new?..", false), ("..old!..".into(), true));
        // A part that begins or ends in the middle.
        assert_eq!(exchange(12, "d!..", true), ("w?..".into(), true));
        assert_eq!(exchange(8, "..ol", true), ("..ne".into(), true));
        assert_eq!(exchange(14, "old!", true), ("old!".into(), true));
        // What was read back is what the image holds: the change never reached the disk.
        assert_eq!(exchange(8, "..old!..", false), ("..old!..".into(), false));
        assert_eq!(exchange(8, "..odd!..", true), ("..odd!..".into(), false));
    }
}
