//! The model itself, on cases that were worked out by hand.

use super::*;

/// The ten events of the worked example.
const TEN: &str = include_str!("../../../dataflows/linq.jsonl");

fn strict() -> Config {
    Config {
        format: Format::Strict,
        ..Config::default()
    }
}

fn model(config: &Config, lines: &str) -> Model {
    Model::new(config, &[lines.as_bytes().to_vec()])
}

/// An event of the default fields; `rest` is further members.
fn event(id: i64, time: &str, rest: &str) -> String {
    format!(r#"{{"event_id":{id},"type":"A","timestamp":"2025-01-01T{time}"{rest}}}"#) + "\n"
}

/// The letters as `reason@line`, or with the ids of the gap.
fn letters(answer: &Answer) -> String {
    let one = |letter: &Letter| match &letter.about {
        About::Record { line, .. } => format!("{}@{line}", letter.reason),
        About::Gap(gap) => format!("{}@{}..{}", letter.reason, gap.from, gap.to),
        About::Stream(_) => letter.reason.clone(),
    };
    answer.letters.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// The reconstructed events as `id type time`.
fn guesses(answer: &Answer) -> String {
    let one = |((_, id), text): &((Stream, i64), String)| {
        let json = Json::read(text.as_bytes()).unwrap();
        let member = |name| json.get(name).unwrap().canonical().replace('"', "");
        format!(
            "{id} {} {}",
            member("type"),
            member("timestamp").replace("2025-01-01T", "")
        )
    };
    answer
        .reconstructed
        .iter()
        .map(one)
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn model_gives_the_worked_example() {
    let answer = model(&strict(), TEN).last_answer();
    let lines: Vec<&str> = TEN.lines().collect();
    let with_valid = lines[9].replace('}', r#","valid":true}"#);
    let kept = [
        lines[0],
        lines[1],
        lines[3],
        lines[4],
        lines[5],
        &with_valid,
    ];
    assert_eq!(answer.kept, kept);
    let guess = concat!(
        r#"{"event_id":1003,"type":"CRM_Sync","timestamp":"2025-02-09T12:01:30","valid":true,"#,
        r#""amend":{"origin":"reconstructed"}}"#
    );
    assert_eq!(answer.clean().lines().last(), Some(guess));
    assert_eq!(
        letters(&answer),
        "duplicate@3 duplicate@8 invalid@7 missing-id@9"
    );
}

#[test]
fn model_amends_a_guess_when_the_event_comes() {
    let lines = [
        event(1, "00:00:00", ""),
        event(4, "00:03:00", ""),
        event(3, "00:01:00", ""),
    ]
    .concat();
    let model = model(&Config::default(), &lines);
    let answers = model.answers(1);
    assert_eq!(guesses(&answers[0]), "");
    assert_eq!(guesses(&answers[1]), "2 A 00:01:30Z, 3 A 00:01:30Z");
    assert_eq!(guesses(&answers[2]), "2 A 00:00:30Z");
    assert_eq!(model.filled_ids(1, &answers), 1);
    assert_eq!(model.filled_ids(3, &model.answers(3)), 0);
    assert_eq!(model.answers(2)[1], answers[2]);
}

#[test]
fn model_seats_the_valid_copy() {
    let copy = |rest: &str| event(1, "00:00:00", rest);
    let bad = copy(r#","valid":false"#);
    let lines = [
        bad.clone(),
        copy(r#","n":1"#),
        bad,
        copy(r#","n":2"#),
        copy(r#","n":1"#),
    ];
    let lines = lines.concat();
    let first = model(&Config::default(), &lines).answers(1);
    assert_eq!(letters(&first[0]), "invalid@1");
    assert_eq!(letters(&first[1]), "conflict@1");
    assert_eq!(
        letters(&first[4]),
        "conflict@1 conflict@3 conflict@4 duplicate@5"
    );
    let last = model(
        &Config {
            keep: Keep::Last,
            ..Config::default()
        },
        &lines,
    )
    .answers(1);
    assert_eq!(letters(&last[2]), "conflict@1 conflict@3");
    assert_eq!(letters(&last[3]), "conflict@1 conflict@2 conflict@3");
    assert_eq!(
        letters(&last[4]),
        "conflict@1 conflict@3 conflict@4 duplicate@2"
    );
    let bad = copy(r#","valid":false"#).repeat(2);
    let last = model(
        &Config {
            keep: Keep::Last,
            ..Config::default()
        },
        &bad,
    )
    .last_answer();
    assert_eq!(letters(&last), "duplicate@1 invalid@2");
}

#[test]
fn model_keys_by_fields_as_json_values() {
    let config = Config {
        key: Some(vec!["u".into()]),
        ..Config::default()
    };
    let same = |a: &str, b: &str| {
        let (a, b) = (event(1, "00:00:00", a), event(1, "00:00:00", b));
        let key = |line: &str| decode(&config, line.as_bytes()).unwrap().key;
        key(&a) == key(&b)
    };
    assert!(same(r#","u":{"a":1,"b":2}"#, r#","u":{"b":2,"a":1}"#));
    assert!(same(r#","u":"\u0041""#, r#","u":"A""#));
    assert!(same("", r#","u":null"#));
    assert!(!same(r#","u":1"#, r#","u":1.0"#));
    assert!(!same(r#","u":1"#, r#","u":"1""#));
    assert!(!same(r#","u":[1,2]"#, r#","u":[2,1]"#));
    assert!(!same("", r#","u":1"#));
    assert!(same(r#","u":1,"u":2"#, r#","u":2"#));
}

#[test]
fn model_names_the_first_fault() {
    let check = |text: &str, reason: &str| {
        let good = r#""event_id":1,"type":"A","timestamp":"2025-01-01T00:00:00","s":"x""#;
        let config = Config {
            stream: StreamField::One("s".into()),
            ..Config::default()
        };
        let text = text.replace("GOOD", good);
        let found = decode(&config, text.as_bytes()).err();
        assert_eq!(
            found,
            Some(reason).filter(|reason| !reason.is_empty()),
            "{text}"
        );
    };
    check("{GOOD}", "");
    check("{GOOD", "not-json");
    check("[1]", "not-object");
    check("{}", "missing-id");
    check(r#"{"amend":{"origin":"reconstructed","by":1}}"#, "inferred");
    check(r#"{GOOD,"amend":{"origin":"observed"}}"#, "");
    check(r#"{GOOD,"event_id":null}"#, "missing-id");
    check(r#"{GOOD,"event_id":"1"}"#, "bad-id");
    check(r#"{GOOD,"event_id":1.0}"#, "bad-id");
    check(r#"{GOOD,"event_id":9223372036854775808}"#, "bad-id");
    check(r#"{GOOD,"event_id":9223372036854775807}"#, "");
    check(r#"{GOOD,"event_id":true,"type":1}"#, "bad-id");
    check(r#"{GOOD,"type":1}"#, "bad-type");
    check(r#"{GOOD,"type":null}"#, "missing-type");
    check(r#"{GOOD,"type":" \t","timestamp":0}"#, "missing-type");
    check(r#"{GOOD,"timestamp":0}"#, "bad-timestamp");
    check(r#"{GOOD,"valid":null}"#, "bad-valid");
    check(r#"{GOOD,"valid":1,"s":[]}"#, "bad-valid");
    check(r#"{GOOD,"s":[]}"#, "bad-stream");
    check(r#"{GOOD,"s":1.5}"#, "bad-stream");
    check(r#"{GOOD,"s":null}"#, "");
    check(r#"{GOOD,"s":-0}"#, "");
    check(
        &format!("{{GOOD,\"x\":\"{}\"}}", "y".repeat(MAX_RECORD)),
        "oversize",
    );
}

#[test]
fn model_reads_timestamps() {
    let check = |format: Format, value: &str, us: Option<i64>| {
        assert_eq!(
            instant(format, &Json::read(value.as_bytes()).unwrap()),
            us,
            "{value}"
        );
    };
    let strictly = |text: &str, us| check(Format::Strict, &quoted(text), us);
    strictly("1970-01-01T00:00:01", Some(1_000_000));
    strictly("1969-12-31T23:59:59", Some(-1_000_000));
    for text in [
        "1970-01-01T00:00:01Z",
        "1970-01-01 00:00:01",
        "1970-01-01T00:00:01.5",
    ] {
        strictly(text, None);
    }
    for text in [
        "2025-02-29T00:00:00",
        "2025-01-01T24:00:00",
        "2025-01-01T00:00:60",
        "",
    ] {
        strictly(text, None);
        check(Format::Iso8601, &quoted(text), None);
    }
    let iso = |text: &str, us| check(Format::Iso8601, &quoted(text), us);
    iso("1970-01-01t00:00:01.0000019z", Some(1_000_001));
    iso("1970-01-01 01:00:00+01:00", Some(0));
    iso("1970-01-01T00:00:00-00:30", Some(1_800_000_000));
    iso("1969-12-31T23:59:59.25", Some(-750_000));
    for text in [
        "1970-01-01T00:00:01.",
        "1970-01-01T00:00:01+0100",
        "1970-01-01T00:00",
    ] {
        iso(text, None);
    }
    iso("1970-01-01T00:00:01+01:60", None);
    iso("1970-01-01T00:00:01 Z", None);
    check(Format::UnixSeconds, "-2", Some(-2_000_000));
    check(Format::UnixMillis, "-0", Some(0));
    check(Format::UnixMicros, "1.0", None);
    check(Format::UnixMillis, "\"1\"", None);
}

#[test]
fn model_writes_timestamps_rounded_down() {
    let iso = |us| written(Format::Iso8601, us);
    assert_eq!(iso(0), r#""1970-01-01T00:00:00Z""#);
    assert_eq!(iso(-500_000), r#""1969-12-31T23:59:59.500Z""#);
    assert_eq!(iso(-1), r#""1969-12-31T23:59:59.999999Z""#);
    assert_eq!(written(Format::Strict, -1), r#""1969-12-31T23:59:59""#);
    assert_eq!(written(Format::UnixMillis, -1), "-1");
    assert_eq!(written(Format::UnixSeconds, 1_999_999), "1");
}

#[test]
fn model_limits_gaps() {
    let at = |id: i64| event(id, "00:00:00", "");
    let wide = Config {
        max_width: 3,
        ..Config::default()
    };
    let model = model(&wide, &[at(0), at(4), at(9), at(7)].concat());
    let answers = model.answers(1);
    assert_eq!(answers[1].reconstructed.len(), 3);
    assert_eq!(letters(&answers[2]), "gap-too-wide@5..8");
    assert_eq!(letters(&answers[3]), "");
    assert_eq!(answers[3].reconstructed.len(), 6);
    assert_eq!((answers[3].gaps.len(), answers[3].missing_ids()), (3, 6));

    let sparse = Config {
        max_missing: 4,
        ..Config::default()
    };
    let model = Model::new(
        &sparse,
        &[[at(0), at(3), at(6), at(5), at(8)].concat().into()],
    );
    let answers = model.answers(1);
    assert_eq!(answers[2].reconstructed.len(), 4);
    assert_eq!(answers[3].reconstructed.len(), 3);
    assert_eq!(letters(&answers[4]), "");
    let sparse = Config {
        max_missing: 3,
        ..Config::default()
    };
    let answers = Model::new(&sparse, &[[at(0), at(3), at(6), at(5)].concat().into()]);
    let answers = answers.answers(1);
    assert_eq!(letters(&answers[2]), "sequence-too-sparse");
    assert_eq!(
        (answers[2].reconstructed.len(), answers[2].gaps.len()),
        (0, 2)
    );
    assert_eq!(letters(&answers[3]), "");

    let ends = [at(i64::MIN), at(i64::MAX)].concat();
    let answer = Model::new(&Config::default(), &[ends.into()]).last_answer();
    assert_eq!(answer.missing_ids(), u128::from(u64::MAX) - 1);
}

#[test]
fn model_waits_for_the_watermark() {
    let config = Config {
        grace_ms: 60_000,
        ..Config::default()
    };
    let lines = [
        event(1, "00:00:00", ""),
        event(3, "00:01:00", ""),
        event(5, "00:01:30", ""),
        event(6, "00:02:00", ""),
        event(7, "00:02:00", ""),
        event(8, "00:09:00", ""),
    ];
    let model = model(&config, &lines.concat());
    let minute = |seconds: i128| Some(1_735_689_600_000_000 + seconds * 1_000_000);
    let marks = [
        None,
        minute(0),
        minute(60),
        minute(90),
        minute(120),
        minute(120),
    ];
    assert_eq!(model.watermarks(1), marks);
    let due: Vec<usize> = model
        .answers(1)
        .iter()
        .map(|answer| answer.gaps.len())
        .collect();
    assert_eq!(due, [0, 0, 0, 0, 1, 2]);
    assert_eq!(model.watermarks(2), [None, minute(60), minute(120)]);
}

#[test]
fn model_watermark_ignores_a_bad_clock() {
    let day = 1000;
    assert_eq!(highest(&[], day), None);
    assert_eq!(highest(&[5, 9_000, 7], day), Some(7));
    assert_eq!(highest(&[9_000, 5], day), Some(5));
    assert_eq!(highest(&[9_000], day), Some(9_000));
    let mut times: Vec<i64> = (0..100).collect();
    times.push(5_000);
    assert_eq!(highest(&times, day), Some(99));
    times.extend([5_000; 98]);
    assert_eq!(highest(&times, day), Some(99));
    assert_eq!(
        highest(&[times.clone(), vec![99_000]].concat(), day),
        Some(5_000)
    );
    assert_eq!(
        highest(&[times, vec![1], vec![5_000; 99]].concat(), day),
        Some(99)
    );
}

#[test]
fn model_watermark_goes_from_file_to_file() {
    let first = [event(1, "00:10:00", ""), event(2, "00:20:00", "")].concat();
    let second = [event(3, "00:05:00", ""), event(4, "00:30:00", "")].concat();
    let files = [first.into_bytes(), second.into_bytes()];
    let model = Model::new(
        &Config {
            grace_ms: 1,
            ..Config::default()
        },
        &files,
    );
    let at = |minutes: i128| Some(1_735_689_600_000_000 + minutes * 60_000_000);
    assert_eq!(model.watermarks(1), [None, at(10), at(10), at(10)]);
    assert_eq!(model.watermarks(3), [None, at(5)]);
}

#[test]
fn model_cuts_files_into_records() {
    let found = records(3, b"\xef\xbb\xbf{}\r\n \t\r\n\n[]\nx");
    let places: Vec<_> = found
        .iter()
        .map(|r| (r.offset, r.line, String::from_utf8_lossy(&r.bytes)))
        .collect();
    let expected = [(3, 1, "{}"), (12, 4, "[]"), (15, 5, "x")];
    assert_eq!(
        places,
        expected.map(|(offset, line, text)| (offset, line, text.into()))
    );
}

#[test]
fn model_compacts_what_has_line_breaks() {
    let lines =
        "{ \"event_id\":1,\r\"type\":\"A \\\" {\",\"timestamp\":\"2025-01-01T00:00:00\" }\n";
    let expected =
        r#"{"event_id":1,"type":"A \" {","timestamp":"2025-01-01T00:00:00","valid":true}"#;
    assert_eq!(
        model(&Config::default(), lines).last_answer().kept,
        [expected]
    );
}

#[test]
fn model_nests_what_pointers_nest() {
    let config = Config {
        id: "/meta/id".into(),
        timestamp: "/meta/at".into(),
        stream: StreamField::List(vec!["a".into(), "/meta/b".into()]),
        annotate: false,
        ..Config::default()
    };
    let line = |id: i64, stream: &str| {
        format!(r#"{{"meta":{{"id":{id},"at":"2025-01-01T00:00:00",{stream}}},"type":"A","a":7}}"#)
            + "\n"
    };
    let lines = [line(1, r#""b":"x""#), line(3, r#""b":"x""#)].concat();
    let answer = model(&config, &lines).last_answer();
    let expected = concat!(
        r#"{"meta":{"id":2,"b":"x","at":"2025-01-01T00:00:00Z"},"a":"7","#,
        r#""type":"A","valid":true}"#
    );
    assert_eq!(answer.reconstructed[0].1, expected);
    assert_eq!(answer.gaps.first().unwrap().stream, r#"["7","x"]"#);
}
