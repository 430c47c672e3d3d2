//! The three repositories of GitHub with the most events in every minute, out of recorded events.
//!
//! After half a minute there is a first answer (early); when the minute is over the final one
//! replaces it. A second file was left by a collector that crashed: two of its four lines cannot be
//! used, and are dead letters.
//!
//! Prints the answers as they are given (+) and taken back (-), each repository with its number of
//! events (of equals the last in the alphabet is named first), and then the dead letters.
//!
//! ```sh
//! cargo run --example top_repos
//! ```

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use amend::prelude::*;

fn main() -> Result<(), Error> {
    let mut options = Options::from_args();
    // A few seconds of events at a time.
    options.epoch_events.get_or_insert(16);
    let dead = Collected::new();
    let into = dead.clone();
    run(&options, move |p| {
        let crashed = p.read("crashed", events("dataflows/data/gharchive_crashed.jsonl"));
        let (repos, _) = p
            .read("github", events("dataflows/data/gharchive.jsonl"))
            .flatten("all", &[&crashed])
            .try_map("timed", ErrorThreshold::share(0.01), repo);
        repos
            .window_into("per-minute", per_minute())
            .count_per_element("events")
            .map("by-events", |(repo, events)| (events, repo))
            .top_globally("top", 3)
            .write("print", print);
        p.dead_letters("dead").collect_into("keep", &into);
    })?;
    println!("dead letters:");
    for letter in dead.values() {
        println!(
            "  {} in \"{}\": {}",
            letter.reason, letter.step, letter.detail
        );
        println!("    {}", letter.element);
    }
    Ok(())
}

/// What we want to know of an event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Event {
    repo: String,
    timestamp: String,
}

fn events(path: &str) -> JsonLines<Event> {
    let time = |event: &Event| EventTime::parse(&event.timestamp);
    JsonLines::open(path).event_time(move |event| time(event).unwrap_or(EventTime::MIN))
}

/// The repository of an event of which we know when it happened.
fn repo(event: Event) -> Result<String, String> {
    match EventTime::parse(&event.timestamp) {
        Some(_) => Ok(event.repo),
        None => Err(format!("no time: \"{}\"", event.timestamp)),
    }
}

/// Minutes that say what they have after 30 seconds. The clock of a file is its watermark.
fn per_minute() -> Windowing<FixedWindows> {
    FixedWindows::of(minutes(1)).triggering(
        Trigger::after_watermark()
            .early(Trigger::at_period(seconds(30)))
            .late(Trigger::after_count(1)),
    )
}

fn print(_: Epoch, top: &Element<Vec<(u64, String)>>, diff: isize) {
    let sign = if diff > 0 { '+' } else { '-' };
    let minute = &top.window.start.to_string()[11..16];
    let early = match top.pane.timing {
        Timing::Early => "early",
        _ => "",
    };
    let repo = |(events, repo): &(u64, String)| format!("{events} {repo}");
    let repos: Vec<String> = top.value.iter().map(repo).collect();
    println!("{sign} {minute} {early:<5}  {}", repos.join(", "));
}
