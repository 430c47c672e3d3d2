//! The answer, and how it becomes `clean.jsonl`, `dead.jsonl` and `gaps.jsonl`.
//!
//! Kept lines are written out of the mapped input, runs at a time: only what was found to be an
//! exception is touched again.

use std::fs::File;
use std::io::{IoSlice, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::letters::{
    Place, write_gap, write_gap_letter, write_inferred, write_kept, write_letter,
};
use crate::reader::{Part, Rewrite};
use crate::{EPOCH_EVENTS, MAX_MISSING, MAX_WIDTH};

/// Why a well-formed record is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    Duplicate,
    Conflict,
    Invalid,
}

impl Label {
    fn reason(self) -> (&'static str, &'static str) {
        match self {
            Label::Duplicate => ("duplicate", "same bytes as the copy that was kept"),
            Label::Conflict => ("conflict", "a copy with other bytes was kept"),
            Label::Invalid => ("invalid", "the event says that it is not valid"),
        }
    }
}

/// A run of missing ids, between two times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    pub from: i64,
    pub to: i64,
    /// The latest time of the id below.
    pub after: i64,
    /// The earliest time of the id above.
    pub before: i64,
}

impl Gap {
    fn width(&self) -> u64 {
        // Both ends are ids, so that even the widest gap fits.
        self.to.wrapping_sub(self.from) as u64 + 1
    }

    fn is_narrow(&self) -> bool {
        self.width() <= MAX_WIDTH
    }

    fn middle(&self) -> i64 {
        let sum = i128::from(self.after) + i128::from(self.before);
        i64::try_from(sum.div_euclid(2)).expect("between two times")
    }
}

/// What is known of a stream with gaps in the end.
#[derive(Clone, Debug)]
pub struct Stream<'a> {
    pub name: &'a str,
    /// The type of inferred events.
    pub kind: &'a str,
    /// From the lowest up.
    pub gaps: Vec<Gap>,
}

/// A part of the input with the labels of its records, in their order.
#[derive(Debug)]
pub struct Judged<'a, 'b> {
    pub part: &'b Part<'a>,
    pub labels: Vec<(u32, Label)>,
}

/// Writes the files into `out`; a thread for each part, and `streams` in the order of their names.
///
/// # Errors
/// Where a file cannot be written.
pub fn write(
    out: &Path,
    file: &str,
    parts: &[Judged<'_, '_>],
    streams: &[Stream<'_>],
) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("could not make {}", out.display()))?;
    let create = |name: &str| {
        let path = out.join(name);
        File::create(&path).with_context(|| format!("could not create {}", path.display()))
    };
    let (clean, dead, gaps) = (
        create("clean.jsonl")?,
        create("dead.jsonl")?,
        create("gaps.jsonl")?,
    );
    let (mut record, mut line) = (0, 0);
    let mut starts = Vec::new();
    for Judged { part, .. } in parts {
        starts.push((record, line));
        record += part.starts.len() as u64;
        line += (part.starts.len() + part.blanks.len()) as u64;
    }
    let pages: Vec<Pages<'_>> = on_threads(parts.iter().zip(&starts), |(judged, start)| {
        Ok(Pages::new(judged, file, *start))
    })?;
    let mut ends = vec![(0, 0)];
    for page in &pages {
        let (clean, dead) = ends[ends.len() - 1];
        ends.push((clean + page.clean_bytes, dead + page.dead.len() as u64));
    }
    on_threads(
        pages.iter().zip(&ends),
        |(page, &(clean_start, dead_start))| {
            page.write_clean(&mut at(out, "clean.jsonl", clean_start)?)?;
            Ok(at(out, "dead.jsonl", dead_start)?.write_all(&page.dead)?)
        },
    )?;
    drop(pages);
    let (clean_end, dead_end) = ends[parts.len()];
    let last_epoch = record.saturating_sub(1) / u64::from(EPOCH_EVENTS);
    let inferred = Inferred::new(streams, last_epoch);
    write_at(clean, clean_end, &inferred.events)?;
    write_at(dead, dead_end, &inferred.letters)?;
    write_at(gaps, 0, &inferred.gaps)
}

/// Does `job` for each item, on a thread of its own where there are several.
fn on_threads<I: Send, O: Send>(
    items: impl ExactSizeIterator<Item = I>,
    job: impl Fn(I) -> Result<O> + Sync,
) -> Result<Vec<O>> {
    if items.len() == 1 {
        return items.map(&job).collect();
    }
    std::thread::scope(|scope| {
        let job = &job;
        let threads: Vec<_> = items.map(|item| scope.spawn(move || job(item))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a writer does not panic"))
            .collect()
    })
}

fn at(out: &Path, name: &str, start: u64) -> Result<File> {
    let mut file = File::options().write(true).open(out.join(name))?;
    file.seek(SeekFrom::Start(start))?;
    Ok(file)
}

fn write_at(mut file: File, start: u64, bytes: &[u8]) -> Result<()> {
    file.seek(SeekFrom::Start(start))?;
    Ok(file.write_all(bytes)?)
}

/// What a part gives to the files.
struct Pages<'a> {
    text: &'a [u8],
    /// Records that were written anew, one after the other.
    rewritten: Vec<u8>,
    clean: Vec<Piece>,
    clean_bytes: u64,
    dead: Vec<u8>,
}

/// A piece of the clean file.
enum Piece {
    Copied(std::ops::Range<u32>),
    Rewritten(std::ops::Range<usize>),
}

/// What is to be done about a line that is not copied.
enum Exception<'a> {
    Blank,
    Rewrite(Rewrite),
    Letter(&'static str, &'a str),
}

impl<'a> Pages<'a> {
    fn new(judged: &'a Judged<'a, '_>, file: &str, (first_record, first_line): (u64, u64)) -> Self {
        let Judged { part, labels } = judged;
        // Later ones of one record count: a letter about it outdoes that it would be rewritten.
        let mut exceptions: Vec<(u32, Exception<'a>, u32)> = Vec::new();
        exceptions.extend(
            part.blanks
                .iter()
                .map(|(range, _)| (range.start, Exception::Blank, range.end)),
        );
        let start = |record: u32| part.starts[record as usize];
        exceptions.extend(
            part.rewrites
                .iter()
                .map(|&(record, rewrite)| (start(record), Exception::Rewrite(rewrite), record)),
        );
        exceptions.extend(part.faults.iter().map(|(record, fault)| {
            (
                start(*record),
                Exception::Letter(fault.reason, &fault.detail),
                *record,
            )
        }));
        exceptions.extend(labels.iter().map(|&(record, label)| {
            let (reason, detail) = label.reason();
            (start(record), Exception::Letter(reason, detail), record)
        }));
        exceptions.sort_by_key(|(start, ..)| *start);

        let mut pages = Pages {
            text: part.text,
            rewritten: Vec::new(),
            clean: Vec::new(),
            clean_bytes: 0,
            dead: Vec::new(),
        };
        let mut blanks = part.blanks.iter().peekable();
        let mut blanks_before = 0;
        let mut done = 0;
        let mut exceptions = exceptions.into_iter().peekable();
        while let Some((start, exception, number)) = exceptions.next() {
            if exceptions.peek().is_some_and(|(next, ..)| *next == start) {
                continue;
            }
            pages.copy(done..start);
            let record = match exception {
                Exception::Blank => {
                    done = number;
                    continue;
                }
                _ => part.record(number),
            };
            done = start + part.line(number).len() as u32;
            match exception {
                Exception::Blank => unreachable!("handled above"),
                Exception::Rewrite(Rewrite { adds_valid }) => {
                    let from = pages.rewritten.len();
                    write_kept(record, adds_valid, &mut pages.rewritten);
                    let piece = from..pages.rewritten.len();
                    pages.clean_bytes += piece.len() as u64;
                    pages.clean.push(Piece::Rewritten(piece));
                }
                Exception::Letter(reason, detail) => {
                    while blanks.next_if(|(_, before)| *before <= number).is_some() {
                        blanks_before += 1;
                    }
                    let place = Place {
                        file,
                        record: first_record + u64::from(number),
                        offset: part.offset + u64::from(start),
                        line: first_line + u64::from(number) + blanks_before + 1,
                    };
                    write_letter(reason, detail, place, record, &mut pages.dead);
                }
            }
        }
        pages.copy(done..part.text.len() as u32);
        pages
    }

    fn copy(&mut self, range: std::ops::Range<u32>) {
        if !range.is_empty() {
            self.clean_bytes += u64::from(range.end - range.start);
            self.clean.push(Piece::Copied(range));
        }
    }

    fn write_clean(&self, file: &mut File) -> Result<()> {
        // As many as the system takes at once.
        for pieces in self.clean.chunks(1024) {
            let mut slices: Vec<IoSlice<'_>> = pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Copied(range) => &self.text[range.start as usize..range.end as usize],
                    Piece::Rewritten(range) => &self.rewritten[range.clone()],
                })
                .map(IoSlice::new)
                .collect();
            let mut slices = slices.as_mut_slice();
            while !slices.is_empty() {
                let written = file.write_vectored(slices)?;
                IoSlice::advance_slices(&mut slices, written);
            }
        }
        Ok(())
    }
}

/// What follows from the gaps.
#[derive(Default)]
struct Inferred {
    events: Vec<u8>,
    letters: Vec<u8>,
    gaps: Vec<u8>,
}

impl Inferred {
    fn new(streams: &[Stream<'_>], epoch: u64) -> Self {
        let mut out = Inferred::default();
        for Stream { name, kind, gaps } in streams {
            let narrow = gaps.iter().filter(|gap| gap.is_narrow());
            let is_sparse = narrow.map(Gap::width).sum::<u64>() > MAX_MISSING;
            if is_sparse {
                write_gap_letter("sequence-too-sparse", name, None, epoch, &mut out.letters);
            }
            for gap in gaps {
                write_gap(name, gap.from, gap.to, &mut out.gaps);
                if !gap.is_narrow() {
                    let ids = Some((gap.from, gap.to));
                    write_gap_letter("gap-too-wide", name, ids, epoch, &mut out.letters);
                } else if !is_sparse {
                    let middle = gap.middle();
                    for id in gap.from..=gap.to {
                        write_inferred(name, id, kind, middle, &mut out.events);
                    }
                }
            }
        }
        out
    }
}
