//! What the system's own clients mount for the program: a directory that only this user can enter and that goes away
//! again, and helpers that run within a limit.

use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use session::Cancel;

use super::mark::{self, Mark};

/// A server that has not let it be mounted by then does not answer: a wrong address is told soon.
pub const LIMIT: Duration = Duration::from_secs(20);
/// How soon the end of the helper, and the operator's wish, are noticed.
const TICK: Duration = Duration::from_millis(50);
/// A helper that was killed may still be in a call of the kernel. It is left alone after this time.
const END_LIMIT: Duration = Duration::from_secs(2);
/// So many directories of one kind a process has at a time, and more.
const TRIES: u32 = 100;
/// Of what the helper says, as much is told.
const TOLD_LIMIT: u64 = 2000;

/// A directory that something is mounted on, or about to be. What is mounted there goes away with this value.
pub struct MountPoint {
    directory: PathBuf,
    /// Goes away last: until then a process that is killed has left something behind.
    mark: Mark,
}

impl MountPoint {
    /// A new directory for something of this kind.
    pub fn make(kind: &str) -> io::Result<Self> {
        Self::below(Path::new(super::usb::DIRECTORY), kind)
    }

    /// One that nobody else uses, not even this process for another target.
    fn below(place: &Path, kind: &str) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(place)?;
        for number in 1..=TRIES {
            let directory = place.join(format!("{kind}-{}-{number}", std::process::id()));
            let Some(mark) = Mark::set(&directory)? else { continue };
            match DirBuilder::new().mode(0o700).create(&directory) {
                Ok(()) => return Ok(Self { directory, mark }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        if !mark::unmount_and_remove(&self.directory) {
            self.mark.keep();
        }
    }
}

/// How a helper ended.
pub enum Ended {
    /// With success.
    Well,
    /// With what it said.
    Badly(String),
    /// It was killed, as it took too long.
    Late,
    /// It was killed, as the operator wanted to stop.
    Cancelled,
}

/// Runs a helper, which reads `input` on its standard input, not longer than the limit and than the operator wants.
pub fn run(command: &mut Command, input: &str, cancel: &Cancel) -> io::Result<Ended> {
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command.stdin(stdin).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // It fits into the pipe. A helper that does not want it says why in its own words.
        let _ = stdin.write_all(input.as_bytes());
    }
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let is_late = began.elapsed() >= LIMIT;
        if is_late || cancel.is_cancelled() {
            end(&mut child)?;
            return Ok(if is_late { Ended::Late } else { Ended::Cancelled });
        }
        std::thread::sleep(TICK);
    };
    if status.success() {
        return Ok(Ended::Well);
    }
    let mut said = Vec::new();
    if let Some(errors) = child.stderr.take() {
        errors.take(TOLD_LIMIT).read_to_end(&mut said)?;
    }
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Ok(Ended::Badly(if lines.is_empty() { status.to_string() } else { lines.join("; ") }))
}

fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    let began = Instant::now();
    while child.try_wait()?.is_none() && began.elapsed() < END_LIMIT {
        std::thread::sleep(TICK);
    }
    Ok(())
}

/// Whether a program is where the system looks for programs.
pub fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_not_waited_for_when_nobody_wants_it() {
        let cancel = Cancel::new();
        cancel.cancel();
        let began = Instant::now();
        assert!(matches!(run(Command::new("sleep").arg("60"), "", &cancel), Ok(Ended::Cancelled)));
        assert!(began.elapsed() < LIMIT);
        let said = run(Command::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 32"]), "", &Cancel::new());
        assert!(matches!(said, Ok(Ended::Badly(said)) if said == "one; two"));
        assert!(matches!(run(&mut Command::new("true"), "", &Cancel::new()), Ok(Ended::Well)));
        let absent = run(&mut Command::new("absent-helper"), "", &cancel);
        assert_eq!(absent.err().unwrap().kind(), io::ErrorKind::NotFound);
        assert!(is_there("sh") && !is_there("absent-helper"));
    }

    #[test]
    fn every_target_has_a_directory_of_its_own_while_it_is_open() {
        let place = tempfile::tempdir().unwrap();
        let [one, two] = [(); 2].map(|()| MountPoint::below(&place.path().join("sosei"), "share").unwrap());
        assert_ne!(one.path(), two.path());
        mark::clear(&place.path().join("sosei"));
        assert!(one.path().is_dir() && two.path().is_dir(), "this process lives");
        drop(one);
        // What stays keeps its mark, for the next command.
        std::fs::write(two.path().join("busy"), "").unwrap();
        let left = two.path().to_owned();
        drop(two);
        assert_eq!(std::fs::read_dir(place.path().join("sosei")).unwrap().count(), 2);
        std::fs::remove_file(left.join("busy")).unwrap();
        mark::clear(&place.path().join("sosei"));
        assert_eq!(std::fs::read_dir(place.path().join("sosei")).unwrap().count(), 0);
    }

    #[test]
    fn a_secret_reaches_the_helper_as_it_stands() {
        let mut command = Command::new("sh");
        command.args(["-c", "read -r line; [ \"$line\" = 'open sesame' ]"]);
        assert!(matches!(run(&mut command, "open sesame\n", &Cancel::new()), Ok(Ended::Well)));
        // One that does not read it is no error of the program.
        assert!(matches!(run(&mut Command::new("true"), "x", &Cancel::new()), Ok(Ended::Well)));
    }
}
