//! What Windows says about itself: its name, its host, the letters that it gave to volumes, what its boot loader looks
//! for, and which disks its cluster driver knows.
//!
//! Source: Microsoft's documentation of the registry (ComputerName, CurrentVersion, ClusDisk); the formats of
//! MountedDevices and of the device elements of the BCD as seen in hives of Windows 7 to 11 (two independent sets of
//! samples agree); `libguestfs` `phony-guests` for the form of MountedDevices.

use filesystem::Files;

use super::hive::{Hive, Value};
use super::{BootDevice, Letter, System, SystemKind, Volume};

const SYSTEM_HIVE: &str = "/Windows/System32/config/SYSTEM";
const SOFTWARE_HIVE: &str = "/Windows/System32/config/SOFTWARE";
const BOOT_STORES: &[&str] = &["/Boot/BCD", "/EFI/Microsoft/Boot/BCD"];
const PREFIX_GUID: &[u8] = b"DMIO:ID:";

/// What a system volume says; `None` where it is none.
pub fn system(place: &str, files: &dyn Files) -> Option<System> {
    let file = files.open(SYSTEM_HIVE)?;
    let hive = Hive::open(&*file).ok()?;
    let mut found = System::new(place, SystemKind::Windows);
    found.is_lagging = hive.is_lagging;
    let set = control_set(&hive);
    let name = hive.value(&format!("{set}/Control/ComputerName/ComputerName"), "ComputerName").ok().flatten();
    let host = hive.value(&format!("{set}/Services/Tcpip/Parameters"), "Hostname").ok().flatten();
    found.host = name.or(host).map(|value| value.text()).filter(|text| !text.is_empty());
    found.letters = letters(&hive);
    for list in ["Signatures", "AvailableDisks"] {
        let key = hive.key(&format!("{set}/Services/ClusDisk/Parameters/{list}")).ok().flatten();
        let keys = key.and_then(|key| hive.subkeys(&key).ok()).unwrap_or_default();
        found.cluster_signatures.extend(keys.into_iter().map(|key| key.name.to_lowercase()));
    }
    found.cluster_signatures.dedup();
    if let Some(file) = files.open(SOFTWARE_HIVE)
        && let Ok(hive) = Hive::open(&*file)
    {
        let version = |name: &str| {
            let value = hive.value("Microsoft/Windows NT/CurrentVersion", name).ok().flatten();
            value.map(|value| value.text()).filter(|text| !text.is_empty())
        };
        found.version = version("CurrentVersion");
        let build = version("CurrentBuildNumber").or_else(|| version("CurrentBuild"));
        found.name = version("ProductName").map(|name| match build {
            Some(build) => format!("{name} ({build})"),
            None => name,
        });
        let guid = hive.value("Microsoft/Cryptography", "MachineGuid").ok().flatten();
        found.id = guid.map(|value| value.text()).filter(|text| !text.is_empty());
    }
    Some(found)
}

/// What a boot loader of Windows looks for, in a system partition.
pub fn boot_devices(files: &dyn Files) -> Vec<BootDevice> {
    let mut found = Vec::new();
    for path in BOOT_STORES {
        let Some(file) = files.open(path) else { continue };
        let Ok(hive) = Hive::open(&*file) else { continue };
        let Ok(Some(objects)) = hive.key("Objects") else { continue };
        for object in hive.subkeys(&objects).unwrap_or_default() {
            for element in ["11000001", "21000001", "31000003"] {
                let key = format!("Objects/{}/Elements/{element}", object.name);
                let value = hive.value(&key, "Element").ok().flatten();
                let volume = value.and_then(|value| boot_volume(&value.data));
                found.extend(volume.map(|volume| BootDevice {
                    file: (*path).to_owned(),
                    object: object.name.clone(),
                    element: element.to_owned(),
                    volume,
                }));
            }
        }
    }
    found
}

/// The key of the current control set, as `ControlSet001`.
pub fn control_set(hive: &Hive<'_>) -> String {
    let current = hive.value("Select", "Current").ok().flatten().and_then(|value| value.number());
    format!("ControlSet{:03}", current.unwrap_or(1))
}

/// Every letter and volume GUID of MountedDevices.
fn letters(hive: &Hive<'_>) -> Vec<Letter> {
    let key = hive.key("MountedDevices").ok().flatten();
    let values = key.and_then(|key| hive.values(&key).ok()).unwrap_or_default();
    let mut found: Vec<Letter> = values.iter().map(letter).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn letter(value: &Value) -> Letter {
    let name = value.name.strip_prefix("\\DosDevices\\").or_else(|| value.name.strip_prefix("\\??\\"));
    let name = name.unwrap_or(&value.name).to_owned();
    Letter { name, volume: mounted_volume(&value.data) }
}

/// What a value of MountedDevices names: 12 bytes are an MBR signature and an offset in bytes, 24 bytes that begin with
/// `DMIO:ID:` a GUID, anything else the path of a device.
fn mounted_volume(data: &[u8]) -> Volume {
    if let Ok(data) = <&[u8; 12]>::try_from(data) {
        let (signature, offset) = data.split_at(4);
        let signature = signature.iter().rev().map(|byte| format!("{byte:02x}")).collect();
        let offset = offset.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        return Volume::Mbr { signature, offset };
    }
    match data.strip_prefix(PREFIX_GUID).and_then(guid) {
        Some(guid) => Volume::Guid { guid },
        None => {
            let path = Value { name: String::new(), kind: 1, data: data.to_vec() }.text();
            Volume::Device { path }
        }
    }
}

/// The partition that a device element of the BCD names.
fn boot_volume(data: &[u8]) -> Option<Volume> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(*data.get(at..)?.first_chunk::<4>()?));
    const PARTITION: u32 = 6;
    if u32_at(0x10)? != PARTITION {
        return None;
    }
    match u32_at(0x34)? {
        0 => Some(Volume::Guid { guid: guid(data.get(0x20..)?)? }),
        1 => {
            let offset = u64::from_le_bytes(*data.get(0x20..)?.first_chunk::<8>()?);
            Some(Volume::Mbr { signature: format!("{:08x}", u32_at(0x38)?), offset })
        }
        _ => None,
    }
}

/// A GUID as Windows spells it: the first three parts are little-endian.
fn guid(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.first_chunk::<16>()?;
    let part = |places: &[usize]| -> String {
        places.iter().filter_map(|at| bytes.get(*at)).map(|byte| format!("{byte:02x}")).collect()
    };
    Some([part(&[3, 2, 1, 0]), part(&[5, 4]), part(&[7, 6]), part(&[8, 9]), part(&[10, 11, 12, 13, 14, 15])].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_name_volumes_in_three_ways() {
        let mbr = [0x79, 0xE1, 0xC7, 0x22, 0, 0, 0x10, 0, 0, 0, 0, 0];
        assert_eq!(mounted_volume(&mbr), Volume::Mbr { signature: "22c7e179".into(), offset: 1 << 20 });
        let mut gpt = PREFIX_GUID.to_vec();
        gpt.extend([0x21, 0x1f, 0x93, 0x09, 0xaf, 0x7f, 0xa9, 0x44, 0x81, 0xd8, 0x1e, 0x73, 0xc1, 0x4b, 0x9e, 0xaf]);
        let guid = "09931f21-7faf-44a9-81d8-1e73c14b9eaf".to_owned();
        assert_eq!(mounted_volume(&gpt), Volume::Guid { guid });
        let path: Vec<u8> = "\\??\\STORAGE#x".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(mounted_volume(&path), Volume::Device { path: "\\??\\STORAGE#x".into() });
    }

    #[test]
    fn elements_of_the_boot_store_name_partitions() {
        let mut element = vec![0; 88];
        element[0x10] = 6;
        element[0x18] = 0x48;
        element[0x20..0x28].copy_from_slice(&0x15f0_0000_u64.to_le_bytes());
        element[0x34] = 1;
        element[0x38..0x3C].copy_from_slice(&0xb3eb_a8f1_u32.to_le_bytes());
        let expected = Volume::Mbr { signature: "b3eba8f1".into(), offset: 0x15f0_0000 };
        assert_eq!(boot_volume(&element), Some(expected));
        element[0x34] = 0;
        assert!(matches!(boot_volume(&element), Some(Volume::Guid { .. })));
        element[0x10] = 5;
        assert_eq!(boot_volume(&element), None);
    }
}
