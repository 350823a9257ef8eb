//! A serial line of a machine: what comes is kept, and looked through for what is waited for.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// One end of the line.
pub struct Serial {
    stream: UnixStream,
    shared: Arc<(Mutex<Received>, Condvar)>,
    /// Up to where it was looked through.
    seen: usize,
}

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    is_over: bool,
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
