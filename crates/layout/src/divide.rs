//! Dividing a disk: every byte into exactly one run of table sectors or exactly one region.
//!
//! Where tables contradict themselves, the bytes in question become gaps, because gaps are saved
//! whole. Were two partitions that share sectors each saved by their own file system's word, one
//! could call free what the other uses. A partition is therefore cut before the first byte that is
//! not its alone, and has no region at all where that is its first byte.

use block::{DiskExtent, Extents, InDisk};

use crate::{Finding, FindingCode, Partition, Region, RegionKind, TableRole, TableSectors};

/// Findings of one kind that are told in full; a damaged table may have thousands.
const TOLD_LIMIT: usize = 16;

/// A partition as its table says.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// Its bytes; may pass the end of the disk.
    pub extent: DiskExtent,
    pub partition: Partition,
}

/// What a disk consists of, while its tables are being read.
#[derive(Debug)]
pub(crate) struct Division {
    disk: DiskExtent,
    tables: Vec<TableSectors>,
    table_bytes: Extents<InDisk>,
    claims: Vec<Claim>,
    pub findings: Vec<Finding>,
}

impl Division {
    pub fn new(disk_size: u64) -> Self {
        Self {
            disk: DiskExtent::between(0, disk_size),
            tables: Vec::new(),
            table_bytes: Extents::new(),
            claims: Vec::new(),
            findings: Vec::new(),
        }
    }

    pub fn find(&mut self, code: FindingCode, detail: impl Into<String>) {
        self.findings.push(Finding { code, detail: detail.into() });
    }

    /// Counts the sectors at `offset` as a table, apart from those that another table already holds.
    pub fn add_table(&mut self, role: TableRole, offset: u64, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Ok(wanted) = DiskExtent::new(offset, length) else {
            return;
        };
        if !self.disk.contains(&wanted) {
            return;
        }
        let free = Extents::from(wanted).difference(&self.table_bytes);
        for extent in free.iter() {
            let part = wanted.within(&extent).and_then(|part| {
                let start = usize::try_from(part.start()).ok()?;
                bytes.get(start..usize::try_from(part.end()).ok()?)
            });
            if let Some(part) = part {
                self.tables.push(TableSectors { extent, role, bytes: part.to_vec() });
                self.table_bytes.insert(extent);
            }
        }
    }

    /// As [`Self::add_table`], for sectors of a damaged table: what a partition claims stays with it.
    /// To be called after all partitions were added.
    pub fn add_damaged_table(&mut self, role: TableRole, offset: u64, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let claimed = DiskExtent::new(offset, length)
            .is_ok_and(|wanted| self.claims.iter().any(|claim| claim.extent.overlaps(&wanted)));
        if !claimed {
            self.add_table(role, offset, bytes);
        }
    }

    /// Counts the bytes of a partition as its own.
    pub fn add_partition(&mut self, start: u64, end: u64, partition: Partition) {
        let number = partition.number;
        if end > self.disk.end() {
            let size = self.disk.end();
            self.find(
                FindingCode::PartitionPastEnd,
                format!("partition {number} ends at byte {end}, the disk at byte {size}"),
            );
        }
        self.claims.push(Claim { extent: DiskExtent::between(start, end.min(self.disk.end())), partition });
    }

    /// The table sectors, the regions and the findings, in order.
    pub fn finish(mut self) -> (Vec<TableSectors>, Vec<Region>, Vec<Finding>) {
        self.tables.sort_by_key(|table| table.extent.start());
        let mut claims = std::mem::take(&mut self.claims);
        claims.retain(|claim| !claim.extent.is_empty());
        claims.sort_by_key(|claim| (claim.extent.start(), claim.partition.number));
        let not_alone = self.shared(&claims).union(&self.table_bytes);
        let mut regions: Vec<Region> = Vec::new();
        let mut taken = self.table_bytes.clone();
        for claim in claims {
            let own_end = not_alone.overlapping(claim.extent).next().map_or(claim.extent.end(), |part| part.start());
            let extent = DiskExtent::between(claim.extent.start(), own_end);
            if !extent.is_empty() {
                taken.insert(extent);
                let name = format!("p{}", claim.partition.number);
                regions.push(Region { name, extent, kind: RegionKind::Partition, partition: Some(claim.partition) });
            }
        }
        let gaps = taken.complement(self.disk);
        regions.extend(gaps.iter().zip(1_u32..).map(|(extent, number)| Region {
            name: format!("gap{number}"),
            extent,
            kind: RegionKind::Gap,
            partition: None,
        }));
        regions.sort_by_key(|region| region.extent.start());
        (self.tables, regions, self.findings)
    }

    /// The bytes that more than one partition claims, from claims in ascending order; tells who shares.
    fn shared(&mut self, claims: &[Claim]) -> Extents<InDisk> {
        let mut shared = Extents::new();
        let mut told = Vec::new();
        let mut count = 0_usize;
        let mut furthest: Option<&Claim> = None;
        for claim in claims {
            let (number, start, end) = (claim.partition.number, claim.extent.start(), claim.extent.end());
            if let Some(both) = furthest.and_then(|before| before.extent.intersection(&claim.extent)) {
                let other = furthest.map_or(0, |before| before.partition.number);
                told.push(format!("partitions {other} and {number} share {both}"));
                count = count.saturating_add(1);
                shared.insert(both);
            }
            if let Some(table) = self.table_bytes.overlapping(claim.extent).next() {
                told.push(format!("partition {number} (bytes {start} to {end}) holds sectors of a table: {table}"));
                count = count.saturating_add(1);
            }
            told.truncate(TOLD_LIMIT);
            if furthest.is_none_or(|before| before.extent.end() < end) {
                furthest = Some(claim);
            }
        }
        if count > 0 {
            let more = count.saturating_sub(told.len());
            let rest = if more > 0 { format!("; and {more} more") } else { String::new() };
            self.find(FindingCode::OverlappingPartitions, format!("{}{rest}", told.join("; ")));
        }
        shared
    }
}
