//! Mapping pairs: where the content of a non-resident attribute lies, packed.
//!
//! Source: ntfs-3g `include/ntfs-3g/layout.h` (`ATTR_RECORD`, mapping pairs), `libntfs-3g/runlist.c`.

use crate::Error;

/// More runs than this in one attribute are not followed: 24 MiB of memory.
pub const RUNS_LIMIT: usize = 1 << 20;

/// Consecutive clusters of an attribute that lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First cluster in the attribute.
    pub vcn: u64,
    /// Number of clusters, never 0.
    pub length: u64,
    /// First cluster on the volume; `None` for a hole.
    pub lcn: Option<u64>,
}

impl Run {
    /// First cluster in the attribute after the run.
    pub fn end(&self) -> u64 {
        self.vcn.saturating_add(self.length)
    }
}

/// Unpacks `pairs`, the first of which is for cluster `vcn` of the attribute, on a volume of
/// `clusters` clusters. `position` is where the attribute lies, for errors. The unpacked runs are
/// appended to `runs`.
///
/// # Errors
/// `Corrupt` where a run leaves the volume or the pairs don't end; `Unsupported` past [`RUNS_LIMIT`].
pub fn unpack(pairs: &[u8], mut vcn: u64, clusters: u64, position: u64, runs: &mut Vec<Run>) -> Result<u64, Error> {
    let corrupt = |actual: String| Error::corrupt(position, "mapping pairs", actual);
    let mut rest = pairs;
    let mut lcn = 0_i64;
    loop {
        let Some((header, tail)) = rest.split_first() else {
            return Err(corrupt(format!("no end in {} bytes", pairs.len())));
        };
        if *header == 0 {
            return Ok(vcn);
        }
        let (length_bytes, lcn_bytes) = (usize::from(header & 15), usize::from(header >> 4));
        let pair = tail.split_at_checked(length_bytes);
        let pair = pair.and_then(|(length, tail)| Some((length, tail.split_at_checked(lcn_bytes)?)));
        let Some((length, (delta, tail))) = pair else {
            return Err(corrupt("a pair past the end of the attribute".to_owned()));
        };
        let length = signed(length).and_then(|length| u64::try_from(length).ok());
        let Some(length) = length.filter(|length| *length > 0) else {
            return Err(corrupt(format!("a run without a length at cluster {vcn}")));
        };
        let place = if lcn_bytes == 0 {
            None
        } else {
            lcn = signed(delta).and_then(|delta| lcn.checked_add(delta)).unwrap_or(-1);
            let first =
                u64::try_from(lcn).ok().filter(|first| first.checked_add(length).is_some_and(|end| end <= clusters));
            let Some(first) = first else {
                return Err(corrupt(format!("{length} clusters at {lcn} of a volume of {clusters}")));
            };
            Some(first)
        };
        if runs.len() >= RUNS_LIMIT {
            return Err(Error::Unsupported(format!("an attribute of more than {RUNS_LIMIT} runs")));
        }
        runs.push(Run { vcn, length, lcn: place });
        vcn = vcn
            .checked_add(length)
            .filter(|end| *end <= u64::MAX >> 1)
            .ok_or_else(|| corrupt(format!("a run of {length} clusters")))?;
        rest = tail;
    }
}

/// A little-endian number of 1 to 8 bytes with a sign.
fn signed(bytes: &[u8]) -> Option<i64> {
    let fill = if bytes.last()? & 0x80 == 0 { 0 } else { 0xFF };
    let mut wide = [fill; 8];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(pairs: &[u8]) -> Result<Vec<Run>, String> {
        let mut runs = Vec::new();
        unpack(pairs, 10, 0x1_0000, 64, &mut runs).map_err(|error| error.to_string())?;
        Ok(runs)
    }

    #[test]
    fn runs_go_forward_backward_and_through_holes() {
        let pairs = [0x21, 0x10, 0x00, 0x10, 0x01, 0x05, 0x11, 0x02, 0xF0, 0x12, 0x00, 0x01, 0x7F, 0];
        let run = |vcn, length, lcn| Run { vcn, length, lcn };
        assert_eq!(
            unpacked(&pairs).unwrap(),
            [run(10, 16, Some(0x1000)), run(26, 5, None), run(31, 2, Some(0xFF0)), run(33, 256, Some(0x106F)),]
        );
    }

    #[track_caller]
    fn check_error(pairs: &[u8], expected: &str) {
        let expected = format!("at byte 64 of the region: expected mapping pairs, found {expected}");
        assert_eq!(unpacked(pairs).unwrap_err(), expected);
    }

    #[test]
    fn pairs_that_can_not_be_are_damage() {
        check_error(&[0x11, 1, 1], "no end in 3 bytes");
        check_error(&[0x21, 1, 1], "a pair past the end of the attribute");
        check_error(&[0x11, 0, 1, 0], "a run without a length at cluster 10");
        check_error(&[0x11, 0xFF, 1, 0], "a run without a length at cluster 10");
        check_error(&[0x10, 1, 0], "a run without a length at cluster 10");
        check_error(&[0x11, 1, 0xFF, 0], "1 clusters at -1 of a volume of 65536");
        check_error(
            &[0x21, 2, 0xFF, 0x7F, 0x21, 2, 0xFF, 0x7F, 0x11, 2, 1, 0],
            "2 clusters at 65535 of a volume of 65536",
        );
        check_error(&[0x0F, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "a run without a length at cluster 10");
        check_error(
            &[0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 0],
            "a run of 9223372036854775807 clusters",
        );
    }
}
