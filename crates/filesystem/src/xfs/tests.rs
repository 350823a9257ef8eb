//! Bent bytes: every check of the parser, seen from outside.

use block::{Extents, InRegion, MemoryDisk, RegionExtent};
use proptest::prelude::*;

use super::sample::{BLOCK, GROUP_BLOCKS, Image, LOG_SECTORS, Sample, TREE_BLOCK};
use crate::{Coverage, NoteCode, ReasonCode, Survey, survey};

fn survey_image(image: &Image) -> Survey {
    survey(&MemoryDisk::from_bytes(&image.bytes))
}

fn used(image: &Image) -> Extents<InRegion> {
    match survey_image(image).coverage {
        Coverage::Used(extents) => extents,
        Coverage::Whole(reason) => panic!("{reason:?}"),
    }
}

/// Why the image is saved whole.
#[track_caller]
fn check_whole(image: &Image, code: ReasonCode, detail: &str) {
    match survey_image(image).coverage {
        Coverage::Used(extents) => panic!("used: {extents:?}"),
        Coverage::Whole(reason) => {
            assert_eq!(reason.code, code, "{reason:?}");
            assert!(reason.detail.contains(detail), "{reason:?}");
        }
    }
}

fn expected(sample: &Sample, size: usize) -> Extents<InRegion> {
    let mut expected = Extents::from(RegionExtent::between(0, size as u64));
    for (group, free) in sample.free.iter().enumerate() {
        for (start, count) in free {
            let first = (group as u64 * u64::from(GROUP_BLOCKS) + u64::from(*start)) * BLOCK as u64;
            expected.remove(RegionExtent::between(first, first + u64::from(*count) * BLOCK as u64));
        }
    }
    expected
}

#[test]
fn everything_but_the_free_extents_is_used() {
    for version in [4, 5] {
        // One leaf; a root over leaves; three levels.
        for records in [6, 3, 2] {
            let sample = Sample { records, ..Sample::new(version) };
            let image = sample.build();
            assert_eq!(used(&image), expected(&sample, image.bytes.len()), "version {version}, {records} records");
        }
    }
}

#[test]
fn a_full_group_has_an_empty_tree() {
    let sample = Sample { free: [vec![], vec![(200, 1)]], ..Sample::new(5) };
    let image = sample.build();
    assert_eq!(used(&image), expected(&sample, image.bytes.len()));
}

#[test]
fn the_identity_is_that_of_blkid() {
    let mut image = Sample::new(5).build();
    image.bytes.extend([0x5A; 4096]);
    let survey = survey_image(&image);
    let file_system = survey.file_system.unwrap();
    assert_eq!(file_system.kind, "xfs");
    assert_eq!(file_system.uuid.as_deref(), Some("30313233-3435-3637-3839-616263646566"));
    assert_eq!(file_system.label.as_deref(), Some("sample"));
    assert_eq!(file_system.block_size, 1024);
    assert_eq!(file_system.size, image.bytes.len() as u64 - 4096);
    assert!(matches!(survey.coverage, Coverage::Used(_)));
}

#[test]
fn the_metadata_uuid_owns_the_metadata() {
    let mut image = Sample::new(5).build();
    // As `xfs_admin -U` leaves it: a new UUID in front and in the log, the old one in the metadata.
    let old: [u8; 16] = image.bytes[32..48].try_into().unwrap();
    image.put(248, &old);
    image.put(32, b"another uuid !!!");
    let log = image.log(0);
    image.put(log + 304, b"another uuid !!!");
    image.put(219, &[4]);
    image.seal_superblock();
    used(&image);
    image.put(248, b"a third uuid !!!");
    image.seal_superblock();
    check_whole(&image, ReasonCode::Damaged, "metadata of the file system");
}

#[test]
fn bent_superblocks() {
    type Bend = (usize, &'static [u8], ReasonCode, &'static str);
    let bends: [Bend; 17] = [
        (4, &[0, 0, 4, 1], ReasonCode::Damaged, "expected a block size from 512 to 65536, found 1025"),
        (8, &[0xFF], ReasonCode::Damaged, "a number of blocks that can be addressed"),
        (100, &[0xB4, 0xA3], ReasonCode::Unsupported, "XFS version 3"),
        (102, &[8, 0], ReasonCode::Damaged, "a sector size from 512 to the block size, found 2048"),
        (120, &[11], ReasonCode::Damaged, "10 as the logarithm of the block size 1024, found 11"),
        (121, &[8], ReasonCode::Damaged, "logarithm of the sector size"),
        (124, &[9], ReasonCode::Damaged, "up to 2^9"),
        (84, &[0, 0, 0, 32], ReasonCode::Damaged, "at least 64 blocks"),
        (88, &[0, 0, 0, 3], ReasonCode::Damaged, "2 allocation groups of 256 in 492 blocks, found 3"),
        (126, &[1], ReasonCode::NotClean, "has not finished"),
        (54, &[2, 100], ReasonCode::Damaged, "a log inside one allocation group"),
        (96, &[0, 0, 0, 137], ReasonCode::Damaged, "137 blocks from block 100 of group 1"),
        (219, &[0x10], ReasonCode::NotClean, "needs xfs_repair"),
        (218, &[1], ReasonCode::Unsupported, "unknown incompatible XFS features 0x100"),
        (215, &[0x10], ReasonCode::Unsupported, "unknown read-only compatible XFS features 0x10"),
        (223, &[2], ReasonCode::Unsupported, "unknown log incompatible XFS features 0x2"),
        (0, b"YFSB", ReasonCode::Unrecognised, "no known file system"),
    ];
    for (position, bytes, code, detail) in bends {
        let mut image = Sample::new(5).build();
        image.put(position, bytes);
        image.seal_superblock();
        check_whole(&image, code, detail);
    }
}

#[test]
fn version_4_with_unknown_features() {
    let bends: [(usize, &[u8]); 3] = [(100, &[0xB6]), (100, &[0x94]), (203, &[0x10])];
    for (position, bytes) in bends {
        let mut image = Sample::new(4).build();
        image.put(position, bytes);
        check_whole(&image, ReasonCode::Unsupported, "XFS version 4 with the feature words");
    }
}

#[test]
fn a_file_system_longer_than_the_region() {
    let mut image = Sample::new(5).build();
    image.bytes.pop();
    check_whole(&image, ReasonCode::Damaged, "the region 503807");
}

#[test]
fn wrong_checksums() {
    let image = Sample::new(5).build();
    let places = [
        0,
        image.header(0),
        image.header(1),
        image.free_list(0),
        image.free_list(1),
        image.block(0, TREE_BLOCK),
        image.block(0, TREE_BLOCK + 5),
        image.block(1, TREE_BLOCK),
    ];
    for place in places {
        let mut image = Sample::new(5).build();
        // The last byte of the sector: nothing but the checksum speaks of it.
        image.bytes[place + 511] ^= 1;
        check_whole(&image, ReasonCode::Damaged, "checksum");
        assert!(survey_image(&image).file_system.is_some());
    }
}

#[test]
fn bent_group_headers() {
    let bends: [(usize, &[u8], &str); 8] = [
        (0, b"XAGI", "the magic XAGF"),
        (7, &[2], "the magic XAGF"),
        (11, &[0], "allocation group 1 of 236 blocks, found group 0 of 236 blocks"),
        (15, &[235], "found group 1 of 235 blocks"),
        (31, &[0], "1 to 9 levels, found 0"),
        (31, &[10], "1 to 9 levels, found 10"),
        (55, &[50], "50 free blocks in allocation group 1, found 51 in its tree"),
        (54, &[1], "at most 236 free blocks"),
    ];
    for version in [4, 5] {
        for (offset, bytes, detail) in bends {
            let mut image = Sample::new(version).build();
            image.put(image.header(1) + offset, bytes);
            image.seal_header(1);
            check_whole(&image, ReasonCode::Damaged, detail);
        }
    }
    let mut image = Sample::new(5).build();
    image.put(image.header(1) + 64, b"X");
    image.seal_header(1);
    check_whole(&image, ReasonCode::Damaged, "expected metadata of the file system");
}

#[test]
fn bent_tree_roots() {
    // The root of group 0 is the last block of its tree: level 2.
    let image = Sample::new(4).build();
    let root = u32::from_be_bytes(image.bytes[image.header(0) + 16..][..4].try_into().unwrap());
    assert_eq!(root, TREE_BLOCK + 5);
    for (block, detail) in [
        (0, "a tree block among the 256 blocks of group 0, found block 0"),
        (256, "found block 256"),
        (TREE_BLOCK, "a tree block of level 2, found 0"),
        (50, "a block of the free-space tree"),
    ] {
        let mut image = Sample::new(4).build();
        image.put(image.header(0) + 16, &u32::to_be_bytes(block));
        check_whole(&image, ReasonCode::Damaged, detail);
    }
}

#[test]
fn bent_tree_blocks() {
    // Leaves 8, 9, 10 with two records each; nodes 11, 12; root 13.
    let both: [(u32, usize, &[u8], &str); 9] = [
        (8, 0, b"X", "a block of the free-space tree"),
        (8, 5, &[1], "a tree block of level 0, found 1"),
        (8, 7, &[0], "records, found 0"),
        (8, 6, &[0xFF], "records, found 65282"),
        (8, 11, &[8], "right of"),
        (8, 15, &[10], "the right neighbour of tree block 8 to be 10"),
        (10, 15, &[9], "tree block 10 to be the last of its level"),
        (9, 11, &[10], "block 9 right of"),
        (12, 7, &[0], "records, found 0"),
    ];
    for version in [4, 5] {
        for (block, offset, bytes, detail) in both {
            let mut image = Sample::new(version).build();
            image.put(image.block(0, block) + offset, bytes);
            image.seal_tree_block(0, block);
            check_whole(&image, ReasonCode::Damaged, detail);
        }
    }
    let owners: [(usize, &[u8], &str); 3] = [
        (23, &[1], "a tree block of group 0 at sector 16, found one of group 0 at sector 1"),
        (51, &[1], "found one of group 1"),
        (32, b"X", "expected metadata of the file system"),
    ];
    for (offset, bytes, detail) in owners {
        let mut image = Sample::new(5).build();
        image.put(image.block(0, 8) + offset, bytes);
        image.seal_tree_block(0, 8);
        check_whole(&image, ReasonCode::Damaged, detail);
    }
}

#[test]
fn a_loop_in_the_tree_ends() {
    let mut image = Sample::new(4).build();
    // The second child of node 11 becomes its first.
    let pointers = image.block(0, 11) + 16 + (BLOCK - 16) / 12 * 8;
    image.put(pointers + 4, &8_u32.to_be_bytes());
    check_whole(&image, ReasonCode::Damaged, "expected the right neighbour of tree block 8 to be 9");
}

#[test]
fn bent_free_extents() {
    for (record, detail) in [
        ([40_u32, 0], "found 0 blocks from 40"),
        ([1, 49], "a free extent between blocks 40 and 256, found 49 blocks from 1"),
        ([40, 21], "a free extent between blocks 61 and 256, found 1 blocks from 60"),
        ([40, 217], "found 217 blocks from 40"),
        ([41, u32::MAX], "found 4294967295 blocks from 41"),
        ([40, 9], "164 free blocks in allocation group 0, found 163 in its tree"),
    ] {
        for version in [4, 5] {
            let mut image = Sample::new(version).build();
            let position = image.block(0, TREE_BLOCK) + image.tree_header();
            image.put(position, &record.map(u32::to_be_bytes).concat());
            image.seal_tree_block(0, TREE_BLOCK);
            check_whole(&image, ReasonCode::Damaged, detail);
        }
    }
}

#[test]
fn free_extents_that_hold_metadata() {
    // The headers, a block of the free list, a block of the tree, the root of the tree by size, the log.
    for (group, free, detail) in [
        (0, (1, 2), "a free extent between blocks 2 and 256"),
        (0, (5, 1), "the metadata block 5 of allocation group 0 to be in use"),
        (0, (8, 1), "the metadata block 8 of allocation group 0"),
        (0, (7, 1), "the metadata block 7 of allocation group 0"),
        (1, (100, 1), "a log outside the free space"),
        (1, (163, 1), "a log outside the free space"),
    ] {
        for version in [4, 5] {
            let mut sample = Sample::new(version);
            sample.free[group] = vec![free];
            check_whole(&sample.build(), ReasonCode::Damaged, detail);
        }
    }
}

#[test]
fn bent_free_lists() {
    let bends: [(usize, &[u8], &str); 4] = [
        (0, b"XAGF", "the free list of allocation group 1"),
        (7, &[0], "and group 0"),
        (8, b"X", "expected metadata of the file system"),
        (36 + 2 * 4, &[0, 0, 0, 236], "free-list blocks among the 236 of group 1, found block 236"),
    ];
    for (offset, bytes, detail) in bends {
        let mut image = Sample::new(5).build();
        image.put(image.free_list(1) + offset, bytes);
        image.seal_free_list(1);
        check_whole(&image, ReasonCode::Damaged, detail);
    }
}

#[test]
fn a_free_list_that_the_kernel_would_drop_is_not_looked_at() {
    for (offset, value) in [(40, 119_u32), (44, 5), (48, 0), (48, 200)] {
        let sample = Sample::new(5);
        let mut image = sample.build();
        image.put(image.header(0) + offset, &value.to_be_bytes());
        image.seal_header(0);
        assert_eq!(used(&image), expected(&sample, image.bytes.len()));
    }
}

#[test]
fn a_log_elsewhere_can_not_be_judged() {
    let mut image = Sample::new(5).build();
    image.put(48, &[0; 8]);
    image.seal_superblock();
    check_whole(&image, ReasonCode::NotClean, "the log is on another device");
    assert_eq!(survey_image(&image).notes[0].code, NoteCode::OtherDevice);
}

#[test]
fn a_realtime_section_is_noted() {
    let mut image = Sample::new(5).build();
    image.put(23, &[77]);
    image.seal_superblock();
    used(&image);
    let notes = survey_image(&image).notes;
    assert_eq!(notes[0].code, NoteCode::OtherDevice);
    assert!(notes[0].detail.contains("77 realtime blocks of 1024 bytes"), "{notes:?}");
}

#[test]
fn an_unmount_record_anywhere_in_the_ring_is_clean() {
    let sample = Sample::new(5);
    for block in 0..LOG_SECTORS {
        let mut image = sample.build();
        image.stamp_log(0..LOG_SECTORS, 6);
        // A record that passes the end of the ring is on its next way round at its end.
        let cycle = if block + 2 > LOG_SECTORS { 6 } else { 7 };
        image.stamp_log(0..block, cycle);
        image.write_unmount_record(cycle, block);
        assert_eq!(used(&image), expected(&sample, image.bytes.len()), "record at {block}");
        // The same ring with one more block written.
        if block + 2 < LOG_SECTORS {
            image.stamp_log(block + 2..block + 3, 7);
            check_whole(&image, ReasonCode::NotClean, "does not end an unmount");
        }
    }
}

#[test]
fn broken_rings_are_not_clean() {
    type Bend = (&'static dyn Fn(&mut Image), &'static str);
    let bends: [Bend; 6] = [
        (&|image| image.stamp_log(0..LOG_SECTORS, 0), "its first block was never written"),
        (
            &|image| image.stamp_log(LOG_SECTORS - 1..LOG_SECTORS, 5),
            "its first block is of cycle 1, its last of cycle 5",
        ),
        (&|image| image.stamp_log(0..LOG_SECTORS, 3), "no record within"),
        (&|image| image.stamp_log(10..11, 1), "block 10 is of cycle 1, expected 0"),
        (&|image| image.stamp_log(1..2, 0), "does not end an unmount: it has 1024 bytes, 512 were written"),
        (&|image| image.stamp_log(2..5, 1), "it has 1024 bytes, 2560 were written"),
    ];
    for (bend, detail) in bends {
        let mut image = Sample::new(5).build();
        bend(&mut image);
        check_whole(&image, ReasonCode::NotClean, detail);
    }
}

#[test]
fn a_log_that_a_tool_made_anew_is_clean() {
    let sample = Sample::new(5);
    let mut image = sample.build();
    image.stamp_log(0..LOG_SECTORS, 8);
    let hole = image.log(2)..image.log(50);
    image.bytes[hole.clone()].fill(0);
    image.write_unmount_record(9, 0);
    assert_eq!(used(&image), expected(&sample, image.bytes.len()));
    for (block, cycle) in [(1, 8), (30, 9), (60, 9), (LOG_SECTORS - 1, 9), (51, 0)] {
        let mut image = Image { bytes: image.bytes.clone(), version: 5 };
        image.stamp_log(block..block + 1, cycle);
        check_whole(&image, ReasonCode::NotClean, "the log may hold changes");
    }
    image.bytes[hole.start + 600] = 1;
    check_whole(&image, ReasonCode::NotClean, "the log may hold changes");
}

#[test]
fn bent_unmount_records() {
    let bends: [(usize, &[u8], &str); 12] = [
        (11, &[3], "it is of version 3"),
        (303, &[0], "format 0"),
        (304, b"X", "another file system"),
        (19, &[2], "it names itself"),
        (23, &[1], "it names itself"),
        (12, &[1], "bytes in a buffer of 32768"),
        (320, &[1], "bytes in a buffer of"),
        (321, &[0, 0x80, 1], "it has 1536 bytes, 1024 were written"),
        (43, &[2], "it holds 2 operations"),
        (32, &[1], "its checksum is 0x00000001"),
        (512 + 9, &[0], "no unmount record"),
        (512 + 12, &[0], "no unmount record"),
    ];
    for (offset, bytes, detail) in bends {
        let mut image = Sample::new(5).build();
        let position = image.log(0) + offset;
        image.put(position, bytes);
        check_whole(&image, ReasonCode::NotClean, detail);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn flipped_bytes_never_free_a_used_block_of_version_5(
        flips in proptest::collection::vec((0..6_usize, 0..BLOCK, 1..=255_u8), 1..4)
    ) {
        let sample = Sample::new(5);
        let mut image = sample.build();
        let places = [0, image.block(1, 0), image.block(0, 8), image.block(0, 11), image.block(1, 8), image.log(0)];
        for (place, offset, mask) in flips {
            image.bytes[places[place] + offset] ^= mask;
        }
        let extents = survey_image(&image).coverage.extents(image.bytes.len() as u64);
        prop_assert!(extents.end() <= image.bytes.len() as u64);
        prop_assert!(expected(&sample, image.bytes.len()).difference(&extents).is_empty());
    }

    #[test]
    fn flipped_bytes_never_panic_in_version_4(
        flips in proptest::collection::vec((0..6_usize, 0..BLOCK, any::<u8>()), 1..6)
    ) {
        let mut image = Sample::new(4).build();
        let places = [0, image.block(1, 0), image.block(0, 8), image.block(0, 11), image.block(1, 8), image.log(0)];
        for (place, offset, value) in flips {
            image.bytes[places[place] + offset] = value;
        }
        let extents = survey_image(&image).coverage.extents(image.bytes.len() as u64);
        prop_assert!(extents.end() <= image.bytes.len() as u64);
    }
}
