//! Name of a new image, checked while it is typed.

use super::place::draw_labelled;
use super::{Step, View, is_back};
use crate::context::Context;
use crate::data::ImageState;
use crate::event::{Action, Key};
use crate::field::Field;
use crate::look::Tone;
use crate::page::Page;
use crate::text::{bytes, say, say_key, width};

const FIELDS: [&str; 3] = ["image", "note", "set"];

/// Name, note and set.
pub struct Name {
    fields: [Field; 3],
    /// The field that is typed into; the number behind the last is the way on.
    chosen: usize,
}

/// What is to be said about a name.
enum Verdict {
    /// It can be used.
    Free,
    /// A save of this name was interrupted.
    Unfinished,
    /// It can't be used: key of the text.
    Bad(&'static str),
}

impl Name {
    /// With a name made of host and date; with another behind it where that exists.
    pub fn new(context: &Context) -> Self {
        let mut name = context.image.clone();
        let is_taken = |name: &str| {
            context.repository.images.iter().any(|image| image.name == name && image.state != ImageState::Unfinished)
        };
        let mut number = 2_u32;
        while is_taken(&name) {
            name = format!("{}.{number}", context.image);
            number = number.saturating_add(1);
        }
        let fields = [Field::new(&name), Field::new(&context.note), Field::new(&context.set)];
        Self { fields, chosen: 0 }
    }

    fn verdict(&self, context: &Context) -> Verdict {
        let [name, _, set] = &self.fields;
        if name.text().parse::<image::ImageName>().is_err() {
            return Verdict::Bad("name.bad");
        }
        if !set.text().is_empty() && set.text().parse::<image::ImageName>().is_err() {
            return Verdict::Bad("name.bad_set");
        }
        match context.repository.images.iter().find(|image| image.name == name.text()) {
            Some(image) if image.state == ImageState::Unfinished => Verdict::Unfinished,
            Some(_) => Verdict::Bad("name.exists"),
            None => Verdict::Free,
        }
    }
}

impl View for Name {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "name.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.form")
    }

    fn is_typing(&self) -> bool {
        self.chosen < FIELDS.len()
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        match key {
            Key::Escape => return Step::Back,
            Key::Up | Key::BackTab => self.chosen = self.chosen.saturating_sub(1),
            Key::Down | Key::Tab => self.chosen = self.chosen.saturating_add(1).min(FIELDS.len()),
            Key::Enter if self.chosen < FIELDS.len() => self.chosen = self.chosen.saturating_add(1),
            Key::Enter => {
                if matches!(self.verdict(context), Verdict::Bad(_)) {
                    self.chosen = 0;
                    return Step::Stay;
                }
                let [name, note, set] = self.fields.each_ref().map(|field| field.text().to_owned());
                (context.image, context.note, context.set) = (name, note, set);
                return Step::wait(Action::ListDisks);
            }
            key => match self.fields.get_mut(self.chosen) {
                Some(field) => {
                    field.on_key(key);
                }
                None if is_back(key) => return Step::Back,
                None => {}
            },
        }
        Step::Stay
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let repository = &context.repository;
        page.line(Tone::Plain, say!(language, "name.target", target = repository.location));
        let count = repository.images.len();
        let text = if repository.exists {
            say!(language, "name.images", count = count)
        } else {
            say!(language, "name.new_repository")
        };
        page.line(Tone::Dim, text);
        page.gap();
        let names = FIELDS.map(|name| say_key(language, &format!("field.{name}")));
        let widest = names.iter().map(|name| width(name)).max().unwrap_or_default();
        for (number, (field, name)) in self.fields.iter().zip(&names).enumerate() {
            draw_labelled(page, field, name, widest, number == self.chosen);
        }
        page.gap();
        page.choice(self.chosen >= FIELDS.len(), &say!(language, "name.go_on"), Tone::Plain);
        page.gap();
        let verdict = self.verdict(context);
        // What is wrong with a name says already how it must be.
        let hint = FIELDS.get(self.chosen).filter(|_| !matches!(verdict, Verdict::Bad("name.bad" | "name.bad_set")));
        match verdict {
            Verdict::Free => page.text(Tone::Good, &say!(language, "name.free")),
            Verdict::Unfinished => page.text(Tone::Warning, &say!(language, "name.unfinished")),
            Verdict::Bad(key) => page.text(Tone::Bad, &say_key(language, key)),
        }
        if let Some(name) = hint {
            page.gap();
            page.text(Tone::Dim, &say_key(language, &format!("hint.{name}")));
        }
        if !repository.images.is_empty() {
            page.rule(&say!(language, "name.there"));
            let room = page.left();
            let skipped = repository.images.len().saturating_sub(room);
            for image in repository.images.iter().skip(skipped) {
                let about = match &image.state {
                    ImageState::Whole => format!("{}  {}", image.time, bytes(image.bytes)),
                    ImageState::Unfinished => say!(language, "images.unfinished"),
                    ImageState::Damaged(_) => say!(language, "images.damaged"),
                };
                page.line(Tone::Dim, format!("  {}  {about}", image.name));
            }
        }
    }
}
