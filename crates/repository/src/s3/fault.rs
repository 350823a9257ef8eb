//! What the errors of object storage mean for a store.
//!
//! The library tells apart few of them by type; the rest is in the status and in the code of the answer, and only
//! these two and the message are passed on: some answers repeat the request that was signed.
//!
//! Source: Amazon S3 API reference, "Error responses"; Ceph and MinIO have the codes for quotas and full disks.

use std::io;

use image::StoreErrorKind;
use object_store::Error;

use crate::patience::Fault;

/// A message of a server is not told further than this.
const MESSAGE_LIMIT: usize = 300;

/// An error of the library as a fault.
pub fn fault_of(error: &Error) -> Fault {
    let text = chain(error);
    let answer = Answer::of(&text);
    let told = answer.told();
    let lasting = |kind| Fault::lasting(kind, told.clone());
    let passing = |kind| Fault::passing(io::Error::new(kind, told.clone()));
    if let Some(kind) = answer.code.as_deref().and_then(kind_of_code) {
        return lasting(kind);
    }
    if answer.code.as_deref().is_some_and(passes) {
        return passing(io::ErrorKind::Other);
    }
    match (error, answer.status) {
        (Error::NotFound { .. }, _) | (_, Some(404)) => lasting(StoreErrorKind::NotFound),
        (Error::AlreadyExists { .. } | Error::Precondition { .. }, _) => lasting(StoreErrorKind::AlreadyExists),
        (Error::PermissionDenied { .. }, _) | (_, Some(403)) => lasting(StoreErrorKind::Denied),
        (Error::Unauthenticated { .. }, _) | (_, Some(401)) => lasting(StoreErrorKind::Login),
        (_, Some(507)) => lasting(StoreErrorKind::NoSpace),
        (_, Some(501)) => lasting(StoreErrorKind::Io),
        (_, Some(408 | 429 | 500..=599)) => passing(io::ErrorKind::Other),
        (_, Some(_)) => lasting(StoreErrorKind::Io),
        // A certificate does not become a good one by waiting.
        (_, None) if text.to_ascii_lowercase().contains("certificate") => lasting(StoreErrorKind::Untrusted),
        (_, None) if text.contains("wrong region") || text.contains("LOCATION") => lasting(StoreErrorKind::NoExport),
        (Error::Generic { .. } | Error::JoinError { .. }, None) => passing(io::ErrorKind::ConnectionReset),
        (_, None) => lasting(StoreErrorKind::Io),
    }
}

fn kind_of_code(code: &str) -> Option<StoreErrorKind> {
    Some(match code {
        "NoSuchBucket" | "InvalidBucketName" | "PermanentRedirect" => StoreErrorKind::NoExport,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "AuthorizationHeaderMalformed" => StoreErrorKind::Login,
        "RequestTimeTooSkewed" => StoreErrorKind::Clock,
        "QuotaExceeded" | "XMinioAdminBucketQuotaExceeded" => StoreErrorKind::Quota,
        "XMinioStorageFull" | "InsufficientStorage" | "InsufficientCapacity" | "EntityTooLarge" => {
            StoreErrorKind::NoSpace
        }
        "MethodNotAllowed" => StoreErrorKind::ReadOnly,
        _ => return None,
    })
}

/// Codes of a request that may succeed when it is made again, some of them with a status that says otherwise.
fn passes(code: &str) -> bool {
    matches!(
        code,
        "RequestTimeout"
            | "SlowDown"
            | "InternalError"
            | "ServiceUnavailable"
            | "OperationAborted"
            | "ConditionalRequestConflict"
            | "IncompleteBody"
            | "BadDigest"
            | "XAmzContentSHA256Mismatch"
    )
}

/// What is of use in the text of an error.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answer {
    status: Option<u16>,
    code: Option<String>,
    message: Option<String>,
    /// Where the server did not answer: what the system said last.
    cause: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let status = text.split_once("status code: ").and_then(|(_, rest)| rest.get(..3)?.parse().ok());
        let cause = text.rsplit(": ").next().unwrap_or_default().trim();
        Self { status, code: element(text, "Code"), message: element(text, "Message"), cause: limited(cause) }
    }

    fn told(&self) -> String {
        match (&self.status, &self.code, &self.message) {
            (Some(status), Some(code), Some(message)) => format!("{status} {code}: {message}"),
            (Some(status), Some(code), None) => format!("{status} {code}"),
            (Some(status), None, _) => format!("the server answered with status {status}"),
            (None, Some(code), _) => code.clone(),
            (None, None, _) => self.cause.clone(),
        }
    }
}

/// The text of an XML element, without its escapes resolved.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (content, _) = rest.split_once(&format!("</{name}>"))?;
    Some(limited(content))
}

fn limited(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MESSAGE_LIMIT).collect()
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.into() }
    }

    fn answer(status: &str, code: &str) -> Error {
        let body = format!("<Error><Code>{code}</Code><Message>No.</Message><StringToSign>x</StringToSign></Error>");
        generic(&format!("Server returned non-2xx status code: {status}: {body}"))
    }

    #[test]
    fn codes_say_more_than_types() {
        let cases = [
            ("404 Not Found", "NoSuchBucket", Some(StoreErrorKind::NoExport)),
            ("403 Forbidden", "SignatureDoesNotMatch", Some(StoreErrorKind::Login)),
            ("403 Forbidden", "AccessDenied", Some(StoreErrorKind::Denied)),
            ("403 Forbidden", "RequestTimeTooSkewed", Some(StoreErrorKind::Clock)),
            ("403 Forbidden", "QuotaExceeded", Some(StoreErrorKind::Quota)),
            ("507 Insufficient Storage", "XMinioStorageFull", Some(StoreErrorKind::NoSpace)),
            ("501 Not Implemented", "NotImplemented", Some(StoreErrorKind::Io)),
            ("503 Slow Down", "SlowDown", None),
            ("409 Conflict", "ConditionalRequestConflict", None),
            ("400 Bad Request", "RequestTimeout", None),
            ("400 Bad Request", "InvalidArgument", Some(StoreErrorKind::Io)),
        ];
        for (status, code, lasting) in cases {
            let fault = fault_of(&answer(status, code));
            assert_eq!(
                (fault.can_pass, fault.can_pass || Some(fault.kind) == lasting),
                (lasting.is_none(), true),
                "{code}"
            );
            let text = fault.source.to_string();
            assert!(text.contains(code) && !text.contains("StringToSign"), "{text}");
        }
    }

    #[test]
    fn without_an_answer_it_is_tried_again_but_not_with_a_bad_certificate() {
        assert!(fault_of(&generic("HTTP error: error sending request: connection refused")).can_pass);
        let fault = fault_of(&generic("HTTP error: invalid peer certificate: UnknownIssuer"));
        assert_eq!((fault.can_pass, fault.kind), (false, StoreErrorKind::Untrusted));
    }
}
