//! What the systems on the disks of a machine, and its firmware, say about one of them: that a cluster shares it, that
//! it holds half of a mirror, that this machine starts from it.
//!
//! Source: Microsoft's documentation of ClusDisk (its keys are named after disk signatures); clp.conf as in the public
//! guides of EXPRESSCLUSTER (resources `sd`, `disk`, `hd`, `md`, monitors `diskhb`); drbd.conf(5), `disk`; sbd(8).

use layout::{BootEntries, BootPartition, Layout, Partition, Region, TableKind};

use super::Evidence;
use crate::offline::{Configuration, ReferenceKind, Resource, System, Volume};

/// Resources of CLUSTERPRO whose disk several servers use.
const SHARED: &[&str] = &["sd", "disk", "disknp", "diskhb", "hd", "raw", "vxvol"];
/// The one whose partitions are copied from server to server.
const MIRRORED: &str = "md";
/// Files of sbd: every device in them is one through which nodes watch each other.
const SBD: &[&str] = &["/etc/default/sbd", "/etc/sysconfig/sbd"];

/// Who may know something about disks of a machine beside the disks themselves.
#[derive(Clone, Debug, Default)]
pub struct Witnesses {
    /// The systems on all its disks.
    pub systems: Vec<System>,
    /// The boot entries of UEFI.
    pub boot_entries: Option<BootEntries>,
    /// MBR signature of what a BIOS told the kernel to be its first disk, as 8 digits.
    pub bios_signature: Option<String>,
}

/// A disk, and by what it can be named.
struct Disk<'a> {
    paths: &'a [String],
    layout: &'a Layout,
}

impl Witnesses {
    /// Everything that they say about a disk, with the region that it is about. `paths` are those of its device, as
    /// `/dev/sdb`.
    pub fn about(&self, paths: &[String], layout: &Layout) -> Vec<(Option<String>, Evidence)> {
        let disk = Disk { paths, layout };
        let mut found: Vec<_> = self.start_from(&disk).map(|evidence| (None, evidence)).into_iter().collect();
        for system in &self.systems {
            found.extend(disk.in_cluster_database(system).map(|evidence| (None, evidence)));
            for cluster in &system.clusters {
                for resource in &cluster.resources {
                    found.extend(disk.in_resource(system, cluster, resource));
                }
            }
            let of_sbd = system.references.iter().filter(|line| SBD.contains(&line.file.as_str()));
            for line in of_sbd.filter(|line| line.kind == ReferenceKind::DeviceName) {
                if let Some(region) = disk.region_of_path(&line.value) {
                    let (source, detail) = (format!("{} {}", system.place, line.file), line.text.clone());
                    found.push((region, Evidence::ClusterConfiguration { source, detail }));
                }
            }
        }
        found
    }

    /// That the firmware starts this machine from the disk: an entry of UEFI means a partition of it, or it has the MBR
    /// signature of the first disk of the BIOS.
    fn start_from(&self, disk: &Disk<'_>) -> Option<Evidence> {
        let is_first = |signature: &&String| {
            disk.layout.table == TableKind::Mbr && disk.layout.signature.as_ref() == Some(*signature)
        };
        if let Some(signature) = self.bios_signature.as_ref().filter(is_first) {
            return Some(Evidence::OwnSystem { detail: format!("first disk of the BIOS, signature {signature}") });
        }
        let known = self.boot_entries.as_ref()?;
        known.entries.iter().filter(|entry| known.order.contains(&entry.number)).find_map(|entry| {
            let option = entry.parse()?;
            let signature = option.partition.filter(|partition| disk.has(partition))?.signature?;
            let detail = format!("Boot{:04X} {}: partition {signature}", entry.number, option.label);
            Some(Evidence::OwnSystem { detail })
        })
    }
}

impl Disk<'_> {
    /// Whether an entry of UEFI means a partition of this disk.
    fn has(&self, wanted: &BootPartition) -> bool {
        let Some(signature) = &wanted.signature else { return false };
        let is_there = |partition: &Partition| match &partition.guid {
            Some(guid) => guid == signature,
            None => self.layout.signature.as_ref() == Some(signature) && partition.number == wanted.number,
        };
        self.layout.regions.iter().filter_map(|region| region.partition.as_ref()).any(is_there)
    }

    fn in_cluster_database(&self, system: &System) -> Option<Evidence> {
        let signature = self.layout.signature.as_ref()?;
        let plain = |text: &str| text.trim_matches(['{', '}']).to_lowercase();
        let is_there = system.cluster_signatures.iter().any(|known| plain(known) == *signature);
        is_there.then(|| Evidence::ClusterDatabase {
            source: format!("{} SYSTEM\\…\\Services\\ClusDisk", system.place),
            detail: format!("signature {signature}"),
        })
    }

    fn in_resource(
        &self,
        system: &System,
        cluster: &Configuration,
        resource: &Resource,
    ) -> Vec<(Option<String>, Evidence)> {
        let is_shared = cluster.kind == "clusterpro" && SHARED.contains(&resource.kind.as_str());
        let is_mirror = cluster.kind == "drbd" || cluster.kind == "clusterpro" && resource.kind == MIRRORED;
        if !is_shared && !is_mirror {
            return Vec::new();
        }
        let evidence = |(key, value): &(String, String)| {
            let region = self.region_of_path(value).or_else(|| self.region_of_volume(system, value).map(Some))?;
            let source = format!("{} {}", system.place, cluster.file);
            let detail = format!("{} {}: {key} {value}", resource.kind, resource.name);
            Some(if is_shared {
                (region, Evidence::ClusterConfiguration { source, detail })
            } else {
                let detail = format!("{source}: {detail}");
                (region, Evidence::MirrorHalf { software: cluster.kind.clone(), detail, certain: true })
            })
        };
        resource.parameters.iter().filter_map(evidence).collect()
    }

    /// What a path means on this disk: the disk as a whole (`Some(None)`), a region, or nothing. Names of devices may
    /// have been given to other disks since; what a region is named by has to be there at least.
    fn region_of_path(&self, path: &str) -> Option<Option<String>> {
        let rest = self.paths.iter().find_map(|known| path.strip_prefix(known.as_str()))?;
        if rest.is_empty() {
            return Some(None);
        }
        let number: u32 = rest.strip_prefix('p').unwrap_or(rest).parse().ok()?;
        let found = self.find(|region| region.partition.as_ref().is_some_and(|there| there.number == number))?;
        Some(Some(found))
    }

    /// The region that a volume GUID of a system means: by the letters of that system, or a partition's own GUID.
    fn region_of_volume(&self, system: &System, value: &str) -> Option<String> {
        let guid = value.trim_start_matches("\\\\?\\").trim_start_matches("Volume");
        let guid = guid.trim_end_matches('\\').trim_matches(['{', '}']).to_lowercase();
        let has_guid = |region: &Region, guid: &str| {
            region.partition.as_ref().is_some_and(|partition| partition.guid.as_deref() == Some(guid))
        };
        let name = format!("volume{{{guid}}}");
        match system.letters.iter().find(|letter| letter.name.to_lowercase() == name).map(|letter| &letter.volume) {
            Some(Volume::Mbr { signature, offset }) => {
                let is_this = self.layout.signature.as_ref() == Some(signature);
                is_this.then(|| self.find(|region| region.extent.start() == *offset)).flatten()
            }
            Some(Volume::Guid { guid }) => self.find(|region| has_guid(region, guid)),
            Some(Volume::Device { .. }) => None,
            None => self.find(|region| has_guid(region, &guid)),
        }
    }

    fn find(&self, is_it: impl Fn(&Region) -> bool) -> Option<String> {
        self.layout.regions.iter().find(|region| is_it(region)).map(|region| region.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use block::{DiskExtent, SectorSize};
    use layout::{BootEntry, RegionKind};

    use super::*;
    use crate::offline::{Letter, Reference, SystemKind};
    use crate::sharing::Class;

    const GUID: &str = "09931f21-7faf-44a9-81d8-1e73c14b9eaf";

    /// A disk with two partitions, the second at 8 MiB.
    fn layout(table: TableKind, signature: &str, guid: Option<&str>) -> Layout {
        let region = |number: u32, start: u64| Region {
            name: format!("p{number}"),
            extent: DiskExtent::between(start, start + (1 << 20)),
            kind: RegionKind::Partition,
            partition: Some(Partition {
                number,
                type_id: String::new(),
                guid: guid.filter(|_| number == 2).map(str::to_owned),
                name: None,
                attributes: 0,
                bootable: false,
            }),
        };
        Layout {
            disk_size: 32 << 20,
            sector_size: SectorSize::B512,
            table,
            signature: Some(signature.into()),
            table_sectors: Vec::new(),
            regions: vec![region(1, 1 << 20), region(2, 8 << 20)],
            findings: Vec::new(),
        }
    }

    fn mbr() -> Layout {
        layout(TableKind::Mbr, "22c7e179", None)
    }

    fn told(witnesses: &Witnesses, layout: &Layout) -> Vec<(Option<String>, &'static str, Class)> {
        let found = witnesses.about(&["/dev/sdb".to_owned(), "/dev/nvme1n1".to_owned()], layout);
        found.into_iter().map(|(region, evidence)| (region, evidence.code(), evidence.class())).collect()
    }

    fn system() -> System {
        System::new("sda:p2", SystemKind::Linux)
    }

    fn with_resource(kind: &str, parameters: &[(&str, &str)]) -> System {
        let parameters = parameters.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let resource = Resource { kind: kind.into(), name: format!("{kind}1"), parameters };
        let cluster =
            Configuration { kind: "clusterpro".into(), resources: vec![resource], ..Configuration::default() };
        System { clusters: vec![cluster], ..system() }
    }

    fn of(system: System) -> Witnesses {
        Witnesses { systems: vec![system], ..Witnesses::default() }
    }

    #[test]
    fn the_cluster_driver_of_windows_names_disks_by_signature() {
        let named = |signature: &str| of(System { cluster_signatures: vec![signature.into()], ..system() });
        assert_eq!(told(&named("22C7E179"), &mbr()), [(None, "cluster-database", Class::Shared)]);
        assert_eq!(told(&named("22c7e178"), &mbr()), []);
        let braces = format!("{{{}}}", GUID.to_uppercase());
        assert_eq!(told(&named(&braces), &layout(TableKind::Gpt, GUID, None)).len(), 1);
    }

    #[test]
    fn resources_of_a_cluster_name_partitions() {
        let shared = |place: &str| vec![(Some(place.to_owned()), "cluster-configuration", Class::Shared)];
        assert_eq!(told(&of(with_resource("sd", &[("device", "/dev/sdb2")])), &mbr()), shared("p2"));
        assert_eq!(told(&of(with_resource("hd", &[("dppath", "/dev/nvme1n1p1")])), &mbr()), shared("p1"));
        assert_eq!(told(&of(with_resource("diskhb", &[("device", "/dev/sdb")])), &mbr())[0].0, None);
        for other in ["/dev/sdc2", "/dev/sdbb2", "/dev/sdb3", "/dev/sdb2x", "10.0.0.1"] {
            assert_eq!(told(&of(with_resource("sd", &[("device", other)])), &mbr()), [], "{other}");
        }
        assert_eq!(told(&of(with_resource("fip", &[("device", "/dev/sdb2")])), &mbr()), []);
        let mirror = told(&of(with_resource("md", &[("dppath", "/dev/sdb2"), ("cppath", "/dev/sdb1")])), &mbr());
        assert_eq!(mirror[0], (Some("p2".into()), "mirror-half", Class::Mirror));
        assert_eq!(mirror.len(), 2);
    }

    #[test]
    fn a_volume_of_windows_is_found_by_its_letters_and_by_its_partition() {
        let volume = "4519E341-59ED-43E9-8856-D2C9ED671F65";
        let with = |volume_of: Volume| {
            let name = format!("Volume{{{}}}", volume.to_lowercase());
            let letters = vec![Letter { name, volume: volume_of }];
            of(System { letters, ..with_resource("sd", &[("server1/volumeguid", volume)]) })
        };
        let at = |offset| with(Volume::Mbr { signature: "22c7e179".into(), offset });
        assert_eq!(told(&at(8 << 20), &mbr())[0].0.as_deref(), Some("p2"));
        assert_eq!(told(&at(9 << 20), &mbr()), []);
        assert_eq!(told(&at(8 << 20), &layout(TableKind::Mbr, "22c7e17a", None)), []);
        let gpt = layout(TableKind::Gpt, "0", Some(GUID));
        assert_eq!(told(&with(Volume::Guid { guid: GUID.into() }), &gpt)[0].0.as_deref(), Some("p2"));
        let own = of(with_resource("sd", &[("volumeguid", &format!("\\\\?\\Volume{{{GUID}}}\\"))]));
        assert_eq!(told(&own, &gpt)[0].0.as_deref(), Some("p2"));
        assert_eq!(told(&own, &mbr()), []);
    }

    #[test]
    fn devices_of_sbd_are_shared() {
        let line = |file: &str| Reference {
            file: file.into(),
            line: 1,
            text: "SBD_DEVICE=/dev/sdb1".into(),
            kind: ReferenceKind::DeviceName,
            value: "/dev/sdb1".into(),
        };
        let with = |file: &str| of(System { references: vec![line(file)], ..system() });
        assert_eq!(told(&with("/etc/default/sbd"), &mbr())[0].2, Class::Shared);
        assert_eq!(told(&with("/etc/fstab"), &mbr()), []);
    }

    #[test]
    fn the_disk_that_the_firmware_starts_from_is_its_own() {
        let bios = |signature: &str| Witnesses { bios_signature: Some(signature.into()), ..Witnesses::default() };
        assert_eq!(told(&bios("22c7e179"), &mbr()), [(None, "own-system", Class::Own)]);
        assert_eq!(told(&bios("00000000"), &mbr()), []);
        let order = [(vec![1], 1), (vec![2], 0)];
        for (order, expected) in order {
            let known = BootEntries { order, entries: vec![entry()] };
            let firmware = Witnesses { boot_entries: Some(known), ..Witnesses::default() };
            assert_eq!(told(&firmware, &layout(TableKind::Gpt, "0", Some(GUID))).len(), expected);
            assert_eq!(told(&firmware, &mbr()), []);
        }
    }

    /// An entry of UEFI for the partition with [`GUID`].
    fn entry() -> BootEntry {
        let mut path = vec![4, 1, 42, 0, 2, 0, 0, 0];
        path.extend([0; 16]);
        path.extend([0x21, 0x1f, 0x93, 0x09, 0xaf, 0x7f, 0xa9, 0x44, 0x81, 0xd8, 0x1e, 0x73, 0xc1, 0x4b, 0x9e, 0xaf]);
        path.extend([2, 2, 0x7F, 0xFF, 4, 0]);
        let mut bytes = vec![1, 0, 0, 0, path.len() as u8, 0, b'a', 0, 0, 0];
        bytes.extend(path);
        BootEntry { number: 1, bytes }
    }
}
