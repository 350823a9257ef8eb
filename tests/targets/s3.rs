//! Object storage that checks signatures and conditions does what every store must do.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::time::Duration;

use image::Store;
use repository::{LeaseTimes, Patience, S3Address, S3Keys, S3Store, Secret, Watch};
use tests::object_storage::{BUCKET, KEY, ObjectStorage, SECRET};
use tests::store_suite;

fn address(storage: &ObjectStorage, prefix: &str) -> S3Address {
    let (bucket, prefix) = (BUCKET.into(), prefix.into());
    S3Address { bucket, prefix, endpoint: Some(storage.endpoint()), region: None }
}

fn keys() -> S3Keys {
    S3Keys { id: KEY.into(), secret: Secret::new(SECRET.into()), token: None }
}

/// Beats that are quick enough for a test that waits for one.
fn times() -> LeaseTimes {
    LeaseTimes { beat: Duration::from_millis(100), ..LeaseTimes::default() }
}

#[test]
fn a_bucket_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::start(directory.path());
    let open = || -> Box<dyn Store> {
        let address = address(&storage, "deep/er");
        Box::new(S3Store::open_with(address, &keys(), Patience::default(), times(), Watch::default()).unwrap())
    };
    store_suite::check(&*open(), &open);
}
