use block::{Extents, InRegion, MemoryDisk, RegionExtent, WriteAt};

use crate::{Coverage, ReasonCode, survey};

const BLOCK: u64 = 4096;
const BLOCKS: u64 = 100;
/// A region that is somewhat larger than the volume.
const SIZE: u64 = BLOCKS * BLOCK + 1536;

/// A volume of 100 blocks: 0 (headers), 2 (allocation file), 50 to 57 and 99 are used. Named by a catalog at block 50.
fn volume() -> MemoryDisk {
    let disk = MemoryDisk::new(SIZE).with_fill(0x77);
    let mut header = [0; 512];
    header[..4].copy_from_slice(b"H+\0\x04");
    header[4..8].copy_from_slice(&0x100_u32.to_be_bytes());
    for (at, number) in [(40, 4096), (44, 100), (48, 89)] {
        header[at..at + 4].copy_from_slice(&u32::to_be_bytes(number));
    }
    header[104..112].copy_from_slice(b"volumeid");
    for (at, start, count) in [(112, 2_u32, 1_u32), (272, 50, 8)] {
        header[at..at + 8].copy_from_slice(&(u64::from(count) * BLOCK).to_be_bytes());
        header[at + 12..at + 16].copy_from_slice(&count.to_be_bytes());
        header[at + 16..at + 20].copy_from_slice(&start.to_be_bytes());
        header[at + 20..at + 24].copy_from_slice(&count.to_be_bytes());
    }
    disk.write_at(1024, &header).unwrap();
    let mut bitmap = [0_u8; 13];
    for block in [0_usize, 2, 50, 51, 52, 53, 54, 55, 56, 57, 99] {
        bitmap[block / 8] |= 0x80 >> (block % 8);
    }
    // Padding says nothing.
    bitmap[12] |= 0x0F;
    disk.write_at(2 * BLOCK, &bitmap).unwrap();
    let mut node = [0; 34];
    node[24..28].copy_from_slice(&1_u32.to_be_bytes());
    node[32..34].copy_from_slice(&4096_u16.to_be_bytes());
    disk.write_at(50 * BLOCK, &node).unwrap();
    let leaf = [0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 1, 0, 1, 0, 0, 0, 10, 0, 0, 0, 1, 0, 2, 0x30, 0x42, 0, b'b'];
    disk.write_at(51 * BLOCK, &leaf).unwrap();
    disk
}

fn blocks(runs: &[(u64, u64)]) -> Extents<InRegion> {
    let extents = runs.iter().map(|(first, end)| RegionExtent::between(first * BLOCK, end * BLOCK));
    extents.chain([RegionExtent::between(BLOCKS * BLOCK, SIZE)]).collect()
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
    let disk = volume();
    disk.write_at(position, bytes).unwrap();
    check(&disk, code, detail);
}

#[test]
fn used_is_what_the_allocation_file_says() {
    let survey = survey(&volume());
    let file_system = survey.file_system.unwrap();
    assert_eq!((file_system.kind.as_str(), file_system.label.as_deref()), ("hfsplus", Some("\u{3042}b")));
    // md5(B3E20F39-F292-11D6-97A4-00306543ECAC + "volumeid"), version 3.
    assert_eq!(file_system.uuid.as_deref(), Some("043e51f3-af56-3e13-9ef6-c392191dc575"));
    assert_eq!((file_system.block_size, file_system.size), (4096, BLOCKS * BLOCK));
    assert_eq!(survey.coverage, Coverage::Used(blocks(&[(0, 1), (2, 3), (50, 58), (99, 100)])));
}

#[test]
fn an_alternate_header_inside_the_last_block_is_used() {
    let disk = MemoryDisk::new(BLOCKS * BLOCK);
    let bytes = block::read_vec(&volume(), 0, (BLOCKS * BLOCK) as usize).unwrap();
    disk.write_at(0, &bytes).unwrap();
    disk.write_at(2 * BLOCK + 12, &[0]).unwrap();
    disk.write_at(1024 + 48, &90_u32.to_be_bytes()).unwrap();
    let Coverage::Used(used) = survey(&disk).coverage else { panic!("whole") };
    let alternate = RegionExtent::between(BLOCKS * BLOCK - 1024, BLOCKS * BLOCK);
    assert_eq!(used.as_slice().last(), Some(&alternate), "though the allocation file says that it is free");
}

#[test]
fn a_volume_in_use_is_not_clean() {
    check_bent(1024 + 6, &[0], ReasonCode::NotClean, "not unmounted: attributes 00000000");
    check_bent(1024 + 6, &[9], ReasonCode::NotClean, "not unmounted: attributes 00000900");
}

#[test]
fn contradictions_are_damage() {
    let damaged = ReasonCode::Damaged;
    let free = "at byte 1072 of the region: expected 89 free blocks, as the volume header says, found 88 in the allocation file";
    check_bent(2 * BLOCK + 1, &[1], damaged, free);
    let catalog =
        "at byte 212992 of the region: expected the catalog, 32768 bytes from 212992, in use, found free blocks in it";
    check_bent(1024 + 272 + 19, &[52], damaged, catalog);
    let outside = "at byte 1136 of the region: expected the allocation file inside 411136 bytes, found a piece that ends at 4194317";
    check_bent(1024 + 112 + 18, &[4, 0], damaged, outside);
    let short = "the eight extents of the allocation file that the volume header lists hold 0 of 100 blocks";
    check_bent(1024 + 112 + 20, &[0; 4], ReasonCode::Unsupported, short);
    let small = "the file system has 413696 bytes, the region 411136";
    check_bent(1024 + 47, &[101], damaged, small);
}

#[test]
fn journals_must_be_empty() {
    let disk = volume();
    disk.write_at(1024 + 6, &[0x21]).unwrap();
    disk.write_at(1024 + 12, &56_u32.to_be_bytes()).unwrap();
    let mut info = [0; 52];
    info[3] = 1;
    info[36..44].copy_from_slice(&(57 * BLOCK).to_be_bytes());
    info[44..52].copy_from_slice(&BLOCK.to_be_bytes());
    disk.write_at(56 * BLOCK, &info).unwrap();
    let detail =
        "at byte 233472 of the region: expected 4a4e4c78 12345678 at the start of the journal, found 77777777 77777777";
    check(&disk, ReasonCode::Damaged, detail);
    disk.write_at(57 * BLOCK, b"xLNJ\x78\x56\x34\x12\0\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0").unwrap();
    assert!(matches!(survey(&disk).coverage, Coverage::Used(_)));
    disk.write_at(57 * BLOCK + 16, &[1]).unwrap();
    check(&disk, ReasonCode::NotClean, "the journal holds transactions, from byte 512 to 513 of it");
    disk.write_at(56 * BLOCK + 43, &[1]).unwrap();
    disk.write_at(56 * BLOCK + 38, &[1]).unwrap();
    let detail = "at byte 229376 of the region: expected a journal that ends before byte 409600, found 4096 bytes from 1099511861249";
    check(&disk, ReasonCode::Damaged, detail);
    disk.write_at(56 * BLOCK + 3, &[2]).unwrap();
    check(&disk, ReasonCode::NotClean, "the journal is on another device");
    disk.write_at(1024 + 12, &[0xFF]).unwrap();
    let detail = "at byte 17523466797056 of the region: expected the journal info block inside 411136 bytes, found its end behind that";
    check(&disk, ReasonCode::Damaged, detail);
}

#[test]
fn wrappers_and_strangers() {
    let disk = volume();
    disk.write_at(1024, b"BD").unwrap();
    disk.write_at(1024 + 124, b"H+").unwrap();
    check(&disk, ReasonCode::Unsupported, "a volume in a wrapper of HFS");
    for (position, bytes) in [(1024, &b"HZ"[..]), (1027, &[6]), (1024 + 43, &[1]), (1024 + 44, &[0; 4])] {
        let disk = volume();
        disk.write_at(position, bytes).unwrap();
        assert_eq!(survey(&disk).file_system, None, "{position}");
    }
}
