//! A serial line of a machine: what comes is kept, and looked through for what is waited for.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Pieces of a frame follow one another faster.
const PAUSE: Duration = Duration::from_millis(100);

/// One end of the line.
pub struct Serial {
    stream: UnixStream,
    shared: Arc<(Mutex<Received>, Condvar)>,
    /// Up to where it was looked through.
    seen: usize,
}

struct Received {
    bytes: Vec<u8>,
    /// What a terminal shows that got them.
    terminal: vt100::Parser,
    is_over: bool,
}

impl Default for Received {
    fn default() -> Self {
        Self { bytes: Vec::new(), terminal: vt100::Parser::new(24, 80, 0), is_over: false }
    }
}

impl Serial {
    /// Listens on a line from now on.
    pub fn new(stream: UnixStream) -> Self {
        let shared = Arc::new((Mutex::new(Received::default()), Condvar::new()));
        let (mut reader, kept) = (stream.try_clone().unwrap(), Arc::clone(&shared));
        thread::spawn(move || {
            let mut piece = [0; 4096];
            loop {
                let length = reader.read(&mut piece).unwrap_or(0);
                let mut received = kept.0.lock().unwrap();
                received.bytes.extend(&piece[..length]);
                received.terminal.process(&piece[..length]);
                received.is_over = length == 0;
                kept.1.notify_all();
                if length == 0 {
                    return;
                }
            }
        });
        Self { stream, shared, seen: 0 }
    }

    /// Waits until a text comes; returns what came since the last one, up to its end.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str, limit: Duration) -> String {
        let began = Instant::now();
        let (lock, changed) = &*self.shared;
        let mut received = lock.lock().unwrap();
        loop {
            let fresh = &received.bytes[self.seen..];
            if let Some(position) = fresh.windows(text.len()).position(|window| window == text.as_bytes()) {
                let end = position + text.len();
                let found = String::from_utf8_lossy(&fresh[..end]).into_owned();
                self.seen += end;
                return found;
            }
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() || received.is_over {
                let what = if left.is_zero() { "did not come" } else { "did not come before the machine ended" };
                let tail = tail(&received.bytes);
                drop(received);
                panic!("\"{text}\" {what}; the last of the serial line:\n{tail}");
            }
            received = changed.wait_timeout(received, left).unwrap().0;
        }
    }

    /// What stands on the terminal.
    pub fn screen(&self) -> String {
        self.shared.0.lock().unwrap().terminal.screen().contents()
    }

    /// What stands there when nothing follows for a moment: a frame comes in pieces.
    #[track_caller]
    pub fn whole_screen(&self, limit: Duration) -> String {
        let began = Instant::now();
        let mut received = self.shared.0.lock().unwrap();
        loop {
            let before = received.bytes.len();
            let (after, waited) = self.shared.1.wait_timeout(received, PAUSE).unwrap();
            received = after;
            if waited.timed_out() && received.bytes.len() == before || received.is_over {
                return received.terminal.screen().contents();
            }
            assert!(began.elapsed() < limit, "the serial line never pauses");
        }
    }

    /// Waits until the terminal shows what it should; returns what it shows then.
    #[track_caller]
    pub fn wait_for_screen(&self, what: &str, limit: Duration, is_met: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        let mut received = self.shared.0.lock().unwrap();
        loop {
            let screen = received.terminal.screen().contents();
            if is_met(&screen) {
                return screen;
            }
            let left = limit.saturating_sub(began.elapsed());
            if left.is_zero() || received.is_over {
                drop(received);
                panic!("{what} is not shown, but\n{screen}");
            }
            received = self.shared.1.wait_timeout(received, left).unwrap().0;
        }
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The last that came.
    pub fn tail(&self) -> String {
        tail(&self.shared.0.lock().unwrap().bytes)
    }
}

fn tail(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4000)..]).into_owned()
}
