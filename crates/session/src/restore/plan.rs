//! What a restore will overwrite: made, checked, shown and confirmed before anything is written.

use block::{Disk, DiskExtent, Extents, InDisk, WriteAt, is_zero};
use cluster::Scope;
use cluster::sharing::Purpose;
use image::{
    CHUNK_SIZE, ChunkContent, ChunkIndex, DiskRecord, Manifest, MapReader, Store, StoreErrorKind, manifest_path,
    map_path,
};
use layout::{Change, Grow, NewIds, PlaceError, PlaceOptions, Placement};

use super::mirror::{self, MirrorHalf};
use super::new_names::{self, NewNames};
use crate::error::{Error, Refusal, RequestError, Result};
use crate::guard::{ClosedGate, Guard, Watched, tell_of_watching};
use crate::index::read_index;
use crate::load::Loader;
use crate::pieces::Place;
use crate::progress::{Cancel, Event, Observer, Phase};
use crate::repository::open_repository;
use crate::selection::{find, known_regions};

/// A disk that can be overwritten.
pub trait WritableDisk: Disk + WriteAt {}
impl<T: Disk + WriteAt> WritableDisk for T {}

/// A disk that is to be overwritten.
pub struct Destination<'a> {
    /// What the operator calls it, as `/dev/sdb`.
    pub name: String,
    /// Its bytes.
    pub disk: &'a dyn WritableDisk,
}

/// Which disk of the image goes onto which destination.
pub struct Assignment<'a> {
    /// Disk, by its name in the image.
    pub disk: String,
    /// The destination.
    pub destination: Destination<'a>,
}

/// One region that is restored alone, into a region that the destination has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionChoice {
    /// The region of the image, as `p1` or `sda:p1`.
    pub source: String,
    /// The region of the destination by the destination's present table; the one of the same name where `None`.
    pub destination: Option<String>,
}

/// What an operator asks of a restore.
#[derive(Clone, Debug, Default)]
pub struct RestoreRequest {
    /// Regions to restore alone; empty for whole disks.
    pub regions: Vec<RegionChoice>,
    /// Tables and gaps without the contents of partitions.
    pub layout_only: bool,
    /// The partition that gets the additional space of a larger disk.
    pub grow: Option<Grow>,
    /// New signatures and GUIDs for a disk that must live beside its original; `None` keeps all of them.
    pub new_ids: Option<NewIds>,
    /// Whether another node lives on with newer data; must be answered where the image holds half of a mirror.
    pub scope: Option<Scope>,
    /// Read back what was written.
    pub read_back: bool,
}

/// What will be overwritten.
pub struct RestorePlan {
    /// The image.
    pub manifest: Manifest,
    /// The request that it answers.
    pub request: RestoreRequest,
    /// One for each destination, in the order of the assignments.
    pub disks: Vec<PlannedDestination>,
    /// The halves of mirrors that will be written.
    pub mirrors: Vec<MirrorHalf>,
    /// What a copy beside its original is called inside its partitions.
    pub new_names: NewNames,
    /// What was seen of the sharing of each destination, in their order.
    pub sharing: Vec<Watched>,
    /// What keeps from the disks of others, and what an operator said about them.
    pub guard: Guard,
    /// Where every chunk is.
    pub(crate) index: ChunkIndex,
}

/// What will be overwritten of one destination.
pub struct PlannedDestination {
    /// Disk, by its name in the image.
    pub disk: String,
    /// The destination, as the operator calls it.
    pub destination: String,
    /// Its bytes.
    pub size: u64,
    /// Tables and what is cleared; `None` where only regions are restored into the table that is there.
    pub placement: Option<Placement>,
    /// The regions that are written.
    pub regions: Vec<PlannedRestore>,
    /// Regions that the destination gets and that are not written: left out of the image, or of the request.
    pub left: Vec<String>,
}

/// A region that will be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRestore {
    /// Its name in the image.
    pub name: String,
    /// Where it goes.
    pub extent: DiskExtent,
    /// Bytes that the region of the destination has, at least as many as `extent`.
    pub room: u64,
    /// Bytes that were saved of it.
    pub bytes: u64,
}

impl PlannedDestination {
    /// Whether anything of a region of the destination, as it is divided now, may come to harm. Where the table is
    /// written, that is every region: it may get another place or another GUID, and none at all until the end.
    fn touches(&self, region: &layout::Region) -> bool {
        self.placement.is_some() || self.regions.iter().any(|planned| planned.extent.overlaps(&region.extent))
    }

    /// Whether what looks for its metadata at the end of a region would look elsewhere than it is written.
    pub(super) fn end_moves(&self, region: &PlannedRestore) -> bool {
        region.room != region.extent.length()
    }
}

impl RestorePlan {
    /// Checks that these are the disks that the plan was made of.
    pub(super) fn check_assignments(&self, assignments: &[Assignment<'_>]) -> Result<()> {
        let same = |(planned, assignment): (&PlannedDestination, &Assignment<'_>)| {
            planned.disk == assignment.disk
                && planned.destination == assignment.destination.name
                && planned.size == assignment.destination.disk.size()
        };
        if self.disks.len() == assignments.len() && self.disks.iter().zip(assignments).all(same) {
            Ok(())
        } else {
            Err(RequestError::OtherDisks.into())
        }
    }

    /// The destinations that may not be overwritten, or not yet.
    pub fn closed_gates(&self) -> Vec<ClosedGate> {
        let disks = self.disks.iter().zip(&self.sharing);
        let gates = disks.filter_map(|(planned, watched)| {
            let class = watched.class_over(&|region| planned.touches(region));
            self.guard.closed_gate(&watched.assessment, class, Purpose::Restore, self.request.scope)
        });
        gates.collect()
    }

    /// Refuses where a destination may not be overwritten.
    ///
    /// # Errors
    /// `Shared`, with the first of them.
    pub fn check_sharing(&self) -> Result<()> {
        match self.closed_gates().into_iter().next() {
            Some(gate) => Err(Refusal::Shared(Box::new(gate)).into()),
            None => Ok(()),
        }
    }

    /// Looks again at all destinations, just before the first byte is written.
    pub(super) fn check_sharing_again(
        &self,
        assignments: &[Assignment<'_>],
        observer: &dyn Observer,
        cancel: &Cancel,
    ) -> Result<()> {
        tell_of_watching(self.sharing.iter(), observer);
        for ((planned, watched), assignment) in self.disks.iter().zip(&self.sharing).zip(assignments) {
            let disk: &dyn Disk = assignment.destination.disk;
            self.guard.look_again(watched, disk, &|region| planned.touches(region), cancel)?;
        }
        Ok(())
    }

    /// Bytes that were saved of all regions that will be written.
    pub fn total_bytes(&self) -> u64 {
        self.disks.iter().flat_map(|disk| &disk.regions).map(|region| region.bytes).sum()
    }

    /// The regions to write with their maps, in disk order.
    pub(crate) fn places<'a>(&self, store: &'a dyn Store) -> Result<Vec<Place<'a>>> {
        let mut places = Vec::new();
        for (number, planned) in self.disks.iter().enumerate() {
            let record = disk_of(&self.manifest, &planned.disk)?;
            for region in &planned.regions {
                let Some(map) = open_map(store, &self.manifest, record, &region.name)? else { continue };
                let name = format!("{}:{}", planned.disk, region.name);
                places.push(Place { disk: number, name, extent: region.extent, map });
            }
        }
        Ok(places)
    }
}

/// Plans to restore an image, where nobody knows more of the destinations than their bytes say.
///
/// # Errors
/// As [`plan_restore_guarded`].
pub fn plan_restore(
    store: &dyn Store,
    manifest: Manifest,
    assignments: &[Assignment<'_>],
    request: RestoreRequest,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RestorePlan> {
    plan_restore_guarded(store, manifest, assignments, request, Guard::default(), observer, cancel)
}

/// Plans to restore an image, and checks that the repository has everything that is needed. Whether the destinations
/// may be overwritten is asked of [`RestorePlan::check_sharing`], and by `restore` itself.
///
/// # Errors
/// `Refused` where the image has no place on a destination; damage where a map or the place of a chunk is missing.
pub fn plan_restore_guarded(
    store: &dyn Store,
    manifest: Manifest,
    assignments: &[Assignment<'_>],
    request: RestoreRequest,
    guard: Guard,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RestorePlan> {
    if assignments.is_empty() {
        return Err(RequestError::NoDisks.into());
    }
    check_assignments(assignments)?;
    if request.new_ids.is_some() && !request.regions.is_empty() {
        return Err(RequestError::NewIdsWithoutTable.into());
    }
    open_repository(store)?;
    let disks = if request.regions.is_empty() {
        let numbered = (0..).zip(assignments);
        numbered
            .map(|(number, assignment)| plan_disk(&manifest, number, assignment, &request))
            .collect::<Result<_>>()?
    } else {
        plan_regions(&manifest, assignments, &request)?
    };
    let index = read_index(store, observer, cancel)?;
    let mirrors = mirror::plan(store, &index, &manifest, &disks, assignments)?;
    let new_names = match &request.new_ids {
        Some(ids) => new_names::plan(store, &index, &manifest, ids, &disks, &mirrors)?,
        None => NewNames::default(),
    };
    let sharing = assignments
        .iter()
        .map(|assignment| guard.look(&assignment.destination.name, assignment.destination.disk, Purpose::Restore))
        .collect::<Result<_>>()?;
    let plan = RestorePlan { manifest, request, disks, mirrors, new_names, sharing, guard, index };
    check_chunks(store, &plan, observer, cancel)?;
    check_cut(store, &plan)?;
    Ok(plan)
}

/// Two disks of the image on one destination would overwrite each other.
fn check_assignments(assignments: &[Assignment<'_>]) -> Result<()> {
    for (number, one) in assignments.iter().enumerate() {
        for other in assignments.iter().take(number) {
            if one.disk == other.disk {
                return Err(RequestError::SameDiskTwice(one.disk.clone()).into());
            }
            if one.destination.name == other.destination.name {
                return Err(RequestError::SameDiskTwice(one.destination.name.clone()).into());
            }
        }
    }
    Ok(())
}

fn plan_disk(
    manifest: &Manifest,
    number: u32,
    assignment: &Assignment<'_>,
    request: &RestoreRequest,
) -> Result<PlannedDestination> {
    let record = disk_of(manifest, &assignment.disk)?;
    let disk = assignment.destination.disk;
    let destination = layout::Destination { size: disk.size(), sector_size: disk.sector_size() };
    // Two disks with the same new names could not live beside one another either.
    let new_ids = request.new_ids.as_ref().map(|ids| ids.of_disk(number));
    let options = PlaceOptions { grow: request.grow.clone(), new_ids };
    let mut placement = layout::place(&record.layout, &destination, &options)
        .map_err(|reason| Refusal::Placement { disk: assignment.disk.clone(), reason })?;
    let mut regions = Vec::new();
    let mut left = Vec::new();
    let mut kept = Extents::new();
    for (name, extent) in &placement.regions {
        let Some((region, saved)) = record.region(name) else { continue };
        let is_wanted = !request.layout_only || region.kind == layout::RegionKind::Gap;
        if saved.map.is_some() && is_wanted {
            let room = match region.kind {
                layout::RegionKind::Partition => {
                    extent.length().saturating_add(grown_by(&placement, name, record.layout.sector_size.bytes()))
                }
                // What ends with the disk ends elsewhere on a larger one.
                _ if region.extent.end() == record.layout.disk_size => disk.size().saturating_sub(extent.start()),
                _ => extent.length(),
            };
            regions.push(PlannedRestore { name: name.clone(), extent: *extent, room, bytes: saved.coverage.bytes });
        } else {
            left.push(name.clone());
            kept.insert(*extent);
        }
    }
    // Places of old tables lie in the first and last bytes of a disk, and so may a partition: of one that is not
    // written, nothing is cleared either.
    let clear: Extents<InDisk> = placement.clear.into_iter().collect();
    placement.clear = clear.difference(&kept).iter().collect();
    Ok(PlannedDestination {
        disk: assignment.disk.clone(),
        destination: assignment.destination.name.clone(),
        size: disk.size(),
        placement: Some(placement),
        regions,
        left,
    })
}

/// Bytes by which the entry of a region grows.
fn grown_by(placement: &Placement, name: &str, sector_size: u64) -> u64 {
    let grown = placement.changes.iter().find_map(|change| match change {
        Change::Grown { name: grown, from, to } if grown == name => Some(to.saturating_sub(*from)),
        _ => None,
    });
    grown.unwrap_or_default().saturating_mul(sector_size)
}

fn plan_regions(
    manifest: &Manifest,
    assignments: &[Assignment<'_>],
    request: &RestoreRequest,
) -> Result<Vec<PlannedDestination>> {
    let assigned = |name: &str| assignments.iter().any(|assignment| assignment.disk == name);
    let known = known_regions(
        manifest.disks.iter().filter(|disk| assigned(&disk.name)).map(|disk| (disk.name.as_str(), &disk.layout)),
    );
    let mut planned = Vec::new();
    for assignment in assignments {
        let record = disk_of(manifest, &assignment.disk)?;
        check_sectors(record, assignment)?;
        let present =
            layout::read(assignment.destination.disk).map_err(|layout::Error::Io { offset, source, .. }| {
                Error::Destination { disk: assignment.disk.clone(), operation: "reading", offset, source }
            })?;
        let mut regions = Vec::new();
        for choice in &request.regions {
            let (disk, name) = find(&choice.source, &known)?;
            if disk == assignment.disk {
                regions.push(plan_region(record, &name, &present, choice)?);
            }
        }
        let chosen = |name: &String| !regions.iter().any(|region| region.name == *name);
        let left = record.layout.regions.iter().map(|region| region.name.clone()).filter(chosen).collect();
        check_apart(&regions)?;
        planned.push(PlannedDestination {
            disk: assignment.disk.clone(),
            destination: assignment.destination.name.clone(),
            size: assignment.destination.disk.size(),
            placement: None,
            regions,
            left,
        });
    }
    Ok(planned)
}

/// A file system counts in the sectors of the disk that it was made on.
fn check_sectors(record: &DiskRecord, assignment: &Assignment<'_>) -> Result<()> {
    let image = record.layout.sector_size;
    match assignment.destination.disk.sector_size() {
        Some(destination) if destination != image => {
            let reason = PlaceError::SectorSize { image, destination };
            Err(Refusal::Placement { disk: assignment.disk.clone(), reason }.into())
        }
        _ => Ok(()),
    }
}

fn check_apart(regions: &[PlannedRestore]) -> Result<()> {
    let taken = |(number, region): (usize, &PlannedRestore)| {
        regions.iter().take(number).any(|other| other.extent.overlaps(&region.extent)).then(|| region.name.clone())
    };
    regions.iter().enumerate().find_map(taken).map_or(Ok(()), |name| Err(RequestError::SameRegionTwice(name).into()))
}

fn plan_region(
    record: &DiskRecord,
    name: &str,
    present: &layout::Layout,
    choice: &RegionChoice,
) -> Result<PlannedRestore> {
    let no_region = |name: &str, layout: &layout::Layout| {
        let known: Vec<_> = layout.regions.iter().map(|region| region.name.as_str()).collect();
        RequestError::NoRegion { name: name.to_owned(), known: known.join(" ") }
    };
    let (region, saved) = record.region(name).ok_or_else(|| no_region(name, &record.layout))?;
    if saved.map.is_none() {
        return Err(RequestError::RegionNotSaved(name.to_owned()).into());
    }
    let wanted = choice.destination.as_deref().unwrap_or(name);
    let place = present.region(wanted).ok_or_else(|| no_region(wanted, present))?;
    let (needed, available) = (region.extent.length(), place.extent.length());
    if needed > available {
        return Err(Refusal::RegionTooSmall { region: name.to_owned(), needed, available }.into());
    }
    let extent = DiskExtent::between(place.extent.start(), place.extent.start().saturating_add(needed));
    Ok(PlannedRestore { name: name.to_owned(), extent, room: available, bytes: saved.coverage.bytes })
}

/// The disk of an image.
pub fn disk_of<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a DiskRecord> {
    manifest.disk(name).ok_or_else(|| {
        let known: Vec<_> = manifest.disks.iter().map(|disk| disk.name.as_str()).collect();
        RequestError::NoDisk { name: name.to_owned(), known: known.join(" ") }.into()
    })
}

/// Opens the map of a region; `None` where the region was left out.
pub fn open_map<'a>(
    store: &'a dyn Store,
    manifest: &Manifest,
    disk: &DiskRecord,
    region: &str,
) -> Result<Option<MapReader<'a>>> {
    let Some((region, saved)) = disk.region(region) else { return Ok(None) };
    let Some(map) = &saved.map else { return Ok(None) };
    let summary = map.summary(&manifest_path(&manifest.image))?;
    let path = map_path(&manifest.image, &disk.name, &region.name);
    match MapReader::open(store, &path, summary, region.extent.length()) {
        // A map that the manifest names and nobody finds: the repository is at fault, not the way to it.
        Err(image::Error::Store(error))
            if matches!(error.kind, StoreErrorKind::NotFound | StoreErrorKind::Truncated) =>
        {
            let expected = format!("a map of {} bytes", map.size);
            Err(image::Error::corrupt(&path, 0, expected, error.source.to_string()).into())
        }
        map => Ok(Some(map?)),
    }
}

/// Checks that every chunk has a place, before anything is overwritten.
fn check_chunks(store: &dyn Store, plan: &RestorePlan, observer: &dyn Observer, cancel: &Cancel) -> Result<()> {
    observer.notify(Event::Began { phase: Phase::Check, total: plan.total_bytes() });
    let mut done = 0_u64;
    for place in plan.places(store)? {
        let mut missing = 0_u64;
        let mut first: Option<(u64, String)> = None;
        for chunk in place.map.chunks() {
            let (number, content) = chunk?;
            if let ChunkContent::Stored(id) = content
                && !plan.index.contains(&id)
            {
                missing = missing.saturating_add(1);
                first.get_or_insert_with(|| (number, format!("no pack holds the chunk {id}")));
            }
        }
        if let Some((first_chunk, reason)) = first {
            let image = plan.manifest.image.to_string();
            let reason = match plan.index.damaged() {
                [] => reason,
                [damage, ..] => format!("{reason}; {}", damage.error),
            };
            return Err(Error::ChunksDamaged { image, region: place.name, count: missing, first_chunk, reason });
        }
        done = done.saturating_add(place.map.extents().total_bytes());
        observer.notify(Event::Progress { done });
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
    }
    Ok(())
}

/// Checks that what a smaller destination cuts off holds nothing but zeros.
fn check_cut(store: &dyn Store, plan: &RestorePlan) -> Result<()> {
    let stride = usize::try_from(CHUNK_SIZE).unwrap_or_default();
    let mut loader = Loader::new(store, &plan.index)?;
    for planned in &plan.disks {
        let record = disk_of(&plan.manifest, &planned.disk)?;
        for (name, cut) in planned.placement.iter().flat_map(|placement| &placement.cut) {
            let (Some(map), Some((region, _))) = (open_map(store, &plan.manifest, record, name)?, record.region(name))
            else {
                continue;
            };
            let Some(cut) = region.extent.within(cut) else { continue };
            let mut chunk_bytes = vec![0; stride];
            for chunk in map.chunks() {
                let (number, content) = chunk?;
                let extent = map.grid().extent(number);
                let Some(both) = extent.intersection(&cut) else { continue };
                if content == ChunkContent::Zero {
                    continue;
                }
                let region = format!("{}:{name}", planned.disk);
                if let Some(missing) = loader.load(&[content], stride, &mut chunk_bytes)? {
                    let (image, reason) = (plan.manifest.image.to_string(), missing.reason);
                    return Err(Error::ChunksDamaged { image, region, count: 1, first_chunk: number, reason });
                }
                let lost = crate::source::slice_of(&mut chunk_bytes, extent, both);
                if lost.is_none_or(|bytes| !is_zero(bytes)) {
                    return Err(Refusal::DataCutOff { disk: planned.disk.clone(), region }.into());
                }
            }
        }
    }
    Ok(())
}
