//! Object storage, and disks to save: for tests of faults.

use std::fs;

use image::Store;
use repository::{LeasedStore, Patience, S3Address, S3Keys, S3Store, Secret, Watch};
use tempfile::TempDir;

use crate::FileDisk;
use crate::fill::content;
use crate::network_faults::World;
use crate::object_storage::{BUCKET, KEY, ObjectStorage, SECRET};
use crate::patience::lease_times;
use crate::proxy::Proxy;
use crate::sample::MIB;

/// A server with one bucket.
pub struct Scene {
    kept: TempDir,
    disks: TempDir,
    /// The server, and the proxy in front of it.
    pub server: ObjectStorage,
}

/// The keys that the server knows.
pub fn keys() -> S3Keys {
    S3Keys { id: KEY.into(), secret: Secret::new(SECRET.into()), token: None }
}

impl Scene {
    /// A server that has just started.
    ///
    /// # Panics
    /// As everything here, where anything fails.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let kept = tempfile::tempdir().unwrap();
        let server = ObjectStorage::start(kept.path());
        Self { kept, disks: tempfile::tempdir().unwrap(), server }
    }

    /// A server that keeps everything in memory.
    ///
    /// # Panics
    /// As [`Scene::new`].
    pub fn in_memory() -> Self {
        let (kept, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Self { kept, disks, server: ObjectStorage::start_in_memory() }
    }

    /// Where the server keeps its buckets.
    pub fn directory(&self) -> &std::path::Path {
        self.kept.path()
    }

    /// Where the objects below `prefix` are, through the proxy.
    pub fn address(&self, prefix: &str) -> S3Address {
        let (bucket, prefix) = (BUCKET.into(), prefix.into());
        S3Address { bucket, prefix, endpoint: Some(self.server.endpoint()), region: None }
    }

    /// A store below a prefix of its own.
    pub fn open(&self, prefix: &str, patience: Patience, watch: Watch) -> LeasedStore {
        S3Store::open_with(self.address(prefix), &keys(), patience, lease_times(), watch).unwrap()
    }
}

impl World for Scene {
    fn proxy(&self) -> &Proxy {
        &self.server.proxy
    }

    fn open(&self, below: &str, patience: Patience, watch: Watch) -> Box<dyn Store> {
        Box::new(Self::open(self, below, patience, watch))
    }

    fn direct(&self, below: &str) -> Box<dyn Store> {
        let address = S3Address { endpoint: Some(self.server.direct_endpoint()), ..self.address(below) };
        let patience = Patience::default();
        Box::new(S3Store::open_with(address, &keys(), patience, lease_times(), Watch::default()).unwrap())
    }

    fn disk(&self, mebibytes: u64) -> FileDisk {
        let path = self.disks.path().join(format!("{mebibytes}.img"));
        fs::write(&path, content(mebibytes, (mebibytes * MIB) as usize)).unwrap();
        FileDisk::open(&path)
    }
}
