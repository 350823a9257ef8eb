//! The journal (jbd2), read and never replayed: which blocks will have which content once the restored file system
//! is mounted.
//!
//! A transaction counts when its commit block is there. What can't be told for certain (a wrong checksum, an unknown
//! feature, a block of the maps that was revoked) is an error, and ends with the whole region saved.
//!
//! Source: Linux `Documentation/filesystems/ext4/journal.rst`; e2fsprogs `lib/ext2fs/kernel-jbd.h`,
//! `e2fsck/recovery.c` for where recovery ends.

use std::collections::{BTreeMap, BTreeSet};

use block::{ReadAt, read_vec};
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::group::low_half;
use super::inode::FileBlocks;
use super::superblock::Superblock;
use super::view::View;
use crate::Error;
use crate::crc32c::crc32c;

const MAGIC: u32 = 0xC03B_3998;
const DESCRIPTOR: u32 = 1;
const COMMIT: u32 = 2;
const SUPERBLOCK_V1: u32 = 3;
const SUPERBLOCK_V2: u32 = 4;
const REVOKE: u32 = 5;

const COMPAT_CHECKSUM: u32 = 1;
const INCOMPAT_REVOKE: u32 = 1;
const INCOMPAT_64BIT: u32 = 2;
const INCOMPAT_CSUM_V2: u32 = 8;
const INCOMPAT_CSUM_V3: u32 = 0x10;
const INCOMPAT_FAST_COMMIT: u32 = 0x20;
/// Fast commits are known, but not what they hold. Not here: asynchronous commits, whose commit block may be older than
/// what it commits.
const INCOMPAT_KNOWN: u32 =
    INCOMPAT_REVOKE | INCOMPAT_64BIT | INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3 | INCOMPAT_FAST_COMMIT;
const CRC32C: u8 = 4;

const FLAG_ESCAPE: u32 = 1;
const FLAG_SAME_UUID: u32 = 2;
const FLAG_LAST_TAG: u32 = 8;
const UUID_LENGTH: usize = 16;
/// Position of `s_checksum` in the superblock of the journal.
const SUPERBLOCK_CHECKSUM: usize = 0xFC;
/// Position of `h_chksum` in a commit block.
const COMMIT_CHECKSUM: usize = 0x10;
/// Bytes of the checksum at the end of descriptor and revoke blocks.
const TAIL: usize = 4;
/// Blocks in a log that are remembered at most: 4 GiB of log with blocks of 4 KiB.
const COPIES_LIMIT: usize = 1 << 20;
/// Read ahead in the log, in bytes.
const READ_BYTES: u64 = 1 << 18;

#[derive(Clone, Copy, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    h_magic: U32,
    h_blocktype: U32,
    h_sequence: U32,
}

/// `struct journal_superblock_s` up to the fields that matter here.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSuperblock {
    s_header: Header,
    s_blocksize: U32,
    s_maxlen: U32,
    s_first: U32,
    s_sequence: U32,
    s_start: U32,
    s_errno: U32,
    s_feature_compat: U32,
    s_feature_incompat: U32,
    s_feature_ro_compat: U32,
    s_uuid: [u8; 16],
    s_nr_users: U32,
    s_dynsuper: U32,
    s_max_transaction: U32,
    s_max_trans_data: U32,
    s_checksum_type: u8,
}

/// A journal inside the file system.
#[derive(Debug)]
pub struct Journal<'a> {
    blocks: &'a FileBlocks,
    /// Bytes of a block.
    block_size: u32,
    /// Block of the file where the log goes on after its last.
    first: u64,
    /// Blocks of the file that the log uses.
    length: u64,
    sequence: u32,
    /// Block of the file where the oldest transaction begins; 0 where nothing is to be replayed.
    start: u64,
    incompat: u32,
    checksum_seed: u32,
}

impl<'a> Journal<'a> {
    /// Reads the superblock of the journal in the file `blocks`.
    pub fn open(superblock: &Superblock, disk: &View, blocks: &'a FileBlocks) -> Result<Self, Error> {
        let first = blocks.run_from(0);
        let first = first.ok_or_else(|| Error::corrupt(blocks.position, "a journal with blocks", "an empty file"))?;
        let bytes = disk.read_blocks(first.physical, 1)?;
        let position = first.physical.saturating_mul(u64::from(superblock.block_size));
        let corrupt = |expected: String, actual: String| Err(Error::corrupt(position, expected, actual));
        let Ok((raw, _)) = RawSuperblock::ref_from_prefix(&bytes) else {
            return corrupt("a journal superblock".to_owned(), format!("{} bytes", bytes.len()));
        };
        let kind = raw.s_header.h_blocktype.get();
        if raw.s_header.h_magic.get() != MAGIC || !(SUPERBLOCK_V1..=SUPERBLOCK_V2).contains(&kind) {
            return corrupt(
                "a journal superblock".to_owned(),
                format!("magic {:08x}, type {kind}", raw.s_header.h_magic),
            );
        }
        let has_features = kind == SUPERBLOCK_V2;
        let incompat = if has_features { raw.s_feature_incompat.get() } else { 0 };
        let compat = if has_features { raw.s_feature_compat.get() } else { 0 };
        let ro_compat = if has_features { raw.s_feature_ro_compat.get() } else { 0 };
        if incompat & INCOMPAT_CSUM_V2 != 0 && incompat & INCOMPAT_CSUM_V3 != 0 {
            return corrupt("one version of journal checksums".to_owned(), format!("features {incompat:#x}"));
        }
        if incompat & (INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3) != 0 {
            check_superblock(raw, &bytes, position)?;
        }
        if raw.s_blocksize.get() != superblock.block_size {
            return corrupt(format!("journal blocks of {} bytes", superblock.block_size), raw.s_blocksize.to_string());
        }
        let length = u64::from(raw.s_maxlen.get());
        let size = blocks.size.checked_div(u64::from(superblock.block_size)).unwrap_or_default();
        let (log_start, start) = (u64::from(raw.s_first.get()), u64::from(raw.s_start.get()));
        if length > size || log_start == 0 || log_start >= length || start >= length {
            let actual = format!("{length} blocks in a file of {size}, first {log_start}, start {start}");
            return corrupt("a log inside the journal".to_owned(), actual);
        }
        if start != 0 {
            // What follows matters only where something is to be replayed.
            if compat != 0 || incompat & !INCOMPAT_KNOWN != 0 || ro_compat != 0 {
                let old = if compat & COMPAT_CHECKSUM != 0 { " (checksums of version 1)" } else { "" };
                return Err(Error::NotClean(format!(
                    "the journal is to be replayed and has unknown features {compat:#x} {incompat:#x} {ro_compat:#x}{old}"
                )));
            }
            if raw.s_errno.get() != 0 {
                return Err(Error::NotClean(format!("the journal was aborted with error {}", raw.s_errno)));
            }
        }
        Ok(Self {
            blocks,
            block_size: superblock.block_size,
            first: log_start,
            length,
            sequence: raw.s_sequence.get(),
            start,
            incompat,
            checksum_seed: crc32c(!0, &raw.s_uuid),
        })
    }

    /// Whether transactions wait to be replayed.
    pub fn is_pending(&self) -> bool {
        self.start != 0
    }

    /// Whether the journal may hold fast commits beside its log.
    pub fn has_fast_commits(&self) -> bool {
        self.has(INCOMPAT_FAST_COMMIT)
    }

    fn has(&self, feature: u32) -> bool {
        self.incompat & feature != 0
    }

    fn has_checksums(&self) -> bool {
        self.has(INCOMPAT_CSUM_V2 | INCOMPAT_CSUM_V3)
    }

    /// Reads the committed transactions of the log.
    pub fn read_log(&self, disk: &View) -> Result<Log, Error> {
        let mut log = Log {
            block_size: self.block_size,
            checksum_seed: self.has_checksums().then_some(self.checksum_seed),
            short_checksum: self.has(INCOMPAT_CSUM_V2),
            copies: BTreeMap::new(),
            revoked: BTreeSet::new(),
            transactions: 0,
        };
        let mut reader = Reader { journal: self, disk, window: Vec::new(), window_start: 0 };
        let mut sequence = self.sequence;
        let mut position = self.start;
        let mut passed = 0_u64;
        let mut open = Transaction::default();
        while passed < self.length {
            let bytes = reader.block(position)?.to_vec();
            let Ok((header, _)) = Header::ref_from_prefix(&bytes) else { break };
            if header.h_magic.get() != MAGIC || header.h_sequence.get() != sequence {
                return Ok(log);
            }
            let here = position;
            let mut step = 1;
            match header.h_blocktype.get() {
                DESCRIPTOR => {
                    self.check_tail(here, &bytes)?;
                    step = self.read_descriptor(here, &bytes, sequence, &mut open)?.saturating_add(1);
                }
                REVOKE => {
                    self.check_tail(here, &bytes)?;
                    self.read_revoked(here, &bytes, &mut open)?;
                }
                COMMIT => {
                    self.check_commit(here, &bytes)?;
                    log.take(std::mem::take(&mut open));
                    sequence = sequence.wrapping_add(1);
                }
                _ => return Ok(log),
            }
            if log.copies.len().saturating_add(open.len()).saturating_add(log.revoked.len()) > COPIES_LIMIT {
                return Err(Error::NotClean(format!("more than {COPIES_LIMIT} blocks wait in the journal")));
            }
            position = self.after(here, step);
            passed = passed.saturating_add(step);
        }
        Err(Error::NotClean(format!("no end of the log was found in the {} blocks of the journal", self.length)))
    }

    /// The block of the file `step` blocks after `position`, going round at the end of the log.
    fn after(&self, position: u64, step: u64) -> u64 {
        let round = self.length.saturating_sub(self.first);
        let next = position.saturating_sub(self.first).saturating_add(step);
        next.checked_rem(round).unwrap_or_default().saturating_add(self.first)
    }

    fn physical(&self, position: u64) -> Result<u64, Error> {
        let run = self.blocks.run_from(position);
        let hole = || Error::corrupt(self.blocks.position, "a journal without holes", format!("no block {position}"));
        Ok(run.ok_or_else(hole)?.physical)
    }

    /// Adds the blocks that a descriptor names to `open`. Returns their number.
    fn read_descriptor(
        &self,
        position: u64,
        bytes: &[u8],
        sequence: u32,
        open: &mut Transaction,
    ) -> Result<u64, Error> {
        let end = bytes.len().saturating_sub(if self.has_checksums() { TAIL } else { 0 });
        let mut rest = bytes.get(size_of::<Header>()..end).unwrap_or_default();
        let mut count = 0_u64;
        while let Some((tag, after)) = rest.split_at_checked(self.tag_bytes()) {
            count = count.saturating_add(1);
            let tag = self.parse_tag(tag);
            let physical = self.physical(self.after(position, count))?;
            open.copies.push((
                tag.block,
                Copy { physical, escaped: tag.flags & FLAG_ESCAPE != 0, sequence, checksum: tag.checksum },
            ));
            let skipped = if tag.flags & FLAG_SAME_UUID == 0 { UUID_LENGTH } else { 0 };
            rest = after.get(skipped..).unwrap_or_default();
            if tag.flags & FLAG_LAST_TAG != 0 {
                break;
            }
        }
        Ok(count)
    }

    fn tag_bytes(&self) -> usize {
        if self.has(INCOMPAT_CSUM_V3) {
            return 16;
        }
        let short = if self.has(INCOMPAT_64BIT) { 12_usize } else { 8 };
        short.saturating_add(if self.has(INCOMPAT_CSUM_V2) { 2 } else { 0 })
    }

    fn parse_tag(&self, bytes: &[u8]) -> Tag {
        let word = |position: usize| {
            let field = bytes.get(position..position.saturating_add(4)).unwrap_or_default();
            U32::read_from_bytes(field).map(U32::get).unwrap_or_default()
        };
        let half = |position: usize| {
            let field = bytes.get(position..position.saturating_add(2)).unwrap_or_default();
            U16::read_from_bytes(field).map(U16::get).unwrap_or_default()
        };
        let high = if self.has(INCOMPAT_64BIT) { word(8) } else { 0 };
        let block = u64::from(high) << 32 | u64::from(word(0));
        if self.has(INCOMPAT_CSUM_V3) {
            Tag { block, flags: word(4), checksum: word(12) }
        } else {
            Tag { block, flags: u32::from(half(6)), checksum: u32::from(half(4)) }
        }
    }

    fn read_revoked(&self, position: u64, bytes: &[u8], open: &mut Transaction) -> Result<(), Error> {
        let (count, _) = U32::read_from_prefix(bytes.get(size_of::<Header>()..).unwrap_or_default())
            .map_err(|_| self.corrupt(position, "a revoke block", "a short one"))?;
        let end = usize::try_from(count.get()).unwrap_or(usize::MAX);
        let room = bytes.len().saturating_sub(if self.has_checksums() { TAIL } else { 0 });
        let records = bytes.get(size_of::<Header>().saturating_add(4)..end).filter(|_| end <= room);
        let records = records
            .ok_or_else(|| self.corrupt(position, "revoke records inside their block", &format!("{end} bytes")))?;
        if self.has(INCOMPAT_64BIT) {
            let (records, _) = records.as_chunks::<8>();
            open.revoked.extend(records.iter().map(|record| U64::from_bytes(*record).get()));
        } else {
            let (records, _) = records.as_chunks::<4>();
            open.revoked.extend(records.iter().map(|record| u64::from(U32::from_bytes(*record).get())));
        }
        Ok(())
    }

    /// Fails where the checksum at the end of a descriptor or revoke block is wrong. Recovery goes on in some of these
    /// cases; which blocks it then writes depends on its version.
    fn check_tail(&self, position: u64, bytes: &[u8]) -> Result<(), Error> {
        self.check_block(position, bytes, bytes.len().saturating_sub(TAIL))
    }

    fn check_commit(&self, position: u64, bytes: &[u8]) -> Result<(), Error> {
        self.check_block(position, bytes, COMMIT_CHECKSUM)
    }

    /// Fails where the checksum at `field` of a block, taken with the field as zeros, is wrong.
    fn check_block(&self, position: u64, bytes: &[u8], field: usize) -> Result<(), Error> {
        if !self.has_checksums() {
            return Ok(());
        }
        let expected = checksum_without(self.checksum_seed, bytes, field);
        let actual = stored_checksum(bytes, field);
        if actual == expected {
            return Ok(());
        }
        Err(Error::NotClean(format!(
            "block {position} of the journal has checksum {actual:08x} instead of {expected:08x}"
        )))
    }

    fn corrupt(&self, position: u64, expected: &str, actual: &str) -> Error {
        let block = self.physical(position).unwrap_or_default();
        Error::corrupt(block.saturating_mul(u64::from(self.block_size)), expected, actual)
    }
}

fn check_superblock(raw: &RawSuperblock, bytes: &[u8], position: u64) -> Result<(), Error> {
    if raw.s_checksum_type != CRC32C {
        return Err(Error::Unsupported(format!("journal checksums of type {}", raw.s_checksum_type)));
    }
    let bytes = bytes.get(..1024).unwrap_or(bytes);
    let expected = checksum_without(!0, bytes, SUPERBLOCK_CHECKSUM);
    let actual = stored_checksum(bytes, SUPERBLOCK_CHECKSUM);
    if actual == expected {
        return Ok(());
    }
    Err(Error::corrupt(position, format!("journal superblock checksum {expected:08x}"), format!("{actual:08x}")))
}

/// The checksum of `bytes` with zeros in the place of the four at `field`.
fn checksum_without(seed: u32, bytes: &[u8], field: usize) -> u32 {
    let (before, rest) = bytes.split_at_checked(field).unwrap_or((bytes, &[]));
    let after = rest.get(4..).unwrap_or_default();
    [before, &[0; 4], after].into_iter().fold(seed, crc32c)
}

fn stored_checksum(bytes: &[u8], field: usize) -> u32 {
    let stored = bytes.get(field..field.saturating_add(4)).unwrap_or_default();
    U32::read_from_bytes(stored).map(U32::get).unwrap_or_default()
}

struct Tag {
    block: u64,
    flags: u32,
    checksum: u32,
}

/// Reads blocks of the journal with some of those that follow.
struct Reader<'a> {
    journal: &'a Journal<'a>,
    disk: &'a View<'a>,
    window: Vec<u8>,
    window_start: u64,
}

impl Reader<'_> {
    fn block(&mut self, position: u64) -> Result<&[u8], Error> {
        let size = usize::try_from(self.journal.block_size).unwrap_or(usize::MAX);
        let at = |start: u64| {
            let skipped = usize::try_from(position.checked_sub(start)?).ok()?.checked_mul(size)?;
            Some(skipped..skipped.checked_add(size)?)
        };
        if at(self.window_start).is_none_or(|range| self.window.get(range).is_none()) {
            let run = self.journal.blocks.run_from(position);
            let hole = format!("no block {position}");
            let inode = self.journal.blocks.position;
            let run = run.ok_or_else(|| Error::corrupt(inode, "a journal without holes", hole))?;
            let most = READ_BYTES.checked_div(u64::from(self.journal.block_size)).unwrap_or(1).max(1);
            self.window = self.disk.read_blocks(run.physical, run.count.min(most))?;
            self.window_start = position;
        }
        let range = at(self.window_start).unwrap_or_default();
        Ok(self.window.get(range).unwrap_or_default())
    }
}

/// What a transaction holds before its commit block is seen.
#[derive(Default)]
struct Transaction {
    copies: Vec<(u64, Copy)>,
    revoked: Vec<u64>,
}

impl Transaction {
    fn len(&self) -> usize {
        self.copies.len().saturating_add(self.revoked.len())
    }
}

/// Where in the journal the newest content of a block lies.
#[derive(Clone, Copy, Debug)]
struct Copy {
    physical: u64,
    /// The block begins with the magic number of the journal, which is zeros in the copy.
    escaped: bool,
    sequence: u32,
    checksum: u32,
}

/// The newest content of every block that waits in a journal.
#[derive(Debug)]
pub struct Log {
    block_size: u32,
    /// What the checksums of copies start from, where they have some.
    checksum_seed: Option<u32>,
    short_checksum: bool,
    copies: BTreeMap<u64, Copy>,
    revoked: BTreeSet<u64>,
    transactions: u64,
}

impl Log {
    /// Number of transactions that wait.
    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    /// Number of blocks that wait.
    pub fn blocks(&self) -> usize {
        self.copies.len()
    }

    fn take(&mut self, transaction: Transaction) {
        self.copies.extend(transaction.copies);
        self.revoked.extend(transaction.revoked);
        self.transactions = self.transactions.saturating_add(1);
    }

    /// Puts the newest content of blocks into `bytes`, which was read from block `first` on.
    pub fn replay_onto(&self, region: &dyn ReadAt, first: u64, bytes: &mut [u8]) -> Result<(), Error> {
        let size = usize::try_from(self.block_size).unwrap_or(usize::MAX);
        let count = u64::try_from(bytes.len().checked_div(size).unwrap_or_default()).unwrap_or(u64::MAX);
        let end = first.saturating_add(count);
        // Maps are never freed and so never revoked. Were one, the order of revoking and writing would decide.
        if let Some(block) = self.revoked.range(first..end).next() {
            return Err(Error::NotClean(format!("the journal revokes block {block} of the maps")));
        }
        for (block, copy) in self.copies.range(first..end) {
            let position = copy.physical.saturating_mul(u64::from(self.block_size));
            let mut content = read_vec(region, position, size)?;
            self.check_copy(*block, copy, &content)?;
            if copy.escaped {
                content.iter_mut().zip(MAGIC.to_be_bytes()).for_each(|(to, from)| *to = from);
            }
            let index = usize::try_from(block.saturating_sub(first)).unwrap_or(usize::MAX);
            if let Some(place) = bytes.chunks_exact_mut(size).nth(index) {
                place.copy_from_slice(&content);
            }
        }
        Ok(())
    }

    fn check_copy(&self, block: u64, copy: &Copy, content: &[u8]) -> Result<(), Error> {
        let Some(seed) = self.checksum_seed else { return Ok(()) };
        let full = crc32c(crc32c(seed, &U32::new(copy.sequence).to_bytes()), content);
        let expected = if self.short_checksum { u32::from(low_half(full)) } else { full };
        if expected == copy.checksum {
            return Ok(());
        }
        Err(Error::NotClean(format!(
            "the copy of block {block} in the journal has checksum {expected:08x}, its tag says {:08x}",
            copy.checksum
        )))
    }
}
