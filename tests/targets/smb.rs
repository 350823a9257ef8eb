//! A share of a real Samba does what every store must do; the program saves to it and restores from it; each refusal
//! of a server has its own words.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::time::{Duration, Instant};

use image::Store;
use repository::{LeaseTimes, Patience, Secret, SmbAddress, SmbStore, Watch};
use tests::program::sosei;
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
    assert_eq!(code(samba.target("read-only", ""), &right, 1), "target-denied");
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
fn an_address_where_nobody_answers_is_told_within_ten_seconds() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("smb://me@{}/images", silent.local_addr().unwrap());
    let way = Way { target, environment: &[("SOSEI_PASSWORD", PASSWORD)] };
    let began = Instant::now();
    assert_eq!(way.run(&["images", &way.target, "--json"]).expect(1).code(), "target-unreachable");
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
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
