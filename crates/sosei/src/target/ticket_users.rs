//! Who uses the ticket that the program put into root's own cache: there is one cache, and there may be several sessions.
//!
//! Each session that uses the ticket holds a shared lock on one file, in which stands what the ticket is; the last one
//! takes the ticket away. The kernel ends the locks of a process that is killed: whoever finds the file without a lock, but
//! with a ticket in it, takes that away. A second file is the door: only one process at a time looks, asks for a ticket or
//! takes one away.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

const USERS: &str = "ticket";
const DOOR: &str = "ticket.door";
/// How soon an open door is noticed.
const TICK: Duration = Duration::from_millis(50);
/// What a ticket is fits into much less.
const LENGTH_LIMIT: u64 = 4096;

/// Whether the program has ever put a ticket there since the machine was started.
pub fn is_known(place: &Path) -> bool {
    std::fs::metadata(place.join(USERS)).is_ok_and(|file| file.len() > 0)
}

/// Inside the door; it is open for the next one when this value goes.
pub struct Inside {
    place: PathBuf,
    users: File,
    /// Whether no session uses the ticket.
    is_alone: bool,
    /// What the ticket is that the program put there; empty for none.
    ticket: String,
    _door: File,
}

impl Inside {
    /// Waits at the door; `None` where it stays shut for this time, or nobody wants to wait any more.
    pub fn enter(place: &Path, limit: Duration, is_wanted: impl Fn() -> bool) -> io::Result<Option<Self>> {
        Self::enter_after(place, limit, is_wanted, None)
    }

    /// The same for a session that does not use the ticket any more.
    fn enter_after(
        place: &Path,
        limit: Duration,
        is_wanted: impl Fn() -> bool,
        user: Option<File>,
    ) -> io::Result<Option<Self>> {
        DirBuilder::new().recursive(true).mode(0o700).create(place)?;
        let open = |name| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(place.join(name))
        };
        let door = open(DOOR)?;
        let began = Instant::now();
        while flock(&door, FlockOperation::NonBlockingLockExclusive).is_err() {
            if began.elapsed() >= limit || !is_wanted() {
                return Ok(None);
            }
            std::thread::sleep(TICK);
        }
        drop(user);
        let users = open(USERS)?;
        let is_alone = flock(&users, FlockOperation::NonBlockingLockExclusive).is_ok();
        let mut ticket = String::new();
        (&users).take(LENGTH_LIMIT).read_to_string(&mut ticket)?;
        Ok(Some(Self { place: place.to_owned(), users, is_alone, ticket, _door: door }))
    }

    /// Whether this is the ticket that the program put there.
    pub fn is_ours(&self, ticket: Option<&str>) -> bool {
        ticket.is_some_and(|ticket| ticket == self.ticket && !ticket.is_empty())
    }

    /// Takes away what nobody uses any more: not another ticket, which the operator has got meanwhile.
    pub fn clear(&mut self, present: impl FnOnce() -> Option<String>, destroy: impl FnOnce()) -> io::Result<()> {
        if !self.is_alone || self.ticket.is_empty() {
            return Ok(());
        }
        if self.is_ours(present().as_deref()) {
            destroy();
        }
        self.set("")
    }

    /// The program has put this ticket there.
    pub fn set(&mut self, ticket: &str) -> io::Result<()> {
        self.users.set_len(0)?;
        self.users.seek(SeekFrom::Start(0))?;
        self.users.write_all(ticket.as_bytes())?;
        self.ticket = ticket.to_owned();
        Ok(())
    }

    /// Uses the ticket from now on.
    pub fn stay(self) -> io::Result<User> {
        // Nobody comes between both locks: this process is inside the door.
        flock(&self.users, FlockOperation::NonBlockingLockShared)?;
        Ok(User { place: self.place, users: self.users })
    }
}

/// A session that uses the ticket.
pub struct User {
    place: PathBuf,
    users: File,
}

impl User {
    /// Takes the ticket away, where this was the last one that used it. Where the door stays shut, the next one does.
    pub fn leave(
        self,
        limit: Duration,
        present: impl FnOnce() -> Option<String>,
        destroy: impl FnOnce(),
    ) -> io::Result<()> {
        match Inside::enter_after(&self.place, limit, || true, Some(self.users))? {
            Some(mut inside) => inside.clear(present, destroy),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A place, and a cache that holds a ticket or none.
    struct Scene {
        place: tempfile::TempDir,
        cache: RefCell<Option<String>>,
    }

    impl Scene {
        fn new() -> Self {
            Self { place: tempfile::tempdir().unwrap(), cache: RefCell::new(None) }
        }

        fn enter(&self) -> Inside {
            let mut inside = Inside::enter(self.place.path(), Duration::ZERO, || true).unwrap().unwrap();
            inside.clear(|| self.present(), || self.destroy()).unwrap();
            inside
        }

        fn present(&self) -> Option<String> {
            self.cache.borrow().clone()
        }

        fn destroy(&self) {
            self.cache.replace(None);
        }

        /// A session that has asked for a ticket.
        fn ask(&self, ticket: &str) -> User {
            let mut inside = self.enter();
            self.cache.replace(Some(ticket.into()));
            inside.set(ticket).unwrap();
            inside.stay().unwrap()
        }

        /// A session that has found one.
        fn join(&self) -> User {
            let inside = self.enter();
            assert!(inside.is_ours(self.present().as_deref()));
            inside.stay().unwrap()
        }

        fn leave(&self, user: User) {
            user.leave(Duration::ZERO, || self.present(), || self.destroy()).unwrap();
        }
    }

    #[test]
    fn the_last_one_takes_the_ticket_away() {
        let scene = Scene::new();
        let first = scene.ask("one");
        let second = scene.join();
        scene.leave(first);
        assert_eq!(scene.present().as_deref(), Some("one"));
        scene.leave(second);
        assert_eq!(scene.present(), None);
        let third = scene.ask("two");
        scene.leave(third);
        assert_eq!(scene.present(), None);
    }

    #[test]
    fn a_ticket_that_the_operator_got_meanwhile_stays() {
        let scene = Scene::new();
        let user = scene.ask("one");
        scene.cache.replace(Some("operator".into()));
        assert!(!scene.enter().is_ours(Some("operator")));
        scene.leave(user);
        assert_eq!(scene.present().as_deref(), Some("operator"));
        assert!(!scene.enter().is_ours(None) && !scene.enter().is_ours(Some("")));
    }

    #[test]
    fn what_a_killed_process_left_goes_away_with_the_next_one() {
        let scene = Scene::new();
        let (killed, living) = (scene.ask("one"), scene.join());
        drop(killed);
        drop(scene.enter());
        assert_eq!(scene.present().as_deref(), Some("one"), "somebody uses it");
        drop(living);
        drop(scene.enter());
        assert_eq!(scene.present(), None);
    }

    #[test]
    fn only_one_is_inside_and_the_others_do_not_wait_for_ever() {
        let scene = Scene::new();
        let user = scene.ask("one");
        let inside = scene.enter();
        let enter = |limit, is_wanted: bool| Inside::enter(scene.place.path(), limit, || is_wanted).unwrap();
        assert!(enter(Duration::ZERO, true).is_none() && enter(Duration::from_secs(3600), false).is_none());
        scene.leave(user);
        assert_eq!(scene.present().as_deref(), Some("one"));
        drop(inside);
        // The door was shut: the next one does it.
        drop(scene.enter());
        assert_eq!(scene.present(), None);
    }
}
