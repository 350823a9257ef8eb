//! Object storage that checks signatures and conditions does what every store must do; the program saves to it and
//! restores from it; each refusal of a server has its own words.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use image::Store;
use repository::{LeaseTimes, Patience, S3Address, S3Keys, S3Store, Secret, Watch};
use tests::object_storage::{BUCKET, KEY, ObjectStorage, SECRET};
use tests::program::{sosei, sosei_with};
use tests::round_trip::{Way, disk};
use tests::{run, store_suite};

fn address(storage: &ObjectStorage, prefix: &str) -> S3Address {
    let (bucket, prefix) = (BUCKET.into(), prefix.into());
    S3Address { bucket, prefix, endpoint: Some(storage.endpoint()), region: None }
}

fn keys() -> S3Keys {
    S3Keys { id: KEY.into(), secret: Secret::new(SECRET.into()), token: None }
}

/// Beats that are quick enough for a test that waits for one.
fn times() -> LeaseTimes {
    LeaseTimes { beat: Duration::from_millis(100), ..LeaseTimes::default() }
}

#[test]
fn a_bucket_is_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::start(directory.path());
    let open = || -> Box<dyn Store> {
        let address = address(&storage, "deep/er");
        Box::new(S3Store::open_with(address, &keys(), Patience::default(), times(), Watch::default()).unwrap())
    };
    store_suite::check(&*open(), &open);
}

const ENVIRONMENT: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET)];

fn way(storage: &ObjectStorage) -> Way<'static> {
    Way { target: storage.target("a/b"), environment: &ENVIRONMENT }
}

#[test]
fn the_program_saves_to_a_bucket_and_restores_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::start(directory.path());
    let disk = disk();
    way(&storage).check(&disk);
    // One object is one file of this server: what lies in the bucket is what a directory would hold.
    let kept = directory.path().join(BUCKET).join("a/b");
    sosei(["compare", kept.to_str().unwrap(), "node", disk.text()]).expect(0);
    assert!(!kept.join("locks").exists() || fs::read_dir(kept.join("locks")).unwrap().count() == 0);
    // The whole bucket, and keys from a file.
    let file = directory.path().join("credentials");
    fs::write(&file, format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")).unwrap();
    let environment = [("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())];
    let target = format!("s3://{BUCKET}?endpoint={}&region=eu-central-1", storage.endpoint());
    Way { target, environment: &environment }.check(&disk);
}

#[test]
fn each_refusal_has_its_own_words_and_no_secret_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::start(directory.path());
    let disk = disk();
    let code = |target: String, environment: &[(&str, &str)], status: i32| {
        let failed = Way { target, environment }.save("node", &disk).expect(status);
        assert!(!format!("{failed:?}").contains("a-secret"), "{failed:?}");
        failed.code()
    };
    let target = || storage.target("r");
    assert_eq!(code(target(), &[ENVIRONMENT[0], ("AWS_SECRET_ACCESS_KEY", "a-secret-wrong")], 1), "target-login");
    assert_eq!(code(target(), &[("HOME", "/absent")], 2), "keys-missing");
    assert_eq!(code(target().replace(BUCKET, "absent"), &ENVIRONMENT, 1), "target-no-export");
    *storage.manners.refusal.lock().unwrap() = "403 AccessDenied".into();
    assert_eq!(code(target(), &ENVIRONMENT, 1), "target-denied");
    *storage.manners.refusal.lock().unwrap() = "507 XMinioStorageFull".into();
    assert_eq!(code(target(), &ENVIRONMENT, 1), "target-full");
    *storage.manners.refusal.lock().unwrap() = "403 QuotaExceeded".into();
    assert_eq!(code(target(), &ENVIRONMENT, 1), "target-quota");
    let elsewhere = tempfile::tempdir().unwrap();
    let late = ObjectStorage::start_with_another_clock(elsewhere.path());
    assert_eq!(code(late.target("r"), &ENVIRONMENT, 1), "target-clock");
    storage.manners.refusal.lock().unwrap().clear();
    // Nothing that the program prints or keeps holds the key.
    let saved = way(&storage).save("node", &disk).expect(0);
    assert!(!format!("{saved:?}").contains(SECRET), "{saved:?}");
    let found = tests::run_status("grep", ["-r", "-a", "-l", "-F", SECRET, directory.path().to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&found.stdout), "");
}

/// Files of an authority that nobody knows, and of a server that it names `localhost`.
fn certificates(directory: &Path) {
    let script = "
        cd \"$1\"
        new='req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -x509'
        openssl $new -subj '/CN=tests' -keyout authority.key -out authority.pem
        openssl $new -subj '/CN=server' -CA authority.pem -CAkey authority.key -keyout server.key -out server.pem \\
          -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    run("sh", ["-ec", script, "sh", directory.to_str().unwrap()]);
}

#[test]
fn a_certificate_is_believed_where_its_authority_is_known_and_its_name_is_right() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let file = |name: &str| directory.path().join(name);
    let storage = ObjectStorage::start_tls(directory.path(), &file("server.pem"), &file("server.key"));
    let port = storage.proxy.port();
    let target = |host: &str| format!("s3://{BUCKET}/tls?endpoint=https://{host}:{port}");
    let authority = file("authority.pem").display().to_string();
    let knowing = [ENVIRONMENT[0], ENVIRONMENT[1], ("SSL_CERT_FILE", &authority)];
    let refused = |host: &str, environment: &[(&str, &str)], reason: &str| {
        let way = Way { target: target(host), environment };
        let began = Instant::now();
        let failed = way.run(&["images", &way.target, "--json"]).expect(1);
        assert_eq!(failed.code(), "target-untrusted");
        assert!(failed.stdout.contains(reason), "{}", failed.stdout);
        assert!(began.elapsed() < Duration::from_secs(60), "it is not tried again: {:?}", began.elapsed());
    };
    refused("localhost", &ENVIRONMENT, "UnknownIssuer");
    refused("127.0.0.1", &knowing, "not valid for");
    let way = Way { target: target("localhost"), environment: &knowing };
    way.save("node", &disk()).expect(0);
    way.run(&["verify", &way.target]).expect(0);
}

#[test]
fn keys_come_from_a_file_that_nobody_else_may_read() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::start(directory.path());
    let file = directory.path().join("credentials");
    fs::write(&file, format!("aws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let (disk, target) = (disk(), storage.target("c"));
    let arguments = ["save", &target, "node", disk.text(), "--credentials", file.to_str().unwrap()];
    // What is in the environment does not count beside it.
    let saved = sosei_with(&[ENVIRONMENT[0], ("AWS_SECRET_ACCESS_KEY", "wrong")], arguments).expect(0);
    assert!(!format!("{saved:?}").contains(SECRET), "{saved:?}");
}

#[test]
fn an_address_where_nobody_answers_is_told_long_before_a_lost_server_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = format!("s3://{BUCKET}?endpoint=http://{}", silent.local_addr().unwrap());
    let way = Way { target, environment: &ENVIRONMENT };
    let began = Instant::now();
    assert_eq!(way.run(&["images", &way.target, "--json"]).expect(1).code(), "target-unreachable");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    // A service that speaks no TLS is not talked to in plain text unless the address says so.
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::start(directory.path());
    let target = storage.target("r").replace("http://", "https://");
    Way { target: target.clone(), environment: &ENVIRONMENT }.run(&["images", &target, "--json"]).expect(1);
}

#[test]
fn eight_machines_save_to_one_repository_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::start(directory.path());
    way(&storage).check_eight_at_once(&disk());
}

#[test]
fn a_program_that_is_killed_blocks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::start(directory.path());
    way(&storage).check_kills(&disk(), &storage.proxy);
}

#[test]
fn a_cancelled_wait_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let storage = ObjectStorage::start(directory.path());
    way(&storage).check_cancel(&disk(), &storage.proxy);
}
