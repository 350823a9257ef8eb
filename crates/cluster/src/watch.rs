//! The change detector: places that a living cluster writes to are read twice, some seconds apart. Whatever differs
//! was written by somebody else, as nobody here writes meanwhile.
//!
//! What a node keeps writing is its heartbeat, its lease, its journal and its superblock. So the look is at the start
//! and the end of the disk, at all partitions without a file system that are small, and in others at the places of
//! superblocks, message slots, leases, heartbeats and mount protection.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use block::{AlignedBuffer, DiskExtent, Extents, InDisk, ReadAt, Window};
use layout::{Layout, RegionKind};

use crate::on_disk::{held_places, is_reservation_conflict};
use crate::sharing::{Evidence, Finding};

/// Time between the two looks: four times the three seconds after which most nodes tell that they live.
pub const INTERVAL: Duration = Duration::from_secs(12);

const MIB: u64 = 1 << 20;
/// Partitions without a file system up to this size are looked at as a whole.
const RAW_LIMIT: u64 = 64 * MIB;
/// So much is looked at on one disk; of the rest only the starts of partitions.
const TOTAL_LIMIT: u64 = 512 * MIB;
/// Superblocks of all file systems that are known lie in this much from the start, but for that of VMFS.
const HEAD: u64 = MIB;
/// Bytes that are compared as one: where a change is told.
const SPOT: u64 = 64 << 10;
/// Places of changes that are told.
const TOLD: usize = 8;

/// What was read of a disk at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    spots: Vec<(DiskExtent, Result<blake3::Hash, String>)>,
}

/// The places to look at.
pub fn spots(disk: &dyn ReadAt, layout: &Layout) -> Extents<InDisk> {
    let size = disk.size();
    let head = |start: u64, end: u64| DiskExtent::between(start, end.min(start.saturating_add(HEAD)));
    let tail = |start: u64, end: u64| DiskExtent::between(end.saturating_sub(HEAD).max(start), end);
    let mut found = Extents::new();
    found.insert(head(0, size));
    found.insert(tail(0, size));
    for region in layout.regions.iter().filter(|region| region.kind != RegionKind::Gap) {
        let (start, end) = (region.extent.start(), region.extent.end().min(size));
        if start >= end {
            continue;
        }
        found.insert(head(start, end));
        found.insert(tail(start, end));
        let window = Window::new(disk, region.extent);
        for place in held_places(&window, start) {
            found.insert(DiskExtent::between(place.start().min(end), place.end().min(end)));
        }
        let is_small = region.extent.length() <= RAW_LIMIT && found.total_bytes() < TOTAL_LIMIT;
        if is_small && filesystem::identify(&window).is_none() {
            found.insert(DiskExtent::between(start, end));
        }
    }
    found
}

/// Reads the places. What can't be read is kept as the error: it may be readable later, or the other way round.
pub fn sample(disk: &dyn ReadAt, spots: &Extents<InDisk>) -> Sample {
    let mut buffer = AlignedBuffer::new(usize::try_from(SPOT).unwrap_or_default());
    let mut read = Vec::new();
    for extent in spots.iter() {
        // On multiples of the spot, so that whole sectors are asked for and the medium answers, not a cache.
        let mut start = extent.start();
        while start < extent.end() {
            let next = start.saturating_sub(start.checked_rem(SPOT).unwrap_or_default()).saturating_add(SPOT);
            let end = next.min(extent.end());
            let spot = DiskExtent::between(start, end);
            let length = usize::try_from(spot.length()).unwrap_or_default();
            let hash = match buffer.get_mut(..length) {
                Some(memory) => match disk.read_at(start, memory) {
                    Ok(()) => Ok(blake3::hash(memory)),
                    Err(error) => Err(reason(&error)),
                },
                None => Err(String::new()),
            };
            read.push((spot, hash));
            start = end;
        }
    }
    Sample { spots: read }
}

fn reason(error: &io::Error) -> String {
    if is_reservation_conflict(error) { "reservation conflict".to_owned() } else { error.kind().to_string() }
}

/// What differs between two samples of the same places: for each partition, and for the disk as a whole (`None`). A
/// disk that came to refuse reading was changed too.
pub fn compare(before: &Sample, after: &Sample, layout: &Layout, seconds: u64) -> Vec<Finding> {
    let mut changed: BTreeMap<Option<&str>, Vec<String>> = BTreeMap::new();
    if before.spots.len() != after.spots.len() {
        changed.entry(None).or_default().push("another partition table".to_owned());
    }
    let pairs = before.spots.iter().zip(&after.spots);
    for ((extent, _), (_, after)) in pairs.filter(|(one, other)| one != other) {
        let start = extent.start();
        let partitions = layout.regions.iter().filter(|region| region.kind != RegionKind::Gap);
        let region = partitions.into_iter().find(|region| region.extent.contains(extent));
        let place = match region {
            Some(region) => format!("byte {} of {}", start.saturating_sub(region.extent.start()), region.name),
            None => format!("byte {start} of the disk"),
        };
        let places = changed.entry(region.map(|region| region.name.as_str())).or_default();
        if places.len() < TOLD {
            places.push(match after {
                Ok(_) => place,
                Err(reason) => format!("{place} ({reason})"),
            });
        }
    }
    let told = changed.into_iter().map(|(region, places)| Finding {
        region: region.map(str::to_owned),
        evidence: Evidence::Change { places, seconds },
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use block::{MemoryDisk, WriteAt};

    use super::*;

    const SIZE: u64 = 256 * MIB;

    /// An MBR disk: a raw partition of 32 MiB, one of 128 MiB, one with the head of ext4.
    fn disk() -> (MemoryDisk, Layout) {
        let disk = MemoryDisk::new(SIZE);
        let mut sector = [0; 512];
        for (number, (start, length)) in [(2048, 65536), (69632, 262_144), (339_968, 65536)].into_iter().enumerate() {
            let at = 446 + 16 * number;
            sector[at + 4] = 0x83;
            sector[at + 8..at + 12].copy_from_slice(&u32::to_le_bytes(start));
            sector[at + 12..at + 16].copy_from_slice(&u32::to_le_bytes(length));
        }
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        disk.write_at(0, &sector).unwrap();
        let layout = layout::read(&disk).unwrap();
        assert_eq!(layout.regions.iter().filter(|region| region.kind == RegionKind::Partition).count(), 3);
        (disk, layout)
    }

    fn change(at: u64) -> Vec<(Option<String>, String)> {
        let (disk, layout) = disk();
        let places = spots(&disk, &layout);
        let before = sample(&disk, &places);
        assert_eq!(compare(&before, &sample(&disk, &places), &layout, 12), []);
        disk.write_at(at, &[1]).unwrap();
        told(compare(&before, &sample(&disk, &places), &layout, 12))
    }

    fn told(found: Vec<Finding>) -> Vec<(Option<String>, String)> {
        found.into_iter().map(|finding| (finding.region, finding.evidence.proof())).collect()
    }

    #[test]
    fn one_byte_in_a_watched_place_is_a_change() {
        let table = [
            (0, None, "12 s: byte 0 of the disk"),
            (600, None, "12 s: byte 0 of the disk"),
            (SIZE - 1, None, "12 s: byte 268369920 of the disk"),
            (MIB, Some("p1"), "12 s: byte 0 of p1"),
            (MIB + 20 * MIB, Some("p1"), "12 s: byte 20971520 of p1"),
            (33 * MIB - 1, Some("p1"), "12 s: byte 33488896 of p1"),
            (34 * MIB, Some("p2"), "12 s: byte 0 of p2"),
            (162 * MIB - 1, Some("p2"), "12 s: byte 134152192 of p2"),
        ];
        for (at, region, proof) in table {
            assert_eq!(change(at), [(region.map(str::to_owned), proof.to_owned())], "{at}");
        }
        // The middle of what is large is not watched: reading all of a disk twice is no answer.
        assert_eq!(change(100 * MIB), []);
    }

    #[test]
    fn a_disk_that_refuses_to_be_read_has_changed() {
        let (disk, layout) = disk();
        let places = spots(&disk, &layout);
        let before = sample(&disk, &places);
        let bad = vec![DiskExtent::between(MIB, MIB + 512)];
        let bad = block::FaultyDisk::new(disk, None).with_bad_extents(bad.into_iter().collect());
        let after = sample(&bad, &places);
        let told = told(compare(&before, &after, &layout, 12));
        assert!(told.len() == 1 && told[0].1.starts_with("12 s: byte 0 of p1 ("), "{told:?}");
        assert_eq!(compare(&after, &sample(&bad, &places), &layout, 12), [], "a bad sector is none");
    }
}
