//! Sightings arranged in place: which ids of a sequence were seen, when, and what the copy in the
//! seat looked like.
//!
//! An index keeps ids in groups of 256: a bit for every id, and 12 bytes for its time and its
//! print. A gap between groups costs nothing, however wide it is. A group is found by one hash and
//! changed where it lies. Nobody but the operator that owns it reads it, and never as of an earlier
//! epoch, so it keeps no history and there is nothing to merge.

mod bits;
mod entries;
mod group;

use std::collections::HashMap;

use super::SequenceKey;

pub(super) use bits::{Bits, slot_of};
pub(super) use group::Group;

/// Ids in a group, as a power of two.
const GROUP_BITS: u32 = 8;
/// Ids in a group.
const GROUP_IDS: usize = 1 << GROUP_BITS;
/// Of a group that the epoch at hand does not touch.
pub(super) const NOT_TOUCHED: u32 = u32::MAX;
/// Groups that lie side by side, so that growing moves none.
const SHELF_GROUPS: usize = 512;

/// The group of `id`: what is routed to one worker.
#[inline]
pub fn group_of(id: i64) -> i64 {
    id >> GROUP_BITS
}

/// The first id of a group.
pub(super) fn first_id_of(group: i64) -> i64 {
    group << GROUP_BITS
}

/// The groups of one worker's sequences.
#[derive(Debug)]
pub(super) struct Index<S> {
    numbers: HashMap<(S, i64), u32, foldhash::fast::RandomState>,
    shelves: Vec<Vec<Group>>,
    /// By number: the place of a group among those that the epoch at hand touches.
    touched: Vec<u32>,
}

impl<S> Default for Index<S> {
    fn default() -> Self {
        Index {
            numbers: HashMap::default(),
            shelves: Vec::new(),
            touched: Vec::new(),
        }
    }
}

impl<S: SequenceKey> Index<S> {
    /// The number of a group of `stream`; an empty group where there was none.
    #[inline]
    pub(super) fn number(&mut self, stream: S, group: i64) -> u32 {
        let (shelves, touched) = (&mut self.shelves, &mut self.touched);
        *self.numbers.entry((stream, group)).or_insert_with(|| {
            if shelves.last().is_none_or(|last| last.len() == SHELF_GROUPS) {
                shelves.push(Vec::with_capacity(SHELF_GROUPS));
            }
            let place = shelves.len() - 1;
            let shelf = &mut shelves[place];
            shelf.push(Group::default());
            touched.push(NOT_TOUCHED);
            (place * SHELF_GROUPS + shelf.len() - 1) as u32
        })
    }

    /// The place of a group among those that the epoch at hand touches, or [`NOT_TOUCHED`].
    #[inline]
    pub(super) fn touched(&mut self, number: u32) -> &mut u32 {
        &mut self.touched[number as usize]
    }

    /// Looks at groups that are about to be changed, so that the processor waits for the memory of all
    /// of them at once.
    pub(super) fn fetch(&self, numbers: impl Iterator<Item = u32>) {
        let latest = numbers.map(|number| self.group(number).latest());
        std::hint::black_box(latest.flatten().fold(0, i64::wrapping_add));
    }

    /// The group with this number.
    #[inline]
    pub(super) fn group(&self, number: u32) -> &Group {
        let number = number as usize;
        &self.shelves[number / SHELF_GROUPS][number % SHELF_GROUPS]
    }

    /// The group with this number.
    #[inline]
    pub(super) fn group_mut(&mut self, number: u32) -> &mut Group {
        let number = number as usize;
        &mut self.shelves[number / SHELF_GROUPS][number % SHELF_GROUPS]
    }
}
