//! The superblock of md version 0.90: 4 KiB, 64 to 128 KiB before the end of the device.
//!
//! It is written in the byte order of the machine; that of big-endian machines is recognised and not read.
//!
//! Source: Linux `include/uapi/linux/raid/md_p.h` (`mdp_super_t`), `drivers/md/md.c` (`super_90_load`,
//! `super_90_validate`, `calc_sb_csum`).

use block::{ReadAt, read_vec};
use zerocopy::{FromBytes, Immutable, KnownLayout, LE, U32, Unaligned};

use super::{Level, MAGIC, Member, State};
use crate::Error;
use crate::identity::uuid_text;

const SIZE: usize = 4096;
/// The superblock lies at the last multiple of this that leaves as much behind it.
const RESERVED: u64 = 0x1_0000;
const CHECKSUM_OFFSET: usize = 38 * 4;
const STATE_CLEAN: u32 = 1;
const STATE_BITMAP: u32 = 1 << 8;
/// Errors only tell that a member was lost; everything else is not known here.
const STATES_KNOWN: u32 = STATE_CLEAN | 2 | STATE_BITMAP;
const DISK_FAULTY: u32 = 1;
const DISK_ACTIVE: u32 = 1 << 1;
const DISK_SYNC: u32 = 1 << 2;
/// Mostly written to, fails fast: says how a member is used, not what it holds.
const DISK_HINTS: u32 = 1 << 9 | 1 << 10;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    md_magic: [u8; 4],
    major_version: U32<LE>,
    minor_version: U32<LE>,
    patch_version: U32<LE>,
    gvalid_words: U32<LE>,
    set_uuid0: U32<LE>,
    ctime: U32<LE>,
    level: U32<LE>,
    size: U32<LE>,
    nr_disks: U32<LE>,
    raid_disks: U32<LE>,
    md_minor: U32<LE>,
    not_persistent: U32<LE>,
    set_uuid1: U32<LE>,
    set_uuid2: U32<LE>,
    set_uuid3: U32<LE>,
    gstate_creserved: [[u8; 4]; 16],
    utime: U32<LE>,
    state: U32<LE>,
    active_disks: U32<LE>,
    working_disks: U32<LE>,
    failed_disks: U32<LE>,
    spare_disks: U32<LE>,
    sb_csum: U32<LE>,
    events_lo: U32<LE>,
    events_hi: U32<LE>,
}

/// `mdp_disk_t`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Descriptor {
    number: U32<LE>,
    major: U32<LE>,
    minor: U32<LE>,
    raid_disk: U32<LE>,
    state: U32<LE>,
}

/// Where `this_disk` lies.
const THIS_DISK_OFFSET: usize = 992 * 4;

/// Where a superblock would be on a device of this size.
pub fn position(size: u64) -> Option<u64> {
    (size & !(RESERVED.saturating_sub(1))).checked_sub(RESERVED).filter(|position| *position > 0)
}

/// The member that `device` is by a superblock of this version.
pub fn find(device: &dyn ReadAt) -> Result<Option<Member>, Error> {
    let Some(position) = position(device.size()) else { return Ok(None) };
    let bytes = read_vec(device, position, SIZE)?;
    let Ok((raw, _)) = Raw::ref_from_prefix(&bytes) else { return Ok(None) };
    let swapped = [raw.md_magic[3], raw.md_magic[2], raw.md_magic[1], raw.md_magic[0]];
    if swapped == MAGIC {
        return Err(Error::Unsupported("a superblock of md 0.90 of a big-endian machine".to_owned()));
    }
    if raw.md_magic != MAGIC || raw.major_version.get() != 0 {
        return Ok(None);
    }
    let computed = checksum(&bytes);
    if raw.sb_csum.get() != computed {
        let actual = format!("{:#010x}", raw.sb_csum);
        let place = position.saturating_add(152);
        return Err(Error::corrupt(place, format!("md superblock: checksum {computed:#010x}"), actual));
    }
    let this = bytes.get(THIS_DISK_OFFSET..).and_then(|bytes| Descriptor::ref_from_prefix(bytes).ok());
    let Some((this, _)) = this else { return Ok(None) };
    // Four numbers, printed one after the other.
    let words = [raw.set_uuid0, raw.set_uuid1, raw.set_uuid2, raw.set_uuid3];
    let uuid = words.map(|word| word.get().to_be_bytes()).concat();
    Ok(Some(Member {
        version: format!("0.{}", raw.minor_version),
        uuid: <[u8; 16]>::try_from(uuid.as_slice()).ok().and_then(|uuid| uuid_text(&uuid)),
        name: None,
        device_uuid: None,
        level: Level::from_number(raw.level.get().cast_signed()),
        devices: raw.raid_disks.get(),
        role: (this.raid_disk.get() < raw.raid_disks.get()).then(|| this.raid_disk.get()),
        events: u64::from(raw.events_hi.get()) << 32 | u64::from(raw.events_lo.get()),
        data_start: 0,
        data_length: u64::from(raw.size.get()).saturating_mul(1024).min(position),
        has_bitmap: raw.state.get() & STATE_BITMAP != 0,
        superblock: position,
        state: state(raw, this),
    }))
}

fn state(raw: &Raw, this: &Descriptor) -> State {
    if raw.minor_version.get() != 90 {
        return State::Changing(format!("a reshape, version 0.{}", raw.minor_version));
    }
    let (flags, set) = (this.state.get() & !DISK_HINTS, raw.state.get());
    if flags & DISK_FAULTY != 0 || flags != DISK_ACTIVE | DISK_SYNC || this.raid_disk.get() >= raw.raid_disks.get() {
        return State::NotInSync(format!("the member has the state {flags:#x}"));
    }
    if set & !STATES_KNOWN != 0 {
        return State::Changing(format!("an array of state {set:#x}"));
    }
    if set & STATE_CLEAN == 0 {
        return State::NotClean;
    }
    State::InSync
}

/// The sum of all words with that of the checksum as zero, its overflow added to it.
fn checksum(bytes: &[u8]) -> u32 {
    let before = bytes.get(..CHECKSUM_OFFSET).unwrap_or_default();
    let after = bytes.get(CHECKSUM_OFFSET.saturating_add(4)..).unwrap_or_default();
    super::fold(super::sum_of_words(before).saturating_add(super::sum_of_words(after)))
}
