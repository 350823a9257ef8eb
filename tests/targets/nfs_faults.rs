//! Links and servers that fail while an export is used: the save completes, or stops and completes when it is run
//! again; nothing is ever half there.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use image::StoreErrorKind;
use repository::Watch;
use session::{Cancel, Error};
use tests::FileDisk;
use tests::network_faults::{self, save_while};
use tests::nfs_scene::Scene;
use tests::patience::{lease_times, quick};
use tests::sample::MIB;
use tests::sessions::save;
use tests::wait::wait_until;

#[test]
fn a_save_lives_through_cuts_closes_and_stalls() {
    network_faults::a_save_lives_through_cuts_closes_and_stalls(&Scene::new());
}

#[test]
fn a_save_lives_on_a_slow_link() {
    network_faults::a_save_lives_on_a_slow_link(&Scene::new());
}

#[test]
fn a_link_is_never_left_idle() {
    network_faults::a_link_is_never_left_idle(&Scene::new());
}

#[test]
fn a_save_stops_cleanly_and_the_next_completes_it() {
    network_faults::a_save_stops_cleanly_and_the_next_completes_it(&Scene::new());
}

#[test]
fn the_operator_ends_a_wait() {
    network_faults::the_operator_ends_a_wait(&Scene::new());
}

#[test]
fn nothing_is_half_published() {
    network_faults::nothing_is_half_published(&Scene::new());
}

#[test]
fn every_answer_may_be_lost() {
    network_faults::every_answer_may_be_lost(&Scene::new());
}

#[test]
fn a_closed_connection_is_noticed_at_once() {
    network_faults::a_closed_connection_is_noticed_at_once(&Scene::new());
}

#[test]
fn a_frozen_server_is_given_up_in_time_and_used_again_afterwards() {
    let scene = Scene::new();
    network_faults::a_frozen_server_is_given_up_in_time_and_used_again_afterwards(&scene, |is_frozen| {
        scene.server.freeze(is_frozen);
    });
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
fn a_save_lives_through_a_server_that_is_frozen_killed_and_started_again() {
    let mut scene = Scene::new();
    save_while(&scene, "frozen", 24, 7 * MIB, || {
        scene.server.freeze(true);
        scene.server.nfs.stall(false);
        thread::sleep(Duration::from_secs(3));
        scene.server.freeze(false);
    });
    let disk = scene.disk(24);
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
fn a_session_that_was_cut_off_for_longer_than_its_lease_goes_on_where_nobody_took_over() {
    let scene = Scene::new();
    save_while(&scene, "r", 24, 7 * MIB, || {
        scene.server.nfs.refuse(true);
        scene.server.nfs.cut();
        thread::sleep(lease_times().lease + Duration::from_secs(2));
        scene.server.nfs.refuse(false);
    });
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
