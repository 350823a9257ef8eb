//! The trap of a restored half of a mirror: DRBD takes it for nearly up to date, and rows are lost without a word.
//! A half that was restored as one of which the peer lived on loses nothing.
//!
//! What is saved and restored, and which marks the metadata have then, is the program's work. What DRBD makes of two
//! halves when they meet is that of a model, `tests/src/drbd.rs`; `tests/vm/cluster.rs` asks the kernel's own.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use tests::drbd::{BLOCK, Half, Meeting, drbdmeta};
use tests::fill::content;
use tests::program::sosei;
use tests::sample::{MIB, SampleDisk};

const START: u64 = MIB;
const SIZE: u64 = 16 * MIB;
/// Written before the image, after it to both halves, and after the crash to the half that lived on.
const ROWS: [(u64, &str); 3] = [(100, "base"), (1500, "test1"), (3000, "test2")];

fn attach(disk: &Path) -> Half {
    Half::attach(disk, START, SIZE)
}

/// Two nodes with one row, their disks, and an image of the first, made while both were down.
struct Cluster {
    repository: tempfile::TempDir,
    first: SampleDisk,
    second: SampleDisk,
}

impl Cluster {
    fn new() -> Self {
        let cluster =
            Self { repository: tempfile::tempdir().unwrap(), first: disk("a.img", 1), second: disk("b.img", 2) };
        let (mut first, mut second) = (attach(&cluster.first.path), attach(&cluster.second.path));
        Half::begin(&mut first, &mut second, 0x1111_2222_3333_4444);
        let blocks = content(3, SIZE as usize).chunks(BLOCK as usize).map(<[u8]>::to_vec).collect::<Vec<_>>();
        // Both hold the same bytes; none of them is a hole that an image would leave out.
        for disk in [&cluster.first, &cluster.second] {
            blocks[..3500]
                .iter()
                .enumerate()
                .for_each(|(block, bytes)| disk.write(START + block as u64 * BLOCK, bytes));
        }
        Half::replicate(&mut first, &mut second, ROWS[0].0, ROWS[0].1);
        first.down();
        second.down();
        cluster.save("node", &cluster.first);
        cluster
    }

    fn save(&self, image: &str, disk: &SampleDisk) {
        sosei(["save", self.target(), image, disk.text()]).expect(0);
    }

    /// Images of both nodes at one moment, `first` and `second`.
    fn save_set(&self) {
        for (image, disk) in [("first", &self.first), ("second", &self.second)] {
            sosei(["save", self.target(), image, disk.text(), "--set", "both"]).expect(0);
        }
    }

    fn target(&self) -> &str {
        self.repository.path().to_str().unwrap()
    }

    /// Both nodes work, and write a row.
    fn work(&self) {
        let (mut first, mut second) = (attach(&self.first.path), attach(&self.second.path));
        assert_eq!(Half::meet(&mut first, &mut second), Meeting::Equal);
        Half::replicate(&mut first, &mut second, ROWS[1].0, ROWS[1].1);
        first.down();
        second.down();
    }

    /// The first node is lost, and the second goes on alone.
    fn crash(&self) {
        let mut second = attach(&self.second.path);
        second.promote(0x5555_6666_7777_8888);
        second.write(ROWS[2].0, ROWS[2].1);
        second.down();
        fs::write(&self.first.path, vec![0xa5; self.first.path.metadata().unwrap().len() as usize]).unwrap();
    }

    /// The first disk comes back on this one and joins; how they meet, and which rows each has afterwards.
    fn join(&self, restored: &Path) -> (Meeting, [bool; 3], [bool; 3]) {
        let (mut first, mut second) = (attach(restored), attach(&self.second.path));
        let meeting = Half::meet(&mut first, &mut second);
        let (in_first, in_second) = (rows(&first), rows(&second));
        first.down();
        second.down();
        (meeting, in_first, in_second)
    }

    fn restore(&self, image: &str, scope: &str) -> PathBuf {
        let destination =
            self.first.destination(&format!("{image}-new.img"), self.first.path.metadata().unwrap().len());
        let path = destination.to_str().unwrap();
        sosei(["restore", self.target(), image, path, "--yes", "--scope", scope]).expect(0);
        destination
    }
}

fn disk(name: &str, signature: u32) -> SampleDisk {
    let disk = SampleDisk::new(name, START + SIZE + MIB);
    disk.divide(512, &format!("label: dos\nlabel-id: {signature:#x}\nstart=1MiB, size=16MiB, type=83\n"));
    drbdmeta(&disk.path, START, SIZE, &["create-md"]);
    disk
}

/// What any copy of all bytes brings back.
fn copy(disk: &SampleDisk) -> PathBuf {
    let path = disk.path.with_file_name(format!("{}.copy", disk.path.file_name().unwrap().to_str().unwrap()));
    fs::copy(&disk.path, &path).unwrap();
    path
}

fn rows(half: &Half) -> [bool; 3] {
    ROWS.map(|(block, text)| half.holds(block, text))
}

fn same_bytes(one: &Path, other: &Path) -> bool {
    fs::read(one).unwrap() == fs::read(other).unwrap()
}

#[test]
fn a_copy_of_all_bytes_loses_what_was_written_to_both_after_it() {
    let cluster = Cluster::new();
    cluster.save_set();
    let copied = copy(&cluster.first);
    cluster.work();
    cluster.crash();
    // As if both nodes were to come back, although one lived on.
    let restored = cluster.restore("first", "all-nodes");
    assert!(same_bytes(&restored, &copied));
    // One block is copied, both say that they are up to date, and one row is missing.
    let lost = (Meeting::FromSecond(1), [true, false, true], [true; 3]);
    assert_eq!(cluster.join(&restored), lost);
    assert_eq!(Half::meet(&mut attach(&restored), &mut attach(&cluster.second.path)), Meeting::Equal);
}

#[test]
fn a_half_whose_peer_lived_on_loses_nothing() {
    let cluster = Cluster::new();
    cluster.work();
    cluster.crash();
    let restored = cluster.restore("node", "one-node");
    let (meeting, first, second) = cluster.join(&restored);
    let Meeting::FromSecond(blocks) = meeting else { panic!("{meeting:?}") };
    assert_eq!((first, second), ([true; 3], [true; 3]));
    // Everything in front of the metadata.
    assert!(blocks as u64 * BLOCK > SIZE - MIB, "{blocks}");
    let half = |path: &Path| fs::read(path).unwrap()[START as usize..(START + blocks as u64 * BLOCK) as usize].to_vec();
    assert!(half(&restored) == half(&cluster.second.path));
}

/// The generations are equal, the bytes need not be: the peer worked on, connected to the one that was lost.
#[test]
fn a_marked_half_takes_everything_from_a_peer_of_the_same_generation_and_nothing_from_another_marked_one() {
    let cluster = Cluster::new();
    cluster.save_set();
    cluster.work();
    let restored = cluster.restore("first", "one-node");
    assert!(!attach(&restored).is_consistent());
    let other = cluster.restore("second", "one-node");
    let (mut first, mut second) = (attach(&restored), attach(&other));
    assert_eq!(Half::meet(&mut first, &mut second), Meeting::NobodyIsUpToDate);
    let (meeting, first, second) = cluster.join(&restored);
    assert!(matches!(meeting, Meeting::FromSecond(blocks) if blocks > 3000), "{meeting:?}");
    assert_eq!((first, second), ([true, true, false], [true, true, false]));
    assert!(attach(&restored).is_consistent());
}

#[test]
fn metadata_made_anew_lose_nothing_either() {
    let cluster = Cluster::new();
    cluster.save_set();
    cluster.work();
    cluster.crash();
    let restored = cluster.restore("first", "all-nodes");
    drbdmeta(&restored, START, SIZE, &["create-md"]);
    let (meeting, first, second) = cluster.join(&restored);
    assert!(matches!(meeting, Meeting::FromSecond(blocks) if blocks > 3000), "{meeting:?}");
    assert_eq!((first, second), ([true; 3], [true; 3]));
}

/// Why the images of a set must be of one moment.
#[test]
fn halves_of_different_moments_are_taken_for_equal_and_those_of_one_are() {
    let cluster = Cluster::new();
    cluster.save_set();
    let (old, old_second) = (copy(&cluster.first), copy(&cluster.second));
    cluster.work();
    let [first, second] = ["first", "second"].map(|image| cluster.restore(image, "all-nodes"));
    assert!(same_bytes(&first, &old) && same_bytes(&second, &old_second));
    assert_eq!(cluster.join(&first), (Meeting::Equal, [true, false, false], [true, true, false]));
    let (mut first, mut second) = (attach(&first), attach(&second));
    assert_eq!(Half::meet(&mut first, &mut second), Meeting::Equal);
    assert_eq!((rows(&first), rows(&second)), ([true, false, false], [true, false, false]));
}

#[test]
fn halves_that_both_worked_alone_are_not_made_equal_before_one_of_them_is_marked() {
    let cluster = Cluster::new();
    for (path, generation, row) in [(&cluster.first.path, 0x5000, 1), (&cluster.second.path, 0x6000, 2)] {
        let mut half = attach(path);
        half.promote(generation);
        half.write(ROWS[row].0, ROWS[row].1);
        half.down();
    }
    let apart = ([true, true, false], [true, false, true]);
    assert_eq!(cluster.join(&cluster.first.path), (Meeting::SplitBrain, apart.0, apart.1));
    cluster.save("apart", &cluster.first);
    let (meeting, first, second) = cluster.join(&cluster.restore("apart", "one-node"));
    assert!(matches!(meeting, Meeting::FromSecond(blocks) if blocks > 3000), "{meeting:?}");
    assert_eq!((first, second), (apart.1, apart.1));
}

/// As many as CLUSTERPRO has mirrors in a cluster at most.
#[test]
fn of_eight_halves_on_four_disks_each_is_marked() {
    const PARTS: [u64; 2] = [MIB, 6 * MIB];
    let disks = ["sda.img", "sdb.img", "sdc.img", "sdd.img"].map(|name| {
        let disk = SampleDisk::new(name, 11 * MIB);
        disk.divide(512, "label: dos\nstart=1MiB, size=4MiB, type=83\nstart=6MiB, size=4MiB, type=83\n");
        for start in PARTS {
            disk.write(start, &content(start, 3 * MIB as usize));
            drbdmeta(&disk.path, start, 4 * MIB, &["create-md"]);
            let halves = [0; 2].map(|_| Half::attach(&disk.path, start, 4 * MIB));
            let [mut first, mut second] = halves;
            Half::begin(&mut first, &mut second, 0x1000 + start);
            first.down();
        }
        disk
    });
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node"].into_iter().chain(disks.iter().map(SampleDisk::text))).expect(0);
    let copies = disks.each_ref().map(|disk| disk.destination("copy.img", 11 * MIB));
    let places: Vec<String> = ["sda", "sdb", "sdc", "sdd"]
        .iter()
        .zip(&copies)
        .map(|(name, copy)| format!("{name}={}", copy.display()))
        .collect();
    let arguments = ["restore", target, "node", "--yes", "--scope", "one-node", "--json"];
    let restored = sosei(arguments.into_iter().chain(places.iter().map(String::as_str))).expect(0).json();
    let mirrors = restored["mirrors"].as_array().unwrap();
    assert_eq!((mirrors.len(), mirrors.iter().filter(|half| half["marked"] == true).count()), (8, 8), "{mirrors:#?}");
    for (disk, copy) in disks.iter().zip(&copies) {
        for start in PARTS {
            let blocks = |path: &Path| Half::attach(path, start, 4 * MIB).out_of_sync();
            assert!(blocks(&disk.path) == 0 && blocks(copy) > 900, "{}", copy.display());
        }
    }
}
