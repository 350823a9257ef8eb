//! Words for the names of file systems on a copy beside its original: which are new, which stay and why, what names them.

use crate::language::t;
use serde_json::{Value, json};
use session::{LeftName, NewNames};

use super::describe;

/// What changes and what does not, one line each.
pub fn lines(names: &NewNames) -> Vec<String> {
    let mut lines = Vec::new();
    for renamed in &names.renamed {
        let name = format!("{} ({})", renamed.place, renamed.kind);
        lines.push(format!("  ~ {}", t!("change.renamed", name = name, from = renamed.from, to = renamed.to)));
    }
    for fixed in &names.fixed {
        let name = format!("{} {}:{}", fixed.place, fixed.file, fixed.line);
        lines.push(format!("  ~ {}", t!("change.renamed", name = name, from = fixed.from, to = fixed.to)));
    }
    for kept in &names.kept {
        let reason = format!("{}: {}", describe::reason(&kept.code), kept.detail);
        let (region, kind, uuid) = (&kept.place, &kept.kind, &kept.uuid);
        lines.push(match command(kind) {
            Some(command) => t!(
                "restore.kept_uuid_command",
                region = region,
                kind = kind,
                uuid = uuid,
                reason = reason,
                command = command
            )
            .into_owned(),
            None => t!("restore.kept_uuid", region = region, kind = kind, uuid = uuid, reason = reason).into_owned(),
        });
    }
    lines
}

/// A name that stays in a file.
pub fn left(left: &LeftName) -> String {
    let file = format!("{} {}", left.place, left.file);
    match (&left.name, left.line) {
        (Some(name), Some(line)) => format!("{file}:{line}: {name}"),
        (Some(name), None) => t!("restore.referrer_program", file = file, name = name).into_owned(),
        (None, _) => t!("restore.referrer_unread", file = file).into_owned(),
    }
}

/// The same for programs.
pub struct Document {
    /// File systems with new names.
    pub file_systems: Vec<Value>,
    /// What keeps its name.
    pub kept: Vec<Value>,
    /// Lines of files that were changed.
    pub fixed: Vec<Value>,
}

impl Document {
    /// What a plan changes and keeps.
    pub fn of(names: &NewNames) -> Self {
        let file_systems = names.renamed.iter().map(
            |renamed| json!({ "region": renamed.place, "kind": renamed.kind, "from": renamed.from, "to": renamed.to }),
        );
        let kept = names.kept.iter().map(|kept| {
            json!({
                "region": kept.place, "kind": kept.kind, "uuid": kept.uuid, "reason": kept.code,
                "detail": kept.detail, "command": command(&kept.kind),
            })
        });
        let fixed = names.fixed.iter().map(|fixed| {
            json!({
                "region": fixed.place, "file": fixed.file, "line": fixed.line, "from": fixed.from, "to": fixed.to,
            })
        });
        Self { file_systems: file_systems.collect(), kept: kept.collect(), fixed: fixed.collect() }
    }
}

/// What an operator runs to give it another name, not mounted and in no use.
fn command(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "ext2" | "ext3" | "ext4" => "e2fsck -f DEVICE; tune2fs -U random DEVICE",
        "xfs" => "xfs_admin -U generate DEVICE",
        "btrfs" => "btrfstune -u DEVICE",
        "ntfs" => "ntfslabel --new-serial DEVICE",
        "vfat" => "fatlabel -i -r DEVICE",
        "exfat" => "exfatlabel -i DEVICE 0xNNNNNNNN",
        "swap" => "swaplabel -U $(uuidgen) DEVICE",
        "jfs" => "jfs_tune -U random DEVICE",
        "reiserfs" => "reiserfstune -u random DEVICE",
        "LVM2_member" => "vgimportclone -n NEW_GROUP DEVICE...",
        "linux_raid_member" => "mdadm --assemble --update=uuid /dev/mdN DEVICE...",
        "crypto_LUKS" => "cryptsetup luksUUID --uuid $(uuidgen) DEVICE",
        _ => return None,
    })
}
