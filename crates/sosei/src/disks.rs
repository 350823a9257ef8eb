//! Disks as an operator names them, and their names in images.

use std::path::{Path, PathBuf};

use crate::language::t;
use device::{Attached, DestinationDisk, SourceDisk};
use image::{DiskIdentity, Manifest};

use crate::failure::Failure;

/// What a disk is, for the manifest.
pub fn identity_of(disk: &Attached) -> DiskIdentity {
    DiskIdentity {
        path: disk.path.display().to_string(),
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        wwn: disk.wwn.clone(),
        transport: disk.transport.clone(),
        physical_sector_size: disk.physical_sector_size,
    }
}

/// Opens a disk to save it.
pub fn open_source(path: &Path) -> Result<SourceDisk, Failure> {
    SourceDisk::open(path).map_err(Failure::from)
}

/// Opens a disk to overwrite it.
pub fn open_destination(path: &Path) -> Result<DestinationDisk, Failure> {
    DestinationDisk::open(path).map_err(Failure::from)
}

/// Names for disks in an image: the last part of the path, as `sda`, in plain characters and different from each other.
pub fn names_of(paths: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for path in paths {
        // /dev/disk/by-id/… is named after what it means now.
        let real =
            if path.starts_with("/dev") { path.canonicalize().unwrap_or_else(|_| path.clone()) } else { path.clone() };
        let stem = real.file_stem().unwrap_or_default().to_string_lossy();
        let plain: String =
            stem.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect();
        let plain = if plain.is_empty() { "disk".to_owned() } else { plain };
        let mut name = plain.clone();
        let mut number = 2_u32;
        while names.contains(&name) {
            name = format!("{plain}_{number}");
            number = number.saturating_add(1);
        }
        names.push(name);
    }
    names
}

/// Refuses a disk that was named twice, also by another of its names or another path to it: an image would hold it twice, and a
/// restore would overwrite one disk with another.
pub fn refuse_twice<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> Result<(), Failure> {
    refuse_twice_among(paths, &device::attached())
}

fn refuse_twice_among<'a>(paths: impl Iterator<Item = &'a PathBuf>, attached: &[Attached]) -> Result<(), Failure> {
    let mut seen: Vec<&PathBuf> = Vec::new();
    for path in paths {
        if seen.iter().any(|other| device::is_one_disk(attached, other, path)) {
            return Err(Failure::usage("disk-twice", &t!("failure.disk_twice", disk = path.display())));
        }
        seen.push(path);
    }
    Ok(())
}

/// The disks of an image, for [`assign`].
pub fn disks_of(manifest: &Manifest) -> Vec<(&str, &DiskIdentity)> {
    manifest.disks.iter().map(|disk| (disk.name.as_str(), &disk.identity)).collect()
}

/// Every path that arguments `[SOURCE=]DISK` can mean, before an image is known that tells which.
pub fn paths_of(arguments: &[String]) -> Vec<PathBuf> {
    let parts = |argument: &String| {
        let behind = argument.split_once('=').map(|(_, path)| PathBuf::from(path));
        std::iter::once(PathBuf::from(argument)).chain(behind).collect::<Vec<_>>()
    };
    arguments.iter().flat_map(parts).collect()
}

/// Which disk of an image an argument `[SOURCE=]DISK` means, and the path of the disk.
///
/// Without `SOURCE=`, a single disk of an image goes to the single disk that is named; among several,
/// only a disk that is the very same (by WWN or serial number) is taken without asking: an order or a
/// name like `sda` says nothing about which disk it is.
pub fn assign(known: &[(&str, &DiskIdentity)], arguments: &[String]) -> Result<Vec<(String, PathBuf)>, Failure> {
    let mut assigned: Vec<(String, PathBuf)> = Vec::new();
    for argument in arguments {
        let named = argument.split_once('=').filter(|(name, _)| known.iter().any(|(known, _)| known == name));
        if let Some((name, path)) = named
            && Path::new(argument).exists()
        {
            // A file may have a name with an equals sign in it.
            let known = format!("{name}=./{argument}, {name}=./{path}");
            return Err(Failure::usage("disk-unclear", &t!("failure.disk_unclear", disk = argument, known = known)));
        }
        let (name, path) = match named {
            Some((name, path)) => (name.to_owned(), PathBuf::from(path)),
            None => (find_disk(known, arguments, argument)?, PathBuf::from(argument)),
        };
        if assigned.iter().any(|(other, _)| *other == name) {
            return Err(Failure::usage("disk-twice", &t!("failure.disk_twice", disk = name)));
        }
        assigned.push((name, path));
    }
    refuse_twice(assigned.iter().map(|(_, path)| path))?;
    Ok(assigned)
}

fn find_disk(known: &[(&str, &DiskIdentity)], arguments: &[String], path: &str) -> Result<String, Failure> {
    if let ([(name, _)], [_]) = (known, arguments) {
        return Ok((*name).to_owned());
    }
    let present = device::identify(Path::new(path));
    let same = |saved: &DiskIdentity| {
        let equal = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        equal(&saved.wwn, &present.wwn) || equal(&saved.serial, &present.serial)
    };
    let mut found = known.iter().filter(|(_, identity)| same(identity));
    match (found.next(), found.next()) {
        (Some((name, _)), None) => Ok((*name).to_owned()),
        _ => {
            let known: Vec<_> = known.iter().map(|(name, _)| format!("{name}={path}")).collect();
            let known = known.join(", ");
            Err(Failure::usage("disk-unclear", &t!("failure.disk_unclear", disk = path, known = known)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_named_twice_by_each_of_its_paths() {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["sda", "sdb", "sdc"].map(|name| directory.path().join(name));
        paths.iter().for_each(|path| std::fs::write(path, "").unwrap());
        let shared = Attached { path: paths[0].clone(), other_paths: vec![paths[1].clone()], ..Attached::default() };
        let refused = refuse_twice_among(paths.iter(), std::slice::from_ref(&shared)).unwrap_err();
        assert_eq!((refused.code.as_str(), refused.message.contains("sdb")), ("disk-twice", true), "{refused:?}");
        refuse_twice_among([&paths[0], &paths[2]].into_iter(), &[shared]).unwrap();
    }

    #[test]
    fn disks_have_plain_and_different_names() {
        let paths = ["/tmp/a/node.img", "/tmp/b/node.img", "/tmp/サーバ.raw", "/tmp/v1.2.img"].map(PathBuf::from);
        assert_eq!(names_of(&paths), ["node", "node_2", "___", "v1_2"]);
    }
}
