//! A Btrfs of 16 TiB: the survey reads its trees, not its size.
//!
//! A test of its own, so that the peak of memory is that of the survey.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::time::Instant;

use filesystem::Coverage;
use tests::btrfs::BtrfsImage;
use tests::run;

const TIB: u64 = 1 << 40;
const MIB: u64 = 1 << 20;
const FILES: u64 = 3;

fn peak_of_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_file_system_of_16_tib_is_surveyed_in_little_memory() {
    // ext4 holds no larger file.
    let image = BtrfsImage::make(1, 16 * TIB - 2 * MIB, "");
    {
        // Reserved space: chunks and extents over the whole device, without a byte written to them.
        let mounted = image.mount("rw");
        for number in 0..FILES {
            run("fallocate", ["-l", "1TiB", &mounted.path().join(number.to_string()).display().to_string()]);
        }
    }
    let before = peak_of_memory();
    let start = Instant::now();
    let survey = image.survey(0);
    let (elapsed, grown) = (start.elapsed(), peak_of_memory() - before);
    println!("{elapsed:?}, {} KiB more memory", grown / 1024);
    let Coverage::Used(used) = survey.coverage else { panic!("{:?}", survey.coverage) };
    assert!((FILES * TIB..FILES * TIB + 4096 * MIB).contains(&used.total_bytes()), "{}", used.total_bytes());
    assert!(grown < 32 * MIB, "{grown} bytes");
}
