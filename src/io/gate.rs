//! What stands between the cutter and the workers: which epochs and records go through, and when.
//!
//! It sees every epoch once, in order, when it is cut or recalled and before any worker takes it, so
//! that all workers see the same. What it keeps out was read, and an epoch keeps its number.

use std::time::Duration;

use super::part::EpochBuffer;
use crate::time::Epoch;

/// What becomes of an epoch.
#[derive(Clone, Copy, Debug)]
pub enum Passage {
    /// Workers may take it.
    Open {
        /// Whether what follows from it is known, but not published.
        silent: bool,
        /// When they may take it; `None` at once.
        opening: Option<Opening>,
    },
    /// Nobody takes it, nor any that follows. The input stops here, but does not end.
    Closed,
}

/// A moment from which on something may happen.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// The moment,
    pub at: Duration,
    /// by this clock.
    pub now: fn() -> Duration,
}

impl Opening {
    /// Whether the moment is still to come.
    pub fn is_ahead(self) -> bool {
        (self.now)() < self.at
    }
}

/// Lets epochs through.
pub trait Gate: Send {
    /// What becomes of `epoch`, whose records are in `buffer`; may take records out of it.
    fn pass(&mut self, epoch: Epoch, buffer: &mut EpochBuffer) -> Passage;
}
