use block::{Extents, InRegion, MemoryDisk, RegionExtent, WriteAt};

use crate::{Coverage, NoteCode, ReasonCode, survey};

const BLOCK: u64 = 4096;
/// Two pages of the map: one of 8192 blocks and one of 808.
const BLOCKS: u64 = 9000;
/// The log lies behind.
const SIZE: u64 = (BLOCKS + 20) * BLOCK;
const SUPERBLOCK: u64 = 0x8000;
/// The inode of the map, and its tree of extents.
const INODE: u64 = 0xB000 + 2 * 512;
const TREE: u64 = INODE + 224;
/// Control page, two summaries, one more, and the first page of bits; the second one lies elsewhere.
const MAP: u64 = 100;
const SECOND_PAGE: u64 = 7000;
const USED: [(u64, u64); 4] = [(0, 16), (MAP, MAP + 5), (SECOND_PAGE, SECOND_PAGE + 1), (8999, 9000)];

fn extent(offset: u32, length: u8, address: u32) -> [u8; 16] {
    let mut xad = [0; 16];
    xad[4..8].copy_from_slice(&offset.to_le_bytes());
    xad[8] = length;
    xad[12..16].copy_from_slice(&address.to_le_bytes());
    xad
}

fn file_system() -> MemoryDisk {
    let disk = MemoryDisk::new(SIZE);
    let mut superblock = [0; 168];
    superblock[..4].copy_from_slice(b"JFS1");
    superblock[4] = 2;
    superblock[8..16].copy_from_slice(&(BLOCKS * 8).to_le_bytes());
    for (at, number) in [(16, 4096_u32), (20, 12 | 3 << 16), (24, 512), (28, 9), (36, 0x800)] {
        superblock[at..at + 4].copy_from_slice(&number.to_le_bytes());
    }
    superblock[136..152].copy_from_slice(&[0xCD; 16]);
    superblock[152..157].copy_from_slice(b"label");
    disk.write_at(SUPERBLOCK, &superblock).unwrap();
    disk.write_at(INODE, &[0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]).unwrap();
    // Root and leaf at once, with two extents.
    disk.write_at(TREE + 16, &[3, 0, 4, 0, 18, 0]).unwrap();
    disk.write_at(TREE + 32, &extent(0, 5, MAP as u32)).unwrap();
    disk.write_at(TREE + 48, &extent(5, 1, SECOND_PAGE as u32)).unwrap();
    let free = |first: u64, end: u64| {
        let used = USED.iter().map(|(from, to)| (*to).min(end).saturating_sub((*from).max(first)));
        end - first - used.sum::<u64>()
    };
    disk.write_at(MAP * BLOCK, &BLOCKS.to_le_bytes()).unwrap();
    disk.write_at(MAP * BLOCK + 8, &free(0, BLOCKS).to_le_bytes()).unwrap();
    for (position, first, end) in [((MAP + 4) * BLOCK, 0, 8192), (SECOND_PAGE * BLOCK, 8192, BLOCKS)] {
        disk.write_at(position, &((end - first) as u32).to_le_bytes()).unwrap();
        disk.write_at(position + 4, &(free(first, end) as u32).to_le_bytes()).unwrap();
        disk.write_at(position + 8, &first.to_le_bytes()).unwrap();
        let mut words = [0_u32; 256];
        for block in USED.into_iter().flat_map(|(from, to)| from..to).filter(|block| (first..end).contains(block)) {
            words[(block - first) as usize / 32] |= 0x8000_0000 >> ((block - first) % 32);
        }
        // What follows the last block is set, and says nothing.
        if end == BLOCKS {
            words[25] |= 0x00FF_FFFF;
            words[26..].fill(u32::MAX);
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        disk.write_at(position + 2048, &bytes).unwrap();
        disk.write_at(position + 3072, &bytes).unwrap();
    }
    disk
}

fn blocks(runs: &[(u64, u64)]) -> Extents<InRegion> {
    let extents = runs.iter().map(|(first, end)| RegionExtent::between(first * BLOCK, end * BLOCK));
    extents.chain([RegionExtent::between(BLOCKS * BLOCK, SIZE)]).collect()
}

#[track_caller]
fn check_bent(position: u64, bytes: &[u8], code: ReasonCode, detail: &str) {
    let disk = file_system();
    disk.write_at(position, bytes).unwrap();
    match survey(&disk).coverage {
        Coverage::Whole(reason) => assert_eq!((reason.code, reason.detail.as_str()), (code, detail)),
        Coverage::Used(used) => panic!("used: {used:?}"),
    }
}

#[test]
fn used_is_what_the_map_says() {
    let survey = survey(&file_system());
    let found = survey.file_system.unwrap();
    assert_eq!((found.kind.as_str(), found.label.as_deref()), ("jfs", Some("label")));
    assert_eq!(found.uuid.as_deref(), Some("cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd"));
    assert_eq!((found.block_size, found.size), (4096, BLOCKS * BLOCK));
    assert_eq!(survey.coverage, Coverage::Used(blocks(&USED)));
    assert!(survey.notes.is_empty());
}

#[test]
fn what_only_the_committed_map_has_is_used() {
    let disk = file_system();
    // Block 64, in the third word of the committed map.
    disk.write_at((MAP + 4) * BLOCK + 3072 + 11, &[0x80]).unwrap();
    let expected = blocks(&[USED[0], (64, 65), USED[1], USED[2], USED[3]]);
    assert_eq!(survey(&disk).coverage, Coverage::Used(expected));
}

#[test]
fn trees_of_more_levels() {
    let disk = file_system();
    let leaf = block::read_vec(&disk, TREE, 288).unwrap();
    disk.write_at(12 * BLOCK, &leaf).unwrap();
    disk.write_at(TREE + 16, &[5, 0, 3, 0, 18, 0]).unwrap();
    disk.write_at(TREE + 32, &extent(0, 1, 12)).unwrap();
    assert_eq!(survey(&disk).coverage, Coverage::Used(blocks(&USED)));
    // A page that names itself.
    disk.write_at(12 * BLOCK + 16, &[4, 0, 3, 0, 18, 0]).unwrap();
    disk.write_at(12 * BLOCK + 32, &extent(0, 1, 12)).unwrap();
    let Coverage::Whole(reason) = survey(&disk).coverage else { panic!("used") };
    assert_eq!(reason.detail, "at byte 49152 of the region: expected at most 8 levels, found more");
}

#[test]
fn empty_pages_are_not_read_without_end() {
    let disk = file_system();
    // Seven pages that each name the next one over and over, and a last one that holds nothing.
    let linked = |child: u32| {
        let mut page = vec![0; 4096];
        page[16..20].copy_from_slice(&[4, 0, 0, 1]);
        (2..256).for_each(|slot| page[slot * 16..][..16].copy_from_slice(&extent(0, 1, child)));
        page
    };
    disk.write_at(TREE + 16, &[5, 0, 18, 0, 18, 0]).unwrap();
    (2..18).for_each(|slot| disk.write_at(TREE + slot * 16, &extent(0, 1, 200)).unwrap());
    for number in 0..7 {
        disk.write_at((200 + number) * BLOCK, &linked(201 + number as u32)).unwrap();
    }
    disk.write_at(207 * BLOCK + 16, &[2, 0, 2, 0]).unwrap();
    let Coverage::Whole(reason) = survey(&disk).coverage else { panic!("used") };
    assert_eq!(reason.detail, "at byte 843776 of the region: expected at most 4096 pages of extents, found more");
}

#[test]
fn a_file_system_in_use_is_not_clean() {
    check_bent(SUPERBLOCK + 40, &[1], ReasonCode::NotClean, "not unmounted: state 1");
    check_bent(SUPERBLOCK + 4, &[3], ReasonCode::Unsupported, "version 3, compression 0");
    check_bent(SUPERBLOCK + 44, &[1], ReasonCode::Unsupported, "version 2, compression 1");
    let disk = file_system();
    disk.write_at(SUPERBLOCK + 37, &[0]).unwrap();
    assert_eq!(survey(&disk).notes[0].code, NoteCode::OtherDevice);
}

#[test]
fn contradictions_are_damage() {
    let check = |position, bytes: &[u8], detail: &str| {
        check_bent(position, bytes, ReasonCode::Damaged, &format!("at byte {detail}"));
    };
    check(INODE + 4, &[2], "46080 of the region: expected inode 2 of fileset 1, found inode 2 of fileset 2");
    check(TREE + 18, &[19], "46322 of the region: expected 2 to 18 slots in use, found 19");
    check(TREE + 18, &[1], "46322 of the region: expected 2 to 18 slots in use, found 1");
    let extent =
        "46304 of the region: expected an extent from block 5, at most 1048576 of them, found 1 blocks from block 4";
    check(TREE + 52, &[4], extent);
    let page = "32768 of the region: expected page 5 of the block map in one piece inside the region, found none";
    check(TREE + 18, &[3], page);
    check(TREE + 63, &[9], page);
    let size = "409600 of the region: expected a map of 9000 blocks, 2^0 a page, found 9000 blocks, 2^1 a page";
    check(MAP * BLOCK + 16, &[1], size);
    let free = "409608 of the region: expected 8976 free blocks, as the control page says, found 8977 in the map";
    check(MAP * BLOCK + 8, &[0x10], free);
    let start = "425984 of the region: expected 8192 blocks from block 0 of the map, found 8192 blocks from block 1";
    check((MAP + 4) * BLOCK + 8, &[1], start);
    let free = "425988 of the region: expected 8170 free blocks from block 0, found 8169";
    check((MAP + 4) * BLOCK + 2048 + 200, &[1], free);
    check_bent(SUPERBLOCK + 9, &[0xF0], ReasonCode::Damaged, "the file system has 65044480 bytes, the region 36945920");
}

#[test]
fn strangers() {
    for (position, byte) in [(0, b'X'), (17, 0x20), (20, 13), (22, 4), (28, 8)] {
        let disk = file_system();
        disk.write_at(SUPERBLOCK + position, &[byte]).unwrap();
        assert_eq!(survey(&disk).file_system, None, "{position}");
    }
}
