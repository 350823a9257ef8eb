//! Somebody at a command line.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::language::t;
use cluster::sharing::Purpose;
use session::{Cancel, ClosedGate, RestorePlan, SavePlan, Scope};

use super::{restore, save};
use crate::arguments::General;
use crate::failure::Failure;
use crate::operator::{Credentials, Operator, Reporter};
use crate::output::error_line;
use crate::progress::Progress;
use crate::{confirm, sharing, signals};

/// An operator at a command line, or a script that has said --yes.
pub struct Console {
    general: General,
    yes: bool,
    progress: Arc<Progress>,
    cancel: Cancel,
}

impl Console {
    /// Somebody who called the program like this.
    pub fn new(general: &General, yes: bool) -> Self {
        Self { general: general.clone(), yes, progress: Progress::new(general), cancel: Cancel::new() }
    }

    /// Signals stop the work in order from now on.
    pub fn cancel_on_signals(&self) {
        signals::cancel_on_signals(&self.cancel);
    }
}

impl Operator for Console {
    fn reporter(&self) -> Arc<dyn Reporter> {
        self.progress.clone()
    }

    fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    fn credentials(&self) -> Credentials {
        Credentials::of_a_call(&self.general)
    }

    /// A save harms nothing: it is shown and begins.
    fn agree_to_save(&self, plan: &SavePlan) -> Result<(), Failure> {
        if !self.general.json {
            save::print_plan(plan);
        }
        Ok(())
    }

    fn see_restore(&self, plan: &RestorePlan, assigned: &[(String, PathBuf)], besides: &[String]) {
        if !self.general.json || confirm::is_asked(self.yes) {
            restore::print_plan(plan, assigned);
            besides.iter().for_each(|text| error_line(format!("  {text}")));
        }
    }

    /// There is no default: `None` for every other answer.
    fn scope(&self, _: &RestorePlan) -> Option<Scope> {
        if !confirm::is_asked(self.yes) {
            return None;
        }
        error_line(t!("restore.scope"));
        match confirm::ask(&t!("restore.ask_scope")).as_deref() {
            Some("one-node") => Some(Scope::OneNode),
            Some("all-nodes") => Some(Scope::AllNodes),
            _ => None,
        }
    }

    fn open_gate(&self, gate: &ClosedGate, purpose: Purpose) -> bool {
        let Some(words) = gate.lock.words(purpose, &gate.id).filter(|_| confirm::is_asked(self.yes)) else {
            return false;
        };
        error_line(t!("sharing.seen", disk = gate.disk, class = sharing::class_text(gate.class)));
        gate.findings.iter().for_each(|finding| error_line(format!("  ! {}", sharing::finding_text(finding))));
        error_line(t!("sharing.danger"));
        let typed = confirm::ask(&t!("sharing.ask", disk = gate.disk, words = words)).unwrap_or_default();
        gate.lock.accepts(purpose, &gate.id, &typed)
    }

    fn allow_collision(&self, identity: &str, other: &Path) -> bool {
        if !confirm::is_asked(self.yes) {
            return false;
        }
        error_line(t!("failure.same_signature", disk = other.display(), id = identity));
        confirm::ask(&t!("sharing.ask_same")).as_deref() == Some("SAME ID")
    }

    fn allow_other_node(&self, disk: &Path, found: &str, saved: &str) -> bool {
        if !confirm::is_asked(self.yes) {
            return false;
        }
        error_line(t!("sharing.other_node", disk = disk.display(), found = found, saved = saved));
        confirm::ask(&t!("sharing.ask_node", words = found)).as_deref() == Some(found)
    }

    fn agree_to_overwrite(&self, disks: &[PathBuf]) -> Result<(), Failure> {
        confirm::overwriting(self.yes, &t!("restore.ask"), disks.iter().map(PathBuf::as_path).map(Path::new))?;
        // Nothing is written before the question is answered: until then a signal may simply end the program.
        self.cancel_on_signals();
        Ok(())
    }
}
