//! `sosei checklist`: what to do around a restore.

use image::{ImageName, Manifest};
use serde_json::{Value, json};
use session::{Cancel, Language, Scope, checklist_of, checklist_title, open_repository, read_manifest};

use crate::arguments::{General, ScopeChoice};
use crate::failure::{DONE, Failure};
use crate::operator::Operator;
use crate::output::{document, line};
use crate::progress::Progress;
use crate::target;

/// Prints the list for an image.
pub fn run(target: &str, image: &ImageName, scope: Option<ScopeChoice>, general: &General) -> Result<u8, Failure> {
    let target = target::open(target, general, &Progress::new(general), &Cancel::new())?;
    open_repository(&*target.store)?;
    let manifest = read_manifest(&*target.store, image)?;
    let scope = scope.map(Into::into);
    if general.json {
        document(&json!({ "image": manifest.image, "scope": scope, "steps": steps(&manifest, scope) }));
    } else {
        let language = language();
        line(checklist_of(&manifest).text(&checklist_title(&manifest, language), scope, language).trim_end());
    }
    Ok(DONE)
}

/// The list for an image, for an operator at the screens.
pub fn lines_of(target: &str, image: &ImageName, operator: &dyn Operator) -> Result<Vec<String>, Failure> {
    let target = target::open_for(operator, target, &[])?;
    open_repository(&*target.store)?;
    let manifest = read_manifest(&*target.store, image)?;
    let language = language();
    let text = checklist_of(&manifest).text(&checklist_title(&manifest, language), None, language);
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

fn language() -> Language {
    if &*rust_i18n::locale() == "ja" { Language::Ja } else { Language::En }
}
