//! The used bytes of UFS2 made with makefs, compared with its own counts, and proved by GRUB's reader on a restore of
//! nothing but the covered bytes.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use filesystem::{Coverage, survey};
use tests::blkid::check_same_identity;
use tests::fill::content;
use tests::restored::restore_covered;
use tests::{FileDisk, run};

const MAGIC: [u8; 4] = 0x1954_0119_u32.to_le_bytes();

/// Files of all sizes: with and without fragments, indirect blocks, holes and nothing in them.
fn fill(directory: &Path) -> Vec<PathBuf> {
    let sizes = [0, 1, 1000, 1024, 7000, 8192, 8193, 65536, 98304, 98305, 300_000, 3_000_000, 20_000_000];
    fs::create_dir_all(directory.join("below/it")).unwrap();
    let mut names = Vec::new();
    for (number, size) in sizes.into_iter().enumerate() {
        let name = PathBuf::from(format!("{}file{number}", if number % 2 == 0 { "below/it/" } else { "" }));
        fs::write(directory.join(&name), content(number as u64, size)).unwrap();
        names.push(name);
    }
    names
}

fn make(directory: &Path, order: &str, options: &str) -> (PathBuf, Vec<PathBuf>) {
    let (image, files) = (directory.join("image"), directory.join("content"));
    let names = fill(&files);
    let paths = [image.to_str().unwrap(), files.to_str().unwrap()];
    let options = format!("version=2{options}");
    run("makefs", ["-t", "ffs", "-B", order, "-s", "96m", "-o", &options].into_iter().chain(paths));
    (image, names)
}

/// Fragments that makefs counts as free, and their size; little-endian.
fn free_bytes(image: &Path) -> u64 {
    let bytes = fs::read(image).unwrap();
    let position = [8192, 65536].into_iter().find(|position| bytes[position + 1372..][..4] == MAGIC).unwrap();
    let word = |offset: usize| u64::from(u32::from_le_bytes(bytes[position + offset..][..4].try_into().unwrap()));
    (word(1016) * word(56) + word(1032)) * word(52)
}

#[track_caller]
fn check(options: &str) {
    let temporary = tempfile::tempdir().unwrap();
    let (image, names) = make(temporary.path(), "le", options);
    let source = FileDisk::open(&image);
    let survey = survey(&source);
    check_same_identity(&image, survey.file_system.as_ref().unwrap());
    let Coverage::Used(used) = survey.coverage else { panic!("{:?}", survey.coverage) };
    let size = fs::metadata(&image).unwrap().len();
    assert_eq!(used.total_bytes() + free_bytes(&image), size);
    let restored = temporary.path().join("restored");
    restore_covered(&source, &used, &restored);
    for name in names {
        let (inside, outside) = (format!("(loop0)/{}", name.display()), temporary.path().join("content").join(&name));
        let compared = run("grub-fstest", [restored.to_str().unwrap(), "cmp", &inside, outside.to_str().unwrap()]);
        assert_eq!(compared.trim(), "", "{}", name.display());
    }
}

#[test]
fn used_bytes_are_all_but_what_makefs_counts_as_free() {
    check("");
    check(",bsize=16384,fsize=2048");
    check(",bsize=4096,fsize=4096");
    check(",bsize=65536,fsize=8192");
}

#[test]
fn the_other_byte_order_is_the_same_file_system() {
    let temporary = tempfile::tempdir().unwrap();
    let used = ["le", "be"].map(|order| {
        let (image, _) = make(temporary.path(), order, "");
        match survey(&FileDisk::open(&image)).coverage {
            Coverage::Used(used) => used,
            Coverage::Whole(reason) => panic!("{reason:?}"),
        }
    });
    assert_eq!(used[0], used[1]);
}
