//! Names in the programs that start a system: a boot loader is made with the UUID of the file system that holds its
//! configuration, and a unified kernel image with its command line. They are signed or carry checksums, so nothing is
//! changed in them: they are made anew.
//!
//! Source: GRUB manual, `grub-install` and `search.fs_uuid`; systemd `systemd-stub(7)`, section `.cmdline`; UEFI
//! specification for strings of two bytes a character.

use std::collections::BTreeSet;
use std::io;

use block::{ReadAt, read_vec};
use filesystem::{FileTree, Files};

use super::replace::Name;

/// Where vendors and systems have theirs, and `/EFI/Linux` among them.
const DIRECTORY: &str = "/EFI";
const DIRECTORIES_LIMIT: usize = 100;
const PROGRAMS_LIMIT: usize = 64;
/// A longer program is told as one that was not looked into.
const PROGRAM_LIMIT: u64 = 128 << 20;
const WINDOW: usize = 1 << 20;
/// Names of this length are told from everything else by themselves; before and behind a shorter one no word goes on.
const DISTINCT: usize = 36;

/// A program, or more of them than are looked into.
pub(super) struct Program {
    /// Its path.
    pub(super) file: String,
    /// The names in it; `None` where it was not looked into.
    pub(super) names: Option<BTreeSet<String>>,
}

/// Looks into the programs of an EFI system partition for names.
pub(super) fn search(files: &FileTree<'_>, names: &[Name]) -> Vec<Program> {
    let mut found = Vec::new();
    let mut looked = 0_usize;
    let directories = files.list(DIRECTORY);
    for directory in directories.iter().take(DIRECTORIES_LIMIT) {
        let directory = format!("{DIRECTORY}/{directory}");
        for name in files.list(&directory).iter().filter(|name| name.to_ascii_lowercase().ends_with(".efi")) {
            looked = looked.saturating_add(1);
            if looked > PROGRAMS_LIMIT {
                found.push(Program { file: format!("{directory}/*.efi"), names: None });
                break;
            }
            let file = format!("{directory}/{name}");
            let program = files.open(&file).filter(|program| program.size() <= PROGRAM_LIMIT);
            let names = program.and_then(|program| names_in(&*program, names).ok());
            found.push(Program { file, names });
        }
    }
    if directories.len() > DIRECTORIES_LIMIT {
        found.push(Program { file: format!("{DIRECTORY}/*/*.efi"), names: None });
    }
    found
}

fn names_in(program: &dyn ReadAt, names: &[Name]) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let longest = names.iter().map(|name| name.from().len()).max().unwrap_or_default();
    // A name may end in the next window; one unit before and behind it tells whether a word goes on.
    let (before, behind) = (2, longest.saturating_add(1).saturating_mul(2));
    let step = u64::try_from(WINDOW).unwrap_or(u64::MAX);
    let mut position = 0_u64;
    while position < program.size() {
        let start = position.saturating_sub(before);
        let length = WINDOW.saturating_add(behind).saturating_add(2);
        let rest = usize::try_from(program.size().saturating_sub(start)).unwrap_or(usize::MAX);
        let bytes = read_vec(program, start, length.min(rest))?;
        add_names(&bytes, names, &mut found);
        position = position.saturating_add(step);
    }
    Ok(found)
}

fn add_names(bytes: &[u8], names: &[Name], found: &mut BTreeSet<String>) {
    let first = |name: &Name| name.from().bytes().next().unwrap_or_default().to_ascii_lowercase();
    let starts: BTreeSet<u8> = names.iter().map(first).collect();
    let mut begins = [false; 256];
    for byte in starts.iter().flat_map(|byte| [*byte, byte.to_ascii_uppercase()]) {
        begins.iter_mut().skip(byte.into()).take(1).for_each(|begins| *begins = true);
    }
    let is_start = |byte: u8| begins.get(usize::from(byte)).copied().unwrap_or_default();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| is_start(**byte)) {
        for name in names.iter().filter(|name| [1, 2].into_iter().any(|width| is_at(bytes, at, name.from(), width))) {
            found.insert(name.from().to_owned());
        }
    }
}

/// Whether a name begins here, in characters of so many bytes.
fn is_at(bytes: &[u8], at: usize, name: &str, width: usize) -> bool {
    let character = |index: usize| {
        let is_whole = width == 1 || bytes.get(index.saturating_add(1)) == Some(&0);
        bytes.get(index).copied().filter(|_| is_whole)
    };
    let mut pairs = name.bytes().zip((at..).step_by(width));
    if !pairs.all(|(byte, index)| character(index).is_some_and(|there| there.eq_ignore_ascii_case(&byte))) {
        return false;
    }
    let around = [at.checked_sub(width), at.checked_add(name.len().saturating_mul(width))];
    let goes_on = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    name.len() >= DISTINCT || !around.into_iter().flatten().filter_map(character).any(goes_on)
}

#[cfg(test)]
mod tests {
    use block::MemoryDisk;

    use super::*;

    const UUID: &str = "0a1b2c3d-0000-4111-8222-333344445555";

    #[track_caller]
    fn check(bytes: &[u8], expected: &[&str]) {
        let names = [UUID, "1234-ABCD"].map(|name| Name::new(name, name).unwrap());
        let found = names_in(&MemoryDisk::from_bytes(bytes), &names).unwrap();
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn names_in_programs_are_found_in_both_widths_wherever_they_lie() {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        check(b"MZ search.fs_uuid 0A1B2C3D-0000-4111-8222-333344445555 root\0", &[UUID]);
        check(&wide("root=UUID=1234-abcd quiet"), &["1234-ABCD"]);
        // Over the end of a window, at an odd byte, and at the end of the file.
        for start in [WINDOW - 40, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW - 71] {
            for text in [UUID.as_bytes().to_vec(), wide(UUID)] {
                let mut bytes = vec![b'x'; start];
                bytes.extend(text);
                check(&bytes, &[UUID]);
            }
        }
        // Part of a longer name; one character less; the end is missing.
        check(b"0a1b2c3d-1234-abcd-8222-333344445555", &[]);
        check(&wide("x1234-abcd"), &[]);
        check(&UUID.as_bytes()[..35], &[]);
        check(b"", &[]);
    }
}
