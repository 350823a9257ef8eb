//! `usb:LABEL`: the file system with this label or UUID, on whatever disk it is, mounted while it is needed.
//!
//! It is mounted on a directory that only this user can enter, and unmounted when the target is closed, after
//! errors as well; unmounting writes everything that is left. Mounting alone may change a disk: so one that the same
//! command reads or overwrites, or that others may use, is never mounted, and whoever does not save mounts it read-only,
//! without the journal.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::language::t;
use block::ReadAt;
use device::{Attached, Writable};
use repository::{DirectoryStore, Watch};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{Target, Use};
use crate::failure::Failure;
use crate::helper::helper;
use crate::sharing;

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
pub fn open(text: &str, label: &str, path: &str, disks: &[PathBuf], purpose: Use) -> Result<Target, Failure> {
    let attached = device::attached();
    let found = find(text, label, &attached)?;
    for disk in disks {
        if device::is_one_disk(&attached, disk, &found.disk) || device::is_same(disk, &found.device) {
            return Err(Failure::repository_disk(&disk.display().to_string(), text));
        }
    }
    // Before anything is mounted: another node may have mounted it, and what it writes is lost then.
    sharing::refuse_repository_on(&sharing::guard(&attached, &[]), &found.disk)?;
    let mounted = Mounted::new(text, &found, purpose)?;
    let directory = super::below(text, &mounted.directory, path)?;
    let store = DirectoryStore::open(&directory).map_err(|error| Failure::target_absent(text, &error))?;
    Ok(Target::in_directory(store, Watch::default(), Some(super::Mounted::Disk(mounted))))
}

/// The attached file systems by their label, or by their UUID where they have none, and what each is. Those that are
/// not on USB are most often those of the machine itself: they come last, and are called so.
pub fn volumes() -> Vec<(String, String)> {
    let disks = device::attached();
    let is_on_usb = |path: &Path| {
        let disk = disks.iter().find(|disk| disk.path == path);
        disk.and_then(|disk| disk.transport.as_deref()) == Some("usb")
    };
    let (on_usb, others): (Vec<_>, Vec<_>) =
        file_systems_on(&disks).into_iter().partition(|found| is_on_usb(&found.disk));
    let named = |found: Found, remark: &str| {
        let label = found.file_system.label.filter(|label| !label.is_empty()).or(found.file_system.uuid)?;
        Some((label, format!("{}  {}{remark}", found.file_system.kind, found.device.display())))
    };
    let remark = format!("  ({})", t!("target.not_on_usb"));
    let on_usb = on_usb.into_iter().filter_map(|found| named(found, ""));
    on_usb.chain(others.into_iter().filter_map(|found| named(found, &remark))).collect()
}

/// The one file system of this label or UUID.
fn find(text: &str, label: &str, disks: &[Attached]) -> Result<Found, Failure> {
    let all = file_systems_on(disks);
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
fn file_systems_on(disks: &[Attached]) -> Vec<Found> {
    let mut all = Vec::new();
    for disk in disks {
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
    fn new(text: &str, found: &Found, purpose: Use) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            let device = found.device.display().to_string();
            let details = format!("{} ({})", error, found.file_system.kind);
            let next = t!("next.mount");
            let message = t!("failure.usb_mount", target = text, device = device, details = details);
            Failure { next: next.into_owned(), ..Failure::target_missing("usb-mount", &message) }
        };
        if let Some(mounted) = Self::existing(&found.device, purpose) {
            return Ok(mounted);
        }
        if purpose == Use::Writing {
            clear_abandoned(&found.device);
        }
        let name = found.device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let directory = Path::new(DIRECTORY).join(format!("{name}-{}", std::process::id()));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        let writable = match purpose {
            Use::Reading => None,
            Use::Writing => Writable::lift(&found.device).map_err(|error| failed(io::Error::other(error)))?,
        };
        let mounted = Self { device: found.device.clone(), directory, is_own: true, writable };
        let kind = match found.file_system.kind.as_str() {
            // One driver for all three.
            "ext2" | "ext3" => "ext4",
            "ntfs" => "ntfs3",
            other => other,
        };
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        let (flags, data) = match purpose {
            Use::Reading => (flags | MountFlags::RDONLY, without_journal(kind)),
            Use::Writing => (flags, None),
        };
        match mount(&found.device, &mounted.directory, kind, flags, data) {
            Ok(()) => Ok(mounted),
            Err(Errno::NODEV) if kind == "ntfs3" => mounted.mount_in_user_space(purpose).map_err(failed),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// For kernels without the driver, as that of the live medium: NTFS by a program of the system.
    fn mount_in_user_space(self, purpose: Use) -> io::Result<Self> {
        let mut command = helper(NTFS);
        let options = match purpose {
            Use::Reading => "ro,nodev,nosuid,noexec",
            Use::Writing => "nodev,nosuid,noexec",
        };
        command.args(["-o", options]).arg(&self.device).arg(&self.directory);
        let said = match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => return Ok(self),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; "),
            Err(error) => error.to_string(),
        };
        Err(io::Error::other(format!("{NTFS}: {said}")))
    }

    /// Where the system has mounted a device already, for writing where that is needed. One that this program left
    /// behind, because it was killed, is its own again.
    fn existing(device: &Path, purpose: Use) -> Option<Self> {
        let mut points = mount_points(device).into_iter();
        let (directory, is_writable) = points.find(|(_, writable)| *writable || purpose == Use::Reading)?;
        let is_own = directory.starts_with(DIRECTORY);
        // Where it was left behind, so was its disk without protection.
        let writable = (is_own && is_writable).then(|| Writable::lift(device).ok().flatten()).flatten();
        Some(Self { device: device.to_owned(), directory, is_own, writable })
    }
}

/// What keeps a file system from reading its journal into the disk while it is mounted read-only.
fn without_journal(kind: &str) -> Option<&'static CStr> {
    match kind {
        "ext4" => Some(c"noload"),
        "xfs" | "f2fs" => Some(c"norecovery"),
        "btrfs" => Some(c"rescue=nologreplay"),
        _ => None,
    }
}

/// Where a device is mounted as a whole, and whether for writing.
fn mount_points(device: &Path) -> Vec<(PathBuf, bool)> {
    let number = |path: &Path| fs::metadata(path).map(|metadata| metadata.rdev()).ok().filter(|number| *number > 0);
    let Some(own) = number(device) else { return Vec::new() };
    let wanted = format!("{}:{}", rustix::fs::major(own), rustix::fs::minor(own));
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // Source: proc(5), mountinfo: id, parent, device, root, mount point, options, …, "-", type, source, options.
    let points = table.lines().filter_map(|line| match line.split(' ').collect::<Vec<_>>().as_slice() {
        [_, _, mounted, "/", point, options, rest @ ..] => {
            // Btrfs has a number that is no device's.
            let source =
                rest.iter().skip_while(|field| **field != "-").nth(2).map(|source| device::unescape_mount(source));
            let is_source = || source.is_some_and(|source| number(Path::new(&source)) == Some(own));
            let is_writable = options.split(',').any(|option| option == "rw");
            (*mounted == wanted || is_source()).then(|| (PathBuf::from(device::unescape_mount(point)), is_writable))
        }
        _ => None,
    });
    points.collect()
}

/// Unmounts what a reader left behind that was killed: as long as it is mounted read-only, nobody can write.
fn clear_abandoned(device: &Path) {
    for (directory, _) in mount_points(device).iter().filter(|(directory, _)| directory.starts_with(DIRECTORY)) {
        let process = directory.file_name().and_then(|name| name.to_str()?.rsplit_once('-')?.1.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
            && unmount(directory, UnmountFlags::empty()).is_ok()
        {
            let _ = fs::remove_dir(directory);
        }
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
