//! Signatures of what this program does not read, but must not mistake for free space.
//!
//! Tools that make a LUKS volume, an array or a file system often leave parts of what was there
//! before: the signature of an old swap area survives under a LUKS header. A region in which a
//! known file system *and* one of these is found is saved whole.
//!
//! What lies at the end of a region mostly follows a file system that is smaller than the region, and
//! bytes after a file system are always saved: so it is with DRBD, and with a mirror of md. But the
//! members of a striped array hold only every second piece of a file system, and look like one at
//! their start: signatures of such arrays count at the end too.
//!
//! Source: the offsets and magic numbers that libblkid of util-linux probes (libblkid/src/superblocks);
//! for md the Linux kernel's include/uapi/linux/raid/md_p.h; for ZFS its vdev_impl.h (label, uberblock).

use block::{ReadAt, read_vec};

use crate::Error;

/// What, where its magic number lies in the region in bytes, and the magic number.
const SIGNATURES: &[(&str, u64, &[u8])] = &[
    ("LUKS", 0, b"LUKS\xBA\xBE"),
    ("LUKS2", 0x4000, b"SKUL\xBA\xBE"),
    ("LUKS2", 0x8000, b"SKUL\xBA\xBE"),
    ("LUKS2", 0x10000, b"SKUL\xBA\xBE"),
    ("LUKS2", 0x20000, b"SKUL\xBA\xBE"),
    ("LUKS2", 0x40000, b"SKUL\xBA\xBE"),
    ("LUKS2", 0x80000, b"SKUL\xBA\xBE"),
    ("LUKS2", 0x100000, b"SKUL\xBA\xBE"),
    ("LUKS2", 0x200000, b"SKUL\xBA\xBE"),
    ("LUKS2", 0x400000, b"SKUL\xBA\xBE"),
    ("LVM2", 24, b"LVM2 001"),
    ("LVM2", 512 + 24, b"LVM2 001"),
    ("LVM2", 1024 + 24, b"LVM2 001"),
    ("LVM2", 1536 + 24, b"LVM2 001"),
    ("Linux RAID 1.1", 0, b"\xFC\x4E\x2B\xA9"),
    ("Linux RAID 1.2", 4096, b"\xFC\x4E\x2B\xA9"),
    ("Btrfs", 0x1_0040, b"_BHRfS_M"),
    ("bcache", 4096 + 24, b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81"),
    ("bcachefs", 4096 + 24, b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF"),
    ("F2FS", 1024, b"\x10\x20\xF5\xF2"),
    ("exFAT", 3, b"EXFAT   "),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("ReFS", 3, b"ReFS\0\0\0\0"),
    ("HFS+", 1024, b"H+\0\x04"),
    ("HFSX", 1024, b"HX\0\x05"),
    ("APFS", 32, b"NXSB"),
    ("JFS", 0x8000, b"JFS1"),
    ("ReiserFS", 0x1_0034, b"ReIsEr"),
    ("ReiserFS", 8192 + 52, b"ReIsEr"),
    ("VxFS", 8192, b"\xF5\xFC\x01\xA5"),
    ("Oracle ASM", 32, b"ORCLDISK"),
    ("Reiser4", 0x1_0000, b"ReIsEr4"),
    ("NILFS2", 1024 + 6, b"\x34\x34"),
    ("UFS1", 8192 + 0x55C, b"\x54\x19\x01\x00"),
    ("UFS2", 65536 + 0x55C, b"\x19\x01\x54\x19"),
    ("GFS2", 0x1_0000, b"\x01\x16\x19\x70"),
    ("OCFS2", 2 * 512, b"OCFSV2"),
    ("OCFS2", 2 * 1024, b"OCFSV2"),
    ("OCFS2", 2 * 2048, b"OCFSV2"),
    ("OCFS2", 2 * 4096, b"OCFSV2"),
    ("VMFS", 0x10_0000, b"\x0D\xD0\x01\xC0"),
    ("VMFS", 0x20_0000, b"\x5E\xF1\xAB\x2F"),
    ("VDO", 0, b"dmvdo001"),
    ("Stratis", 512 + 4, b"!Stra0tis\x86\xFF\x02^\x41rh"),
    ("EROFS", 1024, b"\xE2\xE1\xF5\xE0"),
    ("SquashFS", 0, b"hsqs"),
    ("ISO 9660", 0x8001, b"CD001"),
    ("UDF", 0x8001, b"BEA01"),
];

/// Most signatures lie in here: one read instead of many.
const START_BYTES: u64 = 72 << 10;

/// The names of all that left a signature at the start of the region.
pub fn signatures(region: &dyn ReadAt) -> Result<Vec<&'static str>, Error> {
    let start_length = usize::try_from(region.size().min(START_BYTES)).unwrap_or_default();
    let start = read_vec(region, 0, start_length)?;
    let mut found = Vec::new();
    for (name, offset, magic) in SIGNATURES {
        let length = u64::try_from(magic.len()).unwrap_or(u64::MAX);
        let end = offset.saturating_add(length);
        let is_there = if end <= START_BYTES {
            let place = usize::try_from(*offset).unwrap_or(usize::MAX);
            start.get(place..place.saturating_add(magic.len())) == Some(*magic)
        } else {
            end <= region.size() && read_vec(region, *offset, magic.len())? == *magic
        };
        if is_there && !found.contains(name) {
            found.push(*name);
        }
    }
    if has_zfs_labels(region)? {
        found.push("ZFS");
    }
    if is_striped_member(region)? {
        found.push("Linux RAID");
    }
    Ok(found)
}

const ZFS_LABEL: u64 = 256 << 10;
const UBERBLOCK: [u8; 8] = 0x00BA_B10C_u64.to_le_bytes();
const UBERBLOCK_BIG_ENDIAN: [u8; 8] = 0x00BA_B10C_u64.to_be_bytes();

/// Whether one of the four labels of ZFS (two at the start, two at the end) holds an uberblock: they fill
/// the second half of a label, one at least every 1 KiB. ZFS leaves the first 8 KiB of a disk as they were.
fn has_zfs_labels(region: &dyn ReadAt) -> Result<bool, Error> {
    let end = (region.size() / ZFS_LABEL).saturating_mul(ZFS_LABEL);
    let labels = [0, ZFS_LABEL, end.saturating_sub(2 * ZFS_LABEL), end.saturating_sub(ZFS_LABEL)];
    for label in labels {
        let start = label.saturating_add(ZFS_LABEL / 2);
        if start.saturating_add(ZFS_LABEL / 2) > region.size() {
            continue;
        }
        let ring = read_vec(region, start, usize::try_from(ZFS_LABEL / 2).unwrap_or_default())?;
        let is_uberblock = |slot: &[u8]| slot.starts_with(&UBERBLOCK) || slot.starts_with(&UBERBLOCK_BIG_ENDIAN);
        if ring.chunks(1024).any(is_uberblock) {
            return Ok(true);
        }
    }
    Ok(false)
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

/// The name of a firmware RAID that has its metadata at the end of a whole disk (Intel Matrix Storage, DDF).
/// Such a disk may be a member of a striped array: what its partitions seem to hold is then not what they hold.
pub fn firmware_raid(disk: &dyn ReadAt) -> Result<Option<&'static str>, Error> {
    for sector in [512_u64, 4096] {
        let last = disk.size().saturating_sub(sector);
        let before = last.saturating_sub(sector);
        if before == 0 {
            continue;
        }
        if read_vec(disk, before, 24)?.starts_with(b"Intel Raid ISM Cfg Sig. ") {
            return Ok(Some("Intel Matrix Storage RAID"));
        }
        if read_vec(disk, last, 4)? == [0xDE, 0x11, 0xDE, 0x11] {
            return Ok(Some("DDF RAID"));
        }
    }
    Ok(None)
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
        for (name, offset, magic) in SIGNATURES {
            let disk = swap();
            disk.write_at(*offset, magic).unwrap();
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
            assert!(bent(label + (128 << 10) + 7 * 1024, &UBERBLOCK), "ZFS label at {label}");
            assert!(bent(label + (255 << 10), &UBERBLOCK_BIG_ENDIAN), "ZFS label at {label}");
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
    fn firmware_raid_is_found_at_the_end_of_a_disk() {
        let disk = swap();
        assert_eq!(firmware_raid(&disk).unwrap(), None);
        disk.write_at((5 << 20) - 1024, b"Intel Raid ISM Cfg Sig. 1.3.00").unwrap();
        assert_eq!(firmware_raid(&disk).unwrap(), Some("Intel Matrix Storage RAID"));
        let disk = swap();
        disk.write_at((5 << 20) - 512, &[0xDE, 0x11, 0xDE, 0x11]).unwrap();
        assert_eq!(firmware_raid(&disk).unwrap(), Some("DDF RAID"));
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
