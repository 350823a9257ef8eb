//! A volume: its boot sector and its master file table, from which every other file is reached.

use block::ReadAt;

use crate::Error;
use crate::ntfs::attribute::Kind;
use crate::ntfs::attribute_list;
use crate::ntfs::boot_sector::BootSector;
use crate::ntfs::bytes::index;
use crate::ntfs::file_record::{FileRecord, FileReference};
use crate::ntfs::stream::Stream;

/// Numbers of the records of system files.
pub mod system_file {
    /// `$MFT`, the master file table itself.
    pub const MFT: u64 = 0;
    /// `$MFTMirr`, a copy of its first records.
    pub const MFT_MIRROR: u64 = 1;
    /// `$LogFile`, the journal.
    pub const LOG_FILE: u64 = 2;
    /// `$Volume`: label, version, flags.
    pub const VOLUME: u64 = 3;
    /// The root directory.
    pub const ROOT: u64 = 5;
    /// `$Bitmap`: one bit a cluster.
    pub const BITMAP: u64 = 6;
    /// `$Boot`, the boot sector and the code after it.
    pub const BOOT: u64 = 7;
    /// `$BadClus`: clusters that can't be used.
    pub const BAD_CLUSTERS: u64 = 8;
}

/// An NTFS volume that files can be read from.
pub struct Volume<'a> {
    region: &'a dyn ReadAt,
    boot: BootSector,
    mft: Stream,
}

impl<'a> Volume<'a> {
    /// Reads the first record of the master file table and with it where all others are.
    pub fn open(region: &'a dyn ReadAt, boot: BootSector) -> Result<Self, Error> {
        let position = boot.cluster_extent(boot.mft_lcn, 1).start();
        let mut bytes = vec![0; index(boot.record_size)];
        region.read_at(position, &mut bytes)?;
        let record = FileRecord::parse(bytes, system_file::MFT, position)?;
        let mut volume = Self { region, boot, mft: Stream::default() };
        // Each part of the table's own runs is found with the parts before it.
        let mft = volume.gather(None, &record, Kind::DATA, "")?;
        volume.mft = mft.ok_or_else(|| Error::corrupt(position, "$MFT with data", "none"))?;
        let (first, _) = volume.mft.locate(&volume.boot, 0)?;
        if first != Some(position) {
            let actual = first.map_or("in a hole".to_owned(), |first| format!("at byte {first}"));
            return Err(Error::corrupt(position, "$MFT where the boot sector says", actual));
        }
        Ok(volume)
    }

    /// The volume, where the master file table was found before.
    pub fn with_mft(region: &'a dyn ReadAt, boot: BootSector, mft: Stream) -> Self {
        Self { region, boot, mft }
    }

    /// The master file table.
    pub fn into_mft(self) -> Stream {
        self.mft
    }

    /// How the volume is divided.
    pub fn boot(&self) -> &BootSector {
        &self.boot
    }

    /// Where the master file table lies.
    pub fn mft(&self) -> &Stream {
        &self.mft
    }

    /// Fills `buffer` with the content of `stream` from `offset`.
    pub fn read(&self, stream: &Stream, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        stream.read(self.region, &self.boot, offset, buffer)
    }

    /// All of the content of `stream`, where it has at most `limit` bytes.
    pub fn read_all(&self, stream: &Stream, limit: u32) -> Result<Vec<u8>, Error> {
        stream.read_all(self.region, &self.boot, limit)
    }

    /// The file record `number`.
    pub fn record(&self, number: u64) -> Result<FileRecord, Error> {
        self.record_of(&self.mft, number)
    }

    /// The file record that `reference` names.
    ///
    /// # Errors
    /// `Corrupt` where the record is of another file by now.
    pub fn file(&self, reference: FileReference) -> Result<FileRecord, Error> {
        let record = self.record(reference.number())?;
        check_sequence(&record, reference)?;
        Ok(record)
    }

    /// The content of the attribute of `kind` with the name `name`; `None` where the file has none.
    pub fn attribute(&self, file: &FileRecord, kind: Kind, name: &str) -> Result<Option<Stream>, Error> {
        self.gather(Some(&self.mft), file, kind, name)
    }

    /// As [`Volume::attribute`], with an error where the file has none.
    pub fn required_attribute(&self, file: &FileRecord, kind: Kind, name: &str) -> Result<Stream, Error> {
        self.attribute(file, kind, name)?.ok_or_else(|| {
            let expected = format!("file record {} with attribute {:#x} \"{name}\"", file.number, kind.0);
            Error::corrupt(file.position, expected, "none")
        })
    }

    fn record_of(&self, mft: &Stream, number: u64) -> Result<FileRecord, Error> {
        let size = u64::from(self.boot.record_size);
        let offset = number.saturating_mul(size);
        let (position, _) = mft.locate(&self.boot, offset)?;
        let mut bytes = vec![0; index(self.boot.record_size)];
        mft.read(self.region, &self.boot, offset, &mut bytes)?;
        FileRecord::parse(bytes, number, position.unwrap_or(0))
    }

    /// Puts an attribute together. Without `mft`, the attribute is the master file table itself and
    /// its records are read with what is known of it so far.
    fn gather(&self, mft: Option<&Stream>, file: &FileRecord, kind: Kind, name: &str) -> Result<Option<Stream>, Error> {
        let mut stream = Stream::default();
        let Some(list) = file.find(Kind::ATTRIBUTE_LIST, "", |_| true)? else {
            let Some(attribute) = file.find(kind, name, |_| true)? else {
                return Ok(None);
            };
            stream.push(&attribute, &self.boot, file.position)?;
            return Ok(Some(stream));
        };
        let mut list_stream = Stream::default();
        list_stream.push(&list, &self.boot, file.position)?;
        let list = list_stream.read_all(self.region, &self.boot, attribute_list::SIZE_LIMIT)?;
        let entries = attribute_list::entries(&list, kind, name, file.position)?;
        for entry in &entries {
            let number = entry.record.number();
            let extension = match number == file.number {
                true => None,
                false => Some(self.record_of(mft.unwrap_or(&stream), number)?),
            };
            if let Some(extension) = &extension {
                check_sequence(extension, entry.record)?;
                check_base(extension, file)?;
            }
            let record = extension.as_ref().unwrap_or(file);
            let attribute = record.find(kind, name, |found| found.instance == entry.instance)?;
            let attribute = attribute.ok_or_else(|| {
                let expected = format!("file record {number} with attribute instance {}", entry.instance);
                Error::corrupt(record.position, expected, "none")
            })?;
            stream.push(&attribute, &self.boot, record.position)?;
        }
        Ok((!entries.is_empty()).then_some(stream))
    }
}

fn check_sequence(record: &FileRecord, reference: FileReference) -> Result<(), Error> {
    if reference.sequence() == 0 || reference.sequence() == record.sequence {
        return Ok(());
    }
    let expected = format!("use {} of file record {}", reference.sequence(), record.number);
    Err(Error::corrupt(record.position, expected, format!("use {}", record.sequence)))
}

fn check_base(extension: &FileRecord, file: &FileRecord) -> Result<(), Error> {
    if extension.base.number() == file.number && extension.base.0 != 0 {
        return Ok(());
    }
    let expected = format!("file record {} as an extension of {}", extension.number, file.number);
    Err(Error::corrupt(extension.position, expected, format!("of {}", extension.base.number())))
}
