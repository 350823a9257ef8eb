//! Other names for a disk: new ones for a copy that must live beside its original, or those of a disk that it
//! replaces. They are all that changes in its tables, with their checksums.

use std::collections::BTreeMap;

use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::U32;

use super::Change;
use crate::gpt::{Entry, Table, guid, parse_guid};
use crate::mbr::Record;
use crate::{Layout, TableKind, TableRole, TableSectors};

/// The signature and GUIDs that a disk and its partitions get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewIds {
    signature: Option<u32>,
    guids: Guids,
}

/// The number of the first file system, where disks and partitions count from 0.
const FILE_SYSTEMS: u32 = 0x4000_0000;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Guids {
    /// A sequence: that of a partition is that of the disk with its number added to the last four bytes.
    Sequence([u8; 16]),
    /// By number, 0 for the disk; what is not named keeps what it has.
    Given(BTreeMap<u32, [u8; 16]>),
}

impl NewIds {
    /// Names that nothing else in the world has, from random bytes. The last of them become the MBR disk signature,
    /// which is never 0: that would mean "none", and Windows would write another one.
    pub fn from_random(random: [u8; 20]) -> Self {
        let [guid @ .., a, b, c, d] = random;
        let mut guid: [u8; 16] = guid;
        // RFC 9562, 4.1 and 5.4: variant and version "random". The third field is little endian on a disk.
        let [_, _, _, _, _, _, _, version, variant, ..] = &mut guid;
        *version = (*version & 0x0F) | 0x40;
        *variant = (*variant & 0x3F) | 0x80;
        Self { signature: Some(u32::from_le_bytes([a, b, c, d]).max(1)), guids: Guids::Sequence(guid) }
    }

    /// Those of disk `number` of several that are made from the same random bytes: no two of them share a name.
    #[must_use]
    pub fn of_disk(&self, number: u32) -> Self {
        let Guids::Sequence(first) = &self.guids else { return self.clone() };
        // Partitions count in the last four bytes, disks in the first four.
        let [a, b, c, d, rest @ ..] = *first;
        let mut guid = *first;
        let counted = u32::from_be_bytes([a, b, c, d]).wrapping_add(number).to_be_bytes();
        for (place, byte) in guid.iter_mut().zip(counted.into_iter().chain(rest)) {
            *place = byte;
        }
        // From 1 to the largest number, round and round.
        let signature = self.signature.map(|signature| {
            let next = u64::from(signature.max(1)).saturating_sub(1).saturating_add(number.into());
            let next = next.checked_rem(u32::MAX.into()).unwrap_or_default().saturating_add(1);
            u32::try_from(next).unwrap_or(1)
        });
        Self { signature, guids: Guids::Sequence(guid) }
    }

    /// The names of the disk that `layout` is of, and of its partitions.
    pub fn of(layout: &Layout) -> Self {
        let sectors = layout.table_sectors.iter().find(|table| table.role == TableRole::Mbr);
        let signature = sectors.and_then(|table| Some(Record::parse(&table.bytes)?.disk_signature.get()));
        let disk = layout.signature.as_deref().filter(|_| layout.table == TableKind::Gpt).and_then(parse_guid);
        let partitions = layout.regions.iter().filter_map(|region| region.partition.as_ref());
        let partitions =
            partitions.filter_map(|partition| Some((partition.number, parse_guid(partition.guid.as_deref()?)?)));
        Self { signature, guids: Guids::Given(disk.map(|guid| (0, guid)).into_iter().chain(partitions).collect()) }
    }

    /// A UUID for a file system, in the byte order in which it is spelled: another one for each number, and none that a disk
    /// or a partition gets. `None` where the names are those of another disk.
    pub fn of_file_system(&self, number: u32) -> Option<[u8; 16]> {
        let Guids::Sequence(_) = &self.guids else { return None };
        // Partitions have small numbers. A GUID on a disk has its first three fields in little endian.
        let [a, b, c, d, e, f, g, h, rest @ ..] = self.guid(FILE_SYSTEMS.wrapping_add(number))?;
        let [i, j, k, l, m, n, o, p] = rest;
        Some([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
    }

    /// The GUID of the disk (number 0) or of a partition by its number, as it stands on a disk.
    pub(super) fn guid(&self, number: u32) -> Option<[u8; 16]> {
        let first = match &self.guids {
            Guids::Sequence(first) => *first,
            Guids::Given(guids) => return guids.get(&number).copied(),
        };
        let [head @ .., a, b, c, d] = first;
        let [a, b, c, d] = u32::from_be_bytes([a, b, c, d]).wrapping_add(number).to_be_bytes();
        let mut guid = [a; 16];
        for (place, byte) in guid.iter_mut().zip(head.into_iter().chain([a, b, c, d])) {
            *place = byte;
        }
        Some(guid)
    }

    /// Gives the partitions of a GPT new GUIDs.
    pub(super) fn rename_entries(&self, array: &mut [u8], table: Table<'_>, changes: &mut Vec<Change>) {
        for (slot, mut entry) in table.entries() {
            let number = slot.saturating_add(1);
            let at = usize::try_from(slot).unwrap_or(usize::MAX).saturating_mul(table.header.entry_size());
            // The entry may have been changed already (grown): only its name is replaced.
            let place = array.get_mut(at..).and_then(|rest| rest.get_mut(..size_of::<Entry>()));
            let Some(place) = place else { continue };
            let Some(new) = self.guid(number).filter(|new| *new != entry.unique_partition_guid) else { continue };
            let from = guid(&entry.unique_partition_guid);
            entry.unique_partition_guid = new;
            if let Some(bytes) = place.get_mut(16..32) {
                bytes.copy_from_slice(&entry.unique_partition_guid);
            }
            let to = guid(&entry.unique_partition_guid);
            changes.push(Change::Renamed { name: format!("p{number}"), from, to });
        }
    }

    /// Gives LBA 0 a new disk signature. One of zeros, as a GPT disk of Windows has it, stays, unless it is given.
    pub(super) fn rename_record(&self, image: &Layout, sectors: &mut [TableSectors], changes: &mut Vec<Change>) {
        let Some(first) = sectors.iter_mut().find(|table| table.role == TableRole::Mbr) else { return };
        let Some(mut record) = Record::parse(&first.bytes) else { return };
        let old = record.disk_signature.get();
        let is_random = matches!(self.guids, Guids::Sequence(_));
        let Some(signature) = self.signature.filter(|new| *new != old && !(is_random && old == 0)) else { return };
        record.disk_signature = U32::new(signature);
        if let Some(bytes) = first.bytes.get_mut(..crate::mbr::SIZE) {
            bytes.copy_from_slice(record.as_bytes());
        }
        let spelled = |signature: u32| format!("{signature:08x}");
        let name = if image.table == TableKind::Mbr { "disk" } else { "LBA 0" };
        changes.push(Change::Renamed { name: name.into(), from: spelled(old), to: spelled(signature) });
        if image.table != TableKind::Mbr {
            return;
        }
        // What Linux calls PARTUUID follows from the signature.
        for partition in image.regions.iter().filter_map(|region| region.partition.as_ref()) {
            let Some(from) = &partition.guid else { continue };
            let Some((_, number)) = from.split_once('-') else { continue };
            let to = format!("{signature:08x}-{number}");
            changes.push(Change::Renamed { name: format!("p{}", partition.number), from: from.clone(), to });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn disks_of_one_restore_share_no_name() {
        for random in [[0_u8; 20], [0xFF; 20]] {
            let ids = NewIds::from_random(random);
            assert_eq!(ids.of_disk(0), ids);
            let disks: Vec<_> = (0..8).map(|number| ids.of_disk(number)).collect();
            let signatures: BTreeSet<_> = disks.iter().map(|ids| ids.signature.unwrap()).collect();
            let guids: BTreeSet<_> = disks.iter().flat_map(|ids| (0..130).map(|number| ids.guid(number))).collect();
            let file_systems: BTreeSet<_> = (0..500).map(|number| ids.of_file_system(number).unwrap()).collect();
            assert_eq!((signatures.len(), guids.len(), file_systems.len()), (8, 8 * 130, 500));
            assert!(file_systems.iter().all(|uuid| uuid[6] >> 4 == 4 && uuid[8] >> 6 == 2));
            assert!(file_systems.iter().all(|uuid| !guids.contains(&Some(*uuid))));
            assert!(!signatures.contains(&0));
            // Version and variant say "random" in all of them.
            assert!(guids.iter().flatten().all(|guid| guid[7] >> 4 == 4 && guid[8] >> 6 == 2));
        }
    }
}
