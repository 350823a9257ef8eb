//! Stopping at any time, blocked and slow partners, and the bound on memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use block::{Disk, DiskExtent, Fault, FaultyDisk, MemoryDisk, Operation, ReadAt, WriteAt};
use image::MemoryStore;
use session::{Cancel, Error, Event, Observer};

use crate::resuming::CancelAt;
use crate::samples::{MIB, Random, bare, machine, used_disk};
use crate::stores::HookedStore;
use crate::work::*;

#[test]
fn a_save_can_be_cancelled_at_any_event() {
    within_minutes(|| {
        let disk = machine();
        for number in 1..10_000 {
            let store = MemoryStore::new();
            let observer = CancelAt::new(number);
            match save_with(&store, "one", &disk, &settings(2, 2), &observer, &observer.cancel) {
                Err(Error::Cancelled) => assert!(!exists(&store, "one")),
                Err(error) => panic!("{number}: {error}"),
                Ok(_) => {
                    // At the last events the work is done.
                    assert!(number + 1 >= observer.seen(), "{number} of {}", observer.seen());
                    if observer.seen() < number {
                        return;
                    }
                }
            }
            if !exists(&store, "one") {
                save(&store, "one", &disk).unwrap();
            }
            assert_whole(&store, "one", &disk);
        }
        panic!("never ended");
    });
}

#[test]
fn a_restore_can_be_cancelled_at_any_event() {
    within_minutes(|| {
        let (disk, store) = (machine(), MemoryStore::new());
        let plan = plan(&store, "one", &disk).unwrap();
        save(&store, "one", &disk).unwrap();
        for number in 1..10_000 {
            let observer = CancelAt::new(number);
            let destination = used_disk(disk.size(), None);
            match restore_with(&store, "one", &destination, read_back(), 2, &observer, &observer.cancel) {
                Err(Error::Cancelled) => {
                    assert_nothing_boots(&plan.disks[0].layout, &destination, true, &format!("event {number}"));
                }
                Err(error) => panic!("{number}: {error}"),
                Ok(_) if observer.seen() < number => return,
                Ok(_) => {}
            }
            restore(&store, "one", &destination, read_back()).unwrap();
            assert_restored(&plan, &disk, &destination, 0xA5);
        }
        panic!("never ended");
    });
}

#[test]
fn a_restore_that_was_cancelled_before_it_began_touches_nothing() {
    let (disk, store) = (machine(), MemoryStore::new());
    let manifest = save(&store, "one", &disk).unwrap();
    let destination = FaultyDisk::new(used_disk(disk.size(), None), None);
    let assignments = [assignment("sda", &destination)];
    let cancel = Cancel::new();
    let plan = session::plan_restore(&store, manifest, &assignments, read_back(), &(), &cancel).unwrap();
    cancel.cancel();
    let interrupted = session::restore(&store, &plan, &assignments, 2, &(), &cancel).unwrap_err();
    assert!(matches!(interrupted.error, Error::Cancelled));
    assert_eq!(interrupted.unfinished, Vec::<String>::new());
    assert_eq!(destination.count(Operation::Write), 0);
}

#[test]
fn verify_and_compare_can_be_cancelled() {
    let (disk, store) = (machine(), MemoryStore::new());
    let manifest = save(&store, "one", &disk).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    for quick in [false, true] {
        let request = session::VerifyRequest { image: None, quick };
        assert!(matches!(session::verify(&store, &request, 2, &(), &cancel), Err(Error::Cancelled)));
    }
    let compared = session::compare(&store, &manifest, &[source("sda", &disk)], 2, &(), &cancel);
    assert!(matches!(compared, Err(Error::Cancelled)));
}

/// A large disk that counts what is read of it and what it takes.
struct Counting {
    disk: MemoryDisk,
    read_bytes: AtomicU64,
}

impl Counting {
    fn new(size: u64) -> Self {
        let disk = MemoryDisk::new(size);
        disk.write_at(0, &Random(11).bytes(size)).unwrap();
        Self { disk, read_bytes: AtomicU64::new(0) }
    }
}

impl ReadAt for Counting {
    fn size(&self) -> u64 {
        self.disk.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.read_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.disk.read_at(offset, buffer)
    }
}

impl Disk for Counting {
    fn sector_size(&self) -> Option<block::SectorSize> {
        None
    }
}

#[test]
fn a_store_that_blocks_stops_the_readers_soon() {
    within_minutes(|| {
        const SIZE: u64 = 120 * MIB;
        let disk = Arc::new(Counting::new(SIZE));
        // The first record waits until everything that can be read was: the number of bytes no longer grows.
        let (counted, most) = (disk.clone(), Arc::new(AtomicU64::new(0)));
        let seen = most.clone();
        let began = AtomicBool::new(false);
        let store = HookedStore::new(MemoryStore::new(), move |operation, path| {
            if operation == "write" && path.ends_with(".part") && !began.swap(true, Ordering::Relaxed) {
                let (mut last, mut quiet) = (0, 0);
                while quiet < 200_000 {
                    let now = counted.read_bytes.load(Ordering::Relaxed);
                    quiet = if now == last { quiet + 1 } else { 0 };
                    last = now;
                    std::thread::yield_now();
                }
                seen.store(last, Ordering::Relaxed);
            }
        });
        save_with(&store, "one", &*disk, &settings(8, 4), &(), &Cancel::new()).unwrap();
        let most = most.load(Ordering::Relaxed);
        assert!(most > 8 * MIB, "{most}");
        // 48 slots and the few sectors of the survey.
        assert!(most <= 49 * MIB, "{most}");
        assert_whole(&store, "one", &disk.disk);
    });
}

#[test]
fn any_number_of_threads_ends() {
    for (readers, encoders) in [(1, 1), (8, 8), (1, 8), (8, 1), (0, 0), (100, 1), (64, 64)] {
        within_minutes(move || {
            let (disk, inner) = (machine(), MemoryStore::new());
            let store = HookedStore::new(inner, |_, _| (0..20).for_each(|_| std::thread::yield_now()));
            save_with(&store, "one", &disk, &settings(readers, encoders), &(), &Cancel::new()).unwrap();
            assert_whole(&store, "one", &disk);
        });
    }
}

#[test]
fn failing_sources_and_stores_end_any_number_of_threads() {
    for (readers, encoders) in [(1, 1), (8, 8), (100, 1)] {
        within_minutes(move || {
            let disk = machine();
            for number in (1..40).step_by(3) {
                let store = MemoryStore::new();
                store.fail_from(number);
                let settings = settings(readers, encoders);
                assert!(save_with(&store, "one", &disk, &settings, &(), &Cancel::new()).is_err() || number > 20);
                store.fail_from(0);
                let faulty = FaultyDisk::new(&disk, Some(Fault { operation: Operation::Read, number }));
                let _ = save_with(&store, "two", &faulty, &settings, &(), &Cancel::new());
            }
        });
    }
}

#[test]
fn a_disk_that_panics_ends_the_save() {
    struct Panicking(MemoryDisk);
    impl ReadAt for Panicking {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            assert!(offset != 20 * MIB, "as the test wants");
            self.0.read_at(offset, buffer)
        }
    }
    impl Disk for Panicking {
        fn sector_size(&self) -> Option<block::SectorSize> {
            None
        }
    }
    within_minutes(|| {
        let disk = MemoryDisk::new(100 * MIB);
        disk.write_at(0, b"data").unwrap();
        let store = MemoryStore::new();
        let saved = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            save_with(&store, "one", &Panicking(disk), &settings(2, 2), &(), &Cancel::new()).map(drop)
        }));
        assert!(!matches!(saved, Ok(Ok(()))));
        assert!(!exists(&store, "one"));
    });
}

#[test]
fn cancelling_ends_a_long_fight_with_bad_sectors() {
    /// Cancels from inside the disk, at the n-th read.
    struct Tough {
        disk: FaultyDisk<MemoryDisk>,
        cancel: Cancel,
    }
    impl ReadAt for Tough {
        fn size(&self) -> u64 {
            self.disk.size()
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
            if self.disk.count(Operation::Read) == 500 {
                self.cancel.cancel();
            }
            self.disk.read_at(offset, buffer)
        }
    }
    impl Disk for Tough {
        fn sector_size(&self) -> Option<block::SectorSize> {
            None
        }
    }
    let cancel = Cancel::new();
    let disk = FaultyDisk::new(bare(), None).with_bad_extents(DiskExtent::between(700_000, 1_040_000).into());
    let disk = Tough { disk, cancel: cancel.clone() };
    let store = MemoryStore::new();
    let saved = save_with(&store, "one", &disk, &settings(1, 1), &(), &cancel);
    assert!(matches!(saved, Err(Error::Cancelled)), "{saved:?}");
    assert!(disk.disk.count(Operation::Read) < 600, "{}", disk.disk.count(Operation::Read));
}

/// Waits in the first `Progress` until the test lets go.
struct Gate {
    is_open: Mutex<bool>,
    changed: Condvar,
}

impl Observer for Gate {
    fn notify(&self, event: Event) {
        if matches!(event, Event::Progress { done } if done > 0) {
            let mut is_open = self.is_open.lock().unwrap();
            while !*is_open {
                is_open = self.changed.wait(is_open).unwrap();
            }
        }
    }
}

#[test]
fn an_image_that_is_being_saved_is_busy() {
    within_minutes(|| {
        let (disk, store) = (machine(), MemoryStore::new());
        let plan = plan(&store, "one", &disk).unwrap();
        let gate = Gate { is_open: Mutex::new(false), changed: Condvar::new() };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                session::save(&store, &[source("sda", &disk)], &plan, &settings(2, 2), &gate, &Cancel::new())
            });
            while !store.paths().iter().any(|(path, _)| path.ends_with(".map")) {
                std::thread::yield_now();
            }
            let second = save(&store, "one", &disk).unwrap_err();
            assert!(matches!(second, Error::Refused(session::Refusal::ImageBusy(_))), "{second}");
            *gate.is_open.lock().unwrap() = true;
            gate.changed.notify_all();
            first.join().unwrap().unwrap();
        });
        assert_whole(&store, "one", &disk);
    });
}
