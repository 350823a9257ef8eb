//! Restores of one half of a mirror: the question of the scope, the mark, and the check of a set.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::fill::content;
use tests::program::{Finished, on_terminal, sosei};
use tests::sample::{MIB, SampleDisk, read};
use tests::stacks::Lvm;
use tests::{LoopDevice, run};

const DATA: u64 = 40 * MIB;
const METADATA: u64 = 48 * MIB;

/// A disk with half of a mirror in p2 (internal metadata), and one with its metadata in p3.
fn node(name: &str, current: u64, before: u64) -> SampleDisk {
    let disk = SampleDisk::new(name, 64 * MIB);
    divide(&disk, &[(1, 4), (8, 32), (DATA / MIB, 4), (48, 8)]);
    disk.write(MIB, &content(1, 3 * MIB as usize));
    disk.write(8 * MIB, &content(2, 31 * MIB as usize));
    put(&disk, 8 * MIB, 32 * MIB, "internal", current, before);
    disk
}

/// Partitions of a GPT: first MiB and number of them.
fn divide(disk: &SampleDisk, partitions: &[(u64, u64)]) {
    let lines = partitions.iter().map(|(start, size)| format!("start={start}MiB, size={size}MiB\n"));
    // Every call of sgdisk sleeps for a second.
    disk.divide(512, &format!("label: gpt\n{}", lines.collect::<String>()));
}

/// Metadata made by drbdmeta at the place of a partition, with generations as after an orderly shutdown.
fn put(disk: &SampleDisk, start: u64, size: u64, index: &str, current: u64, before: u64) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("half");
    fs::write(&file, read(&disk.path, start, size)).unwrap();
    drbdmeta(&file, index, &["create-md"]);
    let generations = format!("{current:#x}:0x0:{before:#x}:0x0:1:1:0:0:0:0");
    drbdmeta(&file, index, &["set-gi", &generations]);
    // What lies before the metadata is not drbdmeta's to change.
    disk.write(start, &fs::read(&file).unwrap());
}

fn drbdmeta(file: &Path, index: &str, arguments: &[&str]) {
    let attached = LoopDevice::attach(file, 512);
    let place = ["--force", "0", "v08", attached.path().to_str().unwrap(), index];
    run("drbdmeta", place.iter().chain(arguments));
}

/// The bytes of a partition after `drbdmeta invalidate`.
fn invalidated(disk: &SampleDisk, start: u64, size: u64, index: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("half");
    fs::write(&file, read(&disk.path, start, size)).unwrap();
    drbdmeta(&file, index, &["invalidate"]);
    fs::read(&file).unwrap()
}

struct Repository(tempfile::TempDir);

impl Repository {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn target(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn save(&self, image: &str, disk: &SampleDisk, arguments: &[&str]) {
        sosei(["save", self.target(), image, disk.text()].iter().chain(arguments)).expect(0);
    }

    fn restore(&self, image: &str, destination: &Path, arguments: &[&str]) -> Finished {
        let fixed = ["restore", self.target(), image, destination.to_str().unwrap(), "--yes", "--json"];
        sosei(fixed.iter().chain(arguments))
    }

    fn set(&self, command: &str, set: &str) -> Finished {
        sosei(["set", command, self.target(), set, "--json"])
    }

    /// What speaks against a set. That all images come from the machine that runs the tests is no news.
    fn problems(&self, set: &str) -> Vec<Value> {
        let document: Value = serde_json::from_str(&self.set("verify", set).stdout).unwrap();
        let problems = document["problems"].as_array().unwrap().clone();
        problems.into_iter().filter(|problem| problem["code"] != "same-host").collect()
    }

    #[track_caller]
    fn check_refused(&self, image: &str, destination: &PathBuf, arguments: &[&str], code: &str) {
        let before = run("b2sum", [destination]);
        assert_eq!(self.restore(image, destination, arguments).expect(4).code(), code);
        assert_eq!(run("b2sum", [destination]), before, "{code}: nothing is changed");
        let mut arguments: Vec<_> = arguments.to_vec();
        arguments.extend(["--lang", "ja"]);
        let japanese =
            sosei(["restore", self.target(), image, destination.to_str().unwrap(), "--yes"].iter().chain(&arguments))
                .expect(4);
        assert!(
            japanese.stderr.contains(&format!("[{code}]")) && !japanese.stderr.contains("%{"),
            "{}",
            japanese.stderr
        );
    }
}

#[test]
fn a_node_whose_peer_lived_on_comes_back_marked_as_drbdmeta_marks_it() {
    let (repository, disk) = (Repository::new(), node("node.img", 0x1111_2222_3333_4444, 0));
    repository.save("node", &disk, &[]);
    // 32 MiB over the link between the nodes.
    for (link, time) in [("1000", "estimate: 1 min"), ("1", "estimate: 6 min")] {
        let list = sosei(["checklist", repository.target(), "node", "--link", link, "--scope", "one-node"]).expect(0);
        assert!(list.stdout.contains(time), "{link}: {}", list.stdout);
    }
    let destination = disk.destination("new.img", 64 * MIB);
    repository.check_refused("node", &destination, &[], "scope-missing");
    let restored = repository.restore("node", &destination, &["--scope", "one-node"]).expect(0).json();
    let half = json!({
        "region": "node:p2", "version": "8.4", "kind": "internal", "bytes": 0,
        "generation": "1111222233334444", "marked": true,
    });
    assert_eq!(restored["mirrors"], json!([half]));
    assert!(read(&destination, 8 * MIB, 32 * MIB) == invalidated(&disk, 8 * MIB, 32 * MIB, "internal"));
    assert!(read(&destination, MIB, 4 * MIB) == read(&disk.path, MIB, 4 * MIB));
    // A node without half of a mirror is asked nothing.
    let region = repository.restore("node", &destination, &["--region", "p1"]).expect(0).json();
    assert_eq!(region["mirrors"], json!([]));
    // Who said that something is to be marked is told that nothing was.
    let target = destination.to_str().unwrap();
    let arguments = ["restore", repository.target(), "node", target, "--yes", "--region", "p1", "--scope", "one-node"];
    assert!(sosei(arguments).expect(0).stdout.contains("No half of a mirror was found"));
}

/// A copy with other names: its peer has the file system too, under the name that it has now.
#[test]
fn the_file_system_in_half_of_a_mirror_keeps_its_name() {
    let (repository, disk) = (Repository::new(), node("node.img", 0x1111_2222_3333_4444, 0));
    let directory = tempfile::tempdir().unwrap();
    let make = |size: u64, program: &str, arguments: &[&str]| {
        let path = directory.path().join(program);
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        run(program, arguments.iter().copied().chain([path.to_str().unwrap()]));
        fs::read(&path).unwrap()
    };
    disk.write(8 * MIB, &make(30 * MIB, "mke2fs", &["-q", "-F", "-t", "ext4"]));
    disk.write(METADATA, &make(8 * MIB, "mkswap", &["-q"]));
    repository.save("node", &disk, &[]);
    let destination = disk.destination("new.img", 64 * MIB);
    let arguments = ["--scope", "one-node", "--identity", "new"];
    let restored = repository.restore("node", &destination, &arguments).expect(0).json();
    let regions = |list: &str| -> Vec<Value> {
        restored[list].as_array().unwrap().iter().map(|told| told["region"].clone()).collect()
    };
    assert_eq!((regions("file_systems"), regions("kept_uuids")), (vec![json!("node:p4")], vec![json!("node:p2")]));
    assert!(restored["kept_uuids"][0]["detail"].as_str().unwrap().starts_with("half of a mirror"), "{restored}");
    // Superblock of the file system, and what follows it with the metadata of the mirror.
    let marked = invalidated(&disk, 8 * MIB, 32 * MIB, "internal");
    assert!(read(&destination, 8 * MIB, 4096) == marked[..4096]);
    assert!(read(&destination, 38 * MIB, 2 * MIB) == marked[(30 * MIB) as usize..]);
}

#[test]
fn an_operator_is_asked_and_there_is_no_default() {
    let (repository, disk) = (Repository::new(), node("node.img", 0x1111_2222_3333_4444, 0));
    repository.save("node", &disk, &[]);
    let destination = disk.destination("new.img", 64 * MIB);
    let text = destination.to_str().unwrap();
    let arguments = ["restore", repository.target(), "node", text];
    let before = run("b2sum", [text]);
    for typed in ["\n", "y\n", "yes\n", "one\n"] {
        let finished = on_terminal(&arguments, typed);
        assert_eq!(finished.status, 4, "{}", finished.stdout);
        assert!(finished.stdout.contains("[scope-missing]"), "{}", finished.stdout);
    }
    assert_eq!(run("b2sum", [text]), before);
    let finished = on_terminal(&arguments, &format!("one-node\ny\n{text}\n"));
    assert_eq!(finished.status, 0, "{}", finished.stdout);
    assert!(finished.stdout.contains("generation 1111222233334444"), "{}", finished.stdout);
    assert!(read(&destination, 8 * MIB, 32 * MIB) == invalidated(&disk, 8 * MIB, 32 * MIB, "internal"));
}

#[test]
fn all_nodes_come_back_only_from_a_set_that_was_saved_with_the_cluster_stopped() {
    let repository = Repository::new();
    let (a, b) = (node("a.img", 0xA0, 0x80), node("b.img", 0xA0, 0x80));
    let destination = a.destination("new.img", 64 * MIB);
    let all = ["--scope", "all-nodes"];
    repository.save("a-alone", &a, &[]);
    repository.check_refused("a-alone", &destination, &all, "not-in-set");
    repository.save("a", &a, &["--set", "monday"]);
    repository.check_refused("a", &destination, &all, "set-incomplete");
    let alone = [json!({ "code": "alone", "image": "a" }), json!({ "code": "no-peer", "half": "a: a:p2" })];
    assert_eq!(repository.problems("monday"), alone);
    // B went on as primary before it was saved: A is in its history.
    let newer = node("b.img", 0xB0, 0xA0);
    repository.save("b-newer", &newer, &["--set", "monday"]);
    repository.check_refused("a", &destination, &all, "set-differs");
    repository.check_refused("b-newer", &destination, &all, "set-differs");
    // Another set does not matter.
    repository.save("b-other", &b, &["--set", "tuesday"]);
    repository.check_refused("a", &destination, &all, "set-differs");
    repository.save("a-tuesday", &a, &["--set", "tuesday"]);
    let newer_half = json!({ "code": "generations", "newer": "b-newer: b:p2", "older": "a: a:p2" });
    assert_eq!(repository.problems("monday"), [newer_half]);
    assert_eq!(repository.problems("tuesday"), Vec::<Value>::new());
    assert_eq!(
        repository.set("show", "tuesday").expect(0).json()["images"][0]["mirrors"][0]["generation"],
        "00000000000000a0"
    );
    assert_eq!(repository.set("verify", "wednesday").expect(1).code(), "no-set");
    let restored = repository.restore("a-tuesday", &destination, &all).expect(0).json();
    assert_eq!((&restored["scope"], &restored["mirrors"][0]["marked"]), (&json!("all-nodes"), &json!(false)));
    assert!(fs::read(&destination).unwrap() == fs::read(&a.path).unwrap(), "every byte is as it was");
}

#[test]
fn a_mirror_finds_its_metadata_where_it_looks_for_them() {
    let (repository, disk) = (Repository::new(), SampleDisk::new("node.img", 64 * MIB));
    divide(&disk, &[(1, 4), (8, 32)]);
    put(&disk, 8 * MIB, 32 * MIB, "internal", 0x10, 0);
    repository.save("node", &disk, &[]);
    let larger = disk.destination("larger.img", 80 * MIB);
    let one = ["--scope", "one-node"];
    repository.check_refused("node", &larger, &[&one[..], &["--grow", "last"]].concat(), "mirror-end");
    repository.restore("node", &larger, &one).expect(0);
    assert!(read(&larger, 8 * MIB, 32 * MIB) == invalidated(&disk, 8 * MIB, 32 * MIB, "internal"));
    run("sgdisk", ["-d2", "-n2:8M:+40M", larger.to_str().unwrap()]);
    repository.check_refused("node", &larger, &[&one[..], &["--region", "p2"]].concat(), "mirror-end");
}

#[test]
fn data_do_not_come_back_under_metadata_that_stay() {
    let (repository, disk) = (Repository::new(), node("node.img", 0x10, 0));
    // A second mirror: data in p3, metadata in p4.
    put(&disk, METADATA, 8 * MIB, "flex-external", 0x20, 0);
    disk.write(METADATA, &(4 * MIB / 512).to_be_bytes());
    repository.save("node", &disk, &[]);
    let destination = disk.destination("new.img", 64 * MIB);
    let one = ["--scope", "one-node"];
    repository.restore("node", &destination, &one).expect(0);
    for (start, size, index) in [(8 * MIB, 32 * MIB, "internal"), (METADATA, 8 * MIB, "flex-external")] {
        assert!(read(&destination, start, size) == invalidated(&disk, start, size, index), "{index}");
    }
    repository.check_refused("node", &destination, &[&one[..], &["--region", "p3"]].concat(), "mirror-metadata");
    repository.restore("node", &destination, &[&one[..], &["--region", "p3", "--region", "p4"]].concat()).expect(0);
    repository.restore("node", &destination, &[&one[..], &["--region", "p4"]].concat()).expect(0);
}

/// A disk with a mirror whose data are in p3 (8 MiB) and its metadata in p4, half of another in p2, and p1 that is
/// smaller than all of them.
fn node_with_external(bytes: u64) -> SampleDisk {
    let disk = SampleDisk::new("node.img", 64 * MIB);
    divide(&disk, &[(1, 4), (8, 16), (24, 8), (METADATA / MIB, 8)]);
    disk.write(MIB, &content(1, MIB as usize));
    disk.write(24 * MIB, &content(3, MIB as usize));
    put(&disk, 8 * MIB, 16 * MIB, "internal", 0x10, 0);
    put(&disk, METADATA, 8 * MIB, "flex-external", 0x20, 0);
    disk.write(METADATA, &(bytes / 512).to_be_bytes());
    disk
}

#[test]
fn data_of_a_mirror_may_be_longer_than_what_is_mirrored() {
    let one = ["--scope", "one-node"];
    for less in [4096, 8192] {
        let (repository, disk) = (Repository::new(), node_with_external(8 * MIB - less));
        repository.save("node", &disk, &[]);
        let destination = disk.destination("new.img", 64 * MIB);
        fs::copy(&disk.path, &destination).unwrap();
        repository.check_refused("node", &destination, &["--region", "p3"], "mirror-metadata");
        if less == 8192 {
            // What can't be the data: it is shorter; it has metadata of its own.
            repository.restore("node", &destination, &["--region", "p1"]).expect(0);
            repository.restore("node", &destination, &[&one[..], &["--region", "p2"]].concat()).expect(0);
        }
    }
}

#[test]
fn metadata_that_only_the_destination_has_are_looked_for_too() {
    let (repository, disk) = (Repository::new(), node_with_external(8 * MIB - 4096));
    repository.save("alone", &disk, &["--region", "p3"]);
    repository.save("small", &disk, &["--region", "p1"]);
    let destination = disk.destination("new.img", 64 * MIB);
    // Nothing there: nothing is called up to date.
    repository.restore("alone", &destination, &[]).expect(0);
    fs::copy(&disk.path, &destination).unwrap();
    for arguments in [&["--region", "p3"][..], &[], &["--region", "p3=node:p2"]] {
        repository.check_refused("alone", &destination, arguments, "mirror-metadata");
    }
    repository.restore("small", &destination, &["--region", "p1"]).expect(0);
    repository.restore("small", &destination, &[]).expect(0);
    // The peer overwrites everything: the data may be of any day.
    let marked = invalidated(&disk, METADATA, 8 * MIB, "flex-external");
    let file = fs::File::options().write(true).open(&destination).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &marked, METADATA).unwrap();
    repository.restore("alone", &destination, &["--region", "p3"]).expect(0);
    assert!(read(&destination, METADATA, 8 * MIB) == marked, "nothing else is written");
    // Internal metadata at the end of a longer region, behind what is written.
    repository.check_refused("alone", &destination, &["--region", "p3=node:p2"], "mirror-metadata");
}

#[test]
fn metadata_of_a_whole_disk_stay_behind_no_older_partition() {
    let (repository, disk) = (Repository::new(), SampleDisk::new("node.img", 32 * MIB));
    disk.divide(512, "label: dos\nstart=1MiB, size=8MiB\n");
    disk.write(2 * MIB, &content(1, MIB as usize));
    repository.save("before", &disk, &["--region", "p1"]);
    put(&disk, 0, 32 * MIB, "internal", 0x10, 0);
    let destination = disk.destination("new.img", 32 * MIB);
    fs::copy(&disk.path, &destination).unwrap();
    repository.check_refused("before", &destination, &["--region", "p1"], "mirror-metadata");
}

/// Superblocks of a mirror of so many bytes, as they are on a device that they begin: up to date, and marked.
fn external(bytes: u64) -> [Vec<u8>; 2] {
    let made = SampleDisk::new("made.img", 4 * MIB);
    put(&made, 0, 4 * MIB, "flex-external", 0x20, 0);
    made.write(0, &(bytes / 512).to_be_bytes());
    [read(&made.path, 0, 4096), invalidated(&made, 0, 4 * MIB, "flex-external")[..4096].to_vec()]
}

#[test]
fn data_of_a_mirror_may_be_a_logical_volume_on_several_disks() {
    for (mirrored, status) in [(32 * MIB - 4096, 4), (40 * MIB, 0)] {
        let disks = ["a.img", "b.img"].map(|name| SampleDisk::new(name, 24 * MIB));
        Lvm::make(&disks.each_ref().map(|disk| disk.path.as_path()), MIB, 32 * MIB);
        let metadata = SampleDisk::new("metadata.img", 8 * MIB);
        metadata.write(0, &external(mirrored)[0]);
        let repository = Repository::new();
        repository.save("node", &disks[0], &[disks[1].text(), metadata.text()]);
        let destination = disks[0].destination("new.img", 24 * MIB);
        let given = format!("a={}", destination.display());
        let restored = sosei(["restore", repository.target(), "node", &given, "--yes", "--json"]).expect(status);
        if status != 0 {
            assert_eq!(restored.code(), "mirror-metadata");
        }
    }
}

/// A file system of 8 MiB of a Linux system with these files.
fn root_with(files: &[(&str, &str)]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let (tree, root) = (directory.path().join("tree"), directory.path().join("root"));
    for (path, text) in [("usr/lib/os-release", "NAME=Debian\n")].iter().chain(files) {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    run("mke2fs", ["-q", "-t", "ext4", "-d", tree.to_str().unwrap(), root.to_str().unwrap(), "8M"]);
    fs::read(&root).unwrap()
}

/// A system disk with its root in p2, a disk with data in p3, and one with metadata in p1.
fn node_with_metadata_apart() -> [SampleDisk; 3] {
    let system = SampleDisk::new("system.img", 16 * MIB);
    divide(&system, &[(1, 1), (2, 8)]);
    let data = SampleDisk::new("data.img", 16 * MIB);
    data.divide(512, "label: gpt\np3 : start=1MiB, size=8MiB\n");
    data.write(MIB, &content(1, MIB as usize));
    let metadata = SampleDisk::new("metadata.img", 16 * MIB);
    divide(&metadata, &[(1, 8)]);
    // As long as the root, which might hold the data if nobody said where they are.
    metadata.write(MIB, &external(8 * MIB)[0]);
    [system, data, metadata]
}

#[test]
fn the_configuration_of_a_node_tells_which_device_metadata_belong_to() {
    let conf = "include \"drbd.d/global_common.conf\";\ninclude \"drbd.d/*.res\";\n";
    let resource = "resource r0 { device /dev/drbd0; disk /dev/sdb3; meta-disk /dev/sdc1[0]; on a {} on b {} }\n";
    let other = "resource r1 { device /dev/drbd1; disk /dev/sda2; meta-disk /dev/sdd1; }\n";
    let variants = [
        ("named", conf.to_owned(), resource.to_owned(), 0),
        ("hit", conf.to_owned(), resource.replace("/dev/sdb3", "/dev/sda2"), 4),
        ("perhaps hit", conf.to_owned(), format!("{resource}{other}"), 4),
        ("in the common part", conf.to_owned(), resource.to_owned(), 4),
        ("other metadata", conf.to_owned(), resource.replace("/dev/sdc1", "/dev/sdc2"), 4),
        ("other file", format!("{conf}include \"/etc/more.res\";\n"), resource.to_owned(), 4),
        ("other name", conf.to_owned(), resource.replace("/dev/sdb3", "/dev/disk/by-uuid/1"), 4),
        ("no configuration", conf.to_owned(), String::new(), 4),
        ("disk by its id", conf.to_owned(), resource.replace("/dev/sdb3", "/dev/disk/by-id/wwn-0x5000-part3"), 0),
    ];
    // Names that end like one of a partition, of devices that are none.
    let others = ["disk/by-id/md-uuid-1:2:3:4-part3", "disk/by-id/dm-name-vg-data--part3", "vdata3"];
    let others = others.map(|name| (name, conf.to_owned(), resource.replace("sdb3", name), 4));
    let [system, data, metadata] = &node_with_metadata_apart();
    for (name, conf, resource, status) in variants.into_iter().chain(others) {
        let repository = Repository::new();
        let common = ("etc/drbd.d/global_common.conf", if name == "in the common part" { other } else { "" });
        system.write(2 * MIB, &root_with(&[("etc/drbd.conf", &conf), ("etc/drbd.d/r0.res", &resource), common]));
        repository.save("node", system, &[data.text(), metadata.text()]);
        let restore = |disk: &SampleDisk| {
            let given = format!("{}={}", disk_name(disk), disk.destination("new.img", 16 * MIB).display());
            sosei(["restore", repository.target(), "node", &given, "--yes", "--json"])
        };
        let restored = restore(system).expect(status);
        assert!(status == 0 || restored.code() == "mirror-metadata", "{name}: {}", restored.stdout);
        // The data themselves; and metadata that can't be told from others.
        if name == "named" {
            assert_eq!(restore(data).expect(4).code(), "mirror-metadata");
            let second = SampleDisk::new("second.img", 16 * MIB);
            fs::copy(&metadata.path, &second.path).unwrap();
            repository.save("two", system, &[data.text(), metadata.text(), second.text()]);
            let given = format!("system={}", system.destination("two.img", 16 * MIB).display());
            let refused = sosei(["restore", repository.target(), "two", &given, "--yes", "--json"]).expect(4);
            assert_eq!(refused.code(), "mirror-metadata");
        }
    }
}

#[test]
fn both_halves_of_a_mirror_are_compared_and_only_their_lengths_must_be_equal() {
    let guids = ["11111111-2222-4333-8444-555555555501", "11111111-2222-4333-8444-555555555502"];
    let server = |number: usize| {
        let guid = guids[number];
        format!("<server name=\"n{number}\"><parameters><volumeguid>{guid}</volumeguid></parameters></server>")
    };
    let clp = format!(
        "<?xml version=\"1.0\" encoding=\"ASCII\"?><root><resource><md name=\"md1\"><parameters/>{}{}</md></resource></root>",
        server(0),
        server(1)
    );
    let root = root_with(&[("opt/nec/clusterpro/etc/clp.conf", &clp)]);
    let node = |number: usize, start: u64, size: u64| {
        let disk = SampleDisk::new(&format!("n{number}.img"), 24 * MIB);
        let part = format!("start={}MiB, size={}MiB, uuid={}", start / MIB, size / MIB, guids[number]);
        disk.divide(512, &format!("label: gpt\nstart=1MiB, size=8MiB\n{part}\n"));
        disk.write(MIB, &root);
        disk.write(start, &content(1, size as usize));
        disk
    };
    let repository = Repository::new();
    let sets = [("equal", 4 * MIB), ("longer", 6 * MIB)];
    for (set, size) in sets {
        repository.save(&format!("n0-{set}"), &node(0, 10 * MIB, 4 * MIB), &["--set", set]);
        repository.save(&format!("n1-{set}"), &node(1, 12 * MIB, size), &["--set", set]);
        let half = |number: u64, start: u64, length: u64| {
            let (image, region) = (format!("n{number}-{set}"), format!("n{number}:p2"));
            json!({ "image": image, "region": region, "start": start, "length": length })
        };
        let pair = json!({
            "resource": "md1", "is_equal": set == "equal",
            "halves": [half(0, 10 * MIB, 4 * MIB), half(1, 12 * MIB, size)],
        });
        assert_eq!(repository.set("show", set).expect(0).json()["pairs"], json!([pair]));
    }
    let told = |set: &str, language: &str| {
        let shown = sosei(["set", "show", repository.target(), set, "--lang", language]).expect(0).stdout;
        shown.lines().find(|line| line.contains("md1")).map(str::to_owned).unwrap_or(shown)
    };
    let halves = "md1 n0-equal: n0:p2 (10485760 + 4194304) and n1-equal: n1:p2 (12582912 + 4194304)";
    assert_eq!(told("equal", "en").trim(), format!("= {halves}: equal in length"));
    assert!(told("longer", "en").trim().starts_with("! md1 n0-longer: n0:p2"), "{}", told("longer", "en"));
    assert!(told("longer", "ja").contains("長さが異なります"), "{}", told("longer", "ja"));
}

fn disk_name(disk: &SampleDisk) -> String {
    disk.path.file_stem().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_half_that_is_found_on_two_ways_is_marked_one_time() {
    let [superblock, marked] = external(8 * MIB);
    // A volume that begins where another index would be, and a mirror of md that begins where its member does.
    let (volume, array) = (SampleDisk::new("volume.img", 170 * MIB), SampleDisk::new("array.img", 8 * MIB));
    Lvm::make(&[&volume.path], 128 * MIB, 32 * MIB);
    let directory = tempfile::tempdir().unwrap();
    let members = tests::stacks::places(&tests::stacks::unpack("md", directory.path()));
    let member = members.iter().find(|place| tests::stacks::examine(place)["Version"] == "1.0").unwrap();
    fs::write(&array.path, member.read(0, member.length)).unwrap();
    volume.write(128 * MIB, &superblock);
    array.write(0, &superblock);
    let repository = Repository::new();
    repository.save("node", &volume, &[array.text()]);
    let copies = [volume.destination("volume.copy", 170 * MIB), array.destination("array.copy", member.length)];
    let given = [format!("volume={}", copies[0].display()), format!("array={}", copies[1].display())];
    let fixed = ["restore", repository.target(), "node", &given[0], &given[1], "--yes", "--json"];
    let restored = sosei(fixed.iter().chain(&["--scope", "one-node"])).expect(0).json();
    assert_eq!(restored["mirrors"].as_array().unwrap().len(), 2, "{}", restored["mirrors"]);
    assert!(read(&copies[0], 128 * MIB, 4096) == marked);
    assert!(read(&copies[1], 0, 4096) == marked);
}

/// Where the last 4096 bytes of a logical volume lie on a device, by LVM's own word.
fn end_of_volume(lvm_told: &tests::stacks::Told, name: &str) -> (usize, u64) {
    let (_, device, start, length) = *lvm_told.volumes[name].iter().max_by_key(|piece| piece.0).unwrap();
    (device, start + length - 4096)
}

#[test]
fn a_half_in_a_logical_volume_is_asked_for_and_marked_too() {
    let directory = tempfile::tempdir().unwrap();
    let disks = ["lvm-a", "lvm-b"].map(|name| tests::stacks::unpack(name, directory.path()));
    let places: Vec<_> = disks.iter().flat_map(|disk| tests::stacks::places(disk)).collect();
    let told = Lvm::new(&places).told();
    // A superblock as drbdmeta makes it, at the end of volumes: a plain one, one with a snapshot, copies of one.
    let made = SampleDisk::new("made.img", 32 * MIB);
    put(&made, 0, 32 * MIB, "internal", 0x1111_2222_3333_4444, 0);
    let superblock = read(&made.path, 32 * MIB - 4096, 4096);
    let marked = invalidated(&made, 0, 32 * MIB, "internal")[(32 * MIB - 4096) as usize..].to_vec();
    let names = ["linear", "origin", "[mirrored_mimage_0]", "[mirrored_mimage_1]"];
    let ends: Vec<_> = names.iter().map(|name| end_of_volume(&told, name)).collect();
    for (device, at) in &ends {
        let file = fs::File::options().write(true).open(&places[*device].file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &superblock, places[*device].start + at).unwrap();
    }
    let repository = Repository::new();
    let text = disks.each_ref().map(|disk| disk.to_str().unwrap());
    sosei(["save", repository.target(), "node", text[0], text[1]]).expect(0);
    let copies = ["lvm-a", "lvm-b"].map(|name| {
        let copy = directory.path().join(format!("{name}.copy"));
        fs::File::create(&copy)
            .unwrap()
            .set_len(fs::metadata(directory.path().join(format!("{name}.img"))).unwrap().len())
            .unwrap();
        copy
    });
    let given = [0, 1].map(|number| format!("{}={}", ["lvm-a", "lvm-b"][number], copies[number].display()));
    let arguments = ["restore", repository.target(), "node", &given[0], &given[1], "--yes", "--json"];
    assert_eq!(sosei(arguments).expect(4).code(), "scope-missing");
    let restored = sosei(arguments.iter().chain(&["--scope", "one-node"])).expect(0).json();
    let volumes: Vec<_> = restored["mirrors"].as_array().unwrap().iter().map(|half| half["volume"].clone()).collect();
    assert_eq!(volumes.len(), ends.len(), "{volumes:?}");
    for (name, (device, at)) in names.iter().zip(&ends) {
        let place = &places[*device];
        let number = disks.iter().position(|disk| *disk == place.file).unwrap();
        assert!(read(&copies[number], place.start + at, 4096) == marked, "{name} is marked");
    }
}

#[test]
fn every_index_of_a_device_for_metadata_is_marked() {
    let (repository, disk) = (Repository::new(), SampleDisk::new("node.img", 300 * MIB));
    divide(&disk, &[(1, 270)]);
    for (number, current) in [(0, 0x10), (1, 0x20)] {
        put(&disk, MIB, 270 * MIB, &number.to_string(), current, 0);
    }
    repository.save("node", &disk, &[]);
    let destination = disk.destination("new.img", 300 * MIB);
    repository.check_refused("node", &destination, &[], "scope-missing");
    let restored = repository.restore("node", &destination, &["--scope", "one-node"]).expect(0).json();
    assert_eq!(restored["mirrors"].as_array().unwrap().len(), 2);
    for number in ["0", "1"] {
        let expected = invalidated(&disk, MIB, 270 * MIB, number);
        let at = number.parse::<usize>().unwrap() * 128 * MIB as usize;
        assert!(read(&destination, MIB + at as u64, 4096) == expected[at..at + 4096], "index {number}");
    }
}

#[test]
fn a_mirror_of_a_whole_disk_is_marked_and_does_not_go_onto_a_larger_one() {
    for partitions in [&[][..], &["-n1:1M:+8M"]] {
        let (repository, disk) = (Repository::new(), SampleDisk::new("node.img", 64 * MIB));
        if !partitions.is_empty() {
            disk.divide(512, "label: dos\nstart=1MiB, size=8MiB\n");
        }
        disk.write(2 * MIB, &content(1, MIB as usize));
        put(&disk, 0, 64 * MIB, "internal", 0x10, 0);
        // The size that peers agreed on reaches beyond the start of the gap.
        disk.write(64 * MIB - 4096, &(60 * MIB / 512).to_be_bytes());
        repository.save("node", &disk, &[]);
        let destination = disk.destination("new.img", 64 * MIB);
        repository.check_refused("node", &destination, &[], "scope-missing");
        let one = ["--scope", "one-node"];
        repository.restore("node", &destination, &one).expect(0);
        assert!(read(&destination, 0, 64 * MIB) == invalidated(&disk, 0, 64 * MIB, "internal"), "{partitions:?}");
        let larger = disk.destination("larger.img", 80 * MIB);
        repository.check_refused("node", &larger, &one, "mirror-end");
    }
}
