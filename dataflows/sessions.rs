//! What visitors of a shop did in one go: sessions that end after ten minutes without a click.
//!
//! Ann was there twice, as it seems. Then a click arrives that her phone could not send in time: it
//! lies between the two sessions and makes them one, so both are taken back.
//!
//! Prints sessions as they are found (+) and taken back (-): when each began and when it was over,
//! and the pages in the order of the clicks.
//!
//! ```sh
//! cargo run --example sessions
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use amend::prelude::*;

fn main() -> Result<(), Error> {
    run(&Options::from_args(), |p| {
        let visits = Sessions::with_gap(minutes(10)).allowed_lateness(hours(1));
        p.read("clicks", clicks())
            .window_into("visits", visits)
            .group_by_key("pages")
            .write("print", print);
    })?;
    Ok(())
}

/// Who clicked, when, and on which page.
type Click = (String, (EventTime, String));

fn clicks() -> TestStream<Click> {
    TestStream::new()
        .add_elements([
            click("12:00", "ann", "home"),
            click("12:03", "bob", "home"),
            click("12:06", "ann", "shoes"),
            click("12:22", "ann", "basket"),
            click("12:24", "ann", "paid"),
        ])
        .advance_watermark_to(time("12:45"))
        .add_elements([click("12:14", "ann", "red shoes")])
        .advance_watermark_to_infinity()
}

fn click(at: &str, who: &str, page: &str) -> (Click, EventTime) {
    let at = time(at);
    ((who.to_owned(), (at, page.to_owned())), at)
}

fn print(_: Epoch, session: &Element<(String, Vec<(EventTime, String)>)>, diff: isize) {
    let sign = if diff > 0 { '+' } else { '-' };
    let (start, end) = (minute(session.window.start), minute(session.window.end));
    let (who, clicks) = &session.value;
    let pages: Vec<&str> = clicks.iter().map(|(_, page)| page.as_str()).collect();
    let late = match session.pane.timing {
        Timing::Late => "  (late)",
        _ => "",
    };
    println!("{sign} {who} {start} - {end}  {}{late}", pages.join(", "));
}

fn time(text: &str) -> EventTime {
    EventTime::parse(&format!("2026-03-02T{text}:00")).expect("times are written as they should be")
}

fn minute(time: EventTime) -> String {
    time.to_string()[11..16].to_owned()
}
