//! Does what the screens want, one job after the other, in a thread of its own: it goes on when the terminal goes.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use crate::language::t;
use cluster::sharing::Purpose;
use device::Attached;
use image::ImageName;
use repository::{Contact, S3Keys, Secret};
use session::{Cancel, ClosedGate, Observer, RequestError, RestorePlan, SavePlan, Scope};
use tui::{Action, Event, Note, Place, Weight};

use super::{Message, views};
use crate::arguments::{IdentityChoice, Restore, Save};
use crate::commands::{checklist, compare, disks, identity, restore, save, verify};
use crate::disks::names_of;
use crate::failure::{DONE, Failure};
use crate::operator::{Credentials, Operator, Reporter};
use crate::progress::contact_text;
use crate::{network, sharing, target};

/// Events that wait for a terminal that takes nothing. The last say how it is.
const EVENTS_LIMIT: usize = 1000;

/// What happens, until the screens fetch it.
#[derive(Default)]
pub struct Mailbox {
    events: Mutex<Vec<Event>>,
}

impl Mailbox {
    /// What has happened since the last time.
    pub fn fetch(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps an event. Of how far the work is, the last word counts.
    fn put(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        match (events.last_mut(), &event) {
            (
                Some(last @ Event::Session(session::Event::Progress { .. })),
                Event::Session(session::Event::Progress { .. }),
            )
            | (
                Some(last @ Event::Session(session::Event::Region { .. })),
                Event::Session(session::Event::Region { .. }),
            )
            | (Some(last @ Event::Session(session::Event::Busy { .. })), Event::Session(session::Event::Busy { .. })) =>
            {
                *last = event;
                return;
            }
            _ => {}
        }
        if events.len() >= EVENTS_LIMIT {
            events.remove(0);
        }
        events.push(event);
    }
}

impl Observer for Mailbox {
    fn notify(&self, event: session::Event) {
        self.put(Event::Session(event));
    }
}

impl Reporter for Mailbox {
    fn contact(&self, contact: &Contact) {
        let is_lost = !matches!(contact, Contact::Back { .. });
        let text = contact_text(contact);
        self.put(Event::Contact { text: text.trim_start_matches("! ").to_owned(), is_lost });
    }
}

/// What the operator answers to a plan.
pub enum Answer {
    /// What was typed for a disk that may be somebody else's.
    Words(String),
    /// Whether another node has newer data.
    Scope(Scope),
    /// Begin.
    Go,
}

/// What is typed where two disks of a machine would have one signature.
const SAME_IDENTITY: &str = "SAME ID";

/// Something to do.
pub struct Job {
    /// Its number: what is told of a job that nobody waits for any more is thrown away.
    pub number: u64,
    /// What.
    pub action: Action,
    /// The wish to stop.
    pub cancel: Cancel,
    /// What is answered to its plan.
    pub answers: Receiver<Answer>,
    /// Where it tells what happens.
    pub mailbox: Arc<Mailbox>,
}

/// Does jobs until nobody has any more.
pub fn run(jobs: &Receiver<Job>, screens: &Sender<Message>, files: &[PathBuf], credentials: Option<&Path>) {
    while let Ok(job) = jobs.recv() {
        let number = job.number;
        let desk = Desk { job, screens, files, credentials, shown: RefCell::default() };
        // A job that panics has failed; the next one can do better.
        let carried_out = catch_unwind(AssertUnwindSafe(|| desk.carry_out()));
        let carried_out = carried_out.unwrap_or_else(|_| Err(panicked()));
        let (event, status) = match carried_out {
            Ok((event, status)) => (event, status),
            Err(failure) => (Event::Failed(views::failure(&failure)), failure.status),
        };
        // Nobody listens any more: the program ends.
        if screens.send(Message::Worker { job: number, event, status: Some(status) }).is_err() {
            break;
        }
    }
}

fn panicked() -> Failure {
    session::Error::System(std::io::Error::other("the thread that does the work panicked")).into()
}

/// The operator at the screens, for one job.
struct Desk<'a> {
    job: Job,
    screens: &'a Sender<Message>,
    /// Files that were named as disks when the program was called.
    files: &'a [PathBuf],
    /// The file with passwords and keys that was named then.
    credentials: Option<&'a Path>,
    /// The disks of a save, for its plan.
    shown: RefCell<Vec<Attached>>,
}

/// What the first system on the disks that has a name calls this machine.
pub fn host_on_disks(files: &[PathBuf]) -> Option<String> {
    let mut all = device::attached();
    all.extend(files.iter().map(|file| device::identify(file)));
    let (_, found) = disks::look(&all, true).ok()?;
    found.systems.into_iter().find_map(|system| system.host)
}

impl Desk<'_> {
    fn tell(&self, event: Event) {
        let _ = self.screens.send(Message::Worker { job: self.job.number, event, status: None });
    }

    fn carry_out(&self) -> Result<(Event, u8), Failure> {
        match &self.job.action {
            Action::Open(place) => self.open(place).map(|event| (event, DONE)),
            Action::ListDisks => self.list_disks().map(|disks| (Event::Disks(disks), DONE)),
            Action::Save(wanted) => self.save(wanted),
            Action::Restore(wanted) => self.restore(wanted),
            Action::Verify { place, image } => self.verify(place, image.as_deref()),
            Action::Compare(wanted) => self.compare(wanted),
            Action::Signatures => {
                let (file, found) = identity::look(&self.paths())?;
                let lines = identity::all_lines(&file, &found);
                Ok((Event::Done(views::outcome(Weight::Plain, &lines)), DONE))
            }
            Action::Checklist { place, image } => {
                let lines = checklist::lines_of(&place.target, &image_name(image)?, self)?;
                Ok((Event::Done(views::outcome(Weight::Plain, &lines)), DONE))
            }
            Action::ListVolumes => {
                let volumes = target::volumes().into_iter();
                let volumes = volumes.map(|(label, about)| tui::Volume { label, about });
                Ok((Event::Volumes(volumes.collect()), DONE))
            }
            Action::ListLinks => Ok((Event::Network(network::look()?), DONE)),
            Action::SetUp(setup) => Ok((Event::Network(network::set_up(setup)?), DONE)),
            Action::Probe(server) => Ok((Event::Probed(network::probe(server)), DONE)),
            // Everything else is done where the terminal is.
            _ => Err(Failure::from(session::Error::Cancelled)),
        }
    }

    /// All disks that are attached, and the files that were named.
    fn attached(&self) -> Vec<Attached> {
        let mut all = device::attached();
        let others = self.files.iter().filter(|file| !all.iter().any(|disk| device::is_path_of(disk, file)));
        let others: Vec<Attached> = others.map(|file| device::identify(file)).collect();
        all.extend(others);
        all
    }

    fn paths(&self) -> Vec<PathBuf> {
        // Only what can be read has an identity.
        let attached = self.attached().into_iter();
        attached.map(|disk| disk.path).filter(|path| device::SourceDisk::look(path).is_ok()).collect()
    }

    fn open(&self, place: &Place) -> Result<Event, Failure> {
        let target = target::open_for(self, &place.target, &[], target::Use::Reading)?;
        let location = target.store.location();
        let images = match session::open_repository(&*target.store) {
            Ok(_) => session::list_images(&*target.store)?,
            Err(session::Error::Request(RequestError::NoRepository(_))) => {
                return Ok(Event::Opened(tui::Repository { location, ..Default::default() }));
            }
            Err(other) => return Err(other.into()),
        };
        let images = images.iter().map(views::listed).collect();
        Ok(Event::Opened(tui::Repository { location, exists: true, images }))
    }

    fn list_disks(&self) -> Result<Vec<tui::Disk>, Failure> {
        let attached = self.attached();
        self.look(&attached, &attached)
    }

    fn look(&self, wanted: &[Attached], all: &[Attached]) -> Result<Vec<tui::Disk>, Failure> {
        let (looked, found) = disks::look(wanted, true)?;
        let paths: Vec<PathBuf> = wanted.iter().map(|disk| disk.path.clone()).collect();
        let names = names_of(&paths);
        let views = wanted.iter().zip(&names).zip(&looked);
        let mut views: Vec<tui::Disk> =
            views.map(|((disk, name), looked)| views::attached(disk, name, all, looked)).collect();
        views::add_systems(&mut views, &found);
        Ok(views)
    }

    fn save(&self, wanted: &tui::Save) -> Result<(Event, u8), Failure> {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let disks: Vec<PathBuf> = wanted.disks.iter().map(PathBuf::from).collect();
        *self.shown.borrow_mut() = disks.iter().map(|path| device::identify(path)).collect();
        let arguments = Save {
            target: wanted.place.target.clone(),
            image: image_name(&wanted.image)?,
            regions: region_names(&wanted.regions, &disks, &self.attached()),
            disks,
            level: session::Level::Auto,
            set: text(&wanted.set).map(|set| image_name(&set)).transpose()?,
            note: text(&wanted.note),
            efi_variables: device::EFI_VARIABLES.into(),
            confirm: Vec::new(),
        };
        let saved = save::carry_out(&arguments, self)?;
        let status = saved.status();
        let mut lines = saved.lines();
        lines.push(saved.beside());
        Ok((Event::Done(views::outcome(weight(status), &lines)), status))
    }

    fn restore(&self, wanted: &tui::Restore) -> Result<(Event, u8), Failure> {
        let arguments = Restore {
            target: wanted.place.target.clone(),
            image: image_name(&wanted.image)?,
            disks: assigned(wanted),
            regions: wanted.regions.clone(),
            layout_only: false,
            grow: wanted.grow.clone(),
            scope: None,
            identity: if wanted.has_new_identity { IdentityChoice::New } else { IdentityChoice::Keep },
            verify_first: wanted.verify_first,
            no_verify: false,
            no_boot_entries: false,
            efi_variables: device::EFI_VARIABLES.into(),
            yes: false,
            confirm: wanted.confirmed.clone(),
        };
        let restored = restore::carry_out(&arguments, self)?;
        let status = restored.status();
        Ok((Event::Done(views::outcome(weight(status), &restored.lines())), status))
    }

    fn verify(&self, place: &Place, image: Option<&str>) -> Result<(Event, u8), Failure> {
        let image = image.map(image_name).transpose()?;
        let verification = verify::carry_out(&place.target, image, false, self)?;
        let status = verify::status(&verification);
        let weight = if status == DONE { Weight::Good } else { Weight::Bad };
        Ok((Event::Done(views::outcome(weight, &verify::lines(&verification, false))), status))
    }

    fn compare(&self, wanted: &tui::Restore) -> Result<(Event, u8), Failure> {
        let image = image_name(&wanted.image)?;
        let comparison = compare::carry_out(&wanted.place.target, &image, &assigned(wanted), self)?;
        let status = compare::status(&comparison);
        let weight = if status == DONE { Weight::Good } else { Weight::Bad };
        Ok((Event::Done(views::outcome(weight, &compare::lines(&comparison, &image))), status))
    }

    /// Waits for the operator; `None` where nobody answers any more.
    fn answer(&self) -> Option<Answer> {
        self.job.answers.recv().ok()
    }
}

fn weight(status: u8) -> Weight {
    if status == DONE { Weight::Good } else { Weight::Warning }
}

fn image_name(text: &str) -> Result<ImageName, Failure> {
    text.parse().map_err(|_| Failure::usage("image-name", &t!("failure.image_name", image = text)))
}

fn assigned(wanted: &tui::Restore) -> Vec<String> {
    wanted.disks.iter().map(|(name, path)| format!("{name}={path}")).collect()
}

/// Regions are shown by the names that all attached disks have; a save names those that it is given alone.
fn region_names(regions: &[String], disks: &[PathBuf], attached: &[Attached]) -> Vec<String> {
    let all: Vec<PathBuf> = attached.iter().map(|disk| disk.path.clone()).collect();
    let shown = names_of(&all);
    let own = names_of(disks);
    let renamed = |region: &String| {
        let (disk, name) = region.split_once(':')?;
        let path = all.iter().zip(&shown).find(|(_, shown)| *shown == disk)?.0;
        let own = disks.iter().zip(&own).find(|(own, _)| *own == path)?.1;
        Some(format!("{own}:{name}"))
    };
    regions.iter().map(|region| renamed(region).unwrap_or_else(|| region.clone())).collect()
}

impl Operator for Desk<'_> {
    fn reporter(&self) -> Arc<dyn Reporter> {
        self.job.mailbox.clone()
    }

    fn cancel(&self) -> &Cancel {
        &self.job.cancel
    }

    fn credentials(&self) -> Credentials {
        let place = match &self.job.action {
            Action::Open(place) | Action::Verify { place, .. } | Action::Checklist { place, .. } => place,
            Action::Save(wanted) => &wanted.place,
            Action::Restore(wanted) | Action::Compare(wanted) => &wanted.place,
            _ => return Credentials::default(),
        };
        let password = place.password.as_ref().map(|password| Secret::new(password.0.clone()));
        let keys = place.keys.as_ref();
        let keys =
            keys.map(|(id, secret)| S3Keys { id: id.clone(), secret: Secret::new(secret.0.clone()), token: None });
        Credentials { password, keys, file: self.credentials.map(Path::to_owned), may_ask: false }
    }

    fn agree_to_save(&self, plan: &SavePlan) -> Result<(), Failure> {
        self.tell(Event::Planned(views::save_plan(plan, &self.shown.borrow())));
        self.tell(Event::Asked { names: Vec::new() });
        self.go()
    }

    fn see_restore(&self, plan: &RestorePlan, assigned: &[(String, PathBuf)], besides: &[String]) {
        let attached = self.attached();
        let wanted: Vec<Attached> = assigned.iter().map(|(_, path)| device::identify(path)).collect();
        // A plan that can't be shown as it is now is shown by its hardware.
        let before = self.look(&wanted, &attached);
        let before = before.unwrap_or_else(|_| wanted.iter().map(|disk| views::hardware(disk, "")).collect::<Vec<_>>());
        self.tell(Event::Planned(views::restore_plan(plan, before, besides)));
    }

    fn scope(&self, _: &RestorePlan) -> Option<Scope> {
        match self.answer()? {
            Answer::Scope(scope) => Some(scope),
            Answer::Words(_) | Answer::Go => None,
        }
    }

    fn open_gate(&self, gate: &ClosedGate, purpose: Purpose) -> bool {
        let Some(words) = gate.lock.words(purpose, &gate.id).filter(|words| !words.is_empty()) else { return false };
        let text = t!("sharing.seen", disk = gate.disk, class = sharing::class_text(gate.class)).into_owned();
        let findings = gate.findings.iter().map(|finding| Note::new(Weight::Warning, sharing::finding_text(finding)));
        self.tell(Event::Gate(tui::Gate { text, findings: findings.collect(), words }));
        matches!(self.answer(), Some(Answer::Words(typed)) if gate.lock.accepts(purpose, &gate.id, &typed))
    }

    fn allow_collision(&self, identity: &str, other: &Path) -> bool {
        let text = t!("failure.same_signature", disk = other.display(), id = identity).into_owned();
        self.tell(Event::Gate(tui::Gate { text, findings: Vec::new(), words: SAME_IDENTITY.into() }));
        matches!(self.answer(), Some(Answer::Words(typed)) if typed == SAME_IDENTITY)
    }

    fn allow_other_node(&self, disk: &Path, found: &str, saved: &str) -> bool {
        let text = t!("sharing.other_node", disk = disk.display(), found = found, saved = saved).into_owned();
        self.tell(Event::Gate(tui::Gate { text, findings: Vec::new(), words: found.into() }));
        matches!(self.answer(), Some(Answer::Words(typed)) if typed == found)
    }

    fn agree_to_overwrite(&self, disks: &[PathBuf]) -> Result<(), Failure> {
        self.tell(Event::Asked { names: disks.iter().map(|path| path.display().to_string()).collect() });
        self.go()
    }
}

impl Desk<'_> {
    fn go(&self) -> Result<(), Failure> {
        match self.answer() {
            Some(Answer::Go) => Ok(()),
            _ => Err(Failure::refused("declined", &t!("failure.declined"))),
        }
    }
}
