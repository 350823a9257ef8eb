//! Memory for direct I/O, and a fast look for zeros.

use std::ops::{Deref, DerefMut};

/// Where buffers for direct I/O start, in bytes: enough for every logical sector size in use.
pub const BUFFER_ALIGNMENT: usize = 4096;

/// Zero-filled memory whose first byte lies on a multiple of [`BUFFER_ALIGNMENT`].
pub struct AlignedBuffer {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl AlignedBuffer {
    /// `length` bytes of zeros.
    pub fn new(length: usize) -> Self {
        let memory = vec![0; length.saturating_add(BUFFER_ALIGNMENT)];
        let start = memory.as_ptr().align_offset(BUFFER_ALIGNMENT);
        Self { memory, start, length }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory.get(self.start..self.start.saturating_add(self.length)).unwrap_or_default()
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(self.start..self.start.saturating_add(self.length)).unwrap_or_default()
    }
}

/// Whether all of `bytes` are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // In blocks, so that the compiler uses vector instructions and a first non-zero byte ends the look soon.
    let mut blocks = bytes.chunks_exact(256);
    blocks.all(|block| block.iter().fold(0, |seen, byte| seen | byte) == 0)
        && bytes.chunks_exact(256).remainder().iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_aligned_and_of_the_length_asked_for() {
        for length in [0, 1, 4096, 1 << 20] {
            let buffer = AlignedBuffer::new(length);
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.as_ptr().align_offset(BUFFER_ALIGNMENT), 0);
        }
    }

    #[test]
    fn one_byte_anywhere_is_not_zero() {
        for length in [1, 255, 256, 257, 1000] {
            assert!(is_zero(&vec![0; length]));
            for position in 0..length {
                let mut bytes = vec![0; length];
                bytes[position] = 1;
                assert!(!is_zero(&bytes), "byte {position} of {length}");
            }
        }
    }
}
