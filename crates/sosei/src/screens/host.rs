//! Lets terminals find a job that is at work, and show it.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fs, io};

use rustix::event::{PollFd, PollFlags, poll};

use super::frame::{self, Hello, Presence};
use super::keys::Keys;
use super::{ESCAPE, Message, runtime};

/// A terminal that takes nothing for so long has gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The door; closed when this value goes.
pub struct Host {
    path: PathBuf,
    presence: Arc<Mutex<Presence>>,
}

impl Host {
    /// Opens the door in a directory.
    pub fn open(directory: &Path, screens: Sender<Message>) -> io::Result<Self> {
        let path = runtime::socket(directory);
        // An older process of this number left it behind.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        let presence = Arc::<Mutex<Presence>>::default();
        let told = presence.clone();
        std::thread::spawn(move || {
            for (number, stream) in (1..).zip(listener.incoming()) {
                let Ok(stream) = stream else { break };
                let (screens, presence) = (screens.clone(), told.clone());
                std::thread::spawn(move || {
                    let _ = receive(stream, number, &screens, &presence);
                    let _ = screens.send(Message::Gone { from: number });
                });
            }
        });
        Ok(Self { path, presence })
    }

    /// What is told to those who ask.
    pub fn tell(&self, presence: Presence) {
        *self.presence.lock().unwrap_or_else(PoisonError::into_inner) = presence;
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes what one terminal sends, until it goes.
fn receive(
    mut stream: UnixStream,
    number: u64,
    screens: &Sender<Message>,
    presence: &Mutex<Presence>,
) -> io::Result<()> {
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut keys = Keys::default();
    loop {
        let waits = keys.is_waiting();
        let mut waited = [PollFd::new(&stream, PollFlags::IN)];
        match poll(&mut waited, waits.then_some(&ESCAPE)) {
            Ok(0) => {
                if let Some(input) = keys.pause() {
                    screens.send(Message::Input { from: number, input }).map_err(gone)?;
                }
                continue;
            }
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        match frame::receive(&mut stream)? {
            (frame::ASK, _) => {
                let presence = *presence.lock().unwrap_or_else(PoisonError::into_inner);
                frame::send_document(&mut stream, frame::TOLD, &presence)?;
            }
            (frame::ATTACH, bytes) => {
                let hello: Hello = serde_json::from_slice(&bytes)?;
                let stream = stream.try_clone()?;
                screens.send(Message::Attached { from: number, hello, stream }).map_err(gone)?;
            }
            (frame::KEYS, bytes) => {
                for input in keys.feed(&bytes) {
                    screens.send(Message::Input { from: number, input }).map_err(gone)?;
                }
            }
            (frame::SIZE, bytes) => {
                let (columns, lines) = serde_json::from_slice(&bytes)?;
                screens.send(Message::Resized { from: number, columns, lines }).map_err(gone)?;
            }
            _ => return Ok(()),
        }
    }
}
