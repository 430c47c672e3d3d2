//! Keeps what was decoded of a journal beside its closed segments, so that nobody decodes it again.
//!
//! Workers hand over the columns of what they decoded anyway; a thread of its own gathers them and
//! writes the cache of a segment once that is closed and there is a row for every one of its records.
//!
//! One rule: a cache is a convenience. What goes wrong here is never the run's matter: the cache is
//! then not there, and a later run that needs it makes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::journal::columns::{self, Chunk};
use crate::journal::{Outline, Recovered, Storage};
use crate::journal::{cache_name, cache_number, outline, segment_name, segment_number};
use crate::time::Epoch;

/// Rows that wait for their segment to be closed; about 200 MB. Of segments that are longer there is
/// no cache.
const WAITING_ROWS_MAX: usize = 4 << 20;
/// A chunk takes about as much memory as this many rows, however few it has.
const CHUNK_ROWS: usize = 20;
/// The thread is woken for about this many rows, or when a segment is closed: before that it can
/// seldom do anything.
const SENT_ROWS: usize = 128 << 10;

/// Takes decoded columns, and makes caches of them.
#[derive(Debug)]
pub struct Caching {
    writer: Mutex<Option<Writer>>,
    /// Rows that were handed over and not looked at yet.
    queued_rows: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Writer {
    decoded: Sender<Decoded>,
    /// What was handed over and not sent yet.
    unsent: Decoded,
    unsent_rows: usize,
    thread: JoinHandle<()>,
}

/// What workers have decoded, and what they know of the journal.
#[derive(Debug, Default)]
struct Decoded {
    /// Each with the number of records in the frame that it is of.
    chunks: Vec<(Chunk, usize)>,
    /// Segments before this one are closed.
    closed_before: u64,
}

impl Caching {
    /// Makes caches of the segments in `storage`, of which `recovered` are there already; none where
    /// it has no folder.
    pub fn start(storage: Arc<dyn Storage>, recovered: &Recovered) -> Option<Self> {
        let mut epochs: HashMap<u64, Vec<Epoch>> = HashMap::new();
        for at in &recovered.frames {
            epochs.entry(at.segment).or_default().push(at.epoch);
        }
        // The last one is still written.
        let open = recovered.segments.last().map_or(0, |last| last.number);
        let closed = recovered.segments.iter().filter(|it| it.number < open);
        let closed = closed.map(|segment| {
            let outline = Outline {
                epochs: epochs.remove(&segment.number).unwrap_or_default(),
                fingerprint: segment.fingerprint,
            };
            (segment.number, outline)
        });
        let closed = closed.collect();
        let folder = storage.folder()?.to_owned();
        let queued_rows = Arc::new(AtomicUsize::new(0));
        let (decoded, received) = channel();
        let mut caches = Caches {
            storage,
            folder,
            waiting: BTreeMap::new(),
            waiting_rows: 0,
            outlined_before: open,
            closed,
        };
        let queued = Arc::clone(&queued_rows);
        let thread = std::thread::Builder::new()
            .name("columns".to_owned())
            .spawn(move || caches.run(&received, &queued));
        Some(Caching {
            writer: Mutex::new(thread.ok().map(|thread| Writer {
                decoded,
                unsent: Decoded::default(),
                unsent_rows: 0,
                thread,
            })),
            queued_rows,
        })
    }

    /// Takes `chunks`, each with the number of records in the frame that it is of; segments of the
    /// journal before `closed_before` are closed.
    pub fn add(&self, chunks: Vec<(Chunk, usize)>, closed_before: u64) {
        let rows: usize = chunks.iter().map(|(chunk, _)| rows_of(chunk)).sum();
        if rows == 0 || self.queued_rows.load(Ordering::Relaxed) > WAITING_ROWS_MAX {
            // A disk that slow has more urgent things to do.
            return;
        }
        self.queued_rows.fetch_add(rows, Ordering::Relaxed);
        if let Some(writer) = &mut *self.writer() {
            writer.unsent.chunks.extend(chunks);
            writer.unsent_rows += rows;
            if closed_before > writer.unsent.closed_before || writer.unsent_rows >= SENT_ROWS {
                writer.send(closed_before);
            }
        }
    }

    /// Writes the caches that can be written, of segments before `closed_before`, and lets go of what
    /// is left.
    pub fn finish(&self, closed_before: u64) {
        if let Some(writer) = &mut *self.writer() {
            writer.send(closed_before);
        }
        self.close();
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        if let Some(Writer {
            decoded, thread, ..
        }) = self.writer().take()
        {
            drop(decoded);
            let _ = thread.join();
        }
    }
}

impl Writer {
    fn send(&mut self, closed_before: u64) {
        let closed_before = closed_before.max(self.unsent.closed_before);
        self.unsent.closed_before = closed_before;
        let next = Decoded {
            closed_before,
            ..Decoded::default()
        };
        self.unsent_rows = 0;
        // A thread that has ended leaves the journal without caches, which is as right.
        let _ = self.decoded.send(std::mem::replace(&mut self.unsent, next));
    }
}

impl Drop for Caching {
    fn drop(&mut self) {
        // Nothing is written in a journal that another run may have by now.
        self.close();
    }
}

/// The rows that a chunk counts as.
fn rows_of(chunk: &Chunk) -> usize {
    chunk.len() + CHUNK_ROWS
}

/// The chunks of one frame, as far as they are there.
#[derive(Debug, Default)]
struct Gathered {
    chunks: Vec<Chunk>,
    rows: usize,
    /// What it counts as.
    weight: usize,
    /// How many rows there will be.
    records: usize,
}

/// The thread's side.
struct Caches {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    waiting: BTreeMap<Epoch, Gathered>,
    waiting_rows: usize,
    /// Segments before this one were looked at.
    outlined_before: u64,
    /// Closed segments whose columns are not all there.
    closed: BTreeMap<u64, Outline>,
}

impl Caches {
    fn run(&mut self, received: &Receiver<Decoded>, queued_rows: &AtomicUsize) {
        self.tidy();
        while let Ok(decoded) = received.recv() {
            for (chunk, records) in decoded.chunks {
                queued_rows.fetch_sub(rows_of(&chunk), Ordering::Relaxed);
                self.gather(chunk, records);
            }
            self.outline(decoded.closed_before);
            self.write();
        }
    }

    /// Removes what stopped attempts have left, and caches of segments that are gone.
    fn tidy(&self) {
        let files = self.storage.list().unwrap_or_default();
        let names: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        for &name in &names {
            let cached = cache_number(name.strip_suffix(".tmp").unwrap_or(name));
            let is_left = cached.is_some_and(|number| {
                name.ends_with(".tmp") || !names.contains(&*segment_name(number))
            });
            if is_left {
                let _ = std::fs::remove_file(self.folder.join(name));
            }
        }
    }

    fn gather(&mut self, chunk: Chunk, records: usize) {
        self.waiting_rows += rows_of(&chunk);
        let gathered = self.waiting.entry(chunk.epoch()).or_default();
        gathered.records = records;
        gathered.rows += chunk.len();
        gathered.weight += rows_of(&chunk);
        gathered.chunks.push(chunk);
        while self.waiting_rows > WAITING_ROWS_MAX {
            // The oldest have waited in vain for longest.
            let Some((_, gathered)) = self.waiting.pop_first() else {
                break;
            };
            self.waiting_rows -= gathered.weight;
        }
    }

    /// Takes note of the segments before `closed_before`.
    fn outline(&mut self, closed_before: u64) {
        if closed_before <= self.outlined_before {
            return;
        }
        let files = self.storage.list().unwrap_or_default();
        let numbers = files.iter().filter_map(|(name, _)| segment_number(name));
        let fresh = self.outlined_before..closed_before;
        for number in numbers.filter(|number| fresh.contains(number)) {
            if let Ok(outline) = outline(&*self.storage, number) {
                self.closed.insert(number, outline);
            }
        }
        self.outlined_before = closed_before;
    }

    /// Writes the caches of the segments whose columns are all there.
    fn write(&mut self) {
        let is_whole = |epoch: &Epoch| {
            let gathered = self.waiting.get(epoch);
            gathered.is_some_and(|gathered| gathered.rows == gathered.records)
        };
        let whole = self.closed.iter().filter(|(_, outline)| {
            // From the last one, which comes last: most often that settles it.
            !outline.epochs.is_empty() && outline.epochs.iter().rev().all(is_whole)
        });
        let whole: Vec<u64> = whole.map(|(number, _)| *number).collect();
        for number in whole {
            let Some(outline) = self.closed.remove(&number) else {
                continue;
            };
            let mut chunks = Vec::new();
            for epoch in &outline.epochs {
                if let Some(gathered) = self.waiting.remove(epoch) {
                    self.waiting_rows -= gathered.weight;
                    chunks.extend(gathered.chunks);
                }
            }
            chunks.sort_unstable_by_key(|chunk| (chunk.epoch(), chunk.first()));
            let path = self.folder.join(cache_name(number));
            if columns::write(&path, outline.fingerprint, &chunks).is_err() {
                continue;
            }
            // The segment may have been dropped meanwhile, with the caches that were there then.
            if !self.folder.join(segment_name(number)).exists() {
                let _ = std::fs::remove_file(&path);
            }
        }
    }
}
