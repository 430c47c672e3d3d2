//! Changed rules, taken up by a journal that outlives them.
//!
//! What stood under the rules before is held against what stands under the new ones, both after all
//! that was journaled, and the difference is published in one epoch: what is no longer true is
//! withdrawn, what is true now is published. `clean.jsonl`, which holds what is final, is written anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use serde::{Deserialize, Serialize};

use super::RunOptions;
use super::commit::{Begun, Mark};
use super::desk::Slip;
use super::fill::Note;
use super::ledger::{Style, write_entry};
use super::lines::{Letter, Sink, Sources, letter_of};
use super::outputs::{open_outputs, tail_of, tails_of};
use super::recall::{Kept, RecallRules};
use super::resume::Resumption;
use super::run::{Done, Job};
use super::spec::{Dataflow, FileText};
use super::wiring::Survey;
use crate::event::Decoder;
use crate::event::write::write_event;
use crate::io::output::Output;
use crate::io::part::Place;
use crate::io::shared_cutter::SharedCutter;
use crate::journal::{Entry, Frame, read_frames};
use crate::operators::{Label, Position};
use crate::runtime::halt::Halt;
use crate::time::Epoch;
use crate::{Error, Result};

/// How the name of `clean.jsonl` under new rules begins, until the journal knows of them and it takes
/// the place of the old one; the epoch in which they are taken up follows.
const STAGED: &str = ".clean.jsonl.epoch-";

/// Publishes what changes when the rules of `before` give way to those of `now`.
///
/// # Errors
/// `Usage` where the journal no longer holds all of its history; where reading or writing fails.
pub(super) fn take_up(
    before: &Dataflow,
    now: &Dataflow,
    resumption: &Resumption,
    options: &RunOptions,
) -> Result<()> {
    let recovered = &resumption.recovered;
    if recovered.first_epoch > 0 {
        return Err(Error::usage(
            "the rules cannot change: the journal no longer holds all of its history",
        )
        .with_hint("journal.retain has let go of it; start with a new journal"));
    }
    if before.sinks.uses_stdout() || now.sinks.uses_stdout() {
        return Err(Error::usage(
            "the rules cannot change: what went to standard output cannot be amended",
        )
        .with_hint("write to files, or start with a new journal"));
    }
    let epoch = recovered.next_epoch;
    let changed = Change {
        resumption,
        options,
        epoch,
    };
    // The outputs are brought to where the rules before have left them.
    let begun = Begun {
        base: None,
        ..resumption.begin(before, options)?
    };
    let outputs = open_outputs(before, options, &[], begun.lengths)?;
    let old = changed.survey(before, outputs, begun, Survey::Before)?;

    let new_clean = options.out.join(format!("{STAGED}{epoch}"));
    let sinks = now.sinks.are_there();
    let is_new = |sink: Sink| sinks[sink as usize] && !before.sinks.are_there()[sink as usize];
    let mut outputs: [Vec<Output>; 4] = Default::default();
    outputs[Sink::Clean as usize].push(Output::file(&new_clean, Some(0))?);
    for sink in Sink::ALL.into_iter().filter(|sink| is_new(*sink)) {
        // A sink that there was not before is as if it had always been there.
        let path = options.out.join(sink.file_name());
        outputs[sink as usize].push(Output::file(&path, Some(0))?);
    }
    let new = changed.survey(now, outputs, Begun::default(), Survey::After)?;

    let notes = differences(&old.survey, &new.survey, before, now);
    let mut slips = changed.slips(now, &old, &new)?;
    let mut style = Style::of(now);
    style.restarts |= before.horizon.is_some();
    let entry = write_entry(&style, epoch, &mut slips, notes);
    let mut lengths = new.lengths;
    for sink in [Sink::Changes, Sink::Dead, Sink::Gaps] {
        let number = sink as usize;
        if !sinks[number] || is_new(sink) {
            continue;
        }
        let path = options.out.join(sink.file_name());
        let output = Output::file(&path, Some(old.lengths[number]))?;
        let mut lines = entry.head.bytes[number].clone();
        lines.extend_from_slice(&entry.tail.bytes[number]);
        output.write_at(&lines, old.lengths[number])?;
        output.sync()?;
        lengths[number] = old.lengths[number] + lines.len() as u64;
    }
    sync(&new_clean)?;

    let mut totals = new.totals;
    totals.retractions = old.totals.retractions + entry.tally.retractions + entry.withdrawn;
    totals.filled = old.totals.filled;
    let mut tails = tails_of(&options.out, lengths);
    tails[Sink::Clean as usize] = tail_of(&new_clean, lengths[Sink::Clean as usize]);
    let amendment = Amendment {
        rules: now.text.clone(),
        mark: Mark {
            epoch,
            lengths,
            totals,
            epochs: old.epochs,
            tails,
        },
    };
    // One entry, which is there or is not, puts the rules in force with all that goes with them.
    let bytes = postcard::to_stdvec(&amendment)
        .map_err(|error| Error::internal("could not encode an amendment").with_source(error))?;
    let journal = &resumption.journal;
    journal.append(Entry::Amended { epoch, bytes });
    journal.flush()?;
    // Now that the new rules are in force whatever happens.
    settle(&options.out, &[epoch])?;
    if let Some(notice) = options.notice {
        notice(&format!(
            "the rules have changed: what they change is published in epoch {epoch}"
        ));
    }
    Ok(())
}

/// What the journal knows of changed rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Amendment {
    /// The dataflow file from then on.
    pub(super) rules: FileText,
    /// What the outputs hold after the epoch in which they were taken up.
    pub(super) mark: Mark,
}

/// A change of rules.
struct Change<'a> {
    resumption: &'a Resumption,
    options: &'a RunOptions,
    /// The epoch in which it is published.
    epoch: Epoch,
}

impl Change<'_> {
    /// Runs `dataflow` over all that was journaled, and asks what stands.
    fn survey(
        &self,
        dataflow: &Dataflow,
        outputs: [Vec<Output>; 4],
        begun: Begun,
        survey: Survey,
    ) -> Result<Done> {
        let rules = RecallRules {
            silent_through: begun.mark.as_ref().map(|mark| mark.epoch),
            end: Some(self.epoch),
            ..RecallRules::default()
        };
        let read_bytes = Arc::new(AtomicU64::new(0));
        let recall = self.resumption.recall_all(rules, read_bytes);
        let most = dataflow.event.max_record_bytes;
        let workers = self.options.workers;
        let labels = self.resumption.labels();
        let job = Job {
            dataflow: dataflow.clone(),
            cutter: SharedCutter::recalled(Box::new(Kept(recall)), most, workers),
            labels,
            outputs,
            attic: self.options.out.clone(),
            halt: Halt::new(),
            workers,
            cluster: None,
            steps: Vec::new(),
            progress: None,
            begun,
            journaling: None,
            recollection: None,
            survey: Some(survey),
        };
        let (_, done) = job.execute_for()?;
        Ok(done)
    }

    /// What is to be said of the records that something else becomes of now.
    fn slips(&self, dataflow: &Dataflow, old: &Done, new: &Done) -> Result<Vec<Slip>> {
        let mut changed: BTreeMap<Epoch, Vec<(usize, Label, Label)>> = BTreeMap::new();
        for (part, before) in &old.fates.parts {
            let after = new.fates.parts.get(part).map_or(&[][..], Vec::as_slice);
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                if before != after {
                    let here = changed.entry(part.0).or_default();
                    here.push((part.1 + index, *before, *after));
                }
            }
        }
        let frames = self.resumption.recovered.frames.iter();
        let frames: Vec<_> = frames
            .filter(|at| changed.contains_key(&at.epoch))
            .copied()
            .collect();
        let sources = Sources::new(&dataflow.source.name, self.resumption.labels());
        let mut decoder = Decoder::new(dataflow.event.clone());
        let mut slips = Vec::new();
        for frame in read_frames(self.resumption.storage(), &frames) {
            let frame = frame?;
            for (index, before, after) in &changed[&frame.epoch] {
                let record = &frame.bytes[range_of(&frame, *index)];
                let add_valid = decoder
                    .decode(record)
                    .is_ok_and(|event| event.valid.is_none());
                let position = Position {
                    epoch: frame.epoch,
                    reader: 0,
                    index: *index as u32,
                };
                let place = place_of(&frame, *index);
                for (label, withdraws) in [(*before, true), (*after, false)] {
                    let mut content = Vec::new();
                    let sink = match letter_of(label) {
                        None => {
                            write_event(&dataflow.event, record, add_valid, &mut content);
                            Sink::Changes
                        }
                        Some((reason, detail)) => {
                            let letter = Letter {
                                reason,
                                detail,
                                epoch: self.epoch,
                                place,
                            };
                            if withdraws {
                                letter.write_withdrawal(&sources, &mut content);
                            } else {
                                letter.write(&sources, record, None, &mut content);
                            }
                            Sink::Dead
                        }
                    };
                    slips.push(Slip {
                        sink: sink as u8,
                        withdraws,
                        position,
                        content,
                    });
                }
            }
        }
        Ok(slips)
    }
}

fn range_of(frame: &Frame, index: usize) -> std::ops::Range<usize> {
    let span = &frame.records[index];
    span.start..span.start + span.length
}

fn place_of(frame: &Frame, index: usize) -> Place {
    let after = frame
        .stretches
        .partition_point(|stretch| stretch.first_record <= index);
    let stretch = &frame.stretches[after - 1];
    Place {
        partition: stretch.partition,
        offset: stretch.offset + (frame.records[index].start - stretch.start) as u64,
        line: stretch.line + (index - stretch.first_record) as u64,
    }
}

/// What stood and does not stand now, as withdrawn, and what stands now and did not.
fn differences(old: &[Note], new: &[Note], before: &Dataflow, now: &Dataflow) -> Vec<Note> {
    // Where inferred events are written otherwise, all of them change; those withdrawn are written
    // as they were only if they still can be: readers of the changelog know them by their content.
    let rewritten = match (before.sinks.changes, now.sinks.changes) {
        (Some(before), Some(now)) => before.annotate != now.annotate,
        _ => false,
    };
    // Under a horizon, several sequences of one name may say the same.
    let mut counts: BTreeMap<&Note, (usize, usize)> = BTreeMap::new();
    for note in old {
        counts.entry(note).or_default().0 += 1;
    }
    for note in new {
        counts.entry(note).or_default().1 += 1;
    }
    let mut notes = Vec::new();
    for (note, (before, now)) in counts {
        let all = rewritten && matches!(note, Note::Guess(..));
        let stay = if all { 0 } else { before.min(now) };
        notes.extend((stay..before).map(|_| note.clone().withdrawn()));
        notes.extend((stay..now).map(|_| note.clone()));
    }
    notes
}

/// Puts what was staged in `folder` for one of the epochs `amended` in the place of `clean.jsonl`, and
/// removes what was staged for an epoch that the journal does not know of: rules that a crash has
/// kept from coming into force.
pub(super) fn settle(folder: &Path, amended: &[Epoch]) -> Result<()> {
    let failed = |error| {
        let name = folder.join(Sink::Clean.file_name());
        Error::unavailable(format!("could not write \"{}\"", name.display())).with_source(error)
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    let mut settled = false;
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let Some(epoch) = name.to_str().and_then(|name| name.strip_prefix(STAGED)) else {
            continue;
        };
        let is_in_force = amended.iter().any(|known| known.to_string() == epoch);
        if is_in_force {
            std::fs::rename(entry.path(), folder.join(Sink::Clean.file_name()))
        } else {
            std::fs::remove_file(entry.path())
        }
        .map_err(failed)?;
        settled = true;
    }
    // Names last as the folder does that holds them.
    if settled { sync(folder) } else { Ok(()) }
}

fn sync(path: &Path) -> Result<()> {
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|error| {
            Error::unavailable(format!("could not sync \"{}\"", path.display())).with_source(error)
        })
}
