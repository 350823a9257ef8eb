//! Marks beside what a process mounts: a second Ctrl-C, or a kill, ends it before it unmounts anything, and the next
//! command that opens a target does it then.
//!
//! A mark is a file that its process holds locked as long as it lives. The kernel ends a lock with its process, however
//! that ends, while a number of a process may belong to another one by then.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::mount::{UnmountFlags, unmount};

/// How the names of marks end.
const EXTENSION: &str = "mark";

/// The mark beside a directory; it goes away with this value.
pub struct Mark {
    /// `None` where it stays.
    path: Option<PathBuf>,
    /// Locked.
    _file: File,
}

impl Mark {
    /// Marks a directory; `None` where it has a mark already.
    pub fn set(directory: &Path) -> io::Result<Option<Self>> {
        let path = directory.with_extension(EXTENSION);
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            other => other?,
        };
        // Before it was locked, somebody may have taken it for one that was left behind, and removes it.
        let is_locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        Ok((is_locked && is_named(&file)).then_some(Self { path: Some(path), _file: file }))
    }

    /// What it marks could not be taken away: the next command tries again, when this process is gone.
    pub fn keep(&mut self) {
        self.path = None;
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

fn is_named(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.nlink() > 0)
}

/// Unmounts what processes that are gone had mounted below `place`.
pub fn clear(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    let marks = entries.filter_map(|entry| Some(entry.ok()?.path()));
    for path in marks.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION)) {
        let Ok(file) = File::open(&path) else { continue };
        let is_left = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() && is_named(&file);
        if is_left && unmount_and_remove(&path.with_extension("")) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether a directory is gone, with what was mounted on it. A server that is away must not keep the program; what counts
/// is stable already.
pub fn unmount_and_remove(directory: &Path) -> bool {
    if unmount(directory, UnmountFlags::empty()).is_err() {
        let _ = unmount(directory, UnmountFlags::DETACH);
    }
    match fs::remove_dir(directory) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_living_process_marked_stays_and_the_rest_goes() {
        let place = tempfile::tempdir().unwrap();
        let [living, dead, full, other] =
            ["share-1", "share-2", "export-3", "sdb1-4"].map(|name| place.path().join(name));
        for directory in [&living, &dead, &full, &other] {
            fs::create_dir(directory).unwrap();
        }
        let mark = Mark::set(&living).unwrap().unwrap();
        assert!(Mark::set(&living).unwrap().is_none(), "it has one");
        for left in [&dead, &full] {
            fs::write(left.with_extension(EXTENSION), "").unwrap();
        }
        // What can't be removed keeps its mark for the next time.
        fs::write(full.join("file"), "").unwrap();
        clear(place.path());
        let names = || {
            let mut names: Vec<String> = fs::read_dir(place.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(), ["export-3", "export-3.mark", "sdb1-4", "share-1", "share-1.mark"]);
        drop(mark);
        assert_eq!(names(), ["export-3", "export-3.mark", "sdb1-4", "share-1"]);
        clear(&place.path().join("absent"));
    }
}
