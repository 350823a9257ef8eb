//! What a server's refusals mean.
//!
//! Source: RFC 1813, sections 2.6 (nfsstat3) and 5.1.5 (mountstat3).

use std::io;

use image::StoreErrorKind;
use nfs3_client::nfs3_types::mount::mountstat3;
use nfs3_client::nfs3_types::nfs3::nfsstat3;
use nfs3_client::{MountError, PortmapError, RpcError};

use crate::patience::Fault;

/// Why a call did not do what was asked.
#[derive(Debug)]
pub enum Trouble {
    /// The server says why.
    Status(nfsstat3),
    /// It said nothing that can be understood.
    Fault(Fault),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Fault(fault) => fault,
            Trouble::Status(status) => {
                let source = io::Error::new(io_kind(status), StatusError(status));
                // A server that fetches a file from a tape, or has no thread free, asks to be asked again.
                Self { kind: kind_of(status), source, can_pass: status == nfsstat3::NFS3ERR_JUKEBOX }
            }
        }
    }
}

/// A status, as the operator reads it.
#[derive(Debug, thiserror::Error)]
#[error("{words} ({0})", words = words(*.0))]
struct StatusError(nfsstat3);

fn words(status: nfsstat3) -> &'static str {
    match status {
        nfsstat3::NFS3ERR_PERM | nfsstat3::NFS3ERR_ACCES => "the server does not allow it",
        nfsstat3::NFS3ERR_NOENT => "no such file",
        nfsstat3::NFS3ERR_EXIST => "the name is taken",
        nfsstat3::NFS3ERR_NOSPC => "no space left",
        nfsstat3::NFS3ERR_DQUOT => "the quota is used up",
        nfsstat3::NFS3ERR_ROFS => "the export is read-only",
        nfsstat3::NFS3ERR_FBIG => "the file is too large for the server",
        nfsstat3::NFS3ERR_STALE | nfsstat3::NFS3ERR_BADHANDLE => "the file is gone from the server",
        nfsstat3::NFS3ERR_IO => "the server's disk failed",
        nfsstat3::NFS3ERR_JUKEBOX => "the server asks to wait",
        _ => "the server refused",
    }
}

fn kind_of(status: nfsstat3) -> StoreErrorKind {
    match status {
        nfsstat3::NFS3ERR_NOENT => StoreErrorKind::NotFound,
        nfsstat3::NFS3ERR_EXIST => StoreErrorKind::AlreadyExists,
        nfsstat3::NFS3ERR_NOSPC | nfsstat3::NFS3ERR_FBIG => StoreErrorKind::NoSpace,
        nfsstat3::NFS3ERR_DQUOT => StoreErrorKind::Quota,
        nfsstat3::NFS3ERR_PERM | nfsstat3::NFS3ERR_ACCES => StoreErrorKind::Denied,
        nfsstat3::NFS3ERR_ROFS => StoreErrorKind::ReadOnly,
        nfsstat3::NFS3ERR_JUKEBOX => StoreErrorKind::Unreachable,
        _ => StoreErrorKind::Io,
    }
}

fn io_kind(status: nfsstat3) -> io::ErrorKind {
    match status {
        nfsstat3::NFS3ERR_NOENT => io::ErrorKind::NotFound,
        nfsstat3::NFS3ERR_EXIST => io::ErrorKind::AlreadyExists,
        _ => io::ErrorKind::Other,
    }
}

/// What a failed remote procedure call means.
pub fn of_rpc(error: RpcError) -> Fault {
    match error {
        RpcError::Io(error) => Fault::passing(error),
        RpcError::Auth(status) => {
            let text = format!("the server does not accept the user ({status})");
            Fault::lasting(StoreErrorKind::Denied, text)
        }
        RpcError::ProgMismatch { low, high } => {
            let text = format!("the server speaks NFS versions {low} to {high}, not 3");
            Fault::lasting(StoreErrorKind::NoExport, text)
        }
        // While a server starts, its parts come one after the other.
        RpcError::ProgUnavail | RpcError::SystemErr => Fault::passing(io::Error::other(error.to_string())),
        // An answer that is none may come from a broken connection; the next one is a new one.
        RpcError::Xdr(_) | RpcError::UnexpectedXid | RpcError::UnexpectedCall => {
            Fault::passing(io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
        }
        other => Fault::lasting(StoreErrorKind::Io, other.to_string()),
    }
}

/// What a failed question for a port means.
pub fn of_portmap(error: PortmapError, program: &str) -> Fault {
    match error {
        PortmapError::Rpc(error) => of_rpc(error),
        other => Fault::passing(io::Error::other(format!("the server offers no {program} over TCP: {other}"))),
    }
}

/// What a failed mount means.
pub fn of_mount(error: MountError, path: &str) -> Fault {
    match error {
        MountError::Rpc(error) => of_rpc(error),
        MountError::Denied(mountstat3::MNT3ERR_IO | mountstat3::MNT3ERR_SERVERFAULT) => {
            Fault::passing(io::Error::other(format!("the server can't mount {path} now")))
        }
        MountError::Denied(status) => Fault::lasting(
            StoreErrorKind::NoExport,
            format!("the server does not export {path} to this machine ({status})"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_is_tried_again() {
        let cases = [
            (nfsstat3::NFS3ERR_NOSPC, StoreErrorKind::NoSpace, false),
            (nfsstat3::NFS3ERR_DQUOT, StoreErrorKind::Quota, false),
            (nfsstat3::NFS3ERR_ROFS, StoreErrorKind::ReadOnly, false),
            (nfsstat3::NFS3ERR_ACCES, StoreErrorKind::Denied, false),
            (nfsstat3::NFS3ERR_IO, StoreErrorKind::Io, false),
            (nfsstat3::NFS3ERR_JUKEBOX, StoreErrorKind::Unreachable, true),
        ];
        for (status, kind, can_pass) in cases {
            let fault = Fault::from(Trouble::Status(status));
            assert_eq!((fault.kind, fault.can_pass), (kind, can_pass), "{status}");
            assert!(fault.source.to_string().ends_with(&format!("({status})")), "{}", fault.source);
        }
        assert!(of_rpc(RpcError::Io(io::ErrorKind::ConnectionReset.into())).can_pass);
        assert!(!of_mount(MountError::Denied(mountstat3::MNT3ERR_ACCES), "/x").can_pass);
    }
}
