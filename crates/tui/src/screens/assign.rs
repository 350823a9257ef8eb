//! Which disk of an image goes to which attached disk.

use super::disks::{self, Detail, table};
use super::regions::Regions;
use super::{Screen, Step, View, is_back};
use crate::context::{Context, Task};
use crate::data::{Disk, RegionKind};
use crate::event::{Action, Key};
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::Page;
use crate::text::{bytes, fit, say, say_key, width};

/// For each disk of the image, where it goes.
pub struct Assign {
    menu: Menu,
    /// One for each disk of the image: the path of the disk that it goes to.
    chosen: Vec<Option<String>>,
    verify_first: bool,
    /// What takes the rest of a larger disk: number of the choice.
    grow: usize,
    has_new_identity: bool,
    is_hint_shown: bool,
}

impl Assign {
    /// Only a disk that is the very same is taken without asking.
    pub fn new(context: &Context) -> Self {
        let known = context.chosen_image().map(|image| image.disks.as_slice()).unwrap_or_default();
        let chosen: Vec<Option<String>> = known.iter().map(|disk| same(disk, &context.disks)).collect();
        Self { menu: Menu::at(0), chosen, verify_first: true, grow: 0, has_new_identity: false, is_hint_shown: false }
    }

    /// Takes the disk that was picked for the disk of this number.
    pub fn pick(&mut self, number: usize, path: Option<String>) {
        // One disk can't take two of the image.
        for (other, chosen) in self.chosen.iter_mut().enumerate() {
            if other != number && path.is_some() && *chosen == path {
                *chosen = None;
            }
        }
        if let Some(chosen) = self.chosen.get_mut(number) {
            *chosen = path;
        }
        self.is_hint_shown = false;
    }
}

/// The attached disk that is the same as one of the image, by WWN or serial number.
fn same(disk: &Disk, attached: &[Disk]) -> Option<String> {
    let equal = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
    let mut found = attached.iter().filter(|other| equal(&disk.wwn, &other.wwn) || equal(&disk.serial, &other.serial));
    match (found.next(), found.next()) {
        (Some(found), None) => Some(found.path.clone()),
        _ => None,
    }
}

/// Lines between the disks and the way on, where whole disks are restored.
const OPTIONS: usize = 3;

/// What can take the rest of a larger disk. Names of partitions are clear only where one disk is in the image.
fn growable(context: &Context) -> Vec<String> {
    let mut all = vec!["last".to_owned()];
    let disks = context.chosen_image().map(|image| image.disks.as_slice()).unwrap_or_default();
    if let [only] = disks {
        let partitions = only.regions.iter().filter(|region| region.kind == RegionKind::Partition);
        all.extend(partitions.map(|region| region.name.clone()));
    }
    all
}

impl View for Assign {
    fn title(&self, context: &Context) -> String {
        let key = if context.task == Task::Compare { "assign.title_compare" } else { "assign.title" };
        say_key(context.language, key)
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        if let Some((number, path)) = context.picked.take() {
            self.pick(number, path);
        }
        let count = self.chosen.len();
        let options = if context.task == Task::RestoreDisks { OPTIONS } else { 0 };
        let go_on = count.saturating_add(options);
        if self.menu.on_key(key, go_on.saturating_add(1)) {
            return Step::Stay;
        }
        match key {
            Key::Enter | Key::Character(' ') | Key::Right => {}
            key if is_back(key) => return Step::Back,
            _ => return Step::Stay,
        }
        let chosen = self.menu.chosen.unwrap_or_default();
        if chosen < count {
            return Step::show(Screen::Pick(Pick { number: chosen, menu: Menu::at(0) }));
        }
        if chosen < go_on {
            match chosen.saturating_sub(count) {
                0 => self.verify_first = !self.verify_first,
                1 => {
                    let choices = growable(context).len().saturating_add(1);
                    self.grow = self.grow.saturating_add(1).checked_rem(choices).unwrap_or_default();
                }
                _ => self.has_new_identity = !self.has_new_identity,
            }
            return Step::Stay;
        }
        let Some(image) = context.chosen_image() else { return Step::Stay };
        let pairs = image.disks.iter().zip(&self.chosen);
        let assigned: Vec<(String, String)> =
            pairs.filter_map(|(disk, path)| Some((disk.name.clone(), path.clone()?))).collect();
        if assigned.is_empty() {
            self.is_hint_shown = true;
            return Step::Stay;
        }
        match context.task {
            Task::RestoreRegions => {
                let is_assigned = |disk: &&Disk| assigned.iter().any(|(name, _)| *name == disk.name);
                let disks = image.disks.iter().filter(is_assigned).cloned().collect();
                Step::show(Screen::Regions(Regions::new(disks, assigned)))
            }
            Task::Compare => Step::run(Action::Compare(context.restore(assigned, Vec::new(), false))),
            _ => {
                let mut restore = context.restore(assigned, Vec::new(), self.verify_first);
                restore.grow = self.grow.checked_sub(1).and_then(|number| growable(context).into_iter().nth(number));
                restore.has_new_identity = self.has_new_identity;
                Step::wait(Action::Restore(restore))
            }
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let Some(image) = context.chosen_image() else { return };
        let tone = if self.is_hint_shown { Tone::Warning } else { Tone::Plain };
        let text = if context.task == Task::Compare { "assign.compare" } else { "assign.text" };
        page.text(tone, &say_key(language, text));
        page.gap();
        let widest = image.disks.iter().map(|disk| width(&disk.name)).max().unwrap_or_default();
        let picked = context.picked.as_ref();
        for (number, (disk, chosen)) in image.disks.iter().zip(&self.chosen).enumerate() {
            let chosen = match picked {
                Some((other, path)) if *other == number => path,
                Some((_, path)) if path.is_some() && path == chosen => &None,
                _ => chosen,
            };
            let to = chosen.as_ref().map_or_else(
                || say!(language, "assign.none"),
                |path| {
                    let disk = context.disks.iter().find(|disk| disk.path == *path);
                    let about = disk.map(|disk| (bytes(disk.size), disk.model.clone(), disk.serial.clone()));
                    let (size, model, serial) = about.unwrap_or_default();
                    let known: Vec<String> = [Some(size), model, serial].into_iter().flatten().collect();
                    format!("{path}  {}", known.join("  "))
                },
            );
            let from = format!("{}  {}", fit(&disk.name, widest), fit(&bytes(disk.size), 10));
            page.choice(self.menu.is(number), &format!("{from} -> {to}"), Tone::Plain);
        }
        page.gap();
        let mut next = self.chosen.len();
        if context.task == Task::RestoreDisks {
            let mark = |is_marked: bool| if is_marked { "[x]" } else { "[ ]" };
            let choices = growable(context);
            let grown = self.grow.checked_sub(1).and_then(|number| choices.get(number));
            let grow = match grown.map(String::as_str) {
                None => say!(language, "assign.no_grow"),
                Some("last") => say!(language, "assign.grow_last"),
                Some(region) => say!(language, "assign.grow", region = region),
            };
            let lines = [
                (self.verify_first, say!(language, "assign.verify_first")),
                (grown.is_some(), grow),
                (self.has_new_identity, say!(language, "assign.new_identity")),
            ];
            for (is_marked, text) in lines {
                page.choice(self.menu.is(next), &format!("{} {text}", mark(is_marked)), Tone::Plain);
                next = next.saturating_add(1);
            }
        }
        page.choice(self.menu.is(next), &say!(language, "name.go_on"), Tone::Plain);
        if let Some(disk) = self.menu.chosen.and_then(|chosen| image.disks.get(chosen)) {
            page.rule(&say!(language, "assign.saved", disk = disk.name));
            let rows = disks::detail(disk, page.columns(), page.look(), language);
            rows.iter().for_each(|row| page.row(row));
        }
    }
}

/// The attached disks, for one disk of the image.
pub struct Pick {
    number: usize,
    menu: Menu,
}

impl View for Pick {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "pick.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.pick")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let count = context.disks.len();
        if self.menu.on_key(key, count.saturating_add(1)) {
            return Step::Stay;
        }
        let present = self.menu.chosen.and_then(|chosen| context.disks.get(chosen));
        match (key, present) {
            (Key::Character('i'), Some(disk)) => Step::show(Screen::Detail(Detail::new(disk.clone()))),
            (Key::Enter, Some(disk)) if disk.problem.is_some() => Step::Stay,
            (Key::Enter, present) => {
                context.picked = Some((self.number, present.map(|disk| disk.path.clone())));
                Step::Back
            }
            (key, _) if is_back(key) => Step::Back,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let name = context.chosen_image().and_then(|image| image.disks.get(self.number)).map(|disk| disk.name.clone());
        let name = name.unwrap_or_default();
        page.text(Tone::Plain, &say!(language, "pick.text", disk = name));
        page.gap();
        let mut lines: Vec<(String, Tone)> =
            table(&context.disks).into_iter().zip(context.disks.iter().map(disks::tone)).collect();
        lines.push((say!(language, "pick.none"), Tone::Plain));
        let room = page.left().saturating_sub(8).clamp(3, 12);
        let first = self.menu.first(lines.len(), room);
        for (number, (line, tone)) in lines.iter().enumerate().skip(first).take(room) {
            page.choice(self.menu.is(number), line, *tone);
        }
        if let Some(disk) = self.menu.chosen.and_then(|chosen| context.disks.get(chosen)) {
            page.rule("");
            let rows = disks::detail(disk, page.columns(), page.look(), language);
            rows.iter().for_each(|row| page.row(row));
        }
    }
}
