//! Used blocks of real ext2, ext3 and ext4 file systems, compared with partclone and dumpe2fs, and restored onto
//! a destination full of garbage.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

#[path = "ext_journal.rs"]
mod journal;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use block::{Extents, FaultyDisk, InRegion, MemoryDisk, Operation, ReadAt, RegionExtent, WriteAt};
use filesystem::{Coverage, FileSystem, NoteCode, Reason, ReasonCode, Survey, survey};
use tempfile::TempDir;
use tests::dumpe2fs::free_by_dumpe2fs;
use tests::fill::fill;
use tests::partclone::used_blocks;
use tests::restored::{restore_covered, tree};
use tests::{FileDisk, LoopDevice, Mounted, run, run_status};

const MIB: u64 = 1 << 20;

/// A file system in a file.
struct Sample {
    directory: TempDir,
    image: PathBuf,
}

impl Sample {
    /// Makes a file system of `mebibytes` with `arguments` to mke2fs.
    fn make(mebibytes: u64, arguments: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        FileDisk::create(&image, mebibytes * MIB);
        let image_argument = image.display().to_string();
        run("mke2fs", ["-q", "-F"].into_iter().chain(arguments.split_whitespace()).chain([image_argument.as_str()]));
        Self { directory, image }
    }

    fn disk(&self) -> FileDisk {
        FileDisk::open(&self.image)
    }

    fn survey(&self) -> Survey {
        survey(&self.disk())
    }

    /// Mounts it, changes it, unmounts it.
    fn change(&self, change: impl FnOnce(&Path)) {
        let mounted = Mounted::new(&self.image, "loop");
        change(mounted.path());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Everything in it, read through the kernel without writing.
    fn tree(image: &Path, options: &str) -> BTreeMap<PathBuf, String> {
        let mounted = Mounted::new(image, options);
        tree(mounted.path())
    }
}

fn used(survey: &Survey) -> &Extents<InRegion> {
    match &survey.coverage {
        Coverage::Used(extents) => extents,
        Coverage::Whole(reason) => panic!("saved whole: {reason:?}"),
    }
}

fn whole(survey: &Survey) -> (ReasonCode, &str) {
    match &survey.coverage {
        Coverage::Whole(Reason { code, detail }) => (*code, detail),
        Coverage::Used(extents) => panic!("not saved whole: {extents:?}"),
    }
}

/// Compares the coverage with what two other readers say: it must hold all that they hold, and nothing more.
fn check_against_other_readers(sample: &Sample, name: &str) {
    let survey = sample.survey();
    let ours = used(&survey);
    let file_system = survey.file_system.as_ref().unwrap();
    let everything = RegionExtent::between(0, sample.disk().size());
    let free = free_by_dumpe2fs(&sample.image, file_system);
    let by_dumpe2fs = free.complement(everything);
    assert_eq!(by_dumpe2fs.difference(ours), Extents::new(), "{name}: used by dumpe2fs, not covered");
    assert_eq!(ours.difference(&by_dumpe2fs), Extents::new(), "{name}: covered, free by dumpe2fs");

    if name.contains("bigalloc") {
        // partclone counts blocks where libext2fs wants clusters, and gets a map of something else.
        return;
    }
    let (block_size, by_partclone) = used_blocks("partclone.extfs", &sample.image);
    assert_eq!(block_size, file_system.block_size, "{name}");
    assert_eq!(by_partclone.difference(ours), Extents::new(), "{name}: used by partclone, not covered");
    assert_eq!(ours.difference(&by_partclone), Extents::new(), "{name}: covered, free by partclone");
}

/// Restores the covered bytes over garbage and expects the same files in a clean file system.
fn check_restored(sample: &Sample, name: &str, options: &str) {
    let survey = sample.survey();
    let destination = sample.path("destination");
    restore_covered(&sample.disk(), used(&survey), &destination);
    let checked = run_status("e2fsck", ["-f".as_ref(), "-n".as_ref(), destination.as_os_str()]);
    assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stdout));
    assert_eq!(Sample::tree(&destination, options), Sample::tree(&sample.image, options), "{name}");
}

/// Makes a file system, fills it, and holds its coverage against everything that knows better.
fn check(kind: &str, mebibytes: u64, arguments: &str) {
    let name = format!("mke2fs {arguments}");
    let sample = Sample::make(mebibytes, arguments);
    check_against_other_readers(&sample, &name);
    sample.change(fill);
    check_against_other_readers(&sample, &name);
    check_restored(&sample, &name, "ro,loop");
    let survey = sample.survey();
    assert!(survey.notes.is_empty(), "{name}: {:?}", survey.notes);
    let file_system = survey.file_system.unwrap();
    assert_eq!(file_system.kind, kind, "{name}");
    assert_eq!(file_system.size, mebibytes * MIB, "{name}");
    check_identity(&sample, &file_system);
}

fn check_identity(sample: &Sample, file_system: &FileSystem) {
    let printed = run("blkid", ["-p", "-o", "export", &sample.image.display().to_string()]);
    let value = |key: &str| printed.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
    assert_eq!(Some(file_system.kind.clone()), value("TYPE="));
    assert_eq!(file_system.uuid, value("UUID="));
    assert_eq!(file_system.label, value("LABEL="));
}

/// As [`check`], for what the kernel of the test machine does not mount: filled by mke2fs, read by debugfs.
fn check_unmounted(mebibytes: u64, arguments: &str) {
    let name = format!("mke2fs {arguments}");
    let files = tempfile::tempdir().unwrap();
    fill(files.path());
    let sample = Sample::make(mebibytes, &format!("{arguments} -d {}", files.path().display()));
    // mke2fs leaves the accounting of quotas to e2fsck.
    run_status("e2fsck", ["-f".as_ref(), "-y".as_ref(), sample.image.as_os_str()]);
    check_against_other_readers(&sample, &name);
    let survey = sample.survey();
    let destination = sample.path("destination");
    restore_covered(&sample.disk(), used(&survey), &destination);
    let checked = run_status("e2fsck", ["-f".as_ref(), "-n".as_ref(), destination.as_os_str()]);
    assert!(checked.status.success(), "{name}: {}", String::from_utf8_lossy(&checked.stdout));
    assert_eq!(dumped_tree(&destination), dumped_tree(&sample.image), "{name}");
    check_identity(&sample, &survey.file_system.unwrap());
}

fn dumped_tree(image: &Path) -> BTreeMap<PathBuf, String> {
    let directory = tempfile::tempdir().unwrap();
    let request = format!("rdump / {}", directory.path().display());
    run("debugfs", ["-R", &request, &image.display().to_string()]);
    tree(directory.path())
}

#[test]
fn ext2_and_ext3() {
    check("ext2", 48, "-t ext2 -r 0 -b 1024");
    check("ext2", 48, "-t ext2 -b 1024 -L first");
    check("ext2", 48, "-t ext2 -b 4096");
    check("ext2", 48, "-t ext2 -b 1024 -O ^sparse_super,^resize_inode");
    check("ext3", 48, "-t ext3 -b 1024 -L sixteen-letters-");
    check("ext3", 48, "-t ext3 -b 2048");
    check("ext3", 48, "-t ext3 -b 4096");
}

#[test]
fn ext4_with_blocks_of_each_size() {
    check("ext4", 48, "-t ext4 -b 1024");
    check("ext4", 48, "-t ext4 -b 2048");
    check("ext4", 160, "-t ext4 -b 4096");
}

#[test]
fn ext4_with_metadata_in_other_places() {
    check("ext4", 48, "-t ext4 -b 1024 -O ^flex_bg");
    check("ext4", 48, "-t ext4 -b 1024 -O meta_bg,^resize_inode");
    check("ext4", 48, "-t ext4 -b 1024 -O meta_bg,^resize_inode,^flex_bg -g 512");
    check("ext4", 48, "-t ext4 -b 1024 -O sparse_super2,^resize_inode");
    check("ext4", 48, "-t ext4 -b 1024 -O sparse_super2 -E num_backup_sb=1");
    check("ext4", 48, "-t ext4 -b 1024 -O ^resize_inode");
    check("ext4", 48, "-t ext4 -b 1024 -O ^sparse_super,^resize_inode");
    check("ext4", 48, "-t ext4 -b 1024 -g 256 -G 64");
    // A journal in so many pieces that its extents don't fit into its inode.
    check("ext4", 48, "-t ext4 -b 1024 -g 256 -J size=4 -O ^flex_bg");
    check("ext4", 48, "-t ext4 -b 1024 -G 4 -E packed_meta_blocks=1");
    check("ext4", 160, "-t ext4 -b 4096 -g 1024 -N 20000 -I 1024");
}

#[test]
fn ext4_with_checksums_of_each_kind() {
    check("ext4", 48, "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg");
    check("ext4", 48, "-t ext4 -b 1024 -O ^metadata_csum,^uninit_bg");
    check("ext4", 48, "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg,^64bit");
    check("ext4", 48, "-t ext4 -b 1024 -O metadata_csum,^64bit");
    check("ext4", 48, "-t ext4 -b 1024 -O metadata_csum_seed");
}

#[test]
fn ext4_with_other_features() {
    check("ext4", 160, "-t ext4 -b 4096 -O bigalloc -C 16384");
    check("ext4", 160, "-t ext4 -b 4096 -O bigalloc -C 65536 -E lazy_itable_init=0");
    check("ext4", 48, "-t ext4 -b 1024 -O bigalloc -C 8192");
    check("ext4", 48, "-t ext4 -b 1024 -O inline_data -I 256");
    check("ext4", 48, "-t ext4 -b 1024 -O orphan_file");
    check("ext4", 48, "-t ext4 -b 4096 -O fast_commit -J size=16");
    check("ext4", 48, "-t ext4 -b 1024 -O mmp");
    check("ext4", 48, "-t ext4 -b 1024 -O large_dir,ea_inode,stable_inodes");
    check("ext4", 48, "-t ext4 -b 1024 -O ^has_journal");
    check("ext4", 48, "-t ext4 -b 1024 -O ^extent,^64bit -J size=12");
}

#[test]
fn ext4_that_this_kernel_does_not_mount() {
    check_unmounted(160, "-t ext4 -b 65536");
    check_unmounted(160, "-t ext4 -b 65536 -O bigalloc -C 262144");
    check_unmounted(48, "-t ext4 -b 1024 -O quota,project,verity,encrypt,casefold");
}

#[test]
fn a_file_system_is_covered_up_to_its_end_and_what_follows_is_saved() {
    let sample = Sample::make(40, "-t ext4 -b 4096");
    let end = 40 * MIB;
    fs::OpenOptions::new().write(true).open(&sample.image).unwrap().set_len(end + 70_000).unwrap();
    let survey = sample.survey();
    assert_eq!(survey.file_system.as_ref().unwrap().size, end);
    assert!(used(&survey).contains(RegionExtent::between(end, end + 70_000)));
    fs::OpenOptions::new().write(true).open(&sample.image).unwrap().set_len(end - 1).unwrap();
    let (code, detail) = whole_owned(&sample);
    assert_eq!(code, ReasonCode::Damaged);
    assert_eq!(detail, "the file system has 41943040 bytes, the region 41943039");
}

#[test]
fn an_external_journal_is_saved_whole_and_named_by_its_file_system() {
    let journal = Sample::make(8, "-O journal_dev -b 4096 -L outside");
    let survey = journal.survey();
    assert_eq!(whole(&survey), (ReasonCode::Opaque, "the journal of a file system on another device"));
    let file_system = survey.file_system.unwrap();
    assert_eq!(file_system.kind, "jbd");
    check_identity(&journal, &file_system);

    let device = LoopDevice::attach(&journal.image, 512);
    let sample = Sample::make(64, &format!("-t ext4 -b 4096 -J device={}", device.path().display()));
    sample.change(fill);
    check_against_other_readers(&sample, "external journal");
    let survey = sample.survey();
    let [note] = survey.notes.as_slice() else { panic!("{:?}", survey.notes) };
    assert_eq!(note.code, NoteCode::OtherDevice);
    assert_eq!(note.detail, format!("the journal is on another device, with UUID {}", file_system.uuid.unwrap()));
    debugfs(&sample.image, "feature needs_recovery");
    assert_eq!(
        whole_owned(&sample),
        (ReasonCode::NotClean, "it needs the journal replayed that is on another device".to_owned())
    );
}

#[test]
fn what_is_not_clean_or_not_understood_is_saved_whole() {
    let check = |arguments: &str, request: &str, expected: (ReasonCode, &str)| {
        let sample = Sample::make(16, arguments);
        debugfs(&sample.image, request);
        assert_eq!(whole(&sample.survey()), expected, "{arguments}, {request}");
    };
    let (ext2, ext4) = ("-t ext2", "-t ext4 -O fast_commit");
    check(ext2, "ssv state 0", (ReasonCode::NotClean, "it was not unmounted cleanly: state 0x0"));
    check(
        ext4,
        "ssv state 3",
        (ReasonCode::NotClean, "it is marked as having errors (0 recorded) and was not checked"),
    );
    check(ext4, "ssv state 5", (ReasonCode::NotClean, "it was not unmounted cleanly: state 0x5"));
    check(ext2, "feature needs_recovery", (ReasonCode::NotClean, "it needs its journal replayed and has none"));
    check(ext4, "feature needs_recovery", (ReasonCode::NotClean, "its journal with fast commits was not replayed"));
    check(ext2, "feature FEATURE_I31", (ReasonCode::Unsupported, "unknown incompat feature bits 0x80000000"));
    check(ext2, "feature compression", (ReasonCode::Unsupported, "unknown incompat feature bits 0x1"));
    check(ext2, "feature FEATURE_R30", (ReasonCode::Unsupported, "unknown ro_compat feature bits 0x40000000"));
    check(ext2, "feature FEATURE_C29", (ReasonCode::Unsupported, "unknown compat feature bits 0x20000000"));
    check(ext2, "ssv rev_level 2", (ReasonCode::Unsupported, "revision 2 of the format"));
}

#[test]
fn recorded_errors_are_noted() {
    let sample = Sample::make(16, "-t ext4");
    debugfs(&sample.image, "ssv error_count 4");
    let survey = sample.survey();
    let [note] = survey.notes.as_slice() else { panic!("{:?}", survey.notes) };
    assert_eq!((note.code, note.detail.as_str()), (NoteCode::Errors, "the kernel has recorded 4 errors"));
    used(&survey);
}

#[test]
fn a_large_and_nearly_empty_file_system_needs_few_reads() {
    let sample = Sample::make(1 << 20, "-t ext4 -b 4096 -J size=4 -E lazy_itable_init=1,nodiscard");
    let disk = FaultyDisk::new(sample.disk(), None);
    let survey = survey(&disk);
    // 8,192 groups in 512 flexible groups: one read each for their bitmaps, and one for each MiB of descriptors; besides
    // them some dozens to see that nothing else has left its signature.
    let reads = disk.count(Operation::Read);
    assert!(reads < 512 + 80, "{reads} reads");
    assert!(used(&survey).count() < 512 + 40, "{} extents", used(&survey).count());
    assert_eq!(
        used(&survey).difference(&free_by_dumpe2fs(&sample.image, &survey.file_system.clone().unwrap())),
        *used(&survey)
    );
}

#[test]
fn no_bent_byte_of_real_maps_frees_a_block() {
    let sample = Sample::make(24, "-t ext4 -b 1024 -G 2");
    let bytes = fs::read(&sample.image).unwrap();
    let disk = MemoryDisk::from_bytes(&bytes);
    let before = survey(&disk);
    let covered = used(&before);
    // Superblock, descriptors of three groups, and the bitmaps of the first two, which follow each other.
    let printed = run("dumpe2fs", [&sample.image]);
    let bitmap = printed.split_once("Block bitmap at ").unwrap().1.split_whitespace().next().unwrap();
    let bitmap: u64 = bitmap.parse::<u64>().unwrap() * 1024;
    let places = (1024..2048).chain(2048..2048 + 3 * 64).chain(bitmap..bitmap + 2048);
    for position in places {
        let byte = bytes[usize::try_from(position).unwrap()];
        disk.write_at(position, &[byte ^ 1 << (position % 8)]).unwrap();
        if let Coverage::Used(extents) = survey(&disk).coverage {
            assert_eq!(covered.difference(&extents), Extents::new(), "byte {position}");
        }
        disk.write_at(position, &[byte]).unwrap();
    }
    assert_eq!(survey(&disk), before);
}

fn debugfs(image: &Path, request: &str) {
    run("debugfs", ["-w", "-R", request, &image.display().to_string()]);
}

fn whole_owned(sample: &Sample) -> (ReasonCode, String) {
    let survey = sample.survey();
    let (code, detail) = whole(&survey);
    (code, detail.to_owned())
}
