//! Signatures and GUIDs alone: reported, kept in a file, and given to a disk that replaces another.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use serde_json::Value;
use tests::program::{Finished, sosei, tampered};
use tests::run;
use tests::sample::{Content, MIB, SampleDisk, read};

/// A disk as the first of a Windows cluster of 2003: a signature, and a partition from sector 32.
fn windows(name: &str, signature: &str) -> SampleDisk {
    let mut disk = SampleDisk::new(name, 64 * MIB);
    disk.divide(512, &format!("label: dos\nlabel-id: 0x{signature}\nstart=32, size=81920, type=7\n"));
    disk.add("p1", 32 * 512, 40 * MIB, Content::Ntfs, 512);
    disk
}

fn gpt(name: &str) -> SampleDisk {
    let disk = SampleDisk::new(name, 64 * MIB);
    disk.sgdisk(&["-n1:1M:+8M", "-c1:EFI", "-n3:16M:+16M", "-c3:根", "-A3:set:63"]);
    disk
}

fn ids(disk: &Path) -> Vec<String> {
    let table: Value = serde_json::from_str(&run("sfdisk", ["--json", disk.to_str().unwrap()])).unwrap();
    let table = &table["partitiontable"];
    let uuids = table["partitions"].as_array().unwrap().iter().map(|entry| entry["uuid"].clone());
    std::iter::once(table["id"].clone()).chain(uuids).map(|id| id.as_str().unwrap_or_default().to_lowercase()).collect()
}

fn apply(file: &Path, disk: &str, arguments: &[&str]) -> Finished {
    let fixed = ["identity", "apply", file.to_str().unwrap(), disk, "--yes", "--json"];
    sosei(fixed.iter().chain(arguments))
}

fn differing(one: &Path, other: &Path) -> Vec<usize> {
    let (one, other) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    (0..one.len()).filter(|at| one[*at] != other[*at]).collect()
}

#[test]
fn a_report_has_the_sections_that_operators_of_windows_clusters_know() {
    let disk = windows("q.img", "22c779e1");
    let report = sosei(["identity", "report", disk.text()]).expect(0).stdout;
    let (system, rest) = report.split_once("[DISKS]").unwrap();
    assert!(system.starts_with("[System Information]\n"), "{report}");
    let (disks, volumes) = rest.split_once("[Volumes]").unwrap();
    assert!(disks.starts_with("\n\nDisk Number: 0\nSignature: 22C779E1\nPartition Table: MBR\n"), "{report}");
    let uuid = run("blkid", ["-p", "-O", "16384", "-o", "value", "-s", "UUID", disk.text()]);
    let volume = format!(
        "\n\nVolume: q:p1\nPartition Type: 0x07\nPartition GUID: 22c779e1-01\nVolume Label: {}\nFile System: ntfs\n\
         Volume UUID: {}\nDisk Number: 0\nStartingOffset: 16384 bytes\nLength: 40 MB (41943040 bytes)\n",
        run("blkid", ["-p", "-O", "16384", "-o", "value", "-s", "LABEL", disk.text()]).trim(),
        uuid.trim()
    );
    assert_eq!(volumes, volume);
    let json = sosei(["identity", "report", disk.text(), "--json"]).expect(0).json();
    assert_eq!(json["identity"]["disks"][0]["layout"]["signature"], "22c779e1");
}

#[test]
fn a_replaced_disk_gets_the_signature_and_nothing_else_changes() {
    let (old, new) = (windows("old.img", "22c779e1"), windows("new.img", "0badcafe"));
    let directory = tempfile::tempdir().unwrap();
    let (file, before) = (directory.path().join("identity.json"), directory.path().join("before"));
    sosei(["identity", "save", file.to_str().unwrap(), old.text()]).expect(0);
    fs::copy(&new.path, &before).unwrap();
    let applied = apply(&file, new.text(), &[]).expect(0).json();
    assert_eq!(applied["disks"][0]["changes"][0]["to"], "22c779e1");
    assert!(differing(&new.path, &before).iter().all(|at| (0x1B8..0x1BC).contains(at)));
    assert_eq!(ids(&new.path), ids(&old.path));
    // Again it has nothing to do, and is not asked.
    let again = sosei(["identity", "apply", file.to_str().unwrap(), new.text(), "--json"]).expect(0).json();
    assert_eq!(again["disks"][0]["changes"], serde_json::json!([]));
}

#[test]
fn guids_return_to_the_partitions_that_begin_where_they_did() {
    let (old, new) = (gpt("old.img"), SampleDisk::new("new.img", 96 * MIB));
    // A larger disk, where the last partition is larger too, and one more.
    new.sgdisk(&["-n1:1M:+8M", "-n3:16M:+32M", "-n4:64M:+8M"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identity.json");
    sosei(["identity", "save", file.to_str().unwrap(), old.text()]).expect(0);
    let own = ids(&new.path)[3].clone();
    apply(&file, new.text(), &[]).expect(0);
    assert_eq!(ids(&new.path)[..3], ids(&old.path)[..]);
    assert_eq!(ids(&new.path)[3], own);
    let verified = run("sgdisk", ["--verify", new.text()]);
    assert!(verified.contains("No problems found"), "{verified}");
    // Types, names and attributes are those of the new disk.
    assert!(run("sgdisk", ["-i3", new.text()]).contains("Attribute flags: 0000000000000000"));
}

#[test]
fn whatever_write_is_the_last_one_copy_of_the_table_is_valid() {
    check_interrupted(&gpt("new.img"));
    // With one valid copy from the beginning.
    let damaged = gpt("new.img");
    damaged.write(1024 + 20, b"damage");
    check_interrupted(&damaged);
    let damaged = gpt("new.img");
    damaged.write(64 * MIB - 512 + 20, b"damage");
    check_interrupted(&damaged);
}

/// Ends an `apply` at each of its writes.
fn check_interrupted(new: &SampleDisk) {
    let old = gpt("old.img");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identity.json");
    sosei(["identity", "save", file.to_str().unwrap(), old.text()]).expect(0);
    let fresh = fs::read(&new.path).unwrap();
    for number in 1..100 {
        fs::write(&new.path, &fresh).unwrap();
        let arguments = ["identity", "apply", file.to_str().unwrap(), new.text(), "--yes"];
        let finished = tampered(&format!("pwrite64:signal=KILL:when={number}"), arguments);
        // Whole or not, a table is there, and the next run completes it.
        let table = sosei(["disks", new.text(), "--json"]).expect(0).stdout;
        assert!(table.contains("\"p3\""), "write {number}: {table}");
        apply(&file, new.text(), &[]).expect(0);
        assert_eq!(ids(&new.path), ids(&old.path));
        if !finished.is_killed() {
            // Entries and header of each copy.
            assert_eq!(number, 5);
            return;
        }
    }
    panic!("never ended");
}

#[test]
fn a_disk_that_is_divided_otherwise_is_refused() {
    let old = gpt("old.img");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identity.json");
    sosei(["identity", "save", file.to_str().unwrap(), old.text()]).expect(0);
    let moved = SampleDisk::new("moved.img", 64 * MIB);
    moved.sgdisk(&["-n1:1M:+8M", "-n3:17M:+16M"]);
    let missing = SampleDisk::new("missing.img", 64 * MIB);
    missing.sgdisk(&["-n1:1M:+8M"]);
    let empty = SampleDisk::new("empty.img", 64 * MIB);
    let damaged = gpt("damaged.img");
    damaged.write(1024 + 20, b"damage");
    let grown = gpt("grown.img");
    fs::File::options().write(true).open(&grown.path).unwrap().set_len(80 * MIB).unwrap();
    for disk in [moved, missing, windows("mbr.img", "22c779e1"), empty, grown] {
        let before = fs::read(&disk.path).unwrap();
        assert_eq!(apply(&file, disk.text(), &[]).expect(4).code(), "other-layout", "{}", disk.text());
        assert!(fs::read(&disk.path).unwrap() == before);
    }
    // A damaged copy is mended from the valid one: it has to get the names too.
    apply(&file, damaged.text(), &[]).expect(0);
    assert_eq!(ids(&damaged.path), ids(&old.path));
}

#[test]
fn a_file_is_never_overwritten_and_every_byte_of_it_is_checked() {
    let old = windows("old.img", "22c779e1");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("identity.json");
    sosei(["identity", "save", file.to_str().unwrap(), old.text()]).expect(0);
    let refused = sosei(["identity", "save", file.to_str().unwrap(), old.text(), "--json"]).expect(4);
    assert_eq!(refused.code(), "file-exists");
    let whole = fs::read(&file).unwrap();
    let new = windows("new.img", "0badcafe");
    for at in (0..whole.len()).step_by(97) {
        let mut bent = whole.clone();
        bent[at] ^= 1;
        fs::write(&file, &bent).unwrap();
        assert_eq!(apply(&file, new.text(), &[]).expect(5).code(), "damaged", "byte {at}");
    }
    assert_eq!(read(&new.path, 0x1B8, 4), 0x0bad_cafe_u32.to_le_bytes());
    fs::write(&file, &whole).unwrap();
    let unconfirmed = sosei(["identity", "apply", file.to_str().unwrap(), new.text(), "--json"]).expect(4);
    assert_eq!(unconfirmed.code(), "not-confirmed");
}
