//! Where running screens are found by those that are started later: a directory that only this user can enter.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use tui::Event;

const UNSEEN: &str = "unseen.json";
const SOCKET_SUFFIX: &str = ".socket";

/// The directory; `None` where there is none to be had, or it is somebody else's.
pub fn directory() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let is_root = rustix::process::geteuid().is_root();
    let system = || {
        if is_root {
            Some(PathBuf::from("/run/sosei"))
        } else {
            variable("XDG_RUNTIME_DIR").map(|run| run.join("sosei"))
        }
    };
    let directory = variable("SOSEI_RUNTIME").or_else(system)?.join("screens");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).ok()?;
    let metadata = fs::metadata(&directory).ok()?;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0;
    is_ours.then_some(directory)
}

/// Where the screens of this process are found.
pub fn socket(directory: &Path) -> PathBuf {
    directory.join(format!("{}{SOCKET_SUFFIX}", std::process::id()))
}

/// Where screens may be found, the latest first.
pub fn sockets(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut sockets: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(SOCKET_SUFFIX)).collect();
    let changed = |path: &PathBuf| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    sockets.sort_by_key(|path| std::cmp::Reverse(changed(path)));
    sockets
}

/// Keeps how a job ended that nobody saw.
pub fn keep_unseen(directory: &Path, event: &Event) -> io::Result<()> {
    let text = serde_json::to_string(event)?;
    let temporary = directory.join(format!("{}.unseen", std::process::id()));
    fs::write(&temporary, text)?;
    fs::rename(temporary, directory.join(UNSEEN))
}

/// How a job ended that nobody saw; told once.
pub fn take_unseen(directory: &Path) -> Option<Event> {
    let path = directory.join(UNSEEN);
    let text = fs::read_to_string(&path).ok()?;
    fs::remove_file(&path).ok()?;
    serde_json::from_str(&text).ok()
}
