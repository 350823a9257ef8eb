//! Why a disk refused a command.
//!
//! Source: SPC-4, 4.5 sense data: fixed format (response codes 70h and 71h), descriptor format (72h and 73h).

use std::fmt;

/// Sense key and additional sense code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sense {
    key: u8,
    code: u8,
    qualifier: u8,
}

const ILLEGAL_REQUEST: u8 = 5;
const UNIT_ATTENTION: u8 = 6;

/// Reads sense data; `None` where they are too short or of another format.
pub fn parse(bytes: &[u8]) -> Option<Sense> {
    let at = |index: usize| bytes.get(index).copied();
    let (key, code, qualifier) = match at(0)? & 0x7F {
        // Disks that send no additional code send fewer bytes.
        0x70 | 0x71 => (at(2)?, at(12).unwrap_or_default(), at(13).unwrap_or_default()),
        0x72 | 0x73 => (at(1)?, at(2)?, at(3)?),
        _ => return None,
    };
    Some(Sense { key: key & 0x0F, code, qualifier })
}

impl Sense {
    /// INVALID COMMAND OPERATION CODE, or INVALID FIELD IN CDB: the disk does not know the command.
    pub fn is_unknown_command(self) -> bool {
        self.key == ILLEGAL_REQUEST && matches!(self.code, 0x20 | 0x24)
    }

    /// Something has changed; the command can be sent again.
    pub fn is_unit_attention(self) -> bool {
        self.key == UNIT_ATTENTION
    }
}

impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sense {:x}/{:02x}/{:02x}", self.key, self.code, self.qualifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let fixed = [0xF0, 0, 0x06, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0x00];
        assert_eq!(parse(&fixed).unwrap().to_string(), "sense 6/29/00");
        assert!(parse(&fixed).unwrap().is_unit_attention());
        let descriptor = [0x72, 0x05, 0x20, 0x00, 0, 0, 0, 0];
        assert!(parse(&descriptor).unwrap().is_unknown_command());
        assert!(!parse(&[0x72, 0x05, 0x25, 0x00]).unwrap().is_unknown_command());
        assert!(!parse(&[0x72, 0x02, 0x20, 0x00]).unwrap().is_unknown_command());
        assert_eq!(parse(&[0x70, 0, 0x02]).unwrap().to_string(), "sense 2/00/00");
        for bad in [&[][..], &[0x70, 0], &[0x7F, 0, 5, 0], &[0x72, 5, 0x20]] {
            assert_eq!(parse(bad), None, "{bad:x?}");
        }
    }
}
