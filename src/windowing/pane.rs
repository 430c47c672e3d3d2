//! Panes: one firing of a trigger for one key and window.

use std::fmt;

use serde::{Deserialize, Serialize};

/// When a pane was produced, seen from the watermark.
///
/// The panes of a window are `EARLY* ON_TIME? LATE*`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
pub enum Timing {
    /// Nothing has been grouped yet: the element comes from a source.
    #[default]
    Unknown,
    /// Before the watermark passed the end of the window.
    Early,
    /// The one pane for which the watermark passed the end of the window.
    OnTime,
    /// After that.
    Late,
}

/// Which pane of its key and window an element belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct PaneInfo {
    /// Early, on time or late.
    pub timing: Timing,
    /// Whether no pane follows: the trigger is finished, or the window has expired.
    pub is_last: bool,
    /// Whether the trigger is finished, so that later elements are refused.
    pub is_closed: bool,
    /// The number of the pane in its window, from 0. It begins anew where sessions merge into a
    /// window that was not there.
    pub index: u32,
    /// The number of the pane among those that are not early, from 0; -1 while early.
    pub nonspeculative_index: i32,
}

impl PaneInfo {
    /// Of an element that no trigger has let through yet.
    pub const NO_FIRING: PaneInfo = PaneInfo {
        timing: Timing::Unknown,
        is_last: true,
        is_closed: false,
        index: 0,
        nonspeculative_index: 0,
    };

    /// Whether this is the first pane of its window.
    pub fn is_first(self) -> bool {
        self.index == 0
    }
}

impl fmt::Debug for PaneInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timing {
            Timing::Unknown => return f.write_str("-"),
            Timing::Early => write!(f, "early {}", self.index)?,
            Timing::OnTime => write!(f, "on time {}", self.index)?,
            Timing::Late => write!(f, "late {} ({})", self.index, self.nonspeculative_index)?,
        }
        if self.is_last {
            f.write_str(" last")?;
        }
        Ok(())
    }
}

/// Numbers the panes of one key and window.
#[derive(Clone, Debug, Default)]
pub(super) struct PaneCounter {
    panes: u32,
    not_early: u32,
}

impl PaneCounter {
    /// Whether a pane that is not early was produced.
    pub(super) fn was_on_time(&self) -> bool {
        self.not_early > 0
    }

    /// The pane that would come next.
    pub(super) fn next(&self, timing: Timing, is_last: bool, is_closed: bool) -> PaneInfo {
        PaneInfo {
            timing,
            is_last,
            is_closed,
            index: self.panes,
            nonspeculative_index: match timing {
                Timing::Early | Timing::Unknown => -1,
                Timing::OnTime | Timing::Late => self.not_early as i32,
            },
        }
    }

    /// Takes note that `pane` was produced.
    pub(super) fn count(&mut self, pane: PaneInfo) {
        self.panes += 1;
        self.not_early += u32::from(pane.timing != Timing::Early);
    }
}
