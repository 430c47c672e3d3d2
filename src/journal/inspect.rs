//! Looking at a journal, cutting it at damage, and removing what nothing needs.
//!
//! Looking takes no lock and changes nothing; while a run writes, the end of what it sees may be
//! half an entry, which is shown as torn. The rest takes the lock.

use super::entry::{Checkpoint, Identity, Partition};
use super::frame::Position;
use super::recovery::{apply_cut, cut_segment};
use super::scan::{self, Cut, Damage, Scan, SegmentInfo, scan_unlocked};
use super::segment::{self, FORMAT, SegmentHeader};
use super::storage::{Storage, failed, read_all};
use super::writer::remove_segments;
use crate::{Epoch, Error, Result};

/// What a journal holds.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whose it is; none where nothing of it can be read.
    pub identity: Option<Identity>,
    /// The version of its format.
    pub format: u32,
    /// The segments, by number, up to the damage.
    pub segments: Vec<SegmentInfo>,
    /// The records of all frames.
    pub records: u64,
    /// The bytes that were read for them.
    pub read_bytes: u64,
    /// The partitions, by number.
    pub partitions: Vec<PartitionReport>,
    /// The least epoch whose frame is kept.
    pub first_epoch: Epoch,
    /// The epoch after the last one.
    pub next_epoch: Epoch,
    /// The last checkpoint.
    pub checkpoint: Option<Checkpoint>,
    /// The epoch with which the bounded input ended.
    pub end: Option<Epoch>,
    /// The epoch of the latest complete base, and its bytes.
    pub base: Option<(Epoch, u64)>,
    /// What is torn at the end.
    pub cut: Option<Cut>,
    /// What is damaged.
    pub damage: Option<Damage>,
}

/// A partition, and how far it was read.
#[derive(Clone, Debug)]
pub struct PartitionReport {
    /// The partition.
    pub partition: Partition,
    /// Where reading goes on; none where nothing was read.
    pub position: Option<Position>,
    /// Whether it ended.
    pub ended: bool,
}

/// How much lies behind damage. What is damaged itself can't be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The first epoch of which something is left.
    pub first_epoch: Option<Epoch>,
    /// The last epoch of which something is left.
    pub last_epoch: Option<Epoch>,
    /// Frames of which at least the header is left.
    pub frames: u64,
    /// Records of frames that are whole.
    pub records: u64,
    /// All bytes from the damage on.
    pub bytes: u64,
}

/// What [`repair`] did.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// The damage at which the journal was cut.
    pub damage: Option<Damage>,
    /// What was torn, and cut off.
    pub cut: Option<Cut>,
    /// What went with the damage.
    pub lost: Extent,
}

/// What [`compact`] did.
#[derive(Clone, Debug)]
pub struct Compacted {
    /// What was torn, and cut off.
    pub cut: Option<Cut>,
    /// The segments that were removed.
    pub removed: Vec<String>,
    /// How many bytes that freed.
    pub freed_bytes: u64,
}

/// Reads and checks a whole journal.
///
/// # Errors
/// `Usage` where there is no journal, or one of another format. Damage is in the report.
pub fn inspect(storage: &dyn Storage) -> Result<Report> {
    let found = found(storage)?;
    let standing = found.standing.as_ref();
    let partitions = standing.into_iter().flat_map(|s| s.partitions.values());
    Ok(Report {
        identity: standing.map(|standing| standing.identity.clone()),
        format: FORMAT,
        records: found.frames.iter().map(|frame| frame.records).sum(),
        read_bytes: found.frames.iter().map(|frame| frame.bytes).sum(),
        partitions: partitions
            .map(|known| PartitionReport {
                partition: known.partition.clone(),
                position: known.position,
                ended: known.ended,
            })
            .collect(),
        first_epoch: found.first_epoch,
        next_epoch: standing.map_or(0, |standing| standing.next_epoch),
        checkpoint: standing.and_then(|standing| standing.checkpoint.clone()),
        end: standing.and_then(|standing| standing.end),
        base: found.base.as_ref().map(|base| {
            let bytes = base.parts.iter().map(|part| part.len() as u64).sum();
            (base.epoch, bytes)
        }),
        segments: found.segments,
        cut: found.cut,
        damage: found.damage,
    })
}

/// Cuts a journal where it is damaged or torn, and says what that lost. Where nothing is, nothing
/// changes.
///
/// # Errors
/// `Usage` where there is no journal, `Fenced` where a run writes it; `Corrupt` where its beginning is
/// missing, which no cut mends; `Unavailable` where the cut failed, after which it can be tried again.
pub fn repair(storage: &dyn Storage) -> Result<Repaired> {
    // Without a journal there is nothing to lock.
    found(storage)?;
    let _lock = storage.lock()?;
    let found = found(storage)?;
    let mut lost = Extent::default();
    if let Some(damage) = found.missing_beginning() {
        let error = damage.into_error(&storage.place());
        return Err(error.with_hint(
            "put the missing segments back, or give the run a journal of its own: what is left \
             cannot be recovered from",
        ));
    }
    if let Some(cut) = &found.cut {
        apply_cut(storage, cut)?;
    }
    if let Some(damage) = &found.damage {
        lost = extent_of(storage, &found, damage)?;
        // The last one first: a crash leaves the same damage, not another.
        for (name, _) in found.behind.iter().rev() {
            cut_segment(storage, name, 0)?;
        }
        let files = storage
            .list()
            .map_err(|err| failed(storage, "list the files", err))?;
        // A segment that is missing needs no cut.
        if files.iter().any(|(name, _)| *name == damage.segment) {
            cut_segment(storage, &damage.segment, damage.cut_to)?;
        }
    }
    Ok(Repaired {
        damage: found.damage,
        cut: found.cut,
        lost,
    })
}

/// Removes what is torn, and the segments that neither recovery nor the epochs from `keep_from` on
/// need; without `keep_from` only recovery counts.
///
/// # Errors
/// `Usage` where there is no journal, `Fenced` where a run writes it, `Corrupt` where it is damaged.
pub fn compact(storage: &dyn Storage, keep_from: Option<Epoch>) -> Result<Compacted> {
    found(storage)?;
    let _lock = storage.lock()?;
    let found = found(storage)?;
    if let Some(damage) = found.damage {
        return Err(damage.into_error(&storage.place()));
    }
    let mut freed_bytes = 0;
    if let Some(cut) = &found.cut {
        apply_cut(storage, cut)?;
        freed_bytes += cut.bytes;
    }
    let numbers: Vec<u64> = match &found.standing {
        Some(standing) => standing
            .removable(keep_from.unwrap_or(Epoch::MAX))
            .collect(),
        None => Vec::new(),
    };
    freed_bytes += remove_segments(storage, &numbers)?;
    Ok(Compacted {
        cut: found.cut,
        removed: numbers.into_iter().map(segment::segment_name).collect(),
        freed_bytes,
    })
}

/// A journal that is there.
fn found(storage: &dyn Storage) -> Result<Scan> {
    let found = scan_unlocked(storage)?;
    if found.standing.is_none() && found.damage.is_none() && found.cut.is_none() {
        return Err(Error::usage(format!(
            "{:?} is not a journal: it has no segments",
            storage.place()
        ))
        .with_hint("name the folder that was given to amend run --journal"));
    }
    Ok(found)
}

/// What is lost when a journal is cut at `damage`.
fn extent_of(storage: &dyn Storage, found: &Scan, damage: &Damage) -> Result<Extent> {
    let mut lost = Extent::default();
    let files = storage
        .list()
        .map_err(|err| failed(storage, "list the files", err))?;
    let damaged = files.iter().filter(|(name, _)| *name == damage.segment);
    for (name, length) in damaged.chain(&found.behind) {
        let bytes = read_all(storage, name, *length)?;
        let from = if *name == damage.segment {
            usize::try_from(damage.cut_to).unwrap_or(usize::MAX)
        } else {
            0
        };
        lost.bytes += bytes.len().saturating_sub(from) as u64;
        let header = bytes.first_chunk::<{ segment::LENGTH }>();
        let header = header.and_then(|header| SegmentHeader::read(header).ok());
        let journal = match (&found.standing, header) {
            (Some(standing), _) => standing.journal,
            (None, Some(header)) => header.journal,
            (None, None) => continue,
        };
        if let Some(number) = segment::segment_number(name) {
            scan::extent(&bytes, from, journal, number, &mut lost);
        }
    }
    Ok(lost)
}
