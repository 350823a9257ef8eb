//! `nfs://…?version=4`: an export that the system's own client mounts while it is needed, as the live medium can.
//!
//! The system's client waits for a server in its own way: `soft` makes it give up after some minutes, with an error
//! that the session tells, instead of leaving a process behind that nobody can end.

use std::io;

use crate::language::t;
use image::{StoreError, StoreErrorKind};
use repository::{DirectoryStore, NfsAddress, Watch};
use session::Cancel;

use super::mounting::{Ended, LIMIT, MountPoint, run};
use super::{Mounted, Target};
use crate::failure::Failure;
use crate::helper::helper;

/// What mounts it.
const HELPER: &str = "mount.nfs4";
/// Version 4.2, 4.1 or 4.0, as the server can; TCP goes without saying, and saying it takes a table of protocols that the
/// live medium does not have. A call is sent again after 60 s and 120 s more, and given up then.
const OPTIONS: &str = "vers=4,soft,timeo=600,retrans=2,retry=0,nosuid,nodev,noexec";

/// Mounts an export and opens it.
pub fn open(text: &str, address: &NfsAddress, watch: Watch, cancel: &Cancel) -> Result<Target, Failure> {
    // The system tells the server who the process is; it can't be told to say something else.
    let settings = [("uid", address.uid.is_some()), ("gid", address.gid.is_some())];
    let settings = settings.into_iter().chain([("mountport", address.mount_port.is_some())]);
    if let Some((setting, _)) = settings.into_iter().find(|(_, is_set)| *is_set) {
        let message = t!("failure.target_setting4", target = text, setting = setting);
        return Err(Failure::usage("target-address", &message));
    }
    let export = Export::mount(text, address, cancel)?;
    let store = DirectoryStore::open(export.mount.path()).map_err(|error| Failure::target_absent(text, &error))?;
    Ok(Target::in_directory(store, watch, Some(Mounted::Export(export))))
}

/// An export that is mounted; unmounted with this value.
pub struct Export {
    mount: MountPoint,
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
        let mount = MountPoint::make("export").map_err(|error| failed(StoreErrorKind::Io, error))?;
        // From here on the directory goes away with it.
        let export = Self { mount };
        let port = address.port.map(|port| format!(",port={port}")).unwrap_or_default();
        let mut command = helper(HELPER);
        command.arg(&source).arg(export.mount.path()).arg("-o").arg(format!("{OPTIONS}{port}")).env("LC_ALL", "C");
        match run(&mut command, "", cancel) {
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
}
