//! One module a screen.

pub mod assign;
pub mod busy;
pub mod confirm;
pub mod disks;
pub mod images;
pub mod keyboard;
pub mod language;
pub mod name;
pub mod network;
pub mod outcome;
pub mod place;
pub mod plan;
pub mod regions;
pub mod running;
pub mod task;
pub mod words;

use crate::context::{Context, Task};
use crate::event::{Action, Key};
use crate::page::Page;
use crate::text::say;

/// What follows a key.
pub enum Step {
    /// Nothing more.
    Stay,
    /// The screen before.
    Back,
    /// The first screen.
    First,
    /// What to do.
    Home,
    /// Away from a job that is planned or waited for.
    Leave,
    /// Another screen.
    Show(Box<Screen>),
    /// Something is wanted.
    Act(Action),
    /// Something is wanted, and another screen is shown meanwhile.
    ShowAnd(Box<Screen>, Action),
}

impl Step {
    /// Another screen.
    pub fn show(screen: Screen) -> Self {
        Self::Show(Box::new(screen))
    }

    /// Something is wanted that is waited for.
    pub fn wait(action: Action) -> Self {
        Self::ShowAnd(Box::new(Screen::Busy(busy::Busy::of(&action))), action)
    }

    /// Something is wanted that takes its time.
    pub fn run(action: Action) -> Self {
        Self::ShowAnd(Box::new(Screen::Running(running::Running::default())), action)
    }
}

/// A screen.
pub enum Screen {
    /// Language.
    Language(language::Languages),
    /// Keyboard of the console.
    Keyboard(keyboard::Keyboards),
    /// What to do.
    Task(task::Tasks),
    /// Which kind of target.
    Kind(place::Kinds),
    /// Where it is.
    Place(place::Form),
    /// Network links.
    Links(network::Links),
    /// How one of them is set up.
    Setup(network::Form),
    /// Whether a server answers.
    Probe(network::Probe),
    /// Name of the image.
    Name(name::Name),
    /// One of the images.
    Images(images::Images),
    /// An image or a disk in detail.
    Detail(disks::Detail),
    /// Which disks to save.
    Disks(disks::Disks),
    /// Which regions.
    Regions(regions::Regions),
    /// Which disk goes where.
    Assign(assign::Assign),
    /// A disk to overwrite.
    Pick(assign::Pick),
    /// Something is waited for.
    Busy(busy::Busy),
    /// What will be done.
    Plan(plan::Planned),
    /// Whether another node lives on.
    Scope(confirm::ScopeQuestion),
    /// Whether it is to be done.
    Confirm(confirm::Confirm),
    /// What must be typed.
    Words(words::Words),
    /// How far it is.
    Running(running::Running),
    /// What was done.
    Outcome(outcome::Result),
    /// What was not done.
    Failure(outcome::Failed),
    /// Whether the program is to end.
    Quit(confirm::Quit),
}

/// Calls a method of whatever screen it is.
macro_rules! each {
    ($screen:expr, $view:ident => $call:expr) => {
        match $screen {
            Screen::Language($view) => $call,
            Screen::Keyboard($view) => $call,
            Screen::Task($view) => $call,
            Screen::Kind($view) => $call,
            Screen::Place($view) => $call,
            Screen::Links($view) => $call,
            Screen::Setup($view) => $call,
            Screen::Probe($view) => $call,
            Screen::Name($view) => $call,
            Screen::Images($view) => $call,
            Screen::Detail($view) => $call,
            Screen::Disks($view) => $call,
            Screen::Regions($view) => $call,
            Screen::Assign($view) => $call,
            Screen::Pick($view) => $call,
            Screen::Busy($view) => $call,
            Screen::Plan($view) => $call,
            Screen::Scope($view) => $call,
            Screen::Confirm($view) => $call,
            Screen::Words($view) => $call,
            Screen::Running($view) => $call,
            Screen::Outcome($view) => $call,
            Screen::Failure($view) => $call,
            Screen::Quit($view) => $call,
        }
    };
}

/// What every screen can do.
pub trait View {
    /// Its title.
    fn title(&self, context: &Context) -> String;
    /// The keys that it takes, for the line at the bottom.
    fn help(&self, context: &Context) -> String {
        say!(context.language, "help.menu")
    }
    /// Takes a key.
    fn on_key(&mut self, key: Key, context: &mut Context) -> Step;
    /// Draws itself.
    fn draw(&self, context: &Context, page: &mut Page<'_>);
    /// Whether letters are text now.
    fn is_typing(&self) -> bool {
        false
    }
    /// Whether letters are a secret now.
    fn is_secret(&self) -> bool {
        false
    }
}

impl Screen {
    /// Its title.
    pub fn title(&self, context: &Context) -> String {
        each!(self, view => view.title(context))
    }

    /// The line at the bottom.
    pub fn help(&self, context: &Context) -> String {
        each!(self, view => view.help(context))
    }

    /// Takes a key.
    pub fn on_key(&mut self, key: Key, context: &mut Context) -> Step {
        each!(self, view => view.on_key(key, context))
    }

    /// Draws itself.
    pub fn draw(&self, context: &Context, page: &mut Page<'_>) {
        each!(self, view => view.draw(context, page));
    }

    /// Whether letters are text now.
    pub fn is_typing(&self) -> bool {
        each!(self, view => view.is_typing())
    }

    /// Whether letters are a secret now.
    pub fn is_secret(&self) -> bool {
        each!(self, view => view.is_secret())
    }

    /// Whether it goes away with the job that it belongs to.
    pub fn is_of_job(&self) -> bool {
        matches!(
            self,
            Self::Busy(_)
                | Self::Plan(_)
                | Self::Scope(_)
                | Self::Confirm(_)
                | Self::Words(_)
                | Self::Running(_)
                | Self::Failure(_)
                | Self::Quit(_)
        )
    }
}

/// Whether a key asks to go back. Backspace and q too: a lone Escape is slow on some consoles.
pub fn is_back(key: Key) -> bool {
    matches!(key, Key::Escape | Key::Backspace | Key::Character('q') | Key::Left)
}

/// The screen that follows when a target was opened.
pub fn after_opening(context: &Context) -> Screen {
    match context.task {
        Task::SaveDisks | Task::SaveRegions => Screen::Name(name::Name::new(context)),
        _ => Screen::Images(images::Images::new(context)),
    }
}

/// The screen that follows when the disks are known.
pub fn after_listing(context: &Context) -> Screen {
    match context.task {
        Task::SaveDisks | Task::SaveRegions => Screen::Disks(disks::Disks::new(context)),
        _ => Screen::Assign(assign::Assign::new(context)),
    }
}
