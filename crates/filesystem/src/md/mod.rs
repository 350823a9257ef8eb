//! Members of arrays of Linux md, by their superblocks. No array is assembled.
//!
//! Only a member of a mirror holds what the array holds, and only while it is in sync.
//!
//! Source: Linux `include/uapi/linux/raid/md_p.h`, `drivers/md/md.c`; md(4).

mod superblock_0;
mod superblock_1;

use block::ReadAt;
pub use superblock_0::position as position_of_older;

use crate::Error;

/// Begins every superblock.
const MAGIC: [u8; 4] = 0xA92B_4EFC_u32.to_le_bytes();

/// How an array keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Each member holds everything.
    Mirror,
    /// Another level, as md counts them.
    Other(i32),
}

/// What a superblock says about the member that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `0.90`, `1.0`, `1.1`, `1.2`.
    pub version: String,
    /// The array.
    pub uuid: Option<String>,
    /// Name of the array, mostly with that of the host before it.
    pub name: Option<String>,
    /// The member.
    pub device_uuid: Option<String>,
    /// How the array keeps its data.
    pub level: Level,
    /// How many members the array has when it is whole.
    pub devices: u32,
    /// Which of them this is; `None` for a spare or a journal.
    pub role: Option<u32>,
    /// Counts changes of the array. A member with fewer than another was left behind.
    pub events: u64,
    /// First byte of the data on the member.
    pub data_start: u64,
    /// Bytes of data.
    pub data_length: u64,
    /// A bitmap says which parts members may differ in.
    pub has_bitmap: bool,
    /// Where the superblock is on the member.
    pub superblock: u64,
    /// Whether the member holds what the array holds.
    pub state: State,
}

/// Whether a member holds what the array holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    InSync,
    /// It may not: it is no active member.
    NotInSync(String),
    /// Writes may have reached some of the members only.
    NotClean,
    /// The array is being changed, or has a feature that is not known.
    Changing(String),
}

impl Level {
    fn from_number(number: i32) -> Self {
        if number == 1 { Self::Mirror } else { Self::Other(number) }
    }

    /// As mdadm names it.
    pub fn name(self) -> String {
        match self {
            Self::Mirror => "raid1".to_owned(),
            Self::Other(-1) => "linear".to_owned(),
            Self::Other(-4) => "multipath".to_owned(),
            Self::Other(-5) => "faulty".to_owned(),
            Self::Other(number) if number >= 0 => format!("raid{number}"),
            Self::Other(number) => format!("level {number}"),
        }
    }
}

/// The member that `device` is; `None` where no superblock is found.
pub fn find(device: &dyn ReadAt) -> Result<Option<Member>, Error> {
    let mut found = superblock_1::find(device)?;
    found.extend(superblock_0::find(device)?);
    match found.as_slice() {
        [] => Ok(None),
        [member] => Ok(Some(member.clone())),
        several => {
            let versions: Vec<_> = several.iter().map(|member| member.version.as_str()).collect();
            Err(Error::Unsupported(format!("md superblocks of versions {}", versions.join(" and "))))
        }
    }
}

/// The member that a whole disk with a partition table is, by a superblock at its end. One of version 1.0 tells by its
/// own place that it is not that of the last partition; one of 0.90 does not.
pub fn find_behind_table(disk: &dyn ReadAt) -> Result<Option<Member>, Error> {
    let end = superblock_1::position_at_end(disk.size());
    let newer = end.map_or(Ok(None), |position| superblock_1::at(disk, "1.0", position)).unwrap_or(None);
    let older = superblock_0::find(disk).unwrap_or(None).filter(|member| member.data_length <= disk.size());
    Ok(newer.or(older))
}

/// The sum of little-endian words of 32 bits; two bytes that are left count as one of 16.
fn sum_of_words(bytes: &[u8]) -> u64 {
    bytes.chunks(4).fold(0, |sum, word| {
        let value = word.iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        sum.saturating_add(value)
    })
}

fn fold(sum: u64) -> u32 {
    let (low, high) = (sum & 0xFFFF_FFFF, sum >> 32);
    u32::try_from(low.saturating_add(high) & 0xFFFF_FFFF).unwrap_or_default()
}
#[cfg(test)]
pub mod sample;
#[cfg(test)]
mod tests;
