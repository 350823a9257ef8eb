//! The report of a save or a restore: one text with everything that somebody asks later, in both languages.
//!
//! That of a save is kept with its image, before the image exists. That of a restore is kept with the image as well where
//! the target can be written, else on this machine; whatever becomes of it, the disks are restored.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use image::{ImageName, Machine, Manifest, checklist_path, log_path, report_path, restore_report_path};
use session::{Report, write_restore_reports};

use crate::account::Account;
use crate::commands::show;
use crate::failure::chain;
use crate::language::{self, Language, t};
use crate::machine;
use crate::output::bytes;
use crate::target::Target;

/// The reports of a save.
pub fn of_save(manifest: &Manifest, account: &Account) -> Vec<Report> {
    in_both_languages(|| {
        let image = &manifest.image;
        let mut lines = head(&t!("report.save", image = image, time = manifest.finished));
        lines.push(match manifest.totals.unreadable_bytes {
            0 => t!("report.all_read").into_owned(),
            lost => t!("save.unreadable", size = bytes(lost)).into_owned(),
        });
        lines.extend(account.counts());
        lines.push(String::new());
        lines.extend(show::lines(manifest));
        lines.extend(happened(account));
        lines.extend(beside(image));
        lines
    })
}

/// The reports of a restore, which `describe` describes in the language that is asked for.
pub fn of_restore(
    manifest: &Manifest,
    here: &Machine,
    account: &Account,
    describe: impl Fn() -> Vec<String>,
) -> Vec<Report> {
    in_both_languages(|| {
        let mut lines = head(&t!("report.restore", image = manifest.image, time = machine::now()));
        lines.extend(show::machine_lines(here));
        lines.push(format!("sosei {}", env!("CARGO_PKG_VERSION")));
        lines.push(String::new());
        lines.extend(account.counts());
        lines.extend(describe());
        lines.extend(happened(account));
        lines.extend(beside(&manifest.image));
        lines
    })
}

fn in_both_languages(write: impl Fn() -> Vec<String>) -> Vec<Report> {
    let report = |language: Language| {
        let lines = language::within(language, &write);
        Report { language: language.code(), text: format!("{}\n", lines.join("\n").trim_end()) }
    };
    Language::ALL.map(report).into()
}

fn head(title: &str) -> Vec<String> {
    vec![title.to_owned(), "=".repeat(unicode_width::UnicodeWidthStr::width(title)), String::new()]
}

fn happened(account: &Account) -> Vec<String> {
    let mut lines = vec![String::new(), t!("report.happened").into_owned()];
    let happened = account.lines();
    if happened.is_empty() {
        lines.push(format!("  {}", t!("report.nothing")));
    }
    lines.extend(happened.into_iter().map(|line| format!("  {line}")));
    lines
}

/// What else is kept with the image.
fn beside(image: &ImageName) -> Vec<String> {
    let files = [checklist_path(image, language::present().code()), log_path(image)];
    let files = files.into_iter().map(|file| format!("  {file}"));
    [String::new(), t!("report.beside").into_owned()].into_iter().chain(files).collect()
}

/// Where the report of a save is, in the language of the operator.
pub fn place_of_save(image: &ImageName) -> String {
    report_path(image, language::present().code())
}

/// Where the report of a restore was kept.
pub enum Kept {
    /// With the image, at this path of the repository.
    WithImage(String),
    /// On this machine, as the target could not be written.
    Here {
        /// The file.
        path: PathBuf,
        /// Why the target could not be written.
        reason: String,
    },
    /// Nowhere.
    Nowhere {
        /// Why.
        reason: String,
    },
}

impl Kept {
    /// What the operator is told.
    pub fn line(&self) -> String {
        let line = match self {
            Self::WithImage(path) => t!("report.kept", path = path),
            Self::Here { path, reason } => t!("report.kept_here", path = path.display(), details = reason),
            Self::Nowhere { reason } => t!("report.lost", details = reason),
        };
        line.into_owned()
    }

    /// The file, for programs.
    pub fn path(&self) -> Option<String> {
        match self {
            Self::WithImage(path) => Some(path.clone()),
            Self::Here { path, .. } => Some(path.display().to_string()),
            Self::Nowhere { .. } => None,
        }
    }
}

/// Keeps the reports of a restore.
pub fn keep(target: &Target, image: &ImageName, reports: &[Report]) -> Kept {
    let id = id();
    let language = language::present().code();
    match write_restore_reports(&*target.store, image, &id, reports) {
        Ok(()) => Kept::WithImage(restore_report_path(image, &id, language)),
        Err(error) => match keep_here(image, &id, reports) {
            Ok(files) => {
                let own = files.into_iter().find(|(of, _)| *of == language).map(|(_, path)| path);
                Kept::Here { path: own.unwrap_or_default(), reason: chain(&error) }
            }
            Err(error) => Kept::Nowhere { reason: chain(&error) },
        },
    }
}

/// Tells the report of a restore from those of others that end in the same second.
fn id() -> String {
    let mut random = [0; 2];
    // Without random numbers the time has to do: a file is lost at worst.
    let _ = getrandom::fill(&mut random);
    let time: String = machine::now().chars().filter(|character| !"-:".contains(*character)).collect();
    format!("{time}-{:04x}", u16::from_be_bytes(random))
}

fn keep_here(image: &ImageName, id: &str, reports: &[Report]) -> io::Result<Vec<(&'static str, PathBuf)>> {
    let keep = |report: &Report| {
        let path = std::env::temp_dir().join(format!("sosei-{image}-restore-{id}.{}.txt", report.language));
        // Never a file, nor a link, that is there: others may write into this directory.
        let mut file = File::create_new(&path)?;
        file.write_all(report.text.as_bytes())?;
        file.sync_all()?;
        Ok((report.language, path))
    };
    reports.iter().map(keep).collect()
}
