//! A volume group as its metadata text tells it: physical volumes, logical volumes, and which extents they have.
//!
//! What is not understood is kept by name, never left out: a segment of a type that this program does not know may
//! hold anything, but what it refers to stays allocated.
//!
//! Source: lvm2 `lib/format_text/import_vsn1.c`, `lib/format_text/flags.c`, `lib/striped/striped.c`,
//! `lib/mirror/mirrored.c`.

use std::collections::HashMap;

use super::text::{Node, Section, SyntaxError, parse};
use crate::Error;

/// Sizes in the text are counted in 512 bytes, whatever the disk has.
const SECTOR: u64 = 512;
/// Sections of a group that say nothing about extents.
const OTHER_SECTIONS: [&str; 1] = ["historical_logical_volumes"];
/// More volumes than this are nobody's: looking into each would take for ever.
const VOLUMES_LIMIT: usize = 16 << 10;
/// LVM makes at most this many stripes.
const STRIPES_LIMIT: usize = 128;

/// A volume group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its identifier, with dashes.
    pub id: String,
    /// Grows with every change.
    pub sequence_number: u64,
    /// Bytes of an extent.
    pub extent_size: u64,
    /// Why its volumes are not looked into; `None` where they are.
    pub closed: Option<String>,
    /// Why not even its free extents can be told: other machines may change them.
    pub shared: Option<String>,
    /// Its physical volumes.
    pub physical: Vec<PhysicalVolume>,
    /// Its logical volumes, hidden ones too.
    pub logical: Vec<LogicalVolume>,
    /// How often segments mention a name.
    mentions: HashMap<String, usize>,
}

/// A physical volume of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhysicalVolume {
    /// Its name in the text: `pv0`.
    pub name: String,
    /// Its identifier, without dashes.
    pub uuid: String,
    /// Where its first extent begins, in bytes.
    pub start: u64,
    /// How many extents it has.
    pub extents: u64,
    /// Its group goes on without it.
    pub is_missing: bool,
}

/// A logical volume of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogicalVolume {
    /// Its name.
    pub name: String,
    /// Its identifier, with dashes.
    pub id: String,
    /// The name that users see: that of a snapshot is the one of the volume that keeps its changes.
    pub shown_name: String,
    /// Users see it; others are parts of it.
    pub is_visible: bool,
    /// A flag that says that it is in the middle of something, or that is not known.
    pub odd_flag: Option<String>,
    /// Its segments in the order of their first extent, without gaps.
    pub segments: Vec<Segment>,
}

/// Some extents of a logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// How many extents the segment adds to the volume.
    pub extents: u64,
    /// How they are kept.
    pub kind: SegmentKind,
    /// Every text in it: names of volumes that it may refer to.
    pub mentions: Vec<String>,
}

/// How the extents of a segment are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// In one place, or in turns of `stripe_size` bytes in several.
    Striped {
        /// Bytes; 0 where there is one place.
        stripe_size: u64,
        /// The places.
        areas: Vec<Area>,
    },
    /// The same in each of several places.
    Mirror {
        /// The places.
        areas: Vec<Area>,
    },
    /// In a way that is not followed.
    Other(String),
}

/// Where a part of a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// In an extent of a physical volume.
    Physical {
        /// Its number in the group.
        volume: usize,
        /// The first extent.
        extent: u64,
    },
    /// In an extent of another logical volume.
    Logical {
        /// Its number in the group.
        volume: usize,
        /// The first extent.
        extent: u64,
    },
}

impl Group {
    /// Reads the text of a metadata area.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let root = parse(text).map_err(|SyntaxError { position, expected }| {
            damaged(&format!("{expected} at byte {position} of the text"))
        })?;
        let mut groups = root.entries().filter_map(|(name, node)| match node {
            Node::Section(section) => Some((name, section)),
            _ => None,
        });
        let (Some((name, section)), None) = (groups.next(), groups.next()) else {
            return Err(damaged("one volume group"));
        };
        if root.number("version") != Some(1) {
            return Err(Error::Unsupported("LVM2 metadata of a version other than 1".to_owned()));
        }
        Self::read(name, section)
    }

    fn read(name: &str, section: &Section) -> Result<Self, Error> {
        for (inner, node) in section.entries() {
            let known =
                ["physical_volumes", "logical_volumes"].iter().chain(&OTHER_SECTIONS).any(|known| *known == inner);
            if matches!(node, Node::Section(_)) && !known {
                return Err(Error::Unsupported(format!("LVM2 metadata with a section {inner}")));
            }
        }
        let extent_size = number(section, "extent_size")?.checked_mul(SECTOR).filter(|size| *size > 0);
        let extent_size = extent_size.ok_or_else(|| damaged("an extent size above 0"))?;
        let (closed, shared) = states(section)?;
        let mut group = Self {
            name: name.to_owned(),
            id: text(section, "id")?,
            sequence_number: number(section, "seqno")?,
            extent_size,
            closed,
            shared,
            physical: Vec::new(),
            logical: Vec::new(),
            mentions: HashMap::new(),
        };
        let physical = section.section("physical_volumes").ok_or_else(|| damaged("physical_volumes"))?;
        group.physical =
            sections(physical).map(|(name, section)| physical_volume(name, section)).collect::<Result<_, _>>()?;
        let empty = Section::default();
        let logical = section.section("logical_volumes").unwrap_or(&empty);
        let names = Names::new(&group.physical, logical);
        group.logical =
            sections(logical).map(|(name, section)| logical_volume(name, section, &names)).collect::<Result<_, _>>()?;
        if group.physical.len().max(group.logical.len()) > VOLUMES_LIMIT {
            return Err(Error::Unsupported(format!("a volume group of more than {VOLUMES_LIMIT} volumes")));
        }
        for name in group.logical.iter().flat_map(|volume| &volume.segments).flat_map(|segment| &segment.mentions) {
            let count = group.mentions.entry(name.clone()).or_default();
            *count = count.saturating_add(1);
        }
        group.check()?;
        Ok(group)
    }

    /// Everything that is allocated lies on its physical volume, and no extent is allocated twice.
    fn check(&self) -> Result<(), Error> {
        let segments = self.logical.iter().flat_map(|volume| &volume.segments);
        let mut runs: Vec<(usize, u64, u64)> = segments
            .flat_map(|segment| {
                segment.areas().iter().filter_map(|area| match area {
                    Area::Physical { volume, extent } => Some((*volume, *extent, segment.area_extents())),
                    Area::Logical { .. } => None,
                })
            })
            .collect();
        runs.sort_unstable();
        let mut last = (0, 0_u64);
        for (number, first, count) in runs {
            let Some(volume) = self.physical.get(number) else { return Err(damaged("a known physical volume")) };
            if (number, first) < last {
                return Err(damaged(&format!("extent {first} of {} in one volume only", volume.name)));
            }
            let end = first.saturating_add(count);
            if end > volume.extents {
                return Err(damaged(&format!("{} extents of {}, not {end}", volume.extents, volume.name)));
            }
            last = (number, end);
        }
        Ok(())
    }

    /// What logical volumes have of a physical volume: first extent, number of extents, number of the logical volume.
    pub fn allocated(&self, physical: usize) -> impl Iterator<Item = (u64, u64, usize)> + '_ {
        self.logical.iter().enumerate().flat_map(move |(number, volume)| {
            volume.segments.iter().flat_map(move |segment| {
                let count = segment.area_extents();
                segment.areas().iter().filter_map(move |area| match area {
                    Area::Physical { volume, extent } if *volume == physical => Some((*extent, count, number)),
                    _ => None,
                })
            })
        })
    }

    /// The number of the physical volume with this identifier.
    pub fn physical_number(&self, uuid: &str) -> Option<usize> {
        self.physical.iter().position(|volume| volume.uuid == uuid)
    }

    /// How often other volumes mention a logical volume of this name.
    pub fn mentions(&self, name: &str) -> usize {
        self.mentions.get(name).copied().unwrap_or_default()
    }

    /// For each logical volume: whether it, or one that it is built on, has extents of a physical volume.
    pub fn lying_on(&self, physical: usize) -> Vec<bool> {
        let mut lying = vec![false; self.logical.len()];
        let mut builds_on: HashMap<&str, Vec<usize>> = HashMap::new();
        for (number, volume) in self.logical.iter().enumerate() {
            for name in volume.segments.iter().flat_map(|segment| &segment.mentions) {
                builds_on.entry(name).or_default().push(number);
            }
        }
        let mut waiting: Vec<usize> = self.allocated(physical).map(|(_, _, volume)| volume).collect();
        while let Some(number) = waiting.pop() {
            let (Some(lies), Some(volume)) = (lying.get_mut(number), self.logical.get(number)) else { continue };
            if !std::mem::replace(lies, true) {
                waiting.extend(builds_on.get(volume.name.as_str()).into_iter().flatten());
            }
        }
        lying
    }
}

impl LogicalVolume {
    /// Its number of extents.
    pub fn extents(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.extents))
    }

    /// How it is kept, in LVM's words: `linear`, `striped`, `mirror`, `thin-pool`, …
    pub fn kind(&self) -> String {
        let mut kinds: Vec<&str> = Vec::new();
        for segment in &self.segments {
            let kind = match &segment.kind {
                SegmentKind::Striped { areas, .. } if areas.len() == 1 => "linear",
                SegmentKind::Striped { .. } => "striped",
                SegmentKind::Mirror { .. } => "mirror",
                SegmentKind::Other(name) => name,
            };
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds.join("+")
    }
}

impl Segment {
    /// Where it lies.
    pub fn areas(&self) -> &[Area] {
        match &self.kind {
            SegmentKind::Striped { areas, .. } | SegmentKind::Mirror { areas } => areas,
            SegmentKind::Other(_) => &[],
        }
    }

    /// How many extents it has in each of its places.
    pub fn area_extents(&self) -> u64 {
        match &self.kind {
            SegmentKind::Striped { areas, .. } => {
                u64::try_from(areas.len()).ok().and_then(|count| self.extents.checked_div(count)).unwrap_or_default()
            }
            SegmentKind::Mirror { .. } | SegmentKind::Other(_) => self.extents,
        }
    }
}

fn damaged(expected: &str) -> Error {
    Error::corrupt(0, format!("LVM2 metadata with {expected}"), "something else")
}

fn number(section: &Section, name: &str) -> Result<u64, Error> {
    section.number(name).ok_or_else(|| damaged(&format!("a number {name}")))
}

fn text(section: &Section, name: &str) -> Result<String, Error> {
    section.text(name).map(str::to_owned).ok_or_else(|| damaged(&format!("a text {name}")))
}

fn texts<'a>(section: &'a Section, name: &str) -> Result<Vec<&'a str>, Error> {
    match section.get(name) {
        None => Ok(Vec::new()),
        Some(_) => section.texts(name).ok_or_else(|| damaged(&format!("a list of texts {name}"))),
    }
}

fn sections(section: &Section) -> impl Iterator<Item = (&str, &Section)> {
    section.entries().filter_map(|(name, node)| match node {
        Node::Section(inner) => Some((name, inner)),
        _ => None,
    })
}

/// Why the volumes are not looked into, and why the group as a whole can't be trusted.
fn states(section: &Section) -> Result<(Option<String>, Option<String>), Error> {
    let (mut closed, mut shared) = (None, None);
    for flag in texts(section, "status")?.into_iter().chain(texts(section, "flags")?) {
        match flag {
            "RESIZEABLE" | "READ" | "WRITE" => {}
            "CLUSTERED" | "SHARED" => shared = Some(format!("the volume group has the flag {flag}")),
            flag => closed = Some(format!("the volume group has the flag {flag}")),
        }
    }
    if let Some(lock) = section.text("lock_type").filter(|lock| *lock != "none") {
        shared = Some(format!("the volume group is locked by {lock}"));
    }
    Ok((closed, shared))
}

fn physical_volume(name: &str, section: &Section) -> Result<PhysicalVolume, Error> {
    let start = number(section, "pe_start")?.checked_mul(SECTOR).ok_or_else(|| damaged("a possible pe_start"))?;
    Ok(PhysicalVolume {
        name: name.to_owned(),
        uuid: text(section, "id")?.replace('-', ""),
        start,
        extents: number(section, "pe_count")?,
        is_missing: texts(section, "flags")?.contains(&"MISSING"),
    })
}

/// Numbers of volumes by their name.
struct Names {
    physical: HashMap<String, usize>,
    logical: HashMap<String, usize>,
}

impl Names {
    fn new(physical: &[PhysicalVolume], logical: &Section) -> Self {
        let logical = sections(logical).enumerate().map(|(number, (name, _))| (name.to_owned(), number)).collect();
        let physical = physical.iter().enumerate().map(|(number, volume)| (volume.name.clone(), number)).collect();
        Self { physical, logical }
    }

    fn area(&self, name: &str, extent: u64) -> Result<Area, Error> {
        match (self.physical.get(name), self.logical.get(name)) {
            (Some(volume), None) => Ok(Area::Physical { volume: *volume, extent }),
            (None, Some(volume)) => Ok(Area::Logical { volume: *volume, extent }),
            (None, None) => Err(damaged(&format!("a volume {name}"))),
            (Some(_), Some(_)) => {
                Err(Error::Unsupported(format!("LVM2 metadata with a physical and a logical volume {name}")))
            }
        }
    }
}

fn logical_volume(name: &str, section: &Section, names: &Names) -> Result<LogicalVolume, Error> {
    let (mut is_visible, mut odd_flag) = (false, None);
    for flag in texts(section, "status")?.into_iter().chain(texts(section, "flags")?) {
        match flag {
            "VISIBLE" => is_visible = true,
            "READ" | "WRITE" | "FIXED_MINOR" | "ACTIVATION_SKIP" => {}
            flag => odd_flag = Some(flag.to_owned()),
        }
    }
    let mut segments = Vec::new();
    let mut shown_name = name;
    for (_, section) in sections(section) {
        shown_name = section.text("cow_store").unwrap_or(shown_name);
        segments.push((number(section, "start_extent")?, segment(section, names)?));
    }
    segments.sort_by_key(|(start, _)| *start);
    let mut end = 0_u64;
    for (start, segment) in &segments {
        if *start != end {
            return Err(damaged(&format!("extent {end} of {name}")));
        }
        end = end.saturating_add(segment.extents);
    }
    if u64::try_from(segments.len()).ok() != section.number("segment_count") {
        return Err(damaged(&format!("as many segments of {name} as it counts")));
    }
    Ok(LogicalVolume {
        name: name.to_owned(),
        shown_name: shown_name.to_owned(),
        id: text(section, "id")?,
        is_visible,
        odd_flag,
        segments: segments.into_iter().map(|(_, segment)| segment).collect(),
    })
}

fn segment(section: &Section, names: &Names) -> Result<Segment, Error> {
    let extents = number(section, "extent_count")?;
    let name = text(section, "type")?;
    let mut mentions = Vec::new();
    section.entries().filter(|(name, _)| *name != "type").for_each(|(_, node)| mention(node, &mut mentions));
    let kind = match name.as_str() {
        "striped" | "linear" => {
            let areas = areas(section, "stripes", "stripe_count", names)?;
            let count = u64::try_from(areas.len()).unwrap_or(u64::MAX);
            if extents.checked_rem(count) != Some(0) {
                return Err(damaged(&format!("{extents} extents on {count} stripes")));
            }
            let stripe_size = if count == 1 { Some(0) } else { number(section, "stripe_size")?.checked_mul(SECTOR) };
            let stripe_size = stripe_size.ok_or_else(|| damaged("a possible stripe_size"))?;
            SegmentKind::Striped { stripe_size, areas }
        }
        "mirror" => SegmentKind::Mirror { areas: areas(section, "mirrors", "mirror_count", names)? },
        _ => {
            // These hold their data in other logical volumes. Extents that they had themselves would be overlooked.
            if let Some(direct) = mentions.iter().find(|mention| names.physical.contains_key(*mention)) {
                return Err(Error::Unsupported(format!("an LVM2 segment of type {name} on {direct}")));
            }
            SegmentKind::Other(name)
        }
    };
    if kind_end(&kind, extents).is_none() {
        return Err(damaged("extents inside the address space"));
    }
    Ok(Segment { extents, kind, mentions })
}

/// The end of the last area; `None` where it can't be counted.
fn kind_end(kind: &SegmentKind, extents: u64) -> Option<u64> {
    let (SegmentKind::Striped { areas, .. } | SegmentKind::Mirror { areas }) = kind else { return Some(extents) };
    areas.iter().try_fold(0, |end, area| {
        let (Area::Physical { extent, .. } | Area::Logical { extent, .. }) = area;
        extent.checked_add(extents).map(|last| last.max(end))
    })
}

/// The texts in a value, at any depth that the parser let through.
fn mention(node: &Node, mentions: &mut Vec<String>) {
    match node {
        Node::Text(text) => mentions.push(text.clone()),
        Node::List(list) => list.iter().for_each(|node| mention(node, mentions)),
        Node::Section(section) => section.entries().for_each(|(_, node)| mention(node, mentions)),
        Node::Number(_) => {}
    }
}

/// A list of names and first extents in turns.
fn areas(section: &Section, list: &str, count: &str, names: &Names) -> Result<Vec<Area>, Error> {
    let Some(Node::List(nodes)) = section.get(list) else { return Err(damaged(&format!("a list {list}"))) };
    let areas: Vec<Area> = nodes
        .chunks(2)
        .map(|pair| match pair {
            [Node::Text(name), Node::Number(extent)] => {
                let extent = u64::try_from(*extent).map_err(|_| damaged("an extent that is not negative"))?;
                names.area(name, extent)
            }
            _ => Err(damaged(&format!("pairs of names and extents in {list}"))),
        })
        .collect::<Result<_, _>>()?;
    let counted = number(section, count)?;
    if areas.len() > STRIPES_LIMIT {
        return Err(Error::Unsupported(format!("{} stripes, more than {STRIPES_LIMIT}", areas.len())));
    }
    if areas.is_empty() || u64::try_from(areas.len()).ok() != Some(counted) {
        return Err(damaged(&format!("{counted} places in {list}, not {}", areas.len())));
    }
    Ok(areas)
}
