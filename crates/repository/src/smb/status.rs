//! What the errors of SMB mean for a store.
//!
//! Source: [MS-ERREF] 2.3.1 (NTSTATUS values).

use std::io;

use image::StoreErrorKind;
use smb2::Error;
use smb2::types::status::NtStatus;

use crate::patience::Fault;

const QUOTA_EXCEEDED: NtStatus = NtStatus(0xC000_0044);
const MEDIA_WRITE_PROTECTED: NtStatus = NtStatus(0xC000_00A2);
const FILE_TOO_LARGE: NtStatus = NtStatus(0xC000_0904);
const IO_TIMEOUT: NtStatus = NtStatus(0xC000_00B5);
const NETWORK_BUSY: NtStatus = NtStatus(0xC000_00BF);
const UNEXPECTED_NETWORK_ERROR: NtStatus = NtStatus(0xC000_00C4);
const NETWORK_ACCESS_DENIED: NtStatus = NtStatus(0xC000_00CA);
const BAD_DEVICE_TYPE: NtStatus = NtStatus(0xC000_00CB);
const NO_SUCH_USER: NtStatus = NtStatus(0xC000_0064);
const WRONG_PASSWORD: NtStatus = NtStatus(0xC000_006A);
const LOGON_TYPE_NOT_GRANTED: NtStatus = NtStatus(0xC000_015B);
const TIME_DIFFERENCE_AT_DC: NtStatus = NtStatus(0xC000_0133);
const NTLM_BLOCKED: NtStatus = NtStatus(0xC000_0418);
const INVALID_HANDLE: NtStatus = NtStatus(0xC000_0008);

/// What an answer other than success means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It stays so.
    Lasting(StoreErrorKind),
    /// The same may succeed later, on the same connection.
    Busy,
    /// The server has forgotten this connection: it takes a new one.
    Forgotten,
}

/// What `status` means.
pub fn meaning(status: NtStatus) -> Meaning {
    use StoreErrorKind as Kind;
    match status {
        NtStatus::OBJECT_NAME_NOT_FOUND
        | NtStatus::OBJECT_PATH_NOT_FOUND
        | NtStatus::NO_SUCH_FILE
        | NtStatus::NOT_FOUND => Meaning::Lasting(Kind::NotFound),
        NtStatus::OBJECT_NAME_COLLISION => Meaning::Lasting(Kind::AlreadyExists),
        NtStatus::END_OF_FILE => Meaning::Lasting(Kind::Truncated),
        NtStatus::DISK_FULL | FILE_TOO_LARGE => Meaning::Lasting(Kind::NoSpace),
        QUOTA_EXCEEDED => Meaning::Lasting(Kind::Quota),
        NtStatus::ACCESS_DENIED | NETWORK_ACCESS_DENIED | NtStatus::CANNOT_DELETE => Meaning::Lasting(Kind::Denied),
        MEDIA_WRITE_PROTECTED => Meaning::Lasting(Kind::ReadOnly),
        NtStatus::LOGON_FAILURE
        | NO_SUCH_USER
        | WRONG_PASSWORD
        | LOGON_TYPE_NOT_GRANTED
        | NTLM_BLOCKED
        | NtStatus::ACCOUNT_RESTRICTION
        | NtStatus::INVALID_LOGON_HOURS
        | NtStatus::INVALID_WORKSTATION
        | NtStatus::PASSWORD_EXPIRED
        | NtStatus::ACCOUNT_DISABLED
        | NtStatus::ACCOUNT_EXPIRED
        | NtStatus::PASSWORD_MUST_CHANGE
        | NtStatus::ACCOUNT_LOCKED_OUT => Meaning::Lasting(Kind::Login),
        TIME_DIFFERENCE_AT_DC => Meaning::Lasting(Kind::Clock),
        NtStatus::BAD_NETWORK_NAME | NtStatus::BAD_NETWORK_PATH | BAD_DEVICE_TYPE => Meaning::Lasting(Kind::NoExport),
        NtStatus::SHARING_VIOLATION
        | NtStatus::FILE_LOCK_CONFLICT
        | NtStatus::DELETE_PENDING
        | NtStatus::INSUFFICIENT_RESOURCES
        | NtStatus::INSUFF_SERVER_RESOURCES
        | NtStatus::REQUEST_NOT_ACCEPTED
        | NETWORK_BUSY
        | IO_TIMEOUT => Meaning::Busy,
        NtStatus::USER_SESSION_DELETED
        | NtStatus::NETWORK_SESSION_EXPIRED
        | NtStatus::NETWORK_NAME_DELETED
        | NtStatus::FILE_CLOSED
        | NtStatus::CANCELLED
        | INVALID_HANDLE
        | UNEXPECTED_NETWORK_ERROR => Meaning::Forgotten,
        _ => Meaning::Lasting(Kind::Io),
    }
}

/// What an NTSTATUS means that another client was told; `None` where it says nothing in particular.
pub fn kind_of_status(status: u32) -> Option<StoreErrorKind> {
    match meaning(NtStatus(status)) {
        Meaning::Lasting(StoreErrorKind::Io) => None,
        Meaning::Lasting(kind) => Some(kind),
        Meaning::Busy | Meaning::Forgotten => Some(StoreErrorKind::Unreachable),
    }
}

/// An error of the library as a fault, and whether the connection is of no more use.
pub fn fault_of(error: &Error) -> (Fault, bool) {
    let text = text_of(error);
    match error {
        Error::Protocol { status, .. } => match meaning(*status) {
            Meaning::Lasting(kind) => (Fault::lasting(kind, text), false),
            Meaning::Busy => (Fault::passing(io::Error::other(text)), false),
            Meaning::Forgotten => (Fault::passing(io::Error::other(text)), true),
        },
        // A server that was started anew does not sign its answers to a session that it does not know.
        Error::SignatureInvalid { .. }
        | Error::SessionExpired
        | Error::HandleInvalidated { .. }
        | Error::Disconnected
        | Error::SendFailed { .. }
        | Error::ReconnectFailed { .. }
        | Error::ConnectFailed { .. }
        | Error::CreditStarvation { .. }
        | Error::Io(_) => (Fault::passing(io::Error::new(io::ErrorKind::ConnectionReset, text)), true),
        Error::Timeout | Error::SendTimeout { .. } | Error::ServerUnresponsive { .. } => {
            (Fault::passing(io::Error::new(io::ErrorKind::TimedOut, text)), true)
        }
        Error::Auth { .. } | Error::GuestSessionRefused { .. } => (Fault::lasting(StoreErrorKind::Login, text), true),
        // An answer that makes no sense: a damaged connection, or a server that is none.
        _ => (Fault::lasting(StoreErrorKind::Io, text), true),
    }
}

/// What the library says, with the addresses that were tried.
fn text_of(error: &Error) -> String {
    match error {
        Error::ConnectFailed { host, attempts } => {
            let attempts: Vec<_> = attempts.iter().map(ToString::to_string).collect();
            format!("no connection to {host} ({})", attempts.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use smb2::types::Command;

    use super::*;

    fn protocol(status: NtStatus) -> Error {
        Error::Protocol { status, command: Command::Write }
    }

    #[test]
    fn waiting_is_for_what_can_pass() {
        for status in
            [NtStatus::DISK_FULL, NtStatus::ACCESS_DENIED, NtStatus::LOGON_FAILURE, NtStatus::BAD_NETWORK_NAME]
        {
            let (fault, is_broken) = fault_of(&protocol(status));
            assert!(!fault.can_pass && !is_broken, "{status}");
        }
        for (status, breaks) in [(NtStatus::SHARING_VIOLATION, false), (NtStatus::USER_SESSION_DELETED, true)] {
            let (fault, is_broken) = fault_of(&protocol(status));
            assert!(fault.can_pass && is_broken == breaks, "{status}");
        }
        assert!(fault_of(&Error::Disconnected).0.can_pass);
    }

    #[test]
    fn what_another_client_was_told_means_the_same() {
        assert_eq!(kind_of_status(0xC000_006D), Some(StoreErrorKind::Login));
        assert_eq!(kind_of_status(0xC000_0022), Some(StoreErrorKind::Denied));
        assert_eq!(kind_of_status(0xC000_00CC), Some(StoreErrorKind::NoExport));
        assert_eq!(kind_of_status(0xC0DE_0000), None);
    }

    #[test]
    fn an_unknown_status_is_an_error_that_stays() {
        assert_eq!(meaning(NtStatus(0xC0DE_0000)), Meaning::Lasting(StoreErrorKind::Io));
        assert!(fault_of(&protocol(NtStatus(0xC0DE_0000))).0.source.to_string().contains("0xC0DE0000"));
    }
}
