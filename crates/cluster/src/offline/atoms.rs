//! The atoms of detectors that files can be evidence for.
//!
//! `file:PATH`, `glob:PATH` (`*` inside a part, `**` for up to four directories), `reg:HIVE:KEY` (of `SYSTEM` below the
//! current control set), `clp:KIND` (a resource in clp.conf), `dev:NAME` (a name of a device in clp.conf or fstab),
//! `windows:older-than-6`.

use filesystem::Files;

use super::hive::Hive;
use super::windows::control_set;
use super::{System, SystemKind};
use crate::checklist::detectors;

/// Directories below a `**`.
const DEPTH: usize = 4;
/// Directories that are looked at for one pattern.
const VISITS: usize = 500;

/// The atoms for which there is evidence, each with what it is.
pub fn evaluate(files: &dyn Files, system: &System) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for atom in detectors::atoms() {
        let evidence = match atom.split_once(':') {
            Some(("file", path)) => files.exists(path).then(|| path.to_owned()),
            Some(("glob", pattern)) => first_match(files, pattern),
            Some(("clp", kind)) => resource(system, kind),
            Some(("dev", name)) => device(system, name),
            Some(("windows", "older-than-6")) => is_old(system).then(|| system.name.clone()).flatten(),
            _ => None,
        };
        found.extend(evidence.map(|evidence| (atom.to_owned(), evidence)));
    }
    found.extend(registry(files));
    found
}

/// All atoms of a hive are looked up at once: opening it reads its directory.
fn registry(files: &dyn Files) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for name in ["SYSTEM", "SOFTWARE"] {
        let Some(file) = files.open(&format!("/Windows/System32/config/{name}")) else { continue };
        let Ok(hive) = Hive::open(&*file) else { continue };
        for atom in detectors::atoms() {
            let Some(key) = atom.strip_prefix("reg:").and_then(|rest| rest.strip_prefix(name)?.strip_prefix(':'))
            else {
                continue;
            };
            let path = if name == "SYSTEM" { format!("{}/{key}", control_set(&hive)) } else { key.to_owned() };
            if matches!(hive.key(&path), Ok(Some(_))) {
                found.push((atom.to_owned(), format!("{name}\\{}", path.replace('/', "\\"))));
            }
        }
    }
    found
}

fn resource(system: &System, kind: &str) -> Option<String> {
    let mut of_clusterpro = system.clusters.iter().filter(|cluster| cluster.kind == "clusterpro");
    of_clusterpro.find_map(|cluster| {
        let resource = cluster.resources.iter().find(|resource| resource.kind == kind)?;
        Some(format!("{}: {kind} {}", cluster.file, resource.name))
    })
}

fn device(system: &System, name: &str) -> Option<String> {
    let of_files = system.references.iter().find(|reference| reference.value.starts_with(name));
    of_files.map(|reference| format!("{}:{}: {}", reference.file, reference.line, reference.value))
}

fn is_old(system: &System) -> bool {
    let major = system.version.as_ref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    system.kind == SystemKind::Windows && major.is_some_and(|major| major < 6)
}

/// The first file that a pattern matches.
fn first_match(files: &dyn Files, pattern: &str) -> Option<String> {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let mut visits = VISITS;
    descend(files, "", &parts, DEPTH, &mut visits)
}

fn descend(files: &dyn Files, here: &str, parts: &[&str], depth: usize, visits: &mut usize) -> Option<String> {
    let Some((part, rest)) = parts.split_first() else { return files.exists(here).then(|| here.to_owned()) };
    *visits = visits.checked_sub(1)?;
    if *part == "**" {
        let found = descend(files, here, rest, depth, visits);
        let below = depth.checked_sub(1);
        return found.or_else(|| {
            let names = files.list(&format!("{here}/"));
            names.iter().find_map(|name| descend(files, &format!("{here}/{name}"), parts, below?, visits))
        });
    }
    if !part.contains('*') {
        let path = format!("{here}/{part}");
        return files.exists(&path).then(|| descend(files, &path, rest, depth, visits)).flatten();
    }
    let (before, after) = part.split_once('*').unwrap_or((part, ""));
    let fits = |name: &&String| {
        name.len() >= before.len().saturating_add(after.len()) && name.starts_with(before) && name.ends_with(after)
    };
    files
        .list(&format!("{here}/"))
        .iter()
        .filter(fits)
        .find_map(|name| descend(files, &format!("{here}/{name}"), rest, depth, visits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::sample::Tree;

    #[test]
    fn patterns_match_as_a_shell_has_them() {
        let mut files = Tree::default();
        files.add("/var/lib/postgresql/15/main/pg_version", "15");
        files.add("/etc/drbd.d/r0.res", "");
        let found = |pattern: &str| first_match(&files, pattern);
        assert_eq!(found("/etc/drbd.d/*.res").as_deref(), Some("/etc/drbd.d/r0.res"));
        assert_eq!(found("/etc/drbd.d/*.conf"), None);
        assert_eq!(
            found("/var/lib/postgresql/**/pg_version").as_deref(),
            Some("/var/lib/postgresql/15/main/pg_version")
        );
        assert_eq!(found("/var/lib/pgsql/**/pg_version"), None);
    }
}
