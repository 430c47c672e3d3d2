//! A naive model of Beam's windows, triggers and panes: loops over vectors, no code of the engine.
//!
//! It is slow on purpose: every window keeps every element that it ever got, and every question is
//! answered by looking at all of them. What the engine says is compared with it, pane for pane.

mod cases;

use std::collections::BTreeMap;
use std::time::Duration;

use amend::windowing::{
    Accumulation, ClosingBehavior, OnTimeBehavior, TimestampCombiner, Trigger, Window,
};

use crate::workload::Random;

/// Start and end, the end exclusive.
pub(crate) type Span = (i64, i64);

/// Key, value, event time, and +1, or -1 that takes an equal earlier element out again.
pub(crate) type Element = (i64, i64, i64, isize);

/// Which windows an element falls into; all in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Windows {
    Global,
    Fixed {
        size: i64,
        offset: i64,
    },
    /// An element falls into all windows that hold it, which may be none.
    Sliding {
        size: i64,
        period: i64,
    },
    /// `touching`: sessions are one even where one begins just where the other ends.
    Sessions {
        gap: i64,
        touching: bool,
    },
}

impl Windows {
    fn merges(self) -> bool {
        matches!(self, Windows::Sessions { .. })
    }

    /// The windows of an element, before any merging.
    pub(crate) fn of(self, time: i64) -> Vec<Span> {
        match self {
            Windows::Global => vec![(Window::GLOBAL.start.0, Window::GLOBAL.end.0)],
            Windows::Fixed { size, offset } => {
                let start = time - (time - offset).rem_euclid(size);
                vec![(start, start + size)]
            }
            Windows::Sliding { size, period } => {
                let mut all = Vec::new();
                let mut start = time - time.rem_euclid(period);
                while start + size > time {
                    all.push((start, start + size));
                    start -= period;
                }
                all
            }
            Windows::Sessions { gap, .. } => vec![(time, time + gap)],
        }
    }

    /// What is left of spans when all that belong together are one.
    fn merged(self, mut spans: Vec<Span>) -> Vec<Span> {
        let Windows::Sessions { touching, .. } = self else {
            return spans;
        };
        let together = |a: Span, b: Span| {
            if touching {
                a.0 <= b.1 && b.0 <= a.1
            } else {
                a.0 < b.1 && b.0 < a.1
            }
        };
        'again: loop {
            for one in 0..spans.len() {
                for other in one + 1..spans.len() {
                    if together(spans[one], spans[other]) {
                        let gone = spans.remove(other);
                        spans[one] = (spans[one].0.min(gone.0), spans[one].1.max(gone.1));
                        continue 'again;
                    }
                }
            }
            return spans;
        }
    }
}

fn holds(outer: Span, inner: Span) -> bool {
    outer.0 <= inner.0 && inner.1 <= outer.1
}

/// How elements are grouped.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) windows: Windows,
    pub(crate) trigger: Trigger,
    pub(crate) accumulation: Accumulation,
    pub(crate) allowed_lateness: i64,
    /// `EarliestTransformed` is taken for `Earliest`: the model knows no output times.
    pub(crate) combiner: TimestampCombiner,
    pub(crate) on_time: OnTimeBehavior,
    pub(crate) closing: ClosingBehavior,
}

impl Setup {
    fn expiry(&self, window: Span) -> i64 {
        window.1.saturating_add(self.allowed_lateness)
    }

    /// An expired session is known for one more gap, so that an element that is just in time
    /// still finds what it overlaps.
    fn release(&self, window: Span) -> i64 {
        match self.windows {
            Windows::Sessions { gap, .. } => self.expiry(window).saturating_add(gap),
            _ => self.expiry(window),
        }
    }
}

/// What happens to the model.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A bundle: triggers are asked when all of it is there.
    Elements(Vec<Element>),
    Watermark(i64),
    /// The instant, not the step.
    Clock(i64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timing {
    Early,
    OnTime,
    Late,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pane {
    pub(crate) key: i64,
    pub(crate) window: Span,
    /// A sorted multiset.
    pub(crate) values: Vec<i64>,
    /// As `values`: what the pane holds less than none of. A discarding pane takes out what an
    /// earlier one let through; elsewhere it is empty, unless an element was refused that was
    /// taken out after all.
    pub(crate) taken: Vec<i64>,
    pub(crate) timestamp: i64,
    pub(crate) timing: Timing,
    pub(crate) index: u32,
    pub(crate) nonspeculative: i32,
    pub(crate) is_last: bool,
    /// The trigger is finished.
    pub(crate) is_closed: bool,
    /// +1, or -1 for a retraction.
    pub(crate) diff: isize,
}

/// What an action led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// By key and window; the retractions of a firing come before its pane.
    pub(crate) panes: Vec<Pane>,
    /// Refused elements, once for each window that refused: first those that came too late, in
    /// their order, then those for closed windows, by key.
    pub(crate) late: Vec<Element>,
}

/// What a trigger may know when it is asked.
#[derive(Clone, Copy)]
struct Now {
    clock: i64,
    /// Of the window that asks.
    end_reached: bool,
    merging: bool,
}

/// The state of a trigger, and of its parts.
#[derive(Clone, Debug)]
struct Node {
    rule: Trigger,
    finished: bool,
    count: u64,
    target: Option<i64>,
    /// Of `AfterWatermark`: none where it is plain; else early, then late where there is one.
    parts: Vec<Node>,
}

impl Node {
    fn new(rule: &Trigger) -> Node {
        let parts: Vec<Trigger> = match rule {
            Trigger::AfterWatermark {
                early: None,
                late: None,
            } => vec![],
            Trigger::AfterWatermark { early, late } => {
                let early = early.as_deref().cloned().unwrap_or(Trigger::Never);
                let late = late.as_deref().cloned();
                std::iter::once(early).chain(late).collect()
            }
            Trigger::Repeatedly(part) => vec![(**part).clone()],
            Trigger::AfterAny(parts) | Trigger::AfterAll(parts) | Trigger::AfterEach(parts) => {
                parts.clone()
            }
            Trigger::OrFinally(body, until) => vec![(**body).clone(), (**until).clone()],
            _ => vec![],
        };
        Node {
            rule: rule.clone(),
            finished: false,
            count: 0,
            target: None,
            parts: parts.iter().map(Node::new).collect(),
        }
    }

    fn first_unfinished(&mut self) -> Option<&mut Node> {
        self.parts.iter_mut().find(|part| !part.finished)
    }

    fn on_elements(&mut self, elements: u64, now: Now) {
        match &self.rule {
            Trigger::AfterCount(_) => self.count += elements,
            Trigger::AfterProcessingTime { delay, align } => {
                if self.target.is_none() {
                    let target = now.clock.saturating_add(delay.as_micros() as i64);
                    self.target = Some(match align {
                        None => target,
                        Some(align) => aligned(target, align.as_micros() as i64),
                    });
                }
            }
            Trigger::AfterAll(_) => {
                for part in self.parts.iter_mut().filter(|part| !part.finished) {
                    part.on_elements(elements, now);
                }
            }
            // Where windows merge, any part may turn out to be the current one.
            Trigger::AfterEach(_) | Trigger::AfterWatermark { .. } if !now.merging => {
                if let Some(part) = self.first_unfinished() {
                    part.on_elements(elements, now);
                }
            }
            _ => {
                for part in &mut self.parts {
                    part.on_elements(elements, now);
                }
            }
        }
    }

    fn should_fire(&self, now: Now) -> bool {
        match &self.rule {
            Trigger::Default => now.end_reached,
            Trigger::AfterWatermark { .. } if self.parts.is_empty() => now.end_reached,
            Trigger::AfterWatermark { .. } => {
                if !self.parts[0].finished {
                    self.parts[0].should_fire(now) || now.end_reached
                } else {
                    self.parts.len() > 1 && self.parts[1].should_fire(now)
                }
            }
            Trigger::AfterCount(elements) => self.count >= *elements,
            Trigger::AfterProcessingTime { .. } => {
                self.target.is_some_and(|target| now.clock >= target)
            }
            Trigger::Repeatedly(_) => self.parts[0].should_fire(now),
            Trigger::AfterAny(_) => self.parts.iter().any(|p| p.finished || p.should_fire(now)),
            Trigger::AfterAll(_) => self.parts.iter().all(|p| p.finished || p.should_fire(now)),
            Trigger::AfterEach(_) => {
                let current = self.parts.iter().find(|part| !part.finished);
                current.is_some_and(|part| part.should_fire(now))
            }
            Trigger::OrFinally(..) => self.parts.iter().any(|part| part.should_fire(now)),
            Trigger::Always => true,
            Trigger::Never => false,
        }
    }

    fn on_fire(&mut self, now: Now) {
        match &self.rule {
            Trigger::Default | Trigger::Always | Trigger::Never => {}
            Trigger::AfterWatermark { .. } if self.parts.is_empty() => self.finished = true,
            Trigger::AfterWatermark { .. } => {
                if self.parts[0].finished {
                    match self.parts.get_mut(1) {
                        Some(late) => {
                            late.on_fire(now);
                            late.reset();
                        }
                        None => self.finished = true,
                    }
                } else if now.end_reached {
                    self.parts[0].reset();
                    self.parts[0].finished = true;
                    match self.parts.get_mut(1) {
                        Some(late) => late.reset(),
                        None => self.finished = true,
                    }
                } else {
                    self.parts[0].on_fire(now);
                    self.parts[0].reset();
                }
            }
            Trigger::AfterCount(_) | Trigger::AfterProcessingTime { .. } => {
                self.clear();
                self.finished = true;
            }
            Trigger::Repeatedly(_) => {
                self.parts[0].on_fire(now);
                if self.parts[0].finished {
                    self.parts[0].reset();
                }
            }
            Trigger::AfterAny(_) => {
                for part in &mut self.parts {
                    if part.should_fire(now) {
                        part.on_fire(now);
                    } else {
                        part.clear();
                    }
                }
                self.finished = true;
            }
            Trigger::AfterAll(_) => {
                for part in &mut self.parts {
                    part.on_fire(now);
                }
                self.finished = true;
            }
            Trigger::AfterEach(_) => {
                if let Some(part) = self.first_unfinished() {
                    part.on_fire(now);
                }
                if now.merging {
                    for part in &mut self.parts {
                        part.clear();
                    }
                }
                self.finished = self.parts.iter().all(|part| part.finished);
            }
            Trigger::OrFinally(..) => {
                if self.parts[1].should_fire(now) {
                    self.parts[1].on_fire(now);
                    self.parts[0].clear();
                } else {
                    self.parts[0].on_fire(now);
                }
                self.finished = self.parts.iter().any(|part| part.finished);
            }
        }
    }

    /// Forgets counts and targets, but not what is finished.
    fn clear(&mut self) {
        self.count = 0;
        self.target = None;
        for part in &mut self.parts {
            part.clear();
        }
    }

    /// As if nothing had ever come.
    fn reset(&mut self) {
        *self = Node::new(&self.rule);
    }

    /// The trigger of a window that several windows, or one that was smaller, have become.
    fn merged(rule: &Trigger, from: &[&Node], end_reached: bool) -> Node {
        let mut node = Node::new(rule);
        let part = |node: &Node, nth: usize| {
            let from: Vec<&Node> = from.iter().map(|whole| &whole.parts[nth]).collect();
            Node::merged(&node.parts[nth].rule, &from, end_reached)
        };
        match rule {
            Trigger::Default | Trigger::Always | Trigger::Never => {}
            Trigger::AfterWatermark { .. } if node.parts.is_empty() => {
                node.finished = end_reached && from.iter().all(|whole| whole.finished);
            }
            Trigger::AfterWatermark { .. } => {
                if end_reached && from.iter().all(|whole| whole.parts[0].finished) {
                    node.parts[0].finished = true;
                    if node.parts.len() > 1 {
                        node.parts[1] = part(&node, 1);
                    } else {
                        node.finished = true;
                    }
                } else {
                    node.parts[0] = part(&node, 0);
                    node.parts[0].finished = false;
                }
            }
            Trigger::AfterCount(_) => {
                node.finished = from.iter().any(|whole| whole.finished);
                if !node.finished {
                    node.count = from.iter().map(|whole| whole.count).sum();
                }
            }
            Trigger::AfterProcessingTime { .. } => {
                node.finished = from.iter().any(|whole| whole.finished);
                if !node.finished {
                    node.target = from.iter().filter_map(|whole| whole.target).min();
                }
            }
            Trigger::Repeatedly(_) => node.parts[0] = part(&node, 0),
            Trigger::AfterEach(_) => {
                for nth in 0..node.parts.len() {
                    node.parts[nth] = part(&node, nth);
                    if !node.parts[nth].finished {
                        break;
                    }
                }
                node.finished = node.parts.iter().all(|part| part.finished);
            }
            Trigger::AfterAny(_) | Trigger::AfterAll(_) | Trigger::OrFinally(..) => {
                for nth in 0..node.parts.len() {
                    node.parts[nth] = part(&node, nth);
                }
                node.finished = match rule {
                    Trigger::AfterAll(_) => node.parts.iter().all(|part| part.finished),
                    _ => node.parts.iter().any(|part| part.finished),
                };
            }
        }
        node
    }

    /// The earliest clock target anywhere in the trigger.
    fn earliest_target(&self) -> Option<i64> {
        let parts = self.parts.iter().filter_map(Node::earliest_target);
        self.target.into_iter().chain(parts).min()
    }
}

/// The first multiple of `step` that is not before `time`.
fn aligned(time: i64, step: i64) -> i64 {
    let (time, step) = (i128::from(time), i128::from(step));
    let up = (step - time.rem_euclid(step)) % step;
    i64::try_from(time + up).unwrap_or(i64::MAX)
}

/// A key's window that something came for.
#[derive(Clone, Debug)]
struct State {
    window: Span,
    trigger: Node,
    /// Everything that ever came: value and diff.
    all: Vec<(i64, isize)>,
    /// Of sessions whose elements may be taken out: value and diff with the element's own window.
    parts: Vec<(Span, i64, isize)>,
    /// What came since the last pane.
    since: Vec<(i64, isize)>,
    /// Whether something came since the last pane.
    fresh: bool,
    /// Event times since the last pane that were not behind the watermark.
    held: Vec<i64>,
    /// Whether something came, or windows were merged into this one, before its end was reached.
    in_time: bool,
    /// Panes that the next one takes back.
    standing: Vec<Pane>,
    panes: u32,
    panes_after_early: u32,
    expired: bool,
    had_last: bool,
}

impl State {
    fn new(window: Span, trigger: &Trigger) -> State {
        State {
            window,
            trigger: Node::new(trigger),
            all: Vec::new(),
            parts: Vec::new(),
            since: Vec::new(),
            fresh: false,
            held: Vec::new(),
            in_time: false,
            standing: Vec::new(),
            panes: 0,
            panes_after_early: 0,
            expired: false,
            had_last: false,
        }
    }
}

struct Model<'a> {
    setup: &'a Setup,
    watermark: i64,
    clock: i64,
    keys: BTreeMap<i64, Vec<State>>,
}

/// What each of the actions leads to.
pub(crate) fn run(setup: &Setup, actions: &[Action]) -> Vec<Answer> {
    let mut model = Model {
        setup,
        watermark: i64::MIN,
        clock: i64::MIN,
        keys: BTreeMap::new(),
    };
    let step = |action| match action {
        &Action::Watermark(to) => model.advance(to, i64::MIN),
        &Action::Clock(to) => model.advance(i64::MIN, to),
        Action::Elements(elements) => model.add(elements),
    };
    actions.iter().map(step).collect()
}

impl Model<'_> {
    fn now(&self, window: Span) -> Now {
        Now {
            clock: self.clock,
            end_reached: self.watermark >= window.1,
            merging: self.setup.windows.merges(),
        }
    }

    fn add(&mut self, elements: &[Element]) -> Answer {
        let mut answer = Answer::default();
        let mut taken: BTreeMap<i64, Vec<(Span, Element)>> = BTreeMap::new();
        for &element in elements {
            let (key, _, time, _) = element;
            for own in self.setup.windows.of(time) {
                if self.watermark >= self.setup.expiry(own) {
                    answer.late.push(element);
                } else {
                    taken.entry(key).or_default().push((own, element));
                }
            }
        }
        for (&key, elements) in &taken {
            let mut states = self.keys.remove(&key).unwrap_or_default();
            let owns = elements.iter().map(|&(own, _)| own).collect();
            self.merge(&mut states, owns);
            let mut asked: BTreeMap<Span, u64> = BTreeMap::new();
            for &(own, element) in elements {
                // Elsewhere a window may lie within another one and is not the same.
                let merges = self.setup.windows.merges();
                let is_home = |s: &&mut State| s.window == own || merges && holds(s.window, own);
                let state = states.iter_mut().find(is_home).expect("made by the merge");
                if state.trigger.finished {
                    answer.late.push(element);
                    continue;
                }
                let (_, value, time, diff) = element;
                state.all.push((value, diff));
                state.parts.push((own, value, diff));
                state.since.push((value, diff));
                state.fresh = true;
                if diff > 0 && time >= self.watermark {
                    state.held.push(time);
                }
                state.in_time |= self.watermark < state.window.1;
                *asked.entry(state.window).or_default() += diff.unsigned_abs() as u64;
            }
            for (window, elements) in asked {
                let at = states.iter().position(|s| s.window == window).unwrap();
                if let Some(pieces) = self.split(&mut states[at]) {
                    let whole = states.remove(at);
                    let standing = whole.standing.into_iter();
                    answer
                        .panes
                        .extend(standing.map(|pane| Pane { diff: -1, ..pane }));
                    for mut piece in pieces {
                        self.ask(key, &mut piece, elements, &mut answer.panes);
                        self.expire(key, &mut piece, &mut answer.panes);
                        if self.watermark < self.setup.release(piece.window) {
                            states.push(piece);
                        }
                    }
                    states.sort_by_key(|state| state.window);
                    continue;
                }
                self.ask(key, &mut states[at], elements, &mut answer.panes);
            }
            self.keys.insert(key, states);
        }
        answer
    }

    fn ask(&self, key: i64, state: &mut State, elements: u64, out: &mut Vec<Pane>) {
        let now = self.now(state.window);
        state.trigger.on_elements(elements, now);
        if state.trigger.should_fire(now) {
            self.fire(key, state, false, out);
        }
    }

    fn expire(&self, key: i64, state: &mut State, out: &mut Vec<Pane>) {
        if self.watermark < self.setup.expiry(state.window) {
            return;
        }
        state.expired = true;
        let in_any_case = self.setup.closing == ClosingBehavior::FireAlways;
        let is_over = state.trigger.finished || state.had_last;
        if !is_over && (state.fresh || in_any_case) {
            self.fire(key, state, true, out);
        }
    }

    /// What a session falls into, where its elements no longer hold it together.
    fn split(&self, state: &mut State) -> Option<Vec<State>> {
        if !self.setup.windows.merges() || self.setup.accumulation == Accumulation::Discarding {
            return None;
        }
        let mut counts: BTreeMap<Span, isize> = BTreeMap::new();
        for &(own, _, diff) in &state.parts {
            *counts.entry(own).or_default() += diff;
        }
        state.parts.retain(|(own, _, _)| counts[own] != 0);
        counts.retain(|_, count| *count != 0);
        let windows = self.setup.windows.merged(counts.into_keys().collect());
        if windows == [state.window] {
            return None;
        }
        let piece = |window: Span| {
            let mut piece = State::new(window, &self.setup.trigger);
            let end_reached = self.watermark >= window.1;
            piece.trigger = Node::merged(&self.setup.trigger, &[&state.trigger], end_reached);
            piece.in_time = !end_reached || state.in_time && state.panes_after_early == 0;
            piece.held = state.held.clone();
            piece.fresh = true;
            for &(own, value, diff) in state.parts.iter().filter(|part| holds(window, part.0)) {
                piece.all.push((value, diff));
                piece.parts.push((own, value, diff));
            }
            piece
        };
        Some(windows.into_iter().map(piece).collect())
    }

    /// Makes a key's windows those that there are with the windows of a bundle.
    fn merge(&self, states: &mut Vec<State>, owns: Vec<Span>) {
        let mut spans: Vec<Span> = states.iter().map(|state| state.window).collect();
        for own in owns {
            if !spans.contains(&own) {
                spans.push(own);
            }
        }
        let mut after = Vec::new();
        for window in self.setup.windows.merged(spans) {
            let mut fresh = State::new(window, &self.setup.trigger);
            let is_part = |state: &&State| match self.setup.windows.merges() {
                true => holds(window, state.window),
                false => window == state.window,
            };
            let parts: Vec<&State> = states.iter().filter(is_part).collect();
            if parts.is_empty() {
                after.push(fresh);
                continue;
            }
            if parts.iter().all(|part| part.window == window) {
                after.push(parts[0].clone());
                continue;
            }
            let triggers: Vec<&Node> = parts.iter().map(|part| &part.trigger).collect();
            let end_reached = self.watermark >= window.1;
            fresh.trigger = Node::merged(&self.setup.trigger, &triggers, end_reached);
            fresh.in_time = !end_reached;
            for part in parts {
                fresh.all.extend(&part.all);
                fresh.parts.extend(&part.parts);
                fresh.since.extend(&part.since);
                fresh.fresh |= part.fresh;
                fresh.held.extend(&part.held);
                fresh.standing.extend(part.standing.iter().cloned());
                fresh.in_time |= part.in_time && part.panes_after_early == 0;
                if part.window == window {
                    fresh.panes = part.panes;
                    fresh.panes_after_early = part.panes_after_early;
                }
            }
            after.push(fresh);
        }
        after.sort_by_key(|state| state.window);
        *states = after;
    }

    fn advance(&mut self, watermark: i64, clock: i64) -> Answer {
        let mut answer = Answer::default();
        let before = self.watermark;
        self.watermark = self.watermark.max(watermark);
        self.clock = self.clock.max(clock);
        let reached = self.watermark;
        let is_passed = |threshold: i64| before < threshold && threshold <= reached;
        for (key, mut states) in std::mem::take(&mut self.keys) {
            for state in &mut states {
                // What became a part of another window is taken back before it is forgotten.
                let window = state.window;
                let (due, standing): (Vec<Pane>, Vec<Pane>) = std::mem::take(&mut state.standing)
                    .into_iter()
                    .partition(|pane| {
                        pane.window != window && self.watermark >= self.setup.release(pane.window)
                    });
                state.standing = standing;
                answer
                    .panes
                    .extend(due.into_iter().map(|pane| Pane { diff: -1, ..pane }));
                if state.trigger.finished || state.expired {
                    continue;
                }
                let expiry = self.setup.expiry(state.window);
                let release = self.setup.release(state.window);
                let target = state.trigger.earliest_target();
                let is_asked = is_passed(state.window.1)
                    || is_passed(expiry)
                    || is_passed(release)
                    || target.is_some_and(|target| self.clock >= target);
                if is_asked && state.trigger.should_fire(self.now(state.window)) {
                    self.fire(key, state, false, &mut answer.panes);
                }
                self.expire(key, state, &mut answer.panes);
            }
            states.retain(|state| self.watermark < self.setup.release(state.window));
            self.keys.insert(key, states);
        }
        answer
    }

    fn fire(&self, key: i64, state: &mut State, is_closing: bool, out: &mut Vec<Pane>) {
        let now = self.now(state.window);
        if !is_closing {
            state.trigger.on_fire(now);
        }
        let is_closed = state.trigger.finished;
        let timing = if state.panes_after_early > 0 {
            Timing::Late
        } else if !now.end_reached {
            Timing::Early
        } else if state.in_time {
            Timing::OnTime
        } else {
            Timing::Late
        };
        let on_time = timing == Timing::OnTime
            && !is_closing
            && self.setup.on_time == OnTimeBehavior::FireAlways;
        let last = (is_closing || is_closed) && self.setup.closing == ClosingBehavior::FireAlways;
        if !(state.fresh || on_time || last) {
            return;
        }
        let is_last = is_closing || is_closed || self.watermark >= self.setup.expiry(state.window);
        let held = std::mem::take(&mut state.held);
        let held = match self.setup.combiner {
            TimestampCombiner::EndOfWindow => None,
            TimestampCombiner::Latest => held.into_iter().max(),
            TimestampCombiner::Earliest | TimestampCombiner::EarliestTransformed => {
                held.into_iter().min()
            }
        };
        let since = std::mem::take(&mut state.since);
        state.fresh = false;
        let discarding = self.setup.accumulation == Accumulation::Discarding;
        for mut pane in state.standing.drain(..) {
            pane.diff = -1;
            out.push(pane);
        }
        let content = if discarding { &since } else { &state.all };
        if !discarding && content.iter().map(|&(_, diff)| diff).sum::<isize>() == 0 {
            return;
        }
        let (values, taken) = netted(content);
        let pane = Pane {
            key,
            window: state.window,
            values,
            taken,
            timestamp: held.unwrap_or(state.window.1 - 1),
            timing,
            index: state.panes,
            nonspeculative: match timing {
                Timing::Early => -1,
                _ => state.panes_after_early as i32,
            },
            is_last,
            is_closed,
            diff: 1,
        };
        state.panes += 1;
        state.had_last = is_last;
        state.panes_after_early += u32::from(timing != Timing::Early);
        // A window that merges may yet become another one, whose panes replace this one.
        if self.setup.accumulation == Accumulation::Retracting && (now.merging || !is_last) {
            state.standing.push(pane.clone());
        }
        out.push(pane);
    }
}

/// The values of which there are more than none, and those of which there are less, sorted.
fn netted(content: &[(i64, isize)]) -> (Vec<i64>, Vec<i64>) {
    let mut counts: BTreeMap<i64, isize> = BTreeMap::new();
    for &(value, diff) in content {
        *counts.entry(value).or_default() += diff;
    }
    let (mut values, mut taken) = (Vec::new(), Vec::new());
    for (value, count) in counts {
        let to = if count > 0 { &mut values } else { &mut taken };
        to.extend(std::iter::repeat_n(value, count.unsigned_abs()));
    }
    (values, taken)
}

/// The elements by key and final window, where there are any left.
pub(crate) fn batch(setup: &Setup, elements: &[Element]) -> BTreeMap<(i64, Span), Vec<i64>> {
    let mut left: BTreeMap<(i64, i64, i64), isize> = BTreeMap::new();
    for &(key, value, time, diff) in elements {
        *left.entry((key, value, time)).or_default() += diff;
    }
    let elements: Vec<Element> = left
        .into_iter()
        .filter(|(_, diff)| *diff != 0)
        .map(|((key, value, time), diff)| (key, value, time, diff))
        .collect();
    let mut owns: BTreeMap<i64, Vec<Span>> = BTreeMap::new();
    for &(key, _, time, _) in &elements {
        let known = owns.entry(key).or_default();
        for own in setup.windows.of(time) {
            if !known.contains(&own) {
                known.push(own);
            }
        }
    }
    let mut out = BTreeMap::new();
    for (key, owns) in owns {
        for window in setup.windows.merged(owns) {
            let mut content = Vec::new();
            for &(of, value, time, diff) in &elements {
                let is_in = |&own: &Span| match setup.windows.merges() {
                    true => holds(window, own),
                    false => window == own,
                };
                if of == key && setup.windows.of(time).iter().any(is_in) {
                    content.push((value, diff));
                }
            }
            let (values, _) = netted(&content);
            if !values.is_empty() {
                out.insert((key, window), values);
            }
        }
    }
    out
}

/// Any trigger of at most this depth, or any that keeps its windows open.
pub(crate) fn random_trigger(random: &mut Random, depth: usize, may_finish: bool) -> Trigger {
    loop {
        let trigger = any_trigger(random, depth);
        assert_eq!(trigger.fault(), None);
        if may_finish || !trigger.may_finish() {
            return trigger;
        }
    }
}

fn any_trigger(random: &mut Random, depth: usize) -> Trigger {
    let micros = |random: &mut Random, from: usize, end: usize| {
        Duration::from_micros((from + random.below(end - from)) as u64)
    };
    let parts = |random: &mut Random| -> Vec<Trigger> {
        (0..1 + random.below(3))
            .map(|_| any_trigger(random, depth - 1))
            .collect()
    };
    let kind = if depth > 1 && random.percent(75) {
        6 + random.below(6)
    } else {
        random.below(6)
    };
    match kind {
        0 => Trigger::Default,
        1 => Trigger::after_watermark(),
        2 => Trigger::after_count(1 + random.below(4) as u64),
        3 => Trigger::AfterProcessingTime {
            delay: micros(random, 0, 12),
            align: random.percent(30).then(|| micros(random, 1, 12)),
        },
        // Alone they are not of much interest.
        4 | 5 if random.percent(50) => Trigger::after_count(1 + random.below(4) as u64),
        4 => Trigger::Always,
        5 => Trigger::Never,
        // Two in twelve: this is the one that is used the most.
        6 | 7 => {
            let mut part = |chance| {
                let part = random.percent(chance);
                part.then(|| Box::new(any_trigger(random, depth - 1)))
            };
            let (early, late) = (part(70), part(70));
            Trigger::AfterWatermark { early, late }
        }
        8 => any_trigger(random, depth - 1).repeatedly(),
        9 => match random.below(2) {
            0 => Trigger::AfterAny(parts(random)),
            _ => Trigger::AfterAll(parts(random)),
        },
        10 => Trigger::AfterEach(parts(random)),
        _ => {
            let until = any_trigger(random, depth - 1);
            any_trigger(random, depth - 1).or_finally(until)
        }
    }
}

/// Windows of a few microseconds and any trigger; without `may_finish` one that keeps its windows
/// open.
pub(crate) fn random_setup(random: &mut Random, may_finish: bool) -> Setup {
    let size = 5 + random.below(16) as i64;
    let windows = match random.below(6) {
        0 => Windows::Global,
        1 => Windows::Fixed {
            size,
            offset: *random.pick(&[0, 0, 3, -4, 25]),
        },
        2 | 3 => Windows::Sliding {
            size,
            period: 3 + random.below(size as usize) as i64,
        },
        _ => Windows::Sessions {
            gap: size,
            touching: random.percent(30),
        },
    };
    let depth = 1 + random.below(3);
    Setup {
        windows,
        trigger: random_trigger(random, depth, may_finish),
        accumulation: *random.pick(&[
            Accumulation::Discarding,
            Accumulation::Accumulating,
            Accumulation::Retracting,
        ]),
        allowed_lateness: *random.pick(&[0, 5, 12, 30, 1000]),
        combiner: *random.pick(&[
            TimestampCombiner::EndOfWindow,
            TimestampCombiner::Earliest,
            TimestampCombiner::Latest,
        ]),
        on_time: *random.pick(&[OnTimeBehavior::FireAlways, OnTimeBehavior::FireIfNonEmpty]),
        closing: *random.pick(&[ClosingBehavior::FireAlways, ClosingBehavior::FireIfNonEmpty]),
    }
}

/// A stream in which half of the elements come near the watermark, and one in ten is taken out
/// again. Neither the watermark nor the clock falls; sometimes the watermark ends at infinity.
pub(crate) fn random_actions(random: &mut Random, actions: usize) -> Vec<Action> {
    let keys = 1 + random.below(3);
    let mut watermark = random.below(15) as i64 - 10;
    let mut clock = random.below(10) as i64;
    let mut present: Vec<Element> = Vec::new();
    let mut out = Vec::new();
    if random.percent(80) {
        out.push(Action::Clock(clock));
    }
    while out.len() < actions {
        match random.below(10) {
            0..5 => {
                let mut bundle = Vec::new();
                for _ in 0..1 + random.below(5) {
                    if !present.is_empty() && random.percent(10) {
                        let nth = random.below(present.len());
                        let (key, value, time, _) = present.swap_remove(nth);
                        bundle.push((key, value, time, -1));
                        continue;
                    }
                    let key = random.below(keys) as i64;
                    let time = match random.percent(50) {
                        true => (watermark + random.below(21) as i64 - 10).clamp(0, 59),
                        false => random.below(60) as i64,
                    };
                    let element = (key, random.below(4) as i64, time, 1);
                    present.push(element);
                    bundle.push(element);
                }
                out.push(Action::Elements(bundle));
            }
            5..8 => {
                let step = if random.percent(8) { 40 } else { 7 };
                watermark += random.below(step) as i64;
                out.push(Action::Watermark(watermark));
            }
            _ => {
                clock += random.below(10) as i64;
                out.push(Action::Clock(clock));
            }
        }
    }
    if random.percent(60) {
        out.push(Action::Watermark(i64::MAX));
    }
    out
}
