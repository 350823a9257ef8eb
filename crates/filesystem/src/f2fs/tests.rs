//! Bent bytes: every check of the parser, seen from outside.

use block::{Extents, Fault, FaultyDisk, InRegion, MemoryDisk, Operation, RegionExtent, WriteAt, read_vec};

use super::checkpoint::seal;
use super::checksum::crc32;
use crate::{Coverage, NoteCode, ReasonCode, Survey, survey};

/// First blocks of the areas.
const PACKS: [u64; 2] = [512, 1024];
const SIT: u64 = 1536;
const SIT_SECOND: u64 = SIT + 512;
const MAIN: u64 = SIT + 1024 + 1024 + 512;
/// More than a block of the table holds.
const SEGMENTS: u64 = 60;
const BLOCKS: u64 = MAIN + SEGMENTS * 512 + 3;
/// Blocks of a pack: first one, three summaries of data, three of nodes, last one.
const PACK_BLOCKS: u64 = 8;
const JOURNAL: u64 = 3;
const VERSION: u64 = 0x1_0000_0005;

/// Kind of a segment, and its blocks in use.
type Segment = (u16, Vec<u64>);

fn entry((kind, blocks): &Segment) -> Vec<u8> {
    let mut entry = vec![0; 74];
    entry[..2].copy_from_slice(&(kind << 10 | blocks.len() as u16).to_le_bytes());
    blocks.iter().for_each(|block| entry[2 + *block as usize / 8] |= 0x80 >> (block % 8));
    entry
}

fn put_segment(disk: &MemoryDisk, table: u64, number: u64, segment: &Segment) {
    disk.write_at((table + number / 55) * 4096 + number % 55 * 74, &entry(segment)).unwrap();
}

fn seal_superblock(disk: &MemoryDisk, position: u64) {
    let bytes = read_vec(disk, position, 3068).unwrap();
    disk.write_at(position + 3068, &crc32(&bytes).to_le_bytes()).unwrap();
}

fn put_words(disk: &MemoryDisk, position: u64, words: &[u32]) {
    disk.write_at(position, &words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
}

/// Changes both ends of a pack and makes their checksums right again.
fn bend_pack(disk: &MemoryDisk, pack: usize, bend: impl Fn(&mut [u8])) {
    for block in [PACKS[pack], PACKS[pack] + PACK_BLOCKS - 1] {
        let mut bytes = read_vec(disk, block * 4096, 4096).unwrap();
        bend(&mut bytes);
        seal(&mut bytes);
        disk.write_at(block * 4096, &bytes).unwrap();
    }
}

fn segments() -> [(u64, Segment); 4] {
    [(0, (4, vec![0, 1, 7, 8, 511])), (1, (1, (0..512).collect())), (2, (0, vec![100])), (57, (5, vec![3]))]
}

fn volume() -> MemoryDisk {
    let disk = MemoryDisk::new(BLOCKS * 4096 + 1024);
    for position in [1024, 4096 + 1024] {
        put_words(&disk, position, &[0xF2F5_2010, 1 | 16 << 16, 9, 3, 12, 9, 1, 1, 3068]);
        disk.write_at(position + 36, &BLOCKS.to_le_bytes()).unwrap();
        let segments = [SEGMENTS as u32, SEGMENTS as u32 + 7, 2, 2, 2, 1, SEGMENTS as u32];
        put_words(&disk, position + 44, &segments);
        put_words(
            &disk,
            position + 72,
            &[512, 512, SIT as u32, SIT as u32 + 1024, SIT as u32 + 2048, MAIN as u32, 3, 1, 2],
        );
        disk.write_at(position + 108, b"0123456789abcdef").unwrap();
        disk.write_at(position + 124, b"l\0a\0b\0e\0l\0").unwrap();
        put_words(&disk, position + 2180, &[0x800]);
        seal_superblock(&disk, position);
    }
    for (pack, version) in [(0, VERSION), (1, VERSION - 1)] {
        bend_pack(&disk, pack, |block| {
            let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
            put(0, &version.to_le_bytes());
            put(16, &600_u64.to_le_bytes());
            // The next node of a file goes to block 9 of segment 0.
            put(40, &0_u32.to_le_bytes());
            put(70, &9_u16.to_le_bytes());
            put(132, &1_u32.to_le_bytes());
            put(136, &(PACK_BLOCKS as u32).to_le_bytes());
            put(140, &1_u32.to_le_bytes());
            put(144, &6_u32.to_le_bytes());
            put(156, &64_u32.to_le_bytes());
            put(160, &64_u32.to_le_bytes());
            // Of the second block of the table the second copy counts.
            put(192, &[0x40]);
        });
    }
    for (number, segment) in segments() {
        put_segment(&disk, if number < 55 { SIT } else { SIT_SECOND }, number, &segment);
    }
    // What does not count: the other copies.
    put_segment(&disk, SIT_SECOND, 0, &(4, vec![77]));
    put_segment(&disk, SIT, 57, &(4, vec![77]));
    disk
}

fn put_journal(disk: &MemoryDisk, position: u64, number: u32, segment: &Segment) {
    let bytes = [&1_u16.to_le_bytes()[..], &number.to_le_bytes(), &entry(segment)].concat();
    disk.write_at(position, &bytes).unwrap();
}

fn expected(segments: &[(u64, Segment)]) -> Extents<InRegion> {
    let blocks = segments.iter().flat_map(|(number, (_, blocks))| {
        blocks.iter().map(move |block| (MAIN + number * 512 + block, MAIN + number * 512 + block + 1))
    });
    let ends = [(0, MAIN), (MAIN + SEGMENTS * 512, BLOCKS)];
    let extents = blocks.chain(ends).map(|(from, to)| RegionExtent::between(from * 4096, to * 4096));
    extents.chain([RegionExtent::between(BLOCKS * 4096, BLOCKS * 4096 + 1024)]).collect()
}

fn notes(survey: &Survey) -> Vec<(NoteCode, &str)> {
    survey.notes.iter().map(|note| (note.code, note.detail.as_str())).collect()
}

#[track_caller]
fn check_whole(disk: &MemoryDisk, code: ReasonCode, detail: &str) {
    match survey(disk).coverage {
        Coverage::Used(extents) => panic!("used: {extents:?}"),
        Coverage::Whole(reason) => {
            assert_eq!(reason.code, code, "{reason:?}");
            assert!(reason.detail.contains(detail), "{reason:?}");
        }
    }
}

#[test]
fn used_is_what_the_copies_that_count_say() {
    let survey = survey(&volume());
    assert_eq!(survey.coverage, Coverage::Used(expected(&segments())));
    assert_eq!(notes(&survey), []);
    let file_system = survey.file_system.unwrap();
    assert_eq!((file_system.kind.as_str(), file_system.size), ("f2fs", BLOCKS * 4096));
    assert_eq!(file_system.uuid.as_deref(), Some("30313233-3435-3637-3839-616263646566"));
    assert_eq!(file_system.label.as_deref(), Some("label"));
}

#[test]
fn the_journal_counts_before_the_table() {
    let mut changed = segments();
    changed[2].1 = (0, vec![5, 6, 7]);
    // In the summary of cold data, and in compact summaries.
    for (flags, block, offset) in [(0x1_u8, JOURNAL, 3584), (0x5, 1, 507)] {
        let disk = volume();
        bend_pack(&disk, 0, |block| block[132] = flags);
        put_journal(&disk, (PACKS[0] + block) * 4096 + offset, 2, &changed[2].1);
        assert_eq!(survey(&disk).coverage, Coverage::Used(expected(&changed)));
    }
    let disk = volume();
    put_journal(&disk, (PACKS[0] + JOURNAL) * 4096 + 3584, SEGMENTS as u32, &changed[2].1);
    check_whole(&disk, ReasonCode::Damaged, "a segment among 60 in the journal, found 60");
    disk.write_at((PACKS[0] + JOURNAL) * 4096 + 3584, &[7, 0]).unwrap();
    check_whole(&disk, ReasonCode::Damaged, "a journal of at most 6 entries, found 7");
}

#[test]
fn the_newer_pack_that_is_whole_counts() {
    // The second pack says that another copy counts: of the first block of the table.
    let other = |disk: &MemoryDisk| {
        bend_pack(disk, 1, |block| {
            block[192] = 0xC0;
            block[16..18].copy_from_slice(&[3, 0]);
            block[144] = 2;
        });
    };
    let of_other = [(0, (4, vec![77])), (57, (5, vec![3]))];
    let disk = volume();
    other(&disk);
    assert_eq!(survey(&disk).coverage, Coverage::Used(expected(&segments())));
    bend_pack(&disk, 1, |block| block[0..8].copy_from_slice(&(VERSION + 1).to_le_bytes()));
    assert_eq!(survey(&disk).coverage, Coverage::Used(expected(&of_other)));
    // Either end damaged, or of two versions.
    for block in [PACKS[0], PACKS[0] + PACK_BLOCKS - 1] {
        let disk = volume();
        other(&disk);
        disk.write_at(block * 4096 + 3000, &[1]).unwrap();
        assert_eq!(survey(&disk).coverage, Coverage::Used(expected(&of_other)));
        disk.write_at(PACKS[1] * 4096 + 3000, &[1]).unwrap();
        check_whole(&disk, ReasonCode::Damaged, "a checkpoint pack that is whole, found none in two");
    }
    // Versions that have passed the end of their numbers.
    let disk = volume();
    other(&disk);
    bend_pack(&disk, 0, |block| block[0..8].copy_from_slice(&u64::MAX.to_le_bytes()));
    bend_pack(&disk, 1, |block| block[0..8].copy_from_slice(&1_u64.to_le_bytes()));
    assert_eq!(survey(&disk).coverage, Coverage::Used(expected(&of_other)));
}

#[test]
fn whatever_is_not_an_unmount_is_not_clean() {
    for (flags, detail) in [
        (0, "the last checkpoint is not that of an unmount (checkpoint flags 0x0)"),
        (0x9, "needs fsck.f2fs"),
        (0x11, "needs fsck.f2fs"),
        (0x1001, "checkpoints are disabled"),
        (0x4001, "the size is being changed"),
    ] {
        let disk = volume();
        bend_pack(&disk, 0, |block| block[132..134].copy_from_slice(&u16::to_le_bytes(flags)));
        check_whole(&disk, ReasonCode::NotClean, detail);
    }
    let disk = volume();
    bend_pack(&disk, 0, |block| block[134] = 1);
    check_whole(&disk, ReasonCode::Unsupported, "unknown flags 0x10000 of the F2FS checkpoint");
}

#[test]
fn a_node_behind_the_checkpoint_is_not_clean() {
    let disk = volume();
    let next = (MAIN + 9) * 4096 + 4084;
    // Of the checkpoint before.
    disk.write_at(next, &(VERSION - 1).to_le_bytes()).unwrap();
    assert_eq!(survey(&disk).coverage, Coverage::Used(expected(&segments())));
    disk.write_at(next, &VERSION.to_le_bytes()).unwrap();
    check_whole(&disk, ReasonCode::NotClean, &format!("block {} was synced after the last checkpoint", MAIN + 9));
    // With a checksum in its upper half.
    disk.write_at(next + 4, &[0xAB; 4]).unwrap();
    check_whole(&disk, ReasonCode::NotClean, "was synced after the last checkpoint");
    bend_pack(&disk, 0, |block| block[40] = SEGMENTS as u8);
    check_whole(&disk, ReasonCode::Damaged, "a segment for nodes among 60, found block 9 of segment 60");
}

#[test]
fn counts_must_agree() {
    let disk = volume();
    put_segment(&disk, SIT, 2, &(0, vec![100, 101]));
    disk.write_at(SIT * 4096 + 2 * 74, &[1]).unwrap();
    check_whole(&disk, ReasonCode::Damaged, "1 blocks in use in segment 2, found 2 in its map");
    let disk = volume();
    put_segment(&disk, SIT, 2, &(4, vec![100]));
    check_whole(&disk, ReasonCode::Damaged, "6 blocks of nodes and at most 600 in use, found 7 and 519 in the table");
    let disk = volume();
    bend_pack(&disk, 0, |block| block[16..18].copy_from_slice(&518_u16.to_le_bytes()));
    check_whole(&disk, ReasonCode::Damaged, "found 6 and 519 in the table");
}

#[test]
fn bent_superblocks() {
    type Bend = (u64, &'static [u8], ReasonCode, &'static str);
    let bends: [Bend; 14] = [
        (4, &[2], ReasonCode::Unsupported, "F2FS version 2.16"),
        (8, &[8], ReasonCode::Damaged, "sectors that fill a block, found 2^3 sectors of 2^8 bytes"),
        (16, &[14], ReasonCode::Damaged, "the file system has 570474496 bytes, the region 142619648"),
        (16, &[11], ReasonCode::Unsupported, "blocks of 2^11 bytes in segments of 2^9"),
        (16, &[99], ReasonCode::Damaged, "a block size from 2^9 to 2^16, found 2^99"),
        (20, &[10], ReasonCode::Unsupported, "in segments of 2^10"),
        (24, &[0], ReasonCode::Damaged, "segments in a section"),
        (52, &[1], ReasonCode::Damaged, "two checkpoint packs, found 1 segments"),
        (
            80,
            &[1],
            ReasonCode::Damaged,
            "the segment information table from block 1536, found 2 segments from block 1537",
        ),
        (68, &[61], ReasonCode::Damaged, "areas between block 2 and"),
        (1664, &[254, 1], ReasonCode::Damaged, "bitmaps inside a checkpoint pack, found 510 blocks"),
        (2180, &[2, 8], ReasonCode::Unsupported, "an F2FS for zoned devices"),
        (2180, &[0, 0x48], ReasonCode::Unsupported, "a read-only F2FS image"),
        (2180, &[0, 0x88], ReasonCode::Unsupported, "unknown F2FS features 0x8000"),
    ];
    for (at, bytes, code, detail) in bends {
        let disk = volume();
        for position in [1024, 4096 + 1024] {
            disk.write_at(position + at, bytes).unwrap();
            seal_superblock(&disk, position);
        }
        check_whole(&disk, code, detail);
    }
}

#[test]
fn the_second_superblock_stands_in_for_the_first() {
    let disk = volume();
    disk.write_at(1024 + 2000, &[1]).unwrap();
    let seen = survey(&disk);
    assert_eq!(seen.coverage, Coverage::Used(expected(&segments())));
    assert_eq!(notes(&seen), [(NoteCode::Errors, "the first superblock is damaged; its copy is used")]);
    disk.write_at(4096 + 1024 + 2000, &[1]).unwrap();
    check_whole(&disk, ReasonCode::Damaged, "at byte 1024 of the region: expected a superblock with the checksum");
}

#[test]
fn other_devices_and_errors() {
    let disk = volume();
    disk.write_at(1024 + 2201, b"/dev/sdb").unwrap();
    disk.write_at(1024 + 2762, &[1]).unwrap();
    seal_superblock(&disk, 1024);
    check_whole(&disk, ReasonCode::Unsupported, "an F2FS over several devices");
    let codes: Vec<_> = survey(&disk).notes.iter().map(|note| note.code).collect();
    assert_eq!(codes, [NoteCode::OtherDevice, NoteCode::Errors]);
}

#[test]
fn bitmaps_in_other_places() {
    // Behind the first block of the pack.
    let disk = volume();
    for position in [1024, 4096 + 1024] {
        put_words(&disk, position + 1664, &[1]);
        seal_superblock(&disk, position);
    }
    bend_pack(&disk, 0, |block| block[192] = 0);
    disk.write_at((PACKS[0] + 1) * 4096, &[0x40]).unwrap();
    assert_eq!(survey(&disk).coverage, Coverage::Used(expected(&segments())));
    // Too short.
    bend_pack(&disk, 0, |block| block[156] = 63);
    check_whole(&disk, ReasonCode::Damaged, "a bitmap of 64 bytes for the segment information table, found 63 bytes");
}

#[test]
fn reads_that_fail() {
    for number in 1.. {
        let disk = FaultyDisk::new(volume(), Some(Fault { operation: Operation::Read, number }));
        let survey = survey(&disk);
        if disk.count(Operation::Read) < number {
            assert!(number > 8, "{number}");
            return;
        }
        match survey.coverage {
            Coverage::Whole(reason) => assert_eq!(reason.code, ReasonCode::Unreadable),
            Coverage::Used(used) => assert_eq!(used, expected(&segments())),
        }
    }
}
