//! One run of the engine between what is measured.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Settings;
use super::corrections::Page;
use super::workload::Lines;
use crate::io::cutter::{EpochLimits, Opened};
use crate::io::input::{Fill, Input};
use crate::io::output::Output;
use crate::repair::lines::Sink;
use crate::repair::{self, Dataflow, Ends, Report, RunOptions};
use crate::runtime::clock;
use crate::{Error, Result};

/// The rules of all runs.
const DATAFLOW: &str = "\
name = \"bench\"
[source]
kind = \"jsonl\"
path = \"in.jsonl\"
[event]
stream = \"stream\"
[sink.gaps]
";

/// Runs the engine on the lines of one workload.
#[derive(Debug)]
pub(super) struct Rig<'a> {
    pub(super) lines: &'a Lines,
    dataflow: Dataflow,
    epoch_events: u64,
    /// A folder of its own, which goes with it.
    folder: tempfile::TempDir,
    on_disk: bool,
}

/// Lines that were written.
#[derive(Clone, Debug, Default)]
pub(super) struct Count {
    lines: Arc<AtomicU64>,
}

impl Count {
    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Acquire)
    }

    fn output(&self, sink: Sink) -> Output {
        let lines = Arc::clone(&self.lines);
        let count = move |bytes: &[u8], _: u64| {
            let ended = memchr::memchr_iter(b'\n', bytes).count();
            lines.fetch_add(ended as u64, Ordering::AcqRel);
            Ok(())
        };
        Output::taker(sink.file_name(), Arc::new(count))
    }
}

/// What leaves while it is recorded, and when.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder {
    pages: Arc<Mutex<Option<Vec<Page>>>>,
}

impl Recorder {
    /// From now on all is recorded; room for `pages` is made ahead.
    pub(super) fn begin(&self, pages: usize) {
        *self.locked() = Some(Vec::with_capacity(pages));
    }

    /// The pages that were recorded so far.
    pub(super) fn count(&self) -> usize {
        self.locked().as_ref().map_or(0, Vec::len)
    }

    /// All of them.
    pub(super) fn take(&self) -> Vec<Page> {
        self.locked().take().unwrap_or_default()
    }

    fn output(&self, sink: Sink) -> Output {
        let recorder = self.clone();
        let record = move |bytes: &[u8], _: u64| {
            // One worker writes all lines about gaps, in their order.
            if let Some(pages) = &mut *recorder.locked() {
                let at = clock::since_start();
                let bytes = bytes.to_vec();
                pages.push(Page { at, bytes });
            }
            Ok(())
        };
        Output::taker(sink.file_name(), Arc::new(record))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Option<Vec<Page>>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is told of the outputs of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Sinks {
    /// Of kept events.
    pub(super) clean: Count,
    /// Of dead letters.
    pub(super) dead: Count,
    /// What is said of gaps.
    pub(super) gaps: Recorder,
}

impl Rig<'_> {
    pub(super) fn new<'a>(lines: &'a Lines, settings: &Settings) -> Result<Rig<'a>> {
        let folder = match &settings.disk {
            None => tempfile::tempdir(),
            Some(disk) => tempfile::tempdir_in(disk),
        };
        let folder = folder.map_err(|error| {
            let error = Error::usage("could not create a scratch folder").with_source(error);
            match &settings.disk {
                None => error,
                Some(disk) => error.with_hint(format!(
                    "--disk {:?} must be a folder that can be written to",
                    disk.display()
                )),
            }
        })?;
        let dataflow = Dataflow::from_text(DATAFLOW, &folder.path().join("bench.toml"), &[])?;
        let rig = Rig {
            lines,
            dataflow,
            epoch_events: settings.epoch_events,
            folder,
            on_disk: settings.disk.is_some(),
        };
        if rig.on_disk {
            let path = rig.folder.path().join("in.jsonl");
            fs::write(&path, lines.bytes()).map_err(|error| unwritten(&path, error))?;
        }
        Ok(rig)
    }

    /// All lines, as fast as can be.
    pub(super) fn run_all(&self, workers: usize) -> Result<Report> {
        self.clear()?;
        let report = if self.on_disk {
            let options = RunOptions {
                out: self.folder.path().join("out"),
                workers,
                cluster: None,
                epoch_events: Some(self.epoch_events),
                epoch_ms: None,
                progress: false,
                journal: None,
                notice: None,
            };
            repair::run(&self.dataflow, &options)?
        } else {
            let lines = self.lines.clone();
            let limits = EpochLimits {
                events: Some(self.epoch_events),
                ..EpochLimits::default()
            };
            let open = move || from_memory(lines);
            self.run_between(open, limits, &Sinks::default(), workers)?
        };
        if report.stopped {
            return Err(stopped());
        }
        if report.kept != self.lines.distinct {
            return Err(Error::internal(format!(
                "{} events were kept of {} different ones",
                report.kept, self.lines.distinct
            )));
        }
        self.expect_read(&report, self.lines.count())?;
        Ok(report)
    }

    /// What `open` gives, as it comes.
    pub(super) fn run_live(
        &self,
        open: impl FnOnce() -> Input + Send + 'static,
        expected: usize,
        sinks: &Sinks,
        workers: usize,
    ) -> Result<Report> {
        self.clear()?;
        let limits = EpochLimits {
            most_events: Some(self.epoch_events),
            ..EpochLimits::default()
        };
        let report = self.run_between(open, limits, sinks, workers)?;
        self.expect_read(&report, expected)?;
        Ok(report)
    }

    fn run_between(
        &self,
        open: impl FnOnce() -> Input + Send + 'static,
        limits: EpochLimits,
        sinks: &Sinks,
        workers: usize,
    ) -> Result<Report> {
        let mut outputs: [Vec<Output>; 4] = Default::default();
        let told = [
            (Sink::Clean, sinks.clean.output(Sink::Clean)),
            (Sink::Dead, sinks.dead.output(Sink::Dead)),
            (Sink::Gaps, sinks.gaps.output(Sink::Gaps)),
        ];
        for (sink, output) in told {
            if self.on_disk {
                let path = self.folder.path().join("out").join(sink.file_name());
                outputs[sink as usize].push(Output::file(&path, Some(0))?);
            }
            // A line counts as written when the file has it.
            outputs[sink as usize].push(output);
        }
        let mut open = Some(open);
        let inputs = Box::new(move || {
            let open = open.take()?;
            Some(Ok(Opened {
                input: open(),
                partition: 0,
                offset: 0,
                line: 1,
                grows: false,
            }))
        });
        let ends = Ends {
            inputs,
            labels: vec!["bench".to_owned()],
            limits,
            outputs,
            scratch: self.folder.path().to_owned(),
        };
        repair::run_between(&self.dataflow, ends, workers)
    }

    /// Removes what an earlier run has written, and makes room for the next.
    fn clear(&self) -> Result<()> {
        let out = self.folder.path().join("out");
        let cleared = match fs::remove_dir_all(&out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::create_dir_all(&out),
        };
        cleared.map_err(|error| unwritten(&out, error))
    }

    fn expect_read(&self, report: &Report, expected: usize) -> Result<()> {
        if report.read == expected as u64 {
            return Ok(());
        }
        Err(Error::internal(format!(
            "{} records were read of {expected}",
            report.read
        )))
    }
}

/// All lines, of which there are always some.
fn from_memory(lines: Lines) -> Input {
    let mut taken = 0;
    let supply = move |buffer: &mut Vec<u8>, most: usize| {
        let rest = &lines.bytes()[taken..];
        let count = most.min(rest.len());
        if count == 0 {
            return Ok(Fill::End);
        }
        buffer.extend_from_slice(&rest[..count]);
        taken += count;
        Ok(Fill::Bytes(count))
    };
    Input::polled("memory", Box::new(supply))
}

/// The milliseconds from `from` to `to`, where `to` is no earlier.
pub(super) fn milliseconds(from: Duration, to: Duration) -> Result<f64> {
    let took = to
        .checked_sub(from)
        .ok_or_else(|| Error::internal("a correction left before what it corrects had come"))?;
    Ok(took.as_secs_f64() * 1e3)
}

fn stopped() -> Error {
    Error::unavailable("the bench was stopped before all of it was measured")
}

fn unwritten(path: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("could not write \"{}\"", path.display())).with_source(error)
}
