//! Scenario files: what is read, what is refused and where, and what `check` finds. Those of windows
//! have their tests in `panes`.

use super::*;
use crate::event::Reason;
use crate::repair::spec::SinkKind;
use crate::repair::spec::SinkSpec;
use crate::time::EventTime;

const EVENT: &str = "event_id: 1, type: a, timestamp: \"2026-01-01T00:00:00\"";
const INSERT: &str = r#"{"epoch":0,"op":"insert","origin":"observed","event":{"event_id":1}}"#;

/// Checks the only document of `text` against hand-made lines of changes, dead and gaps.
fn check_with(text: &str, [changes, dead, gaps]: [&str; 3]) -> std::result::Result<(), String> {
    let scenarios = Scenario::from_text(text, "s.yaml").unwrap();
    assert_eq!(scenarios.len(), 1);
    let outputs = Outputs {
        changes: changes.into(),
        dead: dead.into(),
        gaps: gaps.into(),
    };
    scenarios[0].check_with(|_, _| Ok(outputs))
}

/// The failure of a document whose check does not come to running anything.
#[track_caller]
fn check_refused(text: &str, message: &str) {
    assert_eq!(check_with(text, ["", "", ""]).unwrap_err(), message);
}

/// As [`check_refused`], for a transcript.
#[track_caller]
fn check_transcript(items: &str, message: &str) {
    check_refused(&format!("dataflow: repair\ntranscript:\n{items}"), message);
}

/// As [`check_refused`], for the entries of an `expect` list.
#[track_caller]
fn check_entry(entry: &str, message: &str) {
    check_transcript(&format!("- input: []\n- expect: [{entry}]"), message);
}

#[test]
fn the_dataflow_and_its_steps() {
    let text = r#"
name: all of it
dataflow: repair
broken_on: [nothing]
whatever: {is: ignored}
event: {stream: tenant, max_record: 100, timestamp_format: unix-ms}
dedup: {keep: last, key: [uuid]}
gaps: {grace: 30s, type: {fixed: X}, annotate: false}
watermark: {disorder: 1s}
transcript:
  - input:
      - {b: 1, a: [1.0, null, "x\ny", {c: true}], d: 2026-01-01}
      - '{"raw": }'
  - watermark: 1500
  - input: []
  - watermark: "2026-01-01T01:00:00.5+01:00"
"#;
    let scenario = &Scenario::from_text(text, "s.yaml").unwrap()[0];
    assert_eq!(
        (scenario.name.as_str(), scenario.place.as_str()),
        ("all of it", "s.yaml:2")
    );
    let mut seen = None;
    let result = scenario.check_with(|dataflow, steps| {
        seen = Some((dataflow.clone(), steps));
        Ok(Outputs::default())
    });
    assert_eq!(result, Ok(()));
    let (dataflow, steps) = seen.unwrap();
    assert_eq!(dataflow.name, "all of it");
    assert_eq!(dataflow.event.max_record_bytes, 100);
    assert_eq!(dataflow.gaps.grace_us, 30_000_000);
    assert_eq!(dataflow.watermark.disorder_us, 1_000_000);
    assert_eq!(
        dataflow.sinks.changes,
        Some(SinkSpec {
            kind: SinkKind::Jsonl,
            annotate: false
        })
    );
    let records: Vec<Vec<&str>> = steps
        .iter()
        .map(|step| {
            step.records
                .iter()
                .map(|r| std::str::from_utf8(r).unwrap())
                .collect()
        })
        .collect();
    let event = r#"{"b":1,"a":[1.0,null,"x\ny",{"c":true}],"d":"2026-01-01"}"#;
    assert_eq!(
        records,
        [vec![event, "{\"raw\": }"], vec![], vec![], vec![]]
    );
    let watermarks: Vec<_> = steps.iter().map(|step| step.watermark).collect();
    let last = EventTime(1_767_225_600_500_000);
    assert_eq!(
        watermarks,
        [None, Some(EventTime(1_500_000)), None, Some(last)]
    );
}

#[test]
fn instants() {
    for text in [
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-01-01t00:00:00z",
        "2026-01-01T01:00:00.0+01:00",
    ] {
        assert_eq!(
            EventTime::parse(text),
            Some(EventTime(1_767_225_600_000_000)),
            "{text}"
        );
    }
    for text in ["", "2026-01-01", "noon", "2026-02-30T00:00:00", "T", "é t"] {
        assert_eq!(EventTime::parse(text), None, "{text}");
    }
}

#[test]
fn what_a_step_writes_must_be_what_is_expected_of_it() {
    let text = format!(
        "dataflow: repair\ntranscript:\n- input: [{{{EVENT}}}]\n- expect:\n  \
             - {{op: insert, event: {{event_id: 1}}}}\n- watermark: \"2026-01-01T00:00:00\"\n"
    );
    assert_eq!(check_with(&text, [INSERT, "", ""]), Ok(()));
    let missing = check_with(&text, ["", "", ""]).unwrap_err();
    assert!(
        missing.starts_with("s.yaml:4:3: unmatched output of the input at s.yaml:3:3\n"),
        "{missing}"
    );
    assert!(
        missing.contains("! {op: \"insert\", event: {\"event_id\":1}}"),
        "{missing}"
    );
    let later = format!("{INSERT}\n{}", INSERT.replace("\"epoch\":0", "\"epoch\":1"));
    let unexpected = check_with(&text, [&later, "", ""]).unwrap_err();
    assert!(
        unexpected.starts_with("s.yaml:6:3: unexpected output of the watermark\n"),
        "{unexpected}"
    );
    assert!(!unexpected.contains("s.yaml:4"), "{unexpected}");
    let none = INSERT.replace("\"epoch\":0", "\"epoch\":2");
    assert_eq!(
        check_with(&text, [&none, "", ""]).unwrap_err(),
        format!("changes.jsonl line 1: there is no step 2: {none}")
    );
}

#[test]
fn lists_of_one_step_are_one_list() {
    let text = "dataflow: repair\ntranscript:\n- input: []\n- expect: [{op: insert}]\n\
             - expect: [{dead: duplicate}]";
    let dead = r#"{"reason":"duplicate","detail":"d","epoch":0,"event":{}}"#;
    assert_eq!(check_with(text, [INSERT, dead, ""]), Ok(()));
    assert!(check_with(text, [INSERT, "", ""]).is_err());
    assert!(check_with(text, ["", dead, ""]).is_err());
}

#[test]
fn a_check_may_have_to_fail() {
    let text = |error: &str| {
        format!("error: {error}\ndataflow: repair\ntranscript:\n- input: []\n- expect: []")
    };
    assert_eq!(
        check_with(&text("'^s.yaml:5:3: Unmatched output'"), [INSERT, "", ""]),
        Ok(())
    );
    assert_eq!(
        check_with(&text("\"[input\""), [INSERT, "", ""])
            .unwrap_err()
            .lines()
            .next(),
        Some("the check must fail with: [input")
    );
    assert_eq!(
        check_with(&text("unmatched"), ["", "", ""]).unwrap_err(),
        "the check passed, where it must fail with: unmatched"
    );
    let refused = "error: 'unknown key \"x\"'\ndataflow: repair\ngaps: {x: 1}";
    assert_eq!(check_with(refused, ["", "", ""]), Ok(()));
    let engine = Scenario::from_text("dataflow: repair\ntranscript: []", "s.yaml").unwrap();
    let result = engine[0].check_with(|_, _| Err(Error::internal("lost a record")));
    assert_eq!(result.unwrap_err(), "lost a record");
}

#[test]
fn documents_that_are_no_scenarios() {
    check_refused(
        "dataflow: windows",
        "s.yaml:1:11: there is no dataflow \"windows\"\n\
             hint: dataflow: repair is for events; a scenario of windows and triggers has none",
    );
    check_refused(
        "- 1",
        "s.yaml:1:1: a scenario is a list\n\
             hint: a scenario is a mapping with name and transcript",
    );
    check_refused(
        "dataflow: repair\nlimits: {dead_share: 1}",
        "s.yaml:2:1: a scenario has no limits\n\
             hint: a scenario has event, dedup, gaps and watermark",
    );
    check_refused(
        "dataflow: repair\ngaps:\n  max_width: -1",
        "s.yaml:3:14: [gaps] max_width = -1 is out of range\n\
             hint: a whole number from 0 to 9223372036854775807, without quotes",
    );
    check_refused(
        "dataflow: repair",
        "s.yaml:1:1: the scenario has no transcript\n\
             hint: add a list of input, watermark and expect",
    );
}

#[test]
fn transcripts_are_checked() {
    check_transcript(
        "- inptu: []",
        "s.yaml:3:3: unknown key \"inptu\" in the transcript\n\
             hint: one of input, watermark and expect",
    );
    check_transcript(
        "- clock: 5",
        "s.yaml:3:3: unknown key \"clock\" in the transcript\n\
             hint: the repair dataflow has no triggers",
    );
    check_transcript(
        "- {input: [], expect: []}",
        "s.yaml:3:3: an item of the transcript is a mapping with one key\n\
             hint: one of input, watermark and expect",
    );
    check_transcript(
        "- expect: []",
        "s.yaml:3:3: expect follows no step\n\
             hint: it says what the input or watermark before it does",
    );
    check_transcript(
        "- input: {a: 1}",
        "s.yaml:3:10: input is a table\nhint: write a list: input: [..]",
    );
    check_transcript(
        "- input: [5]",
        "s.yaml:3:11: a record is a number\n\
             hint: write an event as a mapping, and any other record as text in quotes",
    );
    let hint = "hint: an instant such as \"2026-01-31T12:00:00\"; with timestamp_format \
             unix-s, unix-ms or unix-us also such an integer";
    check_transcript(
        "- watermark: noon",
        &format!("s.yaml:3:14: watermark: \"noon\" is no instant\n{hint}"),
    );
    check_transcript(
        "- watermark: 5",
        &format!("s.yaml:3:14: watermark: 5 is an integer, and timestamps are text\n{hint}"),
    );
    check_refused(
        "dataflow: repair\nevent: {timestamp_format: unix-s}\ntranscript:\n\
             - watermark: 9223372036854775807",
        &format!("s.yaml:4:14: watermark: 9223372036854775807 is out of range\n{hint}"),
    );
}

#[test]
fn entries_are_checked() {
    check_entry(
        "{op: insert, orign: observed}",
        "s.yaml:4:25: unknown key \"orign\" in an expected change\n\
             hint: did you mean origin? an expected change has op, origin, event",
    );
    check_entry(
        "{event: {}}",
        "s.yaml:4:12: the entry has no op\nhint: op is one of insert, retract",
    );
    check_entry(
        "{op: inserted}",
        "s.yaml:4:17: op: \"inserted\" is not a choice\nhint: op is one of insert, retract",
    );
    check_entry(
        "{op: insert, origin: real}",
        "s.yaml:4:33: origin: \"real\" is not a choice\n\
             hint: origin is one of observed, reconstructed",
    );
    let reasons = Reason::ALL.map(Reason::as_str).join(", ");
    check_entry(
        "{dead: duplicated}",
        &format!(
            "s.yaml:4:19: dead: \"duplicated\" is no reason\n\
                 hint: did you mean duplicate? one of {reasons}"
        ),
    );
    check_entry(
        "{dead: duplicate, op: insert}",
        "s.yaml:4:34: op: \"insert\" is not a choice\nhint: op is one of retract",
    );
    check_entry(
        "{gap: 5, op: open}",
        "s.yaml:4:18: gap: 5 is no range of ids\n\
             hint: the first and the last missing id: {gap: [4, 6], op: open}",
    );
    check_entry(
        "{gap: [4, 6]}",
        "s.yaml:4:12: the entry has no op\nhint: op is one of open, close",
    );
    check_entry(
        "{request: [4, 6]}",
        "s.yaml:4:13: there are no requests in this version\n\
             hint: expect changes, dead letters and gaps",
    );
    check_entry(
        "5",
        "s.yaml:4:12: an entry of expect is a mapping\n\
             hint: {op: insert, origin: observed, event: {..}}, {dead: duplicate, ..} or \
             {gap: [from, to], op: open}",
    );
}

#[test]
fn text_that_is_not_yaml() {
    let message = |text: &str| Scenario::from_text(text, "s.yaml").unwrap_err().to_string();
    assert_eq!(message(""), "s.yaml:1:1: there is no scenario");
    assert_eq!(message("# nothing\n"), "s.yaml:1:1: there is no scenario");
    assert_eq!(
        message("a: 1\nb: ["),
        "s.yaml:2:4: not YAML: unclosed bracket '['"
    );
    for text in ["a: *a", "&a [*a]", "a: 1\na: 2", &"[".repeat(100_000)] {
        assert!(message(text).contains(": not YAML: "), "{}", message(text));
    }
}

/// As Beam's own file has it, which Python reads.
#[test]
fn a_list_may_follow_its_colon() {
    let text = "- {a: [1], values:[1, 2]}\n--- {b:{c: 1}, \"d\":[2]}";
    let scenarios = Scenario::from_text(text, "s.yaml").unwrap();
    assert_eq!(scenarios.len(), 2);
    assert_eq!(scenarios[1].place, "s.yaml:2");
}

/// Every scenario of ours is one, whatever the engine makes of it.
#[test]
fn our_scenario_files_can_be_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/repair");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for scenario in Scenario::from_text(&text, &path.display().to_string()).unwrap() {
            let script = scenario
                .script
                .unwrap_or_else(|err| panic!("{}", err.to_text()));
            let Script::Repair(script) = script else {
                panic!("a scenario of windows");
            };
            assert!(
                script
                    .actions
                    .iter()
                    .any(|action| action.expected.is_some())
            );
        }
        files += 1;
    }
    assert!(files >= 12, "{folder} holds {files} files");
}
