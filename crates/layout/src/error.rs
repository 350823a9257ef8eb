//! Why a disk's tables can't be told. A damaged table is no error: the disk is then saved whole.

use std::io;

/// What stopped the reading of a layout.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk failed in another way than by a bad sector: it is gone, or not allowed to be read.
    #[error("reading {what} at byte {offset}: {source}")]
    Io {
        /// What was read.
        what: &'static str,
        /// Where on the disk, in bytes.
        offset: u64,
        /// What the disk said.
        source: io::Error,
    },
}
