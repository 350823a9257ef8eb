//! What can be wrong with the files of a repository.

use crate::store::StoreError;

/// The result of reading or writing a part of a repository.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a file of a repository can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store did not deliver or take the bytes.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file was written by a newer program or with a feature that this one lacks.
    #[error("{path}: {feature} is not supported by this version of Sosei")]
    Unsupported {
        /// The file in the repository.
        path: String,
        /// What is not supported.
        feature: String,
    },
    /// The bytes are not what the format or a digest asks for.
    #[error("{path}: at byte {position}: expected {expected}, found {actual}")]
    Corrupt {
        /// The file in the repository.
        path: String,
        /// Byte offset in the file.
        position: u64,
        /// What the format or the digest asks for.
        expected: String,
        /// What is there.
        actual: String,
    },
}

impl Error {
    /// Bytes that are not what the format asks for.
    pub fn corrupt(path: &str, position: u64, expected: impl Into<String>, actual: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), position, expected: expected.into(), actual: actual.into() }
    }

    /// A version or feature from the future.
    pub fn unsupported(path: &str, feature: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), feature: feature.into() }
    }

    /// Whether the bytes of the repository are at fault, not the way to them.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}
