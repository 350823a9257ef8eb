//! Patience with a target in the network: links break, servers restart, and a save goes on all the same.
//!
//! This is the only place where something is tried again. A store describes one try; [`Line::run`] repeats it
//! with growing pauses while the fault is one that can pass, tells the operator, and gives up in the end. One
//! [`Line`] is shared by everything that talks to one server, so that a lost contact is told once, and is given
//! up once.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use image::{StoreError, StoreErrorKind};

/// How soon a wait notices that the operator wants to stop.
pub const TICK: Duration = Duration::from_millis(50);
/// A contact that is back within this time was never worth a line to the operator.
const QUIET: Duration = Duration::from_secs(1);
/// How often a long wait is told again.
const RETOLD: Duration = Duration::from_secs(15);

/// How long to wait for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The pause after the first fault. Each further one is twice as long.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// After this time without contact the work ends.
    pub give_up_after: Duration,
    /// The same for all that is needed to open a target: a wrong address is told soon.
    pub first_contact: Duration,
    /// The longest that one call waits for its answer. After it the connection counts as broken.
    pub call_deadline: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            give_up_after: Duration::from_secs(300),
            first_contact: Duration::from_secs(8),
            call_deadline: Duration::from_secs(60),
        }
    }
}

/// What the operator is told about the way to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contact {
    /// The server does not answer any more. It is tried again.
    Lost {
        /// What was being done, as "writing".
        operation: &'static str,
        /// What the system said, in English.
        error: String,
        /// How long it is tried at most.
        give_up_after: Duration,
    },
    /// It still does not answer.
    StillLost {
        /// For how long.
        lost_for: Duration,
        /// How long it is tried still.
        left: Duration,
    },
    /// It answers again, and the work goes on.
    Back {
        /// How long it did not.
        lost_for: Duration,
    },
    /// Another session has a lock: for at most this long it is watched for signs of life.
    LockWatched {
        /// Name of the lock.
        name: String,
        /// How long.
        at_most: Duration,
    },
}

/// Who is told about the way to a target, and how it is learned that the operator wants to stop.
#[derive(Clone)]
pub struct Watch {
    /// Called from any thread; must return soon.
    pub report: Arc<dyn Fn(Contact) + Send + Sync>,
    /// Whether the operator wants to stop: ends every wait.
    pub is_cancelled: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Default for Watch {
    /// Nobody is told, and nobody stops.
    fn default() -> Self {
        Self { report: Arc::new(|_| {}), is_cancelled: Arc::new(|| false) }
    }
}

/// Why one try of an operation failed.
#[derive(Debug)]
pub struct Fault {
    /// The kind, for the operator and for those who act on it.
    pub kind: StoreErrorKind,
    /// What the system said.
    pub source: io::Error,
    /// Whether waiting can mend it: a broken connection yes, a wrong password no.
    pub can_pass: bool,
}

impl Fault {
    /// One that stays however long one waits.
    pub fn lasting(kind: StoreErrorKind, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { kind, source: io::Error::other(source), can_pass: false }
    }

    /// One that stays, of the kind of the error.
    pub fn of(source: io::Error) -> Self {
        Self { kind: (&source).into(), source, can_pass: false }
    }

    /// One that passes when the server or the link comes back.
    pub fn passing(source: io::Error) -> Self {
        Self { kind: StoreErrorKind::Unreachable, source, can_pass: true }
    }

    /// The operator wanted to stop.
    pub fn cancelled() -> Self {
        Self { kind: StoreErrorKind::Cancelled, source: io::ErrorKind::Interrupted.into(), can_pass: false }
    }

    /// The same as the error of a store.
    pub fn at(self, operation: &'static str, location: String, path: &str) -> StoreError {
        StoreError { kind: self.kind, location, path: path.to_owned(), operation, source: self.source }
    }
}

/// The way to one server, shared by all threads that use it.
pub struct Line {
    patience: Patience,
    watch: Watch,
    made: Instant,
    is_open: AtomicBool,
    state: Mutex<State>,
}

/// Since when there has been no answer, and what the operator knows of it.
#[derive(Default)]
struct State {
    lost: Option<Instant>,
    told: Option<Instant>,
    last_answer: Option<Instant>,
}

impl Line {
    /// A way that has not been gone yet.
    pub fn new(patience: Patience, watch: Watch) -> Self {
        Self { patience, watch, made: Instant::now(), is_open: AtomicBool::new(false), state: Mutex::default() }
    }

    /// The target is open: from now on it is waited for as long as for work that is under way.
    pub fn opened(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// How long this line waits.
    pub fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Who is told.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Whether the operator wants to stop.
    pub fn is_cancelled(&self) -> bool {
        (self.watch.is_cancelled)()
    }

    /// The longest that a call which begins now may wait for its answer: less while the target is being opened.
    pub fn call_deadline(&self) -> Duration {
        self.patience.call_deadline.min(self.time_left(Duration::ZERO))
    }

    /// Does one operation, again and again while its fault can pass. `attempt` must be harmless when repeated
    /// after a try whose answer was lost; it is told the number of the try, from 0.
    ///
    /// # Errors
    /// The first fault that stays; `Unreachable` where the server did not come back in time; `Cancelled` where
    /// the operator did not want to wait.
    pub fn run<T>(
        &self,
        operation: &'static str,
        mut attempt: impl FnMut(u32) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut first_fault: Option<Instant> = None;
        let mut pause = self.patience.first_pause;
        for number in 0.. {
            // Work that is stopped still ends in order where the server answers; it does not wait for one.
            if self.is_cancelled() && self.is_lost() {
                return Err(Fault::cancelled());
            }
            let fault = match attempt(number) {
                Err(fault) if fault.can_pass => fault,
                Err(fault) if fault.kind == StoreErrorKind::Cancelled => return Err(fault),
                // A refusal is an answer too.
                other => {
                    self.answered();
                    return other;
                }
            };
            let now = Instant::now();
            let first = *first_fault.get_or_insert(now);
            let lost_for = now.duration_since(first).max(self.lost(operation, &fault.source));
            if self.is_cancelled() {
                return Err(Fault::cancelled());
            }
            let left = self.time_left(lost_for);
            if left.is_zero() {
                let text = format!("no answer for {} s: {}", lost_for.as_secs(), fault.source);
                return Err(Fault::lasting(StoreErrorKind::Unreachable, text));
            }
            self.wait(pause.min(left))?;
            pause = pause.saturating_mul(2).min(self.patience.longest_pause);
        }
        Err(Fault::cancelled())
    }

    /// Waits, but not longer than the operator wants to.
    ///
    /// # Errors
    /// `Cancelled`.
    pub fn wait(&self, time: Duration) -> Result<(), Fault> {
        let began = Instant::now();
        loop {
            if self.is_cancelled() {
                return Err(Fault::cancelled());
            }
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
        }
    }

    /// Takes note that a call has had no answer for longer than usual, though it may still come.
    pub fn is_slow(&self, operation: &'static str, waited: Duration) {
        // Another connection to the same server may be well.
        if self.state().last_answer.is_some_and(|answer| answer.elapsed() < waited) {
            return;
        }
        let text = format!("no answer for {} s", waited.as_secs());
        self.lost(operation, &io::Error::new(io::ErrorKind::TimedOut, text));
    }

    /// Takes note that the server answers.
    pub fn answered(&self) {
        let mut state = self.state();
        state.last_answer = Some(Instant::now());
        let (lost, told) = (state.lost.take(), state.told.take());
        drop(state);
        if let (Some(lost), Some(_)) = (lost, told) {
            (self.watch.report)(Contact::Back { lost_for: lost.elapsed() });
        }
    }

    fn is_lost(&self) -> bool {
        self.state().lost.is_some()
    }

    /// How long a server is tried still that has been lost for `lost_for`.
    fn time_left(&self, lost_for: Duration) -> Duration {
        if self.is_open.load(Ordering::Relaxed) {
            self.patience.give_up_after.saturating_sub(lost_for)
        } else {
            self.patience.first_contact.saturating_sub(self.made.elapsed())
        }
    }

    /// Takes note of a fault; returns for how long there has been no contact.
    fn lost(&self, operation: &'static str, error: &io::Error) -> Duration {
        let now = Instant::now();
        let mut state = self.state();
        let lost_for = now.duration_since(*state.lost.get_or_insert(now));
        let contact = match state.told {
            None if lost_for < QUIET && error.kind() != io::ErrorKind::TimedOut => return lost_for,
            Some(told) if now.duration_since(told) < RETOLD => return lost_for,
            None => Contact::Lost { operation, error: error.to_string(), give_up_after: self.time_left(lost_for) },
            Some(_) => Contact::StillLost { lost_for, left: self.time_left(lost_for) },
        };
        state.told = Some(now);
        drop(state);
        (self.watch.report)(contact);
        lost_for
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quick() -> Patience {
        Patience {
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(4),
            give_up_after: Duration::from_millis(60),
            first_contact: Duration::from_millis(20),
            call_deadline: Duration::from_secs(1),
        }
    }

    /// Gives up nothing within a test, however long a busy machine lets it wait for a processor.
    fn lasting() -> Patience {
        Patience { give_up_after: Duration::from_secs(3600), ..quick() }
    }

    fn timed_out() -> io::Error {
        io::ErrorKind::TimedOut.into()
    }

    /// A line that keeps what it tells.
    fn line(patience: Patience) -> (Line, Arc<Mutex<Vec<Contact>>>, Arc<AtomicBool>) {
        let (told, cancelled) = (Arc::<Mutex<Vec<Contact>>>::default(), Arc::new(AtomicBool::new(false)));
        let (to, flag) = (told.clone(), cancelled.clone());
        let watch = Watch {
            report: Arc::new(move |contact| to.lock().unwrap().push(contact)),
            is_cancelled: Arc::new(move || flag.load(Ordering::Relaxed)),
        };
        let line = Line::new(patience, watch);
        line.opened();
        (line, told, cancelled)
    }

    #[test]
    fn a_fault_that_passes_is_tried_again_and_told() {
        let (line, told, _) = line(lasting());
        let done = line.run("writing", |number| if number < 3 { Err(Fault::passing(timed_out())) } else { Ok(number) });
        assert_eq!(done.unwrap(), 3);
        let told = told.lock().unwrap();
        assert!(matches!(told[..], [Contact::Lost { operation: "writing", .. }, Contact::Back { .. }]), "{told:?}");
    }

    #[test]
    fn what_waiting_does_not_mend_is_not_tried_again() {
        let (line, told, _) = line(quick());
        for kind in [StoreErrorKind::Denied, StoreErrorKind::NoSpace, StoreErrorKind::NotFound, StoreErrorKind::Login] {
            let mut tries = 0;
            let failed = line.run("writing", |_| -> Result<(), Fault> {
                tries += 1;
                Err(Fault::lasting(kind, "no"))
            });
            assert_eq!((failed.unwrap_err().kind, tries), (kind, 1));
        }
        assert!(told.lock().unwrap().is_empty());
    }

    #[test]
    fn a_target_that_does_not_open_is_given_up_sooner() {
        let patience = Patience { give_up_after: Duration::from_secs(3600), ..quick() };
        let line = Line::new(patience, Watch::default());
        // One part of the server answers, another does not: that is not open yet.
        line.run("connecting", |_| Ok(())).unwrap();
        assert!(line.call_deadline() <= Duration::from_millis(20));
        let failed = line.run("connecting", |_| -> Result<(), Fault> { Err(Fault::passing(timed_out())) }).unwrap_err();
        assert_eq!(failed.kind, StoreErrorKind::Unreachable);
        assert!(failed.source.to_string().starts_with("no answer for 0 s: "), "{}", failed.source);
    }

    #[test]
    fn a_server_that_is_given_up_is_not_waited_for_again() {
        let (line, _, _) = line(quick());
        let broken = || -> Result<(), Fault> { Err(Fault::passing(timed_out())) };
        line.run("writing", |_| broken()).unwrap_err();
        let mut tries = 0;
        let failed = line.run("renaming", |_| {
            tries += 1;
            broken()
        });
        assert_eq!((failed.unwrap_err().kind, tries), (StoreErrorKind::Unreachable, 1), "the time is that of the line");
    }

    #[test]
    fn the_operator_ends_a_wait() {
        let patience = Patience { first_pause: Duration::from_secs(3600), give_up_after: Duration::MAX, ..quick() };
        let (line, _, cancelled) = line(Patience { longest_pause: Duration::from_secs(3600), ..patience });
        let failed = line.run("writing", |number| -> Result<(), Fault> {
            assert_eq!(number, 0);
            let cancelled = cancelled.clone();
            std::thread::spawn(move || cancelled.store(true, Ordering::Relaxed));
            Err(Fault::passing(timed_out()))
        });
        assert_eq!(failed.unwrap_err().kind, StoreErrorKind::Cancelled);
        let mut tries = 0;
        let failed = line.run("renaming", |_| -> Result<(), Fault> {
            tries += 1;
            Ok(())
        });
        assert_eq!(
            (failed.unwrap_err().kind, tries),
            (StoreErrorKind::Cancelled, 0),
            "nothing waits for a lost server"
        );
    }

    #[test]
    fn work_that_is_stopped_ends_in_order_while_the_server_answers() {
        let (line, _, cancelled) = line(quick());
        cancelled.store(true, Ordering::Relaxed);
        assert_eq!(line.run("renaming", |_| Ok(7)).unwrap(), 7);
    }

    #[test]
    fn a_short_fault_is_not_told() {
        let (line, told, _) = line(lasting());
        let reset = || Fault::passing(io::ErrorKind::ConnectionReset.into());
        line.run("writing", |number| if number == 0 { Err(reset()) } else { Ok(()) }).unwrap();
        assert!(told.lock().unwrap().is_empty());
    }
}
