//! What went wrong, as an operator reads it: what happened, in what state things are, what to do next.

use crate::language::t;
use serde_json::json;
use session::{Error, Interrupted, Refusal, RequestError};

use crate::output::{document, error_line};

/// Everything was done.
pub const DONE: u8 = 0;
/// It failed.
pub const FAILED: u8 = 1;
/// The call was wrong.
pub const WRONG_USAGE: u8 = 2;
/// Done, but some sectors were unreadable.
pub const UNREADABLE: u8 = 3;
/// Refused for safety.
pub const REFUSED: u8 = 4;
/// An image or the repository is damaged.
pub const DAMAGED: u8 = 5;
/// The operator stopped it.
pub const CANCELLED: u8 = 130;

/// A command that did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// A short code that is the same in every language.
    pub code: String,
    /// What happened, to which disk or file.
    pub message: String,
    /// In what state things are.
    pub state: String,
    /// What to do next.
    pub next: String,
    /// What `--confirm` must name to do it all the same; `None` where nothing helps.
    pub confirm: Option<Box<str>>,
}

impl Failure {
    /// A call that can't be carried out as it is.
    pub fn usage(code: &str, message: &str) -> Self {
        Self::new(WRONG_USAGE, code, message, &t!("state.nothing"), &t!("next.usage"))
    }

    /// Something that could do harm.
    pub fn refused(code: &str, message: &str) -> Self {
        Self::new(REFUSED, code, message, &t!("state.nothing"), &t!("next.refused"))
    }

    /// A damaged repository, found before anything was changed.
    pub fn damaged(details: &str) -> Self {
        let message = t!("failure.damaged", details = details);
        Self::new(DAMAGED, "damaged", &message, &t!("state.nothing"), &t!("next.damaged"))
    }

    /// A target that is not there.
    pub fn target_absent(target: &str, error: &std::io::Error) -> Self {
        let message = t!("failure.target_absent", target = target, error = error);
        Self::new(FAILED, "target-absent", &message, &t!("state.nothing"), &t!("next.target"))
    }

    /// A set without images.
    pub fn no_set(target: &str, set: &str) -> Self {
        let message = t!("set.none", target = target, set = set);
        Self::new(FAILED, "no-set", &message, &t!("state.nothing"), &t!("next.images"))
    }

    /// A file of this machine that can't be read or written.
    pub fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        let file = path.display().to_string();
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            let message = t!("failure.file_exists", file = file);
            return Self::new(REFUSED, "file-exists", &message, &t!("state.nothing"), &t!("next.other_file"));
        }
        let message = t!("failure.file", file = file, error = error);
        Self::new(FAILED, "file-failed", &message, &t!("state.nothing"), &t!("next.file"))
    }

    /// A file of this machine with a wrong byte.
    pub fn damaged_file(path: &std::path::Path, details: &str) -> Self {
        let message = t!("failure.file_damaged", file = path.display(), details = details);
        Self::new(DAMAGED, "damaged", &message, &t!("state.nothing"), &t!("next.other_copy"))
    }

    /// Names of a disk that could not be written to the end.
    pub fn of_identity(error: Error) -> Self {
        let changed = matches!(error, Error::Destination { .. } | Error::ReadBack { .. });
        let mut failure = Self::from(error);
        if changed {
            failure.state = t!("state.identity").into_owned();
            failure.next = t!("next.identity_again").into_owned();
        }
        failure
    }

    /// A target that can't be found or used on this machine.
    pub fn target_missing(code: &str, message: &str) -> Self {
        Self::new(FAILED, code, message, &t!("state.nothing"), &t!("next.target"))
    }

    /// A disk that holds the repository, and should be read or overwritten.
    pub fn repository_disk(disk: &str, target: &str) -> Self {
        let message = t!("failure.repository_disk", disk = disk, target = target);
        let next = t!("next.other_disk").into_owned();
        Self { next, ..Self::refused("repository-disk", &message) }
    }

    /// Where this is confirmed, it is done all the same.
    pub fn unless_confirmed(self, id: &str) -> Self {
        Self { confirm: Some(id.into()), ..self }
    }

    fn new(status: u8, code: &str, message: &str, state: &str, next: &str) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            state: state.into(),
            next: next.into(),
            confirm: None,
        }
    }

    /// A save that ended early: what was stored is kept.
    pub fn of_save(error: Error) -> Self {
        let changed = !matches!(error, Error::Refused(_) | Error::Request(_));
        let mut failure = Self::from(error);
        if changed {
            failure.state = t!("state.save").into_owned();
            if failure.status == CANCELLED {
                failure.next = t!("next.save_again").into_owned();
            }
        }
        failure
    }

    /// A restore that ended early: disks that were cleared do not boot.
    pub fn of_restore(interrupted: Interrupted) -> Self {
        let disks = interrupted.unfinished.join(", ");
        let mut failure = Self::from(interrupted.error);
        if !disks.is_empty() {
            failure.state = t!("state.restore", disks = disks).into_owned();
            if failure.status == CANCELLED {
                failure.next = t!("next.restore_again").into_owned();
            }
        }
        failure
    }

    /// Prints it as a document on standard output.
    pub fn print_document(&self) {
        document(&json!({ "error": {
            "status": self.status, "code": self.code, "message": self.message,
            "state": self.state, "next": self.next,
        }}));
    }

    /// Prints it on standard error, or as a document where one was asked for: standard error then has
    /// nothing but events.
    pub fn print(&self, json: bool) {
        if json {
            self.print_document();
            return;
        }
        error_line(format!("{}: {} [{}]", t!("failure.heading"), self.message, self.code));
        error_line(format!("  {}: {}", t!("state.heading"), self.state));
        error_line(format!("  {}: {}", t!("next.heading"), self.next));
    }
}

/// An error with everything that caused it, in English: for the details of a message.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent errors repeat their cause.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let details = chain(&error);
        let nothing = t!("state.nothing");
        let make = |status: u8, code: &str, message: &str, next: &str| Self::new(status, code, message, &nothing, next);
        match &error {
            Error::Cancelled => make(CANCELLED, "cancelled", &t!("failure.cancelled"), &t!("next.cancelled")),
            Error::Refused(refusal) => Self::from_refusal(refusal),
            Error::Request(request) => Self::from_request(request),
            Error::Repository(image::Error::Store(store)) => Self::from_store(store),
            Error::Repository(image::Error::Unsupported { .. }) => {
                make(FAILED, "unsupported", &t!("failure.unsupported", details = details), &t!("next.newer"))
            }
            Error::Repository(image::Error::Corrupt { .. }) | Error::ChunksDamaged { .. } => {
                make(DAMAGED, "damaged", &t!("failure.damaged", details = details), &t!("next.damaged"))
            }
            Error::Source { .. } => {
                make(FAILED, "source-failed", &t!("failure.source", details = details), &t!("next.source"))
            }
            Error::Destination { .. } => make(
                FAILED,
                "destination-failed",
                &t!("failure.destination", details = details),
                &t!("next.destination"),
            ),
            Error::ReadBack { disk, extent } => {
                let (offset, length) = (extent.start(), extent.length());
                let message = t!("failure.read_back", disk = disk, offset = offset, length = length);
                make(FAILED, "read-back", &message, &t!("next.destination"))
            }
            Error::System(_) => make(FAILED, "system", &t!("failure.system", details = details), &t!("next.system")),
        }
    }
}

/// Code, message, and what to do next.
type Words = (&'static str, std::borrow::Cow<'static, str>, std::borrow::Cow<'static, str>);

impl Failure {
    fn from_refusal(refusal: &Refusal) -> Self {
        if let Refusal::Shared(gate) = refusal {
            return crate::sharing::refusal(gate);
        }
        let (code, message, next) = match refusal {
            Refusal::ImageExists(image) => {
                ("image-exists", t!("failure.image_exists", image = image), t!("next.other_name"))
            }
            Refusal::ImageBusy(image) => ("image-busy", t!("failure.image_busy", image = image), t!("next.wait")),
            Refusal::Placement { disk, reason } => Self::from_place_error(disk, reason),
            Refusal::DataCutOff { disk, region } => {
                ("data-cut-off", t!("failure.data_cut_off", disk = disk, region = region), t!("next.larger"))
            }
            Refusal::RegionTooSmall { region, needed, available } => {
                let message = t!("failure.region_too_small", region = region, needed = needed, available = available);
                ("region-too-small", message, t!("next.larger"))
            }
            Refusal::OtherLayout { disk, detail } => {
                let message = t!("failure.other_layout", disk = disk, details = detail);
                ("other-layout", message, t!("next.other_layout"))
            }
            mirror => Self::from_mirror_refusal(mirror),
        };
        Self::new(REFUSED, code, &message, &t!("state.nothing"), &next)
    }

    /// Refusals that keep a stale half of a mirror from winning.
    fn from_mirror_refusal(refusal: &Refusal) -> Words {
        match refusal {
            Refusal::ScopeMissing { regions } => {
                ("scope-missing", t!("failure.scope_missing", regions = regions), t!("next.scope"))
            }
            Refusal::NotInSet { image } => ("not-in-set", t!("failure.not_in_set", image = image), t!("next.one_node")),
            Refusal::SetIncomplete { region, set } => {
                ("set-incomplete", t!("failure.set_incomplete", region = region, set = set), t!("next.one_node"))
            }
            Refusal::SetDiffers { region, set, other, own_is_newer } => {
                let (message, next) = if *own_is_newer {
                    (t!("failure.set_own_newer", region = region, set = set, other = other), t!("next.own_newer"))
                } else {
                    (t!("failure.set_own_older", region = region, set = set, other = other), t!("next.one_node"))
                };
                ("set-differs", message, next)
            }
            Refusal::MirrorEndMoves { region } => {
                ("mirror-end", t!("failure.mirror_end", region = region), t!("next.mirror_end"))
            }
            Refusal::MirrorMetadataLeft { region, metadata } => {
                let message = t!("failure.mirror_metadata", region = region, metadata = metadata);
                ("mirror-metadata", message, t!("next.mirror_metadata", metadata = metadata))
            }
            Refusal::MirrorMetadataThere { region, metadata } => {
                let message = t!("failure.mirror_metadata", region = region, metadata = metadata);
                ("mirror-metadata", message, t!("next.mirror_there", metadata = metadata))
            }
            other => ("refused", other.to_string().into(), t!("next.refused")),
        }
    }

    fn from_place_error(disk: &str, error: &layout::PlaceError) -> Words {
        use layout::PlaceError;
        match error {
            PlaceError::TooSmall { needed, available } => {
                let missing = needed.saturating_sub(*available);
                let message =
                    t!("failure.too_small", disk = disk, needed = needed, available = available, missing = missing);
                ("too-small", message, t!("next.larger"))
            }
            PlaceError::SectorSize { image, destination } => {
                let (image, destination) = (image.bytes(), destination.bytes());
                let message = t!("failure.sector_size", disk = disk, image = image, destination = destination);
                ("sector-size", message, t!("next.sector_size"))
            }
            other => ("no-place", t!("failure.no_place", disk = disk, details = other), t!("next.grow")),
        }
    }

    fn from_request(request: &RequestError) -> Self {
        match request {
            RequestError::NoImage(image) => {
                let message = t!("failure.no_image", image = image);
                Self::new(FAILED, "no-image", &message, &t!("state.nothing"), &t!("next.images"))
            }
            RequestError::NoRepository(place) => {
                let message = t!("failure.no_repository", target = place);
                Self::new(FAILED, "no-repository", &message, &t!("state.nothing"), &t!("next.target"))
            }
            RequestError::NoDisk { name, known } => {
                Self::usage("no-disk", &t!("failure.no_disk", disk = name, known = known))
            }
            RequestError::NoRegion { name, known } => {
                Self::usage("no-region", &t!("failure.no_region", region = name, known = known))
            }
            RequestError::AmbiguousRegion(name) => {
                Self::usage("ambiguous-region", &t!("failure.ambiguous_region", region = name))
            }
            RequestError::RegionNotSaved(name) => {
                Self::usage("region-not-saved", &t!("failure.region_not_saved", region = name))
            }
            RequestError::NoDisks => Self::usage("no-disks", &t!("failure.no_disks")),
            RequestError::SameRegionTwice(name) => {
                Self::usage("region-twice", &t!("failure.region_twice", region = name))
            }
            RequestError::DiskName(name) => Self::usage("disk-name", &t!("failure.disk_name", disk = name)),
            RequestError::NewIdsWithoutTable => Self::usage("identity-regions", &t!("failure.identity_regions")),
            RequestError::OtherDisks => {
                Self::new(FAILED, "other-disks", &t!("failure.other_disks"), &t!("state.nothing"), &t!("next.disks"))
            }
            RequestError::SameDiskTwice(name) => Self::usage("disk-twice", &t!("failure.disk_twice", disk = name)),
        }
    }

    /// A target that did not do what was asked.
    pub fn from_store(error: &image::StoreError) -> Self {
        use image::StoreErrorKind;
        let details = chain(error);
        let (code, message, next) = match error.kind {
            StoreErrorKind::NoSpace => ("target-full", t!("failure.target_full", details = details), t!("next.space")),
            StoreErrorKind::Quota => ("target-quota", t!("failure.target_quota", details = details), t!("next.quota")),
            StoreErrorKind::Denied => {
                ("target-denied", t!("failure.target_denied", details = details), t!("next.allow"))
            }
            StoreErrorKind::ReadOnly => {
                ("target-read-only", t!("failure.target_read_only", details = details), t!("next.writable"))
            }
            StoreErrorKind::Login => ("target-login", t!("failure.target_login", details = details), t!("next.login")),
            StoreErrorKind::Clock => ("target-clock", t!("failure.target_clock", details = details), t!("next.clock")),
            StoreErrorKind::Untrusted => {
                ("target-untrusted", t!("failure.target_untrusted", details = details), t!("next.untrusted"))
            }
            StoreErrorKind::NoExport => {
                ("target-no-export", t!("failure.target_no_export", details = details), t!("next.export"))
            }
            StoreErrorKind::Unreachable => {
                ("target-unreachable", t!("failure.target_unreachable", details = details), t!("next.reach"))
            }
            StoreErrorKind::Cancelled => {
                let message = t!("failure.cancelled");
                return Self::new(CANCELLED, "cancelled", &message, &t!("state.nothing"), &t!("next.cancelled"));
            }
            StoreErrorKind::Locked => {
                ("target-lock-lost", t!("failure.target_lock_lost", details = details), t!("next.wait"))
            }
            // A file that the manifest or an index names is gone or has become shorter.
            StoreErrorKind::NotFound | StoreErrorKind::Truncated => {
                let message = t!("failure.damaged", details = details);
                return Self::new(DAMAGED, "damaged", &message, &t!("state.nothing"), &t!("next.damaged"));
            }
            StoreErrorKind::AlreadyExists | StoreErrorKind::Io => {
                ("target-failed", t!("failure.target_failed", details = details), t!("next.target_failed"))
            }
        };
        Self::new(FAILED, code, &message, &t!("state.nothing"), &next)
    }
}

impl From<device::Error> for Failure {
    fn from(error: device::Error) -> Self {
        let nothing = t!("state.nothing");
        match &error {
            device::Error::NotFound { path } => {
                let message = t!("failure.disk_absent", disk = path.display());
                Self::new(FAILED, "disk-absent", &message, &nothing, &t!("next.disks"))
            }
            device::Error::InUse { path, by } => {
                let message = t!("failure.disk_in_use", disk = path.display(), by = by);
                Self::new(REFUSED, "disk-in-use", &message, &nothing, &t!("next.release"))
            }
            device::Error::NotADisk { path } => {
                Self::usage("not-a-disk", &t!("failure.not_a_disk", disk = path.display()))
            }
            device::Error::Partition { path } => {
                Self::usage("partition", &t!("failure.partition", disk = path.display()))
            }
            device::Error::LoopOverDevice { path, device } => {
                let message = t!("failure.loop_over_device", disk = path.display(), device = device.display());
                let next = t!("next.behind_loop", device = device.display());
                Self::new(REFUSED, "loop-over-device", &message, &nothing, &next)
            }
            device::Error::ReadOnly { path } => {
                let message = t!("failure.read_only", disk = path.display());
                Self::new(REFUSED, "read-only", &message, &nothing, &t!("next.read_only"))
            }
            device::Error::Io { path, .. } => {
                let message = t!("failure.disk_failed", disk = path.display(), details = chain(&error));
                Self::new(FAILED, "disk-failed", &message, &nothing, &t!("next.disks"))
            }
        }
    }
}
