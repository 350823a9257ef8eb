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
    }
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
