//! Registry hives for tests: an empty one made by hand, filled by hivexsh.

use std::fs;
use std::path::Path;

use crate::tool::run_with_input;

const BIN: usize = 4096;

/// Makes a hive at `path` and has hivexsh carry out `commands` in it, as `add Select`, `cd \Select`, `setval 1 …`.
///
/// # Panics
/// Where hivexsh is missing or refuses.
pub fn make_hive(path: &Path, commands: &str) {
    fs::write(path, empty()).unwrap();
    let commands = format!("{commands}commit\nquit\n");
    run_with_input("hivexsh", ["-w", path.to_str().unwrap()], commands.as_bytes());
}

/// The commands that make a key with all keys above it, and set its values, each as name and what hivexsh takes.
pub fn key(path: &str, values: &[(&str, &str)]) -> String {
    let mut commands = "cd \\\n".to_owned();
    for part in path.split('\\') {
        // A key that is there already can't be made again; going there first tells.
        commands.push_str(&format!("add {part}\ncd {part}\n"));
    }
    commands.push_str(&format!("setval {}\n", values.len()));
    for (name, value) in values {
        commands.push_str(&format!("{name}\n{value}\n"));
    }
    commands
}

/// A hive with nothing but its root key and a security descriptor.
fn empty() -> Vec<u8> {
    let mut bin = b"hbin".to_vec();
    bin.extend(0_u32.to_le_bytes());
    bin.extend((BIN as u32).to_le_bytes());
    bin.resize(32, 0);
    let mut key = vec![0; 76];
    key[..4].copy_from_slice(b"nk\x2c\0");
    key[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    for at in [28, 32, 40, 48] {
        key[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    }
    key[72..74].copy_from_slice(&4_u16.to_le_bytes());
    key.extend(b"ROOT");
    let root = bin.len() as u32;
    let security = root + 4 + key.len().next_multiple_of(8) as u32 + 4;
    let security = security.next_multiple_of(8);
    key[44..48].copy_from_slice(&security.to_le_bytes());
    add_cell(&mut bin, &key, security as usize - root as usize);
    let mut descriptor = b"sk\0\0".to_vec();
    descriptor.extend([security.to_le_bytes(), security.to_le_bytes(), 1_u32.to_le_bytes()].concat());
    descriptor.extend(20_u32.to_le_bytes());
    descriptor.extend([1, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    add_cell(&mut bin, &descriptor, 48);
    let free = (BIN - bin.len()) as i32;
    bin.extend(free.to_le_bytes());
    bin.resize(BIN, 0);
    let mut bytes = b"regf".to_vec();
    bytes.resize(4096, 0);
    for (at, value) in [(4, 1_u32), (8, 1), (20, 1), (24, 3), (32, 1), (36, root), (40, BIN as u32), (44, 1)] {
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    let sum = bytes[..508].as_chunks::<4>().0.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
    bytes[508..512].copy_from_slice(&sum.to_le_bytes());
    bytes.extend(bin);
    bytes
}

fn add_cell(bin: &mut Vec<u8>, content: &[u8], size: usize) {
    let start = bin.len();
    bin.extend((-(size as i32)).to_le_bytes());
    bin.extend(content);
    bin.resize(start + size, 0);
}
