//! `sosei show`: one image.

use std::path::Path;

use crate::language::t;
use image::{DiskRecord, ImageName, Machine, Manifest, Store, image_directory};
use serde_json::json;
use session::{Cancel, found_in, hardware_differences, open_repository, read_manifest};

use super::{describe, machine_at_hand, systems};
use crate::arguments::General;
use crate::failure::{DONE, Failure};
use crate::output::{bytes, document, line, table, timing};
use crate::progress::Progress;
use crate::{language, machine, target};

/// Shows an image.
pub fn run(target: &str, image: &ImageName, general: &General) -> Result<u8, Failure> {
    let target = target::open(target, general, &Progress::new(general), &Cancel::new())?;
    open_repository(&*target.store)?;
    let manifest = read_manifest(&*target.store, image)?;
    let here = machine::record(Path::new(device::EFI_VARIABLES));
    if general.json {
        let differences = hardware_differences(&manifest.machine, &here);
        let reports = reports(&*target.store, image);
        document(&json!({ "manifest": manifest, "hardware": differences, "reports": reports }));
    } else {
        lines(&manifest).iter().for_each(line);
        let reports = reports(&*target.store, image);
        if !reports.is_empty() {
            line("");
            line(t!("show.reports"));
            reports.iter().for_each(|path| line(format!("  {path}")));
        }
        let differences = machine_at_hand::differences(&manifest.machine, &here);
        if !differences.is_empty() {
            line("");
            line(t!("hardware.title"));
            differences.iter().for_each(|text| line(format!("  ~ {text}")));
        }
    }
    Ok(DONE)
}

/// The reports of an image in the language of the operator: of the save, then of restores. Nobody needs them, so a
/// target that does not tell them has none.
fn reports(store: &dyn Store, image: &ImageName) -> Vec<String> {
    let directory = image_directory(image);
    let end = format!(".{}.txt", language::present().code());
    let entries = store.list(&directory).unwrap_or_default().into_iter();
    let is_report = |name: &str| (name.starts_with("report.") || name.starts_with("restore-")) && name.ends_with(&end);
    entries.filter(|entry| is_report(&entry.name)).map(|entry| format!("{directory}/{}", entry.name)).collect()
}

/// What a machine is, in one line each.
pub fn machine_lines(machine: &Machine) -> Vec<String> {
    rows(machine_facts(machine))
}

fn machine_facts(machine: &Machine) -> impl Iterator<Item = (&'static str, Option<String>)> {
    let hardware = [&machine.vendor, &machine.product, &machine.serial].into_iter().flatten().cloned();
    let network = machine.network.iter().map(|card| format!("{} {}", card.name, card.address));
    let facts = [
        ("show.host", machine.host_name.clone()),
        ("show.machine", Some(hardware.collect::<Vec<_>>().join(" "))),
        ("show.firmware", Some(machine.firmware.to_uppercase())),
        ("show.network", Some(network.collect::<Vec<_>>().join(", "))),
    ];
    facts.into_iter()
}

/// Those that have a value, as a table.
fn rows(facts: impl Iterator<Item = (&'static str, Option<String>)>) -> Vec<String> {
    let filled = facts.filter_map(|(key, value)| Some((key, value.filter(|text| !text.is_empty())?)));
    let cells: Vec<_> = filled.map(|(key, value)| vec![t!(key).into_owned(), value]).collect();
    table(&cells)
}

/// All that a manifest says, for people.
pub fn lines(manifest: &Manifest) -> Vec<String> {
    let mut lines = facts(manifest);
    for disk in &manifest.disks {
        lines.push(String::new());
        lines.extend(disk_lines(disk));
    }
    let found = found_in(manifest);
    let layouts: Vec<_> = manifest.disks.iter().map(|disk| (disk.name.as_str(), &disk.layout)).collect();
    let summary = systems::summary(&found);
    if !summary.is_empty() {
        lines.push(String::new());
        lines.extend(summary);
        let letters = systems::report(&found, &layouts).into_iter().filter(|text| text.starts_with("Letter"));
        lines.extend(letters.map(|text| format!("  {text}")));
    }
    if let Some(boot) = &manifest.machine.boot {
        lines.push(String::new());
        lines.extend(systems::boot_lines(boot));
    }
    let totals = &manifest.totals;
    let all = t!("show.totals", saved = bytes(totals.saved_bytes), disks = bytes(totals.disk_bytes));
    lines.extend([String::new(), all.into_owned(), describe::stored(totals)]);
    lines
}

/// The image and its machine.
fn facts(manifest: &Manifest) -> Vec<String> {
    let timing = timing(manifest.totals.saved_bytes, manifest.totals.milliseconds);
    let of_image = [
        ("show.image", Some(manifest.image.to_string())),
        ("show.note", manifest.note.clone()),
        ("show.set", manifest.set.clone()),
        ("show.finished", Some(format!("{} ({timing})", manifest.finished))),
    ];
    let tool = ("show.tool", Some(format!("{} {}", manifest.tool.name, manifest.tool.version)));
    rows(of_image.into_iter().chain(machine_facts(&manifest.machine)).chain([tool]))
}

/// A disk of an image with its regions.
fn disk_lines(disk: &DiskRecord) -> Vec<String> {
    let mut lines = vec![describe::disk(&disk.name, &disk.layout, &describe::hardware(disk))];
    for finding in &disk.layout.findings {
        lines.push(format!("  ! {}: {}", describe::finding(&describe::code_of(&finding.code)), finding.detail));
    }
    let rows: Vec<Vec<String>> = disk
        .pairs()
        .map(|(region, record)| {
            let mut row = describe::region(region);
            row.push(record.file_system.as_ref().map_or_else(String::new, |found| {
                describe::file_system(&found.kind, found.label.as_deref(), found.uuid.as_deref())
            }));
            row.push(describe::coverage(record));
            row
        })
        .collect();
    lines.extend(table(&rows).into_iter().map(|row| format!("  {row}")));
    for (region, record) in disk.pairs() {
        lines.extend(record.coverage.detail.iter().map(|detail| format!("  {}: {detail}", region.name)));
        lines.extend(describe::layers(&region.name, &record.layers).into_iter().map(|text| format!("  {text}")));
        for note in &record.notes {
            lines.push(format!("  ! {}: {}: {}", region.name, describe::note(&note.code), note.detail));
        }
        for extent in record.unreadable.iter() {
            let (length, offset) = (extent.length(), extent.start());
            let text = t!("show.unreadable", region = region.name, length = length, offset = offset);
            lines.push(format!("  ! {text}"));
        }
    }
    lines
}
