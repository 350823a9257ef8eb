//! The limits that a save and a restore can't pass: the work of zstd on the same chunks, on all
//! cores, and nothing else; for a save also with what the image format asks for besides, the name and the check of
//! each record. Prints `compress SECONDS BYTES STORED PROCESSOR_SECONDS`, `records SECONDS PROCESSOR_SECONDS` and
//! `decompress SECONDS`.
//!
//! ```text
//! limit FILE LEVEL
//! ```
#![forbid(unsafe_code)]
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use block::{ReadAt, is_zero};
use filesystem::survey;
use image::{CHUNK_SIZE, ChunkGrid, ChunkId, Encoder};
use tests::FileDisk;

/// A zstd frame at the start of a buffer.
struct Frame {
    bytes: Vec<u8>,
    length: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let level = arguments[2].parse().unwrap();
    let chunks = chunks_of(Path::new(&arguments[1]));
    let bytes: usize = chunks.iter().map(Vec::len).sum();

    // Into buffers that are there already, as the program does: new memory for every frame would be measured instead.
    let mut frames: Vec<Frame> = chunks
        .iter()
        .map(|chunk| Frame { bytes: vec![1; zstd::zstd_safe::compress_bound(chunk.len())], length: 0 })
        .collect();
    let (clock, before) = (Instant::now(), processor_seconds());
    on_all_cores(&mut frames, &chunks, || {
        let mut compressor = zstd::bulk::Compressor::new(level).unwrap();
        move |frame: &mut Frame, chunk: &Vec<u8>| {
            frame.length = compressor.compress_to_buffer(chunk, &mut frame.bytes[..]).unwrap()
        }
    });
    let stored: usize = frames.iter().map(|frame| frame.length).sum();
    println!("compress {:.3} {bytes} {stored} {:.3}", clock.elapsed().as_secs_f64(), processor_seconds() - before);

    let (clock, before) = (Instant::now(), processor_seconds());
    let mut records = vec![0; frames.len()];
    on_all_cores(&mut records, &chunks, || {
        let mut encoder = Encoder::new(level).unwrap();
        let mut buffer = Vec::new();
        move |stored: &mut u32, chunk: &Vec<u8>| {
            buffer.clear();
            *stored = encoder.encode(ChunkId::of(chunk), chunk, &mut buffer);
        }
    });
    println!("records {:.3} {:.3}", clock.elapsed().as_secs_f64(), processor_seconds() - before);
    assert!(records.iter().map(|stored| *stored as usize).sum::<usize>() <= stored);

    let clock = Instant::now();
    let mut lengths = vec![0; frames.len()];
    on_all_cores(&mut lengths, &frames, || {
        let mut decompressor = zstd::bulk::Decompressor::new().unwrap();
        let mut buffer = vec![0; CHUNK_SIZE as usize];
        move |length: &mut usize, frame: &Frame| {
            *length = decompressor.decompress_to_buffer(&frame.bytes[..frame.length], &mut buffer[..]).unwrap();
        }
    });
    assert_eq!(lengths.into_iter().sum::<usize>(), bytes);
    println!("decompress {:.3}", clock.elapsed().as_secs_f64());
}

/// Processor time that all threads of this process have used.
fn processor_seconds() -> f64 {
    // Behind the name of the program: the state, ten numbers, and the times in hundredths of a second (proc(5)).
    let status = std::fs::read_to_string("/proc/self/stat").unwrap();
    let times = status.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(2);
    times.map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
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

/// Applies a function to every item and the place of its result, on all cores; each thread has its own.
fn on_all_cores<I: Sync, O: Send, F: FnMut(&mut O, &I)>(results: &mut [O], items: &[I], make: impl Fn() -> F + Sync) {
    let cores = thread::available_parallelism().unwrap().get();
    let work = Mutex::new(results.iter_mut().zip(items));
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut function = make();
                loop {
                    let Some((result, item)) = work.lock().unwrap().next() else { break };
                    function(result, item);
                }
            });
        }
    });
}
