//! The forgotten ranges of one sequence, in the order of their ids.
//!
//! Most sequences have one, which is held in place: only further ones cost an allocation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Ids that are forgotten: all from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    pub(super) first: i64,
    pub(super) last: i64,
    /// The earliest time of the first id.
    pub(super) first_time: i64,
    /// The latest time of the last id.
    pub(super) last_time: i64,
    /// The tag of the last id.
    pub(super) last_tag: u32,
}

impl Range {
    /// This range and one above it, with what lies between.
    pub(super) fn extended_by(self, above: &Range) -> Self {
        Range {
            first: self.first,
            first_time: self.first_time,
            ..*above
        }
    }
}

/// Forgotten ranges, disjoint.
#[derive(Debug, Default)]
pub(super) struct Ranges {
    lowest: Option<Range>,
    /// The others, by their first id.
    others: BTreeMap<i64, Range>,
}

impl Ranges {
    /// Whether `id` is in one of them.
    pub(super) fn contain(&self, id: i64) -> bool {
        self.at_or_below(id).is_some_and(|range| id <= range.last)
    }

    /// The range that holds `id`, or else the nearest one below.
    fn at_or_below(&self, id: i64) -> Option<&Range> {
        let lowest = self.lowest.as_ref().filter(|range| range.first <= id)?;
        let other = self.others.range(..=id).next_back();
        Some(other.map_or(lowest, |(_, range)| range))
    }

    /// The nearest range below `id`, which is in none or the first of one.
    pub(super) fn below(&self, id: i64) -> Option<&Range> {
        self.at_or_below(id.checked_sub(1)?)
    }

    /// The nearest range above `id`, which is in none or the last of one.
    pub(super) fn above(&self, id: i64) -> Option<&Range> {
        let lowest = self.lowest.as_ref()?;
        if id < lowest.first {
            return Some(lowest);
        }
        self.others.range(id..).next().map(|(_, range)| range)
    }

    pub(super) fn insert(&mut self, range: Range) {
        match &mut self.lowest {
            None => self.lowest = Some(range),
            Some(lowest) if range.first < lowest.first => {
                let before = std::mem::replace(lowest, range);
                self.others.insert(before.first, before);
            }
            Some(_) => {
                self.others.insert(range.first, range);
            }
        }
    }

    /// Takes out the range that begins with `first`.
    pub(super) fn take(&mut self, first: i64) -> Option<Range> {
        if self.lowest.is_some_and(|range| range.first == first) {
            let next = self.others.pop_first().map(|(_, range)| range);
            std::mem::replace(&mut self.lowest, next)
        } else {
            self.others.remove(&first)
        }
    }

    /// All of them, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Range> {
        self.lowest.iter().chain(self.others.values())
    }
}
