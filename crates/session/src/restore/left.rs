//! Metadata of mirrors that a restore leaves as they are, and data that must not come back under them.
//!
//! Metadata that stay would call old data up to date, whoever wrote them. What they belong to is said nowhere on the
//! disks: external metadata hold the size that both halves agreed on, which is at most that of the device with the
//! data. So everything that is long enough counts as the data, unless the node's configuration names another
//! device (see [`Pairs`]). The metadata are looked for in the image as well as on the destinations.

use block::{DiskExtent, ReadAt, RegionExtent, Window};
use cluster::drbd::{self, Kind, Metadata};
use image::{DiskRecord, LayerRecord, Manifest, RegionRecord};
use layout::{Region, RegionKind};

use super::mirror::MirrorHalf;
use super::pairs::{Device, Pairs};
use super::plan::{Assignment, PlannedDestination, PlannedRestore, disk_of};
use crate::error::{Error, Refusal, Result};

/// File systems on one device that no system mounts where the device is shorter than they are.
const NEVER_CUT: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "ntfs"];

/// Metadata that stay.
struct Left {
    /// The disk that holds them, by its name in the image.
    disk: String,
    /// Where they lie, for people.
    place: String,
    /// Bytes that are mirrored.
    data_bytes: u64,
    /// Where their data may lie.
    data: Data,
}

/// Where the data of a mirror may lie.
enum Data {
    /// On another device that is long enough, and is one of these where anybody knows.
    Elsewhere(Option<Vec<Device>>),
    /// In a logical volume or an array, before the metadata: perhaps in other regions.
    Volume,
    /// In the region of this name, before the metadata.
    Region(String),
    /// On the whole disk, with its partition table.
    Disk,
}

/// A destination, and how it is divided when the restore has ended.
struct Divided<'a> {
    planned: &'a PlannedDestination,
    record: &'a DiskRecord,
    disk: &'a dyn ReadAt,
    name: &'a str,
    /// Partitions, or the whole disk: what can be a device for somebody.
    devices: Vec<(String, DiskExtent)>,
    /// Whether every gap is one: no table says otherwise of its bytes.
    are_gaps_free: bool,
}

/// Refuses where data would come back under metadata that stay as they are: they would call old data up to date.
///
/// # Errors
/// `Refused`; and where a destination can't be read.
pub(super) fn check(
    halves: &[MirrorHalf],
    manifest: &Manifest,
    disks: &[PlannedDestination],
    assignments: &[Assignment<'_>],
) -> Result<()> {
    let divided: Vec<_> = disks
        .iter()
        .zip(assignments)
        .map(|(planned, assignment)| Divided::new(manifest, planned, assignment))
        .collect::<Result<_>>()?;
    for left in left_in_image(halves, manifest, disks) {
        if let Some(region) = data_of(&left, &divided, halves) {
            return Err(Refusal::MirrorMetadataLeft { region, metadata: left.place }.into());
        }
    }
    for left in left_on_destinations(&divided)? {
        if let Some(region) = data_of(&left, &divided, halves) {
            return Err(Refusal::MirrorMetadataThere { region, metadata: left.place }.into());
        }
    }
    Ok(())
}

/// What the image holds and the restore does not write.
fn left_in_image(halves: &[MirrorHalf], manifest: &Manifest, disks: &[PlannedDestination]) -> Vec<Left> {
    let is_written = |half: &&MirrorHalf| {
        let mut of_disk = disks.iter().filter(|disk| disk.disk == half.disk);
        of_disk.any(|disk| disk.regions.iter().any(|region| region.name == half.region))
    };
    let pairs = Pairs::of(manifest);
    let left = |half: &MirrorHalf| {
        let record = manifest.disk(&half.disk).and_then(|disk| disk.region(&half.region));
        let is_inside = half.volume.is_some() || record.is_some_and(|(_, record)| longest_inside(record) > 0);
        let data = match half.metadata.kind {
            Kind::External => Data::Elsewhere(pairs.data_of(half, halves)),
            Kind::Internal if is_inside => Data::Volume,
            Kind::Internal => return None,
        };
        Some(Left { disk: half.disk.clone(), place: half.place(), data_bytes: half.metadata.data_bytes, data })
    };
    halves.iter().filter(|half| !is_written(half)).filter_map(left).collect()
}

/// What the destinations hold and keep. Metadata whose half the peer overwrites in full do no harm.
fn left_on_destinations(divided: &[Divided<'_>]) -> Result<Vec<Left>> {
    let mut found = Vec::new();
    let mut staying = Vec::new();
    for disk in divided {
        for (name, extent) in disk.devices.iter().filter(|(_, extent)| disk.stays(*extent)) {
            let window = Window::new(disk.disk, *extent);
            for metadata in disk.find(&window, extent.start())? {
                if metadata.kind == Kind::External {
                    found.extend(disk.left(name, &metadata, Data::Elsewhere(None)));
                }
            }
            staying.push((disk, window));
        }
        for region in &disk.planned.regions {
            disk.find_behind(region, &mut found)?;
        }
        disk.find_at_end(&mut found)?;
    }
    let views: Vec<&dyn ReadAt> = staying.iter().map(|(_, window)| -> &dyn ReadAt { window }).collect();
    filesystem::visit_devices(&views, &mut |device| -> Result<()> {
        let places = device.places(RegionExtent::between(0, drbd::SUPERBLOCK_BYTES.min(device.size())));
        let Some((disk, _)) = places.first().and_then(|(number, _)| staying.get(*number)).or_else(|| staying.first())
        else {
            return Ok(());
        };
        for metadata in disk.find(device, 0)? {
            let data = if metadata.kind == Kind::External { Data::Elsewhere(None) } else { Data::Volume };
            found.extend(disk.left(&device.name, &metadata, data));
        }
        Ok(())
    })?;
    Ok(found)
}

impl<'a> Divided<'a> {
    fn new(manifest: &'a Manifest, planned: &'a PlannedDestination, assignment: &'a Assignment<'_>) -> Result<Self> {
        let record = disk_of(manifest, &planned.disk)?;
        let (disk, name) = (assignment.destination.disk, assignment.destination.name.as_str());
        let (devices, are_gaps_free) = match &planned.placement {
            Some(placement) => {
                let is_device =
                    |name: &str| record.region(name).is_some_and(|(region, _)| region.kind != RegionKind::Gap);
                let devices = placement.regions.iter().filter(|(name, _)| is_device(name)).cloned();
                (devices.collect(), record.layout.findings.is_empty())
            }
            None => {
                let present = layout::read(disk).map_err(|layout::Error::Io { offset, source, .. }| {
                    Error::Destination { disk: name.to_owned(), operation: "reading", offset, source }
                })?;
                let devices = present.regions.iter().filter(|region| region.kind != RegionKind::Gap);
                let devices = devices.map(|region| (region.name.clone(), region.extent)).collect();
                (devices, present.findings.is_empty())
            }
        };
        Ok(Self { planned, record, disk, name, devices, are_gaps_free })
    }

    fn stays(&self, extent: DiskExtent) -> bool {
        !self.planned.regions.iter().any(|region| region.extent.overlaps(&extent))
    }

    fn is_cleared(&self, extent: DiskExtent) -> bool {
        self.planned.placement.iter().flat_map(|placement| &placement.clear).any(|clear| clear.overlaps(&extent))
    }

    fn find(&self, device: &dyn ReadAt, start: u64) -> Result<Vec<Metadata>> {
        let found = drbd::find_all(device, 0);
        found.map_err(|source| Error::Destination {
            disk: self.name.to_owned(),
            operation: "reading",
            offset: start,
            source,
        })
    }

    fn left(&self, region: &str, metadata: &Metadata, data: Data) -> Option<Left> {
        let place = format!("{}:{region}", self.name);
        let left = Left { disk: self.planned.disk.clone(), place, data_bytes: metadata.data_bytes, data };
        (!metadata.is_marked()).then_some(left)
    }

    /// Metadata in the part of a region of the destination that passes what is written.
    fn find_behind(&self, region: &PlannedRestore, found: &mut Vec<Left>) -> Result<()> {
        let is_gap = self.record.region(&region.name).is_some_and(|(region, _)| region.kind == RegionKind::Gap);
        if is_gap || region.room <= region.extent.length() {
            return Ok(());
        }
        let whole = DiskExtent::between(region.extent.start(), region.extent.start().saturating_add(region.room));
        for metadata in self.find(&Window::new(self.disk, whole), whole.start())? {
            let place = whole.locate(&metadata.extent());
            if metadata.extent().end() > region.extent.length() && place.is_some_and(|place| !self.is_cleared(place)) {
                let data = match metadata.kind {
                    Kind::External => Data::Elsewhere(None),
                    Kind::Internal => Data::Region(region.name.clone()),
                };
                found.extend(self.left(&region.name, &metadata, data));
            }
        }
        Ok(())
    }

    /// Metadata of a mirror of the whole disk, behind all partitions.
    fn find_at_end(&self, found: &mut Vec<Left>) -> Result<()> {
        for metadata in self.find(&self.disk, 0)?.iter().filter(|metadata| metadata.kind == Kind::Internal) {
            let extent = DiskExtent::between(metadata.offset, metadata.extent().end());
            let is_of_device = self.devices.iter().any(|(_, device)| device.overlaps(&extent));
            if !is_of_device && self.stays(extent) && !self.is_cleared(extent) {
                let left = self.left("", metadata, Data::Disk);
                found.extend(left.map(|left| Left { place: self.name.to_owned(), ..left }));
            }
        }
        Ok(())
    }

    /// Whether a region, or what it is written to, may be a device that the node calls so.
    fn may_be(&self, device: &Device, written: &PlannedRestore, region: &Region, record: &RegionRecord) -> bool {
        match device {
            // Names of disks change from one start to the next, numbers of partitions don't.
            Device::Partition(number) => {
                let name = format!("p{number}");
                let is_there =
                    |(other, extent): &(String, DiskExtent)| *other == name && extent.overlaps(&written.extent);
                let is_it = region.partition.as_ref().is_some_and(|partition| partition.number == *number);
                let is_unclear = region.partition.is_none() && !self.are_gaps_free;
                is_it || is_unclear || self.devices.iter().any(is_there)
            }
            Device::Volume(group) => {
                let is_other =
                    |layer: &LayerRecord| layer.kind == "lvm2" && layer.name.as_ref().is_some_and(|name| name != group);
                let is_of_other = !record.layers.is_empty() && record.layers.iter().all(is_other);
                longest_inside(record) > 0 && !is_of_other
            }
        }
    }

    /// Whether a mirror of so many bytes could be all of this disk: nobody sees a partition that ends behind it.
    fn may_be_mirrored_whole(&self, data_bytes: u64) -> bool {
        let last = self.devices.iter().map(|(_, extent)| extent.end()).max().unwrap_or_default();
        (last..=self.planned.size).contains(&data_bytes)
    }
}

/// The first region that is written and may hold data of this mirror.
fn data_of(left: &Left, divided: &[Divided<'_>], halves: &[MirrorHalf]) -> Option<String> {
    let mut written = divided.iter().flat_map(|disk| disk.planned.regions.iter().map(move |region| (disk, region)));
    let found = written.find(|(disk, region)| may_be_data(left, disk, region, halves));
    found.map(|(disk, region)| format!("{}:{}", disk.planned.disk, region.name))
}

fn may_be_data(left: &Left, disk: &Divided<'_>, written: &PlannedRestore, halves: &[MirrorHalf]) -> bool {
    let is_same_disk = left.disk == disk.planned.disk;
    let Some((region, record)) = disk.record.region(&written.name) else { return false };
    let inside = longest_inside(record);
    match &left.data {
        Data::Disk => is_same_disk,
        Data::Region(name) => is_same_disk && *name == written.name,
        Data::Volume => inside > 0 && inside >= left.data_bytes,
        Data::Elsewhere(Some(devices))
            if !devices.iter().any(|device| disk.may_be(device, written, region, record)) =>
        {
            false
        }
        Data::Elsewhere(_) => {
            let of_disk = !is_same_disk && disk.may_be_mirrored_whole(left.data_bytes);
            let is_free = region.kind == RegionKind::Gap && disk.are_gaps_free;
            let length = written.room.max(written.extent.length());
            let is_long_enough = length.max(inside) >= left.data_bytes;
            // A file system does not work on a mirror that is shorter. Of one that the image does not know, nobody can
            // say whether it was that short when the image was made.
            let is_known = halves
                .iter()
                .any(|half| half.metadata.kind == Kind::External && half.metadata.data_bytes == left.data_bytes);
            let is_longer = record.layers.is_empty()
                && record
                    .file_system
                    .as_ref()
                    .is_some_and(|found| NEVER_CUT.contains(&found.kind.as_str()) && found.size > left.data_bytes);
            let has_own = halves.iter().any(|half| {
                half.disk == disk.planned.disk
                    && half.region == written.name
                    && half.volume.is_none()
                    && half.metadata.kind == Kind::Internal
            });
            let is_other = is_free || (is_known && is_longer) || (has_own && inside == 0);
            of_disk || (is_long_enough && !is_other)
        }
    }
}

/// Bytes of the longest device that part of a region may be of: a logical volume, a striped array. All that there can
/// be where nobody knows, and none where a region is no part of a larger device.
fn longest_inside(record: &RegionRecord) -> u64 {
    let of_layer = |layer: &LayerRecord| match layer.kind.as_str() {
        "md" if layer.volumes.iter().any(|volume| volume.kind != "raid1") => Some(u64::MAX),
        "md" => Some(0),
        // A group that was not understood has no name.
        "lvm2" if layer.name.is_none() => Some(u64::MAX),
        "lvm2" => Some(layer.volumes.iter().map(|volume| volume.size).max().unwrap_or_default()),
        _ => None,
    };
    let known = record.layers.iter().filter_map(of_layer).max();
    let is_member = match &record.file_system {
        Some(found) => found.kind.ends_with("_member"),
        None => {
            matches!(record.coverage.reason.as_deref(), Some("ambiguous" | "damaged" | "not-clean" | "unsupported"))
        }
    };
    known.unwrap_or(if is_member { u64::MAX } else { 0 })
}
