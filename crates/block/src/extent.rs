//! One run of bytes, with the space it is counted in as part of its type, so that an offset in a
//! region is never taken for an offset on the disk.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The space in which the offsets of an extent are counted.
pub trait Space: 'static {}

/// Offsets from the first byte of a disk.
#[derive(Clone, Copy, Debug)]
pub struct InDisk;
/// Offsets from the first byte of a region.
#[derive(Clone, Copy, Debug)]
pub struct InRegion;

impl Space for InDisk {}
impl Space for InRegion {}

/// An extent in disk offsets.
pub type DiskExtent = Extent<InDisk>;
/// An extent in region offsets.
pub type RegionExtent = Extent<InRegion>;

/// A run of `length` bytes from `start`. Its end never passes `u64::MAX`.
///
/// Serialised as `[start, length]`, both in bytes.
pub struct Extent<S> {
    start: u64,
    length: u64,
    space: PhantomData<S>,
}

/// The bytes that were asked for lie outside what can be addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes from {start} pass the end of the address space")]
pub struct ExtentError {
    /// First byte that was asked for.
    pub start: u64,
    /// Number of bytes that were asked for.
    pub length: u64,
}

impl<S> Extent<S> {
    /// `length` bytes from `start`.
    pub fn new(start: u64, length: u64) -> Result<Self, ExtentError> {
        match start.checked_add(length) {
            Some(_) => Ok(Self::unchecked(start, length)),
            None => Err(ExtentError { start, length }),
        }
    }

    /// From `start` up to, not including, `end`; empty where `end` is not above `start`.
    pub fn between(start: u64, end: u64) -> Self {
        Self::unchecked(start, end.saturating_sub(start))
    }

    const fn unchecked(start: u64, length: u64) -> Self {
        Self { start, length, space: PhantomData }
    }

    /// First byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// First byte after the extent.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }

    /// Whether the extent holds no byte.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether every byte of `other` lies in this extent.
    pub fn contains(&self, other: &Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// The bytes that both extents hold; `None` where they share none.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let both = Self::between(self.start.max(other.start), self.end().min(other.end()));
        (!both.is_empty()).then_some(both)
    }

    /// Whether the extents share a byte.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.intersection(other).is_some()
    }
}

impl DiskExtent {
    /// Where bytes of the region that lies here are on the disk; `None` where `part` leaves the region.
    pub fn locate(&self, part: &RegionExtent) -> Option<Self> {
        (part.end() <= self.length)
            .then(|| Self::between(self.start.saturating_add(part.start), self.start.saturating_add(part.end())))
    }

    /// Where bytes of the disk are in the region that lies here, cut to the region; `None` outside it.
    pub fn within(&self, part: &Self) -> Option<RegionExtent> {
        self.intersection(part).map(|both| {
            RegionExtent::between(both.start.saturating_sub(self.start), both.end().saturating_sub(self.start))
        })
    }
}

// The derives would ask `S` to be `Copy`, `Eq` and so on, which a mere marker need not be.
impl<S> Clone for Extent<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for Extent<S> {}
impl<S> PartialEq for Extent<S> {
    fn eq(&self, other: &Self) -> bool {
        (self.start, self.length) == (other.start, other.length)
    }
}
impl<S> Eq for Extent<S> {}
impl<S> Hash for Extent<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.start, self.length).hash(state);
    }
}
impl<S> fmt::Debug for Extent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.start, self.length)
    }
}
impl<S> fmt::Display for Extent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes from {}", self.length, self.start)
    }
}
impl<S> Serialize for Extent<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        (self.start, self.length).serialize(serializer)
    }
}
impl<'de, S> Deserialize<'de> for Extent<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (start, length) = <(u64, u64)>::deserialize(deserializer)?;
        Self::new(start, length).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_never_passes_the_end_of_the_address_space() {
        assert!(DiskExtent::new(u64::MAX, 0).is_ok());
        assert_eq!(DiskExtent::new(u64::MAX, 1), Err(ExtentError { start: u64::MAX, length: 1 }));
    }

    #[test]
    fn region_and_disk_offsets_translate_into_each_other() {
        let region = DiskExtent::between(1000, 2000);
        let part = RegionExtent::between(10, 20);
        assert_eq!(region.locate(&part), Some(DiskExtent::between(1010, 1020)));
        assert_eq!(region.locate(&RegionExtent::between(990, 1001)), None);
        assert_eq!(region.within(&DiskExtent::between(1010, 1020)), Some(part));
        assert_eq!(region.within(&DiskExtent::between(1990, 2010)), Some(RegionExtent::between(990, 1000)));
        assert_eq!(region.within(&DiskExtent::between(2000, 2010)), None);
    }
}
