//! Why the used bytes of a file system can't be told. Every error ends as a [`Reason`] to save the
//! whole region, never as a failed session.

use std::io;

use crate::{Reason, ReasonCode};

/// What stopped a parser.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metadata could not be read.
    #[error("reading metadata: {0}")]
    Io(#[from] io::Error),
    /// A feature, version or layout that this program does not understand.
    #[error("{0}")]
    Unsupported(String),
    /// The on-disk maps lag behind and could not be completed.
    #[error("{0}")]
    NotClean(String),
    /// A suspended system owns the file system.
    #[error("{0}")]
    Hibernated(String),
    /// Saved whole on purpose: what it holds is not a file system with free space.
    #[error("{0}")]
    Opaque(String),
    /// A structure contradicts its specification.
    #[error("at byte {position} of the region: expected {expected}, found {actual}")]
    Corrupt {
        /// Byte offset in the region of the structure or field.
        position: u64,
        /// What the specification asks for.
        expected: String,
        /// What is there.
        actual: String,
    },
}

impl Error {
    /// A structure at `position` that is not what the specification asks for.
    pub fn corrupt(position: u64, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self::Corrupt { position, expected: expected.into(), actual: actual.into() }
    }
}

impl From<Error> for Reason {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Io(_) => ReasonCode::Unreadable,
            Error::Unsupported(_) => ReasonCode::Unsupported,
            Error::NotClean(_) => ReasonCode::NotClean,
            Error::Hibernated(_) => ReasonCode::Hibernated,
            Error::Opaque(_) => ReasonCode::Opaque,
            Error::Corrupt { .. } => ReasonCode::Damaged,
        };
        Self { code, detail: error.to_string() }
    }
}
