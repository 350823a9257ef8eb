//! Saving disks as an image.
//!
//! ```text
//! readers ──► encoders ──► writer ──► finisher
//!    ▲   batches      records  │  packs
//!    └──────── buffers ────────┘
//! ```
//!
//! Readers take batches of up to 1 MiB in disk order; encoders clear unused bytes, name each chunk,
//! and compress those that the repository does not hold; the writer puts batches back into order,
//! appends records to packs and tells the maps; the finisher makes full packs stable and gives them
//! their names. A fixed number of buffers goes round, so memory is bounded, and a stage that ends
//! closes its channels, so that every other ends too. The manifest is published when all packs and
//! maps are stable.

mod batch;
mod encode;
mod level;
mod packs;
mod plan;
mod slots;
mod space;
mod write;

use std::sync::Mutex;

use block::{Extents, InRegion};
use image::{
    CoverageMethod, CoverageRecord, DiskRecord, FileSystemRecord, ImageName, LayerRecord, Machine, Manifest,
    NoteRecord, RegionRecord, Store, StoreError, StoreErrorKind, Tool, Totals, VolumeRecord, lock_name,
};

pub(crate) use encode::clear_unused;
pub use level::Level;
pub use plan::{
    PlannedDisk, PlannedRegion, SavePlan, SaveRequest, Surveying, plan_save, plan_save_guarded, read_layout,
    survey_disks,
};

use crate::error::{Error, Refusal, Result};
use crate::examine::{records_of, write_checklists};
use crate::index::read_index;
use crate::log::Log;
use crate::progress::{Cancel, Event, Observer, Phase};
use crate::report::{Report, write_reports};
use crate::repository::{image_exists, open_or_make_repository};
use crate::restore::plan::open_map;
use crate::source::Source;

/// What a save needs to know of the world around it.
pub struct SaveSettings {
    /// zstd level.
    pub level: Level,
    /// Threads that compress.
    pub encoders: usize,
    /// Threads that read.
    pub readers: usize,
    /// 32 random bytes: ids of a new repository and of the session are made of them.
    pub random: [u8; 32],
    /// The machine, for the manifest.
    pub machine: Machine,
    /// The version of the program.
    pub version: String,
    /// The time now, as RFC 3339 in UTC.
    pub now: fn() -> String,
}

/// Saves what was planned. `sources` must be those that the plan was made of, in the same order.
///
/// Where a save of the same name was interrupted, this one goes on with what it had stored.
///
/// # Errors
/// Whatever happens before the end: the image does not exist then, and what was stored is found by the next save.
pub fn save(
    store: &dyn Store,
    sources: &[Source<'_>],
    plan: &SavePlan,
    settings: &SaveSettings,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Manifest> {
    save_with_reports(store, sources, plan, settings, observer, cancel, &|_| Vec::new())
}

/// The same, and keeps with the image what `reports` says of it. It is asked just before the image comes to exist.
///
/// # Errors
/// As [`save`].
pub fn save_with_reports(
    store: &dyn Store,
    sources: &[Source<'_>],
    plan: &SavePlan,
    settings: &SaveSettings,
    observer: &dyn Observer,
    cancel: &Cancel,
    reports: &dyn Fn(&Manifest) -> Vec<Report>,
) -> Result<Manifest> {
    plan.check_sources(sources)?;
    plan.check_sharing(sources, observer, cancel)?;
    let clock = std::time::Instant::now();
    let started = (settings.now)();
    let (for_repository, for_session) = settings.random.split_at(16);
    let image = &plan.request.image;
    open_or_make_repository(store, for_repository.try_into().unwrap_or_default())?;
    let lock = store.lock(&lock_name(image)).map_err(|error| busy_or(image, error))?;
    // Looked at again under the lock: another session may have finished in between.
    if image_exists(store, image)? {
        return Err(Refusal::ImageExists(image.to_string()).into());
    }
    let session: String = for_session.iter().map(|byte| format!("{byte:02x}")).collect();
    let log = Log::create(store, image, observer, settings.now)?;
    log.begin(&session, &settings.version)?;
    let mut index = read_index(store, &log, cancel)?;
    for damage in index.damaged() {
        log.notify(Event::Warning { text: format!("{}: not used: {}", damage.path, damage.error) });
    }
    let resumed = packs::finish_interrupted(store, image, &mut index)?;
    if resumed > 0 {
        log.notify(Event::Resumed { stored: resumed });
    }
    space::look_before(store, &log, plan.total_bytes())?;
    log.notify(Event::Began { phase: Phase::Save, total: plan.total_bytes() });
    let outcome = write::run(&write::Job { store, sources, plan, settings, index: &index, observer: &log, cancel })?;
    let (systems, findings) = records_of(&plan.found);
    let manifest = Manifest {
        format: image::FORMAT_VERSION,
        image: image.clone(),
        set: plan.request.set.clone(),
        note: plan.request.note.clone(),
        session,
        started,
        finished: (settings.now)(),
        tool: Tool { name: "sosei".into(), version: settings.version.clone() },
        machine: settings.machine.clone(),
        disks: disk_records(sources, plan, &outcome),
        systems,
        findings,
        totals: Totals {
            disk_bytes: sources.iter().map(|source| source.disk.size()).sum(),
            milliseconds: u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX),
            ..outcome.totals
        },
    };
    log.end("saved")?;
    check_maps(store, &manifest)?;
    write_checklists(store, &manifest)?;
    write_reports(store, image, &reports(&manifest))?;
    // Where somebody removed the lock, another session may have written into this image meanwhile.
    lock.confirm().map_err(|error| busy_or(image, error))?;
    manifest.publish(store).map_err(|error| match error {
        image::Error::Store(error) if error.kind == StoreErrorKind::AlreadyExists => {
            Error::from(Refusal::ImageExists(image.to_string()))
        }
        other => other.into(),
    })?;
    Ok(manifest)
}

/// What an error of the image's lock means to whoever saves.
fn busy_or(image: &ImageName, error: StoreError) -> Error {
    match error.kind {
        StoreErrorKind::Locked => Refusal::ImageBusy(image.to_string()).into(),
        _ => error.into(),
    }
}

/// Reads every map back: an image whose maps another session or a faulty target has changed must not exist.
fn check_maps(store: &dyn Store, manifest: &Manifest) -> Result<()> {
    for disk in &manifest.disks {
        for region in &disk.regions {
            open_map(store, manifest, disk, &region.name)?;
        }
    }
    Ok(())
}

fn disk_records(sources: &[Source<'_>], plan: &SavePlan, outcome: &write::Outcome) -> Vec<DiskRecord> {
    let mut saved = outcome.regions.iter();
    let disks = sources.iter().zip(&plan.disks);
    disks
        .map(|(source, disk)| DiskRecord {
            name: disk.name.clone(),
            identity: source.identity.clone(),
            layout: disk.layout.clone(),
            regions: disk
                .layout
                .regions
                .iter()
                .zip(&disk.regions)
                .zip(saved.by_ref())
                .map(|((region, planned), saved)| region_record(&region.name, planned, saved))
                .collect(),
        })
        .collect()
}

fn region_record(name: &str, planned: &PlannedRegion, saved: &write::SavedRegion) -> RegionRecord {
    let reason = match &planned.survey.coverage {
        filesystem::Coverage::Used(_) => None,
        filesystem::Coverage::Whole(reason) => Some(reason),
    };
    RegionRecord {
        name: name.to_owned(),
        file_system: planned.survey.file_system.as_ref().map(file_system_record),
        coverage: CoverageRecord {
            method: if reason.is_some() { CoverageMethod::Whole } else { CoverageMethod::Used },
            reason: reason.map(|reason| code_of(&reason.code)),
            detail: reason.map(|reason| reason.detail.clone()),
            bytes: planned.extents.total_bytes(),
        },
        notes: notes(planned),
        layers: layer_records(&planned.survey),
        map: saved.map.map(Into::into),
        unreadable: saved.unreadable.clone(),
    }
}

/// What was noticed in a region, and why it is left out where it is shared.
fn notes(planned: &PlannedRegion) -> Vec<NoteRecord> {
    let found = planned.survey.notes.iter();
    let found = found.map(|note| NoteRecord { code: code_of(&note.code), detail: note.detail.clone() });
    let shared = planned.shared.iter().map(|proof| NoteRecord { code: "shared-disk".into(), detail: proof.clone() });
    found.chain(shared).collect()
}

fn file_system_record(file_system: &filesystem::FileSystem) -> FileSystemRecord {
    FileSystemRecord {
        kind: file_system.kind.clone(),
        uuid: file_system.uuid.clone(),
        label: file_system.label.clone(),
        block_size: file_system.block_size,
        size: file_system.size,
    }
}

/// Storage software on a region, as the manifest tells it.
pub fn layer_records(survey: &filesystem::Survey) -> Vec<LayerRecord> {
    survey.layers.iter().map(layer_record).collect()
}

fn layer_record(layer: &filesystem::Layer) -> LayerRecord {
    let volumes = layer.volumes.iter().map(|volume| VolumeRecord {
        name: volume.name.clone(),
        uuid: volume.uuid.clone(),
        kind: volume.kind.clone(),
        size: volume.size,
        file_system: volume.file_system.as_ref().map(file_system_record),
        reason: volume.whole.as_ref().map(|reason| code_of(&reason.code)),
        detail: volume.whole.as_ref().map(|reason| reason.detail.clone()),
    });
    LayerRecord {
        kind: layer.kind.clone(),
        name: layer.name.clone(),
        uuid: layer.uuid.clone(),
        device_uuid: layer.device_uuid.clone(),
        detail: layer.detail.clone(),
        volumes: volumes.collect(),
    }
}

/// The name of a code in the manifest, as serde spells it.
fn code_of<T: serde::Serialize>(code: &T) -> String {
    serde_json::to_value(code).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What could not be read, region by region, collected from all readers.
type Unreadable = Mutex<Vec<Extents<InRegion>>>;
