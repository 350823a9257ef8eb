//! Locks on stores that have none of their own: NFS, SMB, object storage.
//!
//! A lock NAME consists of two small files in `locks/`. `NAME.gN.lock` names the owner and is published, so that
//! only one session can make it. `NAME.gN.beat` is rewritten by the owner, again and again: it is the sign of life.
//! Of several numbers N the highest counts. Whoever finds a lock watches its beat by its own clock, which need not
//! agree with any other: if the beat changes twice, the owner lives and the lock is held (one change may be a beat that
//! was under way when its owner ended); if it does not change for the whole lease, the owner is gone, and the lock of
//! the next number is published. So a crashed session blocks nobody.
//!
//! Both sides write first and look afterwards: the owner renews its beat and then looks for a higher number; the
//! other publishes the higher number and then looks at the beat. Whatever the order, at least one sees the other
//! and steps back. An owner that could not renew in time, because its link was down, writes nothing before it has
//! made sure that the lock is still its own ([`Leases::fence`]).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use image::{Lock, Store, StoreError, StoreErrorKind, StoreResult, read_all};

use crate::patience::{Contact, Line};

/// Where the files of locks are.
pub const LOCKS_DIRECTORY: &str = "locks";
/// Each try loses only against a session that began or ended at the same instant.
const TRIES: u32 = 20;
/// No file of a lock is larger.
const SIZE_LIMIT: u64 = 4096;

/// How long the parts of a lease are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    /// The owner renews its beat this often.
    pub beat: Duration,
    /// After this time since the last renewal the owner writes nothing before it has renewed.
    pub trusted: Duration,
    /// A beat that does not change for this long is that of nobody. Well above `trusted`.
    pub lease: Duration,
}

impl LeaseTimes {
    /// For so long after a renewal nobody can have taken over.
    fn safe(&self) -> Duration {
        self.lease.saturating_sub(self.beat)
    }
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self { beat: Duration::from_secs(5), trusted: Duration::from_secs(25), lease: Duration::from_secs(60) }
    }
}

/// The locks that this process holds on one store.
#[derive(Default)]
pub struct Leases {
    times: LeaseTimes,
    held: Mutex<Vec<Weak<Held>>>,
}

impl Leases {
    /// No lock is held yet.
    pub fn new(times: LeaseTimes) -> Self {
        Self { times, held: Mutex::default() }
    }

    /// Takes the lock `name` on `store`. Where somebody has it already, the answer takes until that one shows a
    /// sign of life, or the whole lease.
    ///
    /// # Errors
    /// `Locked` where its owner lives; errors of the store.
    pub fn lock(&self, store: Arc<dyn Store>, line: &Line, name: &str) -> StoreResult<Box<dyn Lock>> {
        let owner = Owner::new();
        for _ in 0..TRIES {
            let Some(present) = highest(&*store, name)? else {
                if let Some(held) = self.publish(&store, name, 1, &owner, None)? {
                    return Ok(Box::new(Lease(held)));
                }
                continue;
            };
            match self.watch(&*store, line, name, present)? {
                Watched::Alive => return Err(locked(&*store, name)),
                Watched::Changed => {}
                Watched::Dead(dead) => {
                    if let Some(held) = self.publish(&store, name, present.saturating_add(1), &owner, Some(&dead))? {
                        return Ok(Box::new(Lease(held)));
                    }
                }
            }
        }
        Err(locked(&*store, name))
    }

    /// Makes sure that all locks are still held by this process, before `path` is written: a session that was cut
    /// off for long must not go on where another has taken over.
    ///
    /// # Errors
    /// `Locked` where a lock was lost; errors of the store.
    pub fn fence(&self, path: &str) -> StoreResult<()> {
        // The files of the locks themselves are how this is found out.
        if path.starts_with(LOCKS_DIRECTORY) {
            return Ok(());
        }
        let held = self.present();
        held.iter().try_for_each(|lock| lock.make_sure())
    }

    /// Whether all locks were renewed lately enough to write without asking. Waits for nothing.
    ///
    /// # Errors
    /// `Locked` where a lock was lost.
    pub fn is_trusted(&self) -> StoreResult<bool> {
        let held = self.present();
        held.iter().try_fold(true, |all, lock| Ok(all && lock.is_fresh(lock.times.safe())?))
    }

    /// The locks that are held. One that was let go may live a moment longer, in the thread that showed its beats.
    fn present(&self) -> Vec<Arc<Held>> {
        let held = guard(&self.held);
        held.iter().filter_map(Weak::upgrade).filter(|lock| !*guard(&lock.end.0)).collect()
    }

    /// Publishes the lock of `number` and makes sure that nobody else has it. `None` where somebody was faster.
    fn publish(
        &self,
        store: &Arc<dyn Store>,
        name: &str,
        number: u64,
        owner: &Owner,
        dead: Option<&Sign>,
    ) -> StoreResult<Option<Arc<Held>>> {
        let asked = Instant::now();
        match store.publish(&lock_path(name, number), owner.text.as_bytes()) {
            Err(error) if error.kind == StoreErrorKind::AlreadyExists => return Ok(None),
            other => other?,
        }
        // Now that everybody can see it: has the former owner moved, or somebody else begun?
        let has_moved = match dead {
            Some(dead) => {
                let sign = sign_of(&**store, name, dead.number)?;
                sign.owner.is_some() && sign != *dead
            }
            None => false,
        };
        if has_moved || highest(&**store, name)? != Some(number) {
            store.remove(&lock_path(name, number))?;
            return Ok(None);
        }
        for old in numbers(&**store, name)?.into_iter().filter(|old| *old < number) {
            remove(&**store, name, old)?;
        }
        let held = Arc::new(Held {
            store: store.clone(),
            name: name.to_owned(),
            number,
            owner: owner.text.clone(),
            times: self.times.clone(),
            state: Mutex::new(HeldState { renewed: asked, beats: 0, is_lost: false }),
            renewing: Mutex::new(()),
            end: (Mutex::new(false), Condvar::new()),
        });
        held.renew()?;
        let mut all = guard(&self.held);
        all.retain(|lock| lock.strong_count() > 0);
        all.push(Arc::downgrade(&held));
        drop(all);
        let beating = Arc::downgrade(&held);
        let beat = self.times.beat;
        // The thread ends with the lock; a process that ends takes it along, and its beat stops.
        std::thread::Builder::new()
            .name("beat".into())
            .spawn(move || keep_beating(&beating, beat))
            .map_err(|error| store_error(&**store, name, StoreErrorKind::Io, error))?;
        Ok(Some(held))
    }

    /// Watches the lock of `number` until it shows a sign of life, changes, or has shown none for the lease.
    fn watch(&self, store: &dyn Store, line: &Line, name: &str, number: u64) -> StoreResult<Watched> {
        let first = sign_of(store, name, number)?;
        let Some(owner) = &first.owner else { return Ok(Watched::Changed) };
        // On the same machine nothing needs to be watched.
        if Owner::is_dead(owner) {
            return Ok(Watched::Dead(first));
        }
        let mut seen = Instant::now();
        (line.watch().report)(Contact::LockWatched { name: name.to_owned(), at_most: self.times.lease });
        let (mut last, mut is_moved) = (first, false);
        loop {
            let cancelled = |fault: crate::Fault| fault.at("locking", store.location(), &lock_path(name, number));
            line.wait(self.times.beat.checked_div(4).unwrap_or_default()).map_err(cancelled)?;
            // Looked at the clock first: a slow answer must not make a beat look older than it is.
            let looked = Instant::now();
            let sign = sign_of(store, name, number)?;
            if sign.owner != last.owner || highest(store, name)? != Some(number) {
                return Ok(Watched::Changed);
            }
            if sign == last {
                if looked.saturating_duration_since(seen) >= self.times.lease {
                    return Ok(Watched::Dead(last));
                }
                continue;
            }
            // One beat may have been on its way when its owner ended, and reach the file long after that; the
            // moment in which it is empty, because it is rewritten, is no beat of its own.
            let is_whole = sign.beat.as_ref().is_some_and(|beat| !beat.is_empty());
            if is_whole && is_moved {
                return Ok(Watched::Alive);
            }
            is_moved |= is_whole;
            (last, seen) = (sign, looked);
        }
    }
}

/// What watching a lock has shown.
enum Watched {
    /// Its owner lives.
    Alive,
    /// It is no longer the same lock.
    Changed,
    /// Its owner is gone; this was its last sign.
    Dead(Sign),
}

/// What can be seen of a lock.
#[derive(Debug, PartialEq, Eq)]
struct Sign {
    number: u64,
    owner: Option<Vec<u8>>,
    beat: Option<Vec<u8>>,
}

fn sign_of(store: &dyn Store, name: &str, number: u64) -> StoreResult<Sign> {
    let owner = read(store, &lock_path(name, number))?;
    Ok(Sign { number, owner, beat: read(store, &beat_path(name, number))? })
}

fn read(store: &dyn Store, path: &str) -> StoreResult<Option<Vec<u8>>> {
    match read_all(store, path, SIZE_LIMIT) {
        // While it is rewritten it is shorter for a moment.
        Err(error) if error.kind == StoreErrorKind::Truncated => Ok(Some(Vec::new())),
        Err(error) if error.kind == StoreErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

fn lock_path(name: &str, number: u64) -> String {
    format!("{LOCKS_DIRECTORY}/{name}.g{number}.lock")
}

fn beat_path(name: &str, number: u64) -> String {
    format!("{LOCKS_DIRECTORY}/{name}.g{number}.beat")
}

/// The numbers under which a lock is there.
fn numbers(store: &dyn Store, name: &str) -> StoreResult<Vec<u64>> {
    let number_of = |file: &str| file.strip_prefix(name)?.strip_prefix(".g")?.strip_suffix(".lock")?.parse().ok();
    Ok(store.list(LOCKS_DIRECTORY)?.iter().filter_map(|entry| number_of(&entry.name)).collect())
}

fn highest(store: &dyn Store, name: &str) -> StoreResult<Option<u64>> {
    Ok(numbers(store, name)?.into_iter().max())
}

/// Removes the beat first: a lock without one is still a lock, a beat without a lock is nothing.
fn remove(store: &dyn Store, name: &str, number: u64) -> StoreResult<()> {
    store.remove(&beat_path(name, number))?;
    store.remove(&lock_path(name, number))
}

fn locked(store: &dyn Store, name: &str) -> StoreError {
    store_error(store, name, StoreErrorKind::Locked, std::io::ErrorKind::WouldBlock.into())
}

fn store_error(store: &dyn Store, name: &str, kind: StoreErrorKind, source: std::io::Error) -> StoreError {
    let path = format!("{LOCKS_DIRECTORY}/{name}");
    StoreError { kind, location: store.location(), path, operation: "locking", source }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who has a lock: a random number, and where its process can be found.
struct Owner {
    text: String,
}

impl Owner {
    fn new() -> Self {
        let mut random = [0_u8; 16];
        // Without random numbers the process and the time still tell owners apart.
        if getrandom::fill(&mut random).is_err() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            random = now.as_nanos().to_le_bytes();
        }
        let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let process = Process::own().map_or_else(String::new, |process| process.to_string());
        Self { text: format!("owner {random}\nhost {host}\nprocess {process}\n") }
    }

    /// Whether `text` names a process of this machine, since it was started last, that has ended.
    fn is_dead(text: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(text) else { return false };
        let Some(named) = text.lines().find_map(|line| line.strip_prefix("process ")) else { return false };
        let Some(own) = Process::own() else { return false };
        let Some((pid, machine)) = named.split_once(' ').and_then(|(pid, rest)| Some((pid, rest.split_once(' ')?.1)))
        else {
            return false;
        };
        let (Ok(pid), true) = (pid.parse::<u32>(), machine == own.machine) else { return false };
        Process::of(pid).is_none_or(|found| found.to_string() != named)
    }
}

/// A process: its number, when it started, and the machine, its start and its space of process numbers.
#[derive(PartialEq, Eq)]
struct Process {
    pid: u32,
    started: String,
    machine: String,
}

impl Process {
    fn own() -> Option<Self> {
        Self::of(std::process::id())
    }

    fn of(pid: u32) -> Option<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let space = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name of the program stands in brackets and may hold anything; the start is field 22.
        let mut fields = status.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        if matches!(state, "Z" | "X") {
            return None;
        }
        let started = fields.nth(18)?.to_owned();
        Some(Self { pid, started, machine: format!("{} {}", boot.trim(), space.display()) })
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} {}", self.pid, self.started, self.machine)
    }
}

/// A lock that this process has.
struct Held {
    store: Arc<dyn Store>,
    name: String,
    number: u64,
    owner: String,
    times: LeaseTimes,
    state: Mutex<HeldState>,
    /// One renews at a time.
    renewing: Mutex<()>,
    end: (Mutex<bool>, Condvar),
}

struct HeldState {
    /// When the last renewal that was confirmed had begun.
    renewed: Instant,
    beats: u64,
    is_lost: bool,
}

impl Held {
    /// Renews where the last renewal is too old to be trusted.
    fn make_sure(&self) -> StoreResult<()> {
        for _ in 0..TRIES {
            if self.is_fresh(self.times.trusted)? {
                return Ok(());
            }
            let renewing = guard(&self.renewing);
            // Somebody else has just done it, it may be.
            if !self.is_fresh(self.times.trusted)? {
                self.renew_alone()?;
            }
            drop(renewing);
            // A renewal that waited for its server for nearly the whole lease may be followed by a takeover at any
            // moment: only one that was quick enough allows to write.
            if self.is_fresh(self.times.safe())? {
                return Ok(());
            }
        }
        let error = std::io::Error::other(format!("the lock could not be renewed in time in {TRIES} tries"));
        Err(store_error(&*self.store, &self.name, StoreErrorKind::Unreachable, error))
    }

    fn is_fresh(&self, at_most: Duration) -> StoreResult<bool> {
        let state = guard(&self.state);
        if state.is_lost { Err(locked(&*self.store, &self.name)) } else { Ok(state.renewed.elapsed() < at_most) }
    }

    fn renew(&self) -> StoreResult<()> {
        let _renewing = guard(&self.renewing);
        self.renew_alone()
    }

    /// Shows a sign of life, and looks whether the lock is still this one's.
    fn renew_alone(&self) -> StoreResult<()> {
        if *guard(&self.end.0) {
            return Ok(());
        }
        let began = Instant::now();
        let beats = {
            let mut state = guard(&self.state);
            state.beats = state.beats.saturating_add(1);
            state.beats
        };
        let mut beat = self.store.create(&beat_path(&self.name, self.number))?;
        beat.write(format!("beat {beats}\n").as_bytes())?;
        beat.sync()?;
        let is_highest = highest(&*self.store, &self.name)? == Some(self.number);
        let owner = read(&*self.store, &lock_path(&self.name, self.number))?;
        let is_own = owner.as_deref() == Some(self.owner.as_bytes());
        let mut state = guard(&self.state);
        if is_highest && is_own {
            state.renewed = began;
            return Ok(());
        }
        state.is_lost = true;
        drop(state);
        if !is_own {
            // The beat that was just written belongs to nobody.
            self.store.remove(&beat_path(&self.name, self.number))?;
        }
        Err(locked(&*self.store, &self.name))
    }
}

/// Renews the lock until it ends.
fn keep_beating(lock: &Weak<Held>, beat: Duration) {
    while let Some(held) = lock.upgrade() {
        let ended = guard(&held.end.0);
        let (ended, _) = held.end.1.wait_timeout(ended, beat).unwrap_or_else(PoisonError::into_inner);
        if *ended {
            return;
        }
        drop(ended);
        // A fault is seen by whoever writes next; the lock may still be renewed in time.
        if held.renew().is_err_and(|error| error.kind == StoreErrorKind::Locked) {
            return;
        }
    }
}

/// A lock that ends with this value.
struct Lease(Arc<Held>);

impl Lock for Lease {
    fn confirm(&self) -> StoreResult<()> {
        self.0.renew()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let held = &self.0;
        // No beat may be written after it was removed.
        let renewing = guard(&held.renewing);
        *guard(&held.end.0) = true;
        held.end.1.notify_all();
        drop(renewing);
        let is_lost = guard(&held.state).is_lost;
        if !is_lost {
            // A lock that stays ends by itself.
            let _ = remove(&*held.store, &held.name, held.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use image::MemoryStore;

    use super::*;
    use crate::patience::{Patience, Watch};

    fn times(lease: u64) -> LeaseTimes {
        LeaseTimes {
            beat: Duration::from_millis(10),
            trusted: Duration::from_millis(lease / 3),
            lease: Duration::from_millis(lease),
        }
    }

    fn line() -> Line {
        Line::new(Patience::default(), Watch::default())
    }

    fn lock(leases: &Leases, store: &MemoryStore, name: &str) -> StoreResult<Box<dyn Lock>> {
        leases.lock(Arc::new(store.clone()), &line(), name)
    }

    fn kind(result: StoreResult<Box<dyn Lock>>) -> Option<StoreErrorKind> {
        result.err().map(|error| error.kind)
    }

    fn write(store: &MemoryStore, path: &str, text: &str) {
        store.create(path).unwrap().write(text.as_bytes()).unwrap();
    }

    #[test]
    fn a_lock_is_held_by_one_and_leaves_nothing_behind() {
        let (store, leases) = (MemoryStore::new(), Leases::new(times(60_000)));
        let first = lock(&leases, &store, "save-a").unwrap();
        first.confirm().unwrap();
        assert_eq!(kind(lock(&Leases::new(times(60_000)), &store, "save-a")), Some(StoreErrorKind::Locked));
        assert!(lock(&leases, &store, "save-a.g1").is_ok(), "another name is another lock");
        drop(first);
        assert_eq!(store.paths(), []);
        assert!(lock(&leases, &store, "save-a").is_ok());
    }

    #[test]
    fn the_lock_of_a_dead_process_of_another_machine_ends_after_its_lease() {
        let store = MemoryStore::new();
        write(&store, "locks/save-a.g3.lock", "owner 1\nhost x\nprocess 1 2 other-boot pid:[1]\n");
        write(&store, "locks/save-a.g3.beat", "beat 77\n");
        let (leases, began) = (Leases::new(times(150)), Instant::now());
        let taken = lock(&leases, &store, "save-a").unwrap();
        assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
        let paths: Vec<_> = store.paths().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["locks/save-a.g4.beat", "locks/save-a.g4.lock"]);
        taken.confirm().unwrap();
    }

    #[test]
    fn one_late_beat_is_no_sign_of_life_and_two_are() {
        let store = MemoryStore::new();
        write(&store, "locks/save-a.g1.lock", "owner 1\nprocess 1 2 other-boot pid:[1]\n");
        write(&store, "locks/save-a.g1.beat", "beat 7\n");
        // The beats come when the watcher says that it watches, and as often as it looks.
        let line = |beats: u64| {
            let (late, came) = (store.clone(), AtomicU64::new(0));
            let is_cancelled = move || {
                let came = came.fetch_add(1, Ordering::SeqCst);
                if came < beats {
                    write(&late, "locks/save-a.g1.beat", &format!("beat {}\n", came + 8));
                }
                false
            };
            Line::new(Patience::default(), Watch { is_cancelled: Arc::new(is_cancelled), ..Watch::default() })
        };
        let leases = Leases::new(times(1000));
        let try_with = |beats| kind(leases.lock(Arc::new(store.clone()), &line(beats), "save-a"));
        assert_eq!(try_with(u64::MAX), Some(StoreErrorKind::Locked));
        assert_eq!(try_with(1), None);
    }

    #[test]
    fn the_lock_of_a_dead_process_of_this_machine_ends_at_once() {
        let store = MemoryStore::new();
        let own = Process::own().unwrap();
        // The number of this process, but started at another time.
        write(&store, "locks/save-a.g1.lock", &format!("owner 1\nprocess {} 1 {}\n", own.pid, own.machine));
        let taken = lock(&Leases::new(times(3_600_000)), &store, "save-a").unwrap();
        taken.confirm().unwrap();
    }

    #[test]
    fn an_owner_that_was_taken_over_knows_it_and_writes_nothing() {
        let (store, leases) = (MemoryStore::new(), Leases::new(times(60_000)));
        let slow = Leases::new(LeaseTimes { beat: Duration::from_secs(3600), ..times(30) });
        let first = lock(&slow, &store, "save-a").unwrap();
        slow.fence("packs/x").unwrap();
        // Another machine sees no beat for its lease.
        let text = store_text(&store, "locks/save-a.g1.lock").replace("process ", "process 0 ");
        store.publish("locks/save-a.g2.lock", text.as_bytes()).unwrap();
        while slow.held.lock().unwrap()[0].upgrade().unwrap().is_fresh(Duration::from_millis(10)).unwrap() {
            std::thread::yield_now();
        }
        assert_eq!(slow.fence("packs/x").unwrap_err().kind, StoreErrorKind::Locked);
        assert_eq!(first.confirm().unwrap_err().kind, StoreErrorKind::Locked);
        drop(first);
        assert!(store.size("locks/save-a.g2.lock").is_ok(), "the loser does not take the winner's lock away");
        drop(leases);
    }

    fn store_text(store: &MemoryStore, path: &str) -> String {
        String::from_utf8(read_all(store, path, 1000).unwrap()).unwrap()
    }

    #[test]
    fn a_lock_that_was_removed_is_lost() {
        let (store, leases) = (MemoryStore::new(), Leases::new(times(60_000)));
        let first = lock(&leases, &store, "save-a").unwrap();
        store.remove("locks/save-a.g1.lock").unwrap();
        assert_eq!(first.confirm().unwrap_err().kind, StoreErrorKind::Locked);
        drop(first);
        // Somebody else begins again at 1: that is not the lock that was lost.
        let (old, new) = (lock(&leases, &store, "b").unwrap(), Leases::new(times(60_000)));
        store.remove("locks/b.g1.lock").unwrap();
        store.publish("locks/b.g1.lock", b"owner other\n").unwrap();
        assert_eq!(old.confirm().unwrap_err().kind, StoreErrorKind::Locked);
        drop((old, new));
        assert_eq!(store_text(&store, "locks/b.g1.lock"), "owner other\n");
    }

    #[test]
    fn a_lock_that_can_not_be_looked_at_is_not_called_lost() {
        let store = MemoryStore::new();
        let leases = Leases::new(LeaseTimes { beat: Duration::from_secs(3600), ..times(60_000) });
        let held = lock(&leases, &store, "save-a").unwrap();
        store.fail_at(1);
        assert_eq!(held.confirm().unwrap_err().kind, StoreErrorKind::Io);
        held.confirm().unwrap();
    }

    #[test]
    fn of_many_that_find_a_dead_lock_one_gets_it() {
        let store = MemoryStore::new();
        write(&store, "locks/save-a.g1.lock", "owner 1\nprocess 1 2 other-boot pid:[1]\n");
        // The owner beats a hundred times within it: a busy machine may be late with many of them.
        let leases = Leases::new(times(1000));
        let held = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| lock(&leases, &store, "save-a"))).collect();
            all.into_iter().map(|thread| thread.join().unwrap()).filter_map(Result::ok).collect::<Vec<_>>()
        });
        assert_eq!(held.len(), 1);
        held[0].confirm().unwrap();
    }

    #[test]
    fn a_former_owner_that_moves_after_all_keeps_its_lock() {
        let store = MemoryStore::new();
        write(&store, "locks/save-a.g1.lock", "owner 1\nprocess 1 2 other-boot pid:[1]\n");
        let leases = Leases::new(times(50));
        let dead = sign_of(&store, "save-a", 1).unwrap();
        write(&store, "locks/save-a.g1.beat", "beat 2\n");
        let store: Arc<dyn Store> = Arc::new(store);
        assert!(leases.publish(&store, "save-a", 2, &Owner::new(), Some(&dead)).unwrap().is_none());
        assert_eq!(numbers(&*store, "save-a").unwrap(), [1]);
    }
}
