//! A share of a real Samba does what every store must do.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::time::Duration;

use image::Store;
use repository::{LeaseTimes, Patience, Secret, SmbAddress, SmbStore, Watch};
use tests::samba::{PASSWORD, Samba, Share, USER};
use tests::store_suite;

fn address(samba: &Samba, share: &str) -> SmbAddress {
    SmbAddress {
        host: "127.0.0.1".into(),
        port: Some(samba.proxy.port()),
        share: share.into(),
        user: Some(USER.into()),
        ..SmbAddress::default()
    }
}

/// Beats that are quick enough for a test that waits for one.
fn times() -> LeaseTimes {
    LeaseTimes { beat: Duration::from_millis(100), ..LeaseTimes::default() }
}

fn open(address: SmbAddress) -> Box<dyn Store> {
    let password = Some(Secret::new(PASSWORD.into()));
    Box::new(SmbStore::open_with(address, password, Patience::default(), times(), Watch::default()).unwrap())
}

#[test]
fn a_share_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let samba = Samba::start(&[Share::new("images", directory.path())]);
    let open = || open(address(&samba, "images"));
    store_suite::check(&*open(), &open);
}

#[test]
fn a_share_that_demands_encryption_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("深い")).unwrap();
    let share = Share::new("secret", directory.path()).with("server smb encrypt = required");
    let samba = Samba::start(&[share]);
    std::os::unix::fs::chown(directory.path().join("深い"), Some(5), None).unwrap();
    let open = || open(SmbAddress { path: "深い".into(), ..address(&samba, "secret") });
    store_suite::check(&*open(), &open);
}
