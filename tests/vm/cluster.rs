//! What only a kernel with the drivers of clusters can show: two halves of a DRBD mirror that meet again after one of
//! them was restored, and a disk with SCSI-3 persistent reservations.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;

use tempfile::TempDir;
use tests::run;
use tests::vm::{Machine, Setup, Start};

/// What the medium has no use for: the kernel's own SCSI target, and the tool for the mirrors of its DRBD.
fn tools() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let script = r#"
        mkdir -p "$1/kernel" "$1/tree" && cd "$1"
        dpkg-deb -x "$("$2/image-build/fetch.sh" | grep '/linux-image-[0-9]')" kernel
        kernel=$(basename kernel/lib/modules/*)
        depmod -b kernel "$kernel"
        number=10
        for module in sg target_core_mod target_core_file tcm_loop; do
          modprobe -d kernel -S "$kernel" --show-depends "$module" | awk '$1 == "insmod" { print $2 }'
        done | awk '!seen[$0]++' | while read -r path; do
          cp "$path" "tree/$number-$(basename "$path")"
          number=$((number + 1))
        done
        cp /lib/drbd/drbdsetup-84 tree/
        rm -rf kernel
        xorriso -report_about WARNING -as mkisofs -V TOOLS -r -o disk tree"#;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    run("sh", ["-ec".as_ref(), script.as_ref(), "sh".as_ref(), directory.path().as_os_str(), root.as_os_str()]);
    directory
}

/// The medium with two small empty disks, and the tools in `/run/tools`.
fn appliance(directory: &Path, tools: &Path) -> Machine {
    let mut setup = Setup::new(Start::Kernel("sosei.console=shell".into()));
    for name in ["half-a", "half-b"] {
        let path = directory.join(name);
        File::create(&path).unwrap().set_len(32 << 20).unwrap();
        setup = setup.disk(&path, name);
    }
    let mut machine = setup.disk(&tools.join("disk"), "TOOLS").run();
    machine.wait_for_shell();
    machine.shell("mkdir -p /run/tools /run/images && mount -t iso9660 -o ro /dev/vdc /run/tools");
    machine
}

/// Both nodes of a mirror in one kernel: `/dev/drbd0` on vda and `/dev/drbd1` on vdb.
struct Mirror<'a>(&'a mut Machine);

impl Mirror<'_> {
    const BASE: u32 = 100;
    const FIRST: u32 = 5000;
    const SECOND: u32 = 7000;

    fn setup(&mut self, arguments: &str) -> String {
        self.0.shell(&format!("/run/tools/drbdsetup-84 {arguments}"))
    }

    fn up(&mut self, node: u32) {
        let disk = ["/dev/vda", "/dev/vdb"][node as usize];
        // What was down in order has to take up its activity log first.
        self.0.shell(&format!("drbdmeta {node} v08 {disk} internal apply-al"));
        self.setup(&format!("new-resource r{node}"));
        self.setup(&format!("new-minor r{node} {node} 0"));
        self.setup(&format!("attach {node} {disk} {disk} internal"));
    }

    fn connect(&mut self) {
        for node in 0..2 {
            let (own, other) = (7788 + node, 7789 - node);
            self.setup(&format!("connect r{node} ipv4:127.0.0.1:{own} ipv4:127.0.0.1:{other} --protocol=C"));
        }
        self.wait_until("cs:Connected", "ds:UpToDate/UpToDate");
    }

    /// Waits until both nodes say both.
    fn wait_until(&mut self, connection: &str, disk: &str) {
        let seen = format!("[ $(grep -c '{connection}.*{disk}' /proc/drbd) = 2 ]");
        self.0.shell(&format!("for i in $(seq 600); do {seen} && break; sleep 0.1; done; cat /proc/drbd; {seen}"));
    }

    fn down(&mut self, node: u32) {
        self.setup(&format!("down r{node}"));
    }

    fn write(&mut self, node: u32, block: u32, word: &str) {
        self.0.shell(&format!(
            "printf {word} | dd of=/dev/drbd{node} bs=4096 seek={block} conv=notrunc,fsync,sync status=none"
        ));
    }

    /// The words at the three places, as a node would read them that takes over.
    fn words(&mut self, node: u32) -> Vec<String> {
        self.setup(&format!("primary {node}"));
        let places = [Self::BASE, Self::FIRST, Self::SECOND];
        let read =
            |block| format!("dd if=/dev/drbd{node} bs=4096 skip={block} count=1 status=none | tr -d '\\0'; echo");
        let printed = self.0.shell(&places.map(read).join("; "));
        self.setup(&format!("secondary {node}"));
        printed.lines().map(str::to_owned).collect()
    }

    /// A saved half comes back to a node whose peer has gone on without it, and joins.
    fn rejoin(&mut self) -> Vec<String> {
        self.up(0);
        self.connect();
        let words = self.words(0);
        self.down(0);
        words
    }
}

fn check_mirror(machine: &mut Machine) {
    machine.shell("modprobe drbd disable_sendpage=1 usermode_helper=/bin/true && ip link set lo up");
    // The halves belong to the mirror now, and not to the medium, which would protect them again.
    machine
        .shell("for disk in vda vdb; do rm /run/sosei/protected/$disk && blockdev --setrw /dev/$disk || exit 1; done");
    for (node, disk) in ["/dev/vda", "/dev/vdb"].into_iter().enumerate() {
        machine.shell(&format!("drbdmeta --force {node} v08 {disk} internal create-md"));
    }
    let mut mirror = Mirror(machine);
    for node in 0..2 {
        mirror.up(node);
    }
    for node in 0..2 {
        let (own, other) = (7788 + node, 7789 - node);
        mirror.setup(&format!("connect r{node} ipv4:127.0.0.1:{own} ipv4:127.0.0.1:{other} --protocol=C"));
    }
    mirror.wait_until("cs:Connected", "ds:Inconsistent/Inconsistent");
    mirror.setup("new-current-uuid --clear-bitmap 0");
    mirror.wait_until("cs:Connected", "ds:UpToDate/UpToDate");
    mirror.setup("primary 0");
    mirror.write(0, Mirror::BASE, "base");
    mirror.setup("secondary 0");
    mirror.down(0);
    mirror.down(1);
    mirror.0.shell("sosei save /run/images node-a /dev/vda");
    mirror.0.shell("dd if=/dev/vda of=/run/old bs=1M status=none");

    // Both work on; then the first node dies, and the second takes over.
    mirror.up(0);
    mirror.up(1);
    mirror.connect();
    mirror.setup("primary 0");
    mirror.write(0, Mirror::FIRST, "first");
    mirror.setup("secondary 0");
    mirror.down(0);
    mirror.setup("primary 1");
    mirror.write(1, Mirror::SECOND, "second");
    mirror.setup("secondary 1");

    // Copied back as it was, the half takes only what the peer wrote since they parted: the row of before is lost, and
    // both nodes call it up to date. This is what the mark is for.
    mirror.0.shell("dd if=/run/old of=/dev/vda bs=1M conv=fsync status=none");
    mirror.setup("disconnect ipv4:127.0.0.1:7789 ipv4:127.0.0.1:7788 --force || true");
    assert_eq!(mirror.rejoin(), ["base", "", "second"]);

    let refused = mirror.0.try_shell("sosei restore /run/images node-a /dev/vda --yes");
    assert_eq!(refused.0, 4, "{}", refused.1);
    mirror.0.shell("sosei restore /run/images node-a /dev/vda --yes --scope one-node");
    mirror.setup("disconnect ipv4:127.0.0.1:7789 ipv4:127.0.0.1:7788 --force || true");
    assert_eq!(mirror.rejoin(), ["base", "first", "second"]);
    mirror.down(1);
}

/// One LUN behind two ports of this machine's own target: `/dev/sda` and `/dev/sdb`.
fn make_lun(machine: &mut Machine) {
    machine
        .shell("for module in /run/tools/*.ko; do insmod $module 2> /dev/null; done; grep -q ^tcm_loop /proc/modules");
    let script = [
        "mount -t configfs none /sys/kernel/config 2> /dev/null",
        "cd /sys/kernel/config/target && mkdir -p core/fileio_0/lun0",
        "truncate -s 16M /run/lun && printf 'label: dos\\nlabel-id: 0x22c779e1\\nstart=2048, type=83\\n' | sfdisk -q /run/lun",
        "mkdir /run/seed && truncate -s 1M /run/node && sosei save /run/seed node /run/node",
        "mke2fs -q -F -t ext4 -d /run/seed -E offset=1048576 /run/lun 14m",
        "sha256sum /run/lun > /run/lun.sum",
        "echo fd_dev_name=/run/lun,fd_dev_size=16777216 > core/fileio_0/lun0/control",
        "echo 1 > core/fileio_0/lun0/enable",
        "echo 0a1b2c3d-4e5f > core/fileio_0/lun0/wwn/vpd_unit_serial",
    ];
    machine.shell(&script.join("; "));
    for port in 1..=2 {
        let group = format!("/sys/kernel/config/target/loopback/naa.600140500000000{port}/tpgt_1");
        machine.shell(&format!(
            "mkdir -p {group} && echo naa.60014051111111{port}{port} > {group}/nexus && mkdir {group}/lun/lun_0 && \
             ln -s /sys/kernel/config/target/core/fileio_0/lun0 {group}/lun/lun_0/port"
        ));
    }
    machine
        .shell("for i in $(seq 300); do [ -b /dev/sda ] && [ -b /dev/sdb ] && break; sleep 0.1; done; udevadm settle");
}

/// Registers, reserves or gives back as another node would: the tool of the machine, not the program.
fn persist(machine: &mut Machine, arguments: &str) {
    // It calls the first command after a change failed, and carries it out all the same; what follows sees whether.
    machine.try_shell(&format!("sg_persist --out {arguments} /dev/sda"));
}

fn check_reservations(machine: &mut Machine) {
    make_lun(machine);
    let disks = machine.shell("sosei disks");
    let lines = disks.lines().filter(|line| line.starts_with("/dev/sd")).count();
    assert_eq!(lines, 1, "one disk, by two paths: {disks}");
    let wwn = machine.shell("cat /sys/block/sda/device/wwid").trim().to_owned();
    assert!(disks.contains(&wwn) && disks.contains("E12: /dev/sda /dev/sdb"), "{wwn}: {disks}");
    machine.shell("sosei save /run/images lun /dev/sda");
    // By its other path it is still the same disk: named twice, or with the repository on it.
    let (status, printed) = machine.try_shell("sosei save /run/images both /dev/sda /dev/sdb --json");
    assert!(status == 2 && printed.contains("\"disk-twice\""), "{status}: {printed}");
    machine.shell("mkdir /run/on-lun && mount -o ro,noload /dev/sda1 /run/on-lun");
    let (status, printed) = machine.try_shell("sosei restore /run/on-lun node /dev/sdb --yes --json");
    assert!(status == 4 && printed.contains("\"repository-disk\""), "{status}: {printed}");
    machine.shell("umount /run/on-lun && sha256sum -c /run/lun.sum");

    persist(machine, "--register --param-sark=0xabc123");
    persist(machine, "--reserve --param-rk=0xabc123 --prout-type=5");
    let seen = machine.shell("sosei disks /dev/sda");
    assert!(seen.contains("S1") && seen.contains("0000000000abc123"), "{seen}");
    assert!(seen.contains("Write Exclusive, Registrants Only"), "{seen}");
    for path in ["/dev/sda", "/dev/sdb"] {
        let line = format!("sosei restore /run/images lun {path} --yes --scope all-nodes --confirm '{wwn}' --json");
        let (status, printed) = machine.try_shell(&line);
        assert_eq!(status, 4, "{printed}");
        assert!(printed.contains("\"shared-registered\""), "{printed}");
    }

    persist(machine, "--release --param-rk=0xabc123 --prout-type=5");
    persist(machine, "--reserve --param-rk=0xabc123 --prout-type=3");
    let (status, printed) = machine.try_shell("sosei save /run/images again /dev/sdb --json");
    assert_eq!(status, 4, "{printed}");
    assert!(printed.contains("\"shared-contended\""), "{printed}");
    let (_, printed) = machine.try_shell("sosei disks /dev/sdb");
    assert!(printed.contains("(X)") && printed.contains("Exclusive Access"), "{printed}");
    machine.shell("sha256sum -c /run/lun.sum");
}

#[test]
fn a_restored_half_of_a_mirror_can_not_win_and_reserved_disks_are_not_touched() {
    let (directory, tools) = (tempfile::tempdir().unwrap(), tools());
    let mut machine = appliance(directory.path(), tools.path());
    check_mirror(&mut machine);
    println!("mirror after {:.1} s", machine.elapsed().as_secs_f64());
    check_reservations(&mut machine);
    println!("reservations after {:.1} s", machine.elapsed().as_secs_f64());
}
