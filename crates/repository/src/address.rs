//! Where a target in the network is, as data. The command line parses what an operator writes into these.

use std::fmt;

/// An export of an NFS server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NfsAddress {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port of the NFS service; `None` asks the portmapper.
    pub port: Option<u16>,
    /// Port of the mount service; `None` asks the portmapper.
    pub mount_port: Option<u16>,
    /// Path of the directory on the server, with a slash at its start: the export, or a directory below it.
    pub path: String,
    /// Version of the protocol, where it was asked for.
    pub version: Option<u8>,
    /// User id that the server is told; `None` for that of the process.
    pub uid: Option<u32>,
    /// Group id that the server is told; `None` for that of the process.
    pub gid: Option<u32>,
}

/// A directory of a share of an SMB server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SmbAddress {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port; `None` for 445.
    pub port: Option<u16>,
    /// Name of the share.
    pub share: String,
    /// Directory in the share, without slashes around it; empty for the share itself.
    pub path: String,
    /// Who logs in; `None` for a guest.
    pub user: Option<String>,
    /// Domain or work group of the user.
    pub domain: Option<String>,
    /// Who speaks to the server, where that was asked for.
    pub client: Option<SmbClient>,
    /// Whether the user shows a ticket of Kerberos instead of a password. This program itself can't.
    pub is_kerberos: bool,
    /// Whether nothing may be read on the way, whatever the share demands.
    pub must_encrypt: bool,
}

/// Who speaks to an SMB server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmbClient {
    /// This program itself.
    Program,
    /// The client of the kernel, which mounts the share.
    Kernel,
}

/// A part of a bucket of object storage that speaks S3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Address {
    /// Name of the bucket.
    pub bucket: String,
    /// What all keys begin with, without slashes around it; empty for the bucket itself.
    pub prefix: String,
    /// URL of the service; `None` for Amazon's of the region.
    pub endpoint: Option<String>,
    /// Region.
    pub region: Option<String>,
}

/// A password. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` from being printed.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The password itself, for whom it is meant.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Host and port as in an URL: brackets around an IPv6 address.
pub fn host_and_port(host: &str, port: Option<u16>) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    port.map_or(host.clone(), |port| format!("{host}:{port}"))
}

impl fmt::Display for NfsAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "nfs://{}{}", host_and_port(&self.host, self.port), self.path)
    }
}

impl fmt::Display for SmbAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "smb://{}/{}", host_and_port(&self.host, self.port), self.share)?;
        if self.path.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.path) }
    }
}

impl fmt::Display for S3Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}", self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(formatter, "/{}", self.prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_printed_as_an_operator_writes_them() {
        let nfs = NfsAddress { host: "fd00::1".into(), port: Some(12049), path: "/x/y".into(), ..Default::default() };
        assert_eq!(nfs.to_string(), "nfs://[fd00::1]:12049/x/y");
        let smb =
            SmbAddress { host: "nas".into(), share: "images".into(), user: Some("u".into()), ..Default::default() };
        assert_eq!(smb.to_string(), "smb://nas/images");
        let s3 = S3Address { bucket: "b".into(), prefix: "p/q".into(), ..Default::default() };
        assert_eq!(s3.to_string(), "s3://b/p/q");
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "Secret(…)");
    }
}
