//! Disks are recognised, not guessed.

use std::cell::Cell;

use super::regions::Regions;
use super::{Screen, Step, View, is_back};
use crate::context::{Context, Task};
use crate::data::{Disk, Note, RegionKind, Weight};
use crate::event::{Action, Key, Save};
use crate::look::{Look, Tone};
use crate::map;
use crate::menu::Menu;
use crate::page::{Page, Row, note_rows, tone_of};
use crate::text::{Language, bytes, fit, say, width, wrap};

/// A line for each of several disks, in columns.
pub fn table(disks: &[Disk]) -> Vec<String> {
    let cells: Vec<Vec<String>> = disks
        .iter()
        .map(|disk| {
            let field = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            let systems: Vec<&str> = disk
                .regions
                .iter()
                .filter_map(|region| region.holds.split(' ').next())
                .filter(|s| !s.is_empty())
                .collect();
            let mut known: Vec<&str> = Vec::new();
            systems.into_iter().for_each(|kind| {
                if !known.contains(&kind) {
                    known.push(kind);
                }
            });
            vec![
                disk.path.clone(),
                bytes(disk.size),
                field(&disk.model),
                field(&disk.serial),
                field(&disk.transport),
                // "No table" is long, and is said below.
                if width(&disk.table) <= 3 { disk.table.clone() } else { "-".into() },
                known.join(" "),
            ]
        })
        .collect();
    let widths: Vec<usize> = (0..7)
        .map(|column| cells.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or_default())
        // Two columns must not push the others off the screen.
        .zip([28, 10, 24, 20, 9, 3, 30])
        .map(|(widest, most)| widest.min(most))
        .collect();
    let lines = cells.iter().map(|row| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, columns)| fit(cell, *columns)).collect();
        cells.join("  ").trim_end().to_owned()
    });
    lines.collect()
}

/// The tone of a disk in a list: that of the worst that is known of it.
pub fn tone(disk: &Disk) -> Tone {
    if disk.problem.is_some() {
        return Tone::Dim;
    }
    let has = |weight: Weight| disk.notes.iter().any(|note| note.weight == weight);
    if has(Weight::Bad) {
        tone_of(Weight::Bad)
    } else if has(Weight::Warning) {
        tone_of(Weight::Warning)
    } else {
        Tone::Plain
    }
}

/// All that is known of a disk: hardware, map, findings, regions.
pub fn detail(disk: &Disk, columns: usize, look: Look, language: Language) -> Vec<Row> {
    let mut rows = Vec::new();
    let named = |name: String, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    let hardware: Vec<&str> = [&disk.model, &disk.transport].into_iter().flatten().map(String::as_str).collect();
    let head = format!("{}  {}  {}", disk.path, bytes(disk.size), hardware.join(", "));
    rows.push(Row::new(Tone::Strong, head));
    // What tells one disk from another is never cut off.
    let ids = [named(say!(language, "disk.serial"), &disk.serial), named("WWN".into(), &disk.wwn)];
    let ids: Vec<String> = ids.into_iter().flatten().collect();
    if !ids.is_empty() {
        rows.extend(wrap(&ids.join(", "), columns).into_iter().map(|line| Row::new(Tone::Plain, line)));
    }
    let mut table = vec![disk.table.clone()];
    table.extend(disk.signature.as_ref().map(|signature| say!(language, "disk.signature", signature = signature)));
    if disk.sector_size > 0 {
        table.push(say!(language, "disk.sectors", size = disk.sector_size));
    }
    rows.push(Row::new(Tone::Plain, table.join(", ")));
    if let Some(problem) = &disk.problem {
        rows.extend(note_rows(&Note::new(Weight::Bad, problem.clone()), columns));
    }
    if !disk.regions.is_empty() {
        rows.extend(map::rows(disk, columns, look));
    }
    rows.extend(disk.notes.iter().flat_map(|note| note_rows(note, columns)));
    rows.extend(region_rows(disk));
    rows
}

/// A line for each region, in columns.
pub fn region_rows(disk: &Disk) -> Vec<Row> {
    let cells: Vec<[String; 5]> = disk
        .regions
        .iter()
        .map(|region| {
            let what = region.what.clone();
            [region.name.clone(), bytes(region.length), what, region.holds.clone(), region.saved.clone()]
        })
        .collect();
    let widest = |column: usize| cells.iter().filter_map(|row| row.get(column)).map(|c| width(c)).max().unwrap_or(0);
    let widths = [widest(0), widest(1), widest(2).min(20), widest(3).min(24), usize::MAX];
    let rows = disk.regions.iter().zip(&cells).map(|(region, row)| {
        let cells = row.iter().zip(widths);
        let cells: Vec<String> = cells
            .map(|(cell, columns)| if columns == usize::MAX { cell.clone() } else { fit(cell, columns) })
            .collect();
        let tone = if region.kind == RegionKind::Gap { Tone::Dim } else { Tone::Plain };
        Row::new(tone, format!("  {}", cells.join("  ").trim_end()))
    });
    rows.collect()
}

/// Lines that are moved through.
#[derive(Default)]
pub struct Scroll {
    first: usize,
    last: Cell<usize>,
}

impl Scroll {
    /// Whether the key was one that moves.
    pub fn on_key(&mut self, key: Key) -> bool {
        const PAGE: usize = 10;
        self.first = match key {
            Key::Up => self.first.saturating_sub(1),
            Key::Down => self.first.saturating_add(1),
            Key::PageUp => self.first.saturating_sub(PAGE),
            Key::PageDown | Key::Character(' ') => self.first.saturating_add(PAGE),
            Key::Home => 0,
            Key::End => usize::MAX,
            _ => return false,
        };
        self.first = self.first.min(self.last.get());
        true
    }

    /// Draws the lines.
    pub fn draw(&self, rows: &[Row], page: &mut Page<'_>, language: Language) {
        self.last.set(page.scrolled(rows, self.first, &say!(language, "page.more")));
    }
}

/// Which disks to save. None is chosen before the operator chooses.
pub struct Disks {
    menu: Menu,
    marked: Vec<bool>,
    is_hint_shown: bool,
}

impl Disks {
    /// All that are attached.
    pub fn new(context: &Context) -> Self {
        Self { menu: Menu::at(0), marked: vec![false; context.disks.len()], is_hint_shown: false }
    }

    fn chosen<'a>(&self, context: &'a Context) -> Vec<&'a Disk> {
        let marked = context.disks.iter().zip(&self.marked).filter(|(_, marked)| **marked);
        marked.map(|(disk, _)| disk).collect()
    }
}

impl View for Disks {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "disks.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.disks")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        if self.menu.on_key(key, context.disks.len()) {
            return Step::Stay;
        }
        let present = self.menu.chosen.and_then(|chosen| context.disks.get(chosen));
        match key {
            Key::Character(' ') => {
                if let (Some(disk), Some(number)) = (present, self.menu.chosen)
                    && disk.problem.is_none()
                    && let Some(mark) = self.marked.get_mut(number)
                {
                    *mark = !*mark;
                    self.is_hint_shown = false;
                }
                Step::Stay
            }
            Key::Character('i') => match present {
                Some(disk) => Step::show(Screen::Detail(Detail::new(disk.clone()))),
                None => Step::Stay,
            },
            Key::Character('r') => Step::wait(Action::ListDisks),
            Key::Enter => {
                let chosen = self.chosen(context);
                if chosen.is_empty() {
                    self.is_hint_shown = true;
                    return Step::Stay;
                }
                if context.task == Task::SaveRegions {
                    let disks = chosen.into_iter().cloned().collect();
                    return Step::show(Screen::Regions(Regions::new(disks, Vec::new())));
                }
                let disks = chosen.iter().map(|disk| disk.path.clone()).collect();
                Step::wait(Action::Save(save(context, disks, Vec::new())))
            }
            key if is_back(key) => Step::Back,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        if context.disks.is_empty() {
            page.text(Tone::Warning, &say!(language, "disks.none"));
            return;
        }
        let text = if self.is_hint_shown { Tone::Warning } else { Tone::Plain };
        page.text(text, &say!(language, "disks.text"));
        page.gap();
        let room = page.left().saturating_sub(8).clamp(3, 12);
        let lines = table(&context.disks);
        let first = self.menu.first(lines.len(), room);
        for (number, line) in lines.iter().enumerate().skip(first).take(room) {
            let mark = if self.marked.get(number) == Some(&true) { "[x]" } else { "[ ]" };
            let tone = context.disks.get(number).map(tone).unwrap_or_default();
            page.choice(self.menu.is(number), &format!("{mark} {line}"), tone);
        }
        if let Some(disk) = self.menu.chosen.and_then(|chosen| context.disks.get(chosen)) {
            page.rule("");
            let rows = detail(disk, page.columns(), page.look(), language);
            let hidden = rows.len().saturating_sub(page.left());
            let shown = if hidden > 0 { page.left().saturating_sub(1) } else { rows.len() };
            rows.iter().take(shown).for_each(|row| page.row(row));
            if hidden > 0 {
                let hidden = rows.len().saturating_sub(shown);
                page.line(Tone::Strong, say!(language, "disks.more", count = hidden));
            }
        }
    }
}

/// The save that the operator has described.
pub fn save(context: &Context, disks: Vec<String>, regions: Vec<String>) -> Save {
    Save {
        place: context.place.clone(),
        image: context.image.clone(),
        disks,
        regions,
        note: context.note.clone(),
        set: context.set.clone(),
    }
}

/// A disk with all that is known of it.
pub struct Detail {
    disks: Vec<Disk>,
    scroll: Scroll,
}

impl Detail {
    /// Of one disk.
    pub fn new(disk: Disk) -> Self {
        Self { disks: vec![disk], scroll: Scroll::default() }
    }

    /// Of all disks of an image.
    pub fn of_image(disks: Vec<Disk>) -> Self {
        Self { disks, scroll: Scroll::default() }
    }
}

impl View for Detail {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "disk.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.scroll")
    }

    fn on_key(&mut self, key: Key, _: &mut Context) -> Step {
        if self.scroll.on_key(key) {
            return Step::Stay;
        }
        if is_back(key) || key == Key::Enter { Step::Back } else { Step::Stay }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let mut rows = Vec::new();
        for disk in &self.disks {
            rows.extend(detail(disk, page.columns(), page.look(), context.language));
            rows.push(Row::default());
        }
        self.scroll.draw(&rows, page, context.language);
    }
}
