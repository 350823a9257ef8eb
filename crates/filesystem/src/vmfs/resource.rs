//! Resource files: bitmaps of what a volume gives out. One tells about file blocks, one about file descriptors.
//!
//! Source: vmfs-tools `libvmfs/vmfs_bitmap.h`, `vmfs_bitmap.c`, `vmfs_inode.h`, `vmfs_metadata.h`, `vmfs_block.h`.

use block::{ReadAt, RegionExtent};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::volume::{DATA, header};
use crate::bits::{Order, for_each_run};
use crate::{Error, UsedBytes};

const INODE_MAGIC: u32 = 0x10C0_0001;
const FILE_BLOCKS_MAGIC: u32 = 0x10C0_0002;
/// The descriptor of the file that tells about file blocks: the second one.
const FILE_BLOCKS_INODE: u64 = 1;
const FILE_BLOCKS_ID: u32 = 0x0040_0004;
/// The type of a file block, in the lowest bits of its number.
const TYPE_FILE_BLOCK: u32 = 1;
const ENTRY: u64 = 0x400;

/// `struct vmfs_bitmap_header`.
#[derive(Clone, Copy, Debug, FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    items_per_bitmap_entry: U32,
    bmp_entries_per_area: U32,
    hdr_size: U32,
    data_size: U32,
    area_size: U32,
    total_items: U32,
    area_count: U32,
}

/// `struct vmfs_metadata_hdr_raw`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct MetadataHeader {
    magic: U32,
    pos: U64,
    hb_pos: U64,
    hb_seq: U64,
    obj_seq: U64,
    hb_lock: U32,
    hb_uuid: [u8; 16],
    mtime: U64,
    pad1: [u8; 0x1C0],
}

/// `struct vmfs_bitmap_entry_raw`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Entry {
    mdh: MetadataHeader,
    id: U32,
    total: U32,
    free: U32,
    ffree: U32,
    bitmap: [u8; 0x1F0],
}

/// `struct vmfs_inode_raw`.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Inode {
    mdh: MetadataHeader,
    id: U32,
    id2: U32,
    nlink: U32,
    type_: U32,
    flags: U32,
    size: U64,
    blk_size: U64,
    blk_count: U64,
    times: [U32; 3],
    owner: [U32; 3],
    zla: U32,
    tbz: U32,
    cow: U32,
    unknown2: [u8; 432],
    blocks: [U32; 256],
}

/// The file that tells which file blocks are in use.
pub struct FileBlocks<'a> {
    region: &'a dyn ReadAt,
    block_size: u64,
    header: Header,
    inode: Inode,
}

impl<'a> FileBlocks<'a> {
    /// Finds it by the descriptors, of which the first ones lie in the block `descriptors` of the volume.
    pub fn open(region: &'a dyn ReadAt, block_size: u64, descriptors: u64) -> Result<Self, Error> {
        let position = DATA.saturating_add(descriptors.saturating_mul(block_size));
        let header_of: Header = read(region, position, "descriptors")?;
        let inode_position = position
            .saturating_add(header_of.hdr_size.get().into())
            .saturating_add(u64::from(header_of.bmp_entries_per_area.get()).saturating_mul(ENTRY))
            .saturating_add(u64::from(header_of.data_size.get()).saturating_mul(FILE_BLOCKS_INODE));
        let inode: Inode = read(region, inode_position, "descriptor of the file block bitmap")?;
        let (magic, id) = (inode.mdh.magic.get(), inode.id.get());
        if (magic, id) != (INODE_MAGIC, FILE_BLOCKS_ID) {
            let expected = format!("{INODE_MAGIC:08x} and descriptor {FILE_BLOCKS_ID:08x}");
            return Err(Error::corrupt(inode_position, expected, format!("{magic:08x} and {id:08x}")));
        }
        let (zla, unit) = (inode.zla.get(), inode.blk_size.get());
        if (zla, unit) != (TYPE_FILE_BLOCK, block_size) {
            let detail = format!("the bitmap of file blocks lies in units of {unit} bytes, by addresses of kind {zla}");
            return Err(Error::Unsupported(detail));
        }
        let mut file = Self { region, block_size, header: header_of, inode };
        file.header = read(region, file.locate(0, 28)?, "header of the file block bitmap")?;
        Ok(file)
    }

    /// Number of file blocks.
    pub fn total(&self) -> u64 {
        self.header.total_items.get().into()
    }

    /// Adds the file blocks in use.
    pub fn add_used(&self, used: &mut UsedBytes) -> Result<(), Error> {
        let per_entry = u64::from(self.header.items_per_bitmap_entry.get());
        let per_area = u64::from(self.header.bmp_entries_per_area.get());
        if per_entry == 0 || per_entry > 0x1F0 * 8 || per_area == 0 {
            let expected = "up to 3968 blocks an entry, and entries in an area";
            return Err(Error::corrupt(self.locate(0, 28)?, expected, format!("{per_entry} and {per_area}")));
        }
        for number in 0..self.total().div_ceil(per_entry) {
            let first = number.saturating_mul(per_entry);
            let count = self.total().saturating_sub(first).min(per_entry);
            let area = number.checked_div(per_area).unwrap_or_default();
            let place = number.checked_rem(per_area).unwrap_or_default();
            let offset = u64::from(self.header.hdr_size.get())
                .saturating_add(area.saturating_mul(self.header.area_size.get().into()))
                .saturating_add(place.saturating_mul(ENTRY));
            self.add_entry(number, first, count, self.locate(offset, ENTRY)?, used)?;
        }
        Ok(())
    }

    fn add_entry(&self, number: u64, first: u64, count: u64, position: u64, used: &mut UsedBytes) -> Result<(), Error> {
        let entry: Entry = read(self.region, position, "entry of the file block bitmap")?;
        let (magic, id, total) = (entry.mdh.magic.get(), u64::from(entry.id.get()), u64::from(entry.total.get()));
        if (magic, id, total) != (FILE_BLOCKS_MAGIC, number, count) {
            let expected = format!("{FILE_BLOCKS_MAGIC:08x}, entry {number} with {count} blocks");
            return Err(Error::corrupt(position, expected, format!("{magic:08x}, entry {id} with {total} blocks")));
        }
        if entry.mdh.hb_lock.get() != 0 {
            return Err(Error::NotClean(format!("a host has locked entry {number} of the file block bitmap")));
        }
        let mut used_blocks = 0_u64;
        // A set bit is a free block.
        for_each_run(&entry.bitmap, count, Order::LowestFirst, false, |start, length| {
            used_blocks = used_blocks.saturating_add(length);
            let start = first.saturating_add(start);
            used.add(RegionExtent::between(self.position(start), self.position(start.saturating_add(length))));
        });
        let free = count.saturating_sub(used_blocks);
        if free != u64::from(entry.free.get()) {
            let expected = format!("{} free blocks in entry {number}", entry.free.get());
            return Err(Error::corrupt(position.saturating_add(520), expected, free.to_string()));
        }
        Ok(())
    }

    /// Where a file block starts in the region.
    fn position(&self, block: u64) -> u64 {
        DATA.saturating_add(block.saturating_mul(self.block_size))
    }

    /// Where bytes of the file lie in the region.
    fn locate(&self, offset: u64, length: u64) -> Result<u64, Error> {
        let index = offset.checked_div(self.block_size).unwrap_or_default();
        let inside = offset.checked_rem(self.block_size).unwrap_or_default();
        let block = usize::try_from(index).ok().and_then(|index| self.inode.blocks.get(index)).map(|block| block.get());
        match block {
            Some(block) if block & 7 == TYPE_FILE_BLOCK && inside.saturating_add(length) <= self.block_size => {
                Ok(self.position(u64::from(block >> 6)).saturating_add(inside))
            }
            _ => {
                let expected = format!("byte {offset} of the file block bitmap in one of its blocks");
                Err(Error::corrupt(DATA, expected, format!("{:08x} as block {index}", block.unwrap_or_default())))
            }
        }
    }
}

fn read<T: FromBytes>(region: &dyn ReadAt, position: u64, what: &str) -> Result<T, Error> {
    header(region, position)?.ok_or_else(|| {
        let expected = format!("the {what} inside {} bytes", region.size());
        Error::corrupt(position, expected, "its end behind that")
    })
}
