//! Transforms, one by one: what they say, what they take back, and what they refuse.

use std::collections::{BTreeMap, BTreeSet};

use amend::ErrorKind;
use amend::io::source::{Batch, Place, Reader, Reading};
use amend::prelude::*;

use crate::workload::Random;

fn at(seconds: i64) -> EventTime {
    EventTime::from_seconds(seconds)
}

fn options() -> [Options; 3] {
    [1, 2, 4].map(|workers| Options::default().workers(workers).epoch_events(2))
}

/// Runs a pipeline whose assertions must hold, with several numbers of workers.
#[track_caller]
fn check(build: impl Fn(&Pipeline<'_>) + Clone + Send + Sync + 'static) {
    for options in options() {
        if let Err(error) = amend::run(&options, build.clone()) {
            panic!("{options:?}: {}", error.to_text());
        }
        if let Err(error) = amend::run(&options.clone().check_determinism(), build.clone()) {
            panic!("{options:?}, every function twice: {}", error.to_text());
        }
    }
}

/// A pipeline that cannot be built: the kind is Usage, and the message says this.
#[track_caller]
fn refused(expected: &str, build: impl Fn(&Pipeline<'_>) + Clone + Send + Sync + 'static) {
    for options in options() {
        let error = amend::run(&options, build.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_text().contains(expected), "{}", error.to_text());
        assert!(error.hint().is_some(), "{}", error.to_text());
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

/// Panes that come early and are taken back.
fn early() -> Windowing<FixedWindows> {
    FixedWindows::of(seconds(10))
        .triggering(
            Trigger::after_watermark()
                .early(Trigger::after_count(1))
                .late(Trigger::after_count(1)),
        )
        .allowed_lateness(hours(1))
}

#[test]
fn combinations_of_values() {
    check(|p| {
        let rows = [("a", 3), ("b", 5), ("a", -1), ("a", 7), ("b", 5)];
        let rows = p.create("rows", rows.map(|(key, value)| (text(key), value)));
        PAssert::that("count", &rows.count_per_key("count"))
            .contains_in_any_order([(text("a"), 3), (text("b"), 2)]);
        PAssert::that("sum", &rows.sum_per_key("sum"))
            .contains_in_any_order([(text("a"), 9), (text("b"), 10)]);
        PAssert::that("mean", &rows.mean_per_key("mean")).contains_in_any_order([
            (text("a"), OrderedFloat(3.0)),
            (text("b"), OrderedFloat(5.0)),
        ]);
        PAssert::that("min", &rows.min_per_key("min"))
            .contains_in_any_order([(text("a"), -1), (text("b"), 5)]);
        PAssert::that("max", &rows.max_per_key("max"))
            .contains_in_any_order([(text("a"), 7), (text("b"), 5)]);
        PAssert::that("top", &rows.top_per_key("top", 2))
            .contains_in_any_order([(text("a"), vec![7, 3]), (text("b"), vec![5, 5])]);
        PAssert::that("distinct", &rows.distinct("distinct").count_globally("n"))
            .contains_in_any_order([4]);
        PAssert::that("all", &rows.count_globally("all")).contains_in_any_order([5]);
        let values = rows.values("values");
        PAssert::that("greatest", &values.top_globally("greatest", 1))
            .contains_in_any_order([vec![7]]);
        PAssert::that("each", &values.count_per_element("each")).contains_in_any_order([
            (-1, 1),
            (3, 1),
            (5, 2),
            (7, 1),
        ]);
        let parts = values.partition("parts", 2, |value| usize::from(*value > 3));
        PAssert::that("low", &parts[0]).contains_in_any_order([-1, 3]);
        PAssert::that("high", &parts[1].reshuffle("deal")).contains_in_any_order([5, 5, 7]);
        let again = parts[0].flatten("again", &[&parts[1]]);
        PAssert::that("together", &again.count_globally("n2")).contains_in_any_order([5]);
    });
}

#[test]
fn sums_of_extremes_do_not_overflow_and_floats_do_not_drift() {
    check(|p| {
        let ints = p.create(
            "ints",
            [((), i64::MAX), ((), 1), ((), i64::MAX), ((), i64::MIN)],
        );
        PAssert::that("held", &ints.sum_per_key("ints-sum"))
            .contains_in_any_order([((), i64::MAX)]);
        let floats = [1e16, 1.0, -1e16, 0.1, 0.2].map(|value| ((), OrderedFloat(value)));
        let floats = p.create("floats", floats);
        // In the order of their values, whatever order they come in.
        let sum = [-1e16, 0.1, 0.2, 1.0, 1e16].iter().sum::<f64>();
        PAssert::that("floats", &floats.sum_per_key("floats-sum"))
            .contains_in_any_order([((), OrderedFloat(sum))]);
    });
}

#[test]
fn about_how_many_are_different() {
    check(|p| {
        let rows = p.create("rows", (0..3_000).map(|n| ((), n % 1_000)));
        let about = rows.approximate_count_distinct_per_key("about");
        PAssert::that("about", &about).satisfies(|values| match values {
            [((), about)] if (950..=1_050).contains(about) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    });
}

type Row = (i64, i64);

/// What is left of each key, in order.
type Left = BTreeMap<i64, Vec<i64>>;

/// Rows that come and go: a script, and what is left of each key at the end, in order.
fn coming_and_going(seed: u64) -> (TestStream<(Row, isize)>, Left) {
    let mut random = Random::new(seed);
    let mut stream = TestStream::new();
    let mut left: BTreeMap<Row, isize> = BTreeMap::new();
    for _ in 0..8 {
        let mut bundle = Vec::new();
        for _ in 0..random.below(6) {
            let row = (random.below(2) as i64, random.below(5) as i64);
            let times = left.entry(row).or_default();
            let diff = if *times > 0 && random.percent(40) {
                -1
            } else {
                1
            };
            *times += diff;
            bundle.push(((row, diff), at(1)));
        }
        stream = stream.add_elements(bundle);
    }
    let mut expected: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for ((key, value), times) in left.into_iter().filter(|(_, times)| *times > 0) {
        let values = expected.entry(key).or_default();
        values.extend(std::iter::repeat_n(value, times as usize));
    }
    (stream, expected)
}

fn rows<'scope>(
    p: &Pipeline<'scope>,
    stream: &TestStream<(Row, isize)>,
) -> PCollection<'scope, Row> {
    p.read("script", stream.clone())
        .differential("rows", |inner| {
            inner.explode(|row| {
                let diff = row.value.1;
                Some((row.map(|(row, _)| row), diff))
            })
        })
}

/// Every combination, in panes that come early and are taken back, equals plain loops over what is
/// left in the end.
#[test]
fn oracle_combinations_follow_retractions() {
    for seed in 0..60 {
        let (stream, expected) = coming_and_going(seed);
        let build = move |p: &Pipeline<'_>| {
            let rows = rows(p, &stream).window_into("early", early());
            let of = |f: &dyn Fn(&[i64]) -> i64| -> Vec<(i64, i64)> {
                expected
                    .iter()
                    .map(|(key, values)| (*key, f(values)))
                    .collect()
            };
            let sums = rows.sum_per_key("sums");
            PAssert::that("sum", &sums).contains_in_any_order(of(&|v| v.iter().sum()));
            let least = rows.min_per_key("least");
            PAssert::that("min", &least).contains_in_any_order(of(&|v| v[0]));
            let most = rows.max_per_key("most");
            PAssert::that("max", &most).contains_in_any_order(of(&|v| v[v.len() - 1]));
            let counts = rows.count_per_key("counts").map_values("i64", |n| n as i64);
            PAssert::that("count", &counts).contains_in_any_order(of(&|v| v.len() as i64));
            let top = expected.iter().map(|(key, values)| {
                (
                    *key,
                    values.iter().rev().take(2).copied().collect::<Vec<_>>(),
                )
            });
            PAssert::that("top", &rows.top_per_key("top", 2)).contains_in_any_order(top);
            let means = expected.iter().map(|(key, values)| {
                let mean = values.iter().sum::<i64>() as f64 / values.len() as f64;
                (*key, OrderedFloat(mean))
            });
            PAssert::that("mean", &rows.mean_per_key("mean")).contains_in_any_order(means);
            let about = expected
                .iter()
                .map(|(key, values)| (*key, values.iter().collect::<BTreeSet<_>>().len() as u64));
            let distinct = rows.approximate_count_distinct_per_key("distinct");
            PAssert::that("about", &distinct).contains_in_any_order(about);
        };
        let workers = [1, 2, 4][seed as usize % 3];
        let result = amend::run(&Options::default().workers(workers), build);
        if let Err(error) = result {
            panic!("seed {seed}: {}", error.to_text());
        }
    }
}

#[test]
fn groups_and_joins_of_two_collections() {
    check(|p| {
        let emails = p.create("emails", [(1, text("amy@x")), (2, text("bo@x"))]);
        let phones = p.create(
            "phones",
            [(1, text("111")), (1, text("112")), (3, text("3"))],
        );
        let both = emails.co_group_by_key("both", &phones);
        PAssert::that("both", &both).contains_in_any_order([
            (1, (vec![text("amy@x")], vec![text("111"), text("112")])),
            (2, (vec![text("bo@x")], vec![])),
            (3, (vec![], vec![text("3")])),
        ]);
        let joined = emails.join("joined", &phones);
        PAssert::that("joined", &joined).contains_in_any_order([
            (1, (text("amy@x"), text("111"))),
            (1, (text("amy@x"), text("112"))),
        ]);
    });
}

/// A late element corrects a sum, and the sum corrects what was joined with it.
#[test]
fn a_late_element_corrects_through_a_join() {
    let script = TestStream::new()
        .add_elements([((1, 10), at(1)), ((2, 5), at(2))])
        .advance_watermark_to(at(20))
        .add_elements([((1, 7), at(3))]);
    check(move |p| {
        let sums = p
            .read("script", script.clone())
            .window_into("windows", early())
            .sum_per_key("sums");
        let names = p
            .create_timestamped(
                "names",
                [((1, text("one")), at(1)), ((2, text("two")), at(1))],
            )
            .window_into("names-windows", early());
        let named = names.join("named", &sums).values("values");
        PAssert::that("in the end", &named)
            .contains_in_any_order([(text("one"), 17), (text("two"), 5)]);
        PAssert::that("ever", &named)
            .in_all_panes()
            .satisfies(|ever| {
                let was_there = ever.contains(&(text("one"), 10));
                was_there.then_some(()).ok_or_else(|| format!("{ever:?}"))
            });
        // A second grouping over what was joined.
        let total = named
            .values("sums-of-names")
            .combine_globally("total", Sum::default());
        PAssert::that("total", &total).contains_in_any_order([22]);
    });
}

#[test]
fn a_side_input_that_changes_late_corrects_what_was_joined_with_the_old_value() {
    let rates = TestStream::new()
        .add_elements([((text("eur"), 2), at(1))])
        .advance_watermark_to(at(100))
        .add_elements([((text("eur"), 3), at(5))]);
    check(move |p| {
        let orders = p.create("orders", [(text("eur"), 10), (text("usd"), 4)]);
        let rates = p.read("rates", rates.clone()).as_map();
        let paid = orders.map_with("convert", &rates, |(currency, sum), rates| {
            sum * rates.get(&currency).copied().unwrap_or(1)
        });
        PAssert::that("in the end", &paid).contains_in_any_order([30, 4]);
        let total = paid.combine_globally("total", Sum::default());
        PAssert::that("total", &total).contains_in_any_order([34]);
    });
    let collected = Collected::new();
    let into = collected.clone();
    let rates = TestStream::new()
        .add_elements([(2, at(1))])
        .add_elements([(3, at(5))]);
    amend::run(&Options::default().workers(2), move |p| {
        let orders = p.create("orders", [10]);
        let rate = p.read("rates", rates.clone()).as_singleton(1);
        let paid = orders.map_with("convert", &rate, |sum, rate| sum * rate);
        paid.collect_into("collect", &into);
    })
    .unwrap();
    let changes: Vec<_> = collected
        .changes()
        .into_iter()
        .map(|(epoch, (element, diff))| (epoch, element.value, diff))
        .collect();
    assert_eq!(changes, [(0, 20, 1), (1, 20, -1), (1, 30, 1)]);
}

#[test]
fn side_inputs_by_window_follow_panes_that_are_taken_back() {
    let script = TestStream::new()
        .add_elements([((0, 1), at(1)), ((0, 2), at(2)), ((1, 4), at(12))])
        .advance_watermark_to(at(20))
        .add_elements([((0, 3), at(3))]);
    check(move |p| {
        let rows = p
            .read("script", script.clone())
            .window_into("windows", early());
        let totals = rows
            .values("values")
            .combine_globally("totals", Sum::default());
        let shares = rows.map_with("share", &totals.as_singleton(0), |(_, value), total| {
            (value, *total)
        });
        PAssert::that("shares", &shares).contains_in_any_order([(1, 6), (2, 6), (3, 6), (4, 4)]);
    });
}

#[test]
fn elements_that_fail_are_dead_letters_under_the_name_of_the_step() {
    check(|p| {
        let texts = p.create("texts", ["1", "x", "3", "y"].map(text));
        let parse = |text: String| text.parse::<i64>();
        let (numbers, bad) = texts.try_map("parse", ErrorThreshold::share(0.6), parse);
        PAssert::that("numbers", &numbers).contains_in_any_order([1, 3]);
        let bad = bad.map("short", |letter| {
            (letter.step, letter.element, letter.detail)
        });
        let cause = || text("invalid digit found in string");
        let expected = ["x", "y"].map(|t| (text("parse"), format!("{t:?}"), cause()));
        PAssert::that("bad", &bad).contains_in_any_order(expected);
    });
}

#[test]
fn too_many_failures_fail_the_run() {
    for options in options() {
        let error = amend::run(&options, |p| {
            let texts = p.create("texts", ["1", "x", "3"].map(text));
            texts.try_map("parse", ErrorThreshold::share(0.3), |text| {
                text.parse::<i64>()
            });
        })
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooManyDead);
        let expected = "step \"parse\" failed on 1 of 3 elements, more than 30 %";
        assert!(error.to_text().contains(expected), "{}", error.to_text());
    }
}

#[test]
fn what_comes_too_late_is_a_dead_letter_and_is_counted() {
    let script = TestStream::new()
        .add_elements([((1, 10), at(1))])
        .advance_watermark_to(at(60))
        .add_elements([((1, 7), at(3)), ((1, 8), at(61))]);
    for options in options() {
        let script = script.clone();
        let report = amend::run(&options, move |p| {
            let windows = FixedWindows::of(seconds(10)).allowed_lateness(seconds(20));
            let rows = p
                .read("script", script.clone())
                .window_into("windows", windows);
            PAssert::that("sums", &rows.sum_per_key("sums"))
                .contains_in_any_order([(1, 10), (1, 8)]);
            let (_, late) = rows.group_by_key_and_late("groups");
            PAssert::that("late", &late).contains_in_any_order([(1, 7)]);
            let letters = p.dead_letters("letters").map("short", |letter| {
                (
                    letter.step,
                    letter.reason,
                    letter.event_time,
                    letter.element,
                )
            });
            let letter = (text("sums"), Refusal::Late, Some(at(3)), text("[1,7]"));
            PAssert::that("letters", &letters).contains_in_any_order([letter]);
        })
        .unwrap();
        let expected = BTreeMap::from([((text("sums"), Refusal::Late), 1)]);
        assert_eq!(report.dead, expected);
    }
}

/// Sessions whose gap depends on what happens, merged by a rule of their own: a window that holds
/// another one swallows it, and nothing else merges.
#[derive(Clone, Debug)]
struct Stays;

impl WindowFn<(i64, i64)> for Stays {
    fn assign(&self, row: &(i64, i64), at: EventTime, mut each: impl FnMut(Window)) {
        each(Window::new(at, at + seconds(row.1 as u64)));
    }

    fn merging(&self) -> Merging {
        Merging::Custom {
            reach_us: 100_000_000,
            rule: std::sync::Arc::new(|windows| {
                let holds = |a: &Window, b: &Window| a.start <= b.start && b.end <= a.end;
                let longest = |window: &Window| {
                    let outer = windows.iter().filter(|other| holds(other, window));
                    outer
                        .max_by_key(|other| other.end.0 - other.start.0)
                        .copied()
                };
                windows
                    .iter()
                    .map(|window| longest(window).unwrap_or(*window))
                    .collect()
            }),
        }
    }
}

#[test]
fn windows_of_the_user_see_the_value_and_merge_by_a_rule_of_their_own() {
    let script = TestStream::new()
        .add_elements([((1, 5), at(10)), ((1, 20), at(30))])
        .advance_watermark_to(at(40))
        .add_elements([((1, 30), at(5)), ((1, 7), at(28))]);
    check(move |p| {
        let windows = Windowing::of(Stays)
            .triggering(Trigger::after_watermark().late(Trigger::after_count(1)))
            .allowed_lateness(hours(1));
        let stays = p
            .read("script", script.clone())
            .window_into("stays", windows);
        let sums = stays.sum_per_key("sums");
        let said = |from: i64, to: i64, sum: i64| (1, sum, at(from), at(to));
        let seen = sums.par_do_elements("windows", |element, output| {
            let (key, sum) = element.value;
            output.push((key, sum, element.window.start, element.window.end));
        });
        PAssert::that("stays", &seen)
            .contains_in_any_order([said(5, 35, 5 + 30 + 7), said(30, 50, 20)]);
    });
}

#[test]
fn days_of_a_time_zone_are_as_long_as_the_clocks_say() {
    check(|p| {
        let time = |text: &str| EventTime::parse(text).unwrap();
        // The clocks go back on 2026-10-25, so the day has 25 hours.
        let hours_of_two_days = (0..49).map(move |hour| {
            let midnight = time("2026-10-25T00:00:00+02:00");
            ((), midnight + hours(hour))
        });
        let days = CalendarWindows::days(1).time_zone("Europe/Berlin".parse().unwrap());
        let counts = p
            .create_timestamped("hours", hours_of_two_days)
            .window_into("days", days.allowed_lateness(hours(1)))
            .count_globally("counts");
        PAssert::that("counts", &counts).contains_in_any_order([25, 24]);
    });
}

/// Adds up what it is given, and says the sum at the end of the window; names what comes by number.
struct Running;

impl StatefulDoFn<i64, i64> for Running {
    type State = i64;
    type Output = (i64, i64);

    fn process(
        &self,
        key: &i64,
        element: &Element<i64>,
        sum: &mut i64,
        context: &mut Context<'_, (i64, i64)>,
    ) {
        *sum += element.value;
        context.output((*key, *sum));
    }

    fn on_window_expiration(
        &self,
        key: &i64,
        sum: &mut i64,
        context: &mut Context<'_, (i64, i64)>,
    ) {
        context.output((*key, -*sum));
    }
}

#[test]
fn functions_with_memory_see_elements_in_the_order_of_event_time() {
    check(|p| {
        let rows = [
            ((1, 30), at(3)),
            ((1, 10), at(1)),
            ((2, 5), at(2)),
            ((1, 7), at(11)),
        ];
        // All in one epoch, so that the order is theirs and not that of the epochs.
        let script = TestStream::new().add_elements(rows);
        let sums = p
            .read("script", script)
            .window_into("windows", FixedWindows::of(seconds(10)))
            .stateful_par_do("running", Running);
        PAssert::that("sums", &sums).contains_in_any_order([
            (1, 10),
            (1, 40),
            (1, -40),
            (2, 5),
            (2, -5),
            (1, 7),
            (1, -7),
        ]);
    });
}

/// Sets timers in both times, and one anew each time that it goes off.
struct Alarm;

impl StatefulDoFn<i64, i64> for Alarm {
    type State = u32;
    type Output = String;

    fn process(
        &self,
        _: &i64,
        element: &Element<i64>,
        _: &mut u32,
        context: &mut Context<'_, String>,
    ) {
        match element.value {
            0 => context.clear_timer("event"),
            value => {
                context.set_timer("event", element.event_time + seconds(value as u64));
                context.set_processing_timer("clock", context.clock() + seconds(value as u64));
            }
        }
    }

    fn on_timer(
        &self,
        key: &i64,
        timer: &Timer,
        gone_off: &mut u32,
        context: &mut Context<'_, String>,
    ) {
        *gone_off += 1;
        context.output(format!(
            "{key} {} {:?} {}",
            timer.name, timer.domain, timer.at
        ));
        if timer.domain == TimeDomain::Event && *gone_off < 3 {
            context.set_timer("event", timer.at + seconds(1));
        }
    }
}

#[test]
fn timers_go_off_in_event_time_and_in_processing_time() {
    let script = TestStream::new()
        .add_elements([((1, 5), at(10)), ((2, 3), at(10))])
        .advance_processing_time(seconds(4))
        .add_elements([((2, 0), at(11))])
        .advance_watermark_to(at(15))
        .advance_watermark_to(at(100));
    check(move |p| {
        let alarms = p
            .read("script", script.clone())
            .stateful_par_do("alarm", Alarm);
        PAssert::that("alarms", &alarms).contains_in_any_order(
            [
                "2 clock Processing 1970-01-01T00:00:03Z",
                "1 event Event 1970-01-01T00:00:15Z",
                "1 event Event 1970-01-01T00:00:16Z",
                "1 event Event 1970-01-01T00:00:17Z",
                "1 clock Processing 1970-01-01T00:00:05Z",
            ]
            .map(text),
        );
    });
}

#[test]
fn memory_and_discarding_refuse_what_takes_elements_back() {
    let sums = |p: &Pipeline<'_>| {
        let rows = p.create("rows", [(1, 2)]).window_into("windows", early());
        rows.sum_per_key("sums").stateful_par_do("memory", Running);
    };
    refused(
        "step \"memory\" has memory, and its input takes elements back",
        sums,
    );
    refused(
        "step \"again\" discards fired panes, and its input takes elements back",
        |p| {
            let rows = p.create("rows", [(1, 2)]).window_into("windows", early());
            let discarding = GlobalWindows
                .triggering(Trigger::after_count(1).repeatedly())
                .accumulation(Accumulation::Discarding);
            rows.sum_per_key("sums")
                .window_into("global", discarding)
                .sum_per_key("again");
        },
    );
    // What is final can be taken by both, and holds the last panes only.
    check(|p| {
        let script = TestStream::new()
            .add_elements([((1, 2), at(1))])
            .add_elements([((1, 3), at(2))])
            .advance_watermark_to(at(10_000));
        let rows = p.read("script", script).window_into("windows", early());
        let finals = rows.sum_per_key("sums").finalized("final");
        assert!(finals.is_append_only());
        PAssert::that("final", &finals)
            .in_all_panes()
            .contains_in_any_order([(1, 5)]);
        let said = finals.stateful_par_do("memory", Running);
        PAssert::that("memory", &said).contains_in_any_order([(1, 5), (1, -5)]);
    });
    // A window that fires once takes nothing back.
    check(|p| {
        let rows = p
            .create_timestamped("rows", [((1, 2), at(1))])
            .window_into("windows", FixedWindows::of(seconds(10)));
        assert!(rows.sum_per_key("sums").is_append_only());
    });
}

#[test]
fn pipelines_that_make_no_sense_are_refused_before_anything_is_read() {
    refused("two steps are named \"rows\"", |p| {
        p.create("rows", [1]).map("rows", |n| n);
    });
    refused("a step has no name", |p| {
        p.create(" ", [1]);
    });
    refused("puts together GlobalWindows and FixedWindows", |p| {
        let rows = p.create("rows", [1]);
        let windowed = rows.window_into("windows", FixedWindows::of(seconds(1)));
        rows.flatten("both", &[&windowed]);
    });
    refused("has a trigger that finishes, AfterCount(2)", |p| {
        let windows = GlobalWindows.triggering(Trigger::after_count(2));
        p.create("rows", [(1, 1)])
            .window_into("windows", windows)
            .sum_per_key("sums");
    });
    refused("has fixed windows of length 0", |p| {
        p.create("rows", [1])
            .window_into("windows", FixedWindows::of(seconds(0)));
    });
    refused("AfterCount(0) would fire without end", |p| {
        let windows = GlobalWindows.triggering(Trigger::after_count(0).repeatedly());
        p.create("rows", [1]).window_into("windows", windows);
    });
    refused("makes no parts", |p| {
        p.create("rows", [1]).partition("none", 0, |_| 0);
    });
    refused("looks at panes of which none is ever taken back", |p| {
        let windows = early().accumulation(Accumulation::Accumulating);
        let rows = p.create("rows", [(1, 1)]).window_into("windows", windows);
        let sums = rows.sum_per_key("sums").differential("d", |inner| inner);
        rows.map_with("look", &sums.as_list(), |row, _| row);
    });
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = amend::run(&Options::default(), |p| {
        p.read("rows", JsonLines::<i64>::open("no/such/file.jsonl"));
    })
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    let expected = "step \"rows\" cannot read \"no/such/file.jsonl\"";
    assert!(error.to_text().contains(expected), "{}", error.to_text());
}

#[test]
fn a_function_that_depends_on_chance_is_found() {
    let error = amend::run(&Options::default().workers(1).check_determinism(), |p| {
        let calls = std::cell::Cell::new(0);
        p.create("rows", [1]).map("count-calls", move |n: i32| {
            calls.set(calls.get() + 1);
            n + calls.get()
        });
    })
    .unwrap_err();
    let expected = "step \"count-calls\" made two different things of 1";
    assert!(error.to_text().contains(expected), "{}", error.to_text());
}

#[test]
fn a_function_that_panics_stops_all_workers() {
    for options in options() {
        let error = amend::run(&options, |p| {
            p.create("rows", 0..100).map("picky", |n: i32| {
                assert!(n != 50, "I do not like 50");
                n
            });
        })
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
        let expected = "a worker panicked: I do not like 50";
        assert!(error.to_text().contains(expected), "{}", error.to_text());
    }
}

#[test]
fn an_assertion_that_does_not_hold_fails_the_run() {
    for options in options() {
        let error = amend::run(&options, |p| {
            PAssert::that("rows", &p.create("rows", [1, 2])).contains_in_any_order([1, 3]);
        })
        .unwrap_err();
        let expected = "assertion \"rows\" does not hold\nexpected [1, 3]\n     got [1, 2]";
        assert!(error.to_text().contains(expected), "{}", error.to_text());
    }
}

/// Copies in any order: the earliest by event time is kept, then the least value.
#[test]
fn oracle_deduplication_does_not_depend_on_the_order() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut elements: Vec<(Row, EventTime)> = (0..30)
            .map(|_| {
                let row = (random.below(8) as i64, random.below(4) as i64);
                (row, at(random.below(5) as i64))
            })
            .collect();
        let mut best: BTreeMap<i64, (EventTime, i64)> = BTreeMap::new();
        for ((key, value), time) in &elements {
            let candidate = (*time, *value);
            let held = best.entry(*key).or_insert(candidate);
            *held = candidate.min(*held);
        }
        let expected: Vec<Row> = best.iter().map(|(key, held)| (*key, held.1)).collect();
        let mut copies: Vec<Row> = elements.iter().map(|(row, _)| *row).collect();
        for row in &expected {
            let at = copies.iter().position(|copy| copy == row).unwrap();
            copies.swap_remove(at);
        }
        for at in (1..elements.len()).rev() {
            elements.swap(at, random.below(at + 1));
        }
        let takes_back = seed % 2 == 1;
        let build = move |p: &Pipeline<'_>| {
            let rows = p.create_timestamped("rows", elements.clone());
            let rows = match takes_back {
                true => rows.differential("may take back", |inner| inner),
                false => rows,
            };
            let (once, others) = rows.deduplicate("once", hours(1), |row| row.0);
            PAssert::that("once", &once).contains_in_any_order(expected.clone());
            PAssert::that("others", &others).contains_in_any_order(copies.clone());
        };
        let options = Options::default()
            .workers([1, 2, 4][seed as usize % 3])
            .epoch_events(1 + seed as usize % 7);
        if let Err(error) = amend::run(&options, build) {
            panic!("seed {seed}: {}", error.to_text());
        }
    }
}

#[test]
fn a_key_is_forgotten_behind_the_horizon() {
    let script = TestStream::new()
        .add_elements([(1, at(0)), (1, at(1))])
        .advance_watermark_to(at(100))
        .add_elements([(1, at(95)), (1, at(20))]);
    check(move |p| {
        let rows = p.read("script", script.clone());
        let (once, copies) = rows.deduplicate("once", seconds(10), |key: &i32| *key);
        PAssert::that("once", &once).contains_in_any_order([1, 1]);
        PAssert::that("copies", &copies).contains_in_any_order([1]);
        let late = p
            .dead_letters("late")
            .map("times", |letter| letter.event_time);
        PAssert::that("late", &late).contains_in_any_order([Some(at(20))]);
    });
}

/// Numbers that come and go: gaps and what is inferred equal plain loops over what is left.
#[test]
fn oracle_gaps_and_reconstructions_follow_what_comes_and_goes() {
    for seed in 0..60 {
        let (stream, expected) = coming_and_going(seed);
        let far = |number: i64| if number == 4 { i64::MAX } else { number * 3 };
        let mut gaps = Vec::new();
        let mut whole = Vec::new();
        let mut wide = Vec::new();
        for (stream, numbers) in &expected {
            let distinct: BTreeSet<i64> = numbers.iter().map(|n| far(*n)).collect();
            let distinct: Vec<i64> = distinct.into_iter().collect();
            whole.extend(
                numbers
                    .iter()
                    .map(|n| Reconstructed::Observed((*stream, far(*n)))),
            );
            for pair in distinct.windows(2) {
                let (stream, from, to) = (*stream, pair[0] + 1, pair[1] - 1);
                let gap = SequenceGap { stream, from, to };
                gaps.push(gap);
                if gap.width() > 10 {
                    wide.push(gap);
                } else {
                    let inferred = |n| Reconstructed::Inferred((stream, n));
                    whole.extend((from..=to).map(inferred));
                }
            }
        }
        let build = move |p: &Pipeline<'_>| {
            let rows = rows(p, &stream).map("far", move |(stream, n)| (stream, far(n)));
            let found = rows.sequence_gaps("gaps", |row| *row);
            PAssert::that("gaps", &found).contains_in_any_order(gaps.clone());
            let infer = |n, before: &Element<Row>, _: &Element<Row>| (before.value.0, n);
            let (filled, too_wide) = rows.reconstruct("fill", 10, |row| *row, infer);
            PAssert::that("filled", &filled).contains_in_any_order(whole.clone());
            PAssert::that("too wide", &too_wide).contains_in_any_order(wide.clone());
        };
        let options = Options::default().workers([1, 2, 4][seed as usize % 3]);
        if let Err(error) = amend::run(&options, build) {
            panic!("seed {seed}: {}", error.to_text());
        }
    }
}

#[test]
fn two_feeds_are_reconciled_and_a_late_payment_corrects_it() {
    let bank = TestStream::new()
        .add_elements([((2, 25), at(2)), ((3, 30), at(3))])
        .advance_watermark_to(at(20))
        .add_elements([((1, 10), at(4))]);
    check(move |p| {
        let shop = [((1, 10), at(1)), ((2, 20), at(2))];
        let shop = p
            .create_timestamped("shop", shop)
            .window_into("shop-windows", early());
        let bank = p
            .read("bank", bank.clone())
            .window_into("bank-windows", early());
        let ledger = shop.reconcile("ledger", &bank, |a, b| a == b);
        PAssert::that("in the end", &ledger).contains_in_any_order([
            (1, Reconciled::Matched(vec![10])),
            (
                2,
                Reconciled::Different {
                    left: vec![20],
                    right: vec![25],
                },
            ),
            (3, Reconciled::MissingLeft(vec![30])),
        ]);
        PAssert::that("ever", &ledger)
            .in_all_panes()
            .satisfies(|ever| {
                let missing = (1, Reconciled::MissingRight(vec![10]));
                let was_said = ever.contains(&missing);
                was_said.then_some(()).ok_or_else(|| format!("{ever:?}"))
            });
    });
}

/// What held a session together is taken out: the session is taken back, and its parts stand.
#[test]
fn a_session_falls_apart_when_what_held_it_together_goes() {
    let script = TestStream::new()
        .add_elements([
            (((1, 1), 1), at(0)),
            (((1, 8), 1), at(8)),
            (((1, 2), 1), at(16)),
        ])
        .advance_watermark_to(at(30))
        .add_elements([(((1, 8), -1), at(8))]);
    check(move |p| {
        let sessions = Sessions::with_gap(seconds(10)).allowed_lateness(hours(1));
        let sums = rows(p, &script)
            .window_into("sessions", sessions)
            .sum_per_key("sums");
        let whole = Window::new(at(0), at(26));
        PAssert::that("whole", &sums)
            .in_on_time_pane(whole)
            .contains_in_any_order([(1, 11)]);
        PAssert::that("gone", &sums).in_window(whole).is_empty();
        let first = Window::new(at(0), at(10));
        PAssert::that("first", &sums)
            .in_window(first)
            .contains_in_any_order([(1, 1)]);
        let second = Window::new(at(16), at(26));
        PAssert::that("second", &sums)
            .in_window(second)
            .contains_in_any_order([(1, 2)]);
        PAssert::that("again", &sums.sum_per_key("again")).contains_in_any_order([(1, 1), (1, 2)]);
    });
}

/// Two partitions, one of which is far ahead, and one clock that is years off.
#[test]
fn the_watermark_is_held_by_the_slowest_partition_and_not_moved_by_one_bad_clock() {
    let elements = |bad: i64| {
        let mut elements = Vec::new();
        for n in 0..200 {
            elements.push((0, (1, 1), at(1000 + n)));
            elements.push((1, (2, 1), at(n)));
        }
        elements.push((0, (1, 1), at(bad)));
        // In time for the second partition, which has been no further than 200.
        elements.push((1, (2, 1), at(195)));
        elements
    };
    let policy = WatermarkPolicy {
        disorder: seconds(1),
        ..WatermarkPolicy::default()
    };
    for bad in [1300, 2_000_000_000] {
        let source = Memory::partitioned(elements(bad)).watermark(policy);
        check(move |p| {
            let windows = FixedWindows::of(seconds(10));
            let rows = p
                .read("rows", source.clone())
                .window_into("windows", windows);
            let total = rows.count_per_key("counts").sum_per_key("sums");
            let (_, late) = rows.group_by_key_and_late("late");
            PAssert::that("late", &late).is_empty();
            let total = total.window_into("all", GlobalWindows).values("values");
            let total = total
                .map("signed", |n| n as i64)
                .combine_globally("n", Sum::default());
            PAssert::that("all", &total).contains_in_any_order([402]);
        });
    }
}

/// A source whose second partition falls silent; epochs are the calls.
#[derive(Clone)]
struct Sensors;

struct SensorReader;

impl Source for Sensors {
    type Item = (i64, i64);

    fn open(&self, _: &Place) -> amend::Result<Box<dyn Reader<(i64, i64)>>> {
        Ok(Box::new(SensorReader))
    }

    fn watermark(&self) -> WatermarkPolicy {
        WatermarkPolicy {
            idle_after: Some(seconds(3)),
            ..WatermarkPolicy::default()
        }
    }

    fn partitions(&self) -> Vec<u32> {
        vec![0, 1]
    }
}

impl Reader<(i64, i64)> for SensorReader {
    fn read(
        &mut self,
        epoch: Epoch,
        _: EventTime,
        batch: &mut Batch<(i64, i64)>,
    ) -> amend::Result<Reading> {
        use amend::io::source::Stamped;
        batch.clock = Some(at(epoch as i64));
        let mut say = |partition: u32| {
            batch.records.push(Stamped {
                value: (i64::from(partition), 1),
                event_time: at(epoch as i64),
                partition,
            });
        };
        say(0);
        if epoch == 0 {
            say(1);
        }
        Ok(if epoch == 20 {
            Reading::Ended
        } else {
            Reading::Given
        })
    }
}

#[test]
fn a_partition_that_is_idle_does_not_hold_the_watermark() {
    let collected = Collected::new();
    let into = collected.clone();
    amend::run(&Options::default().workers(1), move |p| {
        p.read("sensors", Sensors)
            .window_into("windows", FixedWindows::of(seconds(5)))
            .count_per_key("counts")
            .collect_into("collect", &into);
    })
    .unwrap();
    let changes = collected.changes();
    let (epoch, (element, _)) = &changes[0];
    // The first window ends at 5, and partition 1 is idle once the clock is 3 beyond.
    assert!((5..10).contains(epoch), "{changes:?}");
    assert_eq!(element.window.end, at(5));
    assert_eq!(changes.len(), 6, "{changes:?}");
}

#[test]
fn json_lines_that_are_no_values_are_dead_letters_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, "[1,5]\nnot json\n\n[2,7]\n[1]\n[1,6]\n").unwrap();
    let named = path.display().to_string();
    check(move |p| {
        let source = JsonLines::<Row>::open(&path).event_time(|row| at(row.1));
        let rows = p.read("rows", source);
        PAssert::that("sums", &rows.sum_per_key("sums")).contains_in_any_order([(1, 11), (2, 7)]);
        let letters = p.dead_letters("letters").map("places", |letter| {
            let place = letter
                .detail
                .split(": ")
                .next()
                .unwrap_or_default()
                .to_owned();
            (letter.reason, place, letter.element)
        });
        PAssert::that("letters", &letters).contains_in_any_order([
            (Refusal::Undecodable, format!("{named}:2"), text("not json")),
            (Refusal::Undecodable, format!("{named}:5"), text("[1]")),
        ]);
    });
}

#[test]
fn sinks_are_told_epoch_by_epoch_in_one_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (nth, options) in options().into_iter().enumerate() {
        let path = folder.path().join(format!("{nth}.jsonl"));
        let to = path.clone();
        amend::run(&options.epoch_events(1), move |p| {
            let rows = [(("b", 1), at(1)), (("a", 2), at(2)), (("a", 3), at(3))];
            let rows = rows.map(|((key, n), time)| ((text(key), n), time));
            p.create_timestamped("rows", rows)
                .window_into("windows", early())
                .sum_per_key("sums")
                .write("write", JsonChanges::file(&to));
        })
        .unwrap();
        files.push(std::fs::read_to_string(path).unwrap());
    }
    let line = |epoch: u64, op: &str, pane: &str, value: &str| {
        format!(
            "{{\"epoch\":{epoch},\"op\":\"{op}\",\"event_time\":\"1970-01-01T00:00:09.999999Z\",\
             \"window\":[\"1970-01-01T00:00:00Z\",\"1970-01-01T00:00:10Z\"],\"pane\":\"{pane}\",\
             \"value\":{value}}}\n"
        )
    };
    let expected = [
        line(0, "insert", "early", "[\"b\",1]"),
        line(1, "insert", "early", "[\"a\",2]"),
        line(2, "retract", "early", "[\"a\",2]"),
        line(2, "retract", "early", "[\"b\",1]"),
        line(2, "insert", "on-time", "[\"a\",5]"),
        line(2, "insert", "on-time", "[\"b\",1]"),
    ];
    assert_eq!(files[0], expected.concat());
    assert!(files.iter().all(|file| *file == files[0]), "{files:#?}");
}
