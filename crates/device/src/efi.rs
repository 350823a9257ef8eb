//! Boot entries in the memory of UEFI, through efivarfs: one file a variable, its attributes in the first four bytes.
//!
//! Source: Linux `Documentation/filesystems/efivarfs.rst`: a variable is written with one call, attributes first.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the kernel shows the variables.
pub const EFI_VARIABLES: &str = "/sys/firmware/efi/efivars";

/// The vendor of the variables that the specification itself defines.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Kept without power, readable by boot loaders and by systems.
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];
const SIZE_LIMIT: u64 = 64 << 10;

/// The variables of UEFI in a directory.
#[derive(Clone, Debug)]
pub struct EfiVariables {
    directory: PathBuf,
}

impl EfiVariables {
    /// Those in `directory`; `None` where the firmware is another.
    pub fn open(directory: &Path) -> Option<Self> {
        directory.is_dir().then(|| Self { directory: directory.to_owned() })
    }

    /// The bytes of `BootOrder`; empty where there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn boot_order(&self) -> io::Result<Vec<u8>> {
        Ok(self.read("BootOrder")?.unwrap_or_default())
    }

    /// Number and bytes of every `Boot####`, in the order of the numbers.
    ///
    /// # Errors
    /// What the system says.
    pub fn boot_entries(&self) -> io::Result<Vec<(u16, Vec<u8>)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix("Boot").and_then(|rest| rest.strip_suffix(GLOBAL)?.strip_suffix('-'));
            let number =
                number.filter(|digits| digits.len() == 4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
            let Some(number) = number else { continue };
            if let Some(bytes) = self.read(&format!("Boot{number:04X}"))? {
                found.push((number, bytes));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Writes an entry. The caller has seen that the number is free.
    ///
    /// # Errors
    /// `AlreadyExists` where it isn't; what the system says, as where the memory is full.
    pub fn write_boot_entry(&self, number: u16, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(&format!("Boot{number:04X}"));
        let file = fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
        write_variable(file, bytes).inspect_err(|_| {
            // The kernel makes no variable of what it refused; a file without content would stay.
            let _ = fs::remove_file(&path);
        })
    }

    /// Writes the order.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_boot_order(&self, bytes: &[u8]) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.path("BootOrder"))?;
        write_variable(file, bytes)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}-{GLOBAL}"))
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = self.path(name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
            Ok(metadata) if metadata.len() > SIZE_LIMIT => return Ok(None),
            Ok(_) => {}
        }
        let bytes = fs::read(&path)?;
        Ok(bytes.get(ATTRIBUTES.len()..).map(<[u8]>::to_vec))
    }
}

/// All of a variable with a single call: the firmware takes each call for the whole.
fn write_variable(mut file: fs::File, bytes: &[u8]) -> io::Result<()> {
    let whole = [&ATTRIBUTES, bytes].concat();
    let written = file.write(&whole)?;
    if written == whole.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_carry_their_attributes_in_front() {
        let directory = std::env::temp_dir().join(format!("efivars-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let variables = EfiVariables::open(&directory).expect("variables");
        variables.write_boot_entry(0x1A, b"entry").expect("written");
        assert_eq!(
            variables.write_boot_entry(0x1A, b"other").map_err(|error| error.kind()),
            Err(io::ErrorKind::AlreadyExists)
        );
        variables.write_boot_order(&[0x1A, 0]).expect("written");
        let path = directory.join("Boot001A-8be4df61-93ca-11d2-aa0d-00e098032b8c");
        assert_eq!(fs::read(path).expect("a file"), b"\x07\0\0\0entry");
        fs::write(directory.join("BootCurrent-8be4df61-93ca-11d2-aa0d-00e098032b8c"), [6, 0, 0, 0, 1, 0])
            .expect("written");
        assert_eq!(variables.boot_entries().expect("entries"), [(0x1A, b"entry".to_vec())]);
        assert_eq!(variables.boot_order().expect("an order"), [0x1A, 0]);
        fs::remove_dir_all(&directory).expect("removed");
        assert!(EfiVariables::open(&directory).is_none());
    }
}
