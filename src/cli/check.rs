//! `amend check`: reads a dataflow file and looks for its inputs, and says what would run.

use std::fmt::Write;
use std::process::ExitCode;

use super::dataflow_file::DataflowFile;
use crate::Result;
use crate::event::{DedupKey, FieldPath, KeyField, TimestampFormat};
use crate::repair::Dataflow;
use crate::repair::report::group_digits;
use crate::repair::spec::{FillType, HorizonSpec, InputSpec, Keep, OnReset, SinkKind, SinkSpec};

/// Validate a dataflow file and its inputs without running it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: DataflowFile,
}

pub(super) fn check(args: &Args) -> Result<ExitCode> {
    let dataflow = args.file.read()?;
    super::print(&format!(
        "{} is valid\n{}",
        args.file.path.display(),
        summary(&dataflow)
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// What would run, a line a table.
fn summary(dataflow: &Dataflow) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<10} {what}");
    };
    line("dataflow", dataflow.name.clone());
    for (at, input) in dataflow.source.inputs.iter().enumerate().take(MAX_INPUTS) {
        line(if at == 0 { "reads" } else { "" }, input_text(input));
    }
    if dataflow.source.inputs.len() > MAX_INPUTS {
        line(
            "",
            format!(
                "and {} more files",
                dataflow.source.inputs.len() - MAX_INPUTS
            ),
        );
    }
    line("events", events_text(dataflow));
    line("dedup", dedup_text(dataflow));
    if let Some(horizon) = &dataflow.horizon {
        line("", horizon_text(horizon));
    }
    line("gaps", gaps_text(dataflow));
    line(
        "watermark",
        format!(
            "{} behind the highest event time; a jump of more than {} needs 100 records",
            duration(dataflow.watermark.disorder_us),
            duration(dataflow.watermark.max_ahead_us)
        ),
    );
    if let Some(share) = dataflow.dead_share {
        line(
            "limits",
            format!("at most {} % dead letters", share * 100.0),
        );
    }
    line("writes", writes_text(dataflow));
    line("journal", journal_text(dataflow));
    text
}

/// Inputs that are listed; a glob may match thousands.
const MAX_INPUTS: usize = 5;

fn input_text(input: &InputSpec) -> String {
    match input {
        InputSpec::Stdin => "standard input".to_owned(),
        InputSpec::Path(path) => match path.metadata() {
            Ok(metadata) if metadata.is_file() => {
                format!(
                    "{} ({} bytes)",
                    path.display(),
                    group_digits(metadata.len().into())
                )
            }
            _ => path.display().to_string(),
        },
    }
}

fn events_text(dataflow: &Dataflow) -> String {
    let event = &dataflow.event;
    let stream = match event.stream.as_slice() {
        [] => "one stream".to_owned(),
        paths => {
            let names: Vec<String> = paths.iter().map(path_text).collect();
            format!("a stream by {}", names.join(" and "))
        }
    };
    format!(
        "{stream}; id {}, type {}, timestamp {} ({}), valid {}",
        path_text(&event.id),
        path_text(&event.r#type),
        path_text(&event.timestamp),
        match event.timestamp_format {
            TimestampFormat::Strict => "strict",
            TimestampFormat::Iso8601 => "iso8601",
            TimestampFormat::UnixSeconds => "unix-s",
            TimestampFormat::UnixMillis => "unix-ms",
            TimestampFormat::UnixMicros => "unix-us",
        },
        path_text(&event.valid)
    )
}

fn dedup_text(dataflow: &Dataflow) -> String {
    let key = match &dataflow.event.key {
        DedupKey::IdAndTime => "id and timestamp".to_owned(),
        DedupKey::Fields(fields) => {
            let names: Vec<String> = fields
                .iter()
                .map(|field| match field {
                    KeyField::Id => "id".to_owned(),
                    KeyField::Time => "timestamp".to_owned(),
                    KeyField::Field(path) => path_text(path),
                })
                .collect();
            names.join(" and ")
        }
    };
    let keep = match dataflow.keep {
        Keep::First => "first",
        Keep::Last => "last",
    };
    format!("copies agree on {key}; the {keep} valid one is kept")
}

fn horizon_text(horizon: &HorizonSpec) -> String {
    format!(
        "forgotten {} behind the watermark, a silent stream whole after {}; an id from before that \
         {}",
        duration(horizon.horizon_us),
        duration(horizon.stream_ttl_us),
        match horizon.on_reset {
            OnReset::DeadLetter => "is a dead letter",
            OnReset::NewSequence => "begins a new sequence",
        }
    )
}

fn journal_text(dataflow: &Dataflow) -> String {
    let journal = &dataflow.journal;
    let retain = match journal.retain_us {
        None => "keeps all of its history".to_owned(),
        Some(us) => format!("keeps {} of history", duration(us)),
    };
    format!(
        "with --journal DIR: {retain}, in segments of {} bytes",
        group_digits(journal.segment_bytes.into())
    )
}

fn gaps_text(dataflow: &Dataflow) -> String {
    let gaps = &dataflow.gaps;
    let what = match (&gaps.r#type, gaps.reconstruct) {
        (_, false) => "reported, not filled".to_owned(),
        (FillType::MostFrequent, true) => "filled with the most frequent type".to_owned(),
        (FillType::LowerNeighbour, true) => "filled with the lower neighbour's type".to_owned(),
        (FillType::Fixed(r#type), true) => format!("filled with type {type:?}"),
    };
    let grace = match gaps.grace_us {
        0 => String::new(),
        grace => format!(", {} after they open", duration(grace)),
    };
    format!(
        "{what}{grace}; up to {} ids wide, {} missing ids a stream",
        group_digits(gaps.max_width.into()),
        group_digits(gaps.max_missing.into())
    )
}

fn writes_text(dataflow: &Dataflow) -> String {
    let sinks = &dataflow.sinks;
    let mut names = vec![sink_text("clean", sinks.clean)];
    names.extend(sinks.changes.map(|sink| sink_text("changes", sink)));
    names.push("dead.jsonl".to_owned());
    if sinks.dead.kind == SinkKind::Stdout {
        names.push(sink_text("dead", sinks.dead));
    }
    names.extend(sinks.gaps.map(|sink| sink_text("gaps", sink)));
    names.push("report.json".to_owned());
    names.join(", ")
}

fn sink_text(name: &str, sink: SinkSpec) -> String {
    match sink.kind {
        SinkKind::Jsonl => format!("{name}.jsonl"),
        SinkKind::Stdout => format!("{name} to standard output"),
    }
}

fn path_text(path: &FieldPath) -> String {
    match path {
        FieldPath::Name(name) => format!("{name:?}"),
        FieldPath::Pointer(tokens) => {
            let pointer: String = tokens
                .iter()
                .map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1")))
                .collect();
            format!("{pointer:?}")
        }
    }
}

fn duration(us: i64) -> String {
    let duration = std::time::Duration::from_micros(us.unsigned_abs());
    humantime::format_duration(duration).to_string()
}
