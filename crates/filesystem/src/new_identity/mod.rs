//! Another UUID or serial number for a file system: what of its bytes changes for a copy that must live beside its
//! original.
//!
//! A file system names itself in several places, and checksums follow from its name. Each kind says in a module of its
//! own what changes; where that is not certain, or would keep the copy from starting, the name stays and the reason is
//! told. Nothing here writes: a [`Patch`] holds what stands in its place now, so that whoever writes it finds out where
//! it doesn't.

mod patch;

use block::ReadAt;

pub use patch::Patch;
pub(crate) use patch::Patches;

use crate::{Error, Reason, ReasonCode, btrfs, exfat, ext, fat, identify, ntfs, swap, xfs};
use patch::Patched;

/// Another name for a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIdentity {
    /// UUID or serial number, in the spelling of `blkid`.
    pub uuid: String,
    /// What changes, in ascending order, never overlapping.
    pub patches: Vec<Patch>,
}

/// Random bytes that become a UUID or a serial number, as long as the file system has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewId([u8; 16]);

impl NewId {
    /// A UUID, in the byte order in which it is spelled.
    pub(crate) fn uuid(self) -> [u8; 16] {
        self.0
    }

    /// A serial number of 4 bytes, which is not 0.
    pub(crate) fn serial_4(self) -> u32 {
        let [.., a, b, c, d] = self.0;
        u32::from_be_bytes([a, b, c, d]).max(1)
    }

    /// A serial number of 8 bytes.
    pub(crate) fn serial_8(self) -> u64 {
        let [_, _, _, _, _, _, _, _, rest @ ..] = self.0;
        u64::from_be_bytes(rest).max(1)
    }
}

/// What changes where the file system of a region, or of a device inside one, is named after `id`: as a UUID, or with
/// its last bytes as a serial number. `None` where there is no file system with a name.
///
/// # Errors
/// Why the name must stay.
pub fn new_identity(region: &dyn ReadAt, id: [u8; 16]) -> Option<Result<NewIdentity, Reason>> {
    let found = identify(region).filter(|found| found.uuid.is_some())?;
    Some(make(region, &found.kind, NewId(id)).map_err(Reason::from))
}

fn make(region: &dyn ReadAt, kind: &str, id: NewId) -> Result<NewIdentity, Error> {
    let mut patches = Patches::new(region);
    // Whether the file system is still what it was is checked by those who read it, through the patches.
    let check: fn(&dyn ReadAt) -> Result<(), Error> = match kind {
        "ext2" | "ext3" | "ext4" => {
            ext::new_identity::patch(region, id, &mut patches)?;
            ext::new_identity::check
        }
        "xfs" => {
            xfs::new_identity::patch(region, id, &mut patches)?;
            xfs::new_identity::check
        }
        "btrfs" => {
            btrfs::new_identity::patch(region, id, &mut patches)?;
            btrfs::new_identity::check
        }
        "vfat" => {
            fat::new_identity::patch(region, id, &mut patches)?;
            |_| Ok(())
        }
        "exfat" => {
            exfat::new_identity::patch(region, id, &mut patches)?;
            exfat::new_identity::check
        }
        "ntfs" => {
            ntfs::new_identity::patch(region, id, &mut patches)?;
            |_| Ok(())
        }
        "swap" => {
            swap::patch_identity(region, id, &mut patches)?;
            |_| Ok(())
        }
        other => return Err(Error::Unsupported(format!("how {other} names itself is not known to this program"))),
    };
    let patches = patches.finish()?;
    let patched = Patched::new(region, &patches);
    check(&patched)?;
    let uuid = identify(&patched).filter(|found| found.kind == kind).and_then(|found| found.uuid);
    let uuid = uuid.ok_or_else(|| Error::Unsupported(format!("{kind} would not be recognised with another name")))?;
    Ok(NewIdentity { uuid, patches })
}

impl Reason {
    /// A reason that lies around a file system, and not in it.
    pub fn opaque(detail: &str) -> Self {
        Self::new(ReasonCode::Opaque, detail)
    }
}
