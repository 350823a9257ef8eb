//! What the fuzzers and their smoke test do with one input: lay it over a small real sample, let the parser read it,
//! and check what must hold for any bytes.
//!
//! An input is a list of patches. Its first byte chooses the sample (or none: then the rest of the input is all there
//! is); each patch is a page and a place in it (16 bits each, little-endian), a length and the bytes. Pages are counted
//! among those that hold something, so that patches hit metadata and not emptiness.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use block::{Disk, DiskExtent, Extents, InDisk, InRegion, ReadAt, RegionExtent, SectorSize, is_zero};
use filesystem::{Coverage, new_identity, survey};

use crate::fixture::unpack_to;
use crate::tool::run_with_input;
use crate::{FileDisk, Mounted, fuzz_seals, run, stacks};

const PAGE: usize = 4096;
/// The most bytes of one patch.
const PATCH_LIMIT: usize = 32;
/// The most patches of one input.
const PATCHES_LIMIT: usize = 64;
/// More separate extents than this need not be kept apart.
const EXTENTS_LIMIT: usize = 2 << 20;

/// What a parser made of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It understood what it read.
    Understood,
    /// It did not.
    Refused,
}

/// A parser and the samples to bend.
pub struct Subject {
    check: fn(&Bent) -> Outcome,
    samples: Vec<Sample>,
    /// Makes checksums right again that were right in the sample, so that patches get behind them.
    seal: Option<Seal>,
}

/// The patches that make checksums right again.
type Seal = fn(&Bent) -> Vec<(u64, Vec<u8>)>;

impl Subject {
    /// Used bytes of ext2, ext3 and ext4, with and without checksums.
    pub fn ext() -> Self {
        let make = |kind: &'static [&'static str]| {
            Sample::make(4 << 20, move |path| {
                run("mkfs.ext4", ["-q", "-F", "-b", "1024"].iter().chain(kind).chain([&path]));
            })
        };
        Self::of_regions(vec![
            make(&["-O", "^metadata_csum,^metadata_csum_seed,^orphan_file"]),
            make(&["-O", "^has_journal,^metadata_csum,^metadata_csum_seed,^orphan_file,^64bit"]),
            make(&["-O", "bigalloc,^metadata_csum,^metadata_csum_seed,^orphan_file"]),
            make(&[]),
        ])
    }

    /// Swap areas.
    pub fn swap() -> Self {
        Self::of_regions(vec![Sample::make(1 << 20, |path| {
            run("mkswap", [path]);
        })])
    }

    /// Used bytes of NTFS.
    pub fn ntfs() -> Self {
        let make = |unit: &'static str| {
            Sample::make(4 << 20, move |path| {
                run("mkntfs", ["-q", "-Q", "-F", "-s", "512", "-p", "0", "-H", "0", "-S", "0", "-c", unit, path]);
            })
        };
        Self::of_regions(vec![make("4096"), make("512")])
    }

    /// Used bytes of FAT12, FAT16 and FAT32.
    pub fn fat() -> Self {
        let make = |size, bits: &'static str| {
            Sample::make(size, move |path| {
                run("mkfs.fat", ["-F", bits, "-s", "1", path]);
            })
        };
        Self::of_regions(vec![make(1 << 20, "12"), make(8 << 20, "16"), make(40 << 20, "32")])
    }

    /// Used bytes of XFS, versions 4 and 5.
    pub fn xfs() -> Self {
        let make = |options: &'static [&'static str]| {
            Sample::make(64 << 20, move |path| {
                let lifted = ["TEST_DIR=/", "TEST_DEV=/", "QA_CHECK_FS=1", "mkfs.xfs", "-q", "-f"];
                run("env", lifted.iter().chain(options).chain([&path]));
            })
        };
        Self::of_regions(vec![
            make(&["-m", "crc=0"]),
            make(&["-m", "crc=0", "-b", "size=512", "-l", "version=1"]),
            make(&["-m", "rmapbt=1", "-d", "agcount=4"]),
        ])
    }

    /// Volume groups of LVM2, with checksums that are right whatever was bent.
    pub fn lvm() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut sample = Sample::load(&stacks::unpack("lvm-a", directory.path()));
        // Old texts would take most of the patches: only the current one, and the data, are left.
        let header = sample.pages.iter().find(|(number, _)| *number == 1).unwrap();
        let number = |at: usize| u64::from_le_bytes(header.1[at..at + 8].try_into().unwrap());
        let (first, last) = (4096 + number(40), 4096 + number(40) + number(48));
        let text = first / PAGE as u64..=last / PAGE as u64;
        sample.pages.retain(|(number, _)| *number < 2 || *number >= 256 || text.contains(number));
        Self { seal: Some(|bent| fuzz_seals::lvm(bent)), ..Self::of_regions(vec![sample]) }
    }

    /// Members of mirrors of md, with checksums that are right whatever was bent.
    pub fn md() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let disk = stacks::unpack("md", directory.path());
        let places = stacks::places(&disk);
        let member = |number: usize| {
            let place = &places[number - 1];
            let path = directory.path().join(format!("{number}"));
            crate::sample::copy(&disk, place.start, place.length, &path, 0);
            Sample::load(&path)
        };
        Self {
            seal: Some(|bent| fuzz_seals::md(bent)),
            ..Self::of_regions(vec![member(1), member(3), member(5), member(7)])
        }
    }

    /// Metadata of DRBD behind a file system.
    pub fn drbd() -> Self {
        let make = |version: &'static str, more: &'static [&'static str]| {
            Sample::make(8 << 20, move |path| {
                let fixed = ["--force", "0", version, path, "internal"];
                let meta = |rest: &[&str]| {
                    run_with_input("drbdmeta", fixed.iter().chain(rest), b"yes\n");
                };
                meta(&[&["create-md"], more].concat());
                let node: &[&str] = if version == "v09" { &["--node-id", "0"] } else { &[] };
                meta(&[node, &["set-gi", "1111111111111111:0:0:0:1:1"]].concat());
                run("mke2fs", ["-q", "-F", "-t", "ext4", path, "6M"]);
            })
        };
        Self::of_regions(vec![make("v08", &[]), make("v09", &["2"])])
    }

    /// Used bytes of HFS+, with a journal and without.
    pub fn hfsplus() -> Self {
        Self::of_regions(vec![Sample::unpacked("hfsplus"), Sample::unpacked("hfsx")])
    }

    /// Used bytes of JFS.
    pub fn jfs() -> Self {
        let small = |path: &str| {
            run("jfs_mkfs", ["-q", path]);
        };
        Self::of_regions(vec![Sample::make(24 << 20, small), Sample::unpacked("jfs")])
    }

    /// Used bytes of ReiserFS.
    pub fn reiserfs() -> Self {
        let small = |path: &str| {
            run("mkreiserfs", ["-q", "-f", "-f", "-b", "1024", "-s", "513", path]);
        };
        Self::of_regions(vec![Sample::make(10 << 20, small), Sample::unpacked("reiserfs1k")])
    }

    /// Used bytes of UFS2.
    pub fn ufs() -> Self {
        let make = |order: &'static str| {
            Sample::make(2 << 20, move |path| {
                let empty = tempfile::tempdir().unwrap();
                let directory = empty.path().to_str().unwrap();
                run("makefs", ["-t", "ffs", "-B", order, "-s", "2m", "-o", "version=2", path, directory]);
            })
        };
        Self::of_regions(vec![make("le"), make("be")])
    }

    /// Used file blocks of VMFS.
    pub fn vmfs() -> Self {
        Self::of_regions(vec![Sample::make(1 << 20, |path| crate::vmfs::make(Path::new(path)))])
    }

    /// Identities of what is only recognised: NILFS2, ISO 9660 and UDF, which are found by following numbers.
    pub fn foreign() -> Self {
        let make = |size, command: &'static [&'static str]| {
            Sample::make(size, move |path| {
                run(command[0], command[1..].iter().chain([&path]));
            })
        };
        let optical = Sample::make(4 << 20, |path| {
            let mut bytes = vec![0; 4 << 20];
            // ISO 9660 with Joliet, and UDF with its descriptors, one after the other.
            for (at, text) in [(0x8000, "\u{1}CD001"), (0x8800, "\u{2}CD001"), (0x9000, "\u{ff}CD001")] {
                bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
            }
            bytes[0x9001..0x9006].copy_from_slice(b"BEA01");
            bytes[0x9801..0x9806].copy_from_slice(b"NSR02");
            bytes[256 * 512..256 * 512 + 24].copy_from_slice(&ANCHOR);
            std::fs::write(path, bytes).unwrap();
        });
        Self { check: check_foreign, seal: None, samples: vec![make(160 << 20, &["mkfs.nilfs2", "-q"]), optical] }
    }

    /// Used bytes of Btrfs: of one device and as one of two, without and with a log that waits.
    pub fn btrfs() -> Self {
        let mixed = |path: String| run("mkfs.btrfs", ["-q", "-M", "-n", "4096", &path]);
        let samples = vec![
            Sample::make(32 << 20, |path| {
                mixed(path.to_owned());
            }),
            Sample::make(128 << 20, |path| {
                run("mkfs.btrfs", ["-q", "-n", "4096", "-d", "single", "-m", "dup", "-r", "src", path]);
            }),
            Sample::make(128 << 20, |path| {
                let other = format!("{path}-other");
                FileDisk::create(Path::new(&other), 128 << 20);
                run("mkfs.btrfs", ["-q", "-n", "4096", "-d", "raid0", "-m", "raid1", path, &other]);
            }),
            Sample::make(32 << 20, |path| {
                let other = format!("{path}-mounted");
                FileDisk::create(Path::new(&other), 32 << 20);
                mixed(other.clone());
                let mounted = Mounted::new(Path::new(&other), "loop,commit=300");
                run(
                    "dd",
                    ["if=/dev/zero", &format!("of={}/synced", mounted.path().display()), "count=9", "conv=fsync"],
                );
                std::fs::copy(&other, path).unwrap();
            }),
        ];
        Self { seal: Some(seal_btrfs), ..Self::of_regions(samples) }
    }

    /// Used bytes of exFAT.
    pub fn exfat() -> Self {
        let make = |size, unit: &'static str| {
            Sample::make(size, move |path| {
                run("mkfs.exfat", ["-c", unit, "-L", "label", path]);
            })
        };
        Self { seal: Some(seal_exfat), ..Self::of_regions(vec![make(8 << 20, "512"), make(40 << 20, "4K")]) }
    }

    /// Used bytes of F2FS, with and without the extended node bitmap.
    pub fn f2fs() -> Self {
        let make = |options: &'static [&'static str]| {
            Sample::make(64 << 20, move |path| {
                run("mkfs.f2fs", ["-q"].iter().chain(options).copied().chain([path]));
            })
        };
        let samples = vec![make(&[]), make(&["-i", "-O", "extra_attr,sb_checksum"])];
        Self { seal: Some(seal_f2fs), ..Self::of_regions(samples) }
    }

    /// Partition tables.
    pub fn layout() -> Self {
        let make = |script: &'static str| {
            Sample::make(64 << 20, move |path| {
                run_with_input("sfdisk", ["-q", path], script.as_bytes());
            })
        };
        Self {
            check: check_layout,
            samples: vec![
                make("label: gpt\n,8M\n,16M,S\n,,\n"),
                make("label: dos\n,8M,83,*\n,8M,07\n,,E\n,8M\n,8M\n,,\n"),
            ],
            seal: None,
        }
    }

    fn of_regions(samples: Vec<Sample>) -> Self {
        Self { check: check_coverage, samples, seal: None }
    }

    /// Number of samples.
    pub fn sample_count(&self) -> usize {
        self.samples.len()
    }

    /// Reads `input` and checks what comes out.
    ///
    /// # Panics
    /// Where something does not hold that must hold for any input.
    pub fn check(&self, input: &[u8]) -> Outcome {
        let (choice, rest) = input.split_first().unwrap_or((&0, &[]));
        let bent = match self.samples.get(usize::from(*choice) % (self.samples.len() + 1)) {
            Some(sample) => Bent::new(sample, sample.patches(rest)),
            None => {
                let sample = Sample { size: rest.len() as u64, pages: Vec::new() };
                return (self.check)(&Bent::new(&sample, vec![(0, rest)]));
            }
        };
        let sealed = match self.seal {
            // Some inputs are left as they are, so that wrong checksums are tried as well.
            Some(seal) if choice & 0x80 == 0 => bent.with(seal(&bent)),
            _ => bent,
        };
        (self.check)(&sealed)
    }
}

/// The pages of a file that hold something.
struct Sample {
    size: u64,
    /// Page number and content, ascending.
    pages: Vec<(u64, Vec<u8>)>,
}

impl Sample {
    fn make(size: u64, make: impl Fn(&str)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample");
        FileDisk::create(&path, size);
        make(path.to_str().unwrap());
        Self::load(&path)
    }

    /// A sample that a kernel filled.
    fn unpacked(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample");
        unpack_to(&format!("file_systems/{name}.img"), &path);
        Self::load(&path)
    }

    fn load(path: &Path) -> Self {
        let disk = FileDisk::open(path);
        let mut pages = Vec::new();
        for number in 0..disk.size().div_ceil(PAGE as u64) {
            let mut page = vec![0; PAGE];
            let start = number * PAGE as u64;
            let length = (disk.size() - start).min(PAGE as u64) as usize;
            disk.read_at(start, &mut page[..length]).unwrap();
            if !is_zero(&page) {
                pages.push((number, page));
            }
        }
        Self { size: disk.size(), pages }
    }

    /// The patches that `input` asks for: position and bytes.
    fn patches<'a>(&self, input: &'a [u8]) -> Vec<(u64, &'a [u8])> {
        let mut patches = Vec::new();
        let mut rest = input;
        while let [page_low, page_high, place_low, place_high, length, after @ ..] = rest {
            let (bytes, next) = after.split_at((usize::from(*length) % PATCH_LIMIT + 1).min(after.len()));
            let page = usize::from(u16::from_le_bytes([*page_low, *page_high])) % self.pages.len();
            let place = u64::from(u16::from_le_bytes([*place_low, *place_high])) % PAGE as u64;
            patches.push((self.pages[page].0 * PAGE as u64 + place, bytes));
            rest = next;
            if patches.len() == PATCHES_LIMIT {
                break;
            }
        }
        patches
    }
}

/// A sample with patches over it, that counts what is read of it.
struct Bent<'a> {
    sample: &'a Sample,
    patches: Vec<(u64, Cow<'a, [u8]>)>,
    read_bytes: AtomicU64,
    reads: AtomicU64,
}

impl<'a> Bent<'a> {
    fn new(sample: &'a Sample, patches: Vec<(u64, &'a [u8])>) -> Self {
        let patches = patches.into_iter().map(|(position, bytes)| (position, Cow::Borrowed(bytes))).collect();
        Self { sample, patches, read_bytes: 0.into(), reads: 0.into() }
    }

    /// The same with more patches over it.
    fn with(&self, more: Vec<(u64, Vec<u8>)>) -> Self {
        let more = more.into_iter().map(|(position, bytes)| (position, Cow::Owned(bytes)));
        let patches = self.patches.iter().cloned().chain(more).collect();
        Self { sample: self.sample, patches, read_bytes: 0.into(), reads: 0.into() }
    }

    /// The bytes as they are with the patches.
    fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.read_at(offset, &mut bytes).unwrap();
        bytes
    }

    /// First byte and content of all pages that are patched: as they were, and as they are.
    fn bent_pages(&self) -> Vec<(u64, &'a [u8], Vec<u8>)> {
        let pages = self.sample.pages.iter().filter(|(number, _)| {
            let (start, end) = (number * PAGE as u64, (number + 1) * PAGE as u64);
            self.patches.iter().any(|(position, bytes)| *position < end && start < position + bytes.len() as u64)
        });
        let pages = pages.filter(|(number, _)| (number + 1) * PAGE as u64 <= self.sample.size);
        pages
            .map(|(number, page)| (number * PAGE as u64, page.as_slice(), self.bytes(number * PAGE as u64, PAGE)))
            .collect()
    }

    /// No parser needs to read a region over and over, or in bytes.
    fn check_effort(&self) {
        let (read_bytes, reads) = (self.read_bytes.load(Ordering::Relaxed), self.reads.load(Ordering::Relaxed));
        let size = self.sample.size;
        assert!(read_bytes <= 4 * size + (64 << 20), "{read_bytes} bytes read of {size}");
        assert!(reads <= size / 128 + 10_000, "{reads} reads of {size} bytes");
    }
}

/// Copies the bytes that `from`, which lies at `from_start`, shares with `to`, which lies at `to_start`.
fn copy_shared(from_start: u64, from: &[u8], to_start: u64, to: &mut [u8]) {
    let start = from_start.max(to_start);
    let end = (from_start + from.len() as u64).min(to_start + to.len() as u64);
    if start < end {
        let length = (end - start) as usize;
        let (from_at, to_at) = ((start - from_start) as usize, (start - to_start) as usize);
        to[to_at..to_at + length].copy_from_slice(&from[from_at..from_at + length]);
    }
}

impl ReadAt for Bent<'_> {
    fn size(&self) -> u64 {
        self.sample.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.check_effort();
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.size());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.fill(0);
        let pages = &self.sample.pages;
        let first = pages.partition_point(|(number, _)| (number + 1) * PAGE as u64 <= offset);
        for (number, page) in pages[first..].iter().take_while(|(number, _)| number * (PAGE as u64) < end) {
            copy_shared(number * PAGE as u64, page, offset, buffer);
        }
        for (position, bytes) in &self.patches {
            copy_shared(*position, bytes, offset, buffer);
        }
        Ok(())
    }
}

impl Disk for Bent<'_> {
    fn sector_size(&self) -> Option<SectorSize> {
        None
    }
}

/// Superblocks, and tree blocks of one page.
fn seal_btrfs(bent: &Bent) -> Vec<(u64, Vec<u8>)> {
    let sum = |page: &[u8]| crc32c::crc32c(&page[32..]).to_le_bytes().to_vec();
    let pages = bent.bent_pages().into_iter().filter(|(_, was, _)| was.starts_with(&sum(was)));
    pages.map(|(start, _, is)| (start, sum(&is))).collect()
}

/// The first and last blocks of checkpoint packs.
fn seal_f2fs(bent: &Bent) -> Vec<(u64, Vec<u8>)> {
    const SUM: usize = PAGE - 4;
    let sum = |page: &[u8]| {
        let mut hasher = crc32fast::Hasher::new_with_initial(!0xF2F5_2010);
        hasher.update(&page[..SUM]);
        (!hasher.finalize()).to_le_bytes().to_vec()
    };
    let pages = bent.bent_pages().into_iter().filter(|(_, was, _)| was.ends_with(&sum(was)));
    pages.map(|(start, _, is)| (start + SUM as u64, sum(&is))).collect()
}

/// The boot region with sectors of 512 bytes.
fn seal_exfat(bent: &Bent) -> Vec<(u64, Vec<u8>)> {
    let region = bent.bytes(0, 11 * 512);
    let counted = region.iter().enumerate().filter(|(place, _)| ![106, 107, 112].contains(place));
    let sum = counted.fold(0_u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
    vec![(11 * 512, sum.to_le_bytes().repeat(128))]
}

/// Walks through some of the files and reads the start of each: whatever the bytes are, that ends and stays small.
fn check_files(region: &Bent) {
    let Some(files) = filesystem::open_files(region) else { return };
    let mut waiting = vec![String::new()];
    let mut visits = 0;
    while let Some(path) = waiting.pop() {
        visits += 1;
        if visits > 60 {
            return;
        }
        if let Ok(Some(file)) = files.file(&path) {
            let mut start = vec![0; file.size().min(8192) as usize];
            let _ = file.read_at(0, &mut start);
        }
        if let Ok(Some(names)) = files.directory(&format!("{path}/")) {
            waiting.extend(names.into_iter().take(20).map(|name| format!("{path}/{name}")));
        }
    }
}

/// What changes with the name of a file system stands where it is said to stand, and is saved.
fn check_new_identity(region: &Bent, used: Option<&Extents<InRegion>>) {
    let Some(Ok(new)) = new_identity(region, [0xA5; 16]) else { return };
    let ends = new.patches.iter().map(|patch| patch.extent().end());
    assert!(ends.zip(new.patches.iter().skip(1)).all(|(end, next)| end <= next.start), "patches overlap");
    for patch in &new.patches {
        let there = block::read_vec(region, patch.start, patch.from.len()).unwrap();
        assert!(there == patch.from && patch.to.len() == patch.from.len());
        assert!(used.is_none_or(|used| used.contains(patch.extent())), "{:?} is not saved", patch.extent());
    }
}

fn check_coverage(region: &Bent) -> Outcome {
    check_files(region);
    let survey = survey(region);
    check_new_identity(region, if let Coverage::Used(used) = &survey.coverage { Some(used) } else { None });
    let Coverage::Used(used) = survey.coverage else { return Outcome::Refused };
    let size = region.size();
    assert!(used.end() <= size, "used bytes up to {} of {size}", used.end());
    assert!(used.count() <= EXTENTS_LIMIT, "{} extents", used.count());
    assert!(used.iter().all(|extent| !extent.is_empty()));
    assert!(used.as_slice().windows(2).all(|pair| pair[0].end() < pair[1].start()), "not in ascending order");
    let file_system = survey.file_system.expect("used bytes of no file system");
    assert!(file_system.size <= size);
    assert!(used.contains(RegionExtent::between(file_system.size, size)), "bytes after the file system");
    // Every file system keeps something; where nothing is used, the maps were misread.
    assert!(!used.is_empty());
    Outcome::Understood
}

/// An anchor of UDF in sector 256 of 512 bytes, which names 16 sectors from sector 257.
const ANCHOR: [u8; 24] = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 32, 0, 0, 1, 1, 0, 0];

/// What is only recognised is saved whole, whatever its identity is.
fn check_foreign(region: &Bent) -> Outcome {
    let survey = survey(region);
    assert!(matches!(survey.coverage, Coverage::Whole(_)), "{survey:?}");
    let Some(file_system) = survey.file_system else { return Outcome::Refused };
    assert!(file_system.label.is_none_or(|label| !label.is_empty() && label.len() < 1024));
    assert!(file_system.uuid.is_none_or(|uuid| !uuid.is_empty() && uuid.len() < 128));
    Outcome::Understood
}

fn check_layout(disk: &Bent) -> Outcome {
    let Ok(layout) = layout::read(disk) else { return Outcome::Refused };
    let size = disk.size();
    let tables = layout.table_sectors.iter().map(|sectors| sectors.extent);
    let mut seen: Extents<InDisk> = Extents::new();
    for extent in tables.chain(layout.regions.iter().map(|region| region.extent)) {
        assert!(extent.end() <= size, "{extent:?} passes the end of the disk of {size} bytes");
        assert!(seen.overlapping(extent).next().is_none(), "{extent:?} lies in two places: {layout:?}");
        seen.insert(extent);
    }
    assert!(seen.contains(DiskExtent::between(0, size)), "bytes in no place: {layout:?}");
    for sectors in &layout.table_sectors {
        assert_eq!(sectors.extent.length(), sectors.bytes.len() as u64);
    }
    assert!(layout.regions.windows(2).all(|pair| pair[0].extent.start() < pair[1].extent.start()));
    if layout.findings.is_empty() { Outcome::Understood } else { Outcome::Refused }
}
