//! Whether the log holds changes that the rest of the file system does not.
//!
//! XFS writes to its log before it writes anywhere else. After a clean unmount the last record is an unmount
//! record: every change is in place, and the free-space trees are the truth. With any other last record the maps
//! may lag behind, and the file system is saved whole.
//!
//! The log is a ring. The cycle numbers on its blocks fall by one where writing stopped: `n n n | n-1 n-1`, or
//! `1 1 1 | 0 0` on the first way round. That place is found by halving, then looked at closely: the kernel repairs
//! more broken rings than this, but a ring that is broken at all was not left by an unmount.
//!
//! Source: "XFS Algorithms & Data Structures" (`journaling_log.asciidoc`), the Linux kernel's
//! `fs/xfs/xfs_log_recover.c` (`xlog_find_head`, `xlog_find_tail`, `xlog_check_unmount_rec`).

use block::{ReadAt, is_zero, read_vec};

use super::log_record::{LOG_BLOCK, RECORD_LIMIT, begins_record, check_unmount_record, cycle_of, rename_record};
use super::superblock::Superblock;
use crate::Error;

/// Log blocks on either side of the head in which writes can have passed each other: 8 buffers of 256 KiB.
const WINDOW: u64 = 8 * (256 << 10) / 512;
/// Log blocks read at once.
const PIECE: u64 = 128;
/// The most log blocks of one record: its operations and 8 header blocks.
const RECORD_BLOCKS: u64 = 512 + 8;

// The window is whole records.
const _: () = assert!(RECORD_LIMIT == 256 << 10);

/// Log blocks before the head whose records are looked at by a mount after a clean unmount: the last one, and as many as
/// can have been under way. Older ones are only written over.
const RECENT: u64 = 2 * WINDOW;

/// Checks that the file system was unmounted cleanly.
pub(super) fn check_unmounted(region: &dyn ReadAt, superblock: &Superblock) -> Result<(), Error> {
    let log = Log::of(region, superblock)?;
    let head = log.find_head()?;
    let (block, record) = log.last_record(&head)?;
    check_unmount_record(&record, block, &superblock.uuid, superblock.has_log_version_2, superblock.has_checksums)
        .map_err(|what| not_clean(format!("the last record, at log block {block}, does not end an unmount: {what}")))
}

fn not_clean(what: String) -> Error {
    Error::NotClean(format!("the log may hold changes that are not in place: {what}"))
}

/// The first blocks of the recent records of the log, as they are when the file system has another UUID, with their
/// places in the region.
pub(super) fn renamed_records(
    region: &dyn ReadAt,
    superblock: &Superblock,
    uuid: &[u8; 16],
) -> Result<Vec<(u64, Vec<u8>)>, Error> {
    let log = Log::of(region, superblock)?;
    let head = log.find_head()?;
    let wanted = RECENT.min(log.count);
    let bytes = log.before(&head, wanted)?;
    let first = log.count.saturating_add(head.block).saturating_sub(wanted);
    let mut renamed = Vec::new();
    for (number, block) in bytes.chunks(LOG_BLOCK).enumerate().filter(|(_, block)| begins_record(block)) {
        let mut header = block.to_vec();
        let rest = bytes.get(number.saturating_mul(LOG_BLOCK)..).unwrap_or_default();
        if rename_record(&mut header, rest, &superblock.uuid, uuid, superblock.has_log_version_2) {
            let block = first.saturating_add(u64::try_from(number).unwrap_or(u64::MAX));
            let block = block.checked_rem(log.count).unwrap_or_default();
            renamed.push((log.start.saturating_add(block.saturating_mul(512)), header));
        }
    }
    Ok(renamed)
}

struct Log<'a> {
    region: &'a dyn ReadAt,
    /// First byte in the region.
    start: u64,
    /// Number of log blocks; at least 1.
    count: u64,
}

/// Where writing stopped: blocks before `block` are of the cycle `before`, those from `hole_end` on of the cycle `after`.
struct Head {
    /// From 1 to the number of log blocks.
    block: u64,
    /// Blocks from the head up to this one are zeros. Equals `block` but for a log that a tool made anew.
    hole_end: u64,
    before: u32,
    after: u32,
}

impl<'a> Log<'a> {
    fn of(region: &'a dyn ReadAt, superblock: &Superblock) -> Result<Self, Error> {
        let Some((first, blocks)) = superblock.log else {
            return Err(Error::NotClean(
                "the log is on another device: it can't be told whether it holds changes".to_owned(),
            ));
        };
        let block_size = u64::from(superblock.block_size);
        let count = u64::from(blocks).saturating_mul(block_size) >> 9;
        Ok(Self { region, start: first.saturating_mul(block_size), count })
    }

    fn find_head(&self) -> Result<Head, Error> {
        let last = self.count.saturating_sub(1);
        let (before, after) = (self.cycle(0)?, self.cycle(last)?);
        if before == 0 {
            return Err(not_clean("its first block was never written".to_owned()));
        }
        let block = if before == after {
            self.count
        } else if before.checked_sub(1) == Some(after) {
            self.first_of_cycle(after, last)?
        } else {
            return Err(not_clean(format!("its first block is of cycle {before}, its last of cycle {after}")));
        };
        let head = Head { block, hole_end: block, before, after };
        match self.check_around(&head) {
            Ok(()) => Ok(head),
            Err(error) => self.find_new_head(&head)?.ok_or(error),
        }
    }

    /// The head of a log that xfs_repair or xfs_admin made anew in a later cycle: a record in its first blocks, zeros
    /// up to the end of what they write at once, then records of the cycle before.
    fn find_new_head(&self, broken: &Head) -> Result<Option<Head>, Error> {
        let block = self.run_length(0, RECORD_BLOCKS, |bytes| cycle_of(bytes) == broken.before)?;
        let hole_end = block.saturating_add(self.run_length(block, WINDOW, is_zero)?);
        if block == 0 || block == hole_end {
            return Ok(None);
        }
        let head = Head { block, hole_end, ..*broken };
        Ok(self.check_around(&head).is_ok().then_some(head))
    }

    /// How many blocks from `start` on, of at most `limit`, pass the test.
    fn run_length(&self, start: u64, limit: u64, test: impl Fn(&[u8]) -> bool) -> Result<u64, Error> {
        let bytes = self.read(start, limit.min(self.count.saturating_sub(start)))?;
        let length = bytes.chunks(LOG_BLOCK).take_while(|block| test(block)).count();
        Ok(u64::try_from(length).unwrap_or(u64::MAX))
    }

    /// The first block of the cycle `after`, which block `last` belongs to and block 0 does not.
    fn first_of_cycle(&self, after: u32, last: u64) -> Result<u64, Error> {
        let (mut low, mut high) = (0, last);
        while high.saturating_sub(low) > 1 {
            let middle = low.midpoint(high);
            if self.cycle(middle)? == after {
                high = middle;
            } else {
                low = middle;
            }
        }
        Ok(high)
    }

    /// Checks the cycle of every block that can have been under way when writing stopped.
    fn check_around(&self, head: &Head) -> Result<(), Error> {
        let window = WINDOW.min(self.count);
        let (from, to) = (head.block.saturating_sub(window), head.hole_end.saturating_add(window));
        self.check_cycles(head, from, to.min(self.count))?;
        // The ring goes on at its other end.
        self.check_cycles(head, 0, to.saturating_sub(self.count).min(from))?;
        let before_start = window.saturating_sub(head.block);
        self.check_cycles(head, self.count.saturating_sub(before_start).max(to.min(self.count)), self.count)
    }

    fn check_cycles(&self, head: &Head, from: u64, to: u64) -> Result<(), Error> {
        let mut position = from;
        while position < to {
            let piece = to.saturating_sub(position).min(PIECE);
            let bytes = self.read(position, piece)?;
            for (block, bytes) in (position..).zip(bytes.chunks(LOG_BLOCK)) {
                let expected = match block {
                    _ if block < head.block => head.before,
                    _ if block < head.hole_end => 0,
                    _ => head.after,
                };
                let actual = cycle_of(bytes);
                if actual != expected {
                    return Err(not_clean(format!(
                        "its block {block} is of cycle {actual}, expected {expected}; writing stopped at block {}",
                        head.block
                    )));
                }
            }
            position = position.saturating_add(piece);
        }
        Ok(())
    }

    /// The last record before the head: its block and its bytes, up to the head.
    fn last_record(&self, head: &Head) -> Result<(u64, Vec<u8>), Error> {
        let wanted = RECORD_BLOCKS.min(self.count);
        let mut bytes = self.before(head, wanted)?;
        let blocks = bytes.chunks(LOG_BLOCK);
        let Some(back) = blocks.rev().position(begins_record) else {
            return Err(not_clean(format!("no record within {wanted} blocks before block {}", head.block)));
        };
        let blocks = back.saturating_add(1);
        let record = bytes.split_off(bytes.len().saturating_sub(blocks.saturating_mul(LOG_BLOCK)));
        let blocks = u64::try_from(blocks).unwrap_or(u64::MAX);
        let block = match head.block.checked_sub(blocks) {
            Some(block) => block,
            None => self.count.saturating_add(head.block).saturating_sub(blocks),
        };
        Ok((block, record))
    }

    /// The last blocks before the head, at most all: read as if the ring were straight, so that a record that passes its
    /// end lies in one piece.
    fn before(&self, head: &Head, wanted: u64) -> Result<Vec<u8>, Error> {
        let from_end = wanted.saturating_sub(head.block);
        let from = head.block.saturating_sub(wanted);
        let mut bytes = self.read(self.count.saturating_sub(from_end), from_end)?;
        bytes.extend(self.read(from, head.block.saturating_sub(from))?);
        Ok(bytes)
    }

    fn cycle(&self, block: u64) -> Result<u32, Error> {
        Ok(cycle_of(&self.read(block, 1)?))
    }

    fn read(&self, block: u64, count: u64) -> Result<Vec<u8>, Error> {
        let bytes = |blocks: u64| blocks.saturating_mul(512);
        let length = usize::try_from(bytes(count)).unwrap_or(usize::MAX);
        Ok(read_vec(self.region, self.start.saturating_add(bytes(block)), length)?)
    }
}
