//! The windows of one key: elements, the watermark and the clock come in, panes go out.
//!
//! A bundle is taken in three steps: [`KeyWindows::merge`] (where windows merge), then
//! [`KeyWindows::add`] for every element, then [`KeyWindows::ask`] for every window that got one.
//! When time passes, [`KeyWindows::wake`] is called for the windows that asked for it.
//!
//! What a window holds is the business of a [`Fold`]; here it is decided when it is let through and
//! what is taken back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use smallvec::{SmallVec, smallvec};

use super::machine::{self, Machine, State};
use super::pane::{PaneCounter, PaneInfo, Timing};
use super::strategy::{Accumulation, ClosingBehavior, OnTimeBehavior, Strategy, TimestampCombiner};
use super::window::Window;
use crate::time::EventTime;

/// What a window holds, and what is made of it.
///
/// The order in which values come must not matter, nor how they are shared out between contents
/// that are absorbed later.
pub trait Fold {
    /// What comes in.
    type Value: Clone;
    /// What is held.
    type Content: Clone;
    /// What goes out.
    type Output: Clone;

    /// What a window holds at first.
    fn start(&self) -> Self::Content;

    /// Takes `value` in `diff` times, or out again where `diff` is negative.
    fn add(&self, content: &mut Self::Content, value: Self::Value, diff: isize);

    /// Takes in what another window held.
    fn absorb(&self, content: &mut Self::Content, other: Self::Content);

    /// What is let through, if anything is.
    fn output(&self, content: &mut Self::Content) -> Option<Self::Output>;
}

/// A strategy in the form that is run.
#[derive(Clone, Debug)]
pub struct Rules {
    strategy: Strategy,
    machine: Machine,
    merges: bool,
    /// Whether what has merged may fall apart, because elements may be taken out.
    splits: bool,
}

/// The watermark and the processing time, in microseconds, in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// No element before it is expected.
    pub watermark: EventTime,
    /// The processing time.
    pub clock: EventTime,
}

impl Default for Now {
    fn default() -> Self {
        Now {
            watermark: EventTime::MIN,
            clock: EventTime::MIN,
        }
    }
}

/// A pane that is let through, or taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fired<O> {
    /// Its window.
    pub window: Window,
    /// Its event time.
    pub event_time: EventTime,
    /// Which pane it is.
    pub pane: PaneInfo,
    /// What it holds.
    pub output: O,
    /// 1, or -1 where it is taken back.
    pub diff: isize,
}

/// When a window wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wake {
    /// When the watermark is there.
    Watermark(EventTime),
    /// When the clock is there.
    Clock(EventTime),
}

/// What one call brings about; to be drained by the caller.
#[derive(Debug)]
pub struct Effects<O> {
    /// Panes, in order.
    pub fired: Vec<Fired<O>>,
    /// Windows that want to be woken.
    pub wakes: Vec<(Wake, Window)>,
}

impl<O> Default for Effects<O> {
    fn default() -> Self {
        Effects {
            fired: Vec::new(),
            wakes: Vec::new(),
        }
    }
}

/// What became of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It was taken, into a window that got nothing in this bundle yet: ask this window later.
    First(Window),
    /// It was taken.
    Taken,
}

impl Rules {
    /// The rules of `strategy`, for elements of which none, or some, are ever taken out.
    pub fn new(strategy: Strategy, append_only: bool) -> Self {
        Rules {
            splits: strategy.merging.merges() && !append_only,
            machine: Machine::new(&strategy.trigger),
            merges: strategy.merging.merges(),
            strategy,
        }
    }

    /// Whether windows merge, so that [`KeyWindows::merge`] is to be called.
    pub fn merges(&self) -> bool {
        self.merges
    }

    /// Whether an element of `window` comes too late.
    #[inline]
    pub fn is_too_late(&self, window: Window, now: Now) -> bool {
        now.watermark >= self.strategy.expiry(window)
    }

    fn machine_now(&self, window: Window, now: Now) -> machine::Now {
        machine::Now {
            end_reached: now.watermark >= window.end,
            clock: now.clock.0,
            merging: self.merges,
        }
    }
}

/// The windows of one key.
pub struct KeyWindows<F: Fold> {
    /// In order.
    groups: Vec<(Window, Group<F>)>,
    /// Where merged windows of the bundle have gone, in order.
    merged: Vec<(Window, Window)>,
}

/// What is known of one key and window.
struct Group<F: Fold> {
    content: F::Content,
    /// Elements held, retracted ones no longer counted.
    elements: i64,
    /// What the elements of each own window are, where the window may fall apart.
    parts: BTreeMap<Window, Part<F>>,
    /// Whether something came since the last pane.
    fresh: bool,
    /// Elements that the trigger was not told of.
    untold: i64,
    state: State,
    counter: PaneCounter,
    /// Panes that the next one takes back.
    standing: SmallVec<[Standing<F::Output>; 1]>,
    /// The event time of the next pane, so far.
    hold: Option<EventTime>,
    /// Whether something came before the watermark passed the end of the window.
    was_in_time: bool,
    /// Whether the trigger is finished.
    closed: bool,
    expired: bool,
    /// Whether the last pane was produced.
    had_last: bool,
    /// The clock for which a wake was asked.
    clock: Option<i64>,
    /// The watermark for which a wake was asked.
    mark: Option<EventTime>,
    /// The watermark that the window has been told of.
    seen: EventTime,
}

/// The elements that have one and the same own window.
struct Part<F: Fold> {
    content: F::Content,
    elements: i64,
}

/// A window that becomes a part of another one.
type Member<F> = (Window, Group<F>);

#[derive(Clone, Debug)]
struct Standing<O> {
    window: Window,
    event_time: EventTime,
    pane: PaneInfo,
    output: O,
}

impl<O> Standing<O> {
    fn taken_back(self) -> Fired<O> {
        Fired {
            window: self.window,
            event_time: self.event_time,
            pane: self.pane,
            output: self.output,
            diff: -1,
        }
    }
}

impl<F: Fold> Default for KeyWindows<F> {
    fn default() -> Self {
        KeyWindows {
            groups: Vec::new(),
            merged: Vec::new(),
        }
    }
}

impl<F: Fold> fmt::Debug for KeyWindows<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.groups.iter().map(|(window, _)| window))
            .finish()
    }
}

impl<F: Fold> KeyWindows<F> {
    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Merges the windows of the key with those of a bundle's elements, none of which is too late.
    pub fn merge(
        &mut self,
        rules: &Rules,
        fold: &F,
        now: Now,
        mut arriving: Vec<Window>,
        effects: &mut Effects<F::Output>,
    ) {
        self.merged.clear();
        arriving.sort_unstable();
        arriving.dedup();
        let mut all: Vec<Window> = self.groups.iter().map(|(window, _)| *window).collect();
        all.extend(&arriving);
        all.sort_unstable();
        all.dedup();
        let merged = rules.strategy.merging.merge(&all);
        let moves: Vec<(Window, Window)> = all.into_iter().zip(merged).collect();
        let to = |window: &Window| match moves.binary_search_by_key(window, |(from, _)| *from) {
            Ok(at) => moves[at].1,
            Err(_) => *window,
        };
        self.merged = arriving.iter().map(|from| (*from, to(from))).collect();
        if self.groups.iter().all(|(window, _)| to(window) == *window) {
            return;
        }
        let mut parts: Vec<(Window, Vec<Member<F>>)> = Vec::new();
        for (window, group) in std::mem::take(&mut self.groups) {
            let result = to(&window);
            match parts.iter_mut().find(|(at, _)| *at == result) {
                Some((_, members)) => members.push((window, group)),
                None => parts.push((result, vec![(window, group)])),
            }
        }
        for (window, mut members) in parts {
            let group = if members.len() == 1 && members[0].0 == window {
                members.swap_remove(0).1
            } else {
                let mut group = Group::merged(rules, fold, now, window, members);
                group.schedule(rules, window, now, effects);
                group
            };
            self.groups.push((window, group));
        }
        self.groups.sort_unstable_by_key(|(window, _)| *window);
    }

    /// Whether the trigger of the window that an element of `window` goes to is finished.
    #[inline]
    pub fn is_closed(&self, rules: &Rules, window: Window) -> bool {
        let window = self.resolve(rules, window);
        self.position(window)
            .is_ok_and(|at| self.groups[at].1.closed)
    }

    /// The window that an element of `window` goes to.
    #[inline]
    fn resolve(&self, rules: &Rules, window: Window) -> Window {
        if rules.merges
            && let Ok(at) = self.merged.binary_search_by_key(&window, |(from, _)| *from)
        {
            return self.merged[at].1;
        }
        window
    }

    /// Takes an element that is not too late and whose window is not closed, `diff` times, or takes
    /// it out again.
    #[expect(clippy::too_many_arguments, reason = "an element is made of its parts")]
    #[inline]
    pub fn add(
        &mut self,
        rules: &Rules,
        fold: &F,
        now: Now,
        window: Window,
        event_time: EventTime,
        value: F::Value,
        diff: isize,
        effects: &mut Effects<F::Output>,
    ) -> Admission {
        let own = window;
        let window = self.resolve(rules, window);
        let at = match self.position(window) {
            Ok(at) => at,
            Err(at) => {
                let mut group = Group::new(rules, fold, now);
                group.schedule(rules, window, now, effects);
                self.groups.insert(at, (window, group));
                at
            }
        };
        let group = &mut self.groups[at].1;
        if rules.splits {
            let part = group.parts.entry(own).or_insert_with(|| Part {
                content: fold.start(),
                elements: 0,
            });
            fold.add(&mut part.content, value.clone(), diff);
            part.elements += diff as i64;
        }
        fold.add(&mut group.content, value, diff);
        group.elements += diff as i64;
        let is_first = group.untold == 0;
        group.untold += diff.unsigned_abs() as i64;
        group.was_in_time |= now.watermark < window.end;
        if diff > 0 && rules.strategy.timestamp_combiner != TimestampCombiner::EndOfWindow {
            group.hold(&rules.strategy, window, event_time, now);
        }
        if is_first {
            Admission::First(window)
        } else {
            Admission::Taken
        }
    }

    /// Asks the trigger, after all elements of a bundle were added.
    pub fn ask(
        &mut self,
        rules: &Rules,
        fold: &F,
        now: Now,
        window: Window,
        effects: &mut Effects<F::Output>,
    ) {
        let Ok(at) = self.position(window) else {
            return;
        };
        if rules.splits && self.split(rules, fold, now, at, effects) {
            return;
        }
        self.groups[at].1.ask(rules, fold, now, window, effects);
    }

    /// Takes the window at `at` apart, where its elements no longer hold it together: what was said
    /// of it is taken back, and its parts are asked. Returns whether that was so.
    fn split(
        &mut self,
        rules: &Rules,
        fold: &F,
        now: Now,
        at: usize,
        effects: &mut Effects<F::Output>,
    ) -> bool {
        let (window, group) = &mut self.groups[at];
        group.parts.retain(|_, part| part.elements != 0);
        let owns: Vec<Window> = group.parts.keys().copied().collect();
        let merged = rules.strategy.merging.merge(&owns);
        if !merged.is_empty() && merged.iter().all(|of| of == window) {
            return false;
        }
        let (_, mut whole) = self.groups.remove(at);
        let said = whole.standing.drain(..).map(Standing::taken_back);
        effects.fired.extend(said);
        let mut pieces: BTreeMap<Window, Group<F>> = BTreeMap::new();
        for ((own, part), window) in std::mem::take(&mut whole.parts).into_iter().zip(merged) {
            let piece = pieces
                .entry(window)
                .or_insert_with(|| Group::piece(rules, fold, now, window, &whole));
            fold.absorb(&mut piece.content, part.content.clone());
            piece.elements += part.elements;
            piece.parts.insert(own, part);
        }
        for (window, mut piece) in pieces {
            piece.ask(rules, fold, now, window, effects);
            if now.watermark >= rules.strategy.expiry(window) {
                piece.expire(rules, fold, now, window, effects);
            }
            if now.watermark < rules.strategy.release(window) {
                piece.schedule(rules, window, now, effects);
                let place = self.groups.partition_point(|(other, _)| *other < window);
                self.groups.insert(place, (window, piece));
            }
        }
        true
    }

    /// Asks the trigger, after the watermark or the clock has moved to where `window` wanted to be
    /// woken.
    pub fn wake(
        &mut self,
        rules: &Rules,
        fold: &F,
        now: Now,
        window: Window,
        effects: &mut Effects<F::Output>,
    ) {
        let Ok(at) = self.position(window) else {
            return;
        };
        if now.watermark >= rules.strategy.release(window) {
            let (_, mut group) = self.groups.remove(at);
            group.pass(rules, fold, now, window, effects);
            return;
        }
        let group = &mut self.groups[at].1;
        group.pass(rules, fold, now, window, effects);
        group.schedule_clock(rules, now, window, effects);
        group.schedule(rules, window, now, effects);
    }

    #[inline]
    fn position(&self, window: Window) -> Result<usize, usize> {
        // Most elements belong to the last windows.
        match self.groups.last() {
            Some((last, _)) if *last == window => Ok(self.groups.len() - 1),
            Some((last, _)) if *last < window => Err(self.groups.len()),
            _ => self.groups.binary_search_by_key(&window, |(at, _)| *at),
        }
    }
}

impl<F: Fold> Group<F> {
    fn new(rules: &Rules, fold: &F, now: Now) -> Self {
        Group {
            content: fold.start(),
            elements: 0,
            parts: BTreeMap::new(),
            fresh: false,
            untold: 0,
            state: rules.machine.start(),
            counter: PaneCounter::default(),
            standing: SmallVec::new(),
            hold: None,
            was_in_time: false,
            closed: false,
            expired: false,
            had_last: false,
            clock: None,
            mark: None,
            seen: now.watermark,
        }
    }

    /// What `members` become together, as `window`.
    fn merged(rules: &Rules, fold: &F, now: Now, window: Window, members: Vec<Member<F>>) -> Self {
        let states: Vec<State> = members.iter().map(|(_, one)| one.state.clone()).collect();
        let mut all = Group::new(rules, fold, now);
        all.state = rules.machine.merge(&states, rules.machine_now(window, now));
        all.closed = rules.machine.is_finished(&all.state);
        all.was_in_time = now.watermark < window.end;
        for (own, one) in members {
            fold.absorb(&mut all.content, one.content);
            all.elements += one.elements;
            for (own, part) in one.parts {
                match all.parts.entry(own) {
                    Entry::Vacant(entry) => {
                        entry.insert(part);
                    }
                    Entry::Occupied(mut entry) => {
                        entry.get_mut().elements += part.elements;
                        fold.absorb(&mut entry.get_mut().content, part.content);
                    }
                }
            }
            all.fresh |= one.fresh;
            all.standing.extend(one.standing);
            all.was_in_time |= one.was_in_time && !one.counter.was_on_time();
            all.hold = match (all.hold, one.hold) {
                (Some(a), Some(b)) => Some(combine(&rules.strategy, a, b)),
                (a, b) => a.or(b),
            };
            if own == window {
                // Panes are numbered on where the window was there before.
                all.counter = one.counter;
                all.was_in_time |= one.was_in_time;
            }
        }
        all
    }

    /// A piece of `whole` that is still to get its content.
    fn piece(rules: &Rules, fold: &F, now: Now, window: Window, whole: &Self) -> Self {
        let machine_now = rules.machine_now(window, now);
        let state = rules
            .machine
            .merge(std::slice::from_ref(&whole.state), machine_now);
        let was_in_time = whole.was_in_time && !whole.counter.was_on_time();
        Group {
            closed: rules.machine.is_finished(&state),
            state,
            untold: whole.untold,
            hold: whole.hold,
            was_in_time: now.watermark < window.end || was_in_time,
            ..Group::new(rules, fold, now)
        }
    }

    /// Asks the trigger, after all elements of a bundle were added.
    fn ask(
        &mut self,
        rules: &Rules,
        fold: &F,
        now: Now,
        window: Window,
        effects: &mut Effects<F::Output>,
    ) {
        let machine_now = rules.machine_now(window, now);
        let elements = std::mem::take(&mut self.untold);
        self.fresh = true;
        rules
            .machine
            .on_elements(&mut self.state, machine_now, elements);
        if rules.machine.should_fire(&self.state, machine_now) {
            self.fire(rules, fold, now, window, false, effects);
        }
        self.schedule_clock(rules, now, window, effects);
    }

    /// Lets the watermark and the clock pass.
    fn pass(
        &mut self,
        rules: &Rules,
        fold: &F,
        now: Now,
        window: Window,
        effects: &mut Effects<F::Output>,
    ) {
        self.withdraw_parts(rules, now, window, effects);
        if self.closed || self.expired {
            return;
        }
        // It is asked when something is there that it waits for, and not because of another window.
        let strategy = &rules.strategy;
        let marks = [
            window.end,
            strategy.expiry(window),
            strategy.release(window),
        ];
        let seen = std::mem::replace(&mut self.seen, now.watermark);
        let is_asked = marks
            .iter()
            .any(|mark| seen < *mark && *mark <= now.watermark)
            || self.clock.is_some_and(|clock| now.clock.0 >= clock);
        let machine_now = rules.machine_now(window, now);
        if is_asked && rules.machine.should_fire(&self.state, machine_now) {
            self.fire(rules, fold, now, window, false, effects);
        }
        if now.watermark >= rules.strategy.expiry(window) {
            self.expire(rules, fold, now, window, effects);
        }
    }

    /// Lets what is left through, for the last time.
    fn expire(
        &mut self,
        rules: &Rules,
        fold: &F,
        now: Now,
        window: Window,
        effects: &mut Effects<F::Output>,
    ) {
        self.expired = true;
        let in_any_case = rules.strategy.closing == ClosingBehavior::FireAlways;
        if !self.closed && !self.had_last && (self.fresh || in_any_case) {
            self.fire(rules, fold, now, window, true, effects);
        }
    }

    /// Produces a pane, where there is one to produce: because the trigger says so, or because the
    /// window is `closing`.
    fn fire(
        &mut self,
        rules: &Rules,
        fold: &F,
        now: Now,
        window: Window,
        closing: bool,
        effects: &mut Effects<F::Output>,
    ) {
        let strategy = &rules.strategy;
        if !closing {
            let machine_now = rules.machine_now(window, now);
            rules.machine.on_fire(&mut self.state, machine_now);
            self.closed = rules.machine.is_finished(&self.state);
        }
        let timing = if self.counter.was_on_time() {
            Timing::Late
        } else if now.watermark < window.end {
            Timing::Early
        } else if self.was_in_time {
            Timing::OnTime
        } else {
            Timing::Late
        };
        let in_any_case =
            timing == Timing::OnTime && !closing && strategy.on_time == OnTimeBehavior::FireAlways
                || (closing || self.closed) && strategy.closing == ClosingBehavior::FireAlways;
        if !self.fresh && !in_any_case {
            return;
        }
        self.fresh = false;
        let is_last = closing || self.closed || now.watermark >= strategy.expiry(window);
        let pane = self.counter.next(timing, is_last, self.closed);
        let event_time = self.hold.take().unwrap_or(window.max_timestamp());
        if strategy.accumulation == Accumulation::Retracting {
            effects
                .fired
                .extend(self.standing.drain(..).map(Standing::taken_back));
        }
        if self.elements <= 0 && strategy.accumulation != Accumulation::Discarding {
            return;
        }
        let Some(output) = fold.output(&mut self.content) else {
            return;
        };
        self.counter.count(pane);
        self.had_last = is_last;
        match strategy.accumulation {
            Accumulation::Accumulating => {}
            Accumulation::Discarding => {
                self.content = fold.start();
                self.elements = 0;
            }
            Accumulation::Retracting => {
                // A window that has had its last pane has nothing left to take back, unless it can
                // still become a part of another one.
                if !is_last || rules.merges {
                    self.standing = smallvec![Standing {
                        window,
                        event_time,
                        pane,
                        output: output.clone(),
                    }];
                }
            }
        }
        effects.fired.push(Fired {
            window,
            event_time,
            pane,
            output,
            diff: 1,
        });
    }

    fn hold(&mut self, strategy: &Strategy, window: Window, event_time: EventTime, now: Now) {
        let time = match (&strategy.output_time, strategy.timestamp_combiner) {
            (Some(output_time), TimestampCombiner::EarliestTransformed) => {
                output_time(window, event_time)
            }
            _ => event_time,
        };
        // What is behind the watermark already cannot hold the pane back.
        if time >= now.watermark {
            self.hold = Some(match self.hold {
                Some(hold) => combine(strategy, hold, time),
                None => time,
            });
        }
    }

    /// Asks for the next wake by the watermark.
    fn schedule(
        &mut self,
        rules: &Rules,
        window: Window,
        now: Now,
        effects: &mut Effects<F::Output>,
    ) {
        let strategy = &rules.strategy;
        let own = [
            window.end,
            strategy.expiry(window),
            strategy.release(window),
        ];
        let parts = self
            .standing
            .iter()
            .map(|pane| strategy.release(pane.window));
        let times = own.into_iter().chain(parts);
        let next = times.filter(|time| *time > now.watermark).min();
        if next != self.mark {
            self.mark = next;
            effects
                .wakes
                .extend(next.map(|next| (Wake::Watermark(next), window)));
        }
    }

    /// Takes back the panes of windows that have become parts of this one, before what follows can
    /// no longer take that.
    fn withdraw_parts(
        &mut self,
        rules: &Rules,
        now: Now,
        window: Window,
        effects: &mut Effects<F::Output>,
    ) {
        let strategy = &rules.strategy;
        let is_due = |pane: &Standing<F::Output>| {
            pane.window != window && now.watermark >= strategy.release(pane.window)
        };
        let (due, standing) = self.standing.drain(..).partition(is_due);
        self.standing = standing;
        let due: SmallVec<[Standing<F::Output>; 1]> = due;
        effects
            .fired
            .extend(due.into_iter().map(Standing::taken_back));
    }

    fn schedule_clock(
        &mut self,
        rules: &Rules,
        now: Now,
        window: Window,
        effects: &mut Effects<F::Output>,
    ) {
        let clock = rules.machine.next_clock(&self.state, now.clock.0);
        if clock != self.clock {
            self.clock = clock;
            if let Some(clock) = clock {
                effects.wakes.push((Wake::Clock(EventTime(clock)), window));
            }
        }
    }
}

fn combine(strategy: &Strategy, a: EventTime, b: EventTime) -> EventTime {
    match strategy.timestamp_combiner {
        TimestampCombiner::Latest => a.max(b),
        _ => a.min(b),
    }
}
