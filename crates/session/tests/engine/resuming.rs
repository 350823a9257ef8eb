//! Nothing that is stored is stored again.

use std::sync::atomic::{AtomicU64, Ordering};

use block::WriteAt;
use image::{ChunkIndex, MemoryStore, PACKS_DIRECTORY, Store, salvage_pack};
use session::{Cancel, Error, Event, Observer};

use crate::samples::{KIB, MIB, Random, machine, mbr};
use crate::work::*;

/// Cancels at the n-th event.
pub struct CancelAt {
    pub cancel: Cancel,
    pub number: u64,
    seen: AtomicU64,
}

impl CancelAt {
    pub fn new(number: u64) -> Self {
        Self { cancel: Cancel::new(), number, seen: AtomicU64::new(0) }
    }
    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Observer for CancelAt {
    fn notify(&self, _: Event) {
        if self.seen.fetch_add(1, Ordering::Relaxed) + 1 >= self.number {
            self.cancel.cancel();
        }
    }
}

/// Bytes of records that a store holds, in finished packs and unfinished ones.
fn stored_so_far(store: &MemoryStore) -> u64 {
    let unfinished = store.paths().into_iter().filter(|(path, _)| path.ends_with(".part"));
    let salvaged: u64 = unfinished
        .flat_map(|(path, _)| salvage_pack(store, &path).unwrap().assembler.entries().to_vec())
        .map(|entry| entry.end() - entry.offset)
        .sum();
    salvaged + record_bytes(store)
}

#[test]
fn two_runs_store_together_what_one_stores() {
    within_minutes(|| {
        let disk = machine();
        let store = MemoryStore::new();
        let expected = save(&store, "one", &disk).unwrap().totals.stored_bytes;
        assert_eq!(expected, record_bytes(&store));
        let mut continued = 0;
        for (by_cancel, number) in (1..60).map(|n| (n % 2 == 0, n)) {
            let store = MemoryStore::new();
            let observer = CancelAt::new(if by_cancel { number } else { u64::MAX });
            store.fail_from(if by_cancel { 0 } else { number });
            let first = save_with(&store, "one", &disk, &settings(2, 2), &observer, &observer.cancel);
            store.fail_from(0);
            if first.is_ok() {
                continue;
            }
            let before = stored_so_far(&store);
            continued += u64::from(before > 0);
            let second = save(&store, "one", &disk).unwrap();
            assert_eq!(before + second.totals.stored_bytes, expected, "{number}");
            assert_eq!(record_bytes(&store), expected);
            assert_whole(&store, "one", &disk);
        }
        assert!(continued > 10, "{continued}");
    });
}

#[test]
fn a_later_generation_stores_only_what_changed() {
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let before = ChunkIndex::read(&store).unwrap().chunk_count();
    // One byte in each of three chunks.
    for chunk in [0, 2, 4] {
        disk.write_at(10_240 * 512 + chunk * 256 * KIB + 77, format!("changed {chunk}").as_bytes()).unwrap();
    }
    let manifest = save(&store, "two", &disk).unwrap();
    assert_eq!(ChunkIndex::read(&store).unwrap().chunk_count(), before + 3);
    assert_eq!(manifest.totals.new_bytes, 3 * 256 * KIB);
    assert_whole(&store, "two", &disk);
}

#[test]
fn the_same_disk_under_another_name_stores_no_pack() {
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let packs =
        |store: &MemoryStore| store.paths().iter().filter(|(path, _)| path.starts_with(PACKS_DIRECTORY)).count();
    let before = (packs(&store), record_bytes(&store));
    let manifest = save(&store, "two", &disk).unwrap();
    assert_eq!((packs(&store), record_bytes(&store)), before);
    assert_eq!((manifest.totals.new_bytes, manifest.totals.stored_bytes), (0, 0));
    assert!(store.list("images/two").unwrap().iter().all(|entry| !entry.name.ends_with(".part")));
    assert_whole(&store, "two", &disk);
}

#[test]
fn several_machines_save_to_one_store_at_once() {
    within_minutes(|| {
        let store = MemoryStore::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> = ["a", "b", "c"]
                .map(|name| {
                    let store = store.clone();
                    scope.spawn(move || save(&store, name, &if name == "c" { mbr() } else { machine() }).unwrap())
                })
                .into_iter()
                .collect();
            threads.into_iter().for_each(|thread| drop(thread.join().unwrap()));
        });
        assert_whole(&store, "a", &machine());
        assert_whole(&store, "b", &machine());
        assert_whole(&store, "c", &mbr());
    });
}

#[test]
fn packs_larger_than_their_limit_are_divided() {
    within_minutes(|| {
        let disk = block::MemoryDisk::new(150 * MIB);
        disk.write_at(0, &Random(3).bytes(140 * MIB)).unwrap();
        let store = MemoryStore::new();
        store.fail_from(80);
        assert!(matches!(save(&store, "one", &disk), Err(Error::Repository(_))));
        store.fail_from(0);
        let before = stored_so_far(&store);
        assert!(before > 64 * MIB, "{before}");
        save(&store, "one", &disk).unwrap();
        let index = ChunkIndex::read(&store).unwrap();
        assert!(index.packs().len() >= 3);
        assert!(index.packs().iter().all(|pack| pack.size < 66 * MIB));
        assert_eq!(record_bytes(&store), 140 * MIB + 560 * 64);
        assert_whole(&store, "one", &disk);
    });
}
