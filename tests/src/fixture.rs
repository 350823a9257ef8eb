//! Samples that stand compressed in `tests/fixtures`, with the script that made them.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use crate::tool::run_status;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Unpacks `fixtures/NAME.img.zst` to `image`, with holes where it has them.
///
/// # Panics
/// Where it is missing or damaged.
pub fn unpack(name: &str, image: &Path) {
    let source = path(&format!("{name}.img.zst"));
    let file = File::open(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let mut decoder = zstd::Decoder::new(BufReader::new(file)).unwrap();
    std::io::copy(&mut decoder, &mut File::create(image).unwrap()).unwrap();
}

/// The files that a sample holds and their SHA-256, as the kernel that filled it read them.
///
/// # Panics
/// Where the list is missing.
pub fn files(name: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(path(&format!("{name}.sha256"))).unwrap();
    let files: Vec<_> = text
        .lines()
        .map(|line| line.split_once("  .").unwrap_or_else(|| panic!("{line:?} in the list of {name}")))
        .map(|(digest, path)| (path.to_owned(), digest.to_owned()))
        .collect();
    assert!(files.len() > 100, "{} files of {name}", files.len());
    files
}

/// Checks that the boot loader's own reader finds these files in a file system, and in them what the kernel found.
///
/// # Panics
/// Where a file is missing or holds something else.
pub fn check_files(image: &Path, files: &[(String, String)]) {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy");
    let (image, copy) = (image.to_str().unwrap(), copy.to_str().unwrap());
    for (path, digest) in files {
        let _ = fs::remove_file(copy);
        let output = run_status("grub-fstest", [image, "cp", path, copy]);
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        let found = crate::run("sha256sum", [copy]);
        assert_eq!(found.split_whitespace().next(), Some(digest.as_str()), "{path}");
    }
}
