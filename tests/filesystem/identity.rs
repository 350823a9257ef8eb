//! Names and identities, compared with what util-linux expects to find in the samples of its own tests, and with what
//! the installed blkid prints.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use filesystem::{Coverage, ReasonCode, Survey, survey};
use tests::tool::command;
use tests::{FileDisk, run_status};

/// Type, UUID and label; empty where there is none.
type Identity = [String; 3];

/// Samples of what is not recognised, and why that does no harm: what is not recognised is saved whole.
const NOT_RECOGNISED: [&str; 20] = [
    // Firmware RAID lies on whole disks, of which two are told apart there.
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
    // Flash without a translation layer, zoned disks, and what no server disk has carried for decades.
    "ubi",
    "ubifs",
    "zonefs",
    "mpool",
    "scoutfs_data",
    "scoutfs_meta",
    "cs_fvault2",
    "hfs",
    "xfs-log",
];

/// Samples whose name alone is recognised here.
const NAME_ONLY: [&str; 8] = ["befs", "btrfs", "exfat", "f2fs", "hpfs", "lvm2", "mdraid", "mdraid-1"];

fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/util-linux/2.41");
    assert!(directory.join("complete").exists(), "the samples of util-linux are missing; `make tools` fetches them");
    directory
}

fn samples() -> Vec<(String, PathBuf)> {
    let mut samples = Vec::new();
    for entry in fs::read_dir(directory().join("images-fs")).unwrap() {
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

/// Undoes the spelling `\x20` of udev.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend(before.bytes());
        bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
        rest = &after[2..];
    }
    bytes.extend(rest.bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

fn values(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

fn expected(name: &str) -> Identity {
    let text = fs::read_to_string(directory().join(format!("low-probe-{name}"))).unwrap_or_default();
    let values = values(&text);
    ["ID_FS_TYPE", "ID_FS_UUID_ENC", "ID_FS_LABEL_ENC"].map(|key| decoded(values.get(key).unwrap_or(&"")))
}

fn printed(image: &Path) -> Identity {
    let output = run_status("blkid", ["-p", "-o", "export", image.to_str().unwrap()]).stdout;
    let output = String::from_utf8_lossy(&output).into_owned();
    let values = values(&output);
    ["TYPE", "UUID", "LABEL"].map(|key| values.get(key).unwrap_or(&"").replace('\\', ""))
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
    let mut wrong = Vec::new();
    for (name, sample) in samples() {
        // Their file systems begin at sessions of a disc.
        if name.contains("-multi-") {
            continue;
        }
        unpack(&sample, &image);
        let survey = survey(&FileDisk::open(&image));
        let (mut found, mut expected, mut printed) = (found(&survey), expected(&name), printed(&image));
        if NAME_ONLY.contains(&name.as_str()) {
            for identity in [&mut found, &mut expected, &mut printed] {
                identity[1].clear();
                identity[2].clear();
            }
        }
        let is_right = if NOT_RECOGNISED.contains(&name.as_str()) {
            found == Identity::default() && matches!(survey.coverage, Coverage::Whole(_))
        } else {
            found == expected && !found[0].is_empty()
        };
        if !is_right {
            wrong.push(format!("{name}: expected {expected:?}, printed {printed:?}, found {found:?}: {survey:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let _ = ReasonCode::Opaque;
}
