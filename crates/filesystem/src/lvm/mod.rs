//! LVM2: the label of a physical volume, the metadata of its group, and the way from logical volumes to disks.
//!
//! Nothing is activated: logical volumes are read through maps that are made of the metadata.

mod checksum;
mod group;
mod label;
mod map;
mod metadata_area;
pub mod text;

pub use group::{Area, Group};
pub use label::{Label, find as find_label, id_text};
pub use map::{Map, Mapped, maps};
pub use metadata_area::{Content, read as read_metadata_area};
#[cfg(test)]
pub mod sample;
#[cfg(test)]
mod tests;
