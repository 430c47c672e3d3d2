//! Running a dataflow: from its file and options to outputs and a report.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::base::Bases;
use super::commit::{Begun, Office};
use super::desk::{self, Desk, Fates};
use super::feed::Feeder;
use super::fill::Note;
use super::inputs::resolve_inputs;
use super::journaling::Journaling;
use super::ledger;
use super::lines::{Sink, Sources};
use super::names::{LocalNames, Names};
use super::outputs::open_outputs;
use super::reading::{Needs, Reading, Rows};
use super::recollection::Recollection;
use super::report::Report;
use super::resume::{InputPlan, Resumption};
use super::spec::{Dataflow, InputSpec, Keep, SinkKind};
use super::tally::Tally;
use super::wiring::{self, Plan, Survey};
use super::{Cluster, Outputs, RunOptions, Step};
use crate::event::write::ReconstructedWriter;
use crate::io::cutter::{EpochLimits, Keeping, NextInput};
use crate::io::output::Output;
use crate::io::shared_cutter::SharedCutter;
use crate::operators::parcel::Spare;
use crate::runtime::clock::{self, Moment};
use crate::runtime::cluster;
use crate::runtime::halt::Halt;
use crate::{Error, Result};

/// Inputs shorter than this need no progress bar.
const LONG_INPUT_BYTES: u64 = 64 << 20;

/// Runs `dataflow` over its source until it ends, and writes its sinks.
///
/// # Errors
/// `Usage` where the inputs or options are wrong, `Unavailable` where reading or writing failed;
/// with a journal also `Fenced` where another run has it, `Corrupt` where it is damaged.
pub fn run(dataflow: &Dataflow, options: &RunOptions) -> Result<Report> {
    let inputs = resolve_inputs(&dataflow.source)?;
    check_cluster(dataflow, options, &inputs)?;
    let resumption = match &options.journal {
        None => None,
        Some(journal) => Some(Resumption::open(dataflow, journal)?),
    };
    let resumption = match resumption {
        Some(resumption) => Some(resumption.under(dataflow, options)?),
        None => None,
    };
    let begun = match &resumption {
        None => Begun::default(),
        Some(resumption) => resumption.begin(dataflow, options)?,
    };
    let read_bytes = Arc::new(AtomicU64::new(0));
    let stdin_from_start = options
        .journal
        .as_ref()
        .is_some_and(|journal| journal.stdin_from_start);
    let plan = match &resumption {
        None => InputPlan::fresh(&inputs),
        Some(resumption) => InputPlan::resume(&inputs, &resumption.recovered, stdin_from_start)?,
    };
    // Nothing is touched before everything is known to be right.
    let outputs = open_outputs(dataflow, options, &inputs, begun.lengths)?;
    let labels = plan.labels.clone();
    let mut journaling = None;
    let mut keeping = None;
    if let (Some(resumption), Some(journal)) = (&resumption, &options.journal) {
        resumption.keep_inputs(&plan);
        let kept = resumption
            .journaling(&outputs, options)
            .retaining(dataflow.journal.retain_us);
        let together = !Needs::of(dataflow).times && dataflow.horizon.is_none();
        keeping = Some(Keeping {
            keeper: kept.keeper(resumption.recall(&begun, together, &read_bytes), dataflow),
            next_epoch: resumption.recovered.next_epoch,
            waits_for_line_ends: !journal.is_final,
        });
        journaling = Some(kept);
    }
    let limits = EpochLimits {
        events: options.epoch_events,
        most_events: None,
        age: options
            .epoch_ms
            .filter(|ms| *ms > 0)
            .map(Duration::from_millis),
        now: Some(clock::since_start),
    };
    let halt = Halt::new();
    if options.cluster.is_none() {
        halt.on_signals()?;
    }
    let recovered_bytes = resumption.as_ref().map_or(0, Resumption::frame_bytes);
    let bar = progress_bar(&inputs, recovered_bytes, options);
    let processes = options
        .cluster
        .as_ref()
        .map_or(1, |cluster| cluster.addresses.len());
    let workers = (options.workers, processes * options.workers);
    let next = plan.open_in_turn(stdin_from_start, Arc::clone(&read_bytes));
    let most = dataflow.event.max_record_bytes;
    let cutter = SharedCutter::new(next, limits, most, workers, keeping);
    if let Some(journaling) = &journaling {
        journaling.ring_on_sync(cutter.bell());
    }
    let job = Job {
        dataflow: dataflow.clone(),
        cutter: cutter.clone(),
        labels,
        outputs,
        attic: options.out.clone(),
        halt,
        workers: options.workers,
        cluster: options.cluster.clone(),
        steps: Vec::new(),
        progress: bar.map(|bar| (bar, read_bytes)),
        begun,
        journaling,
        recollection: None,
        survey: None,
    };
    let mut report = job.execute()?;
    report.waiting_lines = cutter.waiting_lines();
    if options
        .cluster
        .as_ref()
        .is_none_or(|cluster| cluster.process == 0)
    {
        write_report(&options.out, &report)?;
    }
    Ok(report)
}

/// Writes `report.json` into the folder `out`.
pub(super) fn write_report(out: &Path, report: &Report) -> Result<()> {
    let path = out.join("report.json");
    std::fs::write(&path, report.to_json() + "\n").map_err(|error| {
        Error::unavailable(format!("could not write \"{}\"", path.display())).with_source(error)
    })
}

/// Runs `dataflow` over `steps`, an epoch each, as a source that never ends; its sinks are kept
/// in memory.
///
/// # Errors
/// As [`run`].
pub fn run_steps(dataflow: &Dataflow, steps: Vec<Step>, workers: usize) -> Result<Outputs> {
    let pages: [Page; 4] = Default::default();
    let outputs = std::array::from_fn(|number| {
        let sink = Sink::ALL[number].file_name();
        vec![Output::writer(sink, Box::new(pages[number].clone()))]
    });
    let mut dataflow = dataflow.clone();
    let line_sink = super::spec::SinkSpec {
        kind: SinkKind::Jsonl,
        annotate: true,
    };
    dataflow.sinks.changes.get_or_insert(line_sink);
    dataflow.sinks.gaps.get_or_insert(line_sink);
    let watermarks = steps
        .iter()
        .map(|step| step.watermark.map(|time| time.0))
        .collect();
    let records = steps.into_iter().map(|step| step.records).collect();
    let most = dataflow.event.max_record_bytes;
    let scratch = tempfile::tempdir().map_err(|error| {
        Error::unavailable("could not create a scratch folder").with_source(error)
    })?;
    let job = Job {
        dataflow,
        cutter: SharedCutter::scripted(records, most, workers),
        labels: vec!["transcript".to_owned()],
        outputs,
        attic: scratch.path().to_owned(),
        halt: Halt::new(),
        workers,
        cluster: None,
        steps: watermarks,
        progress: None,
        begun: Begun::default(),
        journaling: None,
        recollection: None,
        survey: None,
    };
    job.execute()?;
    let [_, changes, dead, gaps] = pages.map(|page| page.take());
    Ok(Outputs {
        changes,
        dead,
        gaps,
    })
}

/// Where a run reads and writes, in place of what its dataflow file names.
pub struct Ends {
    /// Opens the inputs one after the other.
    pub inputs: NextInput,
    /// What dead letters call them, by number.
    pub labels: Vec<String>,
    /// When an epoch closes.
    pub limits: EpochLimits,
    /// The outputs, by number of sink.
    pub outputs: [Vec<Output>; 4],
    /// A folder for what is put aside on disk.
    pub scratch: PathBuf,
}

/// Runs `dataflow` between other `ends` than it names, until its inputs end. There is no journal,
/// and no report is written.
///
/// # Errors
/// `Unavailable` where reading or writing failed.
pub fn run_between(dataflow: &Dataflow, ends: Ends, workers: usize) -> Result<Report> {
    let most = dataflow.event.max_record_bytes;
    let counts = (workers, workers);
    let job = Job {
        dataflow: dataflow.clone(),
        cutter: SharedCutter::new(ends.inputs, ends.limits, most, counts, None),
        labels: ends.labels,
        outputs: ends.outputs,
        attic: ends.scratch,
        halt: Halt::new(),
        workers,
        cluster: None,
        steps: Vec::new(),
        progress: None,
        begun: Begun::default(),
        journaling: None,
        recollection: None,
        survey: None,
    };
    job.execute()
}

/// All that the workers of a process need.
pub(super) struct Job {
    pub(super) dataflow: Dataflow,
    pub(super) cutter: SharedCutter,
    pub(super) labels: Vec<String>,
    pub(super) outputs: [Vec<Output>; 4],
    pub(super) attic: PathBuf,
    pub(super) halt: Halt,
    pub(super) workers: usize,
    pub(super) cluster: Option<Cluster>,
    /// The watermark that is set at each epoch, where a script sets some.
    pub(super) steps: Vec<Option<i64>>,
    pub(super) progress: Option<(ProgressBar, Arc<AtomicU64>)>,
    /// What the outputs hold when the run begins.
    pub(super) begun: Begun,
    /// Where epochs are kept, if they are.
    pub(super) journaling: Option<Journaling>,
    /// What is known of recalled epochs where nothing is kept.
    pub(super) recollection: Option<Arc<Recollection>>,
    /// Whether what stands after the last epoch is asked for, not what changes.
    pub(super) survey: Option<Survey>,
}

/// What a worker comes back with.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// All that was counted.
    pub(super) totals: Tally,
    /// Epochs that held records.
    pub(super) epochs: u64,
    ended: bool,
    /// The length of each output, by number of sink.
    pub(super) lengths: [u64; 4],
    /// What became of every record, and what stands beside, where that was asked.
    pub(super) fates: Fates,
    /// See `fates`.
    pub(super) survey: Vec<Note>,
    final_until: Option<i64>,
}

impl Job {
    /// Runs the workers to their end.
    pub(super) fn execute(self) -> Result<Report> {
        self.execute_for().map(|(report, _)| report)
    }

    /// Also says what the workers came back with.
    pub(super) fn execute_for(self) -> Result<(Report, Done)> {
        let begun = Moment::now();
        let config = timely::Config {
            communication: match &self.cluster {
                Some(cluster) => timely::CommunicationConfig::Cluster {
                    threads: self.workers,
                    process: cluster.process,
                    addresses: cluster.addresses.clone(),
                    report: false,
                    zerocopy: false,
                },
                None if self.workers == 1 => timely::CommunicationConfig::Thread,
                None => timely::CommunicationConfig::Process(self.workers),
            },
            worker: timely::WorkerConfig::default(),
        };
        if self.cluster.is_some() {
            cluster::leave_when_others_do();
        }
        let halt = self.halt.clone();
        let workers_in_all = self.workers
            * self
                .cluster
                .as_ref()
                .map_or(1, |cluster| cluster.addresses.len());
        let names = (Names::default(), Names::default());
        let job = Arc::new(self);
        let for_workers = Arc::clone(&job);
        let guards = timely::execute(config, move |worker| {
            let hint = "this is a bug in amend; please report it with the input";
            let halt = &for_workers.halt;
            halt.on_panic(hint, || for_workers.work(worker, names.clone()))
        })
        .map_err(|error| Error::unavailable(format!("could not start the workers: {error}")))?;
        let results = guards.join();
        if let Some((bar, _)) = &job.progress {
            bar.finish_and_clear();
        }
        if let Some(error) = halt.take_error() {
            return Err(error);
        }
        let mut done = Vec::new();
        for result in results {
            done.push(
                result.map_err(|cause| Error::internal(format!("a worker failed: {cause}")))?,
            );
        }
        let mut done = done.into_iter();
        let mut first = done.next().unwrap_or_default();
        for mut other in done {
            first.fates.parts.append(&mut other.fates.parts);
        }
        let mut report = report(first.clone(), workers_in_all);
        if let Some(journaling) = &job.journaling {
            journaling.finish()?;
            report.recovered = journaling.recovery();
        }
        report.elapsed_s = begun.elapsed().as_secs_f64();
        Ok((report, first))
    }

    /// The life of one worker.
    fn work(&self, worker: &mut timely::worker::Worker, (streams, types): (Names, Names)) -> Done {
        let index = worker.index();
        let peers = worker.peers() as u32;
        let event = &self.dataflow.event;
        let streamed = self.dataflow.keep == Keep::First;
        let changelog = self.dataflow.sinks.changes;
        let style = desk::Style {
            event: event.clone(),
            sources: Sources::new(&self.dataflow.source.name, self.labels.clone()),
            streamed,
            changelog: changelog.is_some(),
        };
        let clustered = self.cluster.is_some();
        // Between processes every worker keeps the numbering that all share.
        let shared = if clustered {
            Default::default()
        } else {
            (streams.clone(), types.clone())
        };
        let bases = Rc::new(Bases::new(
            (index as u32, peers),
            shared.clone(),
            self.begun.base.clone(),
        ));
        let mut desk = Desk::new(style, self.attic.clone());
        if self.survey.is_some() {
            desk = desk.with_fates();
        }
        if let Err(error) = bases.restore_desk(&mut desk) {
            self.halt.fail(error);
        }
        let office = Rc::new(Office {
            worker: index as u32,
            workers: peers,
            desk: desk.into(),
            pages: Default::default(),
            spare_pages: Default::default(),
            finals: Default::default(),
            final_writer: ReconstructedWriter::new(event, self.dataflow.sinks.clean.annotate),
            outputs: self.outputs.clone(),
            streamed,
            changelog: changelog.is_some(),
            journaled: self.journaling.is_some(),
            cutter: self.cutter.clone(),
            halt: self.halt.clone(),
            totals: Default::default(),
            epochs: Default::default(),
            watermark: Default::default(),
            lengths: Default::default(),
            begun: self.begun.clone(),
            marks: Default::default(),
            bases: Rc::clone(&bases),
            survey: self.survey.map(|_| Default::default()),
        });
        if let Some(mark) = bases.mark().filter(|_| index == 0) {
            office.totals.replace(mark.totals.clone());
            office.epochs.set(mark.epochs);
        }
        let plan = Plan {
            dataflow: self.dataflow.clone(),
            ledger: ledger::Style::of(&self.dataflow),
            streams: shared.0,
            types: shared.1,
            clustered,
            scripted: !self.steps.is_empty(),
        };
        let spare = Spare::default();
        let inputs = worker.dataflow(|scope| wiring::build(scope, &plan, &office, spare.clone()));
        let reading = Reading::new(
            &self.dataflow,
            LocalNames::new(streams),
            LocalNames::new(types),
            clustered,
        );
        let each_round = || {
            self.leave_if_failed();
            if let Some((bar, read_bytes)) = &self.progress
                && index == 0
            {
                bar.set_position(read_bytes.load(Ordering::Relaxed));
            }
        };
        let mut feeder = Feeder {
            index,
            peers,
            clustered,
            inputs,
            reading,
            rows: Rows::new(index as u32, peers, spare),
            office: Rc::clone(&office),
            steps: &self.steps,
            journaling: self.journaling.as_ref(),
            recollection: self.recollection.as_deref(),
            forgets: self.dataflow.horizon.is_some(),
            survey: self.survey,
            each_round: &each_round,
        };
        let ended = feeder.run(worker);
        drop(feeder);
        self.leave_if_failed();
        self.halt.drain(worker);
        self.leave_if_failed();
        Done {
            totals: office.totals.take(),
            epochs: office.epochs.get(),
            ended,
            lengths: office.lengths.get(),
            fates: office.desk.borrow_mut().take_fates().unwrap_or_default(),
            survey: office
                .survey
                .as_ref()
                .map(RefCell::take)
                .unwrap_or_default(),
            final_until: self.dataflow.horizon.as_ref().and_then(|horizon| {
                Some(office.watermark.get()?.saturating_sub(horizon.horizon_us))
            }),
        }
    }

    /// The other processes cannot go on without a process that fails.
    fn leave_if_failed(&self) {
        if self.cluster.is_some()
            && let Some(error) = self.halt.take_error()
        {
            cluster::leave(&error);
        }
    }
}

/// The report of a run, from what its first worker knows.
fn report(done: Done, workers: usize) -> Report {
    let totals = done.totals;
    let dead: BTreeMap<_, _> = totals
        .dead
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(reason, count)| (*reason, *count as u64))
        .collect();
    let mut examples = BTreeMap::new();
    for ((reason, _), example) in totals.examples {
        if dead.contains_key(&reason) {
            examples.entry(reason).or_insert(example);
        }
    }
    Report {
        read: totals.read,
        kept: totals.seats.max(0) as u64,
        reconstructed: totals.reconstructed.max(0) as u64,
        examples,
        dead,
        gaps_open: totals.gaps_open.max(0) as u64,
        gaps_missing_ids: totals.gaps_missing.max(0) as u128,
        gaps_filled_ids: totals.filled,
        retractions: totals.retractions,
        epochs: done.epochs,
        workers: workers as u64,
        stopped: !done.ended,
        final_until: done.final_until,
        ..Report::default()
    }
}

/// Refuses what several processes cannot do together.
fn check_cluster(dataflow: &Dataflow, options: &RunOptions, inputs: &[InputSpec]) -> Result<()> {
    if options.cluster.is_none() {
        return Ok(());
    }
    if options.journal.is_some() {
        return Err(Error::usage(
            "--processes has no meaning with --journal: one process keeps it",
        )
        .with_hint("run one process with as many workers as there are cores (-w)"));
    }
    let refuse = |what: &str, hint: &str| Err(Error::usage(what).with_hint(hint));
    if inputs.contains(&InputSpec::Stdin) {
        let hint = "every process reads the inputs itself: give files that all of them can open";
        return refuse("standard input cannot be read by several processes", hint);
    }
    if options.epoch_ms.is_some_and(|ms| ms > 0) {
        let hint = "use --epoch-events, or leave both out";
        return refuse("--epoch-ms would cut other epochs in every process", hint);
    }
    if dataflow.sinks.uses_stdout() {
        let hint = "use kind = \"jsonl\", and an output folder that all of them can write to";
        return refuse(
            "several processes cannot write to one standard output",
            hint,
        );
    }
    Ok(())
}

/// A bar for inputs that take a while, where somebody is looking.
pub(super) fn progress_bar(
    inputs: &[InputSpec],
    recovered_bytes: u64,
    options: &RunOptions,
) -> Option<ProgressBar> {
    let sizes = inputs.iter().map(|input| match input {
        InputSpec::Path(path) => std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        InputSpec::Stdin => 0,
    });
    let bytes: u64 = sizes.sum::<u64>() + recovered_bytes;
    if !options.progress || bytes < LONG_INPUT_BYTES {
        return None;
    }
    let bar = ProgressBar::new(bytes);
    let template = "{bar:32} {percent:>3}%  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    Some(bar)
}

/// Lines kept in memory.
#[derive(Clone, Default)]
struct Page {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Page {
    fn take(self) -> Vec<u8> {
        std::mem::take(&mut self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
