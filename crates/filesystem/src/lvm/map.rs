//! From the bytes of a logical volume to those of physical volumes, and back.

use std::collections::HashMap;
use std::io;

use block::{ReadAt, RegionExtent, Window};

use super::group::{Area, Group, LogicalVolume, Segment, SegmentKind};

/// One copy of the bytes of a logical volume, as runs that follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    runs: Vec<Run>,
    size: u64,
}

/// Bytes of a logical volume that lie in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    /// First byte in the logical volume.
    start: u64,
    /// Number of bytes.
    length: u64,
    /// Bytes in one place before those in the next follow; `length` where there is one place.
    stripe_size: u64,
    /// Numbers of physical volumes, and the first byte on each.
    places: Vec<(usize, u64)>,
}

/// The maps of a volume, one for each copy that it keeps; or why it is not followed.
pub fn maps(group: &Group, volume: &LogicalVolume) -> Result<Vec<Map>, String> {
    if let Some(flag) = &volume.odd_flag {
        return Err(format!("it has the flag {flag}"));
    }
    if group.mentions(&volume.name) > 0 {
        return Err("another volume is built on it".to_owned());
    }
    if volume.segments.is_empty() {
        return Err("it has no segment".to_owned());
    }
    match volume.segments.as_slice() {
        [Segment { extents, kind: SegmentKind::Mirror { areas }, .. }] => {
            areas.iter().map(|area| leg(group, *area, *extents)).collect()
        }
        _ => Ok(vec![Map::new(group, volume)?]),
    }
}

/// One copy of a mirrored volume: a volume of its own.
fn leg(group: &Group, area: Area, extents: u64) -> Result<Map, String> {
    let Area::Logical { volume, extent: 0 } = area else {
        return Err("it is mirrored without volumes for its copies".to_owned());
    };
    let leg = group.logical.get(volume).ok_or("one of its copies is missing")?;
    if let Some(flag) = &leg.odd_flag {
        return Err(format!("its copy {} has the flag {flag}", leg.name));
    }
    if leg.is_visible || leg.extents() != extents || group.mentions(&leg.name) != 1 {
        return Err(format!("its copy {} is not like it", leg.name));
    }
    Map::new(group, leg)
}

impl Map {
    /// The map of a volume that lies on physical volumes directly, whatever else is said of it; or why there is none.
    pub fn new(group: &Group, volume: &LogicalVolume) -> Result<Self, String> {
        let mut runs = Vec::new();
        let mut start = 0_u64;
        for segment in &volume.segments {
            let run = Run::new(group, segment, start)?;
            start = run.end().filter(|end| *end > start).ok_or("it passes the end of the address space")?;
            runs.push(run);
        }
        Ok(Self { runs, size: start })
    }

    /// The numbers of the physical volumes that it lies on.
    pub fn volumes(&self) -> impl Iterator<Item = usize> + '_ {
        self.runs.iter().flat_map(|run| &run.places).map(|(volume, _)| *volume)
    }

    /// Where bytes of the logical volume lie on a physical volume.
    pub fn on_volume<'a>(
        &'a self,
        physical: usize,
        extent: RegionExtent,
    ) -> impl Iterator<Item = RegionExtent> + use<'a> {
        let first = self.runs.partition_point(|run| run.end().is_some_and(|end| end <= extent.start()));
        let runs = self.runs.iter().skip(first).take_while(move |run| run.start < extent.end());
        runs.flat_map(move |run| {
            let from = extent.start().saturating_sub(run.start);
            let to = extent.end().min(run.start.saturating_add(run.length)).saturating_sub(run.start);
            run.places.iter().enumerate().filter(move |(_, (volume, _))| *volume == physical).map(
                move |(column, (_, base))| {
                    let place = |bytes| base.saturating_add(run.bytes_before(column, bytes));
                    RegionExtent::between(place(from), place(to))
                },
            )
        })
    }
}

impl Run {
    fn new(group: &Group, segment: &Segment, start: u64) -> Result<Self, String> {
        let SegmentKind::Striped { stripe_size, areas } = &segment.kind else {
            return Err("it is not linear, striped or mirrored".to_owned());
        };
        let length = segment.extents.checked_mul(group.extent_size).ok_or("it passes the end of the address space")?;
        let mut places = Vec::new();
        for area in areas {
            let Area::Physical { volume, extent } = *area else {
                return Err("it lies on another logical volume".to_owned());
            };
            let first = group.physical.get(volume).ok_or("one of its physical volumes is missing")?.start;
            let place = extent.checked_mul(group.extent_size).and_then(|bytes| bytes.checked_add(first));
            let place = place.filter(|place| place.checked_add(length).is_some());
            places.push((volume, place.ok_or("it passes the end of the address space")?));
        }
        let stripe_size = if areas.len() == 1 { length } else { *stripe_size };
        let row = u64::try_from(areas.len()).ok().and_then(|count| stripe_size.checked_mul(count));
        if row.and_then(|row| length.checked_rem(row)) != Some(0) {
            return Err(format!("it does not divide into stripes of {stripe_size} bytes"));
        }
        Ok(Self { start, length, stripe_size, places })
    }

    fn end(&self) -> Option<u64> {
        self.start.checked_add(self.length)
    }

    /// How many of the first `bytes` bytes of the run lie in a column.
    fn bytes_before(&self, column: usize, bytes: u64) -> u64 {
        let columns = u64::try_from(self.places.len()).unwrap_or(u64::MAX);
        let row = self.stripe_size.saturating_mul(columns);
        let (rows, rest) = (bytes.checked_div(row).unwrap_or_default(), bytes.checked_rem(row).unwrap_or_default());
        let before = self.stripe_size.saturating_mul(u64::try_from(column).unwrap_or(u64::MAX));
        let in_row = rest.saturating_sub(before).min(self.stripe_size);
        rows.saturating_mul(self.stripe_size).saturating_add(in_row)
    }

    /// Where a byte of the run lies: physical volume, byte on it, and how many bytes follow there.
    fn locate(&self, byte: u64) -> Option<(usize, u64, u64)> {
        let stripe = byte.checked_div(self.stripe_size)?;
        let inside = byte.checked_rem(self.stripe_size)?;
        let columns = u64::try_from(self.places.len()).ok()?;
        let column = usize::try_from(stripe.checked_rem(columns)?).ok()?;
        let (volume, base) = *self.places.get(column)?;
        let row = stripe.checked_div(columns)?.checked_mul(self.stripe_size)?;
        Some((volume, base.checked_add(row)?.checked_add(inside)?, self.stripe_size.checked_sub(inside)?))
    }
}

/// A logical volume that is read through its map. Nothing of it is activated.
pub struct Mapped<'a> {
    map: &'a Map,
    /// The physical volumes by their number.
    devices: HashMap<usize, Window<'a>>,
}

impl<'a> Mapped<'a> {
    /// The volume of `map` on `devices`.
    pub fn new(map: &'a Map, devices: HashMap<usize, Window<'a>>) -> Self {
        Self { map, devices }
    }
}

impl ReadAt for Mapped<'_> {
    fn size(&self) -> u64 {
        self.map.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(buffer.len()).map_err(io::Error::other)?;
        if offset.checked_add(length).is_none_or(|end| end > self.map.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut position = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let number = self.map.runs.partition_point(|run| run.end().is_some_and(|end| end <= position));
            let place = self.map.runs.get(number).and_then(|run| {
                let byte = position.checked_sub(run.start)?;
                let (volume, place, here) = run.locate(byte)?;
                Some((volume, place, here.min(run.length.checked_sub(byte)?)))
            });
            let (volume, place, here) = place.ok_or(io::ErrorKind::UnexpectedEof)?;
            let device = self.devices.get(&volume).ok_or(io::ErrorKind::NotFound)?;
            let here = usize::try_from(here).unwrap_or(usize::MAX).clamp(1, rest.len());
            let (piece, after) = rest.split_at_mut(here);
            device.read_at(place, piece)?;
            position = position.saturating_add(u64::try_from(here).map_err(io::Error::other)?);
            rest = after;
        }
        Ok(())
    }
}
