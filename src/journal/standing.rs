//! What the journal itself remembers of its entries: the same for who writes and who recovers.
//!
//! A new segment repeats it, so that every segment stands alone and older ones can go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::entry::{COPY, Checked, Checkpoint, Entry, Identity, Kind, Partition, Place, Record};
use super::frame::Position;
use super::segment::{FORMAT, SegmentHeader};
use crate::Epoch;

/// What is known after the entries so far.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) journal: u64,
    pub(super) identity: Identity,
    pub(super) rules: Option<(Epoch, Vec<u8>)>,
    pub(super) partitions: BTreeMap<u32, Known>,
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) end: Option<Epoch>,
    /// No frame so far has this epoch or a later one.
    pub(super) next_epoch: Epoch,
    pub(super) segments: VecDeque<Held>,
    pub(super) base: Option<BaseAt>,
    pending: Option<Pending>,
}

/// A partition, and where reading goes on.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) partition: Partition,
    pub(super) position: Option<Position>,
    pub(super) ended: bool,
}

/// A segment that is there; all of its frames are before `next_epoch`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) number: u64,
    pub(super) next_epoch: Epoch,
}

/// The latest complete base: the first segment that has a part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct BaseAt {
    pub(super) epoch: Epoch,
    pub(super) first_segment: u64,
}

/// A base of which parts are missing.
#[derive(Clone, Debug)]
struct Pending {
    at: BaseAt,
    parts: u32,
    have: BTreeSet<u32>,
}

impl Standing {
    pub(super) fn new(journal: u64, identity: Identity, next_epoch: Epoch) -> Self {
        Standing {
            journal,
            identity,
            rules: None,
            partitions: BTreeMap::new(),
            checkpoint: None,
            end: None,
            next_epoch,
            segments: VecDeque::new(),
            base: None,
            pending: None,
        }
    }

    /// Takes in an entry that is about to be written; `Err` says why it cannot be.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<(), &'static str> {
        match entry {
            Entry::Rules { epoch, text } => self.rules = Some((*epoch, text.clone())),
            Entry::Partition(partition) => self.partition(partition.clone(), None, false)?,
            Entry::Frame(frame) => self.frame(frame.epoch, &frame.positions, &frame.ended)?,
            Entry::Checkpoint(checkpoint) => self.checkpoint = Some(checkpoint.clone()),
            Entry::Base(base) => self.base(base.epoch, base.part, base.parts)?,
            Entry::End { epoch } => self.end = Some(*epoch),
            Entry::Amended { epoch, .. } => self.amended(*epoch)?,
        }
        Ok(())
    }

    /// Takes in an entry that was read; `Err` says why it cannot be.
    pub(super) fn take_read(&mut self, entry: &Checked) -> Result<(), &'static str> {
        match entry {
            Checked::Identity { identity, .. } if *identity == self.identity => {}
            Checked::Identity { .. } => return Err("another identity than the segments before"),
            Checked::Rules { epoch, text } => self.rules = Some((*epoch, text.clone())),
            Checked::Partition {
                partition,
                position,
                ended,
            } => self.partition(partition.clone(), *position, *ended)?,
            Checked::Frame { epoch, summary } => {
                let named = summary.stretches.iter().map(|stretch| stretch.partition);
                if named.into_iter().any(|p| !self.partitions.contains_key(&p)) {
                    return Err("a frame of a partition that was not named");
                }
                self.frame(*epoch, &summary.positions, &summary.ended)?;
            }
            Checked::Checkpoint(checkpoint) => self.checkpoint = Some(checkpoint.clone()),
            Checked::Base(base) => self.base(base.epoch, base.part, base.parts)?,
            Checked::End { epoch } => self.end = Some(*epoch),
            Checked::Amended { epoch, .. } => self.amended(*epoch)?,
        }
        Ok(())
    }

    fn epoch(&mut self, epoch: Epoch) -> Result<(), &'static str> {
        if epoch < self.next_epoch || epoch == Epoch::MAX {
            return Err("its epoch does not ascend");
        }
        self.next_epoch = epoch + 1;
        if let Some(segment) = self.segments.back_mut() {
            segment.next_epoch = self.next_epoch;
        }
        Ok(())
    }

    /// A base holds what followed from other rules: none stands for this journal any more.
    fn amended(&mut self, epoch: Epoch) -> Result<(), &'static str> {
        self.epoch(epoch)?;
        (self.base, self.pending) = (None, None);
        Ok(())
    }

    fn partition(
        &mut self,
        partition: Partition,
        position: Option<Position>,
        ended: bool,
    ) -> Result<(), &'static str> {
        if let Some(known) = self.partitions.get_mut(&partition.number) {
            if known.partition != partition {
                return Err("two partitions of one number");
            }
            // The copy in a new segment says what is known here already.
            return Ok(());
        }
        let number = partition.number;
        let known = Known {
            partition,
            position,
            ended,
        };
        self.partitions.insert(number, known);
        Ok(())
    }

    fn frame(
        &mut self,
        epoch: Epoch,
        positions: &[Position],
        ended: &[u32],
    ) -> Result<(), &'static str> {
        let unnamed = "a frame of a partition that was not named";
        self.epoch(epoch)?;
        self.end = None;
        for position in positions {
            let known = self
                .partitions
                .get_mut(&position.partition)
                .ok_or(unnamed)?;
            known.position = Some(*position);
            known.ended = false;
        }
        for partition in ended {
            self.partitions.get_mut(partition).ok_or(unnamed)?.ended = true;
        }
        Ok(())
    }

    fn base(&mut self, epoch: Epoch, part: u32, parts: u32) -> Result<(), &'static str> {
        if part >= parts {
            return Err("a part of a base that has fewer");
        }
        let segment = self.segments.back().map_or(0, |segment| segment.number);
        let started = self.pending.take();
        let mut pending = match started {
            Some(pending)
                if pending.at.epoch == epoch
                    && pending.parts == parts
                    && !pending.have.contains(&part) =>
            {
                pending
            }
            // Also when a part comes again: a restarted run writes its base from the top.
            _ => Pending {
                at: BaseAt {
                    epoch,
                    first_segment: segment,
                },
                parts,
                have: BTreeSet::new(),
            },
        };
        pending.have.insert(part);
        if pending.have.len() as u64 == u64::from(parts) {
            self.base = Some(pending.at);
        } else {
            self.pending = Some(pending);
        }
        Ok(())
    }

    /// Segments that neither recovery nor the epochs from `keep_from` on need, oldest first.
    pub(super) fn removable(&self, keep_from: Epoch) -> impl Iterator<Item = u64> + '_ {
        let newest = self.segments.len().saturating_sub(1);
        let pending = self.pending.as_ref().map(|pending| pending.at);
        self.segments
            .iter()
            .take(newest)
            .take_while(move |segment| {
                let Some(base) = self.base else {
                    return false;
                };
                segment.number < base.first_segment
                    && pending.is_none_or(|pending| segment.number < pending.first_segment)
                    && segment.next_epoch <= base.epoch.saturating_add(1)
                    && segment.next_epoch <= keep_from
            })
            .map(|segment| segment.number)
    }

    /// The bytes that open segment `number`: its header, whose it is, and what it repeats.
    pub(super) fn preamble(&self, number: u64, previous_bytes: u64) -> Vec<u8> {
        let copy = |kind, epoch, payload| Record {
            kind,
            flags: COPY,
            epoch,
            payload,
            shared: None,
        };
        let mut copies = Vec::new();
        if let Some((epoch, text)) = &self.rules {
            copies.push(copy(Kind::Rules, *epoch, text.clone()));
        }
        for known in self.partitions.values() {
            let payload = known
                .partition
                .payload(known.position.as_ref(), known.ended);
            copies.push(copy(Kind::Partition, 0, payload));
        }
        if let Some(checkpoint) = &self.checkpoint {
            copies.push(copy(
                Kind::Checkpoint,
                checkpoint.epoch,
                checkpoint.payload(),
            ));
        }
        if let Some(epoch) = self.end {
            copies.push(copy(Kind::End, epoch, Vec::new()));
        }
        let header = SegmentHeader {
            format: FORMAT,
            journal: self.journal,
            number,
            first_epoch: self.next_epoch,
        };
        let mut out = header.to_bytes().to_vec();
        let mut identity = self.identity.record(copies.len() as u32, previous_bytes);
        identity.flags = COPY;
        for record in std::iter::once(identity).chain(copies) {
            let place = Place {
                journal: self.journal,
                segment: number,
                offset: out.len() as u64,
            };
            record.put(place, &mut out);
        }
        out
    }
}
