//! The checksum of group descriptors without metadata checksums: CRC-16 with the polynomial 0x8005, reflected.
//!
//! Source: Linux `Documentation/filesystems/ext4/group_descr.rst`; `lib/crc16.c` names the polynomial.

const POLYNOMIAL: u16 = 0xA001;

/// Goes on from the checksum `seed` over `bytes`.
pub fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |value, byte| {
        (0..8).fold(
            value ^ u16::from(*byte),
            |value, _| if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogued_value() {
        // "CRC-16/ARC" in the catalogue of parametrised CRC algorithms.
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
    }
}
