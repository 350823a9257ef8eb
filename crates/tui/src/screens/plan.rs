//! What will be done, before anything happens.

use super::disks::{Scroll, region_rows};
use super::{Screen, Step, View, confirm, is_back, words};
use crate::context::Context;
use crate::data::{Disk, PlannedDisk};
use crate::event::Key;
use crate::look::Tone;
use crate::map;
use crate::page::{Page, Row, note_rows};
use crate::text::{bytes, duration, say, wrap};

/// An ordinary network carries so many bytes a second.
const USUAL_RATE: u64 = 100_000_000;

/// The plan.
#[derive(Default)]
pub struct Planned {
    scroll: Scroll,
    /// Enter was pressed before it was known whether it may begin.
    pub is_agreed: bool,
}

impl View for Planned {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "plan.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.plan")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        if self.scroll.on_key(key) {
            return Step::Stay;
        }
        match key {
            Key::Enter if context.plan.asks_scope => Step::show(Screen::Scope(confirm::ScopeQuestion::default())),
            Key::Enter if context.gate.is_some() => Step::show(words::gate()),
            Key::Enter if context.asked.is_some() => Step::show(confirm::first()),
            Key::Enter => {
                self.is_agreed = true;
                Step::Stay
            }
            key if is_back(key) => Step::Leave,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let plan = &context.plan;
        let (size, image) = (bytes(plan.bytes), &plan.image);
        let overwrites = context.task.overwrites();
        let head = if overwrites {
            say!(language, "plan.restore", size = size, image = image)
        } else {
            say!(language, "plan.save", size = size, image = image)
        };
        page.text(Tone::Strong, &head);
        let time = duration(language, plan.bytes / USUAL_RATE);
        page.text(Tone::Dim, &say!(language, "plan.time", time = time));
        let columns = page.columns();
        let mut rows: Vec<Row> = plan.notes.iter().flat_map(|note| note_rows(note, columns)).collect();
        for disk in &plan.disks {
            rows.push(Row::default());
            rows.extend(self.disk(disk, context, columns, page));
        }
        page.gap();
        self.scroll.draw(&rows, page, language);
    }
}

impl Planned {
    fn disk(&self, planned: &PlannedDisk, context: &Context, columns: usize, page: &Page<'_>) -> Vec<Row> {
        let language = context.language;
        let mut rows = Vec::new();
        let line = |disk: &Disk, name: &str| {
            let known = [&disk.model, &disk.serial, &disk.wwn, &disk.signature];
            let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
            format!("{name}  {}  {}  {}", bytes(disk.size), disk.table, known.join("  "))
        };
        match &planned.destination {
            None => {
                let text = line(&planned.source, &planned.source.path);
                rows.extend(wrap(&text, columns).into_iter().map(|line| Row::new(Tone::Strong, line)));
            }
            Some(destination) => {
                let text = say!(language, "plan.now", disk = line(destination, &destination.path));
                rows.extend(wrap(&text, columns).into_iter().map(|line| Row::new(Tone::Bad, line)));
                rows.extend(map::rows(destination, columns, page.look()));
                let text = say!(language, "plan.then", disk = line(&planned.source, &planned.source.name));
                rows.extend(wrap(&text, columns).into_iter().map(|line| Row::new(Tone::Strong, line)));
            }
        }
        rows.extend(map::rows(&planned.source, columns, page.look()));
        rows.extend(region_rows(&planned.source));
        rows.extend(planned.notes.iter().flat_map(|note| note_rows(note, columns)));
        rows
    }
}
