//! The n-th operation of a disk or store fails, for every n.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use block::{Disk, DiskExtent, Fault, FaultyDisk, MemoryDisk, Operation, ReadAt, Window, WriteAt};
use image::MemoryStore;
use session::{Cancel, Error};

use crate::samples::{KIB, MIB, bare, bytes_of, machine, mbr, used_disk, write_swap};
use crate::work::*;

/// For every n, the n-th operation of a kind fails on the destination, and all after it.
fn check_destination(disk: MemoryDisk, operation: Operation) {
    within_minutes(move || {
        let store = MemoryStore::new();
        let plan = plan(&store, "one", &disk).unwrap();
        save(&store, "one", &disk).unwrap();
        let layout = &plan.disks[0].layout;
        let smooth = FaultyDisk::new(used_disk(disk.size(), None), None);
        restore(&store, "one", &smooth, read_back()).unwrap();
        let heads = plan.disks[0].regions.iter().filter(|region| region.extents.iter().any(|e| e.start() < 256 * KIB));
        // Where nothing can be written any more after the heads, they can't be cleared again.
        let last_clean = smooth.count(Operation::Write) - heads.count() as u64 - layout.table_sectors.len() as u64;
        for is_passing in [false, true] {
            let mut completed = false;
            for number in 1..10_000 {
                let destination = used_disk(disk.size(), None);
                let faulty = FaultyDisk::new(&destination, Some(Fault { operation, number }));
                let faulty = if is_passing { faulty.passing() } else { faulty };
                let context = format!("{operation:?} {number} of {}, passing: {is_passing}", smooth.count(operation));
                match restore(&store, "one", &faulty, read_back()) {
                    Ok(_) => {
                        assert!(number > smooth.count(operation), "{context} failed and nobody noticed");
                        assert_restored(&plan, &disk, &destination, 0xA5);
                        completed = true;
                        break;
                    }
                    Err(error) => assert!(matches!(error, Error::Destination { .. }), "{context}: {error}"),
                }
                let heads_gone = is_passing || operation != Operation::Write || number <= last_clean + 1;
                assert_nothing_boots(layout, &destination, heads_gone, &context);
                if number % 4 == 0 {
                    restore(&store, "one", &destination, read_back()).unwrap();
                    assert_restored(&plan, &disk, &destination, 0xA5);
                }
            }
            assert!(completed);
        }
        assert!(smooth.count(operation) > 1);
    });
}

#[test]
fn a_destination_that_stops_writing_does_not_boot() {
    check_destination(machine(), Operation::Write);
    check_destination(mbr(), Operation::Write);
}

#[test]
fn a_destination_that_stops_syncing_does_not_boot() {
    check_destination(machine(), Operation::Sync);
    check_destination(mbr(), Operation::Sync);
}

#[test]
fn a_destination_that_can_not_be_read_back_does_not_boot() {
    check_destination(machine(), Operation::Read);
    check_destination(mbr(), Operation::Read);
}

#[test]
fn what_a_destination_held_is_gone_before_anything_else_is_written() {
    within_minutes(|| {
        let (disk, store) = (mbr(), MemoryStore::new());
        save(&store, "one", &disk).unwrap();
        let (mut untouched, mut cleared) = (0, 0);
        for number in 1..10_000 {
            let (old, destination) = (machine(), machine());
            let faulty = FaultyDisk::new(&destination, Some(Fault { operation: Operation::Write, number }));
            if restore(&store, "one", &faulty, read_back()).is_ok() {
                assert!(untouched > 0 && cleared > 5, "{untouched} {cleared}");
                return;
            }
            if layout::read(&destination).unwrap().table == layout::TableKind::None {
                cleared += 1;
                continue;
            }
            untouched += 1;
            let mut bytes = bytes_of(&old).into_iter().zip(bytes_of(&destination));
            assert!(bytes.all(|(old, new)| new == old || new == 0), "write {number}");
        }
        panic!("never ended");
    });
}

#[test]
fn a_disk_without_a_table_is_not_recognised_before_it_is_whole() {
    let swap = || {
        let disk = bare();
        write_swap(&disk, 0, MIB);
        disk
    };
    for operation in [Operation::Write, Operation::Sync, Operation::Read] {
        check_destination(swap(), operation);
    }
}

#[test]
fn while_one_disk_of_a_machine_fails_no_other_boots() {
    let (first, second, store) = (machine(), mbr(), MemoryStore::new());
    let sources = [source("sda", &first), source("sdb", &second)];
    let cancel = Cancel::new();
    let plan = session::plan_save(&store, &sources, request("one"), &(), &cancel).unwrap();
    let manifest = session::save(&store, &sources, &plan, &settings(2, 2), &(), &cancel).unwrap();
    for operation in [Operation::Write, Operation::Sync, Operation::Read] {
        for number in 1.. {
            let other = used_disk(first.size(), None);
            let faulty = FaultyDisk::new(used_disk(second.size(), None), Some(Fault { operation, number }));
            let assignments = [assignment("sda", &other), assignment("sdb", &faulty)];
            let planned = session::plan_restore(&store, manifest.clone(), &assignments, read_back(), &(), &cancel);
            // Before anything is overwritten, every destination is looked at twice.
            let plan = match planned {
                Err(Error::Destination { .. }) if operation == Operation::Read => continue,
                planned => planned.unwrap(),
            };
            match session::restore(&store, &plan, &assignments, 1, &(), &cancel) {
                Ok(_) => break,
                Err(interrupted) if interrupted.unfinished.is_empty() => {
                    assert_eq!((operation, faulty.count(Operation::Write)), (Operation::Read, 0));
                    continue;
                }
                Err(interrupted) => assert_eq!(interrupted.unfinished, ["/dev/sda", "/dev/sdb"]),
            }
            let context = format!("{operation:?} {number}");
            assert_nothing_boots(&plan_layout(&manifest, 0), &other, true, &context);
            assert_nothing_boots(&plan_layout(&manifest, 1), faulty.inner(), false, &context);
        }
    }
}

#[test]
fn a_disk_that_was_not_touched_yet_is_not_called_unfinished() {
    let (first, second, store) = (machine(), mbr(), MemoryStore::new());
    let sources = [source("sda", &first), source("sdb", &second)];
    let cancel = Cancel::new();
    let plan = session::plan_save(&store, &sources, request("one"), &(), &cancel).unwrap();
    let manifest = session::save(&store, &sources, &plan, &settings(2, 2), &(), &cancel).unwrap();
    let fault = Fault { operation: Operation::Write, number: 1 };
    let faulty = FaultyDisk::new(used_disk(first.size(), None), Some(fault));
    let other = used_disk(second.size(), None);
    let before = bytes_of(&other);
    let assignments = [assignment("sda", &faulty), assignment("sdb", &other)];
    let plan = session::plan_restore(&store, manifest, &assignments, read_back(), &(), &cancel).unwrap();
    let interrupted = session::restore(&store, &plan, &assignments, 2, &(), &cancel).unwrap_err();
    assert_eq!(interrupted.unfinished, ["/dev/sda"]);
    assert!(bytes_of(&other) == before, "the second disk is as it was");
}

fn plan_layout(manifest: &image::Manifest, disk: usize) -> layout::Layout {
    manifest.disks[disk].layout.clone()
}

#[test]
fn a_disk_that_returns_other_bytes_than_were_written_is_told() {
    /// Takes writes to a certain sector and forgets them.
    struct Forgetful(MemoryDisk, u64);
    impl ReadAt for Forgetful {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.0.read_at(offset, buffer)
        }
    }
    impl WriteAt for Forgetful {
        fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            let before = block::read_vec(&self.0, self.1, 512)?;
            self.0.write_at(offset, data)?;
            self.0.write_at(self.1, &before)
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }
    impl Disk for Forgetful {
        fn sector_size(&self) -> Option<block::SectorSize> {
            None
        }
    }
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let p2 = 10_240 * 512;
    // A table sector, the head of a region, the middle and the last sector of one.
    for sector in [0, 512, MIB, p2, p2 + 600 * KIB, 14_500 * 512] {
        let destination = Forgetful(used_disk(disk.size(), None), sector);
        let error = restore(&store, "one", &destination, read_back()).unwrap_err();
        assert!(matches!(error, Error::ReadBack { .. }), "{sector}: {error}");
        assert_nothing_boots(&layout::read(&disk).unwrap(), &destination.0, true, "forgetful");
    }
}

#[test]
fn a_source_that_goes_away_leaves_no_image_and_nothing_is_lost() {
    for readers in [1, 4] {
        within_minutes(move || {
            let disk = machine();
            for number in (1..10_000).step_by(readers) {
                let store = MemoryStore::new();
                let faulty = FaultyDisk::new(&disk, Some(Fault { operation: Operation::Read, number }));
                let settings = settings(readers, 2);
                match save_with(&store, "one", &faulty, &settings, &(), &Cancel::new()) {
                    Ok(_) => {
                        assert!(faulty.count(Operation::Read) < number);
                        assert!(number > 10);
                        return;
                    }
                    Err(error) => assert!(matches!(error, Error::Source { .. }), "read {number}: {error}"),
                }
                assert!(!exists(&store, "one"), "read {number}");
                if number % 3 == 0 {
                    save(&store, "one", &disk).unwrap();
                    assert_whole(&store, "one", &disk);
                }
            }
            panic!("never ended");
        });
    }
}

#[test]
fn a_sector_that_is_read_at_the_third_try_is_not_lost() {
    /// One byte of it is only read alone, with its sector, and not at the first tries.
    struct Weak(MemoryDisk, AtomicU64);
    impl ReadAt for Weak {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            let end = offset + buffer.len() as u64;
            let is_tried = (offset..end).contains(&1_100_000) && buffer.len() <= 512;
            let fails = (offset..end).contains(&1_100_000) && (!is_tried || self.1.load(Ordering::Relaxed) > 0);
            if is_tried && fails {
                self.1.fetch_sub(1, Ordering::Relaxed);
            }
            if fails { Err(io::Error::from_raw_os_error(5)) } else { self.0.read_at(offset, buffer) }
        }
    }
    impl Disk for Weak {
        fn sector_size(&self) -> Option<block::SectorSize> {
            None
        }
    }
    for (failures, lost) in [(2, 0), (3, 512)] {
        let (disk, store) = (Weak(bare(), failures.into()), MemoryStore::new());
        let manifest = save_with(&store, "one", &disk, &settings(1, 1), &(), &Cancel::new()).unwrap();
        assert_eq!(manifest.totals.unreadable_bytes, lost, "{failures} failures");
        if lost == 0 {
            assert_whole(&store, "one", &disk.0);
        }
    }
}

#[test]
fn a_read_that_fails_once_loses_nothing() {
    within_minutes(|| {
        let disk = bare();
        for number in 2..10_000 {
            let store = MemoryStore::new();
            let faulty = FaultyDisk::new(&disk, Some(Fault { operation: Operation::Read, number })).passing();
            match save_with(&store, "one", &faulty, &settings(1, 1), &(), &Cancel::new()) {
                Ok(manifest) => assert_eq!(manifest.totals.unreadable_bytes, 0),
                Err(error) => panic!("{number}: {error}"),
            }
            assert_whole(&store, "one", &disk);
            if faulty.count(Operation::Read) < number {
                return;
            }
        }
        panic!("never ended");
    });
}

#[test]
fn a_sector_that_is_read_at_a_later_try_loses_nothing_and_is_in_the_log() {
    let disk = bare();
    let bad = DiskExtent::between(700_000, 700_001);
    let plan = plan(&MemoryStore::new(), "one", &disk).unwrap();
    for failures in [1, 5, 14] {
        let store = MemoryStore::new();
        let faulty = FaultyDisk::new(&disk, None).with_bad_extents(bad.into()).healing_after(failures);
        let sources = [source("sda", &faulty)];
        let manifest = session::save(&store, &sources, &plan, &settings(1, 1), &(), &Cancel::new()).unwrap();
        assert_eq!(manifest.totals.unreadable_bytes, 0);
        assert_whole(&store, "one", &disk);
        let log = image::read_all(&store, "images/one/log.jsonl", MIB).unwrap();
        let lines: Vec<serde_json::Value> =
            log.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
        assert_eq!((of("retrying").len(), of("recovered").len(), of("unreadable").len()), (1, 1, 0), "{lines:?}");
        assert_eq!(of("recovered")[0]["failures"], failures);
        assert_eq!(of("recovered")[0]["disk"], "sda");
    }
}

#[test]
fn a_source_that_goes_away_while_bad_sectors_are_narrowed_down_leaves_no_image() {
    within_minutes(|| {
        let disk = bare();
        let bad = DiskExtent::between(1_100_000, 1_100_001);
        for number in 1..10_000 {
            let store = MemoryStore::new();
            let fault = Fault { operation: Operation::Read, number };
            let faulty = FaultyDisk::new(&disk, Some(fault)).with_bad_extents(bad.into());
            match save_with(&store, "one", &faulty, &settings(1, 1), &(), &Cancel::new()) {
                Ok(manifest) => {
                    assert!(faulty.count(Operation::Read) < number, "read {number}: {:?}", manifest.totals);
                    assert_eq!(manifest.totals.unreadable_bytes, 512);
                    return;
                }
                Err(_) => assert!(!exists(&store, "one"), "read {number}"),
            }
        }
        panic!("never ended");
    });
}

#[test]
fn bad_sectors_are_listed_and_everything_else_comes_back() {
    within_minutes(|| {
        let (disk, store) = (machine(), MemoryStore::new());
        let p2 = 10_240 * 512;
        let lost = [(p2 + 1000, p2 + 1001), (p2 + 256 * KIB, p2 + 256 * KIB + 1), (p2 + 600 * KIB, p2 + 602 * KIB)];
        // A bad sector in free space is none.
        let bad = lost.iter().chain(&[(MIB + 100 * KIB, MIB + 100 * KIB + 1)]);
        let bad: block::Extents<block::InDisk> = bad.map(|(start, end)| DiskExtent::between(*start, *end)).collect();
        let faulty = FaultyDisk::new(&disk, None).with_bad_extents(bad);
        let plan = plan(&store, "one", &disk).unwrap();
        let manifest = save(&store, "one", &faulty).unwrap();
        let (region, record) = manifest.disks[0].region("p2").unwrap();
        let expected: Vec<_> = vec![(512, 512), (256 * KIB, 512), (600 * KIB, 2048)];
        assert_eq!(record.unreadable.iter().map(|e| (e.start(), e.length())).collect::<Vec<_>>(), expected);
        assert_eq!(manifest.totals.unreadable_bytes, 3072);
        assert!(verify(&store, false).unwrap().is_good());

        let restored = used_disk(disk.size(), None);
        restore(&store, "one", &restored, read_back()).unwrap();
        for extent in record.unreadable.iter().map(|part| region.extent.locate(&part).unwrap()) {
            let bytes = block::read_vec(&restored, extent.start(), extent.length() as usize).unwrap();
            assert!(block::is_zero(&bytes), "{extent}");
            disk.write_at(extent.start(), &bytes).unwrap();
        }
        assert_restored(&plan, &disk, &restored, 0xA5);
        assert_whole(&store, "one", &restored);
        // The bad disk itself equals the image as far as it can be read.
        let difference = &compare(&store, "one", &faulty).unwrap().differences;
        assert!(difference.iter().all(|difference| difference.bytes == 0), "{difference:?}");
    });
}

#[test]
fn the_last_bytes_of_a_disk_of_an_odd_size_can_be_bad() {
    let (disk, store) = (bare(), MemoryStore::new());
    let faulty = FaultyDisk::new(&disk, None).with_bad_extents(DiskExtent::between(1_300_000, 1_300_001).into());
    let manifest = save(&store, "one", &faulty).unwrap();
    let unreadable: Vec<_> = manifest.disks[0].regions[0].unreadable.iter().map(|e| (e.start(), e.end())).collect();
    assert_eq!(unreadable, [(1_299_968, 1_300_001)]);
    let restored = used_disk(disk.size(), None);
    restore(&store, "one", &restored, read_back()).unwrap();
    disk.write_at(1_299_968, &[0; 33]).unwrap();
    assert_whole(&store, "one", &disk);
    assert_whole(&store, "one", &restored);
}

#[test]
fn a_store_that_fails_at_any_writing_leaves_no_image_or_a_whole_one() {
    within_minutes(|| {
        let disk = machine();
        let store = MemoryStore::new();
        save(&store, "one", &disk).unwrap();
        let expected = record_bytes(&store);
        for is_passing in [false, true] {
            let ended = (1..10_000).find(|number| {
                let store = MemoryStore::new();
                if is_passing {
                    store.fail_at(*number)
                } else {
                    store.fail_from(*number)
                };
                let result = save(&store, "one", &disk);
                let is_over = store.writes() < *number;
                store.fail_from(0);
                if exists(&store, "one") {
                    assert_whole(&store, "one", &disk);
                    return is_over;
                }
                assert!(matches!(result, Err(Error::Repository(_))), "{number}, passing: {is_passing}: {result:?}");
                save(&store, "one", &disk).unwrap();
                assert_whole(&store, "one", &disk);
                assert_eq!(record_bytes(&store), expected, "{number}");
                false
            });
            assert!(ended.is_some_and(|number| number > 10), "{ended:?}");
        }
    });
}

#[test]
fn a_resumed_save_that_fails_at_any_writing_goes_on_once_more() {
    within_minutes(|| {
        let disk = mbr();
        for number in 1..10_000 {
            let store = MemoryStore::new();
            store.fail_from(12);
            assert!(save(&store, "one", &disk).is_err());
            store.fail_at(number);
            let result = save(&store, "one", &disk);
            let is_over = store.writes() < number;
            store.fail_from(0);
            if result.is_ok() {
                assert_whole(&store, "one", &disk);
                if is_over {
                    return;
                }
                continue;
            }
            assert!(!exists(&store, "one"));
            save(&store, "one", &disk).unwrap();
            assert_whole(&store, "one", &disk);
            record_bytes(&store);
        }
        panic!("never ended");
    });
}

#[test]
fn windows_of_a_restored_disk_are_recognised_again() {
    // Guards the assertion that nothing is recognised in between: it must be able to fail.
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let restored = used_disk(disk.size(), None);
    restore(&store, "one", &restored, read_back()).unwrap();
    let layout = layout::read(&restored).unwrap();
    let p1 = layout.region("p1").unwrap();
    assert!(filesystem::survey(&Window::new(&restored, p1.extent)).file_system.is_some());
}
