//! `sosei compare`: an image against disks.

use crate::language::t;
use device::SourceDisk;
use image::ImageName;
use serde_json::json;
use session::{Comparison, Source, compare, open_repository, read_manifest};

use super::console::Console;
use crate::arguments::General;
use crate::disks::{assign, disks_of, identity_of, open_source, paths_of};
use crate::failure::{DONE, FAILED, Failure};
use crate::operator::Operator;
use crate::output::{bytes, document, line};
use crate::target;

/// Places that are printed of each region; all are in the JSON document.
const PRINTED_PLACES: usize = 5;

/// Compares an image with the disks that are named. Differences are exit status 1.
pub fn run(target: &str, image: &ImageName, disks: &[String], general: &General) -> Result<u8, Failure> {
    let console = Console::new(general, false);
    console.cancel_on_signals();
    let comparison = carry_out(target, image, disks, &console)?;
    let is_equal = comparison.differences.is_empty();
    if general.json {
        document(&json!({ "equal": is_equal, "comparison": comparison }));
    } else {
        lines(&comparison, image).iter().for_each(line);
    }
    Ok(status(&comparison))
}

/// The exit status of a comparison.
pub fn status(comparison: &Comparison) -> u8 {
    if comparison.differences.is_empty() { DONE } else { FAILED }
}

/// Compares for an operator.
pub fn carry_out(
    target: &str,
    image: &ImageName,
    disks: &[String],
    operator: &dyn Operator,
) -> Result<Comparison, Failure> {
    let progress = operator.reporter();
    let target = target::open_for(operator, target, &paths_of(disks), target::Use::Reading)?;
    open_repository(&*target.store)?;
    let manifest = read_manifest(&*target.store, image)?;
    let assigned = assign(&disks_of(&manifest), disks)?;
    let open: Vec<SourceDisk> = assigned.iter().map(|(_, path)| open_source(path)).collect::<Result<_, _>>()?;
    let sources: Vec<Source<'_>> = assigned
        .iter()
        .zip(&open)
        .map(|((name, path), disk)| Source { name: name.clone(), identity: identity_of(&device::identify(path)), disk })
        .collect();
    let comparison = compare(&*target.store, &manifest, &sources, super::processors(), &*progress, operator.cancel());
    progress.finish();
    Ok(comparison?)
}

/// What differs.
pub fn lines(comparison: &Comparison, image: &ImageName) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |text: std::borrow::Cow<'_, str>| lines.push(text.into_owned());
    for region in &comparison.not_in_image {
        line(t!("compare.not_in_image", region = region));
    }
    for difference in &comparison.differences {
        line(t!("compare.differs", region = difference.region, size = bytes(difference.bytes)));
        for extent in difference.extents.iter().take(PRINTED_PLACES) {
            line(format!("  {}", t!("compare.place", length = extent.length(), offset = extent.start())).into());
        }
        if !difference.unreadable.is_empty() {
            let size = bytes(difference.unreadable.total_bytes());
            line(format!("  {}", t!("compare.unreadable", size = size)).into());
        }
    }
    let size = bytes(comparison.compared_bytes);
    if comparison.differences.is_empty() {
        line(t!("compare.equal", image = image, size = size));
    } else {
        line(t!("compare.different", image = image, size = size));
    }
    lines
}
