//! A store in the network together with its locks: whatever changes a file makes sure first that every lock is
//! still held, however long the way to the server was cut.

use std::io;
use std::sync::Arc;

use image::{Entry, Lock, NamelessFile, Store, StoreFile, StoreResult};

use crate::lease::{LOCKS_DIRECTORY, Leases};
use crate::patience::{Fault, Line};

/// Files without locks of their own, with leases.
pub struct LeasedStore {
    files: Arc<dyn Store>,
    line: Arc<Line>,
    leases: Arc<Leases>,
}

impl LeasedStore {
    /// `files`, which are reached over `line`, and which look at the same `leases` before they repeat something.
    pub fn new(files: Arc<dyn Store>, line: Arc<Line>, leases: Arc<Leases>) -> Self {
        Self { files, line, leases }
    }
}

/// Makes sure before `path` is changed by a further try, perhaps long after the first, that locks are still held.
/// Waits for nothing: the lock's own thread renews it as soon as the server answers.
pub fn may_repeat(leases: &Leases, path: &str) -> Result<(), Fault> {
    if path.starts_with(LOCKS_DIRECTORY) {
        return Ok(());
    }
    match leases.is_trusted() {
        Ok(true) => Ok(()),
        Ok(false) => Err(Fault::passing(io::Error::other("the lock has to be renewed first"))),
        Err(lost) => Err(Fault::lasting(lost.kind, lost)),
    }
}

/// A file whose name comes last; by then the lock may be lost.
struct Fenced {
    file: Box<dyn NamelessFile>,
    leases: Arc<Leases>,
}

impl NamelessFile for Fenced {
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()> {
        self.file.write(bytes)
    }

    fn finish(&mut self, path: &str) -> StoreResult<()> {
        self.leases.fence(path)?;
        self.file.finish(path)
    }
}

impl Store for LeasedStore {
    fn location(&self) -> String {
        self.files.location()
    }

    fn list(&self, directory: &str) -> StoreResult<Vec<Entry>> {
        self.files.list(directory)
    }

    fn size(&self, path: &str) -> StoreResult<u64> {
        self.files.size(path)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> StoreResult<()> {
        self.files.read_at(path, offset, buffer)
    }

    fn create(&self, path: &str) -> StoreResult<Box<dyn StoreFile>> {
        self.leases.fence(path)?;
        self.files.create(path)
    }

    fn create_nameless(&self) -> StoreResult<Option<Box<dyn NamelessFile>>> {
        let leases = self.leases.clone();
        Ok(self.files.create_nameless()?.map(|file| -> Box<dyn NamelessFile> { Box::new(Fenced { file, leases }) }))
    }

    fn append(&self, path: &str, length: u64) -> StoreResult<Box<dyn StoreFile>> {
        self.leases.fence(path)?;
        self.files.append(path, length)
    }

    fn rename(&self, from: &str, to: &str) -> StoreResult<()> {
        self.leases.fence(to)?;
        self.files.rename(from, to)
    }

    fn publish(&self, path: &str, bytes: &[u8]) -> StoreResult<()> {
        self.leases.fence(path)?;
        self.files.publish(path, bytes)
    }

    fn remove(&self, path: &str) -> StoreResult<()> {
        self.leases.fence(path)?;
        self.files.remove(path)
    }

    fn lock(&self, name: &str) -> StoreResult<Box<dyn Lock>> {
        self.leases.lock(self.files.clone(), &self.line, name)
    }

    fn available_bytes(&self) -> StoreResult<Option<u64>> {
        self.files.available_bytes()
    }
}
