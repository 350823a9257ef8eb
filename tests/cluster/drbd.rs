//! DRBD metadata as `drbdmeta` writes and changes them, against what the program reads and would write.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use block::{MemoryDisk, WriteAt};
use cluster::drbd::{Kind, Metadata, Version, find};
use tests::sample::MIB;
use tests::{FileDisk, LoopDevice, run};

/// A device with DRBD metadata.
struct Device {
    _directory: tempfile::TempDir,
    file: PathBuf,
    format: [&'static str; 2],
}

impl Device {
    fn new(format: [&'static str; 2], peers: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("device");
        File::create(&file).unwrap().set_len(64 * MIB).unwrap();
        let device = Self { _directory: directory, file, format };
        device.drbdmeta(&[&["create-md"], peers].concat());
        device
    }

    fn drbdmeta(&self, arguments: &[&str]) -> String {
        let attached = LoopDevice::attach(&self.file, 512);
        let path = attached.path().to_str().unwrap();
        let place = [self.format[0], path, self.format[1]];
        run("drbdmeta", ["--force", "0"].iter().chain(&place).chain(arguments))
    }

    fn metadata(&self) -> Metadata {
        find(&FileDisk::open(&self.file)).unwrap().expect("metadata are found")
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.file).unwrap()
    }

    /// Writes a flag or a generation as the kernel would, at an offset of the superblock.
    fn set(&self, at: u64, bytes: &[u8]) {
        let file = File::options().write(true).open(&self.file).unwrap();
        file.write_all_at(bytes, self.metadata().offset + at).unwrap();
    }
}

/// All formats, with the state of a half that was up to date: consistent, known to peers, shut down in order.
fn devices() -> Vec<(Device, Version, Kind)> {
    let formats = [
        (["v08", "internal"], Version::V08, Kind::Internal, &[][..]),
        (["v08", "flex-external"], Version::V08, Kind::External, &[]),
        (["v09", "internal"], Version::V09, Kind::Internal, &["7"]),
        (["v09", "flex-external"], Version::V09, Kind::External, &["1"]),
    ];
    let make = |(format, version, kind, peers)| {
        let device = Device::new(format, peers);
        device.set(8, &0x1122_3344_5566_7789_u64.to_be_bytes());
        let peer = if version == Version::V08 { 16 } else { 112 };
        device.set(peer, &0xA1A2_A3A4_A5A6_A7A8_u64.to_be_bytes());
        device.set(56, &0x91_u32.to_be_bytes());
        (device, version, kind)
    };
    formats.into_iter().map(make).collect()
}

#[test]
fn metadata_are_read_as_drbdmeta_prints_them() {
    for (device, version, kind) in devices() {
        let metadata = device.metadata();
        assert_eq!((metadata.version, metadata.kind), (version, kind));
        assert_eq!((metadata.current, metadata.flags), (0x1122_3344_5566_7788, 0x91));
        assert!(metadata.known.contains(&0xA1A2_A3A4_A5A6_A7A8), "{:x?}", metadata.known);
        let dump = device.drbdmeta(&["dump-md"]);
        assert!(dump.contains(&format!("# md_offset {}\n", metadata.offset)), "{dump}");
        assert!(dump.contains("0x1122334455667789"), "{dump}");
        assert!(!metadata.is_marked());
    }
}

#[test]
fn a_half_is_marked_in_the_bytes_that_drbdmeta_changes() {
    for (device, version, kind) in devices() {
        let metadata = device.metadata();
        let mut expected = device.bytes();
        let at = metadata.offset as usize;
        expected[at..at + 4096].copy_from_slice(&metadata.marked());
        device.drbdmeta(&["invalidate"]);
        let actual = device.bytes();
        let differing: Vec<_> = (0..actual.len()).filter(|at| actual[*at] != expected[*at]).collect();
        assert!(differing.is_empty(), "{version:?} {kind:?}: {differing:?}");
        assert!(device.metadata().is_marked());
        let changed = metadata.superblock().iter().zip(metadata.marked()).filter(|(old, new)| *old != new).count();
        assert_eq!(changed, if version == Version::V08 { 1 } else { 33 - full_sync_peers(&metadata) });
    }
}

/// Peers of 9 that are marked from the beginning.
fn full_sync_peers(metadata: &Metadata) -> usize {
    (0..32).filter(|peer| metadata.superblock()[112 + peer * 32 + 19] & 8 != 0).count()
}

#[test]
fn a_half_that_was_not_given_up_in_order_is_told() {
    for (device, version, _) in devices() {
        assert!(!device.metadata().was_in_use());
        // What a kernel leaves after an orderly shutdown: the log is to be applied, and holds nothing.
        if version == Version::V08 {
            device.set(60, &0x8374_026C_u32.to_be_bytes());
            assert!(!device.metadata().was_in_use());
        }
        for flags in [0x93_u32, 0xD1] {
            device.set(56, &flags.to_be_bytes());
            assert!(device.metadata().was_in_use(), "{flags:x}");
        }
    }
}

#[test]
fn what_only_looks_like_metadata_is_none() {
    let device = Device::new(["v08", "internal"], &[]);
    let superblock = device.metadata().superblock().to_vec();
    // The same bytes somewhere else, on a region with another size, or with fields that contradict the place.
    let found = |size: u64, at: u64, superblock: &[u8]| {
        let disk = MemoryDisk::new(size);
        disk.write_at(at, superblock).unwrap();
        find(&disk).unwrap().map(|metadata| (metadata.offset, metadata.kind))
    };
    assert_eq!(found(MIB, MIB - 4096, &superblock), Some((MIB - 4096, Kind::Internal)));
    // The end of a region is rounded down to 4096 bytes.
    assert_eq!(found(MIB + 4095, MIB - 4096, &superblock), Some((MIB - 4096, Kind::Internal)));
    assert_eq!(found(MIB, MIB - 8192, &superblock), None);
    assert_eq!(found(MIB, 0, &superblock), None, "the log of internal metadata lies before the superblock");
    for (at, value) in [(60, 0x8374_0269_u32), (64, 0), (64, u32::MAX), (68, 1), (76, 0xFFFF_FFFF)] {
        let mut bent = superblock.clone();
        bent[at..at + 4].copy_from_slice(&value.to_be_bytes());
        assert_eq!(found(MIB, MIB - 4096, &bent), None, "{value:x} at {at}");
    }
    let mut too_large = superblock.clone();
    too_large[..8].copy_from_slice(&(MIB / 512).to_be_bytes());
    assert_eq!(found(MIB, MIB - 4096, &too_large), None, "data that reach into their metadata");
    for size in [0, 511, 4095] {
        assert_eq!(find(&MemoryDisk::new(size)).unwrap(), None);
    }
}
