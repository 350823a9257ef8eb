//! Words for disks, regions, reasons and findings that several commands print.

use crate::language::t;
use image::{CoverageMethod, DiskRecord, LayerRecord, RegionRecord, Totals, VolumeRecord};
use layout::{Change, Layout, Region, RegionKind, TableKind};
use serde_json::{Value, json};
use session::MirrorHalf;

use crate::output::bytes;

/// A disk in one line: name, size, table, signature, and what is known of the hardware.
pub fn disk(name: &str, layout: &Layout, hardware: &[Option<&str>]) -> String {
    let table = match layout.table {
        TableKind::None => t!("table.none"),
        TableKind::Mbr => "MBR".into(),
        TableKind::Gpt => "GPT".into(),
    };
    let sectors = t!("disk.sectors", size = layout.sector_size.bytes());
    let mut parts = vec![bytes(layout.disk_size), table.into_owned()];
    parts.extend(layout.signature.clone());
    parts.push(sectors.into_owned());
    parts.extend(hardware.iter().flatten().map(|part| (*part).to_owned()));
    format!("{name}: {}", parts.join(", "))
}

/// What a save stored, in one line.
pub fn stored(totals: &Totals) -> String {
    let (new, stored) = (bytes(totals.new_bytes), bytes(totals.stored_bytes));
    let (known, zero) = (bytes(totals.known_bytes), bytes(totals.zero_bytes));
    t!("save.stored", new = new, stored = stored, known = known, zero = zero).into_owned()
}

/// The first columns of a region: name, start, size, what it is.
pub fn region(region: &Region) -> Vec<String> {
    let kind = match (region.kind, &region.partition) {
        (RegionKind::Gap, _) => t!("region.gap").into_owned(),
        (RegionKind::WholeDisk, _) => t!("region.whole_disk").into_owned(),
        (RegionKind::Partition, None) => String::new(),
        (RegionKind::Partition, Some(partition)) => {
            let name = partition.name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
            format!("{}{name}", type_name(&partition.type_id))
        }
    };
    vec![region.name.clone(), region.extent.start().to_string(), bytes(region.extent.length()), kind]
}

/// Partition types that operators meet often, by name; others as the table says them.
fn type_name(type_id: &str) -> String {
    let name = match type_id {
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" => "EFI",
        "21686148-6449-6e6f-744e-656564454649" => "BIOS boot",
        "0fc63daf-8483-4772-8e79-3d69d8477de4" | "0x83" => "Linux",
        "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f" | "0x82" => "Linux swap",
        "e6d6d379-f507-44c2-a23c-238f2a3df928" | "0x8e" => "Linux LVM",
        "a19d880f-05fc-4d3b-a006-743f0f84911e" | "0xfd" => "Linux RAID",
        "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7" => "Microsoft",
        "e3c9e316-0b5c-4db8-817d-f92df00215ae" => "Microsoft reserved",
        "de94bba4-06d1-4d40-a16a-bfd50179d6ac" | "0x27" => "Windows recovery",
        "0x07" => "NTFS",
        "0x06" | "0x0b" | "0x0c" | "0x0e" => "FAT",
        "0xef" => "EFI",
        other => other,
    };
    name.to_owned()
}

/// A file system: kind, label and UUID.
pub fn file_system(kind: &str, label: Option<&str>, uuid: Option<&str>) -> String {
    let label = label.map(|label| format!(" \"{label}\"")).unwrap_or_default();
    let uuid = uuid.map(|uuid| format!(" {uuid}")).unwrap_or_default();
    format!("{kind}{label}{uuid}")
}

/// Storage software on a region, one line for each layer and for each volume in it.
pub fn layers(region: &str, layers: &[LayerRecord]) -> Vec<String> {
    let mut lines = Vec::new();
    for layer in layers {
        let words = [Some(translated("layer", &layer.kind)), layer.name.clone(), layer.uuid.clone()];
        let words: Vec<_> = words.into_iter().flatten().collect();
        let detail = if layer.detail.is_empty() { String::new() } else { format!(": {}", layer.detail) };
        lines.push(format!("{region}: {}{detail}", words.join(" ")));
        lines.extend(layer.volumes.iter().map(|volume| format!("  {}", self::volume(volume))));
    }
    lines
}

/// A volume: its name, how it is kept, its size, what is in it, and how it is saved.
fn volume(volume: &VolumeRecord) -> String {
    let name = volume.name.as_deref().or(volume.uuid.as_deref()).unwrap_or_default();
    let mut parts = vec![format!("{name}: {} {}", volume.kind, bytes(volume.size))];
    parts.extend(
        volume
            .file_system
            .as_ref()
            .map(|found| file_system(&found.kind, found.label.as_deref(), found.uuid.as_deref())),
    );
    parts.push(match &volume.reason {
        None => t!("volume.used").into_owned(),
        Some(reason) => t!("volume.whole", reason = self::reason(reason)).into_owned(),
    });
    let detail = volume.detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{}{detail}", parts.join(", "))
}

/// How a region was saved and why: `used 1.5 GiB`, or `whole: not clean`.
pub fn coverage(record: &RegionRecord) -> String {
    if record.map.is_none() {
        let is_shared = record.notes.iter().any(|note| note.code == "shared-disk");
        return if is_shared { t!("coverage.left_out_shared") } else { t!("coverage.left_out") }.into_owned();
    }
    let size = bytes(record.coverage.bytes);
    match (record.coverage.method, &record.coverage.reason) {
        (CoverageMethod::Used, _) => t!("coverage.used", size = size).into_owned(),
        (CoverageMethod::Whole, Some(reason)) => {
            t!("coverage.whole", size = size, reason = self::reason(reason)).into_owned()
        }
        (CoverageMethod::Whole, None) => t!("coverage.whole_plain", size = size).into_owned(),
    }
}

/// A reason to save a region whole, by its code.
pub fn reason(code: &str) -> String {
    translated("reason", code)
}

/// A note about a file system, by its code.
pub fn note(code: &str) -> String {
    translated("note", code)
}

/// A finding about a table, by its code.
pub fn finding(code: &str) -> String {
    translated("finding", code)
}

/// The text for a code. A code from a newer program has none: it is printed as it is.
fn translated(group: &str, code: &str) -> String {
    let key = format!("{group}.{code}");
    let text = t!(&key);
    // What has no text comes back as its key behind its language.
    if text.ends_with(&key) { code.to_owned() } else { text.into_owned() }
}

/// What is known of the hardware of a disk of an image.
pub fn hardware(disk: &DiskRecord) -> Vec<Option<&str>> {
    let identity = &disk.identity;
    vec![
        Some(identity.path.as_str()),
        identity.model.as_deref(),
        identity.serial.as_deref(),
        identity.wwn.as_deref(),
        identity.transport.as_deref(),
    ]
}

/// The code of something that serde spells, as in the manifest.
pub fn code_of<T: serde::Serialize>(code: &T) -> String {
    serde_json::to_value(code).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// How the tables of a destination differ from those of the image.
pub fn change(change: &Change) -> String {
    match change {
        Change::Field { role, field, from, to } => {
            // Checksums are known by their hexadecimal digits.
            let is_checksum = field.contains("CRC");
            let number = |value: &u64| if is_checksum { format!("{value:08x}") } else { value.to_string() };
            t!("change.field", role = role, field = field, from = number(from), to = number(to)).into_owned()
        }
        Change::Rebuilt { role } => t!("change.rebuilt", role = role).into_owned(),
        Change::Grown { name, from, to } => t!("change.grown", name = name, from = from, to = to).into_owned(),
        Change::Renamed { name, from, to } => t!("change.renamed", name = name, from = from, to = to).into_owned(),
    }
}

/// What half of which mirror a region holds.
pub fn mirror(half: &MirrorHalf) -> String {
    let version = half.metadata.version.as_str();
    let place = match &half.volume {
        Some(volume) => format!("{} ({volume})", half.place()),
        None => half.place(),
    };
    let size = bytes(half.metadata.data_bytes);
    let generation = format!("{:016x}", half.metadata.current);
    let text = t!("mirror.drbd", region = place, version = version, size = size, generation = generation);
    if half.metadata.was_in_use() { format!("{text}; {}", t!("mirror.unclean")) } else { text.into_owned() }
}

/// The same for programs.
pub fn mirror_document(half: &MirrorHalf) -> Value {
    let mut document = json!({
        "region": half.place(), "version": half.metadata.version, "kind": half.metadata.kind,
        "bytes": half.metadata.data_bytes, "generation": format!("{:016x}", half.metadata.current),
    });
    if let Some(volume) = &half.volume {
        document["volume"] = volume.as_str().into();
    }
    document
}
