//! Who uses a disk: mounts, loop devices, arrays; and which disks lie under a directory.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::mounts;

/// More loop devices over each other than this are not followed.
const LOOPS_LIMIT: usize = 16;

/// The name of a block device in sysfs, as `sda1`, following links as `/dev/disk/by-id/…`.
pub fn kernel_name(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    metadata.file_type().is_block_device().then(|| name_of_number(metadata.rdev())).flatten()
}

fn name_of_number(device: u64) -> Option<String> {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let link = fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// Whether the block device at `path` is a partition of another.
pub fn is_partition(path: &Path) -> bool {
    kernel_name(path).is_some_and(|name| {
        let directory = Path::new("/sys/class/block").join(name);
        // Partitions of multipath and other mapped devices are mapped devices themselves.
        let mapped = fs::read_to_string(directory.join("dm/uuid")).unwrap_or_default();
        directory.join("partition").exists() || mapped.starts_with("part")
    })
}

/// The kernel's name of the whole disk that a block device is, or is a partition of.
pub fn whole_disk(path: &Path) -> Option<String> {
    let name = kernel_name(path)?;
    let directory = Path::new("/sys/class/block").join(&name);
    if !directory.join("partition").exists() {
        return Some(name);
    }
    let partition = fs::canonicalize(directory).ok()?;
    Some(partition.parent()?.file_name()?.to_string_lossy().into_owned())
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

/// A disk and its partitions, as the kernel knows them: all that a file system may lie on.
pub fn with_partitions(disk: &Path) -> Vec<PathBuf> {
    let partitions = kernel_name(disk).map(|name| partitions_of(&name)).unwrap_or_default();
    let partitions = partitions.into_iter().map(|name| Path::new("/dev").join(name));
    std::iter::once(disk.to_owned()).chain(partitions).collect()
}

/// The names in a directory, in ascending order; none where it does not exist.
pub fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What tells one file from another, by whatever name or mount it is reached: device and inode.
type FileIdentity = (u64, u64);

fn identity(path: &Path) -> Option<FileIdentity> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The file that holds the bytes of a regular file or of a loop device.
pub fn backing_file(path: &Path) -> Option<PathBuf> {
    if fs::metadata(path).ok()?.is_file() {
        return Some(path.to_owned());
    }
    backing_of_loop(&kernel_name(path)?)
}

fn backing_of_loop(name: &str) -> Option<PathBuf> {
    let backing = fs::read_to_string(format!("/sys/class/block/{name}/loop/backing_file")).ok()?;
    Some(PathBuf::from(backing.trim_end_matches('\n')))
}

/// Another loop device over the same file as a regular file or loop device, or one over a disk or a partition of it,
/// as `attached as /dev/loop3`.
pub fn loop_device_of(path: &Path) -> Option<String> {
    let own_name = kernel_name(path);
    let disk = whole_disk(path);
    let file = backing_file(path).and_then(|file| identity(&file));
    let others = names_in(Path::new("/sys/block")).into_iter().filter(|name| Some(name) != own_name.as_ref());
    let is_over = |name: &String| {
        let Some(backing) = backing_of_loop(name) else { return false };
        (file.is_some() && identity(&backing) == file) || (disk.is_some() && whole_disk(&backing) == disk)
    };
    others.filter(is_over).map(|name| format!("attached as /dev/{name}")).next()
}

/// The block device that a loop device shows again under another name; `None` for what is no loop device, and for one
/// over a file.
pub fn device_behind_loop(path: &Path) -> Option<PathBuf> {
    let backing = backing_of_loop(&kernel_name(path)?)?;
    fs::metadata(&backing).ok()?.file_type().is_block_device().then_some(backing)
}

/// The whole disks behind a loop device over a block device, as `/dev/sda`; empty for everything else.
pub fn disks_behind(path: &Path) -> Vec<PathBuf> {
    disks_of(device_behind_loop(path).as_deref().and_then(kernel_name).into_iter().collect())
}

/// The whole disks that the file system under `directory` lies on, as `/dev/sda`: through
/// partitions, arrays, volume groups and loop devices. Empty for network file systems and memory.
pub fn disks_under(directory: &Path) -> Vec<PathBuf> {
    disks_of(devices_under(directory))
}

/// The names of the block devices that hold a file, or that a device node means.
fn devices_under(path: &Path) -> Vec<String> {
    let Ok(metadata) = fs::metadata(path) else { return Vec::new() };
    if metadata.file_type().is_block_device() {
        return name_of_number(metadata.rdev()).into_iter().collect();
    }
    match name_of_number(metadata.dev()) {
        Some(name) => vec![name],
        // File systems of several devices have a number that is no device's.
        None => devices_of_mount(path),
    }
}

/// The block devices of the mount that a file lies in, as the table of mounts and the file system itself name them.
fn devices_of_mount(path: &Path) -> Vec<String> {
    // The number in the table of mounts differs from that of the files of a Btrfs: the mount itself is asked for.
    let Some(mount) = mount_of(path) else { return Vec::new() };
    let named: Vec<String> = mount.sources().iter().filter_map(|source| kernel_name(source)).collect();
    if mount.kind != "btrfs" {
        return named;
    }
    // One device is in the table, whichever was mounted.
    let registry = Path::new("/sys/fs/btrfs");
    let all = names_in(registry).into_iter().map(|id| names_in(&registry.join(id).join("devices")));
    let all: Vec<Vec<String>> = all.collect();
    let own = all.iter().find(|devices| named.iter().any(|name| devices.contains(name)));
    match own {
        Some(devices) => devices.clone(),
        // Better one disk too many than the one that matters forgotten.
        None if named.is_empty() => all.concat(),
        None => named,
    }
}

fn mount_of(path: &Path) -> Option<mounts::Mount> {
    // Only its place is asked for: opening a pipe would wait for somebody who writes.
    let flags = i32::try_from(OFlags::PATH.bits()).ok()?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts::mount_with_id(&table, mounts::id_in(&about)?)
}

/// The whole disks under block devices.
fn disks_of(devices: Vec<String>) -> Vec<PathBuf> {
    let mut disks = Vec::new();
    let mut queue = devices;
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
        queue.extend(backing_of_loop(&name).iter().flat_map(|backing| devices_under(backing)));
        disks.push(Path::new("/dev").join(name.replace('!', "/")));
    }
    disks
}

/// Whether the file under a regular file or loop device lies in one of the directories or below, by whatever
/// name, mount or link it is reached.
pub fn is_inside(disk: &Path, directories: &[PathBuf]) -> bool {
    let inside: Vec<FileIdentity> = directories.iter().filter_map(|directory| identity(directory)).collect();
    let file = backing_file(disk).and_then(|file| file.canonicalize().ok());
    file.is_some_and(|file| file.ancestors().skip(1).filter_map(identity).any(|ancestor| inside.contains(&ancestor)))
}

/// Whether the file under a disk has other names (hard links), so that nobody can tell whose it is.
pub fn has_other_names(disk: &Path) -> bool {
    let metadata = backing_file(disk).and_then(|file| fs::metadata(file).ok());
    metadata.is_some_and(|metadata| metadata.nlink() > 1)
}

/// Whether two disks are the same device or the same file. A loop device over a block device is the whole disk behind
/// it.
pub fn is_same(one: &Path, other: &Path) -> bool {
    let (one, other) = (&behind_loops(one), &behind_loops(other));
    let files = |path: &Path| backing_file(path).and_then(|file| identity(&file));
    match (files(one), files(other)) {
        (Some(one), Some(other)) => one == other,
        _ => kernel_name(one).is_some_and(|name| Some(name) == kernel_name(other)),
    }
}

fn behind_loops(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // Each is attached over another, and none over itself; the kernel is not trusted for that.
    for _ in 0..LOOPS_LIMIT {
        let Some(device) = device_behind_loop(&path) else { break };
        let disk = whole_disk(&device).map(|name| Path::new("/dev").join(name.replace('!', "/")));
        path = disk.unwrap_or(device);
    }
    path
}
