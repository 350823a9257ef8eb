//! `$Bitmap`: one bit a cluster, the lowest bit of a byte first, 1 = in use.

use crate::ntfs::stream::Stream;
use crate::ntfs::volume::Volume;
use crate::{Error, UsedBytes};

/// Bytes of the bitmap that are read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// Adds all clusters to `used` whose bit is set.
pub fn add_used(volume: &Volume<'_>, bitmap: &Stream, used: &mut UsedBytes) -> Result<(), Error> {
    let clusters = volume.boot().clusters;
    let bitmap_bytes = clusters.div_ceil(8);
    bitmap.check_written(bitmap_bytes, volume.boot(), "$Bitmap")?;
    let mut runs = SetRuns { volume, used, start: None };
    let mut window = vec![0; WINDOW_BYTES];
    let mut offset = 0_u64;
    while offset < bitmap_bytes {
        let length = usize::try_from(bitmap_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let part = window.get_mut(..length.min(WINDOW_BYTES)).unwrap_or_default();
        volume.read(bitmap, offset, part)?;
        for word in part.chunks(8) {
            runs.visit_word(word, offset.saturating_mul(8), clusters);
            offset = offset.saturating_add(8);
        }
    }
    runs.end_at(clusters);
    Ok(())
}

/// Turns bits into runs of clusters.
struct SetRuns<'a, 'b> {
    volume: &'a Volume<'b>,
    used: &'a mut UsedBytes,
    start: Option<u64>,
}

impl SetRuns<'_, '_> {
    /// Visits the bits of up to 8 bytes, the first of which is for cluster `first`.
    fn visit_word(&mut self, bytes: &[u8], first: u64, clusters: u64) {
        let mut wide = [0; 8];
        for (to, from) in wide.iter_mut().zip(bytes) {
            *to = *from;
        }
        let word = u64::from_le_bytes(wide);
        match (word, self.start) {
            // Most of a bitmap is all free or all used.
            (0, None) | (u64::MAX, Some(_)) => {}
            _ => self.visit_bits(word, first, clusters),
        }
    }

    fn visit_bits(&mut self, word: u64, first: u64, clusters: u64) {
        for bit in 0..64_u32 {
            let cluster = first.saturating_add(u64::from(bit));
            if cluster >= clusters {
                return;
            }
            let is_used = word.checked_shr(bit).unwrap_or(0) & 1 != 0;
            match (is_used, self.start) {
                (true, None) => self.start = Some(cluster),
                (false, Some(_)) => self.end_at(cluster),
                _ => {}
            }
        }
    }

    fn end_at(&mut self, cluster: u64) {
        if let Some(start) = self.start.take() {
            let count = cluster.saturating_sub(start);
            self.used.add_blocks(start, count, self.volume.boot().cluster_size);
        }
    }
}
