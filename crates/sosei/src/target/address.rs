//! What an operator writes for a target, taken apart. Nothing is opened here.

use std::path::PathBuf;

use repository::{NfsAddress, S3Address, SmbAddress, SmbClient};

/// A target as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A directory of this machine.
    Directory(PathBuf),
    /// The file system with this label or UUID, and a directory in it.
    Usb {
        /// Label or UUID.
        label: String,
        /// Directory, without slashes around it; empty for the root.
        path: String,
    },
    /// An NFS export.
    Nfs(NfsAddress),
    /// An SMB share.
    Smb(SmbAddress),
    /// Object storage.
    S3(S3Address),
}

/// What is wrong with a target as it was written. None of them repeats a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// A kind of target that this program does not know.
    Scheme(String),
    /// A password or key, which must not stand on a command line.
    Secret,
    /// A part that must be there is missing.
    Missing(Part),
    /// A part that can't be there.
    Unexpected(Part),
    /// A port that is no number from 1 to 65535.
    Port(String),
    /// A setting behind `?` that this kind of target does not have.
    Setting(String),
    /// A setting with a value that it can't have.
    Value {
        /// The setting.
        setting: String,
        /// Its value.
        value: String,
    },
    /// A part `.` or `..` in a path: what is kept there may lie outside of the target.
    Dots(String),
    /// A `%` without two hexadecimal digits behind it, or bytes that are no UTF-8.
    Escape(String),
}

/// A part of a target as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The `//` behind the kind.
    Slashes,
    /// The name of the server.
    Host,
    /// A user.
    User,
    /// The path of an export.
    Export,
    /// The name of a share.
    Share,
    /// The name of a bucket.
    Bucket,
    /// A label.
    Label,
}

/// Takes a target apart.
///
/// # Errors
/// Exactly what is wrong. Whatever has no known kind in front of a colon is a directory; one with a colon in its
/// name can be written as `./name`.
pub fn parse(text: &str) -> Result<Address, AddressError> {
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(Address::Directory(text.into())) };
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(Address::Directory(text.into()));
    }
    match scheme {
        "usb" => parse_usb(rest),
        "nfs" => parse_nfs(&Parts::of(rest)?),
        "smb" => parse_smb(&Parts::of(rest)?),
        "s3" => parse_s3(&Parts::of(rest)?),
        other => Err(AddressError::Scheme(other.to_owned())),
    }
}

fn parse_usb(rest: &str) -> Result<Address, AddressError> {
    let (label, path) = rest.split_once('/').unwrap_or((rest, ""));
    if label.is_empty() {
        return Err(AddressError::Missing(Part::Label));
    }
    Ok(Address::Usb { label: label.to_owned(), path: inner(path, &['/'])? })
}

fn parse_nfs(parts: &Parts) -> Result<Address, AddressError> {
    if parts.user.is_some() {
        return Err(AddressError::Unexpected(Part::User));
    }
    let path = inner(&parts.path, &['/'])?;
    if path.is_empty() {
        return Err(AddressError::Missing(Part::Export));
    }
    let (host, port) = parts.host_and_port()?;
    let mut address = NfsAddress { host, port, path: format!("/{path}"), ..NfsAddress::default() };
    for (setting, value) in &parts.settings {
        let wrong = || AddressError::Value { setting: setting.clone(), value: value.clone() };
        match setting.as_str() {
            "version" => {
                address.version =
                    Some(value.parse().ok().filter(|version| matches!(version, 3 | 4)).ok_or_else(wrong)?);
            }
            "uid" => address.uid = Some(value.parse().map_err(|_| wrong())?),
            "gid" => address.gid = Some(value.parse().map_err(|_| wrong())?),
            "mountport" => address.mount_port = Some(port_number(value)?),
            _ => return Err(AddressError::Setting(setting.clone())),
        }
    }
    Ok(Address::Nfs(address))
}

fn parse_smb(parts: &Parts) -> Result<Address, AddressError> {
    // For a server of this kind both separate.
    let path = inner(&parts.path, &['/', '\\'])?;
    let (share, path) = path.split_once('/').unwrap_or((&path, ""));
    if share.is_empty() {
        return Err(AddressError::Missing(Part::Share));
    }
    let (domain, user) = match parts.user.as_deref().map(|user| user.split_once(';')) {
        None => (None, None),
        Some(None) => (None, parts.user.clone()),
        Some(Some((domain, user))) => (Some(domain.to_owned()), Some(user.to_owned())),
    };
    if user.as_ref().is_some_and(String::is_empty) {
        return Err(AddressError::Missing(Part::User));
    }
    let (host, port) = parts.host_and_port()?;
    let (share, path) = (share.to_owned(), path.to_owned());
    let mut address = SmbAddress { host, port, share, path, user, domain, ..SmbAddress::default() };
    for (setting, value) in &parts.settings {
        match (setting.as_str(), value.as_str()) {
            ("client", "program") => address.client = Some(SmbClient::Program),
            ("client", "kernel") => address.client = Some(SmbClient::Kernel),
            ("security", "ntlm") => address.is_kerberos = false,
            ("security", "kerberos") => address.is_kerberos = true,
            ("encryption", "required") => address.must_encrypt = true,
            ("client" | "security" | "encryption", _) => {
                return Err(AddressError::Value { setting: setting.clone(), value: value.clone() });
            }
            _ => return Err(AddressError::Setting(setting.clone())),
        }
    }
    if address.is_kerberos && address.client == Some(SmbClient::Program) {
        return Err(AddressError::Value { setting: "security".into(), value: "kerberos".into() });
    }
    Ok(Address::Smb(address))
}

fn parse_s3(parts: &Parts) -> Result<Address, AddressError> {
    if parts.user.is_some() {
        return Err(AddressError::Secret);
    }
    if parts.host.is_empty() {
        return Err(AddressError::Missing(Part::Bucket));
    }
    let (bucket, prefix) = (inner(&parts.host, &['/'])?, inner(&parts.path, &['/'])?);
    let mut address = S3Address { bucket, prefix, ..S3Address::default() };
    for (setting, value) in &parts.settings {
        let wrong = || AddressError::Value { setting: setting.clone(), value: value.clone() };
        match setting.as_str() {
            "endpoint" => {
                let address_of_service = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
                let host = address_of_service.filter(|host| !host.is_empty()).ok_or_else(wrong)?;
                if host.contains('@') {
                    return Err(AddressError::Secret);
                }
                address.endpoint = Some(value.clone());
            }
            "region" if !value.is_empty() => address.region = Some(value.clone()),
            "region" => return Err(wrong()),
            _ => return Err(AddressError::Setting(setting.clone())),
        }
    }
    Ok(Address::S3(address))
}

/// `//[user@]host[:port]/path[?setting=value&…]`, without its escapes.
struct Parts {
    user: Option<String>,
    /// With the port, as it was written.
    host: String,
    path: String,
    settings: Vec<(String, String)>,
}

impl Parts {
    fn of(rest: &str) -> Result<Self, AddressError> {
        let rest = rest.strip_prefix("//").ok_or(AddressError::Missing(Part::Slashes))?;
        let (place, settings) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        // A password is refused before anything else is looked at, so that no other message repeats it.
        if user.is_some_and(|user| user.contains(':')) {
            return Err(AddressError::Secret);
        }
        let settings: Vec<(&str, &str)> = settings
            .split('&')
            .filter(|setting| !setting.is_empty())
            .map(|setting| setting.split_once('=').unwrap_or((setting, "")))
            .collect();
        if settings.iter().any(|(name, _)| is_secret(name)) {
            return Err(AddressError::Secret);
        }
        let settings = settings.into_iter().map(|(name, value)| Ok((name.to_owned(), decode(value)?)));
        Ok(Self {
            user: user.map(decode).transpose()?,
            host: host.to_owned(),
            path: decode(path)?,
            settings: settings.collect::<Result<_, _>>()?,
        })
    }

    fn host_and_port(&self) -> Result<(String, Option<u16>), AddressError> {
        let (host, port) = match self.host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => {
                (host, Some(port.strip_prefix(':').ok_or_else(|| AddressError::Port(port.to_owned()))?))
            }
            None => match self.host.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (self.host.as_str(), None),
            },
        };
        if host.is_empty() {
            return Err(AddressError::Missing(Part::Host));
        }
        Ok((host.to_owned(), port.map(port_number).transpose()?))
    }
}

/// Settings that would hold a password or a key.
fn is_secret(setting: &str) -> bool {
    let setting = setting.to_ascii_lowercase();
    ["pass", "pw", "secret", "key", "token", "credential"].iter().any(|word| setting.contains(word))
}

fn port_number(text: &str) -> Result<u16, AddressError> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| AddressError::Port(text.to_owned()))
}

/// A path without slashes around it, and without empty parts. One with a part that leads up, or nowhere, leads out of
/// what is mounted, into the memory of this machine: what is saved there is gone with the next start.
fn inner(path: &str, separators: &[char]) -> Result<String, AddressError> {
    if path.split(separators).any(|part| matches!(part, "." | "..")) {
        return Err(AddressError::Dots(path.to_owned()));
    }
    Ok(path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"))
}

/// Puts bytes in the place of `%` and two digits.
fn decode(text: &str) -> Result<String, AddressError> {
    let wrong = || AddressError::Escape(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = others;
            continue;
        }
        let digits = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(wrong)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = others.get(2..).unwrap_or_default();
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nfs(host: &str, port: Option<u16>, path: &str) -> NfsAddress {
        NfsAddress { host: host.into(), port, path: path.into(), ..NfsAddress::default() }
    }

    #[test]
    fn directories_are_whatever_names_no_kind() {
        for text in ["/mnt/images", "images", "./nfs:x", "a b:c", "/x/nfs://y", ":x"] {
            assert_eq!(parse(text), Ok(Address::Directory(text.into())), "{text}");
        }
    }

    #[test]
    fn exports_have_host_port_path_and_settings() {
        let cases = [
            ("nfs://nas/export", nfs("nas", None, "/export")),
            ("nfs://nas:2049/export/a//b/", nfs("nas", Some(2049), "/export/a/b")),
            ("nfs://[fd00::1]/x", nfs("fd00::1", None, "/x")),
            ("nfs://[fd00::1]:111/x", nfs("fd00::1", Some(111), "/x")),
            ("nfs://nas/a%20b/%E8%98%87?version=3", NfsAddress { version: Some(3), ..nfs("nas", None, "/a b/蘇") }),
            (
                "nfs://nas/x?version=4&uid=1000&gid=100&mountport=20048",
                NfsAddress {
                    version: Some(4),
                    uid: Some(1000),
                    gid: Some(100),
                    mount_port: Some(20048),
                    ..nfs("nas", None, "/x")
                },
            ),
        ];
        for (text, address) in cases {
            assert_eq!(parse(text), Ok(Address::Nfs(address)), "{text}");
        }
    }

    #[test]
    fn shares_have_user_domain_and_path() {
        let smb = |user: Option<&str>, domain: Option<&str>, port, path: &str| {
            Address::Smb(SmbAddress {
                host: "nas".into(),
                port,
                share: "images".into(),
                path: path.into(),
                user: user.map(Into::into),
                domain: domain.map(Into::into),
                ..SmbAddress::default()
            })
        };
        assert_eq!(parse("smb://nas/images"), Ok(smb(None, None, None, "")));
        assert_eq!(parse("smb://saver@nas:4450/images/a/b"), Ok(smb(Some("saver"), None, Some(4450), "a/b")));
        assert_eq!(parse("smb://LAB;sa%40ver@nas/images"), Ok(smb(Some("sa@ver"), Some("LAB"), None, "")));
    }

    #[test]
    fn a_share_can_say_who_speaks_to_it_and_how() {
        let smb = |client, is_kerberos, must_encrypt| {
            let address = SmbAddress { host: "nas".into(), share: "images".into(), ..SmbAddress::default() };
            Ok(Address::Smb(SmbAddress { client, is_kerberos, must_encrypt, ..address }))
        };
        let cases = [
            ("client=kernel", smb(Some(SmbClient::Kernel), false, false)),
            ("client=program&encryption=required", smb(Some(SmbClient::Program), false, true)),
            ("security=kerberos", smb(None, true, false)),
            ("security=ntlm&client=kernel", smb(Some(SmbClient::Kernel), false, false)),
        ];
        for (settings, expected) in cases {
            assert_eq!(parse(&format!("smb://nas/images?{settings}")), expected, "{settings}");
        }
    }

    #[test]
    fn buckets_have_a_prefix_and_a_service() {
        let s3 = S3Address { bucket: "b".into(), ..S3Address::default() };
        assert_eq!(parse("s3://b"), Ok(Address::S3(s3.clone())));
        let text = "s3://b/p/q?endpoint=http://127.0.0.1:9000&region=eu-1";
        let (endpoint, region) = (Some("http://127.0.0.1:9000".into()), Some("eu-1".into()));
        assert_eq!(parse(text), Ok(Address::S3(S3Address { prefix: "p/q".into(), endpoint, region, ..s3 })));
    }

    #[test]
    fn disks_have_a_label_and_a_path() {
        let usb = |label: &str, path: &str| Ok(Address::Usb { label: label.into(), path: path.into() });
        assert_eq!(parse("usb:SOSEI"), usb("SOSEI", ""));
        assert_eq!(parse("usb:My Disk/a/b/"), usb("My Disk", "a/b"));
        assert_eq!(parse("usb:A/..b/c../..."), usb("A", "..b/c../..."), "names with dots are names");
    }

    #[test]
    fn a_secret_is_refused_and_not_repeated() {
        let secrets = [
            "nfs://user:hunter2@nas/x",
            "smb://user:hunter2@nas/images",
            "smb://LAB;user:hunter2@nas:99999/images",
            "smb://nas/images?password=hunter2",
            "s3://key:hunter2@bucket",
            "s3://hunter2@bucket",
            "s3://bucket?secret_access_key=hunter2",
            "s3://bucket?endpoint=https://user:hunter2@host",
        ];
        for text in secrets {
            let error = parse(text).unwrap_err();
            assert_eq!(error, AddressError::Secret, "{text}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn every_mistake_has_its_own_error() {
        use AddressError::{Dots, Escape, Missing, Port, Scheme, Setting, Unexpected, Value};
        let value = |setting: &str, value: &str| Value { setting: setting.into(), value: value.into() };
        let cases = [
            ("ftp://x/y", Scheme("ftp".into())),
            ("nfs:nas/x", Missing(Part::Slashes)),
            ("nfs:///x", Missing(Part::Host)),
            ("nfs://nas", Missing(Part::Export)),
            ("nfs://nas/", Missing(Part::Export)),
            ("nfs://me@nas/x", Unexpected(Part::User)),
            ("nfs://nas:0/x", Port("0".into())),
            ("nfs://nas:65536/x", Port("65536".into())),
            ("nfs://nas:/x", Port(String::new())),
            ("nfs://[::1]2049/x", Port("2049".into())),
            ("nfs://nas/x?version=2", value("version", "2")),
            ("nfs://nas/x?uid=-1", value("uid", "-1")),
            ("nfs://nas/x?gid=", value("gid", "")),
            ("nfs://nas/x?mountport=x", Port("x".into())),
            ("nfs://nas/x?colour=red", Setting("colour".into())),
            ("nfs://nas/x%2", Escape("x%2".into())),
            ("nfs://nas/x%+1", Escape("x%+1".into())),
            ("nfs://nas/x%ff", Escape("x%ff".into())),
            ("smb://nas", Missing(Part::Share)),
            ("smb://@nas/x", Missing(Part::User)),
            ("smb://nas/x?version=3", Setting("version".into())),
            ("smb://nas/x?client=4", value("client", "4")),
            ("smb://nas/x?encryption=none", value("encryption", "none")),
            ("smb://nas/x?security=kerberos&client=program", value("security", "kerberos")),
            ("s3://", Missing(Part::Bucket)),
            ("s3://b?endpoint=ftp://x", value("endpoint", "ftp://x")),
            ("s3://b?endpoint=https://", value("endpoint", "https://")),
            ("s3://b?region=", value("region", "")),
            ("nfs://nas/../x", Dots("../x".into())),
            ("nfs://nas/x/./y?version=4", Dots("x/./y".into())),
            ("smb://nas/images/../../x", Dots("images/../../x".into())),
            ("smb://nas/images/%2E%2e/x", Dots("images/../x".into())),
            ("smb://nas/images%2f..?client=kernel", Dots("images/..".into())),
            ("smb://nas/images/a%5C..%5Cb", Dots("images/a\\..\\b".into())),
            ("s3://b/../x", Dots("../x".into())),
            ("s3://../x", Dots("..".into())),
            ("usb:BACKUP/../x", Dots("../x".into())),
            ("usb:BACKUP/a/..", Dots("a/..".into())),
            ("usb:", Missing(Part::Label)),
            ("usb:/x", Missing(Part::Label)),
        ];
        for (text, error) in cases {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
