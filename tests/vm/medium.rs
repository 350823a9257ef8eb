//! The build of the live medium: the same input gives the same bytes, and what is missing fails it.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::medium::{Medium, build, built_once_in};
use tests::tool::run_status;
use tests::{program, run};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("image-build").join(name)
}

/// Digests of everything that is booted, by name.
fn digests(directory: &Path) -> String {
    run("sh", ["-ec", "cd \"$1\" && sha256sum *.img *.iso vmlinuz packages.tsv", "sh", directory.to_str().unwrap()])
}

#[test]
fn two_builds_are_the_same_byte_for_byte() {
    let first = Medium::get();
    let second = tempfile::tempdir().unwrap();
    build(second.path());
    assert_eq!(digests(first.directory()), digests(second.path()));
}

#[test]
fn the_medium_is_small_and_says_what_it_is_made_of() {
    let medium = Medium::get();
    let size = fs::metadata(medium.iso()).unwrap().len();
    println!("ISO: {size} bytes, with quick compression");
    assert!(size < 110_000_000, "{size}");
    let packages = fs::read_to_string(medium.directory().join("packages.tsv")).unwrap();
    let rows: Vec<Vec<&str>> = packages.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["package", "version", "source", "sha256", "licences"]);
    assert!(rows.len() > 80, "{}", rows.len());
    for row in &rows[1..] {
        assert!(row.len() == 5 && row.iter().all(|field| !field.is_empty()), "{row:?}");
        assert_eq!(row[3].len(), 64, "{row:?}");
    }
    for package in ["linux-image-6", "shim-signed", "udev", "libc6"] {
        assert!(rows.iter().any(|row| row[0].starts_with(package)), "{package}");
    }
}

/// A directory of firmware as somebody has it.
fn firmware() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("vendor")).unwrap();
    for (name, text) in [("vendor/card.bin", "firmware"), ("LICENCE.vendor", "as it is"), ("WHENCE", "card.bin")] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[test]
fn a_directory_of_firmware_stands_in_the_list_with_its_licences() {
    let (work, firmware) = (tempfile::tempdir().unwrap(), firmware());
    fs::write(work.path().join("kept"), "").unwrap();
    let list = |firmware: &Path| {
        let mut command = Command::new(script("manifest.sh"));
        let output = command.arg(work.path()).env("SOSEI_FIRMWARE", firmware).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| printed.lines().skip(1).collect::<Vec<_>>().join("\n"))
    };
    let first = list(firmware.path()).unwrap();
    let fields: Vec<&str> = first.split('\t').collect();
    assert_eq!((fields[0], fields[1], fields[4]), ("(firmware)", "3 files", "LICENCE.vendor;WHENCE"));
    assert_eq!(fields[3].len(), 64, "{first}");
    fs::write(firmware.path().join("vendor/card.bin"), "Firmware").unwrap();
    assert_ne!(list(firmware.path()).unwrap(), first);
    // What was asked for and is not there fails the build.
    assert_eq!(list(&work.path().join("elsewhere")), None);
    assert_eq!(list(tempfile::tempdir().unwrap().path()), None);
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn firmware_of_packages_and_of_a_directory_is_on_the_medium() {
    let (out, firmware) = (tempfile::tempdir().unwrap(), firmware());
    let mut command = Command::new(script("medium.sh"));
    command.env("SOSEI_LEVEL", "1").env("SOSEI_FIRMWARE", firmware.path());
    command.env("SOSEI_FIRMWARE_PACKAGES", "firmware-bnx2").arg(program::path()).arg(out.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packages = fs::read_to_string(out.path().join("packages.tsv")).unwrap();
    for start in ["firmware-bnx2\t", "(firmware)\t3 files\t"] {
        assert!(packages.lines().any(|line| line.starts_with(start)), "{start}: {packages}");
    }
    let list = "cd \"$1\" && cpio --quiet -i --to-stdout root.squashfs < root.img > root && unsquashfs -l root";
    let files = run("sh", ["-ec", list, "sh", out.path().to_str().unwrap()]);
    for file in [
        "lib/firmware/vendor/card.bin",
        "lib/firmware/LICENCE.vendor",
        "lib/firmware/bnx2/",
        "doc/firmware-bnx2/copyright",
        "share/sosei-packages.tsv",
    ] {
        assert!(files.contains(file), "{file}");
    }
}

/// A kernel with three modules, one of which needs another.
fn modules(list: &str) -> std::process::Output {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write(
        "modules.dep",
        "kernel/fs/ext4.ko: kernel/lib/crc16.ko\nkernel/lib/crc16.ko:\nkernel/net/one-two.ko:\nkernel/net/old/slip.ko:\n",
    );
    write("modules.builtin", "kernel/net/ipv6.ko\n");
    write("list", list);
    run_status(script("modules.sh").to_str().unwrap(), [directory.path(), &directory.path().join("list")])
}

#[test]
fn modules_come_with_what_they_need() {
    let chosen = |list| String::from_utf8(modules(list).stdout).unwrap().lines().collect::<Vec<_>>().join(" ");
    assert_eq!(chosen("ext4 ipv6 # a remark\n"), "kernel/fs/ext4.ko kernel/lib/crc16.ko");
    assert_eq!(chosen("net/"), "kernel/net/old/slip.ko kernel/net/one-two.ko");
    assert_eq!(chosen("net/ !net/old/"), "kernel/net/one-two.ko");
    assert_eq!(chosen("net/ !one_two"), "kernel/net/old/slip.ko");
    assert_eq!(chosen("net/ !net/old/ slip one_two"), "kernel/net/old/slip.ko kernel/net/one-two.ko");
}

#[test]
fn a_module_that_the_kernel_does_not_have_fails_the_build() {
    for list in ["ext5", "ext4 fs/cifs/"] {
        let output = modules(list);
        assert!(!output.status.success());
        let missing = list.rsplit(' ').next().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("the kernel has no module {missing}\n"));
    }
}

#[test]
fn a_command_that_is_missing_fails_the_build() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    for below in ["usr/bin", "usr/lib/udev/rules.d", "usr/lib/x86_64-linux-gnu", "usr/lib64"] {
        fs::create_dir_all(root.join(below)).unwrap();
    }
    fs::copy(program::path(), root.join("usr/bin/sosei")).unwrap();
    fs::write(root.join("usr/lib/udev/rules.d/1.rules"), "RUN+=\"/sbin/mdadm --incremental $devnode\"\n").unwrap();
    let output = run_status(script("check.sh").to_str().unwrap(), [&root]);
    assert!(!output.status.success());
    let printed = String::from_utf8_lossy(&output.stderr);
    for expected in ["mdadm is missing", "/usr/bin/sosei needs libc.so.6", "these rules activate what lies on disks"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
}

#[test]
fn what_is_built_anew_takes_nothing_away_from_those_who_use_it() {
    let all = tempfile::tempdir().unwrap();
    let build =
        |paths: &[&str]| built_once_in(all.path(), "sample", paths, |at| fs::write(at.join("made"), "").unwrap());
    let first = build(&["image-build/settings.sh"]);
    let second = build(&["image-build/pack.sh"]);
    assert!(first != second && first.join("made").is_file() && second.join("made").is_file());
    // Nobody holds it any more who once did: a process that ended.
    let old = all.path().join("sample-0");
    fs::create_dir(&old).unwrap();
    fs::write(old.join(".in-use"), "").unwrap();
    build(&["image-build/root.sh"]);
    assert!(!old.exists() && first.is_dir() && second.is_dir());
}
