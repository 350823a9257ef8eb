//! What an image is, byte for byte.
//!
//! A *repository* holds *packs* of *chunks* that all its images share, and for each image a
//! *manifest* and one *region map* a saved region. The manifest is written last: an image exists
//! when its manifest does. `docs/image-format.md` describes every byte for those who have to read an
//! image without this program.
//!
//! This crate turns bytes into values and values into bytes. It reaches files only through the
//! trait [`Store`], and starts no thread.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod chunk;
mod error;
mod grid;
mod header;
mod identity_file;
mod index;
mod manifest;
mod map;
mod map_table;
mod memory;
mod name;
mod pack;
mod paths;
mod sealed;
mod store;

pub use chunk::{CHUNK_SIZE, ChunkId, Decoder, Encoder, Encoding, RECORD_HEADER_SIZE, RecordHeader};
pub use error::{Error, Result};
pub use grid::{ChunkGrid, ChunkRange};
pub use header::{FORMAT_VERSION, RepositoryHeader};
pub use identity_file::{IdentityFile, IdentityRecord};
pub use index::{ChunkIndex, Location, PackDamage, pack_directories, packs_in};
pub use manifest::{
    AdapterRecord, CoverageMethod, CoverageRecord, DiskIdentity, DiskRecord, FileSystemRecord, FindingRecord,
    LayerRecord, Machine, Manifest, MapRecord, NetworkCard, NoteRecord, RegionRecord, Tool, Totals, VolumeRecord,
    is_plain,
};
pub use map::{ChunkContent, MapReader, MapSummary, MapWriter};
pub use map_table::MapTable;
pub use memory::MemoryStore;
pub use name::{ImageName, NameError};
pub use pack::{Pack, PackAssembler, PackEntry, PackId, SalvagedPack, salvage_pack};
pub use paths::{
    HEADER_PATH, IMAGES_DIRECTORY, PACKS_DIRECTORY, UNFINISHED_SUFFIX, checklist_path, image_directory, lock_name,
    log_path, manifest_path, map_path, pack_path, report_path, restore_report_path, unfinished_pack_path,
};
pub use store::{Entry, Lock, NamelessFile, Store, StoreError, StoreErrorKind, StoreFile, StoreResult, read_all};
