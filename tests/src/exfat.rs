//! exFAT through FUSE: the kernel that tests run on may have no driver of it.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::LoopDevice;
use crate::mount::unmount;
use crate::tool::{command, run};

/// A volume mounted through exfat-fuse.
pub struct ExfatMounted {
    directory: TempDir,
    process: Child,
    _device: LoopDevice,
}

impl ExfatMounted {
    /// Mounts the volume in the file `image`.
    ///
    /// # Panics
    /// Where exfat-fuse can't mount it.
    pub fn new(image: &Path, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // It asks for a block device.
        let device = LoopDevice::attach(image, 512);
        let arguments = ["-d", "-o", options].map(AsRef::as_ref);
        let paths = [device.path().as_os_str(), directory.path().as_os_str()];
        // In the foreground, so that its end can be awaited: it goes on writing after the unmount.
        let mut process = command("mount.exfat-fuse", arguments.into_iter().chain(paths))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("mount.exfat-fuse: {error}; `make tools` installs it"));
        // It says on standard error what it does; the first request is answered once it is mounted.
        let mut said = Vec::new();
        let mut piece = [0; 256];
        let errors = process.stderr.as_mut().unwrap();
        while !said.windows(4).any(|window| window == b"INIT") {
            match errors.read(&mut piece).unwrap() {
                0 => panic!("mount.exfat-fuse: {}", String::from_utf8_lossy(&said)),
                length => said.extend(&piece[..length]),
            }
        }
        // Nobody reads the rest unless it is drained.
        let mut rest = process.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut rest, &mut std::io::sink()));
        run("stat", [directory.path()]);
        Self { directory, process, _device: device }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for ExfatMounted {
    fn drop(&mut self) {
        unmount(self.directory.path());
        let _ = self.process.wait();
    }
}
