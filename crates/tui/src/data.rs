//! What screens show: plain data, with texts in the language of the operator where the program has them already.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much a line matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Weight {
    /// It informs.
    #[default]
    Plain,
    /// Something is well.
    Good,
    /// It should be known before going on.
    Warning,
    /// It keeps something from being done, or went wrong.
    Bad,
}

/// A line about a disk, a plan or an outcome: a finding with its evidence, a step of a checklist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// A short code that is the same in every language; empty where there is none.
    pub code: String,
    /// The line.
    pub text: String,
    /// How much it matters.
    pub weight: Weight,
}

impl Note {
    /// A line without a code.
    pub fn new(weight: Weight, text: impl Into<String>) -> Self {
        Self { code: String::new(), text: text.into(), weight }
    }
}

/// What sort of region it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegionKind {
    /// A partition.
    Partition,
    /// Bytes between partitions.
    Gap,
    /// A disk without a table.
    Disk,
}

/// A region of a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Its name on the disk, as `p1`.
    pub name: String,
    /// What sort it is.
    pub kind: RegionKind,
    /// Its first byte on the disk.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
    /// Type of the partition.
    pub what: String,
    /// File system and label.
    pub holds: String,
    /// How it is saved and why.
    pub saved: String,
    /// Bytes that are saved of it.
    pub used_bytes: u64,
}

/// A disk, attached or in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The device or file; in an image, what it was.
    pub path: String,
    /// Its name in images.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// Model.
    pub model: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// World-wide name.
    pub wwn: Option<String>,
    /// How it is connected.
    pub transport: Option<String>,
    /// Which table divides it.
    pub table: String,
    /// MBR signature or GPT disk GUID.
    pub signature: Option<String>,
    /// Bytes of a logical sector; 0 where nobody knows.
    pub sector_size: u64,
    /// Its regions in the order of the disk.
    pub regions: Vec<Region>,
    /// Findings with their evidence.
    pub notes: Vec<Note>,
    /// Why it can't be looked at.
    pub problem: Option<String>,
}

/// Whether an image can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageState {
    /// It exists.
    Whole,
    /// A save that was not finished.
    Unfinished,
    /// Its manifest can't be read.
    Damaged(String),
}

/// An image of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Whether it can be used.
    pub state: ImageState,
    /// When it was saved.
    pub time: String,
    /// Name of the machine.
    pub host: String,
    /// The note that was saved with it.
    pub note: String,
    /// The set that it belongs to.
    pub set: String,
    /// Bytes that were saved.
    pub bytes: u64,
    /// Its disks.
    pub disks: Vec<Disk>,
}

impl Image {
    /// One of which nothing more is known.
    pub fn new(name: String, state: ImageState) -> Self {
        let nothing = String::new;
        let (time, host, note, set) = (nothing(), nothing(), nothing(), nothing());
        Self { name, state, time, host, note, set, bytes: 0, disks: Vec::new() }
    }
}

/// A target that was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// Where it is.
    pub location: String,
    /// Whether there is a repository already.
    pub exists: bool,
    /// Its images in the order of their names.
    pub images: Vec<Image>,
}

/// What happens to one disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDisk {
    /// The disk that is read, or the disk of the image.
    pub source: Disk,
    /// The disk that is overwritten, as it is now.
    pub destination: Option<Disk>,
    /// What changes, what is left out, and why.
    pub notes: Vec<Note>,
}

/// What will be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the image.
    pub image: String,
    /// Bytes to move.
    pub bytes: u64,
    /// Disk by disk.
    pub disks: Vec<PlannedDisk>,
    /// What holds for all of it.
    pub notes: Vec<Note>,
    /// Whether it must be said if another node has newer data.
    pub asks_scope: bool,
}

/// Something that was not done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A short code that is the same in every language.
    pub code: String,
    /// What happened.
    pub message: String,
    /// In what state things are.
    pub state: String,
    /// What to do next.
    pub next: String,
    /// What must be typed to do it all the same; `None` where that is impossible.
    pub confirm: Option<String>,
}

/// A disk that somebody else may use, and what must be typed to go on all the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// What was seen, in short.
    pub text: String,
    /// The evidence.
    pub findings: Vec<Note>,
    /// What must be typed.
    pub words: String,
}

/// A file system that may be a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its label, or its UUID where it has none.
    pub label: String,
    /// What it is, and where.
    pub about: String,
}

/// Something that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub weight: Weight,
    /// What was done, and what to do now.
    pub notes: Vec<Note>,
}

/// A password. It is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hidden(pub String);

impl fmt::Debug for Hidden {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hidden")
    }
}

/// Where a repository is, and what opens it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// As it is written on a command line.
    pub target: String,
    /// Password of a share, where one was typed.
    pub password: Option<Hidden>,
    /// Keys of object storage, where they were typed: their id, and the secret.
    pub keys: Option<(String, Hidden)>,
}

/// A network link of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name, as `eth0`.
    pub name: String,
    /// Whether something is at the other end of its cable.
    pub has_carrier: bool,
    /// Its hardware address.
    pub mac: String,
    /// Its addresses with their prefix lengths.
    pub addresses: Vec<String>,
    /// What it is: card, bond, VLAN.
    pub about: String,
}

/// How this machine is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its links.
    pub links: Vec<Link>,
    /// Where everything goes that is not near.
    pub gateway: Option<String>,
    /// Name servers.
    pub servers: Vec<String>,
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// A server gives it.
    #[default]
    Dhcp,
    /// The operator gives it.
    Fixed,
}

/// How the links of a bond share the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bond {
    /// One carries all, another takes over.
    #[default]
    ActiveBackup,
    /// IEEE 802.3ad: the switch knows of it.
    Lacp,
}

/// How a link is to be set up. Texts are as they were typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// One link, or those of a bond.
    pub links: Vec<String>,
    /// How a bond works.
    pub bond: Bond,
    /// Where the address comes from.
    pub method: Method,
    /// Address and prefix length.
    pub address: String,
    /// The gateway; may be empty.
    pub gateway: String,
    /// Name servers; may be empty.
    pub servers: String,
    /// Number of a VLAN; empty for none.
    pub vlan: String,
}
