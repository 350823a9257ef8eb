//! Where every chunk of a repository is: the indexes of all its packs.

use std::collections::HashMap;

use crate::chunk::ChunkId;
use crate::error::{Error, Result};
use crate::pack::{Pack, PackId};
use crate::paths::{PACKS_DIRECTORY, pack_path};
use crate::store::{Store, StoreErrorKind};

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Number of the pack in the index.
    pub pack: u32,
    /// Byte offset of the record in the pack.
    pub offset: u64,
    /// Bytes of the record.
    pub length: u64,
}

/// All chunks of a repository. Takes about 80 bytes of memory for each.
#[derive(Default)]
pub struct ChunkIndex {
    packs: Vec<Pack>,
    chunks: HashMap<ChunkId, (u32, u32)>,
    damaged: Vec<PackDamage>,
}

/// A pack whose index can't be used.
#[derive(Debug)]
pub struct PackDamage {
    /// Path of the pack.
    pub path: String,
    /// What is wrong.
    pub error: Error,
}

impl ChunkIndex {
    /// Reads the indexes of all packs, one after the other.
    ///
    /// # Errors
    /// As [`ChunkIndex::of_packs`], and where a directory can't be listed.
    pub fn read(store: &dyn Store) -> Result<Self> {
        let mut packs = Vec::new();
        for directory in pack_directories(store)? {
            packs.extend(packs_in(store, &directory)?);
        }
        Self::of_packs(packs.into_iter().map(|path| (Pack::read(store, &path), path)))
    }

    /// The index of packs that were read. Packs that are damaged or can't be read alone are left out and kept as
    /// [`ChunkIndex::damaged`]: what is needed of them is missed when it is looked for.
    ///
    /// # Errors
    /// Where the way to the store is lost.
    pub fn of_packs(packs: impl Iterator<Item = (Result<Pack>, String)>) -> Result<Self> {
        let mut index = Self::default();
        for (pack, path) in packs {
            match pack {
                Ok(pack) => index.add(pack),
                Err(error) if concerns_one_file(&error) => index.damaged.push(PackDamage { path, error }),
                Err(error) => return Err(error),
            }
        }
        Ok(index)
    }

    /// Adds a pack. Of a chunk that several packs hold, the first is used.
    pub fn add(&mut self, pack: Pack) {
        let Ok(pack_number) = u32::try_from(self.packs.len()) else { return };
        for (entry_number, entry) in (0_u32..).zip(&pack.entries) {
            self.chunks.entry(entry.id).or_insert((pack_number, entry_number));
        }
        self.packs.push(pack);
    }

    /// Whether the repository holds the chunk.
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.chunks.contains_key(id)
    }

    /// Where the record of a chunk is.
    pub fn locate(&self, id: &ChunkId) -> Option<Location> {
        let (pack, entry) = *self.chunks.get(id)?;
        let entry = self.packs.get(usize::try_from(pack).ok()?)?.entries.get(usize::try_from(entry).ok()?)?;
        Some(Location { pack, offset: entry.offset, length: entry.end().saturating_sub(entry.offset) })
    }

    /// The path of a pack by the number in a [`Location`].
    pub fn pack_path(&self, number: u32) -> Option<String> {
        self.packs.get(usize::try_from(number).ok()?).map(|pack| pack_path(&pack.id))
    }

    /// The packs with a good index.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// The packs whose index is damaged.
    pub fn damaged(&self) -> &[PackDamage] {
        &self.damaged
    }

    /// Number of different chunks.
    pub fn chunk_count(&self) -> usize {
        self.chunks.len()
    }

    /// The number of a pack by its name.
    pub fn pack_number(&self, id: &PackId) -> Option<u32> {
        self.packs.iter().position(|pack| pack.id == *id).and_then(|number| u32::try_from(number).ok())
    }
}

/// The directories that hold packs.
pub fn pack_directories(store: &dyn Store) -> Result<Vec<String>> {
    let directories = store.list(PACKS_DIRECTORY)?.into_iter().filter(|entry| entry.is_directory);
    Ok(directories.map(|directory| format!("{PACKS_DIRECTORY}/{}", directory.name)).collect())
}

/// The paths of the packs in one of these directories.
pub fn packs_in(store: &dyn Store, directory: &str) -> Result<Vec<String>> {
    let files = store.list(directory)?.into_iter();
    let packs = files.filter(|entry| !entry.is_directory && entry.name.ends_with(".pack"));
    Ok(packs.map(|file| format!("{directory}/{}", file.name)).collect())
}

fn concerns_one_file(error: &Error) -> bool {
    match error {
        Error::Corrupt { .. } | Error::Unsupported { .. } => true,
        // A bad sector under one pack, or one that may not be read, says nothing about the others.
        Error::Store(error) => {
            use StoreErrorKind::{Denied, Io, NotFound, Truncated};
            matches!(error.kind, Denied | Io | NotFound | Truncated)
        }
    }
}
