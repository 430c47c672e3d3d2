//! What is known of recalled records without decoding them: the columns of the journal's caches.
//!
//! Who reads frames tells here what each recalled epoch consists of; workers ask when they take their
//! part of it. A cache that does not fit is as if it were not there.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::columns::{Chunk, Loaded};
use crate::journal::{FrameAt, Recovered, Storage, cache_name};
use crate::time::Epoch;

/// A frame of the journal, in an epoch as the workers take it.
#[derive(Clone, Debug)]
pub struct FrameShare {
    /// The epoch of the frame.
    pub epoch: Epoch,
    /// The frame's first record, among those of the epoch that is taken.
    pub first: usize,
    /// How many records it has.
    pub records: usize,
    /// What was decoded of its segment, where that is at hand.
    pub columns: Option<Arc<SegmentColumns>>,
}

/// The columns of every frame of a segment.
#[derive(Debug)]
pub struct SegmentColumns {
    loaded: Loaded,
    /// The chunks of each epoch, in the order of their rows, by their place in the cache.
    places: HashMap<Epoch, Vec<usize>, foldhash::fast::RandomState>,
}

impl SegmentColumns {
    /// The cache at `path`, where it fits and has a row for every record of `frames`.
    pub(super) fn open(
        path: &Path,
        fingerprint: u64,
        frames: &[FrameAt],
    ) -> Option<SegmentColumns> {
        // One that cannot be read is one that is not there.
        let loaded = Loaded::open(path, fingerprint).ok().flatten()?;
        let mut places: HashMap<Epoch, Vec<usize>, _> = HashMap::default();
        let mut rows: HashMap<Epoch, u64> = HashMap::new();
        for (place, chunk) in loaded.chunks().enumerate() {
            let rows = rows.entry(chunk.epoch()).or_default();
            if chunk.first() != *rows {
                return None;
            }
            *rows += chunk.len() as u64;
            places.entry(chunk.epoch()).or_default().push(place);
        }
        let is_whole = |at: &FrameAt| rows.get(&at.epoch).copied().unwrap_or(0) == at.records;
        frames
            .iter()
            .all(is_whole)
            .then_some(SegmentColumns { loaded, places })
    }

    /// The chunks of `epoch`, in the order of their rows.
    pub fn of(&self, epoch: Epoch) -> impl Iterator<Item = &Chunk> {
        let places = self.places.get(&epoch).map_or(&[][..], Vec::as_slice);
        places
            .iter()
            .filter_map(|place| self.loaded.chunks().nth(*place))
    }
}

/// The frames of a recalled epoch, and how many workers have not taken them.
type ToTake = (Arc<[FrameShare]>, usize);

/// The caches of a journal as it was recovered, and what recalled epochs consist of.
#[derive(Debug)]
pub struct Recollection {
    folder: PathBuf,
    /// The fingerprint and the frames of each segment.
    segments: BTreeMap<u64, (u64, Vec<FrameAt>)>,
    workers: usize,
    /// The segment that was opened last; frames come in their order.
    opened: Mutex<Option<(u64, Option<Arc<SegmentColumns>>)>>,
    /// What was recalled, and how many workers have not taken it.
    recalled: Mutex<BTreeMap<Epoch, ToTake>>,
}

impl Recollection {
    /// The caches beside the segments of `storage`, for `workers`; none where it has no folder.
    pub fn open(storage: &dyn Storage, recovered: &Recovered, workers: usize) -> Option<Self> {
        let mut segments: BTreeMap<u64, (u64, Vec<FrameAt>)> = BTreeMap::new();
        for segment in &recovered.segments {
            segments.insert(segment.number, (segment.fingerprint, Vec::new()));
        }
        for at in &recovered.frames {
            if let Some((_, frames)) = segments.get_mut(&at.segment) {
                frames.push(*at);
            }
        }
        Some(Recollection {
            folder: storage.folder()?.to_owned(),
            segments,
            workers,
            opened: Mutex::default(),
            recalled: Mutex::default(),
        })
    }

    /// What was decoded of the segment that a frame lies in, where that is at hand.
    pub fn columns(&self, at: &FrameAt) -> Option<Arc<SegmentColumns>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((segment, columns)) = &*opened
            && *segment == at.segment
        {
            return columns.clone();
        }
        // The one before goes with the last epoch that needs it.
        let columns = self
            .segments
            .get(&at.segment)
            .and_then(|(fingerprint, frames)| {
                let path = self.folder.join(cache_name(at.segment));
                SegmentColumns::open(&path, *fingerprint, frames).map(Arc::new)
            });
        *opened = Some((at.segment, columns.clone()));
        columns
    }

    /// Tells the workers of which `frames` the recalled `epoch` consists.
    pub fn tell(&self, epoch: Epoch, frames: Vec<FrameShare>) {
        let mut recalled = self.recalled.lock().unwrap_or_else(PoisonError::into_inner);
        recalled.insert(epoch, (frames.into(), self.workers));
    }

    /// No more frames are recalled.
    pub fn close(&self) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The frames of which `epoch` consists, for each worker once; none where it was not recalled.
    pub fn take(&self, epoch: Epoch) -> Option<Arc<[FrameShare]>> {
        let mut recalled = self.recalled.lock().unwrap_or_else(PoisonError::into_inner);
        let (frames, to_take) = recalled.get_mut(&epoch)?;
        *to_take -= 1;
        if *to_take == 0 {
            return recalled.remove(&epoch).map(|(frames, _)| frames);
        }
        Some(Arc::clone(frames))
    }
}
