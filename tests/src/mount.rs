//! Loop devices and mounts that are taken down again when a test ends, also when it fails.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::tool::{run, run_status};
use crate::wait::LIMIT;

/// A loop device over a file.
pub struct LoopDevice {
    path: PathBuf,
}

impl LoopDevice {
    /// Attaches `file`, with logical sectors of `sector_size` bytes, partitions scanned.
    ///
    /// # Panics
    /// Where no loop device can be had: the tests need root.
    pub fn attach(file: &Path, sector_size: u32) -> Self {
        Self::attach_with(file, &["--partscan", "--sector-size", &sector_size.to_string()])
    }

    /// Attaches `file` so that the kernel lets nobody write to the device.
    ///
    /// # Panics
    /// As [`LoopDevice::attach`].
    pub fn attach_read_only(file: &Path) -> Self {
        Self::attach_with(file, &["--read-only"])
    }

    /// Attaches a part of `file` so that nobody can write to the device.
    ///
    /// # Panics
    /// As [`LoopDevice::attach`].
    pub fn attach_part(file: &Path, start: u64, length: u64) -> Self {
        let (start, length) = (start.to_string(), length.to_string());
        Self::attach_with(file, &["--read-only", "--offset", &start, "--sizelimit", &length])
    }

    fn attach_with(file: &Path, options: &[&str]) -> Self {
        let file = file.display().to_string();
        let arguments = ["--find", "--show"].iter().chain(options).copied().chain([file.as_str()]);
        Self { path: PathBuf::from(run("losetup", arguments).trim()) }
    }

    /// The device, as `/dev/loop7`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The read-only flag and mark that the live medium sets on a disk. Mark and flag go away with this value.
pub struct Protected {
    device: PathBuf,
    mark: PathBuf,
}

impl Protected {
    /// Protects a disk as the medium does.
    ///
    /// # Panics
    /// Where it can't be.
    pub fn new(device: &LoopDevice) -> Self {
        let mark = Path::new("/run/sosei/protected").join(device.path.file_name().unwrap());
        std::fs::create_dir_all(mark.parent().unwrap()).unwrap();
        std::fs::write(&mark, "").unwrap();
        run("blockdev", ["--setro".as_ref(), device.path.as_os_str()]);
        Self { device: device.path.clone(), mark }
    }

    /// Whether the kernel lets nobody write to the disk.
    pub fn is_read_only(&self) -> bool {
        run("blockdev", ["--getro".as_ref(), self.device.as_os_str()]).trim() == "1"
    }

    /// Takes the mark away, as if somebody else had set the flag.
    ///
    /// # Panics
    /// Where there is none.
    pub fn forget(&self) {
        std::fs::remove_file(&self.mark).unwrap();
    }
}

impl Drop for Protected {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.mark);
        run_status("blockdev", ["--setrw".as_ref(), self.device.as_os_str()]);
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        run_status("losetup", ["--detach", &self.path.display().to_string()]);
        // The kernel waits for whoever else looks at it at this moment, as any program that looks at all disks.
        let name = self.path.file_name().unwrap_or_default();
        let backing = Path::new("/sys/class/block").join(name).join("loop/backing_file");
        let began = Instant::now();
        while backing.exists() && began.elapsed() < Duration::from_secs(20) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A mounted file system.
pub struct Mounted {
    directory: TempDir,
}

impl Mounted {
    /// Mounts `source` (a device, or an image file through a loop device) with `options`, for example `loop` or `ro,loop`.
    ///
    /// # Panics
    /// Where the kernel can't mount it.
    pub fn new(source: &Path, options: &str) -> Self {
        Self::of_type("auto", source, options)
    }

    /// Mounts `source` as a file system of this type, whatever else may be recognised in it.
    ///
    /// # Panics
    /// As [`Mounted::new`].
    pub fn of_type(kind: &str, source: &Path, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        run(
            "mount",
            ["-t", kind, "-o", options, &source.display().to_string(), &directory.path().display().to_string()],
        );
        Self { directory }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(self.directory.path());
    }
}

/// Unmounts what is mounted there.
///
/// # Panics
/// Where it stays busy, unless a test has failed already: a second panic would hide the first.
pub fn unmount(directory: &Path) {
    // A program that another test is just starting holds a copy of every open file until it runs, also of files
    // in there; for that long the file system is busy.
    let began = Instant::now();
    while !run_status("umount", [directory]).status.success() {
        if began.elapsed() > LIMIT {
            // Whoever waits for what serves it must not wait for ever.
            run_status("umount", ["--lazy".as_ref(), directory.as_os_str()]);
            assert!(thread::panicking(), "{} stays busy", directory.display());
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
