//! CRC-32C (Castagnoli), as XFS and ext4 put it over their metadata.
//!
//! Source: RFC 3720, appendix B.4 (polynomial and test values).

/// The reflected polynomial.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// `TABLES[n][b]`: what the byte `b` leaves in the register after `n` further zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

// Runs in the compiler: an overflow or a wrong index would stop the build.
#[allow(clippy::arithmetic_side_effects, clippy::as_conversions)]
const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut register = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            register = if register & 1 == 1 { register >> 1 ^ POLYNOMIAL } else { register >> 1 };
            bit += 1;
        }
        tables[0][byte] = register;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let register: u32 = tables[table - 1][byte];
            tables[table][byte] = register >> 8 ^ tables[0][(register & 0xFF) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

/// The register after `bytes`, begun with `register`: neither inverted before nor after.
pub(crate) fn update(register: u32, bytes: &[u8]) -> u32 {
    let mut register = register;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut next = 0;
        let [r0, r1, r2, r3] = register.to_le_bytes();
        // The first byte of a word has seven more behind it, the last has none.
        for ((byte, mask), table) in word.iter().zip([r0, r1, r2, r3, 0, 0, 0, 0]).zip(TABLES.iter().rev()) {
            next ^= entry(table, byte ^ mask);
        }
        register = next;
    }
    for byte in words.remainder() {
        let [low, ..] = register.to_le_bytes();
        register = register >> 8 ^ entry(&TABLES[0], low ^ byte);
    }
    register
}

fn entry(table: &[u32; 256], byte: u8) -> u32 {
    table.get(usize::from(byte)).copied().unwrap_or_default()
}

/// The checksum of `bytes` in which the 4 bytes at `hole` count as zeros: the field that holds the checksum.
pub(crate) fn checksum_without(bytes: &[u8], hole: usize) -> u32 {
    let after = hole.saturating_add(4);
    let mut register = update(u32::MAX, bytes.get(..hole).unwrap_or(bytes));
    if after <= bytes.len() {
        register = update(register, &[0; 4]);
        register = update(register, bytes.get(after..).unwrap_or_default());
    }
    !register
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_the_specification() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, expected) in [
            (&[0; 32][..], 0x8A91_36AA),
            (&[0xFF; 32], 0x62A8_AB43),
            (&ascending, 0x46DD_794E),
            (b"123456789", 0xE306_9283),
        ] {
            assert_eq!(!update(u32::MAX, bytes), expected);
        }
    }

    #[test]
    fn the_field_of_the_checksum_counts_as_zeros() {
        let mut bytes: Vec<u8> = (0..=255).collect();
        let checksum = checksum_without(&bytes, 100);
        bytes[100..104].fill(0);
        assert_eq!(checksum, !update(u32::MAX, &bytes));
        bytes[104] ^= 1;
        assert_ne!(checksum, checksum_without(&bytes, 100));
    }
}
