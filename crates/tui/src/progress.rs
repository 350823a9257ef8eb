//! How far the work is: counted from the events of a session and the ticks of a clock.

use std::collections::VecDeque;

use session::{Event, Phase};

use crate::data::{Note, Weight};
use crate::text::{Language, bytes, say};

/// Lines of the log that are kept.
const LOG_LIMIT: usize = 500;
/// Rates that are kept for the graph.
const RATES_LIMIT: usize = 240;
/// The rate "now" is that of the last samples: of about five seconds.
const SAMPLES_LIMIT: usize = 10;

/// How far the work is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Which part of the work; `None` before the first.
    pub phase: Option<Phase>,
    /// Bytes, or packs, to go through.
    pub total: u64,
    /// How many are done.
    pub done: u64,
    /// Disk and region.
    pub region: Option<String>,
    /// What was told, oldest first.
    pub log: VecDeque<Note>,
    /// Where the target does not answer.
    pub contact: Option<String>,
    /// Rates of the graph in bytes a second, oldest first.
    pub rates: VecDeque<u64>,
    /// Sectors that could not be read, in bytes.
    pub unreadable: u64,
    now: u64,
    began: Option<u64>,
    phase_began: u64,
    samples: VecDeque<(u64, u64)>,
}

impl Progress {
    /// Time goes on.
    pub fn tick(&mut self, now: u64) {
        self.began.get_or_insert(now);
        if self.samples.is_empty() {
            self.phase_began = now;
        }
        self.now = now;
        if self.phase.is_none() {
            return;
        }
        self.samples.push_back((now, self.done));
        if self.samples.len() > SAMPLES_LIMIT {
            self.samples.pop_front();
        }
        if let Some(rate) = self.rate() {
            self.rates.push_back(rate);
            if self.rates.len() > RATES_LIMIT {
                self.rates.pop_front();
            }
        }
    }

    /// Takes note of what a session tells.
    pub fn session(&mut self, event: &Event, language: Language) {
        match event {
            Event::Began { phase, total } => {
                self.phase = Some(*phase);
                self.total = *total;
                self.done = 0;
                self.region = None;
                self.samples.clear();
                self.rates.clear();
            }
            Event::Region { disk, region } => self.region = Some(format!("{disk}:{region}")),
            Event::Progress { done } => self.done = self.done.max(*done),
            Event::Resumed { stored } => {
                self.note(Weight::Good, say!(language, "progress.resumed", bytes = bytes(*stored)));
            }
            Event::Unreadable { disk, extent } => {
                self.unreadable = self.unreadable.saturating_add(extent.length());
                let (offset, length) = (extent.start(), extent.length());
                let text = say!(language, "progress.unreadable", disk = disk, offset = offset, length = length);
                self.note(Weight::Warning, text);
            }
            Event::Space { available, most } => {
                let available = bytes(*available);
                let text = match most {
                    Some(most) => say!(language, "progress.space", available = available, most = bytes(*most)),
                    None => say!(language, "progress.space_ends", available = available),
                };
                self.note(Weight::Warning, text);
            }
            Event::Warning { text } => self.note(Weight::Warning, text.clone()),
        }
    }

    /// Adds a line to the log.
    pub fn note(&mut self, weight: Weight, text: String) {
        self.log.push_back(Note::new(weight, text));
        if self.log.len() > LOG_LIMIT {
            self.log.pop_front();
        }
    }

    /// Whether it counts bytes.
    pub fn counts_bytes(&self) -> bool {
        self.phase != Some(Phase::Index)
    }

    /// Hundredths that are done.
    pub fn percent(&self) -> u64 {
        let percent = u128::from(self.done).saturating_mul(100).checked_div(u128::from(self.total));
        percent.and_then(|percent| u64::try_from(percent).ok()).unwrap_or_default().min(100)
    }

    /// Bytes a second in the last seconds.
    pub fn rate(&self) -> Option<u64> {
        let (first, last) = (self.samples.front()?, self.samples.back()?);
        per_second(last.1.saturating_sub(first.1), last.0.saturating_sub(first.0))
    }

    /// Bytes a second since this part of the work began.
    pub fn average(&self) -> Option<u64> {
        per_second(self.done, self.now.saturating_sub(self.phase_began))
    }

    /// Seconds since the work began.
    pub fn elapsed(&self) -> u64 {
        self.began.map_or(0, |began| self.now.saturating_sub(began) / 1000)
    }

    /// Seconds that are left, as far as anybody knows.
    pub fn left(&self) -> Option<u64> {
        // The first seconds tell little.
        if self.now.saturating_sub(self.phase_began) < 3000 {
            return None;
        }
        self.total.saturating_sub(self.done).checked_div(self.average()?)
    }
}

fn per_second(count: u64, milliseconds: u64) -> Option<u64> {
    count.saturating_mul(1000).checked_div(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_clock() {
        let mut progress = Progress::default();
        progress.tick(1000);
        progress.session(&Event::Began { phase: Phase::Save, total: 100_000 }, Language::English);
        for second in 1..=20 {
            progress.tick(second * 1000);
            progress.session(&Event::Progress { done: second * 1000 }, Language::English);
        }
        progress.tick(21_000);
        assert_eq!(progress.rate(), Some(1000));
        assert_eq!(progress.average(), Some(1000));
        assert_eq!((progress.elapsed(), progress.left(), progress.percent()), (20, Some(80), 20));
    }

    #[test]
    fn nothing_is_told_before_it_is_known() {
        let mut progress = Progress::default();
        progress.tick(5000);
        assert_eq!((progress.rate(), progress.average(), progress.left(), progress.percent()), (None, None, None, 0));
        progress.session(&Event::Began { phase: Phase::Save, total: 0 }, Language::English);
        progress.tick(5000);
        assert_eq!((progress.rate(), progress.left(), progress.percent()), (None, None, 0));
    }

    #[test]
    fn the_log_has_a_limit() {
        let mut progress = Progress::default();
        for number in 0..2000 {
            progress.note(Weight::Plain, number.to_string());
            progress.tick(number);
        }
        assert_eq!(progress.log.len(), LOG_LIMIT);
        assert!(progress.rates.len() <= RATES_LIMIT);
    }
}
