//! Words that must be typed before something goes on that can't be taken back.

use super::{Screen, Step, View};
use crate::context::Context;
use crate::data::Gate;
use crate::event::{Action, Key};
use crate::field::Field;
use crate::look::Tone;
use crate::page::{Page, Row, note_rows};
use crate::text::{bytes, say, say_key};

/// Asks for what opens the disk of [`Context::gate`], which may be somebody else's.
pub fn gate() -> Screen {
    Screen::Words(Words::new(Asked::Gate))
}

/// Asks for the name of each disk that will be overwritten.
pub fn names(names: Vec<String>) -> Screen {
    Screen::Words(Words::new(Asked::Names { names, number: 0 }))
}

/// Asks for the identifier of a disk, to do what was refused all the same.
pub fn identifier(id: String) -> Screen {
    Screen::Words(Words::new(Asked::Identifier(id)))
}

/// What the words are for.
enum Asked {
    /// A disk that somebody else may use.
    Gate,
    /// Disks that will be overwritten, one after the other.
    Names { names: Vec<String>, number: usize },
    /// A disk that something speaks against.
    Identifier(String),
}

/// Words, and the field that they are typed into.
pub struct Words {
    asked: Asked,
    field: Field,
    is_wrong: bool,
}

impl Words {
    fn new(asked: Asked) -> Self {
        Self { asked, field: Field::default(), is_wrong: false }
    }

    /// What must be typed; `None` where it is not known, so that nothing that is typed is right.
    fn wanted<'a>(&'a self, context: &'a Context) -> Option<&'a str> {
        let wanted = match &self.asked {
            Asked::Gate => context.gate.as_ref().map(|gate| gate.words.as_str()),
            Asked::Names { names, number } => names.get(*number).map(String::as_str),
            Asked::Identifier(id) => Some(id.as_str()),
        };
        wanted.filter(|wanted| !wanted.is_empty())
    }

    /// The right words were typed.
    fn go_on(&mut self, context: &mut Context) -> Step {
        match &mut self.asked {
            Asked::Gate => {
                let Some(gate) = context.gate.take() else { return Step::Stay };
                context.has_answered = true;
                Step::wait(Action::Words(gate.words))
            }
            Asked::Names { names, number } => {
                *number = number.saturating_add(1);
                self.field = Field::default();
                if *number >= names.len() { Step::run(Action::Go) } else { Step::Stay }
            }
            Asked::Identifier(id) => {
                let Some(Action::Restore(mut restore)) = context.last.clone() else { return Step::Back };
                restore.confirmed.push(id.clone());
                Step::wait(Action::Restore(restore))
            }
        }
    }

    /// Why they are asked for.
    fn draw_reason(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        match &self.asked {
            Asked::Gate => {
                if let Some(gate) = &context.gate {
                    draw_evidence(gate, context, page);
                }
            }
            Asked::Names { .. } => {
                let name = self.wanted(context).unwrap_or_default();
                page.text(Tone::Bad, &say!(language, "typed.text", disk = name));
                let planned = context.plan.disks.iter().filter_map(|disk| disk.destination.as_ref());
                for disk in planned.filter(|disk| disk.path == name) {
                    let known = [&disk.model, &disk.serial, &disk.wwn];
                    let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
                    page.line(Tone::Plain, format!("  {}  {}", bytes(disk.size), known.join("  ")));
                }
            }
            Asked::Identifier(_) => page.text(Tone::Bad, &say!(language, "override.text")),
        }
    }
}

/// What was seen of a disk, and what happens to somebody who goes on although it is used.
fn draw_evidence(gate: &Gate, context: &Context, page: &mut Page<'_>) {
    page.text(Tone::Bad, &gate.text);
    page.gap();
    let columns = page.columns();
    let rows: Vec<Row> = gate.findings.iter().flat_map(|note| note_rows(note, columns)).collect();
    let room = page.left().saturating_sub(9);
    rows.iter().take(room).for_each(|row| page.row(row));
    page.gap();
    let text = if context.task.overwrites() { "gate.restore" } else { "gate.save" };
    page.text(Tone::Plain, &say_key(context.language, text));
}

impl View for Words {
    fn title(&self, context: &Context) -> String {
        let key = match self.asked {
            Asked::Gate => "gate.title",
            Asked::Names { .. } => "typed.title",
            Asked::Identifier(_) => "override.title",
        };
        say_key(context.language, key)
    }

    fn help(&self, context: &Context) -> String {
        let key = if matches!(self.asked, Asked::Gate) { "help.gate" } else { "help.typed" };
        say_key(context.language, key)
    }

    fn is_typing(&self) -> bool {
        true
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        if self.field.is_left_by(key) {
            // What was planned can't go on without an answer: it is forgotten.
            return if matches!(self.asked, Asked::Gate) { Step::Leave } else { Step::Back };
        }
        if key != Key::Enter {
            self.is_wrong = false;
            self.field.on_key(key);
            return Step::Stay;
        }
        self.is_wrong = self.wanted(context) != Some(self.field.text().trim());
        if self.is_wrong { Step::Stay } else { self.go_on(context) }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        self.draw_reason(context, page);
        page.gap();
        page.line(Tone::Strong, format!("  {}", self.wanted(context).unwrap_or_default()));
        page.gap();
        let (shown, cursor) = self.field.shown();
        page.row(&Row::new(Tone::Plain, "  : ").and(Tone::Strong, shown));
        page.set_cursor(cursor.saturating_add(4));
        if self.is_wrong {
            page.gap();
            page.text(Tone::Warning, &say!(language, "typed.wrong"));
        }
    }
}
