//! A set of bytes: sorted, disjoint, coalesced extents, with the operations of sets.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::extent::Extent;

/// A set of bytes of one space. Adjacent and overlapping extents are kept as one.
///
/// Appending in ascending order is cheap; inserting anywhere else moves what lies behind.
pub struct Extents<S> {
    runs: Vec<Extent<S>>,
}

impl<S> Extents<S> {
    /// No byte.
    pub const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// The extents in ascending order, none empty, none touching its neighbour.
    pub fn as_slice(&self) -> &[Extent<S>] {
        &self.runs
    }

    /// The extents in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Extent<S>> + '_ {
        self.runs.iter().copied()
    }

    /// Number of separate extents.
    pub fn count(&self) -> usize {
        self.runs.len()
    }

    /// Whether the set holds no byte.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Number of bytes in the set.
    pub fn total_bytes(&self) -> u64 {
        self.runs.iter().fold(0, |sum, run| sum.saturating_add(run.length()))
    }

    /// First byte after the last extent; 0 for the empty set.
    pub fn end(&self) -> u64 {
        self.runs.last().map_or(0, Extent::end)
    }

    /// Adds the bytes of `extent`.
    pub fn insert(&mut self, extent: Extent<S>) {
        if extent.is_empty() {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if extent.start() >= last.start() => {
                if extent.start() <= last.end() {
                    *last = Extent::between(last.start(), last.end().max(extent.end()));
                } else {
                    self.runs.push(extent);
                }
            }
            None => self.runs.push(extent),
            Some(_) => self.insert_before_the_end(extent),
        }
    }

    fn insert_before_the_end(&mut self, extent: Extent<S>) {
        // Runs `first..last` touch the new extent and become one with it.
        let first = self.runs.partition_point(|run| run.end() < extent.start());
        let last = self.runs.partition_point(|run| run.start() <= extent.end());
        let touched = self.runs.get(first..last).unwrap_or_default();
        let start = touched.first().map_or(extent.start(), |run| run.start().min(extent.start()));
        let end = touched.last().map_or(extent.end(), |run| run.end().max(extent.end()));
        self.runs.splice(first..last, [Extent::between(start, end)]);
    }

    /// Removes the bytes of `extent`.
    pub fn remove(&mut self, extent: Extent<S>) {
        let first = self.runs.partition_point(|run| run.end() <= extent.start());
        let last = self.runs.partition_point(|run| run.start() < extent.end());
        if extent.is_empty() || first >= last {
            return;
        }
        let touched = self.runs.get(first..last).unwrap_or_default();
        let before = touched.first().map(|run| Extent::between(run.start(), extent.start()));
        let after = touched.last().map(|run| Extent::between(extent.end(), run.end()));
        let rest: Vec<_> = before.into_iter().chain(after).filter(|run| !run.is_empty()).collect();
        self.runs.splice(first..last, rest);
    }

    /// The bytes of either set.
    pub fn union(&self, other: &Self) -> Self {
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        let mut result = Self::new();
        loop {
            let take_left = match (left.peek(), right.peek()) {
                (Some(l), Some(r)) => l.start() <= r.start(),
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (None, None) => return result,
            };
            let next = if take_left { left.next() } else { right.next() };
            next.into_iter().for_each(|extent| result.insert(extent));
        }
    }

    /// The bytes that both sets hold.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut result = Self::new();
        for run in &self.runs {
            for both in other.overlapping(*run) {
                result.insert(both);
            }
        }
        result
    }

    /// The bytes of `whole` that are not in the set.
    pub fn complement(&self, whole: Extent<S>) -> Self {
        let mut result = Self::new();
        let mut position = whole.start();
        for run in self.overlapping(whole) {
            result.insert(Extent::between(position, run.start()));
            position = run.end();
        }
        result.insert(Extent::between(position, whole.end()));
        result
    }

    /// The bytes of this set that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut result = Self::new();
        for run in &self.runs {
            for rest in other.complement(*run).runs {
                result.insert(rest);
            }
        }
        result
    }

    /// The parts of the set that lie in `extent`, in ascending order, cut to it.
    pub fn overlapping(&self, extent: Extent<S>) -> impl Iterator<Item = Extent<S>> + '_ {
        let first = self.runs.partition_point(|run| run.end() <= extent.start());
        self.runs
            .iter()
            .skip(first)
            .take_while(move |run| run.start() < extent.end())
            .filter_map(move |run| run.intersection(&extent))
    }

    /// Whether every byte of `extent` is in the set.
    pub fn contains(&self, extent: Extent<S>) -> bool {
        extent.is_empty() || self.overlapping(extent).next().is_some_and(|first| first == extent)
    }

    /// Joins neighbours over the smallest gaps until at most `limit` extents are left.
    ///
    /// The set only grows: for used bytes this is the safe direction. It bounds the memory that a
    /// badly fragmented file system can ask for.
    pub fn limit_count(&mut self, limit: usize) {
        let mut gap = 4096_u64;
        while self.runs.len() > limit.max(1) {
            let mut joined: Vec<Extent<S>> = Vec::with_capacity(limit);
            for run in &self.runs {
                match joined.last_mut() {
                    Some(last) if run.start().saturating_sub(last.end()) <= gap => {
                        *last = Extent::between(last.start(), run.end());
                    }
                    _ => joined.push(*run),
                }
            }
            self.runs = joined;
            gap = gap.saturating_mul(2);
        }
    }
}

impl<S> Default for Extents<S> {
    fn default() -> Self {
        Self::new()
    }
}
impl<S> Clone for Extents<S> {
    fn clone(&self) -> Self {
        Self { runs: self.runs.clone() }
    }
}
impl<S> PartialEq for Extents<S> {
    fn eq(&self, other: &Self) -> bool {
        self.runs == other.runs
    }
}
impl<S> Eq for Extents<S> {}
impl<S> fmt::Debug for Extents<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.runs).finish()
    }
}
impl<S> FromIterator<Extent<S>> for Extents<S> {
    fn from_iter<T: IntoIterator<Item = Extent<S>>>(extents: T) -> Self {
        let mut sorted: Vec<_> = extents.into_iter().collect();
        sorted.sort_unstable_by_key(Extent::start);
        let mut result = Self::new();
        sorted.into_iter().for_each(|extent| result.insert(extent));
        result
    }
}
impl<S> From<Extent<S>> for Extents<S> {
    fn from(extent: Extent<S>) -> Self {
        std::iter::once(extent).collect()
    }
}
impl<S> Serialize for Extents<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.runs.serialize(serializer)
    }
}
impl<'de, S> Deserialize<'de> for Extents<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Extent<S>>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::extent::RegionExtent;

    const SPACE: u64 = 200;

    fn extents() -> impl Strategy<Value = Vec<RegionExtent>> {
        prop::collection::vec((0..SPACE, 0..30_u64), 0..20)
            .prop_map(|pairs| pairs.into_iter().map(|(s, l)| RegionExtent::between(s, (s + l).min(SPACE))).collect())
    }

    /// The same set as one flag a byte: slow and obviously right.
    fn flags(set: &Extents<crate::InRegion>) -> Vec<bool> {
        (0..SPACE).map(|byte| set.iter().any(|run| run.start() <= byte && byte < run.end())).collect()
    }

    fn is_canonical(set: &Extents<crate::InRegion>) -> bool {
        set.as_slice().windows(2).all(|pair| pair[0].end() < pair[1].start()) && set.iter().all(|run| !run.is_empty())
    }

    proptest! {
        #[test]
        fn sets_of_extents_behave_as_sets_of_bytes(a in extents(), b in extents(), cut in (0..SPACE, 0..50_u64)) {
            let mut one_by_one = Extents::new();
            a.iter().for_each(|extent| one_by_one.insert(*extent));
            let set_a: Extents<_> = a.into_iter().collect();
            let set_b: Extents<_> = b.into_iter().collect();
            prop_assert_eq!(&one_by_one, &set_a);
            prop_assert!(is_canonical(&set_a));

            let (fa, fb) = (flags(&set_a), flags(&set_b));
            let combine = |f: fn(bool, bool) -> bool| fa.iter().zip(&fb).map(|(x, y)| f(*x, *y)).collect::<Vec<_>>();
            prop_assert_eq!(flags(&set_a.union(&set_b)), combine(|x, y| x || y));
            prop_assert_eq!(flags(&set_a.intersection(&set_b)), combine(|x, y| x && y));
            prop_assert_eq!(flags(&set_a.difference(&set_b)), combine(|x, y| x && !y));
            let whole = RegionExtent::between(0, SPACE);
            prop_assert_eq!(flags(&set_a.complement(whole)), fa.iter().map(|x| !x).collect::<Vec<_>>());

            let hole = RegionExtent::between(cut.0, (cut.0 + cut.1).min(SPACE));
            let mut removed = set_a.clone();
            removed.remove(hole);
            prop_assert!(is_canonical(&removed));
            prop_assert_eq!(flags(&removed), flags(&set_a.difference(&Extents::from(hole))));
            prop_assert_eq!(set_a.contains(hole), set_a.intersection(&Extents::from(hole)).total_bytes() == hole.length());
        }
    }

    #[test]
    fn limiting_the_count_only_adds_bytes() {
        let mut set: Extents<crate::InRegion> =
            (0..1000).map(|i| RegionExtent::between(i * 10_000, i * 10_000 + 10 + i)).collect();
        let before = set.clone();
        set.limit_count(100);
        assert!(set.count() <= 100, "{}", set.count());
        assert!(before.difference(&set).is_empty());
    }
}
