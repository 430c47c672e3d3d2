//! The copies of events that are not judged for good, and those with keys of their own.
//!
//! Of a group with [`Keep::First`] only the print of the seat is held once a valid copy sits there,
//! because nothing that comes later changes what was said. With [`Keep::Last`] all copies are held
//! until the group is forgotten. The words are those of [`dedup`](crate::operators::dedup).

use std::collections::HashMap;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::Said;
use crate::operators::dedup::{Copied, Keep};
use crate::operators::{Label, Print, Verdict};
use crate::time::Epoch;

/// The copies of one event, as far as they matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Copies {
    /// A copy sits there for good.
    Closed(Print),
    /// All copies, in the order of the input; a later one may change what is said of them.
    Open(Vec<Copied>),
}

/// The copies of one event, and who refers to them.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The key; none where it is the id and the time.
    pub(super) key: Option<Rc<[u8]>>,
    /// The number of retained ids among its copies.
    pub(super) ids: u32,
    pub(super) copies: Copies,
}

/// The groups of one sequence, by number; numbers are used again.
#[derive(Debug, Default)]
pub(super) struct Groups {
    slots: Vec<Option<Group>>,
    free: Vec<u32>,
    by_key: HashMap<Rc<[u8]>, u32, foldhash::fast::RandomState>,
}

impl Groups {
    /// The group with this key.
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    /// Makes a group, to which one id refers.
    pub(super) fn insert(&mut self, key: Option<&[u8]>, copies: Copies) -> u32 {
        let group = Group {
            key: key.map(Rc::from),
            ids: 1,
            copies,
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("memory has no room for 2^32 groups")
        });
        self.put(number, group);
        number
    }

    fn put(&mut self, number: u32, group: Group) {
        if let Some(key) = &group.key {
            self.by_key.insert(Rc::clone(key), number);
        }
        self.slots[number as usize] = Some(group);
    }

    /// One more id refers to the group.
    pub(super) fn refer(&mut self, number: u32) {
        self.group(number).ids += 1;
    }

    fn group(&mut self, number: u32) -> &mut Group {
        self.slots[number as usize]
            .as_mut()
            .expect("an id refers to this group")
    }

    /// Takes a copy into the group. Returns the print of the copy that now sits there for good, if
    /// that is this one; else, where the group is still open, it is to be settled.
    pub(super) fn add(&mut self, number: u32, copy: Copied, keep: Keep, said: &mut Said) -> Added {
        let group = self.group(number);
        let copies = match &mut group.copies {
            Copies::Closed(seat) => {
                said.say(copy, copy.print.label_beside(*seat), false, 1);
                return Added::Judged;
            }
            Copies::Open(copies) => copies,
        };
        if keep == Keep::Last || !copy.print.is_valid() {
            copies.push(copy);
            return Added::Unsettled;
        }
        said.kept += 1;
        for (place, earlier) in copies.iter().enumerate() {
            if earlier.position.epoch < copy.position.epoch {
                let before = label_at(copies, 0, place);
                said.say(*earlier, before, true, -1);
            }
            said.say(*earlier, earlier.print.label_beside(copy.print), false, 1);
        }
        group.copies = Copies::Closed(copy.print);
        Added::Closed
    }

    /// Says what is to be said, once its records are all there, of an epoch's copies in a group and
    /// of those whose labels they change.
    pub(super) fn settle(&mut self, number: u32, keep: Keep, epoch: Epoch, said: &mut Said) {
        // The group may have been closed since.
        let Some(Some(Group {
            copies: Copies::Open(copies),
            ..
        })) = self.slots.get(number as usize)
        else {
            return;
        };
        let known = copies.partition_point(|copy| copy.position.epoch < epoch);
        let seat = seat_of(keep, copies);
        if keep == Keep::Last {
            let before = seat_of(keep, &copies[..known]);
            let valid = |seat: usize| i64::from(copies[seat].print.is_valid());
            said.kept += valid(seat) - if known > 0 { valid(before) } else { 0 };
            for (place, copy) in copies[..known].iter().enumerate() {
                let (old, new) = (
                    label_at(copies, before, place),
                    label_at(copies, seat, place),
                );
                if old != new {
                    said.say(*copy, old, true, -1);
                    said.say(*copy, new, true, 1);
                }
            }
        }
        for (place, copy) in copies.iter().enumerate().skip(known) {
            said.say(*copy, label_at(copies, seat, place), true, 1);
        }
    }

    /// One id less refers to the group, which goes with the last one.
    pub(super) fn release(&mut self, number: u32, keep: Keep, said: &mut Said) {
        let group = self.group(number);
        group.ids -= 1;
        if group.ids == 0 {
            self.remove(number).say_last(keep, said);
        }
    }

    /// Lets go of a group without a word.
    pub(super) fn remove(&mut self, number: u32) -> Group {
        let group = self.slots[number as usize]
            .take()
            .expect("an id refers to this group");
        if let Some(key) = &group.key {
            self.by_key.remove(key);
        }
        self.free.push(number);
        group
    }

    /// Says the last word on all groups.
    pub(super) fn say_last(&self, keep: Keep, said: &mut Said) {
        for group in self.slots.iter().flatten() {
            group.say_last(keep, said);
        }
    }

    /// Gives memory back where most of it is unused: returns the new numbers by the old ones, where
    /// they changed.
    pub(super) fn shrink(&mut self) -> Option<Vec<u32>> {
        let live = self.slots.len() - self.free.len();
        if self.by_key.capacity() > 64 + 4 * self.by_key.len() {
            self.by_key.shrink_to_fit();
        }
        if self.slots.capacity() < 64 + 4 * live {
            return None;
        }
        let slots = std::mem::take(&mut self.slots);
        self.free = Vec::new();
        self.slots.reserve_exact(live);
        let mut numbers = vec![0; slots.len()];
        for (old, group) in slots.into_iter().enumerate() {
            let Some(group) = group else { continue };
            numbers[old] = self.slots.len() as u32;
            self.slots.push(None);
            self.put(numbers[old], group);
        }
        Some(numbers)
    }

    /// All of them by number, where there is one.
    pub(super) fn slots(&self) -> &[Option<Group>] {
        &self.slots
    }

    /// Those groups, by number.
    pub(super) fn from_slots(slots: Vec<Option<Group>>) -> Self {
        let mut groups = Groups::default();
        for (number, group) in slots.into_iter().enumerate() {
            groups.slots.push(None);
            match group {
                Some(group) => groups.put(number as u32, group),
                None => groups.free.push(number as u32),
            }
        }
        groups
    }
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It was judged, for good.
    Judged,
    /// It sits there for good.
    Closed,
    /// The epoch's other copies matter: the group is to be settled.
    Unsettled,
}

impl Group {
    /// Says of every copy that what was said of it stays.
    fn say_last(&self, keep: Keep, said: &mut Said) {
        if let Copies::Open(copies) = &self.copies {
            let seat = seat_of(keep, copies);
            for (place, copy) in copies.iter().enumerate() {
                said.say(*copy, label_at(copies, seat, place), false, 1);
            }
        }
    }
}

/// The place of the copy that takes the seat; of an open group.
fn seat_of(keep: Keep, copies: &[Copied]) -> usize {
    let is_valid = |copy: &Copied| copy.print.is_valid();
    match keep {
        Keep::First => copies.iter().position(is_valid).unwrap_or(0),
        Keep::Last => copies
            .iter()
            .rposition(is_valid)
            .unwrap_or(copies.len().saturating_sub(1)),
    }
}

/// What is said of the copy at `place` beside the one in the seat.
fn label_at(copies: &[Copied], seat: usize, place: usize) -> Label {
    let print = copies[place].print;
    if place != seat {
        print.label_beside(copies[seat].print)
    } else if print.is_valid() {
        Label::Kept
    } else {
        Label::Invalid
    }
}

impl Said {
    pub(super) fn say(&mut self, copy: Copied, label: Label, open: bool, diff: i8) {
        self.verdicts.push(Verdict {
            position: copy.position,
            label,
            open,
            diff,
        });
    }
}
