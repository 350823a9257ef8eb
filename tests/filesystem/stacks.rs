//! Volume groups, arrays and DRBD as the real tools made them: what is covered is what LVM, mdadm, drbdmeta and the
//! tools of the file systems inside say, and what comes back from an image is what they saw before.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use block::{DiskExtent, Extents, InRegion, RegionExtent, Window};
use filesystem::{Coverage, ReasonCode, Survey, survey, survey_all};
use serde_json::Value;
use tempfile::TempDir;
use tests::program::sosei;
use tests::restored::restore_covered;
use tests::sample::{MIB, SampleDisk, read};
use tests::stacks::{
    DISKS, Lvm, Piece, Place, Told, check_ext4, data_of, examine, extract, free_on_devices, places, unpack,
};
use tests::{FileDisk, run, run_with_input};

/// The sample disks, unpacked.
struct Samples {
    directory: TempDir,
    files: Vec<PathBuf>,
}

/// The volumes of each group that are followed: their name, and those of the volumes that hold a copy each.
const FOLLOWED: [(&str, &[&str]); 5] = [
    ("linear", &["linear"]),
    ("striped", &["striped"]),
    ("mirrored", &["[mirrored_mimage_0]", "[mirrored_mimage_1]"]),
    ("mirrored_core", &["[mirrored_core_mimage_0]", "[mirrored_core_mimage_1]"]),
    ("still", &["still"]),
];

/// Members of mirrors in sync: partitions of the first disk, and what is in them.
const MIRRORS: [(usize, &str); 9] = [
    (1, "md090"),
    (2, "md090"),
    (3, "md10"),
    (4, "md10"),
    (5, "md11"),
    (6, "md11"),
    (7, "md12"),
    (8, "md12"),
    (9, "degraded"),
];

impl Samples {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = DISKS.iter().map(|name| unpack(name, directory.path())).collect();
        Self { directory, files }
    }

    /// The same disks in other files.
    fn others(&self, files: Vec<PathBuf>) -> Self {
        assert_eq!(files.len(), self.files.len());
        Self { directory: tempfile::tempdir().unwrap(), files }
    }

    fn md(&self) -> Vec<Place> {
        places(&self.files[0])
    }

    /// The physical volumes that lie on disks, not in arrays.
    fn physical(&self) -> Vec<Place> {
        self.files[1..].iter().flat_map(|file| places(file)).collect()
    }

    fn scratch(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Bytes that the tools call free: of the partitions of the first disk, then of the physical volumes.
    fn free(&self, told: &Told) -> (Vec<Extents<InRegion>>, Vec<Extents<InRegion>>) {
        let physical = self.physical();
        let mut free = told.free.clone();
        for (name, copies) in FOLLOWED {
            for copy in copies {
                let pieces = &told.volumes[*copy];
                let image = self.scratch(name);
                extract(&physical, pieces, &image);
                let inside = free_on_devices(&image, pieces, physical.len());
                free = free.iter().zip(&inside).map(|(one, other)| one.union(other)).collect();
            }
        }
        let md = self.md();
        let mut members = vec![Extents::new(); md.len()];
        for (number, name) in MIRRORS {
            let place = &md[number - 1];
            let pieces = [mirror_piece(place)];
            let image = self.scratch(name);
            extract(std::slice::from_ref(place), &pieces, &image);
            members[number - 1] = free_on_devices(&image, &pieces, 1).remove(0);
        }
        for number in [18, 19] {
            let place = inner(&md[number - 1]);
            let start = place.start - md[number - 1].start;
            let lvm = Lvm::new(std::slice::from_ref(&place));
            let told = lvm.told();
            let image = self.scratch("inside");
            extract(std::slice::from_ref(&place), &told.volumes["inside"], &image);
            let inside = free_on_devices(&image, &told.volumes["inside"], 1).remove(0);
            let moved = |extent: RegionExtent| RegionExtent::between(extent.start() + start, extent.end() + start);
            members[number - 1] = inside.union(&told.free[0]).iter().map(moved).collect();
        }
        (members, free)
    }

    /// The file systems in all volumes that are followed or whole are those that the virtual machine wrote.
    fn check_contents(&self, told: &Told) {
        let physical = self.physical();
        let plain = FOLLOWED.iter().flat_map(|(name, copies)| copies.iter().map(|copy| (*name, *copy)));
        for (name, copy) in
            plain.chain([("raided", "[raided_rimage_0]"), ("raided", "[raided_rimage_1]"), ("origin", "origin")])
        {
            let image = self.scratch(name);
            extract(&physical, &told.volumes[copy], &image);
            check_ext4(&image, name);
        }
        let md = self.md();
        for (number, name) in MIRRORS {
            let image = self.scratch(name);
            extract(std::slice::from_ref(&md[number - 1]), &[mirror_piece(&md[number - 1])], &image);
            check_ext4(&image, name);
        }
        for number in [18, 19] {
            let place = inner(&md[number - 1]);
            let told = Lvm::new(std::slice::from_ref(&place)).told();
            let image = self.scratch("inside");
            extract(std::slice::from_ref(&place), &told.volumes["inside"], &image);
            check_ext4(&image, "inside");
        }
    }
}

/// The data of a mirror on its member, by what mdadm says.
fn mirror_piece(place: &Place) -> Piece {
    let (start, length) = data_of(&examine(place));
    (0, 0, start, length)
}

fn inner(place: &Place) -> Place {
    let (start, length) = data_of(&examine(place));
    Place { start: place.start + start, length, ..place.clone() }
}

fn surveys(places: &[Place]) -> Vec<Survey> {
    let disks: Vec<_> = places.iter().map(|place| FileDisk::open(&place.file)).collect();
    let windows: Vec<_> = disks
        .iter()
        .zip(places)
        .map(|(disk, place)| Window::new(disk, DiskExtent::between(place.start, place.start + place.length)))
        .collect();
    survey_all(&windows.iter().map(|window| window as &dyn block::ReadAt).collect::<Vec<_>>())
}

/// What must be saved is saved, and hardly more.
#[track_caller]
fn check_covered(survey: &Survey, place: &Place, free: &Extents<InRegion>) {
    let whole = RegionExtent::between(0, place.length);
    let covered = survey.coverage.extents(place.length);
    let missed = free.complement(whole).difference(&covered);
    assert!(missed.is_empty(), "{place:?}: {missed:?}");
    let more = covered.intersection(free).total_bytes();
    assert_eq!(more, 0, "{place:?}: free, but saved");
}

#[test]
fn coverage_is_what_the_tools_say() {
    let samples = Samples::new();
    let told = Lvm::new(&samples.physical()).told();
    let (members, free) = samples.free(&told);
    for (places, free) in [(samples.md(), members), (samples.physical(), free)] {
        let surveys = surveys(&places);
        for ((survey, place), free) in surveys.iter().zip(&places).zip(&free) {
            check_covered(survey, place, free);
            let offset = place.start.to_string();
            for (tag, found) in [
                ("TYPE", survey.file_system.as_ref().map(|found| found.kind.clone())),
                ("UUID", survey.file_system.as_ref().and_then(|found| found.uuid.clone())),
            ] {
                let size = place.length.to_string();
                let path = place.file.to_str().unwrap();
                let known = run("blkid", ["-p", "--offset", &offset, "--size", &size, "-o", "value", "-s", tag, path]);
                assert_eq!(found.as_deref(), Some(known.trim()), "{place:?}");
            }
        }
        assert!(free.iter().filter(|free| free.total_bytes() > 4 * MIB).count() >= 2);
    }
}

#[test]
fn one_disk_of_a_group_keeps_the_extents_of_what_it_can_not_read() {
    let samples = Samples::new();
    let physical = samples.physical();
    let told = Lvm::new(&physical).told();
    let alone = surveys(&physical[..1]).remove(0);
    let Coverage::Used(used) = &alone.coverage else { panic!("{:?}", alone.coverage) };
    for name in ["striped", "[mirrored_mimage_0]"] {
        for (_, _, start, length) in told.volumes[name].iter().filter(|piece| piece.1 == 0) {
            assert!(used.contains(RegionExtent::between(*start, start + length)), "{name}");
        }
    }
    // All of the linear volume is at hand.
    let (_, free) = samples.free(&told);
    let linear =
        told.volumes["linear"].iter().map(|(_, _, start, length)| RegionExtent::between(*start, start + length));
    let linear: Extents<InRegion> = linear.collect();
    assert!(used.intersection(&linear).intersection(&free[0]).is_empty());
    assert!(free[0].intersection(&linear).total_bytes() > MIB);
}

/// Overwrites what the tools call free and lets them look again.
#[test]
fn disks_come_back_as_they_were() {
    let samples = Samples::new();
    let lvm = Lvm::new(&samples.physical());
    let (told, report) = (lvm.told(), lvm.report());
    let examined: Vec<_> = samples.md().iter().map(examine).collect();
    let (members, free) = samples.free(&told);
    drop(lvm);

    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    let texts: Vec<_> = samples.files.iter().map(|file| file.to_str().unwrap()).collect();
    sosei(["save", target, "node"].iter().chain(&texts)).expect(0);
    check_shown(target);
    let directory = tempfile::tempdir().unwrap();
    let restored = DISKS.map(|name| {
        let disk = SampleDisk::new("none", 0);
        let size = std::fs::metadata(samples.scratch(&format!("{name}.img"))).unwrap().len();
        let to = directory.path().join(format!("{name}.img"));
        std::fs::rename(disk.destination("filled", size), &to).unwrap();
        to
    });
    let assigned: Vec<_> =
        DISKS.iter().zip(&restored).map(|(name, file)| format!("{name}={}", file.display())).collect();
    let with = |first: &[&str], rest: &[&str]| {
        let all = first.iter().copied().chain(assigned.iter().map(String::as_str)).chain(rest.iter().copied());
        sosei(all.map(str::to_owned).collect::<Vec<_>>()).expect(0)
    };
    with(&["restore", target, "node"], &["--yes"]);
    with(&["compare", target, "node"], &[]);

    let others = samples.others(restored.to_vec());
    for (places, back, free) in [(samples.md(), others.md(), &members), (samples.physical(), others.physical(), &free)]
    {
        for ((place, back), free) in places.iter().zip(&back).zip(free) {
            assert_eq!((place.start, place.length), (back.start, back.length));
            for used in free.complement(RegionExtent::between(0, place.length)).iter() {
                let (start, length) = (used.start(), used.length());
                assert!(place.read(start, length) == back.read(start, length), "{place:?}: {used:?} differs");
            }
        }
    }
    let lvm = Lvm::new(&others.physical());
    assert_eq!(lvm.report(), report);
    assert_eq!(others.md().iter().map(examine).collect::<Vec<_>>(), examined);
    others.check_contents(&lvm.told());
    // Free extents did not come back: the removed volume is gone.
    let gone = others.physical()[0].read(free[0].as_slice().last().unwrap().start(), 4096);
    assert!(gone.iter().all(|byte| *byte == tests::restored::FILL || *byte == 0));
}

/// `show` tells what the layers are, in both languages.
fn check_shown(target: &str) {
    let shown = sosei(["show", target, "node", "--json"]).expect(0).json();
    let disks = shown["manifest"]["disks"].as_array().unwrap();
    let group = &disks[1]["regions"][0]["layers"][0];
    assert_eq!((&group["kind"], &group["name"]), (&Value::from("lvm2"), &Value::from("vg0")));
    let names: Vec<_> =
        group["volumes"].as_array().unwrap().iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["linear", "striped", "mirrored", "mirrored_core", "raided", "pool", "thin", "origin", "snap"]);
    assert_eq!(group["volumes"][0]["file_system"]["label"], "linear");
    for language in ["en", "ja"] {
        let printed = sosei(["show", target, "node", "--lang", language]).expect(0).stdout;
        for text in
            ["Linux RAID node:4", "raid1, member 0 of 2, superblock 1.2", "LVM2", "thin-pool", "ext4 \"linear\""]
        {
            assert!(printed.contains(text), "{language}: {text} in {printed}");
        }
        assert!(!printed.contains("volume.") && !printed.contains("%{"), "{printed}");
    }
}

/// A device with DRBD's metadata at its end, and ext4 before it.
fn drbd(directory: &Path, version: &str, more: &[&str], is_consistent: bool) -> PathBuf {
    let path = directory.join(format!("{version}.img"));
    FileDisk::create(&path, 48 * MIB);
    let text = path.to_str().unwrap();
    let meta = |arguments: &[&str]| {
        let fixed = ["--force", "0", version, text, "internal"];
        run_with_input("drbdmeta", fixed.iter().chain(arguments), b"yes\n")
    };
    meta(&[&["create-md"], more].concat());
    if is_consistent {
        let node: &[&str] = if version == "v09" { &["--node-id", "0"] } else { &[] };
        meta(&[node, &["set-gi", "1111111111111111:2222222222222222:0:0:1:1"]].concat());
    }
    run("mke2fs", ["-q", "-t", "ext4", "-F", text, "40M"]);
    tests::fill::fill(tests::Mounted::of_type("ext4", &path, "loop").path());
    path
}

#[test]
fn metadata_of_drbd_is_kept_behind_the_file_system() {
    let directory = tempfile::tempdir().unwrap();
    for (version, more, name) in [("v08", &[][..], "8.4"), ("v09", &["3"][..], "9")] {
        let path = drbd(directory.path(), version, more, true);
        let disk = FileDisk::open(&path);
        let found = survey(&disk);
        let Coverage::Used(used) = &found.coverage else { panic!("{version}: {:?}", found.coverage) };
        assert!(used.contains(RegionExtent::between(40 * MIB, 48 * MIB)));
        assert!(used.total_bytes() < 40 * MIB, "{}", used.total_bytes());
        let layer = &found.layers[0];
        assert_eq!(layer.kind, "drbd");
        assert!(layer.detail.starts_with(&format!("metadata {name}, ")), "{}", layer.detail);
        assert!(
            layer.detail.contains("current UUID 1111111111111111, flags consistent was-up-to-date"),
            "{}",
            layer.detail
        );
        let dump =
            |path: &Path| run("drbdmeta", ["--force", "0", version, path.to_str().unwrap(), "internal", "dump-md"]);
        let without_time =
            |text: String| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        let device_uuid = layer.device_uuid.as_deref().unwrap().to_uppercase();
        assert!(dump(&path).contains(&format!("device-uuid 0x{device_uuid}")), "{device_uuid}\n{}", dump(&path));
        let restored = path.with_extension("restored");
        restore_covered(&disk, used, &restored);
        assert_eq!(without_time(dump(&restored)), without_time(dump(&path)));
        run("e2fsck", ["-f", "-n", restored.to_str().unwrap()]);
        assert_eq!(read(&restored, 44 * MIB, 4 * MIB), read(&path, 44 * MIB, 4 * MIB));
    }
    let path = drbd(directory.path(), "v08", &[], false);
    match survey(&FileDisk::open(&path)).coverage {
        Coverage::Whole(reason) => assert_eq!(reason.code, ReasonCode::NotClean, "{reason:?}"),
        Coverage::Used(_) => panic!("data that is of no single moment"),
    }
}
