//! Which keyboard is attached to the console.

use super::{Screen, Step, View, is_back, task};
use crate::context::Context;
use crate::event::{Action, Key};
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::Page;
use crate::text::{fit, say, say_key};

/// The layouts that this machine can use. The first entry leaves everything as it is.
pub struct Keyboards {
    menu: Menu,
}

impl Default for Keyboards {
    fn default() -> Self {
        Self { menu: Menu::at(0) }
    }
}

impl View for Keyboards {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "keyboard.title")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let layouts = &context.settings.keyboards;
        if self.menu.on_key(key, layouts.len().saturating_add(1)) {
            return Step::Stay;
        }
        match key {
            Key::Enter | Key::Character(' ') | Key::Right => {}
            key if is_back(key) => return Step::Back,
            _ => return Step::Stay,
        }
        let tasks = Screen::Task(task::Tasks::default());
        let chosen = self.menu.chosen.and_then(|chosen| chosen.checked_sub(1));
        match chosen.and_then(|number| layouts.get(number)) {
            Some(layout) => Step::ShowAnd(Box::new(tasks), Action::UseKeyboard(layout.clone())),
            None => Step::show(tasks),
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        page.text(Tone::Plain, &say!(language, "keyboard.text"));
        page.gap();
        page.choice(self.menu.is(0), &say!(language, "keyboard.keep"), Tone::Plain);
        let layouts = &context.settings.keyboards;
        let room = page.left().saturating_sub(3).max(1);
        let chosen = self.menu.chosen.unwrap_or_default().saturating_sub(1);
        let first = Menu::at(chosen).first(layouts.len(), room);
        for (number, layout) in layouts.iter().enumerate().skip(first).take(room) {
            let name = say_key(language, &format!("layout.{layout}"));
            let text = format!("{}  {name}", fit(layout, 10));
            page.choice(self.menu.is(number.saturating_add(1)), &text, Tone::Plain);
        }
        page.gap();
        page.text(Tone::Dim, &say!(language, "keyboard.about"));
    }
}
