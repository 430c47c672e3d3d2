//! One element per key, by rule and not by arrival.
//!
//! Beam keeps the copy that arrives first; which that is depends on the order of arrival, and
//! nothing is said when an earlier one shows up. Here the earliest by event time keeps the seat,
//! and a better copy takes it over: the answer does not depend on the order.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::dead::keep_refused;
use super::group::Refused;
use super::multiset::add;
use super::par_do::Either;
use super::stepwise::{self, Intake, Output, Steps, stepwise};
use crate::pcollection::{Data, Element, Key, PCollection};
use crate::time::EventTime;
use crate::windowing::grouping::Now;
use crate::windowing::{PaneInfo, Window};

impl<'scope, T: Data> PCollection<'scope, T> {
    /// Keeps one element per key and window: the one with the earliest event time, and of several
    /// the least value. All others come out beside it.
    ///
    /// **Late data.** A key is remembered until the watermark is `horizon` beyond its element. What
    /// lies that far behind the watermark when it comes is a dead letter of this step, since nobody
    /// can tell whether it is a copy.
    ///
    /// **State.** One element per key; all of them where elements can be taken back.
    ///
    /// ```
    /// use amend::prelude::*;
    ///
    /// amend::run(&Options::default(), |p| {
    ///     let at = EventTime::from_seconds;
    ///     let payments = [("p1 again", at(5)), ("p1", at(4)), ("p2", at(6))];
    ///     let payments = payments.map(|(text, at)| (text.to_owned(), at));
    ///     let payments = p.create_timestamped("payments", payments);
    ///     let id = |text: &String| text[..2].to_owned();
    ///     let (once, copies) = payments.deduplicate("once", hours(1), id);
    ///     PAssert::that("once", &once).contains_in_any_order(["p1".to_owned(), "p2".to_owned()]);
    ///     PAssert::that("copies", &copies).contains_in_any_order(["p1 again".to_owned()]);
    /// })?;
    /// # Ok::<(), amend::Error>(())
    /// ```
    pub fn deduplicate<K: Key>(
        &self,
        name: &str,
        horizon: Duration,
        key: impl Fn(&T) -> K + Clone + 'static,
    ) -> (Self, Self) {
        let step = self.pipeline.step(name);
        self.refuse_unmerged(&step);
        let of_route = key.clone();
        let route = move |element: &Element<T>| stepwise::route(&of_route(&element.value));
        let intake = Intake::of(self);
        let (kept, aside) = if self.append_only {
            let memory = Memory::new(horizon);
            stepwise(&step, intake, route, Seats { key, memory })
        } else {
            let memory = Memory::new(horizon);
            stepwise(&step, intake, route, Queues { key, memory })
        };
        let mut kept = self.with(kept);
        kept.append_only = false;
        let copies = aside.clone().flat_map(Either::left);
        let mut copies = self.with(copies);
        copies.append_only = false;
        keep_refused(&self.pipeline, &step, aside.flat_map(Either::right));
        (kept, copies)
    }
}

/// An element in the order in which seats are given.
type Candidate<T> = (EventTime, T, PaneInfo);

type Aside<T> = Either<Element<T>, Refused<T>>;

/// What is known of every key and window, until the watermark is a horizon beyond its element.
struct Memory<K, S> {
    horizon: Duration,
    places: HashMap<(K, Window), S, foldhash::fast::RandomState>,
    /// Places by about when they can go. Whether one is over is asked of its element.
    ends: BTreeMap<EventTime, Vec<(K, Window)>>,
}

/// What knows since when it is held.
trait Held {
    /// The event time of who has the seat.
    fn since(&self) -> EventTime;
}

impl<K: Key, S: Held> Memory<K, S> {
    fn new(horizon: Duration) -> Self {
        Memory {
            horizon,
            places: HashMap::default(),
            ends: BTreeMap::new(),
        }
    }

    /// Whether nothing is known any more of what happened then.
    fn is_over(&self, event_time: EventTime, now: Now) -> bool {
        event_time + self.horizon <= now.watermark
    }

    /// Takes note that `place` can go at some time after `since`.
    fn keep_end(&mut self, place: (K, Window), since: EventTime) {
        // A place may stay a little longer: there are few ends, however many places there are.
        let end = (since + self.horizon + self.horizon / 32).floor(self.horizon / 32);
        if end < EventTime::MAX {
            self.ends.entry(end).or_default().push(place);
        }
    }

    fn forget(&mut self, now: Now) {
        while let Some(first) = self.ends.first_entry() {
            if *first.key() > now.watermark {
                break;
            }
            for place in first.remove() {
                let held = self.places.get(&place);
                if held.is_some_and(|held| self.is_over(held.since(), now)) {
                    self.places.remove(&place);
                }
            }
        }
    }
}

impl<T> Held for Candidate<T> {
    fn since(&self) -> EventTime {
        self.0
    }
}

/// Who has the seat of every key, where nothing is taken back.
struct Seats<T, K, F> {
    key: F,
    memory: Memory<K, Candidate<T>>,
}

impl<T: Data, K: Key, F: Fn(&T) -> K> Steps<Element<T>, Element<T>, Aside<T>> for Seats<T, K, F> {
    fn elements(
        &mut self,
        changes: Vec<(Element<T>, isize)>,
        now: Now,
        output: &mut Output<Element<T>, Aside<T>>,
    ) {
        for (element, times) in changes {
            if self.memory.is_over(element.event_time, now) {
                output.aside.push((late(element), times));
                continue;
            }
            let window = element.window;
            let place = ((self.key)(&element.value), window);
            let candidate = (element.event_time, element.value, element.pane);
            // Of one that is there several times, all but one are copies.
            let mut copies = times;
            match self.memory.places.get_mut(&place) {
                Some(holder) if holder.0 + self.memory.horizon > now.watermark => {
                    if candidate < *holder {
                        copies -= 1;
                        let before = std::mem::replace(holder, candidate.clone());
                        output.main.push((seated(before.clone(), window), -1));
                        output.main.push((seated(candidate.clone(), window), 1));
                        output.aside.push((copy(before, window), 1));
                    }
                }
                _ => {
                    copies -= 1;
                    output.main.push((seated(candidate.clone(), window), 1));
                    self.memory.keep_end(place.clone(), candidate.0);
                    self.memory.places.insert(place, candidate.clone());
                }
            }
            if copies > 0 {
                output.aside.push((copy(candidate, window), copies));
            }
        }
    }

    fn tick(&mut self, now: Now, _: &mut Output<Element<T>, Aside<T>>) {
        self.memory.forget(now);
    }
}

/// All candidates for the seat of every key, where elements can be taken back.
struct Queues<T, K, F> {
    key: F,
    memory: Memory<K, Queue<T>>,
}

struct Queue<T>(BTreeMap<Candidate<T>, isize>);

impl<T> Queue<T> {
    /// Who has the seat: the first that is there at all.
    fn holder(&self) -> Option<&Candidate<T>> {
        let there = self.0.iter().find(|(_, times)| **times > 0);
        there.map(|(candidate, _)| candidate)
    }
}

impl<T> Held for Queue<T> {
    fn since(&self) -> EventTime {
        self.holder().map_or(EventTime::MIN, |holder| holder.0)
    }
}

impl<T: Data, K: Key, F: Fn(&T) -> K> Steps<Element<T>, Element<T>, Aside<T>> for Queues<T, K, F> {
    fn elements(
        &mut self,
        changes: Vec<(Element<T>, isize)>,
        now: Now,
        output: &mut Output<Element<T>, Aside<T>>,
    ) {
        let mut touched = BTreeMap::<(K, Window), Option<Candidate<T>>>::new();
        for (element, diff) in changes {
            if self.memory.is_over(element.event_time, now) {
                output.aside.push((late(element), diff));
                continue;
            }
            let window = element.window;
            let place = ((self.key)(&element.value), window);
            let candidate = (element.event_time, element.value, element.pane);
            let over = self.memory.places.get(&place).and_then(|queue| {
                let holder = queue.holder()?;
                self.memory.is_over(holder.0, now).then_some(())
            });
            if over.is_some() {
                self.memory.places.remove(&place);
            }
            if !self.memory.places.contains_key(&place) {
                self.memory.keep_end(place.clone(), candidate.0);
            }
            let queue = self.memory.places.entry(place.clone());
            let queue = queue.or_insert_with(|| Queue(BTreeMap::new()));
            touched
                .entry(place)
                .or_insert_with(|| queue.holder().cloned());
            add(&mut queue.0, candidate.clone(), diff);
            output.aside.push((copy(candidate, window), diff));
        }
        for (place, before) in touched {
            let window = place.1;
            let queue = self.memory.places.get(&place);
            let after = queue.and_then(|queue| queue.holder().cloned());
            if queue.is_some_and(|queue| queue.0.is_empty()) {
                self.memory.places.remove(&place);
            }
            if before == after {
                continue;
            }
            if let Some(after) = &after {
                self.memory.keep_end(place, after.0);
            }
            for (candidate, diff) in [(before, -1), (after, 1)] {
                let Some(candidate) = candidate else { continue };
                // Whoever has the seat is not a copy.
                output.aside.push((copy(candidate.clone(), window), -diff));
                output.main.push((seated(candidate, window), diff));
            }
        }
    }

    fn tick(&mut self, now: Now, _: &mut Output<Element<T>, Aside<T>>) {
        self.memory.forget(now);
    }
}

fn late<T>(element: Element<T>) -> Aside<T> {
    Either::Right(Refused::late(element))
}

fn seated<T>((event_time, value, pane): Candidate<T>, window: Window) -> Element<T> {
    Element {
        value,
        event_time,
        window,
        pane,
    }
}

fn copy<T>(candidate: Candidate<T>, window: Window) -> Aside<T> {
    Either::Left(seated(candidate, window))
}
