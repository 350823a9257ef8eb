//! `sosei restore`: disks are overwritten with an image, after the plan was shown and confirmed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use crate::language::t;
use cluster::sharing::{Lock, Purpose};
use device::DestinationDisk;
use image::Manifest;
use layout::{Change, Grow, NewIds};
use serde_json::json;
use session::{
    Assignment, Destination, Event, RegionChoice, RestorePlan, RestoreReport, RestoreRequest, Scope, VerifyRequest,
    found_in, open_repository, plan_restore_guarded, read_manifest, restore, verify,
};

use super::console::Console;
use super::machine_at_hand::BootRestore;
use super::{checklist, describe, machine_at_hand, new_names, systems};
use crate::account::Account;
use crate::arguments::{General, IdentityChoice, Restore};
use crate::disks::{assign, disks_of, open_destination, paths_of};
use crate::failure::{DONE, Failure, UNREADABLE, chain};
use crate::operator::{Operator, Reporter};
use crate::output::{bytes, document, error_line, line, table, timing};
use crate::report::Kept;
use crate::target::Target;
use crate::{machine, report, safety, sharing, target};

/// Overwrites the disks that are named.
pub fn run(arguments: &Restore, general: &General) -> Result<u8, Failure> {
    let console = Console::new(general, arguments.yes);
    let restored = carry_out(arguments, &console)?;
    if general.json {
        document(&restored.document());
    } else {
        restored.lines().iter().for_each(line);
    }
    Ok(restored.status())
}

/// What was restored.
pub struct Restored {
    plan: RestorePlan,
    report: RestoreReport,
    boot: Option<BootRestore>,
    milliseconds: u64,
    counts: Vec<String>,
    kept: Kept,
}

/// Overwrites disks for an operator.
pub fn carry_out(arguments: &Restore, operator: &dyn Operator) -> Result<Restored, Failure> {
    let (account, cancel) = (Account::of(operator), operator.cancel());
    let progress: Arc<dyn Reporter> = account.clone();
    let paths = paths_of(&arguments.disks);
    let target = target::open_telling(operator, progress.clone(), &arguments.target, &paths, target::Use::Reading)?;
    open_repository(&*target.store)?;
    let manifest = read_manifest(&*target.store, &arguments.image)?;
    let assigned = assign(&disks_of(&manifest), &arguments.disks)?;
    let attached = device::attached();
    for (_, path) in &assigned {
        safety::refuse_repository_disk(&target, path, &attached)?;
        safety::refuse_file_with_other_names(path, &arguments.confirm)?;
    }
    let paths: Vec<PathBuf> = assigned.iter().map(|(_, path)| path.clone()).collect();
    let guard = sharing::guard(&attached, &arguments.confirm);
    sharing::refuse_hopeless(&guard, &paths)?;
    let disks: Vec<DestinationDisk> =
        assigned.iter().map(|(_, path)| open_destination(path)).collect::<Result<_, _>>()?;
    let assignments: Vec<Assignment<'_>> = assigned
        .iter()
        .zip(&disks)
        .map(|((name, path), disk)| Assignment {
            disk: name.clone(),
            destination: Destination { name: path.display().to_string(), disk },
        })
        .collect();
    let request = request(arguments, &assigned)?;
    let plan = plan_restore_guarded(&*target.store, manifest, &assignments, request, guard, &*progress, cancel);
    progress.finish();
    let mut plan = plan?;
    let placements = plan.disks.iter().filter_map(|disk| disk.placement.as_ref());
    let identities: Vec<_> = placements.flat_map(|placement| placement.identities.clone()).collect();
    safety::refuse_collision(&identities, &paths, &attached, &arguments.confirm, operator)?;
    safety::refuse_other_node(&plan.manifest, &paths, &arguments.confirm, operator)?;
    let boot = plan_boot(&plan, arguments, &*progress);
    let here = machine::record(&arguments.efi_variables);
    let differences = machine_at_hand::differences(&plan.manifest.machine, &here).into_iter();
    let entries = boot.iter().flat_map(BootRestore::lines).map(|text| format!("+ {text}"));
    let besides: Vec<String> = differences.map(|text| format!("~ {text}")).chain(entries).collect();
    operator.see_restore(&plan, &assigned, &besides);
    let asks_scope = plan.closed_gates().iter().any(|gate| gate.lock == Lock::Scope);
    if plan.request.scope.is_none() && (asks_scope || !plan.mirrors.is_empty()) {
        plan.request.scope = operator.scope(&plan);
    }
    plan.check_scope(&*target.store)?;
    sharing::ask(&plan.closed_gates(), Purpose::Restore, &mut plan.guard, operator);
    plan.check_sharing()?;
    operator.agree_to_overwrite(&paths)?;

    let clock = Instant::now();
    let threads = super::processors().saturating_mul(2);
    if arguments.verify_first {
        verify_first(&target, arguments, operator)?;
    }
    let restored = restore(&*target.store, &plan, &assignments, threads, &*progress, cancel);
    progress.finish();
    let report = restored.map_err(Failure::of_restore)?;
    let milliseconds = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    for (disk, (_, path)) in disks.iter().zip(&assigned) {
        // The disk is whole; only the kernel's view of it is old until the next boot.
        if let Err(error) = disk.reread_partitions() {
            let text = t!("restore.reread", disk = path.display(), details = chain(&error)).into_owned();
            progress.notify(Event::Warning { text });
        }
    }
    if let Some(boot) = &boot
        && let Err(error) = boot.write()
    {
        // The disks are whole; an operator can choose what to start.
        let text = t!("boot.failed", details = chain(&error)).into_owned();
        progress.notify(Event::Warning { text });
    }
    let reports = report::of_restore(&plan.manifest, &here, &account, || {
        let differences = machine_at_hand::differences(&plan.manifest.machine, &here).into_iter();
        let Manifest { image, finished, .. } = &plan.manifest;
        let mut lines = vec![t!("report.overwritten", image = image, time = finished).into_owned()];
        lines.extend(plan_lines(&plan, &assigned));
        lines.extend(differences.map(|text| format!("  ~ {text}")));
        lines.extend(boot.iter().flat_map(BootRestore::lines).map(|text| format!("  + {text}")));
        lines.push(String::new());
        lines.extend(lines_of(&plan, &report, boot.as_ref(), milliseconds));
        lines
    });
    let kept = report::keep(&target, &arguments.image, &reports);
    Ok(Restored { counts: account.counts(), plan, report, boot, milliseconds, kept })
}

/// The boot entries that come back with whole disks that stay what they were. A copy that lives beside its original is
/// no boot disk of this machine, and other partitions would be meant.
fn plan_boot(plan: &RestorePlan, arguments: &Restore, progress: &dyn Reporter) -> Option<BootRestore> {
    let is_whole = arguments.regions.is_empty() && !arguments.layout_only && plan.request.new_ids.is_none();
    if arguments.no_boot_entries || !is_whole {
        return None;
    }
    let disks: Vec<_> = plan.disks.iter().map(|disk| disk.disk.as_str()).collect();
    match BootRestore::plan(&plan.manifest, &disks, &arguments.efi_variables)? {
        Ok(boot) => (!boot.is_empty()).then_some(boot),
        Err(error) => {
            let text = t!("boot.failed", details = chain(&error)).into_owned();
            progress.notify(Event::Warning { text });
            None
        }
    }
}

/// Reads every chunk that the image needs before a disk is cleared: a damaged one would be found only when the
/// old contents of the disk are gone.
fn verify_first(target: &Target, arguments: &Restore, operator: &dyn Operator) -> Result<(), Failure> {
    let (progress, cancel) = (operator.reporter(), operator.cancel());
    let request = VerifyRequest { image: Some(arguments.image.clone()), quick: false };
    let verification = verify(&*target.store, &request, super::processors(), &*progress, cancel);
    progress.finish();
    let verification = verification?;
    if verification.is_good() {
        return Ok(());
    }
    let regions: Vec<_> = verification
        .images
        .iter()
        .flat_map(|image| &image.regions)
        .map(|region| format!("{}: {}", region.region, region.reason))
        .collect();
    Err(Failure::damaged(&regions.join("; ")))
}

fn request(arguments: &Restore, assigned: &[(String, PathBuf)]) -> Result<RestoreRequest, Failure> {
    let regions = arguments.regions.iter().map(|region| region_choice(region, assigned)).collect::<Result<_, _>>()?;
    let grow = arguments.grow.as_ref().map(|name| match name.as_str() {
        "last" => Grow::Last,
        name => Grow::Region(name.to_owned()),
    });
    let new_ids = match arguments.identity {
        IdentityChoice::Keep => None,
        IdentityChoice::New => Some(new_ids()?),
    };
    Ok(RestoreRequest {
        regions,
        layout_only: arguments.layout_only,
        grow,
        new_ids,
        scope: arguments.scope.map(Into::into),
        read_back: !arguments.no_verify,
    })
}

fn new_ids() -> Result<NewIds, Failure> {
    let mut random = [0; 20];
    getrandom::fill(&mut random).map_err(|error| session::Error::System(error.into()))?;
    Ok(NewIds::from_random(random))
}

/// `NAME`, or `NAME=DISK:REGION` where `DISK` is one of the disks that are named.
fn region_choice(text: &str, assigned: &[(String, PathBuf)]) -> Result<RegionChoice, Failure> {
    let Some((source, place)) = text.split_once('=') else {
        return Ok(RegionChoice { source: text.to_owned(), destination: None });
    };
    let unclear = || Failure::usage("region-unclear", &t!("failure.region_unclear", region = text));
    let (disk, region) = place.rsplit_once(':').ok_or_else(unclear)?;
    let (name, _) =
        assigned.iter().find(|(name, path)| name == disk || path.as_os_str() == disk).ok_or_else(unclear)?;
    // The image's disk and the destination go together; a region's own disk must be the same one.
    let source = if source.contains(':') { source.to_owned() } else { format!("{name}:{source}") };
    if !source.starts_with(&format!("{name}:")) {
        return Err(unclear());
    }
    Ok(RegionChoice { source, destination: Some(region.to_owned()) })
}

/// Prints what will be overwritten.
pub fn print_plan(plan: &RestorePlan, assigned: &[(String, PathBuf)]) {
    error_line(t!("restore.plan", image = plan.manifest.image, time = plan.manifest.finished));
    plan_lines(plan, assigned).iter().for_each(error_line);
}

/// What is overwritten, and with what.
fn plan_lines(plan: &RestorePlan, assigned: &[(String, PathBuf)]) -> Vec<String> {
    let mut lines = Vec::new();
    for ((planned, (_, path)), watched) in plan.disks.iter().zip(assigned).zip(&plan.sharing) {
        let destination = device::identify(path);
        let known = [&destination.model, &destination.serial, &destination.wwn, &destination.transport];
        let known: Vec<_> = known.into_iter().flatten().map(String::as_str).collect();
        let size = bytes(destination.size);
        let hardware = known.join(", ");
        let (disk, destination) = (&planned.disk, &planned.destination);
        let text = t!("restore.disk", disk = disk, destination = destination, size = size, hardware = hardware);
        lines.push(text.into_owned());
        lines.extend(sharing::lines(&watched.assessment).iter().map(|text| format!("  {text}")));
        let record = plan.manifest.disk(&planned.disk);
        let rows: Vec<Vec<String>> = planned
            .regions
            .iter()
            .filter_map(|region| {
                let (saved, record) = record?.region(&region.name)?;
                let mut row = describe::region(saved);
                if let Some(start) = row.get_mut(1) {
                    *start = region.extent.start().to_string();
                }
                row.push(record.file_system.as_ref().map_or_else(String::new, |found| {
                    describe::file_system(&found.kind, found.label.as_deref(), None)
                }));
                row.push(describe::coverage(record));
                Some(row)
            })
            .collect();
        lines.extend(table(&rows).iter().map(|row| format!("  {row}")));
        if !planned.left.is_empty() {
            lines.push(format!("  {}", t!("restore.left", regions = planned.left.join(" "))));
        }
        for half in plan.mirrors.iter().filter(|half| half.disk == planned.disk) {
            lines.push(format!("  * {}", describe::mirror(half)));
        }
        for change in planned.placement.iter().flat_map(|placement| &placement.changes) {
            lines.push(format!("  ~ {}", describe::change(change)));
        }
    }
    lines.extend(new_names::lines(&plan.new_names));
    lines
}

impl Restored {
    /// The exit status.
    pub fn status(&self) -> u8 {
        if unreadable_regions(&self.plan).is_empty() { DONE } else { UNREADABLE }
    }

    /// What was done, for programs.
    fn document(&self) -> serde_json::Value {
        let (plan, restored, milliseconds) = (&self.plan, &self.report, self.milliseconds);
        let boot = self.boot.as_ref();
        let unreadable = unreadable_regions(plan);
        let disks: Vec<_> =
            plan.disks.iter().map(|disk| json!({ "disk": disk.disk, "destination": disk.destination })).collect();
        let unreadable: Vec<_> =
            unreadable.iter().map(|(region, bytes)| json!({ "region": region, "bytes": bytes })).collect();
        let renamed: Vec<_> = renamed(plan).collect();
        let names = new_names::Document::of(&plan.new_names);
        let mirrors: Vec<_> = plan
            .mirrors
            .iter()
            .map(|half| {
                let mut document = describe::mirror_document(half);
                document["marked"] = (plan.request.scope == Some(Scope::OneNode)).into();
                document
            })
            .collect();
        json!({
            "image": plan.manifest.image, "disks": disks, "written_bytes": restored.written_bytes,
            "read_back_bytes": restored.read_back_bytes, "unreadable": unreadable, "renamed": renamed,
            "file_systems": names.file_systems, "kept_uuids": names.kept, "fixed": names.fixed, "mirrors": mirrors, "scope": plan.request.scope, "milliseconds": milliseconds,
            "boot_entries": boot.map(BootRestore::lines).unwrap_or_default(), "referrers": referrers(plan),
            "checklist": checklist::steps(&plan.manifest, plan.request.scope), "report": self.kept.path(),
        })
    }

    /// What was done, for people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = lines_of(&self.plan, &self.report, self.boot.as_ref(), self.milliseconds);
        // Before the checklist, which is long.
        let end = lines.iter().position(String::is_empty).unwrap_or(lines.len());
        lines.splice(end..end, self.counts.iter().cloned().chain([self.kept.line()]));
        lines
    }
}

/// What was done, and what is left to do.
fn lines_of(
    plan: &RestorePlan,
    restored: &RestoreReport,
    boot: Option<&BootRestore>,
    milliseconds: u64,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |text: std::borrow::Cow<'_, str>| lines.push(text.into_owned());
    let size = bytes(restored.written_bytes);
    let time = timing(restored.written_bytes, milliseconds);
    line(t!("restore.done", image = plan.manifest.image, size = size, time = time));
    if plan.request.read_back {
        line(t!("restore.read_back", size = bytes(restored.read_back_bytes)));
    } else {
        line(t!("restore.not_read_back"));
    }
    for half in &plan.mirrors {
        let marked = plan.request.scope == Some(Scope::OneNode);
        let (region, size) = (half.place(), bytes(half.metadata.data_bytes));
        line(if marked {
            t!("mirror.marked", region = region, size = size)
        } else {
            t!("mirror.all_nodes", region = region)
        });
    }
    if plan.mirrors.is_empty() && plan.request.scope == Some(Scope::OneNode) {
        line(t!("restore.nothing_marked"));
    }
    if plan.request.new_ids.is_some() {
        let none = renamed(plan).next().is_none();
        line(if none { t!("restore.nothing_renamed") } else { t!("restore.renamed") });
        renamed(plan).for_each(|change| line(format!("  ~ {}", describe::change(change)).into()));
        new_names::lines(&plan.new_names).into_iter().for_each(|text| line(text.into()));
    }
    let referrers = referrers(plan);
    if !referrers.is_empty() {
        line(t!("restore.referrers"));
        referrers.iter().for_each(|text| line(format!("  {text}").into()));
    }
    if boot.is_some() {
        line(t!("boot.restored"));
    }
    for (region, lost) in unreadable_regions(plan) {
        line(t!("restore.unreadable", region = region, size = bytes(lost)));
    }
    lines.extend(checklist::lines_after_restore(&plan.manifest, plan.request.scope));
    lines
}

/// Files in the image that still name what has another name on the copy, or that should name file systems that both
/// disks have.
fn referrers(plan: &RestorePlan) -> Vec<String> {
    if plan.request.new_ids.is_none() {
        return Vec::new();
    }
    let mut names: Vec<String> = plan.new_names.kept.iter().map(|kept| kept.uuid.clone()).collect();
    names.extend(plan.new_names.renamed.iter().map(|renamed| renamed.from.clone()));
    for change in renamed(plan) {
        if let Change::Renamed { from, .. } = change {
            names.push(from.clone());
        }
    }
    for disk in plan.disks.iter().filter_map(|disk| plan.manifest.disk(&disk.disk)) {
        let partitions = disk.layout.regions.iter().filter_map(|region| region.partition.as_ref());
        names.extend(partitions.filter_map(|partition| partition.guid.clone()));
        names.extend(disk.layout.signature.clone());
    }
    systems::stale_references(&found_in(&plan.manifest), &names, &plan.new_names)
}

/// What got another name.
fn renamed(plan: &RestorePlan) -> impl Iterator<Item = &Change> {
    let placements = plan.disks.iter().filter_map(|disk| disk.placement.as_ref());
    placements.flat_map(|placement| &placement.changes).filter(|change| matches!(change, Change::Renamed { .. }))
}

/// The restored regions that hold zeros where the source could not be read, with their bytes.
fn unreadable_regions(plan: &RestorePlan) -> Vec<(String, u64)> {
    let restored = plan.disks.iter().flat_map(|disk| disk.regions.iter().map(move |region| (disk, region)));
    restored
        .filter_map(|(disk, region)| {
            let (_, record) = plan.manifest.disk(&disk.disk)?.region(&region.name)?;
            let lost = record.unreadable.total_bytes();
            (lost > 0).then(|| (format!("{}:{}", disk.disk, region.name), lost))
        })
        .collect()
}
