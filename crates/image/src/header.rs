//! `sosei.json`: what makes a directory a repository.

use serde::{Deserialize, Serialize};

use crate::chunk::CHUNK_SIZE;
use crate::error::{Error, Result};
use crate::paths::HEADER_PATH;
use crate::sealed::{seal, unseal};
use crate::store::{Store, StoreErrorKind, read_all};

/// The version of the format that this program writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;
const SIZE_LIMIT: u64 = 64 << 10;

/// The header of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryHeader {
    /// Version of the repository format.
    pub format: u32,
    /// 32 hexadecimal digits, random, made once.
    pub repository_id: String,
    /// Bytes of a chunk.
    pub chunk_size: u32,
    /// How chunks are named.
    pub digest: String,
    /// The encryption header; `null` where the repository is not encrypted.
    pub encryption: Option<serde_json::Value>,
}

impl RepositoryHeader {
    /// A header for a new repository. `random` becomes its id.
    pub fn new(random: [u8; 16]) -> Self {
        Self {
            format: FORMAT_VERSION,
            repository_id: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            chunk_size: u32::try_from(CHUNK_SIZE).unwrap_or(u32::MAX),
            digest: "blake3".into(),
            encryption: None,
        }
    }

    /// Reads the header; `None` where the store holds no repository.
    ///
    /// # Errors
    /// `Corrupt` where a byte is wrong, `Unsupported` for a newer format.
    pub fn read(store: &dyn Store) -> Result<Option<Self>> {
        let bytes = match read_all(store, HEADER_PATH, SIZE_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) if error.kind == StoreErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let header: Self = unseal(HEADER_PATH, &bytes)?;
        header.check().map(|()| Some(header))
    }

    /// Makes the store a repository.
    ///
    /// # Errors
    /// `AlreadyExists` where somebody else was faster: read it then.
    pub fn publish(&self, store: &dyn Store) -> Result<()> {
        Ok(store.publish(HEADER_PATH, &seal(HEADER_PATH, self)?)?)
    }

    fn check(&self) -> Result<()> {
        let unsupported = |feature: String| Err(Error::unsupported(HEADER_PATH, feature));
        if self.format != FORMAT_VERSION {
            return unsupported(format!("format {}", self.format));
        }
        if u64::from(self.chunk_size) != CHUNK_SIZE {
            return unsupported(format!("a chunk size of {} bytes", self.chunk_size));
        }
        if self.digest != "blake3" {
            return unsupported(format!("the digest {}", self.digest));
        }
        if self.encryption.is_some() {
            return unsupported("an encrypted repository".into());
        }
        Ok(())
    }
}
