//! The lines of a workload in memory, and which of their events come late.
//!
//! An event is late when it comes for the first time after a higher id of its stream: from then on,
//! and until it comes, its id is part of a gap. An id below all that its stream has seen begins the
//! stream earlier and was never part of a gap.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::testing::workload::Profile;
use crate::{Error, Result};

/// Text lines in memory, each with its line end.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    bytes: Arc<[u8]>,
    /// Where each line ends.
    ends: Arc<[usize]>,
    /// Different events among them.
    pub(super) distinct: u64,
    /// The late ones, in the order in which they come.
    pub(super) late: Arc<[Late]>,
}

/// An event that comes late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Late {
    /// The number of its line, from 0.
    pub(super) line: usize,
    /// Its stream.
    pub(super) stream: Arc<str>,
    /// Its id.
    pub(super) id: i64,
    /// Whether it comes more than once.
    pub(super) copied: bool,
}

/// What was seen of a stream.
struct Stream {
    name: Arc<str>,
    lowest: i64,
    highest: i64,
    /// Ids, each with its number among the late ones, where it is one.
    ids: HashMap<i64, Option<usize>, FixedState>,
}

impl Lines {
    pub(super) fn make(profile: Profile, events: u64, seed: u64) -> Result<Self> {
        let mut workload = profile.workload(events);
        workload.seed = seed;
        let mut bytes = Vec::new();
        workload.write(&mut bytes).map_err(|error| {
            Error::internal("memory does not take the lines").with_source(error)
        })?;
        Self::of(bytes)
    }

    /// The lines of `bytes`, which are events as [`Workload`](crate::testing::workload::Workload)
    /// writes them.
    pub(super) fn of(bytes: Vec<u8>) -> Result<Self> {
        let ends: Arc<[usize]> = memchr::memchr_iter(b'\n', &bytes)
            .map(|at| at + 1)
            .collect();
        let mut streams: HashMap<Arc<str>, Stream, FixedState> = HashMap::default();
        let mut late: Vec<Late> = Vec::new();
        let mut start = 0;
        let mut distinct = 0;
        for (line, end) in ends.iter().enumerate() {
            let (name, id) = stream_and_id(&bytes[start..*end]).ok_or_else(|| {
                Error::internal(format!("line {} of the workload is no event", line + 1))
            })?;
            start = *end;
            if !streams.contains_key(name) {
                let name: Arc<str> = name.into();
                let stream = Stream {
                    name: Arc::clone(&name),
                    lowest: id,
                    highest: id,
                    ids: HashMap::default(),
                };
                streams.insert(name, stream);
            }
            let Some(stream) = streams.get_mut(name) else {
                continue;
            };
            if let Some(known) = stream.ids.get(&id) {
                if let Some(at) = known {
                    late[*at].copied = true;
                }
                continue;
            }
            distinct += 1;
            let is_late = stream.lowest < id && id < stream.highest;
            stream.ids.insert(id, is_late.then_some(late.len()));
            if is_late {
                late.push(Late {
                    line,
                    stream: Arc::clone(&stream.name),
                    id,
                    copied: false,
                });
            }
            stream.lowest = stream.lowest.min(id);
            stream.highest = stream.highest.max(id);
        }
        Ok(Lines {
            bytes: bytes.into(),
            ends,
            distinct,
            late: late.into(),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of line `line`, counted from 0, within all bytes.
    pub(super) fn range(&self, line: usize) -> Range<usize> {
        self.end(line)..self.ends[line]
    }

    /// Where the first `lines` lines end.
    pub(super) fn end(&self, lines: usize) -> usize {
        lines.checked_sub(1).map_or(0, |last| self.ends[last])
    }
}

/// The stream and the id of a line that a workload has written.
fn stream_and_id(line: &[u8]) -> Option<(&str, i64)> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("{\"event_id\":")?;
    let (id, rest) = rest.split_once(',')?;
    let (stream, _) = rest.strip_prefix("\"stream\":\"")?.split_once('"')?;
    Some((stream, id.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `events` are `stream id` each; `expected` are the late ones as `line:stream id`, with a star
    /// where there are copies.
    #[track_caller]
    fn check(events: &str, distinct: u64, expected: &str) {
        let mut text = String::new();
        for event in events.split(", ") {
            let (stream, id) = event.split_once(' ').unwrap();
            text.push_str(&format!(
                "{{\"event_id\":{id},\"stream\":\"{stream}\",\"type\":\"T\"}}\n"
            ));
        }
        let lines = Lines::of(text.into_bytes()).unwrap();
        let late: Vec<String> = lines
            .late
            .iter()
            .map(|late| {
                let star = if late.copied { "*" } else { "" };
                format!("{}:{} {}{star}", late.line, late.stream, late.id)
            })
            .collect();
        assert_eq!(late.join(", "), expected);
        assert_eq!(lines.distinct, distinct);
    }

    #[test]
    fn late_is_what_a_higher_id_was_before() {
        check("a 1, a 2, a 3", 3, "");
        check("a 1, a 3, a 2", 3, "2:a 2");
        check("a 1, b 3, b 2, a 2", 4, "");
        check("a 5, a 9, a 3, a 4, a 7", 5, "3:a 4, 4:a 7");
        check("a 1, a 3, a 2, a 2, a 3, a 1", 3, "2:a 2*");
    }

    #[test]
    fn lines_have_their_places() {
        let line = |id| format!("{{\"event_id\":{id},\"stream\":\"a\"}}\n");
        let lines = Lines::of((line(1) + &line(10)).into_bytes()).unwrap();
        assert_eq!((lines.count(), lines.end(0)), (2, 0));
        assert_eq!(lines.bytes()[lines.range(1)], *line(10).as_bytes());
        assert_eq!(lines.end(2), lines.bytes().len());
        assert!(Lines::of(b"{}\n".to_vec()).is_err());
    }
}
