//! Used file blocks of VMFS 3: a volume that vmfs-tools accepts, compared with what it counts and reads.
//!
//! Nobody but VMware has a mkfs for VMFS: the volume is written by `tests::vmfs`. That it is one is proved by
//! vmfs-tools, which opens it, finds no fault in it, counts what it has allocated, and reads its file.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use block::{Extents, InRegion, RegionExtent};
use filesystem::{Coverage, ReasonCode, survey};
use tempfile::TempDir;
use tests::fill::content;
use tests::restored::restore_covered;
use tests::vmfs::{BLOCKS, DATA, DESCRIPTORS, FILE_BLOCKS, FILE_LENGTH, FILE_SYSTEM, HEARTBEATS, MIB, make};
use tests::{FileDisk, blkid, run, run_status};

struct Volume {
    _directory: TempDir,
    path: PathBuf,
}

impl Volume {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("volume");
        Self { _directory: directory, path }
    }

    fn made() -> Self {
        let volume = Self::new();
        make(&volume.path);
        volume
    }

    fn write(&self, position: u64, bytes: &[u8]) {
        OpenOptions::new().write(true).open(&self.path).unwrap().write_all_at(bytes, position).unwrap();
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn debugvmfs(&self, arguments: &[&str]) -> String {
        run("debugvmfs", [self.text()].iter().chain(arguments))
    }

    fn used(&self) -> Extents<InRegion> {
        match survey(&FileDisk::open(&self.path)).coverage {
            Coverage::Used(used) => used,
            Coverage::Whole(reason) => panic!("{reason:?}"),
        }
    }

    #[track_caller]
    fn check_whole(&self, code: ReasonCode, detail: &str) {
        match survey(&FileDisk::open(&self.path)).coverage {
            Coverage::Used(_) => panic!("used, expected {code:?}"),
            Coverage::Whole(reason) => assert_eq!((reason.code, reason.detail.as_str()), (code, detail)),
        }
    }

    /// Blocks that vmfs-tools counts as allocated.
    fn allocated(&self) -> u64 {
        let printed = self.debugvmfs(&["df"]);
        let line = printed.lines().find(|line| line.starts_with("Allocated blocks")).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

fn blocks(runs: &[(u64, u64)], size: u64) -> Extents<InRegion> {
    let extents = runs.iter().map(|(first, end)| RegionExtent::between(DATA + first * MIB, DATA + end * MIB));
    let around = [RegionExtent::between(0, DATA), RegionExtent::between(DATA + BLOCKS * MIB, size)];
    around.into_iter().chain(extents).collect()
}

#[test]
fn used_is_what_the_bitmap_of_file_blocks_says() {
    let volume = Volume::made();
    let size = fs::metadata(&volume.path).unwrap().len();
    let used = volume.used();
    let runs = [(0, 10), (11, 12), (199, 202), (399, 401), (490, 491), (511, 512)];
    assert_eq!(used, blocks(&runs, size));
    let around = DATA + size - (DATA + BLOCKS * MIB);
    assert_eq!((used.total_bytes() - around) / MIB, volume.allocated(), "as vmfs-tools counts");
    check_reads(&volume);

    let restored = Volume::new();
    restore_covered(&FileDisk::open(&volume.path), &used, &restored.path);
    assert_eq!(restored.allocated(), volume.allocated());
    check_reads(&restored);
    // Four blocks with headers and heartbeats belong to no file here.
    let printed = run("fsck.vmfs", [restored.text()]);
    for line in ["Unallocated blocks : 0", "Lost blocks        : 4", "Undefined inodes   : 0", "Directory errors   : 0"]
    {
        assert!(printed.contains(line), "{printed}");
    }
}

/// vmfs-tools reads the file.
fn check_reads(volume: &Volume) {
    let output = run_status("debugvmfs", [volume.text(), "cat", "/guest-flat.vmdk"]);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout == content(1, FILE_LENGTH as usize), "{} bytes", output.stdout.len());
}

#[test]
fn the_identity_is_that_of_blkid_with_the_label_of_the_file_system() {
    let volume = Volume::made();
    let found = survey(&FileDisk::open(&volume.path)).file_system.unwrap();
    let printed = blkid::probe(&volume.path);
    let [kind, uuid, _] = blkid::identity(&printed);
    assert_eq!((found.kind, found.uuid.unwrap()), (kind, uuid));
    assert_eq!(found.label.as_deref(), Some("datastore one"));
    assert_eq!((u64::from(found.block_size), found.size), (MIB, DATA + BLOCKS * MIB));
}

#[track_caller]
fn check_bent(position: u64, bytes: &[u8], code: ReasonCode, detail: &str) {
    let volume = Volume::made();
    volume.write(position, bytes);
    volume.check_whole(code, detail);
}

#[test]
fn other_versions_and_volumes_of_several_disks() {
    for version in [5, 6] {
        let detail = format!("VMFS volume of version {version}: its maps are not read by this program");
        check_bent(MIB + 4, &[version], ReasonCode::Opaque, &detail);
    }
    let two = "VMFS volume over 2 disks, of which this one holds segments from 0";
    check_bent(MIB + 0x200 + 144, &[2], ReasonCode::Opaque, two);
    let second = "VMFS volume over 1 disks, of which this one holds segments from 4";
    check_bent(MIB + 0x200 + 120, &[4], ReasonCode::Opaque, second);
    let elsewhere = "VMFS volume over 1 disks, of which this one holds segments from 0";
    check_bent(FILE_SYSTEM, &[0], ReasonCode::Opaque, elsewhere);
    check_bent(FILE_SYSTEM + 163, &[0x18], ReasonCode::Unsupported, "file blocks of 1572864 bytes");
}

#[test]
fn a_volume_in_use_is_not_clean() {
    let detail = "heartbeat 77 is not free: a host uses the volume";
    check_bent(HEARTBEATS + 77 * 512, &[2], ReasonCode::NotClean, detail);
    let entry = DATA + FILE_BLOCKS * MIB + 65536 + 1024;
    let detail = "a host has locked entry 1 of the file block bitmap";
    check_bent(entry + 36, &[1], ReasonCode::NotClean, detail);
}

#[test]
fn contradictions_are_damage() {
    let check = |position, bytes: &[u8], detail: &str| {
        check_bent(position, bytes, ReasonCode::Damaged, &format!("at byte {detail}"));
    };
    let bitmap = DATA + FILE_BLOCKS * MIB;
    let entry = bitmap + 65536;
    let free = "24183304 of the region: expected 188 free blocks in entry 0, found 189";
    check(entry + 528, &[1], free);
    let id =
        "24183808 of the region: expected 10c00002, entry 1 with 200 blocks, found 10c00002, entry 3 with 200 blocks";
    check(entry + 1024 + 512, &[3], id);
    let descriptor = DATA + DESCRIPTORS * MIB + 65536 + 4096 + 2048;
    let inode = "22091776 of the region: expected 10c00001 and descriptor 00400004, found 10c00001 and 00400005";
    check(descriptor + 512, &[5], inode);
    let block = "17825792 of the region: expected byte 0 of the file block bitmap in one of its blocks, found 00000182 as block 0";
    check(descriptor + 1024, &[0x82], block);
    let total = "19922944 of the region: expected file blocks in 2 segments, found 768 blocks";
    check(bitmap + 20, &[0, 3], total);
    let entries =
        "24117248 of the region: expected up to 3968 blocks an entry, and entries in an area, found 200 and 0";
    check(bitmap + 4, &[0], entries);
    let identity = "19922944 of the region: expected the identity of the logical volume, found another one";
    check(FILE_SYSTEM + 177, b"x", identity);
    check_bent(
        descriptor + 580,
        &[3],
        ReasonCode::Unsupported,
        "the bitmap of file blocks lies in units of 1048576 bytes, by addresses of kind 3",
    );
}
