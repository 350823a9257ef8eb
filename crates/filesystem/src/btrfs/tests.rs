//! Bent bytes: every check of the parser, seen from outside.

use block::{Extents, Fault, FaultyDisk, InRegion, MemoryDisk, Operation, RegionExtent};

use super::checksum::Checksum;
use super::sample::{
    CHUNK_TREE, DATA, EXTENT_LEAVES, EXTENT_TREE, GENERATION, Image, LOG, LOG_ROOTS, ROOT_TREE, SIZE, SUPERBLOCK,
    Sample,
};
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

fn expected(sample: &Sample, image: &Image) -> Extents<InRegion> {
    let mut expected = Extents::from(RegionExtent::between(0, 1 << 20));
    for (logical, length) in sample.used() {
        for place in image.places(logical) {
            expected.insert(RegionExtent::between(place as u64, place as u64 + length));
        }
    }
    expected
}

#[track_caller]
fn check(sample: &Sample) -> Survey {
    let image = sample.build();
    assert_eq!(used(&image), expected(sample, &image));
    survey_image(&image)
}

#[test]
fn used_is_what_the_extent_tree_lists() {
    let survey = check(&Sample::new());
    assert_eq!(survey.notes, []);
    let file_system = survey.file_system.unwrap();
    assert_eq!((file_system.kind.as_str(), file_system.size), ("btrfs", SIZE as u64));
    assert_eq!(file_system.uuid.as_deref(), Some("30313233-3435-3637-3839-616263646566"));
    assert_eq!(file_system.label.as_deref(), Some("sample"));
    check(&Sample { has_group_tree: true, ..Sample::new() });
    for checksum in [Checksum::XxHash64, Checksum::Sha256, Checksum::Blake2b] {
        check(&Sample { checksum, ..Sample::new() });
    }
}

#[test]
fn a_log_is_used_with_its_data() {
    let sample = Sample { log: Some((DATA + 0x8_0000, 0x5000)), ..Sample::new() };
    let survey = check(&sample);
    assert_eq!(survey.notes[0].code, NoteCode::NotClean);
    assert_eq!(survey.notes[0].detail, "a log of 2 tree blocks waits to be replayed; it is saved");
    for (bend, detail) in [
        (LOG_ROOTS, "expected a tree block of generation 8, found 9"),
        (LOG, "expected a tree block of generation 8, found 9"),
    ] {
        let mut image = sample.build();
        image.bend(bend, |block| block[80] += 1);
        check_whole(
            &image,
            ReasonCode::NotClean,
            &format!("the log can't be followed: at byte {}", image.places(bend)[0]),
        );
        check_whole(&image, ReasonCode::NotClean, detail);
    }
    let outside = Sample { log: Some((DATA + 0xF_F000, 0x2000)), ..Sample::new() };
    check_whole(
        &outside.build(),
        ReasonCode::NotClean,
        "expected an extent of the log inside a chunk, found 8192 bytes",
    );
}

#[test]
fn one_good_copy_of_a_tree_block_is_enough() {
    let sample = Sample::new();
    for block in [CHUNK_TREE, ROOT_TREE, EXTENT_TREE, EXTENT_LEAVES[1]] {
        for copy in 0..2 {
            let mut image = sample.build();
            let place = image.places(block)[copy];
            image.bytes[place + 500] ^= 1;
            assert_eq!(used(&image), expected(&sample, &image));
        }
        let mut image = sample.build();
        for place in image.places(block) {
            image.bytes[place + 500] ^= 1;
        }
        check_whole(&image, ReasonCode::Damaged, "a tree block with the checksum that it holds");
    }
}

type Bend = (usize, &'static [u8], ReasonCode, &'static str);

#[test]
fn bent_superblocks() {
    let bends: [Bend; 22] = [
        (0x30, &[1], ReasonCode::Damaged, "expected the first superblock, found the one of 65537"),
        (0x38, &[0, 0, 0, 0, 8], ReasonCode::NotClean, "a tool is changing the file system (flags 0x800000000)"),
        (0x38, &[0, 0, 0, 0, 2], ReasonCode::Unsupported, "a dump of metadata"),
        (0x38, &[0, 1], ReasonCode::Unsupported, "unknown Btrfs flags 0x100"),
        (0x48, &[8], ReasonCode::Damaged, "a tree block of generation 8, found 7"),
        (0x50, &[0, 0, 0x70], ReasonCode::Damaged, "tree blocks inside chunks, found one at 7340032"),
        (0x51, &[1], ReasonCode::Damaged, "tree blocks inside chunks"),
        (0x88, &[0], ReasonCode::Damaged, "at least one device, found 0"),
        (0x91, &[0x30], ReasonCode::Damaged, "a sector size from 512 to 65536, found 12288"),
        (0x95, &[0x08], ReasonCode::Damaged, "a node size from 4096 to 65536, found 2048"),
        (0xA0, &[5, 0], ReasonCode::Damaged, "the key of a system chunk, found 5 bytes"),
        (0xA4, &[8], ReasonCode::Damaged, "a tree block of generation 8, found 7"),
        (0xAC, &[1], ReasonCode::Unsupported, "unknown Btrfs compatible features 0x1"),
        (0xB4, &[0x13], ReasonCode::Unsupported, "unknown Btrfs read-only compatible features 0x10"),
        (0xBC, &[0x61, 0x23], ReasonCode::Unsupported, "unknown Btrfs incompatible features 0x2000"),
        (0xBC, &[0x61, 0x43], ReasonCode::Unsupported, "unknown Btrfs incompatible features 0x4000"),
        (0xBC, &[0x61, 0x13], ReasonCode::Unsupported, "a zoned Btrfs"),
        (0xBC, &[0x60], ReasonCode::Unsupported, "before mixed back references"),
        (0xC6, &[1], ReasonCode::Damaged, "a tree block of level 1, found 0"),
        (0xC9, &[0], ReasonCode::NotClean, "the target of a replacement that has not finished"),
        (0xC9 + 82, b"x", ReasonCode::Damaged, "a device of this file system, found a device of another one"),
        (0xC9 + 66, b"x", ReasonCode::Damaged, "a stripe on this device, found device 1 with another UUID"),
    ];
    for (at, bytes, code, detail) in bends {
        let mut image = Sample::new().build();
        image.bend_superblock(|block| block[at..at + bytes.len()].copy_from_slice(bytes));
        check_whole(&image, code, detail);
    }
    let mut image = Sample::new().build();
    image.bytes[SUPERBLOCK + 1000] ^= 1;
    check_whole(&image, ReasonCode::Damaged, "a superblock with the checksum that it holds");
    let mut image = Sample::new().build();
    image.bend_superblock(|block| block[0xC4] = 4);
    check_whole(&image, ReasonCode::Unsupported, "unknown Btrfs checksum type 4");
    // Not Btrfs any more.
    let mut image = Sample::new().build();
    image.bytes[SUPERBLOCK + 0x40] = b'-';
    check_whole(&image, ReasonCode::Unrecognised, "no known file system");
}

#[test]
fn an_error_flag_is_noted() {
    let mut image = Sample::new().build();
    image.bend_superblock(|block| block[0x38] = 4);
    assert_eq!(survey_image(&image).notes[0].code, NoteCode::Errors);
    used(&image);
}

#[test]
fn a_newer_copy_of_the_superblock() {
    let mut image = Sample::new().build();
    let size = (64 << 20) + 4096_usize;
    image.bytes.resize(size, 0);
    // The device is long enough for a copy now.
    image.bend_superblock(|block| block[0xC9 + 8..0xC9 + 16].copy_from_slice(&(size as u64).to_le_bytes()));
    image.bend(CHUNK_TREE, |block| {
        let item = 4096 - 98;
        block[item + 8..item + 16].copy_from_slice(&(size as u64).to_le_bytes());
    });
    let mut copy = image.bytes[SUPERBLOCK..SUPERBLOCK + 4096].to_vec();
    copy[0x30..0x38].copy_from_slice(&(64_u64 << 20).to_le_bytes());
    for (generation, is_newer) in [(GENERATION - 1, false), (GENERATION, false), (GENERATION + 1, true)] {
        copy[0x48..0x50].copy_from_slice(&generation.to_le_bytes());
        Checksum::Crc32c.seal(&mut copy);
        image.bytes[64 << 20..].copy_from_slice(&copy);
        if is_newer {
            let detail = "the copy of the superblock at 67108864 has generation 8, the superblock 7";
            check_whole(&image, ReasonCode::NotClean, detail);
        } else {
            assert!(used(&image).contains(RegionExtent::between(64 << 20, size as u64)));
        }
    }
    // A copy of something else, and a damaged one, count for nothing.
    image.bytes[(64 << 20) + 0x48] ^= 3;
    used(&image);
}

#[test]
fn bent_tree_blocks() {
    let bends: [(u64, Bend); 12] = [
        (ROOT_TREE, (32, b"x", ReasonCode::Damaged, "a tree block of this file system, found one of another")),
        (ROOT_TREE, (49, &[1], ReasonCode::Damaged, "the tree block 2097152, found 2097408")),
        (EXTENT_TREE, (100, &[0], ReasonCode::Damaged, "a tree block of level 1, found 0")),
        (EXTENT_LEAVES[0], (80, &[6], ReasonCode::Damaged, "a tree block of generation 7, found 6")),
        (CHUNK_TREE, (88, &[5], ReasonCode::Damaged, "a block of tree 3, found one of tree 5")),
        (EXTENT_TREE, (96, &[0], ReasonCode::Damaged, "expected 1 to 121 entries, found 0")),
        (EXTENT_LEAVES[1], (96, &[0], ReasonCode::Damaged, "expected 1 to 159 entries, found 0")),
        (EXTENT_LEAVES[1], (97, &[1], ReasonCode::Damaged, "expected 1 to 159 entries, found 2")),
        // The first key of a leaf, and the second.
        (EXTENT_LEAVES[1], (101, &[1], ReasonCode::Damaged, "the first key (")),
        (EXTENT_LEAVES[0], (101 + 25, &[0, 0, 1], ReasonCode::Damaged, "a key above (")),
        // Offset and size of the first item.
        (ROOT_TREE, (101 + 17, &[0], ReasonCode::Damaged, "item data between 25 and 3995")),
        (ROOT_TREE, (101 + 21, &[0], ReasonCode::Damaged, "item data between 25 and 3995")),
    ];
    for (block, (at, bytes, code, detail)) in bends {
        let mut image = Sample::new().build();
        image.bend(block, |block| block[at..at + bytes.len()].copy_from_slice(bytes));
        check_whole(&image, code, detail);
    }
}

#[test]
fn a_tree_that_leads_back_is_left() {
    let mut image = Sample::new().build();
    let first = image.bytes[image.places(EXTENT_TREE)[0] + 101..][..33].to_vec();
    // The second pointer is the first one again.
    image.bend(EXTENT_TREE, |block| block[101 + 33..101 + 66].copy_from_slice(&first));
    check_whole(&image, ReasonCode::Damaged, "expected a key above (1048576 168 4096), found (1048576 168 4096)");
}

#[test]
fn a_missing_extent_tree() {
    let mut image = Sample::new().build();
    image.bend(ROOT_TREE, |block| block[101] = 3);
    check_whole(&image, ReasonCode::Damaged, "expected the root of tree 2, found none");
}

#[test]
fn extents_that_can_not_be() {
    for (data, detail) in [
        (vec![(DATA + 0xF_F000, 0x2000)], "an extent inside a chunk, not before"),
        (vec![(DATA, 0x3000), (DATA + 0x2000, 0x1000)], "found 4096 bytes from 4202496"),
        (vec![(DATA + 0x200, 0x1000)], "found 4096 bytes from 4194816"),
        (vec![(DATA, 0)], "found 0 bytes from 4194304"),
        (vec![(0x70_0000, 0x1000)], "found 4096 bytes from 7340032"),
    ] {
        check_whole(&Sample { data, ..Sample::new() }.build(), ReasonCode::Damaged, detail);
    }
}

#[test]
fn block_groups_must_be_chunks_and_count_what_is_in_them() {
    let group = |image: &Image| {
        let place = image.places(EXTENT_LEAVES[1])[0];
        (0..).map(|item| 101 + 25 * item).find(|at| image.bytes[place + at + 8] == 192).unwrap()
    };
    let mut image = Sample::new().build();
    let at = group(&image);
    let data = u32::from_le_bytes(image.bytes[image.places(EXTENT_LEAVES[1])[0] + at + 17..][..4].try_into().unwrap());
    image.bend(EXTENT_LEAVES[1], |block| block[101 + data as usize + 1] ^= 0x10);
    check_whole(&image, ReasonCode::Damaged, "bytes in use in the chunk ");
    let mut image = Sample::new().build();
    image.bend(EXTENT_LEAVES[1], |block| block[101 + data as usize + 16] ^= 1);
    check_whole(&image, ReasonCode::Damaged, "a block group that is a chunk");
    let mut image = Sample::new().build();
    image.bend(EXTENT_LEAVES[1], |block| block[at + 8] = 193);
    check_whole(&image, ReasonCode::Damaged, "found no block group");
}

#[test]
fn chunks_that_contradict_each_other() {
    let check = |change: fn(&mut Sample), detail| {
        let mut sample = Sample::new();
        change(&mut sample);
        check_whole(&sample.build(), ReasonCode::Damaged, detail);
    };
    check(|sample| sample.chunks[2].3[0] = 0x30_8000, "stripes that do not overlap");
    check(|sample| sample.chunks[2].3[0] = 0x78_0000, "a stripe inside the 8388608 bytes of the device");
    check(|sample| sample.device_bytes = Some(77), "77 bytes of stripes on device 1, found 1441792");
    check(|sample| sample.chunks.push((1, DATA + 0x8_0000, 0x10_0000, vec![0x68_0000])), "chunks that do not overlap");
    let mut image = Sample::new().build();
    // The length of the system chunk in the superblock.
    image.bend_superblock(|block| block[0x32B + 17 + 2] = 2);
    check_whole(
        &image,
        ReasonCode::Damaged,
        "expected the system chunk 1048576 in the chunk tree, found another chunk",
    );
}

#[test]
fn an_unreadable_tree_block_is_read_from_its_other_copy() {
    let sample = Sample { log: Some((DATA + 0x8_0000, 0x5000)), ..Sample::new() };
    let image = sample.build();
    let mut from_copies = 0;
    for number in 1.. {
        let fault = Fault { operation: Operation::Read, number };
        let disk = FaultyDisk::new(MemoryDisk::from_bytes(&image.bytes), Some(fault)).passing();
        let survey = survey(&disk);
        let is_last = disk.count(Operation::Read) < number;
        match survey.coverage {
            Coverage::Whole(reason) => assert_eq!(reason.code, ReasonCode::Unreadable),
            Coverage::Used(used) => {
                assert_eq!(used, expected(&sample, &image));
                from_copies += 1;
            }
        }
        if is_last {
            // Chunk tree, root tree, three blocks of the extent tree, two of the log; and the run without a fault.
            assert_eq!(from_copies, 8);
            return;
        }
    }
}
