//! Names that a copy beside its original gets inside its partitions: UUIDs and serial numbers of file systems, and the
//! lines of files that name them.
//!
//! Everything is decided in the plan, and changed on the way to the destination: no moment exists in which a disk holds
//! half of it under a table. Whatever is not certain keeps its name, and is listed with the reason: halves of mirrors,
//! whose other half must stay equal; arrays; what was not clean; what a file names that can't be changed.

use std::collections::{BTreeMap, BTreeSet};

use block::{Extents, InRegion, ReadAt, RegionExtent};
use cluster::offline::referrers;
use filesystem::{FileTree, Files, InnerDevice, NewIdentity, Patch, Reason, new_identity, open_files, visit_devices};
use image::{ChunkIndex, FileSystemRecord, Manifest, RegionRecord, Store};
use layout::{Change, NewIds, Region, RegionKind};

use super::mirror::{Amendment, MirrorHalf};
use super::plan::{PlannedDestination, disk_of, open_map};
use super::programs::search;
use super::replace::{Name, replacements};
use crate::error::{Error, Result};
use crate::examine::{found_in, mirrored_regions};
use crate::view::RegionView;

/// A file system that gets another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenamedFileSystem {
    /// Where it lies, as `sda:p2`, or `sda:p3 (vg/root)`.
    pub place: String,
    /// As `blkid` names it.
    pub kind: String,
    /// UUID or serial number in the image.
    pub from: String,
    /// On the destination.
    pub to: String,
}

/// A file system, or a member of storage software, that keeps its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptName {
    /// Where it lies.
    pub place: String,
    /// As `blkid` names it.
    pub kind: String,
    /// UUID or serial number.
    pub uuid: String,
    /// Why, as a code of reasons for saving a region whole.
    pub code: String,
    /// What exactly was seen.
    pub detail: String,
}

/// A name in a file that becomes the new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedReference {
    /// Where the file system with the file lies.
    pub place: String,
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: u64,
    /// What stands there in the image.
    pub from: String,
    /// What will stand there.
    pub to: String,
}

/// A name that stays in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftName {
    /// Where the file system with the file lies.
    pub place: String,
    /// The file.
    pub file: String,
    /// The line, counted from 1; `None` in a program.
    pub line: Option<u64>,
    /// What stands there; `None` where nobody looked, as the file is too long or one of too many.
    pub name: Option<String>,
}

/// What a copy is called inside its partitions.
#[derive(Default)]
pub struct NewNames {
    /// What gets another name.
    pub renamed: Vec<RenamedFileSystem>,
    /// What keeps its name.
    pub kept: Vec<KeptName>,
    /// Lines of files that are changed.
    pub fixed: Vec<FixedReference>,
    /// What stays in files although it changes, or although both disks have it.
    pub left: Vec<LeftName>,
    /// The same as bytes of regions: by place and first byte.
    amendments: BTreeMap<(String, u64), (Vec<u8>, Vec<u8>)>,
}

/// A larger file is no text that somebody wrote.
const TEXT_LIMIT: u64 = 4 << 20;

/// A region that is written.
struct Part<'a> {
    place: String,
    record: &'a RegionRecord,
    view: RegionView<'a>,
    /// The bytes that are written of it.
    saved: Extents<InRegion>,
}

impl Part<'_> {
    fn has_layer(&self, kind: &str) -> bool {
        self.record.layers.iter().any(|layer| layer.kind == kind)
    }
}

/// A logical volume whose file system may get another name.
struct Volume<'a> {
    file_system: &'a FileSystemRecord,
    blocked: Option<Reason>,
}

/// From bytes of a region or a device to those of places.
type Places<'a> = dyn Fn(RegionExtent) -> Vec<(String, RegionExtent)> + 'a;

/// Plans the names of what is written.
pub fn plan(
    store: &dyn Store,
    index: &ChunkIndex,
    manifest: &Manifest,
    ids: &NewIds,
    disks: &[PlannedDestination],
    mirrors: &[MirrorHalf],
) -> Result<NewNames> {
    let parts = parts(store, index, manifest, disks)?;
    let mut planner = Planner {
        ids,
        mirrors,
        known: BTreeMap::new(),
        pinned: BTreeMap::new(),
        mirrored: names_of_mirrored(manifest),
        has_external: has_external_mirror(manifest),
        names: NewNames::default(),
    };
    let blocked: Vec<_> = parts.iter().map(|part| planner.blocked(part)).collect();
    let volumes = planner.volumes(&parts);
    let views: Vec<&dyn ReadAt> = parts.iter().map(|part| -> &dyn ReadAt { &part.view }).collect();
    let present = parts.iter().filter_map(|part| part.record.file_system.as_ref());
    let present = present.chain(volumes.values().map(|volume| volume.file_system));
    let present: Vec<Name> = present.filter_map(|found| Name::kept(found.uuid.as_ref()?)).collect();
    for (part, _) in parts.iter().zip(&blocked).filter(|(part, blocked)| blocked.is_none() && is_settled(part)) {
        planner.pin(&part.view, &part.place, part.record.file_system.as_ref(), &present);
    }
    visit_devices(&views, &mut |device| {
        if let Some(volume) = volumes.get(&device.name).filter(|volume| volume.blocked.is_none()) {
            planner.pin(device, &place_of(&parts, device), Some(volume.file_system), &present);
        }
        Ok::<(), Error>(())
    })?;
    for (part, blocked) in parts.iter().zip(&blocked) {
        planner.rename_part(part, blocked.as_ref());
    }
    let mut seen = BTreeSet::new();
    visit_devices(&views, &mut |device| {
        if let Some(volume) = volumes.get(&device.name) {
            seen.insert(device.name.clone());
            planner.rename_volume(&parts, device, volume);
        }
        Ok::<(), Error>(())
    })?;
    planner.keep_unseen(&parts, &seen);

    // Only now is every new name known.
    let names = planner.all_names(disks);
    for (part, _) in parts.iter().zip(&blocked).filter(|(part, blocked)| blocked.is_none() && is_settled(part)) {
        let places = |extent| vec![(part.place.clone(), extent)];
        planner.fix_files(&part.view, &part.place, &names, &parts, &places);
    }
    visit_devices(&views, &mut |device| {
        if volumes.get(&device.name).is_some_and(|volume| volume.blocked.is_none()) {
            let place = place_of(&parts, device);
            planner.fix_files(device, &place, &names, &parts, &|extent| places_of(&parts, device, extent));
        }
        Ok::<(), Error>(())
    })?;
    let kept = planner.names.kept.iter().filter_map(|kept| Name::kept(&kept.uuid));
    let names: Vec<Name> = names.into_iter().chain(kept).collect();
    parts.iter().for_each(|part| planner.search_programs(part, &names));
    Ok(planner.names)
}

impl NewNames {
    /// What is written otherwise than the image holds it.
    pub(super) fn amendments(&self) -> impl Iterator<Item = Amendment> {
        self.amendments.iter().map(|((place, start), (from, to))| {
            let length = u64::try_from(from.len()).unwrap_or(u64::MAX);
            let extent = RegionExtent::between(*start, start.saturating_add(length));
            Amendment { place: place.clone(), extent, from: from.clone(), to: to.clone() }
        })
    }

    /// Takes the parts of a patch, if all of it lies where the image is written; `false`, and nothing taken, otherwise.
    fn take(&mut self, patches: &[Patch], parts: &[Part<'_>], places: &Places<'_>) -> bool {
        let mut taken = BTreeMap::new();
        for patch in patches {
            let mut done = 0_usize;
            for (place, extent) in places(patch.extent()) {
                let length = usize::try_from(extent.length()).unwrap_or(usize::MAX);
                let range = done..done.saturating_add(length);
                let is_saved = parts.iter().any(|part| part.place == place && part.saved.contains(extent));
                let (Some(from), Some(to), true) =
                    (patch.from.get(range.clone()), patch.to.get(range.clone()), is_saved)
                else {
                    return false;
                };
                done = range.end;
                let key = (place, extent.start());
                // One file under two names is the same bytes.
                match self.amendments.get(&key) {
                    Some((_, known)) if known != to => return false,
                    Some(_) => {}
                    None => drop(taken.insert(key, (from.to_vec(), to.to_vec()))),
                }
            }
            if done != patch.from.len() {
                return false;
            }
        }
        self.amendments.extend(taken);
        true
    }

    fn keep(&mut self, place: &str, file_system: &FileSystemRecord, reason: Reason) {
        let Some(uuid) = file_system.uuid.clone() else { return };
        let code = serde_json::to_value(reason.code).ok().and_then(|value| Some(value.as_str()?.to_owned()));
        let (kind, code) = (file_system.kind.clone(), code.unwrap_or_default());
        self.kept.push(KeptName { place: place.to_owned(), kind, uuid, code, detail: reason.detail });
    }
}

/// The regions that are written, but gaps.
fn parts<'a>(
    store: &'a dyn Store,
    index: &'a ChunkIndex,
    manifest: &'a Manifest,
    disks: &[PlannedDestination],
) -> Result<Vec<Part<'a>>> {
    let mut parts = Vec::new();
    for planned in disks {
        let disk = disk_of(manifest, &planned.disk)?;
        for written in &planned.regions {
            let Some((region, record)) = disk.region(&written.name) else { continue };
            let Some(map) = open_map(store, manifest, disk, &written.name)? else { continue };
            if region.kind == RegionKind::Gap {
                continue;
            }
            let grid = map.grid();
            let saved = grid.covered(map.extents()).map(|range| grid.extent_of(range)).collect();
            let place = format!("{}:{}", planned.disk, written.name);
            let view = RegionView::new(store, index, map, manifest.image.as_str(), &place)?;
            parts.push(Part { place, record, view, saved });
        }
    }
    Ok(parts)
}

/// What a configuration names as mirrored: regions as `sda:p2`, logical volumes as `vg/data`.
fn names_of_mirrored(manifest: &Manifest) -> BTreeSet<String> {
    let found = found_in(manifest);
    let regions = mirrored_regions(manifest, &found);
    let mut names: BTreeSet<_> =
        regions.into_iter().map(|(_, disk, region)| format!("{}:{}", disk.name, region.name)).collect();
    let resources = found.systems.iter().flat_map(|system| &system.clusters).flat_map(|cluster| &cluster.resources);
    let mirrors = resources.filter(|resource| matches!(resource.kind.as_str(), "drbd" | "md" | "hd"));
    for (_, device) in mirrors.flat_map(|resource| &resource.parameters) {
        names.extend(volume_of_path(device));
        for disk in &manifest.disks {
            let number = device.strip_prefix(disk.identity.path.as_str()).filter(|_| !disk.identity.path.is_empty());
            let number = number.and_then(|rest| rest.strip_prefix('p').unwrap_or(rest).parse::<u32>().ok());
            let is_it = |region: &&Region| region.partition.as_ref().map(|partition| partition.number) == number;
            let region = number.and_then(|_| disk.layout.regions.iter().find(is_it));
            names.extend(region.map(|region| format!("{}:{}", disk.name, region.name)));
        }
    }
    names
}

/// The logical volume that a path names, as `vg/data`.
pub(super) fn volume_of_path(path: &str) -> Option<String> {
    if let Some(name) = ["/dev/mapper/", "/dev/disk/by-id/dm-name-"].iter().find_map(|start| path.strip_prefix(start)) {
        // Between group and volume stands one hyphen; those in their names are doubled.
        let plain = name.replace("--", "\0");
        let (group, volume) = plain.split_once('-')?;
        return Some(format!("{}/{}", group.replace('\0', "-"), volume.replace('\0', "-")));
    }
    path.strip_prefix("/dev/").filter(|name| name.split('/').count() == 2).map(str::to_owned)
}

/// Whether metadata of a mirror lie on a device of their own: nobody knows which device holds the data.
fn has_external_mirror(manifest: &Manifest) -> bool {
    let records = manifest.disks.iter().flat_map(|disk| &disk.regions);
    let mut layers = records.filter(|record| record.file_system.is_none()).flat_map(|record| &record.layers);
    layers.any(|layer| layer.kind == "drbd")
}

/// Nothing waits to be written over its files.
fn is_settled(part: &Part<'_>) -> bool {
    part.record.layers.is_empty() && part.record.notes.iter().all(|note| note.code != "not-clean")
}

/// What keeps from changing a file system that was saved for this reason.
fn reason_of(code: Option<&str>, detail: Option<&str>) -> Option<Reason> {
    let code = serde_json::from_value(serde_json::Value::from(code?)).ok();
    let mut reason = Reason::opaque(detail.unwrap_or_default());
    reason.code = code.unwrap_or(reason.code);
    Some(reason)
}

/// The name of a device as it is told, with the region that it begins in.
fn place_of(parts: &[Part<'_>], device: &InnerDevice<'_>) -> String {
    let first = device.places(RegionExtent::between(0, 512)).first().map(|(number, _)| *number);
    let region = first.and_then(|number| parts.get(number)).map_or("", |part| part.place.as_str());
    format!("{region} ({})", device.name)
}

fn places_of(parts: &[Part<'_>], device: &InnerDevice<'_>, extent: RegionExtent) -> Vec<(String, RegionExtent)> {
    // Byte by byte in the order of the device only where it lies in one piece: all others are left alone.
    let places = device.places(extent);
    let named = places.into_iter().map(|(number, extent)| Some((parts.get(number)?.place.clone(), extent)));
    let named: Option<Vec<_>> = named.collect();
    named.filter(|places| places.len() == 1).unwrap_or_default()
}

struct Planner<'a> {
    ids: &'a NewIds,
    mirrors: &'a [MirrorHalf],
    /// What became of each name: copies of a file system stay copies.
    known: BTreeMap<String, [u8; 16]>,
    /// Why a name, in small letters, must stay: what names it can't be changed.
    pinned: BTreeMap<String, String>,
    mirrored: BTreeSet<String>,
    has_external: bool,
    names: NewNames,
}

impl Planner<'_> {
    /// Why the names in a region stay; `None` where nothing is known against a change.
    fn blocked(&self, part: &Part<'_>) -> Option<Reason> {
        let is_half = self.mirrors.iter().any(|half| half.volume.is_none() && half.place() == part.place);
        if is_half || part.has_layer("drbd") || self.mirrored.contains(&part.place) {
            return Some(Reason::opaque("half of a mirror: the other half has the same name"));
        }
        if let Some(layer) = part.record.layers.first() {
            return Some(Reason::opaque(&format!("it belongs to {}, whose own tools change it", layer.kind)));
        }
        let kind = part.record.file_system.as_ref().map(|found| found.kind.as_str());
        // The EFI system partition and swap are never mirrored by DRBD.
        if self.has_external && !matches!(kind, Some("vfat" | "swap")) {
            return Some(Reason::opaque("it may be half of a mirror whose metadata lie elsewhere"));
        }
        let coverage = &part.record.coverage;
        reason_of(coverage.reason.as_deref(), coverage.detail.as_deref())
            .filter(|reason| reason.code != filesystem::ReasonCode::OutsidePartitions)
    }

    /// The logical volumes of all regions by their full name, as `vg/root`.
    fn volumes<'p>(&self, parts: &'p [Part<'_>]) -> BTreeMap<String, Volume<'p>> {
        let mut volumes = BTreeMap::new();
        let is_in_array = parts.iter().any(|part| part.has_layer("md"));
        for layer in parts.iter().flat_map(|part| &part.record.layers).filter(|layer| layer.kind == "lvm2") {
            let has_snapshot = layer.volumes.iter().any(|volume| volume.kind.contains("snapshot"));
            for volume in &layer.volumes {
                let (Some(file_system), Some(group), Some(name)) = (&volume.file_system, &layer.name, &volume.name)
                else {
                    continue;
                };
                let name = format!("{group}/{name}");
                let is_half = self.mirrors.iter().any(|half| half.volume.as_ref() == Some(&name));
                let blocked = if is_half || self.has_external || self.mirrored.contains(&name) {
                    Some(Reason::opaque("it may be half of a mirror: the other half has the same name"))
                } else if is_in_array {
                    Some(Reason::opaque("an array is in the image: its halves must stay equal"))
                } else if has_snapshot {
                    Some(Reason::opaque("its group has snapshots, which hold parts of what they were made of"))
                } else if volume.kind != "linear" {
                    Some(Reason::opaque(&format!("it lies in a volume of the kind {}", volume.kind)))
                } else {
                    reason_of(volume.reason.as_deref(), volume.detail.as_deref())
                };
                volumes.insert(name, Volume { file_system, blocked });
            }
        }
        volumes
    }

    /// Keeps the names that stand in files which are part of their own record, and that of a file system whose files can't
    /// be read: with another name the copy would not find what it names.
    fn pin(&mut self, device: &dyn ReadAt, place: &str, file_system: Option<&FileSystemRecord>, names: &[Name]) {
        let Some(files) = open_files(device).filter(|files| files.kind != "ntfs") else { return };
        let paths: BTreeSet<String> = referrers(&files).into_iter().collect();
        for path in paths {
            match files.is_in_record(&path) {
                Ok(false) => {}
                Ok(true) => {
                    let bytes = files.read(&path, TEXT_LIMIT).unwrap_or_default();
                    for found in replacements(&bytes, names) {
                        let detail =
                            format!("{path} of {place} names it, and lies in its inode, where it is not changed");
                        self.pinned.entry(found.from.to_ascii_lowercase()).or_insert(detail);
                    }
                }
                Err(error) => {
                    let Some(uuid) = file_system.and_then(|found| found.uuid.as_ref()) else { continue };
                    let detail = format!("{path} can't be read: {error}");
                    self.pinned.entry(uuid.to_ascii_lowercase()).or_insert(detail);
                }
            }
        }
    }

    fn rename_part(&mut self, part: &Part<'_>, blocked: Option<&Reason>) {
        let Some(file_system) = &part.record.file_system else { return };
        let places = |extent| vec![(part.place.clone(), extent)];
        self.rename(&part.view, &part.place, file_system, blocked, std::slice::from_ref(part), &places);
    }

    fn rename_volume(&mut self, parts: &[Part<'_>], device: &InnerDevice<'_>, volume: &Volume<'_>) {
        let place = place_of(parts, device);
        let places = |extent| places_of(parts, device, extent);
        self.rename(device, &place, volume.file_system, volume.blocked.as_ref(), parts, &places);
    }

    fn rename(
        &mut self,
        device: &dyn ReadAt,
        place: &str,
        file_system: &FileSystemRecord,
        blocked: Option<&Reason>,
        parts: &[Part<'_>],
        places: &Places<'_>,
    ) {
        let Some(from) = &file_system.uuid else { return };
        if let Some(reason) = blocked {
            return self.names.keep(place, file_system, reason.clone());
        }
        if let Some(detail) = self.pinned.get(&from.to_ascii_lowercase()) {
            return self.names.keep(place, file_system, Reason::opaque(detail));
        }
        let next = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        let Some(id) = self.known.get(from).copied().or_else(|| self.ids.of_file_system(next)) else { return };
        match new_identity(device, id) {
            None => {
                let reason = Reason::opaque("only its own tools can change its name");
                self.names.keep(place, file_system, reason);
            }
            Some(Err(reason)) => self.names.keep(place, file_system, reason),
            Some(Ok(NewIdentity { uuid, patches })) => {
                if self.names.take(&patches, parts, places) {
                    self.known.insert(from.clone(), id);
                    let (place, kind) = (place.to_owned(), file_system.kind.clone());
                    self.names.renamed.push(RenamedFileSystem { place, kind, from: from.clone(), to: uuid });
                } else {
                    let reason = Reason::opaque("a part of its names does not lie in one piece of what is restored");
                    self.names.keep(place, file_system, reason);
                }
            }
        }
    }

    /// Volumes that nobody here can look into.
    fn keep_unseen(&mut self, parts: &[Part<'_>], seen: &BTreeSet<String>) {
        let mut told = BTreeSet::new();
        for part in parts {
            for layer in part.record.layers.iter().filter(|layer| layer.kind != "drbd") {
                for volume in &layer.volumes {
                    let Some(file_system) = &volume.file_system else { continue };
                    let group = layer.name.as_deref().filter(|_| layer.kind == "lvm2");
                    let name = [group, volume.name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("/");
                    if !seen.contains(&name) && told.insert(name.clone()) {
                        let reason = Reason::opaque(&format!("it lies in {} ({})", layer.kind, volume.kind));
                        self.names.keep(&format!("{} ({name})", part.place), file_system, reason);
                    }
                }
            }
        }
    }

    /// Every name that changes: of partitions and of file systems.
    fn all_names(&self, disks: &[PlannedDestination]) -> Vec<Name> {
        let changes = disks.iter().filter_map(|disk| disk.placement.as_ref()).flat_map(|placement| &placement.changes);
        let tables = changes.filter_map(|change| match change {
            Change::Renamed { from, to, .. } => Name::new(from, to),
            _ => None,
        });
        let inside = self.names.renamed.iter().filter_map(|renamed| Name::new(&renamed.from, &renamed.to));
        tables.chain(inside).collect()
    }

    /// Changes the names in the files of a file system. What can't be changed is found in the list of what is left.
    fn fix_files(&mut self, device: &dyn ReadAt, place: &str, names: &[Name], parts: &[Part<'_>], places: &Places<'_>) {
        let Some(files) = open_files(device).filter(|files| files.kind != "ntfs") else { return };
        let paths: BTreeSet<String> = referrers(&files).into_iter().collect();
        for path in paths {
            let Some(bytes) = files.read(&path, TEXT_LIMIT).filter(|bytes| !bytes.contains(&0)) else { continue };
            for found in replacements(&bytes, names) {
                let patches = patches(&files, &path, &found.from, &found.to, found.start);
                let (place, file) = (place.to_owned(), path.clone());
                if patches.is_some_and(|patches| self.names.take(&patches, parts, places)) {
                    let (line, from, to) = (found.line, found.from, found.to);
                    self.names.fixed.push(FixedReference { place, file, line, from, to });
                } else {
                    let (line, name) = (Some(found.line), Some(found.from));
                    self.names.left.push(LeftName { place, file, line, name });
                }
            }
        }
    }

    /// Finds names in the programs of an EFI system partition.
    fn search_programs(&mut self, part: &Part<'_>, names: &[Name]) {
        if part.record.file_system.as_ref().is_none_or(|found| found.kind != "vfat") {
            return;
        }
        let Some(files) = open_files(&part.view) else { return };
        for program in search(&files, names) {
            let found: Vec<_> = match program.names {
                Some(names) => names.into_iter().map(Some).collect(),
                None => vec![None],
            };
            let left = |name| LeftName { place: part.place.clone(), file: program.file.clone(), line: None, name };
            self.names.left.extend(found.into_iter().map(left));
        }
    }
}

/// The bytes of the device that a name in a file becomes; `None` where they don't all lie on it.
fn patches(files: &FileTree<'_>, path: &str, from: &str, to: &str, start: u64) -> Option<Vec<Patch>> {
    let length = u64::try_from(from.len()).ok()?;
    let mut done = 0_usize;
    let mut patches = Vec::new();
    for extent in files.places(path, start, length).ok().flatten()? {
        let end = done.checked_add(usize::try_from(extent.length()).ok()?)?;
        let part = |text: &str| Some(text.as_bytes().get(done..end)?.to_vec());
        patches.push(Patch { start: extent.start(), from: part(from)?, to: part(to)? });
        done = end;
    }
    Some(patches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_named_by_three_kinds_of_paths() {
        for (path, name) in [
            ("/dev/vg/data", Some("vg/data")),
            ("/dev/mapper/vg-data", Some("vg/data")),
            ("/dev/mapper/my--vg-the--data", Some("my-vg/the-data")),
            ("/dev/disk/by-id/dm-name-vg-data--part1", Some("vg/data-part1")),
            ("/dev/disk/by-id/dm-uuid-LVM-abcd", None),
            ("/dev/sdb1", None),
            ("/dev/disk/by-id/scsi-1", None),
            ("/dev/mapper/mpatha", None),
        ] {
            assert_eq!(volume_of_path(path).as_deref(), name, "{path}");
        }
    }
}
