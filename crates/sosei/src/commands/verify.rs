//! `sosei verify`: is everything there, and as it was?

use crate::language::t;
use image::ImageName;
use serde_json::json;
use session::{Verification, VerifyRequest, verify};

use super::console::Console;
use crate::arguments::General;
use crate::failure::{DAMAGED, DONE, Failure};
use crate::operator::Operator;
use crate::output::{bytes, document, line};
use crate::target;

/// Checks a repository or an image.
pub fn run(target: &str, image: Option<ImageName>, quick: bool, general: &General) -> Result<u8, Failure> {
    let console = Console::new(general, false);
    console.cancel_on_signals();
    let verification = carry_out(target, image, quick, &console)?;
    if general.json {
        document(&json!({ "good": verification.is_good(), "verification": verification }));
    } else {
        lines(&verification, quick).iter().for_each(line);
    }
    Ok(status(&verification))
}

/// The exit status of a check.
pub fn status(verification: &Verification) -> u8 {
    if verification.is_good() { DONE } else { DAMAGED }
}

/// Checks for an operator.
pub fn carry_out(
    target: &str,
    image: Option<ImageName>,
    quick: bool,
    operator: &dyn Operator,
) -> Result<Verification, Failure> {
    let progress = operator.reporter();
    let target = target::open_for(operator, target, &[], target::Use::Reading)?;
    let request = VerifyRequest { image, quick };
    let verification = verify(&*target.store, &request, super::processors(), &*progress, operator.cancel());
    progress.finish();
    Ok(verification?)
}

/// What was found.
pub fn lines(verification: &Verification, quick: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |text: std::borrow::Cow<'_, str>| lines.push(text.into_owned());
    for pack in &verification.damaged_packs {
        line(format!("! {}: {}", pack.path, pack.reason).into());
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
    lines
}
