//! `usb:LABEL`: the file system with this label or UUID, on whatever disk it is, mounted while it is needed.
//!
//! It is mounted on a directory that only this user can enter, and unmounted when the target is closed, after
//! errors as well; unmounting writes everything that is left. A disk that the same command reads or overwrites is
//! never mounted: mounting alone may change it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use block::ReadAt;
use device::Writable;
use repository::DirectoryStore;
use rust_i18n::t;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::Target;
use crate::failure::Failure;

/// Where file systems and exports are mounted.
pub const DIRECTORY: &str = "/run/sosei";
/// What mounts NTFS where the kernel can't.
const NTFS: &str = "ntfs-3g";

/// A file system that may be a target.
struct Found {
    /// Its block device.
    device: PathBuf,
    /// The whole disk that it lies on.
    disk: PathBuf,
    file_system: filesystem::FileSystem,
}

/// Opens the directory `path` of the file system called `label`, for a command that works with `disks`.
pub fn open(text: &str, label: &str, path: &str, disks: &[PathBuf]) -> Result<Target, Failure> {
    let found = find(text, label)?;
    for disk in disks {
        if device::is_same(disk, &found.disk) || device::is_same(disk, &found.device) {
            return Err(Failure::repository_disk(&disk.display().to_string(), text));
        }
    }
    let mounted = Mounted::new(text, &found)?;
    let directory = mounted.directory.join(path);
    let store = DirectoryStore::open(&directory).map_err(|error| Failure::target_absent(text, &error))?;
    Ok(Target::mounted(store, super::Mounted::Disk(mounted)))
}

/// The attached file systems by their label, or by their UUID where they have none, and what each is.
pub fn volumes() -> Vec<(String, String)> {
    let named = attached().into_iter().filter_map(|found| {
        let label = found.file_system.label.filter(|label| !label.is_empty()).or(found.file_system.uuid)?;
        Some((label, format!("{}  {}", found.file_system.kind, found.device.display())))
    });
    named.collect()
}

/// The one file system of this label or UUID.
fn find(text: &str, label: &str) -> Result<Found, Failure> {
    let all = attached();
    let is_meant = |found: &&Found| {
        let uuid = found.file_system.uuid.as_deref();
        found.file_system.label.as_deref() == Some(label) || uuid.is_some_and(|uuid| uuid.eq_ignore_ascii_case(label))
    };
    let mut meant: Vec<&Found> = all.iter().filter(is_meant).collect();
    // A loop device over a disk, or two paths to one, show the same file system twice; nobody can tell which is it.
    let devices: Vec<_> = meant.iter().map(|found| found.device.display().to_string()).collect();
    match (meant.pop(), meant.pop()) {
        (Some(found), None) => {
            let Found { device, disk, file_system } = found;
            Ok(Found { device: device.clone(), disk: disk.clone(), file_system: file_system.clone() })
        }
        (Some(_), Some(_)) => {
            let devices = devices.join(", ");
            Err(Failure::usage("usb-ambiguous", &t!("failure.usb_ambiguous", label = label, devices = devices)))
        }
        _ => {
            let known: Vec<_> = all.iter().filter_map(|found| found.file_system.label.clone()).collect();
            Err(Failure::target_missing(
                "usb-absent",
                &t!("failure.usb_absent", target = text, known = known.join(", ")),
            ))
        }
    }
}

/// Every file system on the attached disks and their partitions.
fn attached() -> Vec<Found> {
    let mut all = Vec::new();
    for disk in device::attached() {
        for device in device::with_partitions(&disk.path) {
            // What can't be read is not the disk that is looked for.
            let Ok(node) = Node::open(&device) else { continue };
            if let Some(file_system) = filesystem::identify(&node) {
                all.push(Found { device, disk: disk.path.clone(), file_system });
            }
        }
    }
    all
}

/// A block device that is only looked at.
struct Node {
    file: File,
    size: u64,
}

impl Node {
    fn open(path: &Path) -> io::Result<Self> {
        use std::io::{Seek, SeekFrom};
        let mut file = File::open(path)?;
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self { file, size })
    }
}

impl ReadAt for Node {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
}

/// A file system that is mounted, by this program or before.
pub struct Mounted {
    device: PathBuf,
    directory: PathBuf,
    /// Whether it goes away with this value.
    is_own: bool,
    /// What lets a disk of the live medium be written to, until it is unmounted.
    writable: Option<Writable>,
}

impl Mounted {
    fn new(text: &str, found: &Found) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let device = found.device.display().to_string();
            let details = format!("{} ({})", error, found.file_system.kind);
            let next = t!("next.mount");
            let message = t!("failure.usb_mount", target = text, device = device, details = details);
            Failure { next: next.into_owned(), ..Failure::target_missing("usb-mount", &message) }
        };
        if let Some(mounted) = Self::existing(&found.device) {
            return Ok(mounted);
        }
        let name = found.device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let directory = Path::new(DIRECTORY).join(format!("{name}-{}", std::process::id()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        let writable = Writable::lift(&found.device).map_err(|error| failed(io::Error::other(error)))?;
        let mounted = Self { device: found.device.clone(), directory, is_own: true, writable };
        let kind = match found.file_system.kind.as_str() {
            // One driver for all three.
            "ext2" | "ext3" => "ext4",
            "ntfs" => "ntfs3",
            other => other,
        };
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        match mount(&found.device, &mounted.directory, kind, flags, None) {
            Ok(()) => Ok(mounted),
            Err(Errno::NODEV) if kind == "ntfs3" => mounted.mount_in_user_space().map_err(failed),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// For kernels without the driver, as that of the live medium: NTFS by a program of the system.
    fn mount_in_user_space(self) -> io::Result<Self> {
        let mut command = Command::new(NTFS);
        command.args(["-o", "nodev,nosuid,noexec"]).arg(&self.device).arg(&self.directory);
        let said = match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => return Ok(self),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
            Err(error) => error.to_string(),
        };
        Err(io::Error::other(format!("{NTFS}: {said}")))
    }

    /// Where the system has mounted a device for writing already. One that this program left behind, because it was
    /// killed, is its own again.
    fn existing(device: &Path) -> Option<Self> {
        let number = fs::metadata(device).ok()?.rdev();
        let wanted = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
        let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
        // Source: proc(5), mountinfo: id, parent, device, root, mount point, options.
        let point = table.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>().as_slice() {
            [_, _, device, "/", point, options, ..] if *device == wanted && options.split(',').any(|o| o == "rw") => {
                Some(unescape(point))
            }
            _ => None,
        })?;
        let directory = PathBuf::from(point);
        let is_own = directory.starts_with(DIRECTORY);
        // Where it was left behind, so was its disk without protection.
        let writable = is_own.then(|| Writable::lift(device).ok().flatten()).flatten();
        Some(Self { device: device.to_owned(), directory, is_own, writable })
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.is_own {
            return;
        }
        match unmount(&self.directory, UnmountFlags::empty()) {
            Ok(()) => {
                // What the disk itself keeps is written too, before somebody pulls it out.
                let _ = File::open(&self.device).and_then(|device| device.sync_all());
            }
            // It was never mounted.
            Err(Errno::INVAL) => {}
            // Another session that uses it too keeps it busy; the last one unmounts it.
            Err(_) => {
                if let Some(writable) = self.writable.take() {
                    writable.keep();
                }
                return;
            }
        }
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Spaces and the like stand as three octal digits in the table of mounts.
fn unescape(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escaped, character)| text.replace(escaped, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_in_the_table_of_mounts_are_read() {
        assert_eq!(unescape("/mnt/My\\040Disk\\134x"), "/mnt/My Disk\\x");
    }
}
