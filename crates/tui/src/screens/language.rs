//! Which language.

use super::{Screen, Step, View, is_back, keyboard, task};
use crate::context::Context;
use crate::event::{Action, Key};
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::Page;
use crate::text::{Language, say};

/// The languages, each by its own name.
pub struct Languages {
    menu: Menu,
    languages: Vec<Language>,
}

impl Languages {
    /// With the present language chosen.
    pub fn new(present: Language, can_draw_kanji: bool) -> Self {
        let languages =
            if can_draw_kanji { vec![Language::Japanese, Language::English] } else { vec![Language::English] };
        let chosen = languages.iter().position(|language| *language == present);
        Self { menu: Menu::at(chosen.unwrap_or_default()), languages }
    }
}

impl View for Languages {
    fn title(&self, _: &Context) -> String {
        let is_japanese = self.languages.contains(&Language::Japanese);
        if is_japanese { "言語 / Language" } else { "Language" }.into()
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.first")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        if self.menu.on_key(key, self.languages.len()) {
            if let Some(language) = self.menu.chosen.and_then(|chosen| self.languages.get(chosen)) {
                context.language = *language;
            }
            return Step::Stay;
        }
        match key {
            Key::Enter | Key::Character(' ') | Key::Right => {
                let next = if context.settings.keyboards.is_empty() {
                    Screen::Task(task::Tasks::default())
                } else {
                    Screen::Keyboard(keyboard::Keyboards::default())
                };
                Step::ShowAnd(Box::new(next), Action::UseLanguage(context.language))
            }
            key if is_back(key) => Step::Back,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        page.text(Tone::Plain, &say!(context.language, "language.text"));
        page.gap();
        for (number, language) in self.languages.iter().enumerate() {
            let name = match language {
                Language::Japanese => "日本語 (Japanese)",
                Language::English => "English",
            };
            page.choice(self.menu.is(number), name, Tone::Plain);
        }
        if self.languages.len() == 1 {
            page.gap();
            page.text(Tone::Dim, &say!(context.language, "language.no_kanji"));
        }
    }
}
