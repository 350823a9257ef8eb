//! A directory does what every store must do.
#![allow(clippy::unwrap_used)]

use image::Store;
use repository::DirectoryStore;
use tests::store_suite;

#[test]
fn a_directory_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let open = || -> Box<dyn Store> { Box::new(DirectoryStore::open(directory.path()).unwrap()) };
    store_suite::check(&*open(), &open);
}
