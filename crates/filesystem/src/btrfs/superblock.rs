//! The superblock: 64 KiB from the start of every device, with copies at 64 MiB and 256 GiB.
//!
//! Source: the Linux kernel's `include/uapi/linux/btrfs_tree.h` (`struct btrfs_super_block`, `struct btrfs_dev_item`),
//! `fs/btrfs/disk-io.c` (`btrfs_validate_super`), `fs/btrfs/fs.h` (features); the page "On-disk format" of the Btrfs
//! documentation.

use block::{ReadAt, RegionExtent, read_vec};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, LE, U16, U32, U64, Unaligned};

use super::checksum::Checksum;
use super::tree_block::Root;
use crate::identity::{label_text, uuid_text};
use crate::{Error, FileSystem};

/// Where the superblock and its copies lie on every device that is long enough.
pub(super) const POSITIONS: [u64; 3] = [64 << 10, 64 << 20, 256 << 30];
/// Bytes of a superblock.
const SUPERBLOCK_BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"_BHRfS_M";

const FLAG_ERROR: u64 = 1 << 2;
const FLAG_SEEDING: u64 = 1 << 32;
/// A UUID, the kind of checksum or the block-group tree is just being changed by a tool.
const FLAGS_CHANGING: u64 = (1 << 35) | (1 << 36) | (1 << 38) | (1 << 39) | (1 << 40);
/// Written by btrfs-image, without the data.
const FLAGS_DUMP: u64 = (1 << 33) | (1 << 34);
/// The two flags that headers of tree blocks have, which were once set here too.
const FLAGS_KNOWN: u64 = 0x3 | FLAG_ERROR | FLAG_SEEDING;

/// Free-space tree, that it is valid, verity, block-group tree: none of them changes what the extent tree says.
const COMPAT_RO_KNOWN: u64 = 0xF;
const COMPAT_RO_FREE_SPACE_TREE: u64 = 3;
const COMPAT_RO_BLOCK_GROUP_TREE: u64 = 8;
const INCOMPAT_MIXED_BACKREF: u64 = 1;
const INCOMPAT_NO_HOLES: u64 = 0x200;
const INCOMPAT_METADATA_UUID: u64 = 0x400;
const INCOMPAT_ZONED: u64 = 0x1000;
/// Everything up to three and four copies, and simple quotas. Not zones, the second version of the extent tree and the
/// RAID stripe tree.
const INCOMPAT_KNOWN: u64 = 0x1_0FFF;

#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawDeviceItem {
    devid: U64<LE>,
    total_bytes: U64<LE>,
    bytes_used: U64<LE>,
    io_align: U32<LE>,
    io_width: U32<LE>,
    sector_size: U32<LE>,
    kind: U64<LE>,
    generation: U64<LE>,
    start_offset: U64<LE>,
    dev_group: U32<LE>,
    seek_speed: u8,
    bandwidth: u8,
    uuid: [u8; 16],
    fsid: [u8; 16],
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    csum: [u8; 32],
    fsid: [u8; 16],
    bytenr: U64<LE>,
    flags: U64<LE>,
    magic: [u8; 8],
    generation: U64<LE>,
    root: U64<LE>,
    chunk_root: U64<LE>,
    log_root: U64<LE>,
    log_root_transid: U64<LE>,
    total_bytes: U64<LE>,
    bytes_used: U64<LE>,
    root_dir_objectid: U64<LE>,
    num_devices: U64<LE>,
    sectorsize: U32<LE>,
    nodesize: U32<LE>,
    leafsize: U32<LE>,
    stripesize: U32<LE>,
    sys_chunk_array_size: U32<LE>,
    chunk_root_generation: U64<LE>,
    compat_flags: U64<LE>,
    compat_ro_flags: U64<LE>,
    incompat_flags: U64<LE>,
    csum_type: U16<LE>,
    root_level: u8,
    chunk_root_level: u8,
    log_root_level: u8,
    dev_item: RawDeviceItem,
    label: [u8; 256],
    cache_generation: U64<LE>,
    uuid_tree_generation: U64<LE>,
    metadata_uuid: [u8; 16],
    nr_global_roots: U64<LE>,
    reserved: [u8; 216],
    sys_chunk_array: [u8; 2048],
    super_roots: [u8; 672],
    padding: [u8; 565],
}

/// A device of a file system, as the superblock and the chunk tree describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Device {
    /// Its number in the file system.
    pub(super) id: u64,
    /// Its UUID.
    pub(super) uuid: [u8; 16],
    /// Bytes of it that the file system manages.
    pub(super) total_bytes: u64,
    /// Bytes of it that lie in chunks.
    pub(super) used_bytes: u64,
}

impl Device {
    /// The device that a device item of the chunk tree describes.
    pub(super) fn parse(item: &[u8]) -> Option<Self> {
        RawDeviceItem::ref_from_prefix(item).ok().map(|(raw, _)| Self::of(raw))
    }

    fn of(raw: &RawDeviceItem) -> Self {
        Self {
            id: raw.devid.get(),
            uuid: raw.uuid,
            total_bytes: raw.total_bytes.get(),
            used_bytes: raw.bytes_used.get(),
        }
    }
}

/// A superblock whose fields agree with each other.
#[derive(Debug)]
pub(super) struct Superblock {
    /// How blocks are checked.
    pub(super) checksum: Checksum,
    /// The UUID that tree blocks carry.
    pub(super) metadata_uuid: [u8; 16],
    /// Number of the last transaction.
    pub(super) generation: u64,
    /// Bytes of a block of data.
    pub(super) sector_size: u32,
    /// Bytes of a tree block.
    pub(super) node_size: u32,
    /// Number of devices.
    pub(super) device_count: u64,
    /// This device.
    pub(super) device: Device,
    /// The tree of the roots of all trees.
    pub(super) root_tree: Root,
    /// The tree of chunks and devices.
    pub(super) chunk_tree: Root,
    /// The tree of the logs that wait to be replayed, where there are any.
    pub(super) log_tree: Option<Root>,
    /// Block groups are described in a tree of their own.
    pub(super) has_block_group_tree: bool,
    /// It has features that tools give a file system only since versions whose kernels know `metadata_uuid`, or has that.
    pub(super) is_of_new_kernel: bool,
    /// Other file systems are built on it.
    pub(super) is_seeding: bool,
    /// The UUID that users see.
    uuid: [u8; 16],
    /// The file system has recorded errors.
    pub(super) has_errors: bool,
    /// The chunks by which the chunk tree is found, as items with their keys.
    pub(super) system_chunks: Vec<u8>,
}

/// The identity of the file system; `None` where there is no Btrfs.
pub(super) fn identify(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    let Some(bytes) = read_copy(region, 0, region.size())? else {
        return Ok(None);
    };
    // The magic number alone: what looks like Btrfs and is damaged must not free what lies over it.
    let Some(raw) = parse(&bytes).filter(|raw| raw.magic == MAGIC) else {
        return Ok(None);
    };
    Ok(Some(FileSystem {
        kind: "btrfs".to_owned(),
        uuid: uuid_text(&raw.fsid),
        label: label_text(&raw.label),
        block_size: raw.sectorsize.get(),
        size: raw.dev_item.total_bytes.get(),
    }))
}

impl Superblock {
    /// Reads and checks the superblock of `region`, and that no copy of it is newer.
    ///
    /// # Errors
    /// `Unsupported` for what this program does not understand, `NotClean` where a tool or a write did not come to its
    /// end, `Corrupt` where fields contradict each other.
    pub(super) fn read(region: &dyn ReadAt) -> Result<Self, Error> {
        let bytes = read_copy(region, 0, region.size())?.unwrap_or_default();
        let raw = parse(&bytes).filter(|raw| raw.magic == MAGIC);
        let raw = raw.ok_or_else(|| Error::corrupt(POSITIONS[0], "a superblock of Btrfs", "none"))?;
        let checksum = Checksum::of_type(raw.csum_type.get())?;
        if !checksum.matches(&bytes) {
            return Err(Error::corrupt(
                POSITIONS[0],
                "a superblock with the checksum that it holds",
                "another checksum",
            ));
        }
        if raw.bytenr.get() != POSITIONS[0] {
            return Err(Error::corrupt(POSITIONS[0], "the first superblock", format!("the one of {}", raw.bytenr)));
        }
        check_flags(raw)?;
        check_sizes(raw)?;
        let superblock = Self::of(raw, checksum);
        superblock.check_device(raw)?;
        superblock.check_copies(region, raw)?;
        Ok(superblock)
    }

    fn of(raw: &Raw, checksum: Checksum) -> Self {
        let has_metadata_uuid = raw.incompat_flags.get() & INCOMPAT_METADATA_UUID != 0;
        let generation = raw.generation.get();
        let root = |logical: &U64<LE>, level, generation| Root { logical: logical.get(), level, generation };
        let array_length = usize::try_from(raw.sys_chunk_array_size.get()).unwrap_or(usize::MAX);
        Self {
            checksum,
            metadata_uuid: if has_metadata_uuid { raw.metadata_uuid } else { raw.fsid },
            generation,
            sector_size: raw.sectorsize.get(),
            node_size: raw.nodesize.get(),
            device_count: raw.num_devices.get(),
            device: Device::of(&raw.dev_item),
            root_tree: root(&raw.root, raw.root_level, generation),
            chunk_tree: root(&raw.chunk_root, raw.chunk_root_level, raw.chunk_root_generation.get()),
            // Logs belong to the transaction that never came to its end.
            log_tree: (raw.log_root.get() != 0)
                .then(|| root(&raw.log_root, raw.log_root_level, generation.saturating_add(1))),
            has_block_group_tree: raw.compat_ro_flags.get() & COMPAT_RO_BLOCK_GROUP_TREE != 0,
            is_of_new_kernel: has_metadata_uuid
                || (raw.incompat_flags.get() & INCOMPAT_NO_HOLES != 0
                    && raw.compat_ro_flags.get() & COMPAT_RO_FREE_SPACE_TREE == COMPAT_RO_FREE_SPACE_TREE),
            is_seeding: raw.flags.get() & FLAG_SEEDING != 0,
            uuid: raw.fsid,
            has_errors: raw.flags.get() & FLAG_ERROR != 0,
            system_chunks: raw.sys_chunk_array.get(..array_length).unwrap_or(&raw.sys_chunk_array).to_vec(),
        }
    }

    fn check_device(&self, raw: &Raw) -> Result<(), Error> {
        if raw.dev_item.fsid != self.metadata_uuid {
            return Err(Error::corrupt(POSITIONS[0], "a device of this file system", "a device of another one"));
        }
        if self.device.id == 0 {
            return Err(Error::NotClean("this device is the target of a replacement that has not finished".to_owned()));
        }
        if self.device_count == 0 {
            return Err(Error::corrupt(POSITIONS[0], "at least one device", "0"));
        }
        Ok(())
    }

    /// The kernel reads the first superblock only and writes it first. Should a copy be newer, somebody knows better.
    fn check_copies(&self, region: &dyn ReadAt, first: &Raw) -> Result<(), Error> {
        for (index, position) in POSITIONS.iter().enumerate().skip(1) {
            let Some(bytes) = read_copy(region, index, self.device.total_bytes)? else {
                continue;
            };
            let is_ours = |raw: &&Raw| raw.magic == MAGIC && raw.fsid == first.fsid && raw.bytenr.get() == *position;
            let Some(copy) = parse(&bytes).filter(is_ours).filter(|_| self.checksum.matches(&bytes)) else {
                continue;
            };
            if copy.generation.get() > self.generation {
                return Err(Error::NotClean(format!(
                    "the copy of the superblock at {position} has generation {}, the superblock {}",
                    copy.generation, self.generation
                )));
            }
        }
        Ok(())
    }

    /// Where the superblock and its copies lie on this device.
    pub(super) fn copies(&self) -> impl Iterator<Item = RegionExtent> {
        let end = self.device.total_bytes;
        POSITIONS
            .into_iter()
            .map(|position| RegionExtent::between(position, position.saturating_add(4096)))
            .filter(move |extent| extent.end() <= end)
    }
}

/// Gives the copy of a superblock at `position` another UUID; `false`, and nothing changed, where it is no valid one of
/// this file system.
pub(super) fn rename_copy(bytes: &mut [u8], position: u64, superblock: &Superblock, uuid: [u8; 16]) -> bool {
    let is_valid = superblock.checksum.matches(bytes);
    let Ok(raw) = Raw::mut_from_bytes(bytes) else { return false };
    if !is_valid || raw.magic != MAGIC || raw.fsid != superblock.uuid || raw.bytenr.get() != position {
        return false;
    }
    raw.fsid = uuid;
    raw.metadata_uuid = superblock.metadata_uuid;
    raw.incompat_flags = U64::new(raw.incompat_flags.get() | INCOMPAT_METADATA_UUID);
    superblock.checksum.seal(bytes);
    true
}

/// A copy of the superblock, where `size` bytes are enough to hold it.
pub(super) fn read_copy(region: &dyn ReadAt, index: usize, size: u64) -> Result<Option<Vec<u8>>, Error> {
    let position = POSITIONS.get(index).copied().unwrap_or(u64::MAX);
    let end = position.saturating_add(u64::try_from(SUPERBLOCK_BYTES).unwrap_or(u64::MAX));
    if end > size.min(region.size()) {
        return Ok(None);
    }
    Ok(Some(read_vec(region, position, SUPERBLOCK_BYTES)?))
}

fn parse(bytes: &[u8]) -> Option<&Raw> {
    Raw::ref_from_bytes(bytes).ok()
}

fn check_flags(raw: &Raw) -> Result<(), Error> {
    let flags = raw.flags.get();
    if flags & FLAGS_CHANGING != 0 {
        return Err(Error::NotClean(format!("a tool is changing the file system (flags {flags:#x})")));
    }
    if flags & FLAGS_DUMP != 0 {
        return Err(Error::Unsupported("a dump of metadata without its data".to_owned()));
    }
    let incompat = raw.incompat_flags.get();
    if incompat & INCOMPAT_ZONED != 0 {
        // On a zoned device the superblock that counts is the last one of a log, not the one at its usual place.
        return Err(Error::Unsupported("a zoned Btrfs: its newest superblock may lie elsewhere".to_owned()));
    }
    for (name, word, known) in [
        ("flags", flags, FLAGS_KNOWN),
        ("compatible features", raw.compat_flags.get(), 0),
        ("read-only compatible features", raw.compat_ro_flags.get(), COMPAT_RO_KNOWN),
        ("incompatible features", incompat, INCOMPAT_KNOWN),
    ] {
        if word & !known != 0 {
            return Err(Error::Unsupported(format!("unknown Btrfs {name} {:#x}", word & !known)));
        }
    }
    if incompat & INCOMPAT_MIXED_BACKREF == 0 {
        return Err(Error::Unsupported("a Btrfs from before mixed back references".to_owned()));
    }
    Ok(())
}

fn check_sizes(raw: &Raw) -> Result<(), Error> {
    let (sector, node) = (raw.sectorsize.get(), raw.nodesize.get());
    for (name, size, least) in [("sector", sector, 512), ("node", node, sector)] {
        if !size.is_power_of_two() || !(least..=65536).contains(&size) {
            let expected = format!("a {name} size from {least} to 65536");
            return Err(Error::corrupt(POSITIONS[0], expected, size.to_string()));
        }
    }
    // Below 4096 no header, item and room for a few fit.
    if node < 4096 {
        return Err(Error::corrupt(POSITIONS[0], "a node size of at least 4096", node.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_lie_where_the_specification_puts_them() {
        assert_eq!(std::mem::offset_of!(Raw, magic), 0x40);
        assert_eq!(std::mem::offset_of!(Raw, num_devices), 0x88);
        assert_eq!(std::mem::offset_of!(Raw, csum_type), 0xC4);
        assert_eq!(std::mem::offset_of!(Raw, dev_item), 0xC9);
        assert_eq!(std::mem::offset_of!(Raw, label), 0x12B);
        assert_eq!(std::mem::offset_of!(Raw, metadata_uuid), 0x23B);
        assert_eq!(std::mem::offset_of!(Raw, sys_chunk_array), 0x32B);
        assert_eq!(std::mem::offset_of!(Raw, super_roots), 0xB2B);
        assert_eq!(size_of::<Raw>(), SUPERBLOCK_BYTES);
        assert_eq!(size_of::<RawDeviceItem>(), 98);
    }
}
