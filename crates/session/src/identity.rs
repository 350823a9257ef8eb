//! Signatures and GUIDs alone: a disk that was replaced and partitioned anew gets those of the disk before.
//!
//! Only the fields of the tables that name the disk and its partitions are written, with the checksums that follow.
//! The backup copy of a GPT is written first and made stable, so that at every moment one copy is valid; where the
//! primary copy is damaged, it is that one.

use block::AlignedBuffer;
use layout::{Change, Identity, Layout, NewIds, PlaceOptions, TableKind, TableRole, TableSectors};

use cluster::sharing::Purpose;

use crate::error::{Error, Refusal, RequestError, Result};
use crate::guard::{ClosedGate, Guard, Watched};
use crate::progress::Cancel;
use crate::restore::Destination;

/// What will be written to a destination.
#[derive(Clone, Debug)]
pub struct IdentityPlan {
    /// The destination, as the operator calls it.
    pub destination: String,
    /// What changes; empty where the destination has these names already.
    pub changes: Vec<Change>,
    /// What the destination will be known by.
    pub identities: Vec<Identity>,
    /// The sectors as they are and as they will be, in the order of writing.
    sectors: Vec<(TableSectors, Vec<u8>)>,
    /// What was seen of the sharing of the destination.
    pub sharing: Watched,
    /// What keeps from the disks of others, and what an operator said about them.
    pub guard: Guard,
}

/// Plans to give a destination the names of the disk that `before` is of.
///
/// # Errors
/// `Refused` where the destination is not divided as that disk was: a partition of it is missing or begins elsewhere.
pub fn plan_identity(before: &Layout, destination: &Destination<'_>) -> Result<IdentityPlan> {
    plan_identity_guarded(before, destination, Guard::default())
}

/// The same with what the caller knows of the destination. Whether it may be changed is asked of
/// [`IdentityPlan::closed_gate`], and by [`apply_identity`] itself.
///
/// # Errors
/// As [`plan_identity`].
pub fn plan_identity_guarded(before: &Layout, destination: &Destination<'_>, guard: Guard) -> Result<IdentityPlan> {
    let disk = destination.disk;
    let failed =
        |offset, source| Error::Destination { disk: destination.name.clone(), operation: "reading", offset, source };
    let present = layout::read(disk).map_err(|layout::Error::Io { offset, source, .. }| failed(offset, source))?;
    let refused = |detail: String| Refusal::OtherLayout { disk: destination.name.clone(), detail };
    check_divided_alike(before, &present).map_err(refused)?;
    let options = PlaceOptions { new_ids: Some(NewIds::of(before)), ..PlaceOptions::default() };
    let place = layout::Destination { size: disk.size(), sector_size: disk.sector_size() };
    let placement = layout::place(&present, &place, &options).map_err(|error| refused(error.to_string()))?;
    let mut tables = placement.table;
    let is_damaged = |role| placement.changes.contains(&Change::Rebuilt { role });
    if is_damaged(TableRole::PrimaryHeader) && !is_damaged(TableRole::BackupHeader) {
        // The only valid copy must not be touched before there is another.
        let is_backup = |table: &TableSectors| matches!(table.role, TableRole::BackupEntries | TableRole::BackupHeader);
        tables.sort_by_key(is_backup);
    }
    let mut sectors = Vec::new();
    for table in tables {
        // A table that has to move or to be made anew is more than a matter of names.
        if !present.table_sectors.iter().any(|run| run.extent == table.extent) {
            let detail = format!("its table is damaged or not at the end of the disk: {} would move", table.role);
            return Err(refused(detail).into());
        }
        let mut bytes = vec![0; table.bytes.len()];
        disk.read_at(table.extent.start(), &mut bytes).map_err(|error| failed(table.extent.start(), error))?;
        if bytes != table.bytes {
            sectors.push((table, bytes));
        }
    }
    let changes = if sectors.is_empty() { Vec::new() } else { placement.changes };
    let sharing = guard.look(&destination.name, disk, Purpose::Identity)?;
    let (destination, identities) = (destination.name.clone(), placement.identities);
    Ok(IdentityPlan { destination, changes, identities, sectors, sharing, guard })
}

impl IdentityPlan {
    /// Whether nothing will be written.
    pub fn is_empty(&self) -> bool {
        self.sectors.is_empty()
    }

    /// Why the destination may not be changed, or not yet. Where nothing is to be changed, nothing is asked.
    pub fn closed_gate(&self) -> Option<ClosedGate> {
        let assessment = &self.sharing.assessment;
        let gate = self.guard.closed_gate(assessment, assessment.class(), Purpose::Identity, None);
        gate.filter(|_| !self.is_empty())
    }
}

/// Why two disks are not divided alike, for people.
fn check_divided_alike(before: &Layout, present: &Layout) -> std::result::Result<(), String> {
    if before.table != present.table {
        let name = |table| match table {
            TableKind::None => "none",
            TableKind::Mbr => "MBR",
            TableKind::Gpt => "GPT",
        };
        return Err(format!("partition table {}, before {}", name(present.table), name(before.table)));
    }
    if before.sector_size != present.sector_size {
        let (now, then) = (present.sector_size.bytes(), before.sector_size.bytes());
        return Err(format!("its sectors have {now} bytes, those of the disk before had {then}"));
    }
    for (region, partition) in before.regions.iter().filter_map(|region| Some((region, region.partition.as_ref()?))) {
        let now =
            present.regions.iter().find(|now| now.partition.as_ref().is_some_and(|p| p.number == partition.number));
        let start = region.extent.start();
        match now {
            None => return Err(format!("it has no partition {}", partition.number)),
            Some(now) if now.extent.start() != start => {
                let (number, now) = (partition.number, now.extent.start());
                return Err(format!("partition {number} begins at byte {now}, on the disk before at {start}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Writes what was planned to the destination that it was planned for.
///
/// # Errors
/// Where the destination fails, or its table is another one by now. Run again, it goes on from any state.
pub fn apply_identity(plan: &IdentityPlan, destination: &Destination<'_>) -> Result<()> {
    if plan.destination != destination.name {
        return Err(RequestError::OtherDisks.into());
    }
    let disk = destination.disk;
    let failed =
        |operation, offset, source| Error::Destination { disk: destination.name.clone(), operation, offset, source };
    if plan.is_empty() {
        return Ok(());
    }
    if let Some(gate) = plan.closed_gate() {
        return Err(Refusal::Shared(Box::new(gate)).into());
    }
    plan.guard.look_again(&plan.sharing, disk, &|_| true, &Cancel::new())?;
    for (table, before) in &plan.sectors {
        let start = table.extent.start();
        let mut sectors = AlignedBuffer::new(before.len());
        disk.read_at(start, &mut sectors).map_err(|error| failed("reading", start, error))?;
        if *sectors != **before {
            return Err(RequestError::OtherDisks.into());
        }
    }
    for (table, _) in &plan.sectors {
        let start = table.extent.start();
        let mut sectors = AlignedBuffer::new(table.bytes.len());
        sectors.copy_from_slice(&table.bytes);
        disk.write_at(start, &sectors).map_err(|error| failed("writing the partition table of", start, error))?;
        disk.sync().map_err(|error| failed("writing the partition table of", start, error))?;
        sectors.fill(0);
        disk.read_at(start, &mut sectors).map_err(|error| failed("reading back", start, error))?;
        if *sectors != *table.bytes {
            return Err(Error::ReadBack { disk: destination.name.clone(), extent: table.extent });
        }
    }
    Ok(())
}
