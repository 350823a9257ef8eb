//! The chain of extended boot records, which holds the logical partitions of an MBR.
//!
//! Each record lies in front of its partition. Entry 0 counts from its own record, the link to the
//! next record counts from the first one. Numbers and the treatment of unusual entries follow
//! Linux, because `/dev/sda5` must mean the same here.
//!
//! Source: Linux block/partitions/msdos.c (`parse_extended`).

use std::collections::BTreeSet;

use crate::Error;
use crate::mbr::{Entry, Record};
use crate::sectors::Sectors;

/// More records than this are no chain that a person made.
const LINKS_LIMIT: usize = 255;

/// A logical partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Logical {
    /// First sector, counted from the start of the disk.
    pub start: u64,
    pub entry: Entry,
    /// Which record of the chain holds it, and in which of its entries.
    pub record: usize,
    pub index: usize,
}

/// What was reached of a chain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    /// Every record: its sector, and its raw bytes.
    pub records: Vec<(u64, Vec<u8>)>,
    pub logicals: Vec<Logical>,
    /// Why the chain ends before its end.
    pub problem: Option<String>,
}

impl Chain {
    /// Follows the chain of the extended partition `container`.
    pub fn read(sectors: Sectors<'_>, container: &Entry) -> Result<Self, Error> {
        let first = u64::from(container.starting_lba.get());
        let mut length = u64::from(container.size_in_lba.get());
        let container_end = first.saturating_add(length);
        let mut chain = Self::default();
        let mut seen = BTreeSet::new();
        let mut next = Some(first);
        while let Some(lba) = next.take() {
            let Some((bytes, record)) = chain.read_record(sectors, lba, &mut seen)? else {
                break;
            };
            let number = chain.records.len();
            chain.records.push((lba, bytes));
            for (index, entry) in record.partition_record.into_iter().enumerate() {
                if !entry.is_used() || entry.is_extended() {
                    continue;
                }
                let offset = u64::from(entry.starting_lba.get());
                let start = lba.saturating_add(offset);
                let size = u64::from(entry.size_in_lba.get());
                // Only the first two entries are meant for use; others count where they can be true.
                let inside = offset.saturating_add(size) <= length && start.saturating_add(size) <= container_end;
                if index < 2 || inside {
                    chain.logicals.push(Logical { start, entry, record: number, index });
                }
            }
            if let Some(link) = record.partition_record.iter().find(|entry| entry.is_extended() && entry.is_used()) {
                next = Some(first.saturating_add(u64::from(link.starting_lba.get())));
                length = u64::from(link.size_in_lba.get());
            }
        }
        Ok(chain)
    }

    /// The record at `lba`; `None`, with the problem noted, where the chain can't go on there.
    fn read_record(
        &mut self,
        sectors: Sectors<'_>,
        lba: u64,
        seen: &mut BTreeSet<u64>,
    ) -> Result<Option<(Vec<u8>, Record)>, Error> {
        let problem = if self.records.len() >= LINKS_LIMIT {
            format!("more than {LINKS_LIMIT} extended boot records")
        } else if !seen.insert(lba) {
            format!("a link leads back to the record at sector {lba}")
        } else if lba == 0 || lba >= sectors.count() {
            format!("a link leads to sector {lba} of a disk of {} sectors", sectors.count())
        } else {
            match sectors.read("extended boot record", lba, 1)? {
                None => format!("the record at sector {lba} can't be read"),
                Some(bytes) => match Record::parse(&bytes).filter(Record::has_signature) {
                    Some(record) => return Ok(Some((bytes, record))),
                    None => format!("no extended boot record at sector {lba}: 55 AA is missing"),
                },
            }
        };
        self.problem = Some(problem);
        Ok(None)
    }
}
