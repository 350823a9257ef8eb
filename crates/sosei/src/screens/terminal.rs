//! The terminal: taken over, drawn on, and given back, whatever happens.
//!
//! Colours are sent as the sixteen of ECMA-48: the library's `38;5;1` means "blink, bold" to a terminal that knows no
//! more than those, and firmware consoles don't.

use std::io::{self, IsTerminal, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{QueueableCommand, queue};
use ratatui::backend::{Backend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Rect, Size};
use ratatui::style::{Color, Modifier};
use ratatui::{Terminal, TerminalOptions, Viewport};
use unicode_width::UnicodeWidthStr;

use super::frame;
use crate::output::error_line;

/// The size of a terminal that does not say it, as a serial line, until it has answered.
const ASSUMED: Rect = Rect { x: 0, y: 0, width: 80, height: 24 };
/// Larger ones are not drawn on to their end.
const LARGEST: (u16, u16) = (400, 200);

/// A terminal in the hands of the program; given back when this value goes.
pub struct Taken {
    terminal: Terminal<Plain>,
    area: Rect,
    /// What the program's own terminal needs to be given back.
    _borrowed: Option<Borrowed>,
}

/// The program's own terminal as screens need it: each key by itself, nothing echoed, another page than the shell's.
pub struct Borrowed;

impl Borrowed {
    /// Borrows it.
    ///
    /// # Errors
    /// Where there is none.
    pub fn new() -> io::Result<Self> {
        give_back_on_panic();
        enable_raw_mode()?;
        let borrowed = Self;
        let mut out = io::stdout().lock();
        queue!(out, EnterAlternateScreen, Hide, Clear(ClearType::All))?;
        out.flush()?;
        Ok(borrowed)
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        give_back();
    }
}

/// Whether somebody sits at a terminal.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

impl Taken {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Where it is none.
    pub fn new() -> io::Result<Self> {
        let (columns, lines) = columns_and_lines();
        let borrowed = Borrowed::new()?;
        Self::with(Plain::default(), (columns, lines), Some(borrowed))
    }

    /// Takes a terminal over that another process has borrowed, and that shows what comes over `stream`.
    ///
    /// # Errors
    /// Where it has gone.
    pub fn remote(stream: UnixStream, size: (u16, u16)) -> io::Result<Self> {
        Self::with(Plain { remote: Some(stream), ..Plain::default() }, size, None)
    }

    fn with(mut backend: Plain, (columns, lines): (u16, u16), borrowed: Option<Borrowed>) -> io::Result<Self> {
        let is_known = columns > 0 && lines > 0;
        let area = if is_known { area(columns, lines) } else { ASSUMED };
        if !is_known {
            ask_for_size(&mut backend.bytes)?;
        }
        backend.area = area;
        let terminal = Terminal::with_options(backend, TerminalOptions { viewport: Viewport::Fixed(area) });
        let mut taken = Self { terminal: terminal?, area, _borrowed: borrowed };
        taken.terminal.backend_mut().flush()?;
        Ok(taken)
    }

    /// Tells another process that this was the end.
    pub fn end(&mut self, status: u8) {
        if let Some(stream) = &mut self.terminal.backend_mut().remote {
            let _ = frame::send(stream, frame::END, &[status]);
        }
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// Where the terminal has gone.
    pub fn draw(&mut self, state: &tui::State) -> io::Result<()> {
        self.terminal.draw(|frame| state.draw(frame)).map(|_| ())
    }

    /// Asks the terminal for its size again, and draws all of it anew.
    ///
    /// # Errors
    /// Where the terminal has gone.
    pub fn resize(&mut self) -> io::Result<()> {
        match columns_and_lines() {
            (0, _) | (_, 0) => ask_for_size(&mut self.terminal.backend_mut().bytes),
            (columns, lines) => self.resize_to(area(columns, lines)),
        }
    }

    /// The terminal has this size.
    ///
    /// # Errors
    /// Where the terminal has gone.
    pub fn resize_to(&mut self, area: Rect) -> io::Result<()> {
        if area != self.area {
            self.area = area;
            self.terminal.backend_mut().area = area;
            self.terminal.resize(area)?;
        }
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // The reader of the stream holds it open as well.
        if let Some(stream) = &self.terminal.backend_mut().remote {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The area that a terminal of this size is drawn on.
pub fn area(columns: u16, lines: u16) -> Rect {
    Rect { x: 0, y: 0, width: columns.min(LARGEST.0), height: lines.min(LARGEST.1) }
}

/// Size of the program's own terminal; 0 where it does not know.
pub fn columns_and_lines() -> (u16, u16) {
    crossterm::terminal::window_size().map_or((0, 0), |size| (size.columns, size.rows))
}

/// The cursor goes as far as it can, and the terminal says where that was.
fn ask_for_size(bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.write_all(b"\x1b[999;999H\x1b[6n")
}

/// The thread that has borrowed the program's own terminal, and what panics of others said meanwhile.
static BORROWER: Mutex<(Option<ThreadId>, Vec<String>)> = Mutex::new((None, Vec::new()));

/// Gives the terminal back, and tells what could not be told on it.
fn give_back() {
    let messages = {
        let mut borrower = BORROWER.lock().unwrap_or_else(PoisonError::into_inner);
        borrower.0 = None;
        std::mem::take(&mut borrower.1)
    };
    let mut out = io::stdout().lock();
    let _ = out.write_all(b"\x1b[0m");
    let _ = queue!(out, LeaveAlternateScreen, Show);
    let _ = out.flush();
    let _ = disable_raw_mode();
    messages.iter().for_each(error_line);
}

/// Where the screens panic, the program ends: its message must be readable, and the terminal usable. Where a job does,
/// that is how the job ends, and the screens go on: the message waits until the terminal is given back.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    BORROWER.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(thread::current().id());
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let mut borrower = BORROWER.lock().unwrap_or_else(PoisonError::into_inner);
            match borrower.0 {
                Some(thread) if thread != thread::current().id() => borrower.1.push(panic.to_string()),
                is_borrowed => {
                    drop(borrower);
                    if is_borrowed.is_some() {
                        give_back();
                    }
                    before(panic);
                }
            }
        }));
    });
}

/// Draws in as few bytes as it can, and sends them at once.
#[derive(Default)]
struct Plain {
    bytes: Vec<u8>,
    cursor: Option<Position>,
    area: Rect,
    /// Where the terminal is that of another process.
    remote: Option<UnixStream>,
}

impl Backend for Plain {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut next = None;
        let mut style = (Color::Reset, Color::Reset, Modifier::empty());
        let mut is_styled = false;
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.bytes.queue(MoveTo(x, y))?;
            }
            let wanted = (cell.fg, cell.bg, cell.modifier);
            if wanted != style {
                style = wanted;
                is_styled = true;
                self.bytes.write_all(select(style).as_bytes())?;
            }
            self.bytes.write_all(cell.symbol().as_bytes())?;
            let width = u16::try_from(cell.symbol().width()).unwrap_or(1).max(1);
            next = Some((x.saturating_add(width), y));
        }
        if is_styled {
            self.bytes.write_all(b"\x1b[m")?;
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if self.cursor.take().is_some() {
            self.bytes.queue(Hide)?;
        }
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.bytes.queue(Show).map(|_| ())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor.unwrap_or_default())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        self.cursor = Some(position);
        self.bytes.queue(MoveTo(position.x, position.y)).map(|_| ())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.bytes.queue(Clear(ClearType::All)).map(|_| ())
    }

    fn clear_region(&mut self, _: ratatui::backend::ClearType) -> io::Result<()> {
        self.clear()
    }

    fn size(&self) -> io::Result<Size> {
        Ok(self.area.as_size())
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.area.as_size(), pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        if let Some(stream) = &mut self.remote {
            return frame::send(stream, frame::DRAW, &bytes);
        }
        let mut out = io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    }
}

/// The sequence that selects a style.
fn select((foreground, background, modifier): (Color, Color, Modifier)) -> String {
    let mut numbers = vec!["0".to_owned()];
    if modifier.contains(Modifier::BOLD) {
        numbers.push("1".into());
    }
    if modifier.contains(Modifier::REVERSED) {
        numbers.push("7".into());
    }
    numbers.extend(number(foreground).map(|number| format!("3{number}")));
    numbers.extend(number(background).map(|number| format!("4{number}")));
    format!("\x1b[{}m", numbers.join(";"))
}

fn number(colour: Color) -> Option<u8> {
    Some(match colour {
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::White | Color::Gray => 7,
        _ => return None,
    })
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What is shown of this test program on a terminal of its own, where it runs a test that is ignored else; what the
    /// terminal is like then comes last.
    fn on_a_terminal(test: &str) -> String {
        let program = std::env::current_exe().unwrap();
        let line =
            format!("'{}' --ignored --exact screens::terminal::tests::{test} --nocapture; stty -a", program.display());
        let output = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
        String::from_utf8_lossy(&output.expect("`make tools` installs script").stdout).into_owned()
    }

    #[test]
    #[ignore = "run by the next test, on a terminal"]
    fn the_screens_panic() {
        let _borrowed = Borrowed::new().unwrap();
        panic!("of the screens");
    }

    #[test]
    #[ignore = "run by the next test but one, on a terminal"]
    fn a_job_panics() {
        let borrowed = Borrowed::new().unwrap();
        assert!(thread::spawn(|| panic!("of a job")).join().is_err());
        print!("the screens go on");
        drop(borrowed);
    }

    /// Where these texts stand, each behind the one before.
    fn check_order(shown: &str, texts: &[&str]) {
        let mut rest = shown;
        for text in texts {
            rest = rest.split_once(text).unwrap_or_else(|| panic!("{text:?} is not in {rest:?} of {shown:?}")).1;
        }
    }

    const TAKEN: &str = "\x1b[?1049h";
    const GIVEN_BACK: &str = "\x1b[?1049l";
    const AS_BEFORE: [&str; 3] = [" icanon", " echo ", "\n"];

    #[test]
    fn a_panic_of_the_screens_gives_the_terminal_back_and_is_readable() {
        let shown = on_a_terminal("the_screens_panic");
        check_order(&shown, &[&[TAKEN, GIVEN_BACK, "of the screens"][..], &AS_BEFORE].concat());
    }

    #[test]
    fn a_panic_of_a_job_is_told_when_the_terminal_is_given_back() {
        let shown = on_a_terminal("a_job_panics");
        check_order(&shown, &[&[TAKEN, "the screens go on", GIVEN_BACK, "of a job"][..], &AS_BEFORE].concat());
    }

    /// A verification that runs, in Japanese, whose letters take most bytes.
    fn running() -> tui::State {
        let look = tui::Look { has_colours: true, drawing: tui::Drawing::Unicode };
        let settings = tui::Settings { can_draw_kanji: true, ..tui::Settings::default() };
        let mut state = tui::State::new(tui::Language::Japanese, look, settings);
        let mut press = |keys: &[tui::Key]| keys.iter().for_each(|key| drop(state.on(tui::Event::Key(*key))));
        press(&[tui::Key::Enter]);
        press(&[tui::Key::Down; 4]);
        press(&[tui::Key::Enter, tui::Key::Enter, tui::Key::Character('n'), tui::Key::Enter, tui::Key::Character('e')]);
        press(&[tui::Key::Down, tui::Key::Down, tui::Key::Enter]);
        let image = tui::Image::new("node".into(), tui::ImageState::Whole);
        state.on(tui::Event::Opened(tui::Repository { exists: true, images: vec![image], ..Default::default() }));
        state.on(tui::Event::Key(tui::Key::Enter));
        assert!(state.is_working());
        state
    }

    /// Bytes a second that are sent while a minute of work is shown, in the largest ten seconds; `happens` at each tick.
    fn bytes_a_second(happens: impl Fn(u64) -> Vec<session::Event>) -> usize {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let mut taken = Taken::remote(near, (80, 24)).unwrap();
        let mut state = running();
        let began = session::Event::Began { phase: session::Phase::Verify, total: 1 << 40 };
        state.on(tui::Event::Session(began));
        let mut sent = Vec::new();
        for tick in 0..120 {
            happens(tick).into_iter().for_each(|event| drop(state.on(tui::Event::Session(event))));
            state.on(tui::Event::Tick(tick * 500));
            taken.draw(&state).unwrap();
            let mut bytes = vec![0; 1 << 16];
            sent.push(io::Read::read(&mut far, &mut bytes).unwrap_or_default());
        }
        // The first picture is drawn whole.
        sent[1..].windows(20).map(|ticks| ticks.iter().sum::<usize>() / 10).max().unwrap()
    }

    fn progress(tick: u64) -> Vec<session::Event> {
        let done = tick * 60_000_000 + (tick % 7) * 9_000_000;
        let busy = session::Event::Busy { disk: tick * 300, processor: tick * 170 + tick % 9 * 20, target: tick * 499 };
        vec![session::Event::Progress { done }, busy]
    }

    #[test]
    fn work_that_is_shown_sends_at_most_2_kib_a_second() {
        let usual = bytes_a_second(progress);
        assert!((100..2048).contains(&usual), "{usual} bytes a second");
        // Nothing but bad sectors.
        let bad = bytes_a_second(|tick| {
            let extent = serde_json::json!([tick * 1_048_576, 1_048_576]);
            let event = |name: &str| serde_json::json!({ "event": name, "disk": "sda", "extent": extent });
            let told = ["retrying", "unreadable"].map(|name| serde_json::from_value(event(name)).unwrap());
            progress(tick).into_iter().chain(told).collect()
        });
        assert!((100..2048).contains(&bad), "{bad} bytes a second, {usual} where all is well");
    }

    #[test]
    fn colours_are_the_sixteen_of_every_terminal() {
        assert_eq!(select((Color::White, Color::Blue, Modifier::BOLD)), "\x1b[0;1;37;44m");
        assert_eq!(select((Color::Reset, Color::Reset, Modifier::REVERSED)), "\x1b[0;7m");
    }

    #[test]
    fn what_stands_side_by_side_is_sent_in_one_piece() {
        let mut backend = Plain::default();
        let mut cells = [Cell::default(), Cell::default(), Cell::default()];
        cells[0].set_symbol("蘇");
        cells[1].set_symbol("a");
        cells[2].set_symbol("b");
        let [wide, a, b] = &cells;
        backend.draw([(0, 0, wide), (2, 0, a), (9, 0, b)].into_iter()).unwrap();
        assert_eq!(String::from_utf8(backend.bytes).unwrap(), "\x1b[1;1H蘇a\x1b[1;10Hb");
    }
}
