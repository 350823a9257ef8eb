//! Showing progress on standard error: a bar for people, lines of JSON for programs.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::language::t;
use indicatif::{ProgressBar, ProgressStyle};
use repository::Contact;
use serde_json::{Value, json};
use session::{Event, Observer, Phase};

use crate::arguments::{General, ProgressKind};
use crate::operator::Reporter;
use crate::output::{bytes, error_line};

/// Programs are told twice a second how far the work is: more would only be read and thrown away.
const JSON_INTERVAL: Duration = Duration::from_millis(500);
const TICK: Duration = Duration::from_millis(500);
const TEMPLATE: &str =
    "{msg} {elapsed} {wide_bar} {percent:>3}% {bytes:>10}/{total_bytes} {binary_bytes_per_sec} {eta}";

const COUNTING_TEMPLATE: &str = "{msg} {elapsed} {wide_bar} {percent:>3}% {pos}/{len} {eta}";

/// Shows what a session tells.
pub struct Progress {
    kind: ProgressKind,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bar: Option<ProgressBar>,
    phase: String,
    last_json: Option<Instant>,
}

impl Progress {
    /// Shows progress as asked for.
    pub fn new(general: &General) -> Arc<Self> {
        let kind = match general.progress {
            ProgressKind::Auto if std::io::stderr().is_terminal() => ProgressKind::Bar,
            ProgressKind::Auto => ProgressKind::None,
            kind => kind,
        };
        Arc::new(Self { kind, state: Mutex::default() })
    }

    fn print_json(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the time goes is told seldom enough already.
        if matches!(event, Event::Progress { .. }) {
            let now = Instant::now();
            if state.last_json.is_some_and(|last| now.duration_since(last) < JSON_INTERVAL) {
                return;
            }
            state.last_json = Some(now);
        }
        error_line(serde_json::to_string(event).unwrap_or_default());
    }

    fn draw(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Began { phase, total } => {
                if let Some(bar) = state.bar.take() {
                    bar.finish_and_clear();
                }
                let template = if phase == Phase::Index { COUNTING_TEMPLATE } else { TEMPLATE };
                let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
                let bar = ProgressBar::new(total).with_style(style);
                state.phase = phase_name(phase);
                bar.set_message(state.phase.clone());
                // The clock goes on while a slow disk answers nothing.
                bar.enable_steady_tick(TICK);
                state.bar = Some(bar);
            }
            Event::Region { disk, region, .. } => {
                if let Some(bar) = &state.bar {
                    bar.set_message(format!("{} {disk}:{region}", state.phase));
                }
            }
            Event::Progress { done } => {
                if let Some(bar) = &state.bar {
                    bar.set_position(done);
                }
            }
            Event::Busy { .. } => {}
            told => text_of(&told).iter().for_each(|text| state.print(text)),
        }
    }
}

impl State {
    /// Prints a line that stays, above the bar.
    fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| error_line(text)),
            None => error_line(text),
        }
    }
}

impl Reporter for Progress {
    /// A lost contact is told also where no progress is wanted.
    fn contact(&self, contact: &Contact) {
        if self.kind == ProgressKind::Json {
            error_line(contact_event(contact).to_string());
            return;
        }
        let text = contact_text(contact);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state.bar, contact) {
            // It only says again what the line above the bar says already.
            (Some(bar), Contact::StillLost { .. }) => bar.set_message(text),
            (Some(bar), Contact::Back { .. }) => {
                bar.set_message(state.phase.clone());
                state.print(&text);
            }
            _ => state.print(&text),
        }
    }

    /// Takes the bar away.
    fn finish(&self) {
        if let Some(bar) = self.state.lock().unwrap_or_else(PoisonError::into_inner).bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Progress {
    fn notify(&self, event: Event) {
        match self.kind {
            ProgressKind::Json => self.print_json(&event),
            ProgressKind::Bar => self.draw(event),
            // What was lost is told also where no progress is wanted: it is no progress.
            ProgressKind::None | ProgressKind::Auto => {
                // That something is tried again is told when it is known what came of it.
                if !matches!(event, Event::Retrying { .. }) {
                    let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    text_of(&event).iter().for_each(|text| state.print(text));
                }
            }
        }
    }
}

/// What an operator is told of an event; nothing where it only says how far the work is.
pub fn text_of(event: &Event) -> Option<String> {
    let text = match event {
        Event::Began { .. } | Event::Region { .. } | Event::Progress { .. } | Event::Busy { .. } => return None,
        Event::Space { available, most: Some(most) } => {
            t!("progress.space", available = bytes(*available), most = bytes(*most))
        }
        Event::Space { available, most: None } => t!("progress.space_ends", available = bytes(*available)),
        Event::Resumed { stored } => t!("progress.resumed", bytes = bytes(*stored)),
        Event::Retrying { disk, extent } => {
            t!("progress.retrying", disk = disk, length = extent.length(), offset = extent.start())
        }
        Event::Recovered { disk, extent, failures } => {
            let (length, offset) = (extent.length(), extent.start());
            t!("progress.recovered", disk = disk, length = length, offset = offset, failures = failures)
        }
        Event::Unreadable { disk, extent } => {
            t!("progress.unreadable", disk = disk, length = extent.length(), offset = extent.start())
        }
        Event::Warning { text } => t!("progress.warning", text = text),
    };
    Some(text.into_owned())
}

/// How the way to the target is, for programs. Times are whole seconds.
fn contact_event(contact: &Contact) -> Value {
    match contact {
        Contact::Lost { operation, error, give_up_after } => json!({
            "event": "target", "state": "lost", "operation": operation, "error": error,
            "give_up_after": give_up_after.as_secs(),
        }),
        Contact::StillLost { lost_for, left } => {
            json!({ "event": "target", "state": "lost", "lost_for": lost_for.as_secs(), "left": left.as_secs() })
        }
        Contact::Back { lost_for } => json!({ "event": "target", "state": "back", "lost_for": lost_for.as_secs() }),
        Contact::LockWatched { name, at_most } => {
            json!({ "event": "target", "state": "lock-watched", "lock": name, "at_most": at_most.as_secs() })
        }
    }
}

/// How the way to the target is, for people.
pub fn contact_text(contact: &Contact) -> String {
    let time = |time: &Duration| match time.as_secs_f64().ceil() {
        seconds if seconds < 60.0 => format!("{seconds} s"),
        seconds => format!("{} min", (seconds / 60.0).round()),
    };
    let text = match contact {
        Contact::Lost { error, give_up_after, .. } => {
            t!("progress.target_lost", details = error, time = time(give_up_after))
        }
        Contact::StillLost { lost_for, left } => {
            t!("progress.target_still_lost", time = time(lost_for), left = time(left))
        }
        Contact::Back { lost_for } => t!("progress.target_back", time = time(lost_for)),
        Contact::LockWatched { name, at_most } => {
            t!("progress.lock_watched", lock = name, time = time(at_most))
        }
    };
    text.into_owned()
}

fn phase_name(phase: Phase) -> String {
    let key = match phase {
        Phase::Survey => "phase.survey",
        Phase::Index => "phase.index",
        Phase::Save => "phase.save",
        Phase::Check => "phase.check",
        Phase::Restore => "phase.restore",
        Phase::ReadBack => "phase.read_back",
        Phase::Verify => "phase.verify",
        Phase::Compare => "phase.compare",
    };
    t!(key).into_owned()
}
