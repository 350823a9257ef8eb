//! Files read without mounting, compared with the same files read through the kernel (or ntfs-3g) and with what was put
//! there: ext2, ext3, ext4, XFS, NTFS, FAT12, FAT16, FAT32.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use block::ReadAt;
use filesystem::{FileKind, FileTree, Files, open_files};
use tests::ntfs::{NtfsMounted, make_ntfs};
use tests::{FileDisk, Mounted, run};

const MIB: u64 = 1 << 20;

/// Files of all kinds: small, empty, with holes, in many pieces; directories small and large; names with all letters.
fn fill(root: &Path, has_links: bool) {
    fill_with(root, has_links, 1500);
}

fn fill_with(root: &Path, has_links: bool, many: u32) {
    fs::create_dir_all(root.join("etc/deep/er/and/deeper")).unwrap();
    fs::write(root.join("etc/fstab"), "UUID=0 / ext4 defaults 0 1\n").unwrap();
    fs::write(root.join("etc/empty"), "").unwrap();
    fs::write(root.join("etc/deep/er/and/deeper/file"), "deep").unwrap();
    fs::write(root.join("日本語の名前.txt"), "内容").unwrap();
    fs::write(root.join("large.bin"), pattern(7, 3_000_000)).unwrap();
    for directory in ["few", "many"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    for index in 0..12 {
        fs::write(root.join(format!("few/{index}")), [index]).unwrap();
    }
    for index in 0..many {
        let name = format!("many/a-name-that-is-not-short-{index:05}");
        fs::write(root.join(name), index.to_le_bytes()).unwrap();
    }
    (0..many).step_by(7).for_each(|index| {
        fs::remove_file(root.join(format!("many/a-name-that-is-not-short-{index:05}"))).unwrap();
    });
    // Two files that grow in turn lie in many pieces.
    let files = ["pieces.a", "pieces.b"].map(|name| fs::File::create(root.join(name)).unwrap());
    for round in 0..120 {
        for file in &files {
            file.write_all_at(&pattern(round as u8, 4096), round * 4096).unwrap();
            file.sync_all().unwrap();
        }
    }
    if has_links {
        let holes = fs::File::create(root.join("holes")).unwrap();
        for round in 0..200_u64 {
            holes.write_all_at(&pattern(round as u8, 4096), round * 3 * 4096).unwrap();
        }
        holes.set_len(5_000_000).unwrap();
        symlink("etc/fstab", root.join("short-link")).unwrap();
        symlink("../../etc/deep/../fstab", root.join("etc/deep/up")).unwrap();
        let long = format!("{}etc/fstab", "etc/../".repeat(30));
        symlink(long, root.join("long-link")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
    }
}

fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 512) as u8 ^ (at % 251) as u8 ^ seed).collect()
}

/// What is there, read as an ordinary program reads it: files with their bytes, directories without.
fn expected(root: &Path) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("/{}", path.strip_prefix(root).unwrap().display());
            if path.is_dir() {
                found.insert(name, None);
                waiting.push(path);
            } else if path.is_file() {
                found.insert(name, Some(fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// The same, through our own reader.
fn read_all(files: &FileTree<'_>) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![String::new()];
    while let Some(directory) = waiting.pop() {
        let names = files.directory(&format!("{directory}/")).unwrap().unwrap();
        for name in names.into_iter().filter(|name| !name.starts_with('$')) {
            let path = format!("{directory}/{name}");
            match files.kind_of(&path) {
                Ok(Some(FileKind::Directory)) => {
                    found.insert(path.clone(), None);
                    waiting.push(path);
                }
                Ok(Some(FileKind::File)) => {
                    let file = files.file(&path).unwrap().unwrap();
                    let bytes = block::read_vec(&file, 0, file.size() as usize).unwrap();
                    // Read in odd parts it must be the same.
                    let half = bytes.len() / 2;
                    let again = block::read_vec(&file, half as u64, bytes.len() - half).unwrap();
                    assert_eq!(again, bytes[half..], "{path}");
                    found.insert(path, Some(bytes));
                }
                Ok(_) => assert!(path.contains("dangling"), "{path}"),
                Err(error) => assert!(path.contains("circle"), "{path}: {error}"),
            }
        }
    }
    found
}

#[track_caller]
fn check(image: &Path, kind: &str, expected: &BTreeMap<String, Option<Vec<u8>>>) {
    let disk = FileDisk::open(image);
    let files = open_files(&disk).unwrap_or_else(|| panic!("no files in {}", image.display()));
    assert_eq!(files.kind, kind);
    let found = read_all(&files);
    let names = |all: &BTreeMap<String, Option<Vec<u8>>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(expected));
    for (name, bytes) in expected {
        assert!(found[name] == *bytes, "{kind}: {name} has other bytes");
    }
    assert!(expected.len() > 100);
    assert_eq!(files.read("/no/such/file", 100), None);
    assert_eq!(files.read("/large.bin", 2_999_999), None, "a limit is a limit");
}

fn check_by_loop(kind: &str, program: &str, options: &[&str], size: u64) {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    FileDisk::create(&image, size);
    run(program, options.iter().copied().chain([image.to_str().unwrap()]));
    let there = {
        let mounted = Mounted::new(&image, "loop");
        fill(mounted.path(), true);
        expected(mounted.path())
    };
    check(&image, kind, &there);
}

#[test]
fn ext4_with_extents_and_hash_trees() {
    check_by_loop("ext4", "mkfs.ext4", &["-q", "-F"], 64 * MIB);
    check_by_loop("ext4", "mkfs.ext4", &["-q", "-F", "-b", "1024", "-O", "^64bit,^metadata_csum"], 64 * MIB);
}

#[test]
fn ext2_and_ext3_with_block_maps() {
    check_by_loop("ext2", "mkfs.ext2", &["-q", "-F", "-b", "1024"], 64 * MIB);
    check_by_loop("ext3", "mkfs.ext3", &["-q", "-F"], 64 * MIB);
}

#[test]
fn ext4_from_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (root, image) = (directory.path().join("root"), directory.path().join("image"));
    fs::create_dir(&root).unwrap();
    fill(&root, true);
    run("mke2fs", ["-q", "-t", "ext4", "-d", root.to_str().unwrap(), image.to_str().unwrap(), "64M"]);
    let mut there = expected(&root);
    there.insert("/lost+found".into(), None);
    check(&image, "ext4", &there);
}

#[test]
fn what_waits_in_the_journal_of_ext4_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (image, copy) = (directory.path().join("image"), directory.path().join("copy"));
    FileDisk::create(&image, 64 * MIB);
    run("mkfs.ext4", ["-q", "-F", image.to_str().unwrap()]);
    let mounted = Mounted::new(&image, "loop,data=journal");
    fs::create_dir(mounted.path().join("etc")).unwrap();
    fs::write(mounted.path().join("etc/hostname"), "node-a\n").unwrap();
    fs::File::open(mounted.path().join("etc/hostname")).unwrap().sync_all().unwrap();
    fs::copy(&image, &copy).unwrap();
    let disk = FileDisk::open(&copy);
    let files = open_files(&disk).unwrap();
    assert_eq!(files.read("/etc/hostname", 100).as_deref(), Some(&b"node-a\n"[..]));
}

#[test]
fn xfs() {
    check_by_loop("xfs", "mkfs.xfs", &["-q"], 320 * MIB);
    check_by_loop("xfs", "mkfs.xfs", &["-q", "-b", "size=1024", "-n", "size=8192"], 320 * MIB);
}

/// A tree as the prototype that mkfs fills a file system from: the kernel may not know version 4 any more.
fn prototype(directory: &Path, depth: usize, text: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap().to_str().unwrap();
        let indent = " ".repeat(depth);
        if path.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            text.push_str(&format!("{indent}{name} l--777 0 0 {}\n", target.display()));
        } else if path.is_dir() {
            text.push_str(&format!("{indent}{name} d--755 0 0\n"));
            prototype(&path, depth + 1, text);
            text.push_str(&format!("{indent}$\n"));
        } else {
            text.push_str(&format!("{indent}{name} ---644 0 0 {}\n", path.display()));
        }
    }
}

#[test]
fn xfs_of_version_4() {
    let directory = tempfile::tempdir().unwrap();
    let (root, image) = (directory.path().join("root"), directory.path().join("image"));
    fs::create_dir(&root).unwrap();
    fill(&root, true);
    // mkfs writes all of a file in one piece, and holes too.
    let mut text = "/\n0 0\nd--755 0 0\n".to_owned();
    prototype(&root, 0, &mut text);
    text.push_str("$\n");
    let file = directory.path().join("prototype");
    fs::write(&file, text).unwrap();
    FileDisk::create(&image, 320 * MIB);
    let options = ["-q", "-m", "crc=0", "-n", "ftype=0", "-p", file.to_str().unwrap(), image.to_str().unwrap()];
    run("mkfs.xfs", options);
    check(&image, "xfs", &expected(&root));
}

#[test]
fn ntfs() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    make_ntfs(&image, 64 * MIB, &[]);
    let there = {
        let mounted = NtfsMounted::new(&image, "rw");
        fill(mounted.path(), false);
        expected(mounted.path())
    };
    check(&image, "ntfs", &there);
    let disk = FileDisk::open(&image);
    let files = open_files(&disk).unwrap();
    assert_eq!(files.read("ETC/FSTAB", 100), files.read("/etc/fstab", 100));
    assert!(files.exists("ETC/FSTAB"));
}

#[test]
fn fat_of_all_widths() {
    for options in [&["-F", "16"][..], &["-F", "32", "-s", "1"], &["-F", "12", "-s", "64"]] {
        let directory = tempfile::tempdir().unwrap();
        let image = directory.path().join("image");
        FileDisk::create(&image, 100 * MIB);
        run("mkfs.vfat", options.iter().copied().chain([image.to_str().unwrap()]));
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        // mcopy takes its time over each file.
        fill_with(&root, false, 150);
        let mut entries: Vec<_> = fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        let entries: Vec<_> = entries.iter().map(|path| path.to_str().unwrap()).collect();
        run("mcopy", ["-s", "-i", image.to_str().unwrap()].into_iter().chain(entries).chain(["::/"]));
        check(&image, "vfat", &expected(&root));
    }
}
