//! HFS, the predecessor of HFS+. A volume that holds one of HFS+ counts as that.
//!
//! Source: Apple "Inside Macintosh: Files", "Master Directory Blocks".

use block::ReadAt;

use super::table::Found;
use crate::Error;
use crate::identity::label_text;
use crate::structure::Structure;

const POSITION: u64 = 1024;
/// Offsets in the master directory block.
const BLOCK_SIZE: usize = 20;
const NAME_LENGTH: usize = 36;
const NAME: usize = 37;
const LONGEST_NAME: usize = 27;
const EMBEDDED_SIGNATURE: usize = 124;

/// The name of the volume.
pub fn identify(region: &dyn ReadAt, _: u64) -> Result<Option<Found>, Error> {
    let block = Structure::read(region, POSITION)?;
    let block_size = block.big_u32(BLOCK_SIZE);
    let is_wrapper = block.has(EMBEDDED_SIGNATURE, b"H+") || block.has(EMBEDDED_SIGNATURE, b"HX");
    if !block.has(0, b"BD") || is_wrapper || block_size == 0 || block_size % 512 != 0 {
        return Ok(None);
    }
    let [length] = block.array(NAME_LENGTH);
    let label = label_text(block.bytes(NAME, usize::from(length).min(LONGEST_NAME)));
    Ok(Some(Found { kind: None, uuid: None, label }))
}
