//! LUKS1 and LUKS2: the first header, or the second of LUKS2 where the first is gone.
//!
//! Source: "LUKS2 On-Disk Format Specification" 1.1, section 2.1; "LUKS1 On-Disk Format Specification" 1.2.3.

use block::ReadAt;

use super::table::{Found, Magic};
use crate::Error;
use crate::structure::Structure;

const fn second(structure: u64) -> Magic {
    Magic { structure, offset: 0, bytes: b"SKUL\xBA\xBE" }
}

/// The first header, and every place where the second may stand: right after the first, which has one of these sizes.
pub const MAGICS: &[Magic] = &[
    Magic { structure: 0, offset: 0, bytes: b"LUKS\xBA\xBE" },
    second(0x4000),
    second(0x8000),
    second(0x1_0000),
    second(0x2_0000),
    second(0x4_0000),
    second(0x8_0000),
    second(0x10_0000),
    second(0x20_0000),
    second(0x40_0000),
];

/// Offsets in the header.
const VERSION: usize = 6;
const LABEL: usize = 24;
const UUID: usize = 168;

/// The identity that a header holds; only version 2 has a label.
pub fn identify(region: &dyn ReadAt, position: u64) -> Result<Option<Found>, Error> {
    let header = Structure::read(region, position)?;
    let version = header.big_u16(VERSION);
    let uuid = if matches!(version, 1 | 2) { header.text(UUID, 40) } else { None };
    let label = if version == 2 { header.text(LABEL, 48) } else { None };
    Ok(Some(Found { kind: None, uuid, label }))
}
