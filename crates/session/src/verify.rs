//! Checking a repository: every byte of it, or its structure alone.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use image::{CHUNK_SIZE, ChunkContent, ChunkId, ChunkIndex, Decoder, ImageName, Manifest, Pack, Store, pack_path};
use serde::Serialize;

use crate::error::{Error, RequestError, Result};
use crate::index::read_index;
use crate::progress::{Cancel, Event, Observer, Phase};
use crate::repository::{Listed, list_images, open_repository};
use crate::restore::plan::open_map;
use crate::stages::{Stage, Stages};

/// How much is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyRequest {
    /// Only this image and the chunks that it needs.
    pub image: Option<ImageName>,
    /// Structure only: header, manifests, maps and indexes, but not the chunks themselves.
    pub quick: bool,
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Images that were checked.
    pub images: Vec<ImageHealth>,
    /// Images that were begun and not finished. They are no damage.
    pub unfinished: Vec<String>,
    /// Packs that are damaged, each with what is wrong first.
    pub damaged_packs: Vec<DamagedPack>,
    /// Packs that were checked.
    pub packs: usize,
    /// Chunks that were read and checked.
    pub chunks: u64,
    /// Bytes of packs that were read.
    pub read_bytes: u64,
}

/// A pack that is damaged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DamagedPack {
    /// Its path in the repository.
    pub path: String,
    /// What is wrong first.
    pub reason: String,
}

/// Whether an image can be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageHealth {
    /// Its name.
    pub name: String,
    /// Why none of it can be restored: its manifest is damaged.
    pub damage: Option<String>,
    /// The regions that can't be restored whole.
    pub regions: Vec<DamagedRegion>,
}

/// A region that can't be restored whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedRegion {
    /// Disk and region, as `sda:p1`.
    pub region: String,
    /// Chunks that are damaged or missing; 0 where the map itself is damaged.
    pub chunks: u64,
    /// What is wrong first.
    pub reason: String,
}

impl Verification {
    /// Whether everything that was checked is whole.
    pub fn is_good(&self) -> bool {
        let images = self.images.iter().all(|image| image.damage.is_none() && image.regions.is_empty());
        images && self.damaged_packs.is_empty()
    }
}

/// Checks a repository.
///
/// # Errors
/// Where it can't be read, or its header is damaged. Other damage is told in the answer.
pub fn verify(
    store: &dyn Store,
    request: &VerifyRequest,
    threads: usize,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Verification> {
    open_repository(store)?;
    let mut images = list_images(store)?;
    if let Some(wanted) = &request.image {
        images.retain(|image| image.name == *wanted && image.manifest.is_some());
        if images.is_empty() {
            return Err(RequestError::NoImage(wanted.to_string()).into());
        }
    }
    let index = read_index(store, observer, cancel)?;
    let mut verification = Verification::default();
    let mut bad = BadChunks::default();
    for damage in index.damaged() {
        let (path, reason) = (damage.path.clone(), damage.error.to_string());
        verification.damaged_packs.push(DamagedPack { path, reason });
    }
    if !request.quick {
        let wanted = request.image.as_ref().map(|_| needed_chunks(store, &images)).transpose()?;
        bad = check_packs(store, &index, wanted.as_ref(), threads, observer, cancel, &mut verification)?;
    }
    verification.packs = index.packs().len().saturating_add(index.damaged().len());
    for image in images {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match image.manifest {
            None => verification.unfinished.push(image.name.to_string()),
            Some(manifest) => verification.images.push(check_image(store, &image.name, manifest, &index, &bad)?),
        }
    }
    verification.damaged_packs.sort();
    if request.image.is_some() && verification.images.iter().all(|image| image.regions.is_empty()) {
        // Damage in packs that this image does not need is another image's.
        verification.damaged_packs.clear();
    }
    Ok(verification)
}

/// The chunks that images need; damaged maps and manifests are told elsewhere.
fn needed_chunks(store: &dyn Store, images: &[Listed]) -> Result<HashSet<ChunkId>> {
    let mut needed = HashSet::new();
    for manifest in images.iter().filter_map(|image| image.manifest.as_ref()?.as_ref().ok()) {
        for disk in &manifest.disks {
            for region in &disk.regions {
                let map = match open_map(store, manifest, disk, &region.name) {
                    Ok(Some(map)) => map,
                    Ok(None) => continue,
                    Err(error) if error.is_damage() => continue,
                    Err(error) => return Err(error),
                };
                needed.extend(map.chunks().map_while(image::Result::ok).filter_map(|(_, content)| match content {
                    ChunkContent::Stored(id) => Some(id),
                    ChunkContent::Zero => None,
                }));
            }
        }
    }
    Ok(needed)
}

/// Chunks that are damaged, each with what is wrong.
#[derive(Default)]
struct BadChunks {
    reasons: std::collections::HashMap<ChunkId, String>,
}

/// Reads and checks the records of all packs, or those of `wanted` chunks.
fn check_packs(
    store: &dyn Store,
    index: &ChunkIndex,
    wanted: Option<&HashSet<ChunkId>>,
    threads: usize,
    observer: &dyn Observer,
    cancel: &Cancel,
    verification: &mut Verification,
) -> Result<BadChunks> {
    let total = index.packs().iter().fold(0, |sum, pack| pack.size.saturating_add(sum));
    observer.notify(Event::Began { phase: Phase::Verify, total });
    let work = PackWork {
        store,
        index,
        wanted,
        next: AtomicUsize::new(0),
        done: AtomicU64::new(0),
        chunks: AtomicU64::new(0),
        read: AtomicU64::new(0),
        bad: Mutex::default(),
        damaged: Mutex::default(),
        failure: Mutex::new(None),
        observer,
        cancel,
        stages: Stages::new(1, threads, threads),
    };
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| work.run());
        }
    });
    if let Some(error) = work.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    verification.chunks = work.chunks.into_inner();
    verification.read_bytes = work.read.into_inner();
    verification.damaged_packs.extend(work.damaged.into_inner().unwrap_or_else(PoisonError::into_inner));
    Ok(work.bad.into_inner().unwrap_or_else(PoisonError::into_inner))
}

struct PackWork<'a> {
    store: &'a dyn Store,
    index: &'a ChunkIndex,
    wanted: Option<&'a HashSet<ChunkId>>,
    next: AtomicUsize,
    done: AtomicU64,
    chunks: AtomicU64,
    read: AtomicU64,
    bad: Mutex<BadChunks>,
    damaged: Mutex<Vec<DamagedPack>>,
    failure: Mutex<Option<Error>>,
    observer: &'a dyn Observer,
    cancel: &'a Cancel,
    stages: Stages,
}

impl PackWork<'_> {
    fn run(&self) {
        if let Err(error) = self.check_all() {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    fn check_all(&self) -> Result<()> {
        let mut decoder = Decoder::new().map_err(Error::System)?;
        let mut chunk = vec![0; usize::try_from(CHUNK_SIZE).unwrap_or_default()];
        let mut records = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(pack) = self.index.packs().get(number) else { break };
            if self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                break;
            }
            self.check_pack(number, pack, &mut decoder, &mut chunk, &mut records)?;
            let done = self.done.fetch_add(pack.size, Ordering::Relaxed).saturating_add(pack.size);
            self.observer.notify(Event::Progress { done });
            self.stages.tell(self.observer);
        }
        Ok(())
    }

    fn check_pack(
        &self,
        number: usize,
        pack: &Pack,
        decoder: &mut Decoder,
        chunk: &mut [u8],
        records: &mut Vec<u8>,
    ) -> Result<()> {
        let path = pack_path(&pack.id);
        for entry in &pack.entries {
            if self.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if self.wanted.is_some_and(|wanted| !wanted.contains(&entry.id)) {
                continue;
            }
            let length = entry.end().saturating_sub(entry.offset);
            records.resize(usize::try_from(length).unwrap_or_default(), 0);
            let stages = &self.stages;
            let problem = match stages.time(Stage::Target, || self.store.read_at(&path, entry.offset, records)) {
                Err(error) if error.kind == image::StoreErrorKind::Truncated => Some("the file ends early".to_owned()),
                Err(error) => return Err(error.into()),
                Ok(()) => match stages.time(Stage::Processor, || decoder.decode(records, chunk)) {
                    Err(error) => {
                        let position = entry.offset.saturating_add(error.at);
                        Some(format!("at byte {position}: expected {}, found {}", error.expected, error.actual))
                    }
                    Ok(header) if header.id != entry.id || header.stored_length != entry.stored_length => {
                        Some(format!("at byte {}: another record than the index names", entry.offset))
                    }
                    Ok(_) => None,
                },
            };
            self.chunks.fetch_add(1, Ordering::Relaxed);
            self.read.fetch_add(length, Ordering::Relaxed);
            if let Some(reason) = problem {
                // Of a chunk that several packs hold, a restore reads one: damage of another harms no image.
                let used = self.index.locate(&entry.id);
                let is_used = used
                    .is_none_or(|used| usize::try_from(used.pack).ok() == Some(number) && used.offset == entry.offset);
                self.note_damage(&path, entry.id, reason, is_used);
            }
        }
        Ok(())
    }

    fn note_damage(&self, path: &str, id: ChunkId, reason: String, is_used: bool) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.iter().all(|pack| pack.path != path) {
            damaged.push(DamagedPack { path: path.to_owned(), reason: reason.clone() });
        }
        if is_used {
            let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
            bad.reasons.insert(id, format!("{path}: {reason}"));
        }
    }
}

fn check_image(
    store: &dyn Store,
    name: &ImageName,
    manifest: Result<Manifest>,
    index: &ChunkIndex,
    bad: &BadChunks,
) -> Result<ImageHealth> {
    let mut health = ImageHealth { name: name.to_string(), damage: None, regions: Vec::new() };
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(error @ Error::Repository(image::Error::Corrupt { .. } | image::Error::Unsupported { .. })) => {
            health.damage = Some(error.to_string());
            return Ok(health);
        }
        Err(error) => return Err(error),
    };
    for disk in &manifest.disks {
        for region in &disk.regions {
            let full_name = format!("{}:{}", disk.name, region.name);
            health.regions.extend(check_region(store, &manifest, disk, &region.name, full_name, index, bad)?);
        }
    }
    Ok(health)
}

fn check_region(
    store: &dyn Store,
    manifest: &Manifest,
    disk: &image::DiskRecord,
    region: &str,
    full_name: String,
    index: &ChunkIndex,
    bad: &BadChunks,
) -> Result<Option<DamagedRegion>> {
    let damaged = |reason: String| Some(DamagedRegion { region: full_name.clone(), chunks: 0, reason });
    let map = match open_map(store, manifest, disk, region) {
        Ok(Some(map)) => map,
        Ok(None) => return Ok(None),
        Err(error) if error.is_damage() => return Ok(damaged(error.to_string())),
        Err(error) => return Err(error),
    };
    let mut chunks = 0_u64;
    let mut first = None;
    for chunk in map.chunks() {
        let content = match chunk {
            Ok((_, content)) => content,
            Err(error) if error.is_damage() => return Ok(damaged(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let ChunkContent::Stored(id) = content else { continue };
        let problem = match bad.reasons.get(&id) {
            Some(reason) => Some(reason.clone()),
            None if !index.contains(&id) => Some(format!("no pack holds the chunk {id}")),
            None => None,
        };
        if let Some(reason) = problem {
            chunks = chunks.saturating_add(1);
            first.get_or_insert(reason);
        }
    }
    Ok(first.map(|reason| DamagedRegion { region: full_name, chunks, reason }))
}
