//! A disk drawn in proportion: one run of cells a region, full where bytes are used.

use crate::data::{Disk, Region, RegionKind};
use crate::look::Look;
use crate::look::Tone;
use crate::page::Row;
use crate::text::{cut, fit, width};

/// Gaps smaller than this part of a disk are not drawn.
const SMALLEST_GAP: u64 = 200;

/// Two lines: the regions with their names below.
pub fn rows(disk: &Disk, columns: usize, look: Look) -> Vec<Row> {
    let is_drawn =
        |region: &&Region| region.kind != RegionKind::Gap || region.length.saturating_mul(SMALLEST_GAP) > disk.size;
    let regions: Vec<&Region> = disk.regions.iter().filter(is_drawn).collect();
    let cells = share(&regions.iter().map(|region| region.length).collect::<Vec<_>>(), columns.saturating_sub(1));
    let (mut bar, mut names) = (Row::new(Tone::Dim, "|"), Row::new(Tone::Dim, " "));
    for (region, cells) in regions.into_iter().zip(cells) {
        let inside = cells.saturating_sub(1);
        let used = proportion(region.used_bytes, region.length, inside);
        let empty = inside.saturating_sub(used);
        let (full, free) = match region.kind {
            RegionKind::Gap => (' ', ' '),
            RegionKind::Partition | RegionKind::Disk => (look.full(), look.empty()),
        };
        bar = bar.and(Tone::Full, std::iter::repeat_n(full, used).collect::<String>());
        bar = bar.and(Tone::Dim, std::iter::repeat_n(free, empty).collect::<String>()).and(Tone::Dim, "|");
        let name = match region.kind {
            RegionKind::Gap => String::new(),
            RegionKind::Partition | RegionKind::Disk => {
                let long = format!("{} {}", region.name, region.holds);
                if width(&long) <= inside { long } else { region.name.clone() }
            }
        };
        names = names.and(Tone::Plain, fit(&cut(&name, inside), cells));
    }
    vec![bar, names]
}

/// How many of `cells` a part of the whole fills: none only where it is nothing.
fn proportion(part: u64, whole: u64, cells: usize) -> usize {
    let cells_wide = u128::try_from(cells).unwrap_or_default();
    let filled = u128::from(part).saturating_mul(cells_wide).checked_div(u128::from(whole)).unwrap_or_default();
    let filled = usize::try_from(filled).unwrap_or(cells);
    filled.max(usize::from(part > 0)).min(cells)
}

/// Shares cells out in proportion; each part gets at least four, as long as there are any.
fn share(lengths: &[u64], cells: usize) -> Vec<usize> {
    const LEAST: usize = 4;
    let least = LEAST.min(cells.checked_div(lengths.len()).unwrap_or_default());
    let spare = cells.saturating_sub(least.saturating_mul(lengths.len()));
    let total: u128 = lengths.iter().map(|length| u128::from(*length)).sum();
    let mut shares = Vec::new();
    let (mut sum, mut given) = (0_u128, 0_usize);
    for length in lengths {
        sum = sum.saturating_add(u128::from(*length));
        // Counted from the start, so that roundings do not add up.
        let wide = u128::try_from(spare).unwrap_or_default();
        let until = sum.saturating_mul(wide).checked_div(total).unwrap_or_default();
        let until = usize::try_from(until).unwrap_or(spare);
        shares.push(least.saturating_add(until.saturating_sub(given)));
        given = until;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_shared_in_proportion_and_all_of_them() {
        assert_eq!(share(&[1, 3], 40), [4 + 8, 4 + 24]);
        assert_eq!(share(&[0, u64::MAX, u64::MAX], 79).iter().sum::<usize>(), 79);
        assert_eq!(share(&[], 79), [] as [usize; 0]);
        assert!(share(&[7; 100], 60).iter().all(|cells| *cells == 0 || *cells == 1));
    }

    #[test]
    fn a_used_byte_is_seen() {
        assert_eq!(proportion(1, u64::MAX, 10), 1);
        assert_eq!(proportion(0, 10, 10), 0);
        assert_eq!(proportion(u64::MAX, u64::MAX, 10), 10);
        assert_eq!(proportion(1, 0, 0), 0);
    }
}
