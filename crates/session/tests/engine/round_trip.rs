//! What was saved comes back, onto disks of the same and of other sizes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use block::{
    Disk, DiskExtent, Extents, FaultyDisk, InDisk, MemoryDisk, Operation, ReadAt, RegionExtent, SectorSize, WriteAt,
};
use image::MemoryStore;
use session::{Error, Refusal, RestoreRequest};

use crate::samples::{MIB, bare, bytes_of, dynamic, gpt, machine, mbr, primary, used_disk, write_swap};
use crate::stores::HookedStore;
use crate::work::*;

fn check_round_trip(disk: MemoryDisk) {
    within_minutes(move || {
        let store = MemoryStore::new();
        let plan = plan(&store, "one", &disk).unwrap();
        let manifest = save(&store, "one", &disk).unwrap();
        assert_eq!(manifest.totals.saved_bytes, plan.total_bytes());
        assert_eq!(manifest.totals.disk_bytes, disk.size());
        assert_eq!(manifest.totals.stored_bytes, record_bytes(&store));
        assert_whole(&store, "one", &disk);
        let tables: u64 = plan.disks[0].layout.table_sectors.iter().map(|table| table.extent.length()).sum();
        assert_eq!(compare(&store, "one", &disk).unwrap().compared_bytes, plan.total_bytes() + tables);
        for threads in [1, 4] {
            let restored = used_disk(disk.size(), disk.sector_size());
            let report =
                restore_with(&store, "one", &restored, read_back(), threads, &(), &session::Cancel::new()).unwrap();
            assert_eq!(report.written_bytes, report.read_back_bytes);
            assert_restored(&plan, &disk, &restored, 0xA5);
            assert_whole(&store, "one", &restored);
        }
    });
}

#[test]
fn a_gpt_disk_comes_back() {
    check_round_trip(machine());
}

#[test]
fn a_gpt_disk_with_sectors_of_4096_bytes_comes_back() {
    let disk = gpt(8 * MIB, SectorSize::B4096, &[(256, 1023), (1024, 1500)]);
    disk.write_at(4 * MIB, &crate::samples::Random(9).bytes(MIB)).unwrap();
    write_swap(&disk, MIB, 3 * MIB);
    check_round_trip(disk);
}

#[test]
fn an_mbr_disk_with_logical_partitions_comes_back() {
    check_round_trip(mbr());
}

#[test]
fn a_disk_without_a_table_and_of_an_odd_size_comes_back() {
    check_round_trip(bare());
}

#[test]
fn empty_and_tiny_disks_come_back() {
    for size in [1, 511, 512, 4096, 262_144, 262_145] {
        let disk = MemoryDisk::new(size);
        disk.write_at(size - 1, b"x").unwrap();
        check_round_trip(disk);
        check_round_trip(MemoryDisk::new(size));
    }
}

#[test]
fn any_scattered_coverage_comes_back() {
    let disk = machine();
    let store = MemoryStore::new();
    let mut plan = plan(&store, "one", &disk).unwrap();
    let p2 = plan.disks[0].layout.regions.iter().position(|region| region.name == "p2").unwrap();
    let length = plan.disks[0].layout.regions[p2].extent.length();
    plan.disks[0].regions[p2].extents = (0..length / 50_000)
        .map(|n| RegionExtent::between(n * 50_000 + 7, n * 50_000 + 2000))
        .chain([RegionExtent::between(length - 1, length)])
        .collect();
    session::save(&store, &[source("sda", &disk)], &plan, &settings(1, 1), &(), &session::Cancel::new()).unwrap();
    assert_whole(&store, "one", &disk);
    let restored = used_disk(disk.size(), disk.sector_size());
    restore(&store, "one", &restored, read_back()).unwrap();
    assert_restored(&plan, &disk, &restored, 0xA5);
}

#[test]
fn regions_of_which_nothing_is_used_come_back() {
    let disk = machine();
    let store = MemoryStore::new();
    let mut plan = plan(&store, "one", &disk).unwrap();
    plan.disks[0].regions.iter_mut().for_each(|region| region.extents = Extents::new());
    session::save(&store, &[source("sda", &disk)], &plan, &settings(1, 1), &(), &session::Cancel::new()).unwrap();
    assert_whole(&store, "one", &disk);
    let restored = used_disk(disk.size(), disk.sector_size());
    restore(&store, "one", &restored, read_back()).unwrap();
    assert_restored(&plan, &disk, &restored, 0xA5);
}

#[test]
fn two_disks_come_back_together() {
    let (first, second, store) = (machine(), mbr(), MemoryStore::new());
    let sources = [source("sda", &first), source("sdb", &second)];
    let cancel = session::Cancel::new();
    let plan = session::plan_save(&store, &sources, request("one"), &(), &cancel).unwrap();
    let manifest = session::save(&store, &sources, &plan, &settings(3, 2), &(), &cancel).unwrap();
    let restored = [used_disk(first.size(), None), used_disk(second.size(), None)];
    let assignments = [assignment("sdb", &restored[1]), assignment("sda", &restored[0])];
    let plan = session::plan_restore(&store, manifest.clone(), &assignments, read_back(), &(), &cancel).unwrap();
    session::restore(&store, &plan, &assignments, 3, &(), &cancel).unwrap();
    let restored = [source("sdb", &restored[1]), source("sda", &restored[0])];
    let comparison = session::compare(&store, &manifest, &restored, 2, &(), &cancel).unwrap();
    assert_eq!(comparison.differences, []);
}

#[test]
fn a_comparison_names_exactly_the_bytes_that_differ() {
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let p2 = 10_240 * 512;
    // Free space of the swap, an unused zero, bytes in two chunks, and a byte of the table.
    disk.write_at(MIB + 8192, b"free").unwrap();
    let mut bent = block::read_vec(&disk, p2 + 262_143, 2).unwrap();
    bent.iter_mut().for_each(|byte| *byte ^= 0xFF);
    disk.write_at(p2 + 262_143, &bent).unwrap();
    disk.write_at(p2 + 800 * 1024, b"\x01").unwrap();
    disk.write_at(5, b"\xFF").unwrap();
    let comparison = compare(&store, "one", &disk).unwrap();
    let found: Vec<_> = comparison
        .differences
        .iter()
        .map(|difference| {
            let extents = difference.extents.iter().map(|extent| (extent.start(), extent.length()));
            (difference.region.as_str(), difference.bytes, extents.collect::<Vec<_>>())
        })
        .collect();
    assert_eq!(found, [("sda:table", 1, vec![(5, 1)]), ("sda:p2", 3, vec![(p2 + 262_143, 2), (p2 + 800 * 1024, 1)]),]);
}

#[test]
fn on_a_larger_disk_the_backup_table_moves_and_everything_else_stays() {
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let restored = used_disk(16 * MIB, disk.sector_size());
    restore(&store, "one", &restored, read_back()).unwrap();
    assert_whole(&store, "one", &restored);
    let (before, after) = (layout::read(&disk).unwrap(), layout::read(&restored).unwrap());
    assert_eq!(after.findings, [], "{after:?}");
    for name in ["p1", "p2", "p3"] {
        assert_eq!(before.region(name), after.region(name));
        let extent = before.region(name).unwrap().extent;
        if name == "p2" {
            assert_eq!(
                crate::samples::part(&bytes_of(&disk), extent),
                crate::samples::part(&bytes_of(&restored), extent)
            );
        }
    }
}

/// Asserts that a destination is refused before anything is written to it.
fn check_refused(image: &MemoryDisk, destination: MemoryDisk, is_expected: fn(&Error) -> bool) {
    let store = MemoryStore::new();
    save(&store, "one", image).unwrap();
    let destination = FaultyDisk::new(destination, None);
    let error = restore(&store, "one", &destination, RestoreRequest::default()).unwrap_err();
    assert!(is_expected(&error), "{error}");
    assert_eq!(destination.count(Operation::Write) + destination.count(Operation::Sync), 0);
}

#[test]
fn a_smaller_disk_is_refused_untouched() {
    let is_expected = |error: &Error| matches!(error, Error::Refused(Refusal::Placement { .. }));
    check_refused(&machine(), used_disk(9 * MIB, Some(SectorSize::B512)), is_expected);
    check_refused(&bare(), used_disk(1_300_000, None), is_expected);
    check_refused(&mbr(), used_disk(4 * MIB, None), is_expected);
}

#[test]
fn a_smaller_disk_that_cuts_off_data_in_a_gap_is_refused_untouched() {
    let disk = machine();
    disk.write_at(10 * MIB - 40 * 512, b"somebody's metadata").unwrap();
    let size = 10 * MIB - 100 * 512;
    check_refused(&disk, used_disk(size, None), |error| matches!(error, Error::Refused(Refusal::DataCutOff { .. })));
    // Without data it fits.
    let store = MemoryStore::new();
    save(&store, "one", &machine()).unwrap();
    let restored = used_disk(size, None);
    restore(&store, "one", &restored, read_back()).unwrap();
    assert_whole(&store, "one", &restored);
}

#[test]
fn another_sector_size_is_refused_untouched() {
    check_refused(&machine(), used_disk(10 * MIB, Some(SectorSize::B4096)), |error| {
        matches!(error, Error::Refused(Refusal::Placement { reason: layout::PlaceError::SectorSize { .. }, .. }))
    });
}

#[test]
fn everything_is_stable_before_the_manifest_appears() {
    let unstable: Arc<Mutex<BTreeMap<String, bool>>> = Arc::default();
    let seen = unstable.clone();
    let store = HookedStore::new(MemoryStore::new(), move |operation, path| {
        let mut unstable = seen.lock().unwrap();
        match operation {
            "create" | "append" | "write" => drop(unstable.insert(path.to_owned(), true)),
            "sync" => drop(unstable.insert(path.to_owned(), false)),
            "rename" => assert_eq!(unstable.remove(path), Some(false), "{path} gets its name before it is stable"),
            "publish" if path.ends_with("manifest.json") => {
                assert!(unstable.values().all(|unstable| !unstable), "{unstable:?}");
                assert!(unstable.keys().all(|path| !path.ends_with(".part")), "{unstable:?}");
            }
            _ => {}
        }
    });
    save(&store, "one", &machine()).unwrap();
    assert!(unstable.lock().unwrap().len() > 5);
}

/// A disk that knows where its holes are, and whose holes must not be read.
struct Sparse(MemoryDisk, Vec<DiskExtent>);

impl ReadAt for Sparse {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, buffer)
    }
}

impl Disk for Sparse {
    fn sector_size(&self) -> Option<SectorSize> {
        None
    }
    fn data_extents(&self, extent: DiskExtent) -> std::io::Result<Extents<InDisk>> {
        Ok(self.1.iter().filter_map(|data| data.intersection(&extent)).collect())
    }
}

#[test]
fn holes_of_a_sparse_disk_are_zeros_and_are_not_read() {
    within_minutes(|| {
        const SIZE: u64 = 1 << 40;
        let data = [(0, 100_000), (3 * MIB + 5, 3 * MIB + 6), (700_000 * MIB, 700_002 * MIB), (SIZE - 77, SIZE)];
        let data: Vec<_> = data.iter().map(|(start, end)| DiskExtent::between(*start, *end)).collect();
        let disk = MemoryDisk::new(SIZE);
        for extent in &data {
            disk.write_at(extent.start(), &crate::samples::Random(4).bytes(extent.length())).unwrap();
        }
        let (disk, store) = (Sparse(disk, data.clone()), MemoryStore::new());
        let manifest = save_with(&store, "one", &disk, &settings(3, 2), &(), &session::Cancel::new()).unwrap();
        assert_eq!(manifest.totals.saved_bytes, SIZE);
        assert!(manifest.totals.new_bytes <= 12 * 256 * 1024);
        assert!(verify(&store, false).unwrap().is_good());
        let restored = Zeroing(MemoryDisk::new(SIZE));
        restore(&store, "one", &restored, RestoreRequest::default()).unwrap();
        for extent in data {
            let length = extent.length() as usize;
            let wanted = block::read_vec(&disk, extent.start(), length).unwrap();
            assert!(wanted == block::read_vec(&restored, extent.start(), length).unwrap(), "{extent}");
        }
    });
}

/// Takes no memory for zeros.
struct Zeroing(MemoryDisk);

impl ReadAt for Zeroing {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, buffer)
    }
}

impl WriteAt for Zeroing {
    fn write_at(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, data)
    }
    fn write_zeros(&self, extent: DiskExtent) -> std::io::Result<()> {
        if extent.length() <= 4 * MIB { self.0.write_zeros(extent) } else { Ok(()) }
    }
    fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Disk for Zeroing {
    fn sector_size(&self) -> Option<SectorSize> {
        None
    }
}

/// Keeps what was written since the last sync, and whether every write may come when it does.
struct Cached {
    disk: MemoryDisk,
    unsynced: Mutex<Extents<InDisk>>,
    heads: Vec<u64>,
    /// Writes of data, of heads and of LBA 0.
    seen: Mutex<(u64, u64, u64)>,
}

impl ReadAt for Cached {
    fn size(&self) -> u64 {
        self.disk.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.disk.read_at(offset, buffer)
    }
}

impl WriteAt for Cached {
    fn write_at(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let extent = DiskExtent::between(offset, offset + data.len() as u64);
        let mut unsynced = self.unsynced.lock().unwrap();
        let mut seen = self.seen.lock().unwrap();
        if offset == 0 {
            assert!(unsynced.is_empty(), "LBA 0 before {unsynced:?} is stable");
            seen.2 += 1;
        } else if self.heads.contains(&offset) {
            let others = unsynced.iter().find(|extent| !self.heads.iter().any(|head| extent.start() == *head));
            assert_eq!(others, None, "a head before everything else is stable");
            seen.1 += 1;
        } else {
            let lba_0 = unsynced.contains(DiskExtent::between(0, 512));
            assert!(!lba_0, "data before the old table is gone for good");
            seen.0 += 1;
        }
        unsynced.insert(extent);
        drop(unsynced);
        self.disk.write_at(offset, data)
    }
    fn write_zeros(&self, extent: DiskExtent) -> std::io::Result<()> {
        self.unsynced.lock().unwrap().insert(extent);
        self.disk.write_zeros(extent)
    }
    fn sync(&self) -> std::io::Result<()> {
        *self.unsynced.lock().unwrap() = Extents::new();
        Ok(())
    }
}

impl Disk for Cached {
    fn sector_size(&self) -> Option<SectorSize> {
        None
    }
}

#[test]
fn a_destination_is_made_stable_before_each_step_that_depends_on_it() {
    for disk in [machine(), mbr(), primary()] {
        let store = MemoryStore::new();
        save(&store, "one", &disk).unwrap();
        let layout = layout::read(&disk).unwrap();
        let heads: Vec<_> = layout.regions.iter().map(|region| region.extent.start()).collect();
        let (unsynced, seen) = (Mutex::default(), Mutex::default());
        let destination = Cached { disk: used_disk(disk.size(), None), unsynced, heads, seen };
        restore(&store, "one", &destination, RestoreRequest::default()).unwrap();
        let (data, heads, lba_0) = *destination.seen.lock().unwrap();
        assert!(data > 0 && heads > 1 && lba_0 == 1, "{data} {heads} {lba_0}");
        assert!(destination.unsynced.lock().unwrap().is_empty());
    }
}

#[test]
fn nothing_of_a_dynamic_disk_is_left_out() {
    let (disk, store) = (dynamic(), MemoryStore::new());
    // By the private header, and by the type of the partition where the header is gone.
    for image in ["one", "two"] {
        let manifest = save(&store, image, &disk).unwrap();
        let partition = &manifest.disks[0].regions.iter().find(|region| region.name == "p1").unwrap().coverage;
        assert_eq!(partition.reason.as_deref(), Some("opaque"));
        let destination = used_disk(disk.size(), Some(SectorSize::B512));
        restore(&store, image, &destination, read_back()).unwrap();
        assert!(bytes_of(&destination) == bytes_of(&disk), "the database and all pieces of volumes are back");
        disk.write_at(6 * 512, &[0; 512]).unwrap();
    }
}
