//! Halves of mirrors that a restore brings back, and what becomes of them.
//!
//! A half that is restored while its peer lived on must be overwritten by the peer in full (see [`cluster::drbd`]):
//! its superblock is changed on the way to the destination, so that no moment exists in which a disk holds it
//! unmarked. Halves that are restored on all nodes must come from one set, saved while the cluster was stopped.

use std::collections::HashMap;
use std::io;

use block::{ReadAt, RegionExtent};
use cluster::Scope;
use cluster::drbd::{self, Kind, Metadata};
use image::{ChunkIndex, DiskRecord, Manifest, Store};
use layout::{Region, RegionKind};

use super::left;
use super::plan::{Assignment, PlannedDestination, RestorePlan, open_map};
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
    /// The logical volume or array inside the region that is mirrored; `None` where the region itself is.
    pub volume: Option<String>,
    /// The metadata as they are in the image. Their offset is that in the region.
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

/// A region of an image that was saved.
struct SavedRegion<'a> {
    disk: &'a DiskRecord,
    region: &'a Region,
    view: RegionView<'a>,
}

/// All halves that an image holds: in its regions, and in the volumes and arrays inside them. Each is told one time.
///
/// `failed` is told of each region, as `sda:p1`, that can't be read; without it the others are looked at.
///
/// # Errors
/// Those of `failed`, and those that are of no single region.
pub fn halves_of_image(
    store: &dyn Store,
    index: &ChunkIndex,
    manifest: &Manifest,
    failed: &mut dyn FnMut(&str, Error) -> Result<()>,
) -> Result<Vec<MirrorHalf>> {
    let mut saved = Vec::new();
    for disk in &manifest.disks {
        for (region, _) in disk.pairs() {
            let place = format!("{}:{}", disk.name, region.name);
            let view = open_map(store, manifest, disk, &region.name).and_then(|map| {
                map.map(|map| RegionView::new(store, index, map, manifest.image.as_str(), &place)).transpose()
            });
            match view {
                Ok(Some(view)) => saved.push(SavedRegion { disk, region, view }),
                Ok(None) => {}
                Err(error) => failed(&place, error)?,
            }
        }
    }
    let mut halves = Vec::new();
    let mut readable = Vec::new();
    for this in saved {
        // A disk may be mirrored as a whole, with its partition table: then the metadata lie in its last gap.
        let is_last_gap = this.region.kind == RegionKind::Gap && this.region.extent.end() == this.disk.layout.disk_size;
        let before = if is_last_gap { this.region.extent.start() } else { 0 };
        match drbd::find_all(&this.view, before) {
            Ok(found) => {
                halves.extend(found.into_iter().map(|metadata| this.half(None, metadata)));
                readable.push(this);
            }
            Err(error) => failed(&this.place(), from_view(error))?,
        }
    }
    // What a device begins or ends with may also be where its region is searched.
    for half in halves_inside(&readable)? {
        let is_same = |other: &MirrorHalf| {
            (&other.disk, &other.region, other.metadata.offset) == (&half.disk, &half.region, half.metadata.offset)
        };
        if !halves.iter().any(is_same) {
            halves.push(half);
        }
    }
    Ok(halves)
}

/// The halves in volumes and arrays. Gaps are nobody's, as in a survey.
fn halves_inside(saved: &[SavedRegion<'_>]) -> Result<Vec<MirrorHalf>> {
    let saved: Vec<_> = saved.iter().filter(|this| this.region.kind != RegionKind::Gap).collect();
    let views: Vec<&dyn ReadAt> = saved.iter().map(|this| -> &dyn ReadAt { &this.view }).collect();
    let mut halves = Vec::new();
    filesystem::visit_devices(&views, &mut |device| {
        for metadata in drbd::find_all(device, 0).map_err(from_view)? {
            let places = device.places(metadata.extent());
            let [(number, place)] = places.as_slice() else {
                let detail = format!("{}: the superblock of DRBD lies in {} places", device.name, places.len());
                return Err(Error::System(io::Error::other(detail)));
            };
            if let Some(this) = saved.get(*number).filter(|_| place.length() == drbd::SUPERBLOCK_BYTES) {
                let mut metadata = metadata;
                metadata.offset = place.start();
                halves.push(this.half(Some(device.name.clone()), metadata));
            }
        }
        Ok(())
    })?;
    Ok(halves)
}

impl SavedRegion<'_> {
    fn place(&self) -> String {
        format!("{}:{}", self.disk.name, self.region.name)
    }

    fn half(&self, volume: Option<String>, metadata: Metadata) -> MirrorHalf {
        MirrorHalf { disk: self.disk.name.clone(), region: self.region.name.clone(), volume, metadata }
    }
}

/// The halves that are written, after checking that none of them would be where its mirror doesn't look for it.
pub fn plan(
    store: &dyn Store,
    index: &ChunkIndex,
    manifest: &Manifest,
    disks: &[PlannedDestination],
    assignments: &[Assignment<'_>],
) -> Result<Vec<MirrorHalf>> {
    let written = |place: &str| {
        let regions = disks.iter().flat_map(|disk| disk.regions.iter().map(move |region| (disk, region)));
        regions.into_iter().find(|(disk, region)| format!("{}:{}", disk.disk, region.name) == place)
    };
    let halves = halves_of_image(store, index, manifest, &mut |place, error| {
        // What is not restored may be damaged.
        if written(place).is_none() && error.is_damage() { Ok(()) } else { Err(error) }
    })?;
    left::check(&halves, manifest, disks, assignments)?;
    let mut planned = Vec::new();
    for half in halves {
        let Some((disk, region)) = written(&half.place()) else { continue };
        if half.metadata.kind == Kind::Internal && half.volume.is_none() && disk.end_moves(region) {
            return Err(Refusal::MirrorEndMoves { region: half.place() }.into());
        }
        planned.push(half);
    }
    check_apart(&planned)?;
    Ok(planned)
}

/// Refuses where two superblocks would share bytes: each change would find what the other one wrote. Nothing like that
/// works as a mirror.
fn check_apart(planned: &[MirrorHalf]) -> Result<()> {
    for (number, one) in planned.iter().enumerate() {
        let mut before = planned.iter().take(number).filter(|other| other.place() == one.place());
        if let Some(other) = before.find(|other| other.metadata.extent().overlaps(&one.metadata.extent())) {
            let (first, second) = (other.metadata.offset, one.metadata.offset);
            return Err(Refusal::MirrorsOverlap { region: one.place(), first, second }.into());
        }
    }
    Ok(())
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
                let found = halves_of_image(store, &self.index, &manifest, &mut |_, error| Err(error))?;
                others.extend(found.into_iter().map(|half| (manifest.image.to_string(), half)));
            }
        }
        self.mirrors.iter().try_for_each(|half| check_peer(half, &others, set).map_err(Error::from))
    }

    /// What scope and new names change of the image: by place, in ascending order.
    ///
    /// # Errors
    /// Where two of them would share bytes: each would find what the other one wrote.
    pub(super) fn amendments(&self) -> Result<HashMap<String, Vec<Amendment>>> {
        let marked = self.mirrors.iter().filter(|_| self.request.scope == Some(Scope::OneNode));
        let amendment = |half: &MirrorHalf| Amendment {
            place: half.place(),
            extent: half.metadata.extent(),
            from: half.metadata.superblock().to_vec(),
            to: half.metadata.marked(),
        };
        let mut places: HashMap<String, Vec<Amendment>> = HashMap::new();
        for amendment in marked.map(amendment).chain(self.new_names.amendments()) {
            places.entry(amendment.place.clone()).or_default().push(amendment);
        }
        for amendments in places.values_mut() {
            amendments.sort_by_key(|amendment| amendment.extent.start());
            let meets = |pair: &&[Amendment]| matches!(pair, [one, other] if one.extent.overlaps(&other.extent));
            if let Some([one, other]) = amendments.windows(2).find(meets) {
                let (one_start, other_start) = (one.extent.start(), other.extent.start());
                let detail = format!("{}: changes at {one_start} and {other_start} overlap", one.place);
                return Err(Error::System(io::Error::other(detail)));
            }
        }
        Ok(places)
    }
}

fn check_peer(half: &MirrorHalf, others: &[(String, MirrorHalf)], set: &str) -> std::result::Result<(), Refusal> {
    let own = &half.metadata;
    if others.iter().any(|(_, other)| own.is_of_same_generation(&other.metadata)) {
        return Ok(());
    }
    let region = half.place();
    let related =
        others.iter().find(|(_, other)| own.is_newer_than(&other.metadata) || other.metadata.is_newer_than(own));
    match related {
        Some((image, other)) => Err(Refusal::SetDiffers {
            region,
            set: set.to_owned(),
            other: format!("{image}: {}", other.place()),
            own_is_newer: own.is_newer_than(&other.metadata),
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
