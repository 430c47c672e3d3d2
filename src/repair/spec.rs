//! The dataflow file: its tables, their defaults, and what may be combined.

use std::path::PathBuf;

use crate::event::EventSpec;

/// A dataflow file that was read and found right.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataflow {
    /// The dataflow's name.
    pub name: String,
    /// Where records come from.
    pub source: SourceSpec,
    /// Which field is what, and the dedup key.
    pub event: EventSpec,
    /// Which copy takes the seat.
    pub keep: Keep,
    /// What is done about missing ids.
    pub gaps: GapsSpec,
    /// How the watermark is derived.
    pub watermark: WatermarkSpec,
    /// The share of dead letters that fails the run, where there is a limit.
    pub dead_share: Option<f64>,
    /// Where the results go.
    pub sinks: Sinks,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// The source's name in dead letters.
    pub name: String,
    /// The inputs, read one after the other.
    pub inputs: Vec<InputSpec>,
}

/// One input of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputSpec {
    /// A path or a glob, already joined to the folder of the dataflow file.
    Path(PathBuf),
    /// Standard input.
    Stdin,
}

/// Which copy of an event takes the seat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// The first valid one in the sequence.
    #[default]
    First,
    /// The last valid one in the sequence.
    Last,
}

/// The type of a reconstructed event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FillType {
    /// The stream's most frequent type; ties go to the smallest in byte order.
    #[default]
    MostFrequent,
    /// The type of the nearest lower id's latest event.
    LowerNeighbour,
    /// Always this one.
    Fixed(String),
}

/// What is done about missing ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GapsSpec {
    /// Whether missing ids are reconstructed, or only reported.
    pub reconstruct: bool,
    /// The type of a reconstructed event.
    pub r#type: FillType,
    /// How far, in microseconds, the watermark must pass an id above a missing one before the
    /// missing one is due; 0 makes every missing id due at once.
    pub grace_us: i64,
    /// Wider gaps are not enumerated.
    pub max_width: u64,
    /// The most ids that a stream's gaps may miss and still be enumerated.
    pub max_missing: u64,
}

/// How the watermark is derived from event times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkSpec {
    /// How far, in microseconds, the watermark stays behind the highest event time.
    pub disorder_us: i64,
    /// How far, in microseconds, one record may push the watermark.
    pub max_ahead_us: i64,
}

/// Where the results go. `dead.jsonl` and `report.json` are always written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sinks {
    /// What is published and final.
    pub clean: SinkSpec,
    /// The changelog; off by default.
    pub changes: Option<SinkSpec>,
    /// Dead letters, beside the file that is always written.
    pub dead: SinkSpec,
    /// Opened and closed gaps; off by default.
    pub gaps: Option<SinkSpec>,
}

/// One sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkSpec {
    /// Where lines go.
    pub kind: SinkKind,
    /// Whether reconstructed events carry the mark of the inferred.
    pub annotate: bool,
}

/// Where a sink's lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkKind {
    /// A file in the output folder, named for the sink.
    Jsonl,
    /// Standard output.
    Stdout,
}
