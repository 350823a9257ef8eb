//! Which physical volumes belong together, and which text tells the truth about them.

use std::collections::HashMap;

use super::Device;
use crate::lvm::{self, Content, Group};
use crate::{Reason, ReasonCode};

/// The volume groups of a save.
pub(super) struct Groups {
    groups: Vec<AssembledGroup>,
    /// For each region with a label: its group and its number in it, or why it is saved whole.
    places: HashMap<usize, Result<(usize, usize), Reason>>,
}

/// A group, and where its physical volumes are.
pub(super) struct AssembledGroup {
    pub(super) group: Group,
    /// Why its volumes are not looked into, beside what the group says itself.
    pub(super) doubt: Option<String>,
    /// Why nothing that it says can be trusted.
    conflict: Option<String>,
    /// The regions that hold each physical volume: none where it is not at hand, several for the members of a mirror.
    pub(super) regions: Vec<Vec<usize>>,
}

/// What the metadata areas of one physical volume hold.
struct Found {
    region: usize,
    uuid: String,
    /// Numbers of texts.
    texts: Vec<usize>,
    problem: Option<Reason>,
}

impl Groups {
    /// Reads the metadata of all physical volumes.
    pub(super) fn assemble(devices: &[Device<'_>]) -> Self {
        let mut texts: Vec<(Vec<u8>, Group)> = Vec::new();
        let mut found: Vec<Found> = Vec::new();
        for (region, device) in devices.iter().enumerate() {
            if let (Some(content), Ok(Some(label))) = (device.content(), &device.label) {
                let mut this = Found { region, uuid: label.uuid.clone(), texts: Vec::new(), problem: None };
                for (start, size) in &label.metadata_areas {
                    if let Err(error) = this.read(&content, *start, *size, &mut texts) {
                        this.problem = Some(error.into());
                    }
                }
                found.push(this);
            }
        }
        let mut groups: Vec<AssembledGroup> = Vec::new();
        for (_, group) in &texts {
            match groups.iter_mut().find(|other| other.group.id == group.id) {
                None => groups.push(AssembledGroup {
                    group: group.clone(),
                    doubt: None,
                    conflict: None,
                    regions: vec![Vec::new(); group.physical.len()],
                }),
                Some(other) => other.compare(group),
            }
        }
        let mut places = HashMap::new();
        for this in &found {
            let place = this.place(&groups, &texts, &found, devices);
            if let Ok((group, number)) = &place
                && let Some(regions) = groups.get_mut(*group).and_then(|group| group.regions.get_mut(*number))
            {
                regions.push(this.region);
            }
            places.insert(this.region, place);
        }
        Self { groups, places }
    }

    /// All groups.
    pub(super) fn all(&self) -> impl Iterator<Item = &AssembledGroup> {
        self.groups.iter()
    }

    /// The group of a region with a label, and its number in the group; or why the region is saved whole.
    pub(super) fn place(&self, region: usize) -> Result<(usize, &AssembledGroup, usize), Reason> {
        let place = self.places.get(&region).cloned();
        let (number, physical) =
            place.unwrap_or_else(|| Err(Reason::new(ReasonCode::Opaque, "a physical volume of no group")))?;
        match self.groups.get(number) {
            Some(group) => Ok((number, group, physical)),
            None => Err(Reason::new(ReasonCode::Opaque, "a physical volume of no group")),
        }
    }
}

impl AssembledGroup {
    /// Takes the newer of two texts of the same group.
    fn compare(&mut self, other: &Group) {
        let (mine, theirs) = (self.group.sequence_number, other.sequence_number);
        self.doubt = Some(format!("metadata areas differ: sequence numbers {mine} and {theirs}"));
        if theirs == mine {
            self.conflict = Some(format!("two different texts of LVM2 metadata with sequence number {mine}"));
        }
        if theirs > mine {
            self.group = other.clone();
            self.regions = vec![Vec::new(); other.physical.len()];
        }
    }
}

impl Found {
    fn read(
        &mut self,
        content: &dyn block::ReadAt,
        start: u64,
        size: u64,
        texts: &mut Vec<(Vec<u8>, Group)>,
    ) -> Result<(), crate::Error> {
        let text = match lvm::read_metadata_area(content, start, size)? {
            Content::Empty | Content::Ignored => return Ok(()),
            Content::Text(text) => text,
        };
        let known = texts.iter().position(|(known, _)| *known == text);
        let number = match known {
            Some(number) => number,
            None => {
                let group = Group::parse(&text)?;
                texts.push((text, group));
                texts.len().saturating_sub(1)
            }
        };
        if !self.texts.contains(&number) {
            self.texts.push(number);
        }
        Ok(())
    }

    /// The group that this physical volume belongs to, and its number there.
    fn place(
        &self,
        groups: &[AssembledGroup],
        texts: &[(Vec<u8>, Group)],
        found: &[Self],
        devices: &[Device<'_>],
    ) -> Result<(usize, usize), Reason> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        self.check_alone(found, devices)?;
        let listed = groups.iter().enumerate().filter_map(|(number, group)| {
            group.group.physical_number(&self.uuid).map(|physical| (number, group, physical))
        });
        let listed: Vec<_> = listed.collect();
        let (number, group, physical) = match listed.as_slice() {
            [] => return Err(Reason::new(ReasonCode::Opaque, "a physical volume of no known volume group")),
            [one] => *one,
            _ => return Err(Reason::new(ReasonCode::Ambiguous, "a physical volume of two volume groups")),
        };
        for (_, own) in self.texts.iter().filter_map(|number| texts.get(*number)) {
            if own.id != group.group.id || own.sequence_number != group.group.sequence_number {
                let (mine, newest) = (own.sequence_number, group.group.sequence_number);
                let detail = format!("its LVM2 metadata has sequence number {mine}, that of the group {newest}");
                return Err(Reason::new(ReasonCode::NotClean, &detail));
            }
        }
        if let Some(conflict) = &group.conflict {
            return Err(Reason::new(ReasonCode::Ambiguous, conflict));
        }
        if let Some(shared) = &group.group.shared {
            return Err(Reason::new(ReasonCode::Opaque, shared));
        }
        self.check_size(&group.group, physical, devices)?;
        Ok((number, physical))
    }

    /// Only members of one mirror may hold the same physical volume.
    fn check_alone(&self, found: &[Self], devices: &[Device<'_>]) -> Result<(), Reason> {
        let array = |region: usize| devices.get(region)?.member.as_ref().ok()?.as_ref()?.uuid.clone();
        let mine = array(self.region);
        let others = found.iter().filter(|other| other.region != self.region && other.uuid == self.uuid);
        for other in others {
            if mine.is_none() || array(other.region) != mine {
                let detail = format!("two regions hold the physical volume {}", lvm::id_text(&self.uuid));
                return Err(Reason::new(ReasonCode::Ambiguous, &detail));
            }
        }
        Ok(())
    }

    fn check_size(&self, group: &Group, physical: usize, devices: &[Device<'_>]) -> Result<(), Reason> {
        let size = devices.get(self.region).and_then(|device| device.content).map_or(0, |content| content.length());
        let end = group.physical.get(physical).and_then(|volume| {
            volume.extents.checked_mul(group.extent_size).and_then(|bytes| bytes.checked_add(volume.start))
        });
        if end.is_none_or(|end| end > size) {
            let end = end.map_or_else(|| "above all bounds".to_owned(), |end| format!("at {end}"));
            let detail = format!("the extents of the physical volume end {end}, the device at {size}");
            return Err(Reason::new(ReasonCode::Damaged, &detail));
        }
        Ok(())
    }
}
