//! Registry hives that Windows wrote, on a disk like the one that they come from: the program reads them as hivex does.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::ntfs::{NtfsMounted, make_ntfs};
use tests::program::sosei;
use tests::{FileDisk, fixture, run};

const MIB: u64 = 1 << 20;

/// An EFI system partition with a boot store, and a system partition with a registry.
fn windows_disk(directory: &Path) -> PathBuf {
    let (esp, volume) = (directory.join("esp"), directory.join("volume"));
    FileDisk::create(&esp, 40 * MIB);
    let esp_path = esp.to_str().unwrap();
    run("mkfs.vfat", ["-F", "32", "-s", "1", esp_path]);
    let store = fixture::unpack("windows/BCD", directory);
    run("mmd", ["-i", esp_path, "::/EFI", "::/EFI/Microsoft", "::/EFI/Microsoft/Boot"]);
    run("mcopy", ["-i", esp_path, store.to_str().unwrap(), "::/EFI/Microsoft/Boot/BCD"]);
    make_ntfs(&volume, 80 * MIB, &[]);
    {
        let mounted = NtfsMounted::new(&volume, "rw");
        let config = mounted.path().join("Windows/System32/config");
        fs::create_dir_all(&config).unwrap();
        fixture::unpack_to("windows/SYSTEM", &config.join("SYSTEM"));
    }
    let disk = directory.join("win.img");
    FileDisk::create(&disk, 128 * MIB);
    run("sgdisk", ["-n1:2048:+40M", "-t1:ef00", "-n2:0:+80M", "-t2:0700", disk.to_str().unwrap()]);
    for (part, place) in [(&esp, 1), (&volume, 41)] {
        run(
            "dd",
            [
                &format!("if={}", part.display()),
                &format!("of={}", disk.display()),
                "bs=1M",
                &format!("seek={place}"),
                "conv=notrunc,sparse",
                "status=none",
            ],
        );
    }
    disk
}

/// What hivex prints of a key's values: name and bytes, as `hex(3):3e,a0`.
fn mounted_devices(hive: &str) -> BTreeMap<String, Vec<u8>> {
    let printed = run("hivexget", [hive, "\\MountedDevices"]);
    let values = printed.lines().filter_map(|line| {
        let (name, bytes) = line.split_once("\"=hex(3):")?;
        let bytes = bytes.split(',').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        Some((name.trim_start_matches('"').replace("\\\\", "\\"), bytes))
    });
    values.collect()
}

/// The same value as the program tells it.
fn told(bytes: &[u8]) -> Value {
    if let Ok(bytes) = <[u8; 12]>::try_from(bytes) {
        let [a, b, c, d, offset @ ..] = bytes;
        let signature = format!("{:08x}", u32::from_le_bytes([a, b, c, d]));
        return serde_json::json!({"by": "mbr", "signature": signature, "offset": u64::from_le_bytes(offset)});
    }
    let units: Vec<u16> = bytes.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    serde_json::json!({"by": "device", "path": String::from_utf16(&units).unwrap()})
}

#[test]
fn hives_that_windows_wrote_are_read_as_hivex_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    let disk = windows_disk(directory.path());
    let disk = disk.to_str().unwrap();
    let hive = fixture::unpack("windows/SYSTEM", directory.path());
    let hive = hive.to_str().unwrap();

    let report: Value = serde_json::from_str(&sosei(["identity", "report", disk, "--json"]).expect(0).stdout).unwrap();
    let systems = report["systems"].as_array().unwrap();
    let system = systems.iter().find(|system| system["place"] == "win:p2").unwrap_or_else(|| panic!("{report:#}"));
    let name = run("hivexget", [hive, "\\ControlSet001\\Control\\ComputerName\\ComputerName", "ComputerName"]);
    assert_eq!(system["host"], name.trim());
    let expected: BTreeMap<String, Value> = mounted_devices(hive)
        .into_iter()
        .map(|(name, bytes)| (name.rsplit('\\').next().unwrap().to_owned(), told(&bytes)))
        .collect();
    assert_eq!(expected.len(), 11, "{expected:#?}");
    let letters = system["letters"].as_array().unwrap();
    let found: BTreeMap<String, Value> =
        letters.iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row["volume"].clone())).collect();
    assert_eq!(found, expected);
}

/// A GUID as it lies on a disk: the first three groups with their lowest byte first.
fn as_stored(guid: &str) -> Vec<u8> {
    let group = |(number, text): (usize, &str)| {
        let bytes = (0..text.len()).step_by(2).map(|start| u8::from_str_radix(&text[start..start + 2], 16).unwrap());
        let mut bytes: Vec<u8> = bytes.collect();
        if number < 3 {
            bytes.reverse();
        }
        bytes
    };
    guid.split('-').enumerate().flat_map(group).collect()
}

#[test]
fn a_boot_store_that_windows_wrote_names_the_partitions_that_it_looks_for() {
    let directory = tempfile::tempdir().unwrap();
    let disk = windows_disk(directory.path());
    let text = sosei(["identity", "report", disk.to_str().unwrap()]).expect(0).stdout;
    let store = fs::read(fixture::unpack("windows/BCD", directory.path())).unwrap();
    // Objects and elements as regipy and hivexsh list them; the GUIDs lie in the store in the byte order of a GPT.
    let expected = [
        ("733b62de-f608-11eb-825c-c112f60133ab", "11000001", "24e0e103-9bc2-477e-a5e2-3e42d2bb134f"),
        ("733b62e4-f608-11eb-825c-c112f60133ab", "11000001", "8e0f2c38-e4ea-47ba-b7fc-9d8c74dccf0b"),
        ("733b62e4-f608-11eb-825c-c112f60133ab", "21000001", "8e0f2c38-e4ea-47ba-b7fc-9d8c74dccf0b"),
        ("733b62e7-f608-11eb-825c-c112f60133ab", "31000003", "6cdfcd69-de75-4490-8f99-5a84bf264917"),
        ("9dea862c-5cdd-4e70-acc1-f32b344d4795", "11000001", "36be3955-63bf-4068-a6ab-00195cca3a22"),
    ];
    for (object, element, guid) in expected {
        let line = format!("Boot: /EFI/Microsoft/Boot/BCD {{{object}}} {element}: GUID {guid} = not on these disks");
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        assert!(store.windows(16).any(|bytes| bytes == as_stored(guid)), "{guid}");
    }
    assert_eq!(text.lines().filter(|line| line.starts_with("Boot: ")).count(), 10, "{text}");
}
