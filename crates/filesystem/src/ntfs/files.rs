//! The files of a volume. What waits in `$LogFile` is not read.

use block::ReadAt;

use crate::Error;
use crate::files::{Cache, Content, ENTRIES_LIMIT, Entry, FileKind, Nodes};
use crate::ntfs::attribute::Kind;
use crate::ntfs::boot_sector::BootSector;
use crate::ntfs::file_record::{FileRecord, FileReference};
use crate::ntfs::index;
use crate::ntfs::stream::Stream;
use crate::ntfs::volume::{Volume, system_file};

/// The files of NTFS.
pub struct Tree<'a> {
    device: Cache<'a>,
    boot: BootSector,
    mft: Stream,
}

impl<'a> Tree<'a> {
    /// Finds the master file table.
    pub fn open(device: Cache<'a>) -> Result<Self, Error> {
        let boot = BootSector::read(&device)?.ok_or_else(|| Error::corrupt(3, "\"NTFS    \"", "none"))?;
        let mft = Volume::open(&device, boot.clone())?.into_mft();
        Ok(Self { device, boot, mft })
    }

    fn with_file<T>(
        &self,
        node: u64,
        work: impl FnOnce(&Volume<'_>, &FileRecord) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let volume = Volume::with_mft(&self.device, self.boot.clone(), self.mft.clone());
        let file = volume.file(FileReference(node))?;
        work(&volume, &file)
    }
}

impl Nodes for Tree<'_> {
    fn root(&self) -> u64 {
        system_file::ROOT
    }

    fn kind(&self, node: u64) -> Result<FileKind, Error> {
        self.with_file(node, |volume, file| {
            Ok(match volume.attribute(file, Kind::INDEX_ROOT, "$I30")? {
                Some(_) => FileKind::Directory,
                None => FileKind::File,
            })
        })
    }

    fn entries(&self, node: u64) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        self.with_file(node, |volume, file| {
            index::visit(volume, file, &mut |name| {
                let is_itself = name.utf16 == b".\0" || name.is_short;
                if !is_itself {
                    let (units, _) = name.utf16.as_chunks::<2>();
                    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
                    let name_text = char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER));
                    entries.push(Entry { name: name_text.collect(), node: name.file.0 });
                }
                entries.len() >= ENTRIES_LIMIT
            })
        })?;
        Ok(entries)
    }

    fn content(&self, node: u64) -> Result<Content, Error> {
        self.with_file(node, |volume, file| volume.required_attribute(file, Kind::DATA, "")?.content(volume.boot()))
    }

    fn device(&self) -> &dyn ReadAt {
        &self.device
    }

    fn ignores_case(&self) -> bool {
        true
    }
}
