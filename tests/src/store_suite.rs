//! What every store must do, whatever is behind it: each sentence of the trait's documentation.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use image::{Entry, Store, StoreErrorKind, StoreFile, read_all};

use crate::fill::content;

/// Checks everything on an empty store. `again` opens another one at the same place, as another machine would.
///
/// # Panics
/// Where anything is not as it must be.
pub fn check(store: &dyn Store, again: &dyn Fn() -> Box<dyn Store>) {
    nothing_is_there(store);
    files_are_written_and_read(store);
    lists_are_complete_and_in_order(store);
    appending_cuts_first(store);
    renaming_replaces(store);
    removing_is_done_where_nothing_is(store);
    publishing_happens_once(store);
    of_many_publishers_one_succeeds(store, again);
    many_threads_write_at_once(store);
    another_machine_sees_everything(store, again);
    locks_keep_others_out(store, again);
    space_is_plausible(store);
}

fn kind<T>(result: image::StoreResult<T>) -> Option<StoreErrorKind> {
    result.err().map(|error| error.kind)
}

fn write(store: &dyn Store, path: &str, bytes: &[u8]) {
    let mut file = store.create(path).unwrap();
    file.write(bytes).unwrap();
    file.sync().unwrap();
}

fn read(store: &dyn Store, path: &str) -> Vec<u8> {
    read_all(store, path, u64::MAX).unwrap()
}

fn names(store: &dyn Store, directory: &str) -> Vec<String> {
    store.list(directory).unwrap().into_iter().map(|entry| entry.name).collect()
}

fn nothing_is_there(store: &dyn Store) {
    assert!(!store.location().is_empty());
    assert_eq!(store.list("").unwrap(), []);
    assert_eq!(store.list("absent").unwrap(), [], "a directory that does not exist is empty");
    assert_eq!(store.list("absent/below").unwrap(), []);
    assert_eq!(kind(store.size("absent")), Some(StoreErrorKind::NotFound));
    assert_eq!(kind(store.size("absent/below")), Some(StoreErrorKind::NotFound));
    assert_eq!(kind(store.read_at("absent", 0, &mut [0])), Some(StoreErrorKind::NotFound));
    assert_eq!(kind(store.read_at("absent", 9, &mut [0])), Some(StoreErrorKind::NotFound));
    assert_eq!(kind(store.append("absent", 0).map(drop)), Some(StoreErrorKind::NotFound));
    let renamed = kind(store.rename("absent", "other"));
    assert_eq!(renamed, Some(StoreErrorKind::NotFound));
    assert_eq!(store.list("").unwrap(), [], "none of this made anything");
}

fn files_are_written_and_read(store: &dyn Store) {
    // Larger than any single request, in pieces of odd sizes.
    let bytes = content(1, 5_300_001);
    let mut file = store.create("a/b/c/large").unwrap();
    for piece in bytes.chunks(777_777) {
        file.write(piece).unwrap();
    }
    file.write(&[]).unwrap();
    file.sync().unwrap();
    file.sync().unwrap();
    assert_eq!(store.size("a/b/c/large").unwrap(), bytes.len() as u64);
    assert!(read(store, "a/b/c/large") == bytes);
    for (offset, length) in [(0, 1), (1, 4095), (1 << 20, 1), ((1 << 20) - 1, 2), (5_300_000, 1), (300_000, 4 << 20)] {
        let mut part = vec![0xee; length];
        store.read_at("a/b/c/large", offset, &mut part).unwrap();
        assert!(part == bytes[offset as usize..offset as usize + length], "{length} bytes at {offset}");
    }
    store.read_at("a/b/c/large", 0, &mut []).unwrap();
    for (offset, length) in [(5_300_001, 1), (5_300_000, 2), (0, 5_300_002), (u64::from(u32::MAX), 1)] {
        let read = store.read_at("a/b/c/large", offset, &mut vec![0; length]);
        assert_eq!(kind(read), Some(StoreErrorKind::Truncated), "{length} bytes at {offset}");
    }
    // What is written after a sync is part of the file as well.
    file.write(b"more").unwrap();
    file.sync().unwrap();
    drop(file);
    let mut end = [0; 5];
    store.read_at("a/b/c/large", 5_300_000, &mut end).unwrap();
    assert_eq!((end[0], &end[1..]), (bytes[5_300_000], &b"more"[..]));
    // A new file replaces one of the same name, and is shorter.
    write(store, "a/b/c/large", b"short");
    assert_eq!(read(store, "a/b/c/large"), b"short");
    assert_eq!(kind(store.read_at("a/b/c/large", 100, &mut [0])), Some(StoreErrorKind::Truncated));
    write(store, "a/empty", b"");
    assert_eq!((store.size("a/empty").unwrap(), read(store, "a/empty")), (0, Vec::new()));
}

fn lists_are_complete_and_in_order(store: &dyn Store) {
    let mut expected = Vec::new();
    for number in 0..300_usize {
        let name = format!("{:03}.a-file_with-a-name-that-is-not-short.{}", number * 7 % 300, "x".repeat(number % 90));
        write(store, &format!("list/{name}"), &vec![1; number]);
        expected.push(Entry { name, size: number as u64, is_directory: false });
    }
    write(store, "list/a-directory/file", b"x");
    expected.push(Entry { name: "a-directory".into(), size: 0, is_directory: true });
    expected.sort();
    assert_eq!(store.list("list").unwrap(), expected);
    assert_eq!(names(store, ""), ["a", "list"]);
}

fn appending_cuts_first(store: &dyn Store) {
    let bytes = content(2, 3_000_000);
    write(store, "images/x/1.pack.part", &bytes);
    let mut file = store.append("images/x/1.pack.part", 1_234_567).unwrap();
    file.write(b"and on").unwrap();
    file.sync().unwrap();
    drop(file);
    let whole = read(store, "images/x/1.pack.part");
    assert!(whole[..1_234_567] == bytes[..1_234_567] && whole[1_234_567..] == *b"and on");
    let mut file = store.append("images/x/1.pack.part", 0).unwrap();
    file.write(b"anew").unwrap();
    file.sync().unwrap();
    assert_eq!(read(store, "images/x/1.pack.part"), b"anew");
}

fn renaming_replaces(store: &dyn Store) {
    write(store, "rename/from", b"first");
    store.rename("rename/from", "rename/deep/er/to").unwrap();
    assert_eq!(read(store, "rename/deep/er/to"), b"first");
    assert_eq!(kind(store.size("rename/from")), Some(StoreErrorKind::NotFound));
    let mut byte = [0];
    store.read_at("rename/deep/er/to", 2, &mut byte).unwrap();
    write(store, "rename/from", b"second one");
    store.rename("rename/from", "rename/deep/er/to").unwrap();
    assert_eq!(read(store, "rename/deep/er/to"), b"second one", "what was replaced is not read any more");
    store.read_at("rename/deep/er/to", 2, &mut byte).unwrap();
    assert_eq!(byte, *b"c", "nor from the middle");
    assert_eq!(names(store, "rename"), ["deep"]);
}

fn removing_is_done_where_nothing_is(store: &dyn Store) {
    write(store, "remove/it", b"x");
    store.remove("remove/it").unwrap();
    store.remove("remove/it").unwrap();
    store.remove("absent/it").unwrap();
    assert_eq!(store.list("remove").unwrap(), []);
    assert_eq!(kind(store.read_at("remove/it", 0, &mut [0])), Some(StoreErrorKind::NotFound));
}

fn publishing_happens_once(store: &dyn Store) {
    store.publish("images/once/manifest.json", b"first").unwrap();
    assert_eq!(kind(store.publish("images/once/manifest.json", b"second")), Some(StoreErrorKind::AlreadyExists));
    assert_eq!(read(store, "images/once/manifest.json"), b"first", "nothing was changed");
    assert_eq!(names(store, "images/once"), ["manifest.json"], "and nothing stays behind");
    let large = content(3, 2_500_000);
    store.publish("large.json", &large).unwrap();
    assert!(read(store, "large.json") == large);
    store.publish("images/once/empty", b"").unwrap();
    assert_eq!(store.size("images/once/empty").unwrap(), 0);
}

fn of_many_publishers_one_succeeds(store: &dyn Store, again: &dyn Fn() -> Box<dyn Store>) {
    let others: Vec<_> = (0..3).map(|_| again()).collect();
    for round in 0..5 {
        let path = format!("competition/{round}/manifest.json");
        let (barrier, winners) = (Barrier::new(9), AtomicU64::new(0));
        let winner = AtomicU64::new(u64::MAX);
        thread::scope(|scope| {
            for number in 0..8_u64 {
                let store = others.get(number as usize % 4).map_or(store, |other| &**other);
                let (barrier, winners, winner, path) = (&barrier, &winners, &winner, &path);
                scope.spawn(move || {
                    let bytes = content(number, 50_000);
                    barrier.wait();
                    match store.publish(path, &bytes) {
                        Ok(()) => {
                            winners.fetch_add(1, Ordering::SeqCst);
                            winner.store(number, Ordering::SeqCst);
                        }
                        Err(error) => assert_eq!(error.kind, StoreErrorKind::AlreadyExists, "{error:?}"),
                    }
                });
            }
            // Whoever looks meanwhile sees nothing or everything.
            let (barrier, path) = (&barrier, &path);
            scope.spawn(move || {
                barrier.wait();
                for _ in 0..20 {
                    match store.size(path) {
                        Ok(size) => assert_eq!(size, 50_000, "half a file was seen"),
                        Err(error) => assert_eq!(error.kind, StoreErrorKind::NotFound, "{error:?}"),
                    }
                }
            });
        });
        assert_eq!(winners.load(Ordering::SeqCst), 1, "round {round}");
        assert!(read(store, &path) == content(winner.load(Ordering::SeqCst), 50_000), "the winner's bytes are there");
        assert_eq!(names(store, &format!("competition/{round}")), ["manifest.json"]);
    }
}

fn many_threads_write_at_once(store: &dyn Store) {
    let write = |number: u64| {
        let (from, to) = (format!("many/{number}.part"), format!("packs/{number:02}/{number}.pack"));
        let mut file: Box<dyn StoreFile> = store.create(&from).unwrap();
        for piece in content(number, 2_200_000).chunks(300_000) {
            file.write(piece).unwrap();
        }
        file.sync().unwrap();
        store.rename(&from, &to).unwrap();
        assert!(read(store, &to) == content(number, 2_200_000), "{to}");
    };
    thread::scope(|scope| (0..8).for_each(|number| drop(scope.spawn(move || write(number)))));
    assert_eq!(names(store, "many"), Vec::<String>::new());
    assert_eq!(names(store, "packs").len(), 8);
}

fn another_machine_sees_everything(store: &dyn Store, again: &dyn Fn() -> Box<dyn Store>) {
    let other = again();
    for number in 0..8 {
        assert!(read(&*other, &format!("packs/{number:02}/{number}.pack")) == content(number, 2_200_000));
    }
    write(store, "shared", b"one");
    assert_eq!(read(&*other, "shared"), b"one");
    write(&*other, "shared-2", b"three");
    store.rename("shared-2", "shared").unwrap();
    assert_eq!(read(&*other, "shared"), b"three");
    store.remove("shared").unwrap();
    assert_eq!(kind(other.size("shared")), Some(StoreErrorKind::NotFound));
}

fn locks_keep_others_out(store: &dyn Store, again: &dyn Fn() -> Box<dyn Store>) {
    let other = again();
    let lock = store.lock("save-node").unwrap();
    lock.confirm().unwrap();
    assert_eq!(kind(store.lock("save-node")), Some(StoreErrorKind::Locked));
    assert_eq!(kind(other.lock("save-node")), Some(StoreErrorKind::Locked));
    let second = other.lock("save-node.2").unwrap();
    lock.confirm().and(second.confirm()).expect("locks of other names do not matter");
    drop(lock);
    second.confirm().unwrap();
    let third = other.lock("save-node").unwrap();
    drop((second, third));
    assert_eq!(names(store, "locks"), Vec::<String>::new(), "no lock file stays behind");
    let lock = store.lock("save-lost").unwrap();
    for entry in store.list("locks").unwrap() {
        store.remove(&format!("locks/{}", entry.name)).unwrap();
    }
    assert_eq!(lock.confirm().unwrap_err().kind, StoreErrorKind::Locked, "a lock whose files were removed is lost");
}

fn space_is_plausible(store: &dyn Store) {
    if let Some(available) = store.available_bytes().unwrap() {
        assert!(available > 1 << 20, "{available}");
    }
}
