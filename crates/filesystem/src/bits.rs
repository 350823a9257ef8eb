//! Bitmaps, window by window.

use block::{ReadAt, read_vec};

use crate::{Error, UsedBytes};

/// Bytes of a bitmap that are read at once.
const WINDOW: u64 = 1 << 20;

/// Which bit of a byte comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The one of the lowest value.
    LowestFirst,
    /// The one of the highest value.
    HighestFirst,
}

/// A run of units, one bit each, and what one unit is.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    /// The unit that the first bit stands for.
    pub first: u64,
    /// Number of bits that count; what follows in the last byte is padding.
    pub count: u64,
    /// Bytes of a unit. Units are counted from the start of the region.
    pub size: u32,
}

/// Hands every run of bits with the value `wanted` among the first `count` to `visit`: first bit and number.
pub fn for_each_run(bitmap: &[u8], count: u64, order: Order, wanted: bool, mut visit: impl FnMut(u64, u64)) {
    let mut start: Option<u64> = None;
    let mut position = 0_u64;
    for byte in bitmap {
        if position >= count {
            break;
        }
        let mut bits = if wanted { *byte } else { !*byte };
        if order == Order::HighestFirst {
            bits = bits.reverse_bits();
        }
        match (bits, start) {
            (0xFF, Some(_)) | (0, None) => {}
            _ => {
                for (bit, here) in (0_u32..8).zip(position..count) {
                    let is_set = bits.checked_shr(bit).unwrap_or_default() & 1 == 1;
                    match (is_set, start) {
                        (true, None) => start = Some(here),
                        (false, Some(from)) => {
                            visit(from, here.saturating_sub(from));
                            start = None;
                        }
                        _ => {}
                    }
                }
            }
        }
        position = position.saturating_add(8);
    }
    if let Some(from) = start {
        let end = position.min(count);
        if end > from {
            visit(from, end.saturating_sub(from));
        }
    }
}

/// Adds the units whose bits have the value `wanted`, of a bitmap at `position` in the region. Gives back how many.
pub fn add_units(
    region: &dyn ReadAt,
    position: u64,
    units: Units,
    order: Order,
    wanted: bool,
    used: &mut UsedBytes,
) -> Result<u64, Error> {
    let mut total = 0_u64;
    let mut done = 0_u64;
    while done < units.count {
        let rest = units.count.saturating_sub(done);
        let length = rest.div_ceil(8).min(WINDOW);
        let window = read_vec(region, position.saturating_add(done / 8), usize::try_from(length).unwrap_or_default())?;
        let bits = rest.min(length.saturating_mul(8));
        for_each_run(&window, bits, order, wanted, |first, count| {
            total = total.saturating_add(count);
            used.add_blocks(units.first.saturating_add(done).saturating_add(first), count, units.size);
        });
        done = done.saturating_add(bits);
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_the_bits_one_by_one(
            bitmap in proptest::collection::vec(prop_oneof![Just(0_u8), Just(0xFF), any::<u8>()], 0..40),
            cut in 0_u64..400,
            highest_first: bool,
            wanted: bool,
        ) {
            let count = cut.min(bitmap.len() as u64 * 8);
            let order = if highest_first { Order::HighestFirst } else { Order::LowestFirst };
            let mut found = vec![false; count as usize];
            let mut last_end = None;
            for_each_run(&bitmap, count, order, wanted, |first, length| {
                assert!(last_end.is_none_or(|end| first > end) && length > 0);
                last_end = Some(first + length);
                (first..first + length).for_each(|bit| found[bit as usize] = true);
            });
            let expected: Vec<_> = (0..count as usize)
                .map(|bit| {
                    let shift = if highest_first { 7 - bit % 8 } else { bit % 8 };
                    (bitmap[bit / 8] >> shift & 1 == 1) == wanted
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }
}
