//! The bytes of a special file.

use block::{ReadAt, read_vec};

use super::volume_header::{ForkData, VolumeHeader};
use crate::Error;

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Byte in the file.
    pub offset: u64,
    /// Byte in the region.
    pub position: u64,
    /// Number of bytes.
    pub length: u64,
}

/// The pieces of a file that the volume header itself lists: eight at most.
pub fn pieces(header: &VolumeHeader, fork: &ForkData) -> Vec<Piece> {
    let block_size = u64::from(header.block_size.get());
    let mut offset = 0_u64;
    let mut pieces = Vec::new();
    for extent in fork.extents.iter().take_while(|extent| extent.block_count.get() > 0) {
        let length = u64::from(extent.block_count.get()).saturating_mul(block_size);
        let position = u64::from(extent.start_block.get()).saturating_mul(block_size);
        pieces.push(Piece { offset, position, length });
        offset = offset.saturating_add(length);
    }
    pieces
}

/// `length` bytes of a file from `offset`; `None` where they are not in one listed piece.
pub fn read(
    region: &dyn ReadAt,
    header: &VolumeHeader,
    fork: &ForkData,
    offset: u64,
    length: u16,
) -> Result<Option<Vec<u8>>, Error> {
    let end = offset.saturating_add(length.into());
    let pieces = pieces(header, fork);
    let piece = pieces.iter().find(|piece| piece.offset <= offset && end <= piece.offset.saturating_add(piece.length));
    let Some(piece) = piece else { return Ok(None) };
    let position = piece.position.saturating_add(offset.saturating_sub(piece.offset));
    if position.saturating_add(length.into()) > region.size() {
        return Ok(None);
    }
    Ok(Some(read_vec(region, position, length.into())?))
}
