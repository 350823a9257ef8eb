//! What Linux says about itself: its name, its host, and every line that names a disk, a partition or a file system.

use filesystem::Files;

use super::{Reference, ReferenceKind, System, SystemKind};

const TEXT_LIMIT: u64 = 4 << 20;
/// Files that name devices; those that are not there are passed over.
const REFERRERS: &[&str] = &[
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/default/grub",
    "/etc/mdadm/mdadm.conf",
    "/etc/mdadm.conf",
    "/etc/lvm/devices/system.devices",
    "/etc/multipath/wwids",
    "/etc/multipath/bindings",
    "/etc/multipath.conf",
    "/etc/initramfs-tools/conf.d/resume",
    "/etc/kernel/cmdline",
    "/etc/drbd.conf",
    "/etc/default/sbd",
    "/etc/sysconfig/sbd",
    "/opt/nec/clusterpro/etc/clp.conf",
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/grub/custom.cfg",
    "/boot/grub2/custom.cfg",
    "/boot/refind_linux.conf",
    "/boot/grub2/grubenv",
    "/boot/grub/grubenv",
    "/boot/grub/grub.conf",
    "/boot/grub/menu.lst",
    "/boot/extlinux/extlinux.conf",
    "/etc/lilo.conf",
    "/etc/zipl.conf",
    "/etc/udev/rules.d/70-persistent-net.rules",
];
/// Directories whose files may name devices.
const DIRECTORIES: &[&str] = &[
    "/etc/drbd.d",
    "/boot/loader/entries",
    "/etc/systemd/network",
    "/etc/systemd/system",
    "/etc/default/grub.d",
    "/etc/grub.d",
    "/etc/dracut.conf.d",
    "/etc/cmdline.d",
];
/// Where a partition for /boot or the EFI system partition has these.
const OF_BOOT: &[&str] = &[
    "/grub/grub.cfg",
    "/grub2/grub.cfg",
    "/grub/custom.cfg",
    "/grub2/custom.cfg",
    "/refind_linux.conf",
    "/grub2/grubenv",
    "/grub/grubenv",
    "/grub/grub.conf",
    "/grub/menu.lst",
    "/extlinux/extlinux.conf",
];
const OF_BOOT_DIRECTORIES: &[&str] = &["/loader/entries", "/EFI"];
const REFERENCES_LIMIT: usize = 2000;
/// Names of a directory that are looked at: each costs a walk through it, and no system has more that mean something.
const NAMES_LIMIT: usize = 200;
const TEXT_SHOWN: usize = 300;

/// What a root file system says; `None` where it is none.
pub fn system(place: &str, files: &dyn Files) -> Option<System> {
    let release = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| text(files, path));
    if release.is_none() && !files.exists("/etc/fstab") {
        return None;
    }
    let release = release.unwrap_or_default();
    let old =
        || ["/etc/asianux-release", "/etc/redhat-release", "/etc/SuSE-release"].iter().find_map(|p| text(files, p));
    let name = variable(&release, "PRETTY_NAME").or_else(|| first_line(&old()?));
    let host = text(files, "/etc/hostname").and_then(|text| first_line(&text));
    // Before systemd, Red Hat and its likes keep the name elsewhere.
    let host = host.or_else(|| variable(&text(files, "/etc/sysconfig/network")?, "HOSTNAME"));
    Some(System {
        place: place.to_owned(),
        kind: SystemKind::Linux,
        name,
        host,
        id: text(files, "/etc/machine-id").and_then(|text| first_line(&text)),
        references: references(files),
        ..System::new(place, SystemKind::Linux)
    })
}

/// References in a partition that is only there to boot.
pub fn boot_references(files: &dyn Files) -> Vec<Reference> {
    let mut found = Vec::new();
    boot_referrers(files).iter().for_each(|path| add_file(files, path, &mut found));
    found
}

/// The files that may name disks, partitions or file systems, on a root file system or a partition that is there to
/// boot. Not all of them are there.
pub fn referrers(files: &dyn Files) -> Vec<String> {
    let mut paths = root_referrers(files);
    paths.extend(boot_referrers(files));
    paths
}

fn boot_referrers(files: &dyn Files) -> Vec<String> {
    let mut paths: Vec<String> = OF_BOOT.iter().map(|path| (*path).to_owned()).collect();
    for directory in OF_BOOT_DIRECTORIES {
        for name in files.list(directory).into_iter().take(NAMES_LIMIT) {
            let path = format!("{directory}/{name}");
            // \EFI\debian\grub.cfg names the file system with the rest of the boot loader.
            paths.extend([path.clone(), format!("{path}/grub.cfg"), format!("{path}/grubenv")]);
        }
    }
    paths
}

fn root_referrers(files: &dyn Files) -> Vec<String> {
    let mut paths: Vec<String> = REFERRERS.iter().map(|path| (*path).to_owned()).collect();
    for directory in DIRECTORIES {
        let names = files.list(directory).into_iter().take(NAMES_LIMIT);
        paths.extend(names.map(|name| format!("{directory}/{name}")));
    }
    paths
}

fn references(files: &dyn Files) -> Vec<Reference> {
    let mut found = Vec::new();
    root_referrers(files).iter().for_each(|path| add_file(files, path, &mut found));
    for name in files.list("/boot").iter().filter(|name| name.starts_with("initr")).take(NAMES_LIMIT) {
        // Packed: what is in it is made of the files above when it is made again.
        found.push(Reference {
            file: format!("/boot/{name}"),
            line: 0,
            text: String::new(),
            kind: ReferenceKind::Initramfs,
            value: String::new(),
        });
    }
    found
}

fn add_file(files: &dyn Files, path: &str, found: &mut Vec<Reference>) {
    let Some(text) = text(files, path) else { return };
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for (kind, value) in names_in(line, path) {
            if found.len() >= REFERENCES_LIMIT {
                return;
            }
            let line_number = u64::try_from(number).unwrap_or(u64::MAX).saturating_add(1);
            let text = line.chars().take(TEXT_SHOWN).collect();
            found.push(Reference { file: path.to_owned(), line: line_number, text, kind, value });
        }
    }
}

/// What a line names, each name once.
fn names_in(line: &str, path: &str) -> Vec<(ReferenceKind, String)> {
    let mut found: Vec<(ReferenceKind, String)> = Vec::new();
    let mut add = |kind, value: &str| {
        let value = value.trim_matches(|c: char| "\"'`,;)}]>".contains(c)).to_owned();
        if !value.is_empty() && !found.iter().any(|(_, known)| *known == value) {
            found.push((kind, value));
        }
    };
    // Words end where a path or an identifier can't go on; an equals sign begins a new one behind a tag.
    for word in line.split(|c: char| c.is_whitespace() || "\"'<>;,()".contains(c)) {
        for (tag, kind) in [
            ("PARTUUID=", ReferenceKind::PartitionUuid),
            ("PARTLABEL=", ReferenceKind::PartitionLabel),
            ("UUID=", ReferenceKind::FileSystemUuid),
            ("LABEL=", ReferenceKind::Label),
        ] {
            let is_inside_longer = |at: usize| word.get(..at).is_some_and(|before| before.ends_with("PART"));
            if let Some(at) = word.find(tag).filter(|at| !is_inside_longer(*at)) {
                add(kind, word.get(at.saturating_add(tag.len())..).unwrap_or_default());
            }
        }
        if let Some(at) = word.find("/dev/") {
            let device = word.get(at..).unwrap_or_default();
            if !["/dev/null", "/dev/shm", "/dev/pts", "/dev/console"].iter().any(|other| device.starts_with(other)) {
                add(kind_of_device(device), device);
            }
        }
        if ["/grub.cfg", "/custom.cfg"].iter().any(|name| path.ends_with(name)) && is_uuid(word) {
            add(ReferenceKind::FileSystemUuid, word);
        }
    }
    if path.contains("wwids") || path.contains("bindings") || path.ends_with("system.devices") {
        add(ReferenceKind::Hardware, line);
    }
    if path.ends_with(".link") && line.starts_with("MACAddress=") || path.ends_with("persistent-net.rules") {
        add(ReferenceKind::Hardware, line);
    }
    found
}

fn kind_of_device(device: &str) -> ReferenceKind {
    match device {
        device if device.starts_with("/dev/disk/by-uuid/") => ReferenceKind::FileSystemUuid,
        device if device.starts_with("/dev/disk/by-partuuid/") => ReferenceKind::PartitionUuid,
        device if device.starts_with("/dev/disk/by-id/") || device.starts_with("/dev/disk/by-path/") => {
            ReferenceKind::Hardware
        }
        device if device.starts_with("/dev/mapper/") => ReferenceKind::Mapper,
        _ => ReferenceKind::DeviceName,
    }
}

/// `8-4-4-4-12` digits, or `4-4` as FAT has them.
fn is_uuid(word: &str) -> bool {
    let parts: Vec<_> = word.split('-').map(str::len).collect();
    let is_hexadecimal = word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_hexadecimal && (parts == [8, 4, 4, 4, 12] || parts == [4, 4])
}

/// A small text file.
pub fn text(files: &dyn Files, path: &str) -> Option<String> {
    let bytes = files.read(path, TEXT_LIMIT)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))?;
    Some(line.to_owned())
}

/// The value of `NAME=value` or `NAME="value"`.
pub fn variable(text: &str, name: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    let value = value.trim().trim_matches(|c| c == '"' || c == '\'');
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, line: &str, expected: &[(ReferenceKind, &str)]) {
        let found = names_in(line, path);
        let found: Vec<_> = found.iter().map(|(kind, value)| (*kind, value.as_str())).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn what_boot_loaders_read_beside_their_main_file_is_looked_at() {
        let files = crate::offline::sample::Tree::default();
        let found = referrers(&files);
        for name in ["grub/custom.cfg", "grub2/custom.cfg", "refind_linux.conf"] {
            for path in [format!("/{name}"), format!("/boot/{name}")] {
                assert!(found.contains(&path), "{path}");
            }
        }
    }

    #[test]
    fn lines_name_disks_in_many_ways() {
        use ReferenceKind::{DeviceName, FileSystemUuid, Hardware, Label, Mapper, PartitionUuid};
        let uuid = "0a1b2c3d-0000-4111-8222-333344445555";
        check("/etc/fstab", &format!("UUID={uuid} / ext4 defaults 0 1"), &[(FileSystemUuid, uuid)]);
        check("/etc/fstab", "PARTUUID=22c779e1-01 /boot vfat", &[(PartitionUuid, "22c779e1-01")]);
        check("/etc/fstab", "LABEL=data /data xfs defaults", &[(Label, "data")]);
        check("/etc/fstab", "/dev/sdb2 /mnt ext4", &[(DeviceName, "/dev/sdb2")]);
        check("/etc/fstab", "tmpfs /dev/shm tmpfs", &[]);
        check(
            "/etc/crypttab",
            "root /dev/disk/by-id/scsi-3600a-part2 none",
            &[(Hardware, "/dev/disk/by-id/scsi-3600a-part2")],
        );
        check("/boot/grub/grub.cfg", &format!("search --fs-uuid --set=root {uuid}"), &[(FileSystemUuid, uuid)]);
        check("/boot/grub/custom.cfg", &format!("search --fs-uuid --set=root {uuid}"), &[(FileSystemUuid, uuid)]);
        check("/boot/refind_linux.conf", &format!("\"Boot\" \"ro root=UUID={uuid}\""), &[(FileSystemUuid, uuid)]);
        check(
            "/boot/grub/grub.cfg",
            "linux /vmlinuz root=/dev/mapper/vg-root ro resume=UUID=1234-ABCD",
            &[(Mapper, "/dev/mapper/vg-root"), (FileSystemUuid, "1234-ABCD")],
        );
        check("/etc/drbd.d/r0.res", "  disk /dev/vdb1;", &[(DeviceName, "/dev/vdb1")]);
        check("/opt/nec/clusterpro/etc/clp.conf", "<device>/dev/sdb1</device>", &[(DeviceName, "/dev/sdb1")]);
    }
}
