//! Where images are kept. One target is one module that implements [`image::Store`].
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod directory;

pub use directory::DirectoryStore;
