//! One flipped bit anywhere in a repository is noticed, named, and never restored.

use std::sync::atomic::{AtomicU64, Ordering};

use block::{FaultyDisk, MemoryDisk, Operation, SectorSize, WriteAt};
use image::{ChunkIndex, MemoryStore, pack_path};
use session::{Error, RestoreRequest, Verification};

use crate::samples::{KIB, gpt, machine, used_disk};
use crate::stores::HookedStore;
use crate::work::*;

/// A disk whose whole repository is a few thousand bytes.
fn small() -> MemoryDisk {
    let disk = gpt(600 * KIB, SectorSize::B512, &[(64, 900)]);
    for chunk in 0..3 {
        let line = format!("compresses well {chunk} ").into_bytes();
        let bytes: Vec<u8> = line.iter().copied().cycle().take(80_000).collect();
        disk.write_at(64 * 512 + chunk * 140_000, &bytes).unwrap();
    }
    disk
}

/// The bytes of records: what is damaged there is found by reading the chunk, not by the structure.
fn records(store: &MemoryStore) -> (String, std::ops::Range<usize>) {
    let index = ChunkIndex::read(store).unwrap();
    let pack = &index.packs()[0];
    (pack_path(&pack.id), 16..pack.entries.last().unwrap().end() as usize)
}

fn names_damage(verification: &Verification) -> bool {
    verification.images.iter().all(|health| {
        health.name == "one" && (health.damage.is_some() || health.regions.iter().all(|r| r.region.starts_with("sda:")))
    }) && verification.images.iter().any(|health| health.damage.is_some() || !health.regions.is_empty())
}

#[test]
fn one_flipped_bit_anywhere_is_noticed_and_never_restored() {
    within_minutes(|| {
        let (disk, store) = (small(), MemoryStore::new());
        save(&store, "one", &disk).unwrap();
        assert_whole(&store, "one", &disk);
        let (pack, records) = records(&store);
        let mut flipped = 0;
        for (path, size) in store.paths().into_iter().filter(|(path, _)| is_needed(path)) {
            // The manifest holds a table of thousands of zeros: sampled there, every byte elsewhere.
            let step = if path.ends_with("manifest.json") { 23 } else { 1 };
            for byte in (0..size).step_by(step) {
                let bit = (byte % 8) as u8;
                let is_record = path == pack && records.contains(&byte);
                store.flip(&path, byte, bit);
                check_damage(&store, is_record, &format!("{path} byte {byte} bit {bit}"));
                store.flip(&path, byte, bit);
                flipped += 1;
            }
        }
        assert!(flipped > 1000, "{flipped}");
        assert_whole(&store, "one", &disk);
    });
}

/// Log and checklists are for people: no image needs them.
fn is_needed(path: &str) -> bool {
    !path.ends_with("log.jsonl") && !path.ends_with(".txt")
}

fn check_damage(store: &MemoryStore, is_record: bool, context: &str) {
    match verify(store, false) {
        // The header belongs to all images.
        Err(error) => assert!(error.is_damage() && context.starts_with("sosei.json"), "{context}: {error}"),
        Ok(verification) => {
            assert!(!verification.is_good(), "{context}");
            assert!(names_damage(&verification), "{context}: {verification:?}");
        }
    }
    let is_quickly_good = verify(store, true).is_ok_and(|verification| verification.is_good());
    assert_eq!(is_quickly_good, is_record, "{context}");

    let destination = FaultyDisk::new(used_disk(600 * KIB, None), None);
    let error = restore(store, "one", &destination, RestoreRequest::default()).unwrap_err();
    assert!(error.is_damage(), "{context}: {error}");
    if !is_record {
        assert_eq!(destination.count(Operation::Write), 0, "{context}");
    }
    assert_eq!(layout::read(&destination).unwrap().table, layout::TableKind::None, "{context}");
}

#[test]
fn a_file_that_is_gone_or_cut_is_damage() {
    let paths = {
        let store = MemoryStore::new();
        save(&store, "one", &small()).unwrap();
        store.paths()
    };
    for (path, size) in paths.into_iter().filter(|(path, _)| path.ends_with(".map") || path.ends_with(".pack")) {
        for cut in [None, Some(size as u64 - 1), Some(0)] {
            let store = MemoryStore::new();
            save(&store, "one", &small()).unwrap();
            match cut {
                None => image::Store::remove(&store, &path).unwrap(),
                Some(length) => drop(image::Store::append(&store, &path, length).unwrap()),
            }
            check_damage(&store, false, &format!("{path} {cut:?}"));
            let request = session::VerifyRequest { image: Some(name("one")), quick: false };
            let verification = session::verify(&store, &request, 1, &(), &session::Cancel::new()).unwrap();
            assert!(!verification.is_good() && names_damage(&verification), "{path} {cut:?}: {verification:?}");
        }
    }
}

#[test]
fn damage_is_told_of_the_images_that_need_the_chunk() {
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    disk.write_at(10_240 * 512, b"changed").unwrap();
    save(&store, "two", &disk).unwrap();
    // The pack of the second image has the one chunk that only it needs.
    let index = ChunkIndex::read(&store).unwrap();
    let pack = index.packs().iter().find(|pack| pack.entries.len() == 1).unwrap();
    store.flip(&pack_path(&pack.id), 100, 3);
    let verification = verify(&store, false).unwrap();
    let damaged: Vec<Vec<_>> = verification
        .images
        .iter()
        .map(|health| health.regions.iter().map(|r| (r.region.as_str(), r.chunks)).collect())
        .collect();
    assert_eq!(damaged, [vec![], vec![("sda:p2", 1)]]);
    assert_eq!(verification.damaged_packs.len(), 1);
    for (image, is_good) in [("one", true), ("two", false)] {
        let request = session::VerifyRequest { image: Some(name(image)), quick: false };
        let verification = session::verify(&store, &request, 2, &(), &session::Cancel::new()).unwrap();
        assert_eq!(verification.is_good(), is_good, "{image}");
    }
}

#[test]
fn a_verification_counts_every_chunk() {
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let verification = verify(&store, false).unwrap();
    assert_eq!(verification.chunks, ChunkIndex::read(&store).unwrap().chunk_count() as u64);
    assert_eq!(verification.read_bytes, record_bytes(&store));
    assert_eq!((verification.packs, verification.unfinished), (1, Vec::new()));
    let quick = verify(&store, true).unwrap();
    assert_eq!((quick.chunks, quick.read_bytes), (0, 0));
}

#[test]
fn damage_in_what_a_smaller_disk_cuts_off_is_told_as_damage() {
    let disk = machine();
    disk.write_at(10 * 1024 * KIB - 40 * 512, b"somebody's metadata").unwrap();
    let store = MemoryStore::new();
    save(&store, "one", &disk).unwrap();
    let index = ChunkIndex::read(&store).unwrap();
    for entry in &index.packs()[0].entries {
        store.flip(&pack_path(&index.packs()[0].id), entry.offset as usize + 60, 0);
    }
    let destination = used_disk(10 * 1024 * KIB - 100 * 512, None);
    let error = restore(&store, "one", &destination, RestoreRequest::default()).unwrap_err();
    assert!(matches!(error, Error::ChunksDamaged { .. }), "{error}");
}

#[test]
fn a_damaged_copy_of_a_chunk_that_nobody_reads_harms_no_image() {
    // Two machines that saved at once: one pack of each, the second with one chunk more.
    let (disk, store, other) = (machine(), MemoryStore::new(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    disk.write_at(10_240 * 512, b"changed").unwrap();
    save(&other, "two", &disk).unwrap();
    for (path, size) in other.paths().into_iter().filter(|(path, _)| path.ends_with(".pack")) {
        let bytes = image::read_all(&other, &path, size as u64).unwrap();
        image::Store::publish(&store, &path, &bytes).unwrap();
    }
    let index = ChunkIndex::read(&store).unwrap();
    let (mut used, mut unused) = (0, 0);
    for (number, pack) in index.packs().iter().enumerate() {
        for entry in &pack.entries {
            let location = index.locate(&entry.id).unwrap();
            let is_used = (location.pack as usize, location.offset) == (number, entry.offset);
            let byte = entry.offset as usize + 70;
            store.flip(&pack_path(&pack.id), byte, 1);
            let verification = verify(&store, false).unwrap();
            assert_eq!(verification.damaged_packs.len(), 1);
            let destination = used_disk(10 * 1024 * KIB, None);
            let restored = restore(&store, "one", &destination, read_back());
            assert_eq!(restored.is_ok(), verification.images[0].regions.is_empty(), "{restored:?} {verification:?}");
            assert!(restored.is_ok() || is_used);
            store.flip(&pack_path(&pack.id), byte, 1);
            (used, unused) = (used + usize::from(is_used), unused + usize::from(!is_used));
        }
    }
    assert!(used > 3 && unused > 3, "{used} {unused}");
}

#[test]
fn chunks_of_a_pack_with_a_damaged_index_are_stored_again() {
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let (pack, size) = store.paths().into_iter().find(|(path, _)| path.ends_with(".pack")).unwrap();
    store.flip(&pack, size - 100, 0);
    assert!(restore(&store, "one", &used_disk(10 * 1024 * KIB, None), read_back()).unwrap_err().is_damage());
    save(&store, "two", &disk).unwrap();
    for image in ["one", "two"] {
        let destination = used_disk(10 * 1024 * KIB, None);
        restore(&store, image, &destination, read_back()).unwrap();
        assert_eq!(compare(&store, image, &destination).unwrap().differences, []);
    }
}

#[test]
fn a_pack_that_vanishes_during_a_restore_is_damage_and_nothing_boots() {
    within_minutes(|| {
        let disk = machine();
        let layout = layout::read(&disk).unwrap();
        for number in 1..1000 {
            let inner = MemoryStore::new();
            save(&inner, "one", &disk).unwrap();
            let (packs, seen) = (inner.clone(), AtomicU64::new(0));
            let store = HookedStore::new(inner, move |operation, path| {
                let is_pack = operation == "read" && path.ends_with(".pack");
                if is_pack && seen.fetch_add(1, Ordering::Relaxed) + 1 == number {
                    image::Store::remove(&packs, path).unwrap();
                }
            });
            let destination = used_disk(10 * 1024 * KIB, None);
            match restore(&store, "one", &destination, read_back()) {
                Ok(_) => return assert!(number > 5, "{number}"),
                // The first reads are those of the index: there the pack vanishes from under it.
                Err(error) => assert!(error.is_damage() || number <= 3, "{number}: {error}"),
            }
            assert_nothing_boots(&layout, &destination, true, &format!("read {number}"));
        }
        panic!("never ended");
    });
}
