//! A terminal on the framebuffer: what runs in it can show Japanese, which the kernel's own console can't.
//!
//! The keyboard and the choice of the console stay with the kernel. While another console is in front nothing is drawn;
//! when this one comes back, everything is.

mod font;
mod picture;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::language::t;
use device::Framebuffer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize, ttyname};

use self::font::Font;
use self::picture::Picture;
use crate::failure::{DONE, FAILED, Failure};

/// Which console is in front; the kernel tells of changes.
const FRONT: &str = "/sys/class/tty/tty0/active";
/// What comes in pieces is drawn in one.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
/// A program that does not stop talking is drawn all the same.
const MOST_PIECES: usize = 64;
/// Text on the kernel's console would be drawn over the picture: no cursor, and nothing on it.
const CLEAR: &[u8] = b"\x1b[?25l\x1b[2J\x1b[H";
const GIVE_BACK: &[u8] = b"\x1b[?25h\x1b[2J\x1b[H";

/// Runs a command on the framebuffer, with the keyboard of this console, until it ends.
pub fn run(device: &Path, font: &Path, command: &[OsString]) -> Result<u8, Failure> {
    let refuse = |details: String| Failure::usage("framebuffer", &t!("failure.framebuffer", details = details));
    let system = |error: io::Error| Failure::from(session::Error::System(error));
    let console = ttyname(io::stdin(), Vec::new()).map_err(|error| refuse(format!("ttyname: {error}")))?;
    let console = console.to_string_lossy().trim_start_matches("/dev/").to_owned();
    let framebuffer = Framebuffer::open(device).map_err(|error| refuse(format!("{:#}", anyhow::Error::from(error))))?;
    let font = Font::read(font).map_err(|error| refuse(format!("{}: {error}", font.display())))?;
    let picture =
        Picture::new(font, framebuffer.geometry()).ok_or_else(|| refuse(format!("{}: < 640x384", device.display())))?;
    let terminal = Terminal::start(command, picture.size()).map_err(system)?;
    let front = File::open(FRONT).map_err(system)?;
    let (lines, columns) = picture.size();
    let parser = vt100::Parser::new(lines, columns, 0);
    let mut view = View { framebuffer, picture, parser, console, front, is_in_front: false };
    let keyboard = Raw::new().map_err(system)?;
    let shown = view.show(terminal);
    drop(keyboard);
    shown.map_err(system)
}

/// A command on a terminal of its own.
struct Terminal {
    master: File,
    child: Child,
}

impl Terminal {
    fn start(command: &[OsString], (lines, columns): (u16, u16)) -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?.into_string().map_err(io::Error::other)?;
        tcsetwinsize(&master, Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?;
        let slave = File::options().read(true).write(true).open(name)?;
        // A session of its own, with this terminal.
        let mut run = Command::new("setsid");
        run.arg("-c").args(command).env("TERM", "xterm");
        let child = run.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?));
        let child = child.stderr(Stdio::from(slave)).spawn()?;
        Ok(Self { master: File::from(master), child })
    }
}

/// The keyboard, with every key as it is; as it was when this value goes.
struct Raw {
    before: rustix::termios::Termios,
}

impl Raw {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        let _ = io::stdout().write_all(GIVE_BACK).and_then(|()| io::stdout().flush());
    }
}

struct View {
    framebuffer: Framebuffer,
    picture: Picture,
    parser: vt100::Parser,
    /// As the kernel names it.
    console: String,
    front: File,
    is_in_front: bool,
}

impl View {
    fn show(&mut self, mut terminal: Terminal) -> io::Result<u8> {
        self.look_who_is_in_front()?;
        let mut keys = [0; 1024];
        loop {
            let stdin = io::stdin();
            let mut waited = [
                PollFd::new(&terminal.master, PollFlags::IN),
                PollFd::new(&stdin, PollFlags::IN),
                PollFd::new(&self.front, PollFlags::PRI | PollFlags::ERR),
            ];
            match poll(&mut waited, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            let [from_program, from_keyboard, from_kernel] = waited.map(|waited| !waited.revents().is_empty());
            if from_kernel {
                self.look_who_is_in_front()?;
            }
            if from_keyboard {
                let length = rustix::io::read(&stdin, &mut keys)?;
                if length == 0 {
                    // The console has gone, and the program with it.
                    let _ = terminal.child.kill();
                }
                terminal.master.write_all(keys.get(..length).unwrap_or_default())?;
            }
            let goes_on = !from_program || self.take(&mut terminal.master)?;
            self.draw()?;
            if !goes_on {
                let status = terminal.child.wait()?;
                return Ok(if status.success() { DONE } else { FAILED });
            }
        }
    }

    /// Takes what the program says, up to a pause; whether it still runs.
    fn take(&mut self, master: &mut File) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        for _ in 0..MOST_PIECES {
            match master.read(&mut bytes) {
                // A terminal that nobody has open any more gives an error.
                Ok(0) | Err(_) => return Ok(false),
                Ok(length) => self.parser.process(bytes.get(..length).unwrap_or_default()),
            }
            let mut waited = [PollFd::new(&*master, PollFlags::IN)];
            if !matches!(poll(&mut waited, Some(&PAUSE)), Ok(1..)) {
                break;
            }
        }
        Ok(true)
    }

    fn look_who_is_in_front(&mut self) -> io::Result<()> {
        let mut name = String::new();
        self.front.rewind()?;
        self.front.read_to_string(&mut name)?;
        let was_in_front = std::mem::replace(&mut self.is_in_front, name.trim() == self.console);
        if self.is_in_front && !was_in_front {
            // The kernel draws its console first: this waits for it.
            let mut out = io::stdout();
            out.write_all(CLEAR)?;
            out.flush()?;
            self.picture.forget();
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        if !self.is_in_front {
            return Ok(());
        }
        let framebuffer = &self.framebuffer;
        self.picture.draw(self.parser.screen(), |first, lines| framebuffer.write_lines(first, lines))
    }
}
