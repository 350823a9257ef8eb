//! Used bytes of real Btrfs file systems, compared with what btrfs-progs and partclone say, and proved by a restore of
//! nothing but the covered bytes.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::{Extents, InRegion, RegionExtent};
use filesystem::{Coverage, NoteCode, ReasonCode, survey};
use tests::btrfs::BtrfsImage;
use tests::fill::{content, fill};
use tests::partclone::used_blocks;
use tests::restored::{restore_covered, tree};
use tests::{FileDisk, run};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 256 * MIB;

#[track_caller]
fn used(image: &BtrfsImage, index: usize) -> Extents<InRegion> {
    match image.survey(index).coverage {
        Coverage::Used(extents) => extents,
        Coverage::Whole(reason) => panic!("device {index}: {reason:?}"),
    }
}

#[track_caller]
fn check_whole(path: &Path, code: ReasonCode, detail: &str) {
    match survey(&FileDisk::open(path)).coverage {
        Coverage::Used(_) => panic!("used, expected {code:?}"),
        Coverage::Whole(reason) => {
            assert_eq!(reason.code, code, "{reason:?}");
            assert!(reason.detail.contains(detail), "{reason:?}");
        }
    }
}

/// What is used besides the extents: room for boot loaders, superblocks, and what follows the file system.
fn fixed(image: &BtrfsImage, index: usize) -> Extents<InRegion> {
    let size = fs::metadata(&image.paths[index]).unwrap().len();
    let end = image.survey(index).file_system.unwrap().size;
    let mut fixed = Extents::from(RegionExtent::between(0, MIB));
    fixed.insert(RegionExtent::between(64 * MIB, 64 * MIB + 4096));
    fixed.insert(RegionExtent::between(end, size));
    fixed
}

/// Files of all sizes, compressed ones, snapshots, shared and reserved extents, and holes between what is in use.
fn fill_all(root: &Path) {
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
fn restore(image: &BtrfsImage) -> BtrfsImage {
    let restored = BtrfsImage::empty(image.paths.len(), MIB);
    for (index, (from, to)) in image.paths.iter().zip(&restored.paths).enumerate() {
        restore_covered(&FileDisk::open(from), &used(image, index), to);
    }
    restored
}

/// The restored file system holds the same files, and the kernel finds every copy and parity of every block good.
#[track_caller]
fn check_restores(image: &BtrfsImage) {
    let restored = restore(image);
    restored.check();
    let expected: BTreeMap<PathBuf, String> = tree(image.mount("ro").path());
    assert!(expected.len() > 100, "{}", expected.len());
    let mounted = restored.mount("ro");
    assert_eq!(tree(mounted.path()), expected);
    run("btrfs", ["scrub", "start", "-B", "-r", mounted.path().to_str().unwrap()]);
}

/// The used bytes are exactly the mapped extents of btrfs-progs.
#[track_caller]
fn check_exact(image: &BtrfsImage) {
    let mapped = image.mapped(&image.logical_extents());
    for index in 0..image.paths.len() {
        let expected = mapped[&(index as u64 + 1)].union(&fixed(image, index));
        let used = used(image, index);
        let (more, less) = (used.difference(&expected), expected.difference(&used));
        assert!(used == expected, "device {index}: more {more:?}, less {less:?}");
    }
}

/// A file system of `devices` devices made with `options`, filled, compared and restored.
#[track_caller]
fn check(devices: usize, size: u64, options: &str, mount_options: &str) -> BtrfsImage {
    let image = BtrfsImage::make(devices, size, options);
    check_exact(&image);
    fill_all(image.mount(mount_options).path());
    check_exact(&image);
    check_restores(&image);
    image
}

/// partclone counts in tree blocks, leaves out the room for boot loaders, and takes logical addresses of file extents
/// for places on the device besides.
#[track_caller]
fn check_partclone(image: &BtrfsImage) {
    let (block_size, theirs) = used_blocks("partclone.btrfs", &image.paths[0]);
    let block_size = u64::from(block_size);
    let ours = used(image, 0);
    let reserved = RegionExtent::between(64 << 10, MIB);
    let only_ours = ours.difference(&theirs);
    assert!(Extents::from(reserved).difference(&only_ours).total_bytes() <= block_size);
    assert!(only_ours.difference(&reserved.into()).is_empty(), "{:?}", only_ours.difference(&reserved.into()));
    let round = |extent: RegionExtent| {
        RegionExtent::between(extent.start() / block_size * block_size, extent.end().div_ceil(block_size) * block_size)
    };
    let rounded: Extents<InRegion> = ours.iter().map(round).collect();
    let logical =
        image.logical_extents().into_iter().map(|(start, length)| RegionExtent::between(start, start + length));
    let logical: Extents<InRegion> = logical.map(round).collect();
    let only_theirs = theirs.difference(&rounded);
    assert!(only_theirs.difference(&logical).is_empty(), "{:?}", only_theirs.difference(&logical));
}

#[track_caller]
fn check_identity(image: &BtrfsImage) {
    let file_system = image.survey(0).file_system.unwrap();
    let printed = run("blkid", ["-p", "-o", "export", image.paths[0].to_str().unwrap()]);
    let blkid: BTreeMap<_, _> = printed.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(file_system.kind, blkid["TYPE"]);
    assert_eq!(file_system.uuid.as_deref(), blkid.get("UUID").copied());
    assert_eq!(file_system.label.as_deref(), blkid.get("LABEL").map(|label| label.replace("\\ ", " ")).as_deref());
    assert_eq!(file_system.block_size.to_string(), blkid["BLOCK_SIZE"]);
}

#[test]
fn the_default_of_one_device() {
    let image = check(1, SIZE + 12345 * 512, "-L label", "rw");
    check_identity(&image);
    check_partclone(&image);
}

#[test]
fn one_device_with_every_profile() {
    let image = check(1, SIZE, "-d single -m single -L label", "rw,compress=zstd");
    check_partclone(&image);
    check(1, SIZE, "-d dup -m dup", "rw,compress-force=lzo");
    check_identity(&check(1, SIZE, "-M -U 00112233-4455-6677-8899-aabbccddeeff", "rw"));
}
