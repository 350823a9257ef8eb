//! `nfs://…?version=4`: an export that the system's own client mounts while it is needed, as the live medium can.
//!
//! The system's client waits for a server in its own way: `soft` makes it give up after some minutes, with an error
//! that the session tells, instead of leaving a process behind that nobody can end.

use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::language::t;
use image::{StoreError, StoreErrorKind};
use repository::{DirectoryStore, NfsAddress};
use rustix::mount::{UnmountFlags, unmount};
use session::Cancel;

use super::{Mounted, Target};
use crate::failure::Failure;

/// What mounts it.
const HELPER: &str = "mount.nfs4";
/// Version 4.2, 4.1 or 4.0, as the server can; TCP goes without saying, and saying it takes a table of protocols that the
/// live medium does not have. A call is sent again after 60 s and 120 s more, and given up then.
const OPTIONS: &str = "vers=4,soft,timeo=600,retrans=2,retry=0,nosuid,nodev,noexec";
/// A server that has not let it be mounted by then does not answer: a wrong address is told soon.
const LIMIT: Duration = Duration::from_secs(10);
/// How soon the end of the helper, and the operator's wish, are noticed.
const TICK: Duration = Duration::from_millis(50);
/// Of what the helper says, as much is told.
const TOLD_LIMIT: u64 = 2000;

/// Mounts an export and opens it.
pub fn open(text: &str, address: &NfsAddress, cancel: &Cancel) -> Result<Target, Failure> {
    // The system tells the server who the process is; it can't be told to say something else.
    let settings = [("uid", address.uid.is_some()), ("gid", address.gid.is_some())];
    let settings = settings.into_iter().chain([("mountport", address.mount_port.is_some())]);
    if let Some((setting, _)) = settings.into_iter().find(|(_, is_set)| *is_set) {
        let message = t!("failure.target_setting4", target = text, setting = setting);
        return Err(Failure::usage("target-address", &message));
    }
    let export = Export::mount(text, address, cancel)?;
    let store = DirectoryStore::open(&export.directory).map_err(|error| Failure::target_absent(text, &error))?;
    Ok(Target::mounted(store, Mounted::Export(export)))
}

/// An export that is mounted; unmounted with this value.
pub struct Export {
    directory: PathBuf,
}

impl Export {
    fn mount(text: &str, address: &NfsAddress, cancel: &Cancel) -> Result<Self, Failure> {
        let host = if address.host.contains(':') { format!("[{}]", address.host) } else { address.host.clone() };
        let source = format!("{host}:{}", address.path);
        let by_hand = || Failure::usage("target-nfs4", &t!("failure.target_nfs4", target = text, export = source));
        if !rustix::process::geteuid().is_root() {
            return Err(by_hand());
        }
        let failed = |kind, error: io::Error| {
            let (location, path) = (text.to_owned(), String::new());
            Failure::from_store(&StoreError { kind, location, path, operation: "mounting", source: error })
        };
        let directory = Path::new(super::usb::DIRECTORY).join(format!("export-{}", std::process::id()));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&directory);
        made.map_err(|error| failed(StoreErrorKind::Io, error))?;
        // From here on the directory goes away with it.
        let export = Self { directory };
        let port = address.port.map(|port| format!(",port={port}")).unwrap_or_default();
        let mut command = Command::new(HELPER);
        command.arg(&source).arg(&export.directory).arg("-o").arg(format!("{OPTIONS}{port}")).env("LC_ALL", "C");
        match run(&mut command, cancel) {
            Ok(Ended::Well) => Ok(export),
            Ok(Ended::Badly(said)) => Err(failed(kind_of(&said), io::Error::other(said))),
            Ok(Ended::Late) => {
                let said = format!("no answer for {} s", LIMIT.as_secs());
                Err(failed(StoreErrorKind::Unreachable, io::Error::other(said)))
            }
            Ok(Ended::Cancelled) => Err(Failure::from(session::Error::Cancelled)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(by_hand()),
            Err(error) => Err(failed(StoreErrorKind::Io, error)),
        }
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // A server that is away must not keep the program; what counts is stable already.
        if unmount(&self.directory, UnmountFlags::empty()).is_err() {
            let _ = unmount(&self.directory, UnmountFlags::DETACH);
        }
        let _ = fs::remove_dir(&self.directory);
    }
}

/// How a helper ended.
enum Ended {
    Well,
    /// With what it said.
    Badly(String),
    Late,
    Cancelled,
}

/// Runs a helper, not longer than the limit and than the operator wants.
fn run(command: &mut Command, cancel: &Cancel) -> io::Result<Ended> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let is_late = began.elapsed() >= LIMIT;
        if is_late || cancel.is_cancelled() {
            child.kill()?;
            child.wait()?;
            return Ok(if is_late { Ended::Late } else { Ended::Cancelled });
        }
        std::thread::sleep(TICK);
    };
    if status.success() {
        return Ok(Ended::Well);
    }
    let mut said = Vec::new();
    if let Some(errors) = child.stderr.take() {
        errors.take(TOLD_LIMIT).read_to_end(&mut said)?;
    }
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Ok(Ended::Badly(if lines.is_empty() { status.to_string() } else { lines.join("; ") }))
}

/// What the helper means: it tells by words alone.
fn kind_of(said: &str) -> StoreErrorKind {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["No such file or directory", "access denied", "Operation not permitted", "Permission denied"]) {
        StoreErrorKind::NoExport
    } else if has(&["refused", "timed out", "No route", "unreachable", "resolve", "Host is down", "not responding"]) {
        StoreErrorKind::Unreachable
    } else {
        StoreErrorKind::Io
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_helper_are_understood() {
        let cases = [
            (
                "mount.nfs4: mounting nas:/x failed, reason given by server: No such file or directory",
                StoreErrorKind::NoExport,
            ),
            ("mount.nfs4: access denied by server while mounting nas:/x", StoreErrorKind::NoExport),
            ("mount.nfs4: Connection refused for nas:/x on /run/sosei/export-1", StoreErrorKind::Unreachable),
            ("mount.nfs4: Failed to resolve server nas: Name or service not known", StoreErrorKind::Unreachable),
            ("mount.nfs4: No such device", StoreErrorKind::Io),
        ];
        for (said, kind) in cases {
            assert_eq!(kind_of(said), kind, "{said}");
        }
    }

    #[test]
    fn a_helper_is_not_waited_for_when_nobody_wants_it() {
        let cancel = Cancel::new();
        cancel.cancel();
        let began = Instant::now();
        assert!(matches!(run(Command::new("sleep").arg("60"), &cancel), Ok(Ended::Cancelled)));
        assert!(began.elapsed() < LIMIT);
        let said = run(Command::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 32"]), &Cancel::new());
        assert!(matches!(said, Ok(Ended::Badly(said)) if said == "one; two"));
        assert!(matches!(run(&mut Command::new("true"), &Cancel::new()), Ok(Ended::Well)));
        assert_eq!(run(&mut Command::new("absent-helper"), &cancel).err().unwrap().kind(), io::ErrorKind::NotFound);
    }
}
