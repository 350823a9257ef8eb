//! The used bytes of NTFS volumes made with mkntfs and filled through ntfs-3g, compared with
//! partclone's and ntfsclone's own maps, and with what a restore of only these bytes holds.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use block::{Extents, InRegion, RegionExtent};
use filesystem::{Coverage, NoteCode, ReasonCode, Survey, survey};
use tests::ntfs::{NtfsMounted, first_byte_of_data, make_ntfs, overwrite, resident_value};
use tests::partclone::used_blocks;
use tests::restored::{restore_covered, tree};
use tests::{FileDisk, run, run_status};

const MIB: u64 = 1 << 20;

/// Files of many sizes, in pieces between each other, every third one deleted again.
fn fill(mounted: &Path) {
    fs::create_dir(mounted.join("directory")).unwrap();
    let path = |name: &str, index: u64| mounted.join(format!("directory/{name} {index:04}"));
    for round in 0..3 {
        for index in 0..60_u64 {
            let piece = vec![(index + round) as u8; 700 * (index as usize + 1)];
            let mut file = fs::OpenOptions::new().create(true).append(true).open(path("grown", index)).unwrap();
            std::io::Write::write_all(&mut file, &piece).unwrap();
        }
    }
    for index in 0..300 {
        fs::write(path("small", index), vec![index as u8; 10 * index as usize]).unwrap();
    }
    (0..60).step_by(3).for_each(|index| fs::remove_file(path("grown", index)).unwrap());
    (0..300).step_by(3).for_each(|index| fs::remove_file(path("small", index)).unwrap());
    fs::write(mounted.join("large"), vec![0x4C; 3_000_000]).unwrap();
    fs::write(mounted.join("名前.txt"), "日本語").unwrap();
}

fn used(survey: &Survey) -> &Extents<InRegion> {
    match &survey.coverage {
        Coverage::Used(used) => used,
        Coverage::Whole(reason) => panic!("whole: {reason:?}"),
    }
}

#[track_caller]
fn check_whole(image: &Path, code: ReasonCode, detail: &str) {
    let survey = survey(&FileDisk::open(image));
    assert_eq!(survey.file_system.map(|found| found.kind).as_deref(), Some("ntfs"));
    let Coverage::Whole(reason) = survey.coverage else { panic!("not whole") };
    assert_eq!((reason.code, reason.detail.as_str()), (code, detail));
}

/// Exactly the clusters that partclone saves, and all bytes from the last whole cluster on.
#[track_caller]
fn check_same_as_partclone(image: &Path, survey: &Survey) {
    let size = fs::metadata(image).unwrap().len();
    let file_system = survey.file_system.as_ref().unwrap();
    let (block_size, theirs) = used_blocks("partclone.ntfs", image);
    assert_eq!(file_system.block_size, block_size);
    let block_size = u64::from(block_size);
    assert!(file_system.size < size, "the backup boot sector lies behind the volume");
    let tail = RegionExtent::between(file_system.size / block_size * block_size, size);
    assert_eq!(used(survey), &theirs.union(&tail.into()));
}

/// ntfsclone walks all files to build its map, and refuses where it differs from `$Bitmap`.
#[track_caller]
fn check_same_count_as_ntfsclone(image: &Path, survey: &Survey) {
    let directory = tempfile::tempdir().unwrap();
    let clone = directory.path().join("clone");
    run("ntfsclone", ["-s", "-q", "-O", clone.to_str().unwrap(), image.to_str().unwrap()]);
    let header = fs::read(clone).unwrap();
    let clusters = u64::from_le_bytes(header[38..46].try_into().unwrap());
    let file_system = survey.file_system.as_ref().unwrap();
    let block_size = u64::from(file_system.block_size);
    let whole_clusters = RegionExtent::between(0, file_system.size / block_size * block_size);
    let ours = used(survey).intersection(&whole_clusters.into()).total_bytes();
    assert_eq!(ours, clusters * block_size);
}

/// Blkid's words, from the outside.
#[track_caller]
fn check_same_identity_as_blkid(image: &Path, survey: &Survey) {
    let file_system = survey.file_system.clone().unwrap();
    let value = |tag| {
        let printed = run_status("blkid", ["-p", "-o", "value", "-s", tag, image.to_str().unwrap()]);
        Some(String::from_utf8(printed.stdout).unwrap().trim_end().to_owned()).filter(|value| !value.is_empty())
    };
    assert_eq!(Some(file_system.kind), value("TYPE"));
    assert_eq!(file_system.uuid, value("UUID"));
    assert_eq!(file_system.label, value("LABEL"));
}

/// A restore of only the covered bytes is a clean volume with the same files.
#[track_caller]
fn check_restores(image: &Path, survey: &Survey) {
    let directory = tempfile::tempdir().unwrap();
    let restored = directory.path().join("restored");
    restore_covered(&FileDisk::open(image), used(survey), &restored);
    run("ntfsfix", ["-n", restored.to_str().unwrap()]);
    let expected = tree(NtfsMounted::new(image, "ro").path());
    assert!(expected.len() > 200);
    assert_eq!(tree(NtfsMounted::new(&restored, "ro").path()), expected);
    // ntfsclone reads every file record and every directory.
    let copy = directory.path().join("copy");
    run("ntfsclone", ["-s", "-q", "-O", copy.to_str().unwrap(), restored.to_str().unwrap()]);
}

#[track_caller]
fn check_volume(size: u64, arguments: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, size, arguments);
    fill(NtfsMounted::new(&image, "rw").path());
    let survey = survey(&FileDisk::open(&image));
    assert_eq!(survey.notes, []);
    check_same_identity_as_blkid(&image, &survey);
    check_same_as_partclone(&image, &survey);
    check_same_count_as_ntfsclone(&image, &survey);
    check_restores(&image, &survey);
}

#[test]
fn used_bytes_with_clusters_of_512_bytes() {
    check_volume(48 * MIB + 512, &["-c", "512", "-L", "半角 label"]);
}

#[test]
fn used_bytes_with_clusters_of_1024_bytes() {
    check_volume(48 * MIB, &["-c", "1024"]);
}

#[test]
fn used_bytes_with_clusters_of_4096_bytes_and_an_odd_size() {
    check_volume(64 * MIB + 3 * 512, &["-c", "4096", "-L", "Windows"]);
}

#[test]
fn used_bytes_with_clusters_of_64_kib() {
    check_volume(200 * MIB + 7 * 512, &["-c", "65536"]);
}

#[test]
fn used_bytes_with_clusters_of_256_kib_and_a_logarithm_in_the_boot_sector() {
    check_volume(300 * MIB, &["-c", "262144"]);
}

#[test]
fn used_bytes_with_sectors_of_4096_bytes() {
    check_volume(64 * MIB, &["-s", "4096"]);
}

#[test]
fn clusters_of_2_mib_are_counted_as_partclone_counts_them() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, 2048 * MIB + 5 * 512, &["-c", "2097152"]);
    fs::write(NtfsMounted::new(&image, "rw").path().join("file"), vec![1; 5_000_000]).unwrap();
    let survey = survey(&FileDisk::open(&image));
    assert_eq!(survey.file_system.as_ref().unwrap().block_size, 2 << 20);
    check_same_as_partclone(&image, &survey);
}

#[test]
fn a_fragmented_master_file_table_with_an_attribute_list_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, 16 * MIB, &["-c", "512", "-z", "1"]);
    {
        let mounted = NtfsMounted::new(&image, "rw");
        let path = |index: u32| mounted.path().join(format!("f{index}"));
        let files = (0..).find(|index| fs::write(path(*index), vec![*index as u8; 1500]).is_err()).unwrap();
        // Free space in holes of 3 clusters, into which the table has to grow.
        (0..files).step_by(2).for_each(|index| fs::remove_file(path(index)).unwrap());
        let empty = |index: u32| mounted.path().join(format!("a name of an empty file {index}"));
        let _ = (0..files).find(|index| fs::write(empty(*index), "").is_err());
    }
    let printed = run("ntfsinfo", ["-v", "-f", "-i", "0", image.to_str().unwrap()]);
    assert!(printed.contains("Dumping attribute $ATTRIBUTE_LIST"), "{printed}");
    let survey = survey(&FileDisk::open(&image));
    check_same_as_partclone(&image, &survey);
    check_restores(&image, &survey);
}

#[test]
fn a_crash_of_ntfs_3g_leaves_nothing_uncovered() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, 64 * MIB, &[]);
    let mounted = NtfsMounted::new(&image, "rw");
    fill(mounted.path());
    mounted.crash();
    let survey = survey(&FileDisk::open(&image));
    check_same_as_partclone(&image, &survey);
    check_restores(&image, &survey);
}

#[test]
fn a_dirty_volume_is_saved_whole() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, 32 * MIB, &[]);
    let flags = resident_value(&image, 3, 0x70) + 10;
    overwrite(&image, flags, &[0x80, 0]);
    assert!(matches!(survey(&FileDisk::open(&image)).coverage, Coverage::Used(_)));
    overwrite(&image, flags, &[0x01, 0]);
    check_whole(&image, ReasonCode::NotClean, "$Volume is marked dirty (flags 0x0001)");
    overwrite(&image, flags, &[0x00, 0x40]);
    check_whole(&image, ReasonCode::NotClean, "chkdsk was at work on the volume (flags 0x4000)");
}

/// Both restart pages of a journal: Windows XP and later keep it open and set flag 2 when they unmount.
fn write_restart_pages(image: &Path, log: u64, version: u8, flags: u8) {
    let mut page = vec![0; 4096];
    page[..8].copy_from_slice(b"RSTR\x1E\0\x09\0");
    page[16..24].copy_from_slice(&[0, 16, 0, 0, 0, 16, 0, 0]);
    page[24..30].copy_from_slice(&[0x30, 0, 2 - version, 0, version, 0]);
    page[30..32].copy_from_slice(&[5, 0]);
    let area = &mut page[0x30..];
    area[8..16].copy_from_slice(&[1, 0, 0xFF, 0xFF, 0, 0, flags, 0]);
    // 67 minus the bits of the file size, length of the area, offset of its clients.
    area[16..24].copy_from_slice(&[67 - 22, 0, 0, 0, 0xE0, 0, 0x40, 0]);
    area[24..32].copy_from_slice(&(2 * MIB).to_le_bytes());
    area[36..40].copy_from_slice(&[0x30, 0, 0x40, 0]);
    area[0x40 + 16..0x40 + 20].fill(0xFF);
    page.chunks_exact_mut(512).for_each(|block| block[510..].copy_from_slice(&[5, 0]));
    for (start, lsn) in [(0, 7_u8), (4096, 9)] {
        page[0x30] = lsn;
        overwrite(image, log + start, &page);
    }
    overwrite(image, log + 8192, b"RCRD");
}

/// What ntfs-3g itself thinks of mounting the volume for writing.
fn probe(image: &Path) -> Option<i32> {
    run_status("ntfs-3g.probe", ["--readwrite", image.to_str().unwrap()]).status.code()
}

#[test]
fn an_open_journal_is_saved_whole() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, 32 * MIB, &[]);
    let log = first_byte_of_data(&image, ["-i", "2"], 4096);
    write_restart_pages(&image, log, 1, 2);
    assert_eq!(probe(&image), Some(0));
    assert!(matches!(survey(&FileDisk::open(&image)).coverage, Coverage::Used(_)));

    write_restart_pages(&image, log, 1, 0);
    assert_eq!(probe(&image), Some(15), "unclean journal");
    check_whole(&image, ReasonCode::NotClean, "$LogFile is open: the volume was not unmounted");

    write_restart_pages(&image, log, 2, 2);
    assert_eq!(probe(&image), Some(14), "metadata kept in the cache of Windows");
    let detail = "$LogFile of version 2.0: Windows keeps metadata in its cache (fast startup) or was switched off";
    check_whole(&image, ReasonCode::NotClean, detail);
}

#[test]
fn a_suspended_windows_is_saved_whole() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, 32 * MIB, &[]);
    // Enough names before it that the root directory has index blocks.
    {
        let mounted = NtfsMounted::new(&image, "rw");
        (0..200).for_each(|index| fs::write(mounted.path().join(format!("a file {index}")), "").unwrap());
        fs::create_dir(mounted.path().join("sub")).unwrap();
        fs::write(mounted.path().join("sub/hiberfil.sys"), "hibr").unwrap();
    }
    assert!(matches!(survey(&FileDisk::open(&image)).coverage, Coverage::Used(_)), "not in the root directory");
    let head = directory.path().join("head");
    fs::write(&head, [0; 8192]).unwrap();
    run("ntfscp", ["-q", image.to_str().unwrap(), head.to_str().unwrap(), "/hiberfil.sys"]);
    assert!(matches!(survey(&FileDisk::open(&image)).coverage, Coverage::Used(_)), "a head of zeros");
    let start = first_byte_of_data(&image, ["-F", "/hiberfil.sys"], 4096);
    for signature in ["hibr", "HIBR", "wake", "WAKE", "RSTR"] {
        overwrite(&image, start, signature.as_bytes());
        if signature.eq_ignore_ascii_case("hibr") {
            assert_eq!(probe(&image), Some(14), "{signature}");
        }
        check_whole(&image, ReasonCode::Hibernated, &format!("hiberfil.sys starts with \"{signature}\""));
    }
    overwrite(&image, start, &[0; 4]);
    overwrite(&image, start + 4095, &[1]);
    check_whole(&image, ReasonCode::Hibernated, "hiberfil.sys starts with \"\\x00\\x00\\x00\\x00\"");
}

#[test]
fn a_short_file_as_suspended_systems_leave_it_on_other_volumes_is_saved_whole() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, 32 * MIB, &[]);
    fs::write(NtfsMounted::new(&image, "rw").path().join("hiberfil.sys"), [0; 100]).unwrap();
    assert_eq!(probe(&image), Some(14));
    check_whole(&image, ReasonCode::Hibernated, "hiberfil.sys has only 100 bytes");
}

#[test]
fn system_files_that_the_bitmap_counts_as_free_are_saved_and_noted() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, 32 * MIB, &[]);
    let before = survey(&FileDisk::open(&image));
    let bitmap = first_byte_of_data(&image, ["-i", "6"], 4096);
    overwrite(&image, bitmap, &[0; 1024]);
    let after = survey(&FileDisk::open(&image));
    let note = after.notes.first().unwrap();
    assert_eq!(note.code, NoteCode::Errors);
    let missing = used(&before).difference(used(&after));
    // Left out are $AttrDef, $UpCase, $Secure and the root directory: reached by the bitmap only.
    assert!(missing.total_bytes() < 500 * 1024, "{missing:?}");
    for number in ["0", "1", "2", "6"] {
        let start = first_byte_of_data(&image, ["-i", number], 4096);
        assert!(used(&after).contains(RegionExtent::between(start, start + 4096)), "file record {number}");
    }
    assert!(used(&after).contains(RegionExtent::between(0, 8192)));
}
