//! One record of the log: a header of one or more 512-byte blocks, then operations.
//!
//! The first word of every block of the log is the number of the cycle in which it was written (in a record header
//! the second); what the block really begins with is kept in the header.
//!
//! Source: "XFS Algorithms & Data Structures" (`journaling_log.asciidoc`), the Linux kernel's
//! `fs/xfs/libxfs/xfs_log_format.h` and `fs/xfs/xfs_log.c` (`xlog_cksum`).

use zerocopy::{BE, FromBytes, Immutable, IntoBytes, KnownLayout, LE, U32, U64, Unaligned};

use crate::crc32c::{checksum_without, crc32c};

/// The log counts in blocks of this many bytes, whatever the sector size.
pub(super) const LOG_BLOCK: usize = 512;
/// The most bytes of operations in one record.
pub(super) const RECORD_LIMIT: u32 = 256 << 10;
/// One header block holds the replaced words of this many bytes.
const HEADER_COVERS: u32 = 32 << 10;

const MAGIC: u32 = 0xFEED_BABE;
/// Where `h_crc` lies.
const CRC_OFFSET: usize = 32;
/// Length of the header that the checksum covers; on 32-bit x86 the padding at its end is missing.
const HEADER_LENGTHS: [usize; 2] = [328, 324];
/// Length of a further header block that the checksum covers.
const FURTHER_HEADER_LENGTH: usize = 260;
/// `XLOG_UNMOUNT_TRANS`.
const UNMOUNT_FLAG: u8 = 0x20;
/// `XLOG_UNMOUNT_TYPE`, written in the byte order of the host.
const UNMOUNT_MAGIC: u16 = 0x556E;

#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    h_magicno: U32<BE>,
    h_cycle: U32<BE>,
    h_version: U32<BE>,
    h_len: U32<BE>,
    h_lsn: U64<BE>,
    h_tail_lsn: U64<BE>,
    h_crc: U32<LE>,
    h_prev_block: U32<BE>,
    h_num_logops: U32<BE>,
    h_cycle_data: [u8; 256],
    h_fmt: U32<BE>,
    h_fs_uuid: [u8; 16],
    h_size: U32<BE>,
}

/// The first operation of a record.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawOperation {
    oh_tid: U32<BE>,
    oh_len: U32<BE>,
    oh_clientid: u8,
    oh_flags: u8,
    oh_res2: [u8; 2],
    /// The data of an unmount record.
    magic: [u8; 2],
}

/// The cycle in which the log block that begins with `bytes` was written; 0 where it never was.
pub(super) fn cycle_of(bytes: &[u8]) -> u32 {
    let word = |at: usize| {
        bytes.get(at..).and_then(|rest| U32::<BE>::read_from_prefix(rest).ok()).map_or(0, |(word, _)| word.get())
    };
    if word(0) == MAGIC { word(4) } else { word(0) }
}

/// Whether a record begins here.
pub(super) fn begins_record(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

/// Checks that `record`, the bytes from the last record header up to the end of what was written, is the record
/// of an unmount: complete, alone, and written at block `block` of the log of the file system `uuid`.
///
/// # Errors
/// What speaks against it.
pub(super) fn check_unmount_record(
    record: &[u8],
    block: u64,
    uuid: &[u8; 16],
    has_version_2: bool,
    has_checksums: bool,
) -> Result<(), String> {
    let (raw, _) = Raw::read_from_prefix(record).map_err(|_| "it has no header".to_owned())?;
    let (cycle, size, length) = (raw.h_cycle.get(), raw.h_size.get(), raw.h_len.get());
    if !matches!(raw.h_version.get(), 1 | 2) || !matches!(raw.h_fmt.get(), 1 | 2) {
        return Err(format!("it is of version {} and format {}", raw.h_version.get(), raw.h_fmt.get()));
    }
    if raw.h_fs_uuid != *uuid {
        return Err("it belongs to another file system".to_owned());
    }
    if raw.h_lsn.get() != u64::from(cycle) << 32 | block {
        return Err(format!("it names itself {:#018x} in cycle {cycle}", raw.h_lsn.get()));
    }
    if length > RECORD_LIMIT || size > RECORD_LIMIT {
        return Err(format!("it has {length} bytes in a buffer of {size}"));
    }
    let headers_length = raw.headers_length(has_version_2);
    let body_length = usize::try_from(length).unwrap_or(usize::MAX);
    let whole = headers_length.saturating_add(body_length.next_multiple_of(LOG_BLOCK));
    if whole != record.len() {
        return Err(format!("it has {whole} bytes, {} were written", record.len()));
    }
    let (headers, body) = record.split_at(headers_length.min(record.len()));
    if has_checksums && raw.h_crc.get() != 0 {
        check_checksum(raw.h_crc.get(), headers, body.get(..body_length).unwrap_or_default())?;
    }
    let operation = RawOperation::read_from_prefix(body).map(|(operation, _)| operation);
    match operation {
        Ok(operation) if raw.h_num_logops.get() == 1 && operation.is_unmount() => Ok(()),
        _ => Err(format!("it holds {} operations and is no unmount record", raw.h_num_logops.get())),
    }
}

impl Raw {
    /// Bytes of all header blocks.
    fn headers_length(&self, has_version_2: bool) -> usize {
        let size = self.h_size.get();
        let has_further = has_version_2 && self.h_version.get() == 2 && size > HEADER_COVERS;
        let headers = if has_further { size.div_ceil(HEADER_COVERS) } else { 1 };
        usize::try_from(headers).unwrap_or(usize::MAX).saturating_mul(LOG_BLOCK)
    }
}

/// Gives the record that begins with the block `header` another UUID, and the checksum that follows where it had a right
/// one; `false`, and nothing changed, where it belongs to another file system. `record` is what is there of it.
pub(super) fn rename_record(
    header: &mut [u8],
    record: &[u8],
    from: &[u8; 16],
    to: &[u8; 16],
    has_version_2: bool,
) -> bool {
    let Ok((raw, _)) = Raw::mut_from_prefix(header) else { return false };
    if raw.h_fs_uuid != *from {
        return false;
    }
    let stored = raw.h_crc.get();
    let split = record.split_at_checked(raw.headers_length(has_version_2));
    let length = usize::try_from(raw.h_len.get()).unwrap_or(usize::MAX);
    let split = split.and_then(|(headers, body)| Some((headers, body.get(..length)?)));
    raw.h_fs_uuid = *to;
    // A record that is partly written over has none, and nobody reads it.
    let Some((headers, body)) = split.filter(|_| stored != 0) else { return true };
    let further = headers.get(LOG_BLOCK..).unwrap_or_default();
    let old = checksums(headers, further, body);
    let new = checksums(header, further, body);
    let old_and_new = old.as_flattened().iter().zip(new.as_flattened());
    let right = old_and_new.into_iter().find(|(old, _)| **old == stored).map(|(_, new)| *new);
    if let (Some(right), Ok((raw, _))) = (right, Raw::mut_from_prefix(header)) {
        raw.h_crc = U32::new(right);
    }
    true
}

impl RawOperation {
    fn is_unmount(&self) -> bool {
        self.oh_flags & UNMOUNT_FLAG != 0
            && [UNMOUNT_MAGIC.to_le_bytes(), UNMOUNT_MAGIC.to_be_bytes()].contains(&self.magic)
    }
}

fn check_checksum(stored: u32, headers: &[u8], body: &[u8]) -> Result<(), String> {
    let (header, further) = headers.split_at(LOG_BLOCK.min(headers.len()));
    let computed = checksums(header, further, body);
    if computed.as_flattened().contains(&stored) {
        Ok(())
    } else {
        Err(format!("its checksum is {stored:#010x}, its content has {:#010x}", computed[0][0]))
    }
}

/// The checksums that a record may have, by who wrote it.
fn checksums(header: &[u8], further: &[u8], body: &[u8]) -> [[u32; 2]; 2] {
    HEADER_LENGTHS.map(|length| {
        // `checksum_without` inverts at the end; what follows goes on without that.
        let register = !checksum_without(header.get(..length).unwrap_or_default(), CRC_OFFSET);
        // Linux 6.18 leaves the further headers out, other versions don't.
        let with_further = further
            .chunks(LOG_BLOCK)
            .fold(register, |register, block| crc32c(register, block.get(..FURTHER_HEADER_LENGTH).unwrap_or_default()));
        [with_further, register].map(|register| !crc32c(register, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_specification_puts_them() {
        assert_eq!(std::mem::offset_of!(Raw, h_crc), CRC_OFFSET);
        assert_eq!(std::mem::offset_of!(Raw, h_fmt), 300);
        assert_eq!(size_of::<Raw>(), 324);
        assert_eq!(std::mem::offset_of!(RawOperation, oh_flags), 9);
        assert_eq!(std::mem::offset_of!(RawOperation, magic), 12);
    }
}
