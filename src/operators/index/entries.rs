//! Times with their prints, in few bytes.

use crate::operators::Print;

/// Times with their prints, in an order that the caller keeps.
///
/// An entry takes 12 bytes as long as all times lie within some four years of the first, and 16
/// when they do not.
#[derive(Clone, Debug)]
pub(super) enum Entries {
    Near { base: i64, packed: Vec<Packed> },
    Far(Vec<(i64, Print)>),
}

/// A time as its distance from a base, and a print, 48 bits each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
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

impl Default for Entries {
    fn default() -> Self {
        Entries::Near {
            base: 0,
            packed: Vec::new(),
        }
    }
}

/// Inserts into a vector that is to hold at most `most`, with little room to spare.
#[inline]
fn insert<T>(entries: &mut Vec<T>, at: usize, entry: T, most: usize) {
    if entries.len() == entries.capacity() {
        let room = most.saturating_sub(entries.len()).max(1);
        entries.reserve_exact((entries.len() / 2).max(LEAST_GROWTH).min(room));
    }
    entries.insert(at, entry);
}

impl Entries {
    /// The entry at `at`.
    #[inline]
    pub(super) fn get(&self, at: usize) -> (i64, Print) {
        match self {
            Entries::Near { base, packed } => packed[at].unpack(*base),
            Entries::Far(entries) => entries[at],
        }
    }

    /// Inserts an entry at `at`; `most` is how many there will ever be.
    #[inline]
    pub(super) fn insert(&mut self, at: usize, time: i64, print: Print, most: usize) {
        match self {
            Entries::Near { base, packed } => {
                if packed.is_empty() {
                    *base = time.saturating_sub_unsigned(SPAN / 2);
                }
                match Packed::new(*base, time, print) {
                    Some(entry) => insert(packed, at, entry, most),
                    None => insert(self.spread(), at, (time, print), most),
                }
            }
            Entries::Far(entries) => insert(entries, at, (time, print), most),
        }
    }

    /// Puts another print to the time at `at`.
    pub(super) fn set_print(&mut self, at: usize, print: Print) {
        match self {
            Entries::Near { base, packed } => {
                let (time, _) = packed[at].unpack(*base);
                if let Some(entry) = Packed::new(*base, time, print) {
                    packed[at] = entry;
                }
            }
            Entries::Far(entries) => entries[at].1 = print,
        }
    }

    /// Makes room for times that lie far from each other.
    #[cold]
    fn spread(&mut self) -> &mut Vec<(i64, Print)> {
        if let Entries::Near { base, packed } = self {
            let entries = packed.iter().map(|entry| entry.unpack(*base));
            *self = Entries::Far(entries.collect());
        }
        match self {
            Entries::Far(entries) => entries,
            Entries::Near { .. } => unreachable!("they were just spread"),
        }
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
                entries.insert(at, time, print, 256);
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
            entries.insert(at, 1_000_000 * at as i64, Print::new(7, true), 256);
        }
        let Entries::Near { packed, .. } = entries else {
            panic!("these times lie near each other");
        };
        assert_eq!(packed.capacity(), 256);
    }
}
