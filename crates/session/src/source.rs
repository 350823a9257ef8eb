//! Reading a source: sectors that can't be read are narrowed down and kept as zeros, everything
//! else is read.

use std::io;

use block::{Disk, DiskExtent, Extents, InDisk, SectorSize, is_unreadable};
use image::DiskIdentity;

use crate::progress::{Cancel, Event, Observer};

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

/// Reads a disk for a session. What fails is tried again, and that is told while it goes on: a disk may take half a
/// minute for each bad sector, and nothing else would move meanwhile.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The disk.
    pub disk: &'a dyn Disk,
    /// Its name in the image.
    pub name: &'a str,
    /// Its sectors.
    pub sector_size: SectorSize,
    /// Who is told.
    pub observer: &'a dyn Observer,
    /// The wish to stop.
    pub cancel: &'a Cancel,
}

impl Reader<'_> {
    /// Reads `extent` into `buffer`, which has its length. Returns what could not be read: it is zeros in the buffer.
    ///
    /// Only `wanted` bytes matter: a bad sector in free space is no loss, and is not looked for.
    ///
    /// # Errors
    /// Where the disk as a whole does not answer any more; `Interrupted` where the operator stopped it.
    pub fn read(&self, extent: DiskExtent, wanted: &Extents<InDisk>, buffer: &mut [u8]) -> io::Result<Extents<InDisk>> {
        match self.disk.read_at(extent.start(), buffer) {
            Ok(()) => return Ok(Extents::new()),
            Err(error) if !is_unreadable(&error) || self.is_gone() => return Err(error),
            Err(_) => self.observer.notify(Event::Retrying { disk: self.name.to_owned(), extent }),
        }
        buffer.fill(0);
        let again = self.read_parts(extent, wanted, buffer)?;
        // A disk that was unplugged meanwhile must not pass for one with bad sectors.
        if !again.unreadable.is_empty() && self.is_gone() {
            return Err(io::Error::other("the disk does not answer any more"));
        }
        for recovered in again.recovered().iter() {
            let failures = again.failed.iter().filter(|failed| failed.overlaps(&recovered)).count();
            let failures = u64::try_from(failures).unwrap_or(u64::MAX);
            self.observer.notify(Event::Recovered { disk: self.name.to_owned(), extent: recovered, failures });
        }
        Ok(again.unreadable)
    }

    /// Reads what is wanted of `extent`, which could not be read at once: in parts that get smaller where they fail.
    fn read_parts(&self, extent: DiskExtent, wanted: &Extents<InDisk>, buffer: &mut [u8]) -> io::Result<SecondReading> {
        let mut again = SecondReading { failed: vec![extent], ..SecondReading::default() };
        let mut pending: Vec<DiskExtent> = wanted.overlapping(extent).collect();
        pending.reverse();
        while let Some(part) = pending.pop() {
            if self.cancel.is_cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let part = widen(part, self.sector_size, extent);
            let Some(memory) = slice_of(buffer, extent, part) else { continue };
            match self.disk.read_at(part.start(), memory) {
                Ok(()) => again.read.insert(part),
                Err(error) if !is_unreadable(&error) => return Err(error),
                Err(_) if part.length() > self.sector_size.bytes() => {
                    again.failed.push(part);
                    let (first, second) = halves(part, self.sector_size);
                    pending.extend([second, first]);
                }
                Err(_) => {
                    again.failed.push(part);
                    if self.retry(part, memory, &mut again.failed) {
                        again.read.insert(part);
                    } else {
                        memory.fill(0);
                        again.unreadable.insert(part);
                    }
                }
            }
        }
        Ok(again)
    }

    /// Reads a sector that failed once more and once more. Whether it was read.
    fn retry(&self, sector: DiskExtent, memory: &mut [u8], failed: &mut Vec<DiskExtent>) -> bool {
        for _ in 0..RETRIES {
            if self.disk.read_at(sector.start(), memory).is_ok() {
                return true;
            }
            failed.push(sector);
        }
        false
    }

    /// Whether the disk answers nowhere: unplugged, or its controller gave up. One bad sector is not that.
    fn is_gone(&self) -> bool {
        let Self { disk, sector_size, .. } = self;
        let last = sector_size.align_down(disk.size().saturating_sub(sector_size.bytes()));
        let places = [0, sector_size.align_down(last / 3), sector_size.align_down(last / 2), last];
        let length = usize::try_from(sector_size.bytes().min(disk.size())).unwrap_or_default();
        let mut sector = block::AlignedBuffer::new(length);
        places.iter().all(|place| disk.read_at(*place, &mut sector).is_err())
    }
}

/// What reading in parts has shown.
#[derive(Default)]
struct SecondReading {
    /// Every reading that failed; a part comes after the whole that it is a part of.
    failed: Vec<DiskExtent>,
    /// What was read after all.
    read: Extents<InDisk>,
    /// What was not.
    unreadable: Extents<InDisk>,
}

impl SecondReading {
    /// What could be read although reading it had failed, and no bad sector in it explains that.
    fn recovered(&self) -> Extents<InDisk> {
        let mut recovered = Extents::new();
        for (number, failed) in self.failed.iter().enumerate() {
            let after = self.failed.get(number.saturating_add(1));
            // The smallest that failed; where a sector failed twice, the last time counts.
            if after.is_none_or(|after| !failed.contains(after)) {
                self.read.overlapping(*failed).for_each(|part| recovered.insert(part));
            }
        }
        recovered
    }
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
        let told = Told::default();
        let unreadable = reader(disk, &told, &Cancel::new()).read(whole(), &wanted.into(), &mut buffer).unwrap();
        (buffer, unreadable)
    }

    /// The second MiB.
    fn whole() -> DiskExtent {
        DiskExtent::between(SIZE, 2 * SIZE)
    }

    #[derive(Default)]
    struct Told(std::sync::Mutex<Vec<Event>>);

    impl Observer for Told {
        fn notify(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    fn reader<'a>(disk: &'a dyn Disk, observer: &'a dyn Observer, cancel: &'a Cancel) -> Reader<'a> {
        Reader { disk, name: "sda", sector_size: SectorSize::B512, observer, cancel }
    }

    /// What is told while the second MiB of a disk is read, of which `wanted` is needed.
    fn told(disk: &dyn Disk, wanted: DiskExtent) -> Vec<Event> {
        let told = Told::default();
        reader(disk, &told, &Cancel::new()).read(whole(), &wanted.into(), &mut vec![0; SIZE as usize]).unwrap();
        told.0.into_inner().unwrap()
    }

    fn recovered(start: u64, end: u64, failures: u64) -> Event {
        Event::Recovered { disk: "sda".into(), extent: DiskExtent::between(start, end), failures }
    }

    #[test]
    fn what_is_read_at_a_later_try_is_told() {
        let retrying = Event::Retrying { disk: "sda".into(), extent: whole() };
        let bad = (SIZE + 4608, SIZE + 5120);
        // 1 MiB is read once more, then halved eleven times until it is a sector, which is tried twice more.
        for failures in 1..=14_u64 {
            let disk = disk(&[bad]).healing_after(failures);
            let length = (SIZE >> failures.saturating_sub(2)).max(512);
            let start = SIZE + 4608 / length * length;
            let expected = recovered(start, start + length, failures);
            assert_eq!(told(&disk, whole()), [retrying.clone(), expected], "{failures} failures");
        }
        assert_eq!(told(&disk(&[bad]).healing_after(15), whole()), std::slice::from_ref(&retrying), "never read");
        assert_eq!(told(&disk(&[]), whole()), [], "nothing failed");
        // A bad sector in free space says nothing of what is needed, which could be read at the second try.
        let needed = DiskExtent::between(SIZE + 8192, SIZE + 12288);
        let expected = recovered(needed.start(), needed.end(), 1);
        assert_eq!(told(&disk(&[bad]), needed), [retrying, expected]);
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
        assert!(reader(&disk, &(), &Cancel::new()).read(whole(), &whole().into(), &mut buffer).is_err());
        assert!(disk.count(Operation::Read) < 10);
    }
}
