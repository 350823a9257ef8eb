//! What was seen that tells whether a disk is shared, with the proof.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Class;

/// One thing that was seen, with names and numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Evidence {
    /// E1: machines have registered keys for persistent reservations, or one holds the disk.
    Registrations {
        /// The path that was asked.
        device: String,
        /// Counts changes of the registrations.
        generation: u32,
        /// The keys, as 16 hexadecimal digits.
        keys: Vec<String>,
        /// Who holds the reservation.
        holder: Option<Holder>,
        /// Who registered, as far as the disk tells: names of initiators.
        initiators: Vec<String>,
    },
    /// E2: the disk refused a command because another machine has reserved it.
    ReservationConflict {
        /// The path that was asked.
        device: String,
        /// What was refused.
        operation: String,
    },
    /// E3: bytes changed while nobody here wrote.
    Change {
        /// Where, as `p1 from byte 512`.
        places: Vec<String>,
        /// Time between the two looks.
        seconds: u64,
    },
    /// E4: a file system that several machines mount at once.
    ClusterFileSystem {
        /// As `blkid` calls it.
        file_system: String,
        /// Locks and names.
        detail: String,
    },
    /// E4: a file system that says that machines have it open; means something only where others can reach the disk.
    HeldFileSystem {
        /// As `blkid` calls it.
        file_system: String,
        /// How many hold it.
        holders: u64,
        /// Who.
        detail: String,
    },
    /// E5: an area through which nodes of a cluster watch or lock each other.
    ClusterArea {
        /// `sbd`, `sanlock`, `oracleasm`, `ext4-mmp`.
        software: String,
        /// Names, numbers, nodes.
        detail: String,
        /// What else is recognised in the same place: the area may be left over from before, or be clean.
        beside: Option<String>,
    },
    /// E6: volumes or arrays that are meant for several machines.
    SharedStorage {
        /// `lvm2`, `md`.
        software: String,
        /// Its name.
        name: String,
        /// What says so.
        detail: String,
        /// Whether that leaves no doubt.
        certain: bool,
    },
    /// E7: the cluster database or the disk driver of an offline Windows node names the disk.
    ClusterDatabase {
        /// Where it stands.
        source: String,
        /// What stands there.
        detail: String,
    },
    /// E8: the configuration of a cluster on an offline node names the disk as shared.
    ClusterConfiguration {
        /// The file.
        source: String,
        /// The resource and its device.
        detail: String,
    },
    /// E9: half of a mirror between nodes.
    MirrorHalf {
        /// `drbd`, `storage-replica`, `clusterpro`.
        software: String,
        /// What says so.
        detail: String,
        /// Whether that leaves no doubt.
        certain: bool,
    },
    /// E10: a volume that belongs to a cluster by its partition type or by what lies in its root directory.
    ClusterVolume {
        /// What says so.
        detail: String,
    },
    /// E11: the way to the disk is one that several machines can take.
    Transport {
        /// `fc`, `iscsi`, `sas`, …
        transport: String,
        /// What says so.
        detail: String,
    },
    /// E12: the disk says that it has several ports, or is reached on several paths.
    SeveralPaths {
        /// What says so.
        detail: String,
    },
    /// E13: the system of this very node boots from the disk.
    OwnSystem {
        /// What says so.
        detail: String,
    },
    /// E14: no table, or nothing known in it, on a disk that others can reach.
    Unknown {
        /// What says so.
        detail: String,
    },
}

/// Who holds a persistent reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its key, as 16 hexadecimal digits; zeros where all registrants hold it.
    pub key: String,
    /// What it keeps others from.
    pub kind: ReservationKind,
}

/// What a persistent reservation keeps others from. Source: SPC-4, table "persistent reservation type codes".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReservationKind {
    /// Type 1.
    WriteExclusive,
    /// Type 3.
    ExclusiveAccess,
    /// Type 5.
    WriteExclusiveRegistrants,
    /// Type 6.
    ExclusiveAccessRegistrants,
    /// Type 7.
    WriteExclusiveAllRegistrants,
    /// Type 8.
    ExclusiveAccessAllRegistrants,
    /// One that the standard does not name.
    Other(u8),
}

impl ReservationKind {
    /// The kind with a type code.
    pub fn of_code(code: u8) -> Self {
        match code {
            1 => Self::WriteExclusive,
            3 => Self::ExclusiveAccess,
            5 => Self::WriteExclusiveRegistrants,
            6 => Self::ExclusiveAccessRegistrants,
            7 => Self::WriteExclusiveAllRegistrants,
            8 => Self::ExclusiveAccessAllRegistrants,
            other => Self::Other(other),
        }
    }

    /// Whether others may not even read. What is not known is taken for the worst.
    pub fn forbids_reading(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::WriteExclusiveRegistrants | Self::WriteExclusiveAllRegistrants)
    }
}

impl fmt::Display for ReservationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WriteExclusive => "Write Exclusive",
            Self::ExclusiveAccess => "Exclusive Access",
            Self::WriteExclusiveRegistrants => "Write Exclusive, Registrants Only",
            Self::ExclusiveAccessRegistrants => "Exclusive Access, Registrants Only",
            Self::WriteExclusiveAllRegistrants => "Write Exclusive, All Registrants",
            Self::ExclusiveAccessAllRegistrants => "Exclusive Access, All Registrants",
            Self::Other(code) => return write!(f, "type {code}"),
        })
    }
}

impl Evidence {
    /// Its number in the documentation: 1 for E1.
    pub fn number(&self) -> u8 {
        match self {
            Self::Registrations { .. } => 1,
            Self::ReservationConflict { .. } => 2,
            Self::Change { .. } => 3,
            Self::ClusterFileSystem { .. } | Self::HeldFileSystem { .. } => 4,
            Self::ClusterArea { .. } => 5,
            Self::SharedStorage { .. } => 6,
            Self::ClusterDatabase { .. } => 7,
            Self::ClusterConfiguration { .. } => 8,
            Self::MirrorHalf { .. } => 9,
            Self::ClusterVolume { .. } => 10,
            Self::Transport { .. } => 11,
            Self::SeveralPaths { .. } => 12,
            Self::OwnSystem { .. } => 13,
            Self::Unknown { .. } => 14,
        }
    }

    /// The code that is the same in every language, as in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Registrations { .. } => "registrations",
            Self::ReservationConflict { .. } => "reservation-conflict",
            Self::Change { .. } => "change",
            Self::ClusterFileSystem { .. } => "cluster-file-system",
            Self::HeldFileSystem { .. } => "held-file-system",
            Self::ClusterArea { .. } => "cluster-area",
            Self::SharedStorage { .. } => "shared-storage",
            Self::ClusterDatabase { .. } => "cluster-database",
            Self::ClusterConfiguration { .. } => "cluster-configuration",
            Self::MirrorHalf { .. } => "mirror-half",
            Self::ClusterVolume { .. } => "cluster-volume",
            Self::Transport { .. } => "transport",
            Self::SeveralPaths { .. } => "several-paths",
            Self::OwnSystem { .. } => "own-system",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The class that it gives by itself. [`Class::of`] weighs several.
    pub fn class(&self) -> Class {
        match self {
            Self::Registrations { holder: Some(holder), .. } if holder.kind.forbids_reading() => Class::Contended,
            Self::ReservationConflict { .. } | Self::Change { .. } => Class::Contended,
            Self::Registrations { .. }
            | Self::ClusterFileSystem { .. }
            | Self::ClusterArea { beside: None, .. }
            | Self::SharedStorage { certain: true, .. }
            | Self::ClusterDatabase { .. }
            | Self::ClusterConfiguration { .. }
            | Self::ClusterVolume { .. } => Class::Shared,
            Self::MirrorHalf { .. } => Class::Mirror,
            Self::ClusterArea { .. }
            | Self::SharedStorage { .. }
            | Self::Transport { .. }
            | Self::SeveralPaths { .. }
            | Self::Unknown { .. } => Class::Suspect,
            Self::OwnSystem { .. } => Class::Own,
            Self::HeldFileSystem { .. } => Class::Local,
        }
    }

    /// Whether it says that others can reach the disk.
    pub fn is_of_the_way(&self) -> bool {
        matches!(self, Self::Transport { .. } | Self::SeveralPaths { .. } | Self::Registrations { .. })
    }

    /// Names and numbers, the same in every language.
    pub fn proof(&self) -> String {
        match self {
            Self::Registrations { device, generation, keys, holder, initiators } => {
                let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(" ") };
                let mut text = format!("{device}: keys {keys}, generation {generation}");
                if let Some(holder) = holder {
                    text += &format!(", reserved by {} ({})", holder.key, holder.kind);
                }
                if !initiators.is_empty() {
                    text += &format!(", initiators {}", initiators.join(" "));
                }
                text
            }
            Self::ReservationConflict { device, operation } => format!("{device}: {operation}"),
            Self::Change { places, seconds } => format!("{seconds} s: {}", places.join(", ")),
            Self::ClusterFileSystem { file_system, detail } => format!("{file_system}: {detail}"),
            Self::HeldFileSystem { file_system, holders, detail } => {
                format!("{file_system}: {holders} heartbeats in use: {detail}")
            }
            Self::ClusterArea { software, detail, beside } => match beside {
                Some(beside) => format!("{software}: {detail}; beside {beside}"),
                None => format!("{software}: {detail}"),
            },
            Self::SharedStorage { software, name, detail, .. } => format!("{software} {name}: {detail}"),
            Self::ClusterDatabase { source, detail } | Self::ClusterConfiguration { source, detail } => {
                format!("{source}: {detail}")
            }
            Self::MirrorHalf { software, detail, .. } => format!("{software}: {detail}"),
            Self::Transport { transport, detail } => format!("{transport}: {detail}"),
            Self::ClusterVolume { detail }
            | Self::SeveralPaths { detail }
            | Self::OwnSystem { detail }
            | Self::Unknown { detail } => detail.clone(),
        }
    }
}
