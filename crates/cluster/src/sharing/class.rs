//! How sure it is that a disk is shared.

use serde::{Deserialize, Serialize};

use super::Evidence;

/// What all evidence together says. Greater is more dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Class {
    /// S0: a local disk.
    #[serde(rename = "S0")]
    Local,
    /// S2: others may reach it; nothing proves that they do.
    #[serde(rename = "S2")]
    Suspect,
    /// S3: a local disk with half of a mirror.
    #[serde(rename = "S3")]
    Mirror,
    /// B: this node boots from it.
    #[serde(rename = "B")]
    Own,
    /// S1: others use it.
    #[serde(rename = "S1")]
    Shared,
    /// X: others use it at this moment.
    #[serde(rename = "X")]
    Contended,
}

impl Class {
    /// Weighs all evidence about one thing. Order: X, S1, B, S3, S2, S0.
    ///
    /// That a node boots from a disk explains why others can reach it, but not why a cluster would have left marks on
    /// it. And what only resembles half of a mirror does not make up for a way that others can take.
    pub fn of<'a>(evidence: impl IntoIterator<Item = &'a Evidence>) -> Self {
        let evidence: Vec<&Evidence> = evidence.into_iter().collect();
        let reachable = evidence.iter().any(|one| one.is_of_the_way());
        let class_of = |one: &Evidence| match one {
            Evidence::HeldFileSystem { .. } if reachable => Self::Shared,
            other => other.class(),
        };
        let strongest = |wanted: &[Self]| evidence.iter().any(|one| wanted.contains(&class_of(one)));
        let has_marks = evidence.iter().any(|one| one.number() <= 10 && class_of(one) != Self::Local);
        let certain_mirror = evidence.iter().any(|one| matches!(one, Evidence::MirrorHalf { certain: true, .. }));
        if strongest(&[Self::Contended]) {
            Self::Contended
        } else if strongest(&[Self::Shared]) {
            Self::Shared
        } else if strongest(&[Self::Own]) && !has_marks {
            Self::Own
        } else if certain_mirror {
            Self::Mirror
        } else if strongest(&[Self::Suspect]) {
            Self::Suspect
        } else if strongest(&[Self::Mirror]) {
            Self::Mirror
        } else if strongest(&[Self::Own]) {
            Self::Own
        } else {
            Self::Local
        }
    }

    /// Its name in the documentation.
    pub fn code(self) -> &'static str {
        match self {
            Self::Contended => "X",
            Self::Shared => "S1",
            Self::Own => "B",
            Self::Mirror => "S3",
            Self::Suspect => "S2",
            Self::Local => "S0",
        }
    }
}
