//! `sosei verify`: is everything there, and as it was?

use image::ImageName;
use rust_i18n::t;
use serde_json::json;
use session::{Cancel, Verification, VerifyRequest, verify};

use crate::arguments::General;
use crate::failure::{DAMAGED, DONE, Failure};
use crate::output::{bytes, document, line};
use crate::progress::Progress;
use crate::{signals, target};

/// Checks a repository or an image.
pub fn run(target: &str, image: Option<ImageName>, quick: bool, general: General) -> Result<u8, Failure> {
    let cancel = Cancel::new();
    signals::cancel_on_signals(&cancel);
    let progress = Progress::new(general);
    let target = target::open(target, &[], &progress, &cancel)?;
    let request = VerifyRequest { image, quick };
    let verification = verify(&*target.store, &request, super::processors(), &*progress, &cancel);
    progress.finish();
    let verification = verification?;
    if general.json {
        document(&json!({ "good": verification.is_good(), "verification": verification }));
    } else {
        print(&verification, quick);
    }
    Ok(if verification.is_good() { DONE } else { DAMAGED })
}

fn print(verification: &Verification, quick: bool) {
    for pack in &verification.damaged_packs {
        line(format!("! {}: {}", pack.path, pack.reason));
    }
    for image in &verification.images {
        if let Some(damage) = &image.damage {
            line(t!("verify.image_damaged", image = image.name, details = damage));
        } else if image.regions.is_empty() {
            line(t!("verify.image_good", image = image.name));
        }
        for region in &image.regions {
            let (chunks, details) = (region.chunks, &region.reason);
            line(t!(
                "verify.region_damaged",
                image = image.name,
                region = region.region,
                chunks = chunks,
                details = details
            ));
        }
    }
    for image in &verification.unfinished {
        line(t!("verify.unfinished", image = image));
    }
    let packs = verification.packs;
    if quick {
        line(t!("verify.quick", packs = packs));
    } else {
        line(t!("verify.read", packs = packs, chunks = verification.chunks, size = bytes(verification.read_bytes)));
    }
    if !verification.is_good() {
        line(t!("next.damaged"));
    }
}
