//! Files to fill a file system with, the same in every run.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

/// Bytes that tell where they belong.
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Files of many sizes, directories, fragments, holes, links; a third is deleted again. About 4 MiB.
///
/// # Panics
/// Where the file system refuses.
pub fn fill(directory: &Path) {
    for (number, length) in
        [0, 1, 59, 60, 160, 1023, 1024, 1025, 4096, 5000, 70_000, 400_000, 2_500_000].into_iter().enumerate()
    {
        fs::write(directory.join(format!("size-{length}")), content(number as u64, length)).unwrap();
    }
    let deep = directory.join("a/b/c/d");
    fs::create_dir_all(&deep).unwrap();
    for number in 0..150_u64 {
        fs::write(deep.join(format!("a name that fills the directory {number:04}")), content(number, 1500)).unwrap();
    }
    // Two files that grow in turns lie in many pieces.
    let mut pair = ["left", "right"].map(|name| File::create(directory.join(name)).unwrap());
    for turn in 0..12_u64 {
        for file in &mut pair {
            file.write_all(&content(turn, 30_000)).unwrap();
            file.sync_data().unwrap();
        }
    }
    let holes = File::create(directory.join("holes")).unwrap();
    for position in [0, 300_000, 5_000_000, 90_000_000] {
        holes.write_all_at(&content(position, 3000), position).unwrap();
    }
    symlink("size-4096", directory.join("short link")).unwrap();
    symlink("x".repeat(200), directory.join("long link")).unwrap();
    fs::hard_link(directory.join("size-70000"), directory.join("second name")).unwrap();
    for number in (0..150).step_by(3) {
        fs::remove_file(deep.join(format!("a name that fills the directory {number:04}"))).unwrap();
    }
    fs::remove_file(directory.join("size-400000")).unwrap();
}
