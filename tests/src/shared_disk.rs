//! A disk that cluster nodes share, as the real tool makes it.

use std::path::Path;

use crate::sample::{MIB, SampleDisk};
use crate::{LoopDevice, run};

/// A disk of sbd, which nodes leave messages on.
pub fn sbd() -> SampleDisk {
    let disk = SampleDisk::new("sbd.img", 8 * MIB);
    // It asks for the size of a sector, which a file does not have.
    let device = LoopDevice::attach(Path::new(disk.text()), 512);
    let path = device.path().to_str().unwrap();
    run("sbd", ["-d", path, "-4", "20", "-1", "10", "create"]);
    run("sbd", ["-d", path, "allocate", "node-one"]);
    drop(device);
    disk
}
