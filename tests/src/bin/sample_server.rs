//! A sample server in a virtual machine that boots the live medium in this terminal, with an NFS and an SMB server at its
//! side. Everything is taken away when it ends, also when it is ended by a signal.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use tests::ganesha::Ganesha;
use tests::medium::{Medium, built_once};
use tests::run;
use tests::samba::{PASSWORD, Samba, Share, USER};

/// QEMU gives the terminal back when it is asked to end, within this time.
const PART_LIMIT: Duration = Duration::from_secs(10);

/// The server's disk, one with NTFS as Windows leaves it, half of a mirror of DRBD, and a blank one.
fn disks(directory: &Path) -> Vec<(PathBuf, &'static str)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/server.sh");
    let built = built_once("server-bios", &["tests/vm/server.sh", "image-build"], |directory| {
        run(script.to_str().unwrap(), ["bios", directory.join("disk").to_str().unwrap()]);
    });
    let make = r#"
        PATH=$PATH:/usr/sbin:/sbin
        cd "$1"
        cp --sparse=always "$2" server
        truncate -s 256M windows cluster
        truncate -s 512M blank
        part() { truncate -s "$2" part && shift 2 && "$@"; }
        put() { dd if=part of="$1" bs=1M seek=1 conv=notrunc,sparse status=none && rm part; }
        printf 'label: dos\nstart=1MiB, type=7, bootable\n' | sfdisk -q windows
        part ntfs 254M mkntfs -q -F -f -L Windows part > /dev/null 2>&1
        put windows
        printf 'label: gpt\nstart=1MiB, size=200MiB, name="drbd-r0"\n' | sfdisk -q cluster
        part drbd 200M drbdmeta --force 0 v08 part internal create-md > /dev/null 2>&1
        mke2fs -q -F -t ext4 -L database part 199M
        drbdmeta --force 0 v08 part internal set-gi 1111111111111110:0:0:0:1:1 > /dev/null 2>&1
        put cluster"#;
    run("sh", ["-ec".as_ref(), make.as_ref(), "sh".as_ref(), directory.as_os_str(), built.join("disk").as_os_str()]);
    ["server", "windows", "cluster", "blank"].map(|name| (directory.join(name), name)).into()
}

fn main() {
    let is_ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::clone(&is_ended)).unwrap();
    }
    // Whoever ends it while it is made knows why it does not go on.
    let (usual, is_wanted) = (std::panic::take_hook(), Arc::clone(&is_ended));
    std::panic::set_hook(Box::new(move |why| {
        if !is_wanted.load(Ordering::SeqCst) {
            usual(why);
        }
    }));
    run_server(&is_ended);
    let _ = writeln!(std::io::stdout(), "The sample server has ended; nothing of it is left.");
}

fn run_server(is_ended: &AtomicBool) {
    println!("Making the medium and the disks of a sample server; the first time takes about a minute.");
    let medium = Medium::get();
    let directory = tempfile::Builder::new().prefix("sample-").tempdir().unwrap();
    let disks = disks(directory.path());
    let (exported, shared) = (directory.path().join("nfs"), directory.path().join("smb"));
    for place in [directory.path(), &exported, &shared] {
        fs::create_dir_all(place).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let ganesha = Ganesha::start(&exported);
    let samba = Samba::start(&[Share::new("images", &shared)]);
    let outside = |target: String| target.replace("127.0.0.1", "10.0.2.2");
    let (nfs, smb) = (outside(ganesha.target(&exported, "")), outside(samba.target("images", "")));
    // Only on request: a machine that is virtual itself may have a /dev/kvm on which no guest starts.
    let has_support = std::env::var_os("SOSEI_KVM").is_some_and(|value| !value.is_empty());
    let time = if has_support {
        "The first screen comes in a few seconds."
    } else if Path::new("/dev/kvm").exists() {
        "Without hardware support the first screen takes 15 to 30 seconds; with it, by `make run SOSEI_KVM=1`, a few."
    } else {
        "Without hardware support the first screen takes 15 to 30 seconds."
    };
    println!(
        "
It has four disks: server (Debian), windows (NTFS), cluster (half of a mirror of DRBD), blank (to restore to).
Two servers keep images. The screens offer them where they ask for a target:
  NFS   {nfs}
  SMB   {smb}   password {PASSWORD} (user {USER})

{time}
Ctrl-A X ends the machine; the servers, the disks and all images end with it.
"
    );
    if is_ended.load(Ordering::SeqCst) {
        return;
    }
    let size = terminal_size();
    let line = format!("console=tty0 console=ttyS0,115200n8 quiet panic=5 sosei.size={size}");
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-nodefaults", "-display", "none", "-vga", "std", "-no-reboot", "-m", "1024", "-smp", "2"]);
    command.args(["-accel", if has_support { "kvm" } else { "tcg,thread=multi" }, "-serial", "mon:stdio"]);
    command.args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]);
    command.arg("-kernel").arg(medium.kernel()).arg("-initrd").arg(medium.initrd());
    command.args(["-append", &format!("{line} sosei.target={nfs} sosei.target={smb}")]);
    for (path, name) in disks {
        command.args(["-drive", &format!("if=none,id={name},format=raw,cache=unsafe,file={}", path.display())]);
        command.args(["-device", &format!("virtio-blk-pci,drive={name},serial={}", name.to_uppercase())]);
    }
    let before = tcgetattr(std::io::stdin());
    let qemu = command.spawn();
    let mut qemu = qemu.unwrap_or_else(|error| panic!("qemu-system-x86_64: {error}; `make tools` installs it"));
    let is_well = wait_for_end(&mut qemu, is_ended);
    // Whatever the machine showed last, the terminal is what it was before.
    if let Ok(before) = before {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        let _ = write!(std::io::stdout(), "\x1b[?1049l\x1b[?25h\x1b[0m\x1b[999H\r\n");
    }
    assert!(is_well || is_ended.load(Ordering::SeqCst), "QEMU failed");
}

/// Waits until the machine ends; ends it where this program is asked to. Tells whether it ended well.
fn wait_for_end(qemu: &mut Child, is_ended: &AtomicBool) -> bool {
    let mut asked: Option<Instant> = None;
    loop {
        if let Some(status) = qemu.try_wait().unwrap() {
            return status.success();
        }
        match asked {
            None if is_ended.load(Ordering::SeqCst) => {
                let _ = kill_process(Pid::from_child(qemu), Signal::TERM);
                asked = Some(Instant::now());
            }
            Some(since) if since.elapsed() > PART_LIMIT => drop(qemu.kill()),
            _ => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Rows and columns of this terminal, as the medium wants to know them.
fn terminal_size() -> String {
    let output = std::io::stdout();
    match tcgetwinsize(&output) {
        Ok(size) if output.is_terminal() && size.ws_row > 0 => format!("{}x{}", size.ws_row, size.ws_col),
        _ => "24x80".into(),
    }
}
