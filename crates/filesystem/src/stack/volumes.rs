//! Used bytes of logical volumes, surveyed through their maps and brought back to physical volumes.

use std::collections::HashMap;

use block::{Extents, InRegion, RegionExtent};

use super::groups::{AssembledGroup, Groups};
use super::{Device, Layer, Volume};
use crate::lvm::{self, Group, Label, Map, Mapped};
use crate::{Coverage, FileSystem, Note, NoteCode, Reason, ReasonCode, Survey, UsedBytes, survey_alone};

/// A label lies in one of the first four sectors; LVM keeps these out of everything.
const LABEL_AREA: u64 = 4 * 512;

/// What was found in logical volumes: by group, logical volume, and the region through which it was read where that
/// matters.
#[derive(Default)]
pub(super) struct VolumeSurveys {
    known: HashMap<(usize, usize, Option<usize>), VolumeSurvey>,
}

/// What was found in a logical volume.
struct VolumeSurvey {
    file_system: Option<FileSystem>,
    notes: Vec<Note>,
    layers: Vec<Layer>,
    /// Where its copies lie and what is used of each; or why all of its extents are saved.
    used: Result<(Vec<Map>, Extents<InRegion>), Reason>,
}

/// The answer for a region, or the content of a mirror, that is a physical volume.
pub(super) fn survey_physical(
    devices: &[Device<'_>],
    groups: &Groups,
    known: &mut VolumeSurveys,
    region: usize,
    label: &Label,
    size: u64,
) -> Survey {
    let found = FileSystem {
        kind: "LVM2_member".to_owned(),
        uuid: Some(lvm::id_text(&label.uuid)),
        label: None,
        block_size: 512,
        size,
    };
    let (number, assembled, physical) = match groups.place(region) {
        Ok(place) => place,
        Err(reason) => {
            let layer = Layer { device_uuid: found.uuid.clone(), kind: "lvm2".to_owned(), ..Layer::default() };
            let mut survey = Survey::whole(Some(&found), reason);
            survey.layers.push(layer);
            return survey;
        }
    };
    let group = &assembled.group;
    let mut used = UsedBytes::new();
    used.merge(&outside_extents(group, physical, label, size));
    let mut layer = group_layer(group, physical, label);
    let mut notes: Vec<Note> = missing_volumes(assembled).into_iter().collect();
    let mut layers = Vec::new();
    let several = assembled.regions.get(physical).is_some_and(|regions| regions.len() > 1);
    let through = several.then_some(region);
    let mut followed = vec![false; group.logical.len()];
    let lying = group.lying_on(physical);
    for (volume, logical) in group.logical.iter().enumerate().filter(|(_, logical)| logical.is_visible) {
        if lying.get(volume) != Some(&true) {
            continue;
        }
        let survey = known
            .known
            .entry((number, volume, through))
            .or_insert_with(|| survey_logical(devices, assembled, volume, through.map(|region| (physical, region))));
        if let Ok((maps, inside)) = &survey.used {
            mark_followed(group, volume, &mut followed);
            for map in maps {
                let here: Extents<InRegion> =
                    inside.iter().flat_map(|extent| map.on_volume(physical, extent)).collect();
                used.merge(&here);
            }
        }
        let name = format!("{}/{}", group.name, logical.shown_name);
        notes.extend(
            survey.notes.iter().map(|note| Note { code: note.code, detail: format!("{name}: {}", note.detail) }),
        );
        layers.extend(survey.layers.iter().map(|layer| Layer { name: Some(name.clone()), ..layer.clone() }));
        layer.volumes.push(Volume {
            name: Some(logical.shown_name.clone()),
            uuid: Some(logical.id.clone()),
            kind: logical.kind(),
            size: logical.extents().saturating_mul(group.extent_size),
            file_system: survey.file_system.clone(),
            whole: survey.used.as_ref().err().cloned(),
        });
    }
    let whole = group.allocated(physical).filter(|(_, _, volume)| followed.get(*volume) == Some(&false));
    let start = group.physical.get(physical).map_or(0, |volume| volume.start);
    let whole: Extents<InRegion> = whole
        .map(|(first, count, _)| {
            let place = |extent: u64| extent.saturating_mul(group.extent_size).saturating_add(start);
            RegionExtent::between(place(first), place(first.saturating_add(count)))
        })
        .collect();
    used.merge(&whole);
    layers.insert(0, layer);
    Survey { file_system: Some(found), coverage: Coverage::Used(used.into_extents()), notes, layers }
}

/// Everything that belongs to no extent: label, metadata, and what follows the last extent.
fn outside_extents(group: &Group, physical: usize, label: &Label, size: u64) -> Extents<InRegion> {
    let (start, end) = group.physical.get(physical).map_or((size, size), |volume| {
        (volume.start, volume.start.saturating_add(volume.extents.saturating_mul(group.extent_size)))
    });
    let areas = label.metadata_areas.iter().chain(&label.boot_loader_areas);
    let areas =
        areas.map(|(start, length)| RegionExtent::between((*start).min(size), start.saturating_add(*length).min(size)));
    let fixed = [RegionExtent::between(0, start.max(LABEL_AREA).min(size)), RegionExtent::between(end, size)];
    fixed.into_iter().chain(areas).collect()
}

fn group_layer(group: &Group, physical: usize, label: &Label) -> Layer {
    let extents = group.physical.get(physical).map_or(0, |volume| volume.extents);
    let allocated = group.allocated(physical).fold(0_u64, |sum, (_, count, _)| sum.saturating_add(count));
    let (size, number) = (group.extent_size, group.sequence_number);
    Layer {
        kind: "lvm2".to_owned(),
        name: Some(group.name.clone()),
        uuid: Some(group.id.clone()),
        device_uuid: Some(lvm::id_text(&label.uuid)),
        detail: format!("{allocated} of {extents} extents of {size} bytes in use, sequence number {number}"),
        volumes: Vec::new(),
    }
}

fn missing_volumes(assembled: &AssembledGroup) -> Option<Note> {
    let here = assembled.regions.iter().filter(|regions| !regions.is_empty()).count();
    let all = assembled.regions.len();
    (here < all).then(|| Note {
        code: NoteCode::OtherDevice,
        detail: format!("volume group {}: {here} of {all} physical volumes are here", assembled.group.name),
    })
}

/// A followed volume and the volumes of its copies have no other extents than those in the maps. A mirror's log stays
/// as it is: all of its extents are saved.
fn mark_followed(group: &Group, volume: usize, followed: &mut [bool]) {
    let segments = group.logical.get(volume).map(|volume| volume.segments.as_slice()).unwrap_or_default();
    let legs = segments.iter().flat_map(|segment| segment.areas()).filter_map(|area| match area {
        lvm::Area::Logical { volume, .. } => Some(*volume),
        lvm::Area::Physical { .. } => None,
    });
    for number in legs.chain([volume]) {
        if let Some(followed) = followed.get_mut(number) {
            *followed = true;
        }
    }
}

/// Looks into a logical volume. `through` names a physical volume and the region by which to read it.
fn survey_logical(
    devices: &[Device<'_>],
    assembled: &AssembledGroup,
    volume: usize,
    through: Option<(usize, usize)>,
) -> VolumeSurvey {
    let whole = |code: ReasonCode, detail: &str| VolumeSurvey {
        file_system: None,
        notes: Vec::new(),
        layers: Vec::new(),
        used: Err(Reason::new(code, detail)),
    };
    let group = &assembled.group;
    if let Some(closed) = assembled.doubt.as_ref().or(group.closed.as_ref()) {
        return whole(ReasonCode::NotClean, closed);
    }
    let maps = group.logical.get(volume).map(|volume| lvm::maps(group, volume));
    let maps = match maps {
        Some(Ok(maps)) => maps,
        Some(Err(detail)) => return whole(ReasonCode::Opaque, &detail),
        None => return whole(ReasonCode::Damaged, "no such volume"),
    };
    let mut result: Option<VolumeSurvey> = None;
    for map in &maps {
        let survey = match mapped(devices, assembled, map, through) {
            Ok(view) => survey_alone(&view),
            Err(detail) => return whole(ReasonCode::Opaque, &detail),
        };
        let used = match survey.coverage {
            Coverage::Used(used) => Ok(used),
            Coverage::Whole(reason) => Err(reason),
        };
        match &mut result {
            None => {
                result = Some(VolumeSurvey {
                    file_system: survey.file_system,
                    notes: survey.notes,
                    layers: survey.layers,
                    used: used.map(|used| (Vec::new(), used)),
                });
            }
            // Copies that are not in sync may differ: what any of them needs is saved of all.
            Some(result) if result.file_system == survey.file_system => {
                result.used = match (std::mem::replace(&mut result.used, Ok((Vec::new(), Extents::new()))), used) {
                    (Ok((_, one)), Ok(other)) => Ok((Vec::new(), one.union(&other))),
                    (Err(reason), _) | (_, Err(reason)) => Err(reason),
                };
            }
            Some(result) => {
                result.used = Err(Reason::new(ReasonCode::Ambiguous, "its copies hold different file systems"));
            }
        }
    }
    let Some(mut result) = result else { return whole(ReasonCode::Damaged, "it has no copy") };
    if let Ok((known, _)) = &mut result.used {
        *known = maps;
    }
    result
}

/// A logical volume, to be read.
fn mapped<'a>(
    devices: &'a [Device<'_>],
    assembled: &'a AssembledGroup,
    map: &'a Map,
    through: Option<(usize, usize)>,
) -> Result<Mapped<'a>, String> {
    let mut views = HashMap::new();
    for number in map.volumes() {
        let region = match through {
            Some((physical, region)) if physical == number => Some(region),
            _ => assembled.regions.get(number).and_then(|regions| regions.first().copied()),
        };
        let volume = assembled.group.physical.get(number);
        let Some(content) = region.and_then(|region| devices.get(region)).and_then(Device::content) else {
            let uuid = volume.map_or("", |volume| volume.uuid.as_str());
            return Err(format!("it lies on the physical volume {}, which is not here", lvm::id_text(uuid)));
        };
        if volume.is_some_and(|volume| volume.is_missing) {
            return Err("the volume group goes on without one of its physical volumes".to_owned());
        }
        views.insert(number, content);
    }
    Ok(Mapped::new(map, views))
}
