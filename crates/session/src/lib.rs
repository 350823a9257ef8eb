//! The work: plan and run save, restore, verify and compare.
//!
//! Disks and repositories come in as traits, so that all of it runs in memory too. What can harm
//! something takes a plan by type: it can't be called without one, and a plan is made to be shown.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod compare;
mod error;
mod guard;
mod identity;
mod index;
mod load;
mod log;
mod pieces;
mod progress;
mod repository;
mod restore;
mod save;
mod selection;
mod set;
mod source;
mod verify;
mod view;

pub use cluster::Scope;
pub use compare::{Comparison, Difference, compare};
pub use error::{Error, Refusal, RequestError, Result};
pub use guard::{ClosedGate, Guard, Surroundings, Watched};
pub use identity::{IdentityPlan, apply_identity, plan_identity, plan_identity_guarded};
pub use progress::{Cancel, Event, Observer, Phase};
pub use repository::{Listed, list_images, open_repository, read_manifest};
pub use restore::{
    Assignment, Destination, Interrupted, MirrorHalf, PlannedDestination, PlannedRestore, RegionChoice, RestorePlan,
    RestoreReport, RestoreRequest, WritableDisk, plan_restore, plan_restore_guarded, restore,
};
pub use save::{
    Level, PlannedDisk, PlannedRegion, SavePlan, SaveRequest, SaveSettings, Surveying, layer_records, plan_save,
    plan_save_guarded, read_layout, save, survey_disks,
};
pub use set::{SetImage, SetProblem, SetReport, read_set};
pub use source::Source;
pub use verify::{DamagedPack, DamagedRegion, ImageHealth, Verification, VerifyRequest, verify};
