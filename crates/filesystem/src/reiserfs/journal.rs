//! The journal: whether a transaction waits to be written to its place.
//!
//! Source: Linux 6.1 `fs/reiserfs/journal.c` (`journal_read`, `journal_desc`), `fs/reiserfs/reiserfs.h`.

use block::{ReadAt, RegionExtent};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::superblock::Superblock;
use crate::Error;

/// A description block ends in this and four more bytes.
const DESCRIPTION_MAGIC: [u8; 8] = *b"ReIsErLB";
const DESCRIPTION_MAGIC_FROM_END: u64 = 12;
/// No mkfs makes a longer one.
const LONGEST: u32 = 1 << 20;

/// `struct reiserfs_journal_header`, in the block behind the journal.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct JournalHeader {
    j_last_flush_trans_id: U32,
    j_first_unflushed_offset: U32,
    j_mount_id: U32,
}

/// Fails where transactions wait. Gives back where the journal and its header lie.
pub fn check_empty(region: &dyn ReadAt, superblock: &Superblock) -> Result<RegionExtent, Error> {
    let block_size = u64::from(superblock.s_blocksize.get());
    let (first, count) = (superblock.jp_journal_1st_block.get(), superblock.jp_journal_size.get());
    let start = u64::from(first).saturating_mul(block_size);
    let header_position = u64::from(first).saturating_add(count.into()).saturating_mul(block_size);
    let extent = RegionExtent::between(start, header_position.saturating_add(block_size));
    if count == 0 || count > LONGEST || extent.end() > superblock.size().min(region.size()) {
        let expected = format!("a journal inside {} blocks", superblock.s_block_count.get());
        return Err(Error::corrupt(
            super::superblock::POSITION,
            expected,
            format!("{count} blocks from block {first}"),
        ));
    }
    let mut bytes = [0; size_of::<JournalHeader>()];
    region.read_at(header_position, &mut bytes)?;
    let header = JournalHeader::read_from_bytes(&bytes)
        .map_err(|_| Error::corrupt(header_position, "a journal header", "a shorter one"))?;
    let (last_flushed, first_unflushed) = (header.j_last_flush_trans_id.get(), header.j_first_unflushed_offset.get());
    // Where the header says nothing, the kernel looks for transactions in the whole journal.
    let candidates = if last_flushed > 0 && first_unflushed < count {
        first_unflushed..first_unflushed.saturating_add(1)
    } else {
        0..count
    };
    for number in candidates {
        let position = start.saturating_add(u64::from(number).saturating_mul(block_size));
        if let Some(transaction) = transaction_at(region, position, block_size)?
            && transaction > last_flushed
        {
            return Err(Error::NotClean(format!(
                "transaction {transaction} waits in the journal; the last that was written is {last_flushed}"
            )));
        }
    }
    Ok(extent)
}

/// The number of the transaction that a block of the journal describes; `None` where it describes none.
fn transaction_at(region: &dyn ReadAt, position: u64, block_size: u64) -> Result<Option<u32>, Error> {
    let mut magic = [0; 8];
    region.read_at(position.saturating_add(block_size).saturating_sub(DESCRIPTION_MAGIC_FROM_END), &mut magic)?;
    if magic != DESCRIPTION_MAGIC {
        return Ok(None);
    }
    let mut number = [0; 4];
    region.read_at(position, &mut number)?;
    Ok(Some(u32::from_le_bytes(number)))
}
