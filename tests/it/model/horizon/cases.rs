//! Forgetting on cases that were worked out by hand, a sentence of the rule each; and that it is
//! the model without forgetting where nothing is old enough.
//!
//! An epoch is a line: the watermark in seconds (`-` where none is known), a colon, and its events
//! as `stream/id@second=type#uuid!`, of which only id and second must be there; `!` is invalid.
//! What stands after it: kept events, guesses as `~id@second=type`, letters with the numbers of
//! their records, gaps.

use super::*;
use crate::json::Json;
use crate::model::{Config, Format, StreamField};
use crate::workload::{self, Knobs, Random};

/// Ten seconds.
fn ten() -> Config {
    Config {
        stream: StreamField::One("s".into()),
        format: Format::UnixSeconds,
        horizon_ms: Some(10_000),
        ..Config::default()
    }
}

fn record(token: &str) -> String {
    let (token, valid) = match token.strip_suffix('!') {
        Some(token) => (token, false),
        None => (token, true),
    };
    let (token, uuid) = match token.split_once('#') {
        Some((token, uuid)) => (token, crate::json::quoted(uuid)),
        None => (token, "null".into()),
    };
    let (token, kind) = token.split_once('=').unwrap_or((token, "A"));
    let (stream, token) = token.split_once('/').unwrap_or(("", token));
    let (id, time) = token.split_once('@').unwrap();
    format!(
        r#"{{"s":"{stream}","event_id":{id},"type":"{kind}","timestamp":{time},"valid":{valid},"u":{uuid}}}"#
    )
}

/// What a script comes to, from watermarks that it says itself.
fn play(config: &Config, script: &[&str]) -> History {
    let mut content = String::new();
    let mut cuts = Vec::new();
    let mut end = 0;
    for line in script {
        let (head, events) = line.split_once(':').unwrap();
        for token in events.split_whitespace() {
            content.push_str(&record(token));
            content.push('\n');
            end += 1;
        }
        let head = head.trim();
        let is_last = head.starts_with("end ");
        let watermark = head.trim_start_matches("end ").parse::<i128>().ok();
        cuts.push(Cut {
            end,
            watermark: watermark.map(|seconds| seconds * 1_000_000),
            is_last,
        });
    }
    let model = Model::new(config, &[content.into_bytes()]);
    assert!(model.verdicts.iter().all(Result::is_ok));
    model.history_of(&cuts)
}

/// A published event: `stream/id@second`, or a guess with its type.
fn event(text: &str) -> String {
    let json = Json::read(text.as_bytes()).unwrap();
    let member = |name| json.get(name).unwrap().canonical().replace('"', "");
    let stream = json.get("s").and_then(Json::text).unwrap_or_default();
    let stream = match stream {
        "" => String::new(),
        name => format!("{name}/"),
    };
    let (id, time) = (member("event_id"), member("timestamp"));
    match json.get("amend") {
        Some(_) => format!("~{stream}{id}@{time}={}", member("type")),
        None => format!("{stream}{id}@{time}"),
    }
}

fn shown(answer: &Answer) -> String {
    let mut out: Vec<String> = answer.kept.iter().map(|text| event(text)).collect();
    let guesses = answer.reconstructed.iter();
    out.extend(guesses.map(|(_, text)| event(text)));
    let letters = answer.letters.iter().chain(&answer.repeated_letters);
    out.extend(letters.map(|letter| match &letter.about {
        About::Record { line, .. } => format!("{}:{line}", letter.reason),
        _ => letter.reason.clone(),
    }));
    let gaps = answer.gaps.iter().chain(&answer.repeated_gaps);
    out.extend(gaps.map(|gap| format!("[{}..{}]", gap.from, gap.to)));
    out.join(" ")
}

/// Lines of a watermark and events, each with what stands after it; then what is in `clean.jsonl`
/// at the end.
#[track_caller]
fn check(config: &Config, script: &[(&str, &str)], clean: &str) -> History {
    let lines: Vec<&str> = script.iter().map(|(line, _)| *line).collect();
    let history = play(config, &lines);
    for ((line, expected), answer) in script.iter().zip(&history.answers) {
        assert_eq!(shown(answer), *expected, "after {line}");
    }
    let found: Vec<String> = history.clean.lines().map(event).collect();
    assert_eq!(found.join(" "), clean);
    history
}

#[test]
fn horizon_says_late_or_out_of_sequence() {
    let script = [
        ("-: 1@0 2@1 3@20", "1@0 2@1 3@20"),
        // Five seconds are not behind a horizon of five seconds, four are.
        (
            "15: 2@4 2@5 3@20 4@21",
            "1@0 2@1 3@20 4@21 duplicate:6 late:4 out-of-sequence:5",
        ),
        // What was refused is refused again, and is no copy of anything.
        (
            "15: 2@5 1@0",
            "1@0 2@1 3@20 4@21 duplicate:6 late:4 late:9 out-of-sequence:5 out-of-sequence:8",
        ),
    ];
    check(&ten(), &script, "1@0 2@1 3@20 4@21");
}

#[test]
fn horizon_forgets_nothing_while_the_watermark_is_unknown() {
    let script = [
        ("-: 1@0 2@1", "1@0 2@1"),
        ("-: 3@900", "1@0 2@1 3@900"),
        ("-: 1@0", "1@0 2@1 3@900 duplicate:4"),
        ("10: 1@0", "1@0 2@1 3@900 duplicate:4 duplicate:5"),
        // Silence counts from the first watermark that was known: 101 - 10 is not over 100 s.
        ("101: 1@0", "1@0 2@1 3@900 duplicate:4 duplicate:5 late:6"),
    ];
    check(&ten(), &script, "1@0 2@1 3@900");
}

#[test]
fn horizon_stops_at_an_id_that_is_fresh() {
    let script = [
        ("-: 1@0 2@20 3@1", "1@0 2@20 3@1"),
        (
            "15: 3@1 1@0 2@20",
            "1@0 2@20 3@1 duplicate:4 duplicate:6 late:5",
        ),
        // All are old now.
        (
            "31: 3@1 2@40",
            "1@0 2@20 3@1 duplicate:4 duplicate:6 late:5 late:7 out-of-sequence:8",
        ),
    ];
    let history = check(&ten(), &script, "1@0 2@20 3@1");
    assert_eq!(history.happened["ripe behind what is not"], 1);
}

#[test]
fn horizon_waits_for_every_event_of_an_id() {
    let script = [
        // An invalid one, and a losing copy of it, keep the id.
        ("-: 1@0 1@20! 1@20=B!", "1@0 conflict:3 invalid:2"),
        ("15: 1@0", "1@0 conflict:3 duplicate:4 invalid:2"),
        (
            "30: 1@0",
            "1@0 conflict:3 duplicate:4 duplicate:5 invalid:2",
        ),
        (
            "31: 1@0",
            "1@0 conflict:3 duplicate:4 duplicate:5 invalid:2 late:6",
        ),
    ];
    check(&ten(), &script, "1@0");
}

#[test]
fn horizon_believes_no_time_too_far_ahead() {
    let config = Config {
        max_ahead_ms: 5_000,
        ..ten()
    };
    let script = [
        ("-: 1@1000", "1@1000"),
        ("0: 2@1000", "1@1000 2@1000"),
        // Both count as 5 s: 1, too, by the first watermark after it.
        ("15: 1@1000 2@1000", "1@1000 2@1000 duplicate:3 duplicate:4"),
        // The copies count as 20 s.
        (
            "30: 1@1000 3@1",
            "1@1000 2@1000 3@1 duplicate:3 duplicate:4 duplicate:5",
        ),
        // 1 has a copy of 35 s.
        (
            "45: 2@1000",
            "1@1000 2@1000 3@1 duplicate:3 duplicate:4 duplicate:5 duplicate:7",
        ),
        // 2 has one of 50 s; 3 is behind it.
        (
            "46: 1@1000 2@1000 3@1",
            "1@1000 2@1000 3@1 duplicate:3 duplicate:4 duplicate:5 duplicate:7 \
             duplicate:9 duplicate:10 out-of-sequence:8",
        ),
    ];
    check(&config, &script, "1@1000 2@1000 3@1");
}

#[test]
fn horizon_makes_guesses_final() {
    let script = [
        ("-: 1@0 3@2 4@30", "1@0 3@2 4@30 ~2@1=A [2..2]"),
        // The type that was the most frequent before this epoch, and for good; what is above the
        // range follows its stream. The gap above the last forgotten id is not forgotten.
        (
            "15: 6@32=B 7@32=B 8@32=B 9@32=B",
            "1@0 3@2 4@30 6@32 7@32 8@32 9@32 ~2@1=A ~5@31=B [2..2] [5..5]",
        ),
        (
            "15: 2@40=B 5@31=B",
            "1@0 3@2 4@30 6@32 7@32 8@32 9@32 5@31 ~2@1=A out-of-sequence:8 [2..2]",
        ),
        (
            "15: 11@40=B",
            "1@0 3@2 4@30 6@32 7@32 8@32 9@32 5@31 11@40 ~2@1=A ~10@36=B out-of-sequence:8 \
             [2..2] [10..10]",
        ),
    ];
    let history = check(
        &ten(),
        &script,
        "1@0 3@2 4@30 6@32 7@32 8@32 9@32 ~2@1=A 5@31 11@40 ~10@36=B",
    );
    assert_eq!(history.filled_ids, 1);
    assert_eq!(history.answers[3].missing_ids(), 2);
}

#[test]
fn horizon_invents_nothing_where_nothing_is_reconstructed() {
    let config = Config {
        reconstruct: false,
        ..ten()
    };
    let script = [
        ("-: 1@0 3@2", "1@0 3@2 [2..2]"),
        ("15: 4@15", "1@0 3@2 4@15 [2..2]"),
    ];
    check(&config, &script, "1@0 3@2 4@15");
}

#[test]
fn horizon_opens_a_gap_that_it_forgets() {
    // All times are in the future, so that nothing is due before it is forgotten.
    let config = Config {
        grace_ms: 8_000,
        max_ahead_ms: 0,
        ..ten()
    };
    let script = [
        ("0: 1@100 3@101", "1@100 3@101"),
        (
            "11: 4@105=B 5@105=B 6@105=B 9@105=B",
            "1@100 3@101 4@105 5@105 6@105 9@105 ~2@100=A [2..2]",
        ),
        // 8 is missing, and nothing above it is old yet; at the end all is due.
        (
            "end 11: 7@105",
            "1@100 3@101 4@105 5@105 6@105 9@105 7@105 ~2@100=A ~8@105=B [2..2] [8..8]",
        ),
    ];
    let history = check(
        &config,
        &script,
        "1@100 3@101 4@105 5@105 6@105 9@105 ~2@100=A 7@105 ~8@105=B",
    );
    assert_eq!(history.happened["gap opened when forgotten"], 1);
}

#[test]
fn horizon_remembers_what_was_due() {
    let config = Config {
        grace_ms: 8_000,
        ..ten()
    };
    let script = [
        ("-: 1@90 3@0", "1@90 3@0"),
        // 3 makes 2 due, which stays so though nothing else does.
        ("8:", "1@90 3@0 ~2@45=A [2..2]"),
        ("8: 5@95", "1@90 3@0 5@95 ~2@45=A [2..2]"),
    ];
    check(&config, &script, "1@90 3@0 5@95 ~2@45=A");
}

#[test]
fn horizon_eases_a_stream_that_is_too_sparse() {
    let config = Config {
        max_missing: 2,
        ..ten()
    };
    let script = [
        (
            "-: 1@0 3@1 5@2 7@30",
            "1@0 3@1 5@2 7@30 sequence-too-sparse [2..2] [4..4] [6..6]",
        ),
        // What is forgotten is never guessed; what is left is enumerated.
        ("15:", "1@0 3@1 5@2 7@30 ~6@16=A [2..2] [4..4] [6..6]"),
        // And is withdrawn when there is too much again.
        (
            "15: 10@33",
            "1@0 3@1 5@2 7@30 10@33 sequence-too-sparse [2..2] [4..4] [6..6] [8..9]",
        ),
    ];
    check(&config, &script, "1@0 3@1 5@2 7@30 10@33");
}

#[test]
fn horizon_keeps_what_was_guessed_before_a_stream_became_too_sparse() {
    let config = Config {
        max_missing: 1,
        ..ten()
    };
    let script = [
        ("-: 1@0 3@1 4@30", "1@0 3@1 4@30 ~2@0=A [2..2]"),
        (
            "15: 7@33",
            "1@0 3@1 4@30 7@33 ~2@0=A sequence-too-sparse [2..2] [5..6]",
        ),
    ];
    check(&config, &script, "1@0 3@1 4@30 7@33 ~2@0=A");
}

#[test]
fn horizon_goes_run_by_run() {
    let config = Config {
        max_width: 3,
        ..ten()
    };
    let script = [
        (
            "-: 1@0 2@30 100@0 101@30",
            "1@0 2@30 100@0 101@30 gap-too-wide [3..99]",
        ),
        (
            "15: 100@0 1@0 2@30 100@31 101@30",
            "1@0 2@30 100@0 101@30 duplicate:7 duplicate:9 gap-too-wide late:5 late:6 \
             out-of-sequence:8 [3..99]",
        ),
        // A gap that is too wide is never forgotten: it can be split.
        (
            "60: 50@61",
            "1@0 2@30 100@0 101@30 50@61 duplicate:7 duplicate:9 gap-too-wide gap-too-wide \
             late:5 late:6 out-of-sequence:8 [3..49] [51..99]",
        ),
    ];
    check(&config, &script, "1@0 2@30 100@0 101@30 50@61");
}

#[test]
fn horizon_joins_an_island() {
    let config = Config {
        max_width: 3,
        ..ten()
    };
    let script = [
        (
            "-: 1@0 2@30 7@0 8@30",
            "1@0 2@30 7@0 8@30 gap-too-wide [3..6]",
        ),
        // 1 and 7 are forgotten. 4 makes one run of two; 7 is an island in it.
        (
            "15: 4@31 7@0",
            "1@0 2@30 7@0 8@30 4@31 ~3@30=A ~5@15=A ~6@15=A late:6 [3..3] [5..6]",
        ),
        // 2 goes. 4 is not old enough, and 8 is behind it.
        (
            "41: 2@50 8@30 6@50",
            "1@0 2@30 7@0 8@30 4@31 6@50 ~3@30=A ~5@40=A duplicate:8 late:6 out-of-sequence:7 \
             [3..3] [5..5]",
        ),
        // All of it is one range.
        (
            "61: 5@60",
            "1@0 2@30 7@0 8@30 4@31 6@50 ~3@30=A ~5@40=A duplicate:8 late:6 out-of-sequence:7 \
             out-of-sequence:10 [3..3] [5..5]",
        ),
    ];
    let history = check(
        &config,
        &script,
        "1@0 2@30 7@0 8@30 4@31 6@50 ~3@30=A ~5@40=A",
    );
    assert_eq!(history.happened["island joined"], 1);
    assert_eq!(history.filled_ids, 1);
}

#[test]
fn horizon_forgets_a_silent_stream_whole() {
    let config = Config {
        stream_ttl_ms: Some(50_000),
        max_width: 3,
        ..ten()
    };
    let once = "a/1@0 a/3@1 a/9@60";
    let script = [
        (
            "-: a/1@0=B a/3@1=B a/9@60",
            format!("{once} ~a/2@0=B gap-too-wide [2..2] [4..8]"),
        ),
        ("10:", format!("{once} ~a/2@0=B gap-too-wide [2..2] [4..8]")),
        // 50 s of silence are not too much.
        (
            "60: a/3@40",
            format!("{once} ~a/2@0=B gap-too-wide late:4 [2..2] [4..8]"),
        ),
        // A record that was refused broke the silence.
        (
            "110: b/1@110",
            format!("{once} b/1@110 ~a/2@0=B gap-too-wide late:4 [2..2] [4..8]"),
        ),
        // A new stream, whose types count from nothing: nothing in it is late. The gap that was too
        // wide stays as it was.
        (
            "111: a/1@0 a/3@1",
            format!(
                "{once} b/1@110 a/1@0 a/3@1 ~a/2@0=A ~a/2@0=B gap-too-wide late:4 \
                 [2..2] [4..8] [2..2]"
            ),
        ),
    ];
    let script: Vec<(&str, &str)> = script.iter().map(|(a, b)| (*a, &b[..])).collect();
    let history = check(
        &config,
        &script,
        "a/1@0 a/3@1 a/9@60 ~a/2@0=B b/1@110 a/1@0 a/3@1 ~a/2@0=A",
    );
    assert_eq!(history.answers[4].missing_ids(), 7);
    assert_eq!(history.happened["stream forgotten"], 1);
}

#[test]
fn horizon_ends_what_a_silent_stream_owed() {
    let config = Config {
        stream_ttl_ms: Some(50_000),
        max_missing: 1,
        max_width: 3,
        grace_ms: 9_000,
        ..ten()
    };
    let script = [
        // Fresh to the end: nothing of `a` is due, and all of `b` is.
        ("0: a/1@500 a/3@500 a/9@500", "a/1@500 a/3@500 a/9@500"),
        (
            "0: b/1@-9 b/4@-9 b/5@500",
            "a/1@500 a/3@500 a/9@500 b/1@-9 b/4@-9 b/5@500 sequence-too-sparse [2..3]",
        ),
        // With the streams go the letter about one that is too sparse, and its guesses for good;
        // the others have theirs, and the gap that was too wide its letter.
        (
            "51:",
            "a/1@500 a/3@500 a/9@500 b/1@-9 b/4@-9 b/5@500 ~a/2@500=A gap-too-wide \
             [2..2] [4..8] [2..3]",
        ),
    ];
    check(
        &config,
        &script,
        "a/1@500 a/3@500 a/9@500 b/1@-9 b/4@-9 b/5@500 ~a/2@500=A",
    );
}

#[test]
fn horizon_gives_a_stream_ten_horizons() {
    let script = [("0: 1@0", "1@0"), ("100:", "1@0"), ("101: 1@0", "1@0 1@0")];
    check(&ten(), &script, "1@0 1@0");
    let script = [("0: 1@0", "1@0"), ("100: 1@0", "1@0 late:2")];
    check(&ten(), &script, "1@0");
}

/// Numbers that start over are a new sequence.
fn anew() -> Config {
    Config {
        on_reset: OnReset::NewSequence,
        ..ten()
    }
}

#[test]
fn horizon_opens_a_new_sequence() {
    let script = [
        ("-: 1@0=B 2@1=B 3@30=B", "1@0 2@1 3@30"),
        // Late is late. Then 1 starts over. 3 lies where the older one is retained, so it is a copy
        // there, or another event of it; all others are the newest one's, old or not.
        (
            "15: 2@4 1@40 2@41 3@30=B 3@42 5@43 1@2",
            "1@0 2@1 3@30 1@40 2@41 3@42 5@43 1@2 ~3@42=A ~4@42=A duplicate:7 late:4 [3..4]",
        ),
        // The older one has nothing left, and is dropped: 3 fills the gap.
        (
            "53: 3@45",
            "1@0 2@1 3@30 1@40 2@41 3@42 5@43 1@2 3@45 ~4@44=A duplicate:7 late:4 [4..4]",
        ),
    ];
    let history = check(
        &anew(),
        &script,
        "1@0 2@1 3@30 1@40 2@41 3@42 5@43 1@2 3@45 ~4@44=A",
    );
    assert_eq!(history.happened["incarnation dropped"], 1);
    assert_eq!(history.filled_ids, 1);
}

#[test]
fn horizon_lets_only_the_newest_open_another() {
    let config = Config {
        max_width: 3,
        ..anew()
    };
    let script = [
        (
            "-: 1@0 2@30 7@0 8@30",
            "1@0 2@30 7@0 8@30 gap-too-wide [3..6]",
        ),
        (
            "15: 4@31",
            "1@0 2@30 7@0 8@30 4@31 ~3@30=A ~5@15=A ~6@15=A [3..3] [5..6]",
        ),
        // 1 opens a second one; 7 is on an island of the first, and late at any time; 6 is a gap of it.
        (
            "15: 1@40 7@45 6@46",
            "1@0 2@30 7@0 8@30 4@31 1@40 6@46 ~3@30=A ~5@38=A late:7 [3..3] [5..5]",
        ),
        // 1 is forgotten in both: a third one.
        (
            "51: 1@60 3@62",
            "1@0 2@30 7@0 8@30 4@31 1@40 6@46 1@60 3@62 ~2@61=A ~3@30=A ~5@38=A late:7 \
             [2..2] [3..3] [5..5]",
        ),
    ];
    let history = check(
        &config,
        &script,
        "1@0 2@30 7@0 8@30 4@31 1@40 6@46 1@60 3@62 ~3@30=A ~2@61=A ~5@38=A",
    );
    assert_eq!(history.happened["new incarnation"], 2);
}

#[test]
fn horizon_counts_each_incarnation_for_itself() {
    let config = Config {
        max_missing: 1,
        ..anew()
    };
    let script = [
        (
            "-: 1@0 10@30 13@30",
            "1@0 10@30 13@30 sequence-too-sparse [2..9] [11..12]",
        ),
        (
            "15: 1@40 4@40",
            "1@0 10@30 13@30 1@40 4@40 sequence-too-sparse sequence-too-sparse \
             [2..3] [2..9] [11..12]",
        ),
        (
            "15: 3@40",
            "1@0 10@30 13@30 1@40 4@40 3@40 ~2@40=A sequence-too-sparse \
             [2..2] [2..9] [11..12]",
        ),
    ];
    check(&config, &script, "1@0 10@30 13@30 1@40 4@40 3@40 ~2@40=A");
}

#[test]
fn horizon_drops_a_group_when_all_its_ids_are_forgotten() {
    let by_uuid = |keep| Config {
        key: Some(vec!["u".into()]),
        keep,
        ..ten()
    };
    let lines = [
        "-: 1@0#u 2@30 3@31#u",
        // 1 is forgotten, but the group stays as long as 3 does.
        "15: 1@0#u",
        "15: 4@50#u",
        // Then the same key is another event.
        "61: 5@60#u",
    ];
    let first = [
        "1@0 2@30 conflict:3",
        "1@0 2@30 conflict:3 late:4",
        "1@0 2@30 conflict:3 conflict:5 late:4",
        "1@0 2@30 5@60 conflict:3 conflict:5 late:4",
    ];
    let script = |expected: [&'static str; 4]| {
        let pairs = lines.into_iter().zip(expected);
        pairs.collect::<Vec<_>>()
    };
    let history = check(&by_uuid(Keep::First), &script(first), "1@0 2@30 5@60");
    assert_eq!(history.happened["group outlives an id"], 2);
    let last = [
        "2@30 3@31 conflict:1",
        "2@30 3@31 conflict:1 late:4",
        "2@30 4@50 conflict:1 conflict:3 late:4",
        "2@30 4@50 5@60 conflict:1 conflict:3 late:4",
    ];
    check(&by_uuid(Keep::Last), &script(last), "2@30 4@50 5@60");
}

#[test]
fn horizon_writes_the_last_copy_when_it_is_final() {
    let config = Config {
        keep: Keep::Last,
        ..ten()
    };
    let script = [
        (
            "-: 5@30 1@0 1@0",
            "5@30 1@0 ~2@15=A ~3@15=A ~4@15=A duplicate:2 [2..4]",
        ),
        (
            "15: 1@0",
            "5@30 1@0 ~2@15=A ~3@15=A ~4@15=A duplicate:2 late:4 [2..4]",
        ),
        (
            "41: 8@50 6@51 8@50=B",
            "5@30 1@0 6@51 8@50 ~2@15=A ~3@15=A ~4@15=A ~7@50=A conflict:5 duplicate:2 late:4 \
             [2..4] [7..7]",
        ),
    ];
    check(
        &config,
        &script,
        "1@0 5@30 ~2@15=A ~3@15=A ~4@15=A 6@51 8@50 ~7@50=A",
    );
}

#[test]
fn horizon_leaves_an_invalid_seat_as_it_is() {
    let script = [
        ("-: 1@0! 2@1! 3@30", "3@30 invalid:1 invalid:2"),
        (
            "15: 1@0 2@20",
            "3@30 invalid:1 invalid:2 late:4 out-of-sequence:5",
        ),
    ];
    check(&ten(), &script, "3@30");
}

#[test]
fn horizon_keeps_the_edges_of_a_range() {
    let config = Config {
        fill: Fill::LowerNeighbour,
        ..ten()
    };
    let script = [
        (
            "-: 1@0 2@4=B 2@4=C 2@3=D 5@30",
            "1@0 2@4 2@3 5@30 ~3@17=B ~4@17=B conflict:3 [3..4]",
        ),
        // The latest time of 2, and the type of the first event with it.
        (
            "15: 4@31",
            "1@0 2@4 2@3 5@30 4@31 ~3@17=B conflict:3 [3..3]",
        ),
        // Below a range: the earliest time of its first id.
        (
            "15: 0@20 -2@40=E",
            "1@0 2@4 2@3 5@30 4@31 0@20 -2@40 ~-1@30=E ~3@17=B conflict:3 [-1..-1] [3..3]",
        ),
        (
            "15: -4@-1",
            "1@0 2@4 2@3 5@30 4@31 0@20 -2@40 -4@-1 ~-3@19=A ~-1@30=E ~3@17=B conflict:3 \
             [-3..-3] [-1..-1] [3..3]",
        ),
    ];
    check(
        &config,
        &script,
        "1@0 2@4 2@3 5@30 4@31 0@20 -2@40 -4@-1 ~-3@19=A ~-1@30=E ~3@17=B",
    );
    let script = [
        ("-: 3@1 3@0=B 5@30", "3@1 3@0 5@30 ~4@15=A [4..4]"),
        (
            "15: 1@50=B",
            "3@1 3@0 5@30 1@50 ~2@25=B ~4@15=A [2..2] [4..4]",
        ),
    ];
    check(&config, &script, "3@1 3@0 5@30 1@50 ~2@25=B ~4@15=A");
}

#[test]
fn horizon_counts_the_types_of_what_it_refuses() {
    let script = [
        ("-: 1@0 2@30 4@30", "1@0 2@30 4@30 ~3@30=A [3..3]"),
        (
            "15: 1@0=B 1@0=B 1@20=B",
            "1@0 2@30 4@30 ~3@30=A late:4 late:5 out-of-sequence:6 [3..3]",
        ),
        (
            "15: 1@20=B",
            "1@0 2@30 4@30 ~3@30=B late:4 late:5 out-of-sequence:6 out-of-sequence:7 [3..3]",
        ),
    ];
    check(&ten(), &script, "1@0 2@30 4@30 ~3@30=B");
}

#[test]
fn horizon_knows_no_overflow() {
    let config = Config {
        horizon_ms: Some(i64::MAX / 1000),
        stream_ttl_ms: Some(i64::MAX / 1000),
        format: Format::UnixMicros,
        ..ten()
    };
    let (min, max) = (i64::MIN, i64::MAX);
    let line = |time: i64| format!("0: {min}@{time} {max}@{time}");
    let script = [line(min), line(max)];
    let lines: Vec<&str> = script.iter().map(String::as_str).collect();
    for horizon_ms in [1, i64::MAX / 1000] {
        let history = play(
            &Config {
                horizon_ms: Some(horizon_ms),
                ..config.clone()
            },
            &lines,
        );
        assert_eq!(history.answers[1].missing_ids(), u128::from(u64::MAX) - 1);
    }
}

#[test]
fn horizon_far_away_changes_nothing() {
    let configs = [
        Config::default(),
        Config {
            keep: Keep::Last,
            key: Some(vec!["uuid".into()]),
            max_width: 3,
            fill: Fill::LowerNeighbour,
            ..Config::default()
        },
        Config {
            grace_ms: 30_000,
            max_missing: 4,
            ..Config::default()
        },
    ];
    let knobs = Knobs {
        lost: 20,
        late: 20,
        jumps: 5,
        jump: 4,
        ..Knobs::default()
    };
    for config in configs {
        let config = Config {
            stream: StreamField::One("stream".into()),
            ..config
        };
        for seed in 0..6 {
            let files = workload::files(&mut Random::new(seed), &config, &knobs);
            let plain = Model::new(&config, &files);
            let far = Config {
                horizon_ms: Some(i64::MAX / 1000),
                ..config.clone()
            };
            let far = Model::new(&far, &files);
            for size in [1, 7, 1000] {
                let answers = plain.answers(size);
                let history = far.history(size);
                assert_eq!(history.answers, answers, "seed {seed}, size {size}");
                assert_eq!(history.filled_ids, plain.filled_ids(size, &answers));
                assert_eq!(history.clean, answers.last().unwrap().clean());
            }
        }
    }
}
