//! The images of a repository.

use super::disks::Detail;
use super::{Screen, Step, View, is_back};
use crate::context::{Context, Task};
use crate::data::{Image, ImageState};
use crate::event::{Action, Key};
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::Page;
use crate::text::{bytes, fit, say, width};

/// One of them; for a check, all of them come first.
pub struct Images {
    menu: Menu,
    has_all: bool,
}

impl Images {
    /// All that the repository holds.
    pub fn new(context: &Context) -> Self {
        let has_all = context.task == Task::Verify && !context.repository.images.is_empty();
        Self { menu: Menu::at(0), has_all }
    }

    fn image<'a>(&self, context: &'a Context) -> Option<&'a Image> {
        let number = self.menu.chosen?.checked_sub(usize::from(self.has_all))?;
        context.repository.images.get(number)
    }
}

impl View for Images {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "images.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.images")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let count = context.repository.images.len().saturating_add(usize::from(self.has_all));
        if self.menu.on_key(key, count) {
            return Step::Stay;
        }
        let image = self.image(context).cloned();
        match key {
            Key::Enter => {}
            Key::Character('i') => {
                let detail = |image: Image| Step::show(Screen::Detail(Detail::of_image(image.disks)));
                return image.map_or(Step::Stay, detail);
            }
            key if is_back(key) => return Step::Back,
            _ => return Step::Stay,
        }
        if context.task == Task::Verify && count > 0 {
            context.image = image.as_ref().map(|image| image.name.clone()).unwrap_or_default();
            let place = context.place.clone();
            return Step::run(Action::Verify { place, image: image.map(|image| image.name) });
        }
        let Some(image) = image.filter(|image| image.state == ImageState::Whole) else { return Step::Stay };
        context.image = image.name;
        match context.task {
            Task::Checklist => {
                let (place, image) = (context.place.clone(), context.image.clone());
                Step::wait(Action::Checklist { place, image })
            }
            Task::Images => Step::show(Screen::Detail(Detail::of_image(image.disks))),
            _ => Step::wait(Action::ListDisks),
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let repository = &context.repository;
        page.line(Tone::Dim, say!(language, "name.target", target = repository.location));
        page.gap();
        if repository.images.is_empty() {
            page.text(Tone::Warning, &say!(language, "images.none"));
            return;
        }
        let room = page.left().saturating_sub(7).max(3);
        let widest = repository.images.iter().map(|image| width(&image.name)).max().unwrap_or_default().min(32);
        let host = repository.images.iter().map(|image| width(&image.host)).max().unwrap_or_default().min(16);
        let mut lines: Vec<(String, Tone)> = Vec::new();
        if self.has_all {
            lines.push((say!(language, "images.all"), Tone::Plain));
        }
        for image in &repository.images {
            let name = fit(&image.name, widest);
            lines.push(match &image.state {
                ImageState::Whole => {
                    let disks: Vec<&str> = image.disks.iter().map(|disk| disk.name.as_str()).collect();
                    let (size, disks) = (fit(&bytes(image.bytes), 10), disks.join(" "));
                    let line = format!("{name}  {}  {}  {size}  {disks}", image.time, fit(&image.host, host));
                    (line, Tone::Plain)
                }
                ImageState::Unfinished => (format!("{name}  {}", say!(language, "images.unfinished")), Tone::Dim),
                ImageState::Damaged(_) => (format!("{name}  {}", say!(language, "images.damaged")), Tone::Bad),
            });
        }
        let first = self.menu.first(lines.len(), room);
        for (number, (line, tone)) in lines.iter().enumerate().skip(first).take(room) {
            page.choice(self.menu.is(number), line, *tone);
        }
        let Some(image) = self.image(context) else { return };
        page.rule(&image.name);
        if let ImageState::Damaged(reason) = &image.state {
            page.text(Tone::Bad, reason);
        }
        for (key, value) in [(say!(language, "field.note"), &image.note), (say!(language, "field.set"), &image.set)] {
            if !value.is_empty() {
                page.line(Tone::Plain, format!("{key}: {value}"));
            }
        }
        for disk in &image.disks {
            let known = [&disk.model, &disk.serial, &disk.wwn];
            let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
            page.line(Tone::Plain, format!("{}  {}  {}", disk.name, bytes(disk.size), known.join("  ")));
        }
    }
}
