//! The screens: the terminal on one side, the work on the other.
//!
//! This thread draws and reads what other threads send: keys, signals, and what the worker tells. The worker goes on
//! when the terminal goes; whoever starts the program again meanwhile is shown what it does ([`host`], [`visitor`]), and
//! afterwards how it ended. Without a terminal the program ends with the work.

mod frame;
mod host;
mod keys;
mod recorder;
mod runtime;
mod terminal;
mod views;
mod visitor;
mod worker;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use crate::language::t;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use session::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;
use tui::{Action, Drawing, Event, Head, Language, Look, Scope, Settings, State};

use self::frame::{Hello, Presence};
use self::host::Host;
use self::keys::{Input, Keys};
use self::recorder::Recorder;
use self::terminal::Taken;
use self::worker::{Answer, Job, Mailbox};
use crate::failure::{CANCELLED, DONE, Failure};
use crate::helper::helper;
use crate::{keyboard, language, machine, network, output, target};

/// What is drawn by itself is drawn twice a second at most: a serial line is slow.
const TICK: Duration = Duration::from_millis(500);
/// After so long an Escape was one. Bytes of one key come apart on slow consoles.
const ESCAPE: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };
/// Nothing is drawn by itself while nothing runs.
const IDLE: Duration = Duration::from_secs(3600);
/// A job that nobody wants any more closes its target within this time, or is left alone.
const PARTING: Duration = Duration::from_secs(10);

/// The number of the terminal that the program was started on.
const OWN: u64 = 0;

/// What reaches the thread of the screens.
pub enum Message {
    /// Something was typed.
    Input {
        /// At which terminal: [`OWN`], or the number of another.
        from: u64,
        /// What.
        input: Input,
    },
    /// A terminal has gone.
    Gone {
        /// Which.
        from: u64,
    },
    /// A terminal of another process wants to show the screens.
    Attached {
        /// Its number.
        from: u64,
        /// What it is.
        hello: Hello,
        /// Where it is drawn to.
        stream: UnixStream,
    },
    /// A terminal of another process has another size.
    Resized {
        /// Its number.
        from: u64,
        /// Columns.
        columns: u16,
        /// Lines.
        lines: u16,
    },
    /// A signal came.
    Signal(i32),
    /// A system on the disks says what this machine is called.
    Host(String),
    /// The worker tells something.
    Worker {
        /// Of which job.
        job: u64,
        /// What.
        event: Event,
        /// With what status the job ended; `None` where it goes on.
        status: Option<u8>,
    },
}

/// Whether somebody sits at a terminal.
pub fn can_open() -> bool {
    terminal::is_there()
}

/// Opens the screens, with files that hold disks beside those that are attached, and a file with passwords and keys.
/// Returns the exit status.
pub fn run(files: Vec<PathBuf>, credentials: Option<PathBuf>) -> Result<u8, Failure> {
    let system = |error: io::Error| Failure::from(session::Error::System(error));
    let directory = runtime::directory();
    let (look, settings) = (look(), settings());
    let hello = Hello { look, can_draw_kanji: settings.can_draw_kanji, size: terminal::columns_and_lines() };
    if let Some(directory) = &directory
        && let Some(status) = visitor::visit(directory, hello).map_err(system)?
    {
        return Ok(status);
    }
    let (sender, receiver) = mpsc::channel();
    let signals = Signals::new([SIGWINCH, SIGHUP, SIGTERM, SIGINT]).map_err(system)?;
    let terminal = Taken::new().map_err(system)?;
    listen(&sender, signals);
    // Without a door a job can't be shown again; it can be done all the same.
    let host = directory.as_ref().and_then(|directory| Host::open(directory, sender.clone()).ok());
    let (jobs, to_do) = mpsc::channel();
    let tells = sender;
    let host_seeker = settings.is_appliance.then(|| (tells.clone(), files.clone()));
    let (working, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        worker::run(&to_do, &tells, &files, credentials.as_deref());
        drop(working);
    });
    let (columns, lines) = hello.size;
    let head = Head { language: present_language(), look, settings, columns, lines };
    let mut screens = Screens {
        recorder: Recorder::open(&head),
        state: State::new(head.language, head.look, head.settings),
        terminal: Some(terminal),
        shown_at: OWN,
        receiver,
        jobs,
        current: None,
        number: 0,
        began: Instant::now(),
        host,
        host_seeker,
        directory,
    };
    if let Some(unseen) = screens.directory.as_deref().and_then(runtime::take_unseen) {
        screens.feed(unseen);
    }
    let status = screens.run();
    // A target that a job has mounted is unmounted; what was planned ends by itself.
    let _ = ended.recv_timeout(PARTING);
    Ok(status)
}

/// Threads for keys and signals. They end with the program.
fn listen(sender: &Sender<Message>, mut signals: Signals) {
    let to = sender.clone();
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if to.send(Message::Signal(signal)).is_err() {
                break;
            }
        }
    });
    let to = sender.clone();
    std::thread::spawn(move || {
        let _ = read_keys(&to);
        let _ = to.send(Message::Gone { from: OWN });
    });
}

/// Reads keys until the terminal has gone.
fn read_keys(to: &Sender<Message>) -> io::Result<()> {
    let stdin = io::stdin();
    let mut keys = Keys::default();
    let mut bytes = [0; 1024];
    let send =
        |input| to.send(Message::Input { from: OWN, input }).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    loop {
        let mut waited = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut waited, keys.is_waiting().then_some(&ESCAPE)) {
            Ok(0) => {
                keys.pause().map(send).transpose()?;
                continue;
            }
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        match rustix::io::read(&stdin, &mut bytes) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                for input in keys.feed(bytes.get(..length).unwrap_or_default()) {
                    send(input)?;
                }
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Colours where nothing speaks against them; plain characters where the locale is not UTF-8, or asks for them.
fn look() -> Look {
    let terminal = variable("TERM").unwrap_or_default();
    let has_colours = variable("NO_COLOR").is_none() && !matches!(terminal.as_str(), "" | "dumb" | "vt100" | "vt102");
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name)).unwrap_or_default();
    let is_utf8 = locale.to_lowercase().replace('-', "").ends_with("utf8");
    let is_plain = variable("SOSEI_ASCII").is_some() || !is_utf8;
    Look { has_colours, drawing: if is_plain { Drawing::Ascii } else { Drawing::Unicode } }
}

fn present_language() -> Language {
    match language::present() {
        language::Language::Ja => Language::Japanese,
        language::Language::En => Language::English,
    }
}

fn settings() -> Settings {
    let host = machine::record(Path::new(device::EFI_VARIABLES)).host_name.unwrap_or_default();
    let (targets, has_secret_target) = offered(&variable("SOSEI_TARGETS").unwrap_or_default());
    Settings {
        version: env!("CARGO_PKG_VERSION").into(),
        image: image_of(&host),
        host,
        can_draw_kanji: variable("TERM").is_none_or(|terminal| terminal != "linux"),
        is_appliance: variable("SOSEI_APPLIANCE").is_some(),
        keyboards: keyboard::layouts(),
        has_network: network::lease_script().is_some(),
        targets,
        has_secret_target,
    }
}

/// Targets to offer, without those that hold a secret, which would be shown and recorded; and whether there were any.
fn offered(targets: &str) -> (Vec<String>, bool) {
    let (secret, plain): (Vec<&str>, _) = targets.split_whitespace().partition(|text| target::has_secret(text));
    (plain.into_iter().map(str::to_owned).collect(), !secret.is_empty())
}

/// A name for a new image, made of the name of a machine and the date.
fn image_of(host: &str) -> String {
    let plain: String = host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    let plain = plain.trim_matches('-');
    let name = if plain.is_empty() { "server" } else { plain };
    let date = jiff::Timestamp::now().strftime("%Y%m%d").to_string();
    format!("{}-{date}", name.get(..40).unwrap_or(name))
}

/// The job that the screens wait for.
struct Current {
    number: u64,
    cancel: Cancel,
    answers: Sender<Answer>,
    mailbox: Arc<Mailbox>,
}

struct Screens {
    state: State,
    /// `None` when it has gone.
    terminal: Option<Taken>,
    /// The number of that terminal.
    shown_at: u64,
    receiver: Receiver<Message>,
    jobs: Sender<Job>,
    current: Option<Current>,
    number: u64,
    began: Instant,
    recorder: Recorder,
    host: Option<Host>,
    /// What the search for the machine's name needs, until it is under way.
    host_seeker: Option<(Sender<Message>, Vec<PathBuf>)>,
    /// Where other processes find this one.
    directory: Option<PathBuf>,
}

/// What ends the program.
enum End {
    Wanted,
    Status(u8),
}

impl Screens {
    fn run(mut self) -> u8 {
        self.draw();
        let mut next_tick = Instant::now();
        loop {
            let now = Instant::now();
            let wait = if self.state.is_running() { next_tick.saturating_duration_since(now) } else { IDLE };
            let end = match self.receiver.recv_timeout(wait) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    next_tick = now.checked_add(TICK).unwrap_or(now);
                    if self.state.is_running() {
                        self.fetch();
                        let time = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                        self.feed(Event::Tick(time));
                        self.draw();
                    }
                    None
                }
                Err(RecvTimeoutError::Disconnected) => Some(End::Wanted),
            };
            self.tell_presence();
            match end {
                None => {}
                Some(End::Wanted) => return self.part(DONE),
                Some(End::Status(status)) => return self.part(status),
            }
        }
    }

    /// Gives the terminal back, and ends what was only planned.
    fn part(mut self, status: u8) -> u8 {
        if let Some(current) = &self.current {
            current.cancel.cancel();
        }
        if let Some(terminal) = &mut self.terminal {
            terminal.end(status);
        }
        status
    }

    /// What happens goes to the recorder and to the screens.
    fn feed(&mut self, event: Event) -> Option<Action> {
        self.recorder.note(&self.state, &event);
        self.state.on(event)
    }

    /// Those who start the program again are told whether there is something to be shown.
    fn tell_presence(&self) {
        if let Some(host) = &self.host {
            let is_working = self.state.is_working() && self.current.is_some();
            host.tell(Presence { is_working, has_terminal: self.terminal.is_some() });
        }
    }

    /// Draws; a terminal that takes nothing has gone.
    fn draw(&mut self) {
        if let Some(terminal) = &mut self.terminal
            && terminal.draw(&self.state).is_err()
        {
            self.terminal = None;
        }
    }

    /// Tells the screens what has happened meanwhile.
    fn fetch(&mut self) {
        let events = self.current.as_ref().map(|current| current.mailbox.fetch()).unwrap_or_default();
        for event in events {
            self.feed(event);
        }
    }

    fn take(&mut self, message: Message) -> Option<End> {
        match message {
            // Who sees the screens types.
            Message::Input { from, .. } | Message::Resized { from, .. } if from != self.shown_at => None,
            Message::Input { input: Input::Key(key), .. } => {
                let action = self.feed(Event::Key(key));
                let end = action.and_then(|action| self.act(action));
                self.draw();
                end
            }
            Message::Input { input: Input::Cursor { line, column }, .. } => self.resize_to(column, line),
            Message::Resized { columns, lines, .. } => self.resize_to(columns, lines),
            Message::Attached { from, hello, stream } => {
                self.attach(from, hello, stream);
                None
            }
            Message::Signal(SIGWINCH) => {
                if let (OWN, Some(terminal)) = (self.shown_at, &mut self.terminal) {
                    let _ = terminal.resize();
                }
                self.draw();
                None
            }
            Message::Gone { from } if from == self.shown_at => self.leave_terminal(),
            Message::Signal(SIGHUP) if self.shown_at == OWN => self.leave_terminal(),
            Message::Gone { .. } | Message::Signal(SIGHUP) => None,
            // Whoever still sits where the screens were before wants to get rid of what stands there.
            Message::Signal(SIGINT) if self.shown_at != OWN => None,
            Message::Signal(_) => self.stop(),
            Message::Host(host) => {
                self.feed(Event::Named(image_of(&host)));
                None
            }
            Message::Worker { job, event, status } => self.tell(job, event, status),
        }
    }

    fn resize_to(&mut self, columns: u16, lines: u16) -> Option<End> {
        if let Some(terminal) = &mut self.terminal {
            let _ = terminal.resize_to(terminal::area(columns, lines));
        }
        self.draw();
        None
    }

    /// Another terminal shows the screens from now on; the one before is given back.
    fn attach(&mut self, from: u64, hello: Hello, stream: UnixStream) {
        let was_own = self.terminal.take().is_some() && self.shown_at == OWN;
        if was_own {
            output::line(t!("screens.moved"));
        }
        self.shown_at = from;
        self.terminal = Taken::remote(stream, hello.size).ok();
        self.state.use_terminal(hello.look, hello.can_draw_kanji);
        language::use_language(match self.state.language() {
            Language::English => language::Language::En,
            Language::Japanese => language::Language::Ja,
        });
        self.draw();
    }

    /// The terminal has gone. What runs goes on; what was only planned does not.
    fn leave_terminal(&mut self) -> Option<End> {
        self.terminal = None;
        if self.state.is_working() && self.current.is_some() { None } else { Some(End::Status(DONE)) }
    }

    /// Somebody wants the program to end: in order.
    fn stop(&mut self) -> Option<End> {
        match &self.current {
            Some(current) if self.state.is_working() => {
                current.cancel.cancel();
                // Its end is the end of the program.
                self.terminal = None;
                None
            }
            _ => Some(End::Status(CANCELLED)),
        }
    }

    fn tell(&mut self, job: u64, event: Event, status: Option<u8>) -> Option<End> {
        if self.current.as_ref().is_none_or(|current| current.number != job) {
            return None;
        }
        self.fetch();
        if let Some(status) = status {
            self.current = None;
            if self.terminal.is_none() {
                // Whoever comes next is told.
                if let Some(directory) = &self.directory {
                    let _ = runtime::keep_unseen(directory, &event);
                }
                return Some(End::Status(status));
            }
        }
        self.feed(event);
        self.draw();
        None
    }

    fn act(&mut self, action: Action) -> Option<End> {
        match action {
            Action::UseLanguage(wanted) => {
                language::use_language(match wanted {
                    Language::English => language::Language::En,
                    Language::Japanese => language::Language::Ja,
                });
                self.seek_host();
            }
            Action::UseKeyboard(layout) => {
                if let Err(failure) = keyboard::use_layout(&layout) {
                    self.feed(Event::Failed(views::failure(&failure)));
                }
            }
            Action::Scope(scope) => self.answer(Answer::Scope(match scope {
                Scope::OneNode => session::Scope::OneNode,
                Scope::AllNodes => session::Scope::AllNodes,
            })),
            Action::Words(typed) => self.answer(Answer::Words(typed)),
            Action::Go => self.answer(Answer::Go),
            Action::Cancel => self.current.iter().for_each(|current| current.cancel.cancel()),
            Action::Leave => {
                if let Some(current) = self.current.take() {
                    current.cancel.cancel();
                }
            }
            Action::Reboot => return self.power("reboot"),
            Action::PowerOff => return self.power("poweroff"),
            Action::Quit => return Some(End::Wanted),
            job => self.begin(job),
        }
        None
    }

    /// The medium has a name of its own. That of the machine is on its disks, and is looked for while the operator says
    /// where the image goes: on the one console that is used.
    fn seek_host(&mut self) {
        let Some((to, files)) = self.host_seeker.take() else { return };
        std::thread::spawn(move || {
            if let Some(host) = worker::host_on_disks(&files) {
                let _ = to.send(Message::Host(host));
            }
        });
    }

    fn answer(&self, answer: Answer) {
        if let Some(current) = &self.current {
            let _ = current.answers.send(answer);
        }
    }

    fn begin(&mut self, action: Action) {
        self.number = self.number.saturating_add(1);
        let (answers, answered) = mpsc::channel();
        let (cancel, mailbox) = (Cancel::new(), Arc::<Mailbox>::default());
        let job =
            Job { number: self.number, action, cancel: cancel.clone(), answers: answered, mailbox: mailbox.clone() };
        self.current = Some(Current { number: self.number, cancel, answers, mailbox });
        let _ = self.jobs.send(job);
    }

    fn power(&mut self, command: &str) -> Option<End> {
        match helper(command).status() {
            Ok(status) if status.success() => Some(End::Wanted),
            outcome => {
                let details = outcome.map_or_else(|error| error.to_string(), |status| status.to_string());
                let message = t!("failure.power", command = command, details = details);
                self.feed(Event::Failed(views::failure(&Failure::usage("power", &message))));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_with_a_secret_is_not_offered() {
        let plain = ["smb://games@nas/images?encryption=required", "nfs://nas/a?uid=x", "usb:BACKUP"];
        assert_eq!(offered(&plain.join(" \n")), (plain.map(str::to_owned).to_vec(), false));
        let secret = "smb://games:hunter2@nas/images smb://nas/images?password=hunter2 s3://key:hunter2@b /mnt";
        assert_eq!(offered(secret), (vec!["/mnt".to_owned()], true));
    }
}
