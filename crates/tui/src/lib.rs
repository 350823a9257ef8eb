//! Screens: events in, actions out.
//!
//! [`State::on`] takes what happens and says what the operator wants; [`State::draw`] draws it. Nothing here opens a
//! disk or a file, starts a thread or looks at a clock: the program does that and tells it as events.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod context;
mod data;
mod event;
mod field;
mod look;
mod map;
mod menu;
mod page;
mod progress;
mod record;
mod screens;
mod state;
mod text;

pub use context::Settings;
pub use data::{
    Bond, Disk, Failure, Gate, Hidden, Image, ImageState, Link, Method, Network, Note, Outcome, Place, Plan,
    PlannedDisk, Region, RegionKind, Repository, Setup, Volume, Weight,
};
pub use event::{Action, Event, Key, Restore, Save, Scope};
pub use look::{Drawing, Look};
pub use record::{Head, Recording};
pub use state::State;
pub use text::{Language, bytes};

rust_i18n::i18n!("locales", fallback = "en");
