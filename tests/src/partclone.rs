//! Which blocks partclone saves of a file system: an independent reader to compare coverage with.
//!
//! Source: partclone's `src/partclone.h` (image version 0002): header of 110 bytes, then one bit a block,
//! lowest bit first.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;
use std::process::Stdio;

use block::{Extents, InRegion, RegionExtent};

use crate::tool::command;

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
    let log = directory.path().join("log");
    let arguments = ["-c", "-q", "-F", "-a0", "-s"].map(OsStr::new).into_iter();
    let paths = [image.as_os_str(), "-o".as_ref(), "-".as_ref(), "-L".as_ref(), log.as_os_str()];
    let mut child = command(program, arguments.chain(paths))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}; `make tools` installs it"));
    let mut output = child.stdout.take().unwrap();
    let head = read_head(&mut output);
    // The data after the map is of no use here; waiting for its end takes partclone two seconds.
    drop(output);
    child.kill().unwrap();
    child.wait().unwrap();
    let (header, bitmap) = head.unwrap_or_else(|error| {
        panic!("{program}: {error}\n{}", std::fs::read_to_string(&log).unwrap_or_default());
    });
    assert_eq!(&header[..16], b"partclone-image\0");
    assert_eq!(&header[30..34], b"0002", "version of the partclone image");
    assert_eq!(header[105], BITMAP_OF_BITS, "bitmap mode of the partclone image");
    let blocks = blocks_of(&header);
    let block_size = u32::from_le_bytes(header[84..88].try_into().unwrap());
    let size = u64::from(block_size);
    let used = (0..blocks)
        .filter(|block| bitmap[usize::try_from(block / 8).unwrap()] >> (block % 8) & 1 == 1)
        .map(|block| RegionExtent::between(block * size, (block + 1) * size));
    let mut extents = Extents::new();
    used.for_each(|extent| extents.insert(extent));
    (block_size, extents)
}

/// The header and the bitmap that follows it.
fn read_head(output: &mut impl Read) -> io::Result<([u8; HEADER_LENGTH], Vec<u8>)> {
    let mut header = [0; HEADER_LENGTH];
    output.read_exact(&mut header)?;
    let mut bitmap = vec![0; usize::try_from(blocks_of(&header).div_ceil(8)).unwrap()];
    output.read_exact(&mut bitmap)?;
    Ok((header, bitmap))
}

fn blocks_of(header: &[u8; HEADER_LENGTH]) -> u64 {
    u64::from_le_bytes(header[60..68].try_into().unwrap())
}
