//! History run again: from a journal, or from the files themselves.
//!
//! One rule: a replay is a run. The same workers judge the same records in the same epochs, so a
//! replay of a whole journal under the rules that wrote it publishes the same, byte for byte. The
//! journal is only read.
//!
//! A part of history is cut out in two ways. Epochs before it are known, and not published again;
//! those after it are not fed. Records that happened outside it are left out before they are judged.
//! How fast history goes by changes nothing of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::RunOptions;
use super::commit::Begun;
use super::inputs::resolve_inputs;
use super::outputs::open_outputs;
use super::reading::Needs;
use super::recall::{Kept, Recall, RecallRules};
use super::recollection::Recollection;
use super::report::Report;
use super::resume::InputPlan;
use super::run::{Job, progress_bar, write_report};
use super::spec::{Dataflow, InputSpec};
use crate::event::Decoder;
use crate::io::cutter::EpochLimits;
use crate::io::gate::{Gate, Opening, Passage};
use crate::io::part::EpochBuffer;
use crate::io::shared_cutter::SharedCutter;
use crate::journal::{self, Identity, Recovered, Storage};
use crate::operators::watermark::{Bounds, Watermark};
use crate::runtime::clock;
use crate::runtime::halt::Halt;
use crate::time::{Epoch, EventTime};
use crate::{Error, Result};

/// How to run history again: what the command line decides.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// Where history comes from.
    pub history: History,
    /// Where file sinks write.
    pub out: PathBuf,
    /// Worker threads.
    pub workers: usize,
    /// Where the part begins that is replayed; `None` at the beginning of history.
    pub from: Option<Bound>,
    /// Where it ends, this included; `None` at the end of history.
    pub to: Option<Bound>,
    /// How many times as fast as it happened; `None` as fast as can be.
    pub speed: Option<f64>,
    /// Whether to draw a progress bar on a terminal.
    pub progress: bool,
    /// Takes what a person should know while the replay goes on, a line at a time.
    pub notice: Option<fn(&str)>,
}

/// Where history comes from.
#[derive(Clone, Debug)]
pub enum History {
    /// From a journal, in the epochs in which it was read.
    Journal(Arc<dyn Storage>),
    /// From the inputs of the dataflow, as a run would read them.
    Inputs {
        /// Records in an epoch; `None` lets the engine adapt.
        epoch_events: Option<u64>,
        /// An epoch closes at this age in milliseconds; 0 turns the clock off.
        epoch_ms: Option<u64>,
    },
}

/// One end of a part of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// An epoch.
    Epoch(Epoch),
    /// A time at which events happened.
    Time(EventTime),
}

/// Runs `dataflow` over its history, and writes its sinks.
///
/// # Errors
/// `Usage` where the options, the inputs or the journal do not fit, `Corrupt` where the journal is
/// damaged, `Unavailable` where reading or writing failed.
pub fn replay(dataflow: &Dataflow, options: &ReplayOptions) -> Result<Report> {
    let window = Window::new(options)?;
    let read_bytes = Arc::new(AtomicU64::new(0));
    let told = match &options.history {
        History::Journal(storage) => {
            from_journal(dataflow, options, storage, &window, &read_bytes)?
        }
        History::Inputs {
            epoch_events,
            epoch_ms,
        } => from_inputs(dataflow, options, (*epoch_events, *epoch_ms), &read_bytes)?,
    };
    let run = RunOptions {
        out: options.out.clone(),
        workers: options.workers,
        cluster: None,
        epoch_events: None,
        epoch_ms: None,
        progress: options.progress,
        journal: None,
        notice: options.notice,
    };
    // A journal's inputs are not read, but they are not to be written over either.
    let outputs = open_outputs(dataflow, &run, &dataflow.source.inputs, [0; 4])?;
    let halt = Halt::new();
    halt.on_signals()?;
    let bar = progress_bar(&told.inputs, told.bytes, &run);
    let job = Job {
        dataflow: dataflow.clone(),
        cutter: told
            .cutter
            .with_gate(Box::new(HistoryGate::new(window, dataflow, options.speed))),
        labels: told.labels,
        outputs,
        attic: options.out.clone(),
        halt: halt.clone(),
        workers: options.workers,
        cluster: None,
        steps: Vec::new(),
        progress: bar.map(|bar| (bar, read_bytes)),
        begun: Begun::default(),
        journaling: None,
        recollection: told.recollection,
        survey: None,
    };
    let mut report = job.execute()?;
    // Without the end of the input history is complete all the same, unless somebody stopped it.
    report.stopped &= halt.was_asked();
    write_report(&options.out, &report)?;
    Ok(report)
}

/// History that is ready to be cut.
struct Told {
    cutter: SharedCutter,
    /// What earlier runs have decoded of it.
    recollection: Option<Arc<Recollection>>,
    /// The name of every input, by number.
    labels: Vec<String>,
    /// The inputs that are read, and how many bytes come from elsewhere.
    inputs: Vec<InputSpec>,
    bytes: u64,
}

fn from_journal(
    dataflow: &Dataflow,
    options: &ReplayOptions,
    storage: &Arc<dyn Storage>,
    window: &Window,
    read_bytes: &Arc<AtomicU64>,
) -> Result<Told> {
    let identity = Identity {
        name: dataflow.name.clone(),
        fixed: dataflow.fixed_text(),
        created_us: 0,
    };
    let recovered = journal::read(&**storage, &identity)?;
    // Columns tell of whole epochs, and a gate that looks at times leaves records out.
    let recollection = match window.bounds_time() {
        true => None,
        false => Recollection::open(&**storage, &recovered, options.workers).map(Arc::new),
    };
    let Recovered {
        frames,
        first_epoch,
        end,
        partitions,
        ..
    } = recovered;
    if let Some(notice) = options.notice.filter(|_| first_epoch > 0) {
        notice(&format!("history begins at epoch {first_epoch}"));
    }
    let rules = RecallRules {
        silent_through: window.from_epoch.checked_sub(1),
        together: !Needs::of(dataflow).times && dataflow.horizon.is_none(),
        end,
        amended: Vec::new(),
    };
    let bytes = frames.iter().map(|at| at.bytes).sum();
    let recall = Recall::new(Arc::clone(storage), frames, rules, Arc::clone(read_bytes))
        .recollecting(recollection.clone());
    let most = dataflow.event.max_record_bytes;
    Ok(Told {
        cutter: SharedCutter::recalled(Box::new(Kept(recall)), most, options.workers),
        recollection,
        labels: partitions.into_iter().map(|known| known.label).collect(),
        inputs: Vec::new(),
        bytes,
    })
}

fn from_inputs(
    dataflow: &Dataflow,
    options: &ReplayOptions,
    (epoch_events, epoch_ms): (Option<u64>, Option<u64>),
    read_bytes: &Arc<AtomicU64>,
) -> Result<Told> {
    let inputs = resolve_inputs(&dataflow.source)?;
    let plan = InputPlan::fresh(&inputs);
    let labels = plan.labels.clone();
    let limits = EpochLimits {
        events: epoch_events,
        most_events: None,
        age: epoch_ms.filter(|ms| *ms > 0).map(Duration::from_millis),
        now: Some(clock::since_start),
    };
    let next = plan.open_in_turn(false, Arc::clone(read_bytes));
    let most = dataflow.event.max_record_bytes;
    let workers = (options.workers, options.workers);
    Ok(Told {
        cutter: SharedCutter::new(next, limits, most, workers, None),
        recollection: None,
        labels,
        inputs,
        bytes: 0,
    })
}

/// The part of history that is replayed; all ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from_epoch: Epoch,
    to_epoch: Epoch,
    from_time: EventTime,
    to_time: EventTime,
}

impl Window {
    fn new(options: &ReplayOptions) -> Result<Self> {
        let mut window = Window {
            from_epoch: 0,
            to_epoch: Epoch::MAX,
            from_time: EventTime::MIN,
            to_time: EventTime::MAX,
        };
        match options.from {
            Some(Bound::Epoch(epoch)) => window.from_epoch = epoch,
            Some(Bound::Time(time)) => window.from_time = time,
            None => {}
        }
        match options.to {
            Some(Bound::Epoch(epoch)) => window.to_epoch = epoch,
            Some(Bound::Time(time)) => window.to_time = time,
            None => {}
        }
        let empty = |from: String, to: String| {
            Err(Error::usage(format!("nothing lies from {from} to {to}"))
                .with_hint("--from comes before --to; both are included"))
        };
        if window.from_epoch > window.to_epoch {
            let epoch = |epoch| format!("epoch {epoch}");
            return empty(epoch(window.from_epoch), epoch(window.to_epoch));
        }
        if window.from_time > window.to_time {
            return empty(window.from_time.to_string(), window.to_time.to_string());
        }
        Ok(window)
    }

    fn bounds_time(&self) -> bool {
        self.from_time > EventTime::MIN || self.to_time < EventTime::MAX
    }
}

/// Lets through what lies in the window, at its time.
struct HistoryGate {
    window: Window,
    /// Tells when records happened, where that is asked for.
    decoder: Option<Decoder>,
    pace: Option<Pace>,
}

impl HistoryGate {
    fn new(window: Window, dataflow: &Dataflow, speed: Option<f64>) -> Self {
        let pace = speed.map(|speed| {
            let bounds = Bounds {
                disorder: 0,
                max_ahead: dataflow.watermark.max_ahead_us,
            };
            Pace::new(speed, bounds, clock::since_start)
        });
        let needs_times = window.bounds_time() || pace.is_some();
        HistoryGate {
            window,
            decoder: needs_times.then(|| Decoder::new(dataflow.event.clone())),
            pace,
        }
    }
}

impl Gate for HistoryGate {
    fn pass(&mut self, epoch: Epoch, buffer: &mut EpochBuffer) -> Passage {
        if epoch > self.window.to_epoch {
            return Passage::Closed;
        }
        let silent = epoch < self.window.from_epoch;
        let times = self.window.from_time..=self.window.to_time;
        // What is not published is not waited for.
        let mut pace = self.pace.as_mut().filter(|_| !silent);
        if let Some(decoder) = &mut self.decoder {
            buffer.retain(|record| {
                let event = match record.oversize {
                    Some(_) => None,
                    None => decoder.decode(record.bytes).ok(),
                };
                // What is no event happened at no time: only its epoch tells where it belongs.
                let Some(event) = event else { return true };
                let wanted = times.contains(&event.time);
                if let Some(pace) = pace.as_mut().filter(|_| wanted) {
                    pace.observe(event.time);
                }
                wanted
            });
        }
        Passage::Open {
            silent,
            opening: pace.and_then(|pace| pace.end_epoch()),
        }
    }
}

/// How fast time goes by.
#[derive(Debug)]
struct Pace {
    speed: f64,
    /// The highest event time that counts: one bad clock must not make everybody wait.
    highest: Watermark,
    now: fn() -> Duration,
    /// The highest event time of the first epoch, and when it went through.
    begun: Option<(i64, Duration)>,
}

impl Pace {
    fn new(speed: f64, bounds: Bounds, now: fn() -> Duration) -> Self {
        Pace {
            speed,
            highest: Watermark::new(bounds),
            now,
            begun: None,
        }
    }

    fn observe(&mut self, time: EventTime) {
        // All inputs are one history.
        self.highest.observe(0, time.0);
    }

    /// When the epoch may be fed whose events were observed last.
    fn end_epoch(&mut self) -> Option<Opening> {
        self.highest.end_epoch();
        let highest = self.highest.get()?;
        let (first, begun) = *self.begun.get_or_insert_with(|| (highest, (self.now)()));
        // In floating point, because the ends of time are further apart than a number of them.
        let seconds = (highest as f64 - first as f64) / 1e6 / self.speed;
        let after = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Some(Opening {
            at: begun.saturating_add(after),
            now: self.now,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;
    use crate::journal::{BasePart, Entry, Faulty, FrameParts, Journal, Partition, Stretch};

    #[test]
    fn an_epoch_opens_when_its_time_has_come() {
        let bounds = Bounds {
            disorder: 0,
            max_ahead: 3_600_000_000,
        };
        let mut pace = Pace::new(60.0, bounds, || Duration::from_secs(5));
        assert!(pace.end_epoch().is_none(), "no event has told the time");
        let mut check = |times: &[i64], expected: f64| {
            for time in times {
                pace.observe(EventTime::from_seconds(*time));
            }
            let opening = pace.end_epoch().map(|opening| opening.at.as_secs_f64());
            assert_eq!(opening, Some(expected), "{times:?}");
        };
        check(&[1000, 1040, 1020], 5.0);
        check(&[1100], 6.0);
        // Nothing goes back, and one time far ahead does not count.
        check(&[7, 1_000_000], 6.0);
        check(&[], 6.0);
        check(&[1160, 1070], 7.0);
    }

    #[test]
    fn a_window_ends_after_it_begins() {
        let window = |from, to| {
            let options = ReplayOptions {
                history: History::Inputs {
                    epoch_events: None,
                    epoch_ms: None,
                },
                out: PathBuf::new(),
                workers: 1,
                from,
                to,
                speed: None,
                progress: false,
                notice: None,
            };
            Window::new(&options).map_err(|error| error.to_string())
        };
        let epoch = |epoch| Some(Bound::Epoch(epoch));
        let time = |seconds| Some(Bound::Time(EventTime::from_seconds(seconds)));
        assert!(window(None, None).is_ok_and(|window| !window.bounds_time()));
        assert!(window(epoch(3), epoch(3)).is_ok());
        assert!(window(epoch(3), time(0)).is_ok_and(|window| window.bounds_time()));
        assert_eq!(
            window(epoch(4), epoch(3)),
            Err("nothing lies from epoch 4 to epoch 3".to_owned())
        );
        assert_eq!(
            window(time(1), time(0)),
            Err("nothing lies from 1970-01-01T00:00:01Z to 1970-01-01T00:00:00Z".to_owned())
        );
    }

    /// A journal whose first segments are gone is replayed from where it begins.
    #[test]
    fn history_begins_where_the_journal_does() {
        static SAID: Mutex<String> = Mutex::new(String::new());
        let text = "name = \"f\"\n[source]\nkind = \"stdin\"";
        let dataflow = Dataflow::from_text(text, Path::new("f.toml"), &[]).unwrap();
        let identity = Identity {
            name: dataflow.name.clone(),
            fixed: dataflow.fixed_text(),
            created_us: 0,
        };
        let storage: Arc<dyn Storage> = Arc::new(Faulty::new());
        let small = journal::Options { segment_bytes: 1 };
        let (journal, _) = Journal::open(Arc::clone(&storage), &identity, small).unwrap();
        let label = "stdin".to_owned();
        journal.append(Entry::Partition(Partition {
            number: 0,
            label,
            identity: "-".to_owned(),
        }));
        for epoch in 0..4 {
            let record = format!(
                "{{\"event_id\":{epoch},\"type\":\"t\",\"timestamp\":\"2026-01-01T00:00:00\"}}"
            );
            let length = record.len();
            let stretch = Stretch {
                first_record: 0,
                partition: 0,
                start: 0,
                offset: epoch * 100,
                line: epoch + 1,
            };
            journal.append(Entry::Frame(journal::Frame::encode(FrameParts {
                epoch,
                clock_us: 0,
                bytes: record.into_bytes().into(),
                records: &mut [(0, length)].into_iter(),
                stretches: &[stretch],
                oversize: &[],
                ended: &[],
                positions: &[],
            })));
            journal.flush().unwrap();
        }
        let (epoch, part, parts) = (3, 0, 1);
        let bytes = Vec::new();
        journal.append(Entry::Base(BasePart {
            epoch,
            part,
            parts,
            bytes,
        }));
        journal.flush().unwrap();
        journal.drop_before(2);
        journal.finish().unwrap();

        let folder = tempfile::tempdir().unwrap();
        let options = ReplayOptions {
            history: History::Journal(storage),
            out: folder.path().to_owned(),
            workers: 1,
            from: None,
            to: None,
            speed: None,
            progress: false,
            notice: Some(|text| SAID.lock().unwrap().push_str(text)),
        };
        let report = replay(&dataflow, &options).unwrap();
        assert_eq!(*SAID.lock().unwrap(), "history begins at epoch 2");
        assert_eq!((report.read, report.kept, report.stopped), (2, 2, false));
    }
}
