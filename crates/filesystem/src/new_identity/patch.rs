//! Bytes that change, and a region read as if they had changed already.

use std::io;

use block::{ReadAt, RegionExtent, read_vec};

use crate::Error;

/// Bytes of a region that change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// First byte.
    pub start: u64,
    /// What stands there.
    pub from: Vec<u8>,
    /// What will stand there: as many bytes.
    pub to: Vec<u8>,
}

impl Patch {
    /// Where it lies.
    pub fn extent(&self) -> RegionExtent {
        let length = u64::try_from(self.from.len()).unwrap_or(u64::MAX);
        RegionExtent::between(self.start, self.start.saturating_add(length))
    }
}

/// Bytes that are kept in patches at most: the old ones, and as many new ones.
const BYTES_LIMIT: usize = 256 << 20;
/// What a patch takes beside its bytes until it is written: it has a name, and lies in several lists.
const PATCH_BYTES: usize = 512;

/// Patches of a region, while they are collected.
pub(crate) struct Patches<'a> {
    region: &'a dyn ReadAt,
    bytes: usize,
    patches: Vec<Patch>,
}

impl<'a> Patches<'a> {
    pub(super) fn new(region: &'a dyn ReadAt) -> Self {
        Self { region, bytes: 0, patches: Vec::new() }
    }

    /// The bytes at `start` become `to`.
    pub(crate) fn add(&mut self, start: u64, to: Vec<u8>) -> Result<(), Error> {
        let from = read_vec(self.region, start, to.len())?;
        self.exchange(start, from, to)
    }

    /// The bytes `from`, which stand at `start`, become `to`: as many.
    pub(crate) fn exchange(&mut self, start: u64, from: Vec<u8>, to: Vec<u8>) -> Result<(), Error> {
        if from == to {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(to.len()).saturating_add(PATCH_BYTES);
        if self.bytes > BYTES_LIMIT {
            let count = self.patches.len();
            let detail =
                format!("more than {count} places change with the name, which need more than {BYTES_LIMIT} bytes");
            return Err(Error::Unsupported(detail));
        }
        self.patches.push(Patch { start, from, to });
        Ok(())
    }

    /// In ascending order.
    pub(super) fn finish(mut self) -> Result<Vec<Patch>, Error> {
        self.patches.sort_by_key(|patch| patch.start);
        let meets = |pair: &[Patch]| matches!(pair, [one, other] if one.extent().overlaps(&other.extent()));
        if let Some(pair) = self.patches.windows(2).find(|pair| meets(pair)) {
            let starts: Vec<_> = pair.iter().map(|patch| patch.start.to_string()).collect();
            return Err(Error::Unsupported(format!("two places of its name overlap, at {}", starts.join(" and "))));
        }
        Ok(self.patches)
    }
}

/// A region with its patches.
pub(super) struct Patched<'a> {
    region: &'a dyn ReadAt,
    patches: &'a [Patch],
}

impl<'a> Patched<'a> {
    pub(super) fn new(region: &'a dyn ReadAt, patches: &'a [Patch]) -> Self {
        Self { region, patches }
    }
}

impl ReadAt for Patched<'_> {
    fn size(&self) -> u64 {
        self.region.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.region.read_at(offset, buffer)?;
        let end = offset.saturating_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        let wanted = RegionExtent::between(offset, end);
        let first = self.patches.partition_point(|patch| patch.extent().end() <= offset);
        for patch in self.patches.iter().skip(first) {
            let Some(shared) = patch.extent().intersection(&wanted) else { break };
            let range = |start: u64| {
                let from = usize::try_from(shared.start().saturating_sub(start)).unwrap_or(usize::MAX);
                from..from.saturating_add(usize::try_from(shared.length()).unwrap_or(usize::MAX))
            };
            if let (Some(to), Some(bytes)) = (buffer.get_mut(range(offset)), patch.to.get(range(patch.start))) {
                to.copy_from_slice(bytes);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use block::MemoryDisk;

    use super::*;

    #[test]
    fn a_patched_region_reads_as_it_will_be() {
        let region = MemoryDisk::from_bytes(b"0123456789");
        let mut patches = Patches::new(&region);
        patches.add(6, b"xyz".to_vec()).unwrap();
        patches.add(1, b"ab".to_vec()).unwrap();
        patches.add(4, b"45".to_vec()).unwrap();
        let patches = patches.finish().unwrap();
        // What stays as it is is no patch.
        assert_eq!(patches.iter().map(|patch| patch.start).collect::<Vec<_>>(), [1, 6]);
        let patched = Patched::new(&region, &patches);
        assert_eq!(read_vec(&patched, 0, 10).unwrap(), b"0ab345xyz9");
        assert_eq!(read_vec(&patched, 2, 5).unwrap(), b"b345x");
        assert!(patched.read_at(8, &mut [0; 3]).is_err());
    }

    #[test]
    fn patches_never_overlap() {
        let region = MemoryDisk::from_bytes(b"0123456789");
        let mut patches = Patches::new(&region);
        patches.add(1, b"abc".to_vec()).unwrap();
        patches.add(3, b"x".to_vec()).unwrap();
        assert_eq!(patches.finish().unwrap_err().to_string(), "two places of its name overlap, at 1 and 3");
    }
}
