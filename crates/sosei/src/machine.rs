//! This machine and the time, as manifests and reports hold them.

use image::{Machine, NetworkCard};

/// What identifies this machine.
pub fn record() -> Machine {
    let machine = device::machine();
    let network = machine.network.into_iter().map(|card| NetworkCard { name: card.name, address: card.address });
    Machine {
        host_name: machine.host_name,
        vendor: machine.vendor,
        product: machine.product,
        serial: machine.serial,
        uuid: machine.uuid,
        firmware: if machine.is_uefi { "uefi" } else { "bios" }.into(),
        network: network.collect(),
    }
}

/// The time now in UTC, as RFC 3339.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
