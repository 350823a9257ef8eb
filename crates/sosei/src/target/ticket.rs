//! Tickets of Kerberos. The kernel's client asks for one through a helper of the system, which runs as root and looks
//! nowhere but in root's own cache: so that is where the ticket of a user is put, and taken away again.
//!
//! Source: kinit(1), klist(1), cifs.upcall(8).

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::language::t;
use image::StoreErrorKind;
use repository::{SmbAddress, host_and_port};
use session::Cancel;

use super::mounting::{Ended, LIMIT, run};
use super::secret;
use super::share::{by_hand, failed};
use crate::failure::Failure;
use crate::operator::Credentials;

/// Where programs other than the kernel's helper look for tickets.
const CACHE: &str = "KRB5CCNAME";

/// A ticket in root's own cache. One that this program put there goes away with this value.
pub struct Ticket {
    is_own: bool,
}

impl Ticket {
    /// The ticket that is there, where it is the user's; else one that is asked for with a keytab or a password. Where the
    /// target names no user, the one who has a ticket is meant.
    pub fn get(text: &str, address: &SmbAddress, credentials: &Credentials, cancel: &Cancel) -> Result<Self, Failure> {
        let principal = principal(address);
        let not_there = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => by_hand(text, address),
            _ => failed(text, StoreErrorKind::Io, error),
        };
        let (present, cache) = present(None).map_err(not_there)?;
        match (&principal, present) {
            (None, Some(_)) => return Ok(Self { is_own: false }),
            (Some(wanted), Some(present)) if is_same(wanted, &present) => return Ok(Self { is_own: false }),
            (Some(wanted), Some(present)) => {
                let message = t!("failure.ticket_other", present = present, wanted = wanted);
                return Err(Failure::usage("target-ticket", &message));
            }
            (_, None) => {}
        }
        if let Some(ticket) = Self::copied(principal.as_deref(), cache.as_deref()) {
            return Ok(ticket);
        }
        let Some(principal) = principal else {
            let said = t!("failure.ticket_missing", target = text);
            return Err(Failure::usage("target-ticket", &said));
        };
        let mut command = kerberos("kinit");
        let input = match secret::keytab(credentials)? {
            Some(keytab) => {
                command.arg("-k").arg("-t").arg(keytab);
                String::new()
            }
            None => {
                let server = host_and_port(&address.host, None);
                format!("{}\n", secret::password(&principal, &server, credentials)?.reveal())
            }
        };
        // Whatever it writes from here on goes away with it.
        let ticket = Self { is_own: true };
        match run(command.arg(&principal), &input, cancel) {
            Ok(Ended::Well) => Ok(ticket),
            Ok(Ended::Badly(said)) => Err(failed(text, kind_of(&said), io::Error::other(said))),
            Ok(Ended::Late) => {
                let said = format!("no answer of the Kerberos server for {} s", LIMIT.as_secs());
                Err(failed(text, StoreErrorKind::Unreachable, io::Error::other(said)))
            }
            Ok(Ended::Cancelled) => Err(Failure::from(session::Error::Cancelled)),
            Err(error) => Err(not_there(error)),
        }
    }

    /// What is in the cache that the environment names, copied to where the kernel's helper looks.
    fn copied(principal: Option<&str>, cache: Option<&Path>) -> Option<Self> {
        let named = std::env::var(CACHE).ok()?;
        let source = file_of(&named)?;
        let (owner, _) = present(Some(&named)).ok()?;
        let owner = owner?;
        if principal.is_some_and(|wanted| !is_same(wanted, &owner)) {
            return None;
        }
        let bytes = fs::read(source).ok()?;
        // What is there holds no ticket that is good.
        let cache = cache?;
        let _ = fs::remove_file(cache);
        let ticket = Self { is_own: true };
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(cache).ok()?;
        io::Write::write_all(&mut file, &bytes).ok()?;
        Some(ticket)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_own {
            let mut command = kerberos("kdestroy");
            let _ = command.arg("-q").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

/// A program of Kerberos that works with root's own cache.
fn kerberos(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove(CACHE).env("LC_ALL", "C");
    command
}

/// Who is meant, as Kerberos calls users: a domain is a realm.
fn principal(address: &SmbAddress) -> Option<String> {
    let user = address.user.as_deref()?;
    Some(match &address.domain {
        Some(domain) if !user.contains('@') => format!("{user}@{}", domain.to_uppercase()),
        _ => user.to_owned(),
    })
}

/// Whether the one that was named is the one that has a ticket: the realm may be left out.
fn is_same(wanted: &str, present: &str) -> bool {
    match wanted.contains('@') {
        true => wanted == present,
        false => present.split('@').next() == Some(wanted),
    }
}

/// Whose ticket is in a cache, where it is a good one, and the file of the cache. Nobody is asked over the network.
fn present(cache: Option<&str>) -> io::Result<(Option<String>, Option<PathBuf>)> {
    let klist = |arguments: &[&str]| {
        let mut command = kerberos("klist");
        if let Some(cache) = cache {
            command.env(CACHE, cache);
        }
        command.args(arguments).stdin(Stdio::null()).output()
    };
    let is_good = klist(&["-s"])?.status.success();
    let output = klist(&[])?;
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok((owner(&printed).filter(|_| is_good), place(&printed)))
}

fn owner(printed: &str) -> Option<String> {
    printed.lines().find_map(|line| line.strip_prefix("Default principal: ")).map(|name| name.trim().to_owned())
}

/// The file of the cache: `Ticket cache: FILE:/tmp/krb5cc_0`, or `… (filename: /tmp/krb5cc_0)` where there is none.
fn place(printed: &str) -> Option<PathBuf> {
    let there = printed.lines().find_map(|line| line.strip_prefix("Ticket cache: ")).and_then(file_of);
    let absent = || Some(Path::new(printed.split_once("(filename: ")?.1.split_once(')')?.0));
    there.or_else(absent).map(Path::to_owned)
}

/// The file that a cache is, where it is one.
fn file_of(cache: &str) -> Option<&Path> {
    match cache.strip_prefix("FILE:") {
        Some(path) => Some(Path::new(path)),
        None => Some(Path::new(cache)).filter(|path| path.is_absolute()),
    }
}

/// What kinit means: it tells by words alone.
fn kind_of(said: &str) -> StoreErrorKind {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["Clock skew"]) {
        StoreErrorKind::Clock
    } else if has(&["Cannot find KDC", "Cannot contact any KDC", "Cannot resolve"]) {
        StoreErrorKind::Unreachable
    } else {
        StoreErrorKind::Login
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_kinit_are_understood() {
        let cases = [
            ("kinit: Password incorrect while getting initial credentials", StoreErrorKind::Login),
            ("kinit: Client 'x@LAB' not found in Kerberos database while getting …", StoreErrorKind::Login),
            ("kinit: Clock skew too great while getting initial credentials", StoreErrorKind::Clock),
            ("kinit: Cannot find KDC for realm \"LAB\" while getting …", StoreErrorKind::Unreachable),
            ("kinit: Cannot contact any KDC for realm 'LAB' while getting …", StoreErrorKind::Unreachable),
        ];
        for (said, kind) in cases {
            assert_eq!(kind_of(said), kind, "{said}");
        }
    }

    #[test]
    fn whose_ticket_it_is_and_where_is_read_from_klist() {
        let printed = "Ticket cache: FILE:/tmp/krb5cc_0\nDefault principal: saver@LAB.TEST\n\nValid starting …\n";
        assert_eq!(owner(printed).as_deref(), Some("saver@LAB.TEST"));
        assert_eq!(place(printed), Some("/tmp/krb5cc_0".into()));
        let printed = "klist: No credentials cache found (filename: /tmp/krb5cc_0)\n";
        assert_eq!((owner(printed), place(printed)), (None, Some("/tmp/krb5cc_0".into())));
        assert_eq!(place("Ticket cache: KEYRING:persistent:0\n"), None);
    }

    #[test]
    fn users_and_realms_are_put_together() {
        let address = |user: &str, domain: Option<&str>| SmbAddress {
            user: Some(user.into()),
            domain: domain.map(Into::into),
            ..SmbAddress::default()
        };
        let named = |user, domain| principal(&address(user, domain)).unwrap();
        assert_eq!(named("saver@LAB.TEST", Some("LAB")), "saver@LAB.TEST");
        assert_eq!(named("saver", Some("lab.test")), "saver@LAB.TEST");
        assert_eq!(named("saver", None), "saver");
        assert_eq!(principal(&SmbAddress::default()), None);
        assert!(is_same("saver", "saver@LAB.TEST") && is_same("saver@LAB.TEST", "saver@LAB.TEST"));
        assert!(!is_same("saver@OTHER", "saver@LAB.TEST") && !is_same("save", "saver@LAB.TEST"));
    }
}
