//! Two batches of blocks to one: union, a bit of work at a time.

use differential_dataflow::trace::implementations::spine_fueled::Merger;
use timely::progress::frontier::AntichainRef;

use super::batch::{Blocks, Further};
use super::block_of;
use crate::time::Epoch;

/// Merges two adjacent batches. Where both know a time of an id, the second's fingerprint counts,
/// because the second is the later batch.
#[derive(Debug)]
pub struct BlocksMerger<S> {
    merged: Blocks<S>,
    /// The next block of either source.
    block1: usize,
    block2: usize,
    /// The next further time of either source.
    further1: usize,
    further2: usize,
    /// The times of one id that both sources hold, while they are brought together.
    times: Vec<(i64, u64)>,
}

impl<S: Copy + Ord + 'static> Merger<Blocks<S>> for BlocksMerger<S> {
    fn new(source1: &Blocks<S>, source2: &Blocks<S>, _compaction: AntichainRef<'_, Epoch>) -> Self {
        let mut merged = Blocks::default();
        merged
            .keys
            .reserve(source1.keys.len().max(source2.keys.len()));
        merged
            .times
            .reserve_exact(source1.times.len() + source2.times.len());
        merged
            .prints
            .reserve_exact(source1.prints.len() + source2.prints.len());
        BlocksMerger {
            merged,
            block1: 0,
            block2: 0,
            further1: 0,
            further2: 0,
            times: Vec::new(),
        }
    }

    fn work(&mut self, source1: &Blocks<S>, source2: &Blocks<S>, fuel: &mut isize) {
        while *fuel > 0 {
            let key1 = source1.keys.get(self.block1);
            let key2 = source2.keys.get(self.block2);
            let before = self.merged.times.len();
            match (key1, key2) {
                (None, None) => return,
                (Some(key1), Some(key2)) if key1 == key2 => {
                    self.unite(source1, source2);
                    self.block1 += 1;
                    self.block2 += 1;
                }
                (Some(key1), key2) if key2.is_none_or(|key2| key1 < key2) => {
                    self.merged
                        .copy_block(source1, self.block1, &mut self.further1);
                    self.block1 += 1;
                }
                _ => {
                    self.merged
                        .copy_block(source2, self.block2, &mut self.further2);
                    self.block2 += 1;
                }
            }
            *fuel -= (self.merged.times.len() - before) as isize;
        }
    }

    fn done(mut self) -> Option<Blocks<S>> {
        self.merged.shrink();
        (!self.merged.times.is_empty()).then_some(self.merged)
    }
}

impl<S: Copy + Ord> BlocksMerger<S> {
    /// Appends the union of the next block of both sources, which have the same key.
    fn unite(&mut self, source1: &Blocks<S>, source2: &Blocks<S>) {
        let key @ (stream, block) = source1.keys[self.block1];
        let (mask1, mask2) = (source1.masks[self.block1], source2.masks[self.block2]);
        let mut entry1 = source1.starts[self.block1];
        let mut entry2 = source2.starts[self.block2];
        let merged = &mut self.merged;
        let mut rest = mask1 | mask2;
        while rest != 0 {
            let bit = rest & rest.wrapping_neg();
            rest ^= bit;
            let id = (block << 6) | i64::from(bit.trailing_zeros());
            match (mask1 & bit != 0, mask2 & bit != 0) {
                (true, true) => {
                    let times = &mut self.times;
                    times.clear();
                    times.push((source2.times[entry2], source2.prints[entry2]));
                    take_further(source2, &mut self.further2, stream, id, times);
                    let later = times.len();
                    times.push((source1.times[entry1], source1.prints[entry1]));
                    take_further(source1, &mut self.further1, stream, id, times);
                    let mut index = later;
                    while index < times.len() {
                        if times[..later]
                            .iter()
                            .any(|(time, _)| *time == times[index].0)
                        {
                            times.swap_remove(index);
                        } else {
                            index += 1;
                        }
                    }
                    times.sort_unstable();
                    merged.times.push(times[0].0);
                    merged.prints.push(times[0].1);
                    for &(time, print) in &times[1..] {
                        merged.further.push(Further {
                            stream,
                            id,
                            time,
                            print,
                        });
                    }
                    entry1 += 1;
                    entry2 += 1;
                }
                (true, false) => {
                    merged.times.push(source1.times[entry1]);
                    merged.prints.push(source1.prints[entry1]);
                    pass_further(source1, &mut self.further1, stream, id, &mut merged.further);
                    entry1 += 1;
                }
                (false, _) => {
                    merged.times.push(source2.times[entry2]);
                    merged.prints.push(source2.prints[entry2]);
                    pass_further(source2, &mut self.further2, stream, id, &mut merged.further);
                    entry2 += 1;
                }
            }
        }
        merged.keys.push(key);
        merged.masks.push(mask1 | mask2);
        merged.starts.push(merged.times.len());
    }
}

/// Moves `next` past the further times of `id`, and appends them to `times`.
fn take_further<S: Copy + Ord>(
    source: &Blocks<S>,
    next: &mut usize,
    stream: S,
    id: i64,
    times: &mut Vec<(i64, u64)>,
) {
    while let Some(more) = source
        .further
        .get(*next)
        .filter(|f| (f.stream, f.id) == (stream, id))
    {
        times.push((more.time, more.print));
        *next += 1;
    }
}

/// Moves `next` past the further times of `id`, and appends them to `further` as they are.
fn pass_further<S: Copy + Ord>(
    source: &Blocks<S>,
    next: &mut usize,
    stream: S,
    id: i64,
    further: &mut Vec<Further<S>>,
) {
    while let Some(more) = source
        .further
        .get(*next)
        .filter(|f| (f.stream, f.id) == (stream, id))
    {
        further.push(*more);
        *next += 1;
    }
}

impl<S: Copy + Ord> Blocks<S> {
    /// Appends the block at `index` of `source`, and its further times from `next` on.
    fn copy_block(&mut self, source: &Blocks<S>, index: usize, next: &mut usize) {
        let key = source.keys[index];
        let range = source.starts[index]..source.starts[index + 1];
        self.keys.push(key);
        self.masks.push(source.masks[index]);
        self.times.extend_from_slice(&source.times[range.clone()]);
        self.prints.extend_from_slice(&source.prints[range]);
        self.starts.push(self.times.len());
        while let Some(more) = source.further.get(*next).filter(|f| f.key() == key) {
            debug_assert_eq!(block_of(more.id), key.1);
            self.further.push(*more);
            *next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    //! `oracle_*`: random batches merged with random fuel, against a map.

    use std::collections::BTreeMap;

    use timely::progress::Antichain;

    use super::super::BlocksBuilder;
    use super::*;
    use crate::testing::workload::Random;

    type Plain = BTreeMap<(u32, i64, i64), u64>;

    fn build(plain: &Plain) -> Option<Blocks<u32>> {
        let mut builder = BlocksBuilder::default();
        for (&(stream, id, time), &print) in plain {
            builder.push(stream, id, time, print);
        }
        builder.done()
    }

    fn contents(blocks: &Blocks<u32>) -> Plain {
        let mut plain = Plain::new();
        for (index, &(stream, block)) in blocks.keys.iter().enumerate() {
            for id in (block << 6)..=(block << 6 | 63) {
                blocks.for_each_time(index, id, |time, print| {
                    assert!(plain.insert((stream, id, time), print).is_none());
                });
            }
        }
        assert_eq!(plain.len(), blocks.entries());
        plain
    }

    #[test]
    fn oracle_merge_is_union_and_later_counts() {
        let mut generator = Random::new(7);
        let mut random = |below| generator.below(below);
        for _ in 0..300 {
            let mut sources = [Plain::new(), Plain::new()];
            for source in &mut sources {
                for _ in 0..1 + random(200) {
                    let id = match random(4) {
                        0 => i64::MIN + random(3) as i64,
                        1 => i64::MAX - random(3) as i64,
                        _ => random(200) as i64 - 100,
                    };
                    source.insert((random(2) as u32, id, random(4) as i64), random(9));
                }
            }
            let [first, second] = sources.each_ref().map(|plain| build(plain).unwrap());
            let minimum = Antichain::from_elem(0);
            let mut merger = BlocksMerger::new(&first, &second, minimum.borrow());
            loop {
                let mut fuel = 1 + random(30) as isize;
                merger.work(&first, &second, &mut fuel);
                if fuel > 0 {
                    break;
                }
            }
            let mut expected = sources[0].clone();
            expected.extend(sources[1].clone());
            assert_eq!(contents(&merger.done().unwrap()), expected);
        }
    }
}
