//! The order of work of everything that goes through an image: pieces of neighbouring chunks, in
//! disk order, handed out to any number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use block::{DiskExtent, RegionExtent};
use image::{CHUNK_SIZE, ChunkContent, ChunkRange, MapReader};

use crate::error::{Error, Result};
use crate::progress::{Cancel, Event, Observer};

/// Stored chunks of one piece: 4 MiB are written at once.
pub const PIECE_CHUNKS: u64 = 16;
/// Bytes of the largest piece with stored chunks.
pub const PIECE_BYTES: u64 = PIECE_CHUNKS * CHUNK_SIZE;
/// Zero chunks of one piece: they need no memory, but progress should be told now and then.
const ZERO_CHUNKS: u64 = 4096;

/// A region of an image and where it lies on a disk.
pub struct Place<'a> {
    /// Place of the disk among those of the work.
    pub disk: usize,
    /// Disk and region for messages, as `sda:p1`.
    pub name: String,
    /// Where the region lies on the disk. May be shorter than in the image, where zeros were cut off.
    pub extent: DiskExtent,
    /// Its map.
    pub map: MapReader<'a>,
}

impl Place<'_> {
    /// Where chunks lie in the region, cut to what the region has on this disk.
    pub fn part(&self, range: ChunkRange) -> RegionExtent {
        let part = self.map.grid().extent_of(range);
        RegionExtent::between(part.start().min(self.extent.length()), part.end().min(self.extent.length()))
    }
}

/// Neighbouring chunks of one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which of the places.
    pub place: usize,
    /// The chunks.
    pub range: ChunkRange,
    /// What each holds; empty where all are zero.
    pub contents: Vec<ChunkContent>,
}

/// Which chunks of each region are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All.
    All,
    /// All but the first, which makes a file system recognisable.
    Bodies,
    /// The first.
    Heads,
}

/// Hands out the pieces of all places.
pub struct Pieces<'a> {
    iterator: Mutex<Box<dyn Iterator<Item = Result<Piece>> + Send + 'a>>,
}

impl<'a> Pieces<'a> {
    /// The pieces of all places that belong to `part`.
    pub fn new(places: &'a [Place<'a>], part: Part) -> Self {
        let pieces = places.iter().enumerate().flat_map(move |(number, place)| pieces_of(number, place, part));
        Self { iterator: Mutex::new(Box::new(pieces)) }
    }

    /// Does something with every piece, on several threads, nearly in disk order. Each thread has a worker of its own.
    ///
    /// # Errors
    /// The first failure, which ends the others soon; `Cancelled` where the operator stopped the work.
    pub fn for_each<W>(
        &self,
        threads: usize,
        cancel: &Cancel,
        make_worker: impl Fn() -> Result<W> + Sync,
        action: impl Fn(&mut W, &Piece) -> Result<()> + Sync,
    ) -> Result<()> {
        let failure: Mutex<Option<Error>> = Mutex::new(None);
        let run = || -> Result<()> {
            let mut worker = make_worker()?;
            while let Some(piece) = self.next() {
                if cancel.is_cancelled() {
                    return Err(Error::Cancelled);
                }
                if failure.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
                    break;
                }
                action(&mut worker, &piece?)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    if let Err(error) = run() {
                        failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                });
            }
        });
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// The next piece; `None` at the end.
    fn next(&self) -> Option<Result<Piece>> {
        self.iterator.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

/// Tells to which region the work has come. Threads are nearly in disk order: only the first that comes there tells.
#[derive(Default)]
pub struct RegionTeller {
    /// How many places have been told.
    told: AtomicUsize,
}

impl RegionTeller {
    /// A thread begins with a piece. `bytes` counts what of the region belongs to the phase.
    pub fn tell(&self, piece: &Piece, place: &Place<'_>, bytes: impl FnOnce() -> u64, observer: &dyn Observer) {
        let number = piece.place.saturating_add(1);
        if self.told.fetch_max(number, Ordering::Relaxed) < number
            && let Some((disk, region)) = place.name.split_once(':')
        {
            observer.notify(Event::Region { disk: disk.to_owned(), region: region.to_owned(), bytes: bytes() });
        }
    }
}

fn pieces_of<'a>(place: usize, source: &'a Place<'a>, part: Part) -> impl Iterator<Item = Result<Piece>> + Send + 'a {
    let mut chunks = source
        .map
        .chunks()
        .take_while(move |chunk| part != Part::Heads || !matches!(chunk, Ok((1.., _))))
        .filter(move |chunk| part != Part::Bodies || !matches!(chunk, Ok((0, _))))
        .peekable();
    std::iter::from_fn(move || {
        let (first, content) = match chunks.next()? {
            Ok(chunk) => chunk,
            Err(error) => return Some(Err(Error::from(error))),
        };
        let is_zero = content == ChunkContent::Zero;
        let limit = if is_zero { ZERO_CHUNKS } else { PIECE_CHUNKS };
        let mut piece = Piece { place, range: ChunkRange { first, count: 1 }, contents: Vec::new() };
        if !is_zero {
            piece.contents.push(content);
        }
        while piece.range.count < limit {
            let end = piece.range.end();
            let belongs = |next: &image::Result<(u64, ChunkContent)>| matches!(next, Ok((number, content)) if *number == end && (*content == ChunkContent::Zero) == is_zero);
            let Some(Ok((_, content))) = chunks.next_if(belongs) else { break };
            piece.range.count = piece.range.count.saturating_add(1);
            if !is_zero {
                piece.contents.push(content);
            }
        }
        Some(Ok(piece))
    })
}
