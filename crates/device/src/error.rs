//! Why a disk can't be used.

use std::io;
use std::path::PathBuf;

/// The result of opening or looking at a disk.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a disk can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error("{path} does not exist")]
    NotFound {
        /// What was asked for.
        path: PathBuf,
    },
    /// Somebody uses it: it is mounted, part of an array or volume group, swap, or open exclusively.
    #[error("{path} is in use ({by})")]
    InUse {
        /// What was asked for.
        path: PathBuf,
        /// By what, as far as the kernel tells.
        by: String,
    },
    /// Neither a block device nor a regular file.
    #[error("{path} is neither a block device nor a regular file")]
    NotADisk {
        /// What was asked for.
        path: PathBuf,
    },
    /// A partition, where a whole disk is needed.
    #[error("{path} is a partition, not a whole disk")]
    Partition {
        /// What was asked for.
        path: PathBuf,
    },
    /// A loop device over a block device, where something is to be overwritten: nobody keeps others from what is behind
    /// it.
    #[error("{path} is a loop device over {device}, which is a block device itself")]
    LoopOverDevice {
        /// What was asked for.
        path: PathBuf,
        /// What is behind it.
        device: PathBuf,
    },
    /// The kernel does not let anybody write to it.
    #[error("{path} is write-protected")]
    ReadOnly {
        /// What was asked for.
        path: PathBuf,
    },
    /// What the system said.
    #[error("{operation} {path}")]
    Io {
        /// What was asked for.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
