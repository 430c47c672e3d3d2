//! Triggers as state machines: what a trigger remembers of one key and window, and how that
//! changes.
//!
//! The rules are those of Beam's Java runners, which the Beam model's own tests pin down. A part of
//! a trigger that has finished stays so until the repetition around it starts anew, or until a
//! merge of windows revives it.

use smallvec::{SmallVec, smallvec};

use super::trigger::Trigger;
use crate::time::micros;

/// A trigger in the form that is run: every part has a bit that says whether it is finished, and
/// parts that count or wait have a cell.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    root: Node,
    cells: usize,
    clocked: bool,
}

#[derive(Clone, Debug)]
struct Node {
    /// Its bit in [`State::finished`].
    bit: u64,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Default,
    Watermark,
    EarlyLate {
        early: Box<Node>,
        late: Option<Box<Node>>,
    },
    Count {
        cell: usize,
        elements: i64,
    },
    Clock {
        cell: usize,
        delay_us: i64,
        align_us: Option<i64>,
    },
    Repeatedly(Box<Node>),
    Any(Vec<Node>),
    All(Vec<Node>),
    Each(Vec<Node>),
    OrFinally(Box<Node>, Box<Node>),
    Always,
    Never,
}

/// What a trigger remembers of one key and window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    finished: u64,
    cells: SmallVec<[i64; 2]>,
}

/// A cell of a clock that is not set.
const UNSET: i64 = i64::MIN;

/// What a trigger is told when it is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Whether the watermark has passed the end of the window.
    pub(super) end_reached: bool,
    /// The processing time, in microseconds.
    pub(super) clock: i64,
    /// Whether windows may merge, so that parts that are finished may be revived.
    pub(super) merging: bool,
}

impl Machine {
    pub(super) fn new(trigger: &Trigger) -> Self {
        let mut builder = Builder {
            bits: 0,
            cells: 0,
            clocked: false,
        };
        let root = builder.node(trigger);
        Machine {
            root,
            cells: builder.cells,
            clocked: builder.clocked,
        }
    }

    /// The state of a window that was never seen.
    pub(super) fn start(&self) -> State {
        let mut state = State {
            finished: 0,
            cells: smallvec![0; self.cells],
        };
        self.root.clear(&mut state);
        state
    }

    /// Whether the trigger is finished and the window closed.
    pub(super) fn is_finished(&self, state: &State) -> bool {
        self.root.is_finished(state)
    }

    /// Takes note of `elements` new ones.
    pub(super) fn on_elements(&self, state: &mut State, now: Now, elements: i64) {
        self.root.on_elements(state, now, elements);
    }

    /// Whether a pane is to be produced.
    pub(super) fn should_fire(&self, state: &State, now: Now) -> bool {
        self.root.should_fire(state, now)
    }

    /// Takes note that a pane was produced, as [`Machine::should_fire`] asked for.
    pub(super) fn on_fire(&self, state: &mut State, now: Now) {
        self.root.on_fire(state, now);
    }

    /// The state of a window that others were merged into.
    pub(super) fn merge(&self, merged: &[State], now: Now) -> State {
        let mut state = self.start();
        self.root.on_merge(&mut state, merged, now);
        state
    }

    /// When the clock is to wake the window next, after `clock`, if it is.
    pub(super) fn next_clock(&self, state: &State, clock: i64) -> Option<i64> {
        if !self.clocked {
            return None;
        }
        self.root.next_clock(state, clock)
    }
}

struct Builder {
    bits: u32,
    cells: usize,
    clocked: bool,
}

impl Builder {
    fn node(&mut self, trigger: &Trigger) -> Node {
        assert!(self.bits < 64, "a trigger has at most 64 parts");
        let bit = 1 << self.bits;
        self.bits += 1;
        let kind = match trigger {
            Trigger::Default => Kind::Default,
            Trigger::AfterWatermark {
                early: None,
                late: None,
            } => Kind::Watermark,
            Trigger::AfterWatermark { early, late } => Kind::EarlyLate {
                early: self.boxed(early.as_deref().unwrap_or(&Trigger::Never)),
                late: late.as_deref().map(|late| self.boxed(late)),
            },
            Trigger::AfterCount(elements) => Kind::Count {
                cell: self.cell(),
                elements: i64::try_from(*elements).unwrap_or(i64::MAX),
            },
            Trigger::AfterProcessingTime { delay, align } => {
                self.clocked = true;
                Kind::Clock {
                    cell: self.cell(),
                    delay_us: micros(*delay),
                    align_us: align.map(micros),
                }
            }
            Trigger::Repeatedly(part) => Kind::Repeatedly(self.boxed(part)),
            Trigger::AfterAny(parts) => Kind::Any(self.nodes(parts)),
            Trigger::AfterAll(parts) => Kind::All(self.nodes(parts)),
            Trigger::AfterEach(parts) => Kind::Each(self.nodes(parts)),
            Trigger::OrFinally(body, until) => Kind::OrFinally(self.boxed(body), self.boxed(until)),
            Trigger::Always => Kind::Always,
            Trigger::Never => Kind::Never,
        };
        Node { bit, kind }
    }

    fn boxed(&mut self, trigger: &Trigger) -> Box<Node> {
        Box::new(self.node(trigger))
    }

    fn nodes(&mut self, triggers: &[Trigger]) -> Vec<Node> {
        triggers.iter().map(|part| self.node(part)).collect()
    }

    fn cell(&mut self) -> usize {
        self.cells += 1;
        self.cells - 1
    }
}

impl Node {
    fn is_finished(&self, state: &State) -> bool {
        state.finished & self.bit != 0
    }

    fn set_finished(&self, state: &mut State, finished: bool) {
        if finished {
            state.finished |= self.bit;
        } else {
            state.finished &= !self.bit;
        }
    }

    fn parts(&self) -> SmallVec<[&Node; 4]> {
        match &self.kind {
            Kind::EarlyLate { early, late } => {
                let mut parts = smallvec![&**early];
                parts.extend(late.as_deref());
                parts
            }
            Kind::Repeatedly(part) => smallvec![&**part],
            Kind::Any(parts) | Kind::All(parts) | Kind::Each(parts) => parts.iter().collect(),
            Kind::OrFinally(body, until) => smallvec![&**body, &**until],
            Kind::Default
            | Kind::Watermark
            | Kind::Count { .. }
            | Kind::Clock { .. }
            | Kind::Always
            | Kind::Never => SmallVec::new(),
        }
    }

    fn on_elements(&self, state: &mut State, now: Now, elements: i64) {
        match &self.kind {
            Kind::Default | Kind::Watermark | Kind::Always | Kind::Never => {}
            Kind::Count { cell, .. } => state.cells[*cell] += elements,
            Kind::Clock {
                cell,
                delay_us,
                align_us,
            } => {
                let cell = &mut state.cells[*cell];
                if *cell == UNSET {
                    *cell = align(now.clock.saturating_add(*delay_us), *align_us);
                }
            }
            Kind::Repeatedly(part) => part.on_elements(state, now, elements),
            Kind::Any(_) | Kind::OrFinally(..) => {
                for part in self.parts() {
                    part.on_elements(state, now, elements);
                }
            }
            Kind::All(parts) => {
                for part in parts {
                    if !part.is_finished(state) {
                        part.on_elements(state, now, elements);
                    }
                }
            }
            // A part that is not at work yet need not know, unless a merge may put it to work.
            Kind::Each(_) | Kind::EarlyLate { .. } => {
                for part in self.parts() {
                    if now.merging {
                        part.on_elements(state, now, elements);
                    } else if !part.is_finished(state) {
                        part.on_elements(state, now, elements);
                        break;
                    }
                }
            }
        }
    }

    fn should_fire(&self, state: &State, now: Now) -> bool {
        match &self.kind {
            Kind::Default | Kind::Watermark => now.end_reached,
            Kind::Count { cell, elements } => state.cells[*cell] >= *elements,
            Kind::Clock { cell, .. } => {
                let target = state.cells[*cell];
                target != UNSET && now.clock >= target
            }
            Kind::EarlyLate { early, late } => {
                if !early.is_finished(state) {
                    now.end_reached || early.should_fire(state, now)
                } else {
                    late.as_ref()
                        .is_some_and(|late| late.should_fire(state, now))
                }
            }
            Kind::Repeatedly(part) => part.should_fire(state, now),
            Kind::Any(parts) => parts
                .iter()
                .any(|part| part.is_finished(state) || part.should_fire(state, now)),
            Kind::All(parts) => parts
                .iter()
                .all(|part| part.is_finished(state) || part.should_fire(state, now)),
            Kind::Each(parts) => parts
                .iter()
                .find(|part| !part.is_finished(state))
                .is_some_and(|part| part.should_fire(state, now)),
            Kind::OrFinally(body, until) => {
                body.should_fire(state, now) || until.should_fire(state, now)
            }
            Kind::Always => true,
            Kind::Never => false,
        }
    }

    fn on_fire(&self, state: &mut State, now: Now) {
        match &self.kind {
            Kind::Default | Kind::Always | Kind::Never => {}
            Kind::Watermark => self.set_finished(state, true),
            Kind::Count { .. } | Kind::Clock { .. } => {
                self.clear(state);
                self.set_finished(state, true);
            }
            Kind::EarlyLate { early, late } => {
                if early.is_finished(state) {
                    match late {
                        Some(late) => {
                            late.on_fire(state, now);
                            late.reset(state);
                        }
                        None => self.set_finished(state, true),
                    }
                } else if now.end_reached {
                    early.reset(state);
                    early.set_finished(state, true);
                    match late {
                        // Where windows merge it has counted along.
                        Some(late) => late.reset(state),
                        None => self.set_finished(state, true),
                    }
                } else {
                    early.on_fire(state, now);
                    early.reset(state);
                }
            }
            Kind::Repeatedly(part) => {
                part.on_fire(state, now);
                if part.is_finished(state) {
                    part.reset(state);
                }
            }
            Kind::Any(parts) => {
                for part in parts {
                    if part.should_fire(state, now) {
                        part.on_fire(state, now);
                    } else {
                        // The pane that it was waiting with is gone all the same.
                        part.clear(state);
                    }
                }
                self.set_finished(state, true);
            }
            Kind::All(parts) => {
                for part in parts {
                    part.on_fire(state, now);
                }
                self.set_finished(state, true);
            }
            Kind::Each(parts) => {
                if let Some(part) = parts.iter().find(|part| !part.is_finished(state)) {
                    part.on_fire(state, now);
                }
                if now.merging {
                    for part in parts {
                        part.clear(state);
                    }
                }
                let all = parts.iter().all(|part| part.is_finished(state));
                self.set_finished(state, all);
            }
            Kind::OrFinally(body, until) => {
                if until.should_fire(state, now) {
                    until.on_fire(state, now);
                    body.clear(state);
                } else {
                    // What `until` has counted goes on over the firings of the other.
                    body.on_fire(state, now);
                }
                let any = body.is_finished(state) || until.is_finished(state);
                self.set_finished(state, any);
            }
        }
    }

    /// Merges what is remembered of `merged` into `state`, which is fresh.
    fn on_merge(&self, state: &mut State, merged: &[State], now: Now) {
        let in_any = merged.iter().any(|one| self.is_finished(one));
        let in_all = merged.iter().all(|one| self.is_finished(one));
        match &self.kind {
            Kind::Default | Kind::Always | Kind::Never => {}
            Kind::Watermark => self.set_finished(state, in_all && now.end_reached),
            Kind::Count { .. } | Kind::Clock { .. } if in_any => self.set_finished(state, true),
            Kind::Count { cell, .. } => {
                state.cells[*cell] = merged.iter().map(|one| one.cells[*cell]).sum();
            }
            Kind::Clock { cell, .. } => {
                let set = merged.iter().map(|one| one.cells[*cell]);
                let earliest = set.filter(|target| *target != UNSET).min();
                state.cells[*cell] = earliest.unwrap_or(UNSET);
            }
            Kind::EarlyLate { early, late } => {
                // As long as the end was not passed by all of them, something of the merged window
                // has had no chance to fire on time.
                let passed = merged.iter().all(|one| early.is_finished(one));
                if passed && now.end_reached {
                    early.set_finished(state, true);
                    match late {
                        Some(late) => late.on_merge(state, merged, now),
                        None => self.set_finished(state, true),
                    }
                } else {
                    early.on_merge(state, merged, now);
                    early.set_finished(state, false);
                }
            }
            Kind::Repeatedly(part) => part.on_merge(state, merged, now),
            Kind::Any(parts) => {
                parts
                    .iter()
                    .for_each(|part| part.on_merge(state, merged, now));
                let any = parts.iter().any(|part| part.is_finished(state));
                self.set_finished(state, any);
            }
            Kind::All(parts) => {
                parts
                    .iter()
                    .for_each(|part| part.on_merge(state, merged, now));
                let all = parts.iter().all(|part| part.is_finished(state));
                self.set_finished(state, all);
            }
            Kind::Each(parts) => {
                // What comes after a part that is revived has not begun.
                for part in parts {
                    part.on_merge(state, merged, now);
                    if !part.is_finished(state) {
                        break;
                    }
                }
                let all = parts.iter().all(|part| part.is_finished(state));
                self.set_finished(state, all);
            }
            Kind::OrFinally(body, until) => {
                body.on_merge(state, merged, now);
                until.on_merge(state, merged, now);
                let any = body.is_finished(state) || until.is_finished(state);
                self.set_finished(state, any);
            }
        }
    }

    /// Forgets what was counted and waited for.
    fn clear(&self, state: &mut State) {
        match &self.kind {
            Kind::Count { cell, .. } => state.cells[*cell] = 0,
            Kind::Clock { cell, .. } => state.cells[*cell] = UNSET,
            _ => self.parts().iter().for_each(|part| part.clear(state)),
        }
    }

    /// Starts anew.
    fn reset(&self, state: &mut State) {
        self.clear(state);
        self.unfinish(state);
    }

    fn unfinish(&self, state: &mut State) {
        self.set_finished(state, false);
        self.parts().iter().for_each(|part| part.unfinish(state));
    }

    fn next_clock(&self, state: &State, clock: i64) -> Option<i64> {
        match &self.kind {
            Kind::Clock { cell, .. } => {
                let target = state.cells[*cell];
                (target != UNSET && target > clock).then_some(target)
            }
            _ => self
                .parts()
                .iter()
                .filter_map(|part| part.next_clock(state, clock))
                .min(),
        }
    }
}

/// The smallest multiple of `period` that is not before `time`.
fn align(time: i64, period: Option<i64>) -> i64 {
    let Some(period) = period else { return time };
    match time.rem_euclid(period) {
        0 => time,
        past => time.saturating_add(period - past),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::windowing::Trigger;

    /// Runs a script: a number brings that many elements, `c5` moves the clock by 5, `w` passes
    /// the end of the window. After each, `!` stands for a firing and `.` for none; `#` says that
    /// the trigger is finished.
    #[track_caller]
    fn check(trigger: Trigger, script: &str, expected: &str) {
        let machine = Machine::new(&trigger);
        let mut state = machine.start();
        let mut now = Now {
            end_reached: false,
            clock: 0,
            merging: false,
        };
        let mut got = String::new();
        for step in script.split(' ') {
            match (step, step.strip_prefix('c')) {
                ("w", _) => now.end_reached = true,
                (_, Some(by)) => now.clock += by.parse::<i64>().unwrap(),
                (elements, None) => {
                    machine.on_elements(&mut state, now, elements.parse().unwrap());
                }
            }
            if machine.should_fire(&state, now) {
                machine.on_fire(&mut state, now);
                got.push('!');
            } else {
                got.push('.');
            }
            if machine.is_finished(&state) {
                got.push('#');
                break;
            }
        }
        assert_eq!(got, expected, "{trigger}: {script}");
    }

    fn count(elements: u64) -> Trigger {
        Trigger::after_count(elements)
    }

    fn delay(us: u64) -> Trigger {
        Trigger::after_processing_time(Duration::from_micros(us))
    }

    #[test]
    fn single_triggers() {
        check(Trigger::Default, "1 w 1 1", ".!!!");
        check(Trigger::after_watermark(), "1 w", ".!#");
        check(count(2), "1 1", ".!#");
        check(count(2), "3", "!#");
        check(delay(5), "1 c4 1 c1", "...!#");
        check(
            Trigger::at_period(Duration::from_micros(10)),
            "c3 1 c6 c1",
            "...!#",
        );
        check(Trigger::Always, "1 1", "!!");
        check(Trigger::Never, "1 w 1", "...");
    }

    #[test]
    fn early_and_late_are_repeated() {
        let trigger = Trigger::after_watermark().early(count(2)).late(count(3));
        check(trigger, "1 1 2 1 w 1 2 3", ".!!.!.!!");
        check(Trigger::after_watermark().early(count(2)), "2 1 w", "!.!#");
        check(Trigger::after_watermark().late(count(1)), "2 w 1 1", ".!!!");
    }

    #[test]
    fn composites() {
        let any = Trigger::AfterAny(vec![count(3), delay(5)]);
        check(any.clone(), "1 c5", ".!#");
        check(any.repeatedly(), "1 c5 2 1 c4 c5 1 c5", ".!.!...!");
        let all = Trigger::AfterAll(vec![count(3), delay(5)]);
        check(all.clone(), "1 c5 1 1", "...!#");
        check(all.repeatedly(), "3 c5 3 c4 c1", ".!..!");
        let each = Trigger::AfterEach(vec![count(1), count(2), count(3)]);
        check(each, "1 1 1 1 1 1", "!.!..!#");
        let until = count(2).repeatedly().or_finally(count(5));
        check(until, "1 1 1 1 1", ".!.!!#");
        let figure_13 = Trigger::AfterEach(vec![
            delay(10)
                .repeatedly()
                .or_finally(Trigger::after_watermark()),
            Trigger::after_watermark().repeatedly(),
        ]);
        check(figure_13, "1 c10 1 c9 c1 w 1 1", ".!..!!!!");
    }

    #[test]
    fn a_merge_adds_up_and_revives() {
        let trigger = Trigger::after_watermark().early(count(3)).late(count(2));
        let machine = Machine::new(&trigger);
        let open = Now {
            end_reached: false,
            clock: 0,
            merging: true,
        };
        let passed = Now {
            end_reached: true,
            ..open
        };
        let (mut one, mut two) = (machine.start(), machine.start());
        machine.on_elements(&mut one, open, 2);
        machine.on_elements(&mut two, open, 1);
        let merged = machine.merge(&[one.clone(), two.clone()], open);
        assert!(machine.should_fire(&merged, open));
        machine.on_fire(&mut one, passed);
        assert!(
            !machine.should_fire(&one, passed),
            "it waits for late elements"
        );
        let revived = machine.merge(std::slice::from_ref(&one), open);
        assert!(
            machine.should_fire(&revived, passed),
            "the end is yet to be passed"
        );
        machine.on_fire(&mut two, passed);
        let both = machine.merge(&[one, two], passed);
        assert!(!machine.should_fire(&both, passed));
    }
}
