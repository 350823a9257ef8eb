//! Storage software between regions and file systems: arrays of md, volume groups of LVM2, DRBD.
//!
//! What lies on one region may be told by another: the metadata of a volume group, the other stripes of a logical
//! volume, a member of a mirror that is newer. So [`Stacks`] is given all regions of a save at once. Nothing is
//! activated or assembled: volumes are read through maps made of the metadata.
//!
//! The rule of the crate holds for each layer: what is not understood for certain is saved whole. For a volume that is
//! all of its extents, for a member all of the region.

mod groups;
mod inner;
mod layer;
mod volumes;

use block::{DiskExtent, Extents, InRegion, ReadAt, RegionExtent, Window};

pub use inner::{InnerDevice, visit_devices};
pub use layer::{Layer, Volume};

use crate::md::{Level, Member, State};
use crate::{
    Coverage, Error, FileSystem, Note, NoteCode, Reason, ReasonCode, Survey, drbd, lvm, md, signatures, survey_alone,
    with_drbd,
};
use groups::Groups;
use volumes::VolumeSurveys;

/// The regions of a save, and what the storage software on them says about them together.
pub struct Stacks<'a> {
    devices: Vec<Device<'a>>,
    groups: Groups,
    volumes: VolumeSurveys,
}

/// A region, and what was found at its first layers.
struct Device<'a> {
    region: &'a dyn ReadAt,
    /// The member of an array that it is.
    member: Result<Option<Member>, Reason>,
    /// Where the content of a mirror lies; the whole region where it is no member of an array; `None` where
    /// nobody here can look into it.
    content: Option<RegionExtent>,
    /// The label of a physical volume in the content.
    label: Result<Option<lvm::Label>, Reason>,
}

impl<'a> Device<'a> {
    /// What lies in the mirror, or in the region itself.
    fn content(&self) -> Option<Window<'a>> {
        self.content.map(|part| Window::new(self.region, DiskExtent::between(part.start(), part.end())))
    }
}

impl<'a> Stacks<'a> {
    /// Looks at the first layers of all regions. Reads superblocks, labels and metadata only.
    pub fn find(regions: &[&'a dyn ReadAt]) -> Self {
        let mut devices: Vec<_> = regions.iter().map(|region| Device::find(*region)).collect();
        for device in &mut devices {
            if let Err(reason) = device.check_remains() {
                device.content = None;
                device.label = Err(reason);
            }
        }
        let members: Vec<_> = devices.iter().map(|device| device.member.clone().ok().flatten()).collect();
        for (number, device) in devices.iter_mut().enumerate() {
            if let Some(problem) = member_problem(number, &members) {
                device.content = None;
                device.label = Err(problem);
            }
        }
        for device in &mut devices {
            device.find_label();
            device.check_label();
        }
        let groups = Groups::assemble(&devices);
        Self { devices, groups, volumes: VolumeSurveys::default() }
    }

    /// What lies in a region, by its number. Never fails: what can't be understood is saved whole.
    pub fn survey(&mut self, number: usize) -> Survey {
        let Some(device) = self.devices.get(number) else {
            return Survey::whole(None, Reason::new(ReasonCode::Unrecognised, "no such region"));
        };
        let member = match &device.member {
            Err(reason) => return Survey::whole(None, reason.clone()),
            Ok(None) => return self.survey_content(number),
            Ok(Some(member)) => member.clone(),
        };
        let size = device.region.size();
        let mut layer = member_layer(&member);
        let found = FileSystem {
            kind: "linux_raid_member".to_owned(),
            uuid: member.uuid.clone(),
            label: member.name.clone(),
            block_size: 512,
            size,
        };
        let missing = self.missing_members(&member);
        let mut survey = match (&device.content, &device.label) {
            (None, Err(problem)) => {
                layer.volumes.push(member_volume(&member, None, Some(problem.clone())));
                Survey::whole(None, problem.clone())
            }
            _ => {
                let inner = self.survey_content(number);
                if inner.layers.iter().all(|layer| layer.kind != "lvm2") {
                    let whole = match &inner.coverage {
                        Coverage::Whole(reason) => Some(reason.clone()),
                        Coverage::Used(_) => None,
                    };
                    layer.volumes.push(member_volume(&member, inner.file_system.clone(), whole));
                }
                inner
            }
        };
        if let Coverage::Used(used) = &survey.coverage {
            survey.coverage = Coverage::Used(outward(used, &member, size));
        }
        survey.file_system = Some(found);
        survey.layers.insert(0, layer);
        survey.notes.extend(missing);
        survey
    }

    /// What lies in a mirror, or in a region that is no member of an array.
    fn survey_content(&mut self, number: usize) -> Survey {
        let Some(device) = self.devices.get(number) else {
            return Survey::whole(None, Reason::new(ReasonCode::Unrecognised, "no such region"));
        };
        match (device.content(), &device.label) {
            (_, Err(reason)) => Survey::whole(None, reason.clone()),
            (Some(content), Ok(None)) => survey_alone(&content),
            (None, Ok(_)) => Survey::whole(None, Reason::new(ReasonCode::Opaque, "the content is not looked into")),
            (Some(content), Ok(Some(label))) => {
                let (label, size) = (label.clone(), content.size());
                let (devices, groups, known) = (&self.devices, &self.groups, &mut self.volumes);
                with_drbd(&content, volumes::survey_physical(devices, groups, known, number, &label, size))
            }
        }
    }

    fn missing_members(&self, member: &Member) -> Option<Note> {
        let others = self.devices.iter().filter_map(|device| device.member.as_ref().ok()?.as_ref());
        let mut roles: Vec<_> =
            others.filter(|other| other.uuid == member.uuid).filter_map(|other| other.role).collect();
        roles.sort_unstable();
        roles.dedup();
        let here = u32::try_from(roles.len()).unwrap_or(u32::MAX);
        (here < member.devices).then(|| Note {
            code: NoteCode::OtherDevice,
            detail: format!("array {}: {here} of {} members are here", array_name(member), member.devices),
        })
    }
}

impl<'a> Device<'a> {
    fn find(region: &'a dyn ReadAt) -> Self {
        let member = md::find(region).map_err(Reason::from);
        let whole = RegionExtent::between(0, region.size());
        let content = match &member {
            Err(_) => None,
            Ok(None) => Some(whole),
            Ok(Some(member)) => {
                RegionExtent::new(member.data_start, member.data_length).ok().filter(|part| whole.contains(part))
            }
        };
        Self { region, member, content, label: Ok(None) }
    }

    /// A superblock at the start of the region beside signatures of something else: nobody knows which is newer.
    fn check_remains(&self) -> Result<(), Reason> {
        let Ok(Some(member)) = &self.member else { return Ok(()) };
        let own = format!("Linux RAID {}", member.version);
        let mut found = if member.superblock < member.data_start { signatures(self.region)? } else { Vec::new() };
        found.retain(|name| *name != own);
        if found.is_empty() {
            return Ok(());
        }
        Err(Reason::new(ReasonCode::Ambiguous, &format!("signatures of {own} and {}", found.join(" and "))))
    }

    fn find_label(&mut self) {
        let Some(content) = self.content() else { return };
        let found = lvm::find_label(&content);
        self.label = match found {
            Ok(Some(label)) => consistent(&content).map(|()| Some(label)).map_err(Reason::from),
            other => other.map_err(Reason::from),
        };
    }

    /// A label beside signatures of something else: nobody knows which is newer.
    fn check_label(&mut self) {
        let (Some(content), Ok(Some(_))) = (self.content(), &self.label) else { return };
        match signatures(&content) {
            Ok(mut found) => {
                found.retain(|name| name != "LVM2");
                if !found.is_empty() {
                    let detail = format!("signatures of LVM2 and {}", found.join(" and "));
                    self.label = Err(Reason::new(ReasonCode::Ambiguous, &detail));
                }
            }
            Err(error) => self.label = Err(error.into()),
        }
    }
}

/// A physical volume on DRBD is of one moment.
fn consistent(content: &dyn ReadAt) -> Result<(), Error> {
    match drbd::find_internal(content)? {
        Some(found) if !found.is_consistent => Err(Error::NotClean(drbd::INCONSISTENT.to_owned())),
        _ => Ok(()),
    }
}

/// Why nobody can look into a member of an array; `None` where one can, and for what is no member.
fn member_problem(number: usize, members: &[Option<Member>]) -> Option<Reason> {
    let member = members.get(number)?.as_ref()?;
    if let Level::Other(_) = member.level {
        let detail = format!("a member of an array of level {}", member.level.name());
        return Some(Reason::new(ReasonCode::Opaque, &detail));
    }
    let not_clean = |detail: &str| Some(Reason::new(ReasonCode::NotClean, &format!("a member of a mirror: {detail}")));
    match &member.state {
        State::InSync => {}
        State::NotInSync(detail) => return not_clean(detail),
        State::NotClean => return not_clean("the array was not stopped cleanly, or waits for a resync"),
        State::Changing(detail) => {
            return Some(Reason::new(ReasonCode::Unsupported, &format!("a member of a mirror: {detail}")));
        }
    }
    let others = members.iter().enumerate().filter(|(other, _)| *other != number);
    for other in others.filter_map(|(_, other)| other.as_ref()).filter(|other| other.uuid == member.uuid) {
        if other.events > member.events {
            let detail = format!("it has seen {} events, another member {}", member.events, other.events);
            return not_clean(&detail);
        }
        if other.role == member.role && other.events == member.events {
            let detail = format!("two members of array {} with the same role", array_name(member));
            return Some(Reason::new(ReasonCode::Ambiguous, &detail));
        }
    }
    None
}

fn array_name(member: &Member) -> &str {
    member.name.as_deref().or(member.uuid.as_deref()).unwrap_or_default()
}

fn member_layer(member: &Member) -> Layer {
    let role = member.role.map_or_else(|| "no role".to_owned(), |role| format!("member {role}"));
    let bitmap = if member.has_bitmap { ", bitmap" } else { "" };
    let (level, version, events) = (member.level.name(), &member.version, member.events);
    Layer {
        kind: "md".to_owned(),
        name: member.name.clone(),
        uuid: member.uuid.clone(),
        device_uuid: member.device_uuid.clone(),
        detail: format!("{level}, {role} of {}, superblock {version}, events {events}{bitmap}", member.devices),
        volumes: Vec::new(),
    }
}

fn member_volume(member: &Member, file_system: Option<FileSystem>, whole: Option<Reason>) -> Volume {
    Volume {
        name: member.name.clone(),
        uuid: member.uuid.clone(),
        kind: member.level.name(),
        size: member.data_length,
        file_system,
        whole,
    }
}

/// Used bytes of a mirror on its member. Superblock, bitmap and list of bad blocks lie outside the data.
fn outward(used: &Extents<InRegion>, member: &Member, size: u64) -> Extents<InRegion> {
    let end = member.data_start.saturating_add(member.data_length);
    let before = RegionExtent::between(0, member.data_start);
    let inside = used.iter().map(|extent| {
        let place = |byte: u64| byte.saturating_add(member.data_start);
        RegionExtent::between(place(extent.start()), place(extent.end()))
    });
    let mut result: Extents<InRegion> = std::iter::once(before).chain(inside).collect();
    result.insert(RegionExtent::between(end, size));
    result
}

/// Why all of a disk with these partitions is saved whole: it is a member of an array itself, and its table is that of
/// the array. `None` where it is not.
pub fn array_disk(disk: &dyn ReadAt, partitions: &[DiskExtent]) -> Result<Option<Reason>, Error> {
    let Some(member) = md::find_behind_table(disk)? else { return Ok(None) };
    // A partition of an array ends before the superblock: this one is that of the last partition. The table of a
    // striped array may name partitions that pass the end of a member, so there is no such rule.
    let is_of_partition = |part: &DiskExtent| {
        md::position_of_older(part.length()).and_then(|place| place.checked_add(part.start()))
            == Some(member.superblock)
    };
    if member.level == Level::Mirror && member.version != "1.0" && partitions.iter().any(is_of_partition) {
        return Ok(None);
    }
    let level = member.level.name();
    let detail = format!("the disk as a whole is a member of array {}, level {level}", array_name(&member));
    Ok(Some(Reason::new(ReasonCode::Opaque, &detail)))
}

#[cfg(test)]
mod tests;
