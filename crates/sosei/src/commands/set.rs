//! `sosei set`: the images of all nodes that belong together.

use crate::language::t;
use serde_json::json;
use session::{Cancel, Pair, PairHalf, SetImage, SetProblem, SetReport, pairs_of, read_set};

use super::describe;
use crate::arguments::{General, SetCommand};
use crate::failure::{DONE, FAILED, Failure};
use crate::operator::Reporter;
use crate::output::{document, line};
use crate::progress::Progress;
use crate::{signals, target};

/// Shows or checks a set.
pub fn run(command: &SetCommand, general: &General) -> Result<u8, Failure> {
    let (SetCommand::Show { target, set } | SetCommand::Verify { target, set }) = command;
    let is_verifying = matches!(command, SetCommand::Verify { .. });
    let cancel = Cancel::new();
    signals::cancel_on_signals(&cancel);
    let progress = Progress::new(general);
    let open = target::open(target, general, &progress, &cancel)?;
    let report = read_set(&*open.store, set.as_str(), &*progress, &cancel);
    progress.finish();
    let report = report?;
    if report.images.is_empty() && report.problems.is_empty() {
        return Err(Failure::no_set(target, set.as_str()));
    }
    if general.json {
        print_document(set.as_str(), &report);
    } else {
        report.images.iter().for_each(print_image);
        pairs_of(&report).iter().for_each(print_pair);
        if is_verifying {
            report.problems.iter().for_each(|problem| line(format!("  ! {}", problem_text(problem))));
            let count = report.images.len();
            line(if report.problems.is_empty() {
                t!("set.good", set = set, count = count)
            } else {
                t!("set.bad", set = set)
            });
        }
    }
    Ok(if is_verifying && !report.problems.is_empty() { FAILED } else { DONE })
}

fn print_document(set: &str, report: &SetReport) {
    let images: Vec<_> = report
        .images
        .iter()
        .map(|image| {
            json!({
                "image": image.manifest.image, "host": image.manifest.machine.host_name,
                "finished": image.manifest.finished,
                "mirrors": image.halves.iter().map(describe::mirror_document).collect::<Vec<_>>(),
            })
        })
        .collect();
    document(&json!({ "set": set, "images": images, "pairs": pairs_of(report), "problems": report.problems }));
}

fn print_image(image: &SetImage) {
    let host = image.manifest.machine.host_name.as_deref().unwrap_or_default();
    line(format!("{}  {}  {host}", image.manifest.image, image.manifest.finished));
    image.halves.iter().for_each(|half| line(format!("  * {}", describe::mirror(half))));
}

/// The halves of a mirror must have one length; where they begin may differ.
fn print_pair(pair: &Pair) {
    let [one, other] = &pair.halves;
    let half = |half: &PairHalf| format!("{}: {} ({} + {})", half.image, half.region, half.start, half.length);
    let name = pair.resource.clone().unwrap_or_default();
    let (one, other) = (half(one), half(other));
    line(if pair.is_equal {
        t!("set.pair", name = name, one = one, other = other)
    } else {
        t!("set.pair_differs", name = name, one = one, other = other)
    });
}

fn problem_text(problem: &SetProblem) -> String {
    let text = match problem {
        SetProblem::Unreadable { image, detail } => t!("set.unreadable", image = image, detail = detail),
        SetProblem::Alone { image } => t!("set.alone", image = image),
        SetProblem::SameHost { images: [one, other], host } => {
            t!("set.same-host", one = one, other = other, host = host)
        }
        SetProblem::NoPeer { half } => t!("set.no-peer", half = half),
        SetProblem::Generations { newer, older } => t!("set.generations", newer = newer, older = older),
        SetProblem::Unclean { half } => t!("set.unclean", half = half),
        SetProblem::NotClean { region, detail } => t!("set.not-clean", region = region, detail = detail),
    };
    text.into_owned()
}
