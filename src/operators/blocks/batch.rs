//! One immutable batch of blocks.

use differential_dataflow::trace::implementations::spine_fueled::SpineBatch;

use super::merge::BlocksMerger;
use super::{bit_of, block_of};
use crate::time::Epoch;

/// Blocks of 64 ids, sorted by stream and block, with a time and a fingerprint for every id seen.
///
/// The first time of an id lies in line with its bit; the further times of an id that was seen at
/// several lie in a side list, because they are rare.
#[derive(Clone, Debug)]
pub struct Blocks<S> {
    /// (stream, block), ascending.
    pub(super) keys: Vec<(S, i64)>,
    /// The ids seen, a bit each.
    pub(super) masks: Vec<u64>,
    /// Where each block's entries begin in `times` and `prints`; one longer than `keys`.
    pub(super) starts: Vec<usize>,
    /// The first time of each id seen, in the order of ids.
    pub(super) times: Vec<i64>,
    /// The fingerprint that goes with each time.
    pub(super) prints: Vec<u64>,
    /// Further times of ids seen at several, ascending; the id's bit is always set.
    pub(super) further: Vec<Further<S>>,
}

/// One more time at which an id was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Further<S> {
    pub(super) stream: S,
    pub(super) id: i64,
    pub(super) time: i64,
    pub(super) print: u64,
}

impl<S: Copy + Ord> Further<S> {
    pub(super) fn key(&self) -> (S, i64) {
        (self.stream, block_of(self.id))
    }
}

impl<S> Default for Blocks<S> {
    fn default() -> Self {
        Blocks {
            keys: Vec::new(),
            masks: Vec::new(),
            starts: vec![0],
            times: Vec::new(),
            prints: Vec::new(),
            further: Vec::new(),
        }
    }
}

impl<S: Copy + Ord> Blocks<S> {
    /// The number of (id, time) pairs.
    pub fn entries(&self) -> usize {
        self.times.len() + self.further.len()
    }

    /// The mask of the block at `index`.
    #[inline]
    pub(super) fn mask(&self, index: usize) -> u64 {
        self.masks[index]
    }

    /// Calls `each` with every (time, fingerprint) of `id`, which lies in the block at `index`.
    #[inline]
    pub(super) fn for_each_time(&self, index: usize, id: i64, mut each: impl FnMut(i64, u64)) {
        let mask = self.masks[index];
        let bit = bit_of(id);
        if mask & bit == 0 {
            return;
        }
        let entry = self.starts[index] + (mask & (bit - 1)).count_ones() as usize;
        each(self.times[entry], self.prints[entry]);
        if !self.further.is_empty() {
            let (stream, _) = self.keys[index];
            let from = self
                .further
                .partition_point(|f| (f.stream, f.id) < (stream, id));
            for more in &self.further[from..] {
                if (more.stream, more.id) != (stream, id) {
                    break;
                }
                each(more.time, more.print);
            }
        }
    }

    /// Gives back memory that was reserved but is not used.
    pub(super) fn shrink(&mut self) {
        self.keys.shrink_to_fit();
        self.masks.shrink_to_fit();
        self.starts.shrink_to_fit();
        self.times.shrink_to_fit();
        self.prints.shrink_to_fit();
        self.further.shrink_to_fit();
    }
}

impl<S: Copy + Ord + 'static> SpineBatch for Blocks<S> {
    type Time = Epoch;
    type Merger = BlocksMerger<S>;

    fn len(&self) -> usize {
        self.entries()
    }
}

/// Builds a [`Blocks`] batch from sightings in ascending order of (stream, id, time).
#[derive(Debug)]
pub struct BlocksBuilder<S> {
    blocks: Blocks<S>,
    last: Option<(S, i64)>,
}

impl<S> Default for BlocksBuilder<S> {
    fn default() -> Self {
        BlocksBuilder {
            blocks: Blocks::default(),
            last: None,
        }
    }
}

impl<S: Copy + Ord> BlocksBuilder<S> {
    /// Adds a sighting; (stream, id, time) must exceed that of the one before.
    #[inline]
    pub fn push(&mut self, stream: S, id: i64, time: i64, print: u64) {
        debug_assert!(self.last.is_none_or(|last| last <= (stream, id)));
        if self.last == Some((stream, id)) {
            self.blocks.further.push(Further {
                stream,
                id,
                time,
                print,
            });
            return;
        }
        self.last = Some((stream, id));
        let key = (stream, block_of(id));
        if self.blocks.keys.last() != Some(&key) {
            self.blocks.keys.push(key);
            self.blocks.masks.push(0);
            self.blocks.starts.push(self.blocks.times.len());
        }
        let index = self.blocks.masks.len() - 1;
        self.blocks.masks[index] |= bit_of(id);
        self.blocks.times.push(time);
        self.blocks.prints.push(print);
        self.blocks.starts[index + 1] = self.blocks.times.len();
    }

    /// The batch, or none where nothing was added.
    pub fn done(self) -> Option<Blocks<S>> {
        let mut blocks = self.blocks;
        if blocks.times.is_empty() {
            return None;
        }
        blocks.shrink();
        Some(blocks)
    }
}
