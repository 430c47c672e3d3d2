//! Windows, triggers and panes: the engine against the plain model, pane by pane, and against the
//! batch answer.

use amend::prelude::*;

use crate::trigger_model::{self as model, Action, Setup, Windows};
use crate::workload::{self, Random};

/// An element with its key, and how often it is put in.
type Row = ((i64, i64), isize);

/// Puts elements into the windows of a setup.
fn windowed<'scope>(
    elements: &PCollection<'scope, (i64, i64)>,
    setup: &Setup,
) -> PCollection<'scope, (i64, i64)> {
    let us = |us: i64| micros(us as u64);
    fn with<W>(windows: W, setup: &Setup) -> Windowing<W> {
        Windowing::of(windows)
            .triggering(setup.trigger.clone())
            .accumulation(setup.accumulation)
            .allowed_lateness(micros(setup.allowed_lateness as u64))
            .timestamp_combiner(setup.combiner)
            .on_time(setup.on_time)
            .closing(setup.closing)
            .allow_unsafe_trigger()
    }
    match setup.windows {
        Windows::Global => elements.window_into("w", with(GlobalWindows, setup)),
        Windows::Fixed { size, offset } => {
            let fixed = FixedWindows::of(us(size)).offset(us(offset.rem_euclid(size)));
            elements.window_into("w", with(fixed, setup))
        }
        Windows::Sliding { size, period } => {
            let sliding = SlidingWindows::of(us(size)).every(us(period));
            elements.window_into("w", with(sliding, setup))
        }
        Windows::Sessions { gap, touching } => {
            let sessions = Sessions::with_gap(us(gap));
            let sessions = if touching {
                sessions.merge_touching()
            } else {
                sessions
            };
            elements.window_into("w", with(sessions, setup))
        }
    }
}

/// The script of actions, an epoch each.
fn script(actions: &[Action]) -> TestStream<Row> {
    let mut clock = 0;
    let mut stream = TestStream::new();
    for action in actions {
        stream = match action {
            Action::Elements(elements) => {
                let rows = elements
                    .iter()
                    .map(|(key, value, time, diff)| (((*key, *value), *diff), EventTime(*time)));
                stream.add_elements(rows.collect::<Vec<_>>())
            }
            Action::Watermark(time) => stream.advance_watermark_to(EventTime(*time)),
            Action::Clock(to) => {
                let by = (to - clock).max(0);
                clock += by;
                stream.advance_processing_time(micros(by as u64))
            }
        };
    }
    stream
}

/// The elements of a script, taken out where a row says so.
fn elements<'scope>(
    p: &Pipeline<'scope>,
    stream: &TestStream<Row>,
    append_only: bool,
) -> PCollection<'scope, (i64, i64)> {
    let rows = p.read("script", stream.clone());
    if append_only {
        return rows.map("rows", |(row, _)| row);
    }
    rows.differential("rows", |inner| {
        inner.explode(|row| {
            let diff = row.value.1;
            Some((row.map(|(row, _)| row), diff))
        })
    })
}

/// What the engine says after each action, as the model says it.
fn engine(setup: &Setup, actions: &[Action], workers: usize) -> Vec<model::Answer> {
    let append_only = setup.accumulation == Accumulation::Discarding;
    let (panes, late) = (Collected::new(), Collected::new());
    let into = (panes.clone(), late.clone());
    let (setup, stream) = (setup.clone(), script(actions));
    amend::run(&Options::default().workers(workers), move |p| {
        let rows = elements(p, &stream, append_only);
        let (groups, late) = windowed(&rows, &setup).group_by_key_and_late("group");
        groups.collect_into("panes", &into.0);
        late.collect_into("late", &into.1);
    })
    .unwrap();
    let mut answers = vec![model::Answer::default(); actions.len()];
    for (epoch, (element, diff)) in panes.changes() {
        // The epoch after the last action is the end of the script.
        let Some(answer) = answers.get_mut(epoch as usize) else {
            continue;
        };
        let (key, values) = element.value;
        let pane = element.pane;
        assert_eq!(diff.abs(), 1);
        answer.panes.push(model::Pane {
            key,
            window: (element.window.start.0, element.window.end.0),
            values,
            taken: Vec::new(),
            timestamp: element.event_time.0,
            timing: match pane.timing {
                Timing::Early => model::Timing::Early,
                Timing::OnTime => model::Timing::OnTime,
                Timing::Late => model::Timing::Late,
                Timing::Unknown => panic!("a pane without a firing"),
            },
            index: pane.index,
            nonspeculative: pane.nonspeculative_index,
            is_last: pane.is_last,
            is_closed: pane.is_closed,
            diff,
        });
    }
    for (epoch, (element, diff)) in late.changes() {
        if let Some(answer) = answers.get_mut(epoch as usize) {
            let (key, value) = element.value;
            answer.late.push((key, value, element.event_time.0, diff));
        }
    }
    answers
}

/// In an order that depends on nothing but what there is; equal rows are added up.
fn sorted(mut answer: model::Answer) -> model::Answer {
    answer.panes.iter_mut().for_each(|pane| pane.taken.clear());
    answer.panes.sort();
    answer.late.sort();
    let rows = std::mem::take(&mut answer.late);
    for (key, value, time, diff) in rows {
        match answer.late.last_mut() {
            Some(last) if (last.0, last.1, last.2) == (key, value, time) => last.3 += diff,
            _ => answer.late.push((key, value, time, diff)),
        }
    }
    answer.late.retain(|row| row.3 != 0);
    answer
}

#[track_caller]
fn compare(setup: &Setup, actions: &[Action], workers: usize, seed: u64) {
    let expected = model::run(setup, actions);
    let got = engine(setup, actions, workers);
    for (at, (expected, got)) in expected.into_iter().zip(got).enumerate() {
        let (expected, got) = (sorted(expected), sorted(got));
        assert!(
            expected == got,
            "AMEND_SEED={seed}\n{setup:?}\nafter action {at} of {actions:?}\nexpected {}\ngot {}",
            shown(&expected),
            shown(&got),
        );
    }
}

fn shown(answer: &model::Answer) -> String {
    let panes: Vec<String> = answer
        .panes
        .iter()
        .map(|pane| format!("{pane:?}"))
        .collect();
    format!("\n  {}\n  late {:?}", panes.join("\n  "), answer.late)
}

fn random(seed: u64, may_finish: bool) -> (Setup, Vec<Action>) {
    let mut random = Random::new(seed);
    let setup = model::random_setup(&mut random, may_finish);
    let mut actions = vec![Action::Clock(0)];
    actions.extend(model::random_actions(&mut random, 12));
    for action in &mut actions {
        let Action::Elements(elements) = action else {
            continue;
        };
        if setup.accumulation == Accumulation::Discarding {
            elements.retain(|element| element.3 > 0);
        } else {
            *elements = netted(elements);
        }
    }
    (setup, actions)
}

/// Elements of a bundle without those that the bundle itself takes out again: a collection knows
/// only what an epoch changes.
fn netted(elements: &[model::Element]) -> Vec<model::Element> {
    let mut counts = std::collections::BTreeMap::new();
    for (key, value, time, diff) in elements {
        *counts.entry((*key, *value, *time)).or_insert(0) += diff;
    }
    let each = |((key, value, time), diff): (_, isize)| {
        std::iter::repeat_n((key, value, time, diff.signum()), diff.unsigned_abs())
    };
    counts.into_iter().flat_map(each).collect()
}

#[test]
fn oracle_panes_equal_the_model() {
    for seed in workload::seeds(600) {
        let (setup, actions) = random(seed, seed % 3 == 0);
        compare(&setup, &actions, [1, 2, 4][seed as usize % 3], seed);
    }
}

/// A windowing whose trigger goes on until the end, so that nothing is refused, and elements that
/// come in whatever order.
fn in_time(seed: u64) -> (Setup, Vec<Action>) {
    let mut random = Random::new(seed ^ 0xBA7C);
    let mut setup = model::random_setup(&mut random, false);
    setup.accumulation = Accumulation::Retracting;
    setup.combiner = TimestampCombiner::EndOfWindow;
    setup.allowed_lateness = 1000;
    let mut actions = vec![Action::Clock(0)];
    actions.extend(model::random_actions(&mut random, 12));
    for action in &mut actions {
        if let Action::Elements(elements) = action {
            *elements = netted(elements);
        }
    }
    // The ends of windows may be passed while elements still come, but not by the lateness.
    actions.retain(|action| !matches!(action, Action::Watermark(time) if *time > 500));
    (setup, actions)
}

fn all_elements(actions: &[Action]) -> Vec<model::Element> {
    let of = |action: &Action| match action {
        Action::Elements(elements) => elements.clone(),
        _ => Vec::new(),
    };
    actions.iter().flat_map(of).collect()
}

type Total = std::collections::BTreeMap<i64, i64>;

/// The sums by key of what the batch answer says.
fn batch_totals(setup: &Setup, actions: &[Action]) -> Total {
    let mut totals = Total::new();
    for ((key, _), values) in model::batch(setup, &all_elements(actions)) {
        *totals.entry(key).or_default() += values.iter().sum::<i64>();
    }
    totals
}

#[test]
fn oracle_retracted_panes_add_up_to_the_batch_answer() {
    for seed in workload::seeds(300) {
        let (setup, actions) = in_time(seed);
        let expected: Vec<_> = model::batch(&setup, &all_elements(&actions))
            .into_iter()
            .map(|((key, window), values)| (key, window, values))
            .collect();
        for workers in [1, 4] {
            let collected = Collected::new();
            let (into, setup_here, stream) = (collected.clone(), setup.clone(), script(&actions));
            amend::run(&Options::default().workers(workers), move |p| {
                let rows = elements(p, &stream, false);
                windowed(&rows, &setup_here)
                    .group_by_key("group")
                    .collect_into("panes", &into);
            })
            .unwrap();
            let mut got = Vec::new();
            for (element, times) in collected.elements() {
                assert_eq!(times, 1, "AMEND_SEED={seed}: {element:?}");
                let (key, values) = element.value;
                got.push((key, (element.window.start.0, element.window.end.0), values));
            }
            got.sort();
            assert_eq!(got, expected, "AMEND_SEED={seed} {setup:?} {actions:?}");
        }
    }
}

/// The sums by key of the panes of a first grouping, grouped again in other windows.
fn second_grouping(setup: &Setup, actions: &[Action], workers: usize) -> Total {
    let collected = Collected::new();
    let (into, setup, stream) = (collected.clone(), setup.clone(), script(actions));
    amend::run(&Options::default().workers(workers), move |p| {
        let append_only = setup.accumulation != Accumulation::Retracting;
        let rows = elements(p, &stream, append_only);
        let sums = windowed(&rows, &setup).sum_per_key("sums");
        let again = GlobalWindows
            .triggering(Trigger::Always)
            .accumulation(Accumulation::Retracting);
        sums.window_into("again", again)
            .sum_per_key("totals")
            .collect_into("collect", &into);
    })
    .unwrap();
    collected.values().into_iter().collect()
}

#[test]
fn oracle_a_second_grouping_equals_the_batch_answer() {
    for seed in workload::seeds(200) {
        let (setup, actions) = in_time(seed);
        let expected = batch_totals(&setup, &actions);
        let mut got = second_grouping(&setup, &actions, [1, 2, 4][seed as usize % 3]);
        // A key of which nothing is left is not in the batch answer.
        got.retain(|key, _| expected.contains_key(key));
        assert_eq!(got, expected, "AMEND_SEED={seed} {setup:?} {actions:?}");
    }
}

/// What Beam warns of: panes that accumulate count their elements again and again.
#[test]
fn accumulating_panes_count_double_in_a_second_grouping_and_retracting_ones_do_not() {
    let mut setup = Setup {
        windows: Windows::Fixed {
            size: 10,
            offset: 0,
        },
        trigger: Trigger::after_count(1).repeatedly(),
        accumulation: Accumulation::Accumulating,
        allowed_lateness: 100,
        combiner: TimestampCombiner::EndOfWindow,
        on_time: OnTimeBehavior::FireIfNonEmpty,
        closing: ClosingBehavior::FireIfNonEmpty,
    };
    let actions = [
        Action::Elements(vec![(0, 3, 1, 1)]),
        Action::Elements(vec![(0, 4, 2, 1)]),
        Action::Watermark(20),
        Action::Elements(vec![(0, 5, 3, 1)]),
    ];
    let total = |setup: &Setup| second_grouping(setup, &actions, 2)[&0];
    assert_eq!(total(&setup), 3 + (3 + 4) + (3 + 4 + 5));
    setup.accumulation = Accumulation::Retracting;
    assert_eq!(total(&setup), 3 + 4 + 5);
    setup.accumulation = Accumulation::Discarding;
    assert_eq!(total(&setup), 3 + 4 + 5);
}

#[test]
fn oracle_the_order_of_arrival_does_not_matter() {
    for seed in workload::seeds(150) {
        let (setup, actions) = in_time(seed);
        let expected = batch_totals(&setup, &actions);
        let mut random = Random::new(seed);
        let mut rows = all_elements(&actions);
        // Elements of one epoch each, in another order; what is taken out was put in before.
        for at in (1..rows.len()).rev() {
            rows.swap(at, random.below(at + 1));
        }
        let mut there = std::collections::BTreeMap::new();
        let mut waiting = Vec::new();
        let mut ordered = Vec::new();
        for row in rows {
            let times: &mut i32 = there.entry((row.0, row.1, row.2)).or_default();
            if row.3 < 0 && *times == 0 {
                waiting.push(row);
                continue;
            }
            *times += row.3 as i32;
            ordered.push(row);
            let same = |other: &model::Element| {
                row.3 > 0 && (other.0, other.1, other.2) == (row.0, row.1, row.2)
            };
            if let Some(at) = waiting.iter().position(same) {
                *times -= 1;
                ordered.push(waiting.swap_remove(at));
            }
        }
        let rows = ordered;
        let mut shuffled = vec![Action::Clock(0)];
        for (at, row) in rows.into_iter().enumerate() {
            if random.percent(30) {
                shuffled.push(Action::Watermark(at as i64 * 3));
            }
            shuffled.push(Action::Elements(vec![row]));
        }
        let mut got = second_grouping(&setup, &shuffled, 2);
        got.retain(|key, _| expected.contains_key(key));
        assert_eq!(got, expected, "AMEND_SEED={seed} {setup:?} {shuffled:?}");
    }
}
