//! Links and servers that fail while a share is used: the save completes, or stops and completes when it is run again.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use image::{Store, StoreErrorKind};
use repository::{Patience, Watch};
use session::{Cancel, Error};
use tests::fill::content;
use tests::network_faults::{self, World, save_while};
use tests::patience::quick;
use tests::sample::MIB;
use tests::sessions::{assert_whole, save};
use tests::smb_scene::Scene;
use tests::wait::{LIMIT, wait_until};

/// Every write takes 5 ms, as on a busy disk: the server answers "pending" first, and the answer comes later.
const SLOW: [&str; 8] =
    ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", "trace=pwrite64", "--inject=pwrite64:delay_enter=5000"];

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
fn a_save_lives_through_a_server_that_is_killed_frozen_and_started_again() {
    let mut scene = Scene::new();
    save_while(&scene, "killed-connections", 24, 7 * MIB, || scene.server.kill_connections());
    save_while(&scene, "frozen", 24, 7 * MIB, || {
        scene.server.freeze(true);
        scene.server.proxy.stall(false);
        thread::sleep(Duration::from_secs(3));
        scene.server.freeze(false);
    });
    let disk = scene.disk(24);
    let store = scene.open("restarted", quick(), Watch::default());
    scene.server.proxy.stall_after(5 * MIB);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&store, "node", &disk, &Cancel::new()));
        for next in [Some(14 * MIB), None] {
            scene.server.proxy.wait_for_stall();
            scene.server.kill();
            scene.server.proxy.stall(false);
            next.into_iter().for_each(|bytes| scene.server.proxy.stall_after(bytes));
            scene.server.start_again();
        }
        saving.join().unwrap().unwrap();
    });
    drop(store);
    assert_whole(&*scene.direct("restarted"), "node", &disk);
}

#[test]
fn a_server_that_loses_what_it_did_not_flush_gets_it_again() {
    let mut scene = Scene::new();
    let disk = scene.disk(40);
    let store = scene.open("r", quick(), Watch::default());
    // Less than what is flushed at once, so all of it is the server's to lose.
    scene.server.proxy.stall_after(9 * MIB);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&store, "node", &disk, &Cancel::new()));
        scene.server.proxy.wait_for_stall();
        let part = scene.path("r/images/node/00000001.pack.part");
        wait_until("written bytes", || fs::metadata(&part).is_ok_and(|part| part.len() > 4 * MIB));
        scene.server.kill();
        scene.server.proxy.stall(false);
        let length = fs::metadata(&part).unwrap().len();
        fs::write(&part, vec![0xdb; length as usize]).unwrap();
        scene.server.start_again();
        saving.join().unwrap().unwrap();
    });
    drop(store);
    assert_whole(&*scene.direct("r"), "node", &disk);
}

#[test]
fn a_frozen_server_is_given_up_in_time_and_used_again_afterwards() {
    let scene = Scene::new();
    network_faults::a_frozen_server_is_given_up_in_time_and_used_again_afterwards(&scene, |is_frozen| {
        scene.server.freeze(is_frozen);
    });
}

#[test]
fn a_closed_connection_is_noticed_at_once() {
    network_faults::a_closed_connection_is_noticed_at_once(&Scene::new());
}

#[test]
fn a_server_that_answers_later_takes_hundreds_of_requests() {
    let scene = Scene::with("", &SLOW);
    let patience = Patience { call_deadline: Duration::from_secs(20), ..quick() };
    let store = scene.open("", patience, Watch::default());
    let bytes = content(4, 8 * MIB as usize);
    let began = Instant::now();
    thread::scope(|scope| {
        for number in 0..2 {
            let (store, bytes) = (&store, &bytes);
            scope.spawn(move || {
                let mut file = store.create(&format!("{number}.pack")).unwrap();
                (0..12).for_each(|_| file.write(bytes).unwrap());
                file.sync().unwrap();
            });
        }
    });
    // 192 requests of 1 MiB, up to 16 at a time.
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
    let mut found = vec![0; bytes.len()];
    for part in 0..12 {
        store.read_at("1.pack", part * 8 * MIB, &mut found).unwrap();
        assert!(found == bytes, "part {part}");
    }
}

#[test]
fn a_user_who_is_taken_away_ends_the_save_in_order() {
    let scene = Scene::new();
    let disk = scene.disk(24);
    let store = scene.open("r", quick(), Watch::default());
    scene.server.proxy.stall_after(9 * MIB);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&store, "node", &disk, &Cancel::new()));
        scene.server.proxy.wait_for_stall();
        scene.server.remove_user();
        scene.server.proxy.cut();
        scene.server.proxy.stall(false);
        let failed = saving.join().unwrap().unwrap_err();
        let Error::Repository(image::Error::Store(failed)) = failed else { panic!("{failed:?}") };
        assert_eq!(failed.kind, StoreErrorKind::Login, "{failed:?}");
    });
    drop(store);
    scene.server.set_password(tests::samba::PASSWORD);
    let store = scene.open("r", quick(), Watch::default());
    save(&store, "node", &disk, &Cancel::new()).unwrap();
    drop(store);
    assert_whole(&*scene.direct("r"), "node", &disk);
}
