//! What a session tells while it runs, and how it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use block::DiskExtent;
use serde::{Deserialize, Serialize};

/// What happens in a session. Numbers are bytes, where the phase does not say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A part of the work begins; `Progress` counts up to `total`.
    Began {
        /// Which part.
        phase: Phase,
        /// Bytes to go through.
        total: u64,
    },
    /// The work comes to another region.
    Region {
        /// Disk, by its name in the image.
        disk: String,
        /// Region, by its name on the disk.
        region: String,
        /// Bytes of the phase that belong to it; 0 where `Progress` does not count them one by one.
        bytes: u64,
    },
    /// Bytes of the present phase that are done.
    Progress {
        /// From 0 to the total of the phase.
        done: u64,
    },
    /// Where the time goes: milliseconds that each thread of a stage has worked, and not waited, since the work began.
    /// The stage whose number grows fastest is the slowest. Told now and then.
    Busy {
        /// Reading or writing disks.
        disk: u64,
        /// Digests, compression, decompression.
        processor: u64,
        /// Reading or writing the target, with the network before it.
        target: u64,
    },
    /// An interrupted save left chunks that this session goes on with.
    Resumed {
        /// Bytes that need not be stored again.
        stored: u64,
    },
    /// The target may become full.
    Space {
        /// Bytes that it has left.
        available: u64,
        /// Bytes that the save stores at most; `null` where the target is nearly full already.
        most: Option<u64>,
    },
    /// Reading a disk failed. What is needed of it is being read again in smaller parts, down to single sectors.
    Retrying {
        /// Disk, by its name in the image.
        disk: String,
        /// Which bytes of the disk.
        extent: DiskExtent,
    },
    /// Bytes that could not be read at first could be read when they were tried again.
    Recovered {
        /// Disk, by its name in the image.
        disk: String,
        /// Which bytes of the disk.
        extent: DiskExtent,
        /// How many readings had failed before.
        failures: u64,
    },
    /// Sectors could not be read. They are kept as zeros and listed in the image.
    Unreadable {
        /// Disk, by its name in the image.
        disk: String,
        /// Which bytes of the disk.
        extent: DiskExtent,
    },
    /// Something that does not stop the work but should be known.
    Warning {
        /// What, in English.
        text: String,
    },
}

/// The parts of the work that take time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Looking at tables and file systems.
    Survey,
    /// Reading where the chunks of the repository are; counts packs, not bytes.
    Index,
    /// Reading, compressing and storing.
    Save,
    /// Checking that everything is there before a disk is touched.
    Check,
    /// Writing to the destination.
    Restore,
    /// Reading back what was written.
    ReadBack,
    /// Reading and checking the repository.
    Verify,
    /// Reading disks and comparing them with the image.
    Compare,
}

/// Who is told what happens. Called from several threads.
pub trait Observer: Sync {
    /// Takes notice. Must return soon: the work waits.
    fn notify(&self, event: Event);
}

/// Nobody.
impl Observer for () {
    fn notify(&self, _: Event) {}
}

/// The operator's wish to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    wished: Arc<AtomicBool>,
}

impl Cancel {
    /// Nobody wishes to stop yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Wishes to stop. May be called from a signal handler's thread.
    pub fn cancel(&self) {
        self.wished.store(true, Ordering::Relaxed);
    }

    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.wished.clone()
    }

    /// Whether somebody wishes to stop.
    pub fn is_cancelled(&self) -> bool {
        self.wished.load(Ordering::Relaxed)
    }
}
