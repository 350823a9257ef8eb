//! Comparing an image with disks, byte for byte over what was saved.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use block::{AlignedBuffer, DiskExtent, Extents, InDisk, InRegion, RegionExtent, SectorSize, is_zero};
use image::{CHUNK_SIZE, ChunkContent, ChunkId, ChunkIndex, ChunkRange, DiskRecord, Manifest, Store};
use layout::PlaceOptions;
use serde::Serialize;

use crate::error::{Error, Refusal, RequestError, Result};
use crate::index::read_index;
use crate::load::Loader;
use crate::pieces::{PIECE_BYTES, Part, Piece, Pieces, Place, RegionTeller};
use crate::progress::{Cancel, Event, Observer, Phase};
use crate::repository::open_repository;
use crate::restore::plan::{disk_of, open_map};
use crate::save::clear_unused;
use crate::source::{Reader, Source, slice_of};
use crate::stages::{Stage, Stages};

/// More places than this are counted, not listed.
const LISTED_EXTENTS: usize = 1000;

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Bytes of the image that were compared.
    pub compared_bytes: u64,
    /// Tables and regions that differ, in disk order.
    pub differences: Vec<Difference>,
    /// Regions that the image does not hold.
    pub not_in_image: Vec<String>,
}

/// A table or region that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Disk and region, as `sda:p1`, or `sda:table`.
    pub region: String,
    /// Bytes that differ.
    pub bytes: u64,
    /// Where, in disk offsets; at most the first 1000 places.
    pub extents: Extents<InDisk>,
    /// Bytes of the disk that could not be read.
    pub unreadable: Extents<InDisk>,
}

/// Compares an image with disks. Each source's name must be that of a disk of the image.
///
/// # Errors
/// Where a disk or the repository can't be read. Differences are no error.
pub fn compare(
    store: &dyn Store,
    manifest: &Manifest,
    disks: &[Source<'_>],
    threads: usize,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Comparison> {
    if disks.is_empty() {
        return Err(RequestError::NoDisks.into());
    }
    open_repository(store)?;
    let index = read_index(store, observer, cancel)?;
    let mut comparison = Comparison::default();
    let mut places = Vec::new();
    let mut differences = Vec::new();
    for (number, disk) in disks.iter().enumerate() {
        let record = disk_of(manifest, &disk.name)?;
        let regions = compare_table(disk, record, &mut comparison)?;
        for (name, extent) in regions {
            let full_name = format!("{}:{name}", disk.name);
            match open_map(store, manifest, record, &name)? {
                Some(map) => {
                    differences.push(Difference::none(&full_name));
                    places.push(Place { disk: number, name: full_name, extent, map });
                }
                None => comparison.not_in_image.push(full_name),
            }
        }
    }
    let total = places.iter().fold(0, |sum, place| place.map.extents().total_bytes().saturating_add(sum));
    observer.notify(Event::Began { phase: Phase::Compare, total });
    let work = Work {
        store,
        manifest,
        disks,
        index: &index,
        places: &places,
        differences: Mutex::new(differences),
        done: AtomicU64::new(0),
        observer,
        cancel,
        stages: Stages::new(threads, threads, threads),
        regions: RegionTeller::default(),
    };
    work.run(threads)?;
    comparison.compared_bytes = comparison.compared_bytes.saturating_add(work.done.into_inner());
    let differences = work.differences.into_inner().unwrap_or_else(PoisonError::into_inner);
    comparison.differences.extend(differences.into_iter().filter(|difference| !difference.is_none()));
    Ok(comparison)
}

/// Compares the tables with what a restore onto this disk writes, and tells where the regions lie.
fn compare_table(
    disk: &Source<'_>,
    record: &DiskRecord,
    comparison: &mut Comparison,
) -> Result<Vec<(String, DiskExtent)>> {
    let destination = layout::Destination { size: disk.disk.size(), sector_size: disk.disk.sector_size() };
    let placement = layout::place(&record.layout, &destination, &PlaceOptions::default())
        .map_err(|reason| Refusal::Placement { disk: disk.name.clone(), reason })?;
    let mut difference = Difference::none(&format!("{}:table", disk.name));
    for table in &placement.table {
        let mut bytes = vec![0; table.bytes.len()];
        let start = table.extent.start();
        match disk.disk.read_at(start, &mut bytes) {
            Ok(()) => difference.add(start, &table.bytes, &bytes),
            Err(error) if block::is_unreadable(&error) => difference.unreadable.insert(table.extent),
            Err(source) => return Err(Error::Source { disk: disk.name.clone(), offset: start, source }),
        }
        comparison.compared_bytes = comparison.compared_bytes.saturating_add(table.extent.length());
    }
    if !difference.is_none() {
        comparison.differences.push(difference);
    }
    Ok(placement.regions)
}

struct Work<'a> {
    store: &'a dyn Store,
    manifest: &'a Manifest,
    disks: &'a [Source<'a>],
    index: &'a ChunkIndex,
    places: &'a [Place<'a>],
    /// One for each place.
    differences: Mutex<Vec<Difference>>,
    done: AtomicU64,
    observer: &'a dyn Observer,
    cancel: &'a Cancel,
    stages: Stages,
    regions: RegionTeller,
}

impl Work<'_> {
    fn run(&self, threads: usize) -> Result<()> {
        let make_worker = || {
            let buffer = AlignedBuffer::new(usize::try_from(PIECE_BYTES).unwrap_or_default());
            Ok((Loader::new(self.store, self.index)?.counted(&self.stages), buffer))
        };
        Pieces::new(self.places, Part::All)
            .for_each(threads, self.cancel, make_worker, |(loader, buffer), piece| self.compare(loader, buffer, piece))
    }

    fn compare(&self, loader: &mut Loader<'_>, buffer: &mut AlignedBuffer, piece: &Piece) -> Result<()> {
        let Some(place) = self.places.get(piece.place) else { return Ok(()) };
        let Some(disk) = self.disks.get(place.disk) else { return Ok(()) };
        let record = disk_of(self.manifest, &disk.name)?;
        let sector_size = record.layout.sector_size;
        self.regions.tell(piece, place, || place.map.extents().total_bytes(), self.observer);
        let ignored = self.ignored(record, place);
        let mut first = piece.range.first;
        while first < piece.range.end() {
            let count = piece.range.end().saturating_sub(first).min(PIECE_BYTES / CHUNK_SIZE);
            let range = ChunkRange { first, count };
            self.compare_range(
                loader,
                buffer,
                piece,
                range,
                &Compared { place, disk, sector_size, ignored: &ignored },
            )?;
            first = range.end();
        }
        Ok(())
    }

    /// What could not be read when the image was saved: nobody knows what should be there.
    fn ignored(&self, record: &DiskRecord, place: &Place<'_>) -> Extents<InRegion> {
        let name = place.name.split_once(':').map_or(place.name.as_str(), |(_, region)| region);
        record.region(name).map(|(_, saved)| saved.unreadable.clone()).unwrap_or_default()
    }

    fn compare_range(
        &self,
        loader: &mut Loader<'_>,
        buffer: &mut AlignedBuffer,
        piece: &Piece,
        range: ChunkRange,
        compared: &Compared<'_>,
    ) -> Result<()> {
        let Compared { place, disk, sector_size, ignored } = *compared;
        let part = place.part(range);
        let Some(extent) = place.extent.locate(&part) else { return Ok(()) };
        let whole = place.map.grid().extent_of(range);
        let length = usize::try_from(extent.length()).unwrap_or_default();
        let whole_length = usize::try_from(whole.length()).unwrap_or_default();
        let wanted = place.map.extents().overlapping(part).filter_map(|used| place.extent.locate(&used)).collect();
        let Some(memory) = buffer.get_mut(..whole_length) else { return Ok(()) };
        memory.get_mut(length..).unwrap_or_default().fill(0);
        let into = memory.get_mut(..length).unwrap_or_default();
        let (observer, cancel) = (self.observer, self.cancel);
        let reader = Reader { disk: disk.disk, name: &disk.name, sector_size, observer, cancel };
        let read = || reader.read(extent, &wanted, into);
        let unreadable = self.stages.time(Stage::Disk, read).map_err(|source| match self.cancel.is_cancelled() {
            true => Error::Cancelled,
            false => Error::Source { disk: disk.name.clone(), offset: extent.start(), source },
        })?;
        clear_unused(memory, whole, place.map.extents());
        for lost in ignored.overlapping(whole) {
            slice_of(memory, whole, lost).unwrap_or_default().fill(0);
        }
        for number in range.first..range.end() {
            let chunk = place.map.grid().extent(number);
            let Some(bytes) = slice_of(memory, whole, chunk) else { continue };
            let position = usize::try_from(number.saturating_sub(piece.range.first)).unwrap_or_default();
            let content = piece.contents.get(position).copied().unwrap_or(ChunkContent::Zero);
            let is_equal = self.stages.time(Stage::Processor, || match content {
                ChunkContent::Zero => is_zero(bytes),
                ChunkContent::Stored(id) => ChunkId::of(bytes) == id,
            });
            if !is_equal {
                self.note_difference(loader, piece.place, place, (number, content), chunk, bytes)?;
            }
        }
        if !unreadable.is_empty()
            && let Some(difference) = self.lock().get_mut(piece.place)
        {
            difference.unreadable = difference.unreadable.union(&unreadable);
        }
        let saved = place.map.extents().overlapping(part).fold(0, |sum, used| used.length().saturating_add(sum));
        let done = self.done.fetch_add(saved, Ordering::Relaxed).saturating_add(saved);
        self.observer.notify(Event::Progress { done });
        self.stages.tell(self.observer);
        Ok(())
    }

    fn note_difference(
        &self,
        loader: &mut Loader<'_>,
        number: usize,
        place: &Place<'_>,
        (chunk_number, content): (u64, ChunkContent),
        chunk: RegionExtent,
        actual: &[u8],
    ) -> Result<()> {
        let mut expected = vec![0; usize::try_from(CHUNK_SIZE).unwrap_or_default()];
        if let Some(missing) = loader.load(&[content], expected.len(), &mut expected)? {
            return Err(Error::ChunksDamaged {
                image: self.manifest.image.to_string(),
                region: place.name.clone(),
                count: 1,
                first_chunk: chunk_number,
                reason: missing.reason,
            });
        }
        let start = place.extent.start().saturating_add(chunk.start());
        if let Some(difference) = self.lock().get_mut(number) {
            difference.add(start, &expected, actual);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Difference>> {
        self.differences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a piece is compared with.
struct Compared<'a> {
    place: &'a Place<'a>,
    disk: &'a Source<'a>,
    sector_size: SectorSize,
    ignored: &'a Extents<InRegion>,
}

impl Difference {
    fn none(region: &str) -> Self {
        Self { region: region.to_owned(), bytes: 0, extents: Extents::new(), unreadable: Extents::new() }
    }

    fn is_none(&self) -> bool {
        self.bytes == 0 && self.unreadable.is_empty()
    }

    /// Adds the bytes in which `actual` differs from the start of `expected`; both begin at `start` on the disk.
    fn add(&mut self, start: u64, expected: &[u8], actual: &[u8]) {
        let mut position = start;
        for (expected, actual) in expected.iter().zip(actual) {
            if expected != actual {
                self.bytes = self.bytes.saturating_add(1);
                let touches = self.extents.end() == position;
                if touches || self.extents.count() < LISTED_EXTENTS {
                    self.extents.insert(DiskExtent::between(position, position.saturating_add(1)));
                }
            }
            position = position.saturating_add(1);
        }
    }
}
