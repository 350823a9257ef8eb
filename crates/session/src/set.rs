//! The images of all nodes of a cluster that belong together.

use image::{Manifest, Store};
use serde::Serialize;

use crate::error::Result;
use crate::examine::{found_in, mirrored_regions};
use crate::index::read_index;
use crate::progress::{Cancel, Observer};
use crate::repository::{list_images, open_repository};
use crate::restore::{MirrorHalf, halves_of_image};

/// What a set consists of, and why it may not be restored as one.
#[derive(Debug, Default)]
pub struct SetReport {
    /// Its images, in the order of their names.
    pub images: Vec<SetImage>,
    /// What speaks against restoring all nodes from it.
    pub problems: Vec<SetProblem>,
}

/// An image of a set.
#[derive(Debug)]
pub struct SetImage {
    /// The image.
    pub manifest: Manifest,
    /// The halves of mirrors in it.
    pub halves: Vec<MirrorHalf>,
}

/// Why the images of a set do not belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum SetProblem {
    /// An image can't be read.
    Unreadable {
        /// The image.
        image: String,
        /// Why.
        detail: String,
    },
    /// There is one image only.
    Alone {
        /// The image.
        image: String,
    },
    /// Two images of the same machine.
    SameHost {
        /// The images.
        images: [String; 2],
        /// The name of the machine.
        host: String,
    },
    /// No other image holds the other half.
    NoPeer {
        /// Image, disk and region.
        half: String,
    },
    /// The halves hold different generations of data.
    Generations {
        /// Image, disk and region of the half with the newer data.
        newer: String,
        /// That of the half with the older data.
        older: String,
    },
    /// A half was not shut down in order.
    Unclean {
        /// Image, disk and region.
        half: String,
    },
    /// A file system was in use.
    NotClean {
        /// Image, disk and region.
        region: String,
        /// What was seen.
        detail: String,
    },
}

/// Reads all images of a set.
///
/// # Errors
/// Where the repository can't be read. A set without images is an empty report.
pub fn read_set(store: &dyn Store, set: &str, observer: &dyn Observer, cancel: &Cancel) -> Result<SetReport> {
    open_repository(store)?;
    let index = read_index(store, observer, cancel)?;
    let mut report = SetReport::default();
    for listed in list_images(store)? {
        let manifest = match listed.manifest {
            Some(Ok(manifest)) if manifest.set.as_deref() == Some(set) => manifest,
            Some(Ok(_)) | None => continue,
            // It may belong to the set; nobody can say.
            Some(Err(error)) => {
                report
                    .problems
                    .push(SetProblem::Unreadable { image: listed.name.to_string(), detail: error.to_string() });
                continue;
            }
        };
        let problems = &mut report.problems;
        let halves = halves_of_image(store, &index, &manifest, &mut |_, error| match error.is_damage() {
            true => {
                problems.push(SetProblem::Unreadable { image: manifest.image.to_string(), detail: error.to_string() });
                Ok(())
            }
            false => Err(error),
        })?;
        report.images.push(SetImage { manifest, halves });
    }
    let found = find_problems(&report.images);
    report.problems.extend(found);
    Ok(report)
}

fn find_problems(images: &[SetImage]) -> Vec<SetProblem> {
    let mut problems = Vec::new();
    if let [only] = images {
        problems.push(SetProblem::Alone { image: only.manifest.image.to_string() });
    }
    for (number, image) in images.iter().enumerate() {
        problems.extend(same_host(image, images.get(..number).unwrap_or_default()));
        let others = || images.iter().enumerate().filter(|(other, _)| *other != number).map(|(_, image)| image);
        for half in &image.halves {
            problems.extend(check_half(image, half, others()));
        }
        for (disk, region) in
            image.manifest.disks.iter().flat_map(|disk| disk.regions.iter().map(move |region| (disk, region)))
        {
            let place = format!("{}: {}:{}", image.manifest.image, disk.name, region.name);
            let reason =
                region.coverage.reason.as_deref().filter(|reason| matches!(*reason, "not-clean" | "hibernated"));
            let detail = reason.map(|_| region.coverage.detail.clone().unwrap_or_default());
            let note = region.notes.iter().find(|note| note.code == "not-clean").map(|note| note.detail.clone());
            problems.extend(detail.or(note).map(|detail| SetProblem::NotClean { region: place, detail }));
        }
    }
    problems
}

fn same_host(image: &SetImage, before: &[SetImage]) -> Option<SetProblem> {
    let (host, product) = (image.manifest.machine.host_name.as_ref()?, &image.manifest.machine.uuid);
    let same = before.iter().find(|other| {
        let machine = &other.manifest.machine;
        machine.uuid.is_some() && machine.uuid == *product
    })?;
    let images = [same.manifest.image.to_string(), image.manifest.image.to_string()];
    Some(SetProblem::SameHost { images, host: host.clone() })
}

fn check_half<'a>(
    image: &SetImage,
    half: &MirrorHalf,
    others: impl Iterator<Item = &'a SetImage> + Clone,
) -> Vec<SetProblem> {
    let mut problems = Vec::new();
    let name = |image: &SetImage, half: &MirrorHalf| format!("{}: {}", image.manifest.image, half.place());
    let own = &half.metadata;
    if own.was_in_use() {
        problems.push(SetProblem::Unclean { half: name(image, half) });
    }
    let mut peers = others.flat_map(|other| other.halves.iter().map(move |half| (other, half)));
    if peers.clone().any(|(_, peer)| own.is_of_same_generation(&peer.metadata)) {
        return problems;
    }
    if let Some((other, peer)) = peers.clone().find(|(_, peer)| own.is_newer_than(&peer.metadata)) {
        problems.push(SetProblem::Generations { newer: name(image, half), older: name(other, peer) });
    } else if !peers.any(|(_, peer)| peer.metadata.is_newer_than(own)) {
        problems.push(SetProblem::NoPeer { half: name(image, half) });
    }
    problems
}

/// The two halves of a mirror in images of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// The mirror resource, where a configuration names it.
    pub resource: Option<String>,
    /// The halves.
    pub halves: [PairHalf; 2],
    /// Whether both have the same length, as they must. Their places may differ.
    pub is_equal: bool,
}

/// A half, as far as its place matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairHalf {
    /// The image.
    pub image: String,
    /// Disk and region, as `sda:p1`.
    pub region: String,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// The mirrors that have halves in two images: those that DRBD's own metadata tie together, and those that both
/// configurations call by one name.
pub fn pairs_of(report: &SetReport) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (number, one) in report.images.iter().enumerate() {
        for other in report.images.iter().skip(number.saturating_add(1)) {
            for half in &one.halves {
                let is_related = |peer: &&MirrorHalf| {
                    let (own, peer) = (&half.metadata, &peer.metadata);
                    own.is_of_same_generation(peer) || own.is_newer_than(peer) || peer.is_newer_than(own)
                };
                if let Some(peer) = other.halves.iter().find(is_related)
                    && let (Some(a), Some(b)) = (half_of_mirror(one, half), half_of_mirror(other, peer))
                {
                    let is_equal = half.metadata.data_bytes == peer.metadata.data_bytes;
                    pairs.push(Pair { resource: None, halves: [a, b], is_equal });
                }
            }
            pairs.extend(pairs_by_name(one, other));
        }
    }
    pairs
}

fn half_of_mirror(image: &SetImage, half: &MirrorHalf) -> Option<PairHalf> {
    let (region, _) = image.manifest.disk(&half.disk)?.region(&half.region)?;
    let image = image.manifest.image.to_string();
    let (start, length) = (region.extent.start(), half.metadata.data_bytes);
    Some(PairHalf { image, region: half.place(), start, length })
}

fn pairs_by_name(one: &SetImage, other: &SetImage) -> Vec<Pair> {
    let named = |image: &SetImage| {
        let regions = mirrored_regions(&image.manifest, &found_in(&image.manifest));
        let halves = regions.into_iter().filter_map(|(name, disk, region)| {
            let half = PairHalf {
                image: image.manifest.image.to_string(),
                region: format!("{}:{}", disk.name, region.name),
                start: region.extent.start(),
                length: region.extent.length(),
            };
            Some((name?, half))
        });
        halves.collect::<Vec<_>>()
    };
    let others = named(other);
    let pair = |(name, half): (String, PairHalf)| {
        let (_, peer) = others.iter().find(|(other, _)| *other == name)?;
        let is_equal = half.length == peer.length;
        Some(Pair { resource: Some(name), halves: [half, peer.clone()], is_equal })
    };
    named(one).into_iter().filter_map(pair).collect()
}
