//! A terminal of its own for the program: what it draws is read by a terminal emulator, what is typed goes to it.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::{program, tool};

/// A busy machine takes its time.
const PATIENCE: Duration = crate::wait::LIMIT;

/// A pseudo-terminal with the program on it.
pub struct Terminal {
    child: Child,
    master: Option<File>,
    /// Programs of other tests are none of its business.
    _runtime: tempfile::TempDir,
    shown: Arc<(Mutex<Shown>, Condvar)>,
    patience: Duration,
}

struct Shown {
    parser: vt100::Parser,
    bytes: usize,
    /// The program has closed the terminal.
    is_closed: bool,
}

/// Keys by the bytes that a terminal sends for them.
pub mod key {
    /// Return.
    pub const ENTER: &str = "\r";
    /// Arrow.
    pub const DOWN: &str = "\x1b[B";
    /// Arrow.
    pub const UP: &str = "\x1b[A";
    /// To the end.
    pub const END: &str = "\x1b[F";
}

impl Terminal {
    /// Starts the program on a terminal of this size.
    ///
    /// # Panics
    /// As everything here, where anything fails.
    pub fn open(arguments: &[&str], environment: &[(&str, &str)], columns: u16, lines: u16) -> Self {
        Self::open_under(&[], arguments, environment, columns, lines)
    }

    /// The same, with the program called by a command that sets something up for it.
    ///
    /// # Panics
    /// As everything here, where anything fails.
    pub fn open_under(
        caller: &[&str],
        arguments: &[&str],
        environment: &[(&str, &str)],
        columns: u16,
        lines: u16,
    ) -> Self {
        let program = program::path();
        let all: Vec<&str> =
            caller.iter().copied().chain([program.to_str().unwrap()]).chain(arguments.iter().copied()).collect();
        Self::open_command(&all, environment, columns, lines)
    }

    /// Starts another program, with its arguments, on a terminal of this size.
    ///
    /// # Panics
    /// As everything here, where anything fails.
    pub fn open_command(line: &[&str], environment: &[(&str, &str)], columns: u16, lines: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = File::options().read(true).write(true).open(name).unwrap();
        set_size(&master, columns, lines);
        // A session of its own, with this terminal.
        let mut command = tool::command("setsid", ["--ctty"].iter().chain(line));
        command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        let runtime = tempfile::tempdir().unwrap();
        command.env("SOSEI_RUNTIME", runtime.path());
        command.envs(environment.iter().copied());
        let copy = || slave.try_clone().unwrap();
        let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("`make tools` installs setsid");
        // A serial line has no size; whoever looks at it sees 24 lines.
        let (shown_lines, shown_columns) = if lines == 0 { (24, 80) } else { (lines, columns) };
        let parser = vt100::Parser::new(shown_lines, shown_columns, 0);
        let shown = Arc::new((Mutex::new(Shown { parser, bytes: 0, is_closed: false }), Condvar::new()));
        let master = File::from(master);
        read_on(master.try_clone().unwrap(), shown.clone());
        Self { child, master: Some(master), _runtime: runtime, shown, patience: PATIENCE }
    }

    /// The same for a program that takes longer than the screens do.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// Where it has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether the other screen is shown, beside the one that a shell writes to.
    pub fn is_on_other_screen(&self) -> bool {
        self.shown.0.lock().unwrap().parser.screen().alternate_screen()
    }

    /// Types.
    pub fn press(&self, keys: &str) {
        self.master.as_ref().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// What is shown now.
    pub fn text(&self) -> String {
        self.shown.0.lock().unwrap().parser.screen().contents()
    }

    /// Whether anything that is shown has a colour.
    pub fn has_colours(&self) -> bool {
        let shown = self.shown.0.lock().unwrap();
        let screen = shown.parser.screen();
        let (lines, columns) = screen.size();
        let mut cells = (0..lines).flat_map(|line| (0..columns).filter_map(move |column| screen.cell(line, column)));
        cells.any(|cell| cell.bgcolor() != vt100::Color::Default || cell.fgcolor() != vt100::Color::Default)
    }

    /// Bytes that the program has sent so far.
    pub fn sent_bytes(&self) -> usize {
        self.shown.0.lock().unwrap().bytes
    }

    /// Waits until all of these texts are shown at once.
    #[track_caller]
    pub fn wait_for(&self, texts: &[&str]) {
        self.wait_until(&format!("{texts:?}"), |screen| texts.iter().all(|text| screen.contains(text)));
    }

    /// Waits until the screen is as it should be.
    #[track_caller]
    pub fn wait_until(&self, what: &str, is_met: impl Fn(&str) -> bool) {
        let began = Instant::now();
        let mut shown = self.shown.0.lock().unwrap();
        loop {
            let screen = shown.parser.screen().contents();
            if is_met(&screen) {
                return;
            }
            let left = self.patience.saturating_sub(began.elapsed());
            assert!(!left.is_zero() && !shown.is_closed, "{what} is not shown, but\n{screen}");
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
    }

    /// Waits until a text is shown, then presses keys.
    #[track_caller]
    pub fn at(&self, text: &str, keys: &[&str]) {
        self.wait_for(&[text]);
        keys.iter().for_each(|keys| self.press(keys));
    }

    /// Whether the program sends something within this time.
    pub fn sends_within(&self, time: Duration) -> bool {
        let began = Instant::now();
        let mut shown = self.shown.0.lock().unwrap();
        let before = shown.bytes;
        while shown.bytes == before {
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                return false;
            }
            shown = self.shown.1.wait_timeout(shown, left).unwrap().0;
        }
        true
    }

    /// Gives the terminal another size.
    pub fn resize(&self, columns: u16, lines: u16) {
        let mut shown = self.shown.0.lock().unwrap();
        shown.parser.screen_mut().set_size(lines, columns);
        set_size(self.master.as_ref().unwrap(), columns, lines);
    }

    /// The terminal goes, as when a connection breaks.
    pub fn hang_up(&mut self) {
        // The reader holds the terminal open, so the signal of its end is sent as well.
        self.signal(Signal::HUP);
        self.master = None;
    }

    /// Whether a cursor is shown.
    pub fn shows_cursor(&self) -> bool {
        !self.shown.0.lock().unwrap().parser.screen().hide_cursor()
    }

    /// Asks it to end, unless it has ended; kills it where it does not.
    pub fn end_by(&mut self, signal: Signal) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(signal);
            let began = Instant::now();
            while matches!(self.child.try_wait(), Ok(None)) && began.elapsed() < self.patience {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
        }
    }

    /// Waits for the end of the program; returns its exit status.
    pub fn finish(mut self) -> i32 {
        self.end()
    }

    /// The same for a program whose terminal is looked at afterwards.
    pub fn end(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            if began.elapsed() > self.patience {
                let _ = self.child.kill();
                panic!("it does not end:\n{}", self.text());
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(terminal: impl std::os::fd::AsFd, columns: u16, lines: u16) {
    let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

/// Reads what the program sends until it has closed the terminal.
fn read_on(mut master: File, shown: Arc<(Mutex<Shown>, Condvar)>) {
    std::thread::spawn(move || {
        let mut bytes = [0; 65536];
        loop {
            let length = master.read(&mut bytes).unwrap_or(0);
            let mut state = shown.0.lock().unwrap();
            state.parser.process(&bytes[..length]);
            state.bytes += length;
            state.is_closed = length == 0;
            shown.1.notify_all();
            if length == 0 {
                return;
            }
        }
    });
}
