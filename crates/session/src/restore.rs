//! Restoring an image.
//!
//! The order is the order of danger: everything is checked; what makes a disk boot or a file
//! system recognisable is cleared; the data is written; it is made stable and read back; the first
//! chunk of each region is written; the tables are written, LBA 0 last. Whenever it ends in
//! between, no table is valid.

mod left;
mod mirror;
mod new_names;
mod pairs;
pub(crate) mod plan;
mod programs;
mod replace;
mod stale;
mod write;

pub use mirror::{MirrorHalf, halves_of_image};
pub use new_names::{FixedReference, KeptName, LeftName, NewNames, RenamedFileSystem};
pub use plan::{
    Assignment, Destination, PlannedDestination, PlannedRestore, RegionChoice, RestorePlan, RestoreRequest,
    WritableDisk, plan_restore, plan_restore_guarded,
};
pub use write::{Interrupted, RestoreReport, restore};
