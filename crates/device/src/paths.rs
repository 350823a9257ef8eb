//! Paths: one disk that the kernel shows several times, and ways to a disk that other machines can take as well.

use std::fs;
use std::path::{Path, PathBuf};

use crate::attached::{Attached, identify};
use crate::usage::{kernel_name, names_in};

/// Disks that are the same by their world-wide name become one. The first path that works stands for all, or the
/// multipath device where one joins them: as long as it exists, the paths are held by it.
pub fn join(disks: Vec<Attached>) -> Vec<Attached> {
    let mut joined: Vec<Attached> = Vec::new();
    for disk in disks {
        match joined.iter_mut().find(|other| is_same_disk(other, &disk)) {
            None => joined.push(disk),
            Some(other) if !works(&other.path) && works(&disk.path) => {
                let before = std::mem::replace(other, disk);
                other.other_paths = before.other_paths;
                other.other_paths.push(before.path);
            }
            Some(other) => other.other_paths.push(disk.path),
        }
    }
    joined.into_iter().map(over_multipath).collect()
}

/// Several cheap disks may carry one number: size and serial number must be the same too, and disks on USB are never
/// joined.
fn is_same_disk(one: &Attached, other: &Attached) -> bool {
    let on_usb = [one, other].iter().any(|disk| disk.transport.as_deref() == Some("usb"));
    !on_usb && one.wwn.is_some() && (&one.wwn, one.size, &one.serial) == (&other.wwn, other.size, &other.serial)
}

/// Whether the kernel thinks that the path works. Disks that are no SCSI disks say nothing about it.
fn works(path: &Path) -> bool {
    let state = kernel_name(path).map(|name| Path::new("/sys/block").join(name).join("device/state"));
    let state = state.and_then(|state| fs::read_to_string(state).ok());
    state.is_none_or(|state| matches!(state.trim(), "running" | "live"))
}

/// The multipath device over a disk, in its place.
fn over_multipath(disk: Attached) -> Attached {
    let Some(name) = kernel_name(&disk.path) else { return disk };
    let holders = names_in(&Path::new("/sys/block").join(name).join("holders"));
    let multipath = holders.into_iter().find(|holder| {
        let mapped = fs::read_to_string(Path::new("/sys/block").join(holder).join("dm/uuid"));
        mapped.is_ok_and(|uuid| uuid.starts_with("mpath-"))
    });
    match multipath {
        Some(holder) => {
            let mut whole = identify(&Path::new("/dev").join(holder));
            whole.other_paths = std::iter::once(disk.path).chain(disk.other_paths).collect();
            (whole.model, whole.serial, whole.wwn) = (disk.model, disk.serial, disk.wwn);
            whole
        }
        None => disk,
    }
}

/// Whether `path` is a way to the disk, by whatever name it is written.
pub fn is_path_of(disk: &Attached, path: &Path) -> bool {
    std::iter::once(&disk.path).chain(&disk.other_paths).any(|own| crate::is_same(own, path))
}

/// Whether two paths are ways to one disk, as far as the attached disks tell.
pub fn is_one_disk(attached: &[Attached], one: &Path, other: &Path) -> bool {
    crate::is_same(one, other) || attached.iter().any(|disk| is_path_of(disk, one) && is_path_of(disk, other))
}

/// Why other machines may reach a disk, by the way that it is connected: transport, and what says so.
pub fn reach(disk: &Attached) -> Option<(String, String)> {
    let transport = disk.transport.clone()?;
    match transport.as_str() {
        "fc" | "iscsi" | "tcp" | "rdma" | "multipath" => {
            let place = sysfs_path(&disk.path).map_or_else(String::new, |path| path.display().to_string());
            Some((transport, place))
        }
        "sas" => {
            // Disks behind an expander are in a shelf, and shelves have places for two machines.
            let path = sysfs_path(&disk.path)?.display().to_string();
            let expander = path.split('/').find(|part| part.starts_with("expander-"))?.to_owned();
            Some((transport, expander))
        }
        _ => None,
    }
}

fn sysfs_path(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(Path::new("/sys/block").join(kernel_name(path)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(path: &str, wwn: Option<&str>, serial: &str, size: u64, transport: &str) -> Attached {
        Attached {
            path: path.into(),
            size,
            serial: Some(serial.into()),
            wwn: wwn.map(str::to_owned),
            transport: Some(transport.into()),
            ..Attached::default()
        }
    }

    #[test]
    fn one_disk_on_several_paths_is_offered_once() {
        let joined = join(vec![
            disk("/x/sda", Some("naa.1"), "A", 100, "fc"),
            disk("/x/sdb", Some("naa.2"), "B", 100, "fc"),
            disk("/x/sdc", Some("naa.1"), "A", 100, "fc"),
            disk("/x/sdd", Some("naa.1"), "A", 200, "fc"),
            disk("/x/sde", Some("naa.1"), "Z", 100, "fc"),
            disk("/x/sdf", Some("t10.stick"), "1", 100, "usb"),
            disk("/x/sdg", Some("t10.stick"), "1", 100, "usb"),
            disk("/x/vda", None, "1", 100, "virtio"),
            disk("/x/vdb", None, "1", 100, "virtio"),
        ]);
        let told: Vec<_> = joined.iter().map(|disk| (disk.path.to_str().unwrap(), disk.other_paths.len())).collect();
        let expected = [("/x/sda", 1), ("/x/sdb", 0), ("/x/sdd", 0), ("/x/sde", 0), ("/x/sdf", 0), ("/x/sdg", 0)];
        assert_eq!(told[..6], expected);
        assert_eq!(told[6..], [("/x/vda", 0), ("/x/vdb", 0)]);
        assert_eq!(joined[0].other_paths, [PathBuf::from("/x/sdc")]);
    }

    #[test]
    fn two_paths_of_one_disk_are_one_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| {
            let path = directory.path().join(name);
            fs::write(&path, name).unwrap();
            path
        };
        let [first, second, alone] = ["sda", "sdb", "sdc"].map(path);
        let shared = Attached { path: first.clone(), other_paths: vec![second.clone()], ..Attached::default() };
        let attached = [shared, Attached { path: alone.clone(), ..Attached::default() }];
        assert!(is_one_disk(&attached, &first, &second) && is_one_disk(&attached, &second, &first));
        assert!(!is_one_disk(&attached, &second, &alone) && !is_one_disk(&[], &first, &second));
        assert!(is_one_disk(&[], &alone, &directory.path().join("./sdc")));
    }

    #[test]
    fn networks_of_storage_are_ways_that_others_can_take() {
        for (transport, expected) in
            [("fc", true), ("iscsi", true), ("tcp", true), ("rdma", true), ("multipath", true)].into_iter().chain([
                ("sata", false),
                ("nvme", false),
                ("usb", false),
                ("file", false),
                ("sas", false),
                ("virtio", false),
            ])
        {
            let disk = disk("/x/sda", None, "A", 100, transport);
            assert_eq!(reach(&disk).is_some(), expected, "{transport}");
        }
    }
}
