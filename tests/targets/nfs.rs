//! An NFS export does what every store must do; the program saves to it and restores from it; each refusal of a
//! server has its own words.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use image::{Store, StoreErrorKind};
use repository::{LeaseTimes, NfsAddress, NfsStore, Patience, Watch};
use serde_json::json;
use tempfile::TempDir;
use tests::ganesha::{Export, Ganesha};
use tests::program::{sosei, sosei_with};
use tests::restored::FILL;
use tests::sample::{Content, MIB, SampleDisk};
use tests::{LoopDevice, Mounted, run, store_suite};

/// A directory that everybody may enter, as an export must be.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn address(server: &Ganesha, export: &Path) -> NfsAddress {
    NfsAddress {
        host: "localhost".into(),
        port: Some(server.nfs.port()),
        mount_port: Some(server.mount.port()),
        path: export.to_str().unwrap().into(),
        ..NfsAddress::default()
    }
}

/// Beats that are quick enough for a test that waits for one.
fn times() -> LeaseTimes {
    LeaseTimes { beat: Duration::from_millis(100), ..LeaseTimes::default() }
}

fn disk() -> SampleDisk {
    let mut disk = SampleDisk::new("node.img", 58 * MIB);
    disk.divide(512, "label: dos\nstart=1MiB, size=16MiB, type=83\nstart=17MiB, size=40MiB, type=da\n");
    disk.add("p1", MIB, 16 * MIB, Content::Ext4, 512);
    disk.add("p2", 17 * MIB, 40 * MIB, Content::Raw, 512);
    disk
}

#[test]
fn an_export_is_a_store() {
    let exported = directory();
    let server = Ganesha::start(exported.path());
    let open = || -> Box<dyn Store> {
        let address = address(&server, exported.path());
        Box::new(NfsStore::open_with(&address, Patience::default(), times(), Watch::default()).unwrap())
    };
    store_suite::check(&*open(), &open);
}

/// Saves, verifies, restores and compares with the program.
fn round_trip(target: &str, disk: &SampleDisk) {
    sosei(["save", target, "node", disk.text(), "--json"]).expect(0);
    let listed = sosei(["images", target, "--json"]).expect(0).json();
    assert_eq!(listed["images"][0]["state"], "whole", "{listed}");
    sosei(["show", target, "node"]).expect(0);
    sosei(["verify", target]).expect(0);
    sosei(["compare", target, "node", disk.text()]).expect(0);
    let destination = disk.destination("destination.img", disk.size());
    sosei(["restore", target, "node", destination.to_str().unwrap(), "--yes"]).expect(0);
    sosei(["compare", target, "node", destination.to_str().unwrap()]).expect(0);
    let part = disk.part("p2");
    let read = |path: &Path| tests::sample::read(path, part.start, part.size);
    assert!(read(&destination) == read(&disk.path));
    assert_ne!(read(&destination)[0], FILL);
    let taken = sosei(["save", target, "node", disk.text(), "--json"]).expect(4);
    assert_eq!(taken.code(), "image-exists");
}

#[test]
fn the_program_saves_to_an_export_and_restores_from_it() {
    let exported = directory();
    let server = Ganesha::start(exported.path());
    let disk = disk();
    round_trip(&server.target(exported.path(), ""), &disk);
    assert_eq!(fs::read_dir(exported.path().join("locks")).unwrap().count(), 0, "no lock stays behind");
    // The same repository through a directory: what lies there is what a directory would hold.
    sosei(["compare", exported.path().to_str().unwrap(), "node", disk.text()]).expect(0);
    // A directory below an export is a target as well; one that does not exist is not made.
    fs::create_dir_all(exported.path().join("a b/蘇")).unwrap();
    round_trip(&server.target(exported.path(), "/a%20b/%E8%98%87"), &disk);
    let absent = sosei(["images", &server.target(exported.path(), "/absent"), "--json"]).expect(1);
    assert_eq!(absent.code(), "target-no-export");
    assert!(!exported.path().join("absent").exists());
}

#[test]
fn the_portmapper_tells_the_ports() {
    let exported = directory();
    let server = Ganesha::start(exported.path());
    let disk = disk();
    let target = format!("nfs://localhost{}?version=3", exported.path().display());
    let saved = server.inside(&["save", &target, "node", disk.text()]).output().unwrap();
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    assert_eq!(server.nfs.connections() + server.mount.connections(), 0, "it went there by itself");
    sosei(["compare", exported.path().to_str().unwrap(), "node", disk.text()]).expect(0);
}

#[test]
fn each_refusal_has_its_own_words() {
    let (writable, read_only, foreign) = (directory(), directory(), directory());
    let export = |directory: &TempDir, is_read_only| Export { path: directory.path().to_owned(), is_read_only };
    let server = Ganesha::with(&[export(&writable, false), export(&read_only, true)]);
    let disk = disk();
    let save = |target: &str| {
        let failed = sosei(["save", target, "node", disk.text(), "--json"]).expect(1);
        let error = failed.json()["error"].clone();
        assert!(error["state"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
        failed.code()
    };
    assert_eq!(save(&server.target(foreign.path(), "")), "target-no-export");
    assert_eq!(save(&server.target(read_only.path(), "")), "target-read-only");
    let target = server.target(writable.path(), "");
    assert_eq!(save(&format!("{target}&uid=12345&gid=12345")), "target-denied");
    assert_eq!(fs::read_dir(writable.path()).unwrap().count(), 0, "nothing was made");
    // The user that the directory belongs to may.
    std::os::unix::fs::chown(writable.path(), Some(12345), Some(12345)).unwrap();
    sosei(["save", &format!("{target}&uid=12345&gid=12345"), "node", disk.text()]).expect(0);
    use std::os::unix::fs::MetadataExt;
    let manifest = fs::metadata(writable.path().join("images/node/manifest.json")).unwrap();
    assert_eq!((manifest.uid(), manifest.gid()), (12345, 12345));
    let empty = sosei(["images", &server.target(read_only.path(), ""), "--json"]).expect(1);
    assert_eq!(empty.code(), "no-repository");
}

#[test]
fn an_address_where_nobody_answers_is_told_long_before_a_lost_server_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let target = format!("nfs://127.0.0.1:{port}/export?mountport={port}");
    let began = Instant::now();
    let failed = sosei(["images", &target, "--json", "--progress", "json"]).expect(1);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(failed.code(), "target-unreachable");
    // Where the system has no client for it.
    let wrong = |target: &str| sosei_with(&[("PATH", "/absent")], ["images", target, "--json"]).expect(2).code();
    assert_eq!(wrong("nfs://nas/export?version=4"), "target-nfs4");
    assert_eq!(wrong("nfs://nas/export?version=4&uid=7"), "target-address");
    assert_eq!(wrong("nfs://nas"), "target-address");
    let secret = sosei(["images", "smb://me:hunter2@nas/share", "--json"]).expect(2);
    assert_eq!(secret.code(), "secret-in-target");
    assert!(!format!("{secret:?}").contains("hunter2"));
}

#[test]
fn a_full_export_is_told_and_the_save_goes_on_when_there_is_room() {
    let file = SampleDisk::new("target.img", 64 * MIB);
    run("mke2fs", ["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", file.text()]);
    let device = LoopDevice::attach(&file.path, 512);
    let mounted = Mounted::new(device.path(), "errors=continue");
    let filler = mounted.path().join("filler");
    fs::write(&filler, vec![1; 30 * MIB as usize]).unwrap();
    let server = Ganesha::start(mounted.path());
    let (disk, target) = (disk(), server.target(mounted.path(), ""));
    let arguments = ["save", &target, "node", disk.text(), "--json"];
    let full = sosei(arguments).expect(1);
    assert_eq!(full.code(), "target-full");
    assert_eq!(
        sosei(["images", &target, "--json"]).expect(0).json()["images"],
        json!([{ "name": "node", "state": "unfinished" }])
    );
    fs::remove_file(&filler).unwrap();
    sosei(arguments).expect(0);
    sosei(["verify", &target]).expect(0);
    sosei(["compare", &target, "node", disk.text()]).expect(0);
    drop(server);
}

#[test]
fn eight_machines_save_to_one_repository_at_once() {
    let exported = directory();
    let server = Ganesha::start(exported.path());
    let (disk, target) = (disk(), server.target(exported.path(), ""));
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (disk, target) = (&disk, &target);
            scope.spawn(move || sosei(["save", target, &format!("node-{number}"), disk.text()]).expect(0));
        }
    });
    sosei(["verify", &target]).expect(0);
    for number in 0..8 {
        sosei(["compare", exported.path().to_str().unwrap(), &format!("node-{number}"), disk.text()]).expect(0);
    }
    let again = sosei(["save", &target, "node-9", disk.text(), "--json"]).expect(0).json();
    assert_eq!(again["totals"]["new_bytes"], 0, "what is there is shared: {again}");
}

#[test]
fn a_program_that_is_killed_blocks_nobody() {
    let exported = directory();
    let server = Ganesha::start(exported.path());
    let (disk, target) = (disk(), server.target(exported.path(), ""));
    let arguments = ["save", &target, "node", disk.text()];
    for bytes in [1, 3 * MIB, 12 * MIB, 15 * MIB] {
        server.nfs.stall_after(bytes);
        let mut command = tests::program::command(arguments);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        server.nfs.wait_for_stall();
        child.kill().unwrap();
        child.wait().unwrap();
        server.nfs.stall(false);
        assert!(!exported.path().join("images/node/manifest.json").exists());
    }
    let began = Instant::now();
    sosei(arguments).expect(0);
    assert!(began.elapsed() < Duration::from_secs(50), "it waited for a dead one's lock: {:?}", began.elapsed());
    sosei(["verify", &target]).expect(0);
    sosei(["compare", &target, "node", disk.text()]).expect(0);
    assert_eq!(fs::read_dir(exported.path().join("locks")).unwrap().count(), 0);
}

#[test]
fn a_cancelled_wait_ends_at_once() {
    let exported = directory();
    let server = Ganesha::start(exported.path());
    let (disk, target) = (disk(), server.target(exported.path(), ""));
    let arguments = ["save", &target, "node", disk.text(), "--json", "--progress", "json"];
    server.nfs.stall_after(5 * MIB);
    let mut command = tests::program::command(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    server.nfs.wait_for_stall();
    let began = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    server.nfs.stall(false);
    sosei(arguments).expect(0);
    sosei(["compare", &target, "node", disk.text()]).expect(0);
}

#[test]
fn a_session_that_lost_its_lock_writes_nothing_more() {
    let exported = directory();
    let server = Ganesha::start(exported.path());
    let address = address(&server, exported.path());
    let store = NfsStore::open_with(&address, Patience::default(), times(), Watch::default()).unwrap();
    let lock = store.lock("save-node").unwrap();
    store.create("before").unwrap();
    for entry in store.list("locks").unwrap() {
        store.remove(&format!("locks/{}", entry.name)).unwrap();
    }
    assert_eq!(lock.confirm().unwrap_err().kind, StoreErrorKind::Locked);
    let kind = |result: image::StoreResult<()>| result.err().map(|error| error.kind);
    assert_eq!(kind(store.create("after").map(drop)), Some(StoreErrorKind::Locked));
    assert_eq!(kind(store.publish("after", b"x")), Some(StoreErrorKind::Locked));
    assert_eq!(kind(store.rename("before", "after")), Some(StoreErrorKind::Locked));
    assert!(!exported.path().join("after").exists());
    drop(lock);
    store.create("after").unwrap();
}
