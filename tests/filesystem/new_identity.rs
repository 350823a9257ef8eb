//! File systems of real tools get another UUID or serial number: blkid sees it, the file system's own checker finds
//! nothing, and every file is what it was. Where the name must stay, nothing changes.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use filesystem::{Files as _, NewIdentity, Reason, ReasonCode, new_identity, open_files};
use rustix::buffer::spare_capacity;
use rustix::fs::{XattrFlags, getxattr, setxattr};
use tempfile::TempDir;
use tests::fill::{content, fill};
use tests::ntfs::{NtfsMounted, make_ntfs};
use tests::restored::tree;
use tests::{FileDisk, Mounted, blkid, run};

const MIB: u64 = 1 << 20;
const ID: [u8; 16] = [0xD3, 0x8A, 0x5C, 0x11, 0x42, 0x10, 0x4F, 0x6E, 0x9B, 0x0C, 0x7E, 0x31, 0xA5, 0x00, 0xC0, 0xDE];
const UUID: &str = "d38a5c11-4210-4f6e-9b0c-7e31a500c0de";

/// A file system in a file.
struct Sample {
    _directory: TempDir,
    image: PathBuf,
    files: Files,
}

/// How its files are read and written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    Kernel,
    Ntfs,
    Mtools,
    None,
}

impl Sample {
    fn new(mebibytes: u64, files: Files, make: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        File::create(&image).unwrap().set_len(mebibytes * MIB).unwrap();
        let sample = Self { _directory: directory, image, files };
        let mut words = make.split_whitespace();
        let program = words.next().unwrap();
        run(program, words.chain([sample.text()]));
        sample
    }

    fn text(&self) -> &str {
        self.image.to_str().unwrap()
    }

    /// Puts some files into it.
    fn filled(self) -> Self {
        self.change(|root| {
            fs::create_dir_all(root.join("etc/deep/er")).unwrap();
            for number in 0..40_u64 {
                fs::write(root.join(format!("etc/deep/file {number:02}")), content(number, 3000)).unwrap();
            }
            fs::write(root.join("large"), content(99, 900_000)).unwrap();
        });
        self
    }

    fn change(&self, change: impl FnOnce(&Path)) {
        match self.files {
            Files::Kernel => change(Mounted::new(&self.image, "loop").path()),
            Files::Ntfs => change(NtfsMounted::new(&self.image, "rw").path()),
            Files::Mtools => {
                let directory = tempfile::tempdir().unwrap();
                change(directory.path());
                for entry in fs::read_dir(directory.path()).unwrap() {
                    let path = entry.unwrap().path();
                    let arguments = ["MTOOLS_SKIP_CHECK=1", "mcopy", "-s", "-i", self.text(), path.to_str().unwrap()];
                    run("env", arguments.into_iter().chain(["::"]));
                }
            }
            Files::None => {}
        }
    }

    fn tree(&self) -> BTreeMap<PathBuf, String> {
        match self.files {
            Files::Kernel => tree(Mounted::new(&self.image, "loop,ro").path()),
            Files::Ntfs => tree(NtfsMounted::new(&self.image, "ro").path()),
            Files::Mtools => tests::sample::files(&self.image, tests::sample::Content::Fat),
            Files::None => BTreeMap::new(),
        }
    }

    fn new_identity(&self) -> Result<NewIdentity, Reason> {
        new_identity(&FileDisk::open(&self.image), ID).unwrap()
    }

    /// Writes what changes.
    fn rename(&self) -> NewIdentity {
        let new = self.new_identity().unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&self.image).unwrap();
        for patch in &new.patches {
            let mut there = vec![0; patch.from.len()];
            file.read_exact_at(&mut there, patch.start).unwrap();
            assert!(there == patch.from);
            file.write_all_at(&patch.to, patch.start).unwrap();
        }
        new
    }

    /// Renames it and lets blkid, a checker and every file tell that nothing else changed.
    #[track_caller]
    fn check(&self, uuid: &str, checker: &str) {
        let before = self.tree();
        assert!(self.files == Files::None || before.len() > 40);
        let old = blkid::value(&self.image, "UUID").unwrap();
        let new = self.rename();
        assert_eq!(new.uuid, uuid);
        assert_ne!(old, uuid);
        assert_eq!(blkid::value(&self.image, "UUID").as_deref(), Some(uuid));
        let run_checker = || {
            let mut words = checker.split_whitespace();
            let program = words.next().unwrap();
            run(program, words.chain([self.text()]));
        };
        run_checker();
        assert!(self.tree() == before);
        // It goes on working: written to by the kernel, it is still whole.
        if self.files == Files::Kernel {
            self.change(|root| fs::write(root.join("new"), content(7, 100_000)).unwrap());
            assert_eq!(blkid::value(&self.image, "UUID").as_deref(), Some(uuid));
            run_checker();
            assert_eq!(self.tree().len(), before.len() + 1);
        }
    }

    #[track_caller]
    fn check_kept(&self, code: ReasonCode, words: &str) {
        let reason = self.new_identity().unwrap_err();
        assert_eq!(reason.code, code, "{reason:?}");
        assert!(reason.detail.contains(words), "{reason:?}");
    }
}

fn ext(options: &str) -> Sample {
    Sample::new(48, Files::Kernel, &format!("mke2fs -q -F {options}"))
}

#[test]
fn ext2_ext3_and_ext4() {
    for options in [
        "-t ext2",
        "-t ext3",
        // Checksums of descriptors alone, many groups; with meta groups.
        "-t ext4 -O ^metadata_csum,uninit_bg -g 2048",
        "-t ext4 -O ^metadata_csum,uninit_bg,meta_bg,^resize_inode -b 1024 -g 1024",
        "-t ext4 -O metadata_csum,64bit",
        "-t ext4 -O metadata_csum,metadata_csum_seed,sparse_super2 -b 1024",
    ] {
        ext(options).filled().check(UUID, "e2fsck -f -n");
    }
}

#[test]
fn copies_of_the_superblock_of_ext4_have_the_new_uuid_too() {
    for (options, has_seed) in [("-O ^metadata_csum,uninit_bg", false), ("-O metadata_csum", true)] {
        let sample = ext(&format!("-t ext4 -b 1024 {options}"));
        sample.rename();
        // Checked as if the first one were lost.
        let copy = run("dumpe2fs", ["-h", "-o", "superblock=8193", "-o", "blocksize=1024", sample.text()]);
        assert!(copy.contains(UUID) && !copy.contains("INVALID"), "{copy}");
        assert_eq!(copy.contains("metadata_csum_seed"), has_seed, "{copy}");
    }
}

/// What a file system can hold that carries a checksum, and what it held before.
fn fill_all_kinds(root: &Path) {
    fs::create_dir_all(root.join("boot/grub")).unwrap();
    fs::create_dir_all(root.join("etc")).unwrap();
    // Short ones: inside their inodes where the file system can.
    fs::write(root.join("etc/fstab"), format!("UUID={OLD} / ext4 defaults 0 1\n")).unwrap();
    fs::write(root.join("boot/grub/grub.cfg"), format!("# of this copy\nset root={OLD}\nlinux /vmlinuz ro\n")).unwrap();
    fill(root);
    // An index of two levels with blocks of 1 KiB.
    let names = root.join("names");
    fs::create_dir(&names).unwrap();
    for number in 0..900 {
        File::create(names.join(format!("{number:03} {}", "of a long name".repeat(8)))).unwrap();
    }
    // Every second block: extents in a tree of two levels with blocks of 1 KiB.
    let pieces = File::create(root.join("pieces")).unwrap();
    for number in 0..500 {
        pieces.write_all_at(&content(number, 500), number * 8192).unwrap();
    }
    // Too long for an inode, the same ones in one block; and a short one.
    for name in ["attributes", "same attributes"] {
        let path = root.join(name);
        fs::write(&path, "").unwrap();
        setxattr(&path, "user.long", &content(3, 700), XattrFlags::empty()).unwrap();
    }
    setxattr(root.join("attributes"), "user.short", b"few", XattrFlags::empty()).unwrap();
    setxattr(&names, "user.long", &content(4, 700), XattrFlags::empty()).unwrap();
    symlink("x".repeat(700), root.join("link")).unwrap();
}

const OLD: &str = "0a1b2c3d-0000-4111-8222-333344445555";
const METADATA_CSUM: &str = "metadata_csum,^metadata_csum_seed";

fn booting_ext(options: &str) -> Sample {
    let made = format!("-t ext4 -U {OLD} -O {METADATA_CSUM}{options}");
    let sample = Sample::new(64, Files::Kernel, &format!("mke2fs -q -F {made}"));
    sample.change(fill_all_kinds);
    check_kinds(&sample, options);
    sample
}

/// The sample has what it is there for, whatever the defaults of mke2fs are.
fn check_kinds(sample: &Sample, options: &str) {
    let debugfs = |request: &str| run("debugfs", ["-R", request, sample.text()]);
    let index = debugfs("htree /names");
    assert!(index.contains("Indirect levels: 1"), "{options}: no index of two levels: {index:.300}");
    let pieces = debugfs("stat /pieces");
    let nodes = if options.contains("^extents") { "(IND)" } else { "(ETB0)" };
    assert!(pieces.contains(nodes), "{options}: no {nodes} in {pieces}");
    for name in ["attributes", "names"] {
        let told = debugfs(&format!("stat /{name}"));
        let block =
            told.split("File ACL: ").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        assert!(block.is_some_and(|block| block > 0), "{options}: no block of attributes: {told}");
    }
    let groups = run("dumpe2fs", [sample.text()]);
    // With clusters two groups hold it all, and both are in use.
    let has_unused = groups.contains("INODE_UNINIT") && groups.contains("BLOCK_UNINIT");
    assert_eq!(has_unused, !options.contains("bigalloc"), "{options}: {groups:.3000}");
    let is_inline =
        debugfs("stat /etc").contains("Size of inline data") && debugfs("stat /etc/fstab").contains("system.data");
    assert_eq!(is_inline, options.contains("inline_data"), "{options}");
}

/// Every file that names it is read as the kernel reads it, and the name in it lies where it can be changed or is known
/// to lie in the inode.
fn check_named(sample: &Sample, is_inline: bool) {
    let mounted = Mounted::new(&sample.image, "loop,ro");
    let disk = FileDisk::open(&sample.image);
    let files = open_files(&disk).unwrap();
    for path in ["etc/fstab", "boot/grub/grub.cfg"] {
        let text = fs::read_to_string(mounted.path().join(path)).unwrap();
        assert_eq!(files.read(path, 1 << 20).as_deref(), Some(text.as_bytes()), "{path}");
        assert_eq!(files.is_in_record(path).unwrap(), is_inline, "{path}");
        let places = files.places(path, text.find(OLD).unwrap() as u64, OLD.len() as u64).unwrap();
        let found = places.map(|places| {
            let parts = places.iter().map(|place| tests::sample::read(&sample.image, place.start(), place.length()));
            parts.collect::<Vec<_>>().concat()
        });
        assert_eq!(found.as_deref(), Some(OLD.as_bytes()).filter(|_| !is_inline), "{path}");
    }
    for (path, _) in tree(mounted.path()).iter().filter(|(path, _)| mounted.path().join(path).is_dir()) {
        let mut names: Vec<_> = fs::read_dir(mounted.path().join(path)).unwrap().collect();
        let mut expected: Vec<_> =
            names.drain(..).map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        expected.sort_unstable();
        assert_eq!(files.directory(path.to_str().unwrap()).unwrap(), Some(expected), "{}", path.display());
    }
}

#[test]
fn all_checksums_of_ext4_that_a_boot_loader_reads_are_made_anew() {
    let variants = [
        ",64bit",
        ",64bit -b 1024",
        ",^64bit,^flex_bg -b 1024 -g 2048 -I 128",
        ",64bit,bigalloc -C 16384",
        ",64bit,inline_data,^has_journal",
        ",64bit,mmp,sparse_super2,orphan_file -b 1024",
        ",64bit,meta_bg,^resize_inode -b 1024 -g 1024",
        ",^extents,^64bit,^flex_bg -b 1024",
    ];
    thread::scope(|scope| {
        for options in variants {
            scope.spawn(move || {
                let sample = booting_ext(options);
                sample.check(UUID, "e2fsck -f -n");
                check_named(&sample, options.contains("inline_data"));
                let features = run("dumpe2fs", ["-h", sample.text()]);
                assert!(features.contains(UUID) && !features.contains("metadata_csum_seed"), "{features}");
                let mounted = Mounted::new(&sample.image, "loop,ro");
                for (name, seed) in [("attributes", 3), ("same attributes", 3), ("names", 4)] {
                    let mut value = Vec::with_capacity(1000);
                    getxattr(mounted.path().join(name), "user.long", spare_capacity(&mut value)).unwrap();
                    assert!(value == content(seed, 700));
                }
            });
        }
    });
}

#[test]
fn e2fsck_finds_every_checksum_that_is_not_made_anew() {
    let sample = booting_ext(",64bit,mmp,orphan_file -b 1024");
    let is_clean = || {
        let mut e2fsck = Command::new("e2fsck");
        e2fsck.args(["-f", "-n", sample.text()]).output().unwrap().status.success()
    };
    let new = sample.rename();
    assert!(is_clean());
    let file = OpenOptions::new().write(true).open(&sample.image).unwrap();
    // Checksums alone: of an inode, of other blocks.
    let sums: Vec<_> = new.patches.iter().filter(|patch| patch.to.len() <= 8).collect();
    assert!(sums.len() > 1000, "{}", sums.len());
    let blocks = sums.iter().filter(|patch| patch.to.len() == 4);
    for patch in blocks.step_by(16).chain(sums.iter().step_by(100)) {
        file.write_all_at(&patch.from, patch.start).unwrap();
        assert!(!is_clean(), "at {}: {:x?}", patch.start, patch.from);
        file.write_all_at(&patch.to, patch.start).unwrap();
    }
    assert!(is_clean());
}

#[test]
fn ext4_with_a_wrong_checksum_keeps_its_uuid() {
    let sample = booting_ext(",64bit -b 1024");
    let new = sample.new_identity().unwrap();
    let file = OpenOptions::new().write(true).open(&sample.image).unwrap();
    let blocks: Vec<_> = new.patches.iter().filter(|patch| patch.to.len() == 4).collect();
    for patch in blocks.iter().step_by(40) {
        file.write_all_at(&patch.to, patch.start).unwrap();
        sample.check_kept(ReasonCode::Damaged, "checksum");
        file.write_all_at(&patch.from, patch.start).unwrap();
    }
    assert_eq!(sample.new_identity().unwrap(), new);
}

#[test]
fn ext4_that_must_keep_its_uuid() {
    let booting = ext("-t ext4 -O metadata_csum,ea_inode");
    booting.change(|root| fs::create_dir_all(root.join("boot/grub")).unwrap());
    booting.check_kept(ReasonCode::Unsupported, "a boot loader reads it (/boot/grub)");
    // Nobody knows whether a boot loader is there.
    let locked = ext("-t ext4 -O metadata_csum,^metadata_csum_seed");
    locked.change(|root| fs::create_dir_all(root.join("boot/grub")).unwrap());
    run("debugfs", ["-w", "-R", "set_inode_field /boot flags 0x80800", locked.text()]);
    locked.check_kept(ReasonCode::Unsupported, "/boot/grub can't be read: inode 12 is encrypted");
    // Without the checksums no feature is needed.
    let booting = ext("-t ext4 -O ^metadata_csum").filled();
    booting.change(|root| fs::create_dir_all(root.join("boot/grub")).unwrap());
    booting.check(UUID, "e2fsck -f -n");
    ext("-t ext4 -O stable_inodes,encrypt").check_kept(ReasonCode::Unsupported, "keys of encrypted files");

    // A journal that waits to be replayed holds superblocks with the old UUID.
    let pending = ext("-t ext4");
    let mounted = Mounted::new(&pending.image, "loop");
    fs::write(mounted.path().join("file"), content(1, 100_000)).unwrap();
    run("sync", ["-f", mounted.path().to_str().unwrap()]);
    pending.check_kept(ReasonCode::NotClean, "journal");
    drop(mounted);
    pending.new_identity().unwrap();
}

#[test]
fn xfs_of_both_versions() {
    let xfs = |files, options: &str| {
        let make = format!("env TEST_DIR=/ TEST_DEV=/ QA_CHECK_FS=1 mkfs.xfs -q -f {options}");
        Sample::new(48, files, &make)
    };
    xfs(Files::Kernel, "-m crc=1").filled().check(UUID, "xfs_repair -n");
    xfs(Files::None, "-m crc=0").check(UUID, "xfs_repair -n");
    // With a log that has been around several times, in sectors of 4096 bytes and stripes.
    let busy = xfs(Files::Kernel, "-m crc=1 -s size=4096 -l size=8m,su=32k");
    for turn in 0..6_u64 {
        busy.change(|root| {
            for number in 0..150_u64 {
                fs::write(root.join(format!("{number}")), content(turn + number, 600)).unwrap();
                if number % 50 == 0 {
                    run("sync", ["-f", root.to_str().unwrap()]);
                }
            }
        });
    }
    busy.check(UUID, "xfs_repair -n");
    // Once more: the UUID of its blocks is still that of the day when it was made.
    let again = busy.new_identity().unwrap();
    assert!(again.patches.is_empty());

    let mounted = Mounted::new(&busy.image, "loop");
    fs::write(mounted.path().join("file"), content(1, 100_000)).unwrap();
    run("sync", ["-f", mounted.path().to_str().unwrap()]);
    busy.check_kept(ReasonCode::NotClean, "log");
    drop(mounted);
}

#[test]
fn btrfs_where_its_kernel_knows_how() {
    let btrfs = |options: &str| Sample::new(128, Files::Kernel, &format!("mkfs.btrfs -q -f {options}"));
    for options in ["--csum crc32c", "--csum sha256"] {
        btrfs(options).filled().check(UUID, "btrfs check --readonly");
    }
    btrfs("-O ^no-holes").check_kept(ReasonCode::Unsupported, "a kernel before 5.0");
    btrfs("-R ^free-space-tree").check_kept(ReasonCode::Unsupported, "a kernel before 5.0");
}

#[test]
fn serial_numbers_of_fat_exfat_and_ntfs_and_the_uuid_of_swap() {
    for options in ["-F 12 -s 64", "-F 16 -s 4", "-F 32 -s 1"] {
        let sample = Sample::new(48, Files::Mtools, &format!("mkfs.fat {options}")).filled();
        sample.check("A500-C0DE", "fsck.fat -n");
        if options.contains("32") {
            // The copy of the boot sector.
            assert_eq!(tests::sample::read(&sample.image, 6 * 512, 512), tests::sample::read(&sample.image, 0, 512));
        }
    }
    let exfat = Sample::new(48, Files::None, "mkfs.exfat");
    exfat.check("A500-C0DE", "fsck.exfat -n");
    let ntfs = Sample::new(48, Files::Ntfs, "true");
    make_ntfs(&ntfs.image, 48 * MIB, &[]);
    let ntfs = ntfs.filled();
    ntfs.check("9B0C7E31A500C0DE", "ntfsfix -n");
    // The copy behind the volume.
    let file = File::open(&ntfs.image).unwrap();
    let mut sectors = [[0; 512]; 2];
    file.read_exact_at(&mut sectors[0], 0).unwrap();
    file.read_exact_at(&mut sectors[1], 48 * MIB - 512).unwrap();
    assert_eq!(sectors[0], sectors[1]);
    Sample::new(8, Files::None, "mkswap -q").check(UUID, "swaplabel");
    assert!(new_identity(&FileDisk::open(Path::new("/dev/null")), ID).is_none());
}
