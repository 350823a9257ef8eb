//! What blkid says of a file system: the spelling of kinds, UUIDs and labels.

use std::path::Path;

use filesystem::FileSystem;

use crate::run_status;

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
