//! The network of the appliance: which links there are, how one gets an address, and whether a server answers.

use super::place::draw_labelled;
use super::{Screen, Step, View, is_back};
use crate::context::Context;
use crate::data::{Bond, Failure, Link, Method, Note, Setup};
use crate::event::{Action, Key};
use crate::field::Field;
use crate::look::Tone;
use crate::menu::Menu;
use crate::page::{Page, Row, note_rows};
use crate::text::{Language, fit, say, say_key, width};

/// The links of this machine.
pub struct Links {
    menu: Menu,
    marked: Vec<String>,
}

impl Default for Links {
    fn default() -> Self {
        Self { menu: Menu::at(0), marked: Vec::new() }
    }
}

fn line(link: &Link, widest: usize, language: Language) -> String {
    let state = if link.has_carrier { say!(language, "link.up") } else { say!(language, "link.down") };
    let addresses =
        if link.addresses.is_empty() { say!(language, "link.no_address") } else { link.addresses.join(" ") };
    format!("{}  {}  {}  {addresses}", fit(&link.name, widest), fit(&state, 10), fit(&link.mac, 17))
}

impl View for Links {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "network.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.network")
    }

    fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        let links = &context.network.links;
        if self.menu.on_key(key, links.len()) {
            return Step::Stay;
        }
        let present = self.menu.chosen.and_then(|chosen| links.get(chosen));
        match key {
            Key::Character(' ') => {
                if let Some(link) = present {
                    match self.marked.iter().position(|name| *name == link.name) {
                        Some(number) => drop(self.marked.remove(number)),
                        None => self.marked.push(link.name.clone()),
                    }
                }
                Step::Stay
            }
            Key::Enter => {
                self.marked.retain(|name| links.iter().any(|link| link.name == *name));
                let mut names = self.marked.clone();
                if names.is_empty() {
                    names.extend(present.map(|link| link.name.clone()));
                }
                if names.is_empty() { Step::Stay } else { Step::show(Screen::Setup(Form::new(names))) }
            }
            Key::Character('t') => Step::show(Screen::Probe(Probe::new(context))),
            Key::Character('r') => Step::wait(Action::ListLinks),
            key if is_back(key) => Step::Back,
            _ => Step::Stay,
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let network = &context.network;
        if network.links.is_empty() {
            page.text(Tone::Warning, &say!(language, "network.none"));
            return;
        }
        page.text(Tone::Plain, &say!(language, "network.text"));
        page.gap();
        let room = page.left().saturating_sub(6).max(3);
        let widest = network.links.iter().map(|link| width(&link.name)).max().unwrap_or_default();
        let first = self.menu.first(network.links.len(), room);
        for (number, link) in network.links.iter().enumerate().skip(first).take(room) {
            let mark = if self.marked.contains(&link.name) { "[x]" } else { "[ ]" };
            let tone = if link.has_carrier { Tone::Plain } else { Tone::Dim };
            page.choice(self.menu.is(number), &format!("{mark} {}", line(link, widest, language)), tone);
        }
        page.rule("");
        let none = || say!(language, "network.unknown");
        let gateway = network.gateway.clone().unwrap_or_else(none);
        let servers = if network.servers.is_empty() { none() } else { network.servers.join(" ") };
        page.line(Tone::Plain, say!(language, "network.gateway", gateway = gateway));
        page.line(Tone::Plain, say!(language, "network.servers", servers = servers));
        if let Some(link) = self.menu.chosen.and_then(|chosen| network.links.get(chosen)) {
            page.line(Tone::Dim, format!("{}: {}", link.name, link.about));
        }
    }
}

/// A line of the form.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Method,
    Bond,
    /// Number of a field.
    Field(usize),
    Apply,
}

const FIELDS: [&str; 4] = ["address", "gateway", "servers", "vlan"];
const VLAN: usize = 3;

/// How one link, or a bond of several, gets an address.
pub struct Form {
    links: Vec<String>,
    method: Method,
    bond: Bond,
    fields: [Field; 4],
    chosen: usize,
    problem: Option<Failure>,
}

impl Form {
    fn new(links: Vec<String>) -> Self {
        let fields = FIELDS.map(|_| Field::default());
        Self { links, method: Method::Dhcp, bond: Bond::ActiveBackup, fields, chosen: 0, problem: None }
    }

    /// What kept it from being done.
    pub fn failed(&mut self, failure: Failure) {
        self.problem = Some(failure);
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Method];
        if self.method == Method::Fixed {
            entries.extend((0..VLAN).map(Entry::Field));
        }
        entries.push(Entry::Field(VLAN));
        if self.links.len() > 1 {
            entries.push(Entry::Bond);
        }
        entries.push(Entry::Apply);
        entries
    }

    fn setup(&self) -> Setup {
        let [address, gateway, servers, vlan] = self.fields.each_ref().map(|field| field.text().trim().to_owned());
        let fixed = |text: String| if self.method == Method::Fixed { text } else { String::new() };
        Setup {
            links: self.links.clone(),
            bond: self.bond,
            method: self.method,
            address: fixed(address),
            gateway: fixed(gateway),
            servers: fixed(servers),
            vlan,
        }
    }

    fn toggle(&mut self, entry: Entry) {
        match entry {
            Entry::Method => {
                self.method = if self.method == Method::Dhcp { Method::Fixed } else { Method::Dhcp };
            }
            Entry::Bond => {
                self.bond = if self.bond == Bond::ActiveBackup { Bond::Lacp } else { Bond::ActiveBackup };
            }
            Entry::Field(_) | Entry::Apply => {}
        }
    }
}

impl View for Form {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "network.setup", links = self.links.join(", "))
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.setup")
    }

    fn is_typing(&self) -> bool {
        matches!(self.entries().get(self.chosen), Some(Entry::Field(_)))
    }

    fn on_key(&mut self, key: Key, _: &mut Context) -> Step {
        let entries = self.entries();
        let last = entries.len().saturating_sub(1);
        let entry = entries.get(self.chosen).copied().unwrap_or(Entry::Apply);
        match (key, entry) {
            (Key::Escape, _) => return Step::Back,
            (Key::Up | Key::BackTab, _) => self.chosen = self.chosen.saturating_sub(1),
            (Key::Down | Key::Tab, _) => self.chosen = self.chosen.saturating_add(1).min(last),
            (Key::Enter, Entry::Apply) => {
                self.problem = None;
                return Step::wait(Action::SetUp(self.setup()));
            }
            (Key::Enter, _) => self.chosen = self.chosen.saturating_add(1).min(last),
            (Key::Character(' ') | Key::Left | Key::Right, Entry::Method | Entry::Bond) => self.toggle(entry),
            (key, Entry::Field(number)) => {
                if let Some(field) = self.fields.get_mut(number) {
                    field.on_key(key);
                }
            }
            (key, _) if is_back(key) => return Step::Back,
            _ => {}
        }
        Step::Stay
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        let names = FIELDS.map(|name| say_key(language, &format!("field.{name}")));
        let (method, bond) = (say!(language, "field.method"), say!(language, "field.bond"));
        let widest = names.iter().chain([&method, &bond]).map(|name| width(name)).max().unwrap_or_default();
        let entries = self.entries();
        for (number, entry) in entries.iter().enumerate() {
            let is_chosen = number == self.chosen;
            let choice = |page: &mut Page<'_>, name: &str, first: String, second: String, is_first: bool| {
                let mark = |is_marked: bool| if is_marked { "(*)" } else { "( )" };
                let text = format!("{}  {} {first}   {} {second}", fit(name, widest), mark(is_first), mark(!is_first));
                page.choice(is_chosen, &text, Tone::Plain);
            };
            match entry {
                Entry::Method => {
                    let (dhcp, fixed) = (say!(language, "method.dhcp"), say!(language, "method.fixed"));
                    choice(page, &method, dhcp, fixed, self.method == Method::Dhcp);
                }
                Entry::Bond => {
                    let (backup, lacp) = (say!(language, "bond.backup"), say!(language, "bond.lacp"));
                    choice(page, &bond, backup, lacp, self.bond == Bond::ActiveBackup);
                }
                Entry::Field(field) => {
                    if let (Some(name), Some(field)) = (names.get(*field), self.fields.get(*field)) {
                        draw_labelled(page, field, name, widest, is_chosen);
                    }
                }
                Entry::Apply => {
                    page.gap();
                    page.choice(is_chosen, &say!(language, "network.apply"), Tone::Plain);
                }
            }
        }
        page.gap();
        let hint = match entries.get(self.chosen) {
            Some(Entry::Method) => "hint.method",
            Some(Entry::Bond) => "hint.bond",
            Some(Entry::Field(0)) => "hint.address",
            Some(Entry::Field(1)) => "hint.gateway",
            Some(Entry::Field(2)) => "hint.servers",
            Some(Entry::Field(_)) => "hint.vlan",
            Some(Entry::Apply) | None => "hint.apply",
        };
        page.text(Tone::Dim, &say_key(language, hint));
        if let Some(failure) = &self.problem {
            page.problem(&say!(language, "failure.title"), failure);
        }
    }
}

/// Whether a server answers, and how.
pub struct Probe {
    field: Field,
    notes: Vec<Note>,
}

impl Probe {
    /// Of the server of the target that was used last.
    fn new(context: &Context) -> Self {
        let target = &context.place.target;
        let rest = target.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
        let server = rest.split(['/', '?']).next().unwrap_or_default();
        let server = server.rsplit('@').next().unwrap_or_default();
        Self { field: Field::new(server), notes: Vec::new() }
    }

    /// What was found.
    pub fn answer(&mut self, notes: Vec<Note>) {
        self.notes = notes;
    }
}

impl View for Probe {
    fn title(&self, context: &Context) -> String {
        say!(context.language, "probe.title")
    }

    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.probe")
    }

    fn is_typing(&self) -> bool {
        true
    }

    fn on_key(&mut self, key: Key, _: &mut Context) -> Step {
        match key {
            key if self.field.is_left_by(key) => Step::Back,
            Key::Enter if !self.field.text().trim().is_empty() => {
                self.notes.clear();
                Step::wait(Action::Probe(self.field.text().trim().to_owned()))
            }
            key => {
                self.field.on_key(key);
                Step::Stay
            }
        }
    }

    fn draw(&self, context: &Context, page: &mut Page<'_>) {
        let language = context.language;
        page.text(Tone::Plain, &say!(language, "probe.text"));
        page.gap();
        let name = say!(language, "field.server");
        draw_labelled(page, &self.field, &name, width(&name), true);
        page.gap();
        let columns = page.columns();
        let rows: Vec<Row> = self.notes.iter().flat_map(|note| note_rows(note, columns)).collect();
        rows.iter().for_each(|row| page.row(row));
    }
}
