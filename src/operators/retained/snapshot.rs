//! What is retained of one sequence, as plain data: to write down and to take up again.

use serde::{Deserialize, Serialize};

use super::groups::{Copies, Group};
use super::held::Held;
use super::ranges::Range;
use super::sequence::Sequence;

/// What is retained of one sequence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SequenceState {
    stream: u32,
    sequence: u32,
    /// Its place among the incarnations of the stream, the oldest first.
    pub(super) order: u32,
    /// The watermark in force when the stream's last record was read.
    pub(super) heard: Option<i64>,
    /// Whether tags are held.
    tagged: bool,
    ids: Vec<(i64, Held)>,
    ranges: Vec<Range>,
    groups: Vec<Option<GroupState>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct GroupState {
    key: Option<Vec<u8>>,
    ids: u32,
    copies: Copies,
}

impl SequenceState {
    /// The number of the stream.
    pub fn stream(&self) -> u32 {
        self.stream
    }

    /// The number of the sequence.
    pub fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Puts other numbers in the place of those of streams and sequences, and of tags.
    pub fn map_numbers(
        &mut self,
        mut streams: impl FnMut(u32) -> u32,
        mut tags: impl FnMut(u32) -> u32,
    ) {
        let is_first = self.stream == self.sequence;
        self.stream = streams(self.stream);
        self.sequence = if is_first {
            self.stream
        } else {
            streams(self.sequence)
        };
        if self.tagged {
            for (_, held) in &mut self.ids {
                let tag = held.tag_mut();
                *tag = tags(*tag);
            }
            for range in &mut self.ranges {
                range.last_tag = tags(range.last_tag);
            }
        }
    }

    /// The state of `sequence`, which is one of `stream`.
    pub(super) fn of(
        stream: u32,
        order: usize,
        heard: Option<i64>,
        tagged: bool,
        sequence: &Sequence,
    ) -> Self {
        let group = |group: &Group| GroupState {
            key: group.key.as_deref().map(<[u8]>::to_vec),
            ids: group.ids,
            copies: group.copies.clone(),
        };
        let slots = sequence.groups.slots().iter();
        SequenceState {
            stream,
            sequence: sequence.number,
            order: u32::try_from(order).unwrap_or(u32::MAX),
            heard,
            tagged,
            ids: sequence
                .ids
                .iter()
                .map(|(id, held)| (*id, held.clone()))
                .collect(),
            ranges: sequence.ranges.iter().copied().collect(),
            groups: slots.map(|slot| slot.as_ref().map(group)).collect(),
        }
    }

    /// The sequence whose state this is.
    pub(super) fn into_sequence(self) -> Sequence {
        let mut sequence = Sequence::new(self.sequence);
        sequence.events = self.ids.iter().map(|(_, held)| held.events()).sum();
        sequence.ids = self.ids.into_iter().collect();
        for range in self.ranges {
            sequence.ranges.insert(range);
        }
        let slots = self.groups.into_iter().map(|slot| {
            slot.map(|group| Group {
                key: group.key.map(|key| key.into()),
                ids: group.ids,
                copies: group.copies,
            })
        });
        sequence.groups = super::groups::Groups::from_slots(slots.collect());
        sequence
    }
}
