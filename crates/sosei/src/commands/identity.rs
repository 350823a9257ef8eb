//! `sosei identity`: signatures and GUIDs alone, without data.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::language::t;
use cluster::sharing::Purpose;
use device::SourceDisk;
use filesystem::Survey;
use image::{DiskIdentity, FileSystemRecord, IdentityFile, IdentityRecord};
use layout::{Layout, Region, TableKind};
use serde_json::json;
use session::{
    Destination, Found, IdentityPlan, Source, apply_identity, examine_disks, plan_identity_guarded, read_layout,
    survey_disks,
};

use super::console::Console;
use super::{describe, systems};
use crate::arguments::{ApplyIdentity, General, IdentityCommand};
use crate::disks::{assign, identity_of, names_of, open_destination};
use crate::failure::{DONE, Failure, chain};
use crate::output::{document, error_line, line};
use crate::{confirm, machine, safety, sharing};

const FILE_LIMIT: u64 = 256 << 20;

/// Reports, saves or applies identities.
pub fn run(command: &IdentityCommand, general: &General) -> Result<u8, Failure> {
    match command {
        IdentityCommand::Report { disks } => report(disks, general),
        IdentityCommand::Save { file, disks } => save(file, disks, general),
        IdentityCommand::Apply(arguments) => apply(arguments, general),
    }
}

/// The identities of the disks that are named, or of all, and what the systems on them say about themselves.
pub fn look(paths: &[PathBuf]) -> Result<(IdentityFile, Found), Failure> {
    let attached = device::attached();
    // What can't be opened among all that are attached (an empty drive) has no identity to report.
    let named: Vec<PathBuf> = if paths.is_empty() {
        let readable = attached.into_iter().filter(|disk| SourceDisk::look(&disk.path).is_ok());
        readable.map(|disk| disk.path).collect()
    } else {
        paths.to_vec()
    };
    let disks: Vec<SourceDisk> = named.iter().map(|path| SourceDisk::look(path)).collect::<Result<_, _>>()?;
    let sources: Vec<Source<'_>> = names_of(&named)
        .into_iter()
        .zip(&named)
        .zip(&disks)
        .map(|((name, path), disk)| Source { name, identity: identity_of(&device::identify(path)), disk })
        .collect();
    let layouts: Vec<Layout> = sources.iter().map(read_layout).collect::<Result<_, _>>()?;
    let surveys = survey_disks(&sources, &layouts, &mut |_| Ok(()))?;
    let found = examine_disks(&sources, &layouts, &surveys);
    let records = sources
        .into_iter()
        .zip(layouts)
        .zip(surveys)
        .map(|((source, layout), surveys)| record(source, layout, surveys));
    let machine = machine::record(Path::new(device::EFI_VARIABLES));
    Ok((IdentityFile::new(machine::now(), machine, records.collect()), found))
}

fn record(source: Source<'_>, layout: Layout, surveys: Vec<Survey>) -> IdentityRecord {
    let found = layout.regions.iter().zip(surveys).filter_map(|(region, survey)| {
        let found = survey.file_system?;
        let record = FileSystemRecord {
            kind: found.kind,
            uuid: found.uuid,
            label: found.label,
            block_size: found.block_size,
            size: found.size,
        };
        Some((region.name.clone(), record))
    });
    let file_systems = found.collect();
    IdentityRecord { name: source.name, identity: source.identity, layout, file_systems }
}

fn report(paths: &[PathBuf], general: &General) -> Result<u8, Failure> {
    let (file, found) = look(paths)?;
    if general.json {
        document(&json!({ "identity": file, "systems": found.systems }));
    } else {
        all_lines(&file, &found).iter().for_each(line);
    }
    Ok(DONE)
}

/// The report with what the systems on the disks refer to, and the boot entries of the machine.
pub fn all_lines(file: &IdentityFile, found: &Found) -> Vec<String> {
    let mut lines = report_lines(file);
    let layouts: Vec<_> = file.disks.iter().map(|disk| (disk.name.as_str(), &disk.layout)).collect();
    lines.extend(systems::report(found, &layouts));
    if let Some(boot) = &file.machine.boot {
        lines.extend([String::new(), "[Boot Entries]".to_owned(), String::new()]);
        lines.extend(systems::boot_lines(boot));
    }
    lines
}

/// The report in the sections and words of `dumpcfg`, which operators of Windows clusters keep on paper. They are
/// the same in every language.
fn report_lines(file: &IdentityFile) -> Vec<String> {
    let mut lines = vec!["[System Information]".to_owned(), String::new()];
    let machine = &file.machine;
    lines.push(format!("Computer Name: {}", machine.host_name.as_deref().unwrap_or_default()));
    let product = [&machine.vendor, &machine.product, &machine.serial].into_iter().flatten().cloned();
    lines.push(format!("Machine: {}", product.collect::<Vec<_>>().join(" ")));
    lines.push(format!("Firmware: {}", machine.firmware.to_uppercase()));
    lines.push(format!("Time: {}", file.time));
    lines.extend([String::new(), "[DISKS]".to_owned()]);
    for (number, disk) in file.disks.iter().enumerate() {
        lines.extend([String::new(), format!("Disk Number: {number}")]);
        lines.extend(disk_lines(&disk.name, &disk.identity, &disk.layout));
    }
    lines.extend([String::new(), "[Volumes]".to_owned()]);
    for (number, disk) in file.disks.iter().enumerate() {
        let volumes = disk.layout.regions.iter().filter(|region| region.kind != layout::RegionKind::Gap);
        for region in volumes {
            let found = disk.file_systems.iter().find(|(name, _)| *name == region.name).map(|(_, found)| found);
            lines.push(String::new());
            lines.extend(volume_lines(number, &disk.name, region, found));
        }
    }
    lines
}

fn disk_lines(name: &str, identity: &DiskIdentity, layout: &Layout) -> Vec<String> {
    let signature = layout.signature.clone().unwrap_or_default().to_uppercase();
    let table = match layout.table {
        TableKind::None => "none",
        TableKind::Mbr => "MBR",
        TableKind::Gpt => "GPT",
    };
    let mut lines =
        vec![format!("Signature: {signature}"), format!("Partition Table: {table}"), format!("Name: {name}")];
    for (label, value) in [("Model", &identity.model), ("Serial Number", &identity.serial), ("WWN", &identity.wwn)] {
        lines.extend(value.as_ref().map(|value| format!("{label}: {value}")));
    }
    lines.push(format!("Length: {} bytes", layout.disk_size));
    lines.push(format!("Sector Size: {} bytes", layout.sector_size.bytes()));
    lines
}

fn volume_lines(disk: usize, name: &str, region: &Region, found: Option<&FileSystemRecord>) -> Vec<String> {
    const MIB: u64 = 1 << 20;
    let mut lines = vec![format!("Volume: {name}:{}", region.name)];
    if let Some(partition) = &region.partition {
        lines.push(format!("Partition Type: {}", partition.type_id));
        lines.extend(partition.guid.as_ref().map(|guid| format!("Partition GUID: {guid}")));
        lines.extend(partition.name.as_ref().map(|name| format!("Partition Name: {name}")));
        if partition.attributes != 0 {
            lines.push(format!("Attributes: {:016X}", partition.attributes));
        }
    }
    lines.push(format!("Volume Label: {}", found.and_then(|found| found.label.clone()).unwrap_or_default()));
    lines.push(format!("File System: {}", found.map_or("", |found| found.kind.as_str())));
    lines.extend(found.and_then(|found| found.uuid.as_ref()).map(|uuid| format!("Volume UUID: {uuid}")));
    lines.push(format!("Disk Number: {disk}"));
    lines.push(format!("StartingOffset: {} bytes", region.extent.start()));
    lines.push(format!("Length: {} MB ({} bytes)", region.extent.length() / MIB, region.extent.length()));
    lines
}

fn save(path: &Path, disks: &[PathBuf], general: &General) -> Result<u8, Failure> {
    let (file, _) = look(disks)?;
    let bytes = file.to_bytes(&path.display().to_string()).map_err(session::Error::from)?;
    write_new(path, &bytes).map_err(|error| Failure::file(path, &error))?;
    if general.json {
        document(&json!({ "file": path, "disks": file.disks.len() }));
    } else {
        line(t!("identity.saved", count = file.disks.len(), file = path.display()));
    }
    Ok(DONE)
}

/// A file is never overwritten: it may be the only record of a disk that is gone.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).create_new(true).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

fn read(path: &Path) -> Result<IdentityFile, Failure> {
    let failed = |error: std::io::Error| Failure::file(path, &error);
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > FILE_LIMIT {
        return Err(failed(std::io::Error::other(format!("{length} bytes"))));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    IdentityFile::from_bytes(&path.display().to_string(), &bytes).map_err(|error| match error {
        image::Error::Corrupt { .. } => Failure::damaged_file(path, &chain(&error)),
        other => session::Error::from(other).into(),
    })
}

fn apply(arguments: &ApplyIdentity, general: &General) -> Result<u8, Failure> {
    let file = read(&arguments.file)?;
    let known: Vec<_> = file.disks.iter().map(|disk| (disk.name.as_str(), &disk.identity)).collect();
    let assigned = assign(&known, &arguments.disks)?;
    let (attached, console) = (device::attached(), Console::new(general, arguments.yes));
    for (_, path) in &assigned {
        safety::refuse_file_with_other_names(path, &arguments.confirm)?;
    }
    let paths: Vec<PathBuf> = assigned.iter().map(|(_, path)| path.clone()).collect();
    let guard = sharing::guard(&attached, &arguments.confirm);
    sharing::refuse_hopeless(&guard, &paths)?;
    let disks: Vec<_> = assigned.iter().map(|(_, path)| open_destination(path)).collect::<Result<_, _>>()?;
    let mut plans = Vec::new();
    for ((name, path), disk) in assigned.iter().zip(&disks) {
        let destination = Destination { name: path.display().to_string(), disk };
        let Some(record) = file.disks.iter().find(|record| record.name == *name) else { continue };
        plans.push((plan_identity_guarded(&record.layout, &destination, guard.clone())?, destination));
    }
    let identities: Vec<_> = plans.iter().flat_map(|(plan, _)| plan.identities.clone()).collect();
    safety::refuse_collision(&identities, &paths, &attached, &arguments.confirm, &console)?;
    if !general.json || confirm::is_asked(arguments.yes) {
        plans.iter().for_each(|(plan, _)| print_plan(plan));
    }
    for (plan, _) in &mut plans {
        let gates: Vec<_> = plan.closed_gate().into_iter().collect();
        sharing::ask(&gates, Purpose::Identity, &mut plan.guard, &console);
        if let Some(gate) = plan.closed_gate() {
            return Err(sharing::refusal(&gate));
        }
    }
    if plans.iter().any(|(plan, _)| !plan.is_empty()) {
        confirm::overwriting(arguments.yes, &t!("identity.ask"), paths.iter().map(PathBuf::as_path))?;
    }
    for (plan, destination) in &plans {
        apply_identity(plan, destination).map_err(Failure::of_identity)?;
    }
    for (disk, path) in disks.iter().zip(&paths) {
        if let Err(error) = disk.reread_partitions() {
            error_line(t!("restore.reread", disk = path.display(), details = chain(&error)));
        }
    }
    if general.json {
        let disks: Vec<_> =
            plans.iter().map(|(plan, _)| json!({ "destination": plan.destination, "changes": plan.changes })).collect();
        document(&json!({ "disks": disks }));
    } else {
        line(t!("identity.applied"));
    }
    Ok(DONE)
}

fn print_plan(plan: &IdentityPlan) {
    error_line(format!("{}:", plan.destination));
    sharing::lines(&plan.sharing.assessment).iter().for_each(|text| error_line(format!("  {text}")));
    if plan.changes.is_empty() {
        error_line(format!("  {}", t!("identity.same")));
    }
    for change in &plan.changes {
        error_line(format!("  ~ {}", describe::change(change)));
    }
}
