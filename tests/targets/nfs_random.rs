//! A hundred saves whose connections are cut at random places: nothing is lost.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::time::Duration;

use image::StoreErrorKind;
use repository::{Patience, Watch};
use session::{Cancel, Error};
use tests::nfs_scene::{Scene, quick};
use tests::sample::MIB;
use tests::sessions::{exists, save};

/// The same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn a_hundred_saves_with_random_cuts_lose_nothing() {
    let scene = Scene::new();
    let disk = scene.disk(3);
    for seed in 1..=100_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        for _ in 0..8 {
            random.below(2);
        }
        let below = format!("seed-{seed}");
        // Every tenth has so little patience that it may end early.
        let give_up_after = if seed % 10 == 0 { Duration::ZERO } else { Duration::from_secs(30) };
        let patience = Patience { give_up_after, first_pause: Duration::from_millis(2), ..quick() };
        let store = scene.open(&below, patience.clone(), Watch::default());
        let cuts: Vec<u64> = (0..=random.below(4)).map(|_| random.below(3 * MIB + 20_000)).collect();
        let lost: Vec<u64> = (0..random.below(4)).map(|_| 1 + random.below(40)).collect();
        scene.server.nfs.cut_after(cuts.clone());
        scene.server.nfs.lose_answers(lost.clone());
        let first = save(&store, "node", &disk, &Cancel::new());
        scene.server.nfs.cut_after([]);
        scene.server.nfs.lose_answers([]);
        if let Err(error) = first {
            let is_given_up = matches!(
                &error,
                Error::Repository(image::Error::Store(error)) if error.kind == StoreErrorKind::Unreachable
            );
            assert!(seed % 10 == 0 && is_given_up, "seed {seed}, {cuts:?}, {lost:?}: {error:?}");
            drop(store);
            let store = scene.open(&below, quick(), Watch::default());
            // The answer to the very last call may be the one that was lost.
            if !exists(&store, "node") {
                save(&store, "node", &disk, &Cancel::new()).unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            }
        }
        scene.check(&below, "node", &disk);
        fs::remove_dir_all(scene.path(&below)).unwrap();
    }
}
