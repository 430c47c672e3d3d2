//! What is said is amended, and everything that follows hears of it: groupings of groupings, side
//! inputs, what is final and what has timers; what cannot be amended is counted or refused.
//!
//! Four families: second groupings (and chains of them, compared with plain loops), dead letters,
//! pipelines that are refused before they run, and timers.

use std::collections::{BTreeMap, BTreeSet};

use amend::prelude::*;

use crate::workload::{self, Random};

fn at(us: i64) -> EventTime {
    EventTime(us)
}

fn window(start: i64, end: i64) -> Window {
    Window::new(at(start), at(end))
}

/// A value under the one key of most tests.
fn a(value: i64) -> (String, i64) {
    ("a".to_owned(), value)
}

fn sessions() -> Sessions {
    Sessions::with_gap(micros(10))
}

/// Runs a pipeline with several numbers of workers; nothing may be set aside.
#[track_caller]
fn check(build: impl Fn(&Pipeline<'_>) + Clone + Send + Sync + 'static) {
    for report in run(build) {
        assert_eq!(report.dead, BTreeMap::new(), "{} workers", report.workers);
    }
}

/// The reports of a pipeline that is run with several numbers of workers.
#[track_caller]
fn run(build: impl Fn(&Pipeline<'_>) + Clone + Send + Sync + 'static) -> Vec<JobReport> {
    let report = |workers: usize| {
        let build = build.clone();
        amend::run(&Options::default().workers(workers), move |p| {
            build(p);
            // Whoever reads them is not told of them.
            p.dead_letters("dead");
        })
    };
    [1, 2, 4].map(|workers| report(workers).unwrap()).to_vec()
}

/// A pipeline that cannot be run: the kind is Usage, and the message says this.
#[track_caller]
fn refused(expected: &str, build: impl Fn(&Pipeline<'_>) + Send + Sync + 'static) {
    let error = amend::run(&Options::default().workers(2), build).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn a_session_that_merges_with_one_that_was_said_is_summed_once() {
    let script = TestStream::new()
        .add_elements([(a(1), at(0))])
        .advance_watermark_to(at(12))
        .add_elements([(a(2), at(9))])
        .add_elements([(a(4), at(15))])
        .advance_watermark_to(at(22))
        .advance_watermark_to_infinity();
    check(move |p| {
        let rows = p.read("script", script.clone());
        let sums = rows.window_into("sessions", sessions()).sum_per_key("sums");
        let again = sums.sum_per_key("again");
        PAssert::that("again", &again).contains_in_any_order([a(7)]);
        let merged = PAssert::that("merged", &again).in_window(window(0, 25));
        merged.contains_in_any_order([a(7)]);
        let last = sums.finalized("final");
        let ever = PAssert::that("ever final", &last).in_all_panes();
        ever.contains_in_any_order([a(7)]);
        let merged = PAssert::that("final", &last).in_window(window(0, 25));
        merged.contains_in_any_order([a(7)]);
    });
}

#[test]
fn a_session_that_grows_after_its_pane_reaches_the_second_grouping() {
    let early = Trigger::after_watermark().early(Trigger::after_count(1));
    for trigger in [Trigger::Default, Trigger::after_watermark(), early] {
        let script = TestStream::new()
            .add_elements([(a(1), at(0))])
            .advance_watermark_to(at(12))
            .add_elements([(a(2), at(5))])
            .advance_watermark_to_infinity();
        check(move |p| {
            let rows = p.read("script", script.clone());
            let windows = sessions().triggering(trigger.clone());
            let sums = rows.window_into("sessions", windows).sum_per_key("sums");
            PAssert::that("sums", &sums).contains_in_any_order([a(3)]);
            let again = sums.sum_per_key("again");
            PAssert::that("again", &again).contains_in_any_order([a(3)]);
        });
    }
}

/// The first grouping closes its window; the second still takes what the first takes back.
#[test]
fn a_trigger_that_finishes_does_not_finish_the_second_grouping() {
    let pairs = || Trigger::after_count(2);
    let five = || Trigger::after_count(5);
    let any = || Trigger::AfterAny(vec![Trigger::after_count(3), five()]);
    for (trigger, expected) in [
        (pairs(), 3),
        (pairs().repeatedly().or_finally(five()), 31),
        (any(), 7),
        (Trigger::AfterAll(vec![pairs(), five()]), 31),
        (Trigger::AfterEach(vec![pairs(), pairs()]), 15),
    ] {
        let mut script = TestStream::new();
        for value in [1, 2, 4, 8, 16] {
            script = script.add_elements([(a(value), at(1))]);
        }
        let script = script.advance_watermark_to_infinity();
        let reports = run(move |p| {
            let windows = FixedWindows::of(micros(100)).triggering(trigger.clone());
            let rows = p.read("script", script.clone());
            let rows = rows.window_into("windows", windows.allow_unsafe_trigger());
            let sums = rows.sum_per_key("sums");
            let again = sums.sum_per_key("again");
            PAssert::that("sums", &sums).contains_in_any_order([a(expected)]);
            PAssert::that("again", &again).contains_in_any_order([a(expected)]);
        });
        for report in reports {
            let steps: Vec<_> = report.dead.keys().filter(|dead| dead.0 != "sums").collect();
            assert!(steps.is_empty(), "{steps:?}");
        }
    }
}

#[test]
fn an_amendment_that_comes_too_late_is_counted() {
    let script = TestStream::new()
        .add_elements([(a(1), at(0))])
        .advance_watermark_to(at(10))
        .add_elements([(a(2), at(1))])
        .advance_watermark_to_infinity();
    let reports = run(move |p| {
        let windows = FixedWindows::of(micros(10));
        let sums = p
            .read("script", script.clone())
            .window_into("patient", windows.allowed_lateness(hours(1)))
            .sum_per_key("sums");
        PAssert::that("sums", &sums).contains_in_any_order([a(3)]);
        let again = sums.window_into("strict", windows).sum_per_key("again");
        PAssert::that("again", &again).contains_in_any_order([a(1)]);
    });
    // The sum of 1 that is taken back, and the sum of 3.
    let expected = BTreeMap::from([(("again".to_owned(), Refusal::Late), 2)]);
    for report in reports {
        assert_eq!(report.dead, expected);
    }
}

#[test]
fn what_is_final_is_never_negative() {
    let reports = run(|p| {
        let negated = p
            .create("rows", [a(1)])
            .differential("negated", |rows| rows.negate());
        let last = negated.finalized("final");
        last.inspect("look", |_, diff| assert!(diff > 0));
        PAssert::that("final", &last).in_all_panes().is_empty();
    });
    let expected = BTreeMap::from([(("final".to_owned(), Refusal::Late), 1)]);
    for report in reports {
        assert_eq!(report.dead, expected);
    }
}

#[test]
fn a_first_record_at_the_end_of_time_costs_no_other_one() {
    let rows = [(a(1), EventTime::MAX), (a(2), at(2)), (a(4), at(3))];
    let options = Options::default().workers(2).epoch_events(1);
    let report = amend::run(&options, move |p| {
        let sums = p
            .create_timestamped("rows", rows.clone())
            .sum_per_key("sums");
        PAssert::that("sums", &sums).contains_in_any_order([a(7)]);
    });
    assert_eq!(report.unwrap().dead, BTreeMap::new());
}

#[test]
fn days_and_months_at_the_ends_of_the_calendar_are_one_window() {
    let ends = [
        i64::MIN,
        -8_334_601_228_800_000_000,
        8_210_266_876_799_999_999,
        i64::MAX,
    ];
    for zone in ["Pacific/Kiritimati", "America/Los_Angeles", "Europe/Berlin"] {
        let zone = zone.parse().unwrap();
        check(move |p| {
            let rows = p.create_timestamped("rows", ends.map(|us| (1, at(us))));
            for (unit, windows) in [
                ("days", CalendarWindows::days(1)),
                ("months", CalendarWindows::months(1)),
            ] {
                let count = rows
                    .window_into(unit, windows.time_zone(zone))
                    .count_globally(&format!("count of {unit}"));
                PAssert::that(&format!("{unit} counted"), &count).contains_in_any_order([4]);
            }
        });
    }
}

#[test]
fn panes_that_pile_up_are_no_side_input() {
    refused("looks at panes of which none is ever taken back", |p| {
        let windows = GlobalWindows
            .triggering(Trigger::Always)
            .accumulation(Accumulation::Accumulating);
        let rows = p.create("rows", [a(1)]);
        let sums = rows.window_into("windows", windows).sum_per_key("sums");
        p.create("main", [1])
            .map_with("look", &sums.as_list(), |n, side| n + side.len());
    });
}

#[test]
fn what_is_not_grouped_yet_does_not_pile_up() {
    check(|p| {
        let windows = GlobalWindows.accumulation(Accumulation::Accumulating);
        let side = p
            .create("side", [1, 2])
            .differential("may take back", |rows| rows)
            .window_into("windows", windows);
        let main = p.create("main", [1]);
        let sums = main.map_with("look", &side.as_list(), |n, side| n + side.len());
        PAssert::that("sums", &sums).contains_in_any_order([3]);
    });
}

#[test]
fn steps_that_work_window_by_window_refuse_windows_yet_to_be_merged() {
    fn visits<'scope>(p: &Pipeline<'scope>, name: &str) -> PCollection<'scope, (String, i64)> {
        p.create_timestamped(name, [(a(1), at(0)), (a(2), at(5))])
            .window_into(&format!("{name} in sessions"), sessions())
    }
    let expected = "works window by window, and these windows are yet to be merged";
    refused(expected, |p| {
        visits(p, "left").join("join", &visits(p, "right"));
    });
    refused(expected, |p| {
        visits(p, "visits").deduplicate("once", hours(1), |(key, _)| key.clone());
    });
    refused(expected, |p| {
        visits(p, "visits").sequence_gaps("gaps", |(key, n)| (key.clone(), *n));
    });
    refused(expected, |p| {
        let place = |(key, n): &(String, i64)| (key.clone(), *n);
        let infer = |n, before: &Element<(String, i64)>, _: &Element<(String, i64)>| {
            (before.value.0.clone(), n)
        };
        visits(p, "visits").reconstruct("whole", 10, place, infer);
    });
    refused("puts together", |p| {
        let visits = visits(p, "visits");
        visits.sum_per_key("sums").flatten("both", &[&visits]);
    });
    refused("puts together", |p| {
        let visits = visits(p, "visits");
        visits.flatten("both", &[&visits.sum_per_key("sums")]);
    });
}

#[test]
fn lengths_below_a_microsecond_are_refused() {
    fn windows<W>(expected: &str, windows: W)
    where
        W: WindowFn<(String, i64)> + Clone + Send + Sync + 'static,
    {
        refused(expected, move |p| {
            let rows = p.create("rows", [a(1)]);
            rows.window_into("windows", windows.clone())
                .sum_per_key("sums");
        });
    }
    let short = std::time::Duration::from_nanos(500);
    windows("fixed windows of length 0", FixedWindows::of(short));
    let sliding = SlidingWindows::of(seconds(1)).every(short);
    windows("sliding windows of length or period 0", sliding);
    windows("sessions with a gap of 0", Sessions::with_gap(short));
    let periodic = Trigger::at_period(short).repeatedly();
    windows("a period of 0", GlobalWindows.triggering(periodic));
}

#[test]
fn triggers_of_too_many_parts_are_refused() {
    let each = |parts| Trigger::AfterEach(vec![Trigger::after_count(1); parts]).repeatedly();
    let grouped_twice = |trigger: Trigger| {
        move |p: &Pipeline<'_>| {
            let rows = p.create("rows", [a(1)]);
            let windows = GlobalWindows.triggering(trigger.clone());
            let sums = rows.window_into("windows", windows).sum_per_key("sums");
            let again = sums.sum_per_key("again");
            PAssert::that("again", &again).contains_in_any_order([a(1)]);
        }
    };
    refused("more than 64 parts", grouped_twice(each(63)));
    // Itself it has 42 parts; that of the next grouping has more.
    refused("more than 64 parts", grouped_twice(each(40)));
    check(grouped_twice(each(20)));
}

/// Sets a timer at the instant that an element names.
struct Alarm;

impl StatefulDoFn<String, i64> for Alarm {
    type State = ();
    type Output = String;

    fn process(
        &self,
        _: &String,
        element: &Element<i64>,
        _: &mut (),
        context: &mut Context<'_, String>,
    ) {
        context.set_timer("alarm", at(element.value));
    }

    fn on_timer(&self, _: &String, timer: &Timer, _: &mut (), context: &mut Context<'_, String>) {
        context.output(format!("alarm at {}", timer.at.0));
    }

    fn on_window_expiration(&self, key: &String, _: &mut (), context: &mut Context<'_, String>) {
        context.output(format!("{key} expired"));
    }
}

#[test]
fn a_timer_at_or_beyond_the_expiry_of_its_window_never_goes_off() {
    let alarm = |key: &str, alarm, time| ((key.to_owned(), alarm), at(time));
    for epoch_events in [1, 100] {
        let rows = [
            alarm("beyond", 25, 1),
            alarm("at", 10, 1),
            alarm("last", 9, 2),
            alarm("next", 15, 15),
            alarm("far", 45, 40),
        ];
        let options = Options::default().workers(2).epoch_events(epoch_events);
        let report = amend::run(&options, move |p| {
            let alarms = p
                .create_timestamped("rows", rows.clone())
                .window_into("windows", FixedWindows::of(micros(10)))
                .stateful_par_do("alarms", Alarm);
            let said = [
                "alarm at 15",
                "alarm at 45",
                "alarm at 9",
                "at expired",
                "beyond expired",
                "far expired",
                "last expired",
                "next expired",
            ];
            PAssert::that("said", &alarms).contains_in_any_order(said.map(str::to_owned));
        });
        assert_eq!(report.unwrap().dead, BTreeMap::new());
    }
}

/// Sets a timer in the past with every element, and says what came before it went off.
struct Overdue;

impl StatefulDoFn<String, i64> for Overdue {
    type State = Vec<i64>;
    type Output = Vec<i64>;

    fn process(
        &self,
        _: &String,
        element: &Element<i64>,
        came: &mut Vec<i64>,
        context: &mut Context<'_, Vec<i64>>,
    ) {
        came.push(element.value);
        context.set_timer("overdue", at(50));
    }

    fn on_timer(
        &self,
        _: &String,
        _: &Timer,
        came: &mut Vec<i64>,
        context: &mut Context<'_, Vec<i64>>,
    ) {
        context.output(came.clone());
    }
}

#[test]
fn a_timer_in_the_past_goes_off_in_the_epoch_that_sets_it() {
    let script = TestStream::new()
        .advance_watermark_to(at(100))
        .add_elements([(a(1), at(150))])
        .add_elements([(a(2), at(150))])
        .add_elements([(a(3), at(150))])
        .advance_watermark_to_infinity();
    let said = Collected::new();
    let into = said.clone();
    let report = amend::run(&Options::default().workers(2), move |p| {
        p.read("script", script.clone())
            .stateful_par_do("overdue", Overdue)
            .collect_into("collect", &into);
    });
    assert_eq!(report.unwrap().dead, BTreeMap::new());
    let said: Vec<_> = said
        .changes()
        .into_iter()
        .map(|(epoch, (element, diff))| (epoch, element.value, diff))
        .collect();
    let expected = [(1, vec![1], 1), (2, vec![1, 2], 1), (3, vec![1, 2, 3], 1)];
    assert_eq!(said, expected);
}

/// Windows of a chain, in microseconds.
#[derive(Clone, Copy, Debug)]
enum Windows {
    Fixed(i64),
    Sliding { size: i64, period: i64 },
    Sessions(i64),
}

/// What a chain of groupings is given.
#[derive(Clone, Debug)]
struct Chain {
    windows: Windows,
    trigger: Trigger,
    lateness: i64,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Keys, values and event times.
    Elements(Vec<(i64, i64, i64)>),
    Watermark(i64),
}

/// By key and window, the sum.
type Sums = BTreeMap<(i64, (i64, i64)), i64>;

fn random_chain(seed: u64) -> Chain {
    let mut random = Random::new(seed ^ 0xC4A1);
    let size = *random.pick(&[5, 10, 20]);
    let windows = match random.below(4) {
        0 => Windows::Fixed(size),
        1 => Windows::Sliding {
            size,
            period: *random.pick(&[3, 5, 10]),
        },
        _ => Windows::Sessions(size),
    };
    let mut count = || Trigger::after_count(1 + random.below(3) as u64);
    let (one, other) = (count(), count());
    let trigger = match random.below(4) {
        0 => Trigger::Default,
        1 => Trigger::Always,
        2 => one.repeatedly(),
        _ => Trigger::after_watermark().early(one).late(other),
    };
    let lateness = *random.pick(&[0, 5, 1000]);
    // How far behind the watermark an element may lie without being refused.
    let behind = match windows {
        Windows::Sessions(gap) => lateness + gap - 1,
        _ => lateness,
    };
    let mut watermark = 0;
    let step = |_| {
        if random.percent(40) {
            watermark += random.below(25) as i64;
            return Step::Watermark(watermark);
        }
        let value = |random: &mut Random| 1 + random.below(9) as i64;
        let elements = (0..1 + random.below(4)).map(|_| {
            let key = random.below(2) as i64;
            let earliest = 0.max(watermark - behind);
            let time = earliest + random.below(40) as i64;
            (key, value(&mut random), time)
        });
        Step::Elements(elements.collect())
    };
    let steps = (0..12).map(step).collect();
    Chain {
        windows,
        trigger,
        lateness,
        steps,
    }
}

/// The windows of a key whose elements have these event times, in order.
fn windows_of(windows: Windows, times: &BTreeSet<i64>) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    match windows {
        Windows::Fixed(size) => {
            let start = |time: &i64| time.div_euclid(size) * size;
            found.extend(times.iter().map(|time| (start(time), start(time) + size)));
        }
        Windows::Sliding { size, period } => {
            for time in times {
                let starts = (time - size + 1..=*time).filter(|start| start % period == 0);
                found.extend(starts.map(|start| (start, start + size)));
            }
        }
        Windows::Sessions(gap) => {
            for time in times {
                match found.last_mut() {
                    Some((_, end)) if time < end => *end = time + gap,
                    _ => found.push((*time, time + gap)),
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What all groupings of a chain say in the end.
fn plain_sums(chain: &Chain) -> Sums {
    let mut rows: Vec<(i64, i64, i64)> = Vec::new();
    for step in &chain.steps {
        if let Step::Elements(elements) = step {
            rows.extend(elements);
        }
    }
    let mut sums = Sums::new();
    for key in 0..2 {
        let own = || rows.iter().filter(|row| row.0 == key);
        for (start, end) in windows_of(chain.windows, &own().map(|row| row.2).collect()) {
            let within = own().filter(|row| (start..end).contains(&row.2));
            let sum: i64 = within.map(|row| row.1).sum();
            if sum != 0 {
                sums.insert((key, (start, end)), sum);
            }
        }
    }
    sums
}

fn chain_script(chain: &Chain) -> TestStream<(i64, i64)> {
    let mut script = TestStream::new();
    for step in &chain.steps {
        script = match step {
            Step::Elements(elements) => {
                let rows = elements
                    .iter()
                    .map(|(key, value, time)| ((*key, *value), at(*time)));
                script.add_elements(rows)
            }
            Step::Watermark(time) => script.advance_watermark_to(at(*time)),
        };
    }
    script.advance_watermark_to_infinity()
}

fn chain_windowed<'scope>(
    rows: &PCollection<'scope, (i64, i64)>,
    chain: &Chain,
) -> PCollection<'scope, (i64, i64)> {
    fn with<W>(windows: W, chain: &Chain) -> Windowing<W> {
        Windowing::of(windows)
            .triggering(chain.trigger.clone())
            .allowed_lateness(micros(chain.lateness as u64))
    }
    let us = |us: i64| micros(us as u64);
    match chain.windows {
        Windows::Fixed(size) => rows.window_into("w", with(FixedWindows::of(us(size)), chain)),
        Windows::Sliding { size, period } => {
            let sliding = SlidingWindows::of(us(size)).every(us(period));
            rows.window_into("w", with(sliding, chain))
        }
        Windows::Sessions(gap) => rows.window_into("w", with(Sessions::with_gap(us(gap)), chain)),
    }
}

/// Elements as sums, of which each is there once.
fn as_sums(elements: impl IntoIterator<Item = (Element<(i64, i64)>, isize)>) -> Option<Sums> {
    let mut sums = Sums::new();
    for (element, times) in elements {
        let (key, sum) = element.value;
        let place = (key, (element.window.start.0, element.window.end.0));
        if times != 1 || sums.insert(place, sum).is_some() {
            return None;
        }
    }
    Some(sums)
}

#[test]
fn oracle_chains_of_groupings_agree() {
    for seed in workload::seeds(100) {
        let chain = random_chain(seed);
        let expected = Some(plain_sums(&chain));
        let names = ["first", "second", "third", "final", "look"];
        let said = names.map(|name| (name, Collected::new()));
        let (into, script, chain_here) = (said.clone(), chain_script(&chain), chain.clone());
        let options = Options::default().workers([1, 2, 4][seed as usize % 3]);
        let report = amend::run(&options, move |p| {
            let rows = p.read("script", script.clone());
            let first = chain_windowed(&rows, &chain_here).sum_per_key("first");
            let second = first.sum_per_key("second");
            let third = second.sum_per_key("third");
            let last = third.finalized("final");
            let look = third.par_do_with("look", &second.as_map(), |(key, _), map, output| {
                output.extend(map.get(&key).map(|sum| (key, *sum)));
            });
            for (collection, (name, into)) in [first, second, third, last, look].iter().zip(&into) {
                collection.collect_into(&format!("collect {name}"), into);
            }
        });
        let context = || format!("AMEND_SEED={seed} {chain:?}");
        assert_eq!(report.unwrap().dead, BTreeMap::new(), "{}", context());
        for (name, said) in &said {
            let elements = said.elements();
            let got = as_sums(elements.clone());
            assert_eq!(got, expected, "{name}: {elements:?}\n{}", context());
        }
        let ever = said[3].1.changes().into_iter().map(|(_, change)| change);
        assert_eq!(as_sums(ever), expected, "ever final\n{}", context());
    }
}
