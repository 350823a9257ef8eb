//! Where each file of a repository lies.

use crate::name::ImageName;
use crate::pack::PackId;

/// The header of the repository.
pub const HEADER_PATH: &str = "sosei.json";
/// One directory for each image.
pub const IMAGES_DIRECTORY: &str = "images";
/// Packs, in directories named after the first two digits of their id.
pub const PACKS_DIRECTORY: &str = "packs";
/// How the name of a pack ends that a session has not finished yet.
pub const UNFINISHED_SUFFIX: &str = ".pack.part";

/// The directory of an image.
pub fn image_directory(image: &ImageName) -> String {
    format!("{IMAGES_DIRECTORY}/{image}")
}

/// The manifest of an image.
pub fn manifest_path(image: &ImageName) -> String {
    format!("{IMAGES_DIRECTORY}/{image}/manifest.json")
}

/// The map of a region. Disk and region names are plain: they come from the manifest, where they are checked.
pub fn map_path(image: &ImageName, disk: &str, region: &str) -> String {
    format!("{IMAGES_DIRECTORY}/{image}/{disk}.{region}.map")
}

/// The log of the session that saved an image.
pub fn log_path(image: &ImageName) -> String {
    format!("{IMAGES_DIRECTORY}/{image}/log.jsonl")
}

/// What an operator has to do around a restore, as text in `language` (`en`, `ja`).
pub fn checklist_path(image: &ImageName, language: &str) -> String {
    format!("{IMAGES_DIRECTORY}/{image}/checklist.{language}.txt")
}

/// What a save did, as text in `language`.
pub fn report_path(image: &ImageName, language: &str) -> String {
    format!("{IMAGES_DIRECTORY}/{image}/report.{language}.txt")
}

/// What a restore of an image did, as text in `language`. `id` tells it from others: letters, digits and `-`.
pub fn restore_report_path(image: &ImageName, id: &str, language: &str) -> String {
    format!("{IMAGES_DIRECTORY}/{image}/restore-{id}.{language}.txt")
}

/// A pack while the session that saves `image` writes it. It lies with its image, so that the same
/// save, started again, finds what it had stored.
pub fn unfinished_pack_path(image: &ImageName, number: u64) -> String {
    format!("{IMAGES_DIRECTORY}/{image}/{number:08}{UNFINISHED_SUFFIX}")
}

/// A finished pack.
pub fn pack_path(id: &PackId) -> String {
    let name = id.to_string();
    format!("{PACKS_DIRECTORY}/{}/{name}.pack", name.get(..2).unwrap_or_default())
}

/// The lock that a session holds while it saves `image`.
pub fn lock_name(image: &ImageName) -> String {
    format!("save-{image}")
}
