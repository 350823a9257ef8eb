//! Virtual machines without hardware support, driven over a serial line and QEMU's control socket (QMP).
//!
//! Waiting means waiting for a text on the serial line, with a limit; nothing depends on how long a step takes.

mod browse;
pub mod network;
pub mod operator;
pub mod picture;
mod qmp;
mod serial;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::medium::Medium;
use network::BootServer;
use picture::Reader;
use qmp::Control;
use serial::Serial;

/// Longer than anything takes on two busy cores without hardware support.
pub const LIMIT: Duration = Duration::from_secs(600);
/// A picture follows what is done within this time.
const PICTURE_LIMIT: Duration = crate::wait::LIMIT;
/// What the medium's shell prints when it waits for a command.
const PROMPT: &str = "sosei# ";

/// How the firmware of a machine behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// A BIOS.
    Bios,
    /// UEFI without Secure Boot.
    Uefi,
    /// UEFI that runs nothing without a signature.
    SecureBoot,
}

/// What a machine starts from.
#[derive(Clone, Debug)]
pub enum Start {
    /// The medium's kernel, without a loader, with these arguments more.
    Kernel(String),
    /// The medium's kernel with another initramfs.
    Bare(PathBuf),
    /// The medium as a CD.
    Cd,
    /// The medium as a USB stick.
    Usb,
    /// The network: by PXE, or, where the firmware can, by HTTP.
    Network {
        /// By HTTP.
        by_http: bool,
    },
    /// The first disk.
    Disk,
}

/// A machine that does not run yet.
pub struct Setup {
    /// What it starts from.
    pub start: Start,
    /// Its firmware.
    pub firmware: Firmware,
    /// MiB of memory.
    pub memory: u32,
    /// Files that are its disks, with their serial numbers.
    pub disks: Vec<(PathBuf, String)>,
    /// Network cards. The first has a way to the host.
    pub cards: u32,
    /// Sectors of the first disk that can't be read.
    pub bad_sectors: Vec<u64>,
    /// A disk of SCSI behind two adapters: file and serial number.
    pub two_paths: Option<(PathBuf, String)>,
}

/// A machine that runs. It is killed with this value.
pub struct Machine {
    directory: TempDir,
    /// What it booted from, where that is a network.
    boot_server: Option<BootServer>,
    qemu: Child,
    serial: Serial,
    control: Control,
    started: Instant,
}

impl Setup {
    /// A machine with a BIOS, 1 GiB of memory and no disk.
    pub fn new(start: Start) -> Self {
        Self {
            start,
            firmware: Firmware::Bios,
            memory: 1024,
            disks: Vec::new(),
            cards: 1,
            bad_sectors: Vec::new(),
            two_paths: None,
        }
    }

    /// The same with another disk.
    #[must_use]
    pub fn disk(mut self, path: &Path, serial: &str) -> Self {
        self.disks.push((path.to_owned(), serial.to_owned()));
        self
    }

    /// The same with other firmware.
    #[must_use]
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// The same with another amount of memory, in MiB.
    #[must_use]
    pub fn memory(mut self, memory: u32) -> Self {
        self.memory = memory;
        self
    }

    /// The same with more network cards.
    #[must_use]
    pub fn cards(mut self, cards: u32) -> Self {
        self.cards = cards;
        self
    }

    /// The same with sectors of its first disk that can't be read.
    #[must_use]
    pub fn bad_sectors(mut self, sectors: &[u64]) -> Self {
        self.bad_sectors = sectors.to_vec();
        self
    }

    /// The same with a disk of SCSI behind two adapters, `path0` and `path1`.
    #[must_use]
    pub fn two_paths(mut self, path: &Path, serial: &str) -> Self {
        self.two_paths = Some((path.to_owned(), serial.to_owned()));
        self
    }

    /// Turns the machine on.
    ///
    /// # Panics
    /// Where QEMU is missing or does not start.
    pub fn run(&self) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let listen = |name: &str| UnixListener::bind(directory.path().join(name)).unwrap();
        let (serial, control) = (listen("serial"), listen("control"));
        let boot_server =
            matches!(self.start, Start::Network { .. }).then(|| BootServer::start(&Medium::get().network()));
        let program = "qemu-system-x86_64";
        let mut command = boot_server.as_ref().map_or_else(|| Command::new(program), |server| server.inside(program));
        command.args(["-nodefaults", "-display", "none", "-vga", "std", "-no-reboot"]);
        command.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", &self.memory.to_string()]);
        for (id, place) in [("serial", "-serial"), ("control", "-mon")] {
            let path = directory.path().join(id).display().to_string();
            command.args(["-chardev", &format!("socket,id={id},path={path}"), place]);
            command.arg(if id == "serial" { "chardev:serial" } else { "chardev=control,mode=control" });
        }
        // Without a ROM no card asks the network for a system; UEFI does that by itself.
        let card = "virtio-net-pci,netdev=net";
        let card = match (&self.start, self.firmware) {
            (Start::Network { .. }, Firmware::Bios) => format!("{card},bootindex=1"),
            (Start::Network { .. }, _) => format!("{card},bootindex=1,romfile="),
            _ => format!("{card},romfile="),
        };
        let way = if boot_server.is_some() { "tap,id=net,ifname=tap0,script=no,downscript=no" } else { "user,id=net" };
        command.args(["-netdev", way, "-device", &card]);
        for number in 1..self.cards {
            command.args(["-netdev", &format!("user,id=net{number}")]);
            command.args(["-device", &format!("virtio-net-pci,netdev=net{number},romfile=")]);
        }
        if matches!(self.start, Start::Network { by_http: true }) {
            for kind in ["IPv4PXESupport", "IPv6PXESupport"] {
                command.args(["-fw_cfg", &format!("name=opt/org.tianocore/{kind},string=n")]);
            }
        }
        self.firmware.arguments(directory.path(), &mut command);
        self.start.arguments(&mut command);
        for (number, (path, serial)) in self.disks.iter().enumerate() {
            let faults = directory.path().join("faults");
            let file = if number == 0 && !self.bad_sectors.is_empty() {
                std::fs::write(&faults, bad_sectors(&self.bad_sectors)).unwrap();
                let through = format!("file.driver=blkdebug,file.config={}", faults.display());
                format!("{through},file.image.driver=file,file.image.filename={}", path.display())
            } else {
                format!("file={}", path.display())
            };
            let drive = format!("if=none,id=disk{number},format=raw,cache=unsafe,discard=unmap,{file}");
            // Firmware knows of the disks also where it starts something else first.
            let is_tried = matches!(self.start, Start::Disk | Start::Cd | Start::Usb);
            let index = if is_tried { format!(",bootindex={}", number + 2) } else { String::new() };
            command.args(["-drive", &drive, "-device"]);
            command.arg(format!("virtio-blk-pci,drive=disk{number},serial={serial}{index}"));
        }
        if let Some((path, serial)) = &self.two_paths {
            for number in 0..2 {
                let file = format!("format=raw,cache=none,file.locking=off,file={}", path.display());
                command.args(["-drive", &format!("if=none,id=lun{number},{file}")]);
                command.args(["-device", &format!("virtio-scsi-pci,id=adapter{number}"), "-device"]);
                let disk = format!("scsi-hd,id=path{number},bus=adapter{number}.0,drive=lun{number}");
                command.arg(format!("{disk},serial={serial},wwn=0x5000c500aabbccdd,share-rw=on"));
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let mut qemu =
            command.spawn().unwrap_or_else(|error| panic!("qemu-system-x86_64: {error}; `make tools` installs it"));
        let serial = Serial::new(accept(&serial, &mut qemu));
        let control = Control::new(accept(&control, &mut qemu));
        Machine { directory, boot_server, qemu, serial, control, started: Instant::now() }
    }
}

/// Source: QEMU's "Block I/O error injection using blkdebug".
fn bad_sectors(sectors: &[u64]) -> String {
    let rule = |sector: &u64| {
        format!("[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\nsector = \"{sector}\"\nonce = \"off\"\n")
    };
    sectors.iter().map(rule).collect()
}

/// The connection that QEMU makes, unless it ends before.
fn accept(listener: &UnixListener, qemu: &mut Child) -> std::os::unix::net::UnixStream {
    listener.set_nonblocking(true).unwrap();
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            return stream;
        }
        assert!(qemu.try_wait().unwrap().is_none(), "QEMU ended at once");
        thread::sleep(Duration::from_millis(10));
    }
}

impl Firmware {
    fn arguments(self, directory: &Path, command: &mut Command) {
        let (code, variables) = match self {
            Self::Bios => {
                command.args(["-machine", "pc"]);
                return;
            }
            Self::Uefi => ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
            Self::SecureBoot => ("OVMF_CODE_4M.secboot.fd", "OVMF_VARS_4M.ms.fd"),
        };
        let own = directory.join("variables");
        std::fs::copy(Path::new("/usr/share/OVMF").join(variables), &own)
            .unwrap_or_else(|error| panic!("{variables}: {error}; `make tools` installs it"));
        let is_secure = self == Self::SecureBoot;
        command.args(["-machine", if is_secure { "q35,smm=on" } else { "q35" }]);
        if is_secure {
            command.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
            command.args(["-global", "ICH9-LPC.disable_s3=1"]);
        }
        command.args(["-drive", &format!("if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/{code}")]);
        command.args(["-drive", &format!("if=pflash,format=raw,unit=1,file={}", own.display())]);
    }
}

impl Start {
    fn arguments(&self, command: &mut Command) {
        if matches!(self, Self::Network { .. } | Self::Disk) {
            return;
        }
        let medium = Medium::get();
        let drive = format!("if=none,id=medium,format=raw,readonly=on,file={}", medium.iso().display());
        match self {
            Self::Kernel(arguments) => {
                let line = format!("console=tty0 console=ttyS0,115200n8 quiet panic=5 {arguments}");
                command
                    .arg("-kernel")
                    .arg(medium.kernel())
                    .arg("-initrd")
                    .arg(medium.initrd())
                    .args(["-append", &line]);
            }
            Self::Bare(initrd) => {
                command.arg("-kernel").arg(medium.kernel()).arg("-initrd").arg(initrd);
                command.args(["-append", "console=tty0 console=ttyS0,115200n8 quiet panic=5"]);
            }
            Self::Cd => {
                command.args(["-drive", &drive, "-device", "ide-cd,id=cd,drive=medium,bootindex=1"]);
            }
            Self::Usb => {
                command.args(["-drive", &drive, "-device", "qemu-xhci", "-device"]);
                command.arg("usb-storage,drive=medium,bootindex=1");
            }
            Self::Network { .. } | Self::Disk => {}
        }
    }
}

impl Machine {
    /// Waits until a text comes over the serial line; what came up to its end is returned.
    ///
    /// # Panics
    /// Where it does not come within [`LIMIT`], or the machine ends before.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        self.serial.wait_for(text, LIMIT)
    }

    /// What stands on a terminal of 24 lines at the serial line.
    pub fn screen(&self) -> String {
        self.serial.screen()
    }

    /// The same when a frame has come to its end: nothing follows for a moment.
    ///
    /// # Panics
    /// As [`Machine::wait_for`].
    #[track_caller]
    pub fn whole_screen(&self) -> String {
        self.serial.whole_screen(LIMIT)
    }

    /// Waits until such a terminal shows what it should; returns what it shows then.
    ///
    /// # Panics
    /// As [`Machine::wait_for`].
    #[track_caller]
    pub fn wait_for_screen(&self, what: &str, is_met: impl Fn(&str) -> bool) -> String {
        self.serial.wait_for_screen(what, LIMIT, is_met)
    }

    /// Types into the serial line.
    ///
    /// # Panics
    /// Where the machine ended.
    pub fn send(&mut self, text: &str) {
        self.serial.send(text);
    }

    /// Waits for the medium's shell.
    ///
    /// # Panics
    /// As [`Machine::wait_for`].
    #[track_caller]
    pub fn wait_for_shell(&mut self) {
        self.wait_for("console ttyS0 ready");
        self.wait_for(PROMPT);
    }

    /// Runs a line in the medium's shell, and returns what it printed.
    ///
    /// # Panics
    /// Where it exits with another status than 0.
    #[track_caller]
    pub fn shell(&mut self, line: &str) -> String {
        let (status, printed) = self.try_shell(line);
        assert_eq!(status, 0, "{line}\n{printed}");
        printed
    }

    /// Runs a line in the medium's shell: its exit status and what it printed.
    ///
    /// # Panics
    /// As [`Machine::wait_for`].
    #[track_caller]
    pub fn try_shell(&mut self, line: &str) -> (i32, String) {
        // The quotes keep the echo of what is typed from looking like the answer.
        self.send(&format!("echo be''gin; {line}; echo sta''tus=$?.\r"));
        self.wait_for("begin\r\n");
        let printed = self.wait_for("status=");
        let status = self.wait_for(".").trim_end_matches('.').parse().unwrap();
        self.wait_for(PROMPT);
        (status, printed.trim_end_matches("status=").replace('\r', ""))
    }

    /// Waits until the medium has a way to the host.
    ///
    /// # Panics
    /// As [`Machine::wait_for`].
    #[track_caller]
    pub fn wait_for_network(&mut self) {
        self.shell("until ip route | grep -q default; do sleep 0.2; done");
    }

    /// Turns the machine off in an orderly way and waits for its end.
    ///
    /// # Panics
    /// Where it does not end.
    #[track_caller]
    pub fn turn_off(mut self) {
        self.send("poweroff\r");
        self.wait_for_end();
    }

    /// Waits until the machine turns itself off.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn wait_for_end(&mut self) {
        while self.qemu.try_wait().unwrap().is_none() {
            assert!(self.started.elapsed() < 2 * LIMIT, "it does not end:\n{}", self.serial.tail());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where files of this machine can be kept as long as it runs.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Types on the keyboard that belongs to the screen: names of keys as QEMU has them, held together where a `-` is
    /// between them.
    ///
    /// # Panics
    /// Where there is no such key.
    pub fn press(&mut self, keys: &str) {
        for keys in keys.split_whitespace() {
            let keys: Vec<_> = keys.split('-').map(|key| json!({ "type": "qcode", "data": key })).collect();
            self.control("send-key", &json!({ "keys": keys, "hold-time": 20 }));
            // The keys come to the machine one after the other; it loses those that come while one is held.
            thread::sleep(Duration::from_millis(60));
        }
    }

    /// Waits until the picture shows what it should; returns its text.
    ///
    /// # Panics
    /// As [`Machine::wait_for`].
    #[track_caller]
    pub fn wait_for_picture(&mut self, reader: &Reader, what: &str, is_met: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let text = reader.read(self);
            if is_met(&text) {
                return text;
            }
            assert!(began.elapsed() < PICTURE_LIMIT, "{what} is not shown, but\n{text}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Keeps the picture for docs/images, where `SOSEI_PICTURES` names a directory.
    ///
    /// # Panics
    /// Where it can't be written.
    pub fn keep_picture(&mut self, name: &str) {
        if let Ok(directory) = std::env::var("SOSEI_PICTURES") {
            let file = Path::new(&directory).join(format!("console-{name}.png"));
            self.control("screendump", &json!({ "filename": file, "format": "png" }));
        }
    }

    /// What the server told that it booted from; empty where there was none.
    pub fn boot_log(&self) -> String {
        self.boot_server.as_ref().map(BootServer::log).unwrap_or_default()
    }

    /// How long it has been running.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Processor seconds that QEMU has used: steadier than time on a machine that others use too.
    ///
    /// # Panics
    /// Where it ended.
    pub fn processor_seconds(&self) -> f64 {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.qemu.id())).unwrap();
        // Source: proc(5), stat: fields 14 and 15, in hundredths of a second; counted behind the name.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        ticks / 100.0
    }

    /// Gives QEMU a command, as `screendump`, and returns what it answers.
    ///
    /// # Panics
    /// Where it refuses.
    pub fn control(&mut self, command: &str, arguments: &serde_json::Value) -> serde_json::Value {
        self.control.execute(command, arguments)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
