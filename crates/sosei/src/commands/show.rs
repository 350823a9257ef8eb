//! `sosei show`: one image.

use std::path::Path;

use image::{ImageName, Manifest};
use rust_i18n::t;
use serde_json::json;
use session::{Cancel, found_in, hardware_differences, open_repository, read_manifest};

use super::{describe, machine_at_hand, systems};
use crate::arguments::General;
use crate::failure::{DONE, Failure};
use crate::output::{bytes, document, duration, line, table};
use crate::progress::Progress;
use crate::{machine, target};

/// Shows an image.
pub fn run(target: &str, image: &ImageName, general: &General) -> Result<u8, Failure> {
    let target = target::open(target, general, &Progress::new(general), &Cancel::new())?;
    open_repository(&*target.store)?;
    let manifest = read_manifest(&*target.store, image)?;
    let here = machine::record(Path::new(device::EFI_VARIABLES));
    if general.json {
        let differences = hardware_differences(&manifest.machine, &here);
        document(&json!({ "manifest": manifest, "hardware": differences }));
    } else {
        print(&manifest);
        let differences = machine_at_hand::differences(&manifest.machine, &here);
        if !differences.is_empty() {
            line("");
            line(t!("hardware.title"));
            differences.iter().for_each(|text| line(format!("  ~ {text}")));
        }
    }
    Ok(DONE)
}

fn print(manifest: &Manifest) {
    let machine = &manifest.machine;
    let rows = [
        ("show.image", Some(manifest.image.to_string())),
        ("show.note", manifest.note.clone()),
        ("show.set", manifest.set.clone()),
        ("show.finished", Some(format!("{} ({})", manifest.finished, duration(manifest.totals.milliseconds)))),
        ("show.host", machine.host_name.clone()),
        (
            "show.machine",
            Some(
                [&machine.vendor, &machine.product, &machine.serial]
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" "),
            )
            .filter(|text| !text.is_empty()),
        ),
        ("show.firmware", Some(machine.firmware.to_uppercase())),
        (
            "show.network",
            Some(
                machine
                    .network
                    .iter()
                    .map(|card| format!("{} {}", card.name, card.address))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
            .filter(|text| !text.is_empty()),
        ),
        ("show.tool", Some(format!("{} {}", manifest.tool.name, manifest.tool.version))),
    ];
    let rows: Vec<_> = rows.into_iter().filter_map(|(key, value)| Some(vec![t!(key).into_owned(), value?])).collect();
    table(&rows).iter().for_each(line);
    for disk in &manifest.disks {
        line("");
        line(describe::disk(&disk.name, &disk.layout, &describe::hardware(disk)));
        for finding in &disk.layout.findings {
            line(format!("  ! {}: {}", describe::finding(&describe::code_of(&finding.code)), finding.detail));
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
        table(&rows).iter().for_each(|row| line(format!("  {row}")));
        for (region, record) in disk.pairs() {
            if let Some(detail) = &record.coverage.detail {
                line(format!("  {}: {detail}", region.name));
            }
            describe::layers(&region.name, &record.layers).iter().for_each(|text| line(format!("  {text}")));
            for note in &record.notes {
                line(format!("  ! {}: {}: {}", region.name, describe::note(&note.code), note.detail));
            }
            for extent in record.unreadable.iter() {
                let (length, offset) = (extent.length(), extent.start());
                line(format!("  ! {}", t!("show.unreadable", region = region.name, length = length, offset = offset)));
            }
        }
    }
    let found = found_in(manifest);
    let layouts: Vec<_> = manifest.disks.iter().map(|disk| (disk.name.as_str(), &disk.layout)).collect();
    let summary = systems::summary(&found);
    if !summary.is_empty() {
        line("");
        summary.iter().for_each(line);
        systems::report(&found, &layouts).iter().filter(|text| text.starts_with("Letter")).for_each(|text| {
            line(format!("  {text}"));
        });
    }
    if let Some(boot) = &machine.boot {
        line("");
        systems::boot_lines(boot).iter().for_each(line);
    }
    let totals = &manifest.totals;
    line("");
    line(t!("show.totals", saved = bytes(totals.saved_bytes), disks = bytes(totals.disk_bytes)));
    line(t!(
        "save.stored",
        new = bytes(totals.new_bytes),
        stored = bytes(totals.stored_bytes),
        known = bytes(totals.known_bytes),
        zero = bytes(totals.zero_bytes)
    ));
}
