//! Where a repository is, as an operator writes it.

mod address;
mod credentials_file;
mod export;
mod mark;
mod mounting;
mod prompt;
mod secret;
mod share;
mod ticket;
mod ticket_users;
mod usb;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::language::t;
use image::Store;
use repository::{
    DirectoryStore, EncryptionNotAgreed, NfsAddress, NfsStore, Patience, S3Address, S3Store, SmbAddress, SmbClient,
    SmbStore, Watch, host_and_port,
};
use session::{Cancel, Event};

use self::address::{Address, AddressError, Part};
use self::share::Login;
use crate::arguments::General;
use crate::failure::Failure;
use crate::operator::{Credentials, Operator, Reporter};

/// A target that is open.
pub struct Target {
    /// Its files.
    pub store: Box<dyn Store>,
    /// Its directory on this machine, where it has one.
    pub directory: Option<PathBuf>,
    /// Unmounted after the store was closed: fields go in this order.
    _mounted: Option<Mounted>,
}

/// What a target is opened for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To read images: nothing of it is changed, but a report added where that is possible.
    Reading,
    /// To keep a new image there.
    Writing,
}

/// What was mounted for a target, and is unmounted with it.
enum Mounted {
    /// A file system of an attached disk.
    #[expect(dead_code, reason = "held until it is dropped")]
    Disk(usb::Mounted),
    /// An export.
    #[expect(dead_code, reason = "held until it is dropped")]
    Export(export::Export),
    /// A share.
    #[expect(dead_code, reason = "held until it is dropped")]
    Share(share::Share),
}

impl Target {
    fn of(store: impl Store + 'static) -> Self {
        Self { store: Box::new(store), directory: None, _mounted: None }
    }

    fn in_directory(store: DirectoryStore, watch: Watch, mounted: Option<Mounted>) -> Self {
        let directory = Some(store.root().to_owned());
        Self { store: store.for_sessions(watch), directory, _mounted: mounted }
    }
}

/// Opens a target for an operator who works with `disks`: none of them is touched for it. While a server does not
/// answer, the operator is told, and can end the wait.
pub fn open_for(operator: &dyn Operator, text: &str, disks: &[PathBuf], purpose: Use) -> Result<Target, Failure> {
    open_telling(operator, operator.reporter(), text, disks, purpose)
}

/// The same, where somebody else than the operator is told how the target is, to pass it on.
pub fn open_telling(
    operator: &dyn Operator,
    reporter: Arc<dyn Reporter>,
    text: &str,
    disks: &[PathBuf],
    purpose: Use,
) -> Result<Target, Failure> {
    open_with(text, disks, purpose, &operator.credentials(), reporter, operator.cancel())
}

/// The same for a command that decides nothing, works with no disk and only reads: passwords come from where a command line finds
/// them.
pub fn open<R: Reporter + 'static>(
    text: &str,
    general: &General,
    progress: &Arc<R>,
    cancel: &Cancel,
) -> Result<Target, Failure> {
    let reporter: Arc<dyn Reporter> = progress.clone();
    open_with(text, &[], Use::Reading, &Credentials::of_a_call(general), reporter, cancel)
}

/// Whether a target as it was written has a password or a key in it, and so is opened by no command.
pub fn has_secret(text: &str) -> bool {
    address::parse(text) == Err(AddressError::Secret)
}

/// The attached file systems that may be targets by their label or UUID, and what each is.
pub fn volumes() -> Vec<(String, String)> {
    usb::volumes()
}

fn open_with(
    text: &str,
    disks: &[PathBuf],
    purpose: Use,
    credentials: &Credentials,
    reporter: Arc<dyn Reporter>,
    cancel: &Cancel,
) -> Result<Target, Failure> {
    let address = address::parse(text).map_err(|error| usage(text, &error))?;
    clear_left_behind();
    match address {
        Address::Directory(path) => open_directory(text, &path, watch(reporter, cancel)),
        Address::Usb { label, path } => usb::open(text, &label, &path, disks, purpose),
        Address::Nfs(address) if address.version == Some(4) => {
            export::open(text, &address, watch(reporter, cancel), cancel)
        }
        Address::Nfs(address) => open_nfs(&address, watch(reporter, cancel)),
        Address::Smb(address) => open_smb(text, address, credentials, reporter, cancel),
        Address::S3(address) => open_s3(address, credentials, watch(reporter, cancel)),
    }
}

/// What a process that was killed left behind goes away before anything is taken for the operator's own.
fn clear_left_behind() {
    let place = Path::new(usb::DIRECTORY);
    mark::clear(place);
    ticket::clear_left_behind(place);
}

fn open_directory(text: &str, path: &Path, watch: Watch) -> Result<Target, Failure> {
    match DirectoryStore::open(path) {
        Ok(store) => Ok(Target::in_directory(store, watch, None)),
        Err(error) => Err(Failure::target_absent(text, &error)),
    }
}

fn open_nfs(address: &NfsAddress, watch: Watch) -> Result<Target, Failure> {
    let store = NfsStore::open(address, Patience::default(), watch).map_err(|error| Failure::from_store(&error))?;
    Ok(Target::of(store))
}

fn open_smb(
    text: &str,
    mut address: SmbAddress,
    credentials: &Credentials,
    reporter: Arc<dyn Reporter>,
    cancel: &Cancel,
) -> Result<Target, Failure> {
    let server = host_and_port(&address.host, None);
    secret::complete(&mut address, credentials)?;
    if address.is_kerberos {
        return share::open(text, &address, &Login::Kerberos(credentials), watch(reporter, cancel), cancel);
    }
    let password = match &address.user {
        Some(user) => Some(secret::password(user, &server, credentials)?),
        None if address.must_encrypt || address.client == Some(SmbClient::Kernel) => {
            return Err(Failure::usage("target-address", &t!("failure.target_guest", target = text)));
        }
        None => {
            reporter.notify(Event::Warning { text: t!("progress.guest", target = address).into_owned() });
            None
        }
    };
    if let (Some(password), Some(SmbClient::Kernel)) = (&password, address.client) {
        return share::open(text, &address, &Login::Password(password), watch(reporter, cancel), cancel);
    }
    let opened =
        SmbStore::open(address.clone(), password.clone(), Patience::default(), watch(reporter.clone(), cancel));
    match (opened, password) {
        (Ok(store), _) => Ok(Target::of(store)),
        // The kernel's client may agree with the server.
        (Err(error), Some(password))
            if address.client.is_none() && EncryptionNotAgreed::is_reason_of(&error) && share::is_possible() =>
        {
            let warning = t!("progress.kernel_client", target = address, details = crate::failure::chain(&error));
            reporter.notify(Event::Warning { text: warning.into_owned() });
            share::open(text, &address, &Login::Password(&password), watch(reporter, cancel), cancel)
        }
        (Err(error), _) => Err(Failure::from_store(&error)),
    }
}

fn open_s3(mut address: S3Address, credentials: &Credentials, watch: Watch) -> Result<Target, Failure> {
    let keys = secret::keys(credentials)?;
    let region = || ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| std::env::var(name).ok());
    address.region = address.region.or_else(region);
    let store = S3Store::open(address, &keys, Patience::default(), watch);
    let store = store.map_err(|error| Failure::from_store(&error))?;
    Ok(Target::of(store))
}

/// Lets a target tell how it is, and lets the operator end its waits.
fn watch(reporter: Arc<dyn Reporter>, cancel: &Cancel) -> Watch {
    let cancel = cancel.clone();
    Watch {
        report: Arc::new(move |contact| reporter.contact(&contact)),
        is_cancelled: Arc::new(move || cancel.is_cancelled()),
    }
}

/// The directory `path` below a place where something is mounted. A link that leads out of it leads into the memory of
/// this machine, or to a disk that nobody named.
fn below(text: &str, root: &Path, path: &str) -> Result<PathBuf, Failure> {
    let absent = |error| Failure::target_absent(text, &error);
    let found = std::fs::canonicalize(root.join(path)).map_err(absent)?;
    if found.starts_with(std::fs::canonicalize(root).map_err(absent)?) {
        return Ok(found);
    }
    Err(Failure::usage("target-address", &t!("failure.target_outside", target = text, path = path)))
}

fn unsupported(text: &str, scheme: &str) -> Failure {
    Failure::usage("target-unknown", &t!("failure.target_unknown", target = text, scheme = scheme))
}

/// What is wrong with a target as it was written.
fn usage(text: &str, error: &AddressError) -> Failure {
    let message = match error {
        AddressError::Scheme(scheme) => return unsupported(text, scheme),
        // The target itself is not repeated: messages end up in logs.
        AddressError::Secret => return Failure::usage("secret-in-target", &t!("failure.target_secret")),
        AddressError::Missing(part) => {
            let part = t!(part_key(*part));
            t!("failure.target_missing", target = text, part = part)
        }
        AddressError::Unexpected(part) => {
            let part = t!(part_key(*part));
            t!("failure.target_unexpected", target = text, part = part)
        }
        AddressError::Port(port) => t!("failure.target_port", target = text, port = port),
        AddressError::Setting(setting) => t!("failure.target_setting", target = text, setting = setting),
        AddressError::Value { setting, value } => {
            t!("failure.target_value", target = text, setting = setting, value = value)
        }
        AddressError::Dots(path) => t!("failure.target_dots", target = text, path = path),
        AddressError::Escape(escaped) => t!("failure.target_escape", target = text, escaped = escaped),
    };
    Failure::usage("target-address", &message)
}

fn part_key(part: Part) -> &'static str {
    match part {
        Part::Slashes => "target.slashes",
        Part::Host => "target.host",
        Part::User => "target.user",
        Part::Export => "target.export",
        Part::Share => "target.share",
        Part::Bucket => "target.bucket",
        Part::Label => "target.label",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_a_mounted_place_stays_below_it() {
        use std::os::unix::fs::symlink;
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("mounted");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(directory.path().join("mounted-2")).unwrap();
        symlink("a", root.join("within")).unwrap();
        symlink("../mounted-2", root.join("beside")).unwrap();
        symlink("/tmp", root.join("absolute")).unwrap();
        assert_eq!(below("t", &root, "within/b").unwrap(), root.canonicalize().unwrap().join("a/b"));
        assert_eq!(below("t", &root, "").unwrap(), root.canonicalize().unwrap());
        for path in ["beside", "absolute", ".."] {
            let failure = below("t", &root, path).unwrap_err();
            assert_eq!((failure.code.as_str(), failure.status), ("target-address", crate::failure::WRONG_USAGE));
        }
        assert_ne!(below("t", &root, "nowhere").unwrap_err().code, "target-address");
    }
}
