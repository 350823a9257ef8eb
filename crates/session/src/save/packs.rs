//! Packs while they are written: filled in order, finished in the background.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};
use image::{
    ChunkId, ChunkIndex, ImageName, NamelessFile, Pack, PackAssembler, Store, StoreFile, StoreResult,
    UNFINISHED_SUFFIX, image_directory, pack_path, salvage_pack, unfinished_pack_path,
};

use super::space::SpaceWatch;
use crate::error::{Error, Result};
use crate::stages::{Stage, Stages};

/// A pack is finished when it has this many bytes: large enough for object storage and hard disks to be
/// quick, small enough to be sent again.
pub const PACK_BYTES: u64 = 64 << 20;

/// A pack with all its records that is not yet stable.
pub struct FullPack {
    file: PackFile,
    assembler: PackAssembler,
}

/// Where the records of a pack go before it has its name, which is made of its index.
enum PackFile {
    /// A file beside the image, so that an interrupted save finds it again.
    Unfinished { file: Box<dyn StoreFile>, path: String },
    /// A target that keeps it without a name.
    Nameless(Box<dyn NamelessFile>),
}

impl PackFile {
    fn write(&mut self, bytes: &[u8]) -> StoreResult<()> {
        match self {
            Self::Unfinished { file, .. } => file.write(bytes),
            Self::Nameless(file) => file.write(bytes),
        }
    }

    /// Makes it stable before it has its name: a pack that can be found is whole.
    fn finish(&mut self, store: &dyn Store, name: &str) -> StoreResult<()> {
        match self {
            Self::Unfinished { file, path } => {
                file.sync()?;
                store.rename(path, name)
            }
            Self::Nameless(file) => file.finish(name),
        }
    }
}

/// Fills packs. Full ones go to the finisher.
pub struct PackWriter<'a> {
    store: &'a dyn Store,
    image: &'a ImageName,
    next_number: u64,
    open: Option<FullPack>,
    full: Sender<FullPack>,
    stored_bytes: u64,
}

impl<'a> PackWriter<'a> {
    /// Begins with no pack. `full` is the way to the finisher.
    pub fn new(store: &'a dyn Store, image: &'a ImageName, full: Sender<FullPack>) -> Result<Self> {
        let next_number = unfinished(store, image)?.last().map_or(1, |(number, _)| number.saturating_add(1));
        Ok(Self { store, image, next_number, open: None, full, stored_bytes: 0 })
    }

    /// Appends records that follow one another in `records`. `entries` tells each: chunk, its bytes, its stored bytes.
    pub fn append(&mut self, records: &[u8], entries: &[(ChunkId, u32, u32)]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut pack = match self.open.take() {
            Some(pack) => pack,
            None => self.begin()?,
        };
        pack.file.write(records)?;
        entries.iter().for_each(|(id, chunk, stored)| pack.assembler.add(*id, *chunk, *stored));
        self.stored_bytes = self.stored_bytes.saturating_add(u64::try_from(records.len()).unwrap_or(u64::MAX));
        if pack.assembler.length() >= PACK_BYTES {
            self.hand_over(pack)
        } else {
            self.open = Some(pack);
            Ok(())
        }
    }

    /// Bytes of all records that were appended.
    pub fn stored_bytes(&self) -> u64 {
        self.stored_bytes
    }

    /// Hands over the last pack and closes the way to the finisher.
    pub fn close(mut self) -> Result<()> {
        self.open.take().map_or(Ok(()), |pack| self.hand_over(pack))
    }

    fn begin(&mut self) -> Result<FullPack> {
        let mut file = match self.store.create_nameless()? {
            Some(file) => PackFile::Nameless(file),
            None => {
                let path = unfinished_pack_path(self.image, self.next_number);
                self.next_number = self.next_number.saturating_add(1);
                PackFile::Unfinished { file: self.store.create(&path)?, path }
            }
        };
        file.write(PackAssembler::header())?;
        Ok(FullPack { file, assembler: PackAssembler::new() })
    }

    fn hand_over(&self, pack: FullPack) -> Result<()> {
        // The finisher only goes away with an error of its own, which is then the one that counts.
        self.full.send(pack).map_err(|_| Error::System(std::io::ErrorKind::BrokenPipe.into()))
    }
}

/// Makes full packs stable and gives them their names, until the channel is closed. Several threads may do that; where
/// one of them fails, all end, so that the writer does not go on for packs that nobody will finish.
pub fn finish_packs(
    store: &dyn Store,
    full: Receiver<FullPack>,
    space: &SpaceWatch<'_>,
    has_failed: &AtomicBool,
    stages: &Stages,
) -> Result<()> {
    let finished = full.iter().take_while(|_| !has_failed.load(Ordering::Relaxed)).try_for_each(|pack| {
        stages.time(Stage::Finish, || finish(store, pack))?;
        space.look()
    });
    has_failed.fetch_or(finished.is_err(), Ordering::Relaxed);
    finished
}

fn finish(store: &dyn Store, mut pack: FullPack) -> Result<Pack> {
    let (id, rest) = pack.assembler.finish();
    pack.file.write(&rest)?;
    pack.file.finish(store, &pack_path(&id))?;
    let size = pack.assembler.length().saturating_add(u64::try_from(rest.len()).unwrap_or(u64::MAX));
    Ok(Pack { id, entries: pack.assembler.entries().to_vec(), size })
}

/// Keeps what an interrupted save of the same image had stored: every whole record of its unfinished
/// packs. Returns the bytes of the chunks that it need not store again.
pub fn finish_interrupted(store: &dyn Store, image: &ImageName, index: &mut ChunkIndex) -> Result<u64> {
    let mut kept = 0_u64;
    for (_, path) in unfinished(store, image)? {
        let assembler = salvage_pack(store, &path)?.assembler;
        if assembler.entries().is_empty() {
            store.remove(&path)?;
            continue;
        }
        let file = PackFile::Unfinished { file: store.append(&path, assembler.length())?, path };
        let pack = finish(store, FullPack { file, assembler })?;
        kept = pack.entries.iter().fold(kept, |sum, entry| sum.saturating_add(entry.chunk_length.into()));
        index.add(pack);
    }
    Ok(kept)
}

/// The unfinished packs of an image with their numbers, in ascending order.
fn unfinished(store: &dyn Store, image: &ImageName) -> Result<Vec<(u64, String)>> {
    let directory = image_directory(image);
    let entries = store.list(&directory).map_err(Error::from)?;
    let mut packs: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| {
            let number = entry.name.strip_suffix(UNFINISHED_SUFFIX)?.parse().ok()?;
            Some((number, format!("{directory}/{}", entry.name)))
        })
        .collect();
    packs.sort();
    Ok(packs)
}
