//! Tickets of Kerberos. The kernel's client asks for one through a helper of the system, which runs as root and looks
//! nowhere but in root's own cache: so that is where the ticket of a user is put, and taken away again.
//!
//! Source: kinit(1), klist(1), cifs.upcall(8).

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::language::t;
use image::StoreErrorKind;
use repository::{Secret, SmbAddress, host_and_port};
use session::Cancel;

use super::mounting::{Ended, LIMIT, run};
use super::secret;
use super::share::{by_hand, failed};
use super::ticket_users::{self, Inside, User};
use crate::failure::Failure;
use crate::helper::helper;
use crate::operator::Credentials;

/// Where programs other than the kernel's helper look for tickets.
const CACHE: &str = "KRB5CCNAME";

/// While another session asks for a ticket, it is waited for: a little longer than the server has time to answer.
const DOOR_LIMIT: Duration = LIMIT.saturating_add(Duration::from_secs(5));
/// A session that ends leaves the ticket to the next one rather than wait for long.
const PARTING: Duration = Duration::from_secs(2);

/// A ticket in root's own cache. One that this program put there goes away with the last value that uses it.
pub struct Ticket {
    /// `None` where it is the operator's.
    user: Option<User>,
}

impl Ticket {
    /// The ticket that is there, where it is the user's; else one that is asked for with a keytab or a password. Where the
    /// target names no user, the one who has a ticket is meant.
    pub fn get(text: &str, address: &SmbAddress, credentials: &Credentials, cancel: &Cancel) -> Result<Self, Failure> {
        let place = Path::new(super::usb::DIRECTORY);
        let principal = principal(address);
        let broken = |error: io::Error| failed(text, StoreErrorKind::Io, error);
        let not_there = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => by_hand(text, address),
            _ => broken(error),
        };
        let mut key = None;
        loop {
            let inside = Inside::enter(place, DOOR_LIMIT, || !cancel.is_cancelled()).map_err(broken)?;
            let mut inside = match inside {
                Some(inside) => inside,
                None if cancel.is_cancelled() => return Err(Failure::from(session::Error::Cancelled)),
                None => {
                    let said = format!("another session has asked for a ticket for {} s", DOOR_LIMIT.as_secs());
                    return Err(failed(text, StoreErrorKind::Unreachable, io::Error::other(said)));
                }
            };
            inside.clear(ticket_at_hand, destroy).map_err(broken)?;
            let present = present(None).map_err(not_there)?;
            match (&principal, &present.owner) {
                (None, Some(_)) => return Self::using(inside, &present).map_err(broken),
                (Some(wanted), Some(owner)) if is_same(wanted, owner) => {
                    return Self::using(inside, &present).map_err(broken);
                }
                (Some(wanted), Some(owner)) => {
                    let message = t!("failure.ticket_other", present = owner, wanted = wanted);
                    return Err(Failure::usage("target-ticket", &message));
                }
                (_, None) => {}
            }
            if copy(principal.as_deref(), present.place.as_deref()) {
                return Self::made(inside).map_err(broken);
            }
            let Some(principal) = &principal else {
                let said = t!("failure.ticket_missing", target = text);
                return Err(Failure::usage("target-ticket", &said));
            };
            let Some(key) = &key else {
                // Others need not wait until somebody has typed a password.
                drop(inside);
                key = Some(Key::get(principal, address, credentials)?);
                continue;
            };
            let mut command = kerberos("kinit");
            let input = match key {
                Key::Table(path) => {
                    command.arg("-k").arg("-t").arg(path);
                    String::new()
                }
                Key::Password(password) => format!("{}\n", password.reveal()),
            };
            let ended = run(command.arg(principal), &input, cancel);
            if let Ok(Ended::Well) = ended {
                return Self::made(inside).map_err(broken);
            }
            // Whatever it has written goes away again.
            if ticket_at_hand() != present.ticket {
                destroy();
            }
            return Err(match ended {
                Ok(Ended::Badly(said)) => failed(text, kind_of(&said), io::Error::other(said)),
                Ok(Ended::Late) => {
                    let said = format!("no answer of the Kerberos server for {} s", LIMIT.as_secs());
                    failed(text, StoreErrorKind::Unreachable, io::Error::other(said))
                }
                Ok(Ended::Well | Ended::Cancelled) => Failure::from(session::Error::Cancelled),
                Err(error) => not_there(error),
            });
        }
    }

    /// One that was there: of another session, or the operator's.
    fn using(inside: Inside, present: &Present) -> io::Result<Self> {
        let user = inside.is_ours(present.ticket.as_deref()).then(|| inside.stay()).transpose()?;
        Ok(Self { user })
    }

    /// One that this program has put there.
    fn made(mut inside: Inside) -> io::Result<Self> {
        let Some(ticket) = ticket_at_hand() else { return Ok(Self { user: None }) };
        if let Err(error) = inside.set(&ticket) {
            destroy();
            return Err(error);
        }
        Ok(Self { user: Some(inside.stay()?) })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(user) = self.user.take() {
            // Where it stays, the next command finds it without a user.
            let _ = user.leave(PARTING, ticket_at_hand, destroy);
        }
    }
}

/// Takes away the ticket of a process that was killed.
pub fn clear_left_behind(place: &Path) {
    if ticket_users::is_known(place)
        && let Ok(Some(mut inside)) = Inside::enter(place, Duration::ZERO, || true)
    {
        let _ = inside.clear(ticket_at_hand, destroy);
    }
}

/// What a ticket is asked for with.
enum Key {
    Table(PathBuf),
    Password(Secret),
}

impl Key {
    fn get(principal: &str, address: &SmbAddress, credentials: &Credentials) -> Result<Self, Failure> {
        if let Some(path) = secret::keytab(credentials)? {
            return Ok(Self::Table(path));
        }
        let server = host_and_port(&address.host, None);
        Ok(Self::Password(secret::password(principal, &server, credentials)?))
    }
}

/// Copies what is in the cache that the environment names to where the kernel's helper looks; whether there is a ticket
/// of this user in it.
fn copy(principal: Option<&str>, cache: Option<&Path>) -> bool {
    let copy = || {
        let named = std::env::var(CACHE).ok()?;
        let source = file_of(&named)?;
        let owner = present(Some(&named)).ok()?.owner?;
        if principal.is_some_and(|wanted| !is_same(wanted, &owner)) {
            return None;
        }
        let bytes = fs::read(source).ok()?;
        // What is there holds no ticket that is good.
        let cache = cache?;
        let _ = fs::remove_file(cache);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(cache).ok()?;
        let written = io::Write::write_all(&mut file, &bytes).ok();
        if written.is_none() {
            let _ = fs::remove_file(cache);
        }
        written
    };
    copy().is_some()
}

/// Empties root's own cache.
fn destroy() {
    let mut command = kerberos("kdestroy");
    let _ = command.arg("-q").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// A program of Kerberos that works with root's own cache.
fn kerberos(program: &str) -> Command {
    let mut command = helper(program);
    // Times are compared, by processes of several operators.
    command.env_remove(CACHE).env("LC_ALL", "C").env("TZ", "UTC");
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

/// What klist says about a cache.
struct Present {
    /// Whose ticket is in it, where it is a good one.
    owner: Option<String>,
    /// What tells the ticket from others, also when it is over.
    ticket: Option<String>,
    /// The file of the cache.
    place: Option<PathBuf>,
}

/// What is in a cache. Nobody is asked over the network.
fn present(cache: Option<&str>) -> io::Result<Present> {
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
    Ok(Present { owner: owner(&printed).filter(|_| is_good), ticket: ticket(&printed), place: place(&printed) })
}

/// What is in root's own cache.
fn ticket_at_hand() -> Option<String> {
    present(None).ok()?.ticket
}

/// Whose it is, since when, and of which server: `11/23/26 14:00:00  11/24/26 00:00:00  krbtgt/LAB.TEST@LAB.TEST`.
/// Other tickets come and go behind it, and its end is written in another way when it is over.
fn ticket(printed: &str) -> Option<String> {
    let first = printed.lines().find(|line| line.contains("krbtgt/"))?;
    let (begin, server) = (first.split("  ").next()?, first.split_whitespace().last()?);
    Some(format!("{}\n{begin}\n{server}\n", owner(printed)?))
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
    fn a_ticket_is_told_from_another() {
        let printed = |begin: &str, end: &str, more: &str| {
            format!(
                "Ticket cache: FILE:/tmp/krb5cc_0\nDefault principal: saver@LAB.TEST\n\nValid starting     Expires\n\
                 {begin}  {end}  krbtgt/LAB.TEST@LAB.TEST\n\trenew until 11/30/26 14:00:00\n{more}"
            )
        };
        let begin = "11/23/26 14:00:00";
        let first = ticket(&printed(begin, "11/24/26 00:00:00", ""));
        assert_eq!(first.as_deref(), Some("saver@LAB.TEST\n11/23/26 14:00:00\nkrbtgt/LAB.TEST@LAB.TEST\n"));
        let service = "11/23/26 15:00:00  11/24/26 00:00:00  cifs/nas@LAB.TEST\n";
        assert_eq!(ticket(&printed(begin, ">>>Expired<<<", service)), first);
        assert_ne!(ticket(&printed("11/23/26 14:00:01", "11/24/26 00:00:00", "")), first);
        assert_eq!(ticket("klist: No credentials cache found (filename: /tmp/krb5cc_0)\n"), None);
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
