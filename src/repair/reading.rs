//! One worker's part of an epoch: records to the rows that the dataflow judges.
//!
//! Bytes stay where they were read; rows carry what judging takes. What is found about a record
//! here stays here too, until its epoch is complete.

use std::collections::HashMap;

use super::names::LocalNames;
use super::renumber::TypeCount;
use super::spec::{Dataflow, FillType, Keep};
use super::wiring::CopyUpdate;
use crate::event::{Decoder, DedupKey, Fault, Reason};
use crate::io::part::Part;
use crate::operators::dedup::Copied;
use crate::operators::retained::Row;
use crate::operators::sightings::Sighting;
use crate::operators::{Position, Print};

/// Rows of one part, for each input of the dataflow.
#[derive(Debug, Default)]
pub struct Rows {
    /// Every well-formed event.
    pub sightings: Vec<Sighting<u32>>,
    /// Every well-formed event under its dedup key, where [`Sighting`]s do not tell copies.
    pub copies: Vec<CopyUpdate>,
    /// Every well-formed event, in place of both, where there is a horizon.
    pub retained: Vec<Row>,
    /// Events by stream and type.
    pub types: Vec<TypeCount>,
    /// Event times by input, in order, where the watermark matters.
    pub times: Vec<(u32, Vec<i64>)>,
}

/// What was found about one record, other than that it is plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is not a well-formed event.
    Fault(Fault),
    /// It is one, but its own bytes are not what is written.
    Rewrite {
        /// `valid` is to be added.
        add_valid: bool,
    },
}

/// Decodes the parts of one worker.
#[derive(Debug)]
pub struct Reading {
    decoder: Decoder,
    /// The streams met, by name.
    pub streams: LocalNames,
    /// The types met, by name.
    pub types: LocalNames,
    needs: Needs,
    max_record_bytes: usize,
    /// Whether there are other processes.
    clustered: bool,
    counts: HashMap<(u32, u32), u64, foldhash::fast::RandomState>,
}

/// What a dataflow needs to know of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Copies are told by a key of their own, or the last one is kept.
    pub copies: bool,
    /// Missing ids take the most frequent type.
    pub types: bool,
    /// Missing ids take their lower neighbour's type.
    pub tags: bool,
    /// Missing ids wait for the watermark, or there is a horizon.
    pub times: bool,
    /// Events are forgotten.
    pub horizon: bool,
}

impl Needs {
    /// What `dataflow` needs.
    pub fn of(dataflow: &Dataflow) -> Self {
        let by_id_and_time = dataflow.event.key == DedupKey::IdAndTime;
        Needs {
            copies: !(by_id_and_time && dataflow.keep == Keep::First),
            types: dataflow.gaps.r#type == FillType::MostFrequent,
            tags: dataflow.gaps.r#type == FillType::LowerNeighbour,
            times: dataflow.gaps.grace_us > 0 || dataflow.horizon.is_some(),
            horizon: dataflow.horizon.is_some(),
        }
    }
}

impl Reading {
    /// A reader of events as `dataflow` describes them.
    pub fn new(
        dataflow: &Dataflow,
        streams: LocalNames,
        types: LocalNames,
        clustered: bool,
    ) -> Self {
        Reading {
            decoder: Decoder::new(dataflow.event.clone()),
            streams,
            types,
            needs: Needs::of(dataflow),
            max_record_bytes: dataflow.event.max_record_bytes,
            clustered,
            counts: HashMap::default(),
        }
    }

    /// Decodes `part`, which `reader` has read: appends to `rows`, and returns what was found of
    /// records that are not plain, by their place in the part.
    pub fn read(&mut self, part: &Part, reader: u32, rows: &mut Rows) -> Vec<(u32, Finding)> {
        let mut findings = Vec::new();
        let mut stretches = part.partitions();
        let mut stretch: Option<(u32, usize)> = None;
        rows.sightings.reserve(part.len());
        for at in 0..part.len() {
            let index = at as u32;
            let record = part.record(at);
            if let Some(length) = record.oversize {
                let detail = format!("{length} bytes, more than {}", self.max_record_bytes);
                findings.push((
                    index,
                    Finding::Fault(Fault {
                        reason: Reason::Oversize,
                        detail,
                    }),
                ));
                continue;
            }
            let event = match self.decoder.decode(record.bytes) {
                Ok(event) => event,
                Err(fault) => {
                    findings.push((index, Finding::Fault(fault)));
                    continue;
                }
            };
            let add_valid = event.valid.is_none();
            if add_valid || event.has_line_break {
                findings.push((index, Finding::Rewrite { add_valid }));
            }
            let print = Print::new(
                xxhash_rust::xxh3::xxh3_64(record.bytes),
                event.valid.unwrap_or(true),
            );
            let (id, time) = (event.id, event.time.0);
            let stream = self.streams.number(event.stream);
            let mut tag = 0;
            if self.needs.types || self.needs.tags {
                tag = self.types.number(event.r#type);
                if self.needs.types && !self.needs.horizon {
                    *self.counts.entry((stream, tag)).or_default() += 1;
                }
            }
            if self.needs.copies && !self.needs.horizon {
                let position = Position {
                    epoch: part.epoch,
                    reader,
                    index,
                };
                let mut key = Vec::new();
                if self.clustered {
                    // Another process numbers streams otherwise: the key names it.
                    key.extend_from_slice(&(event.stream.len() as u64).to_le_bytes());
                    key.extend_from_slice(event.stream.as_bytes());
                }
                if event.key.is_empty() {
                    key.extend_from_slice(&id.to_le_bytes());
                    key.extend_from_slice(&time.to_le_bytes());
                } else {
                    key.extend_from_slice(event.key);
                }
                let number = if self.clustered { 0 } else { stream };
                rows.copies
                    .push((((number, key), Copied { position, print }), part.epoch, 1));
            }
            if self.needs.times {
                while stretch.is_none_or(|(_, end)| end <= at) {
                    stretch = stretches.next();
                    let Some((partition, _)) = stretch else { break };
                    rows.times.push((partition, Vec::new()));
                }
                if let Some((_, times)) = rows.times.last_mut() {
                    times.push(time);
                }
            }
            let seen = Sighting {
                stream,
                tag,
                id,
                time,
                print,
                reader,
                index,
            };
            if self.needs.horizon {
                let key = event.key.to_vec();
                rows.retained.push(Row { seen, key });
            } else {
                rows.sightings.push(seen);
            }
        }
        let counts = self.counts.drain();
        let counts = counts.map(|((stream, r#type), count)| TypeCount {
            stream,
            r#type,
            count,
        });
        rows.types.extend(counts);
        findings
    }
}
