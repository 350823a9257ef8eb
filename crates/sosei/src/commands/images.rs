//! `sosei images`: what a repository holds.

use crate::language::t;
use serde_json::{Value, json};
use session::{Cancel, Listed, list_images, open_repository};

use crate::arguments::General;
use crate::failure::{DAMAGED, DONE, Failure};
use crate::output::{bytes, document, line, table};
use crate::progress::Progress;
use crate::target;

/// Lists the images of a repository.
pub fn run(target: &str, general: &General) -> Result<u8, Failure> {
    let target = target::open(target, general, &Progress::new(general), &Cancel::new())?;
    open_repository(&*target.store)?;
    let images = list_images(&*target.store)?;
    let is_damaged = images.iter().any(|image| matches!(image.manifest, Some(Err(_))));
    if general.json {
        document(&json!({ "images": images.iter().map(entry).collect::<Vec<_>>() }));
    } else if images.is_empty() {
        line(t!("images.none", target = target.store.location()));
    } else {
        table(&images.iter().map(row).collect::<Vec<_>>()).iter().for_each(line);
    }
    Ok(if is_damaged { DAMAGED } else { DONE })
}

fn entry(image: &Listed) -> Value {
    match &image.manifest {
        None => json!({ "name": image.name, "state": "unfinished" }),
        Some(Err(error)) => json!({ "name": image.name, "state": "damaged", "reason": error.to_string() }),
        Some(Ok(manifest)) => json!({
            "name": image.name, "state": "whole", "finished": manifest.finished, "set": manifest.set,
            "note": manifest.note, "host_name": manifest.machine.host_name,
            "disks": manifest.disks.iter().map(|disk| &disk.name).collect::<Vec<_>>(), "totals": manifest.totals,
        }),
    }
}

fn row(image: &Listed) -> Vec<String> {
    let name = image.name.to_string();
    match &image.manifest {
        None => vec![name, t!("images.unfinished").into_owned()],
        Some(Err(error)) => vec![name, t!("images.damaged", details = error).into_owned()],
        Some(Ok(manifest)) => {
            let disks: Vec<_> = manifest.disks.iter().map(|disk| disk.name.as_str()).collect();
            vec![
                name,
                manifest.finished.clone(),
                manifest.machine.host_name.clone().unwrap_or_default(),
                disks.join(" "),
                bytes(manifest.totals.saved_bytes),
                manifest.note.clone().unwrap_or_default(),
            ]
        }
    }
}
