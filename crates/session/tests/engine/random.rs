//! Any disk with any coverage comes back.

use block::{Extents, InRegion, MemoryDisk, RegionExtent, SectorSize, WriteAt};
use filesystem::Coverage;
use image::MemoryStore;
use proptest::prelude::*;

use crate::samples::{Random, gpt, used_disk};
use crate::work::*;

/// A disk with random partitions and contents, all drawn from one seed.
fn disk(random: &mut Random) -> MemoryDisk {
    let size = (400 + random.below(6000)) * 512;
    let disk = match random.below(3) {
        0 => MemoryDisk::new(size + random.below(512)),
        _ => {
            let mut partitions = Vec::new();
            let mut next = 34 + random.below(100);
            while partitions.len() < 6 {
                let last = next + random.below(1500);
                if last >= size / 512 - 34 {
                    break;
                }
                partitions.push((next, last));
                next = last + 1 + random.below(3) * random.below(200);
            }
            gpt(size, SectorSize::B512, &partitions)
        }
    };
    let layout = layout::read(&disk).unwrap();
    for region in &layout.regions {
        for _ in 0..random.below(6) {
            let start = region.extent.start() + random.below(region.extent.length());
            let length = random.below(300_000).min(region.extent.end() - start);
            let bytes = match random.below(3) {
                0 => vec![0; length as usize],
                1 => vec![random.next() as u8; length as usize],
                _ => random.bytes(length),
            };
            disk.write_at(start, &bytes).unwrap();
        }
    }
    disk
}

fn coverage(random: &mut Random, length: u64) -> Extents<InRegion> {
    (0..random.below(8))
        .map(|_| {
            let start = random.below(length);
            RegionExtent::between(start, (start + random.below(400_000)).min(length))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_saved_byte_comes_back(seed in 1..u64::MAX) {
        let mut random = Random(seed);
        let (disk, store) = (disk(&mut random), MemoryStore::new());
        let mut plan = plan(&store, "one", &disk).unwrap();
        for number in 0..plan.disks[0].regions.len() {
            let length = plan.disks[0].layout.regions[number].extent.length();
            let region = &mut plan.disks[0].regions[number];
            if random.below(2) == 0 {
                region.extents = coverage(&mut random, length);
                region.survey.coverage = Coverage::Used(region.extents.clone());
            }
        }
        let threads = (1 + random.below(3) as usize, 1 + random.below(3) as usize);
        let cancel = session::Cancel::new();
        session::save(&store, &[source("sda", &disk)], &plan, &settings(threads.0, threads.1), &(), &cancel).unwrap();
        assert_whole(&store, "one", &disk);
        let restored = used_disk(block::ReadAt::size(&disk), None);
        restore_with(&store, "one", &restored, read_back(), threads.0, &(), &cancel).unwrap();
        assert_restored(&plan, &disk, &restored, 0xA5);
        assert_whole(&store, "one", &restored);
    }
}
