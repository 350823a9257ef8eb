//! `smb://…?client=kernel`: a share that the kernel's client mounts while it is needed, as the live medium can. It speaks
//! Kerberos, which this program itself doesn't, and takes over where this program and a server agree on no encryption.
//!
//! The password goes to the helper through a pipe. The kernel tells its own helper in numbers what went wrong, and
//! writes into its log what the server had said: a wrong password can't be told from other refusals otherwise.
//!
//! Source: mount.cifs(8), cifs.upcall(8); Linux `Documentation/ABI/testing/dev-kmsg`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::language::t;
use image::{StoreError, StoreErrorKind};
use repository::{DirectoryStore, Secret, SmbAddress, Watch, kind_of_status};
use rustix::fs::{Mode, OFlags};
use session::Cancel;

use super::mounting::{Ended, LIMIT, MountPoint, is_there, run};
use super::ticket::Ticket;
use super::{Mounted, Target};
use crate::failure::Failure;
use crate::helper::helper;
use crate::operator::Credentials;

/// What mounts it.
const HELPER: &str = "mount.cifs";
/// SMB 2.1 to 3.1.1, as the server can; a connection of its own, as one that others use may hang; after 60 s without an
/// answer the connection counts as broken, and what was asked on it fails when the server is still away then.
const OPTIONS: &str = "vers=default,soft,nosharesock,echo_interval=20,iocharset=utf8,uid=0,gid=0,file_mode=0600,\
                       dir_mode=0700,nosuid,nodev,noexec";
/// The helper would ask port 139 too where it is told none.
const PORT: u16 = 445;
/// More than this the helper cuts off without a word.
const PASSWORD_LIMIT: usize = 512;
/// Of the kernel's log, as many lines are looked at, and as much is told.
const LOG_LIMIT: usize = 1000;
const TOLD_LIMIT: usize = 8;

/// Who logs in, and how.
pub enum Login<'a> {
    /// By a password.
    Password(&'a Secret),
    /// By a ticket of Kerberos, which is asked for with what the operator gave.
    Kerberos(&'a Credentials),
}

/// Whether the kernel's client can be used here at all.
pub fn is_possible() -> bool {
    rustix::process::geteuid().is_root() && is_there(HELPER)
}

/// Mounts a share and opens the directory in it.
pub fn open(text: &str, address: &SmbAddress, login: &Login, watch: Watch, cancel: &Cancel) -> Result<Target, Failure> {
    let share = Share::mount(text, address, login, cancel)?;
    if let Err(error) = std::fs::metadata(share.mount.path().join(&address.path))
        && error.kind() == io::ErrorKind::NotFound
    {
        // As the program itself calls it.
        return Err(failed(text, StoreErrorKind::NoExport, error));
    }
    let directory = super::below(text, share.mount.path(), &address.path)?;
    let store = DirectoryStore::open(&directory).map_err(|error| Failure::target_absent(text, &error))?;
    Ok(Target::in_directory(store, watch, Some(Mounted::Share(share))))
}

/// A share that is mounted; unmounted with this value.
pub struct Share {
    mount: MountPoint,
    /// The kernel asks for it again when it connects anew, so it is kept until the share is unmounted.
    _ticket: Option<Ticket>,
}

impl Share {
    fn mount(text: &str, address: &SmbAddress, login: &Login, cancel: &Cancel) -> Result<Self, Failure> {
        let by_hand = || by_hand(text, address);
        if !is_possible() {
            return Err(by_hand());
        }
        let user = match login {
            Login::Password(_) => address.user.clone(),
            // The realm is in the ticket.
            Login::Kerberos(_) => address.user.as_deref().and_then(|user| user.split('@').next()).map(Into::into),
        };
        let names = [Some(&address.share), user.as_ref(), address.domain.as_ref()];
        let is_too_much = |name: &&String| name.contains([',', '\n', '\\', '/']);
        if let Some(name) = names.into_iter().flatten().find(is_too_much) {
            let message = t!("failure.target_kernel_name", target = text, name = name.escape_debug());
            return Err(Failure::usage("target-address", &message));
        }
        let ticket = match login {
            Login::Password(password) if password.reveal().len() > PASSWORD_LIMIT => {
                let message = t!("failure.password_long", limit = PASSWORD_LIMIT);
                return Err(Failure::usage("target-address", &message));
            }
            Login::Password(_) => None,
            Login::Kerberos(credentials) => Some(Ticket::get(text, address, credentials, cancel)?),
        };
        let mount = MountPoint::make("share").map_err(|error| failed(text, StoreErrorKind::Io, error))?;
        // From here on the directory goes away with it.
        let share = Self { mount, _ticket: ticket };
        let mut command = helper(HELPER);
        command.arg(format!("//{}/{}", address.host, address.share)).arg(share.mount.path());
        command.arg("-o").arg(options(address, user.as_deref(), login)).env("LC_ALL", "C");
        // It would be preferred to what the target says.
        command.env_remove("USER");
        let password = match login {
            Login::Password(password) => {
                command.env("PASSWD_FD", "0");
                password.reveal()
            }
            Login::Kerberos(_) => "",
        };
        let mut log = KernelLog::begin();
        match run(&mut command, password, cancel) {
            Ok(Ended::Well) => Ok(share),
            Ok(Ended::Badly(said)) => {
                let lines = log.lines();
                if number_of(&said) == Some(19) {
                    return Err(by_hand());
                }
                Err(failed(text, kind_of(&said, &lines), io::Error::other(told(&said, &lines))))
            }
            Ok(Ended::Late) => {
                let said = format!("no answer for {} s", LIMIT.as_secs());
                Err(failed(text, StoreErrorKind::Unreachable, io::Error::other(said)))
            }
            Ok(Ended::Cancelled) => Err(Failure::from(session::Error::Cancelled)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(by_hand()),
            Err(error) => Err(failed(text, StoreErrorKind::Io, error)),
        }
    }
}

/// That the system's client can't be used, and what to do without it.
pub fn by_hand(text: &str, address: &SmbAddress) -> Failure {
    let share = format!("//{}/{}", address.host, address.share);
    Failure::usage("target-smb-kernel", &t!("failure.target_smb_kernel", target = text, share = share))
}

/// An error of the target in words of the contract.
pub fn failed(text: &str, kind: StoreErrorKind, source: io::Error) -> Failure {
    let (location, path) = (text.to_owned(), String::new());
    Failure::from_store(&StoreError { kind, location, path, operation: "mounting", source })
}

fn options(address: &SmbAddress, user: Option<&str>, login: &Login) -> String {
    let mut options = format!("{OPTIONS},port={}", address.port.unwrap_or(PORT));
    // Every message is signed: a server that lets a named user in as a guest, and so can't sign, is refused.
    options.push_str(match login {
        Login::Password(_) => ",sec=ntlmsspi",
        Login::Kerberos(_) => ",sec=krb5i,cruid=0",
    });
    for (name, value) in [("username", user), ("domain", address.domain.as_deref())] {
        if let Some(value) = value {
            options.push_str(&format!(",{name}={value}"));
        }
    }
    if address.must_encrypt {
        options.push_str(",seal");
    }
    options
}

/// What the kernel says from now on.
struct KernelLog(Option<File>);

impl KernelLog {
    fn begin() -> Self {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::open("/dev/kmsg", flags, Mode::empty()).map(File::from).ok();
        Self(opened.and_then(|mut file| file.seek(SeekFrom::End(0)).ok().map(|_| file)))
    }

    /// What its SMB client has said.
    fn lines(&mut self) -> Vec<String> {
        let Some(file) = &mut self.0 else { return Vec::new() };
        let mut lines = Vec::new();
        let mut record = [0; 8192];
        for _ in 0..LOG_LIMIT {
            match file.read(&mut record) {
                Ok(0) => break,
                Ok(length) => lines.extend(record.get(..length).and_then(client_line)),
                // A record was overwritten before it was read.
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::PIPE.raw_os_error()) => {}
                Err(_) => break,
            }
        }
        lines
    }
}

/// A record is `priority,sequence,time,flags;text`, and further lines with properties.
fn client_line(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (_, text) = record.lines().next()?.split_once(';')?;
    text.strip_prefix("CIFS: ").map(|text| text.trim().to_owned())
}

/// What is told of both: not where to read more, nor what says nothing.
fn told(said: &str, log: &[String]) -> String {
    let parts = said.split("; ").filter(|part| !part.starts_with("Refer to "));
    let log = log.iter().map(String::as_str).filter(|line| !line.starts_with("Attempting")).take(TOLD_LIMIT);
    parts.chain(log).collect::<Vec<_>>().join("; ")
}

/// The number of the error in `mount error(13): Permission denied`.
fn number_of(said: &str) -> Option<u32> {
    let (_, rest) = said.split_once("mount error(")?;
    rest.split_once(')')?.0.parse().ok()
}

/// What the helper and the kernel mean.
fn kind_of(said: &str, log: &[String]) -> StoreErrorKind {
    let is_told = |words: &str| log.iter().any(|line| line.contains(words));
    let status = log.iter().rev().find_map(|line| {
        let status = line.strip_prefix("Status code returned 0x")?.split(' ').next()?;
        kind_of_status(u32::from_str_radix(status, 16).ok()?)
    });
    match number_of(said) {
        // A guest's answers are not signed.
        Some(13) if is_told("SMB signature verification") => StoreErrorKind::Login,
        // Kerberos: no ticket for this server, or one that is over.
        Some(126..=129) => StoreErrorKind::Login,
        Some(13) if is_told("Send error in SessSetup") => status.unwrap_or(StoreErrorKind::Login),
        Some(13) => status.unwrap_or(StoreErrorKind::Denied),
        Some(2) => StoreErrorKind::NoExport,
        Some(101 | 104 | 110..=113 | 115) => StoreErrorKind::Unreachable,
        None if said.contains("could not resolve address") => StoreErrorKind::Unreachable,
        _ if is_told("Send error in SessSetup") => StoreErrorKind::Login,
        _ => status.unwrap_or(StoreErrorKind::Io),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the helper and a kernel 6.1 said it.
    #[test]
    fn words_of_the_helper_and_of_the_kernel_are_understood() {
        use StoreErrorKind::{Denied, Io, Login, NoExport, Unreachable};
        let session = r"VFS: \\nas Send error in SessSetup = -13";
        let cases: [(&str, &[&str], StoreErrorKind); 12] = [
            (
                "mount error(13): Permission denied",
                &["Status code returned 0xc000006d STATUS_LOGON_FAILURE", session],
                Login,
            ),
            ("mount error(13): Permission denied", &[session], Login),
            ("mount error(13): Permission denied", &["Status code returned 0xc0000022 STATUS_ACCESS_DENIED"], Denied),
            (
                "mount error(13): Permission denied",
                &[r"VFS: \\nas SMB signature verification returned error = -13"],
                Login,
            ),
            ("mount error(13): Permission denied", &[], Denied),
            ("mount error(126): Required key not available", &["VFS: Verify user has a krb5 ticket"], Login),
            (
                "mount error(5): Input/output error",
                &["Status code returned 0xc00000a8 STATUS_BAD_TOKEN_TYPE", r"VFS: \\nas Send error in SessSetup = -5"],
                Login,
            ),
            ("mount error(2): No such file or directory", &[r"VFS: BAD_NETWORK_NAME: \\nas\x"], NoExport),
            ("mount error(111): could not connect to 192.0.2.1Unable to find suitable address.", &[], Unreachable),
            ("mount error(115): Operation now in progress", &[], Unreachable),
            ("mount error: could not resolve address for nas: Unknown error", &[], Unreachable),
            ("mount error(22): Invalid argument", &[], Io),
        ];
        for (said, log, kind) in cases {
            let log: Vec<String> = log.iter().map(ToString::to_string).collect();
            assert_eq!(kind_of(said, &log), kind, "{said} {log:?}");
        }
    }

    #[test]
    fn of_the_log_only_what_the_client_says_is_told() {
        let record = b"5,1234,9876543,-;CIFS: VFS: \\\\nas Send error in SessSetup = -13\n SUBSYSTEM=x\n";
        let line = client_line(record).unwrap();
        assert_eq!(line, r"VFS: \\nas Send error in SessSetup = -13");
        assert_eq!(client_line(b"6,1,2,-;virtio_net virtio0: renamed"), None);
        assert_eq!(client_line(b"no record"), None);
        let said = "mount error(13): Permission denied; Refer to the mount.cifs(8) manual page";
        let log = [r"Attempting to mount \\nas\x".to_owned(), line];
        assert_eq!(told(said, &log), r"mount error(13): Permission denied; VFS: \\nas Send error in SessSetup = -13");
    }

    #[test]
    fn the_password_is_in_no_argument() {
        let mut address = SmbAddress { host: "nas".into(), share: "images".into(), ..SmbAddress::default() };
        address.domain = Some("LAB".into());
        let secret = Secret::new("hunter2".into());
        let text = options(&address, Some("saver"), &Login::Password(&secret));
        assert_eq!(text, format!("{OPTIONS},port=445,sec=ntlmsspi,username=saver,domain=LAB"));
        address = SmbAddress { port: Some(4450), must_encrypt: true, domain: None, ..address };
        let text = options(&address, None, &Login::Kerberos(&Credentials::default()));
        assert_eq!(text, format!("{OPTIONS},port=4450,sec=krb5i,cruid=0,seal"));
        assert!(!OPTIONS.contains(' '), "{OPTIONS}");
    }
}
