use block::{Extents, Fault, FaultyDisk, InRegion, MemoryDisk, Operation, ReadAt, RegionExtent, WriteAt, read_vec};
use proptest::prelude::*;

use super::sample::{self, CLUSTER, HIBERFIL, LIST, LOG, record_at};
use crate::{Coverage, NoteCode, Reason, ReasonCode, survey};

fn expected() -> Extents<InRegion> {
    let clusters = sample::used_clusters().into_iter();
    let mut all: Extents<_> =
        clusters.map(|run| RegionExtent::between(run.start * CLUSTER, run.end * CLUSTER)).collect();
    all.insert(RegionExtent::between(sample::CLUSTERS * CLUSTER, sample::REGION));
    all
}

#[test]
fn used_bytes_of_a_volume_with_attribute_lists_inside_and_outside_of_records() {
    let survey = survey(&sample::volume());
    assert_eq!(survey.coverage, Coverage::Used(expected()));
    let file_system = survey.file_system.unwrap();
    assert_eq!(file_system.label.as_deref(), Some("Sample"));
    assert_eq!(file_system.uuid.as_deref(), Some("00000000000000EF"));
    assert_eq!((file_system.block_size, file_system.size), (512, 1 << 20));
    let notes: Vec<_> = survey.notes.iter().map(|note| (note.code, note.detail.as_str())).collect();
    assert_eq!(notes, [(NoteCode::BadBlocks, "$BadClus lists 512 bytes that can't be used")]);
}

fn reason(disk: &MemoryDisk) -> Reason {
    match survey(disk).coverage {
        Coverage::Whole(reason) => reason,
        Coverage::Used(_) => panic!("not whole"),
    }
}

/// Overwrites bytes from `position`, which hold `before`.
#[track_caller]
fn check_bent(position: u64, before: &[u8], after: &[u8], code: ReasonCode, detail: &str) {
    let disk = sample::volume();
    assert_eq!(read_vec(&disk, position, before.len()).unwrap(), before, "the sample has another byte there");
    disk.write_at(position, after).unwrap();
    assert_eq!(reason(&disk), Reason::new(code, detail));
}

#[track_caller]
fn check_damaged(position: u64, before: &[u8], after: &[u8], record: u64, detail: &str) {
    let detail = format!("at byte {} of the region: expected {detail}", record_at(record));
    check_bent(position, before, after, ReasonCode::Damaged, &detail);
}

#[test]
fn damaged_records_of_system_files_are_saved_whole() {
    let at = |number: u64, offset: u64| record_at(number) + offset;
    check_damaged(at(0, 0), b"FILE", b"BAAD", 0, "a record \"FILE\", found \"BAAD\"");
    check_damaged(at(6, 510), &[9, 0], &[8, 0], 6, "update sequence number 0x0009 in block 0, found 0x0008");
    check_damaged(at(6, 0x16), &[1], &[0], 6, "file record 6 in use, found flags 0x0000");
    check_damaged(
        at(6, 0x18),
        &[0xD0, 0],
        &[0x01, 4],
        6,
        "file record 6 of at most 1024 bytes, found 1025 bytes with attributes at 56",
    );
    // The kind of the data of $LogFile, of $MFTMirr and of the root of the directory.
    check_damaged(at(2, 0x38), &[0x80], &[0x81], 2, "file record 2 with attribute 0x80 \"\", found none");
    check_damaged(at(1, 0x38), &[0x80], &[0x81], 1, "file record 1 with attribute 0x80 \"\", found none");
    check_damaged(at(5, 0x38), &[0x90], &[0x91], 5, "file record 5 with attribute 0x90 \"$I30\", found none");
    check_damaged(
        at(2, 0x38 + 4),
        &[0x48],
        &[0x49],
        2,
        "an attribute inside its record, found attribute length 73 with 80 bytes left",
    );
    check_damaged(at(2, 0x38 + 0x18), &[0xC1], &[0xC2], 2, "runs up to cluster 451 of an attribute, found up to 450");
}

#[test]
fn damaged_attribute_lists_are_saved_whole() {
    let at = |number: u64, offset: u64| record_at(number) + offset;
    // In record 0: the second entry of the list names the record, the cluster and the instance.
    let entry = 0x38 + 24 + 32;
    check_damaged(at(0, entry + 24), &[4], &[5], 11, "file record 11 with attribute instance 5, found none");
    check_damaged(at(0, entry + 22), &[1], &[2], 11, "use 2 of file record 11, found use 1");
    check_damaged(at(0, entry + 4), &[32], &[12], 0, "an entry of an attribute list, found damage at byte 32 of it");
    check_damaged(at(11, 0x20), &[0], &[3], 11, "file record 11 as an extension of 0, found of 3");
    check_damaged(at(11, 0x38 + 0x10), &[24], &[23], 11, "the part of an attribute from cluster 24, found from 23");
    // A record of the table can't be found with a part of the table that comes later.
    let detail = "a run with cluster 26 of an attribute, found runs up to 24";
    check_damaged(at(0, entry + 16), &[11], &[13], 0, detail);
    // The list of $Bitmap, outside its record: without its second entry the bitmap is too short for its size only.
    let detail = format!(
        "at byte {} of the region: expected file record 10 with attribute instance 8, found none",
        record_at(10)
    );
    check_bent(LIST * CLUSTER + 32 + 24, &[7], &[8], ReasonCode::Damaged, &detail);
}

#[test]
fn a_bitmap_that_does_not_cover_the_volume_is_saved_whole() {
    // In record 6: the attribute list has 72 bytes, the data follows.
    let data = record_at(6) + 0x38 + 72;
    check_damaged(data + 0x30, &[0, 4], &[255, 0], 6, "$Bitmap with at least 256 bytes, found 255 written bytes");
    check_damaged(data + 0x38, &[0, 4], &[255, 0], 6, "$Bitmap with at least 256 bytes, found 255 written bytes");
    check_damaged(
        data + 0x40,
        &[0x22, 1, 0, 70, 0, 0],
        &[0x01, 1, 0, 0, 0, 0],
        6,
        "$Bitmap without holes, found a hole of 1 clusters at 0",
    );
    let detail = "mapping pairs, found 1 clusters at 2048 of a volume of 2048";
    check_damaged(data + 0x40, &[0x22, 1, 0, 70, 0], &[0x22, 1, 0, 0, 8], 6, detail);
    let compressed = "system file compressed or encrypted";
    check_bent(data + 0x0C, &[0, 0], &[1, 0], ReasonCode::Unsupported, compressed);
}

#[test]
fn damaged_directories_are_saved_whole() {
    let block = 80 * CLUSTER;
    let damaged = |detail: &str| format!("at byte {block} of the region: expected {detail}");
    let code = ReasonCode::Damaged;
    check_bent(block, b"INDX", b"BAAD", code, &damaged("a record \"INDX\", found \"BAAD\""));
    check_bent(block + 16, &[0], &[8], code, &damaged("index block 0, found block 8"));
    let torn = damaged("update sequence number 0x0009 in block 7, found 0x0109");
    check_bent(block + 4095, &[0], &[1], code, &torn);
    // The node names itself as the one below it.
    let last = block + 24 + 0x28 + 112;
    assert_eq!(read_vec(&sample::volume(), last + 8, 6).unwrap(), [16, 0, 0, 0, 2, 0]);
    let disk = sample::volume();
    disk.write_at(last - 112 + 12, &[1]).unwrap();
    disk.write_at(last - 8, &[0; 8]).unwrap();
    disk.write_at(block + 24 + 0x28 + 16 + 0x42, b"X").unwrap();
    let detail = format!(
        "at byte {} of the region: expected a directory whose nodes form a tree, found block 0 twice",
        record_at(5)
    );
    assert_eq!(reason(&disk), Reason::new(ReasonCode::Damaged, &detail));
    // The file of that name was deleted and its record used again.
    let reference = block + 24 + 0x28 + 6;
    check_damaged(reference, &[1], &[2], 13, "use 2 of file record 13, found use 1");
}

#[test]
fn volumes_that_somebody_has_open_are_saved_whole() {
    let flags = record_at(3) + 0x38 + 40 + 24 + 10;
    let dirty = "$Volume is marked dirty (flags 0x0001)";
    check_bent(flags, &[0, 0], &[1, 0], ReasonCode::NotClean, dirty);
    let hibernated = "hiberfil.sys starts with \"hibr\"";
    check_bent(HIBERFIL * CLUSTER, &[0; 4], b"hibr", ReasonCode::Hibernated, hibernated);
    let log = LOG * CLUSTER;
    let detail = "$LogFile has no restart page and is not empty";
    check_bent(log + 100, &[0xFF], &[0], ReasonCode::NotClean, detail);
    let detail = "restart page at byte 0 of $LogFile: page size 4294967295";
    check_bent(log, &[0xFF; 4], b"RSTR", ReasonCode::NotClean, detail);
}

#[test]
fn system_files_are_used_whatever_the_bitmap_says() {
    let disk = sample::volume();
    disk.write_at(70 * CLUSTER, &[0; 256]).unwrap();
    let survey = survey(&disk);
    // $Boot, $MFT in two pieces, $MFTMirr, $Bitmap in two pieces, $LogFile, the backup boot sector.
    let clusters = [0..16, 20..44, 60..68, 70..71, 75..76, 100..108, 1000..1450, 2048..2049];
    let system = clusters.map(|run| RegionExtent::between(run.start * CLUSTER, run.end * CLUSTER));
    assert_eq!(survey.coverage, Coverage::Used(system.into_iter().collect()));
    let detail = "$Bitmap counts 260096 bytes of system files as free";
    assert_eq!(survey.notes[1].code, NoteCode::Errors);
    assert_eq!(survey.notes[1].detail, detail);
}

#[test]
fn a_damaged_list_of_bad_clusters_is_only_noted() {
    let disk = sample::volume();
    disk.write_at(record_at(8), b"BAAD").unwrap();
    let survey = survey(&disk);
    assert_eq!(survey.coverage, Coverage::Used(expected()));
    assert_eq!(survey.notes[0].code, NoteCode::Errors);
}

#[test]
fn a_region_smaller_than_its_volume_is_saved_whole() {
    let bytes = read_vec(&sample::volume(), 0, 1 << 19).unwrap();
    let detail = "the file system has 1048576 bytes, the region 524288";
    assert_eq!(reason(&MemoryDisk::from_bytes(&bytes)), Reason::new(ReasonCode::Damaged, detail));
}

#[test]
fn whatever_read_fails_nothing_is_taken_for_free() {
    for number in 1.. {
        let fault = Fault { operation: Operation::Read, number };
        let disk = FaultyDisk::new(sample::volume(), Some(fault));
        let survey = survey(&disk);
        if disk.count(Operation::Read) < number {
            assert_eq!(survey.coverage, Coverage::Used(expected()));
            assert!(number > 20, "{number}");
            return;
        }
        match survey.coverage {
            Coverage::Whole(reason) => assert_eq!(reason.code, ReasonCode::Unreadable),
            Coverage::Used(used) => assert_eq!(used, expected()),
        }
    }
}

/// Bytes of the sample that are not zero or filling.
fn interesting_bytes() -> Vec<u64> {
    let disk = sample::volume();
    let bytes = read_vec(&disk, 0, usize::try_from(disk.size()).unwrap()).unwrap();
    let records = (0..16).map(record_at).flat_map(|start| start..start + 0x140);
    let other = (0..512).chain(70 * CLUSTER..71 * CLUSTER).chain(80 * CLUSTER..81 * CLUSTER);
    let other = other.chain(LIST * CLUSTER..LIST * CLUSTER + 64).chain(LOG * CLUSTER..LOG * CLUSTER + 64);
    records.chain(other).filter(|at| bytes[usize::try_from(*at).unwrap()] != 0xAA).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_change_of_bytes_makes_the_survey_panic_or_hang(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let disk = sample::volume();
        let places = interesting_bytes();
        for (place, value) in changes {
            disk.write_at(*place.get(&places), &[value]).unwrap();
        }
        let size = disk.size();
        let survey = survey(&disk);
        prop_assert!(survey.coverage.extents(size).end() <= size);
    }
}
