//! ext2, ext3 and ext4.
//!
//! Used is what the bitmaps of the groups say, and all metadata whatever they say: superblock and descriptor copies,
//! bitmaps, whole inode tables, the journal, the block for multiple mount protection. Where a journal waits to be
//! replayed, the maps on the disk lag behind; the maps as they will be after the replay are then read through the
//! journal, and both are used. Data of newly allocated blocks is on the disk before its transaction is committed, so
//! nothing else can become reachable.
//!
//! Source: Linux `Documentation/filesystems/ext4/`.

mod bitmap;
mod checksums;
mod crc16;
mod directory;
mod feature;
mod group;
mod inline;
mod inode;
mod journal;
pub(crate) mod new_identity;
#[cfg(test)]
mod sample;
mod superblock;
#[cfg(test)]
mod tests;
mod view;

use block::ReadAt;

use self::bitmap::{Trust, add_groups};
use self::feature::{compat, incompat};
use self::inode::{FileBlocks, file_blocks};
use self::journal::{Journal, Log};
use self::superblock::{POSITION, RawSuperblock, Superblock};
use self::view::View;
use crate::files::Cache;
use crate::{Error, FileSystem, Note, NoteCode, UsedBytes};

/// `s_state`: unmounted cleanly, or in use with a journal.
const STATE_VALID: u16 = 0x1;
const STATE_ERROR: u16 = 0x2;

/// Finds ext2, ext3, ext4 or the external journal of one.
pub fn recognise(region: &dyn ReadAt) -> Result<Option<FileSystem>, Error> {
    Ok(RawSuperblock::read(region)?.map(|raw| raw.identity()))
}

/// The used bytes.
pub fn coverage(region: &dyn ReadAt, notes: &mut Vec<Note>) -> Result<UsedBytes, Error> {
    let raw = RawSuperblock::read(region)?
        .ok_or_else(|| Error::corrupt(POSITION, "the superblock that was there", "another"))?;
    if raw.features().incompat(incompat::JOURNAL_DEV) {
        return Err(Error::Opaque("the journal of a file system on another device".to_owned()));
    }
    let superblock = Superblock::parse(&raw)?;
    add_notes(&superblock, notes);
    check_state(&superblock)?;
    let disk = View::of_disk(region, &superblock);
    let mut used = UsedBytes::new();
    let journal_blocks = journal_blocks(&superblock, &disk)?;
    let log = match &journal_blocks {
        Some(blocks) => waiting_log(&superblock, &disk, blocks)?,
        None => None,
    };
    match &log {
        Some(log) => {
            let replayed = disk.with_log(log);
            check_replayed_superblock(&superblock, &replayed)?;
            add_groups(&superblock, &disk, Trust::Lagging, &mut used)?;
            let mut after = UsedBytes::new();
            add_groups(&superblock, &replayed, Trust::Consistent, &mut after)?;
            used.merge(&after.into_extents());
            notes.push(Note {
                code: NoteCode::NotClean,
                detail: format!("{} blocks in {} transactions wait in the journal", log.blocks(), log.transactions()),
            });
        }
        None => add_groups(&superblock, &disk, Trust::Consistent, &mut used)?,
    }
    add_outside_of_groups(&superblock, journal_blocks.as_ref(), &mut used);
    Ok(used)
}

/// Opens the files, as they will be once the journal is replayed; where it can't be read, as they are on the disk.
pub fn open_files(device: Cache<'_>) -> Result<directory::Tree<'_>, Error> {
    let raw = RawSuperblock::read(&device)?.ok_or_else(|| Error::corrupt(POSITION, "a superblock", "none"))?;
    if raw.features().incompat(incompat::JOURNAL_DEV) {
        return Err(Error::Opaque("the journal of a file system on another device".to_owned()));
    }
    let superblock = Superblock::parse(&raw)?;
    let disk = View::of_disk(&device, &superblock);
    let log = journal_blocks(&superblock, &disk)
        .and_then(|blocks| blocks.map_or(Ok(None), |blocks| waiting_log(&superblock, &disk, &blocks)))
        .ok()
        .flatten();
    let log = log.filter(|log| check_replayed_superblock(&superblock, &disk.with_log(log)).is_ok());
    Ok(directory::Tree::new(device, superblock, log))
}

/// Boot code and superblock, the journal, the block for multiple mount protection.
fn add_outside_of_groups(superblock: &Superblock, journal: Option<&FileBlocks>, used: &mut UsedBytes) {
    let (first, _) = superblock.base_metadata(0);
    let mut add = |block, count| {
        let mut piece = UsedBytes::new();
        piece.add_blocks(block, count, superblock.block_size);
        used.merge(&piece.into_extents());
    };
    add(0, first.saturating_add(1));
    if superblock.mmp_block != 0 {
        add(superblock.mmp_block, 1);
    }
    let Some(journal) = journal else { return };
    let runs: UsedBytes = journal
        .runs
        .iter()
        .map(|run| (run.physical, run.count))
        .chain(journal.tree.iter().map(|block| (*block, 1)))
        .fold(UsedBytes::new(), |mut runs, (block, count)| {
            runs.add_blocks(block, count, superblock.block_size);
            runs
        });
    used.merge(&runs.into_extents());
}

fn add_notes(superblock: &Superblock, notes: &mut Vec<Note>) {
    let mut note = |code, detail| notes.push(Note { code, detail });
    if superblock.error_count != 0 {
        note(NoteCode::Errors, format!("the kernel has recorded {} errors", superblock.error_count));
    }
    if superblock.features.compat(compat::HAS_JOURNAL) && superblock.journal_inode == 0 {
        let uuid = superblock.journal_uuid.as_deref().unwrap_or("none");
        note(NoteCode::OtherDevice, format!("the journal is on another device, with UUID {uuid}"));
    }
}

/// Fails where the state flags don't promise that the maps are right, if need be after a replay of the journal.
fn check_state(superblock: &Superblock) -> Result<(), Error> {
    let state = superblock.state;
    if state & STATE_ERROR != 0 {
        let errors = superblock.error_count;
        return Err(Error::NotClean(format!("it is marked as having errors ({errors} recorded) and was not checked")));
    }
    if state != STATE_VALID {
        return Err(Error::NotClean(format!("it was not unmounted cleanly: state {state:#x}")));
    }
    let features = superblock.features;
    if !features.incompat(incompat::RECOVER) {
        return Ok(());
    }
    if !features.compat(compat::HAS_JOURNAL) {
        return Err(Error::NotClean("it needs its journal replayed and has none".to_owned()));
    }
    if superblock.journal_inode == 0 {
        return Err(Error::NotClean("it needs the journal replayed that is on another device".to_owned()));
    }
    if features.compat(compat::FAST_COMMIT) {
        return Err(Error::NotClean("its journal with fast commits was not replayed".to_owned()));
    }
    Ok(())
}

fn journal_blocks(superblock: &Superblock, disk: &View) -> Result<Option<FileBlocks>, Error> {
    if !superblock.features.compat(compat::HAS_JOURNAL) || superblock.journal_inode == 0 {
        return Ok(None);
    }
    file_blocks(superblock, disk, superblock.journal_inode).map(Some)
}

/// The log of the journal, where it is not empty. A superblock that forgot that it needs a replay is not believed.
fn waiting_log(superblock: &Superblock, disk: &View, blocks: &FileBlocks) -> Result<Option<Log>, Error> {
    let journal = Journal::open(superblock, disk, blocks)?;
    if !journal.is_pending() {
        return Ok(None);
    }
    if journal.has_fast_commits() {
        return Err(Error::NotClean("its journal with fast commits was not replayed".to_owned()));
    }
    journal.read_log(disk).map(Some)
}

/// Fails where the replay would change the layout: a file system that was growing.
fn check_replayed_superblock(superblock: &Superblock, replayed: &View) -> Result<(), Error> {
    let (block, _) = superblock.base_metadata(0);
    let bytes = replayed.read_blocks(block, 1)?;
    let block_start = block.saturating_mul(u64::from(superblock.block_size));
    let start = usize::try_from(POSITION.saturating_sub(block_start)).unwrap_or_default();
    let raw = bytes.get(start..start.saturating_add(1024)).and_then(RawSuperblock::recognise);
    let raw = raw.ok_or_else(|| Error::NotClean("the journal holds another kind of superblock".to_owned()))?;
    let after = Superblock::parse(&raw)?;
    if superblock.same_layout(&after) {
        return Ok(());
    }
    Err(Error::NotClean("the journal changes the layout of the file system".to_owned()))
}
