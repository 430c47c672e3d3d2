//! The lines of the output files, one JSON object each, and the pages that collect them.

use std::io::IoSlice;
use std::ops::Range;

use crate::event::Reason;
use crate::event::write::{write_json_string, write_letter_body};
use crate::io::part::{Part, Place};
use crate::operators::Label;
use crate::time::Epoch;

/// The output files that hold lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// `clean.jsonl`
    Clean,
    /// `changes.jsonl`
    Changes,
    /// `dead.jsonl`
    Dead,
    /// `gaps.jsonl`
    Gaps,
}

impl Sink {
    /// All of them, in the order of their numbers.
    pub const ALL: [Sink; 4] = [Sink::Clean, Sink::Changes, Sink::Dead, Sink::Gaps];

    /// The name of the file in the output folder.
    pub fn file_name(self) -> &'static str {
        match self {
            Sink::Clean => "clean.jsonl",
            Sink::Changes => "changes.jsonl",
            Sink::Dead => "dead.jsonl",
            Sink::Gaps => "gaps.jsonl",
        }
    }
}

/// Lines for every sink, as one worker has written them for one epoch.
///
/// Clean lines are nearly all of the bytes, and nearly all of them are records as they are: those
/// stay where they were read, and only where they lie is noted.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// The bytes, by number of sink.
    pub bytes: [Vec<u8>; 4],
    /// What the clean lines consist of, where some of them lie in `part`.
    runs: Vec<Run>,
    /// The records.
    part: Option<Part>,
}

/// Some of the clean lines, one after the other.
#[derive(Clone, Debug)]
struct Run {
    /// Whether they lie among the records; otherwise among the bytes of the sink.
    as_read: bool,
    place: Range<usize>,
}

impl Pages {
    /// The lines for `sink`; clean ones are not to be mixed with [`records`](Self::records).
    pub fn of(&mut self, sink: Sink) -> &mut Vec<u8> {
        &mut self.bytes[sink as usize]
    }

    /// Lets clean lines follow that lie at `place` in the part that [`keep`](Self::keep) is given.
    pub fn records(&mut self, place: Range<usize>) {
        self.run(true, place);
    }

    /// Lets clean lines follow that `write` appends.
    pub fn clean(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let clean = self.of(Sink::Clean);
        let start = clean.len();
        write(clean);
        let place = start..clean.len();
        self.run(false, place);
    }

    fn run(&mut self, as_read: bool, place: Range<usize>) {
        match self.runs.last_mut() {
            Some(last) if last.as_read == as_read && last.place.end == place.start => {
                last.place.end = place.end;
            }
            _ => self.runs.push(Run { as_read, place }),
        }
    }

    /// Keeps the part that clean lines lie in until they are written.
    pub fn keep(&mut self, part: Part) {
        self.part = Some(part);
    }

    /// The lines for `sink`, piece by piece.
    pub fn pieces(&self, sink: Sink) -> Vec<IoSlice<'_>> {
        let bytes = &self.bytes[sink as usize];
        if sink != Sink::Clean || self.runs.is_empty() {
            return vec![IoSlice::new(bytes)];
        }
        let piece = |run: &Run| {
            let place = run.place.clone();
            Some(IoSlice::new(match run.as_read {
                true => self.part.as_ref()?.bytes(place),
                false => &bytes[place],
            }))
        };
        self.runs.iter().filter_map(piece).collect()
    }

    /// Lets go of the lines, and keeps the memory; returns what was kept.
    pub fn clear(&mut self) -> Option<Part> {
        self.bytes.iter_mut().for_each(Vec::clear);
        self.runs.clear();
        self.part.take()
    }

    /// The length of each sink's lines.
    pub fn sizes(&self) -> [u64; 4] {
        let mut sizes = self.bytes.each_ref().map(|bytes| bytes.len() as u64);
        if !self.runs.is_empty() {
            let runs = self.runs.iter();
            sizes[Sink::Clean as usize] = runs.map(|run| run.place.len() as u64).sum();
        }
        sizes
    }
}

/// Where events of a changelog come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A record.
    Observed,
    /// An inference.
    Reconstructed,
}

/// Appends a line of the changelog; `event` appends the event.
pub fn write_change(
    epoch: Epoch,
    diff: i8,
    origin: Origin,
    out: &mut Vec<u8>,
    event: impl FnOnce(&mut Vec<u8>),
) {
    out.extend_from_slice(b"{\"epoch\":");
    write_number(epoch, out);
    out.extend_from_slice(match (diff > 0, origin) {
        (true, Origin::Observed) => b",\"op\":\"insert\",\"origin\":\"observed\",\"event\":",
        (true, Origin::Reconstructed) => {
            &b",\"op\":\"insert\",\"origin\":\"reconstructed\",\"event\":"[..]
        }
        (false, Origin::Observed) => b",\"op\":\"retract\",\"origin\":\"observed\",\"event\":",
        (false, Origin::Reconstructed) => {
            b",\"op\":\"retract\",\"origin\":\"reconstructed\",\"event\":"
        }
    });
    event(out);
    out.extend_from_slice(b"}\n");
}

/// How dead letters name the source of a record.
#[derive(Clone, Debug)]
pub struct Sources {
    labels: Vec<String>,
    /// The beginning of each input's `source` member.
    heads: Vec<Vec<u8>>,
}

impl Sources {
    /// The inputs of the source called `name`, in their order.
    pub fn new(name: &str, labels: Vec<String>) -> Self {
        let heads = labels.iter().map(|label| {
            let mut head = b"\"source\":{\"name\":".to_vec();
            write_json_string(name, &mut head);
            head.extend_from_slice(b",\"partition\":");
            write_json_string(label, &mut head);
            head.extend_from_slice(b",\"offset\":");
            head
        });
        Sources {
            heads: heads.collect(),
            labels,
        }
    }

    /// `path:line`, for a person.
    pub fn describe(&self, place: Place) -> String {
        let label = self
            .labels
            .get(place.partition as usize)
            .map_or("", String::as_str);
        format!("{label}:{}", place.line)
    }

    fn write(&self, place: Place, out: &mut Vec<u8>) {
        match self.heads.get(place.partition as usize) {
            Some(head) => out.extend_from_slice(head),
            None => out.extend_from_slice(b"\"source\":{\"offset\":"),
        }
        write_number(place.offset, out);
        out.extend_from_slice(b",\"line\":");
        write_number(place.line, out);
        out.push(b'}');
    }
}

/// A dead letter about a record.
#[derive(Clone, Copy, Debug)]
pub struct Letter<'a> {
    /// Why.
    pub reason: Reason,
    /// What was found.
    pub detail: &'a str,
    /// The epoch in which it is written or withdrawn.
    pub epoch: Epoch,
    /// Where the record stands.
    pub place: Place,
}

impl Letter<'_> {
    /// Appends the letter's line.
    pub fn write(&self, from: &Sources, record: &[u8], length: Option<u64>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"reason\":\"");
        out.extend_from_slice(self.reason.as_str().as_bytes());
        out.extend_from_slice(b"\",\"detail\":");
        write_json_string(self.detail, out);
        out.extend_from_slice(b",\"epoch\":");
        write_number(self.epoch, out);
        out.push(b',');
        from.write(self.place, out);
        out.push(b',');
        write_letter_body(record, self.reason, length, out);
        out.extend_from_slice(b"}\n");
    }

    /// Appends the line that withdraws the letter.
    pub fn write_withdrawal(&self, from: &Sources, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"op\":\"retract\",\"reason\":\"");
        out.extend_from_slice(self.reason.as_str().as_bytes());
        out.extend_from_slice(b"\",\"epoch\":");
        write_number(self.epoch, out);
        out.push(b',');
        from.write(self.place, out);
        out.extend_from_slice(b"}\n");
    }
}

/// Appends a dead letter about the gaps of a stream, or the line that withdraws it; `ids` are the
/// first and the last missing id, where the letter is about one gap.
pub fn write_gap_letter(
    reason: Reason,
    epoch: Epoch,
    diff: i8,
    stream: &StreamName<'_>,
    ids: Option<(i64, i64)>,
    out: &mut Vec<u8>,
) {
    out.push(b'{');
    if diff < 0 {
        out.extend_from_slice(b"\"op\":\"retract\",");
    }
    out.extend_from_slice(b"\"reason\":\"");
    out.extend_from_slice(reason.as_str().as_bytes());
    out.extend_from_slice(b"\",\"stream\":");
    stream.write(out);
    if let Some((from, to)) = ids {
        write_ids(from, to, out);
    }
    out.extend_from_slice(b",\"epoch\":");
    write_number(epoch, out);
    out.extend_from_slice(b"}\n");
}

/// Appends a line of `gaps.jsonl`.
pub fn write_gap(
    epoch: Epoch,
    diff: i8,
    stream: &StreamName<'_>,
    (from, to): (i64, i64),
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"{\"epoch\":");
    write_number(epoch, out);
    out.extend_from_slice(if diff > 0 {
        b",\"op\":\"open\",\"stream\":"
    } else {
        &b",\"op\":\"close\",\"stream\":"[..]
    });
    stream.write(out);
    write_ids(from, to, out);
    out.extend_from_slice(b"}\n");
}

/// The name of a stream as the decoder gives it: a text, or for a list of fields a JSON array.
#[derive(Clone, Copy, Debug)]
pub struct StreamName<'a> {
    /// The name.
    pub name: &'a str,
    /// Whether it is a JSON array.
    pub is_list: bool,
}

impl StreamName<'_> {
    /// The texts that make up the name: what streams are put in order by.
    pub fn parts(&self) -> Vec<String> {
        let texts = self
            .is_list
            .then(|| serde_json::from_str(self.name).ok())
            .flatten();
        texts.unwrap_or_else(|| vec![self.name.to_owned()])
    }

    fn write(&self, out: &mut Vec<u8>) {
        if self.is_list {
            out.extend_from_slice(self.name.as_bytes());
        } else {
            write_json_string(self.name, out);
        }
    }
}

/// Appends the first and the last id of a gap.
fn write_ids(from: i64, to: i64, out: &mut Vec<u8>) {
    for (field, id) in [(&b",\"from\":"[..], from), (b",\"to\":", to)] {
        out.extend_from_slice(field);
        if id < 0 {
            out.push(b'-');
        }
        write_number(id.unsigned_abs(), out);
    }
}

/// Appends a number in decimal.
fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The reason and the detail of the dead letter of a copy, if it gets one.
pub fn letter_of(label: Label) -> Option<(Reason, &'static str)> {
    match label {
        Label::Kept => None,
        Label::Duplicate => Some((Reason::Duplicate, "same bytes as the copy that was kept")),
        Label::Conflict => Some((Reason::Conflict, "a copy with other bytes was kept")),
        Label::Invalid => Some((Reason::Invalid, "the event says that it is not valid")),
        Label::Late => Some((
            Reason::Late,
            "behind the horizon, and its id among those that are forgotten",
        )),
        Label::OutOfSequence => Some((
            Reason::OutOfSequence,
            "its id was forgotten, but it is not late: a producer that started over?",
        )),
    }
}
