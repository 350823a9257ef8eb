//! What may be done with a disk of a class, and what an operator has to say for it.

use super::{Assessment, Class};
use crate::Scope;

/// What is to be done with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read it into an image.
    Save,
    /// To overwrite it with an image.
    Restore,
    /// To write signatures and GUIDs into its tables.
    Identity,
    /// To keep images on it.
    Repository,
}

/// Whether it may be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// It may not, or not yet.
    Closed(Lock),
}

/// Why something may not be done with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Others use it at this moment. Nothing that anybody says opens it.
    Contended,
    /// Keys are registered for it. Nothing that anybody says opens it, as long as they are.
    Registered,
    /// It is shared, and nobody said that all nodes are restored together.
    Scope,
    /// Somebody has to name it: by its identifier, or on a terminal by [`Lock::words`].
    Confirm(Class),
    /// Images don't belong on such a disk.
    Images(Class),
}

impl Lock {
    /// What has to be typed on a terminal; `None` where nothing opens it.
    pub fn words(self, purpose: Purpose, id: &str) -> Option<String> {
        match self {
            Self::Confirm(Class::Shared) if purpose == Purpose::Save => Some("SHARED".to_owned()),
            Self::Confirm(Class::Shared) => Some(format!("OVERWRITE SHARED {id}")),
            Self::Confirm(_) => {
                let count = id.chars().count();
                Some(id.chars().skip(count.saturating_sub(6)).collect())
            }
            _ => None,
        }
    }

    /// Whether what was typed opens it.
    pub fn accepts(self, purpose: Purpose, id: &str, typed: &str) -> bool {
        self.words(purpose, id).is_some_and(|words| !words.is_empty() && words == typed.trim())
    }
}

/// Whether `purpose` may be carried out on what of a disk has this class. `confirmed` are the identifiers that an
/// operator or a job gave; `scope` the answer to the question about other nodes.
pub fn gate(
    assessment: &Assessment,
    class: Class,
    purpose: Purpose,
    scope: Option<Scope>,
    confirmed: &[String],
) -> Gate {
    let is_confirmed = assessment.is_confirmed(confirmed);
    let closed = match (class, purpose) {
        (Class::Contended, _) => Some(Lock::Contended),
        (Class::Shared | Class::Suspect | Class::Mirror, Purpose::Repository) => Some(Lock::Images(class)),
        // Reading a disk that others hold keys for harms nobody.
        (Class::Shared, Purpose::Save) => (!is_confirmed).then_some(Lock::Confirm(class)),
        (Class::Shared, _) if assessment.is_registered() => Some(Lock::Registered),
        (Class::Shared, Purpose::Restore) if scope != Some(Scope::AllNodes) => Some(Lock::Scope),
        (Class::Shared | Class::Suspect, Purpose::Restore | Purpose::Identity) => {
            (!is_confirmed).then_some(Lock::Confirm(class))
        }
        // To name a disk is to tick it: nothing proves that others use it, and reading it harms nobody.
        (Class::Suspect, Purpose::Save) | (Class::Own | Class::Mirror | Class::Local, _) => None,
    };
    closed.map_or(Gate::Open, Gate::Closed)
}
