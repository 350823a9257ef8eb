//! The threads of a save, and the stage that puts batches back into order and writes them.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::thread;

use block::{Extents, InDisk, InRegion, SectorSize};
use crossbeam_channel::{Receiver, Sender, bounded};
use image::{ChunkGrid, ChunkIndex, MapSummary, MapWriter, Store, Totals, map_path};

use super::batch::{BATCH_BYTES, Batch, Batches};
use super::encode::{self, EncodedBatch, Encoding, ReadBatch};
use super::level::LevelControl;
use super::packs::{PackWriter, finish_packs};
use super::plan::SavePlan;
use super::slots::{Returns, Slots};
use super::space::SpaceWatch;
use super::{SaveSettings, Unreadable};
use crate::error::{Error, Result};
use crate::progress::{Cancel, Event, Observer};
use crate::source::{Reader, Source};
use crate::stages::{Stage, Stages};

/// Slots for batches that go round. Each holds 1 MiB of the source, and up to as much in records.
const SLOTS: usize = 48;
/// Full packs that are made stable at the same time, while the writer fills the next: a server in the network that puts
/// a pack together takes its time, and the link stands still for one alone.
const FINISHERS: usize = 2;

/// Everything that a save works with.
pub struct Job<'a> {
    pub store: &'a dyn Store,
    pub sources: &'a [Source<'a>],
    pub plan: &'a SavePlan,
    pub settings: &'a SaveSettings,
    pub index: &'a ChunkIndex,
    pub observer: &'a dyn Observer,
    pub cancel: &'a Cancel,
}

/// What a save stored.
pub struct Outcome {
    /// One for each region of the plan, in its order.
    pub regions: Vec<SavedRegion>,
    /// Sums. Disk sizes and time are added by the caller.
    pub totals: Totals,
}

/// What was stored of a region.
#[derive(Default)]
pub struct SavedRegion {
    /// Its map; `None` where it was left out.
    pub map: Option<MapSummary>,
    /// What could not be read.
    pub unreadable: Extents<InRegion>,
}

/// A region of the plan with its source, by its place in the order of all.
struct Place<'a> {
    source: &'a Source<'a>,
    sector_size: SectorSize,
    region: &'a layout::Region,
    planned: &'a super::PlannedRegion,
}

/// Runs all threads of the save to their end.
pub fn run(job: &Job<'_>) -> Result<Outcome> {
    let places = places(job);
    let batches = Batches::new(job.sources, job.plan);
    let unreadable: Unreadable = Mutex::new(vec![Extents::new(); places.len()]);
    let stages =
        Stages::new(job.settings.readers.clamp(1, SLOTS), job.settings.encoders.max(1), 1).finishing_with(FINISHERS);
    let encoding = Encoding {
        stages: &stages,
        index: job.index,
        claimed: Mutex::new(HashSet::new()),
        level: LevelControl::new(job.settings.level),
        regions: places
            .iter()
            .map(|place| (ChunkGrid::new(place.region.extent.length()), &place.planned.extents))
            .collect(),
    };
    let slots = Slots::new(SLOTS, usize::try_from(BATCH_BYTES).unwrap_or_default());
    let (to_encoders, read) = bounded(SLOTS / 4);
    let (to_writer, encoded) = bounded(SLOTS / 4);
    // None waits: a pack may be kept in memory until it is stable.
    let (to_finisher, full_packs) = bounded(0);
    let (space, has_failed) = (SpaceWatch::new(job.store, job.observer), AtomicBool::new(false));

    let (written, finished) = thread::scope(|scope| {
        // A reader takes a slot with it when it ends; were there more of them, the last would wait for ever.
        for _ in 0..job.settings.readers.clamp(1, SLOTS) {
            let (slots, to_encoders) = (&slots, to_encoders.clone());
            let work = Reading { job, places: &places, batches: &batches, unreadable: &unreadable, stages: &stages };
            scope.spawn(move || read_batches(&work, slots, &to_encoders));
        }
        for _ in 0..job.settings.encoders.max(1) {
            let (read, to_writer) = (read.clone(), to_writer.clone());
            let encoding = &encoding;
            scope.spawn(move || encode::run(encoding, &read, &to_writer));
        }
        let clocks = &stages;
        let finishers: Vec<_> = (0..FINISHERS)
            .map(|_| {
                let (full_packs, space, has_failed) = (full_packs.clone(), &space, &has_failed);
                scope.spawn(move || finish_packs(job.store, full_packs, space, has_failed, clocks))
            })
            .collect();
        // The stages own their ends now; what is left here would keep the channels open for ever.
        drop((to_encoders, read, to_writer, full_packs));
        let returns = slots.returns();
        let packs = PackWriter::new(job.store, &job.plan.request.image, to_finisher);
        let written = packs.and_then(|packs| Writer::new(job, &places, packs, returns, &stages).run(encoded));
        let panicked = || Err(Error::System(std::io::Error::other("the thread that finishes packs panicked")));
        let finished = finishers.into_iter().map(|finisher| finisher.join().unwrap_or_else(|_| panicked()));
        (written, finished.fold(Ok(()), Result::and))
    });
    // Where the finisher failed, the writer's failure is only what followed.
    finished?;
    let (maps, mut totals) = written?;
    if job.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let unreadable = unreadable.into_inner().unwrap_or_else(PoisonError::into_inner);
    totals.unreadable_bytes = unreadable.iter().map(Extents::total_bytes).sum();
    let regions = maps.into_iter().zip(unreadable).map(|(map, unreadable)| SavedRegion { map, unreadable }).collect();
    Ok(Outcome { regions, totals })
}

fn places<'a>(job: &Job<'a>) -> Vec<Place<'a>> {
    let disks = job.sources.iter().zip(&job.plan.disks);
    disks
        .flat_map(|(source, disk)| {
            let sector_size = disk.layout.sector_size;
            let regions = disk.layout.regions.iter().zip(&disk.regions);
            regions.map(move |(region, planned)| Place { source, sector_size, region, planned })
        })
        .collect()
}

/// Tells the writer when the thread that holds it panics: it would wait for ever for the batch of that thread.
pub struct Alarm<T>(pub Sender<Result<T>>);

impl<T> Drop for Alarm<T> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Err(Error::System(std::io::Error::other("a thread of the save panicked"))));
        }
    }
}

/// What reader threads share.
struct Reading<'a, 'job> {
    job: &'a Job<'job>,
    places: &'a [Place<'job>],
    batches: &'a Batches<'job>,
    unreadable: &'a Unreadable,
    stages: &'a Stages,
}

/// The stage of a reader thread.
fn read_batches(work: &Reading<'_, '_>, slots: &Slots, output: &Sender<Result<ReadBatch>>) {
    let Reading { job, places, batches, unreadable, stages } = *work;
    let _alarm = Alarm(output.clone());
    // The slot comes first: a reader that held a batch without one would keep the writer waiting
    // for it while others used up all slots.
    while let Some(mut slot) = slots.take() {
        if job.cancel.is_cancelled() {
            return;
        }
        let Some(batch) = batches.next() else { return };
        let Some(place) = places.get(batch.region) else { return };
        let read = if batch.is_hole {
            Ok(Extents::new())
        } else {
            stages.time(Stage::Disk, || read_batch(job, place, batch, &mut slot.bytes))
        };
        // Nobody looks at a batch any more that was given up because the operator stopped the work.
        if read.is_err() && job.cancel.is_cancelled() {
            return;
        }
        // A failure goes the way of the data: the writer would wait for ever for a batch that does not come.
        let read = read.map(|lost| {
            note_unreadable(job, place, batch, &lost, unreadable);
            ReadBatch { batch, slot }
        });
        if output.send(read).is_err() {
            return;
        }
    }
}

fn read_batch(job: &Job<'_>, place: &Place<'_>, batch: Batch, buffer: &mut [u8]) -> Result<Extents<InDisk>> {
    let region = place.region.extent;
    let part = ChunkGrid::new(region.length()).extent_of(batch.range);
    let source_error = |error| Error::Source {
        disk: place.source.name.clone(),
        offset: region.start().saturating_add(part.start()),
        source: error,
    };
    let extent = region.locate(&part).ok_or_else(|| source_error(std::io::ErrorKind::UnexpectedEof.into()))?;
    let wanted = place.planned.extents.overlapping(part).filter_map(|used| region.locate(&used)).collect();
    let length = usize::try_from(extent.length()).unwrap_or_default();
    let buffer = buffer.get_mut(..length).unwrap_or_default();
    let Place { source, sector_size, .. } = *place;
    let reader =
        Reader { disk: source.disk, name: &source.name, sector_size, observer: job.observer, cancel: job.cancel };
    reader.read(extent, &wanted, buffer).map_err(source_error)
}

fn note_unreadable(job: &Job<'_>, place: &Place<'_>, batch: Batch, lost: &Extents<InDisk>, unreadable: &Unreadable) {
    if lost.is_empty() {
        return;
    }
    let mut all = unreadable.lock().unwrap_or_else(PoisonError::into_inner);
    for extent in lost.iter() {
        job.observer.notify(Event::Unreadable { disk: place.source.name.clone(), extent });
        if let (Some(region), Some(part)) = (all.get_mut(batch.region), place.region.extent.within(&extent)) {
            region.insert(part);
        }
    }
}

/// The last stage: batches in order into packs and maps.
struct Writer<'a> {
    job: &'a Job<'a>,
    places: &'a [Place<'a>],
    packs: PackWriter<'a>,
    returns: Returns<'a>,
    /// Batches that came before their turn.
    early: BTreeMap<u64, EncodedBatch>,
    next_sequence: u64,
    /// The maps of the regions before the present one, and the one that is being written.
    finished: Vec<Option<MapSummary>>,
    map: Option<MapWriter>,
    totals: Totals,
    stages: &'a Stages,
}

type Written = (Vec<Option<MapSummary>>, Totals);

impl<'a> Writer<'a> {
    fn new(
        job: &'a Job<'a>,
        places: &'a [Place<'a>],
        packs: PackWriter<'a>,
        returns: Returns<'a>,
        stages: &'a Stages,
    ) -> Self {
        Self {
            job,
            places,
            packs,
            returns,
            early: BTreeMap::new(),
            next_sequence: 0,
            finished: Vec::new(),
            map: None,
            totals: Totals::default(),
            stages,
        }
    }

    /// Writes everything that comes, and finishes the maps of all regions, unless the operator stopped the work.
    fn run(mut self, input: Receiver<Result<EncodedBatch>>) -> Result<Written> {
        for batch in &input {
            let batch = batch?;
            self.early.insert(batch.batch.sequence, batch);
            while let Some(batch) = self.early.remove(&self.next_sequence) {
                self.next_sequence = self.next_sequence.saturating_add(1);
                self.write(batch)?;
            }
        }
        if !self.job.cancel.is_cancelled() {
            self.go_to(self.places.len())?;
        }
        self.totals.stored_bytes = self.packs.stored_bytes();
        self.packs.close()?;
        Ok((self.finished, self.totals))
    }

    fn write(&mut self, encoded: EncodedBatch) -> Result<()> {
        self.go_to(encoded.batch.region)?;
        let (stages, packs) = (self.stages, &mut self.packs);
        stages.time(Stage::Target, || packs.append(&encoded.slot.records, &encoded.entries))?;
        if let Some(map) = &mut self.map {
            if encoded.contents.is_empty() {
                map.push_zeros(encoded.batch.range.count)?;
            }
            encoded.contents.iter().try_for_each(|content| map.push(*content))?;
        }
        let new: u64 = encoded.entries.iter().map(|(_, chunk, _)| u64::from(*chunk)).sum();
        self.totals.new_bytes = self.totals.new_bytes.saturating_add(new);
        self.totals.known_bytes = self.totals.known_bytes.saturating_add(encoded.known_bytes);
        self.totals.zero_bytes = self.totals.zero_bytes.saturating_add(encoded.zero_bytes);
        self.count_saved(encoded.batch);
        self.returns.give(encoded.slot);
        Ok(())
    }

    fn count_saved(&mut self, batch: Batch) {
        let Some(place) = self.places.get(batch.region) else { return };
        let part = ChunkGrid::new(place.region.extent.length()).extent_of(batch.range);
        let saved: u64 = place.planned.extents.overlapping(part).map(|used| used.length()).sum();
        self.totals.saved_bytes = self.totals.saved_bytes.saturating_add(saved);
        self.job.observer.notify(Event::Progress { done: self.totals.saved_bytes });
        self.stages.tell(self.job.observer);
    }

    /// Finishes the maps of all regions before `number` and begins that of `number`.
    fn go_to(&mut self, number: usize) -> Result<()> {
        while self.finished.len() < number || (self.map.is_none() && self.finished.len() == number) {
            if let Some(map) = self.map.take() {
                self.finished.push(Some(map.finish()?));
                continue;
            }
            let Some(place) = self.places.get(self.finished.len()) else { break };
            if !place.planned.is_saved {
                if self.finished.len() == number {
                    break;
                }
                self.finished.push(None);
                continue;
            }
            self.map = Some(self.begin_map(place)?);
        }
        Ok(())
    }

    fn begin_map(&self, place: &Place<'_>) -> Result<MapWriter> {
        let (disk, region) = (place.source.name.clone(), place.region.name.clone());
        let path = map_path(&self.job.plan.request.image, &disk, &region);
        self.job.observer.notify(Event::Region { disk, region, bytes: place.planned.extents.total_bytes() });
        let grid = ChunkGrid::new(place.region.extent.length());
        Ok(MapWriter::create(self.job.store, &path, grid, &place.planned.extents)?)
    }
}
