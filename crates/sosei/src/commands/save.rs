//! `sosei save`: disks become a new image.

use std::path::Path;
use std::sync::Arc;

use crate::language::t;
use cluster::sharing::Purpose;
use image::Manifest;
use serde_json::json;
use session::{Cancel, SavePlan, SaveRequest, SaveSettings, Source, plan_save_guarded, save_with_reports};

use super::console::Console;
use super::{describe, systems};
use crate::account::Account;
use crate::arguments::{General, Save};
use crate::disks::{identity_of, names_of, open_source, refuse_twice};
use crate::failure::{DONE, Failure, UNREADABLE};
use crate::operator::{Operator, Reporter};
use crate::output::{bytes, document, error_line, line, table, timing};
use crate::{machine, report, safety, sharing, target};

/// Two readers keep a disk busy; more only make a hard disk seek.
const READERS: usize = 2;

/// Saves the disks that are named.
pub fn run(arguments: &Save, general: &General) -> Result<u8, Failure> {
    let console = Console::new(general, false);
    console.cancel_on_signals();
    let saved = carry_out(arguments, &console)?;
    if general.json {
        document(&saved.document(console.cancel()));
    } else {
        saved.lines().iter().for_each(line);
    }
    Ok(saved.status())
}

/// What was saved.
pub struct Saved {
    manifest: Manifest,
    account: Arc<Account>,
}

/// Saves disks for an operator.
pub fn carry_out(arguments: &Save, operator: &dyn Operator) -> Result<Saved, Failure> {
    let (account, cancel) = (Account::of(operator), operator.cancel());
    let progress: Arc<dyn Reporter> = account.clone();
    let target =
        target::open_telling(operator, progress.clone(), &arguments.target, &arguments.disks, target::Use::Writing)?;
    refuse_twice(arguments.disks.iter())?;
    let attached = device::attached();
    for disk in &arguments.disks {
        safety::refuse_repository_disk(&target, disk, &attached)?;
    }
    let disks: Vec<_> = arguments.disks.iter().map(|path| open_source(path)).collect::<Result<_, _>>()?;
    let sources: Vec<Source<'_>> = names_of(&arguments.disks)
        .into_iter()
        .zip(&arguments.disks)
        .zip(&disks)
        .map(|((name, path), disk)| Source { name, identity: identity_of(&identify(path)), disk })
        .collect();
    let request = SaveRequest {
        image: arguments.image.clone(),
        regions: arguments.regions.clone(),
        set: arguments.set.as_ref().map(ToString::to_string),
        note: arguments.note.clone(),
    };
    let mut guard = sharing::guard(&attached, &arguments.confirm);
    sharing::refuse_shared_repository(&guard, &target)?;
    let plan = plan_save_guarded(&*target.store, &sources, request.clone(), guard.clone(), &*progress, cancel);
    progress.finish();
    let plan = match plan {
        Err(session::Error::Refused(session::Refusal::Shared(gate))) => {
            sharing::ask(&[*gate.clone()], Purpose::Save, &mut guard, operator);
            let plan = plan_save_guarded(&*target.store, &sources, request, guard, &*progress, cancel);
            progress.finish();
            plan?
        }
        plan => plan?,
    };
    operator.agree_to_save(&plan)?;
    let reports = |manifest: &Manifest| report::of_save(manifest, &account);
    let settings = settings(arguments)?;
    let saved = save_with_reports(&*target.store, &sources, &plan, &settings, &*progress, cancel, &reports);
    progress.finish();
    let manifest = saved.map_err(Failure::of_save)?;
    Ok(Saved { manifest, account })
}

fn identify(path: &Path) -> device::Attached {
    device::identify(path)
}

fn settings(arguments: &Save) -> Result<SaveSettings, Failure> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| session::Error::System(error.into()))?;
    Ok(SaveSettings {
        level: arguments.level,
        encoders: super::processors(),
        readers: READERS,
        random,
        machine: machine::record(&arguments.efi_variables),
        version: env!("CARGO_PKG_VERSION").into(),
        now: machine::now,
    })
}

/// Prints what will be saved.
pub fn print_plan(plan: &SavePlan) {
    for (disk, watched) in plan.disks.iter().zip(&plan.sharing) {
        error_line(describe::disk(&disk.name, &disk.layout, &[]));
        sharing::lines(&watched.assessment).iter().for_each(|text| error_line(format!("  {text}")));
        for finding in &disk.layout.findings {
            error_line(format!("  ! {}: {}", describe::finding(&describe::code_of(&finding.code)), finding.detail));
        }
        let rows: Vec<Vec<String>> = disk
            .layout
            .regions
            .iter()
            .zip(&disk.regions)
            .map(|(region, planned)| {
                let mut row = describe::region(region);
                let found = planned.survey.file_system.as_ref();
                row.push(found.map_or_else(String::new, |found| {
                    describe::file_system(&found.kind, found.label.as_deref(), None)
                }));
                row.push(coverage(planned));
                row
            })
            .collect();
        table(&rows).iter().for_each(|row| error_line(format!("  {row}")));
        for (region, planned) in disk.layout.regions.iter().zip(&disk.regions) {
            let layers = session::layer_records(&planned.survey);
            describe::layers(&region.name, &layers).iter().for_each(|text| error_line(format!("  {text}")));
            for note in &planned.survey.notes {
                let text = describe::note(&describe::code_of(&note.code));
                error_line(format!("  ! {}: {text}: {}", region.name, note.detail));
            }
        }
    }
    systems::summary(&plan.found).iter().for_each(error_line);
    error_line(t!("save.plan", size = bytes(plan.total_bytes()), image = plan.request.image));
}

/// How a region will be saved, and why.
pub fn coverage(planned: &session::PlannedRegion) -> String {
    let size = bytes(planned.extents.total_bytes());
    match &planned.survey.coverage {
        _ if planned.shared.is_some() => t!("coverage.left_out_shared").into_owned(),
        _ if !planned.is_saved => t!("coverage.left_out").into_owned(),
        filesystem::Coverage::Used(_) => t!("coverage.used", size = size).into_owned(),
        filesystem::Coverage::Whole(reason) => {
            let reason = describe::reason(&describe::code_of(&reason.code));
            t!("coverage.whole", size = size, reason = reason).into_owned()
        }
    }
}

impl Saved {
    /// The exit status.
    pub fn status(&self) -> u8 {
        if self.manifest.totals.unreadable_bytes > 0 { UNREADABLE } else { DONE }
    }

    /// What was saved, for programs.
    fn document(&self, cancel: &Cancel) -> serde_json::Value {
        let Manifest { image, totals, .. } = &self.manifest;
        let report = report::place_of_save(image);
        json!({ "image": image, "totals": totals, "cancelled": cancel.is_cancelled(), "report": report })
    }

    /// What was saved, for people.
    pub fn lines(&self) -> Vec<String> {
        let Manifest { image, totals, .. } = &self.manifest;
        let time = timing(totals.saved_bytes, totals.milliseconds);
        let done = t!("save.done", image = image, size = bytes(totals.saved_bytes), time = time);
        let mut lines = vec![done.into_owned(), describe::stored(totals)];
        if totals.unreadable_bytes > 0 {
            lines.push(t!("save.unreadable", size = bytes(totals.unreadable_bytes)).into_owned());
        }
        lines.extend(self.account.counts());
        lines.push(t!("report.kept", path = report::place_of_save(image)).into_owned());
        lines
    }

    /// What lies beside the image, for people.
    pub fn beside(&self) -> String {
        t!("save.beside", image = self.manifest.image).into_owned()
    }
}
