//! What must never be overwritten by accident, looked at before a destination is opened for writing.

use std::path::{Path, PathBuf};

use device::Attached;
use rust_i18n::t;

use crate::failure::Failure;
use crate::target::Target;

/// Refuses a disk that holds the repository, as a source or a destination.
pub fn refuse_repository_disk(target: &Target, disk: &Path) -> Result<(), Failure> {
    let Some(directory) = &target.directory else { return Ok(()) };
    // The parts of a repository may be links to other places.
    let parts = ["", "packs", "images", "locks"].map(|part| directory.join(part));
    let under = parts.iter().flat_map(|part| device::disks_under(part)).any(|under| device::is_same(&under, disk));
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

/// Refuses a disk that another machine may use too, unless an operator has named it, knowing that.
pub fn refuse_shared(path: &Path, attached: &[Attached], confirmed: &[String]) -> Result<(), Failure> {
    let disk = device::identify(path);
    match looks_shared(&disk, attached) {
        Some(evidence) if !is_confirmed(&disk, confirmed) => {
            let id = disk.wwn.or(disk.serial).unwrap_or_else(|| path.display().to_string());
            let message = t!("failure.shared", disk = path.display(), evidence = evidence, id = id);
            Err(Failure::refused("shared-disk", &message).unless_confirmed(&id))
        }
        _ => Ok(()),
    }
}

/// Why a disk may be used by another machine too; `None` where nothing says so.
pub fn looks_shared(disk: &Attached, attached: &[Attached]) -> Option<String> {
    if let Some(transport @ ("fc" | "iscsi" | "tcp" | "rdma" | "multipath")) = disk.transport.as_deref() {
        return Some(t!("shared.transport", transport = transport).into_owned());
    }
    let same =
        |other: &&Attached| other.wwn.is_some() && other.wwn == disk.wwn && !device::is_same(&other.path, &disk.path);
    let paths: Vec<_> = attached.iter().filter(same).map(|other| other.path.display().to_string()).collect();
    (!paths.is_empty()).then(|| t!("shared.paths", paths = paths.join(", ")).into_owned())
}

/// Whether an operator has named this disk, knowing what it is.
pub fn is_confirmed(disk: &Attached, confirmed: &[String]) -> bool {
    let path = disk.path.display().to_string();
    let file_name = disk.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let ids = [disk.wwn.as_ref(), disk.serial.as_ref(), Some(&path), file_name.as_ref()];
    ids.into_iter().flatten().any(|id| confirmed.contains(id))
}

/// Refuses two disks with one signature or GUID on one machine: which of them boots or joins a volume is chance.
pub fn refuse_collision(
    identities: &[layout::Identity],
    destinations: &[PathBuf],
    attached: &[Attached],
    confirmed: &[String],
) -> Result<(), Failure> {
    let found = disks_with_same_identity(identities, destinations, attached);
    match found.iter().find(|(_, path)| !confirmed.contains(&path.display().to_string())) {
        Some((id, other)) => {
            let message = t!("failure.same_signature", disk = other.display(), id = id);
            Err(Failure::refused("same-signature", &message).unless_confirmed(&other.display().to_string()))
        }
        None => Ok(()),
    }
}

/// The other attached disks that carry one of these identities already: the machine would have two of the same.
fn disks_with_same_identity(
    identities: &[layout::Identity],
    destinations: &[PathBuf],
    attached: &[Attached],
) -> Vec<(String, PathBuf)> {
    let is_destination = |disk: &Attached| destinations.iter().any(|path| device::is_same(path, &disk.path));
    let others = attached.iter().filter(|disk| !is_destination(disk));
    let mut found = Vec::new();
    for disk in others {
        // A disk that can't be read can't be compared; it is not touched either.
        let Ok(open) = device::SourceDisk::look(&disk.path) else { continue };
        let Ok(present) = layout::read(&open) else { continue };
        let shared = layout::identities(&present).into_iter().filter(|identity| identities.contains(identity));
        found.extend(shared.map(|identity| (identity.value, disk.path.clone())));
    }
    found
}
