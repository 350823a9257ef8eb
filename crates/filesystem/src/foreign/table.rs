//! What is recognised by its name and identity alone: one row each.
//!
//! Source: the offsets, magic numbers and places of identities that libblkid of util-linux probes
//! (libblkid/src/superblocks); for sbd and sanlock their own `sbd-md.c` and `ondisk.h`.

use super::{bitlocker, drbd, hfs, iso9660, luks, minix, nilfs2, udf, zfs};
use crate::Error;
use crate::structure::Structure;
use block::ReadAt;

/// Something that is saved whole on purpose.
pub struct Row {
    /// As `blkid` prints it in `TYPE`.
    pub kind: &'static str,
    /// As people call it.
    pub name: &'static str,
    /// Why it is saved whole.
    pub nature: Nature,
    /// Any of these makes it present. None at all where `identity` looks for itself.
    pub magics: &'static [Magic],
    /// Where its identity stands.
    pub identity: Identity,
}

/// A magic number.
pub struct Magic {
    /// Where the structure that holds it starts in the region, in bytes.
    pub structure: u64,
    /// Where it stands in the structure.
    pub offset: u64,
    /// What it is.
    pub bytes: &'static [u8],
}

/// Why something is saved whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// Nobody without the key can tell which bytes are in use.
    Encrypted,
    /// Part of a stack or an array, or somebody's raw area: only its own software can tell.
    Stack,
    /// A file system whose maps this program does not read.
    FileSystem,
}

/// Where an identity stands. Offsets are counted in the structure.
pub enum Identity {
    /// It has none that could be told.
    Nothing,
    /// At fixed places.
    At { uuid: Uuid, label: Label },
    /// Somewhere that has to be searched. Gets the place of the structure that the magic number belongs to, 0 where
    /// there is no magic number. `None` where it is not what the magic number promised.
    By(fn(&dyn ReadAt, u64) -> Result<Option<Found>, Error>),
}

/// A UUID at a fixed place.
pub enum Uuid {
    None,
    /// 16 bytes.
    Bytes(usize),
    /// 16 bytes in the order of VMware.
    Vmware(usize),
    /// Text at an offset, of at most this many bytes.
    Text(usize, usize),
    /// 32 hexadecimal digits.
    Digits(usize),
}

/// A label at a fixed place, of at most this many bytes.
pub enum Label {
    None,
    Text(usize, usize),
}

/// An identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Another kind than that of the row.
    pub kind: Option<&'static str>,
    pub uuid: Option<String>,
    pub label: Option<String>,
}

const fn magic(structure: u64, offset: u64, bytes: &'static [u8]) -> Magic {
    Magic { structure, offset, bytes }
}

const NONE: Identity = Identity::Nothing;

const fn at(uuid: Uuid, label: Label) -> Identity {
    Identity::At { uuid, label }
}

use Nature::{Encrypted, FileSystem, Stack};

/// The rows. The order is that in which several are named.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    Row { kind: "crypto_LUKS", name: "LUKS", nature: Encrypted, magics: luks::MAGICS, identity: Identity::By(luks::identify) },
    Row { kind: "BitLocker", name: "BitLocker", nature: Encrypted, magics: &[magic(0, 3, b"-FVE-FS-")], identity: Identity::By(bitlocker::identify) },
    Row { kind: "BitLocker", name: "BitLocker To Go", nature: Encrypted, magics: &[], identity: Identity::By(bitlocker::identify_to_go) },
    Row { kind: "DM_integrity", name: "dm-integrity", nature: Encrypted, magics: &[magic(0, 0, b"integrt\0")], identity: NONE },
    Row { kind: "DM_verity_hash", name: "dm-verity", nature: Encrypted, magics: &[magic(0, 0, b"verity\0\0")], identity: at(Uuid::Bytes(16), Label::None) },

    Row { kind: "LVM2_member", name: "LVM2", nature: Stack, magics: &[magic(0, 24, b"LVM2 001"), magic(512, 24, b"LVM2 001"), magic(1024, 24, b"LVM2 001"), magic(1536, 24, b"LVM2 001")], identity: NONE },
    Row { kind: "linux_raid_member", name: "Linux RAID 1.1", nature: Stack, magics: &[magic(0, 0, b"\xFC\x4E\x2B\xA9")], identity: NONE },
    Row { kind: "linux_raid_member", name: "Linux RAID 1.2", nature: Stack, magics: &[magic(4096, 0, b"\xFC\x4E\x2B\xA9")], identity: NONE },
    Row { kind: "drbd", name: "DRBD", nature: Stack, magics: &[], identity: Identity::By(drbd::identify) },
    Row { kind: "drbdmanage_control_volume", name: "DRBD Manage", nature: Stack, magics: &[magic(0, 0, b"$DRBDmgr=q")], identity: at(Uuid::Text(11, 32), Label::None) },
    Row { kind: "bcache", name: "bcache", nature: Stack, magics: &[magic(4096, 24, b"\xC6\x85\x73\xF6\x4E\x1A\x45\xCA\x82\x65\xF5\x7F\x48\xBA\x6D\x81"), magic(4096, 24, b"\xC6\x85\x73\xF6\x66\xCE\x90\xA9\xD9\x6A\x60\xCF\x80\x3D\xF7\xEF")], identity: Identity::By(bcache) },
    Row { kind: "vdo", name: "VDO", nature: Stack, magics: &[magic(0, 0, b"dmvdo001")], identity: at(Uuid::Bytes(40), Label::None) },
    Row { kind: "stratis", name: "Stratis", nature: Stack, magics: &[magic(512, 4, b"!Stra0tis\x86\xFF\x02^\x41rh"), magic(4608, 4, b"!Stra0tis\x86\xFF\x02^\x41rh")], identity: at(Uuid::Digits(64), Label::None) },
    Row { kind: "zfs_member", name: "ZFS", nature: Stack, magics: &[], identity: Identity::By(zfs::identify) },
    Row { kind: "ceph_bluestore", name: "Ceph BlueStore", nature: Stack, magics: &[magic(0, 0, b"bluestore block device")], identity: NONE },
    Row { kind: "DM_snapshot_cow", name: "dm-snapshot", nature: Stack, magics: &[magic(0, 0, b"SnAp")], identity: NONE },
    Row { kind: "storage_spaces", name: "Storage Spaces", nature: Stack, magics: &[magic(0, 0, b"SPACEDB"), magic(4096, 0, b"SPACEDB")], identity: NONE },
    Row { kind: "oracleasm", name: "Oracle ASM", nature: Stack, magics: &[magic(0, 32, b"ORCLDISK")], identity: at(Uuid::None, Label::Text(40, 24)) },
    Row { kind: "sbd", name: "sbd", nature: Stack, magics: &[magic(0, 0, b"SBD_SBD_")], identity: at(Uuid::Bytes(33), Label::None) },
    Row { kind: "sanlock", name: "sanlock", nature: Stack, magics: &[magic(0, 0, b"\x10\x20\x21\x12")], identity: NONE },
    Row { kind: "ubi", name: "UBI", nature: Stack, magics: &[magic(0, 0, b"UBI#")], identity: Identity::By(ubi) },

    Row { kind: "ReFS", name: "ReFS", nature: FileSystem, magics: &[magic(0, 3, b"ReFS\0\0\0\0")], identity: NONE },
    Row { kind: "apfs", name: "APFS", nature: FileSystem, magics: &[magic(0, 32, b"NXSB")], identity: at(Uuid::Bytes(72), Label::None) },
    Row { kind: "gfs2", name: "GFS2", nature: FileSystem, magics: &[magic(0x1_0000, 0, b"\x01\x16\x19\x70")], identity: Identity::By(gfs2) },
    Row { kind: "ocfs2", name: "OCFS2", nature: FileSystem, magics: &[magic(1024, 0, b"OCFSV2"), magic(2048, 0, b"OCFSV2"), magic(4096, 0, b"OCFSV2"), magic(8192, 0, b"OCFSV2")], identity: at(Uuid::Bytes(336), Label::Text(272, 64)) },
    Row { kind: "ocfs", name: "OCFS", nature: FileSystem, magics: &[magic(8192, 0, b"OracleCFS")], identity: NONE },
    Row { kind: "VMFS", name: "VMFS", nature: FileSystem, magics: &[magic(0x20_0000, 0, b"\x5E\xF1\xAB\x2F")], identity: at(Uuid::Vmware(9), Label::Text(29, 128)) },
    Row { kind: "vxfs", name: "VxFS", nature: FileSystem, magics: &[magic(1024, 0, b"\xF5\xFC\x01\xA5"), magic(8192, 0, b"\xA5\x01\xFC\xF5"), magic(8192, 0, b"\xF5\xFC\x01\xA5")], identity: NONE },
    Row { kind: "reiser4", name: "Reiser4", nature: FileSystem, magics: &[magic(0x1_0000, 0, b"ReIsEr4")], identity: at(Uuid::Bytes(20), Label::Text(36, 16)) },
    Row { kind: "udf", name: "UDF", nature: FileSystem, magics: &[], identity: Identity::By(udf::identify) },
    Row { kind: "iso9660", name: "ISO 9660", nature: FileSystem, magics: &[], identity: Identity::By(iso9660::identify) },
    Row { kind: "squashfs", name: "SquashFS", nature: FileSystem, magics: &[magic(0, 0, b"hsqs"), magic(0, 0, b"sqsh")], identity: Identity::By(squashfs) },
    Row { kind: "erofs", name: "EROFS", nature: FileSystem, magics: &[magic(1024, 0, b"\xE2\xE1\xF5\xE0")], identity: at(Uuid::Bytes(48), Label::Text(64, 16)) },
    Row { kind: "cramfs", name: "cramfs", nature: FileSystem, magics: &[magic(0, 0, b"\x45\x3D\xCD\x28"), magic(0, 0, b"\x28\xCD\x3D\x45")], identity: at(Uuid::None, Label::Text(48, 16)) },
    Row { kind: "romfs", name: "romfs", nature: FileSystem, magics: &[magic(0, 0, b"-rom1fs-")], identity: at(Uuid::None, Label::Text(16, 16)) },
    Row { kind: "nilfs2", name: "NILFS2", nature: FileSystem, magics: &[], identity: Identity::By(nilfs2::identify) },
    Row { kind: "hfs", name: "HFS", nature: FileSystem, magics: &[], identity: Identity::By(hfs::identify) },
    Row { kind: "minix", name: "Minix", nature: FileSystem, magics: &[], identity: Identity::By(minix::identify) },
    Row { kind: "bfs", name: "BFS of SCO", nature: FileSystem, magics: &[magic(0, 0, b"\xCE\xFA\xAD\x1B")], identity: NONE },
    Row { kind: "befs", name: "BeFS", nature: FileSystem, magics: &[magic(0, 32, b"BFS1"), magic(0, 32, b"1SFB"), magic(512, 32, b"BFS1"), magic(512, 32, b"1SFB")], identity: NONE },
    Row { kind: "hpfs", name: "HPFS", nature: FileSystem, magics: &[magic(8192, 0, b"\x49\xE8\x95\xF9")], identity: NONE },
    Row { kind: "nss", name: "NSS", nature: FileSystem, magics: &[magic(4096, 0, b"SPB5")], identity: at(Uuid::Bytes(348), Label::None) },
];

impl Row {
    /// Whether it lies at the end of a region, behind what is in there.
    pub fn is_at_the_end(&self) -> bool {
        self.kind == "drbd"
    }

    /// What stands in a region: `None` where it is not there. The inner `None` is a magic number behind which no such
    /// structure lies.
    pub fn find(
        &self,
        region: &dyn ReadAt,
        is_there: impl Fn(&Magic) -> Result<bool, Error>,
    ) -> Result<Option<Option<Found>>, Error> {
        if self.magics.is_empty() {
            return Ok(self.identify(region, 0)?.map(Some));
        }
        for magic in self.magics {
            if is_there(magic)? {
                return Ok(Some(self.identify(region, magic.structure)?));
            }
        }
        Ok(None)
    }

    fn identify(&self, region: &dyn ReadAt, position: u64) -> Result<Option<Found>, Error> {
        let (uuid, label) = match &self.identity {
            Identity::By(search) => return search(region, position),
            Identity::Nothing => return Ok(Some(Found::default())),
            Identity::At { uuid, label } => (uuid, label),
        };
        let structure = Structure::read(region, position)?;
        let uuid = match uuid {
            Uuid::None => None,
            Uuid::Bytes(offset) => structure.uuid(*offset),
            Uuid::Vmware(offset) => structure.vmware_uuid(*offset),
            Uuid::Text(offset, length) => structure.text(*offset, *length),
            Uuid::Digits(offset) => grouped(structure.bytes(*offset, 32)),
        };
        let label = match label {
            Label::None => None,
            Label::Text(offset, length) => structure.text(*offset, *length),
        };
        Ok(Some(Found { kind: None, uuid, label }))
    }
}

/// 32 digits with the dashes of a UUID.
fn grouped(digits: &[u8]) -> Option<String> {
    let part = |from: usize, to: usize| std::str::from_utf8(digits.get(from..to)?).ok();
    Some([part(0, 8)?, part(8, 12)?, part(12, 16)?, part(16, 20)?, part(20, 32)?].join("-"))
}

/// GFS2, or GFS of Red Hat Enterprise Linux 4: the table of locks is the label.
fn gfs2(region: &dyn ReadAt, position: u64) -> Result<Option<Found>, Error> {
    let superblock = Structure::read(region, position)?;
    let kind = match (superblock.big_u32(24), superblock.big_u32(28)) {
        (1309, 1401) => "gfs",
        (1800..1900, 1900..2000) => "gfs2",
        _ => return Ok(None),
    };
    Ok(Some(Found { kind: Some(kind), uuid: superblock.uuid(256), label: superblock.text(160, 64) }))
}

/// The version tells two kinds apart. The magic number is written in the byte order of the machine that made it.
fn squashfs(region: &dyn ReadAt, position: u64) -> Result<Option<Found>, Error> {
    let superblock = Structure::read(region, position)?;
    let is_big_endian = superblock.has(0, b"sqsh");
    let major = if is_big_endian { superblock.big_u16(28) } else { superblock.u16(28) };
    let kind = if major < 4 { "squashfs3" } else { "squashfs" };
    Ok(Some(Found { kind: Some(kind), ..Found::default() }))
}

/// bcache, or bcachefs, which began with its magic number: bcache says where its superblock lies.
fn bcache(region: &dyn ReadAt, position: u64) -> Result<Option<Found>, Error> {
    let superblock = Structure::read(region, position)?;
    let label = superblock.text(72, 32);
    if superblock.u64(8).saturating_mul(512) == position {
        return Ok(Some(Found { kind: None, uuid: superblock.uuid(40), label }));
    }
    Ok(Some(Found { kind: Some("bcachefs"), uuid: superblock.uuid(56), label }))
}

/// The number of the image stands in for a UUID.
fn ubi(region: &dyn ReadAt, position: u64) -> Result<Option<Found>, Error> {
    let number = Structure::read(region, position)?.big_u32(24);
    Ok(Some(Found { uuid: (number != 0).then(|| number.to_string()), ..Found::default() }))
}
