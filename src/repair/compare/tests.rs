//! Small output folders compared: each kind of difference, and what is none.

use super::*;

/// An output folder with these files.
fn folder(clean: &str, dead: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("clean.jsonl"), clean).unwrap();
    std::fs::write(folder.path().join("dead.jsonl"), dead).unwrap();
    folder
}

fn spec() -> EventSpec {
    EventSpec {
        stream: vec![FieldPath::Name("stream".to_owned())],
        ..EventSpec::default()
    }
}

fn compared(old: (&str, &str), new: (&str, &str)) -> Comparison {
    let (old, new) = (folder(old.0, old.1), folder(new.0, new.1));
    compare(old.path(), new.path(), &spec()).unwrap()
}

/// Compares the lines of the page below its table, blank ones and indentation left out.
#[track_caller]
fn check(old: (&str, &str), new: (&str, &str), expected: &str) {
    let page = compared(old, new).to_string();
    let (_, differences) = page.split_once("\n\n").unwrap();
    assert!(lines_of(differences).eq(lines_of(expected)), "{page}");
}

fn lines_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn event(id: i64, note: &str) -> String {
    format!(
        r#"{{"event_id":{id},"stream":"s","type":"T","timestamp":"2025-02-09T12:00:00Z","note":"{note}","valid":true}}"#
    )
}

fn inferred(stream: &str, id: i64, kind: &str) -> String {
    format!(
        r#"{{"event_id":{id},"stream":"{stream}","type":"{kind}","valid":true,"amend":{{"origin":"reconstructed"}}}}"#
    )
}

/// A letter about the record on a line of one input; its epoch and detail follow from it alone.
fn letter(reason: &str, line: u64, epoch: u64, event: &str) -> String {
    format!(
        r#"{{"reason":"{reason}","detail":"a copy, in epoch {epoch}","epoch":{epoch},"source":{{"name":"in","partition":"in.jsonl","offset":{},"line":{line}}},"event":{event}}}"#,
        line * 100
    )
}

fn withdrawal(reason: &str, line: u64, epoch: u64) -> String {
    format!(
        r#"{{"op":"retract","reason":"{reason}","epoch":{epoch},"source":{{"name":"in","partition":"in.jsonl","offset":{},"line":{line}}}}}"#,
        line * 100
    )
}

fn lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

const NOTHING: &str = "nothing would be published differently";

#[test]
fn equal_folders() {
    check(("", ""), ("", ""), NOTHING);
    let (a, b, guess) = (event(1, "a"), event(2, "b"), inferred("s", 3, "T"));
    let clean = lines(&[a.clone(), b.clone(), guess.clone()]);
    let reordered = lines(&[guess, b.clone(), a.clone()]);
    check((&clean, ""), (&reordered, ""), NOTHING);
    // Epochs were cut in another way: other details, and letters that came and went.
    let dead = lines(&[letter("duplicate", 2, 0, &a), letter("conflict", 4, 0, &b)]);
    let detour = lines(&[
        letter("conflict", 4, 1, &b),
        letter("invalid", 2, 1, &a),
        withdrawal("invalid", 2, 2),
        withdrawal("conflict", 4, 2),
        letter("conflict", 4, 3, &b),
        letter("duplicate", 2, 3, &a),
    ]);
    check((&clean, &dead), (&clean, &detour), NOTHING);
    check((&clean, &detour), (&clean, &dead), NOTHING);
}

#[test]
fn a_last_line_without_its_newline_is_a_line() {
    let (a, b) = (event(1, "a"), event(2, "b"));
    let clean = lines(&[a, b]);
    check((&clean, ""), (clean.trim_end(), ""), NOTHING);
}

#[test]
fn counts_say_what_each_folder_holds() {
    let (a, b) = (event(1, "a"), event(2, "b"));
    // The mark within a member of the event's is none of ours.
    let quoting = r#"{"event_id":9,"payload":{"amend":{"origin":"reconstructed"}}}"#.to_owned();
    let old = lines(&[a.clone(), quoting.clone(), inferred("s", 3, "T")]);
    let old_dead = lines(&[
        letter("duplicate", 2, 0, &a),
        letter("duplicate", 3, 0, &a),
        letter("conflict", 4, 0, &b),
        withdrawal("duplicate", 3, 1),
        r#"{"reason":"gap-too-wide","stream":"s","from":4,"to":90000,"epoch":1}"#.to_owned(),
    ]);
    let new = lines(&[a.clone(), quoting, b.clone()]);
    let comparison = compared((&old, &old_dead), (&new, &letter("duplicate", 2, 7, &a)));
    let counts = |observed, reconstructed, dead: &[(Reason, u64)]| Counts {
        observed,
        reconstructed,
        dead: dead.iter().copied().collect(),
    };
    let old_dead = [
        (Reason::Duplicate, 1),
        (Reason::Conflict, 1),
        (Reason::GapTooWide, 1),
    ];
    assert_eq!(comparison.old, counts(2, 1, &old_dead));
    assert_eq!(comparison.new, counts(3, 0, &[(Reason::Duplicate, 1)]));
    let changes: Vec<Change> = comparison.differences.keys().copied().collect();
    let expected = [
        Change::NewlyPublished(Some(Reason::Conflict)),
        Change::NoLongerInferred,
        Change::NoLongerSetAside(Reason::GapTooWide),
    ];
    assert_eq!(changes, expected);
    assert!(!comparison.is_equal());
}

#[test]
fn copies_change_places() {
    // The same id and time: with `keep = "first"` line 1 is published, with "last" line 2.
    let (first, last) = (event(1, "first"), event(1, "last"));
    check(
        (
            &lines(std::slice::from_ref(&first)),
            &letter("conflict", 2, 0, &last),
        ),
        (
            &lines(std::slice::from_ref(&last)),
            &letter("conflict", 1, 0, &first),
        ),
        &format!(
            "
            no longer published, now conflict: 1
            old  {first}
            new  conflict at in.jsonl:1
            newly published, was conflict: 1
            old  conflict at in.jsonl:2
            new  {last}
            "
        ),
    );
}

#[test]
fn equal_copies_change_places() {
    let (a, b) = (event(1, "a"), event(2, "b"));
    let clean = lines(&[a.clone(), b.clone()]);
    let old = lines(&[
        letter("duplicate", 2, 0, &a),
        letter("duplicate", 3, 0, &a),
        letter("duplicate", 5, 0, &b),
    ]);
    let new = lines(&[letter("duplicate", 1, 0, &a), letter("duplicate", 3, 0, &a)]);
    check(
        (&clean, &old),
        (&clean, &new),
        &format!(
            "
            another copy set aside as duplicate: 1
            old  duplicate at in.jsonl:2 {a}
            new  duplicate at in.jsonl:1
            no longer set aside, was duplicate: 1
            old  duplicate at in.jsonl:5 {b}
            "
        ),
    );
}

#[test]
fn a_letter_has_the_bytes_of_the_record_and_not_of_the_line() {
    // Published with `valid` added; and a letter's JSON is read without the spaces around it.
    let bare = r#"{"event_id":1,"type":"T","timestamp":"2025-02-09T12:00:00Z"}"#;
    let line = r#"{"event_id":1,"type":"T","timestamp":"2025-02-09T12:00:00Z","valid":true}"#;
    check(
        (&format!("{line} \n"), ""),
        ("", &letter("duplicate", 1, 0, &format!(" {bare} "))),
        &format!(
            "
            no longer published, now duplicate: 1
            old  {line}
            new  duplicate at in.jsonl:1
            "
        ),
    );
}

#[test]
fn events_without_a_known_reason() {
    let (a, b) = (event(1, "a"), event(2, "b"));
    check(
        (&lines(std::slice::from_ref(&a)), ""),
        (&lines(std::slice::from_ref(&b)), ""),
        &format!(
            "
            no longer published: 1
            old  {a}
            newly published: 1
            new  {b}
            "
        ),
    );
}

#[test]
fn letters_alone_differ() {
    let (a, b) = (event(1, "a"), event(2, "b"));
    let old_dead = lines(&[
        letter("duplicate", 1, 0, &a),
        letter("invalid", 2, 0, &b),
        r#"{"reason":"not-json","detail":"","epoch":0,"source":{"name":"in","partition":0,"offset":9,"line":5},"raw":"{\u001b[31m"}"#.to_owned(),
    ]);
    let new_dead = lines(&[
        letter("conflict", 1, 0, &a),
        r#"{"reason":"gap-too-wide","stream":"s","from":3,"to":99,"epoch":0}"#.to_owned(),
        r#"{"reason":"sequence-too-sparse","stream":"s","epoch":0}"#.to_owned(),
    ]);
    check(
        ("", &old_dead),
        ("", &new_dead),
        &format!(
            "
            set aside, was duplicate, now conflict: 1
            old  duplicate at in.jsonl:1 {a}
            new  conflict at in.jsonl:1 {a}
            no longer set aside, was not-json: 1
            old  not-json at 0:5 {{\"raw\":\"{{\\u001b[31m\"}}
            no longer set aside, was invalid: 1
            old  invalid at in.jsonl:2 {b}
            newly set aside, now gap-too-wide: 1
            new  gap-too-wide in stream \"s\", ids 3 to 99
            newly set aside, now sequence-too-sparse: 1
            new  sequence-too-sparse in stream \"s\"
            "
        ),
    );
}

#[test]
fn inferences_are_paired_by_stream_and_id() {
    let old = [
        inferred("s", 3, "A"),
        inferred("t", 3, "A"),
        inferred("s", 4, "A"),
    ];
    let new = [
        inferred("s", 5, "A"),
        inferred("s", 3, "B"),
        inferred("t", 3, "A"),
    ];
    check(
        (&lines(&old), ""),
        (&lines(&new), ""),
        &format!(
            "
            no longer inferred: 1
            old  {}
            newly inferred: 1
            new  {}
            inferred otherwise: 1
            old  {}
            new  {}
            ",
            old[2], new[0], old[0], new[1]
        ),
    );
}

#[test]
fn inferences_are_paired_under_pointers() {
    let pointer = |tokens: &[&str]| {
        FieldPath::Pointer(tokens.iter().map(|token| (*token).to_owned()).collect())
    };
    let spec = EventSpec {
        id: pointer(&["m", "0"]),
        stream: vec![pointer(&["m", "s"]), FieldPath::Name("t".to_owned())],
        ..EventSpec::default()
    };
    let line = |at: &str| {
        format!(r#"{{"m":{{"0":7,"s":"x"}},"at":{at},"amend":{{"origin":"reconstructed"}}}}"#)
    };
    let (old, new) = (folder(&line("1"), ""), folder(&line("2"), ""));
    let comparison = compare(old.path(), new.path(), &spec).unwrap();
    let changes: Vec<Change> = comparison.differences.into_keys().collect();
    assert_eq!(changes, [Change::InferredOtherwise]);
    // Where the fields lie elsewhere nothing is known of the events, and none is paired.
    let comparison = compare(old.path(), new.path(), &EventSpec::default()).unwrap();
    let changes: Vec<Change> = comparison.differences.into_keys().collect();
    assert_eq!(changes, [Change::NoLongerInferred, Change::NewlyInferred]);
}

#[test]
fn the_page() {
    let published = |ids: std::ops::Range<i64>| {
        let events = ids.map(|id| format!("{{\"event_id\":{id},\"note\":\"\u{7f}\"}}"));
        lines(&events.collect::<Vec<_>>())
    };
    let old = published(0..1_200);
    let new = published(5..1_200) + &lines(&[inferred("s", 3, "T")]);
    let dead = lines(&[
        letter("duplicate", 7, 0, "{}"),
        r#"{"reason":"gap-too-wide","stream":"s","from":3,"to":99,"epoch":0}"#.to_owned(),
    ]);
    let expected = r#"
                      old    new  difference
published           1,200  1,196          -4
  observed          1,200  1,195          -5
  reconstructed         0      1          +1
records set aside       1      1
  duplicate             1      1
letters about gaps      1      1
  gap-too-wide          1      1

no longer published: 5
  old  {"event_id":0,"note":"\u{7f}"}
  old  {"event_id":1,"note":"\u{7f}"}
  old  {"event_id":2,"note":"\u{7f}"}
  and 2 more

newly inferred: 1
  new  {"event_id":3,"stream":"s","type":"T","valid":true,"amend":{"origin":"reconstructed"}}
"#;
    assert_eq!(
        compared((&old, &dead), (&new, &dead)).to_string(),
        &expected[1..]
    );
}

#[test]
fn folders_that_are_none() {
    let whole = folder("", "");
    let empty = tempfile::tempdir().unwrap();
    let error = compare(whole.path(), empty.path(), &spec()).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Usage);
    assert!(error.hint().is_some());
    for dead in ["{}", "[1]", "", "{\"reason\":\"no-such\"}", "\u{fffd}{"] {
        let dead = format!("{}\n{dead}\n", letter("duplicate", 1, 0, "{}"));
        let damaged = folder("", &dead);
        let error = compare(whole.path(), damaged.path(), &spec()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Usage);
        assert!(
            error.to_string().contains("dead.jsonl:2 is no dead letter"),
            "{error}"
        );
    }
}
