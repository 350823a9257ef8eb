use block::{MemoryDisk, ReadAt, RegionExtent, WriteAt, read_vec};

use super::sample::{
    AREA, FIRST, MIB, SECOND, linear, text, volume, volume_of, write, write_header, write_label, write_metadata,
};
use super::{Content, Group, find_label, maps, read_metadata_area};

fn disk() -> MemoryDisk {
    let disk = MemoryDisk::new(64 * MIB);
    write(&disk, FIRST, &text(1, 60, ""), 1024);
    disk
}

fn bend(disk: &MemoryDisk, position: u64) {
    let byte = read_vec(disk, position, 1).unwrap()[0];
    disk.write_at(position, &[byte ^ 1]).unwrap();
}

#[test]
fn a_label_is_found_in_any_of_the_first_four_sectors() {
    for sector in 0..4 {
        let disk = MemoryDisk::new(64 * MIB);
        write_label(&disk, sector, FIRST);
        let label = find_label(&disk).unwrap().unwrap();
        assert_eq!((label.uuid.as_str(), label.metadata_areas), (FIRST, vec![AREA]));
        // The checksum covers everything behind it.
        bend(&disk, sector * 512 + 511);
        let error = find_label(&disk).unwrap_err().to_string();
        assert!(error.contains("LVM2 label: checksum"), "{error}");
    }
    let disk = MemoryDisk::new(64 * MIB);
    write_label(&disk, 1, FIRST);
    let sector = read_vec(&disk, 512, 512).unwrap();
    disk.write_at(1024, &sector).unwrap();
    let error = find_label(&disk).unwrap_err().to_string();
    assert!(error.contains("expected LVM2 label: sector 2, found 1"), "{error}");
    write_label(&disk, 2, FIRST);
    assert_eq!(find_label(&disk).unwrap_err().to_string(), "two labels of LVM2 in the first four sectors");
    write_label(&disk, 4, FIRST);
    disk.write_at(512, &[0; 1024]).unwrap();
    assert_eq!(find_label(&disk).unwrap(), None);
}

#[test]
fn a_text_goes_on_behind_the_header_where_it_reaches_the_end() {
    let disk = disk();
    let expected = text(1, 60, "");
    for offset in [512, 100_000, AREA.1 - 512, AREA.1 - 100, AREA.1 - 1] {
        write_metadata(&disk, &expected, offset);
        let Content::Text(text) = read_metadata_area(&disk, AREA.0, AREA.1).unwrap() else { panic!("{offset}") };
        assert_eq!(text, expected.as_bytes(), "{offset}");
    }
}

#[test]
fn every_bent_byte_of_a_metadata_area_is_seen() {
    for (position, expected) in [
        (4096, "checksum"),
        (4096 + 4, "checksum"),
        (4096 + 48, "checksum"),
        (4096 + 511, "checksum"),
        (4096 + 1024, "a text with checksum"),
        (4096 + 1024 + 300, "a text with checksum"),
    ] {
        let disk = disk();
        bend(&disk, position);
        let error = read_metadata_area(&disk, AREA.0, AREA.1).unwrap_err().to_string();
        assert!(error.contains(&format!("LVM2 metadata area: {expected}")), "{position}: {error}");
    }
    let disk = disk();
    let refused = |locations, expected: &str| {
        write_header(&disk, locations);
        let error = read_metadata_area(&disk, AREA.0, AREA.1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused([(512, 10, 0, 0), (1024, 10, 0, 0)], "a change of the volume group was not finished");
    refused([(0, 0, 0, 0), (1024, 10, 0, 0)], "a change of the volume group was not finished");
    refused([(100, 10, 0, 0), (0, 0, 0, 0)], "found 10 bytes at 100");
    refused([(512, u64::MAX, 0, 0), (0, 0, 0, 0)], "found 18446744073709551615 bytes at 512");
    refused([(u64::MAX, 10, 0, 0), (0, 0, 0, 0)], "found 10 bytes at 18446744073709551615");
    write_header(&disk, [(0, 0, 0, 0); 2]);
    assert_eq!(read_metadata_area(&disk, AREA.0, AREA.1).unwrap(), Content::Empty);
    write_header(&disk, [(512, 10, 0, 1), (0, 0, 0, 0)]);
    assert_eq!(read_metadata_area(&disk, AREA.0, AREA.1).unwrap(), Content::Ignored);
    for (start, size) in [(AREA.0, 512), (AREA.0, u64::MAX), (u64::MAX, 4096), (64 * MIB, 4096)] {
        let error = read_metadata_area(&disk, start, size).unwrap_err().to_string();
        assert!(error.contains("an area inside"), "{error}");
    }
}

fn group(logical: &str) -> Result<Group, String> {
    Group::parse(text(1, 60, logical).as_bytes()).map_err(|error| error.to_string())
}

#[track_caller]
fn check_refused(logical: &str, expected: &str) {
    let error = group(logical).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_text_that_contradicts_itself_is_refused() {
    let two = |first: &str, second: &str| volume("a", 4, first) + &volume("b", 4, second);
    check_refused(&two(&linear("pv0", 0), &linear("pv0", 3)), "extent 3 of pv0 in one volume only");
    check_refused(&volume("a", 4, &linear("pv0", 57)), "60 extents of pv0, not 61");
    check_refused(&volume("a", 4, &linear("pv0", i64::MAX as u64)), "60 extents of pv0");
    check_refused(&volume("a", i64::MAX as u64, &linear("pv0", i64::MAX as u64)), "60 extents of pv0");
    check_refused(&volume("a", 4, &linear("pv7", 0)), "a volume pv7");
    check_refused(&volume("a", 4, "type = \"striped\" stripe_count = 1 stripes = []"), "1 places in stripes, not 0");
    check_refused(&volume("a", 4, "type = \"striped\" stripe_count = 0 stripes = []"), "0 places in stripes, not 0");
    check_refused(&volume("a", 4, "type = \"striped\" stripe_count = 1 stripes = [\"pv0\"]"), "pairs of names");
    let three = "type = \"striped\" stripe_count = 2 stripe_size = 8 stripes = [\"pv0\", 0, \"pv1\", 0]";
    check_refused(&volume("a", 3, three), "3 extents on 2 stripes");
    let gap = [(0, 2, linear("pv0", 0)), (3, 2, linear("pv0", 9))];
    let gap: Vec<_> = gap.iter().map(|(start, count, place)| (*start, *count, place.as_str())).collect();
    check_refused(&volume_of("a", "", &gap), "extent 2 of a");
    check_refused(&volume("a", 4, "type = \"odd\" list = [[\"pv0\"]]"), "an LVM2 segment of type odd on pv0");
    check_refused(&volume("pv0", 4, &linear("pv0", 0)), "a physical and a logical volume pv0");
    check_refused("} extra { x = 1", "LVM2 metadata with a section extra");
    check_refused("{", "a name at byte");
    let many = "type = \"striped\" stripe_count = 129 stripe_size = 8 stripes = [".to_owned()
        + &"\"pv0\", 0,".repeat(129)
        + "]";
    check_refused(&volume("a", 129, &many), "129 stripes, more than 128");
}

#[test]
fn bytes_are_found_where_the_segments_say() {
    let striped = "type = \"striped\" stripe_count = 2 stripe_size = 128 stripes = [\"pv1\", 5, \"pv0\", 9]";
    let segments = [(0, 3, linear("pv0", 20)), (3, 4, striped.to_owned()), (7, 1, linear("pv1", 0))];
    let segments: Vec<_> = segments.iter().map(|(start, count, place)| (*start, *count, place.as_str())).collect();
    let group = group(&volume_of("a", "\"READ\", \"VISIBLE\"", &segments)).unwrap();
    let [map] = maps(&group, &group.logical[0]).unwrap().try_into().unwrap();
    // Each 4 KiB of the volume by hand: physical volume and byte.
    let place = |page: u64| -> (usize, u64) {
        let byte = page * 4096;
        match byte / MIB {
            0..3 => (0, MIB + 20 * MIB + byte),
            3..7 => {
                let (stripe, inside) = ((byte - 3 * MIB) / 65536, byte % 65536);
                let (volume, first) = [(1, 5), (0, 9)][(stripe % 2) as usize];
                (volume, MIB + first * MIB + stripe / 2 * 65536 + inside)
            }
            _ => (1, MIB + byte - 7 * MIB),
        }
    };
    let disks = [MemoryDisk::new(64 * MIB), MemoryDisk::new(64 * MIB)];
    for page in 0..8 * 256_u64 {
        let (volume, byte) = place(page);
        disks[volume].write_at(byte, &page.to_le_bytes()).unwrap();
        disks[volume].write_at(byte + 4088, &page.to_le_bytes()).unwrap();
    }
    let whole = block::DiskExtent::between(0, 64 * MIB);
    let windows = (0..2).map(|number| (number, block::Window::new(&disks[number], whole))).collect();
    let view = super::Mapped::new(&map, windows);
    assert_eq!(view.size(), 8 * MIB);
    let all = read_vec(&view, 0, 8 << 20).unwrap();
    for (page, bytes) in (0_u64..).zip(all.chunks(4096)) {
        assert_eq!((&bytes[..8], &bytes[4088..]), (&page.to_le_bytes()[..], &page.to_le_bytes()[..]), "page {page}");
    }
    assert_eq!(read_vec(&view, 8 * MIB - 4, 5).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    // And back: every range of pages has its bytes on the physical volumes, and no others.
    for (first, last) in
        [(0, 1), (0, 2048), (767, 770), (768, 800), (784, 785), (790, 1900), (1791, 1793), (2047, 2048)]
    {
        let extent = RegionExtent::between(first * 4096, last * 4096);
        for volume in 0..2 {
            let expected: block::Extents<block::InRegion> = (first..last)
                .map(place)
                .filter(|(on, _)| *on == volume)
                .map(|(_, byte)| RegionExtent::between(byte, byte + 4096))
                .collect();
            let found: block::Extents<block::InRegion> = map.on_volume(volume, extent).collect();
            assert_eq!(found, expected, "pages {first} to {last} on {volume}");
        }
    }
    // Parts of pages too.
    let found: Vec<_> = map.on_volume(0, RegionExtent::between(10, 20)).collect();
    assert_eq!(found, [RegionExtent::between(21 * MIB + 10, 21 * MIB + 20)]);
}

#[test]
fn what_is_in_the_middle_of_something_is_not_followed() {
    let refused = |logical: &str, expected: &str| {
        let group = group(logical).unwrap();
        let error = maps(&group, &group.logical[0]).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    refused(&volume_of("a", "\"VISIBLE\", \"PVMOVE\"", &[(0, 4, &linear("pv0", 0))]), "it has the flag PVMOVE");
    let snapshot = "type = \"snapshot\" origin = \"a\" cow_store = \"cow\"";
    refused(&(volume("a", 4, &linear("pv0", 0)) + &volume("s", 4, snapshot)), "another volume is built on it");
    refused(&volume("a", 4, "type = \"thin\" thin_pool = \"pool\""), "it is not linear, striped or mirrored");
    refused(&(volume("a", 4, &linear("b", 0)) + &volume("b", 4, &linear("pv0", 0))), "it lies on another logical");
    refused(&volume("a", 0, &linear("pv0", 0)), "it does not divide into stripes of 0 bytes");
    let uneven = "type = \"striped\" stripe_count = 2 stripe_size = 3000 stripes = [\"pv0\", 0, \"pv1\", 0]";
    refused(&volume("a", 4, uneven), "it does not divide into stripes");
    let mirror = "type = \"mirror\" mirror_count = 2 mirrors = [\"a_0\", 0, \"a_1\", 0]";
    let leg =
        |name: &str, flags: &str, place: &str, extents| volume_of(name, flags, &[(0, extents, &linear(place, 0))]);
    let with = |first: String, second: String| volume("a", 4, mirror) + &first + &second;
    let good = || leg("a_0", "\"READ\", \"WRITE\"", "pv0", 4);
    refused(&with(good(), leg("a_1", "\"LOCKED\"", "pv1", 4)), "its copy a_1 has the flag LOCKED");
    refused(&with(good(), leg("a_1", "\"VISIBLE\"", "pv1", 4)), "its copy a_1 is not like it");
    refused(&with(good(), leg("a_1", "", "pv1", 3)), "its copy a_1 is not like it");
    let on_disks = "type = \"mirror\" mirror_count = 2 mirrors = [\"pv0\", 0, \"pv1\", 0]";
    refused(&volume("a", 4, on_disks), "without volumes for its copies");
    let good = group(&with(good(), leg("a_1", "", "pv1", 4))).unwrap();
    assert_eq!(maps(&good, &good.logical[0]).unwrap().len(), 2);
    assert_eq!(SECOND.len(), FIRST.len());
}
