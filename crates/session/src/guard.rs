//! The guard of shared disks: nothing is written to a disk, and no shared one is read into an image, before it was
//! looked at, and again just before the first byte is written: a node may have booted meanwhile.
//!
//! What the bytes of a disk say is found here; what only the machine knows (ways to the disk, reservations) the caller
//! tells through [`Surroundings`].

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use block::{Disk, DiskExtent, Extents, InDisk, ReadAt, SectorSize};
use cluster::sharing::{Assessment, Class, Evidence, Finding, Gate, Lock, Purpose, gate};
use cluster::watch::{self, Sample};
use cluster::{Scope, on_disk};
use layout::{Layout, Region};

use crate::error::{Error, Refusal, Result};
use crate::progress::{Cancel, Event, Observer, Phase};

/// What a caller knows of disks beyond their bytes.
pub trait Surroundings: Send + Sync {
    /// What the machine says of a disk, by the name that the operator calls it: identifiers, and evidence about the
    /// disk as a whole. Asked when a session is planned, and again just before the first write.
    fn assess(&self, disk: &str) -> Assessment;

    /// Whether other machines may reach the disk, although nothing says so: it is watched for changes then.
    fn is_reachable(&self, disk: &str) -> bool;

    /// What the systems on other disks of the machine, and its firmware, say about a disk that others may reach, and
    /// about which of its regions.
    fn told(&self, _disk: &str, _layout: &Layout) -> Vec<(Option<String>, Evidence)> {
        Vec::new()
    }

    /// Waits between two looks.
    fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Nobody knows more than the bytes say.
struct Nothing;

impl Surroundings for Nothing {
    fn assess(&self, disk: &str) -> Assessment {
        Assessment::new(disk, Vec::new())
    }

    fn is_reachable(&self, _: &str) -> bool {
        false
    }
}

/// What a session needs to keep from disks of others.
#[derive(Clone)]
pub struct Guard {
    surroundings: Arc<dyn Surroundings>,
    /// Identifiers of disks that an operator or a job named, knowing that they are shared.
    pub confirmed: Vec<String>,
}

impl Default for Guard {
    fn default() -> Self {
        Self::new(Arc::new(Nothing), Vec::new())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("confirmed", &self.confirmed).finish_non_exhaustive()
    }
}

/// A gate that is closed: which disk, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedGate {
    /// The disk, as the operator calls it.
    pub disk: String,
    /// What it can be confirmed by.
    pub id: String,
    /// Its class.
    pub class: Class,
    /// What would open it, if anything.
    pub lock: Lock,
    /// What was seen.
    pub findings: Vec<Finding>,
}

/// A disk as it was when a session was planned.
#[derive(Clone, Debug)]
pub struct Watched {
    /// All that was seen.
    pub assessment: Assessment,
    purpose: Purpose,
    layout: Layout,
    spots: Extents<InDisk>,
    sample: Option<(Sample, Instant)>,
}

impl Guard {
    /// A guard that asks `surroundings`.
    pub fn new(surroundings: Arc<dyn Surroundings>, confirmed: Vec<String>) -> Self {
        Self { surroundings, confirmed }
    }

    /// Looks at a disk for the first time. What others may write to is read, to be compared later.
    ///
    /// # Errors
    /// Where the disk does not answer at all.
    pub(crate) fn look(&self, name: &str, disk: &dyn Disk, purpose: Purpose) -> Result<Watched> {
        let (assessment, layout) = self.assess(name, disk, purpose)?;
        let mut watched = Watched { purpose, assessment, layout, spots: Extents::new(), sample: None };
        if self.is_watched(&watched.assessment) {
            watched.spots = watch::spots(&disk, &watched.layout);
            watched.sample = Some((watch::sample(&disk, &watched.spots), Instant::now()));
        }
        Ok(watched)
    }

    fn is_watched(&self, assessment: &Assessment) -> bool {
        let evidence = assessment.findings.iter().map(|finding| &finding.evidence);
        let says_so = |one: &Evidence| one.is_of_the_way() || (one.class() != Class::Local && one.number() <= 10);
        let is_mirror = |one: &Evidence| matches!(one, Evidence::MirrorHalf { .. });
        evidence.into_iter().any(|one| says_so(one) && !is_mirror(one))
            || self.surroundings.is_reachable(&assessment.disk)
    }

    fn assess(&self, name: &str, disk: &dyn Disk, purpose: Purpose) -> Result<(Assessment, Layout)> {
        let mut assessment = self.surroundings.assess(name);
        let disk = Noticing { disk, failure: Mutex::new(None) };
        let layout = match layout::read(&disk) {
            Ok(layout) => layout,
            Err(layout::Error::Io { source, .. }) if on_disk::is_reservation_conflict(&source) => {
                let evidence = Evidence::ReservationConflict { device: name.to_owned(), operation: "reading".into() };
                assessment.add(None, evidence);
                return Err(closed(&assessment, Class::Contended, Lock::Contended));
            }
            Err(layout::Error::Io { offset, source, .. }) => {
                return Err(Error::Destination { disk: name.to_owned(), operation: "reading", offset, source });
            }
        };
        on_disk::look(&disk, &layout, &mut assessment);
        match disk.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) if on_disk::is_reservation_conflict(&error) => {
                let evidence = Evidence::ReservationConflict { device: name.to_owned(), operation: "reading".into() };
                assessment.add(None, evidence);
            }
            // Whether something would have been found there, nobody knows. Reading harms nobody; writing might.
            Some((offset, source)) if purpose != Purpose::Save => {
                return Err(Error::Destination { disk: name.to_owned(), operation: "reading", offset, source });
            }
            _ => {}
        }
        let has_way = assessment.findings.iter().any(|finding| finding.evidence.is_of_the_way());
        if has_way || self.surroundings.is_reachable(name) {
            for (region, evidence) in self.surroundings.told(name, &layout) {
                assessment.add(region.as_deref(), evidence);
            }
        }
        if has_way && layout.table == layout::TableKind::None {
            let detail = format!("{} bytes without a partition table", layout.disk_size);
            assessment.add(None, Evidence::Unknown { detail });
        }
        Ok((assessment, layout))
    }

    /// All that is known of the sharing of a disk now. Bad sectors are passed over.
    ///
    /// # Errors
    /// Where the disk does not answer at all.
    pub fn assessment(&self, name: &str, disk: &dyn Disk) -> Result<Assessment> {
        self.assess(name, disk, Purpose::Save).map(|(assessment, _)| assessment)
    }

    /// The gate of a disk as a whole, where it is closed.
    pub fn gate(&self, assessment: &Assessment, purpose: Purpose, scope: Option<Scope>) -> Option<ClosedGate> {
        self.closed_gate(assessment, assessment.class(), purpose, scope)
    }

    /// The gate of a disk, where it is closed.
    pub(crate) fn closed_gate(
        &self,
        assessment: &Assessment,
        class: Class,
        purpose: Purpose,
        scope: Option<Scope>,
    ) -> Option<ClosedGate> {
        match gate(assessment, class, purpose, scope, &self.confirmed) {
            Gate::Open => None,
            Gate::Closed(lock) => Some(ClosedGate::new(assessment, class, lock)),
        }
    }

    /// Looks again, just before the first byte is written or read. Waits where it has to be seen whether others write.
    ///
    /// # Errors
    /// `Shared` where there is more danger than when it was planned.
    pub(crate) fn look_again(
        &self,
        watched: &Watched,
        disk: &dyn Disk,
        is_touched: &dyn Fn(&Region) -> bool,
        cancel: &Cancel,
    ) -> Result<()> {
        let before = watched.class_over(is_touched);
        let mut changes = Vec::new();
        if let Some((sample, at)) = &watched.sample {
            self.wait_until(*at, cancel)?;
            let now = watch::sample(&disk, &watched.spots);
            let seconds = watch::INTERVAL.max(at.elapsed()).as_secs();
            changes = watch::compare(sample, &now, &watched.layout, seconds);
        }
        let (mut fresh, layout) = self.assess(&watched.assessment.disk, disk, watched.purpose)?;
        for change in changes {
            fresh.add(change.region.as_deref(), change.evidence);
        }
        let fresh = Watched { assessment: fresh, layout, ..watched.clone() };
        let class = fresh.class_over(is_touched);
        let registered = fresh.assessment.is_registered() && !watched.assessment.is_registered();
        if class > before || class == Class::Contended || registered {
            let lock = if registered && class != Class::Contended { Lock::Registered } else { Lock::Contended };
            return Err(closed(&fresh.assessment, class, lock));
        }
        Ok(())
    }

    fn wait_until(&self, at: Instant, cancel: &Cancel) -> Result<()> {
        const STEP: Duration = Duration::from_millis(200);
        let mut left = watch::INTERVAL.saturating_sub(at.elapsed());
        while !left.is_zero() {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let step = left.min(STEP);
            self.surroundings.wait(step);
            left = left.saturating_sub(step);
        }
        Ok(())
    }
}

/// A disk whose first failure to read is remembered: those who look for evidence go on without what they can't read.
struct Noticing<'a> {
    disk: &'a dyn Disk,
    failure: Mutex<Option<(u64, io::Error)>>,
}

impl ReadAt for Noticing<'_> {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset, buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::UnexpectedEof {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                let told = error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error);
                failure.get_or_insert((offset, told));
            }
        })
    }
}

impl Disk for Noticing<'_> {
    fn sector_size(&self) -> Option<SectorSize> {
        self.disk.sector_size()
    }

    fn data_extents(&self, extent: DiskExtent) -> io::Result<Extents<InDisk>> {
        self.disk.data_extents(extent)
    }
}

/// Tells that disks are watched, where any is: it takes some seconds.
pub(crate) fn tell_of_watching<'a>(watched: impl Iterator<Item = &'a Watched>, observer: &dyn Observer) {
    if watched.into_iter().any(|disk| disk.sample.is_some()) {
        observer.notify(Event::Began { phase: Phase::Check, total: 0 });
    }
}

fn closed(assessment: &Assessment, class: Class, lock: Lock) -> Error {
    Refusal::Shared(Box::new(ClosedGate::new(assessment, class, lock))).into()
}

impl ClosedGate {
    fn new(assessment: &Assessment, class: Class, lock: Lock) -> Self {
        let (disk, id) = (assessment.disk.clone(), assessment.id().to_owned());
        Self { disk, id, class, lock, findings: assessment.findings.clone() }
    }

    /// What was seen, in the words of logs.
    pub fn proof(&self) -> String {
        let told = self.findings.iter().map(|finding| {
            let place = finding.region.as_ref().map(|region| format!("{region}: ")).unwrap_or_default();
            format!("{place}{} ({})", finding.evidence.proof(), finding.evidence.code())
        });
        told.collect::<Vec<_>>().join("; ")
    }
}

impl Watched {
    /// The class of the disk as a whole together with the regions that are touched.
    pub(crate) fn class_over(&self, is_touched: &dyn Fn(&Region) -> bool) -> Class {
        // What is not in the layout can't be told apart: it counts.
        self.assessment.class_over(|name| self.layout.region(name).is_none_or(is_touched))
    }
}
