//! From a disk to its layout.
//!
//! Which table divides a disk is decided as Linux decides it: LBA 0 with a protective entry and a
//! valid GPT header, else LBA 0 that can be an MBR, else none. Where that is in doubt the disk is
//! one region that is saved whole.

use block::{Disk, DiskExtent, SectorSize};

use crate::divide::Division;
use crate::ebr::Chain;
use crate::gpt::{self, Copies};
use crate::mbr::{self, Record, Verdict};
use crate::sectors::Sectors;
use crate::{Error, FindingCode, Layout, Region, RegionKind, TableKind, TableRole};

/// Reads the tables of a disk.
///
/// Only reads. Odd and damaged tables come back as findings in the layout.
///
/// # Errors
/// Where the disk fails in another way than by bad sectors.
pub fn read(disk: &dyn Disk) -> Result<Layout, Error> {
    let sector_size = match disk.sector_size() {
        Some(size) => size,
        None => detect_sector_size(disk)?,
    };
    Reader { sectors: Sectors::new(disk, sector_size), division: Division::new(disk.size()) }.read(disk.size())
}

/// The sector size that the GPT of an image file counts in; 512 without a GPT.
fn detect_sector_size(disk: &dyn Disk) -> Result<SectorSize, Error> {
    let sectors = Sectors::new(disk, SectorSize::B512);
    let record = sectors.read("LBA 0", 0, 1)?.as_deref().and_then(Record::parse);
    if record.is_some_and(|record| record.verdict(sectors.count()) == Verdict::Table) {
        return Ok(SectorSize::B512);
    }
    let sizes = [SectorSize::B512, SectorSize::B4096];
    let mut with_signature = None;
    for size in sizes {
        let copies = Copies::find(Sectors::new(disk, size))?;
        if copies.usable().is_some() {
            return Ok(size);
        }
        if copies.primary.has_signature() {
            with_signature.get_or_insert(size);
        }
    }
    Ok(with_signature.unwrap_or(SectorSize::B512))
}

struct Reader<'a> {
    sectors: Sectors<'a>,
    division: Division,
}

impl Reader<'_> {
    fn read(mut self, disk_size: u64) -> Result<Layout, Error> {
        let first = self.sectors.read("LBA 0", 0, 1)?;
        let record = first.as_deref().and_then(Record::parse);
        let copies = Copies::find(self.sectors)?;
        let verdict = record.map(|record| record.verdict(self.sectors.count()));
        let (table, signature) = match (verdict, copies.usable()) {
            (Some(Verdict::Protective), Some(table)) => (TableKind::Gpt, Some(gpt::guid(&table.header.disk_guid))),
            (Some(Verdict::Table), _) => {
                let number = record.map_or(0, |record| record.disk_signature.get());
                (TableKind::Mbr, Some(format!("{number:08x}")))
            }
            // Nothing says that the header at LBA 1 is out of date, and nothing that it isn't.
            (None, Some(table)) if self.sectors.count() > 0 => {
                self.division.find(FindingCode::Unreadable, "LBA 0 can't be read; the GPT is used");
                (TableKind::Gpt, Some(gpt::guid(&table.header.disk_guid)))
            }
            _ => (TableKind::None, None),
        };
        let sector_size = self.sectors.size;
        if table == TableKind::None {
            let kind = self.without_table(verdict, &copies);
            let extent = DiskExtent::between(0, disk_size);
            let whole = Region { name: "disk".to_owned(), extent, kind, partition: None };
            let regions = if extent.is_empty() { Vec::new() } else { vec![whole] };
            let findings = self.division.findings;
            return Ok(Layout {
                disk_size,
                sector_size,
                table,
                signature,
                table_sectors: Vec::new(),
                regions,
                findings,
            });
        }
        if let Some(first) = &first {
            self.division.add_table(TableRole::Mbr, 0, first);
        }
        match (table, &record) {
            (TableKind::Mbr, Some(record)) => self.read_mbr(record, &copies)?,
            (_, record) => self.read_gpt(record.as_ref(), &copies),
        }
        let (table_sectors, regions, findings) = self.division.finish();
        Ok(Layout { disk_size, sector_size, table, signature, table_sectors, regions, findings })
    }

    /// How a disk without a usable table is saved: as a gap, which is saved whole, where a table was
    /// damaged. A file system found there could be the remains of one that the table has replaced.
    fn without_table(&mut self, verdict: Option<Verdict>, copies: &Copies) -> RegionKind {
        match verdict {
            None if self.sectors.count() > 0 => {
                self.division.find(FindingCode::Unreadable, "LBA 0 can't be read, and no GPT was found");
            }
            Some(Verdict::Protective) => {
                let backup = copies.backup.as_ref().and_then(|copy| copy.problem.clone());
                let detail = format!(
                    "LBA 0 protects a GPT; {}; {}",
                    copies.primary.problem.clone().unwrap_or_default(),
                    backup.unwrap_or_else(|| "no backup header".to_owned())
                );
                self.division.find(FindingCode::GptUnusable, detail);
            }
            Some(Verdict::Unusable) => {
                let detail = "LBA 0 ends in 55 AA, but its entries have impossible boot indicators";
                self.division.find(FindingCode::MbrUnusable, detail);
            }
            _ if copies.primary.table().is_some() => {
                let detail =
                    "LBA 1 holds a valid GPT header, but LBA 0 has no protective entry: no operating system uses it";
                self.division.find(FindingCode::StaleGpt, detail);
            }
            _ => return RegionKind::WholeDisk,
        }
        RegionKind::Gap
    }

    fn read_mbr(&mut self, record: &Record, copies: &Copies) -> Result<(), Error> {
        let disk_signature = record.disk_signature.get();
        if copies.usable().is_some() {
            let detail = "the disk holds a valid GPT header, but LBA 0 has no protective entry: the MBR is used";
            self.division.find(FindingCode::StaleGpt, detail);
        }
        for (number, entry) in (1..).zip(&record.partition_record) {
            if entry.is_used() && !entry.is_extended() {
                self.add_mbr_partition(entry.starting_lba.get().into(), entry, number, disk_signature);
            }
        }
        let mut number = 5_u32;
        for container in record.partition_record.iter().filter(|entry| entry.is_used() && entry.is_extended()) {
            let chain = Chain::read(self.sectors, container)?;
            for (lba, bytes) in &chain.records {
                self.division.add_table(TableRole::Ebr, self.sectors.offset(*lba), bytes);
            }
            for logical in &chain.logicals {
                self.add_mbr_partition(logical.start, &logical.entry, number, disk_signature);
                number = number.saturating_add(1);
            }
            if let Some(problem) = chain.problem {
                self.division.find(FindingCode::BrokenExtendedChain, problem);
            }
        }
        Ok(())
    }

    fn add_mbr_partition(&mut self, start: u64, entry: &mbr::Entry, number: u32, disk_signature: u32) {
        let end = start.saturating_add(entry.size_in_lba.get().into());
        let partition = entry.partition(number, disk_signature);
        self.division.add_partition(self.sectors.offset(start), self.sectors.offset(end), partition);
    }

    fn read_gpt(&mut self, record: Option<&Record>, copies: &Copies) {
        let Some(table) = copies.usable() else { return };
        let hybrid = record.map(Record::hybrid_entries).unwrap_or_default();
        if !hybrid.is_empty() {
            self.division.find(FindingCode::HybridMbr, hybrid.join(", "));
        }
        self.add_copy_findings(copies);
        for copy in std::iter::once(&copies.primary).chain(&copies.backup) {
            self.add_certain(copy, copy.lba == 1);
        }
        for (slot, entry) in table.entries() {
            let number = slot.saturating_add(1);
            let (start, last) = (entry.starting_lba.get(), entry.ending_lba.get());
            if !entry.is_possible() {
                let detail = format!("partition {number} starts at sector {start} and ends at sector {last}; ignored");
                self.division.find(FindingCode::ImpossibleEntry, detail);
                continue;
            }
            let (start, end) = (self.sectors.offset(start), self.sectors.offset(last.saturating_add(1)));
            self.division.add_partition(start, end, entry.partition(number));
        }
        let array_sectors = table.array_sectors(self.sectors);
        self.add_damaged(&copies.primary, true, array_sectors);
        // The last sector alone, without a signature, may be anything.
        let named = copies.primary.header.map(|header| header.alternate_lba.get());
        if let Some(copy) = copies.backup.as_ref().filter(|copy| copy.has_signature() || named == Some(copy.lba)) {
            self.add_damaged(copy, false, array_sectors);
        }
    }

    /// The parts of a copy whose place a valid header vouches for.
    fn add_certain(&mut self, copy: &gpt::TableCopy, primary: bool) {
        let (header_role, entries_role) = roles(primary);
        let (Some(header), Some(sector)) = (&copy.header, &copy.sector) else {
            return;
        };
        self.division.add_table(header_role, self.sectors.offset(copy.lba), sector);
        if let Some(array) = &copy.array {
            self.division.add_table(entries_role, self.sectors.offset(header.partition_entry_lba.get()), array);
        }
    }

    /// What stands where a copy without a valid header should be.
    fn add_damaged(&mut self, copy: &gpt::TableCopy, primary: bool, array_sectors: u64) {
        let (header_role, entries_role) = roles(primary);
        let (None, Some(sector)) = (&copy.header, &copy.sector) else {
            return;
        };
        self.division.add_damaged_table(header_role, self.sectors.offset(copy.lba), sector);
        let first = if primary { 2 } else { copy.lba.saturating_sub(array_sectors) };
        // A bad sector there is left to the gap around it.
        if let Ok(Some(array)) = self.sectors.read("GPT entries", first, array_sectors) {
            self.division.add_damaged_table(entries_role, self.sectors.offset(first), &array);
        }
    }

    fn add_copy_findings(&mut self, copies: &Copies) {
        let last = self.sectors.count().saturating_sub(1);
        let division = &mut self.division;
        if let Some(problem) = &copies.primary.problem {
            division.find(FindingCode::PrimaryGptDamaged, problem);
        }
        let alternate = copies.primary.header.map(|header| header.alternate_lba.get());
        match &copies.backup {
            None => division.find(FindingCode::BackupGptDamaged, "there is no backup header"),
            Some(backup) => match &backup.problem {
                Some(problem) => {
                    let named = alternate.filter(|lba| *lba != backup.lba);
                    let said =
                        named.map(|lba| format!("; LBA 1 says that it is at LBA {lba}, the disk ends at LBA {last}"));
                    division.find(FindingCode::BackupGptDamaged, format!("{problem}{}", said.unwrap_or_default()));
                }
                None if backup.lba != last => division.find(
                    FindingCode::BackupGptNotAtEnd,
                    format!("it is at LBA {}, the disk ends at LBA {last}", backup.lba),
                ),
                None => {}
            },
        }
        let tables = copies.primary.table().zip(copies.backup.as_ref().and_then(gpt::TableCopy::table));
        if let Some((primary, backup)) = tables {
            let elsewhere = alternate.filter(|lba| *lba != backup.lba);
            let moved =
                elsewhere.map(|lba| format!("the primary names LBA {lba}, the backup is at LBA {}", backup.lba));
            if let Some(detail) = primary.difference(&backup).or(moved) {
                division.find(FindingCode::GptCopiesDiffer, detail);
            }
        }
    }
}

fn roles(primary: bool) -> (TableRole, TableRole) {
    if primary {
        (TableRole::PrimaryHeader, TableRole::PrimaryEntries)
    } else {
        (TableRole::BackupHeader, TableRole::BackupEntries)
    }
}

#[cfg(test)]
mod tests;
