//! The table of mounts, as far as it tells on which devices a file system lies.
//!
//! Source: proc(5), `/proc/PID/mountinfo` and `/proc/PID/fdinfo`.

use std::path::PathBuf;

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Mount {
    /// The type of the file system.
    pub kind: String,
    /// What was mounted: most often a block device.
    source: String,
}

impl Mount {
    /// The paths that the source may mean: itself, or one for each device where a file system joins them by colons.
    pub fn sources(&self) -> Vec<PathBuf> {
        let parts = self.source.split(':').filter(|_| self.kind == "bcachefs").map(PathBuf::from);
        // "tmpfs" and the like are no files of the directory that the program was started in.
        std::iter::once(PathBuf::from(&self.source)).chain(parts).filter(|path| path.is_absolute()).collect()
    }
}

/// The number of the mount that a file lies in, by what the kernel says of the open file.
pub fn id_in(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// The mount with this number.
pub fn mount_with_id(table: &str, id: u64) -> Option<Mount> {
    let line = table.lines().find(|line| line.split(' ').next().and_then(|first| first.parse().ok()) == Some(id))?;
    // A varying number of optional fields ends with a dash.
    let mut fields = line.split(' ').skip_while(|field| *field != "-").skip(1);
    let (kind, source) = (fields.next()?.to_owned(), unescape_mount(fields.next()?));
    Some(Mount { kind, source })
}

/// Spaces and the like stand as three octal digits in the table of mounts.
pub fn unescape_mount(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .into_iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escaped, character)| text.replace(escaped, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
        26 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        126 26 0:45 /a - /mnt/My\\040Disk rw - btrfs /dev/sdb1 rw,subvolid=5\n\
        127 26 0:46 /@ /mnt/two rw,relatime shared:9 master:2 - bcachefs /dev/sdc:/dev/sdd rw\n";

    #[test]
    fn a_mount_is_found_by_its_number_whatever_options_it_has() {
        let mount = |id| mount_with_id(TABLE, id).map(|mount| (mount.kind.clone(), mount.sources()));
        assert_eq!(mount(26), Some(("ext4".into(), vec!["/dev/sda1".into()])));
        assert_eq!(mount(2), None);
        let devices = ["/dev/sdc:/dev/sdd", "/dev/sdc", "/dev/sdd"].map(PathBuf::from).to_vec();
        assert_eq!(mount(127), Some(("bcachefs".into(), devices)));
    }

    #[test]
    fn the_number_of_a_mount_stands_beside_an_open_file() {
        assert_eq!(id_in("pos:\t0\nflags:\t0100000\nmnt_id:\t126\nino:\t2\n"), Some(126));
        assert_eq!(id_in("pos:\t0\n"), None);
    }

    #[test]
    fn spaces_in_the_table_of_mounts_are_read() {
        assert_eq!(unescape_mount("/mnt/My\\040Disk\\134x"), "/mnt/My Disk\\x");
    }
}
