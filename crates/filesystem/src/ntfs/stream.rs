//! The content of an attribute, put together from all records that describe it.

use block::{Extents, InRegion, ReadAt};

use crate::Error;
use crate::files::{Content, Piece};
use crate::ntfs::attribute::{self, Attribute};
use crate::ntfs::boot_sector::BootSector;
use crate::ntfs::bytes::index;
use crate::ntfs::runs::{self, Run};

/// The content of one attribute.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    resident: Option<Vec<u8>>,
    runs: Vec<Run>,
    end_vcn: u64,
    size: u64,
    initialized_size: u64,
    transformed: bool,
    position: u64,
}

impl Stream {
    /// Adds what `attribute` says, in a record at `position`. Pieces come in ascending order.
    ///
    /// # Errors
    /// `Corrupt` where the piece does not continue the ones before.
    pub fn push(&mut self, attribute: &Attribute<'_>, boot: &BootSector, position: u64) -> Result<(), Error> {
        let is_first = self.resident.is_none() && self.end_vcn == 0;
        self.transformed |= attribute.transformed;
        let piece = match &attribute.content {
            attribute::Content::Resident(value) if is_first => {
                self.resident = Some(value.to_vec());
                self.size = u64::try_from(value.len()).unwrap_or(u64::MAX);
                self.initialized_size = self.size;
                self.position = position;
                return Ok(());
            }
            attribute::Content::Resident(_) => {
                return Err(Error::corrupt(position, "one resident value", "a second part of it"));
            }
            attribute::Content::NonResident(piece) => piece,
        };
        if self.resident.is_some() || piece.lowest_vcn != self.end_vcn {
            let expected = format!("the part of an attribute from cluster {}", self.end_vcn);
            return Err(Error::corrupt(position, expected, format!("from {}", piece.lowest_vcn)));
        }
        if is_first {
            self.size = piece.data_size;
            self.initialized_size = piece.initialized_size;
            self.position = position;
        }
        let end = runs::unpack(piece.mapping_pairs, piece.lowest_vcn, boot.clusters, position, &mut self.runs)?;
        if end != piece.end_vcn {
            let expected = format!("runs up to cluster {} of an attribute", piece.end_vcn);
            return Err(Error::corrupt(position, expected, format!("up to {end}")));
        }
        self.end_vcn = end;
        Ok(())
    }

    /// Bytes of the content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the region that belong to the attribute, also those behind its last byte.
    pub fn extents(&self, boot: &BootSector) -> Extents<InRegion> {
        let places = self.runs.iter().filter_map(|run| run.lcn.map(|lcn| (lcn, run.length)));
        places.map(|(lcn, length)| boot.cluster_extent(lcn, length)).collect()
    }

    /// The content, as other file systems have it.
    ///
    /// # Errors
    /// `Unsupported` where it is compressed or encrypted.
    pub fn content(&self, boot: &BootSector) -> Result<Content, Error> {
        if self.transformed {
            return Err(Error::Unsupported("a file that is compressed or encrypted".to_owned()));
        }
        if let Some(value) = &self.resident {
            return Ok(Content::inline(value.clone()));
        }
        let size = u64::from(boot.cluster_size);
        let mut content = Content::of_size(self.size);
        for run in &self.runs {
            let logical = run.vcn.saturating_mul(size);
            // What was never written reads as zeros.
            let length = run.length.saturating_mul(size).min(self.initialized_size.saturating_sub(logical));
            if let (Some(lcn), 1..) = (run.lcn, length) {
                content.push(Piece { logical, physical: boot.cluster_extent(lcn, 1).start(), length })?;
            }
        }
        Ok(content)
    }

    /// Checks that the first `size` bytes were written and lie on the volume: no hole, nothing that
    /// only reads as zeros. `what` names the attribute.
    pub fn check_written(&self, size: u64, boot: &BootSector, what: &str) -> Result<(), Error> {
        let written = self.size.min(self.initialized_size);
        if written < size {
            let expected = format!("{what} with at least {size} bytes");
            return Err(Error::corrupt(self.position, expected, format!("{written} written bytes")));
        }
        let needed = size.div_ceil(u64::from(boot.cluster_size));
        let hole = self.runs.iter().find(|run| run.lcn.is_none() && run.vcn < needed);
        match hole {
            Some(hole) => {
                let actual = format!("a hole of {} clusters at {}", hole.length, hole.vcn);
                Err(Error::corrupt(self.position, format!("{what} without holes"), actual))
            }
            None => Ok(()),
        }
    }

    /// Fills `buffer` with the content from `offset`. Holes and what was never written read as zeros.
    ///
    /// # Errors
    /// `Corrupt` past the end, `Unsupported` where the content is compressed or encrypted.
    pub fn read(&self, region: &dyn ReadAt, boot: &BootSector, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        if self.transformed {
            return Err(Error::Unsupported("system file compressed or encrypted".to_owned()));
        }
        let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let end = offset.saturating_add(length);
        if end > self.size {
            let expected = format!("an attribute of at least {end} bytes");
            return Err(Error::corrupt(self.position, expected, format!("{} bytes", self.size)));
        }
        let mut done = 0_usize;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            done = done.saturating_add(self.read_piece(region, boot, at, rest)?);
        }
        Ok(())
    }

    /// Reads as many bytes as lie together from `offset`, at least one.
    fn read_piece(
        &self,
        region: &dyn ReadAt,
        boot: &BootSector,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        let wanted = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if offset >= self.initialized_size {
            buffer.fill(0);
            return Ok(buffer.len());
        }
        let wanted = wanted.min(self.initialized_size.saturating_sub(offset));
        if let Some(value) = &self.resident {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let rest = value.get(start..).unwrap_or_default();
            buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            return Ok(rest.len().min(buffer.len()).max(1));
        }
        let (place, length) = self.locate(boot, offset)?;
        let count = usize::try_from(wanted.min(length)).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..count).unwrap_or_default();
        match place {
            Some(position) => region.read_at(position, part)?,
            None => part.fill(0),
        }
        Ok(count)
    }

    /// Where the byte at `offset` of a non-resident attribute lies (`None` in a hole), and how many
    /// bytes follow it in the same run, itself included.
    pub fn locate(&self, boot: &BootSector, offset: u64) -> Result<(Option<u64>, u64), Error> {
        let size = u64::from(boot.cluster_size);
        let vcn = offset.checked_div(size).unwrap_or(0);
        let next = self.runs.partition_point(|run| run.end() <= vcn);
        let run = self.runs.get(next).filter(|run| run.vcn <= vcn).ok_or_else(|| {
            let expected = format!("a run with cluster {vcn} of an attribute");
            Error::corrupt(self.position, expected, format!("runs up to {}", self.end_vcn))
        })?;
        let into_run = offset.saturating_sub(run.vcn.saturating_mul(size));
        let length = run.length.saturating_mul(size).saturating_sub(into_run);
        let place = run.lcn.map(|lcn| lcn.saturating_mul(size).saturating_add(into_run));
        Ok((place, length.max(1)))
    }

    /// All of the content, where it has at most `limit` bytes.
    pub fn read_all(&self, region: &dyn ReadAt, boot: &BootSector, limit: u32) -> Result<Vec<u8>, Error> {
        if self.size > u64::from(limit) {
            let expected = format!("an attribute of at most {limit} bytes");
            return Err(Error::corrupt(self.position, expected, format!("{} bytes", self.size)));
        }
        let length = u32::try_from(self.size).unwrap_or(limit);
        let mut bytes = vec![0; index(length)];
        self.read(region, boot, 0, &mut bytes)?;
        Ok(bytes)
    }
}
