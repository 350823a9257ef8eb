//! Where the bytes of a file lie.

use std::io;

use block::{ReadAt, RegionExtent};

use super::PIECES_LIMIT;
use crate::Error;

/// Bytes of a file that follow each other on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// First byte in the file.
    pub(crate) logical: u64,
    /// First byte on the device.
    pub(crate) physical: u64,
    /// Bytes.
    pub(crate) length: u64,
}

/// The bytes of a file: inside its own record, or in pieces on the device. What no piece holds is zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) size: u64,
    inline: Option<Vec<u8>>,
    /// In ascending order.
    pieces: Vec<Piece>,
}

impl Content {
    /// Bytes that stand in the record of the file.
    pub(crate) fn inline(bytes: Vec<u8>) -> Self {
        Self { size: u64::try_from(bytes.len()).unwrap_or(u64::MAX), inline: Some(bytes), pieces: Vec::new() }
    }

    /// All bytes, where they stand in the record of the file.
    pub(crate) fn in_record(&self) -> Option<&[u8]> {
        self.inline.as_deref()
    }

    /// A file of `size` bytes without a piece yet.
    pub(crate) fn of_size(size: u64) -> Self {
        Self { size, ..Self::default() }
    }

    /// Adds a piece behind the others.
    ///
    /// # Errors
    /// `Corrupt` where it lies before the end of the others; `Unsupported` where there are too many.
    pub(crate) fn push(&mut self, piece: Piece) -> Result<(), Error> {
        let end = self.pieces.last().map_or(0, |last| last.logical.saturating_add(last.length));
        if piece.logical < end {
            let expected = format!("pieces of a file in ascending order, from byte {end} on");
            return Err(Error::corrupt(piece.physical, expected, format!("byte {}", piece.logical)));
        }
        let is_full = self.pieces.len() >= PIECES_LIMIT;
        match self.pieces.last_mut() {
            Some(last) if piece.logical == end && last.physical.saturating_add(last.length) == piece.physical => {
                last.length = last.length.saturating_add(piece.length);
            }
            _ if is_full => {
                return Err(Error::Unsupported(format!("a file in more than {PIECES_LIMIT} pieces")));
            }
            _ => self.pieces.push(piece),
        }
        Ok(())
    }

    /// Fills `buffer` from `offset` of the file.
    pub(crate) fn read_at(&self, device: &dyn ReadAt, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        let end = offset.checked_add(length).filter(|end| *end <= self.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.fill(0);
        if let Some(bytes) = &self.inline {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let from = bytes.get(start..).unwrap_or_default();
            buffer.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            return Ok(());
        }
        let first = self.pieces.partition_point(|piece| piece.logical.saturating_add(piece.length) <= offset);
        for piece in self.pieces.iter().skip(first).take_while(|piece| piece.logical < end) {
            let from = piece.logical.max(offset);
            let until = piece.logical.saturating_add(piece.length).min(end);
            let range = |byte: u64| usize::try_from(byte.saturating_sub(offset)).unwrap_or(usize::MAX);
            let part = buffer.get_mut(range(from)..range(until)).unwrap_or_default();
            let physical = piece.physical.saturating_add(from.saturating_sub(piece.logical));
            device.read_at(physical, part)?;
        }
        Ok(())
    }

    /// Where bytes of the file lie on the device, in the order of the file; `None` where any of them stands in the record
    /// of the file, in a hole, or behind its end.
    pub(crate) fn places(&self, start: u64, length: u64) -> Option<Vec<RegionExtent>> {
        let end = start.checked_add(length).filter(|end| *end <= self.size && self.inline.is_none())?;
        let mut places = Vec::new();
        let mut position = start;
        for piece in &self.pieces {
            let piece_end = piece.logical.saturating_add(piece.length);
            if position >= end || piece_end <= position {
                continue;
            }
            let skipped = position.checked_sub(piece.logical)?;
            let taken = piece_end.min(end).saturating_sub(position);
            places.push(RegionExtent::new(piece.physical.checked_add(skipped)?, taken).ok()?);
            position = position.saturating_add(taken);
        }
        (position == end).then_some(places)
    }

    /// All bytes, where there are at most `limit`.
    pub(crate) fn read_all(&self, device: &dyn ReadAt, limit: u64) -> Result<Vec<u8>, Error> {
        let length = usize::try_from(self.size).ok().filter(|_| self.size <= limit);
        let length = length.ok_or_else(|| Error::Unsupported(format!("{} bytes, more than {limit}", self.size)))?;
        let mut bytes = vec![0; length];
        self.read_at(device, 0, &mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use block::MemoryDisk;

    use super::*;

    #[test]
    fn holes_are_zeros_and_pieces_are_read_where_they_lie() {
        let device = MemoryDisk::from_bytes(b"0123456789");
        let mut content = Content::of_size(10);
        content.push(Piece { logical: 2, physical: 5, length: 3 }).unwrap();
        content.push(Piece { logical: 6, physical: 0, length: 2 }).unwrap();
        assert_eq!(content.read_all(&device, 10).unwrap(), [0, 0, b'5', b'6', b'7', 0, b'0', b'1', 0, 0]);
        let mut part = [9; 3];
        content.read_at(&device, 4, &mut part).unwrap();
        assert_eq!(&part, &[b'7', 0, b'0']);
        let place = |start, end| RegionExtent::between(start, end);
        assert_eq!(content.places(3, 2), Some(vec![place(6, 8)]));
        assert_eq!(content.places(6, 2), Some(vec![place(0, 2)]));
        // In a hole, over one, and behind the end.
        assert_eq!([content.places(0, 2), content.places(4, 3), content.places(9, 2)], [None, None, None]);
        assert_eq!(Content::inline(vec![1, 2, 3]).places(0, 3), None);
        assert!(content.read_at(&device, 8, &mut part).is_err());
        assert!(content.read_all(&device, 9).is_err());
        let error = content.push(Piece { logical: 7, physical: 0, length: 1 }).unwrap_err();
        assert!(error.to_string().contains("from byte 8 on"), "{error}");
    }
}
