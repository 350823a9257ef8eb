//! A registry hive of Windows, read where it lies: keys by their path, values of a key.
//!
//! Only reads. What waits in the log files beside a hive is not applied; [`Hive::is_lagging`] tells that something may.
//!
//! Source: msuhanov/regf "Windows registry file format specification"; checked against hivex.

use std::io;

use block::ReadAt;

/// Hives of Windows are far smaller; a key or value is never reached beyond.
const SIZE_LIMIT: u64 = 4 << 30;
const BASE_BYTES: u64 = 4096;
const NONE: u32 = 0xFFFF_FFFF;
/// Subkeys and values of a key that are looked at.
const COUNT_LIMIT: u32 = 1 << 18;
const CELL_LIMIT: u32 = 16 << 20;
/// Bytes of all values of one key; the largest that systems have are some MiB.
const VALUES_LIMIT: usize = 32 << 20;
/// Bytes of all keys of one list, likewise.
const NAMES_LIMIT: usize = 32 << 20;
/// Lists of lists; the format has one level.
const LIST_DEPTH: u32 = 4;
/// A list counts its entries, of at most eight bytes, in 16 bits.
const LIST_BYTES: u32 = 4 + 8 * 0xFFFF;
/// A value that is larger lies in segments.
const SEGMENT: u32 = 16_344;
const IN_PLACE: u32 = 0x8000_0000;
/// Flags: the name has a byte a character.
const KEY_NAME_IS_ASCII: u16 = 0x20;
const VALUE_NAME_IS_ASCII: u16 = 1;

/// A hive.
pub struct Hive<'a> {
    file: &'a dyn ReadAt,
    root: u32,
    /// The last write did not end: the log files hold what is newer.
    pub is_lagging: bool,
}

/// A key: where its cell lies, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The name.
    pub name: String,
    subkeys: (u32, u32),
    values: (u32, u32),
}

/// A value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The name; empty for the default value.
    pub name: String,
    /// 1 text, 3 bytes, 4 a number, 7 several texts, …
    pub kind: u32,
    /// The bytes.
    pub data: Vec<u8>,
}

impl Value {
    /// Text of UTF-16, up to its first NUL.
    pub fn text(&self) -> String {
        utf16(&self.data)
    }

    /// A number of 32 bits.
    pub fn number(&self) -> Option<u32> {
        Some(u32::from_le_bytes(self.data.get(..4)?.try_into().ok()?))
    }
}

fn utf16(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

fn length(value: u32) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

impl<'a> Hive<'a> {
    /// Reads the base block.
    ///
    /// # Errors
    /// `InvalidData` where there is no hive; what the file says, where it can't be read.
    pub fn open(file: &'a dyn ReadAt) -> io::Result<Self> {
        if file.size() < BASE_BYTES || file.size() > SIZE_LIMIT {
            return Err(damaged(format!("a hive of {} bytes", file.size())));
        }
        let base = block::read_vec(file, 0, 512)?;
        if !base.starts_with(b"regf") {
            return Err(damaged("no magic regf"));
        }
        let (words, _) = base.get(..508).unwrap_or_default().as_chunks::<4>();
        let sum = words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
        // The numbers of the begun and the ended write.
        let is_lagging = u32_at(&base, 4) != u32_at(&base, 8) || sum != u32_at(&base, 508);
        Ok(Self { file, root: u32_at(&base, 36), is_lagging })
    }

    /// The key with a path from the root, parts divided by `/`, in any case; `None` where there is none.
    ///
    /// # Errors
    /// `InvalidData` where a cell on the way is damaged.
    pub fn key(&self, path: &str) -> io::Result<Option<Key>> {
        let mut key = self.read_key(self.root)?;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let wanted = part.to_lowercase();
            match self.subkeys(&key)?.into_iter().find(|key| key.name.to_lowercase() == wanted) {
                Some(found) => key = found,
                None => return Ok(None),
            }
        }
        Ok(Some(key))
    }

    /// The keys below a key.
    ///
    /// # Errors
    /// As [`Hive::key`].
    pub fn subkeys(&self, key: &Key) -> io::Result<Vec<Key>> {
        let (count, list) = key.subkeys;
        let (mut cells, mut entries) = (Vec::new(), 0);
        if count != 0 && list != NONE {
            self.collect(list, LIST_DEPTH, &mut cells, &mut entries)?;
        }
        let mut bytes = 0_usize;
        let key = |cell: u32| {
            let key = self.read_key(cell)?;
            bytes = bytes.saturating_add(key.name.len());
            if bytes > NAMES_LIMIT {
                return Err(damaged(format!("more than {NAMES_LIMIT} bytes of names below one key")));
            }
            Ok(key)
        };
        cells.into_iter().map(key).collect()
    }

    /// The values of a key.
    ///
    /// # Errors
    /// As [`Hive::key`].
    pub fn values(&self, key: &Key) -> io::Result<Vec<Value>> {
        let (count, list) = key.values;
        if count == 0 || list == NONE {
            return Ok(Vec::new());
        }
        if count > COUNT_LIMIT {
            return Err(damaged(format!("{count} values of {}", key.name)));
        }
        let cell = self.cell(list, count.saturating_mul(4))?;
        let mut bytes = 0_usize;
        let value = |number: usize| {
            let value = self.read_value(u32_at(&cell, number.saturating_mul(4)))?;
            // Many values may share one large cell.
            bytes = bytes.saturating_add(value.data.len()).saturating_add(value.name.len());
            if bytes > VALUES_LIMIT {
                return Err(damaged(format!("more than {VALUES_LIMIT} bytes of values of {}", key.name)));
            }
            Ok(value)
        };
        (0..length(count)).map(value).collect()
    }

    /// A value of the key at a path.
    ///
    /// # Errors
    /// As [`Hive::key`].
    pub fn value(&self, path: &str, name: &str) -> io::Result<Option<Value>> {
        let Some(key) = self.key(path)? else { return Ok(None) };
        Ok(self.values(&key)?.into_iter().find(|value| value.name.eq_ignore_ascii_case(name)))
    }

    /// The bytes of a cell without its length, at most `limit` of them: cells may be far larger than what is in them.
    fn cell(&self, offset: u32, limit: u32) -> io::Result<Vec<u8>> {
        let position = u64::from(offset).saturating_add(BASE_BYTES);
        let mut size = [0; 4];
        self.file.read_at(position, &mut size)?;
        // Cells in use have a negative length.
        let size = i32::from_le_bytes(size);
        let bytes = size.unsigned_abs().checked_sub(4).filter(|bytes| size < 0 && *bytes <= CELL_LIMIT);
        let bytes = bytes.ok_or_else(|| damaged(format!("a cell of {size} bytes at {position}")))?;
        block::read_vec(self.file, position.saturating_add(4), length(bytes.min(limit)))
    }

    fn read_key(&self, offset: u32) -> io::Result<Key> {
        let name_length = u16_at(&self.cell(offset, 76)?, 72);
        let name_end = 76_usize.saturating_add(usize::from(name_length));
        let cell = self.cell(offset, u32::from(name_length).saturating_add(76))?;
        match cell.get(76..name_end).filter(|_| cell.starts_with(b"nk")) {
            Some(name) => Ok(Key {
                name: name_text(name, u16_at(&cell, 2) & KEY_NAME_IS_ASCII != 0),
                subkeys: (u32_at(&cell, 20), u32_at(&cell, 28)),
                values: (u32_at(&cell, 36), u32_at(&cell, 40)),
            }),
            None => Err(damaged(format!("no key at {offset}"))),
        }
    }

    /// Gathers the keys of a list and of the lists in it. `entries` counts the lists and all that they have room for: a
    /// list may be empty, and the same one may be named again and again.
    fn collect(&self, offset: u32, depth: u32, cells: &mut Vec<u32>, entries: &mut u32) -> io::Result<()> {
        let list = self.cell(offset, LIST_BYTES)?;
        let room = u32::try_from(list.len() / 8).unwrap_or(u32::MAX);
        *entries = entries.saturating_add(room).saturating_add(1);
        if *entries > COUNT_LIMIT {
            return Err(damaged(format!("more than {COUNT_LIMIT} keys below one")));
        }
        let step = match list.first_chunk::<2>() {
            Some(b"lf" | b"lh") => 8,
            Some(b"li" | b"ri") => 4,
            other => return Err(damaged(format!("a list of keys that begins with {other:?}"))),
        };
        let count = usize::from(u16_at(&list, 2));
        for number in 0..count {
            let found = u32_at(&list, number.saturating_mul(step).saturating_add(4));
            if list.starts_with(b"ri") {
                let below = depth.checked_sub(1).ok_or_else(|| damaged("lists of keys without an end"))?;
                self.collect(found, below, cells, entries)?;
            } else {
                cells.push(found);
            }
        }
        Ok(())
    }

    fn read_value(&self, offset: u32) -> io::Result<Value> {
        let name_length = u16_at(&self.cell(offset, 20)?, 2);
        let name_end = 20_usize.saturating_add(usize::from(name_length));
        let cell = self.cell(offset, u32::from(name_length).saturating_add(20))?;
        let name = cell.get(20..name_end).filter(|_| cell.starts_with(b"vk"));
        let name = name.ok_or_else(|| damaged(format!("no value at {offset}")))?;
        let size = u32_at(&cell, 4);
        let data = if size & IN_PLACE != 0 {
            let count = length(size & !IN_PLACE);
            cell.get(8..12).and_then(|data| data.get(..count)).ok_or_else(|| damaged("a value in place"))?.to_vec()
        } else {
            self.read_data(u32_at(&cell, 8), size)?
        };
        Ok(Value { name: name_text(name, u16_at(&cell, 16) & VALUE_NAME_IS_ASCII != 0), kind: u32_at(&cell, 12), data })
    }

    fn read_data(&self, offset: u32, size: u32) -> io::Result<Vec<u8>> {
        if size == 0 {
            return Ok(Vec::new());
        }
        if size > CELL_LIMIT {
            return Err(damaged(format!("a value of {size} bytes")));
        }
        let mut data = self.cell(offset, size.max(8))?;
        if size > SEGMENT && data.starts_with(b"db") {
            let count = usize::from(u16_at(&data, 2));
            let list = self.cell(u32_at(&data, 4), LIST_BYTES)?;
            data = Vec::new();
            for number in 0..count {
                let segment = self.cell(u32_at(&list, number.saturating_mul(4)), SEGMENT)?;
                data.extend(segment);
                if data.len() >= length(size) {
                    break;
                }
            }
        }
        match data.len() >= length(size) {
            true => {
                data.truncate(length(size));
                Ok(data)
            }
            false => Err(damaged(format!("a value of {} bytes instead of {size}", data.len()))),
        }
    }
}

fn name_text(name: &[u8], is_ascii: bool) -> String {
    // One byte a character is Latin-1, whatever it is called.
    if is_ascii { name.iter().map(|byte| char::from(*byte)).collect() } else { utf16(name) }
}

#[cfg(test)]
pub(crate) mod sample {
    //! Hives made by hand.

    /// A path and the values there: name, kind, bytes.
    pub type Sample<'a> = (&'a str, &'a [(&'a str, u32, Vec<u8>)]);

    /// Keys, each as path and values; the parents of a key come before it.
    pub fn hive(keys: &[Sample<'_>]) -> Vec<u8> {
        let mut cells = Cells(Vec::new());
        let root = cells.key("root", keys, "");
        let mut bytes = vec![0; 4096];
        bytes[..4].copy_from_slice(b"regf");
        bytes[36..40].copy_from_slice(&root.to_le_bytes());
        let sum = bytes[..508].as_chunks::<4>().0.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
        bytes[508..512].copy_from_slice(&sum.to_le_bytes());
        bytes.extend(cells.0);
        bytes
    }

    pub fn text(text: &str) -> (u32, Vec<u8>) {
        (1, text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect())
    }

    struct Cells(Vec<u8>);

    impl Cells {
        fn add(&mut self, content: &[u8]) -> u32 {
            let offset = self.0.len() as u32;
            let size = (content.len() + 4).next_multiple_of(8);
            self.0.extend((-(size as i32)).to_le_bytes());
            self.0.extend(content);
            self.0.resize(offset as usize + size, 0);
            offset
        }

        fn list(&mut self, head: &[u8], items: &[u32]) -> u32 {
            let items = items.iter().flat_map(|item| item.to_le_bytes());
            let content: Vec<u8> = head.iter().copied().chain(items).collect();
            self.add(&content)
        }

        fn key(&mut self, name: &str, keys: &[Sample<'_>], path: &str) -> u32 {
            let mut below: Vec<&str> = keys
                .iter()
                .filter_map(|(key, _)| if path.is_empty() { Some(*key) } else { key.strip_prefix(&format!("{path}/")) })
                .map(|rest| rest.split('/').next().unwrap())
                .collect();
            below.sort_unstable();
            below.dedup();
            let children: Vec<u32> = below
                .iter()
                .map(|child| {
                    let path = if path.is_empty() { (*child).to_owned() } else { format!("{path}/{child}") };
                    self.key(child, keys, &path)
                })
                .collect();
            let head = [&b"li"[..], &(children.len() as u16).to_le_bytes()].concat();
            let subkeys = self.list(&head, &children);
            let values = keys.iter().find(|(key, _)| *key == path).map_or(&[][..], |(_, values)| values);
            let cells: Vec<u32> = values.iter().map(|(name, kind, data)| self.value(name, *kind, data)).collect();
            let values = self.list(&[], &cells);
            let mut content = vec![0; 76];
            content[..4].copy_from_slice(b"nk\x20\0");
            content[20..24].copy_from_slice(&(children.len() as u32).to_le_bytes());
            content[28..32].copy_from_slice(&subkeys.to_le_bytes());
            content[36..40].copy_from_slice(&(cells.len() as u32).to_le_bytes());
            content[40..44].copy_from_slice(&values.to_le_bytes());
            content[72..74].copy_from_slice(&(name.len() as u16).to_le_bytes());
            content.extend(name.as_bytes());
            self.add(&content)
        }

        fn value(&mut self, name: &str, kind: u32, data: &[u8]) -> u32 {
            let cell = self.add(data);
            let mut content = b"vk".to_vec();
            content.extend((name.len() as u16).to_le_bytes());
            content.extend((data.len() as u32).to_le_bytes());
            content.extend(cell.to_le_bytes());
            content.extend(kind.to_le_bytes());
            content.extend([1, 0, 0, 0]);
            content.extend(name.as_bytes());
            self.add(&content)
        }
    }
}

#[cfg(test)]
mod tests {
    use block::MemoryDisk;

    use super::*;

    fn bytes() -> Vec<u8> {
        let (kind, data) = sample::text("NODE-A");
        sample::hive(&[
            ("Select", &[("Current", 4, vec![1, 0, 0, 0])]),
            ("ControlSet001/Name", &[("Name", kind, data)]),
        ])
    }

    #[test]
    fn keys_and_values_are_found_in_any_case() {
        let disk = MemoryDisk::from_bytes(&bytes());
        let hive = Hive::open(&disk).unwrap();
        assert!(!hive.is_lagging);
        assert_eq!(hive.value("select", "CURRENT").unwrap().unwrap().number(), Some(1));
        assert_eq!(hive.value("ControlSet001/NAME", "name").unwrap().unwrap().text(), "NODE-A");
        assert_eq!(hive.key("Select/None").unwrap(), None);
        let names: Vec<_> = hive.subkeys(&hive.key("").unwrap().unwrap()).unwrap();
        assert_eq!(names.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["ControlSet001", "Select"]);
    }

    #[test]
    fn damage_is_an_error_and_never_a_circle() {
        let whole = bytes();
        for at in 0..whole.len() {
            for value in [0, 0xFF, whole[at] ^ 1] {
                let mut bent = whole.clone();
                bent[at] = value;
                let disk = MemoryDisk::from_bytes(&bent);
                if let Ok(hive) = Hive::open(&disk) {
                    let _ = hive.value("ControlSet001/Name", "Name");
                }
            }
        }
    }

    /// The content of a cell that may name those before it, by their offsets.
    type Content<'a> = &'a dyn Fn(&[u32]) -> Vec<u8>;

    /// A hive with more cells at its end; tells their offsets.
    fn with_cells(contents: &[Content<'_>]) -> (Vec<u8>, Vec<u32>) {
        let mut bytes = bytes();
        let mut offsets = Vec::new();
        for content in contents {
            let content = content(&offsets);
            offsets.push(bytes.len() as u32 - BASE_BYTES as u32);
            bytes.extend((-(content.len() as i32 + 4)).to_le_bytes());
            bytes.extend(content);
        }
        (bytes, offsets)
    }

    /// Changes a number of the root key.
    fn set_root(bytes: &mut [u8], at: usize, value: u32) {
        let root = u32_at(bytes, 36) as usize + BASE_BYTES as usize + 4;
        bytes[root + at..root + at + 4].copy_from_slice(&value.to_le_bytes());
    }

    #[test]
    fn lists_of_empty_lists_have_an_end() {
        let list = |of: u32| [&b"ri\x90\x01"[..], &of.to_le_bytes().repeat(400)].concat();
        let lists: [Content<'_>; 4] =
            [&|_| b"lf\0\0".to_vec(), &|at| list(at[0]), &|at| list(at[1]), &|at| list(at[2])];
        let (mut bytes, offsets) = with_cells(&lists);
        set_root(&mut bytes, 28, offsets[3]);
        let disk = MemoryDisk::from_bytes(&bytes);
        let hive = Hive::open(&disk).unwrap();
        assert!(hive.key("Select").unwrap_err().to_string().starts_with("more than 262144 keys"));
    }

    #[test]
    fn many_values_in_one_large_cell_do_not_fill_the_memory() {
        let value = |at: &[u32]| {
            let size = (1_u32 << 20).to_le_bytes();
            [&b"vk\0\0"[..], &size, &at[0].to_le_bytes(), &[3, 0, 0, 0, 0, 0, 0, 0]].concat()
        };
        let contents: [Content<'_>; 3] = [&|_| vec![7; 1 << 20], &value, &|at| at[1].to_le_bytes().repeat(40)];
        let (mut bytes, offsets) = with_cells(&contents);
        set_root(&mut bytes, 36, 40);
        set_root(&mut bytes, 40, offsets[2]);
        let disk = MemoryDisk::from_bytes(&bytes);
        let hive = Hive::open(&disk).unwrap();
        let failed = hive.value("", "Name").unwrap_err().to_string();
        assert!(failed.starts_with("more than 33554432 bytes of values"), "{failed}");
        set_root(&mut bytes, 36, 30);
        let disk = MemoryDisk::from_bytes(&bytes);
        assert_eq!(Hive::open(&disk).unwrap().value("", "Name").unwrap(), None);
    }

    #[test]
    fn an_unfinished_write_is_seen() {
        let mut bent = bytes();
        bent[4] = 7;
        // The checksum is right: the numbers of the write alone tell.
        bent[508] ^= 7;
        let disk = MemoryDisk::from_bytes(&bent);
        assert!(Hive::open(&disk).unwrap().is_lagging);
        bent[0] = b'x';
        let disk = MemoryDisk::from_bytes(&bent);
        assert_eq!(Hive::open(&disk).err().unwrap().to_string(), "no magic regf");
    }
}
