//! An NFS export does what every store must do; the program saves to it and restores from it; each refusal of a
//! server has its own words.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use image::Store;
use repository::{LeaseTimes, NfsAddress, NfsStore, Patience, Watch};
use serde_json::json;
use tempfile::TempDir;
use tests::ganesha::{Export, Ganesha};
use tests::program::sosei;
use tests::restored::FILL;
use tests::sample::{Content, MIB, SampleDisk};
use tests::{LoopDevice, Mounted, run, store_suite};

/// A directory that everybody may enter, as an export must be.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn address(server: &Ganesha, export: &Path) -> NfsAddress {
    NfsAddress {
        host: "localhost".into(),
        port: Some(server.nfs.port()),
        mount_port: Some(server.mount.port()),
        path: export.to_str().unwrap().into(),
        ..NfsAddress::default()
    }
}

/// Beats that are quick enough for a test that waits for one.
fn times() -> LeaseTimes {
    LeaseTimes { beat: Duration::from_millis(100), ..LeaseTimes::default() }
}

fn disk() -> SampleDisk {
    let mut disk = SampleDisk::new("node.img", 58 * MIB);
    disk.divide(512, "label: dos\nstart=1MiB, size=16MiB, type=83\nstart=17MiB, size=40MiB, type=da\n");
    disk.add("p1", MIB, 16 * MIB, Content::Ext4, 512);
    disk.add("p2", 17 * MIB, 40 * MIB, Content::Raw, 512);
    disk
}

#[test]
fn an_export_is_a_store() {
    let exported = directory();
    let server = Ganesha::start(exported.path());
    let open = || -> Box<dyn Store> {
        let address = address(&server, exported.path());
        Box::new(NfsStore::open_with(&address, Patience::default(), times(), Watch::default()).unwrap())
    };
    store_suite::check(&*open(), &open);
}
