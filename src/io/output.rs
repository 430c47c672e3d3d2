//! Lines that many workers write into one file, each at its place.
//!
//! Workers agree on the offset of what each writes, so that a file is the same for any number of
//! them. A regular file takes the pieces in any order; a pipe or a terminal takes them in the
//! order of their offsets, and what comes early waits.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use super::lock;
use crate::room::Room;
use crate::{Error, Result};

/// One destination of lines; clones write to the same one.
#[derive(Clone)]
pub struct Output {
    label: Arc<str>,
    target: Target,
}

/// Takes pieces in any order, each with its offset; see [`Output::taker`].
pub type Taker = Arc<dyn Fn(&[u8], u64) -> io::Result<()> + Send + Sync>;

#[derive(Clone)]
enum Target {
    File(Arc<Regular>),
    Taker(Taker),
    InOrder(Arc<Mutex<InOrder>>),
}

/// A regular file.
struct Regular {
    file: File,
    /// Held while a piece is written. File systems let one writer at a time into a file, and others
    /// burn their time at the door; here they can see that it is shut.
    turn: Mutex<Turn>,
}

/// What whoever writes to a file has.
#[derive(Debug, Default)]
struct Turn {
    room: Room,
    /// Whether other processes write to it, too.
    is_shared: bool,
}

impl Drop for Regular {
    fn drop(&mut self) {
        let turn = self.turn.get_mut();
        let Turn { room, .. } = turn.unwrap_or_else(PoisonError::into_inner);
        // Room that stays is lost until the file is written anew, and nothing else.
        let _ = room.give_back(&self.file);
    }
}

/// A writer that takes bytes only one after the other.
struct InOrder {
    written: u64,
    waiting: BTreeMap<u64, Vec<u8>>,
    writer: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

impl Output {
    /// The file at `path`, of which the first `keep` bytes stay; `None` leaves all of it to other
    /// processes.
    ///
    /// # Errors
    /// `Unavailable` where it cannot be created or opened.
    pub fn file(path: &Path, keep: Option<u64>) -> Result<Self> {
        let label = path.display().to_string();
        let open = || -> io::Result<Target> {
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(keep == Some(0))
                .open(path)?;
            Ok(if file.metadata()?.is_file() {
                if let Some(keep) = keep.filter(|keep| *keep > 0) {
                    file.set_len(keep)?;
                }
                Target::File(Arc::new(Regular {
                    file,
                    turn: Mutex::default(),
                }))
            } else {
                Target::in_order(Box::new(file), keep.unwrap_or_default())
            })
        };
        let target = open().map_err(|error| {
            Error::unavailable(format!("could not write \"{label}\"")).with_source(error)
        })?;
        Ok(Output {
            label: label.into(),
            target,
        })
    }

    /// Says that other processes write to it, too.
    pub fn share(&self) {
        if let Target::File(regular) = &self.target {
            lock(&regular.turn).is_shared = true;
        }
    }

    /// Standard output, of whose lines the first `written` bytes were written by an earlier run.
    pub fn stdout(written: u64) -> Self {
        let target = Target::in_order(Box::new(io::stdout()), written);
        Output {
            label: "standard output".into(),
            target,
        }
    }

    /// Anything else that takes bytes in order.
    pub fn writer(label: &str, writer: Box<dyn Write + Send>) -> Self {
        Output {
            label: label.into(),
            target: Target::in_order(writer, 0),
        }
    }

    /// Anything else that takes pieces in any order, as a regular file does.
    pub fn taker(label: &str, taker: Taker) -> Self {
        Output {
            label: label.into(),
            target: Target::Taker(taker),
        }
    }

    /// Whether pieces may be written in any order, by any process.
    pub fn is_regular_file(&self) -> bool {
        matches!(self.target, Target::File(_))
    }

    /// Makes sure that what was written stays, whatever happens to the machine.
    ///
    /// # Errors
    /// `Unavailable` where the disk does not say so.
    pub fn sync(&self) -> Result<()> {
        match &self.target {
            Target::File(regular) => regular.file.sync_data().map_err(|error| {
                Error::unavailable(format!("could not sync {}", self.label_quoted()))
                    .with_source(error)
            }),
            Target::Taker(_) | Target::InOrder(_) => Ok(()),
        }
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// `Unavailable` where the destination does not take them.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.write_pieces_at(&[IoSlice::new(bytes)], offset)
    }

    /// Writes `pieces`, one after the other, at `offset`.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub fn write_pieces_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> Result<()> {
        self.put(pieces, offset, true).map(|_| ())
    }

    /// Writes `pieces` at `offset`, unless another worker writes to the same file right now; returns
    /// whether it did.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at).
    pub fn try_write_pieces_at(&self, pieces: &[IoSlice<'_>], offset: u64) -> Result<bool> {
        self.put(pieces, offset, false)
    }

    /// Writes `pieces` at `offset`; where another worker writes to the same file, it `waits` or returns
    /// false.
    fn put(&self, pieces: &[IoSlice<'_>], offset: u64, waits: bool) -> Result<bool> {
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Ok(true);
        }
        let written = match &self.target {
            Target::File(regular) => {
                let mut turn = match regular.turn.try_lock() {
                    Ok(turn) => turn,
                    Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
                    Err(TryLockError::WouldBlock) if waits => lock(&regular.turn),
                    Err(TryLockError::WouldBlock) => return Ok(false),
                };
                if !turn.is_shared {
                    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
                    turn.room.reach(&regular.file, offset + bytes as u64);
                }
                write_all_at(&regular.file, pieces, offset)
            }
            Target::Taker(taker) => taker(&joined(pieces), offset),
            Target::InOrder(in_order) => lock(in_order).write(&joined(pieces), offset),
        };
        written.map(|()| true).map_err(|error| self.failed(error))
    }

    /// That the destination did not take what was to be written.
    fn failed(&self, error: io::Error) -> Error {
        let hint = match error.kind() {
            io::ErrorKind::StorageFull => Some("free some space, then run again"),
            _ => None,
        };
        let failed = Error::unavailable(format!("could not write to {}", self.label_quoted()))
            .with_source(error);
        match hint {
            Some(hint) => failed.with_hint(hint),
            None => failed,
        }
    }

    fn label_quoted(&self) -> String {
        match &self.target {
            Target::InOrder(_) if !self.label.contains('/') => self.label.to_string(),
            _ => format!("\"{}\"", self.label),
        }
    }
}

impl Target {
    fn in_order(writer: Box<dyn Write + Send>, written: u64) -> Self {
        let waiting = BTreeMap::new();
        Target::InOrder(Arc::new(Mutex::new(InOrder {
            written,
            waiting,
            writer,
        })))
    }
}

impl InOrder {
    fn write(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if offset != self.written {
            self.waiting.insert(offset, bytes.to_vec());
            return Ok(());
        }
        self.writer.write_all(bytes)?;
        self.written += bytes.len() as u64;
        while let Some(next) = self
            .waiting
            .first_entry()
            .filter(|e| *e.key() == self.written)
        {
            let bytes = next.remove();
            self.writer.write_all(&bytes)?;
            self.written += bytes.len() as u64;
        }
        self.writer.flush()
    }
}

/// Pieces that a system writes in one call at most.
const MOST_PIECES: usize = 1024;

/// Writes all of `pieces` at `offset`.
fn write_all_at(file: &File, pieces: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
    if let [piece] = pieces {
        return file.write_all_at(piece, offset);
    }
    let mut pieces = pieces.to_vec();
    let mut rest = &mut pieces[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let next = &rest[..rest.len().min(MOST_PIECES)];
        match rustix::io::pwritev(file, next, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                offset += count as u64;
                IoSlice::advance_slices(&mut rest, count);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// All of `pieces` as one.
fn joined<'a>(pieces: &'a [IoSlice<'a>]) -> Cow<'a, [u8]> {
    match pieces {
        [piece] => Cow::Borrowed(piece),
        _ => {
            let mut all = Vec::new();
            pieces.iter().for_each(|piece| all.extend_from_slice(piece));
            Cow::Owned(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_another_at_a_file_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let output = Output::file(&path, Some(0)).unwrap();
        let Target::File(regular) = &output.target else {
            panic!("a regular file")
        };
        let try_write = |bytes: &[u8], offset| {
            let pieces = [IoSlice::new(bytes)];
            output.try_write_pieces_at(&pieces, offset).unwrap()
        };
        assert!(try_write(b"after", 7));
        let turn = lock(&regular.turn);
        assert!(!try_write(b"before ", 0));
        // There is nothing to wait for.
        assert!(try_write(b"", 0));
        drop(turn);
        assert!(try_write(b"before ", 0));
        assert_eq!(std::fs::read(&path).unwrap(), b"before after");
    }

    #[test]
    fn an_output_that_is_done_takes_no_more_room_than_its_bytes() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let bytes = vec![b'a'; 3 << 20];
        for keep in [Some(0), Some(bytes.len() as u64), None] {
            let output = Output::file(&path, keep).unwrap();
            let second = output.clone();
            output.write_at(&bytes, 0).unwrap();
            drop(output);
            // What comes late lies before the end.
            second.write_at(b"b", 1).unwrap();
            drop(second);
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!(metadata.len(), bytes.len() as u64);
            let most = metadata.len() + (64 << 10);
            assert!(metadata.blocks() * 512 < most, "{metadata:?}");
        }
        assert!(std::fs::read(&path).unwrap().starts_with(b"aba"));
    }

    #[test]
    fn pieces_follow_each_other_however_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let output = Output::file(&path, Some(0)).unwrap();
        let (sender, received) = std::sync::mpsc::channel();
        let taker = Output::taker(
            "taker",
            Arc::new(move |bytes, offset| {
                sender
                    .send((bytes.to_vec(), offset))
                    .map_err(io::Error::other)
            }),
        );
        for count in [0, 1, 2, MOST_PIECES - 1, MOST_PIECES, 3 * MOST_PIECES + 1] {
            let texts: Vec<String> = (0..count).map(|at| "ab".repeat(at % 3)).collect();
            let pieces: Vec<IoSlice<'_>> = texts
                .iter()
                .map(|text| IoSlice::new(text.as_bytes()))
                .collect();
            let expected = texts.concat().into_bytes();
            output.write_pieces_at(&pieces, 0).unwrap();
            let written = std::fs::read(&path).unwrap();
            assert_eq!(written[..expected.len()], expected);
            taker.write_pieces_at(&pieces, 9).unwrap();
            let taken = received.try_iter().collect::<Vec<_>>();
            let expected = (!expected.is_empty()).then_some((expected, 9));
            assert_eq!(taken, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
