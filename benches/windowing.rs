//! Grouping in windows: elements a second, with one worker and with two.
//!
//! Answers: what a keyed sum in fixed windows costs with panes that come early and late, beside the
//! same with one pane a window, and beside a plain hash map of sums in a loop; and what
//! deduplication costs beside a plain hash set. Runs are interleaved, so that a machine that drifts
//! drifts for all. Without `--bench` (as under `cargo test --benches`) it runs once on a small
//! input, to show that it works.
//!
//! The input is made while it is read: keys out of 1,000, one element a millisecond of event time,
//! 1 % of them late by up to ten seconds, 10 % of the ids a copy of an earlier one.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::collections::{HashMap, HashSet};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use amend::io::source::{Batch, Place, Reader, Reading, Stamped};
use amend::prelude::*;

const KEYS: u64 = 1_000;
const EPOCH: u64 = 20_000;
const WINDOW_S: u64 = 60;

/// One element: its key, its id and its value.
type Row = (u64, u64, i64);

/// A mixing function (SplitMix64's), so that an element follows from its number.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The element with this number, and its event time.
#[inline]
fn element(number: u64) -> (Row, EventTime) {
    let random = mix(number);
    let is_copy = random.is_multiple_of(10) && number > 1000;
    // A copy has the key and the time of what it is a copy of.
    let of = if is_copy {
        number - 1 - random % 1000
    } else {
        number
    };
    let key = mix(of) % KEYS;
    let late_ms = if mix(of ^ 7).is_multiple_of(100) {
        mix(of ^ 9) % 10_000
    } else {
        0
    };
    let time = EventTime::from_millis(of.saturating_sub(late_ms) as i64);
    ((key, of, (of % 100) as i64), time)
}

/// Makes the elements as they are read.
#[derive(Clone)]
struct Elements(u64);

struct Making {
    elements: u64,
    worker: u64,
    workers: u64,
}

impl Source for Elements {
    type Item = Row;

    fn open(&self, place: &Place) -> amend::Result<Box<dyn Reader<Row>>> {
        Ok(Box::new(Making {
            elements: self.0,
            worker: place.worker as u64,
            workers: place.workers as u64,
        }))
    }

    fn watermark(&self) -> WatermarkPolicy {
        WatermarkPolicy {
            disorder: seconds(1),
            ..WatermarkPolicy::default()
        }
    }
}

impl Reader<Row> for Making {
    fn read(
        &mut self,
        epoch: Epoch,
        _: EventTime,
        batch: &mut Batch<Row>,
    ) -> amend::Result<Reading> {
        let start = (epoch * EPOCH).min(self.elements);
        let end = (start + EPOCH).min(self.elements);
        let share = |worker: u64| start + (end - start) * worker / self.workers;
        let own = share(self.worker)..share(self.worker + 1);
        batch.records.extend(own.map(|number| {
            let (value, event_time) = element(number);
            Stamped {
                value,
                event_time,
                partition: 0,
            }
        }));
        Ok(if end == self.elements {
            Reading::Ended
        } else {
            Reading::Given
        })
    }
}

fn one_pane() -> Windowing<FixedWindows> {
    FixedWindows::of(seconds(WINDOW_S)).allowed_lateness(minutes(1))
}

fn early_and_late() -> Windowing<FixedWindows> {
    let now_and_then = Trigger::at_period(seconds(10));
    one_pane().triggering(
        Trigger::after_watermark()
            .early(now_and_then)
            .late(Trigger::after_count(1)),
    )
}

/// Sums by key and window; the total of all sums that stand, and how many panes there were.
fn sums(elements: u64, workers: usize, windowing: Windowing<FixedWindows>) -> (i64, u64) {
    let total = Arc::new(AtomicI64::new(0));
    let panes = Arc::new(AtomicU64::new(0));
    let out = (Arc::clone(&total), Arc::clone(&panes));
    let options = Options::default().workers(workers);
    let run = amend::run(&options, move |p| {
        let out = out.clone();
        p.read("elements", Elements(elements))
            .map("by-key", |(key, _, value)| (key, value))
            .window_into("windows", windowing.clone())
            .sum_per_key("sums")
            .inspect("count", move |pane, diff| {
                out.0
                    .fetch_add(pane.value.1 * diff as i64, Ordering::Relaxed);
                out.1.fetch_add(u64::from(diff > 0), Ordering::Relaxed);
            });
    });
    run.expect("the pipeline runs");
    (total.load(Ordering::Relaxed), panes.load(Ordering::Relaxed))
}

fn sums_in_a_map(elements: u64) -> (i64, u64) {
    let mut sums: HashMap<(u64, i64), i64> = HashMap::new();
    for number in 0..elements {
        let ((key, _, value), time) = element(number);
        let window = time.0.div_euclid(WINDOW_S as i64 * 1_000_000);
        *sums.entry((key, window)).or_default() += value;
    }
    (sums.values().sum(), sums.len() as u64)
}

/// Deduplicates by id; how many there are, and how many were copies.
fn once(elements: u64, workers: usize) -> (i64, u64) {
    let kept = Arc::new(AtomicI64::new(0));
    let copies = Arc::new(AtomicU64::new(0));
    let out = (Arc::clone(&kept), Arc::clone(&copies));
    let options = Options::default().workers(workers);
    let run = amend::run(&options, move |p| {
        let out = out.clone();
        let rows = p.read("elements", Elements(elements));
        let (once, copies) = rows.deduplicate("once", minutes(1), |row| row.1);
        once.inspect("kept", move |_, diff| {
            out.0.fetch_add(diff as i64, Ordering::Relaxed);
        });
        copies.inspect("copies", move |_, diff| {
            out.1.fetch_add(diff as u64, Ordering::Relaxed);
        });
    });
    run.expect("the pipeline runs");
    (kept.load(Ordering::Relaxed), copies.load(Ordering::Relaxed))
}

fn once_in_a_set(elements: u64) -> (i64, u64) {
    let mut seen = HashSet::new();
    let mut copies = 0;
    for number in 0..elements {
        let ((_, id, _), _) = element(number);
        copies += u64::from(!seen.insert(id));
    }
    (seen.len() as i64, copies)
}

type Job = Box<dyn Fn(u64) -> (i64, u64)>;

/// What a job comes to, and the seconds that it takes.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn timed<R>(job: impl FnOnce() -> R) -> (R, f64) {
    let begun = Instant::now();
    let answer = black_box(job());
    (answer, begun.elapsed().as_secs_f64())
}

fn main() {
    let measured = std::env::args().any(|argument| argument == "--bench");
    let elements = std::env::var("AMEND_EVENTS").ok();
    let elements = elements.and_then(|elements| elements.parse().ok());
    let elements: u64 = elements.unwrap_or(if measured { 4_000_000 } else { 30_000 });
    let rounds = if measured { 5 } else { 1 };
    let jobs: Vec<(&str, Job)> = vec![
        ("sum, plain hash map", Box::new(sums_in_a_map)),
        (
            "sum, one pane, 1 worker",
            Box::new(|n| sums(n, 1, one_pane())),
        ),
        (
            "sum, one pane, 2 workers",
            Box::new(|n| sums(n, 2, one_pane())),
        ),
        (
            "sum, early and late, 1 worker",
            Box::new(|n| sums(n, 1, early_and_late())),
        ),
        (
            "sum, early and late, 2 workers",
            Box::new(|n| sums(n, 2, early_and_late())),
        ),
        ("once, plain hash set", Box::new(once_in_a_set)),
        ("once, 1 worker", Box::new(|n| once(n, 1))),
        ("once, 2 workers", Box::new(|n| once(n, 2))),
    ];
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{elements} elements, {KEYS} keys, {cores} cores, {rounds} rounds");
    let mut seconds: Vec<Vec<f64>> = vec![Vec::new(); jobs.len()];
    let mut answers = vec![(0, 0); jobs.len()];
    for _ in 0..rounds {
        for (at, (_, job)) in jobs.iter().enumerate() {
            let (answer, took) = timed(|| job(elements));
            answers[at] = answer;
            seconds[at].push(took);
        }
    }
    println!(
        "\n{:<32} {:>7} {:>7} {:>7}  M elements/s",
        "", "min", "median", "max"
    );
    for ((name, _), seconds) in jobs.iter().zip(&mut seconds) {
        seconds.sort_by(f64::total_cmp);
        let rate = |seconds: f64| elements as f64 / seconds / 1e6;
        let (least, most) = (seconds[0], seconds[seconds.len() - 1]);
        let median = seconds[seconds.len() / 2];
        println!(
            "{name:<32} {:>7.2} {:>7.2} {:>7.2}",
            rate(most),
            rate(median),
            rate(least)
        );
    }
    for (sum, panes) in &answers[..5] {
        assert_eq!(*sum, answers[0].0, "all sums are the same");
        assert!(*panes >= answers[0].1, "every key and window has a pane");
    }
    assert!(
        answers[6..].iter().all(|answer| *answer == answers[5]),
        "{answers:?}"
    );
    let panes = answers.iter().map(|answer| answer.1);
    let panes: Vec<String> = panes.take(5).map(|panes| panes.to_string()).collect();
    println!("\npanes: {}", panes.join(", "));
}
