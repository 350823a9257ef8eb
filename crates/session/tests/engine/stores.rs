//! Stores that let a test look at, delay or stop every operation.

use image::{Entry, Lock, MemoryStore, Store, StoreFile, StoreResult};

/// What is about to be done with which file.
pub type Hook = std::sync::Arc<dyn Fn(&str, &str) + Send + Sync>;

/// A store in memory that calls a hook before each operation.
pub struct HookedStore {
    pub inner: MemoryStore,
    hook: Hook,
}

impl HookedStore {
    pub fn new(inner: MemoryStore, hook: impl Fn(&str, &str) + Send + Sync + 'static) -> Self {
        Self { inner, hook: std::sync::Arc::new(hook) }
    }
}

impl Store for HookedStore {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn list(&self, directory: &str) -> StoreResult<Vec<Entry>> {
        (self.hook)("list", directory);
        self.inner.list(directory)
    }
    fn size(&self, path: &str) -> StoreResult<u64> {
        (self.hook)("size", path);
        self.inner.size(path)
    }
    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> StoreResult<()> {
        (self.hook)("read", path);
        self.inner.read_at(path, offset, buffer)
    }
    fn create(&self, path: &str) -> StoreResult<Box<dyn StoreFile>> {
        (self.hook)("create", path);
        Ok(self.file(path, self.inner.create(path)?))
    }
    fn append(&self, path: &str, length: u64) -> StoreResult<Box<dyn StoreFile>> {
        (self.hook)("append", path);
        Ok(self.file(path, self.inner.append(path, length)?))
    }
    fn rename(&self, from: &str, to: &str) -> StoreResult<()> {
        (self.hook)("rename", from);
        self.inner.rename(from, to)
    }
    fn publish(&self, path: &str, bytes: &[u8]) -> StoreResult<()> {
        (self.hook)("publish", path);
        self.inner.publish(path, bytes)
    }
    fn remove(&self, path: &str) -> StoreResult<()> {
        (self.hook)("remove", path);
        self.inner.remove(path)
    }
    fn lock(&self, name: &str) -> StoreResult<Box<dyn Lock>> {
        self.inner.lock(name)
    }
    fn available_bytes(&self) -> StoreResult<Option<u64>> {
        self.inner.available_bytes()
    }
}

impl HookedStore {
    fn file(&self, path: &str, inner: Box<dyn StoreFile>) -> Box<dyn StoreFile> {
        Box::new(HookedFile { inner, hook: self.hook.clone(), path: path.to_owned() })
    }
}

struct HookedFile {
    inner: Box<dyn StoreFile>,
    hook: Hook,
    path: String,
}

impl StoreFile for HookedFile {
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()> {
        (self.hook)("write", &self.path);
        self.inner.write(bytes)
    }
    fn sync(&mut self) -> StoreResult<()> {
        (self.hook)("sync", &self.path);
        self.inner.sync()
    }
}
