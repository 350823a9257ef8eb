//! Somebody who uses the screens of a machine over its serial line: looks which screen stands there, answers it, and
//! waits for the next. A screen that is not known is answered with Enter.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Machine;
use crate::terminal::key;

/// A key that moves a mark is followed by the moved mark within this time.
const REACTION: Duration = crate::wait::LIMIT;
/// More screens than any job has.
const MOST_SCREENS: usize = 40;

/// The texts of the screens in one language.
pub struct Words {
    text: String,
}

impl Words {
    /// Those of `en` or `ja`.
    ///
    /// # Panics
    /// Where the language has no texts.
    pub fn of(language: &str) -> Self {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tui/locales");
        Self { text: std::fs::read_to_string(directory.join(format!("{language}.yml"))).unwrap() }
    }

    /// The text of a key as `task.title`, up to its first variable part.
    ///
    /// # Panics
    /// Where there is no such text.
    #[track_caller]
    pub fn get(&self, key: &str) -> &str {
        let (section, name) = key.split_once('.').unwrap();
        let mut lines = self.text.lines().skip_while(|line| *line != format!("{section}:")).skip(1);
        let start = format!("  {name}: \"");
        let found = lines.by_ref().take_while(|line| line.is_empty() || line.starts_with(' '));
        let text = found.into_iter().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("no {key}"));
        text.trim_end_matches('"').split("%{").next().unwrap().trim_end()
    }
}

/// What is to be done.
pub enum Job<'a> {
    /// Saves the disk with this text in its line.
    Save {
        /// Serial number, for example.
        disk: &'a str,
    },
    /// Overwrites the disk with this text in its line.
    Restore {
        /// Serial number, for example.
        disk: &'a str,
        /// The name that has to be typed.
        name: &'a str,
    },
}

/// A target as it is typed: its kind as in `kind.nfs`, and the fields that are not left empty.
pub struct Target<'a> {
    /// `nfs`, `smb`, `usb`.
    pub kind: &'a str,
    /// Keys of fields, as in `field.server`, with what is typed.
    pub fields: Vec<(&'a str, String)>,
}

/// Somebody at the screens.
pub struct Operator<'a> {
    machine: &'a mut Machine,
    words: Rc<Words>,
    language: &'static str,
}

impl<'a> Operator<'a> {
    /// Sits down at a serial line.
    pub fn new(machine: &'a mut Machine, language: &'static str) -> Self {
        Self { machine, words: Rc::new(Words::of(language)), language }
    }

    /// The texts that are looked for.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// Does a job from whatever screen stands there up to its result, which is returned.
    ///
    /// # Panics
    /// Where it ends in another way, or a screen does not come.
    #[track_caller]
    pub fn run(&mut self, job: &Job<'_>, target: &Target<'_>, image: &str) -> String {
        for _ in 0..MOST_SCREENS {
            let title = self.title();
            if title == self.words.get("outcome.title") {
                return self.machine.screen();
            }
            assert_ne!(title, self.words.get("failure.title"), "{}", self.machine.screen());
            self.answer(&title, job, target, image);
        }
        panic!("too many screens:\n{}", self.machine.screen());
    }

    fn answer(&mut self, title: &str, job: &Job<'_>, target: &Target<'_>, image: &str) {
        let words = Rc::clone(&self.words);
        let is = |key| words.get(key) == title;
        let word = |key: &str| words.get(key).to_owned();
        if title.contains("Language") {
            self.choose(if self.language == "ja" { "日本語" } else { "English" });
        } else if is("task.title") {
            let task = if matches!(job, Job::Save { .. }) { "task.save_disks" } else { "task.restore_disks" };
            self.choose(&word(task));
        } else if is("place.title") {
            self.choose(&word(&format!("kind.{}", target.kind)));
        } else if title == word(&format!("kind.{}", target.kind)) {
            for (field, value) in &target.fields {
                self.fill(&word(&format!("field.{field}")), value, *field == "password");
            }
            self.choose(&word("place.connect"));
        } else if is("name.title") {
            self.fill(&word("field.image"), image, false);
            self.choose(&word("name.go_on"));
        } else if is("images.title") {
            self.choose(image);
        } else if is("disks.title") || is("pick.title") {
            match job {
                Job::Save { disk } => {
                    self.go_to(disk);
                    self.machine.send(" ");
                    self.machine.wait_for_screen(&format!("a mark at {disk}"), |screen| {
                        chosen(screen).is_some_and(|line| line.contains("[x]"))
                    });
                    self.enter();
                }
                Job::Restore { disk, .. } => self.choose(disk),
            }
        } else if is("assign.title") {
            let Job::Restore { disk, .. } = job else { panic!("{title}") };
            let screen = self.machine.screen();
            if screen.lines().any(|line| line.contains("->") && line.contains(disk)) {
                self.choose(&word("name.go_on"));
            } else {
                self.choose("->");
            }
        } else if is("confirm.title") {
            self.choose(&word(if matches!(job, Job::Save { .. }) {
                "confirm.yes_save"
            } else {
                "confirm.yes_restore"
            }));
        } else if is("typed.title") {
            let Job::Restore { name, .. } = job else { panic!("{title}") };
            self.machine.send(name);
            let typed = format!(": {name}");
            self.machine.wait_for_screen(&typed, |screen| screen.contains(&typed));
            self.enter();
        } else if is("running.title") || self.is_busy() {
            self.wait_for_another(title);
        } else {
            self.enter();
        }
    }

    /// Whether nothing is asked: the program looks at something and goes on by itself.
    fn is_busy(&self) -> bool {
        let screen = self.machine.screen();
        ["busy.connect", "busy.disks", "busy.plan"].iter().any(|key| screen.contains(self.words.get(key)))
    }

    /// Goes from the first screen to the tasks, and leaves the screens for the shell.
    ///
    /// # Panics
    /// Where a screen does not come.
    #[track_caller]
    pub fn pass(&mut self) {
        for _ in 0..MOST_SCREENS {
            let title = self.title();
            if title == self.words.get("task.title") {
                return self.quit();
            }
            self.enter();
        }
        panic!("too many screens:\n{}", self.machine.screen());
    }

    /// Leaves the screens for the shell.
    #[track_caller]
    pub fn quit(&mut self) {
        let words = Rc::clone(&self.words);
        let title = self.title();
        if title == words.get("outcome.title") {
            self.choose(words.get("next.home"));
            self.wait_for_another(&title);
        }
        self.choose(words.get("task.shell"));
        self.machine.wait_for(super::PROMPT);
    }

    /// The last part of the bar at the top.
    #[track_caller]
    pub fn title(&mut self) -> String {
        self.machine.wait_for_screen("a screen", |screen| title(screen).is_some());
        title(&self.machine.whole_screen()).expect("no screen of the program")
    }

    /// Moves the mark to the line with a text, and takes it.
    #[track_caller]
    fn choose(&mut self, text: &str) {
        self.go_to(text);
        self.enter();
    }

    #[track_caller]
    fn enter(&mut self) {
        let before = self.machine.whole_screen();
        self.machine.send(key::ENTER);
        self.machine.wait_for_screen("what follows Enter", |screen| screen != before);
    }

    #[track_caller]
    fn wait_for_another(&mut self, before: &str) {
        self.machine.wait_for_screen("the next screen", |screen| title(screen).is_some_and(|title| title != before));
    }

    /// Moves the mark to the line with a text.
    #[track_caller]
    fn go_to(&mut self, text: &str) {
        let has = |line: &str| line.contains(text);
        let began = Instant::now();
        while !entries(&self.machine.whole_screen()).any(has) {
            assert!(began.elapsed() < REACTION, "{text} is not there:\n{}", self.machine.screen());
        }
        loop {
            let screen = self.machine.whole_screen();
            let marked = screen.lines().position(|line| line.starts_with(" > "));
            if marked.and_then(|line| screen.lines().nth(line)).is_some_and(has) {
                return;
            }
            assert!(began.elapsed() < REACTION, "{text} can't be chosen:\n{screen}");
            let wanted = screen.lines().position(has);
            self.machine.send(if wanted < marked { key::UP } else { key::DOWN });
            self.machine.wait_for_screen("a moved mark", |now| now != screen);
        }
    }

    /// Types into the field with this name, in place of what is there.
    #[track_caller]
    fn fill(&mut self, name: &str, value: &str, is_hidden: bool) {
        self.go_to(name);
        self.machine.send(&"\x7f".repeat(64));
        self.machine.send(value);
        let shown = if is_hidden { "*".repeat(value.chars().count()) } else { value.to_owned() };
        // Of a long text the end is shown.
        let end: String = shown.chars().skip(shown.chars().count().saturating_sub(30)).collect();
        let is_there = |line: &str| line.contains(name) && line.contains(&end);
        self.machine.wait_for_screen(&format!("{name}: {shown}"), |screen| chosen(screen).is_some_and(is_there));
    }
}

/// The last part of the bar at the top, where a screen is drawn to its end.
fn title(screen: &str) -> Option<String> {
    let first = screen.lines().next()?.strip_prefix(" Sosei ")?;
    screen.lines().nth(23).filter(|line| !line.trim().is_empty())?;
    let way = first.split_once(" | ")?.1;
    Some(way.rsplit(" > ").next()?.split("   ").next()?.trim().to_owned())
}

/// Lines that can be chosen: those that begin as they do.
fn entries(screen: &str) -> impl Iterator<Item = &str> {
    screen.lines().filter(|line| line.starts_with(" > ") || line.starts_with("   "))
}

fn chosen(screen: &str) -> Option<&str> {
    screen.lines().find(|line| line.starts_with(" > "))
}
