//! Used bytes of real XFS file systems, compared with what xfs_db, xfs_logprint and partclone say, and proved by
//! a restore of nothing but the covered bytes.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use block::{Extents, InRegion, ReadAt, RegionExtent};
use filesystem::{Coverage, NoteCode, ReasonCode, Survey, survey};
use tempfile::TempDir;
use tests::partclone::used_blocks;
use tests::restored::{restore_covered, tree};
use tests::{FileDisk, Mounted, run, run_status};

const MEBIBYTE: u64 = 1 << 20;

/// A file system in a file.
struct Image {
    directory: TempDir,
    path: PathBuf,
}

impl Image {
    /// Makes a file system of `size` bytes. The environment lifts mkfs.xfs's limits for ordinary users.
    fn make(size: u64, options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("xfs");
        File::create(&path).unwrap().set_len(size).unwrap();
        let image = Self { directory, path };
        image.run_mkfs(options);
        image
    }

    fn run_mkfs(&self, options: &str) {
        let lifted = ["TEST_DIR=/", "TEST_DEV=/", "QA_CHECK_FS=1", "mkfs.xfs", "-q", "-f"];
        let options = options.split_whitespace().map(str::to_owned);
        run("env", lifted.map(str::to_owned).into_iter().chain(options).chain([self.path.display().to_string()]));
    }

    fn mount(&self, options: &str) -> Mounted {
        Mounted::new(&self.path, &format!("loop,{options}"))
    }

    fn survey(&self) -> Survey {
        survey(&FileDisk::open(&self.path))
    }

    #[track_caller]
    fn used(&self) -> Extents<InRegion> {
        match self.survey().coverage {
            Coverage::Used(extents) => extents,
            Coverage::Whole(reason) => panic!("{reason:?}"),
        }
    }

    #[track_caller]
    fn check_whole(&self, code: ReasonCode, detail: &str) {
        match self.survey().coverage {
            Coverage::Used(_) => panic!("used, expected {code:?}"),
            Coverage::Whole(reason) => {
                assert_eq!(reason.code, code, "{reason:?}");
                assert!(reason.detail.contains(detail), "{reason:?}");
            }
        }
    }

    fn xfs_db(&self, commands: &[String]) -> String {
        let path = self.path.display().to_string();
        let commands = commands.iter().flat_map(|command| ["-c", command]);
        run("xfs_db", ["-r", "-f"].into_iter().chain(commands).chain([path.as_str()]))
    }

    /// A field of the superblock or of a group's free-space header.
    fn field(&self, place: &str, name: &str) -> u64 {
        let printed = self.xfs_db(&[place.to_owned(), format!("print {name}")]);
        let value = printed.trim().rsplit(' ').next().unwrap();
        value.strip_prefix("0x").map_or_else(|| value.parse(), |digits| u64::from_str_radix(digits, 16)).unwrap()
    }

    fn group_count(&self) -> u64 {
        self.field("sb 0", "agcount")
    }

    /// The bytes of free extents, by group and block in blocks.
    fn free_bytes(&self, free: impl IntoIterator<Item = (u64, u64, u64)>) -> Extents<InRegion> {
        let (size, group_blocks) = (self.field("sb 0", "blocksize"), self.field("sb 0", "agblocks"));
        free.into_iter()
            .map(|(group, block, count)| {
                let first = group * group_blocks + block;
                RegionExtent::between(first * size, (first + count) * size)
            })
            .collect()
    }

    /// What xfs_db finds in the trees of free extents by block.
    fn free_of_trees(&self) -> Extents<InRegion> {
        let mut free = Vec::new();
        for group in 0..self.group_count() {
            let commands = [format!("agf {group}"), "addr bnoroot".to_owned(), "btdump".to_owned()];
            for record in self.xfs_db(&commands).split_whitespace().filter_map(|word| word.split_once(":[")) {
                let (block, count) = record.1.trim_end_matches(']').split_once(',').unwrap();
                free.push((group, block.parse().unwrap(), count.parse().unwrap()));
            }
        }
        self.free_bytes(free)
    }

    /// What xfs_db calls free: the trees and the free lists.
    fn free_of_trees_and_lists(&self) -> Extents<InRegion> {
        let printed = self.xfs_db(&["freesp -d".to_owned()]);
        let lines = printed.lines().skip(1).map_while(|line| {
            let numbers: Vec<u64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
            Some((numbers[0], numbers[1], numbers[2]))
        });
        // At the end stands a histogram with another number of columns.
        let lines: Vec<_> = lines.collect();
        self.free_bytes(lines)
    }

    fn is_clean_by_logprint(&self) -> bool {
        let output = run_status("xfs_logprint", ["-t", &self.path.display().to_string()]);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains("state: <"), "{printed}");
        printed.contains("state: <CLEAN>")
    }

    /// Checks the used bytes against xfs_db, and that a restore of nothing but them is whole.
    fn check(&self, is_mountable: bool) -> Extents<InRegion> {
        let source = FileDisk::open(&self.path);
        let whole = RegionExtent::between(0, source.size());
        let used = self.used();
        let free = self.free_of_trees();
        assert!(free.total_bytes() > MEBIBYTE, "xfs_db's output was not understood");
        assert_eq!(used, free.complement(whole));

        let restored = Self { directory: tempfile::tempdir().unwrap(), path: self.path.with_extension("restored") };
        restore_covered(&source, &used, &restored.path);
        run("xfs_repair", ["-n", "-f", &restored.path.display().to_string()]);
        if is_mountable {
            let expected = tree(self.mount("ro").path());
            assert!(expected.len() > 10);
            assert_eq!(tree(restored.mount("ro,nouuid").path()), expected);
        }
        fs::remove_file(&restored.path).unwrap();
        used
    }

    /// Checks that partclone saves what is used but for the free lists, which it takes for free.
    fn check_partclone(&self) {
        let used = self.used();
        let end = RegionExtent::between(0, self.survey().file_system.unwrap().size);
        let (block_size, theirs) = used_blocks("partclone.xfs", &self.path);
        assert_eq!(u64::from(block_size), self.field("sb 0", "blocksize"));
        assert!(theirs.difference(&used).is_empty());
        let lists = self.free_of_trees_and_lists().difference(&self.free_of_trees());
        assert!(!lists.is_empty());
        assert_eq!(used.intersection(&end.into()).difference(&theirs), lists);
    }
}

/// Fills a mounted file system with files of many sizes, then deletes and punches so that the free space is in pieces.
fn fill(root: &Path, block_size: u64) {
    let mut state = 1_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for directory in 0..8 {
        let path = root.join(format!("directory-{directory}"));
        fs::create_dir(&path).unwrap();
        for file in 0..40 {
            let content = vec![random(255) as u8 + 1; random(60_000) as usize];
            fs::write(path.join(format!("file-{file}-{}", "x".repeat(random(100) as usize))), content).unwrap();
        }
    }
    symlink("x".repeat(600), root.join("long-link")).unwrap();
    fs::hard_link(first_file(&root.join("directory-0")), root.join("hard-link")).unwrap();
    File::create(root.join("sparse")).unwrap().set_len(MEBIBYTE).unwrap();
    let mut number = 0;
    for directory in 0..8 {
        for entry in fs::read_dir(root.join(format!("directory-{directory}"))).unwrap() {
            number += 1;
            if number % 3 == 0 {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
    }
    // Every other block of a file becomes a free extent of its own.
    let holed = root.join("holed");
    let blocks = (16 * MEBIBYTE / block_size).min(3000);
    fs::write(&holed, vec![0x5A; (blocks * block_size) as usize]).unwrap();
    File::open(&holed).unwrap().sync_all().unwrap();
    let punches = (0..blocks)
        .step_by(2)
        .flat_map(|block| ["-c".to_owned(), format!("fpunch {} {block_size}", block * block_size)]);
    run("xfs_io", punches.chain([holed.display().to_string()]));
}

fn first_file(directory: &Path) -> PathBuf {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.swap_remove(0)
}

/// A file system of version 5 made with `options`, filled and compared. Returns the levels of its deepest tree.
fn check_version_5(size: u64, options: &str) -> (Image, u64) {
    let image = Image::make(size, options);
    assert!(!image.used().is_empty(), "freshly made");
    fill(image.mount("rw").path(), image.field("sb 0", "blocksize"));
    image.check(true);
    let levels = (0..image.group_count()).map(|group| image.field(&format!("agf {group}"), "bnolevel")).max();
    (image, levels.unwrap())
}

#[test]
fn the_default() {
    let (image, levels) = check_version_5(320 * MEBIBYTE, "-L label -m uuid=00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(levels, 2);
    image.check_partclone();
    let file_system = image.survey().file_system.unwrap();
    let blkid = run("blkid", ["-o", "export", &image.path.display().to_string()]);
    let blkid: BTreeMap<_, _> = blkid.lines().filter_map(|line| line.split_once('=')).collect();
    assert_eq!(file_system.kind, blkid["TYPE"]);
    assert_eq!(file_system.uuid.as_deref(), Some(blkid["UUID"]));
    assert_eq!(file_system.label.as_deref(), Some(blkid["LABEL"]));
    assert_eq!(file_system.size, 320 * MEBIBYTE);
}

#[test]
fn small_blocks() {
    let (image, levels) = check_version_5(320 * MEBIBYTE, "-b size=1024");
    assert_eq!(levels, 2);
    image.check_partclone();
    check_version_5(320 * MEBIBYTE, "-b size=2048 -m rmapbt=1");
}

#[test]
fn large_blocks_and_sectors() {
    check_version_5(512 * MEBIBYTE, "-b size=65536");
    let (image, _) = check_version_5(320 * MEBIBYTE, "-s size=4096");
    image.check_partclone();
}

#[test]
fn many_groups_and_a_short_last_one() {
    let (image, _) = check_version_5(350 * MEBIBYTE, "-d agcount=20 -l size=8m");
    assert!(image.group_count() >= 20);
    check_version_5(350 * MEBIBYTE + 4096 * 3 + 512, "-d agsize=100m -l size=16m,su=32k");
}

#[test]
fn features() {
    check_version_5(320 * MEBIBYTE, "-m rmapbt=1,reflink=1 -i sparse=1,nrext64=1 -l su=64k,size=64m");
    check_version_5(320 * MEBIBYTE, "-m finobt=0,rmapbt=0,reflink=0,bigtime=0,inobtcount=0 -i sparse=0,nrext64=0");
}

#[test]
fn a_changed_uuid() {
    let (image, _) = check_version_5(320 * MEBIBYTE, "");
    run("xfs_admin", ["-U", "generate", &image.path.display().to_string()]);
    assert_ne!(image.field("sb 0", "features_incompat") & 4, 0);
    image.check(true);
}

#[test]
fn version_4() {
    // The kernel here no longer mounts version 4: mkfs.xfs fills it.
    let content = tempfile::tempdir().unwrap();
    let mut prototype = "/\n0 0\nd--755 0 0\n".to_owned();
    for number in 0..200_usize {
        let path = content.path().join(number.to_string());
        fs::write(&path, vec![number as u8; number * 401]).unwrap();
        prototype.push_str(&format!("file-{number} ---644 0 0 {}\n", path.display()));
    }
    prototype.push_str("$\n$\n");
    let file = content.path().join("prototype");
    fs::write(&file, prototype).unwrap();
    for options in ["-b size=512", "-b size=1024 -d agcount=19", "", "-b size=65536", "-l version=1", "-s size=4096"] {
        let options = format!("-m crc=0 {options} -p {}", file.display());
        let image = Image::make(320 * MEBIBYTE, &options);
        let used = image.check(false);
        assert!(used.total_bytes() > 8 * MEBIBYTE);
        if options.contains("512") {
            image.check_partclone();
        }
    }
}

#[test]
fn an_external_log_can_not_be_judged() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    File::create(&log).unwrap().set_len(64 * MEBIBYTE).unwrap();
    let image = Image::make(320 * MEBIBYTE, &format!("-l logdev={},size=64m", log.display()));
    image.check_whole(ReasonCode::NotClean, "the log is on another device");
    assert_eq!(image.survey().notes[0].code, NoteCode::OtherDevice);
}

#[test]
fn a_realtime_section_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let realtime = directory.path().join("realtime");
    File::create(&realtime).unwrap().set_len(100 * MEBIBYTE).unwrap();
    let image = Image::make(320 * MEBIBYTE, &format!("-r rtdev={},extsize=64k", realtime.display()));
    let whole = RegionExtent::between(0, 320 * MEBIBYTE);
    assert_eq!(image.used(), image.free_of_trees().complement(whole));
    assert_eq!(image.survey().notes[0].code, NoteCode::OtherDevice);
}

#[test]
fn a_shut_down_file_system_is_not_clean_until_its_log_was_replayed() {
    let image = Image::make(320 * MEBIBYTE, "");
    {
        let mounted = image.mount("rw");
        fill(mounted.path(), 4096);
        image.check_whole(ReasonCode::NotClean, "the log may hold changes");
        run("xfs_io", ["-x", "-c", "shutdown -f", &mounted.path().display().to_string()]);
    }
    image.check_whole(ReasonCode::NotClean, "does not end an unmount");
    assert!(!image.is_clean_by_logprint());
    drop(image.mount("rw"));
    image.check(true);
}

#[test]
fn a_frozen_file_system_is_not_clean() {
    let image = Image::make(320 * MEBIBYTE, "");
    let mounted = image.mount("rw");
    fs::write(mounted.path().join("file"), "content").unwrap();
    let path = mounted.path().display().to_string();
    run("xfs_freeze", ["-f", &path]);
    let survey = image.survey();
    let printed = run_status("xfs_logprint", ["-t", &image.path.display().to_string()]).stdout;
    // What fails before this leaves a file system that can't be unmounted.
    run("xfs_freeze", ["-u", &path]);
    assert!(String::from_utf8_lossy(&printed).contains("<DIRTY>"));
    assert!(matches!(survey.coverage, Coverage::Whole(reason) if reason.code == ReasonCode::NotClean));
}

/// The log goes round several times; wherever it stops, we say what xfs_logprint says.
fn check_ring(options: &str, mount_options: &str) {
    let image = Image::make(320 * MEBIBYTE, options);
    let count = image.field("sb 0", "logblocks") * image.field("sb 0", "blocksize") / 512;
    let mut clean_heads = Vec::new();
    for round in 0..24_u64 {
        {
            let mounted = image.mount(mount_options);
            for number in 0..90 + round * 7 {
                let path = mounted.path().join(format!("{round}-{number}"));
                fs::write(&path, "content").unwrap();
                fs::rename(&path, mounted.path().join(format!("renamed-{number}-{}", "x".repeat(100)))).unwrap();
            }
            File::open(mounted.path()).unwrap().sync_all().unwrap();
            run("sync", ["-f", &mounted.path().display().to_string()]);
            assert!(!image.is_clean_by_logprint());
            image.check_whole(ReasonCode::NotClean, "does not end an unmount");
            if round % 5 == 4 {
                run("xfs_io", ["-x", "-c", "shutdown", &mounted.path().display().to_string()]);
            }
        }
        let is_clean = matches!(image.survey().coverage, Coverage::Used(_));
        assert_eq!(is_clean, image.is_clean_by_logprint(), "round {round}");
        assert_eq!(is_clean, round % 5 != 4);
        if is_clean {
            clean_heads.push(head_by_logprint(&image));
        }
    }
    // It did go round, and stopped in many places.
    let rounds = clean_heads.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(rounds >= 2, "{clean_heads:?} of {count}");
    image.check(true);
}

fn head_by_logprint(image: &Image) -> u64 {
    let printed = run("xfs_logprint", ["-t", &image.path.display().to_string()]);
    let (_, head) = printed.split_once("head: ").unwrap();
    head.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn the_log_is_a_ring() {
    check_ring("-l size=1368b", "wsync");
}

#[test]
fn the_log_is_a_ring_of_large_records() {
    check_ring("-l size=1416b,su=32k", "wsync,logbsize=256k");
}

/// Counts the bytes that are read.
struct Counting {
    disk: FileDisk,
    read_bytes: AtomicU64,
}

impl ReadAt for Counting {
    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.disk.read_at(offset, buffer)
    }
}

#[test]
fn a_large_file_system_is_surveyed_without_reading_much() {
    // ext4 holds no file of 16 TiB; this is 1 MiB less.
    let size = (16 << 40) - MEBIBYTE;
    let image = Image::make(size, "");
    let disk = Counting { disk: FileDisk::open(&image.path), read_bytes: AtomicU64::new(0) };
    let Coverage::Used(used) = survey(&disk).coverage else { panic!("whole") };
    assert_eq!(used, image.free_of_trees().complement(RegionExtent::between(0, size)));
    assert!(used.total_bytes() < 4 << 30);
    // The window of the log on both sides of its head, and some sectors a group.
    let read_bytes = disk.read_bytes.into_inner();
    assert!(read_bytes < 8 * MEBIBYTE, "{read_bytes} bytes read");
    assert!(image.directory.path().exists());
}
