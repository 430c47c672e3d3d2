//! A set of the ids of one group.

use super::{GROUP_BITS, GROUP_IDS};

const WORDS: usize = GROUP_IDS / 64;

/// Ids of one group, each a bit at its distance from the group's first id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::operators) struct Bits([u64; WORDS]);

/// The distance of `id` from the first id of its group.
#[inline]
pub(in crate::operators) fn slot_of(id: i64) -> u8 {
    const { assert!(GROUP_BITS == u8::BITS) };
    id as u8
}

impl Bits {
    #[inline]
    pub(in crate::operators) fn contains(&self, slot: u8) -> bool {
        self.0[usize::from(slot >> 6)] & (1 << (slot & 63)) != 0
    }

    #[inline]
    pub(in crate::operators) fn insert(&mut self, slot: u8) {
        self.0[usize::from(slot >> 6)] |= 1 << (slot & 63);
    }

    /// The number of members below `slot`.
    #[inline]
    pub(in crate::operators) fn rank(&self, slot: u8) -> usize {
        let word = usize::from(slot >> 6);
        let below = self.0[word] & ((1 << (slot & 63)) - 1);
        let before = self.0[..word].iter().map(|word| word.count_ones());
        (below.count_ones() + before.sum::<u32>()) as usize
    }

    /// The number of members.
    #[inline]
    pub(in crate::operators) fn count(&self) -> usize {
        let words = self.0.iter().map(|word| word.count_ones());
        words.sum::<u32>() as usize
    }

    /// The least member.
    pub(in crate::operators) fn first(&self) -> Option<u8> {
        let word = self.0.iter().position(|word| *word != 0)?;
        Some((word as u32 * 64 + self.0[word].trailing_zeros()) as u8)
    }

    /// The greatest member.
    pub(in crate::operators) fn last(&self) -> Option<u8> {
        let word = self.0.iter().rposition(|word| *word != 0)?;
        Some((word as u32 * 64 + 63 - self.0[word].leading_zeros()) as u8)
    }

    /// Calls `each` with every two members between which others are missing, ascending.
    #[inline]
    pub(in crate::operators) fn for_each_gap(&self, mut each: impl FnMut(u8, u8)) {
        let mut last: Option<u16> = None;
        for (word, &bits) in self.0.iter().enumerate() {
            let base = (word * 64) as u16;
            let mut at = 0;
            while at < 64 && bits >> at != 0 {
                let start = at + (bits >> at).trailing_zeros() as u16;
                let end = start + (bits >> start).trailing_ones() as u16;
                if let Some(last) = last
                    && last + 1 < base + start
                {
                    each(last as u8, (base + start) as u8);
                }
                last = Some(base + end - 1);
                at = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::workload::Random;

    #[test]
    fn oracle_bits_are_a_set() {
        let mut random = Random::new(3);
        for round in 0..200 {
            let mut bits = Bits::default();
            for word in &mut bits.0 {
                let state = random.draw();
                *word = match round % 5 {
                    0 => state,
                    1 => state | state << 1 | state << 7,
                    2 => u64::MAX,
                    3 => 0,
                    _ => state & (state >> 9) & (state >> 21),
                };
            }
            let mut members: BTreeSet<u8> = (0..=255).filter(|slot| bits.contains(*slot)).collect();
            if round % 2 == 0 {
                let slot = random.below(256) as u8;
                bits.insert(slot);
                members.insert(slot);
            }
            assert_eq!(bits.count(), members.len());
            assert_eq!(bits.first(), members.first().copied());
            assert_eq!(bits.last(), members.last().copied());
            for slot in 0..=255 {
                assert_eq!(bits.rank(slot), members.range(..slot).count());
            }
            let mut gaps = Vec::new();
            bits.for_each_gap(|below, above| gaps.push((below, above)));
            let members: Vec<u8> = members.into_iter().collect();
            let pairs = members.windows(2).map(|pair| (pair[0], pair[1]));
            let expected: Vec<_> = pairs.filter(|(below, above)| above - below > 1).collect();
            assert_eq!(gaps, expected);
        }
    }
}
