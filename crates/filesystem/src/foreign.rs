//! Signatures of what this program does not read, but must not mistake for free space.
//!
//! Tools that make a LUKS volume, an array or a file system often leave parts of what was there
//! before: the signature of an old swap area survives under a LUKS header. A region in which a
//! known file system *and* one of these is found is saved whole.
//!
//! Only signatures at the start of a region count. What lies at its end (md 0.90 and 1.0, DRBD, ZFS
//! labels) follows a file system that is smaller than the region, and bytes after a file system are
//! always saved.
//!
//! Source: the offsets and magic numbers that libblkid of util-linux probes (libblkid/src/superblocks).

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
    Ok(found)
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
    fn luks_over_swap_is_named() {
        let disk = swap();
        disk.write_at(0, b"LUKS\xBA\xBE\0\x01").unwrap();
        let Coverage::Whole(reason) = survey(&disk).coverage else { panic!("LUKS is overlooked") };
        assert_eq!(reason.code, ReasonCode::Ambiguous);
        assert_eq!(reason.detail, "signatures of swap and LUKS");
    }
}
