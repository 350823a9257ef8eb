//! The feature bits of ext2, ext3 and ext4, and which of them this program understands.
//!
//! Source: Linux `Documentation/filesystems/ext4/super.rst`; e2fsprogs `lib/ext2fs/ext2_fs.h`.

use crate::Error;

/// Compatible: a system that does not know them may write.
pub mod compat {
    pub const HAS_JOURNAL: u32 = 0x4;
    pub const SPARSE_SUPER2: u32 = 0x200;
    pub const FAST_COMMIT: u32 = 0x400;
    pub const STABLE_INODES: u32 = 0x800;
    pub const ORPHAN_FILE: u32 = 0x1000;
    /// Directory preallocation, imagic inodes, journal, extended attributes, resize inode, directory index,
    /// sparse_super2, fast commits, stable inodes, orphan file. Not: lazy_bg and the snapshot bitmaps.
    pub const KNOWN: u32 =
        0x1 | 0x2 | HAS_JOURNAL | 0x8 | 0x10 | 0x20 | SPARSE_SUPER2 | FAST_COMMIT | STABLE_INODES | ORPHAN_FILE;
}

/// Incompatible: a system that does not know them may not mount.
pub mod incompat {
    pub const FILETYPE: u32 = 0x2;
    pub const RECOVER: u32 = 0x4;
    pub const JOURNAL_DEV: u32 = 0x8;
    pub const META_BG: u32 = 0x10;
    pub const SIXTY_FOUR_BIT: u32 = 0x80;
    pub const MMP: u32 = 0x100;
    pub const FLEX_BG: u32 = 0x200;
    pub const EA_INODE: u32 = 0x400;
    pub const CSUM_SEED: u32 = 0x2000;
    /// File types, recovery, meta groups, extents, 64 bit, multiple mount protection, flexible groups, attributes in
    /// inodes, checksum seed, large directories, inline data, encryption, case folding. Not: compression, data in
    /// directory entries.
    pub const KNOWN: u32 = FILETYPE
        | RECOVER
        | META_BG
        | 0x40
        | SIXTY_FOUR_BIT
        | MMP
        | FLEX_BG
        | EA_INODE
        | CSUM_SEED
        | 0x4000
        | 0x8000
        | 0x1_0000
        | 0x2_0000;
    /// Those that ext3 understands.
    pub const EXT3: u32 = FILETYPE | RECOVER | META_BG;
}

/// Compatible for reading: a system that does not know them may only read.
pub mod ro_compat {
    pub const SPARSE_SUPER: u32 = 0x1;
    pub const GDT_CSUM: u32 = 0x10;
    pub const BIGALLOC: u32 = 0x200;
    pub const METADATA_CSUM: u32 = 0x400;
    /// Sparse superblocks, large and huge files, B-tree directories, descriptor checksums, many links, large inodes,
    /// quota, bigalloc, metadata checksums, read-only, project quota, shared blocks, verity, orphans present. Not:
    /// snapshots, replica.
    pub const KNOWN: u32 = SPARSE_SUPER
        | 0x2
        | 0x4
        | 0x8
        | GDT_CSUM
        | 0x20
        | 0x40
        | 0x100
        | BIGALLOC
        | METADATA_CSUM
        | 0x1000
        | 0x2000
        | 0x4000
        | 0x8000
        | 0x1_0000;
    /// Those that ext3 understands.
    pub const EXT3: u32 = SPARSE_SUPER | 0x2 | 0x4;
}

/// The three sets of features of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    pub compat: u32,
    pub incompat: u32,
    pub ro_compat: u32,
}

impl Features {
    /// Whether a compatible feature is there.
    pub fn compat(&self, bit: u32) -> bool {
        self.compat & bit != 0
    }

    /// Whether an incompatible feature is there.
    pub fn incompat(&self, bit: u32) -> bool {
        self.incompat & bit != 0
    }

    /// Whether a feature that only reading systems may ignore is there.
    pub fn ro_compat(&self, bit: u32) -> bool {
        self.ro_compat & bit != 0
    }

    /// The features that decide where metadata lies and how it is protected.
    pub fn of_layout(&self) -> Self {
        use self::{compat as c, incompat as i, ro_compat as r};
        Self {
            compat: self.compat & (c::HAS_JOURNAL | c::SPARSE_SUPER2 | c::FAST_COMMIT),
            incompat: self.incompat & (i::META_BG | i::SIXTY_FOUR_BIT | i::MMP | i::FLEX_BG | i::CSUM_SEED),
            ro_compat: self.ro_compat & (r::SPARSE_SUPER | r::GDT_CSUM | r::BIGALLOC | r::METADATA_CSUM),
        }
    }

    /// Fails where a feature is not understood. Also a compatible one: it may keep blocks in a way of its own, as
    /// snapshots did.
    pub fn require_known(&self) -> Result<(), Error> {
        let unknown = [
            ("compat", self.compat & !compat::KNOWN),
            ("incompat", self.incompat & !incompat::KNOWN),
            ("ro_compat", self.ro_compat & !ro_compat::KNOWN),
        ];
        match unknown.iter().find(|(_, bits)| *bits != 0) {
            Some((set, bits)) => Err(Error::Unsupported(format!("unknown {set} feature bits {bits:#x}"))),
            None => Ok(()),
        }
    }

    /// `ext2`, `ext3`, `ext4` or `jbd`, as blkid tells them apart.
    pub fn kind(&self) -> &'static str {
        let beyond_ext3 = self.incompat & !incompat::EXT3 != 0 || self.ro_compat & !ro_compat::EXT3 != 0;
        if self.incompat(incompat::JOURNAL_DEV) {
            "jbd"
        } else if beyond_ext3 {
            "ext4"
        } else if self.compat(compat::HAS_JOURNAL) {
            "ext3"
        } else {
            "ext2"
        }
    }
}
