//! Which cluster software, storage or system an image holds, by evidence.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::Language;

/// A detector that has evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detected {
    /// Which detector, as `drbd`.
    pub id: String,
    /// What was seen and where.
    pub evidence: Vec<String>,
}

#[derive(Deserialize)]
struct Document {
    detector: Vec<Detector>,
}

#[derive(Deserialize)]
pub(super) struct Detector {
    pub(super) id: String,
    en: String,
    ja: String,
    #[serde(default)]
    any: Vec<String>,
    #[serde(default)]
    all: Vec<String>,
}

// A test reads the data: a program whose data can't be read is never released.
static DETECTORS: LazyLock<Vec<Detector>> = LazyLock::new(|| {
    let document: Result<Document, _> = toml::from_str(include_str!("detectors.toml"));
    document.map(|document| document.detector).unwrap_or_default()
});

#[cfg(test)]
pub(super) fn all() -> &'static [Detector] {
    &DETECTORS
}

impl Detected {
    /// What was detected, in words; its id where a newer program detected it.
    pub fn name(&self, language: Language) -> &str {
        let known = DETECTORS.iter().find(|detector| detector.id == self.id);
        known.map_or(&self.id, |detector| match language {
            Language::En => &detector.en,
            Language::Ja => &detector.ja,
        })
    }
}

/// Every atom of every detector, once.
pub(crate) fn atoms() -> impl Iterator<Item = &'static str> {
    let mut atoms: Vec<&str> =
        DETECTORS.iter().flat_map(|detector| detector.any.iter().chain(&detector.all)).map(String::as_str).collect();
    atoms.sort_unstable();
    atoms.dedup();
    atoms.into_iter()
}

/// The detectors for which there is evidence, in the order of the data. The atoms of `evidence` are in lower case.
pub(crate) fn evaluate(evidence: &BTreeMap<String, Vec<String>>) -> Vec<Detected> {
    let mut found: Vec<Detected> = Vec::new();
    for detector in DETECTORS.iter() {
        let of = |atom: &String| -> Vec<String> {
            if let Some(id) = atom.strip_prefix("detector:") {
                let other = found.iter().find(|found| found.id == id);
                return other.map(|found| found.evidence.clone()).unwrap_or_default();
            }
            evidence.get(&atom.to_lowercase()).cloned().unwrap_or_default()
        };
        let any: Vec<Vec<String>> = detector.any.iter().map(of).collect();
        let all: Vec<Vec<String>> = detector.all.iter().map(of).collect();
        let has_any = detector.any.is_empty() || any.iter().any(|seen| !seen.is_empty());
        let has_all = all.iter().all(|seen| !seen.is_empty());
        let mut seen: Vec<String> = Vec::new();
        for text in any.into_iter().chain(all).flatten() {
            if !seen.contains(&text) {
                seen.push(text);
            }
        }
        if has_any && has_all && !seen.is_empty() {
            found.push(Detected { id: detector.id.clone(), evidence: seen });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(atoms: &[&str]) -> Vec<String> {
        let evidence = atoms.iter().map(|atom| (atom.to_lowercase(), vec![format!("seen {atom}")])).collect();
        evaluate(&evidence).into_iter().map(|detected| detected.id).collect()
    }

    #[test]
    fn the_data_is_whole() {
        assert_eq!(all().len(), 25);
        let mut known: Vec<&str> = Vec::new();
        for detector in all() {
            assert!(!known.contains(&detector.id.as_str()), "{} twice", detector.id);
            let atoms: Vec<_> = detector.any.iter().chain(&detector.all).collect();
            assert!(!atoms.is_empty(), "{}", detector.id);
            for atom in atoms {
                let (kind, rest) = atom.split_once(':').unwrap();
                match kind {
                    "detector" => assert!(known.contains(&rest), "{atom} is not further up"),
                    "file" | "glob" | "dev" => assert!(rest.starts_with('/'), "{atom}"),
                    "reg" => assert!(rest.starts_with("SYSTEM:") || rest.starts_with("SOFTWARE:"), "{atom}"),
                    "clp" | "fs" | "layer" | "gpt-type" | "transport" | "mirror" | "policy" | "lvm" | "windows" => {}
                    _ => panic!("{atom}"),
                }
            }
            known.push(&detector.id);
        }
    }

    #[test]
    fn any_needs_one_and_all_needs_each() {
        assert_eq!(detected(&["clp:md"]), ["clusterpro.mirror", "cluster.any"]);
        assert_eq!(detected(&["clp:sd"]), ["clusterpro.shared", "shared.any", "cluster.any"]);
        let both = ["reg:SYSTEM:Services/ClusDisk", "file:/Windows/Cluster/CLUSDB"];
        assert_eq!(detected(&both), ["wsfc", "shared.any", "cluster.any"]);
        let all = [both[0], both[1], "windows:older-than-6"];
        assert_eq!(detected(&all), ["wsfc", "mscs2003", "shared.any", "cluster.any"]);
        assert_eq!(detected(&["FS:GFS2"]), ["clusterfs", "shared.any", "cluster.any"]);
        assert!(detected(&["fs:ext4"]).is_empty());
    }

    #[test]
    fn every_detector_can_be_reached() {
        for detector in all() {
            let atoms: Vec<&str> = detector.any.iter().take(1).chain(&detector.all).map(String::as_str).collect();
            let ids = detected(&atoms);
            assert!(ids.contains(&detector.id) || atoms.iter().any(|atom| atom.starts_with("detector:")), "{ids:?}");
        }
    }
}
