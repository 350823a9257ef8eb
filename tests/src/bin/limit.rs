//! The limits that a save and a restore can't pass: the work of zstd on the same chunks, on all
//! cores, and nothing else. Prints `compress SECONDS BYTES STORED` and `decompress SECONDS`.
//!
//! ```text
//! limit FILE LEVEL
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use block::{ReadAt, is_zero};
use filesystem::survey;
use image::{CHUNK_SIZE, ChunkGrid};
use tests::FileDisk;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let level = arguments[2].parse().unwrap();
    let chunks = chunks_of(Path::new(&arguments[1]));
    let bytes: usize = chunks.iter().map(Vec::len).sum();

    let clock = Instant::now();
    let frames = on_all_cores(&chunks, || {
        let mut compressor = zstd::bulk::Compressor::new(level).unwrap();
        move |chunk: &Vec<u8>| compressor.compress(chunk).unwrap()
    });
    let stored: usize = frames.iter().map(Vec::len).sum();
    println!("compress {:.3} {bytes} {stored}", clock.elapsed().as_secs_f64());

    let clock = Instant::now();
    let decompressed = on_all_cores(&frames, || {
        let mut decompressor = zstd::bulk::Decompressor::new().unwrap();
        let mut buffer = vec![0; CHUNK_SIZE as usize];
        move |frame: &Vec<u8>| decompressor.decompress_to_buffer(frame, &mut buffer[..]).unwrap()
    });
    assert_eq!(decompressed.into_iter().sum::<usize>(), bytes);
    println!("decompress {:.3}", clock.elapsed().as_secs_f64());
}

/// The chunks of a file system that hold used bytes other than zeros, with unused bytes cleared.
fn chunks_of(path: &Path) -> Vec<Vec<u8>> {
    let disk = FileDisk::open(path);
    let grid = ChunkGrid::new(disk.size());
    let used = survey(&disk).coverage.extents(disk.size());
    let mut chunks = Vec::new();
    for number in grid.covered(&used).flat_map(|range| range.first..range.end()) {
        let extent = grid.extent(number);
        let mut chunk = vec![0; extent.length() as usize];
        for part in used.overlapping(extent) {
            let start = (part.start() - extent.start()) as usize;
            disk.read_at(part.start(), &mut chunk[start..start + part.length() as usize]).unwrap();
        }
        if !is_zero(&chunk) {
            chunks.push(chunk);
        }
    }
    chunks
}

/// Applies a function to every item, on all cores; each thread has its own.
fn on_all_cores<I: Sync, O: Send, F: FnMut(&I) -> O>(items: &[I], make: impl Fn() -> F + Sync) -> Vec<O> {
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().unwrap().get();
    let mut results: Vec<(usize, O)> = thread::scope(|scope| {
        let work = || {
            let mut function = make();
            let mut done = Vec::new();
            while let Some((number, item)) =
                Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < items.len()).map(|n| (n, &items[n]))
            {
                done.push((number, function(item)));
            }
            done
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
