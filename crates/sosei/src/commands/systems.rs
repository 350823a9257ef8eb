//! Words for the systems on disks, and for what they refer to.

use std::collections::BTreeSet;

use crate::language::t;
use cluster::offline::{Found, Letter, Reference, ReferenceKind, System, SystemKind, Volume};
use layout::{BootEntries, Layout, TableKind};
use session::NewNames;

/// The systems in one line each: place, name, host, cluster.
pub fn summary(found: &Found) -> Vec<String> {
    let systems = found.systems.iter().filter(|system| system.kind != SystemKind::Boot);
    let mut lines: Vec<String> = systems.map(line_of).collect();
    let is_known = |id: &str| found.detected.iter().any(|detected| detected.id == id);
    if is_known("cluster.any") {
        let said = ["cluster.any", "shared.any", "linux", "windows", "uefi"];
        let software = found.detected.iter().filter(|detected| !said.contains(&detected.id.as_str()));
        let software = software.map(|detected| detected.name(super::checklist::language())).collect::<Vec<_>>();
        lines.push(t!("system.cluster", found = software.join(&t!("system.and"))).into_owned());
    }
    lines
}

fn line_of(system: &System) -> String {
    let host = system.host.as_ref().map(|host| t!("system.host", host = host).into_owned());
    let clusters = system.clusters.iter().map(|cluster| match &cluster.name {
        Some(name) => format!("{} {name}", cluster.kind),
        None => cluster.kind.clone(),
    });
    let name = system.name.clone().unwrap_or_else(|| match system.kind {
        SystemKind::Linux => "Linux".to_owned(),
        SystemKind::Windows => "Windows".to_owned(),
        SystemKind::Boot | SystemKind::Data => String::new(),
    });
    let lagging = system.is_lagging.then(|| t!("system.lagging").into_owned());
    let parts = [Some(name), host].into_iter().flatten().chain(clusters).chain(lagging);
    let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
    format!("{}: {}", system.place, parts.join(", "))
}

/// The sections of a report about what refers to disks: letters, boot loaders, files. The words are those of the report,
/// the same in every language.
pub fn report(found: &Found, layouts: &[(&str, &Layout)]) -> Vec<String> {
    let mut lines = Vec::new();
    for system in &found.systems {
        lines.extend([String::new(), "[System]".to_owned(), String::new(), format!("Place: {}", system.place)]);
        let facts = [("Name", &system.name), ("Computer Name", &system.host), ("Id", &system.id)];
        lines.extend(facts.iter().filter_map(|(label, value)| Some(format!("{label}: {}", value.as_ref()?))));
        for signature in &system.cluster_signatures {
            lines.push(format!("ClusDisk Signature: {signature}"));
        }
        lines.extend(system.letters.iter().map(|letter| letter_line(letter, layouts)));
        for device in &system.boot_devices {
            let place = place_of(&device.volume, layouts);
            lines.push(format!(
                "Boot: {} {} {}: {}{place}",
                device.file,
                device.object,
                device.element,
                volume_text(&device.volume)
            ));
        }
        for reference in &system.references {
            lines.push(match reference.kind {
                ReferenceKind::Initramfs => format!("Initramfs: {}", reference.file),
                _ => format!("Reference: {}:{}: {}", reference.file, reference.line, reference.value),
            });
        }
    }
    lines
}

fn letter_line(letter: &Letter, layouts: &[(&str, &Layout)]) -> String {
    format!("Letter: {} {}{}", letter.name, volume_text(&letter.volume), place_of(&letter.volume, layouts))
}

fn volume_text(volume: &Volume) -> String {
    match volume {
        Volume::Mbr { signature, offset } => format!("signature {} offset {offset}", signature.to_uppercase()),
        Volume::Guid { guid } => format!("GUID {guid}"),
        Volume::Device { path } => path.clone(),
    }
}

/// Which region a volume is, or that there is none: a letter that is lost.
fn place_of(volume: &Volume, layouts: &[(&str, &Layout)]) -> String {
    let found = layouts.iter().find_map(|(name, layout)| {
        let region = layout.regions.iter().find(|region| match (volume, &region.partition) {
            (Volume::Mbr { signature, offset }, Some(_)) => {
                layout.table == TableKind::Mbr
                    && layout.signature.as_ref() == Some(signature)
                    && region.extent.start() == *offset
            }
            (Volume::Guid { guid }, Some(partition)) => partition.guid.as_ref() == Some(guid),
            _ => false,
        })?;
        Some(format!("{name}:{}", region.name))
    });
    match (found, volume) {
        (Some(place), _) => format!(" = {place}"),
        (None, Volume::Device { .. }) => String::new(),
        (None, _) => " = not on these disks".to_owned(),
    }
}

/// Boot entries, in the order in which firmware tries them.
pub fn boot_lines(boot: &BootEntries) -> Vec<String> {
    let place = |number: u16| boot.order.iter().position(|known| *known == number);
    let mut entries: Vec<_> = boot.entries.iter().collect();
    entries.sort_by_key(|entry| (place(entry.number).is_none(), place(entry.number), entry.number));
    let lines = entries.into_iter().map(|entry| {
        let number = entry.number;
        let Some(option) = entry.parse() else { return format!("Boot{number:04X}") };
        let mark = if option.is_active { "*" } else { " " };
        let partition = option.partition.and_then(|partition| partition.signature).unwrap_or_default();
        let file = option.file.unwrap_or_default();
        format!("Boot{number:04X}{mark} {} {partition} {file}", option.label).trim_end().to_owned()
    });
    lines.collect()
}

/// Files that still name what a disk with new names is not called any more: file, line, and what stands there. Those that
/// were changed are left out; what could not be changed is told where no system on the disks has told of that line.
pub fn stale_references(found: &Found, names: &[String], new_names: &NewNames) -> Vec<String> {
    // A device is also named by a path that ends with its name.
    let last = |value: &str| value.rsplit('/').next().unwrap_or_default().to_owned();
    let is_named = |value: &str| names.iter().any(|name| name.eq_ignore_ascii_case(&last(value)));
    let is_fixed = |system: &System, reference: &Reference| {
        new_names.fixed.iter().any(|fixed| {
            (&fixed.place, &fixed.file, fixed.line) == (&system.place, &reference.file, reference.line)
                && fixed.from.eq_ignore_ascii_case(&last(&reference.value))
        })
    };
    let is_lost = |volume: &Volume| match volume {
        Volume::Mbr { signature, .. } => is_named(signature),
        Volume::Guid { guid } => is_named(guid),
        Volume::Device { .. } => false,
    };
    let (mut lines, mut told) = (Vec::new(), BTreeSet::new());
    for system in &found.systems {
        let place = &system.place;
        for reference in system.references.iter().filter(|reference| !is_fixed(system, reference)) {
            let Reference { file, line, text, value, kind, .. } = reference;
            if *kind == ReferenceKind::Initramfs {
                lines.push(format!("{place} {file}"));
            } else if is_named(value) {
                told.insert((place, file, *line));
                lines.push(format!("{place} {file}:{line}: {text}"));
            }
        }
        let letters = system.letters.iter().filter(|letter| is_lost(&letter.volume));
        lines.extend(letters.map(|letter| format!("{place} MountedDevices: {}", letter.name)));
        let boot = system.boot_devices.iter().filter(|device| is_lost(&device.volume));
        lines.extend(boot.map(|device| format!("{place} {}: {}", device.file, device.object)));
    }
    let left = new_names.left.iter();
    let left = left.filter(|left| left.line.is_none_or(|line| told.insert((&left.place, &left.file, line))));
    lines.extend(left.map(super::new_names::left));
    lines
}
