//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use image::ImageName;
use session::Level;

use crate::language::Language;

/// Image a server's disks and bring the server back from them.
#[derive(Debug, Parser)]
#[command(name = "sosei", version, subcommand_required = false)]
#[command(after_help = "\
Without a command, on a terminal, it opens the screens.

TARGET is a directory that exists, usb:LABEL, nfs://HOST/EXPORT, smb://USER@HOST/SHARE or s3://BUCKET/PREFIX.
DISK is a block device or a regular file that holds a disk's bytes.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but some sectors were unreadable,
4 refused for safety, 5 image or repository damaged, 130 cancelled.")]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Without a command: a file that holds a disk's bytes, shown on the screens beside the attached disks; may be repeated
    #[arg(long = "disk", value_name = "FILE")]
    pub disks: Vec<PathBuf>,
    /// What all commands take.
    #[command(flatten)]
    pub general: General,
}

/// What all commands take.
#[derive(Clone, Debug, Args)]
pub struct General {
    /// Print one JSON document on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// How to show progress on standard error
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "HOW")]
    pub progress: ProgressKind,
    /// Language; default from the locale
    #[arg(long, global = true, value_enum)]
    pub lang: Option<Language>,
    /// A file with user, password or keys of the target, which nobody else may read
    #[arg(long, global = true, value_name = "FILE")]
    pub credentials: Option<PathBuf>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    /// A bar on a terminal, else nothing.
    Auto,
    /// A bar.
    Bar,
    /// One JSON document a line.
    Json,
    /// Nothing.
    None,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What is attached: tables, regions, file systems, findings
    Disks {
        /// Disks to look at; all that are attached where none is named
        #[arg(value_name = "DISK")]
        disks: Vec<PathBuf>,
    },
    /// Save disks as a new image
    Save(Save),
    /// Overwrite disks with an image
    Restore(Restore),
    /// Signatures and GUIDs alone, without data
    Identity {
        /// What to do with them
        #[command(subcommand)]
        command: IdentityCommand,
    },
    /// List the images of a repository
    Images {
        /// Where the repository is
        target: String,
    },
    /// Show an image: machine, disks, regions, coverage and its reasons, findings
    Show {
        /// Where the repository is
        target: String,
        /// The image
        image: ImageName,
    },
    /// What to do around a restore, for what was found in an image
    Checklist {
        /// Where the repository is
        target: String,
        /// The image
        image: ImageName,
        /// Only what is right where another node has newer data, or where all nodes are restored
        #[arg(long, value_enum, value_name = "one-node|all-nodes")]
        scope: Option<ScopeChoice>,
        /// What the link between the nodes carries, in Mbit/s: for the time of a full resynchronisation
        #[arg(long, value_name = "MBIT", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
        link: u64,
    },
    /// The images of all nodes of a cluster that belong together
    Set {
        /// What to do with the set
        #[command(subcommand)]
        command: SetCommand,
    },
    /// Read and check every chunk
    Verify {
        /// Where the repository is
        target: String,
        /// Only this image
        image: Option<ImageName>,
        /// Structure only, without reading the chunks
        #[arg(long)]
        quick: bool,
    },
    /// Compare an image with disks, byte for byte over what was saved
    Compare {
        /// Where the repository is
        target: String,
        /// The image
        image: ImageName,
        /// Disks, each with its name in the image before it where that is not clear
        #[arg(value_name = "[SOURCE=]DISK", required = true)]
        disks: Vec<String>,
    },
    /// Run a command on the framebuffer, with the keyboard of this console
    #[command(hide = true)]
    Framebuffer {
        /// The device
        #[arg(long, default_value = "/dev/fb0")]
        device: PathBuf,
        /// A font in the format of GNU Unifont
        #[arg(long)]
        font: PathBuf,
        /// What to run
        #[arg(required = true, last = true)]
        command: Vec<OsString>,
    },
}

/// What can be done with identities.
#[derive(Debug, Subcommand)]
pub enum IdentityCommand {
    /// Print what disks and partitions are known by, in the sections of dumpcfg
    Report {
        /// Disks; all that are attached where none is named
        #[arg(value_name = "DISK")]
        disks: Vec<PathBuf>,
    },
    /// Write it to a new file
    Save {
        /// The file
        file: PathBuf,
        /// Disks; all that are attached where none is named
        #[arg(value_name = "DISK")]
        disks: Vec<PathBuf>,
    },
    /// Give replaced disks, partitioned as before, the signatures and GUIDs of a file
    Apply(ApplyIdentity),
}

/// Giving a disk the names of the one before it.
#[derive(Debug, Args)]
pub struct ApplyIdentity {
    /// The file that `identity save` wrote
    pub file: PathBuf,
    /// Disks to change, each with its name in the file before it where that is not clear
    #[arg(value_name = "[SOURCE=]DISK", required = true)]
    pub disks: Vec<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Change the disk although it looks shared or its signature exists twice then: its WWN, serial number or path
    #[arg(long, value_name = "ID")]
    pub confirm: Vec<String>,
}

/// What can be done with a set.
#[derive(Debug, Subcommand)]
pub enum SetCommand {
    /// List its images, with the mirrors that they hold
    Show {
        /// Where the repository is
        target: String,
        /// The set, as it was named when the images were saved
        set: ImageName,
    },
    /// Check that the images were saved with the cluster stopped and belong together
    Verify {
        /// Where the repository is
        target: String,
        /// The set
        set: ImageName,
    },
}

/// Saving.
#[derive(Debug, Args)]
pub struct Save {
    /// Where the repository is; it is made with the first image
    pub target: String,
    /// Name of the new image: 1 to 64 characters from A-Z a-z 0-9 . _ -
    pub image: ImageName,
    /// Disks to save
    #[arg(value_name = "DISK", required = true)]
    pub disks: Vec<PathBuf>,
    /// Save this region only, as p1 or sda:p1; may be repeated
    #[arg(long = "region", value_name = "NAME")]
    pub regions: Vec<String>,
    /// zstd level: auto, or 1 to 19
    #[arg(long, default_value = "auto", value_parser = parse_level)]
    pub level: Level,
    /// The set that the image belongs to: the images of all nodes of a cluster
    #[arg(long, value_name = "NAME")]
    pub set: Option<ImageName>,
    /// A note to keep with the image
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Save what of a disk is shared too, while the cluster is stopped: its WWN, serial number or file name
    #[arg(long, value_name = "ID")]
    pub confirm: Vec<String>,
    /// Where the variables of UEFI are
    #[arg(long, value_name = "DIRECTORY", default_value = device::EFI_VARIABLES, hide = true)]
    pub efi_variables: PathBuf,
}

/// Restoring.
#[derive(Debug, Args)]
pub struct Restore {
    /// Where the repository is
    pub target: String,
    /// The image
    pub image: ImageName,
    /// Disks to overwrite, each with its name in the image before it where that is not clear
    #[arg(value_name = "[SOURCE=]DISK", required = true)]
    pub disks: Vec<String>,
    /// Restore this region only, into the region of that name or into the one given; may be repeated
    #[arg(long = "region", value_name = "NAME[=DISK:REGION]", conflicts_with_all = ["layout_only", "grow"])]
    pub regions: Vec<String>,
    /// Tables and gaps only, without the contents of partitions
    #[arg(long)]
    pub layout_only: bool,
    /// Give a partition the additional space of a larger disk: last, or the name of a region
    #[arg(long, value_name = "last|REGION")]
    pub grow: Option<String>,
    /// For a node of a cluster: whether another node has newer data; asked where it matters and nothing is said
    #[arg(long, value_enum, value_name = "one-node|all-nodes")]
    pub scope: Option<ScopeChoice>,
    /// keep: the disk is the one that was saved; new: it gets new signatures and GUIDs, to live beside its original
    #[arg(long, value_enum, default_value = "keep", value_name = "keep|new")]
    pub identity: IdentityChoice,
    /// Read and check every chunk of the image before a disk is cleared
    #[arg(long)]
    pub verify_first: bool,
    /// Do not read back what was written
    #[arg(long)]
    pub no_verify: bool,
    /// Leave the boot entries of UEFI as they are
    #[arg(long)]
    pub no_boot_entries: bool,
    /// Where the variables of UEFI are
    #[arg(long, value_name = "DIRECTORY", default_value = device::EFI_VARIABLES, hide = true)]
    pub efi_variables: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Overwrite although the disk looks shared or its signature exists twice then: its WWN, serial number or path
    #[arg(long, value_name = "ID")]
    pub confirm: Vec<String>,
}

/// Which nodes of a cluster come back from images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeChoice {
    /// This one only: another node is running, or kept, with newer data.
    OneNode,
    /// All of them, from images of one set.
    AllNodes,
}

impl From<ScopeChoice> for session::Scope {
    fn from(choice: ScopeChoice) -> Self {
        match choice {
            ScopeChoice::OneNode => Self::OneNode,
            ScopeChoice::AllNodes => Self::AllNodes,
        }
    }
}

/// Which signatures and GUIDs a restored disk has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IdentityChoice {
    /// Those of the disk that was saved.
    Keep,
    /// New ones.
    New,
}

fn parse_level(text: &str) -> Result<Level, String> {
    match text.parse::<i32>() {
        _ if text == "auto" => Ok(Level::Auto),
        Ok(level @ 1..=19) => Ok(Level::Fixed(level)),
        _ => Err("expected auto, or a number from 1 to 19".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn levels_are_auto_or_1_to_19() {
        assert_eq!(parse_level("auto"), Ok(Level::Auto));
        assert_eq!(parse_level("19"), Ok(Level::Fixed(19)));
        for bad in ["0", "20", "-1", "fast", ""] {
            assert!(parse_level(bad).is_err(), "{bad}");
        }
    }
}
