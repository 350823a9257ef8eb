//! The bodies of the fuzzers over some thousands of inputs that are the same on every run, so that an ordinary test
//! run proves the bodies. `tests/fuzz` goes on from here without end.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use tests::fuzz_bodies::{Outcome, Subject};

/// Numbers that break parsers when they stand where a size or a block number is expected.
const ODD: [u8; 12] = [0, 0, 1, 2, 0x0F, 0x10, 0x7F, 0x80, 0x81, 0xFE, 0xFF, 0xFF];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (value ^ value >> 31) as usize % limit
    }

    fn byte(&mut self) -> u8 {
        if self.below(2) == 0 { ODD[self.below(ODD.len())] } else { self.below(256) as u8 }
    }

    fn input(&mut self, samples: usize) -> Vec<u8> {
        let mut input = vec![self.below(samples) as u8];
        for _ in 0..=self.below(4) {
            // The first pages hold what everything else is found by.
            let page = if self.below(2) == 0 { self.below(3) } else { self.below(1 << 16) } as u16;
            let length = self.below(8);
            input.extend(page.to_le_bytes());
            input.extend((self.below(4096) as u16).to_le_bytes());
            input.push(length as u8);
            input.extend((0..=length).map(|_| self.byte()));
        }
        input
    }
}

fn check(subject: &Subject, iterations: usize) {
    for sample in 0..subject.sample_count() {
        assert_eq!(subject.check(&[sample as u8]), Outcome::Understood, "sample {sample} as it was made");
    }
    let mut random = Random(1);
    let mut understood = 0;
    for _ in 0..iterations {
        let input = random.input(subject.sample_count());
        understood += usize::from(subject.check(&input) == Outcome::Understood);
    }
    // Where every input is understood or none is, the inputs prove nothing.
    assert!(understood > 0 && understood < iterations, "{understood} of {iterations} understood");
    // Bytes that are no sample at all.
    for length in [0, 1, 511, 512, 1024, 4096, 70_000] {
        let mut input = vec![subject.sample_count() as u8];
        input.extend((0..length).map(|_| random.byte()));
        subject.check(&input);
    }
}

#[test]
fn ext() {
    check(&Subject::ext(), 2000);
}

#[test]
fn swap() {
    check(&Subject::swap(), 2000);
}

#[test]
fn ntfs() {
    check(&Subject::ntfs(), 2000);
}

#[test]
fn fat() {
    check(&Subject::fat(), 500);
}

#[test]
fn xfs() {
    check(&Subject::xfs(), 2000);
}

#[test]
fn lvm() {
    check(&Subject::lvm(), 2000);
}

#[test]
fn md() {
    check(&Subject::md(), 2000);
}

#[test]
fn drbd() {
    check(&Subject::drbd(), 1000);
}

#[test]
fn hfsplus() {
    check(&Subject::hfsplus(), 2000);
}

#[test]
fn jfs() {
    check(&Subject::jfs(), 2000);
}

#[test]
fn reiserfs() {
    check(&Subject::reiserfs(), 2000);
}

#[test]
fn ufs() {
    check(&Subject::ufs(), 2000);
}

#[test]
fn vmfs() {
    check(&Subject::vmfs(), 2000);
}

#[test]
fn foreign() {
    check(&Subject::foreign(), 1000);
}

#[test]
fn btrfs() {
    check(&Subject::btrfs(), 2000);
}

#[test]
fn exfat() {
    check(&Subject::exfat(), 2000);
}

#[test]
fn f2fs() {
    check(&Subject::f2fs(), 2000);
}

#[test]
fn layout() {
    check(&Subject::layout(), 2000);
}

#[test]
fn files_of_a_repository() {
    let mut random = Random(7);
    for _ in 0..20_000 {
        let length = random.below(200);
        let mut input = vec![random.below(256) as u8];
        input.extend((0..length).map(|_| random.byte()));
        tests::fuzz_image::check(&input);
    }
    // A map that is whole: 3 chunks, the first zero, one extent. The bodies must reach what lies behind the digest.
    let mut map = vec![1];
    for number in [3_u64 << 18, 1, 3, 0, 3 << 18] {
        map.extend(number.to_le_bytes());
    }
    for number in [0_u32, 1, 1, 2] {
        map.extend(number.to_le_bytes());
    }
    map.extend([0xAB; 64]);
    tests::fuzz_image::check(&map);
}
