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
    /// Where each goes, where that is another region than the one of the same name.
    elsewhere: Vec<Option<String>>,
    is_hint_shown: bool,
}

impl Regions {
    /// Of these disks; gaps are not chosen alone.
    pub fn new(disks: Vec<Disk>, assigned: Vec<(String, String)>) -> Self {
        let (marked, elsewhere) = (Vec::new(), Vec::new());
        let mut regions = Self { disks, assigned, menu: Menu::at(0), marked, elsewhere, is_hint_shown: false };
        let count = regions.names().len();
        (regions.marked, regions.elsewhere) = (vec![false; count], vec![None; count]);
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

impl Regions {
    /// The chosen region goes to the next region of its destination.
    fn next_place(&mut self, context: &Context) {
        let names = self.names();
        let Some((name, _)) = self.menu.chosen.and_then(|chosen| names.get(chosen)) else { return };
        let Some((disk, _)) = name.split_once(':') else { return };
        let path = self.assigned.iter().find(|(name, _)| name == disk).map(|(_, path)| path);
        let destination = context.disks.iter().find(|disk| Some(&disk.path) == path);
        let regions = destination.iter().flat_map(|destination| &destination.regions);
        let regions = regions.filter(|region| region.kind != RegionKind::Gap);
        let places: Vec<String> = regions.map(|region| format!("{disk}:{}", region.name)).collect();
        let Some(present) = self.menu.chosen.and_then(|chosen| self.elsewhere.get_mut(chosen)) else { return };
        let now = present.as_ref().unwrap_or(name);
        let next = places.iter().position(|place| place == now).map_or(0, |number| number.saturating_add(1));
        let next = places.get(next).or(places.first()).cloned();
        *present = next.filter(|place| place != name);
    }
}

impl View for Regions {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "regions.title")
    }

    fn help(&self, context: &Context) -> String {
        if context.task == Task::RestoreRegions {
            return say!(context.language, "help.regions_restore");
        }
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
            Key::Character('m') if context.task == Task::RestoreRegions => {
                self.next_place(context);
                Step::Stay
            }
            Key::Enter => {
                let placed = |(name, elsewhere): (String, &Option<String>)| match elsewhere {
                    Some(place) => format!("{name}={place}"),
                    None => name,
                };
                let names = self.names().into_iter().map(|(name, _)| name).zip(&self.elsewhere).zip(&self.marked);
                let chosen: Vec<String> =
                    names.filter(|(_, marked)| **marked).map(|(region, _)| placed(region)).collect();
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
            let end = match self.elsewhere.get(number) {
                Some(Some(place)) => format!("-> {place}"),
                _ => saved.clone(),
            };
            let line = format!("{mark} {}  {}  {}  {end}", fit(name, widest), fit(size, 10), fit(about, 24));
            page.choice(self.menu.is(number), &line, Tone::Plain);
        }
    }
}
