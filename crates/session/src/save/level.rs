//! Choosing the zstd level while a save runs.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// Which zstd level to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As low as the target needs to be kept busy, as high as the processors allow.
    Auto,
    /// This one, from 1 to 19.
    Fixed(i32),
}

/// Below level 1 are zstd's fast modes; under -3 they gain hardly any speed on the contents of disks.
const LOWEST: i32 = -3;
/// Above 9 a processor core delivers less than even a slow network takes.
const HIGHEST: i32 = 9;
/// Batches between two changes: the queues need that long to show what the last one did.
const PATIENCE: u32 = 16;

/// The level that all encoders of a session use.
///
/// The queue before the writer is full where the target is the slowest part: then there is time to
/// compress better. The queue before the encoders is full, and the writer waits, where compression
/// is the slowest: then it should cost less.
pub struct LevelControl {
    level: AtomicI32,
    batches: AtomicU32,
    is_fixed: bool,
}

impl LevelControl {
    /// Starts at the fixed level, or at 1.
    pub fn new(level: Level) -> Self {
        let (start, is_fixed) = match level {
            Level::Auto => (1, false),
            Level::Fixed(level) => (level, true),
        };
        Self { level: start.into(), batches: 0.into(), is_fixed }
    }

    /// The level for the next batch, given how full the queues are, in percent.
    pub fn next(&self, before_encoders: usize, before_writer: usize) -> i32 {
        let level = self.level.load(Ordering::Relaxed);
        if self.is_fixed || !self.batches.fetch_add(1, Ordering::Relaxed).is_multiple_of(PATIENCE) {
            return level;
        }
        let level = match (before_encoders, before_writer) {
            (_, 75..) => level.saturating_add(1),
            (75.., ..25) => level.saturating_sub(1),
            _ => level,
        };
        let level = level.clamp(LOWEST, HIGHEST);
        self.level.store(level, Ordering::Relaxed);
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(control: &LevelControl, batches: u32, before_encoders: usize, before_writer: usize) -> i32 {
        (0..batches).map(|_| control.next(before_encoders, before_writer)).last().unwrap_or_default()
    }

    #[test]
    fn a_slow_target_raises_the_level_and_slow_processors_lower_it() {
        let control = LevelControl::new(Level::Auto);
        assert_eq!(after(&control, 1000, 100, 100), HIGHEST);
        assert_eq!(after(&control, 1000, 100, 0), LOWEST);
        assert_eq!(after(&control, 1000, 50, 50), LOWEST, "balanced queues change nothing");
    }

    #[test]
    fn a_fixed_level_stays() {
        let control = LevelControl::new(Level::Fixed(3));
        assert_eq!(after(&control, 1000, 100, 100), 3);
    }
}
