//! UFS1 and UFS2 of BSD, Solaris and others, in either byte order.
//!
//! Source: FreeBSD `sys/ufs/ffs/fs.h` (`struct fs`); util-linux `libblkid/src/superblocks/ufs.c`.

use block::ReadAt;

use super::structure::Structure;
use super::table::Found;
use crate::Error;

const POSITIONS: [u64; 4] = [0, 8 << 10, 64 << 10, 256 << 10];
/// Offsets in the superblock.
const ID: usize = 144;
const VOLUME_NAME: usize = 680;
const MAGIC: usize = 1372;

const UFS2: u32 = 0x1954_0119;
/// UFS1, and its variants with longer names, checked fields, more than 4 GiB.
const OTHERS: [u32; 5] = [0x0001_1954, 0x0019_5612, 0x0009_5014, 0x0061_2195, 0x0523_1994];

/// The number of the file system, which blkid prints as UUID; UFS2 also has a label.
pub fn identify(region: &dyn ReadAt, _: u64) -> Result<Option<Found>, Error> {
    for position in POSITIONS {
        let superblock = Structure::read(region, position)?;
        let is_magic = |number| number == UFS2 || OTHERS.contains(&number);
        let (little, big) = (superblock.u32(MAGIC), superblock.big_u32(MAGIC));
        let (magic, id) = if is_magic(big) {
            (big, [superblock.big_u32(ID), superblock.big_u32(ID + 4)])
        } else if is_magic(little) {
            (little, [superblock.u32(ID), superblock.u32(ID + 4)])
        } else {
            continue;
        };
        let [first, second] = id;
        let uuid = (id != [0, 0]).then(|| format!("{first:08x}{second:08x}"));
        let label = if magic == UFS2 { superblock.text(VOLUME_NAME, 32) } else { None };
        return Ok(Some(Found { kind: None, uuid, label }));
    }
    Ok(None)
}
