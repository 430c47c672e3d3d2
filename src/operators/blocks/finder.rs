//! Reading through all batches of a trace at once, in ascending order of keys.

use std::rc::Rc;

use super::batch::Blocks;
use super::{bit_of, block_of};

/// Where a block lies: in which batch, and where in it.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    batch: usize,
    index: usize,
}

/// Finds blocks in the batches of a trace. Keys must be asked for in ascending order, so that each
/// batch is galloped through once.
#[derive(Debug)]
pub struct Finder<S> {
    /// Oldest first.
    batches: Vec<Rc<Blocks<S>>>,
    /// The first block in each batch that may still be asked for.
    next: Vec<usize>,
}

impl<S: Copy + Ord> Finder<S> {
    /// A finder over `batches`, the oldest first.
    pub fn new(batches: Vec<Rc<Blocks<S>>>) -> Self {
        let next = vec![0; batches.len()];
        Finder { batches, next }
    }

    /// Puts what the batches know of blocks `from..=to` of `stream` into `found`, newest batch
    /// first.
    pub fn seek(&mut self, stream: S, from: i64, to: i64, found: &mut Vec<Found>) {
        found.clear();
        for (batch, blocks) in self.batches.iter().enumerate().rev() {
            let mut index = gallop(&blocks.keys, self.next[batch], &(stream, from));
            self.next[batch] = index;
            while blocks
                .keys
                .get(index)
                .is_some_and(|key| key.0 == stream && key.1 <= to)
            {
                found.push(Found { batch, index });
                index += 1;
            }
        }
    }

    /// The block number and mask of `found`.
    #[inline]
    pub fn block(&self, found: Found) -> (i64, u64) {
        let blocks = &self.batches[found.batch];
        (blocks.keys[found.index].1, blocks.mask(found.index))
    }

    /// The fingerprint of (id, time) in `found`, if it was seen: the latest one.
    pub fn print_of(&self, found: &[Found], id: i64, time: i64) -> Option<u64> {
        let mut print = None;
        for &place in found {
            let blocks = &self.batches[place.batch];
            if blocks.keys[place.index].1 == block_of(id)
                && blocks.mask(place.index) & bit_of(id) != 0
            {
                blocks.for_each_time(place.index, id, |seen, its_print| {
                    if seen == time && print.is_none() {
                        print = Some(its_print);
                    }
                });
                if print.is_some() {
                    return print;
                }
            }
        }
        None
    }

    /// The earliest and the latest time of `id` in `found`, if it was seen.
    pub fn time_span(&self, found: &[Found], id: i64) -> Option<(i64, i64)> {
        let mut span: Option<(i64, i64)> = None;
        for &place in found {
            let blocks = &self.batches[place.batch];
            if blocks.keys[place.index].1 == block_of(id) {
                blocks.for_each_time(place.index, id, |time, _| {
                    span = Some(match span {
                        None => (time, time),
                        Some((earliest, latest)) => (earliest.min(time), latest.max(time)),
                    });
                });
            }
        }
        span
    }
}

/// The first index from `start` on whose key is not less than `key`.
fn gallop<K: Ord>(keys: &[K], start: usize, key: &K) -> usize {
    if keys.get(start).is_none_or(|first| first >= key) {
        return start;
    }
    let mut low = start;
    let mut step = 1;
    while keys.get(low + step).is_some_and(|probe| probe < key) {
        low += step;
        step <<= 1;
    }
    let high = (low + step).min(keys.len());
    low + 1 + keys[low + 1..high].partition_point(|probe| probe < key)
}

#[cfg(test)]
mod tests {
    use super::gallop;

    #[test]
    fn gallop_finds_the_first_key_not_less() {
        for length in 0..40_i64 {
            let keys: Vec<i64> = (0..length).map(|key| key * 2).collect();
            for start in 0..=keys.len() {
                for key in -1..=length * 2 {
                    let expected = start.max(keys.partition_point(|probe| *probe < key));
                    assert_eq!(gallop(&keys, start, &key), expected);
                }
            }
        }
    }
}
