//! ZFS: four labels, each with a list of names and values and a ring of uberblocks.
//!
//! ZFS leaves the first 8 KiB of a disk as they were, so what was there before still looks alive.
//!
//! Source: OpenZFS `include/sys/vdev_impl.h` (label), `uberblock_impl.h`, `module/nvpair/nvpair.c` (XDR encoding).

use block::{ReadAt, read_vec};

use super::table::Found;
use crate::Error;
use crate::identity::label_text;

const LABEL: u64 = 256 << 10;
/// The list of names and values starts here, the ring of uberblocks fills the second half.
const VALUES: u64 = 16 << 10;
const VALUES_LENGTH: usize = 4096;
const UBERBLOCK: [u8; 8] = 0x00BA_B10C_u64.to_le_bytes();
const UBERBLOCK_BIG_ENDIAN: [u8; 8] = 0x00BA_B10C_u64.to_be_bytes();
/// Uberblocks fill 1 KiB at least.
const SLOT: usize = 1024;

const TYPE_UINT64: u32 = 8;
const TYPE_STRING: u32 = 9;

/// The pool's number, which blkid prints as UUID, and its name, where one of the four labels (two at the start, two at
/// the end) holds an uberblock.
pub fn identify(region: &dyn ReadAt, _: u64) -> Result<Option<Found>, Error> {
    let end = (region.size() / LABEL).saturating_mul(LABEL);
    for label in [0, LABEL, end.saturating_sub(2 * LABEL), end.saturating_sub(LABEL)] {
        let start = label.saturating_add(LABEL / 2);
        if start.saturating_add(LABEL / 2) > region.size() {
            continue;
        }
        let ring = read_vec(region, start, usize::try_from(LABEL / 2).unwrap_or_default())?;
        let is_uberblock = |slot: &[u8]| slot.starts_with(&UBERBLOCK) || slot.starts_with(&UBERBLOCK_BIG_ENDIAN);
        if ring.chunks(SLOT).any(is_uberblock) {
            let values = read_vec(region, label.saturating_add(VALUES), VALUES_LENGTH)?;
            return Ok(Some(pool(&values)));
        }
    }
    Ok(None)
}

/// Big-endian numbers and padded names, one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(*self.take(4)?.first_chunk()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let padded = self.take(length.checked_next_multiple_of(4)?)?;
        padded.get(..length)
    }
}

/// Name and number of the pool: pairs of the outermost list. Lists inside lists are pairs as long as all that is in
/// them, so they are passed over.
fn pool(values: &[u8]) -> Found {
    let mut found = Found::default();
    // Encoding, byte order and two reserved bytes; version and flags of the list.
    let mut rest = values.get(12..).unwrap_or_default();
    while let Some(length) = Reader(rest).number().filter(|length| *length != 0) {
        let Some((pair, next)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) else {
            break;
        };
        let mut reader = Reader(pair);
        let _ = (reader.number(), reader.number());
        match (reader.text(), reader.number(), reader.number()) {
            (Some(b"name"), Some(TYPE_STRING), _) => found.label = reader.text().and_then(label_text),
            (Some(b"pool_guid"), Some(TYPE_UINT64), _) => {
                let number = reader.take(8).and_then(|bytes| bytes.first_chunk().copied()).map(u64::from_be_bytes);
                found.uuid = number.filter(|number| *number != 0).map(|number| number.to_string());
            }
            _ => {}
        }
        rest = next;
    }
    found
}
