//! `amend journal`: looks at a journal, verifies and repairs it, and removes what nothing needs.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::journal::{self, Extent, Folder, Report};
use crate::repair::report::group_digits;
use crate::{Epoch, ErrorKind, Result};

/// Look at a journal, verify or compact it
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what a journal holds, and where reading goes on
    Inspect {
        /// The folder of the journal
        dir: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check every byte of a journal
    Verify {
        /// The folder of the journal
        dir: PathBuf,
        /// Cut the journal where it is damaged, and say what that lost
        #[arg(long)]
        repair: bool,
    },
    /// Remove torn ends, and segments that nothing needs
    Compact {
        /// The folder of the journal
        dir: PathBuf,
        /// Keep the history from this epoch on [default: only what a restart needs]
        #[arg(long, value_name = "EPOCH")]
        keep_from: Option<Epoch>,
    },
}

pub(super) fn journal(args: &Args) -> Result<ExitCode> {
    match &args.command {
        Command::Inspect { dir, json } => {
            let report = journal::inspect(&Folder::existing(dir)?)?;
            let text = if *json {
                format!("{:#}\n", report_json(&report))
            } else {
                report_text(&report)
            };
            super::print(&text)?;
            Ok(code(report.damage.is_none()))
        }
        Command::Verify { dir, repair } => verify(&Folder::existing(dir)?, *repair),
        Command::Compact { dir, keep_from } => {
            let done = journal::compact(&Folder::existing(dir)?, *keep_from)?;
            let mut text = String::new();
            // Writing to a string cannot fail.
            if let Some(cut) = &done.cut {
                let _ = writeln!(
                    text,
                    "cut {} torn bytes off segment {:?}",
                    number(cut.bytes),
                    cut.segment
                );
            }
            let _ = writeln!(
                text,
                "removed {} segments; freed {} bytes",
                done.removed.len(),
                number(done.freed_bytes)
            );
            super::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn code(fine: bool) -> ExitCode {
    if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(ErrorKind::Corrupt.exit_code())
    }
}

fn verify(folder: &Folder, repair: bool) -> Result<ExitCode> {
    if repair {
        let done = journal::repair(folder)?;
        let mut text = String::new();
        if let Some(cut) = &done.cut {
            let _ = writeln!(
                text,
                "cut {} torn bytes off segment {:?}; nothing that was synced",
                number(cut.bytes),
                cut.segment
            );
        }
        match &done.damage {
            Some(damage) => {
                let _ = writeln!(text, "damaged: {damage}");
                let _ = writeln!(text, "cut there; lost {}", extent_text(&done.lost));
            }
            None => text.push_str("no damage\n"),
        }
        super::print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = journal::inspect(folder)?;
    let mut text = String::new();
    let frames: u64 = report.segments.iter().map(|segment| segment.frames).sum();
    let _ = writeln!(
        text,
        "{} segments, {} frames, {} records are right",
        report.segments.len(),
        number(frames),
        number(report.records)
    );
    text.push_str(&end_text(&report));
    super::print(&text)?;
    Ok(code(report.damage.is_none()))
}

fn extent_text(lost: &Extent) -> String {
    let epochs = match (lost.first_epoch, lost.last_epoch) {
        (Some(first), Some(last)) => format!("epochs {first} to {last}"),
        _ => "no epoch that can be told".to_owned(),
    };
    format!(
        "{epochs}: {} frames, {} records that could be read, {} bytes",
        number(lost.frames),
        number(lost.records),
        number(lost.bytes)
    )
}

/// What is wrong at the end, a line each.
fn end_text(report: &Report) -> String {
    let mut text = String::new();
    if let Some(cut) = &report.cut {
        let _ = writeln!(
            text,
            "torn: segment {:?} at byte {}: {} bytes that were never synced; the next run cuts them off",
            cut.segment,
            cut.offset,
            number(cut.bytes)
        );
    }
    if let Some(damage) = &report.damage {
        let _ = writeln!(text, "damaged: {damage}");
    }
    text
}

fn report_text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: String| {
        let _ = writeln!(text, "  {name:<11} {what}");
    };
    if let Some(identity) = &report.identity {
        line("dataflow", identity.name.clone());
        line("created", time_text(identity.created_us));
    }
    line("format", report.format.to_string());
    line(
        "holds",
        format!(
            "{} records, {} bytes, epochs {} up to {}",
            number(report.records),
            number(report.read_bytes),
            report.first_epoch,
            report.next_epoch
        ),
    );
    for partition in &report.partitions {
        let reading = match (&partition.position, partition.ended) {
            (None, _) => "nothing was read".to_owned(),
            (Some(position), ended) => format!(
                "{} byte {}, line {}",
                if ended { "ended at" } else { "goes on at" },
                position.offset,
                position.line
            ),
        };
        line(
            "partition",
            format!("{:?}: {reading}", partition.partition.label),
        );
    }
    if let Some(checkpoint) = &report.checkpoint {
        line(
            "outputs",
            format!("hold everything up to epoch {}", checkpoint.epoch),
        );
    }
    if let Some(epoch) = report.end {
        line("ended", format!("with epoch {epoch}"));
    }
    if let Some((epoch, bytes)) = report.base {
        line(
            "base",
            format!("after epoch {epoch}, {} bytes", number(bytes)),
        );
    }
    for segment in &report.segments {
        let epochs = match segment.last_epoch {
            Some(last) => format!("epochs {} to {last}", segment.first_epoch),
            None => "no epochs".to_owned(),
        };
        let cache = match segment.cache_bytes {
            0 => String::new(),
            bytes => format!(", and {} of caches", number(bytes)),
        };
        line(
            "segment",
            format!(
                "{}: {epochs}, {} records, {} bytes{cache}",
                segment.name,
                number(segment.records),
                number(segment.bytes)
            ),
        );
    }
    text.push_str(&end_text(report));
    text
}

fn report_json(report: &Report) -> serde_json::Value {
    let partitions: Vec<_> = report
        .partitions
        .iter()
        .map(|known| {
            let position = known.position.unwrap_or_default();
            json!({
                "number": known.partition.number,
                "label": known.partition.label,
                "offset": position.offset,
                "line": position.line,
                "ended": known.ended,
            })
        })
        .collect();
    let segments: Vec<_> = report
        .segments
        .iter()
        .map(|segment| {
            json!({
                "name": segment.name,
                "bytes": segment.bytes,
                "cache_bytes": segment.cache_bytes,
                "first_epoch": segment.first_epoch,
                "last_epoch": segment.last_epoch,
                "frames": segment.frames,
                "records": segment.records,
            })
        })
        .collect();
    let at = |segment: &str, offset: u64| json!({"segment": segment, "offset": offset});
    json!({
        "name": report.identity.as_ref().map(|identity| &identity.name),
        "fixed": report.identity.as_ref().map(|identity| &identity.fixed),
        "created": report.identity.as_ref().map(|identity| time_text(identity.created_us)),
        "format": report.format,
        "records": report.records,
        "read_bytes": report.read_bytes,
        "first_epoch": report.first_epoch,
        "next_epoch": report.next_epoch,
        "checkpoint": report.checkpoint.as_ref().map(|checkpoint| checkpoint.epoch),
        "end": report.end,
        "base": report.base.map(|(epoch, bytes)| json!({"epoch": epoch, "bytes": bytes})),
        "partitions": partitions,
        "segments": segments,
        "torn": report.cut.as_ref().map(|cut| at(&cut.segment, cut.offset)),
        "damage": report.damage.as_ref().map(|damage| at(&damage.segment, damage.offset)),
    })
}

fn number(number: u64) -> String {
    group_digits(number.into())
}

fn time_text(us: i64) -> String {
    crate::EventTime(us).to_string()
}
