//! Shared disks as the real tools make them: what is seen, what is refused, and that nothing is touched.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;

use serde_json::Value;
use tests::program::{Finished, on_terminal, sosei};
use tests::sample::{MIB, SampleDisk};
use tests::shared_disk::sbd;
use tests::{LoopDevice, Mounted, run};

/// A file of `size` bytes that a tool fills.
fn made(name: &str, size: u64, make: impl Fn(&str)) -> SampleDisk {
    let disk = SampleDisk::new(name, size);
    make(disk.text());
    disk
}

fn gfs2(protocol: &'static str) -> SampleDisk {
    made("gfs2.img", 160 * MIB, |path| {
        run("mkfs.gfs2", ["-q", "-O", "-J", "8", "-p", protocol, "-t", "mycl:fs", path]);
    })
}

fn sharing(disk: &SampleDisk) -> Value {
    sosei(["disks", disk.text(), "--json"]).expect(0).json()["disks"][0]["sharing"].clone()
}

fn check(disk: &SampleDisk, class: &str, evidence: &str, proof: &str) {
    let sharing = sharing(disk);
    assert_eq!(sharing["class"], class, "{sharing}");
    let findings = sharing["findings"].as_array().unwrap();
    let told = |finding: &Value| {
        finding["evidence"] == evidence && finding["proof"].as_str().is_some_and(|text| text.contains(proof))
    };
    assert!(findings.iter().any(told), "{sharing}");
}

#[test]
fn areas_of_real_cluster_software_are_seen() {
    check(&sbd(), "S1", "E5", "sbd: version 2, watchdog 10 s, messages 20 s, nodes node-one");
    let sanlock = made("sanlock.img", 8 * MIB, |path| {
        run("sanlock", ["direct", "init", "-s", &format!("LS:0:{path}:0")]);
    });
    check(&sanlock, "S1", "E5", "sanlock: lockspace LS");
    let resource = made("resource.img", 8 * MIB, |path| {
        run("sanlock", ["direct", "init", "-r", &format!("LS:RES:{path}:0")]);
    });
    check(&resource, "S1", "E5", "sanlock: resource LS RES");
}

#[test]
fn file_systems_of_clusters_are_told_from_those_for_one_machine() {
    check(&gfs2("lock_dlm"), "S1", "E4", "gfs2: lock_dlm mycl:fs");
    assert_eq!(sharing(&gfs2("lock_nolock"))["class"], "S0");
    for block in ["1024", "4096"] {
        let make = |kind: &'static [&'static str]| {
            made("ocfs2.img", 64 * MIB, |path| {
                let fixed = ["-q", "-F", "-x", "-b", block, "-N", "2", "-L", "data"];
                run("mkfs.ocfs2", fixed.iter().chain(kind).copied().chain([path]));
            })
        };
        let cluster = ["--cluster-stack=pcmk", "--cluster-name=hacluster"];
        check(&make(Box::leak(Box::new(cluster))), "S1", "E4", "ocfs2: stack pcmk cluster hacluster");
        assert_eq!(sharing(&make(&["-M", "local"]))["class"], "S0");
    }
    let mmp = made("mmp.img", 32 * MIB, |path| {
        run("mke2fs", ["-q", "-F", "-t", "ext4", "-O", "mmp", path]);
    });
    check(&mmp, "S2", "E5", "ext4-mmp: clean");
    let plain = made("plain.img", 32 * MIB, |path| {
        run("mke2fs", ["-q", "-F", "-t", "ext4", path]);
    });
    assert_eq!(sharing(&plain)["class"], "S0");
    // What sbd left in front of a file system that was made later: nobody can tell.
    plain.write(0, &fs::read(sbd().path).unwrap()[..512]);
    check(&plain, "S2", "E5", "beside ext4");
}

#[test]
fn types_of_partitions_are_seen() {
    let disk = SampleDisk::new("cluster.img", 32 * MIB);
    disk.sgdisk(&["-n1:1M:+8M", "-t1:DB97DBA9-0840-4BAE-97F0-FFB9A327C7E1"]);
    check(&disk, "S1", "E10", "Microsoft cluster metadata");
}

/// A restore that must be refused and leave every byte.
fn refused(target: &str, disk: &SampleDisk, arguments: &[&str], code: &str) -> Finished {
    let before = fs::read(&disk.path).unwrap();
    let fixed = ["restore", target, "node", disk.text(), "--json"];
    let finished = sosei(fixed.iter().chain(arguments)).expect(4);
    assert_eq!(finished.code(), code);
    assert!(fs::read(&disk.path).unwrap() == before, "{arguments:?}: refused, and written all the same");
    finished
}

#[test]
fn a_shared_disk_is_overwritten_only_by_its_name_and_with_all_nodes() {
    let source = SampleDisk::new("node.img", 8 * MIB);
    source.divide(512, "label: dos\nstart=2048, type=83\n");
    source.write(2 * MIB, &[7; 5000]);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", source.text()]).expect(0);
    let disk = sbd();
    refused(target, &disk, &["--yes"], "shared-scope");
    refused(target, &disk, &["--yes", "--scope", "one-node", "--confirm", "sbd.img"], "shared-scope");
    let finished = refused(target, &disk, &["--yes", "--scope", "all-nodes"], "shared-disk");
    let message = finished.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("S1") && message.contains("node-one"), "{message}");
    refused(target, &disk, &["--yes", "--scope", "all-nodes", "--confirm", "sdb.img"], "shared-disk");
    refused(target, &disk, &["--scope", "all-nodes", "--confirm", "sbd.img"], "not-confirmed");
    let confirmed = ["restore", target, "node", disk.text(), "--yes", "--scope", "all-nodes", "--confirm", "sbd.img"];
    sosei(confirmed).expect(0);
    sosei(["compare", target, "node", disk.text()]).expect(0);
}

#[test]
fn on_a_terminal_the_whole_word_is_asked_for() {
    let source = SampleDisk::new("node.img", 8 * MIB);
    source.write(2 * MIB, &[7; 5000]);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", source.text()]).expect(0);
    let disk = sbd();
    let before = fs::read(&disk.path).unwrap();
    let arguments = ["restore", target, "node", disk.text(), "--scope", "all-nodes"];
    // Whatever is asked after a wrong word is answered as if it had been the right one.
    let rest = format!("y\n{}\n", disk.text());
    let words = format!("OVERWRITE SHARED {}", disk.text());
    for typed in ["y", "yes", "OVERWRITE SHARED", &words.to_lowercase(), &words[..words.len() - 1], ""] {
        let finished = on_terminal(&arguments, &format!("{typed}\n{rest}"));
        assert_eq!(finished.status, 4, "{typed}: {}", finished.stdout);
        assert!(
            finished.stdout.contains("node-one") && finished.stdout.contains("[shared-disk]"),
            "{}",
            finished.stdout
        );
        assert!(fs::read(&disk.path).unwrap() == before, "{typed}");
    }
    let finished = on_terminal(&arguments, &format!("{words}\n{rest}"));
    assert_eq!(finished.status, 0, "{}", finished.stdout);
    sosei(["compare", target, "node", disk.text()]).expect(0);
}

#[test]
fn of_a_shared_disk_the_layout_is_saved_and_the_area_left_out() {
    let disk = SampleDisk::new("lun.img", 64 * MIB);
    disk.divide(512, "label: dos\nlabel-id: 0x22c779e1\nstart=2048, size=16384, type=83\nstart=32768, type=83\n");
    disk.write(MIB, &fs::read(sbd().path).unwrap());
    disk.write(20 * MIB, &[7; 5000]);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    let saved = sosei(["save", target, "node", disk.text()]).expect(0);
    assert!(saved.stderr.contains("left out: shared"), "{}", saved.stderr);
    let shown = sosei(["show", target, "node", "--json"]).expect(0).stdout;
    assert!(shown.contains("22c779e1") && shown.contains("shared-disk") && shown.contains("node-one"), "{shown}");
    let named = sosei(["save", target, "area", disk.text(), "--region", "p1", "--json"]).expect(4);
    assert_eq!(named.code(), "shared-disk");
    let alone = sbd();
    assert_eq!(sosei(["save", target, "alone", alone.text(), "--json"]).expect(4).code(), "shared-disk");
    sosei(["save", target, "alone", alone.text(), "--confirm", "sbd.img"]).expect(0);
    sosei(["compare", target, "alone", alone.text()]).expect(0);
}

#[test]
fn images_are_not_kept_on_a_disk_that_others_may_use() {
    let disk = made("lun.img", 32 * MIB, |path| {
        run("mke2fs", ["-q", "-F", "-t", "ext4", path]);
    });
    disk.write(0, &fs::read(sbd().path).unwrap()[..512]);
    let device = LoopDevice::attach(&disk.path, 512);
    let mounted = Mounted::new(device.path(), "rw");
    let source = SampleDisk::new("node.img", 8 * MIB);
    let target = mounted.path().to_str().unwrap();
    let refused = sosei(["save", target, "node", source.text(), "--json"]).expect(4);
    assert_eq!(refused.code(), "shared-images");
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("S2") && message.contains("beside ext4"), "{message}");
    let names: Vec<_> = fs::read_dir(target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["lost+found"]);
}

/// Files of a Btrfs say a device number that no device has, and the table of mounts names one of its devices.
#[test]
fn all_devices_under_a_btrfs_are_known() {
    let disks = ["one.img", "two.img"].map(|name| SampleDisk::new(name, 128 * MIB));
    let devices = disks.each_ref().map(|disk| LoopDevice::attach(&disk.path, 512));
    let paths = devices.each_ref().map(|device| device.path().to_str().unwrap());
    run("mkfs.btrfs", ["-q", "-f", "-d", "single", "-m", "single", paths[0], paths[1]]);
    disks[1].write(0, &fs::read(sbd().path).unwrap()[..512]);
    run("btrfs", ["device", "scan", paths[0], paths[1]]);
    let source = SampleDisk::new("node.img", 8 * MIB);
    {
        let mounted = Mounted::new(devices[0].path(), "rw");
        run("btrfs", ["subvolume", "create", mounted.path().join("images").to_str().unwrap()]);
        let target = mounted.path().join("images");
        let refused = sosei(["save", target.to_str().unwrap(), "node", source.text(), "--json"]).expect(4);
        assert_eq!(refused.code(), "shared-images");
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(paths[1]) && message.contains("beside btrfs"), "{message}");
        assert_eq!(fs::read_dir(target).unwrap().count(), 0);
    }
    run("btrfs", ["device", "scan", "--forget", paths[0], paths[1]]);
}
