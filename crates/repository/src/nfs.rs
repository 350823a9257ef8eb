//! An NFS export as a target, by NFS version 3, spoken by the program itself: no kernel module, no mount, no root.
//!
//! Calls may be sent again after an answer was lost, so each is made to stand that. Reading, writing at an offset,
//! making a file or directory and setting a size may be repeated as they are. RENAME that finds nothing, and LINK
//! that finds the name taken, may be echoes of their own first try: which file it is tells. Servers make names
//! stable before they answer (RFC 1813, section 4.8), so no directory has to be synced.

mod file;
mod rpc;
mod server;
mod socket;
mod status;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use image::{Entry, Lock, Store, StoreError, StoreErrorKind, StoreFile, StoreResult};
use nfs3_client::nfs3_types::nfs3::{Nfs3Option, cookieverf3, entryplus3, fattr3, ftype3, nfsstat3};

use self::file::{Job, NfsFile};
use self::rpc::{FileId, Handle, Rpc};
use self::server::{CONNECTIONS, Server};
use self::status::Trouble;
use crate::address::NfsAddress;
use crate::lease::{LeaseTimes, Leases};
use crate::patience::{Fault, Line, Patience, Watch};
use crate::random_name;

/// Handles that are remembered: directories, and files that are read from their middle.
const HANDLES_LIMIT: usize = 2048;
/// A directory has no more entries.
const ENTRIES_LIMIT: usize = 4 << 20;
/// A listing that a changing directory spoils is begun again this often.
const LIST_TRIES: u32 = 10;

/// A directory of an NFS export. Clones share everything.
#[derive(Clone)]
pub struct NfsStore {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
}

struct Shared {
    server: Arc<Server>,
    directories: Mutex<HashMap<String, Handle>>,
    files: Mutex<HashMap<String, Handle>>,
}

impl NfsStore {
    /// Connects to a server and mounts an export. The directory must exist.
    ///
    /// # Errors
    /// `Unreachable`, soon, where no server answers; `NoExport` where it does not offer the directory.
    pub fn open(address: &NfsAddress, patience: Patience, watch: Watch) -> StoreResult<Self> {
        Self::open_with(address, patience, LeaseTimes::default(), watch)
    }

    /// As [`NfsStore::open`], with other times for locks.
    ///
    /// # Errors
    /// As [`NfsStore::open`].
    pub fn open_with(address: &NfsAddress, patience: Patience, times: LeaseTimes, watch: Watch) -> StoreResult<Self> {
        let server = Arc::new(Server::mount(address, Line::new(patience, watch), Leases::new(times))?);
        let (jobs, to_do) = bounded(1);
        for _ in 0..CONNECTIONS {
            start_thread(&server, &to_do)?;
        }
        let shared = Shared { server, directories: Mutex::default(), files: Mutex::default() };
        Ok(Self { shared: Arc::new(shared), jobs })
    }

    fn server(&self) -> &Server {
        &self.shared.server
    }

    /// Does something with a path. Where the server does not know a handle any more that was remembered, all are
    /// forgotten, and it is done once more.
    fn by_path<T>(
        &self,
        operation: &'static str,
        path: &str,
        is_change: bool,
        mut attempt: impl FnMut(&Shared, &mut Rpc, u32) -> Result<T, Trouble>,
    ) -> StoreResult<T> {
        let mut stale = 0_u32;
        let server = self.server();
        let once = |rpc: &mut Rpc, number: u32| match attempt(&self.shared, rpc, number.saturating_add(stale)) {
            Err(Trouble::Status(status @ (nfsstat3::NFS3ERR_STALE | nfsstat3::NFS3ERR_BADHANDLE))) if stale == 0 => {
                stale = 1;
                guard(&self.shared.directories).clear();
                guard(&self.shared.files).clear();
                server.forget();
                Err(Fault::passing(io::Error::other(format!("the server knows a handle no more ({status})"))).into())
            }
            other => other,
        };
        if is_change { server.change(operation, path, once) } else { server.call(operation, path, once) }
    }

    fn write_file(&self, handle: Handle, path: &str, position: u64) -> Box<dyn StoreFile> {
        let server = self.shared.server.clone();
        Box::new(NfsFile::new(server, self.jobs.clone(), handle, path, position))
    }

    fn make(&self, path: &str) -> StoreResult<Handle> {
        self.shared.forget(path);
        self.by_path("making", path, true, |shared, rpc, _| {
            let (directory, name) = shared.make_parent(rpc, path)?;
            match rpc.create(&directory, name) {
                // Some servers refuse to empty a file this way.
                Err(Trouble::Status(nfsstat3::NFS3ERR_EXIST)) => {
                    let (handle, _) = rpc.lookup(&directory, name)?;
                    rpc.set_size(&handle, 0)?;
                    Ok(handle)
                }
                other => other,
            }
        })
    }

    /// Gives a whole and stable file a second name. `false` where that name is taken by another file.
    fn link(&self, handle: &Handle, path: &str) -> StoreResult<Linked> {
        self.by_path("publishing", path, true, |shared, rpc, _| {
            let (directory, name) = shared.parent(rpc, path)?;
            match rpc.link(handle, &directory, name) {
                Ok(()) => Ok(Linked::Done),
                Err(Trouble::Status(nfsstat3::NFS3ERR_EXIST)) => {
                    let (_, there) = rpc.lookup(&directory, name)?;
                    let own = rpc.attributes(handle)?;
                    // The echo of a first try whose answer was lost.
                    Ok(if FileId::from(&there) == FileId::from(&own) { Linked::Done } else { Linked::Taken })
                }
                Err(Trouble::Status(
                    nfsstat3::NFS3ERR_NOTSUPP
                    | nfsstat3::NFS3ERR_PERM
                    | nfsstat3::NFS3ERR_INVAL
                    | nfsstat3::NFS3ERR_MLINK,
                )) => Ok(Linked::Unsupported),
                Err(other) => Err(other),
            }
        })
    }

    fn exists(&self, path: &str) -> StoreResult<bool> {
        match self.size(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn publish_from(&self, temporary: &str, path: &str, bytes: &[u8]) -> StoreResult<()> {
        let handle = self.make(temporary)?;
        let mut file = self.write_file(handle.clone(), temporary, 0);
        file.write(bytes)?;
        file.sync()?;
        drop(file);
        match self.link(&handle, path)? {
            Linked::Done => Ok(()),
            Linked::Taken => Err(self.taken(path)),
            // The server's file system knows no second names (FAT): two that publish at the same instant could
            // replace each other here; the lock of the session keeps them apart.
            Linked::Unsupported if self.exists(path)? => Err(self.taken(path)),
            Linked::Unsupported => self.rename(temporary, path),
        }
    }

    fn taken(&self, path: &str) -> StoreError {
        let fault = Fault { kind: StoreErrorKind::AlreadyExists, ..Fault::of(io::ErrorKind::AlreadyExists.into()) };
        fault.at("publishing", self.location(), path)
    }
}

/// What became of a second name.
enum Linked {
    Done,
    Taken,
    Unsupported,
}

fn start_thread(server: &Arc<Server>, to_do: &Receiver<Job>) -> StoreResult<()> {
    let (working, to_do) = (server.clone(), to_do.clone());
    let started = std::thread::Builder::new().name("write".into()).spawn(move || file::work(&working, &to_do));
    started.map(drop).map_err(|error| Fault::of(error).at("writing", server.location().to_owned(), ""))
}

impl Store for NfsStore {
    fn location(&self) -> String {
        self.server().location().to_owned()
    }

    fn list(&self, directory: &str) -> StoreResult<Vec<Entry>> {
        let read = || {
            for _ in 0..LIST_TRIES {
                if let Some(entries) = self.list_once(directory)? {
                    return Ok(entries);
                }
            }
            let text = format!("the directory changed {LIST_TRIES} times while it was listed");
            Err(Fault::lasting(StoreErrorKind::Io, text).at("listing", self.location(), directory))
        };
        match read() {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        }
    }

    fn size(&self, path: &str) -> StoreResult<u64> {
        self.by_path("looking at", path, false, |shared, rpc, _| {
            let (directory, name) = shared.parent(rpc, path)?;
            Ok(rpc.lookup(&directory, name)?.1.size)
        })
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> StoreResult<()> {
        let most = usize::try_from(self.server().request_bytes().0).unwrap_or(usize::MAX);
        // Whoever begins a file means the one that has the name now.
        if offset == 0 {
            self.shared.forget(path);
        }
        if buffer.is_empty() {
            return self.size(path).map(drop);
        }
        let mut offset = offset;
        for part in buffer.chunks_mut(most) {
            let mut filled = 0_usize;
            while let Some(rest) = part.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                let count = self.by_path("reading", path, false, |shared, rpc, _| {
                    let file = shared.file(rpc, path)?;
                    let asked = u32::try_from(rest.len()).unwrap_or(u32::MAX);
                    let (bytes, _) = rpc.read(&file, offset, asked)?;
                    let count = bytes.len().min(rest.len());
                    // No bytes and no end would be asked for again for ever.
                    if count == 0 {
                        return Err(Fault::of(io::ErrorKind::UnexpectedEof.into()).into());
                    }
                    if let (Some(to), Some(from)) = (rest.get_mut(..count), bytes.get(..count)) {
                        to.copy_from_slice(from);
                    }
                    Ok(count)
                })?;
                filled = filled.saturating_add(count);
                offset = offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            }
        }
        Ok(())
    }

    fn create(&self, path: &str) -> StoreResult<Box<dyn StoreFile>> {
        let handle = self.make(path)?;
        Ok(self.write_file(handle, path, 0))
    }

    fn append(&self, path: &str, length: u64) -> StoreResult<Box<dyn StoreFile>> {
        self.shared.forget(path);
        let handle = self.by_path("opening", path, true, |shared, rpc, _| {
            let (directory, name) = shared.parent(rpc, path)?;
            let (handle, _) = rpc.lookup(&directory, name)?;
            rpc.set_size(&handle, length)?;
            Ok(handle)
        })?;
        Ok(self.write_file(handle, path, length))
    }

    fn rename(&self, from: &str, to: &str) -> StoreResult<()> {
        self.shared.forget(from);
        self.shared.forget(to);
        let mut moved: Option<FileId> = None;
        self.by_path("renaming", to, true, |shared, rpc, number| {
            let (from_directory, from_name) = shared.parent(rpc, from)?;
            match rpc.lookup(&from_directory, from_name) {
                Ok((_, attributes)) => moved = Some(FileId::from(&attributes)),
                // An earlier try has moved it, and only its answer was lost.
                Err(Trouble::Status(nfsstat3::NFS3ERR_NOENT)) if number > 0 && moved.is_some() => {
                    let (directory, name) = shared.parent(rpc, to)?;
                    let (_, there) = rpc.lookup(&directory, name)?;
                    if moved == Some(FileId::from(&there)) {
                        return Ok(());
                    }
                    return Err(Trouble::Status(nfsstat3::NFS3ERR_NOENT));
                }
                Err(other) => return Err(other),
            }
            let (directory, name) = shared.make_parent(rpc, to)?;
            rpc.rename((&from_directory, from_name), (&directory, name))
        })
    }

    fn publish(&self, path: &str, bytes: &[u8]) -> StoreResult<()> {
        if self.exists(path)? {
            return Err(self.taken(path));
        }
        self.shared.forget(path);
        let temporary = format!("{path}.new-{}", random_name());
        let published = self.publish_from(&temporary, path, bytes);
        // Whether it was published is the answer; a file that stays behind harms nobody.
        let is_answering = |error: &StoreError| {
            !matches!(error.kind, StoreErrorKind::Unreachable | StoreErrorKind::Cancelled | StoreErrorKind::Locked)
        };
        if published.as_ref().err().is_none_or(is_answering) {
            let _ = self.remove(&temporary);
        }
        published
    }

    fn remove(&self, path: &str) -> StoreResult<()> {
        self.shared.forget(path);
        let removed = self.by_path("removing", path, true, |shared, rpc, _| {
            let (directory, name) = shared.parent(rpc, path)?;
            rpc.remove(&directory, name)
        });
        match removed {
            Err(error) if error.kind == StoreErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn lock(&self, name: &str) -> StoreResult<Box<dyn Lock>> {
        let server = self.server();
        server.leases.lock(Arc::new(self.clone()), &server.line, name)
    }

    fn available_bytes(&self) -> StoreResult<Option<u64>> {
        let server = self.server();
        server.call("looking at", "the free space", |rpc, _| Ok(Some(rpc.available(&server.root()?)?)))
    }
}

impl NfsStore {
    /// Lists a directory; `None` where it changed so much that the server lost its place in it.
    fn list_once(&self, directory: &str) -> StoreResult<Option<Vec<Entry>>> {
        let mut entries: HashMap<String, Entry> = HashMap::new();
        let (mut cookie, mut verifier, mut seen) = (0, cookieverf3::default(), 0_usize);
        loop {
            let part = self.by_path("listing", directory, false, |shared, rpc, _| {
                let handle = shared.directory(rpc, directory)?;
                let part = match rpc.list(&handle, cookie, verifier) {
                    Err(Trouble::Status(nfsstat3::NFS3ERR_BAD_COOKIE)) if cookie != 0 => return Ok(None),
                    other => other?,
                };
                let read: Result<Vec<_>, Trouble> =
                    part.reply.entries.0.iter().map(|entry| read_entry(rpc, &handle, entry)).collect();
                let last = part.reply.entries.0.last().map(|entry| entry.cookie);
                Ok(Some((read?, last, part.cookieverf, part.reply.eof)))
            })?;
            let Some((read, last, next_verifier, is_end)) = part else { return Ok(None) };
            seen = seen.saturating_add(read.len());
            entries.extend(read.into_iter().flatten().map(|entry| (entry.name.clone(), entry)));
            match last {
                _ if is_end => break,
                Some(last) if last != cookie && seen < ENTRIES_LIMIT => (cookie, verifier) = (last, next_verifier),
                _ => {
                    let text = format!("the listing does not end after {seen} names");
                    return Err(Fault::lasting(StoreErrorKind::Io, text).at("listing", self.location(), directory));
                }
            }
        }
        let mut entries: Vec<Entry> = entries.into_values().collect();
        entries.sort();
        Ok(Some(entries))
    }
}

/// An entry of a listing; `None` where it is none of a repository's, or has gone meanwhile.
fn read_entry(rpc: &mut Rpc, directory: &Handle, entry: &entryplus3<'_>) -> Result<Option<Entry>, Trouble> {
    let Ok(name) = std::str::from_utf8(entry.name.as_ref()) else { return Ok(None) };
    if matches!(name, "." | "..") {
        return Ok(None);
    }
    let attributes: fattr3 = match &entry.name_attributes {
        Nfs3Option::Some(attributes) => attributes.clone(),
        Nfs3Option::None => match rpc.lookup(directory, name) {
            Ok((_, attributes)) => attributes,
            Err(Trouble::Status(nfsstat3::NFS3ERR_NOENT)) => return Ok(None),
            Err(other) => return Err(other),
        },
    };
    let is_directory = attributes.type_ == ftype3::NF3DIR;
    let size = if is_directory { 0 } else { attributes.size };
    Ok(Some(Entry { name: name.to_owned(), size, is_directory }))
}

impl Shared {
    fn forget(&self, path: &str) {
        guard(&self.files).remove(path);
    }

    /// The handle of a directory.
    fn directory(&self, rpc: &mut Rpc, path: &str) -> Result<Handle, Trouble> {
        if path.is_empty() {
            return self.server.root();
        }
        if let Some(handle) = guard(&self.directories).get(path) {
            return Ok(handle.clone());
        }
        let (above, name) = split(path);
        let above = self.directory(rpc, above)?;
        let handle = match rpc.lookup(&above, name) {
            Ok((handle, _)) => handle,
            Err(Trouble::Status(nfsstat3::NFS3ERR_NOTDIR)) => {
                return Err(Trouble::Status(nfsstat3::NFS3ERR_NOENT));
            }
            Err(other) => return Err(other),
        };
        remember(&self.directories, path, &handle);
        Ok(handle)
    }

    /// The directory above a path, and the name in it.
    fn parent<'a>(&self, rpc: &mut Rpc, path: &'a str) -> Result<(Handle, &'a str), Trouble> {
        let (above, name) = split(path);
        Ok((self.directory(rpc, above)?, name))
    }

    /// The same, where the directories above are made.
    fn make_parent<'a>(&self, rpc: &mut Rpc, path: &'a str) -> Result<(Handle, &'a str), Trouble> {
        let (above, name) = split(path);
        match self.directory(rpc, above) {
            Err(Trouble::Status(nfsstat3::NFS3ERR_NOENT)) => {}
            other => return Ok((other?, name)),
        }
        let (parent, directory) = self.make_parent(rpc, above)?;
        match rpc.make_directory(&parent, directory) {
            // Somebody else has just made it, or an earlier try has.
            Ok(()) | Err(Trouble::Status(nfsstat3::NFS3ERR_EXIST)) => {}
            Err(other) => return Err(other),
        }
        Ok((self.directory(rpc, above)?, name))
    }

    /// The handle of a file that is read.
    fn file(&self, rpc: &mut Rpc, path: &str) -> Result<Handle, Trouble> {
        if let Some(handle) = guard(&self.files).get(path) {
            return Ok(handle.clone());
        }
        let (directory, name) = self.parent(rpc, path)?;
        let (handle, _) = rpc.lookup(&directory, name)?;
        remember(&self.files, path, &handle);
        Ok(handle)
    }
}

fn remember(handles: &Mutex<HashMap<String, Handle>>, path: &str, handle: &Handle) {
    let mut handles = guard(handles);
    if handles.len() >= HANDLES_LIMIT {
        handles.clear();
    }
    handles.insert(path.to_owned(), handle.clone());
}

/// The directory of a path, and its last name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
