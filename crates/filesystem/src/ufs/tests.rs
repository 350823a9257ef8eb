use block::{Extents, InRegion, MemoryDisk, RegionExtent, WriteAt};

use crate::structure::WordOrder;
use crate::{Coverage, ReasonCode, survey};

const SUPERBLOCK: u64 = 65536;
const FRAGMENT: u64 = 1024;
/// Three groups of 400 fragments, the last one shorter.
const GROUP: u64 = 400;
const FRAGMENTS: u64 = 1000;
const SBLKNO: u64 = 72;
const CBLKNO: u64 = 80;
const DBLKNO: u64 = 96;
/// Bytes that do not belong to the file system.
const TAIL: u64 = 512;
/// Besides boot code, superblocks and inodes.
const USED: [(u64, u64); 3] = [(96, 99), (400, 401), (999, 1000)];

fn group(number: u64) -> u64 {
    (number * GROUP + CBLKNO) * FRAGMENT
}

fn is_metadata(fragment: u64) -> bool {
    let (group, inside) = (fragment / GROUP, fragment % GROUP);
    inside < DBLKNO && (group == 0 || inside >= SBLKNO)
}

fn is_used(fragment: u64) -> bool {
    is_metadata(fragment) || USED.iter().any(|(first, end)| (*first..*end).contains(&fragment))
}

fn file_system(order: WordOrder) -> MemoryDisk {
    let disk = MemoryDisk::new(FRAGMENTS * FRAGMENT + TAIL);
    let put = |position: u64, number: u32| {
        let bytes = if order == WordOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() };
        disk.write_at(position, &bytes).unwrap();
    };
    let put_long = |position: u64, number: u64| {
        let bytes = if order == WordOrder::Big { number.to_be_bytes() } else { number.to_le_bytes() };
        disk.write_at(position, &bytes).unwrap();
    };
    let numbers = [
        (8, SBLKNO as u32),
        (12, CBLKNO as u32),
        (20, DBLKNO as u32),
        (44, 3),
        (48, 8192),
        (52, 1024),
        (56, 8),
        (144, 0x1234),
        (148, 0x5678),
        (160, 2048),
        (188, GROUP as u32),
        (1372, 0x1954_0119),
    ];
    numbers.into_iter().for_each(|(offset, number)| put(SUPERBLOCK + offset, number));
    let free = (0..FRAGMENTS).filter(|fragment| !is_used(*fragment)).count() as u64;
    for (offset, number) in [(1000, SUPERBLOCK), (1016, free / 8), (1032, free % 8), (1080, FRAGMENTS)] {
        put_long(SUPERBLOCK + offset, number);
    }
    disk.write_at(SUPERBLOCK + 209, &[1]).unwrap();
    disk.write_at(SUPERBLOCK + 680, b"label").unwrap();
    for number in 0..3 {
        let start = number * GROUP;
        let count = (FRAGMENTS - start).min(GROUP);
        let mut bitmap = vec![0; count.div_ceil(8) as usize];
        let free: Vec<u64> = (0..count).filter(|fragment| !is_used(start + fragment)).collect();
        free.iter().for_each(|fragment| bitmap[*fragment as usize / 8] |= 1 << (fragment % 8));
        let free = free.len() as u32;
        for (offset, value) in
            [(4, 0x0009_0255), (12, number as u32), (20, count as u32), (28, free / 8), (36, free % 8), (96, 168)]
        {
            put(group(number) + offset, value);
        }
        disk.write_at(group(number) + 168, &bitmap).unwrap();
    }
    disk
}

fn expected() -> Extents<InRegion> {
    let used = (0..FRAGMENTS).filter(|fragment| is_used(*fragment));
    let used = used.map(|fragment| RegionExtent::between(fragment * FRAGMENT, (fragment + 1) * FRAGMENT));
    used.chain([RegionExtent::between(FRAGMENTS * FRAGMENT, FRAGMENTS * FRAGMENT + TAIL)]).collect()
}

#[test]
fn used_are_metadata_and_what_no_bitmap_calls_free() {
    for order in [WordOrder::Little, WordOrder::Big] {
        let found = survey(&file_system(order));
        assert_eq!(found.coverage, Coverage::Used(expected()), "{order:?}");
        let identity = found.file_system.unwrap();
        assert_eq!(identity.kind, "ufs");
        assert_eq!((identity.uuid.as_deref(), identity.label.as_deref()), (Some("0000123400005678"), Some("label")));
        assert_eq!((identity.block_size, identity.size), (1024, FRAGMENTS * FRAGMENT));
    }
}

#[test]
fn metadata_is_used_whatever_the_bitmaps_say() {
    let disk = file_system(WordOrder::Little);
    // The inodes of the second group are called free, and everybody agrees on the number.
    let mut byte = [0];
    block::ReadAt::read_at(&disk, group(1) + 168 + 11, &mut byte).unwrap();
    assert_eq!(byte, [0]);
    disk.write_at(group(1) + 168 + 11, &[0xFF]).unwrap();
    for position in [group(1) + 28, SUPERBLOCK + 1016] {
        block::ReadAt::read_at(&disk, position, &mut byte).unwrap();
        disk.write_at(position, &[byte[0] + 1]).unwrap();
    }
    assert_eq!(survey(&disk).coverage, Coverage::Used(expected()));
}

#[track_caller]
fn check_bent(position: u64, bytes: &[u8], code: ReasonCode, detail: &str) {
    let disk = file_system(WordOrder::Little);
    disk.write_at(position, bytes).unwrap();
    match survey(&disk).coverage {
        Coverage::Whole(reason) => assert_eq!((reason.code, reason.detail.as_str()), (code, detail)),
        Coverage::Used(_) => panic!("used"),
    }
}

#[test]
fn what_may_lag_behind_or_is_not_understood_is_saved_whole() {
    let in_use =
        |clean, flags, pending| format!("not unmounted: clean {clean}, flags {flags:x}, {pending} blocks being freed");
    check_bent(SUPERBLOCK + 209, &[0], ReasonCode::NotClean, &in_use(0, 0, 0));
    check_bent(SUPERBLOCK + 1312, &[1], ReasonCode::NotClean, &in_use(1, 1, 0));
    check_bent(SUPERBLOCK + 1312, &[4], ReasonCode::NotClean, &in_use(1, 4, 0));
    check_bent(SUPERBLOCK + 1104, &[9], ReasonCode::NotClean, &in_use(1, 0, 9));
    check_bent(SUPERBLOCK + 1312, &[0x40], ReasonCode::Unsupported, "journal below the file system");
    check_bent(SUPERBLOCK + 1372, &[0x54, 0x19, 1, 0], ReasonCode::Unsupported, "UFS1, magic number 11954");
}

#[test]
fn contradictions_are_damage() {
    let check = |position, bytes: &[u8], detail: &str| {
        check_bent(position, bytes, ReasonCode::Damaged, &format!("at byte {detail}"));
    };
    check(
        group(2) + 4,
        &[0],
        "901120 of the region: expected group 2 of 200 fragments, found group 2 of 200, magic number 90200",
    );
    check(
        group(2) + 12,
        &[1],
        "901120 of the region: expected group 2 of 200 fragments, found group 1 of 200, magic number 90255",
    );
    check(
        group(0) + 20,
        &[0x91],
        "81920 of the region: expected group 0 of 400 fragments, found group 0 of 401, magic number 90255",
    );
    check(
        group(0) + 97,
        &[8],
        "82016 of the region: expected a bitmap of 50 bytes inside the group, found one at byte 2216",
    );
    check(
        group(0) + 96,
        &[160],
        "82016 of the region: expected a bitmap of 50 bytes inside the group, found one at byte 160",
    );
    check(group(0) + 168 + 20, &[0xFE], "81948 of the region: expected 301 free fragments in group 0, found 300");
    check(
        SUPERBLOCK + 1032,
        &[7],
        "65536 of the region: expected 855 free fragments, as the superblock says, found 851 in the groups",
    );
    let numbers = "65536 of the region: expected a superblock whose numbers agree, found one of";
    for (offset, byte) in [(1000, 1), (45, 1), (56, 4), (163, 1), (20, 80), (188, 1)] {
        let disk = file_system(WordOrder::Little);
        disk.write_at(SUPERBLOCK + offset, &[byte]).unwrap();
        let Coverage::Whole(reason) = survey(&disk).coverage else { panic!("{offset}: used") };
        assert!(reason.detail.starts_with(&format!("at byte {numbers}")), "{offset}: {}", reason.detail);
    }
    check_bent(SUPERBLOCK + 1081, &[4], ReasonCode::Damaged, "the file system has 1286144 bytes, the region 1024512");
}
