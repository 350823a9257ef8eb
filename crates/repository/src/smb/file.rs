//! A file that is written to a share: several requests are under way while the session goes on.
//!
//! A server that answers has taken the bytes, but it may lose them with its power until they are flushed. SMB has
//! no sign by which a client could tell that this happened. So what was written since the last flush is kept, and
//! sent again on every new connection; a flush every so often keeps that little.

use std::collections::VecDeque;
use std::sync::Arc;

use image::{StoreErrorKind, StoreFile, StoreResult};
use smb2::types::FileId;
use tokio::task::JoinHandle;

use super::Server;
use super::share::{Open, REQUESTS_AT_ONCE, Share};
use crate::leased::may_repeat;
use crate::patience::Fault;

/// Bytes after which a flush begins, beside the writing that goes on.
const FLUSH_EVERY: u64 = 16 << 20;
/// Bytes that are kept at most before the writing waits for a flush.
const KEPT_LIMIT: u64 = 48 << 20;

const WRITING: &str = "writing";

/// A file that is being written from its start, or from where it was cut, to its end.
pub struct SmbFile {
    server: Arc<Server>,
    path: String,
    /// The file on the present connection; none before the first try and after a fault.
    open: Option<OpenFile>,
    /// Written but not known to be stable, in order.
    kept: VecDeque<Piece>,
    kept_bytes: u64,
    /// The last bytes, less than a request.
    tail: Vec<u8>,
    /// Where the tail begins.
    position: u64,
}

struct Piece {
    offset: u64,
    bytes: Arc<Vec<u8>>,
}

/// What is under way on one connection. All counts are of pieces, from the front of those that are kept.
struct OpenFile {
    share: Arc<Share>,
    id: FileId,
    sent: usize,
    answered: usize,
    writes: VecDeque<JoinHandle<Result<(), Fault>>>,
    flush: Option<(usize, JoinHandle<Result<(), Fault>>)>,
}

/// How far a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// Everything is under way, and not too much is kept.
    Sent,
    /// Everything is stable.
    Stable,
}

impl SmbFile {
    /// The file at `path`, opened on `share`, written from `position` on.
    pub fn new(server: Arc<Server>, path: String, share: Arc<Share>, id: FileId, position: u64) -> Self {
        let open = Some(OpenFile::new(share, id));
        Self { server, path, open, kept: VecDeque::new(), kept_bytes: 0, tail: Vec::new(), position }
    }

    /// Makes the tail a piece.
    fn cut_tail(&mut self) {
        let bytes = std::mem::take(&mut self.tail);
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > 0 {
            self.kept.push_back(Piece { offset: self.position, bytes: Arc::new(bytes) });
            self.kept_bytes = self.kept_bytes.saturating_add(length);
            self.position = self.position.saturating_add(length);
        }
    }

    fn go_on(&mut self, goal: Goal) -> StoreResult<()> {
        let (server, path) = (self.server.clone(), self.path.clone());
        server.line.run(WRITING, |_| self.attempt(goal)).map_err(|fault| server.error(fault, WRITING, &path))
    }

    /// One try, on one connection. After a fault everything that is kept is sent again.
    fn attempt(&mut self, goal: Goal) -> Result<(), Fault> {
        let done = self.step(goal);
        if let Err(fault) = &done
            && let Some(open) = self.open.take()
        {
            open.give_up(&self.server, fault.can_pass);
        }
        done
    }

    fn step(&mut self, goal: Goal) -> Result<(), Fault> {
        let mut open = match self.open.take() {
            Some(open) if !open.share.is_broken() => open,
            _ => self.reopen()?,
        };
        let done = self.advance(&mut open, goal);
        // Also after a fault: what is under way has to be ended.
        self.open = Some(open);
        done
    }

    fn reopen(&self) -> Result<OpenFile, Fault> {
        // Whoever has taken over the lock meanwhile writes a file of this name now.
        may_repeat(&self.server.leases, &self.path)?;
        let share = self.server.share()?;
        let first = self.kept.front().map_or(self.position, |piece| piece.offset);
        let opening = async {
            let opened = share.open(&self.path_on_server(), Open::Write).await?;
            if opened.size < first {
                let text = format!("{} bytes were stable, and the file has {} now", first, opened.size);
                return Err(Fault::lasting(StoreErrorKind::Io, text));
            }
            Ok(opened)
        };
        let opened = self.server.runtime.wait(&self.server.line, WRITING, opening)?;
        Ok(OpenFile::new(share, opened.id))
    }

    fn path_on_server(&self) -> String {
        self.server.path_of(&self.path)
    }

    fn advance(&mut self, open: &mut OpenFile, goal: Goal) -> Result<(), Fault> {
        let runtime = self.server.runtime.handle().clone();
        loop {
            open.send(&runtime, &self.kept);
            self.take_answers(open, false)?;
            self.begin_flush(open, goal);
            let all_sent = open.sent >= self.kept.len();
            let is_reached = match goal {
                Goal::Sent => all_sent && self.kept_bytes <= KEPT_LIMIT,
                Goal::Stable => self.kept.is_empty(),
            };
            if is_reached {
                return Ok(());
            }
            self.take_answers(open, true)?;
        }
    }

    /// Takes the answers that are there, or waits for the next one.
    fn take_answers(&mut self, open: &mut OpenFile, wait: bool) -> Result<(), Fault> {
        let mut wait = wait;
        while open.writes.front().is_some_and(|write| write.is_finished() || wait) {
            let Some(write) = open.writes.pop_front() else { break };
            self.answer_of(write)?;
            open.answered = open.answered.saturating_add(1);
            wait = false;
        }
        if let Some((covered, flush)) = open.flush.take() {
            if !flush.is_finished() && !wait {
                open.flush = Some((covered, flush));
                return Ok(());
            }
            self.answer_of(flush)?;
            self.forget(open, covered);
        }
        Ok(())
    }

    fn answer_of(&self, task: JoinHandle<Result<(), Fault>>) -> Result<(), Fault> {
        self.server.runtime.wait(&self.server.line, WRITING, async {
            task.await.map_err(|error| Fault::lasting(StoreErrorKind::Io, error))?
        })
    }

    /// Begins a flush of what was answered, where it is time for one.
    fn begin_flush(&mut self, open: &mut OpenFile, goal: Goal) {
        if open.flush.is_some() || open.answered == 0 {
            return;
        }
        let answered: u64 = self.kept.iter().take(open.answered).map(|piece| length_of(&piece.bytes)).sum();
        let is_last = goal == Goal::Stable && open.answered >= self.kept.len();
        if is_last || answered >= FLUSH_EVERY {
            let (share, id) = (open.share.clone(), open.id);
            open.flush =
                Some((open.answered, self.server.runtime.handle().spawn(async move { share.flush(id).await })));
        }
    }

    /// The first `count` pieces are stable.
    fn forget(&mut self, open: &mut OpenFile, count: usize) {
        for piece in self.kept.drain(..count.min(self.kept.len())) {
            self.kept_bytes = self.kept_bytes.saturating_sub(length_of(&piece.bytes));
        }
        open.sent = open.sent.saturating_sub(count);
        open.answered = open.answered.saturating_sub(count);
    }
}

impl OpenFile {
    fn new(share: Arc<Share>, id: FileId) -> Self {
        Self { share, id, sent: 0, answered: 0, writes: VecDeque::new(), flush: None }
    }

    /// Sends what may be under way.
    fn send(&mut self, runtime: &tokio::runtime::Handle, kept: &VecDeque<Piece>) {
        while self.writes.len() < REQUESTS_AT_ONCE {
            let Some(piece) = kept.get(self.sent) else { return };
            let (share, id, offset, bytes) = (self.share.clone(), self.id, piece.offset, piece.bytes.clone());
            self.writes.push_back(runtime.spawn(async move { share.write(id, offset, &bytes).await }));
            self.sent = self.sent.saturating_add(1);
        }
    }

    /// Ends what is under way. After a fault that can pass nothing more is said on this connection: an old write
    /// must not arrive behind its own repetition on the next.
    fn give_up(mut self, server: &Server, with_connection: bool) {
        for write in self.writes.drain(..) {
            write.abort();
        }
        if let Some((_, flush)) = self.flush.take() {
            flush.abort();
        }
        if with_connection && !self.share.is_broken() {
            self.share.break_off();
        } else {
            server.close_later(self.share, self.id);
        }
    }
}

impl StoreFile for SmbFile {
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()> {
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let request = usize::try_from(self.server.request_bytes()).unwrap_or(usize::MAX).max(1);
            let room = request.saturating_sub(self.tail.len());
            let (part, rest) = bytes.split_at(room.min(bytes.len()));
            // Not again and again a little more, where much comes in small pieces.
            if self.tail.capacity() == 0 && self.position > 0 {
                self.tail.reserve_exact(request);
            }
            self.tail.extend_from_slice(part);
            bytes = rest;
            if self.tail.len() >= request {
                self.cut_tail();
                self.go_on(Goal::Sent)?;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> StoreResult<()> {
        self.cut_tail();
        self.go_on(Goal::Stable)
    }
}

impl Drop for SmbFile {
    fn drop(&mut self) {
        self.cut_tail();
        // What was not synced is promised to nobody; the log of a save that failed still tells why, where it arrives.
        if self.open.as_ref().is_some_and(|open| !open.share.is_broken()) && !self.kept.is_empty() {
            let _ = self.attempt(Goal::Stable);
        }
        if let Some(open) = self.open.take() {
            open.give_up(&self.server, false);
        }
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
