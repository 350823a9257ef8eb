//! An MBR on a disk of another size: nothing changes, unless a partition is to grow or the disk gets a new name.

use block::{DiskExtent, SectorSize};
use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::U32;

use super::tables::TableDisk;
use super::{Change, Destination, NewIds, PlaceError, Tables, grown_end, partitions_end, require};
use crate::ebr::{Chain, Logical};
use crate::mbr::{Entry, Record};
use crate::sectors::Sectors;
use crate::{Layout, Region, TableSectors};

/// The end of everything that cylinders, heads and sectors can't address.
const BEYOND_CHS: [u8; 3] = [0xFE, 0xFF, 0xFF];

pub(super) fn place(
    image: &Layout,
    destination: &Destination,
    grow: Option<&Region>,
    new_ids: Option<&NewIds>,
) -> Result<Tables, PlaceError> {
    let disk = TableDisk(image);
    let sectors = Sectors::new(&disk, image.sector_size);
    let table = Table::read(image, sectors)?;
    let tables = image.table_sectors.iter().map(|table| table.extent.end());
    // A container that passes the end of the image's own disk is no worse on the destination.
    let containers = table.containers.iter().map(|(entry, _)| sectors.offset(end(*entry)).min(image.disk_size));
    require(tables.chain(containers).chain([partitions_end(image)]).max().unwrap_or_default(), destination)?;
    let mut tables = Tables { sectors: image.table_sectors.clone(), ..Tables::default() };
    if let Some(region) = grow {
        let count = image.sector_size.lba_of(destination.size);
        let changes = table.grow(region, count, image.sector_size)?;
        tables.apply(&changes, region, sectors)?;
    }
    if let Some(ids) = new_ids {
        ids.rename_record(image, &mut tables.sectors, &mut tables.changes);
    }
    Ok(tables)
}

/// The table of the image, decoded.
struct Table {
    record: Record,
    /// The extended partitions with the index of their entry, and their chains.
    containers: Vec<(Entry, (usize, Chain))>,
}

/// An entry that becomes larger.
struct Enlarged {
    name: String,
    /// The sector of the record, and the index of the entry in it.
    record: u64,
    index: usize,
    /// First sector of what the entry names, its end now and then.
    start: u64,
    end: u64,
    new_end: u64,
}

/// The end of a primary entry.
fn end(entry: Entry) -> u64 {
    u64::from(entry.starting_lba.get()).saturating_add(entry.size_in_lba.get().into())
}

fn logical_end(logical: &Logical) -> u64 {
    logical.start.saturating_add(logical.entry.size_in_lba.get().into())
}

impl Table {
    fn read(image: &Layout, sectors: Sectors<'_>) -> Result<Self, PlaceError> {
        let first = sectors.read("LBA 0", 0, 1).ok().flatten();
        let record = first.as_deref().and_then(Record::parse);
        let record = record.ok_or_else(|| PlaceError::inconsistent("no LBA 0 among its table sectors"))?;
        let mut containers = Vec::new();
        for (index, entry) in record.partition_record.into_iter().enumerate() {
            if entry.is_used() && entry.is_extended() {
                let chain = Chain::read(sectors, &entry).map_err(|error| {
                    PlaceError::inconsistent(format!("{error} of a disk of {} bytes", image.disk_size))
                })?;
                containers.push((entry, (index, chain)));
            }
        }
        Ok(Self { record, containers })
    }

    /// The entries that become larger so that the partition of `region` fills a disk of `count` sectors.
    fn grow(&self, region: &Region, count: u64, sector_size: SectorSize) -> Result<Vec<Enlarged>, PlaceError> {
        let number = region.partition.as_ref().map_or(0, |partition| partition.number);
        let found = if number <= 4 { self.primary(number) } else { self.logical(number) };
        let missing = || PlaceError::inconsistent(format!("{} is not in its table", region.name));
        let mut enlarged = found.ok_or_else(missing)?;
        let grown = enlarged.first_mut().ok_or_else(missing)?;
        grown.name.clone_from(&region.name);
        let (start, old_end) = (grown.start, grown.end);
        let container = enlarged.iter().map(|entry| entry.start).min().unwrap_or(start);
        self.check_nothing_behind(region, number, container, old_end)?;
        // Every entry that grows counts its sectors in 32 bits, from its own start.
        let new_end = grown_end(count.min(container.saturating_add(u32::MAX.into())), sector_size);
        for entry in &mut enlarged {
            entry.new_end = new_end;
        }
        enlarged.retain(|entry| entry.end < entry.new_end);
        if new_end <= old_end {
            enlarged.clear();
        }
        Ok(enlarged)
    }

    fn primary(&self, number: u32) -> Option<Vec<Enlarged>> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        let entry = *self.record.partition_record.get(index)?;
        let start = entry.starting_lba.get().into();
        Some(vec![Enlarged { name: String::new(), record: 0, index, start, end: end(entry), new_end: 0 }])
    }

    /// The logical partition's own entry, the link to its record, and its container.
    fn logical(&self, number: u32) -> Option<Vec<Enlarged>> {
        let mut nth = usize::try_from(number.checked_sub(5)?).ok()?;
        for (container, (index, chain)) in &self.containers {
            let Some(logical) = chain.logicals.get(nth) else {
                nth = nth.checked_sub(chain.logicals.len())?;
                continue;
            };
            let first = u64::from(container.starting_lba.get());
            let (record, _) = chain.records.get(logical.record)?;
            let mut enlarged = vec![Enlarged {
                name: String::new(),
                record: *record,
                index: logical.index,
                start: logical.start,
                end: logical_end(logical),
                new_end: 0,
            }];
            for (lba, bytes) in &chain.records {
                let entries = Record::parse(bytes)?.partition_record;
                let link = entries.iter().position(|entry| entry.is_extended() && entry.is_used());
                let Some((index, entry)) = link.and_then(|index| Some((index, entries.get(index)?))) else { continue };
                let start = first.saturating_add(entry.starting_lba.get().into());
                if start == *record {
                    let end = start.saturating_add(entry.size_in_lba.get().into());
                    let name = "link".to_owned();
                    enlarged.push(Enlarged { name, record: *lba, index, start, end, new_end: 0 });
                }
            }
            let name = "extended".to_owned();
            enlarged.push(Enlarged { name, record: 0, index: *index, start: first, end: end(*container), new_end: 0 });
            return Some(enlarged);
        }
        None
    }

    /// Refuses where another partition or a record lies behind sector `own_end`.
    fn check_nothing_behind(
        &self,
        region: &Region,
        number: u32,
        container: u64,
        own_end: u64,
    ) -> Result<(), PlaceError> {
        let mut others: Vec<(String, u64)> = Vec::new();
        for (index, entry) in (1_u32..).zip(self.record.partition_record) {
            let own_container = number > 4 && entry.is_extended() && u64::from(entry.starting_lba.get()) == container;
            if entry.is_used() && !own_container {
                let name = if entry.is_extended() { "the extended partition".into() } else { format!("p{index}") };
                others.push((name, end(entry)));
            }
        }
        let chains = self.containers.iter().map(|(_, (_, chain))| chain);
        let logicals = chains.clone().flat_map(|chain| &chain.logicals);
        others.extend((5_u32..).zip(logicals).map(|(index, logical)| (format!("p{index}"), logical_end(logical))));
        let records = chains.flat_map(|chain| &chain.records);
        others.extend(records.map(|(lba, _)| ("an extended boot record".to_owned(), lba.saturating_add(1))));
        match others.into_iter().find(|(_, end)| *end > own_end) {
            Some((behind, end)) => {
                Err(PlaceError::GrowBlocked { name: region.name.clone(), behind, sector: end.saturating_sub(1) })
            }
            None => Ok(()),
        }
    }
}

impl Tables {
    fn apply(&mut self, enlarged: &[Enlarged], region: &Region, sectors: Sectors<'_>) -> Result<(), PlaceError> {
        for change in enlarged {
            let offset = sectors.offset(change.record);
            let run = self.sectors.iter_mut().find(|table| table.extent.start() == offset);
            run.and_then(|run| enlarge(run, change)).ok_or_else(|| {
                PlaceError::inconsistent(format!("no record at sector {} among its table sectors", change.record))
            })?;
            let (from, to) = (change.end.saturating_sub(1), change.new_end.saturating_sub(1));
            self.changes.push(Change::Grown { name: change.name.clone(), from, to });
            if change.name == region.name {
                let grown = DiskExtent::between(sectors.offset(change.end), sectors.offset(change.new_end));
                self.grown = Some(grown);
            }
        }
        Ok(())
    }
}

/// Writes the new size into the entry; `None` where the record is too short to hold it.
fn enlarge(run: &mut TableSectors, change: &Enlarged) -> Option<()> {
    let mut record = Record::parse(&run.bytes)?;
    let entry = record.partition_record.get_mut(change.index)?;
    entry.size_in_lba = U32::new(u32::try_from(change.new_end.saturating_sub(change.start)).ok()?);
    entry.ending_chs = BEYOND_CHS;
    run.bytes.get_mut(..crate::mbr::SIZE)?.copy_from_slice(record.as_bytes());
    Some(())
}
