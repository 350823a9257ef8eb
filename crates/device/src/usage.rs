//! Who uses a disk: mounts, loop devices, arrays; and which disks lie under a directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The name of a block device in sysfs, as `sda1`, following links as `/dev/disk/by-id/…`.
pub fn kernel_name(path: &Path) -> Option<String> {
    let device = fs::metadata(path).ok()?.rdev();
    name_of_number(device)
}

fn name_of_number(device: u64) -> Option<String> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let link = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Whether the block device at `path` is a partition of another.
pub fn is_partition(path: &Path) -> bool {
    kernel_name(path).is_some_and(|name| Path::new("/sys/class/block").join(name).join("partition").exists())
}

/// What holds a block device or one of its partitions, for a message.
pub fn holders(path: &Path) -> String {
    let Some(name) = kernel_name(path) else { return "in use".into() };
    let mut devices = vec![name.clone()];
    devices.extend(partitions_of(&name));
    let mut found = Vec::new();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    for device in devices {
        let node = format!("/dev/{device}");
        for line in mounts.lines().filter(|line| line.split(' ').next() == Some(&node)) {
            found.push(format!("{device} is mounted on {}", line.split(' ').nth(1).unwrap_or_default()));
        }
        if swaps.lines().any(|line| line.split_whitespace().next() == Some(&node)) {
            found.push(format!("{device} is swap"));
        }
        for holder in names_in(&Path::new("/sys/class/block").join(&device).join("holders")) {
            found.push(format!("{device} is part of {holder}"));
        }
    }
    if found.is_empty() { "opened exclusively by another program".into() } else { found.join(", ") }
}

fn partitions_of(disk: &str) -> Vec<String> {
    let directory = Path::new("/sys/class/block").join(disk);
    names_in(&directory).into_iter().filter(|name| directory.join(name).join("partition").exists()).collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The loop device that is attached to a file, as `/dev/loop3`.
pub fn loop_device_of(file: &Path) -> Option<String> {
    let file = fs::metadata(file).ok()?;
    names_in(Path::new("/sys/block")).into_iter().filter(|name| name.starts_with("loop")).find_map(|name| {
        let backing = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
        let backing = fs::metadata(backing.trim_end_matches('\n')).ok()?;
        ((backing.dev(), backing.ino()) == (file.dev(), file.ino())).then(|| format!("attached as /dev/{name}"))
    })
}

/// The whole disks that the file system under `directory` lies on, as `/dev/sda`: through
/// partitions, arrays, volume groups and loop devices. Empty for network file systems and memory.
pub fn disks_under(directory: &Path) -> Vec<PathBuf> {
    let Ok(metadata) = fs::metadata(directory) else { return Vec::new() };
    let mut disks = Vec::new();
    let mut queue: Vec<String> = name_of_number(metadata.dev()).into_iter().collect();
    // Each device is looked at once; stacks of devices have no loops, but sysfs is not trusted for that.
    let mut seen: Vec<String> = Vec::new();
    while let Some(name) = queue.pop() {
        if seen.contains(&name) {
            continue;
        }
        seen.push(name.clone());
        let directory = Path::new("/sys/class/block").join(&name);
        if directory.join("partition").exists() {
            let parent = fs::canonicalize(&directory).ok().and_then(|path| Some(path.parent()?.to_owned()));
            queue.extend(parent.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned())));
            continue;
        }
        queue.extend(names_in(&directory.join("slaves")));
        if let Ok(backing) = fs::read_to_string(directory.join("loop/backing_file")) {
            let backing = fs::metadata(backing.trim_end_matches('\n')).ok();
            queue.extend(backing.and_then(|backing| name_of_number(backing.dev())));
        }
        disks.push(Path::new("/dev").join(name));
    }
    disks
}

/// Whether a file lies in a directory or below it.
pub fn is_inside(file: &Path, directory: &Path) -> bool {
    match (file.canonicalize(), directory.canonicalize()) {
        (Ok(file), Ok(directory)) => file.starts_with(directory),
        _ => false,
    }
}
