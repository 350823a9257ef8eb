//! A server with one export, a disk to save, and a client with little patience: for tests of faults.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use repository::{Contact, DirectoryStore, LeaseTimes, NfsAddress, NfsStore, Patience, Watch};
use tempfile::TempDir;

use crate::FileDisk;
use crate::fill::content;
use crate::ganesha::Ganesha;
use crate::proxy::Proxy;
use crate::sample::MIB;
use crate::sessions::assert_whole;
use crate::wait::LIMIT;

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

/// Short ones: a session that ends without its server leaves its lock, and the next one waits for the lease.
pub fn lease_times() -> LeaseTimes {
    LeaseTimes { beat: Duration::from_millis(200), trusted: Duration::from_secs(1), lease: Duration::from_secs(4) }
}

/// Calls that are soon given up and sent again, so that tests are short, for as long as a busy machine may need.
pub fn quick() -> Patience {
    Patience {
        first_pause: Duration::from_millis(10),
        longest_pause: Duration::from_millis(200),
        give_up_after: LIMIT,
        first_contact: Duration::from_secs(8),
        call_deadline: Duration::from_secs(2),
    }
}

/// A watch that keeps what it is told.
pub fn watch() -> (Watch, Arc<Mutex<Vec<Contact>>>, Arc<AtomicBool>) {
    let (told, cancelled) = (Arc::<Mutex<Vec<Contact>>>::default(), Arc::new(AtomicBool::new(false)));
    let (to, flag) = (told.clone(), cancelled.clone());
    let report = Arc::new(move |contact| to.lock().unwrap().push(contact));
    (Watch { report, is_cancelled: Arc::new(move || flag.load(Ordering::SeqCst)) }, told, cancelled)
}
