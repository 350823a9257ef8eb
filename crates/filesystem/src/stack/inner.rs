//! Devices inside regions, for those who look for metadata and not for used bytes: the content of mirrors of md, the
//! volumes of LVM2.
//!
//! Other than for a survey it doesn't matter here whether a member is in sync or a volume has snapshots: what is
//! found must only lie where it would lie on a running machine. So every volume that lies on physical volumes directly
//! is shown, hidden ones too: the copies of a mirrored volume, the origin of a snapshot. What is striped by md or lies
//! in a thin pool is not shown.

use std::collections::HashMap;
use std::io;

use block::{ReadAt, RegionExtent, Window};

use super::groups::{AssembledGroup, Groups};
use super::{Device, Stacks, VolumeSurveys};
use crate::lvm::{Map, Mapped};
use crate::md::Level;

/// From bytes of a device to bytes of regions.
type Places<'a> = dyn Fn(RegionExtent) -> Vec<(usize, RegionExtent)> + Sync + 'a;

/// A device that storage software makes of regions, read through one copy of each of its parts.
pub struct InnerDevice<'a> {
    /// As people know it: the name of an array, or `group/volume`.
    pub name: String,
    view: &'a dyn ReadAt,
    places: &'a Places<'a>,
}

impl InnerDevice<'_> {
    /// Where bytes of it lie: number of the region, and bytes of the region, in the order of the device. What is on
    /// a disk that is not here is left out.
    pub fn places(&self, extent: RegionExtent) -> Vec<(usize, RegionExtent)> {
        (self.places)(extent)
    }
}

impl ReadAt for InnerDevice<'_> {
    fn size(&self) -> u64 {
        self.view.size()
    }

    /// What lies on a disk that is not here reads as zeros.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.view.read_at(offset, buffer) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                buffer.fill(0);
                Ok(())
            }
            result => result,
        }
    }
}

/// Shows every device inside `regions`, one time for each copy of the bytes that it has in them.
///
/// # Errors
/// Those of `visit` only.
pub fn visit_devices<E>(
    regions: &[&dyn ReadAt],
    visit: &mut dyn FnMut(&InnerDevice<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut devices: Vec<_> = regions.iter().map(|region| Device::find(*region)).collect();
    for device in &mut devices {
        if let Ok(Some(member)) = &device.member
            && member.level != Level::Mirror
        {
            device.content = None;
        }
        device.find_label();
    }
    let groups = Groups::assemble(&devices);
    let stacks = Stacks { devices, groups, volumes: VolumeSurveys::default() };
    for (number, device) in stacks.devices.iter().enumerate() {
        let (Ok(Some(member)), Some(content)) = (&device.member, device.content()) else { continue };
        let places = |extent: RegionExtent| stacks.on_region(number, extent).into_iter().collect();
        let name = member.name.clone().or_else(|| member.uuid.clone()).unwrap_or_default();
        visit(&InnerDevice { name, view: &content, places: &places })?;
    }
    for assembled in stacks.groups.all() {
        stacks.visit_group(assembled, visit)?;
    }
    Ok(())
}

impl Stacks<'_> {
    /// Where bytes of the content of a device lie on its region.
    fn on_region(&self, number: usize, extent: RegionExtent) -> Option<(usize, RegionExtent)> {
        let start = self.devices.get(number)?.content?.start();
        Some((number, RegionExtent::new(start.checked_add(extent.start())?, extent.length()).ok()?))
    }

    fn visit_group<E>(
        &self,
        assembled: &AssembledGroup,
        visit: &mut dyn FnMut(&InnerDevice<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let copies = assembled.regions.iter().map(Vec::len).max().unwrap_or_default();
        for volume in &assembled.group.logical {
            let Ok(map) = Map::new(&assembled.group, volume) else { continue };
            for copy in 0..copies {
                // A physical volume that has fewer copies than others shows its first one again.
                let region = |physical: usize| {
                    let regions = assembled.regions.get(physical)?;
                    regions.get(copy).or_else(|| regions.first()).copied()
                };
                let has_this_copy =
                    |physical: usize| assembled.regions.get(physical).is_some_and(|regions| regions.len() > copy);
                if !map.volumes().any(has_this_copy) {
                    continue;
                }
                let windows: HashMap<usize, Window<'_>> = map
                    .volumes()
                    .filter_map(|physical| Some((physical, self.devices.get(region(physical)?)?.content()?)))
                    .collect();
                let numbers: Vec<usize> = windows.keys().copied().collect();
                let view = Mapped::new(&map, windows);
                let places = |extent: RegionExtent| {
                    let on_region = |physical: &usize| {
                        let number = region(*physical);
                        map.on_volume(*physical, extent).filter_map(move |part| self.on_region(number?, part))
                    };
                    numbers.iter().flat_map(on_region).filter(|(_, part)| !part.is_empty()).collect()
                };
                let name = format!("{}/{}", assembled.group.name, volume.shown_name);
                visit(&InnerDevice { name, view: &view, places: &places })?;
            }
        }
        Ok(())
    }
}
