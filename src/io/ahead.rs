//! An input that makes its reader wait, read ahead by a thread of its own.
//!
//! What was read lies in one buffer until somebody takes all of it; then the thread goes on in the
//! memory of what was taken before. So little is handed over as little, much as much, and once both
//! buffers have grown no memory is asked for.

use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::bell::Bell;
use super::input::{Fill, Reader};
use super::lock;

/// Bytes that are asked of the reader at once.
const CHUNK_BYTES: usize = 64 << 10;
/// While this many bytes wait to be taken, the reader is not asked for more.
const MOST_WAITING: usize = 1 << 20;

/// An input that is read ahead.
pub(super) struct Ahead {
    shared: Arc<Shared>,
    /// What was taken from the thread, and how much of it was handed on.
    taken: Vec<u8>,
    handed_on: usize,
}

/// What the thread and the taker share.
#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Signalled when there is room for more bytes, or nobody takes them any more.
    room: Condvar,
    /// What rings when there is something to take.
    bell: Mutex<Bell>,
}

/// What waits to be taken.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Whether nothing follows `bytes`, but for a failure.
    over: bool,
    failed: Option<io::Error>,
    /// Whether nobody will take anything any more.
    abandoned: bool,
}

impl Ahead {
    /// Opens and reads in a thread of its own, which ends with the input or when the input is let
    /// go.
    pub(super) fn of(open: impl FnOnce() -> io::Result<Reader> + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || {
            let read = || open().and_then(|reader| for_thread.read_all(reader));
            // Nobody is to wait for a reader that is gone.
            let read = catch_unwind(AssertUnwindSafe(read))
                .unwrap_or_else(|_| Err(io::Error::other("the reader panicked")));
            let mut waiting = lock(&for_thread.waiting);
            waiting.failed = read.err();
            waiting.over = true;
            drop(waiting);
            lock(&for_thread.bell).ring();
        });
        Ahead {
            shared,
            taken: Vec::new(),
            handed_on: 0,
        }
    }

    /// Rings `bell` for those who are idle when there are bytes, and for all when very many wait and
    /// at the end.
    pub(super) fn rings(&self, bell: &Bell) {
        *lock(&self.shared.bell) = bell.clone();
    }

    /// Appends at most `most` bytes to `buffer`.
    ///
    /// # Errors
    /// Where the input could not be opened or read; once, and after all bytes before.
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<Fill> {
        if self.handed_on == self.taken.len() {
            self.taken.clear();
            self.handed_on = 0;
            let mut waiting = lock(&self.shared.waiting);
            if waiting.bytes.is_empty() {
                return match waiting.failed.take() {
                    Some(error) => Err(error),
                    None if waiting.over => Ok(Fill::End),
                    None => Ok(Fill::Pending),
                };
            }
            std::mem::swap(&mut waiting.bytes, &mut self.taken);
            drop(waiting);
            self.shared.room.notify_one();
        }
        let count = most.min(self.taken.len() - self.handed_on);
        buffer.extend_from_slice(&self.taken[self.handed_on..self.handed_on + count]);
        self.handed_on += count;
        Ok(Fill::Bytes(count))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        lock(&self.shared.waiting).abandoned = true;
        self.shared.room.notify_one();
    }
}

impl Shared {
    fn read_all(&self, mut reader: Reader) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = read_some(&mut reader, &mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            let mut waiting = lock(&self.waiting);
            while waiting.bytes.len() >= MOST_WAITING && !waiting.abandoned {
                // Those who are busy would let more gather, but there is no more.
                lock(&self.bell).ring();
                let room = self.room.wait(waiting);
                waiting = room.unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.abandoned {
                return Ok(());
            }
            waiting.bytes.extend_from_slice(&chunk[..count]);
            drop(waiting);
            lock(&self.bell).ring_for_idle();
        }
    }
}

/// Reads once, into the beginning of `buffer`; 0 bytes at the end.
fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all there is, `most` bytes at a time.
    fn take_all(ahead: &mut Ahead, most: usize) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        loop {
            let before = bytes.len();
            match ahead.take(&mut bytes, most) {
                Ok(Fill::Bytes(count)) => assert_eq!(bytes.len() - before, count),
                Ok(Fill::Pending) => std::thread::yield_now(),
                Ok(Fill::End) => return (bytes, Ok(())),
                Err(error) => return (bytes, Err(error)),
            }
        }
    }

    #[test]
    fn all_bytes_come_in_their_order() {
        let content: Vec<u8> = (0..3 * MOST_WAITING).map(|at| (at % 251) as u8).collect();
        for most in [1000, CHUNK_BYTES, 5 * MOST_WAITING] {
            let reader = io::Cursor::new(content.clone());
            let mut ahead = Ahead::of(move || Ok(Box::new(reader) as Reader));
            let (bytes, outcome) = take_all(&mut ahead, most);
            outcome.unwrap();
            assert!(bytes == content);
            let again = ahead.take(&mut Vec::new(), most).unwrap();
            assert_eq!(again, Fill::End);
        }
    }

    #[test]
    fn a_failure_comes_after_the_bytes_before_it() {
        struct Breaks(u8);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 => Err(io::ErrorKind::Interrupted.into()),
                    2..5 => {
                        buffer[0] = self.0;
                        Ok(1)
                    }
                    _ => Err(io::Error::other("torn")),
                }
            }
        }
        let mut ahead = Ahead::of(|| Ok(Box::new(Breaks(0)) as Reader));
        let (bytes, outcome) = take_all(&mut ahead, 10);
        assert_eq!(bytes, [2, 3, 4]);
        assert_eq!(outcome.unwrap_err().to_string(), "torn");
        let mut refused = Ahead::of(|| Err(io::Error::other("no such thing")));
        assert!(take_all(&mut refused, 10).1.is_err());
        let mut panics = Ahead::of(|| panic!("so that somebody sees it"));
        assert!(take_all(&mut panics, 10).1.is_err());
    }

    #[test]
    fn the_thread_ends_when_nobody_takes_anything() {
        struct Endless {
            _held: Arc<()>,
        }
        impl Read for Endless {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
        }
        let held = Arc::new(());
        let reader = Endless {
            _held: Arc::clone(&held),
        };
        let ahead = Ahead::of(move || Ok(Box::new(reader) as Reader));
        while lock(&ahead.shared.waiting).bytes.len() < MOST_WAITING {
            std::thread::yield_now();
        }
        drop(ahead);
        while Arc::strong_count(&held) > 1 {
            std::thread::yield_now();
        }
    }
}
