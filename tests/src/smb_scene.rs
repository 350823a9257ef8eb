//! A Samba with one share, and disks to save: for tests of faults.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use image::Store;
use repository::{DirectoryStore, LeasedStore, Patience, Secret, SmbAddress, SmbStore, Watch};
use tempfile::TempDir;

use crate::FileDisk;
use crate::fill::content;
use crate::network_faults::World;
use crate::patience::lease_times;
use crate::proxy::Proxy;
use crate::samba::{PASSWORD, Samba, Share, USER, user_id};
use crate::sample::MIB;

/// A Samba with the share `images`.
pub struct Scene {
    shared: TempDir,
    disks: TempDir,
    /// The server, and the proxy in front of it.
    pub server: Samba,
}

impl Scene {
    /// A server that has just started.
    ///
    /// # Panics
    /// As everything here, where anything fails.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::with("", &[])
    }

    /// The same with further lines in its configuration, and started by another command.
    pub fn with(options: &str, wrapper: &[&str]) -> Self {
        let shared = tempfile::tempdir().unwrap();
        let server = Samba::with(&[Share::new("images", shared.path())], options, wrapper);
        Self { shared, disks: tempfile::tempdir().unwrap(), server }
    }

    /// The same directory on the server.
    pub fn path(&self, below: &str) -> PathBuf {
        self.shared.path().join(below)
    }

    /// Where the share is, through the proxy.
    pub fn address(&self, below: &str) -> SmbAddress {
        SmbAddress {
            host: "127.0.0.1".into(),
            port: Some(self.server.proxy.port()),
            share: "images".into(),
            path: below.into(),
            user: Some(USER.into()),
            domain: None,
        }
    }

    /// A store below a directory of its own.
    pub fn open(&self, below: &str, patience: Patience, watch: Watch) -> LeasedStore {
        self.make(below);
        let password = Some(Secret::new(PASSWORD.into()));
        SmbStore::open_with(self.address(below), password, patience, lease_times(), watch).unwrap()
    }

    fn make(&self, below: &str) {
        fs::create_dir_all(self.path(below)).unwrap();
        chown(self.path(below), Some(user_id()), None).unwrap();
    }
}

impl World for Scene {
    fn proxy(&self) -> &Proxy {
        &self.server.proxy
    }

    fn open(&self, below: &str, patience: Patience, watch: Watch) -> Box<dyn Store> {
        Box::new(Self::open(self, below, patience, watch))
    }

    /// The server's own file system, with whatever is made there given to the user of the share.
    fn direct(&self, below: &str) -> Box<dyn Store> {
        self.make(below);
        let there = self.path(below).join("there");
        if !there.exists() {
            fs::create_dir(&there).unwrap();
            chown(&there, Some(user_id()), None).unwrap();
        }
        Box::new(DirectoryStore::open(&self.path(below)).unwrap())
    }

    fn disk(&self, mebibytes: u64) -> FileDisk {
        let path = self.disks.path().join(format!("{mebibytes}.img"));
        fs::write(&path, content(mebibytes, (mebibytes * MIB) as usize)).unwrap();
        FileDisk::open(&path)
    }
}
