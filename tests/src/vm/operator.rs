//! Somebody who uses the screens of a machine over its serial line, or in a terminal: looks which screen stands there,
//! answers it, and waits for the next. A screen that is not known is answered with Enter.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{LIMIT, Machine};
use crate::terminal::{Terminal, key};

/// A key that moves a mark is followed by the moved mark within this time.
const REACTION: Duration = crate::wait::LIMIT;
/// Pieces of a frame follow one another faster.
const PAUSE: Duration = Duration::from_millis(100);
/// More screens than any job has.
const MOST_SCREENS: usize = 40;

/// Where the screens stand: 24 lines of 80 characters.
pub trait Console {
    /// Types.
    fn type_in(&mut self, text: &str);
    /// What stands there.
    fn text(&self) -> String;
    /// The same when a frame has come to its end.
    #[track_caller]
    fn whole_text(&self) -> String;
    /// Waits until what it should stands there, and returns it.
    #[track_caller]
    fn wait_for_text(&self, what: &str, is_met: &dyn Fn(&str) -> bool) -> String;
}

impl Console for Machine {
    fn type_in(&mut self, text: &str) {
        self.send(text);
    }

    fn text(&self) -> String {
        self.screen()
    }

    fn whole_text(&self) -> String {
        self.whole_screen()
    }

    fn wait_for_text(&self, what: &str, is_met: &dyn Fn(&str) -> bool) -> String {
        self.wait_for_screen(what, is_met)
    }
}

impl Console for Terminal {
    fn type_in(&mut self, text: &str) {
        self.press(text);
    }

    fn text(&self) -> String {
        Self::text(self)
    }

    fn whole_text(&self) -> String {
        let began = Instant::now();
        while self.sends_within(PAUSE) {
            assert!(began.elapsed() < LIMIT, "the terminal never pauses");
        }
        Self::text(self)
    }

    fn wait_for_text(&self, what: &str, is_met: &dyn Fn(&str) -> bool) -> String {
        self.wait_until(what, is_met);
        Self::text(self)
    }
}

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
    console: &'a mut dyn Console,
    words: Rc<Words>,
    language: &'static str,
}

impl<'a> Operator<'a> {
    /// Sits down at a console.
    pub fn new(console: &'a mut dyn Console, language: &'static str) -> Self {
        Self { console, words: Rc::new(Words::of(language)), language }
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
                return self.console.text();
            }
            assert_ne!(title, self.words.get("failure.title"), "{}", self.console.text());
            self.answer(&title, job, target, image);
        }
        panic!("too many screens:\n{}", self.console.text());
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
                    self.mark(disk);
                    self.enter();
                }
                Job::Restore { disk, .. } => self.choose(disk),
            }
        } else if is("assign.title") {
            let Job::Restore { disk, .. } = job else { panic!("{title}") };
            let screen = self.console.text();
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
            self.console.type_in(name);
            let typed = format!(": {name}");
            self.console.wait_for_text(&typed, &|screen| screen.contains(&typed));
            self.enter();
        } else if is("running.title") || self.is_busy() {
            self.wait_for_another(title);
        } else {
            self.enter();
        }
    }

    /// Whether nothing is asked: the program looks at something and goes on by itself.
    fn is_busy(&self) -> bool {
        let screen = self.console.text();
        ["busy.connect", "busy.disks", "busy.plan"].iter().any(|key| screen.contains(self.words.get(key)))
    }

    /// Goes from the first screen to the tasks, and leaves the screens for the shell.
    ///
    /// # Panics
    /// Where a screen does not come.
    #[track_caller]
    pub fn pass(&mut self) {
        self.go_to_tasks(key::ENTER);
        self.quit();
    }

    /// Presses a key at each screen until the tasks are there.
    ///
    /// # Panics
    /// Where a screen does not come.
    #[track_caller]
    pub fn go_to_tasks(&mut self, key: &str) {
        for _ in 0..MOST_SCREENS {
            if self.title() == self.words.get("task.title") {
                return;
            }
            self.press(key);
        }
        panic!("too many screens:\n{}", self.console.text());
    }

    /// Waits for the screen with the title of this key.
    ///
    /// # Panics
    /// Where it does not come, or the screen of a failure comes.
    #[track_caller]
    pub fn reach(&mut self, key: &str) {
        let words = Rc::clone(&self.words);
        let (wanted, failure) = (words.get(key), words.get("failure.title"));
        let is_it = |screen: &str| title(screen).is_some_and(|title| title == failure || title.starts_with(wanted));
        let screen = self.console.wait_for_text(wanted, &is_it);
        assert_ne!(title(&screen).as_deref(), Some(failure), "instead of {wanted}:\n{screen}");
        self.console.whole_text();
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
        self.console.wait_for_text("the shell", &|screen| screen.trim_end().ends_with(super::PROMPT.trim_end()));
    }

    /// The last part of the bar at the top.
    #[track_caller]
    pub fn title(&mut self) -> String {
        self.console.wait_for_text("a screen", &|screen| title(screen).is_some());
        title(&self.console.whole_text()).expect("no screen of the program")
    }

    /// Moves the mark to the line with a text, and takes it.
    ///
    /// # Panics
    /// Where it is not there, or nothing follows.
    #[track_caller]
    pub fn choose(&mut self, text: &str) {
        self.go_to(text);
        // The frame has come to its end.
        let before = self.console.text();
        self.console.type_in(key::ENTER);
        self.console.wait_for_text("what follows Enter", &|screen| screen != before);
    }

    /// Takes what is chosen, or goes on.
    ///
    /// # Panics
    /// Where nothing follows.
    #[track_caller]
    pub fn enter(&mut self) {
        self.press(key::ENTER);
    }

    /// Types something that changes the screen.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        let before = self.console.whole_text();
        self.console.type_in(keys);
        self.console.wait_for_text(&format!("what follows {keys:?}"), &|screen| screen != before);
    }

    #[track_caller]
    fn wait_for_another(&mut self, before: &str) {
        self.console.wait_for_text("the next screen", &|screen| title(screen).is_some_and(|title| title != before));
    }

    /// Marks the line with a text, as a disk to save.
    ///
    /// # Panics
    /// Where it can't be marked.
    #[track_caller]
    pub fn mark(&mut self, text: &str) {
        self.go_to(text);
        self.console.type_in(" ");
        let is_marked = |screen: &str| chosen(screen).is_some_and(|line| line.contains("[x]"));
        self.console.wait_for_text(&format!("a mark at {text}"), &is_marked);
    }

    /// Lines of the present screen that can be chosen.
    pub fn entries(&self) -> Vec<String> {
        entries(&self.console.whole_text()).map(|line| line.trim().to_owned()).collect()
    }

    /// Moves the mark to the line with a text.
    #[track_caller]
    fn go_to(&mut self, text: &str) {
        let has = |line: &str| line.contains(text);
        let began = Instant::now();
        let mut screen = self.console.whole_text();
        while !entries(&screen).any(has) {
            assert!(began.elapsed() < REACTION, "{text} is not there:\n{screen}");
            screen = self.console.whole_text();
        }
        loop {
            let marked = screen.lines().position(|line| line.starts_with(" > "));
            if marked.and_then(|line| screen.lines().nth(line)).is_some_and(has) {
                return;
            }
            assert!(began.elapsed() < REACTION, "{text} can't be chosen:\n{screen}");
            let wanted = screen.lines().position(has);
            self.console.type_in(if wanted < marked { key::UP } else { key::DOWN });
            self.console.wait_for_text("a moved mark", &|now| now != screen);
            screen = self.console.whole_text();
        }
    }

    /// Types into the field with this name, in place of what is there.
    ///
    /// # Panics
    /// Where it is not there, or does not show what was typed.
    #[track_caller]
    pub fn fill(&mut self, name: &str, value: &str, is_hidden: bool) {
        self.go_to(name);
        self.console.type_in(&"\x7f".repeat(64));
        self.console.type_in(value);
        let shown = if is_hidden { "*".repeat(value.chars().count()) } else { value.to_owned() };
        // Of a long text the end is shown.
        let end: String = shown.chars().skip(shown.chars().count().saturating_sub(30)).collect();
        let is_there = |line: &str| line.contains(name) && line.contains(&end);
        self.console.wait_for_text(&format!("{name}: {shown}"), &|screen| chosen(screen).is_some_and(is_there));
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
