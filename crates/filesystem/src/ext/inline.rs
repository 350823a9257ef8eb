//! What small files and directories keep in their inode: the first bytes in the place of the block map, the others in
//! the attribute `system.data` behind the fields of the inode.
//!
//! Source: Linux `Documentation/filesystems/ext4/inlinedata.rst`, `attributes.rst`.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Where fields that older inodes don't have begin; the first of them is their length.
const EXTRA_FIELDS: usize = 128;
const ATTRIBUTES_MAGIC: u32 = 0xEA02_0000;
/// `e_name_index` of names that begin with `system.`.
const SYSTEM_INDEX: u8 = 7;
const DATA: &[u8] = b"data";
/// Bytes of the inode of the parent, in the place of `.` and `..`.
pub const PARENT: usize = 4;
/// Bytes of `i_block`. Entries of a directory begin anew behind them.
pub const FIRST_PART: usize = 60;

/// `struct ext4_xattr_entry` without its name.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawAttribute {
    e_name_len: u8,
    e_name_index: u8,
    e_value_offs: U16,
    e_value_inum: U32,
    e_value_size: U32,
    e_hash: U32,
}

/// The value of `system.data` in the bytes of an inode; empty where there is none.
///
/// # Errors
/// What was seen where it lies outside the inode.
pub fn second_part(inode: &[u8]) -> Result<&[u8], String> {
    let number = |bytes: &[u8]| U32::read_from_prefix(bytes).map_or(0, |(number, _)| number.get());
    let extra = inode.get(EXTRA_FIELDS..).and_then(|bytes| U16::read_from_prefix(bytes).ok());
    let start = extra.map_or(usize::MAX, |(length, _)| EXTRA_FIELDS.saturating_add(length.get().into()));
    if number(inode.get(start..).unwrap_or_default()) != ATTRIBUTES_MAGIC {
        return Ok(&[]);
    }
    // Values are counted from the first entry.
    let entries = inode.get(start.saturating_add(4)..).unwrap_or_default();
    let mut rest = entries;
    while number(rest) != 0 {
        let outside =
            || format!("an attribute at {} of {} bytes", entries.len().saturating_sub(rest.len()), entries.len());
        let (entry, behind) = RawAttribute::ref_from_prefix(rest).map_err(|_| outside())?;
        let name_length = usize::from(entry.e_name_len);
        let name = behind.get(..name_length).ok_or_else(outside)?;
        if entry.e_name_index == SYSTEM_INDEX && name == DATA {
            let (from, length) = (usize::from(entry.e_value_offs.get()), entry.e_value_size.get());
            let end = usize::try_from(length).ok().and_then(|length| from.checked_add(length));
            let value = end.and_then(|end| entries.get(from..end)).filter(|_| entry.e_value_inum.get() == 0);
            return value.ok_or_else(|| format!("{length} bytes at {from} of {}", entries.len()));
        }
        rest = behind.get(name_length.next_multiple_of(4)..).ok_or_else(outside)?;
    }
    Ok(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An inode with two attributes, of which the second one is `system.data`.
    fn inode() -> Vec<u8> {
        let mut bytes = vec![0; EXTRA_FIELDS];
        bytes.extend(32_u16.to_le_bytes());
        bytes.resize(EXTRA_FIELDS + 32, 0);
        bytes.extend(ATTRIBUTES_MAGIC.to_le_bytes());
        for (name, index, start, length) in [("few", 1, 80_u16, 4_u32), ("data", 7, 60, 20)] {
            bytes.extend([name.len() as u8, index]);
            bytes.extend(start.to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(length.to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(name.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes.resize(256, 0);
        bytes[EXTRA_FIELDS + 36 + 60..][..20].fill(b'x');
        bytes
    }

    #[test]
    fn the_second_part_is_an_attribute() {
        assert_eq!(second_part(&inode()).unwrap(), [b'x'; 20]);
        for (at, value) in
            [(EXTRA_FIELDS + 32, 1), (EXTRA_FIELDS, 200), (EXTRA_FIELDS + 57, 6), (EXTRA_FIELDS + 72, b'D')]
        {
            let mut bytes = inode();
            bytes[at] = value;
            assert_eq!(second_part(&bytes).unwrap(), b"", "at {at}");
        }
        assert_eq!(second_part(&inode()[..128]).unwrap(), b"");
        assert_eq!(second_part(&[]).unwrap(), b"");
    }

    #[test]
    fn what_lies_outside_the_inode_is_damage() {
        for (at, value, expected) in [
            (EXTRA_FIELDS + 36, 200, "an attribute at 0 of 92 bytes"),
            (EXTRA_FIELDS + 58, 73, "20 bytes at 73 of 92"),
            (EXTRA_FIELDS + 64, 33, "33 bytes at 60 of 92"),
            (EXTRA_FIELDS + 67, 1, "16777236 bytes at 60 of 92"),
            (EXTRA_FIELDS + 60, 1, "20 bytes at 60 of 92"),
        ] {
            let mut bytes = inode();
            bytes[at] = value;
            assert_eq!(second_part(&bytes).unwrap_err(), expected, "at {at}");
        }
    }
}
