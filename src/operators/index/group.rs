//! What was seen of 256 consecutive ids of a sequence.

use super::GROUP_IDS;
use super::bits::Bits;
use super::entries::Entries;
use crate::operators::Print;

/// What was seen of the ids of one group: when, and what the copy in the seat looked like.
///
/// The first time of an id that was seen has its entry at the id's rank; the further times of an
/// id that was seen at several lie in a side list, because they are rare. A group without them is
/// one line of the processor's cache, and its entries.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(in crate::operators) struct Group {
    ids: Bits,
    entries: Entries,
}

const _: () = assert!(size_of::<Group>() == 64);

impl Group {
    /// The ids that were seen.
    #[inline]
    pub(in crate::operators) fn ids(&self) -> &Bits {
        &self.ids
    }

    /// A time of the last id that was seen.
    #[inline]
    pub(super) fn latest(&self) -> Option<i64> {
        let last = self.ids.count().checked_sub(1)?;
        Some(self.entries.get(last).0)
    }

    /// The print that goes with an id's `time`, if it was seen then.
    #[inline]
    pub(in crate::operators) fn print_at(&self, slot: u8, time: i64) -> Option<Print> {
        if !self.ids.contains(slot) {
            return None;
        }
        let (first, print) = self.entries.get(self.ids.rank(slot));
        if first == time {
            return Some(print);
        }
        self.entries.further()?.get(&(slot, time)).copied()
    }

    /// The earliest and the latest time of an id that was seen.
    pub(in crate::operators) fn time_span(&self, slot: u8) -> (i64, i64) {
        let (first, _) = self.entries.get(self.ids.rank(slot));
        let Some(further) = self.entries.further() else {
            return (first, first);
        };
        let mut others = further.range((slot, i64::MIN)..=(slot, i64::MAX));
        let Some((&(_, least), _)) = others.next() else {
            return (first, first);
        };
        let greatest = others.next_back().map_or(least, |(&(_, time), _)| time);
        (first.min(least), first.max(greatest))
    }

    /// Notes that an id was seen at `time`, which it was not yet.
    #[inline]
    pub(in crate::operators) fn insert(&mut self, slot: u8, time: i64, print: Print) {
        if self.ids.contains(slot) {
            self.entries.further_mut().insert((slot, time), print);
        } else {
            let (rank, count) = (self.ids.rank(slot), self.ids.count());
            self.ids.insert(slot);
            let entry = (time, print);
            self.entries.insert(rank, entry, count, GROUP_IDS);
        }
    }

    /// Puts another print to a time at which an id was seen.
    pub(in crate::operators) fn set_print(&mut self, slot: u8, time: i64, print: Print) {
        let rank = self.ids.rank(slot);
        if self.entries.get(rank).0 == time {
            self.entries.set_print(rank, print);
        } else {
            self.entries.further_mut().insert((slot, time), print);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::workload::Random;

    #[test]
    fn oracle_a_group_is_a_map() {
        let mut random = Random::new(5);
        for round in 0..100 {
            let mut group = Group::default();
            let mut expected = BTreeMap::<(u8, i64), Print>::new();
            let (slots, times) = [(256, 2), (8, 8), (64, 1)][round % 3];
            for _ in 0..random.below(300) {
                let slot = random.below(slots) as u8;
                let time = random.below(times) as i64 - 3;
                let print = Print::new(random.draw(), random.chance(0.9));
                match expected.insert((slot, time), print) {
                    None => group.insert(slot, time, print),
                    Some(_) => group.set_print(slot, time, print),
                }
            }
            for slot in 0..=255 {
                let here = || expected.range((slot, i64::MIN)..=(slot, i64::MAX));
                for time in -4..6 {
                    let known = expected.get(&(slot, time)).copied();
                    assert_eq!(group.print_at(slot, time), known);
                }
                assert_eq!(group.ids().contains(slot), here().next().is_some());
                if let (Some(first), Some(last)) = (here().next(), here().next_back()) {
                    assert_eq!(group.time_span(slot), (first.0.1, last.0.1));
                }
            }
        }
    }
}
