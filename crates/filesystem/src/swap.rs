//! Linux swap. Nothing in it outlives a restart but its header, unless a suspended system lies in it.
//!
//! Source: Linux `include/linux/swap.h` (`union swap_header`), `kernel/power/swap.c`; util-linux `mkswap(8)` and
//! `libblkid/src/superblocks/swap.c` for the signatures of suspended systems.

use block::{ReadAt, RegionExtent};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::identity::{label_text, uuid_text};
use crate::new_identity::{NewId, Patches};
use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};

/// The page sizes of the processors that Linux runs on.
const PAGE_SIZES: [u32; 5] = [4096, 8192, 16384, 32768, 65536];
/// A signature fills the last bytes of the first page.
const SIGNATURE_LENGTH: u64 = 10;
/// Where the header starts; boot code may lie before it.
const HEADER_POSITION: u64 = 1024;
/// Where `sws_uuid` lies.
const UUID_POSITION: u64 = HEADER_POSITION + 12;
/// The list of bad pages starts this many bytes into the first page.
const BAD_PAGES_POSITION: u64 = 1536;

const VERSION_1: &[u8] = b"SWAPSPACE2";
const VERSION_0: &[u8] = b"SWAP-SPACE";
const SUSPENDED: [&[u8]; 4] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"];
/// TuxOnIce leaves the swap signature and begins the page with its own.
const TUX_ON_ICE: [u8; 8] = [0xED, 0xC3, 0x02, 0xE9, 0x98, 0x56, 0xE5, 0x0C];

/// `info` of `union swap_header`. Written in the byte order of the machine that made it.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    version: [u8; 4],
    last_page: [u8; 4],
    nr_badpages: [u8; 4],
    sws_uuid: [u8; 16],
    sws_volume: [u8; 16],
}

/// What lies in the region.
struct Swap {
    page_size: u32,
    state: State,
    header: Header,
    /// Numbers are big-endian.
    big_endian: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Swap,
    OldSwap,
    Suspended(&'static str),
}

/// Finds swap, also with a suspended system in it.
pub fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let found = find(region)?;
    Ok(found.first().map(|swap| {
        let kind = if matches!(swap.state, State::Suspended(_)) { "swsuspend" } else { "swap" };
        FileSystem {
            kind: kind.to_owned(),
            uuid: uuid_text(&swap.header.sws_uuid),
            label: label_text(&swap.header.sws_volume),
            block_size: swap.page_size,
            size: if swap.version() == 1 { swap.size() } else { region.size() },
        }
    }))
}

/// The header page.
pub fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let found = find(region)?;
    if let Some(name) = found.iter().find_map(|swap| match swap.state {
        State::Suspended(name) => Some(name),
        _ => None,
    }) {
        return Err(Error::Hibernated(format!("a suspended system with the signature {name}")));
    }
    let [swap] = found.as_slice() else {
        let sizes: Vec<_> = found.iter().map(|swap| swap.page_size.to_string()).collect();
        return Err(Error::Unsupported(format!("swap signatures for pages of {} bytes", sizes.join(" and "))));
    };
    if swap.state == State::OldSwap || swap.version() != 1 {
        return Err(Error::Unsupported(format!("swap of version {}", swap.version())));
    }
    let page = u64::from(swap.page_size);
    if swap.size() <= page {
        return Err(Error::corrupt(HEADER_POSITION.saturating_add(4), "a last page above 0", "0"));
    }
    let bad_pages = u64::from(swap.number(&swap.header.nr_badpages));
    let room = page.saturating_sub(BAD_PAGES_POSITION).saturating_sub(SIGNATURE_LENGTH) / 4;
    if bad_pages > room {
        let expected = format!("at most {room} bad pages");
        return Err(Error::corrupt(HEADER_POSITION.saturating_add(8), expected, bad_pages.to_string()));
    }
    if bad_pages > 0 {
        notes.push(Note { code: NoteCode::BadBlocks, detail: format!("{bad_pages} bad pages") });
    }
    let mut used = UsedBytes::new();
    used.add(RegionExtent::between(0, page));
    Ok(used)
}

/// Another UUID.
pub fn patch_identity(region: &dyn ReadAt, id: NewId, patches: &mut Patches<'_>) -> Result<(), Error> {
    // Whatever keeps its used bytes from being told keeps its name, too.
    coverage(region, &mut Vec::new())?;
    patches.add(UUID_POSITION, id.uuid().to_vec())
}

impl Swap {
    fn number(&self, field: &[u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(*field) } else { u32::from_le_bytes(*field) }
    }

    fn version(&self) -> u32 {
        if self.state == State::OldSwap { 0 } else { self.number(&self.header.version) }
    }

    fn size(&self) -> u64 {
        let pages = u64::from(self.number(&self.header.last_page)).saturating_add(1);
        pages.saturating_mul(u64::from(self.page_size))
    }
}

/// Every signature, one for each page size at most.
fn find(region: &dyn ReadAt) -> Result<Vec<Swap>, Error> {
    let mut found = Vec::new();
    for page_size in PAGE_SIZES {
        if region.size() < u64::from(page_size) {
            break;
        }
        let mut signature = [0; 10];
        region.read_at(u64::from(page_size).saturating_sub(SIGNATURE_LENGTH), &mut signature)?;
        let Some(state) = state_of(region, &signature)? else { continue };
        let mut bytes = [0; size_of::<Header>()];
        region.read_at(HEADER_POSITION, &mut bytes)?;
        let Ok(header) = Header::read_from_bytes(&bytes) else { continue };
        let big_endian = u32::from_be_bytes(header.version) == 1;
        found.push(Swap { page_size, state, header, big_endian });
    }
    Ok(found)
}

fn state_of(region: &dyn ReadAt, signature: &[u8]) -> Result<Option<State>, Error> {
    if let Some(name) = SUSPENDED.into_iter().find(|name| signature.starts_with(name)) {
        return Ok(Some(State::Suspended(std::str::from_utf8(name).unwrap_or_default())));
    }
    if signature != VERSION_1 && signature != VERSION_0 {
        return Ok(None);
    }
    let mut start = [0; 8];
    region.read_at(0, &mut start)?;
    Ok(Some(match signature {
        _ if start == TUX_ON_ICE => State::Suspended("TuxOnIce"),
        VERSION_0 => State::OldSwap,
        _ => State::Swap,
    }))
}

#[cfg(test)]
mod tests {
    use block::{MemoryDisk, WriteAt};

    use super::*;
    use crate::{Coverage, ReasonCode, survey};

    const UUID: [u8; 16] =
        [0x79, 0xC1, 0x12, 0xED, 0x86, 0x26, 0x4B, 0xD7, 0xA9, 0x9A, 0x2A, 0xC4, 0x43, 0x8D, 0x5D, 0x76];

    /// Swap of 100 pages in a region of 102, byte order as asked for.
    fn swap(page_size: u32, number: fn(u32) -> [u8; 4], signature: &[u8]) -> MemoryDisk {
        let disk = MemoryDisk::new(u64::from(page_size) * 102).with_fill(0x11);
        disk.write_at(0, &vec![0; page_size as usize]).unwrap();
        for (position, value) in [(1024, 1), (1028, 99), (1032, 0)] {
            disk.write_at(position, &number(value)).unwrap();
        }
        disk.write_at(1036, &UUID).unwrap();
        disk.write_at(1052, b"swap one").unwrap();
        disk.write_at(u64::from(page_size) - 10, signature).unwrap();
        disk
    }

    fn reason(disk: &MemoryDisk) -> (ReasonCode, String) {
        match survey(disk).coverage {
            Coverage::Whole(reason) => (reason.code, reason.detail),
            Coverage::Used(extents) => panic!("used: {extents:?}"),
        }
    }

    #[test]
    fn the_header_page_and_what_lies_behind_the_last_page_are_used() {
        for page_size in PAGE_SIZES {
            for number in [u32::to_le_bytes, u32::to_be_bytes] {
                let survey = survey(&swap(page_size, number, b"SWAPSPACE2"));
                let page = u64::from(page_size);
                let file_system = survey.file_system.unwrap();
                assert_eq!(file_system.kind, "swap");
                assert_eq!(file_system.uuid.as_deref(), Some("79c112ed-8626-4bd7-a99a-2ac4438d5d76"));
                assert_eq!(file_system.label.as_deref(), Some("swap one"));
                assert_eq!((file_system.block_size, file_system.size), (page_size, page * 100));
                let expected = [RegionExtent::between(0, page), RegionExtent::between(page * 100, page * 102)];
                assert_eq!(survey.coverage, Coverage::Used(expected.into_iter().collect()));
                assert!(survey.notes.is_empty());
            }
        }
    }

    #[test]
    fn a_suspended_system_is_saved_whole() {
        for signature in [&b"S1SUSPEND"[..], b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"] {
            let disk = swap(4096, u32::to_le_bytes, signature);
            assert_eq!(survey(&disk).file_system.unwrap().kind, "swsuspend");
            let name = String::from_utf8_lossy(signature);
            assert_eq!(
                reason(&disk),
                (ReasonCode::Hibernated, format!("a suspended system with the signature {name}"))
            );
        }
        let disk = swap(4096, u32::to_le_bytes, b"SWAPSPACE2");
        disk.write_at(0, &TUX_ON_ICE).unwrap();
        assert_eq!(reason(&disk).0, ReasonCode::Hibernated);
    }

    #[test]
    fn bent_headers_are_saved_whole() {
        let bent = |position, bytes: &[u8]| {
            let disk = swap(4096, u32::to_le_bytes, b"SWAPSPACE2");
            disk.write_at(position, bytes).unwrap();
            reason(&disk)
        };
        assert_eq!(bent(1024, &[2]), (ReasonCode::Unsupported, "swap of version 2".to_owned()));
        assert_eq!(bent(4086, b"SWAP-SPACE"), (ReasonCode::Unsupported, "swap of version 0".to_owned()));
        assert_eq!(
            bent(65526, b"SWAPSPACE2"),
            (ReasonCode::Unsupported, "swap signatures for pages of 4096 and 65536 bytes".to_owned())
        );
        assert_eq!(
            bent(1028, &0_u32.to_le_bytes()),
            (ReasonCode::Damaged, "at byte 1028 of the region: expected a last page above 0, found 0".to_owned())
        );
        assert_eq!(
            bent(1032, &638_u32.to_le_bytes()),
            (ReasonCode::Damaged, "at byte 1032 of the region: expected at most 637 bad pages, found 638".to_owned())
        );
        assert_eq!(
            bent(1028, &102_u32.to_le_bytes()),
            (ReasonCode::Damaged, "the file system has 421888 bytes, the region 417792".to_owned())
        );
    }

    #[test]
    fn bad_pages_are_noted() {
        let disk = swap(4096, u32::to_le_bytes, b"SWAPSPACE2");
        disk.write_at(1032, &[3]).unwrap();
        let survey = survey(&disk);
        assert_eq!(survey.notes, [Note { code: NoteCode::BadBlocks, detail: "3 bad pages".to_owned() }]);
        assert!(matches!(survey.coverage, Coverage::Used(_)));
    }

    #[test]
    fn other_signatures_are_none() {
        assert!(survey(&swap(4096, u32::to_le_bytes, b"SWAPSPACE3")).file_system.is_none());
        assert!(survey(&MemoryDisk::new(4095)).file_system.is_none());
    }
}
