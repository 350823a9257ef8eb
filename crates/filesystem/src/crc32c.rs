//! CRC-32C as file systems use it: the register itself, not inverted before and after as in the
//! checksum that networks know. Two checksums over parts can then be chained by passing the register on.

/// The register after `bytes`, begun with `register`.
pub fn crc32c(register: u32, bytes: &[u8]) -> u32 {
    !::crc32c::crc32c_append(!register, bytes)
}

/// The checksum of `bytes` in which the 4 bytes at `hole` count as zeros: the field that holds the checksum.
/// Begun with all ones and inverted at the end.
pub fn checksum_without(bytes: &[u8], hole: usize) -> u32 {
    let before = bytes.get(..hole).unwrap_or(bytes);
    let after = bytes.get(hole.saturating_add(4)..).unwrap_or_default();
    !crc32c(crc32c(crc32c(!0, before), &[0; 4]), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_that_of_the_known_checksum() {
        // The check value of CRC-32C (iSCSI): RFC 3720, and the catalogue of parametrised CRC algorithms.
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(crc32c(!0, b"1234"), b"56789"), crc32c(!0, b"123456789"));
        assert_eq!(checksum_without(b"12xxxx789", 2), !crc32c(!0, b"12\x00\x00\x00\x00789"));
    }
}
