//! Used bytes of Btrfs file systems of several devices, device by device.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;

use block::Extents;
use filesystem::{Coverage, NoteCode, ReasonCode};
use tests::btrfs::BtrfsImage;
use tests::btrfs_checks::{check, check_exact, check_restores, fill_all, fixed, used};
use tests::fill::content;
use tests::run;

const SIZE: u64 = 256 << 20;

#[test]
fn several_devices() {
    check(2, SIZE, "-d raid1 -m raid1", "rw");
    check(2, SIZE, "-d raid0 -m raid1", "rw");
    check(3, SIZE, "-d raid1c3 -m raid1c3", "rw");
}

#[test]
fn several_devices_that_take_turns() {
    check(4, SIZE, "-d raid10 -m raid1c4", "rw");
    check(3, SIZE, "-d raid5 -m raid1c3", "rw");
    check(4, SIZE, "-d raid6 -m raid1c4", "rw");
}

/// Where the trees lie on other devices too, more is saved, and the reason is told.
#[test]
fn trees_on_other_devices() {
    let mut seen = Vec::new();
    for options in ["-d raid0 -m raid0", "-d raid1 -m raid1", "-d single -m raid10", "-d raid5 -m raid5"] {
        let image = BtrfsImage::make(4, SIZE, options);
        fill_all(image.mount("rw").path());
        let (mapped, chunks) = (image.mapped(&image.logical_extents()), image.device_extents());
        for index in 0..4 {
            let device = index as u64 + 1;
            let survey = image.survey(index);
            assert_eq!(survey.notes[0].code, NoteCode::OtherDevice);
            assert!(survey.notes[0].detail.starts_with(&format!("device {device} of 4 ")), "{:?}", survey.notes);
            let fixed = fixed(&image, index);
            let empty = Extents::new();
            let (mapped, chunks) = (mapped.get(&device).unwrap_or(&empty), chunks.get(&device).unwrap_or(&empty));
            match survey.coverage {
                Coverage::Whole(reason) => {
                    assert_eq!(reason.code, ReasonCode::Unsupported);
                    assert!(reason.detail.contains("the chunks of this Btrfs are listed on other devices too"));
                    seen.push("whole");
                }
                Coverage::Used(used) if used == mapped.union(&fixed) => seen.push("extents"),
                Coverage::Used(used) => {
                    assert_eq!(used, chunks.union(&fixed));
                    assert!(survey.notes[1].detail.contains("all that chunks take of this device is saved"));
                    seen.push("chunks");
                }
            }
        }
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, ["chunks", "extents", "whole"]);
}

#[test]
fn a_seed_and_what_grows_on_it() {
    let image = check(1, SIZE, "", "rw");
    run("btrfstune", ["-f", "-S", "1", image.paths[0].to_str().unwrap()]);
    check_exact(&image);
    check_restores(&image);
    let mut both = BtrfsImage::empty(1, SIZE);
    {
        let new = tests::LoopDevice::attach(&both.paths[0], 512);
        let mounted = image.mount("ro");
        let path = mounted.path().to_str().unwrap();
        run("btrfs", ["device", "add", "-f", new.path().to_str().unwrap(), path]);
        run("mount", ["-o", "remount,rw", path]);
        fs::write(mounted.path().join("new"), content(9, 700_000)).unwrap();
    }
    both.paths.push(image.paths[0].clone());
    check_exact_on(&both, 0, 2);
    check_exact(&image);
}

/// A device whose number is not its place among the files: the mapped extents, or all that chunks take.
#[track_caller]
fn check_exact_on(image: &BtrfsImage, index: usize, device: u64) {
    let used = used(image, index);
    let mapped = image.mapped(&image.logical_extents())[&device].union(&fixed(image, index));
    assert!(mapped.difference(&used).is_empty());
    assert!(used == mapped || used == image.device_extents()[&device].union(&fixed(image, index)));
}
