//! What an output folder says once its changelogs are applied, so that two runs can be compared
//! that cut the same input into other epochs.
//!
//! A changelog that takes back what does not stand, or adds what stands, is wrong by itself: that
//! is how a line that was lost or written twice shows. Under a horizon what was forgotten may come
//! again, so there rows are counted.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::harness::Output;

/// The members of `report.json` that depend on nothing but the input and the rules.
const FIGURES: [&str; 6] = [
    "/read",
    "/kept",
    "/reconstructed",
    "/dead",
    "/gaps/open",
    "/gaps/missing_ids",
];

/// What stands at the end of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Published {
    /// `clean.jsonl`, byte for byte.
    pub(crate) clean: String,
    /// The events of `changes.jsonl` by origin and bytes.
    pub(crate) events: Rows,
    /// The dead letters without their epochs.
    pub(crate) letters: Rows,
    /// The open gaps.
    pub(crate) gaps: Rows,
    /// The figures of `report.json`.
    pub(crate) figures: BTreeMap<&'static str, Value>,
}

/// Rows of text and the texts that go with each, one for each time that it stands.
pub(crate) type Rows = BTreeMap<String, Vec<String>>;

impl Published {
    /// Reads the output folder `out`.
    #[track_caller]
    pub(crate) fn read(out: &Path) -> Published {
        let output = Output::read(out).and_then(|output| Published::of(&output));
        output.unwrap_or_else(|error| panic!("{}: {error}", out.display()))
    }

    /// Applies the changelogs of `output`.
    pub(crate) fn of(output: &Output) -> Result<Published, String> {
        let report: Value = serde_json::from_str(&output.report)
            .map_err(|error| format!("report.json: {error}: {:?}", output.report))?;
        let figure = |path| (path, report.pointer(path).cloned().unwrap_or(Value::Null));
        let may_repeat = report.get("final_until_us").is_some();
        let consolidated = |name, text| consolidated(name, text, may_repeat);
        Ok(Published {
            clean: output.clean.clone(),
            events: consolidated("changes.jsonl", &output.changes)?,
            letters: consolidated("dead.jsonl", &output.dead)?,
            gaps: consolidated("gaps.jsonl", &output.gaps)?,
            figures: FIGURES.map(figure).into(),
        })
    }

    /// Fails, with what differs, unless `self` is what `expected` is.
    pub(crate) fn check(&self, expected: &Published) -> Result<(), String> {
        same_lines("clean.jsonl", &expected.clean, &self.clean)?;
        same_rows("changes.jsonl", &expected.events, &self.events)?;
        same_rows("dead.jsonl", &expected.letters, &self.letters)?;
        same_rows("gaps.jsonl", &expected.gaps, &self.gaps)?;
        if self.figures != expected.figures {
            return Err(format!(
                "report.json has {:?}, and should have {:?}",
                self.figures, expected.figures
            ));
        }
        Ok(())
    }
}

/// A line of any of the changelogs.
#[derive(Deserialize)]
struct Line<'a> {
    op: Option<&'a str>,
    origin: Option<&'a str>,
    reason: Option<&'a str>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    stream: Option<&'a RawValue>,
    from: Option<i64>,
    to: Option<i64>,
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    raw: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
    epoch: u64,
}

/// The rows that stand when all lines of a changelog are applied in order.
fn consolidated(name: &str, text: &str, may_repeat: bool) -> Result<Rows, String> {
    if !(text.is_empty() || text.ends_with('\n')) {
        return Err(format!("{name} ends within a line"));
    }
    let mut rows = Rows::new();
    let mut epoch = 0;
    for (nth, text) in text.lines().enumerate() {
        let at = |error: &str| format!("{name}:{}: {error}: {text}", nth + 1);
        let line: Line<'_> = serde_json::from_str(text).map_err(|error| at(&error.to_string()))?;
        if line.epoch < epoch {
            return Err(at("its epoch was over"));
        }
        epoch = line.epoch;
        let shown = |raw: Option<&RawValue>| raw.map_or(String::new(), |raw| raw.get().to_owned());
        let body = [line.event, line.raw, line.detail].map(shown).join(" ");
        // A withdrawal of a letter repeats only what names it; a change of an event repeats it.
        let (row, body) = match (line.origin, line.reason) {
            (Some(origin), _) => (format!("{origin} {}", shown(line.event)), String::new()),
            (None, reason) => {
                let about = [line.source, line.stream].map(shown).join(" ");
                let ids = format!("{:?} {:?}", line.from, line.to);
                (format!("{} {about} {ids}", reason.unwrap_or("gap")), body)
            }
        };
        match line.op {
            Some("retract" | "close") => {
                let bodies = rows.get_mut(&row);
                let bodies = bodies.ok_or_else(|| at("takes back what does not stand"))?;
                bodies.pop();
                if bodies.is_empty() {
                    rows.remove(&row);
                }
            }
            Some("insert" | "open") | None => {
                let bodies = rows.entry(row).or_default();
                if !(may_repeat || bodies.is_empty()) {
                    return Err(at("adds what stands already"));
                }
                bodies.push(body);
            }
            Some(_) => return Err(at("has an unknown op")),
        }
    }
    // Which of several comes first depends on nothing that was promised.
    rows.values_mut().for_each(|bodies| bodies.sort());
    Ok(rows)
}

/// Compares two files line by line; the error shows the first line that differs.
pub(crate) fn same_lines(name: &str, expected: &str, found: &str) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let cut = |text: &'_ str| text.split_inclusive('\n').map(String::from).collect();
    let (expected, found): (Vec<String>, Vec<String>) = (cut(expected), cut(found));
    let pairs = expected.iter().zip(&found);
    let same = pairs.take_while(|(left, right)| left == right).count();
    let line = |lines: &[String]| match lines.get(same) {
        Some(line) => excerpt(line),
        None => "(the end)".into(),
    };
    Err(format!(
        "{name} differs in line {} (- expected {} lines, + found {}):\n  - {}\n  + {}",
        same + 1,
        expected.len(),
        found.len(),
        line(&expected),
        line(&found)
    ))
}

fn same_rows(name: &str, expected: &Rows, found: &Rows) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let lines = |sign: &str, these: &Rows, those: &Rows| -> String {
        let differing = these
            .iter()
            .filter(|&(row, body)| those.get(row) != Some(body));
        let shown = differing.clone().take(5);
        let shown =
            shown.map(|(row, body)| format!("\n  {sign} {}", excerpt(&format!("{row} {body:?}"))));
        let shown: String = shown.collect();
        format!("{shown}\n  {sign} {} in all", differing.count())
    };
    Err(format!(
        "{name} is wrong once applied (- expected, + found):{}{}",
        lines("-", expected, found),
        lines("+", found, expected)
    ))
}

/// The beginning of a long line.
fn excerpt(line: &str) -> String {
    let mut shown: String = line.chars().take(300).collect();
    if shown.len() < line.len() {
        shown.push_str(&format!("… ({} bytes)", line.len()));
    }
    shown
}

#[test]
fn changelogs_are_applied_in_order() {
    let check_with = |text: &str, may_repeat| match consolidated("x", text, may_repeat) {
        Ok(rows) => rows.into_keys().collect::<Vec<_>>().join("; "),
        Err(error) => error,
    };
    let check = |text: &str| check_with(text, false);
    let insert = r#"{"epoch":1,"op":"insert","origin":"observed","event":{"a":1}}"#;
    let retract = r#"{"epoch":2,"op":"retract","origin":"observed","event":{"a":1}}"#;
    let letter = r#"{"reason":"r","detail":"d","epoch":3,"source":{"name":"n"},"event":{}}"#;
    let back = r#"{"reason":"r","op":"retract","epoch":4,"source":{"name":"n"}}"#;
    assert_eq!(check(&format!("{insert}\n")), r#"observed {"a":1}"#);
    assert_eq!(check(&format!("{insert}\n{retract}\n")), "");
    assert_eq!(check(&format!("{letter}\n{back}\n")), "");
    assert_eq!(
        check(&format!("{letter}\n")),
        r#"r {"name":"n"}  None None"#
    );
    let wrong = |text: String, part: &str| {
        let said = check(&text);
        assert!(said.contains(part), "{said}");
    };
    wrong(format!("{insert}\n{insert}\n"), "adds what stands");
    wrong(format!("{retract}\n"), "does not stand");
    wrong(format!("{retract}\n{insert}\n"), "does not stand");
    wrong(format!("{insert}\n{retract}\n{insert}\n"), "was over");
    wrong(insert.into(), "ends within a line");
    let twice = format!("{insert}\n{insert}\n");
    let back_again = format!("{twice}{retract}\n{retract}\n");
    assert_eq!(check_with(&twice, true), r#"observed {"a":1}"#);
    assert_eq!(check_with(&back_again, true), "");
    assert!(check_with(&format!("{back_again}{retract}\n"), true).contains("does not stand"));
}
