//! Writing a journal: entries are handed over, and one thread makes them durable in groups.
//!
//! The thread takes all that waits, writes it, syncs once, and only then says so: an epoch before
//! [`Journal::synced_before`] outlives a power cut. After the first failure nothing more is written
//! or said, since nobody knows what a disk did with what it failed to sync.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::entry::{Entry, Identity, MARK, OVERHEAD, Place, SYNCED};
use super::recovery::{Recovered, recover, start_segment};
use super::segment::{cache_number, segment_name};
use super::standing::Standing;
use super::storage::{Lock, Storage, failed};
use crate::{Epoch, Error, Result};

/// Entries that wait for the disk take at most about this many bytes.
const WAITING_BYTES_MAX: u64 = 64 << 20;

/// Parts of payloads from this length on are written from where they are, not copied together.
const COPIED_BYTES_MAX: usize = 256 << 10;

/// How a journal is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// A new segment begins before a frame with which this one would be longer.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 64 << 20,
        }
    }
}

/// A journal that is open for writing. Dropping it writes what waits; [`Journal::finish`] also says
/// whether that went well.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Stats>>,
}

/// What was written since the journal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Entries, without the repetitions at the beginning of segments.
    pub entries: u64,
    /// Bytes, with all that is around the entries.
    pub bytes: u64,
    /// Syncs for groups of entries.
    pub syncs: u64,
    /// Segments that were begun.
    pub segments: u64,
}

type Wake = Box<dyn Fn() + Send + Sync>;

/// What the journal and its thread share.
#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something waits, or the journal is closed.
    arrived: Condvar,
    /// A group is durable, or writing failed.
    settled: Condvar,
    synced_before: AtomicU64,
    /// The segment that is written.
    segment: AtomicU64,
    wake: Mutex<Option<Wake>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("synced_before", &self.synced_before)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Order>,
    /// Bytes that are not durable yet, those being written too.
    waiting_bytes: u64,
    /// Orders given and orders carried out.
    given: u64,
    done: u64,
    appended_bytes: u64,
    closed: bool,
    failure: Option<Failure>,
}

/// What the thread is asked to do.
enum Order {
    Append(Entry),
    DropBefore(Epoch),
}

/// An error that can be said more than once.
#[derive(Clone)]
struct Failure(Arc<Error>);

impl Failure {
    fn to_error(&self) -> Error {
        let error = Error::new(self.0.kind(), self.0.to_string());
        match self.0.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl Journal {
    /// Takes the lock, checks everything and cuts off what is torn; creates a journal where there is
    /// none.
    ///
    /// # Errors
    /// `Fenced` when another writer has it, `Corrupt` when it is damaged, `Usage` when it is another
    /// dataflow's, of another format, or cannot be written; `Unavailable` otherwise.
    pub fn open(
        storage: Arc<dyn Storage>,
        identity: &Identity,
        options: Options,
    ) -> Result<(Journal, Recovered)> {
        let lock = storage.lock()?;
        let (standing, recovered, segment_bytes) = recover(&*storage, identity)?;
        let shared = Arc::new(Shared::default());
        shared
            .synced_before
            .store(recovered.next_epoch, Ordering::Release);
        let segment = standing.segments.back().map_or(1, |held| held.number);
        shared.segment.store(segment, Ordering::Release);
        let writer = Writer {
            segment,
            storage,
            options,
            standing,
            segment_bytes,
            opening_bytes: 0,
            group: Vec::new(),
            follows_sync: true,
            stats: Stats::default(),
            _lock: lock,
        };
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&theirs))
            .map_err(|err| {
                Error::unavailable("could not start the journal's thread").with_source(err)
            })?;
        let journal = Journal {
            shared,
            thread: Some(thread),
        };
        Ok((journal, recovered))
    }

    /// Hands an entry over. Waits for the disk only while 64 MiB wait for it already.
    pub fn append(&self, entry: Entry) {
        let weight = entry.weight();
        let mut queue = self.shared.queue();
        while queue.waiting_bytes > WAITING_BYTES_MAX && queue.failure.is_none() {
            queue = self.shared.settled(queue);
        }
        queue.waiting_bytes += weight;
        queue.appended_bytes += weight;
        queue.give(Order::Append(entry));
        self.shared.arrived.notify_one();
    }

    /// Every frame of an earlier epoch is durable.
    pub fn synced_before(&self) -> Epoch {
        self.shared.synced_before.load(Ordering::Acquire)
    }

    /// The number of the segment that is written: those before it are closed, and durable.
    pub fn segment(&self) -> u64 {
        self.shared.segment.load(Ordering::Acquire)
    }

    /// Calls `wake` after every sync and after a failure, on the journal's thread.
    pub fn on_sync(&self, wake: Box<dyn Fn() + Send + Sync>) {
        *self
            .shared
            .wake
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(wake);
    }

    /// Returns once all that was appended is durable.
    ///
    /// # Errors
    /// As [`Journal::failure`].
    pub fn flush(&self) -> Result<()> {
        let mut queue = self.shared.queue();
        let given = queue.given;
        while queue.done < given && queue.failure.is_none() {
            queue = self.shared.settled(queue);
        }
        match &queue.failure {
            Some(failure) => Err(failure.to_error()),
            None => Ok(()),
        }
    }

    /// Why nothing more is written, where that is so.
    pub fn failure(&self) -> Option<Error> {
        let queue = self.shared.queue();
        queue.failure.as_ref().map(Failure::to_error)
    }

    /// The bytes that were appended since the journal was opened.
    pub fn appended_bytes(&self) -> u64 {
        self.shared.queue().appended_bytes
    }

    /// Removes whole segments, oldest first, as long as all their frames are before `epoch` and the
    /// latest complete base stands for them. Happens once what was appended before is durable.
    pub fn drop_before(&self, epoch: Epoch) {
        self.shared.queue().give(Order::DropBefore(epoch));
        self.shared.arrived.notify_one();
    }

    /// Writes what waits, and closes the journal.
    ///
    /// # Errors
    /// As [`Journal::failure`].
    pub fn finish(mut self) -> Result<Stats> {
        let stats = self.close();
        match self.failure() {
            Some(error) => Err(error),
            None => stats,
        }
    }

    fn close(&mut self) -> Result<Stats> {
        self.shared.queue().closed = true;
        self.shared.arrived.notify_one();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(stats)) => Ok(stats),
            Some(Err(_)) => Err(Error::internal("the journal's thread panicked")),
            None => Ok(Stats::default()),
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Whoever wants to know how it went calls `finish`.
        let _ = self.close();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settled<'a>(&self, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.settled
            .wait(queue)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that waits; none once the journal is closed.
    fn next_group(&self) -> Option<VecDeque<Order>> {
        let mut queue = self.queue();
        loop {
            if !queue.waiting.is_empty() {
                return Some(std::mem::take(&mut queue.waiting));
            }
            if queue.closed {
                return None;
            }
            queue = self
                .arrived
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn wake(&self) {
        let wake = self.wake.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wake) = &*wake {
            wake();
        }
    }
}

impl Queue {
    fn give(&mut self, order: Order) {
        self.given += 1;
        self.waiting.push_back(order);
    }
}

/// Lets nobody wait for a thread that panicked.
struct FailOnPanic<'a>(&'a Shared);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::internal("the journal's thread panicked");
            self.0.queue().failure = Some(Failure(Arc::new(error)));
            self.0.settled.notify_all();
        }
    }
}

/// The journal's thread.
struct Writer {
    storage: Arc<dyn Storage>,
    options: Options,
    standing: Standing,
    /// The segment that is written, and how long it is with what waits in `group`.
    segment: u64,
    segment_bytes: u64,
    /// How much of that opened it; 0 where that is not known.
    opening_bytes: u64,
    /// What goes to the disk together.
    group: Vec<u8>,
    /// Everything before the next entry is durable.
    follows_sync: bool,
    stats: Stats,
    _lock: Lock,
}

impl Writer {
    fn run(mut self, shared: &Shared) -> Stats {
        let _failed = FailOnPanic(shared);
        while let Some(group) = shared.next_group() {
            let orders = group.len() as u64;
            let bytes = group.iter().map(Order::weight).sum::<u64>();
            let failed = shared.queue().failure.is_some();
            let outcome = if failed { Ok(()) } else { self.group(group) };
            if !failed && outcome.is_ok() {
                let next = self.standing.next_epoch;
                shared.synced_before.store(next, Ordering::Release);
                shared.segment.store(self.segment, Ordering::Release);
            }
            let mut queue = shared.queue();
            queue.waiting_bytes -= bytes;
            queue.done += orders;
            if let Err(error) = outcome {
                queue.failure = Some(Failure(Arc::new(error)));
            }
            drop(queue);
            shared.settled.notify_all();
            shared.wake();
        }
        self.settle();
        self.stats
    }

    fn group(&mut self, orders: VecDeque<Order>) -> Result<()> {
        for order in orders {
            match order {
                Order::Append(entry) => self.append(entry)?,
                Order::DropBefore(epoch) => {
                    self.sync()?;
                    self.drop_before(epoch)?;
                }
            }
        }
        self.sync()
    }

    fn append(&mut self, entry: Entry) -> Result<()> {
        let long = self.segment_bytes + entry.weight() > self.options.segment_bytes;
        // In a segment without entries yet, a new one would not help.
        let begun = self.segment_bytes > self.opening_bytes;
        if long && begun && matches!(entry, Entry::Frame(_) | Entry::Base(_)) {
            self.rotate()?;
        }
        self.standing
            .take(&entry)
            .map_err(|what| Error::internal(format!("an entry that cannot be: {what}")))?;
        let mut record = entry.into_record();
        if self.follows_sync {
            record.flags |= SYNCED;
            self.follows_sync = false;
        }
        let place = Place {
            journal: self.standing.journal,
            segment: self.segment,
            offset: self.segment_bytes,
        };
        self.group.extend_from_slice(&record.header(place));
        for part in record.parts() {
            if part.len() < COPIED_BYTES_MAX {
                self.group.extend_from_slice(part);
            } else {
                self.write()?;
                self.write_bytes(part)?;
            }
        }
        self.group.push(MARK);
        let bytes = (record.payload_bytes() + OVERHEAD) as u64;
        self.segment_bytes += bytes;
        self.stats.entries += 1;
        self.stats.bytes += bytes;
        Ok(())
    }

    fn rotate(&mut self) -> Result<()> {
        self.sync()?;
        self.settle();
        self.segment += 1;
        self.segment_bytes = start_segment(
            &*self.storage,
            &mut self.standing,
            self.segment,
            self.segment_bytes,
        )?;
        self.opening_bytes = self.segment_bytes;
        self.stats.segments += 1;
        self.stats.bytes += self.segment_bytes;
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let group = std::mem::take(&mut self.group);
        if !group.is_empty() {
            self.write_bytes(&group)?;
        }
        // Its room is used again.
        self.group = group;
        self.group.clear();
        Ok(())
    }

    fn write_bytes(&self, bytes: &[u8]) -> Result<()> {
        let name = segment_name(self.segment);
        self.storage
            .append(&name, bytes)
            .map_err(|err| failed(&*self.storage, &format!("write {name:?}"), err))
    }

    /// Nothing is appended to this segment for now.
    fn settle(&self) {
        // Room that stays taken is lost, and nothing else.
        let _ = self.storage.settle(&segment_name(self.segment));
    }

    /// Makes durable what was appended.
    fn sync(&mut self) -> Result<()> {
        self.write()?;
        if self.follows_sync {
            return Ok(());
        }
        let name = segment_name(self.segment);
        self.storage
            .sync(&name)
            .map_err(|err| failed(&*self.storage, &format!("sync {name:?}"), err))?;
        self.follows_sync = true;
        self.stats.syncs += 1;
        Ok(())
    }

    fn drop_before(&mut self, epoch: Epoch) -> Result<()> {
        let removable: Vec<u64> = self.standing.removable(epoch).collect();
        remove_segments(&*self.storage, &removable)?;
        self.standing.segments.drain(..removable.len());
        Ok(())
    }
}

impl Order {
    fn weight(&self) -> u64 {
        match self {
            Order::Append(entry) => entry.weight(),
            Order::DropBefore(_) => 0,
        }
    }
}

/// Removes segments, in this order, with their caches; returns the bytes that this frees. Each is
/// gone for good before the next one goes, so that a power cut leaves no hole.
pub(super) fn remove_segments(storage: &dyn Storage, numbers: &[u64]) -> Result<u64> {
    let mut freed = 0;
    if numbers.is_empty() {
        return Ok(0);
    }
    let files = storage
        .list()
        .map_err(|err| failed(storage, "list the files", err))?;
    for &number in numbers {
        let name = segment_name(number);
        for (file, length) in &files {
            if *file == name || cache_number(file) == Some(number) {
                storage
                    .remove(file)
                    .map_err(|err| failed(storage, &format!("remove {file:?}"), err))?;
                freed += length;
            }
        }
        storage
            .sync_folder()
            .map_err(|err| failed(storage, &format!("remove {name:?}"), err))?;
    }
    Ok(freed)
}
