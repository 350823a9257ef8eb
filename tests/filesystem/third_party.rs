//! Samples that others made: what e2fsprogs tests e2fsck with, and dynamic disks that Windows Server made.
//! `tests/debian_samples.sh` says where they come from.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use block::{Extents, ReadAt, RegionExtent};
use filesystem::{Coverage, survey};
use serde_json::Value;
use tests::dumpe2fs::free_by_dumpe2fs;
use tests::program::sosei;
use tests::tool::command;
use tests::{FileDisk, run, run_status};

fn samples(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/samples").join(name);
    assert!(directory.join("complete").exists(), "the samples of {name} are missing; `make tools` fetches them");
    directory
}

/// Unpacks the file systems for e2fsck: name of the test, and the image.
fn e2fsprogs_images(to: &Path) -> Vec<(String, PathBuf)> {
    let mut images = Vec::new();
    for entry in fs::read_dir(samples("e2fsprogs/1.47.0").join("tests")).unwrap() {
        let directory = entry.unwrap().path();
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        for (packed, tool) in [("image.gz", "gzip"), ("image.bz2", "bzip2")] {
            let packed = directory.join(packed);
            if packed.exists() {
                let image = to.join(&name);
                let file = File::create(&image).unwrap();
                let status = command(tool, ["-dc", packed.to_str().unwrap()]).stdout(file).status();
                assert!(status.expect(tool).success(), "{}", packed.display());
                images.push((name.clone(), image));
            }
        }
    }
    images.sort();
    images
}

/// Damaged or not: whatever is in use by the word of dumpe2fs is saved, where e2fsck has nothing to say against it; and
/// nobody panics.
#[test]
fn no_used_block_of_the_file_systems_for_e2fsck_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    let images = e2fsprogs_images(directory.path());
    assert!(images.len() > 200, "{} images", images.len());
    let (mut clean, mut by_blocks) = (0, 0);
    for (name, image) in images {
        let disk = FileDisk::open(&image);
        let everything = RegionExtent::between(0, disk.size());
        let survey = survey(&disk);
        let Coverage::Used(used) = &survey.coverage else { continue };
        by_blocks += 1;
        assert_eq!(used.difference(&everything.into()), Extents::new(), "{name}: covered behind its end");
        // Only where a second opinion can be had: what is damaged has no map that could be believed.
        let checked = run_status("e2fsck", ["-f".as_ref(), "-n".as_ref(), image.as_os_str()]);
        if !checked.status.success() || !run_status("dumpe2fs", [&image]).status.success() {
            continue;
        }
        clean += 1;
        let by_dumpe2fs = free_by_dumpe2fs(&image, survey.file_system.as_ref().unwrap()).complement(everything);
        assert_eq!(by_dumpe2fs.difference(used), Extents::new(), "{name}: used by dumpe2fs, not covered");
    }
    println!("{by_blocks} by their maps, {clean} of them clean");
    assert!(by_blocks > 100 && clean > 10, "{by_blocks} by their maps, {clean} of them clean");
}

/// Every byte of a dynamic disk is saved, the database of its group as well, and comes back.
#[test]
fn dynamic_disks_of_windows_are_known_by_their_group_and_come_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let archive = samples("libldm/0.2.5").join("test/data/ldm-data.tar.xz");
    run("tar", ["-C".as_ref(), directory.path().as_os_str(), "-xSf".as_ref(), archive.as_os_str()]);
    let mut disks: Vec<PathBuf> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    disks.sort();
    assert_eq!(disks.len(), 19, "{disks:?}");
    let paths: Vec<&str> = disks.iter().map(|path| path.to_str().unwrap()).collect();
    let listed: Value =
        serde_json::from_str(&sosei([&["disks", "--json"], &paths[..]].concat()).expect(0).stdout).unwrap();
    for disk in listed["disks"].as_array().unwrap() {
        let path = disk["path"].as_str().unwrap();
        let regions = disk["regions"].as_array().unwrap();
        for region in regions {
            assert_eq!(region["coverage"]["method"], "whole", "{path}: {region:#}");
        }
        let details: Vec<&str> =
            regions.iter().filter_map(|region| region["coverage"]["reason"]["detail"].as_str()).collect();
        // The groups by the names that ldmtool gives them; on a disk with a GPT the types of its partitions tell.
        let expected = match (disk["table"].as_str().unwrap(), path.contains("2003r2")) {
            ("gpt", _) => "the partition type says that it is the database of a group of dynamic disks",
            (_, true) => "the disk is part of a group of dynamic disks, 03c0c4fc-8b6f-402b-9431-4be2e5823b1c",
            (_, false) => "the disk is part of a group of dynamic disks, 06495a84-fbfd-11e1-8cf9-52540061f5db",
        };
        assert!(details.contains(&expected), "{path}: {details:?}");
        let saved: u64 = regions.iter().map(|region| region["coverage"]["bytes"].as_u64().unwrap()).sum();
        let tables = disk["size"].as_u64().unwrap() - saved;
        assert!(tables <= 34 * 1024, "{path}: all but the tables is saved: {tables} bytes are not");
    }
    let repository = directory.path().join("repository");
    fs::create_dir(&repository).unwrap();
    let repository = repository.to_str().unwrap();
    sosei([&["save", repository, "ldm"], &paths[..]].concat()).expect(0);
    for number in [0, disks.len() - 1] {
        let destination = directory.path().join(format!("destination-{number}"));
        fs::write(&destination, vec![0xa5; fs::metadata(&disks[number]).unwrap().len() as usize]).unwrap();
        let name = disks[number].file_stem().unwrap().to_str().unwrap();
        let assigned = format!("{name}={}", destination.display());
        sosei(["restore", repository, "ldm", &assigned, "--yes", "--confirm", paths[number]]).expect(0);
        assert!(fs::read(&destination).unwrap() == fs::read(&disks[number]).unwrap(), "{name}");
    }
}
