//! `sosei checklist`: what to do around a restore.

use cluster::checklist::Resync;
use image::{ImageName, Manifest, Store};
use serde_json::{Value, json};
use session::{
    Cancel, Language, Observer, Scope, Subject, checklist_from, checklist_of, checklist_title, examine_image,
    open_repository, read_manifest,
};

use crate::arguments::{General, ScopeChoice};
use crate::failure::{DONE, Failure};
use crate::operator::{Operator, Reporter};
use crate::output::{document, line};
use crate::progress::Progress;
use crate::{language, target};

/// Prints the list for an image, with times for a link between the nodes that carries so many Mbit/s.
pub fn run(
    target: &str,
    image: &ImageName,
    scope: Option<ScopeChoice>,
    link: u64,
    general: &General,
) -> Result<u8, Failure> {
    let (progress, cancel) = (Progress::new(general), Cancel::new());
    let target = target::open(target, general, &progress, &cancel)?;
    open_repository(&*target.store)?;
    let manifest = read_manifest(&*target.store, image)?;
    let (scope, language) = (scope.map(Into::into), language());
    let subject = subject_of(&*target.store, &manifest, &*progress, &cancel);
    progress.finish();
    let mut subject = subject?;
    if let Some(resync) = &mut subject.resync {
        resync.bytes_per_second = Resync::GIGABIT.saturating_mul(link) / 1000;
    }
    if general.json {
        document(&json!({ "image": manifest.image, "scope": scope, "steps": subject.steps(scope, language) }));
    } else {
        line(subject.text(&checklist_title(&manifest, language), scope, language).trim_end());
    }
    Ok(DONE)
}

/// What the list is made of. An image without any record of what is on its disks is looked at anew: it may have been
/// saved by a program that did not know how.
fn subject_of(
    store: &dyn Store,
    manifest: &Manifest,
    observer: &dyn Observer,
    cancel: &Cancel,
) -> Result<Subject, Failure> {
    if !manifest.systems.is_empty() || !manifest.findings.is_empty() {
        return Ok(checklist_of(manifest));
    }
    Ok(checklist_from(manifest, &examine_image(store, manifest, observer, cancel)?))
}

/// The list for an image, for an operator at the screens.
pub fn lines_of(target: &str, image: &ImageName, operator: &dyn Operator) -> Result<Vec<String>, Failure> {
    let target = target::open_for(operator, target, &[], target::Use::Reading)?;
    open_repository(&*target.store)?;
    let manifest = read_manifest(&*target.store, image)?;
    let language = language();
    let subject = subject_of(&*target.store, &manifest, &*operator.reporter(), operator.cancel())?;
    let text = subject.text(&checklist_title(&manifest, language), None, language);
    Ok(text.trim_end().lines().map(str::to_owned).collect())
}

/// The list for programs, in the language of the operator.
pub fn steps(manifest: &Manifest, scope: Option<Scope>) -> Value {
    json!(checklist_of(manifest).steps(scope, language()))
}

/// The list at the end of a restore: what is left to do. Nothing for an image in which no system was found.
pub fn lines_after_restore(manifest: &Manifest, scope: Option<Scope>) -> Vec<String> {
    let subject = checklist_of(manifest);
    let is_known = |id: &str| subject.detected.iter().any(|found| found.id == id);
    if manifest.systems.is_empty() && !is_known("cluster.any") {
        return Vec::new();
    }
    let language = language();
    let steps: Vec<_> = subject.steps(scope, language).into_iter().filter(|step| step.phase > 0).collect();
    let text = cluster::checklist::render(&checklist_title(manifest, language), &steps, scope, language);
    std::iter::once("").chain(text.trim_end().lines()).map(str::to_owned).collect()
}

/// The language of the operator.
pub fn language() -> Language {
    match language::present() {
        language::Language::Ja => Language::Ja,
        language::Language::En => Language::En,
    }
}
