//! What all screens know: the language, how things look, and what the operator has said so far.

use serde::{Deserialize, Serialize};

use crate::data::{Disk, Gate, Network, Place, Plan, Repository};
use crate::event::{Action, Restore};
use crate::look::Look;
use crate::progress::Progress;
use crate::text::Language;

/// What the program says about itself and the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Version of the program.
    pub version: String,
    /// Name of the machine.
    pub host: String,
    /// A name for a new image, made of host and date.
    pub image: String,
    /// Whether the terminal can show kanji.
    pub can_draw_kanji: bool,
    /// Whether the program may switch the machine off.
    pub is_appliance: bool,
    /// Layouts for the keyboard of the console; none where that is not the program's to choose.
    pub keyboards: Vec<String>,
    /// Whether the program may set up the network.
    pub has_network: bool,
    /// Targets that are offered, as they are written on a command line.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Whether one more was to be offered, with a password or key in it.
    #[serde(default)]
    pub has_secret_target: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Task {
    /// Save whole disks.
    #[default]
    SaveDisks,
    /// Save single regions.
    SaveRegions,
    /// Overwrite whole disks.
    RestoreDisks,
    /// Overwrite single regions.
    RestoreRegions,
    /// Check images.
    Verify,
    /// Compare an image with disks.
    Compare,
    /// List images.
    Images,
    /// Report signatures and GUIDs.
    Signatures,
    /// Tell what is to be done around a restore.
    Checklist,
}

impl Task {
    /// The key of its texts.
    pub fn key(self) -> &'static str {
        match self {
            Self::SaveDisks => "save_disks",
            Self::SaveRegions => "save_regions",
            Self::RestoreDisks => "restore_disks",
            Self::RestoreRegions => "restore_regions",
            Self::Verify => "verify",
            Self::Compare => "compare",
            Self::Images => "images",
            Self::Signatures => "signatures",
            Self::Checklist => "checklist",
        }
    }

    /// Whether it overwrites disks.
    pub fn overwrites(self) -> bool {
        matches!(self, Self::RestoreDisks | Self::RestoreRegions)
    }
}

/// What all screens know.
pub struct Context {
    /// Language of all texts.
    pub language: Language,
    /// How things look.
    pub look: Look,
    /// What the program says.
    pub settings: Settings,
    /// What is to be done.
    pub task: Task,
    /// Where the repository is: kept for the next job.
    pub place: Place,
    /// What the target holds.
    pub repository: Repository,
    /// What is attached.
    pub disks: Vec<Disk>,
    /// How this machine is connected.
    pub network: Network,
    /// Name of the image.
    pub image: String,
    /// A note to keep with it.
    pub note: String,
    /// The set that it belongs to.
    pub set: String,
    /// The disk that was picked for a disk of the image, by its number there.
    pub picked: Option<(usize, Option<String>)>,
    /// What was planned.
    pub plan: Plan,
    /// A disk that may be somebody else's, until that was answered.
    pub gate: Option<Gate>,
    /// Whether something was answered that can't be taken back.
    pub has_answered: bool,
    /// The names that must be typed, once it may begin.
    pub asked: Option<Vec<String>>,
    /// What runs, and how far it is.
    pub progress: Progress,
    /// The last job, to try it again.
    pub last: Option<Action>,
}

impl Context {
    /// The image that was chosen.
    pub fn chosen_image(&self) -> Option<&crate::data::Image> {
        self.repository.images.iter().find(|image| image.name == self.image)
    }

    /// A restore or a comparison of the chosen image.
    pub fn restore(&self, disks: Vec<(String, String)>, regions: Vec<String>, verify_first: bool) -> Restore {
        let (place, image) = (self.place.clone(), self.image.clone());
        let confirmed = Vec::new();
        Restore { place, image, disks, regions, confirmed, verify_first, grow: None, has_new_identity: false }
    }
}
