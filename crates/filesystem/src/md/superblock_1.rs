//! The superblock of md versions 1.0 (8 KiB before the end), 1.1 (at the start) and 1.2 (4 KiB from the start).
//!
//! Source: Linux `include/uapi/linux/raid/md_p.h` (`struct mdp_superblock_1`), `drivers/md/md.c` (`super_1_load`,
//! `super_1_validate`, `calc_sb_1_csum`).

use block::{ReadAt, read_vec};
use zerocopy::{FromBytes, I32, Immutable, KnownLayout, LE, U16, U32, U64, Unaligned};

use super::{Level, MAGIC, Member, State};
use crate::Error;
use crate::identity::{label_text, uuid_text};

const SECTOR: u64 = 512;
const SIZE: usize = 4096;
/// Roles follow the fields.
const FIELDS: usize = 256;
const CHECKSUM_OFFSET: usize = 216;

/// A write-intent bitmap: the only feature under which the data is where the superblock says and what it says.
const FEATURE_BITMAP_OFFSET: u32 = 1;
const FEATURE_RECOVERY_OFFSET: u32 = 1 << 1;
const FEATURE_RESHAPE_ACTIVE: u32 = 1 << 2;
const FEATURE_BAD_BLOCKS: u32 = 1 << 3;
const FEATURE_REPLACEMENT: u32 = 1 << 4;
/// A member with this role takes part in nothing.
const ROLE_SPARE: u16 = 0xFFFF;
const ROLE_FAULTY: u16 = 0xFFFE;
const ROLE_JOURNAL: u16 = 0xFFFD;
/// Everything was written to all members.
const RESYNC_DONE: u64 = u64::MAX;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    magic: [u8; 4],
    major_version: U32<LE>,
    feature_map: U32<LE>,
    pad0: U32<LE>,
    set_uuid: [u8; 16],
    set_name: [u8; 32],
    ctime: U64<LE>,
    level: I32<LE>,
    layout: U32<LE>,
    size: U64<LE>,
    chunksize: U32<LE>,
    raid_disks: U32<LE>,
    bitmap_offset: I32<LE>,
    new_level: U32<LE>,
    reshape_position: U64<LE>,
    delta_disks: U32<LE>,
    new_layout: U32<LE>,
    new_chunk: U32<LE>,
    new_offset: U32<LE>,
    data_offset: U64<LE>,
    data_size: U64<LE>,
    super_offset: U64<LE>,
    recovery_offset: U64<LE>,
    dev_number: U32<LE>,
    cnt_corrected_read: U32<LE>,
    device_uuid: [u8; 16],
    devflags: u8,
    bblog_shift: u8,
    bblog_size: U16<LE>,
    bblog_offset: I32<LE>,
    utime: U64<LE>,
    events: U64<LE>,
    resync_offset: U64<LE>,
    sb_csum: U32<LE>,
    max_dev: U32<LE>,
}

/// Where a superblock of version 1.0 would be on a device of this size.
pub fn position_at_end(size: u64) -> Option<u64> {
    let sectors = (size / SECTOR).checked_sub(16)? & !7;
    Some(sectors.saturating_mul(SECTOR)).filter(|position| *position > 0)
}

/// The members that `device` is by superblocks of these versions.
pub fn find(device: &dyn ReadAt) -> Result<Vec<Member>, Error> {
    let places = [position_at_end(device.size()).map(|end| ("1.0", end)), Some(("1.1", 0)), Some(("1.2", 4096))];
    let mut found = Vec::new();
    for (version, position) in places.into_iter().flatten() {
        found.extend(at(device, version, position)?);
    }
    Ok(found)
}

/// The member by a superblock at `position`.
pub fn at(device: &dyn ReadAt, version: &str, position: u64) -> Result<Option<Member>, Error> {
    let size = u64::try_from(SIZE).unwrap_or_default();
    if position.checked_add(size).is_none_or(|end| end > device.size()) {
        return Ok(None);
    }
    let bytes = read_vec(device, position, SIZE)?;
    let Ok((raw, _)) = Raw::ref_from_prefix(&bytes) else { return Ok(None) };
    if raw.magic != MAGIC || raw.major_version.get() != 1 {
        return Ok(None);
    }
    let corrupt = |offset: u64, expected: String, actual: String| {
        Error::corrupt(position.saturating_add(offset), format!("md superblock: {expected}"), actual)
    };
    let roles = usize::try_from(raw.max_dev.get()).ok().and_then(|count| count.checked_mul(2));
    let roles = roles.and_then(|length| bytes.get(FIELDS..FIELDS.saturating_add(length)));
    let Some(roles) = roles else {
        return Err(corrupt(220, "at most 1920 roles".to_owned(), raw.max_dev.to_string()));
    };
    let computed = checksum(&bytes, roles);
    if raw.sb_csum.get() != computed {
        return Err(corrupt(216, format!("checksum {computed:#010x}"), format!("{:#010x}", raw.sb_csum)));
    }
    // The place is counted from the start of the member: that of a whole disk is not that of its last partition.
    if raw.super_offset.get().checked_mul(SECTOR) != Some(position) {
        let expected = format!("a superblock of the device that ends here, at sector {}", position / SECTOR);
        return Err(corrupt(144, expected, raw.super_offset.to_string()));
    }
    let number = usize::try_from(raw.dev_number.get()).ok();
    let role = number.and_then(|number| roles.chunks_exact(2).nth(number));
    let Some(role) = role.and_then(|role| U16::<LE>::read_from_bytes(role).ok()) else {
        return Err(corrupt(160, format!("a device below {}", raw.max_dev), raw.dev_number.to_string()));
    };
    let bytes_of = |sectors: &U64<LE>| sectors.get().saturating_mul(SECTOR);
    // Arrays that need no equal members leave the common size empty.
    let size = if raw.size.get() == 0 { &raw.data_size } else { &raw.size };
    let (data_start, data_length) = (bytes_of(&raw.data_offset), bytes_of(size));
    if data_start.checked_add(data_length).is_none_or(|end| end > device.size()) || raw.size.get() > raw.data_size.get()
    {
        let actual = format!("{data_length} bytes from {data_start}");
        return Err(corrupt(128, format!("data inside {} bytes", device.size()), actual));
    }
    Ok(Some(Member {
        version: version.to_owned(),
        uuid: uuid_text(&raw.set_uuid),
        name: label_text(&raw.set_name),
        device_uuid: uuid_text(&raw.device_uuid),
        level: Level::from_number(raw.level.get()),
        devices: raw.raid_disks.get(),
        role: (u32::from(role.get()) < raw.raid_disks.get()).then(|| u32::from(role.get())),
        events: raw.events.get(),
        data_start,
        data_length,
        has_bitmap: raw.feature_map.get() & FEATURE_BITMAP_OFFSET != 0,
        superblock: position,
        state: state(raw, role.get()),
    }))
}

fn state(raw: &Raw, role: u16) -> State {
    let features = raw.feature_map.get();
    match role {
        ROLE_SPARE => return State::NotInSync("the member is a spare".to_owned()),
        ROLE_FAULTY => return State::NotInSync("the member is marked as faulty".to_owned()),
        ROLE_JOURNAL => return State::NotInSync("the member is a journal".to_owned()),
        role if u32::from(role) >= raw.raid_disks.get() => {
            return State::NotInSync(format!("the member has role {role} of {}", raw.raid_disks));
        }
        _ => {}
    }
    for (feature, text) in [
        (FEATURE_RECOVERY_OFFSET, "the member is being rebuilt"),
        (FEATURE_REPLACEMENT, "the member replaces another"),
        (FEATURE_BAD_BLOCKS, "the member has a list of bad blocks"),
    ] {
        if features & feature != 0 {
            return State::NotInSync(text.to_owned());
        }
    }
    if features & FEATURE_RESHAPE_ACTIVE != 0 {
        return State::Changing("a reshape".to_owned());
    }
    if features & !FEATURE_BITMAP_OFFSET != 0 {
        return State::Changing(format!("features {features:#x}"));
    }
    if raw.resync_offset.get() != RESYNC_DONE { State::NotClean } else { State::InSync }
}

/// The sum of all words up to the last role with that of the checksum as zero, its overflow added to it.
fn checksum(bytes: &[u8], roles: &[u8]) -> u32 {
    let before = bytes.get(..CHECKSUM_OFFSET).unwrap_or_default();
    let after = bytes.get(CHECKSUM_OFFSET.saturating_add(4)..FIELDS).unwrap_or_default();
    let parts = [before, after, roles].map(super::sum_of_words);
    super::fold(parts.into_iter().fold(0, u64::saturating_add))
}
