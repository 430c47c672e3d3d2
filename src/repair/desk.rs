//! One worker's desk: the records that it has read lie here until their verdicts are in, and
//! leave as lines.
//!
//! Records of the epoch at hand are written in the order of the input, from where they were read, as
//! long runs of bytes that exceptions interrupt. Records of earlier epochs whose verdict changes come
//! from the attic; what is to be said of them goes to one place as a [`Slip`], because their order
//! runs across workers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::lines::{Letter, Origin, Pages, Sink, Sources, letter_of, write_change};
use super::reading::Finding;
use super::report::Example;
use super::tally::Tally;
use crate::event::{EventSpec, Reason, write::write_event};
use crate::io::attic::Attic;
use crate::io::part::{Part, Place};
use crate::operators::{Label, Position, Verdict};
use crate::time::Epoch;
use crate::{Error, Result};

/// What is to be said of a record in the changelog or among the dead letters, where its place does
/// not follow from who read it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Slip {
    /// The sink, by number.
    pub sink: u8,
    /// Whether something is withdrawn.
    pub withdraws: bool,
    /// The record.
    pub position: Position,
    /// For the dead letters the line, for the changelog the event (or, where there is none, what
    /// is as good for telling events apart).
    pub content: Vec<u8>,
}

/// How a desk writes.
#[derive(Clone, Debug)]
pub struct Style {
    /// The events' fields.
    pub event: EventSpec,
    /// The names of the inputs.
    pub sources: Sources,
    /// Whether kept events go to `clean.jsonl` as they come; otherwise at the end.
    pub streamed: bool,
    /// Whether there is a changelog.
    pub changelog: bool,
}

/// Fewer bytes than this are copied, and then follow each other: the system takes long for many
/// short pieces.
const LEAST_PIECE: usize = 512;

/// Letters of one reason that a desk gives as examples: more than are shown, because some are
/// withdrawn.
const EXAMPLES: usize = 16;

/// A record in the attic.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Stored {
    place: Place,
    add_valid: bool,
    label: Label,
}

/// A part whose verdicts are not all in.
#[derive(Debug)]
struct InFlight {
    part: Part,
    findings: Vec<(u32, Finding)>,
}

/// One worker's desk.
#[derive(Debug)]
pub struct Desk {
    style: Style,
    in_flight: VecDeque<InFlight>,
    attic: Attic<Position, Stored>,
    /// The letters that were given as examples and stand, by reason.
    exemplified: BTreeMap<Reason, BTreeSet<Position>>,
    /// Whether the outputs hold the epoch at hand already.
    silent: bool,
    /// What became of every record, where that is asked for.
    fates: Option<Fates>,
}

/// What a desk has written for one epoch.
#[derive(Debug, Default)]
pub struct Written {
    /// The lines of this epoch's records.
    pub pages: Pages,
    /// The lines about earlier ones.
    pub slips: Vec<Slip>,
    /// What was counted.
    pub tally: Tally,
}

/// What leaves the run of plain records.
enum Exception<'a> {
    Fault(&'a crate::event::Fault),
    Rewrite {
        add_valid: bool,
    },
    Judged {
        label: Label,
        open: bool,
        add_valid: bool,
    },
}

impl Desk {
    /// An empty desk, whose attic will lie in `folder`.
    pub fn new(style: Style, folder: PathBuf) -> Self {
        Desk {
            style,
            in_flight: VecDeque::new(),
            attic: Attic::new(folder),
            exemplified: BTreeMap::new(),
            silent: false,
            fates: None,
        }
    }

    /// Lets the desk take down what becomes of every record.
    pub fn with_fates(mut self) -> Self {
        self.fates = Some(Fates::default());
        self
    }

    /// What became of every record, where that was asked for.
    pub fn take_fates(&mut self) -> Option<Fates> {
        self.fates.take()
    }

    /// Lays a part down, with what was found of its records.
    pub fn lay_down(&mut self, part: Part, findings: Vec<(u32, Finding)>) {
        self.in_flight.push_back(InFlight { part, findings });
    }

    /// Writes the part of `epoch`, all of whose verdicts, and those of this epoch about earlier
    /// records, are in `verdicts`.
    ///
    /// # Errors
    /// Where the attic fails.
    pub fn write(
        &mut self,
        epoch: Epoch,
        verdicts: &mut [Verdict],
        written: &mut Written,
    ) -> Result<()> {
        let InFlight { part, findings } = self
            .in_flight
            .pop_front()
            .filter(|in_flight| in_flight.part.epoch == epoch)
            .ok_or_else(|| Error::internal(format!("the part of epoch {epoch} is not at hand")))?;
        self.silent = part.silent;
        if let Some(fates) = &mut self.fates {
            fates.begin(epoch, part.from, part.len());
        }
        verdicts.sort_unstable();
        let earlier = verdicts.partition_point(|verdict| verdict.position.epoch < epoch);
        let (earlier, now) = verdicts.split_at(earlier);
        self.revise(epoch, earlier, written)?;
        written.tally.read += part.len() as u64;

        let mut plain_from = 0;
        let mut findings = findings.iter().peekable();
        let mut now = now.iter().filter(|verdict| verdict.diff > 0).peekable();
        loop {
            let found_at = findings.peek().map(|(index, _)| *index);
            let judged_at = now.peek().map(|verdict| verdict.position.index);
            let Some(index) = found_at.into_iter().chain(judged_at).min() else {
                break;
            };
            let finding = findings
                .next_if(|(at, _)| *at == index)
                .map(|(_, finding)| finding);
            let verdict = now.next_if(|verdict| verdict.position.index == index);
            let add_valid = matches!(finding, Some(Finding::Rewrite { add_valid: true }));
            let exception = match (finding, verdict) {
                (_, Some(verdict)) => Exception::Judged {
                    label: verdict.label,
                    open: verdict.open,
                    add_valid,
                },
                (Some(Finding::Fault(fault)), None) => Exception::Fault(fault),
                (_, None) => Exception::Rewrite { add_valid },
            };
            let index = index as usize;
            self.write_plain(&part, plain_from, index, written);
            self.write_exception(&part, index, &exception, written)?;
            plain_from = index + 1;
        }
        self.write_plain(&part, plain_from, part.len(), written);
        written.pages.keep(part);
        Ok(())
    }

    /// Writes records `from..to`, which are all kept as they are.
    fn write_plain(&self, part: &Part, from: usize, to: usize, written: &mut Written) {
        if self.silent {
            let count = (to - from) as u64;
            written.tally.clean_kept += count * u64::from(self.style.streamed);
            written.tally.published += count as i64 * i64::from(self.style.changelog);
            return;
        }
        if self.style.streamed {
            let mut at = from;
            while at < to {
                let (place, next) = part.lines(at, to);
                if next > at {
                    match place.len() < LEAST_PIECE {
                        true => written
                            .pages
                            .clean(|clean| clean.extend_from_slice(part.bytes(place))),
                        false => written.pages.records(place),
                    }
                    written.tally.clean_kept += (next - at) as u64;
                    at = next;
                } else {
                    written.pages.clean(|clean| {
                        clean.extend_from_slice(part.record(at).bytes);
                        clean.push(b'\n');
                    });
                    written.tally.clean_kept += 1;
                    at += 1;
                }
            }
        }
        if self.style.changelog {
            let changes = written.pages.of(Sink::Changes);
            for at in from..to {
                let event = part.record(at).bytes;
                write_change(part.epoch, 1, Origin::Observed, changes, |out| {
                    out.extend_from_slice(event);
                });
                written.tally.published += 1;
            }
        }
    }

    fn write_exception(
        &mut self,
        part: &Part,
        index: usize,
        exception: &Exception<'_>,
        written: &mut Written,
    ) -> Result<()> {
        let record = part.record(index);
        if let (Some(fates), Exception::Judged { label, .. }) = (&mut self.fates, exception) {
            fates.set(part.epoch, index, *label);
        }
        match *exception {
            Exception::Fault(fault) => {
                self.write_letter(part, index, fault.reason, &fault.detail, written);
            }
            Exception::Rewrite { add_valid } => self.write_kept(part, index, add_valid, written),
            Exception::Judged {
                label,
                open,
                add_valid,
            } => {
                if let Some((reason, detail)) = letter_of(label) {
                    self.write_letter(part, index, reason, detail, written);
                } else if open {
                    let position = self.position(part, index);
                    written
                        .slips
                        .push(self.event_slip(position, false, record.bytes, add_valid));
                } else {
                    self.write_kept(part, index, add_valid, written);
                }
                if open {
                    let stored = Stored {
                        place: part.place(index),
                        add_valid,
                        label,
                    };
                    let position = self.position(part, index);
                    self.attic.keep(position, record.bytes, stored)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the dead letter of a record of the epoch at hand.
    fn write_letter(
        &mut self,
        part: &Part,
        index: usize,
        reason: Reason,
        detail: &str,
        written: &mut Written,
    ) {
        let record = part.record(index);
        let letter = Letter {
            reason,
            detail,
            epoch: part.epoch,
            place: part.place(index),
        };
        if !self.silent {
            let dead = written.pages.of(Sink::Dead);
            letter.write(&self.style.sources, record.bytes, record.oversize, dead);
        }
        let position = self.position(part, index);
        self.count_letter(&letter, position, record.bytes, &mut written.tally);
    }

    /// Writes a kept event whose bytes may not be the record's.
    fn write_kept(&self, part: &Part, index: usize, add_valid: bool, written: &mut Written) {
        if self.silent {
            self.write_plain(part, index, index + 1, written);
            return;
        }
        let event = part.record(index).bytes;
        if self.style.streamed {
            written.pages.clean(|clean| {
                write_event(&self.style.event, event, add_valid, clean);
                clean.push(b'\n');
            });
            written.tally.clean_kept += 1;
        }
        if self.style.changelog {
            let changes = written.pages.of(Sink::Changes);
            write_change(part.epoch, 1, Origin::Observed, changes, |out| {
                write_event(&self.style.event, event, add_valid, out);
            });
            written.tally.published += 1;
        }
    }

    /// Takes note of what became of records of earlier epochs; `verdicts` are sorted by record.
    fn revise(&mut self, epoch: Epoch, verdicts: &[Verdict], written: &mut Written) -> Result<()> {
        let mut record = Vec::new();
        for about in verdicts.chunk_by(|a, b| a.position == b.position) {
            let position = about[0].position;
            let said = about
                .iter()
                .find(|verdict| verdict.diff > 0)
                .ok_or_else(|| {
                    Error::internal(format!("{position:?} is no longer said to be anything"))
                })?;
            let Some(kept) = self.attic.get_mut(&position) else {
                return Err(Error::internal(format!("{position:?} is not in the attic")));
            };
            let before = std::mem::replace(&mut kept.value.label, said.label);
            if let Some(fates) = &mut self.fates {
                fates.set(position.epoch, position.index as usize, said.label);
            }
            if before != said.label {
                let kept = kept.clone();
                self.attic.read(&kept, &mut record)?;
                self.restate(epoch, position, &kept.value, before, &record, written);
            }
            if !said.open {
                self.settle(position, before, written, &mut record)?;
                self.attic.forget(&position);
            }
        }
        Ok(())
    }

    /// Publishes an earlier record that can no longer change, where only that is published.
    fn settle(
        &self,
        position: Position,
        before: Label,
        written: &mut Written,
        record: &mut Vec<u8>,
    ) -> Result<()> {
        let settled = self.attic.get(&position).filter(|kept| {
            !self.style.streamed && before == Label::Kept && kept.value.label == Label::Kept
        });
        let Some(kept) = settled else { return Ok(()) };
        self.attic.read(kept, record)?;
        let mut content = Vec::new();
        write_event(
            &self.style.event,
            record,
            kept.value.add_valid,
            &mut content,
        );
        content.push(b'\n');
        written.slips.push(Slip {
            sink: Sink::Clean as u8,
            withdraws: false,
            position,
            content,
        });
        Ok(())
    }

    /// Withdraws what was said of an earlier record, and says what is true now.
    fn restate(
        &mut self,
        epoch: Epoch,
        position: Position,
        stored: &Stored,
        before: Label,
        record: &[u8],
        written: &mut Written,
    ) {
        let place = stored.place;
        for (label, withdraws) in [(before, true), (stored.label, false)] {
            let Some((reason, detail)) = letter_of(label) else {
                let slip = self.event_slip(position, withdraws, record, stored.add_valid);
                written.slips.push(slip);
                continue;
            };
            let letter = Letter {
                reason,
                detail,
                epoch,
                place,
            };
            let mut content = Vec::new();
            if withdraws {
                letter.write_withdrawal(&self.style.sources, &mut content);
                self.count_withdrawal(reason, position, &mut written.tally);
            } else {
                letter.write(&self.style.sources, record, None, &mut content);
                self.count_letter(&letter, position, record, &mut written.tally);
            }
            written.slips.push(Slip {
                sink: Sink::Dead as u8,
                withdraws,
                position,
                content,
            });
        }
    }

    /// The slip of a kept event that is published or withdrawn: one whose seat may move, so that
    /// it may come and go in one epoch, and then nothing is to be said.
    fn event_slip(
        &self,
        position: Position,
        withdraws: bool,
        record: &[u8],
        add_valid: bool,
    ) -> Slip {
        let mut content = Vec::new();
        write_event(&self.style.event, record, add_valid, &mut content);
        if !self.style.changelog {
            content = xxhash_rust::xxh3::xxh3_128(&content).to_le_bytes().to_vec();
        }
        Slip {
            sink: Sink::Changes as u8,
            withdraws,
            position,
            content,
        }
    }

    /// The kept events in the attic, as lines of `clean.jsonl` by epoch: what is published only
    /// once it can no longer change.
    ///
    /// # Errors
    /// Where the attic fails.
    pub fn closing_lengths(&self) -> Result<BTreeMap<Epoch, u64>> {
        let mut lengths = BTreeMap::new();
        self.for_each_kept(|epoch, line| {
            *lengths.entry(epoch).or_default() += line.len() as u64;
            Ok(())
        })?;
        Ok(lengths)
    }

    /// Calls `each` with the line of every kept event in the attic, in the order of the input.
    ///
    /// # Errors
    /// Where the attic or `each` fails.
    pub fn for_each_kept(&self, mut each: impl FnMut(Epoch, &[u8]) -> Result<()>) -> Result<()> {
        let mut line = Vec::new();
        self.attic.for_each(
            |stored| stored.label == Label::Kept,
            |position, stored, record| {
                line.clear();
                write_event(&self.style.event, record, stored.add_valid, &mut line);
                line.push(b'\n');
                each(position.epoch, &line)
            },
        )
    }

    /// What lies on the desk, but for parts that wait.
    ///
    /// # Errors
    /// Where the attic fails.
    pub fn snapshot(&self) -> Result<DeskBase> {
        let mut records = Vec::new();
        self.attic.for_each(
            |_| true,
            |position, stored, record| {
                records.push((*position, *stored, record.to_vec()));
                Ok(())
            },
        )?;
        Ok(DeskBase {
            records,
            exemplified: self.exemplified.clone(),
        })
    }

    /// Takes up the records of the readers that are `mine`.
    ///
    /// # Errors
    /// Where the attic fails.
    pub fn restore(&mut self, base: &DeskBase, mine: impl Fn(u32) -> bool) -> Result<()> {
        for (position, stored, record) in &base.records {
            if mine(position.reader) {
                self.attic.keep(*position, record, *stored)?;
            }
        }
        for (reason, letters) in &base.exemplified {
            let letters = letters.iter().filter(|letter| mine(letter.reader));
            self.exemplified.entry(*reason).or_default().extend(letters);
        }
        Ok(())
    }

    /// The number of kept events in the attic.
    pub fn kept_in_attic(&self) -> u64 {
        self.attic
            .iter()
            .filter(|(_, kept)| kept.value.label == Label::Kept)
            .count() as u64
    }

    /// Counts a letter that is written, and gives it as an example if there are few.
    fn count_letter(
        &mut self,
        letter: &Letter<'_>,
        position: Position,
        record: &[u8],
        tally: &mut Tally,
    ) {
        tally.letter(letter.reason, 1);
        let given = self.exemplified.entry(letter.reason).or_default();
        if given.len() < EXAMPLES {
            given.insert(position);
            let sample = Example {
                place: self.style.sources.describe(letter.place),
                detail: letter.detail.to_owned(),
                excerpt: excerpt(record),
            };
            tally.examples.insert((letter.reason, position), sample);
        }
    }

    /// Counts a letter that is withdrawn.
    fn count_withdrawal(&mut self, reason: Reason, position: Position, tally: &mut Tally) {
        tally.letter(reason, -1);
        if self
            .exemplified
            .get_mut(&reason)
            .is_some_and(|given| given.remove(&position))
        {
            tally.withdrawn.push((reason, position));
        }
    }

    fn position(&self, part: &Part, index: usize) -> Position {
        Position {
            epoch: part.epoch,
            reader: part.worker as u32,
            index: index as u32,
        }
    }
}

/// The records that lie in the attic, with their bytes, and which letters are examples.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DeskBase {
    records: Vec<(Position, Stored, Vec<u8>)>,
    exemplified: BTreeMap<Reason, BTreeSet<Position>>,
}

/// What became of every record that a worker has read: a label each, by epoch.
///
/// A record that is no well-formed event counts as kept: that it is none never changes.
#[derive(Clone, Debug, Default)]
pub struct Fates {
    /// By epoch and the place of the first record among those of the epoch.
    pub parts: BTreeMap<(Epoch, usize), Vec<Label>>,
    starts: BTreeMap<Epoch, usize>,
}

impl Fates {
    fn begin(&mut self, epoch: Epoch, from: usize, records: usize) {
        self.starts.insert(epoch, from);
        self.parts.insert((epoch, from), vec![Label::Kept; records]);
    }

    fn set(&mut self, epoch: Epoch, index: usize, label: Label) {
        let from = self.starts.get(&epoch).copied().unwrap_or_default();
        if let Some(labels) = self.parts.get_mut(&(epoch, from)) {
            labels[index] = label;
        }
    }
}

/// The beginning of a record as one line of text.
fn excerpt(record: &[u8]) -> String {
    const MOST_CHARS: usize = 120;
    let text = String::from_utf8_lossy(&record[..record.len().min(4 * MOST_CHARS)]);
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(MOST_CHARS)
        .collect()
}
