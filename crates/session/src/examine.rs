//! What the systems on disks or in an image say about themselves, and the checklist that follows.
//!
//! All of it is information: what can't be read is passed over, and no save or restore fails for it.

use block::{Disk, ReadAt, Window};
use cluster::Scope;
use cluster::checklist::{Detected, Language, Resync, Subject};
use cluster::offline::{Examination, Found, System};
use filesystem::Survey;
use image::{DiskRecord, FindingRecord, Manifest, Store, checklist_path};
use layout::{Layout, RegionKind};

use crate::error::Result;
use crate::index::read_index;
use crate::progress::{Cancel, Observer};
use crate::restore::plan::open_map;
use crate::source::Source;
use crate::view::RegionView;

/// A region to look into.
struct Place<'a> {
    name: String,
    region: &'a dyn ReadAt,
    /// It belongs to storage software, so that what lies in it is looked at through that.
    is_member: bool,
}

/// Looks at all disks together, as storage software reaches over several.
pub fn examine_disks(sources: &[Source<'_>], layouts: &[Layout], surveys: &[Vec<Survey>]) -> Found {
    let mut examination = Examination::default();
    let mut windows = Vec::new();
    for ((source, layout), surveys) in sources.iter().zip(layouts).zip(surveys) {
        add_transport(&mut examination, &source.name, source.identity.transport.as_deref());
        for (region, survey) in layout.regions.iter().zip(surveys) {
            let name = format!("{}:{}", source.name, region.name);
            if let Some(partition) = &region.partition {
                add_type(&mut examination, &name, &partition.type_id);
            }
            add_survey(&mut examination, &name, survey);
            if region.kind != RegionKind::Gap {
                windows.push((name, Window::new(source.disk, region.extent), is_member(survey)));
            }
        }
    }
    let places: Vec<_> = windows
        .iter()
        .map(|(name, region, is_member)| Place { name: name.clone(), region, is_member: *is_member })
        .collect();
    look_inside(&mut examination, &places);
    examination.finish()
}

/// The systems on disks, without a look at what their file systems use: soon done. Disks that can't be read are passed
/// over.
pub fn systems_on(disks: &[(String, &dyn Disk)]) -> Vec<System> {
    let mut examination = Examination::default();
    let read = disks.iter().filter_map(|(name, disk)| Some((name, *disk, layout::read(disk).ok()?)));
    let windows: Vec<_> = read
        .flat_map(|(name, disk, layout)| {
            let regions = layout.regions.into_iter().filter(|region| region.kind != RegionKind::Gap);
            regions.map(move |region| (format!("{name}:{}", region.name), Window::new(disk, region.extent)))
        })
        .collect();
    let places = windows.iter();
    let places = places.map(|(name, region)| Place { name: name.clone(), region, is_member: false });
    look_inside(&mut examination, &places.collect::<Vec<_>>());
    examination.finish().systems
}

/// Looks at an image anew: for images of earlier versions, that hold no record of it.
///
/// # Errors
/// Where the repository can't be read.
pub fn examine_image(
    store: &dyn Store,
    manifest: &Manifest,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Found> {
    let index = read_index(store, observer, cancel)?;
    let mut examination = Examination::default();
    let mut views = Vec::new();
    for disk in &manifest.disks {
        add_transport(&mut examination, &disk.name, disk.identity.transport.as_deref());
        for (region, record) in disk.pairs() {
            let name = format!("{}:{}", disk.name, region.name);
            if let Some(partition) = &region.partition {
                add_type(&mut examination, &name, &partition.type_id);
            }
            for kind in record.file_system.iter().map(|found| &found.kind) {
                examination.add_fact(&format!("fs:{kind}"), &format!("{name}: {kind}"));
            }
            for layer in &record.layers {
                examination.add_fact(&format!("layer:{}", layer.kind), &format!("{name}: {}", layer.kind));
                for kind in layer.volumes.iter().filter_map(|volume| Some(&volume.file_system.as_ref()?.kind)) {
                    examination.add_fact(&format!("fs:{kind}"), &format!("{name}: {kind}"));
                }
            }
            if region.kind == RegionKind::Gap {
                continue;
            }
            if let Some(map) = open_map(store, manifest, disk, &region.name)? {
                let view = RegionView::new(store, &index, map, manifest.image.as_str(), &name)?;
                let is_member = record.layers.iter().any(|layer| layer.kind != "drbd");
                views.push((name, view, is_member));
            }
        }
    }
    let places: Vec<_> = views
        .iter()
        .map(|(name, region, is_member)| Place { name: name.clone(), region, is_member: *is_member })
        .collect();
    look_inside(&mut examination, &places);
    Ok(examination.finish())
}

fn is_member(survey: &Survey) -> bool {
    survey.layers.iter().any(|layer| layer.kind != "drbd")
}

fn add_transport(examination: &mut Examination, disk: &str, transport: Option<&str>) {
    if let Some(transport) = transport {
        examination.add_fact(&format!("transport:{transport}"), &format!("{disk}: {transport}"));
    }
}

fn add_type(examination: &mut Examination, place: &str, type_id: &str) {
    examination.add_fact(&format!("gpt-type:{type_id}"), &format!("{place}: {type_id}"));
}

fn add_survey(examination: &mut Examination, place: &str, survey: &Survey) {
    let volumes = survey.layers.iter().flat_map(|layer| &layer.volumes);
    let inside = volumes.filter_map(|volume| volume.file_system.as_ref());
    for found in survey.file_system.iter().chain(inside) {
        examination.add_fact(&format!("fs:{}", found.kind), &format!("{place}: {}", found.kind));
    }
    for layer in &survey.layers {
        let name = layer.name.as_deref().unwrap_or_default();
        examination.add_fact(&format!("layer:{}", layer.kind), &format!("{place}: {} {name}", layer.kind));
        if layer.kind == "lvm2" {
            let whole = layer.volumes.iter().filter_map(|volume| Some(volume.whole.as_ref()?.detail.as_str()));
            let of_region = match &survey.coverage {
                filesystem::Coverage::Whole(reason) => Some(reason.detail.as_str()),
                filesystem::Coverage::Used(_) => None,
            };
            let words = ["flag CLUSTERED", "flag SHARED", "locked by"];
            let mut details = whole.chain(of_region).chain([layer.detail.as_str()]);
            if let Some(detail) = details.find(|detail| words.iter().any(|word| detail.contains(word))) {
                examination.add_fact("lvm:shared", &format!("{place}: {detail}"));
            }
        }
    }
}

/// Looks at the files in regions, and in the arrays and volumes inside them.
fn look_inside(examination: &mut Examination, places: &[Place<'_>]) {
    for place in places.iter().filter(|place| !place.is_member) {
        if let Some(files) = filesystem::open_files(place.region) {
            examination.add_files(&place.name, &files);
        }
    }
    let regions: Vec<&dyn ReadAt> = places.iter().map(|place| place.region).collect();
    let visited = filesystem::visit_devices(&regions, &mut |device| {
        if let Some(files) = filesystem::open_files(device) {
            let first = device.places(block::RegionExtent::between(0, 512)).first().map(|(number, _)| *number);
            let region = first.and_then(|number| places.get(number)).map_or("", |place| place.name.as_str());
            examination.add_files(&format!("{region} ({})", device.name), &files);
        }
        Ok::<(), std::convert::Infallible>(())
    });
    match visited {
        Ok(()) => {}
    }
}

/// What the manifest of an image says of its systems and of what it is part of. Systems that a newer program described
/// otherwise are left out.
pub fn found_in(manifest: &Manifest) -> Found {
    let systems = manifest.systems.iter().filter_map(|value| serde_json::from_value::<System>(value.clone()).ok());
    let detected = manifest.findings.iter();
    Found {
        systems: systems.collect(),
        detected: detected.map(|found| Detected { id: found.code.clone(), evidence: found.evidence.clone() }).collect(),
    }
}

/// The same for a manifest that is being made.
pub fn records_of(found: &Found) -> (Vec<serde_json::Value>, Vec<FindingRecord>) {
    let systems = found.systems.iter().filter_map(|system| serde_json::to_value(system).ok());
    let findings =
        found.detected.iter().map(|found| FindingRecord { code: found.id.clone(), evidence: found.evidence.clone() });
    (systems.collect(), findings.collect())
}

/// What a checklist for an image is made of. A resynchronisation is estimated for a link of 1 Gbit/s.
pub fn checklist_of(manifest: &Manifest) -> Subject {
    checklist_from(manifest, &found_in(manifest))
}

/// The same from what was found by another look at the image.
pub fn checklist_from(manifest: &Manifest, found: &Found) -> Subject {
    let bytes = mirrored_bytes(manifest, found);
    let resync = (bytes > 0).then_some(Resync { bytes, bytes_per_second: Resync::GIGABIT });
    let mut subject = Subject::new(found, resync);
    if subject.restored.is_none() && !found.systems.is_empty() {
        subject.restored = Some(manifest.image.to_string());
    }
    subject
}

/// Bytes of all mirrors in an image.
fn mirrored_bytes(manifest: &Manifest, found: &Found) -> u64 {
    let regions = mirrored_regions(manifest, found);
    regions.iter().fold(0_u64, |bytes, (_, _, region)| bytes.saturating_add(region.extent.length()))
}

/// The regions of mirrors in an image, with the name of the resource where a configuration tells it: regions with DRBD in
/// them, and the data partitions that a configuration of CLUSTERPRO names.
pub fn mirrored_regions<'a>(
    manifest: &'a Manifest,
    found: &Found,
) -> Vec<(Option<String>, &'a DiskRecord, &'a layout::Region)> {
    let resources = found.systems.iter().flat_map(|system| &system.clusters).flat_map(|cluster| &cluster.resources);
    let named: Vec<(&str, &str)> = resources
        .filter(|resource| matches!(resource.kind.as_str(), "md" | "hd"))
        .flat_map(|resource| resource.parameters.iter().map(|parameter| (resource.name.as_str(), parameter)))
        // Names that begin with cp are those of the cluster partition.
        .filter(|(_, (key, _))| !key.rsplit('/').next().unwrap_or_default().starts_with("cp"))
        .map(|(name, (_, value))| (name, value.as_str()))
        .collect();
    let name_of = |disk: &DiskRecord, region: &layout::Region| {
        let partition = region.partition.as_ref()?;
        let number = partition.number;
        let devices = [format!("{}{number}", disk.identity.path), format!("{}p{number}", disk.identity.path)];
        let is_it =
            |value: &str| devices.iter().any(|device| device == value) || partition.guid.as_deref() == Some(value);
        named.iter().find(|(_, value)| is_it(value)).map(|(name, _)| (*name).to_owned())
    };
    let mut regions = Vec::new();
    for disk in &manifest.disks {
        for (region, record) in disk.pairs() {
            let name = name_of(disk, region);
            if name.is_some() || record.layers.iter().any(|layer| layer.kind == "drbd") {
                regions.push((name, disk, region));
            }
        }
    }
    regions
}

/// The title of a checklist: image, machine, time.
pub fn checklist_title(manifest: &Manifest, language: Language) -> String {
    let host = found_in(manifest).systems.into_iter().find_map(|system| system.host);
    let host = host.or_else(|| manifest.machine.host_name.clone()).unwrap_or_default();
    let (image, time) = (&manifest.image, &manifest.finished);
    match language {
        Language::En => format!("Recovery checklist: image {image}, machine {host}, saved {time}"),
        Language::Ja => format!("復旧チェックリスト: イメージ {image}、装置 {host}、取得 {time}"),
    }
}

/// Writes the list beside the image in both languages, so that it can be read without this program.
pub fn write_checklists(store: &dyn Store, manifest: &Manifest) -> Result<()> {
    let subject = checklist_of(manifest);
    for (name, language) in [("en", Language::En), ("ja", Language::Ja)] {
        let text = subject.text(&checklist_title(manifest, language), None::<Scope>, language);
        let mut file = store.create(&checklist_path(&manifest.image, name))?;
        file.write(text.as_bytes())?;
        file.sync()?;
    }
    Ok(())
}
