//! What happened while something was done, kept for its report.

use std::sync::{Arc, Mutex, PoisonError};

use repository::Contact;
use session::{Event, Observer};

use crate::language::t;
use crate::machine;
use crate::operator::{Operator, Reporter};
use crate::output::bytes;
use crate::progress::{contact_text, text_of};

/// A report has an end, however bad a disk is.
const LINES_LIMIT: usize = 1000;

/// Passes on what happens, and remembers what is worth being read later.
pub struct Account {
    to: Arc<dyn Reporter>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// Each with the time.
    happenings: Vec<(String, Happening)>,
    /// What came after the limit.
    more: u64,
    retries: u64,
    recovered_bytes: u64,
    losses: u64,
}

enum Happening {
    Event(Event),
    Contact(Contact),
}

impl Account {
    /// Of what is told to an operator.
    pub fn of(operator: &dyn Operator) -> Arc<Self> {
        Arc::new(Self { to: operator.reporter(), told: Mutex::default() })
    }

    /// How often reading a disk failed and was tried again, and how often the target did not answer; nothing where that
    /// never was.
    pub fn counts(&self) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        if told.retries > 0 {
            lines.push(t!("report.retries", count = told.retries).into_owned());
        }
        if told.recovered_bytes > 0 {
            lines.push(t!("report.recovered", size = bytes(told.recovered_bytes)).into_owned());
        }
        if told.losses > 0 {
            lines.push(t!("report.losses", count = told.losses).into_owned());
        }
        lines
    }

    /// What happened, with the times.
    pub fn lines(&self) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let text = |happening: &Happening| match happening {
            Happening::Event(event) => text_of(event).unwrap_or_default(),
            Happening::Contact(contact) => contact_text(contact),
        };
        let lines = told.happenings.iter().map(|(time, happening)| format!("{time}  {}", text(happening)));
        let more = (told.more > 0).then(|| t!("report.more", count = told.more).into_owned());
        lines.chain(more).collect()
    }

    fn keep(&self, told: &mut Told, happening: Happening) {
        if told.happenings.len() < LINES_LIMIT {
            told.happenings.push((machine::now(), happening));
        } else {
            told.more = told.more.saturating_add(1);
        }
    }
}

impl Observer for Account {
    fn notify(&self, event: Event) {
        let is_kept = matches!(
            event,
            Event::Resumed { .. }
                | Event::Space { .. }
                | Event::Retrying { .. }
                | Event::Recovered { .. }
                | Event::Unreadable { .. }
                | Event::Warning { .. }
        );
        if is_kept {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            match &event {
                Event::Retrying { .. } => told.retries = told.retries.saturating_add(1),
                Event::Recovered { extent, .. } => {
                    told.recovered_bytes = told.recovered_bytes.saturating_add(extent.length());
                }
                _ => {}
            }
            self.keep(&mut told, Happening::Event(event.clone()));
        }
        self.to.notify(event);
    }
}

impl Reporter for Account {
    fn contact(&self, contact: &Contact) {
        // That it is still away only says again what was said.
        if !matches!(contact, Contact::StillLost { .. }) {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(contact, Contact::Lost { .. }) {
                told.losses = told.losses.saturating_add(1);
            }
            self.keep(&mut told, Happening::Contact(contact.clone()));
        }
        self.to.contact(contact);
    }

    fn finish(&self) {
        self.to.finish();
    }
}
