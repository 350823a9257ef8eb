//! The hardware that an image was saved from, compared with the machine at hand.

use image::Machine;
use serde::Serialize;

/// What differs. Nothing of it forbids a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum HardwareDifference {
    /// Another product.
    Product {
        /// That of the image.
        saved: String,
        /// That at hand.
        here: String,
    },
    /// UEFI instead of BIOS, or the other way round: the boot loader may not be found.
    Firmware {
        /// That of the image.
        saved: String,
        /// That at hand.
        here: String,
    },
    /// Addresses of network cards that are gone, and those that are new.
    Network {
        /// Name and address.
        gone: Vec<String>,
        /// Name and address.
        new: Vec<String>,
    },
    /// Names by which storage knew the machine, and those by which it knows it now.
    Adapters {
        /// Kind and name.
        gone: Vec<String>,
        /// Kind and name.
        new: Vec<String>,
    },
    /// Drivers that were in use and are not here. The restored system may need others to start.
    Drivers {
        /// Names.
        gone: Vec<String>,
        /// Names.
        new: Vec<String>,
    },
}

/// What differs between the machine of an image and this one. What one of them does not tell differs in nothing.
pub fn hardware_differences(saved: &Machine, here: &Machine) -> Vec<HardwareDifference> {
    let mut found = Vec::new();
    let product = |machine: &Machine| {
        let parts = [&machine.vendor, &machine.product].into_iter().flatten().cloned();
        parts.collect::<Vec<_>>().join(" ")
    };
    let products = (product(saved), product(here));
    if !products.0.is_empty() && !products.1.is_empty() && products.0 != products.1 {
        found.push(HardwareDifference::Product { saved: products.0, here: products.1 });
    }
    if saved.firmware != here.firmware {
        let (saved, here) = (saved.firmware.clone(), here.firmware.clone());
        found.push(HardwareDifference::Firmware { saved, here });
    }
    let cards = |machine: &Machine, other: &Machine| -> Vec<String> {
        let is_new = |address: &str| !other.network.iter().any(|card| card.address.eq_ignore_ascii_case(address));
        let cards = machine.network.iter().filter(|card| is_new(&card.address));
        cards.map(|card| format!("{} {}", card.name, card.address)).collect()
    };
    let (gone, new) = (cards(saved, here), cards(here, saved));
    if !gone.is_empty() {
        found.push(HardwareDifference::Network { gone, new });
    }
    let adapters = |machine: &Machine, other: &Machine| -> Vec<String> {
        let found = machine.adapters.iter().filter(|adapter| !other.adapters.contains(adapter));
        found.map(|adapter| format!("{} {}", adapter.kind, adapter.name)).collect()
    };
    let (gone, new) = (adapters(saved, here), adapters(here, saved));
    if !gone.is_empty() {
        found.push(HardwareDifference::Adapters { gone, new });
    }
    let drivers = |machine: &Machine, other: &Machine| -> Vec<String> {
        machine.drivers.iter().filter(|driver| !other.drivers.contains(driver)).cloned().collect()
    };
    let (gone, new) = (drivers(saved, here), drivers(here, saved));
    if !gone.is_empty() && !here.drivers.is_empty() {
        found.push(HardwareDifference::Drivers { gone, new });
    }
    found
}

#[cfg(test)]
mod tests {
    use image::{AdapterRecord, NetworkCard};

    use super::*;

    fn machine() -> Machine {
        Machine {
            vendor: Some("HPE".into()),
            product: Some("DL360 Gen10".into()),
            firmware: "uefi".into(),
            network: vec![NetworkCard { name: "eno1".into(), address: "00:11:22:33:44:55".into() }],
            adapters: vec![AdapterRecord { kind: "fc".into(), name: "50014380186b3f64".into() }],
            drivers: vec!["smartpqi".into(), "tg3".into()],
            ..Machine::default()
        }
    }

    #[test]
    fn a_machine_does_not_differ_from_itself() {
        assert_eq!(hardware_differences(&machine(), &machine()), []);
        // An image of an earlier version tells less.
        let earlier = Machine { firmware: "uefi".into(), ..Machine::default() };
        assert_eq!(hardware_differences(&earlier, &machine()), []);
    }

    #[test]
    fn every_difference_is_told() {
        let mut here = machine();
        here.product = Some("DL360 Gen11".into());
        here.firmware = "bios".into();
        here.network[0].address = "00:11:22:33:44:66".into();
        here.adapters[0].name = "50014380186b3f65".into();
        here.drivers = vec!["megaraid_sas".into(), "tg3".into()];
        let expected = [
            HardwareDifference::Product { saved: "HPE DL360 Gen10".into(), here: "HPE DL360 Gen11".into() },
            HardwareDifference::Firmware { saved: "uefi".into(), here: "bios".into() },
            HardwareDifference::Network {
                gone: vec!["eno1 00:11:22:33:44:55".into()],
                new: vec!["eno1 00:11:22:33:44:66".into()],
            },
            HardwareDifference::Adapters {
                gone: vec!["fc 50014380186b3f64".into()],
                new: vec!["fc 50014380186b3f65".into()],
            },
            HardwareDifference::Drivers { gone: vec!["smartpqi".into()], new: vec!["megaraid_sas".into()] },
        ];
        assert_eq!(hardware_differences(&machine(), &here), expected);
    }
}
