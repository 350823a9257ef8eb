//! Shows a job of another process that is at work: started again after its terminal has gone, the program comes back to
//! what it does.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::language::t;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::frame::{self, Hello, Presence};
use super::{runtime, terminal};
use crate::confirm;
use crate::failure::DONE;

/// A process that is at work answers soon.
const PATIENCE: Duration = Duration::from_secs(2);

/// Shows the job that is at work, if there is one that nobody sees, or one that the operator wants here. Returns the
/// exit status; `None` where there is nothing to show.
pub fn visit(directory: &Path, hello: Hello) -> io::Result<Option<u8>> {
    for path in runtime::sockets(directory) {
        let Ok(mut stream) = UnixStream::connect(&path) else {
            // Nobody listens any more: its process was killed.
            let _ = std::fs::remove_file(&path);
            continue;
        };
        let Ok(presence) = ask(&mut stream) else { continue };
        if !presence.is_working {
            continue;
        }
        let process = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_wanted = !presence.has_terminal
            || matches!(
                confirm::ask(&t!("screens.elsewhere", process = process)).as_deref(),
                Some("y" | "yes" | "はい")
            );
        if is_wanted {
            return show(stream, hello).map(Some);
        }
    }
    Ok(None)
}

fn ask(stream: &mut UnixStream) -> io::Result<Presence> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    frame::send(stream, frame::ASK, &[])?;
    let (_, bytes) = frame::receive(stream)?;
    stream.set_read_timeout(None)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn show(mut stream: UnixStream, hello: Hello) -> io::Result<u8> {
    let mut signals = Signals::new([SIGWINCH, SIGHUP, SIGTERM, SIGINT])?;
    let to = Arc::new(Mutex::new(stream.try_clone()?));
    let _taken = terminal::Borrowed::new()?;
    frame::send_document(&mut stream, frame::ATTACH, &hello)?;
    let sender = to.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let mut stream = sender.lock().unwrap_or_else(PoisonError::into_inner);
            let sent = match signal {
                SIGWINCH => frame::send_document(&mut *stream, frame::SIZE, &terminal::columns_and_lines()),
                _ => stream.shutdown(Shutdown::Both),
            };
            if sent.is_err() {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        let mut bytes = [0; 1024];
        loop {
            let length = io::stdin().read(&mut bytes).unwrap_or(0);
            let mut stream = to.lock().unwrap_or_else(PoisonError::into_inner);
            let typed = bytes.get(..length).unwrap_or_default();
            if length == 0 || frame::send(&mut *stream, frame::KEYS, typed).is_err() {
                let _ = stream.shutdown(Shutdown::Both);
                break;
            }
        }
    });
    loop {
        match frame::receive(&mut stream) {
            Ok((frame::DRAW, bytes)) => {
                let mut out = io::stdout().lock();
                if out.write_all(&bytes).and_then(|()| out.flush()).is_err() {
                    return Ok(DONE);
                }
            }
            Ok((frame::END, bytes)) => return Ok(bytes.first().copied().unwrap_or(DONE)),
            Ok(_) => {}
            // It is shown elsewhere now, or its process was killed.
            Err(_) => return Ok(DONE),
        }
    }
}
