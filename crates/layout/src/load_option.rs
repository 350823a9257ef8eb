//! Boot entries of UEFI: the variables `Boot####` and `BootOrder`.
//!
//! They lie in the memory of the board and are lost with it. What an entry starts is named by the number, place and GUID
//! of a partition and the path of a file, all of which a restore brings back.
//!
//! Source: UEFI Specification 2.10, sections 3.1.3 ("Load Options") and 10.3 ("Device Path Nodes").

use serde::{Deserialize, Serialize};

/// The longest variable that is taken for an entry.
const SIZE_LIMIT: usize = 64 << 10;
const ACTIVE: u32 = 1;
const MEDIA: u8 = 4;
const HARD_DRIVE: u8 = 1;
const FILE_PATH: u8 = 4;
const END: u8 = 0x7F;

/// All boot entries of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntries {
    /// Numbers of the entries, the first one to try first.
    pub order: Vec<u16>,
    /// The entries, by their numbers.
    pub entries: Vec<BootEntry>,
}

/// A boot entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// Its number, as in the name `Boot0003`.
    pub number: u16,
    /// The variable without the attributes of the variable itself. Serialised as hexadecimal digits.
    #[serde(with = "crate::region::hexadecimal")]
    pub bytes: Vec<u8>,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadOption {
    /// Whether the firmware tries it.
    pub is_active: bool,
    /// Its name in the menu.
    pub label: String,
    /// The partition that it starts from; `None` for a network card, a drive, a part of the firmware.
    pub partition: Option<BootPartition>,
    /// The file that it starts, with `\`.
    pub file: Option<String>,
}

/// A partition as firmware knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootPartition {
    /// Its number.
    pub number: u32,
    /// First sector.
    pub start: u64,
    /// Sectors.
    pub size: u64,
    /// Partition GUID (GPT), or disk signature as 8 digits (MBR).
    pub signature: Option<String>,
}

/// What has to be written so that entries come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootPlan {
    /// Entries to write, under numbers that are free.
    pub write: Vec<BootEntry>,
    /// The order afterwards; every entry that is there now stays in it.
    pub order: Vec<u16>,
    /// Whether that is another order than now.
    pub is_order_new: bool,
}

impl BootEntry {
    /// What the entry says; `None` where it is damaged.
    pub fn parse(&self) -> Option<LoadOption> {
        if self.bytes.len() > SIZE_LIMIT {
            return None;
        }
        let attributes = u32::from_le_bytes(*self.bytes.first_chunk::<4>()?);
        let path_length = usize::from(u16::from_le_bytes(*self.bytes.get(4..)?.first_chunk::<2>()?));
        let (units, _) = self.bytes.get(6..)?.as_chunks::<2>();
        let label: Vec<u16> =
            units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0).collect();
        let path_at = label.len().checked_add(1)?.checked_mul(2)?.checked_add(6)?;
        let mut path = self.bytes.get(path_at..path_at.checked_add(path_length)?)?;
        let mut option = LoadOption {
            is_active: attributes & ACTIVE != 0,
            label: String::from_utf16_lossy(&label),
            partition: None,
            file: None,
        };
        // Every node has at least its own four bytes of head, so this ends.
        while let Some([kind, sub_kind, low, high]) = path.first_chunk::<4>() {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let (node, rest) = path.split_at_checked(length).filter(|_| length >= 4)?;
            match (*kind, *sub_kind) {
                (END, _) => break,
                (MEDIA, HARD_DRIVE) => option.partition = Some(partition(node)?),
                (MEDIA, FILE_PATH) => {
                    let (units, _) = node.get(4..)?.as_chunks::<2>();
                    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
                    option.file = Some(String::from_utf16_lossy(&units.collect::<Vec<_>>()));
                }
                _ => {}
            }
            path = rest;
        }
        Some(option)
    }
}

fn partition(node: &[u8]) -> Option<BootPartition> {
    let number = u32::from_le_bytes(*node.get(4..)?.first_chunk::<4>()?);
    let start = u64::from_le_bytes(*node.get(8..)?.first_chunk::<8>()?);
    let size = u64::from_le_bytes(*node.get(16..)?.first_chunk::<8>()?);
    let signature = node.get(24..)?.first_chunk::<16>()?;
    let signature = match node.get(41)? {
        1 => Some(format!("{:08x}", u32::from_le_bytes(*signature.first_chunk::<4>()?))),
        2 => Some(guid(signature)),
        _ => None,
    };
    Some(BootPartition { number, start, size, signature })
}

/// The first three parts of a GUID are little-endian.
fn guid(bytes: &[u8; 16]) -> String {
    let part = |places: &[usize]| -> String {
        places.iter().filter_map(|at| bytes.get(*at)).map(|byte| format!("{byte:02x}")).collect()
    };
    [part(&[3, 2, 1, 0]), part(&[5, 4]), part(&[7, 6]), part(&[8, 9]), part(&[10, 11, 12, 13, 14, 15])].join("-")
}

impl BootEntries {
    /// The order as the variable has it.
    pub fn order_bytes(order: &[u16]) -> Vec<u8> {
        order.iter().flat_map(|number| number.to_le_bytes()).collect()
    }

    /// The order from the variable.
    pub fn order_of(bytes: &[u8]) -> Vec<u16> {
        let (numbers, _) = bytes.as_chunks::<2>();
        numbers.iter().map(|number| u16::from_le_bytes(*number)).collect()
    }

    /// What to write so that those of `self` come back on a machine that has `present`. Only entries that start from a
    /// partition in `signatures` (partition GUIDs, and disk signatures of MBRs) come back: the paths of others belong to
    /// the board that is gone. They come first, in their order; all that is there stays behind them.
    pub fn plan(&self, present: &Self, signatures: &[String]) -> BootPlan {
        let is_ours = |entry: &&BootEntry| {
            let partition = entry.parse().and_then(|option| option.partition?.signature);
            partition.is_some_and(|own| signatures.contains(&own))
        };
        let place = |entry: &BootEntry| self.order.iter().position(|number| *number == entry.number);
        let mut ours: Vec<&BootEntry> = self.entries.iter().filter(is_ours).collect();
        // Entries without a place in the order stay without one.
        ours.sort_by_key(|entry| (place(entry).is_none(), place(entry), entry.number));
        let mut taken: Vec<u16> = present.entries.iter().map(|entry| entry.number).collect();
        let mut plan = BootPlan::default();
        for entry in ours {
            let same = present.entries.iter().find(|known| known.bytes == entry.bytes);
            let number = match same {
                Some(same) => same.number,
                None => {
                    let wanted = std::iter::once(entry.number).chain(0..=u16::MAX);
                    let Some(number) = wanted.into_iter().find(|number| !taken.contains(number)) else { continue };
                    taken.push(number);
                    plan.write.push(BootEntry { number, bytes: entry.bytes.clone() });
                    number
                }
            };
            if place(entry).is_some() && !plan.order.contains(&number) {
                plan.order.push(number);
            }
        }
        let others = present.order.iter().filter(|number| !plan.order.contains(number)).copied().collect::<Vec<_>>();
        plan.order.extend(others);
        plan.is_order_new = plan.order != present.order;
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "09931f21-7faf-44a9-81d8-1e73c14b9eaf";

    /// An entry as firmware has it, for a partition whose GUID begins with `first`.
    fn entry(number: u16, label: &str, first: u8) -> BootEntry {
        let file: Vec<u8> = "\\EFI\\debian\\shimx64.efi\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut path = vec![4, 1, 42, 0, 1, 0, 0, 0];
        path.extend(2048_u64.to_le_bytes());
        path.extend(1_048_576_u64.to_le_bytes());
        path.extend([first, 0x1f, 0x93, 0x09, 0xaf, 0x7f, 0xa9, 0x44, 0x81, 0xd8, 0x1e, 0x73, 0xc1, 0x4b, 0x9e, 0xaf]);
        path.extend([2, 2, 4, 4]);
        path.extend((file.len() as u16 + 4).to_le_bytes());
        path.extend(file);
        path.extend([0x7F, 0xFF, 4, 0]);
        let mut bytes = 1_u32.to_le_bytes().to_vec();
        bytes.extend((path.len() as u16).to_le_bytes());
        bytes.extend(label.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        bytes.extend(path);
        BootEntry { number, bytes }
    }

    #[test]
    fn an_entry_names_partition_and_file() {
        let option = entry(1, "debian", 0x21).parse().unwrap();
        assert_eq!((option.label.as_str(), option.is_active), ("debian", true));
        assert_eq!(option.file.as_deref(), Some("\\EFI\\debian\\shimx64.efi"));
        let partition = option.partition.unwrap();
        assert_eq!((partition.number, partition.start, partition.size), (1, 2048, 1_048_576));
        assert_eq!(partition.signature.as_deref(), Some(GUID));
    }

    #[test]
    fn damage_is_no_entry() {
        let whole = entry(1, "debian", 0x21);
        for length in 0..whole.bytes.len() {
            let cut = BootEntry { number: 1, bytes: whole.bytes[..length].to_vec() };
            assert_eq!(cut.parse(), None, "{length}");
        }
        let mut bent = whole.clone();
        bent.bytes[4 + 2 + 14 + 2] = 3;
        assert_eq!(bent.parse(), None);
    }

    fn numbers(entries: &[BootEntry]) -> Vec<u16> {
        entries.iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn entries_come_back_and_no_other_goes() {
        let saved = BootEntries {
            order: vec![3, 1, 2],
            entries: vec![entry(1, "debian", 0x21), entry(2, "other disk", 0x22), entry(3, "fallback", 0x21)],
        };
        let signatures = [GUID.to_owned()];
        // A new board: an entry of its own has one of the numbers.
        let network = BootEntry { number: 1, bytes: vec![1, 0, 0, 0, 0, 0, 0, 0] };
        let board = BootEntries { order: vec![1], entries: vec![network] };
        let plan = saved.plan(&board, &signatures);
        assert_eq!(numbers(&plan.write), [3, 0]);
        assert_eq!(plan.order, [3, 0, 1]);
        assert!(plan.is_order_new);
        // Once more nothing is to be done.
        let mut entries = plan.write.clone();
        entries.extend(board.entries);
        let again = saved.plan(&BootEntries { order: plan.order, entries }, &signatures);
        assert!(again.write.is_empty() && !again.is_order_new, "{again:?}");
    }

    #[test]
    fn an_entry_of_a_disk_that_is_not_restored_stays_away() {
        let saved = BootEntries { order: vec![1], entries: vec![entry(1, "debian", 0x22)] };
        assert_eq!(saved.plan(&BootEntries::default(), &[GUID.to_owned()]), BootPlan::default());
    }
}
