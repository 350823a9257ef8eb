//! The checksum of ext4 and jbd2 metadata: CRC-32C (Castagnoli), reflected.
//!
//! Source: RFC 3720 appendix B.4 for the polynomial and its test values.

const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Row `n` holds what a byte does to the checksum when `n` more bytes follow it.
const TABLES: [[u32; 256]; 8] = tables();

#[allow(clippy::arithmetic_side_effects, clippy::as_conversions)] // evaluated by the compiler, which refuses overflow
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        tables[0][index] = value;
        index += 1;
    }
    let mut row = 1;
    while row < 8 {
        index = 0;
        while index < 256 {
            let before = tables[row - 1][index];
            tables[row][index] = before >> 8 ^ tables[0][(before & 0xFF) as usize];
            index += 1;
        }
        row += 1;
    }
    tables
}

/// Goes on from the checksum `seed` over `bytes`. Neither inverted before nor after, as ext4 and jbd2 use it.
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let value = words.iter().fold(seed, |value, word| {
        let [a, b, c, d] = value.to_le_bytes();
        let [e, f, g, h, i, j, k, l] = *word;
        look(7, a ^ e)
            ^ look(6, b ^ f)
            ^ look(5, c ^ g)
            ^ look(4, d ^ h)
            ^ look(3, i)
            ^ look(2, j)
            ^ look(1, k)
            ^ look(0, l)
    });
    rest.iter().fold(value, |value, byte| {
        let [low, ..] = value.to_le_bytes();
        value >> 8 ^ look(0, low ^ byte)
    })
}

fn look(row: usize, byte: u8) -> u32 {
    TABLES.get(row).and_then(|table| table.get(usize::from(byte))).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_specification() {
        assert_eq!(!crc32c(!0, &[0; 32]), 0x8A91_36AA);
        assert_eq!(!crc32c(!0, &[0xFF; 32]), 0x62A8_AB43);
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn the_parts_make_the_whole() {
        let bytes: Vec<u8> = (0..=255).collect();
        for cut in 0..bytes.len() {
            assert_eq!(crc32c(crc32c(7, &bytes[..cut]), &bytes[cut..]), crc32c(7, &bytes));
        }
    }
}
