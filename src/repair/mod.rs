//! The flagship dataflow: repairs an event stream.
//!
//! Before the run: [`spec`] (the file format), [`inputs`] and [`outputs`] (what it reads and writes).
//!
//! On the way of a record: [`reading`] (a part of an epoch to rows; [`names`] and [`renumber`] make
//! streams and types numbers), [`wiring`] (the dataflow), [`fill`] (the rules about gaps), [`desk`]
//! (records that wait for their verdicts), [`ledger`] (what runs across workers), [`lines`] (how it
//! is written), [`commit`] (where it is written).
//!
//! Across runs: [`resume`] (where a run begins), [`recall`] (epochs of earlier runs), [`recollection`]
//! and [`caching`] (what was decoded of them before), `amendment` (changed rules), [`base`] (what is known after an epoch),
//! [`journaling`] (what is kept while it goes on), [`mod@replay`] (history run again),
//! [`mod@compare`] (what two runs publish differently).
//!
//! Around it: [`mod@run`] (workers, from start to report), `feed` (the worker loop), [`tally`] (what
//! is counted, and held against each other), [`report`] (what a run says of itself).

mod amendment;
pub mod base;
pub mod caching;
pub mod commit;
pub mod compare;
pub mod desk;
mod feed;
pub mod fill;
pub mod inputs;
pub mod journaling;
pub mod ledger;
pub mod lines;
pub mod names;
pub mod outputs;
pub mod reading;
pub mod recall;
pub mod recollection;
pub mod renumber;
pub mod replay;
pub mod report;
pub mod resume;
pub mod run;
pub mod spec;
pub mod tally;
pub mod wiring;

use std::path::PathBuf;

use crate::time::EventTime;

pub use replay::{Bound, History, ReplayOptions, replay};
pub use report::Report;
pub use resume::JournalOptions;
pub use run::{Ends, run, run_between, run_steps};
pub use spec::Dataflow;

/// How to run a dataflow: what the command line decides.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Where file sinks write.
    pub out: PathBuf,
    /// Worker threads in this process.
    pub workers: usize,
    /// The other processes, where there are some.
    pub cluster: Option<Cluster>,
    /// Records in an epoch; `None` lets the engine adapt.
    pub epoch_events: Option<u64>,
    /// An epoch closes at this age in milliseconds; 0 turns the clock off.
    pub epoch_ms: Option<u64>,
    /// Whether to draw a progress bar on a terminal.
    pub progress: bool,
    /// The journal, where one is kept.
    pub journal: Option<JournalOptions>,
    /// Takes what a person should know while the run goes on, a line at a time.
    pub notice: Option<fn(&str)>,
}

/// The processes of a run on several.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The number of this process, from 0.
    pub process: usize,
    /// `host:port` of every process, by number.
    pub addresses: Vec<String>,
}

/// One step of a scripted run: an epoch of records, and what is known of time.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The records of the epoch; may be none.
    pub records: Vec<Vec<u8>>,
    /// Sets the watermark from this epoch on.
    pub watermark: Option<EventTime>,
}

/// What a scripted run wrote, as JSON lines that name their epoch: the step's number.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// `changes.jsonl`.
    pub changes: Vec<u8>,
    /// `dead.jsonl`.
    pub dead: Vec<u8>,
    /// `gaps.jsonl`.
    pub gaps: Vec<u8>,
}
