//! CRC-32 as LVM uses it: the register of the well-known polynomial, begun with a number of its own and not inverted.
//!
//! Source: lvm2 `lib/misc/crc.c`, `lib/misc/crc.h` (`INITIAL_CRC`).

/// What the register is begun with.
const INITIAL_CRC: u32 = 0xF597_A6CF;

/// The checksum of parts that follow one another.
pub fn checksum(parts: &[&[u8]]) -> u32 {
    // The library inverts the register before and after.
    let mut hasher = crc32fast::Hasher::new_with_initial(!INITIAL_CRC);
    parts.iter().for_each(|part| hasher.update(part));
    !hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_register_is_not_inverted() {
        assert_eq!(checksum(&[]), INITIAL_CRC);
        assert_eq!(checksum(&[b"1234", b"56789"]), checksum(&[b"123456789"]));
        // Bit by bit, as lib/misc/crc.c describes it.
        let mut register = INITIAL_CRC;
        for byte in b"LVM2 001" {
            register ^= u32::from(*byte);
            for _ in 0..8 {
                register = if register & 1 == 1 { register >> 1 ^ 0xEDB8_8320 } else { register >> 1 };
            }
        }
        assert_eq!(checksum(&[b"LVM2 001"]), register);
    }
}
