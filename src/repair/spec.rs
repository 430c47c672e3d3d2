//! The dataflow file: its tables, their defaults, and what may be combined.
//!
//! A file becomes a [`Dataflow`] in three steps, a submodule each: its text, with what `--set`
//! says, becomes a tree that knows where each value was written (`document`); a table of the tree
//! is asked for the keys it may have and their types (`table`); and the tables become the types
//! of this file (`read`). Scenario files enter at the second step, with a tree from YAML.
//!
//! Every refusal is a `Usage` error whose message starts with the place, `file:line:column` or
//! `--set key=value`, quotes what was written and names the table and key; its hint says what
//! would be right.

pub(crate) mod document;
pub(crate) mod read;
pub(crate) mod table;
pub(crate) mod tree;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::event::EventSpec;
pub use crate::operators::dedup::Keep;
pub use crate::operators::retained::OnReset;
use crate::{Error, Result};

/// The largest dataflow file that is read: one that is larger is somebody's data.
const MAX_FILE_BYTES: u64 = 4 << 20;

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
    /// What is forgotten; `None` remembers everything for ever.
    pub horizon: Option<HorizonSpec>,
    /// What is done about missing ids.
    pub gaps: GapsSpec,
    /// How the watermark is derived.
    pub watermark: WatermarkSpec,
    /// The share of dead letters that fails the run, where there is a limit.
    pub dead_share: Option<f64>,
    /// Where the results go.
    pub sinks: Sinks,
    /// How a journal is kept, where there is one.
    pub journal: JournalSpec,
    /// What it was read from.
    pub text: FileText,
}

/// The text that a [`Dataflow`] was read from: enough to read it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileText {
    /// The dataflow file.
    pub text: String,
    /// Its path.
    pub origin: PathBuf,
    /// Keys and values that replace the file's.
    pub overrides: Vec<(String, String)>,
}

impl Dataflow {
    /// Reads a dataflow file; `overrides` are keys and values that replace the file's.
    ///
    /// # Errors
    /// `Usage` where the file cannot be read or is not right.
    pub fn from_file(path: &Path, overrides: &[(String, String)]) -> Result<Dataflow> {
        Self::from_text(&read_text(path)?, path, overrides)
    }

    /// Reads the text of a dataflow file. `origin` names it in errors, lends the dataflow its
    /// stem as a name, and paths are relative to its folder; it need not exist.
    ///
    /// ```
    /// use std::path::Path;
    /// use amend::repair::Dataflow;
    ///
    /// let text = "[source]\nkind = 'jsonl'\npath = 'orders.jsonl'\n";
    /// let dataflow = Dataflow::from_text(text, Path::new("shop/orders.toml"), &[])?;
    /// assert_eq!(dataflow.name, "orders");
    ///
    /// let wrong = Dataflow::from_text("[sorce]\n", Path::new("orders.toml"), &[]).unwrap_err();
    /// assert_eq!(wrong.to_string(), "orders.toml:1:2: unknown table [sorce]");
    /// # Ok::<(), amend::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Usage` where the text is not a right dataflow.
    pub fn from_text(
        text: &str,
        origin: &Path,
        overrides: &[(String, String)],
    ) -> Result<Dataflow> {
        let tree = document::parse(text, origin, overrides)?;
        let mut dataflow = read::dataflow(&tree, origin)?;
        dataflow.text = FileText {
            text: text.to_owned(),
            origin: origin.to_owned(),
            overrides: overrides.to_owned(),
        };
        Ok(dataflow)
    }

    /// What a journal of this dataflow is bound to, a line each: which events are copies, and what
    /// an event is at all.
    pub fn fixed_text(&self) -> String {
        let event = &self.event;
        let mut lines = vec![
            format!("event.stream = {:?}", event.stream),
            format!("event.stream is a list = {}", event.stream_is_list),
            format!("event.id = {:?}", event.id),
            format!("event.id_text = {}", event.id_text),
            format!("event.type = {:?}", event.r#type),
            format!("event.timestamp = {:?}", event.timestamp),
            format!("event.timestamp_format = {:?}", event.timestamp_format),
            format!("event.valid = {:?}", event.valid),
            format!("event.max_record = {}", event.max_record_bytes),
            format!("dedup.key = {:?}", event.key),
        ];
        for line in &mut lines {
            line.push('\n');
        }
        lines.concat()
    }

    /// Whether `other` publishes the same of the same records, into the same sinks.
    pub fn has_rules_of(&self, other: &Dataflow) -> bool {
        (
            self.keep,
            &self.horizon,
            &self.gaps,
            &self.watermark,
            &self.sinks,
            &self.event,
        ) == (
            other.keep,
            &other.horizon,
            &other.gaps,
            &other.watermark,
            &other.sinks,
            &other.event,
        )
    }
}

/// The text of the dataflow file at `path`.
fn read_text(path: &Path) -> Result<String> {
    let failed = |err: std::io::Error| {
        Error::usage(format!("could not read the dataflow file {path:?}")).with_source(err)
    };
    if path.is_dir() {
        return Err(
            Error::usage(format!("the dataflow file {path:?} is a directory"))
                .with_hint("name the .toml file inside it"),
        );
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(
            Error::usage(format!("{path:?} is too large for a dataflow file")).with_hint(
                "the dataflow file names the data: [source] kind = \"jsonl\", path = ..",
            ),
        );
    }
    String::from_utf8(bytes).map_err(|err| {
        let valid = &err.as_bytes()[..err.utf8_error().valid_up_to()];
        let (line, column) = tree::line_and_column(valid, valid.len());
        Error::usage(format!("{}:{line}:{column}: not UTF-8", path.display()))
            .with_hint("a dataflow file is TOML text in UTF-8")
    })
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

/// What is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HorizonSpec {
    /// How far behind the watermark, in microseconds, a stream may still change.
    pub horizon_us: i64,
    /// How far, in microseconds, the watermark must move for a stream that is silent to be
    /// forgotten whole.
    pub stream_ttl_us: i64,
    /// What a record means whose id was forgotten while its time is not.
    pub on_reset: OnReset,
}

/// How a journal is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSpec {
    /// A segment is closed when it is about this long.
    pub segment_bytes: u64,
    /// How far behind the watermark, in microseconds, history is kept that recovery does not
    /// need; `None` keeps all of it.
    pub retain_us: Option<i64>,
}

impl Default for JournalSpec {
    fn default() -> Self {
        JournalSpec {
            segment_bytes: 64 << 20,
            retain_us: None,
        }
    }
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

impl Sinks {
    /// Which of them there are, by number; dead letters always.
    pub fn are_there(&self) -> [bool; 4] {
        [true, self.changes.is_some(), true, self.gaps.is_some()]
    }

    /// Which of them are written into the output folder, by number; dead letters always.
    pub fn in_files(&self) -> [bool; 4] {
        let is_file = |sink: Option<SinkSpec>| sink.is_some_and(|s| s.kind == SinkKind::Jsonl);
        let clean = is_file(Some(self.clean));
        [clean, is_file(self.changes), true, is_file(self.gaps)]
    }

    /// Whether one of them writes to standard output.
    pub fn uses_stdout(&self) -> bool {
        let sinks = [Some(self.clean), self.changes, Some(self.dead), self.gaps];
        sinks
            .into_iter()
            .flatten()
            .any(|sink| sink.kind == SinkKind::Stdout)
    }
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
