//! A directory as a target: a local disk, or anything the kernel has mounted.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use image::{Entry, Lock, Store, StoreError, StoreErrorKind, StoreFile, StoreResult};
use rustix::fs::{Advice, CWD, RenameFlags, fadvise};
use rustix::io::Errno;

use crate::lease::{LOCKS_DIRECTORY, LeaseTimes, Leases};
use crate::leased::LeasedStore;
use crate::patience::{Line, Patience, Watch};
use crate::random_name;

/// Each try loses only against a session that ended at the same instant.
const LOCK_TRIES: u32 = 100;
/// Files kept open for reading: enough for the packs that one restore reads at a time.
const OPEN_FILES_LIMIT: usize = 32;
/// After this many bytes of a file the kernel is asked to begin writing them out.
const WRITE_OUT_BYTES: u64 = 8 << 20;

/// A directory that holds a repository.
pub struct DirectoryStore {
    root: PathBuf,
    keeper: Keeper,
    open_files: Mutex<Vec<(String, Arc<File>)>>,
    /// Directories whose own names, up to the root, are known to be stable.
    stable_directories: Mutex<HashSet<PathBuf>>,
}

impl DirectoryStore {
    /// The existing directory at `root`.
    ///
    /// # Errors
    /// Where it does not exist or is no directory. It is never made: a target that is not there is
    /// most often one that is not mounted, and its images would land on the wrong disk.
    pub fn open(root: &Path) -> io::Result<Self> {
        if !fs::metadata(root)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let (root, keeper) = (root.canonicalize()?, Keeper::of(root)?);
        Ok(Self { root, keeper, open_files: Mutex::default(), stable_directories: Mutex::default() })
    }

    /// With locks that hold where it lies. Those of its own ([`Store::lock`]) end with the process and are right for a
    /// file system of this machine. A mounted export or share would lose them without a word: after a connection has
    /// broken, the kernel makes a new one and does not take them again. There locks are leases, in the same files as
    /// those of the targets `nfs://` and `smb://`, which this way sees and keeps out.
    pub fn for_sessions(self, watch: Watch) -> Box<dyn Store> {
        match self.keeper {
            Keeper::Machine => Box::new(self),
            Keeper::NfsServer | Keeper::SmbServer | Keeper::OtherServer => {
                let line = Arc::new(Line::new(Patience::default(), watch));
                Box::new(LeasedStore::new(Arc::new(self), line, Arc::new(Leases::new(LeaseTimes::default()))))
            }
        }
    }

    /// The directory, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn error(&self, operation: &'static str, path: &str, source: io::Error) -> StoreError {
        StoreError { kind: kind_of(&source), location: self.location(), path: path.to_owned(), operation, source }
    }

    fn open_for_reading(&self, path: &str) -> io::Result<Arc<File>> {
        let mut open = self.open_files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = open.iter().position(|(name, _)| name == path) {
            let found = open.remove(position);
            let file = found.1.clone();
            open.push(found);
            return Ok(file);
        }
        let file = Arc::new(File::open(self.root.join(path))?);
        if open.len() >= OPEN_FILES_LIMIT {
            open.remove(0);
        }
        open.push((path.to_owned(), file.clone()));
        Ok(file)
    }

    /// Closes a file whose name is about to mean something else.
    fn forget(&self, path: &str) {
        self.open_files.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _)| name != path);
    }

    fn make_parents(&self, path: &str) -> io::Result<()> {
        match Path::new(path).parent() {
            Some(parent) => fs::create_dir_all(self.root.join(parent)),
            None => Ok(()),
        }
    }

    /// Makes the name `path` stable, and those of the directories above it that may still be new.
    fn sync_name(&self, path: &str) -> io::Result<()> {
        let stable = || self.stable_directories.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made_stable = Vec::new();
        for parent in Path::new(path).ancestors().skip(1) {
            File::open(self.root.join(parent))?.sync_all()?;
            if stable().contains(parent) {
                break;
            }
            made_stable.push(parent.to_owned());
        }
        stable().extend(made_stable);
        Ok(())
    }

    /// Makes a client of NFS ask its server: it shows for up to a minute what it has read of a directory, unless it has
    /// itself changed a name in it.
    ///
    /// Source: nfs(5), "Directory entry caching"; Linux `fs/nfs/nfs4proc.c` (`nfs4_update_changeattr`).
    fn ask_anew(&self, directory: &str) -> io::Result<()> {
        let asked = self.root.join(directory).join(format!(".asked-{}", random_name()));
        drop(OpenOptions::new().write(true).create_new(true).open(&asked)?);
        fs::remove_file(asked)
    }

    fn write_temporary(&self, path: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        self.make_parents(path)?;
        // Other threads, and other machines with the same directory mounted, may publish the same name now.
        let temporary = self.root.join(format!("{path}.new-{}", random_name()));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(temporary)
    }
}

impl Store for DirectoryStore {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn list(&self, directory: &str) -> StoreResult<Vec<Entry>> {
        let read = || -> io::Result<Vec<Entry>> {
            if self.keeper == Keeper::NfsServer && directory == LOCKS_DIRECTORY {
                self.ask_anew(directory)?;
            }
            let mut entries = Vec::new();
            for entry in fs::read_dir(self.root.join(directory))? {
                let entry = entry?;
                // A file may vanish while others work in the same repository.
                let Ok(metadata) = entry.metadata() else { continue };
                let Ok(name) = entry.file_name().into_string() else { continue };
                let size = if metadata.is_dir() { 0 } else { metadata.len() };
                entries.push(Entry { name, size, is_directory: metadata.is_dir() });
            }
            entries.sort();
            Ok(entries)
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|error| self.error("listing", directory, error)),
        }
    }

    fn size(&self, path: &str) -> StoreResult<u64> {
        let path_of = self.root.join(path);
        // A file that is opened is asked for; without that, a server's client says what it was told some time ago.
        let metadata = match self.keeper {
            Keeper::Machine => fs::metadata(path_of),
            _ => File::open(path_of).and_then(|file| file.metadata()),
        };
        metadata.map(|metadata| metadata.len()).map_err(|error| self.error("looking at", path, error))
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> StoreResult<()> {
        // Whoever begins a file means the one that has the name now: another machine may have replaced it.
        if offset == 0 {
            self.forget(path);
        }
        let file = self.open_for_reading(path).map_err(|error| self.error("opening", path, error))?;
        file.read_exact_at(buffer, offset).map_err(|error| self.error("reading", path, error))
    }

    fn create(&self, path: &str) -> StoreResult<Box<dyn StoreFile>> {
        self.forget(path);
        let create = || {
            self.make_parents(path)?;
            OpenOptions::new().write(true).create(true).truncate(true).open(self.root.join(path))
        };
        let file = create().map_err(|error| self.error("making", path, error))?;
        Ok(Box::new(DirectoryFile { file, waiting_bytes: 0, path: path.to_owned(), location: self.location() }))
    }

    fn append(&self, path: &str, length: u64) -> StoreResult<Box<dyn StoreFile>> {
        self.forget(path);
        let open = || {
            let file = OpenOptions::new().append(true).open(self.root.join(path))?;
            file.set_len(length)?;
            Ok(file)
        };
        let file = open().map_err(|error| self.error("opening", path, error))?;
        Ok(Box::new(DirectoryFile { file, waiting_bytes: 0, path: path.to_owned(), location: self.location() }))
    }

    fn rename(&self, from: &str, to: &str) -> StoreResult<()> {
        self.forget(from);
        self.forget(to);
        let rename = || {
            self.make_parents(to)?;
            fs::rename(self.root.join(from), self.root.join(to))?;
            self.sync_name(to)?;
            self.sync_name(from)
        };
        rename().map_err(|error| self.error("renaming", to, error))
    }

    fn publish(&self, path: &str, bytes: &[u8]) -> StoreResult<()> {
        let publish = || {
            let temporary = self.write_temporary(path, bytes)?;
            let renamed = rename_without_replacing(self.keeper, &temporary, &self.root.join(path));
            if renamed.is_err() {
                // The error that matters is the one of the renaming.
                let _ = fs::remove_file(&temporary);
            }
            renamed?;
            self.sync_name(path)
        };
        publish().map_err(|error| self.error("publishing", path, error))
    }

    fn remove(&self, path: &str) -> StoreResult<()> {
        self.forget(path);
        match fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| self.error("removing", path, error)),
        }
    }

    fn lock(&self, name: &str) -> StoreResult<Box<dyn Lock>> {
        let path = format!("{LOCKS_DIRECTORY}/{name}");
        let open = || {
            self.make_parents(&path)?;
            OpenOptions::new().write(true).create(true).truncate(false).open(self.root.join(&path))
        };
        // Whoever ends a session removes its lock file: the file that was opened may be gone when it is locked.
        for _ in 0..LOCK_TRIES {
            let file = open().map_err(|error| self.error("opening", &path, error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(self.error("locking", &path, error)),
            }
            let lock = DirectoryLock { file, root: self.root.clone(), path: path.clone() };
            if lock.is_held().map_err(|error| self.error("locking", &path, error))? {
                return Ok(Box::new(lock));
            }
        }
        Err(locked(self.location(), &path))
    }

    fn available_bytes(&self) -> StoreResult<Option<u64>> {
        let status = rustix::fs::statvfs(&self.root).map_err(|error| self.error("looking at", "", error.into()))?;
        Ok(status.f_bavail.checked_mul(status.f_frsize))
    }
}

/// Renames, failing where the new name is taken.
fn rename_without_replacing(keeper: Keeper, from: &Path, to: &Path) -> io::Result<()> {
    // The client of SMB looks whether the name is free and then asks the server to replace it: two machines can do that
    // at the same instant. A second name (hard link) is given by the server alone, once.
    // Source: Linux 6.1 `fs/cifs/smb2inode.c`.
    if keeper != Keeper::SmbServer {
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            // The file system knows no such flag (NFS, some FUSE file systems).
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    name_by_link(from, to, fs::hard_link(from, to))
}

/// What is to be done after a second name was asked for, with this answer.
fn name_by_link(from: &Path, to: &Path, answer: io::Result<()>) -> io::Result<()> {
    let refused = [Errno::PERM, Errno::ACCESS, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::INVAL];
    match answer {
        Ok(()) => {}
        // The answer may be that to a second try, of which the first had worked: then both names mean one file.
        Err(_) if is_same(from, to) => {}
        // No hard links here (FAT, exFAT): two that publish at the same instant could still replace each other; the lock
        // of the session keeps them apart.
        Err(error) if refused.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) => {
            return if to.try_exists()? { Err(io::ErrorKind::AlreadyExists.into()) } else { fs::rename(from, to) };
        }
        // Whether it was done is not known: nothing is replaced.
        Err(error) => return Err(error),
    }
    // A first name that stays harms nobody.
    let _ = fs::remove_file(from);
    Ok(())
}

/// Whether two names hold the same: numbers of files are not kept by every server.
fn is_same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}

/// Who keeps the files of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeper {
    /// This machine, or a file system that machines share and that keeps their locks.
    Machine,
    /// A server of NFS.
    NfsServer,
    /// A server of SMB.
    SmbServer,
    /// Ceph, 9P.
    OtherServer,
}

impl Keeper {
    /// Source: Linux `include/uapi/linux/magic.h`.
    fn of(path: &Path) -> io::Result<Self> {
        Ok(match rustix::fs::statfs(path)?.f_type {
            0x6969 => Self::NfsServer,
            0xFF53_4D42 | 0xFE53_4D42 => Self::SmbServer,
            0x00C3_6400 | 0x0102_1997 => Self::OtherServer,
            _ => Self::Machine,
        })
    }
}

/// What an error means; some only come from a directory that a server keeps.
fn kind_of(error: &io::Error) -> StoreErrorKind {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(
            Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::TIMEDOUT
            | Errno::CONNRESET
            | Errno::CONNABORTED
            | Errno::CONNREFUSED
            | Errno::NOTCONN,
        ) => StoreErrorKind::Unreachable,
        // Of a share that is mounted with Kerberos: its ticket is gone, over, or not accepted any more.
        Some(Errno::NOKEY | Errno::KEYEXPIRED | Errno::KEYREVOKED | Errno::KEYREJECTED) => StoreErrorKind::Login,
        _ => error.into(),
    }
}

struct DirectoryFile {
    file: File,
    /// Bytes that were written since the kernel was last asked to write them out.
    waiting_bytes: u64,
    path: String,
    location: String,
}

impl DirectoryFile {
    fn error(&self, operation: &'static str, source: io::Error) -> StoreError {
        let (location, path) = (self.location.clone(), self.path.clone());
        StoreError { kind: kind_of(&source), location, path, operation, source }
    }
}

impl StoreFile for DirectoryFile {
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.file.write_all(bytes).map_err(|error| self.error("writing", error))?;
        self.waiting_bytes = self.waiting_bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.waiting_bytes >= WRITE_OUT_BYTES {
            self.waiting_bytes = 0;
            // Begins to write out all of the file, and drops what has been: the disk works while records are made, the
            // last sync is short, and an image does not push everything else out of the memory of a small machine.
            let _ = fadvise(&self.file, 0, None::<NonZeroU64>, Advice::DontNeed);
        }
        Ok(())
    }

    fn sync(&mut self) -> StoreResult<()> {
        self.file.sync_all().map_err(|error| self.error("writing", error))
    }
}

/// The kernel releases the lock when the file is closed, also when the process is killed. The file goes
/// away with the session, so that nobody wonders whether it is a leftover that should be removed.
struct DirectoryLock {
    file: File,
    root: PathBuf,
    path: String,
}

impl DirectoryLock {
    /// Whether the file that is locked is still the one of that name.
    fn is_held(&self) -> io::Result<bool> {
        let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        match fs::metadata(self.root.join(&self.path)) {
            Ok(named) => Ok(identity(named) == identity(self.file.metadata()?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Lock for DirectoryLock {
    fn confirm(&self) -> StoreResult<()> {
        let location = self.root.display().to_string();
        match self.is_held() {
            Ok(true) => Ok(()),
            Ok(false) => Err(locked(location, &self.path)),
            Err(source) => {
                let (kind, path) = (kind_of(&source), self.path.clone());
                Err(StoreError { kind, location, path, operation: "locking", source })
            }
        }
    }
}

fn locked(location: String, path: &str) -> StoreError {
    let (path, source) = (path.to_owned(), io::ErrorKind::WouldBlock.into());
    StoreError { kind: StoreErrorKind::Locked, location, path, operation: "locking", source }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        if self.is_held().unwrap_or_default() {
            // A lock file that stays keeps nobody out.
            let _ = fs::remove_file(self.root.join(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use image::read_all;

    use super::*;

    /// The numbers are those of Linux, `errno.h`.
    #[test]
    fn a_ticket_that_is_over_is_a_matter_of_the_login() {
        let kinds = [126, 127, 128, 129].map(|number| kind_of(&io::Error::from_raw_os_error(number)));
        assert_eq!(kinds, [StoreErrorKind::Login; 4]);
    }

    fn store() -> (tempfile::TempDir, DirectoryStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(directory.path()).unwrap();
        (directory, store)
    }

    #[test]
    fn a_name_is_published_once() {
        let (_directory, store) = store();
        store.publish("images/a/manifest.json", b"first").unwrap();
        let error = store.publish("images/a/manifest.json", b"second").unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::AlreadyExists);
        assert_eq!(read_all(&store, "images/a/manifest.json", 100).unwrap(), b"first");
        assert_eq!(store.list("images/a").unwrap().len(), 1, "no temporary file stays behind");
    }

    #[test]
    fn without_the_flag_of_the_kernel_a_name_is_still_taken_once() {
        let (directory, _store) = store();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::write(&from, b"new").unwrap();
        fs::write(&to, b"old").unwrap();
        for keeper in [Keeper::Machine, Keeper::SmbServer] {
            let error = rename_without_replacing(keeper, &from, &to).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(&to).unwrap(), b"old");
        }
        fs::remove_file(&to).unwrap();
        rename_without_replacing(Keeper::SmbServer, &from, &to).unwrap();
        assert_eq!((fs::read(&to).unwrap().as_slice(), from.exists()), (&b"new"[..], false));
    }

    #[test]
    fn a_name_that_was_asked_for_is_judged_by_what_it_means() {
        let (directory, _store) = store();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let answer = |errno: Errno| -> io::Result<()> { Err(errno.into()) };
        let again = || fs::write(&from, b"new").unwrap();
        // The server did it, and the answer was lost, or came to the second try.
        for errno in [Errno::HOSTDOWN, Errno::EXIST, Errno::PERM] {
            again();
            fs::write(&to, b"new").unwrap();
            name_by_link(&from, &to, answer(errno)).unwrap();
            assert_eq!((fs::read(&to).unwrap().as_slice(), from.exists()), (&b"new"[..], false), "{errno}");
        }
        // Nobody knows what the server did: nothing is replaced, and nothing is called published.
        again();
        fs::remove_file(&to).unwrap();
        let error = name_by_link(&from, &to, answer(Errno::HOSTDOWN)).unwrap_err();
        assert_eq!((error.raw_os_error(), to.exists()), (Some(Errno::HOSTDOWN.raw_os_error()), false));
        // No links: the name is given by a rename where it is free.
        fs::write(&to, b"old").unwrap();
        let error = name_by_link(&from, &to, answer(Errno::PERM)).unwrap_err();
        assert_eq!((error.kind(), fs::read(&to).unwrap().as_slice()), (io::ErrorKind::AlreadyExists, &b"old"[..]));
        fs::remove_file(&to).unwrap();
        name_by_link(&from, &to, answer(Errno::OPNOTSUPP)).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
    }

    #[test]
    fn names_that_are_asked_for_anew_leave_nothing_behind() {
        let (_directory, store) = store();
        assert_eq!(store.ask_anew(LOCKS_DIRECTORY).unwrap_err().kind(), io::ErrorKind::NotFound);
        let _lock = store.lock("save-a").unwrap();
        store.ask_anew(LOCKS_DIRECTORY).unwrap();
        assert_eq!(store.list(LOCKS_DIRECTORY).unwrap().len(), 1);
    }

    #[test]
    fn a_server_that_is_away_is_no_error_of_the_disk() {
        let kind = |number: Errno| kind_of(&number.into());
        assert_eq!(kind(Errno::HOSTDOWN), StoreErrorKind::Unreachable);
        assert_eq!(kind(Errno::TIMEDOUT), StoreErrorKind::Unreachable);
        assert_eq!(kind(Errno::IO), StoreErrorKind::Io);
        assert_eq!(kind(Errno::ACCESS), StoreErrorKind::Denied);
    }

    #[test]
    fn a_lock_is_held_by_one_and_ends_with_its_value() {
        let (_directory, store) = store();
        let lock = store.lock("save-a").unwrap();
        assert_eq!(store.lock("save-a").err().map(|error| error.kind), Some(StoreErrorKind::Locked));
        assert!(store.lock("save-b").is_ok());
        drop(lock);
        assert!(store.list("locks").unwrap().is_empty(), "no lock file stays behind");
        assert!(store.lock("save-a").is_ok());
    }

    #[test]
    fn a_lock_whose_file_was_removed_knows_that_it_is_lost() {
        let (directory, store) = store();
        let lock = store.lock("save-a").unwrap();
        lock.confirm().unwrap();
        fs::remove_file(directory.path().join("locks/save-a")).unwrap();
        let other = store.lock("save-a").unwrap();
        assert_eq!(lock.confirm().unwrap_err().kind, StoreErrorKind::Locked);
        other.confirm().unwrap();
        drop(lock);
        other.confirm().expect("the loser does not take the winner's lock away");
    }

    #[test]
    fn appending_goes_on_where_it_is_told_to() {
        let (_directory, store) = store();
        store.create("images/a/1.pack.part").unwrap().write(b"0123456789").unwrap();
        store.append("images/a/1.pack.part", 4).unwrap().write(b"xy").unwrap();
        store.rename("images/a/1.pack.part", "packs/ab/abc.pack").unwrap();
        assert_eq!(read_all(&store, "packs/ab/abc.pack", 100).unwrap(), b"0123xy");
        assert_eq!(store.size("images/a/1.pack.part").unwrap_err().kind, StoreErrorKind::NotFound);
    }

    #[test]
    fn a_replaced_file_is_read_anew() {
        let (_directory, store) = store();
        store.create("a").unwrap().write(b"old").unwrap();
        assert_eq!(read_all(&store, "a", 100).unwrap(), b"old");
        store.create("b").unwrap().write(b"new!").unwrap();
        store.rename("b", "a").unwrap();
        assert_eq!(read_all(&store, "a", 100).unwrap(), b"new!");
        let mut past_the_end = [0; 9];
        assert_eq!(store.read_at("a", 0, &mut past_the_end).unwrap_err().kind, StoreErrorKind::Truncated);
    }

    #[test]
    fn a_target_that_is_not_there_is_not_made() {
        let (directory, _store) = store();
        assert!(DirectoryStore::open(&directory.path().join("absent")).is_err());
        assert!(!directory.path().join("absent").exists());
    }
}
