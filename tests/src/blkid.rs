//! What the installed blkid says of a file system: an independent reader to compare identities with.

use std::collections::BTreeMap;
use std::path::Path;

use crate::run;

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
