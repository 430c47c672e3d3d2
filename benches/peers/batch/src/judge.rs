//! Copies and gaps of whole streams.

use std::ops::Range;

use job::outputs::{Gap, Label};

use crate::found::{Found, Known, Row};

/// What was found out about some streams.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// By part and record.
    pub(crate) labels: Vec<(u32, u32, Label)>,
    /// By stream.
    pub(crate) gaps: Vec<(u32, Vec<Gap>)>,
}

/// A record on its way to its seat.
#[derive(Clone, Copy, Debug, Default)]
struct Copy {
    id: i64,
    time: i64,
    part: u32,
    record_and_valid: u32,
}

impl Copy {
    fn new(row: &Row, part: u32, record: u32) -> Self {
        assert!(record < 1 << 31, "a part has fewer records");
        Copy {
            id: row.id,
            time: row.time,
            part,
            record_and_valid: record << 1 | u32::from(row.is_valid),
        }
    }

    fn record(&self) -> u32 {
        self.record_and_valid >> 1
    }

    fn is_valid(&self) -> bool {
        self.record_and_valid & 1 == 1
    }
}

/// Judges the streams of `share`.
pub(crate) fn judge(found: &[Found<'_>], known: &Known<'_>, share: Range<u32>) -> Verdict {
    // All copies of a stream side by side, in the order of the input.
    let mut ends = Vec::with_capacity(share.len());
    let mut events = 0;
    for stream in &known.streams[share.start as usize..share.end as usize] {
        ends.push(events);
        events += stream.events as usize;
    }
    let mut copies = vec![Copy::default(); events];
    for (part, (found, places)) in found.iter().zip(&known.places).enumerate() {
        for (record, row) in found.rows.iter().enumerate() {
            if row.stream == Row::FAULTY {
                continue;
            }
            let stream = places[row.stream as usize];
            if share.contains(&stream) {
                let end = &mut ends[(stream - share.start) as usize];
                copies[*end] = Copy::new(row, part as u32, record as u32);
                *end += 1;
            }
        }
    }
    let mut judge = Judge {
        found,
        verdict: Verdict::default(),
        gaps: Vec::new(),
        last: None,
    };
    let mut table = Table::default();
    let mut start = 0;
    for (end, stream) in ends.into_iter().zip(share) {
        table.visit_ids(&mut copies[start..end], |same_id| judge.visit(same_id));
        start = end;
        judge.last = None;
        if !judge.gaps.is_empty() {
            judge
                .verdict
                .gaps
                .push((stream, std::mem::take(&mut judge.gaps)));
        }
    }
    judge.verdict
}

/// Brings the copies of a stream into the order of their ids.
#[derive(Default)]
struct Table {
    /// By id, the first copy of it, from 1; 0 is none.
    first: Vec<u32>,
    /// The others, by id and in the order of the input.
    others: Vec<(i64, u32)>,
    group: Vec<Copy>,
}

impl Table {
    /// Visits each id with its copies, from the lowest up.
    fn visit_ids(&mut self, copies: &mut [Copy], mut visit: impl FnMut(&mut [Copy])) {
        let least = copies.iter().map(|copy| copy.id).min().unwrap_or(0);
        let most = copies.iter().map(|copy| copy.id).max().unwrap_or(0);
        let span = most.wrapping_sub(least) as u64;
        // Ids mostly lie close together: then a table is faster than sorting.
        if span < 4 * copies.len() as u64 + 64 {
            self.visit_close(copies, least, span as usize + 1, visit);
            return;
        }
        copies.sort_by_key(|copy| copy.id);
        for same_id in copies.chunk_by_mut(|one, other| one.id == other.id) {
            visit(same_id);
        }
    }

    fn visit_close(
        &mut self,
        copies: &mut [Copy],
        least: i64,
        span: usize,
        mut visit: impl FnMut(&mut [Copy]),
    ) {
        let Table {
            first,
            others,
            group,
        } = self;
        first.clear();
        first.resize(span, 0);
        others.clear();
        for (at, copy) in copies.iter().enumerate() {
            let slot = &mut first[(copy.id - least) as usize];
            match *slot {
                0 => *slot = at as u32 + 1,
                _ => others.push((copy.id, at as u32)),
            }
        }
        others.sort_unstable();
        let mut others = others.iter().peekable();
        for &at in first.iter().filter(|at| **at > 0) {
            let copy = &mut copies[at as usize - 1];
            let id = copy.id;
            if others.peek().is_none_or(|(other, _)| *other != id) {
                visit(std::slice::from_mut(copy));
                continue;
            }
            group.clear();
            group.push(*copy);
            while let Some((_, at)) = others.next_if(|(other, _)| *other == id) {
                group.push(copies[*at as usize]);
            }
            visit(group);
        }
    }
}

/// Judges one id of a stream after the other, from the lowest up.
struct Judge<'a> {
    found: &'a [Found<'a>],
    verdict: Verdict,
    gaps: Vec<Gap>,
    /// The id before, and its latest time.
    last: Option<(i64, i64)>,
}

impl Judge<'_> {
    /// Takes all copies of an id, in the order of the input.
    #[inline]
    fn visit(&mut self, same_id: &mut [Copy]) {
        if let [copy] = same_id {
            let (id, time) = (copy.id, copy.time);
            if !copy.is_valid() {
                self.label(copy, Label::Invalid);
            }
            self.step(id, time, time);
        } else {
            same_id.sort_by_key(|copy| copy.time);
            let (earliest, latest) = (same_id[0], same_id[same_id.len() - 1]);
            self.step(earliest.id, earliest.time, latest.time);
            for copies in same_id.chunk_by(|one, other| one.time == other.time) {
                self.seat(copies);
            }
        }
    }

    #[inline]
    fn step(&mut self, id: i64, earliest: i64, latest: i64) {
        if let Some((below, after)) = self.last.filter(|(below, _)| *below + 1 != id) {
            self.gaps.push(Gap {
                from: below + 1,
                to: id - 1,
                after,
                before: earliest,
            });
        }
        self.last = Some((id, latest));
    }

    /// Gives the seat to one of the copies of an event.
    fn seat(&mut self, copies: &[Copy]) {
        let seat = copies.iter().position(Copy::is_valid).unwrap_or(0);
        if !copies[seat].is_valid() {
            self.label(&copies[seat], Label::Invalid);
        }
        let bytes = |copy: &Copy| self.found[copy.part as usize].part.record(copy.record());
        let kept = bytes(&copies[seat]);
        let others = copies.iter().enumerate().filter(|(at, _)| *at != seat);
        let labels = others.map(|(_, copy)| {
            let label = if bytes(copy) == kept {
                Label::Duplicate
            } else {
                Label::Conflict
            };
            (copy.part, copy.record(), label)
        });
        self.verdict.labels.extend(labels);
    }

    fn label(&mut self, copy: &Copy, label: Label) {
        self.verdict.labels.push((copy.part, copy.record(), label));
    }
}
