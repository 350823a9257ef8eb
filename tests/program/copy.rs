//! A copy that must live beside its original: every name of it is another one, whoever names it inside does so by the
//! new one, and whatever could not be changed is told.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::fill::content;
use tests::program::{Finished, sosei, tampered};
use tests::restored::tree;
use tests::sample::{Content, MIB, SampleDisk, copy, files};
use tests::stacks::Lvm;
use tests::{FileDisk, Mounted, blkid, run};

const SIZE: u64 = 200 * MIB;
const ESP: (u64, u64) = (MIB, 36 * MIB);
const ROOT: (u64, u64) = (37 * MIB, 32 * MIB);
const DATA: (u64, u64) = (69 * MIB, 64 * MIB);
const SWAP: (u64, u64) = (133 * MIB, 4 * MIB);
const GROUP: (u64, u64) = (137 * MIB, 40 * MIB);
const BOOT: (u64, u64) = (177 * MIB, 16 * MIB);
/// First byte and size of the logical volume in its group.
const VOLUME: (u64, u64) = (MIB, 24 * MIB);
const UUIDS: [&str; 4] = [
    "0a1b2c3d-0000-4111-8222-333344445555",
    "0a1b2c3d-0000-4111-8222-333344446666",
    "0a1b2c3d-0000-4111-8222-333344447777",
    "0a1b2c3d-0000-4111-8222-333344448888",
];
const ESP_GUID: &str = "09931f21-7faf-44a9-81d8-1e73c14b9eaf";

/// A Linux server: EFI system partition, root, data in XFS, swap, a volume group, and a partition that GRUB reads.
fn server() -> SampleDisk {
    let disk = SampleDisk::new("node.img", SIZE);
    let part = |(start, size): (u64, u64)| format!("{}M:+{}M", start / MIB, size / MIB);
    let parts = [ESP, ROOT, DATA, SWAP, GROUP, BOOT].map(part);
    let parts: Vec<_> = (1..).zip(&parts).map(|(number, part)| format!("-n{number}:{part}")).collect();
    let mut arguments: Vec<&str> = parts.iter().map(String::as_str).collect();
    let guid = format!("-u1:{ESP_GUID}");
    arguments.extend(["-t1:ef00", guid.as_str()]);
    disk.sgdisk(&arguments);

    let directory = tempfile::tempdir().unwrap();
    let [root, data, swap, inside] = UUIDS;
    let make = |name: &str, size: u64, program: &str, options: &str| {
        let path = directory.path().join(name);
        FileDisk::create(&path, size);
        run(program, options.split_whitespace().chain([path.to_str().unwrap()]));
        path
    };
    let write = |root: &Path, path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };

    let esp = make("esp", ESP.1, "mkfs.fat", "-F 32 -s 1 -i 1234ABCD");
    let tree = directory.path().join("tree");
    write(&tree, "EFI/debian/grub.cfg", &format!("search.fs_uuid {root} root\nconfigfile /boot/grub.cfg\n"));
    write(&tree, "loader/entries/one.conf", &format!("options root=UUID={root} ro resume=UUID={swap}\n"));
    for name in ["EFI", "loader"] {
        run("mcopy", ["-s", "-i", esp.to_str().unwrap(), tree.join(name).to_str().unwrap(), "::/"]);
    }
    copy(&esp, 0, ESP.1, &disk.path, ESP.0);

    let image = make("root", ROOT.1, "mke2fs", &format!("-q -F -t ext4 -O metadata_csum,64bit -U {root}"));
    {
        let mounted = Mounted::new(&image, "loop");
        let boot_uuid = UUIDS[0].replace("5555", "9999");
        write(mounted.path(), "usr/lib/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
        let fstab = format!(
            "# / was {root} before\nUUID={root} / ext4 defaults 0 1\nUUID={data} /srv xfs defaults 0 0\n\
             PARTUUID={ESP_GUID} /boot/efi vfat\nUUID={swap} none swap sw\n/dev/disk/by-uuid/{inside} /lv ext4\n\
             UUID={boot_uuid} /boot ext4\nUUID=1234-ABCD /efi vfat\n"
        );
        write(mounted.path(), "etc/fstab", &fstab);
        write(mounted.path(), "etc/initramfs-tools/conf.d/resume", &format!("RESUME=UUID={swap}\n"));
        write(mounted.path(), "boot/initrd.img-6.1", "packed");
        for number in 0..30 {
            fs::write(mounted.path().join(format!("file {number}")), content(number, 5000)).unwrap();
        }
    }
    copy(&image, 0, ROOT.1, &disk.path, ROOT.0);

    let lifted = format!("TEST_DIR=/ TEST_DEV=/ QA_CHECK_FS=1 mkfs.xfs -q -m uuid={data}");
    let image = make("data", DATA.1, "env", &lifted);
    {
        let mounted = Mounted::new(&image, "loop");
        write(mounted.path(), "etc/crypttab", &format!("home UUID={swap} none\n"));
        fs::write(mounted.path().join("large"), content(77, 3_000_000)).unwrap();
    }
    copy(&image, 0, DATA.1, &disk.path, DATA.0);

    let image = make("swap", SWAP.1, "mkswap", &format!("-q -U {swap}"));
    copy(&image, 0, SWAP.1, &disk.path, SWAP.0);

    let group = directory.path().join("group");
    FileDisk::create(&group, GROUP.1);
    Lvm::make(&[&group], VOLUME.0, VOLUME.1);
    let image = make("volume", VOLUME.1, "mke2fs", &format!("-q -F -t ext4 -U {inside}"));
    {
        let mounted = Mounted::new(&image, "loop");
        write(mounted.path(), "etc/fstab", &format!("UUID={root} /\n"));
    }
    copy(&image, 0, VOLUME.1, &group, VOLUME.0);
    copy(&group, 0, GROUP.1, &disk.path, GROUP.0);

    let options = format!("-q -F -t ext4 -O metadata_csum -U {}", root.replace("5555", "9999"));
    let image = make("boot", BOOT.1, "mke2fs", &options);
    write(Mounted::new(&image, "loop").path(), "grub/grub.cfg", &format!("linux /vmlinuz root=UUID={root} ro\n"));
    copy(&image, 0, BOOT.1, &disk.path, BOOT.0);
    disk
}

/// A part of a disk in a file of its own.
fn cut(disk: &Path, (start, size): (u64, u64), directory: &Path) -> PathBuf {
    let path = directory.join(format!("part-{start}-{}", disk.file_name().unwrap().to_str().unwrap()));
    let _ = fs::remove_file(&path);
    copy(disk, start, size, &path, 0);
    path
}

fn uuid(disk: &Path, part: (u64, u64), directory: &Path) -> String {
    blkid::value(&cut(disk, part, directory), "UUID").unwrap()
}

fn restore(target: &str, destination: &Path) -> Finished {
    let destination = destination.to_str().unwrap();
    sosei(["restore", target, "node", destination, "--yes", "--identity", "new", "--json"])
}

#[test]
fn everything_has_another_name_and_everything_that_names_it_knows() {
    let disk = server();
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text()]).expect(0);
    let destination = disk.destination("copy.img", SIZE);
    let restored = restore(target, &destination).expect(0).json();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();

    let volume = (GROUP.0 + VOLUME.0, VOLUME.1);
    let places = [ESP, ROOT, DATA, SWAP, BOOT, volume];
    let new = places.map(|place| uuid(&destination, place, directory));
    let old = places.map(|place| uuid(&disk.path, place, directory));
    let told: Vec<(String, String)> = restored["file_systems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|told| (told["from"].as_str().unwrap().to_owned(), told["to"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(told, old.iter().cloned().zip(new.iter().cloned()).collect::<Vec<_>>());
    assert!(new.iter().all(|name| !old.contains(name)), "{new:?}");

    // Checked by their own tools, and every file but those that name something is what it was.
    let e2fsck = ("e2fsck", "-fn");
    let checkers = [("fsck.fat", "-n"), e2fsck, ("xfs_repair", "-n"), e2fsck, e2fsck];
    for (place, (program, option)) in [ESP, ROOT, DATA, BOOT, volume].into_iter().zip(checkers) {
        run(program, [option, cut(&destination, place, directory).to_str().unwrap()]);
    }
    let [esp, root, data, swap, boot, inside] = &new;
    let guid = guid_of_first(&destination);
    assert_ne!(guid, ESP_GUID);
    let mounted = Mounted::new(&cut(&destination, ROOT, directory), "loop,ro");
    let fstab = fs::read_to_string(mounted.path().join("etc/fstab")).unwrap();
    assert_eq!(
        fstab,
        format!(
            "# / was {root} before\nUUID={root} / ext4 defaults 0 1\nUUID={data} /srv xfs defaults 0 0\n\
             PARTUUID={guid} /boot/efi vfat\nUUID={swap} none swap sw\n/dev/disk/by-uuid/{inside} /lv ext4\n\
             UUID={boot} /boot ext4\nUUID={esp} /efi vfat\n"
        )
    );
    let resume = mounted.path().join("etc/initramfs-tools/conf.d/resume");
    assert_eq!(fs::read_to_string(resume).unwrap(), format!("RESUME=UUID={swap}\n"));
    check_same_but(&disk.path, mounted.path(), ROOT, directory, &["etc/fstab", "etc/initramfs-tools/conf.d/resume"]);
    drop(mounted);
    let mounted = Mounted::new(&cut(&destination, DATA, directory), "loop,ro");
    let crypttab = fs::read_to_string(mounted.path().join("etc/crypttab")).unwrap();
    assert_eq!(crypttab, format!("home UUID={swap} none\n"));
    check_same_but(&disk.path, mounted.path(), DATA, directory, &["etc/crypttab"]);
    drop(mounted);
    let mounted = Mounted::new(&cut(&destination, volume, directory), "loop,ro");
    assert_eq!(fs::read_to_string(mounted.path().join("etc/fstab")).unwrap(), format!("UUID={root} /\n"));
    drop(mounted);
    let mounted = Mounted::new(&cut(&destination, BOOT, directory), "loop,ro");
    let grub = fs::read_to_string(mounted.path().join("grub/grub.cfg")).unwrap();
    assert_eq!(grub, format!("linux /vmlinuz root=UUID={root} ro\n"));
    drop(mounted);
    let image = cut(&destination, ESP, directory);
    let entry = run("mtype", ["-i", image.to_str().unwrap(), "::/loader/entries/one.conf"]);
    assert_eq!(entry, format!("options root=UUID={root} ro resume=UUID={swap}\n"));
    assert!(run("mtype", ["-i", image.to_str().unwrap(), "::/EFI/debian/grub.cfg"]).contains(root.as_str()));
    assert_eq!(files(&image, Content::Fat).len(), files(&cut(&disk.path, ESP, directory), Content::Fat).len());

    // What a boot loader reads that may not know the feature that keeps the seed of checksums has none.
    let features = |place| run("dumpe2fs", ["-h", cut(&destination, place, directory).to_str().unwrap()]);
    assert!(features(ROOT).contains("metadata_csum_seed") && !features(BOOT).contains("metadata_csum_seed"));
    // What keeps its name: the group.
    let kept: Vec<_> = restored["kept_uuids"].as_array().unwrap().iter().collect();
    let kinds: Vec<_> = kept.iter().map(|kept| (kept["region"].as_str(), kept["kind"].as_str())).collect();
    assert_eq!(kinds, [(Some("node:p5"), Some("LVM2_member"))]);
    assert!(kept[0]["command"].as_str().unwrap().contains("vgimportclone"));
    // And what still names the original: an initramfs.
    let left: Vec<_> = restored["referrers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(left, ["node:p2 /boot/initrd.img-6.1"]);
    let fixed = restored["fixed"].as_array().unwrap();
    assert_eq!(fixed.len(), 15, "{fixed:#?}");
    check_interrupted(target, &destination);
}

/// A UUID in a program, in characters of two bytes as well, and in files that ext4 keeps inside their inodes.
#[test]
fn what_can_not_be_changed_keeps_its_name_or_is_told() {
    let disk = SampleDisk::new("node.img", 96 * MIB);
    let [esp, root, srv] = [(MIB, 20 * MIB), (21 * MIB, 24 * MIB), (45 * MIB, 16 * MIB)];
    let [home, locked] = [(61 * MIB, 16 * MIB), (77 * MIB, 8 * MIB)];
    let parts = [esp, root, srv, home, locked]
        .map(|(start, size)| format!("start={}MiB, size={}MiB\n", start / MIB, size / MIB));
    disk.divide(512, &format!("label: gpt\n{}", parts.concat()));
    let directory = tempfile::tempdir().unwrap();
    let make = |(start, size): (u64, u64), program: &str, options: &str, fill: &dyn Fn(&Path)| {
        let path = directory.path().join("image");
        FileDisk::create(&path, size);
        run(program, options.split_whitespace().chain([path.to_str().unwrap()]));
        fill(&path);
        copy(&path, 0, size, &disk.path, start);
        fs::remove_file(&path).unwrap();
    };
    let [inside, named, unnamed, closed] = UUIDS;
    let program = |text: &[u8]| [b"MZ".as_slice(), &content(5, 1_048_550), text, &content(6, 5000)].concat();
    let wide: Vec<u8> = format!("root=UUID={unnamed}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    make(esp, "mkfs.fat", "-F 16 -i 1234ABCD", &|image| {
        let image = image.to_str().unwrap();
        run("mmd", ["-i", image, "::/EFI", "::/EFI/arch", "::/EFI/Linux"]);
        for (path, bytes) in [
            ("arch/GRUBX64.EFI", program(format!("search.fs_uuid {unnamed} root \n").as_bytes())),
            ("arch/other.efi", program(b"no name")),
            ("Linux/linux.efi", program(&wide)),
            ("Linux/notes.txt", unnamed.into()),
        ] {
            let file = directory.path().join("program");
            fs::write(&file, bytes).unwrap();
            run("mcopy", ["-i", image, file.to_str().unwrap(), &format!("::/EFI/{path}")]);
        }
    });
    make(root, "mke2fs", &format!("-q -F -t ext4 -I 512 -O inline_data,metadata_csum -U {inside}"), &|image| {
        let mounted = Mounted::new(image, "loop");
        for (path, text) in [
            ("usr/lib/os-release", "NAME=Arch\n".to_owned()),
            ("etc/fstab", format!("UUID={inside} / ext4 defaults 0 1\nUUID={named} /srv ext4 defaults 0 2\n")),
            ("boot/grub/grub.cfg", format!("linux /vmlinuz root=UUID={inside}\n")),
            ("boot/refind_linux.conf", format!("\"Boot\" \"{}root=UUID={unnamed}\"\n", " ".repeat(600))),
        ] {
            let path = mounted.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    });
    make(srv, "mke2fs", &format!("-q -F -t ext4 -U {named}"), &|_| {});
    make(locked, "mke2fs", &format!("-q -F -t ext4 -U {closed}"), &|image| {
        fs::create_dir(Mounted::new(image, "loop").path().join("etc")).unwrap();
        run("debugfs", ["-w", "-R", "set_inode_field /etc flags 0x80800", image.to_str().unwrap()]);
    });
    make(home, "mke2fs", &format!("-q -F -t ext4 -U {unnamed}"), &|_| {});
    let repository = tempfile::tempdir().unwrap();
    let target = repository.path().to_str().unwrap();
    sosei(["save", target, "node", disk.text()]).expect(0);
    let destination = disk.destination("copy.img", 96 * MIB);
    let restored = restore(target, &destination).expect(0).json();
    let told = |list: &str, keys: [&str; 2]| {
        let told = restored[list].as_array().unwrap().iter();
        told.map(|told| keys.map(|key| told[key].as_str().unwrap().to_owned()).join(" ")).collect::<Vec<_>>()
    };
    let renamed = ["node:p1 1234-ABCD".to_owned(), format!("node:p4 {unnamed}")];
    assert_eq!(told("file_systems", ["region", "from"]), renamed);
    assert_eq!(
        told("kept_uuids", ["region", "uuid"]),
        [format!("node:p2 {inside}"), format!("node:p3 {named}"), format!("node:p5 {closed}")]
    );
    let reasons = told("kept_uuids", ["detail", "reason"]);
    assert!(reasons[0].starts_with("/boot/grub/grub.cfg of node:p2 names it"), "{reasons:?}");
    assert!(reasons[1].starts_with("/etc/fstab of node:p2 names it"), "{reasons:?}");
    assert!(reasons[2].contains("can't be read: inode 12 is encrypted"), "{reasons:?}");
    assert_eq!(told("fixed", ["file", "from"]), [format!("/boot/refind_linux.conf {unnamed}")]);
    let left: Vec<_> = restored["referrers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let starts = [
        format!("node:p2 /etc/fstab:1: UUID={inside} /"),
        format!("node:p2 /etc/fstab:2: UUID={named} /srv"),
        format!("node:p2 /boot/grub/grub.cfg:1: linux /vmlinuz root=UUID={inside}"),
        format!("node:p1 /EFI/arch/GRUBX64.EFI: {unnamed} (it is in the program"),
        format!("node:p1 /EFI/Linux/linux.efi: {unnamed} (it is in the program"),
    ];
    assert_eq!(left.len(), starts.len(), "{left:#?}");
    for start in starts {
        assert!(left.iter().any(|line| line.to_lowercase().starts_with(&start.to_lowercase())), "{start}: {left:#?}");
    }
    let uuids = [root, srv].map(|place| uuid(&destination, place, directory.path()));
    assert_eq!(uuids, [inside, named]);
    let arguments =
        ["restore", target, "node", destination.to_str().unwrap(), "--yes", "--identity", "new", "--lang", "ja"];
    let told = sosei(arguments).expect(0).stdout;
    assert!(told.contains("linux.efi: ") && told.contains("プログラムに埋め込まれています"), "{told}");
}

/// The GUID of the first partition.
fn guid_of_first(disk: &Path) -> String {
    let table: Value = serde_json::from_str(&run("sfdisk", ["--json", disk.to_str().unwrap()])).unwrap();
    table["partitiontable"]["partitions"][0]["uuid"].as_str().unwrap().to_lowercase()
}

fn check_same_but(disk: &Path, copied: &Path, place: (u64, u64), directory: &Path, changed: &[&str]) {
    let mounted = Mounted::new(&cut(disk, place, directory), "loop,ro");
    let (before, after) = (tree(mounted.path()), tree(copied));
    assert!(before.keys().eq(after.keys()));
    let differing: Vec<_> = before.iter().filter(|(path, told)| after[*path] != **told).map(|(path, _)| path).collect();
    assert_eq!(differing, changed.iter().map(Path::new).collect::<Vec<_>>());
}

/// Wherever it ends, no table leads to a file system with half of its names.
fn check_interrupted(target: &str, destination: &Path) {
    let arguments = ["restore", target, "node", destination.to_str().unwrap(), "--yes", "--identity", "new"];
    for number in [1, 4] {
        let finished = tampered(&format!("pwrite64:signal=KILL:when={number}"), arguments);
        assert!(finished.is_killed(), "write {number}: {finished:?}");
        let seen = sosei(["disks", destination.to_str().unwrap(), "--json"]).expect(0).json();
        assert_eq!(seen["disks"][0]["table"], "none", "{seen:#}");
    }
}
