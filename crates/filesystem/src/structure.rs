//! The bytes of a structure by their offsets, and identities out of them in the spelling of blkid.
//!
//! What lies past the end of the region, or past what was read, counts as zeros: no identity comes of it.

use block::{ReadAt, read_vec};

use crate::Error;
use crate::identity::{label_text, uuid_text};

/// As many bytes as any of the structures needs from its start.
const LENGTH: u64 = 1536;

/// Which byte of a number comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordOrder {
    /// The lowest one.
    Little,
    /// The highest one.
    Big,
}

/// The first bytes of a structure.
pub struct Structure {
    bytes: Vec<u8>,
}

impl Structure {
    /// Reads what lies at `position` of the region.
    pub fn read(region: &dyn ReadAt, position: u64) -> Result<Self, Error> {
        let length = region.size().saturating_sub(position).min(LENGTH);
        let bytes = match usize::try_from(length) {
            Ok(length) if length > 0 => read_vec(region, position, length)?,
            _ => Vec::new(),
        };
        Ok(Self { bytes })
    }

    /// Of bytes that were read already.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    /// `length` bytes at `offset`; fewer at the end.
    pub fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        rest.get(..length).unwrap_or(rest)
    }

    /// Whether these bytes stand at `offset`.
    pub fn has(&self, offset: usize, expected: &[u8]) -> bool {
        self.bytes(offset, expected.len()) == expected
    }

    /// `N` bytes at `offset`.
    pub fn array<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.bytes(offset, N).first_chunk().copied().unwrap_or([0; N])
    }

    /// A little-endian number.
    pub fn u16(&self, offset: usize) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }

    /// A little-endian number.
    pub fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    /// A little-endian number.
    pub fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.array(offset))
    }

    /// A big-endian number.
    pub fn big_u16(&self, offset: usize) -> u16 {
        u16::from_be_bytes(self.array(offset))
    }

    /// A big-endian number.
    pub fn big_u32(&self, offset: usize) -> u32 {
        u32::from_be_bytes(self.array(offset))
    }

    /// A number in the order of the file system.
    pub fn u32_in(&self, order: WordOrder, offset: usize) -> u32 {
        match order {
            WordOrder::Little => self.u32(offset),
            WordOrder::Big => self.big_u32(offset),
        }
    }

    /// A number in the order of the file system.
    pub fn u64_in(&self, order: WordOrder, offset: usize) -> u64 {
        match order {
            WordOrder::Little => self.u64(offset),
            WordOrder::Big => u64::from_be_bytes(self.array(offset)),
        }
    }

    /// A UUID of 16 bytes in their order.
    pub fn uuid(&self, offset: usize) -> Option<String> {
        uuid_text(&self.array(offset))
    }

    /// A GUID as Microsoft stores it: the first three numbers little-endian.
    pub fn microsoft_guid(&self, offset: usize) -> Option<String> {
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.array::<16>(offset);
        let [i, j, k, l, m, n, o, p] = rest;
        uuid_text(&[d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
    }

    /// A UUID of VMware: two 32-bit numbers and one of 16 bits little-endian, and six bytes.
    pub fn vmware_uuid(&self, offset: usize) -> Option<String> {
        let [a, b, c, d, e, f, g, h, i, j, rest @ ..] = self.array::<16>(offset);
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let is_nil = self.array::<16>(offset) == [0; 16];
        (!is_nil).then(|| [hex(&[d, c, b, a]), hex(&[h, g, f, e]), hex(&[j, i]), hex(&rest)].join("-"))
    }

    /// Text up to its first NUL.
    pub fn text(&self, offset: usize, length: usize) -> Option<String> {
        label_text(self.bytes(offset, length))
    }
}

/// Text of 16-bit characters, the high byte first, without spaces at its end; `None` where nothing is left. Ends at
/// its first NUL.
pub fn utf16_big_endian_text(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes(pair.first_chunk().copied().unwrap_or_default()));
    utf16_text(units)
}

/// The same with the low byte first.
pub fn utf16_little_endian_text(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes(pair.first_chunk().copied().unwrap_or_default()));
    utf16_text(units)
}

fn utf16_text(units: impl Iterator<Item = u16>) -> Option<String> {
    let units: Vec<_> = units.take_while(|unit| *unit != 0).collect();
    let text = String::from_utf16_lossy(&units);
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use block::MemoryDisk;

    use super::*;

    #[test]
    fn identities_are_spelled_as_blkid_spells_them() {
        let bytes: Vec<u8> = (0..16).collect();
        let structure = Structure::read(&MemoryDisk::from_bytes(&bytes), 0).unwrap();
        assert_eq!(structure.uuid(0).unwrap(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(structure.microsoft_guid(0).unwrap(), "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(structure.vmware_uuid(0).unwrap(), "03020100-07060504-0908-0a0b0c0d0e0f");
        assert_eq!(structure.uuid(1), None, "past the end there is none");
        assert_eq!(utf16_big_endian_text(b"\0A\x30\x42 \0\0\0x").unwrap(), "A\u{3042}\u{2000}".trim_end());
        assert_eq!(utf16_little_endian_text(b"A\0\x42\x30"), Some("A\u{3042}".to_owned()));
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let structure = Structure::read(&MemoryDisk::from_bytes(&[7; 10]), 8).unwrap();
        assert_eq!((structure.u16(0), structure.u32(0), structure.bytes(1, 5).len()), (0x0707, 0, 1));
        assert_eq!(Structure::read(&MemoryDisk::new(10), 11).unwrap().u64(0), 0);
    }
}
