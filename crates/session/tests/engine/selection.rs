//! Parts of an image, names, and requests that are refused.

use block::{FaultyDisk, MemoryDisk, Operation, ReadAt, SectorSize, WriteAt};
use image::MemoryStore;
use session::{Assignment, Cancel, Error, Refusal, RegionChoice, RequestError, RestoreRequest};

use crate::samples::{MIB, bytes_of, gpt, machine, mbr, part, used_disk};
use crate::work::*;

fn choice(source: &str, destination: Option<&str>) -> RegionChoice {
    RegionChoice { source: source.into(), destination: destination.map(Into::into) }
}

fn regions(choices: &[(&str, Option<&str>)]) -> RestoreRequest {
    let regions = choices.iter().map(|(source, destination)| choice(source, *destination)).collect();
    RestoreRequest { regions, ..read_back() }
}

/// A disk of another machine with a GPT, full of its own bytes.
fn other(partitions: &[(u64, u64)]) -> MemoryDisk {
    let table = gpt(12 * MIB, SectorSize::B512, partitions);
    let disk = used_disk(12 * MIB, Some(SectorSize::B512));
    for sectors in layout::read(&table).unwrap().table_sectors {
        disk.write_at(sectors.extent.start(), &sectors.bytes).unwrap();
    }
    disk
}

#[test]
fn one_region_can_be_saved_alone() {
    let (disk, store) = (machine(), MemoryStore::new());
    let mut request = request("one");
    request.regions = vec!["p1".into()];
    (request.set, request.note) = (Some("night".into()), Some("before the update 更新前".into()));
    let sources = [source("sda", &disk)];
    let plan = session::plan_save(&store, &sources, request, &(), &Cancel::new()).unwrap();
    session::save(&store, &sources, &plan, &settings(2, 2), &(), &Cancel::new()).unwrap();
    let manifest = session::read_manifest(&store, &name("one")).unwrap();
    assert_eq!(manifest.set.as_deref(), Some("night"));
    assert_eq!(manifest.note.as_deref(), Some("before the update 更新前"));
    let saved: Vec<_> = manifest.disks[0].regions.iter().filter(|r| r.map.is_some()).map(|r| r.name.as_str()).collect();
    assert_eq!(saved, ["p1"]);
    assert!(verify(&store, false).unwrap().is_good());
    let comparison = compare(&store, "one", &disk).unwrap();
    assert_eq!(comparison.differences, []);
    assert_eq!(comparison.not_in_image.len(), manifest.disks[0].regions.len() - 1);

    let destination = FaultyDisk::new(other(&[(2048, 10_239)]), None);
    let error = restore(&store, "one", &destination, regions(&[("p2", None)])).unwrap_err();
    assert!(matches!(error, Error::Request(RequestError::RegionNotSaved(_))), "{error}");
    assert_eq!(destination.count(Operation::Write), 0);
}

#[test]
fn one_region_goes_into_another_and_nothing_else_changes() {
    within_minutes(|| {
        let (disk, store) = (machine(), MemoryStore::new());
        save(&store, "one", &disk).unwrap();
        let p2 = layout::read(&disk).unwrap().region("p2").unwrap().extent;
        // Larger, and at another place.
        let destination = other(&[(2048, 4095), (8192, 18_000)]);
        let before = bytes_of(&destination);
        restore(&store, "one", &destination, regions(&[("sda:p2", Some("p2"))])).unwrap();
        let after = bytes_of(&destination);
        let (start, length) = (8192 * 512, p2.length() as usize);
        assert!(after[start..start + length] == *part(&bytes_of(&disk), p2));
        assert!(after[..start] == before[..start]);
        assert!(after[start + length..] == before[start + length..]);
    });
}

#[test]
fn used_bytes_of_a_region_come_back_and_its_old_signatures_go() {
    let (disk, store) = (machine(), MemoryStore::new());
    let plan = plan(&store, "one", &disk).unwrap();
    save(&store, "one", &disk).unwrap();
    let destination = other(&[(2048, 10_239)]);
    restore(&store, "one", &destination, regions(&[("p1", None)])).unwrap();
    let bytes = bytes_of(&destination);
    let p1 = part(&bytes, layout::read(&disk).unwrap().region("p1").unwrap().extent);
    let extents = &plan.disks[0].regions[1].extents;
    assert_eq!(extents.total_bytes(), 4096);
    assert!(p1[..4096] == bytes_of(&disk)[MIB as usize..][..4096]);
    let fill = |range: std::ops::Range<usize>| {
        let part = &p1[range];
        (part.iter().all(|byte| *byte == part[0])).then_some(part[0])
    };
    assert_eq!(fill(4096..2 << 20), Some(0));
    assert_eq!(fill(2 << 20..3 << 20), Some(0xA5));
    assert_eq!(fill(3 << 20..4 << 20), Some(0));
}

/// Asserts that a request is refused before anything is written.
fn check_refused(destination: MemoryDisk, request: RestoreRequest, is_expected: fn(&Error) -> bool) {
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let destination = FaultyDisk::new(destination, None);
    let error = restore(&store, "one", &destination, request).unwrap_err();
    assert!(is_expected(&error), "{error}");
    assert_eq!(destination.count(Operation::Write), 0);
}

#[test]
fn regions_that_do_not_fit_or_do_not_exist_are_refused_untouched() {
    let two = || other(&[(2048, 10_239), (10_240, 14_499)]);
    check_refused(
        two(),
        regions(&[("p2", None)]),
        |error| matches!(error, Error::Refused(Refusal::RegionTooSmall { needed, available, .. }) if needed - available == 512),
    );
    check_refused(two(), regions(&[("p9", Some("p1"))]), |error| {
        matches!(error, Error::Request(RequestError::NoRegion { .. }))
    });
    check_refused(two(), regions(&[("p1", Some("p9"))]), |error| {
        matches!(error, Error::Request(RequestError::NoRegion { .. }))
    });
}

#[test]
fn two_regions_into_one_place_are_refused_untouched() {
    check_refused(other(&[(2048, 18_000)]), regions(&[("p2", Some("p1")), ("p3", Some("p1"))]), |error| {
        matches!(error, Error::Request(RequestError::SameRegionTwice(_)))
    });
}

#[test]
fn a_region_does_not_go_onto_a_disk_with_other_sectors() {
    let destination = gpt(12 * MIB, SectorSize::B4096, &[(256, 2500)]);
    check_refused(destination, regions(&[("p3", Some("p1"))]), |error| {
        matches!(error, Error::Refused(Refusal::Placement { reason: layout::PlaceError::SectorSize { .. }, .. }))
    });
}

#[test]
fn the_layout_alone_leaves_the_contents_of_partitions() {
    let (disk, store) = (machine(), MemoryStore::new());
    save(&store, "one", &disk).unwrap();
    let destination = used_disk(disk.size(), None);
    restore(&store, "one", &destination, RestoreRequest { layout_only: true, ..read_back() }).unwrap();
    let (wanted, present) = (layout::read(&disk).unwrap(), layout::read(&destination).unwrap());
    assert_eq!(wanted, present);
    let (wanted_bytes, bytes) = (bytes_of(&disk), bytes_of(&destination));
    for region in &wanted.regions {
        let restored = part(&bytes, region.extent);
        match region.kind {
            layout::RegionKind::Gap => assert!(restored == part(&wanted_bytes, region.extent), "{}", region.name),
            _ => assert!(restored.iter().all(|byte| *byte == 0xA5), "{}", region.name),
        }
    }
}

#[test]
fn an_image_that_exists_is_refused_without_change() {
    let (disk, store) = (machine(), MemoryStore::new());
    let plan = plan(&store, "one", &disk).unwrap();
    save(&store, "one", &disk).unwrap();
    let before = (store.paths(), store.written_bytes());
    let is_expected = |error: Error| matches!(error, Error::Refused(Refusal::ImageExists(_)));
    assert!(is_expected(save(&store, "one", &mbr()).unwrap_err()));
    // Also with a plan that was made before.
    let sources = [source("sda", &disk)];
    assert!(is_expected(session::save(&store, &sources, &plan, &settings(2, 2), &(), &Cancel::new()).unwrap_err()));
    assert_eq!((store.paths(), store.written_bytes()), before);
}

#[test]
fn disks_that_are_named_twice_or_oddly_are_refused() {
    let (first, second, store) = (machine(), mbr(), MemoryStore::new());
    let plan = |names: [&str; 2]| {
        let sources = [source(names[0], &first), source(names[1], &second)];
        session::plan_save(&store, &sources, request("one"), &(), &Cancel::new()).map(drop)
    };
    assert!(matches!(plan(["sda", "sda"]), Err(Error::Request(RequestError::SameDiskTwice(_)))));
    for odd in ["", "a.b", "a/b", "..", "ディスク", "a b"] {
        assert!(matches!(plan(["sda", odd]), Err(Error::Request(RequestError::DiskName(_)))), "{odd}");
    }
    plan(["sda", "sdb_1-x"]).unwrap();
}

fn assign<'a>(disk: &str, destination: &str, onto: &'a MemoryDisk) -> Assignment<'a> {
    let mut assignment = assignment(disk, onto);
    assignment.destination.name = destination.to_owned();
    assignment
}

#[test]
fn one_destination_takes_one_disk() {
    let (first, second, store) = (machine(), mbr(), MemoryStore::new());
    let sources = [source("sda", &first), source("sdb", &second)];
    let cancel = Cancel::new();
    let plan = session::plan_save(&store, &sources, request("one"), &(), &cancel).unwrap();
    let manifest = session::save(&store, &sources, &plan, &settings(2, 2), &(), &cancel).unwrap();
    let (one, two) = (used_disk(10 * MIB, None), used_disk(10 * MIB, None));
    let plan = |assignments: &[Assignment<'_>]| {
        session::plan_restore(&store, manifest.clone(), assignments, read_back(), &(), &cancel)
    };
    let twice = |assignments: &[Assignment<'_>]| {
        matches!(plan(assignments), Err(Error::Request(RequestError::SameDiskTwice(_))))
    };
    assert!(twice(&[assign("sda", "/dev/sda", &one), assign("sdb", "/dev/sda", &one)]));
    assert!(twice(&[assign("sda", "/dev/sda", &one), assign("sda", "/dev/sdb", &two)]));
    let right = [assign("sda", "/dev/sda", &one), assign("sdb", "/dev/sdb", &two)];
    let made = plan(&right).unwrap();
    // A plan is carried out on the disks that it was made for and no others.
    let smaller = used_disk(9 * MIB, None);
    for wrong in [
        vec![assign("sdb", "/dev/sdb", &two), assign("sda", "/dev/sda", &one)],
        vec![assign("sda", "/dev/sda", &one)],
        vec![assign("sda", "/dev/sdx", &one), assign("sdb", "/dev/sdb", &two)],
        vec![assign("sda", "/dev/sda", &smaller), assign("sdb", "/dev/sdb", &two)],
    ] {
        let interrupted = session::restore(&store, &made, &wrong, 1, &(), &cancel).unwrap_err();
        assert!(matches!(interrupted.error, Error::Request(RequestError::OtherDisks)), "{}", interrupted.error);
        assert_eq!(interrupted.unfinished, Vec::<String>::new());
    }
    assert!(bytes_of(&one).iter().all(|byte| *byte == 0xA5));
    session::restore(&store, &made, &right, 1, &(), &cancel).unwrap();
}

#[test]
fn a_plan_of_other_sources_saves_nothing() {
    let (first, second, store) = (machine(), mbr(), MemoryStore::new());
    let sources = [source("sda", &first), source("sdb", &second)];
    let cancel = Cancel::new();
    let plan = session::plan_save(&store, &sources, request("one"), &(), &cancel).unwrap();
    for wrong in [vec![source("sdb", &second), source("sda", &first)], vec![source("sda", &first)]] {
        let error = session::save(&store, &wrong, &plan, &settings(1, 1), &(), &cancel).unwrap_err();
        assert!(matches!(error, Error::Request(RequestError::OtherDisks)), "{error}");
    }
    let shrunk = MemoryDisk::new(first.size() - 512);
    let wrong = [source("sda", &shrunk), source("sdb", &second)];
    assert!(session::save(&store, &wrong, &plan, &settings(1, 1), &(), &cancel).is_err());
    assert!(!exists(&store, "one"));
}
