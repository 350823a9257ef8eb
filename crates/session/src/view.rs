//! A region of an image, read like a disk.

use std::io;
use std::sync::{Mutex, PoisonError};

use block::ReadAt;
use image::{CHUNK_SIZE, ChunkContent, ChunkIndex, MapReader, MapTable, Store};

use crate::error::{Error, Result};
use crate::load::Loader;

/// What a region of an image holds: bytes that were not saved are zeros. Every chunk is checked when it is read.
pub struct RegionView<'a> {
    image: String,
    region: String,
    table: MapTable<'a>,
    loaded: Mutex<Loaded<'a>>,
}

/// The chunk that was read last.
struct Loaded<'a> {
    loader: Loader<'a>,
    chunk: Option<u64>,
    bytes: Vec<u8>,
}

impl<'a> RegionView<'a> {
    /// Looks at the region that `map` is of. The names are for messages, as `node-a` and `sda:p1`.
    ///
    /// # Errors
    /// Damage, where the map is not whole.
    pub fn new(
        store: &'a dyn Store,
        index: &'a ChunkIndex,
        map: MapReader<'a>,
        image: &str,
        region: &str,
    ) -> Result<Self> {
        let bytes = vec![0; usize::try_from(CHUNK_SIZE).unwrap_or_default()];
        let loaded = Loaded { loader: Loader::new(store, index)?, chunk: None, bytes };
        let (image, region) = (image.to_owned(), region.to_owned());
        Ok(Self { image, region, table: MapTable::new(map)?, loaded: Mutex::new(loaded) })
    }

    fn load(&self, loaded: &mut Loaded<'_>, chunk: u64) -> Result<()> {
        if loaded.chunk == Some(chunk) {
            return Ok(());
        }
        loaded.chunk = None;
        match self.table.content(chunk)? {
            Some(content @ ChunkContent::Stored(_)) => {
                let stride = loaded.bytes.len();
                if let Some(missing) = loaded.loader.load(&[content], stride, &mut loaded.bytes)? {
                    return Err(Error::ChunksDamaged {
                        image: self.image.clone(),
                        region: self.region.clone(),
                        count: 1,
                        first_chunk: chunk,
                        reason: missing.reason,
                    });
                }
            }
            Some(ChunkContent::Zero) | None => loaded.bytes.fill(0),
        }
        loaded.chunk = Some(chunk);
        Ok(())
    }
}

impl ReadAt for RegionView<'_> {
    fn size(&self) -> u64 {
        self.table.map().grid().region_length()
    }

    /// A failure holds an [`Error`] of this crate; [`from_view`] takes it out again.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if offset.checked_add(length).is_none_or(|end| end > self.size()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut position, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let chunk = position / CHUNK_SIZE;
            self.load(&mut loaded, chunk).map_err(io::Error::other)?;
            let at = usize::try_from(position % CHUNK_SIZE).unwrap_or_default();
            let bytes = loaded.bytes.get(at..).unwrap_or_default();
            let count = bytes.len().min(rest.len());
            let (now, later) = std::mem::take(&mut rest).split_at_mut(count);
            now.copy_from_slice(bytes.get(..count).unwrap_or_default());
            rest = later;
            position = position.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// The error that a failed read of a view holds.
pub fn from_view(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::System(error),
    }
}
