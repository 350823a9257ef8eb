//! Writing what was planned.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use block::{AlignedBuffer, DiskExtent, Extents, InRegion, RegionExtent, is_zero};
use image::{CHUNK_SIZE, ChunkContent, ChunkId, ChunkRange, Store};
use layout::TableSectors;

use super::mirror::Amendment;
use super::plan::{Assignment, PlannedDestination, RestorePlan, WritableDisk};
use super::stale::stale_places;
use crate::error::{Error, Result};
use crate::load::Loader;
use crate::pieces::{PIECE_BYTES, Part, Piece, Pieces, Place, RegionTeller};
use crate::progress::{Cancel, Event, Observer, Phase};
use crate::stages::{Stage, Stages};

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Bytes of chunks that were written, zeros included.
    pub written_bytes: u64,
    /// Bytes that were read back and were right.
    pub read_back_bytes: u64,
}

/// Why a restore ended early, and what state it left behind.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Interrupted {
    /// Why.
    #[source]
    pub error: Error,
    /// Destinations, as the operator calls them, that were cleared and do not hold the image. None of them boots.
    pub unfinished: Vec<String>,
}

/// Overwrites the destinations with what was planned. `assignments` must be those that the plan was made of.
///
/// # Errors
/// With the state of the destinations: where any is unfinished, its table is not valid.
pub fn restore(
    store: &dyn Store,
    plan: &RestorePlan,
    assignments: &[Assignment<'_>],
    threads: usize,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> std::result::Result<RestoreReport, Interrupted> {
    let untouched = |error| Interrupted { error, unfinished: Vec::new() };
    plan.check_assignments(assignments).map_err(untouched)?;
    let places = plan.places(store).map_err(untouched)?;
    plan.check_scope(store).map_err(untouched)?;
    plan.check_sharing().map_err(untouched)?;
    plan.check_sharing_again(assignments, observer, cancel).map_err(untouched)?;
    let amendments = plan.amendments().map_err(untouched)?;
    if cancel.is_cancelled() {
        return Err(untouched(Error::Cancelled));
    }
    let touched = assignments.iter().map(|_| AtomicBool::new(false)).collect();
    let stages = Stages::new(threads, threads, threads);
    let work =
        Work { store, plan, assignments, places: &places, amendments, threads, observer, cancel, touched, stages };
    work.run().map_err(|error| Interrupted { error, unfinished: work.touched_destinations() })
}

struct Work<'a> {
    store: &'a dyn Store,
    plan: &'a RestorePlan,
    assignments: &'a [Assignment<'a>],
    places: &'a [Place<'a>],
    /// Where the destination gets other bytes than the image holds: by place, in ascending order.
    amendments: HashMap<String, Vec<Amendment>>,
    threads: usize,
    observer: &'a dyn Observer,
    cancel: &'a Cancel,
    /// One for each assignment: whether anything of it may have been cleared. Clearing comes before all writing.
    touched: Vec<AtomicBool>,
    stages: Stages,
}

impl Work<'_> {
    fn touched_destinations(&self) -> Vec<String> {
        let touched = self.assignments.iter().zip(&self.touched).filter(|(_, touched)| touched.load(Ordering::Relaxed));
        touched.map(|(assignment, _)| assignment.destination.name.clone()).collect()
    }

    /// The order of danger. From the first line on, no table of a destination is valid until the last.
    fn run(&self) -> Result<RestoreReport> {
        self.clear()?;
        self.sync()?;
        let total = self.places.iter().fold(0, |sum, place| covered_bytes(place).saturating_add(sum));
        self.observer.notify(Event::Began { phase: Phase::Restore, total });
        let done = AtomicU64::new(0);
        self.go_through(Part::Bodies, &done, &|work, worker, piece| work.write(worker, piece))?;
        self.sync()?;
        let mut report = RestoreReport::default();
        let read_back = AtomicU64::new(0);
        if self.plan.request.read_back {
            self.observer.notify(Event::Began { phase: Phase::ReadBack, total });
            self.go_through(Part::Bodies, &read_back, &|work, worker, piece| work.check(worker, piece))?;
        }
        if let Err(error) = self.finish(&done, &read_back) {
            // What would boot may have been written already. The first error counts, and a disk that takes
            // nothing any more has got none of what was to come.
            let _ = self.clear_heads_and_tables().and_then(|()| self.sync());
            return Err(error);
        }
        report.written_bytes = done.into_inner();
        report.read_back_bytes = read_back.into_inner();
        Ok(report)
    }

    /// Writes what makes the disks recognisable and bootable.
    fn finish(&self, done: &AtomicU64, read_back: &AtomicU64) -> Result<()> {
        self.go_through(Part::Heads, done, &|work, worker, piece| work.write(worker, piece))?;
        self.sync()?;
        if self.plan.request.read_back {
            self.go_through(Part::Heads, read_back, &|work, worker, piece| work.check(worker, piece))?;
        }
        self.write_tables()
    }

    /// Undoes [`Self::finish`] on all disks, also where one fails.
    fn clear_heads_and_tables(&self) -> Result<()> {
        let mut result = Ok(());
        // In the reverse order of writing: what boots goes first.
        for (number, planned) in self.plan.disks.iter().enumerate() {
            for table in planned.placement.iter().flat_map(|placement| placement.table.iter().rev()) {
                result = result.and(self.zero(number, table.extent));
            }
        }
        for place in self.places {
            let head = place.part(ChunkRange { first: 0, count: 1 });
            let cleared = place.extent.locate(&head).map_or(Ok(()), |extent| self.zero(place.disk, extent));
            result = result.and(cleared);
        }
        result
    }

    fn zero(&self, number: usize, extent: DiskExtent) -> Result<()> {
        let (_, disk) = self.disk(number)?;
        if let Some(touched) = self.touched.get(number) {
            touched.store(true, Ordering::Relaxed);
        }
        zero(disk, extent).map_err(|error| self.failed(number, "clearing", extent.start(), error))
    }

    fn disk(&self, number: usize) -> Result<(&Assignment<'_>, &dyn WritableDisk)> {
        let assignment = self.assignments.get(number).ok_or_else(|| Error::System(io::ErrorKind::NotFound.into()))?;
        Ok((assignment, assignment.destination.disk))
    }

    fn failed(&self, number: usize, operation: &'static str, offset: u64, source: io::Error) -> Error {
        let disk = self.assignments.get(number).map(|assignment| assignment.destination.name.clone());
        Error::Destination { disk: disk.unwrap_or_default(), operation, offset, source }
    }

    /// Clears what makes a disk boot and a file system recognisable, and stale signatures where the image has free space.
    fn clear(&self) -> Result<()> {
        for (number, planned) in self.plan.disks.iter().enumerate() {
            for extent in planned.placement.iter().flat_map(|placement| &placement.clear) {
                self.zero(number, *extent)?;
            }
        }
        for place in self.places {
            let head = place.part(ChunkRange { first: 0, count: 1 });
            let mut clear = stale_places(place.extent.length()).difference(&covered(place));
            clear.insert(head);
            for extent in clear.iter().filter_map(|part| place.extent.locate(&part)) {
                self.zero(place.disk, extent)?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        (0..self.assignments.len()).try_for_each(|number| {
            let (_, disk) = self.disk(number)?;
            disk.sync().map_err(|error| self.failed(number, "writing", 0, error))
        })
    }

    /// Does something with every piece, on several threads, nearly in disk order.
    fn go_through(
        &self,
        part: Part,
        done: &AtomicU64,
        action: &(dyn Fn(&Self, &mut Worker<'_>, &Piece) -> Result<u64> + Sync),
    ) -> Result<()> {
        let pieces = Pieces::new(self.places, part);
        let regions = RegionTeller::default();
        pieces.for_each(
            self.threads,
            self.cancel,
            || Worker::new(self),
            |worker, piece| {
                if let (Part::Bodies, Ok(place)) = (part, self.place(piece)) {
                    regions.tell(piece, place, || covered_bytes(place), self.observer);
                }
                let bytes = action(self, worker, piece)?;
                let sum = done.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
                // Heads are few and belong to the phase before: telling them would make a bar jump.
                if part == Part::Bodies {
                    self.observer.notify(Event::Progress { done: sum });
                    self.stages.tell(self.observer);
                }
                Ok(())
            },
        )
    }

    fn place(&self, piece: &Piece) -> Result<&Place<'_>> {
        self.places.get(piece.place).ok_or_else(|| Error::System(io::ErrorKind::NotFound.into()))
    }

    fn write(&self, worker: &mut Worker<'_>, piece: &Piece) -> Result<u64> {
        let place = self.place(piece)?;
        let (_, disk) = self.disk(place.disk)?;
        let part = place.part(piece.range);
        let Some(extent) = place.extent.locate(&part) else { return Ok(0) };
        let failed = |error| self.failed(place.disk, "writing", extent.start(), error);
        if piece.contents.is_empty() {
            self.stages.time(Stage::Disk, || zero(disk, extent)).map_err(failed)?;
            return Ok(extent.length());
        }
        if let Some(missing) = worker.loader.load(&piece.contents, stride(), &mut worker.buffer)? {
            let number = u64::try_from(missing.position).unwrap_or(u64::MAX);
            return Err(Error::ChunksDamaged {
                image: self.plan.manifest.image.to_string(),
                region: place.name.clone(),
                count: 1,
                first_chunk: piece.range.first.saturating_add(number),
                reason: missing.reason,
            });
        }
        if !self.amend(place, part, &mut worker.buffer, true) {
            let reason = "what is to be changed on the way is not what the plan found";
            return Err(Error::System(io::Error::other(format!("{}: {reason}", place.name))));
        }
        let length = usize::try_from(extent.length()).unwrap_or_default();
        let bytes = worker.buffer.get(..length).unwrap_or_default();
        self.stages.time(Stage::Disk, || disk.write_at(extent.start(), bytes)).map_err(failed)?;
        Ok(extent.length())
    }

    /// Exchanges what the destination gets otherwise than the image holds it; `false` where neither stands there.
    fn amend(&self, place: &Place<'_>, part: RegionExtent, buffer: &mut [u8], forwards: bool) -> bool {
        let length = usize::try_from(part.length()).unwrap_or_default();
        let buffer = buffer.get_mut(..length).unwrap_or_default();
        let Some(amendments) = self.amendments.get(&place.name) else { return true };
        let first = amendments.partition_point(|amendment| amendment.extent.end() <= part.start());
        let mut here = amendments.iter().skip(first).take_while(|amendment| amendment.extent.start() < part.end());
        here.all(|amendment| amendment.exchange(part, buffer, forwards))
    }

    fn check(&self, worker: &mut Worker<'_>, piece: &Piece) -> Result<u64> {
        let place = self.place(piece)?;
        let (assignment, disk) = self.disk(place.disk)?;
        let mut checked = 0_u64;
        // A piece of zeros can be larger than the buffer: it is looked at in parts.
        let mut first = piece.range.first;
        while first < piece.range.end() {
            let count = piece.range.end().saturating_sub(first).min(PIECE_BYTES / CHUNK_SIZE);
            let range = ChunkRange { first, count };
            let part = place.part(range);
            let Some(extent) = place.extent.locate(&part) else { break };
            let whole = usize::try_from(place.map.grid().extent_of(range).length()).unwrap_or_default();
            let length = usize::try_from(extent.length()).unwrap_or_default();
            // What a smaller destination cut off was zeros.
            worker.buffer.get_mut(length..whole).unwrap_or_default().fill(0);
            let buffer = worker.buffer.get_mut(..length).unwrap_or_default();
            self.stages
                .time(Stage::Disk, || disk.read_at(extent.start(), buffer))
                .map_err(|error| self.failed(place.disk, "reading back", extent.start(), error))?;
            if !self.amend(place, part, buffer, false) {
                return Err(Error::ReadBack { disk: assignment.destination.name.clone(), extent });
            }
            let offset = usize::try_from(first.saturating_sub(piece.range.first)).unwrap_or_default();
            for (number, bytes) in worker.buffer.get(..whole).unwrap_or_default().chunks(stride()).enumerate() {
                let content = piece.contents.get(offset.saturating_add(number)).copied().unwrap_or(ChunkContent::Zero);
                let is_right = self.stages.time(Stage::Processor, || match content {
                    ChunkContent::Zero => is_zero(bytes),
                    ChunkContent::Stored(id) => ChunkId::of(bytes) == id,
                });
                if !is_right {
                    return Err(Error::ReadBack { disk: assignment.destination.name.clone(), extent });
                }
            }
            checked = checked.saturating_add(extent.length());
            first = range.end();
        }
        Ok(checked)
    }

    /// Writes the tables in the order of the placement: what makes a disk boot comes last, after
    /// everything else of all disks.
    fn write_tables(&self) -> Result<()> {
        let split = |planned: &'_ PlannedDestination| {
            let tables = planned.placement.as_ref().map(|placement| placement.table.as_slice()).unwrap_or_default();
            tables.split_last().map(|(last, others)| (last.clone(), others.to_vec()))
        };
        let tables: Vec<_> =
            (0..).zip(&self.plan.disks).filter_map(|(number, planned)| Some((number, split(planned)?))).collect();
        for (number, (_, others)) in &tables {
            others.iter().try_for_each(|table| self.write_table(*number, table))?;
        }
        tables.iter().try_for_each(|(number, (last, _))| self.write_table(*number, last))
    }

    fn write_table(&self, number: usize, table: &TableSectors) -> Result<()> {
        let (assignment, disk) = self.disk(number)?;
        let start = table.extent.start();
        let failed = |error| self.failed(number, "writing the partition table of", start, error);
        let mut sectors = AlignedBuffer::new(table.bytes.len());
        sectors.copy_from_slice(&table.bytes);
        disk.write_at(start, &sectors).map_err(failed)?;
        disk.sync().map_err(failed)?;
        sectors.fill(0);
        disk.read_at(start, &mut sectors).map_err(failed)?;
        if *sectors == *table.bytes {
            Ok(())
        } else {
            Err(Error::ReadBack { disk: assignment.destination.name.clone(), extent: table.extent })
        }
    }
}

/// What a thread works with.
struct Worker<'a> {
    loader: Loader<'a>,
    buffer: AlignedBuffer,
}

impl<'a> Worker<'a> {
    fn new(work: &'a Work<'_>) -> Result<Self> {
        let buffer = AlignedBuffer::new(usize::try_from(PIECE_BYTES).unwrap_or_default());
        Ok(Self { loader: Loader::new(work.store, &work.plan.index)?.counted(&work.stages), buffer })
    }
}

fn stride() -> usize {
    usize::try_from(CHUNK_SIZE).unwrap_or_default()
}

fn zero(disk: &dyn WritableDisk, extent: DiskExtent) -> io::Result<()> {
    let on_disk = DiskExtent::between(extent.start(), extent.end().min(disk.size()));
    if on_disk.is_empty() { Ok(()) } else { disk.write_zeros(on_disk) }
}

/// The bytes that are written to a region: whole chunks.
fn covered(place: &Place<'_>) -> Extents<InRegion> {
    place.map.grid().covered(place.map.extents()).map(|range| place.part(range)).collect()
}

fn covered_bytes(place: &Place<'_>) -> u64 {
    let parts = place.map.grid().covered(place.map.extents()).map(|range| place.part(range));
    parts.fold(0, |sum, part: RegionExtent| sum.saturating_add(part.length()))
}
