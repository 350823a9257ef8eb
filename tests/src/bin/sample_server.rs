//! A sample server in a virtual machine that boots the live medium in this terminal, with an NFS and an SMB server at its
//! side. Everything is taken away when it ends.
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::unwrap_used)]

use std::fs;
use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::ganesha::Ganesha;
use tests::medium::{Medium, built_once};
use tests::run;
use tests::samba::{PASSWORD, Samba, Share, USER};

/// The server's disk, one with NTFS as Windows leaves it, half of a mirror, and a blank one.
fn disks(directory: &Path) -> Vec<(PathBuf, &'static str)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/server.sh");
    let built = built_once("server-bios", &["tests/vm/server.sh", "image-build"], |directory| {
        run(script.to_str().unwrap(), ["bios", directory.join("disk").to_str().unwrap()]);
    });
    let make = r#"
        cd "$1"
        cp --sparse=always "$2" server
        truncate -s 256M windows blank
        printf 'label: dos\nstart=1MiB, type=7, bootable\n' | sfdisk -q windows
        truncate -s 254M ntfs
        mkntfs -q -F -f -L Windows ntfs > /dev/null
        dd if=ntfs of=windows bs=1M seek=1 conv=notrunc,sparse status=none
        rm ntfs
        zstd -qdf "$3/fixtures/md.img.zst" -o mirror"#;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = built.join("disk");
    run(
        "sh",
        ["-ec".as_ref(), make.as_ref(), "sh".as_ref(), directory.as_os_str(), built.as_os_str(), tests.as_os_str()],
    );
    ["server", "windows", "mirror", "blank"].map(|name| (directory.join(name), name)).into()
}

fn main() {
    println!("Making the medium and the disks of a sample server; the first time takes about a minute.");
    let medium = Medium::get();
    let directory = tempfile::tempdir().unwrap();
    let disks = disks(directory.path());
    let (exported, shared) = (directory.path().join("nfs"), directory.path().join("smb"));
    for place in [&exported, &shared] {
        fs::create_dir(place).unwrap();
        fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ganesha = Ganesha::start(&exported);
    let samba = Samba::start(&[Share::new("images", &shared)]);
    let outside = |target: String| target.replace("127.0.0.1", "10.0.2.2");
    println!("\n  NFS   {}", outside(ganesha.target(&exported, "")));
    println!("  SMB   {}   user {USER}, password {PASSWORD}", outside(samba.target("images", "")));
    println!("\nBooting without hardware support takes 15 to 30 seconds. Ctrl-A X ends the machine.\n");

    // Only on request: a machine that is virtual itself may have a /dev/kvm on which no guest starts.
    let has_support = std::env::var_os("SOSEI_KVM").is_some();
    let size = terminal_size();
    let line = format!("console=tty0 console=ttyS0,115200n8 quiet panic=5 sosei.size={size}");
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-nodefaults", "-display", "none", "-vga", "std", "-no-reboot", "-m", "1024", "-smp", "2"]);
    command.args(["-accel", if has_support { "kvm" } else { "tcg,thread=multi" }, "-serial", "mon:stdio"]);
    command.args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]);
    command.arg("-kernel").arg(medium.kernel()).arg("-initrd").arg(medium.initrd()).args(["-append", &line]);
    for (path, name) in disks {
        command.args(["-drive", &format!("if=none,id={name},format=raw,cache=unsafe,file={}", path.display())]);
        command.args(["-device", &format!("virtio-blk-pci,drive={name},serial=SAMPLE-{}", name.to_uppercase())]);
    }
    let ended =
        command.status().unwrap_or_else(|error| panic!("qemu-system-x86_64: {error}; `make tools` installs it"));
    assert!(ended.success(), "{ended}");
}

/// Rows and columns of this terminal, as the medium wants to know them.
fn terminal_size() -> String {
    let output = std::io::stdout();
    match rustix::termios::tcgetwinsize(&output) {
        Ok(size) if output.is_terminal() && size.ws_row > 0 => format!("{}x{}", size.ws_row, size.ws_col),
        _ => "24x80".into(),
    }
}
