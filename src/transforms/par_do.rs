//! Element by element: what Beam calls ParDo, and its everyday forms.
//!
//! A function of the user must be deterministic: when an element is taken back, the function is run
//! on it again to know what to take back. [`crate::Options::check_determinism`] runs each twice.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use differential_dataflow::AsCollection;
use timely::dataflow::operators::vec::Map;

use crate::io::dead_letter::{DeadLetter, Refusal};
use crate::pcollection::{Data, Element, Key, PCollection};
use crate::time::EventTime;
use crate::{Error, ErrorKind};

/// How many elements a step may fail on before the run fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorThreshold {
    /// The share of elements.
    pub share: f64,
    /// Before this many elements were seen nothing is decided, until the input ends.
    pub at_least: u64,
}

impl ErrorThreshold {
    /// No threshold: a failure is a dead letter, however many there are.
    pub const NONE: ErrorThreshold = ErrorThreshold {
        share: 1.0,
        at_least: 0,
    };

    /// Fails the run when more than this share of the elements fail.
    pub fn share(share: f64) -> Self {
        ErrorThreshold {
            share,
            at_least: 100,
        }
    }
}

/// A function of the user, of an element and where to put what it makes.
type DoFn<T, U> = Box<dyn Fn(Element<T>, &mut Vec<U>)>;

/// Where a function with two outputs puts what it makes.
#[derive(Debug)]
pub struct Tagged<A, B> {
    main: Vec<A>,
    side: Vec<B>,
}

impl<A, B> Tagged<A, B> {
    /// Puts `value` into the main output.
    pub fn main(&mut self, value: A) {
        self.main.push(value);
    }

    /// Puts `value` into the side output.
    pub fn side(&mut self, value: B) {
        self.side.push(value);
    }
}

impl<'scope, T: Data> PCollection<'scope, T> {
    /// Makes a value of every value.
    pub fn map<U: Data>(&self, name: &str, f: impl Fn(T) -> U + 'static) -> PCollection<'scope, U> {
        self.par_do(name, move |value, output| output.push(f(value)))
    }

    /// Keeps the values for which `f` says so.
    pub fn filter(&self, name: &str, f: impl Fn(&T) -> bool + 'static) -> Self {
        self.par_do(name, move |value, output| {
            if f(&value) {
                output.push(value);
            }
        })
    }

    /// Makes any number of values of every value.
    pub fn flat_map<U: Data, I: IntoIterator<Item = U>>(
        &self,
        name: &str,
        f: impl Fn(T) -> I + 'static,
    ) -> PCollection<'scope, U> {
        self.par_do(name, move |value, output| output.extend(f(value)))
    }

    /// Makes any number of values of every value, which `f` pushes.
    pub fn par_do<U: Data>(
        &self,
        name: &str,
        f: impl Fn(T, &mut Vec<U>) + 'static,
    ) -> PCollection<'scope, U> {
        self.par_do_elements(name, move |element, output| {
            f(element.value, output);
        })
    }

    /// As [`PCollection::par_do`], of elements with their event time, window and pane.
    pub fn par_do_elements<U: Data>(
        &self,
        name: &str,
        f: impl Fn(Element<T>, &mut Vec<U>) + 'static,
    ) -> PCollection<'scope, U> {
        let step = self.pipeline.step(name);
        let f = self.checked(&step, f);
        let mut made = Vec::new();
        let updates = self
            .inner
            .inner
            .clone()
            .flat_map(move |(element, epoch, diff)| {
                let shell = element.with_value(());
                f(element, &mut made);
                let values = std::mem::take(&mut made);
                let at = move |value| (shell.with_value(value), epoch, diff);
                values.into_iter().map(at)
            });
        self.with(updates.as_collection())
    }

    /// As [`PCollection::par_do`], with two outputs.
    ///
    /// ```
    /// use amend::prelude::*;
    ///
    /// amend::run(&Options::default(), |p| {
    ///     let numbers = p.create("numbers", 1..=4);
    ///     let (even, odd) = numbers.par_do_tagged("split", |n: i32, output| match n % 2 {
    ///         0 => output.main(n),
    ///         _ => output.side(format!("{n} is odd")),
    ///     });
    ///     PAssert::that("even", &even).contains_in_any_order([2, 4]);
    ///     let expected = ["1 is odd".to_owned(), "3 is odd".to_owned()];
    ///     PAssert::that("odd", &odd).contains_in_any_order(expected);
    /// })?;
    /// # Ok::<(), amend::Error>(())
    /// ```
    pub fn par_do_tagged<A: Data, B: Data>(
        &self,
        name: &str,
        f: impl Fn(T, &mut Tagged<A, B>) + 'static,
    ) -> (PCollection<'scope, A>, PCollection<'scope, B>) {
        self.pipeline.within(name, || {
            let both = self.par_do("do", move |value, output: &mut Vec<Either<A, B>>| {
                let mut tagged = Tagged {
                    main: Vec::new(),
                    side: Vec::new(),
                };
                f(value, &mut tagged);
                output.extend(tagged.main.into_iter().map(Either::Left));
                output.extend(tagged.side.into_iter().map(Either::Right));
            });
            let main = both.flat_map("main", Either::left);
            let side = both.flat_map("side", Either::right);
            (main, side)
        })
    }

    /// Makes a value of every value for which `f` can. What it fails on is a dead letter of this
    /// step, with the error as its cause; more failures than the threshold allows fail the run.
    ///
    /// ```
    /// use amend::prelude::*;
    ///
    /// amend::run(&Options::default(), |p| {
    ///     let texts = p.create("texts", ["1", "two", "3"].map(str::to_owned));
    ///     let parse = |text: String| text.parse::<i64>();
    ///     let (numbers, bad) = texts.try_map("parse", ErrorThreshold::NONE, parse);
    ///     PAssert::that("numbers", &numbers).contains_in_any_order([1, 3]);
    ///     let causes = bad.map("causes", |letter| letter.detail);
    ///     let expected = ["invalid digit found in string".to_owned()];
    ///     PAssert::that("bad", &causes).contains_in_any_order(expected);
    /// })?;
    /// # Ok::<(), amend::Error>(())
    /// ```
    pub fn try_map<U: Data, E: Display>(
        &self,
        name: &str,
        threshold: ErrorThreshold,
        f: impl Fn(T) -> Result<U, E> + 'static,
    ) -> (PCollection<'scope, U>, PCollection<'scope, DeadLetter>) {
        let step = self.pipeline.step(name);
        let counts = self.failures(&step, threshold);
        self.pipeline.within(name, || {
            let of_step = step.clone();
            let both = self.par_do_elements("try", move |element, output| {
                let copy = element.value.clone();
                output.push(match f(element.value) {
                    Ok(value) => Either::Left(value),
                    Err(cause) => Either::Right(DeadLetter::about(
                        &of_step,
                        Refusal::Failed,
                        cause.to_string(),
                        element.event_time,
                        &copy,
                    )),
                });
            });
            let fail = self.pipeline.plan.settings.fail.clone();
            let counted = both.inner.clone().inspect(move |(element, _, _)| {
                let failed = matches!(element.value, Either::Right(_));
                if let Some(error) = counts.count(failed) {
                    fail(error);
                }
            });
            let both = both.with(counted);
            let good = both.flat_map("good", Either::left);
            let bad = both.flat_map("bad", Either::right);
            let letters = bad.inner.clone().map(|element| element.value);
            let plan = &self.pipeline.plan;
            plan.dead.borrow_mut().push(letters);
            plan.dead_are_given.borrow_mut().insert(step);
            (good, bad)
        })
    }

    /// Gives every element another event time. The watermark does not follow: a time that it has
    /// passed makes the element late.
    pub fn with_event_times(&self, name: &str, f: impl Fn(&T) -> EventTime + 'static) -> Self {
        self.pipeline.step(name);
        self.with(self.inner.clone().map(move |element| Element {
            event_time: f(&element.value),
            ..element
        }))
    }

    /// Looks at every change of the collection, on the worker where it is.
    pub fn inspect(&self, name: &str, f: impl Fn(&Element<T>, isize) + 'static) -> Self {
        self.pipeline.step(name);
        self.with(
            self.inner
                .clone()
                .inspect(move |(element, _, diff)| f(element, *diff)),
        )
    }

    /// Puts a key before every value.
    pub fn with_keys<K: Key>(
        &self,
        name: &str,
        f: impl Fn(&T) -> K + 'static,
    ) -> PCollection<'scope, (K, T)> {
        self.map(name, move |value| (f(&value), value))
    }

    /// Sends elements to another worker each, so that the load of what follows is shared out anew.
    pub fn reshuffle(&self, name: &str) -> Self
    where
        T: std::hash::Hash,
    {
        use timely::dataflow::operators::Exchange;
        self.pipeline.step(name);
        let route = |(element, _, _): &(Element<T>, u64, isize)| super::stepwise::route(element);
        self.with(self.inner.inner.clone().exchange(route).as_collection())
    }

    /// `f`, run twice where the run asks for that.
    fn checked<U: Data>(
        &self,
        step: &str,
        f: impl Fn(Element<T>, &mut Vec<U>) + 'static,
    ) -> DoFn<T, U> {
        let settings = &self.pipeline.plan.settings;
        if !settings.check_determinism {
            return Box::new(f);
        }
        let fail = settings.fail.clone();
        let step = step.to_owned();
        Box::new(move |element, output| {
            let before = output.len();
            f(element.clone(), output);
            let mut again = Vec::new();
            let shown = format!("{:?}", element.value);
            f(element, &mut again);
            if output[before..] != again[..] {
                let what = format!("step \"{step}\" made two different things of {shown}");
                let hint = "a retraction runs the function again: it must not depend on time, \
                     chance or anything but the element";
                fail(Error::usage(what).with_hint(hint));
            }
        })
    }

    fn failures(&self, step: &str, threshold: ErrorThreshold) -> Failures {
        let shared = &self.pipeline.plan.settings.shared;
        let counts = shared.get(&format!("{step}/failures"), || Ok(Arc::default()));
        let failures = Failures {
            step: step.to_owned(),
            threshold,
            counts: counts.unwrap_or_else(|error| {
                self.pipeline.fail(error);
                Arc::default()
            }),
        };
        let at_end = failures.clone();
        self.pipeline
            .check_at_end(move || at_end.judge(0).map_or(Ok(()), Err));
        failures
    }
}

impl<'scope, K: Key, V: Data> PCollection<'scope, (K, V)> {
    /// The keys.
    pub fn keys(&self, name: &str) -> PCollection<'scope, K> {
        self.map(name, |(key, _)| key)
    }

    /// The values.
    pub fn values(&self, name: &str) -> PCollection<'scope, V> {
        self.map(name, |(_, value)| value)
    }

    /// Makes a value of every value, under the same key.
    pub fn map_values<U: Data>(
        &self,
        name: &str,
        f: impl Fn(V) -> U + 'static,
    ) -> PCollection<'scope, (K, U)> {
        self.map(name, move |(key, value)| (key, f(value)))
    }
}

/// Counts how often a step fails, over all workers.
#[derive(Clone)]
struct Failures {
    step: String,
    threshold: ErrorThreshold,
    counts: Arc<(AtomicU64, AtomicU64)>,
}

impl Failures {
    fn count(&self, failed: bool) -> Option<Error> {
        self.counts.0.fetch_add(1, Ordering::Relaxed);
        if !failed {
            return None;
        }
        self.counts.1.fetch_add(1, Ordering::Relaxed);
        self.judge(self.threshold.at_least)
    }

    fn judge(&self, at_least: u64) -> Option<Error> {
        let all = self.counts.0.load(Ordering::Relaxed);
        let failed = self.counts.1.load(Ordering::Relaxed);
        let too_many = all >= at_least && failed as f64 > self.threshold.share * all as f64;
        too_many.then(|| {
            let allowed = self.threshold.share * 100.0;
            Error::new(
                ErrorKind::TooManyDead,
                format!(
                    "step \"{}\" failed on {failed} of {all} elements, more than {allowed} %",
                    self.step
                ),
            )
            .with_hint("the dead letters say why; raise the threshold to go on all the same")
        })
    }
}

/// One of two.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub(super) enum Either<A, B> {
    Left(A),
    Right(B),
}

impl<A, B> Either<A, B> {
    pub(super) fn left(self) -> Option<A> {
        match self {
            Either::Left(value) => Some(value),
            Either::Right(_) => None,
        }
    }

    pub(super) fn right(self) -> Option<B> {
        match self {
            Either::Left(_) => None,
            Either::Right(value) => Some(value),
        }
    }
}
