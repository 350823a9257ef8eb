//! The live medium boots in every way, touches no disk, and needs little memory.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;
use tests::medium::{Medium, built_once};
use tests::run;
use tests::vm::operator::{Operator, Words};
use tests::vm::picture::Reader;
use tests::vm::{Firmware, Machine, Setup, Start};

/// Disks that a system would mount, assemble or activate: an ext4 file system with a journal that waits, both halves of
/// a mirror, a volume group.
struct Samples {
    directory: TempDir,
}

impl Samples {
    const NAMES: [&str; 4] = ["table", "half-a", "half-b", "volumes"];

    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let script = r#"
            cd "$1"
            truncate -s 64M table half-a half-b volumes
            printf 'label: gpt\nstart=1MiB, size=40MiB\nstart=42MiB, size=8MiB, type=S\n' | sfdisk -q table
            mke2fs -q -F -t ext4 journal 40M
            printf 'one block of a file' > block
            truncate -s 4096 block
            # What a journal that is replayed writes: a block of the file system that nothing uses.
            free=$(dumpe2fs journal 2> /dev/null | sed -n 's/^ *Free blocks: \([0-9]*\).*/\1/p' | sed -n 2p)
            printf 'journal_open\njournal_write -b %s block\njournal_close\n' "$free" | debugfs -w journal > told 2>&1
            dumpe2fs -h journal 2> /dev/null | grep -q 'features.*needs_recovery' || { cat told; exit 1; }
            dd if=journal of=table bs=1M seek=1 conv=notrunc status=none
            tests=$2/tests/fixtures
            zstd -qdf "$tests/md.img.zst" -o md; cp md half-a; cp md half-b
            zstd -qdf "$tests/lvm-a.img.zst" -o volumes
            sync"#;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        run("sh", ["-ec".as_ref(), script.as_ref(), "sh".as_ref(), directory.path().as_os_str(), root.as_os_str()]);
        Self { directory }
    }

    fn digests(&self) -> String {
        let paths = Self::NAMES.map(|name| self.directory.path().join(name));
        run("sha256sum", paths)
    }

    fn attach(&self, setup: Setup) -> Setup {
        let disks = Self::NAMES.iter().map(|name| (self.directory.path().join(name), (*name).to_owned()));
        Setup { disks: disks.collect(), ..setup }
    }
}

/// Reports how long it took, for docs/benchmarks.md.
fn measured(way: &str, machine: &Machine) {
    let (wall, processor) = (machine.elapsed().as_secs_f64(), machine.processor_seconds());
    println!("{way}: {wall:.1} s, {processor:.1} s of the processor");
}

fn check_clean(machine: &mut Machine) {
    assert_eq!(machine.shell("cat /proc/sys/kernel/tainted").trim(), "0");
}

/// In less memory than is asked for (512 MiB).
#[test]
fn in_384_mib_every_disk_is_read_only_and_stays_as_it_was() {
    let samples = Samples::new();
    let before = samples.digests();
    let setup = samples.attach(Setup::new(Start::Kernel("sosei.console=shell".into())).memory(384));
    let mut machine = setup.run();
    machine.wait_for_shell();
    measured("kernel, 384 MiB", &machine);
    check_clean(&mut machine);
    let flags = machine.shell("lsblk --nodeps --noheadings --output NAME,RO | grep vd");
    for disk in ["vda", "vdb", "vdc", "vdd"] {
        let flag = flags.lines().find_map(|line| line.strip_prefix(disk)).unwrap_or_else(|| panic!("{disk}: {flags}"));
        assert_eq!(flag.trim(), "1", "{disk}: {flags}");
    }
    let (status, printed) = machine.try_shell("dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=fsync");
    assert_ne!(status, 0, "{printed}");
    // Nothing was assembled, activated or mounted.
    assert_eq!(machine.shell("cat /proc/mounts | grep -c '^/dev/vd' || true").trim(), "0");
    assert_eq!(machine.shell("cat /proc/mdstat 2>/dev/null | grep -c '^md' || true").trim(), "0");
    assert_eq!(machine.shell("ls /sys/block | grep -c '^dm-' || true").trim(), "0");
    assert_eq!(machine.shell("cat /proc/swaps | grep -c '^/' || true").trim(), "0");
    // Remote login is off, and everything that an operator may need is there.
    // Whatever prints nothing at all has not looked.
    let listening = machine.shell("netstat -ltn");
    assert!(listening.contains("Local Address") && !listening.contains("LISTEN"), "{listening}");
    // A disk is protected again when it is closed, unless it is mounted: not when another with a longer name is.
    for (mounted, flag) in [("/dev/vda1", "0"), ("/dev/vdaa", "1"), ("/dev/vda", "0"), ("/dev/vdaa1", "1")] {
        machine.shell(&format!(
            "blockdev --setrw /dev/vda && mkdir -p /tmp/mounted && mount -t tmpfs {mounted} /tmp/mounted"
        ));
        machine.shell("/usr/lib/sosei/protect /dev/vda vda");
        assert_eq!(machine.shell("blockdev --getro /dev/vda; umount /tmp/mounted").trim(), flag, "{mounted}");
    }
    // Every screen, and all that they read; then the disks are as protected as they were.
    let began = machine.elapsed();
    let available = machine.shell("free -m | awk '/Mem/ { print $7 }'");
    println!("384 MiB: {} MiB available", available.trim());
    machine.shell("mkdir /tmp/images");
    machine.send("sosei\r");
    let mut operator = Operator::new(&mut machine, "en");
    operator.browse(&["/dev/vda", "/dev/vdd"], "/tmp/images");
    operator.quit();
    println!("every screen in {:.1} s", (machine.elapsed() - began).as_secs_f64());
    assert_eq!(machine.shell("cat /sys/block/vd?/ro").split_whitespace().collect::<String>(), "1111");
    check_clean(&mut machine);
    machine.turn_off();
    assert_eq!(samples.digests(), before);
}

/// An initramfs with nothing but busybox and a line that says so.
fn bare() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
        mkdir -p "$1/tree/bin" && cd "$1/tree"
        cp /bin/busybox bin/
        printf '#!/bin/busybox sh\necho bare init\nexec /bin/busybox sleep 1000\n' > init
        chmod 755 init
        find . | cpio --quiet -o -H newc > ../initrd"#;
    run("sh", ["-ec".as_ref(), script.as_ref(), "sh".as_ref(), directory.path().as_os_str()]);
    directory
}

#[test]
#[ignore = "a measurement, for tests/bench/live_medium.sh"]
fn the_first_screen_takes_little_longer_than_the_kernel_alone() {
    let directory = bare();
    let mut machine = Setup::new(Start::Bare(directory.path().join("initrd"))).memory(512).run();
    machine.wait_for("bare init");
    let bare = machine.processor_seconds();
    measured("bare kernel and busybox", &machine);
    drop(machine);
    let mut machine = Setup::new(Start::Kernel("sosei.console=shell".into())).memory(512).run();
    machine.wait_for("console ttyS0 ready");
    let ours = machine.processor_seconds();
    measured("kernel to the first screen", &machine);
    println!("{:.2} times the bare kernel (goal: at most 2.2)", ours / bare);
    // Processors that others use too make both slower, but not alike; measured 1.8, and the goal is 2.2.
    assert!(ours < bare * 2.6, "{ours} {bare}");
}

/// From the language to what can be done, screen by screen: one that is drawn only in part is never answered twice.
fn to_tasks(machine: &mut Machine, reader: &Reader, words: &Words) {
    for title in ["keyboard.title", "task.title"] {
        machine.press("ret");
        wait_for_title(machine, reader, words.get(title));
    }
}

fn wait_for_title(machine: &mut Machine, reader: &Reader, title: &str) {
    machine.wait_for_picture(reader, title, |text| text.lines().next().is_some_and(|line| line.contains(title)));
}

/// The picture is 800 x 600, as on narrow remote consoles; the network is made of a bond and a VLAN on it.
#[test]
fn every_console_has_its_task_and_the_first_shows_japanese() {
    let line = "sosei.console=shell sosei.ssh video=800x600 bond=bond0:ens3,ens4 vlan=bond0.12:bond0 \
                ip=10.0.2.15::10.0.2.2:255.255.255.0:node7:bond0:none:10.0.2.3";
    let mut machine = Setup::new(Start::Kernel(line.into())).cards(2).run();
    let told = machine.wait_for("console ttyS0 ready");
    let password = told.split("root, password ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let password = password.unwrap_or_else(|| panic!("no password: {told}")).to_owned();
    machine.wait_for("sosei# ");

    // The first: what is typed there starts the screens, in both languages.
    let reader = Reader::new(&Medium::get().font());
    machine.wait_for_picture(&reader, "the shell", |text| text.contains("\nsosei#"));
    machine.press("s o s e i ret");
    let shown = machine.wait_for_picture(&reader, "the first screen", |text| text.contains("日本語 (Japanese)"));
    assert!(shown.contains("言語 / Language") && shown.lines().count() == 600 / 16, "{shown}");
    let (japanese, english) = (Words::of("ja"), Words::of("en"));
    machine.press("home");
    machine.wait_for_picture(&reader, "Japanese", |text| text.contains("> 日本語") && text.contains("言語を選んで"));
    to_tasks(&mut machine, &reader, &japanese);
    machine.keep_picture("ja");
    for title in [japanese.get("keyboard.title"), "言語 / Language"] {
        machine.press("left");
        wait_for_title(&mut machine, &reader, title);
    }
    machine.press("end");
    machine.wait_for_picture(&reader, "English", |text| text.contains("> English") && text.contains("Choose the"));
    to_tasks(&mut machine, &reader, &english);
    machine.keep_picture("en");
    // The second has a shell of its own, and the picture stays away from it.
    machine.press("alt-f2");
    machine.wait_for_picture(&reader, "another console", |text| !text.contains(english.get("task.title")));
    machine.press("e c h o spc shift-dot spc slash t m p slash a ret");
    machine.shell("until [ -e /tmp/a ]; do sleep 0.1; done");
    machine.press("home");
    machine.press("alt-f1");
    machine.wait_for_picture(&reader, "the first console", |text| text.contains(english.get("about.language")));
    // The third has the log.
    machine.shell("readlink /proc/$(pidof logread | cut -d' ' -f1)/fd/1 | grep -q tty3");

    machine.wait_for_network();
    let address = machine.shell("ip -4 -o address show dev bond0; ip route; hostname; cat /run/resolv.conf");
    for expected in ["10.0.2.15/24", "default via 10.0.2.2", "node7", "nameserver 10.0.2.3"] {
        assert!(address.contains(expected), "{expected}: {address}");
    }
    let links = machine.shell("cat /proc/net/vlan/config /proc/net/bonding/bond0");
    for expected in [
        "bond0.12",
        "| 12",
        "active-backup",
        "Slave Interface: ens3",
        "Slave Interface: ens4",
        "Polling Interval (ms): 100",
    ] {
        assert!(links.contains(expected), "{expected}: {links}");
    }
    // What the screens do for a bond with a VLAN on it, where both were there before.
    let steps = include_str!("../expected/network-bond-and-vlan.txt");
    for command in steps.lines().filter(|line| line.starts_with("ip ")) {
        machine.shell(command);
    }
    let address = machine.shell("ip -4 -o address show; ip route; cat /proc/net/bonding/bond0");
    for expected in
        ["bond0.12    inet 192.0.2.5/24", "default via 192.0.2.1 dev bond0.12", "802.3ad", "Slave Interface: ens4"]
    {
        assert!(address.contains(expected), "{expected}: {address}");
    }
    // The shell runs the tools of packages, and not the small ones that it has itself.
    assert!(machine.shell("ip -V; mount --version").contains("iproute2"));
    // The password opens the door, and no other.
    let log_in = |password: &str| format!("DROPBEAR_PASSWORD={password} dbclient -y root@127.0.0.1 id -un");
    assert_eq!(machine.shell(&log_in(&password)).lines().last(), Some("root"));
    assert_ne!(machine.try_shell(&log_in("sesame")).0, 0);
    machine.shell("/usr/lib/sosei/ssh stop");
    assert_ne!(machine.try_shell(&log_in(&password)).0, 0);
}

#[test]
fn too_little_memory_is_told() {
    let mut machine = Setup::new(Start::Kernel(String::new())).memory(192).run();
    machine.wait_for("The medium was not read whole");
}

#[test]
fn a_damaged_medium_is_told_before_anything_runs_from_it() {
    let directory = tempfile::tempdir().unwrap();
    let initrd = directory.path().join("initrd");
    let mut bytes = fs::read(Medium::get().initrd()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&initrd, bytes).unwrap();
    let mut machine = Setup::new(Start::Bare(initrd)).memory(512).run();
    machine.wait_for("The medium is damaged");
}

/// Boots to the first console, and tells under which protection.
fn check_boots(start: Start, firmware: Firmware) {
    let way = format!("{start:?}, {firmware:?}");
    let mut machine = Setup::new(start).firmware(firmware).memory(768).run();
    machine.wait_for("Sosei: reading the medium");
    machine.wait_for("console ttyS0 ready");
    measured(&way, &machine);
    Operator::new(&mut machine, "en").pass();
    // Only under Secure Boot does the kernel lock itself down.
    let lockdown = machine.shell("dmesg | grep -ci 'kernel is locked down' || true");
    assert_eq!(lockdown.trim() != "0", firmware == Firmware::SecureBoot, "{lockdown}");
    check_clean(&mut machine);
}

/// A driver disk with a module that the medium lacks, one that is damaged, and one for another kernel; packages with
/// another module and firmware, compressed in two ways, and packages that can't be used.
fn driver_disk() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
        mkdir -p "$1/kernel" && cd "$1"
        dpkg-deb -x "$("$2/image-build/fetch.sh" | grep '/linux-image-[0-9]')" kernel
        kernel=$(basename kernel/lib/modules/*)
        mkdir -p tree/modules/$kernel tree/modules/5.4.0-other tree/firmware/sample
        cp kernel/lib/modules/$kernel/kernel/drivers/net/dummy.ko tree/modules/$kernel/
        head -c 1000 tree/modules/$kernel/dummy.ko > tree/modules/$kernel/broken.ko
        echo firmware > tree/firmware/sample/device.bin
        mkdir tree/packages
        pack() { # NAME COMPRESSION
          mkdir -p $1/DEBIAN
          printf 'Package: %s\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.example>\nDescription: a\n' $1 > $1/DEBIAN/control
          dpkg-deb --root-owner-group -Z$2 -b $1 tree/packages/$1.deb > /dev/null
        }
        mkdir -p vendor/lib/modules/$kernel/extra vendor/lib/firmware/vendor
        cp kernel/lib/modules/$kernel/kernel/drivers/net/ifb.ko vendor/lib/modules/$kernel/extra/
        echo of-a-package > vendor/lib/firmware/vendor/card.bin
        pack vendor xz
        mkdir -p firmware/usr/lib/firmware/vendor
        for number in 1 2; do echo $number > firmware/usr/lib/firmware/vendor/$number.bin; done
        pack firmware gzip
        # A link out of the directory, and a package behind it that brings a file of that name, and files behind others.
        mkdir -p link/lib/firmware/near && echo near > link/lib/firmware/near/a.bin
        ln -s /usr/share/sosei-victim link/lib/firmware/trap.bin
        ln -s /usr/share/sosei-victims link/lib/firmware/traps
        ln -s ../../../share/sosei-victim link/lib/firmware/near/up.bin
        ln -s ../near/a.bin link/lib/firmware/near/b.bin
        pack link gzip
        mkdir -p linked/lib/firmware/traps
        echo of-a-package | tee linked/lib/firmware/trap.bin > linked/lib/firmware/traps/sosei-victim
        pack linked gzip
        mkdir -p later/lib/modules/6.99.0-later
        cp vendor/lib/modules/$kernel/extra/ifb.ko later/lib/modules/6.99.0-later/
        pack later none
        mkdir -p unknown/lib/firmware && echo 1 > unknown/lib/firmware/unknown.bin
        pack unknown zstd
        head -c -5000 tree/packages/vendor.deb > tree/packages/short.deb
        rm -rf kernel
        xorriso -report_about WARNING -as mkisofs -V SOSEI-DRV -r -o disk tree"#;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    run("sh", ["-ec".as_ref(), script.as_ref(), "sh".as_ref(), directory.path().as_os_str(), root.as_os_str()]);
    directory
}

#[test]
fn a_driver_disk_brings_modules_and_firmware() {
    let directory = driver_disk();
    let start = Start::Kernel("sosei.console=shell".into());
    let mut machine = Setup::new(start).disk(&directory.path().join("disk"), "DRIVERS").run();
    let told = machine.wait_for("console ttyS0 ready");
    for line in [
        "modules for 5.4.0-other left out",
        "dummy.ko loaded",
        "broken.ko refused",
        "vendor.deb unpacked: modules for this kernel 1, firmware files 1",
        "ifb.ko loaded",
        "firmware.deb unpacked: modules for this kernel 0, firmware files 2",
        "later.deb unpacked: modules for this kernel 0, firmware files 0",
        "modules for 6.99.0-later left out",
        "unknown.deb refused: it is compressed as zst",
        "short.deb refused: it is cut off",
        "a firmware link to ../../../share/sosei-victim left out",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    machine.wait_for("sosei# ");
    machine.shell("lsmod | grep -q ^dummy && lsmod | grep -q ^ifb");
    let firmware = "cd /usr/lib/firmware && cat sample/device.bin vendor/card.bin vendor/1.bin vendor/2.bin";
    assert_eq!(machine.shell(firmware), "firmware\nof-a-package\n1\n2\n");
    machine.shell("[ ! -e /usr/lib/firmware/unknown.bin ] && [ ! -e /run/driver-packages ]");
    // Nothing was written through a link; one within the directory is as good as a file.
    let firmware = "cd /usr/lib/firmware && cat trap.bin traps/sosei-victim near/b.bin && [ ! -L near/up.bin ]";
    assert_eq!(machine.shell(firmware), "of-a-package\nof-a-package\nnear\n");
    machine.shell("[ ! -e /usr/share/sosei-victim ] && [ ! -L /usr/lib/firmware/traps ]");
    assert_eq!(machine.shell("cat /proc/mounts | grep -c driver-disk || true").trim(), "0");
    check_clean(&mut machine);
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn a_bios_boots_it_as_a_usb_stick() {
    check_boots(Start::Usb, Firmware::Bios);
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn uefi_boots_it_as_a_cd() {
    check_boots(Start::Cd, Firmware::Uefi);
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn secure_boot_boots_it_as_a_cd() {
    check_boots(Start::Cd, Firmware::SecureBoot);
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn secure_boot_boots_it_as_a_usb_stick() {
    check_boots(Start::Usb, Firmware::SecureBoot);
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn uefi_boots_it_as_a_usb_stick() {
    check_boots(Start::Usb, Firmware::Uefi);
}

/// The files come over the network, and nothing else does.
fn check_boots_from_network(firmware: Firmware, by_http: bool) {
    let mut machine = Setup::new(Start::Network { by_http }).firmware(firmware).memory(1024).run();
    machine.wait_for("Sosei: reading the medium");
    machine.wait_for("console ttyS0 ready");
    measured(&format!("network, {firmware:?}, {}", if by_http { "HTTP" } else { "PXE" }), &machine);
    let loader = match (by_http, firmware) {
        (true, _) => "HTTPClient",
        (false, Firmware::Bios) => "bios.0",
        (false, _) => "shimx64.efi",
    };
    assert!(machine.boot_log().contains(loader), "{}", machine.boot_log());
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn a_bios_boots_it_from_the_network() {
    check_boots_from_network(Firmware::Bios, false);
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn secure_boot_boots_it_from_the_network() {
    check_boots_from_network(Firmware::SecureBoot, false);
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn secure_boot_boots_it_by_http() {
    check_boots_from_network(Firmware::SecureBoot, true);
}

/// The menu of the medium, and a key of it.
fn choose(start: Start, key: &str, disk: Option<&Path>) -> Machine {
    let mut setup = Setup::new(start).memory(768);
    if let Some(disk) = disk {
        setup = setup.disk(disk, "FIRST");
    }
    let mut machine = setup.run();
    machine.wait_for("Turn off");
    machine.send(key);
    machine
}

/// Up to the first screen, on to the tasks, and into the shell; returns the kernel's command line.
fn to_shell(machine: &mut Machine, key: &str) -> String {
    machine.wait_for("console ttyS0 ready");
    measured(&format!("CD, BIOS, key {key}"), machine);
    Operator::new(machine, "en").pass();
    machine.shell("cat /proc/cmdline")
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn the_menu_starts_it_with_a_small_picture_or_none() {
    let reader = Reader::new(&Medium::get().font());
    let first = |text: &str| text.contains("言語 / Language");
    let mut machine = choose(Start::Cd, "s", None);
    let line = to_shell(&mut machine, "s");
    assert!(line.contains("console=tty0 console=ttyS0") && !line.contains("sosei."), "{line}");
    machine.wait_for_picture(&reader, "the first screen", first);
    drop(machine);

    let mut machine = choose(Start::Cd, "8", None);
    assert!(to_shell(&mut machine, "8").contains("video=800x600"));
    let shown = machine.wait_for_picture(&reader, "the first screen", first);
    assert_eq!(shown.lines().count(), 600 / 16, "{shown}");
    drop(machine);

    let mut machine = choose(Start::Cd, "t", None);
    assert!(to_shell(&mut machine, "t").contains("nomodeset"));
    // The kernel's own console, in English.
    machine.shell("[ ! -e /dev/fb0 ]");
    machine.shell(
        "for i in $(seq 300); do grep -q 'Choose the language' /dev/vcs1 && break; sleep 0.1; done; [ $i != 300 ]",
    );
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn the_menu_starts_it_on_a_serial_line_alone_or_with_all_messages() {
    let mut machine = choose(Start::Cd, "l", None);
    assert!(!to_shell(&mut machine, "l").contains("tty0"));
    assert_eq!(machine.shell("cat /sys/class/tty/console/active").trim(), "ttyS0");
    drop(machine);

    let mut machine = choose(Start::Cd, "m", None);
    let told = machine.wait_for("console ttyS0 ready");
    for message in ["Linux version", "looking for devices", "scsi host0: ata_piix"] {
        assert!(told.contains(message), "{message}: {told}");
    }
    Operator::new(&mut machine, "en").pass();
}

/// The driver disk takes the medium's place in the drive, which the machine does not need any more.
#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn the_menu_starts_it_with_a_driver_disk_that_comes_later() {
    let directory = driver_disk();
    let mut machine = choose(Start::Cd, "r", None);
    machine.wait_for("put the driver disk in");
    let disk = directory.path().join("disk");
    machine.control("blockdev-change-medium", &json!({ "id": "cd", "filename": disk, "format": "raw", "force": true }));
    machine.wait_for("dummy.ko loaded");
    assert!(to_shell(&mut machine, "r").contains("sosei.drivers=wait"));
    machine.shell("lsmod | grep -q ^dummy");
    drop(machine);

    let mut machine = choose(Start::Cd, "r", None);
    machine.wait_for("put the driver disk in");
    machine.send("\r");
    to_shell(&mut machine, "r, Enter");
}

/// The disk of a server with UEFI, which says so when it is up.
#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn the_menu_starts_the_disk_by_uefi() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/server.sh");
    let built = built_once("server-uefi", &["tests/vm/server.sh", "image-build"], |directory| {
        run(script.to_str().unwrap(), ["uefi", directory.join("disk").to_str().unwrap()]);
    });
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    run("cp", ["--sparse=always".as_ref(), built.join("disk").as_os_str(), disk.as_os_str()]);
    for (start, firmware) in [(Start::Cd, Firmware::Uefi), (Start::Usb, Firmware::SecureBoot)] {
        let mut machine = Setup::new(start).firmware(firmware).memory(768).disk(&disk, "FIRST").run();
        machine.wait_for("Turn off");
        machine.send("d");
        machine.wait_for("server is up: ");
        machine.wait_for_end();
    }
}

/// A disk whose boot sector writes a text to the serial line and stops.
fn talking_disk(directory: &Path) -> PathBuf {
    // cld; xor ax, ax; mov ds, ax; mov si, text; mov dx, 0x3f8; next: lodsb; test al, al; jz end; out dx, al; jmp next;
    // end: hlt; jmp end; nop
    let code = [
        0xfc, 0x31, 0xc0, 0x8e, 0xd8, 0xbe, 0x17, 0x7c, 0xba, 0xf8, 0x03, 0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb,
        0xf8, 0xf4, 0xeb, 0xfd, 0x90,
    ];
    let mut sector = [&code[..], b"boot sector of the disk\0"].concat();
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    let path = directory.join("talking");
    fs::write(&path, sector).unwrap();
    path
}

#[test]
#[ignore = "one of the many ways of `make test-vm-all`"]
fn the_menu_shows_japanese_starts_the_disk_and_turns_the_machine_off() {
    let directory = tempfile::tempdir().unwrap();
    let disk = talking_disk(directory.path());
    // A stick is the first disk of the BIOS itself.
    for start in [Start::Cd, Start::Usb] {
        choose(start, "d", Some(&disk)).wait_for("boot sector of the disk");
    }
    let reader = Reader::new(&Medium::get().font());
    let mut machine = choose(Start::Cd, "n", None);
    machine.wait_for_picture(&reader, "the menu in Japanese", |text| {
        ["起動メニュー", "Sosei, serial line only", "標準", "ドライバーディスクを使う"]
            .iter()
            .all(|part| text.contains(part))
    });
    machine.keep_picture("menu");
    machine.send("o");
    machine.wait_for_end();
}
