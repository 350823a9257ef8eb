//! Whether a disk can be reached through several ports.
//!
//! Source: SPC-4, 6.6.2 standard INQUIRY data: TPGS in bits 4 and 5 of byte 5, MULTIP in bit 4 of byte 6.

/// What a disk says about its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// Target port groups: 0 none, 1 implicit, 2 explicit, 3 both.
    pub target_port_groups: u8,
    /// It has several ports.
    pub has_ports: bool,
}

/// Reads standard INQUIRY data; `None` where they are too short, or of something else than a disk.
pub fn parse(bytes: &[u8]) -> Option<Inquiry> {
    let (kind, groups, ports) = (bytes.first()?, bytes.get(5)?, bytes.get(6)?);
    // Peripheral qualifier 0 and device type 0: a connected block device.
    (*kind == 0).then_some(Inquiry { target_port_groups: groups >> 4 & 3, has_ports: ports & 0x10 != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_bits_of_bytes_5_and_6() {
        let mut bytes = [0, 0, 6, 0x12, 0x5B, 0x00, 0x00, 0x02, b'L', b'I', b'O'];
        let parsed = |bytes: &[u8]| parse(bytes).map(|found| (found.target_port_groups, found.has_ports));
        assert_eq!(parsed(&bytes), Some((0, false)));
        bytes[5] = 0x30;
        assert_eq!(parsed(&bytes), Some((3, false)));
        bytes[6] = 0x10;
        assert_eq!(parsed(&bytes), Some((3, true)));
        bytes[5] = 0xCF;
        assert_eq!(parsed(&bytes), Some((0, true)));
        bytes[0] = 5;
        assert_eq!(parsed(&bytes), None);
        assert_eq!(parsed(&bytes[..6]), None);
    }
}
