//! What keeps the epochs that are cut, and gives back those that an earlier run has kept.
//!
//! The cutter knows no journal: it hands over every epoch when it is cut, before any worker sees
//! it, and asks for the kept ones first.

use std::sync::Arc;

use super::part::EpochBuffer;
use crate::Result;
use crate::time::Epoch;

/// How far an input was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The input.
    pub partition: u32,
    /// The byte of its content at which reading goes on.
    pub offset: u64,
    /// The line that begins there.
    pub line: u64,
    /// Its last record: where it begins, how long it is, and a hash of its bytes. A length of 0
    /// says that nothing is known of it.
    pub last_offset: u64,
    /// See `last_offset`.
    pub last_length: u64,
    /// See `last_offset`.
    pub last_hash: u64,
}

/// An epoch that was cut from the inputs.
#[derive(Debug)]
pub struct Cut<'a> {
    /// The epoch.
    pub epoch: Epoch,
    /// Its records; none only where the input ends with it.
    pub buffer: &'a Arc<EpochBuffer>,
    /// Inputs that ended within it and were followed by others.
    pub ended: &'a [u32],
    /// How far the inputs were read that were read in it.
    pub reached: &'a [Reached],
    /// Whether the input ends with it.
    pub last: bool,
}

/// An epoch that an earlier run has kept, or several in one.
#[derive(Clone, Debug, Default)]
pub struct Recalled {
    /// The epoch, the last of several.
    pub epoch: Epoch,
    /// How many it is.
    pub epochs: u64,
    /// Inputs that ended within it.
    pub ended: Vec<u32>,
    /// Whether the outputs hold what follows from it already.
    pub silent: bool,
    /// Whether the input ended with it, as far as is known without looking at the inputs.
    pub last: bool,
    /// Whether more follow.
    pub more: bool,
}

/// Keeps epochs.
pub trait Keeper: Send {
    /// The next epoch that an earlier run has kept; its records are put into `buffer`, which is
    /// empty. None when all were given.
    ///
    /// # Errors
    /// Where what was kept cannot be read.
    fn recall(&mut self, buffer: &mut EpochBuffer) -> Result<Option<Recalled>>;

    /// Keeps an epoch. Returns whether a base is to be laid after it.
    ///
    /// # Errors
    /// Where it cannot be kept.
    fn keep(&mut self, cut: &Cut<'_>) -> Result<bool>;
}
