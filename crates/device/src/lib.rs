//! Real disks: what is attached, what it is, and reading and writing it.
//!
//! A source is opened read-only and exclusively; a destination exclusively. This is the only crate
//! that may use `unsafe`, for the ioctls that no library wraps.
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod attached;
mod disk;
mod efi;
mod error;
mod framebuffer;
mod ioctl;
mod machine;
mod mounts;
mod paths;
mod protection;
mod scsi;
mod usage;

pub use attached::{Attached, attached, identify};
pub use disk::{DestinationDisk, SourceDisk};
pub use efi::{EFI_VARIABLES, EfiVariables};
pub use error::{Error, Result};
pub use framebuffer::{Channel, Framebuffer, Geometry};
pub use machine::{Adapter, Machine, NetworkCard, bios_boot_signature, machine};
pub use mounts::unescape_mount;
pub use paths::{is_one_disk, is_path_of, reach};
pub use protection::Writable;
pub use scsi::{Initiator, Inquiry, Registered, Reservation, Reservations, inquiry, registered};
pub use usage::{disks_behind, disks_under, has_other_names, is_inside, is_same, with_partitions};
