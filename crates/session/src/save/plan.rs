//! What a save will read and why: made, shown and confirmed before anything is read for real.

use block::{Extents, InRegion, ReadAt, Window};
use cluster::offline::Found;
use cluster::sharing::{Class, Lock, Purpose};
use filesystem::{Coverage, Stacks, Survey};
use image::{ImageName, Store};
use layout::{Layout, Region, RegionKind};

use crate::error::{Error, Refusal, RequestError, Result};
use crate::examine::examine_disks;
use crate::guard::{Guard, Watched, tell_of_watching};
use crate::progress::{Cancel, Event, Observer, Phase};
use crate::repository::image_exists;
use crate::selection::Selection;
use crate::source::Source;

/// What an operator asks of a save.
#[derive(Clone, Debug)]
pub struct SaveRequest {
    /// Name of the new image.
    pub image: ImageName,
    /// Regions to save, as `p1` or `sda:p1`; empty for all.
    pub regions: Vec<String>,
    /// The set that the image belongs to.
    pub set: Option<String>,
    /// What the operator wrote.
    pub note: Option<String>,
}

/// What will be saved.
pub struct SavePlan {
    /// The request that it answers.
    pub request: SaveRequest,
    /// One for each source, in their order.
    pub disks: Vec<PlannedDisk>,
    /// What was seen of the sharing of each, in their order.
    pub sharing: Vec<Watched>,
    /// What keeps from the disks of others, and what an operator said about them.
    pub guard: Guard,
    /// What the systems on them say about themselves.
    pub found: Found,
}

/// What will be saved of a disk.
pub struct PlannedDisk {
    /// Its name in the image.
    pub name: String,
    /// Its tables and regions.
    pub layout: Layout,
    /// One for each region of the layout, in their order.
    pub regions: Vec<PlannedRegion>,
}

/// What will be saved of a region.
pub struct PlannedRegion {
    /// What was found in it.
    pub survey: Survey,
    /// The bytes that will be read; empty where the region is left out.
    pub extents: Extents<InRegion>,
    /// Whether it is saved.
    pub is_saved: bool,
    /// What was seen, where the region is left out because others use it.
    pub shared: Option<String>,
}

impl SavePlan {
    /// Bytes that will be read.
    pub fn total_bytes(&self) -> u64 {
        self.disks.iter().flat_map(|disk| &disk.regions).map(|region| region.extents.total_bytes()).sum()
    }

    /// Checks that these are the disks that the plan was made of.
    pub(super) fn check_sources(&self, sources: &[Source<'_>]) -> Result<()> {
        let same = |(disk, source): (&PlannedDisk, &Source<'_>)| {
            disk.name == source.name && disk.layout.disk_size == source.disk.size()
        };
        if self.disks.len() == sources.len() && self.disks.iter().zip(sources).all(same) {
            Ok(())
        } else {
            Err(RequestError::OtherDisks.into())
        }
    }
}

/// Looks at the sources and plans to save them as a new image, where nobody knows more of them than their bytes say.
///
/// # Errors
/// As [`plan_save_guarded`].
pub fn plan_save(
    store: &dyn Store,
    sources: &[Source<'_>],
    request: SaveRequest,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<SavePlan> {
    plan_save_guarded(store, sources, request, Guard::default(), observer, cancel)
}

/// Looks at the sources and plans to save them as a new image. Regions that others use are left out, unless the guard
/// says that somebody named their disk.
///
/// # Errors
/// `ImageExists`; a region that does not exist; a source that can't be read at all; `Shared` where others write to a
/// source, where a region that others use was asked for by its name, or where nothing else is there to be saved.
pub fn plan_save_guarded(
    store: &dyn Store,
    sources: &[Source<'_>],
    request: SaveRequest,
    guard: Guard,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<SavePlan> {
    if sources.is_empty() {
        return Err(RequestError::NoDisks.into());
    }
    check_names(sources)?;
    if image_exists(store, &request.image)? {
        return Err(Refusal::ImageExists(request.image.to_string()).into());
    }
    let total = sources.iter().map(|source| source.disk.size()).sum();
    observer.notify(Event::Began { phase: Phase::Survey, total });
    let layouts: Vec<Layout> = sources.iter().map(read_layout).collect::<Result<_>>()?;
    let names = sources.iter().zip(&layouts).map(|(source, layout)| (source.name.as_str(), layout));
    let selection = Selection::new(&request.regions, names)?;

    let sharing: Vec<Watched> = sources
        .iter()
        .map(|source| guard.look(called(source), source.disk, Purpose::Save).map_err(|error| of_source(source, error)))
        .collect::<Result<_>>()?;
    let mut done = 0_u64;
    let surveys = survey_disks(sources, &layouts, &mut |place| {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match place {
            Surveying::Region { disk, region } => {
                observer.notify(Event::Region { disk: disk.name.clone(), region: region.name.clone(), bytes: 0 });
            }
            Surveying::Done { disk } => {
                done = done.saturating_add(disk.disk.size());
                observer.notify(Event::Progress { done });
            }
        }
        Ok(())
    })?;
    let found = examine_disks(sources, &layouts, &surveys);
    let disks = sources.iter().zip(layouts).zip(surveys);
    let disks = disks.map(|((source, layout), surveys)| {
        let regions = layout.regions.iter().zip(surveys);
        let regions =
            regions.map(|(region, survey)| plan_region(region, survey, selection.contains(&source.name, &region.name)));
        PlannedDisk { name: source.name.clone(), regions: regions.collect(), layout }
    });
    let mut plan = SavePlan { request, disks: disks.collect(), sharing, guard, found };
    plan.leave_out_shared()?;
    Ok(plan)
}

/// What the operator calls a source.
fn called<'a>(source: &'a Source<'_>) -> &'a str {
    if source.identity.path.is_empty() { &source.name } else { &source.identity.path }
}

/// A look at a source that failed is no failure of a destination.
fn of_source(source: &Source<'_>, error: Error) -> Error {
    match error {
        Error::Destination { offset, source: error, .. } => {
            Error::Source { disk: source.name.clone(), offset, source: error }
        }
        other => other,
    }
}

impl SavePlan {
    /// Takes what others use out of the plan, unless somebody named it, knowing that.
    fn leave_out_shared(&mut self) -> Result<()> {
        let are_named = !self.request.regions.is_empty();
        let mut left_out = None;
        for (disk, watched) in self.disks.iter_mut().zip(&self.sharing) {
            for (region, planned) in disk.layout.regions.iter().zip(&mut disk.regions) {
                let class = watched.assessment.class_of(&region.name);
                let Some(gate) = self.guard.closed_gate(&watched.assessment, class, Purpose::Save, None) else {
                    continue;
                };
                if planned.is_saved && (are_named || gate.lock != Lock::Confirm(Class::Shared)) {
                    return Err(Refusal::Shared(Box::new(gate)).into());
                }
                if planned.is_saved {
                    let proofs = watched.assessment.about(|name| name == region.name);
                    let proofs: Vec<String> = proofs.map(|finding| finding.evidence.proof()).collect();
                    (planned.is_saved, planned.extents) = (false, Extents::new());
                    planned.shared = Some(proofs.join("; "));
                    left_out = Some(gate);
                }
            }
        }
        let saves_something = self.disks.iter().flat_map(|disk| &disk.regions).any(|region| region.is_saved);
        match left_out {
            Some(gate) if !saves_something => Err(Refusal::Shared(Box::new(gate)).into()),
            _ => Ok(()),
        }
    }

    /// Looks again at the disks that are read: what changes meanwhile is not of one moment.
    pub(super) fn check_sharing(&self, sources: &[Source<'_>], observer: &dyn Observer, cancel: &Cancel) -> Result<()> {
        tell_of_watching(self.sharing.iter(), observer);
        for ((source, disk), watched) in sources.iter().zip(&self.disks).zip(&self.sharing) {
            let saved = |region: &Region| {
                let planned = disk.layout.regions.iter().zip(&disk.regions);
                planned.into_iter().any(|(other, planned)| other.name == region.name && planned.is_saved)
            };
            let again = self.guard.look_again(watched, source.disk, &saved, cancel);
            again.map_err(|error| of_source(source, error))?;
        }
        Ok(())
    }
}

/// The names of disks become parts of paths: two equal ones would write into the same files, and an image with an
/// odd one could not be read again.
fn check_names(sources: &[Source<'_>]) -> Result<()> {
    for (number, source) in sources.iter().enumerate() {
        if !image::is_plain(&source.name) {
            return Err(RequestError::DiskName(source.name.clone()).into());
        }
        if sources.iter().take(number).any(|other| other.name == source.name) {
            return Err(RequestError::SameDiskTwice(source.name.clone()).into());
        }
    }
    Ok(())
}

fn plan_region(region: &Region, survey: Survey, is_saved: bool) -> PlannedRegion {
    let extents = if is_saved { survey.coverage.extents(region.extent.length()) } else { Extents::new() };
    PlannedRegion { survey, extents, is_saved, shared: None }
}

/// How far a survey of disks is.
pub enum Surveying<'a> {
    /// A region is next.
    Region {
        /// Its disk.
        disk: &'a Source<'a>,
        /// The region.
        region: &'a Region,
    },
    /// Every region of a disk was looked at.
    Done {
        /// The disk.
        disk: &'a Source<'a>,
    },
}

/// What lies in all regions of all disks, in their order. All disks are looked at together: volume groups and arrays
/// reach over several.
///
/// Gaps are nobody's: somebody's metadata may be anywhere in them, so they are saved whole without asking whether they
/// resemble a file system.
///
/// # Errors
/// Those of `visit` only.
pub fn survey_disks(
    sources: &[Source<'_>],
    layouts: &[Layout],
    visit: &mut dyn FnMut(Surveying<'_>) -> Result<()>,
) -> Result<Vec<Vec<Survey>>> {
    let pairs = || sources.iter().zip(layouts);
    let fixed: Vec<Vec<Option<Survey>>> = pairs()
        .map(|(source, layout)| layout.regions.iter().map(|region| survey_by_disk(source, layout, region)).collect())
        .collect();
    let mut windows = Vec::new();
    for ((source, layout), fixed) in pairs().zip(&fixed) {
        let open = layout.regions.iter().zip(fixed).filter(|(_, fixed)| fixed.is_none());
        windows.extend(open.map(|(region, _)| Window::new(source.disk, region.extent)));
    }
    let regions: Vec<&dyn ReadAt> = windows.iter().map(|window| -> &dyn ReadAt { window }).collect();
    let mut stacks = Stacks::find(&regions);
    let mut numbers = 0..regions.len();
    let mut surveys = Vec::new();
    for ((disk, layout), fixed) in pairs().zip(fixed) {
        let mut of_disk = Vec::new();
        for (region, fixed) in layout.regions.iter().zip(fixed) {
            visit(Surveying::Region { disk, region })?;
            of_disk.push(match fixed {
                Some(survey) => survey,
                None => stacks.survey(numbers.next().unwrap_or(usize::MAX)),
            });
        }
        visit(Surveying::Done { disk })?;
        surveys.push(of_disk);
    }
    Ok(surveys)
}

/// What the disk as a whole says about a region; `None` where it is to be looked at.
fn survey_by_disk(source: &Source<'_>, layout: &Layout, region: &Region) -> Option<Survey> {
    match region.kind {
        RegionKind::Gap => Some(filesystem::outside_partitions()),
        RegionKind::WholeDisk => filesystem::survey_of_raid_disk(source.disk),
        RegionKind::Partition => filesystem::survey_of_raid_disk(source.disk)
            .or_else(|| filesystem::survey_of_partition_type(&region.partition.as_ref()?.type_id))
            .or_else(|| {
                let partitions = layout.regions.iter().filter(|region| region.kind == RegionKind::Partition);
                let partitions: Vec<_> = partitions.map(|region| region.extent).collect();
                filesystem::survey_of_array_disk(source.disk, &partitions)
            }),
    }
}

/// The layout of a disk. Bad sectors and damaged tables are no error: what they divided is saved whole.
///
/// # Errors
/// Where the disk does not answer at all.
pub fn read_layout(source: &Source<'_>) -> Result<Layout> {
    layout::read(source.disk).map_err(|layout::Error::Io { offset, source: error, .. }| Error::Source {
        disk: source.name.clone(),
        offset,
        source: error,
    })
}

impl PlannedRegion {
    /// Whether every byte of the region is saved.
    pub fn is_whole(&self) -> bool {
        matches!(self.survey.coverage, Coverage::Whole(_))
    }
}
