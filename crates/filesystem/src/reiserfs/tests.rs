use block::{Extents, InRegion, MemoryDisk, RegionExtent, WriteAt};

use crate::{Coverage, NoteCode, ReasonCode, survey};

const BLOCK: u64 = 1024;
/// Two bitmaps: one of 8192 blocks and one of 1000.
const BLOCKS: u64 = 9192;
const SIZE: u64 = BLOCKS * BLOCK + 300;
const SUPERBLOCK: u64 = 64 << 10;
const JOURNAL: u64 = 66;
const JOURNAL_BLOCKS: u64 = 100;

/// Blocks 0 to 166 (boot, superblock, bitmap, journal), 200, 8192 (the second bitmap) and the last one are used.
fn file_system() -> MemoryDisk {
    let disk = MemoryDisk::new(SIZE);
    let mut superblock = [0; 116];
    let used = [(0, 167), (200, 201), (8192, 8193), (BLOCKS - 1, BLOCKS)];
    let free = BLOCKS - used.iter().map(|(first, end)| end - first).sum::<u64>();
    for (at, number) in [(0, BLOCKS), (4, free), (8, 200), (12, JOURNAL), (20, JOURNAL_BLOCKS)] {
        superblock[at..at + 4].copy_from_slice(&(number as u32).to_le_bytes());
    }
    superblock[44..46].copy_from_slice(&(BLOCK as u16).to_le_bytes());
    superblock[50] = 1;
    superblock[52..61].copy_from_slice(b"ReIsEr2Fs");
    superblock[84..100].copy_from_slice(&[0xAB; 16]);
    superblock[100..105].copy_from_slice(b"label");
    disk.write_at(SUPERBLOCK, &superblock).unwrap();
    let mut bitmaps = [0_u8; 2048];
    for block in used.into_iter().flat_map(|(first, end)| first..end) {
        bitmaps[block as usize / 8] |= 1 << (block % 8);
    }
    disk.write_at(65 * BLOCK, &bitmaps[..1024]).unwrap();
    disk.write_at(8192 * BLOCK, &bitmaps[1024..]).unwrap();
    // What follows the last block is set, and says nothing.
    disk.write_at(8192 * BLOCK + 125, &[0xFF; 899]).unwrap();
    // Header of the journal: transaction 7 was the last, block 5 comes next.
    disk.write_at((JOURNAL + JOURNAL_BLOCKS) * BLOCK, &[7, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0]).unwrap();
    disk
}

fn blocks(runs: &[(u64, u64)]) -> Extents<InRegion> {
    let extents = runs.iter().map(|(first, end)| RegionExtent::between(first * BLOCK, end * BLOCK));
    extents.chain([RegionExtent::between(BLOCKS * BLOCK, SIZE)]).collect()
}

/// A description of a transaction in a block of the journal.
fn describe(disk: &MemoryDisk, block: u64, transaction: u8) {
    let position = (JOURNAL + block) * BLOCK;
    disk.write_at(position, &[transaction, 0, 0, 0]).unwrap();
    disk.write_at(position + BLOCK - 12, b"ReIsErLB").unwrap();
}

#[track_caller]
fn check(disk: &MemoryDisk, code: ReasonCode, detail: &str) {
    match survey(disk).coverage {
        Coverage::Whole(reason) => assert_eq!((reason.code, reason.detail.as_str()), (code, detail)),
        Coverage::Used(used) => panic!("used: {used:?}"),
    }
}

#[track_caller]
fn check_bent(position: u64, bytes: &[u8], code: ReasonCode, detail: &str) {
    let disk = file_system();
    disk.write_at(position, bytes).unwrap();
    check(&disk, code, detail);
}

#[test]
fn used_is_what_the_bitmaps_say() {
    let survey = survey(&file_system());
    let found = survey.file_system.unwrap();
    assert_eq!((found.kind.as_str(), found.label.as_deref()), ("reiserfs", Some("label")));
    assert_eq!(found.uuid.as_deref(), Some("abababab-abab-abab-abab-abababababab"));
    assert_eq!((found.block_size, found.size), (1024, BLOCKS * BLOCK));
    let expected = blocks(&[(0, 167), (200, 201), (8192, 8193), (BLOCKS - 1, BLOCKS)]);
    assert_eq!(survey.coverage, Coverage::Used(expected));
}

#[test]
fn only_the_transaction_that_comes_next_waits() {
    let disk = file_system();
    describe(&disk, 3, 9);
    describe(&disk, 5, 7);
    assert!(matches!(survey(&disk).coverage, Coverage::Used(_)), "remains of older rounds");
    describe(&disk, 5, 8);
    let detail = "transaction 8 waits in the journal; the last that was written is 7";
    check(&disk, ReasonCode::NotClean, detail);
    // A header that says nothing: any transaction counts.
    let disk = file_system();
    describe(&disk, 99, 1);
    disk.write_at((JOURNAL + JOURNAL_BLOCKS) * BLOCK, &[0; 12]).unwrap();
    check(&disk, ReasonCode::NotClean, "transaction 1 waits in the journal; the last that was written is 0");
}

#[test]
fn a_file_system_in_use_is_not_clean() {
    let detail = "not unmounted, or to be checked: mount state 2, check state 0";
    check_bent(SUPERBLOCK + 50, &[2], ReasonCode::NotClean, detail);
    let detail = "not unmounted, or to be checked: mount state 1, check state 1";
    check_bent(SUPERBLOCK + 62, &[1], ReasonCode::NotClean, detail);
    let disk = file_system();
    disk.write_at(SUPERBLOCK + 16, &[0x10, 8]).unwrap();
    check(&disk, ReasonCode::NotClean, "the journal is on another device, 00000810");
    assert_eq!(survey(&disk).notes[0].code, NoteCode::OtherDevice);
}

#[test]
fn contradictions_are_damage() {
    let damaged = ReasonCode::Damaged;
    let free =
        "at byte 65540 of the region: expected 9022 free blocks, as the superblock says, found 9021 in the bitmaps";
    check_bent(65 * BLOCK + 30, &[1], damaged, free);
    let bitmap = "at byte 8388608 of the region: expected bitmap 1 in use, found its block free";
    check_bent(8192 * BLOCK, &[0], damaged, bitmap);
    let journal =
        "at byte 65536 of the region: expected a journal inside 9192 blocks, found 65636 blocks from block 66";
    check_bent(SUPERBLOCK + 22, &[1], damaged, journal);
    let journal =
        "at byte 102400 of the region: expected the journal, 103424 bytes from 102400, in use, found free blocks in it";
    check_bent(SUPERBLOCK + 12, &[100], damaged, journal);
    check_bent(SUPERBLOCK + 1, &[0x24], damaged, "the file system has 9674752 bytes, the region 9412908");
}

#[test]
fn old_formats() {
    let disk = file_system();
    disk.write_at(SUPERBLOCK + 52, b"ReIsErFs\0").unwrap();
    let found = survey(&disk).file_system.unwrap();
    assert_eq!((found.uuid, found.label), (None, None));
    let bytes = block::read_vec(&disk, SUPERBLOCK, 116).unwrap();
    disk.write_at(SUPERBLOCK, &[0; 116]).unwrap();
    disk.write_at(8192, &bytes).unwrap();
    check(&disk, ReasonCode::Unsupported, "the superblock is where Linux 2.2 had it");
}

#[test]
fn strangers() {
    for (position, bytes) in [(52, &b"x"[..]), (44, &[0, 0]), (44, &[0, 3]), (12, &[0; 4])] {
        let disk = file_system();
        disk.write_at(SUPERBLOCK + position, bytes).unwrap();
        assert_eq!(survey(&disk).file_system, None, "{position}");
    }
}
