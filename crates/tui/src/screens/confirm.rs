//! Questions before something is overwritten, and before the program ends.

use super::{Screen, Step, View, is_back};
use crate::context::Context;
use crate::event::{Action, Key, Scope};
use crate::field::Field;
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::{Page, Row, note_rows};
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

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.menu")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        if self.menu.on_key(key, 2) {
            return Step::Stay;
        }
        let is_yes = self.menu.is(1);
        match key {
            Key::Enter if is_yes => match context.asked.clone() {
                Some(names) if !names.is_empty() => {
                    Step::show(Screen::Typed(Typed { names, number: 0, field: Field::default(), is_wrong: false }))
                }
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

/// What must be typed where a disk may be somebody else's.
pub fn gate() -> Screen {
    Screen::Gate(GateQuestion { field: Field::default(), is_wrong: false })
}

/// A disk that somebody else may use: the evidence, and the words that open it.
pub struct GateQuestion {
    field: Field,
    is_wrong: bool,
}

impl View for GateQuestion {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "gate.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.gate")
    }

    fn is_typing(&self) -> bool {
        true
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let typed = self.field.text().trim();
        match key {
            // What was planned is forgotten: it can't go on without an answer.
            Key::Escape => Step::Leave,
            Key::Backspace if self.field.text().is_empty() => Step::Leave,
            Key::Enter if !typed.is_empty() && context.gate.as_ref().is_some_and(|gate| gate.words == typed) => {
                let words = typed.to_owned();
                context.gate = None;
                context.has_answered = true;
                Step::wait(Action::Words(words))
            }
            Key::Enter => {
                self.is_wrong = true;
                Step::Stay
            }
            key => {
                self.is_wrong = false;
                self.field.on_key(key);
                Step::Stay
            }
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let Some(gate) = &context.gate else { return };
        page.text(Tone::Bad, &gate.text);
        page.gap();
        let columns = page.columns();
        let rows: Vec<Row> = gate.findings.iter().flat_map(|note| note_rows(note, columns)).collect();
        let room = page.left().saturating_sub(9);
        rows.iter().take(room).for_each(|row| page.row(row));
        page.gap();
        let text = if context.task.overwrites() { "gate.restore" } else { "gate.save" };
        page.text(Tone::Plain, &say_key(language, text));
        page.gap();
        page.line(Tone::Strong, format!("  {}", gate.words));
        page.gap();
        draw_field(page, &self.field);
        if self.is_wrong {
            page.gap();
            page.text(Tone::Warning, &say!(language, "typed.wrong"));
        }
    }
}

/// The name of each disk that will be overwritten.
pub struct Typed {
    names: Vec<String>,
    number: usize,
    field: Field,
    is_wrong: bool,
}

impl View for Typed {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "typed.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.typed")
    }

    fn is_typing(&self) -> bool {
        true
    }

    fn on_key(&mut self, key: Key, _: &mut Context) -> Step {
        match key {
            Key::Escape => Step::Back,
            Key::Enter if self.names.get(self.number).is_some_and(|name| name == self.field.text().trim()) => {
                self.number = self.number.saturating_add(1);
                self.field = Field::default();
                self.is_wrong = false;
                if self.number >= self.names.len() { Step::run(Action::Go) } else { Step::Stay }
            }
            Key::Enter => {
                self.is_wrong = true;
                Step::Stay
            }
            Key::Backspace if self.field.text().is_empty() => Step::Back,
            key => {
                self.is_wrong = false;
                self.field.on_key(key);
                Step::Stay
            }
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let name = self.names.get(self.number).map(String::as_str).unwrap_or_default();
        page.text(Tone::Bad, &say!(language, "typed.text", disk = name));
        let planned = context.plan.disks.iter().filter_map(|disk| disk.destination.as_ref());
        for disk in planned.filter(|disk| disk.path == name) {
            let known = [&disk.model, &disk.serial, &disk.wwn];
            let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
            page.line(Tone::Plain, format!("  {}  {}", bytes(disk.size), known.join("  ")));
        }
        page.gap();
        page.line(Tone::Strong, format!("  {name}"));
        page.gap();
        draw_field(page, &self.field);
        if self.is_wrong {
            page.gap();
            page.text(Tone::Warning, &say!(language, "typed.wrong"));
        }
    }
}

/// A field alone, with the cursor in it.
pub fn draw_field(page: &mut Page<'_>, field: &Field) {
    let (shown, cursor) = field.shown();
    page.row(&Row::new(Tone::Plain, "  : ").and(Tone::Strong, shown));
    page.set_cursor(cursor.saturating_add(4));
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

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.menu")
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

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.menu")
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
