//! Results as tables for a person.

use comfy_table::{CellAlignment, Table, presets};

use super::figures::{Percentiles, count};
use super::{ProfileResults, Results};
use crate::repair::report::group_digits;

pub(super) fn draw(results: &Results) -> String {
    let settings = &results.settings;
    let mut text = format!(
        "amend {} on {} {} ({} {}), {}, epochs of {} records, {} {}, seed {}\n",
        results.version,
        results.machine.cores,
        count("core", results.machine.cores),
        results.machine.os,
        results.machine.arch,
        if settings.on_disk {
            "files"
        } else {
            "in memory"
        },
        group_digits(settings.epoch_events.into()),
        settings.rounds,
        count("round", settings.rounds),
        settings.seed,
    );
    for profile in &results.profiles {
        text.push_str(&draw_profile(profile));
    }
    text
}

fn draw_profile(results: &ProfileResults) -> String {
    let mut text = format!(
        "\n{}: {} events, {} different ones, {} late ones, {:.1} MB\n\n",
        results.profile,
        group_digits(results.events.into()),
        group_digits(results.distinct_events.into()),
        group_digits(results.late_events.into()),
        results.bytes as f64 / 1e6,
    );
    let mut table = empty_table(&[
        "workers",
        "events/s: median",
        "min",
        "max",
        "peak heap, MiB",
    ]);
    for measured in &results.throughput {
        let rates = measured.events_per_s;
        table.add_row([
            measured.workers.to_string(),
            rate(rates.median),
            rate(rates.min),
            rate(rates.max),
            measured.peak_bytes.map_or_else(unknown, mebibytes),
        ]);
    }
    text.push_str(&finish(table));
    text.push_str("\nfrom a late event to its correction, in ms\n\n");
    let header = [
        "workers",
        "offered, events/s",
        "taken",
        "corrections",
        "p50",
        "p99",
        "max",
    ];
    let mut table = empty_table(&header);
    for measured in &results.latency {
        let offered = match measured.share {
            None => rate(measured.offered_per_s),
            Some(share) => format!("{:.0} % = {}", share * 100.0, rate(measured.offered_per_s)),
        };
        let [p50, p99, max] = percentiles(measured.took);
        table.add_row([
            measured.workers.to_string(),
            offered,
            rate(measured.taken_per_s),
            group_digits(measured.corrections.into()),
            p50,
            p99,
            max,
        ]);
    }
    let lone = &results.lone;
    let [p50, p99, max] = percentiles(lone.took);
    table.add_row([
        "1".to_owned(),
        "one by one".to_owned(),
        String::new(),
        group_digits(lone.corrections.into()),
        p50,
        p99,
        max,
    ]);
    text.push_str(&finish(table));
    if results.lone.took.is_none() {
        text.push_str("no event was late, so nothing was corrected\n");
    }
    if let Some(state) = &results.state {
        text.push_str(&format!(
            "\nstate on one worker: {:.1} bytes an event ({} MiB for {} different events);\n\
             {:.1} come with every further event, the rest is buffers that do not grow\n",
            state.bytes_per_event,
            mebibytes(state.live_bytes),
            group_digits(state.distinct_events.into()),
            state.growing_bytes_per_event,
        ));
    }
    text
}

fn empty_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header.iter().copied());
    table
}

fn finish(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

fn rate(per_second: f64) -> String {
    group_digits(per_second.round() as u128)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

fn percentiles(took: Option<Percentiles>) -> [String; 3] {
    match took {
        None => [unknown(), unknown(), unknown()],
        Some(took) => [took.p50_ms, took.p99_ms, took.max_ms].map(|ms| format!("{ms:.3}")),
    }
}

fn unknown() -> String {
    "-".to_owned()
}
