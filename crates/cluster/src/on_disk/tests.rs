//! Structures written by hand after their specifications; those of the real tools are in the package `tests`.

use block::{MemoryDisk, WriteAt};

use super::*;
use crate::sharing::Class;

const MIB: u64 = 1 << 20;

fn found(writes: &[(u64, &[u8])]) -> Vec<(String, Class, String)> {
    let disk = MemoryDisk::new(64 * MIB);
    writes.iter().for_each(|(at, bytes)| disk.write_at(*at, bytes).unwrap());
    let layout = layout::read(&disk).unwrap();
    let mut assessment = Assessment::new("disk", Vec::new());
    look(&disk, &layout, &mut assessment);
    let told = |finding: &crate::sharing::Finding| {
        (finding.evidence.code().to_owned(), finding.evidence.class(), finding.evidence.proof())
    };
    assessment.findings.iter().map(told).collect()
}

/// The one thing that is found, and nothing at all once the byte at `magic` is bent.
fn check(writes: &[(u64, &[u8])], magic: u64, code: &str, class: Class, proof: &str) {
    assert_eq!(found(writes), [(code.to_owned(), class, proof.to_owned())]);
    let mut bent = writes.to_vec();
    bent.push((magic, b"\xA7"));
    assert_eq!(found(&bent), [], "{proof}");
}

#[test]
fn an_empty_disk_says_nothing() {
    assert_eq!(found(&[]), []);
}

#[test]
fn sbd_names_its_nodes() {
    let mut header = [0; 49];
    header[..8].copy_from_slice(b"SBD_SBD_");
    header[8..10].copy_from_slice(&[2, 255]);
    header[14] = 2;
    header[19] = 5;
    header[31] = 10;
    let proof = "sbd: version 2, watchdog 5 s, messages 10 s, nodes none";
    check(&[(0, &header)], 7, "cluster-area", Class::Shared, proof);
    let proof = "sbd: version 2, watchdog 5 s, messages 10 s, nodes node1 node\u{FFFD}2";
    check(&[(0, &header), (512, b"\x01node1"), (512 * 3, b"\x01node\x072")], 0, "cluster-area", Class::Shared, proof);
    // Sectors of no bytes: all nodes in one place, and no endless loop.
    header[14] = 0;
    assert_eq!(found(&[(0, &header)]).len(), 1);
    header[12] = 0xFF;
    assert_eq!(found(&[(0, &header)]).len(), 1);
}

#[test]
fn sanlock_names_its_lockspace() {
    let mut record = [0; 168];
    record[..4].copy_from_slice(&0x1221_2010_u32.to_le_bytes());
    record[13] = 2;
    record[32] = 7;
    record[0x38..0x3A].copy_from_slice(b"LS");
    record[0x68..0x6A].copy_from_slice(b"id");
    let proof = "sanlock: lockspace LS id, sectors of 512 bytes, free";
    check(&[(0, &record)], 0, "cluster-area", Class::Shared, proof);
    record[0x98] = 9;
    let proof = "sanlock: lockspace LS id, sectors of 512 bytes, owner 7 at 9";
    check(&[(0, &record)], 3, "cluster-area", Class::Shared, proof);
    record[..4].copy_from_slice(&0x0615_2010_u32.to_le_bytes());
    let proof = "sanlock: resource LS id, sectors of 512 bytes, owner 7 at 9";
    check(&[(0, &record)], 1, "cluster-area", Class::Shared, proof);
}

#[test]
fn asm_names_its_disk() {
    let writes: &[(u64, &[u8])] = &[(32, b"ORCLDISKDATA01")];
    check(writes, 33, "cluster-area", Class::Shared, "oracleasm: disk DATA01");
}

#[test]
fn gfs2_is_for_a_cluster_unless_it_locks_nothing() {
    let head: &[u8] = b"\x01\x16\x19\x70\0\0\0\x01";
    let writes: &[(u64, &[u8])] = &[(65536, head), (65536 + 96, b"lock_dlm"), (65536 + 160, b"mycl:fs")];
    check(writes, 65536, "cluster-file-system", Class::Shared, "gfs2: lock_dlm mycl:fs");
    let alone: &[(u64, &[u8])] = &[(65536, head), (65536 + 96, b"lock_nolock")];
    assert_eq!(found(alone), []);
}

#[test]
fn ocfs2_is_for_a_cluster_unless_it_is_mounted_locally() {
    for position in [1024, 2048, 4096, 8192] {
        let writes: &[(u64, &[u8])] = &[(position, b"OCFSV2"), (position + 352, b"o2cb\0\0\0\x04mycl")];
        check(writes, position, "cluster-file-system", Class::Shared, "ocfs2: stack o2cb cluster mycl label ");
        let local = [writes, &[(position + 0xE0, &[8][..])]].concat();
        assert_eq!(found(&local), []);
    }
}

#[test]
fn mount_protection_tells_who_has_mounted() {
    let writes: &[(u64, &[u8])] = &[
        (1024 + 0x18, &[2]),
        (1024 + 0x38, b"\x53\xEF"),
        (1024 + 0x60, b"\x00\x01"),
        (1024 + 0x168, &[9]),
        (9 * 4096, b"\x50\x4D\x4D\x00\x50\x4D\x4D\xFF"),
        (9 * 4096 + 16, b"node2"),
    ];
    let kinds = |writes: &[(u64, &[u8])]| found(writes).pop();
    let clean = kinds(writes).unwrap();
    assert_eq!((clean.1, clean.2.as_str()), (Class::Suspect, "ext4-mmp: clean, node node2, time 0; beside ext4"));
    let used = kinds(&[writes, &[(9 * 4096 + 4, &b"\x07\0\0\0"[..])]].concat()).unwrap();
    let proof = "ext4-mmp: in use, count 0x00000007, node node2, time 0";
    assert_eq!((used.1, used.2.as_str()), (Class::Shared, proof));
    assert_eq!(kinds(&[writes, &[(1024 + 0x61, &[0][..])]].concat()), None);
    // A block beyond the end, and a size of blocks that does not exist.
    assert_eq!(kinds(&[writes, &[(1024 + 0x168, &[0xFF; 8][..])]].concat()), None);
    assert_eq!(kinds(&[writes, &[(1024 + 0x18, &[0xFF; 4][..])]].concat()), None);
}

#[test]
fn hosts_that_hold_a_volume_of_vmfs_are_counted() {
    let beat: &[u8] = b"\x02\xEF\xCD\xAB";
    let first = MIB + 16 * MIB + 3 * MIB;
    let writes: &[(u64, &[u8])] =
        &[(MIB, b"\x0D\xD0\x01\xC0"), (first + 512, beat), (first + 2047 * 512, beat), (first + 512 + 28, &[0xAB; 16])];
    let proof = format!("VMFS: 2 heartbeats in use: host {}, uptime 0 µs, count 0", "ab".repeat(16));
    check(writes, MIB, "held-file-system", Class::Local, &proof);
    assert_eq!(found(&writes[..1]), []);
}

#[test]
fn a_reservation_that_forbids_reading_is_evidence() {
    struct Reserved;
    impl ReadAt for Reserved {
        fn size(&self) -> u64 {
            64 * MIB
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            Err(io::Error::from_raw_os_error(52))
        }
    }
    let layout = layout::read(&MemoryDisk::new(64 * MIB)).unwrap();
    let mut assessment = Assessment::new("/dev/sdb", Vec::new());
    look(&Reserved, &layout, &mut assessment);
    assert_eq!(assessment.class(), Class::Contended);
    assert_eq!(assessment.findings.len(), 1);
    assert_eq!(assessment.findings[0].evidence.proof(), "/dev/sdb: reading disk");
}

#[test]
fn types_of_partitions_count() {
    let partition = |type_id: &str| layout::Partition {
        number: 1,
        type_id: type_id.into(),
        guid: None,
        name: None,
        attributes: 0,
        bootable: false,
    };
    let class = |type_id: &str| partition::evidence(&partition(type_id)).map(|evidence| evidence.class());
    assert_eq!(class("db97dba9-0840-4bae-97f0-ffb9a327c7e1"), Some(Class::Shared));
    assert_eq!(class("558d43c5-a1ac-43c0-aac8-d1472b2923d1"), Some(Class::Mirror));
    assert_eq!(class("ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"), None);
}
