//! What this program recognises and does not read: it has a name and an identity, and is saved whole on purpose.
//! None of it must be mistaken for free space.
//!
//! Tools that make a LUKS volume, an array or a file system often leave parts of what was there
//! before: the signature of an old swap area survives under a LUKS header. A region in which two
//! names are found is ambiguous, and saved whole.
//!
//! What lies at the end of a region mostly follows a file system that is smaller than the region, and
//! bytes after a file system are always saved: so it is with DRBD, and with a mirror of md. But the
//! members of a striped array hold only every second piece of a file system, and look like one at
//! their start: signatures of such arrays count at the end too.
//!
//! Source: see [`table`]; for md the Linux kernel's include/uapi/linux/raid/md_p.h.

mod bitlocker;
mod drbd;
mod dynamic_disk;
mod firmware_raid;
mod hfs;
mod iso9660;
mod luks;
mod minix;
mod nilfs2;
mod table;
mod udf;
mod zfs;

use block::{ReadAt, read_vec};

use crate::{Error, FileSystem};
pub use dynamic_disk::dynamic_disk;
pub use firmware_raid::firmware_raid;
use table::{Magic, Nature, ROWS, Row};

/// What left a signature in a region.
pub struct Foreign {
    /// As people call it.
    pub name: &'static str,
    /// Its identity; `None` where there is a signature and nothing that goes with it.
    pub file_system: Option<FileSystem>,
    /// Why it is saved whole.
    nature: Nature,
}

impl Foreign {
    /// Why it is saved whole, for the log and the manifest.
    pub fn reason(&self) -> String {
        match self.nature {
            Nature::Encrypted => format!("{}: nobody without the key can tell which bytes are in use", self.name),
            Nature::Stack => format!("{}: only its own software can tell which bytes are in use", self.name),
            Nature::FileSystem => format!("{}: its maps are not read by this program", self.name),
        }
    }
}

/// Most signatures lie in here: one read instead of many.
const START_BYTES: u64 = 72 << 10;

/// All that left a signature in the region. What lies at its end counts only where nothing else was found, and
/// `is_known` is false: it is mostly the metadata of a layer around a file system that is smaller than the region.
pub fn signatures(region: &dyn ReadAt, is_known: bool) -> Result<Vec<Foreign>, Error> {
    let start_length = usize::try_from(region.size().min(START_BYTES)).unwrap_or_default();
    let start = read_vec(region, 0, start_length)?;
    let is_there = |magic: &Magic| {
        let offset = magic.structure.saturating_add(magic.offset);
        let end = offset.saturating_add(u64::try_from(magic.bytes.len()).unwrap_or(u64::MAX));
        if end <= START_BYTES {
            let place = usize::try_from(offset).unwrap_or(usize::MAX);
            return Ok(start.get(place..place.saturating_add(magic.bytes.len())) == Some(magic.bytes));
        }
        Ok(end <= region.size() && read_vec(region, offset, magic.bytes.len())? == magic.bytes)
    };
    let mut found: Vec<Foreign> = Vec::new();
    for row in ROWS.iter().filter(|row| !row.is_at_the_end()) {
        if let Some(identity) = row.find(region, is_there)? {
            found.push(foreign(row, region, identity));
        }
    }
    if is_striped_member(region)? {
        found.push(Foreign { name: "Linux RAID", file_system: None, nature: Nature::Stack });
    }
    if found.is_empty() && !is_known {
        for row in ROWS.iter().filter(|row| row.is_at_the_end()) {
            if let Some(identity) = row.find(region, is_there)? {
                found.push(foreign(row, region, identity));
            }
        }
    }
    Ok(found)
}

fn foreign(row: &Row, region: &dyn ReadAt, identity: Option<table::Found>) -> Foreign {
    let file_system = identity.map(|found| FileSystem {
        kind: found.kind.unwrap_or(row.kind).to_owned(),
        uuid: found.uuid,
        label: found.label,
        block_size: 0,
        size: region.size(),
    });
    Foreign { name: row.name, file_system, nature: row.nature }
}

/// Partition types of what spans several disks, and what that is. Types as a layout spells them.
const PARTITION_TYPES: [(&str, &str); 6] = [
    ("0x42", "part of a group of dynamic disks"),
    ("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "the database of a group of dynamic disks"),
    ("af9b60a0-1431-4f62-bc68-3311714a69ad", "part of a group of dynamic disks"),
    ("e75caf8f-f680-4cee-afa3-b001e56efc2d", "part of a pool of Storage Spaces"),
    ("381cfccc-7288-11e0-92ee-000c2911d0b2", "part of a VMware vSAN"),
    ("4fbd7e29-9d25-41b8-afd0-062c0ceff05d", "part of a Ceph cluster"),
];

/// What a partition of this type is a part of.
pub fn name_of_partition_type(type_id: &str) -> Option<&'static str> {
    PARTITION_TYPES.iter().find(|(known, _)| *known == type_id).map(|(_, name)| *name)
}

const MD_MAGIC: [u8; 4] = 0xA92B_4EFC_u32.to_le_bytes();
/// Mirrors: each member holds everything.
const MD_LEVEL_MIRROR: [u8; 4] = 1_u32.to_le_bytes();

/// Whether md has its superblock at the end of the region (0.90 and 1.0), and the level is not that of a mirror.
fn is_striped_member(region: &dyn ReadAt) -> Result<bool, Error> {
    let sectors = region.size() / 512;
    let newer = (sectors.saturating_sub(16) & !7).saturating_mul(512);
    let older = (region.size() & !0xFFFF).saturating_sub(0x1_0000);
    // Position of the superblock, and of the level in it.
    for (position, level) in [(newer, 0x48), (older, 28)] {
        if position == 0 || position.saturating_add(128) > region.size() {
            continue;
        }
        let superblock = read_vec(region, position, 128)?;
        let is_mirror = superblock.get(level..).is_some_and(|rest| rest.starts_with(&MD_LEVEL_MIRROR));
        if superblock.starts_with(&MD_MAGIC) && !is_mirror {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use block::{MemoryDisk, WriteAt};

    use super::*;
    use crate::{Coverage, ReasonCode, survey};

    /// A region of 5 MiB with a swap area of 4 MiB, of which only the first page is in use.
    fn swap() -> MemoryDisk {
        let disk = MemoryDisk::new(5 << 20);
        disk.write_at(4086, b"SWAPSPACE2").unwrap();
        let mut header = [0; 12];
        header[0] = 1;
        header[4..8].copy_from_slice(&1023_u32.to_le_bytes());
        disk.write_at(1024, &header).unwrap();
        disk
    }

    #[test]
    fn an_old_swap_signature_under_something_else_frees_nothing() {
        assert!(matches!(survey(&swap()).coverage, Coverage::Used(_)), "the swap area itself is understood");
        let magics = ROWS.iter().flat_map(|row| row.magics.iter().map(move |magic| (row.name, magic)));
        for (name, magic) in magics {
            let offset = magic.structure + magic.offset;
            let disk = swap();
            disk.write_at(offset, magic.bytes).unwrap();
            let survey = survey(&disk);
            let Coverage::Whole(reason) = survey.coverage else { panic!("{name} at {offset} is overlooked") };
            // Some of these signatures lie inside the header of the swap area, which is no swap area then.
            let expected =
                [ReasonCode::Ambiguous, ReasonCode::Unrecognised, ReasonCode::Unsupported, ReasonCode::Damaged];
            assert!(expected.contains(&reason.code), "{name} at {offset}: {reason:?}");
        }
    }

    #[test]
    fn remains_under_zfs_and_members_of_striped_arrays_free_nothing() {
        let size = 5 << 20;
        let bent = |position: u64, bytes: &[u8]| {
            let disk = swap();
            disk.write_at(position, bytes).unwrap();
            matches!(survey(&disk).coverage, Coverage::Whole(_))
        };
        for label in [0, 256 << 10, size - (512 << 10), size - (256 << 10)] {
            assert!(bent(label + (128 << 10) + 7 * 1024, &0x00BA_B10C_u64.to_le_bytes()), "ZFS label at {label}");
            assert!(bent(label + (255 << 10), &0x00BA_B10C_u64.to_be_bytes()), "ZFS label at {label}");
        }
        let md = |level: u8, level_at: usize| {
            let mut superblock = [0; 128];
            superblock[..4].copy_from_slice(&MD_MAGIC);
            superblock[level_at] = level;
            superblock
        };
        for (position, level_at) in [(size - 8192, 0x48), (size - 0x1_0000, 28)] {
            assert!(bent(position, &md(5, level_at)), "stripes at {position}");
            let is_older = level_at == 28;
            assert_eq!(bent(position, &md(1, level_at)), is_older, "a mirror at {position} whose checksum is wrong");
        }
    }

    #[test]
    fn a_name_alone_is_saved_whole_on_purpose() {
        let disk = MemoryDisk::new(5 << 20);
        let mut header = b"LUKS\xBA\xBE\0\x02".to_vec();
        header.resize(512, 0);
        header[24..29].copy_from_slice(b"label");
        header[168..172].copy_from_slice(b"uuid");
        disk.write_at(0, &header).unwrap();
        let survey = survey(&disk);
        let file_system = survey.file_system.unwrap();
        assert_eq!((file_system.kind.as_str(), file_system.size), ("crypto_LUKS", 5 << 20));
        assert_eq!((file_system.uuid.as_deref(), file_system.label.as_deref()), (Some("uuid"), Some("label")));
        let Coverage::Whole(reason) = survey.coverage else { panic!("LUKS has no free bytes") };
        assert_eq!(reason.code, ReasonCode::Opaque);
        assert_eq!(reason.detail, "LUKS: nobody without the key can tell which bytes are in use");
    }

    #[test]
    fn a_signature_without_its_structure_has_no_identity() {
        let disk = MemoryDisk::new(5 << 20);
        disk.write_at(0x1_0000, b"\x01\x16\x19\x70").unwrap();
        let survey = survey(&disk);
        assert_eq!(survey.file_system, None);
        let Coverage::Whole(reason) = survey.coverage else { panic!("GFS2 is overlooked") };
        assert_eq!((reason.code, reason.detail.as_str()), (ReasonCode::Unrecognised, "signature of GFS2"));
    }

    #[test]
    fn two_names_are_ambiguous() {
        let disk = MemoryDisk::new(5 << 20);
        disk.write_at(0, b"dmvdo001").unwrap();
        disk.write_at(32, b"NXSB").unwrap();
        let Coverage::Whole(reason) = survey(&disk).coverage else { panic!("both are overlooked") };
        assert_eq!((reason.code, reason.detail.as_str()), (ReasonCode::Ambiguous, "signatures of VDO and APFS"));
    }

    #[test]
    fn what_lies_at_the_end_counts_only_alone() {
        let metadata = |disk: &MemoryDisk| {
            disk.write_at((5 << 20) - 4096 + 40, &[0xAB; 8]).unwrap();
            // Consistent; magic; sectors of the metadata, and where log and bitmap lie before it.
            for (at, value) in [(56, 1), (60, 0x8374_026B), (64, 80), (68, -64_i32 as u32), (76, -72_i32 as u32)] {
                disk.write_at((5 << 20) - 4096 + at, &value.to_be_bytes()).unwrap();
            }
        };
        let disk = MemoryDisk::new(5 << 20);
        metadata(&disk);
        let alone = survey(&disk).file_system.unwrap();
        assert_eq!((alone.kind.as_str(), alone.uuid.as_deref()), ("drbd", Some("abababababababab")));
        let disk = swap();
        metadata(&disk);
        let both = survey(&disk);
        assert_eq!(both.file_system.unwrap().kind, "swap");
        assert!(matches!(both.coverage, Coverage::Used(_)));
    }

    #[test]
    fn disks_of_a_dynamic_group_hold_no_file_systems() {
        let disk = swap();
        assert_eq!(dynamic_disk(&disk).unwrap(), None);
        disk.write_at(6 * 512, b"PRIVHEAD").unwrap();
        disk.write_at(6 * 512 + 0xB0, b"03c0c4fc-8b6f-402b-9431-4be2e5823b1c").unwrap();
        let group = "a group of dynamic disks, 03c0c4fc-8b6f-402b-9431-4be2e5823b1c";
        assert_eq!(dynamic_disk(&disk).unwrap().as_deref(), Some(group));
        let survey = crate::survey_of_raid_disk(&disk).unwrap();
        let Coverage::Whole(reason) = survey.coverage else { panic!("used") };
        assert_eq!((reason.code, reason.detail), (ReasonCode::Opaque, format!("the disk is part of {group}")));
        let survey = crate::survey_of_partition_type("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3").unwrap();
        let Coverage::Whole(reason) = survey.coverage else { panic!("used") };
        assert_eq!(reason.detail, "the partition type says that it is the database of a group of dynamic disks");
        assert_eq!(crate::survey_of_partition_type("0x83"), None);
    }

    #[test]
    fn luks_over_swap_is_named() {
        let disk = swap();
        disk.write_at(0, b"LUKS\xBA\xBE\0\x01").unwrap();
        let Coverage::Whole(reason) = survey(&disk).coverage else { panic!("LUKS is overlooked") };
        assert_eq!(reason.code, ReasonCode::Ambiguous);
        assert_eq!(reason.detail, "signatures of swap and LUKS");
    }
}
