//! One key and window: what it holds, its trigger, and the panes that stand.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use smallvec::{SmallVec, smallvec};

use super::{Effects, Fired, Fold, Now, Rules, Wake};
use crate::time::EventTime;
use crate::windowing::machine::State;
use crate::windowing::pane::{PaneCounter, Timing};
use crate::windowing::strategy::{
    Accumulation, ClosingBehavior, OnTimeBehavior, Strategy, TimestampCombiner,
};
use crate::windowing::window::Window;

/// What is known of one key and window.
pub(super) struct Group<F: Fold> {
    pub(super) content: F::Content,
    /// Elements held, retracted ones no longer counted.
    pub(super) elements: i64,
    /// What the elements of each own window are, where the window may fall apart.
    pub(super) parts: BTreeMap<Window, Part<F>>,
    /// Whether something came since the last pane.
    fresh: bool,
    /// Elements that the trigger was not told of.
    pub(super) untold: i64,
    state: State,
    counter: PaneCounter,
    /// Panes that the next one takes back.
    pub(super) standing: SmallVec<[Fired<F::Output>; 1]>,
    /// The event time of the next pane, so far.
    hold: Option<EventTime>,
    /// Whether something came before the watermark passed the end of the window.
    pub(super) was_in_time: bool,
    /// Whether the trigger is finished.
    pub(super) closed: bool,
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
pub(super) struct Part<F: Fold> {
    pub(super) content: F::Content,
    pub(super) elements: i64,
}

/// A window that becomes a part of another one.
pub(super) type Member<F> = (Window, Group<F>);

impl<F: Fold> Group<F> {
    pub(super) fn new(rules: &Rules, fold: &F, now: Now) -> Self {
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
    pub(super) fn merged(
        rules: &Rules,
        fold: &F,
        now: Now,
        window: Window,
        members: Vec<Member<F>>,
    ) -> Self {
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
    pub(super) fn piece(rules: &Rules, fold: &F, now: Now, window: Window, whole: &Self) -> Self {
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
    pub(super) fn ask(
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
    pub(super) fn pass(
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
        let seen = std::mem::replace(&mut self.seen, now.watermark);
        let marks = rules.strategy.marks(window);
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
    pub(super) fn expire(
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
                .extend(self.standing.drain(..).map(Fired::taken_back));
        }
        if self.elements <= 0 && strategy.accumulation != Accumulation::Discarding {
            return;
        }
        let Some(output) = fold.output(&mut self.content) else {
            return;
        };
        self.counter.count(pane);
        self.had_last = is_last;
        let fired = Fired {
            window,
            event_time,
            pane,
            output,
            diff: 1,
        };
        match strategy.accumulation {
            Accumulation::Accumulating => {}
            Accumulation::Discarding => {
                self.content = fold.start();
                self.elements = 0;
            }
            // A window that has had its last pane has nothing left to take back, unless it can still
            // become a part of another one.
            Accumulation::Retracting if is_last && !rules.merges => {}
            Accumulation::Retracting => self.standing = smallvec![fired.clone()],
        }
        effects.fired.push(fired);
    }

    pub(super) fn hold(
        &mut self,
        strategy: &Strategy,
        window: Window,
        event_time: EventTime,
        now: Now,
    ) {
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
    pub(super) fn schedule(
        &mut self,
        rules: &Rules,
        window: Window,
        now: Now,
        effects: &mut Effects<F::Output>,
    ) {
        let strategy = &rules.strategy;
        let parts = self
            .standing
            .iter()
            .map(|pane| strategy.release(pane.window));
        let times = strategy.marks(window).into_iter().chain(parts);
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
        let is_due = |pane: &Fired<F::Output>| {
            pane.window != window && now.watermark >= strategy.release(pane.window)
        };
        let (due, standing) = self.standing.drain(..).partition(is_due);
        self.standing = standing;
        let due: SmallVec<[Fired<F::Output>; 1]> = due;
        effects.fired.extend(due.into_iter().map(Fired::taken_back));
    }

    pub(super) fn schedule_clock(
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
