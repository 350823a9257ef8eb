//! Who is shown what will be done, decides, and is told how it goes: somebody at a command line, or at the screens.
//!
//! The commands do their work for an [`Operator`], so that what is looked at, refused and asked is the same
//! wherever somebody sits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cluster::sharing::Purpose;
use repository::{Contact, S3Keys, Secret};
use session::{Cancel, ClosedGate, Observer, RestorePlan, SavePlan, Scope};

use crate::arguments::General;
use crate::failure::Failure;

/// Is told what happens while something is done.
pub trait Reporter: Observer + Send + Sync {
    /// How the way to the target is.
    fn contact(&self, contact: &Contact);

    /// A part of the work is over, well or not.
    fn finish(&self) {}
}

/// Where passwords and keys of a target come from: what was typed, then the file, then the environment, and last a
/// question at the terminal.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The password of a share, typed at the screens.
    pub password: Option<Secret>,
    /// Keys of object storage, typed at the screens.
    pub keys: Option<S3Keys>,
    /// The file that `--credentials` names.
    pub file: Option<PathBuf>,
    /// Whether what is nowhere may be asked for.
    pub may_ask: bool,
}

impl Credentials {
    /// Those of a call of the program at a command line.
    pub fn of_a_call(general: &General) -> Self {
        Self { file: general.credentials.clone(), may_ask: true, ..Self::default() }
    }
}

/// Somebody who decides.
pub trait Operator {
    /// Is told what happens.
    fn reporter(&self) -> Arc<dyn Reporter>;

    /// The wish to stop.
    fn cancel(&self) -> &Cancel;

    /// What opens the target.
    fn credentials(&self) -> Credentials;

    /// Sees what will be saved.
    ///
    /// # Errors
    /// Where it is not wanted.
    fn agree_to_save(&self, plan: &SavePlan) -> Result<(), Failure>;

    /// Sees what will be overwritten, before anything is asked; `besides` tells what differs on this machine, and which
    /// boot entries come back.
    fn see_restore(&self, plan: &RestorePlan, assigned: &[(String, PathBuf)], besides: &[String]);

    /// Says whether another node has newer data; `None` where nothing was said.
    fn scope(&self, plan: &RestorePlan) -> Option<Scope>;

    /// Is told why a disk looks shared, and types what [`cluster::sharing::Lock`] asks for. Whoever can't be asked
    /// opens nothing.
    fn open_gate(&self, _gate: &ClosedGate, _purpose: Purpose) -> bool {
        false
    }

    /// Is told that another attached disk carries the same signature or GUID already, and says whether to go on.
    fn allow_collision(&self, _identity: &str, _other: &Path) -> bool {
        false
    }

    /// Is told that a disk holds the system of another node than the image, and types the name of that node.
    fn allow_other_node(&self, _disk: &Path, _found: &str, _saved: &str) -> bool {
        false
    }

    /// Confirms that these disks are overwritten.
    ///
    /// # Errors
    /// Where it is not confirmed.
    fn agree_to_overwrite(&self, disks: &[PathBuf]) -> Result<(), Failure>;
}
