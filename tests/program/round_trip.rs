//! A server of two disks is saved and restored onto disks that were full of something else; what the program wrote is
//! judged by the tools of the systems that use it, not by the program.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;

use block::{ReadAt, SectorSize};
use serde_json::{Value, json};
use tests::fill::content;
use tests::program::{Finished, command, sosei};
use tests::sample::{Content, Given, MIB, SampleDisk, check, copy, files, gpt_disk, mbr_disk, read};
use tests::{FileDisk, run};

/// Saves both disks as one image and restores it onto new ones, given as files or as loop devices.
fn check_round_trip(disks: [&SampleDisk; 2], sector_size: u32, as_devices: bool) {
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    let given_as = as_devices.then_some(sector_size);
    let before = disks.map(|disk| digest(&disk.path));
    let sources = disks.map(|disk| Given::new(&disk.path, given_as));
    let dumps = sources.each_ref().map(Given::dump);
    let arguments = ["save", target, "node", sources[0].text(), sources[1].text(), "--json", "--progress", "json"];
    let finished = sosei(arguments).expect(0);
    check_events(&finished, &["survey", "save"]);
    let saved = finished.json();
    assert_eq!(saved["totals"]["unreadable_bytes"], 0);
    let names = sources.each_ref().map(|source| source.path().file_stem().unwrap().to_str().unwrap().to_owned());
    drop(sources);
    assert_eq!(disks.map(|disk| digest(&disk.path)), before, "a source is only read");

    check_shown(target, disks, &names, sector_size);
    let files = disks.map(|disk| disk.destination("restored.img", disk.size()));
    disks.iter().zip(&files).for_each(|(disk, file)| leave_signatures(disk, file));
    let destinations = files.each_ref().map(|file| Given::new(file, given_as));
    let assigned: Vec<String> =
        names.iter().zip(&destinations).map(|(name, given)| format!("{name}={}", given.text())).collect();
    let with = |command: &'static str, rest: &[&'static str]| {
        let arguments = [command, target, "node", &assigned[0], &assigned[1]].map(str::to_owned);
        sosei(arguments.into_iter().chain(rest.iter().map(|rest| (*rest).to_owned())))
    };
    let restored = with("restore", &["--yes", "--json", "--progress", "json"]).expect(0);
    check_events(&restored, &["check", "restore", "read-back"]);
    assert!(restored.json()["read_back_bytes"].as_u64().unwrap() > MIB);
    assert_eq!(destinations.each_ref().map(Given::dump), dumps);
    check_tables(&destinations);
    let compared = with("compare", &["--json"]).expect(0).json();
    assert_eq!((&compared["equal"], &compared["comparison"]["not_in_image"]), (&json!(true), &json!([])));
    assert_eq!(compared["comparison"]["compared_bytes"].as_u64(), Some(saved_and_tables(&saved, disks, sector_size)));

    // One used byte of the XFS partition.
    let part = disks[0].part("p3");
    let middle = part.used.as_slice()[part.used.count() / 2];
    let place = part.start + middle.start() + 100;
    let good = read(&files[0], place, 1)[0];
    write(&destinations[0], place, &[!good]);
    let compared = with("compare", &["--json"]).expect(1).json();
    let region = format!("{}:p3", names[0]);
    let expected = json!([{ "region": region, "bytes": 1, "extents": [[place, 1]], "unreadable": [] }]);
    assert_eq!(compared["comparison"]["differences"], expected);
    let printed = with("compare", &["--lang", "ja"]).expect(1).stdout;
    assert!(printed.contains(&region) && printed.contains(&place.to_string()), "{printed}");
    write(&destinations[0], place, &[good]);
    with("compare", &[]).expect(0);

    drop(destinations);
    disks.iter().zip(&files).for_each(|(disk, file)| check_content(disk, file));
    sosei(["verify", target]).expect(0);
}

/// Standard error has nothing but events: the phases in their order, and no warning.
fn check_events(finished: &Finished, phases: &[&str]) {
    let events: Vec<Value> = finished.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let began = events.iter().filter(|event| event["event"] == "began");
    assert_eq!(began.map(|event| event["phase"].as_str().unwrap()).collect::<Vec<_>>(), phases);
    assert!(events.iter().all(|event| event["event"] != "warning"), "{events:?}");
    assert!(events.iter().any(|event| event["event"] == "progress"), "{events:?}");
}

fn digest(path: &Path) -> String {
    run("b2sum", [path])
}

fn write(given: &Given, place: u64, bytes: &[u8]) {
    let disk = OpenOptions::new().write(true).open(given.path()).unwrap();
    disk.write_all_at(bytes, place).unwrap();
    disk.sync_all().unwrap();
}

/// Everything outside the partitions of these samples is saved whole; tables are compared besides.
fn saved_and_tables(saved: &Value, disks: [&SampleDisk; 2], sector_size: u32) -> u64 {
    let sector_size = SectorSize::new(sector_size).unwrap();
    let tables = disks.map(|disk| {
        let layout = layout::read(&FileDisk::open(&disk.path).with_sector_size(sector_size)).unwrap();
        layout.table_sectors.iter().map(|table| table.extent.length()).sum::<u64>()
    });
    saved["totals"]["saved_bytes"].as_u64().unwrap() + tables.iter().sum::<u64>()
}

/// Leaves the signature of an old array (md 0.90) where systems look for it: near the end of each partition.
fn leave_signatures(disk: &SampleDisk, file: &Path) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    let mut superblock = vec![0; 4096];
    superblock[..12].copy_from_slice(&[0xFC, 0x4E, 0x2B, 0xA9, 0, 0, 0, 0, 90, 0, 0, 0]);
    for part in &disk.parts {
        file.write_all_at(&superblock, part.start + (part.size & !0xFFFF) - 0x1_0000).unwrap();
    }
}

fn signatures(image: &Path) -> String {
    run("wipefs", ["--no-act", "--noheadings", "--output", "OFFSET,TYPE,UUID", image.to_str().unwrap()])
}

/// What independent tools say of the tables.
fn check_tables(destinations: &[Given; 2]) {
    let verified = run("sgdisk", ["--verify", destinations[0].text()]);
    assert!(verified.contains("No problems found"), "{verified}");
    run("sfdisk", ["--verify", destinations[1].text()]);
}

/// Every used byte, gap and boot sector is as it was, and the file systems' own tools find nothing.
fn check_content(source: &SampleDisk, restored: &Path) {
    let (old, new) = (FileDisk::open(&source.path), FileDisk::open(restored));
    let equal = |start: u64, end: u64, what: &str| {
        let mut position = start;
        while position < end {
            let length = (end - position).min(MIB);
            let same = read(&source.path, position, length) == read(restored, position, length);
            assert!(same, "{what}: bytes from {position} differ");
            position += length;
        }
    };
    assert_eq!(old.size(), new.size());
    let mut outside = 0;
    for part in &source.parts {
        equal(outside, part.start, "before a partition");
        outside = part.start + part.size;
        for used in part.used.iter() {
            equal(part.start + used.start(), part.start + used.end(), part.name);
        }
        let image = tempfile::tempdir().unwrap();
        let image = image.path().join(part.name);
        std::fs::create_dir_all(image.parent().unwrap()).unwrap();
        copy(restored, part.start, part.size, &image, 0);
        check(&image, part.content);
        let original = image.with_extension("original");
        copy(&source.path, part.start, part.size, &original, 0);
        assert_eq!(signatures(&image), signatures(&original), "{}", part.name);
        std::fs::remove_file(&original).unwrap();
        assert_eq!(files(&image, part.content), part.tree, "{}", part.name);
        assert!(part.tree.len() > 20 || matches!(part.content, Content::Swap | Content::Raw), "{}", part.tree.len());
    }
    equal(outside, source.size(), "behind the partitions");
}

/// `show`, `images` and `disks` tell what the samples are, in both languages.
fn check_shown(target: &str, disks: [&SampleDisk; 2], names: &[String; 2], sector_size: u32) {
    let shown = sosei(["show", target, "node", "--json"]).expect(0).json();
    for ((disk, name), saved) in disks.iter().zip(names).zip(shown["manifest"]["disks"].as_array().unwrap()) {
        assert_eq!((&saved["name"], &saved["layout"]["disk_size"]), (&json!(name), &json!(disk.size())));
        assert_eq!(saved["layout"]["findings"], json!([]));
        assert_eq!(saved["layout"]["sector_size"], sector_size);
        for part in &disk.parts {
            let regions = saved["regions"].as_array().unwrap();
            let region = regions.iter().find(|region| region["name"] == part.name).unwrap();
            let (kind, method, reason) = match part.content {
                Content::Raw => (json!(null), "whole", json!("unrecognised")),
                known => (json!(kind_of(known)), "used", json!(null)),
            };
            assert_eq!(region["file_system"].get("kind").unwrap_or(&json!(null)), &kind, "{region}");
            assert_eq!((&region["coverage"]["method"], &region["coverage"]["reason"]), (&json!(method), &reason));
            let bytes = region["coverage"]["bytes"].as_u64().unwrap();
            // What partclone does not know of are journals, logs and the space behind the last whole block.
            let limit = if part.content == Content::Raw { part.size } else { part.used.total_bytes() + 12 * MIB };
            assert!(bytes <= limit, "{}: {bytes} bytes of {} used", part.name, part.used.total_bytes());
        }
    }
    let listed = sosei(["images", target, "--json"]).expect(0).json();
    let image = &listed["images"][0];
    assert_eq!((&image["name"], &image["state"], &image["disks"]), (&json!("node"), &json!("whole"), &json!(names)));
    for language in ["en", "ja"] {
        let shown = sosei(["show", target, "node", "--lang", language]).expect(0).stdout;
        for text in ["ext4", "xfs", "ntfs", "EFIシステム", "クラスタパーティション", names[0].as_str()] {
            assert!(shown.contains(text), "{text} in {shown}");
        }
        check_translated(&shown, language);
        check_translated(&sosei(["images", target, "--lang", language]).expect(0).stdout, language);
    }
}

fn kind_of(content: Content) -> &'static str {
    match content {
        Content::Fat => "vfat",
        Content::Ext3 => "ext3",
        Content::Ext4 => "ext4",
        Content::Xfs => "xfs",
        Content::Ntfs => "ntfs",
        Content::Swap => "swap",
        Content::Raw => "",
    }
}

/// A text without a translation is printed as its key, and a forgotten value as its placeholder.
fn check_translated(text: &str, language: &str) {
    let is_key = |word: &str| {
        let groups = ["show.", "coverage.", "region.", "table.", "disk.", "images.", "save.", "reason.", "note."];
        groups.iter().any(|group| word.starts_with(group))
    };
    let stray = text.split_whitespace().find(|word| is_key(word) || word.contains("%{"));
    assert_eq!(stray, None, "{language}: {text}");
}

#[test]
fn two_disks_of_512_byte_sectors_come_back_as_files_and_as_devices() {
    let disks = [gpt_disk("first.img", 512), mbr_disk("second.img", 512)];
    check_round_trip(disks.each_ref(), 512, false);
    check_round_trip(disks.each_ref(), 512, true);
    check_disks(disks.each_ref());
}

#[test]
fn two_disks_of_4096_byte_sectors_come_back() {
    let disks = [gpt_disk("first.img", 4096), mbr_disk("second.img", 4096)];
    check_round_trip(disks.each_ref(), 4096, true);
}

#[test]
fn two_machines_save_to_one_repository_at_once() {
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    let disks = ["left.img", "right.img"].map(|name| {
        let disk = SampleDisk::new(name, 24 * MIB);
        disk.write(0, &content(1, 20 * MIB as usize));
        disk
    });
    let save = |image: &str, disk: &SampleDisk| {
        command(["save", target, image, disk.text()]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let images = ["left", "right"];
    let running: Vec<_> = images.iter().zip(&disks).map(|(image, disk)| save(image, disk)).collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    sosei(["verify", target]).expect(0);
    for (image, disk) in images.iter().zip(&disks) {
        sosei(["compare", target, image, disk.text()]).expect(0);
    }
    // A third has nothing new to store.
    let third = sosei(["save", target, "third", disks[0].text(), "--json"]).expect(0).json();
    assert_eq!((&third["totals"]["new_bytes"], &third["totals"]["known_bytes"]), (&json!(0), &json!(20 * MIB)));
}

#[test]
fn what_an_operator_says_of_an_image_is_kept() {
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    let disk = SampleDisk::new("odd.img", MIB + 777);
    disk.write(0, &content(1, MIB as usize + 777));
    let words = ["--note", "更新前 \"朝\"", "--set", "set-1", "--level", "19"];
    sosei(["save", target, "node", disk.text()].iter().chain(&words)).expect(0);
    let shown = sosei(["show", target, "node"]).expect(0).stdout;
    assert!(shown.contains("更新前 \"朝\"") && shown.contains("set-1"), "{shown}");
    let listed = sosei(["images", target, "--json"]).expect(0).json();
    assert_eq!((&listed["images"][0]["note"], &listed["images"][0]["set"]), (&json!("更新前 \"朝\""), &json!("set-1")));
    // A file that is no whole number of sectors comes back to its last byte.
    let destination = disk.destination("destination.img", disk.size());
    sosei(["restore", target, "node", destination.to_str().unwrap(), "--yes"]).expect(0);
    assert!(read(&destination, 0, disk.size()) == read(&disk.path, 0, disk.size()));
}

/// `sosei disks` agrees with sfdisk about the tables, and with blkid about what is in the partitions.
fn check_disks(disks: [&SampleDisk; 2]) {
    let listed = sosei(["disks", disks[0].text(), disks[1].text(), "--json"]).expect(0).json();
    for (disk, listed) in disks.iter().zip(listed["disks"].as_array().unwrap()) {
        let theirs: Value = serde_json::from_str(&run("sfdisk", ["--json", disk.text()])).unwrap();
        let id = theirs["partitiontable"]["id"].as_str().unwrap().to_lowercase();
        assert_eq!(listed["signature"].as_str().unwrap(), id.trim_start_matches("0x"));
        for part in &disk.parts {
            let regions = listed["regions"].as_array().unwrap();
            let region = regions.iter().find(|region| region["name"] == part.name).unwrap();
            assert_eq!(region["extent"], json!([part.start, part.size]));
            if matches!(part.content, Content::Raw) {
                continue;
            }
            let offset = part.start.to_string();
            let probe = ["--probe", "--offset", &offset, "--size", &part.size.to_string(), "-o", "value", "-s"];
            for (field, tag) in [("uuid", "UUID"), ("kind", "TYPE")] {
                let known = run("blkid", probe.iter().copied().chain([tag, disk.text()]));
                assert_eq!(region["file_system"][field].as_str().unwrap(), known.trim(), "{}", part.name);
            }
        }
    }
    for language in ["en", "ja"] {
        let printed = sosei(["disks", disks[0].text(), "--lang", language]).expect(0).stdout;
        assert!(printed.contains("クラスタパーティション") && printed.contains("ext4"), "{printed}");
        check_translated(&printed, language);
    }
}
