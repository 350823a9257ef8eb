//! Restores onto other disks than the one that was saved, of parts of it, and of tables that are odd.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::fill::content;
use tests::program::{Finished, sosei};
use tests::sample::{Content, MIB, SampleDisk, check, copy, files, read};
use tests::{LoopDevice, run};

/// A disk and a repository with its image `node`.
struct Saved {
    repository: tempfile::TempDir,
    disk: SampleDisk,
}

impl Saved {
    fn new(disk: SampleDisk, arguments: &[&str]) -> Self {
        let saved = Self { repository: tempfile::tempdir().unwrap(), disk };
        sosei(["save", saved.target(), "node", saved.disk.text()].iter().chain(arguments)).expect(0);
        saved
    }

    fn target(&self) -> &str {
        self.repository.path().to_str().unwrap()
    }

    fn restore(&self, destination: &Path, arguments: &[&str]) -> Finished {
        let fixed = ["restore", self.target(), "node", destination.to_str().unwrap(), "--yes"];
        sosei(fixed.iter().chain(arguments))
    }

    fn compare(&self, destination: &Path) -> Finished {
        sosei(["compare", self.target(), "node", destination.to_str().unwrap(), "--json"])
    }

    fn manifest(&self) -> Value {
        sosei(["show", self.target(), "node", "--json"]).expect(0).json()["manifest"].take()
    }
}

/// A disk with a GPT: an ext4 partition and, with slots left free, a raw one.
fn gpt() -> SampleDisk {
    let mut disk = SampleDisk::new("node.img", 32 * MIB);
    disk.sgdisk(&["-n1:1M:+16M", "-c1:根", "-n4:20M:+8M", "-t4:da00", "-A4:set:62"]);
    disk.add("p1", MIB, 16 * MIB, Content::Ext4, 512);
    disk.add("p4", 20 * MIB, 8 * MIB, Content::Raw, 512);
    disk
}

/// Every partition with all that its entry says, as sfdisk reads it.
fn entries(disk: &Path) -> Value {
    let text = run("sfdisk", ["--json", disk.to_str().unwrap()]).replace(disk.to_str().unwrap(), "DISK");
    let mut table: Value = serde_json::from_str(&text).unwrap();
    table["partitiontable"]["partitions"].take()
}

fn check_gpt(disk: &Path) {
    let verified = run("sgdisk", ["--verify", disk.to_str().unwrap()]);
    assert!(verified.contains("No problems found"), "{verified}");
}

/// The part of a disk that begins at `start` holds the file system that `source` was saved from.
fn check_files(disk: &Path, start: u64, source: &SampleDisk, name: &str) {
    let part = source.part(name);
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("part");
    copy(disk, start, part.size, &image, 0);
    check(&image, part.content);
    assert_eq!(files(&image, part.content), part.tree);
}

#[test]
fn on_a_larger_disk_the_table_reaches_to_its_end() {
    let saved = Saved::new(gpt(), &[]);
    let larger = saved.disk.destination("larger.img", 50 * MIB + 512);
    let restored = saved.restore(&larger, &[]).expect(0);
    assert!(restored.stderr.contains("LastUsableLBA"), "changes are shown: {}", restored.stderr);
    check_gpt(&larger);
    assert_eq!(entries(&larger), entries(&saved.disk.path));
    assert_eq!(saved.compare(&larger).expect(0).json()["equal"], true);
    check_files(&larger, MIB, &saved.disk, "p1");
    assert!(read(&larger, 20 * MIB, 8 * MIB) == read(&saved.disk.path, 20 * MIB, 8 * MIB));
    // The old end of the disk is free space now; nothing that looked like a table is left there.
    assert!(block::is_zero(&read(&larger, 32 * MIB - 512, 512)));
}

#[test]
fn the_last_partition_grows_where_it_is_asked_to() {
    let saved = Saved::new(gpt(), &[]);
    let larger = saved.disk.destination("larger.img", 50 * MIB);
    saved.restore(&larger, &["--grow", "last"]).expect(0);
    check_gpt(&larger);
    let (mut old, new) = (entries(&saved.disk.path), entries(&larger));
    assert_eq!(new[1]["start"].as_u64().unwrap() * 512, 20 * MIB);
    // Up to the last whole MiB before the backup table.
    assert_eq!(new[1]["size"].as_u64().unwrap() * 512, 29 * MIB);
    old[1]["size"] = new[1]["size"].clone();
    assert_eq!(new, old, "nothing else changes");
    assert!(read(&larger, 20 * MIB, 8 * MIB) == read(&saved.disk.path, 20 * MIB, 8 * MIB));
    check_files(&larger, MIB, &saved.disk, "p1");
    let blocked = saved.restore(&larger, &["--grow", "p1", "--json"]).expect(4);
    assert_eq!(blocked.code(), "no-place");
}

/// The disk's and the partitions' ids in the order of the table, as blkid reads them.
fn ids(disk: &Path) -> Vec<String> {
    let text = run("sfdisk", ["--json", disk.to_str().unwrap()]);
    let table: Value = serde_json::from_str(&text).unwrap();
    let table = &table["partitiontable"];
    let uuids = table["partitions"].as_array().unwrap().iter().map(|entry| entry["uuid"].clone());
    std::iter::once(table["id"].clone()).chain(uuids).map(|id| id.as_str().unwrap_or_default().to_lowercase()).collect()
}

#[test]
fn a_copy_with_a_new_identity_can_be_attached_beside_its_original() {
    let saved = Saved::new(gpt(), &[]);
    let original = LoopDevice::attach(&saved.disk.path, 512);
    let copy = saved.disk.destination("copy.img", 32 * MIB);
    assert_eq!(saved.restore(&copy, &["--json"]).expect(4).code(), "same-signature");
    let restored = saved.restore(&copy, &["--identity", "new", "--json"]).expect(0).json();
    check_gpt(&copy);
    let (old, new) = (ids(original.path()), ids(&copy));
    assert_eq!((old.len(), new.len()), (3, 3));
    assert!(old.iter().all(|id| !new.contains(id)), "{old:?} {new:?}");
    let renamed = restored["renamed"].as_array().unwrap();
    for (name, (from, to)) in ["disk", "p1", "p4"].into_iter().zip(old.iter().zip(&new)) {
        let told = json!({ "kind": "renamed", "name": name, "from": from, "to": to });
        assert!(renamed.contains(&told), "{told} in {renamed:?}");
    }
    // Everything that is no id is what it was: entries, file systems, gaps.
    let without_ids = |disk: &Path| {
        let mut entries = entries(disk);
        entries.as_array_mut().unwrap().iter_mut().for_each(|entry| entry["uuid"] = Value::Null);
        entries
    };
    assert_eq!(without_ids(&copy), without_ids(&saved.disk.path));
    check_files(&copy, MIB, &saved.disk, "p1");
    assert!(read(&copy, 20 * MIB, 8 * MIB) == read(&saved.disk.path, 20 * MIB, 8 * MIB));
    // The file system has another UUID too.
    let uuid = |disk: &Path| {
        let arguments = ["-p", "-O", "1048576", "-o", "value", "-s", "UUID", disk.to_str().unwrap()];
        run("blkid", arguments).trim().to_owned()
    };
    let (from, to) = (uuid(&saved.disk.path), uuid(&copy));
    assert_ne!(from, to);
    let told = json!([{ "region": "node:p1", "kind": "ext4", "from": from, "to": to }]);
    assert_eq!(restored["file_systems"], told);
    assert_eq!(restored["kept_uuids"], json!([]));
    // Each copy is another one.
    saved.restore(&copy, &["--identity", "new"]).expect(0);
    assert!(ids(&copy).iter().all(|id| !new.contains(id) && !old.contains(id)));
}

#[test]
fn several_disks_with_new_identities_differ_from_one_another_too() {
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    for label in ["gpt", "dos\nlabel-id: 0x5c0ffee5"] {
        let disks = ["sda.img", "sdb.img"].map(|name| {
            let disk = SampleDisk::new(name, 16 * MIB);
            disk.divide(512, &format!("label: {label}\nstart=1MiB, size=4MiB\nstart=6MiB, size=4MiB\n"));
            disk
        });
        let image = &label[..3];
        sosei(["save", target, image, disks[0].text(), disks[1].text()]).expect(0);
        let copies = disks.each_ref().map(|disk| disk.destination("copy.img", 16 * MIB));
        let places = [0, 1].map(|number| format!("sd{}={}", ["a", "b"][number], copies[number].display()));
        sosei(["restore", target, image, &places[0], &places[1], "--identity", "new", "--yes"]).expect(0);
        // Of the partitions of an MBR sfdisk tells none.
        let told = |disk: &PathBuf| ids(disk).into_iter().filter(|id| !id.is_empty()).collect::<Vec<_>>();
        let all: Vec<_> = copies.iter().chain(disks.iter().map(|disk| &disk.path)).map(told).collect();
        assert!(all[0].iter().all(|id| !all[1].contains(id)), "{label}: {all:?}");
        assert!(all[..2].concat().iter().all(|id| !all[2..].concat().contains(id)), "{label}: {all:?}");
    }
}

#[test]
fn a_new_mbr_signature_is_all_that_differs() {
    let mut disk = SampleDisk::new("node.img", 16 * MIB);
    disk.divide(512, "label: dos\nlabel-id: 0x5c0ffee5\nstart=1MiB, size=4MiB, type=83\nstart=6MiB, size=9MiB, type=5\nstart=7MiB, size=4MiB, type=83\n");
    disk.add("p1", MIB, 4 * MIB, Content::Raw, 512);
    let saved = Saved::new(disk, &[]);
    let copy = saved.disk.destination("copy.img", 16 * MIB);
    let restored = saved.restore(&copy, &["--identity", "new", "--layout-only"]).expect(0);
    saved.restore(&copy, &["--identity", "new"]).expect(0);
    let (old, new) = (read(&saved.disk.path, 0, 16 * MIB), read(&copy, 0, 16 * MIB));
    let differing: Vec<_> = (0..old.len()).filter(|at| old[*at] != new[*at]).collect();
    assert!(!differing.is_empty() && differing.iter().all(|at| (0x1B8..0x1BC).contains(at)), "{differing:?}");
    let id = ids(&copy)[0].clone();
    assert_ne!(id, "0x5c0ffee5");
    assert!(restored.stdout.contains("5c0ffee5-05"), "PARTUUIDs are listed: {}", restored.stdout);
    let regions = saved.restore(&copy, &["--identity", "new", "--region", "p1", "--json"]).expect(2);
    assert_eq!(regions.code(), "identity-regions");
}

#[test]
fn a_smaller_disk_takes_what_fits_and_nothing_is_cut_off() {
    let saved = Saved::new(gpt(), &[]);
    let smaller = saved.disk.destination("smaller.img", 29 * MIB);
    saved.restore(&smaller, &["--no-verify"]).expect(0);
    check_gpt(&smaller);
    assert_eq!(entries(&smaller), entries(&saved.disk.path));
    assert_eq!(saved.compare(&smaller).expect(0).json()["equal"], true);
    check_files(&smaller, MIB, &saved.disk, "p1");

    // Behind the partitions lies something, where the smaller disk ends.
    let disk = gpt();
    disk.write(30 * MIB, b"metadata of somebody");
    let saved = Saved::new(disk, &[]);
    let smaller = saved.disk.destination("smaller.img", 29 * MIB);
    let clean = fs::read(&smaller).unwrap();
    assert_eq!(saved.restore(&smaller, &["--json"]).expect(4).code(), "data-cut-off");
    assert!(fs::read(&smaller).unwrap() == clean, "nothing is written");
}

#[test]
fn a_layout_comes_without_its_contents() {
    let disk = gpt();
    disk.write(64 << 10, &content(5, 50_000));
    let saved = Saved::new(disk, &[]);
    let destination = saved.disk.destination("destination.img", 32 * MIB);
    saved.restore(&destination, &["--layout-only"]).expect(0);
    check_gpt(&destination);
    assert_eq!(entries(&destination), entries(&saved.disk.path));
    assert!(read(&destination, 0, MIB) == read(&saved.disk.path, 0, MIB), "tables and the gap behind them");
    for start in [2 * MIB, 10 * MIB, 22 * MIB] {
        assert!(read(&destination, start, 4096).iter().all(|byte| *byte == 0xA5), "{start} was written");
    }
}

#[test]
fn a_region_goes_alone_into_another() {
    let saved = Saved::new(gpt(), &[]);
    let other = SampleDisk::new("other.img", 80 * MIB);
    other.write(0, &vec![0xA5; 80 * MIB as usize]);
    other.divide(512, "label: dos\nstart=1MiB, size=8MiB, type=83\nstart=30MiB, size=20MiB, type=83\n");
    let before = fs::read(&other.path).unwrap();
    let (path, text) = (&other.path, other.text());
    saved.restore(path, &["--region", &format!("p1={text}:p2")]).expect(0);
    check_files(path, 30 * MIB, &saved.disk, "p1");
    let after = fs::read(path).unwrap();
    let (start, end) = (30 * MIB as usize, 46 * MIB as usize);
    assert!(after[..start] == before[..start] && after[end..] == before[end..], "nothing else is written");

    for (region, status, code) in [
        (format!("p1={text}:p1"), 4, "region-too-small"),
        (format!("p1={text}:p7"), 2, "no-region"),
        ("p4".to_owned(), 2, "no-region"),
    ] {
        assert_eq!(saved.restore(path, &["--region", &region, "--json"]).expect(status).code(), code, "{region}");
    }
    assert!(fs::read(path).unwrap() == after);
}

#[test]
fn a_damaged_region_is_replaced_in_place() {
    let saved = Saved::new(gpt(), &[]);
    saved.disk.write(21 * MIB, &[0; 100_000]);
    let file_system = saved.disk.part("p1").used.as_slice()[0];
    let kept = read(&saved.disk.path, MIB, 16 * MIB);
    assert_eq!(saved.compare(&saved.disk.path).expect(1).json()["comparison"]["differences"][0]["region"], "node:p4");
    saved.restore(&saved.disk.path, &["--region", "p4"]).expect(0);
    assert_eq!(saved.compare(&saved.disk.path).expect(0).json()["equal"], true);
    assert!(read(&saved.disk.path, MIB, 16 * MIB) == kept && file_system.start() == 0);
}

#[test]
fn an_image_may_hold_one_region_only() {
    let saved = Saved::new(gpt(), &["--region", "p1"]);
    let manifest = saved.manifest();
    let records = manifest["disks"][0]["regions"].as_array().unwrap();
    for record in records {
        assert_eq!(record["map"].is_null(), record["name"] != "p1", "{record}");
    }
    assert!(manifest["totals"]["saved_bytes"].as_u64().unwrap() < 16 * MIB);
    let destination = saved.disk.destination("destination.img", 32 * MIB);
    let refused = saved.restore(&destination, &["--region", "p4", "--json"]).expect(2);
    // The destination has no table, and the image no such region: either is told.
    assert!(["region-not-saved", "no-region"].contains(&refused.code().as_str()));
    let restored = saved.restore(&destination, &[]).expect(0);
    assert!(restored.stderr.contains("not written: gap1 gap2 p4"), "{}", restored.stderr);
    check_gpt(&destination);
    assert_eq!(entries(&destination), entries(&saved.disk.path));
    check_files(&destination, MIB, &saved.disk, "p1");
    assert!(read(&destination, 22 * MIB, 4096).iter().all(|byte| *byte == 0xA5), "p4 was not saved");
    let compared = saved.compare(&destination).expect(0).json();
    assert!(compared["comparison"]["not_in_image"].as_array().unwrap().contains(&json!("node:p4")), "{compared}");
}

#[test]
fn a_disk_without_a_table_is_one_region() {
    let mut disk = SampleDisk::new("plain.img", 16 * MIB);
    disk.add("disk", 0, 16 * MIB, Content::Ext4, 512);
    let saved = Saved::new(disk, &[]);
    let layout = &saved.manifest()["disks"][0]["layout"];
    assert_eq!((&layout["table"], &layout["regions"][0]["name"]), (&json!("none"), &json!("disk")));
    let destination = saved.disk.destination("destination.img", 20 * MIB);
    saved.restore(&destination, &[]).expect(0);
    check_files(&destination, 0, &saved.disk, "disk");
    assert_eq!(saved.compare(&destination).expect(0).json()["equal"], true);
}

#[test]
fn a_damaged_table_is_restored_as_it_was_and_told() {
    for (place, code, text) in
        [(512 + 40, "primary-gpt-damaged", "primary GPT"), (32 * MIB - 512, "backup-gpt-damaged", "backup GPT")]
    {
        let disk = gpt();
        disk.write(place, &[0xFF; 8]);
        let listed = sosei(["disks", disk.text()]).expect(0).stdout;
        assert!(listed.contains(text), "{listed}");
        let saved = Saved::new(disk, &[]);
        assert_eq!(saved.manifest()["disks"][0]["layout"]["findings"][0]["code"], code);
        let printed = sosei(["show", saved.target(), "node", "--lang", "ja"]).expect(0).stdout;
        assert!(printed.contains("  ! "), "{printed}");
        let destination = saved.disk.destination("destination.img", 32 * MIB);
        saved.restore(&destination, &[]).expect(0);
        for (start, length) in [(0, MIB), (31 * MIB, MIB)] {
            assert!(read(&destination, start, length) == read(&saved.disk.path, start, length), "{code} from {start}");
        }
        check_files(&destination, MIB, &saved.disk, "p1");
    }
}

#[test]
fn more_entries_than_usual_come_back() {
    let disk = SampleDisk::new("many.img", 64 * MIB);
    let mut arguments = ["-S", "256", "-a", "1"].map(str::to_owned).to_vec();
    arguments.extend((1..=150).map(|number| format!("-n{number}:{}:+64K", 4096 + number * 256)));
    arguments.extend(["-n200:50M:+1M".to_owned(), "-c200:二百".to_owned()]);
    disk.sgdisk(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    disk.write((4096 + 150 * 256) * 512, &content(150, 64 << 10));
    let saved = Saved::new(disk, &[]);
    let mut sizes = vec![64 * MIB, 80 * MIB];
    while let Some(size) = sizes.pop() {
        let destination = saved.disk.destination("destination.img", size);
        saved.restore(&destination, &[]).expect(0);
        check_gpt(&destination);
        let restored = entries(&destination);
        assert_eq!(restored.as_array().unwrap().len(), 151);
        assert_eq!(restored, entries(&saved.disk.path));
        assert_eq!(saved.compare(&destination).expect(0).json()["equal"], true);
    }
}
