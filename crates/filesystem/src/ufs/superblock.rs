//! The superblock, `struct fs`.
//!
//! Source: FreeBSD `sys/ufs/ffs/fs.h` (`struct fs`), `ffs_subr.c` (`validate_sblock`); NetBSD `sys/ufs/ffs/fs.h` for
//! the flags; util-linux `libblkid/src/superblocks/ufs.c` for what counts as recognised.

use block::ReadAt;

use crate::Error;
use crate::structure::{Structure, WordOrder};

/// Where a superblock may lie. UFS2 lies at the third, on floppies and from `makefs` at others.
const POSITIONS: [u64; 4] = [0, 8 << 10, 64 << 10, 256 << 10];

const UFS2: u32 = 0x1954_0119;
/// UFS1, and its variants with longer names, checked fields, more than 4 GiB.
const OTHERS: [u32; 5] = [0x0001_1954, 0x0019_5612, 0x0009_5014, 0x0061_2195, 0x0523_1994];

/// `fs_clean` after it was unmounted.
const CLEAN: u8 = 1;
/// Bits of `fs_flags` after which the bitmaps may be wrong: not clean when mounted, must be checked.
const UNSOUND: u32 = 0x1 | 0x4;
/// Bits of `fs_flags`: a journal below the file system, which may hold newer bitmaps.
const GJOURNAL: u32 = 0x40;
/// FreeBSD's bound for the size of a block.
const LARGEST_BLOCK: u32 = 65536;
/// More groups than any real file system has: 16 EiB in groups of 512 MiB.
const GROUPS_LIMIT: u32 = 1 << 25;

/// Fields of the superblock, with the names of the specification.
#[derive(Clone, Debug)]
pub struct Superblock {
    /// Where it lies in the region.
    pub position: u64,
    /// How its numbers are written, and those of all that follows.
    pub order: WordOrder,
    magic: u32,
    fs_id: [u32; 2],
    volume_name: Option<String>,
    /// First fragment of the copy of the superblock, in a group.
    pub fs_sblkno: u32,
    /// Fragment of the head of a group, in the group.
    pub fs_cblkno: u32,
    /// First fragment behind the inodes, in a group.
    pub fs_dblkno: u32,
    /// Groups.
    pub fs_ncg: u32,
    /// Bytes of a block.
    pub fs_bsize: u32,
    /// Bytes of a fragment.
    pub fs_fsize: u32,
    /// Fragments of a block.
    pub fs_frag: u32,
    /// Bytes of the head of a group with its bitmaps.
    pub fs_cgsize: u32,
    /// Fragments of a group.
    pub fs_fpg: u32,
    /// Fragments of the file system.
    pub fs_size: u64,
    fs_clean: u8,
    fs_flags: u32,
    fs_sblockloc: u64,
    fs_pendingblocks: u64,
    free_blocks: u64,
    free_fragments: u64,
}

/// Finds the superblock.
pub fn read(region: &dyn ReadAt) -> Result<Option<Superblock>, Error> {
    for position in POSITIONS {
        let bytes = Structure::read(region, position)?;
        for order in [WordOrder::Big, WordOrder::Little] {
            let magic = bytes.u32_in(order, 1372);
            if magic == UFS2 || OTHERS.contains(&magic) {
                return Ok(Some(parse(&bytes, position, order, magic)));
            }
        }
    }
    Ok(None)
}

fn parse(bytes: &Structure, position: u64, order: WordOrder, magic: u32) -> Superblock {
    let u32 = |offset| bytes.u32_in(order, offset);
    let u64 = |offset| bytes.u64_in(order, offset);
    Superblock {
        position,
        order,
        magic,
        fs_id: [u32(144), u32(148)],
        volume_name: if magic == UFS2 { bytes.text(680, 32) } else { None },
        fs_sblkno: u32(8),
        fs_cblkno: u32(12),
        fs_dblkno: u32(20),
        fs_ncg: u32(44),
        fs_bsize: u32(48),
        fs_fsize: u32(52),
        fs_frag: u32(56),
        fs_cgsize: u32(160),
        fs_fpg: u32(188),
        fs_size: u64(1080),
        fs_clean: bytes.array::<1>(209)[0],
        fs_flags: u32(1312),
        fs_sblockloc: u64(1000),
        fs_pendingblocks: u64(1104),
        free_blocks: u64(1016),
        free_fragments: u64(1032),
    }
}

impl Superblock {
    /// The number of the file system, which blkid prints as UUID.
    pub fn uuid(&self) -> Option<String> {
        let [first, second] = self.fs_id;
        (self.fs_id != [0, 0]).then(|| format!("{first:08x}{second:08x}"))
    }

    /// The label, which only UFS2 has.
    pub fn label(&self) -> Option<String> {
        self.volume_name.clone()
    }

    /// Bytes of the file system; `None` for UFS1, whose numbers are not looked at.
    pub fn size(&self) -> Option<u64> {
        (self.magic == UFS2).then(|| self.fs_size.saturating_mul(self.fs_fsize.into()))
    }

    /// Fragments that the superblock says are free.
    pub fn free_fragments(&self) -> u64 {
        self.free_blocks.saturating_mul(self.fs_frag.into()).saturating_add(self.free_fragments)
    }

    /// The first fragment of a group.
    pub fn start_of(&self, group: u32) -> u64 {
        u64::from(group).saturating_mul(self.fs_fpg.into())
    }

    /// Fails where the bitmaps may lag behind, or are not understood.
    pub fn check(&self) -> Result<(), Error> {
        if self.magic != UFS2 {
            return Err(Error::Unsupported(format!("UFS1, magic number {:x}", self.magic)));
        }
        if self.fs_flags & GJOURNAL != 0 {
            return Err(Error::Unsupported("journal below the file system".to_owned()));
        }
        if self.fs_clean != CLEAN || self.fs_flags & UNSOUND != 0 || self.fs_pendingblocks != 0 {
            let (clean, flags, pending) = (self.fs_clean, self.fs_flags, self.fs_pendingblocks);
            let detail = format!("not unmounted: clean {clean}, flags {flags:x}, {pending} blocks being freed");
            return Err(Error::NotClean(detail));
        }
        let is_sound = self.fs_sblockloc == self.position
            && self.fs_bsize.is_power_of_two()
            && self.fs_bsize <= LARGEST_BLOCK
            && self.fs_fsize.is_power_of_two()
            && self.fs_fsize >= 512
            && self.fs_fsize.checked_mul(self.fs_frag) == Some(self.fs_bsize)
            && (1..=8).contains(&self.fs_frag)
            && (1..=self.fs_bsize).contains(&self.fs_cgsize)
            && self.fs_sblkno <= self.fs_cblkno
            && self.fs_cblkno < self.fs_dblkno
            && self.fs_dblkno <= self.fs_fpg
            && self.fs_ncg <= GROUPS_LIMIT
            && self.fs_fpg > 0
            && u64::from(self.fs_ncg) == self.fs_size.div_ceil(self.fs_fpg.max(1).into());
        if !is_sound {
            let actual = format!(
                "one of {} at {}, blocks of {} bytes in {} fragments of {}, {} groups of {} for {} fragments",
                self.fs_sblockloc,
                self.position,
                self.fs_bsize,
                self.fs_frag,
                self.fs_fsize,
                self.fs_ncg,
                self.fs_fpg,
                self.fs_size
            );
            return Err(Error::corrupt(self.position, "a superblock whose numbers agree", actual));
        }
        Ok(())
    }
}
