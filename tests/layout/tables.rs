//! Partition tables made by the real tools: what this program reads in them is compared with sfdisk,
//! partx (libblkid) and the crates `gpt` and `mbrman`; what it writes for a disk of another size is
//! checked by sgdisk and sfdisk.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use block::{DiskExtent, ReadAt, SectorSize, read_vec};
use layout::{
    Change, Destination, FindingCode, Grow, Layout, Partition, PlaceOptions, Placement, Region, RegionKind, TableKind,
    TableRole, place, read,
};
use serde_json::Value;
use tempfile::TempDir;
use tests::{FileDisk, LoopDevice, run, run_status, run_with_input};

const MIB: u64 = 1 << 20;

/// A disk image that a tool divides.
struct Sample {
    _directory: TempDir,
    path: PathBuf,
    sector_size: SectorSize,
}

impl Sample {
    fn new(size: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("source");
        File::create(&path).unwrap().set_len(size).unwrap();
        Self { _directory: directory, path, sector_size: SectorSize::B512 }
    }

    fn text(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// A disk with a GPT made by sgdisk.
    fn gpt(arguments: &[&str]) -> Self {
        let sample = Self::new(64 * MIB);
        sgdisk(&sample.path, arguments);
        sample
    }

    /// A disk with an MBR made by sfdisk.
    fn mbr(script: &str) -> Self {
        let sample = Self::new(64 * MIB);
        run_with_input("sfdisk", ["--quiet", sample.text()], format!("label: dos\n{script}\n").as_bytes());
        sample
    }

    fn bend(&self, offset: u64, bytes: &[u8]) {
        OpenOptions::new().write(true).open(&self.path).unwrap().write_all_at(bytes, offset).unwrap();
    }

    fn resize(&self, size: u64) {
        OpenOptions::new().write(true).open(&self.path).unwrap().set_len(size).unwrap();
    }

    fn disk(&self) -> FileDisk {
        FileDisk::open(&self.path).with_sector_size(self.sector_size)
    }

    fn read(&self) -> Layout {
        let layout = read(&self.disk()).unwrap();
        let mut pieces: Vec<_> = layout.regions.iter().map(|region| region.extent).collect();
        pieces.extend(layout.table_sectors.iter().map(|table| table.extent));
        pieces.sort_by_key(|piece| piece.start());
        let end = pieces.iter().fold(0, |end, piece| {
            assert_eq!(piece.start(), end, "every byte has one place");
            piece.end()
        });
        assert_eq!(end, layout.disk_size);
        layout
    }

    /// Restores this disk by its placement to a file of `size` bytes that was full of something else.
    fn restore(&self, size: u64, options: &PlaceOptions) -> (Placement, Sample) {
        let image = self.read();
        let placement = place(&image, &Destination { size, sector_size: None }, options).unwrap();
        let restored = Sample::new(size);
        let file = OpenOptions::new().write(true).open(&restored.path).unwrap();
        let source = self.disk();
        for start in (0..size).step_by(MIB as usize) {
            file.write_all_at(&vec![0xA5; MIB.min(size - start) as usize], start).unwrap();
        }
        for extent in &placement.clear {
            file.write_all_at(&vec![0; extent.length() as usize], extent.start()).unwrap();
        }
        for (_, extent) in &placement.regions {
            let bytes = read_vec(&source, extent.start(), extent.length() as usize).unwrap();
            file.write_all_at(&bytes, extent.start()).unwrap();
        }
        for table in &placement.table {
            file.write_all_at(&table.bytes, table.extent.start()).unwrap();
        }
        (placement, Sample { sector_size: self.sector_size, ..restored })
    }
}

fn sgdisk(path: &Path, arguments: &[&str]) -> String {
    run("sgdisk", arguments.iter().copied().chain([path.to_str().unwrap()]))
}

/// Sparse slots, Japanese names, attributes, types: everything that is easily lost.
const SPARSE: &[&str] = &[
    "-n1:2048:+1M",
    "-t1:ef00",
    "-c1:EFIシステム",
    "-A1:set:0",
    "-n3:300:2047",
    "-t3:0c01",
    "-c3:予約 💾",
    "-A3:set:63",
    "-A3:set:62",
    "-n5:0:+5M",
    "-A5:set:2",
    "-c5:データ領域",
    "-n64:0:+1M",
    "-c64:クラスタパーティション",
];

fn with_entries(count: &str) -> Vec<&str> {
    let entries = ["-S", count];
    entries
        .into_iter()
        .chain(SPARSE.iter().copied().filter(|argument| !argument.contains("64:") || count != "56"))
        .collect()
}

fn partitions(layout: &Layout) -> Vec<&Region> {
    layout.regions.iter().filter(|region| region.kind == RegionKind::Partition).collect()
}

fn codes(layout: &Layout) -> Vec<FindingCode> {
    layout.findings.iter().map(|finding| finding.code).collect()
}

/// Number, first sector, number of sectors.
type Row = (u32, u64, u64);

fn rows(layout: &Layout) -> Vec<Row> {
    let unit = layout.sector_size.bytes();
    let mut rows: Vec<Row> = partitions(layout)
        .iter()
        .map(|region| {
            let number = region.partition.as_ref().unwrap().number;
            assert_eq!(region.name, format!("p{number}"));
            (number, region.extent.start() / unit, region.extent.length() / unit)
        })
        .collect();
    rows.sort_unstable();
    rows
}

fn partition(layout: &Layout, number: u32) -> &Partition {
    layout.region(&format!("p{number}")).unwrap().partition.as_ref().unwrap()
}

/// Compares with what sfdisk prints about `path`, and with libblkid's list.
fn check_with_tools(layout: &Layout, path: &Path) {
    let path = path.to_str().unwrap();
    let json: Value = serde_json::from_str(&run("sfdisk", ["--json", path])).unwrap();
    let table = &json["partitiontable"];
    let gpt = layout.table == TableKind::Gpt;
    assert_eq!(table["label"], if gpt { "gpt" } else { "dos" });
    assert_eq!(table["sectorsize"], layout.sector_size.bytes());
    let id = table["id"].as_str().unwrap().to_lowercase();
    assert_eq!(Some(id.trim_start_matches("0x")), layout.signature.as_deref());
    let mut expected = Vec::new();
    for entry in table["partitions"].as_array().unwrap() {
        let kind = entry["type"].as_str().unwrap().to_lowercase();
        if !gpt && ["5", "f", "85"].contains(&kind.as_str()) {
            continue;
        }
        let node = entry["node"].as_str().unwrap();
        let number = node[path.len()..].trim_start_matches('p').parse().unwrap();
        expected.push((number, entry["start"].as_u64().unwrap(), entry["size"].as_u64().unwrap()));
        let partition = partition(layout, number);
        if gpt {
            assert_eq!(partition.type_id, kind);
            assert_eq!(partition.guid.as_deref(), entry["uuid"].as_str().map(str::to_lowercase).as_deref());
            assert_eq!(partition.name.as_deref(), entry["name"].as_str());
            let attributes = entry["attrs"].as_str().unwrap_or_default();
            assert_eq!(partition.attributes & 1 != 0, attributes.contains("RequiredPartition"));
            assert_eq!(partition.bootable, attributes.contains("LegacyBIOSBootable"));
        } else {
            assert_eq!(u8::from_str_radix(&partition.type_id[2..], 16), u8::from_str_radix(&kind, 16));
            assert_eq!(partition.bootable, entry["bootable"].as_bool().unwrap_or_default());
        }
    }
    expected.sort_unstable();
    assert_eq!(rows(layout), expected, "sfdisk");
    check_with_partx(layout, path);
}

fn check_with_partx(layout: &Layout, path: &str) {
    let size = layout.sector_size.bytes();
    let columns = ["--raw", "--noheadings", "--output", "NR,START,SECTORS,UUID,SCHEME,TYPE", path];
    let printed = run("partx", ["--sector-size", &size.to_string()].into_iter().chain(columns));
    let mut expected: Vec<Row> = Vec::new();
    for line in printed.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        // An extended partition is listed with two sectors, as the kernel does.
        if fields[4] == "dos" && ["0x5", "0xf", "0x85"].contains(&fields[5]) {
            continue;
        }
        // libblkid counts in sectors of 512 bytes, whatever the disk's own are.
        let lba = |field: &str| field.parse::<u64>().unwrap() * 512 / size;
        let number = fields[0].parse().unwrap();
        expected.push((number, lba(fields[1]), lba(fields[2])));
        assert_eq!(partition(layout, number).guid.as_deref(), Some(fields[3]), "PARTUUID");
    }
    expected.sort_unstable();
    assert_eq!(rows(layout), expected, "partx");
}

fn check_with_gpt_crate(layout: &Layout, path: &Path) {
    let size = match layout.sector_size.bytes() {
        512 => gpt::disk::LogicalBlockSize::Lb512,
        _ => gpt::disk::LogicalBlockSize::Lb4096,
    };
    let config = gpt::GptConfig::new().writable(false).only_valid_headers(false).logical_block_size(size);
    let disk = config.open(path).unwrap();
    assert_eq!(layout.signature, Some(disk.guid().to_string()));
    let expected: Vec<Row> = disk
        .partitions()
        .iter()
        .map(|(number, entry)| (*number, entry.first_lba, entry.last_lba - entry.first_lba + 1))
        .collect();
    assert_eq!(rows(layout), expected, "crate gpt");
    for (number, entry) in disk.partitions() {
        let ours = partition(layout, *number);
        assert_eq!(ours.guid, Some(entry.part_guid.to_string()));
        assert_eq!(ours.type_id, entry.part_type_guid.guid.to_string());
        assert_eq!(ours.attributes, entry.flags);
        assert_eq!(ours.name.clone().unwrap_or_default(), entry.name);
    }
}

fn check_with_mbrman(layout: &Layout, path: &Path) {
    let table = mbrman::MBR::read_from(&mut File::open(path).unwrap(), 512).unwrap();
    let signature = u32::from_le_bytes(table.header.disk_signature);
    assert_eq!(layout.signature, Some(format!("{signature:08x}")));
    let used = table.iter().filter(|(_, entry)| entry.is_used() && !entry.is_extended());
    let mut expected: Vec<Row> = Vec::new();
    for (number, entry) in used {
        let number = number as u32;
        expected.push((number, entry.starting_lba.into(), entry.sectors.into()));
        assert_eq!(partition(layout, number).type_id, format!("{:#04x}", entry.sys));
        assert_eq!(partition(layout, number).bootable, entry.is_active());
    }
    expected.sort_unstable();
    assert_eq!(rows(layout), expected, "mbrman");
    let records: Vec<u64> = layout
        .table_sectors
        .iter()
        .filter(|run| run.role == TableRole::Ebr)
        .map(|run| run.extent.start() / 512)
        .collect();
    let expected: Vec<u64> = table.logical_partitions.iter().map(|logical| logical.absolute_ebr_lba.into()).collect();
    assert_eq!(records, expected, "extended boot records");
}

/// What sgdisk says about the partitions, without the lines about the size of the disk.
fn sgdisk_says(path: &Path, numbers: &[Row]) -> String {
    let table = sgdisk(path, &["-p"]);
    let list = table.split("Number  Start").nth(1).unwrap().to_owned();
    let ids = table.lines().filter(|line| line.contains("GUID") || line.contains("holds up to")).collect::<String>();
    let each: String = numbers.iter().map(|(number, ..)| sgdisk(path, &[&format!("-i{number}")])).collect();
    list + &ids + &each
}

/// No damage, and nothing wrong with where things are.
fn sgdisk_verifies(path: &Path) {
    let printed = sgdisk(path, &["-v"]);
    assert!(printed.contains("No problems found"), "{printed}");
    assert!(!printed.contains("Problem:") && !printed.contains("Caution"), "{printed}");
}

#[test]
fn a_gpt_reads_as_other_readers_read_it() {
    for count in ["56", "128", "132", "256", "1024"] {
        let sample = Sample::gpt(&with_entries(count));
        let layout = sample.read();
        assert_eq!(layout.findings, [], "{count} entries");
        assert_eq!(rows(&layout).len(), if count == "56" { 3 } else { 4 });
        check_with_tools(&layout, &sample.path);
        check_with_gpt_crate(&layout, &sample.path);
    }
    let layout = Sample::gpt(SPARSE).read();
    assert_eq!(partition(&layout, 3).name.as_deref(), Some("予約 💾"));
    assert_eq!(partition(&layout, 3).attributes, 1 << 63 | 1 << 62);
    assert_eq!(partition(&layout, 5).name.as_deref(), Some("データ領域"));
}

#[test]
fn a_gpt_of_4096_byte_sectors_reads_as_other_readers_read_it_and_moves() {
    let mut sample = Sample::new(64 * MIB);
    let device = LoopDevice::attach(&sample.path, 4096);
    sgdisk(device.path(), &["-n1:256:+1M", "-n4:0:+4M", "-c4:四", "-A4:set:63"]);
    // Detected in the file; the device says it.
    let layout = read(&FileDisk::open(&sample.path)).unwrap();
    assert_eq!(layout.sector_size, SectorSize::B4096);
    sample.sector_size = SectorSize::B4096;
    assert_eq!(layout, sample.read());
    check_with_tools(&layout, device.path());
    check_with_gpt_crate(&layout, &sample.path);
    let before = sgdisk_says(device.path(), &rows(&layout));
    drop(device);
    let (_, restored) = sample.restore(100 * MIB, &PlaceOptions::default());
    let device = LoopDevice::attach(&restored.path, 4096);
    sgdisk_verifies(device.path());
    assert_eq!(sgdisk_says(device.path(), &rows(&layout)), before);
}

#[test]
fn an_mbr_of_4096_byte_sectors_reads_as_sfdisk_reads_it() {
    let mut sample = Sample::new(64 * MIB);
    sample.sector_size = SectorSize::B4096;
    let device = LoopDevice::attach(&sample.path, 4096);
    let script = b"label: dos\nstart=256,size=100,type=7\nstart=512,type=f\nstart=600,size=100\nstart=800,size=100\n";
    run_with_input("sfdisk", ["--quiet", device.path().to_str().unwrap()], script);
    let layout = sample.read();
    assert_eq!(rows(&layout), [(1, 256, 100), (5, 600, 100), (6, 800, 100)]);
    check_with_tools(&layout, device.path());
}

/// 31 logical partitions behind a primary one, at every old and new alignment.
fn logicals() -> Sample {
    let mut script = "label-id: 0xdeadbeef\n32,31,7,*\n63,1985,83\n2048,,f\n".to_owned();
    for number in 0..31 {
        script +=
            &format!("{},{},{}\n", 2048 + 63 + number * 1000, 500 + number, if number == 7 { "82" } else { "83" });
    }
    Sample::mbr(&script)
}

#[test]
fn an_mbr_reads_as_other_readers_read_it() {
    let samples = [
        logicals(),
        Sample::mbr("label-id: 0x22c779e1\nstart=63,size=2000,type=7,bootable"),
        Sample::mbr("label-id: 0x5cbea03e\nstart=32,size=100,type=42\nstart=2048,size=4096,type=83"),
        // Logical partitions that are not in the order of the disk.
        Sample::mbr("start=2048,type=5\nstart=9000,size=100\nstart=4096,size=100\nstart=20000,size=100"),
        Sample::mbr("start=2048,size=100,type=83\nstart=4096,size=20000,type=85"),
    ];
    for sample in &samples {
        let layout = sample.read();
        assert_eq!(codes(&layout), []);
        check_with_tools(&layout, &sample.path);
        check_with_mbrman(&layout, &sample.path);
    }
    let layout = samples[0].read();
    assert_eq!((rows(&layout).len(), codes(&layout)), (33, vec![]));
    assert_eq!(rows(&layout)[32], (35, 2048 + 63 + 30_000, 530));
}

#[test]
fn a_hybrid_mbr_is_kept() {
    let sample = Sample::gpt(SPARSE);
    sgdisk(&sample.path, &["-h", "1:5:EE"]);
    let layout = sample.read();
    assert_eq!(codes(&layout), [FindingCode::HybridMbr]);
    check_with_gpt_crate(&layout, &sample.path);
    check_with_partx(&layout, sample.text());
    let (_, restored) = sample.restore(100 * MIB, &PlaceOptions::default());
    assert_eq!(codes(&restored.read()), [FindingCode::HybridMbr]);
    sgdisk_verifies(&restored.path);
    let entries = |sample: &Sample| read_vec(&sample.disk(), 0, 512).unwrap();
    assert_eq!(entries(&restored)[..446], entries(&sample)[..446], "boot code and disk signature");
}

#[test]
fn a_disk_of_the_same_size_gets_every_byte_whatever_is_broken() {
    let last = 64 * MIB - 512;
    for (name, offset) in [
        ("nothing", 64 * MIB - 1),
        ("header", 512 + 72),
        ("array", 1024 + 40),
        ("backup header", last + 16),
        ("backup array", last - 512 * 32),
    ] {
        let sample = Sample::gpt(SPARSE);
        let whole = sample.read();
        if name != "nothing" {
            sample.bend(offset, &[0xEE]);
        }
        sample.bend(40 * 512, b"boot loader");
        sample.bend(50 * MIB, b"bytes in a gap");
        let layout = sample.read();
        assert_eq!(partitions(&layout), partitions(&whole), "{name}");
        let damaged = if offset < MIB { FindingCode::PrimaryGptDamaged } else { FindingCode::BackupGptDamaged };
        assert_eq!(codes(&layout), if name == "nothing" { vec![] } else { vec![damaged] });
        let (placement, restored) = sample.restore(64 * MIB, &PlaceOptions::default());
        assert_eq!(placement.changes, []);
        assert!(std::fs::read(&sample.path).unwrap() == std::fs::read(&restored.path).unwrap(), "{name}");

        let (_, larger) = sample.restore(70 * MIB, &PlaceOptions::default());
        assert_eq!(partitions(&larger.read()), partitions(&whole));
        assert_eq!(codes(&larger.read()), []);
        sgdisk_verifies(&larger.path);
    }
}

#[test]
fn a_disk_of_another_size_passes_sgdisk_with_the_same_partitions() {
    for count in ["128", "132", "256"] {
        let sample = Sample::gpt(&with_entries(count));
        let numbers = rows(&sample.read());
        let before = sgdisk_says(&sample.path, &numbers);
        for size in [64 * MIB + 512, 64 * MIB + 40 * 512, 65 * MIB, 100 * MIB, 20 * MIB] {
            let (placement, restored) = sample.restore(size, &PlaceOptions::default());
            sgdisk_verifies(&restored.path);
            assert_eq!(sgdisk_says(&restored.path, &numbers), before);
            assert_eq!(codes(&restored.read()), []);
            assert_eq!(partitions(&restored.read()), partitions(&sample.read()));
            assert!(
                placement.changes.iter().any(|change| matches!(change, Change::Field { field: "AlternateLBA", .. }))
            );
            check_with_tools(&restored.read(), &restored.path);
        }
    }
}

#[test]
fn a_disk_that_had_grown_is_read_and_mended_on_another_size() {
    let sample = Sample::gpt(SPARSE);
    let before = sgdisk_says(&sample.path, &rows(&sample.read()));
    sample.resize(80 * MIB);
    let layout = sample.read();
    assert_eq!(codes(&layout), [FindingCode::BackupGptNotAtEnd]);
    check_with_tools(&layout, &sample.path);
    for size in [90 * MIB, 64 * MIB] {
        let (_, restored) = sample.restore(size, &PlaceOptions::default());
        sgdisk_verifies(&restored.path);
        assert_eq!(sgdisk_says(&restored.path, &rows(&layout)), before);
    }
}

#[test]
fn a_disk_that_was_cut_keeps_what_is_left() {
    let sample = Sample::gpt(&["-n1:2048:+4M", "-n2:0:+50M"]);
    sample.resize(20 * MIB);
    let layout = sample.read();
    assert_eq!(codes(&layout), [FindingCode::BackupGptDamaged, FindingCode::PartitionPastEnd]);
    assert_eq!(layout.region("p2").unwrap().extent, DiskExtent::between(5 * MIB, 20 * MIB));
    let (_, restored) = sample.restore(20 * MIB, &PlaceOptions::default());
    assert!(std::fs::read(&sample.path).unwrap() == std::fs::read(&restored.path).unwrap());
}

#[test]
fn the_last_partition_grows_as_the_tools_accept_it() {
    let grow = PlaceOptions { grow: Some(Grow::Last), ..PlaceOptions::default() };
    let sample = Sample::gpt(SPARSE);
    let (_, restored) = sample.restore(100 * MIB, &grow);
    sgdisk_verifies(&restored.path);
    let layout = restored.read();
    check_with_tools(&layout, &restored.path);
    check_with_gpt_crate(&layout, &restored.path);
    assert_eq!(layout.region("p64").unwrap().extent.end(), 99 * MIB);

    for sample in [logicals(), Sample::mbr("start=2048,size=100,type=83\nstart=4096,size=20000,type=7")] {
        let (_, restored) = sample.restore(100 * MIB, &grow);
        let layout = restored.read();
        check_with_tools(&layout, &restored.path);
        check_with_mbrman(&layout, &restored.path);
        let verified = run("sfdisk", ["--verify", restored.text()]);
        assert!(verified.contains("No errors detected"), "{verified}");
        let (before, after) = (rows(&sample.read()), rows(&layout));
        let (last, others) = after.split_last().unwrap();
        assert_eq!(others, &before[..others.len()]);
        assert_eq!(last.1 + last.2, 100 * MIB / 512);
    }
}

#[test]
fn a_file_system_on_the_whole_disk_is_no_table() {
    for (program, options) in [
        ("mkfs.fat", &["--mbr=yes"][..]),
        ("mkfs.fat", &["--mbr=no"][..]),
        ("mkntfs", &["-F", "-Q", "-q", "-p", "0", "-H", "0", "-S", "0"][..]),
        ("mkfs.ext4", &["-q", "-F"][..]),
        ("mkfs.xfs", &["-q", "-f", "-d", "size=320m"][..]),
    ] {
        let sample = Sample::new(320 * MIB);
        let output = run_status(program, options.iter().copied().chain([sample.text()]));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        let layout = sample.read();
        assert_eq!((layout.table, codes(&layout)), (TableKind::None, vec![]), "{program} {options:?}");
        assert_eq!(layout.regions[0].kind, RegionKind::WholeDisk);
    }
}

#[test]
fn tables_come_back_from_a_manifest_as_they_were() {
    for layout in [Sample::gpt(SPARSE).read(), logicals().read()] {
        let text = serde_json::to_string(&layout).unwrap();
        let first: String = layout.table_sectors[0].bytes[440..444].iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(text.contains(&first), "the disk signature can be read in the text");
        assert_eq!(serde_json::from_str::<Layout>(&text).unwrap(), layout);
        assert_eq!(layout.disk_size, 64 * MIB);
    }
    assert_eq!(Sample::new(MIB).disk().size(), MIB);
}
