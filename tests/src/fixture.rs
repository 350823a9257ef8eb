//! Samples that a virtual machine made once, because no tool or kernel here can. They stand compressed in
//! `tests/fixtures`, with the scripts that made them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::is_zero;

use crate::tool::run_status;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Unpacks `tests/fixtures/NAME.zst` into a sparse file in `directory`.
///
/// # Panics
/// Where it is missing or damaged.
pub fn unpack(name: &str, directory: &Path) -> PathBuf {
    let image = directory.join(name.replace('/', "-"));
    unpack_to(name, &image);
    image
}

/// Unpacks `tests/fixtures/NAME.zst` into a sparse file.
///
/// # Panics
/// As [`unpack`].
pub fn unpack_to(name: &str, image: &Path) {
    let packed = path(&format!("{name}.zst"));
    let packed = File::open(&packed).unwrap_or_else(|error| panic!("{}: {error}", packed.display()));
    let mut content = zstd::stream::read::Decoder::new(packed).unwrap();
    let file = File::create(image).unwrap();
    let mut piece = vec![0; 64 << 10];
    let mut position = 0_u64;
    loop {
        let length = content.read(&mut piece).unwrap();
        if length == 0 {
            file.set_len(position).unwrap();
            return;
        }
        if !is_zero(&piece[..length]) {
            file.write_all_at(&piece[..length], position).unwrap();
        }
        position += length as u64;
    }
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
