//! What goes wrong around a machine: its server stops for a while, sectors can't be read, its power fails in the middle of
//! a save and of a restore, one of two ways to its disk breaks.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tests::ganesha::Ganesha;
use tests::vm::{LIMIT, Machine, Setup, Start};
use tests::{run, run_with_input};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 48 * MIB;

/// A disk of bytes that do not shrink, one of old bytes, and a server for images.
struct Scene {
    directory: TempDir,
    exported: TempDir,
    server: Ganesha,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let exported = tempfile::tempdir().unwrap();
        fs::set_permissions(exported.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let server = Ganesha::start(exported.path());
        let scene = Self { directory, exported, server };
        let mut random = File::open("/dev/urandom").unwrap().take(SIZE);
        std::io::copy(&mut random, &mut File::create(scene.source()).unwrap()).unwrap();
        let table = b"label: dos\nlabel-id: 0x5053e1fa\nstart=1MiB, type=da\n";
        run_with_input("sfdisk", ["-q".as_ref(), scene.source().as_os_str()], table);
        fill(&scene.destination());
        scene
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("source")
    }

    fn destination(&self) -> PathBuf {
        self.directory.path().join("destination")
    }

    fn target(&self) -> String {
        self.server.target(self.exported.path(), "").replace("127.0.0.1", "10.0.2.2")
    }

    /// Bytes that the server has.
    fn stored(&self) -> u64 {
        let sizes = run("find", [self.exported.path().to_str().unwrap(), "-type", "f", "-printf", "%s\n"]);
        sizes.lines().filter_map(|line| line.parse::<u64>().ok()).sum()
    }
}

/// Old bytes all over a disk.
fn fill(path: &Path) {
    let mut disk = File::create(path).unwrap();
    (0..SIZE / MIB).for_each(|_| disk.write_all(&vec![0xa5; MIB as usize]).unwrap());
}

/// Waits until something is so.
#[track_caller]
fn wait_until(machine: &Machine, what: &str, is_met: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_met() {
        assert!(began.elapsed() < LIMIT / 3, "{what}: did not come\n{}", machine.screen());
        thread::sleep(Duration::from_millis(20));
    }
}

fn byte(path: &Path, offset: u64) -> u8 {
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    let mut byte = [0];
    file.read_exact(&mut byte).unwrap();
    byte[0]
}

fn appliance(setup: Setup) -> Machine {
    let mut machine = setup.run();
    machine.wait_for_shell();
    machine.wait_for_network();
    machine
}

fn shell() -> Setup {
    Setup::new(Start::Kernel("sosei.console=shell".into()))
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn what_is_interrupted_is_completed_when_it_is_run_again() {
    let scene = Scene::new();
    let target = scene.target();
    let save = format!("sosei save '{target}' node1 /dev/vda --progress none");
    // The disk that was saved is there as well, with the signature that the other one gets.
    let restore = format!("sosei restore '{target}' node1 /dev/vdb --yes --confirm SOURCE --progress none");

    let mut machine = appliance(shell().disk(&scene.source(), "SOURCE"));
    machine.send(&format!("{save}\r"));
    wait_until(&machine, "some bytes at the server", || scene.stored() > 8 * MIB);
    // The server answers nobody until a minute later somebody is told, and the save goes on afterwards.
    scene.server.freeze(true);
    let before = scene.stored();
    machine.wait_for("does not answer");
    assert_eq!(scene.stored(), before);
    scene.server.freeze(false);
    machine.wait_for("answers again");
    wait_until(&machine, "half of the disk at the server", || scene.stored() > SIZE / 2);
    // The power fails.
    drop(machine);

    // Two sectors can't be read any more, one of them in what was saved before.
    let bad = [10 * MIB, 47 * MIB + 512];
    let setup = shell().disk(&scene.source(), "SOURCE").disk(&scene.destination(), "DESTINATION");
    let mut machine = appliance(setup.bad_sectors(&bad.map(|offset| offset / 512)));
    let (status, told) = machine.try_shell(&save);
    assert_eq!(status, 3, "some sectors were unreadable: {told}");
    println!("{told}");
    // What had reached the server is not sent again.
    println!("{} bytes at the server", scene.stored());
    assert!(scene.stored() < SIZE * 3 / 2, "{}", scene.stored());
    machine.send(&format!("{restore}\r"));
    wait_until(&machine, "restored bytes", || byte(&scene.destination(), 4 * MIB) != 0xa5);
    drop(machine);
    assert_ne!([byte(&scene.destination(), 510), byte(&scene.destination(), 511)], [0x55, 0xaa], "it must not boot");

    let setup = shell().disk(&scene.source(), "SOURCE").disk(&scene.destination(), "DESTINATION");
    let mut machine = appliance(setup);
    // Killed alone, it leaves no disk unprotected.
    machine
        .shell(&format!("{restore} > /dev/null 2>&1 & until [ $(blockdev --getro /dev/vdb) = 0 ]; do sleep 0.1; done"));
    machine.shell("kill -9 $! && wait $!; until [ $(blockdev --getro /dev/vdb) = 1 ]; do sleep 0.1; done");
    // Done, and it says again that two sectors are missing.
    let (status, told) = machine.try_shell(&restore);
    assert!(status == 3 && told.contains("1 KiB could not be read"), "{status}: {told}");
    assert_eq!(machine.shell("blockdev --getro /dev/vdb").trim(), "1");
    machine.shell(&format!("sosei compare '{target}' node1 /dev/vdb"));
    machine.turn_off();
    let (mut wanted, found) = (fs::read(scene.source()).unwrap(), fs::read(scene.destination()).unwrap());
    for offset in bad {
        wanted[offset as usize..offset as usize + 512].fill(0);
    }
    assert!(wanted == found, "all but the two sectors is as it was");
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn a_disk_on_two_paths_is_one_disk_and_one_path_may_break() {
    let scene = Scene::new();
    let target = scene.target();
    let mut machine = appliance(shell().two_paths(&scene.source(), "LUN-17"));
    let listed = machine.shell("sosei disks --json | tr -d '\\n'; echo");
    let listed: serde_json::Value = serde_json::from_str(listed.trim()).unwrap();
    let disks: Vec<&serde_json::Value> =
        listed["disks"].as_array().unwrap().iter().filter(|disk| disk["size"] == SIZE).collect();
    assert_eq!(disks.len(), 1, "one disk is offered once: {listed:#}");
    let path = disks[0]["path"].as_str().unwrap().to_owned();
    assert!(path.starts_with("/dev/dm-") || path.starts_with("/dev/mapper/"), "{path}");
    assert_eq!(machine.shell(&format!("blockdev --getro {path}")).trim(), "1");

    let id = disks[0]["sharing"]["ids"][0].as_str().unwrap().to_owned();

    machine.send(&format!("sosei save '{target}' lun {path} --progress none; echo sav''ed=$?\r"));
    wait_until(&machine, "some bytes at the server", || scene.stored() > 8 * MIB);
    machine.control("device_del", &json!({ "id": "path0" }));
    machine.wait_for("saved=");
    assert_eq!(machine.wait_for("\r\n").trim(), "0");
    machine.wait_for("sosei# ");

    machine.turn_off();

    // Another disk in its place, with both paths again, one of which breaks when some of it is written.
    let wanted = fs::read(scene.source()).unwrap();
    fill(&scene.source());
    let mut machine = appliance(shell().two_paths(&scene.source(), "LUN-17"));
    let line = format!("sosei restore '{target}' lun {path} --yes --confirm {id} --progress none");
    machine.send(&format!("{line}; echo res''tored=$?\r"));
    wait_until(&machine, "restored bytes", || byte(&scene.source(), 4 * MIB) != 0xa5);
    machine.control("device_del", &json!({ "id": "path0" }));
    machine.wait_for("restored=");
    assert_eq!(machine.wait_for("\r\n").trim(), "0");
    machine.wait_for("sosei# ");
    assert_eq!(machine.shell(&format!("blockdev --getro {path}")).trim(), "1", "protected again");
    machine.shell(&format!("sosei compare '{target}' lun {path}"));
    machine.turn_off();
    assert!(fs::read(scene.source()).unwrap() == wanted, "every byte is as it was");
}
