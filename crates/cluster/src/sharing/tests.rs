//! The policy as tables: evidence to class, class to gate.

use super::*;
use crate::Scope;

const OTHER: &str = "another machine";

fn registrations(kind: Option<u8>) -> Evidence {
    let holder = kind.map(|code| Holder { key: "00000000deadbeef".into(), kind: ReservationKind::of_code(code) });
    Evidence::Registrations {
        device: "/dev/sdb".into(),
        generation: 3,
        keys: vec!["00000000deadbeef".into()],
        holder,
        initiators: Vec::new(),
    }
}

fn conflict() -> Evidence {
    Evidence::ReservationConflict { device: "/dev/sdb".into(), operation: "TEST UNIT READY".into() }
}

fn change() -> Evidence {
    Evidence::Change { places: vec!["p1 from byte 0".into()], seconds: 12 }
}

fn cluster_file_system() -> Evidence {
    Evidence::ClusterFileSystem { file_system: "gfs2".into(), detail: "lock_dlm c:fs".into() }
}

fn heartbeats() -> Evidence {
    Evidence::HeldFileSystem { file_system: "VMFS".into(), holders: 1, detail: OTHER.into() }
}

fn area(beside: Option<&str>) -> Evidence {
    Evidence::ClusterArea { software: "sbd".into(), detail: OTHER.into(), beside: beside.map(str::to_owned) }
}

fn storage(certain: bool) -> Evidence {
    Evidence::SharedStorage { software: "lvm2".into(), name: "vg".into(), detail: OTHER.into(), certain }
}

fn database() -> Evidence {
    Evidence::ClusterDatabase { source: "SYSTEM".into(), detail: "22C779E1".into() }
}

fn configuration() -> Evidence {
    Evidence::ClusterConfiguration { source: "clp.conf".into(), detail: "sd1 /dev/sdb2".into() }
}

fn mirror(certain: bool) -> Evidence {
    Evidence::MirrorHalf { software: "drbd".into(), detail: "8.4".into(), certain }
}

fn volume() -> Evidence {
    Evidence::ClusterVolume { detail: "directory \\MSCS".into() }
}

fn transport() -> Evidence {
    Evidence::Transport { transport: "fc".into(), detail: "0x500".into() }
}

fn paths() -> Evidence {
    Evidence::SeveralPaths { detail: "/dev/sda /dev/sdb".into() }
}

fn own() -> Evidence {
    Evidence::OwnSystem { detail: "/ is on p2".into() }
}

fn unknown() -> Evidence {
    Evidence::Unknown { detail: "no table".into() }
}

#[test]
fn every_evidence_has_its_number_and_its_class_alone() {
    use Class::*;
    let table = [
        (registrations(None), 1, Shared),
        (registrations(Some(1)), 1, Shared),
        (registrations(Some(3)), 1, Contended),
        (registrations(Some(5)), 1, Shared),
        (registrations(Some(6)), 1, Contended),
        (registrations(Some(7)), 1, Shared),
        (registrations(Some(8)), 1, Contended),
        (registrations(Some(2)), 1, Contended),
        (conflict(), 2, Contended),
        (change(), 3, Contended),
        (cluster_file_system(), 4, Shared),
        (heartbeats(), 4, Local),
        (area(None), 5, Shared),
        (area(Some("ext4")), 5, Suspect),
        (storage(true), 6, Shared),
        (storage(false), 6, Suspect),
        (database(), 7, Shared),
        (configuration(), 8, Shared),
        (mirror(true), 9, Mirror),
        (mirror(false), 9, Mirror),
        (volume(), 10, Shared),
        (transport(), 11, Suspect),
        (paths(), 12, Suspect),
        (own(), 13, Own),
        (unknown(), 14, Suspect),
    ];
    for (evidence, number, class) in table {
        assert_eq!((evidence.number(), Class::of([&evidence])), (number, class), "{evidence:?}");
        assert!(!evidence.proof().is_empty());
    }
    assert_eq!(Class::of([]), Local);
}

#[test]
fn together_they_weigh_in_the_order_of_danger() {
    use Class::*;
    let table = [
        (vec![change(), own(), database()], Contended),
        (vec![own(), database()], Shared),
        (vec![own(), configuration(), mirror(true)], Shared),
        (vec![transport(), own()], Own),
        (vec![transport(), paths(), unknown(), own()], Own),
        (vec![own(), mirror(true)], Mirror),
        (vec![own(), mirror(true), transport()], Mirror),
        (vec![own(), area(Some("ext4"))], Suspect),
        (vec![mirror(true), transport()], Mirror),
        (vec![mirror(false), transport()], Suspect),
        (vec![mirror(false), own()], Mirror),
        (vec![transport(), unknown()], Suspect),
        (vec![heartbeats(), transport()], Shared),
        (vec![heartbeats(), paths()], Shared),
        (vec![heartbeats(), own()], Own),
        (vec![mirror(true), volume(), transport()], Shared),
        (vec![registrations(Some(5)), own()], Shared),
    ];
    for (evidence, class) in table {
        assert_eq!(Class::of(&evidence), class, "{evidence:?}");
        let backwards: Vec<_> = evidence.iter().rev().collect();
        assert_eq!(Class::of(backwards), class, "{evidence:?}");
    }
    assert!(Contended > Shared && Shared > Own && Own > Mirror && Mirror > Suspect && Suspect > Local);
    let codes = [Contended, Shared, Own, Mirror, Suspect, Local].map(Class::code);
    assert_eq!(codes, ["X", "S1", "B", "S3", "S2", "S0"]);
    assert_eq!(serde_json::to_value(Shared).unwrap(), "S1");
}

/// More evidence never opens a gate for overwriting, but for that which explains the way to the disk.
#[test]
fn more_evidence_never_makes_a_shared_disk_less_so() {
    let all = [
        registrations(None),
        registrations(Some(6)),
        conflict(),
        change(),
        cluster_file_system(),
        heartbeats(),
        area(None),
        area(Some("ext4")),
        storage(true),
        storage(false),
        database(),
        configuration(),
        mirror(true),
        mirror(false),
        volume(),
        transport(),
        paths(),
        own(),
        unknown(),
    ];
    for chosen in 0_u32..1 << all.len() {
        let set: Vec<_> = (0..all.len()).filter(|bit| chosen >> bit & 1 == 1).map(|bit| &all[bit]).collect();
        let class = Class::of(set.iter().copied());
        let strongest = set.iter().map(|one| one.class()).filter(|class| *class >= Class::Shared).max();
        if let Some(strongest) = strongest {
            assert_eq!(class, strongest, "{set:?}");
        }
        if class <= Class::Suspect {
            assert!(set.iter().all(|one| one.class() <= Class::Suspect || !one.is_of_the_way()), "{set:?}");
        }
        if set.iter().any(|one| one.is_of_the_way()) {
            assert_ne!(class, Class::Local, "{set:?}");
        }
    }
}

fn disk(evidence: &[Evidence]) -> Assessment {
    let mut disk = Assessment::new("/dev/sdb", vec!["naa.600140512345678".into(), "SERIAL1234567".into()]);
    evidence.iter().for_each(|one| disk.add(None, one.clone()));
    disk
}

fn passes(disk: &Assessment, purpose: Purpose, scope: Option<Scope>, confirmed: &[&str]) -> Gate {
    let confirmed: Vec<_> = confirmed.iter().map(|id| (*id).to_owned()).collect();
    gate(disk, disk.class(), purpose, scope, &confirmed)
}

#[test]
fn each_class_has_its_gates() {
    use Purpose::*;
    const YES: &[&str] = &["SERIAL1234567"];
    const WWN: &[&str] = &["naa.600140512345678"];
    const WRONG: &[&str] = &["SERIAL1234568", "/dev/sdb", "234567", ""];
    let all = Some(Scope::AllNodes);
    let one = Some(Scope::OneNode);
    let confirm_shared = Gate::Closed(Lock::Confirm(Class::Shared));
    let confirm_suspect = Gate::Closed(Lock::Confirm(Class::Suspect));
    // Class by its evidence, purpose, scope, what was confirmed, gate. `&[]` is also what nobody attends to.
    type Row<'a> = (&'a [Evidence], Purpose, Option<Scope>, &'a [&'a str], Gate);
    let table: &[Row<'_>] = &[
        (&[change()], Save, None, YES, Gate::Closed(Lock::Contended)),
        (&[change()], Restore, all, YES, Gate::Closed(Lock::Contended)),
        (&[change()], Identity, None, YES, Gate::Closed(Lock::Contended)),
        (&[change()], Repository, None, YES, Gate::Closed(Lock::Contended)),
        (&[conflict()], Restore, all, YES, Gate::Closed(Lock::Contended)),
        (&[area(None)], Save, None, &[], confirm_shared.clone()),
        (&[area(None)], Save, None, WRONG, confirm_shared.clone()),
        (&[area(None)], Save, None, YES, Gate::Open),
        (&[area(None)], Save, None, WWN, Gate::Open),
        (&[registrations(Some(5))], Save, None, YES, Gate::Open),
        (&[area(None)], Restore, None, YES, Gate::Closed(Lock::Scope)),
        (&[area(None)], Restore, one, YES, Gate::Closed(Lock::Scope)),
        (&[area(None)], Restore, all, &[], confirm_shared.clone()),
        (&[area(None)], Restore, all, WRONG, confirm_shared.clone()),
        (&[area(None)], Restore, all, YES, Gate::Open),
        (&[registrations(None)], Restore, all, YES, Gate::Closed(Lock::Registered)),
        (&[registrations(Some(5))], Restore, all, YES, Gate::Closed(Lock::Registered)),
        (&[registrations(Some(5)), own()], Identity, all, YES, Gate::Closed(Lock::Registered)),
        (&[area(None)], Identity, None, &[], confirm_shared.clone()),
        (&[area(None)], Identity, None, YES, Gate::Open),
        (&[area(None)], Repository, None, YES, Gate::Closed(Lock::Images(Class::Shared))),
        (&[transport()], Save, None, &[], Gate::Open),
        (&[transport()], Restore, one, &[], confirm_suspect.clone()),
        (&[transport()], Restore, None, WRONG, confirm_suspect.clone()),
        (&[transport()], Restore, None, YES, Gate::Open),
        (&[transport()], Restore, None, WWN, Gate::Open),
        (&[transport()], Identity, None, &[], confirm_suspect),
        (&[transport()], Identity, None, YES, Gate::Open),
        (&[transport()], Repository, None, YES, Gate::Closed(Lock::Images(Class::Suspect))),
        (&[mirror(true)], Save, None, &[], Gate::Open),
        (&[mirror(true)], Restore, None, &[], Gate::Open),
        (&[mirror(true)], Repository, None, YES, Gate::Closed(Lock::Images(Class::Mirror))),
        (&[transport(), own()], Save, None, &[], Gate::Open),
        (&[transport(), own()], Restore, None, &[], Gate::Open),
        (&[transport(), own()], Repository, None, &[], Gate::Open),
        (&[], Save, None, &[], Gate::Open),
        (&[], Restore, None, &[], Gate::Open),
        (&[], Identity, None, &[], Gate::Open),
        (&[], Repository, None, &[], Gate::Open),
    ];
    for (evidence, purpose, scope, confirmed, expected) in table {
        let disk = disk(evidence);
        let passed = passes(&disk, *purpose, *scope, confirmed);
        assert_eq!(passed, *expected, "{evidence:?} {purpose:?} {scope:?} {confirmed:?}");
    }
}

#[test]
fn what_is_typed_must_be_the_word() {
    use Purpose::*;
    let id = "SERIAL1234567";
    let table = [
        (Lock::Confirm(Class::Shared), Save, Some("SHARED")),
        (Lock::Confirm(Class::Shared), Restore, Some("OVERWRITE SHARED SERIAL1234567")),
        (Lock::Confirm(Class::Shared), Identity, Some("OVERWRITE SHARED SERIAL1234567")),
        (Lock::Confirm(Class::Suspect), Restore, Some("234567")),
        (Lock::Contended, Restore, None),
        (Lock::Registered, Restore, None),
        (Lock::Scope, Restore, None),
        (Lock::Images(Class::Shared), Repository, None),
    ];
    for (lock, purpose, words) in table {
        assert_eq!(lock.words(purpose, id).as_deref(), words, "{lock:?}");
        for wrong in
            ["", "y", "yes", "はい", "shared", "overwrite shared SERIAL1234567", "OVERWRITE SHARED", "34567", id]
        {
            assert!(!lock.accepts(purpose, id, wrong), "{lock:?} {wrong}");
        }
        if let Some(words) = words {
            assert!(lock.accepts(purpose, id, &format!("{words}\n")));
        }
    }
    assert!(!Lock::Confirm(Class::Suspect).accepts(Restore, "", ""), "nothing names nothing");
    assert_eq!(Lock::Confirm(Class::Suspect).words(Restore, "vda").as_deref(), Some("vda"));
}

#[test]
fn a_lock_is_that_of_what_is_touched() {
    let mut disk = disk(&[transport(), own()]);
    disk.add(Some("p3"), database());
    disk.add(Some("p4"), mirror(true));
    assert_eq!(disk.class(), Class::Shared);
    let of = |name: &str| disk.class_of(name);
    assert_eq!((of("p1"), of("p3"), of("p4")), (Class::Own, Class::Shared, Class::Mirror));
    assert_eq!(disk.class_over(|region| region == "p4"), Class::Own);
    assert_eq!(disk.class_over(|region| region == "p3"), Class::Shared);
    assert_eq!(disk.class_over(|_| false), Class::Own);
    disk.add(None, change());
    assert_eq!(disk.class_of("p1"), Class::Contended);
}

#[test]
fn a_disk_without_a_number_is_known_by_what_it_is_called() {
    let nameless = Assessment::new("/dev/vdb", Vec::new());
    assert_eq!(nameless.id(), "/dev/vdb");
    assert!(nameless.is_confirmed(&["/dev/vdb".into()]) && !nameless.is_confirmed(&["vdb".into()]));
    assert!(!Assessment::new("/dev/vdb", vec![String::new()]).is_confirmed(&[String::new()]));
}

#[test]
fn findings_are_told_with_their_kind_and_proof() {
    let finding = Finding { region: Some("p1".into()), evidence: registrations(Some(5)) };
    let document = serde_json::to_value(&finding).unwrap();
    assert_eq!((document["region"].as_str(), document["kind"].as_str()), (Some("p1"), Some("registrations")));
    assert_eq!(document["holder"]["kind"], "write-exclusive-registrants");
    assert_eq!(serde_json::from_value::<Finding>(document).unwrap(), finding);
    assert_eq!(
        finding.evidence.proof(),
        "/dev/sdb: keys 00000000deadbeef, generation 3, reserved by 00000000deadbeef \
         (Write Exclusive, Registrants Only)"
    );
}
