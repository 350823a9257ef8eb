//! The update sequence: the last two bytes of every 512-byte block of a record are replaced on disk
//! by a number that is the same in all of them, so that a torn write shows.
//!
//! Source: ntfs-3g `include/ntfs-3g/layout.h` (`NTFS_RECORD`), `libntfs-3g/mst.c`.

use crate::Error;
use crate::ntfs::bytes::u16_at;

/// Blocks have this size whatever the sector size is.
pub const BLOCK_BYTES: usize = 512;

/// Checks the signature and the update sequence of a record that lies at `position`, and puts the
/// replaced bytes back.
///
/// # Errors
/// `Corrupt` where the signature is another, or a block belongs to another write than the rest.
pub fn restore(bytes: &mut [u8], signature: [u8; 4], position: u64) -> Result<(), Error> {
    if bytes.get(..4) != Some(signature.as_slice()) {
        let seen = bytes.get(..4).unwrap_or_default();
        let expected = format!("a record \"{}\"", signature.escape_ascii());
        return Err(Error::corrupt(position, expected, format!("\"{}\"", seen.escape_ascii())));
    }
    restore_blocks(bytes, position)
}

/// As [`restore`], without looking at the signature.
pub fn restore_blocks(bytes: &mut [u8], position: u64) -> Result<(), Error> {
    let offset = usize::from(u16_at(bytes, 4));
    let count = usize::from(u16_at(bytes, 6));
    let blocks = bytes.len().checked_div(BLOCK_BYTES).unwrap_or(0);
    let end = offset.saturating_add(count.saturating_mul(2));
    if blocks == 0 || count != blocks.saturating_add(1) || end > BLOCK_BYTES.saturating_sub(2) {
        return Err(Error::corrupt(
            position,
            format!("an update sequence for {blocks} blocks"),
            format!("{count} numbers at offset {offset}"),
        ));
    }
    let sequence = bytes.get(offset..end).unwrap_or_default().to_vec();
    let (number, replaced) = sequence.split_at_checked(2).unwrap_or_default();
    for (index, (block, original)) in bytes.chunks_exact_mut(BLOCK_BYTES).zip(replaced.chunks_exact(2)).enumerate() {
        let Some(last) = block.last_chunk_mut::<2>() else {
            continue;
        };
        if last.as_slice() != number {
            return Err(Error::corrupt(
                position,
                format!("update sequence number {:#06x} in block {index}", u16_at(number, 0)),
                format!("{:#06x}", u16::from_le_bytes(*last)),
            ));
        }
        last.copy_from_slice(original);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[..8].copy_from_slice(b"FILE\x30\0\x03\0");
        bytes[0x30..0x36].copy_from_slice(&[7, 0, 0xAA, 0xBB, 0xCC, 0xDD]);
        bytes[510..512].copy_from_slice(&[7, 0]);
        bytes[1022..].copy_from_slice(&[7, 0]);
        bytes
    }

    #[track_caller]
    fn check_error(at: usize, value: u8, expected: &str) {
        let mut bytes = sample();
        bytes[at] = value;
        let error = restore(&mut bytes, *b"FILE", 4096).unwrap_err();
        assert_eq!(error.to_string(), format!("at byte 4096 of the region: {expected}"));
    }

    #[test]
    fn the_replaced_bytes_come_back() {
        let mut bytes = sample();
        restore(&mut bytes, *b"FILE", 0).unwrap();
        assert_eq!((&bytes[510..512], &bytes[1022..]), (&[0xAA, 0xBB][..], &[0xCC, 0xDD][..]));
    }

    #[test]
    fn torn_and_foreign_records_are_damage() {
        check_error(0, b'B', "expected a record \"FILE\", found \"BILE\"");
        check_error(1022, 6, "expected update sequence number 0x0007 in block 1, found 0x0006");
        check_error(6, 2, "expected an update sequence for 2 blocks, found 2 numbers at offset 48");
        check_error(5, 2, "expected an update sequence for 2 blocks, found 3 numbers at offset 560");
    }
}
