//! `amend bench`: what it prints is complete and agrees with itself. How fast anything was is not
//! judged here.

use std::process::Command;

use amend::testing::workload::Profile;

use crate::json::Json;
use crate::process;

/// A bench of few events.
fn bench(arguments: &[&str]) -> Command {
    let mut command = process::amend();
    command.args(["bench", "--rounds", "1", "--quiet"]);
    command.args(arguments);
    command
}

/// What `amend bench --json` printed.
#[track_caller]
fn measured(arguments: &[&str]) -> Json {
    let ended = process::run(bench(arguments).arg("--json"));
    ended.expect_code(0);
    Json::read(&ended.stdout).unwrap()
}

#[track_caller]
fn number(json: &Json, path: &str) -> f64 {
    let value = json.find(path).unwrap_or_else(|| panic!("no {path}"));
    match value {
        Json::Number(text) => text.parse().unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

#[track_caller]
fn list<'a>(json: &'a Json, path: &str) -> &'a [Json] {
    match json.find(path) {
        Some(Json::List(items)) => items,
        other => panic!("{path} is {other:?}"),
    }
}

/// The percentiles at `took` are in order, and there are as many figures as said.
#[track_caller]
fn check_took(json: &Json) -> f64 {
    let corrections = number(json, "corrections");
    if corrections == 0.0 {
        assert_eq!(json.get("took"), Some(&Json::Null));
        return 0.0;
    }
    let [p50, p99, max] =
        ["p50_ms", "p99_ms", "max_ms"].map(|name| number(json, &format!("/took/{name}")));
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max, "{p50} {p99} {max}");
    corrections
}

/// Different events of a workload, as the model of this test counts them.
fn distinct(profile: Profile, events: u64) -> f64 {
    let mut lines = Vec::new();
    profile.workload(events).write(&mut lines).unwrap();
    let lines: std::collections::BTreeSet<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    // What stands behind the last line end is no line.
    lines.len() as f64 - 1.0
}

#[test]
fn figures_agree_with_the_workload() {
    let json = measured(&[
        "--events",
        "2000",
        "--workers",
        "1,2",
        "--rate",
        "20000,40000",
        "--epoch-events",
        "100",
    ]);
    assert_eq!(number(&json, "/settings/events"), 2000.0);
    assert_eq!(number(&json, "/settings/epoch_events"), 100.0);
    assert!(number(&json, "/machine/cores") >= 1.0);
    let [linq] = list(&json, "profiles") else {
        panic!("one profile was asked for")
    };
    assert_eq!(linq.get("profile").and_then(Json::text), Some("linq"));
    assert_eq!(number(linq, "events"), 2000.0);
    let different = distinct(Profile::Linq, 2000);
    assert_eq!(number(linq, "distinct_events"), different);
    let late = number(linq, "late_events");
    assert!(late > 0.0);

    let throughput = list(linq, "throughput");
    let workers: Vec<f64> = throughput.iter().map(|t| number(t, "workers")).collect();
    assert_eq!(workers, [1.0, 2.0]);
    for measured in throughput {
        let rates =
            ["min", "median", "max"].map(|name| number(measured, &format!("/events_per_s/{name}")));
        assert!(rates[0] > 0.0 && rates.is_sorted(), "{rates:?}");
        assert_eq!(list(measured, "rounds").len(), 1);
        assert_eq!(number(measured, "epochs"), 20.0);
        assert!(number(measured, "peak_bytes") > 0.0);
    }

    let latency = list(linq, "latency");
    assert_eq!(latency.len(), 4);
    for measured in latency {
        assert!(check_took(measured) <= number(measured, "late_events"));
        assert!(number(measured, "late_events") <= late);
        assert_eq!(number(measured, "events"), 2000.0);
    }
    let lone = linq.get("lone").unwrap();
    let corrections = check_took(lone);
    assert!(corrections > 0.0 && corrections <= late);
    assert_eq!(number(lone, "after_events"), 2000.0 - corrections);
    assert_eq!(
        number(linq, "/state/distinct_events"),
        different - corrections
    );
    assert!(number(linq, "/state/bytes_per_event") > 0.0);
}

#[test]
fn where_nothing_is_late_no_latency_is_made_up() {
    let json = measured(&[
        "--events",
        "1000",
        "-w",
        "1",
        "--profile",
        "clean",
        "--rate",
        "50000",
    ]);
    let [clean] = list(&json, "profiles") else {
        panic!("one profile was asked for")
    };
    assert_eq!(number(clean, "late_events"), 0.0);
    assert_eq!(check_took(&list(clean, "latency")[0]), 0.0);
    assert_eq!(check_took(clean.get("lone").unwrap()), 0.0);
    let ended = process::run(&mut bench(&[
        "--events",
        "1000",
        "-w",
        "1",
        "--profile",
        "clean",
        "--rate",
        "50000",
    ]));
    ended.expect_code(0);
    let table = String::from_utf8(ended.stdout).unwrap();
    assert!(table.contains("no event was late"), "{table}");
}

#[test]
fn files_give_the_same_counts_and_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let json = measured(&[
        "--events",
        "1000",
        "-w",
        "2",
        "--profile",
        "dirty,hot",
        "--rate",
        "50000",
        "--disk",
        disk,
    ]);
    let profiles = list(&json, "profiles");
    let names: Vec<_> = profiles
        .iter()
        .map(|p| p.get("profile").and_then(Json::text))
        .collect();
    assert_eq!(names, [Some("dirty"), Some("hot")]);
    assert_eq!(
        number(&profiles[0], "distinct_events"),
        distinct(Profile::Dirty, 1000)
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_plot_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("plot.svg");
    let path = plot.to_str().unwrap();
    process::run(&mut bench(&[
        "--events",
        "2000",
        "-w",
        "1,2",
        "--profile",
        "linq,hot",
        "--plot",
        path,
    ]))
    .expect_code(0);
    let svg = std::fs::read_to_string(&plot).unwrap();
    assert!(
        svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"),
        "{svg:.200}"
    );
    for title in ["Throughput by workers", "Latency by rate"] {
        assert!(svg.contains(title), "no {title:?}");
    }
    // Every element is closed or closes itself.
    let count = |mark: &str| svg.matches(mark).count();
    assert_eq!(count("<"), count(">"));
    assert_eq!(count("<text"), count("</text>"));
    assert!(count("<circle") > 4);
}

#[test]
fn wrong_flags_are_refused_before_anything_runs() {
    let check = |arguments: &[&str], said: &[&str]| {
        process::run(&mut bench(arguments))
            .expect_code(2)
            .expect_said(said);
    };
    check(&["--profile", "busy"], &["busy", "linq"]);
    check(&["--workers", "0"], &["from 1 to 256"]);
    check(&["--events", "0"], &["--events"]);
    check(&["--rate", "0"], &["--rate"]);
    check(
        &["--plot", "plot.png"],
        &["\"plot.png\"", "hint: plots are SVG"],
    );
    check(
        &["--plot", "nowhere/plot.svg"],
        &["cannot be written", "hint:"],
    );
    check(
        &["--disk", "nowhere"],
        &["\"nowhere\" is not a folder", "hint:"],
    );
}
