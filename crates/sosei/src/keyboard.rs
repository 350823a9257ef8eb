//! The keyboard of the appliance's console.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::language::t;

use crate::failure::Failure;
use crate::helper::helper;

/// Layouts in the order in which they are offered, by their names in the kernel's key tables.
const LAYOUTS: [&str; 13] = [
    "jp106",
    "us",
    "uk",
    "de",
    "sg",
    "fr-latin9",
    "fr_CH",
    "es",
    "it",
    "br-abnt2",
    "dk-latin1",
    "no-latin1",
    "se-latin1",
];
const CONSOLE: &str = "/dev/tty1";

/// Where the medium has its key tables; `None` where the keyboard is not the program's to choose.
fn directory() -> Option<PathBuf> {
    std::env::var_os("SOSEI_KEYMAPS").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The layouts that there are tables for.
pub fn layouts() -> Vec<String> {
    let Some(directory) = directory() else { return Vec::new() };
    let there = LAYOUTS.iter().filter(|layout| table(&directory, layout).is_some());
    there.map(|layout| (*layout).to_owned()).collect()
}

/// The file with the table of a layout: somewhere below the directory.
fn table(directory: &Path, layout: &str) -> Option<PathBuf> {
    let names = [format!("{layout}.kmap.gz"), format!("{layout}.kmap"), format!("{layout}.map.gz")];
    let mut directories = vec![(directory.to_owned(), 0_u32)];
    while let Some((directory, depth)) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if names.iter().any(|name| path.ends_with(name)) {
                return Some(path);
            }
            if depth < 3 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push((path, depth.saturating_add(1)));
            }
        }
    }
    None
}

/// Uses a layout from now on.
pub fn use_layout(layout: &str) -> Result<(), Failure> {
    let failed = |details: String| {
        let message = t!("failure.keyboard", layout = layout, details = details);
        Failure::target_missing("keyboard", &message)
    };
    let table = directory().and_then(|directory| table(&directory, layout));
    let table = table.ok_or_else(|| failed(std::io::ErrorKind::NotFound.to_string()))?;
    let mut command = helper("loadkeys");
    command.args(["-q", "-C", CONSOLE]).arg(table).stdin(Stdio::null());
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_their_names_alone() {
        let directory = std::env::temp_dir().join(format!("sosei-keymaps-{}", std::process::id()));
        let below = directory.join("i386/qwerty");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join("jp106.kmap.gz"), "").unwrap();
        std::fs::write(below.join("us-latin1.kmap.gz"), "").unwrap();
        assert_eq!(table(&directory, "jp106"), Some(below.join("jp106.kmap.gz")));
        assert_eq!(table(&directory, "us"), None);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
