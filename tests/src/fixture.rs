//! Samples that a virtual machine made once, because no tool or kernel here can: see the scripts beside them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::is_zero;

/// Unpacks `tests/fixtures/NAME.zst` into a sparse file in `directory`.
///
/// # Panics
/// Where it is missing or damaged.
pub fn unpack(name: &str, directory: &Path) -> PathBuf {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.zst"));
    let packed = File::open(&packed).unwrap_or_else(|error| panic!("{}: {error}", packed.display()));
    let mut content = zstd::stream::read::Decoder::new(packed).unwrap();
    let path = directory.join(name.replace('/', "-"));
    let file = File::create(&path).unwrap();
    let mut piece = vec![0; 64 << 10];
    let mut position = 0_u64;
    loop {
        let length = content.read(&mut piece).unwrap();
        if length == 0 {
            file.set_len(position).unwrap();
            return path;
        }
        if !is_zero(&piece[..length]) {
            file.write_all_at(&piece[..length], position).unwrap();
        }
        position += length as u64;
    }
}
