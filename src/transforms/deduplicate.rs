//! One element per key, by rule and not by arrival.
//!
//! Beam keeps the copy that arrives first; which that is depends on the order of arrival, and
//! nothing is said when an earlier one shows up. Here the earliest by event time keeps the seat,
//! and a better copy takes it over: the answer does not depend on the order.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::dead::keep_refused;
use super::group::Refused;
use super::group_by_key::add;
use super::par_do::Either;
use super::stepwise::{self, Intake, Output, Steps, stepwise};
use crate::io::dead_letter::Refusal;
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
        let of_route = key.clone();
        let route = move |element: &Element<T>| stepwise::route(&of_route(&element.value));
        let seats = Seats {
            key,
            horizon,
            keep_copies: !self.append_only,
            index: HashMap::default(),
            ends: BTreeMap::new(),
            touched: Vec::new(),
        };
        let (kept, aside) = stepwise(&step, Intake::of(self), route, seats);
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

/// A key, and who had its seat.
type Touched<K, T> = ((K, Window), Option<Candidate<T>>);

struct Seats<T, K, F> {
    key: F,
    horizon: Duration,
    keep_copies: bool,
    index: HashMap<(K, Window), Seat<T>, foldhash::fast::RandomState>,
    /// Keys by the watermark that lets them go.
    ends: BTreeMap<EventTime, Vec<(K, Window)>>,
    /// Keys of this epoch, with who had the seat before it.
    touched: Vec<Touched<K, T>>,
}

struct Seat<T> {
    holder: Option<Candidate<T>>,
    /// All candidates, where one can be taken back.
    copies: BTreeMap<Candidate<T>, isize>,
    is_touched: bool,
}

type Aside<T> = Either<Element<T>, Refused<T>>;

impl<T: Data, K: Key, F: Fn(&T) -> K> Steps<Element<T>, Element<T>, Aside<T>> for Seats<T, K, F> {
    fn elements(
        &mut self,
        changes: Vec<(Element<T>, isize)>,
        now: Now,
        output: &mut Output<Element<T>, Aside<T>>,
    ) {
        for (element, diff) in changes {
            if element.event_time + self.horizon <= now.watermark {
                let reason = Refusal::Late;
                let refused = Either::Right(Refused { element, reason });
                output.aside.push((refused, diff));
                continue;
            }
            let place = ((self.key)(&element.value), element.window);
            let window = element.window;
            let seat = match self.index.get_mut(&place) {
                Some(seat) => seat,
                None => self.index.entry(place.clone()).or_insert(Seat {
                    holder: None,
                    copies: BTreeMap::new(),
                    is_touched: false,
                }),
            };
            if !seat.is_touched {
                seat.is_touched = true;
                self.touched.push((place, seat.holder.clone()));
            }
            let candidate = (element.event_time, element.value, element.pane);
            if self.keep_copies {
                add(&mut seat.copies, candidate.clone(), diff);
                let first = seat.copies.iter().find(|(_, times)| **times > 0);
                seat.holder = first.map(|(candidate, _)| candidate.clone());
                output.aside.push((copy(candidate, window), diff));
                continue;
            }
            // Of one that is there several times, all but one are copies.
            let mut copies = diff;
            let loser = match seat.holder.take() {
                Some(holder) if holder <= candidate => {
                    seat.holder = Some(holder);
                    candidate
                }
                holder => {
                    copies -= 1;
                    if let Some(holder) = holder {
                        output.aside.push((copy(holder, window), 1));
                    }
                    seat.holder = Some(candidate.clone());
                    candidate
                }
            };
            if copies > 0 {
                output.aside.push((copy(loser, window), copies));
            }
        }
        for (place, before) in std::mem::take(&mut self.touched) {
            let Some(seat) = self.index.get_mut(&place) else {
                continue;
            };
            seat.is_touched = false;
            if seat.holder == before {
                continue;
            }
            let window = place.1;
            for (candidate, diff) in [(before, -1), (seat.holder.clone(), 1)] {
                let Some(candidate) = candidate else { continue };
                if diff > 0 {
                    let end = candidate.0 + self.horizon;
                    if end < EventTime::MAX {
                        self.ends.entry(end).or_default().push(place.clone());
                    }
                }
                if self.keep_copies {
                    // Whoever has the seat is not a copy.
                    output.aside.push((copy(candidate.clone(), window), -diff));
                }
                output.main.push((seated(candidate, window), diff));
            }
            if seat.holder.is_none() {
                self.index.remove(&place);
            }
        }
    }

    fn tick(&mut self, now: Now, _: &mut Output<Element<T>, Aside<T>>) {
        while let Some(first) = self.ends.first_entry() {
            if *first.key() > now.watermark {
                break;
            }
            for place in first.remove() {
                // A seat that was taken over since is held by a later or an earlier one.
                let is_over = self.index.get(&place).is_some_and(|seat| {
                    let holder = seat.holder.as_ref();
                    holder.is_none_or(|holder| holder.0 + self.horizon <= now.watermark)
                });
                if is_over {
                    self.index.remove(&place);
                }
            }
        }
    }
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
