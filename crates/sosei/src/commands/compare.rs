//! `sosei compare`: an image against disks.

use device::SourceDisk;
use image::ImageName;
use rust_i18n::t;
use serde_json::json;
use session::{Cancel, Comparison, Source, compare, open_repository, read_manifest};

use crate::arguments::General;
use crate::disks::{assign, disks_of, identity_of, open_source, paths_of};
use crate::failure::{DONE, FAILED, Failure};
use crate::output::{bytes, document, line};
use crate::progress::Progress;
use crate::{signals, target};

/// Places that are printed of each region; all are in the JSON document.
const PRINTED_PLACES: usize = 5;

/// Compares an image with the disks that are named. Differences are exit status 1.
pub fn run(target: &str, image: &ImageName, disks: &[String], general: General) -> Result<u8, Failure> {
    let cancel = Cancel::new();
    signals::cancel_on_signals(&cancel);
    let progress = Progress::new(general);
    let target = target::open(target, &paths_of(disks), &progress, &cancel)?;
    open_repository(&*target.store)?;
    let manifest = read_manifest(&*target.store, image)?;
    let assigned = assign(&disks_of(&manifest), disks)?;
    let open: Vec<SourceDisk> = assigned.iter().map(|(_, path)| open_source(path)).collect::<Result<_, _>>()?;
    let sources: Vec<Source<'_>> = assigned
        .iter()
        .zip(&open)
        .map(|((name, path), disk)| Source { name: name.clone(), identity: identity_of(&device::identify(path)), disk })
        .collect();
    let comparison = compare(&*target.store, &manifest, &sources, super::processors(), &*progress, &cancel);
    progress.finish();
    let comparison = comparison?;
    let is_equal = comparison.differences.is_empty();
    if general.json {
        document(&json!({ "equal": is_equal, "comparison": comparison }));
    } else {
        print(&comparison, image);
    }
    Ok(if is_equal { DONE } else { FAILED })
}

fn print(comparison: &Comparison, image: &ImageName) {
    for region in &comparison.not_in_image {
        line(t!("compare.not_in_image", region = region));
    }
    for difference in &comparison.differences {
        line(t!("compare.differs", region = difference.region, size = bytes(difference.bytes)));
        for extent in difference.extents.iter().take(PRINTED_PLACES) {
            line(format!("  {}", t!("compare.place", length = extent.length(), offset = extent.start())));
        }
        if !difference.unreadable.is_empty() {
            let size = bytes(difference.unreadable.total_bytes());
            line(format!("  {}", t!("compare.unreadable", size = size)));
        }
    }
    let size = bytes(comparison.compared_bytes);
    if comparison.differences.is_empty() {
        line(t!("compare.equal", image = image, size = size));
    } else {
        line(t!("compare.different", image = image, size = size));
    }
}
