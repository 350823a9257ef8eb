//! An object while it is written. It appears whole, or not at all.
//!
//! What is short is put with one request. What is longer goes up in parts, several at once, while more is written; the
//! server puts them
//! together when it is told that all are there. Parts whose answer was lost are sent again: each has its number.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use image::{NamelessFile, StoreErrorKind, StoreFile, StoreResult};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt, PutPayload};
use tokio::task::JoinSet;

use super::Bucket;
use super::fault::fault_of;
use crate::patience::{Fault, Line};
use crate::runtime::answer;

/// A part: above the 5 MiB that a part must have, and small enough for a slow link to carry before the deadline.
pub const PART_BYTES: usize = 8 << 20;
/// Parts under way together.
const PARTS_AT_ONCE: usize = 4;

/// A server that is gone is not waited for to tell it that nothing more comes.
const ABORT_DEADLINE: Duration = Duration::from_secs(3);

const WRITING: &str = "writing";

/// Bytes in pieces of one part each.
#[derive(Default)]
struct Buffer {
    full: Vec<Bytes>,
    tail: Vec<u8>,
}

impl Buffer {
    fn append(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let room = PART_BYTES.saturating_sub(self.tail.len());
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            self.tail.extend_from_slice(part);
            bytes = rest;
            if self.tail.len() >= PART_BYTES {
                self.full.push(std::mem::take(&mut self.tail).into());
            }
        }
    }

    /// All bytes, the last part with the rest.
    fn take(&mut self) -> Vec<Bytes> {
        let mut parts = std::mem::take(&mut self.full);
        if !self.tail.is_empty() {
            parts.push(std::mem::take(&mut self.tail).into());
        }
        parts
    }

    fn length(&self) -> u64 {
        let full = self.full.iter().map(|part| length_of(part));
        full.fold(length_of(&self.tail), u64::saturating_add)
    }
}

/// An upload in parts that was begun.
struct Upload {
    bucket: Arc<Bucket>,
    path: String,
    key: Path,
    id: MultipartId,
    /// All parts, in order.
    parts: Vec<Part>,
    sending: JoinSet<(usize, Result<PartId, Fault>)>,
    bytes: u64,
}

/// A part of an upload.
enum Part {
    /// It has not arrived; its bytes are kept for another try.
    Missing { bytes: Bytes, is_under_way: bool },
    /// The server has it.
    There(PartId),
}

impl Upload {
    fn begin(bucket: &Arc<Bucket>, path: &str) -> StoreResult<Self> {
        let key = bucket.key(path);
        // Repeated after a lost answer, it leaves an upload behind that nobody completes.
        let id = bucket.change(WRITING, path, async |_| bucket.ask(bucket.store.create_multipart(&key)).await)?;
        let (parts, sending) = (Vec::new(), JoinSet::new());
        Ok(Self { bucket: bucket.clone(), path: path.to_owned(), key, id, parts, sending, bytes: 0 })
    }

    /// Sends further parts; returns when at most `left` of all have not arrived. They go on their way meanwhile.
    fn send(&mut self, parts: Vec<Bytes>, left: usize) -> StoreResult<()> {
        self.bytes = parts.iter().fold(self.bytes, |sum, part| sum.saturating_add(length_of(part)));
        self.parts.extend(parts.into_iter().map(|bytes| Part::Missing { bytes, is_under_way: false }));
        let (bucket, path) = (self.bucket.clone(), self.path.clone());
        bucket.change(WRITING, &path, async |number| self.advance(number, left).await)
    }

    async fn advance(&mut self, number: u32, left: usize) -> Result<(), Fault> {
        // A link that was too slow for all together may carry one.
        let at_once = PARTS_AT_ONCE.checked_shr(number).unwrap_or(0).max(1);
        let mut fault = None;
        loop {
            if fault.is_none() {
                self.start(at_once);
            }
            let missing = self.parts.iter().filter(|part| matches!(part, Part::Missing { .. })).count();
            if fault.is_none() && missing <= left {
                return Ok(());
            }
            // Others may arrive although one has not.
            let Some(answer) = self.sending.join_next().await else {
                return Err(fault.unwrap_or_else(|| Fault::lasting(StoreErrorKind::Io, "a part was not sent")));
            };
            let (number, answer) = answer.map_err(|error| Fault::lasting(StoreErrorKind::Io, error))?;
            match (answer, self.parts.get_mut(number)) {
                (Ok(id), Some(part)) => *part = Part::There(id),
                (Err(found), Some(Part::Missing { is_under_way, .. })) => {
                    *is_under_way = false;
                    if !found.can_pass {
                        return Err(found);
                    }
                    fault.get_or_insert(found);
                }
                (answer, _) => answer.map(drop)?,
            }
        }
    }

    /// Puts the next parts on their way.
    fn start(&mut self, at_once: usize) {
        for (number, part) in self.parts.iter_mut().enumerate() {
            if self.sending.len() >= at_once {
                return;
            }
            if let Part::Missing { bytes, is_under_way: is_under_way @ false } = part {
                *is_under_way = true;
                // Not the bucket: a task that outlived everybody else would take down the runtime that it runs on.
                let (store, line) = (self.bucket.store.clone(), self.bucket.line.clone());
                let (key, id, payload) = (self.key.clone(), self.id.clone(), PutPayload::from(bytes.clone()));
                let send = async move { (number, ask(&line, store.put_part(&key, &id, number, payload)).await) };
                self.sending.spawn_on(send, self.bucket.runtime.handle());
            }
        }
    }

    /// Lets the object appear.
    fn complete(mut self) -> StoreResult<()> {
        let (bucket, key, id) = (self.bucket.clone(), self.key.clone(), self.id.clone());
        let there = self.parts.iter().filter_map(|part| match part {
            Part::There(id) => Some(id.clone()),
            Part::Missing { .. } => None,
        });
        let (parts, length): (Vec<PartId>, _) = (there.collect(), self.bytes);
        if parts.len() != self.parts.len() {
            let fault = Fault::lasting(StoreErrorKind::Io, "parts are missing");
            return Err(bucket.error(fault, WRITING, &self.path));
        }
        bucket.change(WRITING, &self.path, async |number| {
            match bucket.ask(bucket.store.complete_multipart(&key, &id, parts.clone())).await {
                // The first try had succeeded, and only its answer was lost.
                Err(fault) if number > 0 && fault.kind == StoreErrorKind::NotFound => {
                    let found = bucket.ask(bucket.store.head(&key)).await?;
                    if found.size == length { Ok(()) } else { Err(fault) }
                }
                other => other.map(drop),
            }
        })?;
        // Nothing is left to be given up.
        self.id.clear();
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.id.is_empty() {
            return;
        }
        // Parts that nobody will complete are paid for. Tried once: the error that matters is another.
        let (bucket, key, id, sending) = (&self.bucket, &self.key, &self.id, &mut self.sending);
        let abort = async {
            // A part that arrives behind the word that nothing more comes would stay: what is under way is waited for.
            let _ = tokio::time::timeout(ABORT_DEADLINE, async { while sending.join_next().await.is_some() {} }).await;
            sending.shutdown().await;
            let asked = bucket.ask(bucket.store.abort_multipart(key, id));
            tokio::time::timeout(ABORT_DEADLINE, asked).await.unwrap_or_else(|_| Err(Fault::cancelled()))
        };
        let _ = bucket.runtime.wait(&bucket.line, WRITING, abort);
    }
}

/// An object with a name.
pub struct ObjectFile {
    bucket: Arc<Bucket>,
    path: String,
    buffer: Buffer,
    upload: Option<Upload>,
    /// Bytes of the object as it was completed in parts; the buffer does not hold them.
    completed: Option<u64>,
    is_stable: bool,
}

impl ObjectFile {
    /// Begins an object; one of the same name stays until this one is synced.
    pub fn new(bucket: Arc<Bucket>, path: String) -> Self {
        Self { bucket, path, buffer: Buffer::default(), upload: None, completed: None, is_stable: false }
    }

    /// Begins with the first `length` bytes of an object that exists.
    pub fn copy_of(bucket: Arc<Bucket>, path: String, length: u64) -> StoreResult<Self> {
        let mut file = Self::new(bucket, path);
        file.copy(length)?;
        Ok(file)
    }

    fn copy(&mut self, length: u64) -> StoreResult<()> {
        let mut position = 0_u64;
        while position < length {
            let part = length.saturating_sub(position).min(u64::try_from(PART_BYTES).unwrap_or(u64::MAX));
            let mut bytes = vec![0; usize::try_from(part).unwrap_or_default()];
            self.bucket.read(&self.path, position, &mut bytes)?;
            self.take(&bytes)?;
            position = position.saturating_add(part);
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.buffer.append(bytes);
        // One is kept back: a file that is no longer goes up with one request.
        if self.upload.is_some() || self.buffer.full.len() > 1 {
            let parts = std::mem::take(&mut self.buffer.full);
            self.upload()?.send(parts, PARTS_AT_ONCE)?;
        }
        Ok(())
    }

    fn upload(&mut self) -> StoreResult<&mut Upload> {
        let upload = match self.upload.take() {
            Some(upload) => upload,
            None => Upload::begin(&self.bucket, &self.path)?,
        };
        Ok(self.upload.insert(upload))
    }
}

impl StoreFile for ObjectFile {
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.is_stable = false;
        // An object can't grow: what follows a completed one goes up with all of it.
        if let Some(length) = self.completed.take() {
            self.copy(length)?;
        }
        self.take(bytes)
    }

    fn sync(&mut self) -> StoreResult<()> {
        if self.is_stable {
            return Ok(());
        }
        if self.upload.is_none() && self.buffer.full.len() <= 1 {
            // Small: kept, so that more can follow.
            let bytes: Vec<u8> = self.buffer.full.iter().flatten().chain(&self.buffer.tail).copied().collect();
            self.bucket.put(&self.path, bytes.into())?;
        } else {
            let parts = self.buffer.take();
            self.upload()?.send(parts, 0)?;
            if let Some(upload) = self.upload.take() {
                let length = upload.bytes;
                upload.complete()?;
                self.completed = Some(length);
            }
        }
        self.is_stable = true;
        Ok(())
    }
}

/// An object whose name comes last.
pub struct NamelessObject {
    bucket: Arc<Bucket>,
    buffer: Buffer,
}

impl NamelessObject {
    /// Begins with nothing.
    pub fn new(bucket: Arc<Bucket>) -> Self {
        Self { bucket, buffer: Buffer::default() }
    }
}

impl NamelessFile for NamelessObject {
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.buffer.append(bytes);
        Ok(())
    }

    fn finish(&mut self, path: &str) -> StoreResult<()> {
        if self.buffer.length() <= u64::try_from(PART_BYTES).unwrap_or(u64::MAX) {
            let bytes = self.buffer.take().into_iter().next().unwrap_or_default();
            return self.bucket.put(path, bytes);
        }
        let mut upload = Upload::begin(&self.bucket, path)?;
        upload.send(self.buffer.take(), 0)?;
        upload.complete()
    }
}

/// Waits for one request.
pub async fn ask<T>(line: &Line, request: impl Future<Output = object_store::Result<T>>) -> Result<T, Fault> {
    let done = answer(line, request).await?.map_err(|error| fault_of(&error))?;
    line.answered();
    Ok(done)
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
