//! The operator below everything that groups by key and window: elements come in, panes go out when
//! the trigger says so.

use std::collections::{BTreeMap, HashMap};

use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};

use super::stepwise::{self, Intake, Output, Steps, stepwise};
use crate::io::dead_letter::Refusal;
use crate::pcollection::{Data, Element, Key, PCollection};
use crate::time::{Epoch, EventTime};
use crate::windowing::grouping::{Admission, Effects, Fold, KeyWindows, Now, Rules, Wake};
use crate::windowing::{Accumulation, Window};

/// An element that a grouping refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Refused<T> {
    /// The element.
    pub element: Element<T>,
    /// [`Refusal::Late`] or [`Refusal::Closed`].
    pub reason: Refusal,
}

impl<T> Refused<T> {
    /// An element that came after its window had expired.
    pub(super) fn late(element: Element<T>) -> Self {
        Refused {
            element,
            reason: Refusal::Late,
        }
    }
}

/// What a grouping refused.
pub(super) type Refusals<'scope, T> = VecCollection<'scope, Epoch, Refused<T>, isize>;

/// What a grouping lets through, and what it refused.
type Grouped<'scope, K, F> = (
    PCollection<'scope, (K, <F as Fold>::Output)>,
    Refusals<'scope, (K, <F as Fold>::Value)>,
);

type Changes<T> = [(Element<T>, isize)];

/// Groups by key and window. The strategy of the result is that of what follows a grouping.
pub(super) fn group<'scope, K: Key, F>(
    step: &str,
    input: &PCollection<'scope, (K, F::Value)>,
    fold: F,
) -> Grouped<'scope, K, F>
where
    F: Fold<Value: Data, Output: Data> + 'static,
{
    let strategy = &input.strategy;
    let pipeline = &input.pipeline;
    if strategy.accumulation == Accumulation::Discarding && !input.append_only {
        pipeline.refuse(
            step,
            "discards fired panes, and its input takes elements back",
            "put .finalized(..) before it, or use Accumulation::Retracting",
        );
    }
    if strategy.is_unsafe() && !strategy.allow_unsafe {
        let what = format!(
            "has a trigger that finishes, {}: what comes later would be set aside",
            strategy.trigger
        );
        pipeline.refuse(
            step,
            &what,
            "repeat it with .repeatedly(), or say .allow_unsafe_trigger() where you window",
        );
    }
    let intake = Intake::of(input);
    let route = |element: &Element<(K, F::Value)>| stepwise::route(&element.value.0);
    let groups = Groups::new(Rules::new((**strategy).clone(), input.append_only), fold);
    let (panes, refused) = stepwise(step, intake, route, groups);
    let mut output = input.with(panes);
    // Where a pane follows another, the first is taken back in retracting mode.
    let takes_back = strategy.accumulation == Accumulation::Retracting && !strategy.fires_once();
    output.append_only =
        !takes_back && (input.append_only || strategy.accumulation == Accumulation::Accumulating);
    output.piles_up |= match strategy.accumulation {
        Accumulation::Retracting => false,
        Accumulation::Accumulating | Accumulation::Discarding => !strategy.fires_once(),
    };
    output.strategy = strategy.continuation().into();
    (output, refused)
}

/// The groups of one worker.
struct Groups<K, F: Fold> {
    rules: Rules,
    fold: F,
    index: HashMap<K, u32, foldhash::fast::RandomState>,
    keys: Vec<Option<(K, KeyWindows<F>)>>,
    /// Places in `keys` that nobody has.
    free: Vec<u32>,
    by_watermark: BTreeMap<EventTime, Vec<(u32, Window)>>,
    by_clock: BTreeMap<EventTime, Vec<(u32, Window)>>,
    effects: Effects<F::Output>,
    /// Windows that got something in this epoch.
    touched: Vec<(u32, Window)>,
}

impl<K: Key, F: Fold> Groups<K, F> {
    fn new(rules: Rules, fold: F) -> Self {
        Groups {
            rules,
            fold,
            index: HashMap::default(),
            keys: Vec::new(),
            free: Vec::new(),
            by_watermark: BTreeMap::new(),
            by_clock: BTreeMap::new(),
            effects: Effects::default(),
            touched: Vec::new(),
        }
    }

    /// The place of a key, which is made where there is none.
    #[inline]
    fn place(&mut self, key: &K) -> u32 {
        if let Some(place) = self.index.get(key) {
            return *place;
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.keys.push(None);
                (self.keys.len() - 1) as u32
            }
        };
        self.keys[place as usize] = Some((key.clone(), KeyWindows::default()));
        self.index.insert(key.clone(), place);
        place
    }

    /// Merges the windows of the keys that `changes` are about.
    fn merge(&mut self, changes: &Changes<(K, F::Value)>, now: Now) {
        let mut arriving: Vec<(u32, Window)> = Vec::new();
        for (element, _) in changes {
            if !self.rules.is_too_late(element.window, now) {
                arriving.push((self.place(&element.value.0), element.window));
            }
        }
        arriving.sort_unstable();
        arriving.dedup();
        for of_key in arriving.chunk_by(|a, b| a.0 == b.0) {
            let place = of_key[0].0;
            let windows = of_key.iter().map(|(_, window)| *window).collect();
            if let Some((_, key_windows)) = &mut self.keys[place as usize] {
                let effects = &mut self.effects;
                key_windows.merge(&self.rules, &self.fold, now, windows, effects);
                self.keep_wakes(place);
            }
        }
    }

    /// Takes note of when the windows of a key want to be woken.
    #[inline]
    fn keep_wakes(&mut self, place: u32) {
        for (wake, window) in self.effects.wakes.drain(..) {
            let (wakes, time) = match wake {
                Wake::Watermark(time) => (&mut self.by_watermark, time),
                Wake::Clock(time) => (&mut self.by_clock, time),
            };
            wakes.entry(time).or_default().push((place, window));
        }
    }

    /// Says what the windows of a key let through.
    #[inline]
    fn tell<R>(&mut self, place: u32, output: &mut Output<Element<(K, F::Output)>, R>) {
        let Some((key, _)) = &self.keys[place as usize] else {
            return;
        };
        for fired in self.effects.fired.drain(..) {
            let element = Element {
                value: (key.clone(), fired.output),
                event_time: fired.event_time,
                window: fired.window,
                pane: fired.pane,
            };
            output.main.push((element, fired.diff));
        }
    }
}

type Panes<K, F> = Output<Element<(K, <F as Fold>::Output)>, Refused<(K, <F as Fold>::Value)>>;

impl<K, F> Steps<Element<(K, F::Value)>, Element<(K, F::Output)>, Refused<(K, F::Value)>>
    for Groups<K, F>
where
    K: Key,
    F: Fold<Value: Data, Output: Data>,
{
    fn elements(
        &mut self,
        changes: Vec<(Element<(K, F::Value)>, isize)>,
        now: Now,
        output: &mut Panes<K, F>,
    ) {
        if self.rules.merges() {
            self.merge(&changes, now);
        }
        for (element, diff) in changes {
            if self.rules.is_too_late(element.window, now) {
                output.aside.push((Refused::late(element), diff));
                continue;
            }
            let place = self.place(&element.value.0);
            let Some((_, windows)) = &mut self.keys[place as usize] else {
                continue;
            };
            let Element {
                value: (key, value),
                event_time,
                window,
                pane,
            } = element;
            // A closed window is rare: only then is the value put together again.
            if windows.is_closed(&self.rules, window) {
                let value = (key, value);
                let element = Element {
                    value,
                    event_time,
                    window,
                    pane,
                };
                let reason = Refusal::Closed;
                output.aside.push((Refused { element, reason }, diff));
                continue;
            }
            let admission = windows.add(
                &self.rules,
                &self.fold,
                now,
                window,
                event_time,
                value,
                diff,
                &mut self.effects,
            );
            if let Admission::First(window) = admission {
                self.touched.push((place, window));
            }
            if !self.effects.wakes.is_empty() {
                self.keep_wakes(place);
            }
        }
        for (place, window) in std::mem::take(&mut self.touched) {
            if let Some((_, windows)) = &mut self.keys[place as usize] {
                windows.ask(&self.rules, &self.fold, now, window, &mut self.effects);
            }
            self.keep_wakes(place);
            self.tell(place, output);
        }
    }

    fn tick(&mut self, now: Now, output: &mut Panes<K, F>) {
        let mut due = Vec::new();
        take_due(&mut self.by_clock, now.clock, &mut due);
        take_due(&mut self.by_watermark, now.watermark, &mut due);
        for (place, window) in due {
            let Some((_, windows)) = &mut self.keys[place as usize] else {
                continue;
            };
            windows.wake(&self.rules, &self.fold, now, window, &mut self.effects);
            let is_empty = windows.is_empty();
            self.keep_wakes(place);
            self.tell(place, output);
            if is_empty && let Some((key, _)) = self.keys[place as usize].take() {
                self.index.remove(&key);
                self.free.push(place);
            }
        }
    }
}

/// Moves what is due to `due`, in order.
fn take_due(
    wakes: &mut BTreeMap<EventTime, Vec<(u32, Window)>>,
    time: EventTime,
    due: &mut Vec<(u32, Window)>,
) {
    while let Some(first) = wakes.first_entry()
        && *first.key() <= time
    {
        due.append(&mut first.remove());
    }
}
