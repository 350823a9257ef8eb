//! Which regions are meant by the names that an operator gives: `p1`, or `sda:p1`.

use layout::Layout;

use crate::error::{RequestError, Result};

/// Regions by the name of their disk and their own; all, where none was named.
#[derive(Debug)]
pub struct Selection {
    chosen: Option<Vec<(String, String)>>,
}

impl Selection {
    /// The regions that `names` mean, among those of `disks`.
    ///
    /// # Errors
    /// For a name that no region has, or several disks have.
    pub fn new<'a>(names: &[String], disks: impl Iterator<Item = (&'a str, &'a Layout)>) -> Result<Self> {
        if names.is_empty() {
            return Ok(Self { chosen: None });
        }
        let known = known_regions(disks);
        let chosen: Result<_> = names.iter().map(|name| find(name, &known)).collect();
        Ok(Self { chosen: Some(chosen?) })
    }

    /// Whether the region is meant.
    pub fn contains(&self, disk: &str, region: &str) -> bool {
        self.chosen.as_ref().is_none_or(|chosen| chosen.iter().any(|(d, r)| d == disk && r == region))
    }
}

/// Every region of the disks: name of the disk, name of the region.
pub fn known_regions<'a>(disks: impl Iterator<Item = (&'a str, &'a Layout)>) -> Vec<(String, String)> {
    disks
        .flat_map(|(disk, layout)| layout.regions.iter().map(move |region| (disk.to_owned(), region.name.clone())))
        .collect()
}

/// The one region that `name` means.
pub fn find(name: &str, known: &[(String, String)]) -> Result<(String, String)> {
    let matches = |(disk, region): &&(String, String)| match name.split_once(':') {
        Some((d, r)) => d == disk && r == region,
        None => name == region,
    };
    let found: Vec<_> = known.iter().filter(matches).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let known: Vec<_> = known.iter().map(|(disk, region)| format!("{disk}:{region}")).collect();
            Err(RequestError::NoRegion { name: name.to_owned(), known: known.join(" ") }.into())
        }
        _ => Err(RequestError::AmbiguousRegion(name.to_owned()).into()),
    }
}
