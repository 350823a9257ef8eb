//! A store in memory, for tests: with a fault at the n-th writing operation, and a loss of power.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::{Entry, Lock, Store, StoreError, StoreErrorKind, StoreFile, StoreResult};

/// Files in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    locks: Mutex<Vec<String>>,
    /// The writing operation that fails, and all after it; 0 for none.
    fail_from: AtomicU64,
    /// The last that fails.
    fail_to: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on the `number`-th writing operation (counted from 1) and all after it fail; 0 for none.
    pub fn fail_from(&self, number: u64) {
        self.fail_between(number, u64::MAX);
    }

    /// From now on the `number`-th writing operation (counted from 1) fails, and no other.
    pub fn fail_at(&self, number: u64) {
        self.fail_between(number, number);
    }

    fn fail_between(&self, from: u64, to: u64) {
        self.shared.writes.store(0, Ordering::Relaxed);
        self.shared.fail_from.store(from, Ordering::Relaxed);
        self.shared.fail_to.store(to, Ordering::Relaxed);
    }

    /// Writing operations since the last [`MemoryStore::fail_from`].
    pub fn writes(&self) -> u64 {
        self.shared.writes.load(Ordering::Relaxed)
    }

    /// Bytes written since the store was made.
    pub fn written_bytes(&self) -> u64 {
        self.shared.written_bytes.load(Ordering::Relaxed)
    }

    /// Flips one bit of a file.
    pub fn flip(&self, path: &str, byte: usize, bit: u8) {
        if let Some(byte) = self.files().get_mut(path).and_then(|bytes| bytes.get_mut(byte)) {
            *byte ^= 1_u8.checked_shl(bit.into()).unwrap_or(1);
        }
    }

    /// All paths, in ascending order, with their sizes.
    pub fn paths(&self) -> Vec<(String, usize)> {
        self.files().iter().map(|(path, bytes)| (path.clone(), bytes.len())).collect()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.shared.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locks(&self) -> MutexGuard<'_, Vec<String>> {
        self.shared.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, path: &str) -> StoreResult<()> {
        let number = self.shared.writes.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let from = self.shared.fail_from.load(Ordering::Relaxed);
        if from != 0 && (from..=self.shared.fail_to.load(Ordering::Relaxed)).contains(&number) {
            return Err(error("writing", path, io::Error::from_raw_os_error(5)));
        }
        Ok(())
    }
}

fn error(operation: &'static str, path: &str, source: io::Error) -> StoreError {
    StoreError { kind: (&source).into(), location: "memory".into(), path: path.to_owned(), operation, source }
}

fn locked(name: &str) -> StoreError {
    StoreError { kind: StoreErrorKind::Locked, ..error("locking", name, io::ErrorKind::WouldBlock.into()) }
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory".into()
    }

    fn list(&self, directory: &str) -> StoreResult<Vec<Entry>> {
        let prefix = if directory.is_empty() { String::new() } else { format!("{directory}/") };
        let mut entries: Vec<Entry> = Vec::new();
        for (path, bytes) in self.files().range(prefix.clone()..) {
            let Some(rest) = path.strip_prefix(&prefix) else { break };
            let (name, is_directory) = rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
            if entries.last().is_none_or(|last| last.name != name) {
                let size = if is_directory { 0 } else { u64::try_from(bytes.len()).unwrap_or(u64::MAX) };
                entries.push(Entry { name: name.to_owned(), size, is_directory });
            }
        }
        Ok(entries)
    }

    fn size(&self, path: &str) -> StoreResult<u64> {
        let files = self.files();
        let bytes = files.get(path).ok_or_else(|| error("looking at", path, io::ErrorKind::NotFound.into()))?;
        Ok(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> StoreResult<()> {
        let files = self.files();
        let bytes = files.get(path).ok_or_else(|| error("reading", path, io::ErrorKind::NotFound.into()))?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        match bytes.get(start..start.saturating_add(buffer.len())) {
            Some(part) => {
                buffer.copy_from_slice(part);
                Ok(())
            }
            None => Err(error("reading", path, io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn create(&self, path: &str) -> StoreResult<Box<dyn StoreFile>> {
        self.change(path)?;
        self.files().insert(path.to_owned(), Vec::new());
        Ok(Box::new(MemoryFile { store: self.clone(), path: path.to_owned() }))
    }

    fn append(&self, path: &str, length: u64) -> StoreResult<Box<dyn StoreFile>> {
        self.change(path)?;
        match self.files().get_mut(path) {
            Some(bytes) => bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX)),
            None => return Err(error("opening", path, io::ErrorKind::NotFound.into())),
        }
        Ok(Box::new(MemoryFile { store: self.clone(), path: path.to_owned() }))
    }

    fn rename(&self, from: &str, to: &str) -> StoreResult<()> {
        self.change(from)?;
        let mut files = self.files();
        let bytes = files.remove(from).ok_or_else(|| error("renaming", from, io::ErrorKind::NotFound.into()))?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn publish(&self, path: &str, bytes: &[u8]) -> StoreResult<()> {
        self.change(path)?;
        let mut files = self.files();
        if files.contains_key(path) {
            return Err(error("publishing", path, io::ErrorKind::AlreadyExists.into()));
        }
        files.insert(path.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn remove(&self, path: &str) -> StoreResult<()> {
        self.change(path)?;
        self.files().remove(path);
        Ok(())
    }

    fn lock(&self, name: &str) -> StoreResult<Box<dyn Lock>> {
        let mut locks = self.locks();
        if locks.iter().any(|held| held == name) {
            return Err(locked(name));
        }
        locks.push(name.to_owned());
        Ok(Box::new(MemoryLock { store: self.clone(), name: name.to_owned() }))
    }

    fn available_bytes(&self) -> StoreResult<Option<u64>> {
        Ok(None)
    }
}

struct MemoryFile {
    store: MemoryStore,
    path: String,
}

impl StoreFile for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.store.change(&self.path)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.store.shared.written_bytes.fetch_add(length, Ordering::Relaxed);
        if let Some(file) = self.store.files().get_mut(&self.path) {
            file.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn sync(&mut self) -> StoreResult<()> {
        self.store.change(&self.path)
    }
}

struct MemoryLock {
    store: MemoryStore,
    name: String,
}

impl Lock for MemoryLock {
    fn confirm(&self) -> StoreResult<()> {
        let is_held = self.store.locks().contains(&self.name);
        if is_held { Ok(()) } else { Err(locked(&self.name)) }
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.store.locks().retain(|held| *held != self.name);
    }
}
