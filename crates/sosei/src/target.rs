//! Where a repository is, as an operator writes it.

use std::path::{Path, PathBuf};

use image::Store;
use repository::DirectoryStore;
use rust_i18n::t;

use crate::failure::Failure;

/// A target that is open.
pub struct Target {
    /// Its files.
    pub store: Box<dyn Store>,
    /// Its directory on this machine, where it has one.
    pub directory: Option<PathBuf>,
}

/// Opens a target.
pub fn open(text: &str) -> Result<Target, Failure> {
    // "nfs://…", "usb:LABEL": another kind of target, not a directory with a strange name. A path
    // with a colon in it can still be written as ./path.
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    if let Some(scheme) = scheme.filter(|scheme| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return Err(Failure::usage("target-unknown", &t!("failure.target_unknown", target = text, scheme = scheme)));
    }
    match DirectoryStore::open(Path::new(text)) {
        Ok(store) => {
            let directory = Some(store.root().to_owned());
            Ok(Target { store: Box::new(store), directory })
        }
        Err(error) => Err(Failure::target_absent(text, &error)),
    }
}
