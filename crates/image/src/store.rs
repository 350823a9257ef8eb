//! Where the files of a repository are kept, as a trait: a directory, an export, a share, a bucket.

use std::io;

/// The result of an operation of a store.
pub type StoreResult<T> = Result<T, StoreError>;

/// A place with files. Paths are relative, with `/`, of ASCII letters, digits, `.`, `_` and `-`.
///
/// All methods may be called from several threads at once.
pub trait Store: Send + Sync {
    /// What an operator calls this place, for messages.
    fn location(&self) -> String;

    /// The names in a directory, in ascending order; empty where it does not exist.
    fn list(&self, directory: &str) -> StoreResult<Vec<Entry>>;

    /// Size of a file in bytes.
    fn size(&self, path: &str) -> StoreResult<u64>;

    /// Fills `buffer` with the bytes of a file from `offset`.
    ///
    /// # Errors
    /// `NotFound` without the file, `Truncated` where it ends before the buffer is full.
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> StoreResult<()>;

    /// Begins a new file, replacing one of the same name, and makes the directories above it.
    fn create(&self, path: &str) -> StoreResult<Box<dyn StoreFile>>;

    /// Begins a file that gets its name last, where the place can keep one without a name. It exists from
    /// [`NamelessFile::finish`] on; dropped before, nothing of it stays.
    ///
    /// `None` where it can't: there the file is begun under another name, synced and renamed.
    fn create_nameless(&self) -> StoreResult<Option<Box<dyn NamelessFile>>> {
        Ok(None)
    }

    /// Cuts an existing file to `length` bytes and goes on behind them.
    fn append(&self, path: &str, length: u64) -> StoreResult<Box<dyn StoreFile>>;

    /// Gives a file that was synced a new name, so that after a loss of power it has one of both
    /// and its whole content. A file that has the new name already is replaced.
    fn rename(&self, from: &str, to: &str) -> StoreResult<()>;

    /// Makes a small file appear at once and whole, on stable storage.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken; then nothing was changed. Of several that publish
    /// one name at the same time, one succeeds.
    fn publish(&self, path: &str, bytes: &[u8]) -> StoreResult<()>;

    /// Removes a file; done where it does not exist.
    fn remove(&self, path: &str) -> StoreResult<()>;

    /// Takes a lock that ends with the returned value, or with the process.
    ///
    /// # Errors
    /// `Locked` where somebody else holds it.
    fn lock(&self, name: &str) -> StoreResult<Box<dyn Lock>>;

    /// Bytes that can still be written; `None` where the place does not say.
    fn available_bytes(&self) -> StoreResult<Option<u64>>;
}

/// A file that is being written from its start to its end.
pub trait StoreFile: Send {
    /// Appends all of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()>;

    /// Returns when everything appended is on stable storage.
    fn sync(&mut self) -> StoreResult<()>;
}

/// A file that is written from its start to its end before it has a name.
pub trait NamelessFile: Send {
    /// Appends all of `bytes`.
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()>;

    /// Makes the file appear under `path` at once, whole and on stable storage. One of the same name is replaced.
    fn finish(&mut self, path: &str) -> StoreResult<()>;
}

/// A lock that is held while this value lives.
pub trait Lock: Send + Sync {
    /// Makes sure that it is still this one that keeps others out: somebody may have removed what it consists of.
    ///
    /// # Errors
    /// `Locked` where it does not; other kinds where that could not be found out.
    fn confirm(&self) -> StoreResult<()>;
}

/// One name in a directory of a store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name without the directory.
    pub name: String,
    /// Size in bytes; 0 for a directory.
    pub size: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// What went wrong in a store, and with which file.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {path} in {location}")]
pub struct StoreError {
    /// The kind, to act on.
    pub kind: StoreErrorKind,
    /// The place.
    pub location: String,
    /// The file or directory.
    pub path: String,
    /// What was being done, as "reading".
    pub operation: &'static str,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The kinds of errors of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The file does not exist.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// Somebody else holds the lock.
    Locked,
    /// The file ends before the bytes that were asked for.
    Truncated,
    /// No space.
    NoSpace,
    /// The space that the owner may use is used up.
    Quota,
    /// Not allowed.
    Denied,
    /// The place can only be read.
    ReadOnly,
    /// The server does not know the user, or the password is wrong.
    Login,
    /// The clock of the server and that of this machine differ too much for it to accept the user.
    Clock,
    /// The server can't show that it is the one that was named: its certificate is not trusted.
    Untrusted,
    /// The server has no such export, share or bucket, or not for this machine.
    NoExport,
    /// The server did not answer, and waiting for it was given up.
    Unreachable,
    /// The operator did not want to wait for the server.
    Cancelled,
    /// Anything else: I/O error, a place that is gone.
    Io,
}

impl From<&io::Error> for StoreErrorKind {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::AlreadyExists => Self::AlreadyExists,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge => Self::NoSpace,
            io::ErrorKind::QuotaExceeded => Self::Quota,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Io,
        }
    }
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// As [`Store::read_at`]; a larger file is an `Io` error, so that a damaged repository can't ask for all memory.
pub fn read_all(store: &dyn Store, path: &str, limit: u64) -> StoreResult<Vec<u8>> {
    let size = store.size(path)?;
    let too_large = || StoreError {
        kind: StoreErrorKind::Io,
        location: store.location(),
        path: path.to_owned(),
        operation: "reading",
        source: io::Error::other(format!("{size} bytes where at most {limit} are expected")),
    };
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| too_large())?];
    store.read_at(path, 0, &mut bytes)?;
    Ok(bytes)
}
