//! Sessions in few words, and what must hold after each.

use std::sync::mpsc;
use std::time::Duration;

use block::{Disk, DiskExtent, Extents, InDisk, Window};
use image::{ChunkIndex, DiskIdentity, ImageName, Machine, Manifest, Store};
use layout::TableKind;
use session::{
    Assignment, Cancel, Comparison, Destination, Error, Level, Observer, RestoreReport, RestoreRequest, Result,
    SavePlan, SaveRequest, SaveSettings, Source, Verification, VerifyRequest, WritableDisk,
};

use crate::samples::{bytes_of, part};

/// Runs a test on a thread of its own and fails where it hangs: ten minutes are long for the slowest machine too.
pub fn within_minutes<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let answer = work();
        let _ = done.send(());
        answer
    });
    if let Err(mpsc::RecvTimeoutError::Timeout) = result.recv_timeout(Duration::from_secs(600)) {
        panic!("hangs");
    }
    match thread.join() {
        Ok(answer) => answer,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub fn name(name: &str) -> ImageName {
    name.parse().unwrap()
}

pub fn source<'a>(name: &str, disk: &'a dyn Disk) -> Source<'a> {
    Source { name: name.to_owned(), identity: DiskIdentity::default(), disk }
}

pub fn request(image: &str) -> SaveRequest {
    SaveRequest { image: name(image), regions: Vec::new(), set: None, note: None }
}

pub fn settings(readers: usize, encoders: usize) -> SaveSettings {
    SaveSettings {
        level: Level::Fixed(1),
        encoders,
        readers,
        random: [7; 32],
        machine: Machine::default(),
        version: "0".into(),
        now: || "2026-01-01T00:00:00Z".into(),
    }
}

pub fn plan(store: &dyn Store, image: &str, disk: &dyn Disk) -> Result<SavePlan> {
    session::plan_save(store, &[source("sda", disk)], request(image), &(), &Cancel::new())
}

/// Plans and saves one disk as `sda`.
pub fn save(store: &dyn Store, image: &str, disk: &dyn Disk) -> Result<Manifest> {
    save_with(store, image, disk, &settings(2, 2), &(), &Cancel::new())
}

pub fn save_with(
    store: &dyn Store,
    image: &str,
    disk: &dyn Disk,
    settings: &SaveSettings,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Manifest> {
    let plan = session::plan_save(store, &[source("sda", disk)], request(image), observer, cancel)?;
    session::save(store, &[source("sda", disk)], &plan, settings, observer, cancel)
}

pub fn assignment<'a>(disk: &str, destination: &'a dyn WritableDisk) -> Assignment<'a> {
    let name = format!("/dev/{disk}");
    let destination = Destination { name, disk: destination };
    Assignment { disk: disk.to_owned(), destination }
}

pub fn read_back() -> RestoreRequest {
    RestoreRequest { read_back: true, ..RestoreRequest::default() }
}

/// Reads the manifest, plans, and restores `sda`.
pub fn restore(
    store: &dyn Store,
    image: &str,
    disk: &dyn WritableDisk,
    request: RestoreRequest,
) -> Result<RestoreReport> {
    restore_with(store, image, disk, request, 1, &(), &Cancel::new())
}

pub fn restore_with(
    store: &dyn Store,
    image: &str,
    disk: &dyn WritableDisk,
    request: RestoreRequest,
    threads: usize,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<RestoreReport> {
    let manifest = session::read_manifest(store, &name(image))?;
    let assignments = [assignment("sda", disk)];
    let plan = session::plan_restore(store, manifest, &assignments, request, observer, cancel)?;
    session::restore(store, &plan, &assignments, threads, observer, cancel).map_err(|interrupted| interrupted.error)
}

pub fn compare(store: &dyn Store, image: &str, disk: &dyn Disk) -> Result<Comparison> {
    let manifest = session::read_manifest(store, &name(image))?;
    session::compare(store, &manifest, &[source("sda", disk)], 2, &(), &Cancel::new())
}

pub fn verify(store: &dyn Store, quick: bool) -> Result<Verification> {
    session::verify(store, &VerifyRequest { image: None, quick }, 1, &(), &Cancel::new())
}

pub fn exists(store: &dyn Store, image: &str) -> bool {
    !matches!(session::read_manifest(store, &name(image)), Err(Error::Request(_)))
}

/// Asserts that the repository is whole, and the image holds every region and equals the disk.
pub fn assert_whole(store: &dyn Store, image: &str, disk: &dyn Disk) {
    let verification = verify(store, false).unwrap();
    assert!(verification.is_good(), "{verification:?}");
    assert!(verification.images.iter().any(|health| health.name == image), "{verification:?}");
    let comparison = compare(store, image, disk).unwrap();
    assert_eq!(comparison.differences, []);
    assert_eq!(comparison.not_in_image, Vec::<String>::new());
}

/// The saved bytes of the only disk of a plan, as disk offsets.
pub fn saved_bytes(plan: &SavePlan) -> Extents<InDisk> {
    let disk = &plan.disks[0];
    let regions = disk.layout.regions.iter().zip(&disk.regions);
    regions
        .flat_map(|(region, planned)| planned.extents.iter().map(|used| region.extent.locate(&used).unwrap()))
        .collect()
}

/// Asserts that a disk holds every table sector and every saved byte of the source, and elsewhere
/// what it held before (`fill`) or zeros.
pub fn assert_restored(plan: &SavePlan, source: &dyn Disk, restored: &dyn Disk, fill: u8) {
    let (source, restored) = (bytes_of(source), bytes_of(restored));
    let saved = saved_bytes(plan);
    let mut known = saved.clone();
    for table in &plan.disks[0].layout.table_sectors {
        assert_eq!(part(&restored, table.extent), table.bytes, "{:?}", table.role);
        known.insert(table.extent);
    }
    for extent in saved.iter() {
        assert!(part(&source, extent) == part(&restored, extent), "{extent}");
    }
    for extent in known.complement(DiskExtent::between(0, restored.len() as u64)).iter() {
        assert!(part(&restored, extent).iter().all(|byte| *byte == 0 || *byte == fill), "{extent}");
    }
}

/// Asserts that nothing boots from a disk: no table, and where `heads` is asked for also no file
/// system at the places of the layout.
pub fn assert_nothing_boots(layout: &layout::Layout, disk: &dyn Disk, heads: bool, context: &str) {
    let present = layout::read(disk).unwrap();
    assert_eq!(present.table, TableKind::None, "{context}");
    for region in layout.regions.iter().filter(|_| heads) {
        let survey = filesystem::survey(&Window::new(disk, region.extent));
        assert_eq!(survey.file_system, None, "{context}: {}", region.name);
    }
}

/// Bytes of all records in finished packs. Asserts that none is there twice.
pub fn record_bytes(store: &dyn Store) -> u64 {
    let index = ChunkIndex::read(store).unwrap();
    let entries: Vec<_> = index.packs().iter().flat_map(|pack| &pack.entries).collect();
    assert_eq!(entries.len(), index.chunk_count(), "a chunk is stored twice");
    entries.iter().map(|entry| entry.end() - entry.offset).sum()
}
