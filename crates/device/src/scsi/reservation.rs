//! Answers to PERSISTENT RESERVE IN.
//!
//! Source: SPC-4, 6.16 PERSISTENT RESERVE IN: parameter data of READ KEYS, READ RESERVATION, READ FULL STATUS; 7.6.4
//! TransportIDs.

use std::io;

/// Who has registered with a disk, and who holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reservations {
    /// Counts changes.
    pub generation: u32,
    /// The keys that are registered.
    pub keys: Vec<u64>,
    /// The reservation.
    pub holder: Option<Reservation>,
    /// Who registered, as far as the disk tells.
    pub initiators: Vec<Initiator>,
}

/// A persistent reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The key of the holder; 0 where all registrants hold it.
    pub key: u64,
    /// The type code: 1, 3, 5 to 8.
    pub kind: u8,
}

/// A machine that has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiator {
    /// Its key.
    pub key: u64,
    /// Whether it holds the reservation.
    pub is_holder: bool,
    /// Its port: a name of iSCSI, or a world-wide name.
    pub name: String,
}

const HEADER: usize = 8;
const DESCRIPTOR: usize = 24;
/// READ KEYS has keys of so many machines at most; no target keeps more.
const LIMIT: usize = 4096;

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("PERSISTENT RESERVE IN: {what}"))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

/// The generation, and what follows the header, as far as it was sent.
fn body(bytes: &[u8]) -> io::Result<(u32, usize, &[u8])> {
    let (Some(generation), Some(length)) = (u32_at(bytes, 0), u32_at(bytes, 4)) else {
        return Err(malformed(&format!("{} bytes", bytes.len())));
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let sent = bytes.get(HEADER..).unwrap_or_default();
    Ok((generation, length, sent.get(..length).unwrap_or(sent)))
}

/// The answer to READ KEYS: generation and keys. Where there are more than were sent, those that were sent.
pub fn keys(bytes: &[u8]) -> io::Result<(u32, Vec<u64>)> {
    let (generation, length, body) = body(bytes)?;
    if length % 8 != 0 {
        return Err(malformed(&format!("{length} bytes of keys")));
    }
    let keys: Vec<u64> = body.chunks_exact(8).filter_map(|key| u64_at(key, 0)).take(LIMIT).collect();
    if keys.is_empty() && length > 0 {
        return Err(malformed(&format!("no key in {length} bytes")));
    }
    Ok((generation, keys))
}

/// The answer to READ RESERVATION.
pub fn holder(bytes: &[u8]) -> io::Result<Option<Reservation>> {
    let (_, length, body) = body(bytes)?;
    if length == 0 {
        return Ok(None);
    }
    match (u64_at(body, 0), body.get(13)) {
        (Some(key), Some(scope_and_type)) => Ok(Some(Reservation { key, kind: scope_and_type & 0x0F })),
        _ => Err(malformed(&format!("a reservation of {length} bytes"))),
    }
}

/// The answer to READ FULL STATUS. What does not fit any more is left out.
pub fn initiators(bytes: &[u8]) -> io::Result<Vec<Initiator>> {
    let (_, _, mut body) = body(bytes)?;
    let mut found = Vec::new();
    while let (Some(key), Some(flags), Some(length)) = (u64_at(body, 0), body.get(12), u32_at(body, 20)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let end = DESCRIPTOR.saturating_add(length);
        let Some(transport_id) = body.get(DESCRIPTOR..end) else { break };
        found.push(Initiator { key, is_holder: flags & 1 != 0, name: name_of(transport_id) });
        body = body.get(end..).unwrap_or_default();
        if found.len() >= LIMIT {
            break;
        }
    }
    Ok(found)
}

/// The name of a port by its TransportID.
fn name_of(id: &[u8]) -> String {
    let digits =
        |bytes: Option<&[u8]>| bytes.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    match id.first().map(|byte| byte & 0x0F) {
        Some(0) => format!("fc 0x{}", digits(id.get(8..16))),
        Some(4) => format!("srp 0x{}", digits(id.get(8..24))),
        Some(5) => {
            let name = id.get(4..).unwrap_or_default();
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            let name = String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned();
            name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
        }
        Some(6) => format!("sas 0x{}", digits(id.get(4..12))),
        Some(protocol) => format!("protocol {protocol}"),
        None => "unnamed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two registrants, as the standard lays them out.
    const KEYS: [u8; 24] = [0, 0, 0, 7, 0, 0, 0, 16, 0, 0, 0, 0, 0xDE, 0xAD, 0xBE, 0xEF, 0, 0, 0, 0, 0, 0, 0xAB, 0xCD];

    #[test]
    fn keys_are_listed() {
        assert_eq!(keys(&KEYS).unwrap(), (7, vec![0xDEAD_BEEF, 0xABCD]));
        let mut padded = KEYS.to_vec();
        padded.extend([0xFF; 100]);
        assert_eq!(keys(&padded).unwrap(), (7, vec![0xDEAD_BEEF, 0xABCD]), "what follows is not looked at");
        assert_eq!(keys(&KEYS[..8]).unwrap_err().to_string(), "PERSISTENT RESERVE IN: no key in 16 bytes");
        assert_eq!(keys(&[0, 0, 0, 9, 0, 0, 0, 0]).unwrap(), (9, vec![]));
        // More than fits: that somebody is registered must not get lost.
        let mut many = KEYS;
        many[4..8].copy_from_slice(&80_000_u32.to_be_bytes());
        assert_eq!(keys(&many).unwrap().1.len(), 2);
        many[7] = 1;
        assert_eq!(keys(&many).unwrap_err().to_string(), "PERSISTENT RESERVE IN: 79873 bytes of keys");
        assert_eq!(keys(&KEYS[..7]).unwrap_err().to_string(), "PERSISTENT RESERVE IN: 7 bytes");
    }

    #[test]
    fn the_type_stands_in_the_low_half_of_byte_21() {
        let mut bytes = [0; 24];
        bytes[3] = 7;
        assert_eq!(holder(&bytes).unwrap(), None);
        bytes[7] = 16;
        bytes[12..16].copy_from_slice(&0xDEAD_BEEF_u32.to_be_bytes());
        for kind in [1, 3, 5, 6, 7, 8] {
            bytes[21] = kind;
            assert_eq!(holder(&bytes).unwrap(), Some(Reservation { key: 0xDEAD_BEEF, kind }));
        }
        assert_eq!(holder(&bytes[..21]).unwrap_err().to_string(), "PERSISTENT RESERVE IN: a reservation of 16 bytes");
    }

    fn descriptor(key: u64, is_holder: bool, id: &[u8]) -> Vec<u8> {
        let mut bytes = key.to_be_bytes().to_vec();
        bytes.extend([0, 0, 0, 0, u8::from(is_holder), 0x05, 0, 0, 0, 0, 0, 1]);
        bytes.extend((id.len() as u32).to_be_bytes());
        bytes.extend(id);
        bytes
    }

    fn full_status(descriptors: &[Vec<u8>]) -> Vec<u8> {
        let body = descriptors.concat();
        [&1_u32.to_be_bytes()[..], &(body.len() as u32).to_be_bytes(), &body].concat()
    }

    #[test]
    fn initiators_are_named() {
        let mut fc = [0; 24];
        fc[8..16].copy_from_slice(&[0x21, 0, 0, 0x24, 0xFF, 1, 2, 3]);
        let mut sas = [0; 24];
        sas[0] = 6;
        sas[4..12].copy_from_slice(&[0x50, 0, 0xC5, 0, 1, 2, 3, 4]);
        let mut iscsi = vec![5, 0, 0, 32];
        iscsi.extend(b"iqn.2026-11.example:node2\0\0\0\0\0\0\0");
        let bytes = full_status(&[descriptor(1, false, &fc), descriptor(2, true, &sas), descriptor(3, false, &iscsi)]);
        let told: Vec<_> = initiators(&bytes).unwrap();
        let names: Vec<_> = told.iter().map(|one| (one.key, one.is_holder, one.name.as_str())).collect();
        assert_eq!(
            names,
            [
                (1, false, "fc 0x21000024ff010203"),
                (2, true, "sas 0x5000c50001020304"),
                (3, false, "iqn.2026-11.example:node2"),
            ]
        );
        // Cut anywhere, it ends.
        for length in 8..bytes.len() {
            assert!(initiators(&bytes[..length]).unwrap().len() <= 3);
        }
        let endless = full_status(&[vec![0xFF; 24]]);
        assert_eq!(initiators(&endless).unwrap(), []);
    }
}
