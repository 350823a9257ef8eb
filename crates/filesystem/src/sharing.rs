//! What file systems and storage software say about other machines that use them too: for those who ask whether a disk
//! is shared, not which of its bytes are used.
//!
//! Source: lvm2 `lib/format_text/flags.c` and `import_vsn1.c` (`lock_type`, `system_id`, `CLUSTERED`); Linux
//! `drivers/md/md-bitmap.h` (`bitmap_super_t`, version 5: clustered).

use block::{ReadAt, read_vec};
use zerocopy::little_endian::{I32, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::lvm::text::{Node, Section, parse};
use crate::lvm::{self, Content};
use crate::{Error, drbd, foreign, md, ntfs};

/// Volumes or an array that several machines are meant to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedStorage {
    /// `lvm2` or `md`.
    pub software: &'static str,
    /// The volume group, the array.
    pub name: String,
    /// What says so.
    pub detail: String,
    /// Whether that leaves no doubt. A group with a system identifier belongs to one machine at a time, and only that
    /// machine knows whether it is the one.
    pub certain: bool,
}

/// What a region says by itself. Nothing is followed to other regions.
pub fn shared_storage(region: &dyn ReadAt) -> Vec<SharedStorage> {
    let groups = shared_groups(region).unwrap_or_default();
    groups.into_iter().chain(shared_array(region).ok().flatten()).collect()
}

fn shared_groups(region: &dyn ReadAt) -> Result<Vec<SharedStorage>, Error> {
    let mut found = Vec::new();
    let Some(label) = lvm::find_label(region)? else { return Ok(found) };
    for (start, size) in label.metadata_areas {
        let Ok(Content::Text(text)) = lvm::read_metadata_area(region, start, size) else { continue };
        let Ok(root) = parse(&text) else { continue };
        for (name, node) in root.entries() {
            if let Node::Section(section) = node {
                found.extend(shared_group(name, section).filter(|group| !found.contains(group)));
            }
        }
    }
    Ok(found)
}

fn shared_group(name: &str, section: &Section) -> Option<SharedStorage> {
    let flags = ["status", "flags"].into_iter().filter_map(|key| section.texts(key)).flatten();
    let mut signs: Vec<String> =
        flags.filter(|flag| matches!(*flag, "CLUSTERED" | "SHARED")).map(|flag| format!("flag {flag}")).collect();
    signs.extend(section.text("lock_type").filter(|lock| *lock != "none").map(|lock| format!("lock_type {lock}")));
    let certain = !signs.is_empty();
    signs.extend(section.text("system_id").filter(|id| !id.is_empty()).map(|id| format!("system_id {id}")));
    let detail = signs.join(", ");
    (!signs.is_empty()).then_some(SharedStorage { software: "lvm2", name: name.to_owned(), detail, certain })
}

/// The start of `bitmap_super_t`, and the last fields of it.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Bitmap {
    magic: [u8; 4],
    version: U32,
    between: [u8; 60],
    nodes: U32,
    cluster_name: [u8; 64],
}

const BITMAP_CLUSTERED: u32 = 5;
/// Where `bitmap_offset` stands in the superblock of md.
const BITMAP_OFFSET: u64 = 0x60;
const SECTOR: i64 = 512;

fn shared_array(region: &dyn ReadAt) -> Result<Option<SharedStorage>, Error> {
    let Some(member) = md::find(region)?.filter(|member| member.has_bitmap && member.version != "0.90") else {
        return Ok(None);
    };
    let sectors = read_vec(region, member.superblock.saturating_add(BITMAP_OFFSET), 4)?;
    let sectors = I32::read_from_bytes(&sectors).map_or(0, |sectors| i64::from(sectors.get()));
    let position = member.superblock.saturating_add_signed(sectors.saturating_mul(SECTOR));
    if position.saturating_add(4096) > region.size() {
        return Ok(None);
    }
    let bytes = read_vec(region, position, size_of::<Bitmap>())?;
    let Ok(bitmap) = Bitmap::read_from_bytes(&bytes) else { return Ok(None) };
    if bitmap.magic != *b"bitm" || bitmap.version.get() != BITMAP_CLUSTERED {
        return Ok(None);
    }
    let name = String::from_utf8_lossy(&bitmap.cluster_name).trim_end_matches('\0').to_owned();
    let detail = format!("bitmap of version {} for {} nodes of cluster {name}", bitmap.version, bitmap.nodes);
    let array = member.name.or(member.uuid).unwrap_or_default();
    Ok(Some(SharedStorage { software: "md", name: array, detail, certain: true }))
}

/// The directories that a Windows cluster keeps on its disks: the quorum, and what it copies of its database.
pub fn cluster_directories(region: &dyn ReadAt) -> Vec<&'static str> {
    let directories = [("MSCS", "quolog.log", "\\MSCS"), ("Cluster", "0.hive", "\\Cluster")];
    let has = |(directory, file, _): &(&str, &str, &str)| ntfs::has_file(region, directory, file).unwrap_or_default();
    directories.into_iter().filter(has).map(|(_, _, name)| name).collect()
}

/// Whether nothing that is known left a signature: neither at the start nor at the end.
pub fn has_no_signature(region: &dyn ReadAt) -> bool {
    let has_table = region.size() >= 512 && read_vec(region, 510, 2).is_ok_and(|bytes| bytes == [0x55, 0xAA]);
    !has_table
        && crate::identify(region).is_none()
        && foreign::signatures(region, false).is_ok_and(|found| found.is_empty())
        && md::find(region).is_ok_and(|found| found.is_none())
        && drbd::find_internal(region).is_ok_and(|found| found.is_none())
}

#[cfg(test)]
mod tests {
    use block::{MemoryDisk, WriteAt};

    use super::*;
    use crate::lvm::sample::{FIRST, MIB, text, write};
    use crate::md::sample::{self, MIRROR};

    fn group(change: &str) -> Vec<SharedStorage> {
        let disk = MemoryDisk::new(64 * MIB);
        let text = text(7, 62, "").replace("flags = []\nextent_size", &format!("{change}\nextent_size"));
        write(&disk, FIRST, &text, 512);
        shared_storage(&disk)
    }

    #[test]
    fn volume_groups_of_several_machines_say_so() {
        assert_eq!(group("flags = []"), []);
        assert_eq!(group("flags = []\nlock_type = \"none\""), []);
        let table = [
            ("flags = []\nlock_type = \"sanlock\"\nlock_args = \"1.0.0:lvmlock\"", "lock_type sanlock", true),
            ("flags = []\nlock_type = \"dlm\"", "lock_type dlm", true),
            ("flags = [\"CLUSTERED\"]", "flag CLUSTERED", true),
            ("flags = [\"SHARED\"]", "flag SHARED", true),
            ("flags = []\nsystem_id = \"node1\"", "system_id node1", false),
            ("flags = []\nlock_type = \"dlm\"\nsystem_id = \"node1\"", "lock_type dlm, system_id node1", true),
        ];
        for (change, detail, certain) in table {
            let expected = SharedStorage { software: "lvm2", name: "vg0".into(), detail: detail.into(), certain };
            assert_eq!(group(change), [expected]);
        }
    }

    #[test]
    fn an_array_of_a_cluster_has_a_bitmap_of_its_version() {
        let disk = MemoryDisk::new(8 * MIB);
        sample::write(&disk, sample::Said { features: 1, ..MIRROR });
        assert_eq!(shared_storage(&disk), []);
        let mut bitmap = [0; 256];
        bitmap[..4].copy_from_slice(b"bitm");
        bitmap[4] = 5;
        bitmap[68] = 3;
        bitmap[72..78].copy_from_slice(b"mycl\0\0");
        disk.write_at(8192, &bitmap).unwrap();
        let detail = "bitmap of version 5 for 3 nodes of cluster mycl".to_owned();
        let expected = SharedStorage { software: "md", name: "node:7".into(), detail, certain: true };
        assert_eq!(shared_storage(&disk), [expected]);
        disk.write_at(8196, &[4]).unwrap();
        assert_eq!(shared_storage(&disk), []);
    }
}
