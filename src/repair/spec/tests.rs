//! Dataflow files, right and wrong: what they become, and what the refusals say.

use super::*;
use crate::ErrorKind;
use crate::event::{DedupKey, FieldPath, KeyField, TimestampFormat};

/// The shortest right file; the tables of most cases follow it, from line 4 on.
const SOURCE: &str = "[source]\nkind = \"jsonl\"\npath = \"a.jsonl\"\n";

fn read(text: &str, overrides: &[&str]) -> Result<Dataflow> {
    let overrides: Vec<(String, String)> = overrides
        .iter()
        .map(|text| text.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Dataflow::from_text(text, Path::new("data/f.toml"), &overrides)
}

/// Reads `text` after [`SOURCE`].
#[track_caller]
fn tables(text: &str) -> Dataflow {
    read(&format!("{SOURCE}{text}"), &[]).unwrap()
}

#[track_caller]
fn check(text: &str, message: &str, hint: &str) {
    check_overrides(text, &[], message, hint);
}

/// As [`check`], with `text` after [`SOURCE`].
#[track_caller]
fn check_tables(text: &str, message: &str, hint: &str) {
    check(&format!("{SOURCE}{text}"), message, hint);
}

#[track_caller]
fn check_overrides(text: &str, overrides: &[&str], message: &str, hint: &str) {
    let err = read(text, overrides).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Usage);
    assert_eq!(err.to_string().replace("data/f.toml:", ""), message);
    let found = err.hint().unwrap();
    assert!(found.starts_with(hint), "the hint is {found:?}");
}

fn name(name: &str) -> FieldPath {
    FieldPath::Name(name.to_owned())
}

fn pointer(tokens: &[&str]) -> FieldPath {
    FieldPath::Pointer(tokens.iter().map(|token| (*token).to_owned()).collect())
}

#[test]
fn a_source_is_enough_and_the_rest_has_defaults() {
    let sink = SinkSpec {
        kind: SinkKind::Jsonl,
        annotate: true,
    };
    let expected = Dataflow {
        name: "f".to_owned(),
        source: SourceSpec {
            name: "f".to_owned(),
            inputs: vec![InputSpec::Path("data/a.jsonl".into())],
        },
        event: EventSpec {
            stream: vec![],
            stream_is_list: false,
            id: name("event_id"),
            id_text: false,
            r#type: name("type"),
            timestamp: name("timestamp"),
            timestamp_format: TimestampFormat::Iso8601,
            valid: name("valid"),
            key: DedupKey::IdAndTime,
            max_record_bytes: 1_048_576,
        },
        keep: Keep::First,
        gaps: GapsSpec {
            reconstruct: true,
            r#type: FillType::MostFrequent,
            grace_us: 0,
            max_width: 10_000,
            max_missing: 1_000_000,
        },
        watermark: WatermarkSpec {
            disorder_us: 0,
            max_ahead_us: 86_400_000_000,
        },
        dead_share: None,
        sinks: Sinks {
            clean: sink,
            changes: None,
            dead: sink,
            gaps: None,
        },
        horizon: None,
        journal: JournalSpec::default(),
        text: FileText::default(),
    };
    let without_text = |tables_text: &str| Dataflow {
        text: FileText::default(),
        ..tables(tables_text)
    };
    assert_eq!(without_text(""), expected);
    let spelled_out = r#"
        [event]
        id = "event_id"
        id_text = false
        type = "type"
        timestamp = "timestamp"
        valid = "valid"
        timestamp_format = "iso8601"
        max_record = 1_048_576
        [dedup]
        key = ["event_id", "timestamp"]
        keep = "first"
        [gaps]
        reconstruct = true
        type = "most-frequent"
        grace = "0s"
        max_width = 10000
        max_missing = 1000000
        annotate = true
        [watermark]
        disorder = "0s"
        max_ahead = "24h"
        [sink.clean]
        kind = "jsonl"
        annotate = true
        [sink.dead]
    "#;
    assert_eq!(without_text(spelled_out), expected);
}

#[test]
fn names_come_from_the_file() {
    assert_eq!(
        read(&format!("name = \"n\"\n{SOURCE}"), &[])
            .unwrap()
            .source
            .name,
        "n"
    );
    let named = format!("name = \"n\"\n{SOURCE}name = \"s\"\n");
    let dataflow = read(&named, &[]).unwrap();
    assert_eq!(
        (dataflow.name.as_str(), dataflow.source.name.as_str()),
        ("n", "s")
    );
    check(
        "name = \"a/b\"",
        "1:8: name = \"a/b\" cannot name a folder",
        "results are written to",
    );
    check(
        "name = \"..\"",
        "1:8: name = \"..\" cannot name a folder",
        "results are written to",
    );
    check("name = \" \"", "1:8: name = \" \" is blank", "write a text");
    check(
        "name = 1",
        "1:8: name = 1 is a number, not text",
        "write it in quotes: \"1\"",
    );
}

#[test]
fn sources() {
    let inputs = |text: &str| {
        let inputs = read(text, &[]).unwrap().source.inputs;
        let text = |input: &InputSpec| match input {
            InputSpec::Stdin => "-".to_owned(),
            InputSpec::Path(path) => path.display().to_string(),
        };
        inputs.iter().map(text).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(inputs("[source]\nkind = \"stdin\""), "-");
    assert_eq!(
        inputs("[source]\nkind = \"jsonl\"\npath = [\"b\", \"/a\", \"../c*.gz\"]"),
        "data/b /a data/../c*.gz"
    );
    check(
        "",
        "1:1: there is no [source] table",
        "add the lines: [source]",
    );
    check(
        "[source]",
        "1:1: [source] has no kind",
        "add kind = \"jsonl\"",
    );
    check(
        "source.name = \"x\"",
        "1:1: [source] has no kind",
        "add kind = \"jsonl\"",
    );
    check(
        "[source]\nkind = \"jsonl\"",
        "1:1: [source] has no path",
        "add path = ",
    );
    check(
        "[sorce]",
        "1:2: unknown table [sorce]",
        "did you mean source?",
    );
    check(
        "source = 1",
        "1:10: source = 1 is a number, not a table",
        "write [source]",
    );
    check(
        "[[source]]",
        "1:1: source = [..] is a list, not a table",
        "write [source]",
    );
    check(
        "[source]\nkind = \"json\"",
        "2:8: [source] kind = \"json\" is not a choice",
        "did you mean \"jsonl\"? one of \"jsonl\", \"stdin\"",
    );
    check(
        "[source]\nkind = 1",
        "2:8: [source] kind = 1 is a number, not text",
        "one of",
    );
    check(
        "[source]\nbrokers = \"b1\"\nkind = \"kafka\"",
        "3:8: [source] kind = \"kafka\" is not in this version of amend",
        "this version reads kind = \"jsonl\"",
    );
    check(
        "[source]\nkind = \"stdin\"\npath = \"a\"",
        "3:8: [source] path = \"a\" has no meaning with kind = \"stdin\"",
        "leave path out",
    );
    check(
        "[source]\nkind = \"jsonl\"\npath = []",
        "3:8: [source] path = [] names no file",
        "add",
    );
    check(
        "[source]\nkind = \"jsonl\"\npath = [\"a\", 5]",
        "3:14: [source] path entry 2 = 5 is a number, not text",
        "write it in quotes: \"5\"",
    );
    check(
        "[source]\nkind = \"jsonl\"\npath = \"\"",
        "3:8: [source] path = \"\" is blank",
        "write",
    );
    check(
        "[source]\nkind = \"jsonl\"\npath = \"a\\u0000\"",
        "3:8: [source] path = \"a\\0\" holds a NUL character",
        "no path does",
    );
}

#[test]
fn a_glob_leaves_the_folder_of_the_file_alone() {
    let text = "[source]\nkind = \"jsonl\"\npath = \"*.jsonl\"";
    let dataflow = Dataflow::from_text(text, Path::new("[x]/f.toml"), &[]).unwrap();
    assert_eq!(
        dataflow.source.inputs,
        [InputSpec::Path("[[]x[]]/*.jsonl".into())]
    );
}

#[test]
fn unknown_keys_have_a_nearest_name_or_a_table() {
    check_tables(
        "tpe = 1",
        "4:1: unknown key \"tpe\" in [source]",
        "[source] has kind, path",
    );
    check_tables(
        "[event]\ntyep = 1",
        "5:1: unknown key \"tyep\" in [event]",
        "did you mean type? [event] has stream, id,",
    );
    check_tables(
        "[event]\nmax_width = 1",
        "5:1: unknown key \"max_width\" in [event]",
        "max_width belongs in [gaps]; [event] has",
    );
    check_tables(
        "[event]\nzz = 1\naa = 1",
        "5:1: unknown key \"zz\" in [event]",
        "[event] has stream, id,",
    );
    check(
        "\"a\\nb\" = 1",
        "1:1: unknown key \"a\\nb\"",
        "a dataflow file has name, source,",
    );
    let long = "x".repeat(1000);
    let shown = format!("1:1: unknown key \"{}…\"", "x".repeat(60));
    check(&format!("{long} = 1"), &shown, "a dataflow file has");
}

#[test]
fn what_is_forgotten() {
    let horizon = |text: &str| {
        tables(text)
            .horizon
            .map(|h| (h.horizon_us, h.stream_ttl_us, h.on_reset))
    };
    let hour = 3_600_000_000;
    assert_eq!(
        horizon("[dedup]\nhorizon = \"1h\""),
        Some((hour, 10 * hour, OnReset::DeadLetter))
    );
    assert_eq!(
        horizon(
            "[dedup]\nhorizon = \"1h\"\nstream_ttl = \"2h\"\n[gaps]\non_reset = \"new-sequence\""
        ),
        Some((hour, 2 * hour, OnReset::NewSequence))
    );
    check_tables(
        "[dedup]\nstream_ttl = \"1h\"",
        "5:14: [dedup] stream_ttl = \"1h\" has no meaning without dedup.horizon",
        "add horizon to [dedup]",
    );
    check_tables(
        "[gaps]\non_reset = \"new-sequence\"",
        "5:12: [gaps] on_reset = \"new-sequence\" has no meaning without dedup.horizon",
        "add horizon to [dedup]",
    );
    check_tables(
        "[dedup]\nhorizon = \"1s\"\n[gaps]\ngrace = \"2s\"",
        "5:11: [dedup] horizon = \"1s\" is shorter than gaps.grace",
        "a gap that is forgotten",
    );
}

#[test]
fn how_a_journal_is_kept() {
    let journal = |text: &str| {
        let spec = tables(text).journal;
        (spec.segment_bytes, spec.retain_us)
    };
    assert_eq!(journal("[journal]"), (64 << 20, None));
    assert_eq!(
        journal("[dedup]\nhorizon = \"1h\"\n[journal]\nsegment = \"64KiB\"\nretain = \"1s\""),
        (64 << 10, Some(1_000_000))
    );
    check_tables(
        "[journal]\nretain = \"1h\"",
        "5:10: [journal] retain = \"1h\" needs dedup.horizon",
        "without a horizon nothing is ever",
    );
    check_tables(
        "[journal]\nsegment = \"64 parsecs\"",
        "5:11: [journal] segment = \"64 parsecs\" is no size, or out of range",
        "a size from",
    );
}

#[test]
fn what_other_versions_have_is_named_as_such() {
    let later = "is not in this version of amend";
    check_tables(
        "[sink.requests]",
        &format!("4:7: [sink.requests] {later}"),
        "this version has the sinks clean, changes, dead and gaps",
    );
    check_tables(
        "[sink.clean]\nurl = 1\nkind = \"postgres\"",
        &format!("6:8: [sink.clean] kind = \"postgres\" {later}"),
        "this version writes kind = \"jsonl\"",
    );
}

#[test]
fn fields_are_names_or_pointers() {
    let event = |text: &str| tables(&format!("[event]\n{text}")).event;
    assert_eq!(
        event("id = \"/a~1b/~0~01/\"").id,
        pointer(&["a/b", "~~1", ""])
    );
    assert_eq!(event("id = \"a/b\"").id, name("a/b"));
    let one = event("stream = \"tenant\"");
    assert_eq!(
        (one.stream, one.stream_is_list),
        (vec![name("tenant")], false)
    );
    let list = event("stream = [\"tenant\", \"/a/b\"]");
    assert_eq!(list.stream, [name("tenant"), pointer(&["a", "b"])]);
    assert!(list.stream_is_list);
    assert!(event("stream = [\"tenant\"]").stream_is_list);

    check_tables(
        "[event]\nid = \"/a~2\"",
        "5:6: [event] id = \"/a~2\" is not a JSON pointer",
        "in a pointer ~ is written ~0",
    );
    check_tables(
        "[event]\nid = \"/a~\"",
        "5:6: [event] id = \"/a~\" is not a JSON pointer",
        "in a pointer",
    );
    check_tables(
        "[event]\nid = \"\"",
        "5:6: [event] id = \"\" names no field",
        "the name of",
    );
    check_tables(
        "[event]\nid = 5",
        "5:6: [event] id = 5 is a number, not text",
        "write it in",
    );
    check_tables(
        "[event]\nstream = []",
        "5:10: [event] stream = [] names no field",
        "leave stream out",
    );
    check_tables(
        "[event]\nstream = [\"a\", \"\"]",
        "5:16: [event] stream entry 2 = \"\" names no field",
        "the name of a member",
    );
}

#[test]
fn every_field_is_one_of_its_own() {
    check_tables(
        "[event]\nid = \"/type\"",
        "5:6: [event] id = \"/type\" makes id and type the same field",
        "stream, id, type,",
    );
    check_tables(
        "[event]\nid = \"/a\"\nvalid = \"/a/b\"",
        "6:9: [event] valid = \"/a/b\" makes id and valid the same field",
        "stream, id, type,",
    );
    check_tables(
        "[event]\nstream = [\"a\", \"a\"]",
        "5:10: [event] stream = [..] names one field twice",
        "name each field once",
    );
    check_tables(
        "[event]\nstream = \"/amend/origin\"",
        "5:10: [event] stream = \"/amend/origin\" is the member that marks reconstructed events",
        "the field needs another name",
    );
}

#[test]
fn event_options() {
    let event = tables(
        "[event]\nid_text = true\ntimestamp_format = \"unix-ms\"\nmax_record = 1_073_741_824",
    )
    .event;
    assert!(event.id_text);
    assert_eq!(event.timestamp_format, TimestampFormat::UnixMillis);
    assert_eq!(event.max_record_bytes, 1 << 30);
    assert_eq!(tables("max_record = 100").event.max_record_bytes, 100);
    check_tables(
        "[event]\ntimestamp_format = \"unix\"",
        "5:20: [event] timestamp_format = \"unix\" is not a choice",
        "did you mean \"unix-s\"? one of \"strict\", \"iso8601\", \"unix-s\", \"unix-ms\", \"unix-us\"",
    );
    check_tables(
        "[event]\nmax_record = 1073741825",
        "5:14: [event] max_record = 1073741825 is out of range",
        "a whole number from 1 to 1073741824",
    );
    check_tables(
        "[event]\nmax_record = 0",
        "5:14: [event] max_record = 0 is out of range",
        "a",
    );
    check_tables(
        "max_record = 5\n[event]\nmax_record = 5",
        "4:14: [source] max_record = 5 is also given in [event]",
        "keep one",
    );
    check_tables(
        "[event]\nid_text = \"yes\"",
        "5:11: [event] id_text = \"yes\" is text, not true or false",
        "write true or false",
    );
}

#[test]
fn dedup_keys() {
    let key = |text: &str| {
        tables(&format!("[event]\nid = \"/m/seq\"\n[dedup]\n{text}"))
            .event
            .key
    };
    assert_eq!(
        key("key = [\"timestamp\", \"/m/seq\", \"/timestamp\"]"),
        DedupKey::IdAndTime
    );
    assert_eq!(
        key("key = [\"/m/seq\"]"),
        DedupKey::Fields(vec![KeyField::Id])
    );
    assert_eq!(
        key("key = [\"uuid\", \"timestamp\", \"uuid\"]"),
        DedupKey::Fields(vec![KeyField::Field(name("uuid")), KeyField::Time])
    );
    // `event_id` is just another field here.
    assert_eq!(
        key("key = [\"event_id\", \"timestamp\"]"),
        DedupKey::Fields(vec![KeyField::Field(name("event_id")), KeyField::Time])
    );
    assert_eq!(tables("[dedup]\nkeep = \"last\"").keep, Keep::Last);
    check_tables(
        "[dedup]\nkey = []",
        "5:7: [dedup] key = [] names no field",
        "a list of fields",
    );
    check_tables(
        "[dedup]\nkey = \"uuid\"",
        "5:7: [dedup] key = \"uuid\" is not a list",
        "write key = [\"uuid\"]",
    );
    check_tables(
        "[dedup]\nkey = 5",
        "5:7: [dedup] key = 5 is a number, not a list",
        "a list of",
    );
    check_tables(
        "[dedup]\nkeep = \"frist\"",
        "5:8: [dedup] keep = \"frist\" is not a choice",
        "did you mean \"first\"? one of \"first\", \"last\"",
    );
}

#[test]
fn keys_and_paths_have_an_end() {
    let list = |count: usize| {
        let names: Vec<String> = (0..count).map(|at| format!("\"f{at}\"")).collect();
        format!("[{}]", names.join(", "))
    };
    assert_eq!(
        tables(&format!("[event]\nstream = {}", list(64)))
            .event
            .stream
            .len(),
        64
    );
    check_tables(
        &format!("[dedup]\nkey = {}", list(65)),
        "5:7: [dedup] key = [..] names too many fields",
        "name at most 64",
    );
    tables(&format!("[event]\nid = \"{}\"", "/a".repeat(128)));
    check_tables(
        &format!("[event]\nid = \"{}\"", "/a".repeat(129)),
        &format!(
            "5:6: [event] id = \"{}…\" leads deeper than any event",
            "/a".repeat(30)
        ),
        "an event has at most 128 levels",
    );
}

#[test]
fn fill_types() {
    let fill = |text: &str| tables(&format!("[gaps]\n{text}")).gaps.r#type;
    assert_eq!(fill("type = \"lower-neighbour\""), FillType::LowerNeighbour);
    assert_eq!(
        fill("type = { fixed = \"X\" }"),
        FillType::Fixed("X".to_owned())
    );
    assert_eq!(fill("type.fixed = \"X\""), FillType::Fixed("X".to_owned()));
    let choices = "one of \"most-frequent\", \"lower-neighbour\", or { fixed = \"Unknown\" }";
    check_tables(
        "[gaps]\ntype = \"most_frequent\"",
        "5:8: [gaps] type = \"most_frequent\" is not a choice",
        &format!("did you mean \"most-frequent\"? {choices}"),
    );
    check_tables(
        "[gaps]\ntype = \"lower-neighbor\"",
        "5:8: [gaps] type = \"lower-neighbor\" is not a choice",
        &format!("did you mean \"lower-neighbour\"? {choices}"),
    );
    check_tables(
        "[gaps]\ntype = \"Unknown\"",
        "5:8: [gaps] type = \"Unknown\" is not a choice",
        &format!("{choices}; always \"Unknown\": {{ fixed = \"Unknown\" }}"),
    );
    check_tables(
        "[gaps]\ntype = 5",
        "5:8: [gaps] type = 5 is a number, not text",
        choices,
    );
    check_tables(
        "[gaps]\ntype = {}",
        "5:8: [gaps.type] has no fixed",
        "\"most-frequent\"",
    );
    check_tables(
        "[gaps]\ntype = { fixd = 1 }",
        "5:10: unknown key \"fixd\" in [gaps.type]",
        "did you mean fixed?",
    );
    check_tables(
        "[gaps]\ntype = { fixed = \" \" }",
        "5:18: [gaps.type] fixed = \" \" is blank",
        "write a text",
    );
}

#[test]
fn numbers() {
    let gaps = tables("[gaps]\nmax_width = 0\nmax_missing = 0x10\nreconstruct = false").gaps;
    assert_eq!(
        (gaps.max_width, gaps.max_missing, gaps.reconstruct),
        (0, 16, false)
    );
    for wrong in [
        "-1",
        "9223372036854775808",
        "99999999999999999999999999999999999999999",
    ] {
        check_tables(
            &format!("[gaps]\nmax_width = {wrong}"),
            &format!("5:13: [gaps] max_width = {wrong} is out of range"),
            "a whole number from 0 to 9223372036854775807",
        );
    }
    check_tables(
        "[gaps]\nmax_width = 1.5",
        "5:13: [gaps] max_width = 1.5 is a number, not a whole number",
        "a whole number",
    );
    for (right, share) in [("0", 0.0), ("1", 1.0), ("0.05", 0.05)] {
        assert_eq!(
            tables(&format!("[limits]\ndead_share = {right}")).dead_share,
            Some(share)
        );
    }
    for wrong in ["-0.1", "1.01", "2", "nan", "inf", "-1"] {
        check_tables(
            &format!("[limits]\ndead_share = {wrong}"),
            &format!("5:14: [limits] dead_share = {wrong} is not a share from 0 to 1"),
            "a share from 0 to 1",
        );
    }
    check_tables(
        "[limits]\ndead_share = \"5%\"",
        "5:14: [limits] dead_share = \"5%\" is text, not a number",
        "a share from 0 to 1",
    );
}

#[test]
fn durations() {
    let grace = |text: &str| tables(&format!("[gaps]\ngrace = \"{text}\"")).gaps.grace_us;
    assert_eq!(grace("500ms"), 500_000);
    assert_eq!(grace("1h 30m"), 5_400_000_000);
    assert_eq!(grace("7us"), 7);
    let watermark = tables("[watermark]\ndisorder = \"2m\"\nmax_ahead = \"0s\"").watermark;
    assert_eq!(
        (watermark.disorder_us, watermark.max_ahead_us),
        (120_000_000, 0)
    );
    let check_grace = |value: &str, problem: &str, hint: &str| {
        check_tables(
            &format!("[gaps]\ngrace = {value}"),
            &format!("5:9: [gaps] grace = {value} {problem}"),
            hint,
        );
    };
    let such_as = "a duration in quotes, such as";
    check_grace("30", "is a number, not a duration", such_as);
    check_grace(
        "\"30\"",
        "is not a duration: time unit needed, for example 30sec or 30ms",
        such_as,
    );
    check_grace(
        "\"-30s\"",
        "is not a duration: expected number at 0",
        such_as,
    );
    check_grace("\"\"", "is not a duration: value was empty", such_as);
    check_grace("\"1ns\"", "is finer than a microsecond", such_as);
    check_grace("\"300000y\"", "is too long", "the longest is");
    check_grace(
        "\"99999999999999999999y\"",
        "is not a duration: number is too large or cannot be represented without a lack of \
         precision (values below 1ns are not supported)",
        such_as,
    );
}

#[test]
fn sinks() {
    let sinks = tables("[sink.changes]\n[sink.gaps]\nkind = \"stdout\"").sinks;
    assert_eq!(
        sinks.changes,
        Some(SinkSpec {
            kind: SinkKind::Jsonl,
            annotate: true
        })
    );
    assert_eq!(sinks.gaps.unwrap().kind, SinkKind::Stdout);
    let sinks =
        tables("[gaps]\nannotate = false\n[sink.clean]\nannotate = true\n[sink.changes]").sinks;
    assert!(sinks.clean.annotate);
    assert!(!sinks.changes.unwrap().annotate);

    check_tables(
        "[sink.dead]\nkind = \"stdout\"\n[sink.clean]\nkind = \"stdout\"",
        "5:8: [sink.dead] kind = \"stdout\" when [sink.clean] writes to it already",
        "one sink can have standard output",
    );
    check_tables(
        "[sink.clen]",
        "4:7: unknown table [sink.clen]",
        "did you mean clean?",
    );
    check_tables(
        "[sink]\nkind = 1",
        "5:1: unknown key \"kind\" in [sink]",
        "the sinks are [sink.clean],",
    );
    check_tables(
        "[sink]\nclean = \"stdout\"",
        "5:9: sink.clean = \"stdout\" is text, not a table",
        "write [sink.clean]",
    );
    check_tables(
        "[sink.dead]\nannotate = true",
        "5:1: unknown key \"annotate\" in [sink.dead]",
        "[sink.dead] has kind",
    );
}

#[test]
fn text_that_is_not_toml() {
    check(
        "[source]\nkind = jsonl",
        "2:8: not TOML: string values must be quoted, expected literal string: \"kind = jsonl\"",
        "text is written in quotes",
    );
    check(
        "{\"event_id\":1}",
        "1:1: not TOML: invalid key-value pair, expected key: \"{\\\"event_id\\\":1}\"",
        "a dataflow file is TOML",
    );
    check(
        "name = \"a\"\nname = \"b\"",
        "2:1: not TOML: duplicate key: \"name = \\\"b\\\"\"",
        "a dataflow file is TOML",
    );
    // Columns count characters, and not the mark before the first.
    check(
        "\u{feff}[sorce]",
        "1:2: unknown table [sorce]",
        "did you mean",
    );
    check(
        "\"é\" = { a = 1, \"é\" = 2 }",
        "1:1: unknown table [\"é\"]",
        "a dataflow file has",
    );
    check_tables(
        "[dedup]\nkey = [\"é\", 5]",
        "5:13: [dedup] key entry 2 = 5 is a number, not text",
        "",
    );
}

#[test]
fn overrides_replace_and_add() {
    let dataflow = read(
        SOURCE,
        &[
            "name=2026-01-01",
            "source.path=b.jsonl",
            "gaps.max_width=7",
            "gaps.max_width=8",
            "gaps.grace=30s",
            "gaps.type={ fixed = \"Q\" }",
            "event.stream=[\"a\", \"b\"]",
            "sink.changes.kind=jsonl",
        ],
    )
    .unwrap();
    assert_eq!(dataflow.name, "2026-01-01");
    assert_eq!(
        dataflow.source.inputs,
        [InputSpec::Path("data/b.jsonl".into())]
    );
    assert_eq!(dataflow.gaps.max_width, 8);
    assert_eq!(dataflow.gaps.grace_us, 30_000_000);
    assert_eq!(dataflow.gaps.r#type, FillType::Fixed("Q".to_owned()));
    assert_eq!(dataflow.event.stream, [name("a"), name("b")]);
    assert!(dataflow.sinks.changes.is_some());
    // A whole file may come from the command line.
    assert!(read("", &["source={ kind = \"stdin\" }"]).is_ok());
}

#[test]
fn overrides_are_the_place_of_their_errors() {
    check_overrides(
        SOURCE,
        &["gaps.max_width=wide"],
        "--set gaps.max_width=wide: [gaps] max_width = \"wide\" is text, not a whole number",
        "a whole number",
    );
    check_overrides(
        SOURCE,
        &["gaps.max_widht=5"],
        "--set gaps.max_widht=5: unknown key \"max_widht\" in [gaps]",
        "did you mean max_width?",
    );
    check_overrides(
        SOURCE,
        &["gaps.type={ fixed = 5 }"],
        "--set gaps.type={ fixed = 5 }: [gaps.type] fixed = 5 is a number, not text",
        "write it in quotes",
    );
    check_overrides(
        SOURCE,
        &["source.kind.x=5"],
        "--set source.kind.x=5: source.kind is text, not a table",
        "--set source.kind=.. replaces it",
    );
    check_overrides(
        SOURCE,
        &["gaps..x=5"],
        "--set gaps..x=5: \"gaps..x\" is not a path of keys",
        "write it as in",
    );
    let deep = format!("{}a=1", "a.".repeat(60_000));
    let shown = format!(
        "--set {}…: \"{}…\" is not a path of keys",
        &deep[..200],
        &deep[..60]
    );
    check_overrides(SOURCE, &[&deep], &shown, "write it as in");
    check_overrides(
        SOURCE,
        &["name=a\nb/"],
        "--set name=a\\nb/: name = \"a\\nb/\" cannot name a folder",
        "results are written",
    );
}

#[test]
fn files_that_are_no_text() {
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let path = folder.path().join("f.toml");
    let message = |path: &Path| {
        let err = Dataflow::from_file(path, &[]).unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Usage);
        err.to_string()
            .replace(&format!("{}/", folder.path().display()), "")
    };
    assert_eq!(
        message(&path),
        "could not read the dataflow file \"f.toml\": No such file or directory (os error 2)"
    );
    std::fs::write(&path, b"name = 'x'\n\xff").unwrap();
    assert_eq!(message(&path), "f.toml:2:1: not UTF-8");
    std::fs::write(&path, vec![b'#'; MAX_FILE_BYTES as usize + 1]).unwrap();
    assert_eq!(
        message(&path),
        "\"f.toml\" is too large for a dataflow file"
    );
    assert!(message(folder.path()).ends_with("is a directory"));
}
