//! Half of a mirror: never on a disk unmarked, when its peer lived on.

use block::{Fault, FaultyDisk, MemoryDisk, Operation, ReadAt, WriteAt, read_vec};
use cluster::Scope;
use cluster::drbd;
use image::MemoryStore;
use session::{Error, Refusal, RestoreRequest};

use crate::samples::{MIB, bytes_of, mbr, used_disk};
use crate::work::*;

/// Metadata of DRBD 8.4 for the partition from 1 MiB of `length` bytes: generation, and the one before.
fn write_metadata(disk: &MemoryDisk, length: u64, current: u64, before: u64) -> u64 {
    let mut block = vec![0; 4096];
    let offset = length - 4096;
    block[..8].copy_from_slice(&((offset - MIB / 4) / 512).to_be_bytes());
    block[8..16].copy_from_slice(&current.to_be_bytes());
    block[24..32].copy_from_slice(&before.to_be_bytes());
    block[56..60].copy_from_slice(&0x91_u32.to_be_bytes());
    block[60..64].copy_from_slice(&0x8374_026B_u32.to_be_bytes());
    block[64..68].copy_from_slice(&80_u32.to_be_bytes());
    block[68..72].copy_from_slice(&(-64_i32).to_be_bytes());
    block[76..80].copy_from_slice(&(-72_i32).to_be_bytes());
    disk.write_at(first_partition(disk).start() + offset, &block).unwrap();
    first_partition(disk).start() + offset
}

fn first_partition(disk: &MemoryDisk) -> block::DiskExtent {
    layout::read(disk).unwrap().region("p1").unwrap().extent
}

/// A disk whose first partition is half of a mirror, and where its superblock lies.
fn half(current: u64, before: u64) -> (MemoryDisk, u64) {
    let disk = mbr();
    let length = first_partition(&disk).length();
    let place = write_metadata(&disk, length, current, before);
    assert!(drbd::find(&block::Window::new(&disk, first_partition(&disk))).unwrap().is_some());
    (disk, place)
}

fn scoped(scope: Scope) -> RestoreRequest {
    RestoreRequest { scope: Some(scope), ..read_back() }
}

#[test]
fn nothing_is_written_before_it_is_said_whether_a_peer_has_newer_data() {
    let ((disk, _), store) = (half(0x10, 0), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let destination = used_disk(disk.size(), None);
    let before = bytes_of(&destination);
    let refused = restore(&store, "one", &destination, read_back()).unwrap_err();
    assert!(matches!(&refused, Error::Refused(Refusal::ScopeMissing { regions }) if regions == "sda:p1"), "{refused}");
    assert!(bytes_of(&destination) == before);
}

#[test]
fn a_half_whose_peer_lived_on_is_marked_and_nothing_else_differs() {
    let ((disk, place), store) = (half(0x10, 0), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let destination = used_disk(disk.size(), None);
    restore(&store, "one", &destination, scoped(Scope::OneNode)).unwrap();
    let region = block::Window::new(&destination, first_partition(&disk));
    assert!(drbd::find(&region).unwrap().unwrap().is_marked());
    let saved = saved_bytes(&plan(&store, "other", &disk).unwrap());
    let (old, new) = (bytes_of(&disk), bytes_of(&destination));
    let differing: Vec<_> = saved
        .iter()
        .flat_map(|extent| extent.start()..extent.end())
        .filter(|at| old[*at as usize] != new[*at as usize])
        .collect();
    // The lowest byte of the flags.
    assert_eq!(differing, [place + 59]);
    // As the image holds it, it comes back byte for byte only where all nodes do.
    let comparison = compare(&store, "one", &destination).unwrap();
    assert_eq!(comparison.differences.iter().map(|difference| difference.bytes).sum::<u64>(), 1);
}

#[test]
fn at_no_moment_does_a_disk_hold_an_unmarked_half() {
    within_minutes(|| {
        let ((disk, place), store) = (half(0x10, 0), MemoryStore::new());
        save(&store, "one", &disk).unwrap();
        let unmarked = read_vec(&disk, place, 4096).unwrap();
        let mut seen_marked = 0;
        for number in 1..10_000 {
            let destination = used_disk(disk.size(), None);
            let faulty = FaultyDisk::new(&destination, Some(Fault { operation: Operation::Write, number }));
            let restored = restore(&store, "one", &faulty, scoped(Scope::OneNode));
            let present = read_vec(&destination, place, 4096).unwrap();
            assert!(present != unmarked, "write {number}");
            seen_marked += u64::from(present[60..64] == 0x8374_026B_u32.to_be_bytes());
            if restored.is_ok() {
                assert!(seen_marked > 1, "{seen_marked}");
                return;
            }
        }
        panic!("never ended");
    });
}

#[test]
fn a_marked_half_that_reads_back_otherwise_is_noticed() {
    /// A disk that loses the mark.
    struct Forgetful<'a>(&'a MemoryDisk, u64);
    impl ReadAt for Forgetful<'_> {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            self.0.read_at(offset, buffer)?;
            let at = (self.1 + 59).checked_sub(offset).map(|at| at as usize);
            if let Some(byte) = at.and_then(|at| buffer.get_mut(at)).filter(|byte| **byte == 0x88) {
                *byte = 0x91;
            }
            Ok(())
        }
    }
    impl WriteAt for Forgetful<'_> {
        fn write_at(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
            self.0.write_at(offset, data)
        }
        fn sync(&self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl block::Disk for Forgetful<'_> {
        fn sector_size(&self) -> Option<block::SectorSize> {
            None
        }
    }
    let ((disk, place), store) = (half(0x10, 0), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let destination = used_disk(disk.size(), None);
    let error = restore(&store, "one", &Forgetful(&destination, place), scoped(Scope::OneNode)).unwrap_err();
    assert!(matches!(error, Error::ReadBack { .. }), "{error}");
}
