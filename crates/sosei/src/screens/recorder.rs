//! Writes down what happens at the screens, where `SOSEI_RECORD` names a file: to be played again, and looked at.

use std::fs::File;
use std::io::Write;

use tui::{Event, Head, State};

/// The file, as long as it takes lines.
pub struct Recorder {
    file: Option<File>,
}

impl Recorder {
    /// Begins a recording, where one is wanted. What is recorded may name disks and hosts: only this user reads it.
    pub fn open(head: &Head) -> Self {
        use std::os::unix::fs::OpenOptionsExt;
        let path = std::env::var_os("SOSEI_RECORD").filter(|path| !path.is_empty());
        let file = path.and_then(|path| {
            let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
            let mut file = file.ok()?;
            writeln!(file, "{}", head.line()).ok()?;
            Some(file)
        });
        Self { file }
    }

    /// Writes an event down before the screens take it. A file that is full ends the recording and nothing else.
    pub fn note(&mut self, state: &State, event: &Event) {
        let Some(file) = &mut self.file else { return };
        let Some(line) = state.record(event) else { return };
        if writeln!(file, "{line}").is_err() {
            self.file = None;
        }
    }
}
