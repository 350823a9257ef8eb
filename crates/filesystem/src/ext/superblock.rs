//! The superblock, and the places of metadata that follow from it.
//!
//! Source: Linux `Documentation/filesystems/ext4/super.rst`, `blockgroup.rst`, `group_descr.rst`;
//! e2fsprogs `lib/ext2fs/ext2_fs.h`, `lib/ext2fs/closefs.c` (which groups hold copies).

use block::ReadAt;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::feature::{Features, compat, incompat, ro_compat};
use crate::crc32c::crc32c;
use crate::identity::{label_text, uuid_text};
use crate::{Error, FileSystem};

/// Where the superblock lies, in bytes, whatever the block size.
pub const POSITION: u64 = 1024;
/// Bytes of the superblock.
pub const LENGTH: usize = 1024;
const MAGIC: u16 = 0xEF53;
/// Position of `s_checksum` in the superblock.
const CHECKSUM_POSITION: usize = 0x3FC;
/// 64 KiB, the largest block size.
const LARGEST_LOG_BLOCK_SIZE: u32 = 6;
/// 512 MiB, the largest cluster size.
const LARGEST_LOG_CLUSTER_SIZE: u32 = 19;
const SMALLEST_INODE: u32 = 128;
const CRC32C: u8 = 1;

/// `struct ext4_super_block`.
#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RawSuperblock {
    pub s_inodes_count: U32,
    pub s_blocks_count_lo: U32,
    s_r_blocks_count_lo: U32,
    s_free_blocks_count_lo: U32,
    s_free_inodes_count: U32,
    s_first_data_block: U32,
    pub s_log_block_size: U32,
    s_log_cluster_size: U32,
    s_blocks_per_group: U32,
    s_clusters_per_group: U32,
    s_inodes_per_group: U32,
    s_mtime: U32,
    s_wtime: U32,
    s_mnt_count: U16,
    s_max_mnt_count: U16,
    pub s_magic: U16,
    pub s_state: U16,
    s_errors: U16,
    s_minor_rev_level: U16,
    s_lastcheck: U32,
    s_checkinterval: U32,
    s_creator_os: U32,
    pub s_rev_level: U32,
    s_def_resuid: U16,
    s_def_resgid: U16,
    s_first_ino: U32,
    s_inode_size: U16,
    s_block_group_nr: U16,
    pub s_feature_compat: U32,
    pub s_feature_incompat: U32,
    pub s_feature_ro_compat: U32,
    pub s_uuid: [u8; 16],
    s_volume_name: [u8; 16],
    s_last_mounted: [u8; 64],
    s_algorithm_usage_bitmap: U32,
    s_prealloc_blocks: u8,
    s_prealloc_dir_blocks: u8,
    s_reserved_gdt_blocks: U16,
    s_journal_uuid: [u8; 16],
    s_journal_inum: U32,
    s_journal_dev: U32,
    s_last_orphan: U32,
    s_hash_seed: [U32; 4],
    s_def_hash_version: u8,
    s_jnl_backup_type: u8,
    s_desc_size: U16,
    s_default_mount_opts: U32,
    s_first_meta_bg: U32,
    s_mkfs_time: U32,
    s_jnl_blocks: [U32; 17],
    s_blocks_count_hi: U32,
    s_r_blocks_count_hi: U32,
    s_free_blocks_count_hi: U32,
    s_min_extra_isize: U16,
    s_want_extra_isize: U16,
    s_flags: U32,
    s_raid_stride: U16,
    s_mmp_interval: U16,
    s_mmp_block: U64,
    s_raid_stripe_width: U32,
    s_log_groups_per_flex: u8,
    s_checksum_type: u8,
    s_reserved_pad: U16,
    s_kbytes_written: U64,
    s_snapshot_inum: U32,
    s_snapshot_id: U32,
    s_snapshot_r_blocks_count: U64,
    s_snapshot_list: U32,
    pub s_error_count: U32,
    s_first_and_last_error: [u8; 0xA8],
    s_usr_quota_inum: U32,
    s_grp_quota_inum: U32,
    s_overhead_clusters: U32,
    s_backup_bgs: [U32; 2],
    s_encrypt_algos: [u8; 4],
    s_encrypt_pw_salt: [u8; 16],
    s_lpf_ino: U32,
    s_prj_quota_inum: U32,
    pub s_checksum_seed: U32,
    s_times_hi: [u8; 8],
    s_encoding: U16,
    s_encoding_flags: U16,
    s_orphan_file_inum: U32,
    s_reserved: [U32; 94],
    pub s_checksum: U32,
}

const _: () = assert!(size_of::<RawSuperblock>() == LENGTH);

impl RawSuperblock {
    /// Reads the superblock of a region that has one: the magic number stands where it must, and the size of a block
    /// is possible. Everything else is looked at by [`Superblock::parse`], so that a damaged file system is told from
    /// none.
    pub fn read(region: &dyn ReadAt) -> Result<Option<Self>, Error> {
        if region.size() < POSITION.saturating_add(1024) {
            return Ok(None);
        }
        let mut bytes = [0; LENGTH];
        region.read_at(POSITION, &mut bytes)?;
        Ok(Self::recognise(&bytes))
    }

    /// The superblock in `bytes`, where there is one.
    pub fn recognise(bytes: &[u8]) -> Option<Self> {
        let raw = Self::read_from_bytes(bytes).ok()?;
        let plausible = raw.s_magic.get() == MAGIC
            && raw.s_log_block_size.get() <= LARGEST_LOG_BLOCK_SIZE
            && raw.s_blocks_count_lo.get() | raw.s_blocks_count_hi.get() != 0;
        plausible.then_some(raw)
    }

    /// Name and identity.
    pub fn identity(&self) -> FileSystem {
        let features = self.features();
        FileSystem {
            kind: features.kind().to_owned(),
            uuid: uuid_text(&self.s_uuid),
            label: label_text(&self.s_volume_name),
            block_size: self.block_size(),
            size: self.blocks_count().saturating_mul(u64::from(self.block_size())),
        }
    }

    /// The features. Revision 0 should have none, but the kernel heeds those that are there.
    pub fn features(&self) -> Features {
        Features {
            compat: self.s_feature_compat.get(),
            incompat: self.s_feature_incompat.get(),
            ro_compat: self.s_feature_ro_compat.get(),
        }
    }

    fn block_size(&self) -> u32 {
        1024_u32.checked_shl(self.s_log_block_size.get().min(LARGEST_LOG_BLOCK_SIZE)).unwrap_or(1024)
    }

    fn blocks_count(&self) -> u64 {
        let high = if self.features().incompat(incompat::SIXTY_FOUR_BIT) { self.s_blocks_count_hi.get() } else { 0 };
        u64::from(high) << 32 | u64::from(self.s_blocks_count_lo.get())
    }
}

/// A superblock whose fields don't contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// What the file system makes use of.
    pub features: Features,
    /// Bytes of a block: 1024 to 65536, a power of two.
    pub block_size: u32,
    /// Blocks of the file system, counted from the start of the region.
    pub blocks_count: u64,
    /// First block of group 0.
    pub first_data_block: u64,
    /// Blocks that one bit of a bitmap stands for; 1 without bigalloc.
    pub cluster_blocks: u32,
    /// Bits of a group's bitmap.
    pub clusters_per_group: u32,
    /// Blocks of every group but the last.
    pub blocks_per_group: u32,
    /// Inodes of every group.
    pub inodes_per_group: u32,
    /// Bytes of an inode.
    pub inode_size: u32,
    /// Blocks of a group's inode table.
    pub inode_table_blocks: u64,
    /// Bytes of a group descriptor.
    pub descriptor_size: u32,
    /// Number of groups.
    pub groups: u64,
    /// Number of blocks that hold all group descriptors.
    pub descriptor_blocks: u64,
    /// Blocks kept free after the descriptors, for growing.
    pub reserved_gdt_blocks: u16,
    /// First block of descriptors that lies in its own meta group.
    pub first_meta_bg: u32,
    /// The groups with copies under `sparse_super2`.
    pub backup_groups: [u32; 2],
    /// The state flags.
    pub state: u16,
    /// Number of errors that the kernel has recorded.
    pub error_count: u32,
    /// Inode of the journal; 0 where it is elsewhere or missing.
    pub journal_inode: u32,
    /// UUID of the device that holds the journal, where it is another.
    pub journal_uuid: Option<String>,
    /// Block for multiple mount protection; 0 without.
    pub mmp_block: u64,
    /// Inode of the file that lists deleted files that are still open; 0 without.
    pub orphan_inode: u32,
    /// The raw UUID.
    pub uuid: [u8; 16],
    /// Where the checksums of metadata start from.
    pub checksum_seed: u32,
}

impl Superblock {
    /// Checks every field that decides where something lies.
    pub fn parse(raw: &RawSuperblock) -> Result<Self, Error> {
        let features = raw.features();
        if raw.s_rev_level.get() > 1 {
            return Err(Error::Unsupported(format!("revision {} of the format", raw.s_rev_level)));
        }
        features.require_known()?;
        check_checksum(raw, features)?;
        let geometry = Geometry::parse(raw, features)?;
        let seed =
            if features.incompat(incompat::CSUM_SEED) { raw.s_checksum_seed.get() } else { crc32c(!0, &raw.s_uuid) };
        Ok(Self {
            features,
            block_size: geometry.block_size,
            blocks_count: raw.blocks_count(),
            first_data_block: u64::from(raw.s_first_data_block.get()),
            cluster_blocks: geometry.cluster_blocks,
            clusters_per_group: geometry.clusters_per_group,
            blocks_per_group: geometry.blocks_per_group,
            inodes_per_group: raw.s_inodes_per_group.get(),
            inode_size: geometry.inode_size,
            inode_table_blocks: geometry.inode_table_blocks,
            descriptor_size: geometry.descriptor_size,
            groups: geometry.groups,
            descriptor_blocks: geometry.descriptor_blocks,
            reserved_gdt_blocks: raw.s_reserved_gdt_blocks.get(),
            first_meta_bg: raw.s_first_meta_bg.get(),
            backup_groups: raw.s_backup_bgs.map(U32::get),
            state: raw.s_state.get(),
            error_count: raw.s_error_count.get(),
            journal_inode: raw.s_journal_inum.get(),
            journal_uuid: uuid_text(&raw.s_journal_uuid),
            mmp_block: if features.incompat(incompat::MMP) { raw.s_mmp_block.get() } else { 0 },
            orphan_inode: if features.compat(compat::ORPHAN_FILE) { raw.s_orphan_file_inum.get() } else { 0 },
            uuid: raw.s_uuid,
            checksum_seed: seed,
        })
    }

    /// Whether group descriptors carry a checksum, and their flags therefore count.
    pub fn has_group_checksums(&self) -> bool {
        self.features.ro_compat(ro_compat::GDT_CSUM | ro_compat::METADATA_CSUM)
    }

    /// Whether all metadata carries checksums.
    pub fn has_metadata_checksums(&self) -> bool {
        self.features.ro_compat(ro_compat::METADATA_CSUM)
    }

    /// The same file system with another UUID, and with checksums that begin with it.
    pub fn renamed(&self, uuid: [u8; 16]) -> Self {
        let has_seed = self.features.incompat(incompat::CSUM_SEED);
        let checksum_seed = if has_seed { self.checksum_seed } else { crc32c(!0, &uuid) };
        Self { uuid, checksum_seed, ..self.clone() }
    }

    /// Whether both describe the same places. What a running system changes is not looked at.
    pub fn same_layout(&self, other: &Self) -> bool {
        let plain = |superblock: &Self| Self {
            features: superblock.features.of_layout(),
            state: 0,
            error_count: 0,
            ..superblock.clone()
        };
        plain(self) == plain(other)
    }

    /// First block of a group.
    pub fn group_start(&self, group: u64) -> u64 {
        self.first_data_block.saturating_add(group.saturating_mul(u64::from(self.blocks_per_group)))
    }

    /// First block after a group.
    pub fn group_end(&self, group: u64) -> u64 {
        self.group_start(group.saturating_add(1)).min(self.blocks_count)
    }

    /// Whether a group holds a copy of the superblock.
    pub fn has_super(&self, group: u64) -> bool {
        if group == 0 {
            return true;
        }
        if self.features.compat(compat::SPARSE_SUPER2) {
            return self.backup_groups.iter().any(|backup| u64::from(*backup) == group);
        }
        !self.features.ro_compat(ro_compat::SPARSE_SUPER)
            || group == 1
            || [3, 5, 7].into_iter().any(|base| is_power(group, base))
    }

    /// The blocks of a group that hold the superblock, descriptors and room for more of them: first block and count.
    pub fn base_metadata(&self, group: u64) -> (u64, u64) {
        let has_super = self.has_super(group);
        let per_block = u64::from(self.descriptors_per_block());
        let meta_group = group.checked_div(per_block).unwrap_or_default();
        let in_meta_group = group.checked_rem(per_block).unwrap_or_default();
        let uses_meta_bg = self.features.incompat(incompat::META_BG);
        let descriptors = if uses_meta_bg && meta_group >= u64::from(self.first_meta_bg) {
            u64::from(in_meta_group <= 1 || in_meta_group == per_block.saturating_sub(1))
        } else if !has_super {
            0
        } else if uses_meta_bg {
            u64::from(self.first_meta_bg)
        } else {
            self.descriptor_blocks.saturating_add(u64::from(self.reserved_gdt_blocks))
        };
        (self.superblock_in(group), u64::from(has_super).saturating_add(descriptors))
    }

    /// The blocks of descriptors that lie in a group, as the number of each among all of them and where it lies: the
    /// first ones and their copies.
    pub fn descriptor_copies(&self, group: u64) -> Vec<(u64, u64)> {
        let has_super = self.has_super(group);
        let first = self.superblock_in(group).saturating_add(u64::from(has_super));
        let per_block = u64::from(self.descriptors_per_block()).max(1);
        let (meta_group, in_meta_group) =
            (group.checked_div(per_block).unwrap_or_default(), group.checked_rem(per_block).unwrap_or_default());
        let uses_meta_bg = self.features.incompat(incompat::META_BG);
        if uses_meta_bg && meta_group >= u64::from(self.first_meta_bg) {
            let has_copy = in_meta_group <= 1 || in_meta_group == per_block.saturating_sub(1);
            return if has_copy { vec![(meta_group, first)] } else { Vec::new() };
        }
        let count = match (has_super, uses_meta_bg) {
            (false, _) => 0,
            (true, true) => u64::from(self.first_meta_bg),
            (true, false) => self.descriptor_blocks,
        };
        (0..count.min(self.descriptor_blocks)).map(|index| (index, first.saturating_add(index))).collect()
    }

    /// Where the block number `index` of the group descriptors lies.
    pub fn descriptor_block(&self, index: u64) -> u64 {
        if !self.features.incompat(incompat::META_BG) || index < u64::from(self.first_meta_bg) {
            return self.superblock_in(0).saturating_add(1).saturating_add(index);
        }
        let group = index.saturating_mul(u64::from(self.descriptors_per_block()));
        self.superblock_in(group).saturating_add(u64::from(self.has_super(group)))
    }

    /// Group descriptors in a block.
    pub fn descriptors_per_block(&self) -> u32 {
        self.block_size.checked_div(self.descriptor_size).unwrap_or(1)
    }

    /// The block of a group where a copy of the superblock lies, if the group has one.
    fn superblock_in(&self, group: u64) -> u64 {
        // With blocks of 1 KiB the first is left to boot code, also where bigalloc counts it into group 0.
        let start = self.group_start(group);
        if start == 0 && self.block_size == 1024 { 1 } else { start }
    }
}

/// The sizes that follow from each other.
struct Geometry {
    block_size: u32,
    cluster_blocks: u32,
    clusters_per_group: u32,
    blocks_per_group: u32,
    inode_size: u32,
    inode_table_blocks: u64,
    descriptor_size: u32,
    groups: u64,
    descriptor_blocks: u64,
}

impl Geometry {
    fn parse(raw: &RawSuperblock, features: Features) -> Result<Self, Error> {
        let block_size = raw.block_size();
        let cluster_blocks = cluster_blocks(raw, features)?;
        let (blocks_per_group, clusters_per_group) = group_sizes(raw, features, block_size, cluster_blocks)?;
        let first = u64::from(raw.s_first_data_block.get());
        let expected_first = u64::from(block_size == 1024 && !features.ro_compat(ro_compat::BIGALLOC));
        check(first == expected_first, 0x14, || (format!("first data block {expected_first}"), first.to_string()))?;
        let blocks = raw.blocks_count();
        check(blocks > first, 0x04, || (format!("more than {first} blocks"), blocks.to_string()))?;
        let groups = blocks.saturating_sub(first).div_ceil(u64::from(blocks_per_group));

        let inode_size = if raw.s_rev_level.get() == 0 { SMALLEST_INODE } else { u32::from(raw.s_inode_size.get()) };
        let inode_size_fits = inode_size.is_power_of_two() && (SMALLEST_INODE..=block_size).contains(&inode_size);
        check(inode_size_fits, 0x58, || (format!("inodes of 128 to {block_size} bytes"), inode_size.to_string()))?;
        let inodes_per_group = raw.s_inodes_per_group.get();
        let most_inodes = block_size.saturating_mul(8);
        check((1..=most_inodes).contains(&inodes_per_group), 0x28, || {
            (format!("1 to {most_inodes} inodes per group"), inodes_per_group.to_string())
        })?;
        let inodes = groups.saturating_mul(u64::from(inodes_per_group));
        check(inodes == u64::from(raw.s_inodes_count.get()), 0, || {
            (format!("{inodes} inodes in {groups} groups"), raw.s_inodes_count.to_string())
        })?;
        let inode_table_blocks =
            u64::from(inodes_per_group).saturating_mul(u64::from(inode_size)).div_ceil(u64::from(block_size));

        let descriptor_size = descriptor_size(raw, features)?;
        let per_block = u64::from(block_size).checked_div(u64::from(descriptor_size)).unwrap_or(1).max(1);
        let descriptor_blocks = groups.div_ceil(per_block);
        let first_meta_bg = u64::from(raw.s_first_meta_bg.get());
        check(!features.incompat(incompat::META_BG) || first_meta_bg <= descriptor_blocks, 0x104, || {
            (format!("a first meta group up to {descriptor_blocks}"), first_meta_bg.to_string())
        })?;
        Ok(Self {
            block_size,
            cluster_blocks,
            clusters_per_group,
            blocks_per_group,
            inode_size,
            inode_table_blocks,
            descriptor_size,
            groups,
            descriptor_blocks,
        })
    }
}

fn cluster_blocks(raw: &RawSuperblock, features: Features) -> Result<u32, Error> {
    let (block, cluster) = (raw.s_log_block_size.get(), raw.s_log_cluster_size.get());
    let most = if features.ro_compat(ro_compat::BIGALLOC) { LARGEST_LOG_CLUSTER_SIZE } else { block };
    check((block..=most).contains(&cluster), 0x1C, || {
        (format!("a cluster size of 2^{block} to 2^{most} KiB"), format!("2^{cluster} KiB"))
    })?;
    Ok(1_u32.checked_shl(cluster.saturating_sub(block)).unwrap_or(1))
}

/// Blocks and clusters per group.
fn group_sizes(
    raw: &RawSuperblock,
    features: Features,
    block_size: u32,
    cluster_blocks: u32,
) -> Result<(u32, u32), Error> {
    let blocks = raw.s_blocks_per_group.get();
    let has_clusters = features.ro_compat(ro_compat::BIGALLOC);
    let (clusters, field) = if has_clusters { (raw.s_clusters_per_group.get(), 0x24) } else { (blocks, 0x20) };
    let most = block_size.saturating_mul(8);
    // A bitmap is one block, and its checksum covers whole bytes.
    check((8..=most).contains(&clusters) && clusters % 8 == 0, field, || {
        (format!("8 to {most} clusters per group, a multiple of 8"), clusters.to_string())
    })?;
    check(clusters.checked_mul(cluster_blocks) == Some(blocks), 0x20, || {
        (format!("{clusters} clusters of {cluster_blocks} blocks per group"), format!("{blocks} blocks"))
    })?;
    Ok((blocks, clusters))
}

fn descriptor_size(raw: &RawSuperblock, features: Features) -> Result<u32, Error> {
    if !features.incompat(incompat::SIXTY_FOUR_BIT) {
        return Ok(32);
    }
    let size = u32::from(raw.s_desc_size.get());
    check(size.is_power_of_two() && (64..=1024).contains(&size), 0xFE, || {
        ("group descriptors of 64 to 1024 bytes".to_owned(), size.to_string())
    })?;
    Ok(size)
}

fn check_checksum(raw: &RawSuperblock, features: Features) -> Result<(), Error> {
    if !features.ro_compat(ro_compat::METADATA_CSUM) {
        return Ok(());
    }
    if raw.s_checksum_type != CRC32C {
        return Err(Error::Unsupported(format!("metadata checksums of type {}", raw.s_checksum_type)));
    }
    let expected = crc32c(!0, raw.as_bytes().get(..CHECKSUM_POSITION).unwrap_or_default());
    let actual = raw.s_checksum.get();
    check(expected == actual, 0x3FC, || (format!("superblock checksum {expected:08x}"), format!("{actual:08x}")))
}

/// Fails at a field of the superblock, telling what was expected and what is there.
fn check(holds: bool, field: u64, words: impl FnOnce() -> (String, String)) -> Result<(), Error> {
    if holds {
        return Ok(());
    }
    let (expected, actual) = words();
    Err(Error::corrupt(POSITION.saturating_add(field), expected, actual))
}

/// Whether `number` is `base` to some power above 0.
fn is_power(number: u64, base: u64) -> bool {
    let mut power = base;
    while power < number {
        power = power.saturating_mul(base);
    }
    power == number
}

#[cfg(test)]
mod tests {
    use super::super::sample::{Checksums, Sample};
    use super::*;

    /// The superblock of a sample with other features: 16 descriptors in a block, groups of 256 blocks from block 1.
    fn with(compat: u32, incompat: u32, ro_compat: u32) -> Superblock {
        let raw = RawSuperblock::read(&Sample::new(Checksums::None).disk).unwrap().unwrap();
        let features = Features { compat, incompat, ro_compat };
        let parsed = Superblock::parse(&raw).unwrap();
        Superblock { features, descriptor_blocks: 7, reserved_gdt_blocks: 30, groups: 112, ..parsed }
    }

    fn groups_with(count: u64, superblock: &Superblock) -> Vec<u64> {
        (0..60).filter(|group| superblock.base_metadata(*group).1 == count).collect()
    }

    #[test]
    fn copies_lie_where_the_features_put_them() {
        let sparse = with(0, 0, ro_compat::SPARSE_SUPER);
        assert_eq!(groups_with(1 + 7 + 30, &sparse), [0, 1, 3, 5, 7, 9, 25, 27, 49]);
        assert_eq!(groups_with(0, &sparse).len(), 51);
        assert_eq!(sparse.base_metadata(3).0, 1 + 3 * 256);
        assert_eq!(groups_with(1 + 7 + 30, &with(0, 0, 0)).len(), 60);
        let two = Superblock { backup_groups: [4, 33], ..with(compat::SPARSE_SUPER2, 0, ro_compat::SPARSE_SUPER) };
        assert_eq!(groups_with(1 + 7 + 30, &two), [0, 4, 33]);
    }

    #[test]
    fn meta_groups_keep_descriptors_in_their_first_two_and_their_last_group() {
        let meta = with(0, incompat::META_BG, ro_compat::SPARSE_SUPER);
        assert_eq!(groups_with(2, &meta), [0, 1, 49]);
        assert_eq!(groups_with(1, &meta), [3, 5, 7, 9, 15, 16, 17, 25, 27, 31, 32, 33, 47, 48]);
        assert_eq!(meta.descriptor_block(1), 1 + 16 * 256);
        assert_eq!(meta.descriptor_block(0), 2);
        let later = Superblock { first_meta_bg: 2, ..meta };
        assert_eq!(groups_with(3, &later), [0, 1, 3, 5, 7, 9, 25, 27]);
        assert_eq!(groups_with(1, &later), [32, 33, 47, 48]);
        assert_eq!(groups_with(2, &later), [49]);
        assert_eq!((later.descriptor_block(1), later.descriptor_block(2)), (3, 1 + 32 * 256));
    }

    #[test]
    fn the_first_kibibyte_is_left_to_boot_code() {
        let bigalloc = Superblock { first_data_block: 0, ..with(0, 0, ro_compat::BIGALLOC) };
        assert_eq!((bigalloc.base_metadata(0).0, bigalloc.base_metadata(1).0), (1, 256));
        assert_eq!(bigalloc.descriptor_block(0), 2);
        let larger = Superblock { block_size: 4096, ..bigalloc };
        assert_eq!((larger.base_metadata(0).0, larger.descriptor_block(0)), (0, 1));
    }
}
