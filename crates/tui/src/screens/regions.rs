//! Which regions, where not whole disks are meant.

use super::disks::save;
use super::{Step, View, is_back};
use crate::context::{Context, Task};
use crate::data::{Disk, RegionKind};
use crate::event::{Action, Key};
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::Page;
use crate::text::{bytes, fit, say, width};

/// Regions of one or several disks.
pub struct Regions {
    disks: Vec<Disk>,
    /// Where each disk of an image goes; empty for a save.
    assigned: Vec<(String, String)>,
    menu: Menu,
    marked: Vec<bool>,
    is_hint_shown: bool,
}

impl Regions {
    /// Of these disks; gaps are not chosen alone.
    pub fn new(disks: Vec<Disk>, assigned: Vec<(String, String)>) -> Self {
        let mut regions = Self { disks, assigned, menu: Menu::at(0), marked: Vec::new(), is_hint_shown: false };
        regions.marked = vec![false; regions.names().len()];
        regions
    }

    /// Full names with what is shown of each region.
    fn names(&self) -> Vec<(String, [String; 3])> {
        let of_disk = |disk: &Disk| {
            let regions = disk.regions.iter().filter(|region| region.kind != RegionKind::Gap);
            let line = |region: &crate::data::Region| {
                let name = format!("{}:{}", disk.name, region.name);
                let about = format!("{} {}", region.what, region.holds);
                (name, [bytes(region.length), about.trim().to_owned(), region.saved.clone()])
            };
            regions.map(line).collect::<Vec<_>>()
        };
        self.disks.iter().flat_map(of_disk).collect()
    }
}

impl View for Regions {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "regions.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.regions")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        if self.menu.on_key(key, self.marked.len()) {
            return Step::Stay;
        }
        match key {
            Key::Character(' ') => {
                if let Some(mark) = self.menu.chosen.and_then(|chosen| self.marked.get_mut(chosen)) {
                    *mark = !*mark;
                    self.is_hint_shown = false;
                }
                Step::Stay
            }
            Key::Enter => {
                let names = self.names().into_iter().zip(&self.marked).filter(|(_, marked)| **marked);
                let chosen: Vec<String> = names.map(|((name, _), _)| name).collect();
                if chosen.is_empty() {
                    self.is_hint_shown = true;
                    return Step::Stay;
                }
                if context.task == Task::RestoreRegions {
                    // Only disks that get something are opened.
                    let is_used = |name: &String| chosen.iter().any(|region| region.starts_with(&format!("{name}:")));
                    let disks = self.assigned.iter().filter(|(name, _)| is_used(name)).cloned().collect();
                    return Step::wait(Action::Restore(context.restore(disks, chosen, true)));
                }
                let disks = self.disks.iter().map(|disk| disk.path.clone()).collect();
                Step::wait(Action::Save(save(context, disks, chosen)))
            }
            key if is_back(key) => Step::Back,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let tone = if self.is_hint_shown { Tone::Warning } else { Tone::Plain };
        page.text(tone, &say!(language, "regions.text"));
        page.gap();
        let names = self.names();
        let widest = names.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
        let room = page.left();
        let first = self.menu.first(names.len(), room);
        for (number, (name, [size, about, saved])) in names.iter().enumerate().skip(first).take(room) {
            let mark = if self.marked.get(number) == Some(&true) { "[x]" } else { "[ ]" };
            let line = format!("{mark} {}  {}  {}  {saved}", fit(name, widest), fit(size, 10), fit(about, 24));
            page.choice(self.menu.is(number), &line, Tone::Plain);
        }
    }
}
