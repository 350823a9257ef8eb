//! Reports of sessions, kept with their image: texts for people, which no reader needs and no digest covers.

use image::{ImageName, Store, report_path, restore_report_path};

use crate::error::Result;

/// A report in one language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// As file names spell it: `en`, `ja`.
    pub language: &'static str,
    /// The text.
    pub text: String,
}

/// Keeps the reports of the save that made an image.
pub(crate) fn write_reports(store: &dyn Store, image: &ImageName, reports: &[Report]) -> Result<()> {
    reports.iter().try_for_each(|report| write(store, &report_path(image, report.language), &report.text))
}

/// Keeps the reports of a restore with the image that was restored. `id` tells it from other restores: letters, digits
/// and `-`.
///
/// # Errors
/// Where the target can't be written. The disks are restored all the same.
pub fn write_restore_reports(store: &dyn Store, image: &ImageName, id: &str, reports: &[Report]) -> Result<()> {
    reports.iter().try_for_each(|report| write(store, &restore_report_path(image, id, report.language), &report.text))
}

fn write(store: &dyn Store, path: &str, text: &str) -> Result<()> {
    let mut file = store.create(path)?;
    file.write(text.as_bytes())?;
    Ok(file.sync()?)
}
