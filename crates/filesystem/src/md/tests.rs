use block::{MemoryDisk, WriteAt, read_vec};

use super::sample::{DATA, MIRROR, Said, write};
use super::{Level, Member, State, find, find_behind_table};

const VERSIONS: [&str; 4] = ["0.90", "1.0", "1.1", "1.2"];

fn member(said: Said) -> Member {
    let disk = MemoryDisk::new(6 << 20);
    write(&disk, said);
    find(&disk).unwrap().unwrap()
}

#[test]
fn every_version_is_found_in_its_place() {
    for version in VERSIONS {
        let found = member(Said { version, role: 1, ..MIRROR });
        assert_eq!((found.version.as_str(), found.level, found.role), (version, Level::Mirror, Some(1)));
        assert_eq!((found.events, found.devices, found.state), (17, 2, State::InSync), "{version}");
        assert_eq!(found.data_length, 4 << 20);
        assert_eq!(found.data_start, if matches!(version, "1.1" | "1.2") { DATA } else { 0 });
    }
    assert_eq!(find(&MemoryDisk::new(6 << 20)).unwrap(), None);
    assert_eq!(find(&MemoryDisk::new(100)).unwrap(), None);
}

#[test]
fn a_member_that_may_lag_is_not_in_sync() {
    let state = |said: Said| member(said).state;
    let says = |said: Said, text: &str| match state(said) {
        State::NotInSync(detail) | State::Changing(detail) => assert!(detail.contains(text), "{detail}"),
        other => panic!("{text}: {other:?}"),
    };
    for version in VERSIONS {
        assert_eq!(state(Said { version, is_clean: false, ..MIRROR }), State::NotClean, "{version}");
    }
    says(Said { role: 2, ..MIRROR }, "spare");
    says(Said { role: 3, ..MIRROR }, "faulty");
    says(Said { version: "0.90", role: 2, ..MIRROR }, "state 0x0");
    says(Said { version: "0.90", features: 1, ..MIRROR }, "a reshape, version 0.91");
    for (features, text) in [(2, "rebuilt"), (4, "reshape"), (8, "bad blocks"), (16, "replaces"), (64, "features 0x40")]
    {
        says(Said { features, ..MIRROR }, text);
    }
    assert_eq!(state(Said { features: 1, ..MIRROR }), State::InSync);
}

#[test]
fn a_bent_byte_is_seen_by_the_checksum() {
    for (version, places) in [
        ("0.90", &[4 + 28, 160, 4095][..]),
        ("1.0", &[16, 128, 216, 263]),
        ("1.1", &[16, 128, 216, 263]),
        ("1.2", &[16, 128, 216, 263]),
    ] {
        for place in places {
            let disk = MemoryDisk::new(6 << 20);
            write(&disk, Said { version, ..MIRROR });
            let position = find(&disk).unwrap().unwrap().superblock + place;
            let byte = read_vec(&disk, position, 1).unwrap()[0];
            disk.write_at(position, &[byte ^ 1]).unwrap();
            let error = find(&disk).unwrap_err().to_string();
            assert!(error.contains("md superblock: checksum"), "{version} at {place}: {error}");
        }
    }
}

#[test]
fn two_superblocks_are_refused() {
    let disk = MemoryDisk::new(6 << 20);
    write(&disk, MIRROR);
    write(&disk, Said { version: "0.90", ..MIRROR });
    assert_eq!(find(&disk).unwrap_err().to_string(), "md superblocks of versions 1.2 and 0.90");
}

#[test]
fn data_outside_the_member_is_refused() {
    let disk = MemoryDisk::new(6 << 20);
    write(&disk, Said { length: 6 << 20, ..MIRROR });
    let error = find(&disk).unwrap_err().to_string();
    assert!(error.contains("data inside 6291456 bytes, found 6291456 bytes from 1048576"), "{error}");
}

#[test]
fn a_superblock_at_the_end_of_a_disk_tells_whose_it_is() {
    let disk = MemoryDisk::new(6 << 20);
    write(&disk, Said { version: "1.0", level: 0, ..MIRROR });
    assert_eq!(find_behind_table(&disk).unwrap().unwrap().level, Level::Other(0));
    // The same superblock at the end of a partition of a larger disk is not that of the disk.
    let larger = MemoryDisk::new(7 << 20);
    let end = ((6 << 20) / 512 - 16) * 512;
    larger.write_at(end + (1 << 20), &read_vec(&disk, end, 4096).unwrap()).unwrap();
    assert_eq!(find_behind_table(&larger).unwrap(), None);
}
