//! Where the time goes: how long threads have worked at each stage, measured while they work.
//!
//! A stage that holds up the others is busy all the time, and the others wait for it: its clock goes as fast as that on
//! the wall. Nothing is derived from rates or sizes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::progress::{Event, Observer};

/// Observers are told so often at most.
const INTERVAL: Duration = Duration::from_millis(500);

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading or writing a disk.
    Disk,
    /// Digests, compression, decompression.
    Processor,
    /// Reading or writing the target, with the network before it.
    Target,
    /// Making stable what was written to the target, in threads beside the one that writes.
    Finish,
}

/// A clock that several threads wind.
#[derive(Debug)]
struct Clock {
    nanoseconds: AtomicU64,
    threads: u64,
}

impl Clock {
    fn new(threads: usize) -> Self {
        Self { nanoseconds: AtomicU64::new(0), threads: u64::try_from(threads).unwrap_or(1).max(1) }
    }

    /// Milliseconds that each of its threads has worked, on average.
    fn milliseconds(&self) -> u64 {
        let all = self.nanoseconds.load(Ordering::Relaxed) / 1_000_000;
        all.checked_div(self.threads).unwrap_or_default()
    }
}

/// The clocks of all stages.
#[derive(Debug)]
pub struct Stages {
    disk: Clock,
    processor: Clock,
    target: Clock,
    finish: Clock,
    told: Mutex<Option<Instant>>,
}

impl Stages {
    /// With so many threads at disk, processor and target.
    pub fn new(disk: usize, processor: usize, target: usize) -> Self {
        let [disk, processor, target, finish] = [disk, processor, target, 1].map(Clock::new);
        Self { disk, processor, target, finish, told: Mutex::new(None) }
    }

    /// The same with so many threads that make stable what was written, not one.
    #[must_use]
    pub fn finishing_with(self, threads: usize) -> Self {
        Self { finish: Clock::new(threads), ..self }
    }

    fn clock(&self, stage: Stage) -> &Clock {
        match stage {
            Stage::Disk => &self.disk,
            Stage::Processor => &self.processor,
            Stage::Target => &self.target,
            Stage::Finish => &self.finish,
        }
    }

    /// Does something, and counts how long it took.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = work();
        let nanoseconds = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.clock(stage).nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
        done
    }

    /// What the clocks show.
    pub fn event(&self) -> Event {
        let target = self.target.milliseconds().max(self.finish.milliseconds());
        Event::Busy { disk: self.disk.milliseconds(), processor: self.processor.milliseconds(), target }
    }

    /// Tells an observer now and then.
    pub fn tell(&self, observer: &dyn Observer) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|told| now.duration_since(told) < INTERVAL) {
            return;
        }
        *told = Some(now);
        drop(told);
        observer.notify(self.event());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_has_a_clock_and_threads_share_it() {
        let stages = Stages::new(2, 1, 1);
        let wait = |stage| stages.time(stage, || std::thread::park_timeout(Duration::from_millis(20)));
        wait(Stage::Disk);
        wait(Stage::Finish);
        let Event::Busy { disk, processor, target } = stages.event() else { panic!() };
        assert_eq!(processor, 0);
        assert!((9..target).contains(&disk) && target >= 19, "two threads: {disk} of {target}");
    }

    #[test]
    fn observers_are_not_told_too_often() {
        struct Count(AtomicU64);
        impl Observer for Count {
            fn notify(&self, _: Event) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (stages, count) = (Stages::new(1, 1, 1), Count(AtomicU64::new(0)));
        let began = Instant::now();
        (0..1000).for_each(|_| stages.tell(&count));
        let most = u64::try_from(began.elapsed().as_millis()).unwrap() / 500 + 1;
        assert!((1..=most).contains(&count.0.into_inner()));
    }
}
