//! What the model of triggers has to say to cases that were worked out by hand: Beam's transcripts
//! first, then one for each thing that they leave out, then what must hold for any stream.

use std::collections::BTreeMap;

use amend::windowing::{Accumulation, ClosingBehavior, OnTimeBehavior, TimestampCombiner, Trigger};

use super::{Action, Answer, Element, Pane, Setup, Span, Timing, Windows, batch, run};
use super::{random_actions, random_setup};
use crate::workload::Random;
use Action::{Clock, Elements, Watermark};
use Timing::{Early, Late, OnTime};

const TEN: Windows = Windows::Fixed {
    size: 10,
    offset: 0,
};

const SESSIONS: Windows = Windows::Sessions {
    gap: 10,
    touching: false,
};

/// Beam's defaults, which are not all ours.
fn beam(windows: Windows, trigger: Trigger) -> Setup {
    Setup {
        windows,
        trigger,
        accumulation: Accumulation::Accumulating,
        allowed_lateness: 0,
        combiner: TimestampCombiner::EndOfWindow,
        on_time: OnTimeBehavior::FireAlways,
        closing: ClosingBehavior::FireIfNonEmpty,
    }
}

fn discarding(windows: Windows, trigger: Trigger) -> Setup {
    Setup {
        accumulation: Accumulation::Discarding,
        ..beam(windows, trigger)
    }
}

/// A bundle of one key, of elements that have their event time for a value.
fn input(times: &[i64]) -> Action {
    Elements(times.iter().map(|&time| (0, time, time, 1)).collect())
}

fn takes(times: &[i64]) -> Action {
    Elements(times.iter().map(|&time| (0, time, time, -1)).collect())
}

fn after(micros: u64) -> Trigger {
    Trigger::after_processing_time(std::time::Duration::from_micros(micros))
}

fn count(elements: u64) -> Trigger {
    Trigger::after_count(elements)
}

/// What is wanted of a pane; what is not said may be anything. The end of a window is inclusive,
/// as in the transcripts.
#[derive(Clone, Debug)]
struct Want {
    window: Span,
    values: Option<Vec<i64>>,
    timestamp: Option<i64>,
    timing: Option<Timing>,
    is_late: Option<bool>,
    index: Option<u32>,
    nonspeculative: Option<i32>,
    is_last: Option<bool>,
    diff: isize,
}

fn window(start: i64, last: i64) -> Want {
    Want {
        window: (start, last + 1),
        values: None,
        timestamp: None,
        timing: None,
        is_late: None,
        index: None,
        nonspeculative: None,
        is_last: None,
        diff: 1,
    }
}

impl Want {
    fn values(mut self, values: &[i64]) -> Want {
        self.values = Some(values.to_vec());
        self
    }

    fn at(mut self, timestamp: i64) -> Want {
        self.timestamp = Some(timestamp);
        self
    }

    fn timing(mut self, timing: Timing) -> Want {
        self.timing = Some(timing);
        self
    }

    fn late(mut self, is_late: bool) -> Want {
        self.is_late = Some(is_late);
        self
    }

    fn index(mut self, index: u32) -> Want {
        self.index = Some(index);
        self
    }

    fn nonspeculative(mut self, index: i32) -> Want {
        self.nonspeculative = Some(index);
        self
    }

    fn last(mut self, is_last: bool) -> Want {
        self.is_last = Some(is_last);
        self
    }

    fn retracted(mut self) -> Want {
        self.diff = -1;
        self
    }

    fn fits(&self, pane: &Pane) -> bool {
        let open = |wanted: Option<bool>| wanted.is_none_or(|wanted| wanted);
        self.window == pane.window
            && self.diff == pane.diff
            && open(self.values.as_ref().map(|v| *v == pane.values))
            && open(self.timestamp.map(|t| t == pane.timestamp))
            && open(self.timing.map(|t| t == pane.timing))
            && open(self.is_late.map(|late| late == (pane.timing == Late)))
            && open(self.index.map(|i| i == pane.index))
            && open(self.nonspeculative.map(|i| i == pane.nonspeculative))
            && open(self.is_last.map(|last| last == pane.is_last))
    }
}

/// An action that produces nothing.
fn quiet(action: Action) -> (Action, Vec<Want>) {
    (action, vec![])
}

fn check(setup: &Setup, transcript: &[(Action, Vec<Want>)]) -> Vec<Answer> {
    let actions: Vec<Action> = transcript
        .iter()
        .map(|(action, _)| action.clone())
        .collect();
    let answers = run(setup, &actions);
    for (answer, (action, wanted)) in answers.iter().zip(transcript) {
        let is_right = answer.panes.len() == wanted.len()
            && answer
                .panes
                .iter()
                .zip(wanted)
                .all(|(pane, want)| want.fits(pane));
        assert!(is_right, "{action:?}: {:#?}, not {wanted:#?}", answer.panes);
    }
    answers
}

/// As Beam does it: where no pane depends on the order, another order must not change one.
fn check_in_any_order(setup: &Setup, transcript: &[(Action, Vec<Want>)]) {
    check(setup, transcript);
    let mut reversed = transcript.to_vec();
    let mut singles = Vec::new();
    for (action, wanted) in &mut reversed {
        match action {
            Elements(elements) => {
                elements.reverse();
                for &element in &elements[1..] {
                    singles.push(quiet(Elements(vec![element])));
                }
                singles.push((Elements(vec![elements[0]]), wanted.clone()));
            }
            other => singles.push((other.clone(), wanted.clone())),
        }
    }
    check(setup, &reversed);
    check(setup, &singles);
}

#[test]
fn beam_fixed_default() {
    check_in_any_order(
        &beam(TEN, Trigger::Default),
        &[
            quiet(input(&[1, 2, 3, 10, 11])),
            (
                Watermark(25),
                vec![
                    window(0, 9).values(&[1, 2, 3]).index(0),
                    window(10, 19).values(&[10, 11]),
                ],
            ),
        ],
    );
}

#[test]
fn beam_fixed_default_late_data() {
    let setup = Setup {
        allowed_lateness: 100,
        ..beam(TEN, Trigger::Default)
    };
    check_in_any_order(
        &setup,
        &[
            quiet(input(&[1, 2, 3, 10, 11, 25])),
            (
                Watermark(100),
                vec![
                    window(0, 9).values(&[1, 2, 3]).at(9).last(false),
                    window(10, 19).values(&[10, 11]).at(19),
                    window(20, 29).values(&[25]).at(29).late(false),
                ],
            ),
            (
                input(&[7]),
                vec![window(0, 9).values(&[1, 2, 3, 7]).at(9).late(true)],
            ),
        ],
    );
}

#[test]
fn beam_fixed_drop_late_data_after_allowed_lateness() {
    let setup = Setup {
        allowed_lateness: 20,
        ..beam(
            TEN,
            Trigger::after_watermark().early(count(3)).late(count(1)),
        )
    };
    let answers = check(
        &setup,
        &[
            quiet(input(&[1, 2, 10, 11, 80, 81])),
            (
                Watermark(100),
                vec![
                    window(0, 9).values(&[1, 2]).at(9),
                    window(10, 19).values(&[10, 11]).at(19),
                    window(80, 89).values(&[80, 81]).at(89).late(false),
                ],
            ),
            quiet(input(&[7, 8])),
            quiet(input(&[17, 18])),
            (
                input(&[82]),
                vec![window(80, 89).values(&[80, 81, 82]).at(89).late(true)],
            ),
        ],
    );
    assert_eq!(answers[2].late, [(0, 7, 7, 1), (0, 8, 8, 1)]);
    assert_eq!(answers[3].late, [(0, 17, 17, 1), (0, 18, 18, 1)]);
}

#[test]
fn beam_timestamp_combiners() {
    let combiners = [
        (TimestampCombiner::Earliest, [1, 10, 25]),
        (TimestampCombiner::Latest, [3, 11, 25]),
        // With custom timestamps, which are not asked for, and without.
        (TimestampCombiner::EndOfWindow, [9, 19, 29]),
    ];
    for (combiner, [first, second, third]) in combiners {
        let setup = Setup {
            combiner,
            ..beam(TEN, Trigger::Default)
        };
        check_in_any_order(
            &setup,
            &[
                quiet(input(&[1, 2, 3, 10, 11, 25])),
                (
                    Watermark(100),
                    vec![
                        window(0, 9).values(&[1, 2, 3]).at(first),
                        window(10, 19).values(&[10, 11]).at(second),
                        window(20, 29).values(&[25]).at(third).late(false),
                    ],
                ),
            ],
        );
    }
}

#[test]
fn beam_early_late_sessions() {
    let trigger = Trigger::after_watermark().early(count(2)).late(count(3));
    let setup = Setup {
        allowed_lateness: 100,
        ..beam(SESSIONS, trigger)
    };
    check(
        &setup,
        &[
            (
                input(&[1, 2]),
                vec![window(1, 11).values(&[1, 2]).at(11).timing(Early).index(0)],
            ),
            quiet(input(&[3])),
            (
                input(&[4]),
                vec![
                    window(1, 13)
                        .values(&[1, 2, 3, 4])
                        .at(13)
                        .timing(Early)
                        .index(0),
                ],
            ),
            quiet(input(&[5])),
            (
                Watermark(100),
                vec![
                    window(1, 14)
                        .values(&[1, 2, 3, 4, 5])
                        .at(14)
                        .index(0)
                        .nonspeculative(0),
                ],
            ),
            quiet(input(&[1])),
            (
                input(&[3, 4]),
                vec![
                    window(1, 14)
                        .values(&[1, 1, 2, 3, 3, 4, 4, 5])
                        .at(14)
                        .last(false)
                        .index(1)
                        .nonspeculative(1),
                ],
            ),
        ],
    );
}

#[test]
fn beam_discarding_early_fixed() {
    check(
        &discarding(TEN, Trigger::after_watermark().early(count(2))),
        &[
            (
                input(&[1, 2]),
                vec![window(0, 9).values(&[1, 2]).at(9).timing(Early).index(0)],
            ),
            quiet(input(&[4])),
            quiet(input(&[14])),
            (
                input(&[5]),
                vec![window(0, 9).values(&[4, 5]).at(9).timing(Early).index(1)],
            ),
            (
                input(&[18]),
                vec![
                    window(10, 19)
                        .values(&[14, 18])
                        .at(19)
                        .timing(Early)
                        .index(0),
                ],
            ),
            quiet(input(&[6])),
            (
                Watermark(100),
                vec![
                    window(0, 9)
                        .values(&[6])
                        .at(9)
                        .timing(OnTime)
                        .last(true)
                        .index(2)
                        .nonspeculative(0),
                    window(10, 19)
                        .values(&[])
                        .at(19)
                        .timing(OnTime)
                        .last(true)
                        .index(1)
                        .nonspeculative(0),
                ],
            ),
        ],
    );
}

#[test]
fn beam_garbage_collection() {
    let setup = Setup {
        allowed_lateness: 10,
        ..discarding(TEN, count(2))
    };
    let answers = check(
        &setup,
        &[
            (
                input(&[1, 2, 3, 10, 11, 25]),
                vec![window(0, 9).at(9), window(10, 19).at(19)],
            ),
            // The transcript's `tombstone`: what is closed stays closed.
            quiet(input(&[12, 13, 14])),
        ],
    );
    assert_eq!(answers[1].late.len(), 3);
}

#[test]
fn beam_known_late_data() {
    let setup = Setup {
        combiner: TimestampCombiner::Earliest,
        ..beam(TEN, Trigger::Default)
    };
    check_in_any_order(
        &setup,
        &[
            quiet(Watermark(5)),
            quiet(input(&[2, 3, 7, 8])),
            (
                Watermark(11),
                vec![window(0, 9).values(&[2, 3, 7, 8]).at(7)],
            ),
        ],
    );
    // No hold is possible.
    check_in_any_order(
        &setup,
        &[
            quiet(Watermark(8)),
            quiet(input(&[2, 3, 7])),
            (Watermark(11), vec![window(0, 9).values(&[2, 3, 7]).at(9)]),
        ],
    );
}

#[test]
#[should_panic(expected = "Watermark(100)")]
fn beam_bad_transcripts_are_noticed() {
    check(
        &beam(TEN, Trigger::Default),
        &[
            quiet(input(&[1, 2, 3])),
            (Watermark(100), vec![window(0, 9).values(&[1, 2])]),
        ],
    );
}

#[test]
fn the_clock_fires_after_a_delay_and_at_multiples() {
    check(
        &discarding(TEN, after(5).repeatedly()),
        &[
            quiet(Clock(3)),
            quiet(input(&[1])),
            quiet(Clock(6)),
            // The first element counts, not the last.
            quiet(input(&[2])),
            quiet(Clock(7)),
            (Clock(8), vec![window(0, 9).values(&[1, 2]).timing(Early)]),
            quiet(Clock(100)),
            quiet(input(&[3])),
            (Clock(105), vec![window(0, 9).values(&[3]).index(1)]),
        ],
    );
    let period = Trigger::at_period(std::time::Duration::from_micros(10)).repeatedly();
    check(
        &discarding(TEN, period),
        &[
            quiet(Clock(3)),
            quiet(input(&[1])),
            quiet(Clock(9)),
            (Clock(10), vec![window(0, 9).values(&[1])]),
            // At a multiple, the instant itself is meant.
            (input(&[2]), vec![window(0, 9).values(&[2])]),
        ],
    );
}

#[test]
fn an_element_is_in_all_its_sliding_windows_or_in_none() {
    let sliding = Windows::Sliding {
        size: 10,
        period: 5,
    };
    assert_eq!(sliding.of(7), [(5, 15), (0, 10)]);
    assert_eq!(sliding.of(-1), [(-5, 5), (-10, 0)]);
    let sparse = Windows::Sliding { size: 5, period: 7 };
    assert_eq!(sparse.of(4), [(0, 5)]);
    assert_eq!(sparse.of(5), []);
    let fixed = Windows::Fixed {
        size: 10,
        offset: -4,
    };
    assert_eq!(fixed.of(5), [(-4, 6)]);
    let answers = check(
        &beam(sliding, Trigger::Default),
        &[
            quiet(Watermark(10)),
            // One of the two windows is over.
            quiet(input(&[7])),
            (Watermark(15), vec![window(5, 14).values(&[7])]),
        ],
    );
    assert_eq!(answers[1].late, [(0, 7, 7, 1)]);
}

#[test]
fn sessions_that_merge_take_their_panes_back() {
    let setup = Setup {
        accumulation: Accumulation::Retracting,
        allowed_lateness: 100,
        ..beam(SESSIONS, Trigger::Always)
    };
    check(
        &setup,
        &[
            (input(&[0]), vec![window(0, 9).values(&[0]).index(0)]),
            (input(&[15]), vec![window(15, 24).values(&[15]).index(0)]),
            (
                input(&[8]),
                vec![
                    window(0, 9).values(&[0]).index(0).retracted(),
                    window(15, 24).values(&[15]).index(0).retracted(),
                    window(0, 24).values(&[0, 8, 15]).index(0),
                ],
            ),
            // What stays the same window goes on counting.
            (
                input(&[9]),
                vec![
                    window(0, 24).index(0).retracted(),
                    window(0, 24).values(&[0, 8, 9, 15]).index(1),
                ],
            ),
        ],
    );
}

#[test]
fn sessions_that_touch_are_one_where_that_is_wanted() {
    let touching = Windows::Sessions {
        gap: 10,
        touching: true,
    };
    let elements: Vec<Element> = [0, 10].iter().map(|&time| (0, time, time, 1)).collect();
    let strict = batch(&beam(SESSIONS, Trigger::Default), &elements);
    assert_eq!(
        strict,
        BTreeMap::from([((0, (0, 10)), vec![0]), ((0, (10, 20)), vec![10])])
    );
    let setup = beam(touching, Trigger::Default);
    assert_eq!(
        batch(&setup, &elements),
        BTreeMap::from([((0, (0, 20)), vec![0, 10])])
    );
    check_in_any_order(
        &setup,
        &[
            quiet(input(&[0, 10])),
            quiet(Watermark(19)),
            (Watermark(20), vec![window(0, 19).values(&[0, 10])]),
        ],
    );
}

#[test]
fn an_expired_session_is_still_known_for_a_gap() {
    let answers = check(
        &discarding(SESSIONS, Trigger::Default),
        &[
            quiet(input(&[0])),
            (Watermark(12), vec![window(0, 9).values(&[0]).last(true)]),
            // On its own it ends at 13, and is merged with what was closed at 10.
            quiet(input(&[3])),
            (
                Watermark(13),
                vec![window(0, 12).values(&[3]).index(0).timing(OnTime)],
            ),
            quiet(input(&[3])),
        ],
    );
    assert_eq!(answers[4].late, [(0, 3, 3, 1)]);
}

#[test]
fn a_merge_revives_a_session_that_only_its_end_had_closed() {
    let setup = Setup {
        allowed_lateness: 20,
        ..beam(SESSIONS, Trigger::after_watermark())
    };
    let answers = check(
        &setup,
        &[
            quiet(input(&[0])),
            (Watermark(11), vec![window(0, 9).values(&[0]).last(true)]),
            quiet(input(&[0])),
            quiet(input(&[5])),
            (
                Watermark(15),
                vec![window(0, 14).values(&[0, 5]).timing(OnTime).index(0)],
            ),
            // Its new end has not been reached, so that it is open again.
            quiet(input(&[6])),
            (
                Watermark(16),
                vec![window(0, 15).values(&[0, 5, 6]).timing(OnTime)],
            ),
        ],
    );
    assert_eq!(answers[2].late, [(0, 0, 0, 1)]);
    // A count that has been reached closes what it is merged into.
    let answers = check(
        &beam(SESSIONS, count(1)),
        &[
            (input(&[0]), vec![window(0, 9).values(&[0]).last(true)]),
            quiet(input(&[5])),
        ],
    );
    assert_eq!(answers[1].late, [(0, 5, 5, 1)]);
}

#[test]
fn composite_triggers() {
    let pane = |values: &[i64]| vec![window(0, 9).values(values)];
    check(
        &discarding(TEN, Trigger::AfterEach(vec![count(1), count(2), after(5)])),
        &[
            quiet(Clock(0)),
            (input(&[1]), pane(&[1])),
            quiet(input(&[2])),
            (input(&[3]), pane(&[2, 3])),
            quiet(input(&[4])),
            (Clock(5), pane(&[4])),
            quiet(input(&[5])),
        ],
    );
    check(
        &discarding(
            TEN,
            Trigger::AfterAll(vec![count(2), after(5)]).repeatedly(),
        ),
        &[
            quiet(Clock(0)),
            quiet(input(&[1])),
            quiet(Clock(7)),
            (input(&[2]), pane(&[1, 2])),
            quiet(input(&[3, 4])),
            (Clock(12), pane(&[3, 4])),
        ],
    );
    check(
        &discarding(
            TEN,
            Trigger::AfterAny(vec![count(2), after(5)]).repeatedly(),
        ),
        &[
            quiet(Clock(0)),
            (input(&[1, 2]), pane(&[1, 2])),
            // The delay began anew.
            quiet(Clock(4)),
            quiet(input(&[3])),
            quiet(Clock(5)),
            (Clock(9), pane(&[3])),
        ],
    );
    check(
        &discarding(TEN, count(1).repeatedly().or_finally(count(3))),
        &[
            (input(&[1]), pane(&[1])),
            (input(&[2]), pane(&[2])),
            (input(&[3]), vec![window(0, 9).values(&[3]).last(true)]),
            quiet(input(&[4])),
        ],
    );
    check(
        &discarding(TEN, Trigger::Never),
        &[
            quiet(input(&[1])),
            (
                Watermark(10),
                vec![window(0, 9).values(&[1]).timing(OnTime).last(true)],
            ),
        ],
    );
}

#[test]
fn what_is_taken_out_is_taken_back() {
    let pane = |values: &[i64]| window(0, 9).values(values);
    let setup = |accumulation| Setup {
        accumulation,
        ..beam(TEN, Trigger::Always)
    };
    check(
        &setup(Accumulation::Retracting),
        &[
            (input(&[1]), vec![pane(&[1]).index(0)]),
            (takes(&[1]), vec![pane(&[1]).index(0).retracted()]),
            (input(&[2]), vec![pane(&[2]).index(1)]),
        ],
    );
    check(
        &setup(Accumulation::Accumulating),
        &[
            (input(&[1]), vec![pane(&[1]).index(0)]),
            quiet(takes(&[1])),
            (input(&[2]), vec![pane(&[2]).index(1)]),
        ],
    );
    let actions = [input(&[1]), takes(&[1]), input(&[2])];
    let answers = run(&setup(Accumulation::Discarding), &actions);
    assert!(answers[1].panes[0].values.is_empty());
    assert_eq!(answers[1].panes[0].taken, [1]);
}

#[test]
fn the_last_pane_may_be_wanted_in_any_case() {
    let pane = |values: &[i64]| window(0, 9).values(values);
    let setup = |trigger, lateness| Setup {
        closing: ClosingBehavior::FireAlways,
        allowed_lateness: lateness,
        ..discarding(TEN, trigger)
    };
    check(
        &setup(Trigger::Default, 5),
        &[
            quiet(input(&[1])),
            (Watermark(10), vec![pane(&[1]).timing(OnTime).last(false)]),
            (
                Watermark(15),
                vec![pane(&[]).timing(Late).last(true).nonspeculative(1)],
            ),
        ],
    );
    // There is nothing to be said after the only pane.
    check(
        &setup(Trigger::Default, 0),
        &[
            quiet(input(&[1])),
            (Watermark(10), vec![pane(&[1]).timing(OnTime).last(true)]),
            quiet(Watermark(20)),
        ],
    );
}

#[test]
fn a_window_that_ends_and_expires_at_once_has_one_last_pane() {
    let setup = Setup {
        accumulation: Accumulation::Retracting,
        closing: ClosingBehavior::FireAlways,
        allowed_lateness: 5,
        ..beam(TEN, Trigger::Default)
    };
    let pane = window(0, 9).values(&[1]).last(true).timing(OnTime).index(0);
    check(&setup, &[quiet(input(&[1])), (Watermark(20), vec![pane])]);
}

/// Panes by key and window.
fn by_window(answers: &[Answer]) -> BTreeMap<(i64, Span), Vec<&Pane>> {
    let mut out: BTreeMap<_, Vec<&Pane>> = BTreeMap::new();
    for pane in answers.iter().flat_map(|answer| &answer.panes) {
        out.entry((pane.key, pane.window)).or_default().push(pane);
    }
    out
}

#[test]
fn panes_of_a_window_that_stays_are_numbered_and_in_time_order() {
    for seed in 0..3000 {
        let random = &mut Random::new(seed);
        let setup = random_setup(random, seed % 2 == 0);
        let actions = random_actions(random, 30);
        let answers = run(&setup, &actions);
        for (of, panes) in by_window(&answers) {
            let panes: Vec<&&Pane> = panes.iter().filter(|pane| pane.diff > 0).collect();
            // A session may begin anew as the window that it was before it was forgotten.
            if panes.iter().filter(|pane| pane.index == 0).count() != 1 {
                assert!(matches!(setup.windows, Windows::Sessions { .. }));
                continue;
            }
            let mut after_early = 0;
            for (nth, pane) in panes.iter().enumerate() {
                let why = format!("seed {seed}, {of:?}, {setup:?}: {panes:#?}");
                assert_eq!(pane.index as usize, nth, "{why}");
                assert!(nth == 0 || panes[nth - 1].timing <= pane.timing, "{why}");
                assert!(setup.trigger.may_finish() || !pane.is_closed, "{why}");
                if pane.timing == Early {
                    assert_eq!(pane.nonspeculative, -1, "{why}");
                } else {
                    assert!(after_early == 0 || pane.timing == Late, "{why}");
                    assert_eq!(pane.nonspeculative, after_early, "{why}");
                    after_early += 1;
                }
            }
        }
    }
}

#[test]
fn the_answers_add_up_to_the_batch() {
    let mut compared = 0;
    for seed in 0..3000 {
        let random = &mut Random::new(seed);
        let setup = Setup {
            allowed_lateness: 1000,
            ..random_setup(random, false)
        };
        let mut actions = random_actions(random, 30);
        // One step after the other, the end of the windows first.
        actions.retain(|action| !matches!(action, Watermark(i64::MAX)));
        let global = Windows::Global.of(0)[0];
        actions.extend([500, global.1, i64::MAX].map(Watermark));
        let answers = run(&setup, &actions);
        assert!(answers.iter().all(|answer| answer.late.is_empty()));
        let elements: Vec<Element> = actions
            .iter()
            .flat_map(|action| match action {
                Elements(elements) => elements.clone(),
                _ => vec![],
            })
            .collect();
        // Panes that are never taken back don't add up where elements are.
        let elements: Vec<Element> = match setup.accumulation {
            Accumulation::Retracting => elements,
            _ if elements.iter().all(|element| element.3 > 0) => elements,
            _ => continue,
        };
        let wanted = batch(&setup, &elements);
        let why = format!("seed {seed}, {setup:?}: {actions:?}, {answers:#?}");
        let merges = matches!(setup.windows, Windows::Sessions { .. });
        let mut sums: BTreeMap<(i64, Span), BTreeMap<i64, isize>> = BTreeMap::new();
        for (of, panes) in by_window(&answers) {
            // The parts of a merged session have panes, too, which stay where none is taken back.
            let whole = wanted
                .keys()
                .find(|w| w.0 == of.0 && super::holds(w.1, of.1));
            let stays = merges && setup.accumulation != Accumulation::Retracting;
            let of = whole.filter(|_| stays).map_or(of, |whole| *whole);
            let sum = sums.entry(of).or_default();
            let panes = match setup.accumulation {
                Accumulation::Accumulating => &panes[panes.len() - 1..],
                _ => &panes[..],
            };
            for pane in panes {
                for (values, sign) in [(&pane.values, 1), (&pane.taken, -1)] {
                    for value in values {
                        *sum.entry(*value).or_default() += sign * pane.diff;
                    }
                }
            }
        }
        let is_accumulating = setup.accumulation == Accumulation::Accumulating;
        for (of, values) in &wanted {
            let sum = sums.remove(of).unwrap_or_default();
            let sum: Vec<(i64, isize)> = sum.into_iter().collect();
            if !(is_accumulating && merges) {
                assert_eq!(
                    super::netted(&sum),
                    (values.clone(), vec![]),
                    "{of:?} in {why}"
                );
                compared += 1;
            }
        }
        // Where all that came was taken out, an accumulating pane is never taken back.
        for (of, sum) in sums {
            let is_empty = sum.values().all(|count| *count == 0);
            assert!(is_accumulating || is_empty, "{of:?} in {why}");
        }
    }
    assert!(compared > 5000, "{compared}");
}
