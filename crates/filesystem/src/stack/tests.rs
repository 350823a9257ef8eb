use block::{Extents, InRegion, MemoryDisk, ReadAt, RegionExtent, WriteAt};

use crate::lvm::sample::{AREA, FIRST, MIB, SECOND, linear, text, volume, volume_of, write, write_header};
use crate::md::sample::{DATA, MIRROR, Said};
use crate::{Coverage, NoteCode, ReasonCode, Survey, md, survey, survey_all, visit_devices};

const DISK: u64 = 64 * MIB;

fn extents(pairs: &[(u64, u64)]) -> Extents<InRegion> {
    pairs.iter().map(|(start, length)| RegionExtent::between(*start, start + length)).collect()
}

/// A swap area of 2 MiB: one page of it is used, and what follows the 2 MiB.
fn write_swap(disk: &MemoryDisk, position: u64) {
    disk.write_at(position + 4086, b"SWAPSPACE2").unwrap();
    let mut header = [0; 12];
    header[0] = 1;
    header[4..8].copy_from_slice(&511_u32.to_le_bytes());
    disk.write_at(position + 1024, &header).unwrap();
}

/// The two disks of a group with 60 extents of 1 MiB each; the text is the same on both.
fn group(text: &str) -> [MemoryDisk; 2] {
    [FIRST, SECOND].map(|uuid| {
        let disk = MemoryDisk::new(DISK);
        write(&disk, uuid, text, 1024);
        disk
    })
}

fn both(disks: &[MemoryDisk; 2]) -> [Survey; 2] {
    survey_all(&[&disks[0], &disks[1]]).try_into().unwrap()
}

#[track_caller]
fn used(survey: &Survey) -> Extents<InRegion> {
    match &survey.coverage {
        Coverage::Used(used) => used.clone(),
        Coverage::Whole(reason) => panic!("{reason:?}"),
    }
}

#[track_caller]
fn check_whole(survey: &Survey, code: ReasonCode, detail: &str) {
    match &survey.coverage {
        Coverage::Used(used) => panic!("used: {used:?}"),
        Coverage::Whole(reason) => {
            assert_eq!(reason.code, code, "{reason:?}");
            assert!(reason.detail.contains(detail), "{reason:?}");
        }
    }
}

/// What every physical volume of [`group`] has besides its extents: up to the first, and behind the last.
const OUTSIDE: [(u64, u64); 2] = [(0, MIB), (61 * MIB, 3 * MIB)];

#[track_caller]
fn check_used(survey: &Survey, inside: &[(u64, u64)]) {
    assert_eq!(used(survey), extents(&[&OUTSIDE, inside].concat()));
}

#[test]
fn a_volume_is_saved_by_what_is_in_it_and_free_extents_are_not() {
    let segments = [(0, 1, linear("pv0", 10)), (1, 2, linear("pv1", 20))];
    let segments: Vec<_> = segments.iter().map(|(start, count, place)| (*start, *count, place.as_str())).collect();
    let swap = volume_of("swap", "\"READ\", \"WRITE\", \"VISIBLE\"", &segments);
    let disks = group(&text(3, 60, &(swap + &volume("raw", 2, &linear("pv0", 30)))));
    write_swap(&disks[0], 11 * MIB);
    let surveys = both(&disks);
    // The swap area has 2 of the 3 MiB: the last one is somebody's. Nothing is known of the raw volume.
    check_used(&surveys[0], &[(11 * MIB, 4096), (31 * MIB, 2 * MIB)]);
    check_used(&surveys[1], &[(22 * MIB, MIB)]);
    let found = surveys[0].file_system.as_ref().unwrap();
    assert_eq!(found.kind, "LVM2_member");
    assert_eq!(found.uuid.as_deref(), Some("AAAAAA-bbbb-cccc-dddd-eeee-ffff-GGGGGG"));
    let layer = &surveys[0].layers[0];
    assert_eq!((layer.kind.as_str(), layer.name.as_deref(), layer.volumes.len()), ("lvm2", Some("vg0"), 2));
    assert_eq!(layer.detail, "3 of 60 extents of 1048576 bytes in use, sequence number 3");
    assert_eq!(layer.volumes[0].file_system.as_ref().unwrap().kind, "swap");
    assert_eq!(layer.volumes[0].whole, None);
    assert_eq!(layer.volumes[1].whole.as_ref().unwrap().code, ReasonCode::Unrecognised);
    assert_eq!((surveys[1].layers[0].volumes.len(), surveys[1].layers[0].volumes[0].size), (1, 3 * MIB));
    assert_eq!((&surveys[0].notes, &surveys[1].notes), (&vec![], &vec![]));
    // One disk alone: the volume can't be read, so its extents are saved.
    let alone = survey(&disks[0]);
    check_used(&alone, &[(11 * MIB, MIB), (31 * MIB, 2 * MIB)]);
    assert_eq!(alone.notes[0].code, NoteCode::OtherDevice);
    assert_eq!(alone.notes[0].detail, "volume group vg0: 1 of 2 physical volumes are here");
}

#[test]
fn a_mirrored_volume_is_saved_on_all_copies_with_what_any_of_them_uses() {
    let mirror = "type = \"mirror\" mirror_count = 2 mirror_log = \"a_log\" mirrors = [\"a_0\", 0, \"a_1\", 0]";
    let leg = |name: &str, place: &str, extent| volume_of(name, "\"READ\"", &[(0, 2, &linear(place, extent))]);
    let log = volume_of("a_log", "\"READ\"", &[(0, 1, &linear("pv1", 50))]);
    let logical = volume("a", 2, mirror) + &leg("a_0", "pv0", 5) + &leg("a_1", "pv1", 7) + &log;
    let disks = group(&text(1, 60, &logical));
    write_swap(&disks[0], 6 * MIB);
    write_swap(&disks[1], 8 * MIB);
    let surveys = both(&disks);
    check_used(&surveys[0], &[(6 * MIB, 4096)]);
    check_used(&surveys[1], &[(8 * MIB, 4096), (51 * MIB, MIB)]);
    // A copy that lost its content: the other one is still saved, and both whole.
    disks[1].write_at(8 * MIB, &[0; 4096]).unwrap();
    let surveys = both(&disks);
    check_used(&surveys[0], &[(6 * MIB, 2 * MIB)]);
    check_used(&surveys[1], &[(8 * MIB, 2 * MIB), (51 * MIB, MIB)]);
}

#[test]
fn volumes_of_other_kinds_keep_all_of_their_extents() {
    let data = |name: &str, extent| volume_of(name, "\"READ\"", &[(0, 2, &linear("pv0", extent))]);
    let logical = volume("pool", 2, "type = \"thin-pool\" metadata = \"meta\" pool = \"data\"")
        + &data("meta", 1)
        + &data("data", 5)
        + &volume("thin", 9, "type = \"thin\" thin_pool = \"pool\" device_id = 1")
        + &volume("origin", 2, &linear("pv0", 10))
        + &volume("cow", 2, &linear("pv0", 20))
        + &volume_of("snapshot0", "\"READ\"", &[(0, 2, "type = \"snapshot\" origin = \"origin\" cow_store = \"cow\"")]);
    let disks = group(&text(1, 60, &logical));
    write_swap(&disks[0], 11 * MIB);
    let surveys = both(&disks);
    check_used(&surveys[0], &[2, 6, 11, 21].map(|extent| (extent * MIB, 2 * MIB)));
    check_used(&surveys[1], &[]);
    let names: Vec<_> = surveys[0].layers[0].volumes.iter().map(|volume| volume.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["pool", "thin", "origin", "cow"]);
    assert!(surveys[0].layers[0].volumes.iter().all(|volume| volume.whole.is_some()));
}

#[test]
fn a_group_in_doubt_is_saved_by_extents_or_whole() {
    let swap = || volume("swap", 2, &linear("pv0", 10));
    let with = |text: &str| {
        let disks = group(text);
        write_swap(&disks[0], 11 * MIB);
        disks
    };
    let plain = text(5, 60, &swap());
    check_used(&both(&with(&plain))[0], &[(11 * MIB, 4096)]);
    let exported = plain.replacen("\"RESIZEABLE\"", "\"EXPORTED\"", 1);
    check_used(&both(&with(&exported))[0], &[(11 * MIB, 2 * MIB)]);
    let missing = plain.replacen("flags = [] pe_start", "flags = [\"MISSING\"] pe_start", 1);
    check_used(&both(&with(&missing))[0], &[(11 * MIB, 2 * MIB)]);
    for (from, to) in [
        ("\"RESIZEABLE\"", "\"CLUSTERED\""),
        ("\"RESIZEABLE\"", "\"SHARED\""),
        ("format = \"lvm2\"", "lock_type = \"sanlock\""),
    ] {
        let shared = plain.replacen(from, to, 1);
        both(&with(&shared)).iter().for_each(|survey| check_whole(survey, ReasonCode::Opaque, "the volume group"));
    }
    let broken = plain.replacen("extent_size", "extent_sizes", 1);
    check_whole(&both(&with(&broken))[0], ReasonCode::Damaged, "a number extent_size");
    let large = text(5, 64, &swap());
    check_whole(&both(&with(&large))[0], ReasonCode::Damaged, "the extents of the physical volume end at 68157440");

    // The second disk missed a change.
    let disks = with(&plain);
    write(&disks[1], SECOND, &text(4, 60, ""), 1024);
    let surveys = both(&disks);
    check_used(&surveys[0], &[(11 * MIB, 2 * MIB)]);
    check_whole(&surveys[1], ReasonCode::NotClean, "its LVM2 metadata has sequence number 4, that of the group 5");
    // Two texts with one number: neither is believed.
    write(&disks[1], SECOND, &text(5, 60, ""), 1024);
    both(&disks).iter().for_each(|survey| check_whole(survey, ReasonCode::Ambiguous, "sequence number 5"));
    // A disk without text belongs to the group that lists it.
    write_header(&disks[1], [(0, 0, 0, 0); 2]);
    let surveys = both(&disks);
    check_used(&surveys[0], &[(11 * MIB, 4096)]);
    check_used(&surveys[1], &[]);
    check_whole(&survey(&disks[1]), ReasonCode::Opaque, "a physical volume of no known volume group");
    // A damaged one is saved whole, the other by extents: the map may lie on what is not read.
    disks[1].write_at(AREA.0, &[1]).unwrap();
    check_whole(&both(&disks)[1], ReasonCode::Damaged, "LVM2 metadata area: checksum");
    // The same physical volume twice.
    let surveys = survey_all(&[&disks[0], &disks[0]]);
    surveys
        .iter()
        .for_each(|survey| check_whole(survey, ReasonCode::Ambiguous, "two regions hold the physical volume"));
    // Remains of something else.
    disks[0].write_at(0x1_0040, b"_BHRfS_M").unwrap();
    check_whole(&survey(&disks[0]), ReasonCode::Ambiguous, "signatures of LVM2 and ");
}

/// A member of a mirror with 4 MiB of data in which a swap area of 2 MiB lies.
fn member(said: Said) -> MemoryDisk {
    let disk = MemoryDisk::new(6 * MIB);
    md::sample::write(&disk, said);
    write_swap(&disk, if matches!(said.version, "1.1" | "1.2") { DATA } else { 0 });
    disk
}

#[test]
fn a_member_of_a_mirror_is_saved_by_what_is_in_it() {
    for version in ["0.90", "1.0", "1.1", "1.2"] {
        let surveys = [0, 1].map(|role| member(Said { version, role, ..MIRROR }));
        let surveys = survey_all(&[&surveys[0], &surveys[1]]);
        let data = if matches!(version, "1.1" | "1.2") { DATA } else { 0 };
        // The swap area has half of the data; everything outside the data is md's.
        let expected = extents(&[(0, data + 4096), (data + 2 * MIB, 4 * MIB - data)]);
        for survey in &surveys {
            assert_eq!(used(survey), expected, "{version}");
            assert_eq!(survey.file_system.as_ref().unwrap().kind, "linux_raid_member");
            assert_eq!(survey.layers[0].volumes[0].file_system.as_ref().unwrap().kind, "swap");
            assert_eq!(survey.notes, []);
        }
    }
    let alone = survey(&member(MIRROR));
    assert_eq!(alone.notes[0].detail, "array node:7: 1 of 2 members are here");
    assert!(matches!(alone.coverage, Coverage::Used(_)));
}

#[test]
fn members_that_may_differ_are_saved_whole() {
    let check = |said: Said, code: ReasonCode, detail: &str| check_whole(&survey(&member(said)), code, detail);
    for version in ["0.90", "1.0", "1.1", "1.2"] {
        check(Said { version, level: 0, ..MIRROR }, ReasonCode::Opaque, "level raid0");
        check(Said { version, is_clean: false, ..MIRROR }, ReasonCode::NotClean, "not stopped cleanly");
    }
    check(Said { features: 2, ..MIRROR }, ReasonCode::NotClean, "being rebuilt");
    check(Said { features: 4, ..MIRROR }, ReasonCode::Unsupported, "a reshape");
    let (new, old) = (member(Said { events: 18, ..MIRROR }), member(Said { role: 1, ..MIRROR }));
    let surveys = survey_all(&[&new, &old]);
    assert!(matches!(surveys[0].coverage, Coverage::Used(_)));
    check_whole(&surveys[1], ReasonCode::NotClean, "it has seen 17 events, another member 18");
    let surveys = survey_all(&[&old, &old]);
    surveys.iter().for_each(|survey| check_whole(survey, ReasonCode::Ambiguous, "with the same role"));
    // Something at the start of a member that has its superblock there.
    let disk = member(MIRROR);
    disk.write_at(0, b"LUKS\xBA\xBE\0\x01").unwrap();
    check_whole(&survey(&disk), ReasonCode::Ambiguous, "Linux RAID 1.2 and");
}

#[test]
fn a_group_inside_a_mirror_is_read_through_each_member() {
    let logical = volume("swap", 2, &linear("pv0", 1));
    let disks = [0, 1].map(|role| {
        let disk = MemoryDisk::new(8 * MIB);
        md::sample::write(&disk, Said { role, length: 6 * MIB, ..MIRROR });
        let inner = MemoryDisk::new(6 * MIB);
        write(&inner, FIRST, &text(1, 4, &logical), 1024);
        write_swap(&inner, 2 * MIB);
        let mut bytes = vec![0; 6 << 20];
        inner.read_at(0, &mut bytes).unwrap();
        disk.write_at(DATA, &bytes).unwrap();
        disk
    });
    let surveys = survey_all(&[&disks[0], &disks[1]]);
    for survey in &surveys {
        // md's megabyte, LVM's, the first page of the swap area, behind the last of 4 extents.
        assert_eq!(used(survey), extents(&[(0, 2 * MIB), (3 * MIB, 4096), (6 * MIB, 2 * MIB)]));
        let kinds: Vec<_> = survey.layers.iter().map(|layer| layer.kind.as_str()).collect();
        assert_eq!(kinds, ["md", "lvm2"]);
    }
    // Each member by its own content.
    disks[1].write_at(3 * MIB, &[0; 4096]).unwrap();
    let surveys = survey_all(&[&disks[0], &disks[1]]);
    assert_eq!(used(&surveys[0]), extents(&[(0, 2 * MIB), (3 * MIB, 4096), (6 * MIB, 2 * MIB)]));
    assert_eq!(used(&surveys[1]), extents(&[(0, 2 * MIB), (3 * MIB, 2 * MIB), (6 * MIB, 2 * MIB)]));
}

#[test]
fn the_table_of_an_array_is_not_that_of_its_member() {
    let disk = |said: Said| {
        let disk = MemoryDisk::new(6 * MIB);
        md::sample::write(&disk, said);
        disk
    };
    let answer = |disk: &MemoryDisk, parts: &[(u64, u64)]| {
        let parts: Vec<_> = parts.iter().map(|(start, end)| block::DiskExtent::between(*start, *end)).collect();
        crate::survey_of_array_disk(disk, &parts)
    };
    let inside: &[(u64, u64)] = &[(MIB, 2 * MIB), (2 * MIB, 5 * MIB)];
    let to_the_end: &[(u64, u64)] = &[(MIB, 2 * MIB), (2 * MIB, 6 * MIB)];
    assert_eq!(answer(&MemoryDisk::new(6 * MIB), inside), None);
    for (version, level, detail) in [("1.0", 1, "level raid1"), ("1.0", 0, "level raid0"), ("0.90", 5, "level raid5")] {
        let disk = disk(Said { version, level, ..MIRROR });
        check_whole(&answer(&disk, inside).unwrap(), ReasonCode::Opaque, detail);
        check_whole(&answer(&disk, to_the_end).unwrap(), ReasonCode::Opaque, detail);
    }
    // With 0.90 only the partitions tell whose superblock it is.
    let older = disk(Said { version: "0.90", ..MIRROR });
    check_whole(&answer(&older, inside).unwrap(), ReasonCode::Opaque, "level raid1");
    assert_eq!(answer(&older, to_the_end), None);
}

#[test]
fn a_group_on_drbd_keeps_its_metadata_and_must_be_consistent() {
    let metadata = |flags: u8| {
        let disk = MemoryDisk::new(DISK);
        write(&disk, FIRST, &text(1, 50, ""), 1024);
        let position = DISK - 4096;
        disk.write_at(position + 59, &[flags]).unwrap();
        disk.write_at(position + 60, &0x8374_026B_u32.to_be_bytes()).unwrap();
        for (place, sectors) in [(64, 72_i32), (68, -64), (76, -72)] {
            disk.write_at(position + place, &sectors.to_be_bytes()).unwrap();
        }
        survey(&disk)
    };
    let good = metadata(0x11);
    assert_eq!(used(&good), extents(&[(0, MIB), (51 * MIB, 13 * MIB)]));
    let kinds: Vec<_> = good.layers.iter().map(|layer| layer.kind.as_str()).collect();
    assert_eq!(kinds, ["drbd", "lvm2"]);
    check_whole(&metadata(0), ReasonCode::NotClean, "DRBD says that its data is not consistent");
}

#[test]
fn a_group_on_half_of_a_mirror_is_saved_whole_while_the_half_is_inconsistent() {
    let logical = volume("swap", 2, &linear("pv0", 1));
    let half = |flags: u32| {
        let disk = MemoryDisk::new(8 * MIB);
        write(&disk, FIRST, &text(1, 4, &logical), 1024);
        write_swap(&disk, 2 * MIB);
        // Flags, magic, sectors of metadata, then places of log and bitmap.
        for (at, value) in [(56, flags), (60, 0x8374_026B), (64, 24), (68, 0xFFFF_FFF8), (76, 0xFFFF_FFF0)] {
            disk.write_at(8 * MIB - 4096 + at, &value.to_be_bytes()).unwrap();
        }
        survey(&disk)
    };
    let kinds: Vec<_> = half(1).layers.into_iter().map(|layer| layer.kind).collect();
    assert_eq!(kinds, ["drbd", "lvm2"]);
    assert!(used(&half(1)).total_bytes() < 8 * MIB);
    check_whole(&half(0), ReasonCode::NotClean, "DRBD says that its data is not consistent");
}

#[test]
fn volumes_are_shown_wherever_their_copies_lie() {
    // A mirror that was not stopped in order: no survey looks into it.
    let logical = volume("swap", 2, &linear("pv0", 1)) + &volume("other", 1, &linear("pv0", 0));
    let disks = [0, 1].map(|role| {
        let disk = MemoryDisk::new(8 * MIB);
        md::sample::write(&disk, Said { role, length: 6 * MIB, is_clean: false, ..MIRROR });
        let inner = MemoryDisk::new(6 * MIB);
        write(&inner, FIRST, &text(1, 4, &logical), 1024);
        let mut bytes = vec![0; 6 << 20];
        inner.read_at(0, &mut bytes).unwrap();
        disk.write_at(DATA, &bytes).unwrap();
        // The last byte of the volume tells the copies apart.
        disk.write_at(DATA + 4 * MIB - 1, &[u8::try_from(role).unwrap() + 7]).unwrap();
        disk
    });
    let mut shown = Vec::new();
    let visited: Result<(), std::io::Error> = visit_devices(&[&disks[0], &disks[1]], &mut |device| {
        let mut last = [0];
        device.read_at(device.size() - 1, &mut last)?;
        let places = device.places(RegionExtent::between(device.size() - 1, device.size()));
        shown.push((device.name.clone(), device.size() / MIB, places, last[0]));
        Ok(())
    });
    visited.unwrap();
    let at = |region: usize, end: u64| vec![(region, RegionExtent::between(end - 1, end))];
    let volumes: Vec<_> = shown.iter().filter(|(name, ..)| name == "vg0/swap").cloned().collect();
    let end = DATA + 4 * MIB;
    assert_eq!(volumes, [("vg0/swap".into(), 2, at(0, end), 7), ("vg0/swap".into(), 2, at(1, end), 8)]);
    let arrays: Vec<_> =
        shown.iter().filter(|(_, size, ..)| *size == 6).map(|(.., places, _)| places.clone()).collect();
    assert_eq!(arrays, [at(0, DATA + 6 * MIB), at(1, DATA + 6 * MIB)]);
}
