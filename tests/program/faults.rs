//! Targets that are full or broken, disks with bad sectors, repositories with flipped bits, operators who stop.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::program::{sosei, sosei_with, tampered};
use tests::restored::FILL;
use tests::sample::{Content, MIB, SampleDisk, read};
use tests::{LoopDevice, Mounted, run, run_status};

/// A disk with an ext4 partition and a raw one.
fn disk(raw: u64) -> SampleDisk {
    let mut disk = SampleDisk::new("node.img", (18 + raw) * MIB);
    disk.divide(512, &format!("label: dos\nstart=1MiB, size=16MiB, type=83\nstart=17MiB, size={raw}MiB, type=da\n"));
    disk.add("p1", MIB, 16 * MIB, Content::Ext4, 512);
    disk.add("p2", 17 * MIB, raw * MIB, Content::Raw, 512);
    disk
}

/// A small file system as a target, on a loop device over a file.
struct SmallTarget {
    mounted: Mounted,
    device: LoopDevice,
    file: SampleDisk,
}

impl SmallTarget {
    fn new(size: u64) -> Self {
        let file = SampleDisk::new("target.img", size);
        run("mke2fs", ["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", file.text()]);
        let device = LoopDevice::attach(&file.path, 512);
        Self { mounted: Mounted::new(device.path(), "errors=continue"), device, file }
    }

    fn text(&self) -> &str {
        self.mounted.path().to_str().unwrap()
    }
}

fn chunks(target: &str) -> u64 {
    sosei(["verify", target, "--json"]).expect(0).json()["verification"]["chunks"].as_u64().unwrap()
}

fn check_no_table(disk: &str) {
    let dumped = run_status("sfdisk", ["--dump", disk]);
    assert!(!dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stdout));
}

#[test]
fn a_save_onto_a_full_target_is_finished_when_there_is_room() {
    let disk = disk(60);
    let whole = tempfile::tempdir().unwrap();
    sosei(["save", whole.path().to_str().unwrap(), "node", disk.text()]).expect(0);
    let target = SmallTarget::new(128 * MIB);
    let filler = target.mounted.path().join("filler");
    fs::write(&filler, vec![1; 70 * MIB as usize]).unwrap();
    let arguments = ["save", target.text(), "node", disk.text(), "--json"];
    let full = sosei(arguments).expect(1);
    assert_eq!(full.code(), "target-full");
    let error = &full.json()["error"];
    assert!(error["next"].as_str().unwrap().contains("run the same command again"), "{error}");
    assert!(error["state"].as_str().unwrap().contains("does not exist"), "{error}");
    let listed = sosei(["images", target.text(), "--json"]).expect(0).json();
    assert_eq!(listed["images"], json!([{ "name": "node", "state": "unfinished" }]));
    // Nothing was freed: it fails in the same way, and what is stored stays.
    assert_eq!(sosei(arguments).expect(1).code(), "target-full");
    assert!(chunks(target.text()) > 20);
    fs::remove_file(&filler).unwrap();
    let saved = sosei(arguments).expect(0).json();
    assert!(saved["totals"]["known_bytes"].as_u64().unwrap() > 5 * MIB, "{saved}");
    assert_eq!(chunks(target.text()), chunks(whole.path().to_str().unwrap()), "nothing is stored twice");
    sosei(["compare", target.text(), "node", disk.text()]).expect(0);
}

#[test]
fn a_target_that_breaks_ends_the_save() {
    let disk = disk(40);
    let target = SmallTarget::new(128 * MIB);
    // From now on the medium ends after 8 MiB: an I/O error is all that a writer behind them gets.
    OpenOptions::new().write(true).open(&target.file.path).unwrap().set_len(8 * MIB).unwrap();
    run("losetup", ["--set-capacity", target.device.path().to_str().unwrap()]);
    let broken = sosei(["save", target.text(), "node", disk.text(), "--json"]).expect(1);
    assert_eq!(broken.code(), "target-failed");
    assert!(!target.mounted.path().join("images/node/manifest.json").exists());
}

#[test]
fn any_call_to_the_target_may_fail() {
    let disk = disk(4);
    let mut points = 0;
    for call in ["fsync", "rename", "renameat2", "write"] {
        for number in 1..=20 {
            let repository = tempfile::tempdir().unwrap();
            let target = repository.path().to_str().unwrap();
            let arguments = ["save", target, "node", disk.text(), "--progress", "none", "--json"];
            let failed = tampered(&format!("{call}:error=EIO:when={number}"), arguments);
            let exists = repository.path().join("images/node/manifest.json").exists();
            if failed.status == 0 {
                // Of the log, only the end must be written.
                assert!(exists && call == "write" || number > 1, "{call} {number}");
                sosei(["compare", target, "node", disk.text()]).expect(0);
                continue;
            }
            // A directory that can't be made stable is a failure too, though the image can already be seen.
            assert_eq!(failed.status, 1, "{call} {number}: {failed:?}");
            assert_eq!(failed.code(), "target-failed", "{call} {number}");
            if exists {
                sosei(["compare", target, "node", disk.text()]).expect(0);
            } else {
                sosei(arguments).expect(0);
            }
            sosei(["verify", target]).expect(0);
            points += 1;
        }
    }
    assert!(points > 15, "{points} points");
}

#[test]
fn a_destination_that_fails_has_no_table() {
    let disk = disk(4);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text()]).expect(0);
    let destination = disk.destination("destination.img", disk.size());
    let arguments = ["restore", target, "node", destination.to_str().unwrap(), "--yes", "--json"];
    for (call, code) in [("pwrite64", "destination-failed"), ("fsync", "destination-failed")] {
        for number in 1.. {
            sosei(arguments).expect(0);
            let failed = tampered(&format!("{call}:error=EIO:when={number}"), arguments);
            if failed.status == 0 {
                break;
            }
            assert_eq!((failed.status, failed.code().as_str()), (1, code), "{call} {number}");
            // The call that makes the last sector stable may fail after the sector was written.
            if run_status("sfdisk", ["--dump", destination.to_str().unwrap()]).status.success() {
                sosei(["compare", target, "node", destination.to_str().unwrap()]).expect(0);
            }
        }
    }
}

#[test]
fn bad_sectors_are_listed_and_everything_else_comes_back() {
    let disk = disk(8);
    let original = disk.destination("original.img", disk.size());
    fs::copy(&disk.path, &original).unwrap();
    let device = LoopDevice::attach(&disk.path, 512);
    // From here on the medium can't be read, in the middle of a chunk of the raw partition.
    let (size, bad) = (disk.size(), 22 * MIB + 100 * 512);
    OpenOptions::new().write(true).open(&disk.path).unwrap().set_len(bad).unwrap();
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    let path = device.path().to_str().unwrap();
    let saved = sosei(["save", target, "node", path, "--json", "--progress", "json"]).expect(3);
    let unreadable = size - bad;
    assert_eq!(saved.json()["totals"]["unreadable_bytes"], unreadable);
    for event in ["retrying", "unreadable"] {
        assert!(saved.stderr.contains(&format!(r#""event":"{event}""#)), "{}", saved.stderr);
    }
    drop(device);
    check_report_of_save(target, saved.json()["report"].as_str().unwrap(), unreadable);

    let (place, rest) = (bad - 17 * MIB, 25 * MIB - bad);
    let manifest = &sosei(["show", target, "node", "--json"]).expect(0).json()["manifest"];
    let regions = manifest["disks"][0]["regions"].as_array().unwrap();
    let region = regions.iter().find(|region| region["name"] == "p2").unwrap();
    assert_eq!(region["unreadable"], json!([[place, rest]]));
    let shown = sosei(["show", target, "node"]).expect(0).stdout;
    assert!(shown.contains(&format!("p2: {rest} bytes from {place} of the region")), "{shown}");

    let destination = disk.destination("destination.img", size);
    let restored = sosei(["restore", target, "node", destination.to_str().unwrap(), "--yes"]).expect(3);
    assert!(restored.stdout.contains(":p2:"), "tells what is missing: {}", restored.stdout);
    check_report_of_restore(target, &restored.stdout, destination.to_str().unwrap());
    sosei(["compare", target, "node", destination.to_str().unwrap()]).expect(0);
    for used in disk.part("p1").used.iter() {
        let (start, length) = (MIB + used.start(), used.length());
        assert!(read(&destination, start, length) == read(&original, start, length), "p1 from {start}");
    }
    assert!(read(&destination, 17 * MIB, place) == read(&original, 17 * MIB, place), "what could be read of p2");
    assert!(block::is_zero(&read(&destination, bad, rest)), "what could not is zero");
    sosei(["verify", target]).expect(0);
}

/// Reads the reports of a save in both languages.
fn check_report_of_save(target: &str, path: &str, unreadable: u64) {
    assert_eq!(path, "images/node/report.en.txt");
    let english = fs::read_to_string(Path::new(target).join(path)).unwrap();
    let japanese = fs::read_to_string(Path::new(target).join("images/node/report.ja.txt")).unwrap();
    let size = "4 MiB";
    assert!((4 * MIB - 60 * 1024..=4 * MIB).contains(&unreadable), "{unreadable}");
    let version = env!("CARGO_PKG_VERSION");
    for text in [&*format!("{size} could not be read"), "whole 8 MiB: its metadata can't be read", "Linux"] {
        assert!(english.contains(text), "{text}: {english}");
    }
    for text in ["tried again", "can't be read", "images/node/checklist.en.txt", "MBR", &format!("sosei {version}")] {
        assert!(english.contains(text), "{text}: {english}");
    }
    for text in ["読み取れなかった", "再試行", "images/node/checklist.ja.txt", "全領域", size] {
        assert!(japanese.contains(text), "{text}: {japanese}");
    }
    let left = ["could not be read", "whole", "used"].into_iter().find(|text| japanese.contains(text));
    assert_eq!(left, None, "it is all in one language: {japanese}");
    let shown = sosei(["show", target, "node"]).expect(0).stdout;
    assert!(shown.contains(path), "{shown}");
}

/// Reads the report that a restore has named, and restores once more from a target that nobody can write to.
fn check_report_of_restore(target: &str, told: &str, destination: &str) {
    let named = |told: &str, end: &str| {
        let words = told.split_whitespace().find(|word| word.contains("restore-") && word.ends_with(end));
        words.unwrap_or_else(|| panic!("names no report: {told}")).to_owned()
    };
    let path = named(told, ".en.txt");
    let report = fs::read_to_string(Path::new(target).join(&path)).unwrap();
    for text in [destination, "p2:", "read back", &format!("sosei {}", env!("CARGO_PKG_VERSION"))] {
        assert!(report.contains(text), "{text}: {report}");
    }
    let names = || fs::read_dir(Path::new(target).join("images/node")).unwrap().count();
    let (count, elsewhere) = (names(), tempfile::tempdir().unwrap());
    let protected = Mounted::new(Path::new(target), "bind,ro");
    let arguments = ["restore", protected.path().to_str().unwrap(), "node", destination, "--yes", "--lang", "ja"];
    let restored = sosei_with(&[("TMPDIR", elsewhere.path().to_str().unwrap())], arguments).expect(3);
    assert_eq!(names(), count);
    let (start, end) = (restored.stdout.find(elsewhere.path().to_str().unwrap()), restored.stdout.find(".ja.txt"));
    let kept = &restored.stdout[start.unwrap()..end.unwrap() + ".ja.txt".len()];
    assert!(fs::read_to_string(kept).unwrap().contains(destination), "{}", restored.stdout);
}

#[test]
fn a_report_tells_what_was_left_out() {
    let disk = disk(8);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text(), "--region", "p2"]).expect(0);
    let report = fs::read_to_string(repository.path().join("images/node/report.en.txt")).unwrap();
    let lines: Vec<&str> = report.lines().filter(|line| line.contains("left out: not chosen")).collect();
    assert!(lines.iter().any(|line| line.trim_start().starts_with("p1")), "{report}");
    assert!(!lines.iter().any(|line| line.trim_start().starts_with("p2")), "{report}");
    assert!(report.contains("Everything that was to be saved could be read."), "{report}");
}

/// All files of a repository that hold something of an image.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.extension().and_then(|extension| extension.to_str()) {
            _ if path.is_dir() => found.extend(files(&path)),
            Some("json" | "map" | "pack") => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

/// Runs `check` with one bit of every file flipped at many places, one after the other.
fn with_flipped_bits(repository: &Path, places: u64, mut check: impl FnMut(&Path, u64)) {
    for path in files(repository) {
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        let mut sampled: Vec<u64> = (0..places).map(|number| length * number / places).collect();
        sampled.extend([4, 20, 60].into_iter().filter(|place| *place < length));
        sampled.extend((1..40.min(length)).step_by(8).map(|from_end| length - from_end));
        for place in sampled {
            let mut byte = [0];
            file.read_exact_at(&mut byte, place).unwrap();
            file.write_all_at(&[byte[0] ^ 1], place).unwrap();
            check(&path, place);
            file.write_all_at(&byte, place).unwrap();
        }
    }
}

#[test]
fn a_flipped_bit_is_found_and_never_restored() {
    let disk = disk(2);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text()]).expect(0);
    let destination = disk.destination("destination.img", disk.size());
    let path = destination.to_str().unwrap();
    let clean = fs::read(&destination).unwrap();
    with_flipped_bits(repository.path(), 10, |file, place| {
        let what = format!("{} at {place}", file.display());
        let verified = sosei(["verify", target, "--json"]).expect(5).json();
        let kind = file.extension().unwrap().to_str().unwrap();
        let image = &verified["verification"]["images"][0];
        match kind {
            "json" if file.ends_with("sosei.json") => assert_eq!(verified["error"]["code"], "damaged", "{what}"),
            "json" => assert!(image["damage"].is_string(), "{what}: {verified}"),
            "map" => {
                let region = file.file_stem().unwrap().to_str().unwrap().replace('.', ":");
                assert_eq!(image["regions"][0]["region"], region, "{what}: {verified}");
            }
            _ => check_pack_damage(&verified, &what),
        }
        let restored = sosei(["restore", target, "node", path, "--yes", "--json"]);
        // A pack whose index can't be read is read forwards: nothing may be lost then.
        if restored.status == 0 && kind == "pack" {
            assert_eq!(image["regions"], json!([]), "{what}");
            sosei(["compare", target, "node", path]).expect(0);
        } else {
            assert_eq!(restored.expect(5).code(), "damaged", "{what}");
            let untouched = fs::read(&destination).unwrap() == clean;
            assert!(untouched || kind == "pack", "{what}: the destination was written");
            check_no_table(path);
        }
        File::create(&destination).unwrap().write_all_at(&vec![FILL; clean.len()], 0).unwrap();
    });
    sosei(["verify", target]).expect(0);
}

#[test]
fn a_missing_or_shortened_file_is_found_without_reading_the_chunks() {
    let disk = disk(2);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text()]).expect(0);
    let destination = disk.destination("destination.img", disk.size());
    let path = destination.to_str().unwrap();
    let clean = fs::read(&destination).unwrap();
    let of_image = files(repository.path()).into_iter().filter(|file| file.extension().unwrap() != "json");
    for (file, is_removed) in of_image.flat_map(|file| [(file.clone(), true), (file, false)]) {
        let bytes = fs::read(&file).unwrap();
        if is_removed {
            fs::remove_file(&file).unwrap();
        } else {
            fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        }
        for arguments in [&["verify", target, "--quick", "--json"][..], &["verify", target, "node", "--json"]] {
            let verified = sosei(arguments).expect(5).json();
            let region = verified["verification"]["images"][0]["regions"][0]["region"].as_str();
            let message = verified["error"]["message"].as_str().unwrap_or_default();
            let is_named = message.contains(file.file_name().unwrap().to_str().unwrap());
            let is_told = region.is_some_and(|region| region.starts_with("node:")) || is_named;
            assert!(is_told, "{}: {verified}", file.display());
        }
        let restored = sosei(["restore", target, "node", path, "--yes", "--json"]).expect(5);
        assert_eq!(restored.code(), "damaged");
        assert!(fs::read(&destination).unwrap() == clean, "{}: the destination was written", file.display());
        fs::write(&file, &bytes).unwrap();
    }
    sosei(["verify", target, "node", "--quick"]).expect(0);
}

/// A damaged pack is named, with the regions that it hits.
fn check_pack_damage(verified: &Value, what: &str) {
    let verification = &verified["verification"];
    let packs = verification["damaged_packs"].as_array().unwrap();
    assert_eq!(packs.len(), 1, "{what}: {verified}");
    let path = packs[0]["path"].as_str().unwrap();
    assert!(what.contains(path), "{what}: {path}");
}

#[test]
fn a_save_that_is_stopped_goes_on_when_it_is_run_again() {
    let disk = disk(40);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    let arguments = ["save", target, "node", disk.text(), "--json"];
    let stopped = tampered("write:signal=SIGINT:when=20", arguments).expect(130);
    assert_eq!(stopped.code(), "cancelled");
    assert!(stopped.json()["error"]["next"].as_str().unwrap().contains("same command again"));
    let kept = chunks(target);
    assert!(kept > 0, "what was stored is kept");
    let saved = sosei(arguments).expect(0).json();
    assert!(saved["totals"]["known_bytes"].as_u64().unwrap() > 0, "{saved}");
    assert!(chunks(target) > kept);
    sosei(["compare", target, "node", disk.text()]).expect(0);
}

#[test]
fn a_restore_that_is_stopped_says_so_and_leaves_no_table() {
    let disk = disk(40);
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text()]).expect(0);
    let destination = disk.destination("destination.img", disk.size());
    let path = destination.to_str().unwrap();
    let arguments = ["restore", target, "node", path, "--yes", "--json"];
    // After the table was cleared, after the data was written, and after what makes file systems recognisable was.
    for (signal, number) in [("SIGINT", 1), ("SIGTERM", 2), ("SIGHUP", 3)] {
        sosei(arguments).expect(0);
        let stopped = tampered(&format!("fsync:signal={signal}:when={number}"), arguments).expect(130);
        assert_eq!(stopped.code(), "cancelled");
        assert!(stopped.json()["error"]["state"].as_str().unwrap().contains(path), "{stopped:?}");
        check_no_table(path);
    }
    sosei(arguments).expect(0);
    sosei(["compare", target, "node", path]).expect(0);
}

#[test]
fn a_pack_that_can_not_be_read_blocks_nothing_that_does_not_need_it() {
    let target = tempfile::tempdir().unwrap();
    let text = target.path().to_str().unwrap();
    let packs = || {
        let printed = run("find", [text, "-name", "*.pack"]);
        let found: Vec<PathBuf> = printed.lines().map(PathBuf::from).collect();
        found
    };
    let make = |name: &str, byte: u8| {
        let disk = SampleDisk::new(name, 8 * MIB);
        disk.write(MIB, &vec![byte; 3 * MIB as usize]);
        disk
    };
    let (node, other) = (make("node.img", 1), make("other.img", 2));
    sosei(["save", text, "node", node.text()]).expect(0);
    let lost = packs();
    sosei(["save", text, "other", other.text()]).expect(0);
    // Opening it fails as a bad sector under its directory entry would.
    for pack in &lost {
        fs::rename(pack, pack.with_extension("kept")).unwrap();
        std::os::unix::fs::symlink(pack, pack).unwrap();
    }
    let destination = other.destination("new.img", 8 * MIB);
    let new = destination.to_str().unwrap();
    sosei(["restore", text, "other", new, "--yes"]).expect(0);
    sosei(["compare", text, "other", new]).expect(0);
    let failed = sosei(["restore", text, "node", new, "--yes", "--json"]).expect(5);
    assert_eq!(failed.code(), "damaged");
    assert!(failed.stdout.contains("no pack holds the chunk"), "{}", failed.stdout);
    sosei(["compare", text, "other", new]).expect(0);
    let verified = sosei(["verify", text]).expect(5).stdout;
    assert!(verified.contains("! node: node:disk: damaged chunks: 1"), "{verified}");
    assert!(verified.contains("other: good"), "{verified}");
    // What only that pack held is stored again.
    sosei(["save", text, "again", node.text()]).expect(0);
    sosei(["restore", text, "again", new, "--yes"]).expect(0);
    sosei(["compare", text, "again", new]).expect(0);
}

#[test]
fn a_target_that_may_become_full_is_told_before_and_while() {
    let disk = disk(60);
    let save = |target: &SmallTarget, status: i32| {
        let arguments = ["save", target.text(), "node", disk.text(), "--progress", "json"];
        let printed = sosei(arguments).expect(status).stderr;
        let events = printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == "space").map(|event| event["most"].is_u64()).collect::<Vec<_>>()
    };
    assert_eq!(save(&SmallTarget::new(48 * MIB), 1), [true]);
    // Room for all, but hardly for another pack.
    assert_eq!(save(&SmallTarget::new(160 * MIB), 0), [false]);
    assert_eq!(save(&SmallTarget::new(900 * MIB), 0), Vec::<bool>::new());
    let full = SmallTarget::new(48 * MIB);
    let printed = sosei(["--lang", "ja", "save", full.text(), "node", disk.text()]).expect(1).stderr;
    assert!(printed.contains("保存先の空きは"), "{printed}");
}
