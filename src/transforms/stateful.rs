//! Element by element with memory and timers: what Beam calls stateful ParDo.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::dead::keep_refused;
use super::group::Refused;
use super::stepwise::{self, Intake, Output, Steps, stepwise};
use crate::pcollection::{Data, Element, Key, PCollection};
use crate::time::EventTime;
use crate::windowing::grouping::Now;
use crate::windowing::{PaneInfo, Strategy, Window};

/// A function with memory, which is kept for every key and window.
///
/// Of the elements of an epoch the earliest event time comes first, then the least value: the order
/// does not depend on the number of workers.
///
/// ```
/// use amend::prelude::*;
///
/// /// Says when a sensor has been silent for a minute.
/// struct Silence;
///
/// impl StatefulDoFn<String, i64> for Silence {
///     type State = Option<i64>;
///     type Output = String;
///
///     fn process(
///         &self,
///         _: &String,
///         element: &Element<i64>,
///         last: &mut Option<i64>,
///         context: &mut Context<'_, String>,
///     ) {
///         *last = Some(element.value);
///         context.set_timer("silent", element.event_time + minutes(1));
///     }
///
///     fn on_timer(
///         &self,
///         sensor: &String,
///         _: &Timer,
///         last: &mut Option<i64>,
///         context: &mut Context<'_, String>,
///     ) {
///         context.output(format!("{sensor} is silent since {last:?}"));
///     }
/// }
///
/// let at = EventTime::from_seconds;
/// let script = TestStream::new()
///     .add_elements([(7, at(0)), (8, at(30))])
///     .advance_watermark_to(at(100))
///     .add_elements([(9, at(300))])
///     .advance_watermark_to_infinity();
/// amend::run(&Options::default(), move |p| {
///     let alarms = p
///         .read("readings", script.clone())
///         .with_keys("sensor", |_| "door".to_owned())
///         .stateful_par_do("silence", Silence);
///     PAssert::that("alarms", &alarms).contains_in_any_order([
///         "door is silent since Some(8)".to_owned(),
///         "door is silent since Some(9)".to_owned(),
///     ]);
/// })?;
/// # Ok::<(), amend::Error>(())
/// ```
pub trait StatefulDoFn<K, V>: 'static {
    /// What is remembered of a key and window.
    type State: Default + 'static;
    /// What goes out.
    type Output: Data;

    /// Takes an element.
    fn process(
        &self,
        key: &K,
        element: &Element<V>,
        state: &mut Self::State,
        context: &mut Context<'_, Self::Output>,
    );

    /// Is called when the time of a timer has come.
    fn on_timer(
        &self,
        key: &K,
        timer: &Timer,
        state: &mut Self::State,
        context: &mut Context<'_, Self::Output>,
    ) {
        let _ = (key, timer, state, context);
    }

    /// Is called when the window expires, before its state is let go.
    fn on_window_expiration(
        &self,
        key: &K,
        state: &mut Self::State,
        context: &mut Context<'_, Self::Output>,
    ) {
        let _ = (key, state, context);
    }
}

/// A timer whose time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timer {
    /// Which time it waited for.
    pub domain: TimeDomain,
    /// When it was to go off.
    pub at: EventTime,
    /// What it was called.
    pub name: &'static str,
}

/// Which time a timer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeDomain {
    /// The watermark.
    Event,
    /// The clock.
    Processing,
}

/// What a function with memory can do besides remembering.
#[derive(Debug)]
pub struct Context<'a, O> {
    window: Window,
    now: Now,
    /// The event time of what goes out.
    event_time: EventTime,
    outputs: &'a mut Vec<(O, EventTime)>,
    /// Timers that were set, or cleared where there is no time.
    timers: Vec<(TimeDomain, &'static str, Option<EventTime>)>,
}

impl<O> Context<'_, O> {
    /// Lets `value` out, at the event time of the element or timer.
    pub fn output(&mut self, value: O) {
        self.output_at(value, self.event_time);
    }

    /// Lets `value` out, with an event time of its own.
    pub fn output_at(&mut self, value: O, event_time: EventTime) {
        self.outputs.push((value, event_time));
    }

    /// Sets a timer that goes off when the watermark is at `at`. A timer of this name that waits is
    /// replaced. One that would go off when the window has expired never does.
    pub fn set_timer(&mut self, name: &'static str, at: EventTime) {
        self.timers.push((TimeDomain::Event, name, Some(at)));
    }

    /// Sets a timer that goes off when the clock is at `at`; see [`Context::clock`].
    pub fn set_processing_timer(&mut self, name: &'static str, at: EventTime) {
        self.timers.push((TimeDomain::Processing, name, Some(at)));
    }

    /// Clears the timers of this name.
    pub fn clear_timer(&mut self, name: &'static str) {
        self.timers.push((TimeDomain::Event, name, None));
        self.timers.push((TimeDomain::Processing, name, None));
    }

    /// The window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// The watermark in force.
    pub fn watermark(&self) -> EventTime {
        self.now.watermark
    }

    /// The processing time in force.
    pub fn clock(&self) -> EventTime {
        self.now.clock
    }
}

impl<'scope, K: Key, V: Data> PCollection<'scope, (K, V)> {
    /// Runs a function with memory over the elements of every key and window. It cannot take back
    /// what it has remembered, so its input must not take back elements: see
    /// [`PCollection::finalized`].
    ///
    /// **Late data.** What comes after its window has expired is a dead letter of this step.
    ///
    /// **State.** What the function remembers, until the window expires.
    pub fn stateful_par_do<F: StatefulDoFn<K, V>>(
        &self,
        name: &str,
        function: F,
    ) -> PCollection<'scope, F::Output> {
        let step = self.pipeline.step(name);
        if !self.append_only {
            self.pipeline.refuse(
                &step,
                "has memory, and its input takes elements back",
                "put .finalized(..) before it",
            );
        }
        self.refuse_unmerged(&step);
        let route = |element: &Element<(K, V)>| stepwise::route(&element.value.0);
        let remembering = Remembering {
            function,
            strategy: (*self.strategy).clone(),
            states: HashMap::default(),
            timers: BTreeSet::new(),
            clocks: BTreeSet::new(),
            expiries: BTreeMap::new(),
        };
        let (output, refused) = stepwise(&step, Intake::of(self), route, remembering);
        keep_refused(&self.pipeline, &step, refused);
        self.with(output)
    }
}

type Waiting<K> = BTreeSet<(EventTime, K, Window, &'static str)>;

struct Remembering<K, V, F: StatefulDoFn<K, V>> {
    function: F,
    strategy: Strategy,
    states: HashMap<(K, Window), Memory<F::State>, foldhash::fast::RandomState>,
    timers: Waiting<K>,
    clocks: Waiting<K>,
    expiries: BTreeMap<EventTime, BTreeSet<(K, Window)>>,
}

/// What is remembered of a key and window.
struct Memory<S> {
    state: S,
    /// Timers that wait.
    timers: BTreeMap<(TimeDomain, &'static str), EventTime>,
}

type Said<K, V, F> = Output<Element<<F as StatefulDoFn<K, V>>::Output>, Refused<(K, V)>>;

/// What calls the function.
enum Call<'a, V> {
    Element(&'a Element<V>),
    Timer(Timer),
    Expiration,
}

impl<K: Key, V: Data, F: StatefulDoFn<K, V>> Remembering<K, V, F> {
    fn call(
        &mut self,
        key: &K,
        window: Window,
        call: Call<'_, V>,
        now: Now,
        output: &mut Said<K, V, F>,
    ) {
        let place = (key.clone(), window);
        let expiry = self.strategy.expiry(window);
        let memory = self.states.entry(place.clone()).or_insert_with(|| {
            self.expiries.entry(expiry).or_default().insert(place);
            Memory {
                state: F::State::default(),
                timers: BTreeMap::new(),
            }
        });
        let last = window.max_timestamp();
        let event_time = match &call {
            Call::Element(element) => element.event_time,
            Call::Timer(timer) if timer.domain == TimeDomain::Event => timer.at.min(last),
            Call::Timer(_) => now.watermark.max(window.start).min(last),
            Call::Expiration => last,
        };
        let mut outputs = Vec::new();
        let mut context = Context {
            window,
            now,
            event_time,
            outputs: &mut outputs,
            timers: Vec::new(),
        };
        // A timer that sets itself again moves on, or it would go off for ever.
        let after = match &call {
            Call::Timer(timer) => Some((timer.domain, EventTime(timer.at.0.saturating_add(1)))),
            _ => None,
        };
        let (function, state) = (&self.function, &mut memory.state);
        match call {
            Call::Element(element) => function.process(key, element, state, &mut context),
            Call::Timer(timer) => function.on_timer(key, &timer, state, &mut context),
            Call::Expiration => function.on_window_expiration(key, state, &mut context),
        }
        for (domain, name, at) in context.timers {
            let waiting = match domain {
                TimeDomain::Event => &mut self.timers,
                TimeDomain::Processing => &mut self.clocks,
            };
            let of_name = (domain, name);
            if let Some(before) = memory.timers.remove(&of_name) {
                waiting.remove(&(before, key.clone(), window, name));
            }
            // When the window expires its state is let go, and its timers with it.
            let at = at.filter(|at| domain == TimeDomain::Processing || *at < expiry);
            if let Some(at) = at {
                let at = match after {
                    Some((of, after)) if of == domain => at.max(after),
                    _ => at,
                };
                memory.timers.insert(of_name, at);
                waiting.insert((at, key.clone(), window, name));
            }
        }
        output
            .main
            .extend(outputs.into_iter().map(|(value, event_time)| {
                let element = Element {
                    value,
                    event_time,
                    window,
                    pane: PaneInfo::NO_FIRING,
                };
                (element, 1)
            }));
    }

    /// Lets the timers go off whose time has come, in order, and then those that they have set.
    ///
    /// At the end of the input only those go off that wait already: one that sets itself again
    /// would go on to the end of time.
    fn go_off(&mut self, domain: TimeDomain, now: Now, output: &mut Said<K, V, F>) {
        let until = match domain {
            TimeDomain::Event => now.watermark,
            TimeDomain::Processing => now.clock,
        };
        let waiting = self.waiting(domain);
        let mut due: Waiting<K> = waiting
            .iter()
            .take_while(|t| t.0 <= until)
            .cloned()
            .collect();
        while let Some(timer) = due.pop_first() {
            if !self.waiting(domain).remove(&timer) {
                continue;
            }
            let (at, key, window, name) = timer;
            if let Some(memory) = self.states.get_mut(&(key.clone(), window)) {
                memory.timers.remove(&(domain, name));
            }
            let call = Call::Timer(Timer { domain, at, name });
            self.call(&key, window, call, now, output);
            if until < EventTime::MAX {
                let waiting = self.waiting(domain);
                due.extend(waiting.iter().take_while(|t| t.0 <= until).cloned());
            }
        }
    }

    fn waiting(&mut self, domain: TimeDomain) -> &mut Waiting<K> {
        match domain {
            TimeDomain::Event => &mut self.timers,
            TimeDomain::Processing => &mut self.clocks,
        }
    }
}

impl<K: Key, V: Data, F: StatefulDoFn<K, V>>
    Steps<Element<(K, V)>, Element<F::Output>, Refused<(K, V)>> for Remembering<K, V, F>
{
    fn elements(
        &mut self,
        mut changes: Vec<(Element<(K, V)>, isize)>,
        now: Now,
        output: &mut Said<K, V, F>,
    ) {
        changes.sort_by(|(a, _), (b, _)| (a.event_time, &a.value).cmp(&(b.event_time, &b.value)));
        for (element, diff) in changes {
            if now.watermark >= self.strategy.expiry(element.window) {
                output.aside.push((Refused::late(element), diff));
                continue;
            }
            let mut key = None;
            let element = element.map(|(own, value)| {
                key = Some(own);
                value
            });
            for _ in 0..diff {
                if let Some(key) = &key {
                    self.call(key, element.window, Call::Element(&element), now, output);
                }
            }
        }
    }

    fn tick(&mut self, now: Now, output: &mut Said<K, V, F>) {
        self.go_off(TimeDomain::Event, now, output);
        self.go_off(TimeDomain::Processing, now, output);
        while let Some(first) = self.expiries.first_entry() {
            if *first.key() > now.watermark {
                break;
            }
            for (key, window) in first.remove() {
                self.call(&key, window, Call::Expiration, now, output);
                if let Some(memory) = self.states.remove(&(key.clone(), window)) {
                    for ((domain, name), at) in memory.timers {
                        self.waiting(domain)
                            .remove(&(at, key.clone(), window, name));
                    }
                }
            }
        }
    }
}
