//! Partition tables, disk signatures and the regions of a disk, as data.
//!
//! A disk is read into a [`Layout`]: the raw sectors of its tables, byte for byte, and what they
//! mean. The raw sectors are what is saved and restored; the decoded values are for people, for
//! checks, and for the few fields that must change on a larger disk.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod divide;
mod ebr;
mod error;
mod gpt;
mod identity;
mod load_option;
mod mbr;
mod place;
mod read;
mod region;
#[cfg(test)]
mod samples;
mod sectors;

pub use error::Error;
pub use identity::{Identity, IdentityKind, identities, shared_identities};
pub use load_option::{BootEntries, BootEntry, BootPartition, BootPlan, LoadOption};
pub use place::{Change, Destination, Grow, NewIds, PlaceError, PlaceOptions, Placement, place};
pub use read::read;
pub use region::{Finding, FindingCode, Layout, Partition, Region, RegionKind, TableKind, TableRole, TableSectors};
