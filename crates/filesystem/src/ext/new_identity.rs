//! Another UUID: in the superblock and its copies, and in the checksums that begin with it.
//!
//! Where all metadata carries checksums, the seed of these is kept as a field of its own (`metadata_csum_seed`), so that
//! they stay as they are. Boot loaders refuse a feature that they don't know, and GRUB knows this one since version
//! 2.12 only: where a boot loader reads the file system, every checksum is made anew. Where only group descriptors carry
//! checksums, these are.
//!
//! A journal that waits to be replayed would bring superblocks with the old UUID back.
//!
//! Source: Linux `Documentation/filesystems/ext4/super.rst`, `group_descr.rst`; e2fsprogs `misc/tune2fs.c` for what
//! depends on the UUID, `lib/ext2fs/csum.c`, `lib/ext2fs/closefs.c`.

use block::{ReadAt, read_vec};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use super::feature::{compat, incompat, ro_compat};
use super::superblock::{LENGTH, POSITION, RawSuperblock, Superblock};
use super::view::View;
use super::{check_state, checksums, group, journal_blocks, waiting_log};
use crate::Error;
use crate::crc32c::crc32c;
use crate::files::open_files;
use crate::new_identity::{NewId, Patches};

/// What boot loaders keep beside the kernels that they read.
const BOOT_LOADERS: &[&str] = &[
    "/boot/grub",
    "/boot/grub2",
    "/grub",
    "/grub2",
    "/boot/extlinux",
    "/extlinux",
    "/syslinux",
    "/boot/syslinux",
    "/extlinux.conf",
    "/boot/loader/entries",
    "/loader/entries",
];

pub(crate) fn patch(region: &dyn ReadAt, id: NewId, patches: &mut Patches<'_>) -> Result<(), Error> {
    let raw = read(region)?;
    let superblock = Superblock::parse(&raw)?;
    check_quiet(region, &superblock)?;
    let features = superblock.features;
    if features.compat(compat::STABLE_INODES) {
        return Err(Error::Unsupported("keys of encrypted files are made of its UUID".to_owned()));
    }
    let has_seed = features.incompat(incompat::CSUM_SEED);
    let seed_changes = superblock.has_metadata_checksums() && !has_seed;
    let boot_loader = if seed_changes { boot_loader(region)? } else { None };
    if features.incompat(incompat::EA_INODE) && !has_seed {
        if let Some(path) = boot_loader {
            return Err(Error::Unsupported(format!(
                "a boot loader reads it ({path}), and checksums of large attributes begin with its UUID"
            )));
        }
        if !seed_changes {
            return Err(Error::Unsupported("checksums of large attributes begin with its UUID".to_owned()));
        }
    }
    let needs_seed = seed_changes && boot_loader.is_none();
    let renamed = superblock.renamed(id.uuid());
    if boot_loader.is_some() {
        checksums::rename(region, &superblock, &renamed, patches)?;
    }
    for number in 0..superblock.groups {
        let is_seed_of_checksums = superblock.has_group_checksums() && !superblock.has_metadata_checksums();
        if superblock.has_super(number) {
            let start = match number {
                0 => POSITION,
                _ => superblock.base_metadata(number).0.saturating_mul(u64::from(superblock.block_size)),
            };
            patch_superblock(region, start, &superblock, id, needs_seed, patches)?;
        }
        if is_seed_of_checksums {
            patch_descriptors(region, number, &renamed, patches)?;
        }
    }
    Ok(())
}

/// Superblock and group descriptors hold their checksums.
pub(crate) fn check(region: &dyn ReadAt) -> Result<(), Error> {
    let superblock = Superblock::parse(&read(region)?)?;
    check_quiet(region, &superblock)?;
    group::for_each_batch(&superblock, &View::of_disk(region, &superblock), true, |_| Ok(()))
}

fn read(region: &dyn ReadAt) -> Result<RawSuperblock, Error> {
    RawSuperblock::read(region)?.ok_or_else(|| Error::corrupt(POSITION, "a superblock", "none"))
}

/// Nothing waits to be written over what changes.
fn check_quiet(region: &dyn ReadAt, superblock: &Superblock) -> Result<(), Error> {
    check_state(superblock)?;
    let features = superblock.features;
    if features.compat(compat::HAS_JOURNAL) && superblock.journal_inode == 0 {
        return Err(Error::Unsupported("its journal is on another device, and names it by its UUID".to_owned()));
    }
    let disk = View::of_disk(region, superblock);
    let waits = match journal_blocks(superblock, &disk)? {
        Some(blocks) => waiting_log(superblock, &disk, &blocks)?.is_some(),
        None => false,
    };
    if waits || features.incompat(incompat::RECOVER) {
        return Err(Error::NotClean("its journal waits to be replayed, and holds the old UUID".to_owned()));
    }
    Ok(())
}

/// What a boot loader keeps in it. Where that can't be read, nobody knows what would still boot.
fn boot_loader(region: &dyn ReadAt) -> Result<Option<&'static str>, Error> {
    let files = open_files(region).ok_or_else(|| Error::Unsupported("its files can't be read".to_owned()))?;
    for path in BOOT_LOADERS {
        let kind = files.kind_of(path);
        if kind.map_err(|error| Error::Unsupported(format!("{path} can't be read: {error}")))?.is_some() {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn patch_superblock(
    region: &dyn ReadAt,
    start: u64,
    superblock: &Superblock,
    id: NewId,
    needs_seed: bool,
    patches: &mut Patches<'_>,
) -> Result<(), Error> {
    let mut raw = RawSuperblock::recognise(&read_vec(region, start, LENGTH)?);
    // A copy that is damaged, or was left behind by another file system, names nothing here.
    let Some(raw) = raw.as_mut().filter(|raw| raw.s_uuid == superblock.uuid) else { return Ok(()) };
    raw.s_uuid = id.uuid();
    if needs_seed && raw.features().ro_compat(ro_compat::METADATA_CSUM) {
        raw.s_checksum_seed = U32::new(superblock.checksum_seed);
        raw.s_feature_incompat = U32::new(raw.s_feature_incompat.get() | incompat::CSUM_SEED);
    }
    if raw.features().ro_compat(ro_compat::METADATA_CSUM) {
        raw.seal();
    }
    patches.add(start, raw.as_bytes().to_vec())
}

/// The checksums of all descriptors that lie in a group.
fn patch_descriptors(
    region: &dyn ReadAt,
    number: u64,
    renamed: &Superblock,
    patches: &mut Patches<'_>,
) -> Result<(), Error> {
    let size = u64::from(renamed.block_size);
    let per_block = u64::from(renamed.descriptors_per_block());
    for (index, block) in renamed.descriptor_copies(number) {
        let start = block.saturating_mul(size);
        let mut bytes = read_vec(region, start, usize::try_from(size).unwrap_or_default())?;
        group::seal_block(renamed, index.saturating_mul(per_block), &mut bytes);
        patches.add(start, bytes)?;
    }
    Ok(())
}

impl RawSuperblock {
    /// Makes the checksum right.
    fn seal(&mut self) {
        let bytes = self.as_bytes();
        let covered = bytes.get(..bytes.len().saturating_sub(4)).unwrap_or_default();
        self.s_checksum = U32::new(crc32c(!0, covered));
    }
}
