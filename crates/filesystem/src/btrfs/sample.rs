//! A small Btrfs made byte by byte, so that a test can bend any of its bytes.

use super::checksum::Checksum;

pub(super) const NODE: usize = 4096;
pub(super) const SIZE: usize = 8 << 20;
pub(super) const GENERATION: u64 = 7;
const UUID: [u8; 16] = *b"0123456789abcdef";
const DEVICE_UUID: [u8; 16] = *b"device uuid here";
pub(super) const SUPERBLOCK: usize = 0x1_0000;

/// A chunk: kind, logical address, length, places on the device.
pub(super) type Chunk = (u64, u64, u64, Vec<u64>);

const SYSTEM: u64 = 0x10_0000;
const METADATA: u64 = 0x20_0000;
pub(super) const DATA: u64 = 0x40_0000;
pub(super) const CHUNK_TREE: u64 = SYSTEM;
pub(super) const ROOT_TREE: u64 = METADATA;
pub(super) const EXTENT_TREE: u64 = METADATA + 0x1000;
/// The leaves of the extent tree.
pub(super) const EXTENT_LEAVES: [u64; 2] = [METADATA + 0x2000, METADATA + 0x3000];
const GROUP_TREE: u64 = METADATA + 0x4000;
pub(super) const LOG_ROOTS: u64 = METADATA + 0x8000;
pub(super) const LOG: u64 = METADATA + 0x9000;

pub(super) const TREE_LOG: u64 = u64::MAX - 5;

/// An item: object, kind, offset, data.
type Item = (u64, u8, u64, Vec<u8>);

/// What to make.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) checksum: Checksum,
    pub(super) chunks: Vec<Chunk>,
    /// Data in use, as logical address and length.
    pub(super) data: Vec<(u64, u64)>,
    pub(super) has_group_tree: bool,
    /// Data that a log refers to, where there is a log.
    pub(super) log: Option<(u64, u64)>,
    /// What the device item says is in chunks, where it is not the truth.
    pub(super) device_bytes: Option<u64>,
}

impl Sample {
    pub(super) fn new() -> Self {
        Self {
            checksum: Checksum::Crc32c,
            chunks: vec![
                (0x22, SYSTEM, 0x1_0000, vec![0x11_0000, 0x12_0000]),
                (0x24, METADATA, 0x2_0000, vec![0x20_0000, 0x30_0000]),
                (0x01, DATA, 0x10_0000, vec![0x50_0000]),
            ],
            data: vec![(DATA, 0x1000), (DATA + 0x3000, 0x2000), (DATA + 0xF_F000, 0x1000)],
            has_group_tree: false,
            log: None,
            device_bytes: None,
        }
    }

    /// Tree blocks that the extent tree lists.
    fn tree_blocks(&self) -> Vec<u64> {
        let mut blocks = vec![CHUNK_TREE, ROOT_TREE, EXTENT_TREE, EXTENT_LEAVES[0], EXTENT_LEAVES[1]];
        blocks.extend(self.has_group_tree.then_some(GROUP_TREE));
        blocks
    }

    /// All logical addresses in use, as address and length.
    pub(super) fn used(&self) -> Vec<(u64, u64)> {
        let mut used: Vec<_> = self.tree_blocks().into_iter().map(|block| (block, NODE as u64)).collect();
        used.extend(&self.data);
        if let Some(data) = self.log {
            used.extend([(LOG_ROOTS, NODE as u64), (LOG, NODE as u64), data]);
        }
        used
    }

    pub(super) fn build(&self) -> Image {
        let mut image = Image { bytes: vec![0; SIZE], checksum: self.checksum, chunks: self.chunks.clone() };
        image.put_leaf(CHUNK_TREE, 3, GENERATION, &self.chunk_items());
        let root = |tree, block, level| (tree, 132, 0, root_item(block, level, GENERATION));
        let mut roots = vec![root(2, EXTENT_TREE, 1)];
        roots.extend(self.has_group_tree.then(|| root(11, GROUP_TREE, 0)));
        image.put_leaf(ROOT_TREE, 1, GENERATION, &roots);
        self.put_extents(&mut image);
        if let Some((start, length)) = self.log {
            let item = (TREE_LOG, 132, 5, root_item(LOG, 0, GENERATION + 1));
            image.put_leaf(LOG_ROOTS, TREE_LOG, GENERATION + 1, &[item]);
            let hole = (257, 108, 0, file_extent(1, 0, 0));
            let extent = (257, 108, 4096, file_extent(2, start, length));
            let inline = (258, 108, 0, vec![0; 22]);
            image.put_leaf(LOG, TREE_LOG, GENERATION + 1, &[hole, extent, inline]);
        }
        self.put_superblock(&mut image);
        image
    }

    fn chunk_items(&self) -> Vec<Item> {
        let in_chunks = self.chunks.iter().map(|(_, _, length, places)| length * places.len() as u64).sum();
        let mut items = vec![(1, 216, 1, device_item(self.device_bytes.unwrap_or(in_chunks)))];
        items.extend(self.chunks.iter().map(|chunk| (256, 228, chunk.1, chunk_item(chunk))));
        items
    }

    fn put_extents(&self, image: &mut Image) {
        let mut items: Vec<Item> = self.tree_blocks().into_iter().map(|block| (block, 169, 0, vec![0; 24])).collect();
        // One in the old way.
        items[0] = (CHUNK_TREE, 168, NODE as u64, vec![0; 24]);
        items.extend(self.data.iter().map(|(start, length)| (*start, 168, *length, vec![0; 24])));
        let sums = self.chunks.iter().map(|(kind, logical, length, _)| {
            let inside = |(at, _, _, _): &&Item| (*logical..logical + length).contains(at);
            let bytes = |item: &Item| if item.1 == 169 { NODE as u64 } else { item.2 };
            let used: u64 = items.iter().filter(inside).map(bytes).sum();
            (*logical, 192, *length, [used, 256, *kind].map(u64::to_le_bytes).concat())
        });
        let groups: Vec<Item> = sums.collect();
        if self.has_group_tree {
            image.put_leaf(GROUP_TREE, 11, GENERATION, &groups);
        } else {
            items.extend(groups);
        }
        items.sort_by_key(|item| (item.0, item.1, item.2));
        let (left, right) = items.split_at(items.len() / 2);
        image.put_leaf(EXTENT_LEAVES[0], 2, GENERATION, left);
        image.put_leaf(EXTENT_LEAVES[1], 2, GENERATION, right);
        let pointers: Vec<u8> = [(&left[0], EXTENT_LEAVES[0]), (&right[0], EXTENT_LEAVES[1])]
            .iter()
            .flat_map(|(item, block)| [key(item), block.to_le_bytes().into(), GENERATION.to_le_bytes().into()].concat())
            .collect();
        image.put_block(EXTENT_TREE, 2, GENERATION, 1, 2, &pointers);
    }

    fn put_superblock(&self, image: &mut Image) {
        let mut bytes = vec![0; 4096];
        let mut put = |at: usize, data: &[u8]| bytes[at..at + data.len()].copy_from_slice(data);
        put(0x20, &UUID);
        put(0x40, b"_BHRfS_M");
        for (at, word) in [
            (0x30, SUPERBLOCK as u64),
            (0x48, GENERATION),
            (0x50, ROOT_TREE),
            (0x58, CHUNK_TREE),
            (0x60, if self.log.is_some() { LOG_ROOTS } else { 0 }),
            (0x88, 1),
            (0xA4, GENERATION),
            (0xB4, if self.has_group_tree { 0xB } else { 0x3 }),
            (0xBC, 0x361),
        ] {
            put(at, &word.to_le_bytes());
        }
        put(0x90, &4096_u32.to_le_bytes());
        put(0x94, &(NODE as u32).to_le_bytes());
        put(0xC4, &[self.checksum as u8]);
        put(0xC9, &device_item(0));
        put(0x12B, b"sample");
        let system = [key(&(256, 228, SYSTEM, vec![])), chunk_item(&self.chunks[0])].concat();
        put(0xA0, &(system.len() as u32).to_le_bytes());
        put(0x32B, &system);
        image.bytes[SUPERBLOCK..SUPERBLOCK + 4096].copy_from_slice(&bytes);
        image.bend_superblock(|_| ());
    }
}

/// The bytes of a device.
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    checksum: Checksum,
    chunks: Vec<Chunk>,
}

impl Image {
    /// Where the logical address lies on the device: one place for each copy.
    pub(super) fn places(&self, logical: u64) -> Vec<usize> {
        let chunk = self.chunks.iter().find(|(_, start, length, _)| (*start..start + length).contains(&logical));
        let (_, start, _, places) = chunk.unwrap();
        places.iter().map(|place| (place + logical - start) as usize).collect()
    }

    /// Changes all copies of a tree block and makes their checksums right again.
    pub(super) fn bend(&mut self, logical: u64, bend: impl Fn(&mut [u8])) {
        for place in self.places(logical) {
            let block = &mut self.bytes[place..place + NODE];
            bend(block);
            self.checksum.seal(block);
        }
    }

    /// Changes the superblock and makes its checksum right again.
    pub(super) fn bend_superblock(&mut self, bend: impl Fn(&mut [u8])) {
        let block = &mut self.bytes[SUPERBLOCK..SUPERBLOCK + 4096];
        bend(block);
        self.checksum.seal(block);
    }

    fn put_block(&mut self, logical: u64, owner: u64, generation: u64, level: u8, count: usize, body: &[u8]) {
        self.bend(logical, |block| {
            block.fill(0);
            block[32..48].copy_from_slice(&UUID);
            for (at, word) in [(48, logical), (80, generation), (88, owner)] {
                block[at..at + 8].copy_from_slice(&word.to_le_bytes());
            }
            block[96..100].copy_from_slice(&(count as u32).to_le_bytes());
            block[100] = level;
            block[101..101 + body.len()].copy_from_slice(body);
        });
    }

    fn put_leaf(&mut self, logical: u64, owner: u64, generation: u64, items: &[Item]) {
        let mut body = vec![0; NODE - 101];
        let mut end = body.len();
        for (index, item) in items.iter().enumerate() {
            end -= item.3.len();
            body[end..end + item.3.len()].copy_from_slice(&item.3);
            let sizes = [(end as u32).to_le_bytes(), (item.3.len() as u32).to_le_bytes()].concat();
            body[index * 25..index * 25 + 25].copy_from_slice(&[key(item), sizes].concat());
        }
        self.put_block(logical, owner, generation, 0, items.len(), &body);
    }
}

fn key(item: &Item) -> Vec<u8> {
    [item.0.to_le_bytes().as_slice(), &[item.1], &item.2.to_le_bytes()].concat()
}

fn root_item(block: u64, level: u8, generation: u64) -> Vec<u8> {
    let mut item = vec![0; 239];
    item[160..168].copy_from_slice(&generation.to_le_bytes());
    item[176..184].copy_from_slice(&block.to_le_bytes());
    item[238] = level;
    item
}

fn file_extent(kind: u8, start: u64, length: u64) -> Vec<u8> {
    let mut item = vec![0; 53];
    item[20] = kind;
    item[21..29].copy_from_slice(&start.to_le_bytes());
    item[29..37].copy_from_slice(&length.to_le_bytes());
    item
}

fn chunk_item((kind, _, length, places): &Chunk) -> Vec<u8> {
    let mut item = [*length, 2, 65536, *kind].map(u64::to_le_bytes).concat();
    item.extend([0; 12]);
    item.extend((places.len() as u16).to_le_bytes());
    item.extend(1_u16.to_le_bytes());
    for place in places {
        item.extend([1_u64.to_le_bytes(), place.to_le_bytes()].concat());
        item.extend(DEVICE_UUID);
    }
    item
}

fn device_item(in_chunks: u64) -> Vec<u8> {
    let mut item = [1, SIZE as u64, in_chunks].map(u64::to_le_bytes).concat();
    item.resize(66, 0);
    item.extend(DEVICE_UUID);
    item.extend(UUID);
    item
}
