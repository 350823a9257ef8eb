//! What the installed blkid says of a file system: an independent reader to compare identities with.

use std::collections::BTreeMap;
use std::path::Path;

use filesystem::FileSystem;

use crate::{run, run_status};

/// What udev would be told, key by key, with its spelling `\x20` undone.
///
/// # Panics
/// Where blkid recognises nothing.
pub fn probe(image: &Path) -> BTreeMap<String, String> {
    values(&run("blkid", ["-p", "-o", "udev", image.to_str().unwrap()]))
}

/// Lines of the form `ID_FS_TYPE=ext4`.
pub fn values(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(key, value)| (key.to_owned(), decoded(value))).collect()
}

/// Type, UUID and label; empty where there is none.
pub fn identity(values: &BTreeMap<String, String>) -> [String; 3] {
    ["ID_FS_TYPE", "ID_FS_UUID_ENC", "ID_FS_LABEL_ENC"].map(|key| values.get(key).cloned().unwrap_or_default())
}

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

/// The value of `tag` of the file system in the file `image`; `None` where blkid has none.
pub fn value(image: &Path, tag: &str) -> Option<String> {
    let printed = run_status("blkid", ["-p", "-o", "value", "-s", tag, image.to_str().unwrap()]);
    Some(String::from_utf8(printed.stdout).unwrap().trim_end().to_owned()).filter(|value| !value.is_empty())
}

/// Checks that kind, UUID and label are those of blkid.
///
/// # Panics
/// Where one is not.
#[track_caller]
pub fn check_same_identity(image: &Path, file_system: &FileSystem) {
    assert_eq!(Some(&file_system.kind), value(image, "TYPE").as_ref());
    assert_eq!(file_system.uuid, value(image, "UUID"));
    assert_eq!(file_system.label, value(image, "LABEL"));
}
