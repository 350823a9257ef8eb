//! What to do.

use super::{Screen, Step, View, is_back, place};
use crate::context::{Context, Task};
use crate::event::{Action, Key};
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::Page;
use crate::text::{Language, say, say_key, width};

/// What can be done.
#[derive(Clone, Copy)]
enum Entry {
    Task(Task),
    Network,
    Language,
    Reboot,
    PowerOff,
    /// Where the screens are left for a command line, and come back after it.
    Shell,
    Quit,
}

const TASKS: [Task; 9] = [
    Task::SaveDisks,
    Task::SaveRegions,
    Task::RestoreDisks,
    Task::RestoreRegions,
    Task::Verify,
    Task::Compare,
    Task::Images,
    Task::Signatures,
    Task::Checklist,
];

/// What to do, as a menu.
pub struct Tasks {
    menu: Menu,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { menu: Menu::at(0) }
    }
}

/// The name of a task.
pub fn name(task: Task, language: Language) -> String {
    say_key(language, &format!("task.{}", task.key()))
}

fn entries(context: &Context) -> Vec<Entry> {
    let mut entries: Vec<Entry> = TASKS.into_iter().map(Entry::Task).collect();
    if context.settings.has_network {
        entries.push(Entry::Network);
    }
    entries.push(Entry::Language);
    if context.settings.is_appliance {
        entries.extend([Entry::Reboot, Entry::PowerOff, Entry::Shell]);
    } else {
        entries.push(Entry::Quit);
    }
    entries
}

fn key_of(entry: Entry) -> &'static str {
    match entry {
        Entry::Task(task) => task.key(),
        Entry::Network => "network",
        Entry::Language => "language",
        Entry::Shell => "shell",
        Entry::Reboot => "reboot",
        Entry::PowerOff => "power_off",
        Entry::Quit => "quit",
    }
}

impl View for Tasks {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "task.title")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let entries = entries(context);
        if self.menu.on_key(key, entries.len()) {
            return Step::Stay;
        }
        match key {
            Key::Enter | Key::Character(' ') | Key::Right => {}
            key if is_back(key) => return Step::Back,
            _ => return Step::Stay,
        }
        match self.menu.chosen.and_then(|chosen| entries.get(chosen).copied()) {
            Some(Entry::Task(task)) => {
                context.task = task;
                context.image.clone_from(&context.settings.image);
                if task == Task::Signatures {
                    Step::run(Action::Signatures)
                } else {
                    Step::show(Screen::Kind(place::Kinds::new(context)))
                }
            }
            Some(Entry::Network) => Step::wait(Action::ListLinks),
            Some(Entry::Language) => Step::First,
            Some(Entry::Reboot) => Step::Act(Action::Reboot),
            Some(Entry::PowerOff) => Step::Act(Action::PowerOff),
            Some(Entry::Shell | Entry::Quit) => Step::Act(Action::Quit),
            None => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let entries = entries(context);
        let names: Vec<String> =
            entries.iter().map(|entry| say_key(language, &format!("task.{}", key_of(*entry)))).collect();
        let widest = names.iter().map(|name| width(name)).max().unwrap_or_default();
        for (number, (entry, name)) in entries.iter().zip(&names).enumerate() {
            let about = say_key(language, &format!("about.{}", key_of(*entry)));
            let pad = " ".repeat(widest.saturating_sub(width(name)));
            page.choice(self.menu.is(number), &format!("{name}{pad}  {about}"), Tone::Plain);
        }
        if let Some(entry) = self.menu.chosen.and_then(|chosen| entries.get(chosen)) {
            page.gap();
            let more = format!("more.{}", key_of(*entry));
            page.text(Tone::Dim, &say_key(language, &more));
        }
    }
}
