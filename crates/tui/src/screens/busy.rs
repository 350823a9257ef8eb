//! Something is waited for.

use super::{Step, View, is_back};
use crate::context::Context;
use crate::event::{Action, Key};
use crate::look::Tone;
use crate::page::Page;
use crate::text::{duration, say, say_key};

/// What is waited for.
pub struct Busy {
    what: &'static str,
}

impl Busy {
    /// What an action waits for.
    pub fn of(action: &Action) -> Self {
        let what = match action {
            Action::Open(_) => "busy.connect",
            Action::ListDisks => "busy.disks",
            Action::ListLinks => "busy.links",
            Action::Checklist { .. } => "busy.checklist",
            Action::SetUp(_) => "busy.setup",
            Action::Probe(_) => "busy.probe",
            _ => "busy.plan",
        };
        Self { what }
    }
}

impl View for Busy {
    fn title(&self, context: &Context) -> String {
        say_key(context.language, self.what)
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.busy")
    }

    fn on_key(&mut self, key: Key, _: &mut Context) -> Step {
        if is_back(key) { Step::Leave } else { Step::Stay }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        page.line(Tone::Plain, say_key(language, self.what));
        if self.what == "busy.connect" {
            page.gap();
            page.line(Tone::Strong, format!("  {}", context.place.target));
        }
        page.gap();
        let progress = &context.progress;
        let time = duration(language, progress.elapsed());
        page.line(Tone::Dim, say!(language, "busy.elapsed", time = time));
        if let Some(region) = &progress.region {
            page.line(Tone::Dim, region.clone());
        }
        page.gap();
        for note in progress.log.iter().rev().take(5) {
            page.text(crate::page::tone_of(note.weight), &note.text);
        }
    }
}
