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
    // Xen can give a guest a whole disk that is called as a partition is.
    let is_disk = manifest.disks.iter().any(|disk| disk.identity.path == path);
    let partition = partition_of_path(&path).filter(|_| !is_disk).map(Device::Partition);
    Named { device: group.or(partition), path }
}

fn has_volume(manifest: &Manifest, name: &str) -> bool {
    let records = manifest.disks.iter().flat_map(DiskRecord::pairs).flat_map(|(_, record)| &record.layers);
    let mut groups = records.filter(|layer| layer.kind == "lvm2");
    groups.any(|layer| {
        let mut volumes = layer.volumes.iter().filter_map(|volume| volume.name.as_ref());
        layer.name.as_ref().is_some_and(|group| volumes.any(|volume| format!("{group}/{volume}") == name))
    })
}

/// What links of udev to disks begin with. Arrays (`md-`, `raid-`), volumes (`dm-`) and members (`lvm-pv-`) are in the
/// same directory, and a volume may be called as a partition is.
const DISK_IDS: [&str; 10] =
    ["ata-", "scsi-", "wwn-", "nvme-", "virtio-", "usb-", "mmc-", "memstick-", "ieee1394-", "cciss-"];
/// The same for where disks are attached. Nothing else has a place, but an unknown name is no answer.
const DISK_PATHS: [&str; 8] = ["pci-", "virtio-pci-", "platform-", "acpi-", "ccw-", "scm-", "xen-", "ip-"];
/// The kernel's kinds of disks with letters, and how many of those are believed: the first 702 disks have two, and a
/// link called `vdata1` or `sdata1` would pass with three.
const LETTERED: [&str; 4] = ["sd", "vd", "hd", "xvd"];
const LETTERS_LIMIT: usize = 2;
/// What stands in front of each number in the names of the others.
const NUMBERED: [&[&str]; 4] = [&["nvme", "n", "p"], &["mmcblk", "p"], &["cciss/c", "d", "p"], &["ida/c", "d", "p"]];

/// The number in the name of a partition of a disk; `None` for everything that may be something else.
///
/// Source: systemd `rules.d/60-persistent-storage.rules` and `63-md-raid-arrays.rules`, `udev-builtin-path_id.c`; LVM
/// `13-dm-disk.rules`; Linux `block/genhd.c` and `drivers/scsi/sd.c` for the names of disks.
fn partition_of_path(path: &str) -> Option<u32> {
    let name = path.strip_prefix("/dev/")?;
    for (directory, kinds) in [("disk/by-id/", &DISK_IDS[..]), ("disk/by-path/", &DISK_PATHS[..])] {
        if let Some(link) = name.strip_prefix(directory) {
            let (disk, number) = link.rsplit_once("-part")?;
            let is_of_disk = kinds.iter().any(|kind| disk.starts_with(kind)) && !disk.contains('/');
            return number_of(number).filter(|_| is_of_disk);
        }
    }
    if let Some(rest) = LETTERED.iter().find_map(|kind| name.strip_prefix(kind)) {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_lowercase());
        let letters = rest.len().saturating_sub(number.len());
        return number_of(number).filter(|_| (1..=LETTERS_LIMIT).contains(&letters));
    }
    NUMBERED.iter().find_map(|parts| last_number(name, parts))
}

/// The number behind the last of these, each of which is followed by one.
fn last_number(name: &str, parts: &[&str]) -> Option<u32> {
    let (mut rest, mut last) = (name, "");
    for part in parts {
        rest = rest.strip_prefix(part)?;
        let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        last = rest.strip_suffix(behind).filter(|digits| !digits.is_empty())?;
        rest = behind;
    }
    number_of(last).filter(|_| rest.is_empty())
}

/// A number as the kernel writes that of a partition.
fn number_of(digits: &str) -> Option<u32> {
    let is_plain = !digits.starts_with(['0', '+']);
    digits.parse().ok().filter(|_| is_plain)
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
            ("/dev/sdzz128", Some(128)),
            ("/dev/hdc2", Some(2)),
            ("/dev/xvdb1", Some(1)),
            ("/dev/cciss/c0d1p5", Some(5)),
            ("/dev/nvme10n12p34", Some(34)),
            ("/dev/disk/by-id/scsi-36000c29-part4", Some(4)),
            ("/dev/disk/by-id/ata-WDC_WD10-68F_WD-1-part1", Some(1)),
            ("/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part2", Some(2)),
            ("/dev/disk/by-id/nvme-eui.0025388b710c2a5f-part3", Some(3)),
            ("/dev/disk/by-id/virtio-data-part1", Some(1)),
            ("/dev/disk/by-id/usb-Stick_1-0:0-part1", Some(1)),
            ("/dev/disk/by-id/mmc-SD16G_0x1-part1", Some(1)),
            ("/dev/disk/by-id/ieee1394-0011-part1", Some(1)),
            ("/dev/disk/by-path/pci-0000:00:1f.2-ata-1-part6", Some(6)),
            ("/dev/disk/by-path/virtio-pci-0000:00:05.0-part2", Some(2)),
            ("/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.2020-01.a:b-lun-0-part1", Some(1)),
            ("/dev/disk/by-path/acpi-VMBUS:00-scsi-0:0:0:0-part1", Some(1)),
            // Partitions in arrays, and whatever else is no partition of a disk.
            ("/dev/disk/by-id/md-uuid-3aaa0122:29827cfa:5331ad66:ca767371-part1", None),
            ("/dev/disk/by-id/md-name-node:0-part1", None),
            ("/dev/disk/by-id/raid-isw_Volume0-part1", None),
            ("/dev/disk/by-id/dm-name-vg-data--part1", None),
            ("/dev/disk/by-id/dm-name-mpatha-part1", None),
            ("/dev/disk/by-id/dm-uuid-part1-mpath-36000c29", None),
            ("/dev/disk/by-id/dm-uuid-LVM-abcd-part1", None),
            ("/dev/disk/by-id/lvm-pv-uuid-abcd-part1", None),
            ("/dev/disk/by-id/bcache-part1", None),
            ("/dev/disk/by-id/scsi-36000c29-part", None),
            ("/dev/disk/by-id/scsi-36000c29-part0", None),
            ("/dev/disk/by-id/scsi-36000c29-part01", None),
            ("/dev/disk/by-id/scsi-36000c29-part/by-partnum/1", None),
            ("/dev/disk/by-id/my-part1", None),
            ("/dev/disk/by-path/my-part1", None),
            ("/dev/disk/by-path/pci-0-part/x-part1", None),
            ("/dev/disk/by-label/scsi-part1", None),
            ("/dev/vdata1", None),
            ("/dev/sdata1", None),
            ("/dev/sd1", None),
            ("/dev/sda01", None),
            ("/dev/sda+1", None),
            ("/dev/sda0", None),
            ("/dev/sda1x", None),
            ("/dev/sdisk1", None),
            ("/dev/sd/a1", None),
            ("/dev/nvmetank0p1", None),
            ("/dev/nvme0p1", None),
            ("/dev/nvme0n1px", None),
            ("/dev/mmcblk0boot0p1", None),
            ("/dev/mmcblkp1", None),
            ("/dev/cciss/c0d1", None),
            ("/dev/cciss/data1", None),
            ("/dev/md127p1", None),
            ("/dev/md_d0p1", None),
            ("/dev/dm-1", None),
            ("/dev/drbd1", None),
            ("/dev/loop0p1", None),
            ("sda1", None),
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
