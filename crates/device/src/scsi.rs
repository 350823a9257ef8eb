//! What SCSI disks say about other machines: ports, persistent reservations. Only questions are asked: nothing is ever
//! registered, reserved, released or cleared.
//!
//! Source: SPC-4 (INCITS 513-2015): standard INQUIRY data, PERSISTENT RESERVE IN, TransportIDs, sense data; SAM-5:
//! status codes.

mod inquiry;
mod reservation;
mod sense;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub use inquiry::Inquiry;
pub use reservation::{Initiator, Reservation, Reservations};
use sense::Sense;

use crate::ioctl::{self, Answer};

/// What a disk answers when it is asked who has registered with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It has no persistent reservations, or is no SCSI disk. That says nothing about who uses it.
    Unsupported,
    /// It refused this, as another machine has reserved it.
    Conflict(&'static str),
    /// This.
    Known(Reservations),
}

const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;
const RESERVATION_CONFLICT: u8 = 0x18;
/// A disk tells once on each path that something has changed, then answers.
const TRIES: usize = 4;
/// Registrations of 512 machines.
const ANSWER_BYTES: u16 = 8192;

const TEST_UNIT_READY: [u8; 6] = [0; 6];
const PERSISTENT_RESERVE_IN: u8 = 0x5E;
const READ_KEYS: u8 = 0;
const READ_RESERVATION: u8 = 1;
const READ_FULL_STATUS: u8 = 3;

/// Asks a disk on one of its paths.
///
/// # Errors
/// Where the path does not answer, or answers what the standard does not know.
pub fn registered(path: &Path) -> io::Result<Registered> {
    let disk = open(path)?;
    match ask(&disk, &TEST_UNIT_READY, 0)? {
        Outcome::Conflict => return Ok(Registered::Conflict("TEST UNIT READY")),
        Outcome::NoScsi => return Ok(Registered::Unsupported),
        Outcome::Data(_) | Outcome::Refused(_) => {}
    }
    let keys = match persistent_reserve_in(&disk, READ_KEYS)? {
        Outcome::Data(data) => reservation::keys(&data)?,
        Outcome::Conflict => return Ok(Registered::Conflict("PERSISTENT RESERVE IN, READ KEYS")),
        Outcome::NoScsi => return Ok(Registered::Unsupported),
        Outcome::Refused(sense) if sense.is_unknown_command() => return Ok(Registered::Unsupported),
        Outcome::Refused(sense) => return Err(io::Error::other(format!("PERSISTENT RESERVE IN: {sense}"))),
    };
    let holder = match persistent_reserve_in(&disk, READ_RESERVATION)? {
        Outcome::Data(data) => reservation::holder(&data)?,
        Outcome::Conflict => return Ok(Registered::Conflict("PERSISTENT RESERVE IN, READ RESERVATION")),
        Outcome::NoScsi | Outcome::Refused(_) => None,
    };
    // Not every disk can tell who; that somebody is registered is known by then.
    let initiators = match persistent_reserve_in(&disk, READ_FULL_STATUS)? {
        Outcome::Data(data) => reservation::initiators(&data).unwrap_or_default(),
        _ => Vec::new(),
    };
    let (generation, keys) = keys;
    Ok(Registered::Known(Reservations { generation, keys, holder, initiators }))
}

/// What the disk said about itself when the kernel found it; `None` where it is no SCSI disk.
pub fn inquiry(path: &Path) -> Option<Inquiry> {
    let name = crate::usage::kernel_name(path)?;
    let bytes = std::fs::read(Path::new("/sys/block").join(name).join("device/inquiry")).ok()?;
    inquiry::parse(&bytes)
}

fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

enum Outcome {
    Data(Vec<u8>),
    Refused(Sense),
    Conflict,
    NoScsi,
}

fn persistent_reserve_in(disk: &File, action: u8) -> io::Result<Outcome> {
    let [high, low] = ANSWER_BYTES.to_be_bytes();
    ask(disk, &[PERSISTENT_RESERVE_IN, action, 0, 0, 0, 0, 0, high, low, 0], usize::from(ANSWER_BYTES))
}

fn ask(disk: &File, command: &[u8], length: usize) -> io::Result<Outcome> {
    for last in (0..TRIES).rev() {
        let answer = match ioctl::scsi_command(disk, command, length) {
            Ok(answer) => answer,
            // ENOTTY, EINVAL, ENOSYS: not a SCSI disk.
            Err(error) if matches!(error.raw_os_error(), Some(25 | 22 | 38)) => return Ok(Outcome::NoScsi),
            Err(error) => return Err(error),
        };
        match outcome(answer)? {
            Outcome::Refused(sense) if sense.is_unit_attention() && last > 0 => {}
            outcome => return Ok(outcome),
        }
    }
    Err(io::Error::other("the disk told of changes again and again"))
}

fn outcome(answer: Answer) -> io::Result<Outcome> {
    match answer.status {
        // A path that is gone answers with no status but that of the adapter.
        GOOD if answer.host_status != 0 => Err(io::Error::other(format!("host status {:#x}", answer.host_status))),
        GOOD => Ok(Outcome::Data(answer.data)),
        RESERVATION_CONFLICT => Ok(Outcome::Conflict),
        CHECK_CONDITION => {
            let sense = sense::parse(&answer.sense).ok_or_else(|| io::Error::other("no sense data"))?;
            Ok(Outcome::Refused(sense))
        }
        status => Err(io::Error::other(format!("SCSI status {status:#04x}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u8, sense: &[u8]) -> Answer {
        Answer { status, host_status: 0, sense: sense.to_vec(), data: vec![1, 2] }
    }

    #[test]
    fn a_status_becomes_what_it_means() {
        assert!(matches!(outcome(answer(0x00, &[])).unwrap(), Outcome::Data(data) if data == [1, 2]));
        assert!(matches!(outcome(answer(0x18, &[])).unwrap(), Outcome::Conflict));
        let sense = [0x70, 0, 0x05, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0];
        assert!(
            matches!(outcome(answer(0x02, &sense)).unwrap(), Outcome::Refused(sense) if sense.is_unknown_command())
        );
        let failed = |answer| outcome(answer).map(drop).unwrap_err().to_string();
        assert_eq!(failed(answer(0x02, &[])), "no sense data");
        assert_eq!(failed(answer(0x08, &[])), "SCSI status 0x08");
        assert_eq!(failed(Answer { host_status: 1, ..answer(0, &[]) }), "host status 0x1");
    }

    #[test]
    fn a_file_is_no_scsi_disk() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(registered(file.path()).unwrap(), Registered::Unsupported);
        assert_eq!(inquiry(file.path()), None);
    }
}
