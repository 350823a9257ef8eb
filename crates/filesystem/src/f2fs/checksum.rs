//! The CRC-32 of F2FS: the register itself, begun with the magic number of the superblock.
//!
//! Source: the Linux kernel's `fs/f2fs/f2fs.h` (`f2fs_crc32`), `fs/f2fs/checkpoint.c` (`f2fs_checkpoint_chksum`).

use super::superblock::MAGIC;

/// The register after `bytes`, begun as every checksum of F2FS.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    crc32_from(MAGIC, bytes)
}

/// The register after `bytes`, begun with `register`.
pub(super) fn crc32_from(register: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(!register);
    hasher.update(bytes);
    !hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_that_of_the_known_checksum() {
        // The check value of CRC-32 (ISO-HDLC) in the catalogue of parametrised CRC algorithms.
        assert_eq!(!crc32_from(!0, b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32_from(crc32(b"1234"), b"56789"), crc32(b"123456789"));
    }
}
