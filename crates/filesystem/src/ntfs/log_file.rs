//! The restart pages of `$LogFile`: whether the journal was closed.
//!
//! Only the restart pages are looked at, so a volume that was idle when the power went counts as
//! unclean. Source: ntfs-3g `include/ntfs-3g/logfile.h`, `libntfs-3g/logfile.c`
//! (`ntfs_check_logfile`, `ntfs_is_logfile_clean`) and `libntfs-3g/volume.c` for version 2.0.

use zerocopy::{FromBytes, I16, I64, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use crate::Error;
use crate::ntfs::bytes::index;
use crate::ntfs::stream::Stream;
use crate::ntfs::update_sequence;
use crate::ntfs::volume::Volume;

/// A restart page starts with one of the two page numbers; page sizes are powers of two.
const PAGE_SIZE_LIMIT: u32 = 64 << 10;
const BLOCK_BYTES: u64 = 512;
/// Two restart pages and the fewest log pages, as ntfs-3g counts them.
const SMALLEST_LOG: u64 = 50 * 4096;
const LARGEST_LOG: u64 = 1 << 32;
const NO_CLIENT: u16 = 0xFFFF;
const RESTART_VOLUME_IS_CLEAN: u16 = 2;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRestartPage {
    magic: [u8; 4],
    usa_ofs: U16<LE>,
    usa_count: U16<LE>,
    chkdsk_lsn: I64<LE>,
    system_page_size: U32<LE>,
    log_page_size: U32<LE>,
    restart_area_offset: U16<LE>,
    minor_ver: I16<LE>,
    major_ver: I16<LE>,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawRestartArea {
    current_lsn: I64<LE>,
    log_clients: U16<LE>,
    client_free_list: U16<LE>,
    client_in_use_list: U16<LE>,
    flags: U16<LE>,
    seq_number_bits: U32<LE>,
    restart_area_length: U16<LE>,
    client_array_offset: U16<LE>,
    file_size: U64<LE>,
}

/// What one restart page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RestartPage {
    lsn: i64,
    version: (i16, i16),
    clients_in_use: bool,
    marked_clean: bool,
}

/// Checks that the journal was closed, or emptied after that.
///
/// # Errors
/// `NotClean` where it was not, or can't be judged.
pub fn check_clean(volume: &Volume<'_>, log: &Stream) -> Result<(), Error> {
    let size = log.size().min(LARGEST_LOG);
    if size < SMALLEST_LOG {
        return Err(Error::NotClean(format!("$LogFile of {size} bytes is too small to be one")));
    }
    let mut pages: Vec<RestartPage> = Vec::new();
    let mut is_empty = true;
    let mut page_end = 0;
    // A page can be as small as a block, so the second one may lie at any power of two.
    let starts = std::iter::successors(Some(BLOCK_BYTES), |start| start.checked_mul(2));
    for start in std::iter::once(0).chain(starts.take_while(|start| *start < size)) {
        if start < page_end {
            continue;
        }
        let mut block = [0; 512];
        volume.read(log, start, &mut block)?;
        let block_is_empty = block.iter().all(|byte| *byte == 0xFF);
        is_empty &= block_is_empty;
        // Log pages come after the restart pages; so does what was never written.
        if (block_is_empty && !is_empty) || block.starts_with(b"RCRD") {
            break;
        }
        if block.starts_with(b"RSTR") || block.starts_with(b"CHKD") {
            let page_size = page_size(start, &block)?;
            page_end = start.saturating_add(u64::from(page_size));
            pages.push(read_page(volume, log, start, page_size)?);
        }
        if pages.len() == 2 {
            break;
        }
    }
    if is_empty {
        return Ok(());
    }
    judge(&pages)
}

fn judge(pages: &[RestartPage]) -> Result<(), Error> {
    // The first of two equal pages, as the more recent one.
    let Some(page) = pages.iter().rev().max_by_key(|page| page.lsn) else {
        return Err(Error::NotClean("$LogFile has no restart page and is not empty".to_owned()));
    };
    if page.clients_in_use && !page.marked_clean {
        return Err(Error::NotClean("$LogFile is open: the volume was not unmounted".to_owned()));
    }
    match page.version {
        (1, 1) => Ok(()),
        // Windows 8 and later go back to 1.1 when they unmount a volume.
        (2, 0) => Err(Error::NotClean(
            "$LogFile of version 2.0: Windows keeps metadata in its cache (fast startup) or was switched off"
                .to_owned(),
        )),
        (major, minor) => Err(Error::Unsupported(format!("$LogFile of version {major}.{minor}"))),
    }
}

fn page_size(start: u64, block: &[u8; 512]) -> Result<u32, Error> {
    let size = RawRestartPage::ref_from_prefix(block).map_or(0, |(raw, _)| raw.system_page_size.get());
    if size.is_power_of_two() && (512..=PAGE_SIZE_LIMIT).contains(&size) {
        return Ok(size);
    }
    Err(damaged_page(start, &format!("page size {size}")))
}

fn read_page(volume: &Volume<'_>, log: &Stream, start: u64, size: u32) -> Result<RestartPage, Error> {
    let mut page = vec![0; index(size)];
    volume.read(log, start, &mut page)?;
    parse_page(&mut page).map_err(|what| damaged_page(start, &what))
}

/// A page that was not written to its end was being written when the power went.
fn damaged_page(start: u64, what: &str) -> Error {
    Error::NotClean(format!("restart page at byte {start} of $LogFile: {what}"))
}

fn parse_page(page: &mut [u8]) -> Result<RestartPage, String> {
    let is_chkdsk = page.starts_with(b"CHKD");
    let has_sequence = |raw: &RawRestartPage| raw.usa_count.get() != 0;
    let raw = RawRestartPage::ref_from_prefix(page).map_err(|_| "no header".to_owned())?.0;
    // chkdsk leaves its pages without an update sequence.
    if !is_chkdsk || has_sequence(raw) {
        update_sequence::restore_blocks(page, 0).map_err(|error| error.to_string())?;
    }
    let raw = RawRestartPage::ref_from_prefix(page).map_err(|_| "no header".to_owned())?.0;
    let offset = raw.restart_area_offset.get();
    let area = page.get(usize::from(offset)..).filter(|_| offset % 8 == 0 && offset >= 30);
    let area = area.and_then(|area| RawRestartArea::ref_from_prefix(area).ok());
    let (area, _) = area.ok_or_else(|| format!("restart area at {offset}"))?;
    let (clients, in_use) = (area.log_clients.get(), area.client_in_use_list.get());
    for list in [in_use, area.client_free_list.get()] {
        if list != NO_CLIENT && list >= clients {
            return Err(format!("client {list} of {clients}"));
        }
    }
    Ok(RestartPage {
        lsn: if is_chkdsk { raw.chkdsk_lsn.get() } else { area.current_lsn.get() },
        version: (raw.major_ver.get(), raw.minor_ver.get()),
        clients_in_use: in_use != NO_CLIENT,
        marked_clean: area.flags.get() & RESTART_VOLUME_IS_CLEAN != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut page = vec![0; 4096];
        page[..8].copy_from_slice(b"RSTR\x1E\0\x09\0");
        page[16..24].copy_from_slice(&[0, 16, 0, 0, 0, 16, 0, 0]);
        page[24..30].copy_from_slice(&[0x30, 0, 1, 0, 1, 0]);
        let area = &mut page[0x30..0x60];
        area[0] = 42;
        area[8..16].copy_from_slice(&[1, 0, 0xFF, 0xFF, 0, 0, 2, 0]);
        for block in page.chunks_exact_mut(512) {
            block[510..].fill(0);
        }
        page
    }

    const CLEAN: RestartPage = RestartPage { lsn: 42, version: (1, 1), clients_in_use: true, marked_clean: true };

    #[test]
    fn a_restart_page_says_whether_the_journal_is_open() {
        assert_eq!(parse_page(&mut sample()), Ok(CLEAN));
        let mut page = sample();
        page[0x30 + 14] = 0;
        assert_eq!(parse_page(&mut page), Ok(RestartPage { marked_clean: false, ..CLEAN }));
        page[0x30 + 12..0x30 + 14].fill(0xFF);
        let closed = RestartPage { clients_in_use: false, marked_clean: false, ..CLEAN };
        assert_eq!(parse_page(&mut page), Ok(closed));
        assert!(judge(&[closed]).is_ok());
    }

    #[track_caller]
    fn check_error(at: usize, value: u8, expected: &str) {
        let mut page = sample();
        page[at] = value;
        assert_eq!(parse_page(&mut page).unwrap_err(), expected);
    }

    #[test]
    fn damaged_restart_pages_are_damage() {
        check_error(24, 0x31, "restart area at 49");
        check_error(25, 0x10, "restart area at 4144");
        check_error(0x30 + 12, 1, "client 1 of 1");
        check_error(
            4095,
            1,
            "at byte 0 of the region: expected update sequence number 0x0000 in block 7, found 0x0100",
        );
    }

    #[track_caller]
    fn check_judgement(pages: &[RestartPage], expected: Option<&str>) {
        assert_eq!(judge(pages).err().map(|error| error.to_string()).as_deref(), expected);
    }

    #[test]
    fn the_more_recent_page_decides() {
        let open = RestartPage { marked_clean: false, ..CLEAN };
        let not_unmounted = Some("$LogFile is open: the volume was not unmounted");
        check_judgement(&[CLEAN, open], None);
        check_judgement(&[open, CLEAN], not_unmounted);
        check_judgement(&[CLEAN, RestartPage { lsn: 43, ..open }], not_unmounted);
        check_judgement(&[RestartPage { lsn: 43, ..open }, CLEAN], not_unmounted);
        check_judgement(&[open, RestartPage { lsn: 43, ..CLEAN }], None);
        check_judgement(&[], Some("$LogFile has no restart page and is not empty"));
    }

    #[test]
    fn versions_other_than_1_1_are_not_trusted() {
        let detail = "$LogFile of version 2.0: Windows keeps metadata in its cache (fast startup) or was switched off";
        check_judgement(&[RestartPage { version: (2, 0), ..CLEAN }], Some(detail));
        check_judgement(&[RestartPage { version: (3, 0), ..CLEAN }], Some("$LogFile of version 3.0"));
    }
}
