//! What the Rust programs of this folder share: how a record is read and how the answer is written.
//!
//! Shares no code with amend, or a fault of amend's would be in what it is compared with. The rules
//! are those of a dataflow file that names the field `stream` and leaves all else at its default.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

pub mod decode;
mod letters;
pub mod outputs;
pub mod reader;
mod slow;
pub mod time;

/// The name of the dataflow, as dead letters have it.
pub const DATAFLOW: &str = "peers";
/// Records of an epoch: what dead letters call an epoch, and what the incremental peers answer after.
pub const EPOCH_EVENTS: u32 = 10_000;
/// A wider gap is reported and not filled.
pub const MAX_WIDTH: u64 = 10_000;
/// A stream that misses more ids is reported and not filled.
pub const MAX_MISSING: u64 = 1_000_000;

/// Maps the whole file at `path`.
///
/// # Errors
/// Where it cannot be opened or mapped.
#[expect(
    unsafe_code,
    reason = "a mapped file must not change meanwhile, which no program here does"
)]
pub fn map(path: &Path) -> Result<memmap2::Mmap> {
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    // SAFETY: the input is written before and not while the programs here run.
    let map = unsafe { memmap2::Mmap::map(&file) };
    map.with_context(|| format!("could not map {}", path.display()))
}
