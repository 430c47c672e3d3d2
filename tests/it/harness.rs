//! Runs the binary on a case and compares everything that it wrote with the model, epoch by epoch.
//!
//! What is checked beyond the answers themselves: a changelog never takes back what is not there
//! and never adds what is; within an epoch `changes.jsonl` has net changes only, in the order of
//! the contract; every dead letter carries its record.
//!
//! Without a horizon published events are a set. The bytes of an event decide its stream and its key,
//! so two events with the same bytes are copies and only one is published; what the engine adds or
//! leaves out (`valid`, line breaks) cannot make two events equal unless `valid` is part of the key,
//! which no case has. With a horizon they are a multiset: what was forgotten may come again, and two
//! incarnations of a stream may lack the same ids.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use base64::Engine;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::Json;
use crate::model::{About, Answer, Config, Gap, Letter, Model, Record, on_one_line};
use crate::process;

mod cases;

/// The beginning of an oversize record that its dead letter keeps.
const OVERSIZE_KEPT: usize = 64 * 1024;

/// A dataflow and its input files: name and content. A name that ends in `.gz` or `.zst` is
/// written compressed.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) config: Config,
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// How to run it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) workers: usize,
    /// Records in an epoch; none lets the engine choose, and only the end is compared: with a
    /// horizon what was forgotten by then depends on the choice.
    pub(crate) epoch: Option<usize>,
}

/// The files that a run leaves.
#[derive(Clone, Default)]
pub(crate) struct Output {
    pub(crate) clean: String,
    pub(crate) changes: String,
    pub(crate) dead: String,
    pub(crate) gaps: String,
    pub(crate) report: String,
}

impl Case {
    /// A case of one file.
    pub(crate) fn new(config: Config, content: impl Into<Vec<u8>>) -> Case {
        Case {
            config,
            files: vec![("a.jsonl".into(), content.into())],
        }
    }

    /// The model of this case.
    pub(crate) fn model(&self) -> Model {
        let contents: Vec<Vec<u8>> = self
            .files
            .iter()
            .map(|(_, content)| content.clone())
            .collect();
        Model::new(&self.config, &contents)
    }

    /// Runs the binary in a folder of its own and reads what it wrote.
    pub(crate) fn run(&self, plan: Plan) -> Result<Output, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names: Vec<String> = self.files.iter().map(|(name, _)| name.clone()).collect();
        for (name, content) in &self.files {
            write(&folder.path().join(name), content);
        }
        let flow = folder.path().join("flow.toml");
        write(&flow, self.config.toml(&names).as_bytes());
        let out = folder.path().join("out");
        let mut command = process::amend();
        command.arg("run").arg(&flow).arg("--out").arg(&out);
        command.args(["--quiet", "-w", &plan.workers.to_string()]);
        if let Some(epoch) = plan.epoch {
            command.args(["--epoch-events", &epoch.to_string()]);
        }
        let ended = process::run(&mut command);
        if ended.code != Some(0) {
            return Err(format!(
                "exit code {:?}, stderr:\n{}",
                ended.code, ended.stderr
            ));
        }
        Output::read(&out)
    }

    /// Runs the binary as each plan says, and compares each run with the model.
    pub(crate) fn check(&self, plans: &[Plan]) -> Result<(), String> {
        let model = self.model();
        let mut known: BTreeMap<Option<usize>, Expected<'_>> = BTreeMap::new();
        for plan in plans {
            let expected = known
                .entry(plan.epoch)
                .or_insert_with(|| Expected::new(self, &model, plan.epoch));
            self.run(*plan)
                .and_then(|output| expected.check(&output, plan.workers))
                .map_err(|error| format!("{plan:?}: {error}"))?;
        }
        Ok(())
    }
}

impl Output {
    /// Reads the files of the folder `out`.
    pub(crate) fn read(out: &Path) -> Result<Output, String> {
        let read = |name: &str| {
            std::fs::read_to_string(out.join(name)).map_err(|error| format!("{name}: {error}"))
        };
        Ok(Output {
            clean: read("clean.jsonl")?,
            changes: read("changes.jsonl")?,
            dead: read("dead.jsonl")?,
            gaps: read("gaps.jsonl")?,
            report: read("report.json")?,
        })
    }
}

/// Writes a file, compressed where its name says so.
pub(crate) fn write(path: &Path, content: &[u8]) {
    let bytes = match path.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder
                .write_all(content)
                .and_then(|()| encoder.finish())
                .expect("memory suffices")
        }
        Some("zst") => zstd::encode_all(content, 0).expect("memory suffices"),
        _ => content.to_vec(),
    };
    std::fs::write(path, bytes).expect("a writable folder");
}

/// What one cut into epochs must give.
pub(crate) struct Expected<'a> {
    case: &'a Case,
    model: &'a Model,
    /// After each epoch; only the last where the engine cuts.
    epochs: Vec<Rows>,
    /// The records by file and offset.
    places: BTreeMap<(usize, u64), &'a [u8]>,
    is_cut_known: bool,
    last: Answer,
    clean: String,
    filled_ids: u64,
}

/// An answer as rows of text.
struct Rows {
    /// In the order in which they would be inserted.
    published: Vec<String>,
    letters: Bag,
    gaps: Bag,
}

/// How often each row stands.
type Bag = BTreeMap<String, usize>;

fn bag(rows: impl IntoIterator<Item = String>) -> Bag {
    let mut bag = Bag::new();
    for row in rows {
        *bag.entry(row).or_default() += 1;
    }
    bag
}

impl<'a> Expected<'a> {
    /// What `model` answers when epochs hold `epoch` records.
    pub(crate) fn new(case: &'a Case, model: &'a Model, epoch: Option<usize>) -> Expected<'a> {
        let (answers, clean, filled_ids) = match epoch {
            _ if model.config.horizon_ms.is_some() => {
                let size = epoch.expect("with a horizon the cut into epochs is known");
                let history = model.history(size);
                (history.answers, history.clean, history.filled_ids)
            }
            Some(size) => {
                let answers = model.answers(size);
                let filled_ids = model.filled_ids(size, &answers);
                let clean = answers.last().map(Answer::clean).unwrap_or_default();
                (answers, clean, filled_ids)
            }
            None => {
                let answer = model.last_answer();
                let clean = answer.clean();
                (vec![answer], clean, 0)
            }
        };
        let rows = |answer: &Answer| {
            let kept = answer.kept.iter().map(|text| ("observed", text));
            let reconstructed = answer
                .reconstructed
                .iter()
                .map(|(_, text)| ("reconstructed", text));
            Rows {
                published: kept
                    .chain(reconstructed)
                    .map(|(origin, text)| format!("{origin} {}", text.trim_matches(JSON_SPACE)))
                    .collect(),
                letters: bag(answer
                    .letters
                    .iter()
                    .chain(&answer.repeated_letters)
                    .map(|letter| case.letter_row(letter))),
                gaps: bag(answer.gaps.iter().chain(&answer.repeated_gaps).map(gap_row)),
            }
        };
        let records = model.records.iter();
        let place = |record: &'a Record| ((record.file, record.offset), &record.bytes[..]);
        Expected {
            case,
            model,
            places: records.map(place).collect(),
            epochs: answers.iter().map(rows).collect(),
            is_cut_known: epoch.is_some(),
            filled_ids,
            clean,
            last: answers.into_iter().next_back().unwrap_or_default(),
        }
    }

    /// Compares what a run wrote.
    pub(crate) fn check(&self, output: &Output, workers: usize) -> Result<(), String> {
        let changes = self.changes(&output.changes)?;
        let letters = self.letters(&output.dead)?;
        let gaps = self.gaps(&output.gaps)?;
        for (nth, rows) in self.epochs.iter().enumerate() {
            let epoch = self.is_cut_known.then_some(nth);
            let published = bag(rows.published.iter().cloned());
            changes.compare(epoch, &published)?;
            letters.compare(epoch, &rows.letters)?;
            gaps.compare(epoch, &rows.gaps)?;
        }
        for log in [&changes, &letters, &gaps] {
            match log.history.last_key_value() {
                Some((last, _)) if self.is_cut_known && *last >= self.epochs.len() => {
                    let epochs = self.epochs.len();
                    return Err(format!("{} names epoch {last} of {epochs}", log.name));
                }
                _ => {}
            }
        }
        self.clean(&output.clean)?;
        self.report(&output.report, changes.retractions, workers)
    }

    /// `changes.jsonl` as a changelog of rows.
    fn changes(&self, text: &str) -> Result<Log, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line<'a> {
            epoch: usize,
            op: &'a str,
            origin: &'a str,
            #[serde(borrow)]
            event: &'a RawValue,
        }
        let mut log = self.log("changes.jsonl");
        let mut within = InEpoch::default();
        let places: Vec<BTreeMap<&str, Vec<usize>>> = self
            .epochs
            .iter()
            .map(|rows| places(&rows.published))
            .collect();
        for (nth, line) in text.lines().enumerate() {
            let at = |error: &str| format!("changes.jsonl:{}: {error}: {line}", nth + 1);
            let change: Line<'_> =
                serde_json::from_str(line).map_err(|error| at(&error.to_string()))?;
            let row = format!("{} {}", change.origin, change.event.get());
            // Where the cut is not known, nor is what stood in between.
            let places = match places.get(change.epoch).filter(|_| self.is_cut_known) {
                Some(places) if change.op == "insert" => {
                    let places = places.get(row.as_str());
                    &places.ok_or_else(|| at("is not to be published"))?[..]
                }
                _ => &[0],
            };
            within
                .next(change.epoch, change.op, change.origin, &row, places)
                .map_err(&at)?;
            log.apply(change.epoch, change.op, row).map_err(&at)?;
        }
        Ok(log.end())
    }

    /// `dead.jsonl` as a changelog of rows.
    fn letters(&self, text: &str) -> Result<Log, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Source {
            #[serde(rename = "name")]
            _name: String,
            partition: String,
            offset: u64,
            line: u64,
        }
        #[derive(Deserialize)]
        struct Line<'a> {
            reason: &'a str,
            epoch: usize,
            op: Option<&'a str>,
            detail: Option<String>,
            source: Option<Source>,
            #[serde(borrow)]
            event: Option<&'a RawValue>,
            raw: Option<String>,
            raw_base64: Option<&'a str>,
            #[serde(borrow)]
            stream: Option<&'a RawValue>,
            from: Option<i64>,
            to: Option<i64>,
        }
        let mut log = self.log("dead.jsonl");
        for (nth, line) in text.lines().enumerate() {
            let at = |error: &str| format!("dead.jsonl:{}: {error}: {line}", nth + 1);
            let letter: Line<'_> =
                serde_json::from_str(line).map_err(|error| at(&error.to_string()))?;
            let is_insert = letter.op != Some("retract");
            let stream = stream_row(letter.stream);
            let about = match (&letter.source, letter.from, letter.to) {
                (Some(source), None, None) => {
                    let file = self.case.file(&source.partition);
                    let file = file.ok_or_else(|| at("is of no input"))?;
                    About::Record {
                        file,
                        offset: source.offset,
                        line: source.line,
                    }
                }
                (None, Some(from), Some(to)) => About::Gap(Gap { stream, from, to }),
                (None, None, None) => About::Stream(stream),
                _ => return Err(at("is neither about a record nor about a gap")),
            };
            if let (About::Record { file, offset, .. }, true) = (&about, is_insert) {
                let record = self.places.get(&(*file, *offset));
                let record = *record.ok_or_else(|| at("no record starts there"))?;
                let body = Body {
                    event: letter.event.map(RawValue::get),
                    raw: letter.raw.as_deref(),
                    raw_base64: letter.raw_base64,
                };
                body.check(letter.reason, record)
                    .map_err(|error| at(&error))?;
                if letter.detail.is_none_or(|detail| detail.is_empty()) {
                    return Err(at("has no detail"));
                }
            }
            let row = self.case.letter_row(&Letter {
                reason: letter.reason.into(),
                about,
            });
            log.apply(letter.epoch, letter.op.unwrap_or("insert"), row)
                .map_err(&at)?;
        }
        Ok(log.end())
    }

    /// `gaps.jsonl` as a changelog of rows.
    fn gaps(&self, text: &str) -> Result<Log, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Line<'a> {
            epoch: usize,
            op: &'a str,
            #[serde(borrow)]
            stream: Option<&'a RawValue>,
            from: i64,
            to: i64,
        }
        let mut log = self.log("gaps.jsonl");
        for (nth, line) in text.lines().enumerate() {
            let at = |error: &str| format!("gaps.jsonl:{}: {error}: {line}", nth + 1);
            let gap: Line<'_> =
                serde_json::from_str(line).map_err(|error| at(&error.to_string()))?;
            let op = match gap.op {
                "open" => "insert",
                "close" => "retract",
                _ => return Err(at("op is neither open nor close")),
            };
            let stream = stream_row(gap.stream);
            let row = gap_row(&Gap {
                stream,
                from: gap.from,
                to: gap.to,
            });
            log.apply(gap.epoch, op, row).map_err(&at)?;
        }
        Ok(log.end())
    }

    /// An empty changelog.
    fn log(&self, name: &'static str) -> Log {
        Log::new(name, self.model.config.horizon_ms.is_some())
    }

    fn clean(&self, text: &str) -> Result<(), String> {
        let expected = &self.clean;
        if text == expected {
            return Ok(());
        }
        let (left, right): (Vec<_>, Vec<_>) =
            (expected.split('\n').collect(), text.split('\n').collect());
        let same = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
        let line = |lines: &[&str]| lines.get(same).map_or("(the end)".into(), |l| excerpt(l));
        let (number, left, right) = (same + 1, line(&left), line(&right));
        Err(format!(
            "clean.jsonl differs in line {number}:\n  - {left}\n  + {right}"
        ))
    }

    fn report(&self, text: &str, retractions: usize, workers: usize) -> Result<(), String> {
        let report = Json::read(text.as_bytes());
        let report = report.ok_or_else(|| format!("report.json: {text:?}"))?;
        let number = |path: &str| match report.find(path) {
            Some(Json::Number(number)) => number.clone(),
            other => format!("{other:?}"),
        };
        let equal = |path: &str, expected: String| match number(path) {
            found if found == expected => Ok(()),
            found => Err(format!(
                "report.json: {path} is {found}, and should be {expected}"
            )),
        };
        equal("/read", self.model.records.len().to_string())?;
        equal("/kept", self.last.kept.len().to_string())?;
        equal("/reconstructed", self.last.reconstructed.len().to_string())?;
        let open = self.last.gaps.len() + self.last.repeated_gaps.len();
        equal("/gaps/open", open.to_string())?;
        equal("/gaps/missing_ids", self.last.missing_ids().to_string())?;
        equal("/workers", workers.to_string())?;
        equal("/retractions", retractions.to_string())?;
        if self.is_cut_known {
            equal("/gaps/filled_ids", self.filled_ids.to_string())?;
            equal("/epochs", self.epochs.len().to_string())?;
        }
        for path in ["/epochs", "/gaps/filled_ids", "/elapsed_s", "/events_per_s"] {
            if number(path).parse::<f64>().is_err() {
                return Err(format!("report.json: {path} is {}", number(path)));
            }
        }
        let expected = self.last.dead().into_iter();
        let expected = expected.map(|(reason, count)| (reason, Json::Number(count.to_string())));
        let expected = Json::Object(expected.collect()).canonical();
        match report.get("dead").map(Json::canonical) {
            Some(dead) if dead == expected => Ok(()),
            dead => Err(format!(
                "report.json: dead is {dead:?}, and should be {expected}"
            )),
        }
    }
}

impl Case {
    /// Which input a letter's partition names.
    fn file(&self, partition: &str) -> Option<usize> {
        if self.files.len() == 1 {
            return Some(0);
        }
        let is_named = |name: &String| Path::new(partition).ends_with(name);
        self.files.iter().position(|(name, _)| is_named(name))
    }

    fn letter_row(&self, letter: &Letter) -> String {
        let reason = &letter.reason;
        match &letter.about {
            About::Record { file, offset, line } => {
                format!("{reason} {}:{line} at byte {offset}", self.files[*file].0)
            }
            About::Gap(gap) => format!("{reason} {}", gap_row(gap)),
            About::Stream(stream) => format!("{reason} {stream}"),
        }
    }
}

fn gap_row(gap: &Gap) -> String {
    format!("{} from {} to {}", gap.stream, gap.from, gap.to)
}

/// A stream's name as the model has it; one that is left out is empty.
fn stream_row(raw: Option<&RawValue>) -> String {
    let name = raw.and_then(|raw| Json::read(raw.get().as_bytes()));
    name.map_or("\"\"".into(), |name| name.canonical())
}

const JSON_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// What a dead letter shows of its record.
struct Body<'a> {
    event: Option<&'a str>,
    raw: Option<&'a str>,
    raw_base64: Option<&'a str>,
}

impl Body<'_> {
    fn check(&self, reason: &str, record: &[u8]) -> Result<(), String> {
        let kept = match reason {
            "oversize" => &record[..record.len().min(OVERSIZE_KEPT)],
            _ => record,
        };
        if reason != "oversize" && matches!(Json::read(record), Some(Json::Object(_))) {
            let event = on_one_line(record);
            let event = event.trim_matches(JSON_SPACE);
            return match self.event {
                Some(found) if found == event && self.raw.is_none() => Ok(()),
                _ => Err(format!("its event should be {event}")),
            };
        }
        let lossy = String::from_utf8_lossy(kept);
        if self.event.is_some() || self.raw != Some(&*lossy) {
            return Err(format!("its raw should be {:?}", excerpt(&lossy)));
        }
        let base64 = self.raw_base64.map(|text| {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .map_err(|e| e.to_string())
        });
        match base64.transpose()? {
            None if std::str::from_utf8(kept).is_ok() => Ok(()),
            Some(bytes) if bytes == kept && std::str::from_utf8(kept).is_err() => Ok(()),
            _ => Err("raw_base64 goes with what is not UTF-8, and holds its bytes".into()),
        }
    }
}

/// A changelog that is applied line by line: the rows that stand after each epoch.
struct Log {
    name: &'static str,
    /// Whether a row may stand more than once.
    may_repeat: bool,
    rows: Bag,
    epoch: usize,
    retractions: usize,
    /// What stood when each epoch with lines was over.
    history: BTreeMap<usize, Bag>,
}

impl Log {
    fn new(name: &'static str, may_repeat: bool) -> Log {
        Log {
            name,
            may_repeat,
            rows: Bag::new(),
            epoch: 0,
            retractions: 0,
            history: BTreeMap::new(),
        }
    }

    fn apply(&mut self, epoch: usize, op: &str, row: String) -> Result<(), &'static str> {
        if epoch < self.epoch {
            return Err("its epoch was over");
        }
        if epoch > self.epoch {
            self.history.insert(self.epoch, self.rows.clone());
            self.epoch = epoch;
        }
        let count = self.rows.get(&row).copied().unwrap_or(0);
        let count = match op {
            "insert" if count > 0 && !self.may_repeat => Err("adds what stands already"),
            "insert" => Ok(count + 1),
            "retract" => count.checked_sub(1).ok_or("takes back what does not stand"),
            _ => Err("op is neither insert nor retract"),
        }?;
        self.retractions += usize::from(op == "retract");
        match count {
            0 => self.rows.remove(&row),
            _ => self.rows.insert(row, count),
        };
        Ok(())
    }

    fn end(mut self) -> Log {
        if self.retractions > 0 || !self.rows.is_empty() {
            self.history.insert(self.epoch, self.rows.clone());
        }
        self
    }

    /// Compares what stands after `epoch`, or at the end.
    fn compare(&self, epoch: Option<usize>, expected: &Bag) -> Result<(), String> {
        let last = self
            .history
            .range(..=epoch.unwrap_or(usize::MAX))
            .next_back();
        let none = Bag::new();
        let found = last.map_or(&none, |(_, rows)| rows);
        if expected == found {
            return Ok(());
        }
        let lines = |sign: &str, rows: Vec<&String>| -> String {
            let shown = rows
                .iter()
                .take(5)
                .map(|row| format!("\n  {sign} {}", excerpt(row)));
            let more = rows.len().saturating_sub(5);
            let more = (more > 0).then(|| format!("\n  {sign} and {more} more"));
            shown.chain(more).collect()
        };
        let missing = lines("-", beyond(expected, found));
        let extra = lines("+", beyond(found, expected));
        let when = epoch.map_or("at the end".into(), |epoch| format!("after epoch {epoch}"));
        Err(format!(
            "{} is wrong {when} (- expected, + found):{missing}{extra}",
            self.name
        ))
    }
}

/// The rows that stand more often in `more` than in `less`.
fn beyond<'a>(more: &'a Bag, less: &Bag) -> Vec<&'a String> {
    let known = |row: &String| less.get(row).copied().unwrap_or(0);
    let rows = more.iter().filter(|(row, count)| **count > known(row));
    rows.map(|(row, _)| row).collect()
}

/// The rules for the lines of `changes.jsonl` within an epoch.
#[derive(Default)]
struct InEpoch {
    epoch: usize,
    taken_back: BTreeSet<String>,
    /// Retractions, kept events, reconstructed events; and the place of the last one.
    last: (usize, usize),
}

impl InEpoch {
    /// Takes the next line, whose row may stand at each of `places`.
    fn next(
        &mut self,
        epoch: usize,
        op: &str,
        origin: &str,
        row: &str,
        places: &[usize],
    ) -> Result<(), &'static str> {
        if epoch != self.epoch {
            *self = InEpoch {
                epoch,
                ..InEpoch::default()
            };
        }
        let phase = match (op, origin) {
            ("retract", "observed" | "reconstructed") => 0,
            ("insert", "observed") => 1,
            ("insert", "reconstructed") => 2,
            _ => return Err("op or origin is unknown"),
        };
        if phase == 0 {
            self.taken_back.insert(row.into());
        } else if self.taken_back.contains(row) {
            return Err("is not a net change: the epoch takes it back, too");
        }
        let mut places = places.iter().map(|place| (phase, *place));
        let here = places.find(|here| *here >= self.last);
        self.last = here.ok_or("is out of order within its epoch")?;
        Ok(())
    }
}

/// Where each row stands in the order of insertion: once, or more often with a horizon.
fn places(rows: &[String]) -> BTreeMap<&str, Vec<usize>> {
    let mut places = BTreeMap::<&str, Vec<usize>>::new();
    for (place, row) in rows.iter().enumerate() {
        places.entry(row).or_default().push(place);
    }
    places
}

/// The beginning of a long line.
fn excerpt(line: &str) -> String {
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}… ({} bytes)", &line[..end], line.len()),
        None => line.into(),
    }
}
