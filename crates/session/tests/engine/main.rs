//! Whole sessions in memory: save, restore, compare and verify together, with disks and stores that
//! fail, block or lie at every point.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

mod cancelling;
mod damage;
mod faults;
mod mirrors;
mod random;
mod resuming;
mod round_trip;
mod samples;
mod selection;
mod sharing;
mod stores;
mod work;
