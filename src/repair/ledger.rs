//! What runs across workers, written in one place: withdrawals, reconstructed events, gaps.
//!
//! Within an epoch each file has withdrawals first, then what workers wrote of their records in
//! the order of the input, then what speaks of gaps by stream and id. The first and the last of
//! these are written here, the head and the tail of the epoch.

use std::collections::{BTreeMap, HashMap};

use super::desk::Slip;
use super::fill::{Finals, GapChange, Guess, Note};
use super::lines::{Origin, Pages, Sink, StreamName, write_change, write_gap, write_gap_letter};
use super::report::Example;
use super::spec::{Dataflow, Keep};
use super::tally::Tally;
use crate::event::{Reason, write::ReconstructedWriter};
use crate::operators::Position;
use crate::time::Epoch;

/// How the ledger writes.
#[derive(Clone, Debug)]
pub struct Style {
    /// Reconstructed events of `changes.jsonl`, where there is one.
    pub changes: Option<ReconstructedWriter>,
    /// Reconstructed events of `clean.jsonl`.
    pub clean: ReconstructedWriter,
    /// Whether kept events go to `clean.jsonl` as they come.
    pub streamed: bool,
    /// Whether streams are named by lists of fields.
    pub stream_is_list: bool,
    /// Whether several sequences of one name may miss the same ids.
    pub restarts: bool,
}

impl Style {
    /// How the outputs of `dataflow` are written.
    pub fn of(dataflow: &Dataflow) -> Self {
        let writer = |annotate| ReconstructedWriter::new(&dataflow.event, annotate);
        Style {
            changes: dataflow.sinks.changes.map(|sink| writer(sink.annotate)),
            clean: writer(dataflow.sinks.clean.annotate),
            streamed: dataflow.keep == Keep::First,
            stream_is_list: dataflow.event.stream_is_list,
            // Under any horizon: a stream that was forgotten whole may come back.
            restarts: dataflow.horizon.is_some(),
        }
    }

    fn name<'a>(&self, stream: &'a str) -> StreamName<'a> {
        StreamName {
            name: stream,
            is_list: self.stream_is_list,
        }
    }
}

impl Style {
    /// What puts notes about events with one id in order, where there may be several.
    fn text_of(&self, note: &Note) -> Option<(i64, Vec<u8>)> {
        let (stream, id, r#type, time) = match note {
            _ if !self.restarts => return None,
            Note::Guess(guess, _) | Note::Settled(guess) => {
                (&guess.stream, guess.from, &guess.r#type, guess.time)
            }
            Note::Final(finals) => {
                let (from, _, time) = finals.gaps.first()?;
                (&finals.stream, *from, &finals.r#type, *time)
            }
            _ => return None,
        };
        let mut text = Vec::new();
        self.clean.write(stream, id, r#type, time, &mut text);
        Some((id, text))
    }
}

/// The head and the tail of one epoch.
#[derive(Debug, Default)]
pub struct Entry {
    /// What comes before the lines of the epoch's records.
    pub head: Pages,
    /// What comes after.
    pub tail: Pages,
    /// What comes at the very end of `clean.jsonl`, not spelled out because it may be much.
    pub finals: Vec<Finals>,
    /// What stands, where that was asked.
    pub standing: Vec<Note>,
    /// How many reconstructed events the head withdraws.
    pub withdrawn: u64,
    /// What was counted.
    pub tally: Tally,
}

/// Writes the head and the tail of `epoch` from what all workers sent.
pub fn write_entry(style: &Style, epoch: Epoch, slips: &mut [Slip], mut notes: Vec<Note>) -> Entry {
    let mut entry = Entry::default();
    slips.sort_unstable();
    if style.restarts {
        spell_out(&mut notes);
    }
    if style.stream_is_list || style.restarts {
        let parts = |note: &Note| style.name(note.stream().unwrap_or_default()).parts();
        notes.sort_by_cached_key(|note| (parts(note), style.text_of(note), note.clone()));
    } else {
        // Those of each worker are in order, and a stable sort makes use of that.
        notes.sort_by(Note::by_stream);
    }
    let (head, tail) = (&mut entry.head, &mut entry.tail);

    let slips_for = |sink: Sink, withdraws: bool| {
        slips
            .iter()
            .filter(move |slip| slip.sink == sink as u8 && slip.withdraws == withdraws)
    };
    let (withdrawn, published) = net(
        slips_for(Sink::Changes, true),
        slips_for(Sink::Changes, false),
    );
    entry.tally.retractions += withdrawn.len() as u64;
    if style.changes.is_some() {
        write_events(epoch, -1, &withdrawn, head.of(Sink::Changes));
        entry.tally.published += published.len() as i64 - withdrawn.len() as i64;
    }
    for slip in slips_for(Sink::Dead, true) {
        head.of(Sink::Dead).extend_from_slice(&slip.content);
    }
    // Where kept events wait to be final, those that wait on come last of all.
    let settled = if style.streamed {
        &mut *tail
    } else {
        &mut *head
    };
    let mut settled = std::mem::take(settled.of(Sink::Clean));
    for slip in slips_for(Sink::Clean, false) {
        settled.extend_from_slice(&slip.content);
        entry.tally.clean_kept += 1;
    }

    for note in notes {
        match note {
            Note::Guess(guess, diff) => {
                if diff < 0 {
                    entry.withdrawn += guess.count();
                }
                let page = if diff < 0 { &mut *head } else { &mut *tail };
                if let Some(writer) = &style.changes {
                    write_guess(epoch, &guess, diff, writer, page.of(Sink::Changes));
                    entry.tally.published += i64::from(diff) * guess.count() as i64;
                }
            }
            Note::Letter {
                reason,
                stream,
                from,
                to,
                diff,
            } => {
                let name = style.name(&stream);
                let ids = (reason == Reason::GapTooWide).then_some((from, to));
                let page = if diff < 0 { &mut *head } else { &mut *tail };
                write_gap_letter(reason, epoch, diff, &name, ids, page.of(Sink::Dead));
                entry.tally.letter(reason, i64::from(diff));
                let sample = gap_sample(&stream, ids);
                if diff > 0 {
                    // One example a reason and epoch is enough.
                    let position = Position {
                        epoch,
                        ..Position::default()
                    };
                    entry
                        .tally
                        .examples
                        .entry((reason, position))
                        .or_insert(sample);
                } else {
                    entry.tally.withdrawn_about_gaps.push((reason, sample));
                }
            }
            Note::Gaps { stream, changes } => {
                let name = style.name(&stream);
                for GapChange { from, to, diff } in changes {
                    // Closings come before openings.
                    let page = if diff < 0 { &mut *head } else { &mut *tail };
                    write_gap(epoch, diff, &name, (from, to), page.of(Sink::Gaps));
                }
            }
            Note::Settled(guess) => {
                for id in guess.from..=guess.to {
                    let Guess {
                        stream,
                        r#type,
                        time,
                        ..
                    } = &guess;
                    style.clean.write(stream, id, r#type, *time, &mut settled);
                    settled.push(b'\n');
                }
                entry.tally.clean_reconstructed += guess.count();
            }
            Note::Final(finals) => entry.finals.push(finals),
            Note::Stands(note) => entry.standing.push(*note),
            Note::Tally(tally) => {
                entry.tally.reconstructed += tally.reconstructed;
                entry.tally.retractions += tally.retracted;
                entry.tally.filled += tally.filled;
                entry.tally.gaps_open += tally.open;
                entry.tally.gaps_missing += tally.missing;
            }
        }
    }

    *if style.streamed {
        &mut *tail
    } else {
        &mut *head
    }
    .of(Sink::Clean) = settled;

    // What is now said of earlier records comes before what is said of this epoch's.
    if style.changes.is_some() {
        write_events(epoch, 1, &published, head.of(Sink::Changes));
    }
    for slip in slips_for(Sink::Dead, false) {
        head.of(Sink::Dead).extend_from_slice(&slip.content);
    }
    entry
}

/// Makes every note about inferred events one about a single id, and every one about gaps one about
/// a single gap; leaves out what one sequence withdraws and another publishes.
fn spell_out(notes: &mut Vec<Note>) {
    let mut changes: BTreeMap<Guess, i64> = BTreeMap::new();
    let mut rest = Vec::new();
    let single = |guess: &Guess, id| Guess {
        from: id,
        to: id,
        ..guess.clone()
    };
    for note in notes.drain(..) {
        match note {
            Note::Guess(guess, diff) => {
                for id in guess.from..=guess.to {
                    *changes.entry(single(&guess, id)).or_default() += i64::from(diff);
                }
            }
            Note::Settled(guess) => {
                rest.extend((guess.from..=guess.to).map(|id| Note::Settled(single(&guess, id))));
            }
            Note::Final(finals) => {
                let single = |id, time| Finals {
                    stream: finals.stream.clone(),
                    gaps: vec![(id, id, time)],
                    r#type: finals.r#type.clone(),
                };
                for &(from, to, time) in &finals.gaps {
                    rest.extend((from..=to).map(|id| Note::Final(single(id, time))));
                }
            }
            Note::Gaps { stream, changes } => {
                rest.extend(changes.into_iter().map(|change| Note::Gaps {
                    stream: stream.clone(),
                    changes: vec![change],
                }));
            }
            note => rest.push(note),
        }
    }
    for (guess, count) in changes {
        let diff = if count < 0 { -1 } else { 1 };
        let times = usize::try_from(count.unsigned_abs()).unwrap_or_default();
        rest.extend(std::iter::repeat_n(Note::Guess(guess, diff), times));
    }
    *notes = rest;
}

/// Appends the changelog's lines of kept events.
fn write_events(epoch: Epoch, diff: i8, events: &[&Slip], out: &mut Vec<u8>) {
    for slip in events {
        write_change(epoch, diff, Origin::Observed, out, |out| {
            out.extend_from_slice(&slip.content);
        });
    }
}

/// Leaves out what is withdrawn and published alike.
fn net<'a>(
    withdrawn: impl Iterator<Item = &'a Slip>,
    published: impl Iterator<Item = &'a Slip>,
) -> (Vec<&'a Slip>, Vec<&'a Slip>) {
    let mut gone: HashMap<&[u8], Vec<&Slip>> = HashMap::new();
    for slip in withdrawn {
        gone.entry(&slip.content).or_default().push(slip);
    }
    let come = published
        .filter(|slip| gone.get_mut(&slip.content[..]).and_then(Vec::pop).is_none())
        .collect();
    let mut gone: Vec<&Slip> = gone.into_values().flatten().collect();
    gone.sort_unstable();
    (gone, come)
}

/// Appends the changelog's lines of reconstructed events.
fn write_guess(
    epoch: Epoch,
    guess: &Guess,
    diff: i8,
    writer: &ReconstructedWriter,
    out: &mut Vec<u8>,
) {
    for id in guess.from..=guess.to {
        write_change(epoch, diff, Origin::Reconstructed, out, |out| {
            writer.write(&guess.stream, id, &guess.r#type, guess.time, out);
        });
    }
}

/// A dead letter about gaps, as a report shows it.
fn gap_sample(stream: &str, ids: Option<(i64, i64)>) -> Example {
    let place = if stream.is_empty() {
        String::new()
    } else {
        format!("stream {stream}")
    };
    let detail = match ids {
        Some((from, to)) => format!("ids {from} to {to} are missing"),
        None => "the stream's gaps together miss too many ids".to_owned(),
    };
    Example {
        place,
        detail,
        excerpt: String::new(),
    }
}
