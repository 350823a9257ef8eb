//! The guard of shared disks: what is locked is not touched, what opens it does, and what changes on the way is seen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use block::{Disk, DiskExtent, Extents, InDisk, MemoryDisk, ReadAt, SectorSize, WriteAt};
use cluster::sharing::{Assessment, Class, Evidence, Lock};
use image::{MemoryStore, Store};
use session::{Cancel, Error, Guard, Refusal, RestoreRequest, Scope, Surroundings};

use crate::samples::bytes_of;
use crate::work::{assignment, name, read_back, request, save, settings, source};

const MIB: u64 = 1 << 20;
const SERIAL: &str = "SERIAL1234567";

/// A disk with a partition of 4 MiB at 1 MiB and one of 8 MiB at 8 MiB; nothing in them.
fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new(32 * MIB);
    let mut sector = [0; 512];
    for (at, start, length) in [(446, 2048_u32, 8192_u32), (462, 16384, 16384)] {
        sector[at + 4] = 0x83;
        sector[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        sector[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
    }
    sector[440..444].copy_from_slice(&0x22C7_79E1_u32.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    disk.write_at(0, &sector).unwrap();
    disk.write_at(MIB + 5000, &[0x5A; 3000]).unwrap();
    disk
}

/// The same with the header of sbd in the second partition.
fn shared_disk() -> MemoryDisk {
    let disk = disk();
    disk.write_at(8 * MIB, b"SBD_SBD_\x02\xFF\0\0\0\0\x02\0").unwrap();
    disk
}

/// A world that says what it is told, one thing each time it is asked, and the last for ever.
#[derive(Default)]
struct World {
    said: Mutex<Vec<Vec<Evidence>>>,
    reachable: bool,
    /// What others say of the second partition, where they are asked.
    told: Option<Evidence>,
    waits: AtomicUsize,
    /// What happens while somebody waits.
    meanwhile: Option<Box<dyn Fn() + Send + Sync>>,
}

impl Surroundings for World {
    fn assess(&self, disk: &str) -> Assessment {
        let mut assessment = Assessment::new(disk, vec![SERIAL.into()]);
        let mut said = self.said.lock().unwrap();
        let now = if said.len() > 1 { said.remove(0) } else { said.first().cloned().unwrap_or_default() };
        now.into_iter().for_each(|evidence| assessment.add(None, evidence));
        assessment
    }

    fn is_reachable(&self, _: &str) -> bool {
        self.reachable
    }

    fn told(&self, _: &str, layout: &layout::Layout) -> Vec<(Option<String>, Evidence)> {
        let second = layout.regions.iter().find(|region| region.partition.as_ref().is_some_and(|one| one.number == 2));
        self.told.iter().map(|evidence| (second.map(|region| region.name.clone()), evidence.clone())).collect()
    }

    fn wait(&self, _: Duration) {
        if self.waits.fetch_add(1, Ordering::Relaxed) == 0
            && let Some(meanwhile) = &self.meanwhile
        {
            meanwhile();
        }
    }
}

fn transport() -> Evidence {
    Evidence::Transport { transport: "fc".into(), detail: String::new() }
}

fn registered() -> Evidence {
    let (keys, initiators) = (vec!["1".into()], Vec::new());
    Evidence::Registrations { device: "/dev/sda".into(), generation: 1, keys, holder: None, initiators }
}

fn says(said: &[&[Evidence]]) -> World {
    World { said: Mutex::new(said.iter().map(|evidence| evidence.to_vec()).collect()), ..World::default() }
}

/// A disk that can be reached by others while a session has it.
#[derive(Clone)]
struct Reached(Arc<MemoryDisk>);

impl ReadAt for Reached {
    fn size(&self) -> u64 {
        self.0.size()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.0.read_at(offset, buffer)
    }
}

impl WriteAt for Reached {
    fn write_at(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write_at(offset, data)
    }
    fn sync(&self) -> std::io::Result<()> {
        self.0.sync()
    }
}

impl Disk for Reached {
    fn sector_size(&self) -> Option<SectorSize> {
        self.0.sector_size()
    }
    fn data_extents(&self, extent: DiskExtent) -> std::io::Result<Extents<InDisk>> {
        self.0.data_extents(extent)
    }
}

fn restore_onto(
    store: &dyn Store,
    disk: &MemoryDisk,
    world: World,
    scope: Option<Scope>,
    confirmed: &[&str],
) -> Result<usize, (Class, Lock)> {
    let before = bytes_of(disk);
    let world = Arc::new(world);
    let guard = Guard::new(world.clone(), confirmed.iter().map(|id| (*id).to_owned()).collect());
    let assignments = [assignment("sda", disk)];
    let manifest = session::read_manifest(store, &name("one")).unwrap();
    let request = RestoreRequest { scope, ..read_back() };
    let plan =
        session::plan_restore_guarded(store, manifest, &assignments, request, guard, &(), &Cancel::new()).unwrap();
    let restored = session::restore(store, &plan, &assignments, 1, &(), &Cancel::new());
    match restored {
        Ok(_) => Ok(world.waits.load(Ordering::Relaxed)),
        Err(interrupted) => {
            assert_eq!(interrupted.unfinished, Vec::<String>::new());
            assert!(bytes_of(disk) == before, "refused, and written all the same");
            let Error::Refused(Refusal::Shared(gate)) = interrupted.error else { panic!("{}", interrupted.error) };
            assert!(!gate.proof().is_empty() && gate.id == SERIAL);
            Err((gate.class, gate.lock))
        }
    }
}

fn image() -> MemoryStore {
    let store = MemoryStore::new();
    save(&store, "one", &disk()).unwrap();
    store
}

#[test]
fn a_local_disk_is_overwritten_without_waiting() {
    assert_eq!(restore_onto(&image(), &disk(), World::default(), None, &[]), Ok(0));
}

#[test]
fn a_suspect_needs_its_number_and_is_watched() {
    let (store, all, locked) = (image(), Some(Scope::AllNodes), Err((Class::Suspect, Lock::Confirm(Class::Suspect))));
    assert_eq!(restore_onto(&store, &disk(), says(&[&[transport()]]), all, &[]), locked);
    assert_eq!(restore_onto(&store, &disk(), says(&[&[transport()]]), all, &["SERIAL"]), locked);
    let watched = restore_onto(&store, &disk(), says(&[&[transport()]]), None, &[SERIAL]);
    assert!(watched.is_ok_and(|waits| waits > 50), "{watched:?}");
}

#[test]
fn a_shared_disk_needs_all_nodes_and_its_number() {
    let store = image();
    let onto = |scope, confirmed: &[&str]| restore_onto(&store, &shared_disk(), World::default(), scope, confirmed);
    assert_eq!(onto(None, &[SERIAL]), Err((Class::Shared, Lock::Scope)));
    assert_eq!(onto(Some(Scope::OneNode), &[SERIAL]), Err((Class::Shared, Lock::Scope)));
    assert_eq!(onto(Some(Scope::AllNodes), &[]), Err((Class::Shared, Lock::Confirm(Class::Shared))));
    assert!(onto(Some(Scope::AllNodes), &[SERIAL]).is_ok_and(|waits| waits > 50));
}

#[test]
fn what_other_disks_say_of_a_disk_within_reach_counts() {
    let (source, detail) = ("sda:p2 /opt/nec/clusterpro/etc/clp.conf".into(), "sd sd1: device /dev/sdb2".into());
    let told = Some(Evidence::ClusterConfiguration { source, detail });
    let within_reach = World { told, reachable: true, ..World::default() };
    let refused = restore_onto(&image(), &disk(), within_reach, Some(Scope::OneNode), &[SERIAL]);
    assert_eq!(refused, Err((Class::Shared, Lock::Scope)));
}

#[test]
fn nobody_is_asked_about_a_disk_that_only_this_machine_reaches() {
    let told = Some(Evidence::OwnSystem { detail: String::new() });
    let world = World { told, ..World::default() };
    assert_eq!(restore_onto(&image(), &disk(), world, None, &[]), Ok(0));
}

#[test]
fn a_disk_in_the_network_that_the_machine_starts_from_is_its_own() {
    let told = Some(Evidence::OwnSystem { detail: "Boot0001".into() });
    let world = World { told, ..says(&[&[transport()]]) };
    assert!(restore_onto(&image(), &disk(), world, None, &[]).is_ok());
}

#[test]
fn nothing_opens_a_disk_with_registrations() {
    let said = says(&[&[registered()]]);
    let onto = restore_onto(&image(), &disk(), said, Some(Scope::AllNodes), &[SERIAL]);
    assert_eq!(onto, Err((Class::Shared, Lock::Registered)));
}

#[test]
fn what_happens_between_plan_and_write_is_seen() {
    let store = image();
    let onto = |world| restore_onto(&store, &disk(), world, Some(Scope::AllNodes), &[SERIAL]);
    // A node boots, and registers; another reserves.
    assert_eq!(onto(says(&[&[], &[registered()]])), Err((Class::Shared, Lock::Registered)));
    assert_eq!(onto(says(&[&[transport()], &[transport(), registered()]])), Err((Class::Shared, Lock::Registered)));
    let conflict = Evidence::ReservationConflict { device: "/dev/sda".into(), operation: "reading".into() };
    assert_eq!(onto(says(&[&[], &[conflict]])), Err((Class::Contended, Lock::Contended)));
}

#[test]
fn one_changed_byte_is_enough() {
    let store = image();
    for at in [0x1B0, 5 * MIB - 1, 32 * MIB - 1, 9 * MIB] {
        let target = Reached(Arc::new(disk()));
        let other = target.clone();
        let meanwhile = Box::new(move || other.0.write_at(at, &[0xEE]).unwrap());
        let world = World { reachable: true, meanwhile: Some(meanwhile), ..World::default() };
        let guard = Guard::new(Arc::new(world), vec![SERIAL.into()]);
        let assignments = [assignment("sda", &target)];
        let manifest = session::read_manifest(&store, &name("one")).unwrap();
        let plan =
            session::plan_restore_guarded(&store, manifest, &assignments, read_back(), guard, &(), &Cancel::new());
        let restored = session::restore(&store, &plan.unwrap(), &assignments, 1, &(), &Cancel::new());
        let interrupted = restored.unwrap_err();
        assert!(interrupted.unfinished.is_empty());
        let Error::Refused(Refusal::Shared(gate)) = interrupted.error else { panic!("{}", interrupted.error) };
        assert_eq!((gate.class, gate.lock), (Class::Contended, Lock::Contended), "{at}");
        let expected = disk();
        expected.write_at(at, &[0xEE]).unwrap();
        assert!(bytes_of(&*target.0) == bytes_of(&expected), "nothing but what the other wrote");
    }
}

#[test]
fn a_shared_partition_that_is_not_written_locks_nothing() {
    let store = MemoryStore::new();
    let local = disk();
    let request = session::SaveRequest { regions: vec!["p1".into()], ..request("one") };
    let plan = session::plan_save(&store, &[source("sda", &local)], request, &(), &Cancel::new()).unwrap();
    session::save(&store, &[source("sda", &local)], &plan, &settings(1, 1), &(), &Cancel::new()).unwrap();
    // Of the shared disk the first partition and the table are written; sbd stays as it is.
    let target = shared_disk();
    let waits = restore_onto(&store, &target, World::default(), None, &[]);
    assert!(waits.is_ok(), "{waits:?}");
    assert_eq!(block::read_vec(&target, 8 * MIB, 8).unwrap(), b"SBD_SBD_");
}

#[test]
fn a_save_leaves_out_what_others_use() {
    let store = MemoryStore::new();
    let disk = shared_disk();
    let world = || Arc::new(World::default());
    let sources = [source("sda", &disk)];
    let plan = |request, confirmed: &[&str]| {
        let guard = Guard::new(world(), confirmed.iter().map(|id| (*id).to_owned()).collect());
        session::plan_save_guarded(&store, &sources, request, guard, &(), &Cancel::new())
    };
    let saved = plan(request("one"), &[]).unwrap();
    let left: Vec<_> = saved.disks[0].regions.iter().map(|region| region.is_saved).collect();
    assert_eq!(left.iter().filter(|saved| !**saved).count(), 1);
    let manifest = session::save(&store, &sources, &saved, &settings(1, 1), &(), &Cancel::new()).unwrap();
    let record = manifest.disks[0].regions.iter().find(|region| region.map.is_none()).unwrap();
    assert_eq!((record.name.as_str(), record.notes[0].code.as_str()), ("p2", "shared-disk"));
    assert!(record.notes[0].detail.starts_with("sbd: version 2"), "{}", record.notes[0].detail);
    assert_eq!(manifest.disks[0].layout.signature.as_deref(), Some("22c779e1"));
    // Named by its region alone it is refused, and confirmed it is saved.
    let named = || session::SaveRequest { regions: vec!["p2".into()], ..request("two") };
    let Err(Error::Refused(Refusal::Shared(gate))) = plan(named(), &[]).map(drop) else { panic!() };
    assert_eq!((gate.class, gate.lock), (Class::Shared, Lock::Confirm(Class::Shared)));
    assert!(plan(named(), &[SERIAL]).unwrap().disks[0].regions.iter().any(|region| region.is_saved));
}

#[test]
fn a_disk_that_others_hold_alone_is_not_saved_without_a_word() {
    let store = MemoryStore::new();
    let disk = disk();
    let sources = [source("sda", &disk)];
    let plan = |evidence: Evidence, confirmed: &[&str]| {
        let world = Arc::new(says(&[&[evidence]]));
        let guard = Guard::new(world, confirmed.iter().map(|id| (*id).to_owned()).collect());
        session::plan_save_guarded(&store, &sources, request("one"), guard, &(), &Cancel::new())
            .map(|plan| plan.disks[0].regions.iter().all(|region| region.is_saved))
    };
    assert!(matches!(plan(registered(), &[]), Err(Error::Refused(Refusal::Shared(_)))), "nothing is left to be saved");
    assert!(plan(registered(), &[SERIAL]).unwrap());
    assert!(plan(transport(), &[]).unwrap(), "a disk that was named is saved");
}

#[test]
fn identities_are_not_written_to_disks_of_others() {
    let before = layout::read(&disk()).unwrap();
    let target = shared_disk();
    target.write_at(440, &[1, 2, 3, 4]).unwrap();
    let apply = |world: World, confirmed: &[&str]| {
        let guard = Guard::new(Arc::new(world), confirmed.iter().map(|id| (*id).to_owned()).collect());
        let destination = assignment("sda", &target).destination;
        let plan = session::plan_identity_guarded(&before, &destination, guard).unwrap();
        assert_eq!(plan.closed_gate().is_some(), confirmed.is_empty());
        session::apply_identity(&plan, &destination)
    };
    assert!(matches!(apply(World::default(), &[]), Err(Error::Refused(Refusal::Shared(_)))));
    let later = says(&[&[], &[registered()]]);
    assert!(matches!(apply(later, &[SERIAL]), Err(Error::Refused(Refusal::Shared(_)))));
    assert_eq!(block::read_vec(&target, 440, 4).unwrap(), [1, 2, 3, 4]);
    apply(World::default(), &[SERIAL]).unwrap();
    assert_eq!(block::read_vec(&target, 440, 4).unwrap(), 0x22C7_79E1_u32.to_le_bytes());
}
