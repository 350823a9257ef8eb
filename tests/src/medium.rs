//! The live medium with the program under test in it, built once for all tests of virtual machines.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::program;
use crate::tool::run;

/// What was built.
pub struct Medium {
    directory: PathBuf,
}

impl Medium {
    /// The medium for the program and the build scripts as they are now. The first test of a run builds it; others,
    /// also in other processes, wait for it.
    ///
    /// # Panics
    /// Where it can't be built.
    pub fn get() -> Self {
        Self { directory: built_once("medium", &["image-build", "initramfs"], build) }
    }

    /// Where all of it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The hybrid image for CD and USB.
    pub fn iso(&self) -> PathBuf {
        self.directory.join("sosei.iso")
    }

    /// The kernel, for a boot without a loader.
    pub fn kernel(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// What a server gives to machines that boot from the network.
    pub fn network(&self) -> PathBuf {
        self.directory.join("network")
    }

    /// The font of the screens on a framebuffer.
    pub fn font(&self) -> PathBuf {
        self.directory.join("font.hex")
    }

    /// All that a loader puts into memory besides the kernel, as one file.
    pub fn initrd(&self) -> PathBuf {
        self.directory.join("together.img")
    }
}

/// Builds the medium for the program under test into a directory.
///
/// # Panics
/// Where it can't be built.
pub fn build(directory: &Path) {
    let root = root();
    // A quick build: 3 seconds instead of a minute, and 4 % larger.
    let mut command = Command::new(root.join("image-build/medium.sh"));
    command.env("SOSEI_LEVEL", "6").arg(program::path()).arg(directory);
    let output = command.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "image-build/medium.sh: {printed}; `make tools` installs what it needs");
    let mut together = Vec::new();
    for part in ["initrd.img", "root.img", "job.img"] {
        together.extend(fs::read(directory.join(part)).unwrap());
        // An archive that is not compressed starts on a multiple of four.
        together.resize(together.len().next_multiple_of(4), 0);
    }
    fs::write(directory.join("together.img"), together).unwrap();
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A directory that `build` fills once for the content of some paths of this tree, the program, and the packages that
/// were resolved. Older ones of the same name are removed, unless a process that runs got them from here.
///
/// # Panics
/// Where it can't be built.
pub fn built_once(name: &str, paths: &[&str], build: impl FnOnce(&Path)) -> PathBuf {
    let all = program::path().parent().and_then(Path::parent).unwrap().join("medium");
    built_once_in(&all, name, paths, build)
}

/// The same, kept somewhere else.
///
/// # Panics
/// Where it can't be built.
pub fn built_once_in(all: &Path, name: &str, paths: &[&str], build: impl FnOnce(&Path)) -> PathBuf {
    fs::create_dir_all(all).unwrap();
    let lock = File::create(all.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let script = "sha256sum \"$1\"; shift; find \"$@\" -type f | LC_ALL=C sort | xargs sha256sum";
    let paths: Vec<PathBuf> = paths.iter().map(|path| root().join(path)).collect();
    let arguments = ["-c", script, "sh"].map(PathBuf::from).into_iter().chain([program::path()]).chain(paths);
    let digests = run("sh", arguments);
    let key = crc32fast::hash(digests.as_bytes());
    let wanted = all.join(format!("{name}-{key:08x}"));
    if wanted.is_dir() {
        hold(&wanted);
        return wanted;
    }
    for entry in fs::read_dir(all).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name().to_string_lossy().starts_with(&format!("{name}-")) && !is_held(&entry.path()) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let unfinished = all.join(format!("{name}-unfinished"));
    fs::create_dir(&unfinished).unwrap();
    build(&unfinished);
    File::create(unfinished.join(HOLD)).unwrap();
    fs::rename(&unfinished, &wanted).unwrap();
    hold(&wanted);
    wanted
}

/// Is locked by those who use what lies beside it.
const HOLD: &str = ".in-use";

/// Keeps a directory from being removed as long as this process runs.
fn hold(directory: &Path) {
    static HELD: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    held.entry(directory.to_owned()).or_insert_with(|| {
        let file = File::create(directory.join(HOLD)).unwrap();
        file.lock_shared().unwrap();
        file
    });
}

fn is_held(directory: &Path) -> bool {
    File::open(directory.join(HOLD)).is_ok_and(|file| file.try_lock().is_err())
}
