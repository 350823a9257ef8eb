//! The program itself, run as an operator runs it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::tool;

/// What a run of the program left behind.
#[derive(Debug)]
pub struct Finished {
    /// Exit status; 128 and the number of the signal where it was killed, as a shell counts.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Where the program is: beside the tests, in the same profile, or beside the tool of the tests that runs.
///
/// # Panics
/// Where it was not built.
pub fn path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let beside = test.with_file_name("sosei");
    let path = test.parent().and_then(Path::parent).unwrap().join("sosei");
    let path = if beside.is_file() { beside } else { path };
    assert!(path.is_file(), "{} is missing: `cargo build -p sosei` makes it, and so does `make test`", path.display());
    path
}

/// Runs the program without a terminal, in English where `arguments` say nothing else.
pub fn sosei<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Finished {
    finish(&mut command(arguments))
}

/// The same with variables of its environment, as `SOSEI_PASSWORD`.
pub fn sosei_with<A: AsRef<OsStr>>(environment: &[(&str, &str)], arguments: impl IntoIterator<Item = A>) -> Finished {
    finish(command(arguments).envs(environment.iter().copied()))
}

/// The program with arguments, for a test that starts it itself.
pub fn command<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    tool::command(path().to_str().unwrap(), arguments)
}

/// Runs the program in a strace that tampers with its system calls, as `fsync:signal=SIGKILL:when=3` or
/// `write:error=EIO:when=2+`. Calls are counted thread by thread.
///
/// # Panics
/// Where strace is missing.
pub fn tampered<A: AsRef<OsStr>>(tampering: &str, arguments: impl IntoIterator<Item = A>) -> Finished {
    let call = tampering.split(':').next().unwrap_or_default();
    let strace =
        ["-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &format!("inject={tampering}")]
            .map(str::to_owned);
    let mut command = tool::command("strace", strace);
    command.arg(path()).args(arguments);
    finish(&mut command)
}

/// Runs the program on a terminal of its own, where `typed` is typed. What it prints is all in `stdout`.
///
/// # Panics
/// Where script is missing.
pub fn on_terminal(arguments: &[&str], typed: &str) -> Finished {
    let line: Vec<String> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
    let line = format!("'{}' {}", path().display(), line.join(" "));
    let mut command = tool::command("script", ["-qec", &line, "/dev/null"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("`make tools`");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
    Finished::new(&child.wait_with_output().unwrap())
}

fn finish(command: &mut Command) -> Finished {
    let output = command.stdin(Stdio::null()).output();
    Finished::new(&output.unwrap_or_else(|error| panic!("{command:?}: {error}; `make tools` installs it")))
}

impl Finished {
    fn new(output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let killed = || output.status.signal().map_or(-1, |signal| 128 + signal);
        Self {
            status: output.status.code().unwrap_or_else(killed),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Whether the program was killed, or the strace around it that dies the same death.
    pub fn is_killed(&self) -> bool {
        self.status == 128 + 9
    }

    /// The same, after it ended with this status.
    ///
    /// # Panics
    /// Where it ended with another.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// The one JSON document on standard output.
    ///
    /// # Panics
    /// Where it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    /// The code of the error that ended it, from its JSON document.
    #[track_caller]
    pub fn code(&self) -> String {
        let document = self.json();
        let error = &document["error"];
        for field in ["message", "state", "next"] {
            assert!(error[field].as_str().is_some_and(|text| !text.is_empty()), "{document}");
        }
        assert_eq!(error["status"], self.status, "{document}");
        error["code"].as_str().unwrap().to_owned()
    }
}
