//! What a fuzzer of the image format does with one input: bytes of a repository that an attacker wrote, with every
//! digest right, so that the parsers behind the digests are reached.

use image::{
    CHUNK_SIZE, ChunkId, Decoder, Manifest, MapReader, MapSummary, MemoryStore, Pack, RepositoryHeader, Store,
    manifest_path, salvage_pack,
};

/// Reads the input as every kind of file. Panics where something that must hold does not.
pub fn check(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 5 {
        0 => check_pack(bytes),
        1 => check_map(bytes),
        2 => check_documents(bytes),
        3 => check_record(bytes),
        _ => check_unfinished_pack(bytes),
    }
}

fn store_with(path: &str, bytes: &[u8]) -> MemoryStore {
    let store = MemoryStore::new();
    store.create(path).unwrap().write(bytes).unwrap();
    store
}

/// The input is records and index; the first two bytes say where the index begins.
fn check_pack(bytes: &[u8]) {
    let Some((split, rest)) = bytes.split_first_chunk::<2>() else { return };
    let index_start = usize::from(u16::from_le_bytes(*split)).min(rest.len());
    let index = &rest[index_start..];
    let digest = ChunkId::of(index);
    let mut file = b"SOSEIPAK\x01\0\0\0\0\0\0\0".to_vec();
    file.extend(&rest[..index_start]);
    let index_offset = file.len() as u64;
    file.extend(index);
    file.extend(b"SOSEIEND");
    file.extend(index_offset.to_le_bytes());
    file.extend((index.len() as u64).to_le_bytes());
    file.extend((index.len() as u64 / 48).to_le_bytes());
    file.extend(digest.0);
    let path = format!("packs/00/{digest}.pack");
    if let Ok(pack) = Pack::read(&store_with(&path, &file), &path) {
        let mut position = 16;
        for entry in &pack.entries {
            assert_eq!(entry.offset, position, "records follow one another");
            position = entry.end();
        }
        assert_eq!(position, index_offset);
    }
}

/// The input is a map but for its magic number; the digest fits.
fn check_map(bytes: &[u8]) {
    let mut file = b"SOSEIMAP\x01\0\0\0\0\0\x04\0".to_vec();
    file.extend(bytes);
    let length = bytes.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
    let store = store_with("m", &file);
    let summary = MapSummary { size: file.len() as u64, digest: ChunkId::of(&file) };
    let Ok(map) = MapReader::open(&store, "m", summary, length) else { return };
    assert!(map.extents().end() <= length, "saved bytes lie in the region");
    let mut last = None;
    // A run of zeros may stand for more chunks than anybody can count.
    for chunk in map.chunks().take(10_000) {
        let Ok((number, _)) = chunk else { return };
        assert!(last.is_none_or(|last| last < number), "chunks ascend");
        assert!(map.extents().overlapping(map.grid().extent(number)).next().is_some(), "only saved chunks are told");
        last = Some(number);
    }
}

fn check_documents(bytes: &[u8]) {
    let name = "a".parse().unwrap();
    let path = manifest_path(&name);
    let mut file = b"{\n  \"blake3\": \"".to_vec();
    let digits = file.len();
    file.extend([b'0'; 64]);
    file.extend(b"\",");
    file.extend(bytes);
    let digest = ChunkId::of(&file).to_string();
    file[digits..digits + 64].copy_from_slice(digest.as_bytes());
    let _ = Manifest::read(&store_with(&path, &file), &name);
    let _ = RepositoryHeader::read(&store_with("sosei.json", &file));
}

fn check_record(bytes: &[u8]) {
    let mut chunk = vec![0; CHUNK_SIZE as usize];
    if let Ok(header) = Decoder::new().unwrap().decode(bytes, &mut chunk) {
        assert_eq!(ChunkId::of(&chunk[..header.chunk_length as usize]), header.id);
    }
}

fn check_unfinished_pack(bytes: &[u8]) {
    let mut file = b"SOSEIPAK\x01\0\0\0\0\0\0\0".to_vec();
    file.extend(bytes);
    let salvaged = salvage_pack(&store_with("p", &file), "p").unwrap();
    assert!(salvaged.assembler.length() <= file.len() as u64);
}
