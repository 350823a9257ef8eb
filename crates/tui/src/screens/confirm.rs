//! Questions before something is overwritten, and before the program ends.

use super::{Screen, Step, View, is_back, words};
use crate::context::Context;
use crate::event::{Action, Key, Scope};
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::{Page, note_rows};
use crate::text::{bytes, say, say_key};

/// The first question before the work begins.
pub fn first() -> Screen {
    Screen::Confirm(Confirm { menu: Menu::at(0) })
}

/// Whether it is to be done.
pub struct Confirm {
    menu: Menu,
}

impl View for Confirm {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "confirm.title")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        if self.menu.on_key(key, 2) {
            return Step::Stay;
        }
        let is_yes = self.menu.is(1);
        match key {
            Key::Enter if is_yes => match context.asked.clone() {
                Some(asked) if !asked.is_empty() => Step::show(words::names(asked)),
                Some(_) => Step::run(Action::Go),
                None => Step::Stay,
            },
            key if key == Key::Enter || is_back(key) => {
                // What was said about other nodes can't be taken back: the plan is made anew.
                if context.plan.asks_scope || context.has_answered { Step::Leave } else { Step::Back }
            }
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let plan = &context.plan;
        if context.task.overwrites() {
            page.text(Tone::Bad, &say!(language, "confirm.restore"));
            page.gap();
            for disk in &plan.disks {
                let Some(destination) = &disk.destination else { continue };
                page.line(Tone::Strong, format!("  {} -> {}", disk.source.name, destination.path));
                let known = [&destination.model, &destination.serial, &destination.wwn];
                let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
                page.line(Tone::Plain, format!("      {}  {}", bytes(destination.size), known.join("  ")));
            }
        } else {
            let (size, image) = (bytes(plan.bytes), &plan.image);
            page.text(Tone::Plain, &say!(language, "confirm.save", size = size, image = image));
            page.gap();
            for disk in &plan.disks {
                page.line(Tone::Plain, format!("  {}  {}", disk.source.path, bytes(disk.source.size)));
            }
        }
        page.gap();
        page.choice(self.menu.is(0), &say!(language, "confirm.no"), Tone::Plain);
        let yes = if context.task.overwrites() { "confirm.yes_restore" } else { "confirm.yes_save" };
        page.choice(self.menu.is(1), &say_key(language, yes), Tone::Plain);
    }
}

/// Whether another node has newer data. Nothing is chosen before the operator chooses.
#[derive(Default)]
pub struct ScopeQuestion {
    menu: Menu,
}

impl View for ScopeQuestion {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "scope.title")
    }

    fn on_key(&mut self, key: Key, _: &mut Context) -> Step {
        if self.menu.on_key(key, 2) {
            return Step::Stay;
        }
        match (key, self.menu.chosen) {
            (Key::Enter, Some(0)) => Step::wait(Action::Scope(Scope::OneNode)),
            (Key::Enter, Some(1)) => Step::wait(Action::Scope(Scope::AllNodes)),
            (key, _) if is_back(key) => Step::Back,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        page.text(Tone::Strong, &say!(language, "scope.text"));
        page.gap();
        let columns = page.columns();
        for note in context.plan.notes.iter().flat_map(|note| note_rows(note, columns)).take(5) {
            page.row(&note);
        }
        page.gap();
        page.choice(self.menu.is(0), &say!(language, "scope.one_node"), Tone::Plain);
        page.choice(self.menu.is(1), &say!(language, "scope.all_nodes"), Tone::Plain);
        page.gap();
        let about = match self.menu.chosen {
            Some(0) => say!(language, "scope.about_one"),
            Some(_) => say!(language, "scope.about_all"),
            None => say!(language, "scope.choose"),
        };
        page.text(Tone::Dim, &about);
    }
}

/// Whether the program is to end.
pub struct Quit {
    menu: Menu,
}

impl Default for Quit {
    fn default() -> Self {
        Self { menu: Menu::at(0) }
    }
}

impl View for Quit {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "quit.title")
    }

    fn on_key(&mut self, key: Key, _: &mut Context) -> Step {
        if self.menu.on_key(key, 2) {
            return Step::Stay;
        }
        match key {
            Key::Enter if self.menu.is(1) => Step::Act(Action::Quit),
            key if key == Key::Enter || is_back(key) => Step::Back,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        page.text(Tone::Plain, &say!(language, "quit.text"));
        page.gap();
        page.choice(self.menu.is(0), &say!(language, "quit.no"), Tone::Plain);
        page.choice(self.menu.is(1), &say!(language, "quit.yes"), Tone::Plain);
    }
}
