//! The column cache: what was decoded of one closed segment, so that replay and recovery skip JSON.
//!
//! One rule: a cache is never trusted further than its header goes. It is taken only where this very
//! build wrote it for this very segment and not one bit has changed since; in every other case it is
//! as if it were not there, and it is made again from the segment's frames. Nothing but time is lost
//! with it.
//!
//! A [`Chunk`] holds the columns of records that follow each other in one epoch. `codec` has the
//! format of the file and the way back into memory, `fingerprint` tells this build from others.
//!
//! ```
//! use amend::EventTime;
//! use amend::journal::columns::{self, ChunkBuilder, EventRow, Loaded};
//! # let folder = tempfile::tempdir().expect("a folder for the example");
//! # let path = folder.path().join("00000000000000000001.cols");
//! let mut chunk = ChunkBuilder::default();
//! chunk.begin(3, 0, 1);
//! chunk.push_event(&EventRow {
//!     id: 1001,
//!     time: EventTime(0),
//!     print: 7,
//!     stream: 17,
//!     r#type: 4,
//!     flags: columns::HAS_VALID | columns::VALID,
//!     key: b"",
//! });
//! let chunk = chunk.finish(|_| "orders", |_| "Paid");
//! columns::write(&path, 42, &[chunk])?;
//!
//! let loaded = Loaded::open(&path, 42)?.expect("this build wrote it for 42");
//! let chunk = loaded.chunks().next().expect("one chunk was written");
//! assert_eq!((chunk.epoch(), chunk.id(0), chunk.stream(0)), (3, 1001, "orders"));
//!
//! // The segment has other content now: the cache is not taken.
//! assert!(Loaded::open(&path, 43)?.is_none());
//! # Ok::<(), amend::Error>(())
//! ```

mod chunk;
#[expect(
    unsafe_code,
    reason = "abomonation's calls are unsafe; the file says what makes each of them sound"
)]
mod codec;
mod fingerprint;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use crate::{Error, Result};

pub use chunk::{Chunk, ChunkBuilder, EventRow, FAULT, Faulty, HAS_VALID, LINE_BREAK, VALID};
use codec::{Decoded, Refusal};

/// Writes the cache at `path`, replacing what is there, and returns its length in bytes.
///
/// `binding` identifies the content of the segment that was decoded, for example by its checksum.
/// The file appears under its name only once all of it was written.
///
/// # Errors
/// `Unavailable` where the disk refuses; what was at `path` is then still there.
pub fn write(path: &Path, binding: u64, chunks: &[Chunk]) -> Result<u64> {
    write_as(path, fingerprint::of_this_build(), binding, chunks)
}

fn write_as(path: &Path, build: u64, binding: u64, chunks: &[Chunk]) -> Result<u64> {
    let scratch = scratch_name(path);
    let attempt = || -> io::Result<u64> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&scratch)?);
        let length = codec::encode(&mut file, build, binding, chunks)?;
        file.into_inner().map_err(|error| error.into_error())?;
        // Nothing is synced: what a power cut leaves of a cache does not fit its checksum, and it is
        // made again.
        fs::rename(&scratch, path)?;
        Ok(length)
    };
    attempt().map_err(|error| {
        // The first error is the one to tell; a scratch file that stays is overwritten next time.
        let _ = fs::remove_file(&scratch);
        Error::unavailable(format!(
            "could not write the column cache \"{}\"",
            path.display()
        ))
        .with_source(error)
    })
}

/// `path` with `.tmp` after it: one name, so that stopped attempts do not pile up.
fn scratch_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".tmp");
    PathBuf::from(name)
}

/// Why a cache is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unfit {
    /// There is no such file.
    Absent,
    /// Another build wrote it.
    OtherBuild,
    /// It was made of another segment, or of other content of this one.
    OtherContent,
    /// It is cut short, or some of its bytes are not those that were written.
    Damaged,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::Absent => "absent",
            Unfit::OtherBuild => "written by another build",
            Unfit::OtherContent => "made of other content",
            Unfit::Damaged => "damaged",
        })
    }
}

/// A cache in memory, checked.
#[derive(Debug)]
pub struct Loaded {
    chunks: Vec<Decoded>,
}

impl Loaded {
    /// Reads the cache at `path`; none where it is not one that this build wrote for `binding`.
    ///
    /// # Errors
    /// `Unavailable` where the file is there and cannot be read.
    pub fn open(path: &Path, binding: u64) -> Result<Option<Loaded>> {
        match open_as(path, fingerprint::of_this_build(), binding) {
            Ok(loaded) => Ok(Some(loaded)),
            Err(Refusal::Unfit(_)) => Ok(None),
            Err(Refusal::Io(error)) => Err(unreadable(path, error)),
        }
    }

    /// Why [`Loaded::open`] gives none; none where it gives the cache.
    ///
    /// # Errors
    /// As [`Loaded::open`].
    pub fn why(path: &Path, binding: u64) -> Result<Option<Unfit>> {
        match open_as(path, fingerprint::of_this_build(), binding) {
            Ok(_) => Ok(None),
            Err(Refusal::Unfit(unfit)) => Ok(Some(unfit)),
            Err(Refusal::Io(error)) => Err(unreadable(path, error)),
        }
    }

    /// The chunks, in the order in which they were written.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = &Chunk> {
        self.chunks.iter().map(|chunk| &**chunk)
    }
}

fn open_as(path: &Path, build: u64, binding: u64) -> std::result::Result<Loaded, Refusal> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Refusal::Unfit(Unfit::Absent));
        }
        file => file?,
    };
    let length = file.metadata()?.len();
    let chunks = codec::decode(BufReader::new(file), length, build, binding)?;
    Ok(Loaded { chunks })
}

fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::unavailable(format!(
        "could not read the column cache \"{}\"",
        path.display()
    ))
    .with_source(error)
    .with_hint("the cache may be deleted: it is made again from its segment")
}
