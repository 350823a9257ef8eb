//! What a disk says about the cluster that its machine belongs to, and what follows for a restore.
//!
//! Only bytes are read here: no file is opened, no thread is started, nothing is written.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used))]

pub mod checklist;
pub mod drbd;
pub mod offline;
pub mod on_disk;
mod scope;
pub mod sharing;
pub mod watch;

pub use scope::Scope;
