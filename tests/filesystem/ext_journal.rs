//! File systems whose journal was not replayed: what only the journal knows to be used is covered.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::{ReadAt, RegionExtent, read_vec};
use filesystem::{NoteCode, ReasonCode};
use tests::fill::{content, fill};
use tests::restored::restore_covered;
use tests::{FileDisk, Mounted, run, run_status, run_with_input};

use tests::dumpe2fs::free_by_dumpe2fs;

use super::{Sample, debugfs, used, whole_owned};

/// A file system before and after files were added, and the same with the addition in its journal only.
struct Replay {
    sample: Sample,
    /// The files after the addition.
    tree: BTreeMap<PathBuf, String>,
    /// Blocks that hold data of the added files.
    data: Vec<u64>,
    block_size: u64,
}

impl Replay {
    /// `open` is the option of debugfs for the checksums of the journal. Where not `committed`, the addition lacks its
    /// commit block, and a transaction before it that changes nothing has one.
    fn make(arguments: &str, open: &str, committed: bool) -> Self {
        let sample = Sample::make(48, arguments);
        sample.change(fill);
        let after = sample.path("after");
        fs::copy(&sample.image, &after).unwrap();
        let mounted = Mounted::new(&after, "loop");
        add_files(mounted.path());
        drop(mounted);
        let tree = Sample::tree(&after, "ro,loop");
        let block_size = u64::from(sample.survey().file_system.unwrap().block_size);
        let data = added_files().flat_map(|(name, _)| blocks_of(&after, &format!("/added/{name}"))).collect();
        let replay = Self { sample, tree, data, block_size };
        replay.move_into_journal(&after, open, committed);
        replay
    }

    /// Writes the data of the added files to its place, as `data=ordered` does, and every other changed block into
    /// the journal.
    fn move_into_journal(&self, after: &Path, open: &str, committed: bool) {
        let (old, new) = (self.sample.disk(), FileDisk::open(after));
        let journal = blocks_of(after, "<8>");
        let superblock = 1024 / self.block_size;
        let image = fs::OpenOptions::new().write(true).open(&self.sample.image).unwrap();
        let (mut blocks, mut bytes) = (Vec::new(), Vec::new());
        for block in 0..old.size() / self.block_size {
            let changed = read_block(&new, block, self.block_size);
            let same = read_block(&old, block, self.block_size) == changed;
            if journal.contains(&block) || block == superblock || same {
                continue;
            }
            if self.data.contains(&block) {
                image.write_all_at(&changed, block * self.block_size).unwrap();
            } else {
                blocks.push(block.to_string());
                bytes.extend(changed);
            }
        }
        assert!(!blocks.is_empty());
        let content = self.sample.path("transaction");
        fs::write(&content, bytes).unwrap();
        let (blocks, content) = (blocks.join(","), content.display());
        if committed {
            self.journal(&format!("jo {open}\njw -b {blocks} {content}\njc\n"));
        } else {
            let same = self.sample.path("same");
            let descriptors = superblock + 1;
            fs::write(&same, read_block(&old, descriptors, self.block_size)).unwrap();
            let before = format!("jw -b {descriptors} {}", same.display());
            self.journal(&format!("jo {open}\n{before}\njw -c -b {blocks} {content}\njc\n"));
        }
    }

    fn journal(&self, script: &str) {
        let image = self.sample.image.display().to_string();
        run_with_input("debugfs", ["-w", "-f", "-", &image], script.as_bytes());
    }

    /// Data of added files that the bitmaps on the disk have as free.
    fn hidden_data(&self) -> Vec<RegionExtent> {
        let free = free_by_dumpe2fs(&self.sample.image, &self.sample.survey().file_system.unwrap());
        let extents =
            self.data.iter().map(|block| RegionExtent::between(block * self.block_size, (block + 1) * self.block_size));
        extents.filter(|extent| free.contains(*extent)).collect()
    }
}

fn read_block(disk: &FileDisk, block: u64, size: u64) -> Vec<u8> {
    read_vec(disk, block * size, usize::try_from(size).unwrap()).unwrap()
}

fn added_files() -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..40_u64).map(|number| (format!("file{number}"), content(1000 + number, 30_000)))
}

fn add_files(directory: &Path) {
    let added = directory.join("added");
    fs::create_dir(&added).unwrap();
    for (name, bytes) in added_files() {
        fs::write(added.join(name), bytes).unwrap();
    }
    fs::remove_dir_all(directory.join("a/b")).unwrap();
}

/// The blocks of a file, by debugfs.
fn blocks_of(image: &Path, file: &str) -> Vec<u64> {
    let printed = run("debugfs", ["-R", &format!("blocks {file}"), &image.display().to_string()]);
    printed.split_whitespace().map(|block| block.parse().unwrap()).collect()
}

/// Restores what is covered, lets e2fsck replay the journal, and expects these files.
fn check_restored_and_replayed(sample: &Sample, expected: &BTreeMap<PathBuf, String>) {
    let survey = sample.survey();
    let destination = sample.path("destination");
    restore_covered(&sample.disk(), used(&survey), &destination);
    let checked = run_status("e2fsck", ["-f".as_ref(), "-y".as_ref(), destination.as_os_str()]);
    let printed = String::from_utf8_lossy(&checked.stdout).into_owned();
    // 1: errors corrected, which the counts in the superblock are.
    assert!(matches!(checked.status.code(), Some(0 | 1)), "{printed}");
    let printed = run("e2fsck", ["-f".as_ref(), "-n".as_ref(), destination.as_os_str()]);
    assert!(!printed.contains("Fix?"), "{printed}");
    assert_eq!(&Sample::tree(&destination, "ro,loop"), expected);
}

#[test]
fn blocks_that_only_the_journal_has_as_used_are_covered() {
    for (arguments, open) in [
        ("-t ext3 -b 1024", ""),
        ("-t ext4 -b 1024", "-c -v 3"),
        ("-t ext4 -b 4096 -J size=8", "-c -v 3"),
        ("-t ext4 -b 1024 -O ^64bit", "-c -v 2"),
        ("-t ext4 -b 1024 -O ^metadata_csum,uninit_bg", ""),
        ("-t ext4 -b 1024 -O bigalloc,^resize_inode -C 4096", "-c -v 3"),
        ("-t ext4 -b 1024 -O meta_bg,^resize_inode,^flex_bg -g 1024", "-c -v 3"),
    ] {
        let replay = Replay::make(arguments, open, true);
        let hidden = replay.hidden_data();
        assert!(hidden.len() > 100, "{arguments}: {} blocks are free on the disk", hidden.len());
        let survey = replay.sample.survey();
        let covered = used(&survey);
        let missing: Vec<_> = hidden.into_iter().filter(|extent| !covered.contains(*extent)).collect();
        assert_eq!(missing, [], "{arguments}");
        let [note] = survey.notes.as_slice() else { panic!("{:?}", survey.notes) };
        assert_eq!(note.code, NoteCode::NotClean);
        assert!(note.detail.ends_with("blocks in 1 transactions wait in the journal"), "{}", note.detail);
        check_restored_and_replayed(&replay.sample, &replay.tree);
    }
}

#[test]
fn a_transaction_that_was_not_committed_adds_nothing() {
    for (arguments, open) in [("-t ext3 -b 1024", ""), ("-t ext4 -b 1024", "-c -v 3")] {
        let replay = Replay::make(arguments, open, false);
        let survey = replay.sample.survey();
        let free = free_by_dumpe2fs(&replay.sample.image, &survey.file_system.clone().unwrap());
        assert_eq!(used(&survey).intersection(&free), block::Extents::new());
        assert_eq!(survey.notes[0].detail, "1 blocks in 1 transactions wait in the journal");
    }
}

#[test]
fn a_forgotten_flag_does_not_hide_the_journal() {
    let replay = Replay::make("-t ext4 -b 1024", "-c -v 3", true);
    let before = replay.sample.survey();
    debugfs(&replay.sample.image, "feature -needs_recovery");
    assert_eq!(replay.sample.survey(), before);
}

#[test]
fn a_damaged_journal_is_saved_whole_with_its_file_system() {
    let replay = Replay::make("-t ext4 -b 1024", "-c -v 3", true);
    let journal = blocks_of(&replay.sample.image, "<8>");
    let logged = run("debugfs", ["-R", "logdump -a", &replay.sample.image.display().to_string()]);
    // Block 0 of the journal is its superblock; the log begins with the descriptor in block 1.
    assert!(logged.contains("starts at block 1"), "{logged}");
    let image = fs::OpenOptions::new().read(true).write(true).open(&replay.sample.image).unwrap();
    let check = |block: usize, expected: &str| {
        let position = journal[block] * replay.block_size + 40;
        flip(&image, position);
        let (code, detail) = whole_owned(&replay.sample);
        flip(&image, position);
        assert_eq!(code, ReasonCode::NotClean);
        assert!(detail.contains(expected), "{detail}");
        used(&replay.sample.survey());
    };
    check(1, "block 1 of the journal has checksum");
    // The first changed block is one of the group descriptors.
    check(2, "the copy of block 2 in the journal has checksum");
}

fn flip(file: &File, position: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], position).unwrap();
}

#[test]
fn a_map_block_that_the_journal_revokes_is_ambiguous() {
    let replay = Replay::make("-t ext4 -b 1024", "-c -v 3", true);
    let revoke = |block: u64| replay.journal(&format!("jo -c -v 3\njw -r {block}\njc\n"));
    revoke(40_000);
    used(&replay.sample.survey());
    revoke(2);
    assert_eq!(
        whole_owned(&replay.sample),
        (ReasonCode::NotClean, "the journal revokes block 2 of the maps".to_owned())
    );
}

#[test]
fn a_system_that_lost_power_is_restored_with_all_that_it_had_synced() {
    for arguments in ["-t ext4 -b 4096 -E lazy_itable_init=0", "-t ext3 -b 1024", "-t ext4 -b 1024 -O ^metadata_csum"] {
        let sample = Sample::make(48, arguments);
        let crashed = Sample::make(48, arguments);
        let mounted = Mounted::new(&sample.image, "loop,commit=600");
        fill(mounted.path());
        add_files(mounted.path());
        for (name, _) in added_files() {
            File::open(mounted.path().join("added").join(name)).unwrap().sync_all().unwrap();
        }
        fs::copy(&sample.image, &crashed.image).unwrap();
        let expected = tests::restored::tree(&mounted.path().join("added"));
        drop(mounted);
        let survey = crashed.survey();
        assert_eq!(survey.notes[0].code, NoteCode::NotClean, "{arguments}: {survey:?}");
        let destination = crashed.path("destination");
        restore_covered(&crashed.disk(), used(&survey), &destination);
        // Mounting replays the journal.
        let mounted = Mounted::new(&destination, "loop");
        assert_eq!(tests::restored::tree(&mounted.path().join("added")), expected, "{arguments}");
        drop(mounted);
        run("e2fsck", ["-f".as_ref(), "-n".as_ref(), destination.as_os_str()]);
    }
}
