//! What is counted on the way: each number where it arises, so that they can be held against each
//! other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::report::Example;
use crate::event::Reason;
use crate::operators::Position;
use crate::{Error, Result};

/// Changes of the totals, as one worker has seen them in one epoch; or the totals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Records, as the reader counts them.
    pub read: u64,
    /// Events whose seat is taken by a valid copy, as the dedup operator counts them.
    pub seats: i64,
    /// Lines of kept events that went to `clean.jsonl`, as their writer counts them.
    pub clean_kept: u64,
    /// Lines of reconstructed events that went there.
    pub clean_reconstructed: u64,
    /// Lines that insert into the changelog less those that retract.
    pub published: i64,
    /// Dead letters written less those withdrawn.
    pub dead: BTreeMap<Reason, i64>,
    /// Published events that were withdrawn or replaced.
    pub retractions: u64,
    /// Reconstructed events that stand.
    pub reconstructed: i64,
    /// Reconstructed events that were withdrawn because their id came.
    pub filled: u64,
    /// Gaps that are open.
    pub gaps_open: i64,
    /// Ids that they miss.
    pub gaps_missing: i128,
    /// Some of the dead letters that stand.
    pub examples: BTreeMap<(Reason, Position), Example>,
    /// Those of them that were withdrawn.
    pub withdrawn: Vec<(Reason, Position)>,
    /// Letters about gaps that were withdrawn.
    pub withdrawn_about_gaps: Vec<(Reason, Example)>,
}

/// Letters of one reason of which the totals keep a sample: more than are shown, because some are
/// withdrawn.
const EXAMPLES: usize = 64;

impl Tally {
    /// Adds the changes `more`.
    pub fn add(&mut self, more: &Tally) {
        self.read += more.read;
        self.seats += more.seats;
        self.clean_kept += more.clean_kept;
        self.clean_reconstructed += more.clean_reconstructed;
        self.published += more.published;
        for (reason, count) in &more.dead {
            *self.dead.entry(*reason).or_default() += count;
        }
        self.retractions += more.retractions;
        self.reconstructed += more.reconstructed;
        self.filled += more.filled;
        self.gaps_open += more.gaps_open;
        self.gaps_missing += more.gaps_missing;
        for letter in &more.withdrawn {
            self.examples.remove(letter);
        }
        if !more.withdrawn_about_gaps.is_empty() {
            self.examples.retain(|(reason, _), sample| {
                !more
                    .withdrawn_about_gaps
                    .iter()
                    .any(|(r, s)| r == reason && s == sample)
            });
        }
        for (key, sample) in &more.examples {
            let known = self
                .examples
                .keys()
                .filter(|(reason, _)| *reason == key.0)
                .count();
            if known < EXAMPLES {
                self.examples.insert(*key, sample.clone());
            }
        }
    }

    /// Goes on from what an earlier run has counted, which read the same records; what depends on
    /// how they were cut into epochs is taken from it.
    ///
    /// # Errors
    /// `Internal` where the two do not agree on what does not.
    pub fn recover(&mut self, before: &Tally) -> Result<()> {
        let standing = |tally: &Tally| {
            let dead = tally.dead.iter().filter(|(_, count)| **count != 0);
            let dead: Vec<_> = dead.map(|(reason, count)| (*reason, *count)).collect();
            let gaps = (tally.gaps_open, tally.gaps_missing, tally.reconstructed);
            (tally.read, tally.seats, dead, gaps)
        };
        if standing(self) != standing(before) {
            return Err(Error::internal(format!(
                "the journal gives another answer than it gave when it was written: {:?} is not {:?}",
                standing(self),
                standing(before)
            ))
            .with_hint("was it written by another version of amend?"));
        }
        *self = before.clone();
        Ok(())
    }

    /// Counts a dead letter that is written (1) or withdrawn (-1).
    pub fn letter(&mut self, reason: Reason, diff: i64) {
        *self.dead.entry(reason).or_default() += diff;
    }

    /// Dead letters about records.
    fn dead_records(&self) -> i64 {
        let about_records = self
            .dead
            .iter()
            .filter(|(reason, _)| reason.is_about_record());
        about_records.map(|(_, count)| count).sum()
    }

    /// Holds the counts against each other: no record vanishes, none is made up.
    ///
    /// `streamed` tells that kept events have gone to `clean.jsonl` as they came, `changelog` that
    /// there is one, `ended` that reconstructed events were written to `clean.jsonl` too.
    ///
    /// # Errors
    /// `Internal`, naming the counts that do not agree.
    pub fn check(&self, streamed: bool, changelog: bool, ended: bool) -> Result<()> {
        let fail = |what: &str, left: i64, right: i64| {
            Err(Error::internal(format!(
                "conservation is broken: {what}: {left} is not {right}"
            ))
            .with_hint("this is a bug in amend; please report it with the input"))
        };
        let accounted = self.seats + self.dead_records();
        if self.read as i64 != accounted {
            let what = "records read (reader) = kept (dedup) + dead letters about records (sink)";
            return fail(what, self.read as i64, accounted);
        }
        if streamed && self.clean_kept as i64 != self.seats {
            let what = "kept events written (clean sink) = kept (dedup)";
            return fail(what, self.clean_kept as i64, self.seats);
        }
        let published = self.seats + self.reconstructed;
        if changelog && self.published != published {
            let what = "published (changes sink) = kept (dedup) + reconstructed (gaps)";
            return fail(what, self.published, published);
        }
        let written = (self.clean_kept + self.clean_reconstructed) as i64;
        if ended && written != published {
            let what = "published (clean sink) = kept (dedup) + reconstructed (gaps)";
            return fail(what, written, published);
        }
        Ok(())
    }
}
