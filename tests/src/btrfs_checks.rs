//! What must hold for every Btrfs: its used bytes are those of btrfs-progs, and a restore of nothing else is whole.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::{Extents, InRegion, RegionExtent};
use filesystem::Coverage;

use crate::btrfs::BtrfsImage;
use crate::fill::{content, fill};
use crate::restored::{restore_covered, tree};
use crate::{FileDisk, run};

const MIB: u64 = 1 << 20;

/// The used bytes of device `index`.
///
/// # Panics
/// Where the device is saved whole.
#[track_caller]
pub fn used(image: &BtrfsImage, index: usize) -> Extents<InRegion> {
    match image.survey(index).coverage {
        Coverage::Used(extents) => extents,
        Coverage::Whole(reason) => panic!("device {index}: {reason:?}"),
    }
}

/// What is used besides the extents: room for boot loaders, superblocks, and what follows the file system.
///
/// # Panics
/// Where anything does not hold, or a tool fails.
pub fn fixed(image: &BtrfsImage, index: usize) -> Extents<InRegion> {
    let size = fs::metadata(&image.paths[index]).unwrap().len();
    let end = image.survey(index).file_system.unwrap().size;
    let mut fixed = Extents::from(RegionExtent::between(0, MIB));
    fixed.insert(RegionExtent::between(64 * MIB, 64 * MIB + 4096));
    fixed.insert(RegionExtent::between(end, size));
    fixed
}

/// Files of all sizes, compressed ones, snapshots, shared and reserved extents, and holes between what is in use.
///
/// # Panics
/// Where anything does not hold, or a tool fails.
pub fn fill_all(root: &Path) {
    let subvolume = root.join("subvolume");
    run("btrfs", ["subvolume", "create", subvolume.to_str().unwrap()]);
    fill(&subvolume);
    run("btrfs", ["subvolume", "snapshot", subvolume.to_str().unwrap(), root.join("snapshot").to_str().unwrap()]);
    for number in (0..150).step_by(7) {
        let path = subvolume.join(format!("a/b/c/d/a name that fills the directory {number:04}"));
        fs::write(path, content(number, 9000)).unwrap();
    }
    let reserved = root.join("reserved");
    run("fallocate", ["-l", "3MiB", reserved.to_str().unwrap()]);
    OpenOptions::new().write(true).open(&reserved).unwrap().write_all_at(&content(5, 5000), 1 << 20).unwrap();
    fs::write(root.join("zeros that compress"), vec![b'x'; 3 << 20]).unwrap();
    let (whole, copy) = (subvolume.join("size-2500000"), root.join("copy"));
    run("cp", ["--reflink=always", whole.to_str().unwrap(), copy.to_str().unwrap()]);
    run("sync", ["-f", root.to_str().unwrap()]);
    run("btrfs", ["subvolume", "delete", "-c", root.join("snapshot").to_str().unwrap()]);
    fs::remove_file(copy).unwrap();
    // Small files that make and leave many extents.
    for number in 0..400_u64 {
        fs::write(root.join(format!("small-{number}")), content(number, 5000)).unwrap();
    }
    run("sync", ["-f", root.to_str().unwrap()]);
    for number in (0..400_u64).step_by(2) {
        fs::remove_file(root.join(format!("small-{number}"))).unwrap();
    }
}

/// A destination with nothing but the used bytes of every device.
///
/// # Panics
/// Where anything does not hold, or a tool fails.
pub fn restore(image: &BtrfsImage) -> BtrfsImage {
    let restored = BtrfsImage::empty(image.paths.len(), MIB);
    for (index, (from, to)) in image.paths.iter().zip(&restored.paths).enumerate() {
        restore_covered(&FileDisk::open(from), &used(image, index), to);
    }
    restored
}

/// The restored file system holds the same files, and the kernel finds every copy and parity of every block good.
///
/// # Panics
/// Where anything does not hold, or a tool fails.
#[track_caller]
pub fn check_restores(image: &BtrfsImage) {
    let restored = restore(image);
    restored.check();
    let expected: BTreeMap<PathBuf, String> = tree(image.mount("ro").path());
    assert!(expected.len() > 100, "{}", expected.len());
    let mounted = restored.mount("ro");
    assert_eq!(tree(mounted.path()), expected);
    run("btrfs", ["scrub", "start", "-B", "-r", mounted.path().to_str().unwrap()]);
}

/// The used bytes are exactly the mapped extents of btrfs-progs.
///
/// # Panics
/// Where anything does not hold, or a tool fails.
#[track_caller]
pub fn check_exact(image: &BtrfsImage) {
    let mapped = image.mapped(&image.logical_extents());
    for index in 0..image.paths.len() {
        let expected = mapped[&(index as u64 + 1)].union(&fixed(image, index));
        let used = used(image, index);
        let (more, less) = (used.difference(&expected), expected.difference(&used));
        assert!(used == expected, "device {index}: more {more:?}, less {less:?}");
    }
}

/// A file system of `devices` devices made with `options`, filled, compared and restored.
///
/// # Panics
/// Where anything does not hold, or a tool fails.
#[track_caller]
pub fn check(devices: usize, size: u64, options: &str, mount_options: &str) -> BtrfsImage {
    let image = BtrfsImage::make(devices, size, options);
    check_exact(&image);
    fill_all(image.mount(mount_options).path());
    check_exact(&image);
    check_restores(&image);
    image
}
