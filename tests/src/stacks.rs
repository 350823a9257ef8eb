//! Disks with arrays of md and volume groups of LVM2, and what the tools of both say about them. Nothing is activated
//! or assembled: the kernel of a test machine need not have the drivers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::{Extents, InRegion, RegionExtent, is_zero};
use tempfile::TempDir;

use crate::partclone::used_blocks;
use crate::tool::command;
use crate::{LoopDevice, Mounted, run};

/// The disks of the samples, as `tests/fixtures/make-stacks.sh` makes them.
pub const DISKS: [&str; 4] = ["md", "lvm-a", "lvm-b", "pvmove"];

/// A part of a disk that is a device for somebody: a partition, or all of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The file of the disk.
    pub file: PathBuf,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// Bytes of a volume that lie together on a device: first byte in the volume, number of the device, first byte there,
/// number of bytes.
pub type Piece = (u64, usize, u64, u64);

/// Unpacks a compressed disk into `directory`, holes where there are only zeros.
///
/// # Panics
/// As everything here, where anything fails.
pub fn unpack(name: &str, directory: &Path) -> PathBuf {
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.img.zst"));
    let path = directory.join(format!("{name}.img"));
    let mut decoder = zstd::Decoder::new(BufReader::new(File::open(&packed).unwrap())).unwrap();
    decoder.window_log_max(27).unwrap();
    let file = File::create(&path).unwrap();
    let (mut position, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match decoder.read(&mut buffer[filled..]).unwrap() {
                0 => break,
                length => filled += length,
            }
        }
        if !is_zero(&buffer[..filled]) {
            file.write_all_at(&buffer[..filled], position).unwrap();
        }
        position += filled as u64;
        if filled < buffer.len() {
            file.set_len(position).unwrap();
            return path;
        }
    }
}

/// The partitions of a disk as sfdisk tells them; all of it where it has none.
pub fn places(file: &Path) -> Vec<Place> {
    let whole = Place { file: file.to_owned(), start: 0, length: fs::metadata(file).unwrap().len() };
    let text = file.to_str().unwrap();
    let output = crate::run_status("sfdisk", ["--json", text]);
    let Ok(table) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else { return vec![whole] };
    let partitions = table["partitiontable"]["partitions"].as_array().unwrap();
    let number = |value: &serde_json::Value| value.as_u64().unwrap() * 512;
    let place = |part: &serde_json::Value| Place {
        start: number(&part["start"]),
        length: number(&part["size"]),
        ..whole.clone()
    };
    partitions.iter().map(place).collect()
}

impl Place {
    /// A loop device over it that nobody can write to.
    pub fn device(&self) -> LoopDevice {
        LoopDevice::attach_part(&self.file, self.start, self.length)
    }

    /// Its bytes from `start`.
    pub fn read(&self, start: u64, length: u64) -> Vec<u8> {
        assert!(start + length <= self.length);
        crate::sample::read(&self.file, self.start + start, length)
    }
}

/// LVM's own tools, without device mapper, on devices that are named.
pub struct Lvm {
    directory: TempDir,
    devices: Vec<LoopDevice>,
}

/// What LVM's tools say of a volume group.
#[derive(Debug)]
pub struct Told {
    /// For each device: free extents, as bytes of the device.
    pub free: Vec<Extents<InRegion>>,
    /// Every volume by name that is linear or striped on physical volumes, hidden ones in brackets.
    pub volumes: BTreeMap<String, Vec<Piece>>,
}

impl Lvm {
    /// The tools, for these places.
    pub fn new(places: &[Place]) -> Self {
        Self::of(places.iter().map(Place::device).collect())
    }

    /// A volume group on these disks with one volume: its first byte on the first disk, bytes of the volume.
    pub fn make(disks: &[&Path], first: u64, length: u64) {
        let lvm = Self::of(disks.iter().map(|disk| LoopDevice::attach(disk, 512)).collect());
        let devices: Vec<_> = lvm.devices.iter().map(|device| device.path().to_str().unwrap()).collect();
        lvm.run("pvcreate", &[&["--dataalignment", &format!("{first}b")], &devices[..]].concat());
        lvm.run("vgcreate", &[&["group"], &devices[..]].concat());
        lvm.run("lvcreate", &["-an", "-Zn", "-Wn", "-L", &format!("{length}b"), "-n", "volume", "group"]);
    }

    fn of(devices: Vec<LoopDevice>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = "global { use_lvmlockd = 0 use_lvmpolld = 0 }\nactivation { monitoring = 0 }\n\
            devices { obtain_device_list_from_udev = 0 use_devicesfile = 0 external_device_info_source = \"none\" \
            md_component_detection = 0 }\nbackup { backup = 0 archive = 0 }\n";
        fs::write(directory.path().join("lvm.conf"), text).unwrap();
        Self { directory, devices }
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let devices: Vec<_> = self.devices.iter().map(|device| device.path().to_str().unwrap()).collect();
        let fixed = ["--driverloaded", "n", "--devices", &devices.join(",")].map(str::to_owned);
        let all = fixed.into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned()));
        let mut command = command(program, all);
        command.env("LVM_SYSTEM_DIR", self.directory.path()).env("LVM_SUPPRESS_FD_WARNINGS", "1");
        let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}; `make tools` installs it"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn rows(&self, program: &str, fields: &str, more: &[&str]) -> Vec<Vec<String>> {
        let fixed = ["--noheadings", "--separator", ";", "--units", "b", "--nosuffix", "-o", fields];
        let printed = self.run(program, &fixed.iter().chain(more).copied().collect::<Vec<_>>());
        printed.lines().map(|line| line.trim().split(';').map(str::to_owned).collect()).collect()
    }

    fn device(&self, name: &str) -> usize {
        self.devices.iter().position(|device| device.path().to_str() == Some(name)).unwrap()
    }

    /// What is free and where volumes lie.
    pub fn told(&self) -> Told {
        let mut told = Told { free: vec![Extents::new(); self.devices.len()], volumes: BTreeMap::new() };
        let mut places = BTreeMap::new();
        let fields = "pv_name,pe_start,vg_extent_size,pvseg_start,pvseg_size,lv_name";
        for row in self.rows("pvs", fields, &["--segments"]) {
            let number = |column: usize| row[column].parse::<u64>().unwrap();
            let (device, start, size) = (self.device(&row[0]), number(1), number(2));
            places.insert(device, (start, size));
            if row[5].is_empty() {
                let first = start + number(3) * size;
                told.free[device].insert(RegionExtent::between(first, first + number(4) * size));
            }
        }
        let fields = "lv_name,segtype,seg_start,stripe_size,seg_pe_ranges,seg_size";
        for row in self.rows("lvs", fields, &["-a", "--segments"]) {
            if !matches!(row[1].as_str(), "linear" | "striped") || !row[4].contains("/dev/") {
                continue;
            }
            let number = |column: usize| row[column].parse::<u64>().unwrap();
            let ranges: Vec<(usize, u64)> = row[4]
                .split_whitespace()
                .map(|range| {
                    let (name, extents) = range.split_once(':').unwrap();
                    let device = self.device(name);
                    let (start, size) = places[&device];
                    (device, start + extents.split_once('-').unwrap().0.parse::<u64>().unwrap() * size)
                })
                .collect();
            let pieces = told.volumes.entry(row[0].clone()).or_default();
            let step = if row[1] == "linear" { number(5) } else { number(3) };
            for (turn, first) in (0..number(5)).step_by(step as usize).enumerate() {
                let (device, start) = ranges[turn % ranges.len()];
                let row = (turn / ranges.len()) as u64;
                pieces.push((number(2) + first, device, start + row * step, step));
            }
        }
        told
    }

    /// Everything that the tools know of the groups, in no order of devices: segments with their places on devices, and UUIDs.
    pub fn report(&self) -> Vec<Vec<String>> {
        let mut rows = self.rows("pvs", "pv_uuid,vg_uuid,vg_seqno,pvseg_start,pvseg_size,lv_name", &["--segments"]);
        rows.extend(self.rows("lvs", "lv_name,lv_uuid,segtype,seg_start,seg_size,stripes", &["-a", "--segments"]));
        self.run("vgck", &[]);
        rows.sort();
        rows
    }
}

/// Copies a volume into a file of its own.
pub fn extract(places: &[Place], pieces: &[Piece], to: &Path) {
    let file = File::create(to).unwrap();
    for (position, device, start, length) in pieces {
        let bytes = places[*device].read(*start, *length);
        if !is_zero(&bytes) {
            file.write_all_at(&bytes, *position).unwrap();
        }
        let end = file.metadata().unwrap().len().max(position + length);
        file.set_len(end).unwrap();
    }
}

/// What is free in the ext4 that a volume holds, by partclone, as bytes of each device.
pub fn free_on_devices(image: &Path, pieces: &[Piece], devices: usize) -> Vec<Extents<InRegion>> {
    let (block_size, used) = used_blocks("partclone.extfs", image);
    let size = fs::metadata(image).unwrap().len() / u64::from(block_size) * u64::from(block_size);
    let free = used.complement(RegionExtent::between(0, size));
    let mut found = vec![Extents::new(); devices];
    for (position, device, start, length) in pieces {
        for extent in free.overlapping(RegionExtent::between(*position, position + length)) {
            let place = |byte: u64| byte - position + start;
            found[*device].insert(RegionExtent::between(place(extent.start()), place(extent.end())));
        }
    }
    found
}

/// What `mdadm --examine` says of a member, without the name of the device.
pub fn examine(place: &Place) -> BTreeMap<String, String> {
    let device = place.device();
    let printed = run("mdadm", ["--examine", device.path().to_str().unwrap()]);
    let pairs = printed.lines().skip(1).filter_map(|line| line.split_once(" : "));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

/// Where the data of a member of a mirror lies, by what mdadm says.
pub fn data_of(examined: &BTreeMap<String, String>) -> (u64, u64) {
    let number =
        |name: &str| examined.get(name).map(|value| value.split_whitespace().next().unwrap().parse::<u64>().unwrap());
    (number("Data Offset").unwrap_or_default() * 512, number("Array Size").unwrap() * 1024)
}

/// The files of the samples by the name of what they are in: path and MD5 as the virtual machine saw them.
pub fn expected_files(name: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stacks.md5")).unwrap();
    let prefix = format!("{name} ");
    let found: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect();
    assert!(found.len() > 5, "{name}");
    found
}

/// The checker finds nothing in the ext4 of `image`, and its files are those that the virtual machine wrote.
pub fn check_ext4(image: &Path, name: &str) {
    run("e2fsck", ["-f", "-n", image.to_str().unwrap()]);
    let mounted = Mounted::new(image, "loop,ro");
    let directory = mounted.path().join(name);
    for line in expected_files(name) {
        let (digest, path) = line.split_once("  ").unwrap();
        let path = directory.parent().unwrap().join(path);
        let found = run("md5sum", [path.to_str().unwrap()]);
        assert_eq!(found.split_whitespace().next(), Some(digest), "{}", path.display());
    }
}
