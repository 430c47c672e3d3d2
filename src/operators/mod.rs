//! amend's own verbs on timely streams and differential collections.
//!
//! They know sequences, copies and gaps, but no files, no dead letters and no rules of a dataflow
//! file; any dataflow can use them, over any key. They do no I/O, read no clock and return no
//! `Result`. Every one applies an epoch strictly when the frontier has passed it, so that its
//! output at an epoch is a function of its input up to that epoch.
//!
//! - [`sightings`]: ids seen in sequences → copies, gaps within groups of ids, and the edges of
//!   groups. Backed by [`index`].
//! - [`gaps`]: edges of groups → all gaps.
//! - [`dedup`]: copies under any key → which one takes the seat, by a differential `reduce`.
//! - [`retained`]: both at once under a horizon, behind which everything is forgotten.
//! - [`watermark`]: event times → the watermark of the next epoch; [`ticks`]: the watermark and the
//!   clock of a source that many workers read.
//! - [`per_epoch`]: the stash of epochs that all operators here wait with; [`parcel`]: what travels
//!   between workers by the vector, and not one by one.

pub mod dedup;
pub mod gaps;
pub mod index;
pub mod parcel;
pub mod per_epoch;
pub mod retained;
pub mod sightings;
pub mod ticks;
pub mod watermark;

use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};
use timely::ExchangeData;

use crate::time::Epoch;

/// What a sequence is named by: a small value, such as an interned name.
pub trait SequenceKey: ExchangeData + Copy + Ord + Hash + Debug {}
impl<S: ExchangeData + Copy + Ord + Hash + Debug> SequenceKey for S {}

/// Where a record stands in the input: its epoch, the worker that read it, and its place among
/// the records that this worker read in this epoch.
///
/// The order of positions is the order of the input, because the parts of an epoch are dealt to
/// workers in order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub struct Position {
    /// The epoch of the record.
    pub epoch: Epoch,
    /// The worker that read it.
    pub reader: u32,
    /// Its place in the reader's part of the epoch.
    pub index: u32,
}

/// What became of one copy of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Label {
    /// It took the seat and is valid.
    Kept,
    /// The copy in the seat has the same bytes.
    Duplicate,
    /// The copy in the seat has other bytes.
    Conflict,
    /// It took the seat, because no copy is valid.
    Invalid,
    /// Its id is forgotten, and its time lies behind the horizon.
    Late,
    /// Its id is forgotten, but its time does not lie behind the horizon.
    OutOfSequence,
}

/// A change of what is said of one copy: an update of the collection of (copy, label).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Verdict {
    /// The copy.
    pub position: Position,
    /// What is said of it.
    pub label: Label,
    /// Whether a later copy may still change it.
    pub open: bool,
    /// 1 where it is said, -1 where it is withdrawn.
    pub diff: i8,
}

/// What a copy looked like, as far as judging it goes: a fingerprint of its bytes, and whether it
/// is valid.
///
/// The fingerprint decides between the labels `Duplicate` and `Conflict` and nothing else.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(from = "u64")]
pub struct Print(u64);

impl From<u64> for Print {
    fn from(bits: u64) -> Self {
        Print::from_bits(bits)
    }
}

impl Print {
    /// Bits of a print.
    pub const BITS: u32 = 48;

    /// The print of a copy whose bytes have this hash, of which [`Print::BITS`] count.
    #[inline]
    pub fn new(hash: u64, valid: bool) -> Self {
        Print::from_bits(hash & !1 | u64::from(valid))
    }

    /// Whether the copy is valid.
    #[inline]
    pub fn is_valid(self) -> bool {
        self.0 & 1 == 1
    }

    /// What is said of a copy that lost the seat to one that looks like `seat`.
    #[inline]
    pub fn label_beside(self, seat: Print) -> Label {
        if self == seat {
            Label::Duplicate
        } else {
            Label::Conflict
        }
    }

    /// As a number, to be kept.
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// From a number that was kept.
    #[inline]
    pub fn from_bits(bits: u64) -> Self {
        Print(bits & ((1 << Print::BITS) - 1))
    }
}
