//! The stage that turns the bytes of a batch into records.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use block::{Extents, InRegion, RegionExtent, is_zero};
use crossbeam_channel::{Receiver, Sender};
use image::{ChunkContent, ChunkGrid, ChunkId, ChunkIndex, Encoder};

use super::batch::Batch;
use super::level::LevelControl;
use super::slots::Slot;
use super::write::Alarm;
use crate::error::{Error, Result};
use crate::source::slice_of;
use crate::stages::{Stage, Stages};

/// A batch that was read: its first bytes are the chunks, in order; for a hole they mean nothing.
pub struct ReadBatch {
    /// Which chunks.
    pub batch: Batch,
    /// Their bytes.
    pub slot: Slot,
}

/// A batch that is ready to be written.
pub struct EncodedBatch {
    /// Which chunks.
    pub batch: Batch,
    /// What each chunk holds; empty for a hole, where all are zero.
    pub contents: Vec<ChunkContent>,
    /// Each record: chunk, its bytes, its stored bytes.
    pub entries: Vec<(ChunkId, u32, u32)>,
    /// Bytes of chunks that the repository holds already.
    pub known_bytes: u64,
    /// Bytes of chunks with nothing but zeros.
    pub zero_bytes: u64,
    /// The records, in memory that goes round again.
    pub slot: Slot,
}

/// What all encoders of a session share.
pub struct Encoding<'a> {
    /// What the repository held at the start.
    pub index: &'a ChunkIndex,
    /// Chunks that this session stores.
    pub claimed: Mutex<HashSet<ChunkId>>,
    /// The level.
    pub level: LevelControl,
    /// Grid and saved bytes of each region, by its place in the plan.
    pub regions: Vec<(ChunkGrid, &'a Extents<InRegion>)>,
    /// Where the time is counted.
    pub stages: &'a Stages,
}

/// Encodes batches until no more come or nobody takes them. A failure is passed on and ends the stage.
pub fn run(shared: &Encoding<'_>, input: &Receiver<Result<ReadBatch>>, output: &Sender<Result<EncodedBatch>>) {
    let _alarm = Alarm(output.clone());
    let mut encoder = match Encoder::new(1) {
        Ok(encoder) => encoder,
        Err(error) => return drop(output.send(Err(Error::System(error)))),
    };
    for read in input {
        let level = shared.level.next(percent(input.len(), input.capacity()), percent(output.len(), output.capacity()));
        let encoded = read.and_then(|read| {
            encoder.set_level(level).map_err(Error::System)?;
            Ok(shared.stages.time(Stage::Processor, || encode(shared, &mut encoder, read)))
        });
        let is_failure = encoded.is_err();
        if output.send(encoded).is_err() || is_failure {
            break;
        }
    }
}

fn percent(length: usize, capacity: Option<usize>) -> usize {
    length.saturating_mul(100).checked_div(capacity.unwrap_or(1)).unwrap_or(0)
}

fn encode(shared: &Encoding<'_>, encoder: &mut Encoder, read: ReadBatch) -> EncodedBatch {
    let batch = read.batch;
    let mut encoded = EncodedBatch {
        batch,
        contents: Vec::new(),
        entries: Vec::new(),
        known_bytes: 0,
        zero_bytes: 0,
        slot: read.slot,
    };
    let Slot { bytes, records } = &mut encoded.slot;
    records.clear();
    let Some((grid, extents)) = shared.regions.get(batch.region) else { return encoded };
    let whole = grid.extent_of(batch.range);
    if batch.is_hole {
        encoded.zero_bytes = whole.length();
        return encoded;
    }
    clear_unused(bytes, whole, extents);
    for number in batch.range.first..batch.range.end() {
        let Some(chunk) = slice_of(bytes, whole, grid.extent(number)) else { continue };
        let length = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        if is_zero(chunk) {
            encoded.zero_bytes = encoded.zero_bytes.saturating_add(length.into());
            encoded.contents.push(ChunkContent::Zero);
            continue;
        }
        let id = ChunkId::of(chunk);
        encoded.contents.push(ChunkContent::Stored(id));
        let is_new =
            !shared.index.contains(&id) && shared.claimed.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        if !is_new {
            encoded.known_bytes = encoded.known_bytes.saturating_add(length.into());
            continue;
        }
        let stored = encoder.encode(id, chunk, records);
        encoded.entries.push((id, length, stored));
    }
    encoded
}

/// Writes zeros over the bytes of `whole` that are not saved, so that what lay in free space neither
/// gets into the image nor makes equal chunks differ.
pub fn clear_unused(buffer: &mut [u8], whole: RegionExtent, extents: &Extents<InRegion>) {
    let mut position = whole.start();
    let end = RegionExtent::between(whole.end(), whole.end());
    for used in extents.overlapping(whole).chain(std::iter::once(end)) {
        if let Some(unused) = slice_of(buffer, whole, RegionExtent::between(position, used.start())) {
            unused.fill(0);
        }
        position = used.end();
    }
}
