//! Reading a source: sectors that can't be read are narrowed down and kept as zeros, everything
//! else is read.

use std::io;

use block::{Disk, DiskExtent, Extents, InDisk, SectorSize, is_unreadable};
use image::DiskIdentity;

use crate::progress::Cancel;

/// A disk that is saved or compared.
pub struct Source<'a> {
    /// Its name in the image: letters, digits, `_` and `-`.
    pub name: String,
    /// What it is by itself.
    pub identity: DiskIdentity,
    /// Its bytes.
    pub disk: &'a dyn Disk,
}

/// How often a sector that can't be read is tried again.
const RETRIES: u32 = 2;

/// Reads `extent` into `buffer`, which has its length. Returns what could not be read: it is zeros in the buffer.
///
/// Only `wanted` bytes matter: a bad sector in free space is no loss, and is not looked for.
///
/// # Errors
/// Where the disk as a whole does not answer any more; `Interrupted` where the operator stopped it: a
/// disk may take half a minute for each bad sector.
pub fn read_narrowing(
    disk: &dyn Disk,
    sector_size: SectorSize,
    extent: DiskExtent,
    wanted: &Extents<InDisk>,
    buffer: &mut [u8],
    cancel: &Cancel,
) -> io::Result<Extents<InDisk>> {
    let mut unreadable = Extents::new();
    match disk.read_at(extent.start(), buffer) {
        Ok(()) => return Ok(unreadable),
        Err(error) if !is_unreadable(&error) || is_gone(disk, sector_size) => return Err(error),
        Err(_) => {}
    }
    buffer.fill(0);
    let mut pending: Vec<DiskExtent> = wanted.overlapping(extent).collect();
    pending.reverse();
    while let Some(part) = pending.pop() {
        if cancel.is_cancelled() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let part = widen(part, sector_size, extent);
        let Some(memory) = slice_of(buffer, extent, part) else { continue };
        match disk.read_at(part.start(), memory) {
            Ok(()) => {}
            Err(error) if !is_unreadable(&error) => return Err(error),
            Err(_) if part.length() > sector_size.bytes() => {
                let (first, second) = halves(part, sector_size);
                pending.extend([second, first]);
            }
            Err(_) if (0..RETRIES).any(|_| disk.read_at(part.start(), memory).is_ok()) => {}
            Err(_) => {
                memory.fill(0);
                unreadable.insert(part);
            }
        }
    }
    // A disk that was unplugged meanwhile must not pass for one with bad sectors.
    if !unreadable.is_empty() && is_gone(disk, sector_size) {
        return Err(io::Error::other("the disk does not answer any more"));
    }
    Ok(unreadable)
}

/// Whether a disk answers nowhere: unplugged, or its controller gave up. One bad sector is not that.
fn is_gone(disk: &dyn Disk, sector_size: SectorSize) -> bool {
    let last = sector_size.align_down(disk.size().saturating_sub(sector_size.bytes()));
    let places = [0, sector_size.align_down(last / 3), sector_size.align_down(last / 2), last];
    let length = usize::try_from(sector_size.bytes().min(disk.size())).unwrap_or_default();
    let mut sector = block::AlignedBuffer::new(length);
    places.iter().all(|place| disk.read_at(*place, &mut sector).is_err())
}

/// Whole sectors around `part`, inside `limits`.
fn widen(part: DiskExtent, sector_size: SectorSize, limits: DiskExtent) -> DiskExtent {
    let start = sector_size.align_down(part.start()).max(limits.start());
    let end = sector_size.align_up(part.end()).unwrap_or(u64::MAX).min(limits.end());
    DiskExtent::between(start, end)
}

fn halves(part: DiskExtent, sector_size: SectorSize) -> (DiskExtent, DiskExtent) {
    let middle = sector_size.align_down(part.start().saturating_add(part.length() / 2));
    let middle = if middle > part.start() { middle } else { part.start().saturating_add(sector_size.bytes()) };
    (DiskExtent::between(part.start(), middle), DiskExtent::between(middle, part.end()))
}

/// The part of a buffer that holds `part`, where the buffer holds `whole`.
pub fn slice_of<S>(buffer: &mut [u8], whole: block::Extent<S>, part: block::Extent<S>) -> Option<&mut [u8]> {
    let start = usize::try_from(part.start().checked_sub(whole.start())?).ok()?;
    let length = usize::try_from(part.length()).ok()?;
    buffer.get_mut(start..start.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use block::{FaultyDisk, MemoryDisk, Operation, WriteAt};

    use super::*;

    const SIZE: u64 = 1 << 20;

    fn disk(bad: &[(u64, u64)]) -> FaultyDisk<MemoryDisk> {
        let disk = MemoryDisk::new(4 * SIZE);
        disk.write_at(0, &(0..4 * SIZE).map(|byte| (byte % 251) as u8 + 1).collect::<Vec<_>>()).unwrap();
        FaultyDisk::new(disk, None)
            .with_bad_extents(bad.iter().map(|(start, end)| DiskExtent::between(*start, *end)).collect())
    }

    fn read(disk: &dyn Disk, wanted: DiskExtent) -> (Vec<u8>, Extents<InDisk>) {
        let mut buffer = vec![0xEE; SIZE as usize];
        let extent = DiskExtent::between(SIZE, 2 * SIZE);
        let unreadable =
            read_narrowing(disk, SectorSize::B512, extent, &wanted.into(), &mut buffer, &Cancel::new()).unwrap();
        (buffer, unreadable)
    }

    #[test]
    fn exactly_the_sectors_that_hold_bad_bytes_are_lost() {
        let (bad_start, bad_end) = (SIZE + 5000, SIZE + 5001);
        let disk = disk(&[(bad_start, bad_end), (2 * SIZE - 1, 2 * SIZE)]);
        let (buffer, unreadable) = read(&disk, DiskExtent::between(SIZE, 2 * SIZE));
        let expected: Extents<InDisk> = [(SIZE + 4608, SIZE + 5120), (2 * SIZE - 512, 2 * SIZE)]
            .map(|(start, end)| DiskExtent::between(start, end))
            .into_iter()
            .collect();
        assert_eq!(unreadable, expected);
        for (position, byte) in (SIZE..).zip(&buffer) {
            let lost = expected.contains(DiskExtent::between(position, position + 1));
            assert_eq!(*byte, if lost { 0 } else { (position % 251) as u8 + 1 }, "byte {position}");
        }
    }

    #[test]
    fn bad_sectors_in_free_space_are_no_loss() {
        let disk = disk(&[(SIZE + 8192, SIZE + 9000)]);
        let (buffer, unreadable) = read(&disk, DiskExtent::between(SIZE, SIZE + 8192));
        assert!(unreadable.is_empty());
        assert!(buffer[..8192].iter().all(|byte| *byte != 0));
    }

    #[test]
    fn a_disk_that_answers_nowhere_is_gone_and_soon_told() {
        let disk = disk(&[(0, 4 * SIZE)]);
        let mut buffer = vec![0; SIZE as usize];
        let extent = DiskExtent::between(SIZE, 2 * SIZE);
        assert!(read_narrowing(&disk, SectorSize::B512, extent, &extent.into(), &mut buffer, &Cancel::new()).is_err());
        assert!(disk.count(Operation::Read) < 10);
    }
}
