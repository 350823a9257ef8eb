//! A share of an SMB server as a target: SMB 2.1 to 3.1.1, spoken by the program itself.
//!
//! One connection carries everything; many requests are under way on it. When it breaks, the next try makes a new
//! one, and whatever was open is opened again. What was sent twice because an answer was lost does no harm: bytes go
//! to fixed places, and for names it is looked up whether the first try had succeeded.

mod file;
mod share;
mod status;
mod transport;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use image::{Entry, Lock, Store, StoreError, StoreErrorKind, StoreFile, StoreResult};

use crate::address::{Secret, SmbAddress};
use crate::lease::{LeaseTimes, Leases};
use crate::leased::{LeasedStore, may_repeat};
use crate::patience::{Fault, Line, Patience, Watch};
use crate::random_name;
use crate::runtime::Runtime;
use file::SmbFile;
pub use share::EncryptionNotAgreed;
use share::{Open, Opened, Share};
use smb2::types::{FileId, SessionId};
pub use status::kind_of_status;

/// Files kept open for reading: enough for the packs that one restore reads at a time.
const OPEN_FILES_LIMIT: usize = 32;
/// Bytes of a copy that are in memory.
const COPY_BYTES: u64 = 8 << 20;
/// Files that nobody but this session changes, if anybody: only such are kept open.
const FIXED: [&str; 3] = [".pack", ".part", ".map"];

/// A share that holds a repository.
pub struct SmbStore;

/// What the store and its open files share.
struct Server {
    address: SmbAddress,
    password: Option<Secret>,
    line: Arc<Line>,
    leases: Arc<Leases>,
    runtime: Runtime,
    share: Mutex<Present>,
}

/// The connection there is, and the last one there was.
#[derive(Default)]
struct Present {
    share: Option<Arc<Share>>,
    previous: Option<SessionId>,
}

/// The files on a share, without locks.
struct Files {
    server: Arc<Server>,
    readers: Mutex<Vec<Reader>>,
}

#[derive(Clone)]
struct Reader {
    path: String,
    share: Arc<Share>,
    opened: Opened,
}

impl SmbStore {
    /// Connects to the existing directory at `address`.
    ///
    /// # Errors
    /// `Unreachable`, `Login`, `NoExport`, `Denied`; `NoExport` also where the directory does not exist: it is never
    /// made, as its images might land in the wrong place.
    pub fn open(
        address: SmbAddress,
        password: Option<Secret>,
        patience: Patience,
        watch: Watch,
    ) -> StoreResult<LeasedStore> {
        Self::open_with(address, password, patience, LeaseTimes::default(), watch)
    }

    /// As [`SmbStore::open`], with other times for locks.
    ///
    /// # Errors
    /// As [`SmbStore::open`].
    pub fn open_with(
        address: SmbAddress,
        password: Option<Secret>,
        patience: Patience,
        times: LeaseTimes,
        watch: Watch,
    ) -> StoreResult<LeasedStore> {
        let location = address.to_string();
        let runtime = Runtime::start("smb").map_err(|error| Fault::of(error).at("opening", location, ""))?;
        let (line, leases) = (Arc::new(Line::new(patience, watch)), Arc::new(Leases::new(times)));
        let (kept_line, kept_leases) = (line.clone(), leases.clone());
        let server = Arc::new(Server { address, password, line, leases, runtime, share: Mutex::default() });
        let directory = server.path_of("");
        let is_there = server.run("opening", "", async |share, _| share.is_directory(&directory).await)?;
        if !is_there {
            let fault = Fault::lasting(StoreErrorKind::NoExport, format!("the share has no directory {directory}"));
            return Err(server.error(fault, "opening", ""));
        }
        kept_line.opened();
        Ok(LeasedStore::new(Arc::new(Files { server, readers: Mutex::default() }), kept_line, kept_leases))
    }
}

impl Server {
    fn location(&self) -> String {
        self.address.to_string()
    }

    fn error(&self, fault: Fault, operation: &'static str, path: &str) -> StoreError {
        fault.at(operation, self.location(), path)
    }

    /// A path of the store as a path of the share.
    fn path_of(&self, path: &str) -> String {
        let parts = [self.address.path.as_str(), path];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }

    /// The present connection, or a new one.
    fn share(&self) -> Result<Arc<Share>, Fault> {
        // Held while connecting: others would only make connections of their own.
        let mut present = guard(&self.share);
        if let Some(share) = present.share.as_ref().filter(|share| !share.is_broken()) {
            return Ok(share.clone());
        }
        present.share = None;
        let connecting = Share::connect(&self.address, self.password.as_ref(), &self.line, present.previous);
        let share = Arc::new(self.runtime.wait(&self.line, "connecting", connecting)?);
        present.previous = Some(share.session());
        present.share = Some(share.clone());
        Ok(share)
    }

    /// The most that one request carries, as far as is known.
    fn request_bytes(&self) -> u32 {
        guard(&self.share).share.as_ref().map_or(share::REQUEST_LIMIT, |share| share.request_bytes())
    }

    /// Does one operation on the present connection, again where it breaks.
    fn run<T>(
        &self,
        operation: &'static str,
        path: &str,
        mut attempt: impl AsyncFnMut(&Arc<Share>, u32) -> Result<T, Fault>,
    ) -> StoreResult<T> {
        let done = self.line.run(operation, |number| {
            let share = self.share()?;
            self.runtime.wait(&self.line, operation, attempt(&share, number))
        });
        done.map_err(|fault| self.error(fault, operation, path))
    }

    /// The same for an operation that changes something.
    fn change<T>(
        &self,
        operation: &'static str,
        path: &str,
        mut attempt: impl AsyncFnMut(&Arc<Share>, u32) -> Result<T, Fault>,
    ) -> StoreResult<T> {
        self.run(operation, path, async |share, number| {
            if number > 0 {
                may_repeat(&self.leases, path)?;
            }
            attempt(share, number).await.map_err(|fault| share.refusal_of_change(fault))
        })
    }

    /// Closes a file that nobody waits for.
    fn close_later(&self, share: Arc<Share>, id: FileId) {
        if !share.is_broken() {
            self.runtime.handle().spawn(async move { share.close(id).await });
        }
    }
}

impl Files {
    /// Opens a new file and makes the directories above it.
    async fn create_on(&self, share: &Share, path: &str) -> Result<Opened, Fault> {
        let path = self.server.path_of(path);
        match share.open(&path, Open::Replace).await {
            Err(fault) if fault.kind == StoreErrorKind::NotFound => {}
            other => return other,
        }
        self.make_parents(share, &path).await?;
        share.open(&path, Open::Replace).await
    }

    /// Makes the directories above a path of the share, but none of those that the operator named, and makes their
    /// names stable.
    async fn make_parents(&self, share: &Share, path: &str) -> Result<(), Fault> {
        let root = self.server.path_of("");
        let ends = path.match_indices('/').map(|(end, _)| end).filter(|end| *end > root.len());
        let mut above = root.as_str();
        for directory in ends.filter_map(|end| path.get(..end)) {
            share.make_directory(directory).await?;
            share.flush_directory(above).await?;
            above = directory;
        }
        Ok(())
    }

    /// Makes the name of a file stable, as far as the server can do that.
    async fn flush_name(&self, share: &Share, path: &str) -> Result<(), Fault> {
        share.flush_directory(path.rsplit_once('/').map_or("", |(directory, _)| directory)).await
    }

    async fn write_small(&self, share: &Share, path: &str, bytes: &[u8]) -> Result<(), Fault> {
        let file = self.create_on(share, path).await?;
        share.write_all(file.id, 0, bytes).await?;
        share.flush(file.id).await?;
        share.close(file.id).await
    }

    /// Makes a file of the first `length` bytes of another, on stable storage, and leaves it open.
    async fn copy_start(&self, share: &Share, name: &str, to: &str, length: u64) -> Result<Opened, Fault> {
        let source = share.open(name, Open::Read).await?;
        if source.size < length {
            let text = format!("the file has {} bytes, not {length}", source.size);
            return Err(Fault::lasting(StoreErrorKind::Truncated, text));
        }
        let copy = self.create_on(share, to).await?;
        let mut position = 0_u64;
        while position < length {
            let part = length.saturating_sub(position).min(COPY_BYTES);
            let mut bytes = vec![0; usize::try_from(part).unwrap_or_default()];
            share.read(source.id, position, &mut bytes).await?;
            share.write_all(copy.id, position, &bytes).await?;
            position = position.saturating_add(part);
        }
        share.flush(copy.id).await?;
        share.close(source.id).await?;
        Ok(copy)
    }

    /// Whether a file holds exactly `bytes`.
    async fn holds(&self, share: &Share, path: &str, bytes: &[u8]) -> Result<bool, Fault> {
        let file = match share.open(&self.server.path_of(path), Open::Read).await {
            Err(fault) if fault.kind == StoreErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let mut found = vec![0; bytes.len()];
        let is_as_long = u64::try_from(bytes.len()).is_ok_and(|length| length == file.size);
        let read = if is_as_long { share.read(file.id, 0, &mut found).await } else { Ok(()) };
        share.close(file.id).await?;
        read.map(|()| is_as_long && found == bytes)
    }

    /// The file for reading, opened before where that is still good.
    async fn reader(&self, share: &Arc<Share>, path: &str) -> Result<Reader, Fault> {
        let is_fixed = FIXED.iter().any(|ending| path.ends_with(ending));
        if is_fixed && let Some(reader) = self.known_reader(share, path) {
            return Ok(reader);
        }
        let opened = share.open(&self.server.path_of(path), Open::Read).await?;
        let reader = Reader { path: path.to_owned(), share: share.clone(), opened };
        if is_fixed {
            let mut readers = guard(&self.readers);
            readers.push(reader.clone());
            if readers.len() > OPEN_FILES_LIMIT {
                let oldest = readers.remove(0);
                drop(readers);
                self.server.close_later(oldest.share, oldest.opened.id);
            }
        }
        Ok(reader)
    }

    fn known_reader(&self, share: &Arc<Share>, path: &str) -> Option<Reader> {
        let mut readers = guard(&self.readers);
        readers.retain(|reader| Arc::ptr_eq(&reader.share, share));
        let position = readers.iter().position(|reader| reader.path == path)?;
        let reader = readers.remove(position);
        readers.push(reader.clone());
        Some(reader)
    }

    /// Closes a file whose name is about to mean something else.
    fn forget(&self, path: &str) {
        let mut readers = guard(&self.readers);
        while let Some(position) = readers.iter().position(|reader| reader.path == path) {
            let reader = readers.remove(position);
            self.server.close_later(reader.share, reader.opened.id);
        }
    }
}

impl Store for Files {
    fn location(&self) -> String {
        self.server.location()
    }

    fn list(&self, directory: &str) -> StoreResult<Vec<Entry>> {
        let path = self.server.path_of(directory);
        match self.server.run("listing", directory, async |share, _| share.list(&path).await) {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }

    fn size(&self, path: &str) -> StoreResult<u64> {
        let name = self.server.path_of(path);
        self.server.run("looking at", path, async |share, _| share.size(&name).await)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> StoreResult<()> {
        self.server.run("reading", path, async |share, _| {
            let reader = self.reader(share, path).await?;
            let end = offset.checked_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
            let read = match end.is_some_and(|end| end <= reader.opened.size) {
                true => share.read(reader.opened.id, offset, buffer).await,
                false => {
                    let text = format!("the file has {} bytes", reader.opened.size);
                    Err(Fault::lasting(StoreErrorKind::Truncated, text))
                }
            };
            if !FIXED.iter().any(|ending| path.ends_with(ending)) {
                share.close(reader.opened.id).await?;
            } else if read.is_err() {
                self.forget(path);
            }
            read
        })
    }

    fn create(&self, path: &str) -> StoreResult<Box<dyn StoreFile>> {
        self.forget(path);
        let opened = self
            .server
            .change("making", path, async |share, _| Ok((share.clone(), self.create_on(share, path).await?)));
        let (share, file) = opened?;
        Ok(Box::new(SmbFile::new(self.server.clone(), path.to_owned(), share, file.id, 0)))
    }

    /// What is kept goes into a new file that takes the place of the old one: a session that was killed may have
    /// requests in the queue of a stalled server, and these write into the old.
    fn append(&self, path: &str, length: u64) -> StoreResult<Box<dyn StoreFile>> {
        self.forget(path);
        let (name, temporary) = (self.server.path_of(path), format!("{path}.new-{}", random_name()));
        let opened = self.server.change("opening", path, async |share, _| {
            let file = self.copy_start(share, &name, &temporary, length).await?;
            match share.rename(&self.server.path_of(&temporary), &name, true).await {
                // Windows replaces no file that is open, and the killed session's may still be.
                Err(fault) if fault.kind == StoreErrorKind::Denied => Err(Fault::passing(fault.source)),
                other => other.map(|()| (share.clone(), file)),
            }
        });
        let (share, file) = opened?;
        Ok(Box::new(SmbFile::new(self.server.clone(), path.to_owned(), share, file.id, length)))
    }

    fn rename(&self, from: &str, to: &str) -> StoreResult<()> {
        self.forget(from);
        self.forget(to);
        let (old, new) = (self.server.path_of(from), self.server.path_of(to));
        let mut may_be_done = false;
        self.server.change("renaming", to, async |share, _| {
            let was_tried = std::mem::replace(&mut may_be_done, true);
            let mut renamed = share.rename(&old, &new, true).await;
            if renamed.as_ref().is_err_and(|fault| fault.kind == StoreErrorKind::NotFound) {
                // The directory, most often; but no directory is made for a file that does not exist.
                if !was_tried {
                    share.size(&old).await?;
                }
                self.make_parents(share, &new).await?;
                renamed = share.rename(&old, &new, true).await;
            }
            match renamed {
                // The first try had succeeded, and only its answer was lost.
                Err(fault) if fault.kind == StoreErrorKind::NotFound && was_tried => {
                    share.size(&new).await?;
                }
                other => other?,
            }
            self.flush_name(share, &new).await
        })
    }

    /// The name is given as a second one to a file that is whole and stable: Samba looks whether a name is free before
    /// it renames, and two can look at the same instant.
    fn publish(&self, path: &str, bytes: &[u8]) -> StoreResult<()> {
        let temporary = format!("{path}.new-{}", random_name());
        let (old, new) = (self.server.path_of(&temporary), self.server.path_of(path));
        self.server.change("publishing", path, async |share, _| self.write_small(share, &temporary, bytes).await)?;
        let mut may_be_done = false;
        let published = self.server.change("publishing", path, async |share, _| {
            let was_tried = std::mem::replace(&mut may_be_done, true);
            let named = match share.link(&old, &new).await {
                // Only the lock of the session keeps two apart then.
                Ok(false) => share.rename(&old, &new, false).await,
                other => other.map(drop),
            };
            match named {
                // No two that publish write the same bytes: these are ours, and only the answer was lost.
                Err(fault)
                    if was_tried && matches!(fault.kind, StoreErrorKind::NotFound | StoreErrorKind::AlreadyExists) =>
                {
                    if !self.holds(share, path, bytes).await? {
                        return Err(Fault::of(std::io::ErrorKind::AlreadyExists.into()));
                    }
                }
                other => other?,
            }
            self.flush_name(share, &new).await
        });
        // The first name is of no more use. What stays of it does no harm, and is no reason to call this a failure.
        let _ = self.remove(&temporary);
        published
    }

    fn remove(&self, path: &str) -> StoreResult<()> {
        self.forget(path);
        let name = self.server.path_of(path);
        match self.server.change("removing", path, async |share, _| share.remove(&name).await) {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn lock(&self, name: &str) -> StoreResult<Box<dyn Lock>> {
        Err(self.server.error(Fault::of(std::io::ErrorKind::Unsupported.into()), "locking", name))
    }

    fn available_bytes(&self) -> StoreResult<Option<u64>> {
        self.server.run("looking at", "", async |share, _| share.available_bytes().await).map(Some)
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
