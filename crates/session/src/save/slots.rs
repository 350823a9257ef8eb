//! The memory that batches live in.
//!
//! A fixed number of slots goes round, so memory is bounded. The one that was given back last is taken first: where
//! the processors are the limit few are in use at a time, and those stay in the processors' caches. The others serve
//! while a target or a disk is slow for a moment.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use block::AlignedBuffer;

/// Memory of one batch: new memory for each would cost as much as hashing it.
pub struct Slot {
    /// The bytes of the source.
    pub bytes: AlignedBuffer,
    /// The records of new chunks, one after the other.
    pub records: Vec<u8>,
}

/// The slots that nobody uses.
pub struct Slots {
    free: Mutex<Free>,
    changed: Condvar,
}

struct Free {
    slots: Vec<Slot>,
    is_closed: bool,
    /// Those who wait for one.
    #[cfg(test)]
    waiting: usize,
}

/// Gives slots back. When it goes, nobody waits for a slot any more.
pub struct Returns<'a>(&'a Slots);

impl Slots {
    /// So many slots, each for a batch of up to `length` bytes.
    pub fn new(number: usize, length: usize) -> Self {
        let slots = (0..number).map(|_| Slot { bytes: AlignedBuffer::new(length), records: Vec::new() }).collect();
        let free = Free {
            slots,
            is_closed: false,
            #[cfg(test)]
            waiting: 0,
        };
        Self { free: Mutex::new(free), changed: Condvar::new() }
    }

    /// The way back. There must be one of them.
    pub fn returns(&self) -> Returns<'_> {
        Returns(self)
    }

    /// Waits for a slot. `None` when no more come back.
    pub fn take(&self) -> Option<Slot> {
        let mut free = self.free();
        loop {
            if free.is_closed {
                return None;
            }
            if let Some(slot) = free.slots.pop() {
                return Some(slot);
            }
            #[cfg(test)]
            {
                free.waiting += 1;
            }
            free = self.changed.wait(free).unwrap_or_else(PoisonError::into_inner);
            #[cfg(test)]
            {
                free.waiting -= 1;
            }
        }
    }

    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Returns<'_> {
    /// Gives a slot back.
    pub fn give(&self, slot: Slot) {
        self.0.free().slots.push(slot);
        self.0.changed.notify_one();
    }
}

impl Drop for Returns<'_> {
    fn drop(&mut self) {
        self.0.free().is_closed = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn the_slot_that_was_used_last_is_used_again() {
        let slots = Slots::new(3, 4096);
        let returns = slots.returns();
        let (mut first, second) = (slots.take().unwrap(), slots.take().unwrap());
        first.records.push(1);
        returns.give(second);
        returns.give(first);
        assert_eq!(slots.take().unwrap().records, [1]);
    }

    #[test]
    fn nobody_waits_for_a_slot_that_can_not_come() {
        const LIMIT: Duration = Duration::from_secs(60);
        let slots = Arc::new(Slots::new(1, 4096));
        let returns = slots.returns();
        let _only = slots.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        let taker = slots.clone();
        thread::spawn(move || sender.send(taker.take().is_none()));
        let began = Instant::now();
        while slots.free().waiting == 0 {
            assert!(began.elapsed() < LIMIT, "nobody waits");
            thread::yield_now();
        }
        drop(returns);
        let told = receiver.recv_timeout(LIMIT);
        // Nobody is left behind where the test fails.
        slots.free().is_closed = true;
        slots.changed.notify_all();
        assert_eq!(told, Ok(true));
    }
}
