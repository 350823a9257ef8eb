//! Links that are slow, far or fast: a save takes the time that they need, and not much more.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use image::Store;
use repository::{Patience, Watch};
use session::Cancel;
use tests::fill::content;
use tests::nfs_scene::Scene;
use tests::sample::MIB;
use tests::sessions::save;

#[test]
fn a_slow_and_a_far_server_only_take_their_time() {
    let scene = Scene::new();
    let disk = scene.disk(3);
    let store = scene.open("slow", Patience::default(), Watch::default());
    scene.server.nfs.rate(Some(1_000_000));
    save(&store, "node", &disk, &Cancel::new()).unwrap();
    scene.server.nfs.rate(None);
    scene.check("slow", "node", &disk);
    let store = scene.open("far", Patience::default(), Watch::default());
    scene.server.nfs.delay(Duration::from_millis(100));
    save(&store, "node", &disk, &Cancel::new()).unwrap();
    scene.server.nfs.delay(Duration::ZERO);
    scene.check("far", "node", &disk);
}

#[test]
fn a_link_of_one_gigabit_is_filled() {
    let scene = Scene::new();
    let store = scene.open("r", Patience::default(), Watch::default());
    let bytes = content(1, 64 * MIB as usize);
    scene.server.nfs.rate(Some(125_000_000));
    scene.server.nfs.delay(Duration::from_millis(1));
    let began = Instant::now();
    let mut file = store.create("file").unwrap();
    bytes.chunks(MIB as usize).for_each(|chunk| file.write(chunk).unwrap());
    file.sync().unwrap();
    let rate = bytes.len() as f64 / began.elapsed().as_secs_f64() / 125e6;
    // The proxy and the server share two processors with this test: what is measured with care is in the benchmarks.
    assert!(rate > 0.4, "{:.0} % of the link", rate * 100.0);
}
