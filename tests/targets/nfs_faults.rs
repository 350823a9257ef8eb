//! Links and servers that fail while an export is used: the save completes, or stops and completes when it is run
//! again; nothing is ever half there.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use image::{Store, StoreErrorKind, read_all};
use repository::{Contact, DirectoryStore, NfsStore, Patience, Watch};
use session::{Cancel, Error};
use tests::FileDisk;
use tests::fill::content;
use tests::nfs_scene::{Scene, lease_times, quick, watch};
use tests::sample::MIB;
use tests::sessions::{exists, save};
use tests::wait::{LIMIT, wait_until};

/// Saves while something happens after so many bytes.
fn save_while(scene: &Scene, store: &NfsStore, disk: &FileDisk, bytes: u64, fault: impl FnOnce()) {
    scene.server.nfs.stall_after(bytes);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(store, "node", disk, &Cancel::new()));
        scene.server.nfs.wait_for_stall();
        fault();
        scene.server.nfs.stall(false);
        saving.join().unwrap().unwrap();
    });
}

#[test]
fn a_server_that_closes_the_connection_in_a_call_is_noticed_at_once() {
    let scene = Scene::new();
    // Far longer than the test: only the end of the connection can end the call.
    let patience = Patience { call_deadline: Duration::from_secs(3600), ..quick() };
    let store = scene.open("", patience, Watch::default());
    store.publish("file", b"bytes").unwrap();
    scene.server.nfs.stall(true);
    let began = Instant::now();
    thread::scope(|scope| {
        let received = scene.server.nfs.sent_bytes();
        let reading = scope.spawn(|| read_all(&store, "file", 100));
        scene.server.nfs.wait_for_sent(received + 1);
        scene.server.nfs.close();
        scene.server.nfs.stall(false);
        assert_eq!(reading.join().unwrap().unwrap(), b"bytes");
    });
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}

#[test]
fn a_frozen_server_is_given_up_in_time_and_used_again_afterwards() {
    let scene = Scene::new();
    let patience = Patience { give_up_after: Duration::from_secs(5), ..quick() };
    let (watch, told, _) = watch();
    let store = scene.open("", patience, watch);
    store.publish("file", b"bytes").unwrap();
    scene.server.freeze(true);
    let began = Instant::now();
    let failed = store.size("file").unwrap_err();
    assert_eq!(failed.kind, StoreErrorKind::Unreachable, "{failed:?}");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    assert!(matches!(told.lock().unwrap()[0], Contact::Lost { .. }), "{told:?}");
    scene.server.freeze(false);
    assert_eq!(read_all(&store, "file", 100).unwrap(), b"bytes");
    assert!(matches!(told.lock().unwrap().last(), Some(Contact::Back { .. })), "{told:?}");
}

#[test]
fn a_server_that_is_killed_and_forgets_what_was_not_committed_gets_it_again() {
    let mut scene = Scene::new();
    let disk = scene.disk(48);
    let store = scene.open("r", quick(), Watch::default());
    // No COMMIT arrives: all that was sent is the server's to lose, and that is as much as a client keeps.
    scene.server.nfs.hold(Some(|call| call.get(24..28) == Some(&COMMIT)));
    let sent = scene.server.nfs.sent_bytes();
    let saving = thread::spawn({
        let disk = FileDisk::open(disk.path());
        move || save(&store, "node", &disk, &Cancel::new())
    });
    scene.server.nfs.wait_for_sent(sent + 32 * MIB);
    let directory = scene.path("r/images/node");
    let length = |part: &PathBuf| fs::metadata(part).map_or(0, |part| part.len());
    let written = || parts(&directory).iter().map(length).sum::<u64>();
    wait_until("written bytes", || written() > 16 * MIB);
    scene.server.kill();
    parts(&directory).iter().for_each(|part| overwrite(part));
    scene.server.nfs.hold(None);
    scene.server.resume();
    wait_until("the end of the save", || saving.is_finished());
    saving.join().unwrap().unwrap();
    scene.check("r", "node", &disk);
}

/// The number of the call, as the fifth word of its message behind the mark of the record.
const COMMIT: [u8; 4] = [0, 0, 0, 21];

/// Other bytes all over a file.
fn overwrite(part: &Path) {
    let file = OpenOptions::new().write(true).open(part).unwrap();
    let length = file.metadata().unwrap().len();
    file.write_all_at(&vec![0xdb; length as usize], 0).unwrap();
}

fn parts(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().ends_with(".pack.part")).collect()
}

#[test]
fn a_save_lives_through_cuts_closes_stalls_and_restarts() {
    let mut scene = Scene::new();
    let disk = scene.disk(24);
    let proxy = |scene: &Scene, fault: &str| match fault {
        "cut" => scene.server.nfs.cut(),
        "close" => scene.server.nfs.close(),
        "half-open" => scene.server.nfs.half_open(),
        "stall" => thread::sleep(Duration::from_secs(3)),
        _ => {
            scene.server.nfs.stall(false);
            scene.server.freeze(true);
            thread::sleep(Duration::from_secs(3));
            scene.server.freeze(false);
        }
    };
    for fault in ["cut", "close", "half-open", "stall", "freeze"] {
        let store = scene.open(fault, quick(), Watch::default());
        save_while(&scene, &store, &disk, 7 * MIB, || proxy(&scene, fault));
        scene.check(fault, "node", &disk);
    }
    let store = scene.open("restart", quick(), Watch::default());
    scene.server.nfs.stall_after(5 * MIB);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&store, "node", &disk, &Cancel::new()));
        for next in [Some(14 * MIB), None] {
            scene.server.nfs.wait_for_stall();
            scene.server.kill();
            scene.server.nfs.stall(false);
            next.into_iter().for_each(|bytes| scene.server.nfs.stall_after(bytes));
            scene.server.resume();
        }
        saving.join().unwrap().unwrap();
    });
    scene.check("restart", "node", &disk);
}

#[test]
fn a_save_stops_cleanly_when_the_server_stays_away_and_the_next_completes_it() {
    let mut scene = Scene::new();
    let disk = scene.disk(24);
    let patience = Patience { give_up_after: Duration::from_secs(4), ..quick() };
    let store = scene.open("r", patience, Watch::default());
    scene.server.nfs.stall_after(18 * MIB);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&store, "node", &disk, &Cancel::new()));
        scene.server.nfs.wait_for_stall();
        scene.server.kill();
        scene.server.nfs.stall(false);
        let failed = saving.join().unwrap().unwrap_err();
        let Error::Repository(image::Error::Store(failed)) = failed else { panic!("{failed:?}") };
        assert_eq!(failed.kind, StoreErrorKind::Unreachable);
    });
    scene.server.resume();
    drop(store);
    let store = scene.open("r", quick(), Watch::default());
    assert!(!exists(&store, "node"));
    save(&store, "node", &disk, &Cancel::new()).unwrap();
    scene.check("r", "node", &disk);
}

#[test]
fn a_session_that_was_cut_off_for_longer_than_its_lease_goes_on_where_nobody_took_over() {
    let scene = Scene::new();
    let disk = scene.disk(24);
    let store = scene.open("r", quick(), Watch::default());
    save_while(&scene, &store, &disk, 7 * MIB, || {
        scene.server.nfs.refuse(true);
        scene.server.nfs.cut();
        thread::sleep(lease_times().lease + Duration::from_secs(2));
        scene.server.nfs.refuse(false);
    });
    scene.check("r", "node", &disk);
}

#[test]
fn a_session_that_was_cut_off_while_another_took_over_writes_nothing_more() {
    let scene = Scene::new();
    let (disk, other_disk) = (scene.disk(24), scene.disk(6));
    let store = scene.open("r", quick(), Watch::default());
    scene.server.nfs.stall_after(7 * MIB);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&store, "node", &disk, &Cancel::new()));
        scene.server.nfs.wait_for_stall();
        scene.server.nfs.refuse(true);
        scene.server.nfs.cut();
        scene.server.nfs.stall(false);
        // Another machine has a way to the server that is not cut. It finds the lock without a sign of life.
        let way = scene.server.another_way();
        let other = scene.open_by(&way, "r", quick(), Watch::default());
        save(&other, "node", &other_disk, &Cancel::new()).unwrap();
        scene.server.nfs.refuse(false);
        let ended = saving.join().unwrap().unwrap_err();
        let is_lost = match &ended {
            Error::Repository(image::Error::Store(error)) => error.kind == StoreErrorKind::Locked,
            _ => false,
        };
        assert!(is_lost, "{ended:?}");
    });
    scene.check("r", "node", &other_disk);
}

#[test]
fn the_operator_ends_a_wait() {
    let scene = Scene::new();
    let disk = scene.disk(24);
    let patience = Patience { give_up_after: Duration::from_secs(3600), ..quick() };
    let (watch, _, cancelled) = watch();
    let store = scene.open("r", patience, watch);
    let cancel = Cancel::new();
    scene.server.nfs.stall_after(5 * MIB);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&store, "node", &disk, &cancel));
        scene.server.nfs.wait_for_stall();
        scene.server.nfs.refuse(true);
        scene.server.nfs.cut();
        scene.server.nfs.stall(false);
        let began = Instant::now();
        cancel.cancel();
        cancelled.store(true, Ordering::SeqCst);
        let ended = saving.join().unwrap().unwrap_err();
        assert!(matches!(ended, Error::Cancelled), "{ended:?}");
        assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    });
}

#[test]
fn nothing_is_half_published_while_the_server_stalls() {
    let scene = Scene::new();
    let (store, other) = (scene.open("r", quick(), Watch::default()), DirectoryStore::open(&scene.path("r")).unwrap());
    let bytes = content(5, 5 * MIB as usize);
    for (number, sent) in [1, 2 * MIB, 4 * MIB + 900_000, 5 * MIB + 500].into_iter().enumerate() {
        let path = format!("images/{number}/manifest.json");
        scene.server.nfs.stall_after(sent);
        thread::scope(|scope| {
            let publishing = scope.spawn(|| store.publish(&path, &bytes));
            scene.server.nfs.wait_for_stall();
            if let Ok(size) = other.size(&path) {
                assert_eq!(size, bytes.len() as u64, "half of it can be seen");
            }
            scene.server.nfs.cut();
            scene.server.nfs.stall(false);
            publishing.join().unwrap().unwrap();
        });
        assert!(read_all(&other, &path, u64::MAX).unwrap() == bytes);
        assert_eq!(other.list(&format!("images/{number}")).unwrap().len(), 1, "no temporary file stays behind");
    }
}

/// Does something with the n-th answer of the server lost, for n from 1 on, until it needs no more answers.
fn with_every_answer_lost(what: &str, mut work: impl FnMut(&Scene, &NfsStore, &DirectoryStore, u64)) {
    let scene = Scene::new();
    let mut number = 0;
    loop {
        number += 1;
        let below = format!("r{number}");
        let store = scene.open(&below, quick(), Watch::default());
        let other = DirectoryStore::open(&scene.path(&below)).unwrap();
        other.create("there/file").unwrap().write(b"there").unwrap();
        scene.server.nfs.lose_answers([number]);
        work(&scene, &store, &other, number);
        let is_over = scene.server.nfs.answers_to_lose() > 0;
        scene.server.nfs.lose_answers([]);
        if is_over {
            break;
        }
    }
    assert!(number > 2, "{what}: {number}");
}

#[test]
fn publishing_is_right_whichever_answer_is_lost() {
    with_every_answer_lost("publish", |_, store, other, number| {
        store.publish("images/a/manifest.json", b"mine").unwrap_or_else(|error| panic!("{number}: {error:?}"));
        assert_eq!(read_all(other, "images/a/manifest.json", 100).unwrap(), b"mine");
        assert_eq!(other.list("images/a").unwrap().len(), 1, "{number}");
    });
    with_every_answer_lost("publish taken", |_, store, other, number| {
        let failed = store.publish("there/file", b"mine").unwrap_err();
        assert_eq!(failed.kind, StoreErrorKind::AlreadyExists, "{number}");
        assert_eq!(read_all(other, "there/file", 100).unwrap(), b"there");
    });
}

#[test]
fn renaming_and_removing_are_right_whichever_answer_is_lost() {
    with_every_answer_lost("rename", |_, store, other, number| {
        store.rename("there/file", "packs/ab/x.pack").unwrap_or_else(|error| panic!("{number}: {error:?}"));
        assert_eq!(read_all(other, "packs/ab/x.pack", 100).unwrap(), b"there");
        assert!(other.list("there").unwrap().is_empty());
        store.remove("packs/ab/x.pack").unwrap();
        assert!(other.list("packs/ab").unwrap().is_empty());
    });
}

#[test]
fn writing_is_right_whichever_answer_is_lost() {
    let bytes = content(9, 3 * MIB as usize);
    with_every_answer_lost("create", |_, store, other, number| {
        let mut file = store.create("a/b").unwrap();
        file.write(&bytes).unwrap();
        file.sync().unwrap();
        drop(file);
        let mut file = store.append("a/b", 2 * MIB).unwrap();
        file.write(b"end").unwrap();
        file.sync().unwrap();
        let read = read_all(other, "a/b", u64::MAX).unwrap();
        assert!(
            read[..2 * MIB as usize] == bytes[..2 * MIB as usize] && read[2 * MIB as usize..] == *b"end",
            "{number}"
        );
    });
}

#[test]
fn a_lock_is_taken_whichever_answer_is_lost() {
    with_every_answer_lost("lock", |_, store, other, number| {
        let lock = store.lock("save-a").unwrap_or_else(|error| panic!("{number}: {error:?}"));
        lock.confirm().unwrap_or_else(|error| panic!("{number}: {error:?}"));
        drop(lock);
        assert_eq!(other.list("locks").unwrap(), [], "{number}");
    });
}
