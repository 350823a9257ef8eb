//! A file on an export while it is written from its start to its end.
//!
//! Blocks go out as they fill, several at once, each on its own connection. The server may keep them in memory
//! (UNSTABLE) until they are committed, and loses them when it restarts; its *write verifier* is then another one.
//! So every block is kept here until a COMMIT answers with the verifier that the block's WRITE had; all others are
//! sent again. To bound the memory, a COMMIT is sent whenever [`COMMIT_BYTES`] have gone out, beside the blocks that
//! follow, so that the link stays filled; a writer waits only where two such parts are not stable yet.
//!
//! Source: RFC 1813, sections 3.3.7 (WRITE) and 3.3.21 (COMMIT).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender};
use image::{StoreError, StoreErrorKind, StoreFile, StoreResult};

use super::rpc::{Handle, Verifier};
use super::server::Server;
use super::status::Trouble;
use crate::patience::Fault;

/// After this many bytes of a file the server is asked to make them stable.
const COMMIT_BYTES: usize = 16 << 20;
/// A file that is not larger is written and made stable by one call.
const SMALL: usize = 64 << 10;
/// A server that forgets everything between WRITE and COMMIT this often in a row will not take the file.
const FORGETTING_LIMIT: u32 = 100;

/// Buffers of blocks that are kept for the next ones: memory that the system gives anew is filled with zeros first.
const SPARE_BUFFERS: usize = 16;

/// Work for the threads that write.
pub enum Job {
    /// A block goes out.
    Write(Arc<Outgoing>, Block),
    /// What has gone out is made stable.
    Commit(Arc<Outgoing>),
}

/// Bytes of a file and where they go.
#[derive(Clone)]
pub struct Block {
    offset: u64,
    bytes: Arc<Vec<u8>>,
}

/// Buffers of blocks that are stable.
#[derive(Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.spare().pop().unwrap_or_default()
    }

    fn give(&self, block: Block) {
        let Some(mut buffer) = Arc::into_inner(block.bytes) else { return };
        let mut spare = self.spare();
        if spare.len() < SPARE_BUFFERS {
            buffer.clear();
            spare.push(buffer);
        }
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file on its way to the server.
pub struct Outgoing {
    handle: Handle,
    path: String,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Blocks that were handed to the threads and have not been answered.
    under_way: usize,
    under_way_bytes: usize,
    /// Blocks that the server took but may still forget.
    kept: Vec<(Block, Verifier)>,
    kept_bytes: usize,
    is_committing: bool,
    /// COMMITs in a row that found everything forgotten.
    forgetting: u32,
    /// Why nothing more can be written.
    failure: Option<(StoreErrorKind, String)>,
}

/// Who may still forget a block.
enum Taken {
    /// Nobody: it is on stable storage.
    Stable,
    /// A server in this state.
    By(Verifier),
    /// A server before and after a restart.
    ByBoth,
}

/// The writing end of a file.
pub struct NfsFile {
    server: Arc<Server>,
    jobs: Sender<Job>,
    outgoing: Arc<Outgoing>,
    buffer: Vec<u8>,
    /// Where the first byte of the buffer goes.
    position: u64,
}

impl NfsFile {
    /// Writes from `position` on.
    pub fn new(server: Arc<Server>, jobs: Sender<Job>, handle: Handle, path: &str, position: u64) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let outgoing = Arc::new(Outgoing { handle, path: path.to_owned(), state, changed });
        Self { server, jobs, outgoing, buffer: Vec::new(), position }
    }

    /// Hands the buffer to the threads.
    fn send(&mut self) -> StoreResult<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let bytes = std::mem::take(&mut self.buffer);
        let block = Block { offset: self.position, bytes: Arc::new(bytes) };
        let length = block.bytes.len();
        self.position = self.position.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        let mut state = self.outgoing.state();
        while state.failure.is_none() && state.unstable_bytes() >= COMMIT_BYTES.saturating_mul(2) {
            // A COMMIT that found its blocks forgotten has left them here, and there may be no other under way.
            state = match self.outgoing.commit_if_due(state) {
                Ok(job) => {
                    self.hand_over(job)?;
                    self.outgoing.state()
                }
                Err(state) => self.outgoing.wait(state),
            };
        }
        self.check(&state)?;
        state.under_way = state.under_way.saturating_add(1);
        state.under_way_bytes = state.under_way_bytes.saturating_add(length);
        drop(state);
        self.hand_over(Job::Write(self.outgoing.clone(), block))?;
        match self.outgoing.commit_if_due(self.outgoing.state()) {
            Ok(job) => self.hand_over(job),
            Err(_) => Ok(()),
        }
    }

    fn hand_over(&self, job: Job) -> StoreResult<()> {
        self.jobs.send(job).map_err(|_| self.error(StoreErrorKind::Io, "the threads that write have ended"))
    }

    fn check(&self, state: &State) -> StoreResult<()> {
        match &state.failure {
            Some((kind, text)) => Err(self.error(*kind, text)),
            None => Ok(()),
        }
    }

    fn error(&self, kind: StoreErrorKind, text: &str) -> StoreError {
        Fault::lasting(kind, text).at("writing", self.server.location().to_owned(), &self.outgoing.path)
    }

    /// Waits until all blocks were answered, and no thread commits any more.
    fn wait_for_answers(&self) -> StoreResult<bool> {
        let mut state = self.outgoing.state();
        while state.under_way > 0 || state.is_committing {
            state = self.outgoing.wait(state);
        }
        self.check(&state)?;
        Ok(state.kept.is_empty())
    }
}

impl StoreFile for NfsFile {
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()> {
        let block_bytes = usize::try_from(self.server.request_bytes().1).unwrap_or(usize::MAX);
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = block_bytes.saturating_sub(self.buffer.len());
            let (now, later) = rest.split_at(room.min(rest.len()));
            if self.buffer.capacity() < self.buffer.len().saturating_add(now.len()) && bytes.len() > SMALL {
                if self.buffer.is_empty() {
                    self.buffer = self.server.buffers.take();
                }
                self.buffer.reserve_exact(room);
            }
            self.buffer.extend_from_slice(now);
            rest = later;
            if self.buffer.len() >= block_bytes {
                self.send()?;
            }
        }
        let state = self.outgoing.state();
        self.check(&state)
    }

    fn sync(&mut self) -> StoreResult<()> {
        let is_all_there_is = {
            let state = self.outgoing.state();
            state.under_way == 0 && state.kept.is_empty() && !state.is_committing
        };
        if is_all_there_is && self.buffer.len() <= SMALL {
            let bytes = std::mem::take(&mut self.buffer);
            let block = Block { offset: self.position, bytes: Arc::new(bytes) };
            self.position = self.position.saturating_add(u64::try_from(block.bytes.len()).unwrap_or(u64::MAX));
            self.check(&self.outgoing.state())?;
            let written = self.outgoing.write(&self.server, &block, true);
            let outcome = written.map(|taken| self.outgoing.keep(block, taken, true));
            self.outgoing.state().fail(outcome);
        } else {
            self.send()?;
        }
        while !self.wait_for_answers()? {
            self.outgoing.state().is_committing = true;
            self.outgoing.commit(&self.server);
        }
        Ok(())
    }
}

impl Drop for NfsFile {
    fn drop(&mut self) {
        // What was not synced may be lost; but where nothing is wrong it arrives, as on a local disk.
        if self.send().is_ok() {
            let _ = self.wait_for_answers();
        }
    }
}

impl State {
    fn unstable_bytes(&self) -> usize {
        self.kept_bytes.saturating_add(self.under_way_bytes)
    }
}

impl Outgoing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// The job of making stable what is kept, where that is enough and nobody does it already.
    fn commit_if_due<'a>(self: &Arc<Self>, mut state: MutexGuard<'a, State>) -> Result<Job, MutexGuard<'a, State>> {
        if state.kept_bytes < COMMIT_BYTES || state.is_committing {
            return Err(state);
        }
        state.is_committing = true;
        Ok(Job::Commit(self.clone()))
    }

    /// Writes a block to its end. Returns the state of the server that may still forget it.
    fn write(&self, server: &Server, block: &Block, is_stable: bool) -> StoreResult<Option<Verifier>> {
        match self.write_once(server, block, is_stable)? {
            Taken::Stable => Ok(None),
            Taken::By(verifier) => Ok(Some(verifier)),
            // Parts of it were taken before a restart: no COMMIT can answer for all of it.
            Taken::ByBoth => match self.write_once(server, block, true)? {
                Taken::Stable => Ok(None),
                _ => {
                    let fault = Fault::lasting(StoreErrorKind::Io, "the server does not write at once what has to be");
                    Err(fault.at("writing", server.location().to_owned(), &self.path))
                }
            },
        }
    }

    fn write_once(&self, server: &Server, block: &Block, is_stable: bool) -> StoreResult<Taken> {
        let mut done = 0_usize;
        let mut taken = Taken::Stable;
        while let Some(rest) = block.bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let offset = block.offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            let written = server.change("writing", &self.path, |rpc, _| {
                let written = rpc.write(&self.handle, offset, rest, is_stable)?;
                if written.count == 0 || written.count > rest.len() {
                    let text = format!("the server took {} of {} bytes", written.count, rest.len());
                    return Err(Trouble::Fault(Fault::lasting(StoreErrorKind::Io, text)));
                }
                Ok(written)
            })?;
            done = done.saturating_add(written.count);
            taken = match taken {
                _ if written.is_stable => taken,
                Taken::Stable => Taken::By(written.verifier),
                Taken::By(verifier) if verifier == written.verifier => taken,
                _ => Taken::ByBoth,
            };
        }
        Ok(taken)
    }

    /// Makes stable what has gone out; what the server has forgotten goes out again, and stays kept.
    fn commit(&self, server: &Server) {
        let known = self.state().kept.len();
        let commit = || server.change("writing", &self.path, |rpc, _| rpc.commit(&self.handle));
        let committed = self.caught(server, commit);
        let forgotten = committed.and_then(|verifier| {
            let mut state = self.state();
            // Blocks that were answered after the COMMIT was sent wait for the next one.
            let known = known.min(state.kept.len());
            let late = state.kept.split_off(known);
            let settled = std::mem::replace(&mut state.kept, late);
            let (forgotten, stable): (Vec<_>, Vec<_>) = settled.into_iter().partition(|(_, taken)| *taken != verifier);
            state.kept_bytes = state.kept.iter().chain(&forgotten).map(|(block, _)| block.bytes.len()).sum();
            state.forgetting = if forgotten.len() < known { 0 } else { state.forgetting.saturating_add(1) };
            self.changed.notify_all();
            if state.forgetting >= FORGETTING_LIMIT {
                let text = "the server restarts again and again, and forgets what it was sent";
                let fault = Fault::lasting(StoreErrorKind::Io, text);
                return Err(fault.at("writing", server.location().to_owned(), &self.path));
            }
            drop(state);
            stable.into_iter().for_each(|(block, _)| server.buffers.give(block));
            Ok(forgotten)
        });
        let outcome = forgotten.and_then(|forgotten| {
            for (block, _) in forgotten {
                let taken = self.caught(server, || self.write(server, &block, false))?;
                self.keep(block, taken, false);
            }
            Ok(())
        });
        let mut state = self.state();
        state.kept_bytes = state.kept.iter().map(|(block, _)| block.bytes.len()).sum();
        state.is_committing = false;
        state.fail(outcome);
        self.changed.notify_all();
    }

    /// A panic in a thread that writes is an error of the file: its writer would wait for ever.
    fn caught<T>(&self, server: &Server, work: impl FnOnce() -> StoreResult<T>) -> StoreResult<T> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
            let fault = Fault::lasting(StoreErrorKind::Io, "a thread that writes panicked");
            Err(fault.at("writing", server.location().to_owned(), &self.path))
        })
    }

    /// Keeps a block until it is stable.
    fn keep(&self, block: Block, taken: Option<Verifier>, is_new: bool) {
        let Some(verifier) = taken else { return };
        let mut state = self.state();
        if is_new {
            state.kept_bytes = state.kept_bytes.saturating_add(block.bytes.len());
        }
        state.kept.push((block, verifier));
    }

    /// What a thread does with a block.
    fn write_and_keep(&self, server: &Server, block: Block) {
        let length = block.bytes.len();
        // After a failure nothing more is sent.
        let has_failed = self.state().failure.is_some();
        let written = if has_failed { Ok(None) } else { self.caught(server, || self.write(server, &block, false)) };
        let outcome = written.map(|taken| self.keep(block, taken, true));
        let mut state = self.state();
        state.under_way = state.under_way.saturating_sub(1);
        state.under_way_bytes = state.under_way_bytes.saturating_sub(length);
        state.fail(outcome);
        self.changed.notify_all();
    }
}

impl State {
    fn fail(&mut self, outcome: StoreResult<()>) {
        if let (Err(error), None) = (outcome, &self.failure) {
            let text = error.source.to_string();
            self.failure = Some((error.kind, text));
            self.kept.clear();
            self.kept_bytes = 0;
        }
    }
}

/// What each of the threads does that write: until nobody can hand it anything any more.
pub fn work(server: &Server, jobs: &Receiver<Job>) {
    for job in jobs {
        match job {
            Job::Write(outgoing, block) => outgoing.write_and_keep(server, block),
            Job::Commit(outgoing) => outgoing.commit(server),
        }
    }
}
