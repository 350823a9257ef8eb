//! Names in the bytes of a text, and what becomes of them. A name is replaced by one of the same length, so that
//! everything else stays in its place.

/// A name and the one that takes its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    from: String,
    to: String,
}

/// A name that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// First byte in the text.
    pub start: u64,
    /// The line, counted from 1.
    pub line: u64,
    /// As it stands there.
    pub from: String,
    /// What takes its place, in capitals where that is.
    pub to: String,
}

/// Shorter names, as an MBR signature alone, may stand for something else in a text.
const SHORTEST: usize = 9;

impl Name {
    /// `None` where one can't take the place of the other.
    pub fn new(from: &str, to: &str) -> Option<Self> {
        let fits = from.len() == to.len() && from.len() >= SHORTEST && from.is_ascii() && to.is_ascii();
        fits.then(|| Self { from: from.to_owned(), to: to.to_owned() })
    }

    /// A name that stays.
    pub fn kept(name: &str) -> Option<Self> {
        Self::new(name, name)
    }

    /// As it is in the image.
    pub fn from(&self) -> &str {
        &self.from
    }
}

/// Every name in a text, in ascending order, never overlapping.
pub fn replacements(text: &[u8], names: &[Name]) -> Vec<Replacement> {
    let mut found = Vec::new();
    let (mut position, mut line) = (0_usize, 1_u64);
    let mut before = None;
    while let Some(byte) = text.get(position) {
        let rest = text.get(position..).unwrap_or_default();
        // Inside a longer word, as the end of another UUID, it is no name.
        let matched = if before.is_some_and(continues_name) { None } else { name_at(rest, names) };
        if let Some(replacement) = matched {
            let (length, last) = (replacement.from.len(), replacement.from.bytes().last());
            let start = u64::try_from(position).unwrap_or(u64::MAX);
            found.push(Replacement { start, line, ..replacement });
            position = position.saturating_add(length);
            before = last;
            continue;
        }
        line = line.saturating_add(u64::from(*byte == b'\n'));
        before = Some(*byte);
        position = position.saturating_add(1);
    }
    found
}

fn continues_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn name_at(text: &[u8], names: &[Name]) -> Option<Replacement> {
    names.iter().find_map(|name| {
        let (word, rest) = text.split_at_checked(name.from.len())?;
        let is_name = word.eq_ignore_ascii_case(name.from.as_bytes());
        if !is_name || rest.first().is_some_and(|byte| continues_name(*byte)) {
            return None;
        }
        let from = String::from_utf8(word.to_vec()).ok()?;
        let to = if from.bytes().any(|byte| byte.is_ascii_lowercase()) {
            name.to.to_ascii_lowercase()
        } else if from.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name.to.to_ascii_uppercase()
        } else {
            name.to.clone()
        };
        Some(Replacement { start: 0, line: 0, from, to })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_where_they_are_whole_words() {
        let names = [
            Name::new("0a1b2c3d-0000-4111-8222-333344445555", "d38a5c11-4210-4f6e-9b0c-7e31a500c0de").unwrap(),
            Name::new("22c779e1-01", "0badcafe-01").unwrap(),
            Name::new("1234-ABCD", "A500-C0DE").unwrap(),
        ];
        let text = b"UUID=0a1b2c3d-0000-4111-8222-333344445555 /\n\
            PARTUUID=\"22C779E1-01\"\n\
            x0a1b2c3d-0000-4111-8222-333344445555 22c779e1-010 9-22c779e1-01\n\
            /dev/disk/by-uuid/1234-abcd,22c779e1-01";
        let found = replacements(text, &names);
        let told: Vec<_> = found.iter().map(|found| (found.line, found.from.as_str(), found.to.as_str())).collect();
        assert_eq!(
            told,
            [
                (1, "0a1b2c3d-0000-4111-8222-333344445555", "d38a5c11-4210-4f6e-9b0c-7e31a500c0de"),
                (2, "22C779E1-01", "0BADCAFE-01"),
                (4, "1234-abcd", "a500-c0de"),
                (4, "22c779e1-01", "0badcafe-01"),
            ]
        );
        for found in found {
            let start = usize::try_from(found.start).unwrap();
            assert_eq!(&text[start..start + found.from.len()], found.from.as_bytes());
        }
        assert_eq!(Name::new("22c779e1", "0badcafe"), None);
        assert_eq!(Name::new("22c779e1-01", "0badcafe-001"), None);
    }
}
