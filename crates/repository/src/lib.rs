//! Where images are kept. One target is one module that implements [`image::Store`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used))]

mod address;
mod directory;
mod lease;
mod nfs;
mod patience;

pub use address::{NfsAddress, S3Address, Secret, SmbAddress, host_and_port};
pub use directory::DirectoryStore;
pub use lease::{LeaseTimes, Leases};
pub use nfs::NfsStore;
pub use patience::{Contact, Fault, Line, Patience, TICK, Watch};
