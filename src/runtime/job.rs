//! Runs pipelines: builds the same one on every worker, and feeds it epoch by epoch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use timely::worker::Worker;

use super::clock::{self, Moment};
use super::halt::Halt;
use crate::io::dead_letter::Refusal;
use crate::io::source::{Reading, Shared};
use crate::pipeline::{Checks, Feed, Pipeline, Settings};
use crate::time::{Epoch, EventTime};
use crate::{Error, Result};

/// Epochs that may be under way at once.
const IN_FLIGHT: u64 = 4;

/// How long a worker that has nothing to do waits.
const IDLE: Duration = Duration::from_millis(1);

/// For how long a pipeline with live sources waits for them before it closes an epoch, so that what
/// waits for the clock is woken.
const LIVE_EPOCH: Duration = Duration::from_millis(20);

/// How a pipeline is run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Parser)]
pub struct Options {
    /// Worker threads (default: the cores).
    #[arg(short, long, value_name = "N")]
    pub workers: Option<usize>,
    /// Elements in an epoch of a source; without it the source chooses.
    #[arg(long, value_name = "N")]
    pub epoch_events: Option<usize>,
    /// Run the functions of the pipeline twice, and fail where the two runs differ.
    #[arg(long)]
    pub check_determinism: bool,
}

impl Options {
    /// The options that the command line gives; ends the process where it is wrong.
    pub fn from_args() -> Self {
        Options::parse()
    }

    /// With this many worker threads.
    pub fn workers(self, workers: usize) -> Self {
        Options {
            workers: Some(workers),
            ..self
        }
    }

    /// With this many elements in an epoch.
    pub fn epoch_events(self, events: usize) -> Self {
        Options {
            epoch_events: Some(events),
            ..self
        }
    }

    /// With every function of the pipeline run twice.
    pub fn check_determinism(self) -> Self {
        Options {
            check_determinism: true,
            ..self
        }
    }
}

/// What a pipeline has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobReport {
    /// Epochs.
    pub epochs: u64,
    /// Workers.
    pub workers: usize,
    /// Dead letters, by step and reason: those that stand; of what came too late, withdrawals, too.
    pub dead: BTreeMap<(String, Refusal), i64>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Dead letters that stand, by step and reason, over all workers.
type DeadCounts = Arc<Mutex<BTreeMap<(String, Refusal), i64>>>;

/// Builds a pipeline and runs it until its sources end.
///
/// Every worker calls `build` and must get the same pipeline, so it must not depend on time or
/// chance.
///
/// # Errors
/// `Usage` where the pipeline cannot be run, before anything is read; `Unavailable` where reading or
/// writing failed; `TooManyDead` where a step failed on more elements than it may; what an assertion
/// says that does not hold.
pub fn run(
    options: &Options,
    build: impl Fn(&Pipeline<'_>) + Send + Sync + 'static,
) -> Result<JobReport> {
    let begun = Moment::now();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let workers = options.workers.unwrap_or_else(cores);
    if workers == 0 || options.epoch_events == Some(0) {
        return Err(Error::usage(
            "a run needs at least one worker and one element an epoch",
        ));
    }
    let config = if workers == 1 {
        timely::Config::thread()
    } else {
        timely::Config::process(workers)
    };
    let job = Job {
        options: options.clone(),
        halt: Halt::new(),
        shared: Shared::default(),
        checks: Checks::default(),
        dead: DeadCounts::default(),
        given: Arc::default(),
    };
    let of_workers = job.clone();
    let guards = timely::execute(config, move |worker| of_workers.work(worker, &build))
        .map_err(|error| Error::unavailable(format!("could not start the workers: {error}")))?;
    let results = guards.join();
    if let Some(error) = job.halt.take_error() {
        return Err(error);
    }
    let mut epochs = 0;
    for result in results {
        epochs = result.map_err(|cause| Error::internal(format!("a worker failed: {cause}")))?;
    }
    let checks = std::mem::take(&mut *job.checks.0.lock().unwrap_or_else(PoisonError::into_inner));
    for check in checks {
        check()?;
    }
    let mut dead = std::mem::take(&mut *job.dead.lock().unwrap_or_else(PoisonError::into_inner));
    dead.retain(|_, count| *count != 0);
    let given = job.given.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(given) = &*given {
        tell_of_dead_letters(&dead, given);
    }
    Ok(JobReport {
        epochs,
        workers,
        dead,
        elapsed: begun.elapsed(),
    })
}

/// Says on standard error what was set aside, where the pipeline does not look at it: nothing is
/// dropped in silence.
fn tell_of_dead_letters(dead: &BTreeMap<(String, Refusal), i64>, given: &BTreeSet<String>) {
    use std::fmt::Write as _;
    use std::io::Write as _;
    let mut text = String::new();
    let unseen = dead.iter().filter(|((step, _), _)| !given.contains(step));
    for ((step, reason), count) in unseen {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "set aside by step \"{step}\": {count} {reason}");
    }
    if !text.is_empty() {
        text.push_str("hint: Pipeline::dead_letters gives them as a collection\n");
        // There is nobody left to tell that standard error does not take this.
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

#[derive(Clone)]
struct Job {
    options: Options,
    halt: Halt,
    shared: Shared,
    checks: Checks,
    dead: DeadCounts,
    /// Steps whose dead letters the pipeline has at hand; none where it reads those of all steps.
    given: Arc<Mutex<Option<BTreeSet<String>>>>,
}

impl Job {
    /// The life of one worker; returns how many epochs there were.
    fn work(&self, worker: &mut Worker, build: &impl Fn(&Pipeline<'_>)) -> u64 {
        let hint = "a function of the pipeline panicked, or this is a bug in amend";
        self.halt
            .on_panic(hint, || self.build_and_feed(worker, build))
    }

    fn build_and_feed(&self, worker: &mut Worker, build: &impl Fn(&Pipeline<'_>)) -> u64 {
        let halt = self.halt.clone();
        let settings = Settings {
            epoch_events: self.options.epoch_events,
            check_determinism: self.options.check_determinism,
            shared: self.shared.clone(),
            fail: std::rc::Rc::new(move |error| halt.fail(error)),
            checks: self.checks.clone(),
        };
        let (mut feeds, probe, error) = worker.dataflow(|scope| {
            let pipeline = Pipeline::new(scope, settings);
            build(&pipeline);
            if !pipeline.plan.dead_are_read.get() {
                let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
                *given = Some(pipeline.plan.dead_are_given.take());
            }
            self.count_dead_letters(&pipeline);
            (
                pipeline.plan.feeds.take(),
                pipeline.plan.probe.clone(),
                pipeline.take_error(),
            )
        });
        let mut epochs = 0;
        match error {
            Some(error) => self.halt.fail(error),
            None => {
                epochs = self.feed(worker, &mut feeds, |epoch| !probe.less_equal(epoch));
            }
        }
        drop(feeds);
        self.halt.drain(worker);
        epochs
    }

    fn count_dead_letters(&self, pipeline: &Pipeline<'_>) {
        for letters in pipeline.plan.dead.take() {
            let dead = Arc::clone(&self.dead);
            letters.inspect(move |(letter, _, diff)| {
                let mut dead = dead.lock().unwrap_or_else(PoisonError::into_inner);
                let count = dead
                    .entry((letter.step.clone(), letter.reason))
                    .or_default();
                *count += match letter.reason {
                    // A withdrawal that comes too late is lost just as an element is.
                    Refusal::Late | Refusal::Closed => diff.unsigned_abs() as i64,
                    Refusal::Undecodable | Refusal::Failed => *diff as i64,
                };
            });
        }
    }

    /// Poll, advance, step: until all sources have ended.
    fn feed(
        &self,
        worker: &mut Worker,
        feeds: &mut [Box<dyn Feed>],
        is_over: impl Fn(&Epoch) -> bool,
    ) -> u64 {
        let mut epoch: Epoch = 0;
        let mut over: Epoch = 0;
        let mut ended = vec![false; feeds.len()];
        while !self.halt.has_failed() && ended.iter().any(|ended| !ended) {
            while over < epoch && is_over(&over) {
                over += 1;
            }
            if epoch - over >= IN_FLIGHT {
                worker.step_or_park(Some(IDLE));
                continue;
            }
            self.feed_epoch(worker, feeds, &mut ended, epoch);
            epoch += 1;
            feeds.iter_mut().for_each(|feed| feed.advance_to(epoch));
            worker.step();
        }
        epoch
    }

    /// Gives the dataflow what belongs to `epoch`: all of it from sources whose epochs are fixed,
    /// and from live ones what is there.
    fn feed_epoch(
        &self,
        worker: &mut Worker,
        feeds: &mut [Box<dyn Feed>],
        ended: &mut [bool],
        epoch: Epoch,
    ) {
        let begun = Moment::now();
        let mut given = ended.to_vec();
        loop {
            let mut waits = false;
            let mut has_live = false;
            let mut is_idle = true;
            for (at, feed) in feeds.iter_mut().enumerate() {
                if given[at] {
                    continue;
                }
                match feed.feed(epoch, now()) {
                    Ok(Reading::Pending) if feed.is_live() => has_live = true,
                    Ok(Reading::Pending) => waits = true,
                    Ok(reading) => {
                        given[at] = true;
                        is_idle = false;
                        ended[at] = reading == Reading::Ended;
                    }
                    Err(error) => return self.halt.fail(error),
                }
            }
            if self.halt.has_failed() || !waits && !has_live {
                return;
            }
            if !waits && (!is_idle || begun.elapsed() >= LIVE_EPOCH) {
                return;
            }
            worker.step_or_park(Some(IDLE));
        }
    }
}

fn now() -> EventTime {
    EventTime(clock::utc_us())
}
