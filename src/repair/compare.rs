//! What two runs over one history publish differently: their output folders compared.
//!
//! One rule: events and letters are compared as they are written, byte for byte, and nothing stands
//! for them, so that "nothing would be published differently" is a fact. The order in which they are
//! written does not count. Both folders are read side by side and only what is not balanced is kept
//! (`balance`): memory follows the differences, and how far apart equal lines lie.
//!
//! `letters` has the dead letters that stand, `page` is how a person reads the outcome.

mod balance;
mod letters;
mod page;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::path::Path;

use memchr::memmem;
use serde_json::Value;

use crate::event::write::write_event;
use crate::event::{Decoder, EventSpec, FieldPath, Reason};
use crate::{Error, Result};

use balance::{Lines, Unbalanced, walk};
use letters::{Letter, Letters};

/// The examples that are kept of each kind of difference.
const EXAMPLES: usize = 3;

/// What one output folder holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Published events that came as records. Inferred ones are among them where their mark was
    /// left out.
    pub observed: u64,
    /// Published events that carry the mark of the inferred.
    pub reconstructed: u64,
    /// Dead letters that stand, by reason; no reason with none.
    pub dead: BTreeMap<Reason, u64>,
}

/// A way in which something is published differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// An event is published no longer; it is set aside for this reason, where it is.
    NoLongerPublished(Option<Reason>),
    /// An event is published that was not; it was set aside for this reason, where it was.
    NewlyPublished(Option<Reason>),
    /// An event was inferred, and is no longer.
    NoLongerInferred,
    /// An event is inferred that was not.
    NewlyInferred,
    /// The event inferred for an id has other content.
    InferredOtherwise,
    /// A record is set aside for another reason: the old one, and the new one.
    SetAsideOtherwise(Reason, Reason),
    /// Of equal records another one is set aside, for the same reason.
    OtherCopySetAside(Reason),
    /// A letter stands no longer, and it is none of the above.
    NoLongerSetAside(Reason),
    /// A letter stands that did not, and it is none of the above.
    NewlySetAside(Reason),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::NoLongerPublished(None) => f.write_str("no longer published"),
            Change::NoLongerPublished(Some(now)) => write!(f, "no longer published, now {now}"),
            Change::NewlyPublished(None) => f.write_str("newly published"),
            Change::NewlyPublished(Some(was)) => write!(f, "newly published, was {was}"),
            Change::NoLongerInferred => f.write_str("no longer inferred"),
            Change::NewlyInferred => f.write_str("newly inferred"),
            Change::InferredOtherwise => f.write_str("inferred otherwise"),
            Change::SetAsideOtherwise(was, now) => write!(f, "set aside, was {was}, now {now}"),
            Change::OtherCopySetAside(reason) => write!(f, "another copy set aside as {reason}"),
            Change::NoLongerSetAside(was) => write!(f, "no longer set aside, was {was}"),
            Change::NewlySetAside(now) => write!(f, "newly set aside, now {now}"),
        }
    }
}

/// One difference: what the folders hold, where they hold something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// The event's line, or where a dead letter stands.
    pub old: Option<String>,
    /// As `old`, of the new folder.
    pub new: Option<String>,
}

/// The differences of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// How many there are.
    pub count: u64,
    /// The first few.
    pub examples: Vec<Example>,
}

/// What two output folders hold, and in what they differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What the old folder holds.
    pub old: Counts,
    /// What the new folder holds.
    pub new: Counts,
    /// The differences by kind; no kind with none.
    pub differences: BTreeMap<Change, Differences>,
}

impl Comparison {
    /// Whether both folders hold the same events and the same standing letters.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    fn add(&mut self, change: Change, old: Option<String>, new: Option<String>) {
        let differences = self.differences.entry(change).or_default();
        differences.count += 1;
        if differences.examples.len() < EXAMPLES {
            differences.examples.push(Example { old, new });
        }
    }
}

/// Compares `clean.jsonl` and `dead.jsonl` of two output folders whose events `spec` describes.
///
/// Letters are compared without their epoch and detail: those depend on how epochs were cut.
///
/// # Errors
/// `Usage` where a folder lacks one of the files or a line of `dead.jsonl` is no dead letter,
/// `Unavailable` where a file cannot be read.
pub fn compare(old: &Path, new: &Path, spec: &EventSpec) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    let events = compare_events(old, new, &mut comparison)?;
    let letters = compare_letters(old, new, &mut comparison)?;
    let (old_events, old_inferred) = split(events.old);
    let (new_events, new_inferred) = split(events.new);

    // First the records that were set aside before and after: what is left of the letters is about
    // records that were published on the other side.
    let (old_letters, new_letters) = pair_letters(letters, &mut comparison);
    let mut decoder = Decoder::new(spec.clone());
    let mut now = ByEvent::new(new_letters, &mut decoder, spec);
    let mut was = ByEvent::new(old_letters, &mut decoder, spec);
    for line in old_events {
        let letter = now.take(&line);
        let reason = letter.as_ref().map(|letter| letter.reason);
        let place = letter.map(|letter| letter.describe());
        comparison.add(Change::NoLongerPublished(reason), Some(text(&line)), place);
    }
    for line in new_events {
        let letter = was.take(&line);
        let reason = letter.as_ref().map(|letter| letter.reason);
        let place = letter.map(|letter| letter.describe());
        comparison.add(Change::NewlyPublished(reason), place, Some(text(&line)));
    }
    pair_inferred(old_inferred, new_inferred, spec, &mut comparison);
    pair_copies(was.rest(), now.rest(), &mut comparison);
    Ok(comparison)
}

/// Counts the published events and gives those that only one side has.
fn compare_events(
    old: &Path,
    new: &Path,
    comparison: &mut Comparison,
) -> Result<Unbalanced<Vec<u8>>> {
    let count = |counts: &mut Counts, line: &[u8]| match is_reconstructed(line) {
        true => counts.reconstructed += 1,
        false => counts.observed += 1,
    };
    walk(
        Lines::open(&old.join("clean.jsonl"))?,
        Lines::open(&new.join("clean.jsonl"))?,
        |line| count(&mut comparison.old, line),
        |line| count(&mut comparison.new, line),
    )
}

/// Counts the standing letters and gives those that only one side has.
fn compare_letters(
    old: &Path,
    new: &Path,
    comparison: &mut Comparison,
) -> Result<Unbalanced<Letter>> {
    let count = |counts: &mut Counts, letter: &Letter| {
        *counts.dead.entry(letter.reason).or_default() += 1;
    };
    walk(
        Letters::open(&old.join("dead.jsonl"))?,
        Letters::open(&new.join("dead.jsonl"))?,
        |letter| count(&mut comparison.old, letter),
        |letter| count(&mut comparison.new, letter),
    )
}

/// Takes out the letters about one place that have another reason on each side.
fn pair_letters(
    letters: Unbalanced<Letter>,
    comparison: &mut Comparison,
) -> (Vec<Letter>, Vec<Letter>) {
    let mut by_place: HashMap<Box<str>, VecDeque<Letter>, foldhash::fast::RandomState> =
        HashMap::default();
    let mut order = Vec::new();
    for letter in letters.new {
        order.push(letter.place.clone());
        let place = by_place.entry(letter.place.clone()).or_default();
        place.push_back(letter);
    }
    let mut old_rest = Vec::new();
    for letter in letters.old {
        let others = by_place.get_mut(&letter.place);
        let is_other = |other: &Letter| other.reason != letter.reason;
        match others.and_then(|others| others.pop_front_if(|other| is_other(other))) {
            Some(other) => comparison.add(
                Change::SetAsideOtherwise(letter.reason, other.reason),
                Some(letter.describe_whole()),
                Some(other.describe_whole()),
            ),
            None => old_rest.push(letter),
        }
    }
    let new_rest = order
        .iter()
        .filter_map(|place| by_place.get_mut(place)?.pop_front());
    (old_rest, new_rest.collect())
}

/// Pairs the letters about equal records; what is left stands on one side alone.
fn pair_copies(
    old: impl Iterator<Item = Letter>,
    new: impl Iterator<Item = Letter>,
    comparison: &mut Comparison,
) {
    let mut new: Vec<Option<Letter>> = new.map(Some).collect();
    let mut by_record: HashMap<Letter, VecDeque<usize>, foldhash::fast::RandomState> =
        HashMap::default();
    for (nth, letter) in new.iter().enumerate() {
        if let Some(record) = letter.as_ref().and_then(Letter::without_place) {
            by_record.entry(record).or_default().push_back(nth);
        }
    }
    for letter in old {
        let others = letter.without_place();
        let nth = others.and_then(|record| by_record.get_mut(&record)?.pop_front());
        let (change, other) = match nth.and_then(|nth| new.get_mut(nth)?.take()) {
            Some(other) => (
                Change::OtherCopySetAside(letter.reason),
                Some(other.describe()),
            ),
            None => (Change::NoLongerSetAside(letter.reason), None),
        };
        comparison.add(change, Some(letter.describe_whole()), other);
    }
    for letter in new.into_iter().flatten() {
        let change = Change::NewlySetAside(letter.reason);
        comparison.add(change, None, Some(letter.describe_whole()));
    }
}

/// Pairs the inferred events of one stream and id whose content differs.
fn pair_inferred(
    old: Vec<Vec<u8>>,
    new: Vec<Vec<u8>>,
    spec: &EventSpec,
    comparison: &mut Comparison,
) {
    let mut by_name: HashMap<String, VecDeque<usize>, foldhash::fast::RandomState> =
        HashMap::default();
    for (nth, line) in new.iter().enumerate() {
        if let Some(name) = stream_and_id(line, spec) {
            by_name.entry(name).or_default().push_back(nth);
        }
    }
    let mut is_paired = vec![false; new.len()];
    for line in old {
        let name = stream_and_id(&line, spec);
        let other = name.and_then(|name| by_name.get_mut(&name)?.pop_front());
        match other {
            Some(nth) => {
                is_paired[nth] = true;
                let (old, new) = (text(&line), text(&new[nth]));
                comparison.add(Change::InferredOtherwise, Some(old), Some(new));
            }
            None => comparison.add(Change::NoLongerInferred, Some(text(&line)), None),
        }
    }
    for (line, is_paired) in new.iter().zip(is_paired) {
        if !is_paired {
            comparison.add(Change::NewlyInferred, None, Some(text(line)));
        }
    }
}

/// Letters, found by the line under which their events would be published.
struct ByEvent {
    letters: Vec<Option<Letter>>,
    index: HashMap<Vec<u8>, VecDeque<usize>, foldhash::fast::RandomState>,
}

impl ByEvent {
    fn new(letters: Vec<Letter>, decoder: &mut Decoder, spec: &EventSpec) -> Self {
        let mut index: HashMap<_, VecDeque<usize>, _> = HashMap::default();
        for (nth, letter) in letters.iter().enumerate() {
            let Some(event) = &letter.event else {
                continue;
            };
            // A letter has the record's own bytes; to publish it may add `valid`.
            let adds_valid = decoder
                .decode(event.as_bytes())
                .is_ok_and(|event| event.valid.is_none());
            let mut line = Vec::with_capacity(event.len());
            write_event(spec, event.as_bytes(), adds_valid, &mut line);
            index.entry(line).or_default().push_back(nth);
        }
        ByEvent {
            letters: letters.into_iter().map(Some).collect(),
            index,
        }
    }

    /// Takes out the first letter about the event that is published as `line`.
    fn take(&mut self, line: &[u8]) -> Option<Letter> {
        // JSON in a letter is read without the whitespace around it.
        let nth = self.index.get_mut(line.trim_ascii())?.pop_front()?;
        self.letters.get_mut(nth)?.take()
    }

    /// The letters that were not taken.
    fn rest(self) -> impl Iterator<Item = Letter> {
        self.letters.into_iter().flatten()
    }
}

/// The events that came as records, and the inferred ones.
fn split(lines: Vec<Vec<u8>>) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    lines.into_iter().partition(|line| !is_reconstructed(line))
}

/// Whether an event carries the mark of the inferred as a member of its own.
fn is_reconstructed(line: &[u8]) -> bool {
    // Few lines have the word at all, and only they need be read as JSON.
    if memmem::find(line, b"reconstructed").is_none() {
        return false;
    }
    let event: Option<Value> = serde_json::from_slice(line).ok();
    let origin = event
        .as_ref()
        .and_then(|event| event.pointer("/amend/origin"));
    origin.and_then(Value::as_str) == Some("reconstructed")
}

/// Which event of which stream an inferred event stands for.
fn stream_and_id(line: &[u8], spec: &EventSpec) -> Option<String> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let member = |path: &FieldPath| match path {
        FieldPath::Name(name) => event.get(name).cloned(),
        // Inferred events hold a pointer's tokens as names of members only.
        FieldPath::Pointer(tokens) => {
            let mut value = &event;
            for token in tokens {
                value = value.get(token)?;
            }
            Some(value.clone())
        }
    };
    let mut name = vec![member(&spec.id)?];
    // A stream's field is left out where its text is empty.
    name.extend(
        spec.stream
            .iter()
            .map(|path| member(path).unwrap_or_default()),
    );
    Some(Value::Array(name).to_string())
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).into_owned()
}

/// A file of an output folder that cannot be opened.
fn not_opened(path: &Path, error: std::io::Error) -> Error {
    Error::usage(format!("could not open \"{}\"", path.display()))
        .with_source(error)
        .with_hint("name the output folder of a run: it holds clean.jsonl and dead.jsonl")
}
