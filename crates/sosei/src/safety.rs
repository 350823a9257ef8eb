//! What must never be overwritten by accident, looked at before a destination is opened for writing.

use std::path::{Path, PathBuf};

use crate::language::t;
use device::Attached;
use image::Manifest;
use session::{System, found_in, systems_on};

use crate::failure::Failure;
use crate::operator::Operator;
use crate::sharing;
use crate::target::Target;

/// Refuses a disk that holds the repository, as a source or a destination, by whatever path it is named.
pub fn refuse_repository_disk(target: &Target, disk: &Path, attached: &[Attached]) -> Result<(), Failure> {
    let Some(directory) = &target.directory else { return Ok(()) };
    // The parts of a repository may be links to other places.
    let parts = ["", "packs", "images", "locks"].map(|part| directory.join(part));
    let under = parts
        .iter()
        .flat_map(|part| device::disks_under(part))
        .any(|under| device::is_one_disk(attached, &under, disk));
    if under || device::is_inside(disk, &parts) {
        let (disk, target) = (disk.display().to_string(), directory.display().to_string());
        return Err(Failure::repository_disk(&disk, &target));
    }
    Ok(())
}

/// Refuses a file with several names as a destination: under another name it may be somebody's, a pack even.
pub fn refuse_file_with_other_names(disk: &Path, confirmed: &[String]) -> Result<(), Failure> {
    let path = disk.display().to_string();
    if device::has_other_names(disk) && !confirmed.contains(&path) {
        let message = t!("failure.other_names", disk = path);
        return Err(Failure::refused("other-names", &message).unless_confirmed(&path));
    }
    Ok(())
}

/// Why a disk may be used by another machine too, as far as the machine says; `None` where nothing says so.
pub fn looks_shared(disk: &Attached, attached: &[Attached]) -> Option<String> {
    let seen = sharing::of_machine(disk, attached);
    let told: Vec<String> = seen.findings.iter().map(sharing::finding_text).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Refuses two disks with one signature or GUID on one machine: which of them boots or joins a volume is chance.
pub fn refuse_collision(
    identities: &[layout::Identity],
    destinations: &[PathBuf],
    attached: &[Attached],
    confirmed: &[String],
    operator: &dyn Operator,
) -> Result<(), Failure> {
    for (id, other) in disks_with_same_identity(identities, destinations, attached) {
        let path = other.path.display().to_string();
        let names = [Some(&path), other.wwn.as_ref(), other.serial.as_ref()];
        let is_confirmed = names.into_iter().flatten().any(|name| confirmed.contains(name));
        if !is_confirmed && !operator.allow_collision(&id, &other.path) {
            let message = t!("failure.same_signature", disk = path, id = id);
            return Err(Failure::refused("same-signature", &message).unless_confirmed(&path));
        }
    }
    Ok(())
}

/// Refuses the disk of one node of a cluster for the image of another: whoever mixes them up loses the node that lived, and
/// partitions of the two may begin elsewhere.
pub fn refuse_other_node(
    manifest: &Manifest,
    destinations: &[PathBuf],
    confirmed: &[String],
    operator: &dyn Operator,
) -> Result<(), Failure> {
    let image = found_in(manifest);
    let is_cluster = image.detected.iter().any(|found| found.id == "cluster.any");
    let hosts: Vec<&str> = image.systems.iter().filter_map(|system| system.host.as_deref()).collect();
    let (false, Some(saved)) = (hosts.is_empty(), hosts.first()) else { return Ok(()) };
    for path in destinations {
        // What can't be read now is refused later, with its reason.
        let Ok(disk) = device::SourceDisk::look(path) else { continue };
        let present = systems_on(&[(path.display().to_string(), &disk)]);
        let is_same = |system: &System| {
            let has_host = |host: &String| hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
            let has_id = |id: &String| image.systems.iter().any(|known| known.id.as_ref() == Some(id));
            system.host.as_ref().is_some_and(has_host) || system.id.as_ref().is_some_and(has_id)
        };
        if present.iter().any(is_same) {
            continue;
        }
        let named = present.iter().filter(|system| is_cluster || !system.clusters.is_empty());
        let Some(found) = named.filter_map(|system| system.host.as_ref()).next() else { continue };
        if !confirmed.contains(found) && !operator.allow_other_node(path, found, saved) {
            let message = t!("failure.other_node", disk = path.display(), found = found, saved = saved);
            return Err(Failure::refused("other-node", &message).unless_confirmed(found));
        }
    }
    Ok(())
}

/// The other attached disks that carry one of these identities already: the machine would have two of the same.
fn disks_with_same_identity(
    identities: &[layout::Identity],
    destinations: &[PathBuf],
    attached: &[Attached],
) -> Vec<(String, Attached)> {
    let is_destination = |disk: &Attached| destinations.iter().any(|path| device::is_path_of(disk, path));
    let others = attached.iter().filter(|disk| !is_destination(disk));
    let mut found = Vec::new();
    for disk in others {
        // A disk that can't be read can't be compared; it is not touched either.
        let Ok(open) = device::SourceDisk::look(&disk.path) else { continue };
        let Ok(present) = layout::read(&open) else { continue };
        let shared = layout::identities(&present).into_iter().filter(|identity| identities.contains(identity));
        found.extend(shared.map(|identity| (identity.value, disk.clone())));
    }
    found
}
