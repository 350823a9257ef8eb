//! Disks of servers in files: tables by the real tools, file systems filled through the kernel, bytes of boot
//! loaders and cluster software between them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::{Extents, InRegion, RegionExtent};
use tempfile::TempDir;

use crate::fill::{content, fill};
use crate::ntfs::{NtfsMounted, make_ntfs};
use crate::partclone::used_blocks;
use crate::restored::{FILL, tree};
use crate::{LoopDevice, Mounted, run, run_status, run_with_input};

/// 1 MiB.
pub const MIB: u64 = 1 << 20;

/// What a partition of a sample holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// FAT by mkfs.fat and mtools.
    Fat,
    /// ext3 by mke2fs and the kernel.
    Ext3,
    /// ext4 by mke2fs and the kernel.
    Ext4,
    /// XFS by mkfs.xfs and the kernel.
    Xfs,
    /// NTFS by mkntfs and ntfs-3g.
    Ntfs,
    /// Swap space by mkswap.
    Swap,
    /// Bytes that no tool knows, all different.
    Raw,
}

/// A partition of a sample.
#[derive(Debug)]
pub struct Part {
    /// Its name in images.
    pub name: &'static str,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What it holds.
    pub content: Content,
    /// Its files, where it has any.
    pub tree: BTreeMap<PathBuf, String>,
    /// The bytes that independent tools count as used.
    pub used: Extents<InRegion>,
}

/// A disk in a file.
pub struct SampleDisk {
    /// Where the file is.
    pub path: PathBuf,
    /// Its partitions.
    pub parts: Vec<Part>,
    directory: TempDir,
}

/// A disk as the program is given it.
pub enum Given {
    /// A regular file.
    File(PathBuf),
    /// A loop device over a file.
    Device(LoopDevice),
}

impl Given {
    /// A loop device with sectors of this size, or the file itself.
    pub fn new(file: &Path, sector_size: Option<u32>) -> Self {
        match sector_size {
            Some(sector_size) => Self::Device(LoopDevice::attach(file, sector_size)),
            None => Self::File(file.to_owned()),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Device(device) => device.path(),
        }
    }

    /// Its path as an argument.
    pub fn text(&self) -> &str {
        self.path().to_str().unwrap()
    }

    /// What `sfdisk --dump` says of it, without its path.
    pub fn dump(&self) -> String {
        run("sfdisk", ["--dump", self.text()]).replace(self.text(), "DISK")
    }
}

impl SampleDisk {
    /// A disk of `size` bytes of zeros in a file `name`.
    ///
    /// # Panics
    /// As all makers of samples, where anything fails.
    pub fn new(name: &str, size: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        Self { path, parts: Vec::new(), directory }
    }

    /// Its path as an argument.
    pub fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Divides it by a script of sfdisk, whose starts and sizes may be written as `1MiB`.
    pub fn divide(&self, sector_size: u32, script: &str) {
        let given = Given::new(&self.path, (sector_size != 512).then_some(sector_size));
        let arguments = ["--quiet", "--no-reread", "--no-tell-kernel", given.text()];
        run_with_input("sfdisk", arguments, script.as_bytes());
    }

    /// Divides it by sgdisk.
    pub fn sgdisk(&self, arguments: &[&str]) {
        run("sgdisk", arguments.iter().copied().chain([self.text()]));
    }

    /// Overwrites bytes.
    pub fn write(&self, start: u64, bytes: &[u8]) {
        OpenOptions::new().write(true).open(&self.path).unwrap().write_all_at(bytes, start).unwrap();
    }

    /// Makes what a partition holds and puts it in its place.
    pub fn add(&mut self, name: &'static str, start: u64, size: u64, content: Content, sector_size: u32) {
        let image = self.directory.path().join(format!("{name}.part"));
        make(&image, size, content, sector_size, start);
        let mut part = Part { name, start, size, content, tree: BTreeMap::new(), used: Extents::new() };
        part.tree = files(&image, content);
        part.used = used(&image, content);
        copy(&image, 0, size, &self.path, start);
        fs::remove_file(&image).unwrap();
        self.parts.push(part);
    }

    /// The partition of this name.
    pub fn part(&self, name: &str) -> &Part {
        self.parts.iter().find(|part| part.name == name).unwrap()
    }

    /// Its size.
    pub fn size(&self) -> u64 {
        fs::metadata(&self.path).unwrap().len()
    }

    /// A file of `size` bytes beside it, full of [`FILL`].
    pub fn destination(&self, name: &str, size: u64) -> PathBuf {
        let path = self.directory.path().join(name);
        let file = File::create(&path).unwrap();
        let filling = vec![FILL; MIB as usize];
        for start in (0..size).step_by(MIB as usize) {
            file.write_all_at(&filling[..MIB.min(size - start) as usize], start).unwrap();
        }
        path
    }
}

/// Reads bytes of a file.
pub fn read(path: &Path, start: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    File::open(path).unwrap().read_exact_at(&mut bytes, start).unwrap();
    bytes
}

/// Copies bytes between files, holes where there are only zeros. `to` must hold zeros, or not exist.
pub fn copy(from: &Path, from_start: u64, length: u64, to: &Path, to_start: u64) {
    let source = File::open(from).unwrap();
    let destination = OpenOptions::new().write(true).create(true).truncate(false).open(to).unwrap();
    let mut buffer = vec![0; MIB as usize];
    for position in (0..length).step_by(MIB as usize) {
        let piece = &mut buffer[..MIB.min(length - position) as usize];
        source.read_exact_at(piece, from_start + position).unwrap();
        if !block::is_zero(piece) {
            destination.write_all_at(piece, to_start + position).unwrap();
        }
    }
    let end = destination.metadata().unwrap().len().max(to_start + length);
    destination.set_len(end).unwrap();
}

fn make(image: &Path, size: u64, kind: Content, sector_size: u32, start: u64) {
    let path = image.to_str().unwrap();
    File::create(image).unwrap().set_len(size).unwrap();
    let sector = sector_size.to_string();
    match kind {
        Content::Fat => {
            // FAT32 begins at 65525 allocation units, which are at least a sector.
            let bits = if sector_size == 512 { "32" } else { "16" };
            let hidden = (start / u64::from(sector_size)).to_string();
            run("mkfs.fat", ["-F", bits, "-s", "1", "-S", &sector, "-h", &hidden, path]);
            fill_fat(path);
        }
        Content::Ext3 | Content::Ext4 => {
            let name = if kind == Content::Ext3 { "ext3" } else { "ext4" };
            run("mke2fs", ["-q", "-F", "-t", name, "-L", "根", path]);
            fill(Mounted::new(image, "loop").path());
        }
        Content::Xfs => {
            // The environment lifts the limits for ordinary users.
            let lifted = ["TEST_DIR=/", "TEST_DEV=/", "QA_CHECK_FS=1", "mkfs.xfs", "-q", "-f", "-s"];
            run("env", lifted.into_iter().chain([format!("size={sector}").as_str(), "-L", "data", path]));
            fill(Mounted::new(image, "loop,nouuid").path());
        }
        Content::Ntfs => {
            make_ntfs(image, size, &["-s", &sector, "-L", "システム"]);
            fill_ntfs(NtfsMounted::new(image, "rw").path());
        }
        Content::Swap => drop(run("mkswap", ["-q", path])),
        Content::Raw => fs::write(image, content(start + 1, size as usize)).unwrap(),
    }
}

/// Sixty files of growing size, every third deleted, and one in the holes left.
fn fill_fat(path: &str) {
    let mtool = |name: &str, arguments: &[&str]| {
        run("env", ["MTOOLS_SKIP_CHECK=1", name, "-i", path].iter().chain(arguments));
    };
    let directory = tempfile::tempdir().unwrap();
    let sub = directory.path().join("EFI");
    fs::create_dir(&sub).unwrap();
    for number in 0..60 {
        fs::write(sub.join(format!("a long name {number:02}.efi")), content(number, 1000 * number as usize)).unwrap();
    }
    mtool("mcopy", &["-s", sub.to_str().unwrap(), "::"]);
    for number in (0..60).step_by(3) {
        mtool("mdel", &[&format!("::/EFI/a long name {number:02}.efi")]);
    }
    let large = directory.path().join("large");
    fs::write(&large, content(99, 900_000)).unwrap();
    mtool("mcopy", &[large.to_str().unwrap(), "::"]);
}

/// Files in pieces between each other, every third one deleted again.
fn fill_ntfs(mounted: &Path) {
    fs::create_dir(mounted.join("Windows")).unwrap();
    for round in 0..3 {
        for number in 0..30_u64 {
            let path = mounted.join(format!("Windows/grown {number:02}"));
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            std::io::Write::write_all(&mut file, &content(number + round, 700 * (number as usize + 1))).unwrap();
        }
    }
    for number in 0..60 {
        fs::write(mounted.join(format!("Windows/small {number:02}")), content(number, 20 * number as usize)).unwrap();
    }
    (0..30).step_by(3).for_each(|number| fs::remove_file(mounted.join(format!("Windows/grown {number:02}"))).unwrap());
    fs::write(mounted.join("large"), content(7, 3_000_000)).unwrap();
    fs::write(mounted.join("名前.txt"), "日本語").unwrap();
}

/// Every file of the file system in `image`.
pub fn files(image: &Path, kind: Content) -> BTreeMap<PathBuf, String> {
    match kind {
        Content::Ext3 | Content::Ext4 => tree(Mounted::new(image, "loop,ro").path()),
        Content::Xfs => tree(Mounted::new(image, "loop,ro,nouuid").path()),
        Content::Ntfs => tree(NtfsMounted::new(image, "ro").path()),
        Content::Fat => {
            let directory = tempfile::tempdir().unwrap();
            let arguments = ["MTOOLS_SKIP_CHECK=1", "mcopy", "-s", "-n", "-i", image.to_str().unwrap(), "::/"];
            run("env", arguments.into_iter().chain([directory.path().to_str().unwrap()]));
            tree(directory.path())
        }
        Content::Swap | Content::Raw => BTreeMap::new(),
    }
}

/// The bytes that partclone saves; the signature of swap space; all of what no tool knows.
fn used(image: &Path, kind: Content) -> Extents<InRegion> {
    let program = match kind {
        Content::Fat => "partclone.fat",
        Content::Ext3 | Content::Ext4 => "partclone.extfs",
        Content::Xfs => "partclone.xfs",
        Content::Ntfs => "partclone.ntfs",
        Content::Swap => return RegionExtent::between(0, 4096).into(),
        Content::Raw => return RegionExtent::between(0, fs::metadata(image).unwrap().len()).into(),
    };
    used_blocks(program, image).1
}

/// Lets the file system's own checker look at `image`.
///
/// # Panics
/// Where it finds anything.
pub fn check(image: &Path, kind: Content) {
    let path = image.to_str().unwrap();
    let (program, arguments): (&str, &[&str]) = match kind {
        Content::Fat => ("fsck.fat", &["-n"]),
        Content::Ext3 | Content::Ext4 => ("e2fsck", &["-f", "-n"]),
        Content::Xfs => ("xfs_repair", &["-n"]),
        Content::Ntfs => ("ntfsfix", &["-n"]),
        Content::Swap => ("swaplabel", &[]),
        Content::Raw => return,
    };
    let output = run_status(program, arguments.iter().copied().chain([path]));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{program}: {printed}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The first disk of a server that boots by UEFI: every kind of partition of a Linux cluster node, and bytes of a
/// boot loader outside of them.
pub fn gpt_disk(name: &str, sector_size: u32) -> SampleDisk {
    let mut disk = SampleDisk::new(name, 184 * MIB);
    let script = "label: gpt\n\
        start=1MiB, size=40MiB, type=U, name=\"EFIシステム\"\n\
        start=41MiB, size=64MiB, type=L, name=root\n\
        start=105MiB, size=64MiB, type=L, attrs=\"GUID:60\"\n\
        start=169MiB, size=8MiB, type=S\n\
        start=177MiB, size=4MiB, type=0C0C0C0C-1111-2222-3333-444455556666, name=\"クラスタパーティション\"\n";
    disk.divide(sector_size, script);
    disk.write(0, &content(1, 440));
    disk.write(64 << 10, &content(2, 100_000));
    disk.write(182 * MIB + 777, &content(3, 5000));
    disk.add("p1", MIB, 40 * MIB, Content::Fat, sector_size);
    disk.add("p2", 41 * MIB, 64 * MIB, Content::Ext4, sector_size);
    disk.add("p3", 105 * MIB, 64 * MIB, Content::Xfs, sector_size);
    disk.add("p4", 169 * MIB, 8 * MIB, Content::Swap, sector_size);
    disk.add("p5", 177 * MIB, 4 * MIB, Content::Raw, sector_size);
    disk
}

/// A disk of the days before: MBR with boot code, a primary partition and two logical ones.
pub fn mbr_disk(name: &str, sector_size: u32) -> SampleDisk {
    let mut disk = SampleDisk::new(name, 136 * MIB);
    let script = "label: dos\n\
        start=1MiB, size=48MiB, type=7, bootable\n\
        start=49MiB, size=87MiB, type=f\n\
        start=50MiB, size=40MiB, type=c\n\
        start=91MiB, size=32MiB, type=83\n";
    disk.divide(sector_size, script);
    disk.write(0, &content(11, 440));
    disk.write(8192, &content(12, 40_000));
    disk.write(49 * MIB + 300_000, &content(13, 3000));
    disk.add("p1", MIB, 48 * MIB, Content::Ntfs, sector_size);
    disk.add("p5", 50 * MIB, 40 * MIB, Content::Fat, sector_size);
    disk.add("p6", 91 * MIB, 32 * MIB, Content::Ext3, sector_size);
    disk
}
