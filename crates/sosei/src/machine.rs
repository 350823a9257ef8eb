//! This machine and the time, as manifests and reports hold them.

use std::path::Path;

use device::EfiVariables;
use image::{AdapterRecord, Machine, NetworkCard};
use layout::{BootEntries, BootEntry};

/// What identifies this machine, with the boot entries in `variables`.
pub fn record(variables: &Path) -> Machine {
    let machine = device::machine();
    let network = machine.network.into_iter().map(|card| NetworkCard { name: card.name, address: card.address });
    let adapters = machine.adapters.into_iter().map(|found| AdapterRecord { kind: found.kind, name: found.name });
    let boot = EfiVariables::open(variables).and_then(|variables| boot_entries(&variables).ok());
    Machine {
        host_name: machine.host_name,
        vendor: machine.vendor,
        product: machine.product,
        serial: machine.serial,
        uuid: machine.uuid,
        firmware: if machine.is_uefi { "uefi" } else { "bios" }.into(),
        network: network.collect(),
        adapters: adapters.collect(),
        drivers: machine.drivers,
        boot,
    }
}

/// All boot entries.
pub fn boot_entries(variables: &EfiVariables) -> std::io::Result<BootEntries> {
    let entries = variables.boot_entries()?.into_iter().map(|(number, bytes)| BootEntry { number, bytes });
    Ok(BootEntries { order: BootEntries::order_of(&variables.boot_order()?), entries: entries.collect() })
}

/// The time now in UTC, as RFC 3339.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
