//! A destination on which only the covered bytes of a source were written.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use block::{Extents, InRegion, ReadAt, RegionExtent, read_vec};

/// What every byte of a destination holds before a restore: anything that reads an uncovered byte stumbles over it.
pub const FILL: u8 = 0xA5;

/// Bytes copied at once.
const PIECE: u64 = 1 << 20;

/// Makes a file at `destination` of the size of `source` that holds the bytes of `covered` where they are in
/// the source, and [`FILL`] everywhere else.
///
/// # Panics
/// Where reading or writing fails, or `covered` passes the end of the source.
pub fn restore_covered(source: &dyn ReadAt, covered: &Extents<InRegion>, destination: &Path) {
    assert!(covered.end() <= source.size(), "{covered:?} passes the end of the source");
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(destination).unwrap();
    file.set_len(source.size()).unwrap();
    let fill = vec![FILL; usize::try_from(PIECE).unwrap()];
    for gap in covered.complement(RegionExtent::between(0, source.size())).iter() {
        for (position, length) in pieces(gap) {
            file.write_all_at(&fill[..length], position).unwrap();
        }
    }
    for extent in covered.iter() {
        for (position, length) in pieces(extent) {
            file.write_all_at(&read_vec(source, position, length).unwrap(), position).unwrap();
        }
    }
}

fn pieces(extent: RegionExtent) -> impl Iterator<Item = (u64, usize)> {
    let step = usize::try_from(PIECE).unwrap();
    (extent.start()..extent.end())
        .step_by(step)
        .map(move |position| (position, usize::try_from((extent.end() - position).min(PIECE)).unwrap()))
}

/// Everything below `directory`: path → a line with type, mode, owner, size and a hash of the content or link target.
///
/// # Panics
/// Where anything can't be read: on a restored file system that is the failure to find.
pub fn tree(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut entries = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(current) = waiting.pop() {
        for entry in std::fs::read_dir(&current).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let mut hasher = DefaultHasher::new();
            if metadata.is_dir() {
                waiting.push(path.clone());
            } else if metadata.is_symlink() {
                std::fs::read_link(&path).unwrap().as_os_str().as_bytes().hash(&mut hasher);
            } else if metadata.is_file() {
                hash_content(&path, &mut hasher);
            }
            // A directory's own size depends on the file system, not on what was stored.
            let size = if metadata.is_dir() { 0 } else { metadata.len() };
            let line =
                format!("{:o} {}:{} {size} {:016x}", metadata.mode(), metadata.uid(), metadata.gid(), hasher.finish());
            entries.insert(path.strip_prefix(directory).unwrap().to_owned(), line);
        }
    }
    entries
}

fn hash_content(path: &Path, hasher: &mut DefaultHasher) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; usize::try_from(PIECE).unwrap()];
    loop {
        match file.read(&mut buffer).unwrap_or_else(|error| panic!("{}: {error}", path.display())) {
            0 => return,
            length => hasher.write(&buffer[..length]),
        }
    }
}
