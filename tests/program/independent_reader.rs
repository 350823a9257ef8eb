//! The image format as `docs/image-format.md` tells it, proved by a reader that was written from that document in
//! another language: what it restores is what was saved.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tests::fill::content;
use tests::{run, run_status, run_with_input};

const MIB: usize = 1 << 20;

/// The program lies two directories above this test: `target/debug/deps/…` and `target/debug/sosei`.
fn program() -> String {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("sosei");
    assert!(program.exists(), "{} is missing: build the package sosei first", program.display());
    program.to_str().unwrap().to_owned()
}

fn reader() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reader/read_image.py").to_str().unwrap().to_owned()
}

/// A disk of 12 MiB: GPT, an ext4 file system with files, and a partition of no known content.
fn make_disk(directory: &Path) -> PathBuf {
    let disk = directory.join("node.img");
    fs::File::create(&disk).unwrap().set_len(12 << 20).unwrap();
    run_with_input("sfdisk", ["-q", disk.to_str().unwrap()], b"label: gpt\nstart=2048,size=8192\nsize=4096\n");
    let file_system = directory.join("p1");
    fs::File::create(&file_system).unwrap().set_len(4 << 20).unwrap();
    let files = directory.join("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("random"), content(1, 700_001)).unwrap();
    fs::write(files.join("text"), "the same words again and again\n".repeat(20_000)).unwrap();
    let arguments = ["-q", "-F", "-b", "1024", "-d", files.to_str().unwrap(), file_system.to_str().unwrap()];
    run("mkfs.ext4", arguments);
    let open = fs::File::options().write(true).open(&disk).unwrap();
    let mut bytes = fs::read(&file_system).unwrap();
    // What lies in free blocks must not get into the image.
    let free = bytes.chunks(1024).rposition(|block| block.iter().all(|byte| *byte == 0)).unwrap() * 1024;
    bytes[free..free + 1024].fill(0xA5);
    open.write_all_at(&bytes, MIB as u64).unwrap();
    open.write_all_at(&content(2, 300_000), 5 * MIB as u64 + 100_000).unwrap();
    open.write_all_at(b"boot loader between the table and the first partition", 40 << 10).unwrap();
    disk
}

#[test]
fn a_reader_written_from_the_document_restores_every_saved_byte() {
    let directory = tempfile::tempdir().unwrap();
    let disk = make_disk(directory.path());
    let repository = directory.path().join("repository");
    fs::create_dir(&repository).unwrap();
    let repository = repository.to_str().unwrap();
    run(&program(), ["--lang", "en", "save", repository, "first", disk.to_str().unwrap()]);

    let original = fs::read(&disk).unwrap();
    let output = directory.path().join("output");
    let output_path = output.to_str().unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(Path::new(repository).join("images/first/manifest.json")).unwrap()).unwrap();
    let record = &manifest["disks"][0];

    run("python3", [&reader(), repository, "first", "node", "table", output_path]);
    let tables = fs::read(&output).unwrap();
    let runs = record["layout"]["table_sectors"].as_array().unwrap();
    assert_eq!(runs.len(), 5, "LBA 0, two headers, two arrays of entries");
    for run in runs {
        let (start, length) = extent(&run["extent"]);
        assert_eq!(tables[start..start + length], original[start..start + length], "{}", run["role"]);
    }

    let mut methods = Vec::new();
    for (region, saved) in
        record["layout"]["regions"].as_array().unwrap().iter().zip(record["regions"].as_array().unwrap())
    {
        let (start, length) = extent(&region["extent"]);
        let name = region["name"].as_str().unwrap();
        run("python3", [&reader(), repository, "first", "node", name, output_path]);
        let restored = fs::read(&output).unwrap();
        assert_eq!(restored.len(), length, "{name}");
        let map = fs::read(Path::new(repository).join(format!("images/first/node.{name}.map"))).unwrap();
        let saved_bytes = saved_bytes(&map, length);
        let original = &original[start..start + length];
        check_bytes(name, &saved_bytes, original, &restored);
        if name == "p1" {
            let left_out = saved_bytes.iter().zip(original).any(|(saved, byte)| !saved && *byte == 0xA5);
            assert!(left_out, "the sample has something in its free blocks");
        }
        methods.push((name.to_owned(), saved["coverage"]["method"].as_str().unwrap().to_owned()));
    }
    assert!(methods.contains(&("p1".into(), "used".into())), "{methods:?}");
    assert!(methods.contains(&("p2".into(), "whole".into())), "{methods:?}");

    a_flipped_byte_is_noticed(repository, output_path);
}

fn extent(value: &serde_json::Value) -> (usize, usize) {
    (value[0].as_u64().unwrap() as usize, value[1].as_u64().unwrap() as usize)
}

/// Which bytes of a region the map says were saved.
fn saved_bytes(map: &[u8], length: usize) -> Vec<bool> {
    let number = |at: usize| u64::from_le_bytes(map[at..at + 8].try_into().unwrap()) as usize;
    let mut saved = vec![false; length];
    for entry in 0..number(24) {
        let (start, count) = (number(40 + 16 * entry), number(48 + 16 * entry));
        saved[start..start + count].fill(true);
    }
    saved
}

#[track_caller]
fn check_bytes(name: &str, saved: &[bool], original: &[u8], restored: &[u8]) {
    let wrong = saved.iter().zip(original).zip(restored).position(|((saved, original), restored)| {
        let expected = if *saved { *original } else { 0 };
        *restored != expected
    });
    assert_eq!(wrong, None, "first wrong byte of {name}");
    assert!(saved.contains(&true), "{name} has no saved byte");
}

fn a_flipped_byte_is_noticed(repository: &str, output: &str) {
    let packs = Path::new(repository).join("packs");
    let directory = fs::read_dir(packs).unwrap().next().unwrap().unwrap().path();
    let pack = fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&pack).unwrap();
    bytes[16 + 64 + 5] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let names = ["gap1", "p1", "p2"];
    let noticed = names.iter().any(|name| {
        let failed = run_status("python3", [&reader(), repository, "first", "node", name, output]);
        // By the digest, not by a decompressor that stumbles.
        !failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains("wrong check")
    });
    assert!(noticed, "no region noticed a flipped byte");
}
