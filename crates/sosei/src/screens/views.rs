//! What the program knows, as the screens show it.

use crate::language::t;
use cluster::offline::Found;
use cluster::sharing::{Assessment, Class, Lock};
use device::Attached;
use filesystem::Coverage;
use image::{DiskRecord, Manifest};
use layout::{Layout, TableKind};
use session::{Listed, PlannedDestination, RestorePlan, SavePlan};
use tui::{Disk, Image, ImageState, Note, Outcome, Plan, PlannedDisk, Region, RegionKind, Weight};

use crate::commands::disks::{Looked, coverage};
use crate::commands::{describe, save, systems};
use crate::failure::Failure;
use crate::{safety, sharing};

/// A failure in the words that commands use as well.
pub fn failure(failure: &Failure) -> tui::Failure {
    tui::Failure {
        code: failure.code.clone(),
        message: failure.message.clone(),
        state: failure.state.clone(),
        next: failure.next.clone(),
        confirm: failure.confirm.as_deref().map(str::to_owned),
    }
}

/// Lines of a report. Those that begin with an exclamation mark are warnings.
pub fn notes(lines: &[String], weight: Weight) -> Vec<Note> {
    let note = |line: &String| match line.strip_prefix("! ") {
        Some(warning) => Note::new(Weight::Warning, warning),
        None => Note::new(weight, line.trim_end()),
    };
    lines.iter().map(note).collect()
}

/// How something ended.
pub fn outcome(weight: Weight, lines: &[String]) -> Outcome {
    Outcome { weight, notes: notes(lines, Weight::Plain) }
}

fn note(weight: Weight, code: &str, text: String) -> Note {
    Note { code: code.to_owned(), text, weight }
}

/// An attached disk with what was found on it, or why it can't be looked at.
pub fn attached(disk: &Attached, name: &str, all: &[Attached], looked: &Result<Looked, String>) -> Disk {
    let mut view = hardware(disk, name);
    match looked {
        // With what lies on the disk, each finding with its proof.
        Ok(looked) => view.notes.extend(shared_notes(&looked.sharing)),
        Err(_) => view
            .notes
            .extend(safety::looks_shared(disk, all).map(|evidence| note(Weight::Bad, "shared-disk", evidence))),
    }
    if disk.is_read_only {
        let text = t!("failure.read_only", disk = disk.path.display()).into_owned();
        view.notes.push(note(Weight::Warning, "read-only", text));
    }
    match looked {
        Err(problem) => view.problem = Some(problem.clone()),
        Ok(looked) => {
            divide(&mut view, &looked.layout);
            let surveys = looked.layout.regions.iter().zip(&looked.surveys);
            view.regions = surveys
                .map(|(region, survey)| {
                    let found = survey.file_system.as_ref();
                    let holds = found.map(|found| describe::file_system(&found.kind, found.label.as_deref(), None));
                    let used = survey.coverage.extents(region.extent.length()).total_bytes();
                    let saved = coverage(region.extent.length(), &survey.coverage);
                    view_of(region, holds.unwrap_or_default(), saved, used)
                })
                .collect();
            for (region, survey) in looked.layout.regions.iter().zip(&looked.surveys) {
                view.notes.extend(survey_notes(&region.name, survey));
            }
        }
    }
    view
}

/// Why a disk may be somebody else's as well: the class first, then what proves it.
fn shared_notes(assessment: &Assessment) -> Vec<Note> {
    let weight = match assessment.class() {
        Class::Contended | Class::Shared => Weight::Bad,
        Class::Suspect => Weight::Warning,
        Class::Own | Class::Mirror | Class::Local => Weight::Plain,
    };
    let lines = sharing::lines(assessment).into_iter().enumerate();
    let notes = lines.map(|(number, line)| {
        let code = if number == 0 && weight != Weight::Plain { "shared-disk" } else { "" };
        note(weight, code, line.trim_start_matches("! ").to_owned())
    });
    notes.collect()
}

/// Adds what the systems on the disks say about themselves, each to its own disk.
pub fn add_systems(disks: &mut [Disk], found: &Found) {
    for line in systems::summary(found) {
        let disk = line.split(':').next().unwrap_or_default().to_owned();
        if let Some(view) = disks.iter_mut().find(|view| view.name == disk) {
            view.notes.insert(0, Note::new(Weight::Good, line));
        }
    }
}

/// What is known of a disk without reading it.
pub fn hardware(disk: &Attached, name: &str) -> Disk {
    Disk {
        path: disk.path.display().to_string(),
        name: name.to_owned(),
        size: disk.size,
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        wwn: disk.wwn.clone(),
        transport: disk.transport.clone(),
        ..Disk::default()
    }
}

fn divide(view: &mut Disk, layout: &Layout) {
    view.size = layout.disk_size;
    view.table = match layout.table {
        TableKind::None => t!("table.none").into_owned(),
        TableKind::Mbr => "MBR".into(),
        TableKind::Gpt => "GPT".into(),
    };
    view.signature.clone_from(&layout.signature);
    view.sector_size = layout.sector_size.bytes();
    for finding in &layout.findings {
        let code = describe::code_of(&finding.code);
        let text = format!("{}: {}", describe::finding(&code), finding.detail);
        view.notes.push(note(Weight::Warning, &code, text));
    }
}

fn survey_notes(region: &str, survey: &filesystem::Survey) -> Vec<Note> {
    let layers = describe::layers(region, &session::layer_records(survey));
    let mut notes: Vec<Note> = layers.into_iter().map(|line| Note::new(Weight::Plain, line)).collect();
    for found in &survey.notes {
        let code = describe::code_of(&found.code);
        let text = format!("{region}: {}: {}", describe::note(&code), found.detail);
        notes.push(note(Weight::Warning, &code, text));
    }
    notes
}

fn view_of(region: &layout::Region, holds: String, saved: String, used_bytes: u64) -> Region {
    Region {
        name: region.name.clone(),
        kind: match region.kind {
            layout::RegionKind::Partition => RegionKind::Partition,
            layout::RegionKind::Gap => RegionKind::Gap,
            layout::RegionKind::WholeDisk => RegionKind::Disk,
        },
        start: region.extent.start(),
        length: region.extent.length(),
        what: describe::region(region).pop().unwrap_or_default(),
        holds,
        saved,
        used_bytes,
    }
}

/// A disk of an image.
pub fn recorded(record: &DiskRecord) -> Disk {
    let identity = &record.identity;
    let mut view = Disk {
        path: identity.path.clone(),
        name: record.name.clone(),
        model: identity.model.clone(),
        serial: identity.serial.clone(),
        wwn: identity.wwn.clone(),
        transport: identity.transport.clone(),
        ..Disk::default()
    };
    divide(&mut view, &record.layout);
    for (region, saved) in record.pairs() {
        let found = saved.file_system.as_ref();
        let holds = found.map(|found| describe::file_system(&found.kind, found.label.as_deref(), None));
        let used = if saved.map.is_some() { saved.coverage.bytes } else { 0 };
        view.regions.push(view_of(region, holds.unwrap_or_default(), describe::coverage(saved), used));
        let layers = describe::layers(&region.name, &saved.layers);
        view.notes.extend(layers.into_iter().map(|line| Note::new(Weight::Plain, line)));
        for found in &saved.notes {
            let text = format!("{}: {}: {}", region.name, describe::note(&found.code), found.detail);
            view.notes.push(note(Weight::Warning, &found.code, text));
        }
        for extent in saved.unreadable.iter() {
            let (length, offset) = (extent.length(), extent.start());
            let text = t!("show.unreadable", region = region.name, length = length, offset = offset).into_owned();
            view.notes.push(note(Weight::Warning, "unreadable", text));
        }
    }
    view
}

/// An image of a repository.
pub fn listed(listed: &Listed) -> Image {
    let name = listed.name.to_string();
    match &listed.manifest {
        None => Image::new(name, ImageState::Unfinished),
        Some(Err(error)) => Image::new(name, ImageState::Damaged(error.to_string())),
        Some(Ok(manifest)) => whole(name, manifest),
    }
}

fn whole(name: String, manifest: &Manifest) -> Image {
    Image {
        time: manifest.finished.clone(),
        host: manifest.machine.host_name.clone().unwrap_or_default(),
        note: manifest.note.clone().unwrap_or_default(),
        set: manifest.set.clone().unwrap_or_default(),
        bytes: manifest.totals.saved_bytes,
        disks: manifest.disks.iter().map(recorded).collect(),
        ..Image::new(name, ImageState::Whole)
    }
}

/// What will be saved.
pub fn save_plan(plan: &SavePlan, disks: &[Attached]) -> Plan {
    let planned = plan.disks.iter().zip(disks).map(|(planned, attached)| {
        let mut source = hardware(attached, &planned.name);
        divide(&mut source, &planned.layout);
        let regions = planned.layout.regions.iter().zip(&planned.regions);
        source.regions = regions
            .clone()
            .map(|(region, planned)| {
                let found = planned.survey.file_system.as_ref();
                let holds = found.map(|found| describe::file_system(&found.kind, found.label.as_deref(), None));
                view_of(region, holds.unwrap_or_default(), save::coverage(planned), planned.extents.total_bytes())
            })
            .collect();
        let mut notes = std::mem::take(&mut source.notes);
        for (region, planned) in regions {
            notes.extend(survey_notes(&region.name, &planned.survey));
            if let (true, Coverage::Whole(reason)) = (planned.is_saved, &planned.survey.coverage)
                && region.kind != layout::RegionKind::Gap
            {
                let code = describe::code_of(&reason.code);
                let text = format!("{}: {}: {}", region.name, describe::reason(&code), reason.detail);
                notes.push(note(Weight::Plain, &code, text));
            }
        }
        PlannedDisk { source, destination: None, notes }
    });
    let (image, bytes) = (plan.request.image.to_string(), plan.total_bytes());
    let found = notes(&systems::summary(&plan.found), Weight::Plain);
    Plan { image, bytes, disks: planned.collect(), notes: found, asks_scope: false }
}

/// What will be overwritten, where the destinations look like `before` now; `besides` is told of the machine.
pub fn restore_plan(plan: &RestorePlan, before: Vec<Disk>, besides: &[String]) -> Plan {
    let planned = plan.disks.iter().zip(before).map(|(planned, destination)| {
        let source = plan.manifest.disk(&planned.disk).map(recorded).unwrap_or_default();
        let notes = destination_notes(plan, planned);
        PlannedDisk { source, destination: Some(destination), notes }
    });
    let asks_scope = plan.closed_gates().iter().any(|gate| gate.lock == Lock::Scope);
    let mirrors = plan.mirrors.iter().map(|half| note(Weight::Warning, "mirror", describe::mirror(half)));
    Plan {
        image: plan.manifest.image.to_string(),
        bytes: plan.total_bytes(),
        disks: planned.collect(),
        notes: mirrors.chain(notes(besides, Weight::Plain)).collect(),
        asks_scope: plan.request.scope.is_none() && (asks_scope || !plan.mirrors.is_empty()),
    }
}

fn destination_notes(plan: &RestorePlan, planned: &PlannedDestination) -> Vec<Note> {
    let mut notes = Vec::new();
    if !plan.request.regions.is_empty() {
        let names: Vec<&str> = planned.regions.iter().map(|region| region.name.as_str()).collect();
        notes.push(note(Weight::Warning, "", t!("restore.written", regions = names.join(" ")).into_owned()));
    }
    if !planned.left.is_empty() {
        let left = t!("restore.left", regions = planned.left.join(" ")).into_owned();
        notes.push(note(Weight::Warning, "", left));
    }
    let changes = planned.placement.iter().flat_map(|placement| &placement.changes);
    notes.extend(changes.map(|change| Note::new(Weight::Plain, describe::change(change))));
    notes
}
