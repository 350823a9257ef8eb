//! What disks are attached, and what they are by themselves: from sysfs, without opening them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::paths;
use crate::protection;
use crate::usage::{kernel_name, names_in};

/// A disk, by what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// The device or file.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Model, with the vendor before it where the disk says one.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World-wide name, as the kernel prints it.
    pub wwn: Option<String>,
    /// How it is connected: `sata`, `sas`, `nvme`, `usb`, `fc`, `iscsi`, `tcp`, `rdma`, `multipath`,
    /// `virtio`, `loop`, `file`, `scsi`.
    pub transport: Option<String>,
    /// Bytes of a physical sector.
    pub physical_sector_size: Option<u32>,
    /// Whether it can't be overwritten: the kernel refuses to write to it, and not because the live medium asked for
    /// that. What the medium protects is made writable when a session takes it as its destination.
    pub is_read_only: bool,
    /// Other ways to the same disk: it is offered once.
    pub other_paths: Vec<PathBuf>,
}

/// All whole disks that the kernel knows, in the order of their names. Memory disks, optical drives and
/// devices that are made of others (arrays, volumes) are left out, and so are loop devices without a file. A disk that
/// is reached on several paths is one disk: the first path that works, or the device that joins them.
pub fn attached() -> Vec<Attached> {
    let mut names: Vec<String> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !["ram", "zram", "sr", "fd", "dm-", "md"].iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    // sda before sdaa, loop2 before loop10.
    names.sort_by_key(|name| (name.len(), name.clone()));
    let disks = names.iter().map(|name| identify(&Path::new("/dev").join(name)));
    paths::join(disks.filter(|disk| disk.size > 0).collect())
}

/// What the disk at `path` is. What can't be found out is `None`.
pub fn identify(path: &Path) -> Attached {
    let Some(name) = kernel_name(path).filter(|name| Path::new("/sys/block").join(name).exists()) else {
        let size = fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
        return Attached { path: path.into(), size, transport: Some("file".into()), ..Attached::default() };
    };
    let directory = Path::new("/sys/block").join(&name);
    let number = |file: &str| attribute(&directory, file).and_then(|text| text.parse::<u64>().ok());
    let model = [attribute(&directory, "device/vendor"), attribute(&directory, "device/model")];
    // "ATA" is the kernel's word for a disk that has no vendor field.
    let model: Vec<_> = model.into_iter().flatten().filter(|part| part != "ATA" && !part.starts_with("0x")).collect();
    Attached {
        path: path.into(),
        // The kernel counts in units of 512 bytes, whatever the sector size.
        size: number("size").unwrap_or_default().saturating_mul(512),
        model: (!model.is_empty()).then(|| model.join(" ")),
        serial: serial(&directory),
        wwn: attribute(&directory, "wwid").or_else(|| attribute(&directory, "device/wwid")),
        transport: transport(&name, &directory),
        physical_sector_size: number("queue/physical_block_size").and_then(|size| u32::try_from(size).ok()),
        is_read_only: number("ro") == Some(1) && !protection::is_by_medium(&name),
        other_paths: Vec::new(),
    }
}

/// Whether the kernel refuses to write to the disk at `path` at this moment, for whatever reason.
pub fn is_write_protected(path: &Path) -> bool {
    let flag = kernel_name(path).and_then(|name| attribute(&Path::new("/sys/class/block").join(name), "ro"));
    flag.as_deref() == Some("1")
}

fn attribute(directory: &Path, file: &str) -> Option<String> {
    let text = fs::read_to_string(directory.join(file)).ok()?;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!text.is_empty()).then_some(text)
}

fn serial(directory: &Path) -> Option<String> {
    let plain = attribute(directory, "device/serial").or_else(|| attribute(directory, "serial"));
    plain.or_else(|| {
        // VPD page 0x80: four bytes of header, then the serial number (SPC-4, 7.8.18).
        let page = fs::read(directory.join("device/vpd_pg80")).ok()?;
        let text = String::from_utf8_lossy(page.get(4..)?).trim_matches(|c: char| c == '\0' || c == ' ').to_owned();
        (!text.is_empty()).then_some(text)
    })
}

/// The kernel's path of a device names every bus on the way to it.
fn transport(name: &str, directory: &Path) -> Option<String> {
    let path = fs::canonicalize(directory).ok()?.display().to_string();
    let by_path = [
        ("/usb", "usb"),
        ("/rport-", "fc"),
        ("/session", "iscsi"),
        ("/end_device-", "sas"),
        ("/ata", "sata"),
        ("/nvme", "nvme"),
        ("/virtio", "virtio"),
        ("/host", "scsi"),
    ];
    if name.starts_with("loop") {
        return Some("loop".into());
    }
    if let Some(below) = names_in(&directory.join("slaves")).first() {
        // A multipath or mapped device is connected as what it is made of.
        let mapped = attribute(directory, "dm/uuid").unwrap_or_default();
        let is_multipath = mapped.starts_with("mpath-");
        let transport = || transport(below, &Path::new("/sys/class/block").join(below));
        return if is_multipath { Some("multipath".into()) } else { transport() };
    }
    // NVMe over a fabric: fc, tcp, rdma.
    if let Some(fabric) = attribute(directory, "device/transport").filter(|fabric| fabric != "pcie") {
        return Some(fabric);
    }
    by_path.iter().find(|(part, _)| path.contains(part)).map(|(_, transport)| (*transport).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_identified_by_its_size() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(12345).unwrap();
        let disk = identify(file.path());
        assert_eq!((disk.size, disk.transport.as_deref()), (12345, Some("file")));
    }

    #[test]
    fn the_disk_that_this_test_runs_from_is_attached() {
        let under = crate::disks_under(Path::new("/"));
        let attached: Vec<_> = attached().into_iter().map(|disk| disk.path).collect();
        assert!(under.iter().all(|disk| attached.contains(disk)), "{under:?} {attached:?}");
    }
}
