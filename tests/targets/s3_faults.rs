//! Links and servers that fail while object storage is used: the save completes, or stops and completes when it is
//! run again.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::sync::atomic::Ordering;

use image::{Store, StoreErrorKind, read_all};
use repository::{S3Keys, S3Store, Secret, Watch};
use session::{Cancel, Error};
use tests::fill::content;
use tests::network_faults::{self, World, save_while};
use tests::patience::quick;
use tests::s3_scene::{Scene, keys};
use tests::sample::MIB;
use tests::sessions::{assert_whole, exists, save};

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
fn answers_that_say_that_something_broke_are_not_believed() {
    let scene = Scene::new();
    let manners = &scene.server.manners;
    save_while(&scene, "broken", 70, 5 * MIB, || manners.lost_answers.store(6, Ordering::SeqCst));
    let store = scene.open("publish", quick(), Watch::default());
    store.publish("first", b"1").unwrap();
    manners.lost_answers.store(1, Ordering::SeqCst);
    store.publish("second", b"2").unwrap();
    assert_eq!(read_all(&store, "second", 10).unwrap(), b"2");
    manners.lost_answers.store(1, Ordering::SeqCst);
    assert_eq!(store.publish("first", b"other").unwrap_err().kind, StoreErrorKind::AlreadyExists);
    assert_eq!(read_all(&store, "first", 10).unwrap(), b"1");
}

#[test]
fn a_large_object_appears_whole_or_not_at_all() {
    let scene = Scene::new();
    let store = scene.open("r", quick(), Watch::default());
    let bytes = content(1, 70 * MIB as usize);
    // A name that comes first: sent in parts while it is written.
    let mut file = store.create("named").unwrap();
    bytes.chunks(MIB as usize).for_each(|part| file.write(part).unwrap());
    assert_eq!(store.size("named").unwrap_err().kind, StoreErrorKind::NotFound);
    file.sync().unwrap();
    file.write(b"more").unwrap();
    file.sync().unwrap();
    assert!(read_all(&store, "named", u64::MAX).unwrap() == [bytes.as_slice(), b"more"].concat());
    // A name that comes last.
    let mut file = store.create_nameless().unwrap().unwrap();
    bytes.chunks(MIB as usize).for_each(|part| file.write(part).unwrap());
    assert_eq!(store.list("packs").unwrap(), []);
    file.finish("packs/last").unwrap();
    assert!(read_all(&store, "packs/last", u64::MAX).unwrap() == bytes);
    // What is given up leaves no parts behind.
    let mut file = store.create("given-up").unwrap();
    bytes.chunks(MIB as usize).for_each(|part| file.write(part).unwrap());
    drop(file);
    assert_eq!(store.size("given-up").unwrap_err().kind, StoreErrorKind::NotFound);
    let left: Vec<_> = std::fs::read_dir(scene.directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("upload")), "{left:?}");
}

#[test]
fn a_server_that_ignores_conditions_is_refused_before_anything_is_published() {
    let scene = Scene::new();
    scene.server.manners.ignores_conditions.store(true, Ordering::SeqCst);
    let store = scene.open("r", quick(), Watch::default());
    let failed = store.publish("first", b"1").unwrap_err();
    assert!(failed.source.to_string().contains("If-None-Match"), "{failed:?}");
    assert_eq!(store.list("").unwrap(), [], "nothing stays, not even of the probe");
    scene.server.manners.ignores_conditions.store(false, Ordering::SeqCst);
    *scene.server.manners.refusal.lock().unwrap() = "501 NotImplemented".into();
    let failed = store.publish("first", b"1").unwrap_err();
    assert!(failed.source.to_string().contains("If-None-Match"), "{failed:?}");
}

#[test]
fn each_refusal_ends_the_save_with_its_own_kind() {
    let scene = Scene::new();
    let disk = scene.disk(3);
    let refusals = [
        ("403 AccessDenied", StoreErrorKind::Denied),
        ("403 InvalidAccessKeyId", StoreErrorKind::Login),
        ("403 RequestTimeTooSkewed", StoreErrorKind::Clock),
        ("403 QuotaExceeded", StoreErrorKind::Quota),
        ("507 XMinioStorageFull", StoreErrorKind::NoSpace),
    ];
    for (number, (refusal, kind)) in refusals.into_iter().enumerate() {
        let below = format!("r{number}");
        let store = scene.open(&below, quick(), Watch::default());
        store.publish("first", b"1").unwrap();
        *scene.server.manners.refusal.lock().unwrap() = refusal.into();
        let failed = save(&store, "node", &disk, &Cancel::new()).unwrap_err();
        let Error::Repository(image::Error::Store(failed)) = failed else { panic!("{failed:?}") };
        assert_eq!(failed.kind, kind, "{failed:?}");
        scene.server.manners.refusal.lock().unwrap().clear();
        assert!(!exists(&store, "node"));
        save(&store, "node", &disk, &Cancel::new()).unwrap();
        drop(store);
        assert_whole(&*scene.direct(&below), "node", &disk);
    }
}

#[test]
fn a_signature_by_another_key_and_a_bucket_that_is_not_there_are_told_apart() {
    let scene = Scene::new();
    let open = |address, keys: &S3Keys| S3Store::open(address, keys, quick(), Watch::default()).err().unwrap();
    let wrong = S3Keys { secret: Secret::new("wrong".into()), ..keys() };
    let failed = open(scene.address("r"), &wrong);
    assert_eq!(failed.kind, StoreErrorKind::Login, "{failed:?}");
    let mut address = scene.address("r");
    address.bucket = "absent".into();
    assert_eq!(open(address, &keys()).kind, StoreErrorKind::NoExport);
}
