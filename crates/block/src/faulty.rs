//! A disk that fails on command, for tests of what happens then.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::disk::{Disk, ReadAt, WriteAt};
use crate::extent::DiskExtent;
use crate::extents::Extents;
use crate::sector::SectorSize;

/// What is asked of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reading.
    Read,
    /// Writing, also of zeros.
    Write,
    /// Making what was written stable.
    Sync,
}

/// Which operation fails: the `number`-th of its kind, counted from 1, and all that follow.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The kind of operation.
    pub operation: Operation,
    /// The first that fails, counted from 1.
    pub number: u64,
}

/// Passes everything on to another disk until the fault is reached; reads of bad extents fail with EIO.
pub struct FaultyDisk<D> {
    disk: D,
    fault: Option<Fault>,
    is_passing: bool,
    bad: Extents<crate::InDisk>,
    /// How many more readings of bad extents fail.
    failures_left: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
}

impl<D> FaultyDisk<D> {
    /// A disk that fails at `fault`, or never.
    pub fn new(disk: D, fault: Option<Fault>) -> Self {
        let (bad, failures_left) = (Extents::new(), u64::MAX.into());
        let (reads, writes, syncs) = (0.into(), 0.into(), 0.into());
        Self { disk, fault, is_passing: false, bad, failures_left, reads, writes, syncs }
    }

    /// The same disk, where only the one operation fails and those after it do not.
    pub fn passing(mut self) -> Self {
        self.is_passing = true;
        self
    }

    /// The same disk, with bytes that can't be read.
    pub fn with_bad_extents(mut self, bad: Extents<crate::InDisk>) -> Self {
        self.bad = bad;
        self
    }

    /// The same disk, whose bad extents can be read after so many readings of them have failed.
    pub fn healing_after(mut self, failures: u64) -> Self {
        self.failures_left = failures.into();
        self
    }

    /// The disk behind.
    pub fn inner(&self) -> &D {
        &self.disk
    }

    /// How many operations of a kind were asked for.
    pub fn count(&self, operation: Operation) -> u64 {
        self.counter(operation).load(Ordering::Relaxed)
    }

    fn counter(&self, operation: Operation) -> &AtomicU64 {
        match operation {
            Operation::Read => &self.reads,
            Operation::Write => &self.writes,
            Operation::Sync => &self.syncs,
        }
    }

    fn pass(&self, operation: Operation) -> io::Result<()> {
        let number = self.counter(operation).fetch_add(1, Ordering::Relaxed).saturating_add(1);
        match self.fault {
            Some(fault) if fault.operation == operation && number == fault.number => Err(input_output_error()),
            Some(fault) if fault.operation == operation && number > fault.number && !self.is_passing => {
                Err(input_output_error())
            }
            _ => Ok(()),
        }
    }
}

fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl<D: ReadAt> ReadAt for FaultyDisk<D> {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.pass(Operation::Read)?;
        let end = offset.saturating_add(u64::try_from(buffer.len()).unwrap_or(u64::MAX));
        let take_one = |left: u64| left.checked_sub(1);
        if self.bad.overlapping(DiskExtent::between(offset, end)).next().is_some()
            && self.failures_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).is_ok()
        {
            return Err(input_output_error());
        }
        self.disk.read_at(offset, buffer)
    }
}

impl<D: WriteAt> WriteAt for FaultyDisk<D> {
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.pass(Operation::Write)?;
        self.disk.write_at(offset, data)
    }

    fn write_zeros(&self, extent: DiskExtent) -> io::Result<()> {
        self.pass(Operation::Write)?;
        self.disk.write_zeros(extent)
    }

    fn sync(&self) -> io::Result<()> {
        self.pass(Operation::Sync)?;
        self.disk.sync()
    }
}

impl<D: Disk> Disk for FaultyDisk<D> {
    fn sector_size(&self) -> Option<SectorSize> {
        self.disk.sector_size()
    }

    fn data_extents(&self, extent: DiskExtent) -> io::Result<Extents<crate::InDisk>> {
        self.disk.data_extents(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryDisk;
    use crate::disk::{is_unreadable, read_vec};

    #[test]
    fn the_numbered_operation_and_all_after_it_fail() {
        let fault = Fault { operation: Operation::Write, number: 2 };
        let disk = FaultyDisk::new(MemoryDisk::new(8192), Some(fault));
        assert!(disk.write_at(0, b"one").is_ok());
        assert!(disk.write_at(0, b"two").is_err());
        assert!(disk.write_at(0, b"three").is_err());
        assert_eq!(disk.count(Operation::Write), 3);
        assert_eq!(read_vec(&disk, 0, 3).unwrap(), b"one");
    }

    #[test]
    fn bad_extents_can_not_be_read_and_their_neighbours_can() {
        let disk = FaultyDisk::new(MemoryDisk::new(8192), None).with_bad_extents(DiskExtent::between(512, 1024).into());
        assert!(is_unreadable(&read_vec(&disk, 0, 513).unwrap_err()));
        assert!(read_vec(&disk, 0, 512).is_ok());
        assert!(read_vec(&disk, 1024, 512).is_ok());
    }
}
