//! The windows of one key: elements, the watermark and the clock come in, panes go out.
//!
//! A bundle is taken in three steps: [`KeyWindows::merge`] (where windows merge), then
//! [`KeyWindows::add`] for every element, then [`KeyWindows::ask`] for every window that got one.
//! When time passes, [`KeyWindows::wake`] is called for the windows that asked for it.
//!
//! What a window holds is the business of a [`Fold`]; here it is decided when it is let through and
//! what is taken back.

mod group;

use std::collections::BTreeMap;
use std::fmt;

use self::group::{Group, Member, Part};
use super::machine::{self, Machine};
use super::pane::PaneInfo;
use super::strategy::{Strategy, TimestampCombiner};
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

impl<O> Fired<O> {
    /// The pane as it is taken back.
    fn taken_back(self) -> Self {
        Fired { diff: -1, ..self }
    }
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
        let said = whole.standing.drain(..).map(Fired::taken_back);
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
