//! Which screen is shown, and what follows.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use crate::context::{Context, Settings, Task};
use crate::data::{Failure, Network, Place, Plan, Repository, Weight};
use crate::event::{Action, Event, Key};
use crate::look::{Look, Tone};
use crate::page::{Page, SMALLEST};
use crate::progress::Progress;
use crate::screens::{self, Screen, Step};
use crate::text::{Language, fit, say, width};

/// The screens, from the first question to the result.
pub struct State {
    context: Context,
    /// The way that the operator went; the last is shown.
    way: Vec<Screen>,
    shows_help: bool,
}

impl State {
    /// The first screen.
    pub fn new(language: Language, look: Look, settings: Settings) -> Self {
        let first = Screen::Language(screens::language::Languages::new(language, settings.can_draw_kanji));
        let context = Context {
            language,
            look,
            image: settings.image.clone(),
            settings,
            task: Task::default(),
            place: Place::default(),
            repository: Repository::default(),
            network: Network::default(),
            disks: Vec::new(),
            note: String::new(),
            set: String::new(),
            picked: None,
            plan: Plan::default(),
            gate: None,
            has_answered: false,
            asked: None,
            progress: Progress::default(),
            last: None,
        };
        Self { context, way: vec![first], shows_help: false }
    }

    /// Whether something runs that a clock should be told of.
    pub fn is_running(&self) -> bool {
        matches!(self.way.last(), Some(Screen::Busy(_) | Screen::Running(_)))
    }

    /// Whether something runs that must not be left alone by accident.
    pub fn is_working(&self) -> bool {
        matches!(self.way.last(), Some(Screen::Running(_)))
    }

    /// Whether what is typed now is shown to nobody, and kept nowhere.
    pub fn is_secret(&self) -> bool {
        !self.shows_help && self.way.last().is_some_and(Screen::is_secret)
    }

    /// Another terminal shows the screens from now on.
    pub fn use_terminal(&mut self, look: Look, can_draw_kanji: bool) {
        self.context.look = look;
        self.context.settings.can_draw_kanji = can_draw_kanji;
        if !can_draw_kanji {
            self.context.language = Language::English;
        }
    }

    /// The language of all texts.
    pub fn language(&self) -> Language {
        self.context.language
    }

    /// Takes what happens; says what the operator wants.
    pub fn on(&mut self, event: Event) -> Option<Action> {
        match event {
            Event::Key(key) => return self.on_key(key),
            Event::Tick(now) => self.context.progress.tick(now),
            Event::Session(event) => self.context.progress.session(&event, self.context.language),
            Event::Contact { text, is_lost } => {
                let weight = if is_lost { Weight::Warning } else { Weight::Good };
                self.context.progress.note(weight, text.clone());
                let progress = &mut self.context.progress;
                if is_lost && progress.contact.is_none() {
                    progress.losses = progress.losses.saturating_add(1);
                }
                progress.contact = is_lost.then_some(text);
            }
            Event::Opened(repository) => {
                self.context.repository = repository;
                self.leave_job();
                self.way.push(screens::after_opening(&self.context));
            }
            Event::Disks(disks) => {
                self.context.disks = disks;
                self.leave_job();
                self.way.push(screens::after_listing(&self.context));
            }
            Event::Planned(plan) => {
                self.context.plan = plan;
                self.leave_job();
                self.way.push(Screen::Plan(screens::plan::Planned::default()));
            }
            Event::Gate(gate) => {
                self.context.gate = Some(gate);
                // A plan is read before anything is asked about it.
                match self.way.last() {
                    Some(Screen::Busy(_)) => self.way.push(screens::words::gate()),
                    Some(Screen::Plan(plan)) if plan.is_agreed => self.way.push(screens::words::gate()),
                    _ => {}
                }
            }
            Event::Volumes(volumes) => {
                if let Some(Screen::Place(form)) = self.way.last_mut() {
                    form.offer(volumes);
                }
            }
            Event::Named(image) => {
                if self.context.image == self.context.settings.image {
                    self.context.image.clone_from(&image);
                }
                self.context.settings.image = image;
            }
            Event::Asked { names } => {
                self.context.asked = Some(names);
                match self.way.last() {
                    Some(Screen::Busy(_)) => {
                        self.way.pop();
                        self.way.push(screens::confirm::first());
                    }
                    Some(Screen::Plan(plan)) if plan.is_agreed => self.way.push(screens::confirm::first()),
                    _ => {}
                }
            }
            Event::Network(network) => {
                self.context.network = network;
                self.leave_job();
                if matches!(self.way.last(), Some(Screen::Setup(_))) {
                    self.way.pop();
                }
                if !matches!(self.way.last(), Some(Screen::Links(_))) {
                    self.way.push(Screen::Links(screens::network::Links::default()));
                }
            }
            Event::Probed(notes) => {
                self.leave_job();
                if let Some(Screen::Probe(probe)) = self.way.last_mut() {
                    probe.answer(notes);
                }
            }
            Event::Done(outcome) => {
                self.leave_job();
                self.way.push(Screen::Outcome(screens::outcome::Result::new(outcome)));
            }
            Event::Failed(failure) => self.failed(failure),
        }
        None
    }

    fn failed(&mut self, failure: Failure) {
        self.leave_job();
        match self.way.last_mut() {
            // What is wrong with a target is shown beside what was typed.
            Some(Screen::Place(form)) => form.failed(failure),
            Some(Screen::Setup(form)) => form.failed(failure),
            _ => self.way.push(Screen::Failure(screens::outcome::Failed::new(failure))),
        }
    }

    /// Takes away the screens of a job that is over.
    fn leave_job(&mut self) {
        while self.way.last().is_some_and(Screen::is_of_job) {
            self.way.pop();
        }
        self.context.asked = None;
        self.context.gate = None;
    }

    fn on_key(&mut self, key: Key) -> Option<Action> {
        if self.shows_help {
            self.shows_help = false;
            return None;
        }
        let screen = self.way.last_mut()?;
        let is_typing = screen.is_typing();
        if key == Key::Help || (key == Key::Character('?') && !is_typing) {
            self.shows_help = true;
            return None;
        }
        if key == Key::Interrupt && !matches!(screen, Screen::Running(_) | Screen::Quit(_)) {
            self.way.push(Screen::Quit(screens::confirm::Quit::default()));
            return None;
        }
        let step = screen.on_key(key, &mut self.context);
        self.take(step)
    }

    fn take(&mut self, step: Step) -> Option<Action> {
        match step {
            Step::Stay => None,
            Step::Act(action) => Some(action),
            Step::Back => {
                if self.way.len() > 1 {
                    self.way.pop();
                } else {
                    self.way.push(Screen::Quit(screens::confirm::Quit::default()));
                }
                None
            }
            Step::First => {
                self.way.truncate(1);
                None
            }
            Step::Home => {
                let is_first =
                    |screen: &Screen| matches!(screen, Screen::Language(_) | Screen::Keyboard(_) | Screen::Task(_));
                self.way.retain(is_first);
                None
            }
            Step::Leave => {
                self.leave_job();
                Some(Action::Leave)
            }
            Step::Show(screen) => {
                self.way.push(*screen);
                None
            }
            Step::ShowAnd(screen, action) => {
                if matches!(
                    action,
                    Action::Open(_)
                        | Action::ListLinks
                        | Action::SetUp(_)
                        | Action::Probe(_)
                        | Action::ListDisks
                        | Action::Save(_)
                        | Action::Restore(_)
                        | Action::Verify { .. }
                        | Action::Compare(_)
                        | Action::Signatures
                        | Action::Go
                ) {
                    self.context.progress = Progress::default();
                }
                let is_answer = matches!(action, Action::Go | Action::Scope(_) | Action::Words(_));
                let is_aside = matches!(action, Action::UseLanguage(_) | Action::UseKeyboard(_) | Action::ListVolumes);
                if !is_answer && !is_aside {
                    self.context.has_answered = false;
                    self.context.asked = None;
                    self.context.last = Some(action.clone());
                }
                self.way.push(*screen);
                Some(action)
            }
        }
    }

    /// Draws the screen.
    pub fn draw(&self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let cursor = self.draw_on(frame.buffer_mut(), area);
        if let Some(cursor) = cursor {
            frame.set_cursor_position(cursor);
        }
    }

    fn draw_on(&self, buffer: &mut ratatui::buffer::Buffer, area: Rect) -> Option<Position> {
        let context = &self.context;
        let language = context.language;
        let inner = area.intersection(Rect { x: area.x.saturating_add(1), ..area });
        let inner = Rect { width: inner.width.saturating_sub(1), ..inner };
        if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
            let mut page = Page::new(buffer, context.look, area);
            let (columns, lines) = (area.width, area.height);
            page.text(Tone::Plain, &say!(language, "page.small", columns = columns, lines = lines));
            return None;
        }
        let screen = self.way.last()?;
        let mut columns = usize::from(area.width);
        let mut page = Page::new(buffer, context.look, Rect { height: 1, ..area });
        let host = format!("{} ", context.settings.host);
        columns = columns.saturating_sub(width(&host));
        let title = format!(" Sosei {} | {}", context.settings.version, self.title(screen));
        page.line(Tone::Bar, format!("{}{host}", fit(&title, columns)));
        let bottom = Rect { y: area.bottom().saturating_sub(1), height: 1, ..area };
        let mut page = Page::new(buffer, context.look, bottom);
        let help = if self.shows_help { say!(language, "help.any") } else { screen.help(context) };
        page.line(Tone::Bar, fit(&format!(" {help}"), usize::from(area.width)));
        let body = Rect { y: area.y.saturating_add(2), height: area.height.saturating_sub(3), ..inner };
        let mut page = Page::new(buffer, context.look, body);
        if self.shows_help {
            page.line(Tone::Strong, say!(language, "help.title"));
            page.gap();
            page.text(Tone::Plain, &say!(language, "help.text"));
            return None;
        }
        screen.draw(context, &mut page);
        page.cursor()
    }

    fn title(&self, screen: &Screen) -> String {
        let context = &self.context;
        let has_task = self.way.iter().any(|screen| matches!(screen, Screen::Task(_)));
        let is_aside = matches!(screen, Screen::Links(_) | Screen::Setup(_) | Screen::Probe(_));
        let title = screen.title(context);
        let is_before = matches!(screen, Screen::Task(_) | Screen::Keyboard(_) | Screen::Language(_));
        if has_task && !is_aside && !is_before && !matches!(screen, Screen::Quit(_)) {
            return format!("{} > {title}", screens::task::name(context.task, context.language));
        }
        title
    }
}
