//! `sosei disks`: what is attached.

use std::path::{Path, PathBuf};

use crate::language::t;
use cluster::sharing::Assessment;
use device::{Attached, SourceDisk};
use filesystem::{Coverage, Survey};
use layout::Layout;
use serde_json::{Value, json};
use session::{Found, Source, examine_disks, layer_records, read_layout, survey_disks};

use super::{describe, systems};
use crate::arguments::General;
use crate::disks::{identity_of, names_of};
use crate::failure::{DONE, Failure};
use crate::output::{bytes, document, line, table};
use crate::sharing;

/// Looks at the disks that are named, or at all.
pub fn run(paths: &[PathBuf], general: &General) -> Result<u8, Failure> {
    let attached =
        if paths.is_empty() { device::attached() } else { paths.iter().map(|path| device::identify(path)).collect() };
    let (looked, found) = look(&attached, paths.is_empty())?;
    let mut documents = Vec::new();
    for (disk, looked) in attached.iter().zip(looked) {
        match (looked, general.json) {
            (Err(problem), true) => documents.push(json!({ "path": disk.path, "error": problem })),
            (Err(problem), false) => line(format!("{}: {problem}", disk.path.display())),
            (Ok(looked), true) => documents.push(looked.document(disk)),
            (Ok(looked), false) => looked.print(disk),
        }
    }
    if !general.json {
        systems::summary(&found).iter().for_each(line);
    }
    if general.json {
        document(&json!({ "disks": documents, "systems": found.systems, "findings": found.detected }));
    }
    Ok(DONE)
}

/// Looks at all disks together, as volume groups and arrays reach over several. Of each, what was found, or why it
/// can't be looked at; and what the systems on them say about themselves. Where `go_on` is not set, the first that can't ends it.
pub fn look(attached: &[Attached], go_on: bool) -> Result<(Vec<Result<Looked, String>>, Found), Failure> {
    let mut opened = Vec::new();
    for disk in attached {
        match SourceDisk::look(&disk.path).map_err(Failure::from) {
            // One of all that are attached may be gone or unreadable; one that was named must be there.
            Err(failure) if !go_on => return Err(failure),
            outcome => opened.push(outcome),
        }
    }
    let mut problems: Vec<Option<String>> = Vec::new();
    let (mut sources, mut layouts) = (Vec::new(), Vec::new());
    for (disk, opened) in attached.iter().zip(&opened) {
        let source = opened.as_ref().map_err(|failure| failure.message.clone()).map(|opened| {
            let name = names_of(std::slice::from_ref(&disk.path)).remove(0);
            Source { name, identity: identity_of(disk), disk: opened }
        });
        let read = source.and_then(|source| match read_layout(&source).map_err(Failure::from) {
            Ok(layout) => Ok(Ok((source, layout))),
            Err(failure) if go_on => Err(failure.message),
            Err(failure) => Ok(Err(failure)),
        });
        problems.push(match read {
            Err(problem) => Some(problem),
            Ok(outcome) => {
                let (source, layout) = outcome?;
                sources.push(source);
                layouts.push(layout);
                None
            }
        });
    }
    let guard = sharing::guard(&device::attached(), &[]);
    let seen: Vec<Assessment> =
        sources.iter().map(|source| guard.assessment(&source.identity.path, source.disk)).collect::<Result<_, _>>()?;
    let surveys = survey_disks(&sources, &layouts, &mut |_| Ok(()))?;
    let found = examine_disks(&sources, &layouts, &surveys);
    let looked = layouts.into_iter().zip(surveys).zip(seen);
    let mut looked = looked.map(|((layout, surveys), sharing)| Looked { layout, surveys, sharing });
    let outcome = |problem| match problem {
        Some(problem) => Some(Err(problem)),
        None => looked.next().map(Ok),
    };
    Ok((problems.into_iter().filter_map(outcome).collect(), found))
}

/// What was found on a disk.
pub struct Looked {
    /// Its tables and regions.
    pub layout: Layout,
    /// What is in each region.
    pub surveys: Vec<Survey>,
    /// Whether others use it.
    pub sharing: Assessment,
}

impl Looked {
    fn document(&self, attached: &Attached) -> Value {
        let regions = self.layout.regions.iter().zip(&self.surveys);
        let regions: Vec<Value> = regions
            .map(|(region, survey)| {
                let (method, reason) = match &survey.coverage {
                    Coverage::Used(_) => ("used", None),
                    Coverage::Whole(reason) => ("whole", Some(reason)),
                };
                json!({
                    "name": region.name, "kind": region.kind, "extent": region.extent, "partition": region.partition,
                    "file_system": survey.file_system,
                    "coverage": {
                        "method": method, "reason": reason,
                        "bytes": survey.coverage.extents(region.extent.length()).total_bytes(),
                    },
                    "notes": survey.notes, "layers": layer_records(survey),
                })
            })
            .collect();
        json!({
            "path": attached.path, "size": attached.size, "model": attached.model, "serial": attached.serial,
            "wwn": attached.wwn, "transport": attached.transport,
            "physical_sector_size": attached.physical_sector_size, "read_only": attached.is_read_only,
            "sector_size": self.layout.sector_size, "table": self.layout.table, "signature": self.layout.signature,
            "findings": self.layout.findings, "regions": regions,
            "sharing": sharing::document(&self.sharing), "other_paths": attached.other_paths,
        })
    }

    fn print(&self, attached: &Attached) {
        let hardware = [&attached.model, &attached.serial, &attached.wwn, &attached.transport];
        let hardware: Vec<_> = hardware.into_iter().map(Option::as_deref).collect();
        line(describe::disk(&path_text(&attached.path), &self.layout, &hardware));
        sharing::lines(&self.sharing).iter().for_each(|text| line(format!("  {text}")));
        for finding in &self.layout.findings {
            line(format!("  ! {}: {}", describe::finding(&describe::code_of(&finding.code)), finding.detail));
        }
        let rows: Vec<Vec<String>> = self
            .layout
            .regions
            .iter()
            .zip(&self.surveys)
            .map(|(region, survey)| {
                let mut row = describe::region(region);
                row.push(survey.file_system.as_ref().map_or_else(String::new, |found| {
                    describe::file_system(&found.kind, found.label.as_deref(), found.uuid.as_deref())
                }));
                row.push(coverage(region.extent.length(), &survey.coverage));
                row
            })
            .collect();
        for row in table(&rows) {
            line(format!("  {row}"));
        }
        for (region, survey) in self.layout.regions.iter().zip(&self.surveys) {
            describe::layers(&region.name, &layer_records(survey)).iter().for_each(|text| line(format!("  {text}")));
            for note in &survey.notes {
                let text = describe::note(&describe::code_of(&note.code));
                line(format!("  ! {}: {text}: {}", region.name, note.detail));
            }
        }
    }
}

/// How a region of `size` bytes would be saved, and why.
pub fn coverage(size: u64, coverage: &Coverage) -> String {
    match coverage {
        Coverage::Used(extents) => t!("coverage.used", size = bytes(extents.total_bytes())).into_owned(),
        Coverage::Whole(reason) => {
            let reason = describe::reason(&describe::code_of(&reason.code));
            t!("coverage.whole", size = bytes(size), reason = reason).into_owned()
        }
    }
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
