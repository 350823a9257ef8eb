//! Asking for a password on the terminal, without showing it.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::Failure;

/// Ctrl-C, Ctrl-D and Ctrl-\.
const STOP: [u8; 3] = [3, 4, 28];
const BACKSPACE: [u8; 2] = [8, 127];
const LENGTH_LIMIT: usize = 4096;

/// What was typed; `None` without a terminal. It is asked for where the program's input is a terminal: a script
/// that forgot the password must not wait for one.
pub fn secret(question: &str) -> Result<Option<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let Ok(terminal) = OpenOptions::new().read(true).write(true).open("/dev/tty") else { return Ok(None) };
    let failed = |error: io::Error| Failure::from(session::Error::System(error));
    let typed = ask(terminal, question).map_err(failed)?;
    typed.map(Some).ok_or_else(|| Failure::from(session::Error::Cancelled))
}

/// `None` where the operator does not want to.
fn ask(mut terminal: File, question: &str) -> io::Result<Option<String>> {
    let quiet = Quiet::new(terminal.try_clone()?)?;
    write!(terminal, "{question}: ")?;
    terminal.flush()?;
    let typed = collect(&mut terminal);
    drop(quiet);
    writeln!(terminal)?;
    typed
}

/// Takes bytes up to the end of the line. Signals are not sent by keys meanwhile: a program that ended here would
/// leave a terminal that shows nothing.
fn collect(terminal: &mut impl Read) -> io::Result<Option<String>> {
    let mut typed = Vec::new();
    let mut byte = [0];
    loop {
        match terminal.read(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => {
                if other? == 0 {
                    return Ok(None);
                }
            }
        }
        match byte {
            [b'\r' | b'\n'] => break,
            [stop] if STOP.contains(&stop) => return Ok(None),
            [back] if BACKSPACE.contains(&back) => {
                // A character of several bytes goes as a whole.
                while typed.pop().is_some_and(|last: u8| last & 0xc0 == 0x80) {}
            }
            [other] if typed.len() < LENGTH_LIMIT => typed.push(other),
            _ => {}
        }
    }
    String::from_utf8(typed).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// A terminal that does not show what is typed; it does again when this value goes.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: File) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        tcsetattr(&terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_with_its_corrections() {
        let typed = |bytes: &[u8]| collect(&mut &*bytes).unwrap();
        assert_eq!(typed(b"open\rx"), Some("open".into()));
        assert_eq!(typed("蘇生\u{7f}い\n".as_bytes()), Some("蘇い".into()));
        assert_eq!(typed(b"\x08\x08a\n"), Some("a".into()));
        assert_eq!(typed(b"abc\x03"), None);
        assert_eq!(typed(b"abc"), None, "a terminal that is gone");
        assert!(collect(&mut &b"\xff\n"[..]).is_err());
    }
}
