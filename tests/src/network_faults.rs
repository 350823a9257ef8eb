//! What every target in the network must live through, whatever it speaks.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use image::{Store, StoreErrorKind, read_all};
use repository::{Contact, Patience, Watch};
use session::{Cancel, Error};

use crate::FileDisk;
use crate::fill::content;
use crate::patience::{quick, watch};
use crate::proxy::Proxy;
use crate::sample::MIB;
use crate::sessions::{assert_whole, exists, save};
use crate::wait::{LIMIT, wait_until};

/// A server behind a proxy, and a disk to save.
pub trait World: Sync {
    /// The proxy in front of the server.
    fn proxy(&self) -> &Proxy;

    /// A store below a directory of its own, through the proxy.
    fn open(&self, below: &str, patience: Patience, watch: Watch) -> Box<dyn Store>;

    /// The same past the proxy.
    fn direct(&self, below: &str) -> Box<dyn Store>;

    /// A disk of bytes that do not shrink.
    fn disk(&self, mebibytes: u64) -> FileDisk;
}

/// Saves while something happens after so many bytes, and checks the image.
///
/// # Panics
/// As everything here, where anything is not as it must be.
pub fn save_while(world: &dyn World, below: &str, mebibytes: u64, bytes: u64, fault: impl FnOnce()) {
    let disk = world.disk(mebibytes);
    let store = world.open(below, quick(), Watch::default());
    world.proxy().stall_after(bytes);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&*store, "node", &disk, &Cancel::new()));
        world.proxy().wait_for_stall();
        fault();
        world.proxy().stall(false);
        saving.join().unwrap().unwrap_or_else(|error| panic!("{below}: {error:?}"));
    });
    drop(store);
    assert_whole(&*world.direct(below), "node", &disk);
}

/// Cuts, orderly ends, silence and refusal in the middle of a save.
pub fn a_save_lives_through_cuts_closes_and_stalls(world: &dyn World) {
    let proxy = world.proxy();
    save_while(world, "cut", 24, 7 * MIB, || proxy.cut());
    save_while(world, "close", 24, 7 * MIB, || proxy.close());
    save_while(world, "half-open", 24, 7 * MIB, || proxy.half_open());
    save_while(world, "stall", 24, 7 * MIB, || {
        thread::sleep(Duration::from_secs(3));
    });
    save_while(world, "refused", 24, 7 * MIB, || {
        proxy.refuse(true);
        proxy.cut();
        thread::sleep(Duration::from_secs(1));
        proxy.refuse(false);
    });
}

/// 1 MB/s, and 200 ms there and back.
pub fn a_save_lives_on_a_slow_link(world: &dyn World) {
    let patience = Patience { call_deadline: Duration::from_secs(30), ..quick() };
    for (below, delay, rate) in [("slow", 0, Some(1_000_000)), ("far", 100, None)] {
        let disk = world.disk(3);
        let store = world.open(below, patience.clone(), Watch::default());
        world.proxy().delay(Duration::from_millis(delay));
        world.proxy().rate(rate);
        save(&*store, "node", &disk, &Cancel::new()).unwrap();
        drop(store);
        world.proxy().delay(Duration::ZERO);
        world.proxy().rate(None);
        assert_whole(&*world.direct(below), "node", &disk);
    }
}

/// So much is on its way before any answer comes, in each direction, that no link is left idle: 1 Gbit/s with a
/// millisecond each way holds 250 kB. With one request at a time it were 1 MiB of each file.
pub fn a_link_is_never_left_idle(world: &dyn World) {
    let patience = Patience { call_deadline: LIMIT, ..quick() };
    let store = world.open("r", patience, Watch::default());
    let (proxy, bytes) = (world.proxy(), content(9, 32 * MIB as usize));
    let mut file = store.create("there.pack").unwrap();
    thread::scope(|scope| {
        let before = proxy.sent_bytes();
        proxy.hold_answers_after(Some(MIB));
        let writing = scope.spawn(|| {
            bytes.chunks(MIB as usize).for_each(|block| file.write(block).unwrap());
            file.sync().unwrap();
        });
        proxy.wait_for_sent(before + 3 * MIB + MIB / 2);
        proxy.hold_answers_after(None);
        writing.join().unwrap();
    });
    drop(file);
    // As a restore reads: pieces in several threads, of files that it has begun to read before.
    let pieces = [8 * MIB, 12 * MIB, 16 * MIB, 20 * MIB];
    let read = |at: u64| {
        let mut found = vec![0; MIB as usize];
        store.read_at("there.pack", at, &mut found).unwrap();
        assert!(found == bytes[at as usize..][..MIB as usize], "{at}");
    };
    thread::scope(|scope| pieces.iter().for_each(|at| drop(scope.spawn(|| read(*at - MIB)))));
    let before = proxy.received_bytes();
    proxy.hold_answers_after(Some(0));
    thread::scope(|scope| {
        let reading = pieces.map(|at| scope.spawn(move || read(at)));
        proxy.wait_for_received(before + 2 * MIB + MIB / 2);
        proxy.hold_answers_after(None);
        reading.into_iter().for_each(|piece| piece.join().unwrap());
    });
}

/// The server stays away: the save ends, and the next one completes it.
pub fn a_save_stops_cleanly_and_the_next_completes_it(world: &dyn World) {
    let disk = world.disk(24);
    let patience = Patience { give_up_after: Duration::from_secs(4), ..quick() };
    let store = world.open("r", patience, Watch::default());
    world.proxy().stall_after(18 * MIB);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&*store, "node", &disk, &Cancel::new()));
        world.proxy().wait_for_stall();
        world.proxy().refuse(true);
        world.proxy().cut();
        world.proxy().stall(false);
        let failed = saving.join().unwrap().unwrap_err();
        let Error::Repository(image::Error::Store(failed)) = failed else { panic!("{failed:?}") };
        assert_eq!(failed.kind, StoreErrorKind::Unreachable, "{failed:?}");
    });
    drop(store);
    assert!(!exists(&*world.direct("r"), "node"));
    world.proxy().refuse(false);
    let store = world.open("r", quick(), Watch::default());
    save(&*store, "node", &disk, &Cancel::new()).unwrap();
    assert_whole(&*world.direct("r"), "node", &disk);
}

/// The operator does not want to wait.
pub fn the_operator_ends_a_wait(world: &dyn World) {
    let disk = world.disk(24);
    let patience = Patience { give_up_after: Duration::from_secs(3600), ..quick() };
    let (watch, _, cancelled) = watch();
    let store = world.open("r", patience, watch);
    let cancel = Cancel::new();
    world.proxy().stall_after(5 * MIB);
    let began = thread::scope(|scope| {
        let saving = scope.spawn(|| save(&*store, "node", &disk, &cancel));
        world.proxy().wait_for_stall();
        world.proxy().refuse(true);
        world.proxy().cut();
        world.proxy().stall(false);
        let began = Instant::now();
        cancel.cancel();
        cancelled.store(true, Ordering::SeqCst);
        let ended = saving.join().unwrap().unwrap_err();
        assert!(matches!(ended, Error::Cancelled), "{ended:?}");
        began
    });
    drop(store);
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}

/// While the server stalls in a publication, others see nothing or everything.
pub fn nothing_is_half_published(world: &dyn World) {
    let (store, other) = (world.open("r", quick(), Watch::default()), world.direct("r"));
    let bytes = content(5, 5 * MIB as usize);
    // Whatever is done once, as finding out what the server can do, is done.
    store.publish("first", b"1").unwrap();
    for (number, sent) in [1, 2 * MIB, 4 * MIB + 900_000, 5 * MIB + 500].into_iter().enumerate() {
        let path = format!("images/{number}/manifest.json");
        world.proxy().stall_after(sent);
        thread::scope(|scope| {
            let publishing = scope.spawn(|| store.publish(&path, &bytes));
            world.proxy().wait_for_stall();
            match other.size(&path) {
                Ok(size) => assert_eq!(size, bytes.len() as u64, "half of it can be seen"),
                Err(error) => assert_eq!(error.kind, StoreErrorKind::NotFound, "{error:?}"),
            }
            world.proxy().cut();
            world.proxy().stall(false);
            publishing.join().unwrap().unwrap();
        });
        assert!(read_all(&*other, &path, u64::MAX).unwrap() == bytes);
        assert_eq!(other.list(&format!("images/{number}")).unwrap().len(), 1, "no temporary file stays behind");
    }
}

/// Does something with the n-th answer of the server lost, for n from 1 on, until it needs no more answers.
fn with_every_answer_lost(world: &dyn World, what: &str, work: impl Fn(&dyn Store, &dyn Store, u64)) {
    let mut number = 0;
    loop {
        number += 1;
        let below = format!("{what}-{number}");
        let other = world.direct(&below);
        let mut there = other.create("there/file").unwrap();
        there.write(b"there").unwrap();
        there.sync().unwrap();
        drop(there);
        let store = world.open(&below, quick(), Watch::default());
        world.proxy().lose_answers([number]);
        work(&*store, &*other, number);
        drop(store);
        let is_over = world.proxy().answers_to_lose() > 0;
        world.proxy().lose_answers([]);
        if is_over {
            break;
        }
        assert!(number < 500, "{what} needs answers without end");
    }
    assert!(number > 2, "{what}: {number}");
}

/// Whichever answer is lost: what was asked for is done once and rightly.
pub fn every_answer_may_be_lost(world: &dyn World) {
    with_every_answer_lost(world, "publish", |store, other, number| {
        store.publish("images/a/manifest.json", b"mine").unwrap_or_else(|error| panic!("{number}: {error:?}"));
        assert_eq!(read_all(other, "images/a/manifest.json", 100).unwrap(), b"mine");
        assert_eq!(other.list("images/a").unwrap().len(), 1, "{number}");
    });
    with_every_answer_lost(world, "taken", |store, other, number| {
        let failed = store.publish("there/file", b"mine").unwrap_err();
        assert_eq!(failed.kind, StoreErrorKind::AlreadyExists, "{number}");
        assert_eq!(read_all(other, "there/file", 100).unwrap(), b"there");
    });
    with_every_answer_lost(world, "rename", |store, other, number| {
        store.rename("there/file", "packs/ab/x.pack").unwrap_or_else(|error| panic!("{number}: {error:?}"));
        assert_eq!(read_all(other, "packs/ab/x.pack", 100).unwrap(), b"there");
        assert!(other.list("there").unwrap().is_empty());
        store.remove("packs/ab/x.pack").unwrap();
        assert!(other.list("packs/ab").unwrap().is_empty());
    });
    let bytes = content(9, 3 * MIB as usize);
    with_every_answer_lost(world, "write", |store, other, number| {
        let mut file = store.create("a/b").unwrap();
        file.write(&bytes).unwrap();
        file.sync().unwrap();
        drop(file);
        let mut file = store.append("a/b", 2 * MIB).unwrap();
        file.write(b"end").unwrap();
        file.sync().unwrap();
        drop(file);
        let read = read_all(other, "a/b", u64::MAX).unwrap();
        let cut = 2 * MIB as usize;
        assert!(read[..cut] == bytes[..cut] && read[cut..] == *b"end", "{number}");
    });
    with_every_answer_lost(world, "lock", |store, other, number| {
        let lock = store.lock("save-a").unwrap_or_else(|error| panic!("{number}: {error:?}"));
        lock.confirm().unwrap_or_else(|error| panic!("{number}: {error:?}"));
        drop(lock);
        assert_eq!(other.list("locks").unwrap(), [], "{number}");
    });
}

/// The server closes the connection in order in the midst of a call.
pub fn a_closed_connection_is_noticed_at_once(world: &dyn World) {
    // Far longer than the test: only the end of the connection can end the call.
    let patience = Patience { call_deadline: Duration::from_secs(3600), ..quick() };
    let store = world.open("r", patience, Watch::default());
    store.publish("file", b"bytes").unwrap();
    world.proxy().stall(true);
    let sent = world.proxy().sent_bytes();
    thread::scope(|scope| {
        let reading = scope.spawn(|| read_all(&*store, "file", 100));
        world.proxy().wait_for_sent(sent + 1);
        world.proxy().close();
        world.proxy().stall(false);
        wait_until("the end of the call", || reading.is_finished());
        assert_eq!(reading.join().unwrap().unwrap(), b"bytes");
    });
}

/// The server stands still, and its connections stay.
pub fn a_frozen_server_is_given_up_in_time_and_used_again_afterwards(world: &dyn World, freeze: impl Fn(bool)) {
    let patience = Patience { give_up_after: Duration::from_secs(5), ..quick() };
    let (watch, told, _) = watch();
    let store = world.open("r", patience, watch);
    store.publish("file", b"bytes").unwrap();
    freeze(true);
    let began = Instant::now();
    let failed = store.size("file").unwrap_err();
    freeze(false);
    assert_eq!(failed.kind, StoreErrorKind::Unreachable, "{failed:?}");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    assert!(matches!(told.lock().unwrap()[0], Contact::Lost { .. }), "{told:?}");
    assert_eq!(read_all(&*store, "file", 100).unwrap(), b"bytes");
    assert!(matches!(told.lock().unwrap().last(), Some(Contact::Back { .. })), "{told:?}");
}

/// Saves with cuts and lost answers at places that the seed tells. Every tenth has so little patience that it may end
/// early; then the next one completes it.
pub fn random_faults(world: &dyn World, runs: u64) {
    let disk = world.disk(3);
    for seed in 0..runs {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x1234_5678_9ABC_DEF1);
        let mut random = |limit: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % limit
        };
        let below = format!("random-{seed}");
        let is_hasty = seed % 10 == 9;
        let give_up_after = if is_hasty { Duration::ZERO } else { quick().give_up_after };
        let store = world.open(&below, Patience { give_up_after, ..quick() }, Watch::default());
        let cuts: Vec<u64> = (0..=random(3)).map(|_| random(4 * MIB)).collect();
        let answers: Vec<u64> = (0..random(3)).map(|_| 1 + random(80)).collect();
        world.proxy().cut_after(cuts.clone());
        world.proxy().lose_answers(answers.clone());
        let saved = save(&*store, "node", &disk, &Cancel::new());
        world.proxy().cut_after([]);
        world.proxy().lose_answers([]);
        drop(store);
        if let Err(error) = saved {
            let is_given_up = matches!(
                &error,
                Error::Repository(image::Error::Store(error)) if error.kind == StoreErrorKind::Unreachable
            );
            assert!(is_hasty && is_given_up, "{seed}: {error:?} {cuts:?} {answers:?}");
            let store = world.open(&below, quick(), Watch::default());
            // The answer to the very last call may be the one that was lost.
            if !exists(&*store, "node") {
                save(&*store, "node", &disk, &Cancel::new()).unwrap_or_else(|error| panic!("{seed}: {error:?}"));
            }
        }
        assert_whole(&*world.direct(&below), "node", &disk);
    }
}
