//! What the program says of systems on disks, of clusters in images, and of boot entries: disks made with the tools of
//! those systems, the program run as an operator runs it.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use repository::DirectoryStore;
use serde_json::Value;
use session::Cancel;
use tests::hive::{key, make_hive};
use tests::ntfs::{NtfsMounted, make_ntfs};
use tests::program::{Finished, sosei};
use tests::{FileDisk, run};

const MIB: u64 = 1 << 20;
const ESP_GUID: &str = "09931F21-7FAF-44A9-81D8-1E73C14B9EAF";
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

#[track_caller]
fn done(arguments: &[&str]) -> Finished {
    let finished = sosei(arguments);
    assert_eq!(finished.status, 0, "{arguments:?}: {finished:?}");
    finished
}

#[track_caller]
fn document(arguments: &[&str]) -> Value {
    let finished = done(&[arguments, &["--json"]].concat());
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
}

fn put(disk: &Path, offset: u64, part: &Path) {
    let mut bytes = Vec::new();
    fs::File::open(part).unwrap().read_to_end(&mut bytes).unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(disk).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&bytes).unwrap();
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A node of a Linux cluster: GPT, EFI system partition, ext4.
fn linux_node(directory: &Path, name: &str) -> PathBuf {
    let disk = directory.join(format!("{name}.img"));
    FileDisk::create(&disk, 128 * MIB);
    let path = disk.to_str().unwrap();
    run("sgdisk", ["-n1:2048:+40M", "-t1:ef00", "-n2:0:+60M", "-t2:8300", &format!("-u1:{ESP_GUID}"), path]);
    let (esp, root) = (directory.join("esp"), directory.join("root.img"));
    FileDisk::create(&esp, 40 * MIB);
    run("mkfs.vfat", ["-F", "32", "-s", "1", "-i", "1234ABCD", esp.to_str().unwrap()]);
    let tree = directory.join(format!("{name}.tree"));
    let uuid = "0a1b2c3d-0000-4111-8222-333344445555";
    write(&tree, "EFI/debian/grub.cfg", &format!("search.fs_uuid {uuid} root\nset prefix=($root)'/boot/grub'\n"));
    run("mcopy", ["-s", "-i", esp.to_str().unwrap(), tree.join("EFI").to_str().unwrap(), "::/"]);
    let tree = directory.join(format!("{name}.root"));
    write(&tree, "usr/lib/os-release", "NAME=Debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
    fs::create_dir_all(tree.join("etc")).unwrap();
    std::os::unix::fs::symlink("../usr/lib/os-release", tree.join("etc/os-release")).unwrap();
    write(&tree, "etc/hostname", &format!("{name}\n"));
    let id = name.replace('n', "f");
    write(&tree, "etc/machine-id", &format!("00112233445566778899aabbccddee{id}\n"));
    let fstab =
        format!("# comment\nUUID={uuid} / ext4 defaults 0 1\nPARTUUID={} /boot/efi vfat\n", ESP_GUID.to_lowercase());
    write(&tree, "etc/fstab", &fstab);
    write(&tree, "etc/drbd.d/r0.res", "resource r0 {\n disk /dev/sdb1;\n on n1 { }\n on n2 { }\n}\n");
    write(&tree, "etc/corosync/corosync.conf", "totem {\n cluster_name: hacl\n}\n");
    let clp = "<?xml version=\"1.0\" encoding=\"EUC-JP\"?><root><all><serveros>linux</serveros></all><cluster><name>clp1</name></cluster><server name=\"n1\"/><server name=\"n2\"/><resource><md name=\"md1\"><parameters><dppath>/dev/sdb2</dppath></parameters></md></resource></root>";
    let clp = clp.replace("<server name=\"n1\"/>", "<server name=\"n1\"></server>");
    let clp = clp.replace("<server name=\"n2\"/>", "<server name=\"n2\"></server>");
    write(&tree, "opt/nec/clusterpro/etc/clp.conf", &clp);
    write(&tree, "boot/initrd.img-6.1", "packed");
    let arguments = ["-q", "-t", "ext4", "-U", uuid, "-d", tree.to_str().unwrap(), root.to_str().unwrap(), "60M"];
    run("mke2fs", arguments);
    put(&disk, MIB, &esp);
    put(&disk, 41 * MIB, &root);
    disk
}

/// A boot entry that starts a file of the EFI system partition.
fn boot_entry(label: &str, file: &str) -> Vec<u8> {
    let utf16 = |text: &str| text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let mut path = vec![4, 1, 42, 0, 1, 0, 0, 0];
    path.extend(2048_u64.to_le_bytes());
    path.extend((40 * 2048_u64).to_le_bytes());
    path.extend([0x21, 0x1F, 0x93, 0x09, 0xAF, 0x7F, 0xA9, 0x44, 0x81, 0xD8, 0x1E, 0x73, 0xC1, 0x4B, 0x9E, 0xAF, 2, 2]);
    path.extend([4, 4]);
    path.extend((utf16(file).len() as u16 + 4).to_le_bytes());
    path.extend(utf16(file));
    path.extend([0x7F, 0xFF, 4, 0]);
    let mut bytes = vec![7, 0, 0, 0, 1, 0, 0, 0];
    bytes.extend((path.len() as u16).to_le_bytes());
    bytes.extend(utf16(label));
    bytes.extend(path);
    bytes
}

fn variable(directory: &Path, name: &str, bytes: &[u8]) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join(format!("{name}-{GLOBAL}")), bytes).unwrap();
}

fn read_variable(directory: &Path, name: &str) -> Vec<u8> {
    fs::read(directory.join(format!("{name}-{GLOBAL}"))).unwrap()
}

#[test]
fn a_node_of_a_linux_cluster_from_save_to_restore() {
    let directory = tempfile::tempdir().unwrap();
    let disk = linux_node(directory.path(), "n1");
    let disk = disk.to_str().unwrap();
    let (target, old, new) =
        (directory.path().join("target"), directory.path().join("old"), directory.path().join("new"));
    fs::create_dir(&target).unwrap();
    let target = target.to_str().unwrap();
    variable(&old, "Boot0001", &boot_entry("debian", "\\EFI\\debian\\shimx64.efi"));
    variable(&old, "Boot0004", &boot_entry("rescue", "\\EFI\\debian\\fbx64.efi"));
    variable(&old, "BootOrder", &[7, 0, 0, 0, 4, 0, 1, 0]);

    let looked = document(&["disks", disk]);
    assert_eq!(looked["systems"][1]["name"], "Debian GNU/Linux 12 (bookworm)", "{looked:#}");
    assert_eq!(looked["systems"][1]["host"], "n1");
    let looked = done(&["disks", disk]).stdout;
    assert!(looked.contains("Found: CLUSTERPRO / EXPRESSCLUSTER, CLUSTERPRO mirror disk, DRBD mirror"), "{looked}");
    let report = done(&["identity", "report", disk]).stdout;
    let uuid = "0a1b2c3d-0000-4111-8222-333344445555";
    for line in [
        format!("Reference: /etc/fstab:2: {uuid}"),
        format!("Reference: /etc/fstab:3: {}", ESP_GUID.to_lowercase()),
        format!("Reference: /EFI/debian/grub.cfg:1: {uuid}"),
        "Reference: /etc/drbd.d/r0.res:2: /dev/sdb1".to_owned(),
        "Initramfs: /boot/initrd.img-6.1".to_owned(),
        "Computer Name: n1".to_owned(),
    ] {
        assert!(report.lines().any(|found| found == line), "{line} is not in\n{report}");
    }

    let old = old.to_str().unwrap();
    done(&["save", target, "n1", disk, "--efi-variables", old]);
    let manifest = document(&["show", target, "n1"]);
    let codes: Vec<_> = manifest["manifest"]["findings"].as_array().unwrap().iter().map(|row| &row["code"]).collect();
    for code in ["clusterpro.any", "clusterpro.mirror", "drbd", "pacemaker", "linux", "uefi", "cluster.any"] {
        assert!(codes.iter().any(|found| *found == code), "{code} in {codes:?}");
    }
    assert!(!codes.iter().any(|found| *found == "windows"));
    let shown = done(&["show", target, "n1"]).stdout;
    let guid = ESP_GUID.to_lowercase();
    let entries: Vec<_> = shown.lines().filter(|line| line.starts_with("Boot0")).collect();
    assert_eq!(
        entries,
        [
            format!("Boot0004* rescue {guid} \\EFI\\debian\\fbx64.efi"),
            format!("Boot0001* debian {guid} \\EFI\\debian\\shimx64.efi")
        ]
    );

    // The names of servers and resources stand in the list, in both languages and beside the image.
    let japanese = done(&["checklist", target, "n1", "--scope", "one-node", "--lang", "ja"]).stdout;
    assert!(japanese.contains("clpmdctrl -force n2 md1|r0"), "{japanese}");
    assert!(!japanese.contains("どのノードでも invalidate"), "{japanese}");
    let english = fs::read_to_string(directory.path().join("target/images/n1/checklist.en.txt")).unwrap();
    assert!(english.contains("[all-nodes] Invalidate no node."), "{english}");
    assert!(
        fs::read_to_string(directory.path().join("target/images/n1/checklist.ja.txt")).unwrap().contains("clpmdctrl")
    );
    let steps = document(&["checklist", target, "n1"]);
    assert!(steps["steps"].as_array().unwrap().len() > 20);
    done(&["checklist", target, "n1", "--link", "100"]);
    assert_eq!(sosei(["checklist", target, "n1", "--link", "0"]).status, 2);

    // Images of before there was a record of systems are looked at anew: the same is found in the image as on the disk.
    let store = DirectoryStore::open(Path::new(target)).unwrap();
    let manifest = session::read_manifest(&store, &"n1".parse().unwrap()).unwrap();
    let again = session::examine_image(&store, &manifest, &(), &Cancel::new()).unwrap();
    assert_eq!(again.systems, session::found_in(&manifest).systems);
    assert_eq!(again.detected, session::found_in(&manifest).detected);

    // A new board with an entry of its own.
    variable(&new, "Boot0001", &[7, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0x50, 0, 0, 0, 0x7F, 0xFF, 4, 0]);
    variable(&new, "BootOrder", &[7, 0, 0, 0, 1, 0]);
    let destination = directory.path().join("destination.img");
    FileDisk::create(&destination, 128 * MIB);
    let destination = destination.to_str().unwrap();
    let variables = new.to_str().unwrap();
    let restored = done(&["restore", target, "n1", destination, "--yes", "--efi-variables", variables]);
    assert!(restored.stdout.contains("Recovery checklist: image n1, machine n1"), "{}", restored.stdout);
    assert!(!restored.stdout.contains("0-1 "), "what is before the restore is over");
    assert_eq!(read_variable(&new, "BootOrder"), [7, 0, 0, 0, 4, 0, 0, 0, 1, 0]);
    assert_eq!(read_variable(&new, "Boot0004"), boot_entry("rescue", "\\EFI\\debian\\fbx64.efi"));
    assert_eq!(read_variable(&new, "Boot0000"), boot_entry("debian", "\\EFI\\debian\\shimx64.efi"));
    assert_eq!(read_variable(&new, "Boot0001").len(), 18, "the entry of the board stays");

    // The disk of the other node: an operator who mixes them up is stopped, and nothing is written.
    let other = linux_node(directory.path(), "n2");
    let before = fs::read(&other).unwrap();
    let arguments = ["restore", target, "n1", other.to_str().unwrap(), "--yes", "--efi-variables", variables];
    let refused = sosei(arguments.iter().chain(&["--json"])).expect(4);
    assert_eq!(refused.code(), "other-node");
    assert!(refused.stdout.contains("holds the system of n2"), "{}", refused.stdout);
    assert!(fs::read(&other).unwrap() == before);
    done(&[&arguments[..], &["--confirm", "n2"]].concat());
    // It is n1 now.
    done(&arguments);

    // A copy beside its original: whoever names the original is changed or listed, and the boot entries stay alone.
    let finished =
        done(&["restore", target, "n1", destination, "--yes", "--identity", "new", "--efi-variables", variables]);
    let expected = format!("~ n1:p2 /etc/fstab:3: {guid} becomes ");
    assert!(finished.stdout.contains(&expected), "{}", finished.stdout);
    assert!(finished.stdout.contains("n1:p2 /boot/initrd.img-6.1"), "{}", finished.stdout);
    assert_eq!(read_variable(&new, "BootOrder"), [7, 0, 0, 0, 4, 0, 0, 0, 1, 0]);
}

#[test]
fn letters_of_windows_are_found_and_lost_ones_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, volume) = (directory.path().join("win.img"), directory.path().join("volume"));
    FileDisk::create(&disk, 64 * MIB);
    let table = "label: dos\nlabel-id: 0x22c779e1\nstart=2048, size=122880, type=7, bootable\n";
    tests::run_with_input("sfdisk", ["-q", disk.to_str().unwrap()], table.as_bytes());
    make_ntfs(&volume, 60 * MIB, &[]);
    {
        let mounted = NtfsMounted::new(&volume, "rw");
        let config = mounted.path().join("Windows/System32/config");
        fs::create_dir_all(&config).unwrap();
        let (system, software) = (directory.path().join("SYSTEM"), directory.path().join("SOFTWARE"));
        let mut commands = key("Select", &[("Current", "dword:1")]);
        commands += &key("ControlSet001\\Control\\ComputerName\\ComputerName", &[("ComputerName", "string:WIN-NODE1")]);
        commands += "cd \\ControlSet001\nadd Services\ncd Services\nadd ClusSvc\nadd ClusDisk\ncd ClusDisk\nadd Parameters\ncd Parameters\nadd Signatures\ncd Signatures\nadd 22C779E1\n";
        commands += &key(
            "MountedDevices",
            &[
                ("\\DosDevices\\C:", "hex:3:e1,79,c7,22,00,00,10,00,00,00,00,00"),
                ("\\DosDevices\\E:", "hex:3:ef,be,ad,de,00,7e,00,00,00,00,00,00"),
            ],
        );
        make_hive(&system, &commands);
        let version = [("ProductName", "string:Windows Server 2012 R2"), ("CurrentVersion", "string:6.3")];
        make_hive(&software, &key("Microsoft\\Windows NT\\CurrentVersion", &version));
        for hive in [&system, &software] {
            fs::copy(hive, config.join(hive.file_name().unwrap())).unwrap();
        }
    }
    put(&disk, MIB, &volume);
    let disk = disk.to_str().unwrap();
    let report = done(&["identity", "report", disk]).stdout;
    for line in [
        "Computer Name: WIN-NODE1",
        "Name: Windows Server 2012 R2",
        "Letter: C: signature 22C779E1 offset 1048576 = win:p1",
        "Letter: E: signature DEADBEEF offset 32256 = not on these disks",
        "ClusDisk Signature: 22c779e1",
    ] {
        assert!(report.lines().any(|found| found == line), "{line} is not in\n{report}");
    }
    let looked = document(&["disks", disk]);
    let codes: Vec<_> = looked["findings"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(codes, ["wsfc", "windows", "shared.any", "cluster.any"]);

    // With another signature every letter is lost.
    let mut file = fs::OpenOptions::new().write(true).open(disk).unwrap();
    file.seek(SeekFrom::Start(0x1B8)).unwrap();
    file.write_all(&[1, 2, 3, 4]).unwrap();
    let report = done(&["identity", "report", disk]).stdout;
    assert!(report.contains("Letter: C: signature 22C779E1 offset 1048576 = not on these disks"), "{report}");
}

/// Overwrites bytes of a file.
fn patch(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

/// The disks of one node of a Windows cluster of 2003 with shared storage, as its operators keep them on paper: the system
/// disk, seven LUNs that begin at sector 32, of which one has lost its signature, and a newer disk with a GPT.
fn cluster_of_2003(directory: &Path) -> Vec<PathBuf> {
    let letters = ["c", "j", "d", "e", "f", "g", "h", "i"];
    let signature = |number: usize| 0x22C7_79E1_u32 + u32::try_from(number).unwrap() * 0x0101_0101;
    let mut disks = Vec::new();
    let system = directory.join("SYSTEM");
    let mut values = Vec::new();
    for (number, letter) in letters.iter().enumerate() {
        let start = if number == 0 { 63_u64 * 512 } else { 16384 };
        let bytes: Vec<String> = signature(number)
            .to_le_bytes()
            .into_iter()
            .chain(start.to_le_bytes())
            .map(|byte| format!("{byte:02x}"))
            .collect();
        values.push((format!("\\DosDevices\\{}:", letter.to_uppercase()), format!("hex:3:{}", bytes.join(","))));
    }
    // A volume of the disk with a GPT, by the GUID of its partition as it lies on the disk.
    let guid = "44,4d,49,4f,3a,49,44,3a,21,1f,93,09,af,7f,a9,44,81,d8,1e,73,c1,4b,9e,af";
    values.push(("\\DosDevices\\K:".to_owned(), format!("hex:3:{guid}")));
    let values: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut commands = key("Select", &[("Current", "dword:1")]);
    commands += &key("ControlSet001\\Control\\ComputerName\\ComputerName", &[("ComputerName", "string:EVS-MSG1")]);
    commands += &key("MountedDevices", &values);
    make_hive(&system, &commands);
    for (number, letter) in letters.iter().enumerate() {
        let disk = directory.join(format!("{letter}.img"));
        FileDisk::create(&disk, 10_010 * MIB);
        let (start, kind) = if number == 0 { (63, "7, bootable") } else { (32, "7") };
        let id = if *letter == "h" { 0xDEAD_BEEF } else { signature(number) };
        let table = format!("label: dos\nlabel-id: {id:#010x}\nstart={start}, size=20480000, type={kind}\n");
        tests::run_with_input("sfdisk", ["-q", "--no-reread", disk.to_str().unwrap()], table.as_bytes());
        disks.push(disk);
    }
    let volume = directory.join("volume");
    make_ntfs(&volume, 60 * MIB, &["-L", "システム"]);
    {
        let mounted = NtfsMounted::new(&volume, "rw");
        let config = mounted.path().join("WINDOWS/system32/config");
        fs::create_dir_all(&config).unwrap();
        fs::copy(&system, config.join("system")).unwrap();
    }
    patch(&volume, 0x48, &0x1122_3344_5566_7788_u64.to_le_bytes());
    put(&disks[0], 63 * 512, &volume);
    let quorum = directory.join("quorum");
    make_ntfs(&quorum, 8 * MIB, &["-L", "Quorum"]);
    patch(&quorum, 0x48, &0x99AA_BBCC_DDEE_FF00_u64.to_le_bytes());
    put(&disks[1], 16384, &quorum);
    let newer = directory.join("k.img");
    FileDisk::create(&newer, 64 * MIB);
    let unique = format!("-u1:{ESP_GUID}");
    let arguments = ["-U", "6B29FC40-CA47-1067-B31D-00DD010662DA", "-n1:2048:+32M", "-t1:0700", &unique, "-c1:データ"];
    run("sgdisk", arguments.into_iter().chain([newer.to_str().unwrap()]));
    disks.push(newer);
    disks
}

#[test]
fn the_report_of_a_node_is_the_one_that_its_operators_know() {
    let directory = tempfile::tempdir().unwrap();
    let disks = cluster_of_2003(directory.path());
    let disks: Vec<&str> = disks.iter().map(|disk| disk.to_str().unwrap()).collect();
    let report = done(&[&["identity", "report"], &disks[..]].concat()).stdout;
    // What comes from the machine of the test is no part of it.
    let (_, report) = report.split_once("[DISKS]").unwrap();
    let report = report.split("\n[Boot Entries]").next().unwrap();
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("expected/identity-report.txt");
    let expected = fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(format!("[DISKS]{report}"), expected);
    // The same for programs, and from there to a file and back.
    let told = document(&[&["identity", "report"], &disks[..]].concat());
    assert_eq!(told["identity"]["disks"][1]["layout"]["signature"], "23c87ae2");
    assert_eq!(told["systems"][0]["letters"].as_array().unwrap().len(), 9);
    let file = directory.path().join("identity.json");
    done(&[&["identity", "save", file.to_str().unwrap()], &disks[..]].concat());
    let saved: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(saved["disks"], told["identity"]["disks"]);
}
