//! Scenarios of windows: what is refused and where, and that every kind of failure is found. What
//! holds is told in `tests/scenarios/`.

use crate::testing::scenario::Scenario;

/// The result of the only document of `text`.
fn checked(text: &str) -> std::result::Result<(), String> {
    let scenarios = Scenario::from_text(text, "s.yaml").unwrap();
    assert_eq!(scenarios.len(), 1);
    scenarios[0].check(1)
}

#[track_caller]
fn refused(text: &str, message: &str) {
    assert_eq!(checked(text).unwrap_err(), message);
}

/// As [`refused`], for the entries of an `expect` list.
#[track_caller]
fn entry(entry: &str, message: &str) {
    refused(
        &format!("transcript:\n- input: []\n- expect: [{entry}]"),
        message,
    );
}

#[test]
fn heads_are_checked() {
    refused(
        "transcript: []\nwindow_fn: FixedWindow(10)",
        "s.yaml:2:12: window_fn: there is no window function \"FixedWindow\"\n\
         hint: did you mean FixedWindows? one of GlobalWindows, FixedWindows, SlidingWindows, \
         Sessions, CustomTimestampingFixedWindowsWindowFn",
    );
    refused(
        "trigger_fn: [Default]",
        "s.yaml:1:13: trigger_fn: [..] is a list\n\
         hint: write a name, with arguments in parentheses: AfterCount(2)",
    );
    refused(
        "accumulation_mode: retract",
        "s.yaml:1:20: accumulation_mode: \"retract\" is not a choice\n\
         hint: did you mean retracting? accumulation_mode is one of accumulating, discarding, \
         retracting",
    );
    refused(
        "timestamp_combiner: 5",
        "s.yaml:1:21: timestamp_combiner: 5 is not a choice\n\
         hint: timestamp_combiner is one of OUTPUT_AT_EOW, OUTPUT_AT_EARLIEST, OUTPUT_AT_LATEST, \
         OUTPUT_AT_EARLIEST_TRANSFORMED",
    );
    refused(
        "allowed_lateness: -1",
        "s.yaml:1:19: allowed_lateness: -1 is negative\nhint: a whole number of units, 0 or more",
    );
    refused(
        "allowed_lateness: 9223372036854775808",
        "s.yaml:1:19: allowed_lateness: 9223372036854775808 is out of range\n\
         hint: a whole number of 64 bits, without quotes",
    );
    refused(
        "window_fn: FixedWindows(5)\nmerge: touching",
        "s.yaml:2:8: merge: only sessions merge\n\
         hint: leave merge out, or say window_fn: Sessions(gap)",
    );
    refused(
        "name: empty",
        "s.yaml:1:1: the scenario has no transcript\n\
         hint: add a list of input, watermark, clock, expect and state",
    );
}

#[test]
fn a_trigger_that_is_too_large_is_refused_in_short() {
    let parts = vec!["AfterCount(1)"; 1000].join(", ");
    let message = checked(&format!("trigger_fn: AfterAny({parts})")).unwrap_err();
    assert!(
        message.starts_with("s.yaml:1:13: trigger_fn: AfterAny(AfterCount(1), "),
        "{message}"
    );
    assert!(
        message.contains("has more than 64 parts\nhint: "),
        "{message}"
    );
    assert!(message.len() < 400, "{message}");
    let deep = format!("trigger_fn: {}Default", "Repeatedly(".repeat(10_000));
    let message = checked(&deep).unwrap_err();
    assert!(
        message.contains("calls are nested more than 64 deep"),
        "{message}"
    );
}

#[test]
fn transcripts_are_checked() {
    let item = |item: &str, message: &str| refused(&format!("transcript:\n- {item}"), message);
    item(
        "watermrak: 5",
        "s.yaml:2:3: unknown key \"watermrak\" in the transcript\n\
         hint: did you mean watermark? the transcript has input, watermark, clock, expect, state",
    );
    item(
        "watermark: 1.5",
        "s.yaml:2:14: watermark: 1.5 is no whole number\n\
         hint: a whole number of 64 bits, without quotes",
    );
    item(
        "clock: -1",
        "s.yaml:2:10: clock: -1 is negative\nhint: a whole number of units, 0 or more",
    );
    item(
        "input: [[a]]",
        "s.yaml:2:11: an element of 1 parts\n\
         hint: an integer, which is value and event time, [value, time] or [key, value, time]",
    );
    item(
        "input: [{event_id: 1}]",
        "s.yaml:2:11: an element is a table\nhint: a scenario of events says dataflow: repair",
    );
    item(
        "input: [9223372036854775808]",
        "s.yaml:2:11: the event time: 9223372036854775808 is out of range\n\
         hint: a whole number of 64 bits, without quotes",
    );
    item(
        "state: {presnt: []}",
        "s.yaml:2:11: unknown key \"presnt\" in state\n\
         hint: did you mean present? state has present, absent, tombstone",
    );
    item(
        "state: {absent: [5]}",
        "s.yaml:2:20: window: 5 is no window\n\
         hint: its first and its last instant, both in it: [0, 9], or global",
    );
    refused(
        "combine: mean\ntranscript:\n- input: [[a, 1]]",
        "s.yaml:3:12: a is no number\nhint: only numbers have a sum or a mean",
    );
}

#[test]
fn entries_are_checked() {
    entry(
        "{windw: [0, 9]}",
        "s.yaml:3:13: unknown key \"windw\" in an expected pane\n\
         hint: did you mean window? an expected pane has window, key, values, value, timestamp, \
         early, late, index, nonspeculative_index, final, retraction",
    );
    entry(
        "{early: 1}",
        "s.yaml:3:20: early: 1 is not a choice\nhint: early is true or false, without quotes",
    );
    entry(
        "{window: all}",
        "s.yaml:3:21: window: \"all\" is no window\n\
         hint: its first and its last instant, both in it: [0, 9], or global",
    );
    entry(
        "{value: 1}",
        "s.yaml:3:20: value of a pane that holds all values\n\
         hint: write values: [..], or say combine in the document",
    );
    entry(
        "5",
        "s.yaml:3:12: an entry of expect is a mapping\n\
         hint: such as {window: [0, 9], values: [1, 2]}",
    );
}

#[test]
fn a_failure_says_where_and_how() {
    let text = "window_fn: FixedWindows(10)\ntranscript:\n- input: [1, 2]\n- watermark: 10\n\
                - expect: [{values: [1, 3]}]";
    let message = checked(text).unwrap_err();
    let lines: Vec<&str> = message.lines().map(str::trim_end).collect();
    assert_eq!(
        lines[0],
        "s.yaml:5:3: unmatched output of the watermark at s.yaml:4:3, as GroupByKey, as written"
    );
    assert!(lines[4].starts_with(" ! {values: [1, 3]}   ! {window: [0, 9], values: [1, 2], "));
    assert_eq!(lines.last(), Some(&"and so in 11 of the other forms"));
    let text = text.replace("- expect", "# - expect");
    let message = checked(&text).unwrap_err();
    assert!(
        message.starts_with("s.yaml:4:3: unexpected output of the watermark, as GroupByKey, "),
        "{message}"
    );
}

/// A general entry, which comes first, must leave the special one its only partner.
#[test]
fn entries_are_paired_so_that_all_have_a_partner() {
    let text = "window_fn: FixedWindows(10)\ntranscript:\n- input: [1, 11, 21]\n- watermark: 30\n\
                - expect: [{}, {late: false}, {window: [0, 9]}]";
    assert_eq!(checked(text), Ok(()));
}

#[test]
fn what_is_taken_back_must_stand() {
    use super::{Content, Pane, PaneInfo, Window, without_standing};
    use crate::time::EventTime;
    let pane = |timestamp, is_retraction| Pane {
        window: Window::new(EventTime(0), EventTime(10)),
        key: None,
        content: Content::Values(Vec::new()),
        timestamp,
        info: PaneInfo::NO_FIRING,
        is_retraction,
    };
    let stands = vec![
        (0, 0, pane(1, false)),
        (1, 0, pane(1, true)),
        (1, 0, pane(2, false)),
    ];
    assert!(without_standing(&stands).is_empty());
    let other = vec![(0, 0, pane(1, false)), (1, 0, pane(2, true))];
    assert_eq!(without_standing(&other).len(), 1);
    let twice = vec![
        (0, 0, pane(1, false)),
        (1, 0, pane(1, true)),
        (2, 0, pane(1, true)),
    ];
    assert_eq!(without_standing(&twice).len(), 1);
    let form = vec![(0, 0, pane(1, false)), (1, 1, pane(1, true))];
    assert_eq!(without_standing(&form).len(), 1);
}
