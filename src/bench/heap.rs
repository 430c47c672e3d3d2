//! Bytes of heap that live, as the allocator of the process counts them.
//!
//! The binary has [`PeakAlloc`] for its allocator. A program that uses amend as a library may have
//! another, and then nothing is known here.

use peak_alloc::PeakAlloc;

/// What lives now.
pub(super) fn live_bytes() -> Option<u64> {
    // Where it counts, something lives.
    Some(PeakAlloc.current_usage() as u64).filter(|bytes| *bytes > 0)
}

/// Watches how much lives at most.
#[derive(Debug)]
pub(super) struct Watch {
    before: u64,
}

impl Watch {
    /// From now on.
    pub(super) fn begin() -> Option<Self> {
        PeakAlloc.reset_peak_usage();
        let before = live_bytes()?;
        Some(Watch { before })
    }

    /// The most that lived since the beginning, less what lived then.
    pub(super) fn peak_bytes(&self) -> u64 {
        (PeakAlloc.peak_usage() as u64).saturating_sub(self.before)
    }
}
