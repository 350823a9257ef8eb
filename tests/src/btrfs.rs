//! Btrfs of one or several devices in files, and what btrfs-progs says of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use block::{Extents, InRegion, RegionExtent};
use filesystem::{Survey, survey};
use tempfile::TempDir;

use crate::{FileDisk, LoopDevice, Mounted, run};

/// Stripes of the profiles in which stripes take turns.
const STRIPE: u64 = 64 << 10;
const SECTOR: u64 = 4096;

/// A file system, one file a device.
pub struct BtrfsImage {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// Where they lie.
    pub directory: TempDir,
}

/// A mounted file system with its devices.
pub struct BtrfsMounted {
    mounted: Mounted,
    _devices: Vec<LoopDevice>,
}

impl BtrfsMounted {
    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.mounted.path()
    }
}

/// A chunk by the words of btrfs-progs.
#[derive(Debug, Default)]
struct Chunk {
    logical: u64,
    length: u64,
    kind: String,
    /// Number of the device and first byte on it.
    stripes: Vec<(u64, u64)>,
}

impl BtrfsImage {
    /// Files of `size` bytes without anything in them.
    pub fn empty(devices: usize, size: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (1..=devices).map(|number| directory.path().join(format!("device-{number}"))).collect();
        paths.iter().for_each(|path| File::create(path).unwrap().set_len(size).unwrap());
        Self { paths, directory }
    }

    /// Makes a file system of `devices` devices of `size` bytes with options of mkfs.btrfs.
    ///
    /// # Panics
    /// As all of these functions, where a tool fails.
    pub fn make(devices: usize, size: u64, options: &str) -> Self {
        let image = Self::empty(devices, size);
        let paths = image.paths.iter().map(|path| path.display().to_string());
        run("mkfs.btrfs", ["-q".to_owned()].into_iter().chain(words(options)).chain(paths));
        image
    }

    /// Attaches all devices.
    pub fn attach(&self) -> Vec<LoopDevice> {
        self.paths.iter().map(|path| LoopDevice::attach(path, 512)).collect()
    }

    /// Mounts it with `options`, for example `ro`.
    pub fn mount(&self, options: &str) -> BtrfsMounted {
        let devices = self.attach();
        let names = devices.iter().map(|device| format!("device={}", device.path().display()));
        let options: Vec<_> = [options.to_owned()].into_iter().chain(names).collect();
        let mounted = Mounted::new(devices[0].path(), &options.join(","));
        BtrfsMounted { mounted, _devices: devices }
    }

    /// What is in use on device `index`.
    pub fn survey(&self, index: usize) -> Survey {
        survey(&FileDisk::open(&self.paths[index]))
    }

    fn dump(&self, arguments: &[&str]) -> String {
        let devices = self.attach();
        let device = devices[0].path().display().to_string();
        run("btrfs", ["inspect-internal", "dump-tree"].iter().chain(arguments).copied().chain([device.as_str()]))
    }

    /// Runs `btrfs check` with data checksums over all devices.
    pub fn check(&self) {
        let devices = self.attach();
        run("btrfs", ["check", "--check-data-csum", &devices[0].path().display().to_string()]);
    }

    /// A field of the superblock of device `index`.
    pub fn field(&self, index: usize, name: &str) -> String {
        let printed = run("btrfs", ["inspect-internal", "dump-super", &self.paths[index].display().to_string()]);
        let line = printed.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name}: {printed}")).split_whitespace().nth(1).unwrap().to_owned()
    }

    /// What btrfs-progs finds in the extent tree, in logical addresses.
    pub fn logical_extents(&self) -> Vec<(u64, u64)> {
        self.extents_of(|_| true)
    }

    /// The tree blocks among them, where the file system has skinny metadata items.
    pub fn tree_blocks(&self) -> Vec<(u64, u64)> {
        self.extents_of(|kind| kind == "METADATA_ITEM")
    }

    fn extents_of(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<(u64, u64)> {
        let node_size: u64 = self.field(0, "nodesize").parse().unwrap();
        let printed = self.dump(&["-t", "extent"]);
        // Keys also stand in lines about the content of items.
        let items = printed.lines().map(str::trim).filter(|line| line.starts_with("item "));
        let keys = items.filter_map(|line| line.split_once(" key (")?.1.split_once(')'));
        let extents = keys.filter_map(|(key, _)| {
            let words: Vec<_> = key.split(' ').collect();
            let length = match words[1] {
                kind if !is_wanted(kind) => return None,
                "EXTENT_ITEM" => words[2].parse().unwrap(),
                "METADATA_ITEM" => node_size,
                _ => return None,
            };
            Some((words[0].parse().unwrap(), length))
        });
        extents.collect()
    }

    /// The blocks and data of the log by btrfs-progs, in logical addresses.
    pub fn log_extents(&self) -> Vec<(u64, u64)> {
        let node_size: u64 = self.field(0, "nodesize").parse().unwrap();
        let mut extents = Vec::new();
        let mut waiting = vec![self.field(0, "log_root")];
        while let Some(root) = waiting.pop() {
            let printed = self.dump(&["-b", &root, "--follow"]);
            for line in printed.lines().map(str::trim) {
                let words: Vec<_> = line.split_whitespace().collect();
                match words.as_slice() {
                    ["leaf" | "node", block, ..] => extents.push((block.parse().unwrap(), node_size)),
                    ["generation", _, "root_dirid", _, "bytenr", root, ..] => waiting.push((*root).to_owned()),
                    ["extent", "data", "disk", "byte", start, "nr", length] if *start != "0" => {
                        extents.push((start.parse().unwrap(), length.parse().unwrap()));
                    }
                    _ => {}
                }
            }
        }
        extents
    }

    fn chunks(&self) -> Vec<Chunk> {
        let printed = self.dump(&["-t", "chunk"]);
        let mut chunks: Vec<Chunk> = Vec::new();
        for line in printed.lines().map(str::trim) {
            let words: Vec<_> = line.split_whitespace().collect();
            if let Some(place) = words.iter().position(|word| *word == "CHUNK_ITEM") {
                let logical = words[place + 1].trim_end_matches(')').parse().unwrap();
                chunks.push(Chunk { logical, ..Chunk::default() });
            }
            let Some(chunk) = chunks.last_mut() else { continue };
            match words.as_slice() {
                ["length", length, "owner", _, "stripe_len", _, "type", kind] => {
                    (chunk.length, chunk.kind) = (length.parse().unwrap(), (*kind).to_owned());
                }
                ["stripe", _, "devid", device, "offset", offset] => {
                    chunk.stripes.push((device.parse().unwrap(), offset.parse().unwrap()));
                }
                _ => {}
            }
        }
        chunks
    }

    /// Where logical addresses lie on all devices, by the number of the device. Sector by sector.
    pub fn mapped(&self, logical: &[(u64, u64)]) -> BTreeMap<u64, Extents<InRegion>> {
        let chunks = self.chunks();
        let mut found: BTreeMap<u64, Vec<RegionExtent>> = BTreeMap::new();
        for (start, length) in logical {
            let chunk =
                chunks.iter().find(|chunk| chunk.logical <= *start && start + length <= chunk.logical + chunk.length);
            let chunk = chunk.unwrap_or_else(|| panic!("{start} in no chunk"));
            for at in (start - chunk.logical..start - chunk.logical + length).step_by(SECTOR as usize) {
                for (device, position, length) in chunk.places(at) {
                    found.entry(device).or_default().push(RegionExtent::between(position, position + length));
                }
            }
        }
        found.into_iter().map(|(device, extents)| (device, extents.into_iter().collect())).collect()
    }

    /// All that chunks take, by the number of the device.
    pub fn device_extents(&self) -> BTreeMap<u64, Extents<InRegion>> {
        let printed = self.dump(&["-t", "dev"]);
        let mut found: BTreeMap<u64, Vec<RegionExtent>> = BTreeMap::new();
        let mut place = None;
        for line in printed.lines().map(str::trim) {
            let words: Vec<_> = line.split_whitespace().collect();
            if let Some(at) = words.iter().position(|word| *word == "DEV_EXTENT") {
                let device: u64 = words[at - 1].trim_start_matches('(').parse().unwrap();
                place = Some((device, words[at + 1].trim_end_matches(')').parse::<u64>().unwrap()));
            }
            if let (Some((device, start)), Some(at)) = (place, words.iter().position(|word| *word == "length")) {
                let length: u64 = words[at + 1].parse().unwrap();
                found.entry(device).or_default().push(RegionExtent::between(start, start + length));
                place = None;
            }
        }
        found.into_iter().map(|(device, extents)| (device, extents.into_iter().collect())).collect()
    }
}

impl Chunk {
    /// Device, first byte and length of all that a sector's bytes are kept in, or needed to tell them.
    fn places(&self, at: u64) -> Vec<(u64, u64, u64)> {
        let count = self.stripes.len() as u64;
        let pick = |number: u64, offset: u64, length: u64| {
            let (device, start) = self.stripes[number as usize];
            (device, start + offset, length)
        };
        let turn = at / STRIPE;
        let in_row = |row: u64| row * STRIPE + at % STRIPE;
        if self.kind.ends_with("RAID0") {
            return vec![pick(turn % count, in_row(turn / count), SECTOR)];
        }
        if self.kind.ends_with("RAID10") {
            let groups = count / 2;
            return (0..2).map(|copy| pick(turn % groups * 2 + copy, in_row(turn / groups), SECTOR)).collect();
        }
        let parities = if self.kind.ends_with("RAID5") { 1 } else { 2 };
        if self.kind.ends_with("RAID5") || self.kind.ends_with("RAID6") {
            let row = turn / (count - parities);
            return (0..count).map(|number| pick(number, row * STRIPE, STRIPE)).collect();
        }
        (0..count).map(|number| pick(number, at, SECTOR)).collect()
    }
}

fn words(options: &str) -> impl Iterator<Item = String> + '_ {
    options.split_whitespace().map(str::to_owned)
}
