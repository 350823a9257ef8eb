//! What the program refuses, and that it changes nothing then.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;
use std::process::Command;

use tests::fill::content;
use tests::program::{on_terminal, sosei};
use tests::sample::{MIB, SampleDisk};
use tests::{LoopDevice, Mounted, Protected, run};

/// A repository with an image `node` of a disk with an MBR.
struct Saved {
    repository: tempfile::TempDir,
    disk: SampleDisk,
}

impl Saved {
    fn new() -> Self {
        let disk = SampleDisk::new("node.img", 16 * MIB);
        disk.divide(512, "label: dos\nstart=1MiB, size=4MiB, type=83\nstart=6MiB, size=10MiB, type=83\n");
        disk.write(MIB, &content(1, 3 * MIB as usize));
        disk.write(6 * MIB, &content(2, 9 * MIB as usize));
        let repository = tempfile::tempdir().unwrap();
        let saved = Self { repository, disk };
        sosei(["save", saved.target(), "node", saved.disk.text()]).expect(0);
        saved
    }

    fn target(&self) -> &str {
        self.repository.path().to_str().unwrap()
    }

    /// A disk of another size that holds something.
    fn destination(&self, size: u64) -> SampleDisk {
        let disk = SampleDisk::new("destination.img", size);
        disk.sgdisk(&["-n1:0:0"]);
        disk
    }

    /// Runs a command that must be refused with this status and code, and changes neither repository nor `disk`.
    #[track_caller]
    fn check_refused(&self, arguments: &[&str], disk: &Path, status: i32, code: &str) {
        let before = (digest(self.repository.path()), digest(disk));
        let finished = sosei(arguments.iter().chain(&["--json"])).expect(status);
        assert_eq!((finished.code().as_str(), finished.stderr.as_str()), (code, ""));
        assert_eq!((digest(self.repository.path()), digest(disk)), before, "{code}: nothing is changed");
        let japanese = sosei(arguments.iter().chain(&["--lang", "ja"])).expect(status);
        assert!(japanese.stderr.contains(&format!("[{code}]")), "{}", japanese.stderr);
        assert!(japanese.stderr.contains("エラー") && !japanese.stderr.contains("%{"), "{}", japanese.stderr);
        assert_eq!(japanese.stdout, "");
    }
}

/// All names and bytes under a directory, or the bytes of a disk.
fn digest(path: &Path) -> String {
    if path.is_dir() {
        let list = format!("cd '{}' && find . -type f -print0 | sort -z | xargs -0 b2sum", path.display());
        run("sh", ["-c", &list])
    } else {
        run("b2sum", [path])
    }
}

#[test]
fn an_image_is_never_overwritten() {
    let saved = Saved::new();
    let arguments = ["save", saved.target(), "node", saved.disk.text()];
    saved.check_refused(&arguments, &saved.disk.path, 4, "image-exists");
}

#[test]
fn a_destination_that_is_too_small_is_told_by_how_much() {
    let saved = Saved::new();
    let small = saved.destination(15 * MIB);
    let arguments = ["restore", saved.target(), "node", small.text(), "--yes"];
    saved.check_refused(&arguments, &small.path, 4, "too-small");
    let printed = sosei(arguments).expect(4).stderr;
    for number in [16 * MIB, 15 * MIB, MIB] {
        assert!(printed.contains(&number.to_string()), "{number} in {printed}");
    }
}

#[test]
fn other_sectors_are_refused() {
    let saved = Saved::new();
    let file = saved.destination(16 * MIB);
    let device = LoopDevice::attach(&file.path, 4096);
    let arguments = ["restore", saved.target(), "node", device.path().to_str().unwrap(), "--yes"];
    saved.check_refused(&arguments, device.path(), 4, "sector-size");
}

#[test]
fn what_is_in_use_is_refused() {
    let saved = Saved::new();
    let file = saved.destination(16 * MIB);
    run("mke2fs", ["-q", "-F", file.text()]);
    let device = LoopDevice::attach(&file.path, 512);
    let path = device.path().to_str().unwrap();
    {
        let mounted = Mounted::new(device.path(), "ro");
        let arguments = ["restore", saved.target(), "node", path, "--yes"];
        saved.check_refused(&arguments, &file.path, 4, "disk-in-use");
        let printed = sosei(arguments).expect(4).stderr;
        assert!(printed.contains(mounted.path().to_str().unwrap()), "says where: {printed}");
        saved.check_refused(&["save", saved.target(), "other", path], &file.path, 4, "disk-in-use");
    }
    // A partition that is mounted keeps its whole disk.
    file.sgdisk(&["-o", "-n1:1M:+8M"]);
    run("partx", ["--add", path]);
    let partition = format!("{path}p1");
    run("mke2fs", ["-q", "-F", &partition]);
    {
        let _mounted = Mounted::new(Path::new(&partition), "ro");
        saved.check_refused(&["restore", saved.target(), "node", path, "--yes"], &file.path, 4, "disk-in-use");
        saved.check_refused(&["save", saved.target(), "other", path], &file.path, 4, "disk-in-use");
        saved.check_refused(&["save", saved.target(), "other", &partition], &file.path, 2, "partition");
    }
    run("partx", ["--delete", path]);
    // The file behind a loop device is in use too.
    saved.check_refused(&["restore", saved.target(), "node", file.text(), "--yes"], &file.path, 4, "disk-in-use");
}

#[test]
fn a_write_protected_disk_is_refused() {
    let saved = Saved::new();
    let file = saved.destination(16 * MIB);
    let device = LoopDevice::attach_read_only(&file.path);
    let path = device.path().to_str().unwrap();
    saved.check_refused(&["restore", saved.target(), "node", path, "--yes"], &file.path, 4, "read-only");
    sosei(["save", saved.target(), "other", path]).expect(0);
}

#[test]
fn a_disk_that_the_medium_protects_is_writable_while_it_is_restored() {
    let saved = Saved::new();
    let file = saved.destination(16 * MIB);
    let device = LoopDevice::attach(&file.path, 512);
    let path = device.path().to_str().unwrap();
    let protected = Protected::new(&device);
    sosei(["save", saved.target(), "other", path]).expect(0);
    assert!(protected.is_read_only());
    sosei(["restore", saved.target(), "node", path, "--yes"]).expect(0);
    assert!(protected.is_read_only());
    sosei(["compare", saved.target(), "node", path]).expect(0);
    // The same flag, but nobody knows who set it.
    protected.forget();
    saved.check_refused(&["restore", saved.target(), "node", path, "--yes"], &file.path, 4, "read-only");
}

#[test]
fn one_image_is_saved_by_one_session() {
    let saved = Saved::new();
    let lock = saved.repository.path().join("locks/save-other");
    let held = File::create(lock).unwrap();
    held.lock().unwrap();
    let arguments = ["save", saved.target(), "other", saved.disk.text()];
    saved.check_refused(&arguments, &saved.disk.path, 4, "image-busy");
    drop(held);
    sosei(arguments).expect(0);
}

#[test]
fn the_disk_of_the_repository_is_refused() {
    let saved = Saved::new();
    let inside = saved.repository.path().join("disk.img");
    File::create(&inside).unwrap().set_len(16 * MIB).unwrap();
    let arguments = ["restore", saved.target(), "node", inside.to_str().unwrap(), "--yes"];
    saved.check_refused(&arguments, &inside, 4, "repository-disk");
    let arguments = ["save", saved.target(), "other", inside.to_str().unwrap()];
    saved.check_refused(&arguments, &inside, 4, "repository-disk");
    std::fs::remove_file(&inside).unwrap();

    // A repository on a file system on a disk, and that disk or the file behind it.
    let disk = SampleDisk::new("target.img", 64 * MIB);
    run("mke2fs", ["-q", "-F", "-t", "ext4", disk.text()]);
    let device = LoopDevice::attach(&disk.path, 512);
    let mounted = Mounted::new(device.path(), "rw");
    let target = mounted.path().to_str().unwrap();
    sosei(["save", target, "node", saved.disk.text()]).expect(0);
    for named in [device.path(), &disk.path] {
        for command in ["restore", "save"] {
            let image = if command == "save" { "other" } else { "node" };
            let mut arguments = vec![command, target, image, named.to_str().unwrap(), "--json"];
            arguments.extend((command == "restore").then_some("--yes"));
            let code = sosei(arguments).expect(4).code();
            assert_eq!(code, "repository-disk", "{command} {}", named.display());
        }
    }
}

#[test]
fn without_a_terminal_somebody_must_have_said_yes() {
    let saved = Saved::new();
    let disk = saved.destination(16 * MIB);
    saved.check_refused(&["restore", saved.target(), "node", disk.text()], &disk.path, 4, "not-confirmed");
}

#[test]
fn one_signature_is_not_attached_twice() {
    let saved = Saved::new();
    let original = LoopDevice::attach(&saved.disk.path, 512);
    let disk = saved.destination(16 * MIB);
    let mut arguments = vec!["restore", saved.target(), "node", disk.text(), "--yes"];
    saved.check_refused(&arguments, &disk.path, 4, "same-signature");
    let original = original.path().to_str().unwrap();
    assert!(sosei(&arguments).expect(4).stderr.contains(&format!("--confirm {original}")));
    // The disk that is overwritten is no other disk.
    arguments.extend(["--confirm", original]);
    sosei(&arguments).expect(0);
    sosei(["compare", saved.target(), "node", disk.text()]).expect(0);
}

#[test]
fn every_wrong_request_has_its_status() {
    let saved = Saved::new();
    let (target, disk) = (saved.target(), saved.disk.text());
    let directory = tempfile::tempdir().unwrap();
    let (empty, absent) = (directory.path().to_str().unwrap(), "/nowhere/at/all");
    let link = format!("{empty}/link");
    std::os::unix::fs::symlink(disk, &link).unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["restore", target, "unknown", disk, "--yes"], 1, "no-image"),
        (&["show", target, "unknown"], 1, "no-image"),
        (&["verify", target, "unknown"], 1, "no-image"),
        (&["compare", target, "unknown", disk], 1, "no-image"),
        (&["images", empty], 1, "no-repository"),
        (&["images", absent], 1, "target-absent"),
        (&["save", absent, "new", disk], 1, "target-absent"),
        (&["save", target, "new", absent], 1, "disk-absent"),
        (&["save", target, "new", empty], 2, "not-a-disk"),
        (&["save", target, "new", disk, "--region", "p9"], 2, "no-region"),
        (&["save", target, "new", disk, disk], 2, "disk-twice"),
        (&["save", "gopher://host/export", "new", disk], 2, "target-unknown"),
        (&["save", "nfs://host", "new", disk], 2, "target-address"),
        (&["save", "smb://user@host/share/%2e%2E/x?client=kernel", "new", disk], 2, "target-address"),
        (&["save", "nfs://host/export/..?version=4", "new", disk], 2, "target-address"),
        (&["save", "usb:BACKUP/../../tmp", "new", disk], 2, "target-address"),
        (&["save", "smb://user:word@host/share", "new", disk], 2, "secret-in-target"),
        (&["restore", target, "node", disk, "--region", "p9", "--yes"], 2, "no-region"),
        (&["restore", target, "node", disk, disk, "--yes"], 2, "disk-unclear"),
        (&["save", target, "new", disk, &link], 2, "disk-twice"),
        (&["restore", target, "node", "node=a", "node=b", "--yes"], 2, "disk-twice"),
        (&["restore", target, "node", disk, "--region", "p1=elsewhere:p1", "--yes"], 2, "region-unclear"),
        (&["restore", target, "node", disk, "--grow", "p9", "--yes"], 4, "no-place"),
    ];
    for (arguments, status, code) in cases {
        println!("{arguments:?}");
        saved.check_refused(arguments, &saved.disk.path, *status, code);
    }
}

#[test]
fn a_wrong_call_is_told_on_standard_error() {
    let saved = Saved::new();
    let (target, disk) = (saved.target(), saved.disk.text());
    let long = "x".repeat(65);
    let cases: &[&[&str]] = &[
        &[],
        &["destroy"],
        &["save", target],
        &["save", target, "new"],
        &["save", target, "../escape", disk],
        &["save", target, "名前", disk],
        &["save", target, "", disk],
        &["save", target, &long, disk],
        &["save", target, "new", disk, "--level", "20"],
        &["restore", target, "node", disk, "--layout-only", "--region", "p1"],
        &["images", target, "--lang", "fr"],
    ];
    for arguments in cases {
        let finished = sosei(*arguments).expect(2);
        assert!(finished.stdout.is_empty() && finished.stderr.contains("--help"), "{arguments:?}: {finished:?}");
        assert_eq!(sosei(arguments.iter().chain(&["--json"])).expect(2).code(), "usage", "{arguments:?}");
    }
    sosei(["--help"]).expect(0);
    assert!(sosei(["--version"]).expect(0).stdout.starts_with("sosei "));
}

#[test]
fn on_a_terminal_the_disk_must_be_named() {
    let saved = Saved::new();
    let disk = saved.destination(16 * MIB);
    let arguments = ["restore", saved.target(), "node", disk.text(), "--lang", "en"];
    let before = digest(&disk.path);
    let wrong_name = format!("y\n{}x\n", disk.text());
    for typed in ["n\n", "\n", "yes please\n", "y\n\n", "y\ny\n", &wrong_name] {
        let finished = on_terminal(&arguments, typed);
        assert_eq!(finished.status, 4, "{typed:?}: {}", finished.stdout);
        assert!(finished.stdout.contains("[declined]"), "{}", finished.stdout);
        assert_eq!(digest(&disk.path), before, "{typed:?}");
    }
    let finished = on_terminal(&arguments, &format!("y\n{}\n", disk.text()));
    assert_eq!(finished.status, 0, "{}", finished.stdout);
    sosei(["compare", saved.target(), "node", disk.text()]).expect(0);
}

#[test]
fn version_4_of_nfs_without_the_systems_client_is_told_with_the_way_by_hand() {
    let nowhere = tempfile::tempdir().unwrap();
    let output = Command::new(tests::program::path())
        .args(["images", "nfs://host.invalid/export?version=4", "--json"])
        .env("PATH", nowhere.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["error"]["code"], "target-nfs4");
    assert!(told["error"]["message"].as_str().unwrap().contains("host.invalid:/export"), "{told}");
}
