//! Virtual machines without hardware support, driven over a serial line and QEMU's control socket (QMP).
//!
//! Waiting means waiting for a text on the serial line, with a limit; nothing depends on how long a step takes.

mod qmp;
mod serial;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::medium::Medium;
use qmp::Control;
use serial::Serial;

/// Longer than anything takes on two busy cores without hardware support.
pub const LIMIT: Duration = Duration::from_secs(600);
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
}

/// A machine that runs. It is killed with this value.
pub struct Machine {
    _directory: TempDir,
    qemu: Child,
    serial: Serial,
    control: Control,
    started: Instant,
}

impl Setup {
    /// A machine with a BIOS, 1 GiB of memory and no disk.
    pub fn new(start: Start) -> Self {
        Self { start, firmware: Firmware::Bios, memory: 1024, disks: Vec::new() }
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

    /// Turns the machine on.
    ///
    /// # Panics
    /// Where QEMU is missing or does not start.
    pub fn run(&self) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let listen = |name: &str| UnixListener::bind(directory.path().join(name)).unwrap();
        let (serial, control) = (listen("serial"), listen("control"));
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-nodefaults", "-display", "none", "-vga", "std", "-no-reboot"]);
        command.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", &self.memory.to_string()]);
        for (id, place) in [("serial", "-serial"), ("control", "-mon")] {
            let path = directory.path().join(id).display().to_string();
            command.args(["-chardev", &format!("socket,id={id},path={path}"), place]);
            command.arg(if id == "serial" { "chardev:serial" } else { "chardev=control,mode=control" });
        }
        // romfile: no card asks the network for a system.
        command.args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]);
        self.firmware.arguments(directory.path(), &mut command);
        self.start.arguments(&mut command);
        for (number, (path, serial)) in self.disks.iter().enumerate() {
            let drive =
                format!("if=none,id=disk{number},format=raw,cache=unsafe,discard=unmap,file={}", path.display());
            let index =
                if matches!(self.start, Start::Disk) { format!(",bootindex={}", number + 1) } else { String::new() };
            command.args(["-drive", &drive, "-device"]);
            command.arg(format!("virtio-blk-pci,drive=disk{number},serial={serial}{index}"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        let mut qemu =
            command.spawn().unwrap_or_else(|error| panic!("qemu-system-x86_64: {error}; `make tools` installs it"));
        let serial = Serial::new(accept(&serial, &mut qemu));
        let control = Control::new(accept(&control, &mut qemu));
        Machine { _directory: directory, qemu, serial, control, started: Instant::now() }
    }
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
        if let Self::Disk = self {
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
                command.args(["-drive", &drive, "-device", "ide-cd,drive=medium,bootindex=1"]);
            }
            Self::Usb => {
                command.args(["-drive", &drive, "-device", "qemu-xhci", "-device"]);
                command.arg("usb-storage,drive=medium,bootindex=1");
            }
            Self::Disk => {}
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
