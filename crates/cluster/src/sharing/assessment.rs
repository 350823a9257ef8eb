//! All that is known about the sharing of one disk.

use serde::{Deserialize, Serialize};

use super::{Class, Evidence};

/// Evidence, and what of the disk it is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The region, by its name in the layout; `None` for the disk as a whole.
    pub region: Option<String>,
    /// What was seen.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// All that is known about the sharing of one disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// What the operator calls it, as `/dev/sdb`.
    pub disk: String,
    /// What it can be confirmed by, the best first: WWN, serial number; the name of a file.
    pub ids: Vec<String>,
    /// What was seen.
    pub findings: Vec<Finding>,
}

impl Assessment {
    /// A disk of which nothing was seen yet.
    pub fn new(disk: impl Into<String>, ids: Vec<String>) -> Self {
        Self { disk: disk.into(), ids, findings: Vec::new() }
    }

    /// Takes up evidence, once.
    pub fn add(&mut self, region: Option<&str>, evidence: Evidence) {
        let finding = Finding { region: region.map(str::to_owned), evidence };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// The class of the disk with all of its regions.
    pub fn class(&self) -> Class {
        self.class_over(|_| true)
    }

    /// The class of one region: what is said of it, and of the disk as a whole.
    pub fn class_of(&self, region: &str) -> Class {
        Class::of(self.about(|name| name == region).map(|finding| &finding.evidence))
    }

    /// The greatest class of all that is touched: the disk as a whole, and the regions for which `is_touched`.
    pub fn class_over(&self, is_touched: impl Fn(&str) -> bool) -> Class {
        let regions = self.findings.iter().filter_map(|finding| finding.region.as_deref());
        let of_regions = regions.filter(|region| is_touched(region)).map(|region| self.class_of(region));
        let of_disk = Class::of(self.about(|_| false).map(|finding| &finding.evidence));
        of_regions.fold(of_disk, Class::max)
    }

    /// What is said of the disk as a whole, and of the regions for which `is_meant`.
    pub fn about(&self, is_meant: impl Fn(&str) -> bool) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.region.as_deref().is_none_or(&is_meant))
    }

    /// Whether it is reserved, or keys are registered.
    pub fn is_registered(&self) -> bool {
        self.findings.iter().any(|finding| finding.evidence.number() == 1)
    }

    /// What it can best be confirmed by.
    pub fn id(&self) -> &str {
        self.ids.first().map_or(&self.disk, String::as_str)
    }

    /// Whether an operator has named it, knowing what it is.
    pub fn is_confirmed(&self, confirmed: &[String]) -> bool {
        let none: &[String] = std::slice::from_ref(&self.disk);
        let ids = if self.ids.is_empty() { none } else { &self.ids };
        ids.iter().any(|id| !id.is_empty() && confirmed.contains(id))
    }
}
