//! What a team has scored in every two minutes: the example of the Dataflow Model paper (Akidau et
//! al., VLDB 2015, figure 13) and of "Streaming Systems".
//!
//! Ten scores arrive minutes after they were made, and one of them, 9 points, after the watermark
//! said that its window was complete. A window says what it has so far at every full minute of
//! processing time (early), when the watermark passes its end (on time), and again for every score
//! that comes later (late). What it says replaces what it said before.
//!
//! Prints every pane at the processing time at which it is produced, with a minus where it is taken
//! back. The points printed add up to the ten scores, 51, because nothing is counted twice.
//!
//! ```sh
//! cargo run --example team_scores
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use amend::prelude::*;

fn main() -> Result<(), Error> {
    let all_printed = Arc::new(AtomicI64::new(0));
    let sum = Arc::clone(&all_printed);
    println!("{:<12}{:<15}{:<9}{:>6}", "at", "window", "pane", "points");
    run(&Options::from_args(), move |p| {
        let two_minutes = FixedWindows::of(minutes(2))
            .triggering(
                Trigger::after_watermark()
                    .early(Trigger::at_period(minutes(1)))
                    .late(Trigger::after_count(1)),
            )
            .allowed_lateness(hours(1));
        let (scores, times) = script();
        let sum = Arc::clone(&sum);
        p.read("scores", scores)
            .window_into("two-minutes", two_minutes)
            .combine_globally("sum", Sum::default())
            .write("print", move |step, pane: &Element<i64>, diff| {
                let points = pane.value * diff as i64;
                sum.fetch_add(points, Ordering::Relaxed);
                print(times.get(step as usize).unwrap_or(&"the end"), pane, points);
            });
    })?;
    let all_printed = all_printed.load(Ordering::Relaxed);
    println!("{:<36}{all_printed:>6}", "all points printed");
    Ok(())
}

fn print(at: &str, pane: &Element<i64>, points: i64) {
    let (start, end) = (minute(pane.window.start), minute(pane.window.end));
    let timing = match pane.pane.timing {
        Timing::OnTime => "on time".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    println!("{at:<12}{start} - {end}  {timing:<9}{points:>+6}");
}

enum Event {
    /// A score arrives; this many points, made at this time.
    Score(i64, &'static str),
    /// The watermark says that everything before this time has arrived.
    Complete(&'static str),
    /// A minute of processing time is full.
    Minute,
}
use Event::{Complete, Minute, Score};

/// What happens, by processing time. Times are read off the figures of the paper; the last score
/// arrives just at 12:09:00 there, and belongs to that minute's pane.
const STORY: [(&str, Event); 18] = [
    ("12:05:20", Score(5, "12:00:26.667")),
    ("12:05:40", Score(7, "12:02:26.667")),
    ("12:05:58.8", Complete("12:02:00")),
    ("12:06:00", Minute),
    ("12:06:13.333", Score(3, "12:03:40")),
    ("12:06:26.667", Score(4, "12:03:53.333")),
    ("12:06:40", Score(3, "12:04:20")),
    ("12:07:00", Minute),
    ("12:07:06.667", Score(8, "12:03:06.667")),
    ("12:07:20", Score(3, "12:06:40")),
    ("12:07:30", Complete("12:04:00")),
    ("12:07:40", Complete("12:06:00")),
    ("12:08:00", Minute),
    ("12:08:20", Score(9, "12:01:26.667")),
    ("12:08:40", Score(8, "12:07:26.667")),
    ("12:08:59.999", Score(1, "12:07:46.667")),
    ("12:09:00", Minute),
    ("12:09:21", Complete("12:08:00")),
];

/// The story as a source, and the processing time of each of its steps.
fn script() -> (TestStream<i64>, Vec<&'static str>) {
    let (mut script, mut times) = (TestStream::new(), Vec::new());
    let mut clock = time("00:00:00");
    for (at, event) in &STORY {
        let waited = micros(time(at).0.abs_diff(clock.0));
        clock = time(at);
        script = script.advance_processing_time(waited);
        times.push(*at);
        script = match event {
            Score(points, made) => script.add_elements([(*points, time(made))]),
            Complete(until) => script.advance_watermark_to(time(until)),
            Minute => continue,
        };
        times.push(*at);
    }
    (script, times)
}

/// A time of the day on which the clock of a script begins.
fn time(text: &str) -> EventTime {
    EventTime::parse(&format!("1970-01-01T{text}")).expect("times are written as they should be")
}

fn minute(time: EventTime) -> String {
    time.to_string()[11..16].to_owned()
}
