//! The work: plan and run save, restore, verify and compare.
//!
//! Disks and repositories come in as traits, so that all of it runs in memory too. What can harm
//! something takes a plan by type: it can't be called without one, and a plan is made to be shown.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod compare;
mod error;
mod examine;
mod guard;
mod identity;
mod index;
mod inventory;
mod load;
mod log;
mod pieces;
mod progress;
mod report;
mod repository;
mod restore;
mod save;
mod selection;
mod set;
mod source;
mod stages;
mod verify;
mod view;

pub use cluster::Scope;
pub use cluster::checklist::{Importance, Language, Step, Subject};
pub use cluster::offline::{Found, System};
pub use compare::{Comparison, Difference, compare};
pub use error::{Error, Refusal, RequestError, Result};
pub use examine::{checklist_from, checklist_of, checklist_title, examine_disks, examine_image, found_in, systems_on};
pub use guard::{ClosedGate, Guard, Surroundings, Watched};
pub use identity::{IdentityPlan, apply_identity, plan_identity, plan_identity_guarded};
pub use inventory::{HardwareDifference, hardware_differences};
pub use progress::{Cancel, Event, Observer, Phase};
pub use report::{Report, write_restore_reports};
pub use repository::{Listed, list_images, open_repository, read_manifest};
pub use restore::{
    Assignment, Destination, FixedReference, Interrupted, KeptName, LeftName, MirrorHalf, NewNames, PlannedDestination,
    PlannedRestore, RegionChoice, RenamedFileSystem, RestorePlan, RestoreReport, RestoreRequest, WritableDisk,
    plan_restore, plan_restore_guarded, restore,
};
pub use save::{
    Level, PlannedDisk, PlannedRegion, SavePlan, SaveRequest, SaveSettings, Surveying, layer_records, plan_save,
    plan_save_guarded, read_layout, save, save_with_reports, survey_disks,
};
pub use set::{Pair, PairHalf, SetImage, SetProblem, SetReport, pairs_of, read_set};
pub use source::Source;
pub use verify::{DamagedPack, DamagedRegion, ImageHealth, Verification, VerifyRequest, verify};
