//! A chunk: a run of logical addresses and the stripes on devices that hold its bytes.
//!
//! Source: the Linux kernel's `include/uapi/linux/btrfs_tree.h` (`struct btrfs_chunk`, `btrfs_stripe`),
//! `fs/btrfs/volumes.c` (`btrfs_map_block`, `btrfs_raid_array`), `fs/btrfs/tree-checker.c` (`btrfs_check_chunk_valid`).

use block::RegionExtent;
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use super::superblock::Device;
use crate::Error;

/// The only length of a stripe that the kernel knows.
const STRIPE_BYTES: u64 = 64 << 10;

const TYPE_CONTENT: u64 = 0x7;
const TYPE_RAID0: u64 = 0x8;
const TYPE_RAID1: u64 = 0x10;
const TYPE_DUP: u64 = 0x20;
const TYPE_RAID10: u64 = 0x40;
const TYPE_RAID5: u64 = 0x80;
const TYPE_RAID6: u64 = 0x100;
const TYPE_RAID1C3: u64 = 0x200;
const TYPE_RAID1C4: u64 = 0x400;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawChunk {
    length: U64<LE>,
    owner: U64<LE>,
    stripe_len: U64<LE>,
    kind: U64<LE>,
    io_align: U32<LE>,
    io_width: U32<LE>,
    sector_size: U32<LE>,
    num_stripes: U16<LE>,
    sub_stripes: U16<LE>,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawStripe {
    devid: U64<LE>,
    offset: U64<LE>,
    dev_uuid: [u8; 16],
}

/// How the bytes of a chunk are laid over its stripes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    /// Every stripe holds everything: single, DUP, RAID1 with two to four copies.
    Copies,
    /// The stripes take turns, in groups of `copies` stripes that hold the same: RAID0 and RAID10.
    Turns { groups: u64, copies: u64 },
    /// The stripes take turns, and `parities` of each row hold parity: RAID5 and RAID6.
    Parity { stripes: u64, parities: u64 },
}

/// A stripe of a chunk on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stripe {
    /// Its number among all stripes of the chunk.
    number: u64,
    /// Its first byte on the device.
    position: u64,
}

/// A chunk, with those of its stripes that lie on this device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// First logical address.
    pub(super) logical: u64,
    /// Number of logical addresses.
    pub(super) length: u64,
    /// What it holds and how, in the bits of the specification.
    pub(super) kind: u64,
    profile: Profile,
    stripes: Vec<Stripe>,
    /// Bytes of the whole item.
    pub(super) item_bytes: usize,
}

impl Chunk {
    /// The chunk that begins at `logical`, from its item in a block or array at `position` of the region.
    ///
    /// # Errors
    /// `Unsupported` for unknown kinds of chunks, `Corrupt` where the fields contradict each other.
    pub(super) fn parse(position: u64, logical: u64, item: &[u8], device: &Device) -> Result<Self, Error> {
        let bad = |expected: &str, actual: String| Err(Error::corrupt(position, expected, actual));
        let Ok((raw, rest)) = RawChunk::ref_from_prefix(item) else {
            return bad("a chunk", format!("{} bytes", item.len()));
        };
        let length = raw.length.get();
        if length == 0 || logical.checked_add(length).is_none() {
            return bad("a chunk inside the address space", format!("{length} bytes from {logical}"));
        }
        if raw.stripe_len.get() != STRIPE_BYTES {
            return bad("stripes of 65536 bytes", raw.stripe_len.to_string());
        }
        let count = usize::from(raw.num_stripes.get());
        let Ok((stripes, _)) = <[RawStripe]>::ref_from_prefix_with_elems(rest, count) else {
            return bad(&format!("room for {count} stripes"), format!("{} bytes", rest.len()));
        };
        let profile = profile(position, raw)?;
        let mut own = Vec::new();
        for (number, stripe) in (0_u64..).zip(stripes).filter(|(_, stripe)| stripe.devid.get() == device.id) {
            if stripe.dev_uuid != device.uuid {
                return bad("a stripe on this device", format!("device {} with another UUID", device.id));
            }
            own.push(Stripe { number, position: stripe.offset.get() });
        }
        let stripe_bytes = count.saturating_mul(size_of::<RawStripe>());
        let chunk = Self {
            logical,
            length,
            kind: raw.kind.get(),
            profile,
            stripes: own,
            item_bytes: size_of::<RawChunk>().saturating_add(stripe_bytes),
        };
        chunk.check_stripes(position, device)?;
        Ok(chunk)
    }

    fn check_stripes(&self, position: u64, device: &Device) -> Result<(), Error> {
        for extent in self.device_extents() {
            if extent.length() != self.device_length() || extent.end() > device.total_bytes {
                let expected = format!("a stripe inside the {} bytes of the device", device.total_bytes);
                let actual = format!("{} bytes from {}", self.device_length(), extent.start());
                return Err(Error::corrupt(position, expected, actual));
            }
        }
        Ok(())
    }

    /// First logical address behind the chunk.
    pub(super) fn end(&self) -> u64 {
        self.logical.saturating_add(self.length)
    }

    /// Bytes of each stripe.
    fn device_length(&self) -> u64 {
        let divisor = match self.profile {
            Profile::Copies => 1,
            Profile::Turns { groups, .. } => groups,
            Profile::Parity { stripes, parities } => stripes.saturating_sub(parities),
        };
        self.length.checked_div(divisor).unwrap_or(u64::MAX)
    }

    /// The parts of this device that the chunk takes.
    pub(super) fn device_extents(&self) -> impl Iterator<Item = RegionExtent> + '_ {
        let extent = |stripe: &Stripe| {
            RegionExtent::between(stripe.position, stripe.position.saturating_add(self.device_length()))
        };
        self.stripes.iter().map(extent)
    }

    /// Number of stripes on this device.
    pub(super) fn own_stripes(&self) -> usize {
        self.stripes.len()
    }

    /// The bytes of own stripe `index` that the logical addresses from `start` to `end` take or, with parity, share
    /// a row with: what is behind a lost stripe can only be told from all others of its row.
    pub(super) fn map(&self, index: usize, start: u64, end: u64) -> RegionExtent {
        let Some(stripe) = self.stripes.get(index) else {
            return RegionExtent::between(0, 0);
        };
        let (from, to) = (start.saturating_sub(self.logical), end.min(self.end()).saturating_sub(self.logical));
        let (from, to) = match self.profile {
            Profile::Copies => (from, to),
            Profile::Turns { groups, copies } => {
                let turn = stripe.number.checked_div(copies).unwrap_or(0);
                (bytes_before(from, groups, turn), bytes_before(to, groups, turn))
            }
            Profile::Parity { stripes, parities } => {
                let row = stripes.saturating_sub(parities).saturating_mul(STRIPE_BYTES);
                let first = from.checked_div(row).unwrap_or(0);
                let last = if row == 0 { 0 } else { to.div_ceil(row) };
                (first.saturating_mul(STRIPE_BYTES), last.saturating_mul(STRIPE_BYTES))
            }
        };
        RegionExtent::between(stripe.position.saturating_add(from), stripe.position.saturating_add(to))
    }

    /// Where the tree block at `logical` lies on this device: one place for each copy. Empty where it is elsewhere.
    pub(super) fn places(&self, logical: u64, length: u64) -> Vec<u64> {
        let end = logical.saturating_add(length);
        let (from, turns) = match self.profile {
            Profile::Parity { stripes, parities } => (logical.saturating_sub(self.logical), Some((stripes, parities))),
            _ => (0, None),
        };
        let place = |(index, stripe): (usize, &Stripe)| {
            let extent = match turns {
                None => self.map(index, logical, end),
                Some((stripes, parities)) => {
                    let data = stripes.saturating_sub(parities);
                    let number = from / STRIPE_BYTES;
                    let row = number.checked_div(data)?;
                    // Rows begin one stripe further each.
                    let holder = number.checked_rem(data)?.saturating_add(row).checked_rem(stripes)?;
                    let inside = from % STRIPE_BYTES;
                    if holder != stripe.number || inside.saturating_add(length) > STRIPE_BYTES {
                        return None;
                    }
                    let start = row.saturating_mul(STRIPE_BYTES).saturating_add(inside);
                    let start = start.saturating_add(stripe.position);
                    RegionExtent::between(start, start.saturating_add(length))
                }
            };
            (extent.length() == length).then_some(extent.start())
        };
        self.stripes.iter().enumerate().filter_map(place).collect()
    }
}

/// Of the first `bytes` of a chunk, how many lie in the stripe whose turn comes `turn`-th of `groups`.
fn bytes_before(bytes: u64, groups: u64, turn: u64) -> u64 {
    let row = groups.saturating_mul(STRIPE_BYTES);
    let whole = bytes.checked_div(row).unwrap_or(0).saturating_mul(STRIPE_BYTES);
    let rest = bytes.checked_rem(row).unwrap_or(0);
    whole.saturating_add(rest.saturating_sub(turn.saturating_mul(STRIPE_BYTES)).min(STRIPE_BYTES))
}

fn profile(position: u64, raw: &RawChunk) -> Result<Profile, Error> {
    let (stripes, sub_stripes) = (u64::from(raw.num_stripes.get()), u64::from(raw.sub_stripes.get()));
    let kind = raw.kind.get();
    let (profile, is_possible, rows) = match kind & !TYPE_CONTENT {
        0 => (Profile::Copies, stripes == 1, 1),
        TYPE_DUP | TYPE_RAID1 => (Profile::Copies, stripes == 2, 1),
        TYPE_RAID1C3 => (Profile::Copies, stripes == 3, 1),
        TYPE_RAID1C4 => (Profile::Copies, stripes == 4, 1),
        TYPE_RAID0 => (Profile::Turns { groups: stripes, copies: 1 }, stripes >= 1, stripes),
        TYPE_RAID10 => {
            let groups = stripes.checked_div(2).unwrap_or(0);
            (
                Profile::Turns { groups, copies: 2 },
                sub_stripes == 2 && stripes >= 2 && stripes.is_multiple_of(2),
                groups,
            )
        }
        TYPE_RAID5 => (Profile::Parity { stripes, parities: 1 }, stripes >= 2, stripes.saturating_sub(1)),
        TYPE_RAID6 => (Profile::Parity { stripes, parities: 2 }, stripes >= 3, stripes.saturating_sub(2)),
        _ => return Err(Error::Unsupported(format!("a Btrfs chunk of the unknown kind {kind:#x}"))),
    };
    let bad = |expected: &str, actual: String| Err(Error::corrupt(position, expected, actual));
    if kind & TYPE_CONTENT == 0 {
        return bad("a chunk of data, metadata or system", format!("the kind {kind:#x}"));
    }
    if !is_possible {
        return bad(
            &format!("a number of stripes that fits the kind {kind:#x}"),
            format!("{stripes} with {sub_stripes} copies"),
        );
    }
    if profile != Profile::Copies && !raw.length.get().is_multiple_of(rows.saturating_mul(STRIPE_BYTES)) {
        return bad(&format!("a chunk of whole rows of {rows} stripes"), format!("{} bytes", raw.length));
    }
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Device = Device { id: 3, uuid: [7; 16], total_bytes: 1 << 30, used_bytes: 0 };
    const LOGICAL: u64 = 1 << 40;

    /// The item of a chunk whose stripes lie on devices from 1 on, all at 10 MiB.
    fn item(kind: u64, stripes: u16, sub_stripes: u16, length: u64) -> Vec<u8> {
        let mut item = Vec::new();
        for word in [length, 2, STRIPE_BYTES, kind] {
            item.extend(word.to_le_bytes());
        }
        item.extend([0; 12]);
        item.extend(stripes.to_le_bytes());
        item.extend(sub_stripes.to_le_bytes());
        for device in 1..=u64::from(stripes) {
            item.extend(device.to_le_bytes());
            item.extend((10_u64 << 20).to_le_bytes());
            item.extend([7; 16]);
        }
        item
    }

    fn chunk(kind: u64, stripes: u16, sub_stripes: u16, length: u64) -> Result<Chunk, Error> {
        Chunk::parse(0, LOGICAL, &item(kind, stripes, sub_stripes, length), &DEVICE)
    }

    /// Every byte of every stripe, as the specification of the profile tells it block by block.
    fn check_against_block_by_block(kind: u64, stripes: u16, sub_stripes: u16, parities: u64) {
        let groups = match sub_stripes {
            2 => u64::from(stripes) / 2,
            _ => u64::from(stripes) - parities,
        };
        let length = groups * STRIPE_BYTES * 3;
        for device in 1..=u64::from(stripes) {
            let device = Device { id: device, ..DEVICE };
            let chunk = Chunk::parse(0, LOGICAL, &item(kind, stripes, sub_stripes, length), &device).unwrap();
            assert_eq!(chunk.device_extents().next().unwrap().length(), 3 * STRIPE_BYTES);
            for block in 0..length / 16384 {
                let at = block * 16384;
                let (number, row) = (at / STRIPE_BYTES % groups, at / STRIPE_BYTES / groups);
                let holders: Vec<u64> = match (sub_stripes, parities) {
                    (2, _) => vec![number * 2, number * 2 + 1],
                    (_, 0) => vec![number],
                    _ => vec![(number + row) % u64::from(stripes)],
                };
                let place = (10 << 20) + row * STRIPE_BYTES + at % STRIPE_BYTES;
                let is_here = holders.contains(&(device.id - 1));
                let expected = if is_here { vec![place] } else { vec![] };
                assert_eq!(chunk.places(LOGICAL + at, 16384), expected, "block {block} on {device:?}");
                let mapped = chunk.map(0, LOGICAL + at, LOGICAL + at + 16384);
                if parities > 0 {
                    // The whole row.
                    let start = (10 << 20) + row * STRIPE_BYTES;
                    assert_eq!(mapped, RegionExtent::between(start, start + STRIPE_BYTES));
                } else {
                    assert_eq!(!mapped.is_empty(), is_here);
                    assert!(mapped.is_empty() || mapped == RegionExtent::between(place, place + 16384));
                }
            }
            // A run over several rows is one run on the device.
            let run = chunk.map(0, LOGICAL, LOGICAL + length);
            assert_eq!(run, RegionExtent::between(10 << 20, (10 << 20) + 3 * STRIPE_BYTES));
        }
    }

    #[test]
    fn stripes_take_turns() {
        check_against_block_by_block(1 | TYPE_RAID0, 3, 1, 0);
        check_against_block_by_block(1 | TYPE_RAID0, 4, 0, 0);
        check_against_block_by_block(1 | TYPE_RAID10, 6, 2, 0);
        check_against_block_by_block(4 | TYPE_RAID5, 3, 1, 1);
        check_against_block_by_block(4 | TYPE_RAID5, 4, 1, 1);
        check_against_block_by_block(4 | TYPE_RAID6, 5, 1, 2);
    }

    #[test]
    fn a_run_from_the_middle_of_one_turn_to_another() {
        let chunk = chunk(1 | TYPE_RAID0, 3, 1, 30 * STRIPE_BYTES).unwrap();
        // From half of stripe 1 (the second device) to a quarter of stripe 5, which is the third device's second.
        let (start, end) = (STRIPE_BYTES * 3 / 2, STRIPE_BYTES * 21 / 4);
        let expected = RegionExtent::between(10 << 20, (10 << 20) + STRIPE_BYTES * 5 / 4);
        assert_eq!(chunk.map(0, LOGICAL + start, LOGICAL + end), expected);
    }

    #[test]
    fn copies_lie_at_the_same_place_of_every_stripe() {
        let mut bytes = item(4 | TYPE_DUP, 2, 1, 8 << 20);
        bytes[48..56].copy_from_slice(&3_u64.to_le_bytes());
        bytes[80..88].copy_from_slice(&3_u64.to_le_bytes());
        bytes[88..96].copy_from_slice(&(50_u64 << 20).to_le_bytes());
        let chunk = Chunk::parse(0, LOGICAL, &bytes, &DEVICE).unwrap();
        assert_eq!(chunk.own_stripes(), 2);
        assert_eq!(chunk.places(LOGICAL + 16384, 16384), [(10 << 20) + 16384, (50 << 20) + 16384]);
        let second = RegionExtent::between((50 << 20) + 4096, (50 << 20) + 12288);
        assert_eq!(chunk.map(1, LOGICAL + 4096, LOGICAL + 12288), second);
    }

    #[track_caller]
    fn check_refused(chunk: Result<Chunk, Error>, expected: &str) {
        let error = chunk.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn chunks_that_can_not_be() {
        check_refused(chunk(1, 1, 1, 0), "expected a chunk inside the address space, found 0 bytes");
        check_refused(chunk(1, 1, 1, u64::MAX), "inside the address space");
        check_refused(chunk(1 | TYPE_RAID1, 3, 1, 1 << 20), "fits the kind 0x11, found 3 with 1 copies");
        check_refused(chunk(1 | TYPE_RAID10, 4, 1, 1 << 20), "fits the kind 0x41, found 4 with 1 copies");
        check_refused(chunk(1 | TYPE_RAID6, 2, 1, 1 << 20), "fits the kind 0x101");
        check_refused(chunk(1 | TYPE_RAID0 | TYPE_RAID1, 2, 1, 1 << 20), "unknown kind 0x19");
        check_refused(chunk(1 | 0x800, 1, 1, 1 << 20), "unknown kind 0x801");
        check_refused(chunk(TYPE_RAID0, 3, 1, 1 << 20), "data, metadata or system, found the kind 0x8");
        check_refused(chunk(1 | TYPE_RAID0, 3, 1, 1 << 20), "whole rows of 3 stripes, found 1048576 bytes");
        check_refused(chunk(1 | TYPE_RAID1C3, 3, 1, 1 << 30), "a stripe inside the 1073741824 bytes");
        check_refused(Chunk::parse(0, 0, &item(1, 1, 1, 4096)[..50], &DEVICE), "room for 1 stripes, found 2 bytes");
        check_refused(Chunk::parse(0, 0, &[0; 47], &DEVICE), "a chunk, found 47 bytes");
        let mut bytes = item(1 | TYPE_RAID1C3, 3, 1, 4096);
        bytes[16] = 1;
        check_refused(Chunk::parse(0, 0, &bytes, &DEVICE), "stripes of 65536 bytes, found 65537");
        let mut bytes = item(1 | TYPE_RAID1C3, 3, 1, 4096);
        *bytes.last_mut().unwrap() = 8;
        check_refused(Chunk::parse(0, 0, &bytes, &DEVICE), "a stripe on this device, found device 3 with another UUID");
    }
}
