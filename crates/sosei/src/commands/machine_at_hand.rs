//! The machine at hand beside the one of an image: what differs, and the boot entries that come back.

use std::path::Path;

use crate::language::t;
use device::EfiVariables;
use image::{Machine, Manifest};
use layout::{BootEntries, BootPlan};
use session::{HardwareDifference, hardware_differences};

use crate::machine;

/// What differs, in one line each.
pub fn differences(saved: &Machine, here: &Machine) -> Vec<String> {
    hardware_differences(saved, here).iter().map(text).collect()
}

fn text(difference: &HardwareDifference) -> String {
    let text = match difference {
        HardwareDifference::Product { saved, here } => t!("hardware.product", saved = saved, here = here),
        HardwareDifference::Firmware { saved, here } => {
            t!("hardware.firmware", saved = saved.to_uppercase(), here = here.to_uppercase())
        }
        HardwareDifference::Network { gone, new } => t!("hardware.network", gone = list(gone), new = list(new)),
        HardwareDifference::Adapters { gone, new } => t!("hardware.adapters", gone = list(gone), new = list(new)),
        HardwareDifference::Drivers { gone, new } => t!("hardware.drivers", gone = list(gone), new = list(new)),
    };
    text.into_owned()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { t!("hardware.none").into_owned() } else { names.join(", ") }
}

/// What becomes of the boot entries of an image on this machine.
pub struct BootRestore {
    variables: EfiVariables,
    plan: BootPlan,
}

impl BootRestore {
    /// Plans to put back the entries that start from one of these disks; `None` where the firmware has none, or the
    /// image holds none.
    pub fn plan(manifest: &Manifest, disks: &[&str], directory: &Path) -> Option<std::io::Result<Self>> {
        let variables = EfiVariables::open(directory)?;
        let saved = manifest.machine.boot.clone()?;
        let present = match machine::boot_entries(&variables) {
            Ok(present) => present,
            Err(error) => return Some(Err(error)),
        };
        let mut signatures = Vec::new();
        for disk in manifest.disks.iter().filter(|disk| disks.contains(&disk.name.as_str())) {
            signatures.extend(disk.layout.signature.clone());
            let partitions = disk.layout.regions.iter().filter_map(|region| region.partition.as_ref());
            signatures.extend(partitions.filter_map(|partition| partition.guid.clone()));
        }
        let plan = saved.plan(&present, &signatures);
        Some(Ok(Self { variables, plan }))
    }

    /// Whether nothing is to be done.
    pub fn is_empty(&self) -> bool {
        self.plan.write.is_empty() && !self.plan.is_order_new
    }

    /// The entries that are written, in one line each.
    pub fn lines(&self) -> Vec<String> {
        super::systems::boot_lines(&BootEntries { order: self.plan.order.clone(), entries: self.plan.write.clone() })
    }

    /// Writes the entries first and the order last, so that the order never names what is not there.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self) -> std::io::Result<()> {
        for entry in &self.plan.write {
            self.variables.write_boot_entry(entry.number, &entry.bytes)?;
        }
        if self.plan.is_order_new {
            self.variables.write_boot_order(&BootEntries::order_bytes(&self.plan.order))?;
        }
        Ok(())
    }
}
