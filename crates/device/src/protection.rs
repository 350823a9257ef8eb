//! The read-only flag that the live medium sets on every disk, taken away from one disk for as long as it is needed.
//!
//! The medium leaves a mark for each flag that it set (`initramfs/root/usr/lib/sosei/protect`). Only those are lifted:
//! a flag that an operator set elsewhere, or that the hardware sets, stays, and the disk is refused.
//!
//! The mark is locked for as long as the flag is lifted. A session that is killed loses the lock, and the medium sets the
//! flag again as soon as the kernel has closed the disk.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, Result};
use crate::{ioctl, usage};

/// Where the medium leaves its marks: one empty file a disk, named as the kernel names the disk.
const MARKS: &str = "/run/sosei/protected";

/// A disk that can be written to until this value is dropped.
#[derive(Debug)]
pub struct Writable {
    disk: File,
    _lock: File,
}

impl Writable {
    /// Takes the flag of the live medium away from the whole disk that `path` is or is a partition of; `None` where it
    /// set none.
    ///
    /// # Errors
    /// Where the disk can't be opened, or the kernel does not allow it.
    pub fn lift(path: &Path) -> Result<Option<Self>> {
        let Some(disk) = usage::whole_disk(path).filter(|disk| is_by_medium(disk)) else {
            return Ok(None);
        };
        let node = Path::new("/dev").join(disk.replace('!', "/"));
        let error = |source| Error::Io { path: node.clone(), operation: "making writable", source };
        let lock = lock(Path::new(MARKS), &disk).map_err(error)?;
        let disk = File::open(&node).map_err(error)?;
        ioctl::set_read_only(&disk, false).map_err(error)?;
        Ok(Some(Self { disk, _lock: lock }))
    }

    /// Leaves the disk writable: somebody else still uses it, and protects it again.
    pub fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Writable {
    fn drop(&mut self) {
        // What is still on its way to the disk goes there first. Nobody can be told of an error here, and the data
        // were synced before.
        let _ = self.disk.sync_all();
        let _ = ioctl::set_read_only(&self.disk, true);
    }
}

/// Several sessions may need the same disk at once, as a target. What protects the disk again holds the lock alone, and
/// only for a moment.
fn lock(marks: &Path, disk: &str) -> io::Result<File> {
    let mark = File::open(marks.join(disk))?;
    flock(&mark, FlockOperation::LockShared)?;
    Ok(mark)
}

/// Whether the live medium protects the disk with this name of the kernel.
pub fn is_by_medium(disk: &str) -> bool {
    is_marked(Path::new(MARKS), disk)
}

fn is_marked(marks: &Path, disk: &str) -> bool {
    // Names of devices hold no slash; others name no mark.
    !disk.contains('/') && marks.join(disk).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_disks_with_a_mark_are_made_writable() {
        let marks = tempfile::tempdir().unwrap();
        std::fs::write(marks.path().join("sda"), "").unwrap();
        std::fs::write(marks.path().join("cciss!c0d0"), "").unwrap();
        assert!(is_marked(marks.path(), "sda"));
        assert!(is_marked(marks.path(), "cciss!c0d0"));
        assert!(!is_marked(marks.path(), "sdb"));
        assert!(!is_marked(marks.path(), ""));
        assert!(!is_marked(marks.path(), "../sda"));
    }

    #[test]
    fn a_mark_is_locked_by_all_who_write_and_free_when_the_last_has_gone() {
        let marks = tempfile::tempdir().unwrap();
        std::fs::write(marks.path().join("sda"), "").unwrap();
        let alone = File::open(marks.path().join("sda")).unwrap();
        let try_alone = || flock(&alone, FlockOperation::NonBlockingLockExclusive);
        let first = lock(marks.path(), "sda").unwrap();
        let second = lock(marks.path(), "sda").unwrap();
        assert!(try_alone().is_err());
        drop(first);
        assert!(try_alone().is_err());
        drop(second);
        try_alone().unwrap();
    }

    #[test]
    fn what_is_no_block_device_has_no_flag() {
        assert!(Writable::lift(Path::new("/dev/null")).unwrap().is_none());
        assert!(Writable::lift(Path::new("/absent")).unwrap().is_none());
    }
}
