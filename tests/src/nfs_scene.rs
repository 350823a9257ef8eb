//! A server with one export, and disks to save: for tests of faults.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use image::Store;
use repository::{DirectoryStore, NfsAddress, NfsStore, Patience, Watch};
use tempfile::TempDir;

use crate::FileDisk;
use crate::fill::content;
use crate::ganesha::Ganesha;
use crate::network_faults::World;
use crate::patience::lease_times;
use crate::proxy::Proxy;
use crate::sample::MIB;
use crate::sessions::assert_whole;

/// A server with one export, and a disk of bytes that do not shrink.
pub struct Scene {
    exported: TempDir,
    /// The server, and the proxies in front of it.
    pub server: Ganesha,
    disks: TempDir,
}

impl Scene {
    /// A server that has just started.
    ///
    /// # Panics
    /// As everything here, where anything fails.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let exported = tempfile::tempdir().unwrap();
        fs::set_permissions(exported.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let server = Ganesha::start(exported.path());
        Self { exported, server, disks: tempfile::tempdir().unwrap() }
    }

    /// A store in a directory of the export.
    pub fn open(&self, below: &str, patience: Patience, watch: Watch) -> NfsStore {
        self.open_by(&self.server.nfs, below, patience, watch)
    }

    /// The same through another proxy.
    pub fn open_by(&self, way: &Proxy, below: &str, patience: Patience, watch: Watch) -> NfsStore {
        fs::create_dir_all(self.path(below)).unwrap();
        let address = NfsAddress {
            host: "127.0.0.1".into(),
            port: Some(way.port()),
            mount_port: Some(self.server.mount.port()),
            path: self.path(below).to_str().unwrap().trim_end_matches('/').into(),
            ..NfsAddress::default()
        };
        NfsStore::open_with(&address, patience, lease_times(), watch).unwrap()
    }

    /// The same directory on the server.
    pub fn path(&self, below: &str) -> PathBuf {
        self.exported.path().join(below)
    }

    /// A disk of bytes that do not shrink.
    pub fn disk(&self, mebibytes: u64) -> FileDisk {
        let path = self.disks.path().join(format!("{mebibytes}.img"));
        fs::write(&path, content(mebibytes, (mebibytes * MIB) as usize)).unwrap();
        FileDisk::open(&path)
    }

    /// The image is whole, as the server's own file system shows it.
    pub fn check(&self, below: &str, image: &str, disk: &FileDisk) {
        assert_whole(&DirectoryStore::open(&self.path(below)).unwrap(), image, disk);
    }
}

impl World for Scene {
    fn proxy(&self) -> &Proxy {
        &self.server.nfs
    }

    fn open(&self, below: &str, patience: Patience, watch: Watch) -> Box<dyn Store> {
        Box::new(Self::open(self, below, patience, watch))
    }

    fn direct(&self, below: &str) -> Box<dyn Store> {
        fs::create_dir_all(self.path(below)).unwrap();
        Box::new(DirectoryStore::open(&self.path(below)).unwrap())
    }

    fn disk(&self, mebibytes: u64) -> FileDisk {
        Self::disk(self, mebibytes)
    }
}
