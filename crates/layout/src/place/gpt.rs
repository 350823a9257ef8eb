//! A GPT on a disk of another size: the backup moves to the new end, and the fields that say so follow.
//! Disk GUID, entries, their order and their slots stay, unless the disk is to get new names.
//!
//! Source: UEFI Specification 2.10, 5.3.2 "GPT Header", and 5.2.3 "Protective MBR" for its size field.

use block::{DiskExtent, Extents, InDisk};
use zerocopy::byteorder::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::tables::TableDisk;
use super::{Change, Destination, NewIds, PlaceError, Tables, grown_end, partitions_end, require};
use crate::gpt::{Copies, Entry, Header, Table, checksum, guid};
use crate::mbr::Record;
use crate::sectors::Sectors;
use crate::{Layout, Region, TableRole, TableSectors};

pub(super) fn place(
    image: &Layout,
    destination: &Destination,
    grow: Option<&Region>,
    new_ids: Option<&NewIds>,
) -> Result<Tables, PlaceError> {
    let disk = TableDisk(image);
    let sectors = Sectors::new(&disk, image.sector_size);
    let count = image.sector_size.lba_of(destination.size);
    if count == sectors.count() && grow.is_none() && new_ids.is_none() {
        require(partitions_end(image), destination)?;
        return Ok(Tables { sectors: image.table_sectors.clone(), ..Tables::default() });
    }
    let copies = Copies::find(sectors).map_err(|error| PlaceError::inconsistent(error.to_string()))?;
    let mut table = copies.usable().ok_or_else(|| PlaceError::inconsistent("no valid GPT among its table sectors"))?;
    check_apart(image, table, sectors)?;
    let places = Places::new(&copies, table, sectors, count, destination)?;
    let mut tables = Tables::default();
    let mut array = table.array.to_vec();
    if let Some(region) = grow {
        grow_entry(&mut array, table, region, &places, sectors, &mut tables)?;
    }
    if let Some(ids) = new_ids {
        let from = table.header.disk_guid;
        if let Some(to) = ids.guid(0).filter(|to| *to != from) {
            table.header.disk_guid = to;
            tables.changes.push(Change::Renamed { name: "disk".into(), from: guid(&from), to: guid(&to) });
        }
        ids.rename_entries(&mut array, table, &mut tables.changes);
    }
    let crc = table.header.array_crc32(&array);
    let primary = places.header(table, crc, true)?;
    let backup = places.header(table, crc, false)?;
    tables.changes.extend(changes(&copies, &primary, &backup));
    for (role, lba, bytes) in [
        (TableRole::PrimaryHeader, 1, primary),
        (TableRole::PrimaryEntries, places.primary_entries, array.clone()),
        (TableRole::BackupEntries, places.backup_entries, array),
        (TableRole::BackupHeader, places.last, backup),
    ] {
        tables.sectors.push(run(role, sectors.offset(lba), bytes)?);
    }
    if let Some(first) = image.table_sectors.iter().find(|table| table.role == TableRole::Mbr) {
        tables.sectors.push(protect(first, count, sectors.count(), &mut tables.changes));
    }
    if let Some(ids) = new_ids {
        ids.rename_record(image, &mut tables.sectors, &mut tables.changes);
    }
    Ok(tables)
}

/// Refuses where a partition holds sectors of a table: the bytes there are both, and a table that
/// moves away would leave the partition without them.
fn check_apart(image: &Layout, table: Table<'_>, sectors: Sectors<'_>) -> Result<(), PlaceError> {
    let tables: Extents<InDisk> = image.table_sectors.iter().map(|run| run.extent).collect();
    for (slot, entry) in table.entries().filter(|(_, entry)| entry.is_possible()) {
        let end = sectors.offset(entry.ending_lba.get().saturating_add(1));
        let extent = DiskExtent::between(sectors.offset(entry.starting_lba.get()), end);
        if let Some(shared) = tables.overlapping(extent).next() {
            let number = slot.saturating_add(1);
            let detail = format!("partition {number} holds sectors of the table ({shared}), which has to move");
            return Err(PlaceError::inconsistent(detail));
        }
    }
    Ok(())
}

/// Where the parts of the table go.
struct Places {
    primary_entries: u64,
    backup_entries: u64,
    last_usable: u64,
    last: u64,
}

impl Places {
    fn new(
        copies: &Copies,
        table: Table<'_>,
        sectors: Sectors<'_>,
        count: u64,
        destination: &Destination,
    ) -> Result<Self, PlaceError> {
        let array_sectors = table.array_sectors(sectors);
        let primary_entries = copies.primary.header.map_or(2, |header| header.partition_entry_lba.get());
        let entries = table.entries().map(|(_, entry)| entry).filter(Entry::is_possible);
        let ends = entries.map(|entry| entry.ending_lba.get().saturating_add(1));
        let used = ends.chain([primary_entries.saturating_add(array_sectors)]).max().unwrap_or_default();
        let needed = used.saturating_add(array_sectors).saturating_add(1);
        require(sectors.offset(needed), destination)?;
        let last = count.saturating_sub(1);
        let backup_entries = last.saturating_sub(array_sectors);
        Ok(Self { primary_entries, backup_entries, last_usable: backup_entries.saturating_sub(1), last })
    }

    /// The raw header sector of one copy: that of the valid copy, with the fields that must differ.
    fn header(&self, table: Table<'_>, array_crc32: u32, primary: bool) -> Result<Vec<u8>, PlaceError> {
        let mut header = table.header;
        let (my_lba, alternate_lba, entries) =
            if primary { (1, self.last, self.primary_entries) } else { (self.last, 1, self.backup_entries) };
        header.my_lba = U64::new(my_lba);
        header.alternate_lba = U64::new(alternate_lba);
        header.partition_entry_lba = U64::new(entries);
        header.last_usable_lba = U64::new(self.last_usable);
        header.partition_entry_array_crc32 = U32::new(array_crc32);
        let mut sector = table.sector.to_vec();
        put(&mut sector, 0, header.as_bytes());
        // A header may be longer than the fields known here; the checksum covers all of it.
        let sum = checksum(&sector, header.header_size.get())
            .ok_or_else(|| PlaceError::inconsistent("a GPT header longer than its sector"))?;
        header.header_crc32 = U32::new(sum);
        put(&mut sector, 0, header.as_bytes());
        Ok(sector)
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..value.len())) {
        place.copy_from_slice(value);
    }
}

fn run(role: TableRole, offset: u64, bytes: Vec<u8>) -> Result<TableSectors, PlaceError> {
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let extent = DiskExtent::new(offset, length).map_err(|error| PlaceError::inconsistent(error.to_string()))?;
    Ok(TableSectors { extent, role, bytes })
}

/// Moves the end of the partition's entry to the end of the free space.
fn grow_entry(
    array: &mut [u8],
    table: Table<'_>,
    region: &Region,
    places: &Places,
    sectors: Sectors<'_>,
    tables: &mut Tables,
) -> Result<(), PlaceError> {
    let name = &region.name;
    let slot = region.partition.as_ref().and_then(|partition| partition.number.checked_sub(1));
    let entry = table.entries().find(|(number, _)| Some(*number) == slot);
    let Some((slot, mut entry)) = entry else {
        return Err(PlaceError::inconsistent(format!("{name} is not in its table")));
    };
    let end = entry.ending_lba.get();
    for (number, other) in table.entries().filter(|(_, other)| other.is_possible()) {
        let sector = other.ending_lba.get();
        if sector > end {
            let behind = format!("p{}", number.saturating_add(1));
            return Err(PlaceError::GrowBlocked { name: name.clone(), behind, sector });
        }
    }
    let new_end = grown_end(places.last_usable.saturating_add(1), sectors.size);
    let last = new_end.saturating_sub(1);
    if last <= end {
        return Ok(());
    }
    entry.ending_lba = U64::new(last);
    let at = usize::try_from(slot).unwrap_or(usize::MAX).saturating_mul(table.header.entry_size());
    put(array, at, entry.as_bytes());
    tables.grown = Some(DiskExtent::between(sectors.offset(end.saturating_add(1)), sectors.offset(new_end)));
    tables.changes.push(Change::Grown { name: name.clone(), from: end, to: last });
    Ok(())
}

/// LBA 0 with the size of its protective entry as the destination asks for it.
fn protect(first: &TableSectors, count: u64, image_count: u64, changes: &mut Vec<Change>) -> TableSectors {
    let mut first = first.clone();
    let Some(mut record) = Record::parse(&first.bytes) else { return first };
    let hybrid = !record.hybrid_entries().is_empty();
    if let Some(entry) = record.partition_record.iter_mut().find(|entry| entry.is_protective()) {
        let (start, size) = (u64::from(entry.starting_lba.get()), entry.size_in_lba.get());
        let end = start.saturating_add(size.into());
        // All ones is right for every size, and what some tools always write. In a hybrid record the
        // entry may end before the others on purpose.
        if size != u32::MAX && (!hybrid || end == image_count || end > count) {
            let to = u32::try_from(count.saturating_sub(start)).unwrap_or(u32::MAX);
            entry.size_in_lba = U32::new(to);
            if to != size {
                let field = "SizeInLBA";
                changes.push(Change::Field { role: TableRole::Mbr, field, from: size.into(), to: to.into() });
            }
        }
    }
    put(&mut first.bytes, 0, record.as_bytes());
    first
}

/// What differs between the copies of the image and the new headers.
fn changes(copies: &Copies, primary: &[u8], backup: &[u8]) -> Vec<Change> {
    let used = copies.usable();
    let mut changes = Vec::new();
    let sides = [
        (Some(&copies.primary), primary, TableRole::PrimaryHeader, TableRole::PrimaryEntries),
        (copies.backup.as_ref(), backup, TableRole::BackupHeader, TableRole::BackupEntries),
    ];
    for (copy, sector, header_role, entries_role) in sides {
        let Ok((new, _)) = Header::read_from_prefix(sector) else { continue };
        let old = copy.and_then(|copy| copy.table());
        let Some(old) = old.filter(|old| used.is_some_and(|used| used.difference(old).is_none())) else {
            changes.extend([header_role, entries_role].map(|role| Change::Rebuilt { role }));
            continue;
        };
        let old = old.header;
        let crcs = (old.partition_entry_array_crc32, new.partition_entry_array_crc32);
        for (field, from, to) in [
            ("MyLBA", old.my_lba.get(), new.my_lba.get()),
            ("AlternateLBA", old.alternate_lba.get(), new.alternate_lba.get()),
            ("LastUsableLBA", old.last_usable_lba.get(), new.last_usable_lba.get()),
            ("PartitionEntryLBA", old.partition_entry_lba.get(), new.partition_entry_lba.get()),
            ("PartitionEntryArrayCRC32", crcs.0.get().into(), crcs.1.get().into()),
            ("HeaderCRC32", old.header_crc32.get().into(), new.header_crc32.get().into()),
        ] {
            if from != to {
                changes.push(Change::Field { role: header_role, field, from, to });
            }
        }
    }
    changes
}
