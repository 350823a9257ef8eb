//! Names and identities, compared with what util-linux expects to find in the samples of its own tests, and with what
//! the installed blkid prints.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use filesystem::{Coverage, ReasonCode, Survey, survey};
use tests::tool::command;
use tests::{FileDisk, blkid, run};

/// Type, UUID and label; empty where there is none.
type Identity = [String; 3];

/// Samples of what is not recognised. It does no harm: what is not recognised is saved whole.
const NOT_RECOGNISED: [&str; 18] = [
    // Firmware RAID lies on whole disks: see below.
    "adaptec-raid",
    "ddf-raid",
    "hpt37x-raid",
    "hpt45x-raid",
    "isw-raid",
    "jmicron-raid",
    "lsi-raid",
    "nvidia-raid",
    "promise-raid",
    "silicon-raid",
    "via-raid",
    // Flash without a translation layer, zoned disks, and what is rarer still.
    "ubifs",
    "zonefs",
    "mpool",
    "scoutfs_data",
    "scoutfs_meta",
    "cs_fvault2",
    "xfs-log",
];

/// Samples that may be recognised by name only, or not yet. What is found must be right all the same.
const NOT_YET: [&str; 8] = ["befs", "btrfs", "exfat", "f2fs", "hpfs", "lvm2", "mdraid", "mdraid-1"];

/// Samples in which several things are found. blkid decides for one of them, which varies from version to version.
const AMBIGUOUS: [&str; 1] = ["swap-luks"];

fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/samples/util-linux/2.41");
    assert!(directory.join("complete").exists(), "the samples of util-linux are missing; `make tools` fetches them");
    directory
}

fn samples() -> Vec<(String, PathBuf)> {
    let mut samples = Vec::new();
    for entry in fs::read_dir(directory().join("tests/ts/blkid/images-fs")).unwrap() {
        let path = entry.unwrap().path();
        if let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".img.xz") {
            samples.push((name.to_owned(), path));
        }
    }
    samples.sort();
    assert!(samples.len() > 100, "{} samples", samples.len());
    samples
}

fn unpack(sample: &Path, to: &Path) {
    let file = File::create(to).unwrap();
    let status = command("xz", ["-dc", sample.to_str().unwrap()]).stdout(file).status();
    assert!(status.expect("xz; `make tools` installs it").success());
}

fn expected(name: &str) -> Identity {
    blkid::identity(&blkid::values(
        &fs::read_to_string(directory().join(format!("tests/expected/blkid/low-probe-{name}"))).unwrap(),
    ))
}

fn found(survey: &Survey) -> Identity {
    let Some(file_system) = &survey.file_system else { return Identity::default() };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    [file_system.kind.clone(), text(&file_system.uuid), text(&file_system.label)]
}

#[test]
fn names_and_identities_are_those_that_util_linux_expects() {
    let temporary = tempfile::tempdir().unwrap();
    let image = temporary.path().join("image");
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (name, sample) in samples() {
        // Their file systems begin at sessions of a disc.
        if name.contains("-multi-") {
            continue;
        }
        unpack(&sample, &image);
        let survey = survey(&FileDisk::open(&image));
        let (found, expected) = (found(&survey), expected(&name));
        let is_whole = matches!(survey.coverage, Coverage::Whole(_));
        let is_right = if NOT_RECOGNISED.contains(&name.as_str()) {
            found == Identity::default() && is_whole
        } else if NOT_YET.contains(&name.as_str()) {
            let parts = found.iter().zip(&expected);
            parts.into_iter().all(|(found, expected)| found.is_empty() || found == expected)
        } else if AMBIGUOUS.contains(&name.as_str()) {
            matches!(&survey.coverage, Coverage::Whole(reason) if reason.code == ReasonCode::Ambiguous)
        } else {
            found == expected && !found[0].is_empty()
        };
        if !is_right {
            wrong.push(format!("{name}: expected {expected:?}, found {found:?}: {survey:?}"));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 110, "{compared} samples");
}

/// Disks of which no partition is what it seems. The three without a name have weak signatures: two bytes, or zeros.
const FIRMWARE_RAID: [(&str, Option<&str>); 11] = [
    ("adaptec-raid", Some("Adaptec HostRAID")),
    ("ddf-raid", Some("DDF RAID")),
    ("hpt37x-raid", Some("HighPoint RAID")),
    ("hpt45x-raid", Some("HighPoint RAID")),
    ("isw-raid", Some("Intel Matrix Storage RAID")),
    ("jmicron-raid", None),
    ("lsi-raid", Some("LSI MegaRAID")),
    ("nvidia-raid", Some("NVIDIA RAID")),
    ("promise-raid", Some("Promise FastTrak RAID")),
    ("silicon-raid", None),
    ("via-raid", None),
];

#[test]
fn disks_of_firmware_raid_are_whole() {
    let temporary = tempfile::tempdir().unwrap();
    let image = temporary.path().join("image");
    for (name, expected) in FIRMWARE_RAID {
        unpack(&directory().join(format!("tests/ts/blkid/images-fs/{name}.img.xz")), &image);
        let survey = filesystem::survey_of_raid_disk(&FileDisk::open(&image));
        let detail = survey.map(|survey| match survey.coverage {
            Coverage::Whole(reason) => reason.detail,
            Coverage::Used(used) => panic!("{name}: {used:?}"),
        });
        assert_eq!(detail, expected.map(|name| format!("the disk is part of {name}")), "{name}");
    }
}

/// Types, UUIDs and labels that the installed blkid prints, of what real tools make here.
#[test]
fn identities_are_those_that_blkid_prints() {
    let temporary = tempfile::tempdir().unwrap();
    let image = temporary.path().join("image");
    let path = image.to_str().unwrap();
    let uuid = "00112233-4455-6677-8899-aabbccddeeff";
    let makers: [(u64, &[&str]); 6] = [
        (32, &["mkswap", "-L", "a label", "-U", uuid]),
        (64, &["mkfs.jfs", "-q", "-L", "a label"]),
        (64, &["mkreiserfs", "-q", "-f", "-f", "-l", "a label", "-u", uuid]),
        (160, &["mkfs.nilfs2", "-q", "-L", "a label"]),
        (32, &["mkfs.ext4", "-q", "-L", "a label", "-U", uuid]),
        (32, &["mkfs.fat", "-n", "A LABEL"]),
    ];
    for (mebibytes, command) in makers {
        FileDisk::create(&image, mebibytes << 20);
        run(command[0], command[1..].iter().chain([&path]));
        check_blkid(&image);
    }
    // UFS2 as BSD makes it, in both byte orders.
    let content = temporary.path().join("content");
    fs::create_dir(&content).unwrap();
    for order in ["le", "be"] {
        let arguments = ["-t", "ffs", "-B", order, "-s", "16m", "-o", "version=2"];
        run("makefs", arguments.iter().chain([&path, &content.to_str().unwrap()]));
        assert_eq!(check_blkid(&image)[0], "ufs");
    }
}

#[track_caller]
fn check_blkid(image: &Path) -> Identity {
    let printed = blkid::identity(&blkid::probe(image));
    assert_eq!(found(&survey(&FileDisk::open(image))), printed);
    printed
}
