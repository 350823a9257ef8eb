//! The root directory, looked at for the label of the volume only.
//!
//! Source: Microsoft "FAT32 File System Specification" 1.03, "FAT Directory Structure"; util-linux
//! `libblkid/src/superblocks/vfat.c` for what counts as the label.

use block::{ReadAt, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, Unaligned};

use crate::Error;
use crate::fat::boot_sector::{BootSector, Width};
use crate::fat::table::entry_at;

/// Clusters of a root directory that are searched for a label, as `blkid` does.
const CLUSTERS_LIMIT: u32 = 100;
const IS_LABEL: u8 = 0x08;
const IS_DIRECTORY: u8 = 0x10;
const IS_LONG_NAME: u8 = 0x0F;
const DELETED: u8 = 0xE5;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDirectoryEntry {
    name: [u8; 11],
    attr: u8,
    nt_res: u8,
    crt_time_tenth: u8,
    crt_time: U16<LE>,
    crt_date: U16<LE>,
    lst_acc_date: U16<LE>,
    fst_clus_hi: U16<LE>,
    wrt_time: U16<LE>,
    wrt_date: U16<LE>,
    fst_clus_lo: U16<LE>,
    file_size: U32<LE>,
}

/// What a piece of a directory says about the label.
enum Search {
    Found([u8; 11]),
    NotHere,
    EndOfDirectory,
}

/// The label in the root directory; `None` where there is none. The boot sector has one too, which nothing but mkfs
/// and some tools keep up to date, so blkid prints it by another name.
pub fn label(region: &dyn ReadAt, boot: &BootSector) -> Result<Option<String>, Error> {
    let found = match boot.root_cluster {
        None => search_extent(region, boot.root_directory.start(), boot.root_directory.length())?,
        Some(first) => search_chain(region, boot, first)?,
    };
    let label = match found {
        Search::Found(label) => Some(label),
        _ => None,
    };
    let label = label.map(|label| String::from_utf8_lossy(&label).trim_end().to_owned());
    Ok(label.filter(|label| !label.is_empty()))
}

fn search_chain(region: &dyn ReadAt, boot: &BootSector, first: u32) -> Result<Search, Error> {
    let mut cluster = first;
    for _ in 0..CLUSTERS_LIMIT {
        let index = u64::from(cluster).checked_sub(2).filter(|index| *index < boot.clusters);
        let Some(index) = index else { break };
        let extent = boot.cluster_extent(index, 1);
        match search_extent(region, extent.start(), extent.length())? {
            Search::NotHere => {}
            end => return Ok(end),
        }
        let entry = read_vec(region, boot.tables_start.saturating_add(u64::from(cluster).saturating_mul(4)), 4)?;
        cluster = entry_at(&entry, 0, Width::Fat32);
    }
    Ok(Search::EndOfDirectory)
}

fn search_extent(region: &dyn ReadAt, start: u64, length: u64) -> Result<Search, Error> {
    // At most 65535 entries of 32 bytes, or one cluster.
    let bytes = read_vec(region, start, usize::try_from(length).unwrap_or(0))?;
    for entry in bytes.chunks_exact(32) {
        let Ok((raw, _)) = RawDirectoryEntry::ref_from_prefix(entry) else {
            break;
        };
        let [first, rest @ ..] = raw.name;
        if first == 0 {
            return Ok(Search::EndOfDirectory);
        }
        let is_label = raw.attr & (IS_LABEL | IS_DIRECTORY) == IS_LABEL
            && raw.attr & 0x3F != IS_LONG_NAME
            && (raw.fst_clus_hi.get(), raw.fst_clus_lo.get()) == (0, 0);
        if first != DELETED && is_label {
            // 0x05 stands for a first character with the code of the deletion mark.
            let first = if first == 0x05 { DELETED } else { first };
            let mut label = [first; 11];
            label.iter_mut().skip(1).zip(rest).for_each(|(to, from)| *to = from);
            return Ok(Search::Found(label));
        }
    }
    Ok(Search::NotHere)
}
