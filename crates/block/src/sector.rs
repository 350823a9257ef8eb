//! The logical sector size of a disk: the unit that partition tables count in and the smallest
//! piece that direct I/O may touch.

use serde::{Deserialize, Serialize};

/// A logical sector size in bytes: a power of two from 512 to 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct SectorSize(u32);

/// The number is not a sector size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a sector size: expected a power of two from 512 to 65536")]
pub struct SectorSizeError(pub u32);

impl SectorSize {
    /// 512 bytes: most disks, also those with 4096-byte physical sectors (512e).
    pub const B512: Self = Self(512);
    /// 4096 bytes: "4K native" disks.
    pub const B4096: Self = Self(4096);

    /// Checks that `bytes` is a sector size.
    pub fn new(bytes: u32) -> Result<Self, SectorSizeError> {
        if bytes.is_power_of_two() && (512..=65536).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(SectorSizeError(bytes))
        }
    }

    /// The size in bytes.
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// The largest multiple of the sector size that is not above `offset`.
    pub fn align_down(self, offset: u64) -> u64 {
        offset & !self.mask()
    }

    /// The smallest multiple of the sector size that is not below `offset`; `None` past `u64::MAX`.
    pub fn align_up(self, offset: u64) -> Option<u64> {
        offset.checked_next_multiple_of(self.bytes())
    }

    /// Whether `offset` lies on a sector boundary.
    pub fn is_aligned(self, offset: u64) -> bool {
        offset & self.mask() == 0
    }

    /// The byte offset of the sector with the number `lba`; `None` past `u64::MAX`.
    pub fn offset_of(self, lba: u64) -> Option<u64> {
        lba.checked_mul(self.bytes())
    }

    /// The number of the sector that holds the byte at `offset`.
    pub fn lba_of(self, offset: u64) -> u64 {
        offset >> self.0.trailing_zeros()
    }

    fn mask(self) -> u64 {
        self.bytes().saturating_sub(1)
    }
}

impl TryFrom<u32> for SectorSize {
    type Error = SectorSizeError;

    fn try_from(bytes: u32) -> Result<Self, Self::Error> {
        Self::new(bytes)
    }
}

impl From<SectorSize> for u32 {
    fn from(size: SectorSize) -> Self {
        size.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_powers_of_two_from_512_to_65536_are_sector_sizes() {
        for good in [512, 1024, 4096, 65536] {
            assert_eq!(SectorSize::new(good).map(u32::from), Ok(good));
        }
        for bad in [0, 1, 256, 513, 131_072] {
            assert_eq!(SectorSize::new(bad), Err(SectorSizeError(bad)));
        }
    }

    #[test]
    fn alignment_rounds_to_the_neighbouring_boundaries() {
        let size = SectorSize::B4096;
        assert_eq!(size.align_down(8191), 4096);
        assert_eq!(size.align_up(4097), Some(8192));
        assert_eq!(size.align_up(u64::MAX), None);
        assert_eq!(size.lba_of(8191), 1);
        assert_eq!(size.offset_of(u64::MAX), None);
    }
}
