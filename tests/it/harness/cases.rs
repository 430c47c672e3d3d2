//! The harness itself: it passes what the model would write, and catches every small corruption
//! of it.

use super::*;
use crate::json::quoted;
use crate::model::StreamField;
use crate::workload::{self, Knobs, Random};

const EPOCH: usize = 7;
const WORKERS: usize = 2;

fn case() -> Case {
    let config = Config {
        stream: StreamField::One("stream".into()),
        ..Config::default()
    };
    let contents = workload::files(&mut Random::new(3), &config, &Knobs::default());
    let names = ["a.jsonl", "b.jsonl"];
    Case {
        config,
        files: names.map(String::from).into_iter().zip(contents).collect(),
    }
}

/// What the binary should write.
fn fake(case: &Case, model: &Model) -> Output {
    let answers = model.answers(EPOCH);
    let mut out = Output::default();
    let mut before = Answer::default();
    let mut retractions = 0;
    for (epoch, answer) in answers.iter().enumerate() {
        let rows = |answer: &Answer| -> Vec<(&str, String)> {
            let kept = answer.kept.iter().map(|text| ("observed", text.clone()));
            let reconstructed = answer.reconstructed.iter();
            kept.chain(reconstructed.map(|(_, text)| ("reconstructed", text.clone())))
                .collect()
        };
        let (old, new) = (rows(&before), rows(answer));
        let mut change = |op: &str, (origin, event): &(&str, String)| {
            out.changes.push_str(&format!(
                "{{\"epoch\":{epoch},\"op\":\"{op}\",\"origin\":\"{origin}\",\"event\":{event}}}\n"
            ));
        };
        let old_rows: BTreeSet<_> = old.iter().collect();
        let new_rows: BTreeSet<_> = new.iter().collect();
        for row in old.iter().filter(|row| !new_rows.contains(row)) {
            retractions += 1;
            change("retract", row);
        }
        new.iter()
            .filter(|row| !old_rows.contains(row))
            .for_each(|row| change("insert", row));
        for letter in before.letters.difference(&answer.letters) {
            out.dead
                .push_str(&letter_line(case, model, letter, epoch, true));
        }
        for letter in answer.letters.difference(&before.letters) {
            out.dead
                .push_str(&letter_line(case, model, letter, epoch, false));
        }
        let mut gap = |op: &str, Gap { stream, from, to }: &Gap| {
            out.gaps.push_str(&format!(
                "{{\"epoch\":{epoch},\"op\":\"{op}\",\"stream\":{stream},\"from\":{from},\"to\":{to}}}\n"
            ));
        };
        before
            .gaps
            .difference(&answer.gaps)
            .for_each(|row| gap("close", row));
        answer
            .gaps
            .difference(&before.gaps)
            .for_each(|row| gap("open", row));
        before = answer.clone();
    }
    out.clean = before.clean();
    let dead: Vec<String> = before
        .dead()
        .iter()
        .map(|(reason, count)| format!("\"{reason}\":{count}"))
        .collect();
    out.report = format!(
        "{{\"read\":{},\"kept\":{},\"reconstructed\":{},\"dead\":{{{}}},\
         \"gaps\":{{\"open\":{},\"missing_ids\":{},\"filled_ids\":{}}},\"retractions\":{retractions},\
         \"epochs\":{},\"workers\":{WORKERS},\"elapsed_s\":0.5,\"events_per_s\":9.5}}",
        model.records.len(),
        before.kept.len(),
        before.reconstructed.len(),
        dead.join(","),
        before.gaps.len(),
        before.missing_ids(),
        model.filled_ids(EPOCH, &answers),
        answers.len(),
    );
    out
}

fn letter_line(
    case: &Case,
    model: &Model,
    letter: &Letter,
    epoch: usize,
    withdrawn: bool,
) -> String {
    let op = if withdrawn { ",\"op\":\"retract\"" } else { "" };
    let head = format!("\"reason\":\"{}\"{op},\"epoch\":{epoch}", letter.reason);
    match &letter.about {
        About::Gap(Gap { stream, from, to }) => {
            format!("{{{head},\"stream\":{stream},\"from\":{from},\"to\":{to}}}\n")
        }
        About::Stream(stream) => format!("{{{head},\"stream\":{stream}}}\n"),
        About::Record { file, offset, line } => {
            let mut records = model.records.iter();
            let bytes = &records
                .find(|r| r.file == *file && r.offset == *offset)
                .expect("there")
                .bytes;
            let body = match Json::read(bytes) {
                _ if withdrawn => String::new(),
                Some(Json::Object(_)) => format!(",\"event\":{}", on_one_line(bytes)),
                _ => {
                    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
                    let is_text = std::str::from_utf8(bytes).is_ok();
                    let raw = quoted(&String::from_utf8_lossy(bytes));
                    let base64 = (!is_text).then(|| format!(",\"raw_base64\":\"{encoded}\""));
                    format!(",\"raw\":{raw}{}", base64.unwrap_or_default())
                }
            };
            let partition = quoted(&format!("/some/where/{}", case.files[*file].0));
            format!(
                "{{{head},\"detail\":\"so\",\"source\":{{\"name\":\"case\",\"partition\":{partition},\
                 \"offset\":{offset},\"line\":{line}}}{body}}}\n"
            )
        }
    }
}

/// Every file of an output, to be changed.
fn texts(output: &mut Output) -> [(&'static str, &mut String); 4] {
    [
        ("clean", &mut output.clean),
        ("changes", &mut output.changes),
        ("dead", &mut output.dead),
        ("gaps", &mut output.gaps),
    ]
}

#[test]
fn harness_passes_what_is_right_and_catches_what_is_not() {
    let case = case();
    let model = case.model();
    let expected = Expected::new(&case, &model, Some(EPOCH));
    let right = fake(&case, &model);
    assert_eq!(expected.check(&right, WORKERS), Ok(()));
    let mut lenient = Expected::new(&case, &model, None);
    assert_eq!(lenient.check(&right, WORKERS), Ok(()));
    lenient.last.kept.pop();
    assert!(lenient.check(&right, WORKERS).is_err());

    let caught = |what: String, wrong: &Output| {
        assert!(
            expected.check(wrong, WORKERS).is_err(),
            "{what} was not caught"
        );
    };
    for file in 0..4 {
        let mut copy = right.clone();
        let (name, text) = &mut texts(&mut copy)[file];
        let lines: Vec<String> = text.lines().map(str::to_string).collect();
        assert!(lines.len() > 10, "{name} has lines to corrupt");
        let with = |lines: Vec<String>| {
            let mut wrong = right.clone();
            *texts(&mut wrong)[file].1 = lines.iter().map(|line| format!("{line}\n")).collect();
            wrong
        };
        for nth in 0..lines.len() {
            let mut fewer = lines.clone();
            let line = fewer.remove(nth);
            caught(format!("{name} without line {nth}"), &with(fewer));
            let mut more = lines.clone();
            more.insert(nth, line.clone());
            caught(format!("{name} with line {nth} twice"), &with(more));
            let mut other = lines.clone();
            let end = line.rfind('"').expect("a line has strings");
            other[nth].insert(end, 'x');
            caught(format!("{name} with another line {nth}"), &with(other));
            if *name != "clean" {
                let epoch: usize = line
                    .split_once("\"epoch\":")
                    .and_then(|(_, rest)| rest.split([',', '}']).next()?.parse().ok())
                    .expect("a line has an epoch");
                let (old, new) = (
                    format!("\"epoch\":{epoch}"),
                    format!("\"epoch\":{}", epoch + 1),
                );
                let mut later = lines.clone();
                later[nth] = line.replacen(&old, &new, 1);
                caught(
                    format!("{name} with line {nth} an epoch later"),
                    &with(later),
                );
            }
            let is_retraction = |line: &str| line.contains("\"op\":\"retract\"");
            if nth > 0 && (*name == "clean" || *name == "changes") {
                if is_retraction(&lines[nth]) && is_retraction(&lines[nth - 1]) {
                    continue;
                }
                let mut swapped = lines.clone();
                swapped.swap(nth, nth - 1);
                caught(
                    format!("{name} with lines {nth} and the one before swapped"),
                    &with(swapped),
                );
            }
        }
    }
    for (place, digit) in right
        .report
        .char_indices()
        .filter(|(_, c)| c.is_ascii_digit())
    {
        if place
            > right
                .report
                .find("elapsed")
                .expect("a member of the report")
        {
            break;
        }
        let mut wrong = right.clone();
        let other = if digit == '1' { "2" } else { "1" };
        wrong.report.replace_range(place..=place, other);
        caught(format!("report {}", wrong.report), &wrong);
    }
    for what in ["\"duplicate\":", "\"read\":", "\"events_per_s\":"] {
        let mut wrong = right.clone();
        wrong.report = wrong.report.replace(what, "\"other\":");
        caught(format!("a report without {what}"), &wrong);
    }
}

#[test]
fn harness_catches_churn_within_an_epoch() {
    let case = case();
    let model = case.model();
    let expected = Expected::new(&case, &model, Some(EPOCH));
    let mut wrong = fake(&case, &model);
    let line = wrong
        .changes
        .lines()
        .find(|line| line.contains("\"epoch\":1"))
        .expect("one");
    let line = line.replace("\"op\":\"retract\"", "\"op\":\"insert\"");
    let first = wrong.changes.find("{\"epoch\":1").expect("a second epoch");
    let back = line.replace("\"op\":\"insert\"", "\"op\":\"retract\"");
    wrong
        .changes
        .insert_str(first, &format!("{line}\n{back}\n"));
    assert!(expected.check(&wrong, WORKERS).is_err());
    let mut wrong = fake(&case, &model);
    let standing = wrong.changes.lines().next().expect("a line").to_string();
    let again = standing.replace("\"epoch\":0", "\"epoch\":1");
    let back = again.replace("\"op\":\"insert\"", "\"op\":\"retract\"");
    let first = wrong.changes.find("{\"epoch\":1").expect("a second epoch");
    wrong
        .changes
        .insert_str(first, &format!("{back}\n{again}\n"));
    let error = expected.check(&wrong, WORKERS).expect_err("no net change");
    assert!(error.contains("changes.jsonl"), "{error}");
}
