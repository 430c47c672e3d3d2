//! Compares what a shop has sold with what its bank was paid, day by day.
//!
//! A day is judged when both feeds have gone beyond it. The bank reports one payment a day late:
//! the order that was said to be unpaid is taken back and said to be paid.
//!
//! Prints the lines of the ledger as they are written (+) and taken back (-).
//!
//! ```sh
//! cargo run --example orders_ledger
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use amend::prelude::*;

fn main() -> Result<(), Error> {
    let mut options = Options::from_args();
    // A line of each feed at a time, as if they came while we watch.
    options.epoch_events.get_or_insert(1);
    run(&options, |p| {
        let orders = by_order(p, "orders", "dataflows/data/shop_orders.jsonl");
        let payments = by_order(p, "payments", "dataflows/data/bank_payments.jsonl");
        orders
            .reconcile("ledger", &payments, |ordered, paid| ordered == paid)
            .write("print", print);
    })?;
    Ok(())
}

/// A line of either feed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Booking {
    order: String,
    cents: i64,
    at: String,
}

/// What a feed says of every order of a day, in cents.
fn by_order<'scope>(
    p: &Pipeline<'scope>,
    feed: &'static str,
    path: &str,
) -> PCollection<'scope, (String, i64)> {
    let lines = JsonLines::open(path).event_time(booked_at);
    let days_of_a_week = FixedWindows::of(days(1)).allowed_lateness(days(7));
    p.read(feed, lines)
        .map(&format!("{feed}/by-order"), |b| (b.order, b.cents))
        .window_into(&format!("{feed}/daily"), days_of_a_week)
}

fn booked_at(booking: &Booking) -> EventTime {
    EventTime::parse(&booking.at).unwrap_or(EventTime::MIN)
}

fn print(_: Epoch, line: &Element<(String, Reconciled<i64, i64>)>, diff: isize) {
    use Reconciled::{Different, Matched, MissingLeft, MissingRight};
    let sign = if diff > 0 { '+' } else { '-' };
    let day = &line.window.start.to_string()[..10];
    let (order, found) = &line.value;
    let found = match found {
        Matched(paid) => format!("paid {}", euros(paid)),
        MissingLeft(paid) => format!("paid {}, but never ordered", euros(paid)),
        MissingRight(ordered) => format!("not paid: {}", euros(ordered)),
        Different { left, right } => format!("paid {} of {}", euros(right), euros(left)),
    };
    let late = match line.pane.timing {
        Timing::Late => "  (late)",
        _ => "",
    };
    println!("{sign} {day}  {order}  {found}{late}");
}

fn euros(cents: &[i64]) -> String {
    let euros = |cents: &i64| format!("{}.{:02}", cents / 100, cents % 100);
    cents.iter().map(euros).collect::<Vec<_>>().join(" + ")
}
