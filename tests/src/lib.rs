//! What the tests share: running real tools, mounting real file systems, reading disk images.
//!
//! A missing tool is an error, never a skipped test: `make tools` installs every one of them.
#![forbid(unsafe_code)]
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

pub mod blkid;
pub mod btrfs;
pub mod btrfs_checks;
pub mod drbd;
pub mod dumpe2fs;
pub mod exfat;
pub mod file_disk;
pub mod fill;
pub mod fixture;
pub mod fuzz_bodies;
pub mod fuzz_image;
pub mod fuzz_seals;
pub mod ganesha;
pub mod hive;
pub mod kerberos;
pub mod medium;
pub mod mount;
pub mod network_faults;
pub mod network_scene;
pub mod nfs_scene;
pub mod ntfs;
pub mod object_storage;
pub mod partclone;
pub mod patience;
pub mod program;
pub mod proxy;
pub mod rates;
pub mod restored;
pub mod round_trip;
pub mod s3_scene;
pub mod samba;
pub mod sample;
pub mod sessions;
pub mod shared_disk;
pub mod smb_scene;
pub mod stacks;
pub mod store_suite;
pub mod terminal;
pub mod tool;
pub mod vm;
pub mod vmfs;
pub mod wait;

pub use file_disk::FileDisk;
pub use mount::{LoopDevice, Mounted, Protected};
pub use tool::{run, run_status, run_with_input};
