//! What a disk is known by. Two disks with the same of these must not be attached together: Windows
//! takes one offline and gives it a new signature, Linux mounts the wrong one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Layout, TableKind};

/// One thing that names a disk or a partition all over the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// What is named.
    pub kind: IdentityKind,
    /// The value, spelled as in the layout.
    pub value: String,
}

/// What an identity names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// A disk, by its MBR disk signature.
    DiskSignature,
    /// A disk, by its GPT disk GUID.
    DiskGuid,
    /// A partition, by its GPT unique partition GUID.
    PartitionGuid,
}

/// Everything in the tables that names this disk or its partitions. Values of zeros name nothing, and
/// the `PARTUUID` of an MBR partition says no more than the signature in it.
pub fn identities(layout: &Layout) -> Vec<Identity> {
    let disk_kind = match layout.table {
        TableKind::None => return Vec::new(),
        TableKind::Mbr => IdentityKind::DiskSignature,
        TableKind::Gpt => IdentityKind::DiskGuid,
    };
    let disk = layout.signature.iter().map(|value| Identity { kind: disk_kind, value: value.clone() });
    let guids = layout.regions.iter().filter_map(|region| region.partition.as_ref()?.guid.clone());
    let partitions = guids
        .filter(|_| layout.table == TableKind::Gpt)
        .map(|value| Identity { kind: IdentityKind::PartitionGuid, value });
    disk.chain(partitions).filter(|identity| identity.value.bytes().any(|byte| !matches!(byte, b'0' | b'-'))).collect()
}

/// The identities that two disks share.
pub fn shared_identities(one: &Layout, other: &Layout) -> Vec<Identity> {
    let others = identities(other);
    identities(one).into_iter().filter(|identity| others.contains(identity)).collect()
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            IdentityKind::DiskSignature => "disk signature",
            IdentityKind::DiskGuid => "disk GUID",
            IdentityKind::PartitionGuid => "partition GUID",
        };
        write!(f, "{kind} {}", self.value)
    }
}

#[cfg(test)]
mod tests {
    use block::SectorSize;

    use super::*;
    use crate::read;
    use crate::samples::{gpt_disk, mbr_disk, record};

    fn printed(layout: &Layout) -> Vec<String> {
        identities(layout).iter().map(Identity::to_string).collect()
    }

    #[test]
    fn a_disk_is_known_by_its_own_and_its_partitions_ids() {
        let gpt = read(&gpt_disk(SectorSize::B512, 1000, 8, &[(0, 40, 99), (2, 100, 199)])).unwrap();
        assert_eq!(
            printed(&gpt),
            [
                "disk GUID 12345678-1234-5678-9012-73616d706c65",
                "partition GUID 01010101-0101-0101-0101-010101010101",
                "partition GUID 03030303-0303-0303-0303-030303030303",
            ]
        );
        let mbr = read(&mbr_disk(1000, &[(0, 7, 63, 100)])).unwrap();
        assert_eq!(printed(&mbr), ["disk signature 22c779e1"]);
        assert_eq!(shared_identities(&gpt, &mbr), []);
        assert_eq!(shared_identities(&gpt, &gpt), identities(&gpt));
    }

    #[test]
    fn zeros_name_nothing() {
        let disk = mbr_disk(1000, &[]);
        crate::samples::bend(&disk, 0, &record(0, &[(0, 7, 63, 100)]));
        assert_eq!(printed(&read(&disk).unwrap()), Vec::<String>::new());
    }
}
