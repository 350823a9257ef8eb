//! Prints how fast a target in the network is, in rows of Markdown for `docs/targets.md`.
//!
//! `target_rates nfs|smb|s3 MEBIBYTES ROUNDS`: a server of its own serves a directory below `TMPDIR`.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use image::Store;
use repository::{Patience, Watch};
use tests::fill::content;
use tests::network_faults::World;
use tests::rates::{self, Copier, MIB, Target};
use tests::{nfs_scene, s3_scene, smb_scene};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (mebibytes, rounds) = (arguments[2].parse::<usize>().unwrap(), arguments[3].parse().unwrap());
    // Nothing in it is there twice: a save would not send it.
    let bytes: Vec<u8> = (0..mebibytes).flat_map(|number| content(number as u64 + 1, MIB)).collect();
    match arguments[1].as_str() {
        "nfs" => {
            let scene = nfs_scene::Scene::new();
            let target = Target {
                proxy: &scene.server.nfs,
                open: &|below| -> Box<dyn Store> { Box::new(scene.open(below, Patience::default(), Watch::default())) },
                disk: &|mebibytes| scene.disk(mebibytes),
            };
            let one = |bytes: &[u8]| rates::nfs::plain(&scene, 1, bytes);
            let four = |bytes: &[u8]| rates::nfs::plain(&scene, 4, bytes);
            let plain: [(&str, Copier<'_>); 2] =
                [("nfs3_client alone, 1 connection", &one), ("nfs3_client alone, 4 connections", &four)];
            rates::report(&target, &plain, &bytes, rounds);
        }
        "smb" => {
            let scene = smb_scene::Scene::new();
            let plain = |bytes: &[u8]| rates::smb::plain(&scene, bytes);
            report(&scene, "smb2 alone", &plain, &bytes, rounds);
        }
        "s3" => {
            let scene = s3_scene::Scene::in_memory();
            let plain = |bytes: &[u8]| rates::s3::plain(&scene, bytes);
            report(&scene, "object_store alone", &plain, &bytes, rounds);
        }
        other => panic!("{other}: nfs, smb or s3"),
    }
}

fn report(world: &dyn World, name: &str, plain: Copier<'_>, bytes: &[u8], rounds: usize) {
    let target = Target {
        proxy: world.proxy(),
        open: &|below| world.open(below, Patience::default(), Watch::default()),
        disk: &|mebibytes| world.disk(mebibytes),
    };
    rates::report(&target, &[(name, plain)], bytes, rounds);
}
