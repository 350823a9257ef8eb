//! A share of a real Samba does what every store must do; the program saves to it and restores from it; each refusal
//! of a server has its own words.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use image::Store;
use repository::{LeaseTimes, Patience, Secret, SmbAddress, SmbStore, Watch};
use tests::program::{sosei, sosei_with};
use tests::round_trip::{Way, disk};
use tests::samba::{PASSWORD, Samba, Share, USER};
use tests::sample::{MIB, SampleDisk};
use tests::{LoopDevice, Mounted, run, store_suite};

fn address(samba: &Samba, share: &str) -> SmbAddress {
    SmbAddress {
        host: "127.0.0.1".into(),
        port: Some(samba.proxy.port()),
        share: share.into(),
        user: Some(USER.into()),
        ..SmbAddress::default()
    }
}

/// Beats that are quick enough for a test that waits for one.
fn times() -> LeaseTimes {
    LeaseTimes { beat: Duration::from_millis(100), ..LeaseTimes::default() }
}

fn open(address: SmbAddress) -> Box<dyn Store> {
    let password = Some(Secret::new(PASSWORD.into()));
    Box::new(SmbStore::open_with(address, password, Patience::default(), times(), Watch::default()).unwrap())
}

#[test]
fn a_share_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let samba = Samba::start(&[Share::new("images", directory.path())]);
    let open = || open(address(&samba, "images"));
    store_suite::check(&*open(), &open);
}

#[test]
fn a_share_that_demands_encryption_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("深い")).unwrap();
    let share = Share::new("secret", directory.path()).with("server smb encrypt = required");
    let samba = Samba::start(&[share]);
    std::os::unix::fs::chown(directory.path().join("深い"), Some(5), None).unwrap();
    let open = || open(SmbAddress { path: "深い".into(), ..address(&samba, "secret") });
    store_suite::check(&*open(), &open);
}

/// The share through the program, by the user of the tests.
fn way(samba: &Samba, share: &str) -> Way<'static> {
    Way { target: samba.target(share, ""), environment: &[("SOSEI_PASSWORD", PASSWORD)] }
}

#[test]
fn the_program_saves_to_a_share_and_restores_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let samba = Samba::start(&[Share::new("images", directory.path())]);
    let (way, disk) = (way(&samba, "images"), disk());
    way.check(&disk);
    assert_eq!(fs::read_dir(directory.path().join("locks")).unwrap().count(), 0, "no lock stays behind");
    // The same repository through a directory: what lies there is what a directory would hold.
    sosei(["compare", directory.path().to_str().unwrap(), "node", disk.text()]).expect(0);
    // A directory below a share is a target as well; one that does not exist is not made.
    fs::create_dir_all(directory.path().join("a b/蘇")).unwrap();
    run("chown", ["-R", USER, directory.path().to_str().unwrap()]);
    Way { target: samba.target("images", "/a%20b/%E8%98%87"), ..way }.check(&disk);
    let absent = Way { target: samba.target("images", "/absent"), environment: &[("SOSEI_PASSWORD", PASSWORD)] };
    assert_eq!(absent.run(&["images", &absent.target, "--json"]).expect(1).code(), "target-no-export");
    assert!(!directory.path().join("absent").exists());
}

#[test]
fn older_dialects_are_spoken_down_to_2_1_and_the_oldest_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let shares = [Share::new("images", directory.path())];
    for (number, dialect) in ["SMB2_10", "SMB3_00", "SMB3_02"].into_iter().enumerate() {
        let demand = if dialect == "SMB2_10" { "" } else { "server smb encrypt = required\n" };
        let samba = Samba::with(&shares, &format!("server max protocol = {dialect}\n{demand}"), &[]);
        let below = directory.path().join(number.to_string());
        fs::create_dir(&below).unwrap();
        run("chown", [USER, below.to_str().unwrap()]);
        let target = samba.target("images", &format!("/{number}"));
        Way { target, environment: &[("SOSEI_PASSWORD", PASSWORD)] }.check(&disk());
    }
    let samba = Samba::with(&shares, "server min protocol = NT1\nserver max protocol = NT1", &[]);
    let way = way(&samba, "images");
    let failed = way.run(&["images", &way.target, "--json"]).expect(1);
    assert!(failed.stdout.contains("SMB 1"), "{}", failed.stdout);
}

#[test]
fn each_refusal_has_its_own_words() {
    let (writable, read_only, foreign) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let samba = Samba::start(&[
        Share::new("images", writable.path()),
        Share::new("read-only", read_only.path()).with("read only = yes"),
        Share::new("others", foreign.path()).with("valid users = root"),
        Share::new("guests", writable.path()).with("guest ok = yes\nforce user = games"),
    ]);
    let disk = disk();
    let code = |target: String, environment: &[(&str, &str)], status: i32| {
        let failed = Way { target, environment }.save("node", &disk).expect(status);
        assert!(!format!("{failed:?}").contains(PASSWORD), "{failed:?}");
        failed.code()
    };
    let right = [("SOSEI_PASSWORD", PASSWORD)];
    assert_eq!(code(samba.target("images", ""), &[("SOSEI_PASSWORD", "wrong")], 1), "target-login");
    assert_eq!(code(samba.target("images", ""), &[], 2), "password-missing");
    assert_eq!(code(samba.target("images", ""), &[("SOSEI_PASSWORD_FILE", "/absent")], 2), "password-file");
    assert_eq!(code(samba.target("absent", ""), &right, 1), "target-no-export");
    assert_eq!(code(samba.target("read-only", ""), &right, 1), "target-read-only");
    assert_eq!(code(samba.target("others", ""), &right, 1), "target-denied");
    let stranger = samba.target("images", "").replace(USER, "nobody-knows-me");
    // Samba would let the stranger in as a guest: that is not who was named.
    assert_eq!(code(stranger, &right, 1), "target-login");
    let guest = samba.target("images", "").replace(&format!("{USER}@"), "");
    assert_eq!(code(guest, &[], 1), "target-denied");
    assert_eq!(fs::read_dir(writable.path()).unwrap().count(), 0, "nothing was made");

    let guest = Way { target: samba.target("guests", "").replace(&format!("{USER}@"), ""), environment: &[] };
    let saved = guest.save("node", &disk).expect(0);
    assert!(saved.stderr.contains("as a guest"), "{}", saved.stderr);

    let file = writable.path().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let environment = [("SOSEI_PASSWORD_FILE", file.to_str().unwrap())];
    let by_file = Way { target: samba.target("images", ""), environment: &environment };
    by_file.run(&["images", &by_file.target]).expect(0);
}

#[test]
fn user_and_password_come_from_a_file_that_nobody_else_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let samba = Samba::start(&[Share::new("images", directory.path())]);
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("credentials");
    let path = file.to_str().unwrap();
    let write = |text: &str, mode: u32| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    };
    let named = samba.target("images", "");
    let unnamed = named.replace(&format!("{USER}@"), "");
    let code = |target: &str, status: i32| {
        let failed = sosei(["images", target, "--json", "--credentials", path]).expect(status);
        assert!(!format!("{failed:?}").contains(PASSWORD), "{failed:?}");
        failed.code()
    };
    let text = format!("username={USER}\npassword={PASSWORD}\ndomain=LAB\n");
    for mode in [0o640, 0o604, 0o620] {
        write(&text, mode);
        assert_eq!(code(&named, 4), "credentials-open", "{mode:o}");
    }
    write(&text, 0o600);
    std::os::unix::fs::chown(&file, Some(12345), None).unwrap();
    assert_eq!(code(&named, 4), "credentials-open");
    std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    let disk = disk();
    let arguments = ["save", &unnamed, "node", disk.text(), "--json", "--progress", "json", "--credentials", path];
    let saved = sosei_with(&[("SOSEI_PASSWORD", "wrong")], arguments).expect(0);
    assert!(!format!("{saved:?}").contains(PASSWORD) && !saved.stderr.contains("guest"), "{saved:?}");
    let kept = tests::run_status("grep", ["-r", "-a", "-l", "-F", PASSWORD, directory.path().to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "");
    let other = named.replace(USER, "somebody");
    assert_eq!(code(&other, 2), "credentials-user");
    write(&format!("pasword={PASSWORD}\n"), 0o600);
    assert_eq!(code(&named, 2), "credentials-file");
    write("domain=LAB\n", 0o600);
    assert_eq!(code(&named, 2), "password-missing");
    fs::remove_file(&file).unwrap();
    assert_eq!(code(&named, 2), "credentials-file");
    // Nor is anything that can't be a file waited for.
    run("mkfifo", ["-m", "600", path]);
    assert_eq!(code(&named, 2), "credentials-file");
}

#[test]
fn a_crash_leaves_no_copy_of_the_memory_behind() {
    use std::os::unix::process::ExitStatusExt;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    // Whatever the shell allows; the program itself must not.
    let script = "ulimit -c unlimited; exec \"$@\"";
    let program = tests::program::path();
    let target = format!("smb://me@{}/images", silent.local_addr().unwrap());
    let mut command = tests::tool::command("sh", ["-c", script, "sh", program.to_str().unwrap(), "images", &target]);
    let mut child = command.current_dir(directory.path()).env("SOSEI_PASSWORD", PASSWORD).spawn().unwrap();
    let waited = silent.accept();
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::ABORT).unwrap();
    let status = child.wait().unwrap();
    waited.unwrap();
    assert_eq!(status.signal(), Some(6));
    assert!(!status.core_dumped(), "{status:?}");
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{line}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

/// A file system that takes no more than these bytes, though its disk has room.
fn limited(bytes: u64) -> (SampleDisk, LoopDevice, Mounted) {
    let file = SampleDisk::new("target.img", 256 * MIB);
    run("mkfs.btrfs", ["-q", file.text()]);
    let device = LoopDevice::attach(&file.path, 512);
    let whole = Mounted::of_type("btrfs", device.path(), "rw");
    let kept = whole.path().join("kept");
    let below = kept.to_str().unwrap();
    run("btrfs", ["quota", "enable", whole.path().to_str().unwrap()]);
    run("btrfs", ["subvolume", "create", below]);
    run("btrfs", ["qgroup", "limit", &bytes.to_string(), below]);
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o777)).unwrap();
    drop(whole);
    let mounted = Mounted::of_type("btrfs", device.path(), "subvol=kept");
    (file, device, mounted)
}

#[test]
fn a_quota_that_is_used_up_is_told_by_every_target() {
    let (_file, _device, mounted) = limited(8 * MIB);
    let kept = mounted.path();
    let disk = disk();
    let samba = Samba::start(&[Share::new("images", kept)]);
    let server = tests::ganesha::Ganesha::start(kept);
    let shared = way(&samba, "images");
    for (name, target, code) in [
        ("a", kept.to_str().unwrap().to_owned(), "target-quota"),
        ("b", server.target(kept, ""), "target-quota"),
        // Samba tells a quota that is used up as a full disk, because programs for Windows expect that.
        ("c", shared.target.clone(), "target-full"),
    ] {
        let way = Way { target, environment: shared.environment };
        let failed = way.save(name, &disk).expect(1);
        assert_eq!(failed.code(), code, "{}: {}", way.target, failed.stdout);
        assert!(!kept.join(format!("images/{name}/manifest.json")).exists(), "{}", way.target);
        run("sh", ["-ec", "rm -rf \"$1\"/*; sync -f \"$1\"", "sh", kept.to_str().unwrap()]);
    }
    drop((server, samba));
}

#[test]
fn an_address_where_nobody_answers_is_told_long_before_a_lost_server_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("smb://me@{}/images", silent.local_addr().unwrap());
    let way = Way { target, environment: &[("SOSEI_PASSWORD", PASSWORD)] };
    let began = Instant::now();
    assert_eq!(way.run(&["images", &way.target, "--json"]).expect(1).code(), "target-unreachable");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn a_full_share_is_told_and_the_save_goes_on_when_there_is_room() {
    let file = SampleDisk::new("target.img", 64 * MIB);
    run("mke2fs", ["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0", file.text()]);
    let device = LoopDevice::attach(&file.path, 512);
    let mounted = Mounted::new(device.path(), "errors=continue");
    let filler = mounted.path().join("filler");
    fs::write(&filler, vec![1; 30 * MIB as usize]).unwrap();
    let samba = Samba::start(&[Share::new("images", mounted.path())]);
    let (way, disk) = (way(&samba, "images"), disk());
    assert_eq!(way.save("node", &disk).expect(1).code(), "target-full");
    fs::remove_file(&filler).unwrap();
    way.save("node", &disk).expect(0);
    way.run(&["verify", &way.target]).expect(0);
    way.run(&["compare", &way.target, "node", disk.text()]).expect(0);
    drop(samba);
}

#[test]
fn eight_machines_save_to_one_repository_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let samba = Samba::start(&[Share::new("images", directory.path())]);
    way(&samba, "images").check_eight_at_once(&disk());
}

#[test]
fn a_program_that_is_killed_blocks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let samba = Samba::start(&[Share::new("images", directory.path())]);
    way(&samba, "images").check_kills(&disk(), &samba.proxy);
    assert_eq!(fs::read_dir(directory.path().join("locks")).unwrap().count(), 0);
}

#[test]
fn a_cancelled_wait_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let samba = Samba::start(&[Share::new("images", directory.path())]);
    way(&samba, "images").check_cancel(&disk(), &samba.proxy);
}
