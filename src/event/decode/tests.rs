//! Each record goes through both ways, which must agree. What only comparison with another
//! implementation can find is in `oracle`.

use super::*;
use crate::event::oracle::specs;
use crate::event::{FieldPath, TimestampFormat};

const TIME: &str = r#""timestamp":"1970-01-01T00:00:01""#;

/// `expected` is either the reason and detail, or `id type time stream` and `valid` where it
/// is known.
#[track_caller]
fn check_under(spec: &EventSpec, record: impl AsRef<[u8]>, expected: &str) {
    let mut decoder = Decoder::new(spec.clone());
    for fast in [false, true, true] {
        let found = match decoder.decode_by(record.as_ref(), fast) {
            Ok(Decoded {
                id,
                time,
                r#type,
                stream,
                valid,
                ..
            }) => {
                let valid = valid.map_or(String::new(), |valid| format!(" {valid}"));
                format!("{id} {type} {} {stream}{valid}", time.0)
            }
            Err(fault) => format!("{}: {}", fault.reason, fault.detail),
        };
        assert_eq!(found, expected, "fast: {fast}");
    }
}

#[track_caller]
fn check(record: impl AsRef<[u8]>, expected: &str) {
    check_under(&specs()[0], record, expected);
}

/// A record that is right but for these members in front, or that they make right.
#[track_caller]
fn check_members(members: &str, expected: &str) {
    check(format!("{{{members},{TIME}}}"), expected);
}

#[test]
fn well_formed() {
    let time = r#""timestamp":"1970-01-01T00:00:01""#;
    check(
        format!(r#"{{"event_id":1,"stream":"s","type":"T",{time},"valid":false}}"#),
        "1 T 1000000 s false",
    );
    check(
        format!(r#"  {{ "event_id" : -7 , "type" : " T" , {time} }}  "#),
        "-7  T 1000000 ",
    );
    check(
        format!("{{\r\n\t\"event_id\": 7, \"type\":\"T\",{time}}}\t"),
        "7 T 1000000 ",
    );
    check_members(
        r#""event_id":1,"type":"a\u0062\n","stream":"\ud83d\ude00\"""#,
        "1 ab\n 1000000 😀\"",
    );
    check_members(r#""event_id":1,"type":"é","stream":"Ā""#, "1 é 1000000 Ā");
    check_members(
        r#""event_id":1,"type":"T","x":{"event_id":2,"y":["}",[]]}"#,
        "1 T 1000000 ",
    );
    check_members(
        r#""event_id":1,"type":"T","\u0076alid":true"#,
        "1 T 1000000  true",
    );
    check_members(
        r#""event_id":1,"type":"T","x":-0.5,"y":1e5,"z":null,"":"" "#,
        "1 T 1000000 ",
    );
}

#[test]
fn not_json() {
    let detail = |record: &[u8]| Decoder::new(specs()[0].clone()).decode(record).unwrap_err();
    for record in [
        "",
        " ",
        "{",
        "}",
        "{}}",
        "{} x",
        "nul",
        "{\"a\":1,}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":-}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{'a':1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{,}",
        "{1:2}",
        "{\"a\":tru}",
        "{\"a\":truee}",
        "{\"a\":\"b}",
        "{\"a\":\"b\\\"}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"tab\tinside\"}",
        "{\"a\":\"line\ninside\"}",
        "{\"a\":\"nul\0inside\"}",
        "{\"a\":1}\0",
        "\0{}",
        "\u{feff}{}",
        "{\u{a0}}",
        "[1,2",
        "{\"a\":1e999}",
        "{\"x\":{\"a\":-1e999}}",
        "{\"a\":\"\\ud83d\"}",
        "{\"x\":[{\"a\":\"\\ude00\"}]}",
        "{\"\\ud83d\":1}",
        "{\"a\":\"\\ud83d\\u0041\"}",
        "{\"a\":\x0b1}",
    ] {
        assert_eq!(
            detail(record.as_bytes()).reason,
            Reason::NotJson,
            "{record:?}"
        );
    }
    check(b"{\"a\":\"\xff\"}", "not-json: not UTF-8 from byte 6 on");
    check(
        b"{\"x\":{\"a\":\"\xed\xa0\xbd\"}}",
        "not-json: not UTF-8 from byte 11 on",
    );
    check(b"{\"a\":1}\xc3", "not-json: not UTF-8 from byte 7 on");
    check(
        "{\"a\":1e999}",
        "not-json: number out of range at line 1 column 10",
    );
}

#[test]
fn not_an_object() {
    check("[1, 2]", "not-object: [1, 2] is not an object");
    check(" \"{}\" ", "not-object: \"{}\" is not an object");
    check("-0", "not-object: -0 is not an object");
    check("null", "not-object: null is not an object");
    let long = format!("[\"a{}", "é".repeat(28));
    check(
        format!("{long}é\"]"),
        &format!("not-object: {long}… is not an object"),
    );
}

#[test]
fn nesting() {
    let nested = |open: &str, close: &str, levels: usize| {
        format!("{}1{}", open.repeat(levels), close.repeat(levels))
    };
    let too_deep = "more than 128 arrays and objects in each other at line 1 column";
    check(
        nested("[", "]", 128),
        &format!("not-object: {}… is not an object", "[".repeat(60)),
    );
    check(nested("[", "]", 129), &format!("not-json: {too_deep} 129"));
    check(
        nested("{\"a\":", "}", 128),
        "missing-id: \"event_id\" is absent",
    );
    check(
        nested("{\"a\":", "}", 129),
        &format!("not-json: {too_deep} 641"),
    );
    check(
        nested("{\"a\":", "}", 127),
        "missing-id: \"event_id\" is absent",
    );
    check(
        nested("[", "]", 100_000),
        &format!("not-json: {too_deep} 129"),
    );
    check(
        nested("{\"a\":[", "]}", 100_000),
        &format!("not-json: {too_deep} 385"),
    );
    check("[".repeat(100_000), &format!("not-json: {too_deep} 129"));
}

#[test]
fn inferred() {
    let is_inferred = "inferred: \"/amend/origin\" is \"reconstructed\": no evidence";
    check(r#"{"amend":{"origin":"reconstructed"}}"#, is_inferred);
    check(
        r#"{"event_id":"x","amend":{"a":[],"or\u0069gin":"\u0072econstructed"}}"#,
        is_inferred,
    );
    let missing = "missing-id: \"event_id\" is absent";
    check(r#"{"amend":{"origin":"observed"}}"#, missing);
    check(
        r#"{"amend":{"origin":"reconstructed","origin":1}}"#,
        missing,
    );
    check(
        r#"{"amend":{"origin":"reconstructed"},"amend":null}"#,
        missing,
    );
    check(r#"{"amend":[{"origin":"reconstructed"}]}"#, missing);
    check(r#"{"x":{"amend":{"origin":"reconstructed"}}}"#, missing);
    check(r#"{"amend":"reconstructed"}"#, missing);
}

#[test]
fn ids() {
    let id = |id: &str, expected: &str| {
        check_members(&format!(r#""type":"T","event_id":{id}"#), expected)
    };
    id("0", "0 T 1000000 ");
    id("-0", "0 T 1000000 ");
    id("9223372036854775807", "9223372036854775807 T 1000000 ");
    id("-9223372036854775808", "-9223372036854775808 T 1000000 ");
    id("null", "missing-id: \"event_id\" is null");
    id("1,\"event_id\":null", "missing-id: \"event_id\" is null");
    id("\"x\",\"event_id\":3", "3 T 1000000 ");
    for bad in ["1.0", "1e3", "-0.0", "0e0", "\"7\"", "true", "[1]", "{}"] {
        id(
            bad,
            &format!("bad-id: \"event_id\" is {bad}, not an integer"),
        );
    }
    for beyond in [
        "9223372036854775808",
        "-9223372036854775809",
        "123456789012345678901234567890",
    ] {
        id(
            beyond,
            &format!("bad-id: \"event_id\" is {beyond}, not an integer of 64 bits"),
        );
    }
    let huge = "9".repeat(300);
    let detail = format!(
        "bad-id: \"event_id\" is {}…, not an integer of 64 bits",
        &huge[..60]
    );
    id(&huge, &detail);
}

#[test]
fn ids_in_text() {
    let spec = EventSpec {
        id_text: true,
        ..specs()[0].clone()
    };
    let id = |id: &str, expected: &str| {
        check_under(
            &spec,
            format!(r#"{{"type":"T","event_id":{id},{TIME}}}"#),
            expected,
        );
    };
    id("5", "5 T 1000000 ");
    id("\"5\"", "5 T 1000000 ");
    id("\"-0\"", "0 T 1000000 ");
    id("\"007\"", "7 T 1000000 ");
    id("\"\\u0035\"", "5 T 1000000 ");
    id(
        "\"-9223372036854775808\"",
        "-9223372036854775808 T 1000000 ",
    );
    for bad in [
        "\"+5\"",
        "\"\"",
        "\"-\"",
        "\" 5\"",
        "\"5.0\"",
        "\"٣\"",
        "\"9223372036854775808\"",
    ] {
        let wanted = "not an integer or its decimal text";
        id(bad, &format!("bad-id: \"event_id\" is {bad}, {wanted}"));
    }
}

#[test]
fn types() {
    let of =
        |r#type: &str, expected: &str| check_members(&format!(r#""event_id":1{type}"#), expected);
    of("", "missing-type: \"type\" is absent");
    of(",\"type\":null", "missing-type: \"type\" is null");
    of(
        ",\"type\":\"\"",
        "missing-type: \"type\" is \"\", which is blank",
    );
    of(
        ",\"type\":\" \u{3000}\"",
        "missing-type: \"type\" is \" \u{3000}\", which is blank",
    );
    of(
        ",\"type\":\"\\t\\u00a0\"",
        "missing-type: \"type\" is \"\\t\\u00a0\", which is blank",
    );
    of(",\"type\":\"\u{200b}\"", "1 \u{200b} 1000000 ");
    for bad in ["1", "true", "[\"T\"]", "{\"T\":1}"] {
        of(
            &format!(",\"type\":{bad}"),
            &format!("bad-type: \"type\" is {bad}, not a string"),
        );
    }
}

#[test]
fn timestamps() {
    let of = |time: &str, expected: &str| {
        check(format!(r#"{{"event_id":1,"type":"T"{time}}}"#), expected);
    };
    of("", "bad-timestamp: \"timestamp\" is absent");
    of(
        ",\"timestamp\":null",
        "bad-timestamp: \"timestamp\" is null, not an instant in iso8601",
    );
    of(
        ",\"timestamp\":5",
        "bad-timestamp: \"timestamp\" is 5, not an instant in iso8601",
    );
    of(
        ",\"timestamp\":\"1970-01-01\\u005400:00:00.1\"",
        "1 T 100000 ",
    );
    let spec = EventSpec {
        timestamp_format: TimestampFormat::UnixMillis,
        ..specs()[0].clone()
    };
    let of = |time: &str, expected: &str| {
        check_under(
            &spec,
            format!(r#"{{"event_id":1,"type":"T","timestamp":{time}}}"#),
            expected,
        );
    };
    of("-0", "1 T 0 ");
    of("-5", "1 T -5000 ");
    for bad in ["\"5\"", "5.0", "9223372036854775807", "1e3"] {
        let wanted = "not an instant in unix-ms";
        of(
            bad,
            &format!("bad-timestamp: \"timestamp\" is {bad}, {wanted}"),
        );
    }
}

#[test]
fn valid() {
    let of = |valid: &str, expected: &str| {
        check_members(
            &format!(r#""event_id":1,"type":"T","valid":{valid}"#),
            expected,
        );
    };
    of("true", "1 T 1000000  true");
    of("true,\"valid\":false", "1 T 1000000  false");
    for bad in ["null", "\"true\"", "1", "[]", "{}"] {
        of(
            bad,
            &format!("bad-valid: \"valid\" is {bad}, not a boolean"),
        );
    }
}

#[test]
fn streams() {
    let of = |stream: &str, expected: &str| {
        check_members(
            &format!(r#""event_id":1,"type":"T","stream":{stream}"#),
            expected,
        );
    };
    of("null", "1 T 1000000 ");
    of("\"\"", "1 T 1000000 ");
    of("-12", "1 T 1000000 -12");
    of("-0", "1 T 1000000 0");
    of("18446744073709551615", "1 T 1000000 18446744073709551615");
    for bad in [
        "18446744073709551616",
        "-9223372036854775809",
        "1.5",
        "1e2",
        "true",
        "[]",
        "{}",
    ] {
        let wanted = "not a string or an integer";
        of(bad, &format!("bad-stream: \"stream\" is {bad}, {wanted}"));
    }
}

#[test]
fn streams_of_several_fields() {
    let path = |name: &str| FieldPath::Name(name.to_owned());
    let spec = EventSpec {
        stream: vec![
            path("a"),
            FieldPath::Pointer(vec!["b/c".into(), "0".into()]),
        ],
        stream_is_list: true,
        ..specs()[0].clone()
    };
    let of = |members: &str, expected: &str| {
        let record = format!(r#"{{"event_id":1,"type":"T",{TIME}{members}}}"#);
        check_under(&spec, record, expected);
    };
    of("", r#"1 T 1000000 ["",""]"#);
    of(r#","a":"x\ty","b/c":[-0,2]"#, r#"1 T 1000000 ["x\ty","0"]"#);
    of(
        r#","a":null,"b/c":{"0":"q\"","1":3}"#,
        r#"1 T 1000000 ["","q\""]"#,
    );
    of(r#","a":7,"b/c":"0""#, r#"1 T 1000000 ["7",""]"#);
    of(
        r#","b/c":[true]"#,
        "bad-stream: \"/b~1c/0\" is true, not a string or an integer",
    );
    check_under(
        &EventSpec {
            stream: Vec::new(),
            ..spec.clone()
        },
        format!(r#"{{"event_id":1,"type":"T",{TIME},"a":true}}"#),
        "1 T 1000000 ",
    );
}

#[test]
fn the_first_fault_counts() {
    let faults = [
        (r#""amend":{"origin":"reconstructed"}"#, "inferred"),
        (r#""event_id":null"#, "missing-id"),
        (r#""event_id":1.5"#, "bad-id"),
        (r#""type":5"#, "bad-type"),
        (r#""type":" ""#, "missing-type"),
        (r#""timestamp":"x""#, "bad-timestamp"),
        (r#""valid":null"#, "bad-valid"),
        (r#""stream":[]"#, "bad-stream"),
    ];
    let right = format!(r#""event_id":1,"type":"T",{TIME},"valid":true,"stream":"s""#);
    for (nth, (first, reason)) in faults.iter().enumerate() {
        for (second, _) in &faults[nth..] {
            // Of one member that occurs twice the last would count.
            if first.split(':').next() == second.split(':').next() && first != second {
                continue;
            }
            let record = format!("{{{right},{second},{first}}}");
            let fault = Decoder::new(specs()[0].clone())
                .decode(record.as_bytes())
                .unwrap_err();
            assert_eq!(fault.reason.as_str(), *reason, "{record}");
        }
    }
}

#[test]
fn line_breaks() {
    let mut decoder = Decoder::new(specs()[0].clone());
    let mut has_line_break =
        |record: &str| decoder.decode(record.as_bytes()).unwrap().has_line_break;
    let event = format!(r#"{{"event_id":1,"type":"T\n",{TIME}}}"#);
    assert!(!has_line_break(&event));
    assert!(!has_line_break(&event.replace(',', ",\t ")));
    assert!(has_line_break(&event.replace(',', ",\n")));
    assert!(has_line_break(&(event + "\r")));
}

#[test]
fn a_record_says_nothing_about_the_next() {
    let mut decoder = Decoder::new(specs()[0].clone());
    let full = format!(r#"{{"event_id":1,"type":"T","stream":"s","valid":false,{TIME}}}"#);
    let bare = format!(r#"{{"event_id":2,"type":"U",{TIME}}}"#);
    for _ in 0..2 {
        assert_eq!(decoder.decode(full.as_bytes()).unwrap().valid, Some(false));
        let event = decoder.decode(bare.as_bytes()).unwrap();
        assert_eq!(
            (event.id, event.r#type, event.stream, event.valid),
            (2, "U", "", None)
        );
        assert_eq!(decoder.decode(b"{}").unwrap_err().reason, Reason::MissingId);
    }
}
