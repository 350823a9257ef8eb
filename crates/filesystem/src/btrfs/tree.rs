//! Walking a tree: from its root to all leaves, in the order of keys.
//!
//! Keys ascend from block to block and every block begins with the key that its parent names, so no block is visited
//! twice; levels fall by one each, so no path is longer than the root is high. A count of blocks keeps the walk finite
//! without having to prove that.

use super::tree_block::{Expected, Key, Root};
use super::volume::{Stop, Volume};
use crate::Error;

/// What looks at a tree.
pub(super) trait Visitor {
    /// A block of the tree at `position` of the region, by its logical address.
    fn block(&mut self, _position: u64, _logical: u64) -> Result<(), Error> {
        Ok(())
    }

    /// An item of a leaf at `position` of the region.
    fn item(&mut self, position: u64, key: &Key, data: &[u8]) -> Result<(), Error>;
}

/// Visits the blocks and items of the tree `owner`. Where `only` is given, those blocks that can hold items with that
/// object and kind.
pub(super) fn walk(
    volume: &Volume,
    root: Root,
    owner: u64,
    only: Option<(u64, u8)>,
    visitor: &mut dyn Visitor,
) -> Result<(), Stop> {
    let mut last: Option<Key> = None;
    let mut left = volume.blocks_limit();
    let Root { logical, level, generation } = root;
    let mut waiting = vec![Expected { logical, level, generation, owner, first_key: None }];
    while let Some(expected) = waiting.pop() {
        let block = volume.tree_block(&expected)?;
        left = left.checked_sub(1).ok_or_else(|| {
            Error::corrupt(block.position, format!("at most {} tree blocks", volume.blocks_limit()), "more")
        })?;
        visitor.block(block.position, expected.logical)?;
        if expected.level > 0 {
            push_children(&mut waiting, block.children(expected.level, owner), only);
            continue;
        }
        for (key, data) in block.items() {
            if last.is_some_and(|last| last >= key) {
                let previous = last.map(|last| last.to_string()).unwrap_or_default();
                return Err(Error::corrupt(block.position, format!("a key above {previous}"), key.to_string()).into());
            }
            last = Some(key);
            visitor.item(block.position, &key, data)?;
        }
    }
    Ok(())
}

/// Puts children on the stack so that the first one comes off first.
fn push_children(
    waiting: &mut Vec<Expected>,
    children: impl DoubleEndedIterator<Item = Expected>,
    only: Option<(u64, u8)>,
) {
    let mut next: Option<Key> = None;
    for child in children.rev() {
        let first = child.first_key;
        let is_wanted = only.is_none_or(|(object, kind)| {
            let starts_before_the_end = first.is_none_or(|key| (key.object, key.kind) <= (object, kind));
            let ends_behind_the_start = next.is_none_or(|key| (key.object, key.kind) >= (object, kind));
            starts_before_the_end && ends_behind_the_start
        });
        next = first;
        if is_wanted {
            waiting.push(child);
        }
    }
}
