//! Where a run begins: at nothing, or where an earlier run with the same journal has left off.
//!
//! Inputs are known by their paths. Of one that was read before, what follows is read; one that is
//! no longer what it was is refused. The outputs are cut back to the last mark that they fit, and
//! what follows it is written again from the journal.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::RunOptions;
use super::amendment::{self, Amendment};
use super::base::BasePart;
use super::caching::Caching;
use super::commit::{Begun, Mark};
use super::inputs::label_of;
use super::journaling::{Columns, Journaling, Recovering, checkpoint_of};
use super::lines::Sink;
use super::outputs::tail_of;
use super::recall::{Recall, RecallRules};
use super::recollection::Recollection;
use super::report::Recovery;
use super::spec::{Dataflow, FileText, InputSpec};
use crate::io::cutter::Opened;
use crate::io::input::Input;
use crate::io::output::Output;
use crate::journal::{
    Entry, FrameAt, Identity, Journal, Options, Partition, Position, Recovered, Storage,
};
use crate::runtime::clock::{self, Moment};
use crate::time::Epoch;
use crate::{Error, Result};

/// How a journal is kept: what the command line decides.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Where it lies.
    pub storage: Arc<dyn Storage>,
    /// Its name in messages.
    pub name: String,
    /// Whether this is all the input there will be.
    pub is_final: bool,
    /// Whether standard input begins where it began the first time.
    pub stdin_from_start: bool,
}

/// A journal that was opened, and what an earlier run has left in it.
#[derive(Debug)]
pub struct Resumption {
    storage: Arc<dyn Storage>,
    /// The journal.
    pub journal: Arc<Journal>,
    /// What it holds.
    pub recovered: Recovered,
    /// The dataflow file of the run that wrote it last; `None` in a new journal.
    pub before: Option<FileText>,
}

impl Resumption {
    /// Opens the journal of `dataflow`, a new one where there is none.
    ///
    /// # Errors
    /// `Fenced` where another run has it, `Corrupt` where it is damaged, `Usage` where it is another
    /// dataflow's.
    pub fn open(dataflow: &Dataflow, options: &JournalOptions) -> Result<Self> {
        let identity = Identity {
            name: dataflow.name.clone(),
            fixed: dataflow.fixed_text(),
            created_us: clock::utc_us(),
        };
        let settings = Options {
            segment_bytes: dataflow.journal.segment_bytes,
        };
        let storage = Arc::clone(&options.storage);
        let (journal, mut recovered) = Journal::open(Arc::clone(&storage), &identity, settings)?;
        complete(&journal, &mut recovered)?;
        let before = match recovered.rules.last() {
            None => None,
            Some((_, text)) => Some(postcard::from_bytes(text).map_err(|error| {
                Error::corrupt("the journal's dataflow file cannot be read").with_source(error)
            })?),
        };
        Ok(Resumption {
            storage,
            journal: Arc::new(journal),
            recovered,
            before,
        })
    }

    /// Where the outputs of `dataflow` begin; with a new journal at nothing.
    ///
    /// # Errors
    /// Where the journal does not take what it must know first.
    pub fn begin(&self, dataflow: &Dataflow, options: &RunOptions) -> Result<Begun> {
        let notice = |text: String| {
            if let Some(notice) = options.notice {
                notice(&text);
            }
        };
        if let Some(cut) = &self.recovered.cut {
            notice(format!(
                "cut {} bytes of an epoch that was never complete from {} at byte {}",
                cut.bytes, cut.segment, cut.offset
            ));
        }
        if self.before.is_none() {
            self.keep_rules(dataflow, 0)?;
            return Ok(Begun::default());
        }
        amendment::settle(&options.out, &self.amended(0))?;
        let begun = self.begun(dataflow, &options.out)?;
        if begun.mark.is_none() && !self.recovered.checkpoints.is_empty() {
            notice(format!(
                "the outputs in {} are not those that the journal speaks of: they are written anew",
                options.out.display()
            ));
        }
        Ok(begun)
    }

    /// Takes up the rules of `dataflow`, where they are not those of the run before.
    ///
    /// # Errors
    /// Where what they change cannot be published.
    pub fn under(self, dataflow: &Dataflow, options: &RunOptions) -> Result<Self> {
        let (Some(text), Some(journal)) = (&self.before, &options.journal) else {
            return Ok(self);
        };
        let before = Dataflow::from_text(&text.text, &text.origin, &text.overrides)?;
        if before.has_rules_of(dataflow) {
            return Ok(self);
        }
        amendment::take_up(&before, dataflow, &self, options)?;
        // The journal has moved on.
        drop(self);
        Self::open(dataflow, journal)
    }

    /// Everything that was journaled.
    pub fn recall_all(&self, mut rules: RecallRules, read_bytes: Arc<AtomicU64>) -> Recall {
        rules.amended = self.amended(0);
        let frames = self.recovered.frames.clone();
        Recall::new(Arc::clone(&self.storage), frames, rules, read_bytes)
    }

    /// The epochs from `first` on in which changed rules were taken up.
    fn amended(&self, first: Epoch) -> Vec<Epoch> {
        let epochs = self.recovered.amended.iter().map(|(epoch, _)| *epoch);
        epochs.filter(|epoch| *epoch >= first).collect()
    }

    /// The names of the inputs, by number.
    pub fn labels(&self) -> Vec<String> {
        let partitions = self.recovered.partitions.iter();
        partitions.map(|known| known.label.clone()).collect()
    }

    /// Where the journal lies.
    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Says in the journal which inputs are new.
    pub fn keep_inputs(&self, plan: &InputPlan) {
        for fresh in &plan.fresh {
            self.journal.append(Entry::Partition(fresh.clone()));
        }
    }

    /// What keeps the epochs of a run that writes `outputs`.
    pub fn journaling(&self, outputs: &[Vec<Output>; 4], options: &RunOptions) -> Journaling {
        let outputs = outputs.iter().flatten().cloned().collect();
        let folder = options.out.clone();
        let recovered = &self.recovered;
        let recovering = recovered.frames.last().map(|last| Recovering {
            through: last.epoch,
            begun: Moment::now(),
            recovery: Recovery {
                records: recovered.frames.iter().map(|at| at.records).sum(),
                epochs: recovered.frames.len() as u64,
                elapsed_s: 0.0,
            },
            from: options
                .journal
                .as_ref()
                .map_or_else(String::new, |journal| journal.name.clone()),
            notice: options.notice,
        });
        Journaling::new(Arc::clone(&self.journal), outputs, folder, recovering)
            .with_columns(self.columns(options.workers))
    }

    /// The column caches of the journal, where it lies in a folder.
    fn columns(&self, workers: usize) -> Option<Columns> {
        let recollection = Recollection::open(&*self.storage, &self.recovered, workers)?;
        Some(Columns {
            recollection: Arc::new(recollection),
            caching: Caching::start(Arc::clone(&self.storage), &self.recovered)?,
        })
    }

    /// The epochs that come back, in a run whose outputs begin with `begun`; `together` where
    /// nothing depends on how they were cut.
    pub fn recall(&self, begun: &Begun, together: bool, read_bytes: &Arc<AtomicU64>) -> Recall {
        let rules = RecallRules {
            silent_through: begun.mark.as_ref().map(|mark| mark.epoch),
            together,
            amended: self.amended(self.base_after(begun)),
            ..RecallRules::default()
        };
        let frames = self.frames(begun);
        Recall::new(
            Arc::clone(&self.storage),
            frames,
            rules,
            Arc::clone(read_bytes),
        )
    }

    /// The bytes of all frames.
    pub fn frame_bytes(&self) -> u64 {
        self.recovered.frames.iter().map(|at| at.bytes).sum()
    }

    /// Says in the journal that `dataflow` is in force from `epoch` on.
    pub fn keep_rules(&self, dataflow: &Dataflow, epoch: Epoch) -> Result<()> {
        let text = encoded(&dataflow.text)?;
        self.journal.append(Entry::Rules { epoch, text });
        Ok(())
    }

    /// The last mark that the outputs in `folder` fit, and the base to begin with.
    fn begun(&self, dataflow: &Dataflow, folder: &Path) -> Result<Begun> {
        let in_files = dataflow.sinks.in_files();
        // What a pipe or a terminal was given cannot be seen any more.
        let lengths = Sink::ALL.map(|sink| {
            let metadata = folder.join(sink.file_name()).metadata();
            let is_stream = metadata.as_ref().is_ok_and(|metadata| !metadata.is_file());
            match in_files[sink as usize] && !is_stream {
                true => metadata.map_or(0, |metadata| metadata.len()),
                false => u64::MAX,
            }
        });
        // What other rules have published is not what these have.
        let amended = self.recovered.amended.last().map(|(epoch, _)| *epoch);
        let fits = |mark: &Mark| {
            mark.epoch < self.recovered.next_epoch
                && amended.is_none_or(|amended| mark.epoch >= amended)
                && (0..4).all(|sink| mark.lengths[sink] <= lengths[sink])
                && Sink::ALL.into_iter().all(|sink| {
                    let number = sink as usize;
                    let path = folder.join(sink.file_name());
                    let is_file = lengths[number] != u64::MAX;
                    !is_file || tail_of(&path, mark.lengths[number]) == mark.tails[number]
                })
        };
        let base = self.base();
        let checkpoints = self.recovered.checkpoints.iter().rev();
        let marks =
            checkpoints.filter_map(|checkpoint| postcard::from_bytes(&checkpoint.totals).ok());
        let mark = marks.into_iter().find(fits);
        // A base holds what came before it; outputs that end earlier need all of the journal.
        let base = base.filter(|(epoch, _)| mark.as_ref().is_some_and(|mark| mark.epoch >= *epoch));
        if base.is_none() && self.recovered.first_epoch > 0 {
            return Err(Error::usage(format!(
                "the outputs in \"{}\" are not those that the journal speaks of, and it no longer holds \
                 what they follow from",
                folder.display()
            ))
            .with_hint("give the output folder of the run that wrote the journal (--out)"));
        }
        Ok(Begun {
            base: base.map(|(_, parts)| Arc::new(parts)),
            lengths: mark.as_ref().map_or([0; 4], |mark| mark.lengths),
            mark,
        })
    }

    /// The newest base that can be read, and its epoch.
    fn base(&self) -> Option<(Epoch, Vec<BasePart>)> {
        let base = self.recovered.base.as_ref()?;
        let parts: std::result::Result<Vec<BasePart>, _> = base
            .parts
            .iter()
            .map(|part| postcard::from_bytes(part))
            .collect();
        Some((base.epoch, parts.ok()?))
    }

    /// The first epoch that the base of `begun` does not hold.
    fn base_after(&self, begun: &Begun) -> Epoch {
        let base = begun.base.as_ref().and(self.recovered.base.as_ref());
        base.map_or(0, |base| base.epoch + 1)
    }

    /// The frames that a run recalls that begins with `begun`.
    fn frames(&self, begun: &Begun) -> Vec<FrameAt> {
        let after = self.base_after(begun);
        let frames = self.recovered.frames.iter();
        frames.filter(|at| at.epoch >= after).copied().collect()
    }
}

/// Repeats what an amendment has put in force where new segments find it. The amendment itself is
/// one entry; a crash may have kept the run that wrote it from doing this.
fn complete(journal: &Journal, recovered: &mut Recovered) -> Result<()> {
    let Some((epoch, bytes)) = recovered.amended.last() else {
        return Ok(());
    };
    let epoch = *epoch;
    let amendment: Amendment = postcard::from_bytes(bytes).map_err(|error| {
        Error::corrupt("an amendment in the journal cannot be read").with_source(error)
    })?;
    if recovered
        .rules
        .last()
        .is_none_or(|(known, _)| *known < epoch)
    {
        let text = encoded(&amendment.rules)?;
        journal.append(Entry::Rules {
            epoch,
            text: text.clone(),
        });
        recovered.rules.push((epoch, text));
    }
    let newest = recovered.checkpoints.last();
    if newest.is_none_or(|checkpoint| checkpoint.epoch < epoch) {
        let checkpoint = checkpoint_of(&amendment.mark)?;
        journal.append(Entry::Checkpoint(checkpoint.clone()));
        recovered.checkpoints.push(checkpoint);
    }
    Ok(())
}

/// A dataflow file as the journal has it.
fn encoded(text: &FileText) -> Result<Vec<u8>> {
    postcard::to_stdvec(text)
        .map_err(|error| Error::internal("could not encode a text").with_source(error))
}

/// An input and how far it was read.
#[derive(Clone, Debug)]
pub struct Planned {
    spec: InputSpec,
    partition: u32,
    position: Position,
}

/// What is to be read, and what to call it.
#[derive(Clone, Debug)]
pub struct InputPlan {
    /// The inputs in reading order.
    pub inputs: Vec<Planned>,
    /// The name of every input, those of earlier runs too, by number.
    pub labels: Vec<String>,
    /// Inputs that the journal does not know yet.
    pub fresh: Vec<Partition>,
}

impl InputPlan {
    /// Reads `inputs` from their start.
    pub fn fresh(inputs: &[InputSpec]) -> Self {
        let planned = inputs.iter().enumerate().map(|(number, spec)| Planned {
            spec: spec.clone(),
            partition: number as u32,
            position: beginning(number as u32),
        });
        InputPlan {
            inputs: planned.collect(),
            labels: inputs.iter().map(label_of).collect(),
            fresh: Vec::new(),
        }
    }

    /// Reads `inputs` from where `recovered` says that they were left.
    ///
    /// # Errors
    /// `Usage` where an input is not what it was.
    pub fn resume(
        inputs: &[InputSpec],
        recovered: &Recovered,
        stdin_from_start: bool,
    ) -> Result<Self> {
        let mut labels: Vec<String> = recovered
            .partitions
            .iter()
            .map(|known| known.label.clone())
            .collect();
        let mut planned = Vec::new();
        let mut fresh = Vec::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for spec in inputs {
            let identity = identity_of(spec);
            let before = seen.entry(identity.clone()).or_default();
            // A path may be given several times.
            let known = recovered
                .partitions
                .iter()
                .filter(|known| known.identity == identity)
                .nth(*before);
            *before += 1;
            let Some(known) = known else {
                let partition = labels.len() as u32;
                labels.push(label_of(spec));
                fresh.push(Partition {
                    number: partition,
                    label: label_of(spec),
                    identity,
                });
                planned.push(Planned {
                    spec: spec.clone(),
                    partition,
                    position: beginning(partition),
                });
                continue;
            };
            let position = recovered
                .positions
                .get(&known.number)
                .copied()
                .unwrap_or_else(|| beginning(known.number));
            let ended = recovered.ended.contains(&known.number);
            if goes_on(spec, &position, ended)? {
                let mut position = position;
                if *spec == InputSpec::Stdin && !stdin_from_start {
                    position.last_length = 0;
                }
                planned.push(Planned {
                    spec: spec.clone(),
                    partition: known.number,
                    position,
                });
            }
        }
        Ok(InputPlan {
            inputs: planned,
            labels,
            fresh,
        })
    }

    /// Opens the inputs one after the other.
    pub fn open_in_turn(
        self,
        stdin_from_start: bool,
        read_bytes: Arc<AtomicU64>,
    ) -> crate::io::cutter::NextInput {
        let mut rest = self.inputs.into_iter();
        Box::new(move || {
            rest.next().map(|planned| {
                let Position { offset, line, .. } = planned.position;
                let input = match &planned.spec {
                    InputSpec::Path(path) => Input::open(path, offset, Arc::clone(&read_bytes))?,
                    InputSpec::Stdin if stdin_from_start => Input::stdin(offset),
                    InputSpec::Stdin => Input::stdin(0),
                };
                Ok(Opened {
                    input,
                    partition: planned.partition,
                    offset,
                    line,
                    grows: grows(&planned.spec),
                })
            })
        })
    }
}

fn beginning(partition: u32) -> Position {
    Position {
        partition,
        line: 1,
        ..Position::default()
    }
}

/// What an input is known by, whatever it is called: a path from the root, or `-`.
fn identity_of(spec: &InputSpec) -> String {
    match spec {
        InputSpec::Stdin => "-".to_owned(),
        InputSpec::Path(path) => {
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            path.to_string_lossy().into_owned()
        }
    }
}

/// Whether more may be appended to an input: not where it is compressed.
fn grows(spec: &InputSpec) -> bool {
    let InputSpec::Path(path) = spec else {
        return true;
    };
    let extension = path.extension().and_then(|extension| extension.to_str());
    !extension.is_some_and(|text| matches!(text.to_ascii_lowercase().as_str(), "gz" | "zst"))
}

/// Whether an input that was read up to `position` is to be read on.
fn goes_on(spec: &InputSpec, position: &Position, ended: bool) -> Result<bool> {
    let InputSpec::Path(path) = spec else {
        return Ok(true);
    };
    let metadata = path.metadata().ok();
    if !metadata.as_ref().is_some_and(std::fs::Metadata::is_file) {
        return Ok(true);
    }
    const HINT: &str = "a file that was read may only grow; give what is new as a file of its own, \
                        or start with a new journal";
    if !grows(spec) {
        if !ended && !holds_last_unpacked(path, position) {
            return Err(Error::usage(format!(
                "the input \"{}\" was replaced: what the journal has read of it is not there",
                path.display()
            ))
            .with_hint(HINT));
        }
        return Ok(!ended);
    }
    let length = metadata.map_or(0, |metadata| metadata.len());
    if length < position.offset {
        return Err(Error::usage(format!(
            "the input \"{}\" was cut or replaced: it has {length} bytes, and the journal has read {} \
             of it",
            path.display(),
            position.offset
        ))
        .with_hint(HINT));
    }
    if position.last_length > 0 && !holds_last_record(path, position)? {
        return Err(Error::usage(format!(
            "the input \"{}\" was replaced: before byte {} it has another record than the journal",
            path.display(),
            position.offset
        ))
        .with_hint(HINT));
    }
    Ok(!ended || length > position.offset)
}

/// As [`holds_last_record`], of a file that is compressed.
fn holds_last_unpacked(path: &Path, position: &Position) -> bool {
    if position.last_length == 0 {
        return true;
    }
    let mut record = Vec::new();
    let length = position.last_length as usize;
    let read = Input::open(path, position.last_offset, Arc::default())
        .and_then(|mut input| input.fill(&mut record, length));
    read.is_ok() && xxhash_rust::xxh3::xxh3_64(&record) == position.last_hash
}

/// Whether the last record that was read still stands where it stood.
fn holds_last_record(path: &Path, position: &Position) -> Result<bool> {
    let mut record = vec![0; position.last_length as usize];
    let read =
        File::open(path).and_then(|file| file.read_exact_at(&mut record, position.last_offset));
    read.map_err(|error| {
        Error::unavailable(format!("could not read input \"{}\"", path.display()))
            .with_source(error)
    })?;
    Ok(xxhash_rust::xxh3::xxh3_64(&record) == position.last_hash)
}
