//! The rules of this module on small file systems made by hand.
#![allow(clippy::single_range_in_vec_init)] // sets of one range of blocks are meant

use block::{Extents, Fault, FaultyDisk, InRegion, Operation, RegionExtent};
use proptest::prelude::*;

use super::sample::{
    BLOCK, BLOCKS, Checksums, GROUPS, JOURNAL, JOURNAL_BLOCKS, Sample, UNINITIALISED, group_start, journal_block, tag,
};
use crate::{Coverage, Note, NoteCode, ReasonCode, Survey, survey};

const ALL: [Checksums; 3] = [Checksums::None, Checksums::Descriptors, Checksums::Metadata];

fn blocks(ranges: &[std::ops::Range<u64>]) -> Extents<InRegion> {
    ranges.iter().map(|range| RegionExtent::between(range.start * BLOCK, range.end * BLOCK)).collect()
}

/// What is used of a sample without a journal.
fn expected(checksums: Checksums) -> Extents<InRegion> {
    let mut ranges = vec![0..1];
    for group in 0..GROUPS {
        let start = group_start(group);
        if group == UNINITIALISED && checksums != Checksums::None {
            // No copies in this group, and nothing that its bitmap says.
            ranges.push(start + 2..start + 6);
        } else {
            ranges.extend([start..start + 6, start + 10..start + 20]);
        }
    }
    blocks(&ranges)
}

fn used(survey: &Survey) -> &Extents<InRegion> {
    match &survey.coverage {
        Coverage::Used(extents) => extents,
        Coverage::Whole(reason) => panic!("{reason:?}"),
    }
}

fn whole(sample: &Sample) -> (ReasonCode, String) {
    match survey(&sample.disk).coverage {
        Coverage::Whole(reason) => (reason.code, reason.detail),
        Coverage::Used(extents) => panic!("{extents:?}"),
    }
}

#[test]
fn bitmaps_and_all_metadata_are_used() {
    for checksums in ALL {
        let sample = Sample::new(checksums);
        let survey = survey(&sample.disk);
        assert_eq!(used(&survey), &expected(checksums), "{checksums:?}");
        assert!(survey.notes.is_empty());
        let file_system = survey.file_system.unwrap();
        assert_eq!(file_system.kind, "ext4");
        assert_eq!(file_system.uuid.as_deref(), Some("30313233-3435-3637-3839-616263646566"));
        assert_eq!(file_system.label.as_deref(), Some("by hand"));
        assert_eq!((file_system.block_size, file_system.size), (1024, BLOCKS * BLOCK));
    }
}

#[test]
fn metadata_is_used_where_the_bitmap_calls_it_free() {
    let sample = Sample::new(Checksums::None);
    for group in 0..GROUPS {
        let mut bitmap = sample.block(group_start(group) + 2);
        bitmap[0] &= 0b1100_0000;
        sample.put_block(group_start(group) + 2, &bitmap);
        let free: u16 = if group == GROUPS - 1 { 90 } else { 246 };
        sample.put(2 * BLOCK + group * 64 + 12, &free.to_le_bytes());
    }
    // The two blocks that group 2 has no copies in are really free now.
    let start = group_start(UNINITIALISED);
    assert_eq!(used(&survey(&sample.disk)), &expected(Checksums::None).difference(&blocks(&[start..start + 2])));
}

#[test]
fn bent_superblocks_are_saved_whole() {
    let check = |field: u64, bytes: &[u8], code: ReasonCode, detail: &str| {
        let sample = Sample::new(Checksums::None);
        sample.put_superblock(field, bytes);
        assert_eq!(whole(&sample), (code, detail.to_owned()), "field {field:#x}");
    };
    let damaged = |field: u64, bytes: &[u8], words: &str| {
        let detail = format!("at byte {} of the region: expected {words}", 1024 + field);
        check(field, bytes, ReasonCode::Damaged, &detail);
    };
    damaged(0, &[63], "64 inodes in 4 groups, found 63");
    damaged(0x14, &[0], "first data block 1, found 0");
    damaged(0x1C, &[1], "a cluster size of 2^0 to 2^0 KiB, found 2^1 KiB");
    damaged(0x20, &[0, 0], "8 to 8192 clusters per group, a multiple of 8, found 0");
    damaged(0x28, &[0], "1 to 8192 inodes per group, found 0");
    damaged(0x58, &[0, 3], "inodes of 128 to 1024 bytes, found 768");
    damaged(0xFE, &[32], "group descriptors of 64 to 1024 bytes, found 32");
    check(0x4C, &[2], ReasonCode::Unsupported, "revision 2 of the format");
    check(0x60, &[0xC3], ReasonCode::Unsupported, "unknown incompat feature bits 0x1");
    check(0x61, &[0x10], ReasonCode::Unsupported, "unknown incompat feature bits 0x1000");
    check(0x64, &[0x81], ReasonCode::Unsupported, "unknown ro_compat feature bits 0x80");
    check(0x5C, &[0x40], ReasonCode::Unsupported, "unknown compat feature bits 0x40");
    check(0x3A, &[0], ReasonCode::NotClean, "it was not unmounted cleanly: state 0x0");
    check(4, &[0, 4], ReasonCode::Damaged, "the file system has 1048576 bytes, the region 889856");
    check(0x38, &[0], ReasonCode::Unrecognised, "no known file system");
    check(0x18, &[7], ReasonCode::Unrecognised, "no known file system");
}

#[test]
fn bent_descriptors_and_bitmaps_are_saved_whole() {
    let check = |checksums: Checksums, position: u64, detail: &str| {
        let sample = Sample::new(checksums);
        sample.flip(position, 0x80);
        let detail = format!("at byte {detail}");
        assert_eq!(whole(&sample), (ReasonCode::Damaged, detail), "{checksums:?}");
    };
    let second = 2 * BLOCK + 64;
    check(
        Checksums::None,
        second + 3,
        "2112 of the region: expected the block bitmap of group 1 inside blocks 1 to 869, found block 2147483907",
    );
    check(
        Checksums::None,
        second + 11,
        "2112 of the region: expected the inode table of group 1 inside blocks 1 to 869, found block 2147483909",
    );
    check(
        Checksums::None,
        259 * BLOCK + 5,
        "265216 of the region: expected 240 free clusters of group 1, as its descriptor says, found 239 in its bitmap",
    );
    let sample = Sample::new(Checksums::None);
    sample.put(second, &260_u32.to_le_bytes());
    assert_eq!(
        whole(&sample).1,
        "at byte 1024 of the region: expected metadata of 4 groups in 22528 bytes of its own, found it shares blocks: \
         21504 bytes"
    );
    for (checksums, position) in [(Checksums::Descriptors, second + 0x20), (Checksums::Metadata, second + 0x3F)] {
        let sample = Sample::new(checksums);
        sample.flip(position, 1);
        let (code, detail) = whole(&sample);
        assert_eq!(code, ReasonCode::Damaged);
        assert!(detail.contains("of the descriptor of group 1"), "{detail}");
    }
    // Two bits against each other leave the count of free blocks as it was.
    let sample = Sample::new(Checksums::Metadata);
    sample.put((group_start(1) + 2) * BLOCK + 1, &[0xFD]);
    sample.flip((group_start(1) + 2) * BLOCK + 5, 1);
    let (code, detail) = whole(&sample);
    assert_eq!(code, ReasonCode::Damaged);
    assert!(detail.contains("of the block bitmap of group 1"), "{detail}");
}

#[test]
fn with_checksums_no_bent_bit_frees_a_block() {
    let sample = Sample::with_journal(Checksums::Metadata, 0, &[]);
    let before = used(&survey(&sample.disk)).clone();
    let maps = (0..GROUPS).filter(|group| *group != UNINITIALISED).map(|group| (group_start(group) + 2) * BLOCK);
    let positions = (1024..2 * BLOCK + GROUPS * 64).chain(maps.flat_map(|position| position..position + 32));
    for position in positions.filter(|position| !(2048 - 4..2048).contains(position)) {
        sample.flip(position, 1 << (position % 8));
        if let Coverage::Used(extents) = survey(&sample.disk).coverage {
            panic!("byte {position}: {:?} more", extents.difference(&before));
        }
        sample.flip(position, 1 << (position % 8));
    }
}

#[test]
fn every_read_may_fail() {
    let sample = Sample::with_journal(Checksums::None, 1, &log_of_one(0));
    let counting = FaultyDisk::new(&sample.disk, None);
    used(&survey(&counting));
    for number in 1..=counting.count(Operation::Read) {
        let faulty = FaultyDisk::new(&sample.disk, Some(Fault { operation: Operation::Read, number }));
        match survey(&faulty).coverage {
            Coverage::Whole(reason) => assert_eq!(reason.code, ReasonCode::Unreadable, "read {number}"),
            Coverage::Used(_) => panic!("read {number}"),
        }
    }
}

/// The bitmap of group 1 with blocks 30 to 39 used as well.
fn grown_bitmap(sample: &Sample) -> Vec<u8> {
    let mut bitmap = sample.block(group_start(1) + 2);
    (30..40).for_each(|bit| bitmap[bit / 8] |= 1 << (bit % 8));
    bitmap
}

fn grown_descriptors(sample: &Sample) -> Vec<u8> {
    let mut descriptors = sample.block(2);
    descriptors[64 + 12] -= 10;
    descriptors
}

/// One transaction that gives blocks 30 to 39 of group 1 to a file. Its first tag has these flags.
fn log_of_one(flags: u16) -> Vec<Vec<u8>> {
    let plain = Sample::with_journal(Checksums::None, 0, &[]);
    let tags = [tag(group_start(1) + 2, flags), tag(2, 2 | 8)].concat();
    vec![journal_block(1, 7, &tags), grown_bitmap(&plain), grown_descriptors(&plain), journal_block(2, 7, &[])]
}

fn journal_and(ranges: &[std::ops::Range<u64>]) -> Extents<InRegion> {
    let journal = blocks(&[JOURNAL..JOURNAL + JOURNAL_BLOCKS]);
    expected(Checksums::None).union(&journal).union(&blocks(ranges))
}

fn waiting(blocks: u64, transactions: u64) -> Vec<Note> {
    let detail = format!("{blocks} blocks in {transactions} transactions wait in the journal");
    vec![Note { code: NoteCode::NotClean, detail }]
}

#[test]
fn a_committed_transaction_adds_blocks_wherever_the_log_starts() {
    let start = group_start(1);
    // From block 29 on, the log goes round from block 31 to block 1.
    for first in [1, 29] {
        let sample = Sample::with_journal(Checksums::None, first, &log_of_one(0));
        let survey = survey(&sample.disk);
        assert_eq!(used(&survey), &journal_and(&[start + 30..start + 40]), "start {first}");
        assert_eq!(survey.notes, waiting(2, 1));
    }
}

#[test]
fn a_transaction_without_commit_or_of_another_sequence_adds_nothing() {
    let mut without_commit = log_of_one(0);
    without_commit.truncate(3);
    let mut other_sequence = log_of_one(0);
    other_sequence[3] = journal_block(2, 8, &[]);
    for log in [without_commit, other_sequence] {
        let survey = survey(&Sample::with_journal(Checksums::None, 1, &log).disk);
        assert_eq!(used(&survey), &journal_and(&[]));
        assert_eq!(survey.notes, waiting(0, 0));
    }
}

#[test]
fn the_last_copy_counts_and_the_map_on_the_disk_as_well() {
    let plain = Sample::with_journal(Checksums::None, 0, &[]);
    let start = group_start(1);
    // The second transaction frees what the first and the disk have as used.
    let mut bitmap = plain.block(start + 2);
    bitmap[1] &= 0b0000_0011;
    bitmap[2] &= 0b1111_0000;
    let mut descriptors = plain.block(2);
    descriptors[64 + 12] += 10;
    let mut log = log_of_one(0);
    log.extend([journal_block(1, 8, &[tag(start + 2, 0), tag(2, 2 | 8)].concat()), bitmap, descriptors]);
    log.push(journal_block(2, 8, &[]));
    let survey = survey(&Sample::with_journal(Checksums::None, 1, &log).disk);
    assert_eq!(used(&survey), &journal_and(&[]));
    assert_eq!(survey.notes, waiting(2, 2));
}

#[test]
fn an_escaped_copy_begins_with_the_magic_number() {
    let plain = Sample::with_journal(Checksums::None, 0, &[]);
    let start = group_start(1);
    let mut log = log_of_one(1);
    // The magic number as a bitmap: C0 3B 39 98 has 2 + 5 + 4 + 3 bits set.
    log[1][..4].fill(0);
    let set_before: u32 = plain.block(start + 2)[..4].iter().map(|byte| byte.count_ones()).sum();
    let set_after = grown_bitmap(&plain)[4..5].iter().map(|byte| byte.count_ones()).sum::<u32>() + 14;
    log[2] = plain.block(2);
    let free = &mut log[2][64 + 12];
    *free = (u32::from(*free) + set_before - set_after) as u8;
    let survey = survey(&Sample::with_journal(Checksums::None, 1, &log).disk);
    let magic = [0xC0_u8, 0x3B, 0x39, 0x98];
    let bits = (0..32_u64).filter(|bit| magic[*bit as usize / 8] >> (bit % 8) & 1 == 1);
    let ranges: Vec<_> = bits.chain(32..40).map(|bit| start + bit..start + bit + 1).collect();
    assert_eq!(used(&survey), &journal_and(&ranges));
}

#[test]
fn ambiguous_journals_are_saved_whole() {
    let check = |log: &[Vec<u8>], bend: &dyn Fn(&Sample), code: ReasonCode, detail: &str| {
        let sample = Sample::with_journal(Checksums::None, 1, log);
        bend(&sample);
        assert_eq!(whole(&sample), (code, detail.to_owned()));
    };
    let plain = |_: &Sample| {};
    let start = group_start(1);
    let mut revoking = log_of_one(0);
    let record = [&20_u32.to_be_bytes()[..], &(start as u32 + 2).to_be_bytes()].concat();
    revoking.extend([journal_block(5, 8, &record), journal_block(2, 8, &[])]);
    check(&revoking, &plain, ReasonCode::NotClean, "the journal revokes block 259 of the maps");
    let endless: Vec<_> = (0..31).map(|_| journal_block(5, 7, &16_u32.to_be_bytes())).collect();
    check(&endless, &plain, ReasonCode::NotClean, "no end of the log was found in the 32 blocks of the journal");
    check(
        &[journal_block(5, 7, &2000_u32.to_be_bytes())],
        &plain,
        ReasonCode::Damaged,
        "at byte 62464 of the region: expected revoke records inside their block, found 2000 bytes",
    );
    let mut resizing = log_of_one(0);
    resizing[0] = journal_block(1, 7, &[tag(1, 0), tag(2, 2 | 8)].concat());
    let mut superblock = Sample::with_journal(Checksums::None, 0, &[]).block(1);
    superblock[4] -= 1;
    resizing[1] = superblock;
    check(&resizing, &plain, ReasonCode::NotClean, "the journal changes the layout of the file system");

    let journal = JOURNAL * BLOCK;
    let put = |position: u64, bytes: &'static [u8]| move |sample: &Sample| sample.put(journal + position, bytes);
    let log = log_of_one(0);
    check(
        &log,
        &put(0x28, &[0, 0, 0, 4]),
        ReasonCode::NotClean,
        "the journal is to be replayed and has unknown features 0x0 0x4 0x0",
    );
    check(
        &log,
        &put(0x24, &[0, 0, 0, 1]),
        ReasonCode::NotClean,
        "the journal is to be replayed and has unknown features 0x1 0x0 0x0 (checksums of version 1)",
    );
    check(&log, &put(0x28, &[0, 0, 0, 0x20]), ReasonCode::NotClean, "its journal with fast commits was not replayed");
    check(
        &log,
        &put(0x20, &[255, 255, 255, 251]),
        ReasonCode::NotClean,
        "the journal was aborted with error 4294967291",
    );
    let damaged = |position: u64, bytes: &'static [u8], words: &str| {
        check(
            &log,
            &put(position, bytes),
            ReasonCode::Damaged,
            &format!("at byte 61440 of the region: expected {words}"),
        );
    };
    damaged(0, &[0], "a journal superblock, found magic 003b3998, type 4");
    damaged(0xC, &[0, 0, 8], "journal blocks of 1024 bytes, found 2048");
    damaged(0x13, &[33], "a log inside the journal, found 33 blocks in a file of 32, first 1, start 1");
    damaged(0x1F, &[40], "a log inside the journal, found 32 blocks in a file of 32, first 1, start 40");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        checksums in prop_oneof![Just(Checksums::None), Just(Checksums::Metadata)],
        flips in proptest::collection::vec((0..BLOCKS * BLOCK, 0..40_u64, any::<u8>()), 1..8),
    ) {
        let sample = Sample::with_journal(checksums, 1, &log_of_one(0));
        // Most of them where something can break: superblock, descriptors, inode 8, the journal.
        let places = [1024, 1024 + 0x20, 1024 + 0x60, 1024 + 0xE0, 1024 + 0x150, 2048, 2112, 6016, 6040, 61440, 61456, 62464, 62476];
        for (position, offset, bits) in flips {
            let place = places.get(position as usize % 20).map_or(position, |place| place + offset);
            sample.flip(place, bits);
        }
        sample.seal();
        let survey = survey(&sample.disk);
        prop_assert!(survey.coverage.extents(BLOCKS * BLOCK).end() <= BLOCKS * BLOCK);
    }
}

#[test]
fn the_journal_and_the_mount_protection_are_used_where_the_bitmap_calls_them_free() {
    let sample = Sample::with_journal(Checksums::None, 0, &[]);
    let mut bitmap = sample.block(group_start(0) + 2);
    let bits = JOURNAL - 1..JOURNAL - 1 + JOURNAL_BLOCKS;
    bits.clone().for_each(|bit| bitmap[bit as usize / 8] &= !(1 << (bit % 8)));
    sample.put_block(group_start(0) + 2, &bitmap);
    sample.put(2 * BLOCK + 12, &240_u16.to_le_bytes());
    sample.put_superblock(0x61, &[1]);
    sample.put_superblock(0x168, &[200]);
    assert_eq!(used(&survey(&sample.disk)), &journal_and(&[200..201]));
}
