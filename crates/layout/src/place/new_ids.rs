//! New names for a disk that must live beside its original: every signature and GUID that its tables hold.

use zerocopy::IntoBytes;
use zerocopy::byteorder::little_endian::U32;

use super::Change;
use crate::gpt::{Entry, Table, guid};
use crate::mbr::Record;
use crate::{Layout, TableKind, TableRole, TableSectors};

/// Names that nothing else in the world has: one for the disk, one for each partition.
///
/// All follow from one random number, as the GUIDs of a sequence do: those of the partitions are that of the disk
/// with their number added to its last four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewIds {
    guid: [u8; 16],
    signature: u32,
}

impl NewIds {
    /// Names from random bytes. The last of them become the MBR disk signature, which is never 0: that would mean
    /// "none", and Windows would write another one.
    pub fn from_random(random: [u8; 20]) -> Self {
        let [guid @ .., a, b, c, d] = random;
        let mut guid: [u8; 16] = guid;
        // RFC 9562, 4.1 and 5.4: variant and version "random". The third field is little endian on a disk.
        let [_, _, _, _, _, _, _, version, variant, ..] = &mut guid;
        *version = (*version & 0x0F) | 0x40;
        *variant = (*variant & 0x3F) | 0x80;
        Self { guid, signature: u32::from_le_bytes([a, b, c, d]).max(1) }
    }

    /// The new MBR disk signature.
    pub fn signature(&self) -> u32 {
        self.signature
    }

    /// The GUID of the disk (number 0) or of a partition by its number, as it stands on a disk.
    pub(super) fn guid(&self, number: u32) -> [u8; 16] {
        let [head @ .., a, b, c, d] = self.guid;
        let [a, b, c, d] = u32::from_be_bytes([a, b, c, d]).wrapping_add(number).to_be_bytes();
        let mut guid = [a; 16];
        for (place, byte) in guid.iter_mut().zip(head.into_iter().chain([a, b, c, d])) {
            *place = byte;
        }
        guid
    }

    /// Gives the partitions of a GPT new GUIDs.
    pub(super) fn rename_entries(&self, array: &mut [u8], table: Table<'_>, changes: &mut Vec<Change>) {
        for (slot, mut entry) in table.entries() {
            let number = slot.saturating_add(1);
            let at = usize::try_from(slot).unwrap_or(usize::MAX).saturating_mul(table.header.entry_size());
            // The entry may have been changed already (grown): only its name is replaced.
            let place = array.get_mut(at..).and_then(|rest| rest.get_mut(..size_of::<Entry>()));
            let Some(place) = place else { continue };
            let from = guid(&entry.unique_partition_guid);
            entry.unique_partition_guid = self.guid(number);
            if let Some(bytes) = place.get_mut(16..32) {
                bytes.copy_from_slice(&entry.unique_partition_guid);
            }
            let to = guid(&entry.unique_partition_guid);
            changes.push(Change::Renamed { name: format!("p{number}"), from, to });
        }
    }

    /// Gives LBA 0 a new disk signature. One of zeros, as a GPT disk of Windows has it, stays.
    pub(super) fn rename_record(&self, image: &Layout, sectors: &mut [TableSectors], changes: &mut Vec<Change>) {
        let Some(first) = sectors.iter_mut().find(|table| table.role == TableRole::Mbr) else { return };
        let Some(mut record) = Record::parse(&first.bytes) else { return };
        let old = record.disk_signature.get();
        if old == 0 {
            return;
        }
        record.disk_signature = U32::new(self.signature);
        if let Some(bytes) = first.bytes.get_mut(..crate::mbr::SIZE) {
            bytes.copy_from_slice(record.as_bytes());
        }
        let spelled = |signature: u32| format!("{signature:08x}");
        let name = if image.table == TableKind::Mbr { "disk" } else { "LBA 0" };
        changes.push(Change::Renamed { name: name.into(), from: spelled(old), to: spelled(self.signature) });
        if image.table != TableKind::Mbr {
            return;
        }
        // What Linux calls PARTUUID follows from the signature.
        for partition in image.regions.iter().filter_map(|region| region.partition.as_ref()) {
            let Some(from) = &partition.guid else { continue };
            let Some((_, number)) = from.split_once('-') else { continue };
            let to = format!("{:08x}-{number}", self.signature);
            changes.push(Change::Renamed { name: format!("p{}", partition.number), from: from.clone(), to });
        }
    }
}
