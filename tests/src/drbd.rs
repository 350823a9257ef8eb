//! What DRBD 8.4 does with two halves of a mirror in files: which of them it takes for newer when they meet, and which
//! blocks it copies. Only what decides that is here; `tests/vm/cluster.rs` does the same with the kernel's own.
//!
//! Generations decide first (`drbd_uuid_compare`), then the state of the disks (`drbd_sync_handshake`): where one half is
//! inconsistent, it is overwritten by the other whatever the generations say. A half is inconsistent where the flag that
//! calls it consistent is off, and a mark for a full copy sets all of its bitmap when it is attached.
//!
//! All numbers on the disk are big-endian. Internal metadata: a superblock of 4096 bytes at the end of the device,
//! rounded down, with the generations at 0x08 (current), 0x10 (bitmap), 0x18 and 0x20 (history), flags at 0x38, magic at
//! 0x3c, and the start of the bitmap in sectors from the superblock at 0x4c. One bit is a block of 4096 bytes.
//!
//! Source: LINBIT drbd-headers `drbd_meta_data.h`, drbd-utils `drbdmeta.c`; the rules are numbered as in
//! `drbd_uuid_compare` of Linux `drivers/block/drbd/drbd_receiver.c`; `drbd_adm_attach` in `drbd_nl.c`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::{LoopDevice, run};

/// Bytes of a block.
pub const BLOCK: u64 = 4096;
const MAGIC: u32 = 0x8374_026B;
const MAGIC_UNCLEAN: u32 = 0x8374_026C;
const JUST_CREATED: u64 = 4;
const CONSISTENT: u32 = 1;
const FULL_SYNC: u32 = 8;
const WAS_UP_TO_DATE: u32 = 16;
const LOG_CLEAN: u32 = 128;

/// One half: a part of a disk in a file, attached. What it knows of itself is written when it is given up in order.
pub struct Half {
    disk: File,
    start: u64,
    size: u64,
    current: u64,
    bitmap: u64,
    history: [u64; 2],
    is_consistent: bool,
    /// Whether each block may differ from the peer's.
    out_of_sync: Vec<bool>,
}

/// What two halves make of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Both are taken for equal.
    Equal,
    /// The first took so many blocks from the second.
    FromSecond(usize),
    /// The second took so many blocks from the first.
    FromFirst(usize),
    /// Neither is older.
    SplitBrain,
    /// Both are inconsistent: there is nothing that one could take from the other.
    NobodyIsUpToDate,
}

/// Which half is older by the generations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Older {
    Neither,
    /// All of it is copied, or what the bitmaps say.
    First {
        is_full: bool,
    },
    Second {
        is_full: bool,
    },
    Unclear,
}

/// Makes metadata on a part of a disk, or changes them there, with the real tool.
///
/// # Panics
/// Where drbdmeta refuses.
pub fn drbdmeta(disk: &Path, start: u64, size: u64, arguments: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let (file, opened) = (directory.path().join("half"), OpenOptions::new().read(true).write(true).open(disk).unwrap());
    let mut bytes = vec![0; size as usize];
    opened.read_exact_at(&mut bytes, start).unwrap();
    std::fs::write(&file, &bytes).unwrap();
    let attached = LoopDevice::attach(&file, 512);
    let place = ["--force", "0", "v08", attached.path().to_str().unwrap(), "internal"];
    run("drbdmeta", place.iter().chain(arguments));
    drop(attached);
    opened.write_all_at(&std::fs::read(&file).unwrap(), start).unwrap();
}

impl Half {
    /// Attaches the half in a part of a disk.
    ///
    /// # Panics
    /// Where there are no metadata.
    pub fn attach(disk: &Path, start: u64, size: u64) -> Self {
        let disk = OpenOptions::new().read(true).write(true).open(disk).unwrap();
        let (current, bitmap, history, out_of_sync) = (0, 0, [0; 2], Vec::new());
        let mut half = Self { disk, start, size, current, bitmap, history, is_consistent: false, out_of_sync };
        let magic = half.u32(0x3c);
        assert!([MAGIC, MAGIC_UNCLEAN].contains(&magic), "{magic:#x}");
        (half.current, half.bitmap, half.history) = (half.u64(0x08), half.u64(0x10), [half.u64(0x18), half.u64(0x20)]);
        let blocks = ((half.bitmap_start() - start) / BLOCK) as usize;
        let mut bits = vec![0; blocks.div_ceil(8)];
        half.disk.read_exact_at(&mut bits, half.bitmap_start()).unwrap();
        // The kernel takes everything for different where the flag asks for it.
        let is_marked = half.u32(0x38) & FULL_SYNC != 0;
        half.is_consistent = half.u32(0x38) & CONSISTENT != 0;
        half.out_of_sync = (0..blocks).map(|block| is_marked || bits[block / 8] & (1 << (block % 8)) != 0).collect();
        half
    }

    /// Gives it up in order.
    ///
    /// # Panics
    /// Where it can't be written.
    pub fn down(self) {
        for (at, value) in [(0x08, self.current), (0x10, self.bitmap), (0x18, self.history[0]), (0x20, self.history[1])]
        {
            self.disk.write_all_at(&value.to_be_bytes(), self.superblock() + at).unwrap();
        }
        let flags = LOG_CLEAN | if self.is_consistent { CONSISTENT | WAS_UP_TO_DATE } else { 0 };
        self.disk.write_all_at(&flags.to_be_bytes(), self.superblock() + 0x38).unwrap();
        let mut bits = vec![0_u8; self.out_of_sync.len().div_ceil(8)];
        for (block, _) in self.out_of_sync.iter().enumerate().filter(|(_, is_different)| **is_different) {
            bits[block / 8] |= 1 << (block % 8);
        }
        self.disk.write_all_at(&bits, self.bitmap_start()).unwrap();
    }

    /// A new generation of both halves, which are equal: `drbdsetup new-current-uuid --clear-bitmap`.
    pub fn begin(first: &mut Self, second: &mut Self, generation: u64) {
        for half in [first, second] {
            (half.current, half.bitmap, half.history) = (generation, 0, [0; 2]);
            half.out_of_sync.fill(false);
            half.is_consistent = true;
        }
    }

    /// Whether its data count for anything.
    pub fn is_consistent(&self) -> bool {
        self.is_consistent
    }

    /// Works on without the peer.
    pub fn promote(&mut self, generation: u64) {
        self.history = [self.bitmap, self.history[0]];
        (self.bitmap, self.current) = (self.current, generation);
    }

    /// Writes a block without the peer.
    ///
    /// # Panics
    /// Where it can't be written.
    pub fn write(&mut self, block: u64, text: &str) {
        self.put(block, &text.bytes().cycle().take(BLOCK as usize).collect::<Vec<_>>());
        self.out_of_sync[block as usize] = true;
    }

    /// Writes a block of both halves, which are connected.
    ///
    /// # Panics
    /// As [`Half::write`].
    pub fn replicate(first: &mut Self, second: &mut Self, block: u64, text: &str) {
        for half in [first, second] {
            half.put(block, &text.bytes().cycle().take(BLOCK as usize).collect::<Vec<_>>());
        }
    }

    /// Whether a block holds what was written there.
    ///
    /// # Panics
    /// Where it can't be read.
    pub fn holds(&self, block: u64, text: &str) -> bool {
        self.get(block).starts_with(text.as_bytes())
    }

    /// Blocks that the peer is to be asked for.
    pub fn out_of_sync(&self) -> usize {
        self.out_of_sync.iter().filter(|is_different| **is_different).count()
    }

    /// Both halves meet, and one is made equal to the other where DRBD takes it for older.
    pub fn meet(first: &mut Self, second: &mut Self) -> Meeting {
        let mut older = Self::compare(first, second);
        // The state of the disks wins over generations.
        let is_full =
            matches!(older, Older::Unclear | Older::First { is_full: true } | Older::Second { is_full: true });
        match (first.is_consistent, second.is_consistent) {
            (false, false) => return Meeting::NobodyIsUpToDate,
            (false, true) => older = Older::First { is_full },
            (true, false) => older = Older::Second { is_full },
            (true, true) => {}
        }
        match older {
            Older::Neither => Meeting::Equal,
            Older::First { is_full } => Meeting::FromSecond(second.copy_to(first, is_full)),
            Older::Second { is_full } => Meeting::FromFirst(first.copy_to(second, is_full)),
            Older::Unclear => Meeting::SplitBrain,
        }
    }

    fn compare(first: &Self, second: &Self) -> Older {
        let first_is_new = first.current == JUST_CREATED;
        let second_is_new = second.current == JUST_CREATED;
        // The lowest bit says that a half is in use.
        let same = |one: u64, other: u64| one & !1 == other & !1 && one & !1 != 0;
        let is_known = |known: &[u64], current: u64| known.iter().any(|generation| same(*generation, current));
        match () {
            // Rules 10 to 40.
            () if first_is_new && second_is_new => Older::Neither,
            () if first_is_new => Older::First { is_full: true },
            () if second_is_new => Older::Second { is_full: true },
            () if same(first.current, second.current) => Older::Neither,
            // Rules 50 to 80.
            () if same(first.current, second.bitmap) => Older::First { is_full: false },
            () if is_known(&second.history, first.current) => Older::First { is_full: true },
            () if same(first.bitmap, second.current) => Older::Second { is_full: false },
            () if is_known(&first.history, second.current) => Older::Second { is_full: true },
            () => Older::Unclear,
        }
    }

    /// Copies every block that either half takes for different; returns how many.
    fn copy_to(&mut self, older: &mut Self, is_full: bool) -> usize {
        let blocks = (0..self.out_of_sync.len())
            .filter(|block| is_full || self.out_of_sync[*block] || older.out_of_sync[*block])
            .map(|block| block as u64);
        let blocks: Vec<u64> = blocks.collect();
        blocks.iter().for_each(|block| older.put(*block, &self.get(*block)));
        if self.bitmap != 0 {
            (self.history, self.bitmap) = ([self.bitmap, self.history[0]], 0);
        }
        (older.current, older.bitmap, older.history) = (self.current, 0, self.history);
        self.out_of_sync.fill(false);
        older.out_of_sync.fill(false);
        older.is_consistent = true;
        blocks.len()
    }

    fn get(&self, block: u64) -> Vec<u8> {
        let mut bytes = vec![0; BLOCK as usize];
        self.disk.read_exact_at(&mut bytes, self.start + block * BLOCK).unwrap();
        bytes
    }

    fn put(&self, block: u64, bytes: &[u8]) {
        self.disk.write_all_at(bytes, self.start + block * BLOCK).unwrap();
    }

    fn superblock(&self) -> u64 {
        self.start + ((self.size - BLOCK) & !(BLOCK - 1))
    }

    fn bitmap_start(&self) -> u64 {
        let sectors = i64::from(self.u32(0x4c).cast_signed());
        self.superblock().checked_add_signed(sectors * 512).unwrap()
    }

    fn u32(&self, at: u64) -> u32 {
        let mut bytes = [0; 4];
        self.disk.read_exact_at(&mut bytes, self.superblock() + at).unwrap();
        u32::from_be_bytes(bytes)
    }

    fn u64(&self, at: u64) -> u64 {
        u64::from(self.u32(at)) << 32 | u64::from(self.u32(at + 4))
    }
}
