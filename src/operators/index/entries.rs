//! Times with their prints, in few bytes.

use std::collections::BTreeMap;

use crate::operators::Print;

/// Times with their prints, in an order that the caller keeps; it also knows how many they are.
///
/// An entry takes 12 bytes as long as all times lie within some four years of the first, and 16
/// when they do not.
#[derive(Clone, Debug, Default)]
pub(super) struct Entries {
    base: i64,
    /// The entries, and room for more.
    packed: Box<[Packed]>,
    odd: Option<Box<Odd>>,
}

/// What only few need.
#[derive(Clone, Debug, Default)]
struct Odd {
    /// The entries in place of `packed`, once their times lie too far from each other.
    spread: Option<Vec<(i64, Print)>>,
    further: Further,
}

/// Further times of what has an entry, with their prints.
pub(super) type Further = BTreeMap<(u8, i64), Print>;

/// A time as its distance from a base, and a print, 48 bits each.
#[derive(Clone, Copy, Debug, Default)]
struct Packed {
    time: u32,
    print: u32,
    /// The upper bits of the time, and those of the print.
    high: [u16; 2],
}

/// Distances from a base are less than this.
const SPAN: u64 = 1 << 48;
/// Entries that a vector grows by at least.
const LEAST_GROWTH: usize = 8;

impl Packed {
    /// None where the time is too far from `base`.
    #[inline]
    fn new(base: i64, time: i64, print: Print) -> Option<Packed> {
        let distance = time.wrapping_sub(base) as u64;
        let bits = print.to_bits();
        (time >= base && distance < SPAN).then_some(Packed {
            time: distance as u32,
            print: bits as u32,
            high: [(distance >> 32) as u16, (bits >> 32) as u16],
        })
    }

    #[inline]
    fn unpack(self, base: i64) -> (i64, Print) {
        let [time, print] = self.high.map(|high| u64::from(high) << 32);
        let distance = time | u64::from(self.time);
        // What was taken from a greater time can be added again.
        let time = base.wrapping_add(distance as i64);
        (time, Print::from_bits(print | u64::from(self.print)))
    }
}

impl Entries {
    /// Further times, if there are any.
    #[inline]
    pub(super) fn further(&self) -> Option<&Further> {
        self.odd.as_ref().map(|odd| &odd.further)
    }

    /// Further times, to be added to.
    pub(super) fn further_mut(&mut self) -> &mut Further {
        &mut self.odd.get_or_insert_default().further
    }

    #[inline]
    fn spread(&mut self) -> Option<&mut Vec<(i64, Print)>> {
        self.odd.as_mut()?.spread.as_mut()
    }

    /// The entry at `at`.
    #[inline]
    pub(super) fn get(&self, at: usize) -> (i64, Print) {
        match self.odd.as_ref().and_then(|odd| odd.spread.as_ref()) {
            None => self.packed[at].unpack(self.base),
            Some(entries) => entries[at],
        }
    }

    /// Inserts an entry at `at`, where there are `count`; there will never be more than `most`.
    #[inline]
    pub(super) fn insert(&mut self, at: usize, entry: (i64, Print), count: usize, most: usize) {
        let (time, print) = entry;
        if let Some(entries) = self.spread() {
            entries.insert(at, entry);
            return;
        }
        if count == 0 {
            self.base = time.saturating_sub_unsigned(SPAN / 2);
        }
        let Some(packed) = Packed::new(self.base, time, print) else {
            self.spread_out(count).insert(at, entry);
            return;
        };
        if count == self.packed.len() {
            self.grow(most);
        }
        self.packed.copy_within(at..count, at + 1);
        self.packed[at] = packed;
    }

    /// Puts another print to the time at `at`.
    pub(super) fn set_print(&mut self, at: usize, print: Print) {
        if let Some(entries) = self.spread() {
            entries[at].1 = print;
            return;
        }
        let (time, _) = self.packed[at].unpack(self.base);
        if let Some(entry) = Packed::new(self.base, time, print) {
            self.packed[at] = entry;
        }
    }

    /// Makes a little room.
    fn grow(&mut self, most: usize) {
        let mut packed = std::mem::take(&mut self.packed).into_vec();
        let room = most.saturating_sub(packed.len()).max(1);
        let more = (packed.len() / 2).max(LEAST_GROWTH).min(room);
        packed.reserve_exact(more);
        packed.resize(packed.len() + more, Packed::default());
        self.packed = packed.into_boxed_slice();
    }

    /// Makes room for times that lie far from each other.
    #[cold]
    fn spread_out(&mut self, count: usize) -> &mut Vec<(i64, Print)> {
        let packed = std::mem::take(&mut self.packed);
        let entries = packed[..count].iter().map(|entry| entry.unpack(self.base));
        let odd = self.odd.get_or_insert_default();
        odd.spread.insert(entries.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::workload::Random;

    #[test]
    fn oracle_entries_are_a_vector() {
        let mut random = Random::new(11);
        for round in 0..300 {
            let mut entries = Entries::default();
            let mut expected: Vec<(i64, Print)> = Vec::new();
            let around = random.draw() as i64;
            for _ in 0..random.below(60) {
                let at = random.below(expected.len() as u64 + 1) as usize;
                let time = match (round % 3, random.below(20)) {
                    (0, 0) => i64::MIN,
                    (0, 1) => i64::MAX,
                    (1, 0) => random.draw() as i64,
                    _ => around.saturating_add(random.below(1 << 46) as i64),
                };
                let print = Print::new(random.draw(), random.chance(0.5));
                entries.insert(at, (time, print), expected.len(), 256);
                expected.insert(at, (time, print));
                let at = random.below(expected.len() as u64) as usize;
                let other = Print::new(random.draw(), true);
                entries.set_print(at, other);
                expected[at].1 = other;
            }
            let found: Vec<_> = (0..expected.len()).map(|at| entries.get(at)).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_entry_takes_few_bytes() {
        assert_eq!(size_of::<Packed>(), 12);
        let mut entries = Entries::default();
        for at in 0..256 {
            entries.insert(at, (1_000_000 * at as i64, Print::new(7, true)), at, 256);
        }
        assert!(entries.packed.len() == 256 && entries.odd.is_none());
    }
}
