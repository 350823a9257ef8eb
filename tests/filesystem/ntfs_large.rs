//! The largest NTFS volume with clusters of 4 KiB: its bitmap has 512 MiB, the survey must not.
//!
//! A test of its own, so that the peak of memory is that of the survey.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::time::Instant;

use filesystem::{Coverage, survey};
use tests::FileDisk;
use tests::ntfs::make_ntfs;

const TIB: u64 = 1 << 40;
const MIB: u64 = 1 << 20;

fn peak_of_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_volume_of_16_tib_is_surveyed_in_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    // ext4 holds no larger file.
    make_ntfs(&image, 16 * TIB - 2 * MIB, &["-c", "4096"]);
    let disk = FileDisk::open(&image);
    let before = peak_of_memory();
    let start = Instant::now();
    let survey = survey(&disk);
    let (elapsed, grown) = (start.elapsed(), peak_of_memory() - before);
    println!("{elapsed:?}, {} KiB more memory", grown / 1024);
    let Coverage::Used(used) = survey.coverage else { panic!("{:?}", survey.coverage) };
    assert!((500 * MIB..700 * MIB).contains(&used.total_bytes()), "{}", used.total_bytes());
    assert!(grown < 16 * MIB, "{grown} bytes");
}
