//! Which blocks partclone saves of a file system: an independent reader to compare coverage with.
//!
//! Source: partclone's `src/partclone.h` (image version 0002): header of 110 bytes, then one bit a block,
//! lowest bit first.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use block::{Extents, InRegion, RegionExtent};

use crate::tool::run;

/// Length of the header before the bitmap.
const HEADER_LENGTH: usize = 110;
/// The value of the field `bitmap_mode` for a bitmap with one bit a block.
const BITMAP_OF_BITS: u8 = 1;

/// The block size that `program` (`partclone.extfs`, `partclone.ntfs`, `partclone.fat`, `partclone.xfs`) counts in,
/// and the bytes that it saves of the file system in the file `image`.
///
/// # Panics
/// Where partclone refuses the file system or writes an image of another version.
pub fn used_blocks(program: &str, image: &Path) -> (u32, Extents<InRegion>) {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("partclone-image");
    let log = directory.path().join("log");
    run(
        program,
        ["-c", "-q", "-F", "-a0", "-s"].map(AsRef::as_ref).into_iter().chain([
            image.as_os_str(),
            "-o".as_ref(),
            output.as_os_str(),
            "-L".as_ref(),
            log.as_os_str(),
        ]),
    );
    let mut file = File::open(&output).unwrap();
    let mut header = [0; HEADER_LENGTH];
    file.read_exact(&mut header).unwrap();
    assert_eq!(&header[..16], b"partclone-image\0");
    assert_eq!(&header[30..34], b"0002", "version of the partclone image");
    assert_eq!(header[105], BITMAP_OF_BITS, "bitmap mode of the partclone image");
    let blocks = u64::from_le_bytes(header[60..68].try_into().unwrap());
    let block_size = u32::from_le_bytes(header[84..88].try_into().unwrap());
    let mut bitmap = vec![0; usize::try_from(blocks.div_ceil(8)).unwrap()];
    file.read_exact(&mut bitmap).unwrap();
    let size = u64::from(block_size);
    let used = (0..blocks)
        .filter(|block| bitmap[usize::try_from(block / 8).unwrap()] >> (block % 8) & 1 == 1)
        .map(|block| RegionExtent::between(block * size, (block + 1) * size));
    let mut extents = Extents::new();
    used.for_each(|extent| extents.insert(extent));
    (block_size, extents)
}
