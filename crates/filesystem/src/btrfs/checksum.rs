//! The checksums of Btrfs: of the superblock and of every tree block, over all that follows the 32 bytes that hold it.
//!
//! Source: the Linux kernel's `fs/btrfs/fs.c` (`btrfs_csums`) and Documentation "Checksumming" of btrfs-progs; XXH64
//! with seed 0, BLAKE2b with 256 bits.

use blake2::Blake2b;
use blake2::digest::consts::U32;
use sha2::{Digest, Sha256};
use twox_hash::XxHash64;

use crate::Error;

/// Bytes in front of what the checksum covers.
pub(super) const FIELD_BYTES: usize = 32;

/// How blocks are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    /// CRC-32C, 4 bytes.
    Crc32c,
    /// XXH64, 8 bytes.
    XxHash64,
    /// SHA-256, 32 bytes.
    Sha256,
    /// BLAKE2b-256, 32 bytes.
    Blake2b,
}

impl Checksum {
    /// The kind that a superblock names.
    ///
    /// # Errors
    /// `Unsupported` where this program can't compute it: then no block can be believed.
    pub(super) fn of_type(csum_type: u16) -> Result<Self, Error> {
        match csum_type {
            0 => Ok(Self::Crc32c),
            1 => Ok(Self::XxHash64),
            2 => Ok(Self::Sha256),
            3 => Ok(Self::Blake2b),
            other => Err(Error::Unsupported(format!("unknown Btrfs checksum type {other}"))),
        }
    }

    /// Whether the block's first bytes hold the checksum of the others.
    pub(super) fn matches(self, block: &[u8]) -> bool {
        let Some((field, covered)) = block.split_at_checked(FIELD_BYTES) else {
            return false;
        };
        field.starts_with(&self.of(covered))
    }

    fn of(self, covered: &[u8]) -> Vec<u8> {
        match self {
            Self::Crc32c => (!crate::crc32c::crc32c(!0, covered)).to_le_bytes().to_vec(),
            Self::XxHash64 => XxHash64::oneshot(0, covered).to_le_bytes().to_vec(),
            Self::Sha256 => Sha256::digest(covered).to_vec(),
            Self::Blake2b => Blake2b::<U32>::digest(covered).to_vec(),
        }
    }

    /// Writes the checksum into the block's first bytes.
    pub(super) fn seal(self, block: &mut [u8]) {
        let Some((field, covered)) = block.split_at_mut_checked(FIELD_BYTES) else { return };
        field.fill(0);
        field.iter_mut().zip(self.of(covered)).for_each(|(to, from)| *to = from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_or_checksum_is_noticed() {
        for kind in 0..4 {
            let checksum = Checksum::of_type(kind).unwrap();
            let mut block: Vec<u8> = (0..=255).collect();
            checksum.seal(&mut block);
            assert!(checksum.matches(&block));
            block[255] ^= 1;
            assert!(!checksum.matches(&block), "{checksum:?}");
            block[255] ^= 1;
            block[3] ^= 1;
            assert!(!checksum.matches(&block), "{checksum:?}");
        }
        assert!(!Checksum::Crc32c.matches(&[0; 31]));
        assert_eq!(Checksum::of_type(4).unwrap_err().to_string(), "unknown Btrfs checksum type 4");
    }

    #[test]
    fn the_checksums_are_those_of_their_specifications() {
        let text = b"123456789";
        assert_eq!(Checksum::Crc32c.of(text), 0xE306_9283_u32.to_le_bytes());
        assert_eq!(Checksum::XxHash64.of(text), 0x8CB8_41DB_40E6_AE83_u64.to_le_bytes());
        assert_eq!(Checksum::Sha256.of(text)[..4], [0x15, 0xE2, 0xB0, 0xD3]);
        assert_eq!(Checksum::Blake2b.of(text)[..4], [0x16, 0xE0, 0xBF, 0x1F]);
    }
}
