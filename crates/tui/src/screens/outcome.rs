//! How it ended: what was done, or what was not done and what to do now.

use super::disks::Scroll;
use super::{Step, View, is_back, words};
use crate::context::Context;
use crate::data::{Failure, Note, Outcome, Weight};
use crate::event::{Action, Key};
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::{Page, Row, note_rows, tone_of};
use crate::text::{say, say_key};

/// What can follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Again,
    Override,
    Back,
    Home,
    Reboot,
    PowerOff,
    Quit,
}

impl Next {
    fn text(self, context: &Context) -> String {
        let key = match self {
            Self::Again => "next.again",
            Self::Override => "next.override",
            Self::Back => "next.back",
            Self::Home => "next.home",
            Self::Reboot => "task.reboot",
            Self::PowerOff => "task.power_off",
            Self::Quit => "task.quit",
        };
        say_key(context.language, key)
    }
}

fn ends(context: &Context) -> Vec<Next> {
    let mut ends = Vec::new();
    if context.settings.is_appliance {
        ends.extend([Next::Reboot, Next::PowerOff]);
    }
    ends.push(Next::Quit);
    ends
}

/// What was done.
pub struct Result {
    outcome: Outcome,
    menu: Menu,
    scroll: Scroll,
}

impl Result {
    /// This is how it ended.
    pub fn new(outcome: Outcome) -> Self {
        Self { outcome, menu: Menu::at(0), scroll: Scroll::default() }
    }

    fn entries(context: &Context) -> Vec<Next> {
        let mut entries = vec![Next::Home];
        entries.extend(ends(context));
        entries
    }
}

impl View for Result {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "outcome.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.outcome")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let entries = Self::entries(context);
        if matches!(key, Key::PageUp | Key::PageDown) && self.scroll.on_key(key) {
            return Step::Stay;
        }
        if self.menu.on_key(key, entries.len()) {
            return Step::Stay;
        }
        match (key, self.menu.chosen.and_then(|chosen| entries.get(chosen))) {
            (Key::Enter, Some(Next::Reboot)) => Step::Act(Action::Reboot),
            (Key::Enter, Some(Next::PowerOff)) => Step::Act(Action::PowerOff),
            (Key::Enter, Some(Next::Quit)) => Step::Act(Action::Quit),
            (Key::Enter, _) => Step::Home,
            (key, _) if is_back(key) => Step::Home,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let key = match self.outcome.weight {
            Weight::Plain => "outcome.plain",
            Weight::Good => "outcome.good",
            Weight::Warning => "outcome.warning",
            Weight::Bad => "outcome.bad",
        };
        page.line(tone_of(self.outcome.weight), say_key(language, key));
        page.gap();
        let entries = Self::entries(context);
        for (number, entry) in entries.iter().enumerate() {
            page.choice(self.menu.is(number), &entry.text(context), Tone::Plain);
        }
        page.rule(&say!(language, "outcome.report"));
        let columns = page.columns();
        let rows: Vec<Row> = self.outcome.notes.iter().flat_map(|note| note_rows(note, columns)).collect();
        self.scroll.draw(&rows, page, language);
    }
}

/// What was not done.
pub struct Failed {
    failure: Failure,
    menu: Menu,
}

impl Failed {
    /// This went wrong.
    pub fn new(failure: Failure) -> Self {
        Self { failure, menu: Menu::at(0) }
    }

    fn entries(&self, context: &Context) -> Vec<Next> {
        let mut entries = vec![Next::Back];
        if self.failure.confirm.is_some() {
            entries.push(Next::Override);
        }
        if context.last.is_some() {
            entries.push(Next::Again);
        }
        entries.push(Next::Home);
        entries.extend(ends(context));
        entries
    }
}

/// Does a job once more.
fn again(action: Action) -> Step {
    match action {
        Action::Verify { .. } | Action::Compare(_) | Action::Signatures => Step::run(action),
        other => Step::wait(other),
    }
}

impl View for Failed {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "failure.title")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let entries = self.entries(context);
        if self.menu.on_key(key, entries.len()) {
            return Step::Stay;
        }
        match (key, self.menu.chosen.and_then(|chosen| entries.get(chosen))) {
            (Key::Enter, Some(Next::Again)) => context.last.clone().map_or(Step::Back, again),
            (Key::Enter, Some(Next::Override)) => {
                Step::show(words::identifier(self.failure.confirm.clone().unwrap_or_default()))
            }
            (Key::Enter, Some(Next::Home)) => Step::Home,
            (Key::Enter, Some(Next::Reboot)) => Step::Act(Action::Reboot),
            (Key::Enter, Some(Next::PowerOff)) => Step::Act(Action::PowerOff),
            (Key::Enter, Some(Next::Quit)) => Step::Act(Action::Quit),
            (Key::Enter, _) => Step::Back,
            (key, _) if is_back(key) => Step::Back,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let failure = &self.failure;
        let columns = page.columns();
        let is_cancelled = failure.code == "cancelled";
        let weight = if is_cancelled { Weight::Warning } else { Weight::Bad };
        let message = Note { code: failure.code.clone(), text: failure.message.clone(), weight };
        note_rows(&message, columns).iter().for_each(|row| page.row(row));
        page.gap();
        page.line(Tone::Strong, say!(language, "failure.state"));
        page.text(Tone::Plain, &failure.state);
        page.gap();
        page.line(Tone::Strong, say!(language, "failure.next"));
        page.text(Tone::Plain, &failure.next);
        page.gap();
        for (number, entry) in self.entries(context).iter().enumerate() {
            page.choice(self.menu.is(number), &entry.text(context), Tone::Plain);
        }
    }
}
