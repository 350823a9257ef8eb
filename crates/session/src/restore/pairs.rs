//! Which device holds the data of a mirror whose metadata lie on another one, by the word of the node's configuration.
//!
//! That names devices as the node's kernel does. `/dev/sdb1` is the first partition of some disk: which one, nobody
//! knows here, and disks may be missing. So a name can say only what a region is not, and it counts only where all of
//! the configuration was understood and it names these metadata, and no others that the image holds.

use std::collections::BTreeSet;

use image::{DiskRecord, Manifest, RegionRecord};

use super::mirror::MirrorHalf;
use super::new_names::volume_of_path;
use crate::examine::found_in;

/// What a name of a device says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Device {
    /// A partition with this number.
    Partition(u32),
    /// A logical volume of this group.
    Volume(String),
}

/// A device as a configuration names it; no device where its name says nothing.
struct Named {
    path: String,
    device: Option<Device>,
}

/// Data and metadata of the mirrors that the image's systems are configured for.
pub(super) struct Pairs<'a> {
    manifest: &'a Manifest,
    /// By resource: devices with metadata, and with data.
    resources: Vec<(Vec<Named>, Vec<Named>)>,
}

impl<'a> Pairs<'a> {
    /// None of them where a part of a configuration is unknown.
    pub(super) fn of(manifest: &'a Manifest) -> Self {
        let mut resources = Vec::new();
        for system in found_in(manifest).systems {
            let mirrors = system.clusters.iter().filter(|cluster| cluster.kind == "drbd");
            for cluster in mirrors {
                if !cluster.is_complete || !is_settled(manifest, &system.place) {
                    return Self { manifest, resources: Vec::new() };
                }
                for resource in &cluster.resources {
                    let named = |wanted: &str| {
                        let of_kind = resource.parameters.iter().filter(|(key, _)| key == wanted);
                        of_kind.map(|(_, path)| named(manifest, path)).collect::<Vec<_>>()
                    };
                    resources.push((named("meta-disk"), named("disk")));
                }
            }
        }
        Self { manifest, resources }
    }

    /// Where the data of an external half may lie; `None` where that is unknown.
    pub(super) fn data_of(&self, half: &MirrorHalf, halves: &[MirrorHalf]) -> Option<Vec<Device>> {
        let fits = |named: &Named, half: &MirrorHalf| self.is(named, half);
        let candidates = self
            .resources
            .iter()
            .filter(|(metadata, _)| metadata.iter().any(|named| named.device.is_none() || fits(named, half)));
        let mut devices = Vec::new();
        let mut is_named = false;
        for (metadata, data) in candidates {
            for named in metadata.iter().filter(|named| fits(named, half)) {
                // Others with the same name by which they can't be told apart.
                let places: BTreeSet<_> = halves.iter().filter(|other| fits(named, other)).map(place_of).collect();
                is_named |= places.len() == 1;
            }
            for named in data {
                devices.push(named.device.clone()?);
            }
        }
        is_named.then_some(devices)
    }

    /// Whether metadata may lie on a device that the node calls so.
    fn is(&self, named: &Named, half: &MirrorHalf) -> bool {
        match (&named.device, &half.volume) {
            (Some(Device::Partition(number)), None) => {
                let region = self.manifest.disk(&half.disk).and_then(|disk| disk.region(&half.region));
                let partition = region.and_then(|(region, _)| region.partition.as_ref());
                partition.is_some_and(|partition| partition.number == *number)
            }
            (Some(Device::Volume(_)), Some(volume)) => volume_of_path(&named.path).as_ref() == Some(volume),
            _ => false,
        }
    }
}

fn place_of(half: &MirrorHalf) -> (&str, &str, Option<&str>) {
    (&half.disk, &half.region, half.volume.as_deref())
}

/// Whether the files of a system were all there: nothing waited in the journal of its file system.
fn is_settled(manifest: &Manifest, place: &str) -> bool {
    let name = place.split(' ').next().unwrap_or_default();
    let pairs = manifest.disks.iter().flat_map(|disk| disk.pairs().map(move |(region, record)| (disk, region, record)));
    let mut found = pairs.filter(|(disk, region, _)| format!("{}:{}", disk.name, region.name) == name);
    found.next().is_some_and(|(_, _, record)| is_clean(record))
}

fn is_clean(record: &RegionRecord) -> bool {
    let volumes = record.layers.iter().flat_map(|layer| &layer.volumes);
    let reasons = volumes.map(|volume| &volume.reason).chain([&record.coverage.reason]);
    let is_waiting = |reason: &Option<String>| reason.as_deref() == Some("not-clean");
    !reasons.into_iter().any(is_waiting) && record.notes.iter().all(|note| note.code != "not-clean")
}

fn named(manifest: &Manifest, path: &str) -> Named {
    // Where several share a device for metadata, each has an index.
    let path = path.split('[').next().unwrap_or_default().to_owned();
    let group = volume_of_path(&path).filter(|name| has_volume(manifest, name));
    let group = group.and_then(|name| Some(Device::Volume(name.split_once('/')?.0.to_owned())));
    Named { device: group.or_else(|| partition_of_path(&path).map(Device::Partition)), path }
}

fn has_volume(manifest: &Manifest, name: &str) -> bool {
    let records = manifest.disks.iter().flat_map(DiskRecord::pairs).flat_map(|(_, record)| &record.layers);
    let mut groups = records.filter(|layer| layer.kind == "lvm2");
    groups.any(|layer| {
        let mut volumes = layer.volumes.iter().filter_map(|volume| volume.name.as_ref());
        layer.name.as_ref().is_some_and(|group| volumes.any(|volume| format!("{group}/{volume}") == name))
    })
}

/// The number in the name of a partition.
fn partition_of_path(path: &str) -> Option<u32> {
    let by_link = ["/dev/disk/by-id/", "/dev/disk/by-path/"].iter().find_map(|start| path.strip_prefix(start));
    let digits = if let Some(link) = by_link {
        link.rsplit_once("-part")?.1
    } else {
        let name = path.strip_prefix("/dev/")?;
        let letters = ["sd", "vd", "hd", "xvd"].iter().find_map(|kind| name.strip_prefix(kind));
        let digits = letters.map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_lowercase()));
        match digits {
            Some(digits) => digits,
            None => {
                let rest = ["nvme", "mmcblk"].iter().find_map(|kind| name.strip_prefix(kind))?;
                rest.rsplit_once('p').filter(|(disk, _)| disk.ends_with(|c: char| c.is_ascii_digit()))?.1
            }
        }
    };
    digits.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_partitions_have_their_number_at_the_end() {
        for (path, number) in [
            ("/dev/sda1", Some(1)),
            ("/dev/vdab15", Some(15)),
            ("/dev/nvme0n1p3", Some(3)),
            ("/dev/mmcblk0p2", Some(2)),
            ("/dev/disk/by-id/scsi-36000c29-part4", Some(4)),
            ("/dev/sda", None),
            ("/dev/nvme0n1", None),
            ("/dev/md0", None),
            ("/dev/mapper/mpatha-part1", None),
            ("/dev/disk/by-uuid/1234-5678", None),
            ("/dev/disk/by-id/scsi-36000c29", None),
        ] {
            assert_eq!(partition_of_path(path), number, "{path}");
        }
    }
}
