//! Getting chunks out of packs.

use image::{ChunkContent, ChunkId, ChunkIndex, Decoder, Location, Store};

use crate::error::{Error, Result};
use crate::stages::{Stage, Stages};

/// Bytes of records that are read at once.
const READ_LIMIT: u64 = 4 << 20;

/// Reads and checks chunks. One for each thread.
pub struct Loader<'a> {
    store: &'a dyn Store,
    index: &'a ChunkIndex,
    decoder: Decoder,
    records: Vec<u8>,
    stages: Option<&'a Stages>,
}

/// A chunk that can't be had, and why.
#[derive(Debug)]
pub struct Missing {
    /// Its place in the list that was asked for.
    pub position: usize,
    /// Why.
    pub reason: String,
}

impl<'a> Loader<'a> {
    /// A loader for the chunks of `index`.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn new(store: &'a dyn Store, index: &'a ChunkIndex) -> Result<Self> {
        Ok(Self { store, index, decoder: Decoder::new().map_err(Error::System)?, records: Vec::new(), stages: None })
    }

    /// The same, with its time counted.
    pub fn counted(self, stages: &'a Stages) -> Self {
        Self { stages: Some(stages), ..self }
    }

    /// Loads stored chunks one behind the other into `buffer`, each at a multiple of `stride`.
    /// Chunks that are zero are written as zeros of their whole stride.
    ///
    /// Returns the first chunk that is damaged or missing, if any.
    ///
    /// # Errors
    /// Where the store fails.
    pub fn load(&mut self, contents: &[ChunkContent], stride: usize, buffer: &mut [u8]) -> Result<Option<Missing>> {
        let mut position = 0;
        while position < contents.len() {
            let (first, count) = match self.neighbours(contents, position) {
                Ok(run) => run,
                Err(reason) => return Ok(Some(Missing { position, reason })),
            };
            let Some((pack, offset, length)) = first else {
                if let Some(place) = chunk_place(buffer, position, stride) {
                    place.fill(0);
                }
                position = position.saturating_add(1);
                continue;
            };
            let stages = self.stages;
            if let Err(missing) = time(stages, Stage::Target, || self.read(pack, offset, length))? {
                return Ok(Some(Missing { position, reason: missing }));
            }
            let decoded = time(stages, Stage::Processor, || self.decode(contents, position, count, stride, buffer));
            if let Some(missing) = decoded {
                return Ok(Some(missing));
            }
            position = position.saturating_add(count);
        }
        Ok(None)
    }

    /// How many chunks from `position` have their records one behind the other in one pack, and where.
    #[allow(clippy::type_complexity)]
    fn neighbours(
        &self,
        contents: &[ChunkContent],
        position: usize,
    ) -> std::result::Result<(Option<(u32, u64, u64)>, usize), String> {
        let locate = |id: &ChunkId| self.index.locate(id).ok_or_else(|| format!("no pack holds the chunk {id}"));
        let mut run: Option<(u32, u64, u64)> = None;
        let mut count = 0_usize;
        for content in contents.iter().skip(position) {
            let ChunkContent::Stored(id) = content else { break };
            let Location { pack, offset, length } = match (locate(id), count) {
                (Ok(location), _) => location,
                (Err(reason), 0) => return Err(reason),
                (Err(_), _) => break,
            };
            run = match run {
                None => Some((pack, offset, length)),
                Some((p, start, bytes))
                    if p == pack
                        && start.saturating_add(bytes) == offset
                        && bytes.saturating_add(length) <= READ_LIMIT =>
                {
                    Some((p, start, bytes.saturating_add(length)))
                }
                Some(_) => break,
            };
            count = count.saturating_add(1);
        }
        Ok((run, count))
    }

    fn read(&mut self, pack: u32, offset: u64, length: u64) -> Result<std::result::Result<(), String>> {
        let Some(path) = self.index.pack_path(pack) else { return Ok(Err("the pack is gone".into())) };
        self.records.resize(usize::try_from(length).unwrap_or_default(), 0);
        match self.store.read_at(&path, offset, &mut self.records) {
            Ok(()) => Ok(Ok(())),
            // The file ended or vanished since its index was read: the repository is at fault, not the way to it.
            Err(error) if matches!(error.kind, image::StoreErrorKind::NotFound | image::StoreErrorKind::Truncated) => {
                Ok(Err(format!("{path} has no bytes at {offset}")))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn decode(
        &mut self,
        contents: &[ChunkContent],
        position: usize,
        count: usize,
        stride: usize,
        buffer: &mut [u8],
    ) -> Option<Missing> {
        let mut at = 0_usize;
        for number in position..position.saturating_add(count) {
            let missing = |reason: String| Some(Missing { position: number, reason });
            let (Some(ChunkContent::Stored(id)), Some(place)) =
                (contents.get(number), chunk_place(buffer, number, stride))
            else {
                return missing("no room for the chunk".into());
            };
            let record = self.records.get(at..).unwrap_or_default();
            match self.decoder.decode(record, place) {
                Ok(header) if header.id == *id => {
                    let length = usize::try_from(header.chunk_length).unwrap_or(usize::MAX);
                    if let Some(rest) = place.get_mut(length..) {
                        rest.fill(0);
                    }
                    at = at.saturating_add(header.record_length());
                }
                Ok(header) => return missing(format!("its record holds the chunk {}", header.id)),
                Err(error) => return missing(format!("expected {}, found {}", error.expected, error.actual)),
            }
        }
        None
    }
}

fn time<T>(stages: Option<&Stages>, stage: Stage, work: impl FnOnce() -> T) -> T {
    match stages {
        Some(stages) => stages.time(stage, work),
        None => work(),
    }
}

fn chunk_place(buffer: &mut [u8], number: usize, stride: usize) -> Option<&mut [u8]> {
    let start = number.checked_mul(stride)?;
    let end = start.saturating_add(stride).min(buffer.len());
    buffer.get_mut(start..end)
}
