//! What the circuit has said so far, kept up to date epoch by epoch.

use std::collections::{HashMap, HashSet};

use dbsp::typed_batch::IndexedZSetReader;
use dbsp::utils::{Tup2, Tup4};
use foldhash::fast::RandomState;
use job::outputs::{Gap, Label};
use job::reader::{Names, Part, Row};

use crate::circuit::{self, Handles};

/// The answer after an epoch.
#[derive(Default)]
pub(crate) struct Answer {
    /// By where the record lies.
    labels: HashMap<u32, Label, RandomState>,
    /// By stream.
    gaps: Vec<HashSet<circuit::Gap, RandomState>>,
    /// By stream, its most frequent types.
    kinds: Vec<Vec<u32>>,
}

impl Answer {
    /// Takes in what the last epoch changed; says how many gaps it closed or narrowed.
    pub(crate) fn take_in(&mut self, handles: &Handles, text: &[u8]) -> usize {
        let letters = handles.letters.concat().consolidate();
        let mut letters: Vec<(u32, u32, i64)> = letters
            .iter()
            .map(|(Tup2(at, seat), (), diff)| (at, seat, diff))
            .collect();
        // What is withdrawn goes first, or it would take what replaces it along.
        letters.sort_by_key(|(.., diff)| *diff);
        for (at, seat, diff) in letters {
            if diff < 0 {
                self.labels.remove(&at);
                continue;
            }
            let label = match () {
                () if at == seat => Label::Invalid,
                () if record_at(text, at) == record_at(text, seat) => Label::Duplicate,
                () => Label::Conflict,
            };
            self.labels.insert(at, label);
        }
        let mut closed = 0;
        for (Tup2(stream, gap), (), diff) in handles.gaps.concat().consolidate().iter() {
            let gaps = of(&mut self.gaps, stream);
            if diff > 0 {
                gaps.insert(gap);
            } else {
                let was_said = gaps.remove(&gap);
                assert!(was_said, "{gap:?} is withdrawn and was not said");
                closed += 1;
            }
        }
        for (stream, kinds, diff) in handles.kinds.concat().consolidate().iter() {
            if diff > 0 {
                *of(&mut self.kinds, stream) = kinds;
            }
        }
        closed
    }

    /// The stream's gaps, from the lowest up.
    pub(crate) fn gaps_of(&mut self, stream: u32) -> Vec<Gap> {
        let mut gaps = Vec::from_iter(std::mem::take(of(&mut self.gaps, stream)));
        gaps.sort_unstable();
        let gap = |Tup4(from, to, after, before)| Gap {
            from,
            to,
            after,
            before,
        };
        gaps.into_iter().map(gap).collect()
    }

    /// The stream's most frequent type; of several the first in byte order.
    pub(crate) fn kind<'a>(&self, stream: u32, names: &'a Names<'_>) -> &'a str {
        let kinds = self.kinds[stream as usize].iter();
        let names = kinds.map(|kind| names.as_slice()[*kind as usize].as_ref());
        names.min().expect("a stream has an event")
    }

    /// The labels by the numbers of their records.
    pub(crate) fn labels(&self, part: &Part<'_>) -> Vec<(u32, Label)> {
        // What came after the load is no record of the input.
        let labels = self.labels.iter().filter_map(|(at, label)| {
            let record = part.starts.binary_search(at).ok()?;
            Some((record as u32, *label))
        });
        let mut labels: Vec<(u32, Label)> = labels.collect();
        labels.sort_unstable();
        labels
    }

    /// Events for `count` ids that are missing, from gaps all over the streams.
    pub(crate) fn missing(&self, count: usize) -> Vec<Row> {
        let gaps = self.gaps.iter().enumerate();
        let all: Vec<Row> = gaps
            .flat_map(|(stream, gaps)| gaps.iter().map(move |gap| (stream, gap)))
            .map(|(stream, &Tup4(id, _, time, _))| Row {
                id,
                time,
                stream: stream as u32,
                kind: self.kinds[stream][0],
                is_valid: true,
            })
            .collect();
        let step = (all.len() / count.max(1)).max(1);
        all.into_iter().step_by(step).take(count).collect()
    }
}

fn of<T: Default>(all: &mut Vec<T>, stream: u32) -> &mut T {
    let stream = stream as usize;
    if all.len() <= stream {
        all.resize_with(stream + 1, T::default);
    }
    &mut all[stream]
}

fn record_at(text: &[u8], at: u32) -> &[u8] {
    job::reader::record_at(text, at as usize)
}
