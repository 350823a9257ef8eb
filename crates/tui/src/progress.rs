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
    /// How often reading a disk failed and was tried again.
    pub retries: u64,
    /// How often the target did not answer.
    pub losses: u64,
    /// Bytes of the present region; 0 where nobody knows.
    region_total: u64,
    /// Bytes that were done when the present region began.
    region_began: u64,
    /// Busy times as they were told last, and those of the last samples.
    busy: Busy,
    busy_samples: VecDeque<(u64, Busy)>,
    now: u64,
    began: Option<u64>,
    phase_began: u64,
    samples: VecDeque<(u64, u64)>,
}

/// Milliseconds that the stages have worked.
type Busy = [u64; 3];

/// The stages of the work, in the order of [`Event::Busy`].
pub const STAGES: [&str; 3] = ["disk", "processor", "target"];

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
        self.busy_samples.push_back((now, self.busy));
        if self.samples.len() > SAMPLES_LIMIT {
            self.samples.pop_front();
            self.busy_samples.pop_front();
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
                self.busy_samples.clear();
                self.rates.clear();
            }
            Event::Region { disk, region, bytes } => {
                self.region = Some(format!("{disk}:{region}"));
                self.region_total = *bytes;
                self.region_began = self.done;
            }
            Event::Busy { disk, processor, target } => self.busy = [*disk, *processor, *target],
            Event::Progress { done } => self.done = self.done.max(*done),
            Event::Resumed { stored } => {
                self.note(Weight::Good, say!(language, "progress.resumed", bytes = bytes(*stored)));
            }
            Event::Retrying { disk, extent } => {
                self.retries = self.retries.saturating_add(1);
                let (offset, length) = (extent.start(), extent.length());
                let text = say!(language, "progress.retrying", disk = disk, offset = offset, length = length);
                self.note(Weight::Warning, text);
            }
            Event::Recovered { disk, extent, failures } => {
                let (offset, length) = (extent.start(), extent.length());
                let text = say!(
                    language,
                    "progress.recovered",
                    disk = disk,
                    offset = offset,
                    length = length,
                    failures = failures
                );
                self.note(Weight::Warning, text);
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

    /// Bytes of the present region that are done, and all of them; `None` where they are not counted.
    pub fn of_region(&self) -> Option<(u64, u64)> {
        let done = self.done.saturating_sub(self.region_began).min(self.region_total);
        (self.region_total > 0).then_some((done, self.region_total))
    }

    /// Hundredths of the last seconds that each stage has worked; `None` where nothing was measured.
    pub fn busy(&self) -> Option<[u64; 3]> {
        let ((began, first), (ended, last)) = (self.busy_samples.front()?, self.busy_samples.back()?);
        let time = ended.saturating_sub(*began);
        let mut shares = [0; 3];
        for (share, (first, last)) in shares.iter_mut().zip(first.iter().zip(last)) {
            *share = last.saturating_sub(*first).saturating_mul(100).checked_div(time)?.min(100);
        }
        (shares.iter().any(|share| *share > 0)).then_some(shares)
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
    fn the_slowest_stage_is_the_one_that_worked_all_the_time() {
        let mut progress = Progress::default();
        progress.session(&Event::Began { phase: Phase::Save, total: 100 }, Language::English);
        assert_eq!(progress.busy(), None);
        for second in 0..30_u64 {
            // The disk was busy at first, and has waited for the target since.
            let disk = 1000 * second.min(15);
            let target = 950 * second.saturating_sub(15);
            progress.session(&Event::Busy { disk, processor: 100 * second, target }, Language::English);
            progress.tick(second * 1000);
            if second == 10 {
                assert_eq!(progress.busy(), Some([100, 10, 0]));
            }
        }
        assert_eq!(progress.busy(), Some([0, 10, 95]));
    }

    #[test]
    fn a_region_counts_from_where_it_began() {
        let mut progress = Progress::default();
        progress.session(&Event::Began { phase: Phase::Save, total: 100 }, Language::English);
        let region = |name: &str, bytes| Event::Region { disk: "sda".into(), region: name.into(), bytes };
        progress.session(&region("p1", 30), Language::English);
        progress.session(&Event::Progress { done: 30 }, Language::English);
        assert_eq!(progress.of_region(), Some((30, 30)));
        progress.session(&region("p2", 70), Language::English);
        progress.session(&Event::Progress { done: 50 }, Language::English);
        assert_eq!(progress.of_region(), Some((20, 70)));
        progress.session(&region("p3", 0), Language::English);
        assert_eq!(progress.of_region(), None);
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
