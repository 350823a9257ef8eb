//! Waiting for what another process does: until it is so, never for a time that is thought to be enough.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// A busy machine takes its time; whatever comes at all comes long before.
pub const LIMIT: Duration = Duration::from_secs(180);

/// Waits until something is so.
///
/// # Panics
/// After [`LIMIT`].
#[track_caller]
pub fn wait_until(what: &str, is_met: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_met() {
        assert!(began.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Whether all threads of a process are stopped.
///
/// # Panics
/// Where there is no such process.
pub fn is_stopped(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid())).unwrap();
    let states = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).unwrap_or_default());
    states.map(|stat| stat.rsplit(')').next().unwrap_or_default().to_owned()).all(|rest| rest.starts_with(" T"))
}
