//! Which line of `gaps.jsonl` corrects what.
//!
//! A gap that holds an id is closed when the id comes, and no gap holds it ever after. So an event
//! that came late is corrected by the last line that closes a gap with its id in it. There is none
//! where the event came in the same epoch as the higher id before it: then no gap was ever said to
//! be there.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use foldhash::fast::FixedState;
use serde::Deserialize;

use super::workload::Late;
use crate::{Error, Result};

/// Lines that left at once.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// When.
    pub(super) at: Duration,
    /// The lines.
    pub(super) bytes: Vec<u8>,
}

/// A line of `gaps.jsonl`.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    op: &'a str,
    stream: &'a str,
    from: i64,
    to: i64,
}

/// When the correction of each of `late` left; none where there was nothing to correct. `pages` are
/// in the order in which they left.
pub(super) fn departures<'a>(
    late: impl Iterator<Item = &'a Late>,
    pages: &[Page],
) -> Result<Vec<Option<Duration>>> {
    // By stream, the ids whose correction is still looked for, and their places among `late`.
    let mut sought: HashMap<&str, BTreeMap<i64, usize>, FixedState> = HashMap::default();
    let mut departures = Vec::new();
    for (at, late) in late.enumerate() {
        sought.entry(&late.stream).or_default().insert(late.id, at);
        departures.push(None);
    }
    // From the end, the first that fits is the last.
    for page in pages.iter().rev() {
        for text in page.bytes.split(|byte| *byte == b'\n') {
            if text.is_empty() {
                continue;
            }
            let line: Line<'_> = serde_json::from_slice(text).map_err(|error| {
                Error::internal("a line about a gap cannot be read").with_source(error)
            })?;
            if line.op != "close" {
                continue;
            }
            let Some(ids) = sought.get_mut(line.stream) else {
                continue;
            };
            while let Some((&id, &at)) = ids.range(line.from..=line.to).next() {
                ids.remove(&id);
                departures[at] = Some(page.at);
            }
        }
    }
    Ok(departures)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `late` are `stream id` each; `pages` are lines as `+a 1 9` for a gap that opens and
    /// `-a 1 9` for one that closes, the first page at 0 ms, the next at 1 ms; `expected` are the
    /// milliseconds of each correction.
    #[track_caller]
    fn check(late: &str, pages: &[&str], expected: &[Option<u64>]) {
        let late: Vec<Late> = late
            .split(", ")
            .map(|event| {
                let (stream, id) = event.split_once(' ').unwrap();
                Late {
                    line: 0,
                    stream: stream.into(),
                    id: id.parse().unwrap(),
                    copied: false,
                }
            })
            .collect();
        let line = |text: &str| {
            let words: Vec<&str> = text[1..].split(' ').collect();
            let op = if text.starts_with('+') {
                "open"
            } else {
                "close"
            };
            format!(
                "{{\"epoch\":0,\"op\":\"{op}\",\"stream\":\"{}\",\"from\":{},\"to\":{}}}\n",
                words[0], words[1], words[2]
            )
        };
        let pages: Vec<Page> = pages
            .iter()
            .zip(0..)
            .map(|(lines, at)| Page {
                at: Duration::from_millis(at),
                bytes: lines.split(", ").map(line).collect::<String>().into_bytes(),
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|ms| ms.map(Duration::from_millis))
            .collect();
        assert_eq!(departures(late.iter(), &pages).unwrap(), expected);
    }

    #[test]
    fn the_last_gap_with_the_id_counts() {
        check("a 2", &["+a 2 2", "-a 2 2"], &[Some(1)]);
        // It split a gap, and then another event split what was left.
        let pages = ["+a 2 8", "-a 2 8, +a 2 4, +a 6 8", "-a 6 8, +a 6 6, +a 8 8"];
        check("a 5, a 7", &pages, &[Some(1), Some(2)]);
        // Both in one epoch.
        check(
            "a 5, a 7",
            &["+a 2 8", "-a 2 8, +a 2 4, +a 6 6, +a 8 8"],
            &[Some(1), Some(1)],
        );
    }

    #[test]
    fn where_no_gap_was_there_is_no_correction() {
        check(
            "a 2, a 5",
            &["+a 4 6", "-a 4 6, +a 4 4, +a 6 6"],
            &[None, Some(1)],
        );
        check("b 5", &["+a 5 5", "-a 5 5"], &[None]);
        check("a 5", &["+a 5 5"], &[None]);
    }
}
