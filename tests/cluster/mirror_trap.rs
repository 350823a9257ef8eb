//! The trap of a restored half of a mirror: DRBD takes it for nearly up to date, and rows are lost without a word.
//! A half that was restored as one of which the peer lived on loses nothing.
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
        let rows = |half: &Half| ROWS.map(|(block, text)| half.holds(block, text));
        let rows = (rows(&first), rows(&second));
        first.down();
        second.down();
        (meeting, rows.0, rows.1)
    }

    fn restore(&self, scope: &str) -> PathBuf {
        let destination = self.first.destination("new.img", self.first.path.metadata().unwrap().len());
        let path = destination.to_str().unwrap();
        sosei(["restore", self.target(), "node", path, "--yes", "--scope", scope]).expect(0);
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
    let path = disk.path.with_file_name("copy.img");
    fs::copy(&disk.path, &path).unwrap();
    path
}

#[test]
fn a_copy_of_all_bytes_loses_what_was_written_to_both_after_it() {
    let cluster = Cluster::new();
    let restored = copy(&cluster.first);
    cluster.work();
    cluster.crash();
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
    let restored = cluster.restore("one-node");
    let (meeting, first, second) = cluster.join(&restored);
    let Meeting::FromSecond(blocks) = meeting else { panic!("{meeting:?}") };
    assert_eq!((first, second), ([true; 3], [true; 3]));
    // Everything in front of the metadata.
    assert!(blocks as u64 * BLOCK > SIZE - MIB, "{blocks}");
    let half = |path: &Path| fs::read(path).unwrap()[START as usize..(START + blocks as u64 * BLOCK) as usize].to_vec();
    assert!(half(&restored) == half(&cluster.second.path));
}

#[test]
fn metadata_made_anew_lose_nothing_either() {
    let cluster = Cluster::new();
    let restored = copy(&cluster.first);
    cluster.work();
    cluster.crash();
    drbdmeta(&restored, START, SIZE, &["create-md"]);
    let (meeting, first, second) = cluster.join(&restored);
    assert!(matches!(meeting, Meeting::FromSecond(blocks) if blocks > 3000), "{meeting:?}");
    assert_eq!((first, second), ([true; 3], [true; 3]));
}

/// Why the images of a set must be of one moment.
#[test]
fn halves_of_different_moments_are_taken_for_equal_and_those_of_one_are() {
    let cluster = Cluster::new();
    let old = copy(&cluster.first);
    let old_second = copy(&cluster.second);
    cluster.work();
    assert_eq!(cluster.join(&old), (Meeting::Equal, [true, false, false], [true, true, false]));
    let (mut first, mut second) = (attach(&old), attach(&old_second));
    assert_eq!(Half::meet(&mut first, &mut second), Meeting::Equal);
    let rows = |half: &Half| ROWS.map(|(block, text)| half.holds(block, text));
    assert_eq!((rows(&first), rows(&second)), ([true, false, false], [true, false, false]));
}

#[test]
fn halves_that_both_worked_alone_are_not_made_equal() {
    let cluster = Cluster::new();
    for (path, generation) in [(&cluster.first.path, 0x5000), (&cluster.second.path, 0x6000)] {
        let mut half = attach(path);
        half.promote(generation);
        half.write(ROWS[2].0, ROWS[2].1);
        half.down();
    }
    assert_eq!(cluster.join(&cluster.first.path).0, Meeting::SplitBrain);
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
