//! Sessions inside the test process, for what a test has to hold in its hand: the store, its patience, its faults.

use block::Disk;
use image::{DiskIdentity, ImageName, Machine, Manifest, Store};
use session::{Cancel, Level, Result, SaveRequest, SaveSettings, Source, VerifyRequest};

fn name(image: &str) -> ImageName {
    image.parse().unwrap()
}

fn source(disk: &dyn Disk) -> Source<'_> {
    Source { name: "sda".into(), identity: DiskIdentity::default(), disk }
}

/// Saves a disk as `image`.
///
/// # Errors
/// As the session ends.
pub fn save(store: &dyn Store, image: &str, disk: &dyn Disk, cancel: &Cancel) -> Result<Manifest> {
    let request = SaveRequest { image: name(image), regions: Vec::new(), set: None, note: None };
    let settings = SaveSettings {
        level: Level::Fixed(1),
        encoders: 2,
        readers: 2,
        random: [7; 32],
        machine: Machine::default(),
        version: "0".into(),
        now: || "2026-01-01T00:00:00Z".into(),
    };
    let plan = session::plan_save(store, &[source(disk)], request, &(), cancel)?;
    session::save(store, &[source(disk)], &plan, &settings, &(), cancel)
}

/// Asserts that the repository is good, and that the image is the disk.
///
/// # Panics
/// Where it is not.
pub fn assert_whole(store: &dyn Store, image: &str, disk: &dyn Disk) {
    let request = VerifyRequest { image: None, quick: false };
    let verification = session::verify(store, &request, 2, &(), &Cancel::new()).unwrap();
    assert!(verification.is_good(), "{verification:?}");
    assert_eq!(verification.damaged_packs, [], "{verification:?}");
    let manifest = session::read_manifest(store, &name(image)).unwrap();
    let comparison = session::compare(store, &manifest, &[source(disk)], 2, &(), &Cancel::new()).unwrap();
    assert!(comparison.differences.is_empty() && comparison.not_in_image.is_empty(), "{comparison:?}");
}

/// Whether an image exists.
pub fn exists(store: &dyn Store, image: &str) -> bool {
    session::read_manifest(store, &name(image)).is_ok()
}
