//! A pipeline under construction: hands out the first collections, and keeps the names of steps.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use differential_dataflow::VecCollection;
use timely::dataflow::{ProbeHandle, Scope, StreamVec};

use crate::io::dead_letter::DeadLetter;
use crate::io::source::{Place, Reading, Shared};
use crate::pcollection::Tick;
use crate::time::{Epoch, EventTime};
use crate::{Error, Result};

/// A pipeline under construction. Every worker builds the same one.
#[derive(Clone)]
pub struct Pipeline<'scope> {
    pub(crate) scope: Scope<'scope, Epoch>,
    pub(crate) plan: Rc<Plan<'scope>>,
}

/// What the steps of a pipeline leave behind for the run.
pub(crate) struct Plan<'scope> {
    pub(crate) settings: Settings,
    names: RefCell<BTreeSet<String>>,
    prefix: RefCell<Vec<String>>,
    error: RefCell<Option<Error>>,
    pub(crate) feeds: RefCell<Vec<Box<dyn Feed>>>,
    pub(crate) dead: RefCell<Vec<VecCollection<'scope, Epoch, DeadLetter, isize>>>,
    /// Whether the pipeline itself does something with dead letters.
    pub(crate) dead_are_read: Cell<bool>,
    /// Steps that give their dead letters to who called them.
    pub(crate) dead_are_given: RefCell<BTreeSet<String>>,
    /// Of every source.
    pub(crate) ticks: RefCell<Vec<StreamVec<'scope, Epoch, Tick>>>,
    /// Watches everything that must be over before an epoch is.
    pub(crate) probe: ProbeHandle<Epoch>,
}

/// What is the same for all steps of a run.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) epoch_events: Option<usize>,
    /// Whether functions of the user are run twice, to find those that are not deterministic.
    pub(crate) check_determinism: bool,
    pub(crate) shared: Shared,
    /// Takes an error that is to stop the run.
    pub(crate) fail: Rc<dyn Fn(Error)>,
    /// What is to be looked at when the run is over.
    pub(crate) checks: Checks,
}

/// Looks at what a run has done.
pub(crate) type Check = Box<dyn FnOnce() -> Result<()> + Send>;

/// Checks that worker 0 leaves for the end of the run.
#[derive(Clone, Default)]
pub(crate) struct Checks(pub(crate) Arc<Mutex<Vec<Check>>>);

/// A source at work on one worker.
pub(crate) trait Feed {
    /// Whether an epoch goes on without it when it has nothing.
    fn is_live(&self) -> bool;

    /// Gives the dataflow what belongs to `epoch`. It is asked again for the same epoch after
    /// [`Reading::Pending`], and not at all after [`Reading::Ended`].
    fn feed(&mut self, epoch: Epoch, now: EventTime) -> Result<Reading>;

    /// Says that `epoch` and what follows is all that may still come.
    fn advance_to(&mut self, epoch: Epoch);
}

impl<'scope> Pipeline<'scope> {
    pub(crate) fn new(scope: Scope<'scope, Epoch>, settings: Settings) -> Self {
        let plan = Plan {
            settings,
            names: RefCell::default(),
            prefix: RefCell::default(),
            error: RefCell::default(),
            feeds: RefCell::default(),
            dead: RefCell::default(),
            dead_are_read: Cell::new(false),
            dead_are_given: RefCell::default(),
            ticks: RefCell::default(),
            probe: ProbeHandle::new(),
        };
        Pipeline {
            scope,
            plan: Rc::new(plan),
        }
    }

    /// The number of this worker, from 0.
    pub fn worker(&self) -> usize {
        self.scope.index()
    }

    /// The number of workers.
    pub fn workers(&self) -> usize {
        self.scope.peers()
    }

    /// The full name of a new step.
    pub(crate) fn step(&self, name: &str) -> String {
        let mut full = self.plan.prefix.borrow().join("/");
        if !full.is_empty() {
            full.push('/');
        }
        full.push_str(name);
        if name.trim().is_empty() {
            self.fail(
                Error::usage("a step has no name")
                    .with_hint("name every step: state, metrics and dead letters are known by it"),
            );
        }
        if !self.plan.names.borrow_mut().insert(full.clone()) {
            self.fail(
                Error::usage(format!("two steps are named \"{full}\""))
                    .with_hint("give every step a name of its own"),
            );
        }
        full
    }

    /// Puts the steps that `build` adds below `name`.
    pub(crate) fn within<R>(&self, name: &str, build: impl FnOnce() -> R) -> R {
        self.plan.prefix.borrow_mut().push(name.to_owned());
        let result = build();
        self.plan.prefix.borrow_mut().pop();
        result
    }

    /// Of a pipeline without sources.
    pub(crate) fn no_ticks(&self) -> StreamVec<'scope, Epoch, Tick> {
        timely::dataflow::operators::generic::operator::empty(self.scope)
    }

    /// Takes note that the pipeline cannot be run.
    pub(crate) fn fail(&self, error: Error) {
        self.plan.error.borrow_mut().get_or_insert(error);
    }

    /// Refuses to run what `step` was asked to do.
    pub(crate) fn refuse(&self, step: &str, what: &str, hint: &str) {
        self.fail(Error::usage(format!("step \"{step}\" {what}")).with_hint(hint));
    }

    /// Leaves a check for the end of the run; every worker may call this, one is kept.
    pub(crate) fn check_at_end(&self, check: impl FnOnce() -> Result<()> + Send + 'static) {
        if self.worker() == 0 {
            let checks = &self.plan.settings.checks.0;
            let mut checks = checks.lock().unwrap_or_else(PoisonError::into_inner);
            checks.push(Box::new(check));
        }
    }

    pub(crate) fn take_error(&self) -> Option<Error> {
        self.plan.error.borrow_mut().take()
    }

    pub(crate) fn place(&self, step: &str) -> Place {
        Place {
            step: step.to_owned(),
            worker: self.worker(),
            workers: self.workers(),
            local_workers: self.workers(),
            epoch_events: self.plan.settings.epoch_events,
            shared: self.plan.settings.shared.clone(),
        }
    }
}

impl fmt::Debug for Pipeline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("steps", &self.plan.names.borrow())
            .finish_non_exhaustive()
    }
}
