//! Opening a journal: the lock, the check of everything, and the cut of what is torn.
//!
//! What was found is durable before anything is made of it: a process that died may have left
//! entries that no disk has seen yet.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};

use super::entry::{Checkpoint, Identity, Partition};
use super::frame::Position;
use super::scan::{Base, Cut, FrameAt, Scan, SegmentInfo, scan, scan_unlocked};
use super::segment::segment_name;
use super::standing::{Held, Standing};
use super::storage::{Storage, failed};
use crate::{Epoch, Error, Result};

/// What a journal held when it was opened.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Whether the journal was only created now.
    pub is_new: bool,
    /// Whose it is.
    pub identity: Identity,
    /// The rules, and from which epoch on each was in force; the last for an epoch counts.
    pub rules: Vec<(Epoch, Vec<u8>)>,
    /// The partitions, by number.
    pub partitions: Vec<Partition>,
    /// Where reading goes on, by the number of the partition.
    pub positions: BTreeMap<u32, Position>,
    /// The partitions that ended.
    pub ended: BTreeSet<u32>,
    /// The least epoch whose frame is kept; earlier ones went with a base.
    pub first_epoch: Epoch,
    /// The epoch after the last one.
    pub next_epoch: Epoch,
    /// The epoch with which the bounded input ended, where nothing came after it.
    pub end: Option<Epoch>,
    /// The checkpoints, oldest first; of very many only the newest thousands.
    pub checkpoints: Vec<Checkpoint>,
    /// The latest complete base.
    pub base: Option<Base>,
    /// The epochs at which the rules changed, and what changed.
    pub amended: Vec<(Epoch, Vec<u8>)>,
    /// Where the frames are, by epoch.
    pub frames: Vec<FrameAt>,
    /// What was torn, and is cut off now.
    pub cut: Option<Cut>,
    /// The segments, by number.
    pub segments: Vec<SegmentInfo>,
}

/// What the journal of `identity` holds. Takes no lock and changes nothing: what is torn is not
/// read, and what a writer appends meanwhile is not seen.
///
/// # Errors
/// `Corrupt` where it is damaged; `Usage` where there is none, or it is another dataflow's or of
/// another format; `Unavailable` where it cannot be read.
pub fn read(storage: &dyn Storage, identity: &Identity) -> Result<Recovered> {
    let mut found = scan_unlocked(storage)?;
    if let Some(damage) = found.damage.take() {
        return Err(damage.into_error(&storage.place()));
    }
    let Some(standing) = found.standing.take() else {
        return Err(
            Error::usage(format!("there is no journal in {:?}", storage.place()))
                .with_hint("name the folder that was given to amend run --journal"),
        );
    };
    check_identity(storage, &standing.identity, identity)?;
    Ok(recovered(&standing, found, false))
}

/// Recovers what a locked storage holds; creates a journal where there is none.
pub(super) fn recover(
    storage: &dyn Storage,
    identity: &Identity,
) -> Result<(Standing, Recovered, u64)> {
    let mut found = scan(storage)?;
    if let Some(damage) = found.damage.take() {
        return Err(damage.into_error(&storage.place()));
    }
    if let Some(standing) = &found.standing {
        check_identity(storage, &standing.identity, identity)?;
    }
    if let Some(cut) = &found.cut {
        apply_cut(storage, cut)?;
    }
    let is_new = found.standing.is_none();
    let standing = match found.standing.take() {
        Some(standing) => {
            if let Some(segment) = found.segments.last() {
                let name = &segment.name;
                // A run that was killed may have left room behind it.
                let _ = storage.settle(name);
                storage
                    .sync(name)
                    .and_then(|()| storage.sync_folder())
                    .map_err(|err| failed(storage, &format!("sync {name:?}"), err))?;
            }
            standing
        }
        None => create(storage, identity)?,
    };
    let length = match found.segments.last() {
        Some(segment) => segment.bytes,
        None => standing.preamble(1, 0).len() as u64,
    };
    let recovered = recovered(&standing, found, is_new);
    Ok((standing, recovered, length))
}

fn create(storage: &dyn Storage, identity: &Identity) -> Result<Standing> {
    // The standard library's own randomness tells two journals apart.
    let journal = RandomState::new().hash_one(identity.created_us);
    let mut standing = Standing::new(journal, identity.clone(), 0);
    start_segment(storage, &mut standing, 1, 0)?;
    Ok(standing)
}

/// Creates segment `number` after one of `previous_bytes`, durably; returns its length.
pub(super) fn start_segment(
    storage: &dyn Storage,
    standing: &mut Standing,
    number: u64,
    previous_bytes: u64,
) -> Result<u64> {
    let name = segment_name(number);
    let preamble = standing.preamble(number, previous_bytes);
    storage
        .append(&name, &preamble)
        .and_then(|()| storage.sync(&name))
        .and_then(|()| storage.sync_folder())
        .map_err(|err| failed(storage, &format!("create {name:?}"), err))?;
    standing.segments.push_back(Held {
        number,
        next_epoch: standing.next_epoch,
    });
    Ok(preamble.len() as u64)
}

/// Removes what is torn.
pub(super) fn apply_cut(storage: &dyn Storage, cut: &Cut) -> Result<()> {
    cut_segment(storage, &cut.segment, cut.offset)
}

/// Cuts a segment to a length, or removes it where that is 0; durably.
pub(super) fn cut_segment(storage: &dyn Storage, name: &str, length: u64) -> Result<()> {
    let cut = if length == 0 {
        storage.remove(name).and_then(|()| storage.sync_folder())
    } else {
        storage
            .truncate(name, length)
            .and_then(|()| storage.sync(name))
    };
    cut.map_err(|err| failed(storage, &format!("cut {name:?}"), err))
}

fn check_identity(storage: &dyn Storage, old: &Identity, new: &Identity) -> Result<()> {
    let place = storage.place();
    if old.name != new.name {
        return Err(Error::usage(format!(
            "journal {place:?} is of dataflow {:?}, not of {:?}",
            old.name, new.name
        ))
        .with_hint("give every dataflow a journal of its own"));
    }
    if old.fixed == new.fixed {
        return Ok(());
    }
    let gone = lines_not_in(&old.fixed, &new.fixed);
    let come = lines_not_in(&new.fixed, &old.fixed);
    let text = |lines: Vec<&str>| match lines.as_slice() {
        [] => "nothing".to_owned(),
        lines => format!("`{}`", lines.join("`, `")),
    };
    Err(Error::usage(format!(
        "journal {place:?} was made under other rules that are fixed for its life: it has {}, the \
         dataflow has {}",
        text(gone),
        text(come)
    ))
    .with_hint("put the old rules back, or start a new journal in another folder"))
}

fn lines_not_in<'a>(text: &'a str, other: &str) -> Vec<&'a str> {
    text.lines()
        .filter(|line| !other.lines().any(|other| other == *line))
        .collect()
}

fn recovered(standing: &Standing, found: Scan, is_new: bool) -> Recovered {
    let known = standing.partitions.values();
    Recovered {
        is_new,
        identity: standing.identity.clone(),
        rules: found.rules,
        partitions: known.clone().map(|known| known.partition.clone()).collect(),
        positions: known
            .clone()
            .filter_map(|known| Some((known.partition.number, known.position?)))
            .collect(),
        ended: known
            .filter(|known| known.ended)
            .map(|known| known.partition.number)
            .collect(),
        first_epoch: found.first_epoch,
        next_epoch: standing.next_epoch,
        end: standing.end,
        checkpoints: found.checkpoints,
        base: found.base,
        amended: found.amended,
        frames: found.frames,
        cut: found.cut,
        segments: found.segments,
    }
}
