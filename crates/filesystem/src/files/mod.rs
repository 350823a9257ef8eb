//! Files inside a file system that nobody mounted: for what a system says about itself.
//!
//! Whatever is damaged, encrypted or newer is as if it weren't there for those who ask with [`Files`], and an error for
//! those who use [`FileTree`]. What waits in the journal of ext3 and ext4 is read as it will be after the replay; of
//! XFS, NTFS and FAT what is on the disk is read.

mod cache;
mod content;
mod path;

use std::io;

use block::{ReadAt, RegionExtent};

pub(crate) use cache::Cache;
pub(crate) use content::{Content, Piece};

use crate::{Error, ext, fat, ntfs, xfs};

/// A directory of more entries is not read.
pub(crate) const ENTRIES_LIMIT: usize = 1 << 20;
/// Bytes of a directory that are read at most.
pub(crate) const DIRECTORY_LIMIT: u64 = 32 << 20;
/// Pieces of a file that are kept at most.
pub(crate) const PIECES_LIMIT: usize = 1 << 20;

/// Files by their path, `/` between its parts. For those who only want to know what a system says.
pub trait Files {
    /// All of a file of at most `limit` bytes; `None` where there is no such file, or it can't be read.
    fn read(&self, path: &str, limit: u64) -> Option<Vec<u8>>;
    /// The names in a directory, in no particular order; empty where there is none, or it can't be read.
    fn list(&self, directory: &str) -> Vec<String>;
    /// A file, to be read in parts.
    fn open<'s>(&'s self, path: &str) -> Option<Box<dyn ReadAt + 's>>;
    /// Whether there is a file or a directory of this name.
    fn exists(&self, path: &str) -> bool;
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A file with bytes.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// A name in a directory. `node` is what the file system knows the file by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) node: u64,
}

/// A file system as numbered files and directories.
pub(crate) trait Nodes: Send + Sync {
    /// The root directory.
    fn root(&self) -> u64;
    /// What a node is.
    fn kind(&self, node: u64) -> Result<FileKind, Error>;
    /// The names in a directory, without itself and its parent.
    fn entries(&self, node: u64) -> Result<Vec<Entry>, Error>;
    /// Where the bytes of a file, or the target of a link, lie on [`Nodes::device`].
    fn content(&self, node: u64) -> Result<Content, Error>;
    /// The bytes that contents lie on.
    fn device(&self) -> &dyn ReadAt;
    /// Whether names that differ in case alone are one.
    fn ignores_case(&self) -> bool;
}

/// A file system that files can be read from.
pub struct FileTree<'a> {
    nodes: Box<dyn Nodes + 'a>,
    /// `ext4`, `xfs`, `ntfs`, `vfat`, …
    pub kind: String,
}

/// A file, read where it lies.
pub struct FileView<'a> {
    device: &'a dyn ReadAt,
    content: Content,
}

/// Opens the file system of a region, or of a device inside one. `None` where there is none, or more than one, or none
/// whose files can be read.
pub fn open_files<'a>(region: &'a dyn ReadAt) -> Option<FileTree<'a>> {
    let found = crate::identify(region)?;
    let device = Cache::new(region);
    let nodes: Result<Box<dyn Nodes + 'a>, Error> = match found.kind.as_str() {
        "ext2" | "ext3" | "ext4" => ext::open_files(device).map(|nodes| -> Box<dyn Nodes + 'a> { Box::new(nodes) }),
        "xfs" => xfs::open_files(device).map(|nodes| -> Box<dyn Nodes + 'a> { Box::new(nodes) }),
        "ntfs" => ntfs::open_files(device).map(|nodes| -> Box<dyn Nodes + 'a> { Box::new(nodes) }),
        "vfat" => fat::open_files(device).map(|nodes| -> Box<dyn Nodes + 'a> { Box::new(nodes) }),
        _ => return None,
    };
    Some(FileTree { nodes: nodes.ok()?, kind: found.kind })
}

impl FileTree<'_> {
    /// What a path stands for, links followed; `None` where it does not exist.
    ///
    /// # Errors
    /// Where a directory on the way can't be read.
    pub fn kind_of(&self, path: &str) -> io::Result<Option<FileKind>> {
        let found = path::resolve(&*self.nodes, path).map_err(io::Error::other)?;
        Ok(found.map(|(_, kind)| kind))
    }

    /// A file, links followed; `None` where it does not exist or is none.
    ///
    /// # Errors
    /// Where it, or a directory on the way, can't be read: damaged, encrypted, compressed.
    pub fn file(&self, path: &str) -> io::Result<Option<FileView<'_>>> {
        match path::resolve(&*self.nodes, path).map_err(io::Error::other)? {
            Some((node, FileKind::File)) => {
                let content = self.nodes.content(node).map_err(io::Error::other)?;
                Ok(Some(FileView { device: self.nodes.device(), content }))
            }
            _ => Ok(None),
        }
    }

    /// Where bytes of a file lie on what the tree was opened on, in the order of the file; `None` where there is no such
    /// file, or where any of them stands in the record of the file or in a hole.
    ///
    /// # Errors
    /// As [`FileTree::file`].
    pub fn places(&self, path: &str, start: u64, length: u64) -> io::Result<Option<Vec<RegionExtent>>> {
        Ok(self.file(path)?.and_then(|file| file.content.places(start, length)))
    }

    /// Whether there is a file whose bytes stand in its record, where they can't be changed without the record.
    ///
    /// # Errors
    /// As [`FileTree::file`].
    pub fn is_in_record(&self, path: &str) -> io::Result<bool> {
        Ok(self.file(path)?.is_some_and(|file| file.content.in_record().is_some()))
    }

    /// The names in a directory, in ascending order; `None` where it does not exist or is none.
    ///
    /// # Errors
    /// Where it, or a directory on the way, can't be read.
    pub fn directory(&self, path: &str) -> io::Result<Option<Vec<String>>> {
        match path::resolve(&*self.nodes, path).map_err(io::Error::other)? {
            Some((node, FileKind::Directory)) => {
                let entries = self.nodes.entries(node).map_err(io::Error::other)?;
                let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
                names.sort_unstable();
                Ok(Some(names))
            }
            _ => Ok(None),
        }
    }
}

impl Files for FileTree<'_> {
    fn read(&self, path: &str, limit: u64) -> Option<Vec<u8>> {
        let file = self.file(path).ok()??;
        let length = usize::try_from(file.size()).ok().filter(|_| file.size() <= limit)?;
        block::read_vec(&file, 0, length).ok()
    }

    fn list(&self, directory: &str) -> Vec<String> {
        self.directory(directory).ok().flatten().unwrap_or_default()
    }

    fn open<'s>(&'s self, path: &str) -> Option<Box<dyn ReadAt + 's>> {
        Some(Box::new(self.file(path).ok()??))
    }

    fn exists(&self, path: &str) -> bool {
        self.kind_of(path).is_ok_and(|kind| kind.is_some())
    }
}

impl ReadAt for FileView<'_> {
    fn size(&self) -> u64 {
        self.content.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.content.read_at(self.device, offset, buffer)
    }
}
