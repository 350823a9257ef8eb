//! The machine that the program runs on: DMI, firmware, network cards.

use std::fs;
use std::path::Path;

/// What identifies a machine. What can't be found out is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Host name of the running system.
    pub host_name: Option<String>,
    /// DMI: manufacturer.
    pub vendor: Option<String>,
    /// DMI: product name.
    pub product: Option<String>,
    /// DMI: serial number; readable by root only.
    pub serial: Option<String>,
    /// DMI: UUID; readable by root only.
    pub uuid: Option<String>,
    /// Whether the firmware is UEFI; otherwise BIOS.
    pub is_uefi: bool,
    /// Network cards with a hardware address.
    pub network: Vec<NetworkCard>,
    /// Names by which the machine is known to storage.
    pub adapters: Vec<Adapter>,
    /// Drivers that the kernel uses for storage and network, in the order of their names.
    pub drivers: Vec<String>,
}

/// A name by which storage knows the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapter {
    /// `fc` or `iscsi`.
    pub kind: String,
    /// WWPN as 16 digits, or name of the initiator.
    pub name: String,
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkCard {
    /// Name that the system gave it.
    pub name: String,
    /// Hardware address.
    pub address: String,
}

/// The machine that the program runs on.
pub fn machine() -> Machine {
    let dmi = |name: &str| read(&Path::new("/sys/class/dmi/id").join(name));
    Machine {
        host_name: read(Path::new("/proc/sys/kernel/hostname")),
        vendor: dmi("sys_vendor"),
        product: dmi("product_name"),
        serial: dmi("product_serial"),
        uuid: dmi("product_uuid"),
        is_uefi: Path::new("/sys/firmware/efi").exists(),
        network: network_cards(),
        adapters: adapters(),
        drivers: drivers(),
    }
}

/// MBR signature, as 8 digits, of what the BIOS told the kernel to be its first disk; the kernel needs its module `edd`.
///
/// Source: Linux `Documentation/ABI/testing/sysfs-firmware-edd` (`mbr_signature`, as `0x` and 8 digits).
pub fn bios_boot_signature() -> Option<String> {
    let text = read(Path::new("/sys/firmware/edd/int13_dev80/mbr_signature"))?;
    let digits = text.strip_prefix("0x")?.to_lowercase();
    (digits.len() == 8 && digits != "00000000").then_some(digits)
}

/// WWPNs of Fibre Channel ports, and the name of the iSCSI initiator.
fn adapters() -> Vec<Adapter> {
    let ports = fs::read_dir("/sys/class/fc_host").into_iter().flatten().flatten();
    let mut found: Vec<_> = ports
        .filter_map(|port| read(&port.path().join("port_name")))
        .map(|name| Adapter { kind: "fc".into(), name: name.trim_start_matches("0x").to_owned() })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    let initiator = read(Path::new("/etc/iscsi/initiatorname.iscsi")).unwrap_or_default();
    let names = initiator.lines().filter_map(|line| line.trim().strip_prefix("InitiatorName="));
    found.extend(names.map(|name| Adapter { kind: "iscsi".into(), name: name.to_owned() }));
    found
}

/// The drivers of the devices behind disks' hosts and network cards.
fn drivers() -> Vec<String> {
    let mut found = Vec::new();
    for class in ["scsi_host", "nvme", "net", "block"] {
        let entries = fs::read_dir(Path::new("/sys/class").join(class)).into_iter().flatten().flatten();
        for device in entries.filter_map(|entry| entry.path().join("device").canonicalize().ok()) {
            // A disk hangs below its controller: the next driver above is the one that matters.
            let link = device.ancestors().take(6).map(|above| above.join("driver")).find(|link| link.exists());
            let name = link.and_then(|link| link.canonicalize().ok()?.file_name()?.to_str().map(str::to_owned));
            found.extend(name);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn network_cards() -> Vec<NetworkCard> {
    let entries = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    let mut cards: Vec<_> = entries
        // Bridges, bonds and the loopback have no device behind them.
        .filter(|entry| entry.path().join("device").exists())
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            Some(NetworkCard { name, address: read(&entry.path().join("address"))? })
        })
        .collect();
    cards.sort_by(|a, b| a.name.cmp(&b.name));
    cards
}

fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
