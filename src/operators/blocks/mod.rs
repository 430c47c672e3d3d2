//! A compact arrangement of sightings: which ids of a sequence were seen, when, and what the copy
//! in the seat looked like.
//!
//! A [`Blocks`] batch keeps 64 consecutive ids of one stream as a bit mask with one time and one
//! fingerprint a set bit; a [`Spine`](differential_dataflow::trace::implementations::spine_fueled::Spine)
//! keeps the batches, as it keeps any differential trace, and merges them as they grow. Merging is
//! union: sightings are only ever added, and of two fingerprints for one (id, time) the later
//! counts. Ids are stored as bits, so that a gap costs nothing however wide it is.
//!
//! Reading order: [`batch`] (one immutable batch and how one is built), [`merge`] (two batches to
//! one, a bit of work at a time), [`finder`] (reading through all batches of a trace).

pub mod batch;
pub mod finder;
pub mod merge;

pub use batch::{Blocks, BlocksBuilder};
pub use finder::{Finder, Found};

/// The block that holds `id`.
#[inline]
pub fn block_of(id: i64) -> i64 {
    id >> 6
}

/// The bit of `id` in its block's mask.
#[inline]
pub fn bit_of(id: i64) -> u64 {
    1 << (id & 63)
}
