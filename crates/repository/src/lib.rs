//! Where images are kept. One target is one module that implements [`image::Store`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used))]

mod address;
mod directory;
mod lease;
mod leased;
mod nfs;
mod patience;
mod runtime;
mod s3;
mod smb;

pub use address::{NfsAddress, S3Address, Secret, SmbAddress, SmbClient, host_and_port};
pub use directory::DirectoryStore;
pub use lease::{LOCKS_DIRECTORY, LeaseTimes, Leases};
pub use leased::LeasedStore;
pub use nfs::NfsStore;
pub use patience::{Contact, Fault, Line, Patience, TICK, Watch};
pub use s3::{S3Keys, S3Store};
pub use smb::{EncryptionNotAgreed, SmbStore, kind_of_status};

/// A part of a name that nobody else uses.
pub(crate) fn random_name() -> String {
    let mut random = [0_u8; 8];
    // Without random numbers the process still tells machines' sessions apart well enough for a name.
    if getrandom::fill(&mut random).is_err() {
        random = u64::from(std::process::id()).to_le_bytes();
    }
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}
