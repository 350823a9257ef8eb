//! What comes in, and what goes out.

use serde::{Deserialize, Serialize};

use crate::data::{Disk, Failure, Gate, Network, Note, Outcome, Place, Plan, Repository, Setup, Volume};
use crate::text::Language;

/// A key, whatever bytes a terminal sends for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Key {
    /// A character, Space too.
    Character(char),
    /// Return.
    Enter,
    /// Escape alone.
    Escape,
    /// Delete to the left.
    Backspace,
    /// Delete under the cursor.
    Delete,
    /// To the next field.
    Tab,
    /// To the field before.
    BackTab,
    /// Arrow.
    Up,
    /// Arrow.
    Down,
    /// Arrow.
    Left,
    /// Arrow.
    Right,
    /// To the start.
    Home,
    /// To the end.
    End,
    /// A screen up.
    PageUp,
    /// A screen down.
    PageDown,
    /// Ctrl-C.
    Interrupt,
    /// F1.
    Help,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A key was pressed.
    Key(Key),
    /// Time goes on: milliseconds since the program began. Sent while something runs.
    Tick(u64),
    /// What a session tells.
    Session(session::Event),
    /// How the way to the target is; the first where it does not answer.
    Contact {
        /// In the operator's words.
        text: String,
        /// Whether the work waits for it.
        is_lost: bool,
    },
    /// The target answers.
    Opened(Repository),
    /// The disks that are attached.
    Disks(Vec<Disk>),
    /// What will be done, where the operator wants it.
    Planned(Plan),
    /// It may begin when these names have been typed; at once where there are none.
    Asked {
        /// Names of the disks that will be overwritten.
        names: Vec<String>,
    },
    /// How this machine is connected.
    Network(Network),
    /// Whether a server answers.
    Probed(Vec<Note>),
    /// A disk may be somebody else's: words must be typed.
    Gate(Gate),
    /// The file systems that may be targets.
    Volumes(Vec<Volume>),
    /// The disks say what this machine is called: a name for a new image.
    Named(String),
    /// Something was done.
    Done(Outcome),
    /// Something was not done.
    Failed(Failure),
}

/// A save that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Save {
    /// Where the repository is.
    pub place: Place,
    /// Name of the new image.
    pub image: String,
    /// Disks, as they are called.
    pub disks: Vec<String>,
    /// Regions alone, as `sda:p1`; empty for whole disks.
    pub regions: Vec<String>,
    /// A note to keep with the image.
    pub note: String,
    /// The set that the image belongs to.
    pub set: String,
}

/// A restore or a comparison that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// Where the repository is.
    pub place: Place,
    /// The image.
    pub image: String,
    /// Name of the disk in the image, and the disk that it goes to.
    pub disks: Vec<(String, String)>,
    /// Regions alone, as `sda:p1`; empty for whole disks.
    pub regions: Vec<String>,
    /// What was typed to do it although something speaks against it.
    pub confirmed: Vec<String>,
    /// Read every chunk before a disk is cleared.
    pub verify_first: bool,
    /// The partition that takes what a larger disk has more: `last`, or its name.
    pub grow: Option<String>,
    /// Signatures and GUIDs of its own, for a copy that lives beside its original.
    pub has_new_identity: bool,
}

/// Which nodes come back from images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This one alone.
    OneNode,
    /// All of them.
    AllNodes,
}

/// What the operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Everything in this language from now on.
    UseLanguage(Language),
    /// This layout for the keyboard of the console.
    UseKeyboard(String),
    /// Tell how this machine is connected.
    ListLinks,
    /// Set a link up.
    SetUp(Setup),
    /// Tell whether a server answers.
    Probe(String),
    /// Open a target and tell what it holds.
    Open(Place),
    /// Tell what disks are attached.
    ListDisks,
    /// Plan a save; it begins with `Go`.
    Save(Save),
    /// Plan a restore; it begins with `Go`.
    Restore(Restore),
    /// Check an image, or all.
    Verify {
        /// Where the repository is.
        place: Place,
        /// The image; all where `None`.
        image: Option<String>,
    },
    /// Compare an image with disks.
    Compare(Restore),
    /// Report signatures and GUIDs.
    Signatures,
    /// Tell what is to be done around a restore of an image.
    Checklist {
        /// Where the repository is.
        place: Place,
        /// The image.
        image: String,
    },
    /// Answer whether another node has newer data.
    Scope(Scope),
    /// What was typed for a disk that may be somebody else's.
    Words(String),
    /// Tell which file systems may be targets.
    ListVolumes,
    /// Begin what was planned.
    Go,
    /// Stop what runs, in order.
    Cancel,
    /// Forget what runs or was planned: its end is not told.
    Leave,
    /// Switch the machine off.
    PowerOff,
    /// Start the machine anew.
    Reboot,
    /// End the program.
    Quit,
}
