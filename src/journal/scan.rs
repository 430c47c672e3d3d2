//! Reading a whole journal: everything is checked, and reading stops at the first thing wrong.
//!
//! What is wrong is either torn, which a power cut explains and which was never reported as synced,
//! or damage. It is torn only at the end of the last segment, where bytes are missing or a disk
//! sector was never written, and where no later entry says that everything before it was synced.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use super::entry::{COPY, Checked, Checkpoint, HEADER, Header, Kind, MARK, Place, SYNCED};
use super::inspect::Extent;
use super::segment::{self, FORMAT, SegmentHeader, cache_number, segment_name, segment_number};
use super::standing::{Held, Standing};
use super::storage::{Storage, failed, read_over};
use crate::{Epoch, Error, ErrorKind, Result};

/// The unit in which a disk writes or does not.
const SECTOR: usize = 512;

/// How often a journal is looked at that somebody may be writing, and how long it is let alone.
const LOOKS_MAX: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// The newest checkpoints that are kept in memory.
const CHECKPOINTS: usize = 4096;

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameAt {
    /// The epoch.
    pub epoch: Epoch,
    /// The number of the segment.
    pub segment: u64,
    /// Where its entry begins in the segment.
    pub offset: u64,
    /// How many records it has.
    pub records: u64,
    /// How many bytes were read.
    pub bytes: u64,
    /// The time of day when the epoch was closed, in microseconds since 1970-01-01T00:00:00Z.
    pub clock_us: i64,
}

/// The state after an epoch, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The last epoch that went into the state.
    pub epoch: Epoch,
    /// The parts, in order.
    pub parts: Vec<Vec<u8>>,
}

/// One segment, as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u64,
    /// The name of its file.
    pub name: String,
    /// Its length, without what is torn.
    pub bytes: u64,
    /// The least epoch that a frame of it can have.
    pub first_epoch: Epoch,
    /// The epoch of its last frame or amendment.
    pub last_epoch: Option<Epoch>,
    /// How many frames it has.
    pub frames: u64,
    /// How many records these have.
    pub records: u64,
    /// How many bytes caches of it take.
    pub cache_bytes: u64,
    /// Stands for its entries, all of them: what was derived from equal fingerprints is equal.
    pub fingerprint: u64,
}

/// What a power cut left of entries that were never synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The name of the segment.
    pub segment: String,
    /// Where what is left begins; 0 where nothing of the segment stays.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

/// Where a journal is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The name of the segment.
    pub segment: String,
    /// Where the damage begins.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// Where the segment has to be cut to be rid of it; 0 where nothing of it can stay.
    pub(super) cut_to: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            segment,
            offset,
            what,
            ..
        } = self;
        write!(f, "segment {segment:?} at byte {offset}: {what}")
    }
}

impl Damage {
    /// The error of a run on a damaged journal.
    pub(super) fn into_error(self, place: &str) -> Error {
        Error::corrupt(format!("journal damaged: {self}")).with_hint(format!(
            "amend journal verify {place:?} shows the extent; amend journal verify --repair \
             {place:?} cuts the journal there"
        ))
    }
}

/// What a journal holds, up to the first thing wrong.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// None where there is no journal yet.
    pub(super) standing: Option<Standing>,
    pub(super) first_epoch: Epoch,
    pub(super) rules: Vec<(Epoch, Vec<u8>)>,
    pub(super) amended: Vec<(Epoch, Vec<u8>)>,
    pub(super) checkpoints: Vec<Checkpoint>,
    pub(super) frames: Vec<FrameAt>,
    pub(super) segments: Vec<SegmentInfo>,
    pub(super) base: Option<Base>,
    pub(super) cut: Option<Cut>,
    pub(super) damage: Option<Damage>,
    /// Segments that lie behind the damage, and were not looked at.
    pub(super) behind: Vec<(String, u64)>,
    collecting: Option<(Epoch, u32)>,
    parts: BTreeMap<u32, Vec<u8>>,
}

/// Reads a journal. Changes nothing.
///
/// # Errors
/// [`crate::ErrorKind::Unavailable`] where it cannot be read, [`crate::ErrorKind::Usage`] where it is of a later
/// format. Damage is no error here.
pub(super) fn scan(storage: &dyn Storage) -> Result<Scan> {
    let files = storage
        .list()
        .map_err(|err| failed(storage, "list the files", err))?;
    let mut caches = BTreeMap::<u64, u64>::new();
    let mut segments = BTreeMap::new();
    for (name, length) in files {
        if let Some(number) = segment_number(&name) {
            segments.insert(number, length);
        } else if let Some(number) = cache_number(&name) {
            *caches.entry(number).or_default() += length;
        }
    }
    let mut scan = Scan::default();
    let last = segments.last_key_value().map(|(&number, _)| number);
    let mut bytes = Vec::new();
    for (&number, &length) in &segments {
        if scan.damage.is_some() {
            scan.behind.push((segment_name(number), length));
            continue;
        }
        read_over(storage, &segment_name(number), length, &mut bytes)?;
        let segment = Segment {
            number,
            last: last == Some(number),
            bytes: &bytes,
        };
        scan.segment(storage, segment, caches.get(&number).copied().unwrap_or(0))?;
    }
    if scan.damage.is_none() {
        scan.damage = scan.missing_beginning();
    }
    Ok(scan)
}

/// As [`scan`], of a journal that somebody may be writing: what looks wrong may be a segment that
/// came or went meanwhile, so it is looked at again until it stays the same.
///
/// # Errors
/// As [`scan`].
#[expect(
    clippy::disallowed_methods,
    reason = "nobody tells a reader that has no lock when the writer is done"
)]
pub(super) fn scan_unlocked(storage: &dyn Storage) -> Result<Scan> {
    let mut before: Option<Damage> = None;
    for _ in 0..LOOKS_MAX {
        match scan(storage) {
            Ok(found) if found.damage.is_none() => return Ok(found),
            Ok(found) if found.damage == before => return Ok(found),
            Ok(found) => before = found.damage,
            // A segment that went away while it was read.
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
    scan(storage)
}

/// A segment that is read.
#[derive(Clone, Copy)]
struct Segment<'a> {
    number: u64,
    last: bool,
    bytes: &'a [u8],
}

/// What is wrong with an entry.
enum Wrong {
    /// Its bytes end before it does.
    Short,
    /// A checksum or the mark is wrong; the entry ends there, where that is known.
    Broken(&'static str, Option<usize>),
    /// It was written like this.
    Impossible(String),
}

impl Scan {
    fn segment(&mut self, storage: &dyn Storage, segment: Segment<'_>, caches: u64) -> Result<()> {
        let Segment {
            number,
            last,
            bytes,
        } = segment;
        let first = self.standing.is_none();
        if let Some(previous) = self.segments.last()
            && previous.number + 1 != number
        {
            self.damaged(previous.number + 1, 0, 0, "the segment is missing");
            self.behind.push((segment_name(number), bytes.len() as u64));
            return Ok(());
        }
        let known = self.standing.as_ref().map(|standing| standing.journal);
        let header = bytes.first_chunk::<{ segment::LENGTH }>();
        let header = match header.map(SegmentHeader::read) {
            Some(Ok(header)) => header,
            wrong => {
                let torn = wrong.is_none() || never_written(bytes, 0, segment::LENGTH);
                if last && torn && !has_frame(bytes, segment::LENGTH) {
                    self.torn(segment, 0);
                } else {
                    let what = wrong.and_then(std::result::Result::err);
                    self.damaged(number, 0, 0, what.unwrap_or("its header is cut short"));
                }
                return Ok(());
            }
        };
        if header.format != FORMAT {
            return Err(Error::usage(format!(
                "journal {:?} has format {}; this version of amend reads format {FORMAT}",
                storage.place(),
                header.format
            ))
            .with_hint("run it with the version of amend that wrote it, or a later one"));
        }
        let foreign = if header.number != number {
            Some("it is another segment under this name")
        } else if known.is_some_and(|journal| journal != header.journal) {
            Some("it is of another journal")
        } else if let Some(standing) = &self.standing
            && standing.next_epoch != header.first_epoch
        {
            Some("its epochs do not follow those of the segment before")
        } else {
            None
        };
        if let Some(what) = foreign {
            self.damaged(number, 0, 0, what);
            return Ok(());
        }
        self.entries(segment, header, first, caches);
        Ok(())
    }

    fn entries(&mut self, segment: Segment<'_>, header: SegmentHeader, first: bool, caches: u64) {
        let Segment { number, bytes, .. } = segment;
        let mut info = SegmentInfo {
            number,
            name: segment_name(number),
            bytes: 0,
            first_epoch: header.first_epoch,
            last_epoch: None,
            frames: 0,
            records: 0,
            cache_bytes: caches,
            fingerprint: 0,
        };
        let mut fingerprint = Xxh3::new();
        fingerprint.update(&bytes[..segment::LENGTH]);
        // The repetitions that are to come before anything else; none before the identity is known.
        let mut copies = None;
        let mut at = segment::LENGTH;
        while at < bytes.len() {
            let place = Place {
                journal: header.journal,
                segment: number,
                offset: at as u64,
            };
            let wrong = match read_entry(bytes, at, place) {
                Ok((entry_header, entry, end)) => {
                    let taken = self.take(
                        &mut info,
                        header,
                        first,
                        &mut copies,
                        at,
                        entry_header,
                        entry,
                    );
                    match taken {
                        Ok(()) => {
                            fingerprint.update(&bytes[at..at + HEADER]);
                            at = end;
                            continue;
                        }
                        Err(what) => Wrong::Impossible(format!("an entry that cannot be: {what}")),
                    }
                }
                Err(wrong) => wrong,
            };
            self.stop(segment, header.journal, at, copies != Some(0), wrong);
            break;
        }
        if self.damage.is_none() && self.cut.is_none() && copies != Some(0) {
            self.stop(segment, header.journal, at, true, Wrong::Short);
        }
        let gone = self.cut.as_ref().is_some_and(|cut| cut.offset == 0)
            || self
                .damage
                .as_ref()
                .is_some_and(|damage| damage.cut_to == 0);
        if gone {
            // Its repetitions are known from the segments before; without any there is no journal.
            if first {
                *self = Scan {
                    cut: self.cut.take(),
                    damage: self.damage.take(),
                    ..Scan::default()
                };
            } else if let Some(standing) = &mut self.standing
                && standing
                    .segments
                    .back()
                    .is_some_and(|held| held.number == number)
            {
                standing.segments.pop_back();
            }
            return;
        }
        if first {
            self.first_epoch = header.first_epoch;
        }
        info.bytes = at as u64;
        info.fingerprint = fingerprint.digest();
        self.segments.push(info);
    }

    /// Takes in an entry that was read at `at`.
    #[expect(clippy::too_many_arguments, reason = "the state of one loop")]
    fn take(
        &mut self,
        info: &mut SegmentInfo,
        segment: SegmentHeader,
        first: bool,
        copies: &mut Option<u32>,
        at: usize,
        header: Header,
        entry: Checked,
    ) -> std::result::Result<(), &'static str> {
        let opening = *copies != Some(0);
        if opening != (header.flags & COPY != 0) {
            return Err("out of its place in the segment");
        }
        match (&mut *copies, &entry) {
            (
                None,
                Checked::Identity {
                    identity,
                    copies: n,
                    previous_bytes,
                },
            ) => {
                // Its end may be missing just where another entry would begin.
                let before = self.segments.last();
                if before.is_some_and(|before| before.bytes != *previous_bytes) {
                    return Err("the segment before it was closed with another length");
                }
                *copies = Some(*n);
                let held = Held {
                    number: info.number,
                    next_epoch: segment.first_epoch,
                };
                let standing = self.standing.get_or_insert_with(|| {
                    Standing::new(segment.journal, identity.clone(), segment.first_epoch)
                });
                standing.take_read(&entry)?;
                standing.segments.push_back(held);
                return Ok(());
            }
            (None, _) => return Err("the first one does not say whose journal it is"),
            (Some(_), Checked::Identity { .. }) => return Err("whose journal it is, twice"),
            (Some(left @ 1..), _) => {
                *left -= 1;
                if !first {
                    return Ok(());
                }
            }
            (Some(0), _) => {}
        }
        let Some(standing) = &mut self.standing else {
            return Err("the first one does not say whose journal it is");
        };
        standing.take_read(&entry)?;
        match entry {
            Checked::Rules { epoch, text } => self.rules.push((epoch, text)),
            Checked::Frame { epoch, summary } => {
                info.last_epoch = Some(epoch);
                info.frames += 1;
                info.records += summary.records as u64;
                self.frames.push(FrameAt {
                    epoch,
                    segment: info.number,
                    offset: at as u64,
                    records: summary.records as u64,
                    bytes: summary.bytes as u64,
                    clock_us: summary.clock_us,
                });
            }
            Checked::Checkpoint(checkpoint) => {
                // Half at a time, so that each is moved a few times at most.
                if self.checkpoints.len() == 2 * CHECKPOINTS {
                    self.checkpoints.drain(..CHECKPOINTS);
                }
                self.checkpoints.push(checkpoint);
            }
            Checked::Base(part) => {
                let base = (part.epoch, part.parts);
                if self.collecting != Some(base) || self.parts.contains_key(&part.part) {
                    self.parts.clear();
                    self.collecting = Some(base);
                }
                self.parts.insert(part.part, part.bytes);
                if self.parts.len() as u64 == u64::from(part.parts) {
                    self.base = Some(Base {
                        epoch: part.epoch,
                        parts: std::mem::take(&mut self.parts).into_values().collect(),
                    });
                    self.collecting = None;
                }
            }
            Checked::Amended { epoch, bytes } => {
                info.last_epoch = Some(epoch);
                self.amended.push((epoch, bytes));
                (self.base, self.collecting) = (None, None);
                self.parts.clear();
            }
            Checked::Identity { .. } | Checked::Partition { .. } | Checked::End { .. } => {}
        }
        Ok(())
    }

    /// Reading stops at `at`: that is a cut or damage.
    fn stop(&mut self, segment: Segment<'_>, journal: u64, at: usize, opening: bool, wrong: Wrong) {
        let Segment {
            number,
            last,
            bytes,
        } = segment;
        let unwritten = match wrong {
            Wrong::Short => true,
            Wrong::Broken(_, end) => {
                let end = end.unwrap_or((at + HEADER).next_multiple_of(SECTOR));
                never_written(bytes, at, end)
            }
            Wrong::Impossible(_) => false,
        };
        let later = || {
            if opening {
                has_frame(bytes, at)
            } else {
                has_synced(bytes, at, journal, number)
            }
        };
        let keep = if opening { 0 } else { at };
        if last && unwritten && !later() {
            self.torn(segment, keep);
            return;
        }
        let what = match wrong {
            Wrong::Short => "an entry is cut short".to_owned(),
            Wrong::Broken(what, _) => what.to_owned(),
            Wrong::Impossible(what) => what,
        };
        self.damaged(number, at, keep, &what);
    }

    fn torn(&mut self, segment: Segment<'_>, offset: usize) {
        self.cut = Some(Cut {
            segment: segment_name(segment.number),
            offset: offset as u64,
            bytes: (segment.bytes.len() - offset) as u64,
        });
    }

    fn damaged(&mut self, number: u64, offset: usize, cut_to: usize, what: &str) {
        self.damage = Some(Damage {
            segment: segment_name(number),
            offset: offset as u64,
            what: what.to_owned(),
            cut_to: cut_to as u64,
        });
    }

    /// Segments go only when a base stands for them.
    pub(super) fn missing_beginning(&self) -> Option<Damage> {
        let segment = self.segments.first()?;
        let stands = |base: &Base| base.epoch.saturating_add(1) >= self.first_epoch;
        if segment.number == 1 || self.base.as_ref().is_some_and(stands) {
            return None;
        }
        Some(Damage {
            segment: segment.name.clone(),
            offset: 0,
            what: "the segments before it are missing, and no base stands for them".to_owned(),
            cut_to: 0,
        })
    }
}

/// The entry at `at` and where it ends.
fn read_entry(
    bytes: &[u8],
    at: usize,
    place: Place,
) -> std::result::Result<(Header, Checked, usize), Wrong> {
    let rest = bytes.get(at..).unwrap_or_default();
    let header = rest.first_chunk::<HEADER>().ok_or(Wrong::Short)?;
    let Some(header) = Header::read(header, place) else {
        return Err(Wrong::Broken(
            "the checksum of an entry's header is wrong",
            None,
        ));
    };
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    let end = length.saturating_add(HEADER);
    let (Some(payload), Some(&mark)) = (rest.get(HEADER..end), rest.get(end)) else {
        return Err(Wrong::Short);
    };
    let whole = at + end + 1;
    if crc32fast::hash(payload) != header.checksum {
        return Err(Wrong::Broken(
            "the checksum of an entry is wrong",
            Some(whole),
        ));
    }
    if mark != MARK {
        return Err(Wrong::Broken("an entry is not closed", Some(whole)));
    }
    let entry =
        Checked::read(header, payload).map_err(|what| Wrong::Impossible(what.to_string()))?;
    Ok((header, entry, whole))
}

/// What of the entries from `from` on can still be read, whatever lies between them.
pub(super) fn extent(bytes: &[u8], from: usize, journal: u64, segment: u64, extent: &mut Extent) {
    let mut at = from;
    while at < bytes.len() {
        let place = Place {
            journal,
            segment,
            offset: at as u64,
        };
        let header = bytes[at..].first_chunk::<HEADER>();
        let known = Kind::of(bytes[at]).is_some();
        let header = header
            .filter(|_| known)
            .and_then(|header| Header::read(header, place));
        if let Some(header) = header.filter(|header| header.kind == Kind::Frame as u8) {
            extent.frames += 1;
            extent.first_epoch = extent.first_epoch.or(Some(header.epoch));
            extent.last_epoch = Some(header.epoch);
        }
        at = match read_entry(bytes, at, place) {
            Ok((_, entry, end)) => {
                if let Checked::Frame { summary, .. } = entry {
                    extent.records += summary.records as u64;
                }
                end
            }
            Err(_) => at + 1,
        };
    }
}

/// Whether some sector's share of `start..end` is all zeros, as it is where a disk never wrote it: an
/// entry begins and ends with bytes that are not zero.
fn never_written(bytes: &[u8], start: usize, end: usize) -> bool {
    let end = end.min(bytes.len());
    let mut from = start;
    while from < end {
        let to = ((from / SECTOR + 1) * SECTOR).min(end);
        if bytes[from..to].iter().all(|&byte| byte == 0) {
            return true;
        }
        from = to;
    }
    false
}

/// Whether something that looks like a frame begins after `from`. Frames are only written after the
/// opening of their segment was synced. Which journal it is may not be known, so there is no checksum.
fn has_frame(bytes: &[u8], from: usize) -> bool {
    (from..bytes.len()).any(|at| {
        if bytes[at] != Kind::Frame as u8 {
            return false;
        }
        let Some(header) = bytes[at..].first_chunk::<HEADER>() else {
            return false;
        };
        let mut length = [0; 8];
        length.copy_from_slice(&header[10..18]);
        let end = usize::try_from(u64::from_le_bytes(length))
            .unwrap_or(usize::MAX)
            .saturating_add(at + HEADER);
        header[1] & !(COPY | SYNCED) == 0 && bytes.get(end) == Some(&MARK)
    })
}

/// Whether an entry after `from` says that everything before it was synced when it was written.
fn has_synced(bytes: &[u8], from: usize, journal: u64, segment: u64) -> bool {
    (from + 1..bytes.len()).any(|at| {
        if Kind::of(bytes[at]).is_none() || bytes.get(at + 1).is_none_or(|f| f & SYNCED == 0) {
            return false;
        }
        let place = Place {
            journal,
            segment,
            offset: at as u64,
        };
        let header = bytes[at..].first_chunk::<HEADER>();
        header.is_some_and(|header| Header::read(header, place).is_some())
    })
}
